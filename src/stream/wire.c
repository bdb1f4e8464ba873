/* SPDX-License-Identifier: MIT */
#include "stream/wire.h"
#include "stream/wire_lease.h"

#include <stdio.h>

#define ANSWER_MAX                                                                                           \
    (256u * 1024 * 1024) /* memory of a decoded listing or scan page; services send 1 MB at most */

/* --------------------------------------------------------------------------------------------- requests */

static void encode_describe(tr_json_writer *w, const tr__req *req)
{
    tr_json_member_string(w, "StreamArn", req->stream_arn);
    if (req->children_of.len) {
        tr_json_name(w, "ShardFilter");
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "Type", "CHILD_SHARDS");
        tr_json_member_string(w, "ShardId", req->children_of);
        tr_json_end_object(w);
        return;
    }
    tr_json_member_i64(w, "Limit", 100); /* the service's most */
    if (req->exclusive_start.len)
        tr_json_member_string(w, "ExclusiveStartShardId", req->exclusive_start);
}

static void encode_iterator(tr_json_writer *w, const tr__req *req)
{
    static const char *const types[] = {"TRIM_HORIZON", "LATEST", "AT_SEQUENCE_NUMBER",
                                        "AFTER_SEQUENCE_NUMBER"};
    tr_json_member_string(w, "StreamArn", req->stream_arn);
    tr_json_member_string(w, "ShardId", req->shard_id);
    tr_json_member_cstring(w, "ShardIteratorType", types[req->iterator_type]);
    if (req->iterator_type == TR__ITERATOR_AT || req->iterator_type == TR__ITERATOR_AFTER)
        tr_json_member_string(w, "SequenceNumber", req->sequence_number);
}

static const char *encode_stream(tr_json_writer *w, const tr__req *req)
{
    switch (req->kind) {
    case TR__REQ_LIST_STREAMS:
        tr_json_member_string(w, "TableName", req->table);
        if (req->exclusive_start.len)
            tr_json_member_string(w, "ExclusiveStartStreamArn", req->exclusive_start);
        return "ListStreams";
    case TR__REQ_DESCRIBE_STREAM:
        encode_describe(w, req);
        return "DescribeStream";
    case TR__REQ_GET_ITERATOR:
        encode_iterator(w, req);
        return "GetShardIterator";
    default:
        tr_json_member_string(w, "ShardIterator", req->iterator);
        tr_json_member_u64(w, "Limit", req->limit);
        return "GetRecords";
    }
}

void tr__wire_encode(const tr__req *req, tr_buf *body, tr_service *ret_service, const char **ret_operation)
{
    tr_json_writer w;
    tr_json_write_init(&w, body);
    tr_json_begin_object(&w);
    switch (req->kind) {
    case TR__REQ_LIST_STREAMS:
    case TR__REQ_DESCRIBE_STREAM:
    case TR__REQ_GET_ITERATOR:
    case TR__REQ_GET_RECORDS:
        *ret_service = TR_STREAMS;
        *ret_operation = encode_stream(&w, req);
        break;
    case TR__REQ_DESCRIBE_TABLE:
        *ret_service = TR_DYNAMODB;
        *ret_operation = "DescribeTable";
        tr_json_member_string(&w, "TableName", req->table);
        break;
    default:
        *ret_service = TR_DYNAMODB;
        *ret_operation = tr__wire_encode_lease(&w, req);
        break;
    }
    tr_json_end_object(&w);
}

/* ---------------------------------------------------------------------------------------------- answers */

void tr__wire_init(tr__wire *wire)
{
    tr_arena_init(&wire->arena, ANSWER_MAX);
    tr_buf_init(&wire->iterator, TR__ITERATOR_MAX);
    wire->pool = NULL;
}

void tr__wire_done(tr__wire *wire)
{
    tr_arena_done(&wire->arena);
    tr_buf_done(&wire->iterator);
}

/** A member that is a text, or null, which counts as absent. */
static int text(tr_json_reader *r, tr_view *ret)
{
    tr_json_token t = tr_json_next(r);
    if (t == TR_JSON_NULL)
        return 0;
    if (t != TR_JSON_STRING)
        return TR_EPARSE;
    *ret = r->text;
    return 0;
}

