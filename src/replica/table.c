/* SPDX-License-Identifier: MIT */
/* What a replica asks of the table itself: its keys and stream, and single items. */
#include "replica/internal.h"

typedef struct description {
    tr_view name, hash, range, arn, view, item_count;
    tr_type hash_type, range_type;
    tr_view definitions, keys, stream;
} description;

static tr_view unquoted(tr_view raw)
{
    /* names of attributes may hold escapes: those go through the reader */
    return raw.len >= 2 ? tr_view_of(raw.ptr + 1, raw.len - 2) : raw;
}

/* Calls fn for both string members of every object of an array: [{"A":"x","B":"y"},…]. */
static int each_pair(tr_view array, const char *first, const char *second, tr_arena *arena,
                     void (*fn)(description *, tr_view, tr_view), description *d)
{
    tr_json_reader reader;
    tr_json_init(&reader, array, arena);
    if (tr_json_next(&reader) != TR_JSON_ARRAY)
        return TR_EPARSE;
    while (tr_json_next(&reader) == TR_JSON_OBJECT) {
        tr_view a = {NULL, 0}, b = {NULL, 0};
        while (tr_json_next_key(&reader)) {
            tr_view name = reader.text;
            bool text = tr_json_next(&reader) == TR_JSON_STRING;
            if (text && tr_view_is(name, first))
                a = reader.text;
            else if (text && tr_view_is(name, second))
                b = reader.text;
            else if (tr_json_skip(&reader))
                return TR_EPARSE;
        }
        fn(d, a, b);
    }
    return reader.token == TR_JSON_ARRAY_END ? 0 : TR_EPARSE;
}

static void take_key(description *d, tr_view name, tr_view type)
{
    if (tr_view_is(type, "HASH"))
        d->hash = name;
    else
        d->range = name;
}

static void take_definition(description *d, tr_view name, tr_view type)
{
    tr_type t = tr_view_is(type, "S") ? TR_S : tr_view_is(type, "N") ? TR_N : TR_B;
    if (tr_view_eq(name, d->hash))
        d->hash_type = t;
    if (d->range.len && tr_view_eq(name, d->range))
        d->range_type = t;
}

static int parse_description(tr_view reply, tr_arena *arena, description *d)
{
    tr_view table;
    if (tr_json_member(reply, "Table", arena, &table) ||
        tr_json_member(table, "KeySchema", arena, &d->keys) ||
        tr_json_member(table, "AttributeDefinitions", arena, &d->definitions) ||
        each_pair(d->keys, "AttributeName", "KeyType", arena, take_key, d) ||
        each_pair(d->definitions, "AttributeName", "AttributeType", arena, take_definition, d) ||
        !d->hash.len || !d->hash_type)
        return TR_EPARSE;
    tr_view raw;
    if (tr_json_member(table, "LatestStreamArn", arena, &raw) == 0)
        d->arn = unquoted(raw);
    if (tr_json_member(table, "StreamSpecification", arena, &d->stream) == 0 &&
        tr_json_member(d->stream, "StreamViewType", arena, &raw) == 0)
        d->view = unquoted(raw);
    if (tr_json_member(table, "ItemCount", arena, &raw) == 0)
        d->item_count = raw;
    return 0;
}

static tr_view_type view_of(tr_view text)
{
    for (int i = TR_KEYS_ONLY; i <= TR_NEW_AND_OLD_IMAGES; i++)
        if (tr_view_is(text, tr_view_type_name((tr_view_type)i)))
            return (tr_view_type)i;
    return TR_VIEW_NONE;
}

