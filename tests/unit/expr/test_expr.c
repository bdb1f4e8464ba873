/* SPDX-License-Identifier: MIT */
/* What vectors.jsonl cannot say: the environment, conditions without text, what comes of key conditions. */
#include "helpers.h"

/* ------------------------------------------------------------------------------------------- placeholders */

static void tells_json_of_the_wrong_type(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool names;
        const char *message;
    } cases[] = {
        {"{\"#a\":1}", true, "NUMBER_VALUE cannot be converted to String"},
        {"{\"#a\":1.5}", true, "DECIMAL_VALUE cannot be converted to String"},
        {"{\"#a\":true}", true, "TRUE_VALUE cannot be converted to String"},
        {"{\"#a\":false}", true, "FALSE_VALUE cannot be converted to String"},
        {"{\"#a\":{}}", true, "Start of structure or map found where not expected"},
        {"{\"#a\":[]}", true, "Unrecognized collection type class java.lang.String"},
        {"[]", true, "Unrecognized collection type java.util.Map<java.lang.String, java.lang.String>"},
        {"[]", false,
         "Unrecognized collection type java.util.Map<java.lang.String, "
         "com.amazonaws.dynamodb.v20120810.AttributeValue>"},
        {"\"x\"", true, "Unexpected field type"},
        {"7", false, "Unexpected field type"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_expr_env env;
        tr_error err;
        assert_int_equal(read_into(&env, cases[i].json, cases[i].names, &err), TR_EINVAL);
        assert_string_equal(err.type, "SerializationException");
        assert_string_equal(err.message, cases[i].message);
    }
    tr_expr_env env;
    tr_error err;
    assert_int_equal(read_into(&env, "null", true, &err), 0);
    assert_false(env.names_given);
    assert_true(read_into(&env, "{\"#a\":", true, &err) < 0);
    assert_true(read_into(&env, "{\":a\":{\"S\"", false, &err) < 0);
}

static void keeps_a_faulty_value_and_reads_on(void **state)
{
    (void)state;
    tr_expr_env env;
    tr_error err;
    int r = read_into(&env,
                      "{\":a\":{\"S\":\"x\"},\":b\":{\"N\":\"dog\"},\":c\":{\"SS\":[]},\"d\":{\"S\":\"y\"}}",
                      false, &err);
    assert_true(r < 0);
    assert_int_equal(env.item_error.problem, TR_ITEM_NUMBER);
    assert_view(env.item_error_key, ":b");
    assert_int_equal(env.value_count, 4);
    assert_view(env.values[3].placeholder, "d");
    /* syntax of keys is told before faulty values are */
    tr_expr_param param = {TR_EXPR_CONDITION, true};
    assert_int_equal(tr_expr_env_check(&env, &param, 1, &err), TR_EINVAL);
    assert_string_equal(err.message,
                        "ExpressionAttributeValues contains invalid key: Syntax error; key: \"d\"");
}

