/* SPDX-License-Identifier: MIT */
/*
 * What the service refuses in an expression that the grammar allows, in its order:
 *   1. redundant parentheses anywhere
 *   2. unknown functions, functions where they may not stand, reserved words, list indexes out of range: in
 * the order of the text
 *   3. undefined placeholders, operands in number and type: operands before the operator they belong to
 */
#include "internal.h"

#include <stdio.h>

static const struct {
    const char *name;
    tr__func func;
    uint8_t operands;
    bool update; /* allowed in updates, else in conditions */
} functions[] = {{"", TR__FUNC_UNKNOWN, 0, false},
                 {"attribute_exists", TR__FUNC_EXISTS, 1, false},
                 {"attribute_not_exists", TR__FUNC_NOT_EXISTS, 1, false},
                 {"attribute_type", TR__FUNC_TYPE, 2, false},
                 {"begins_with", TR__FUNC_BEGINS_WITH, 2, false},
                 {"contains", TR__FUNC_CONTAINS, 2, false},
                 {"size", TR__FUNC_SIZE, 1, false},
                 {"if_not_exists", TR__FUNC_IF_NOT_EXISTS, 2, true},
                 {"list_append", TR__FUNC_LIST_APPEND, 2, true}};

tr__func tr__func_of(tr_view name, bool *ret_update)
{
    size_t i = TR_COUNT(functions) - 1;
    while (i > 0 && !tr_view_is(name, functions[i].name))
        i--;
    *ret_update = functions[i].update;
    return functions[i].func;
}

/* ----------------------------------------------------------------------------------------- 1 and 2: names */

static int check_function_name(const tr__parse *parse, tr__raw *node)
{
    bool update = parse->kind == TR_EXPR_UPDATE, of_updates;
    node->func = (uint8_t)tr__func_of(node->text, &of_updates);
    if (node->func == TR__FUNC_UNKNOWN)
        return tr__parse_fail(parse, "Invalid function name; function: %.*s", TR_FMT(node->text));
    if (of_updates != update)
        return tr__parse_fail(parse, "The function is not allowed in %s expression; function: %.*s",
                              update ? "an update" : "a condition", TR_FMT(node->text));
    /* if_not_exists may stand anywhere, size only as an operand, the others only by themselves */
    bool fits = node->func == TR__FUNC_IF_NOT_EXISTS ||
                (node->func == TR__FUNC_SIZE) == (node->role == TR__ROLE_OPERAND);
    if (!fits)
        return tr__parse_fail(
            parse, "The function is not allowed to be used this way in an expression; function: %.*s",
            TR_FMT(node->text));
    return 0;
}

