/* SPDX-License-Identifier: MIT */
/**
 * Input paths and templates. What templates become is as LocalStack's tests recorded it on AWS
 * (tests/aws/services/events/test_events_inputs, Apache License 2.0) where they have the case.
 */
#include "../test.h"

#include <tailrace/transform.h>

static const char event[] =
    "{\"version\":\"0\",\"id\":\"e-1\",\"detail-type\":\"core.update\",\"source\":\"core\",\"account\":\"1\","
    "\"time\":\"T\","
    "\"resources\":[],\n \"detail\": {\"command\": \"update-account\", \"payload\": { \"acc_id\" : \"0a78\", "
    "\"sf_id\":\"baz\"},"
    "\"listsingle\":[\"HIGH\"],\"listmulti\":[\"ACTIVE\", "
    "\"INACTIVE\"],\"valid\":true,\"n\":1.50,\"none\":null,"
    "\"quote\":\"say "
    "\\\"hi\\\"\\n\",\"items\":[{\"id\":1,\"t\":[\"a\"]},{\"id\":2},{\"x\":3}],\"a-b/c_d\":7,\"k\":1,\"k\":2,"
    "\"\\u0065sc\":\"found\"}}\n";

/* a constant, which TR_VIEW is not for all compilers */
#define VIEW(literal)                                                                                        \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }
static const tr_input_variable variables[] = {{VIEW("userId"), VIEW("$.detail.payload.acc_id")},
                                              {VIEW("payload"), VIEW("$.detail.payload")},
                                              {VIEW("systemstring"), VIEW("$.detail.awsAccountId")},
                                              {VIEW("listsingle"), VIEW("$.detail.listsingle")},
                                              {VIEW("listmulti"), VIEW("$.detail.listmulti")},
                                              {VIEW("valid"), VIEW("$.detail.valid")},
                                              {VIEW("detail-type"), VIEW("$.detail-type")},
                                              {VIEW("n"), VIEW("$.detail.n")},
                                              {VIEW("none"), VIEW("$.detail.none")},
                                              {VIEW("quote"), VIEW("$.detail.quote")},
                                              {VIEW("ids"), VIEW("$.detail.items[*].id")},
                                              {VIEW("whole"), VIEW("$")}};

static int transform(const char *input_template, bool pipes, tr_buf *out, tr_error *err)
{
    const tr_transform_options options = {.target_id = "t1",
                                          .input_template = tr_view_str(input_template),
                                          .variables = variables,
                                          .variable_count = TR_COUNT(variables),
                                          .pipes = pipes};
    const tr_transform_input input = {.event = tr_view_str(event),
                                      .rule_arn = TR_VIEW("arn:aws:events:us-east-1:0:rule/b/\"r\""),
                                      .rule_name = TR_VIEW("r"),
                                      .ingestion_time = TR_VIEW("2026-01-31T23:59:59Z")};
    tr_transform *t;
    int e = tr_transform_compile(&options, &t, err);
    if (e)
        return e;
    e = tr_transform_apply(t, &input, out, err);
    tr_transform_free(t);
    return e;
}

static void check(const char *input_template, const char *expected)
{
    tr_buf out;
    tr_error err;
    tr_buf_init(&out, 1 << 20);
    if (transform(input_template, false, &out, &err))
        fail_msg("%s: %s", input_template, err.message);
    assert_string_equal(tr_buf_cstr(&out), expected);
    tr_buf_done(&out);
}