static void maps_want_expressions(void **state)
{
    (void)state;
    tr_expr_param update[] = {{TR_EXPR_UPDATE, false}, {TR_EXPR_CONDITION, false}};
    tr_expr_param query[] = {
        {TR_EXPR_FILTER, false}, {TR_EXPR_KEY_CONDITION, false}, {TR_EXPR_PROJECTION, true}};
    tr_expr_env env;
    tr_error err;
    assert_int_equal(read_into(&env, "{\"#a\":\"b\"}", true, &err), 0);
    assert_int_equal(tr_expr_env_check(&env, update, 2, &err), TR_EINVAL);
    assert_string_equal(err.message, "ExpressionAttributeNames can only be specified when using expressions");
    assert_int_equal(tr_expr_env_check(&env, query, 3, &err), 0);
    assert_int_equal(read_into(&env, "{\":a\":{\"S\":\"b\"}}", false, &err), 0);
    assert_int_equal(tr_expr_env_check(&env, update, 2, &err), TR_EINVAL);
    assert_string_equal(err.message,
                        "ExpressionAttributeValues can only be specified when using expressions: "
                        "UpdateExpression and ConditionExpression are null");
    assert_int_equal(tr_expr_env_check(&env, update + 1, 1, &err), TR_EINVAL);
    assert_string_equal(err.message,
                        "ExpressionAttributeValues can only be specified when using expressions: "
                        "ConditionExpression is null");
    assert_int_equal(tr_expr_env_check(&env, query, 3, &err), TR_EINVAL);
    assert_string_equal(err.message,
                        "ExpressionAttributeValues can only be specified when using expressions: "
                        "FilterExpression and KeyConditionExpression are null");
    assert_int_equal(tr_expr_env_check(&env, query + 2, 1, &err), 0);
    query[1].given = true;
    assert_int_equal(tr_expr_env_check(&env, query, 3, &err), 0);
    assert_int_equal(read_into(&env, "{}", true, &err), 0);
    assert_int_equal(tr_expr_env_check(&env, query, 3, &err), TR_EINVAL);
    assert_string_equal(err.message, "ExpressionAttributeNames must not be empty");
    assert_int_equal(read_into(&env, "{}", false, &err), 0);
    assert_int_equal(tr_expr_env_check(&env, query, 3, &err), TR_EINVAL);
    assert_string_equal(err.message, "ExpressionAttributeValues must not be empty");
}

static void finds_one_of_many_placeholders(void **state)
{
    (void)state;
    tr_expr_env env;
    tr_error err;
    tr_expr_env_init(&env, &arena);
    for (unsigned i = 0; i < 3000; i++) {
        tr_view key = tr_view_str(tr_arena_printf(&arena, "#n%u", i * 7919u % 3000u));
        assert_int_equal(tr_expr_env_add_name(&env, key, tr_view_of(key.ptr + 1, key.len - 1)), 0);
        assert_int_equal(tr_expr_env_add_value(&env, tr_view_str(tr_arena_printf(&arena, ":v%u", i)),
                                               value("{\"N\":\"1\"}")),
                         0);
    }
    const tr_condition *c;
    assert_int_equal(
        tr_condition_parse(&env, TR_EXPR_FILTER, TR_VIEW("#n2999 = :v0 AND #n0 < :v2999"), &c, &err), 0);
    assert_true(tr_condition_eval(c, item("{\"n2999\":{\"N\":\"1\"},\"n0\":{\"N\":\"0\"}}")));
    assert_int_equal(tr_condition_parse(&env, TR_EXPR_FILTER, TR_VIEW("#n3000 = :v0"), &c, &err), TR_EINVAL);
    assert_string_equal(err.message,
                        "Invalid FilterExpression: An expression attribute name used in the document "
                        "path is not defined; attribute name: #n3000");
    assert_int_equal(tr_expr_env_check_unused(&env, &err), TR_EINVAL);
}

static void the_last_of_a_repeated_placeholder_counts(void **state)
{
    (void)state;
    outcome o =
        run("cond", "#a = :v", "{\"#a\":\"x\",\"#a\":\"y\"}", "{\":v\":{\"S\":\"1\"},\":v\":{\"S\":\"2\"}}",
            item("{\"x\":{\"S\":\"1\"},\"y\":{\"S\":\"2\"}}"));
    assert_int_equal(o.code, 0);
    assert_true(o.truth);
}

static void limits_the_maps(void **state)
{
    (void)state;
    size_t size = 65000;
    char *name = tr_arena_alloc(&arena, size);
    memset(name, 'x', size);
    tr_expr_env env;
    tr_error err;
    tr_expr_param param = {TR_EXPR_CONDITION, true};
    tr_expr_env_init(&env, &arena);
    for (unsigned i = 0; i < 33; i++)
        assert_int_equal(tr_expr_env_add_name(&env, tr_view_str(tr_arena_printf(&arena, "#%u", i)),
                                              tr_view_of(name, size)),
                         0);
    assert_int_equal(tr_expr_env_check(&env, &param, 1, &err), TR_EINVAL);
    assert_string_equal(err.message, "ExpressionAttributeNames exceeds max size");
    env.name_count = 32;
    assert_int_equal(tr_expr_env_check(&env, &param, 1, &err), 0);
    tr_expr_env_init(&env, &arena);
    for (unsigned i = 0; i < 33; i++)
        assert_int_equal(tr_expr_env_add_value(&env, tr_view_str(tr_arena_printf(&arena, ":%u", i)),
                                               (tr_value){TR_S, tr_view_of(name, size)}),
                         0);
    assert_int_equal(tr_expr_env_check(&env, &param, 1, &err), TR_EINVAL);
    assert_string_equal(err.message, "ExpressionAttributeValues exceeds max size");
}

