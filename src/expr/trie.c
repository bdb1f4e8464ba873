/* SPDX-License-Identifier: MIT */
/*
 * Tries of document paths. Two paths overlap if one is the other or begins with it, and conflict if one goes
 * on with a name where the other goes on with an index; the service refuses both.
 *
 * It names two paths in its message: the one it was about to insert, and one that it finds by walking what
 * hangs where they meet, a java.util.HashMap for each level, to its last entry. The second need not be the
 * one that is in the way (the public tests of dynalite noted that when the service changed). So the message
 * is found by doing the same.
 */
#include "internal.h"

/* ----------------------------------------------------------------------------------------- Java's hashes */

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

uint32_t tr__java_hash(tr_view text)
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
    return hash ^ (hash >> 16);
}

static uint32_t part_hash(const tr_path_part *part)
{
    return part->name.ptr ? tr__java_hash(part->name) : part->index ^ (part->index >> 16);
}

/* ----------------------------------------------------------------------------------------- what is in the
 * way */

static bool same_part(const tr_path_part *a, const tr_path_part *b)
{
    return a->name.ptr ? b->name.ptr && tr_view_eq(a->name, b->name) : !b->name.ptr && a->index == b->index;
}

static bool begins_alike(const tr_path *a, const tr_path *b, uint32_t parts)
{
    for (uint32_t i = 0; i < parts; i++)
        if (!same_part(&a->parts[i], &b->parts[i]))
            return false;
    return true;
}

/* Paths that were inserted: those from `from` to the end, the last first. */
typedef struct inserted {
    const tr_path *const *paths;
    uint32_t from, count;
} inserted;

/* Whether path k is the first inserted that goes through its part at `level`, among those like `like` before.
 */
static bool is_first_of_child(const inserted *in, uint32_t k, uint32_t level)
{
    for (uint32_t j = in->count; j-- > k + 1;)
        if (in->paths[j]->count > level && begins_alike(in->paths[j], in->paths[k], level + 1))
            return false;
    return true;
}

/* Of the children at `level`, below what `like` begins with, the one that a walk over Java's table meets
 * last: the path that made it, or UINT32_MAX. */
static uint32_t last_child(const inserted *in, const tr_path *like, uint32_t level)
{
    uint32_t children = 0, table = 16, best = UINT32_MAX, best_bucket = 0;
    for (uint32_t k = in->count; k-- > in->from;)
        children += in->paths[k]->count > level && begins_alike(in->paths[k], like, level) &&
                    is_first_of_child(in, k, level);
    while (children > table / 4 * 3)
        table *= 2;
    for (uint32_t k = in->count; k-- > in->from;) {
        if (in->paths[k]->count <= level || !begins_alike(in->paths[k], like, level) ||
            !is_first_of_child(in, k, level))
            continue;
        uint32_t bucket = part_hash(&in->paths[k]->parts[level]) & (table - 1);
        if (best == UINT32_MAX || bucket >= best_bucket) {
            best = k;
            best_bucket = bucket;
        }
    }
    return best;
}

/* The last path below the level where `path` met others. */
static const tr_path *in_the_way(const inserted *in, const tr_path *path, uint32_t level)
{
    const tr_path *like = path;
    for (;;) {
        uint32_t k = last_child(in, like, level);
        if (k == UINT32_MAX || in->paths[k]->count == level + 1)
            return k == UINT32_MAX ? like : in->paths[k];
        like = in->paths[k];
        level++;
    }
}

static int clash(const inserted *in, uint32_t level, bool conflict, const char *prefix, tr_error *err)
{
    const tr_path *path = in->paths[in->from];
    inserted before = {in->paths, in->from + 1, in->count};
    tr_buf text;
    tr_buf_init(&text, 4 << 20);
    tr_path_print(path, &text);
    tr_buf_put_str(&text, ", path two: ");
    tr_path_print(in_the_way(&before, path, level), &text);
    const char *paths = tr_buf_cstr(&text);
    int r =
        paths ? tr__expr_fail(err,
                              "%sTwo document paths %s with each other; must remove or rewrite one of these "
                              "paths; path one: %s",
                              prefix, conflict ? "conflict" : "overlap", paths)
              : tr__expr_nomem(err);
    tr_buf_done(&text);
    return r;
}

/* --------------------------------------------------------------------------------------------- building */

static int part_order(const tr_path_part *a, const tr_path_part *b)
{
    if (a->name.ptr)
        return tr_view_cmp(a->name, b->name);
    return a->index < b->index ? -1 : a->index > b->index;
}

/* The child of that part, made if it is not there; NULL without memory. */
static tr__trie *child_of(tr_arena *arena, tr__trie *node, const tr_path_part *part, uint32_t *nodes)
{
    tr__trie **at = &node->children;
    if (node->last_child && part_order(&node->last_child->part, part) < 0)
        at = &node->last_child->next;
    int c = -1;
    while (*at && (c = part_order(&(*at)->part, part)) < 0)
        at = &(*at)->next;
    if (*at && c == 0)
        return *at;
    tr__trie *child = tr_arena_alloc(arena, sizeof *child);
    if (!child)
        return NULL;
    *child = (tr__trie){.part = *part, .id = (*nodes)++, .leaf = -1, .next = *at};
    *at = child;
    node->last_child = child;
    return child;
}

/* Inserts paths[in->from]. */
static int insert(tr_arena *arena, tr__trie *root, const inserted *in, const char *prefix, uint32_t *nodes,
                  tr_error *err)
{
    const tr_path *path = in->paths[in->from];
    tr__trie *node = root;
    for (uint32_t i = 0; i < path->count; i++) {
        if (node->children && !node->children->part.name.ptr != !path->parts[i].name.ptr)
            return clash(in, i, true, prefix, err);
        uint32_t before = *nodes;
        node = child_of(arena, node, &path->parts[i], nodes);
        if (!node)
            return tr__expr_nomem(err);
        if (*nodes == before && (node->leaf >= 0 || i + 1 == path->count))
            return clash(in, i, false, prefix, err);
    }
    node->leaf = (int32_t)in->from;
    return 0;
}

int tr__trie_build(tr_arena *arena, const tr_path *const *paths, uint32_t count, const char *prefix,
                   tr__trie **ret_root, uint32_t *ret_nodes, tr_error *err)
{
    tr__trie *root = tr_arena_calloc(arena, 1, sizeof *root);
    if (!root)
        return tr__expr_nomem(err);
    root->leaf = -1;
    uint32_t nodes = 1;
    for (uint32_t i = count; i-- > 0;) {
        inserted in = {paths, i, count};
        int r = insert(arena, root, &in, prefix, &nodes, err);
        if (r < 0)
            return r;
    }
    *ret_root = root;
    *ret_nodes = nodes;
    return 0;
}

/* -------------------------------------------------------------------------------------------- projecting */

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
