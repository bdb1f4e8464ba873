/* SPDX-License-Identifier: MIT */
/* ExpressionAttributeNames and ExpressionAttributeValues. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Up to this many placeholders are searched one by one; more get a sorted index. */
#define SEARCH_MAX 12

void tr_expr_env_init(tr_expr_env *env, tr_arena *arena)
{
    *env = (tr_expr_env){.arena = arena};
}

/* ------------------------------------------------------------------------------------------------- adding */

/* Room for one more element; the array may move. */
static void *grow(tr_arena *arena, void *array, uint32_t count, uint32_t *cap, size_t size)
{
    if (count < *cap)
        return array;
    uint32_t bigger = *cap ? *cap * 2 : 4;
    void *moved = tr_arena_alloc(arena, bigger * size);
    if (!moved)
        return NULL;
    if (count)
        memcpy(moved, array, count * size);
    *cap = bigger;
    return moved;
}

int tr_expr_env_add_name(tr_expr_env *env, tr_view placeholder, tr_view name)
{
    tr_expr_name *names = grow(env->arena, env->names, env->name_count, &env->name_cap, sizeof(tr_expr_name));
    if (!names)
        return TR_ENOMEM;
    env->names = names;
    env->names[env->name_count++] = (tr_expr_name){.placeholder = placeholder, .name = name};
    env->names_given = true;
    env->name_index = NULL;
    return 0;
}

static int add_value(tr_expr_env *env, const tr_expr_value *value)
{
    tr_expr_value *values =
        grow(env->arena, env->values, env->value_count, &env->value_cap, sizeof(tr_expr_value));
    if (!values)
        return TR_ENOMEM;
    env->values = values;
    env->values[env->value_count++] = *value;
    env->values_given = true;
    env->value_index = NULL;
    return 0;
}

int tr_expr_env_add_value(tr_expr_env *env, tr_view placeholder, tr_value value)
{
    return add_value(env, &(tr_expr_value){.placeholder = placeholder, .value = value});
}

/* ---------------------------------------------------------------------------------------------- searching */

static tr_view name_key(const void *array, uint32_t i)
{
    return ((const tr_expr_name *)array)[i].placeholder;
}

static tr_view value_key(const void *array, uint32_t i)
{
    return ((const tr_expr_value *)array)[i].placeholder;
}

typedef tr_view key_fn(const void *array, uint32_t i);

/* By placeholder, then by position: of equal ones the last is found. */
static void sort_index(uint32_t *index, uint32_t *spare, uint32_t count, key_fn *key, const void *array)
{
    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t from = 0; from < count; from += 2 * width) {
            uint32_t mid = from + width < count ? from + width : count;
            uint32_t end = from + 2 * width < count ? from + 2 * width : count;
            uint32_t a = from, b = mid;
            for (uint32_t to = from; to < end; to++) {
                bool left =
                    b >= end || (a < mid && tr_view_cmp(key(array, index[a]), key(array, index[b])) <= 0);
                spare[to] = left ? index[a++] : index[b++];
            }
        }
        memcpy(index, spare, count * sizeof *index);
    }
}

static uint32_t *make_index(tr_arena *arena, uint32_t count, key_fn *key, const void *array)
{
    uint32_t *index = tr_arena_alloc(arena, 2 * (size_t)count * sizeof *index);
    if (!index)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        index[i] = i;
    sort_index(index, index + count, count, key, array);
    return index;
}

