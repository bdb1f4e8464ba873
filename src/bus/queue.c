/* SPDX-License-Identifier: MIT */
/*
 * Queues: a message's text lies in the store, what is needed to hand it out in an array by id.
 *
 *   ids ascending   | gone | in flight | visible | visible | delayed |
 *                                        ^ scan: nothing before it is visible until `next_visible_ms`
 */
#include "bus/bus_private.h"

#define RETENTION_DEFAULT_S 345600 /* 4 days, as the service's default */
#define LOOK_MS             60000  /* between looks for messages past their retention */
#define MESSAGES_MAX        1000000

struct tr_queue {
    uint32_t number;
    tr_message *items; /* id 0: gone */
    size_t count, cap, live, scan;
    int64_t next_visible_ms, next_look_ms;
};

static tr_view message_key(char kind, uint32_t queue, uint64_t id, char *out)
{
    out[0] = kind;
    tr_put_be32(out + 1, queue);
    tr_put_be64(out + 5, id);
    return tr_view_of(out, 13);
}

static int append(tr_queue *q, const tr_message *message)
{
    if (q->count == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 16;
        tr_message *items = tr_realloc(q->items, cap * sizeof *items);
        if (!items)
            return TR_ENOMEM;
        q->items = items;
        q->cap = cap;
    }
    q->items[q->count++] = *message;
    q->live++;
    return 0;
}

/* Takes the gone ones out once they are the most. */
static void compact(tr_queue *q)
{
    if (q->count < 32 || q->live * 2 > q->count)
        return;
    size_t n = 0;
    for (size_t i = 0; i < q->count; i++)
        if (q->items[i].id)
            q->items[n++] = q->items[i];
    q->count = n;
    q->scan = 0;
}

int tr__queue_new(tr_bus *b, tr_res *res, const tr_res *old, void **ret_state, tr_error *err)
{
    if (old) { /* another document for the same queue */
        *ret_state = old->state;
        ((tr_res *)(uintptr_t)old)->state = NULL;
        return 0;
    }
    tr_queue *q = tr_calloc(1, sizeof *q);
    if (!q)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    (void)b;
    q->number = (uint32_t)tr_doc_int(res->doc, "Number", 0);
    q->next_visible_ms = INT64_MAX;
    *ret_state = q;
    return 0;
}

void tr__queue_free(void *state)
{
    tr_queue *q = state;
    tr_free(q->items);
    tr_free(q);
}

/* -------------------------------------------------------------------------------------------------- load */

static void load_visibility(tr_bus *b, tr_queue *q, tr_message *m)
{
    char key[16];
    tr_kv_pin pin;
    tr_error err;
    if (tr_kv_get(b->kv, TR_KV_BUS, NULL, message_key('V', q->number, m->id, key), &pin, &err))
        return;
    if (pin.value.len == 21 && pin.value.ptr[0] == TR__BUS_VERSION) {
        m->visible_ms = (int64_t)tr_get_be64(pin.value.ptr + 1);
        m->first_received_ms = (int64_t)tr_get_be64(pin.value.ptr + 9);
        m->received = tr_get_be32(pin.value.ptr + 17);
    }
    tr_kv_unpin(&pin);
}

static int load_one(tr_bus *b, tr_queue *q, tr_error *err)
{
    char from[16], to[16];
    tr_kv_iter *iter;
    tr_view key, value;
    int e = tr_kv_iter_new(b->kv, TR_KV_BUS, NULL, message_key('M', q->number, 0, from),
                           message_key('M', q->number, UINT64_MAX, to), &iter);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    for (tr_kv_iter_first(iter); e == 0 && tr_kv_iter_get(iter, &key, &value); tr_kv_iter_next(iter)) {
        tr_message m = {0};
        if (key.len != 13 || value.len < 9 || value.ptr[0] != TR__BUS_VERSION) {
            e = tr_fail(err, TR_ECORRUPT, "a message of a queue cannot be read");
            break;
        }
        m.id = tr_get_be64(key.ptr + 5);
        m.sent_ms = m.visible_ms = (int64_t)tr_get_be64(value.ptr + 1);
        load_visibility(b, q, &m);
        if (append(q, &m))
            e = tr_fail(err, TR_ENOMEM, "out of memory");
    }
    if (e == 0)
        e = tr_kv_iter_status(iter, err);
    tr_kv_iter_free(iter);
    return e;
}

uint32_t tr_queue_number(tr_bus *b)
{
    return (uint32_t)tr__bus_number(b); /* never given twice, so that nothing of an old queue comes back */
}

int tr__queue_load(tr_bus *b, tr_error *err)
{
    int e = 0;
    for (size_t i = 0; e == 0 && i < b->res[TR_RES_QUEUE].count; i++) {
        tr_queue *q = b->res[TR_RES_QUEUE].items[i]->state;
        e = load_one(b, q, err);
    }
    return e;
}

