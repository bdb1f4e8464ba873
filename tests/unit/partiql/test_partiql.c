/* SPDX-License-Identifier: MIT */
/* Statements of PartiQL: what is read of them, what is refused with which words, and what they read and
 * write. */
#include "../test.h"

#include "partiql/partiql.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct fixture {
    tr_arena arena;
    tr_buf scratch;
    tr_error err;
} fixture;

static int open_fixture(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    tr_arena_init(&f->arena, (size_t)64 << 20);
    tr_buf_init(&f->scratch, (size_t)16 << 20);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    tr_arena_done(&f->arena);
    tr_buf_done(&f->scratch);
    free(f);
    return 0;
}

static const tr_ql_statement *parsed(fixture *f, const char *text)
{
    const tr_ql_statement *s = NULL;
    int e = tr_ql_parse(&f->arena, &f->scratch, tr_view_str(text), NULL, 0, &s, &f->err);
    if (e)
        fail_msg("%s: %s", text, f->err.message);
    return s;
}

static const tr_key_schema schema = {
    .hash_count = 1, .range_count = 1, .hash = {{{"pk", 2}, TR_S}}, .range = {{{"sk", 2}, TR_S}}};
static const tr_key_schema wide = {.hash_count = 2,
                                   .range_count = 2,
                                   .hash = {{{"h1", 2}, TR_S}, {{"h2", 2}, TR_N}},
                                   .range = {{{"r1", 2}, TR_S}, {{"r2", 2}, TR_N}}};

static tr_ql_reads reads_of(fixture *f, const char *text, const tr_key_schema *s)
{
    tr_ql_reads reads;
    int e = tr_ql_plan_reads(&f->arena, parsed(f, text), s, &reads, &f->err);
    if (e)
        fail_msg("%s: %s", text, f->err.message);
    return reads;
}

/* ------------------------------------------------------------------------------------------------ parsing */

static void parts_of_a_select_are_read(void **state)
{
    fixture *f = *state;
    const tr_ql_statement *s = parsed(f, "select a, \"b\".c, d['e'][3] from \"my-table\".\"by \"\"x\" where "
                                         "a = 'it''s' /* so */ order by a desc -- x");
    assert_int_equal(s->kind, TR_QL_SELECT);
    assert_true(tr_view_is(s->table, "my-table") && tr_view_is(s->index, "by \"x"));
    assert_int_equal(s->field_count, 3);
    assert_true(tr_view_is(s->fields[0].name, "a") && tr_view_is(s->fields[1].name, "c") &&
                tr_view_is(s->fields[2].name, "e[3]"));
    assert_int_equal(s->fields[2].path.count, 3);
    assert_int_equal(s->where->op, TR_COND_EQ);
    assert_true(tr_view_is(s->where->operands[1].value.payload, "it's"));
    assert_true(s->order_count == 1 && s->orders[0].descending);
}

static void literals_become_values(void **state)
{
    fixture *f = *state;
    const tr_ql_statement *s =
        parsed(f, "INSERT INTO t VALUE {'s':'x','n':-1.50e1,'t':TRUE,'f':false,'z':NULL,'l':[1,'a',[]],"
                  "'m':{'k':{'d':<<2,1>>}},'ss':<<'b','a'>>}");
    tr_item expected;
    assert_int_equal(
        tr_item_from_json(
            tr_view_str("{\"s\":{\"S\":\"x\"},\"n\":{\"N\":\"-15\"},\"t\":{\"BOOL\":true},\"f\":{"
                        "\"BOOL\":false},\"z\":{\"NULL\":true},\"l\":{\"L\":[{\"N\":\"1\"},{"
                        "\"S\":\"a\"},{\"L\":[]}]},\"m\":{\"M\":{\"k\":{\"M\":{\"d\":{\"NS\":["
                        "\"1\",\"2\"]}}}}},\"ss\":{\"SS\":[\"a\",\"b\"]}}"),
            &f->arena, &expected, &f->err),
        0);
    assert_true(tr_view_eq(s->item, expected));
    assert_int_equal(tr_item_check(s->item), 0);
}