static int take_description(tr_replica *r, const description *d, tr_error *err)
{
    if (d->arn.len == 0)
        return tr_fail(
            err, TR_EINVAL,
            "table %s has no stream: enable one with UpdateTable (StreamSpecification, NEW_AND_OLD_IMAGES)",
            r->table);
    if (d->arn.len > TR_STREAM_ARN_MAX)
        return tr_fail(err, TR_EPARSE, "the stream's ARN is too long");
    memcpy(r->stream_arn, d->arn.ptr, d->arn.len);
    r->stream_arn[d->arn.len] = 0;
    r->view = view_of(d->view);
    uint64_t count = 0;
    (void)tr_view_to_u64(d->item_count, UINT64_MAX, &count);
    uv_mutex_lock(&r->mutex);
    r->progress.scan_estimate = count;
    r->progress.stream_arn = r->stream_arn;
    uv_mutex_unlock(&r->mutex);
    if (r->schema.name.len)
        return 0;
    r->schema = (tr_sink_table){.name = tr_view_str(r->table),
                                .hash_name = tr_arena_copy(&r->memory, d->hash),
                                .range_name = tr_arena_copy(&r->memory, d->range),
                                .hash_type = d->hash_type,
                                .range_type = d->range_type};
    return r->schema.hash_name.ptr && r->schema.range_name.ptr ? 0 : tr_fail(err, TR_ENOMEM, "out of memory");
}

/* A sink that saves nothing leaves the state to this object. */
static int open_sink(tr_replica *r, tr_error *err)
{
    tr_buf none;
    if (!r->sink->open)
        return 0;
    tr_buf_init(&none, TR__PAGE_MAX);
    if (r->sink->save)
        tr_buf_reset(&r->committed);
    int e = r->sink->open(r->sink, &r->schema, r->sink->save ? &r->committed : &none, err);
    tr_buf_done(&none);
    return e;
}

int tr__replica_open(tr_replica *r, tr_error *err)
{
    tr_buf reply;
    tr_arena arena;
    tr_json_writer w;
    tr_buf_init(&reply, TR__PAGE_MAX);
    tr_arena_init(&arena, TR__PAGE_MAX);
    tr_buf_reset(&r->body);
    tr_json_write_init(&w, &r->body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", r->table);
    tr_json_end_object(&w);
    tr_request request = {
        .service = TR_DYNAMODB, .operation = "DescribeTable", .body = tr_buf_view(&r->body)};
    int e = tr_client_call_wait(r->client, &request, &reply, err);
    description d = {.hash_type = TR_NONE};
    if (!e && parse_description(tr_buf_view(&reply), &arena, &d))
        e = tr_fail(err, TR_EPARSE, "the answer to DescribeTable does not describe a table");
    if (!e)
        e = take_description(r, &d, err);
    tr_arena_done(&arena);
    tr_buf_done(&reply);
    if (!e && !r->opened) {
        e = open_sink(r, err);
        r->opened = !e;
    }
    return e;
}

int tr__replica_key(tr_replica *r, tr_item item, tr_error *err)
{
    tr_buf_reset(&r->key);
    return tr__row_key(&r->schema, item, &r->key, err);
}

int tr__replica_get_item(tr_replica *r, tr_item key, tr_buf *ret_item, tr_error *err)
{
    tr_buf reply;
    tr_arena arena;
    tr_json_writer w;
    tr_buf_init(&reply, TR__PAGE_MAX);
    tr_arena_init(&arena, TR__PAGE_MAX);
    tr_buf_reset(&r->body);
    tr_json_write_init(&w, &r->body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", r->table);
    tr_json_member_bool(&w, "ConsistentRead", true);
    tr_json_name(&w, "Key");
    tr_item_write(&w, key);
    tr_json_end_object(&w);
    tr_request request = {.service = TR_DYNAMODB, .operation = "GetItem", .body = tr_buf_view(&r->body)};
    int e = tr_client_call_wait(r->client, &request, &reply, err);
    tr_view json;
    if (!e && tr_json_member(tr_buf_view(&reply), "Item", &arena, &json) == 0) {
        tr_item item;
        e = tr_item_from_json(json, &arena, &item, err);
        if (!e) {
            tr_buf_put_view(ret_item, item);
            e = tr_buf_status(ret_item);
        }
    }
    tr_arena_done(&arena);
    tr_buf_done(&reply);
    return e;
}
