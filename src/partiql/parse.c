/* SPDX-License-Identifier: MIT */
/*
 * Statements.
 *
 *   SELECT ("*" | path {"," path}) FROM table ["." index] [WHERE condition] [ORDER BY path [ASC | DESC] {","
 * …}] INSERT INTO table VALUE {'name': value, …} UPDATE table {SET path = term {"," path = term} | REMOVE
 * path} [WHERE condition] [RETURNING …] DELETE FROM table [WHERE condition] [RETURNING …] EXISTS(SELECT …)
 */
#include "partiql/internal.h"

/* ------------------------------------------------------------------------------------------------- tables */

/* table, table.index, and what else the grammar allows there. */
static int read_source(tr__ql *q, tr_ql_statement *s)
{
    if (q->token.kind == TR__QL_STRING || tr__ql_is_value(q)) {
        (void)tr__ql_fault(q, "Unexpected from source");
        tr__ql_next(q);
        return 0;
    }
    if (!tr__ql_is_name(q))
        return tr__ql_syntax(q);
    int e = tr__ql_text(q, &q->token, &s->table);
    tr__ql_next(q);
    for (unsigned i = 0; e == 0 && tr__ql_take(q, TR__QL_DOT); i++) {
        if (q->token.kind != TR__QL_WORD && q->token.kind != TR__QL_QUOTED)
            return tr__ql_syntax(q);
        e = tr__ql_text(q, &q->token, &s->index);
        tr__ql_next(q);
        if (i)
            (void)tr__ql_fault(q, "Only select from a single table or index is supported.");
    }
    return e;
}

static int read_alias(tr__ql *q)
{
    bool as = tr__ql_take_word(q, "as");
    if (!as && !tr__ql_is_name(q))
        return 0;
    if (!tr__ql_is_name(q))
        return tr__ql_syntax(q);
    tr__ql_next(q);
    return tr__ql_fault(q, "Aliasing is not supported");
}

/* A statement that changes items names a table alone. */
static int read_table(tr__ql *q, tr_ql_statement *s)
{
    int e = read_source(q, s);
    if (e == 0 && s->index.ptr)
        (void)tr__ql_fault(
            q, s->kind == TR_QL_INSERT
                   ? "FROM clause may only contain a single table name in data manipulation statements"
                   : "This operation is not supported on an index");
    return e;
}

static int read_where(tr__ql *q, tr_ql_statement *s)
{
    return tr__ql_take_word(q, "where") ? tr__ql_condition(q, &s->where) : 0;
}

/* ------------------------------------------------------------------------------------------------- SELECT */

/* Fields as they come. */
typedef struct field_list {
    struct field_list *next;
    tr_ql_field field;
} field_list;

static int read_field(tr__ql *q, field_list *entry)
{
    tr__ql_token first = q->token;
    const char *behind = q->at;
    if (tr__ql_is_name(q) && (behind == q->text.ptr + q->text.len || *behind != '(')) {
        int e = tr__ql_path(q, &entry->field.path, &entry->field.name);
        return e ? e : read_alias(q);
    }
    /* something else: what it is does not matter, since it is refused */
    const tr_cond *other;
    if (tr__ql_take_word(q, "missing")) {
        (void)tr__ql_fault(q, "Unexpected path component at %s", tr__ql_place(q, &first));
        return read_alias(q);
    }
    (void)tr__ql_fault(q, "Unexpected path component at %s", tr__ql_place(q, &first));
    int e = tr__ql_condition(q, &other);
    return e ? e : read_alias(q);
}

static int check_fields(tr__ql *q, tr_ql_statement *s)
{
    tr_path *paths = tr_arena_calloc(q->arena, s->field_count, sizeof *paths);
    tr_error err;
    if (!paths)
        return tr__expr_nomem(q->err);
    if (q->faulted)
        return 0;
    for (uint32_t i = 0; i < s->field_count; i++) {
        paths[i] = s->fields[i].path;
        for (uint32_t k = 0; k < i; k++)
            if (tr_view_eq(s->fields[i].name, s->fields[k].name))
                return tr__ql_fault(q, "Duplicate identifiers in select clause: %.*s",
                                    TR_FMT(s->fields[i].name));
    }
    int e = tr_projection_of(q->arena, paths, s->field_count, &s->projection, &err);
    return e ? tr__ql_refused(q, e, &err) : 0;
}

