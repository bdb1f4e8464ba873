/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_REPLICA_H
#define TAILRACE_REPLICA_H

/**
 * tailrace/replica.h: keeps a copy of a DynamoDB table up to date, in any sink.
 *
 * A replica first copies the table by a parallel scan, while it already follows the table's stream, and from
 * then on applies every change. It can be stopped at any moment, also by a crash, and goes on where its
 * sink's last committed transaction stands: nothing is lost, nothing applied twice.
 *
 * How scan and stream are joined. Against a server that grants snapshot reads (tailrace's engine) all
 * segments read one snapshot, and the stream is read from the sequence number that the snapshot names: the
 * replica is exact as soon as the scan ends. Elsewhere:
 *   1. a durable position is noted for every shard before the scan begins;
 *   2. segments are scanned with consistent reads; every page is committed with its continuation key;
 *   3. meanwhile changes are applied; a scanned row is written only where no change of that key was applied
 * since 1 (deletions leave a tombstone until the scan is over);
 *   4. the replica is consistent once every shard is read past the scan's end;
 *   5. a change is applied only if its sequence number is above the row's, so repeats do nothing.
 * If the stream has lost records (a gap: more than 24 hours behind) the scan is repeated, and rows that it
 * does not find any more are deleted. Streams of KEYS_ONLY and OLD_IMAGE carry no new image: the item is read
 * consistently instead.
 *
 * Threads: tr_replica_run does all the work on the calling thread (sinks may block). tr_replica_stop and
 * tr_replica_get_progress are safe from any thread.
 */

#include <tailrace/base.h>
#include <tailrace/client.h>
#include <tailrace/item.h>
#include <tailrace/record.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------ sinks */

/** What a sink is told of its table when it is opened. Views live as long as the replica. */
typedef struct tr_sink_table {
    tr_view name;
    tr_view hash_name, range_name; /**< range_name is empty if the table has none */
    tr_type hash_type, range_type;
} tr_sink_table;

/** A row to write. The key is the order-preserving key form (tr_key_put) of hash and range attribute, joined.
 */
typedef struct tr_sink_row {
    tr_view key;
    tr_item item;            /**< empty: the row is deleted */
    tr_view sequence_number; /**< of the change, as the service gave it; empty for a scanned row */
    const tr_record *record; /**< the change itself; NULL for a scanned row */
} tr_sink_row;

/**
 * Where rows go: one of those below, or yours. All calls come from the thread of tr_replica_run (verify: of
 * tr_replica_verify), one after the other:
 *
 *   open, then any number of transactions:  begin { scan_begin | apply | scanned | scan_end }* save commit
 *
 * and rollback in place of save and commit where something has failed or nothing was to be done. What a
 * function returns besides 0 ends the transaction: an error that tr_retryable calls so has the replica open
 * the sink again and repeat what was not committed, any other ends tr_replica_run.
 *
 * What a sink promises
 * - With `transactions`, everything between begin and commit takes effect together with the state that `save`
 *   gave, or not at all, also if the process is killed. Then every change arrives in exactly one transaction
 *   that took effect: exactly once. begin, save, commit and rollback are required.
 * - Without, changes since the last save come again after a crash: at least once, in order per item. All
 *   functions but apply and scanned are optional then; without save the table is copied anew by every
 * process.
 *
 * What keeps a copy right while it is scanned (a sink that only passes changes on may do without):
 * - apply does nothing if the row's change is not above the sequence number stored with its key;
 * - scanned does nothing if a change was applied to the key since scan_begin, a deletion included (keep
 *   tombstones until scan_end);
 * - after scan_begin with `again`, scan_end removes the rows that neither scanned nor apply has named since.
 */
typedef struct tr_sink tr_sink;
struct tr_sink {
    bool transactions; /**< see above */
    /** Prepares for the table, and appends the state last saved for it to ret_state (nothing if there is
     * none). Called before every run and again after a failure: drops what was not committed, reconnects. */
    int (*open)(tr_sink *sink, const tr_sink_table *table, tr_buf *ret_state, tr_error *err);
    int (*begin)(tr_sink *sink, tr_error *err);
    /** Required. A change from the stream. */
    int (*apply)(tr_sink *sink, const tr_sink_row *row, tr_error *err);
    /** Required. A row of the table's copy. */
    int (*scanned)(tr_sink *sink, const tr_sink_row *row, tr_error *err);
    /** A scan begins; `again`: the stream has lost records, and what the scan does not find is gone. */
    int (*scan_begin)(tr_sink *sink, bool again, tr_error *err);
    /** Scan and overlap are over. *ret_deleted: rows that a repeated scan did not find. */
    int (*scan_end)(tr_sink *sink, bool again, uint64_t *ret_deleted, tr_error *err);
    /** Stores the replica's state (JSON) in the transaction. */
    int (*save)(tr_sink *sink, tr_view state, tr_error *err);
    int (*commit)(tr_sink *sink, tr_error *err);
    void (*rollback)(tr_sink *sink);
    /** Optional: walks all rows in key order, for verify. Nonzero from fn stops. */
    int (*each)(tr_sink *sink, int (*fn)(void *ctx, tr_view key, tr_item item), void *ctx, tr_error *err);
    /** Optional, with each: appends one row's packed item to ret_item; TR_ENOTFOUND. */
    int (*get)(tr_sink *sink, tr_view key, tr_buf *ret_item, tr_error *err);
    void (*free)(tr_sink *sink); /**< Optional. */
};

