/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_KEPT_H
#define TAILRACE_API_KEPT_H

/**
 * kept.h: backups, exports and imports that are remembered: each its description, as it is answered, under
 * its ARN. With a data directory they are files there, which outlive the server:
 *
 *   DIR/backups/ID.json     {"arn":…,"created":…,"description":{…}}        ID: what stands behind the last
 * '/' of the ARN DIR/backups/ID/         the copy of the store DIR/exports/ID.json     DIR/imports/ID.json
 */

#include "api/call.h"

/** Of each kind; the oldest finished ones are not dropped, so further ones are refused. */
#define TR_KEPT_MAX 10000
#define TR_KEPT_ID  40 /* bytes of an ID, with its end */

typedef struct tr_kept {
    struct tr_kept *next;
    char arn[TR_ARN_MAX + 1];
    int64_t created_ms;
    char *json; /* the description */
    /* backups in memory: what they hold */
    tr_engine_snapshot *snapshot;
    tr_table *table;
} tr_kept;

/** "<13 or more digits of ms>-<8 hexadecimal digits>", as the service's are. */
void tr__kept_id(int64_t now_ms, char out[TR_KEPT_ID]);
/** Remembers a new one, with its file. */
int tr__kept_add(tr_api *api, tr_kept_kind kind, const char *arn, int64_t created_ms, tr_view json,
                 tr_kept **ret_kept, tr_error *err);
/** Another description. */
int tr__kept_set(tr_api *api, tr_kept_kind kind, tr_kept *kept, tr_view json, tr_error *err);
void tr__kept_remove(tr_api *api, tr_kept_kind kind, tr_kept *kept);
tr_kept *tr__kept_find(const tr_api *api, tr_kept_kind kind, tr_view arn);
/** DIR/kind/ID with an ending, in the arena; NULL without memory. */
char *tr__kept_path(const tr_api *api, tr_kept_kind kind, const char *arn, const char *ending,
                    tr_arena *arena);
/** Removes a directory and what is in it. */
void tr__remove_tree(const char *path);
/** Reads what earlier servers have kept. What is damaged is left alone and not listed. */
int tr__kept_load(tr_api *api);
void tr__kept_done(tr_api *api);

/** A member's text of a description, in the arena; empty if it is not there. `path`: names with dots between.
 */
tr_view tr__kept_text(const tr_kept *kept, const char *path, tr_arena *arena);

/* ------------------------------------------------------------------------------------------------- jobs */

/** Work that goes on after its request was answered, in steps of a few milliseconds between requests. */
typedef struct tr_job {
    struct tr_job *next;
    /** Does a step; ret_done: it was the last. A code other than 0 ends the job. */
    int (*step)(tr_api *api, struct tr_job *job, bool *ret_done, tr_error *err);
    /** Told how it ended (TR_ECANCELED: the server ends), and frees it. */
    void (*end)(tr_api *api, struct tr_job *job, int code, const tr_error *err);
} tr_job;

/** Jobs at a time, as the service limits restores (Developer Guide quotas). */
#define TR_JOBS_MAX 50
/** Refuses one more than that. */
int tr__job_check(tr_call *call);

/** Items and bytes of a step. */
#define TR_JOB_ITEMS 256
#define TR_JOB_BYTES ((size_t)1024 * 1024)

void tr__job_add(tr_api *api, tr_job *job);
/** A step of each; whether there are any left. */
bool tr__jobs_step(tr_api *api);
void tr__jobs_done(tr_api *api);

#endif
