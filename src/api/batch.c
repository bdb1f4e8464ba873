/* SPDX-License-Identifier: MIT */
#include "api/distinct.h"
#include "api/requests.h"

/* BatchGetItem, BatchWriteItem. */

#define GETS_MAX   100
#define WRITES_MAX 25
/* Bytes of items that BatchGetItem returns (API reference). */
#define GET_BYTES_MAX ((size_t)16 * 1024 * 1024)

static int check_names(tr_call *c, const tr_list *map, size_t size)
{
    for (uint32_t i = 0; i < map->count; i++) {
        tr_view name = *(const tr_view *)(const void *)((const char *)map->items + i * size);
        if (tr_view_starts(name, TR_VIEW("arn:")))
            continue;
        if (name.len == 0)
            return tr__invalid(c, "1 validation error detected: Value '' at 'tableName' failed to satisfy "
                                  "constraint: Member must have length greater than or equal to 1");
        if (!tr__name_valid(name))
            return tr__invalid(c,
                               "1 validation error detected: Value '%.*s' at 'tableName' failed to satisfy "
                               "constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
                               TR_FMT(name));
        if (name.len > 255)
            return tr__invalid(c,
                               "1 validation error detected: Value '%.*s' at 'tableName' failed to satisfy "
                               "constraint: Member must have length less than or equal to 255",
                               TR_FMT(name));
    }
    return 0;
}

/* ----------------------------------------------------------------------------------------- BatchGetItem */

typedef struct keys_and_attributes {
    tr_view table_name;
    tr_list keys; /* tr_attributes */
    tr_list to_get;
    tr_bool consistent;
    tr_view projection;
    tr_expr_env env;
    /* found */
    tr_table *table;
    const tr_projection *fields;
    uint32_t done; /* keys that were read */
} keys_and_attributes;

typedef struct get_request {
    tr_list items; /* keys_and_attributes */
    tr_view capacity;
} get_request;

static const tr_member keys_members[] = {
    TR_MEMBER(keys_and_attributes, keys, "Keys", TR_K_ITEMS, .rules = TR_R_NOT_NULL),
    TR_M_TO_GET(keys_and_attributes, to_get),
    TR_MEMBER(keys_and_attributes, consistent, "ConsistentRead", TR_K_BOOLEAN, .rules = 0),
    TR_M_TEXT(keys_and_attributes, projection, "ProjectionExpression"),
    TR_M_NAMES(keys_and_attributes, env),
};
static const tr_shape keys_shape = TR_SHAPE_ENV(keys_and_attributes, "KeysAndAttributes", keys_members, env);

static const tr_member get_members[] = {
    TR_M_CAPACITY(get_request, capacity, .rules = 0),
    TR_MEMBER(get_request, items, "RequestItems", TR_K_STRUCT_MAP, .rules = TR_R_NOT_NULL,
              .shape = &keys_shape),
};
const tr_shape tr__shape_batch_get = TR_SHAPE(get_request, "BatchGetItemInput", get_members);

static int check_gets(tr_call *c, const get_request *r)
{
    const keys_and_attributes *list = r->items.items;
    uint64_t total = 0;
    const keys_and_attributes *most = list;
    bool projections = false, to_gets = false;
    if (!r->items.count)
        return tr__invalid(c, "1 validation error detected: Value at 'RequestItems' failed to satisfy "
                              "constraint: Member must have length greater than or equal to 1");
    for (uint32_t i = 0; i < r->items.count; i++) {
        if (!list[i].keys.count)
            return tr__invalid(
                c,
                "1 validation error detected: Value at 'requestItems.%.*s.member.keys' failed to "
                "satisfy constraint: Member must have length greater than or equal to 1",
                TR_FMT(list[i].table_name));
        total += list[i].keys.count;
        most = list[i].keys.count > most->keys.count ? &list[i] : most;
        projections |= list[i].projection.ptr != NULL;
        to_gets |= list[i].to_get.given;
    }
    int e = check_names(c, &r->items, sizeof *list);
    if (e)
        return e;
    if (total > GETS_MAX)
        return tr__invalid(c,
                           "1 validation error detected: Value at 'RequestItems.%.*s.member.Keys' failed to "
                           "satisfy constraint: Member must have length less than or equal to %d",
                           TR_FMT(most->table_name), GETS_MAX);
    const tr_given legacy[] = {{"AttributesToGet", to_gets}, {NULL, false}};
    const tr_given exprs[] = {{"ProjectionExpression", projections}, {NULL, false}};
    return tr__check_mixed(c, legacy, exprs);
}