/* The last one of that placeholder, or UINT32_MAX. */
static uint32_t find(tr_arena *arena, uint32_t **index, uint32_t count, key_fn *key, const void *array,
                     tr_view placeholder)
{
    if (count > SEARCH_MAX && !*index)
        *index = make_index(arena, count, key, array);
    if (!*index) {
        for (uint32_t i = count; i-- > 0;)
            if (tr_view_eq(key(array, i), placeholder))
                return i;
        return UINT32_MAX;
    }
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (tr_view_cmp(key(array, (*index)[mid]), placeholder) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 && tr_view_eq(key(array, (*index)[low - 1]), placeholder) ? (*index)[low - 1] : UINT32_MAX;
}

const tr_expr_name *tr__env_name(tr_expr_env *env, tr_view placeholder)
{
    uint32_t i = find(env->arena, &env->name_index, env->name_count, name_key, env->names, placeholder);
    if (i == UINT32_MAX)
        return NULL;
    env->names[i].used = true;
    return &env->names[i];
}

const tr_expr_value *tr__env_value(tr_expr_env *env, tr_view placeholder)
{
    uint32_t i = find(env->arena, &env->value_index, env->value_count, value_key, env->values, placeholder);
    if (i == UINT32_MAX)
        return NULL;
    env->values[i].used = true;
    return &env->values[i];
}

/* ------------------------------------------------------------------------------------------------ reading */

static int json_fail(const tr_json_reader *reader, tr_error *err)
{
    return tr_fail_service(err, tr_json_error_code(reader), 400, "SerializationException", "%s",
                           tr_json_error(reader));
}

static int serialization_fail(tr_error *err, const char *text)
{
    return tr_fail_service(err, TR_EINVAL, 400, "SerializationException", "%s", text);
}

/* The map's first token: 1 if its members follow, 0 if it is null, an error otherwise. */
static int open_map(tr_json_reader *reader, const char *java_map, tr_error *err)
{
    switch (reader->token) {
    case TR_JSON_OBJECT:
        return 1;
    case TR_JSON_NULL:
        return 0;
    case TR_JSON_ARRAY:
        return serialization_fail(err, java_map);
    case TR_JSON_ERROR:
        return json_fail(reader, err);
    default:
        return serialization_fail(err, "Unexpected field type");
    }
}

static int not_a_string(const tr_json_reader *reader, tr_error *err)
{
    switch (reader->token) {
    case TR_JSON_NUMBER: {
        bool whole = tr_view_find(reader->text, TR_VIEW("."), 0) == SIZE_MAX;
        return serialization_fail(err, whole ? "NUMBER_VALUE cannot be converted to String"
                                             : "DECIMAL_VALUE cannot be converted to String");
    }
    case TR_JSON_TRUE:
        return serialization_fail(err, "TRUE_VALUE cannot be converted to String");
    case TR_JSON_FALSE:
        return serialization_fail(err, "FALSE_VALUE cannot be converted to String");
    case TR_JSON_ARRAY:
        return serialization_fail(err, "Unrecognized collection type class java.lang.String");
    case TR_JSON_OBJECT:
        return serialization_fail(err, "Start of structure or map found where not expected");
    default:
        return json_fail(reader, err);
    }
}

int tr_expr_env_read_names(tr_expr_env *env, tr_json_reader *reader, tr_error *err)
{
    int r = open_map(reader, "Unrecognized collection type java.util.Map<java.lang.String, java.lang.String>",
                     err);
    if (r <= 0)
        return r;
    env->names_given = true;
    while (tr_json_next_key(reader)) {
        tr_view placeholder = reader->text;
        tr_json_token token = tr_json_next(reader);
        if (token == TR_JSON_NULL)
            reader->text = (tr_view){NULL, 0}; /* told by tr_expr_env_check */
        else if (token != TR_JSON_STRING)
            return not_a_string(reader, err);
        if (tr_expr_env_add_name(env, placeholder, reader->text) < 0)
            return tr__expr_nomem(err);
    }
    return reader->token == TR_JSON_OBJECT_END ? 0 : json_fail(reader, err);
}

/* Packs a value into `scratch` and copies its payload into the arena. */
static int read_value(tr_expr_env *env, tr_json_reader *reader, tr_buf *scratch, tr_expr_value *value)
{
    tr_packer packer;
    tr_buf_reset(scratch);
    tr_packer_init(&packer, scratch);
    int r = tr_value_read(reader, &packer, &env->item_error);
    if (r < 0)
        return r;
    if (env->item_error.problem != TR_ITEM_OK) /* an attribute's name in it */
        return TR_EPARSE;
    if ((r = tr_buf_status(scratch)) < 0) {
        env->item_error.problem = TR_ITEM_MEMORY;
        return r;
    }
    tr_value packed;
    size_t len;
    if ((r = tr_value_decode(tr_buf_view(scratch), &packed, &len)) < 0)
        return r;
    value->value.type = packed.type;
    value->value.payload = tr_arena_copy(env->arena, packed.payload);
    if (!value->value.payload.ptr) {
        env->item_error.problem = TR_ITEM_MEMORY;
        return TR_ENOMEM;
    }
    return 0;
}

/*
 * The first faulty value is kept for the caller to word. Of the members behind it only the keys are read,
 * whose syntax is told before any value is.
 */
static int read_member(tr_expr_env *env, tr_json_reader *reader, tr_buf *scratch, int *ret_fault)
{
    tr_expr_value value = {.placeholder = reader->text};
    tr_item_error earlier = env->item_error;
    if (tr_json_next(reader) == TR_JSON_ERROR)
        return TR_EPARSE;
    tr_json_reader again = *reader;
    int r = *ret_fault < 0 ? TR_EPARSE : read_value(env, reader, scratch, &value);
    if (r == TR_ENOMEM)
        return r;
    if (r < 0) {
        *reader = again;
        if (*ret_fault < 0) {
            env->item_error = earlier;
        } else {
            *ret_fault = r;
            env->item_error_key = value.placeholder;
        }
        value.value = (tr_value){0};
        if (tr_json_raw(reader, &value.json) < 0)
            return TR_EPARSE;
    } else {
        /* the raw text, from the value's first token to its last */
        const char *from = again.value;
        value.json = tr_view_of(from, (size_t)(reader->at - from));
    }
    return add_value(env, &value);
}

int tr_expr_env_read_values(tr_expr_env *env, tr_json_reader *reader, tr_buf *scratch, tr_error *err)
{
    int r = open_map(reader,
                     "Unrecognized collection type java.util.Map<java.lang.String, "
                     "com.amazonaws.dynamodb.v20120810.AttributeValue>",
                     err);
    if (r <= 0)
        return r;
    env->values_given = true;
    tr_buf own;
    tr_buf_init(&own, 64 << 20);
    int fault = 0;
    r = 0;
    while (r == 0 && tr_json_next_key(reader))
        r = read_member(env, reader, scratch ? scratch : &own, &fault);
    tr_buf_done(&own);
    if (r == TR_ENOMEM)
        return tr__expr_nomem(err);
    if (r < 0 || reader->token != TR_JSON_OBJECT_END)
        return json_fail(reader, err);
    if (fault < 0)
        return tr__expr_fail(err, "ExpressionAttributeValues contains invalid value: %s for key %.*s",
                             tr_item_problem_text(env->item_error.problem), TR_FMT(env->item_error_key)),
               fault;
    return 0;
}

/* ----------------------------------------------------------------------------------------------- checking */

/* A sign, then letters, digits and underscores. */
static bool is_placeholder(tr_view text, char sign)
{
    if (text.len < 2 || text.ptr[0] != sign)
        return false;
    for (size_t i = 1; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'))
            return false;
    }
    return true;
}

static int check_given(const tr_expr_env *env, const tr_expr_param *params, uint32_t count, tr_error *err)
{
    uint32_t given = 0, may_use_values = 0, given_with_values = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool with_values = params[i].kind != TR_EXPR_PROJECTION;
        given += params[i].given;
        may_use_values += with_values;
        given_with_values += with_values && params[i].given;
    }
    if (env->names_given && given == 0)
        return tr__expr_fail(err, "ExpressionAttributeNames can only be specified when using expressions");
    if (!env->values_given || may_use_values == 0 || given_with_values > 0)
        return 0;
    char list[256];
    size_t len = 0;
    list[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (params[i].kind == TR_EXPR_PROJECTION || len >= sizeof list)
            continue;
        int n = snprintf(list + len, sizeof list - len, "%s%s", len ? " and " : "",
                         tr_expr_kind_name(params[i].kind));
        len += n > 0 ? (size_t)n : 0;
    }
    return tr__expr_fail(err,
                         "ExpressionAttributeValues can only be specified when using expressions: %s %s null",
                         list, may_use_values > 1 ? "are" : "is");
}

