/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include "base/hash.h"

#include <stdlib.h>

static void errors_have_texts(void **state)
{
    (void)state;
    assert_string_equal(tr_strerror(0), "success");
    assert_string_equal(tr_strerror(TR_ETHROTTLED), "throttled");
    assert_string_equal(tr_strerror(-9999), "unknown error");
    assert_true(tr_retryable(TR_ETIMEOUT));
    assert_false(tr_retryable(TR_EINVAL));
    tr_error err;
    assert_int_equal(tr_fail_service(&err, TR_ESERVICE, 400, "X", "%d", 5), TR_ESERVICE);
    assert_string_equal(err.message, "5");
    assert_int_equal(err.http_status, 400);
    assert_int_equal(tr_fail(NULL, TR_EIO, "x"), TR_EIO);
}

/* Messages are put into JSON, which must be UTF-8. */
static void messages_are_utf8_whatever_they_are_made_of(void **state)
{
    (void)state;
    tr_error err;
    char text[TR_ERROR_MESSAGE_MAX * 2];
    for (size_t before = 0; before < 5; before++) { /* the cut falls on each byte of a character */
        memset(text, 'x', before);
        for (size_t at = before; at + 4 < sizeof text; at += 4)
            memcpy(text + at, "\xf0\x9f\x8c\x8a", 4);
        text[sizeof text - 4] = 0;
        (void)tr_fail(&err, TR_EIO, "%s", text);
        assert_true(tr_utf8_valid(tr_view_str(err.message)));
        assert_true(strlen(err.message) > TR_ERROR_MESSAGE_MAX - 8);
        assert_null(strchr(err.message, '?'));
    }
    (void)tr_fail(&err, TR_EIO, "%s", "caf\xe9 \xc3\xa9 \xff");
    assert_string_equal(err.message, "caf? \xc3\xa9 ?");
}

static void text_is_cut_between_characters(void **state)
{
    (void)state;
    static const char *const cuts[] = {
        "", "a", "a", "a\xc3\xa9", "a\xc3\xa9", "a\xc3\xa9", "a\xc3\xa9\xe2\x82\xac"};
    for (size_t max = 0; max < TR_COUNT(cuts); max++)
        assert_true(tr_view_is(tr_utf8_cut(TR_VIEW("a\xc3\xa9\xe2\x82\xac"), max), cuts[max]));
    assert_true(tr_view_is(tr_utf8_cut(TR_VIEW("abc"), 3), "abc"));
    /* of what is no text as much is taken as was asked for, so that parts come to an end */
    assert_int_equal(tr_utf8_cut(TR_VIEW("\x80\x80\x80\x80\x80\x80\x80\x80"), 6).len, 6);
    assert_int_equal(tr_utf8_cut(TR_VIEW("\x80\x80\x80"), 2).len, 2);
    char bytes[] = "\xe2\x82 \xe2\x82\xac \xc0\x80 \xed\xa0\x80 \xf4";
    tr_utf8_mend(bytes, sizeof bytes - 1);
    assert_string_equal(bytes, "?? \xe2\x82\xac ?? ??? ?");
    tr_utf8_mend(NULL, 0);
}

static bool no_memory;

static void *sometimes(void *ptr, size_t size)
{
    return no_memory ? NULL : realloc(ptr, size);
}

/* As uthash comes, it would end the process. */
static void what_a_table_has_no_memory_for_is_not_in_it(void **state)
{
    (void)state;
    struct {
        UT_hash_handle hh;
        int key;
    } a = {.key = 1}, *table = NULL, *found;
    tr_set_allocator(sometimes, free);
    no_memory = true;
    HASH_ADD_INT(table, key, &a);
    no_memory = false;
    assert_null(a.hh.tbl);
    assert_null(table);
    tr_set_allocator(realloc, free);
    int key = 1;
    HASH_FIND_INT(table, &key, found);
    assert_null(found);
}