static int prepare_get(tr_call *c, keys_and_attributes *ka)
{
    const tr_expr_param params[] = {{TR_EXPR_PROJECTION, ka->projection.ptr != NULL}};
    const tr_attributes *keys = ka->keys.items;
    int e = tr__check_given(c, &ka->env, params, TR_COUNT(params));
    if (e == 0)
        e = tr__check_to_get(c, &ka->to_get);
    if (e == 0)
        e = tr__check_env(c, &ka->env, params, TR_COUNT(params));
    if (e == 0)
        e = tr__projection_of(c, &ka->env, ka->projection, &ka->to_get, &ka->fields);
    if (e == 0)
        e = tr__check_unused(c, &ka->env);
    for (uint32_t i = 0; i < ka->keys.count && e == 0; i++)
        e = tr__check_attributes(c, &keys[i], "", false);
    for (uint32_t i = 0; i < ka->keys.count && e == 0; i++)
        for (uint32_t k = 0; k < i && e == 0; k++)
            if (tr_view_eq(keys[i].item, keys[k].item))
                e = tr__invalid(c, "Provided list of item keys contains duplicates");
    return e;
}

static int find_gets(tr_call *c, keys_and_attributes *ka)
{
    const tr_attributes *keys = ka->keys.items;
    int e = tr__find_table(c, ka->table_name, &ka->table);
    for (uint32_t i = 0; i < ka->keys.count && e == 0; i++)
        e = tr__check_key(c, ka->table, keys[i].item);
    if (e == 0)
        e = tr__check_scalar_keys(c, ka->table, NULL, ka->fields, NULL);
    return e;
}

/* Reads a table's keys until the answer is full. */
static int get_items(tr_call *c, keys_and_attributes *ka, size_t *bytes, tr_capacity *capacity)
{
    const tr_attributes *keys = ka->keys.items;
    tr_error err;
    for (; ka->done < ka->keys.count; ka->done++) {
        tr_item item;
        int e = tr_engine_get(c->engine, NULL, ka->table, keys[ka->done].item, c->arena, &item, &err);
        if (e && e != TR_ENOTFOUND)
            return tr__fail_code(c, e, &err);
        size_t size = e ? 0 : tr_item_size(item);
        if (*bytes + size > GET_BYTES_MAX)
            return 0;
        *bytes += size;
        capacity->table_halves += tr__read_halves(size, ka->consistent.value);
        if (e)
            continue;
        if (ka->fields) {
            e = tr_projection_apply(ka->fields, item, c->arena, &item);
            if (e)
                return e;
        }
        tr_item_write(&c->w, item);
    }
    return 0;
}

/* What is left to ask for, as it was asked. */
static void put_unprocessed(tr_call *c, const keys_and_attributes *ka)
{
    const tr_attributes *keys = ka->keys.items;
    if (ka->done == ka->keys.count)
        return;
    tr_json_key(&c->w, ka->table_name);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Keys");
    tr_json_begin_array(&c->w);
    for (uint32_t i = ka->done; i < ka->keys.count; i++)
        tr_json_value(&c->w, keys[i].raw);
    tr_json_end_array(&c->w);
    if (ka->consistent.given)
        tr_json_member_bool(&c->w, "ConsistentRead", ka->consistent.value);
    if (ka->to_get.given) {
        tr_json_name(&c->w, "AttributesToGet");
        tr_json_value(&c->w, ka->to_get.raw);
    }
    if (ka->projection.ptr)
        tr_json_member_string(&c->w, "ProjectionExpression", ka->projection);
    if (ka->env.name_count) {
        tr_json_name(&c->w, "ExpressionAttributeNames");
        tr_json_begin_object(&c->w);
        for (uint32_t i = 0; i < ka->env.name_count; i++) {
            tr_json_key(&c->w, ka->env.names[i].placeholder);
            tr_json_string(&c->w, ka->env.names[i].name);
        }
        tr_json_end_object(&c->w);
    }
    tr_json_end_object(&c->w);
}

