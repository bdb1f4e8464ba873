/* SPDX-License-Identifier: MIT */
/*
 * Conditions of WHERE and right-hand sides of SET. Each becomes a raw node of src/expr as soon as it is read,
 * is checked by src/expr, and made into a condition or a term; once there is a fault, only the grammar is
 * followed.
 *
 *   or      = and {OR and}          and  = not {AND not}          not = [NOT] compared
 *   compared = sum [("=" | "<>" | …) sum | [NOT] IN list | [NOT] BETWEEN sum AND sum | IS [NOT] (MISSING |
 * NULL)] sum     = primary {("+" | "-") primary} primary = "(" or ")" | value | path | function "(" or {","
 * or} ")"
 */
#include "partiql/internal.h"

static int read_or(tr__ql *q, tr__raw **ret_node);

/* -------------------------------------------------------------------------------------------------- nodes */

static bool in_update(const tr__ql *q)
{
    return q->parse.kind == TR_EXPR_UPDATE;
}

/* Whether a node is a condition, not an operand. */
static bool is_condition(const tr__raw *node)
{
    switch ((tr__raw_kind)node->kind) {
    case TR__RAW_PATH:
    case TR__RAW_VALUE:
    case TR__RAW_PLUS:
    case TR__RAW_MINUS:
        return false;
    case TR__RAW_FUNC:
        return node->func != TR__FUNC_SIZE && node->func != TR__FUNC_IF_NOT_EXISTS &&
               node->func != TR__FUNC_LIST_APPEND;
    default:
        return true;
    }
}

static int new_node(tr__ql *q, tr__raw_kind kind, tr__raw **ret_node)
{
    *ret_node = tr__raw_new(&q->parse, kind);
    return *ret_node ? 0 : tr__expr_nomem(q->err);
}

/* Checks a node whose operands are there, and makes what it stands for. */
static int finish(tr__ql *q, tr__raw *node)
{
    tr_error err;
    int e = 0;
    if (q->faulted)
        return 0;
    q->parse.err = &err;
    if (node->kind != TR__RAW_PATH && node->kind != TR__RAW_VALUE)
        e = tr__check_node(&q->parse, node);
    if (e == 0)
        e = in_update(q) ? tr__term_make(&q->parse, node) : tr__cond_make(&q->parse, node);
    return e ? tr__ql_refused(q, e, &err) : 0;
}

/* Operands of tests are no conditions. */
static int check_operand(tr__ql *q, const tr__raw *node, tr_view what)
{
    if (!is_condition(node))
        return 0;
    return tr__ql_fault(
        q, "Incorrect operand type for operator or function; operator or function: %.*s, operand type: BOOL",
        TR_FMT(what));
}

static int read_value_node(tr__ql *q, tr__raw **ret_node)
{
    tr_expr_value *literal = tr_arena_calloc(q->arena, 1, sizeof *literal);
    int e = literal ? new_node(q, TR__RAW_VALUE, ret_node) : tr__expr_nomem(q->err);
    if (e == 0)
        e = tr__ql_value(q, &literal->value);
    if (e)
        return e;
    (*ret_node)->literal = literal;
    (*ret_node)->operand = tr_operand_value(literal->value);
    return finish(q, *ret_node);
}

/* -------------------------------------------------------------------------------------------------- paths */

/* What is behind the first name: .name ['name'] ["name"] [index]. */
static int read_step(tr__ql *q, tr_path_part *part, tr_view *name)
{
    tr__ql_token t;
    if (tr__ql_take(q, TR__QL_DOT)) {
        t = q->token;
        tr__ql_next(q);
        if (t.kind == TR__QL_STAR)
            return tr__ql_fault(q, "Changing item's hierarchy while reading isn't supported");
        /* keywords are names here */
        if (t.kind != TR__QL_WORD && t.kind != TR__QL_QUOTED)
            return tr__ql_syntax(q);
        int e = tr__ql_text(q, &t, &part->name);
        *name = part->name;
        return e;
    }
    tr__ql_next(q);
    bool negative = tr__ql_take(q, TR__QL_MINUS);
    tr__ql_token inside = q->token;
    uint64_t index;
    tr__ql_next(q);
    if (inside.kind == TR__QL_NUMBER) {
        if (negative || tr_view_to_u64(inside.text, INT32_MAX, &index))
            (void)tr__ql_fault(q, "List index is not within the allowable range; index: [%s%.*s] at %s",
                               negative ? "-" : "", TR_FMT(inside.text), tr__ql_place(q, &inside));
        else
            part->index = (uint32_t)index;
        const char *indexed = tr_arena_printf(q->arena, "%.*s[%.*s]", TR_FMT(*name), TR_FMT(inside.text));
        if (!indexed)
            return tr__expr_nomem(q->err);
        *name = tr_view_str(indexed);
    } else if (inside.kind == TR__QL_STAR) {
        (void)tr__ql_fault(q, "Changing item's hierarchy while reading isn't supported");
    } else if (inside.kind == TR__QL_STRING || inside.kind == TR__QL_QUOTED) {
        if (tr__ql_text(q, &inside, &part->name))
            return TR_ENOMEM;
        *name = part->name;
    } else {
        return tr__ql_syntax(q);
    }
    return tr__ql_take(q, TR__QL_RBRACKET) ? 0 : tr__ql_syntax(q);
}

