/* SPDX-License-Identifier: MIT */
#ifndef TR_PATTERN_MATCHER_H
#define TR_PATTERN_MATCHER_H

/**
 * The automaton's parts. README.md draws them. Everything is a number: steps of paths, paths, tests, buts
 * (the sets of anything-but), clauses, nodes of the rule tree, rules.
 */

#include "compiled.h"
#include "strings.h"
#include "value.h"

/* ------------------------------------------------------------------------------------ where to look */

/** A place in the tree of keys; step 0 is the event itself. */
struct tr__step {
    uint32_t first, count; /* edges */
    uint32_t path;         /* TR__NONE unless some rule tests this place */
    bool inner;            /* some edge leads to a step that has edges */
};
struct tr__edge {
    uint64_t head; /* first 8 bytes of the text, zeroes behind */
    const char *text;
    uint32_t len, to;
};
/** Up to this many edges are compared one by one; beyond, the intern table is asked. */
#define TR__EDGES_SCANNED 16

/** Little-endian machines only: what the project runs on. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tr__head8 masks the bytes behind the text");
/** The first bytes of a text as a number; bytes up to `readable` may be read. */
static inline uint64_t tr__head8(const char *p, size_t len, const char *readable)
{
    uint64_t head = 0;
    if (TR_LIKELY(readable - p >= 8)) {
        memcpy(&head, p, 8);
        return len >= 8 ? head : head & ((UINT64_C(1) << (len * 8)) - 1);
    }
    memcpy(&head, p, len < 8 ? len : 8);
    return head;
}

/* ----------------------------------------------------------------------------------- what to test */

struct tr__mtest {
    uint32_t path;
    uint32_t first_clause, first_but; /* uses: who is told when it is true */
    uint8_t kind;
    bool ready; /* indexed; false after a failure */
};
struct tr__use {
    uint32_t target; /* clause or but */
    uint32_t next;
};

struct tr__range_index {
    uint32_t count;
    uint64_t *low, *high, *top; /* sorted by low; top: highest `high` of the implicit subtree */
    uint32_t *test;
};

/** The wildcards of one path, each found by its rarest part. */
struct tr__wild_index {
    tr_arena arena;
    struct tr__glob *globs;
    uint32_t *tests;
    struct tr__trie trie;
    uint32_t heads, tails; /* roots; tails are stored backwards */
    struct tr__words words;
    bool has_tails;
};

struct tr__mpath {
    uint32_t kinds;            /* a bit per kind that some test has */
    uint32_t roots[TR__KINDS]; /* in matcher->trie, for prefixes and suffixes */
    uint64_t nets4;            /* bit n: a network of n bits */
    uint64_t nets6[3];
    TR__VEC(uint32_t) wilds;
    TR__VEC(uint32_t) ranges;
    struct tr__wild_index *wild;
    struct tr__range_index *range;
    bool dirty;
};

/** An OR of tests and buts on one path. `def` lists test ids, then but ids. */
struct tr__clause {
    uint32_t path;
    uint32_t tests, buts; /* how many */
    const uint32_t *def;
    uint8_t rank;   /* selective ones first: see rank_of */
    bool selective; /* true only by a test, so that evaluating its path finds it */
    bool absent;    /* holds {"exists": false} */
    bool exists;
    bool ready; /* its tests tell it */
};

struct tr__but {
    uint32_t path;
    uint32_t count;
    const uint32_t *tests;
    bool ready; /* its tests tell it */
};

/* ----------------------------------------------------------------------------------------- rules */

struct tr__end {
    uint32_t branch, next;
};
struct tr__mbranch {
    uint32_t rule;
    uint32_t first, count; /* in branch_clauses, by path */
};
struct tr__link {
    uint32_t node, clause, next;
};
/** The children of a node on one path. */
struct tr__group {
    uint32_t path, next;
    uint32_t selective, first_selective; /* number, links */
    uint32_t first_checked;              /* links of clauses that must be asked one by one */
};
struct tr__node {
    uint32_t first_end;
    uint32_t groups, first_group;
    uint32_t first_absent; /* links of clauses that may hold where the path is missing */
};
struct tr__rule {
    uint64_t id;
    tr_pattern *pattern;
    bool live;
};

struct tr_matcher {
    tr_matcher_options options;
    tr_arena arena; /* texts */
    bool frozen;
    uint32_t live, dead;
    size_t conditions;

    struct tr__intern step_names; /* space: the step above; id + 1 is the step */
    TR__VEC(struct tr__step) steps;
    TR__VEC(struct tr__edge) edges;

    TR__VEC(struct tr__mpath) paths;
    TR__VEC(uint32_t) dirty;
    struct tr__intern test_names; /* space: path << 8 | kind */
    TR__VEC(struct tr__mtest) tests;
    TR__VEC(struct tr__use) uses;
    struct tr__trie trie;

    struct tr__intern but_names, clause_names; /* space: path */
    TR__VEC(struct tr__but) buts;
    TR__VEC(struct tr__clause) clauses;

    TR__VEC(struct tr__node) nodes;
    struct tr__map children; /* (node, clause) -> node */
    struct tr__map group_of; /* (node, path) -> group */
    TR__VEC(struct tr__group) groups;
    TR__VEC(struct tr__link) links;
    TR__VEC(struct tr__end) ends;

    TR__VEC(struct tr__mbranch) branches;
    TR__VEC(uint32_t) branch_clauses;
    TR__VEC(struct tr__rule) rules;
    struct tr__map rule_of; /* id -> rule */
    TR__VEC(uint32_t) scratch;
};

static inline tr_view tr__test_bytes(const tr_matcher *m, uint32_t test)
{
    const struct tr__intern_key *key = &m->test_names.keys.at[test];
    return tr_view_of(key->bytes, key->len);
}
static inline uint64_t tr__test_space(uint32_t path, enum tr__kind kind)
{
    return (uint64_t)path << 8 | kind;
}
static inline uint32_t tr__test_find(const tr_matcher *m, uint32_t path, enum tr__kind kind,
                                     const void *bytes, size_t len)
{
    return tr__intern_find(&m->test_names, tr__test_space(path, kind), bytes, len);
}

/** Enters a test into its path's index: index.c. */
int tr__index_add(tr_matcher *m, uint32_t test);
/** Builds what a path's indexes need after additions. */
int tr__index_finish(const tr_matcher *m, struct tr__mpath *path);
void tr__index_done(struct tr__mpath *path);
/** All ranges that hold a key. */
int tr__ranges_find(const struct tr__range_index *index, uint64_t key, tr__found_fn *found, void *ctx);
/** Copies len bytes backwards. */
static inline void tr__reverse(const char *from, size_t len, char *to)
{
    for (size_t i = 0; i < len; i++)
        to[i] = from[len - 1 - i];
}

#endif
