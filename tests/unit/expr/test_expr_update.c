/* SPDX-License-Identifier: MIT */
/* What vectors.jsonl cannot say of projections and updates: without text, ReturnValues, missing items,
 * growth. */
#include "helpers.h"

/* -------------------------------------------------------------------------------------------- projections */

static void projections_keep_structure(void **state)
{
    (void)state;
    tr_item on = item(
        "{\"p\":{\"S\":\"k\"},\"a\":{\"M\":{\"b\":{\"L\":[{\"N\":\"2\"},{\"N\":\"4\"},{\"M\":{\"x\":{\"S\":"
        "\"hi\"},\"y\":{\"S\":\"yo\"}}}]},\"c\":{\"N\":\"5\"}}},\"b\":{\"S\":\"hello\"}}");
    static const struct {
        const char *expr, *want;
    } cases[] = {
        {"a.b[0]", "{\"a\":{\"M\":{\"b\":{\"L\":[{\"N\":\"2\"}]}}}}"},
        {"a.b[2].y", "{\"a\":{\"M\":{\"b\":{\"L\":[{\"M\":{\"y\":{\"S\":\"yo\"}}}]}}}}"},
        {"a.b[2], a.b[0]", "{\"a\":{\"M\":{\"b\":{\"L\":[{\"N\":\"2\"},{\"M\":{\"x\":{\"S\":\"hi\"},\"y\":{"
                           "\"S\":\"yo\"}}}]}}}}"},
        {"a.b[2].x, a.b[2].y",
         "{\"a\":{\"M\":{\"b\":{\"L\":[{\"M\":{\"x\":{\"S\":\"hi\"},\"y\":{\"S\":\"yo\"}}}]}}}}"},
        {"a.x, a.b[0], x, a.b[3].x", "{\"a\":{\"M\":{\"b\":{\"L\":[{\"N\":\"2\"}]}}}}"},
        {"a.c,b", "{\"a\":{\"M\":{\"c\":{\"N\":\"5\"}}},\"b\":{\"S\":\"hello\"}}"},
        {"x", "{}"},
        {"a.b[3]", "{}"},
        {"a.x.y", "{}"},
        {"a.b.x", "{}"},
        {"a[0]", "{}"},
        {"a.b[0].x", "{}"},
        {"b.c, b[0]", NULL},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        outcome o = run("proj", cases[i].expr, "", "", on);
        assert_int_equal(o.code, cases[i].want ? 0 : TR_EINVAL);
        if (cases[i].want)
            assert_item(o.item, cases[i].want);
    }
    outcome o = run("proj", "a, b", "", "", (tr_item){NULL, 0});
    assert_int_equal(o.code, 0);
    assert_item(o.item, "{}");
}

static void projections_are_built_without_text(void **state)
{
    (void)state;
    tr_path paths[3];
    assert_int_equal(tr_path_of(&arena, TR_VIEW("b"), &paths[0]), 0);
    const tr_path_part parts[] = {{TR_VIEW("a"), 0}, {{NULL, 0}, 1}};
    paths[1] = (tr_path){2, parts};
    assert_int_equal(tr_path_of(&arena, TR_VIEW("zz"), &paths[2]), 0);
    const tr_projection *p;
    tr_error err;
    tr_item got = {NULL, 0};
    uint32_t count;
    assert_int_equal(tr_projection_of(&arena, paths, 3, &p, &err), 0);
    assert_int_equal(
        tr_projection_apply(
            p,
            item("{\"a\":{\"L\":[{\"S\":\"0\"},{\"S\":\"1\"}]},\"b\":{\"BOOL\":true},\"c\":{\"NULL\":true}}"),
            &arena, &got),
        0);
    assert_item(got, "{\"a\":{\"L\":[{\"S\":\"1\"}]},\"b\":{\"BOOL\":true}}");
    const tr_view *names = tr_projection_attributes(p, &count);
    assert_int_equal(count, 3);
    assert_view(names[0], "b");
    assert_view(names[1], "a");
    assert_true(tr_projection_nests(p, TR_VIEW("a")));
    assert_false(tr_projection_nests(p, TR_VIEW("b")));
    paths[2] = paths[0];
    assert_int_equal(tr_projection_of(&arena, paths, 3, &p, &err), TR_EINVAL);
    assert_string_equal(err.message,
                        "Invalid ProjectionExpression: Two document paths overlap with each other; must "
                        "remove or rewrite one of these paths; path one: [b], path two: [b]");
}

/* ------------------------------------------------------------------------------------------------ updates */

static tr_item touched(const char *expr, const char *values, tr_item on, bool old)
{
    tr_expr_env env;
    tr_error err;
    const tr_update *u;
    tr_item next = {NULL, 0}, got = {NULL, 0};
    tr_expr_env_init(&env, &arena);
    if (values)
        assert_int_equal(read_into(&env, values, false, &err), 0);
    if (tr_update_parse(&env, tr_view_str(expr), &u, &err) < 0 ||
        tr_update_apply(u, on, (tr_item){NULL, 0}, &arena, &next, &err) < 0)
        fail_msg("%s: %s", expr, err.message);
    assert_int_equal(tr_update_touched(u, old ? on : next, &arena, &got), 0);
    return got;
}