static void parameters_are_put_in_by_place(void **state)
{
    fixture *f = *state;
    const tr_value values[] = {{TR_S, TR_VIEW("one")}, {TR_S, TR_VIEW("two")}, {TR_S, TR_VIEW("three")}};
    const tr_ql_statement *s;
    assert_int_equal(tr_ql_parse(&f->arena, &f->scratch, TR_VIEW("UPDATE t SET a=? WHERE pk=? AND sk=?"),
                                 values, 3, &s, &f->err),
                     0);
    tr_ql_target target;
    assert_int_equal(tr_ql_plan_target(&f->arena, &f->scratch, s, &schema, &target, &f->err), 0);
    tr_value v;
    assert_int_equal(tr_item_get(target.key, TR_VIEW("pk"), &v), 0);
    assert_true(tr_view_is(v.payload, "two"));
    assert_int_equal(tr_item_get(target.key, TR_VIEW("sk"), &v), 0);
    assert_true(tr_view_is(v.payload, "three"));
    assert_int_equal(tr_ql_parse(&f->arena, &f->scratch, TR_VIEW("SELECT * FROM t WHERE pk=? AND sk=?"),
                                 values, 1, &s, &f->err),
                     TR_EINVAL);
    assert_string_equal(f->err.message, "Number of parameters in request and statement don't match.");
}

