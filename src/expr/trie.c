/* SPDX-License-Identifier: MIT */
/*
 * Tries of document paths. Two paths overlap if one is the other or begins with it, and conflict if one goes
 * on with a name where the other goes on with an index; the service refuses both.
 *
 * It names two paths in its message: the one that it was about to insert, and the first that it meets when it
 * walks what hangs where the two met, which need not be the one that is in the way (the public tests of
 * dynalite note when the service began to do so). The order of that walk is the order of a java.util.HashMap,
 * and the steps of an update are evaluated in it too, which shows when several of them fail. What is known of
 * it was found by asking DynamoDB Local: see bucket_of.
 */
#include "internal.h"

#include <assert.h>

/* ------------------------------------------------------------------------------------------ Java's hashes */

/* A UTF-8 character's code point, and the bytes it takes. Bytes that are none count as Latin-1. */
static uint32_t code_point(const uint8_t *at, size_t left, size_t *ret_len)
{
    uint32_t c = at[0];
    size_t want = c < 0xc2 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    *ret_len = 1;
    if (want == 1 || want > left)
        return c;
    uint32_t point = c & (0xffu >> (want + 1));
    for (size_t i = 1; i < want; i++)
        point = (point << 6) | (at[i] & 0x3f);
    *ret_len = want;
    return point;
}