static void fills_json_templates(void **state)
{
    (void)state;
    check("{\"id\" : <userId>}", "{\"id\" : \"0a78\"}");
    check("{\"id\" : \"<userId>\"}", "{\"id\" : \"0a78\"}");
    check("{\"path\": \"users/<userId>/second/<userId>\"}", "{\"path\": \"users/0a78/second/0a78\"}");
    check("{\"body\": <payload>, \"l\": [<userId>, \"hardcoded\"]}",
          "{\"body\": {\"acc_id\":\"0a78\",\"sf_id\":\"baz\"}, \"l\": [\"0a78\", \"hardcoded\"]}");
    check("{\"l\":<listsingle>,\"b\":<valid>,\"n\":<n>,\"z\":<none>}",
          "{\"l\":[\"HIGH\"],\"b\":true,\"n\":1.50,\"z\":null}");
    check("{\"missing\":<systemstring>,\"in\":\"x<systemstring>y\"}", "{\"missing\":\"\",\"in\":\"xy\"}");
    check("{\"q\":<quote>,\"in\":\"<quote>!\"}",
          "{\"q\":\"say \\\"hi\\\"\\n\",\"in\":\"say \\\"hi\\\"\\n!\"}");
    check("{\"s\":\"<valid> <n>\"}", "{\"s\":\"true 1.50\"}");
    check("{\"ids\":<ids>}", "{\"ids\":[1,2]}");
    check("{\"nothing\":1}", "{\"nothing\":1}");
    check("<payload>", "{\"acc_id\":\"0a78\",\"sf_id\":\"baz\"}");
    check("[<n>,\"a < b\"]", "[1.50,\"a < b\"]");
}

static void fills_text_templates(void **state)
{
    (void)state;
    check("\"Payload of <payload> with path users/<userId> and <userId>\"",
          "\"Payload of {acc_id:0a78,sf_id:baz} with path users/0a78 and 0a78\"");
    check("\"<listsingle> single list item\"\n\"<listmulti> multiple list items\"\n\"<systemstring> system "
          "account id\"",
          "\"[HIGH] single list item\"\n\"[ACTIVE,INACTIVE] multiple list items\"\n\" system account id\"");
    check("\"Command is <valid>!\"", "\"Command is true!\"");
    check("\"{[/Check with special starting characters for event of <detail-type> type\"",
          "\"{[/Check with special starting characters for event of core.update type\"");
    check("\"instance \\\"<userId>\\\" is\"", "\"instance \\\"0a78\\\" is\"");
    check("\"<quote>\"", "\"say \\\"hi\\\"\\n\"");
}

static void fills_predefined_variables(void **state)
{
    (void)state;
    static const char envelope[] =
        "{\"version\":\"0\",\"id\":\"e-1\",\"detailType\":\"core.update\",\"source\":\"core\","
        "\"account\":\"1\",\"time\":\"T\",\"resources\":[]}";
    char expected[2048];
    check("\"<aws.events.rule-arn> <aws.events.rule-name> <aws.events.event.ingestion-time>\"",
          "\"arn:aws:events:us-east-1:0:rule/b/\\\"r\\\" r 2026-01-31T23:59:59Z\"");
    check("{\"a\":<aws.events.rule-arn>,\"t\":\"<aws.events.event.ingestion-time>\"}",
          "{\"a\":\"arn:aws:events:us-east-1:0:rule/b/\\\"r\\\"\",\"t\":\"2026-01-31T23:59:59Z\"}");
    (void)snprintf(expected, sizeof expected, "{\"e\": %s}", envelope);
    check("{\"e\": <aws.events.event>}", expected);
    check("\"<aws.events.event>\"",
          "\"{version:0,id:e-1,detailType:core.update,source:core,account:1,time:T,resources:[]}\"");
    tr_buf out;
    tr_error err;
    tr_buf_init(&out, 1 << 20);
    assert_int_equal(transform("{\"e\":<aws.events.event.json>,\"w\":<whole>}", false, &out, &err), 0);
    assert_non_null(
        strstr(tr_buf_cstr(&out),
               "\"resources\":[],\"detail\":{\"command\":\"update-account\",\"payload\":{\"acc_id\":"));
    tr_buf_done(&out);
}

static void pipes_take_paths_as_placeholders(void **state)
{
    (void)state;
    tr_buf out;
    tr_error err;
    tr_buf_init(&out, 1 << 20);
    assert_int_equal(
        transform("{\"c\":<$.detail.command>,\"n\":<aws.pipes.pipe-name>,\"u\":<userId>}", true, &out, &err),
        0);
    assert_string_equal(tr_buf_cstr(&out), "{\"c\":\"update-account\",\"n\":\"r\",\"u\":\"0a78\"}");
    tr_buf_done(&out);
}

