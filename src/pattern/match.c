/* SPDX-License-Identifier: MIT */
/* Walks the rule tree along true clauses, and what stands around it: contexts, single patterns. */
#include "match.h"

/* --------------------------------------------------------------------------------------------- contexts */

int tr_match_ctx_new(const tr_match_options *options, tr_match_ctx **ret_ctx)
{
    tr_match_ctx *c = tr_calloc(1, sizeof *c);
    if (!c)
        return TR_ENOMEM;
    if (options)
        c->options = *options;
    if (c->options.max_event_bytes == 0)
        c->options.max_event_bytes = (size_t)4 << 20;
    if (c->options.max_values == 0)
        c->options.max_values = 1000000;
    if (c->options.max_steps == 0)
        c->options.max_steps = 16000000;
    int e = TR__VEC_ROOM(&c->scopes);
    if (e) {
        tr_free(c);
        return e;
    }
    *ret_ctx = c;
    return 0;
}

void tr_match_ctx_free(tr_match_ctx *c)
{
    if (!c)
        return;
    TR__VEC_FREE(&c->values);
    TR__VEC_FREE(&c->found);
    TR__VEC_FREE(&c->present);
    TR__VEC_FREE(&c->scopes);
    TR__VEC_FREE(&c->arrays);
    TR__VEC_FREE(&c->text);
    TR__VEC_FREE(&c->folded);
    TR__VEC_FREE(&c->backwards);
    TR__VEC_FREE(&c->test_true);
    TR__VEC_FREE(&c->clause_true);
    TR__VEC_FREE(&c->buts);
    TR__VEC_FREE(&c->truths);
    TR__VEC_FREE(&c->wild_seen);
    TR__VEC_FREE(&c->stack);
    TR__VEC_FREE(&c->rule_seen);
    TR__VEC_FREE(&c->ids);
    TR__VEC_FREE(&c->all);
    TR__VEC_FREE(&c->all_first);
    TR__VEC_FREE(&c->chosen);
    TR__VEC_FREE(&c->chosen_first);
    TR__VEC_FREE(&c->states[0]);
    TR__VEC_FREE(&c->states[1]);
    TR__VEC_FREE(&c->tips);
    TR__VEC_FREE(&c->slots);
    tr_free(c);
}

/* Makes an array of stamps as long as the matcher needs; new stamps are zero, which no epoch is. */
static int stamps(void *at_ptr, uint32_t *len, uint32_t *cap, size_t need, size_t element)
{
    if (need <= *len)
        return 0;
    int e = tr__vec_grow(at_ptr, cap, need, element);
    if (e)
        return e;
    char *at;
    memcpy(&at, at_ptr, sizeof at);
    memset(at + *len * element, 0, (*cap - *len) * element);
    *len = *cap;
    return 0;
}
#define STAMPS(v, need) stamps(&(v)->at, &(v)->len, &(v)->cap, need, sizeof *(v)->at)

/* After four thousand million events the stamps begin again. */
static void forget_stamps(tr_match_ctx *c)
{
    memset(c->found.at, 0, c->found.len * sizeof *c->found.at);
    memset(c->test_true.at, 0, c->test_true.len * sizeof *c->test_true.at);
    memset(c->clause_true.at, 0, c->clause_true.len * sizeof *c->clause_true.at);
    memset(c->buts.at, 0, c->buts.len * sizeof *c->buts.at);
    memset(c->rule_seen.at, 0, c->rule_seen.len * sizeof *c->rule_seen.at);
    c->epoch = 1;
}

/* Readies the context for one event of a matcher. */
static int prepare(tr_match_ctx *c, const tr_matcher *m)
{
    int e = STAMPS(&c->found, m->paths.len + 1);
    if (!e)
        e = STAMPS(&c->clause_true, m->clauses.len + 1);
    if (!e)
        e = STAMPS(&c->buts, m->buts.len + 1);
    if (!e)
        e = STAMPS(&c->test_true, m->tests.len + 1);
    if (!e)
        e = STAMPS(&c->wild_seen, m->tests.len + 1);
    if (!e)
        e = STAMPS(&c->rule_seen, m->rules.len + 1);
    if (!e)
        e = tr__vec_grow(&c->present.at, &c->present.cap, (size_t)m->paths.len + 1, sizeof *c->present.at);
    if (e)
        return e;
    c->m = m;
    if (++c->epoch == 0)
        forget_stamps(c);
    c->truths.len = c->ids.len = c->stack.len = 0;
    c->steps = 0;
    return 0;
}

