/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_INBOX_FILE_H
#define TAILRACE_EVENTSTORE_INBOX_FILE_H

/** inbox_file.h: what inbox_file.c (the file: its tables and its notes) and inbox.c (what goes through it)
 * share. */

#include "eventstore/inbox.h"

#define TR__INBOX_NOT_HELD    "9223372036854775807" /* no epoch is */
#define TR__INBOX_BATCH_BYTES ((size_t)32 << 20)    /* of a batch, beyond its first event */

/* statements of the side that fills, and of the one that takes */
enum {
    FIND,
    NEXT,
    ADD,
    EXTEND,
    SHORTEN,
    PUT,
    MEET,
    MET,
    PART,
    LATER,
    MOVE,
    SAVE,
    LOAD,
    BEGIN,
    COMMIT,
    ROLLBACK,
    STATEMENTS
};
enum { TAKE, DONE, TAKER_STATEMENTS };

struct tr__inbox {
    tr__selection *select;
    tr_stream_store *lock; /* of the file; never used as a store */
    uv_mutex_t mutex;
    uv_cond_t changed;
    uint64_t commits; /* with the mutex */

    /* filling */
    tr__lite fill;
    sqlite3_stmt *f[STATEMENTS];
    int64_t epoch;  /* of the present or last scan; what the stream brings is epoch + 1 */
    int64_t number; /* of the last event that is numbered as it came */
    bool scanning;  /* a scan is under way */
    tr_buf at;

    /* taking */
    tr__lite take;
    sqlite3_stmt *t[TAKER_STATEMENTS];
    tr_arena arena;
    tr_subscribed *events;
    int64_t *ids;
    size_t count, capacity, seen_commits;
};

int tr__inbox_put_meta(tr__inbox *in, const char *name, tr_view value, tr_error *err);
/** Appends the value; nothing if there is none. */
int tr__inbox_get_meta(tr__inbox *in, const char *name, tr_buf *ret, tr_error *err);
int tr__inbox_get_number(tr__inbox *in, const char *name, int64_t *ret, tr_error *err);
int tr__inbox_put_number(tr__inbox *in, const char *name, int64_t number, tr_error *err);
/** Of the scan and of the last number, as the file has them. */
int tr__inbox_find_scan(tr__inbox *in, tr_error *err);
int tr__inbox_find_number(tr__inbox *in, tr_error *err);

#endif