/* What stands in a string has no quotes: the result is JSON. */
static void objects_in_strings_lose_their_quotes(void **state)
{
    (void)state;
    check("{\"payload\": \"<payload>\"}", "{\"payload\": \"{acc_id:0a78,sf_id:baz}\"}");
    check("{\"singlelistitem\": \"<listsingle>\"}", "{\"singlelistitem\": \"[HIGH]\"}");
    check("{\"in\": \"users/<payload>\", \"out\": <payload>}",
          "{\"in\": \"users/{acc_id:0a78,sf_id:baz}\", \"out\": {\"acc_id\":\"0a78\",\"sf_id\":\"baz\"}}");
    check("{\"e\":\"<aws.events.event>\"}",
          "{\"e\":\"{version:0,id:e-1,detailType:core.update,source:core,account:1,time:T,resources:[]}\"}");
    tr_buf out;
    tr_error err;
    tr_buf_init(&out, 1 << 20); /* with escapes of all kinds in it */
    assert_int_equal(transform("{\"e\":\"<aws.events.event.json>\"}", false, &out, &err), 0);
    assert_non_null(strstr(tr_buf_cstr(&out), "say hi\\n"));
    tr_buf_done(&out);
}

static void check_refused(const char *input_template, const char *message)
{
    tr_buf out;
    tr_error err = {0};
    tr_buf_init(&out, 1 << 20);
    assert_int_equal(transform(input_template, false, &out, &err), TR_EINVAL);
    assert_string_equal(err.type, "ValidationException");
    assert_int_equal(err.http_status, 400);
    assert_string_equal(err.message, message);
    tr_buf_done(&out);
}

static void refuses_templates(void **state)
{
    (void)state;
    check_refused("\"Event of <detail-type> type, with not defined key <notdefinedkey>\"",
                  "InputTemplate for target t1 contains invalid placeholder notdefinedkey.");
    check_refused("{\"a\":<aws.events.no-such>}",
                  "InputTemplate for target t1 contains invalid placeholder aws.events.no-such.");
    check_refused("{\"a\":<aws.pipes.pipe-name>}",
                  "InputTemplate for target t1 contains invalid placeholder aws.pipes.pipe-name.");
    check_refused("{\"a\":<$.detail>}", "InputTemplate for target t1 contains invalid placeholder $.detail.");
    check_refused("{\"a\":<userId>", "InputTemplate for target t1 is not a valid JSON text.");
    check_refused("hello <userId>", "InputTemplate for target t1 is not a valid JSON text.");
    check_refused("\"a\" b \"c\"", "InputTemplate for target t1 is not a valid JSON text.");
    check_refused("{<userId>:1}", "InputTemplate for target t1 is not a valid JSON text.");
    check_refused("{\"<userId>\":1}", "InputTemplate for target t1 uses a placeholder as an object key.");
    check_refused("", "InputTemplate for target t1 must have 1 to 8192 bytes.");
}

static void limits_the_map(void **state)
{
    (void)state;
    tr_input_variable many[101];
    tr_transform *t;
    tr_error err;
    tr_transform_options options = {
        .target_id = "t1", .input_template = TR_VIEW("\"x\""), .variables = many, .variable_count = 101};
    for (size_t i = 0; i < 101; i++)
        many[i] = (tr_input_variable){TR_VIEW("name"), TR_VIEW("$.a")};
    assert_int_equal(tr_transform_compile(&options, &t, &err), TR_EINVAL);
    options.variable_count = 100;
    assert_int_equal(tr_transform_compile(&options, &t, &err), 0);
    tr_transform_free(t);
    many[3].name = TR_VIEW("a.b");
    assert_int_equal(tr_transform_compile(&options, &t, &err), TR_EINVAL);
    many[3] = (tr_input_variable){TR_VIEW("ok"), TR_VIEW("detail")};
    assert_int_equal(tr_transform_compile(&options, &t, &err), TR_EINVAL);
    tr_transform_free(NULL);
}

static void check_path(const char *text, const char *expected)
{
    tr_input_path *path;
    tr_error err;
    tr_buf out;
    tr_buf_init(&out, 1 << 20);
    if (tr_input_path_compile(tr_view_str(text), "t1", &path, &err))
        fail_msg("%s: %s", text, err.message);
    int e = tr_input_path_apply(path, tr_view_str(event), &out);
    if (expected) {
        if (e)
            fail_msg("%s: %s", text, tr_strerror(e));
        assert_string_equal(tr_buf_cstr(&out), expected);
    } else {
        assert_int_equal(e, TR_ENOTFOUND);
        assert_int_equal(out.len, 0);
    }
    tr_input_path_free(path);
    tr_buf_done(&out);
}

