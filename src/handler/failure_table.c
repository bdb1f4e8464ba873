/* SPDX-License-Identifier: MIT */
/*
 * Failures as items of a table with the string key "id": {id, time, source, attempts, error_type,
 * error_message, record, event}. The id begins with the time, so that ids sort by it.
 *
 * Where record and event are too large for an item, they are cut into further items "ID#0", "ID#1", …, and
 * the item has `parts` and `record_bytes` (where the event begins) in place of them. Parts are written before
 * the item and removed after it, so an item that is there is whole.
 */
#include "client/query.h"
#include "client/table.h"
#include "handler/failure.h"

#include <stdio.h>
#include <stdlib.h>

#define PART_BYTES 300000 /* of the 400 KB that an item may have */
#define TEXT_MAX   1000   /* bytes of source, type, message */
#define ID_MAX     (TR_TIME_TEXT_MAX + TR_UUID_LEN + 24)

typedef struct table_sink {
    tr_failure_sink base;
    tr__failure_client client;
    char *table;
    bool existing, ready;
} table_sink;

static int make_ready(table_sink *s, tr_error *err)
{
    int e = s->ready ? 0 : tr__table_ready(s->client.client, s->table, !s->existing, err);
    s->ready = !e;
    return e;
}

static void begin(table_sink *s, tr_json_writer *w, tr_buf *body)
{
    tr_buf_reset(body);
    tr_json_write_init(w, body);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "TableName", s->table);
}

static void typed(tr_json_writer *w, const char *name, const char *type, tr_view text)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_string(w, type, text);
    tr_json_end_object(w);
}

static void number(tr_json_writer *w, const char *name, uint64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    typed(w, name, "N", tr_view_of(text, (size_t)n));
}

/* ------------------------------------------------------------------------------------------------ put */

static int put_part(table_sink *s, const char *id, uint64_t part, tr_view text, tr_buf *body, tr_error *err)
{
    char name[ID_MAX + 24];
    tr_json_writer w;
    int n = snprintf(name, sizeof name, "%s#%llu", id, (unsigned long long)part);
    begin(s, &w, body);
    tr_json_name(&w, "Item");
    tr_json_begin_object(&w);
    typed(&w, "id", "S", tr_view_of(name, (size_t)n));
    typed(&w, "text", "S", text);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    return tr__failure_call(s->client.client, TR_DYNAMODB, "PutItem", body, NULL, err);
}

/* Record and event, one behind the other, in as many parts as it takes. */
static int put_parts(table_sink *s, const char *id, const tr_failure *f, uint64_t *ret_parts, tr_buf *body,
                     tr_error *err)
{
    tr_buf text;
    int e = 0;
    tr_buf_init(&text, TR__FAILURE_MAX);
    tr_buf_put_view(&text, f->record);
    tr_buf_put_view(&text, f->event);
    if (tr_buf_status(&text))
        e = tr_fail(err, tr_buf_status(&text), "a failure record is too large");
    tr_view rest = tr_buf_view(&text);
    for (*ret_parts = 0; !e && rest.len; ++*ret_parts) {
        tr_view part = tr_utf8_cut(rest, PART_BYTES);
        e = put_part(s, id, *ret_parts, part, body, err);
        rest = tr_view_of(rest.ptr + part.len, rest.len - part.len);
    }
    tr_buf_done(&text);
    return e;
}

static int put_item(table_sink *s, const tr_failure *f, tr_buf *body, tr_error *err)
{
    char id[ID_MAX], time[TR_TIME_TEXT_MAX], uuid[TR_UUID_LEN + 1];
    tr_json_writer w;
    uint64_t parts = 0;
    tr_time_format(tr_clock_wall_ms(), true, time);
    tr_uuid(uuid);
    (void)snprintf(id, sizeof id, "%s-%s", time, uuid);
    bool whole = f->record.len + f->event.len <= PART_BYTES;
    int e = whole ? 0 : put_parts(s, id, f, &parts, body, err);
    if (e)
        return e;
    begin(s, &w, body);
    tr_json_name(&w, "Item");
    tr_json_begin_object(&w);
    typed(&w, "id", "S", tr_view_str(id));
    typed(&w, "time", "S", tr_view_str(time));
    typed(&w, "source", "S", tr_utf8_cut(f->source, TEXT_MAX));
    number(&w, "attempts", f->attempts);
    typed(&w, "error_type", "S", tr_utf8_cut(f->error_type, TEXT_MAX));
    typed(&w, "error_message", "S", tr_utf8_cut(f->error_message, TEXT_MAX));
    if (whole) {
        typed(&w, "record", "S", f->record);
        typed(&w, "event", "S", f->event);
    } else {
        number(&w, "parts", parts);
        number(&w, "record_bytes", f->record.len);
    }
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    return tr__failure_call(s->client.client, TR_DYNAMODB, "PutItem", body, NULL, err);
}