/* --------------------------------------------------------------------------------------------- the tree */

static int push(tr_match_ctx *c, uint32_t node)
{
    int e = TR__VEC_ROOM(&c->stack);
    if (!e)
        c->stack.at[c->stack.len++] = node;
    return e;
}

/* Rules that end at a node have all their clauses true. */
static int collect(tr_match_ctx *c, const struct tr__node *node)
{
    const tr_matcher *m = c->m;
    for (uint32_t i = node->first_end; i != TR__NONE; i = m->ends.at[i].next) {
        const struct tr__mbranch *branch = &m->branches.at[m->ends.at[i].branch];
        bool agree = true;
        if (!m->rules.at[branch->rule].live || c->rule_seen.at[branch->rule] == c->epoch)
            continue;
        int e = c->scoped ? tr__arrays_agree(c, branch, &agree) : 0;
        if (!e)
            e = TR__VEC_ROOM(&c->ids);
        if (e)
            return e;
        if (!agree)
            continue;
        c->rule_seen.at[branch->rule] = c->epoch;
        c->ids.at[c->ids.len++] = m->rules.at[branch->rule].id;
    }
    return 0;
}

/* Children whose clauses must be asked one by one. */
static int visit_links(tr_match_ctx *c, uint32_t first)
{
    const struct tr__link *links = c->m->links.at;
    int e = 0;
    for (uint32_t i = first; i != TR__NONE && !e; i = links[i].next) {
        uint32_t path = c->m->clauses.at[links[i].clause].path;
        if (tr__path_present(c, path))
            e = tr__path_evaluate(c, path);
        if (!e && tr__clause_true(c, links[i].clause))
            e = push(c, links[i].node);
    }
    return e;
}

/* The children of a node on one present path. */
static int visit_group(tr_match_ctx *c, uint32_t node, const struct tr__group *group)
{
    int e = tr__path_evaluate(c, group->path);
    if (e)
        return e;
    const struct tr__found *f = &c->found.at[group->path];
    /* a look into the map costs about as much as going over some links, which lie side by side */
    if ((uint64_t)f->true_count * 4 <= group->selective) {
        for (uint32_t i = 0; i < f->true_count && !e; i++) {
            uint32_t child = tr__map_get(&c->m->children, tr__key2(node, c->truths.at[f->true_first + i]));
            if (child != TR__NONE)
                e = push(c, child);
        }
    } else {
        const struct tr__link *links = c->m->links.at;
        for (uint32_t i = group->first_selective; i != TR__NONE && !e; i = links[i].next)
            if (c->clause_true.at[links[i].clause] == c->epoch)
                e = push(c, links[i].node);
    }
    return e ? e : visit_links(c, group->first_checked);
}

static int visit(tr_match_ctx *c, uint32_t id)
{
    const tr_matcher *m = c->m;
    const struct tr__node *node = &m->nodes.at[id];
    int e = collect(c, node);
    if (node->groups <= c->present.len * 2) {
        for (uint32_t g = node->first_group; g != TR__NONE && !e; g = m->groups.at[g].next)
            if (tr__path_present(c, m->groups.at[g].path))
                e = visit_group(c, id, &m->groups.at[g]);
    } else {
        for (uint32_t i = 0; i < c->present.len && !e; i++) {
            uint32_t g = tr__map_get(&m->group_of, tr__key2(id, c->present.at[i]));
            if (g != TR__NONE)
                e = visit_group(c, id, &m->groups.at[g]);
        }
    }
    return e ? e : visit_links(c, node->first_absent);
}

