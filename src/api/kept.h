/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_KEPT_H
#define TAILRACE_API_KEPT_H

/**
 * kept.h: backups, exports, imports and restores that are remembered: each its description, as it is
 * answered, under its ARN, and while there is work to do for it, the request that asked for it. With a data
 * directory they are files there, which outlive the server:
 *
 *   DIR/backups/ID.json   {"arn":…,"created":…,"description":{…},"request":{…}}     ID: what stands behind
 *   DIR/backups/ID/       the copy of the store                                     the last '/' of the ARN
 *   DIR/exports/ID.json  DIR/imports/ID.json  DIR/restores/ID.json
 *   DIR/exports/ID/  DIR/restores/ID/      the copy of the store that is read, until the work is done
 */

#include "api/call.h"

#include <pthread.h>
#include <stdatomic.h>

/** Of each kind; the oldest finished ones are not dropped, so further ones are refused. */
#define TR_KEPT_MAX 10000
#define TR_KEPT_ID  40 /* bytes of an ID, with its end */

typedef struct tr_kept {
    struct tr_kept *next;
    char arn[TR_ARN_MAX + 1];
    int64_t created_ms;
    char *json;    /* the description */
    char *request; /* work is under way for: to be done again by whoever finds it; NULL: none */
    /* backups in memory: what they hold */
    tr_engine_snapshot *snapshot;
    tr_table *table;
} tr_kept;

/** "<13 or more digits of ms>-<8 hexadecimal digits>", as the service's are. */
void tr__kept_id(int64_t now_ms, char out[TR_KEPT_ID]);
/** Remembers a new one, with its file. request: empty if nothing is left to do. */
int tr__kept_add(tr_api *api, tr_kept_kind kind, const char *arn, int64_t created_ms, tr_view json,
                 tr_view request, tr_kept **ret_kept, tr_error *err);
/** Another description. done: nothing is left to do for it. */
int tr__kept_set(tr_api *api, tr_kept_kind kind, tr_kept *kept, tr_view json, bool done, tr_error *err);
/** Forgets it, and its copy of the store. */
void tr__kept_remove(tr_api *api, tr_kept_kind kind, tr_kept *kept);
tr_kept *tr__kept_find(const tr_api *api, tr_kept_kind kind, tr_view arn);
/** DIR/kind/ID with an ending, in the arena; NULL without memory. */
char *tr__kept_path(const tr_api *api, tr_kept_kind kind, const char *arn, const char *ending,
                    tr_arena *arena);
/** The directory of its copy of the store, in the arena; the folder above it is made. */
int tr__kept_folder(const tr_api *api, tr_kept_kind kind, const char *arn, tr_arena *arena,
                    const char **ret_dir, tr_error *err);
/** Removes a directory and what is in it. */
void tr__remove_tree(const char *path);
/** Reads what earlier servers have kept. What is damaged is left alone and not listed. */
int tr__kept_load(tr_api *api);
void tr__kept_done(tr_api *api);

/** A member's text of a description, in the arena; empty if it is not there. `path`: names with dots between.
 */
tr_view tr__kept_text(const tr_kept *kept, const char *path, tr_arena *arena);

/* ------------------------------------------------------------------------------------------------- jobs */

/** Work that goes on after its request was answered, in short steps between requests. */
typedef struct tr_job {
    struct tr_job *next;
    /** Does a step of well below a millisecond; ret_done: it was the last. A code other than 0 ends the job.
     */
    int (*step)(tr_api *api, struct tr_job *job, bool *ret_done, tr_error *err);
    /** Told how it ended (TR_ECANCELED: the server ends; the next one may go on), and frees it. */
    void (*end)(tr_api *api, struct tr_job *job, int code, const tr_error *err);
    bool idle;  /* set by a step that waits for something */
    bool aside; /* does not count as one of TR_JOBS_MAX */
} tr_job;

/** Jobs at a time, as the service limits restores (Developer Guide quotas). */
#define TR_JOBS_MAX 50
/** Refuses one more than that. */
int tr__job_check(tr_call *call);

/** Items and bytes of a step, so that it holds requests up for less than a millisecond or so. */
#define TR_JOB_ITEMS 16
#define TR_JOB_BYTES ((size_t)16 * 1024)
/** Nanoseconds that the steps of all jobs take together before requests have their turn. Writing out what
 * they staged takes about as long again. */
#define TR_JOB_TURN_NS ((int64_t)500 * 1000)

void tr__job_add(tr_api *api, tr_job *job);
/** Steps of the jobs, in turn, for TR_JOB_TURN_NS, once what the last turn wrote is durable; whether there
 * are any left. */
bool tr__jobs_step(tr_api *api);
void tr__jobs_done(tr_api *api);

/** Something that takes long, on a thread of its own. Zero-initialised: done. */
typedef struct tr_task {
    void (*fn)(void *ctx);
    void *ctx;
    pthread_t thread;
    bool running; /* the thread is to be joined */
    atomic_bool busy;
} tr_task;
/** Without a thread to be had it is done at once: late, but done. */
void tr__task_begin(tr_task *work, void (*fn)(void *ctx), void *ctx);
bool tr__task_done(const tr_task *work);
/** Waits for it. What it wrote can be read afterwards. */
void tr__task_join(tr_task *work);

/** Begin again with what the last server did not finish. */
void tr__imports_resume(tr_api *api);
void tr__exports_resume(tr_api *api);
void tr__restores_resume(tr_api *api);

#endif
