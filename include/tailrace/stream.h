/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_STREAM_H
#define TAILRACE_STREAM_H

/**
 * tailrace/stream.h: reading a table's change stream, losing nothing.
 *
 * A tr_stream follows one table's stream over a tr_client: it finds the shards, reads parents before
 * children, hands out records, remembers what was acknowledged, and goes on from there after a restart.
 * Alone, its memory is a checkpoint store (a file, SQLite, a table, or yours); in a fleet of workers it is a
 * lease table with the rows of the Kinesis Client Library 1.x.
 *
 *     tr_stream_options o = {.table = "orders", .start = {.at = TR_START_LATEST}};
 *     tr_stream_store_file("orders.state", &o.store, &err);
 *     tr_stream_new(client, &o, &stream, &err);
 *     for (tr_stream_event *e; (code = tr_stream_next(stream, 1000, &e)) == 0 || code == TR_ETIMEOUT;) {
 *         if (code == TR_ETIMEOUT)
 *             continue;
 *         if (e->kind == TR_STREAM_RECORD)
 *             use(e->record);
 *         tr_stream_ack(stream, e);
 *     }
 *     tr_stream_free(stream);
 *
 * What is promised
 * - Every record is handed out at least once, and after a restart again exactly those that were not
 * acknowledged and saved. Where the service itself has lost records (trimmed after 24 hours), or cannot tell,
 * a TR_STREAM_GAP event says so before the records that follow; it is repeated after a restart until it was
 * acknowledged.
 * - Records of one item come in order. A shard is read only after its parent was read to its end, every
 * record of the parent acknowledged, and that end saved.
 * - A position is saved only if everything up to it was acknowledged.
 * - Failures of one shard (throttling, errors of the service, expired iterators) delay that shard alone; they
 * are repeated with jittered backoff for as long as the stream exists and never end it. They are seen in
 * tr_stream_stats and as TR_STREAM_TROUBLE events.
 * - Memory is bounded: reading stops while more than max_records or max_bytes are unacknowledged.
 *
 * Threads: every function may be called from any thread, except that those which block (tr_stream_next and
 * its kin, tr_stream_fetch_…, tr_stream_run, tr_stream_flush, tr_stream_set_state) refuse to run on the
 * client's I/O thread (TR_ETHREAD); to call tr_stream_free there is a programmer's error. The client must
 * outlive tr_stream_free.
 */

#include <tailrace/client.h>
#include <tailrace/pattern.h>
#include <tailrace/record.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_stream tr_stream;

/* ---------------------------------------------------------------------------------------------- events */

typedef enum tr_stream_event_kind {
    TR_STREAM_RECORD = 1, /**< `record` is set. Acknowledge it. */
    TR_STREAM_GAP,        /**< `gap` is set: records may be missing here. Acknowledge it like a record. */
    TR_STREAM_STARTED, /**< The start positions are known and saved: whatever is written from now on is seen.
                        */
    TR_STREAM_SHARDS_ADDED,   /**< `shards`: newly found ones. */
    TR_STREAM_SHARDS_REMOVED, /**< `shards`: read to their end, or lost to another worker of the fleet. */
    TR_STREAM_CAUGHT_UP,  /**< Every shard was seen at its tip, and all that was read before was acknowledged.
                             Again  after every time that the lag had exceeded behind_ms. */
    TR_STREAM_CHECKPOINT, /**< With user_checkpoints only: there is something to save, see
                             tr_stream_checkpoint_begin. Children of an ended shard wait for it. */
    TR_STREAM_ENDED,  /**< The stream was disabled and read to its end, and the table has no newer one (yet).
                         The  consumer goes on looking for one. */
    TR_STREAM_TROUBLE /**< `trouble` is set: something fails and is being repeated. At most one waits to be
                         taken at a time, the latest. */
} tr_stream_event_kind;