static void paths_lead_to_parts(void **state)
{
    (void)state;
    check_path("$.detail.payload", "{\"acc_id\":\"0a78\",\"sf_id\":\"baz\"}");
    check_path("$.detail.payload.sf_id", "\"baz\"");
    check_path("$.detail.listmulti[1]", "\"INACTIVE\"");
    check_path("$.detail.items[0].t", "[\"a\"]");
    check_path("$.detail.items[*].id", "[1,2]");
    check_path("$.detail.items.*.id", "[1,2]");
    check_path("$.detail.payload.*", "[\"0a78\",\"baz\"]");
    check_path("$.detail.items[*].none", "[]");
    check_path("$.detail.a-b/c_d", "7");
    check_path("$.detail.k", "2"); /* the last one */
    check_path("$.detail.esc", "\"found\"");
    check_path("$.resources", "[]");
    check_path("$.detail.listmulti[2]", NULL);
    check_path("$.detail.items.id", NULL);
    check_path("$.detail.command.x", NULL);
    check_path("$.nothing", NULL);
    check_path("$[0]", NULL);
}

static void refuses_what_is_no_path(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      "detail",  ".detail",         "$.",       "$..a",   "$detail", "$.a[",
        "$.a[]", "$.a[-1]", "$.a[x]",          "$.a['b']", "$['a']", "$.a b",   "$.a[1]b",
        "$.a.",  "$.\xff",  "$.a[99999999999]"};
    char expected[256], longest[TR_INPUT_PATH_MAX + 2];
    (void)snprintf(expected, sizeof expected, "InputPath for target t1 is not a valid JSON path");
    for (size_t i = 0; i < TR_COUNT(bad); i++) {
        tr_input_path *path;
        tr_error err = {0};
        if (tr_input_path_compile(tr_view_str(bad[i]), "t1", &path, &err) != TR_EINVAL)
            fail_msg("%s was taken", bad[i]);
        assert_string_equal(err.type, "ValidationException");
        assert_memory_equal(err.message, expected, strlen(expected));
    }
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "$.", 2);
    tr_input_path *path;
    assert_int_equal(tr_input_path_compile(tr_view_of(longest, TR_INPUT_PATH_MAX), "t1", &path, NULL), 0);
    tr_input_path_free(path);
    assert_int_equal(tr_input_path_compile(tr_view_of(longest, TR_INPUT_PATH_MAX + 1), "t1", &path, NULL),
                     TR_EINVAL);
}

static void damaged_events_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "1", "{\"detail\"", "{\"a\":1 \"detail\":2}", "{\"detail\":", "{detail:1}", "{\"detail\":\"x}"};
    tr_input_path *path;
    tr_buf out;
    tr_buf_init(&out, 1000);
    assert_int_equal(tr_input_path_compile(TR_VIEW("$.detail"), "t1", &path, NULL), 0);
    for (size_t i = 0; i < TR_COUNT(bad); i++)
        assert_int_equal(tr_input_path_apply(path, tr_view_str(bad[i]), &out), TR_EPARSE);
    tr_input_path_free(path);
    tr_buf_done(&out);
    tr_buf_init(&out, 10); /* and a buffer that is too small */
    tr_error err;
    assert_int_equal(transform("{\"a\":<payload>}", false, &out, &err), TR_ELIMIT);
    assert_int_equal(out.len, 0);
    tr_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fills_json_templates),
                                       cmocka_unit_test(fills_text_templates),
                                       cmocka_unit_test(fills_predefined_variables),
                                       cmocka_unit_test(pipes_take_paths_as_placeholders),
                                       cmocka_unit_test(objects_in_strings_lose_their_quotes),
                                       cmocka_unit_test(refuses_templates),
                                       cmocka_unit_test(limits_the_map),
                                       cmocka_unit_test(paths_lead_to_parts),
                                       cmocka_unit_test(refuses_what_is_no_path),
                                       cmocka_unit_test(damaged_events_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