static const struct {
    const char *text, *message;
} refusals[] = {
    {"SELECT a AS b FROM t", "Aliasing is not supported"},
    {"SELECT a FROM t x", "Aliasing is not supported"},
    {"SELECT a, b, a FROM t", "Duplicate identifiers in select clause: a"},
    {"SELECT COUNT(*) FROM t", "Unexpected path component at 1:8:5"},
    {"SELECT a FROM t, u", "Only select from a single table or index is supported."},
    {"SELECT a FROM t LIMIT 5", "Unsupported clause: LIMIT at 1:23:1"},
    {"SELECT a FROM t GROUP BY a", "Unsupported clause: GROUP BY"},
    {"SELECT DISTINCT a FROM t", "Unsupported token in expression: DISTINCT"},
    {"SELECT a.* FROM t", "Changing item's hierarchy while reading isn't supported"},
    {"SELECT a[-1] FROM t", "List index is not within the allowable range; index: [-1] at 1:11:1"},
    {"SELECT a FROM t ORDER BY a", "Must have WHERE clause in the statement when using ORDER BY clause."},
    {"SELECT a FROM t WHERE a", "WHERE clause must contain an expression that resolves to a boolean"},
    {"SELECT a FROM t WHERE a = 1 AND b", "The arguments to AND/OR must be Expressions"},
    {"SELECT a FROM t WHERE a = MISSING", "MISSING must be compared using IS operator"},
    {"SELECT a FROM t WHERE a LIKE 'x'", "Unsupported operator in Condition Expression. Operator: like"},
    {"SELECT a FROM t WHERE a + 1 = 2", "Unsupported operator in Condition Expression. Operator: +"},
    {"SELECT a FROM t WHERE foo(a)", "Unrecognized function: foo"},
    {"SELECT a FROM t WHERE begins_with(a)", "Incorrect number of operands for operator or function; "
                                             "operator or function: begins_with, number of operands: 1"},
    {"SELECT a FROM t WHERE begins_with(a, 1)",
     "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N"},
    {"SELECT a FROM t WHERE a = a", "The first operand must be distinct from the remaining operands for this "
                                    "operator or function; operator: =, first "
                                    "operand: [a]"},
    {"SELECT a FROM t WHERE a BETWEEN 3 AND 1",
     "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound "
     "operand: "
     "AttributeValue: {N:3}, upper bound operand: AttributeValue: {N:1}"},
    {"SELECT a FROM t WHERE attribute_type(a, 'Q')",
     "Invalid attribute type name found; type: Q, valid types: {N,BS,L,B,NULL,M,S,SS,NS,BOOL}"},
    {"SELECT a FROM t WHERE a IN []",
     "IN operator must have a left hand argument of type Variable Reference"},
    {"SELECT a FROM t WHERE EXISTS(SELECT * FROM t)", "Unsupported token in expression: SELECT at 1:30:6"},
    {"INSERT INTO t VALUE {'a':<<>>}", "Empty bags are not supported at 1:26:2"},
    {"INSERT INTO t VALUE {'a':<<1,1>>}", "Input collection contains duplicates"},
    {"INSERT INTO t VALUE {'a':<<1,'b'>>}",
     "Unsupported data type in Bag. DynamoDB only supports either numbers or strings in bags"},
    {"INSERT INTO t VALUE {'a':1,'a':2}", "Duplicate keys in tuple. Key: a under root at 1:28:3"},
    {"INSERT INTO t VALUE {a:1}",
     "Tuple keys must be of type String. Actual type: VariableReference under root at 1:22:1"},
    {"INSERT INTO t VALUE {'a':b}", "Unsupported data type: b under key root at 1:26:1"},
    {"INSERT INTO t VALUE {'a':1+1}", "Unsupported data type: + under key root at 1:27:1"},
    {"INSERT INTO t VALUE 5", "Unsupported format in item expression."},
    {"INSERT INTO t {'a':1}", "Unsupported operation: InsertOp"},
    {"INSERT INTO t.i VALUE {'a':1}", "FROM clause may only contain a single table name"},
    {"INSERT INTO t VALUE {'a':1} RETURNING ALL OLD *", "RETURNING is not supported in INSERT"},
    {"INSERT INTO t VALUE {'a':12345678901234567890123456789012345678901}",
     "DynamoDB only supports precision up to 38 digits"},
    {"INSERT INTO t VALUE {'a':1e400}", "Number overflow."},
    {"UPDATE t SET a=1, a=2", "Two document paths overlap with each other"},
    {"UPDATE t SET a=b*2", "Unsupported operator in Update Expression. Operator: *"},
    {"UPDATE t SET a=b+'x'",
     "Incorrect operand type for operator or function; operator or function: +, operand type: S"},
    {"UPDATE t SET a=size(b)", "The function is not allowed in an update expression; function: size"},
    {"UPDATE t SET a=set_add(b,<<1>>)", "The first argument to SET_ADD must equal the assignment value"},
    {"UPDATE t SET a=set_add(a,1)", "The second argument to SET_ADD must be a value with type SET at 1:24:1"},
    {"UPDATE t.i SET a=1", "This operation is not supported on an index"},
    {"UPDATE t SET a=1 RETURNING ALL OLD a",
     "Expected '*' after ( MODIFIED | ALL ) ( NEW | OLD ) in RETURNING clause"},
    {"DELETE FROM t RETURNING ALL NEW *", "Invalid returning clause: RETURNING ALL NEW *."},
    {"CREATE TABLE t", "Unsupported operation: CreateTable"},
    {"garbage", "Unsupported operation: VariableReference"},
    {"1", "Unsupported operation: Literal"},
    /* syntax errors come before all of the above */
    {"SELECT a AS b FROM t WHERE",
     "Statement wasn't well formed, can't be processed: SELECT a AS b FROM t WHERE"},
    {"", "Statement wasn't well formed"},
    {"SELECTT * FROMM t", "Statement wasn't well formed"},
    {"SELECT FROM t", "Statement wasn't well formed"},
    {"SELECT * FROM t WHERE (a = 1", "Statement wasn't well formed"},
    {"SELECT * FROM t WHERE a = 1)", "Statement wasn't well formed"},
    {"SELECT * FROM t WHERE a = 'x", "Statement wasn't well formed"},
    {"SELECT count FROM t", "Statement wasn't well formed"},
    {"SELECT * FROM t; SELECT 1", "Statement wasn't well formed"},
    {"UPDATE t REMOVE a, b", "Statement wasn't well formed"},
    {"UPDATE t WHERE a = 1", "Statement wasn't well formed"},
    {"INSERT INTO t VALUES {'a':1}", "Statement wasn't well formed"},
    {"SELECT * FROM t WHERE a = 1x", "Statement wasn't well formed"},
    {"SELECT * FROM t WHERE a = `x`", "Statement wasn't well formed"},
    {"SELECT /* never ends", "Statement wasn't well formed"},
};

