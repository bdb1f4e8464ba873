/* SPDX-License-Identifier: MIT */
#include <tailrace/outbox.h>

#include "eventstore/aggregate.h"

#include <stdatomic.h>
#include <stdio.h>
#include <uv.h>

#define BATCH          200
#define RETRY_MS       500
#define WAIT_MS        200
#define STORES_MAX     1024
#define CACHE_SLOTS    512 /* aggregates that are kept, for their next events */
#define AGGREGATE_JSON ((size_t)16 << 20)
#define MESSAGE_MAX    ((size_t)24 << 20)

typedef struct slot {
    tr_eventstore *store;
    tr_aggregate *aggregate;
} slot;

struct tr_outbox {
    tr_client *client;
    tr_outbox_options options;
    atomic_bool stop;
    uv_mutex_t mutex;
    tr_subscription *running; /* with the mutex */
    tr_eventstore **stores;   /* those that were met */
    size_t store_count;
    slot cache[CACHE_SLOTS];
    tr_buf message, key;
};

const char *tr_message_kind_name(tr_message_kind kind)
{
    static const char *const names[] = {"notification", "state-carrying", "aggregate-exists"};
    return (unsigned)kind < TR_COUNT(names) ? names[kind] : "unknown";
}

/* ------------------------------------------------------------------------------------------------ messages
 */

/* {"aggregateId":…,"version":…, and what the reducer saves} */
static int write_aggregate(tr_json_writer *w, const tr_aggregate *a, tr_error *err)
{
    const tr_reducer *reducer = a->reducer;
    if (!reducer->save)
        return tr_fail(err, TR_EINVAL, "the reducer cannot save an aggregate, so it cannot be written");
    tr_buf packed;
    tr_packer p;
    tr_packed_iter it;
    tr_buf_init(&packed, AGGREGATE_JSON);
    tr_packer_init(&p, &packed);
    tr_pack_item_begin(&p);
    int e = reducer->save(reducer->ctx, tr_aggregate_state(a), &p);
    if (!e)
        e = tr_pack_item_end(&p);
    if (e)
        (void)tr_fail(err, e, "saving aggregate %.*s: %s", TR_FMT(tr_aggregate_id(a)), tr_strerror(e));
    tr_json_begin_object(w);
    tr_json_member_string(w, TR_EVENT_TABLE_PK, tr_aggregate_id(a));
    tr_json_member_u64(w, TR_EVENT_TABLE_SK, tr_aggregate_version(a));
    tr_item_iter(&it, tr_buf_view(&packed));
    while (!e && tr_packed_next(&it)) {
        if (tr_view_is(it.name, TR_EVENT_TABLE_PK) || tr_view_is(it.name, TR_EVENT_TABLE_SK))
            continue;
        tr_json_key(w, it.name);
        tr_value_write_plain(w, it.value);
    }
    tr_json_end_object(w);
    tr_buf_done(&packed);
    return e;
}

int tr_message_write(tr_json_writer *w, tr_message_kind kind, tr_view store_id, const tr_event *event,
                     const tr_aggregate *aggregate, const tr_event_format *format, tr_error *err)
{
    int e = 0;
    tr_json_begin_object(w);
    tr_json_member_string(w, TR_EVENT_TABLE_EVENT_STORE_ID_KEY, store_id);
    if (kind == TR_MESSAGE_AGGREGATE_EXISTS) {
        tr_json_member_string(w, TR_EVENT_TABLE_PK, event->aggregate_id);
        tr_json_member_string(w, "initialEventTimestamp", event->timestamp);
    } else {
        tr_json_name(w, "event");
        tr_event_write(w, event, format);
    }
    if (kind == TR_MESSAGE_STATE_CARRYING) {
        tr_json_name(w, "aggregate");
        e = aggregate ? write_aggregate(w, aggregate, err)
                      : tr_fail(err, TR_EINVAL, "a state-carrying message needs the aggregate");
    }
    tr_json_end_object(w);
    return e ? e : tr_buf_status(w->out) ? tr_fail(err, tr_buf_status(w->out), "writing a message") : 0;
}

/* ---------------------------------------------------------------------------------------------- aggregates
 */

static int store_of(tr_outbox *o, tr_view id, tr_eventstore **ret_store, tr_error *err)
{
    for (size_t i = 0; i < o->store_count; i++)
        if (tr_view_is(id, tr_eventstore_id(o->stores[i]))) {
            *ret_store = o->stores[i];
            return 0;
        }
    if (o->store_count == STORES_MAX)
        return tr_fail(err, TR_ELIMIT, "more than %d event stores in one table", STORES_MAX);
    tr_buf_reset(&o->key);
    tr_buf_put_view(&o->key, id);
    tr_eventstore_options options = {
        .store_id = tr_buf_cstr(&o->key), .table = o->options.table, .layout = o->options.layout};
    int e = tr_eventstore_new(o->client, &options, ret_store, err);
    if (!e)
        o->stores[o->store_count++] = *ret_store;
    return e;
}