static int read_fields(tr__ql *q, tr_ql_statement *s)
{
    field_list *first = NULL, **end = &first;
    int e = 0;
    if (tr__ql_take(q, TR__QL_STAR))
        return 0;
    do {
        *end = tr_arena_calloc(q->arena, 1, sizeof **end);
        e = *end ? read_field(q, *end) : tr__expr_nomem(q->err);
        if (e)
            return e;
        s->field_count++;
        end = &(*end)->next;
    } while (tr__ql_take(q, TR__QL_COMMA));
    tr_ql_field *fields = tr_arena_calloc(q->arena, s->field_count, sizeof *fields);
    if (!fields)
        return tr__expr_nomem(q->err);
    for (uint32_t i = 0; first; i++, first = first->next)
        fields[i] = first->field;
    s->fields = fields;
    return check_fields(q, s);
}

/* Attributes of a key; more than there are can not be told apart from others that are none. */
#define ORDERS_MAX (2 * TR_KEY_PARTS_MAX)

static int read_orders(tr__ql *q, tr_ql_statement *s)
{
    tr_ql_order *orders = tr_arena_calloc(q->arena, ORDERS_MAX, sizeof *orders);
    int e = orders ? 0 : tr__expr_nomem(q->err);
    if (e == 0 && !tr__ql_take_word(q, "by"))
        e = tr__ql_syntax(q);
    if (e)
        return e;
    do {
        tr_path path;
        tr_ql_order order = {.descending = false};
        e = tr__ql_path(q, &path, &order.name);
        if (e)
            return e;
        if (tr__ql_take_word(q, "desc"))
            order.descending = true;
        else
            (void)tr__ql_take_word(q, "asc");
        if (s->order_count == ORDERS_MAX)
            return tr__ql_fault(q, "ORDER BY names more than %d attributes", ORDERS_MAX);
        orders[s->order_count++] = order;
    } while (tr__ql_take(q, TR__QL_COMMA));
    s->orders = orders;
    if (!s->where)
        (void)tr__ql_fault(q, "Must have WHERE clause in the statement when using ORDER BY clause.");
    return 0;
}

/* Clauses of SQL that DynamoDB does not have. What follows is not looked at any more. */
static int refuse_clauses(tr__ql *q)
{
    tr__ql_token word = q->token;
    bool placed = tr__ql_is(q, "limit") || tr__ql_is(q, "offset");
    if (!placed && !tr__ql_is(q, "group") && !tr__ql_is(q, "having") && !tr__ql_is(q, "let"))
        return 0;
    tr__ql_next(q);
    if (placed)
        (void)tr__ql_fault(q, "Unsupported clause: %s at %s",
                           (word.text.ptr[0] | 32) == 'l' ? "LIMIT" : "OFFSET", tr__ql_place(q, &q->token));
    else
        (void)tr__ql_fault(q, "Unsupported clause: %s",
                           (word.text.ptr[0] | 32) == 'g'   ? "GROUP BY"
                           : (word.text.ptr[0] | 32) == 'h' ? "HAVING"
                                                            : "LET");
    while (q->token.kind != TR__QL_EOF && q->token.kind != TR__QL_UNKNOWN)
        tr__ql_next(q);
    return q->token.kind == TR__QL_EOF ? 0 : tr__ql_syntax(q);
}

int tr__ql_select(tr__ql *q, tr_ql_statement *s)
{
    tr__ql_next(q);
    if (tr__ql_take_word(q, "distinct"))
        (void)tr__ql_fault(q, "Unsupported token in expression: DISTINCT");
    else if (tr__ql_take_word(q, "value") || tr__ql_take_word(q, "pivot"))
        (void)tr__ql_fault(q, "Select projection doesn't support value or pivot keywords");
    else
        (void)tr__ql_take_word(q, "all");
    int e = read_fields(q, s);
    if (e == 0 && !tr__ql_take_word(q, "from"))
        e = tr__ql_syntax(q);
    if (e == 0)
        e = read_source(q, s);
    if (e == 0)
        e = read_alias(q);
    while (e == 0 && tr__ql_take(q, TR__QL_COMMA)) {
        tr_ql_statement other = {.kind = TR_QL_SELECT};
        (void)tr__ql_fault(q, "Only select from a single table or index is supported.");
        e = read_source(q, &other);
    }
    if (e == 0)
        e = read_where(q, s);
    if (e == 0 && tr__ql_take_word(q, "order"))
        e = read_orders(q, s);
    return e ? e : refuse_clauses(q);
}

/* ---------------------------------------------------------------------------------------------- RETURNING */