/* ------------------------------------------------------------------------------------------- send, remove */

static void stage_visibility(tr_bus *b, const tr_queue *q, const tr_message *m)
{
    char key[16], value[21];
    value[0] = TR__BUS_VERSION;
    tr_put_be64(value + 1, (uint64_t)m->visible_ms);
    tr_put_be64(value + 9, (uint64_t)m->first_received_ms);
    tr_put_be32(value + 17, m->received);
    const tr_view part = tr_view_of(value, sizeof value);
    tr__bus_value_put(b, message_key('V', q->number, m->id, key), &part, 1);
}

static void visible_from(tr_queue *q, int64_t ms)
{
    if (ms < q->next_visible_ms)
        q->next_visible_ms = ms;
}

static int send_doc(tr_bus *b, tr_queue *q, tr_view doc, int64_t delay_ms)
{
    char key[16], head[9];
    int64_t now = tr_engine_now_ms(b->engine);
    tr_message m = {.id = tr__bus_number(b), .sent_ms = now, .visible_ms = now + delay_ms};
    if (append(q, &m))
        return TR_ENOMEM;
    head[0] = TR__BUS_VERSION;
    tr_put_be64(head + 1, (uint64_t)now);
    const tr_view parts[] = {tr_view_of(head, sizeof head), doc};
    tr__bus_value_put(b, message_key('M', q->number, m.id, key), parts, TR_COUNT(parts));
    if (delay_ms) {
        stage_visibility(b, q, &m);
        visible_from(q, m.visible_ms);
    }
    b->news++;
    return 0;
}

int tr_queue_send(tr_bus *b, tr_res *queue, tr_view body, tr_view attributes, int64_t delay_ms, char *ret_id,
                  tr_error *err)
{
    tr_buf doc;
    tr_json_writer w;
    tr_queue *q = queue->state;
    if (q->live >= MESSAGES_MAX)
        return tr_fail(err, TR_ELIMIT, "a queue can hold %d messages", MESSAGES_MAX);
    tr_uuid(ret_id);
    tr_buf_init(&doc, TR__BUS_TEXT_MAX * 2);
    tr_json_write_init(&w, &doc);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "MessageId", ret_id);
    tr_json_member_string(&w, "Body", body);
    if (attributes.len) {
        tr_json_name(&w, "MessageAttributes");
        tr_json_value(&w, attributes);
    }
    tr_json_end_object(&w);
    int e = tr_buf_status(&doc);
    if (e == 0)
        e = send_doc(b, q, tr_buf_view(&doc), delay_ms);
    tr_buf_done(&doc);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

static void forget(tr_bus *b, tr_queue *q, tr_message *m)
{
    char key[16];
    tr__bus_value_delete(b, message_key('M', q->number, m->id, key));
    tr__bus_value_delete(b, message_key('V', q->number, m->id, key));
    m->id = 0;
    q->live--;
}

void tr_queue_remove(tr_bus *b, tr_res *queue, tr_message *m)
{
    forget(b, queue->state, m);
    compact(queue->state);
}

void tr_queue_purge(tr_bus *b, tr_res *queue)
{
    tr_queue *q = queue->state;
    for (size_t i = 0; i < q->count; i++)
        if (q->items[i].id)
            forget(b, q, &q->items[i]);
    q->count = q->scan = 0;
    q->next_visible_ms = INT64_MAX;
}

void tr__queue_drop(tr_bus *b, tr_res *queue)
{
    tr_queue_purge(b, queue);
}

/* ----------------------------------------------------------------------------------------------- receive */

/* One that was received too often goes to the queue for such. */
static bool redrive(tr_bus *b, tr_res *queue, tr_message *m)
{
    tr_arena arena;
    bool moved = false;
    tr_arena_init(&arena, TR__BUS_TEXT_MAX * 3);
    tr_view policy = tr_doc_text(tr_doc_raw(queue->doc, "Attributes"), "RedrivePolicy", &arena), doc;
    tr_view most = tr_doc_raw(policy, "maxReceiveCount");
    uint64_t max = 0;
    if (most.len > 2 && most.ptr[0] == '"')
        most = tr_view_of(most.ptr + 1, most.len - 2);
    tr_error err;
    if (most.len && tr_view_to_u64(most, 1000, &max) == 0 && max && m->received >= max) {
        tr_res *to = tr_bus_find(b, TR_RES_QUEUE,
                                 tr__arn_name(tr_doc_text(policy, "deadLetterTargetArn", &arena), "sqs", ""));
        if (to && to != queue && tr_queue_read(b, queue, m, &arena, &doc, &err) == 0 &&
            send_doc(b, to->state, doc, 0) == 0) {
            forget(b, queue->state, m);
            moved = true;
        }
    }
    tr_arena_done(&arena);
    return moved;
}

