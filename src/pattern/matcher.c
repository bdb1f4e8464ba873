/* SPDX-License-Identifier: MIT */
/* Taking rules in: every part of a pattern is entered under a number of its own, once, however many rules
 * share it. */
#include "matcher.h"

#include <stdlib.h>

/* ----------------------------------------------------------------------------------------------- paths */

/* The step of one name below another, made if need be. */
static int make_step(tr_matcher *m, uint32_t above, tr_view name, uint32_t *ret_step)
{
    uint32_t id;
    bool fresh;
    int e = TR__VEC_ROOM(&m->steps);
    if (!e)
        e = tr__intern_add(&m->step_names, &m->arena, above, name.ptr, name.len, &id, &fresh);
    if (e)
        return e;
    if (fresh)
        m->steps.at[m->steps.len++] = (struct tr__step){.path = TR__NONE};
    *ret_step = id + 1;
    return 0;
}

/* The number of a path, whose text has its steps joined by dots. */
static int make_path(tr_matcher *m, tr_view text, uint32_t *ret_path)
{
    uint32_t step = 0;
    for (size_t from = 0; from <= text.len;) {
        size_t dot = tr_view_find(text, TR_VIEW("."), from);
        size_t to = dot == SIZE_MAX ? text.len : dot;
        int e = make_step(m, step, tr_view_of(text.ptr + from, to - from), &step);
        if (e)
            return e;
        from = to + 1;
    }
    if (m->steps.at[step].path == TR__NONE) {
        int e = TR__VEC_ROOM(&m->paths);
        if (e)
            return e;
        struct tr__mpath *path = &m->paths.at[m->paths.len];
        *path = (struct tr__mpath){0};
        for (unsigned kind = 0; kind < TR__KINDS; kind++)
            path->roots[kind] = TR__NONE;
        m->steps.at[step].path = m->paths.len++;
    }
    *ret_path = m->steps.at[step].path;
    return 0;
}

/* Lays the edges of all steps side by side. */
static int build_edges(tr_matcher *m)
{
    uint32_t n = m->step_names.keys.len;
    if (m->edges.len == n)
        return 0;
    int e = tr__vec_grow(&m->edges.at, &m->edges.cap, n, sizeof *m->edges.at);
    if (e)
        return e;
    for (uint32_t s = 0; s < m->steps.len; s++)
        m->steps.at[s].count = 0;
    for (uint32_t i = 0; i < n; i++)
        m->steps.at[m->step_names.keys.at[i].space].count++;
    for (uint32_t s = 0, first = 0; s < m->steps.len; s++) {
        struct tr__step *step = &m->steps.at[s];
        step->first = first;
        first += step->count;
        step->count = 0;
        step->inner = false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct tr__intern_key *name = &m->step_names.keys.at[i];
        struct tr__step *above = &m->steps.at[name->space];
        m->edges.at[above->first + above->count++] =
            (struct tr__edge){.head = tr__head8(name->bytes, name->len, name->bytes + name->len),
                              .text = name->bytes,
                              .len = name->len,
                              .to = i + 1};
    }
    for (uint32_t i = 0; i < n; i++) /* a step that has edges makes the one above it inner */
        if (m->steps.at[i + 1].count)
            m->steps.at[m->step_names.keys.at[i].space].inner = true;
    m->edges.len = n;
    return 0;
}

/* --------------------------------------------------------------------------------------------- clauses */

static int make_test(tr_matcher *m, uint32_t path, const struct tr__test *test, uint32_t *ret_test)
{
    int e = TR__VEC_ROOM(&m->tests);
    if (!e)
        e = tr__intern_add(&m->test_names, &m->arena, tr__test_space(path, test->kind), test->bytes.ptr,
                           test->bytes.len, ret_test, NULL);
    if (e)
        return e;
    if (*ret_test == m->tests.len)
        m->tests.at[m->tests.len++] = (struct tr__mtest){
            .path = path, .first_clause = TR__NONE, .first_but = TR__NONE, .kind = test->kind};
    struct tr__mtest *t = &m->tests.at[*ret_test];
    if (!t->ready) { /* new, or what follows failed for want of memory before */
        if ((e = tr__index_add(m, *ret_test)))
            return e;
        t->ready = true;
    }
    return 0;
}

