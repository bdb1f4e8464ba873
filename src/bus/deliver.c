/* SPDX-License-Identifier: MIT */
/* Pending deliveries: kept in the store until done, repeated with growing pauses, given up to dead letters.
 */
#include "bus/bus_private.h"

#define RETRY_BASE_MS 1000
#define RETRY_CAP_MS  600000
#define IDLE_MS       1000

/* ------------------------------------------------------------------------------------------------- store */

static tr_view event_key(uint64_t number, char *out)
{
    out[0] = 'E';
    tr_put_be64(out + 1, number);
    return tr_view_of(out, 9);
}

static tr_view delivery_key(uint64_t number, uint32_t index, char *out)
{
    out[0] = 'D';
    tr_put_be64(out + 1, number);
    tr_put_be32(out + 9, index);
    return tr_view_of(out, 13);
}

/* version, kind, attempts, created, due, length of the owner's name */
#define DELIVERY_HEAD 24

static void stage_delivery(tr_bus *b, const tr_delivery *d)
{
    char key[16], head[DELIVERY_HEAD];
    tr_view owner = tr_view_str(d->target->owner);
    head[0] = TR__BUS_VERSION;
    head[1] = d->target->kind == TR_TARGET_ARCHIVE ? 'a' : d->target->rule_arn[0] ? 'r' : 'f';
    tr_put_be32(head + 2, d->attempts);
    tr_put_be64(head + 6, (uint64_t)d->created_ms);
    tr_put_be64(head + 14, (uint64_t)d->due_ms);
    tr_put_be16(head + 22, (uint16_t)owner.len);
    const tr_view parts[] = {tr_view_of(head, sizeof head), owner, tr_view_str(d->target->id)};
    tr__bus_value_put(b, delivery_key(d->event->number, d->index, key), parts, TR_COUNT(parts));
}

static void stage_event(tr_bus *b, const tr_bus_event *event, tr_view text)
{
    char key[16], head[9];
    head[0] = TR__BUS_VERSION;
    tr_put_be64(head + 1, (uint64_t)event->received_ms);
    const tr_view parts[] = {tr_view_of(head, sizeof head), text};
    tr__bus_value_put(b, event_key(event->number, key), parts, TR_COUNT(parts));
}

int tr__event_text(tr_bus *b, const tr_bus_event *event, tr_buf *out, tr_view *ret_text)
{
    char key[16];
    tr_kv_pin pin;
    tr_error err;
    if (event->text) {
        *ret_text = tr_view_of(event->text, event->len);
        return 0;
    }
    int e = tr_kv_get(b->kv, TR_KV_BUS, NULL, event_key(event->number, key), &pin, &err);
    if (e)
        return e;
    tr_buf_reset(out);
    if (pin.value.len > 9)
        tr_buf_put(out, pin.value.ptr + 9, pin.value.len - 9);
    tr_kv_unpin(&pin);
    *ret_text = tr_buf_view(out);
    return tr_buf_status(out);
}

static void drop_event(tr_bus *b, tr_bus_event *event)
{
    if (event->text)
        b->kept_bytes -= event->len;
    tr_free(event->text);
    tr_free(event);
}

static void free_delivery(tr_bus *b, tr_delivery *d)
{
    if (--d->event->refs == 0)
        drop_event(b, d->event);
    tr__bus_target_unref(d->target);
    tr_free(d);
    b->pending--;
}

static void start_later(tr_bus *b, tr_delivery *d);

static void complete(tr_bus *b, tr_delivery *d)
{
    char key[16];
    tr_delivery *next = tr__order_leave(d);
    if (next)
        start_later(b, next);
    tr__bus_value_delete(b, delivery_key(d->event->number, d->index, key));
    if (d->event->refs == 1)
        tr__bus_value_delete(b, event_key(d->event->number, key));
    free_delivery(b, d);
}

/* -------------------------------------------------------------------------------------------- ready, later
 */

static void make_ready(tr_bus *b, tr_delivery *d)
{
    tr_target *t = d->target;
    d->next = NULL;
    if (t->last)
        t->last->next = d;
    else
        t->first = d;
    t->last = d;
    if (t->listed)
        return;
    t->listed = true;
    t->refs++;
    t->next_ready = b->ready;
    b->ready = t;
}

