/* SPDX-License-Identifier: MIT */
#include "log/internal.h"

#include <inttypes.h>
#include <stdio.h>

#define BODY_MAX (1 << 20)  /* of a request of ours */
#define PAGE_MAX (64 << 20) /* a page of 1 MB of items, in JSON, with every byte escaped */

void tr__log_write_pk(tr_json_writer *w, tr_view log, tr_view id)
{
    char pk[2 * TR_LOG_NAME_MAX + sizeof TR_LOG_PK_SUFFIX + 1];
    int n = snprintf(pk, sizeof pk, "%.*s#%.*s" TR_LOG_PK_SUFFIX, TR_FMT(log), TR_FMT(id));
    tr_json_begin_object(w);
    tr_json_member_string(w, "S", tr_view_of(pk, (size_t)n));
    tr_json_end_object(w);
}

void tr__log_write_query(tr_buf *body, const tr_log_range *range, tr_view start_key_json)
{
    tr_json_writer w;
    tr_json_write_init(&w, body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", tr__log_table(range->table));
    tr_json_member_bool(&w, "ConsistentRead", true);
    bool bounded = range->after != 0;
    tr_json_member_cstring(&w, "KeyConditionExpression",
                           !bounded         ? "#pk = :pk"
                           : range->reverse ? "#pk = :pk AND #sk < :after"
                                            : "#pk = :pk AND #sk > :after");
    tr_json_name(&w, "ExpressionAttributeNames");
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "#pk", TR_LOG_PK);
    if (bounded)
        tr_json_member_cstring(&w, "#sk", TR_LOG_SK);
    tr_json_end_object(&w);
    tr_json_name(&w, "ExpressionAttributeValues");
    tr_json_begin_object(&w);
    tr_json_name(&w, ":pk");
    tr__log_write_pk(&w, range->log, range->id);
    if (bounded) {
        char after[24];
        (void)snprintf(after, sizeof after, "%" PRIu64, range->after);
        tr_json_name(&w, ":after");
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "N", after);
        tr_json_end_object(&w);
    }
    tr_json_end_object(&w);
    if (range->reverse)
        tr_json_member_bool(&w, "ScanIndexForward", false);
    if (range->limit)
        tr_json_member_u64(&w, "Limit", range->limit < 1000 ? range->limit : 1000);
    if (start_key_json.len) {
        tr_json_name(&w, "ExclusiveStartKey");
        tr_json_value(&w, start_key_json);
    }
    tr_json_end_object(&w);
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

/* Hands out the events of one page; counts them in *seen; TR_ECANCELED-free: fn's code stops. */
static int page_events(tr_view items_json, tr_arena *arena, const tr_log_range *range, uint64_t *seen,
                       tr_log_event_fn *fn, void *ctx, tr_error *err)
{
    tr_json_reader r;
    tr_json_init(&r, items_json, arena);
    tr_buf packed;
    tr_buf_init(&packed, 2 * TR_ITEM_SIZE_MAX + 65536);
    int e = tr_json_next(&r) == TR_JSON_ARRAY ? 0 : TR_EPARSE;
    while (!e && tr_json_next(&r) == TR_JSON_OBJECT && (!range->limit || *seen < range->limit)) {
        tr_item_error problem;
        tr_log_event event;
        tr_buf_reset(&packed);
        e = tr_item_read(&r, &packed, &problem);
        if (e)
            (void)tr_fail(err, e, "the answer to a Query holds an item that is not valid");
        else if (!(e = tr_log_event_from_item(tr_buf_view(&packed), &event, err))) {
            ++*seen;
            e = fn(ctx, &event);
        }
    }
    tr_buf_done(&packed);
    return e;
}

int tr_log_read(tr_client *client, const tr_log_range *range, tr_log_event_fn *fn, void *ctx, tr_error *err)
{
    tr_buf body, page, start;
    tr_arena arena;
    tr_buf_init(&body, BODY_MAX);
    tr_buf_init(&page, PAGE_MAX);
    tr_buf_init(&start, 65536);
    tr_arena_init(&arena, PAGE_MAX);
    uint64_t seen = 0;
    int e;
    do {
        tr_buf_reset(&body);
        tr_buf_reset(&page);
        tr_arena_reset(&arena);
        tr__log_write_query(&body, range, tr_buf_view(&start));
        tr_request request = {.service = TR_DYNAMODB, .operation = "Query", .body = tr_buf_view(&body)};
        e = tr_buf_status(&body) ? tr_fail(err, TR_ELIMIT, "log or id is too long")
                                 : tr_client_call_wait(client, &request, &page, err);
        tr_view items, next;
        if (!e && (e = tr_json_member(tr_buf_view(&page), "Items", &arena, &items)))
            (void)tr_fail(err, e, "the answer to a Query has no Items");
        if (!e)
            e = page_events(items, &arena, range, &seen, fn, ctx, err);
        tr_buf_reset(&start);
        if (!e && tr_json_member(tr_buf_view(&page), "LastEvaluatedKey", &arena, &next) == 0)
            tr_buf_put_view(&start, next);
    } while (!e && start.len && (!range->limit || seen < range->limit));
    tr_buf_done(&body);
    tr_buf_done(&page);
    tr_buf_done(&start);
    tr_arena_done(&arena);
    return e;
}