static int add_use(tr_matcher *m, uint32_t test, uint32_t target, bool but)
{
    int e = TR__VEC_ROOM(&m->uses);
    if (e)
        return e;
    uint32_t *first = but ? &m->tests.at[test].first_but : &m->tests.at[test].first_clause;
    m->uses.at[m->uses.len] = (struct tr__use){.target = target, .next = *first};
    *first = m->uses.len++;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Sorts the numbers of scratch from `from` on, and leaves each once. */
static void sort_scratch(tr_matcher *m, uint32_t from)
{
    uint32_t *at = m->scratch.at + from, n = m->scratch.len - from, kept = 0;
    if (n > 1)
        qsort(at, n, sizeof *at, by_number);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || at[i] != at[kept - 1])
            at[kept++] = at[i];
    m->scratch.len = from + kept;
}

static int push_scratch(tr_matcher *m, uint32_t number)
{
    int e = TR__VEC_ROOM(&m->scratch);
    if (!e)
        m->scratch.at[m->scratch.len++] = number;
    return e;
}

static int use_all(tr_matcher *m, const uint32_t *tests, uint32_t count, uint32_t target, bool but)
{
    int e = 0;
    for (uint32_t i = 0; i < count && !e; i++)
        e = add_use(m, tests[i], target, but);
    return e;
}

/* Pushes the numbers of an alternative's tests onto scratch. */
static int push_tests(tr_matcher *m, uint32_t path, const tr_pattern *p,
                      const struct tr__alternative *alternative)
{
    for (uint32_t i = 0; i < alternative->count; i++) {
        uint32_t test = TR__NONE;
        int e = make_test(m, path, &p->tests.at[alternative->first + i], &test);
        if (!e)
            e = push_scratch(m, test);
        if (e)
            return e;
    }
    return 0;
}

/* Numbers are kept as interned bytes: equal sets are one. */
static const uint32_t *interned_numbers(const struct tr__intern *names, uint32_t id)
{
    return (const uint32_t *)(const void *)names->keys.at[id].bytes;
}

static int make_but(tr_matcher *m, uint32_t path, const tr_pattern *p,
                    const struct tr__alternative *alternative, uint32_t *ret_but)
{
    uint32_t from = m->scratch.len;
    int e = push_tests(m, path, p, alternative);
    if (!e)
        e = TR__VEC_ROOM(&m->buts);
    if (e)
        return e;
    sort_scratch(m, from);
    uint32_t count = m->scratch.len - from;
    e = tr__intern_add(&m->but_names, &m->arena, path, m->scratch.at + from, count * sizeof *m->scratch.at,
                       ret_but, NULL);
    m->scratch.len = from;
    if (e)
        return e;
    if (*ret_but == m->buts.len)
        m->buts.at[m->buts.len++] = (struct tr__but){
            .path = path, .count = count, .tests = interned_numbers(&m->but_names, *ret_but)};
    struct tr__but *but = &m->buts.at[*ret_but];
    if (!but->ready && (e = use_all(m, but->tests, count, *ret_but, true)))
        return e;
    but->ready = true;
    return 0;
}

/*
 * How early a clause is asked: those that few events satisfy come first, so that rules fall out early and the
 * rule tree stays narrow at its root.
 */
