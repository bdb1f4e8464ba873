/* SPDX-License-Identifier: MIT */
/*
 * A read model in a DynamoDB table with the partition key `id`:
 *
 *   NAME                              serving, building, dropping, revision N; version, buildingVersion,
 * identity S NAME@GENERATION#KEY               row M, revision N NAME@GENERATION/STORE#AGGREGATE   version N
 *
 * Every write is a transaction with conditions on what was read, and on the generation's being there.
 */
#include "client/table.h"
#include "eventstore/model.h"

#include <stdio.h>

#define BODY_MAX    ((size_t)32 << 20)
#define ID_MAX      4096
#define CHANGES_MAX 99 /* TransactWriteItems has 100 actions (API Reference), of which one is the check */
#define DROP_BATCH  25 /* BatchWriteItem (API Reference) */

typedef struct table_model {
    tr__model base;
    tr_client *client;
    char *table, *name;
    bool ready;
    uint64_t generation; /* that was looked for; 0: to be looked for */
    tr_buf body, answer, id;
    tr_arena arena;
} table_model;

static table_model *of(tr__model *model)
{
    return (table_model *)model;
}

/* ------------------------------------------------------------------------------------------------- requests
 */

static void typed(tr_json_writer *w, const char *name, const char *type, tr_view value)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_string(w, type, value);
    tr_json_end_object(w);
}

static void number(tr_json_writer *w, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    typed(w, name, "N", tr_view_str(text));
}

static void begin_body(table_model *m, tr_json_writer *w)
{
    tr_buf_reset(&m->body);
    tr_json_write_init(w, &m->body);
    tr_json_begin_object(w);
}

static int call(table_model *m, const char *operation, tr_error *err)
{
    tr_request request = {.service = TR_DYNAMODB, .operation = operation, .body = tr_buf_view(&m->body)};
    tr_buf_reset(&m->answer);
    if (tr_buf_status(&m->body))
        return tr_fail(err, tr_buf_status(&m->body), "a request to the read model is too large");
    return tr_client_call_wait(m->client, &request, &m->answer, err);
}

/* The id of a row ('#') or position ('/') into m->id. */
static tr_view id_of(table_model *m, uint64_t generation, char kind, tr_view key)
{
    tr_buf_reset(&m->id);
    tr_buf_printf(&m->id, "%s@%llu%c", m->name, (unsigned long long)generation, kind);
    tr_buf_put_view(&m->id, key);
    return tr_buf_view(&m->id);
}

static int get(table_model *m, tr_view id, tr_item *ret_item, tr_error *err)
{
    tr_json_writer w;
    tr_view json;
    begin_body(m, &w);
    tr_json_member_cstring(&w, "TableName", m->table);
    tr_json_member_bool(&w, "ConsistentRead", true);
    tr_json_name(&w, "Key");
    tr_json_begin_object(&w);
    typed(&w, "id", "S", id);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    *ret_item = (tr_item){NULL, 0};
    tr_arena_reset(&m->arena);
    int e = call(m, "GetItem", err);
    if (!e && tr_json_member(tr_buf_view(&m->answer), "Item", &m->arena, &json) == 0)
        e = tr_item_from_json(json, &m->arena, ret_item, err);
    return e;
}

static uint64_t number_in(tr_item item, const char *name)
{
    tr_value v;
    int64_t n;
    return tr_item_get(item, tr_view_str(name), &v) == 0 && v.type == TR_N &&
                   tr_number_to_i64(v.payload, &n) == 0 && n > 0
               ? (uint64_t)n
               : 0;
}

static void text_in(tr_item item, const char *name, char *out, size_t size)
{
    tr_value v;
    if (tr_item_get(item, tr_view_str(name), &v) == 0 && v.type == TR_S)
        (void)snprintf(out, size, "%.*s", TR_FMT(v.payload));
}

/* --------------------------------------------------------------------------------------------------- record
 */

static int table_load(tr__model *model, tr__model_record *ret, tr_error *err)
{
    table_model *m = of(model);
    tr_item item;
    int e = m->ready ? 0 : tr__table_ready(m->client, m->table, true, err);
    if (!e)
        e = get(m, tr_view_str(m->name), &item, err);
    if (e)
        return e;
    m->ready = true;
    tr__model_record r = {.there = item.len != 0,
                          .revision = number_in(item, "revision"),
                          .serving = number_in(item, "serving"),
                          .building = number_in(item, "building"),
                          .dropping = number_in(item, "dropping")};
    text_in(item, "version", r.version, sizeof r.version);
    text_in(item, "buildingVersion", r.building_version, sizeof r.building_version);
    text_in(item, "identity", r.identity, sizeof r.identity);
    *ret = r;
    return 0;
}