static int check_names(const tr_expr_env *env, tr_error *err)
{
    if (!env->names_given)
        return 0;
    if (env->name_count == 0)
        return tr__expr_fail(err, "ExpressionAttributeNames must not be empty");
    size_t bytes = 0;
    for (uint32_t i = 0; i < env->name_count; i++) {
        tr_view key = env->names[i].placeholder;
        if (key.len > TR_EXPR_NAME_MAX)
            return tr__expr_fail(
                err,
                "ExpressionAttributeNames contains invalid key: The expression attribute map "
                "contains a key that is too long; size of key: %zu",
                key.len);
        if (!is_placeholder(key, '#'))
            return tr__expr_fail(err,
                                 "ExpressionAttributeNames contains invalid key: Syntax error; key: \"%.*s\"",
                                 TR_FMT(key));
        bytes += key.len + env->names[i].name.len;
    }
    for (uint32_t i = 0; i < env->name_count; i++) {
        const tr_expr_name *n = &env->names[i];
        const char *what = !n->name.ptr       ? "null"
                           : n->name.len == 0 ? "Empty attribute name"
                           : n->name.len > TR_ITEM_NAME_MAX
                               ? "Attribute name is too large, must be less than 65536 bytes"
                               : NULL;
        if (what)
            return tr__expr_fail(err, "ExpressionAttributeNames contains invalid value: %s for key %.*s",
                                 what, TR_FMT(n->placeholder));
    }
    if (bytes > TR_EXPR_MAPS_MAX)
        return tr__expr_fail(err, "ExpressionAttributeNames exceeds max size");
    return 0;
}