static int skip(tr_json_reader *r)
{
    (void)tr_json_next(r);
    return tr_json_skip(r);
}

typedef int member_fn(tr__wire *wire, tr_json_reader *r, tr_view name, void *into);

/** The members of an object whose brace was just read. */
static int members(tr__wire *wire, tr_json_reader *r, member_fn *fn, void *into)
{
    int code = 0;
    while (code == 0 && tr_json_next_key(r))
        code = fn(wire, r, r->text, into);
    return code ? code : r->token == TR_JSON_OBJECT_END ? 0 : TR_EPARSE;
}

static int object(tr__wire *wire, tr_json_reader *r, member_fn *fn, void *into)
{
    return tr_json_next(r) == TR_JSON_OBJECT ? members(wire, r, fn, into) : TR_EPARSE;
}

/** An array of objects into an array of `size` bytes each, in the arena. */
static int objects(tr__wire *wire, tr_json_reader *r, member_fn *fn, size_t size, void *ret_array,
                   size_t *ret_count)
{
    if (tr_json_next(r) != TR_JSON_ARRAY)
        return TR_EPARSE;
    size_t count = 0, capacity = 0;
    char *array = NULL;
    tr_json_token t;
    while ((t = tr_json_next(r)) == TR_JSON_OBJECT) {
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 128;
            char *more = tr_arena_calloc(&wire->arena, capacity, size);
            if (!more)
                return TR_ENOMEM;
            if (count)
                memcpy(more, array, count * size);
            array = more;
        }
        int code = members(wire, r, fn, array + count * size);
        if (code)
            return code;
        count++;
    }
    memcpy(ret_array, &array, sizeof array);
    *ret_count = count;
    return t == TR_JSON_ARRAY_END ? 0 : TR_EPARSE;
}

static int range_member(tr__wire *wire, tr_json_reader *r, tr_view name, void *into)
{
    tr__listed_shard *s = into;
    (void)wire;
    if (tr_view_is(name, "StartingSequenceNumber"))
        return text(r, &s->starting);
    if (tr_view_is(name, "EndingSequenceNumber"))
        return text(r, &s->ending);
    return skip(r);
}

static int shard_member(tr__wire *wire, tr_json_reader *r, tr_view name, void *into)
{
    tr__listed_shard *s = into;
    if (tr_view_is(name, "ShardId"))
        return text(r, &s->id);
    if (tr_view_is(name, "ParentShardId"))
        return text(r, &s->parent);
    if (tr_view_is(name, "SequenceNumberRange"))
        return object(wire, r, range_member, s);
    return skip(r);
}

static int description_member(tr__wire *wire, tr_json_reader *r, tr_view name, void *into)
{
    tr__answer *a = into;
    if (tr_view_is(name, "StreamStatus"))
        return text(r, &a->status);
    if (tr_view_is(name, "StreamLabel"))
        return text(r, &a->label);
    if (tr_view_is(name, "LastEvaluatedShardId"))
        return text(r, &a->last);
    if (tr_view_is(name, "Shards"))
        return objects(wire, r, shard_member, sizeof(tr__listed_shard), &a->shards, &a->count);
    return skip(r);
}

static int describe_member(tr__wire *wire, tr_json_reader *r, tr_view name, void *into)
{
    return tr_view_is(name, "StreamDescription") ? object(wire, r, description_member, into) : skip(r);
}

static int stream_member(tr__wire *wire, tr_json_reader *r, tr_view name, void *into)
{
    tr__listed_stream *s = into;
    (void)wire;
    if (tr_view_is(name, "StreamArn"))
        return text(r, &s->arn);
    if (tr_view_is(name, "StreamLabel"))
        return text(r, &s->label);
    return skip(r);
}

static int list_member(tr__wire *wire, tr_json_reader *r, tr_view name, void *into)
{
    tr__answer *a = into;
    if (tr_view_is(name, "Streams"))
        return objects(wire, r, stream_member, sizeof(tr__listed_stream), &a->streams, &a->count);
    if (tr_view_is(name, "LastEvaluatedStreamArn"))
        return text(r, &a->last);
    return skip(r);
}