/* ,"ConditionExpression": what stands there is as it was; `name` is its number */
static void write_condition(tr_json_writer *w, const char *name, uint64_t before)
{
    if (!before) {
        tr_json_member_cstring(w, "ConditionExpression", "attribute_not_exists(id)");
        return;
    }
    tr_json_member_cstring(w, "ConditionExpression", "#n = :before");
    tr_json_name(w, "ExpressionAttributeNames");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "#n", name);
    tr_json_end_object(w);
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    number(w, ":before", before);
    tr_json_end_object(w);
}

static int table_store(tr__model *model, tr__model_record *record, tr_error *err)
{
    table_model *m = of(model);
    tr_json_writer w;
    begin_body(m, &w);
    tr_json_member_cstring(&w, "TableName", m->table);
    tr_json_name(&w, "Item");
    tr_json_begin_object(&w);
    typed(&w, "id", "S", tr_view_str(m->name));
    number(&w, "revision", record->revision + 1);
    number(&w, "serving", record->serving);
    number(&w, "building", record->building);
    number(&w, "dropping", record->dropping);
    typed(&w, "version", "S", tr_view_str(record->version));
    typed(&w, "buildingVersion", "S", tr_view_str(record->building_version));
    typed(&w, "identity", "S", tr_view_str(record->identity));
    tr_json_end_object(&w);
    write_condition(&w, "revision", record->there ? record->revision : 0);
    tr_json_end_object(&w);
    int e = call(m, "PutItem", err);
    m->generation = 0;
    if (e == TR_ECONFLICT)
        return tr_fail(err, e, "another process has changed the projection %s", m->name);
    if (!e) {
        record->there = true;
        record->revision++;
    }
    return e;
}

/* ------------------------------------------------------------------------------------------------- changing
 */

static int table_begin(tr__model *model, uint64_t generation, tr_error *err)
{
    table_model *m = of(model);
    tr__model_record r;
    if (m->generation == generation)
        return 0;
    int e = table_load(model, &r, err);
    if (!e && generation != r.serving && generation != r.building)
        e = tr_fail(err, TR_EEXPIRED, "generation %llu of %s is gone", (unsigned long long)generation,
                    m->name);
    m->generation = e ? 0 : generation;
    return e;
}

static int table_position(tr__model *model, tr_view aggregate, uint64_t *ret_version, tr_error *err)
{
    table_model *m = of(model);
    tr_item item;
    int e = get(m, id_of(m, m->generation, '/', aggregate), &item, err);
    *ret_version = e ? 0 : number_in(item, "version");
    return e;
}

static int table_row(tr__model *model, tr_view key, tr_buf *ret_item, uint64_t *ret_revision, tr_error *err)
{
    table_model *m = of(model);
    tr_item item;
    tr_value row;
    int e = get(m, id_of(m, m->generation, '#', key), &item, err);
    *ret_revision = e ? 0 : number_in(item, "revision");
    if (e || !*ret_revision)
        return e;
    if (tr_item_get(item, TR_VIEW("row"), &row) || row.type != TR_M)
        return tr_fail(err, TR_ECORRUPT, "item %.*s of %s is no row", TR_FMT(tr_buf_view(&m->id)), m->table);
    tr_buf_put_view(ret_item, row.payload);
    return tr_buf_status(ret_item) ? tr_fail(err, tr_buf_status(ret_item), "a row is too large") : 0;
}

static void table_rollback(tr__model *model)
{
    (void)model; /* nothing was begun at the service */
}

/* {"ConditionCheck":{…}}: the generation serves or is being built */
static void write_check(table_model *m, tr_json_writer *w)
{
    tr_json_begin_object(w);
    tr_json_name(w, "ConditionCheck");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "TableName", m->table);
    tr_json_name(w, "Key");
    tr_json_begin_object(w);
    typed(w, "id", "S", tr_view_str(m->name));
    tr_json_end_object(w);
    tr_json_member_cstring(w, "ConditionExpression", "serving = :g or building = :g");
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    number(w, ":g", m->generation);
    tr_json_end_object(w);
    tr_json_end_object(w);
    tr_json_end_object(w);
}

