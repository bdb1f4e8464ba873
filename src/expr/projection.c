/* SPDX-License-Identifier: MIT */
/* Projections: paths, and what they leave of an item. */
#include "internal.h"

struct tr_projection {
    tr__trie *root;
    uint32_t nodes;
    const tr_path *const *paths;
    uint32_t count;
    tr__names names;
};

/* `paths` must live as long as the arena. */
static int make(tr_arena *arena, const tr_path *const *paths, uint32_t count,
                const tr_projection **ret_projection, tr_error *err)
{
    tr_projection *p = tr_arena_calloc(arena, 1, sizeof *p);
    if (!p)
        return tr__expr_nomem(err);
    p->paths = paths;
    p->count = count;
    int r = tr__trie_build(arena, paths, count, "Invalid ProjectionExpression: ", &p->root, &p->nodes, err);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        if (tr__names_add(&p->names, arena, paths[i]->parts[0].name) < 0)
            r = tr__expr_nomem(err);
    if (r == 0)
        *ret_projection = p;
    return r;
}

int tr_projection_of(tr_arena *arena, const tr_path *paths, uint32_t count,
                     const tr_projection **ret_projection, tr_error *err)
{
    tr_path *copies = tr_arena_alloc(arena, count * sizeof *copies);
    const tr_path **list = tr_arena_alloc(arena, count * sizeof *list);
    if (!copies || !list)
        return tr__expr_nomem(err);
    for (uint32_t i = 0; i < count; i++) {
        copies[i] = paths[i];
        list[i] = &copies[i];
    }
    return make(arena, list, count, ret_projection, err);
}

static int parse_list(tr__parse *parse, uint32_t *ret_count)
{
    uint32_t count = 0;
    do {
        tr__raw *node;
        int r = tr__parse_path(parse, &node);
        if (r < 0)
            return r;
        count++;
    } while (tr__lex_take(&parse->lexer, TR__TOK_COMMA));
    *ret_count = count;
    return parse->lexer.token.kind == TR__TOK_EOF ? 0 : tr__lex_fail(&parse->lexer, parse->err);
}

int tr_projection_parse(tr_expr_env *env, tr_view text, const tr_projection **ret_projection, tr_error *err)
{
    tr__parse parse;
    uint32_t count = 0;
    int r = tr__parse_init(&parse, env, TR_EXPR_PROJECTION, text, err);
    if (r == 0)
        r = parse_list(&parse, &count);
    if (r == 0)
        r = tr__check_names(&parse);
    if (r < 0)
        return r;
    tr__raw **nodes = tr_arena_alloc(env->arena, count * sizeof(tr__raw *));
    const tr_path **paths = tr_arena_alloc(env->arena, count * sizeof *paths);
    if (!nodes || !paths)
        return tr__expr_nomem(err);
    uint32_t n = 0;
    for (tr__raw *node = parse.begun; node; node = node->next_begun)
        nodes[n++] = node;
    while (n-- > 0) { /* the last first, as the service does */
        if ((r = tr__check_node(&parse, nodes[n])) < 0)
            return r;
        paths[n] = &nodes[n]->operand.path;
    }
    return make(env->arena, paths, count, ret_projection, err);
}

int tr_projection_apply(const tr_projection *projection, tr_item item, tr_arena *arena, tr_item *ret_item)
{
    return tr__trie_project(projection->root, projection->nodes, item, arena, ret_item);
}

const tr_view *tr_projection_attributes(const tr_projection *projection, uint32_t *ret_count)
{
    *ret_count = projection->names.count;
    return projection->names.names;
}

bool tr_projection_nests(const tr_projection *projection, tr_view attribute)
{
    for (uint32_t i = 0; i < projection->count; i++)
        if (projection->paths[i]->count > 1 && tr_view_eq(projection->paths[i]->parts[0].name, attribute))
            return true;
    return false;
}
