/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_TEST_EXPR_VECTOR_H
#define TAILRACE_TEST_EXPR_VECTOR_H

/**
 * Runs an expression as a request would: names and values read and checked, parsed, unused placeholders
 * looked for, evaluated. The cases of vectors.jsonl and of test_expr.c run through here.
 */

#include "../test.h"

#include "expr/expr.h"

typedef struct vector {
    tr_view op; /* cond, filter, key, proj, update */
    tr_view expr;
    tr_view names, values; /* JSON, empty if absent */
    tr_item item;          /* packed, empty if there is none */
    tr_view schema, index; /* key: "pk:S|sk:N" */
    bool touched;          /* update: answer what it touched, of the new item */
} vector;

/** What came of it: a truth, an item, a text, or an error. */
typedef struct outcome {
    int code;
    bool truth;
    tr_item item;
    char text[160]; /* key: what the condition became */
    tr_error err;
} outcome;

void vector_run(const vector *v, tr_arena *arena, outcome *ret);

#endif
