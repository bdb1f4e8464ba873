/* SPDX-License-Identifier: MIT */
/*
 * What a statement reads or writes, given the keys of its table or index.
 *
 * A SELECT reads by key where WHERE says which partitions: by `=` or IN of the partition key, at the top or
 * in each branch of an OR. What is said about the sort key at the top narrows that. The condition as a whole
 * is evaluated on what is read, unless the ranges say the same.
 */
#include "partiql/internal.h"

#include <stdlib.h>

/* WHERE as what must all hold. */
typedef struct parts {
    const tr_cond **list;
    uint32_t count, room;
} parts;

static int add_parts(tr_arena *arena, const tr_cond *cond, parts *p)
{
    if (cond->op == TR_COND_AND) {
        int e = 0;
        for (uint32_t i = 0; i < cond->count && e == 0; i++)
            e = add_parts(arena, cond->children[i], p);
        return e;
    }
    if (p->count == p->room) {
        uint32_t room = p->room ? p->room * 2 : 8;
        const tr_cond **list = tr_arena_alloc(arena, room * sizeof(tr_cond *));
        if (!list)
            return TR_ENOMEM;
        if (p->count)
            memcpy(list, p->list, p->count * sizeof(tr_cond *));
        p->list = list;
        p->room = room;
    }
    p->list[p->count++] = cond;
    return 0;
}

/* ---------------------------------------------------------------------------------------- what tests say */

static bool names(const tr_operand *o, tr_view name)
{
    return o->kind == TR_OPERAND_PATH && o->path.count == 1 && tr_view_eq(o->path.parts[0].name, name);
}

/* Whether the test compares the attribute with one value; ret_op as if the attribute stood on the left. */
static bool compares(const tr_cond *cond, tr_view name, tr_cond_op *ret_op, tr_value *ret_value)
{
    static const tr_cond_op turned[] = {
        [TR_COND_EQ] = TR_COND_EQ, [TR_COND_NE] = TR_COND_NE, [TR_COND_LT] = TR_COND_GT,
        [TR_COND_LE] = TR_COND_GE, [TR_COND_GT] = TR_COND_LT, [TR_COND_GE] = TR_COND_LE};
    if (cond->op < TR_COND_EQ || cond->op > TR_COND_GE)
        return false;
    bool left = names(&cond->operands[0], name);
    const tr_operand *other = &cond->operands[left];
    if ((!left && !names(&cond->operands[1], name)) || other->kind != TR_OPERAND_VALUE)
        return false;
    *ret_op = left ? cond->op : turned[cond->op];
    *ret_value = other->value;
    return true;
}

static bool equals(const tr_cond *cond, tr_view name, tr_value *ret_value)
{
    tr_cond_op op;
    return compares(cond, name, &op, ret_value) && op == TR_COND_EQ;
}

/* Values of an attribute, each once. */
typedef struct values {
    tr_value *list;
    uint32_t count, room;
    bool known; /* it is one of these; else it may be anything */
} values;

static int add_value(tr_arena *arena, values *v, tr_value value)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (tr_value_eq(v->list[i], value))
            return 0;
    if (v->count == v->room) {
        uint32_t room = v->room ? v->room * 2 : 4;
        tr_value *list = tr_arena_alloc(arena, room * sizeof *list);
        if (!list)
            return TR_ENOMEM;
        if (v->count)
            memcpy(list, v->list, v->count * sizeof *list);
        v->list = list;
        v->room = room;
    }
    v->list[v->count++] = value;
    return 0;
}

/* What a condition says an attribute must be. The depth of conditions is bounded. */
static int values_of(tr_arena *arena, const tr_cond *cond, tr_view name, values *ret)
{
    tr_value value;
    int e = 0;
    *ret = (values){.known = false};
    if (equals(cond, name, &value)) {
        ret->known = true;
        return add_value(arena, ret, value);
    }
    if (cond->op == TR_COND_IN && names(&cond->operands[0], name)) {
        for (uint32_t i = 1; i < cond->count && e == 0; i++) {
            if (cond->operands[i].kind != TR_OPERAND_VALUE)
                return 0;
            e = add_value(arena, ret, cond->operands[i].value);
        }
        ret->known = true;
        return e;
    }
    if (cond->op == TR_COND_AND) {
        for (uint32_t i = 0; i < cond->count && e == 0 && !ret->known; i++)
            e = values_of(arena, cond->children[i], name, ret);
        return e;
    }
    if (cond->op != TR_COND_OR)
        return 0;
    for (uint32_t i = 0; i < cond->count && e == 0; i++) {
        values branch;
        e = values_of(arena, cond->children[i], name, &branch);
        if (e || !branch.known) {
            ret->known = false;
            return e;
        }
        for (uint32_t k = 0; k < branch.count && e == 0; k++)
            e = add_value(arena, ret, branch.list[k]);
    }
    ret->known = true;
    return e;
}