static int read_returning(tr__ql *q, tr_ql_statement *s)
{
    if (!tr__ql_take_word(q, "returning"))
        return 0;
    bool modified = tr__ql_take_word(q, "modified");
    if (!modified && !tr__ql_take_word(q, "all"))
        return tr__ql_syntax(q);
    bool new = tr__ql_take_word(q, "new");
    if (!new && !tr__ql_take_word(q, "old"))
        return tr__ql_syntax(q);
    s->returning = modified ? (new ? TR_QL_RETURN_MODIFIED_NEW : TR_QL_RETURN_MODIFIED_OLD)
                            : (new ? TR_QL_RETURN_ALL_NEW : TR_QL_RETURN_ALL_OLD);
    if (!tr__ql_take(q, TR__QL_STAR)) {
        tr_path path;
        tr_view name;
        (void)tr__ql_fault(q, "Expected '*' after ( MODIFIED | ALL ) ( NEW | OLD ) in RETURNING clause");
        return tr__ql_path(q, &path, &name);
    }
    if (s->kind == TR_QL_INSERT)
        return tr__ql_fault(q, "RETURNING is not supported in INSERT");
    if (s->kind == TR_QL_DELETE && s->returning != TR_QL_RETURN_ALL_OLD)
        return tr__ql_fault(
            q,
            "Invalid returning clause: RETURNING %s %s *. Only RETURNING ALL OLD * is allowed in "
            "DELETE statements.",
            modified ? "MODIFIED" : "ALL", new ? "NEW" : "OLD");
    return 0;
}

/* ---------------------------------------------------------------------------------------- INSERT and DELETE
 */

static int read_insert(tr__ql *q, tr_ql_statement *s)
{
    s->kind = TR_QL_INSERT;
    tr__ql_next(q);
    if (!tr__ql_take_word(q, "into"))
        return tr__ql_syntax(q);
    int e = read_table(q, s);
    if (e)
        return e;
    if (!tr__ql_take_word(q, "value")) {
        tr_value value;
        if (!tr__ql_is_value(q))
            return tr__ql_syntax(q);
        (void)tr__ql_fault(q, "Unsupported operation: InsertOp");
        return tr__ql_value(q, &value);
    }
    if (q->token.kind != TR__QL_LBRACE) {
        tr__ql_token at = q->token;
        tr_value value;
        e = tr__ql_value(q, &value);
        /* told before whatever is wrong with the value */
        q->faulted = false;
        (void)tr__ql_fault(
            q,
            "Unsupported format in item expression. Please use struct format {...} to express item "
            "values for insert statement. at %s",
            tr__ql_place(q, &at));
    } else {
        e = tr__ql_item(q, &s->item);
    }
    return e ? e : read_returning(q, s);
}

static int read_delete(tr__ql *q, tr_ql_statement *s)
{
    s->kind = TR_QL_DELETE;
    tr__ql_next(q);
    if (!tr__ql_take_word(q, "from"))
        return tr__ql_syntax(q);
    int e = read_table(q, s);
    if (e == 0)
        e = read_where(q, s);
    return e ? e : read_returning(q, s);
}

/* ------------------------------------------------------------------------------------------------- UPDATE */

typedef struct step_list {
    struct step_list *next;
    tr_update_step step;
} step_list;

static int read_step(tr__ql *q, bool set, step_list ***end, uint32_t *count)
{
    tr_view name;
    step_list *entry = tr_arena_calloc(q->arena, 1, sizeof *entry);
    if (!entry)
        return tr__expr_nomem(q->err);
    entry->step.action = TR_UPDATE_REMOVE;
    int e = set ? tr__ql_set(q, &entry->step) : tr__ql_path(q, &entry->step.path, &name);
    **end = entry;
    *end = &entry->next;
    ++*count;
    return e;
}

static int make_update(tr__ql *q, const step_list *list, uint32_t count, tr_ql_statement *s)
{
    tr_error err;
    tr_update_step *steps = tr_arena_calloc(q->arena, count, sizeof *steps);
    if (!steps)
        return tr__expr_nomem(q->err);
    if (q->faulted)
        return 0;
    for (uint32_t i = 0; list; i++, list = list->next)
        steps[i] = list->step;
    int e = tr_update_of(q->arena, steps, count, &s->update, &err);
    return e ? tr__ql_refused(q, e, &err) : 0;
}

static int read_update(tr__ql *q, tr_ql_statement *s)
{
    step_list *first = NULL, **end = &first;
    uint32_t count = 0;
    s->kind = TR_QL_UPDATE;
    tr__ql_next(q);
    int e = read_table(q, s);
    while (e == 0 && (tr__ql_is(q, "set") || tr__ql_is(q, "remove"))) {
        bool set = tr__ql_is(q, "set");
        tr__ql_next(q);
        do
            e = read_step(q, set, &end, &count);
        while (e == 0 && set && tr__ql_take(q, TR__QL_COMMA));
    }
    if (e == 0 && !count)
        e = tr__ql_syntax(q);
    if (e == 0)
        e = make_update(q, first, count, s);
    if (e == 0)
        e = read_where(q, s);
    return e ? e : read_returning(q, s);
}

