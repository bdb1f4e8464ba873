/* SPDX-License-Identifier: MIT */
/* Finds the tests that are true of a path's values, and through them its clauses. */
#include "match.h"

/* ------------------------------------------------------------------------------------- telling clauses */

static int tell_clause(tr_match_ctx *c, uint32_t clause)
{
    if (c->clause_true.at[clause] == c->epoch)
        return 0;
    c->clause_true.at[clause] = c->epoch;
    if (!c->m->clauses.at[clause].selective)
        return 0; /* asked for itself, see tr__clause_true */
    int e = TR__VEC_ROOM(&c->truths);
    if (!e)
        c->truths.at[c->truths.len++] = clause;
    return e;
}

static void tell_but(tr_match_ctx *c, uint32_t but)
{
    struct tr__but_state *s = &c->buts.at[but];
    if (s->epoch != c->epoch)
        *s = (struct tr__but_state){.epoch = c->epoch, .last = TR__NONE};
    /* several tests of one set may be true of a value: it fails once */
    s->fails += s->last != c->value;
    s->last = c->value;
}

/* Counts work, so that no event takes for ever. */
static int spend(tr_match_ctx *c, size_t steps)
{
    c->steps += steps;
    return TR_UNLIKELY(c->steps > c->options.max_steps) ? TR_ELIMIT : 0;
}

/* A test is true of the value being evaluated. */
static int hit(void *ctx, uint32_t test)
{
    tr_match_ctx *c = ctx;
    const struct tr__use *uses = c->m->uses.at;
    const struct tr__mtest *t = &c->m->tests.at[test];
    size_t told = 1;
    int e = 0;
    if (c->test_true.at[test] != c->epoch) { /* clauses are told once an event, buts for each value */
        c->test_true.at[test] = c->epoch;
        for (uint32_t u = t->first_clause; u != TR__NONE && !e; u = uses[u].next, told++)
            e = tell_clause(c, uses[u].target);
    }
    for (uint32_t u = t->first_but; u != TR__NONE; u = uses[u].next, told++)
        tell_but(c, uses[u].target);
    return e ? e : spend(c, told);
}

static int hit_exact(tr_match_ctx *c, uint32_t path, enum tr__kind kind, const void *bytes, size_t len)
{
    uint32_t test = tr__test_find(c->m, path, kind, bytes, len);
    return test == TR__NONE ? 0 : hit(c, test);
}

/* ----------------------------------------------------------------------------------- tests of a string */

/* A part of wildcard w is there: is all of it? */
static int candidate(void *ctx, uint32_t w)
{
    tr_match_ctx *c = ctx;
    const struct tr__wild_index *index = c->m->paths.at[c->wild_path].wild;
    bool seen = c->wild_seen.at[index->tests[w]] == c->serial;
    int e = spend(
        c, seen ? 1 : 1 + c->wild_text.len / 64); /* a look costs about as much as going over 64 bytes */
    if (e || seen)
        return e;
    c->wild_seen.at[index->tests[w]] = c->serial;
    return tr__glob_match(&index->globs[w], c->wild_text) ? hit(c, index->tests[w]) : 0;
}

/* The text backwards, in scratch memory. */
static int turn(tr_match_ctx *c, tr_view text, tr_view *ret)
{
    int e = tr__vec_grow(&c->backwards.at, &c->backwards.cap, text.len + 1, 1);
    if (e)
        return e;
    tr__reverse(text.ptr, text.len, c->backwards.at);
    *ret = tr_view_of(c->backwards.at, text.len);
    return 0;
}

static int test_wildcards(tr_match_ctx *c, uint32_t path, tr_view text)
{
    const struct tr__wild_index *index = c->m->paths.at[path].wild;
    c->wild_text = text;
    c->wild_path = path;
    int e = tr__trie_find(&index->trie, index->heads, text, candidate, c);
    if (!e && index->has_tails) {
        tr_view backwards;
        e = turn(c, text, &backwards);
        if (!e)
            e = tr__trie_find(&index->trie, index->tails, backwards, candidate, c);
    }
    return e ? e : tr__words_find(&index->words, text, candidate, c);
}

static int test_affixes(tr_match_ctx *c, const struct tr__mpath *p, tr_view text, enum tr__kind prefix,
                        enum tr__kind suffix)
{
    int e = 0;
    if (p->roots[prefix] != TR__NONE)
        e = tr__trie_find(&c->m->trie, p->roots[prefix], text, hit, c);
    if (!e && p->roots[suffix] != TR__NONE) {
        tr_view backwards;
        e = turn(c, text, &backwards);
        if (!e)
            e = tr__trie_find(&c->m->trie, p->roots[suffix], backwards, hit, c);
    }
    return e;
}