static void what_is_refused_is_told_as_the_service_tells_it(void **state)
{
    fixture *f = *state;
    for (size_t i = 0; i < TR_COUNT(refusals); i++) {
        const tr_ql_statement *s;
        int e = tr_ql_parse(&f->arena, &f->scratch, tr_view_str(refusals[i].text), NULL, 0, &s, &f->err);
        if (e != TR_EINVAL || strncmp(f->err.message, refusals[i].message, strlen(refusals[i].message)) != 0)
            fail_msg("%s: %d %s", refusals[i].text, e, e ? f->err.message : "");
        assert_string_equal(f->err.type, "ValidationException");
        tr_arena_reset(&f->arena);
    }
}

/* Repeats a piece before and after a middle. */
static const char *nested(fixture *f, const char *before, const char *open, const char *middle,
                          const char *close, const char *after, int n)
{
    tr_buf_reset(&f->scratch);
    tr_buf_put_str(&f->scratch, before);
    for (int i = 0; i < n; i++)
        tr_buf_put_str(&f->scratch, open);
    tr_buf_put_str(&f->scratch, middle);
    for (int i = 0; i < n; i++)
        tr_buf_put_str(&f->scratch, close);
    tr_buf_put_str(&f->scratch, after);
    return tr_arena_str(&f->arena, tr_buf_view(&f->scratch));
}

static void depth_is_bounded(void **state)
{
    static const char *const forms[][5] = {
        {"SELECT * FROM t WHERE ", "(", "a=1", ")", ""},
        {"SELECT * FROM t WHERE ", "NOT ", "a=1", "", ""},
        {"SELECT * FROM t WHERE ", "f(", "a", ")", ""},
        {"SELECT * FROM t WHERE a=", "[", "1", "]", ""},
        {"SELECT * FROM t WHERE a=", "{'a':", "1", "}", ""},
        {"INSERT INTO t VALUE {'a':", "(", "1", ")", "}"},
        {"INSERT INTO t VALUE {'a':", "<<[", "1", "]>>", "}"},
        {"UPDATE t SET a=", "(", "1", ")", ""},
        {"SELECT * FROM t WHERE EXISTS", "(SELECT * FROM t WHERE EXISTS", "x", ")", ""},
        {"UPDATE t SET a=", "if_not_exists(a,", "1", ")", ""},
        {"INSERT INTO t VALUE {'a':", "1+", "1", "", "}"}};
    fixture *f = *state;
    for (size_t i = 0; i < TR_COUNT(forms); i++) {
        const char *const *p = forms[i];
        size_t piece = strlen(p[1]) + strlen(p[3]);
        int most = (int)((TR_QL_TEXT_MAX - 100) / piece);
        const tr_ql_statement *s;
        for (int n = 1; n <= most; n = n * 3 + 1) {
            const char *text = nested(f, p[0], p[1], p[2], p[3], p[4], n < most ? n : most);
            int e = tr_ql_parse(&f->arena, &f->scratch, tr_view_str(text), NULL, 0, &s, &f->err);
            assert_true(e == 0 || e == TR_EINVAL);
            if (n > 500)
                assert_int_equal(e, TR_EINVAL);
            tr_arena_reset(&f->arena);
        }
    }
}

/* ----------------------------------------------------------------------------------------------- planning */

