/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_INBOX_H
#define TAILRACE_EVENTSTORE_INBOX_H

/**
 * inbox.h: events that were read and are still to be handed on, in a SQLite file.
 *
 * One side fills it, as the sink of a replica or from a scan; the other takes events in order. Each has a
 * connection of its own and may be a thread of its own.
 */

#include "eventstore/lite.h"
#include "eventstore/select.h"

#include <tailrace/replica.h>
#include <tailrace/stream.h>

#include <uv.h>

typedef struct tr__inbox tr__inbox;

/** Opens or makes the file. The selection is borrowed; its bounds of time become those that the file was
 * begun with, and a file begun for other stores or types is refused (TR_EINVAL). */
int tr__inbox_open(const char *path, tr__selection *select, tr__inbox **ret_inbox, tr_error *err);
/** NULL is fine. remove: the file too. */
void tr__inbox_close(tr__inbox *inbox, bool remove);

/** The name by which the file is known again; one that has none yet takes what `name` holds. NUL-terminated.
 */
int tr__inbox_name(tr__inbox *inbox, char name[TR_UUID_LEN + 1], tr_error *err);
/** Removes a file that is not open. */
void tr__inbox_remove(const char *path);

/* ---- the side that fills ---- */

/** Gives rows and state to the inbox; its `free` frees the sink alone. */
int tr__inbox_sink(tr__inbox *inbox, tr_sink **ret_sink);
/** Before it is filled: notes which table of that name it is, or TR_EINVAL if it is another one than it was.
 */
int tr__inbox_table(tr__inbox *inbox, tr_view table_id, tr_error *err);
int tr__inbox_begin(tr__inbox *inbox, tr_error *err);
/** Within begin and commit: an item of the table; known events and what is not wanted are left out. */
int tr__inbox_scanned(tr__inbox *inbox, tr_item item, tr_error *err);
int tr__inbox_save(tr__inbox *inbox, tr_view state, tr_error *err);
/** What was saved last, appended. */
int tr__inbox_load(tr__inbox *inbox, tr_buf *ret_state, tr_error *err);
/** While `on`, scanned events are kept back (by aggregate: the stream's, which may follow them). */
int tr__inbox_scanning(tr__inbox *inbox, bool on, bool again, tr_error *err);
int tr__inbox_commit(tr__inbox *inbox, tr_error *err);
void tr__inbox_rollback(tr__inbox *inbox);

/* ---- the side that takes ---- */

/** The first `max` events, whether taken before or not; *ret_count 0: none are there, or they are kept back.
 * Valid until the next call. */
int tr__inbox_take(tr__inbox *inbox, size_t max, const tr_subscribed **ret_events, size_t *ret_count,
                   tr_error *err);
/** The first `count` events of what was taken last are done. */
int tr__inbox_done(tr__inbox *inbox, size_t count, tr_error *err);
/** Waits until something was committed, or woken, at most timeout_ms. */
void tr__inbox_wait(tr__inbox *inbox, int64_t timeout_ms);
void tr__inbox_wake(tr__inbox *inbox);

#endif