static void knows_reserved_words(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "ABORT",      "avg",     "Back",    "BYTE",      "CALL",           "cycle",    "data",    "DYNAMIC",
        "each",       "EXTRACT", "fail",    "functions", "General",        "grouping", "handler", "HOUR",
        "identified", "iterate", "JOIN",    "key",       "keys",           "LAG",      "LOWER",   "map",
        "multiset",   "name",    "NUMERIC", "object",    "owner",          "pad",      "PUT",     "query",
        "quorum",     "RAISE",   "rule",    "rules",     "sample",         "system",   "size",    "convert",
        "table",      "TYPE",    "under",   "using",     "uuid",           "vacuum",   "void",    "wait",
        "write",      "wrapped", "YEAR",    "zone",      "LocalTimestamp", "as",       "or",      "to",
        "status"};
    static const char *const no[] = {
        "",      "a",       "AB",         "ABORTS",          "ASX",   "PK",    "SK",    "REMOVE", "ZON",
        "ZONES", "NAMEX",   "NAM",        "LOCALTIMESTAMPS", "DATA1", "_DATA", "DA TA", "AVG ",   " AVG",
        "X",     "STATUS_", "begins_with"};
    for (size_t i = 0; i < TR_COUNT(yes); i++)
        if (!tr_expr_reserved(tr_view_str(yes[i])))
            fail_msg("%s is reserved", yes[i]);
    for (size_t i = 0; i < TR_COUNT(no); i++)
        if (tr_expr_reserved(tr_view_str(no[i])))
            fail_msg("%s is not reserved", no[i]);
}

/* --------------------------------------------------------------------------------------------- conditions */

static const tr_condition *parse(const char *expr)
{
    tr_expr_env env;
    tr_error err;
    const tr_condition *c;
    tr_expr_env_init(&env, &arena);
    if (tr_condition_parse(&env, TR_EXPR_CONDITION, tr_view_str(expr), &c, &err) < 0)
        fail_msg("%s: %s", expr, err.message);
    return c;
}

static void names_the_attributes_of_a_condition(void **state)
{
    (void)state;
    const tr_condition *c =
        parse("b.c = a OR (size(d[1]) > b.e AND NOT attribute_exists(f)) AND a IN (g, h.i)");
    static const char *const names[] = {"b", "a", "d", "f", "g", "h"};
    assert_int_equal(c->attribute_count, TR_COUNT(names));
    for (size_t i = 0; i < TR_COUNT(names); i++)
        assert_view(c->attributes[i], names[i]);
    assert_true(tr_condition_nests(c, TR_VIEW("b")));
    assert_true(tr_condition_nests(c, TR_VIEW("d")));
    assert_true(tr_condition_nests(c, TR_VIEW("h")));
    assert_false(tr_condition_nests(c, TR_VIEW("a")));
    assert_false(tr_condition_nests(c, TR_VIEW("c")));
}

