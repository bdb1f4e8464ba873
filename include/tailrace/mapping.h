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

#define TR_MAPPING_BATCH_MAX       10000  /* Lambda Developer Guide, "Event source mappings": batch size */
#define TR_MAPPING_WINDOW_MAX_MS   300000 /* 300 s */
#define TR_MAPPING_BYTES_MAX       (6 * 1024 * 1024) /* of an event */
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
    tr_failure_sink
        *on_failure; /**< Optional: owned from success on. Without, what is given up is told to the logger. */
    tr_logger logger;
} tr_mapping_options;

typedef struct tr_mapping tr_mapping;

typedef struct tr_mapping_stats {
    uint64_t batches, records, failures, retries, bisections, given_up;
} tr_mapping_stats;

/**
 * Fills in what the stream's options need for this mapping (parallelism, raw records, filter) and checks
 * `options`. The mapping must outlive the stream. TR_EINVAL, TR_ENOMEM.
 */
int tr_mapping_new(const tr_mapping_options *options, tr_stream_options *stream_options,
                   tr_mapping **ret_mapping, tr_error *err);
void tr_mapping_free(tr_mapping *mapping);
/** Works until tr_mapping_stop (or tr_stream_stop), or with `once` until the stream has caught up. */
int tr_mapping_run(tr_mapping *mapping, tr_stream *stream, tr_handler *handler, bool once, tr_error *err);
/** Ends tr_mapping_run soon; what is under way is not acknowledged. */
void tr_mapping_stop(tr_mapping *mapping);
void tr_mapping_get_stats(tr_mapping *mapping, tr_mapping_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
