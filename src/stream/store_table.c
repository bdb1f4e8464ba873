/* SPDX-License-Identifier: MIT */
#include "client/table.h"

#include <tailrace/stream.h>

#include <stdio.h>

/*
 * A checkpoint in a DynamoDB table: the item "NAME" has a version and the state, or, where that is too large
 * for an item, the number of its parts, which are the items "NAME#VERSION#0", "NAME#VERSION#1", …. Parts are
 * written before the item that names their version, and those of the version before removed after, so that
 * there is a whole state at all times.
 */

#define PART_BYTES 300000 /* of the 400 KB that an item may have */
#define STATE_MAX  (256u * 1024 * 1024)
#define NAME_MAX_  255

typedef struct table_store {
    tr_stream_store base;
    tr_client *client;
    char *table, *name;
    bool create, ready;
    uint64_t version, parts; /* as saved; version 0: nothing is */
    char writer[TR_UUID_LEN + 1];
} table_store;

static int call(table_store *ts, const char *operation, tr_buf *body, tr_buf *answer, tr_error *err)
{
    if (tr_buf_status(body))
        return tr_fail(err, tr_buf_status(body), "a checkpoint is too large");
    tr_request request = {.service = TR_DYNAMODB, .operation = operation, .body = tr_buf_view(body)};
    return tr_client_call_wait(ts->client, &request, answer, err);
}

static void begin(table_store *ts, tr_json_writer *w, tr_buf *body)
{
    tr_buf_reset(body);
    tr_json_write_init(w, body);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "TableName", ts->table);
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

static void part_name(const table_store *ts, uint64_t version, uint64_t part, char *out, size_t size)
{
    (void)snprintf(out, size, "%s#%llu#%llu", ts->name, (unsigned long long)version,
                   (unsigned long long)part);
}

static int make_ready(table_store *ts, tr_error *err)
{
    int code = ts->ready ? 0 : tr__table_ready(ts->client, ts->table, ts->create, err);
    ts->ready = !code;
    return code;
}

/* ------------------------------------------------------------------------------------------------- load */

/** The item's attributes that a store has; TR_ENOTFOUND if there is no such item. */
typedef struct found {
    bool there;
    uint64_t version, parts;
    tr_view state, writer;
} found;

static int read_found(tr_view answer, tr_arena *arena, found *ret)
{
    tr_json_reader r;
    tr_json_init(&r, answer, arena);
    *ret = (found){0};
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    while (tr_json_next_key(&r)) {
        bool item = tr_view_is(r.text, "Item");
        tr_json_token t = tr_json_next(&r);
        if (!item || t != TR_JSON_OBJECT) {
            if (tr_json_skip(&r))
                return TR_EPARSE;
            continue;
        }
        ret->there = true;
        while (tr_json_next_key(&r)) { /* {"state":{"S":"…"}} */
            tr_view name = r.text;
            if (tr_json_next(&r) != TR_JSON_OBJECT || !tr_json_next_key(&r) ||
                tr_json_next(&r) != TR_JSON_STRING)
                return TR_EPARSE;
            if (tr_view_is(name, "state"))
                ret->state = r.text;
            else if (tr_view_is(name, "writer"))
                ret->writer = r.text;
            else if (tr_view_is(name, "version") && tr_view_to_u64(r.text, UINT64_MAX, &ret->version))
                return TR_EPARSE;
            else if (tr_view_is(name, "parts") && tr_view_to_u64(r.text, STATE_MAX, &ret->parts))
                return TR_EPARSE;
            if (tr_json_next(&r) != TR_JSON_OBJECT_END)
                return TR_EPARSE;
        }
    }
    return r.token == TR_JSON_OBJECT_END ? 0 : TR_EPARSE;
}