tr_message *tr_queue_receive(tr_bus *b, tr_res *queue, int64_t visibility_ms)
{
    tr_queue *q = queue->state;
    int64_t now = tr_engine_now_ms(b->engine);
    if (q->next_visible_ms <= now) {
        q->scan = 0;
        q->next_visible_ms = INT64_MAX;
    }
    for (; q->scan < q->count; q->scan++) {
        tr_message *m = &q->items[q->scan];
        if (!m->id)
            continue;
        if (m->visible_ms > now) {
            visible_from(q, m->visible_ms);
            continue;
        }
        if (m->received && redrive(b, queue, m))
            continue;
        m->received++;
        if (!m->first_received_ms)
            m->first_received_ms = now;
        m->visible_ms = now + visibility_ms;
        visible_from(q, m->visible_ms);
        stage_visibility(b, q, m);
        q->scan++;
        return m;
    }
    return NULL;
}

int tr_queue_read(tr_bus *b, tr_res *queue, const tr_message *m, tr_arena *arena, tr_view *ret_doc,
                  tr_error *err)
{
    const tr_queue *q = queue->state;
    char key[16];
    tr_kv_pin pin;
    int e = tr_engine_write_out(b->engine, err); /* it may be in the batch still */
    if (e == 0)
        e = tr_kv_get(b->kv, TR_KV_BUS, NULL, message_key('M', q->number, m->id, key), &pin, err);
    if (e)
        return e;
    *ret_doc = pin.value.len > 9 ? tr_arena_copy(arena, tr_view_of(pin.value.ptr + 9, pin.value.len - 9))
                                 : (tr_view){NULL, 0};
    tr_kv_unpin(&pin);
    return ret_doc->ptr ? 0 : tr_fail(err, TR_ENOMEM, "out of memory");
}

tr_message *tr_queue_find(tr_res *queue, uint64_t id)
{
    tr_queue *q = queue->state;
    for (size_t i = 0, low = 0, high = q->count; id && low < high;) {
        /* those that are gone have lost their ids: step over them */
        size_t middle = low + (high - low) / 2;
        for (i = middle; i < high && !q->items[i].id; i++)
            ;
        if (i == high)
            high = middle;
        else if (q->items[i].id == id)
            return &q->items[i];
        else if (q->items[i].id < id)
            low = i + 1;
        else
            high = middle;
    }
    return NULL;
}

void tr_queue_set_visible(tr_bus *b, tr_res *queue, tr_message *m, int64_t visible_ms)
{
    m->visible_ms = visible_ms;
    visible_from(queue->state, visible_ms);
    stage_visibility(b, queue->state, m);
    b->news++;
}

void tr_queue_count(tr_bus *b, tr_res *queue, size_t *ret_visible, size_t *ret_in_flight, size_t *ret_delayed)
{
    const tr_queue *q = queue->state;
    int64_t now = tr_engine_now_ms(b->engine);
    *ret_visible = *ret_in_flight = *ret_delayed = 0;
    for (size_t i = 0; i < q->count; i++) {
        const tr_message *m = &q->items[i];
        if (m->id)
            ++*(m->visible_ms <= now ? ret_visible : m->received ? ret_in_flight : ret_delayed);
    }
}

uint64_t tr_queue_news(const tr_bus *b)
{
    return b->news;
}

/* --------------------------------------------------------------------------------------------------- time */

static void trim(tr_bus *b, tr_res *queue, int64_t now)
{
    tr_queue *q = queue->state;
    tr_arena arena;
    uint64_t seconds = RETENTION_DEFAULT_S;
    tr_arena_init(&arena, 4096);
    tr_view text = tr_doc_text(tr_doc_raw(queue->doc, "Attributes"), "MessageRetentionPeriod", &arena);
    (void)(text.len && tr_view_to_u64(text, 1209600, &seconds));
    tr_arena_done(&arena);
    for (size_t i = 0; i < q->count; i++)
        if (q->items[i].id && q->items[i].sent_ms + (int64_t)seconds * 1000 <= now)
            forget(b, q, &q->items[i]);
    compact(q);
    q->next_look_ms = now + LOOK_MS;
}

/* When a message becomes visible next, of all queues. */
int64_t tr__queues_due(tr_bus *b, int64_t now)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < b->res[TR_RES_QUEUE].count; i++) {
        tr_queue *q = b->res[TR_RES_QUEUE].items[i]->state;
        if (q->next_look_ms <= now)
            trim(b, b->res[TR_RES_QUEUE].items[i], now);
        if (q->live && q->next_visible_ms <= now) {
            b->news++; /* whoever waits looks again */
            q->scan = 0;
            q->next_visible_ms = INT64_MAX;
            for (size_t k = 0; k < q->count; k++)
                if (q->items[k].id && q->items[k].visible_ms > now)
                    visible_from(q, q->items[k].visible_ms);
        }
        if (q->live && q->next_visible_ms < due)
            due = q->next_visible_ms;
    }
    return due;
}
