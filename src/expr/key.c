/* SPDX-License-Identifier: MIT */
/*
 * Key conditions: parsed as conditions, taken apart into one test for each attribute, then fitted to a
 * table's or index's key.
 */
#include "internal.h"

#include <stdio.h>

/* ------------------------------------------------------------------------------------------- taking apart */

typedef struct taker {
    tr_arena *arena;
    tr_key_test *tests;
    uint32_t count, cap;
    const char *fault;
    int status;
} taker;

static bool fault(taker *t, const char *text)
{
    t->fault = text;
    return false;
}

static const char *op_name(tr_cond_op op)
{
    static const char *const names[] = {[TR_COND_AND] = "AND",
                                        [TR_COND_OR] = "OR",
                                        [TR_COND_NOT] = "NOT",
                                        [TR_COND_NE] = "<>",
                                        [TR_COND_BETWEEN] = "BETWEEN",
                                        [TR_COND_IN] = "IN",
                                        [TR_COND_EXISTS] = "attribute_exists",
                                        [TR_COND_NOT_EXISTS] = "attribute_not_exists",
                                        [TR_COND_TYPE] = "attribute_type",
                                        [TR_COND_BEGINS_WITH] = "begins_with",
                                        [TR_COND_CONTAINS] = "contains"};
    return op < (tr_cond_op)TR_COUNT(names) && names[op] ? names[op] : "";
}

/* Texts that name an operator are made in the arena. */
static bool fault_of(taker *t, const char *format, tr_cond_op op)
{
    char text[128];
    (void)snprintf(text, sizeof text, format, op_name(op));
    t->fault = tr_arena_str(t->arena, tr_view_str(text));
    if (!t->fault)
        t->status = TR_ENOMEM;
    return false;
}

static tr_key_op key_op(tr_cond_op op)
{
    switch (op) {
    case TR_COND_EQ:
        return TR_KEY_EQ;
    case TR_COND_LT:
        return TR_KEY_LT;
    case TR_COND_LE:
        return TR_KEY_LE;
    case TR_COND_GT:
        return TR_KEY_GT;
    case TR_COND_GE:
        return TR_KEY_GE;
    case TR_COND_BETWEEN:
        return TR_KEY_BETWEEN;
    case TR_COND_BEGINS_WITH:
        return TR_KEY_BEGINS_WITH;
    default:
        return TR_KEY_UNSUPPORTED;
    }
}

/* `:v < key` is `key > :v`. */
static tr_key_op turned(tr_key_op op)
{
    switch (op) {
    case TR_KEY_LT:
        return TR_KEY_GT;
    case TR_KEY_LE:
        return TR_KEY_GE;
    case TR_KEY_GT:
        return TR_KEY_LT;
    case TR_KEY_GE:
        return TR_KEY_LE;
    default:
        return op;
    }
}

static bool add_test(taker *t, tr_key_test test)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (tr_view_eq(t->tests[i].name, test.name))
            return fault(t, "KeyConditionExpressions must only contain one condition per key");
    if (t->count == t->cap) {
        uint32_t cap = t->cap ? t->cap * 2 : 4;
        tr_key_test *tests = tr_arena_alloc(t->arena, cap * sizeof *tests);
        if (!tests) {
            t->status = TR_ENOMEM;
            return false;
        }
        if (t->count)
            memcpy(tests, t->tests, t->count * sizeof *tests);
        t->tests = tests;
        t->cap = cap;
    }
    t->tests[t->count++] = test;
    return true;
}

/* A comparison, BETWEEN or begins_with of one attribute and values. */
static bool take_test(taker *t, const tr_cond *cond)
{
    tr_key_test test = {.op = key_op(cond->op)};
    if (test.op == TR_KEY_UNSUPPORTED)
        return fault_of(t, "Invalid operator used in KeyConditionExpression: %s", cond->op);
    bool first_only = test.op == TR_KEY_BETWEEN || test.op == TR_KEY_BEGINS_WITH;
    if (first_only && cond->operands[0].kind != TR_OPERAND_PATH)
        return fault_of(
            t,
            "Invalid condition in KeyConditionExpression: %s operator must have the key attribute as "
            "its first operand",
            cond->op);
    uint32_t values = 0;
    for (uint32_t i = 0; i < cond->count; i++) {
        const tr_operand *o = &cond->operands[i];
        if (o->kind == TR_OPERAND_SIZE)
            return fault(t, "KeyConditionExpressions cannot contain nested operations");
        if (o->kind == TR_OPERAND_VALUE) {
            test.values[values++ & 1] = o->value;
            continue;
        }
        if (test.name.ptr)
            return fault(t,
                         "Invalid condition in KeyConditionExpression: Multiple attribute names used in one "
                         "condition");
        if (o->path.count > 1)
            return fault(t, "KeyConditionExpressions cannot have conditions on nested attributes");
        test.name = o->path.parts[0].name;
        if (i > 0)
            test.op = turned(test.op);
    }
    if (!test.name.ptr)
        return fault(t, "Invalid condition in KeyConditionExpression: No key attribute specified");
    return add_test(t, test);
}

