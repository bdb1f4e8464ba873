/* SPDX-License-Identifier: MIT */
#include "strings.h"

/* ---------------------------------------------------------------------------------------- prefix trees */

static int new_node(struct tr__trie *trie, const char *label, uint32_t len, uint32_t *ret_node)
{
    int e = TR__VEC_ROOM(&trie->nodes);
    if (e)
        return e;
    *ret_node = trie->nodes.len++;
    trie->nodes.at[*ret_node] = (struct tr__trie_node){.label = label, .len = len, .first = TR__NONE};
    return 0;
}

int tr__trie_root(struct tr__trie *trie, uint32_t *ret_root)
{
    return new_node(trie, NULL, 0, ret_root);
}

static uint64_t edge_key(uint32_t node, char byte)
{
    return tr__key2(node, (uint8_t)byte);
}

/* Cuts the edge to `node` after `keep` bytes; the new node between comes back. */
static int split(struct tr__trie *trie, uint32_t parent, uint32_t node, uint32_t keep, uint32_t *ret_between)
{
    struct tr__trie_node *n = &trie->nodes.at[node];
    uint32_t between = TR__NONE;
    int e = new_node(trie, n->label, keep, &between);
    if (e)
        return e;
    n = &trie->nodes.at[node];
    /* the lower edge first: if the upper one fails, the tree is as before */
    e = tr__map_set(&trie->edges, edge_key(between, n->label[keep]), node);
    if (!e)
        e = tr__map_set(&trie->edges, edge_key(parent, n->label[0]), between);
    if (e)
        return e;
    n->label += keep;
    n->len -= keep;
    *ret_between = between;
    return 0;
}

/* Finds or makes the node of a text. */
static int make_path(struct tr__trie *trie, uint32_t root, tr_view text, uint32_t *ret_node)
{
    uint32_t node = root;
    size_t at = 0;
    while (at < text.len) {
        uint32_t child = tr__map_get(&trie->edges, edge_key(node, text.ptr[at]));
        int e;
        if (child == TR__NONE) {
            e = new_node(trie, text.ptr + at, (uint32_t)(text.len - at), &child);
            if (!e)
                e = tr__map_set(&trie->edges, edge_key(node, text.ptr[at]), child);
            if (e)
                return e;
            node = child;
            break;
        }
        const struct tr__trie_node *n = &trie->nodes.at[child];
        uint32_t same = 1;
        while (same < n->len && at + same < text.len && n->label[same] == text.ptr[at + same])
            same++;
        if (same < n->len && (e = split(trie, node, child, same, &child)))
            return e;
        node = child;
        at += same;
    }
    *ret_node = node;
    return 0;
}

int tr__trie_add(struct tr__trie *trie, uint32_t root, tr_view text, uint32_t item)
{
    uint32_t node;
    int e = TR__VEC_ROOM(&trie->entries);
    if (!e)
        e = make_path(trie, root, text, &node);
    if (e)
        return e;
    uint32_t entry = trie->entries.len++;
    trie->entries.at[entry] = (struct tr__trie_entry){.item = item, .next = trie->nodes.at[node].first};
    trie->nodes.at[node].first = entry;
    return 0;
}

int tr__trie_find(const struct tr__trie *trie, uint32_t root, tr_view text, tr__found_fn *found, void *ctx)
{
    uint32_t node = root;
    size_t at = 0;
    for (;;) {
        for (uint32_t i = trie->nodes.at[node].first; i != TR__NONE; i = trie->entries.at[i].next) {
            int e = found(ctx, trie->entries.at[i].item);
            if (e)
                return e;
        }
        if (at == text.len)
            return 0;
        node = tr__map_get(&trie->edges, edge_key(node, text.ptr[at]));
        if (node == TR__NONE)
            return 0;
        const struct tr__trie_node *n = &trie->nodes.at[node];
        if (n->len > text.len - at || memcmp(n->label, text.ptr + at, n->len) != 0)
            return 0;
        at += n->len;
    }
}

void tr__trie_done(struct tr__trie *trie)
{
    TR__VEC_FREE(&trie->nodes);
    TR__VEC_FREE(&trie->entries);
    tr__map_done(&trie->edges);
}

/* ----------------------------------------------------------------------------------------------- words */