/* ------------------------------------------------------------------------------------------------ together
 */

static int read_exists(tr__ql *q, tr_ql_statement *s)
{
    s->kind = TR_QL_EXISTS;
    tr__ql_next(q);
    if (!tr__ql_take(q, TR__QL_LPAREN) || !tr__ql_is(q, "select"))
        return tr__ql_syntax(q);
    int e = tr__ql_select(q, s);
    if (e == 0 && !tr__ql_take(q, TR__QL_RPAREN))
        e = tr__ql_syntax(q);
    return e;
}

/* CREATE TABLE and its kin, which PartiQL has and DynamoDB does not. What follows is not looked at. */
static int read_definition(tr__ql *q, bool *ret_found)
{
    static const struct {
        const char *first, *second, *name;
    } list[] = {{"create", "table", "CreateTable"},
                {"create", "index", "CreateIndex"},
                {"drop", "table", "DropTable"},
                {"drop", "index", "DropIndex"},
                {"exec", NULL, "Exec"}};
    tr__ql behind = *q; /* to look at the word after the first */
    tr__ql_next(&behind);
    *ret_found = false;
    for (size_t i = 0; i < TR_COUNT(list) && !*ret_found; i++) {
        if (!tr__ql_is(q, list[i].first) || (list[i].second && !tr__ql_is(&behind, list[i].second)))
            continue;
        *ret_found = true;
        (void)tr__ql_fault(q, "Unsupported operation: %s", list[i].name);
    }
    while (*ret_found && q->token.kind != TR__QL_EOF && q->token.kind != TR__QL_UNKNOWN)
        tr__ql_next(q);
    return 0;
}

/* An expression is a statement of PartiQL, but none of DynamoDB's. */
static int read_expression(tr__ql *q)
{
    bool name = tr__ql_is_name(q);
    const tr_cond *other;
    if (!name && !tr__ql_is_value(q))
        return tr__ql_syntax(q);
    (void)tr__ql_fault(q, "Unsupported operation: %s", name ? "VariableReference" : "Literal");
    return tr__ql_condition(q, &other);
}

static int read_statement(tr__ql *q, tr_ql_statement *s)
{
    if (tr__ql_is(q, "select"))
        return tr__ql_select(q, s);
    if (tr__ql_is(q, "insert"))
        return read_insert(q, s);
    if (tr__ql_is(q, "update"))
        return read_update(q, s);
    if (tr__ql_is(q, "delete"))
        return read_delete(q, s);
    if (tr__ql_is(q, "exists"))
        return read_exists(q, s);
    bool definition;
    int e = read_definition(q, &definition);
    return e || definition ? e : read_expression(q);
}

int tr_ql_parse(tr_arena *arena, tr_buf *scratch, tr_view text, const tr_value *parameters,
                uint32_t parameter_count, const tr_ql_statement **ret_statement, tr_error *err)
{
    tr_error own;
    tr_ql_statement *s = tr_arena_calloc(arena, 1, sizeof *s);
    tr__ql *q = tr_arena_calloc(arena, 1, sizeof *q);
    err = err ? err : &own;
    if (!s || !q)
        return tr__expr_nomem(err);
    *q = (tr__ql){.arena = arena,
                  .scratch = scratch,
                  .parameters = parameters,
                  .parameter_count = parameter_count,
                  .err = err};
    tr_expr_env_init(&q->env, arena);
    q->parse = (tr__parse){.env = &q->env, .kind = TR_EXPR_CONDITION, .bare = true};
    if (text.len > TR_QL_TEXT_MAX)
        return tr__expr_fail(err, "The statement has %zu bytes, more than the %d that are allowed", text.len,
                             TR_QL_TEXT_MAX);
    if (!tr_utf8_valid(text)) /* JSON's is; literals become values as they are */
        return tr__expr_fail(err, "Statement wasn't well formed, can't be processed: it is not UTF-8");
    tr__ql_begin(q, text);
    int e = read_statement(q, s);
    if (e)
        return e;
    (void)tr__ql_take(q, TR__QL_SEMICOLON);
    if (q->token.kind != TR__QL_EOF)
        return tr__ql_syntax(q);
    if (q->faulted) {
        *err = q->fault;
        return TR_EINVAL;
    }
    *ret_statement = s;
    return 0;
}