/** Why records may be missing. */
typedef enum tr_gap_reason {
    TR_GAP_TRIMMED =
        1, /**< The records after `after` were trimmed (TrimmedDataAccessException, confirmed by reading). */
    TR_GAP_SHARD_GONE,  /**< The shard left the stream before it was read to its end, or even seen; shards
                           between  it and those that are there may be missing, too. */
    TR_GAP_STREAM_GONE, /**< The stream itself was deleted before this shard was read to its end. */
    TR_GAP_ITERATOR_EXPIRED, /**< An imported position was an iterator that has expired: reading goes on at
                                TRIM_HORIZON, so what is still there comes (again), and only trimmed records
                                are missing. */
    TR_GAP_LATE /**< The shard was first read more than the retention time after it appeared: its first
                   records may have been trimmed. */
} tr_gap_reason;
/** "trimmed", "shard-gone", … Static. */
const char *tr_gap_reason_name(tr_gap_reason reason);

typedef struct tr_stream_gap {
    tr_gap_reason reason;
    tr_view shard_id;
    tr_view after;  /**< sequence number of the last record before the gap; empty if none was read */
    tr_view before; /**< sequence number of the first record after it; empty if there is none yet */
} tr_stream_gap;

typedef struct tr_stream_trouble {
    tr_view shard_id;  /**< empty if not of a shard */
    const char *doing; /**< "GetRecords", "save", "lease renewal", … Static. */
    unsigned attempt;  /**< how often in a row it has failed */
    int64_t retry_in_ms;
    const tr_error *error;
} tr_stream_trouble;

/**
 * What tr_stream_next hands out. Valid until it is given back by tr_stream_ack or tr_stream_nack, which must
 * be done for every event of any kind, before tr_stream_free.
 */
typedef struct tr_stream_event {
    tr_stream_event_kind kind;
    unsigned
        delivery; /**< RECORD, GAP: 1 at the first delivery by this object, 2 after a tr_stream_nack, … */
    const tr_record *record;
    const tr_stream_gap *gap;
    const tr_stream_trouble *trouble;
    const tr_view *shards;
    size_t shard_count;
    void *user; /**< Yours; NULL at first. */
} tr_stream_event;

/* ---------------------------------------------------------------------------------- checkpoint stores */

/**
 * Where a consumer's state is kept. The functions are called one at a time, on a thread of the stream's own,
 * and may block. `state` is JSON as of tr_stream_get_state.
 */
typedef struct tr_stream_store tr_stream_store;
struct tr_stream_store {
    /** Appends the saved state to ret_state; nothing appended if there is none. */
    int (*load)(tr_stream_store *store, tr_buf *ret_state, tr_error *err);
    /** 0 only once the state would survive a power cut. After a failure the stream tries again with a newer
     * state. */
    int (*save)(tr_stream_store *store, tr_view state, tr_error *err);
    void (*free)(tr_stream_store *store);
};

/** A file: written beside, synced, renamed over, directory synced. The lock file PATH.lock keeps a second
 * consumer out (TR_EBUSY). Missing directories of the path are made (0700). A file that is there but empty is
 * refused when it is loaded (TR_EPARSE), as one that is damaged. */
int tr_stream_store_file(const char *path, tr_stream_store **ret_store, tr_error *err);
/** A row `name` in the table _tailrace_checkpoints of an SQLite database (made where needed, WAL,
 * synchronous=FULL). */
int tr_stream_store_sqlite(const char *path, const char *name, tr_stream_store **ret_store, tr_error *err);
/**
 * Items of a DynamoDB table, made on demand if allowed (string partition key "id", pay per request): one item
 * "NAME" with the state, cut into further items "NAME#…" where it exceeds an item. Conditional on the version
 * it read, so that two consumers of one name cannot overwrite each other: the later gets TR_ECONFLICT.
 * `client` must outlive the store.
 */
int tr_stream_store_table(tr_client *client, const char *table, const char *name, bool create,
                          tr_stream_store **ret_store, tr_error *err);