int tr__check_names(const tr__parse *parse)
{
    if (parse->redundant)
        return tr__parse_fail(parse, "The expression has redundant parentheses;");
    for (tr__raw *node = parse->begun; node; node = node->next_begun) {
        int r = 0;
        if (node->kind == TR__RAW_FUNC)
            r = check_function_name(parse, node);
        else if (node->bad.ptr)
            r = tr__parse_fail(parse,
                               node->bad_index
                                   ? "List index is not within the allowable range; index: [%.*s]"
                                   : "Attribute name is a reserved keyword; reserved keyword: %.*s",
                               TR_FMT(node->bad));
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---------------------------------------------------------------------------------------- 3: placeholders */

static int resolve_path(tr__parse *parse, tr__raw *node)
{
    if (node->count > TR_PATH_MAX)
        return tr__parse_fail(parse, "The document path has too many nesting levels; nesting levels: %u",
                              (unsigned)node->count);
    tr_path *path = &node->operand.path;
    tr_path_part *parts = (tr_path_part *)(uintptr_t)path->parts; /* made by the parser, not shared yet */
    for (uint32_t i = 0; i < path->count; i++) {
        tr_view name = parts[i].name;
        if (!name.ptr || (name.ptr[0] != '#' && name.ptr[0] != ':'))
            continue;
        const tr_expr_name *found = tr__env_name(parse->env, name);
        if (!found)
            return tr__parse_fail(
                parse,
                "An expression attribute name used in the document path is not defined; attribute name: %.*s",
                TR_FMT(name));
        parts[i].name = found->name;
    }
    return 0;
}

static int resolve_value(tr__parse *parse, tr__raw *node)
{
    node->literal = tr__env_value(parse->env, node->text);
    if (!node->literal)
        return tr__parse_fail(
            parse, "An expression attribute value used in expression is not defined; attribute value: %.*s",
            TR_FMT(node->text));
    node->operand = tr_operand_value(node->literal->value);
    return 0;
}

/* -------------------------------------------------------------------------------------------- 3: operands */

#define BIT(type) (1u << (type))
#define ORDERED   (BIT(TR_S) | BIT(TR_N) | BIT(TR_B))
#define ANY       (~0u)

/* The type an operand has whatever the item holds; TR_NONE if that depends. */
static tr_type known_type(const tr__raw *node)
{
    if (node->kind == TR__RAW_VALUE)
        return node->literal->value.type;
    return node->kind == TR__RAW_FUNC && node->func == TR__FUNC_SIZE ? TR_N : TR_NONE;
}

static int wrong_type(const tr__parse *parse, const char *what, const char *type)
{
    return tr__parse_fail(
        parse, "Incorrect operand type for operator or function; operator or function: %s, operand type: %s",
        what, type);
}

static int check_types(const tr__parse *parse, const tr__raw *node, const char *what, unsigned allowed)
{
    for (const tr__raw *o = node->first; o; o = o->next) {
        tr_type type = known_type(o);
        if (type != TR_NONE && !(allowed & BIT(type)))
            return wrong_type(parse, what, tr_type_name(type));
    }
    return 0;
}

static bool same_path(const tr_path *a, const tr_path *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!a->parts[i].name.ptr != !b->parts[i].name.ptr || a->parts[i].index != b->parts[i].index ||
            !tr_view_eq(a->parts[i].name, b->parts[i].name))
            return false;
    return true;
}

/* The first operand, if it is a path, is none of the others. */
static int check_distinct(const tr__parse *parse, const tr__raw *node, const char *what)
{
    const tr__raw *first = node->first;
    if (first->kind != TR__RAW_PATH)
        return 0;
    for (const tr__raw *o = first->next; o; o = o->next) {
        if (o->kind != TR__RAW_PATH || !same_path(&first->operand.path, &o->operand.path))
            continue;
        tr_buf text;
        tr_buf_init(&text, TR_ERROR_MESSAGE_MAX * 64);
        tr_path_print(&first->operand.path, &text);
        const char *path = tr_buf_cstr(&text);
        int r =
            path ? tr__parse_fail(parse,
                                  "The first operand must be distinct from the remaining operands for this "
                                  "operator or function; operator: %s, first operand: %s",
                                  what, path)
                 : tr__expr_nomem(parse->err);
        tr_buf_done(&text);
        return r;
    }
    return 0;
}

static int needs_path(const tr__parse *parse, const tr__raw *node, const char *what)
{
    if (node->first->kind == TR__RAW_PATH)
        return 0;
    return tr__parse_fail(parse, "Operator or function requires a document path; operator or function: %s",
                          what);
}

/* attribute_type wants a value that names a type. */
static int check_type_name(const tr__parse *parse, const tr__raw *node)
{
    const tr__raw *type = node->last;
    if (type->kind != TR__RAW_VALUE) /* all types there are inside the service, in its order */
        return wrong_type(
            parse, "attribute_type",
            "{NS,FLOAT,DICT,BOOL,S,N,DOUBLE,B,DOUBLESET,L,HD,DECIMALSET,DECIMAL,SS,FS,NULL,INTSET,"
            "HDS,BS,M,INT}");
    tr_view name = type->literal->value.payload;
    for (tr_type t = TR_S; t <= TR_BS; t++)
        if (tr_view_is(name, tr_type_name(t)))
            return 0;
    return tr__parse_fail(
        parse, "Invalid attribute type name found; type: %.*s, valid types: {N,BS,L,B,NULL,M,S,SS,NS,BOOL}",
        TR_FMT(name));
}

static int check_function(const tr__parse *parse, const tr__raw *node)
{
    const char *what = functions[node->func].name;
    if (node->count != functions[node->func].operands)
        return tr__parse_fail(
            parse,
            "Incorrect number of operands for operator or function; operator or function: %s, "
            "number of operands: %u",
            what, (unsigned)node->count);
    int r = 0;
    switch ((tr__func)node->func) {
    case TR__FUNC_EXISTS:
    case TR__FUNC_NOT_EXISTS:
    case TR__FUNC_IF_NOT_EXISTS:
        r = needs_path(parse, node, what);
        return r < 0 ? r : check_distinct(parse, node, what);
    case TR__FUNC_SIZE:
        return check_types(parse, node, what, ~(BIT(TR_N) | BIT(TR_BOOL) | BIT(TR_NULL)));
    case TR__FUNC_LIST_APPEND:
        return check_types(parse, node, what, BIT(TR_L));
    case TR__FUNC_BEGINS_WITH:
        if ((r = check_types(parse, node, what, BIT(TR_S) | BIT(TR_B))) == 0)
            r = check_distinct(parse, node, what);
        return r;
    case TR__FUNC_TYPE: {
        tr_type type = known_type(node->last);
        if (type != TR_NONE && type != TR_S)
            return wrong_type(parse, what, tr_type_name(type));
        if ((r = check_distinct(parse, node, what)) == 0)
            r = check_type_name(parse, node);
        return r;
    }
    default:
        return check_distinct(parse, node, what);
    }
}

/* A value as the service prints it: {S:text}, {N:1.50} as it was written, {B:…} as Java prints its buffers.
 */
static const char *print_value(const tr__parse *parse, const tr__raw *node)
{
    tr_arena *arena = parse->env->arena;
    tr_value value = node->literal->value;
    if (value.type == TR_S)
        return tr_arena_printf(arena, "{S:%.*s}", TR_FMT(value.payload));
    if (value.type == TR_B)
        return tr_arena_printf(arena, "{B:java.nio.HeapByteBuffer[pos=0 lim=%zu cap=%zu]}", value.payload.len,
                               value.payload.len);
    char digits[TR_NUMBER_TEXT_MAX];
    tr_view number = tr_view_of(digits, tr_number_format(value.payload, digits));
    tr_json_reader r;
    tr_json_init(&r, node->literal->json, arena);
    if (node->literal->json.len && tr_json_next(&r) == TR_JSON_OBJECT && tr_json_next(&r) == TR_JSON_KEY &&
        tr_json_next(&r) == TR_JSON_STRING)
        number = r.text;
    return tr_arena_printf(arena, "{N:%.*s}", TR_FMT(number));
}

static int check_bounds(const tr__parse *parse, const tr__raw *node)
{
    const tr__raw *low = node->first->next, *high = low->next;
    if (low->kind != TR__RAW_VALUE || high->kind != TR__RAW_VALUE)
        return 0;
    tr_value a = low->literal->value, b = high->literal->value;
    if (a.type == b.type && tr_value_cmp(a, b) <= 0)
        return 0;
    const char *from = print_value(parse, low), *to = print_value(parse, high);
    if (!from || !to)
        return tr__expr_nomem(parse->err);
    return tr__parse_fail(parse,
                          "The BETWEEN operator requires %s; lower bound operand: AttributeValue: %s, upper "
                          "bound operand: AttributeValue: %s",
                          a.type != b.type ? "same data type for lower and upper bounds"
                                           : "upper bound to be greater than or equal to lower bound",
                          from, to);
}

static int check_comparison(const tr__parse *parse, const tr__raw *node)
{
    static const char *const signs[] = {"=", "<>", "<", "<=", ">", ">="};
    const char *what = signs[node->op - TR_COND_EQ];
    int r = node->op >= TR_COND_LT ? check_types(parse, node, what, ORDERED) : 0;
    return r < 0 ? r : check_distinct(parse, node, what);
}

static int check_between(const tr__parse *parse, const tr__raw *node)
{
    int r = check_types(parse, node, "BETWEEN", ORDERED);
    if (r == 0)
        r = check_distinct(parse, node, "BETWEEN");
    return r < 0 ? r : check_bounds(parse, node);
}

static int check_in(const tr__parse *parse, const tr__raw *node)
{
    int r = check_distinct(parse, node, "IN");
    if (r == 0 && node->count - 1 > TR_EXPR_IN_MAX)
        r = tr__parse_fail(parse,
                           "The IN operator is provided with too many operands; number of operands: %u",
                           (unsigned)(node->count - 1));
    return r;
}

static int check_operator(const tr__parse *parse, const tr__raw *node)
{
    switch ((tr__raw_kind)node->kind) {
    case TR__RAW_FUNC:
        return check_function(parse, node);
    case TR__RAW_COMPARE:
        return check_comparison(parse, node);
    case TR__RAW_BETWEEN:
        return check_between(parse, node);
    case TR__RAW_IN:
        return check_in(parse, node);
    case TR__RAW_PLUS:
        return check_types(parse, node, "+", BIT(TR_N));
    case TR__RAW_MINUS:
        return check_types(parse, node, "-", BIT(TR_N));
    default:
        return 0;
    }
}

int tr__check_node(tr__parse *parse, tr__raw *node)
{
    if (node->kind == TR__RAW_PATH)
        return resolve_path(parse, node);
    if (node->kind == TR__RAW_VALUE)
        return resolve_value(parse, node);
    int r = check_operator(parse, node);
    if (r < 0)
        return r;
    if (++parse->operators > TR_EXPR_OPERATORS_MAX)
        return tr__parse_fail(parse, "The expression contains too many operators; operator count: %u",
                              (unsigned)parse->operators);
    if (node->kind == TR__RAW_FUNC && node->func == TR__FUNC_SIZE) {
        node->operand = node->first->operand;
        node->operand.kind = TR_OPERAND_SIZE;
    }
    return 0;
}