static void keys_in_where_become_ranges(void **state)
{
    fixture *f = *state;
    tr_ql_reads r = reads_of(f, "SELECT * FROM t WHERE pk='a'", &schema);
    assert_true(r.count == 1 && !r.filter && !r.single && r.ranges[0].op == TR_KEY_NONE);
    r = reads_of(f, "SELECT * FROM t WHERE 'a'=pk AND sk='b'", &schema);
    assert_true(r.count == 1 && !r.filter && r.single && r.ranges[0].equal_count == 1);
    r = reads_of(f, "SELECT * FROM t WHERE pk='a' AND 'b' < sk", &schema);
    assert_true(r.count == 1 && !r.filter && r.ranges[0].op == TR_KEY_GT);
    r = reads_of(f, "SELECT * FROM t WHERE pk='a' AND begins_with(sk,'b')", &schema);
    assert_true(r.count == 1 && !r.filter && r.ranges[0].op == TR_KEY_BEGINS_WITH);
    r = reads_of(f, "SELECT * FROM t WHERE sk>='b' AND pk='a' AND sk<='d'", &schema);
    assert_true(r.count == 1 && !r.filter && r.ranges[0].op == TR_KEY_BETWEEN);
    r = reads_of(f, "SELECT * FROM t WHERE sk>'b' AND pk='a' AND sk<'d'", &schema);
    assert_true(r.count == 1 && r.filter && r.ranges[0].op == TR_KEY_BETWEEN);
    r = reads_of(f, "SELECT * FROM t WHERE pk IN ['c','a','c'] AND sk IN ('2','1')", &schema);
    assert_int_equal(r.count, 4);
    assert_true(!r.filter && tr_view_is(r.ranges[0].hash[0].payload, "a") &&
                tr_view_is(r.ranges[0].equal[0].payload, "1") &&
                tr_view_is(r.ranges[3].hash[0].payload, "c"));
    r = reads_of(f, "SELECT * FROM t WHERE pk IN ['c','a'] ORDER BY pk DESC, sk DESC", &schema);
    assert_true(r.count == 2 && r.backward && tr_view_is(r.ranges[0].hash[0].payload, "c"));
    r = reads_of(f, "SELECT * FROM t WHERE (pk='a' AND n=1) OR (pk='b' AND sk='x')", &schema);
    assert_true(r.count == 2 && r.filter);
    r = reads_of(f, "SELECT * FROM t WHERE (pk='a' OR pk='b') AND pk='a'", &schema);
    assert_true(r.filter != NULL);
    r = reads_of(f, "SELECT * FROM t WHERE pk='a' OR n=1", &schema);
    assert_true(r.count == 0 && r.filter);
    r = reads_of(f, "SELECT * FROM t WHERE NOT pk='a'", &schema);
    assert_true(r.count == 0 && r.filter);
    r = reads_of(f, "SELECT * FROM t WHERE pk=sk", &schema);
    assert_true(r.count == 0 && r.filter);
    r = reads_of(f, "SELECT * FROM t", &schema);
    assert_true(r.count == 0 && !r.filter);
}

static void keys_of_several_attributes_become_ranges(void **state)
{
    fixture *f = *state;
    tr_ql_reads r = reads_of(f, "SELECT * FROM t.i WHERE h1='a' AND h2=1 AND r1='x' AND r2>5", &wide);
    assert_true(r.count == 1 && !r.filter && !r.single && r.ranges[0].hash_count == 2 &&
                r.ranges[0].equal_count == 1 && r.ranges[0].op == TR_KEY_GT);
    r = reads_of(f, "SELECT * FROM t.i WHERE h1='a' AND h2 IN [1,2] AND r2>5", &wide);
    assert_true(r.count == 2 && r.filter && r.ranges[0].equal_count == 0 && r.ranges[0].op == TR_KEY_NONE);
    r = reads_of(f, "SELECT * FROM t.i WHERE h1='a'", &wide);
    assert_true(r.count == 0 && r.filter);
}

