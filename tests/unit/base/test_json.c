/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include <tailrace/json.h>

/* Reads everything and prints a compact account of the tokens. */
static void account(const char *json, size_t len, char *out, size_t size)
{
    tr_arena arena;
    tr_arena_init(&arena, 1 << 20);
    tr_json_reader r;
    tr_json_init(&r, tr_view_of(json, len), &arena);
    size_t n = 0;
    out[0] = 0;
    for (;;) {
        tr_json_token t = tr_json_next(&r);
        if (t == TR_JSON_DONE)
            break;
        if (t == TR_JSON_ERROR) {
            (void)snprintf(out, size, "!%s", tr_json_error(&r));
            break;
        }
        static const char marks[] = "!.{}[]ksntf0";
        n += (size_t)snprintf(out + n, size - n, "%c", marks[t]);
        if (t == TR_JSON_KEY || t == TR_JSON_STRING || t == TR_JSON_NUMBER)
            n += (size_t)snprintf(out + n, size - n, "(%.*s)", TR_FMT(r.text));
    }
    tr_arena_done(&arena);
}

static void reads_values(void **state)
{
    (void)state;
    static const struct {
        const char *json, *expect;
    } cases[] = {
        {"{}", "{}"},
        {" [ ] ", "[]"},
        {"1", "n(1)"},
        {"-0.5e+10", "n(-0.5e+10)"},
        {"{\"a\":[1,true,false,null,\"x\"],\"b\":{}}", "{k(a)[n(1)tf0s(x)]k(b){}}"},
        {"\"a\\n\\u0041\\ud83d\\ude00\"", "s(a\nA\xf0\x9f\x98\x80)"},
        {"\"\xc3\xa9\"", "s(\xc3\xa9)"},
        {"\"01234567\\\"89\"", "s(01234567\"89)"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char out[256];
        account(cases[i].json, strlen(cases[i].json), out, sizeof out);
        assert_string_equal(out, cases[i].expect);
    }
}

static void refuses_what_is_not_json(void **state)
{
    (void)state;
    static const char *cases[] = {"",
                                  " ",
                                  "{",
                                  "[",
                                  "}",
                                  "[1,]",
                                  "{\"a\"}",
                                  "{\"a\":}",
                                  "{\"a\":1,}",
                                  "{a:1}",
                                  "[1 2]",
                                  "01",
                                  "1.",
                                  ".5",
                                  "+1",
                                  "1e",
                                  "-",
                                  "nul",
                                  "tru",
                                  "\"",
                                  "\"\\",
                                  "\"\\x\"",
                                  "\"\\u12\"",
                                  "\"\\ud800\"",
                                  "\"\\udc00\"",
                                  "\"\\ud800\\u0041\"",
                                  "\"\n\"",
                                  "\"\xff\"",
                                  "\"\xc0\x80\"",
                                  "\"\xed\xa0\x80\"",
                                  "\"\xf5\x80\x80\x80\"",
                                  "1 1",
                                  "{} []",
                                  "'a'",
                                  "[1}",
                                  "{\"a\":1]",
                                  "// c\n1",
                                  "\"\\\"",
                                  "NaN"};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char out[256];
        account(cases[i], strlen(cases[i]), out, sizeof out);
        if (out[0] != '!')
            fail_msg("accepted: %s as %s", cases[i], out);
    }
}

static void nesting_is_limited(void **state)
{
    (void)state;
    static char deep[100000], out[1024];
    memset(deep, '[', sizeof deep);
    account(deep, sizeof deep, out, sizeof out);
    assert_string_equal(out, "!nested too deeply");
}