static void conditions_are_built_without_text(void **state)
{
    (void)state;
    tr_path a;
    assert_int_equal(tr_path_of(&arena, TR_VIEW("a"), &a), 0);
    tr_operand equal[] = {tr_operand_path(a), tr_operand_value(value("{\"N\":\"1\"}"))};
    tr_operand big[] = {tr_operand_size(a), tr_operand_value(value("{\"N\":\"2\"}"))};
    const tr_cond *children[] = {
        tr_cond_test(&arena, TR_COND_EQ, equal, 2), tr_cond_test(&arena, TR_COND_GT, big, 2),
        tr_cond_logic(&arena, TR_COND_NOT, (const tr_cond *[]){tr_cond_test(&arena, TR_COND_TRUE, NULL, 0)},
                      1)};
    const tr_condition *c;
    assert_int_equal(tr_condition_of(&arena, tr_cond_logic(&arena, TR_COND_OR, children, 3), &c), 0);
    assert_true(tr_condition_eval(c, item("{\"a\":{\"N\":\"1\"}}")));
    assert_true(tr_condition_eval(c, item("{\"a\":{\"S\":\"abc\"}}")));
    assert_false(tr_condition_eval(c, item("{\"a\":{\"S\":\"ab\"}}")));
    assert_false(tr_condition_eval(c, (tr_item){NULL, 0}));
    assert_int_equal(c->attribute_count, 1);
    assert_int_equal(tr_condition_of(&arena, tr_cond_test(&arena, TR_COND_FALSE, NULL, 0), &c), 0);
    assert_false(tr_condition_eval(c, item("{}")));
}

static void depth_of_trees_is_limited(void **state)
{
    (void)state;
    const tr_cond *c = tr_cond_test(&arena, TR_COND_TRUE, NULL, 0);
    const tr_condition *whole;
    for (unsigned i = 1; i < TR_EXPR_DEPTH_MAX; i++)
        c = tr_cond_logic(&arena, TR_COND_NOT, &c, 1);
    assert_int_equal(tr_condition_of(&arena, c, &whole), 0);
    assert_false(tr_condition_eval(whole, item("{}")));
    c = tr_cond_logic(&arena, TR_COND_NOT, &c, 1);
    assert_int_equal(tr_condition_of(&arena, c, &whole), TR_ELIMIT);
}

/* Text of `count` times `part`. */
static char *repeat(const char *begin, const char *part, unsigned count, const char *end)
{
    tr_buf b;
    tr_buf_init(&b, 1 << 20);
    tr_buf_put_str(&b, begin);
    for (unsigned i = 0; i < count; i++)
        tr_buf_put_str(&b, part);
    tr_buf_put_str(&b, end);
    char *text = tr_arena_str(&arena, tr_buf_view(&b));
    tr_buf_done(&b);
    return text;
}

static void long_and_deep_expressions_end_in_errors(void **state)
{
    (void)state;
    outcome o = run("cond", repeat("", "(", 4096, ""), "", "", item("{}"));
    assert_message(&o, "Invalid ConditionExpression: Syntax error; token: \"<EOF>\", near: \"(\"");
    o = run("cond", repeat("", "(", 4097, ""), "", "", item("{}"));
    assert_message(
        &o, "Invalid ConditionExpression: Expression size has exceeded the maximum allowed size; expression "
            "size: 4097");
    o = run("cond", repeat(repeat("", "(", 2000, "a = b"), ")", 2000, ""), "", "", item("{}"));
    assert_message(&o, "Invalid ConditionExpression: The expression has redundant parentheses;");
    o = run("cond", repeat("", "NOT ", 300, "a = b"), "", "", item("{}"));
    assert_message(
        &o, "Invalid ConditionExpression: The expression contains too many operators; operator count: 301");
    o = run("cond", repeat("", "NOT ", 299, "a = b"), "", "", item("{}"));
    assert_int_equal(o.code, 0);
    assert_true(o.truth); /* an odd number of NOT of what is false */
    o = run("cond", repeat("", "size(", 800, "a"), "", "", item("{}"));
    assert_int_equal(o.code, TR_EINVAL);
    o = run("cond", repeat("a IN (b", ",b", 99, ")"), "", "", item("{}"));
    assert_int_equal(o.code, 0);
    o = run("cond", repeat("a IN (b", ",b", 100, ")"), "", "", item("{}"));
    assert_message(
        &o, "Invalid ConditionExpression: The IN operator is provided with too many operands; number of "
            "operands: 101");
    o = run("cond", repeat("a", ".b", 31, " = c"), "", "", item("{}"));
    assert_int_equal(o.code, 0);
    o = run("cond", repeat("a", ".b", 32, " = c"), "", "", item("{}"));
    assert_message(
        &o, "Invalid ConditionExpression: The document path has too many nesting levels; nesting levels: 33");
    o = run("proj", repeat("a", ".b", 2000, ""), "", "", item("{}"));
    assert_message(
        &o,
        "Invalid ProjectionExpression: The document path has too many nesting levels; nesting levels: 2001");
    o = run("update", repeat("SET a = ", "if_not_exists(b,", 200, repeat(":v", ")", 200, "")), "",
            "{\":v\":{\"S\":\"x\"}}", item("{\"pk\":{\"S\":\"d1\"}}"));
    assert_int_equal(o.code, 0);
    assert_item(o.item, "{\"pk\":{\"S\":\"d1\"},\"a\":{\"S\":\"x\"}}");
}

