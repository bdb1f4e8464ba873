/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PROJECTION_H
#define TAILRACE_PROJECTION_H

/**
 * tailrace/projection.h: read models, kept up to date from a table of events, exactly once.
 *
 * A projection is a function of events that changes rows. It follows the events (tailrace/subscription.h) and
 * keeps the rows in a SQLite file or a DynamoDB table, together with the version of each aggregate that they
 * are made of, in one transaction: an event whose version is there already changes nothing, so that a crash
 * anywhere, or a second process, neither loses nor repeats a change.
 *
 *     static int project(void *ctx, tr_projecting *rows, const tr_subscribed *s, tr_error *err)
 *     {
 *         …                                 tr_project_get, tr_project_put, tr_project_delete
 *     }
 *     tr_projection_options o = {.name = "balances", .version = "1", .sqlite = "read.db", .state =
 * "balances", .project = project}; tr_projection_new(client, &o, &projection, &err);
 *     tr_projection_run(projection, &err);
 *
 * Or, with a reducer instead of the function, a row is an aggregate, under `<store>#<aggregate>`.
 *
 * Several processes. One keeps a read model up to date. A second one with the same `state` waits, and takes
 * over when the first one ends; one with a state of its own does the same work once more, which each event
 * survives: it counts once, and who is second finds that out by a conflict. The work is not shared by leases:
 * docs/decisions/007-projections.md says why.
 *
 * Rebuilding. tr_projection_rebuild (or `rebuild`, when a process is started) makes the read model once more,
 * from the first event, as another generation beside the one that serves; that one is read, and goes on being
 * kept up to date if its function is the same `version`. When the new one has caught up with it, it takes its
 * place in one step, and the old one is removed. A rebuild that was killed goes on at the next start.
 *
 * Where rows are
 * - SQLite: a table of the projection's name: key TEXT PRIMARY KEY, item TEXT (plain JSON), dynamodb_json
 * TEXT (NULL unless plain JSON loses a type), revision INTEGER. Readers see a committed state, and the whole
 * new generation or the whole old one.
 * - DynamoDB: a table with the partition key `id` (S): rows `<name>@<generation>#<key>` with `row` (M) and
 *   `revision` (N); `<name>@<generation>/<store>#<aggregate>` with `version`; and `<name>`, whose `serving`
 * is the generation to be read (tr_projection_read does that).
 *
 * An event of a lower version than the projected one (pushed into a gap, which only castore's default push
 * allows) is left out; one that was overwritten is too, and is told to the logger: rebuild.
 *
 * Threads: tr_projection_run does all the work on the calling thread, the function included. Stop, rebuild
 * and get_stats may be called from any thread.
 */

#include <tailrace/aggregate.h>
#include <tailrace/subscription.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The rows, as an event meets them. Valid during the call of a tr_project_fn. */
typedef struct tr_projecting tr_projecting;
/** Bytes of a row's key. */
#define TR_PROJECT_KEY_MAX 1500
/** Rows that one event may change. */
#define TR_PROJECT_ROWS_MAX 40

/** The row as it is; valid during the call of the function. TR_ENOTFOUND. */
int tr_project_get(tr_projecting *projecting, tr_view key, tr_item *ret_row, tr_error *err);
/** Copied. */
int tr_project_put(tr_projecting *projecting, tr_view key, tr_item row, tr_error *err);
/** A row that is not there is fine. */
int tr_project_delete(tr_projecting *projecting, tr_view key, tr_error *err);
/** 0, or why the event cannot be projected: what may pass (tr_retryable) is tried again after a pause, with
 * rows as they were before; anything else ends tr_projection_run. May be called again for an event whose
 * changes were not saved. */
typedef int tr_project_fn(void *ctx, tr_projecting *projecting, const tr_subscribed *event, tr_error *err);

/** Zero-initialise, set what you need. Everything but function and reducer is copied. */
typedef struct tr_projection_options {
    const char *name;    /**< Required: 1 to 100 of A-Z a-z 0-9 _ . - */
    const char *version; /**< Of the function, up to 63 bytes; NULL: "1". A read model of another version is
                            not touched but by a rebuild (TR_EVERSION). */
    tr_event_selection select;
    const char *sqlite; /**< This, a file, … */
    const char *table;  /**< … or this, a DynamoDB table, made if missing, is required. */
    tr_client
        *table_client; /**< Optional: of `table`; else that of the events. Must outlive the projection. */
    const char *state; /**< Required: inboxes are files of this name, with a dot, the read model's identity
                          and the generation's number behind. */
    tr_project_fn *project;    /**< This … */
    const tr_reducer *reducer; /**< … or this, with save and load, is required. */
    void *ctx;
    bool rebuild; /**< begin with a rebuild */
    bool once;    /**< end when everything that is there was projected, and a rebuild is over */
    tr_logger logger;
} tr_projection_options;

typedef struct tr_projection tr_projection;

/** TR_EINVAL, TR_EIO, TR_ENOMEM. The client must outlive the projection. */
int tr_projection_new(tr_client *client, const tr_projection_options *options, tr_projection **ret_projection,
                      tr_error *err);
/**
 * Projects until tr_projection_stop, or with `once` until all is done: 0. TR_EVERSION: the read model was
 * made by another version of the function, rebuild it. Else what the function or the store failed with for
 * good. Another process that keeps the same generation up to date, with the same `state`, is waited for.
 * Blocks.
 */
int tr_projection_run(tr_projection *projection, tr_error *err);
void tr_projection_stop(tr_projection *projection);
/** Begins a rebuild soon; nothing if one is under way. */
void tr_projection_rebuild(tr_projection *projection);
/** NULL is fine. */
void tr_projection_free(tr_projection *projection);

typedef struct tr_projection_stats {
    uint64_t serving, building; /**< generations; building is 0 if none is being built */
    uint64_t events;            /**< projected, of all generations */
    uint64_t repeated;          /**< of these, events that were projected before */
    uint64_t conflicts;         /**< transactions that another writer was in the way of */
    bool live;                  /**< the serving one has caught up */
} tr_projection_stats;
void tr_projection_get_stats(tr_projection *projection, tr_projection_stats *ret_stats);

/** A row of the generation that serves, from a DynamoDB table, read consistently; in the arena. TR_ENOTFOUND.
 * Blocks. */
int tr_projection_read(tr_client *client, const char *table, const char *name, tr_view key, tr_arena *arena,
                       tr_item *ret_row, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