/* ---------------------------------------------------------------------------------------------- outside */

static int fail_event(int code, tr_error *err)
{
    switch (code) {
    case TR_EPARSE:
        return tr_fail(err, code, "the event is not a JSON object");
    case TR_ELIMIT:
        return tr_fail(
            err, code,
            "the event is nested too deeply, has too many values, or takes too many steps to match");
    default:
        return tr_fail(err, code, "%s", tr_strerror(code));
    }
}

int tr_matcher_match(const tr_matcher *m, tr_match_ctx *c, tr_view event, const uint64_t **ret_ids,
                     size_t *ret_count, tr_error *err)
{
    if (!m->frozen)
        return tr_fail(err, TR_EINVAL, "rules were added since the matcher was last frozen");
    if (event.len > c->options.max_event_bytes)
        return tr_fail(err, TR_ELIMIT, "the event has more than %zu bytes", c->options.max_event_bytes);
    int e = prepare(c, m);
    if (!e)
        e = tr__event_read(c, event);
    if (!e)
        e = push(c, 0);
    while (!e && c->stack.len)
        e = visit(c, c->stack.at[--c->stack.len]);
    if (e)
        return fail_event(e, err);
    *ret_ids = c->ids.at;
    *ret_count = c->ids.len;
    return 0;
}

/* The matcher that holds just this pattern; the first who needs it makes it. */
static int single_matcher(const tr_pattern *pattern, tr_matcher **ret_matcher)
{
    tr_pattern *p = (tr_pattern *)(uintptr_t)pattern;
    tr_matcher *m = atomic_load(&p->single), *none = NULL;
    if (m) {
        *ret_matcher = m;
        return 0;
    }
    int e = tr_matcher_new(NULL, &m);
    if (e)
        return e;
    e = tr_matcher_add(m, 1, p);
    if (!e)
        e = tr_matcher_freeze(m);
    if (e) {
        tr_matcher_free(m);
        return e;
    }
    /* the matcher's hold on the pattern would keep the two alive for ever */
    atomic_fetch_sub(&p->refs, 1);
    m->rules.at[0].pattern = NULL;
    if (!atomic_compare_exchange_strong(&p->single, &none, m)) {
        tr_matcher_free(m);
        m = none;
    }
    *ret_matcher = m;
    return 0;
}

int tr_pattern_match(const tr_pattern *pattern, tr_match_ctx *ctx, tr_view event, bool *ret_match,
                     tr_error *err)
{
    tr_matcher *m;
    tr_match_ctx *own = NULL;
    int e = single_matcher(pattern, &m);
    if (!e && !ctx)
        e = tr_match_ctx_new(NULL, &own);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    const uint64_t *ids = NULL;
    size_t count = 0;
    e = tr_matcher_match(m, ctx ? ctx : own, event, &ids, &count, err);
    if (!e)
        *ret_match = count > 0;
    tr_match_ctx_free(own);
    return e;
}

int tr_pattern_check_event(tr_view event, tr_error *err)
{
    static const char *const names[] = {"id", "account", "source", "time", "region", "detail-type"};
    unsigned seen = 0;
    tr_arena arena;
    tr_json_reader r;
    tr_arena_init(&arena, event.len + 4096);
    tr_json_init(&r, event, &arena);
    bool valid = tr_json_next(&r) == TR_JSON_OBJECT;
    while (valid && tr_json_next_key(&r)) {
        for (unsigned i = 0; i < TR_COUNT(names); i++)
            seen |= (unsigned)tr_view_is(r.text, names[i]) << i;
        valid = tr_json_next(&r) != TR_JSON_ERROR && tr_json_skip(&r) == 0;
    }
    valid = valid && r.token == TR_JSON_OBJECT_END && tr_json_next(&r) == TR_JSON_DONE;
    tr_arena_done(&arena);
    if (valid && seen == (1u << TR_COUNT(names)) - 1)
        return 0;
    return tr_fail_service(err, TR_EINVAL, 400, "ValidationException", "Parameter Event is not valid.");
}
