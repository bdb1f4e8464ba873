/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ENGINE_H
#define TAILRACE_ENGINE_H

/**
 * tailrace/engine.h: the embedded DynamoDB, DynamoDB Streams and EventBridge, in this process.
 *
 * A tr_server owns the store, one loop thread that carries out all requests, and a thread that syncs the log.
 * It can be reached over HTTP (`listen`, `socket_path`) and from inside the process through
 * tr_server_transport, with the same operations and the same bytes.
 *
 * Threads: all functions are safe from any thread, but not from callbacks of the server's own loop.
 */

#include <tailrace/base.h>
#include <tailrace/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_server tr_server;

/**
 * A function that targets of rules may name as arn:aws:lambda:REGION:ACCOUNT:function:NAME. Commands and
 * files can be given here only, never over the wire.
 */
typedef struct tr_server_function {
    const char *name; /**< [A-Za-z0-9_-]{1,64} */
    /**
     * "exec:COMMAND" (a line {"id":n,"event":{…}} per event), "exec-each:COMMAND", "handler:MODULE.EXPORT"
     * (see tailrace/handler.h), "http://…", "https://…", "file:PATH" (JSON lines are appended), "stdout:"
     * (JSON lines)
     */
    const char *target;
    const char *directory;          /**< Optional: where commands run and modules are looked for. */
    const char *const *environment; /**< Optional: "NAME=VALUE" for the code. */
    size_t environment_count;
    unsigned concurrency; /**< events at the same time; 0: 1, for a URL 16 */
    int64_t timeout_ms;   /**< of an event; 0: TR_HANDLER_TIMEOUT_MS */
    /**
     * Optional: where the failure record of an event goes that was given up: the name of another function,
     * the ARN of a queue, bus, table or function of this server, a URL, or what tr_failure_sink_open takes.
     * Its delivery is as durable as the event's was. Without, the event goes to its target's dead-letter
     * queue.
     */
    const char *on_failure;
} tr_server_function;

/** All text is copied. Zero-initialise, set what you need. */
typedef struct tr_server_options {
    const char *data_dir;      /**< Optional: the directory; NULL keeps everything in memory. */
    const char *const *listen; /**< Optional: "HOST:PORT" each, port 0 for any free one; none: no TCP. */
    size_t listen_count;
    bool socket;             /**< Listen on data_dir/tailrace.sock too (mode 0600). */
    const char *region;      /**< Optional: "us-east-1". */
    const char *const *cors; /**< Optional: origins that a browser may call from ("*": any). */
    size_t cors_count;
    unsigned stream_shards;              /**< of a new stream; 0: 4 */
    int64_t shard_lifetime_ms;           /**< 0: 4 h */
    int64_t iterator_lifetime_ms;        /**< 0: 15 min */
    int64_t stream_retention_ms;         /**< 0: 24 h */
    int64_t expiry_interval_ms;          /**< 0: 30 s */
    size_t memory_bytes;                 /**< ceiling of the store's caches and buffers; 0: 128 MiB */
    const tr_server_function *functions; /**< what the bus may deliver to */
    size_t function_count;
    int64_t bus_retry_base_ms; /**< of the bus' backoff; 0: 1 s */
    int64_t bus_retry_cap_ms;  /**< the longest pause of it; 0: 10 min */
    const char *buckets;  /**< Optional: a directory whose directories stand for S3's buckets, for exports and
                             imports */
    bool bus_retry_fixed; /**< pause for bus_retry_base_ms before each retry */
    /** Of targets without a RetryPolicy: retries after the first attempt, if limited here; else 185. */
    bool bus_limit_retries;
    uint32_t bus_retries;
    int64_t bus_event_age_ms; /**< of targets without a RetryPolicy; 0: 24 h */
    size_t put_events_bytes;  /**< of a PutEvents request, as it counts them; 0: 256 KiB; at most 1 MiB */
    /** Optional: a line that a function wrote. From the thread of the function; must not block for long. */
    void (*on_function_log)(void *ctx, const char *function, tr_view line);
    void *function_log_ctx;
    tr_logger logger;
} tr_server_options;

/** Opens the store, starts to listen and to answer. TR_EBUSY: another process has the directory. */
int tr_server_new(const tr_server_options *options, tr_server **ret_server, tr_error *err);
/** Finishes the requests at hand, makes all durable, closes. NULL is fine. */
void tr_server_free(tr_server *server);
/** Address number i it listens on, as "http://127.0.0.1:8000", or NULL past the last. Valid as long as the
 * server. */
const char *tr_server_address(const tr_server *server, size_t i);
/** What a server has done, and has at hand. */
typedef struct tr_server_stats {
    uint64_t connections_total, requests_total; /**< over HTTP */
    uint64_t refused_total;                     /**< answered by the HTTP server itself with 4xx or 5xx */
    uint64_t bytes_received, bytes_sent;
    size_t connections, requests; /**< now open; now being answered */
    size_t held;                  /**< requests that wait for news (GetRecords, ReceiveMessage) */
    size_t unsynced;              /**< answers that wait for their state to be durable */
    size_t feeds;                 /**< Server-Sent Events streams and subscriptions */
    size_t bus_deliveries;        /**< of the bus, pending */
} tr_server_stats;
/** Waits for the server's loop, shortly. */
void tr_server_get_stats(tr_server *server, tr_server_stats *ret_stats);
/** One operation: "PutItem" of TR_DYNAMODB; answers by kind of status. */
typedef struct tr_operation_stats {
    tr_service service;
    const char *name;
    uint64_t ok, refused, failed; /**< 2xx, 4xx, 5xx */
} tr_operation_stats;
/** Calls fn, on the server's loop, for every operation that was called at least once. */
void tr_server_each_operation(tr_server *server, void (*fn)(void *ctx, const tr_operation_stats *operation),
                              void *ctx);
/** The processes of a function end, so that its next event meets fresh ones (its code has changed). */
void tr_server_restart_function(tr_server *server, const char *name);
/** A transport into this server, for tr_client_options. It must be freed (with its client) before the server.
 */
int tr_server_transport(tr_server *server, tr_transport **ret_transport, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