static void write_change(table_model *m, tr_json_writer *w, const tr__model_change *c)
{
    bool remove = !c->position && c->item.len == 0;
    tr_view id = id_of(m, m->generation, c->position ? '/' : '#', c->key);
    tr_json_begin_object(w);
    tr_json_name(w, remove ? "Delete" : "Put");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "TableName", m->table);
    tr_json_name(w, remove ? "Key" : "Item");
    tr_json_begin_object(w);
    typed(w, "id", "S", id);
    if (c->position) {
        number(w, "version", c->after);
    } else if (!remove) {
        number(w, "revision", c->after);
        tr_json_name(w, "row");
        tr_json_begin_object(w);
        tr_json_name(w, "M");
        tr_item_write(w, c->item);
        tr_json_end_object(w);
    }
    tr_json_end_object(w);
    write_condition(w, c->position ? "version" : "revision", c->before);
    tr_json_end_object(w);
    tr_json_end_object(w);
}

static int table_commit(tr__model *model, const tr__model_change *changes, size_t count, tr_error *err)
{
    table_model *m = of(model);
    tr_json_writer w;
    char token[TR_UUID_LEN + 1];
    tr_uuid(token);
    begin_body(m, &w);
    tr_json_name(&w, "TransactItems");
    tr_json_begin_array(&w);
    write_check(m, &w);
    for (size_t i = 0; i < count; i++)
        write_change(m, &w, &changes[i]);
    tr_json_end_array(&w);
    tr_json_member_cstring(&w, "ClientRequestToken", token);
    tr_json_end_object(&w);
    int e = call(m, "TransactWriteItems", err);
    if (e)
        m->generation = 0; /* it may be gone: the next begin looks */
    return e;
}

/* -------------------------------------------------------------------------------------------------- dropping
 */

/* A page of ids that begin with the generation's prefixes. The next page's key into m->id; empty at the end.
 */
static int scan(table_model *m, uint64_t generation, tr_error *err)
{
    tr_json_writer w;
    char prefix[256];
    (void)snprintf(prefix, sizeof prefix, "%s@%llu", m->name, (unsigned long long)generation);
    tr_buf row, position;
    tr_buf_init(&row, ID_MAX);
    tr_buf_init(&position, ID_MAX);
    tr_buf_printf(&row, "%s#", prefix);
    tr_buf_printf(&position, "%s/", prefix);
    begin_body(m, &w);
    tr_json_member_cstring(&w, "TableName", m->table);
    tr_json_member_cstring(&w, "ProjectionExpression", "id");
    tr_json_member_cstring(&w, "FilterExpression", "begins_with(id, :row) or begins_with(id, :position)");
    tr_json_name(&w, "ExpressionAttributeValues");
    tr_json_begin_object(&w);
    typed(&w, ":row", "S", tr_buf_view(&row));
    typed(&w, ":position", "S", tr_buf_view(&position));
    tr_json_end_object(&w);
    if (m->id.len) {
        tr_json_name(&w, "ExclusiveStartKey");
        tr_json_value(&w, tr_buf_view(&m->id));
    }
    tr_json_end_object(&w);
    tr_buf_done(&row);
    tr_buf_done(&position);
    return call(m, "Scan", err);
}

/* Deletes up to DROP_BATCH of the keys, given as JSON. */
static int remove_keys(table_model *m, const tr_view *keys, size_t count, tr_error *err)
{
    tr_json_writer w;
    tr_arena arena;
    tr_view left;
    int e = 0;
    begin_body(m, &w);
    tr_json_name(&w, "RequestItems");
    tr_json_begin_object(&w);
    tr_json_name(&w, m->table);
    tr_json_begin_array(&w);
    for (size_t i = 0; i < count; i++) {
        tr_json_begin_object(&w);
        tr_json_name(&w, "DeleteRequest");
        tr_json_begin_object(&w);
        tr_json_name(&w, "Key");
        tr_json_value(&w, keys[i]);
        tr_json_end_object(&w);
        tr_json_end_object(&w);
    }
    tr_json_end_array(&w);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    tr_arena_init(&arena, BODY_MAX);
    while (!(e = call(m, "BatchWriteItem", err)) &&
           tr_json_member(tr_buf_view(&m->answer), "UnprocessedItems", &arena, &left) == 0 && left.len > 2) {
        begin_body(m, &w); /* what the service had no room for */
        tr_json_name(&w, "RequestItems");
        tr_json_value(&w, left);
        tr_json_end_object(&w);
    }
    tr_arena_done(&arena);
    return e;
}