/* A heap, the earliest first. */
static int put_later(tr_bus *b, tr_delivery *d)
{
    if (b->later_count == b->later_cap) {
        size_t cap = b->later_cap ? b->later_cap * 2 : 64;
        tr_delivery **heap = tr_realloc(b->later, cap * sizeof *heap);
        if (!heap)
            return TR_ENOMEM;
        b->later = heap;
        b->later_cap = cap;
    }
    size_t i = b->later_count++;
    for (; i && b->later[(i - 1) / 2]->due_ms > d->due_ms; i = (i - 1) / 2)
        b->later[i] = b->later[(i - 1) / 2];
    b->later[i] = d;
    return 0;
}

static tr_delivery *take_later(tr_bus *b)
{
    tr_delivery *first = b->later[0], *last = b->later[--b->later_count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < b->later_count) {
        child += child + 1 < b->later_count && b->later[child + 1]->due_ms < b->later[child]->due_ms;
        if (b->later[child]->due_ms >= last->due_ms)
            break;
        b->later[i] = b->later[child];
        i = child;
    }
    b->later[i] = last;
    return first;
}

/* Its turn in its lane has come: at once, or when it is due. */
static void start_later(tr_bus *b, tr_delivery *d)
{
    if (d->due_ms <= tr_engine_now_ms(b->engine) || put_later(b, d))
        make_ready(b, d);
}

static tr_delivery *new_delivery(tr_bus *b, tr_bus_event *event, tr_target *target, uint32_t index)
{
    tr_delivery *d = tr_calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->event = event;
    d->target = target;
    d->index = index;
    event->refs++;
    target->refs++;
    b->pending++;
    return d;
}

int tr__bus_deliver_later(tr_bus *b, tr_target *target, tr_view text, uint32_t index, tr_bus_event **event)
{
    bool fresh = !*event;
    tr_bus_event *ev = fresh ? tr_calloc(1, sizeof *ev) : *event;
    tr_delivery *d = ev ? new_delivery(b, ev, target, index) : NULL;
    if (!d) {
        if (fresh)
            tr_free(ev);
        return TR_ENOMEM;
    }
    if (fresh) {
        ev->number = tr__bus_number(b);
        ev->received_ms = tr_engine_now_ms(b->engine);
        ev->len = text.len;
        if (b->kept_bytes + text.len <= TR__BUS_KEPT_MAX && (ev->text = tr__bus_copy(text)) != NULL)
            b->kept_bytes += text.len;
        stage_event(b, ev, text);
        *event = ev;
    }
    d->created_ms = d->due_ms = ev->received_ms;
    stage_delivery(b, d);
    ev->ticket = tr_engine_ticket(b->engine);
    if (tr__order_enter(b, d))
        make_ready(b, d);
    return 0;
}

/* -------------------------------------------------------------------------------------------------- ends */

static void put_attribute(tr_json_writer *w, const char *name, tr_view value)
{
    if (!value.len)
        return;
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "DataType", "String");
    tr_json_member_string(w, "StringValue", value);
    tr_json_end_object(w);
}

void tr__dead_letter(tr_bus *b, const tr_target *t, tr_view event, const tr_outcome *outcome,
                     const char *condition, uint32_t retries)
{
    tr_buf attributes;
    tr_json_writer w;
    tr_error err;
    char id[TR_UUID_LEN + 1], number[16];
    if (!t->dead_letters) {
        tr_log(&b->options.logger, TR_LOG_WARN, "an event for %s was given up: %s", t->arn, outcome->message);
        return;
    }
    tr_res *queue = tr_bus_find(b, TR_RES_QUEUE, tr__arn_name(tr_view_str(t->dead_letters), "sqs", ""));
    if (!queue) {
        tr_log(&b->options.logger, TR_LOG_ERROR, "a dead letter is lost: there is no queue %s",
               t->dead_letters);
        return;
    }
    size_t len = 0;
    for (uint32_t n = retries; n || !len; n /= 10)
        number[sizeof number - ++len] = (char)('0' + n % 10);
    tr_buf_init(&attributes, 65536);
    tr_json_write_init(&w, &attributes);
    tr_json_begin_object(&w);
    put_attribute(&w, "RULE_ARN", tr_view_str(t->rule_arn));
    put_attribute(&w, "TARGET_ARN", tr_view_str(t->arn));
    put_attribute(&w, "ERROR_CODE", tr_view_str(outcome->code));
    put_attribute(&w, "ERROR_MESSAGE", tr_view_str(outcome->message));
    put_attribute(&w, "EXHAUSTED_RETRY_CONDITION", tr_view_str(condition));
    put_attribute(&w, "RETRY_ATTEMPTS", tr_view_of(number + sizeof number - len, len));
    tr_json_end_object(&w);
    int e = tr_buf_status(&attributes);
    if (e == 0)
        e = tr_queue_send(b, queue, event, tr_buf_view(&attributes), 0, id, &err);
    if (e)
        tr_log(&b->options.logger, TR_LOG_ERROR, "a dead letter for %s is lost: %s", t->dead_letters,
               tr_strerror(e));
    tr_buf_done(&attributes);
}