static int table_member(tr__wire *wire, tr_json_reader *r, tr_view name, void *into)
{
    tr__answer *a = into;
    (void)wire;
    if (tr_view_is(name, "LatestStreamArn"))
        return text(r, &a->stream_arn);
    if (tr_view_is(name, "TableStatus"))
        return text(r, &a->status);
    return skip(r);
}

static int describe_table_member(tr__wire *wire, tr_json_reader *r, tr_view name, void *into)
{
    bool table = tr_view_is(name, "Table") || tr_view_is(name, "TableDescription");
    return table ? object(wire, r, table_member, into) : skip(r);
}

static int iterator_member(tr__wire *wire, tr_json_reader *r, tr_view name, void *into)
{
    tr__answer *a = into;
    (void)wire;
    return tr_view_is(name, "ShardIterator") ? text(r, &a->iterator) : skip(r);
}

static int decode_with(tr__wire *wire, tr_view body, member_fn *fn, tr__answer *a)
{
    tr_json_reader r;
    tr_json_init(&r, body, &wire->arena);
    int code = object(wire, &r, fn, a);
    if (code == 0 && tr_json_next(&r) != TR_JSON_DONE)
        code = TR_EPARSE;
    return code == TR_ENOMEM ? code : code ? TR_EPARSE : 0;
}

static int decode(tr__wire *wire, tr__req_kind kind, tr_view shard_id, bool keep_raw, tr_view body,
                  tr__answer *a)
{
    int code;
    switch (kind) {
    case TR__REQ_DESCRIBE_TABLE:
    case TR__REQ_LEASE_DESCRIBE:
    case TR__REQ_LEASE_CREATE:
        return decode_with(wire, body, describe_table_member, a);
    case TR__REQ_LIST_STREAMS:
        return decode_with(wire, body, list_member, a);
    case TR__REQ_DESCRIBE_STREAM:
        return decode_with(wire, body, describe_member, a);
    case TR__REQ_GET_ITERATOR:
        code = decode_with(wire, body, iterator_member, a);
        return code ? code : a->iterator.len && a->iterator.len <= TR__ITERATOR_MAX ? 0 : TR_EPARSE;
    case TR__REQ_GET_RECORDS:
        a->body_bytes = body.len;
        code = tr__page_decode(wire->pool, body, shard_id, keep_raw, &a->page, &wire->iterator, &wire->error);
        a->iterator = tr_buf_view(&wire->iterator);
        return code;
    default:
        return tr__wire_decode_lease(&wire->arena, kind, body, a);
    }
}

void tr__wire_decode(tr__wire *wire, tr__req_kind kind, tr_view shard_id, bool keep_raw, tr_view body,
                     tr__answer *a)
{
    wire->error = (tr_error){0};
    a->code = decode(wire, kind, shard_id, keep_raw, body, a);
    if (a->code == 0)
        return;
    if (!wire->error.code)
        (void)tr_fail(&wire->error, a->code, "the server's answer cannot be read: %.*s",
                      (int)(body.len < 200 ? body.len : 200), body.ptr ? body.ptr : "");
    a->error = &wire->error;
}

int64_t tr__wire_date(tr_view header)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char copy[64], month[4], iso[96];
    int day, year, hour, minute, second;
    if (header.len >= sizeof copy || header.len == 0)
        return -1;
    memcpy(copy, header.ptr, header.len);
    copy[header.len] = 0;
    if (sscanf(copy, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &day, month, &year, &hour, &minute, &second) != 6)
        return -1;
    const char *at = strlen(month) == 3 ? strstr(months, month) : NULL;
    if (!at || (at - months) % 3 || day < 1 || year < 1970 || hour < 0 || minute < 0 || second < 0)
        return -1;
    int64_t ms;
    (void)snprintf(iso, sizeof iso, "%04d-%02d-%02dT%02d:%02d:%02dZ", year, (int)(at - months) / 3 + 1, day,
                   hour, minute, second);
    return tr_time_parse(tr_view_str(iso), &ms) ? -1 : ms;
}