int tr__ql_path(tr__ql *q, tr_path *ret_path, tr_view *ret_name)
{
    tr_path_part parts[TR_PATH_MAX] = {{.index = 0}};
    uint32_t count = 1;
    if (!tr__ql_is_name(q))
        return tr__ql_syntax(q);
    int e = tr__ql_text(q, &q->token, &parts[0].name);
    *ret_name = parts[0].name;
    tr__ql_next(q);
    while (e == 0 && (q->token.kind == TR__QL_DOT || q->token.kind == TR__QL_LBRACKET)) {
        tr_path_part part = {.index = 0};
        e = read_step(q, &part, ret_name);
        if (count < TR_PATH_MAX)
            parts[count] = part;
        count++;
    }
    if (e)
        return e;
    if (count > TR_PATH_MAX) {
        (void)tr__ql_fault(q, "The document path has too many nesting levels; nesting levels: %u",
                           (unsigned)count);
        count = TR_PATH_MAX;
    }
    tr_path_part *copy = tr_arena_alloc(q->arena, count * sizeof *copy);
    if (!copy)
        return tr__expr_nomem(q->err);
    memcpy(copy, parts, count * sizeof *copy);
    *ret_path = (tr_path){count, copy};
    return 0;
}

static int read_path_node(tr__ql *q, tr__raw **ret_node)
{
    tr_path path;
    tr_view name;
    int e = new_node(q, TR__RAW_PATH, ret_node);
    if (e == 0)
        e = tr__ql_path(q, &path, &name);
    if (e)
        return e;
    (*ret_node)->operand = tr_operand_path(path);
    return finish(q, *ret_node);
}

/* ---------------------------------------------------------------------------------------------- functions */

/* Everything up to the closing parenthesis: operands, or * for counting, which the service refuses by its
 * name. */
static int read_arguments(tr__ql *q, tr__raw *node)
{
    int e = 0;
    while (q->token.kind != TR__QL_RPAREN && e == 0) {
        tr__raw *operand;
        if (tr__ql_take(q, TR__QL_STAR))
            continue;
        e = read_or(q, &operand);
        if (e == 0)
            tr__raw_add(node, operand);
        if (e == 0 && !tr__ql_take(q, TR__QL_COMMA) && q->token.kind != TR__QL_RPAREN)
            e = tr__ql_syntax(q);
    }
    if (e == 0)
        tr__ql_next(q);
    return e;
}

static int check_function(tr__ql *q, tr__raw *node, tr_view name)
{
    bool of_updates;
    node->func = (uint8_t)tr__func_of(name, &of_updates);
    if (node->func == TR__FUNC_UNKNOWN)
        return tr__ql_fault(q, "Unrecognized function: %.*s", TR_FMT(node->text));
    if (of_updates != in_update(q))
        return tr__ql_fault(q, "The function is not allowed in %s expression; function: %.*s",
                            in_update(q) ? "an update" : "a condition", TR_FMT(name));
    for (const tr__raw *o = node->first; o; o = o->next)
        (void)check_operand(q, o, node->text);
    return finish(q, node);
}