/* ------------------------------------------------------------------------------------------ types of keys */

static int wrong_type(tr_error *err, tr_view name)
{
    return tr__expr_fail(err,
                         "Key attribute's data type should match its data type in table's schema: Key %.*s",
                         TR_FMT(name));
}

static int check_value(const tr_key_part *part, tr_value value, tr_error *err)
{
    if (value.type != part->type)
        return wrong_type(err, part->name);
    if (!value.payload.len)
        return tr__expr_fail(
            err,
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
            "contain an empty %s value. Key: %.*s",
            part->type == TR_S ? "string" : "binary", TR_FMT(part->name));
    return 0;
}

/* A test of a key attribute against values of another type. */
static int check_test(const tr_cond *cond, const tr_key_part *part, tr_error *err)
{
    bool tests = (cond->op >= TR_COND_EQ && cond->op <= TR_COND_IN) || cond->op == TR_COND_BEGINS_WITH;
    bool named = false;
    for (uint32_t i = 0; tests && i < cond->count; i++)
        named |= names(&cond->operands[i], part->name);
    for (uint32_t i = 0; named && i < cond->count; i++) {
        const tr_operand *o = &cond->operands[i];
        if (o->kind == TR_OPERAND_VALUE && o->value.type != part->type)
            return wrong_type(err, part->name);
        if (o->kind == TR_OPERAND_VALUE && (cond->op == TR_COND_EQ || cond->op == TR_COND_IN)) {
            int e = check_value(part, o->value, err);
            if (e)
                return e;
        }
    }
    return 0;
}

static int check_types(const parts *p, const tr_key_schema *schema, tr_error *err)
{
    int e = 0;
    for (uint32_t i = 0; i < p->count && e == 0; i++) {
        if (p->list[i]->op <= TR_COND_NOT)
            continue;
        for (uint32_t k = 0; k < schema->hash_count && e == 0; k++)
            e = check_test(p->list[i], &schema->hash[k], err);
        for (uint32_t k = 0; k < schema->range_count && e == 0; k++)
            e = check_test(p->list[i], &schema->range[k], err);
    }
    return e;
}

/* --------------------------------------------------------------------------------------------- sort keys */

/* What is said at the top about one attribute of the sort key. */
typedef struct narrowed {
    values equal;
    tr_key_op op;
    tr_value low, high;
    bool exact; /* what was used says all that the parts say about it */
} narrowed;

static void bound(narrowed *n, tr_key_op op, tr_value value)
{
    bool lower = op == TR_KEY_GT || op == TR_KEY_GE;
    bool had_lower = n->op == TR_KEY_GT || n->op == TR_KEY_GE,
         had_upper = n->op == TR_KEY_LT || n->op == TR_KEY_LE;
    if (n->op == TR_KEY_NONE) {
        n->op = op;
        n->low = value;
        n->exact = true;
        return;
    }
    tr_value low = lower ? value : n->low, high = lower ? n->low : value;
    n->exact = false;
    if ((lower ? had_upper : had_lower) && tr_value_cmp(low, high) <= 0) {
        /* inclusive, so the condition has to be looked at if it is not */
        n->exact = n->op == (lower ? TR_KEY_LE : TR_KEY_GE) && op == (lower ? TR_KEY_GE : TR_KEY_LE);
        n->op = TR_KEY_BETWEEN;
        n->low = low;
        n->high = high;
    }
}

