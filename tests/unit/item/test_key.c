/* SPDX-License-Identifier: MIT */
#include "item_test.h"

static void put_key(tr_buf *out, tr_value value)
{
    tr_buf_reset(out);
    tr_key_put(out, value);
    assert_int_equal(tr_buf_status(out), 0);
}

/* Short runs over few bytes, so that equal beginnings, NULs and FFs meet often. */
static tr_view random_bytes(tr_rng *rng, char *out, size_t max)
{
    static const char bytes[] = {0, 1, 'a', (char)0xfe, (char)0xff};
    size_t len = tr_rng_below(rng, max + 1);
    for (size_t i = 0; i < len; i++)
        out[i] = bytes[tr_rng_below(rng, sizeof bytes)];
    return tr_view_of(out, len);
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void keys_order_as_values_do(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 11);
    tr_buf a, b;
    tr_buf_init(&a, 1000);
    tr_buf_init(&b, 1000);
    for (int i = 0; i < 50000; i++) {
        char x[8], y[8], xn[64], yn[64];
        tr_value v, w;
        number n, m;
        if (i % 3 == 0) {
            random_number(&rng, xn);
            random_number(&rng, yn);
            n = number_of(xn);
            m = number_of(yn);
            v = (tr_value){TR_N, number_view(&n)};
            w = (tr_value){TR_N, number_view(&m)};
        } else {
            v = (tr_value){i % 3 == 1 ? TR_S : TR_B, random_bytes(&rng, x, 6)};
            w = (tr_value){v.type, random_bytes(&rng, y, 6)};
        }
        put_key(&a, v);
        put_key(&b, w);
        assert_int_equal(sign(tr_view_cmp(tr_buf_view(&a), tr_buf_view(&b))), sign(tr_value_cmp(v, w)));
        if (!tr_value_eq(v, w))
            assert_false(tr_view_starts(tr_buf_view(&a), tr_buf_view(&b)));
    }
    tr_buf_done(&a);
    tr_buf_done(&b);
}

/* Partition key and sort key in a row sort by the first, then by the second. */
static void keys_in_a_row_order_by_the_first(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 12);
    tr_buf a, b;
    tr_buf_init(&a, 1000);
    tr_buf_init(&b, 1000);
    for (int i = 0; i < 50000; i++) {
        char x[2][8];
        char y[2][8];
        tr_value v[2], w[2];
        tr_buf_reset(&a);
        tr_buf_reset(&b);
        for (int k = 0; k < 2; k++) {
            v[k] = (tr_value){TR_B, random_bytes(&rng, x[k], 3)};
            w[k] = (tr_value){TR_B, random_bytes(&rng, y[k], 3)};
            tr_key_put(&a, v[k]);
            tr_key_put(&b, w[k]);
        }
        int expect = tr_value_cmp(v[0], w[0]) ? tr_value_cmp(v[0], w[0]) : tr_value_cmp(v[1], w[1]);
        assert_int_equal(sign(tr_view_cmp(tr_buf_view(&a), tr_buf_view(&b))), sign(expect));
    }
    tr_buf_done(&a);
    tr_buf_done(&b);
}

static void prefixes_begin_the_keys_that_begin_so(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 13);
    tr_buf key, prefix;
    tr_buf_init(&key, 1000);
    tr_buf_init(&prefix, 1000);
    for (int i = 0; i < 50000; i++) {
        char x[8], y[8];
        tr_value v = {TR_S, random_bytes(&rng, x, 5)}, start = {TR_S, random_bytes(&rng, y, 3)};
        put_key(&key, v);
        tr_buf_reset(&prefix);
        tr_key_put_prefix(&prefix, start);
        bool begins = tr_view_starts(tr_buf_view(&key), tr_buf_view(&prefix));
        /* an empty rest begins with the terminator, whose 00 no escaped prefix ends in without its FF */
        assert_int_equal(begins, tr_view_starts(v.payload, start.payload));
    }
    tr_buf_done(&key);
    tr_buf_done(&prefix);
}

static void keys_are_read_back(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 14);
    tr_arena arena;
    tr_buf key;
    tr_arena_init(&arena, 1 << 20);
    tr_buf_init(&key, 1000);
    for (int i = 0; i < 20000; i++) {
        char x[16], text[64];
        number n;
        tr_value v, back;
        size_t len;
        if (i % 2) {
            random_number(&rng, text);
            n = number_of(text);
            v = (tr_value){TR_N, number_view(&n)};
        } else {
            v = (tr_value){i % 4 ? TR_S : TR_B, random_bytes(&rng, x, 12)};
        }
        put_key(&key, v);
        size_t whole = key.len;
        tr_buf_put(&key, "\0\xff rest", 7);
        tr_arena_reset(&arena);
        assert_int_equal(tr_key_get(tr_buf_view(&key), v.type, &arena, &back, &len), 0);
        assert_true(tr_value_eq(v, back));
        assert_int_equal(len, whole);
        /* cut short it is damaged, never something else */
        for (size_t cut = 0; cut < whole; cut++)
            assert_int_equal(tr_key_get(tr_view_of(key.ptr, cut), v.type, &arena, &back, &len), TR_ECORRUPT);
    }
    tr_arena_done(&arena);
    tr_buf_done(&key);
}

static void damaged_keys_are_found(void **state)
{
    (void)state;
    tr_arena arena;
    tr_arena_init(&arena, 1000);
    static const struct {
        tr_type type;
        tr_view key;
    } cases[] = {
        {TR_S, {"", 0}},         {TR_S, {"a", 1}},
        {TR_S, {"a\0", 2}},      {TR_S, {"a\0b", 3}},
        {TR_B, {"\0\x01\0", 3}}, {TR_N, {"", 0}},
        {TR_N, {"\x04", 1}},     {TR_N, {"\x03\x41\x02", 3}},
        {TR_N, {"\x03\0\0", 3}}, {TR_N, {"\x01\xff\xff", 3}},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_value value;
        size_t len;
        assert_int_equal(tr_key_get(cases[i].key, cases[i].type, &arena, &value, &len), TR_ECORRUPT);
    }
    tr_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_order_as_values_do),
        cmocka_unit_test(keys_in_a_row_order_by_the_first),
        cmocka_unit_test(prefixes_begin_the_keys_that_begin_so),
        cmocka_unit_test(keys_are_read_back),
        cmocka_unit_test(damaged_keys_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