static uint32_t java_hash(tr_view text)
{
    uint32_t hash = 0;
    size_t len;
    for (size_t i = 0; i < text.len; i += len) {
        uint32_t c = code_point((const uint8_t *)text.ptr + i, text.len - i, &len);
        if (c >= 0x10000) {
            hash = hash * 31 + (0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + (c & 0x3ff);
        }
        hash = hash * 31 + c;
    }
    return hash;
}

static uint32_t spread(uint32_t hash)
{
    return hash ^ (hash >> 16);
}

uint32_t tr__java_hash(tr_view text)
{
    return spread(java_hash(text));
}

/* ------------------------------------------------------------------------------ the service's order */

/*
 * The keys of the service's maps hash to the hash of the name or index, plus this. Measured: of all
 * constants, those that agree with it modulo 1024 alone give the order that DynamoDB Local 3.3 shows, for 2
 * to 780 children.
 */
#define PART_HASH_BASE (-8335)

static uint32_t bucket_of(const tr__trie *node, uint32_t table)
{
    uint32_t hash = node->part.name.ptr ? java_hash(node->part.name) : node->part.index;
    return spread(hash + (uint32_t)PART_HASH_BASE) & (table - 1);
}

static uint32_t table_of(const tr__trie *node)
{
    uint32_t children = 0, table = 16;
    for (const tr__trie *c = node->children; c; c = c->next)
        children++;
    while (children > table / 4 * 3)
        table *= 2;
    return table;
}

/* Whether a's bucket comes first; in one bucket, what was inserted first. */
static bool comes_before(const tr__trie *a, const tr__trie *b, uint32_t table)
{
    uint32_t x = bucket_of(a, table), y = bucket_of(b, table);
    return x != y ? x < y : a->made_by > b->made_by;
}

/* The first path below the node. */
static int32_t first_leaf(const tr__trie *node)
{
    while (node->leaf < 0) {
        uint32_t table = table_of(node);
        const tr__trie *first = node->children;
        assert(first);
        for (const tr__trie *c = first->next; c; c = c->next)
            if (comes_before(c, first, table))
                first = c;
        node = first;
    }
    return node->leaf;
}

/* The children in the service's order. Quadratic, but used on the way to an error only. */
uint32_t tr__trie_in_order(const tr__trie *node, uint32_t *leaves)
{
    if (node->leaf >= 0) {
        leaves[0] = (uint32_t)node->leaf;
        return 1;
    }
    uint32_t table = table_of(node), count = 0;
    const tr__trie *last = NULL;
    for (;;) {
        const tr__trie *next = NULL;
        for (const tr__trie *c = node->children; c; c = c->next)
            if ((!last || comes_before(last, c, table)) && (!next || comes_before(c, next, table)))
                next = c;
        if (!next)
            return count;
        count += tr__trie_in_order(next, leaves + count);
        last = next;
    }
}

/* Where `path` met other paths: below `node`. */
static int clash(const tr__trie_builder *b, const tr__trie *node, uint32_t number, bool conflict)
{
    tr_buf text;
    tr_buf_init(&text, 4 << 20);
    tr_path_print(b->paths[number], &text);
    tr_buf_put_str(&text, ", path two: ");
    tr_path_print(b->paths[first_leaf(node)], &text);
    const char *both = tr_buf_cstr(&text);
    int r =
        both ? tr__expr_fail(b->err,
                             "%sTwo document paths %s with each other; must remove or rewrite one of these "
                             "paths; path one: %s",
                             b->prefix, conflict ? "conflict" : "overlap", both)
             : tr__expr_nomem(b->err);
    tr_buf_done(&text);
    return r;
}

/* ----------------------------------------------------------------------------------------------- building */

static int part_order(const tr_path_part *a, const tr_path_part *b)
{
    if (a->name.ptr && b->name.ptr)
        return tr_view_cmp(a->name, b->name);
    return a->index < b->index ? -1 : a->index > b->index;
}

/* The child of that part, made if it is not there; NULL without memory. */
static tr__trie *child_of(tr__trie_builder *b, tr__trie *node, const tr_path_part *part, uint32_t made_by)
{
    tr__trie **at = &node->children;
    if (node->last_child && part_order(&node->last_child->part, part) < 0)
        at = &node->last_child->next;
    int c = -1;
    while (*at && (c = part_order(&(*at)->part, part)) < 0)
        at = &(*at)->next;
    if (*at && c == 0)
        return *at;
    tr__trie *child = tr_arena_alloc(b->arena, sizeof *child);
    if (!child)
        return NULL;
    *child = (tr__trie){.part = *part, .id = b->nodes++, .leaf = -1, .made_by = made_by, .next = *at};
    *at = child;
    node->last_child = child;
    return child;
}

int tr__trie_begin(tr__trie_builder *b)
{
    b->root = tr_arena_calloc(b->arena, 1, sizeof *b->root);
    if (!b->root)
        return tr__expr_nomem(b->err);
    b->root->leaf = -1;
    b->nodes = 1;
    return 0;
}

int tr__trie_insert(tr__trie_builder *b, uint32_t number)
{
    const tr_path *path = b->paths[number];
    tr__trie *node = b->root;
    for (uint32_t i = 0; i < path->count; i++) {
        if (node->children && !node->children->part.name.ptr != !path->parts[i].name.ptr)
            return clash(b, node, number, true);
        uint32_t before = b->nodes;
        tr__trie *child = child_of(b, node, &path->parts[i], number);
        if (!child)
            return tr__expr_nomem(b->err);
        if (b->nodes == before && (child->leaf >= 0 || i + 1 == path->count))
            return clash(b, node, number, false);
        node = child;
    }
    node->leaf = (int32_t)number;
    return 0;
}

/* --------------------------------------------------------------------------------------------- projecting */

/*
 * Two passes over the item: the first finds for each node of the trie how long the payload becomes that is
 * left of it (none of it may be there), the second writes. Both go down one level of the item for each level
 * of the trie, which has at most TR_PATH_MAX.
 */
#define ABSENT UINT32_MAX

typedef struct projector {
    uint32_t *len;   /* of what is left at the node, with type and length; ABSENT if nothing is */
    uint32_t *count; /* of members or elements left inside */
} projector;

/* Members and children are both sorted: moves on to the next pair that belongs together. */
static tr__trie *next_match(tr__trie *child, tr_packed_iter *iter, bool names, uint32_t *index)
{
    while (child && tr_packed_next(iter)) {
        uint32_t at = (*index)++;
        int c = 0;
        while (child && (c = names ? tr_view_cmp(child->part.name, iter->name)
                                   : (child->part.index > at) - (child->part.index < at)) < 0)
            child = child->next;
        if (child && c == 0)
            return child;
    }
    return NULL;
}

/* Whether the container fits the node's children. */
static bool opens(const tr__trie *node, tr_value value)
{
    return value.type == (node->children->part.name.ptr ? TR_M : TR_L);
}

/* Length of the payload that is left of a container; *ret_count members of it. */
static uint32_t measure(const projector *p, const tr__trie *node, tr_value container, uint32_t *ret_count)
{
    bool names = container.type == TR_M;
    uint32_t total = 4, count = 0, index = 0;
    tr_packed_iter iter;
    tr_value_iter(&iter, container);
    for (tr__trie *c = node->children; (c = next_match(c, &iter, names, &index)); c = c->next) {
        uint32_t len = ABSENT;
        if (c->leaf >= 0) {
            len = (uint32_t)iter.encoded.len;
        } else if (opens(c, iter.value)) {
            uint32_t inside, payload = measure(p, c, iter.value, &inside);
            p->count[c->id] = inside;
            if (inside > 0)
                len = (uint32_t)tr__value_len(iter.value.type, payload);
        }
        p->len[c->id] = len;
        if (len != ABSENT) {
            total += len + (names ? (uint32_t)tr__name_len(iter.name) : 0);
            count++;
        }
    }
    *ret_count = count;
    return total;
}

static char *emit(const projector *p, const tr__trie *node, tr_value container, uint32_t count, char *at)
{
    bool names = container.type == TR_M;
    uint32_t index = 0;
    at = tr__emit_u32(at, count);
    tr_packed_iter iter;
    tr_value_iter(&iter, container);
    for (tr__trie *c = node->children; (c = next_match(c, &iter, names, &index)); c = c->next) {
        uint32_t len = p->len[c->id];
        if (len == ABSENT)
            continue;
        if (names)
            at = tr__emit_name(at, iter.name);
        if (c->leaf >= 0) {
            at = tr__emit(at, iter.encoded);
        } else {
            at = tr__emit_head(at, iter.value.type, len - 5);
            at = emit(p, c, iter.value, p->count[c->id], at);
        }
    }
    return at;
}

int tr__trie_project(const tr__trie *root, uint32_t nodes, tr_item item, tr_arena *arena, tr_item *ret_item)
{
    uint32_t *scratch = tr_arena_alloc(arena, 2 * (size_t)nodes * sizeof *scratch);
    if (!scratch)
        return TR_ENOMEM;
    projector p = {scratch, scratch + nodes};
    uint32_t count = 0;
    tr_value whole = {TR_M, item};
    uint32_t len = measure(&p, root, whole, &count);
    char *out = tr_arena_alloc(arena, len);
    if (!out)
        return TR_ENOMEM;
    (void)emit(&p, root, whole, count, out);
    *ret_item = tr_view_of(out, len);
    return 0;
}
