/* SPDX-License-Identifier: MIT */
/* How rows are keyed, written and read back by the sinks that keep them. */
#include "../test.h"

#include "replica/row.h"

static const tr_sink_table table = {.name = {"tab", 3},
                                    .hash_name = {"id", 2},
                                    .range_name = {"n", 1},
                                    .hash_type = TR_S,
                                    .range_type = TR_N};

static tr_item item_of(const char *json, tr_arena *arena)
{
    tr_item item = {NULL, 0};
    tr_error err = {0};
    if (tr_item_from_json(tr_view_str(json), arena, &item, &err))
        fail_msg("%s: %s", json, err.message);
    return item;
}

static void nul_characters_are_replaced_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *json, *wanted;
    } cases[] = {{"\"\\u0000\"", "\"\\ufffd\""},
                 {"\"a\\\\u0000\"", "\"a\\\\u0000\""}, /* a backslash, then the characters u0000 */
                 {"\"\\\\\\u0000\\u0000b\\u0001\"", "\"\\\\\\ufffd\\ufffdb\\u0001\""},
                 {"\"\\u000", "\"\\u000"},
                 {"\\", "\\"},
                 {"", ""}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_buf b;
        tr_buf_init(&b, 1000);
        tr_buf_put_str(&b, cases[i].json);
        assert_int_equal(tr__row_replace_nul(&b), strcmp(cases[i].json, cases[i].wanted) != 0);
        assert_view(tr_buf_view(&b), cases[i].wanted);
        tr_buf_done(&b);
    }
}

static void sequence_numbers_are_padded(void **state)
{
    (void)state;
    tr_buf b;
    tr_error err = {0};
    tr_buf_init(&b, 1000);
    assert_int_equal(tr__row_sequence(TR_VIEW("100000000000000000007"), &b, &err), 0);
    assert_view(tr_buf_view(&b), "0000000000000000000100000000000000000007");
    assert_int_equal(tr__row_sequence(TR_VIEW(""), &b, &err), TR_EINVAL);
    assert_int_equal(tr__row_sequence(TR_VIEW("10000000000000000000000000000000000000007"), &b, &err),
                     TR_EINVAL);
    tr_buf_done(&b);
}

static void a_key_needs_both_attributes_of_their_types(void **state)
{
    (void)state;
    tr_arena arena;
    tr_buf key;
    tr_error err = {0};
    tr_arena_init(&arena, 65536);
    tr_buf_init(&key, 1000);
    assert_int_equal(
        tr__row_key(&table, item_of("{\"id\":{\"S\":\"a\"},\"n\":{\"N\":\"1\"}}", &arena), &key, &err), 0);
    assert_true(key.len > 4);
    assert_int_equal(tr__row_key(&table, item_of("{\"id\":{\"S\":\"a\"}}", &arena), &key, &err), TR_EINVAL);
    assert_non_null(strstr(err.message, "'n'"));
    assert_int_equal(
        tr__row_key(&table, item_of("{\"id\":{\"N\":\"1\"},\"n\":{\"N\":\"1\"}}", &arena), &key, &err),
        TR_EINVAL);
    tr_buf_done(&key);
    tr_arena_done(&arena);
}

#define ITEM  "{\"id\":{\"S\":\"a\\u0000\"},\"n\":{\"N\":\"1\"},\"s\":{\"SS\":[\"x\",\"y\"]}}"
#define PLAIN "{\"id\":\"a\\u0000\",\"n\":1,\"s\":[\"x\",\"y\"]}"

static void reading_gives_the_item_unless_a_column_was_changed(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *typed;
        bool no_nul, same;
        int code;
    } cases[] = {
        {PLAIN, ITEM, false, true, 0},
        {"{ \"s\": [\"x\", \"y\"], \"n\": 1.0, \"id\": \"a\\u0000\" }", ITEM, false, true,
         0}, /* as jsonb lays out */
        {"{\"id\":\"a\\ufffd\",\"n\":1,\"s\":[\"x\",\"y\"]}", ITEM, true, true, 0},
        {"{\"id\":\"a\\ufffd\",\"n\":1,\"s\":[\"x\",\"y\"]}", ITEM, false, false, 0},
        {"{\"id\":\"a\\u0000\",\"n\":2,\"s\":[\"x\",\"y\"]}", ITEM, false, false, 0},
        {PLAIN, "{\"id\":{\"S\":\"b\"},\"n\":{\"N\":\"1\"}}", false, false, 0},
        {PLAIN, "", false, false, 0}, /* a list where the table has a set */
        {"[]", ITEM, false, false, TR_ECORRUPT},
        {"{\"id\":", "", false, false, TR_ECORRUPT},
        {PLAIN, "{\"id\":{\"Q\":1}}", false, false, TR_ECORRUPT},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_arena arena;
        tr_buf packed;
        tr_error err = {0};
        tr_arena_init(&arena, 1 << 20);
        tr_buf_init(&packed, 1 << 20);
        tr_buf_put_str(&packed, "before");
        int e = tr__row_read(tr_view_str(cases[i].plain), tr_view_str(cases[i].typed), cases[i].no_nul,
                             &arena, &packed, &err);
        assert_int_equal(e, cases[i].code);
        if (!e) {
            assert_memory_equal(packed.ptr, "before", 6);
            tr_item got = tr_view_of(packed.ptr + 6, packed.len - 6);
            assert_int_equal(tr_item_check(got), 0);
            assert_int_equal(tr_view_eq(got, item_of(ITEM, &arena)), cases[i].same);
        }
        tr_buf_done(&packed);
        tr_arena_done(&arena);
    }
}

static void a_key_column_that_was_changed_shows(void **state)
{
    (void)state;
    tr_arena arena;
    tr_buf packed, key;
    tr_error err = {0};
    tr_arena_init(&arena, 1 << 20);
    tr_buf_init(&packed, 1 << 20);
    tr_buf_init(&key, 1000);
    tr_item item = item_of(ITEM, &arena);
    assert_int_equal(tr__row_key(&table, item, &key, &err), 0);
    tr_buf_put_view(&packed, item);
    const tr_view own = tr_buf_view(&key);
    assert_int_equal(tr__row_check_column(&table, own, false, tr_view_of("a", 2), false, &packed, 0, &err),
                     0);
    assert_int_equal(
        tr__row_check_column(&table, own, false, TR_VIEW("a\xef\xbf\xbd"), true, &packed, 0, &err), 0);
    assert_int_equal(tr__row_check_column(&table, own, true, TR_VIEW("1"), false, &packed, 0, &err), 0);
    assert_true(tr_view_eq(tr_buf_view(&packed), item));
    assert_int_equal(tr__row_check_column(&table, own, true, TR_VIEW("2"), false, &packed, 0, &err), 0);
    assert_false(tr_view_eq(tr_buf_view(&packed), item));
    assert_int_equal(tr_item_check(tr_buf_view(&packed)), 0);
    tr_value v;
    assert_int_equal(tr_item_get(tr_buf_view(&packed), TR_VIEW("n"), &v), 0);
    assert_int_equal(v.type, TR_S);
    assert_view(v.payload, "2");
    tr_buf_done(&packed);
    tr_buf_done(&key);
    tr_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nul_characters_are_replaced_and_nothing_else),
        cmocka_unit_test(sequence_numbers_are_padded),
        cmocka_unit_test(a_key_needs_both_attributes_of_their_types),
        cmocka_unit_test(reading_gives_the_item_unless_a_column_was_changed),
        cmocka_unit_test(a_key_column_that_was_changed_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