/** Your callbacks (either may be NULL: then nothing is loaded, or saved). */
typedef int tr_stream_load_fn(void *ctx, tr_buf *ret_state, tr_error *err);
typedef int tr_stream_save_fn(void *ctx, tr_view state, tr_error *err);
int tr_stream_store_callbacks(tr_stream_load_fn *load, tr_stream_save_fn *save, void *ctx,
                              tr_stream_store **ret_store);
void tr_stream_store_free(tr_stream_store *store);

/* --------------------------------------------------------------------------------------------- options */

typedef enum tr_start_at {
    TR_START_LATEST = 0,   /**< What is written after TR_STREAM_STARTED; made durable at once, see below. */
    TR_START_TRIM_HORIZON, /**< The oldest record that is there. */
    TR_START_AT,           /**< The record with `sequence_number`, inclusive. */
    TR_START_AFTER,        /**< After the record with `sequence_number`. */
    TR_START_TIME /**< Records created at `time_ms` or later; the service has no such iterator, so all shards
                     are read from TRIM_HORIZON and what is older is skipped. The service's times are whole
                     seconds (DynamoDB Local: minutes): what shares that second or minute comes too. */
} tr_start_at;

/**
 * Where to begin if nothing is saved yet; saved state always wins.
 *
 * LATEST: the positions of all open shards are noted (iterator and service time) and saved before
 * TR_STREAM_STARTED. A crash before the first checkpoint resumes with the iterator while it lives (15
 * minutes), and later at TRIM_HORIZON, skipping records older than the start: nothing after the start is
 * lost, a few seconds from before it may come.
 *
 * AT, AFTER: with `shard_id`, that shard is positioned and the others start at TRIM_HORIZON unless they are
 * its ancestors. Without, the sequence number positions every shard by order: older records are skipped in
 * all of them.
 */
typedef struct tr_stream_start {
    tr_start_at at;
    const char *sequence_number; /**< for AT and AFTER: up to 40 digits */
    const char *shard_id;        /**< Optional, for AT and AFTER. */
    int64_t time_ms;             /**< for TIME: milliseconds since 1970 */
} tr_stream_start;

/** Return false to discard the record: it counts as acknowledged. */
typedef bool tr_stream_filter_fn(void *ctx, const tr_record *record);
/** May change the record's members (new bytes from `arena`, which lives as long as the record). Return 0 to
 * keep the record, TR_ENOTFOUND to discard it, another error to have it tried again later. */
typedef int tr_stream_transform_fn(void *ctx, tr_record *record, tr_arena *arena);

