/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_TEST_EXPR_HELPERS_H
#define TAILRACE_TEST_EXPR_HELPERS_H

/** Items and values from JSON in an arena that lives as long as a test. */

#include "vector.h"

static tr_arena arena;

static inline int set_up(void **state)
{
    (void)state;
    tr_arena_init(&arena, 256 << 20);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    tr_arena_done(&arena);
    return 0;
}

static inline tr_item item(const char *json)
{
    tr_item packed;
    tr_error err;
    if (tr_item_from_json(tr_view_str(json), &arena, &packed, &err) < 0)
        fail_msg("%s: %s", json, err.message);
    return packed;
}

static inline tr_value value(const char *json)
{
    char *text = tr_arena_printf(&arena, "{\"v\":%s}", json);
    tr_value v;
    assert_int_equal(tr_item_get(item(text), TR_VIEW("v"), &v), 0);
    return v;
}

static inline void assert_item(tr_item got, const char *json)
{
    tr_buf text;
    tr_buf_init(&text, 1 << 20);
    tr_json_writer w;
    tr_json_write_init(&w, &text);
    tr_item_write(&w, got);
    assert_int_equal(tr_item_check(got), 0);
    if (!tr_view_eq(got, item(json)))
        fail_msg("got  %s\n want %s", tr_buf_cstr(&text), json);
    tr_buf_done(&text);
}

static inline outcome run(const char *op, const char *expr, const char *names, const char *values, tr_item on)
{
    outcome o;
    vector v = {.op = tr_view_str(op),
                .expr = tr_view_str(expr),
                .names = tr_view_str(names),
                .values = tr_view_str(values),
                .item = on};
    vector_run(&v, &arena, &o);
    return o;
}

static inline void assert_message(const outcome *o, const char *message)
{
    assert_int_equal(o->code, TR_EINVAL);
    assert_string_equal(o->err.message, message);
}

static inline int read_into(tr_expr_env *env, const char *json, bool names, tr_error *err)
{
    tr_json_reader r;
    tr_expr_env_init(env, &arena);
    tr_json_init(&r, tr_view_str(json), &arena);
    (void)tr_json_next(&r);
    return names ? tr_expr_env_read_names(env, &r, err) : tr_expr_env_read_values(env, &r, NULL, err);
}

#define EXPR_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
