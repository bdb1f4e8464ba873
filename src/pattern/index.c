/* SPDX-License-Identifier: MIT */
/* The indexes of one path: what finds the true tests among thousands without asking each. */
#include "matcher.h"

#include <stdlib.h>

/* Enters a text into one of the path's prefix trees; texts of suffixes go in backwards. */
static int add_affix(tr_matcher *m, struct tr__mpath *path, enum tr__kind kind, uint32_t test)
{
    tr_view text = tr__test_bytes(m, test);
    if (path->roots[kind] == TR__NONE) {
        int e = tr__trie_root(&m->trie, &path->roots[kind]);
        if (e)
            return e;
    }
    if (kind == TR__SUFFIX || kind == TR__SUFFIX_FOLD) {
        char *backwards = tr_arena_alloc(&m->arena, text.len);
        if (!backwards)
            return TR_ENOMEM;
        tr__reverse(text.ptr, text.len, backwards);
        text.ptr = backwards;
    }
    return tr__trie_add(&m->trie, path->roots[kind], text, test);
}

static int add_to_list(tr_matcher *m, uint32_t path, uint32_t test, bool wild)
{
    struct tr__mpath *p = &m->paths.at[path];
    int e = wild ? TR__VEC_ROOM(&p->wilds) : TR__VEC_ROOM(&p->ranges);
    if (!e && !p->dirty)
        e = TR__VEC_ROOM(&m->dirty);
    if (e)
        return e;
    if (wild)
        p->wilds.at[p->wilds.len++] = test;
    else
        p->ranges.at[p->ranges.len++] = test;
    if (!p->dirty)
        m->dirty.at[m->dirty.len++] = path;
    p->dirty = true;
    return 0;
}

int tr__index_add(tr_matcher *m, uint32_t test)
{
    uint32_t path = m->tests.at[test].path;
    enum tr__kind kind = m->tests.at[test].kind;
    struct tr__mpath *p = &m->paths.at[path];
    tr_view bytes = tr__test_bytes(m, test);
    int e = 0;
    if (kind == TR__PREFIX || kind == TR__PREFIX_FOLD || kind == TR__SUFFIX || kind == TR__SUFFIX_FOLD)
        e = add_affix(m, p, kind, test);
    else if (kind == TR__WILDCARD || kind == TR__RANGE)
        e = add_to_list(m, path, test, kind == TR__WILDCARD);
    if (e)
        return e;
    p->kinds |= UINT32_C(1) << kind;
    if (kind == TR__NET) {
        uint8_t bits = (uint8_t)bytes.ptr[1];
        if ((uint8_t)bytes.ptr[0] == 32)
            p->nets4 |= UINT64_C(1) << bits;
        else
            p->nets6[bits / 64] |= UINT64_C(1) << (bits % 64);
    }
    return 0;
}

/* ---------------------------------------------------------------------------------------------- ranges */

struct range {
    uint64_t low, high;
    uint32_t test;
};

static int by_low(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

/* The subtree over [from, to) has its root in the middle; top[root] is the highest end within it. */
static uint64_t fill_top(struct tr__range_index *index, uint32_t from, uint32_t to)
{
    if (from >= to)
        return 0;
    uint32_t middle = from + (to - from) / 2;
    uint64_t left = fill_top(index, from, middle), right = fill_top(index, middle + 1, to);
    uint64_t top = index->high[middle];
    if (left > top)
        top = left;
    if (right > top)
        top = right;
    return index->top[middle] = top;
}

static void free_ranges(struct tr__range_index *index)
{
    if (!index)
        return;
    tr_free(index->low);
    tr_free(index->test);
    tr_free(index);
}

static int build_ranges(const tr_matcher *m, struct tr__mpath *path)
{
    uint32_t n = path->ranges.len;
    struct range *sorted = tr_calloc(n, sizeof *sorted);
    struct tr__range_index *index = tr_calloc(1, sizeof *index);
    if (index) {
        index->low = tr_calloc(n, 3 * sizeof *index->low);
        index->test = tr_calloc(n, sizeof *index->test);
    }
    if (!sorted || !index || !index->low || !index->test) {
        tr_free(sorted);
        free_ranges(index);
        return TR_ENOMEM;
    }
    index->count = n;
    index->high = index->low + n;
    index->top = index->high + n;
    for (uint32_t i = 0; i < n; i++) {
        tr_view bytes = tr__test_bytes(m, path->ranges.at[i]);
        sorted[i] = (struct range){
            .low = tr_get_be64(bytes.ptr), .high = tr_get_be64(bytes.ptr + 8), .test = path->ranges.at[i]};
    }
    qsort(sorted, n, sizeof *sorted, by_low);
    for (uint32_t i = 0; i < n; i++) {
        index->low[i] = sorted[i].low;
        index->high[i] = sorted[i].high;
        index->test[i] = sorted[i].test;
    }
    (void)fill_top(index, 0, n);
    tr_free(sorted);
    free_ranges(path->range);
    path->range = index;
    return 0;
}

/* Depth is the logarithm of the number of ranges. */
static int find_ranges(const struct tr__range_index *index, uint32_t from, uint32_t to, uint64_t key,
                       tr__found_fn *found, void *ctx)
{
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (index->top[middle] < key)
            return 0;
        int e = find_ranges(index, from, middle, key, found, ctx);
        if (e)
            return e;
        if (index->low[middle] > key)
            return 0;
        if (index->high[middle] >= key && (e = found(ctx, index->test[middle])))
            return e;
        from = middle + 1;
    }
    return 0;
}