static int check_values(const tr_expr_env *env, tr_error *err)
{
    if (!env->values_given)
        return 0;
    if (env->value_count == 0)
        return tr__expr_fail(err, "ExpressionAttributeValues must not be empty");
    size_t bytes = 0;
    for (uint32_t i = 0; i < env->value_count; i++) {
        tr_view key = env->values[i].placeholder;
        if (key.len > TR_EXPR_NAME_MAX)
            return tr__expr_fail(err,
                                 "ExpressionAttributeValues contains invalid key: The expression attribute "
                                 "map contains a key that is too long;");
        if (!is_placeholder(key, ':'))
            return tr__expr_fail(
                err, "ExpressionAttributeValues contains invalid key: Syntax error; key: \"%.*s\"",
                TR_FMT(key));
        bytes += key.len + env->values[i].value.payload.len;
    }
    if (bytes > TR_EXPR_MAPS_MAX)
        return tr__expr_fail(err, "ExpressionAttributeValues exceeds max size");
    return 0;
}

int tr_expr_env_check_given(const tr_expr_env *env, const tr_expr_param *params, uint32_t count,
                            tr_error *err)
{
    return check_given(env, params, count, err);
}

int tr_expr_env_check(const tr_expr_env *env, const tr_expr_param *params, uint32_t count, tr_error *err)
{
    int r = check_given(env, params, count, err);
    if (r == 0)
        r = check_names(env, err);
    return r < 0 ? r : check_values(env, err);
}

/* ------------------------------------------------------------------------------------------------- unused */

/*
 * The service keeps placeholders in a java.util.HashMap, copies its keys into a HashSet, removes those that
 * were used and prints the rest in the order of the set's table. So does this: a stable sort by the bucket in
 * the map, then by the bucket in the set, whose table is made for 4/3 of the keys.
 */
static uint32_t table_for(uint32_t wanted)
{
    uint32_t size = 16;
    while (size < wanted)
        size *= 2;
    return size;
}

typedef struct slot {
    uint32_t at, map, set;
} slot;

static int by_bucket(const void *a, const void *b)
{
    const slot *x = a, *y = b;
    if (x->set != y->set)
        return x->set < y->set ? -1 : 1;
    if (x->map != y->map)
        return x->map < y->map ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* One of the two maps, for what is done with both. */
typedef struct map {
    const char *what;
    const void *array;
    uint32_t count;
    uint32_t **index;
    key_fn *key;
    bool (*used)(const void *array, uint32_t i);
} map;

static bool name_used(const void *array, uint32_t i)
{
    return ((const tr_expr_name *)array)[i].used;
}

static bool value_used(const void *array, uint32_t i)
{
    return ((const tr_expr_value *)array)[i].used;
}

/* Unused, and not overruled by a later one of the same placeholder. */
static bool is_unused(tr_expr_env *env, const map *m, uint32_t i)
{
    return !m->used(m->array, i) &&
           find(env->arena, m->index, m->count, m->key, m->array, m->key(m->array, i)) == i;
}

static int report_unused(tr_expr_env *env, const map *m, tr_error *err)
{
    slot *slots = tr_arena_alloc(env->arena, m->count * sizeof *slots);
    if (!slots)
        return tr__expr_nomem(err);
    uint32_t table = 16, copied = table_for((uint32_t)((uint64_t)m->count * 4 / 3) + 1), n = 0;
    while (m->count > table / 4 * 3)
        table *= 2;
    for (uint32_t i = 0; i < m->count; i++) {
        uint32_t hash = tr__java_hash(m->key(m->array, i));
        if (is_unused(env, m, i))
            slots[n++] = (slot){i, hash & (table - 1), hash & (copied - 1)};
    }
    qsort(slots, n, sizeof *slots, by_bucket);
    char list[TR_ERROR_MESSAGE_MAX];
    size_t len = 0;
    list[0] = 0;
    for (uint32_t i = 0; i < n && len < sizeof list; i++) {
        int more = snprintf(list + len, sizeof list - len, "%s%.*s", i ? ", " : "",
                            TR_FMT(m->key(m->array, slots[i].at)));
        len += more > 0 ? (size_t)more : 0;
    }
    return tr__expr_fail(err, "Value provided in %s unused in expressions: keys: {%s}", m->what, list);
}

int tr_expr_env_check_unused(tr_expr_env *env, tr_error *err)
{
    map maps[] = {
        {"ExpressionAttributeNames", env->names, env->name_count, &env->name_index, name_key, name_used},
        {"ExpressionAttributeValues", env->values, env->value_count, &env->value_index, value_key,
         value_used}};
    for (size_t k = 0; k < TR_COUNT(maps); k++)
        for (uint32_t i = 0; i < maps[k].count; i++)
            if (is_unused(env, &maps[k], i))
                return report_unused(env, &maps[k], err);
    return 0;
}