/* What a function failed to handle goes to its destination, as another delivery. False: it has none. */
static bool to_destination(tr_bus *b, const tr_delivery *d, tr_view text, const tr_outcome *outcome,
                           const char *condition)
{
    tr_view input, name = tr__arn_name(tr_view_str(d->target->arn), "lambda", "function:");
    tr_target *to =
        d->target->kind == TR_TARGET_FUNCTION && condition ? tr__bus_send_failures(b, name) : NULL;
    tr_bus_event *event = NULL;
    tr_error err;
    tr_buf record;
    if (!to)
        return false;
    tr_buf_init(&record, TR__BUS_TEXT_MAX);
    tr_buf_reset(&b->text);
    int e = tr__bus_input_make(d->target, text, d->event->received_ms, &b->text, &input, &err);
    if (e == 0)
        e = tr__failure_record(b, d, input, outcome, condition, &record);
    if (e == 0)
        e = tr__bus_deliver_later(b, to, tr_buf_view(&record), 0, &event);
    tr_buf_done(&record);
    if (e)
        tr_log(&b->options.logger, TR_LOG_ERROR, "a failure record for %s cannot be made: %s", to->arn,
               tr_strerror(e));
    return e == 0;
}

static void give_up(tr_bus *b, tr_delivery *d, const tr_outcome *outcome, const char *condition)
{
    tr_view text;
    tr_buf loaded;
    tr_buf_init(&loaded, TR__BUS_TEXT_MAX);
    if (tr__event_text(b, d->event, &loaded, &text) == 0 && !to_destination(b, d, text, outcome, condition))
        tr__dead_letter(b, d->target, text, outcome, condition, d->attempts ? d->attempts - 1 : 0);
    tr_buf_done(&loaded);
    complete(b, d);
}

static int64_t pause_ms(tr_bus *b, const tr_delivery *d)
{
    const tr_target *t = d->target;
    int64_t base = b->options.retry_base_ms ? b->options.retry_base_ms : RETRY_BASE_MS;
    int64_t cap = b->options.retry_cap_ms ? b->options.retry_cap_ms : RETRY_CAP_MS;
    if (t->retry_base_ms) {
        base = t->retry_base_ms;
        cap = t->retry_cap_ms;
    }
    if (t->retry_base_ms ? cap <= base : b->options.retry_fixed)
        return base;
    return 1 + tr_backoff_ms(&b->rng, d->attempts - 1, base, cap);
}

void tr__bus_deliver_finish(tr_bus *b, tr_delivery *d, const tr_outcome *outcome)
{
    int64_t now = tr_engine_now_ms(b->engine);
    d->target->active--;
    if (outcome->done) {
        complete(b, d);
        return;
    }
    d->attempts++;
    bool awaited = d->target->failures && strcmp(outcome->code, "NO_RESOURCE") == 0;
    if (awaited) /* what is nobody's yet is better kept than lost */
        tr_log(&b->options.logger, TR_LOG_WARN, "a failure of function %s waits for %s: %s", d->target->owner,
               d->target->arn, outcome->message);
    if (!outcome->retry && !awaited) {
        give_up(b, d, outcome, NULL);
        return;
    }
    d->due_ms = now + pause_ms(b, d);
    if (d->attempts > d->target->retries && !awaited)
        give_up(b, d, outcome, "MaximumRetryAttempts");
    else if (d->due_ms - d->created_ms > d->target->age_ms)
        give_up(b, d, outcome, "MaximumEventAgeInSeconds");
    else if (put_later(b, d))
        give_up(b, d, outcome, NULL);
    else
        stage_delivery(b, d);
}

/* With those behind it in its lane. */
void tr__bus_deliver_forget(tr_bus *b, tr_delivery *d)
{
    while (d) {
        tr_delivery *next = tr__order_leave(d);
        free_delivery(b, d);
        d = next;
    }
}

