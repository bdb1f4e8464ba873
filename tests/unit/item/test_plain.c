/* SPDX-License-Identifier: MIT */
#include "item_test.h"

#include <locale.h>

static int read_plain(const char *json, tr_plain_numbers numbers, tr_buf *packed, tr_item_error *error)
{
    tr_arena arena;
    tr_arena_init(&arena, 1 << 20);
    tr_json_reader reader;
    tr_json_init(&reader, tr_view_str(json), &arena);
    tr_json_next(&reader);
    tr_buf_reset(packed);
    int e = tr_item_read_plain(&reader, numbers, packed, error);
    if (e == 0)
        assert_int_equal(tr_item_check(tr_buf_view(packed)), 0);
    tr_arena_done(&arena);
    return e;
}

static void writes_unmarshalled_json(void **state)
{
    (void)state;
    tr_arena arena;
    tr_buf packed, out;
    tr_arena_init(&arena, 1 << 20);
    tr_buf_init(&packed, 1 << 20);
    tr_buf_init(&out, 1 << 20);
    static const struct {
        const char *value, *plain;
        bool lossless;
    } cases[] = {
        {"{\"S\":\"te\\\"xt\"}", "\"te\\\"xt\"", true},
        {"{\"N\":\"1.50\"}", "1.5", true},
        {"{\"N\":\"12345678901234567890.12345\"}", "12345678901234567890.12345", true},
        {"{\"N\":\"100000000000000000000\"}", "100000000000000000000", true},
        {"{\"N\":\"999999999999999999999\"}", "999999999999999999999", true},
        {"{\"N\":\"1000000000000000000000\"}", "1e+21", true},
        {"{\"N\":\"-1234567890123456789012\"}", "-1.234567890123456789012e+21", true},
        {"{\"N\":\"0.000001\"}", "0.000001", true},
        {"{\"N\":\"0.0000001\"}", "0.0000001", true},
        {"{\"N\":\"-0.00000015\"}", "-0.00000015", true},
        {"{\"N\":\"0.000000099\"}", "9.9e-8", true},
        {"{\"N\":\"1e-130\"}", "1e-130", true},
        {"{\"N\":\"-0\"}", "0", true},
        {"{\"B\":\"AAEC\"}", "\"AAEC\"", false},
        {"{\"BOOL\":true}", "true", true},
        {"{\"BOOL\":false}", "false", true},
        {"{\"NULL\":true}", "null", true},
        {"{\"L\":[{\"N\":\"1\"},{\"S\":\"a\"},{\"L\":[]},{\"NULL\":true}]}", "[1,\"a\",[],null]", true},
        {"{\"M\":{\"b\":{\"N\":\"2\"},\"a\":{\"M\":{}}}}", "{\"a\":{},\"b\":2}", true},
        {"{\"L\":[{\"M\":{\"x\":{\"B\":\"AA==\"}}}]}", "[{\"x\":\"AA==\"}]", false},
        {"{\"SS\":[\"b\",\"a\"]}", "[\"a\",\"b\"]", false},
        {"{\"NS\":[\"10\",\"9\",\"-1\"]}", "[-1,9,10]", false},
        {"{\"BS\":[\"/w==\",\"AA==\"]}", "[\"AA==\",\"/w==\"]", false},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char json[256], expect[256];
        tr_item_error error;
        (void)snprintf(json, sizeof json, "{\"v\":%s}", cases[i].value);
        (void)snprintf(expect, sizeof expect, "{\"v\":%s}", cases[i].plain);
        assert_int_equal(pack_json(json, &arena, &packed, &error), 0);
        assert_string_equal(item_text(tr_buf_view(&packed), true, &out), expect);
        assert_int_equal(tr_item_plain_lossless(tr_buf_view(&packed)), cases[i].lossless);
        if (cases[i].lossless) {
            tr_buf again;
            tr_buf_init(&again, 1 << 20);
            assert_int_equal(read_plain(expect, TR_PLAIN_EXACT, &again, &error), 0);
            assert_true(tr_view_eq(tr_buf_view(&again), tr_buf_view(&packed)));
            tr_buf_done(&again);
        }
    }
    assert_string_equal(item_text((tr_item){NULL, 0}, true, &out), "{}");
    tr_arena_done(&arena);
    tr_buf_done(&packed);
    tr_buf_done(&out);
}

static void requests_in_javascripts_numbers(void **state)
{
    (void)state;
    tr_arena arena;
    tr_buf packed, out;
    tr_item_error error;
    tr_json_writer writer;
    tr_arena_init(&arena, 1 << 20);
    tr_buf_init(&packed, 1 << 20);
    tr_buf_init(&out, 1 << 20);
    assert_int_equal(pack_json("{\"a\":{\"N\":\"0.0000001\"},\"b\":{\"L\":[{\"M\":{\"c\":{\"N\":\"1e21\"}}},"
                               "{\"NS\":[\"2e30\",\"1.50\"]}]}}",
                               &arena, &packed, &error),
                     0);
    tr_json_write_init(&writer, &out);
    tr_item_write_js(&writer, tr_buf_view(&packed));
    assert_string_equal(tr_buf_cstr(&out),
                        "{\"a\":{\"N\":\"1e-7\"},\"b\":{\"L\":[{\"M\":{\"c\":{\"N\":\"1e+21\"}}},"
                        "{\"NS\":[\"1.5\",\"2e+30\"]}]}}");
    tr_value value;
    assert_int_equal(tr_item_get(tr_buf_view(&packed), TR_VIEW("a"), &value), 0);
    tr_buf_reset(&out);
    tr_json_write_init(&writer, &out);
    tr_json_begin_array(&writer);
    tr_value_write_js(&writer, value);
    tr_value_write(&writer, value);
    tr_value_write_plain(&writer, value);
    tr_json_end_array(&writer);
    assert_string_equal(tr_buf_cstr(&out), "[{\"N\":\"1e-7\"},{\"N\":\"0.0000001\"},0.0000001]");
    tr_arena_done(&arena);
    tr_buf_done(&packed);
    tr_buf_done(&out);
}