/* No deeper than TR_EXPR_DEPTH_MAX. */
static bool take(taker *t, const tr_cond *cond)
{
    if (cond->op != TR_COND_AND)
        return take_test(t, cond);
    for (uint32_t i = 0; i < cond->count; i++)
        if (!take(t, cond->children[i]))
            return false;
    return true;
}

int tr_key_expr_parse(tr_expr_env *env, tr_view text, const tr_key_expr **ret_expr, tr_error *err)
{
    const tr_condition *condition;
    int r = tr_condition_parse(env, TR_EXPR_KEY_CONDITION, text, &condition, err);
    if (r < 0)
        return r;
    taker t = {.arena = env->arena};
    (void)take(&t, condition->root);
    tr_key_expr *expr = tr_arena_alloc(env->arena, sizeof *expr);
    if (!expr || t.status < 0)
        return tr__expr_nomem(err);
    *expr = (tr_key_expr){.tests = t.tests, .count = t.count, .fault = t.fault};
    *ret_expr = expr;
    return 0;
}

int tr_key_expr_check(const tr_key_expr *expr, tr_error *err)
{
    return expr->fault ? tr__expr_fail(err, "%s", expr->fault) : 0;
}

/* --------------------------------------------------------------------------------------- fitting to a key */

typedef struct fitter {
    const tr_key_expr *expr;
    const tr_key_schema *schema;
    tr_error *err;
} fitter;

static const tr_key_test *test_of(const fitter *f, tr_view name)
{
    for (uint32_t i = 0; i < f->expr->count; i++)
        if (tr_view_eq(f->expr->tests[i].name, name))
            return &f->expr->tests[i];
    return NULL;
}

static int missed(const fitter *f, tr_view name)
{
    return tr__expr_fail(f->err, "Query condition missed key schema element: %.*s", TR_FMT(name));
}

static int unsupported(const fitter *f)
{
    return tr__expr_fail(f->err, "Query key condition not supported");
}

static int not_indexable(const fitter *f)
{
    return tr__expr_fail(f->err, "Attempted conditional constraint is not an indexable operation");
}

static uint32_t operands_of(tr_key_op op)
{
    return op == TR_KEY_BETWEEN ? 2 : op == TR_KEY_UNSUPPORTED ? 0 : 1;
}

static int check_type(const fitter *f, const tr_key_part *part, const tr_key_test *test)
{
    for (uint32_t i = 0; i < operands_of(test->op); i++)
        if (test->values[i].type != part->type)
            return tr__expr_fail(f->err,
                                 "One or more parameter values were invalid: Condition parameter type "
                                 "does not match schema type");
    return 0;
}

static int check_empty(const fitter *f, const tr_key_part *part, const tr_key_test *test)
{
    tr_view index = f->schema->index_name;
    for (uint32_t i = 0; i < operands_of(test->op); i++) {
        if (test->values[i].payload.len > 0)
            continue;
        const char *what = part->type == TR_B ? "binary" : "string";
        if (index.len > 0)
            return tr__expr_fail(
                f->err,
                "One or more parameter values are not valid. A value specified for a secondary "
                "index key is not supported. The AttributeValue for a key attribute cannot "
                "contain an empty %s value. IndexName: %.*s, IndexKey: %.*s",
                what, TR_FMT(index), TR_FMT(part->name));
        return tr__expr_fail(
            f->err,
            "One or more parameter values are not valid. The AttributeValue for a key attribute "
            "cannot contain an empty %s value. Key: %.*s",
            what, TR_FMT(part->name));
    }
    return 0;
}

static void take_range(tr_key_condition *condition, const tr_key_test *test)
{
    if (test->op == TR_KEY_EQ) {
        condition->equal[condition->equal_count++] = test->values[0];
        return;
    }
    condition->op = test->op;
    condition->low = test->values[0];
    if (test->op == TR_KEY_BETWEEN)
        condition->high = test->values[1];
}

