/* SPDX-License-Identifier: MIT */
/* Update expressions: parsing and checking. */
#include "update.h"

/* ----------------------------------------------------------------------------------------------- making */

/* `steps` must live as long as the arena. */
static int make(tr_arena *arena, const tr_update_step *steps, uint32_t count, const tr_update **ret_update,
                tr_error *err)
{
    tr_update *u = tr_arena_calloc(arena, 1, sizeof *u);
    const tr_path **paths = tr_arena_alloc(arena, count * sizeof *paths);
    if (!u || !paths)
        return tr__expr_nomem(err);
    u->steps = steps;
    u->count = count;
    for (uint32_t i = 0; i < count; i++) {
        paths[i] = &steps[i].path;
        u->creates |= steps[i].action == TR_UPDATE_SET || steps[i].action == TR_UPDATE_ADD;
        if (tr__names_add(&u->names, arena, steps[i].path.parts[0].name) < 0)
            return tr__expr_nomem(err);
    }
    int r = tr__trie_build(arena, paths, count, "Invalid UpdateExpression: ", &u->root, &u->nodes, err);
    if (r == 0)
        *ret_update = u;
    return r;
}

/* Stops at the limit. */
static bool too_deep(const tr_term *term, unsigned depth)
{
    if (!term)
        return false;
    return depth > TR_EXPR_DEPTH_MAX || too_deep(term->left, depth + 1) || too_deep(term->right, depth + 1);
}

int tr_update_of(tr_arena *arena, const tr_update_step *steps, uint32_t count, const tr_update **ret_update,
                 tr_error *err)
{
    tr_update_step *copy = tr_arena_alloc(arena, count * sizeof *copy);
    if (!copy)
        return tr__expr_nomem(err);
    for (uint32_t i = 0; i < count; i++) {
        if (too_deep(steps[i].term, 1))
            return tr_fail(err, TR_ELIMIT, "the operands of an update are nested too deeply");
        copy[i] = steps[i];
    }
    return make(arena, copy, count, ret_update, err);
}

/* ---------------------------------------------------------------------------------------------- parsing */

/* One action as it was read. */
typedef struct action {
    struct action *next, *before;
    tr_update_action what;
    tr__raw *path;
    tr__raw *from, *value; /* nodes of the right-hand side, in the order they ended; NULL for REMOVE */
} action;

typedef struct reader {
    tr__parse parse;
    action *first, *last;
    uint32_t count;
    bool seen[4];
    const char *repeated; /* the first section that was there before */
} reader;

static int read_action(reader *r, tr_update_action what)
{
    tr__parse *p = &r->parse;
    action *a = tr_arena_calloc(p->env->arena, 1, sizeof *a);
    if (!a)
        return tr__expr_nomem(p->err);
    a->what = what;
    int e = tr__parse_path(p, &a->path);
    if (e < 0)
        return e;
    tr__raw **from = p->ended_end;
    if (what == TR_UPDATE_SET)
        e = tr__lex_take(&p->lexer, TR__TOK_EQ) ? tr__parse_term(p, &a->value)
                                                : tr__lex_fail(&p->lexer, p->err);
    else if (what != TR_UPDATE_REMOVE)
        e = tr__parse_value(p, &a->value);
    if (e < 0)
        return e;
    a->from = a->value ? *from : NULL;
    a->before = r->last;
    if (r->last)
        r->last->next = a;
    else
        r->first = a;
    r->last = a;
    r->count++;
    return 0;
}

static int read_section(reader *r)
{
    static const char *const names[] = {"SET", "REMOVE", "ADD", "DELETE"};
    tr__lexer *lexer = &r->parse.lexer;
    if (lexer->token.kind < TR__TOK_SET || lexer->token.kind > TR__TOK_DELETE)
        return tr__lex_fail(lexer, r->parse.err);
    tr_update_action what = (tr_update_action)(lexer->token.kind - TR__TOK_SET);
    if (r->seen[what] && !r->repeated)
        r->repeated = names[what];
    r->seen[what] = true;
    tr__lex_next(lexer);
    int e;
    do
        e = read_action(r, what);
    while (e == 0 && tr__lex_take(lexer, TR__TOK_COMMA));
    return e;
}

/* ------------------------------------------------------------------------------------------------ terms */