static int get(table_store *ts, const char *id, tr_arena *arena, found *ret, tr_error *err)
{
    tr_buf body, answer;
    tr_json_writer w;
    tr_buf_init(&body, 4096);
    tr_buf_init(&answer, 4 << 20);
    begin(ts, &w, &body);
    tr_json_member_bool(&w, "ConsistentRead", true);
    tr_json_name(&w, "Key");
    tr_json_begin_object(&w);
    typed(&w, "id", "S", tr_view_str(id));
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    int code = call(ts, "GetItem", &body, &answer, err);
    if (code == 0) {
        tr_view copy = tr_arena_copy(arena, tr_buf_view(&answer));
        code = copy.ptr ? read_found(copy, arena, ret) : TR_ENOMEM;
        if (code)
            (void)tr_fail(err, code == TR_EPARSE ? TR_ECORRUPT : code, "item %s of %s is no checkpoint", id,
                          ts->table);
    }
    tr_buf_done(&body);
    tr_buf_done(&answer);
    return code;
}

static int load_parts(table_store *ts, const found *main_item, tr_buf *ret_state, tr_error *err)
{
    char id[NAME_MAX_ + 64];
    for (uint64_t i = 0; i < main_item->parts; i++) {
        tr_arena arena;
        found part;
        tr_arena_init(&arena, 64 << 20);
        part_name(ts, main_item->version, i, id, sizeof id);
        int code = get(ts, id, &arena, &part, err);
        if (code == 0 && !part.there)
            code = tr_fail(err, TR_EBUSY, "part %s of a checkpoint is missing: it is being replaced", id);
        if (code == 0)
            tr_buf_put_view(ret_state, part.state);
        tr_arena_done(&arena);
        if (code)
            return code;
    }
    return 0;
}

static int table_load(tr_stream_store *store, tr_buf *ret_state, tr_error *err)
{
    table_store *ts = (table_store *)store;
    size_t len = ret_state->len;
    int code = make_ready(ts, err);
    if (code)
        return code;
    tr_arena arena;
    found item;
    tr_arena_init(&arena, 64 << 20);
    code = get(ts, ts->name, &arena, &item, err);
    if (code == 0 && item.there) {
        tr_buf_put_view(ret_state, item.state);
        code = load_parts(ts, &item, ret_state, err);
        ts->version = item.version;
        ts->parts = item.parts;
    }
    tr_arena_done(&arena);
    if (code == 0 && tr_buf_status(ret_state))
        code = tr_fail(err, tr_buf_status(ret_state), "the saved state is too large");
    if (code)
        ret_state->len = len;
    return code;
}

/* ------------------------------------------------------------------------------------------------- save */

static int put_part(table_store *ts, const char *id, tr_view state, tr_error *err)
{
    tr_buf body;
    tr_json_writer w;
    tr_buf_init(&body, 4 << 20);
    begin(ts, &w, &body);
    tr_json_name(&w, "Item");
    tr_json_begin_object(&w);
    typed(&w, "id", "S", tr_view_str(id));
    typed(&w, "state", "S", state);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    int code = call(ts, "PutItem", &body, NULL, err);
    tr_buf_done(&body);
    return code;
}

static int put_main(table_store *ts, tr_view state, uint64_t parts, tr_error *err)
{
    tr_buf body;
    tr_json_writer w;
    tr_buf_init(&body, 4 << 20);
    begin(ts, &w, &body);
    tr_json_name(&w, "Item");
    tr_json_begin_object(&w);
    typed(&w, "id", "S", tr_view_str(ts->name));
    number(&w, "version", ts->version + 1);
    number(&w, "parts", parts);
    typed(&w, "writer", "S", tr_view_str(ts->writer));
    if (!parts)
        typed(&w, "state", "S", state);
    tr_json_end_object(&w);
    if (ts->version) {
        tr_json_member_cstring(&w, "ConditionExpression", "#v = :v");
        tr_json_name(&w, "ExpressionAttributeNames");
        tr_json_value(&w, TR_VIEW("{\"#v\":\"version\"}"));
        tr_json_name(&w, "ExpressionAttributeValues");
        tr_json_begin_object(&w);
        number(&w, ":v", ts->version);
        tr_json_end_object(&w);
    } else {
        tr_json_member_cstring(&w, "ConditionExpression", "attribute_not_exists(id)");
    }
    tr_json_end_object(&w);
    int code = call(ts, "PutItem", &body, NULL, err);
    tr_buf_done(&body);
    if (code == TR_ECONFLICT)
        return tr_fail(err, TR_ECONFLICT, "another consumer saves its state under the name %s", ts->name);
    return code;
}

