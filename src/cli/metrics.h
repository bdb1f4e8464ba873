/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_METRICS_H
#define TAILRACE_CLI_METRICS_H

/**
 * metrics.h: what a command does, for Prometheus: `--metrics HOST:PORT` serves GET /metrics in the text
 * format 0.0.4, from a thread of its own.
 *
 * All metrics stand in one table here; docs/metrics.md lists the same, which a test compares.
 */

#include "cli/cli.h"

#include <tailrace/engine.h>
#include <tailrace/mapping.h>
#include <tailrace/pipe.h>
#include <tailrace/replica.h>
#include <tailrace/stream.h>

/** Id, name, type, help. Units are in the names: seconds, bytes; counters end in _total. */
#define TR_METRICS(X)                                                                                        \
    X(BUILD, "tailrace_build_info", "gauge", "1; the version is in its label")                               \
    X(START, "process_start_time_seconds", "gauge", "When the process began, since 1970")                    \
    X(CPU, "process_cpu_seconds_total", "counter", "CPU time of the process, user and system")               \
    X(MEMORY, "process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM")              \
    X(FILES, "process_open_fds", "gauge", "File descriptors that are open")                                  \
    X(S_RECORDS, "tailrace_stream_records_total", "counter", "Change records read")                          \
    X(S_BYTES, "tailrace_stream_read_bytes_total", "counter", "Bytes of the answers they came in")           \
    X(S_DELIVERED, "tailrace_stream_delivered_total", "counter", "Records handed out, repeats included")     \
    X(S_ACKED, "tailrace_stream_acknowledged_total", "counter", "Records done with")                         \
    X(S_FILTERED, "tailrace_stream_filtered_total", "counter", "Records that no filter let through")         \
    X(S_SKIPPED, "tailrace_stream_skipped_total", "counter", "Records before the start position")            \
    X(S_GAPS, "tailrace_stream_gaps_total", "counter", "Places where records may be missing")                \
    X(S_CALLS, "tailrace_stream_calls_total", "counter", "Calls to the service, by operation")               \
    X(S_RETRIES, "tailrace_stream_retries_total", "counter", "Calls that failed and were repeated")          \
    X(S_THROTTLES, "tailrace_stream_throttles_total", "counter", "Calls that the service throttled")         \
    X(S_EXPIRED, "tailrace_stream_expired_iterators_total", "counter", "Iterators that had expired")         \
    X(S_EMPTY, "tailrace_stream_empty_pages_total", "counter", "Answers of GetRecords without records")      \
    X(S_SAVES, "tailrace_stream_checkpoint_saves_total", "counter", "Positions saved")                       \
    X(S_LAG, "tailrace_stream_lag_seconds", "gauge",                                                         \
      "How far the shard that is most behind is behind; absent while unknown")                               \
    X(S_CAUGHT_UP, "tailrace_stream_caught_up", "gauge", "1 while all that was written has been handled")    \
    X(S_UNACKED, "tailrace_stream_unacknowledged_records", "gauge", "Records read and not done with")        \
    X(S_UNACKED_BYTES, "tailrace_stream_unacknowledged_bytes", "gauge", "Memory that they take")             \
    X(S_SHARDS, "tailrace_stream_shards", "gauge", "Shards known, by state")                                 \
    X(S_LEASES, "tailrace_stream_leases_held", "gauge", "Leases that this worker holds")                     \
    X(SHARD_LAG, "tailrace_shard_lag_seconds", "gauge", "How far a shard is behind; absent while unknown")   \
    X(SHARD_RECORDS, "tailrace_shard_records_total", "counter", "Change records read from a shard")          \
    X(SHARD_UNACKED, "tailrace_shard_unacknowledged_records", "gauge",                                       \
      "Records of a shard read and not done with")                                                           \
    X(M_INVOCATIONS, "tailrace_handler_invocation_duration_seconds", "summary",                              \
      "Invocations of the handler: how many, and the time they took")                                        \
    X(M_FAILED, "tailrace_handler_failed_invocations_total", "counter",                                      \
      "Invocations that failed, in part or whole")                                                           \
    X(M_RECORDS, "tailrace_handler_records_total", "counter", "Records done with: handled, or given up")     \
    X(M_RETRIES, "tailrace_handler_retries_total", "counter", "Batches tried again")                         \
    X(M_BISECTIONS, "tailrace_handler_bisections_total", "counter", "Batches cut in two")                    \
    X(M_GIVEN_UP, "tailrace_handler_given_up_records_total", "counter", "Records given up")                  \
    X(M_WINDOWS, "tailrace_handler_windows_total", "counter", "Tumbling windows closed")                     \
    X(R_PHASE, "tailrace_replica_phase", "gauge", "1 for the phase that a replica is in")                    \
    X(R_SCANNED, "tailrace_replica_scanned_rows", "gauge", "Rows copied in the present scan")                \
    X(R_ESTIMATE, "tailrace_replica_scan_estimate_rows", "gauge",                                            \
      "Rows the table was said to have when the scan began")                                                 \
    X(R_CHANGES, "tailrace_replica_changes_total", "counter", "Changes applied")                             \
    X(R_GAPS, "tailrace_replica_gaps_total", "counter", "Gaps in the stream, each of which led to a scan")   \
    X(R_DELETED, "tailrace_replica_deleted_rows_total", "counter",                                           \
      "Rows that a repeated scan did not find any more")                                                     \
    X(R_LAG, "tailrace_replica_lag_seconds", "gauge", "How far the replica is behind; absent while unknown") \
    X(R_CAUGHT_UP, "tailrace_replica_caught_up", "gauge", "1 while the replica is up to date")               \
    X(P_RECORDS, "tailrace_pipe_records_total", "counter", "Records taken from the stream")                  \
    X(P_SKIPPED, "tailrace_pipe_skipped_records_total", "counter", "Of those, records that are no events")   \
    X(P_GIVEN_UP, "tailrace_pipe_given_up_records_total", "counter", "Records given up")                     \
    X(P_PUBLISHED, "tailrace_publisher_published_total", "counter", "Entries published")                     \
    X(P_FAILED, "tailrace_publisher_given_up_total", "counter", "Entries given up")                          \
    X(P_REQUESTS, "tailrace_publisher_requests_total", "counter", "PutEvents requests sent")                 \
    X(P_RETRIES, "tailrace_publisher_retries_total", "counter", "Entries sent again")                        \
    X(P_THROTTLES, "tailrace_publisher_throttles_total", "counter", "Entries or requests throttled")         \
    X(P_UNKNOWN, "tailrace_publisher_unknown_total", "counter",                                              \
      "Entries of requests without an answer, which may be on the bus twice")                                \
    X(P_WAITING, "tailrace_publisher_waiting_entries", "gauge", "Entries not done with")                     \
    X(P_WAITING_BYTES, "tailrace_publisher_waiting_bytes", "gauge", "Memory that they take")                 \
    X(V_CONNECTIONS, "tailrace_server_connections_total", "counter", "Connections accepted")                 \
    X(V_OPEN, "tailrace_server_connections", "gauge", "Connections open")                                    \
    X(V_REQUESTS, "tailrace_server_requests_total", "counter", "HTTP requests received")                     \
    X(V_REFUSED, "tailrace_server_refused_requests_total", "counter",                                        \
      "HTTP requests refused before they reached an operation")                                              \
    X(V_ACTIVE, "tailrace_server_requests", "gauge", "HTTP requests being answered")                         \
    X(V_IN, "tailrace_server_received_bytes_total", "counter", "Bytes received over HTTP")                   \
    X(V_OUT, "tailrace_server_sent_bytes_total", "counter", "Bytes sent over HTTP")                          \
    X(V_OPERATIONS, "tailrace_server_operations_total", "counter",                                           \
      "Operations carried out, by service, operation and kind of answer")                                    \
    X(V_HELD, "tailrace_server_held_requests", "gauge", "Requests that wait for news")                       \
    X(V_UNSYNCED, "tailrace_server_unsynced_answers", "gauge",                                               \
      "Answers that wait for their state to be durable")                                                     \
    X(V_FEEDS, "tailrace_server_feeds", "gauge", "Streams of events being sent")                             \
    X(V_DELIVERIES, "tailrace_server_bus_deliveries", "gauge", "Deliveries of the bus that are pending")