/* Whatever the plan, an item is in a range and passes its filter exactly if WHERE holds for it. */
static bool in_range(const tr_key_condition *k, tr_item item)
{
    tr_value pk, sk;
    assert_int_equal(tr_item_get(item, TR_VIEW("pk"), &pk), 0);
    assert_int_equal(tr_item_get(item, TR_VIEW("sk"), &sk), 0);
    if (!tr_value_eq(pk, k->hash[0]) || (k->equal_count && !tr_value_eq(sk, k->equal[0])))
        return false;
    if (k->op == TR_KEY_NONE)
        return true;
    int low = tr_value_cmp(sk, k->low);
    switch (k->op) {
    case TR_KEY_LT:
        return low < 0;
    case TR_KEY_LE:
        return low <= 0;
    case TR_KEY_GT:
        return low > 0;
    case TR_KEY_GE:
        return low >= 0;
    case TR_KEY_BETWEEN:
        return low >= 0 && tr_value_cmp(sk, k->high) <= 0;
    default:
        assert_int_equal(k->op, TR_KEY_BEGINS_WITH);
        return tr_view_starts(sk.payload, k->low.payload);
    }
}

static void random_where(tr_rng *rng, tr_buf *out, unsigned depth)
{
    static const char *const tests[] = {"pk='a'",
                                        "pk IN ['a','c']",
                                        "sk='1'",
                                        "sk<'2'",
                                        "sk>='1'",
                                        "sk<='1'",
                                        "begins_with(sk,'1')",
                                        "sk IN ('0','11')",
                                        "'1'<sk",
                                        "n=1",
                                        "pk='b'",
                                        "sk>'0'",
                                        "n<>1",
                                        "sk BETWEEN '1' AND '2'",
                                        "pk<>'a'",
                                        "attribute_exists(n)"};
    uint64_t what = tr_rng_below(rng, depth ? 8 : 4);
    if (what < 4) {
        tr_buf_put_str(out, tests[tr_rng_below(rng, TR_COUNT(tests))]);
        return;
    }
    tr_buf_put_str(out, what == 4 ? "(NOT " : "(");
    random_where(rng, out, depth - 1);
    if (what > 4) {
        tr_buf_put_str(out, what == 5 ? " OR " : " AND ");
        random_where(rng, out, depth - 1);
    }
    tr_buf_putc(out, ')');
}

static void check_plan(fixture *f, const char *text)
{
    const tr_ql_statement *s = parsed(f, text);
    const tr_condition *where;
    tr_ql_reads r = reads_of(f, text, &schema);
    assert_int_equal(tr_condition_of(&f->arena, s->where, &where), 0);
    for (int i = 0; i < 3 * 5 * 3; i++) {
        static const char *const sks[] = {"0", "1", "11", "2", "3"};
        char json[128];
        tr_item item;
        (void)snprintf(json, sizeof json, "{\"pk\":{\"S\":\"%c\"},\"sk\":{\"S\":\"%s\"}%s}", 'a' + i % 3,
                       sks[i / 3 % 5],
                       i / 15 == 0   ? ""
                       : i / 15 == 1 ? ",\"n\":{\"N\":\"1\"}"
                                     : ",\"n\":{\"N\":\"2\"}");
        assert_int_equal(tr_item_from_json(tr_view_str(json), &f->arena, &item, &f->err), 0);
        unsigned times = r.count == 0;
        for (uint32_t k = 0; k < r.count; k++)
            times += in_range(&r.ranges[k], item);
        if (r.filter && !tr_condition_eval(r.filter, item))
            times = 0;
        if (times != (unsigned)tr_condition_eval(where, item))
            fail_msg("%s: %s is given %u times", text, json, times);
    }
}

static void plans_read_exactly_what_where_says(void **state)
{
    fixture *f = *state;
    tr_rng rng;
    tr_rng_seed(&rng, 7);
    tr_buf text;
    tr_buf_init(&text, 4096);
    for (int i = 0; i < 2000; i++) {
        tr_buf_reset(&text);
        tr_buf_put_str(&text, "SELECT * FROM t WHERE ");
        random_where(&rng, &text, 3);
        check_plan(f, tr_buf_cstr(&text));
        tr_arena_reset(&f->arena);
    }
    tr_buf_done(&text);
}