/** Zero-initialise, set what you need. All text is copied. */
typedef struct tr_stream_options {
    const char *table;      /**< Table name: its newest stream, and the one after that when it is disabled and
                               enabled      again. Required unless stream_arn is given. */
    const char *stream_arn; /**< This stream only. */
    tr_stream_start start;
    tr_stream_store
        *store; /**< Optional: owned by the stream from success on. Without one (and without fleet or
                     user_checkpoints) nothing is saved, and "saved" in this text means "acknowledged". */
    bool user_checkpoints; /**< You save the state yourself, with tr_stream_checkpoint_begin and …_end. */
    const char
        *state; /**< Optional, instead of loading: JSON as of tr_stream_get_state, or dynamodb-stream's. */
    const struct tr_fleet_options
        *fleet; /**< Optional: share the shards with other workers. Excludes store and state. */

    bool manual;          /**< Reads only when told by tr_stream_fetch_…: one poll at a time. */
    unsigned parallelism; /**< 0: records are handed out as fast as they are asked for. 1 to 10: records of
                             one shard go into that many lanes by their key, and a lane hands out its next
                             event (or batch) only after the one before was given back. Order per item holds
                             for any number of threads. */
    bool keep_raw;        /**< Keep the service's JSON of every record in record->raw. */
    const tr_pattern *const
        *patterns; /**< Optional: event patterns in the form of Lambda's filters; a record that none of them
                      matches is discarded. They may be freed at once. record->raw is there then, too. */
    size_t pattern_count;
    tr_stream_filter_fn *filter; /**< Optional, after the patterns; runs on the I/O thread: must neither block
                                    nor call the stream. */
    void *filter_ctx;
    tr_stream_transform_fn *transform; /**< Optional, after the filter; runs on the I/O thread: must neither
                                          block nor call the stream. */
    void *transform_ctx;

    size_t max_records; /**< unacknowledged, read but not yet handed out included; 0: 10,000. At least 1. */
    size_t max_bytes;   /**< the same in bytes of memory; 0: 64 MiB. One page per shard may exceed it. */
    unsigned max_reads; /**< GetRecords and GetShardIterator calls under way at a time; 0: 32, and 256 on
                           tailrace's engine, which holds reads open until there is something. */
    unsigned page_records; /**< per GetRecords call, 1 to 1,000; 0: 1,000. */
    int64_t checkpoint_ms; /**< between saves while records are being acknowledged; 0: 1,000. Ends of shards
                              are saved at once. */
    int64_t read_every_ms; /**< least time between two reads of one shard; 0: 200 on AWS (5 reads a second and
                              shard), none elsewhere. Negative: none. */
    int64_t idle_min_ms,
        idle_max_ms; /**< wait after an empty page, doubling from min to max; 0: 200 (but not above
                idle_max_ms) and 1,000. On tailrace's
                engine GetRecords itself waits for records, and these do not apply. */
    int64_t hold_ms; /**< how long tailrace's engine may hold a read of an idle shard open, at most 20,000; 0:
                        20,000. What is written meanwhile comes at once whatever this is; what
                        tr_stream_stats.settled_ms tells of an idle shard grows as often as such reads end. */
    int64_t discover_ms; /**< between two listings of the shards; 0: 30,000. Closed shards' children are
                            looked for at once in any case. */
    int64_t retry_min_ms, retry_max_ms; /**< backoff after failures; 0: 100 and 10,000. */
    unsigned tip_pages; /**< empty pages in a row that count as having seen a shard's tip; 0: 1 on tailrace, 5
                           on AWS (which answers empty pages in the middle of a shard), 2 elsewhere. */
    int64_t behind_ms;  /**< lag beyond which TR_STREAM_CAUGHT_UP will come again; 0: 60,000. */
    int64_t retention_ms; /**< age at which the service trims; 0: 24 hours. */
    tr_logger logger;
} tr_stream_options;

/* ------------------------------------------------------------------------------------------- lifecycle */

/**
 * Starts to follow. Returns at once; what fails later is repeated and told as TR_STREAM_TROUBLE. TR_EINVAL
 * (err tells which option), TR_EPARSE (state), TR_ENOMEM. On failure the store stays yours.
 */
int tr_stream_new(tr_client *client, const tr_stream_options *options, tr_stream **ret_stream, tr_error *err);
/** Makes waiting calls return TR_ECLOSED, now and later; reading ends. Acknowledging and saving still work.
 */
void tr_stream_stop(tr_stream *stream);
/** Stops, saves what is acknowledged, gives leases back, frees. Waits at most 5 s for saves. NULL is fine. */
void tr_stream_free(tr_stream *stream);

/* -------------------------------------------------------------------------------------------- delivery */

/**
 * The next event: waits up to timeout_ms (0: not at all, negative: for ever). TR_ETIMEOUT, TR_ECLOSED after
 * tr_stream_stop, TR_ETHREAD. Several threads may wait; see `parallelism`.
 *
 * Order: within a shard as the service has it. Among what has been read of several shards the oldest comes
 * first, by creation time; on tailrace's engine by sequence number, which is commit order.
 */
int tr_stream_next(tr_stream *stream, int64_t timeout_ms, tr_stream_event **ret_event);

