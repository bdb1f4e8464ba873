/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ARCHIVE_H
#define TAILRACE_ARCHIVE_H

/**
 * tailrace/archive.h: archives of a bus' events, as SQLite files that people can open.
 *
 *     events(id integer primary key, createdAt int, log text, type text, event text), an index per column
 *     but the last
 *
 * createdAt is the event's time, RFC 3339 in UTC; log and type are those of its detail, else its source and
 * detail type; event is the whole envelope, JSON. Files that tools of dynamodb-logs wrote have no id; their
 * rowid counts as it.
 *
 * Threads: a file is used by one thread at a time.
 */

#include <tailrace/base.h>
#include <tailrace/pattern.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_archive_file tr_archive_file;

/** Views are valid during the callback. */
typedef struct tr_archive_row {
    int64_t id; /**< rises in the order of archiving */
    tr_view created_at, log, type, event;
} tr_archive_row;

/** Which rows. Zeroes and empty views mean all. */
typedef struct tr_archive_filter {
    int64_t after;             /**< id > after */
    int64_t from_ms, to_ms;    /**< of the event's time, both included, to the second; 0: open */
    tr_view log, type;         /**< exactly these; ptr NULL: any */
    const tr_pattern *pattern; /**< that the event must match */
} tr_archive_filter;

typedef enum tr_archive_mode {
    TR_ARCHIVE_READ,  /**< TR_ENOTFOUND if there is no such file, TR_EINVAL if it is no archive */
    TR_ARCHIVE_WRITE, /**< made if missing; commits are durable */
} tr_archive_mode;

/** path: ":memory:" for one in memory. TR_EIO, TR_ENOMEM. */
int tr_archive_file_open(const char *path, tr_archive_mode mode, tr_archive_file **ret_file, tr_error *err);
/** NULL is fine. */
void tr_archive_file_close(tr_archive_file *file);
/** The highest id, 0 if it is empty. */
int tr_archive_file_last(tr_archive_file *file, int64_t *ret_id, tr_error *err);

/** Return 0 to go on, anything else to stop with that code. */
typedef int tr_archive_row_fn(void *ctx, const tr_archive_row *row);
/**
 * Calls fn for rows in order of their ids, at most `limit` (0: all). ret_next, if given, is 0 when all were
 * seen, else what to ask for as `after` to go on; with a pattern a call may end early (with ret_next set),
 * so that none takes long.
 */
int tr_archive_file_read(tr_archive_file *file, const tr_archive_filter *filter, uint64_t limit,
                         tr_archive_row_fn *fn, void *ctx, int64_t *ret_next, tr_error *err);
/** Rows, and bytes of their events. A pattern is not looked at. */
int tr_archive_file_count(tr_archive_file *file, const tr_archive_filter *filter, int64_t *ret_events,
                          int64_t *ret_bytes, tr_error *err);

/** Several changes as one: durable with the commit, which undoes them if it fails. */
int tr_archive_file_begin(tr_archive_file *file, tr_error *err);
int tr_archive_file_commit(tr_archive_file *file, tr_error *err);
void tr_archive_file_rollback(tr_archive_file *file);
/** Adds an event (JSON text); one of that id is left alone. */
int tr_archive_file_put(tr_archive_file *file, int64_t id, tr_view event, tr_error *err);
/** As tr_archive_file_begin, for events that may be there already. */
int tr_archive_file_begin_import(tr_archive_file *file, tr_error *err);
/** Adds an event, unless there is one with its time and its own id ("id", another than the row's): *ret_new
 * tells. Within tr_archive_file_begin_import and the commit. */
int tr_archive_file_put_new(tr_archive_file *file, int64_t id, tr_view event, bool *ret_new, tr_error *err);
/** Deletes rows, at most `limit` (0: all), and counts them. */
int tr_archive_file_prune(tr_archive_file *file, const tr_archive_filter *filter, uint64_t limit,
                          uint64_t *ret_count, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
