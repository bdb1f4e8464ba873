/* SPDX-License-Identifier: MIT */
#include "eventstore/internal.h"

#include <inttypes.h>
#include <stdio.h>

static void write_number_value(tr_json_writer *w, const char *name, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "N", text);
    tr_json_end_object(w);
}

/* Member by member what castore's getEvents asks. */
static void write_query(tr__query *q, const tr_eventstore *store, tr_view aggregate_id,
                        const tr_events_range *range)
{
    tr_json_writer *w = &q->writer;
    bool min = range->min_version != 0, max = range->max_version != 0;
    tr_json_member_cstring(w, "TableName", tr__eventstore_table(store));
    tr_json_member_cstring(
        w, "KeyConditionExpression",
        max   ? min ? "#aggregateId = :aggregateId and #version between :minVersion and :maxVersion"
                    : "#aggregateId = :aggregateId and #version <= :maxVersion"
        : min ? "#aggregateId = :aggregateId and #version >= :minVersion"
              : "#aggregateId = :aggregateId");
    tr_json_name(w, "ExpressionAttributeNames");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "#aggregateId", TR_EVENT_TABLE_PK);
    if (min || max)
        tr_json_member_cstring(w, "#version", TR_EVENT_TABLE_SK);
    tr_json_end_object(w);
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    tr_json_name(w, ":aggregateId");
    tr_json_begin_object(w);
    tr_json_name(w, "S");
    tr__event_put_key(w->out, store, aggregate_id);
    tr_json_end_object(w);
    if (max)
        write_number_value(w, ":maxVersion", range->max_version);
    if (min)
        write_number_value(w, ":minVersion", range->min_version);
    tr_json_end_object(w);
    tr_json_member_bool(w, "ConsistentRead", true);
    if (range->order != TR_ORDER_DEFAULT)
        tr_json_member_bool(w, "ScanIndexForward", range->order != TR_ORDER_REVERSE);
}

int tr__events_query(tr__query *q, const tr_eventstore *store, tr_view aggregate_id,
                     const tr_events_range *range, tr_error *err)
{
    static const tr_events_range all = {0};
    int e = tr__event_check_id(store, aggregate_id, err);
    if (e)
        return e;
    tr__query_init(q, "Query", range ? range->limit : 0);
    write_query(q, store, aggregate_id, range ? range : &all);
    return 0;
}

typedef struct reading {
    tr__query query;
    const tr_eventstore *store;
    tr_event_fn *each;
    tr_events_done_fn *done;
    void *ctx;
} reading;

static int on_item(void *ctx, tr_item item, tr_error *err)
{
    reading *r = ctx;
    tr_event event;
    int e = tr_event_from_item(r->store, item, &event, err);
    if (e)
        return e;
    e = r->each(r->ctx, &event);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

static void on_done(void *ctx, int code, const tr_error *err)
{
    reading *r = ctx;
    tr_events_done_fn *done = r->done;
    void *theirs = r->ctx;
    tr__query_done(&r->query);
    tr_free(r);
    done(theirs, code, err);
}

/* A range that holds nothing: the service refuses such a `between`. */
static bool empty_range(const tr_events_range *range)
{
    return range && range->max_version && range->min_version > range->max_version;
}

static void nothing_there(void *ctx)
{
    on_done(ctx, 0, NULL);
}

int tr_eventstore_get(tr_eventstore *store, tr_view aggregate_id, const tr_events_range *range,
                      tr_event_fn *each, tr_events_done_fn *done, void *ctx, tr_error *err)
{
    reading *r = tr_calloc(1, sizeof *r);
    if (!r)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    *r = (reading){.store = store, .each = each, .done = done, .ctx = ctx};
    int e = tr__events_query(&r->query, store, aggregate_id, range, err);
    if (!e && empty_range(range)) {
        if ((e = tr_client_schedule(store->client, 0, nothing_there, r)))
            (void)tr_fail(err, e, "%s", tr_strerror(e));
    } else if (!e) {
        e = tr__query_start(store->client, &r->query, on_item, on_done, r, err);
    }
    if (e) {
        tr__query_done(&r->query);
        tr_free(r);
    }
    return e;
}

int tr_eventstore_get_wait(tr_eventstore *store, tr_view aggregate_id, const tr_events_range *range,
                           tr_event_fn *each, void *ctx, tr_error *err)
{
    reading r = {.store = store, .each = each, .ctx = ctx};
    int e = tr__events_query(&r.query, store, aggregate_id, range, err);
    if (e)
        return e;
    if (!empty_range(range))
        e = tr__query_wait(store->client, &r.query, on_item, &r, err);
    tr__query_done(&r.query);
    return e;
}