/** Several events at once. Zero-initialise; memory is kept for reuse until tr_stream_batch_done. */
typedef struct tr_stream_batch {
    tr_stream_event **events;
    size_t count;
    size_t capacity; /* private */
} tr_stream_batch;
/**
 * Waits for a first event as tr_stream_next does, then up to window_ms for more, and returns up to `max` of
 * them in order. With `parallelism` all records of a batch are of one lane of one shard. Events other than
 * RECORD come alone.
 */
int tr_stream_next_batch(tr_stream *stream, size_t max, int64_t timeout_ms, int64_t window_ms,
                         tr_stream_batch *batch);
void tr_stream_batch_done(tr_stream_batch *batch);

/** Done with it: it will not be delivered again. Any order; the saved position follows the oldest
 * unacknowledged one. */
void tr_stream_ack(tr_stream *stream, tr_stream_event *event);
/** All of the batch, which is empty afterwards. */
void tr_stream_ack_batch(tr_stream *stream, tr_stream_batch *batch);
/** Not done: it will be delivered again after delay_ms, before what follows in its lane (without
 * `parallelism`: before what was not handed out yet). Events other than RECORD and GAP are dropped. */
void tr_stream_nack(tr_stream *stream, tr_stream_event *event, int64_t delay_ms);
/** Acknowledges the first `done` events of the batch and gives the others back, as a partial failure. */
void tr_stream_nack_batch(tr_stream *stream, tr_stream_batch *batch, size_t done, int64_t delay_ms);

/** Callbacks, all optional; ids and records are valid during the call. What returns int: 0 acknowledges,
 * anything else has the record delivered again after a backoff, before its successors. */
typedef struct tr_stream_handlers {
    void *ctx;
    int (*insert)(void *ctx, const tr_record *record);
    int (*modify)(void *ctx, const tr_record *record);
    int (*remove)(void *ctx, const tr_record *record);
    int (*gap)(void *ctx, const tr_stream_gap *gap);
    void (*started)(void *ctx);
    void (*shards_added)(void *ctx, const tr_view *ids, size_t count);
    void (*shards_removed)(void *ctx, const tr_view *ids, size_t count);
    void (*caught_up)(void *ctx);
    void (*ended)(void *ctx);
    void (*trouble)(void *ctx, const tr_stream_trouble *trouble);
} tr_stream_handlers;
/** Delivers to the callbacks on this thread until tr_stream_stop, then returns 0. May run on several threads
 * at once if `parallelism` is set. Not together with user_checkpoints. */
int tr_stream_run(tr_stream *stream, const tr_stream_handlers *handlers);

/* ------------------------------------------------------------------------------- one poll at a time */

/**
 * For streams opened with `manual`: lists the shards, and positions those not seen before (with start LATEST
 * at their tips, so that what is written after the call returns is seen by later fetches). Returns when that
 * is done and saved. Calls are serialised. TR_ETIMEOUT after timeout_ms, with what has failed in err; the
 * work goes on.
 */
int tr_stream_fetch_shards(tr_stream *stream, int64_t timeout_ms, tr_error *err);
/**
 * One GetRecords for every shard that can be read, or several where `drain` is set and a shard is behind. The
 * records of all shards are merged into `batch`: by creation time (on tailrace's engine by sequence number),
 * order within a shard kept; before them come the other events that have occurred. A shard that fails is left
 * out and read again at the next call; its records are not lost. Acknowledge with tr_stream_ack_batch.
 */
int tr_stream_fetch_records(tr_stream *stream, bool drain, int64_t timeout_ms, tr_stream_batch *batch,
                            tr_error *err);
/** Both. */
int tr_stream_fetch(tr_stream *stream, int64_t timeout_ms, tr_stream_batch *batch, tr_error *err);

/* ---------------------------------------------------------------------------------------------- state */

/** Of the saved state that is written; newer ones are refused (TR_EVERSION). */
#define TR_STREAM_STATE_VERSION 1