/* One partition key attribute, at most one sort key attribute. */
static int fit_single(const fitter *f, tr_key_condition *condition)
{
    const tr_key_part *hash = &f->schema->hash[0];
    if (f->expr->count > 2)
        return tr__expr_fail(f->err, "Conditions can be of length 1 or 2 only");
    if (f->schema->range_count == 0 && f->expr->count > 1)
        return unsupported(f);
    const tr_key_test *test = test_of(f, hash->name);
    if (!test)
        return missed(f, hash->name);
    if (test->op == TR_KEY_UNSUPPORTED)
        return not_indexable(f);
    int r = check_type(f, hash, test);
    if (r < 0)
        return r;
    if (test->op != TR_KEY_EQ)
        return unsupported(f);
    if ((r = check_empty(f, hash, test)) < 0)
        return r;
    condition->hash_count = 1;
    condition->hash[0] = test->values[0];
    if (f->expr->count == 1)
        return 0;
    const tr_key_part *range = &f->schema->range[0];
    if (!(test = test_of(f, range->name)))
        return missed(f, range->name);
    if (test->op == TR_KEY_UNSUPPORTED)
        return not_indexable(f);
    if ((r = check_type(f, range, test)) < 0 || (r = check_empty(f, range, test)) < 0)
        return r;
    take_range(condition, test);
    return 0;
}

/*
 * Names of the parts, of the first `count`, that have no equality: "a, b". Those without any condition are
 * told alone, if there are such. Empty if all parts have one.
 */
static void list_unequal(const fitter *f, const tr_key_part *parts, uint32_t count, char *out, size_t size)
{
    size_t len = 0;
    out[0] = 0;
    for (unsigned present = 0; present < 2 && len == 0; present++) {
        for (uint32_t i = 0; i < count && len < size; i++) {
            const tr_key_test *test = test_of(f, parts[i].name);
            if (!test != !present || (test && test->op == TR_KEY_EQ))
                continue;
            int n = snprintf(out + len, size - len, "%s%.*s", len ? ", " : "", TR_FMT(parts[i].name));
            len += n > 0 ? (size_t)n : 0;
        }
    }
}

static int fit_hashes(const fitter *f, tr_key_condition *condition)
{
    const tr_key_schema *s = f->schema;
    char names[TR_ERROR_MESSAGE_MAX / 2];
    list_unequal(f, s->hash, s->hash_count, names, sizeof names);
    if (names[0])
        return tr__expr_fail(
            f->err, "HASH key attributes %s must have equality conditions specified in the query", names);
    for (uint32_t i = 0; i < s->hash_count; i++) {
        const tr_key_test *test = test_of(f, s->hash[i].name);
        int r = check_type(f, &s->hash[i], test);
        if (r < 0 || (r = check_empty(f, &s->hash[i], test)) < 0)
            return r;
        condition->hash[condition->hash_count++] = test->values[0];
    }
    return 0;
}

static int fit_ranges(const fitter *f, tr_key_condition *condition)
{
    const tr_key_schema *s = f->schema;
    uint32_t used = 0; /* range attributes up to the last that has a condition */
    for (uint32_t i = 0; i < s->range_count; i++)
        if (test_of(f, s->range[i].name))
            used = i + 1;
    if (used > 1) {
        char names[TR_ERROR_MESSAGE_MAX / 2];
        list_unequal(f, s->range, used - 1, names, sizeof names);
        if (names[0])
            return tr__expr_fail(
                f->err,
                "RANGE key attributes %s must have equality conditions specified in the query "
                "because a condition is present on key attribute %.*s",
                names, TR_FMT(s->range[used - 1].name));
    }
    for (uint32_t i = 0; i < used; i++) {
        const tr_key_test *test = test_of(f, s->range[i].name);
        int r = test->op == TR_KEY_UNSUPPORTED ? not_indexable(f) : check_type(f, &s->range[i], test);
        if (r < 0 || (r = check_empty(f, &s->range[i], test)) < 0)
            return r;
        take_range(condition, test);
    }
    /* a condition that is left over is one of no key attribute */
    return s->hash_count + used < f->expr->count ? missed(f, s->range[used].name) : 0;
}

static int fit_several(const fitter *f, tr_key_condition *condition)
{
    if (f->expr->count > f->schema->hash_count + f->schema->range_count)
        return unsupported(f);
    int r = fit_hashes(f, condition);
    return r < 0 ? r : fit_ranges(f, condition);
}

int tr_key_condition_resolve(const tr_key_expr *expr, const tr_key_schema *schema, bool legacy,
                             tr_key_condition *ret_condition, tr_error *err)
{
    (void)legacy; /* both are worded alike, as far as is known */
    fitter f = {expr, schema, err};
    tr_key_condition condition = {0};
    int r = tr_key_expr_check(expr, err);
    if (r < 0)
        return r;
    r = schema->hash_count > 1 || schema->range_count > 1 ? fit_several(&f, &condition)
                                                          : fit_single(&f, &condition);
    if (r == 0)
        *ret_condition = condition;
    return r;
}