static uint8_t rank_of(const tr_matcher *m, const struct tr__clause *clause)
{
    if (clause->absent)
        return 5;
    if (clause->buts)
        return 4;
    if (clause->exists)
        return 3;
    uint8_t rank = 0;
    for (uint32_t i = 0; i < clause->tests; i++) {
        enum tr__kind kind = m->tests.at[clause->def[i]].kind;
        uint8_t r = kind == TR__EXACT || kind == TR__NUMBER || kind == TR__EQUAL_FOLD ? 0
                    : kind == TR__LITERAL                                             ? 1
                                                                                      : 2;
        rank = r > rank ? r : rank;
    }
    return rank;
}

static void describe_clause(const tr_matcher *m, struct tr__clause *clause)
{
    for (uint32_t i = 0; i < clause->tests; i++) {
        enum tr__kind kind = m->tests.at[clause->def[i]].kind;
        clause->absent |= kind == TR__ABSENT;
        clause->exists |= kind == TR__EXISTS;
    }
    clause->selective = !clause->absent && !clause->exists && clause->buts == 0;
    clause->rank = rank_of(m, clause);
}

/* Pushes: number of tests, tests, buts. */
static int push_clause(tr_matcher *m, uint32_t path, const tr_pattern *p, const struct tr__field *field)
{
    uint32_t from = m->scratch.len;
    int e = push_scratch(m, 0);
    for (uint32_t i = 0; i < field->count && !e; i++)
        if (!p->alternatives.at[field->first + i].but)
            e = push_tests(m, path, p, &p->alternatives.at[field->first + i]);
    if (e)
        return e;
    sort_scratch(m, from + 1);
    uint32_t buts = m->scratch.len;
    m->scratch.at[from] = buts - from - 1;
    for (uint32_t i = 0; i < field->count && !e; i++) {
        uint32_t but = TR__NONE;
        if (!p->alternatives.at[field->first + i].but)
            continue;
        e = make_but(m, path, p, &p->alternatives.at[field->first + i], &but);
        if (!e)
            e = push_scratch(m, but);
    }
    if (!e)
        sort_scratch(m, buts);
    return e;
}

static int make_clause(tr_matcher *m, const tr_pattern *p, const struct tr__field *field,
                       uint32_t *ret_clause)
{
    const struct tr__intern_key *text = &p->paths.keys.at[field->path];
    uint32_t path, from = m->scratch.len;
    int e = make_path(m, tr_view_of(text->bytes, text->len), &path);
    if (!e)
        e = push_clause(m, path, p, field);
    if (!e)
        e = TR__VEC_ROOM(&m->clauses);
    if (e)
        return e;
    uint32_t len = m->scratch.len - from, tests = m->scratch.at[from];
    e = tr__intern_add(&m->clause_names, &m->arena, path, m->scratch.at + from, len * sizeof *m->scratch.at,
                       ret_clause, NULL);
    m->scratch.len = from;
    if (e)
        return e;
    struct tr__clause *clause = &m->clauses.at[*ret_clause];
    if (*ret_clause == m->clauses.len) {
        *clause = (struct tr__clause){.path = path,
                                      .tests = tests,
                                      .buts = len - 1 - tests,
                                      .def = interned_numbers(&m->clause_names, *ret_clause) + 1};
        describe_clause(m, clause);
        m->clauses.len++;
    }
    if (!clause->ready && (e = use_all(m, clause->def, tests, *ret_clause, false)))
        return e;
    clause->ready = true;
    return 0;
}

/* ------------------------------------------------------------------------------------------- rule tree */

static int make_node(tr_matcher *m, uint32_t *ret_node)
{
    int e = TR__VEC_ROOM(&m->nodes);
    if (e)
        return e;
    *ret_node = m->nodes.len++;
    m->nodes.at[*ret_node] =
        (struct tr__node){.first_end = TR__NONE, .first_group = TR__NONE, .first_absent = TR__NONE};
    return 0;
}