static int read_function(tr__ql *q, tr__raw **ret_node)
{
    char *name = tr_arena_str(q->arena, q->token.text);
    int e = name ? new_node(q, TR__RAW_FUNC, ret_node) : tr__expr_nomem(q->err);
    if (e == 0)
        e = tr__ql_enter(q);
    if (e)
        return e;
    (*ret_node)->text = q->token.text;
    for (char *p = name; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    tr__ql_next(q);
    tr__ql_next(q);
    e = read_arguments(q, *ret_node);
    tr__ql_leave(q);
    return e ? e : check_function(q, *ret_node, tr_view_str(name));
}

/* Whether a word and a parenthesis are here; keywords may name functions as well (size, count). */
static bool is_call(const tr__ql *q)
{
    return q->token.kind == TR__QL_WORD && q->at < q->text.ptr + q->text.len && *q->at == '(';
}

/* -------------------------------------------------------------------------------------------- expressions */

static int read_group(tr__ql *q, tr__raw **ret_node)
{
    int e = tr__ql_enter(q);
    if (e)
        return e;
    tr__ql_next(q);
    e = read_or(q, ret_node);
    tr__ql_leave(q);
    if (e == 0 && !tr__ql_take(q, TR__QL_RPAREN))
        e = tr__ql_syntax(q);
    return e;
}

/* EXISTS(SELECT …) inside of a condition, which the service parses and refuses. */
static int read_subquery(tr__ql *q, tr__raw **ret_node)
{
    tr_ql_statement inner = {.kind = TR_QL_EXISTS};
    int e = tr__ql_enter(q);
    if (e)
        return e;
    tr__ql_next(q);
    if (!tr__ql_take(q, TR__QL_LPAREN) || !tr__ql_is(q, "select"))
        return tr__ql_syntax(q);
    (void)tr__ql_fault(q, "Unsupported token in expression: SELECT at %s", tr__ql_place(q, &q->token));
    e = tr__ql_select(q, &inner);
    tr__ql_leave(q);
    if (e == 0 && !tr__ql_take(q, TR__QL_RPAREN))
        e = tr__ql_syntax(q);
    return e ? e : new_node(q, TR__RAW_AND, ret_node);
}

static int read_primary(tr__ql *q, tr__raw **ret_node)
{
    if (q->token.kind == TR__QL_LPAREN)
        return read_group(q, ret_node);
    if (tr__ql_is_value(q))
        return read_value_node(q, ret_node);
    if (tr__ql_is(q, "exists"))
        return read_subquery(q, ret_node);
    if (is_call(q))
        return read_function(q, ret_node);
    if (tr__ql_is(q, "missing")) {
        tr__ql_next(q);
        (void)tr__ql_fault(q, "MISSING must be compared using IS operator");
        return new_node(q, TR__RAW_VALUE, ret_node);
    }
    return read_path_node(q, ret_node);
}

static int read_sum(tr__ql *q, tr__raw **ret_node)
{
    int e = read_primary(q, ret_node);
    while (e == 0 && (q->token.kind == TR__QL_PLUS || q->token.kind == TR__QL_MINUS ||
                      q->token.kind == TR__QL_STAR || q->token.kind == TR__QL_OTHER_OPERATOR)) {
        tr__raw *left = *ret_node, *right;
        bool sum = q->token.kind == TR__QL_PLUS || q->token.kind == TR__QL_MINUS;
        if (!sum || !in_update(q))
            (void)tr__ql_fault(q, "Unsupported operator in %s Expression. Operator: %.*s",
                               in_update(q) ? "Update" : "Condition", TR_FMT(q->token.text));
        e = new_node(q, q->token.kind == TR__QL_MINUS ? TR__RAW_MINUS : TR__RAW_PLUS, ret_node);
        tr__ql_next(q);
        if (e == 0)
            e = read_primary(q, &right);
        if (e)
            return e;
        tr__raw_add(*ret_node, left);
        tr__raw_add(*ret_node, right);
        e = finish(q, *ret_node);
    }
    return e;
}

/* left IN [a, b], IN (a, b), IN <<a, b>> */
static int read_in(tr__ql *q, tr__raw *left, tr__raw **ret_node)
{
    static const tr__ql_tok closing[] = {
        [TR__QL_LBRACKET] = TR__QL_RBRACKET, [TR__QL_LPAREN] = TR__QL_RPAREN, [TR__QL_LBAG] = TR__QL_RBAG};
    tr__ql_tok open = q->token.kind;
    int e = new_node(q, TR__RAW_IN, ret_node);
    if (e)
        return e;
    tr__raw_add(*ret_node, left);
    bool list = open == TR__QL_LBRACKET || open == TR__QL_LPAREN || open == TR__QL_LBAG;
    if (list)
        tr__ql_next(q);
    while (e == 0 && list && q->token.kind != closing[open]) {
        tr__raw *operand;
        e = read_sum(q, &operand);
        if (e == 0)
            tr__raw_add(*ret_node, operand);
        if (e == 0 && !tr__ql_take(q, TR__QL_COMMA) && q->token.kind != closing[open])
            e = tr__ql_syntax(q);
    }
    if (e == 0 && !list) {
        tr__raw *other;
        e = read_sum(q, &other);
    }
    if (e)
        return e;
    if (list)
        tr__ql_next(q);
    if (open == TR__QL_LPAREN && (*ret_node)->count == 1)
        return tr__ql_syntax(q);
    if (left->kind != TR__RAW_PATH || (*ret_node)->count == 1)
        return tr__ql_fault(
            q, "IN operator must have a left hand argument of type Variable Reference and right hand "
               "argument of type Seq with at least one member");
    return finish(q, *ret_node);
}

static int read_between(tr__ql *q, tr__raw *left, tr__raw **ret_node)
{
    tr__raw *low, *high;
    int e = new_node(q, TR__RAW_BETWEEN, ret_node);
    if (e == 0)
        e = read_sum(q, &low);
    if (e == 0 && !tr__ql_take_word(q, "and"))
        e = tr__ql_syntax(q);
    if (e == 0)
        e = read_sum(q, &high);
    if (e)
        return e;
    tr__raw_add(*ret_node, left);
    tr__raw_add(*ret_node, low);
    tr__raw_add(*ret_node, high);
    (void)check_operand(q, left, TR_VIEW("BETWEEN"));
    return finish(q, *ret_node);
}

static int negate(tr__ql *q, tr__raw **node)
{
    tr__raw *inner = *node;
    int e = new_node(q, TR__RAW_NOT, node);
    if (e)
        return e;
    tr__raw_add(*node, inner);
    return finish(q, *node);
}

/* The type of NULL, as attribute_type takes it. */
static int null_name(tr__ql *q, tr__raw **ret_node)
{
    tr_expr_value *literal = tr_arena_calloc(q->arena, 1, sizeof *literal);
    int e = literal ? new_node(q, TR__RAW_VALUE, ret_node) : tr__expr_nomem(q->err);
    if (e)
        return e;
    literal->value = (tr_value){TR_S, TR_VIEW("NULL")};
    (*ret_node)->literal = literal;
    (*ret_node)->operand = tr_operand_value(literal->value);
    return 0;
}

/* left IS [NOT] MISSING, left IS [NOT] NULL: attribute_exists, attribute_not_exists, attribute_type. */
static int read_is(tr__ql *q, tr__raw *left, tr__raw **ret_node)
{
    bool negated = tr__ql_take_word(q, "not"), null = tr__ql_is(q, "null");
    if (!null && !tr__ql_is(q, "missing"))
        return tr__ql_syntax(q);
    tr__ql_next(q);
    int e = new_node(q, TR__RAW_FUNC, ret_node);
    if (e)
        return e;
    tr__raw_add(*ret_node, left);
    (*ret_node)->func = null ? TR__FUNC_TYPE : negated ? TR__FUNC_EXISTS : TR__FUNC_NOT_EXISTS;
    if (null) {
        tr__raw *type;
        e = null_name(q, &type);
        if (e)
            return e;
        tr__raw_add(*ret_node, type);
    }
    e = finish(q, *ret_node);
    return e == 0 && null && negated ? negate(q, ret_node) : e;
}

static int read_comparison(tr__ql *q, tr__raw *left, tr__raw **ret_node)
{
    tr__ql_token sign = q->token;
    tr__raw *right;
    int e = new_node(q, TR__RAW_COMPARE, ret_node);
    tr__ql_next(q);
    if (e == 0)
        e = read_sum(q, &right);
    if (e)
        return e;
    (*ret_node)->op = (uint8_t)(TR_COND_EQ + (sign.kind - TR__QL_EQ));
    tr__raw_add(*ret_node, left);
    tr__raw_add(*ret_node, right);
    (void)check_operand(q, left, sign.text);
    (void)check_operand(q, right, sign.text);
    return finish(q, *ret_node);
}

static int read_like(tr__ql *q)
{
    tr__raw *pattern;
    (void)tr__ql_fault(q, "Unsupported operator in Condition Expression. Operator: like");
    return read_sum(q, &pattern);
}

static int read_compared(tr__ql *q, tr__raw **ret_node)
{
    tr__raw *left;
    int e = read_sum(q, &left);
    *ret_node = left;
    if (e || in_update(q))
        return e;
    if (q->token.kind >= TR__QL_EQ && q->token.kind <= TR__QL_GE)
        return read_comparison(q, left, ret_node);
    if (tr__ql_take_word(q, "is"))
        return read_is(q, left, ret_node);
    bool negated = tr__ql_take_word(q, "not");
    if (tr__ql_take_word(q, "in"))
        e = read_in(q, left, ret_node);
    else if (tr__ql_take_word(q, "between"))
        e = read_between(q, left, ret_node);
    else if (tr__ql_take_word(q, "like"))
        e = read_like(q);
    else
        return negated ? tr__ql_syntax(q) : 0;
    return e == 0 && negated ? negate(q, ret_node) : e;
}

static int read_not(tr__ql *q, tr__raw **ret_node)
{
    if (!tr__ql_is(q, "not"))
        return read_compared(q, ret_node);
    int e = tr__ql_enter(q);
    tr__ql_next(q);
    if (e == 0)
        e = read_not(q, ret_node);
    tr__ql_leave(q);
    if (e)
        return e;
    if (!is_condition(*ret_node))
        return tr__ql_fault(q, "The argument to NOT must be an Expression");
    return negate(q, ret_node);
}

/* AND or OR of several. */
static int read_joined(tr__ql *q, bool both, tr__raw **ret_node)
{
    const char *word = both ? "and" : "or";
    int e = both ? read_not(q, ret_node) : read_joined(q, true, ret_node);
    if (e || !tr__ql_is(q, word))
        return e;
    tr__raw *first = *ret_node;
    e = new_node(q, both ? TR__RAW_AND : TR__RAW_OR, ret_node);
    if (e)
        return e;
    tr__raw_add(*ret_node, first);
    bool conditions = is_condition(first);
    while (e == 0 && tr__ql_take_word(q, word)) {
        tr__raw *next;
        e = both ? read_not(q, &next) : read_joined(q, true, &next);
        if (e)
            return e;
        conditions &= is_condition(next);
        tr__raw_add(*ret_node, next);
    }
    if (!conditions)
        return tr__ql_fault(q, "The arguments to AND/OR must be Expressions");
    return finish(q, *ret_node);
}

static int read_or(tr__ql *q, tr__raw **ret_node)
{
    if (in_update(q))
        return read_sum(q, ret_node);
    return read_joined(q, false, ret_node);
}

int tr__ql_condition(tr__ql *q, const tr_cond **ret_cond)
{
    tr__raw *node;
    q->parse.kind = TR_EXPR_CONDITION;
    int e = read_or(q, &node);
    if (e)
        return e;
    if (!is_condition(node))
        (void)tr__ql_fault(q, "WHERE clause must contain an expression that resolves to a boolean");
    *ret_cond = q->faulted ? NULL : node->made;
    return 0;
}

/* ---------------------------------------------------------------------------------------------------- SET */

static bool same_path(const tr_path *a, const tr_path *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!tr_view_eq(a->parts[i].name, b->parts[i].name) || a->parts[i].index != b->parts[i].index)
            return false;
    return true;
}

