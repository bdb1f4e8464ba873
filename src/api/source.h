/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_SOURCE_H
#define TAILRACE_API_SOURCE_H

/**
 * source.h: what backups, restores and exports read from, made without holding the loop up.
 *
 * With a data directory it is a copy of the store, of hard links, that is made (or, of a backup, opened) on a
 * thread of its own, while the request that asked for it is parked and others go on. It stays until the job
 * is done, so that whoever finds the job unfinished at the next start reads the same again. In memory it is
 * a snapshot, and there is no thread.
 */

#include "api/kept.h"
#include "api/past.h"

typedef enum tr_source_kind {
    TR_SOURCE_COPY,   /* the copy is all that is wanted: a backup */
    TR_SOURCE_PAST,   /* a table as it was */
    TR_SOURCE_CHANGES /* what was changed of it */
} tr_source_kind;

typedef struct tr_source_spec {
    tr_source_kind kind;
    const char *dir;                    /* of the copy; NULL: in memory */
    bool copy;                          /* it is to be made first */
    bool own;                           /* it is nobody else's: removed with what reads it */
    const tr_table *table;              /* in memory */
    const tr_engine_snapshot *snapshot; /* in memory: the backup's, which must outlive it; NULL: none */
    tr_view name;                       /* of the table, in the copy */
    int64_t from_ms, to_ms;             /* PAST: as at to_ms, INT64_MAX: now, or as the copy is */
} tr_source_spec;

/** A source under way or made; what a parked request holds (api.h). */
struct tr_held {
    tr_source_spec spec; /* dir and name are copies */
    tr_kv *kv;           /* of the store that is copied */
    tr_task work;
    bool remove; /* its directory, when it is taken down */
    int code;
    tr_error error;
    tr_past *past;
    tr_past_changes *changes;
    /* what the request has settled before it was parked */
    char arn[TR_ARN_MAX + 1];
    int64_t now_ms;
    tr_buf text;
};
typedef struct tr_held tr_source;

/** Begins to make one: on a thread with a data directory, else at once. What was acknowledged is in it. */
int tr__held_new(tr_api *api, const tr_source_spec *spec, tr_source **ret_source, tr_error *err);
/** What a backup holds. */
int tr__held_of_backup(tr_api *api, const struct tr_kept *backup, tr_source **ret_source, tr_error *err);
bool tr__held_done(const tr_source *source);
/** Waits until it is made; its code and error. */
int tr__held_status(tr_source *source, tr_error *err);
/** Closes it, and removes its directory if told to; on a thread too, if there is something to be closed. */
void tr__held_end(tr_api *api, tr_source *source, bool remove);

/** Removes the copy in a directory that nobody reads. */
void tr__held_clear(tr_api *api, const char *dir);

/** Whether a request can go on, since its source is made; otherwise it is parked: return 0. */
bool tr__held_ready(tr_call *call, tr_source *source);

#endif
