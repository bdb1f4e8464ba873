/* SPDX-License-Identifier: MIT */
/** Patterns that are refused, with the words they are refused in, and the limits of what is taken. */
#include "pattern_test.h"

#include "pattern/compiled.h"

static void check_reason(const char *pattern, const char *reason)
{
    tr_pattern *p;
    tr_error err = {0};
    char expected[512];
    (void)snprintf(expected, sizeof expected, "Event pattern is not valid. Reason: %s", reason);
    if (tr_pattern_compile(tr_view_str(pattern), NULL, &p, &err) != TR_EINVAL)
        fail_msg("%s was taken", pattern);
    assert_string_equal(err.type, "InvalidEventPatternException");
    assert_int_equal(err.http_status, 400);
    if (strcmp(err.message, expected) != 0)
        fail_msg("%s: %s", pattern, err.message);
}

/* {"a": [ VALUE ]} */
static void check_value(const char *value, const char *reason)
{
    char pattern[512];
    (void)snprintf(pattern, sizeof pattern, "{\"a\":[%s]}", value);
    check_reason(pattern, reason);
}

static void refuses_structures_in_the_services_words(void **state)
{
    (void)state;
    check_reason("[]", "Filter is not an object");
    check_reason("\"x\"", "Filter is not an object");
    check_reason("{}", "Empty objects are not allowed");
    check_reason("{\"a\":{}}", "Empty objects are not allowed");
    check_reason("{\"a\":[]}", "Empty arrays are not allowed");
    check_reason("{\"a\":\"x\"}", "\"a\" must be an object or an array");
    check_reason("{\"a\":{\"b.c\":null}}", "\"b.c\" must be an object or an array");
    check_reason("{\"$or\":{}}", "It must be an Array followed with $or.");
    check_reason("{\"$or\":[]}", "There must have at least 2 Objects in $or relationship.");
    check_reason("{\"$or\":[{\"a\":[1]}]}", "There must have at least 2 Objects in $or relationship.");
    check_reason("{\"$or\":[{\"a\":[1]},2]}", "Only JSON object is allowed in array of $or relationship.");
    check_reason("{\"$or\":[{\"numeric\":[1]},{\"a\":[1]}]}",
                 "numeric is Ruler reserved fieldName which cannot be used inside $or.");
    check_reason("{\"$or\":[{\"a\":[1]},{}]}", "Empty objects are not allowed");
    check_value("[]", "Match value must be String, number, true, false, or null");
}

static void refuses_operators_in_the_services_words(void **state)
{
    (void)state;
    static const char anything_but[] =
        "Value of anything-but must be an array or single string/number value.";
    static const char mixed[] =
        "Inside anything but list, either all values are number or string, mixed type is not supported";
    static const char ignore_case[] =
        "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.";
    static const char list[] = "Inside anything but list, start|null|boolean is not supported.";
    check_value("{}", "Match expression name not found");
    check_value("{\"regex\":\"x\"}", "Unrecognized match type regex");
    check_value("{\"prefix\":\"x\",\"suffix\":\"y\"}", "Only one key allowed in match expression");
    check_value("{\"exactly\":1}", "exact match pattern must be a string");
    check_value("{\"prefix\":{}}", "Prefix expression name not found");
    check_value("{\"prefix\":{\"wildcard\":\"x\"}}", "Unsupported prefix pattern: wildcard");
    check_value("{\"suffix\":{\"equals-ignore-case\":null}}",
                "equals-ignore-case match pattern must be a string");
    check_value("{\"suffix\":{\"equals-ignore-case\":\"x\",\"a\":1}}",
                "Only one key allowed in match expression");
    check_value("{\"exists\":\"true\"}", "exists match pattern must be either true or false.");
    check_value("{\"exists\":true,\"a\":1}", "Only one key allowed in match expression");
    check_value("{\"wildcard\":\"a**\"}", "Consecutive wildcard characters at pos 2");
    check_value("{\"wildcard\":\"\\\\a\"}", "Invalid escape character at pos 1");
    check_value("{\"wildcard\":\"ab\\\\\"}", "Invalid escape character at pos 3");
    check_value("{\"anything-but\":true}", anything_but);
    check_value("{\"anything-but\":{\"prefix\":{}}}", anything_but);
    check_value("{\"anything-but\":{}}", "Anything-But expression name not found");
    check_value("{\"anything-but\":{\"cidr\":\"x\"}}", "Unsupported anything-but pattern: cidr");
    check_value("{\"anything-but\":[]}", mixed);
    check_value("{\"anything-but\":[1,\"x\"]}", mixed);
    check_value("{\"anything-but\":[null]}", list);
    check_value("{\"anything-but\":{\"equals-ignore-case\":7}}", ignore_case);
    check_value("{\"anything-but\":{\"suffix\":[\"a\",\"\"]}}", "Null prefix/suffix not allowed");
    check_value("{\"anything-but\":{\"wildcard\":[\"a\",7]}}", "wildcard match pattern must be a string");
    check_value("{\"anything-but\":{\"prefix\":\"a\"},\"x\":1}", "Too many elements in numeric expression");
    check_value("{\"anything-but\":12345678901234567890}", "Cannot compare number : 12345678901234567890");
}