static int make_group(tr_matcher *m, uint32_t node, uint32_t path, uint32_t *ret_group)
{
    *ret_group = tr__map_get(&m->group_of, tr__key2(node, path));
    if (*ret_group != TR__NONE)
        return 0;
    int e = TR__VEC_ROOM(&m->groups);
    if (!e)
        e = tr__map_set(&m->group_of, tr__key2(node, path), m->groups.len);
    if (e)
        return e;
    struct tr__node *n = &m->nodes.at[node];
    *ret_group = m->groups.len++;
    m->groups.at[*ret_group] = (struct tr__group){
        .path = path, .next = n->first_group, .first_selective = TR__NONE, .first_checked = TR__NONE};
    n->first_group = *ret_group;
    n->groups++;
    return 0;
}

/* Enters a new child where its clause is looked for. */
static int link_child(tr_matcher *m, uint32_t node, uint32_t clause, uint32_t child)
{
    const struct tr__clause *c = &m->clauses.at[clause];
    uint32_t group = TR__NONE;
    int e = TR__VEC_ROOM(&m->links);
    if (!e && !c->absent)
        e = make_group(m, node, c->path, &group);
    if (e)
        return e;
    uint32_t *first = c->absent      ? &m->nodes.at[node].first_absent
                      : c->selective ? &m->groups.at[group].first_selective
                                     : &m->groups.at[group].first_checked;
    if (c->selective)
        m->groups.at[group].selective++;
    m->links.at[m->links.len] = (struct tr__link){.node = child, .clause = clause, .next = *first};
    *first = m->links.len++;
    return 0;
}

static int make_child(tr_matcher *m, uint32_t node, uint32_t clause, uint32_t *ret_child)
{
    uint32_t child = tr__map_get(&m->children, tr__key2(node, clause));
    if (child == TR__NONE) {
        int e = make_node(m, &child);
        /* linked before it is in the map: a failure between the two leaves an empty node behind, no more */
        if (!e)
            e = link_child(m, node, clause, child);
        if (!e)
            e = tr__map_set(&m->children, tr__key2(node, clause), child);
        if (e)
            return e;
    }
    *ret_child = child;
    return 0;
}

static int by_rank(const void *a, const void *b, void *matcher)
{
    const tr_matcher *m = matcher;
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    const struct tr__clause *cx = &m->clauses.at[x], *cy = &m->clauses.at[y];
    if (cx->rank != cy->rank)
        return (int)cx->rank - (int)cy->rank;
    uint32_t nx = cx->tests + cx->buts, ny = cy->tests + cy->buts;
    if (nx != ny)
        return nx < ny ? -1 : 1;
    return (cx->path > cy->path) - (cx->path < cy->path);
}

/* Hangs a branch into the tree, by the clauses in scratch from `from` on. */
static int insert_branch(tr_matcher *m, uint32_t from, uint32_t branch)
{
    uint32_t node = 0;
    int e = TR__VEC_ROOM(&m->ends);
    qsort_r(m->scratch.at + from, m->scratch.len - from, sizeof *m->scratch.at, by_rank, m);
    for (uint32_t i = from; i < m->scratch.len && !e; i++)
        e = make_child(m, node, m->scratch.at[i], &node);
    if (e)
        return e;
    m->ends.at[m->ends.len] = (struct tr__end){.branch = branch, .next = m->nodes.at[node].first_end};
    m->nodes.at[node].first_end = m->ends.len++;
    return 0;
}

static int add_branch(tr_matcher *m, uint32_t rule, const tr_pattern *p, const struct tr__branch *branch)
{
    uint32_t from = m->scratch.len, first = m->branch_clauses.len;
    int e = TR__VEC_ROOM(&m->branches);
    for (uint32_t i = 0; i < branch->count && !e; i++) {
        uint32_t clause = TR__NONE;
        e = make_clause(m, p, &p->fields.at[branch->fields[i]], &clause);
        if (!e)
            e = push_scratch(m, clause);
        if (!e)
            e = TR__VEC_ROOM(&m->branch_clauses);
        if (!e)
            m->branch_clauses.at[m->branch_clauses.len++] = clause;
    }
    if (!e) {
        m->branches.at[m->branches.len] =
            (struct tr__mbranch){.rule = rule, .first = first, .count = branch->count};
        e = insert_branch(m, from, m->branches.len++);
    }
    return e;
}