typedef enum tr_metric {
#define X(id, name, type, help) TR_METRIC_##id,
    TR_METRICS(X)
#undef X
        TR_METRIC_COUNT
} tr_metric;

/** Samples being collected: those of one metric must stand together in the text. */
typedef struct tr_metrics {
    tr_buf samples[TR_METRIC_COUNT];
    tr_buf labels; /* scratch */
} tr_metrics;

void tr_metrics_init(tr_metrics *metrics);
void tr_metrics_done(tr_metrics *metrics);
/** The text of all that was collected. */
void tr_metrics_write(const tr_metrics *metrics, tr_buf *out);

/** A sample; labels: pairs of name and value, ending with a NULL name; NULL: none. */
typedef struct tr_metric_label {
    const char *name;
    tr_view value;
} tr_metric_label;
void tr_metric_put(tr_metrics *metrics, tr_metric metric, const tr_metric_label *labels, double value);
/** The same for whole numbers, which keep all their digits. */
void tr_metric_count(tr_metrics *metrics, tr_metric metric, const tr_metric_label *labels, uint64_t value);

/* What there is to collect. Those of a table have the label `table`. */
void tr_metrics_of_process(tr_metrics *metrics);
void tr_metrics_of_stream(tr_metrics *metrics, const char *table, tr_stream *stream);
void tr_metrics_of_mapping(tr_metrics *metrics, const char *table, tr_mapping *mapping);
void tr_metrics_of_replica(tr_metrics *metrics, const char *table, tr_replica *replica);
void tr_metrics_of_pipe(tr_metrics *metrics, const char *table, tr_pipe *pipe);
void tr_metrics_of_server(tr_metrics *metrics, tr_server *server);

/** Shards of a stream that get metrics of their own. */
#define TR_METRICS_SHARDS_MAX 1000

/* --------------------------------------------------------------------------------------------- serving */

/* Id of the option. */
enum { TR_CLI_METRICS = 0xb000 };
/** To be listed in a command's options. */
#define TR_CLI_METRICS_OPTION                                                                                \
    {                                                                                                        \
        "metrics", TR_CLI_METRICS, "HOST:PORT",                                                              \
            "serve metrics for Prometheus there (a port alone: on 127.0.0.1)"                                \
    }

typedef struct tr_cli_metrics tr_cli_metrics;
/** Collects, on the serving thread, at every request. */
typedef void tr_cli_collect_fn(void *ctx, tr_metrics *metrics);
/**
 * Serves GET /metrics at `listen`, "HOST:PORT" or "PORT"; NULL does nothing, and *ret is NULL. The process'
 * own metrics are added. TR_EINVAL, TR_EBUSY, TR_EIO, TR_ENOMEM.
 */
int tr_cli_metrics_start(const char *listen, tr_cli_collect_fn *fn, void *ctx, tr_cli_metrics **ret_metrics,
                         tr_error *err);
/** To be called before what is collected from is freed. NULL is fine. */
void tr_cli_metrics_stop(tr_cli_metrics *metrics);

#endif