/**
 * The consumer's whole state, everything acknowledged by now included, appended as one JSON object:
 * {"format":"tailrace-stream","version":1,"table":…,"stream_arn":…,"saved_at":<ms>,"shards":{"<id>":{"checkpoint":
 * "TRIM_HORIZON|LATEST|SHARD_END|<sequence number>","parent":…,…}}}. With a fleet: the shards this worker
 * holds. TR_EBUSY before the start, while the saved state is being loaded or the first positions asked for.
 */
int tr_stream_get_state(tr_stream *stream, tr_buf *ret_json);
/**
 * Drops everything read and unacknowledged, and goes on from a state of tr_stream_get_state, or of
 * dynamodb-stream
 * ({"<id>":{"shardId":"<id>","nextShardIterator":"…"}}), whose iterators are used while they live; an expired
 * one gives a gap. Events handed out before may still be given back, without effect. Not with a fleet
 * (TR_EUNSUPPORTED). A state that is refused (TR_EPARSE, TR_EVERSION, TR_EINVAL) changes nothing.
 */
int tr_stream_set_state(tr_stream *stream, tr_view json, tr_error *err);
/** dynamodb-stream's form of the state, for going back to it: shards being read with fresh iterators behind
 * the last acknowledged record. Blocks while it asks for them. TR_ETIMEOUT, TR_ENOMEM. */
int tr_stream_export_iterators(tr_stream *stream, int64_t timeout_ms, tr_buf *ret_json, tr_error *err);
/** Saves now and waits for it. 0, TR_ETIMEOUT, or why it could not be saved. */
int tr_stream_flush(tr_stream *stream, int64_t timeout_ms, tr_error *err);

/**
 * With user_checkpoints: appends the state to ret_json and gives a token; store the JSON with your own data,
 * in one transaction if you like, then tell the outcome. One at a time (TR_EBUSY).
 */
int tr_stream_checkpoint_begin(tr_stream *stream, tr_buf *ret_json, uint64_t *ret_token);
/** code 0: the state is durable. */
void tr_stream_checkpoint_end(tr_stream *stream, uint64_t token, int code);

/* ----------------------------------------------------------------------------------- lag and statistics */

typedef enum tr_shard_phase {
    TR_SHARD_WAITING = 1, /**< for its parent, or for the start */
    TR_SHARD_READING,
    TR_SHARD_DRAINING, /**< read to its end; not all acknowledged and saved */
    TR_SHARD_FINISHED,
    TR_SHARD_ELSEWHERE /**< fleet: another worker's, or nobody's */
} tr_shard_phase;

/**
 * How far a shard is behind, in milliseconds. While something read from it is unacknowledged: age of the
 * oldest such record. Else, if its tip was seen: time since then, on idle shards too. Else the age of the
 * last acknowledged record, or the time since reading began. -1: not being read yet.
 */
typedef struct tr_shard_stats {
    tr_view id, parent_id;
    tr_shard_phase phase;
    tr_view checkpoint;   /**< saved: a sequence number, "TRIM_HORIZON", "LATEST", "SHARD_END" */
    tr_view acknowledged; /**< sequence number up to which everything is acknowledged; empty if none */
    int64_t lag_ms;
    uint64_t records, bytes; /**< read so far */
    size_t unacknowledged;
    unsigned failures; /**< in a row; 0 if all is well */
    tr_view owner;     /**< fleet: worker that holds the lease; empty if none */
} tr_shard_stats;

typedef struct tr_stream_stats {
    const char *stream_arn; /**< "" if not known yet; valid as long as the stream */
    int64_t lag_ms; /**< the largest of all shards being read; -1 while one of them has not answered yet */
    /** On the clock of tr_clock_mono_ms: all that was written before then has been read and acknowledged, in
     * the shards that are this consumer's; -1 while that is not known. Whoever wants to end when everything
     * is told waits until it is later than the moment of the wish. It only grows while reads find nothing
     * new. */
    int64_t settled_ms;
    bool caught_up;
    uint64_t records, bytes; /**< read: records, and bytes of the answers */
    uint64_t delivered, acknowledged, filtered, skipped, gaps;
    uint64_t calls_describe, calls_iterator, calls_records, calls_lease, saves;
    uint64_t retries, throttles, expired_iterators, empty_pages;
    size_t unacknowledged, unacknowledged_bytes;
    size_t shards_reading, shards_waiting, shards_finished, leases_held;
} tr_stream_stats;
/** Both at any time, from any thread, without waiting for I/O. */
void tr_stream_get_stats(tr_stream *stream, tr_stream_stats *ret_stats);
/** Calls fn for every shard, in order of their ids; views are valid during the call, and fn must not call the
 * stream. */
