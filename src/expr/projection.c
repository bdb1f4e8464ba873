/* SPDX-License-Identifier: MIT */
/* Projections: paths, and what they leave of an item. */
#include "internal.h"

#define PREFIX "Invalid ProjectionExpression: "

struct tr_projection {
    tr__trie *root;
    uint32_t nodes;
    const tr_path *const *paths;
    uint32_t count;
    tr__names names;
};

/* The builder holds all paths. `builder->paths` must live as long as the arena. */
static int make(const tr__trie_builder *builder, uint32_t count, const tr_projection **ret_projection)
{
    tr_projection *p = tr_arena_calloc(builder->arena, 1, sizeof *p);
    if (!p)
        return tr__expr_nomem(builder->err);
    p->root = builder->root;
    p->nodes = builder->nodes;
    p->paths = builder->paths;
    p->count = count;
    for (uint32_t i = 0; i < count; i++)
        if (tr__names_add(&p->names, builder->arena, p->paths[i]->parts[0].name) < 0)
            return tr__expr_nomem(builder->err);
    *ret_projection = p;
    return 0;
}

int tr_projection_of(tr_arena *arena, const tr_path *paths, uint32_t count,
                     const tr_projection **ret_projection, tr_error *err)
{
    tr_path *copies = tr_arena_alloc(arena, count * sizeof *copies);
    const tr_path **list = tr_arena_alloc(arena, count * sizeof(tr_path *));
    if (!copies || !list)
        return tr__expr_nomem(err);
    for (uint32_t i = 0; i < count; i++) {
        copies[i] = paths[i];
        list[i] = &copies[i];
    }
    tr__trie_builder b = {.arena = arena, .paths = list, .prefix = PREFIX, .err = err};
    int r = tr__trie_begin(&b);
    for (uint32_t i = count; r == 0 && i-- > 0;)
        r = tr__trie_insert(&b, i);
    return r < 0 ? r : make(&b, count, ret_projection);
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
    return parse->lexer.token.kind == TR__TOK_EOF ? 0 : tr__parse_syntax(parse);
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
    const tr_path **paths = tr_arena_alloc(env->arena, count * sizeof(tr_path *));
    if (!nodes || !paths)
        return tr__expr_nomem(err);
    uint32_t n = 0;
    for (tr__raw *node = parse.begun; node; node = node->next_begun)
        nodes[n++] = node;
    tr__trie_builder b = {.arena = env->arena, .paths = paths, .prefix = PREFIX, .err = err};
    r = tr__trie_begin(&b);
    while (r == 0 && n-- > 0) { /* the last first, as the service does */
        paths[n] = &nodes[n]->operand.path;
        r = tr__check_node(&parse, nodes[n]);
        if (r == 0)
            r = tr__trie_insert(&b, n);
    }
    return r < 0 ? r : make(&b, count, ret_projection);
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
