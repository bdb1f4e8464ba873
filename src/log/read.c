/* SPDX-License-Identifier: MIT */
#include "client/query.h"
#include "log/internal.h"

#include <inttypes.h>
#include <stdio.h>

void tr__log_put_pk(tr_buf *out, tr_view log, tr_view id)
{
    char pk[2 * TR_LOG_NAME_MAX + sizeof TR_LOG_PK_SUFFIX + 1];
    tr_json_writer w;
    int n = snprintf(pk, sizeof pk, "%.*s#%.*s" TR_LOG_PK_SUFFIX, TR_FMT(log), TR_FMT(id));
    tr_json_write_init(&w, out);
    tr_json_string(&w, tr_view_of(pk, (size_t)n));
}

static void write_query(tr_json_writer *w, const tr_log_range *range)
{
    bool bounded = range->after != 0;
    tr_json_member_cstring(w, "TableName", tr__log_table(range->table));
    tr_json_member_bool(w, "ConsistentRead", true);
    tr_json_member_cstring(w, "KeyConditionExpression",
                           !bounded         ? "#pk = :pk"
                           : range->reverse ? "#pk = :pk AND #sk < :after"
                                            : "#pk = :pk AND #sk > :after");
    tr_json_name(w, "ExpressionAttributeNames");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "#pk", TR_LOG_PK);
    if (bounded)
        tr_json_member_cstring(w, "#sk", TR_LOG_SK);
    tr_json_end_object(w);
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    tr_json_name(w, ":pk");
    tr_json_begin_object(w);
    tr_json_name(w, "S");
    tr__log_put_pk(w->out, range->log, range->id);
    tr_json_end_object(w);
    if (bounded) {
        char after[24];
        (void)snprintf(after, sizeof after, "%" PRIu64, range->after);
        tr_json_name(w, ":after");
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "N", after);
        tr_json_end_object(w);
    }
    tr_json_end_object(w);
    if (range->reverse)
        tr_json_member_bool(w, "ScanIndexForward", false);
}

int tr_log_event_from_item(tr_item item, tr_log_event *ret_event, tr_error *err)
{
    tr_value pk, sk, type, payload;
    static const tr_view suffix = {TR_LOG_PK_SUFFIX, sizeof TR_LOG_PK_SUFFIX - 1};
    if (tr_item_get(item, TR_VIEW(TR_LOG_PK), &pk) || pk.type != TR_S ||
        tr_item_get(item, TR_VIEW(TR_LOG_SK), &sk) || sk.type != TR_N)
        return tr_fail(err, TR_EINVAL, "no event of a log: pk (S) and sk (N) are needed");
    size_t hash = tr_view_find(pk.payload, TR_VIEW("#"), 0);
    if (hash == SIZE_MAX || pk.payload.len < hash + 1 + suffix.len ||
        !tr_view_eq(tr_view_of(pk.payload.ptr + pk.payload.len - suffix.len, suffix.len), suffix))
        return tr_fail(err, TR_EINVAL, "no event of a log: pk is '%.*s', not <log>#<id>" TR_LOG_PK_SUFFIX,
                       TR_FMT(pk.payload));
    int64_t version;
    if (tr_number_to_i64(sk.payload, &version) || version < 1)
        return tr_fail(err, TR_EINVAL, "no event of a log: sk is not a whole number from 1");
    if (tr_item_get(item, TR_VIEW(TR_LOG_TYPE), &type) || type.type != TR_S ||
        tr_item_get(item, TR_VIEW(TR_LOG_PAYLOAD), &payload) || payload.type != TR_M)
        return tr_fail(err, TR_EINVAL, "no event of a log: type (S) and payload (M) are needed");
    tr_view rest = tr_view_of(pk.payload.ptr + hash + 1, pk.payload.len - hash - 1 - suffix.len);
    *ret_event = (tr_log_event){.log = tr_view_of(pk.payload.ptr, hash),
                                .id = rest,
                                .type = type.payload,
                                .version = (uint64_t)version,
                                .payload = payload.payload};
    return 0;
}

void tr_log_event_write(tr_json_writer *w, const tr_log_event *event)
{
    tr_json_begin_object(w);
    tr_json_member_string(w, "log", event->log);
    tr_json_member_string(w, "id", event->id);
    tr_json_member_u64(w, "version", event->version);
    tr_json_member_string(w, "type", event->type);
    tr_json_name(w, "payload");
    tr_item_write_plain(w, event->payload);
    tr_json_end_object(w);
}

typedef struct reading {
    tr_log_event_fn *fn;
    void *ctx;
} reading;

static int on_item(void *ctx, tr_item item, tr_error *err)
{
    const reading *r = ctx;
    tr_log_event event;
    int e = tr_log_event_from_item(item, &event, err);
    if (!e && (e = r->fn(r->ctx, &event)))
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    return e;
}

int tr_log_read(tr_client *client, const tr_log_range *range, tr_log_event_fn *fn, void *ctx, tr_error *err)
{
    tr__query query;
    reading r = {fn, ctx};
    if (range->log.len > TR_LOG_NAME_MAX || range->id.len > TR_LOG_NAME_MAX)
        return tr_fail(err, TR_ELIMIT, "log or id is too long");
    tr__query_init(&query, "Query", range->limit);
    write_query(&query.writer, range);
    int e = tr__query_wait(client, &query, on_item, &r, err);
    tr__query_done(&query);
    return e;
}