int tr__ranges_find(const struct tr__range_index *index, uint64_t key, tr__found_fn *found, void *ctx)
{
    return find_ranges(index, 0, index->count, key, found, ctx);
}

/* ------------------------------------------------------------------------------------------- wildcards */

/*
 * A wildcard is looked up by one of its parts and then compared in full. The part should be one that few
 * others have: of ten thousand wildcards "arn:aws:*:NAME", the heads say nothing. So all parts are counted
 * first.
 */
enum part { HEAD, TAIL, MIDDLE };

static tr_view part_of(const struct tr__glob *glob, uint32_t i, enum part *ret_part)
{
    *ret_part = i == 0 ? HEAD : i == 1 ? TAIL : MIDDLE;
    return i == 0 ? glob->head : i == 1 ? glob->tail : glob->middles[i - 2];
}

static int count_parts(struct tr__wild_index *index, uint32_t n, struct tr__intern *names, uint32_t *counts)
{
    for (uint32_t w = 0; w < n; w++) {
        for (uint32_t i = 0; i < index->globs[w].count + 2; i++) {
            enum part part;
            tr_view text = part_of(&index->globs[w], i, &part);
            uint32_t id;
            int e = tr__intern_add(names, &index->arena, part, text.ptr, text.len, &id, NULL);
            if (e)
                return e;
            counts[id]++;
        }
    }
    return 0;
}

/* The part that fewest share; of those, ends before middles (they cost less), longer before shorter. */
static uint32_t choose_part(const struct tr__glob *glob, const struct tr__intern *names,
                            const uint32_t *counts)
{
    uint32_t best = TR__NONE, best_count = UINT32_MAX;
    size_t best_len = 0;
    bool best_end = false;
    for (uint32_t i = 0; i < glob->count + 2; i++) {
        enum part part;
        tr_view text = part_of(glob, i, &part);
        if (text.len == 0)
            continue;
        uint32_t count = counts[tr__intern_find(names, part, text.ptr, text.len)];
        bool end = part != MIDDLE;
        if (count > best_count || (count == best_count && best_end > end) ||
            (count == best_count && best_end == end && text.len <= best_len))
            continue;
        best = i;
        best_count = count;
        best_len = text.len;
        best_end = end;
    }
    return best;
}

static int place_wildcard(struct tr__wild_index *index, uint32_t w, uint32_t chosen)
{
    enum part part;
    tr_view text = part_of(&index->globs[w], chosen, &part);
    if (part == HEAD)
        return tr__trie_add(&index->trie, index->heads, text, w);
    if (part == MIDDLE)
        return tr__words_add(&index->words, text, w);
    char *backwards = tr_arena_alloc(&index->arena, text.len);
    if (!backwards)
        return TR_ENOMEM;
    tr__reverse(text.ptr, text.len, backwards);
    index->has_tails = true;
    return tr__trie_add(&index->trie, index->tails, tr_view_of(backwards, text.len), w);
}

static int fill_wildcards(struct tr__wild_index *index, uint32_t n, struct tr__intern *names)
{
    size_t parts = 0;
    for (uint32_t w = 0; w < n; w++)
        parts += index->globs[w].count + 2;
    uint32_t *counts = tr_calloc(parts, sizeof *counts);
    int e = counts ? count_parts(index, n, names, counts) : TR_ENOMEM;
    if (!e)
        e = tr__trie_root(&index->trie, &index->heads);
    if (!e)
        e = tr__trie_root(&index->trie, &index->tails);
    for (uint32_t w = 0; w < n && !e; w++)
        e = place_wildcard(index, w, choose_part(&index->globs[w], names, counts));
    if (!e && index->words.nodes.len)
        e = tr__words_finish(&index->words);
    tr_free(counts);
    return e;
}

static void free_wildcards(struct tr__wild_index *index)
{
    if (!index)
        return;
    tr__trie_done(&index->trie);
    tr__words_done(&index->words);
    tr_free(index->globs);
    tr_free(index->tests);
    tr_arena_done(&index->arena);
    tr_free(index);
}

static int build_wildcards(const tr_matcher *m, struct tr__mpath *path)
{
    uint32_t n = path->wilds.len;
    struct tr__wild_index *index = tr_calloc(1, sizeof *index);
    if (!index)
        return TR_ENOMEM;
    tr_arena_init(&index->arena, m->options.max_bytes);
    index->globs = tr_calloc(n, sizeof *index->globs);
    index->tests = tr_calloc(n, sizeof *index->tests);
    int e = index->globs && index->tests ? 0 : TR_ENOMEM;
    for (uint32_t w = 0; w < n && !e; w++) {
        index->tests[w] = path->wilds.at[w];
        e = tr__glob_parse(tr__test_bytes(m, path->wilds.at[w]), &index->arena, &index->globs[w]);
    }
    struct tr__intern names = {0};
    if (!e)
        e = fill_wildcards(index, n, &names);
    tr__intern_done(&names);
    if (e) {
        free_wildcards(index);
        return e;
    }
    free_wildcards(path->wild);
    path->wild = index;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ both */

int tr__index_finish(const tr_matcher *m, struct tr__mpath *path)
{
    int e = 0;
    if (path->ranges.len)
        e = build_ranges(m, path);
    if (!e && path->wilds.len)
        e = build_wildcards(m, path);
    return e;
}

void tr__index_done(struct tr__mpath *path)
{
    free_ranges(path->range);
    free_wildcards(path->wild);
    TR__VEC_FREE(&path->ranges);
    TR__VEC_FREE(&path->wilds);
}