static void numbers_beyond_38_digits(void **state)
{
    (void)state;
    tr_buf packed, out;
    tr_item_error error;
    tr_buf_init(&packed, 1 << 20);
    tr_buf_init(&out, 1 << 20);
    const char *tenth = "{\"n\":0.1000000000000000055511151231257827021181583404541015625}";
    assert_int_equal(read_plain(tenth, TR_PLAIN_EXACT, &packed, &error), TR_ELIMIT);
    assert_int_equal(error.problem, TR_ITEM_NUMBER);
    assert_int_equal(error.number, TR_NUMBER_PRECISION);
    assert_int_equal(read_plain(tenth, TR_PLAIN_JAVASCRIPT, &packed, &error), 0);
    assert_string_equal(item_text(tr_buf_view(&packed), true, &out), "{\"n\":0.1}");
    const char *large = "{\"n\":-123456789012345678901234567890123456789.5e+2}";
    assert_int_equal(read_plain(large, TR_PLAIN_JAVASCRIPT, &packed, &error), 0);
    assert_string_equal(item_text(tr_buf_view(&packed), true, &out), "{\"n\":-1.2345678901234568e+40}");
    /* what fits is never rounded */
    const char *fits = "{\"n\":12345678901234567890123456789012345678}";
    assert_int_equal(read_plain(fits, TR_PLAIN_JAVASCRIPT, &packed, &error), 0);
    assert_string_equal(item_text(tr_buf_view(&packed), true, &out),
                        "{\"n\":1.2345678901234567890123456789012345678e+37}");
    assert_int_equal(read_plain("{\"n\":1e400}", TR_PLAIN_JAVASCRIPT, &packed, &error), TR_ELIMIT);
    assert_int_equal(error.number, TR_NUMBER_OVERFLOW);
    assert_int_equal(read_plain("{\"n\":1e-400}", TR_PLAIN_JAVASCRIPT, &packed, &error), TR_ELIMIT);
    assert_int_equal(error.number, TR_NUMBER_UNDERFLOW);
    char digits[3000] = "{\"n\":";
    memset(digits + 5, '3', 2500);
    digits[2505] = '}';
    assert_int_equal(read_plain(digits, TR_PLAIN_JAVASCRIPT, &packed, &error), TR_ELIMIT);
    tr_buf_done(&packed);
    tr_buf_done(&out);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        tr_item_problem problem;
        int code;
    } cases[] = {
        {"[]", TR_ITEM_NOT_OBJECT, TR_EPARSE},
        {"1", TR_ITEM_NOT_OBJECT, TR_EPARSE},
        {"", TR_ITEM_JSON, TR_EPARSE},
        {"{\"a\":}", TR_ITEM_JSON, TR_EPARSE},
        {"{\"a\":[1,]}", TR_ITEM_JSON, TR_EPARSE},
        {"{\"a\":1,\"a\":2}", TR_ITEM_DUPLICATE_NAME, TR_EEXIST},
        {"{\"a\":{\"b\":1,\"c\":2,\"b\":2}}", TR_ITEM_DUPLICATE_NAME, TR_EEXIST},
        {"{\"a\":1e126}", TR_ITEM_NUMBER, TR_ELIMIT},
    };
    tr_buf packed;
    tr_buf_init(&packed, 1 << 20);
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_item_error error;
        assert_int_equal(read_plain(cases[i].json, TR_PLAIN_EXACT, &packed, &error), cases[i].code);
        assert_int_equal(error.problem, cases[i].problem);
    }
    for (unsigned depth = 31; depth < 34; depth++) {
        char json[128] = "{\"a\":";
        memset(json + 5, '[', depth);
        json[5 + depth] = '1';
        memset(json + 6 + depth, ']', depth);
        json[6 + 2 * depth] = '}';
        tr_item_error error;
        assert_int_equal(read_plain(json, TR_PLAIN_EXACT, &packed, &error), depth < 32 ? 0 : TR_ELIMIT);
        if (depth >= 32)
            assert_int_equal(error.problem, TR_ITEM_DEPTH);
    }
    tr_buf_done(&packed);
}

/* A comma for a point in the locale changes nothing. */
static void locale_does_not_matter(void **state)
{
    (void)state;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
        skip();
    writes_unmarshalled_json(state);
    numbers_beyond_38_digits(state);
    char text[33];
    text[tr_double_format(0.30000000000000004, text)] = 0;
    assert_string_equal(text, "0.30000000000000004");
    setlocale(LC_NUMERIC, "C");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_unmarshalled_json), cmocka_unit_test(requests_in_javascripts_numbers),
        cmocka_unit_test(numbers_beyond_38_digits), cmocka_unit_test(refuses),
        cmocka_unit_test(locale_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
