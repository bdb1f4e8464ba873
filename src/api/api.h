/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_API_H
#define TAILRACE_API_API_H

/**
 * src/api/api.h: the wire operations, below any transport.
 *
 * A tr_api takes an operation's name and its JSON body and gives the answer's status and JSON body, exactly
 * as the service would. It does no I/O and starts no thread; all calls come from the engine's thread.
 *
 * When an answer may leave: tr_api_reply.ticket is the state that the answer depends on, and it may leave
 * once tr_engine_synced() >= ticket (0: at once).
 *
 *   body --shape.c--> request struct --handler--> engine calls --> JSON into the reply's buffer
 */

#include "engine/engine.h"

#include <tailrace/client.h>

typedef struct tr_api tr_api;

typedef struct tr_api_options {
    tr_engine *engine;            /**< Required: must outlive the tr_api. */
    struct tr_bus *bus;           /**< Optional: without it there are no operations of EventBridge and SQS. */
    const char *region;           /**< Optional: "us-east-1". Copied. */
    int64_t iterator_lifetime_ms; /**< 0: 15 min, as the service's */
    size_t put_events_bytes; /**< of a PutEvents request, as it counts them; 0: TR_API_PUT_EVENTS_BYTES */
    const char
        *dir; /**< Optional: the store's directory, for backups; NULL: they are held in memory. Copied. */
    const char *buckets; /**< Optional: a directory whose directories stand for S3's buckets. Copied. */
} tr_api_options;

/** What the service takes, and what it was raised to in 2025 and may be set to. */
#define TR_API_PUT_EVENTS_BYTES ((size_t)256 * 1024)
#define TR_API_PUT_EVENTS_MAX   ((size_t)1024 * 1024)

/** Operations there may be. */
#define TR_API_OPS_MAX 160
/** How often an operation was carried out, by its answer's status. */
typedef struct tr_api_count {
    uint64_t ok, refused, failed; /* 2xx, 4xx, 5xx */
} tr_api_count;
/** The counts of operation number i and its name, or NULL past the last. */
const tr_api_count *tr_api_counts(const tr_api *api, size_t i, const char **ret_name,
                                  tr_service *ret_service);

/** TR_ENOMEM. */
int tr_api_new(const tr_api_options *options, tr_api **ret_api);
/** Before the engine is closed. NULL is fine. */
void tr_api_free(tr_api *api);

/** Bytes of a request's body, as the service limits it. */
#define TR_API_BODY_MAX (16 * 1024 * 1024)
/** Bytes of an answer: 1 MB pages grow by escapes and base64, and BatchGetItem gives up to 16 MB. */
#define TR_API_REPLY_MAX (128 * 1024 * 1024)
/** The longest x-tailrace-wait-ms. */
#define TR_API_WAIT_MAX_MS 20000
/** Snapshots that may be held at a time, and how long an unused one lives. */
#define TR_API_SNAPSHOTS_MAX        64
#define TR_API_SNAPSHOT_LIFETIME_MS 60000
#define TR_API_SNAPSHOT_TOKEN_LEN   32

/** What a request waits for that is done on a thread of its own. */
typedef struct tr_held tr_held;

/** Everything is borrowed for the call. */
typedef struct tr_api_request {
    tr_service service;
    tr_view operation; /**< "PutItem" */
    tr_view body;
    int64_t wait_ms;  /**< of x-tailrace-wait-ms; 0: none */
    tr_view snapshot; /**< of x-tailrace-snapshot; empty: none */
    tr_view host;     /**< of the Host header, for URLs of queues; empty: none */
    bool expired;     /**< it has waited long enough: answer now */
    bool may_hold; /**< the caller knows what to do with tr_api_reply.held; otherwise the call takes as long
                      as it takes */
    tr_held *held; /**< what the reply of an earlier call of this request held */
} tr_api_request;

typedef struct tr_api_reply {
    int status;      /**< HTTP status; the body is in the buffer */
    uint64_t ticket; /**< may leave once tr_engine_synced() >= ticket */
    /* response headers; empty: none */
    char sequence_number[TR_SEQUENCE_TEXT_MAX]; /**< x-tailrace-sequence-number */
    char snapshot[TR_API_SNAPSHOT_TOKEN_LEN + 1];
    char stream_arn[TR_ARN_MAX + 1];
    /**
     * Set if the request asked to wait and there is nothing to tell yet: call again with the same request
     * when this stream has news, and with wait_ms 0 once the time is up. The answer composed is valid too.
     */
    const tr_stream *wait_stream;
    /** The same for messages of queues: call again when tr_queue_news has changed, or with `expired` after
     * these milliseconds. 0: do not wait. */
    int64_t wait_queue_ms;
    /** Set if there is no answer yet, since a thread works at it: call again with the same request and this,
     * once tr_api_ready() or with `expired`. */
    tr_held *held;
} tr_api_reply;

/** The answer's body replaces what `body` holds. Never fails: errors are answers. */
void tr_api_call(tr_api *api, const tr_api_request *request, tr_buf *body, tr_api_reply *ret_reply);

/** Whether a request that holds this can be carried out again. Any thread. */
bool tr_api_ready(const tr_held *held);
/** Drops what a request held that will not be carried out again. */
void tr_api_drop(tr_api *api, tr_held *held);

/** Whether the service has an operation of that name. */
bool tr_api_knows(tr_service service, tr_view operation);
/** Drops snapshots that are past their time, and does a step of restores, exports and imports that are under
 * way: call every second or so, and again soon if it returns true. */
bool tr_api_tick(tr_api *api);
/** Whether there are such steps to do. */
bool tr_api_busy(const tr_api *api);

/**
 * Composes an error answer's body: {"__type":"…","message":"…"}. type with its prefix
 * ("com.amazon.coral.service#SerializationException"); message NULL: none.
 */
void tr_api_error_body(tr_buf *body, const char *type, const char *message);

#endif