/** What remains of a version that is no longer named costs room, nothing else: failures do not matter. */
static void remove_parts(table_store *ts, uint64_t version, uint64_t parts)
{
    char id[NAME_MAX_ + 64];
    for (uint64_t i = 0; i < parts; i++) {
        tr_buf body;
        tr_json_writer w;
        tr_buf_init(&body, 4096);
        part_name(ts, version, i, id, sizeof id);
        begin(ts, &w, &body);
        tr_json_name(&w, "Key");
        tr_json_begin_object(&w);
        typed(&w, "id", "S", tr_view_str(id));
        tr_json_end_object(&w);
        tr_json_end_object(&w);
        (void)call(ts, "DeleteItem", &body, NULL, NULL);
        tr_buf_done(&body);
    }
}

/** Whether the version that stands there is a save of ours whose answer was lost: then the next one goes on
 * from it. */
static bool was_ours(table_store *ts)
{
    tr_arena arena;
    found item;
    tr_arena_init(&arena, 64 << 20);
    bool ours = get(ts, ts->name, &arena, &item, NULL) == 0 && item.there && item.version > ts->version &&
                tr_view_is(item.writer, ts->writer);
    if (ours) {
        ts->version = item.version;
        ts->parts = item.parts;
    }
    tr_arena_done(&arena);
    return ours;
}

static int save_once(table_store *ts, tr_view state, tr_error *err)
{
    char id[NAME_MAX_ + 64];
    uint64_t parts = 0;
    tr_view rest = state;
    while (state.len > PART_BYTES && rest.len) {
        size_t n = tr_utf8_cut(rest, PART_BYTES).len;
        part_name(ts, ts->version + 1, parts++, id, sizeof id);
        int code = put_part(ts, id, tr_view_of(rest.ptr, n), err);
        if (code)
            return code;
        rest = tr_view_of(rest.ptr + n, rest.len - n);
    }
    int code = put_main(ts, state, parts, err);
    if (code)
        return code;
    remove_parts(ts, ts->version, ts->parts);
    ts->version++;
    ts->parts = parts;
    return 0;
}

static int table_save(tr_stream_store *store, tr_view state, tr_error *err)
{
    table_store *ts = (table_store *)store;
    int code = make_ready(ts, err);
    if (code == 0)
        code = save_once(ts, state, err);
    if (code == TR_ECONFLICT && was_ours(ts))
        code = save_once(ts, state, err);
    return code;
}

static void table_free(tr_stream_store *store)
{
    table_store *ts = (table_store *)store;
    tr_free(ts->table);
    tr_free(ts->name);
    tr_free(ts);
}

int tr_stream_store_table(tr_client *client, const char *table, const char *name, bool create,
                          tr_stream_store **ret_store, tr_error *err)
{
    if (!table || !table[0] || !name || !name[0] || strlen(name) > NAME_MAX_)
        return tr_fail(err, TR_EINVAL, "a checkpoint table takes a table and a name of at most %d characters",
                       NAME_MAX_);
    table_store *ts = tr_calloc(1, sizeof *ts);
    if (!ts)
        return tr_fail(err, TR_ENOMEM, "no memory for a checkpoint store");
    ts->base = (tr_stream_store){.load = table_load, .save = table_save, .free = table_free};
    ts->client = client;
    ts->create = create;
    tr_uuid(ts->writer);
    ts->table = tr_strdup(table);
    ts->name = tr_strdup(name);
    if (!ts->table || !ts->name) {
        table_free(&ts->base);
        return tr_fail(err, TR_ENOMEM, "no memory for a checkpoint store");
    }
    *ret_store = &ts->base;
    return 0;
}