int tr__op_batch_get(tr_call *c, void *request)
{
    get_request *r = request;
    keys_and_attributes *list = r->items.items;
    tr_capacities capacities;
    size_t bytes = 0;
    int e = check_gets(c, r);
    for (uint32_t i = 0; i < r->items.count && e == 0; i++)
        e = prepare_get(c, &list[i]);
    for (uint32_t i = 0; i < r->items.count && e == 0; i++)
        e = find_gets(c, &list[i]);
    if (e == 0)
        e = tr__capacities_init(c, &capacities, r->items.count);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Responses");
    tr_json_begin_object(&c->w);
    for (uint32_t i = 0; i < r->items.count && e == 0; i++) {
        tr_json_key(&c->w, list[i].table_name);
        tr_json_begin_array(&c->w);
        e = get_items(c, &list[i], &bytes, tr__capacities_of(&capacities, list[i].table, false));
        tr_json_end_array(&c->w);
    }
    if (e)
        return e;
    tr_json_end_object(&c->w);
    tr_json_name(&c->w, "UnprocessedKeys");
    tr_json_begin_object(&c->w);
    for (uint32_t i = 0; i < r->items.count; i++)
        put_unprocessed(c, &list[i]);
    tr_json_end_object(&c->w);
    tr__capacities_member(c, &capacities, tr__capacity_mode(r->capacity));
    tr_json_end_object(&c->w);
    return 0;
}

/* --------------------------------------------------------------------------------------- BatchWriteItem */

typedef struct item_holder {
    tr_attributes item;
} item_holder;

typedef struct write_entry {
    item_holder *put, *drop;
} write_entry;

typedef struct write_request {
    tr_list items; /* tr_named_list of write_entry */
    tr_view capacity, metrics;
} write_request;

static const tr_member put_members[] = {
    TR_MEMBER(item_holder, item, "Item", TR_K_ITEM, .rules = TR_R_NOT_NULL),
};
static const tr_shape put_shape = TR_SHAPE(item_holder, "PutRequest", put_members);
static const tr_member drop_members[] = {
    TR_MEMBER(item_holder, item, "Key", TR_K_ITEM, .rules = TR_R_NOT_NULL),
};
static const tr_shape drop_shape = TR_SHAPE(item_holder, "DeleteRequest", drop_members);
static const tr_member entry_members[] = {
    TR_MEMBER(write_entry, drop, "DeleteRequest", TR_K_STRUCT, .shape = &drop_shape),
    TR_MEMBER(write_entry, put, "PutRequest", TR_K_STRUCT, .shape = &put_shape),
};
static const tr_shape entry_shape = TR_SHAPE(write_entry, "WriteRequest", entry_members);

static const tr_member write_members[] = {
    TR_M_CAPACITY(write_request, capacity, .rules = 0),
    TR_M_METRICS(write_request, metrics, .rules = 0),
    TR_MEMBER(write_request, items, "RequestItems", TR_K_LIST_MAP, .rules = TR_R_NOT_NULL | TR_R_LISTS,
              .shape = &entry_shape, .java = "java.util.List<" TR_JAVA_PREFIX "WriteRequest>"),
};
const tr_shape tr__shape_batch_write = TR_SHAPE(write_request, "BatchWriteItemInput", write_members);

static int check_entry(tr_call *c, const write_entry *entry)
{
    const tr_attributes *item = entry->put ? &entry->put->item : entry->drop ? &entry->drop->item : NULL;
    if (!item || (entry->put && entry->drop)) /* the service's words for an empty entry as well */
        return tr__invalid(
            c, "Supplied AttributeValue has more than one datatypes set, must contain exactly one "
               "of the supported datatypes");
    return tr__check_attributes(c, item, "", false);
}

