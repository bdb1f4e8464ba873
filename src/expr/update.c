/* SPDX-License-Identifier: MIT */
/* Update expressions: parsing and checking. */
#include "update.h"

/* ------------------------------------------------------------------------------------------------- making */

#define PREFIX "Invalid UpdateExpression: "

/* The builder holds the paths of all steps. `steps` must live as long as the arena. */
static int make(const tr__trie_builder *builder, const tr_update_step *steps, uint32_t count,
                const tr_update **ret_update)
{
    tr_update *u = tr_arena_calloc(builder->arena, 1, sizeof *u);
    if (!u)
        return tr__expr_nomem(builder->err);
    u->steps = steps;
    u->count = count;
    u->root = builder->root;
    u->nodes = builder->nodes;
    for (uint32_t i = 0; i < count; i++) {
        u->creates |= steps[i].action == TR_UPDATE_SET || steps[i].action == TR_UPDATE_ADD;
        if (tr__names_add(&u->names, builder->arena, steps[i].path.parts[0].name) < 0)
            return tr__expr_nomem(builder->err);
    }
    *ret_update = u;
    return 0;
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
    const tr_path **paths = tr_arena_alloc(arena, count * sizeof(tr_path *));
    if (!copy || !paths)
        return tr__expr_nomem(err);
    for (uint32_t i = 0; i < count; i++) {
        if (too_deep(steps[i].term, 1))
            return tr_fail(err, TR_ELIMIT, "the operands of an update are nested too deeply");
        copy[i] = steps[i];
        paths[i] = &copy[i].path;
    }
    tr__trie_builder b = {.arena = arena, .paths = paths, .prefix = PREFIX, .err = err};
    int r = tr__trie_begin(&b);
    for (uint32_t i = count; r == 0 && i-- > 0;)
        r = tr__trie_insert(&b, i);
    return r < 0 ? r : make(&b, copy, count, ret_update);
}

/* ------------------------------------------------------------------------------------------------ parsing */

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
        e = tr__lex_take(&p->lexer, TR__TOK_EQ) ? tr__parse_term(p, &a->value) : tr__parse_syntax(p);
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
        return tr__parse_syntax(&r->parse);
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

/* -------------------------------------------------------------------------------------------------- terms */

int tr__term_make(tr__parse *parse, tr__raw *node)
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
            r = tr__term_make(parse, node);
        if (r < 0)
            return r;
        if (node == a->value)
            break;
    }
    return a->what == TR_UPDATE_SET ? 0 : check_set_operand(parse, a);
}

/* ----------------------------------------------------------------------------------------------- together */

/*
 * The service looks at names first, then at sections, at the paths that are changed and their overlaps (the
 * last first), and at the right-hand sides (the last first) at the end.
 */
static int check_paths(reader *r, tr__trie_builder *b, const tr_path **paths)
{
    int e = tr__trie_begin(b);
    uint32_t n = r->count;
    for (action *a = r->last; e == 0 && a; a = a->before) {
        paths[--n] = &a->path->operand.path;
        e = tr__check_node(&r->parse, a->path);
        if (e == 0)
            e = tr__trie_insert(b, n);
    }
    return e;
}

static int check(reader *r, const tr_update **ret_update)
{
    tr__parse *p = &r->parse;
    tr_arena *arena = p->env->arena;
    int e = tr__check_names(p);
    if (e < 0)
        return e;
    if (r->repeated)
        return tr__parse_fail(p, "The \"%s\" section can only be used once in an update expression;",
                              r->repeated);
    tr_update_step *steps = tr_arena_calloc(arena, r->count, sizeof *steps);
    const tr_path **paths = tr_arena_alloc(arena, r->count * sizeof(tr_path *));
    if (!steps || !paths)
        return tr__expr_nomem(p->err);
    tr__trie_builder b = {.arena = arena, .paths = paths, .prefix = PREFIX, .err = p->err};
    if ((e = check_paths(r, &b, paths)) < 0)
        return e;
    uint32_t n = r->count;
    for (action *a = r->last; a; a = a->before) {
        if ((e = check_value(p, a)) < 0)
            return e;
        steps[--n] = (tr_update_step){
            .action = a->what, .path = a->path->operand.path, .term = a->value ? a->value->made : NULL};
    }
    return make(&b, steps, r->count, ret_update);
}

int tr_update_parse(tr_expr_env *env, tr_view text, const tr_update **ret_update, tr_error *err)
{
    reader r = {.first = NULL};
    int e = tr__parse_init(&r.parse, env, TR_EXPR_UPDATE, text, err);
    if (e < 0)
        return e;
    do
        e = read_section(&r);
    while (e == 0 && r.parse.lexer.token.kind != TR__TOK_EOF);
    return e < 0 ? e : check(&r, ret_update);
}

/* ------------------------------------------------------------------------------------------------- asking */

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