static int narrow(tr_arena *arena, const parts *p, const tr_key_part *part, bool *used, narrowed *ret)
{
    static const tr_key_op ops[] = {[TR_COND_EQ] = TR_KEY_EQ,
                                    [TR_COND_LT] = TR_KEY_LT,
                                    [TR_COND_LE] = TR_KEY_LE,
                                    [TR_COND_GT] = TR_KEY_GT,
                                    [TR_COND_GE] = TR_KEY_GE};
    *ret = (narrowed){.op = TR_KEY_NONE};
    for (uint32_t i = 0; i < p->count; i++) {
        const tr_cond *c = p->list[i];
        tr_cond_op op;
        tr_value value;
        values v;
        int e = values_of(arena, c, part->name, &v);
        if (e)
            return e;
        if (v.known && !ret->equal.known) {
            ret->equal = v;
            used[i] = c->op != TR_COND_OR;
            continue;
        }
        if (compares(c, part->name, &op, &value) && op != TR_COND_NE && op != TR_COND_EQ) {
            bound(ret, ops[op], value);
            used[i] = ret->exact;
        } else if (c->op == TR_COND_BETWEEN && names(&c->operands[0], part->name) &&
                   c->operands[1].kind == TR_OPERAND_VALUE && c->operands[2].kind == TR_OPERAND_VALUE &&
                   ret->op == TR_KEY_NONE) {
            *ret = (narrowed){ret->equal, TR_KEY_BETWEEN, c->operands[1].value, c->operands[2].value, true};
            used[i] = true;
        } else if (c->op == TR_COND_BEGINS_WITH && names(&c->operands[0], part->name) &&
                   c->operands[1].kind == TR_OPERAND_VALUE && part->type != TR_N && ret->op == TR_KEY_NONE) {
            *ret =
                (narrowed){ret->equal, TR_KEY_BEGINS_WITH, c->operands[1].value, {TR_NONE, {NULL, 0}}, true};
            used[i] = true;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------- ranges */

typedef struct planner {
    tr_arena *arena;
    const tr_key_schema *schema;
    parts parts;
    bool *used; /* parts that the ranges say completely */
    tr_key_condition *ranges;
    uint32_t count;
    bool hash_backward, range_backward;
    tr_error *err;
} planner;

static int ascending(const void *a, const void *b)
{
    return tr_value_cmp(*(const tr_value *)a, *(const tr_value *)b);
}

static void sort_values(values *v, bool backward)
{
    if (v->count > 1)
        qsort(v->list, v->count, sizeof *v->list, ascending);
    for (uint32_t i = 0; backward && i < v->count / 2; i++) {
        tr_value x = v->list[i];
        v->list[i] = v->list[v->count - 1 - i];
        v->list[v->count - 1 - i] = x;
    }
}

/* Each range so far becomes one for each value; at most TR_QL_RANGES_MAX. */
static int multiply(planner *p, const values *v, bool range)
{
    uint64_t count = (uint64_t)p->count * v->count;
    if (count > TR_QL_RANGES_MAX)
        return TR_ELIMIT;
    tr_key_condition *to = tr_arena_calloc(p->arena, count + 1, sizeof *to), *from = p->ranges;
    if (!to)
        return TR_ENOMEM;
    p->ranges = to;
    for (uint32_t i = 0; i < p->count; i++)
        for (uint32_t k = 0; k < v->count; k++, to++) {
            *to = from[i];
            if (range)
                to->equal[to->equal_count++] = v->list[k];
            else
                to->hash[to->hash_count++] = v->list[k];
        }
    p->count = (uint32_t)count;
    return 0;
}

/* Marks the part from which values_of has the values, if it says nothing else. */
static int use_equal(planner *p, tr_view name)
{
    for (uint32_t i = 0; i < p->parts.count; i++) {
        const tr_cond *c = p->parts.list[i];
        values v;
        int e = values_of(p->arena, c, name, &v);
        if (e)
            return e;
        if (!v.known)
            continue;
        p->used[i] |= c->op != TR_COND_OR;
        break;
    }
    return 0;
}

static int plan_hash(planner *p, const tr_cond *where)
{
    p->ranges = tr_arena_calloc(p->arena, 1, sizeof *p->ranges);
    p->count = 1;
    int e = p->ranges ? 0 : TR_ENOMEM;
    for (uint32_t i = 0; i < p->schema->hash_count && e == 0; i++) {
        values v;
        e = values_of(p->arena, where, p->schema->hash[i].name, &v);
        if (e == 0 && !v.known)
            return TR_ENOTFOUND;
        for (uint32_t k = 0; k < v.count && e == 0; k++)
            e = check_value(&p->schema->hash[i], v.list[k], p->err);
        if (e)
            return e;
        sort_values(&v, p->hash_backward);
        e = use_equal(p, p->schema->hash[i].name);
        if (e == 0)
            e = multiply(p, &v, false);
    }
    return e;
}

static int plan_range(planner *p)
{
    for (uint32_t i = 0; i < p->schema->range_count; i++) {
        narrowed n;
        const tr_key_part *part = &p->schema->range[i];
        bool *used = tr_arena_calloc(p->arena, p->parts.count + 1, sizeof *used);
        int e = used ? narrow(p->arena, &p->parts, part, used, &n) : TR_ENOMEM;
        if (e)
            return e;
        for (uint32_t k = 0; k < n.equal.count; k++)
            if ((e = check_value(part, n.equal.list[k], p->err)))
                return e;
        if (n.equal.known) {
            sort_values(&n.equal, p->range_backward);
            e = multiply(p, &n.equal, true);
            if (e == TR_ELIMIT) /* too many: the whole partitions, then */
                return 0;
            if (e)
                return e;
        }
        bool one_of_two = n.equal.known && n.op != TR_KEY_NONE;
        for (uint32_t k = 0; k < p->parts.count && !one_of_two; k++)
            p->used[k] |= used[k];
        if (n.equal.known)
            continue;
        for (uint32_t k = 0; k < p->count; k++) {
            p->ranges[k].op = n.op;
            p->ranges[k].low = n.low;
            p->ranges[k].high = n.high;
        }
        return 0;
    }
    return 0;
}

static bool is_key(const tr_key_part *list, uint32_t count, tr_view name)
{
    for (uint32_t i = 0; i < count; i++)
        if (tr_view_eq(list[i].name, name))
            return true;
    return false;
}

static int plan_order(planner *p, const tr_ql_statement *s)
{
    for (uint32_t i = 0; i < s->order_count; i++) {
        const tr_ql_order *o = &s->orders[i];
        if (is_key(p->schema->hash, p->schema->hash_count, o->name))
            p->hash_backward = o->descending;
        else if (is_key(p->schema->range, p->schema->range_count, o->name))
            p->range_backward = o->descending;
        else
            return tr__expr_fail(p->err,
                                 "Variable reference %.*s in ORDER BY clause must be part of the primary key",
                                 TR_FMT(o->name));
    }
    return 0;
}

static bool all_used(const planner *p)
{
    for (uint32_t i = 0; i < p->parts.count; i++)
        if (!p->used[i])
            return false;
    return true;
}

static int memory(tr_error *err, int code)
{
    return code == TR_ENOMEM   ? tr__expr_nomem(err)
           : code == TR_ELIMIT ? tr_fail(err, TR_ELIMIT, "the statement is nested too deeply")
                               : code;
}

int tr_ql_plan_reads(tr_arena *arena, const tr_ql_statement *s, const tr_key_schema *schema,
                     tr_ql_reads *ret_reads, tr_error *err)
{
    planner p = {.arena = arena, .schema = schema, .err = err};
    *ret_reads = (tr_ql_reads){.count = 0};
    if (!s->where)
        return 0;
    int e = add_parts(arena, s->where, &p.parts);
    p.used = tr_arena_calloc(arena, p.parts.count + 1, sizeof *p.used);
    if (e || !p.used)
        return tr__expr_nomem(err);
    e = check_types(&p.parts, schema, err);
    if (e == 0)
        e = plan_order(&p, s);
    if (e == 0)
        e = plan_hash(&p, s->where);
    if (e == TR_ENOTFOUND && s->order_count)
        return tr__expr_fail(
            err, "Must have at least one non-optional hash key condition in WHERE clause when using "
                 "ORDER BY clause.");
    bool keyed = e == 0;
    if (keyed)
        e = plan_range(&p);
    if (e && e != TR_ENOTFOUND && e != TR_ELIMIT)
        return memory(err, e);
    if (keyed) {
        ret_reads->ranges = p.ranges;
        ret_reads->count = p.count;
        ret_reads->backward = p.range_backward;
        ret_reads->single = p.count == 1 && p.ranges[0].equal_count == schema->range_count && all_used(&p);
    }
    e = keyed && all_used(&p) ? 0 : tr_condition_of(arena, s->where, &ret_reads->filter);
    return memory(err, e);
}

/* --------------------------------------------------------------------------------------------- one item */

#define NO_KEY "Where clause does not contain a mandatory equality on all key attributes"

/* The value that WHERE gives a key attribute; marks the parts that do. */
static int key_value(const parts *p, bool *used, const tr_key_part *part, tr_value *ret_value, tr_error *err)
{
    bool found = false;
    for (uint32_t i = 0; i < p->count; i++) {
        tr_value value;
        if (!equals(p->list[i], part->name, &value))
            continue;
        if (found && !tr_value_eq(value, *ret_value))
            return tr__expr_fail(
                err,
                "Multiple conditions on same key %.*s. Only single item Update/Insert/Delete are "
                "supported",
                TR_FMT(part->name));
        found = used[i] = true;
        *ret_value = value;
    }
    return found ? check_value(part, *ret_value, err) : tr__expr_fail(err, NO_KEY);
}

static int pack_key(tr_arena *arena, tr_buf *scratch, const tr_key_schema *schema, const tr_value *list,
                    tr_item *ret_key)
{
    tr_packer packer;
    tr_buf_reset(scratch);
    tr_packer_init(&packer, scratch);
    tr_pack_item_begin(&packer);
    for (uint32_t i = 0; i < schema->hash_count + schema->range_count; i++) {
        tr_pack_name(&packer, i < schema->hash_count ? schema->hash[i].name
                                                     : schema->range[i - schema->hash_count].name);
        tr_pack_value(&packer, list[i]);
    }
    int e = tr_pack_item_end(&packer);
    if (e)
        return e;
    *ret_key = tr_arena_copy(arena, tr_buf_view(scratch));
    return ret_key->ptr ? 0 : TR_ENOMEM;
}

/* Whether the item is there, as a test of its first key attribute. */
static const tr_cond *presence(tr_arena *arena, const tr_key_schema *schema, bool there)
{
    tr_path path;
    if (tr_path_of(arena, schema->hash[0].name, &path))
        return NULL;
    tr_operand operand = tr_operand_path(path);
    return tr_cond_test(arena, there ? TR_COND_EXISTS : TR_COND_NOT_EXISTS, &operand, 1);
}

static int join(tr_arena *arena, const tr_ql_statement *s, const tr_key_schema *schema, parts *rest,
                const tr_condition **ret_condition)
{
    bool drop = s->kind == TR_QL_DELETE;
    *ret_condition = NULL;
    if (s->kind == TR_QL_SELECT || (drop && !rest->count))
        return 0;
    const tr_cond *root = presence(arena, schema, s->kind == TR_QL_UPDATE || s->kind == TR_QL_EXISTS);
    if (root && rest->count) {
        const tr_cond *both[] = {root, tr_cond_logic(arena, TR_COND_AND, rest->list, rest->count)};
        root = both[1] ? tr_cond_logic(arena, drop ? TR_COND_OR : TR_COND_AND, both, 2) : NULL;
    }
    return root ? tr_condition_of(arena, root, ret_condition) : TR_ENOMEM;
}

int tr_ql_plan_target(tr_arena *arena, tr_buf *scratch, const tr_ql_statement *s, const tr_key_schema *schema,
                      tr_ql_target *ret_target, tr_error *err)
{
    parts p = {.count = 0}, rest = {.count = 0};
    tr_value list[2 * TR_KEY_PARTS_MAX];
    *ret_target = (tr_ql_target){.more = false};
    int e = 0;
    if (s->kind == TR_QL_INSERT)
        return memory(err, join(arena, s, schema, &rest, &ret_target->condition));
    if (!s->where)
        return tr__expr_fail(err, NO_KEY);
    e = add_parts(arena, s->where, &p);
    bool *used = tr_arena_calloc(arena, p.count + 1, sizeof *used);
    if (e || !used)
        return tr__expr_nomem(err);
    for (uint32_t i = 0; i < schema->hash_count + schema->range_count && e == 0; i++)
        e = key_value(&p, used,
                      i < schema->hash_count ? &schema->hash[i] : &schema->range[i - schema->hash_count],
                      &list[i], err);
    for (uint32_t i = 0; i < p.count && e == 0; i++)
        if (!used[i])
            e = add_parts(arena, p.list[i], &rest);
    if (e == 0)
        e = pack_key(arena, scratch, schema, list, &ret_target->key);
    if (e == 0)
        e = join(arena, s, schema, &rest, &ret_target->condition);
    ret_target->more = rest.count > 0;
    return memory(err, e);
}

/* -------------------------------------------------------------------------------------------- what is given
 */

int tr_ql_pick(const tr_ql_statement *s, tr_item item, tr_arena *arena, tr_buf *scratch, tr_item *ret_item)
{
    tr_packer packer;
    if (!s->field_count) {
        *ret_item = item;
        return 0;
    }
    tr_buf_reset(scratch);
    tr_packer_init(&packer, scratch);
    tr_pack_item_begin(&packer);
    for (uint32_t i = 0; i < s->field_count; i++) {
        tr_value value;
        if (tr_path_get(&s->fields[i].path, item, &value))
            continue;
        tr_pack_name(&packer, s->fields[i].name);
        tr_pack_value(&packer, value);
    }
    int e = tr_pack_item_end(&packer);
    if (e)
        return e;
    *ret_item = tr_arena_copy(arena, tr_buf_view(scratch));
    return ret_item->ptr ? 0 : TR_ENOMEM;
}
