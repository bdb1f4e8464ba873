/* SPDX-License-Identifier: MIT */
/** A table with a stream in an engine in memory, and consumers of it. */
#ifndef TAILRACE_TEST_LIVE_H
#define TAILRACE_TEST_LIVE_H

#include "../embedded.h"

#include <tailrace/stream.h>

#define LIVE_WAIT_MS 120000 /* for what must come; tests do not depend on speed */

static inline void live_open(embedded *e, int64_t iterator_lifetime_ms)
{
    tr_server_options o = {.stream_shards = 3, .iterator_lifetime_ms = iterator_lifetime_ms};
    embedded_open(e, &o);
    embedded_call(
        e->client, "CreateTable",
        "{\"TableName\":\"tab\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":["
        "{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":\"id\","
        "\"KeyType\":\"HASH\"}],\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":"
        "\"NEW_AND_OLD_IMAGES\"}}",
        NULL);
}

/** The item `id` gets the version `v`. */
static inline void live_put(embedded *e, int id, int v)
{
    char body[300];
    (void)snprintf(body, sizeof body,
                   "{\"TableName\":\"tab\",\"Item\":{\"id\":{\"S\":\"%d\"},\"v\":{\"N\":\"%d\"}}}", id, v);
    embedded_call(e->client, "PutItem", body, NULL);
}

static inline void live_remove(embedded *e, int id)
{
    char body[300];
    (void)snprintf(body, sizeof body, "{\"TableName\":\"tab\",\"Key\":{\"id\":{\"S\":\"%d\"}}}", id);
    embedded_call(e->client, "DeleteItem", body, NULL);
}

static inline tr_stream *live_stream(embedded *e, tr_stream_options o)
{
    tr_stream *stream = NULL;
    tr_error err = {0};
    o.table = "tab";
    if (!o.start.at)
        o.start.at = TR_START_TRIM_HORIZON;
    if (tr_stream_new(e->client, &o, &stream, &err))
        fail_msg("%s", err.message);
    return stream;
}

/** A whole number of an item, or -1. S and N alike. */
static inline int live_number(tr_item item, const char *name)
{
    tr_value v;
    int64_t n = -1;
    if (tr_item_get(item, tr_view_str(name), &v))
        return -1;
    if (v.type == TR_N)
        return tr_number_to_i64(v.payload, &n) ? -1 : (int)n;
    uint64_t u;
    return v.type == TR_S && tr_view_to_u64(v.payload, INT32_MAX, &u) == 0 ? (int)u : -1;
}

/** The next event of a kind; those of other kinds are given back. */
static inline tr_stream_event *live_next(tr_stream *stream, tr_stream_event_kind kind)
{
    for (;;) {
        tr_stream_event *event;
        int code = tr_stream_next(stream, LIVE_WAIT_MS, &event);
        if (code)
            fail_msg("an event of kind %d did not come: %s", (int)kind, tr_strerror(code));
        if (event->kind == kind)
            return event;
        tr_stream_ack(stream, event);
    }
}

#endif