/* ----------------------------------------------------------------------------------------- key conditions */

static tr_key_condition resolve(const char *expr, const char *values, const tr_key_schema *schema)
{
    tr_expr_env env;
    tr_error err;
    const tr_key_expr *k;
    tr_key_condition c = {0};
    assert_int_equal(read_into(&env, values, false, &err), 0);
    if (tr_key_expr_parse(&env, tr_view_str(expr), &k, &err) < 0 ||
        tr_key_condition_resolve(k, schema, false, &c, &err) < 0)
        fail_msg("%s: %s", expr, err.message);
    return c;
}

static void key_conditions_come_apart(void **state)
{
    (void)state;
    const tr_key_schema one = {
        .hash_count = 1, .range_count = 1, .hash = {{TR_VIEW("pk"), TR_S}}, .range = {{TR_VIEW("sk"), TR_N}}};
    const char *values = "{\":p\":{\"S\":\"x\"},\":a\":{\"N\":\"1\"},\":b\":{\"N\":\"2\"}}";
    tr_key_condition c = resolve("pk = :p", values, &one);
    assert_int_equal(c.hash_count, 1);
    assert_view(c.hash[0].payload, "x");
    assert_int_equal(c.equal_count, 0);
    assert_int_equal(c.op, TR_KEY_NONE);
    c = resolve(":a = sk AND pk = :p", values, &one);
    assert_int_equal(c.equal_count, 1);
    assert_true(tr_value_eq(c.equal[0], value("{\"N\":\"1\"}")));
    assert_int_equal(c.op, TR_KEY_NONE);
    static const struct {
        const char *expr;
        tr_key_op op;
    } turns[] = {{"pk = :p AND sk < :a", TR_KEY_LT},   {"pk = :p AND :a < sk", TR_KEY_GT},
                 {"pk = :p AND sk <= :a", TR_KEY_LE},  {"pk = :p AND :a <= sk", TR_KEY_GE},
                 {"pk = :p AND (sk > :a)", TR_KEY_GT}, {"pk = :p AND :a > sk", TR_KEY_LT},
                 {"(pk = :p AND sk >= :a)", TR_KEY_GE}};
    for (size_t i = 0; i < TR_COUNT(turns); i++) {
        c = resolve(turns[i].expr, values, &one);
        assert_int_equal(c.op, turns[i].op);
        assert_int_equal(c.equal_count, 0);
        assert_true(tr_value_eq(c.low, value("{\"N\":\"1\"}")));
    }
    c = resolve("pk = :p AND sk BETWEEN :a AND :b", values, &one);
    assert_int_equal(c.op, TR_KEY_BETWEEN);
    assert_true(tr_value_eq(c.low, value("{\"N\":\"1\"}")));
    assert_true(tr_value_eq(c.high, value("{\"N\":\"2\"}")));
}

