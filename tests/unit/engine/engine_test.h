/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ENGINE_TEST_H
#define TAILRACE_ENGINE_TEST_H

/* What this room's tests share: an engine in a fresh directory or in memory, with a clock that stands still
 * until told, and items written as JSON. */

#include "../test.h"

#include "engine/engine.h"

typedef struct fixture {
    char dir[64];
    tr_engine_options options;
    tr_engine *engine;
    int64_t now_ms;
    tr_arena arena;
    tr_error err;
} fixture;

#define CHECK(f, call)                                                                                       \
    do {                                                                                                     \
        (f)->err = (tr_error){0};                                                                            \
        int rc_ = (call);                                                                                    \
        if (rc_)                                                                                             \
            print_error("%s: %s\n", tr_strerror(rc_), (f)->err.message);                                     \
        assert_int_equal(rc_, 0);                                                                            \
    } while (0)

int setup_dir(void **state);
int setup_memory(void **state);
int teardown(void **state);
void close_engine(fixture *f);
void open_engine(fixture *f);
void reopen(fixture *f);
void remove_tree(const char *path);

tr_item item(fixture *f, const char *json);
/** The packed item as JSON, in the arena. */
const char *json_of(fixture *f, tr_item packed);
void assert_item(fixture *f, tr_item packed, const char *json);

/** A table with partition key "pk" and, if ranged, sort key "sk", both S. */
tr_table *make_table(fixture *f, const char *name, bool ranged, tr_view_type view);
tr_write do_write(fixture *f, tr_write w);
tr_write put(fixture *f, tr_table *table, const char *json);
tr_write del(fixture *f, tr_table *table, const char *key);
/** Makes all durable and moves the read snapshot on. */
void settle(fixture *f);
/** From the last synced state; NULL: expects no item. */
void expect_get(fixture *f, tr_table *table, const char *key, const char *json);

#endif
