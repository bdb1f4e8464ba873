/* SPDX-License-Identifier: MIT */
/*
 * How entangled the wildcards of one field are. The service counts, for the worst text, how many beginnings
 * of the field's wildcards the text is within at once ("a*" and "a*b" are two), and refuses patterns where
 * that is too many. Our matcher does not need the limit, since it never follows several beginnings; but what
 * is accepted here must be accepted there.
 *
 * The service searches a state machine for the maximum. It can be told directly:
 *
 * - A star, once reached, stays reached. So the worst text first drives all wildcards, whose heads do not
 * contradict each other, past their last star, and then ends in some word w: it is within every star, and
 * within each beginning of each part between stars that is an end of w. The best w is a beginning of some
 * part: one of the nodes of the tree of parts, and the sum along its fails is the number.
 * - Or the text is still within the head of some wildcard, which others may share for a while, or has just
 * finished it (a head counts beside its star at that moment): these texts are tried.
 */
#include "compiled.h"
#include "strings.h"
#include "value.h"

#include <stdlib.h>

/* A wildcard with a quote at either end, as letters (0 to 255) and stars (STAR). */
#define STAR 256
struct wild {
    uint16_t *at;
    size_t len;
    size_t head; /* letters before the first star */
    size_t stars;
    /* for worst_head: places (tokens done) that a text is at, and marks of those */
    uint32_t *now, *next;
    size_t active;
    uint8_t *on;
};

static bool parse(tr_view text, tr_arena *arena, struct wild *w)
{
    w->at = tr_arena_alloc(arena, (text.len + 2) * sizeof *w->at);
    w->now = tr_arena_alloc(arena, (text.len + 3) * sizeof *w->now);
    w->next = tr_arena_alloc(arena, (text.len + 3) * sizeof *w->next);
    w->on = tr_arena_calloc(arena, text.len + 3, 1);
    if (!w->at || !w->now || !w->next || !w->on)
        return false;
    w->len = w->stars = 0;
    w->at[w->len++] = '"';
    for (size_t i = 0; i < text.len; i++) {
        bool star = text.ptr[i] == '*';
        if (text.ptr[i] == '\\' && i + 1 < text.len)
            i++;
        w->at[w->len++] = star ? STAR : (uint8_t)text.ptr[i];
        w->stars += star;
    }
    w->at[w->len++] = '"';
    for (w->head = 0; w->head < w->len && w->at[w->head] != STAR;)
        w->head++;
    return true;
}

/* Whether the head of a is a beginning of the head of b. */
static bool compatible(const struct wild *a, const struct wild *b)
{
    return a->head <= b->head && memcmp(a->at, b->at, a->head * sizeof *a->at) == 0;
}

/* Adds the parts behind stars. */
static int add_parts(struct tr__words *words, const struct wild *w, tr_arena *arena)
{
    char *part = tr_arena_alloc(arena, w->len);
    if (!part)
        return TR_ENOMEM;
    size_t len = 0;
    for (size_t i = w->head; i <= w->len; i++) {
        if (i < w->len && w->at[i] != STAR) {
            part[len++] = (char)w->at[i];
            continue;
        }
        int e = len ? tr__words_add(words, tr_view_of(part, len), 0) : 0;
        if (e)
            return e;
        len = 0;
    }
    return 0;
}

/* All wildcards that go along with the head of wilds[k], past their last stars. */
static int worst_end(const struct wild *wilds, size_t count, size_t k, tr_arena *arena, size_t *ret)
{
    struct tr__words words = {0};
    size_t stars = 0, best = 0;
    int e = 0;
    for (size_t i = 0; i < count && !e; i++) {
        if (wilds[i].stars == 0 || !compatible(&wilds[i], &wilds[k]))
            continue;
        stars += wilds[i].stars;
        e = add_parts(&words, &wilds[i], arena);
    }
    if (!e && words.nodes.len)
        e = tr__words_finish(&words);
    for (uint32_t i = 1; i < words.nodes.len && !e; i++) {
        struct tr__words_node *n = &words.nodes.at[words.order[i]];
        n->passes += words.nodes.at[n->fail].passes; /* the root has none */
        if (n->passes > best)
            best = n->passes;
    }
    tr__words_done(&words);
    *ret = stars + best;
    return e;
}