/** A SQLite database file, in the form that docs/replicate.md describes. Several replicas may share it. */
int tr_sink_sqlite(const char *path, tr_sink **ret_sink, tr_error *err);
/**
 * A PostgreSQL database, in the form that docs/replicate.md describes. `where`: a URL (postgres://…) or a
 * connection string ("host=… dbname=…") as libpq takes it, "" for what the environment says (PGHOST, …).
 * libpq is loaded here: TR_EUNSUPPORTED, with the package's name, where it is missing. TR_EINVAL: no
 * connection string. The connection is made when the replica runs, and made again when it was lost.
 */
int tr_sink_postgres(const char *where, tr_sink **ret_sink, tr_error *err);
/** A file of JSON lines, appended to: a line per change ({"event":…} as `tailrace tail` prints), state beside
 * it in PATH.state. */
int tr_sink_jsonl(const char *path, tr_sink **ret_sink, tr_error *err);
/* In memory: tailrace/memory_table.h */

/* ---------------------------------------------------------------------------------------------- replica */

typedef struct tr_replica tr_replica;

typedef enum tr_replica_phase {
    TR_REPLICA_STARTING, /**< noting positions */
    TR_REPLICA_SCANNING, /**< copying the table, following beside it */
    TR_REPLICA_OVERLAP,  /**< copied; changes from before the copy's end are still to come */
    TR_REPLICA_FOLLOWING /**< consistent up to the lag */
} tr_replica_phase;
/** "starting", "scanning", … Static. */
const char *tr_replica_phase_name(tr_replica_phase phase);

typedef struct tr_replica_progress {
    tr_replica_phase phase;
    uint64_t scanned;       /**< rows copied in the present scan */
    uint64_t scan_estimate; /**< rows the table was said to have when the scan began; may be 0 or far off */
    uint64_t changes;       /**< applied since tr_replica_run began */
    uint64_t gaps;          /**< the stream had lost records: so many scans were repeated */
    uint64_t deleted;       /**< rows that a repeated scan did not find any more */
    int64_t lag_ms;         /**< of the stream; -1: not known yet */
    bool caught_up;
    const char *stream_arn; /**< "" if not known yet; valid as long as the replica */
} tr_replica_progress;

/** Zero-initialise, set what you need. Text is copied. */
typedef struct tr_replica_options {
    const char *table;        /**< Required. */
    tr_sink *sink;            /**< Required. Owned by the replica from success on. */
    unsigned segments;        /**< of the scan, read in parallel; 0: 4; at most TR_REPLICA_SEGMENTS_MAX */
    uint64_t rows_per_second; /**< of the scan; 0: as fast as it goes */
    int64_t idle_max_ms;      /**< tr_stream_options.idle_max_ms of the stream */
    bool no_copy; /**< begins with the changes alone: rows that were there before are not copied, unless the
                     stream has lost records */
    bool once;    /**< tr_replica_run returns 0 when caught up, TR_ETIMEOUT after 60 s without progress */
    void (*on_progress)(void *ctx,
                        const tr_replica_progress *progress); /**< Optional; from the thread of run */
    void *ctx;
    tr_logger logger;
} tr_replica_options;

#define TR_REPLICA_SEGMENTS_MAX 64

/** Checks the options; nothing is sent yet. The client must outlive the replica. */
int tr_replica_new(tr_client *client, const tr_replica_options *options, tr_replica **ret_replica,
                   tr_error *err);
void tr_replica_free(tr_replica *replica);
/**
 * Copies and follows. Returns 0 after tr_replica_stop or, with `once`, when caught up; else why it cannot go
 * on: TR_ENOTFOUND (no such table; without `once`, one that is deleted later is waited for), TR_EINVAL (it
 * has no stream), or the sink's error. May be called again: goes on where the sink's last commit stands.
 * Failures of the service are repeated inside and not returned. Blocks.
 */
int tr_replica_run(tr_replica *replica, tr_error *err);
void tr_replica_stop(tr_replica *replica);
void tr_replica_get_progress(tr_replica *replica, tr_replica_progress *ret_progress);

typedef enum tr_difference { TR_ONLY_IN_TABLE, TR_ONLY_IN_REPLICA, TR_ITEMS_DIFFER } tr_difference;
/** Either item may be empty. */
typedef void tr_difference_fn(void *ctx, tr_difference kind, tr_item in_table, tr_item in_replica);
typedef struct tr_verify_result {
    uint64_t rows;        /**< of the table */
    uint64_t differences; /**< all of them; fn is called for the first TR_VERIFY_TOLD */
} tr_verify_result;
#define TR_VERIFY_TOLD 1000
/**
 * Compares table and replica, key by key; call between runs, after one with `once`. Keys that differ are read
 * again from the table (with a consistent read) before they are told, so what changed meanwhile counts as
 * different only if it still does. TR_EUNSUPPORTED where the sink cannot be read. Blocks.
 */
int tr_replica_verify(tr_replica *replica, tr_difference_fn *fn, void *ctx, tr_verify_result *ret_result,
                      tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