static int make_term(tr__parse *parse, tr__raw *node)
{
    tr_term *term = tr_arena_calloc(parse->env->arena, 1, sizeof *term);
    if (!term)
        return tr__expr_nomem(parse->err);
    const tr__raw *first = node->first;
    switch ((tr__raw_kind)node->kind) {
    case TR__RAW_PATH:
        term->kind = TR_TERM_PATH;
        term->path = node->operand.path;
        break;
    case TR__RAW_VALUE:
        term->kind = TR_TERM_VALUE;
        term->value = node->operand.value;
        break;
    case TR__RAW_FUNC:
        if (node->func == TR__FUNC_IF_NOT_EXISTS) {
            term->kind = TR_TERM_IF_NOT_EXISTS;
            term->path = first->operand.path;
            term->left = first->next->made;
            break;
        }
        term->kind = TR_TERM_LIST_APPEND;
        term->left = first->made;
        term->right = first->next->made;
        break;
    default:
        term->kind = node->kind == TR__RAW_PLUS ? TR_TERM_PLUS : TR_TERM_MINUS;
        term->left = first->made;
        term->right = first->next->made;
    }
    node->made = term;
    return 0;
}

static int check_set_operand(tr__parse *parse, const action *a)
{
    static const char *const types[] = {"", "STRING", "NUMBER", "BINARY", "BOOLEAN", "NULL", "MAP", "LIST"};
    tr_type type = a->value->literal->value.type;
    if (type >= TR_SS || (type == TR_N && a->what == TR_UPDATE_ADD))
        return 0;
    const char *what = a->what == TR_UPDATE_ADD ? "ADD" : "DELETE";
    return tr__parse_fail(parse,
                          "Incorrect operand type for operator or function; operator: %s, operand type: %s, "
                          "typeSet: ALLOWED_FOR_%s_OPERAND",
                          what, types[type], what);
}

static int check_value(tr__parse *parse, const action *a)
{
    if (!a->value)
        return 0;
    for (tr__raw *node = a->from;; node = node->next_ended) {
        int r = tr__check_node(parse, node);
        if (r == 0)
            r = make_term(parse, node);
        if (r < 0)
            return r;
        if (node == a->value)
            break;
    }
    return a->what == TR_UPDATE_SET ? 0 : check_set_operand(parse, a);
}

/* --------------------------------------------------------------------------------------------- together */

/*
 * The service looks at names first, then at sections, at the paths that are changed (the last first), at
 * their overlaps, and at the right-hand sides (the last first) at the end.
 */
static int check(reader *r)
{
    tr__parse *p = &r->parse;
    int e = tr__check_names(p);
    if (e < 0)
        return e;
    if (r->repeated)
        return tr__parse_fail(p, "The \"%s\" section can only be used once in an update expression;",
                              r->repeated);
    for (action *a = r->last; a; a = a->before)
        if ((e = tr__check_node(p, a->path)) < 0)
            return e;
    return 0;
}

int tr_update_parse(tr_expr_env *env, tr_view text, const tr_update **ret_update, tr_error *err)
{
    reader r = {.first = NULL};
    int e = tr__parse_init(&r.parse, env, TR_EXPR_UPDATE, text, err);
    if (e == 0) {
        do
            e = read_section(&r);
        while (e == 0 && r.parse.lexer.token.kind != TR__TOK_EOF);
    }
    if (e == 0)
        e = check(&r);
    if (e < 0)
        return e;
    tr_update_step *steps = tr_arena_calloc(env->arena, r.count, sizeof *steps);
    if (!steps)
        return tr__expr_nomem(err);
    uint32_t n = 0;
    for (action *a = r.first; a; a = a->next)
        steps[n++] = (tr_update_step){.action = a->what, .path = a->path->operand.path};
    const tr_update *update;
    if ((e = make(env->arena, steps, r.count, &update, err)) < 0)
        return e;
    for (action *a = r.last; a; a = a->before) {
        if ((e = check_value(&r.parse, a)) < 0)
            return e;
        steps[--n].term = a->value ? a->value->made : NULL;
    }
    *ret_update = update;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ asking */

const tr_view *tr_update_attributes(const tr_update *update, uint32_t *ret_count)
{
    *ret_count = update->names.count;
    return update->names.names;
}

bool tr_update_creates(const tr_update *update)
{
    return update->creates;
}

static bool path_nests(const tr_path *path, tr_view attribute)
{
    return path->count > 1 && tr_view_eq(path->parts[0].name, attribute);
}

static bool term_nests(const tr_term *term, tr_view attribute)
{
    return term && (path_nests(&term->path, attribute) || term_nests(term->left, attribute) ||
                    term_nests(term->right, attribute));
}

bool tr_update_nests(const tr_update *update, tr_view attribute)
{
    for (uint32_t i = 0; i < update->count; i++)
        if (path_nests(&update->steps[i].path, attribute) || term_nests(update->steps[i].term, attribute))
            return true;
    return false;
}
