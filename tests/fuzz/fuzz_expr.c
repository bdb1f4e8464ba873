/* SPDX-License-Identifier: MIT */
/**
 * Expressions of any bytes, of each kind, parsed and evaluated on an item: nothing reads past its end, what
 * is refused is refused with words, and what an update or a projection makes is a sound item. The first byte
 * chooses the kind and how much memory there is.
 */
#include <assert.h>
#include <stdlib.h>

#include "expr/expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char NAMES[] = "{\"#a\":\"a\",\"#b\":\"b.c\",\"#l\":\"l\",\"#e\":\"\\u00e9\"}";
static const char VALUES[] =
    "{\":s\":{\"S\":\"x\"},\":n\":{\"N\":\"1.5\"},\":b\":{\"B\":\"YQ==\"},\":l\":{\"L\":[{\"N\":\"1\"}"
    "]},\":m\":{\"M\":{\"a\":{\"S\":\"y\"}}},\":ss\":{\"SS\":[\"a\",\"b\"]},\":ns\":{\"NS\":[\"1\","
    "\"2\"]},\":t\":{\"BOOL\":true},\":z\":{\"NULL\":true},\":T\":{\"S\":\"SS\"}}";
static const char ITEM[] =
    "{\"pk\":{\"S\":\"k\"},\"a\":{\"S\":\"xyz\"},\"n\":{\"N\":\"5\"},\"l\":{\"L\":[{\"N\":\"1\"},{\"S\":"
    "\"two\"},{\"M\":{\"a\":{\"N\":\"3\"}}},{\"L\":[]}]},\"m\":{\"M\":{\"a\":{\"M\":{\"b\":{\"SS\":[\"a\","
    "\"c\"]}}},\"b\":{\"N\":\"-7\"}}},\"ss\":{\"SS\":[\"a\",\"z\"]},\"ns\":{\"NS\":[\"2\"]},\"bb\":{\"B\":"
    "\"AAEC\"}}";

static tr_item known_item(void)
{
    static tr_item item;
    static tr_arena arena;
    if (!item.len) {
        tr_arena_init(&arena, 1 << 20);
        int r = tr_item_from_json(tr_view_str(ITEM), &arena, &item, NULL);
        assert(r == 0);
        (void)r;
    }
    return item;
}

static int read_env(tr_expr_env *env, tr_arena *arena)
{
    tr_json_reader r;
    tr_error err;
    tr_expr_env_init(env, arena);
    tr_json_init(&r, tr_view_str(NAMES), arena);
    (void)tr_json_next(&r);
    int code = tr_expr_env_read_names(env, &r, &err);
    tr_json_init(&r, tr_view_str(VALUES), arena);
    (void)tr_json_next(&r);
    return code < 0 ? code : tr_expr_env_read_values(env, &r, NULL, &err);
}

static void refused(int code, const tr_error *err)
{
    assert(code == TR_EINVAL || code == TR_ENOMEM);
    assert(err->code == code && err->message[0]);
}

static void condition(tr_expr_env *env, tr_expr_kind kind, tr_view text)
{
    const tr_condition *c;
    tr_error err = {0};
    int r = tr_condition_parse(env, kind, text, &c, &err);
    if (r < 0) {
        refused(r, &err);
        return;
    }
    (void)tr_condition_eval(c, known_item());
    (void)tr_condition_eval(c, (tr_item){NULL, 0});
    for (uint32_t i = 0; i < c->attribute_count; i++)
        (void)tr_condition_nests(c, c->attributes[i]);
}

static void key_condition(tr_expr_env *env, tr_view text)
{
    static const tr_key_schema schemas[] = {
        {.hash_count = 1, .hash = {{{"a", 1}, TR_S}}},
        {.hash_count = 1, .range_count = 1, .hash = {{{"a", 1}, TR_S}}, .range = {{{"n", 1}, TR_N}}},
        {.hash_count = 2,
         .range_count = 2,
         .hash = {{{"a", 1}, TR_S}, {{"n", 1}, TR_N}},
         .range = {{{"b", 1}, TR_B}, {{"s", 1}, TR_S}}}};
    const tr_key_expr *k;
    tr_error err = {0};
    int r = tr_key_expr_parse(env, text, &k, &err);
    if (r < 0) {
        refused(r, &err);
        return;
    }
    for (size_t i = 0; i < TR_COUNT(schemas); i++) {
        tr_key_condition c;
        r = tr_key_condition_resolve(k, &schemas[i], i & 1, &c, &err);
        if (r < 0)
            refused(r, &err);
        else
            assert(c.hash_count == schemas[i].hash_count && c.equal_count <= schemas[i].range_count);
    }
}

static void sound(tr_item item)
{
    if (tr_item_depth(item) <= TR_ITEM_DEPTH_MAX)
        assert(tr_item_check(item) == 0);
}

static void projection(tr_expr_env *env, tr_view text)
{
    const tr_projection *p;
    tr_item item;
    tr_error err = {0};
    int r = tr_projection_parse(env, text, &p, &err);
    if (r < 0)
        refused(r, &err);
    else if (tr_projection_apply(p, known_item(), env->arena, &item) == 0)
        sound(item);
}

static void update(tr_expr_env *env, tr_view text)
{
    const tr_update *u;
    tr_item next, part;
    tr_error err = {0};
    int r = tr_update_parse(env, text, &u, &err);
    if (r < 0) {
        refused(r, &err);
        return;
    }
    for (int missing = 0; missing < 2; missing++) {
        tr_item old = missing ? (tr_item){NULL, 0} : known_item();
        r = tr_update_apply(u, old, (tr_item){NULL, 0}, env->arena, &next, &err);
        if (r < 0) {
            refused(r, &err);
            continue;
        }
        sound(next);
        if (tr_update_touched(u, next, env->arena, &part) == 0)
            sound(part);
        if (tr_update_touched(u, old, env->arena, &part) == 0)
            sound(part);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t choice = data[0];
    /* a copy of exactly its size, so that reading past it is seen */
    char *copy = malloc(size);
    assert(copy);
    memcpy(copy, data + 1, size - 1);
    tr_view text = tr_view_of(copy, size - 1);
    tr_arena arena;
    tr_arena_init(&arena, choice & 0x80 ? 64 + 16 * (size_t)(choice & 0x7f) * (choice & 0x7f) : 64 << 20);
    tr_expr_env env;
    if (read_env(&env, &arena) == 0) {
        switch (choice % 5) {
        case 0:
            condition(&env, TR_EXPR_CONDITION, text);
            break;
        case 1:
            condition(&env, TR_EXPR_FILTER, text);
            break;
        case 2:
            key_condition(&env, text);
            break;
        case 3:
            projection(&env, text);
            break;
        default:
            update(&env, text);
        }
        tr_error err;
        (void)tr_expr_env_check_unused(&env, &err);
    }
    tr_arena_done(&arena);
    free(copy);
    return 0;
}