static int test_networks(tr_match_ctx *c, uint32_t path, tr_view text)
{
    const struct tr__mpath *p = &c->m->paths.at[path];
    struct tr__ip ip;
    if (!tr__ip_parse(text, &ip))
        return 0;
    for (unsigned bits = 0; bits <= ip.bits; bits++) {
        uint64_t lengths = ip.bits == 32 ? p->nets4 : p->nets6[bits / 64];
        if (!(lengths >> (bits % 64) & 1))
            continue;
        uint8_t net[TR__NET_KEY];
        tr__net_key(&ip, bits, net);
        int e = hit_exact(c, path, TR__NET, net, sizeof net);
        if (e)
            return e;
    }
    return 0;
}

static int fold(tr_match_ctx *c, tr_view text, tr_view *ret)
{
    int e = tr__vec_grow(&c->folded.at, &c->folded.cap, TR__FOLD_MAX(text.len) + 1, 1);
    if (!e)
        *ret = tr_view_of(c->folded.at, tr__fold(text, c->folded.at));
    return e;
}

#define BIT(kind) (UINT32_C(1) << (kind))

static int test_string(tr_match_ctx *c, uint32_t path, tr_view text)
{
    const struct tr__mpath *p = &c->m->paths.at[path];
    int e = 0;
    if (p->kinds & BIT(TR__EXACT))
        e = hit_exact(c, path, TR__EXACT, text.ptr, text.len);
    if (TR_LIKELY(!(p->kinds & ~(BIT(TR__EXACT) | BIT(TR__NUMBER)))) || e)
        return e;
    if (p->kinds & (BIT(TR__PREFIX) | BIT(TR__SUFFIX)))
        e = test_affixes(c, p, text, TR__PREFIX, TR__SUFFIX);
    if (!e && p->kinds & (BIT(TR__EQUAL_FOLD) | BIT(TR__PREFIX_FOLD) | BIT(TR__SUFFIX_FOLD))) {
        tr_view folded;
        e = fold(c, text, &folded);
        if (!e)
            e = hit_exact(c, path, TR__EQUAL_FOLD, folded.ptr, folded.len);
        if (!e)
            e = test_affixes(c, p, folded, TR__PREFIX_FOLD, TR__SUFFIX_FOLD);
    }
    if (!e && p->kinds & BIT(TR__NET))
        e = test_networks(c, path, text);
    if (!e && p->kinds & BIT(TR__WILDCARD))
        e = test_wildcards(c, path, text);
    return e;
}

/* --------------------------------------------------------------------------------------------- a path */

static int test_value(tr_match_ctx *c, uint32_t path, const struct tr__value *v)
{
    if (v->type == TR__STRING)
        return test_string(c, path, v->text);
    if (!v->keyed)
        return hit_exact(c, path, TR__LITERAL, v->text.ptr, v->text.len);
    uint8_t bytes[8];
    tr_put_be64(bytes, v->key);
    int e = hit_exact(c, path, TR__NUMBER, bytes, sizeof bytes);
    const struct tr__mpath *p = &c->m->paths.at[path];
    return e || !p->range ? e : tr__ranges_find(p->range, v->key, hit, c);
}

/* For the marks of wildcards, which are per value. */
static void next_serial(tr_match_ctx *c)
{
    if (++c->serial == 0) {
        memset(c->wild_seen.at, 0, c->wild_seen.len * sizeof *c->wild_seen.at);
        c->serial = 1;
    }
}

int tr__path_evaluate(tr_match_ctx *c, uint32_t path)
{
    struct tr__found *f = &c->found.at[path];
    if (f->evaluated == c->epoch)
        return 0;
    f->true_first = c->truths.len;
    for (uint32_t v = f->first; v != TR__NONE; v = c->values.at[v].next) {
        c->value = v;
        next_serial(c);
        int e = test_value(c, path, &c->values.at[v]);
        if (e)
            return e;
    }
    f->true_count = c->truths.len - f->true_first;
    f->evaluated = c->epoch;
    return 0;
}

bool tr__clause_true(const tr_match_ctx *c, uint32_t clause)
{
    const struct tr__clause *k = &c->m->clauses.at[clause];
    if (!tr__path_present(c, k->path))
        return k->absent;
    const struct tr__found *f = &c->found.at[k->path];
    if (c->clause_true.at[clause] == c->epoch || k->exists)
        return true;
    /* where all values lie in elements of arrays, they may be absent from the elements that matter */
    if (k->absent && f->scoped == f->count)
        return true;
    for (uint32_t i = 0; i < k->buts; i++) {
        const struct tr__but_state *s = &c->buts.at[k->def[k->tests + i]];
        if (s->epoch != c->epoch || s->fails < f->count)
            return true;
    }
    return false;
}

