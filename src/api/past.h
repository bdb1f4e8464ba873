/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_PAST_H
#define TAILRACE_API_PAST_H

/**
 * past.h: a table as it was. Backups, restores and exports read their items from here.
 *
 *   now:        a snapshot of the store
 *   some time:  a snapshot of now, and from the table's stream what to take back: of each key that changed
 *               since, the image before the first change
 *   a backup:   the snapshot that it holds (in memory), or its copy of the store, opened as an engine of its
 *               own (on disk)
 *
 * A past is walked once. What has to be taken back is collected first, at most TR_PAST_BYTES_MAX of it, in
 * steps. Everything happens on the engine's thread; of a copy of the store on any one thread at a time.
 */

#include "engine/engine.h"

#define TR_PAST_BYTES_MAX ((size_t)1024 * 1024 * 1024)

typedef struct tr_past tr_past;

/** Of the newest synced state (at_ms INT64_MAX), or of an earlier time. TR_ETRIMMED: the stream does not
 * reach back so far. Call tr_past_collect until it returns 0. */
int tr_past_new(tr_engine *engine, const tr_table *table, int64_t at_ms, tr_past **ret_past, tr_error *err);
/** Of a snapshot, which must outlive it, and a table as it was then, which is copied. */
int tr_past_of_snapshot(tr_engine *engine, const tr_engine_snapshot *snapshot, const tr_table *table,
                        tr_past **ret_past, tr_error *err);
/** Of a copy of the store, as it is (INT64_MAX) or of an earlier time; all is collected. TR_ENOTFOUND: it has
 * no such table. TR_EBUSY: the copy is being read. */
int tr_past_of_directory(const char *dir, tr_view table, int64_t at_ms, tr_past **ret_past, tr_error *err);
void tr_past_free(tr_past *past);

/** A step of some hundred records. TR_EBUSY: there are more; 0: the past can be walked. TR_ELIMIT: too much
 * has changed since. */
int tr_past_collect(tr_past *past, tr_error *err);

/** The table as it was, as long as the past. */
const tr_table *tr_past_table(const tr_past *past);
/** The next item, valid until the next call. TR_ENOTFOUND at the end. */
int tr_past_next(tr_past *past, tr_item *ret_item, tr_error *err);

/** What changed of an item between two times. */
typedef struct tr_past_change {
    tr_item keys, before, after; /**< before, after: empty if it was not there */
    int64_t time_ms;             /**< of the last change */
} tr_past_change;
typedef struct tr_past_changes tr_past_changes;
/** Of each item that the table's stream says was changed in [from, to): how it was and how it became. Errors
 * as tr_past_new. */
int tr_past_changes_new(tr_engine *engine, const tr_table *table, int64_t from_ms, int64_t to_ms,
                        tr_past_changes **ret_changes, tr_error *err);
/** The same out of a copy of the store; all is collected. */
int tr_past_changes_of_directory(const char *dir, tr_view table, int64_t from_ms, int64_t to_ms,
                                 tr_past_changes **ret_changes, tr_error *err);
/** As tr_past_collect. */
int tr_past_changes_collect(tr_past_changes *changes, tr_error *err);
void tr_past_changes_free(tr_past_changes *changes);
/** The next, valid as long as the changes. false at the end. */
bool tr_past_changes_next(tr_past_changes *changes, tr_past_change *ret_change);

/** The earliest time that tr_past_new can reach: when the stream that holds old images was made, or what it
 * still holds begins. INT64_MAX: now only. */
int64_t tr_past_earliest(tr_engine *engine, const tr_table *table);

#endif