static int table_put(tr_failure_sink *base, const tr_failure *failure, tr_error *err)
{
    table_sink *s = (table_sink *)base;
    tr_buf body;
    tr_buf_init(&body, 8 << 20);
    int e = make_ready(s, err);
    if (!e)
        e = put_item(s, failure, &body, err);
    tr_buf_done(&body);
    return e;
}

/* ----------------------------------------------------------------------------------------------- read */

static tr_view text_of(tr_item item, const char *name)
{
    tr_value value;
    return tr_item_get(item, tr_view_str(name), &value) == 0 && value.type == TR_S ? value.payload
                                                                                   : (tr_view){NULL, 0};
}

static uint64_t number_of(tr_item item, const char *name)
{
    tr_value value;
    tr_buf text;
    tr_json_writer w;
    uint64_t x = 0;
    if (tr_item_get(item, tr_view_str(name), &value) || value.type != TR_N)
        return 0;
    tr_buf_init(&text, 256);
    tr_json_write_init(&w, &text);
    tr_value_write_plain(&w, value);
    (void)tr_view_to_u64(tr_buf_view(&text), UINT64_MAX, &x);
    tr_buf_done(&text);
    return x;
}

/* What is read of an entry: the item, then its parts. */
typedef struct reading {
    tr_arena *arena;
    tr_buf text; /* of the parts */
    tr_failure_entry entry;
    uint64_t parts, record_bytes;
    bool found;
} reading;