static void refuses_numbers_and_networks_in_the_services_words(void **state)
{
    (void)state;
    check_value("{\"numeric\":\">\"}", "Value of numeric must be an array.");
    check_value("{\"numeric\":[]}", "Invalid member in numeric match: ]");
    check_value("{\"numeric\":[5]}", "Invalid member in numeric match: 5");
    check_value("{\"numeric\":[\"==\",5]}", "Unrecognized numeric range operator: ==");
    check_value("{\"numeric\":[\"=\",\"5\"]}", "Value of equals must be numeric");
    check_value("{\"numeric\":[\">=\"]}", "Value of >= must be numeric");
    check_value("{\"numeric\":[\"=\",5,\"<\",6]}", "Too many elements in numeric expression");
    check_value("{\"numeric\":[\"<\",5,\">\",2]}", "Too many elements in numeric expression");
    check_value("{\"numeric\":[\">\",5,6]}", "Bad value in numeric range: 6");
    check_value("{\"numeric\":[\">\",5,\">\",6]}", "Bad numeric range operator: >");
    check_value("{\"numeric\":[\">\",5,\"<\",null]}", "Value of < must be numeric");
    check_value("{\"numeric\":[\">\",5,\"<\",6,7]}", "Too many terms in numeric range expression");
    check_value("{\"numeric\":[\">\",5,\"<\",5]}", "Bottom must be less than top");
    check_value("{\"numeric\":[\">\",1e400]}", "Cannot compare number : 1e400");
    check_value("{\"cidr\":7}", "prefix match pattern must be a string");
    check_value("{\"cidr\":\"10.0.0.0\"}", "Malformed CIDR, one '/' required");
    check_value("{\"cidr\":\"10.0.0.0/\"}", "Malformed CIDR, one '/' required");
    check_value("{\"cidr\":\"10.0.0.0/8/8\"}", "Malformed CIDR, one '/' required");
    check_value("{\"cidr\":\"10.0.0.0/x\"}", "Malformed CIDR, mask bits must be an integer");
    check_value("{\"cidr\":\"10.0.0.0/-1\"}", "Malformed CIDR, mask bits must not be negative");
    check_value("{\"cidr\":\"10.0.0.0/32\"}", "IPv4 mask bits must be < 32");
    check_value("{\"cidr\":\"::/128\"}", "IPv6 mask bits must be < 128");
    check_value("{\"cidr\":\"10.0.0.256/8\"}", "Invalid IP address: 10.0.0.256");
    check_value("{\"cidr\":\"host/8\"}", "Nonstandard IP address: host");
}

static void refuses_what_is_not_json(void **state)
{
    (void)state;
    static const char token[] =
        "was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')";
    char reason[256];
    (void)snprintf(reason, sizeof reason, "Unrecognized token 'this': %s", token);
    check_reason("this is no JSON", reason);
    (void)snprintf(reason, sizeof reason, "Unrecognized token 'closed': %s", token);
    check_reason("{\"not\": closed mark\"", reason);
    check_reason("{'bad': 1}",
                 "Unexpected character (''' (code 39)): was expecting double-quote to start field name");
    check_reason("{\"a\": \xc3\xa9}", "Unexpected character ('\xc3\xa9' (code 233)): a number is not valid");
    check_reason("{\"a\": \xf0\x9f\x8c\x8a}",
                 "Unexpected character ('\xf0\x9f\x8c\x8a' (code 127754)): a number is not valid");
    check_reason("{\"a\": \xe2\x82", "Unexpected character ('?' (code 226)): a number is not valid");
    check_reason("", "Unexpected end-of-input");
    check_reason("{\"a\":[1", "Unexpected end-of-input");
    tr_pattern *p;
    assert_int_equal(tr_pattern_compile(TR_VIEW("{\"a\":[1]} x"), NULL, &p, NULL), TR_EINVAL);
    assert_int_equal(tr_pattern_compile(TR_VIEW("{\"a\":[\"\xff\"]}"), NULL, &p, NULL), TR_EINVAL);
    assert_int_equal(tr_pattern_compile(TR_VIEW("{\"a\":[\"\\ud800\"]}"), NULL, &p, NULL), TR_EINVAL);
}