static slot *slot_of(tr_outbox *o, const tr_eventstore *store, tr_view id)
{
    uint32_t hash = tr_crc32(tr_crc32(0, tr_view_str(tr_eventstore_id(store))), id);
    return &o->cache[hash % CACHE_SLOTS];
}

/* The aggregate as of the event: the one that was made for the event before, if it still is there, or read.
 */
static int aggregate_at(tr_outbox *o, const tr_subscribed *s, const tr_aggregate **ret, tr_error *err)
{
    tr_eventstore *store;
    int e = store_of(o, s->store_id, &store, err);
    if (e)
        return e;
    slot *at = slot_of(o, store, s->event.aggregate_id);
    bool same = at->aggregate && at->store == store &&
                tr_view_eq(tr_aggregate_id(at->aggregate), s->event.aggregate_id);
    if (same && !s->overwritten && tr_aggregate_version(at->aggregate) + 1 == s->event.version) {
        e = tr_aggregate_apply(at->aggregate, &s->event, err);
    } else if (!same || s->overwritten || tr_aggregate_version(at->aggregate) != s->event.version) {
        tr_aggregate_options options = {.max_version = s->event.version, .snapshots = o->options.snapshots};
        tr_aggregate_free(at->aggregate);
        *at = (slot){.store = store};
        e = tr_aggregate_get_wait(store, o->options.reducer, s->event.aggregate_id, &options, &at->aggregate,
                                  err);
    }
    if (e) { /* one that could not take the event is of no use */
        tr_aggregate_free(at->aggregate);
        *at = (slot){0};
    }
    *ret = at->aggregate;
    return e;
}

/* -------------------------------------------------------------------------------------------- publishing */

/* Events that were handed to the publisher together. It lives until all are told, also if nobody waits. */
typedef struct round round_;
typedef struct entry {
    round_ *of;
    bool done;
} entry;
struct round {
    uv_mutex_t mutex;
    uv_cond_t changed;
    size_t pending;
    bool abandoned;
    tr_error error; /* of the first entry that was given up */
    entry entries[];
};

static round_ *round_new(size_t count)
{
    round_ *r = tr_calloc(1, sizeof *r + count * sizeof r->entries[0]);
    if (!r || uv_mutex_init(&r->mutex)) {
        tr_free(r);
        return NULL;
    }
    if (uv_cond_init(&r->changed)) {
        uv_mutex_destroy(&r->mutex);
        tr_free(r);
        return NULL;
    }
    return r;
}

static void round_free(round_ *r)
{
    uv_cond_destroy(&r->changed);
    uv_mutex_destroy(&r->mutex);
    tr_free(r);
}

static void on_result(void *ctx, const tr_publish_result *result)
{
    entry *t = ctx;
    round_ *r = t->of;
    uv_mutex_lock(&r->mutex);
    t->done = result->code == 0 || result->kept;
    if (!t->done && !r->error.code)
        (void)tr_fail(&r->error, result->code, "%s",
                      result->err ? result->err->message : tr_strerror(result->code));
    r->pending--;
    bool last = r->pending == 0 && r->abandoned;
    uv_cond_signal(&r->changed);
    uv_mutex_unlock(&r->mutex);
    if (last)
        round_free(r);
}

static tr_view detail_type(const tr_outbox *o, const tr_event *event)
{
    if (o->options.kind == TR_MESSAGE_AGGREGATE_EXISTS)
        return TR_VIEW(TR_DETAIL_TYPE_AGGREGATE_EXISTS);
    return o->options.replay ? TR_VIEW(TR_DETAIL_TYPE_REPLAYED) : event->type;
}

/* Hands an event to the publisher; it may not be one that is published. */
static int put(tr_outbox *o, round_ *r, size_t i, const tr_subscribed *s, tr_error *err)
{
    const tr_aggregate *aggregate = NULL;
    tr_json_writer w;
    if (o->options.kind == TR_MESSAGE_AGGREGATE_EXISTS && (s->event.version != 1 || s->overwritten)) {
        r->entries[i].done = true;
        return 0;
    }
    int e = o->options.kind == TR_MESSAGE_STATE_CARRYING ? aggregate_at(o, s, &aggregate, err) : 0;
    if (e)
        return e;
    tr_buf_reset(&o->message);
    tr_json_write_init(&w, &o->message);
    e = tr_message_write(&w, o->options.kind, s->store_id, &s->event, aggregate, &o->options.format, err);
    if (e)
        return e;
    tr_buf_reset(&o->key);
    tr_buf_printf(&o->key, "%.*s#%.*s", TR_FMT(s->store_id), TR_FMT(s->event.aggregate_id));
    tr_publish_entry out = {.source = s->store_id,
                            .detail_type = detail_type(o, &s->event),
                            .detail = tr_buf_view(&o->message),
                            .key = tr_buf_view(&o->key)};
    r->entries[i].of = r;
    uv_mutex_lock(&r->mutex);
    r->pending++;
    uv_mutex_unlock(&r->mutex);
    do
        e = tr_publisher_put(o->options.publisher, &out, WAIT_MS, on_result, &r->entries[i], err);
    while (e == TR_EBUSY && !atomic_load(&o->stop));
    if (e) {
        uv_mutex_lock(&r->mutex);
        r->pending--;
        uv_mutex_unlock(&r->mutex);
    }
    return e == TR_EBUSY ? tr_fail(err, TR_ECLOSED, "%s", tr_strerror(TR_ECLOSED)) : e;
}