/* As AWS answers (DynamoDB Local gives whole attributes instead). */
static void return_values_are_what_was_touched(void **state)
{
    (void)state;
    tr_item on = item(
        "{\"p\":{\"S\":\"k\"},\"a\":{\"M\":{\"b\":{\"S\":\"dog\"},\"c\":{\"L\":[{\"N\":\"1\"},{\"N\":\"2\"},{"
        "\"N\":\"3\"}]}}},\"d\":{\"S\":\"cat\"}}");
    const char *v = "{\":v\":{\"S\":\"new\"}}";
    assert_item(touched("SET a.b = :v", v, on, true), "{\"a\":{\"M\":{\"b\":{\"S\":\"dog\"}}}}");
    assert_item(touched("SET a.b = :v", v, on, false), "{\"a\":{\"M\":{\"b\":{\"S\":\"new\"}}}}");
    assert_item(touched("SET a.c[1] = :v, d = :v", v, on, true),
                "{\"a\":{\"M\":{\"c\":{\"L\":[{\"N\":\"2\"}]}}},\"d\":{\"S\":\"cat\"}}");
    assert_item(touched("SET a.c[1] = :v, a.b = :v", v, on, false),
                "{\"a\":{\"M\":{\"b\":{\"S\":\"new\"},\"c\":{\"L\":[{\"S\":\"new\"}]}}}}");
    assert_item(touched("REMOVE a.c[1], a.c[3]", NULL, on, true),
                "{\"a\":{\"M\":{\"c\":{\"L\":[{\"N\":\"2\"}]}}}}");
    /* elements move up, and what is at the index then is answered */
    assert_item(touched("REMOVE a.c[1]", NULL, on, false), "{\"a\":{\"M\":{\"c\":{\"L\":[{\"N\":\"3\"}]}}}}");
    /* what is appended stands elsewhere than it was put */
    assert_item(touched("SET a.c[100] = :v", v, on, false), "{}");
    assert_item(touched("SET a.x = :v", v, on, true), "{}");
    assert_item(touched("REMOVE d", NULL, on, false), "{}");
}

static void updates_of_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *expr;
        bool creates;
        const char *item;
    } cases[] = {
        {"REMOVE a", false, "{\"pk\":{\"S\":\"d1\"}}"},
        {"REMOVE a.b, c[1]", false, "{\"pk\":{\"S\":\"d1\"}}"},
        {"DELETE a :s", false, "{\"pk\":{\"S\":\"d1\"}}"},
        {"REMOVE a DELETE b.c :s", false, "{\"pk\":{\"S\":\"d1\"}}"},
        {"ADD a :s", true, "{\"a\":{\"SS\":[\"x\"]},\"pk\":{\"S\":\"d1\"}}"},
        {"SET a = pk, b = :s REMOVE c", true,
         "{\"a\":{\"S\":\"d1\"},\"b\":{\"SS\":[\"x\"]},\"pk\":{\"S\":\"d1\"}}"},
        {"SET a = :s REMOVE c.d", true, NULL},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_expr_env env;
        tr_error err;
        const tr_update *u;
        tr_item got = {NULL, 0};
        assert_int_equal(read_into(&env, "{\":s\":{\"SS\":[\"x\"]}}", false, &err), 0);
        assert_int_equal(tr_update_parse(&env, tr_view_str(cases[i].expr), &u, &err), 0);
        assert_int_equal(tr_update_creates(u), cases[i].creates);
        int r = tr_update_apply(u, (tr_item){NULL, 0}, item("{\"pk\":{\"S\":\"d1\"}}"), &arena, &got, &err);
        assert_int_equal(r, cases[i].item ? 0 : TR_EINVAL);
        if (cases[i].item)
            assert_item(got, cases[i].item);
        else
            assert_string_equal(err.message,
                                "The document path provided in the update expression is invalid for update");
    }
}

static void names_what_an_update_changes(void **state)
{
    (void)state;
    tr_expr_env env;
    tr_error err;
    const tr_update *u;
    uint32_t count;
    assert_int_equal(read_into(&env, "{\":n\":{\"N\":\"1\"}}", false, &err), 0);
    assert_int_equal(
        tr_update_parse(&env, TR_VIEW("SET b.c = if_not_exists(x.y, :n), b.d = z REMOVE a, e[1] ADD f :n"),
                        &u, &err),
        0);
    const tr_view *names = tr_update_attributes(u, &count);
    static const char *const want[] = {"b", "a", "e", "f"};
    assert_int_equal(count, TR_COUNT(want));
    for (size_t i = 0; i < TR_COUNT(want); i++)
        assert_view(names[i], want[i]);
    assert_true(tr_update_nests(u, TR_VIEW("b")));
    assert_true(tr_update_nests(u, TR_VIEW("e")));
    assert_true(tr_update_nests(u, TR_VIEW("x"))); /* read, not changed */
    assert_false(tr_update_nests(u, TR_VIEW("a")));
    assert_false(tr_update_nests(u, TR_VIEW("z")));
}