/* ---------------------------------------------------------------------------------------- one by one */

static bool ends_with(tr_view text, tr_view end)
{
    return text.len >= end.len &&
           (end.len == 0 || memcmp(text.ptr + text.len - end.len, end.ptr, end.len) == 0);
}

static bool in_network(tr_view text, tr_view net)
{
    struct tr__ip ip;
    uint8_t key[TR__NET_KEY];
    if (!tr__ip_parse(text, &ip) || ip.bits != (uint8_t)net.ptr[0])
        return false;
    tr__net_key(&ip, (uint8_t)net.ptr[1], key);
    return memcmp(key, net.ptr, sizeof key) == 0;
}

static bool matches_wildcard(const tr_match_ctx *c, uint32_t path, uint32_t test, tr_view text)
{
    const struct tr__wild_index *index = c->m->paths.at[path].wild;
    const struct tr__mpath *p = &c->m->paths.at[path];
    /* tests are entered in the order of their numbers */
    uint32_t low = 0, high = p->wilds.len;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (p->wilds.at[middle] <= test)
            low = middle;
        else
            high = middle;
    }
    return tr__glob_match(&index->globs[low], text);
}

static int string_holds(tr_match_ctx *c, uint32_t test, tr_view text, bool *ret)
{
    const struct tr__mtest *t = &c->m->tests.at[test];
    tr_view bytes = tr__test_bytes(c->m, test);
    bool folds = t->kind == TR__EQUAL_FOLD || t->kind == TR__PREFIX_FOLD || t->kind == TR__SUFFIX_FOLD;
    int e = folds ? fold(c, text, &text) : 0;
    if (e)
        return e;
    switch (t->kind) {
    case TR__EXACT:
    case TR__EQUAL_FOLD:
        *ret = tr_view_eq(text, bytes);
        break;
    case TR__PREFIX:
    case TR__PREFIX_FOLD:
        *ret = tr_view_starts(text, bytes);
        break;
    case TR__SUFFIX:
    case TR__SUFFIX_FOLD:
        *ret = ends_with(text, bytes);
        break;
    case TR__NET:
        *ret = in_network(text, bytes);
        break;
    case TR__WILDCARD:
        *ret = matches_wildcard(c, t->path, test, text);
        break;
    default:
        *ret = false;
    }
    return 0;
}

static int test_holds(tr_match_ctx *c, uint32_t test, const struct tr__value *v, bool *ret)
{
    enum tr__kind kind = c->m->tests.at[test].kind;
    tr_view bytes = tr__test_bytes(c->m, test);
    c->steps++;
    if (kind == TR__EXISTS || kind == TR__ABSENT) {
        *ret = kind == TR__EXISTS;
        return 0;
    }
    if (v->type == TR__STRING)
        return string_holds(c, test, v->text, ret);
    if (kind == TR__NUMBER)
        *ret = v->keyed && v->key == tr_get_be64(bytes.ptr);
    else if (kind == TR__RANGE)
        *ret = v->keyed && v->key >= tr_get_be64(bytes.ptr) && v->key <= tr_get_be64(bytes.ptr + 8);
    else
        *ret = kind == TR__LITERAL && !v->keyed && tr_view_eq(v->text, bytes);
    return 0;
}

/* Whether one of the tests holds. */
static int any_holds(tr_match_ctx *c, const uint32_t *tests, uint32_t count, const struct tr__value *v,
                     bool *ret)
{
    *ret = false;
    int e = 0;
    for (uint32_t i = 0; i < count && !*ret && !e; i++)
        e = test_holds(c, tests[i], v, ret);
    return e;
}

int tr__clause_holds(tr_match_ctx *c, uint32_t clause, uint32_t value, bool *ret_holds)
{
    const struct tr__clause *k = &c->m->clauses.at[clause];
    const struct tr__value *v = &c->values.at[value];
    bool holds;
    int e = any_holds(c, k->def, k->tests, v, &holds);
    for (uint32_t i = 0; i < k->buts && !holds && !e; i++) {
        const struct tr__but *but = &c->m->buts.at[k->def[k->tests + i]];
        e = any_holds(c, but->tests, but->count, v, &holds);
        holds = !holds;
    }
    *ret_holds = holds;
    return e;
}
