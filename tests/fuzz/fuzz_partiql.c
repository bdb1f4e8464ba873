/* SPDX-License-Identifier: MIT */
/**
 * Statements of any bytes: nothing reads past the end, what is refused is refused with words, what is
 * inserted is a sound item, and what is planned can be evaluated. The first byte chooses the key schema and
 * how many parameters there are.
 */
#include <assert.h>
#include <stdlib.h>

#include "partiql/partiql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const tr_key_schema schemas[] = {
    {.hash_count = 1, .hash = {{{"pk", 2}, TR_S}}},
    {.hash_count = 1, .range_count = 1, .hash = {{{"pk", 2}, TR_S}}, .range = {{{"sk", 2}, TR_N}}},
    {.hash_count = 2,
     .range_count = 2,
     .hash = {{{"pk", 2}, TR_S}, {{"n", 1}, TR_N}},
     .range = {{{"sk", 2}, TR_S}, {{"b", 1}, TR_B}}}};
static const tr_value parameters[] = {
    {TR_S, {"a", 1}}, {TR_S, {"b", 1}}, {TR_BOOL, {"\1", 1}}, {TR_NULL, {NULL, 0}}};
static const char item_json[] =
    "{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"},\"n\":{\"N\":\"1\"},\"m\":{\"M\":{\"l\":{\"L\":[{\"N\":"
    "\"1\"}]}}},\"ss\":{\"SS\":[\"a\"]}}";

static void refused(int code, const tr_error *err)
{
    if ((code != TR_EINVAL && code != TR_ENOMEM && code != TR_ELIMIT) || err->code != code ||
        !err->message[0])
        abort();
}

static void use(const tr_ql_statement *s, const tr_key_schema *schema, tr_arena *arena, tr_buf *scratch)
{
    tr_error err;
    tr_item item, picked, made;
    tr_ql_reads reads;
    tr_ql_target target;
    if (tr_item_from_json(tr_view_str(item_json), arena, &item, &err))
        return;
    int e = tr_ql_plan_target(arena, scratch, s, schema, &target, &err);
    if (e)
        refused(e, &err);
    else if (target.condition)
        (void)tr_condition_eval(target.condition, item);
    if (s->kind == TR_QL_INSERT && tr_item_depth(s->item) <= TR_ITEM_DEPTH_MAX && tr_item_check(s->item))
        abort();
    if (s->update && tr_update_apply(s->update, item, item, arena, &made, &err) == 0 &&
        tr_item_depth(made) <= TR_ITEM_DEPTH_MAX && tr_item_check(made))
        abort();
    if (s->kind != TR_QL_SELECT)
        return;
    e = tr_ql_plan_reads(arena, s, schema, &reads, &err);
    if (e)
        refused(e, &err);
    else if (reads.filter)
        (void)tr_condition_eval(reads.filter, item);
    if (tr_ql_pick(s, item, arena, scratch, &picked) == 0 && tr_item_check(picked))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tr_arena arena;
    tr_buf scratch;
    tr_error err = {0};
    const tr_ql_statement *s = NULL;
    if (size == 0)
        return 0;
    /* a copy of its own size, so that reading past its end is seen */
    char *text = malloc(size - 1);
    if (!text && size > 1)
        return 0;
    if (size > 1)
        memcpy(text, data + 1, size - 1);
    tr_arena_init(&arena, (size_t)32 << 20);
    tr_buf_init(&scratch, (size_t)16 << 20);
    int e = tr_ql_parse(&arena, &scratch, tr_view_of(text, size - 1), parameters, data[0] % 5U, &s, &err);
    if (e)
        refused(e, &err);
    else
        use(s, &schemas[data[0] / 5 % TR_COUNT(schemas)], &arena, &scratch);
    tr_arena_done(&arena);
    tr_buf_done(&scratch);
    free(text);
    return 0;
}