/* --------------------------------------------------------------------------------------------- outside */

static void set_defaults(tr_matcher_options *o)
{
    if (o->max_rules == 0)
        o->max_rules = 1000000;
    if (o->max_conditions == 0)
        o->max_conditions = 16000000;
    if (o->max_bytes == 0)
        o->max_bytes = (size_t)1 << 30;
}

int tr_matcher_new(const tr_matcher_options *options, tr_matcher **ret_matcher)
{
    tr_matcher *m = tr_calloc(1, sizeof *m);
    if (!m)
        return TR_ENOMEM;
    if (options)
        m->options = *options;
    set_defaults(&m->options);
    tr_arena_init(&m->arena, m->options.max_bytes);
    uint32_t root;
    int e = TR__VEC_ROOM(&m->steps);
    if (!e)
        e = make_node(m, &root);
    if (e) {
        tr_matcher_free(m);
        return e;
    }
    m->steps.at[m->steps.len++] = (struct tr__step){.path = TR__NONE};
    m->frozen = true;
    *ret_matcher = m;
    return 0;
}

static void release(tr_matcher *m)
{
    for (uint32_t i = 0; i < m->rules.len; i++)
        tr_pattern_free(m->rules.at[i].pattern);
    for (uint32_t i = 0; i < m->paths.len; i++)
        tr__index_done(&m->paths.at[i]);
    struct tr__intern *interns[] = {&m->step_names, &m->test_names, &m->but_names, &m->clause_names};
    for (size_t i = 0; i < TR_COUNT(interns); i++)
        tr__intern_done(interns[i]);
    tr__trie_done(&m->trie);
    tr__map_done(&m->children);
    tr__map_done(&m->group_of);
    tr__map_done(&m->rule_of);
    TR__VEC_FREE(&m->steps);
    TR__VEC_FREE(&m->edges);
    TR__VEC_FREE(&m->paths);
    TR__VEC_FREE(&m->dirty);
    TR__VEC_FREE(&m->tests);
    TR__VEC_FREE(&m->uses);
    TR__VEC_FREE(&m->buts);
    TR__VEC_FREE(&m->clauses);
    TR__VEC_FREE(&m->nodes);
    TR__VEC_FREE(&m->groups);
    TR__VEC_FREE(&m->links);
    TR__VEC_FREE(&m->ends);
    TR__VEC_FREE(&m->branches);
    TR__VEC_FREE(&m->branch_clauses);
    TR__VEC_FREE(&m->rules);
    TR__VEC_FREE(&m->scratch);
    tr_arena_done(&m->arena);
}

void tr_matcher_free(tr_matcher *matcher)
{
    if (!matcher)
        return;
    release(matcher);
    tr_free(matcher);
}

int tr_matcher_add(tr_matcher *m, uint64_t id, const tr_pattern *pattern)
{
    if (id == UINT64_MAX)
        return TR_EINVAL;
    if (tr__map_get(&m->rule_of, id) != TR__NONE)
        return TR_EEXIST;
    size_t conditions = 0;
    for (uint32_t i = 0; i < pattern->branches.len; i++)
        conditions += pattern->branches.at[i].count;
    if (m->live >= m->options.max_rules || conditions > m->options.max_conditions - m->conditions)
        return TR_ELIMIT;
    int e = TR__VEC_ROOM(&m->rules);
    if (e)
        return e;
    /* What is entered for a rule that fails half-way stays, but belongs to a rule that is not live. */
    uint32_t rule = m->rules.len++;
    m->rules.at[rule] = (struct tr__rule){.id = id};
    m->frozen = false;
    m->scratch.len = 0;
    for (uint32_t i = 0; i < pattern->branches.len && !e; i++) {
        e = add_branch(m, rule, pattern, &pattern->branches.at[i]);
        m->scratch.len = 0;
    }
    if (!e)
        e = tr__map_set(&m->rule_of, id, rule);
    if (e) {
        m->dead++;
        return e;
    }
    m->rules.at[rule].pattern = tr__pattern_ref(pattern);
    m->rules.at[rule].live = true;
    m->live++;
    m->conditions += conditions;
    return 0;
}