static void skips_and_gives_raw_text(void **state)
{
    (void)state;
    tr_arena arena;
    tr_arena_init(&arena, 1 << 16);
    tr_json_reader r;
    tr_json_init(&r,
                 TR_VIEW("{\"a\": {\"x\":[1,{\"y\":2}]} ,\"b\":\"q\\\"\\\\\", \"c\" : [ 1 ] ,\"d\":null}"),
                 &arena);
    tr_view raw;
    assert_int_equal(tr_json_next(&r), TR_JSON_OBJECT);
    assert_true(tr_json_next_key(&r));
    tr_json_next(&r);
    assert_int_equal(tr_json_raw(&r, &raw), 0);
    assert_view(raw, "{\"x\":[1,{\"y\":2}]}");
    assert_true(tr_json_next_key(&r));
    assert_int_equal(tr_json_next(&r), TR_JSON_STRING);
    assert_view(r.text, "q\"\\");
    assert_int_equal(tr_json_raw(&r, &raw), 0);
    assert_view(raw, "\"q\\\"\\\\\"");
    assert_true(tr_json_next_key(&r));
    tr_json_next(&r);
    assert_int_equal(tr_json_skip(&r), 0);
    assert_true(tr_json_next_key(&r));
    assert_view(r.text, "d");
    tr_json_next(&r);
    assert_int_equal(tr_json_raw(&r, &raw), 0);
    assert_view(raw, "null");
    assert_int_equal(tr_json_next(&r), TR_JSON_OBJECT_END);
    assert_int_equal(tr_json_next(&r), TR_JSON_DONE);
    assert_int_equal(tr_json_next(&r), TR_JSON_DONE);
    tr_arena_done(&arena);
}

static void finds_members(void **state)
{
    (void)state;
    tr_arena arena;
    tr_arena_init(&arena, 1 << 16);
    tr_view raw = {NULL, 0};
    tr_view json = TR_VIEW("{\"a\":{\"b\":1},\"b\":[2, 3],\"c\":\"x\"}");
    assert_int_equal(tr_json_member(json, "b", &arena, &raw), 0);
    assert_view(raw, "[2, 3]");
    assert_int_equal(tr_json_member(json, "c", &arena, &raw), 0);
    assert_view(raw, "\"x\"");
    assert_int_equal(tr_json_member(json, "d", &arena, &raw), TR_ENOTFOUND);
    assert_int_equal(tr_json_member(TR_VIEW("[1]"), "d", &arena, &raw), TR_EPARSE);
    assert_int_equal(tr_json_member(TR_VIEW("{\"a\":1"), "d", &arena, &raw), TR_EPARSE);
    tr_arena_done(&arena);
}

static void integers_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int code;
        int64_t value;
    } cases[] = {{"0", 0, 0},
                 {"-5", 0, -5},
                 {"9223372036854775807", 0, INT64_MAX},
                 {"-9223372036854775808", 0, INT64_MIN},
                 {"9223372036854775808", TR_ELIMIT, 0},
                 {"1.0", TR_EPARSE, 0},
                 {"1e3", TR_EPARSE, 0}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_json_reader r;
        tr_arena arena;
        tr_arena_init(&arena, 1024);
        tr_json_init(&r, tr_view_str(cases[i].json), &arena);
        tr_json_next(&r);
        int64_t x = 0;
        assert_int_equal(tr_json_int(&r, &x), cases[i].code);
        assert_int_equal(x, cases[i].value);
        tr_arena_done(&arena);
    }
}

static void writes_documents(void **state)
{
    (void)state;
    tr_buf buf;
    tr_buf_init(&buf, 1 << 16);
    tr_json_writer w;
    tr_buf_put_str(&buf, "data:");
    tr_json_write_init(&w, &buf);
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "s", TR_VIEW("a\"\\\n\x01\x1f\xc3\xa9"));
    tr_json_member_i64(&w, "i", INT64_MIN);
    tr_json_name(&w, "a");
    tr_json_begin_array(&w);
    tr_json_bool(&w, true);
    tr_json_null(&w);
    tr_json_begin_object(&w);
    tr_json_end_object(&w);
    tr_json_cstring(&w, "");
    tr_json_base64(&w, TR_VIEW("abcd"));
    tr_json_end_array(&w);
    tr_json_member_u64(&w, "u", UINT64_MAX);
    tr_json_end_object(&w);
    assert_int_equal(tr_buf_status(&buf), 0);
    assert_view(tr_buf_view(&buf),
                "data:{\"s\":\"a\\\"\\\\\\n\\u0001\\u001f\xc3\xa9\",\"i\":-9223372036854775808,"
                "\"a\":[true,null,{},\"\",\"YWJjZA==\"],\"u\":18446744073709551615}");
    tr_buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_values),       cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(nesting_is_limited), cmocka_unit_test(skips_and_gives_raw_text),
        cmocka_unit_test(integers_are_exact), cmocka_unit_test(finds_members),
        cmocka_unit_test(writes_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