/* Notes that p tokens of w are done, in the list being made. */
static void reach(struct wild *w, uint32_t *list, size_t *count, size_t p)
{
    if (w->on[p])
        return;
    w->on[p] = 1;
    list[(*count)++] = (uint32_t)p;
}

/* One more letter for the beginnings that a text is within; returns how many there are. */
static size_t advance(struct wild *w, uint16_t letter)
{
    size_t count = 0;
    for (size_t i = 0; i < w->active; i++) {
        size_t p = w->now[i];
        if (p > 0 && w->at[p - 1] == STAR)
            reach(w, w->next, &count, p); /* only a star keeps its place */
        if (p < w->len && w->at[p] == letter) {
            reach(w, w->next, &count, p + 1);
            if (p + 1 < w->len && w->at[p + 1] == STAR)
                reach(w, w->next, &count, p + 2);
        }
    }
    uint32_t *made = w->next;
    w->next = w->now;
    w->now = made;
    w->active = count;
    for (size_t i = 0; i < count; i++)
        w->on[made[i]] = 0;
    return count;
}

/* The most beginnings that a text is within while it spells the head of wilds[k]. */
static size_t worst_head(struct wild *wilds, size_t count, size_t k, size_t cap)
{
    size_t worst = 0;
    for (size_t i = 0; i < count; i++) {
        wilds[i].now[0] = 0;
        wilds[i].active = 1;
    }
    for (size_t l = 0; l < wilds[k].head && worst < cap; l++) {
        size_t n = 0;
        for (size_t i = 0; i < count; i++)
            n += advance(&wilds[i], wilds[k].at[l]);
        if (n > worst)
            worst = n;
    }
    return worst;
}

/* Heads in order; one that begins another comes right before it, or before others that it begins too. */
static int by_head(const void *a, const void *b)
{
    const struct wild *x = a, *y = b;
    size_t same = 0, least = x->head < y->head ? x->head : y->head;
    while (same < least && x->at[same] == y->at[same])
        same++;
    if (same < least)
        return x->at[same] < y->at[same] ? -1 : 1;
    return (x->head > y->head) - (x->head < y->head);
}

static int measure(const tr_view *texts, size_t count, unsigned cap, tr_arena *arena)
{
    struct wild *wilds = tr_arena_calloc(arena, count, sizeof *wilds);
    size_t worst = 0;
    if (!wilds)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (!parse(texts[i], arena, &wilds[i]))
            return -1;
    qsort(wilds, count, sizeof *wilds, by_head);
    for (size_t k = 0; k < count && worst < cap; k++) {
        size_t n;
        if (k + 1 < count && compatible(&wilds[k], &wilds[k + 1]))
            continue; /* what goes along with a head goes along with a longer one */
        if (worst_end(wilds, count, k, arena, &n))
            return -1;
        if (n > worst)
            worst = n;
        n = worst_head(wilds, count, k, cap);
        if (n > worst)
            worst = n;
    }
    return (int)(worst < cap ? worst : cap);
}

int tr__wildcard_complexity(const tr_view *texts, size_t count, unsigned cap)
{
    /* all wildcards are within their opening quote at once */
    if (count >= cap)
        return (int)cap;
    tr_arena arena;
    tr_arena_init(&arena, 256u << 20);
    int n = measure(texts, count, cap, &arena);
    tr_arena_done(&arena);
    return n;
}

int tr__pattern_complexity(struct tr__compiler *c)
{
    unsigned limit = c->options.max_complexity;
    for (uint32_t i = 0; i < c->wildcards.len;) {
        uint32_t end = i;
        while (end < c->wildcards.len && c->wildcards.at[end].field == c->wildcards.at[i].field)
            end++;
        tr_view *texts = tr_malloc((end - i) * sizeof *texts);
        if (!texts)
            return tr_fail(c->err, TR_ENOMEM, "out of memory");
        for (uint32_t k = i; k < end; k++)
            texts[k - i] = c->wildcards.at[k].text;
        int n = tr__wildcard_complexity(texts, end - i, limit + 1);
        tr_free(texts);
        if (n < 0)
            return tr_fail(c->err, TR_ENOMEM, "out of memory");
        if ((unsigned)n > limit)
            return tr__pattern_fail(
                c, "Rule is too complex - try using fewer wildcard characters or fewer repeating "
                   "character sequences after a wildcard character");
        i = end;
    }
    return 0;
}
