/* SPDX-License-Identifier: MIT */
#ifndef TR_PATTERN_MATCH_H
#define TR_PATTERN_MATCH_H

/**
 * One event's matching: reading the values that rules look at (event.c), finding the true clauses of a path
 * (evaluate.c), walking the rule tree (match.c), and comparing places in arrays (arrays.c). All state is in
 * the context, stamped with the event's number (epoch), so that nothing is cleared between events.
 */

#include "matcher.h"

enum tr__type { TR__STRING, TR__NUMERIC, TR__WORD };

struct tr__value {
    tr_view text;  /* decoded */
    uint32_t next; /* of the same path */
    uint32_t scope;
    uint8_t type;
    bool keyed; /* key is set: a number that binary64 keeps */
    uint64_t key;
};

/** The values of one path. */
struct tr__found {
    uint32_t epoch;
    uint32_t first, last, count;
    uint32_t scoped;                 /* how many lie in an element of an array */
    uint32_t evaluated;              /* epoch */
    uint32_t true_first, true_count; /* selective clauses that are true, in ctx->truths */
};

/** An element of an array that is an object or an array; scope 0 is the event. */
struct tr__scope {
    uint32_t above, depth;
    uint32_t array;
    uint32_t first, end; /* values within */
};
struct tr__array {
    uint32_t first, end; /* values within */
    uint64_t epoch;      /* of `needed`: ctx->branch_mark */
    uint32_t needed;     /* for arrays.c: the last clause that has values here */
};

struct tr__but_state {
    uint32_t epoch;
    uint32_t fails; /* values for which one of the tests is true */
    uint32_t last;  /* the value counted last */
};

struct tr__places {
    uint32_t first, count; /* in tips */
};

struct tr_match_ctx {
    tr_match_options options;
    uint32_t epoch;
    const tr_matcher *m;
    int status; /* why reading failed */
    size_t steps;

    TR__VEC(struct tr__value) values;
    TR__VEC(struct tr__found) found; /* per path */
    TR__VEC(uint32_t) present;       /* paths that have values */
    TR__VEC(struct tr__scope) scopes;
    TR__VEC(struct tr__array) arrays;
    uint32_t scoped;    /* values in arrays' elements */
    TR__VEC(char) text; /* decoded strings; never moves within an event */
    TR__VEC(char) folded;
    TR__VEC(char) backwards;

    TR__VEC(uint32_t) test_true;   /* epoch, per test */
    TR__VEC(uint32_t) clause_true; /* epoch, per clause */
    TR__VEC(struct tr__but_state) buts;
    TR__VEC(uint32_t) truths;
    TR__VEC(uint32_t) wild_seen; /* serial, per test */
    uint32_t serial;             /* of the value being evaluated */
    uint32_t value;              /* its number */
    uint32_t wild_path;          /* and the wildcards being looked for */
    tr_view wild_text;

    TR__VEC(uint32_t) stack;
    TR__VEC(uint32_t) rule_seen; /* epoch, per rule */
    TR__VEC(uint64_t) ids;

    /* arrays.c */
    uint64_t branch_mark;  /* stamps arrays */
    TR__VEC(uint32_t) all; /* values of paths that may be absent, as `chosen` */
    TR__VEC(uint32_t) all_first;
    TR__VEC(uint32_t) chosen;       /* values that satisfy each clause of the branch, one after the other */
    TR__VEC(uint32_t) chosen_first; /* per clause, and the end */
    TR__VEC(struct tr__places) states[2];
    TR__VEC(uint32_t) tips;
    TR__VEC(uint32_t) slots; /* hash table of the states being made */
};

/** Reads the values that rules look at. 0, TR_EPARSE, TR_ELIMIT, TR_ENOMEM. */
int tr__event_read(tr_match_ctx *c, tr_view event);

static inline bool tr__path_present(const tr_match_ctx *c, uint32_t path)
{
    return c->found.at[path].epoch == c->epoch;
}
/** Makes sure that the tests of a present path were looked up for all its values. */
int tr__path_evaluate(tr_match_ctx *c, uint32_t path);
/**
 * Whether a clause is true of some value, arrays' elements apart. Its path must have been evaluated if
 * present. For
 * {"exists": false}: whether it may be.
 */
bool tr__clause_true(const tr_match_ctx *c, uint32_t clause);
/** Whether a clause is true of one value, asked directly. */
int tr__clause_holds(tr_match_ctx *c, uint32_t clause, uint32_t value, bool *ret_holds);

/** Whether the fields of a branch, each true of some value, are so within the same elements of arrays. */
int tr__arrays_agree(tr_match_ctx *c, const struct tr__mbranch *branch, bool *ret_agree);

#endif
