/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_MAPPING_H
#define TAILRACE_MAPPING_H

/**
 * tailrace/mapping.h: an event source mapping: batches of a table's changes are given to a handler, as AWS
 * Lambda does it.
 *
 * A batch is a Lambda event, {"Records":[…]}, of the records of one shard (with `parallelism`: of one lane of
 * it, so that the order of every item is kept). What becomes of a batch:
 *   - success: it is acknowledged;
 *   - partial failure ({"batchItemFailures":[{"itemIdentifier":"<sequence number>"}]}): everything before the
 * lowest named record is done, the rest is tried again; an identifier that the batch does not have fails the
 * whole batch;
 *   - failure: with `bisect` a batch of several records is cut in two, which costs no retry; else it is tried
 * again after a pause, until `retries` or `record_age_ms` are used up. Then its failure record goes to
 * `on_failure` (tailrace/failure.h), and the shard goes on; if that fails too, it is repeated: the position
 * is only kept once the failure is safe, so no record is lost.
 *
 * With `tumbling_ms` the records of a shard are aggregated in windows of their creation time, [0, n), [n,
 * 2n), … since 1970. Events then have the members window {start, end}, state, shardId, eventSourceARN,
 * isFinalInvokeForWindow and isWindowTerminatedEarly; each answer must have a member state, an object, which
 * the window's next event is given ({} the first). When a window is over, which is when a later record comes
 * or the shard has been read that far, one more event without records is its final one. A window ends early
 * when its state exceeds TR_MAPPING_STATE_MAX or its shard has ended. The state is saved before records are
 * acknowledged, so that after a crash no record is aggregated into it twice. A record that comes after its
 * window was closed counts for the one that is open.
 *
 * Threads: tr_mapping_run works on the calling thread and on threads of its own, and blocks; tr_mapping_stop
 * may be called from any thread.
 */

#include <tailrace/failure.h>
#include <tailrace/handler.h>
#include <tailrace/pattern.h>
#include <tailrace/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -------------------------------------------------------------------------------------------- mapping */

#define TR_MAPPING_BATCH_MAX       10000     /* Lambda Developer Guide, "Event source mappings": batch size */
#define TR_MAPPING_WINDOW_MAX_MS   300000    /* 300 s */
#define TR_MAPPING_RETRIES_MAX     10000     /* API Reference, CreateEventSourceMapping */
#define TR_MAPPING_AGE_MAX_MS      604800000 /* 7 days, same source */
#define TR_MAPPING_TUMBLING_MAX_MS 900000    /* 15 min, same source */
#define TR_MAPPING_STATE_MAX       (1024 * 1024) /* of a window, Developer Guide, "Stateful processing" */
#define TR_MAPPING_WINDOWS_MAX     ((size_t)256 << 20) /* all windows of a mapping, as saved */
#define TR_MAPPING_BYTES_MAX       (6 * 1024 * 1024)   /* of an event */
#define TR_MAPPING_FILTERS_MAX     5
#define TR_MAPPING_PARALLELISM_MAX 10

/** Zero-initialise, set what you need. Text is copied; patterns are borrowed. */
typedef struct tr_mapping_options {
    const char *name;      /**< Optional: for failure records. */
    size_t batch_size;     /**< records; 0: 100 */
    int64_t window_ms;     /**< how long a batch may wait to fill; 0: not at all */
    unsigned parallelism;  /**< per shard; 0: 1 */
    bool limit_retries;    /**< else a batch is retried for ever, as by default on AWS */
    uint64_t retries;      /**< with limit_retries: after the first attempt */
    int64_t record_age_ms; /**< records older than this are given up; 0: no limit */
    bool bisect;
    int64_t retry_min_ms, retry_max_ms; /**< pause before a retry, doubling; 0: 200 and 60,000 */
    const tr_pattern *const
        *filters; /**< a record that matches none of them is discarded; none: all are taken */
    size_t filter_count;
    int64_t tumbling_ms; /**< tumbling windows of so many whole seconds, see above; 0: none */
    tr_stream_store
        *window_store; /**< Optional: where the state of open windows is kept; owned from success on. Without,
                          it is lost with the process, and the windows' records are not aggregated again. */
    tr_failure_sink
        *on_failure; /**< Optional: owned from success on. Without, what is given up is told to the logger. */
    tr_logger logger;
} tr_mapping_options;

typedef struct tr_mapping tr_mapping;

typedef struct tr_mapping_stats {
    uint64_t batches;  /**< invocations */
    uint64_t records;  /**< done with: handled, or given up */
    uint64_t failures; /**< invocations that failed, in part or whole */
    uint64_t retries, bisections;
    uint64_t given_up; /**< records */
    uint64_t busy_ns;  /**< that invocations have taken, all together */
    uint64_t windows;  /**< closed */
} tr_mapping_stats;

/**
 * Fills in what the stream's options need for this mapping (parallelism, raw records, filter) and checks
 * `options`. The mapping must outlive the stream. TR_EINVAL, TR_ENOMEM.
 */
int tr_mapping_new(const tr_mapping_options *options, tr_stream_options *stream_options,
                   tr_mapping **ret_mapping, tr_error *err);
void tr_mapping_free(tr_mapping *mapping);
/** Works until tr_mapping_stop (or tr_stream_stop), or with `once` until all that was written before the call
 * has been handled, or given up (which an idle stream tells after its hold_ms); TR_ETIMEOUT after 60 s in
 * which nothing went on and no handler ran. */
int tr_mapping_run(tr_mapping *mapping, tr_stream *stream, tr_handler *handler, bool once, tr_error *err);
/** Ends tr_mapping_run soon: what is under way has 5 s to end, then it is canceled; it is not acknowledged
 * then. */
void tr_mapping_stop(tr_mapping *mapping);
void tr_mapping_get_stats(tr_mapping *mapping, tr_mapping_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
