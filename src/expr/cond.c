/* SPDX-License-Identifier: MIT */
/* Conditions out of checked nodes, or built by hand. */
#include "internal.h"

#include <assert.h>

/* --------------------------------------------------------------------------------------------- attributes */

int tr__names_add(tr__names *list, tr_arena *arena, tr_view name)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (tr_view_eq(list->names[i], name))
            return 0;
    if (list->count == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 4;
        tr_view *names = tr_arena_alloc(arena, cap * sizeof *names);
        if (!names)
            return TR_ENOMEM;
        if (list->count)
            memcpy(names, list->names, list->count * sizeof *names);
        list->names = names;
        list->cap = cap;
    }
    list->names[list->count++] = name;
    return 0;
}

/* Walks a tree whose depth is known to be bounded. */
static int add_attributes(tr__names *list, tr_arena *arena, const tr_cond *cond)
{
    for (uint32_t i = 0; i < cond->count; i++) {
        int r = 0;
        if (cond->op <= TR_COND_NOT)
            r = add_attributes(list, arena, cond->children[i]);
        else if (cond->operands[i].path.count > 0)
            r = tr__names_add(list, arena, cond->operands[i].path.parts[0].name);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool nests(const tr_cond *cond, tr_view attribute)
{
    for (uint32_t i = 0; i < cond->count; i++) {
        if (cond->op <= TR_COND_NOT) {
            if (nests(cond->children[i], attribute))
                return true;
        } else if (cond->operands[i].path.count > 1 &&
                   tr_view_eq(cond->operands[i].path.parts[0].name, attribute)) {
            return true;
        }
    }
    return false;
}

bool tr_condition_nests(const tr_condition *condition, tr_view attribute)
{
    return nests(condition->root, attribute);
}

/* ------------------------------------------------------------------------------------------------ by hand */

const tr_cond *tr_cond_logic(tr_arena *arena, tr_cond_op op, const tr_cond *const *children, uint32_t count)
{
    tr_cond *cond = tr_arena_alloc(arena, sizeof *cond);
    const tr_cond **copy = tr_arena_alloc(arena, count * sizeof(tr_cond *));
    if (!cond || !copy)
        return NULL;
    if (count)
        memcpy(copy, children, count * sizeof(tr_cond *));
    *cond = (tr_cond){.op = op, .count = count, .children = copy};
    return cond;
}

const tr_cond *tr_cond_test(tr_arena *arena, tr_cond_op op, const tr_operand *operands, uint32_t count)
{
    tr_cond *cond = tr_arena_alloc(arena, sizeof *cond);
    tr_operand *copy = tr_arena_alloc(arena, count * sizeof *copy);
    if (!cond || !copy)
        return NULL;
    if (count)
        memcpy(copy, operands, count * sizeof *copy);
    *cond = (tr_cond){.op = op, .count = count, .operands = copy};
    return cond;
}

/* Stops at the limit. */
static bool too_deep(const tr_cond *cond, unsigned depth)
{
    if (depth > TR_EXPR_DEPTH_MAX)
        return true;
    if (cond->op > TR_COND_NOT)
        return false;
    for (uint32_t i = 0; i < cond->count; i++)
        if (too_deep(cond->children[i], depth + 1))
            return true;
    return false;
}

int tr_condition_of(tr_arena *arena, const tr_cond *root, const tr_condition **ret_condition)
{
    if (too_deep(root, 1))
        return TR_ELIMIT;
    tr__names list = {0};
    if (add_attributes(&list, arena, root) < 0)
        return TR_ENOMEM;
    tr_condition *condition = tr_arena_alloc(arena, sizeof *condition);
    if (!condition)
        return TR_ENOMEM;
    *condition = (tr_condition){.root = root, .attributes = list.names, .attribute_count = list.count};
    *ret_condition = condition;
    return 0;
}

/* ---------------------------------------------------------------------------------------------- from text */

static tr_cond_op op_of(const tr__raw *node)
{
    static const tr_cond_op functions[] = {[TR__FUNC_EXISTS] = TR_COND_EXISTS,
                                           [TR__FUNC_NOT_EXISTS] = TR_COND_NOT_EXISTS,
                                           [TR__FUNC_TYPE] = TR_COND_TYPE,
                                           [TR__FUNC_BEGINS_WITH] = TR_COND_BEGINS_WITH,
                                           [TR__FUNC_CONTAINS] = TR_COND_CONTAINS};
    switch ((tr__raw_kind)node->kind) {
    case TR__RAW_FUNC:
        return functions[node->func];
    case TR__RAW_BETWEEN:
        return TR_COND_BETWEEN;
    case TR__RAW_IN:
        return TR_COND_IN;
    case TR__RAW_NOT:
        return TR_COND_NOT;
    case TR__RAW_AND:
        return TR_COND_AND;
    case TR__RAW_OR:
        return TR_COND_OR;
    default:
        return (tr_cond_op)node->op;
    }
}

static int make_logic(tr_arena *arena, tr__raw *node, tr_cond_op op)
{
    tr_cond *cond = tr_arena_alloc(arena, sizeof *cond);
    const tr_cond **children = tr_arena_alloc(arena, node->count * sizeof(tr_cond *));
    if (!cond || !children)
        return TR_ENOMEM;
    const tr_cond **to = children;
    for (const tr__raw *o = node->first; o; o = o->next)
        *to++ = o->made;
    *cond = (tr_cond){.op = op, .count = node->count, .children = children};
    node->made = cond;
    return 0;
}

static int make_test(tr_arena *arena, tr__raw *node, tr_cond_op op)
{
    tr_cond *cond = tr_arena_alloc(arena, sizeof *cond);
    tr_operand *operands = tr_arena_alloc(arena, node->count * sizeof *operands);
    if (!cond || !operands)
        return TR_ENOMEM;
    tr_operand *to = operands;
    for (const tr__raw *o = node->first; o; o = o->next)
        *to++ = o->operand;
    *cond = (tr_cond){.op = op, .count = node->count, .operands = operands};
    node->made = cond;
    return 0;
}

int tr__cond_make(tr__parse *parse, tr__raw *node)
{
    if (node->kind == TR__RAW_PATH || node->kind == TR__RAW_VALUE ||
        (node->kind == TR__RAW_FUNC && node->func == TR__FUNC_SIZE))
        return 0;
    tr_cond_op op = op_of(node);
    int r =
        op <= TR_COND_NOT ? make_logic(parse->env->arena, node, op) : make_test(parse->env->arena, node, op);
    return r < 0 ? tr__expr_nomem(parse->err) : 0;
}

int tr_condition_parse(tr_expr_env *env, tr_expr_kind kind, tr_view text, const tr_condition **ret_condition,
                       tr_error *err)
{
    tr__parse parse;
    tr__raw *root = NULL;
    int r = tr__parse_init(&parse, env, kind, text, err);
    if (r == 0)
        r = tr__parse_condition(&parse, &root);
    if (r == 0 && parse.lexer.token.kind != TR__TOK_EOF)
        r = tr__parse_syntax(&parse);
    if (r == 0)
        r = tr__check_names(&parse);
    for (tr__raw *node = parse.ended; r == 0 && node; node = node->next_ended) {
        r = tr__check_node(&parse, node);
        if (r == 0)
            r = tr__cond_make(&parse, node);
    }
    if (r < 0)
        return r;
    /* at most one level for each of the 300 operators: within TR_EXPR_DEPTH_MAX */
    assert(root);
    r = tr_condition_of(env->arena, root->made, ret_condition);
    return r == TR_ENOMEM ? tr__expr_nomem(err) : r;
}