void tr_stream_each_shard(tr_stream *stream, void (*fn)(void *ctx, const tr_shard_stats *shard), void *ctx);

/* --------------------------------------------------------------------------------------------- fleets */

/**
 * Sharing a stream among workers through a lease table, with the rows of the Kinesis Client Library 1.x, so
 * that a fleet may be moved here from it: leaseKey S (partition key: the shard's id), leaseOwner S,
 * leaseCounter N, ownerSwitchesSinceCheckpoint N, checkpoint S (a sequence number, TRIM_HORIZON, LATEST or
 * SHARD_END), checkpointSubSequenceNumber N, parentShardId SS, childShardIds SS. Two attributes of our own
 * appear for a while: tailraceStart M beside a checkpoint of LATEST or TRIM_HORIZON that needs more to be
 * exact, and tailraceHandover S while a worker asks another for a lease.
 *
 * Every write that takes, keeps or gives a lease is conditional on leaseCounter and raises it. A worker whose
 * renewals fail stops handing out records before the lease can be taken from it, by its own monotonic clock;
 * no wall clock is compared with another.
 */
typedef struct tr_fleet_options {
    const char *lease_table; /**< Required. Made if missing (pay per request), unless no_create. */
    const char *worker_id;   /**< Optional: else host name, process id and a random part. Must be unique for
                                every   incarnation of a worker. */
    bool no_create;
    int64_t failover_ms; /**< A lease whose counter stood still so long is free; 0: 10,000. */
    int64_t handover_ms; /**< How long the old owner may take to finish before a lease is taken without its
                            consent; 0: failover_ms. */
    unsigned max_leases; /**< that this worker holds at most; 0: no limit. */
    tr_client *lease_client; /**< Optional: else the stream's client. Must outlive the stream. */
} tr_fleet_options;

/** A row of the lease table. */
typedef struct tr_lease {
    tr_view key, owner, checkpoint, parent, handover_to; /**< empty where absent */
    uint64_t counter, owner_switches;
} tr_lease;
/** All rows (consistent read), in order of their keys. fn returns false to stop. Blocks. TR_ENOTFOUND: no
 * such table. */
int tr_leases_list(tr_client *client, const char *lease_table, bool (*fn)(void *ctx, const tr_lease *lease),
                   void *ctx, tr_error *err);
/** Takes the owner off a lease (key NULL: off all), so that any worker may take it at once; the worker that
 * had it notices at its next write. Counts what was released. */
int tr_leases_release(tr_client *client, const char *lease_table, const char *key, size_t *ret_count,
                      tr_error *err);
/**
 * Writes rows from a state of tr_stream_get_state, from dynamodb-stream's (whose iterators stand beside a
 * checkpoint of TRIM_HORIZON, and are used while they live), or from what a Scan of a lease table of the
 * Kinesis Client Library 1.x answers ({"Items":[…]}, complete; owners are left behind). The table is made if
 * missing. Rows that exist are left alone unless `replace`, and never touched while owned (TR_EBUSY). Counts
 * what was written. TR_EPARSE, TR_EVERSION. Blocks.
 */
int tr_leases_import(tr_client *client, const char *lease_table, tr_view state, bool replace,
                     size_t *ret_count, tr_error *err);
/** The same from another lease table, at the same place or elsewhere: stop the workers that use it first. */
int tr_leases_copy(tr_client *from, const char *from_table, tr_client *to, const char *to_table, bool replace,
                   size_t *ret_count, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