/* set_add(path, set) and set_delete(path, set), which are actions of an update, not terms. */
static int read_set_function(tr__ql *q, tr_update_step *step)
{
    bool add = tr__ql_is(q, "set_add");
    const char *name = add ? "SET_ADD" : "SET_DELETE";
    tr_path path;
    tr_view last;
    tr_value value;
    tr__ql_next(q);
    tr__ql_next(q);
    tr__ql_token first = q->token;
    int e = tr__ql_path(q, &path, &last);
    if (e == 0 && !tr__ql_take(q, TR__QL_COMMA))
        e = tr__ql_syntax(q);
    if (e == 0)
        e = tr__ql_is_value(q) ? tr__ql_value(q, &value) : tr__ql_syntax(q);
    if (e == 0 && !tr__ql_take(q, TR__QL_RPAREN))
        e = tr__ql_syntax(q);
    tr_term *term = tr_arena_calloc(q->arena, 1, sizeof *term);
    if (e || !term)
        return e ? e : tr__expr_nomem(q->err);
    if (!same_path(&path, &step->path))
        return tr__ql_fault(q, "The first argument to %s must equal the assignment value", name);
    if (value.type < TR_SS)
        return tr__ql_fault(q, "The second argument to %s must be a value with type SET at %s", name,
                            tr__ql_place(q, &first));
    step->action = add ? TR_UPDATE_ADD : TR_UPDATE_DELETE;
    *term = (tr_term){.kind = TR_TERM_VALUE, .value = value};
    step->term = term;
    return 0;
}

int tr__ql_set(tr__ql *q, tr_update_step *ret_step)
{
    tr_view last;
    tr__raw *node;
    q->parse.kind = TR_EXPR_UPDATE;
    *ret_step = (tr_update_step){.action = TR_UPDATE_SET};
    int e = tr__ql_path(q, &ret_step->path, &last);
    if (e == 0 && !tr__ql_take(q, TR__QL_EQ))
        e = tr__ql_syntax(q);
    if (e)
        return e;
    if (is_call(q) && (tr__ql_is(q, "set_add") || tr__ql_is(q, "set_delete")))
        return read_set_function(q, ret_step);
    e = read_sum(q, &node);
    if (e == 0)
        ret_step->term = q->faulted ? NULL : node->made;
    return e;
}