static void arenas_keep_their_limit(void **state)
{
    (void)state;
    tr_arena a;
    tr_arena_init(&a, 100000);
    size_t total = 0;
    for (;;) {
        char *p = tr_arena_alloc(&a, 1000);
        if (!p)
            break;
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 1, 1000);
        total += 1000;
    }
    assert_in_range(total, 90000, 100000);
    tr_arena_reset(&a);
    assert_non_null(tr_arena_alloc(&a, 50000));
    assert_null(tr_arena_alloc(&a, SIZE_MAX));
    assert_null(tr_arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_string_equal(tr_arena_printf(&a, "%s-%d", "x", 7), "x-7");
    tr_arena_done(&a);
    tr_arena_done(NULL);
}

static void buffers_fail_once_and_stay_failed(void **state)
{
    (void)state;
    tr_buf b;
    tr_buf_init(&b, 1000);
    for (int i = 0; i < 100; i++)
        tr_buf_put(&b, "0123456789", 10);
    assert_int_equal(tr_buf_status(&b), 0);
    tr_buf_putc(&b, 'x');
    assert_int_equal(tr_buf_status(&b), TR_ELIMIT);
    assert_int_equal(b.len, 1000);
    tr_buf_reset(&b);
    tr_buf_printf(&b, "%d %s", 1, "a");
    tr_buf_put_u64(&b, UINT64_MAX);
    assert_string_equal(tr_buf_cstr(&b), "1 a18446744073709551615");
    tr_buf_done(&b);
}

static void times_go_both_ways(void **state)
{
    (void)state;
    char text[TR_TIME_TEXT_MAX];
    int64_t ms;
    for (int64_t t = -62135596800000; t < INT64_C(253402300799000); t += INT64_C(86399999) * 37) {
        tr_time_format(t, true, text);
        assert_int_equal(tr_time_parse(tr_view_str(text), &ms), 0);
        assert_int_equal(ms, t);
    }
    assert_int_equal(tr_time_parse(TR_VIEW("2024-02-29T12:00:00.5+02:00"), &ms), 0);
    assert_int_equal(ms, INT64_C(1709200800500));
    static const char *bad[] = {
        "2023-02-29T00:00:00Z", "2024-01-01T00:00:00",   "2024-01-01", "2024-13-01T00:00:00Z",
        "2024-01-01T24:00:00Z", "2024-01-01T00:00:00Zx", "",           "2024-01-01T00:00:00.Z"};
    for (size_t i = 0; i < TR_COUNT(bad); i++)
        assert_int_equal(tr_time_parse(tr_view_str(bad[i]), &ms), TR_EPARSE);
    assert_int_equal(tr_duration_parse(TR_VIEW("15m"), &ms), 0);
    assert_int_equal(ms, 900000);
    assert_int_equal(tr_duration_parse(TR_VIEW("500ms"), &ms), 0);
    assert_int_equal(ms, 500);
    assert_int_equal(tr_duration_parse(TR_VIEW("15"), &ms), TR_EPARSE);
    assert_int_equal(tr_duration_parse(TR_VIEW("m"), &ms), TR_EPARSE);
    assert_int_equal(tr_duration_parse(TR_VIEW("99999999d"), &ms), TR_ELIMIT);
}

static void numbers_from_text(void **state)
{
    (void)state;
    uint64_t x = 0;
    assert_int_equal(tr_view_to_u64(TR_VIEW("18446744073709551615"), UINT64_MAX, &x), 0);
    assert_true(x == UINT64_MAX);
    assert_int_equal(tr_view_to_u64(TR_VIEW("18446744073709551616"), UINT64_MAX, &x), TR_ELIMIT);
    assert_int_equal(tr_view_to_u64(TR_VIEW("100"), 99, &x), TR_ELIMIT);
    assert_int_equal(tr_view_to_u64(TR_VIEW("99"), 99, &x), 0);
    assert_int_equal(tr_view_to_u64(TR_VIEW("7"), 5, &x), TR_ELIMIT);
    assert_int_equal(tr_view_to_u64(TR_VIEW("0"), 0, &x), 0);
    assert_int_equal(tr_view_to_u64(TR_VIEW(""), 99, &x), TR_EPARSE);
    assert_int_equal(tr_view_to_u64(TR_VIEW("+1"), 99, &x), TR_EPARSE);
    for (int shift = 0; shift < 64; shift++) {
        uint8_t bytes[TR_VARINT_MAX];
        uint64_t in = (UINT64_C(1) << shift) | 5;
        size_t n = tr_varint_put(bytes, in);
        assert_int_equal(tr_varint_get(tr_view_of(bytes, n), &x), n);
        assert_true(x == in);
        assert_int_equal(tr_varint_get(tr_view_of(bytes, n - 1), &x), 0);
    }
}