tr_outcome tr__bus_deliver_inside(tr_bus *b, tr_target *t, tr_view input)
{
    tr_error err = {0};
    char id[TR_UUID_LEN + 1];
    tr_view arn = tr_view_str(t->arn);
    if (t->kind == TR_TARGET_QUEUE) {
        tr_res *queue = tr_bus_find(b, TR_RES_QUEUE, tr__arn_name(arn, "sqs", ""));
        if (!queue)
            return (tr_outcome){.code = "NO_RESOURCE", .message = "The specified queue does not exist."};
        if (tr_queue_send(b, queue, input, (tr_view){NULL, 0}, 0, id, &err))
            return (tr_outcome){.code = "SDK_CLIENT_ERROR", .message = "The queue cannot take the message."};
        return (tr_outcome){.done = true};
    }
    if (t->kind == TR_TARGET_BUS) {
        tr_view name = tr__arn_name(arn, "events", "event-bus/");
        if (!tr_bus_find(b, TR_RES_BUS, name))
            return (tr_outcome){.code = "NO_RESOURCE", .message = "The event bus does not exist."};
        if (b->depth >= TR__BUS_HOPS_MAX || b->relays >= TR__BUS_RELAYS_MAX)
            return (tr_outcome){.code = "THIRD_ACCOUNT_HOP_DETECTED",
                                .message = "The event went through too many buses."};
        const tr_publish publish = {.text = input, .replayed = b->replaying};
        if (tr__bus_relay(b, name, &publish, &err))
            return (tr_outcome){.code = "SDK_CLIENT_ERROR",
                                .message = "The event bus cannot take the event."};
        return (tr_outcome){.done = true};
    }
    return (tr_outcome){.code = "NO_RESOURCE", .message = "There is no such target on this server."};
}

/* --------------------------------------------------------------------------------------------------- run */

/* A rate that was not used up is made good for this long. */
#define RATE_BURST_US 50000

/* Whether the target's rate lets another attempt start now; sets bus->rate_ms for when it will. */
static bool rate_allows(tr_bus *b, tr_target *t)
{
    if (!t->interval_us)
        return true;
    int64_t now = tr_clock_mono_ns() / 1000;
    if (t->next_us > now) {
        int64_t ms = (t->next_us - now + 999) / 1000;
        if (ms < b->rate_ms)
            b->rate_ms = ms;
        return false;
    }
    if (t->next_us < now - RATE_BURST_US)
        t->next_us = now - RATE_BURST_US;
    t->next_us += t->interval_us;
    return true;
}

static void start_ready(tr_bus *b, tr_target *t, uint64_t synced)
{
    if (t->kind == TR_TARGET_ARCHIVE) {
        tr__archive_take(b, t, synced);
        return;
    }
    while (t->first && t->active < t->concurrency && t->first->event->ticket <= synced && rate_allows(b, t)) {
        tr_delivery *d = t->first;
        t->first = d->next;
        if (!t->first)
            t->last = NULL;
        t->active++;
        tr__bus_send(b, d);
    }
}

/* Targets that still have something ready stay on the list. */
static void start_all(tr_bus *b)
{
    uint64_t synced = tr_engine_synced(b->engine);
    tr_target *list = b->ready, *t;
    b->ready = NULL;
    while ((t = list) != NULL) {
        list = t->next_ready;
        start_ready(b, t, synced);
        t->listed = t->first != NULL;
        if (t->listed) {
            t->next_ready = b->ready;
            b->ready = t;
        } else {
            tr__bus_target_unref(t);
        }
    }
}

int64_t tr_bus_run(tr_bus *b)
{
    int64_t now = tr_engine_now_ms(b->engine), next = now + IDLE_MS;
    if (b->closing)
        return IDLE_MS;
    b->rate_ms = IDLE_MS;
    tr__bus_send_collect(b);
    while (b->later_count && b->later[0]->due_ms <= now)
        make_ready(b, take_later(b));
    start_all(b);
    if (tr__replays_step(b))
        next = now;
    tr__archives_trim(b, now);
    int64_t queues = tr__queues_due(b, now);
    if (queues < next)
        next = queues;
    if (b->later_count && b->later[0]->due_ms < next)
        next = b->later[0]->due_ms;
    if (now + b->rate_ms < next)
        next = now + b->rate_ms;
    return next > now ? next - now : 0;
}

size_t tr_bus_pending(const tr_bus *b)
{
    return b->pending;
}

/* -------------------------------------------------------------------------------------------------- load */

static int load_event(tr_bus *b, uint64_t number, tr_bus_event **event, tr_error *err)
{
    char key[16];
    tr_kv_pin pin;
    int e = tr_kv_get(b->kv, TR_KV_BUS, NULL, event_key(number, key), &pin, err);
    if (e)
        return e;
    tr_bus_event *ev = tr_calloc(1, sizeof *ev);
    if (ev && pin.value.len > 9) {
        ev->number = number;
        ev->received_ms = (int64_t)tr_get_be64(pin.value.ptr + 1);
        ev->len = pin.value.len - 9;
    }
    tr_kv_unpin(&pin);
    if (!ev)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    *event = ev;
    return 0;
}