static int take_item(void *ctx, tr_item item, tr_error *err)
{
    reading *r = ctx;
    tr_failure_entry *e = &r->entry;
    r->found = true;
    e->time = tr_arena_copy(r->arena, text_of(item, "time"));
    e->source = tr_arena_copy(r->arena, text_of(item, "source"));
    e->error_type = tr_arena_copy(r->arena, text_of(item, "error_type"));
    e->error_message = tr_arena_copy(r->arena, text_of(item, "error_message"));
    e->record = tr_arena_copy(r->arena, text_of(item, "record"));
    e->event = tr_arena_copy(r->arena, text_of(item, "event"));
    if (!e->event.len && e->record.len) { /* the bus' records hold it */
        tr_failure_entry held = {.id = e->id};
        if (tr__failure_read(e->record, r->arena, &held) == 0)
            e->event = held.event;
    }
    e->attempts = number_of(item, "attempts");
    r->parts = number_of(item, "parts");
    r->record_bytes = number_of(item, "record_bytes");
    return e->record.ptr ? 0 : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

static int take_part(void *ctx, tr_item item, tr_error *err)
{
    (void)err;
    reading *r = ctx;
    r->found = true;
    tr_buf_put_view(&r->text, text_of(item, "text"));
    return 0;
}

static int get(table_sink *s, tr_view id, tr__query_item_fn *fn, reading *r, tr_error *err)
{
    tr__query q;
    r->found = false;
    tr__query_init(&q, "Query", 1);
    tr_json_member_cstring(&q.writer, "TableName", s->table);
    tr_json_member_bool(&q.writer, "ConsistentRead", true);
    tr_json_member_cstring(&q.writer, "KeyConditionExpression", "id = :id");
    tr_json_name(&q.writer, "ExpressionAttributeValues");
    tr_json_begin_object(&q.writer);
    typed(&q.writer, ":id", "S", id);
    tr_json_end_object(&q.writer);
    int e = tr__query_wait(s->client.client, &q, fn, r, err);
    tr__query_done(&q);
    return e ? e : r->found ? 0 : TR_ENOTFOUND;
}

/* TR_ENOTFOUND: it was removed meanwhile. */
static int read_entry(table_sink *s, tr_view id, reading *r, tr_error *err)
{
    r->entry = (tr_failure_entry){.id = id};
    tr_buf_reset(&r->text);
    int e = get(s, id, take_item, r, err);
    for (uint64_t i = 0; !e && i < r->parts; i++) {
        char name[ID_MAX + 24];
        int n =
            snprintf(name, sizeof name, "%.*s#%llu", TR_FMT(tr_utf8_cut(id, ID_MAX)), (unsigned long long)i);
        e = get(s, tr_view_of(name, (size_t)n), take_part, r, err);
    }
    if (e || !r->parts)
        return e;
    tr_view text = tr_buf_view(&r->text);
    if (tr_buf_status(&r->text) || r->record_bytes > text.len)
        return tr_fail(err, TR_ECORRUPT, "entry %.*s of %s is damaged", TR_FMT(id), s->table);
    r->entry.record = tr_view_of(text.ptr, r->record_bytes);
    r->entry.event = tr_view_of(text.ptr + r->record_bytes, text.len - r->record_bytes);
    return 0;
}

/* The ids of all entries. */
typedef struct ids {
    tr_arena arena;
    tr_view *items;
    size_t count, cap;
} ids;

static int take_id(void *ctx, tr_item item, tr_error *err)
{
    ids *all = ctx;
    if (all->count == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 256;
        tr_view *items = tr_realloc(all->items, cap * sizeof *items);
        if (!items)
            return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
        all->items = items;
        all->cap = cap;
    }
    tr_view id = tr_arena_copy(&all->arena, text_of(item, "id"));
    all->items[all->count++] = id;
    return id.ptr ? 0 : tr_fail(err, TR_ENOMEM, "too many entries");
}

static int by_id(const void *a, const void *b)
{
    return tr_view_cmp(*(const tr_view *)a, *(const tr_view *)b);
}

static void ids_done(ids *all)
{
    tr_free(all->items);
    tr_arena_done(&all->arena);
}

static int list_ids(table_sink *s, ids *all, tr_error *err)
{
    tr__query q;
    *all = (ids){0};
    tr_arena_init(&all->arena, (size_t)256 << 20);
    int e = make_ready(s, err);
    if (e)
        return e;
    tr__query_init(&q, "Scan", 0);
    tr_json_member_cstring(&q.writer, "TableName", s->table);
    tr_json_member_bool(&q.writer, "ConsistentRead", true);
    tr_json_member_cstring(&q.writer, "FilterExpression", "attribute_exists(attempts)");
    tr_json_member_cstring(&q.writer, "ProjectionExpression", "id");
    e = tr__query_wait(s->client.client, &q, take_id, all, err);
    tr__query_done(&q);
    if (!e && all->count)
        qsort(all->items, all->count, sizeof *all->items, by_id);
    return e;
}

static int table_each(tr_failure_sink *base, tr_failure_fn *fn, void *ctx, tr_error *err)
{
    table_sink *s = (table_sink *)base;
    ids all;
    tr_arena arena;
    reading r = {.arena = &arena};
    tr_arena_init(&arena, TR__FAILURE_MAX);
    tr_buf_init(&r.text, TR__FAILURE_MAX);
    int e = list_ids(s, &all, err);
    for (size_t i = 0; !e && i < all.count; i++) {
        tr_arena_reset(&arena);
        e = read_entry(s, all.items[i], &r, err);
        e = e == TR_ENOTFOUND ? 0 : e ? e : fn(ctx, &r.entry);
    }
    ids_done(&all);
    tr_arena_done(&arena);
    tr_buf_done(&r.text);
    return e;
}

static int delete_item(table_sink *s, tr_view id, tr_error *err)
{
    tr_buf body;
    tr_json_writer w;
    tr_buf_init(&body, 65536);
    begin(s, &w, &body);
    tr_json_name(&w, "Key");
    tr_json_begin_object(&w);
    typed(&w, "id", "S", id);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    int e = tr__failure_call(s->client.client, TR_DYNAMODB, "DeleteItem", &body, NULL, err);
    tr_buf_done(&body);
    return e;
}

static int table_remove(tr_failure_sink *base, tr_view id, tr_error *err)
{
    table_sink *s = (table_sink *)base;
    tr_arena arena;
    reading r = {.arena = &arena};
    tr_arena_init(&arena, 8 << 20);
    int e = make_ready(s, err);
    if (!e)
        e = get(s, id, take_item, &r, err);
    tr_arena_done(&arena);
    if (e == TR_ENOTFOUND && !r.found)
        return tr_fail(err, e, "%s has no entry %.*s", s->table, TR_FMT(id));
    if (!e)
        e = delete_item(s, id, err);
    for (uint64_t i = 0; !e && i < r.parts; i++) {
        char name[ID_MAX + 24];
        int n =
            snprintf(name, sizeof name, "%.*s#%llu", TR_FMT(tr_utf8_cut(id, ID_MAX)), (unsigned long long)i);
        e = delete_item(s, tr_view_of(name, (size_t)n), err);
    }
    return e;
}

static int table_purge(tr_failure_sink *base, uint64_t *ret_count, tr_error *err)
{
    table_sink *s = (table_sink *)base;
    ids all;
    uint64_t count = 0;
    int e = list_ids(s, &all, err);
    for (size_t i = 0; !e && i < all.count; i++) {
        e = table_remove(base, all.items[i], err);
        count += !e;
        e = e == TR_ENOTFOUND ? 0 : e;
    }
    ids_done(&all);
    if (!e)
        *ret_count = count;
    return e;
}

static void table_free(tr_failure_sink *base)
{
    table_sink *s = (table_sink *)base;
    tr__failure_client_done(&s->client);
    tr_free(s->table);
    tr_free(s);
}

int tr__failure_open_table(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                           tr_error *err)
{
    table_sink *s = tr_calloc(1, sizeof *s);
    if (!s || !(s->table = tr_strdup(name))) {
        tr_free(s);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    s->base = (tr_failure_sink){table_put, table_each, table_remove, table_purge, table_free};
    tr_view given = tr_view_str(name);
    bool arn = tr_view_starts(given, TR_VIEW("arn:"));
    s->existing = options->existing || arn; /* a table is made by its name */
    int e =
        tr__failure_client_open(options, arn ? tr__arn_part(given, 3) : (tr_view){NULL, 0}, &s->client, err);
    if (!e && (options->existing || (arn && options->check)))
        e = make_ready(s, err);
    if (e)
        table_free(&s->base);
    else
        *ret_sink = &s->base;
    return e;
}