/* Waits for all that was put. Whether they are told: else the round is not ours any more. */
static bool wait_for(tr_outbox *o, round_ *r)
{
    uv_mutex_lock(&r->mutex);
    while (r->pending && !atomic_load(&o->stop))
        (void)uv_cond_timedwait(&r->changed, &r->mutex, (uint64_t)WAIT_MS * 1000000);
    bool told = r->pending == 0;
    r->abandoned = !told;
    uv_mutex_unlock(&r->mutex);
    return told;
}

int tr_outbox_publish(tr_outbox *o, const tr_subscribed *events, size_t count, size_t *ret_done,
                      tr_error *err)
{
    round_ *r = round_new(count);
    size_t done = 0;
    int e = 0;
    *ret_done = 0;
    if (!r)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    for (size_t i = 0; i < count && !e; i++)
        e = put(o, r, i, &events[i], err);
    if (!wait_for(o, r))
        return tr_fail(err, TR_ECLOSED, "%s", tr_strerror(TR_ECLOSED));
    while (done < count && r->entries[done].done)
        done++;
    if (!e && done < count)
        e = tr_fail(err, r->error.code, "%.*s#%.*s version %llu was not published: %s",
                    TR_FMT(events[done].store_id), TR_FMT(events[done].event.aggregate_id),
                    (unsigned long long)events[done].event.version, r->error.message);
    *ret_done = done;
    round_free(r);
    return e;
}

/* Publishes a batch and acknowledges what is on the bus. What may pass is tried again with the next one. */
static int publish_batch(tr_outbox *o, tr_subscription *subscription, const tr_subscribed_batch *batch,
                         tr_error *err)
{
    size_t done = 0;
    tr_error acknowledging;
    int e = tr_outbox_publish(o, batch->events, batch->count, &done, err);
    int acked = tr_subscription_ack(subscription, done, &acknowledging);
    if (acked)
        return tr_fail(err, acked, "%s", acknowledging.message);
    if (!e || e == TR_ECLOSED || e == TR_ENOMEM || !tr_retryable(e))
        return e;
    tr_log(&o->options.logger, TR_LOG_WARN, "%s; trying again", err->message);
    uv_sleep(RETRY_MS);
    return 0;
}

static void set_running(tr_outbox *o, tr_subscription *subscription)
{
    uv_mutex_lock(&o->mutex);
    o->running = subscription;
    if (subscription && atomic_load(&o->stop))
        tr_subscription_stop(subscription);
    uv_mutex_unlock(&o->mutex);
}

int tr_outbox_run(tr_outbox *o, tr_subscription *subscription, tr_error *err)
{
    tr_subscribed_batch batch;
    tr_error local = {0};
    int e = 0;
    set_running(o, subscription);
    while (!e && !(e = tr_subscription_next(subscription, BATCH, -1, &batch, &local)))
        e = publish_batch(o, subscription, &batch, &local);
    set_running(o, NULL);
    return e == TR_ECLOSED ? 0 : tr_fail(err, e, "%s", local.message);
}

/* ------------------------------------------------------------------------------------------------ lifecycle
 */

int tr_outbox_new(tr_client *client, const tr_outbox_options *options, tr_outbox **ret_outbox, tr_error *err)
{
    if (!options->publisher)
        return tr_fail(err, TR_EINVAL, "an outbox needs a publisher");
    if (options->kind == TR_MESSAGE_STATE_CARRYING && (!options->reducer || !options->reducer->save))
        return tr_fail(err, TR_EINVAL, "state-carrying messages need a reducer that can save aggregates");
    tr_outbox *o = tr_calloc(1, sizeof *o);
    if (o)
        o->stores = tr_calloc(STORES_MAX, sizeof *o->stores);
    if (!o || !o->stores || uv_mutex_init(&o->mutex)) {
        tr_free(o ? o->stores : NULL);
        tr_free(o);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    o->client = client;
    o->options = *options;
    tr_buf_init(&o->message, MESSAGE_MAX);
    tr_buf_init(&o->key, 2 * TR_EVENT_KEY_MAX + 16);
    *ret_outbox = o;
    return 0;
}

void tr_outbox_free(tr_outbox *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        tr_aggregate_free(o->cache[i].aggregate);
    for (size_t i = 0; i < o->store_count; i++)
        tr_eventstore_free(o->stores[i]);
    tr_free(o->stores);
    uv_mutex_destroy(&o->mutex);
    tr_buf_done(&o->message);
    tr_buf_done(&o->key);
    tr_free(o);
}

void tr_outbox_stop(tr_outbox *o)
{
    atomic_store(&o->stop, true);
    uv_mutex_lock(&o->mutex);
    if (o->running)
        tr_subscription_stop(o->running);
    uv_mutex_unlock(&o->mutex);
}
