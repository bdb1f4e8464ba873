/* SPDX-License-Identifier: MIT */
#ifndef TR_PATTERN_COMPILED_H
#define TR_PATTERN_COMPILED_H

/**
 * A compiled pattern, as the matcher takes it in.
 *
 *   branch ($or expanded)   an AND of fields, sorted by path
 *     field                 a path and an OR of alternatives
 *       alternative         one test, or "anything-but" a set of tests
 *         test              a kind and bytes
 */

#include <stdatomic.h>

#include <tailrace/json.h>
#include <tailrace/pattern.h>

#include "tables.h"

/** The bytes of each kind are made so that equal tests have equal bytes. */
enum tr__kind {
    TR__EXACT,       /* the string */
    TR__LITERAL,     /* true, false, null, or a number that no binary64 keeps, as written */
    TR__NUMBER,      /* 8 bytes: tr__number_key, big-endian */
    TR__NET,         /* TR__NET_KEY bytes */
    TR__EQUAL_FOLD,  /* folded string */
    TR__PREFIX,      /* string */
    TR__PREFIX_FOLD, /* folded */
    TR__SUFFIX,      /* string */
    TR__SUFFIX_FOLD, /* folded */
    TR__WILDCARD,    /* as written, with a star that no simpler kind can say */
    TR__RANGE,       /* 16 bytes: lowest and highest key, big-endian, both within */
    TR__EXISTS,      /* none */
    TR__ABSENT,      /* none */
    TR__KINDS
};

struct tr__test {
    tr_view bytes;
    uint8_t kind;
};

struct tr__alternative {
    uint32_t first, count; /* in tests */
    bool but;              /* anything-but: true unless one of the tests is */
};

struct tr__field {
    uint32_t path;
    uint32_t first, count; /* in alternatives */
};

struct tr__branch {
    uint32_t *fields;
    uint32_t count, cap;
};

struct tr_pattern {
    atomic_uint refs;
    _Atomic(struct tr_matcher *) single; /* made by the first tr_pattern_match */
    tr_arena arena;
    struct tr__intern paths;
    TR__VEC(struct tr__test) tests;
    TR__VEC(struct tr__alternative) alternatives;
    TR__VEC(struct tr__field) fields;
    TR__VEC(struct tr__branch) branches;
};

/** A pattern for one more holder. */
tr_pattern *tr__pattern_ref(const tr_pattern *pattern);

/* --------------------------------------------------------------------------------------- compiling */

/** The state of one compilation; errors are filled by tr__pattern_fail, which returns TR_EINVAL. */
struct tr__compiler {
    tr_pattern *pattern;
    tr_json_reader reader;
    tr_view json;
    tr_buf path; /* of the object being read, its steps joined by dots */
    tr_pattern_options options;
    TR__VEC(struct tr__wild_text {
        uint32_t field;
        tr_view text;
    })
    wildcards;     /* as written, for the complexity */
    size_t copied; /* fields of branches made by $or */
    tr_error *err;
};

int tr__pattern_fail(struct tr__compiler *c, const char *format, ...) TR_PRINTF(2, 3);
/** The next token into *ret_token; on malformed JSON fills the error. */
int tr__pattern_next(struct tr__compiler *c, tr_json_token *ret_token);
int tr__pattern_add_test(struct tr__compiler *c, enum tr__kind kind, const void *bytes, size_t len);
/** One alternative of the tests added since `first`. */
int tr__pattern_add_alternative(struct tr__compiler *c, bool but, uint32_t first);
/** Reads the operators' object, whose { was just read: operators.c. */
int tr__pattern_operator(struct tr__compiler *c);
/** TR_EINVAL if the wildcards of a field are too entangled: complexity.c. */
int tr__pattern_complexity(struct tr__compiler *c);
/**
 * The largest number of wildcard prefixes that some text is within at once, counted up to `cap`. Texts are
 * taken with a quote at both ends, as in JSON. -1 without memory.
 */
int tr__wildcard_complexity(const tr_view *texts, size_t count, unsigned cap);

#endif