static void key_conditions_fit_several_attributes(void **state)
{
    (void)state;
    const tr_key_schema many = {
        .hash_count = 2,
        .range_count = 3,
        .hash = {{TR_VIEW("h1"), TR_S}, {TR_VIEW("h2"), TR_N}},
        .range = {{TR_VIEW("r1"), TR_S}, {TR_VIEW("r2"), TR_N}, {TR_VIEW("r3"), TR_S}}};
    const char *values =
        "{\":s\":{\"S\":\"x\"},\":t\":{\"S\":\"y\"},\":a\":{\"N\":\"1\"},\":b\":{\"N\":\"2\"}}";
    tr_key_condition c =
        resolve("r2 = :b AND h2 = :a AND begins_with(r3, :t) AND r1 = :t AND h1 = :s", values, &many);
    assert_int_equal(c.hash_count, 2);
    assert_view(c.hash[0].payload, "x");
    assert_true(tr_value_eq(c.hash[1], value("{\"N\":\"1\"}")));
    assert_int_equal(c.equal_count, 2);
    assert_view(c.equal[0].payload, "y");
    assert_true(tr_value_eq(c.equal[1], value("{\"N\":\"2\"}")));
    assert_int_equal(c.op, TR_KEY_BEGINS_WITH);
    assert_view(c.low.payload, "y");
}

static void legacy_key_conditions_resolve(void **state)
{
    (void)state;
    const tr_key_schema one = {
        .hash_count = 1, .range_count = 1, .hash = {{TR_VIEW("pk"), TR_S}}, .range = {{TR_VIEW("sk"), TR_N}}};
    tr_key_test tests[] = {{TR_VIEW("sk"), TR_KEY_UNSUPPORTED, {{0}, {0}}},
                           {TR_VIEW("pk"), TR_KEY_EQ, {value("{\"S\":\"x\"}"), {0}}}};
    tr_key_expr expr = {.tests = tests, .count = 2};
    tr_key_condition c;
    tr_error err;
    assert_int_equal(tr_key_condition_resolve(&expr, &one, true, &c, &err), TR_EINVAL);
    assert_string_equal(err.message, "Attempted conditional constraint is not an indexable operation");
    tests[0] = (tr_key_test){TR_VIEW("sk"), TR_KEY_GT, {value("{\"N\":\"7\"}"), {0}}};
    assert_int_equal(tr_key_condition_resolve(&expr, &one, true, &c, &err), 0);
    assert_int_equal(c.op, TR_KEY_GT);
    expr.count = 1;
    assert_int_equal(tr_key_condition_resolve(&expr, &one, true, &c, &err), TR_EINVAL);
    assert_string_equal(err.message, "Query condition missed key schema element: pk");
}

static void errors_need_no_one_to_listen(void **state)
{
    (void)state;
    tr_expr_env env;
    const tr_condition *c;
    tr_expr_env_init(&env, &arena);
    assert_int_equal(tr_condition_parse(&env, TR_EXPR_CONDITION, TR_VIEW("a ="), &c, NULL), TR_EINVAL);
    assert_int_equal(tr_condition_parse(&env, TR_EXPR_CONDITION, TR_VIEW(""), &c, NULL), TR_EINVAL);
    assert_int_equal(tr_condition_parse(&env, TR_EXPR_CONDITION, TR_VIEW("#a = b"), &c, NULL), TR_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPR_TEST(tells_json_of_the_wrong_type),
        EXPR_TEST(keeps_a_faulty_value_and_reads_on),
        EXPR_TEST(maps_want_expressions),
        EXPR_TEST(finds_one_of_many_placeholders),
        EXPR_TEST(the_last_of_a_repeated_placeholder_counts),
        EXPR_TEST(limits_the_maps),
        EXPR_TEST(knows_reserved_words),
        EXPR_TEST(names_the_attributes_of_a_condition),
        EXPR_TEST(conditions_are_built_without_text),
        EXPR_TEST(depth_of_trees_is_limited),
        EXPR_TEST(long_and_deep_expressions_end_in_errors),
        EXPR_TEST(key_conditions_come_apart),
        EXPR_TEST(key_conditions_fit_several_attributes),
        EXPR_TEST(legacy_key_conditions_resolve),
        EXPR_TEST(errors_need_no_one_to_listen),
    };
    return cmocka_run_group_tests_name("expr", tests, NULL, NULL);
}