static void base64_is_strict(void **state)
{
    (void)state;
    for (size_t len = 0; len < 70; len++) {
        uint8_t bytes[70], back[80];
        tr_random_bytes(bytes, len);
        tr_buf b;
        tr_buf_init(&b, 1000);
        tr_base64_put(&b, tr_view_of(bytes, len));
        size_t n = 999;
        assert_int_equal(tr_base64_decode(tr_buf_view(&b), back, &n), 0);
        assert_int_equal(n, len);
        assert_memory_equal(bytes, back, len);
        tr_buf_done(&b);
    }
    static const char *bad[] = {
        "A", "AA", "AAA", "A===", "AA==AAAA", "AB==", "AAB=", "AA A", "AA\n=", "_-AA", "===="};
    for (size_t i = 0; i < TR_COUNT(bad); i++) {
        char out[16];
        size_t n;
        if (tr_base64_decode(tr_view_str(bad[i]), out, &n) == 0)
            fail_msg("accepted %s", bad[i]);
    }
}

static void jitter_stays_within_its_bounds(void **state)
{
    (void)state;
    tr_rng rng;
    tr_rng_seed(&rng, 1);
    bool top = false;
    for (unsigned i = 0; i < 5000; i++) {
        int64_t d = tr_backoff_ms(&rng, i % 80, 100, 1000);
        assert_in_range(d, 0, 1000);
        top |= d > 900;
        assert_in_range(tr_backoff_ms(&rng, 0, 100, 1000), 0, 100);
    }
    assert_true(top);
    char a[TR_UUID_LEN + 1], b[TR_UUID_LEN + 1];
    tr_uuid(a);
    tr_uuid(b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), TR_UUID_LEN);
    assert_int_equal(a[14], '4');
}

static void text_helpers(void **state)
{
    (void)state;
    assert_int_equal(tr_view_find(TR_VIEW("abcabc"), TR_VIEW("ca"), 0), 2);
    assert_int_equal(tr_view_find(TR_VIEW("abcabc"), TR_VIEW("abc"), 1), 3);
    assert_true(tr_view_find(TR_VIEW("abc"), TR_VIEW("x"), 0) == SIZE_MAX);
    assert_true(tr_view_find(TR_VIEW("abc"), TR_VIEW("abc"), 9) == SIZE_MAX);
    tr_buf b;
    tr_buf_init(&b, 1000);
    tr_percent_put(&b, TR_VIEW("a/b c~%"), false);
    tr_hex_put(&b, TR_VIEW("\x01\xff"));
    assert_string_equal(tr_buf_cstr(&b), "a%2Fb%20c~%2501ff");
    tr_buf_done(&b);
    assert_int_equal(tr_crc32(0, TR_VIEW("123456789")), 0xcbf43926);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_texts),
        cmocka_unit_test(messages_are_utf8_whatever_they_are_made_of),
        cmocka_unit_test(text_is_cut_between_characters),
        cmocka_unit_test(what_a_table_has_no_memory_for_is_not_in_it),
        cmocka_unit_test(arenas_keep_their_limit),
        cmocka_unit_test(buffers_fail_once_and_stay_failed),
        cmocka_unit_test(times_go_both_ways),
        cmocka_unit_test(numbers_from_text),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(jitter_stays_within_its_bounds),
        cmocka_unit_test(text_helpers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