static void key_values_must_fit_the_table(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {{"SELECT * FROM t WHERE pk=1",
                  "Key attribute's data type should match its data type in table's schema: Key pk"},
                 {"SELECT * FROM t WHERE pk='a' AND sk>1",
                  "Key attribute's data type should match its data type in table's schema: Key sk"},
                 {"SELECT * FROM t WHERE pk=''",
                  "One or more parameter values are not valid. The AttributeValue for a key attribute "
                  "cannot contain an empty string value. Key: pk"},
                 {"SELECT * FROM t WHERE pk='a' ORDER BY n",
                  "Variable reference n in ORDER BY clause must be part of the primary key"},
                 {"SELECT * FROM t WHERE n=1 ORDER BY sk",
                  "Must have at least one non-optional hash key condition in "
                  "WHERE clause when using ORDER BY clause."}};
    static const char *const targets[] = {"",
                                          " WHERE pk='a'",
                                          " WHERE pk='a' AND sk>'b'",
                                          " WHERE pk='a' OR sk='b'",
                                          " WHERE pk IN ['a'] AND sk='b'",
                                          " WHERE NOT (pk='a' AND sk='b')"};
    fixture *f = *state;
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_ql_reads reads;
        assert_int_equal(tr_ql_plan_reads(&f->arena, parsed(f, cases[i].text), &schema, &reads, &f->err),
                         TR_EINVAL);
        assert_string_equal(f->err.message, cases[i].message);
    }
    for (size_t i = 0; i < TR_COUNT(targets); i++) {
        char text[128];
        tr_ql_target target;
        (void)snprintf(text, sizeof text, "DELETE FROM t%s", targets[i]);
        assert_int_equal(
            tr_ql_plan_target(&f->arena, &f->scratch, parsed(f, text), &schema, &target, &f->err), TR_EINVAL);
        assert_string_equal(f->err.message,
                            "Where clause does not contain a mandatory equality on all key attributes");
    }
    tr_ql_target target;
    const tr_ql_statement *s = parsed(f, "DELETE FROM t WHERE pk='a' AND sk='b' AND pk='c'");
    assert_int_equal(tr_ql_plan_target(&f->arena, &f->scratch, s, &schema, &target, &f->err), TR_EINVAL);
    assert_non_null(strstr(f->err.message, "Multiple conditions on same key pk."));
}

/* ------------------------------------------------------------------------------------------------- memory */

static size_t until_failure;

static void *failing_realloc(void *ptr, size_t size)
{
    if (until_failure && --until_failure == 0)
        return NULL;
    return realloc(ptr, size);
}

static void running_out_of_memory_is_told(void **state)
{
    static const char *const texts[] = {
        "SELECT a, b.c[1] FROM t.i WHERE pk IN ['a','b'] AND (sk='c' OR NOT sk IS MISSING) ORDER BY sk",
        "INSERT INTO t VALUE {'pk':'it''s','sk':'x','l':[1,{'k':<<'a','b'>>}]}",
        "UPDATE t SET a=if_not_exists(a,1)+2, s=set_add(s,<<1>>) REMOVE c.d WHERE pk='a' AND sk='b' AND x>3"};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(texts); i++) {
        int e = TR_ENOMEM;
        for (size_t n = 1; e == TR_ENOMEM; n++) {
            tr_arena arena;
            tr_buf scratch;
            tr_error err;
            const tr_ql_statement *s;
            assert_true(n < 1000);
            until_failure = n;
            tr_set_allocator(failing_realloc, free);
            tr_arena_init(&arena, (size_t)1 << 20);
            tr_buf_init(&scratch, (size_t)1 << 20);
            e = tr_ql_parse(&arena, &scratch, tr_view_str(texts[i]), NULL, 0, &s, &err);
            until_failure = 0;
            if (e)
                assert_int_equal(err.code, TR_ENOMEM);
            tr_arena_done(&arena);
            tr_buf_done(&scratch);
        }
        assert_int_equal(e, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parts_of_a_select_are_read, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(literals_become_values, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(parameters_are_put_in_by_place, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(what_is_refused_is_told_as_the_service_tells_it, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(depth_is_bounded, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(keys_in_where_become_ranges, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(keys_of_several_attributes_become_ranges, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(plans_read_exactly_what_where_says, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(key_values_must_fit_the_table, open_fixture, close_fixture),
        cmocka_unit_test(running_out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