static void lambda_filters_have_their_own_errors(void **state)
{
    (void)state;
    const tr_pattern_options options = {.dialect = TR_PATTERN_LAMBDA};
    tr_pattern *p;
    tr_error err = {0};
    assert_int_equal(tr_pattern_compile(TR_VIEW("{\"eventName\":\"INSERT\"}"), &options, &p, &err),
                     TR_EINVAL);
    assert_string_equal(err.type, "InvalidParameterValueException");
    assert_string_equal(
        err.message,
        "Invalid filter pattern definition. Reason: \"eventName\" must be an object or an array");
}

/* {"a":["xxx…"]} of so many characters, each of `unit`. */
static int compile_long(size_t characters, const char *unit, const tr_pattern_options *options)
{
    tr_buf buf;
    tr_pattern *p = NULL;
    tr_buf_init(&buf, 1 << 20);
    tr_buf_put_str(&buf, "{\"a\":[\"");
    for (size_t i = 0; i < characters - 10; i++)
        tr_buf_put_str(&buf, unit);
    tr_buf_put_str(&buf, "\"]}");
    int e = tr_pattern_compile(tr_buf_view(&buf), options, &p, NULL);
    if (!e)
        tr_pattern_free(p);
    tr_buf_done(&buf);
    return e;
}

static void limits_the_length_in_characters(void **state)
{
    (void)state;
    const tr_pattern_options lambda = {.dialect = TR_PATTERN_LAMBDA}, set = {.max_length = 100},
                             beyond = {.max_length = SIZE_MAX};
    assert_int_equal(compile_long(2048, "x", NULL), 0);
    assert_int_equal(compile_long(2049, "x", NULL), TR_EINVAL);
    assert_int_equal(compile_long(2048, "\xe2\x82\xac", NULL), 0); /* three bytes each */
    assert_int_equal(compile_long(2049, "\xe2\x82\xac", NULL), TR_EINVAL);
    assert_int_equal(compile_long(4096, "x", &lambda), 0);
    assert_int_equal(compile_long(4097, "x", &lambda), TR_EINVAL);
    assert_int_equal(compile_long(100, "x", &set), 0);
    assert_int_equal(compile_long(101, "x", &set), TR_EINVAL);
    assert_int_equal(compile_long(65536, "x", &beyond), 0);
    assert_int_equal(compile_long(65537, "x", &beyond), TR_EINVAL);
}

/* `count` $or of ten branches each: 10^count combinations. */
static int compile_ors(int count, const tr_pattern_options *options)
{
    tr_buf buf;
    tr_pattern *p = NULL;
    tr_buf_init(&buf, 1 << 20);
    for (int i = 0; i < count; i++) {
        tr_buf_printf(&buf, "%s\"k%d\":{\"$or\":[", i ? "," : "{", i);
        for (int k = 0; k < 10; k++)
            tr_buf_printf(&buf, "%s{\"f%d\":[1]}", k ? "," : "", k);
        tr_buf_put_str(&buf, "]}");
    }
    tr_buf_put_str(&buf, "}");
    int e = tr_pattern_compile(tr_buf_view(&buf), options, &p, NULL);
    if (!e) {
        assert_int_equal(p->branches.len, count == 2 ? 100 : 1000);
        tr_pattern_free(p);
    }
    tr_buf_done(&buf);
    return e;
}

static void limits_what_or_expands_to(void **state)
{
    (void)state;
    const tr_pattern_options few = {.max_combinations = 99};
    assert_int_equal(compile_ors(2, NULL), 0);
    assert_int_equal(compile_ors(2, &few), TR_EINVAL);
    assert_int_equal(compile_ors(3, NULL), 0);
    assert_int_equal(compile_ors(4, NULL), TR_EINVAL);
    assert_int_equal(compile_ors(9, NULL), TR_EINVAL); /* 10^9 would take a while */
}

