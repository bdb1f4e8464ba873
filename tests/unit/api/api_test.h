/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_TEST_API_H
#define TAILRACE_TEST_API_H

/** api_test.h: operations on an engine in memory, without a server. */

#include "../test.h"

#include "api/api.h"

typedef struct fixture {
    tr_engine *engine;
    tr_api *api;
    tr_buf body, text;
    tr_api_reply reply;
    int64_t now_ms; /* of the engine's clock; 0: the wall's */
    int64_t wait_ms;
    const char *snapshot;
} fixture;

int fixture_open(void **state);
int fixture_close(void **state);

/** Carries an operation out and makes it durable; the answer is in f->body and f->reply. Returns its text. */
const char *call(fixture *f, const char *operation, const char *body);
/** The same, with printf's placeholders in the body. */
const char *callf(fixture *f, const char *operation, const char *format, ...) TR_PRINTF(3, 4);
/** The answer must be 200. */
const char *must(fixture *f, const char *operation, const char *format, ...) TR_PRINTF(3, 4);
/** The answer must be an error of that type (without its prefix) whose text holds `part`. */
void refused(fixture *f, const char *operation, const char *body, const char *type, const char *part);
/** The value behind the first "name":" of a text; in a buffer that the next call overwrites. */
const char *text_of(const char *json, const char *name);
/** How often the part is in the text. */
size_t count_of(const char *text, const char *part);

/** A table with string keys pk and sk, a local index byL (l), a global index byG (g), a stream of both
 * images.
 */
void make_table(fixture *f, const char *name);

#endif
