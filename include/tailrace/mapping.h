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
 * `on_failure`, and the shard goes on; if that fails too, it is repeated: no record is lost.
 *
 * Threads: tr_mapping_run works on the calling thread and on threads of its own, and blocks; tr_mapping_stop
 * may be called from any thread.
 */

#include <tailrace/handler.h>
#include <tailrace/pattern.h>
#include <tailrace/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------- failure destinations */

/** What was given up. Views are valid during the call. */
typedef struct tr_failure {
    tr_view source;                    /**< for lists: the mapping's name */
    tr_view record;                    /**< the failure record, JSON, as the contract of the service has it */
    tr_view event;                     /**< what the handler was given, JSON: enough to try it again */
    tr_view error_type, error_message; /**< of the last attempt */
    uint64_t attempts;
} tr_failure;

/** Where failures go. `put` returns 0 once it would survive a crash; calls come one at a time. */
typedef struct tr_failure_sink tr_failure_sink;
struct tr_failure_sink {
    int (*put)(tr_failure_sink *sink, const tr_failure *failure, tr_error *err);
    void (*free)(tr_failure_sink *sink);
};
/** "file:PATH" (JSON lines: the failure record with the member Records), "sqlite:PATH" (a queue, see
 * tr_dlq_…), "http://…" or "https://…" (a POST of the failure record). TR_EINVAL for anything else. */
int tr_failure_sink_open(const char *destination, tr_failure_sink **ret_sink, tr_error *err);

/** A queue of failures in a SQLite file. */
typedef struct tr_dlq tr_dlq;
typedef struct tr_dlq_entry {
    int64_t id;
    tr_view time, source, record, event, error_type, error_message; /**< time: RFC 3339 */
    uint64_t attempts;
} tr_dlq_entry;
/** create: false gives TR_ENOTFOUND where there is no such file. */
int tr_dlq_open(const char *path, bool create, tr_dlq **ret_dlq, tr_error *err);
void tr_dlq_close(tr_dlq *dlq);
int tr_dlq_put(tr_dlq *dlq, const tr_failure *failure, tr_error *err);
/** Entries with id > after, oldest first. fn returns nonzero to stop with that code. */
int tr_dlq_each(tr_dlq *dlq, int64_t after, int (*fn)(void *ctx, const tr_dlq_entry *entry), void *ctx,
                tr_error *err);
/** TR_ENOTFOUND. */
int tr_dlq_remove(tr_dlq *dlq, int64_t id, tr_error *err);
int tr_dlq_purge(tr_dlq *dlq, uint64_t *ret_count, tr_error *err);

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