/* One of a target that is no more is dropped. */
static int load_delivery(tr_bus *b, tr_view key, tr_view value, tr_bus_event **event, tr_error *err)
{
    if (key.len != 13 || value.len < DELIVERY_HEAD)
        return tr_fail(err, TR_ECORRUPT, "a pending delivery of the bus cannot be read");
    if (value.ptr[0] != TR__BUS_VERSION)
        return tr_fail(err, TR_EVERSION, "a pending delivery was written by a newer version");
    size_t len = tr_get_be16(value.ptr + 22);
    if (value.len < DELIVERY_HEAD + len)
        return tr_fail(err, TR_ECORRUPT, "a pending delivery of the bus cannot be read");
    uint64_t number = tr_get_be64(key.ptr + 1);
    tr_target *target =
        tr__bus_target_find(b, value.ptr[1], tr_view_of(value.ptr + DELIVERY_HEAD, len),
                            tr_view_of(value.ptr + DELIVERY_HEAD + len, value.len - DELIVERY_HEAD - len));
    if (!target) {
        if (value.ptr[1] == 'f')
            tr_log(&b->options.logger, TR_LOG_WARN,
                   "a failure record is dropped: function %.*s has no destination any more", (int)len,
                   value.ptr + DELIVERY_HEAD);
        tr__bus_value_delete(b, key);
        return 0;
    }
    int e = *event && (*event)->number == number ? 0 : load_event(b, number, event, err);
    if (e)
        return e;
    tr_delivery *d = new_delivery(b, *event, target, tr_get_be32(key.ptr + 9));
    if (!d)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    d->attempts = tr_get_be32(value.ptr + 2);
    d->created_ms = (int64_t)tr_get_be64(value.ptr + 6);
    d->due_ms = (int64_t)tr_get_be64(value.ptr + 14);
    if (tr__order_enter(b, d))
        start_later(b, d);
    return 0;
}

/* Events whose deliveries are all gone with their targets. */
static int drop_orphans(tr_bus *b, tr_error *err)
{
    tr_kv_iter *events, *deliveries;
    tr_view key, other, value;
    int e = tr_kv_iter_new(b->kv, TR_KV_BUS, NULL, TR_VIEW("E"), TR_VIEW("F"), &events);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    e = tr_kv_iter_new(b->kv, TR_KV_BUS, NULL, TR_VIEW("D"), TR_VIEW("E"), &deliveries);
    if (e == 0) {
        for (tr_kv_iter_first(events); tr_kv_iter_get(events, &key, &value); tr_kv_iter_next(events)) {
            char from[16];
            if (key.len != 9)
                continue;
            tr_kv_iter_seek(deliveries, delivery_key(tr_get_be64(key.ptr + 1), 0, from));
            if (!tr_kv_iter_get(deliveries, &other, &value) || other.len != 13 ||
                memcmp(other.ptr + 1, key.ptr + 1, 8) != 0)
                tr__bus_value_delete(b, key);
        }
        e = tr_kv_iter_status(events, err);
        tr_kv_iter_free(deliveries);
    }
    tr_kv_iter_free(events);
    return e;
}

int tr__bus_deliver_load(tr_bus *b, tr_error *err)
{
    tr_kv_iter *iter;
    tr_view key, value;
    tr_bus_event *event = NULL;
    int e = drop_orphans(b, err);
    if (e)
        return e;
    e = tr_kv_iter_new(b->kv, TR_KV_BUS, NULL, TR_VIEW("D"), TR_VIEW("E"), &iter);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    for (tr_kv_iter_first(iter); e == 0 && tr_kv_iter_get(iter, &key, &value); tr_kv_iter_next(iter))
        e = load_delivery(b, key, value, &event, err);
    if (e == 0)
        e = tr_kv_iter_status(iter, err);
    tr_kv_iter_free(iter);
    return e;
}

void tr__bus_deliver_done(tr_bus *b)
{
    while (b->later_count)
        tr__bus_deliver_forget(b, b->later[--b->later_count]);
    tr_free(b->later);
    b->later = NULL;
    for (tr_target *t; (t = b->ready) != NULL;) {
        b->ready = t->next_ready;
        for (tr_delivery *d; (d = t->first) != NULL;) {
            t->first = d->next;
            tr__bus_deliver_forget(b, d);
        }
        t->last = NULL;
        tr__bus_target_unref(t);
    }
}