/* The new node is the last one. */
static int add_word_node(struct tr__words *w, uint32_t parent, uint8_t byte)
{
    int e = TR__VEC_ROOM(&w->nodes);
    if (e)
        return e;
    uint32_t node = w->nodes.len;
    if (parent != TR__NONE && (e = tr__map_set(&w->edges, tr__key2(parent, byte), node)))
        return e;
    uint32_t depth = parent == TR__NONE ? 0 : w->nodes.at[parent].depth + 1;
    w->nodes.at[w->nodes.len++] = (struct tr__words_node){
        .parent = parent, .out = TR__NONE, .first = TR__NONE, .depth = depth, .byte = byte};
    return 0;
}

int tr__words_add(struct tr__words *w, tr_view word, uint32_t item)
{
    uint32_t node = 0;
    int e = TR__VEC_ROOM(&w->entries);
    if (!e && w->nodes.len == 0)
        e = add_word_node(w, TR__NONE, 0);
    if (e)
        return e;
    for (size_t i = 0; i < word.len; i++) {
        uint8_t byte = (uint8_t)word.ptr[i];
        uint32_t child = tr__map_get(&w->edges, tr__key2(node, byte));
        if (child == TR__NONE) {
            child = w->nodes.len;
            if ((e = add_word_node(w, node, byte)))
                return e;
        }
        node = child;
        w->nodes.at[node].passes++;
    }
    uint32_t entry = w->entries.len++;
    w->entries.at[entry] = (struct tr__words_entry){.item = item, .next = w->nodes.at[node].first};
    w->nodes.at[node].first = entry;
    return 0;
}

/* Nodes sorted by depth into w->order (counting sort). */
static int sort_by_depth(struct tr__words *w)
{
    uint32_t deepest = 0;
    for (uint32_t i = 0; i < w->nodes.len; i++)
        if (w->nodes.at[i].depth > deepest)
            deepest = w->nodes.at[i].depth;
    uint32_t *start = tr_calloc((size_t)deepest + 2, sizeof *start);
    w->order = tr_malloc(((size_t)w->nodes.len + 1) * sizeof *w->order);
    if (!start || !w->order) {
        tr_free(start);
        return TR_ENOMEM;
    }
    for (uint32_t i = 0; i < w->nodes.len; i++)
        start[w->nodes.at[i].depth + 1]++;
    for (uint32_t d = 1; d <= deepest; d++)
        start[d + 1] += start[d];
    for (uint32_t i = 0; i < w->nodes.len; i++)
        w->order[start[w->nodes.at[i].depth]++] = i;
    tr_free(start);
    return 0;
}

/* Where a byte leads from a node, over as many fails as it takes. */
static inline uint32_t step(const struct tr__words *w, uint32_t node, uint8_t byte)
{
    while (node != 0) {
        uint32_t child = tr__map_get(&w->edges, tr__key2(node, byte));
        if (child != TR__NONE)
            return child;
        node = w->nodes.at[node].fail;
    }
    return w->root_edges[byte];
}

int tr__words_finish(struct tr__words *w)
{
    int e = sort_by_depth(w);
    w->root_edges = tr_calloc(256, sizeof *w->root_edges);
    if (e || !w->root_edges)
        return TR_ENOMEM;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t child = tr__map_get(&w->edges, tr__key2(0, byte));
        w->root_edges[byte] = child == TR__NONE ? 0 : child;
    }
    for (uint32_t i = 1; i < w->nodes.len; i++) {
        struct tr__words_node *n = &w->nodes.at[w->order[i]];
        n->fail = n->depth == 1 ? 0 : step(w, w->nodes.at[n->parent].fail, n->byte);
        const struct tr__words_node *f = &w->nodes.at[n->fail];
        n->out = f->first != TR__NONE ? n->fail : f->out;
    }
    return 0;
}

int tr__words_find(const struct tr__words *w, tr_view text, tr__found_fn *found, void *ctx)
{
    uint32_t node = 0;
    if (w->nodes.len == 0)
        return 0;
    for (size_t i = 0; i < text.len; i++) {
        node = step(w, node, (uint8_t)text.ptr[i]);
        uint32_t at = w->nodes.at[node].first != TR__NONE ? node : w->nodes.at[node].out;
        for (; at != TR__NONE; at = w->nodes.at[at].out) {
            for (uint32_t k = w->nodes.at[at].first; k != TR__NONE; k = w->entries.at[k].next) {
                int e = found(ctx, w->entries.at[k].item);
                if (e)
                    return e;
            }
        }
    }
    return 0;
}

void tr__words_done(struct tr__words *w)
{
    TR__VEC_FREE(&w->nodes);
    TR__VEC_FREE(&w->entries);
    tr__map_done(&w->edges);
    tr_free(w->root_edges);
    tr_free(w->order);
    w->root_edges = w->order = NULL;
}
