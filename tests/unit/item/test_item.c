/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include <tailrace/item.h>

/* Reads DynamoDB JSON and writes it again; "!problem" if it was refused. */
static const char *round_trip(const char *json)
{
    static char text[8192];
    tr_arena arena;
    tr_arena_init(&arena, 1 << 20);
    tr_json_reader reader;
    tr_json_init(&reader, tr_view_str(json), &arena);
    tr_json_next(&reader);
    tr_buf packed, out;
    tr_buf_init(&packed, 1 << 20);
    tr_buf_init(&out, sizeof text - 1);
    tr_item_error error;
    int e = tr_item_read(&reader, &packed, &error);
    if (e) {
        (void)snprintf(text, sizeof text, "!%s", tr_item_problem_text(error.problem));
    } else {
        assert_int_equal(tr_item_check(tr_buf_view(&packed)), 0);
        tr_json_writer writer;
        tr_json_write_init(&writer, &out);
        tr_item_write(&writer, tr_buf_view(&packed));
        assert_int_equal(tr_buf_status(&out), 0);
        (void)snprintf(text, sizeof text, "%s", tr_buf_cstr(&out));
    }
    tr_buf_done(&packed);
    tr_buf_done(&out);
    tr_arena_done(&arena);
    return text;
}

static void all_types_both_ways(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{}", "{}"},
        {"{\"s\":{\"S\":\"text\"}}", "{\"s\":{\"S\":\"text\"}}"},
        {"{\"s\":{\"S\":\"\"}}", "{\"s\":{\"S\":\"\"}}"},
        {"{\"n\":{\"N\":\"-1.50\"}}", "{\"n\":{\"N\":\"-1.5\"}}"},
        {"{\"b\":{\"B\":\"AAEC\"}}", "{\"b\":{\"B\":\"AAEC\"}}"},
        {"{\"y\":{\"BOOL\":true},\"n\":{\"BOOL\":false}}", "{\"n\":{\"BOOL\":false},\"y\":{\"BOOL\":true}}"},
        {"{\"x\":{\"NULL\":true}}", "{\"x\":{\"NULL\":true}}"},
        {"{\"l\":{\"L\":[{\"S\":\"z\"},{\"N\":\"1\"},{\"L\":[]}]}}",
         "{\"l\":{\"L\":[{\"S\":\"z\"},{\"N\":\"1\"},{\"L\":[]}]}}"},
        {"{\"m\":{\"M\":{\"b\":{\"S\":\"1\"},\"a\":{\"M\":{}}}}}",
         "{\"m\":{\"M\":{\"a\":{\"M\":{}},\"b\":{\"S\":\"1\"}}}}"},
        {"{\"x\":{\"SS\":[\"b\",\"a\",\"ab\"]}}", "{\"x\":{\"SS\":[\"a\",\"ab\",\"b\"]}}"},
        {"{\"x\":{\"NS\":[\"10\",\"9\",\"-1\"]}}", "{\"x\":{\"NS\":[\"-1\",\"9\",\"10\"]}}"},
        {"{\"x\":{\"BS\":[\"/w==\",\"AA==\"]}}", "{\"x\":{\"BS\":[\"AA==\",\"/w==\"]}}"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        assert_string_equal(round_trip(cases[i].in), cases[i].out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_types_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