static int remove_page(table_model *m, tr_view items, tr_arena *arena, tr_error *err)
{
    tr_view keys[DROP_BATCH];
    size_t count = 0;
    tr_json_reader r;
    int e = 0;
    tr_json_init(&r, items, arena);
    if (tr_json_next(&r) != TR_JSON_ARRAY)
        return tr_fail(err, TR_EPARSE, "a Scan's answer has no Items");
    while (!e && tr_json_next(&r) == TR_JSON_OBJECT && tr_json_raw(&r, &keys[count]) == 0)
        if (++count == DROP_BATCH) {
            e = remove_keys(m, keys, count, err);
            count = 0;
        }
    return !e && count ? remove_keys(m, keys, count, err) : e;
}

static int table_drop(tr__model *model, uint64_t generation, tr_error *err)
{
    table_model *m = of(model);
    tr_arena arena;
    tr_view items, last, copy;
    int e;
    tr_arena_init(&arena, BODY_MAX);
    tr_buf_reset(&m->id);
    do {
        tr_arena_reset(&arena);
        e = scan(m, generation, err);
        copy = e ? (tr_view){NULL, 0} : tr_arena_copy(&arena, tr_buf_view(&m->answer));
        if (e || tr_json_member(copy, "Items", &arena, &items))
            break;
        tr_buf_reset(&m->id);
        if (tr_json_member(copy, "LastEvaluatedKey", &arena, &last) == 0)
            tr_buf_put_view(&m->id, last);
        e = remove_page(m, items, &arena, err);
    } while (!e && m->id.len);
    tr_arena_done(&arena);
    return e;
}

/* ------------------------------------------------------------------------------------------------ lifecycle
 */

static void table_free(tr__model *model)
{
    table_model *m = of(model);
    tr_buf_done(&m->body);
    tr_buf_done(&m->answer);
    tr_buf_done(&m->id);
    tr_arena_done(&m->arena);
    tr_free(m->table);
    tr_free(m->name);
    tr_free(m);
}

int tr__model_table(tr_client *client, const char *table, const char *name, tr__model **ret_model,
                    tr_error *err)
{
    table_model *m = tr_calloc(1, sizeof *m);
    if (!m)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    m->base = (tr__model){.changes_max = CHANGES_MAX,
                          .checks = true,
                          .load = table_load,
                          .store = table_store,
                          .begin = table_begin,
                          .position = table_position,
                          .row = table_row,
                          .commit = table_commit,
                          .rollback = table_rollback,
                          .drop = table_drop,
                          .free = table_free};
    m->client = client;
    tr_buf_init(&m->body, BODY_MAX);
    tr_buf_init(&m->answer, BODY_MAX);
    tr_buf_init(&m->id, 65536);
    tr_arena_init(&m->arena, BODY_MAX);
    m->table = tr_strdup(table);
    m->name = tr_strdup(name);
    if (!m->table || !m->name) {
        table_free(&m->base);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    *ret_model = &m->base;
    return 0;
}

int tr_projection_read(tr_client *client, const char *table, const char *name, tr_view key, tr_arena *arena,
                       tr_item *ret_row, tr_error *err)
{
    tr__model *model;
    tr__model_record record;
    tr_buf row;
    uint64_t revision = 0, generation = 0;
    int e = tr__model_table(client, table, name, &model, err);
    if (e)
        return e;
    table_model *m = of(model);
    m->ready = true; /* reading makes no tables */
    tr_buf_init(&row, TR__MODEL_ROW_MAX);
    /* a row that is not there may have been removed with its generation: then another one serves now */
    while (!(e = table_load(model, &record, err)) && !revision && record.serving &&
           record.serving != generation) {
        m->generation = generation = record.serving;
        e = table_row(model, key, &row, &revision, err);
        if (e)
            break;
    }
    if (!e && !revision)
        e = tr_fail(err, TR_ENOTFOUND, "there is no row '%.*s' in %s", TR_FMT(key), name);
    if (!e) {
        *ret_row = tr_arena_copy(arena, tr_buf_view(&row));
        if (!ret_row->ptr)
            e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    tr_buf_done(&row);
    table_free(model);
    return e;
}
