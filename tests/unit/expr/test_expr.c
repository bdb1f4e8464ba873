/* SPDX-License-Identifier: MIT */
/* What vectors.jsonl cannot say: the environment, trees without text, what comes of key conditions and
 * updates. */
#include "vector.h"

#include <stdlib.h>

static tr_arena arena;

static int set_up(void **state)
{
    (void)state;
    tr_arena_init(&arena, 256 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tr_arena_done(&arena);
    return 0;
}

static tr_item item(const char *json)
{
    tr_item packed;
    tr_error err;
    if (tr_item_from_json(tr_view_str(json), &arena, &packed, &err) < 0)
        fail_msg("%s: %s", json, err.message);
    return packed;
}

static tr_value value(const char *json)
{
    char *text = tr_arena_printf(&arena, "{\"v\":%s}", json);
    tr_value v;
    assert_int_equal(tr_item_get(item(text), TR_VIEW("v"), &v), 0);
    return v;
}

static void assert_item(tr_item got, const char *json)
{
    tr_buf text;
    tr_buf_init(&text, 1 << 20);
    tr_json_writer w;
    tr_json_write_init(&w, &text);
    tr_item_write(&w, got);
    assert_int_equal(tr_item_check(got), 0);
    if (!tr_view_eq(got, item(json)))
        fail_msg("got  %s\n want %s", tr_buf_cstr(&text), json);
    tr_buf_done(&text);
}

static outcome run(const char *op, const char *expr, const char *names, const char *values, tr_item on)
{
    outcome o;
    vector v = {.op = tr_view_str(op),
                .expr = tr_view_str(expr),
                .names = tr_view_str(names),
                .values = tr_view_str(values),
                .item = on};
    vector_run(&v, &arena, &o);
    return o;
}

static void assert_message(const outcome *o, const char *message)
{
    assert_int_equal(o->code, TR_EINVAL);
    assert_string_equal(o->err.message, message);
}

/* ------------------------------------------------------------------------------------------ placeholders */

static int read_into(tr_expr_env *env, const char *json, bool names, tr_error *err)
{
    tr_json_reader r;
    tr_expr_env_init(env, &arena);
    tr_json_init(&r, tr_view_str(json), &arena);
    (void)tr_json_next(&r);
    return names ? tr_expr_env_read_names(env, &r, err) : tr_expr_env_read_values(env, &r, NULL, err);
}

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

/* ---------------------------------------------------------------------------------------------- conditions
 */

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

/* ------------------------------------------------------------------------------------------ key conditions
 */

static tr_key_condition resolve(const char *expr, const char *values, const tr_key_schema *schema)
{
    tr_expr_env env;
    tr_error err;
    const tr_key_expr *k;
    tr_key_condition c;
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

/* --------------------------------------------------------------------------------------------- projections
 */

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

/* ------------------------------------------------------------------------------------------------- updates
 */

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
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(tells_json_of_the_wrong_type),
        T(keeps_a_faulty_value_and_reads_on),
        T(maps_want_expressions),
        T(finds_one_of_many_placeholders),
        T(the_last_of_a_repeated_placeholder_counts),
        T(limits_the_maps),
        T(knows_reserved_words),
        T(names_the_attributes_of_a_condition),
        T(conditions_are_built_without_text),
        T(depth_of_trees_is_limited),
        T(long_and_deep_expressions_end_in_errors),
        T(key_conditions_come_apart),
        T(key_conditions_fit_several_attributes),
        T(legacy_key_conditions_resolve),
        T(projections_keep_structure),
        T(projections_are_built_without_text),
        T(return_values_are_what_was_touched),
        T(updates_of_nothing),
        T(names_what_an_update_changes),
        T(updates_are_built_without_text),
        T(updates_cannot_grow_without_end),
        T(errors_need_no_one_to_listen),
    };
    return cmocka_run_group_tests_name("expr", tests, NULL, NULL);
}