int tr_matcher_remove(tr_matcher *m, uint64_t id)
{
    uint32_t rule = id == UINT64_MAX ? TR__NONE : tr__map_get(&m->rule_of, id);
    if (rule == TR__NONE)
        return TR_ENOTFOUND;
    struct tr__rule *r = &m->rules.at[rule];
    (void)tr__map_set(&m->rule_of, id, TR__NONE); /* the key is there: nothing to allocate */
    for (uint32_t i = 0; i < r->pattern->branches.len; i++)
        m->conditions -= r->pattern->branches.at[i].count;
    tr_pattern_free(r->pattern);
    r->pattern = NULL;
    r->live = false;
    m->live--;
    m->dead++;
    return 0;
}

size_t tr_matcher_count(const tr_matcher *m)
{
    return m->live;
}

/* Starts over with the live rules, which drops what only removed ones used. */
static int rebuild(tr_matcher *m)
{
    tr_matcher *fresh;
    int e = tr_matcher_new(&m->options, &fresh);
    if (e)
        return e;
    for (uint32_t i = 0; i < m->rules.len && !e; i++)
        if (m->rules.at[i].live)
            e = tr_matcher_add(fresh, m->rules.at[i].id, m->rules.at[i].pattern);
    if (e) {
        tr_matcher_free(fresh);
        return e;
    }
    release(m);
    *m = *fresh;
    tr_free(fresh);
    return 0;
}

int tr_matcher_freeze(tr_matcher *m)
{
    if (m->dead > 64 && m->dead > m->live)
        (void)rebuild(m); /* only saves memory: without it all goes on as before */
    if (m->frozen)
        return 0;
    int e = build_edges(m);
    for (; m->dirty.len && !e; m->dirty.len -= !e) {
        struct tr__mpath *path = &m->paths.at[m->dirty.at[m->dirty.len - 1]];
        e = tr__index_finish(m, path);
        if (!e)
            path->dirty = false;
    }
    m->frozen = e == 0;
    return e;
}

size_t tr_matcher_bytes(const tr_matcher *m)
{
    size_t n = sizeof *m + m->arena.used;
#define TR__BYTES(v) (n += (size_t)m->v.cap * sizeof *m->v.at)
    TR__BYTES(steps);
    TR__BYTES(edges);
    TR__BYTES(paths);
    TR__BYTES(tests);
    TR__BYTES(uses);
    TR__BYTES(buts);
    TR__BYTES(clauses);
    TR__BYTES(nodes);
    TR__BYTES(groups);
    TR__BYTES(links);
    TR__BYTES(ends);
    TR__BYTES(branches);
    TR__BYTES(branch_clauses);
    TR__BYTES(rules);
    TR__BYTES(trie.nodes);
    TR__BYTES(trie.entries);
    TR__BYTES(step_names.keys);
    TR__BYTES(test_names.keys);
    TR__BYTES(but_names.keys);
    TR__BYTES(clause_names.keys);
#undef TR__BYTES
    const struct tr__map *maps[] = {&m->children, &m->group_of, &m->rule_of, &m->trie.edges};
    for (size_t i = 0; i < TR_COUNT(maps); i++)
        n += maps[i]->slots ? ((size_t)maps[i]->mask + 1) * sizeof *maps[i]->slots : 0;
    return n;
}
