/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_REPLAY_H
#define TAILRACE_REPLAY_H

/**
 * tailrace/replay.h: events of an archive once more: onto a bus, into a log's table, or to a handler.
 *
 *   an archive's file, an archive of tailrace's server,      a bus here or on AWS (PutEvents)
 *   an archive on AWS                              --------> a table of logs (puts of what is missing)
 *                                                            a handler, event by event
 *
 * Order is the archive's; that of archives on AWS is none, since their events come through a queue.
 *
 * What is replayed is marked, so that it is neither archived nor piped again: the detail of an event gets the
 * member TR_PIPE_REPLAY_MARK ("replay-name"), on tailrace's own bus the envelope too; an item gets an
 * attribute of that name; a handler's event a member, as EventBridge itself does.
 *
 * Into a table: the item is made from key, log, type and payload of the detail, and put if it is not there.
 * What is there stays as it is, whether it is the same (counted as `there`) or not (`differing`). A partial
 * event is completed from a table that has the log, if one is named; else it is failed unless its item is
 * there already. Plain JSON does not tell sets and binary values from lists and texts: they come back as
 * those.
 *
 * A replay can be interrupted and run again: with a `state` it goes on where it was, or a little before, so
 * that events may come twice. The state of one that is complete is marked so: the next run begins anew.
 *
 * From AWS: a queue and a rule that puts the replay's events into it are made on AWS, StartReplay is called,
 * events are received until the replay is complete and the queue empty, then both are removed; what has been
 * made is noted in the state first, so that a later run finds and removes it. FilterArns names that rule
 * alone: no other rule on AWS sees the events.
 *
 * Threads: tr_replay_run works on the calling thread; tr_replay_stop may be called from any.
 */

#include <tailrace/archive.h>
#include <tailrace/client.h>
#include <tailrace/failure.h>
#include <tailrace/handler.h>
#include <tailrace/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_replay_from { TR_REPLAY_FROM_FILE, TR_REPLAY_FROM_SERVER, TR_REPLAY_FROM_AWS } tr_replay_from;
typedef enum tr_replay_to { TR_REPLAY_TO_BUS, TR_REPLAY_TO_TABLE, TR_REPLAY_TO_HANDLER } tr_replay_to;

/** Longest name of a replay (API model, ReplayName). */
#define TR_REPLAY_NAME_MAX 64

typedef struct tr_replay_stats {
    uint64_t total;            /**< rows in the range, 0 if not known */
    uint64_t read;             /**< of those */
    uint64_t done;             /**< published, put, handled; with dry_run: would be */
    uint64_t there, differing; /**< into a table */
    uint64_t failed;           /**< given to on_failure */
    int64_t event_ms;          /**< time of the last event read, since 1970 */
    bool resumed;
} tr_replay_stats;

/** Zero-initialise, set what you need. Text is copied; clients, patterns, handlers must outlive the replay.
 */
typedef struct tr_replay_options {
    tr_replay_from from;
    const char *archive;       /**< Required: the archive's name, or the path of its file */
    tr_client *from_client;    /**< Required but for files */
    int64_t from_ms, to_ms;    /**< of the events' time, both included, to the second; 0: open */
    tr_view log, type;         /**< Optional: only these */
    const tr_pattern *pattern; /**< Optional: that events must match */

    tr_replay_to to;
    tr_client *to_client;     /**< Required but for handlers */
    const char *bus;          /**< to a bus, Required: its name or ARN */
    const char *const *rules; /**< Optional: ARNs of the only rules that it is for; on tailrace's bus only */
    size_t rule_count;
    const char *table;     /**< to a table, Optional: TR_LOG_TABLE */
    tr_client *log_client; /**< Optional: where partial events can be completed, */
    const char *log_table; /**< and the table there */
    tr_handler *handler;   /**< to a handler, Required */

    const char *name; /**< Optional: the mark; "local" */
    double speed;     /**< 0: as fast as possible; 1: as it was; 10: ten times that */
    bool dry_run;     /**< Reads and counts only. Not from AWS. */
    uint64_t retries; /**< of an event at a handler or bus, after the first attempt; 0: 3. A bus that cannot
                         be reached is waited for. */
    tr_failure_sink *on_failure; /**< Optional: owned from success on. Without, a replay ends with the first
                                    event that fails; run again, it begins with that one, onto a bus and into
                                    a table up to 500 events before. */
    tr_stream_store *state;      /**< Optional: owned from success on. From AWS: Required. */
    bool anew;                   /**< Forgets the state. */
    /** Optional: called now and then, on the thread that runs. */
    void (*progress)(void *ctx, const tr_replay_stats *stats);
    void *ctx;
    tr_logger logger;
} tr_replay_options;

typedef struct tr_replay tr_replay;

/** TR_EINVAL (err tells which option), TR_ENOMEM. */
int tr_replay_new(const tr_replay_options *options, tr_replay **ret_replay, tr_error *err);
void tr_replay_free(tr_replay *replay);
/**
 * 0: complete, and *ret_complete is true, or stopped. TR_ENOTFOUND: no such archive. TR_EINVAL: the state is
 * of another replay. TR_ESERVICE: an event failed and there is no on_failure.
 */
int tr_replay_run(tr_replay *replay, bool *ret_complete, tr_error *err);
/** Ends tr_replay_run soon; a later one goes on. */
void tr_replay_stop(tr_replay *replay);
/** From AWS: removes what an interrupted replay has made there, and its state, instead of going on. */
int tr_replay_abandon(tr_replay *replay, tr_error *err);
void tr_replay_get_stats(tr_replay *replay, tr_replay_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