static void nested_or_stays_small(void **state)
{
    (void)state;
    /* 60 levels, each doubling what it holds: refused early, not after 2^60 branches */
    tr_buf buf;
    tr_buf_init(&buf, 1 << 20);
    for (int i = 0; i < 60; i++)
        tr_buf_put_str(&buf, "{\"$or\":[{\"a\":[1]},");
    tr_buf_put_str(&buf, "{\"b\":[1]}");
    for (int i = 0; i < 60; i++)
        tr_buf_put_str(&buf, "],\"$or\":[{\"c\":[1]},{\"d\":[1]}]}");
    tr_pattern *p;
    tr_error err;
    const tr_pattern_options options = {.max_length = 65536};
    assert_int_equal(tr_pattern_compile(tr_buf_view(&buf), &options, &p, &err), TR_EINVAL);
    assert_non_null(strstr(err.message, "combinations"));
    tr_buf_done(&buf);
}

/*
 * What the service's own evaluator says of these (github.com/aws/event-ruler, MachineComplexityEvaluator, run
 * with quoted values as the compiler makes them).
 */
static void measures_the_complexity_of_wildcards(void **state)
{
    (void)state;
    static const struct {
        const char *wildcards[4];
        int complexity;
    } cases[] = {{{"abc"}, 1},
                 {{"*"}, 2},
                 {{"*abc"}, 2},
                 {{"*aa"}, 3},
                 {{"a*bb"}, 3},
                 {{"a*bcb"}, 3},
                 {{"*ab*ad"}, 4},
                 {{"*aba*"}, 4},
                 {{"a*b*bb"}, 5},
                 {{"*:*:*:*:*:event-bus/*"}, 11},
                 {{"/Users/*/dir/dir/dir/dir/dir/doc.txt"}, 7},
                 {{"arn:aws:events:us-east-1:*:event-bus/*"}, 3},
                 {{"ab*cd", "ab*wx", "ab*yz"}, 6},
                 {{"F*eatureFeature", "Fe*atureFeature", "Fea*tureFeature"}, 10},
                 {{"a*aaa", "aa*aa"}, 7},
                 {{"*a*a*a*a*a*a*a*a*"}, 17}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_view texts[4];
        size_t n = 0;
        for (; n < 4 && cases[i].wildcards[n]; n++)
            texts[n] = tr_view_str(cases[i].wildcards[n]);
        int complexity = tr__wildcard_complexity(texts, n, 100);
        if (complexity != cases[i].complexity)
            fail_msg("%s: %d", cases[i].wildcards[0], complexity);
    }
}

static void refuses_wildcards_too_entangled(void **state)
{
    (void)state;
    const tr_pattern_options more = {.max_complexity = 11};
    tr_pattern *p;
    const char *pattern = "{\"a\":[{\"wildcard\":\"*:*:*:*:*:event-bus/*\"}]}";
    check_reason(pattern,
                 "Rule is too complex - try using fewer wildcard characters or fewer repeating character "
                 "sequences after a wildcard character");
    assert_int_equal(tr_pattern_compile(tr_view_str(pattern), &more, &p, NULL), 0);
    tr_pattern_free(p);
}

static void checks_what_testeventpattern_asks_of_events(void **state)
{
    (void)state;
    tr_error err;
    static const char event[] = "{\"id\":\"1\",\"account\":\"0\",\"source\":\"s\",\"time\":\"t\",\"region\":"
                                "\"r\",\"detail-type\":\"d\"}";
    assert_int_equal(tr_pattern_check_event(tr_view_str(event), &err), 0);
    static const char *const bad[] = {
        "",
        "\"text\"",
        "[]",
        "{}",
        "{\"id\":\"1\"}",
        "{\"id\":\"1\",",
        "{\"id\":\"1\",\"account\":\"0\",\"source\":\"s\",\"time\":\"t\",\"region\":\"r\"}"};
    for (size_t i = 0; i < TR_COUNT(bad); i++) {
        assert_int_equal(tr_pattern_check_event(tr_view_str(bad[i]), &err), TR_EINVAL);
        assert_string_equal(err.type, "ValidationException");
        assert_string_equal(err.message, "Parameter Event is not valid.");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses_structures_in_the_services_words),
                                       cmocka_unit_test(refuses_operators_in_the_services_words),
                                       cmocka_unit_test(refuses_numbers_and_networks_in_the_services_words),
                                       cmocka_unit_test(refuses_what_is_not_json),
                                       cmocka_unit_test(lambda_filters_have_their_own_errors),
                                       cmocka_unit_test(limits_the_length_in_characters),
                                       cmocka_unit_test(limits_what_or_expands_to),
                                       cmocka_unit_test(nested_or_stays_small),
                                       cmocka_unit_test(measures_the_complexity_of_wildcards),
                                       cmocka_unit_test(refuses_wildcards_too_entangled),
                                       cmocka_unit_test(checks_what_testeventpattern_asks_of_events)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
