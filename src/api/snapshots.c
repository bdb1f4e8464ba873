/* SPDX-License-Identifier: MIT */
#include "api/call.h"

/*
 * Snapshots that clients read from by a token (x-tailrace-snapshot), so that a scan of many pages sees one
 * state and can tell its sequence number.
 */

typedef struct tr_snapshot_slot {
    tr_engine_snapshot *snapshot; /* NULL: free */
    char token[TR_API_SNAPSHOT_TOKEN_LEN + 1];
    int64_t used_ms; /* monotonic */
} slot;

static void release(tr_api *api, slot *s)
{
    tr_engine_snapshot_free(api->engine, s->snapshot);
    s->snapshot = NULL;
}

void tr__snapshots_expire(tr_api *api)
{
    int64_t now = tr_clock_mono_ms();
    for (size_t i = 0; api->snapshots && i < TR_API_SNAPSHOTS_MAX; i++)
        if (api->snapshots[i].snapshot && now - api->snapshots[i].used_ms > TR_API_SNAPSHOT_LIFETIME_MS)
            release(api, &api->snapshots[i]);
}

void tr__snapshots_done(tr_api *api)
{
    for (size_t i = 0; api->snapshots && i < TR_API_SNAPSHOTS_MAX; i++)
        if (api->snapshots[i].snapshot)
            release(api, &api->snapshots[i]);
    tr_free(api->snapshots);
    api->snapshots = NULL;
}

static int add(tr_call *c, slot **ret_slot)
{
    tr_api *api = c->api;
    if (!api->snapshots)
        api->snapshots = tr_calloc(TR_API_SNAPSHOTS_MAX, sizeof *api->snapshots);
    if (!api->snapshots)
        return TR_ENOMEM;
    tr__snapshots_expire(api);
    for (size_t i = 0; i < TR_API_SNAPSHOTS_MAX; i++) {
        slot *s = &api->snapshots[i];
        if (s->snapshot)
            continue;
        s->snapshot = tr_engine_snapshot_new(c->engine);
        if (!s->snapshot)
            return TR_ENOMEM;
        uint8_t bytes[TR_API_SNAPSHOT_TOKEN_LEN / 2];
        tr_random_bytes(bytes, sizeof bytes);
        for (size_t k = 0; k < sizeof bytes; k++) {
            static const char hex[] = "0123456789abcdef";
            s->token[2 * k] = hex[bytes[k] >> 4];
            s->token[2 * k + 1] = hex[bytes[k] & 15];
        }
        *ret_slot = s;
        return 0;
    }
    return tr__fail(
        c, 400, TR_TYPE("LimitExceededException"),
        "x-tailrace-snapshot: %d snapshots are in use; each is given up %d seconds after its last use",
        TR_API_SNAPSHOTS_MAX, TR_API_SNAPSHOT_LIFETIME_MS / 1000);
}

static int find(tr_call *c, tr_view token, slot **ret_slot)
{
    tr__snapshots_expire(c->api);
    for (size_t i = 0; c->api->snapshots && i < TR_API_SNAPSHOTS_MAX; i++) {
        slot *s = &c->api->snapshots[i];
        if (s->snapshot && tr_view_is(token, s->token)) {
            *ret_slot = s;
            return 0;
        }
    }
    return tr__invalid(
        c,
        "x-tailrace-snapshot: there is no such snapshot; it may have been unused for %d seconds, "
        "or the server was started anew",
        TR_API_SNAPSHOT_LIFETIME_MS / 1000);
}

int tr__snapshot(tr_call *c, const tr_table *table, const tr_engine_snapshot **ret_snapshot)
{
    slot *s = NULL;
    *ret_snapshot = NULL;
    if (TR_LIKELY(c->request->snapshot.len == 0))
        return 0;
    int e = tr_view_is(c->request->snapshot, "new") ? add(c, &s) : find(c, c->request->snapshot, &s);
    if (e)
        return e;
    s->used_ms = tr_clock_mono_ms();
    memcpy(c->reply->snapshot, s->token, sizeof s->token);
    tr_sequence_format(tr_engine_snapshot_sequence(s->snapshot), c->reply->sequence_number);
    if (table->stream && !table->stream->disabled_ms && table->stream->arn.len <= TR_ARN_MAX) {
        memcpy(c->reply->stream_arn, table->stream->arn.ptr, table->stream->arn.len);
        c->reply->stream_arn[table->stream->arn.len] = 0;
    }
    *ret_snapshot = s->snapshot;
    return 0;
}