static void updates_are_built_without_text(void **state)
{
    (void)state;
    tr_path list, number;
    assert_int_equal(tr_path_of(&arena, TR_VIEW("l"), &list), 0);
    assert_int_equal(tr_path_of(&arena, TR_VIEW("n"), &number), 0);
    const tr_term more = {.kind = TR_TERM_VALUE, .value = value("{\"L\":[{\"S\":\"b\"}]}")};
    const tr_term one = {.kind = TR_TERM_VALUE, .value = value("{\"N\":\"1\"}")};
    const tr_term old = {.kind = TR_TERM_PATH, .path = number};
    const tr_term sum = {.kind = TR_TERM_MINUS, .left = &old, .right = &one};
    /* AttributeUpdates may add to lists, which text may not */
    tr_update_step steps[] = {{TR_UPDATE_ADD, list, &more}, {TR_UPDATE_SET, number, &sum}};
    const tr_update *u;
    tr_item got = {NULL, 0};
    tr_error err;
    assert_int_equal(tr_update_of(&arena, steps, 2, &u, &err), 0);
    tr_item on = item("{\"pk\":{\"S\":\"k\"},\"l\":{\"L\":[{\"S\":\"a\"}]},\"n\":{\"N\":\"5\"}}");
    assert_int_equal(tr_update_apply(u, on, on, &arena, &got, &err), 0);
    assert_item(got,
                "{\"pk\":{\"S\":\"k\"},\"l\":{\"L\":[{\"S\":\"a\"},{\"S\":\"b\"}]},\"n\":{\"N\":\"4\"}}");
    steps[1].path = list;
    assert_int_equal(tr_update_of(&arena, steps, 2, &u, &err), TR_EINVAL);
    tr_term deep[TR_EXPR_DEPTH_MAX + 1];
    deep[0] = one;
    for (size_t i = 1; i < TR_COUNT(deep); i++)
        deep[i] = (tr_term){.kind = TR_TERM_IF_NOT_EXISTS, .path = number, .left = &deep[i - 1]};
    steps[0] = (tr_update_step){TR_UPDATE_SET, list, &deep[TR_EXPR_DEPTH_MAX - 1]};
    assert_int_equal(tr_update_of(&arena, steps, 1, &u, &err), 0);
    assert_int_equal(tr_update_apply(u, on, on, &arena, &got, &err), 0);
    steps[0].term = &deep[TR_EXPR_DEPTH_MAX];
    assert_int_equal(tr_update_of(&arena, steps, 1, &u, &err), TR_ELIMIT);
}

static void updates_cannot_grow_without_end(void **state)
{
    (void)state;
    size_t size = 300 * 1024;
    char *text = tr_arena_alloc(&arena, size);
    memset(text, 'x', size);
    tr_value big = {TR_S, tr_view_of(text, size)};
    tr_expr_env env;
    tr_error err;
    const tr_update *u;
    tr_item got = {NULL, 0};
    tr_expr_env_init(&env, &arena);
    assert_int_equal(tr_expr_env_add_value(&env, TR_VIEW(":v"), big), 0);
    char *expr = tr_arena_str(&arena, TR_VIEW("SET z = :v"));
    for (unsigned i = 0; i < 100; i++)
        expr = tr_arena_printf(&arena, "%s, a%u = :v", expr, i);
    assert_int_equal(tr_update_parse(&env, tr_view_str(expr), &u, &err), 0);
    tr_item key = item("{\"pk\":{\"S\":\"k\"}}");
    assert_int_equal(tr_update_apply(u, (tr_item){NULL, 0}, key, &arena, &got, &err), TR_EINVAL);
    assert_string_equal(err.message, "Item size to update has exceeded the maximum allowed size");
    expr = tr_arena_str(&arena, TR_VIEW("SET z = list_append(l, l)"));
    for (unsigned i = 0; i < 100; i++)
        expr = tr_arena_printf(&arena, "%s, a%u = list_append(l, l)", expr, i);
    assert_int_equal(tr_update_parse(&env, tr_view_str(expr), &u, &err), 0);
    tr_item on = item(
        tr_arena_printf(&arena, "{\"pk\":{\"S\":\"k\"},\"l\":{\"L\":[{\"S\":\"%.*s\"}]}}", (int)size, text));
    assert_int_equal(tr_update_apply(u, on, key, &arena, &got, &err), TR_EINVAL);
    assert_string_equal(err.message, "Item size to update has exceeded the maximum allowed size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPR_TEST(projections_keep_structure),         EXPR_TEST(projections_are_built_without_text),
        EXPR_TEST(return_values_are_what_was_touched), EXPR_TEST(updates_of_nothing),
        EXPR_TEST(names_what_an_update_changes),       EXPR_TEST(updates_are_built_without_text),
        EXPR_TEST(updates_cannot_grow_without_end),
    };
    return cmocka_run_group_tests_name("expr_update", tests, NULL, NULL);
}