static int check_writes(tr_call *c, const write_request *r, uint32_t *ret_count)
{
    const tr_named_list *tables = r->items.items;
    uint32_t total = 0;
    if (!r->items.count)
        return tr__invalid(c, "The requestItems parameter is required for BatchWriteItem");
    for (uint32_t i = 0; i < r->items.count; i++)
        if (!tables[i].list.count)
            return tr__invalid(
                c,
                "1 validation error detected: Value at 'requestItems.%.*s.member' failed to satisfy "
                "constraint: Member must have length greater than or equal to 1",
                TR_FMT(tables[i].name));
    int e = check_names(c, &r->items, sizeof *tables);
    for (uint32_t i = 0; i < r->items.count && e == 0; i++)
        total += tables[i].list.count;
    if (e == 0 && total > WRITES_MAX)
        e = tr__invalid(c, "Too many items requested for the BatchWriteItem call");
    for (uint32_t i = 0; i < r->items.count && e == 0; i++)
        for (uint32_t k = 0; k < tables[i].list.count && e == 0; k++)
            e = check_entry(c, &((const write_entry *)tables[i].list.items)[k]);
    *ret_count = total;
    return e;
}

/* The table's part, as writes. */
static int fill_writes(tr_call *c, const tr_named_list *part, tr_distinct *seen, tr_write *writes)
{
    const write_entry *entries = part->list.items;
    tr_table *table;
    int e = tr__find_table(c, part->name, &table);
    for (uint32_t i = 0; i < part->list.count && e == 0; i++) {
        writes[i].table = table;
        if (entries[i].put) {
            writes[i].kind = TR_WRITE_PUT;
            writes[i].item = entries[i].put->item.item;
            if (tr_item_size(writes[i].item) > TR_ITEM_SIZE_MAX)
                return tr__invalid(c, "Item size has exceeded the maximum allowed size");
            e = tr__check_item_keys(c, table, writes[i].item, true);
            if (e == 0)
                e = tr__key_of(c, &table->schema, writes[i].item, &writes[i].key);
        } else {
            writes[i].kind = TR_WRITE_DELETE;
            writes[i].key = entries[i].drop->item.item;
            e = tr__check_key(c, table, writes[i].key);
        }
        if (e == 0 && !tr__distinct_add(seen, table, writes[i].key))
            e = tr__invalid(c, "Provided list of item keys contains duplicates");
    }
    return e;
}

int tr__op_batch_write(tr_call *c, void *request)
{
    const write_request *r = request;
    const tr_named_list *tables = r->items.items;
    tr_distinct seen = {0};
    tr_capacities capacities;
    tr_error err;
    uint32_t count = 0, at = 0;
    int e = check_writes(c, r, &count);
    if (e)
        return e;
    tr_write *writes = tr_arena_calloc(c->arena, count, sizeof *writes);
    if (!writes || tr__capacities_init(c, &capacities, r->items.count))
        return TR_ENOMEM;
    for (uint32_t i = 0; i < r->items.count && e == 0; i++) {
        e = fill_writes(c, &tables[i], &seen, writes + at);
        at += tables[i].list.count;
    }
    if (e)
        return e;
    e = tr_engine_write(c->engine, writes, count, false, c->arena, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    for (uint32_t i = 0; i < count; i++) {
        if (writes[i].outcome == TR_WRITE_INVALID)
            return tr__invalid(c, "%s", writes[i].error.message);
        if (r->capacity.ptr)
            tr__capacity_write(tr__capacities_of(&capacities, writes[i].table, true), &writes[i]);
    }
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "UnprocessedItems");
    tr_json_begin_object(&c->w);
    tr_json_end_object(&c->w);
    tr__capacities_member(c, &capacities, tr__capacity_mode(r->capacity));
    e = tr__collections_member(c, r->metrics, writes, count);
    tr_json_end_object(&c->w);
    return e;
}
