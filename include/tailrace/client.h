/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_H
#define TAILRACE_CLIENT_H

/**
 * tailrace/client.h: calls to DynamoDB, DynamoDB Streams, EventBridge and SQS.
 *
 * A tr_client sends operations of the services' JSON protocols over a transport: HTTP to AWS or any server of
 * the same protocol (tr_client_new), or a call into the embedded engine (tr_server_transport in
 * tailrace/engine.h), with the same bytes either way. It finds credentials, region and endpoint as the AWS
 * CLI does, signs requests (Signature Version 4), and repeats what may be repeated, with jittered exponential
 * backoff.
 *
 * Threads: every client owns one I/O thread. Reply callbacks, timers and subscriptions run on it, one at a
 * time, never within the call that started them. They must not block: tr_client_call_wait refuses to run
 * there (TR_ETHREAD), and to call tr_client_free there is a programmer's error. All other functions are safe
 * from any thread.
 *
 * Promise: if tr_client_call returns 0 its callback runs exactly once, also when the client is freed
 * (TR_ECANCELED); if it returns an error the callback never runs.
 */

#include <tailrace/base.h>
#include <tailrace/json.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_service {
    TR_DYNAMODB,
    TR_STREAMS,
    TR_EVENTS,
    TR_SQS,
    TR_LAMBDA,
    TR_SERVICE_COUNT
} tr_service;

/** What is sent. Everything is copied before tr_client_call returns. */
typedef struct tr_request {
    tr_service service;       /**< Required. */
    const char *operation;    /**< Required: "PutItem". */
    tr_view body;             /**< JSON; empty counts as {}. */
    const tr_header *headers; /**< Optional: further headers, such as x-tailrace-wait-ms. */
    size_t header_count;
    int64_t timeout_ms; /**< of one attempt; 0: the client's. */
    unsigned attempts;  /**< at most; 0: the client's. 1: no retry. */
} tr_request;

/** What came back. Valid during the callback only. */
typedef struct tr_reply {
    int status;
    tr_view body;
    const tr_header *headers;
    size_t header_count;
} tr_reply;

/** A header by its name (any case), or an empty view with ptr NULL. */
tr_view tr_reply_header(const tr_reply *reply, const char *name);

/**
 * Called once per request. code 0: 2xx, `reply` is given and err NULL. Otherwise err is given (type and
 * message of the service where it answered) and reply too if one was received. Codes: TR_ETHROTTLED
 * (throttling errors), TR_ENOTFOUND (ResourceNotFoundException and its like for tables, backups, exports,
 * imports, queues), TR_EEXIST (ResourceAlreadyExistsException and its like), TR_ECONFLICT
 * (ConditionalCheckFailedException, TransactionCanceledException, TransactionConflictException,
 * ResourceInUseException and its like), TR_ETRIMMED (TrimmedDataAccessException), TR_EEXPIRED
 * (ExpiredIteratorException, expired tokens), TR_EAUTH (no credentials, or refused ones), TR_ESERVICE (any
 * other error answer); without an answer TR_ECONNECT, TR_ETIMEOUT, TR_EIO (the connection broke, or the
 * answer was damaged), TR_ELIMIT (it is too large), TR_EINVAL (a header that cannot be sent), TR_ECANCELED,
 * TR_ENOMEM.
 */
typedef void tr_reply_fn(void *ctx, int code, const tr_reply *reply, const tr_error *err);
typedef void tr_task_fn(void *ctx);

/* ------------------------------------------------------------------------------------------ transports */

/** Lines of a Server-Sent Events stream. id and event may be empty. Return false to end the subscription. */
typedef bool tr_sse_fn(void *ctx, tr_view id, tr_view event, tr_view data);

typedef struct tr_transport tr_transport;
/**
 * What a client stands on. One attempt each: no retry, no signing policy of its own beyond what it was made
 * with. Implementations: HTTP (made by tr_client_new) and the embedded engine (tr_server_transport).
 */
struct tr_transport {
    /** As tr_client_call, one attempt. Any HTTP answer is code 0 here; codes are for failed transmission. */
    int (*send)(tr_transport *transport, const tr_request *request, tr_reply_fn *fn, void *ctx);
    /** Runs fn on the I/O thread after at least delay_ms (0: soon). From any thread. */
    int (*schedule)(tr_transport *transport, int64_t delay_ms, tr_task_fn *fn, void *ctx);
    /**
     * GETs a path ("/streams/T/events") as Server-Sent Events; on_event per event, then `done` once, with 0
     * when the server or on_event ended it. NULL where not supported.
     */
    int (*subscribe)(tr_transport *transport, tr_view path, tr_view last_event_id, tr_sse_fn *on_event,
                     tr_reply_fn *done, void *ctx);
    /** Whether the caller is on the I/O thread. */
    bool (*on_thread)(tr_transport *transport);
    /** Stops the I/O thread; outstanding callbacks run with TR_ECANCELED first. */
    void (*free)(tr_transport *transport);
};

/* ---------------------------------------------------------------------------------------------- client */

typedef struct tr_client tr_client;

/** All text is copied. Zero-initialise, set what you need. */
typedef struct tr_client_options {
    tr_transport *transport; /**< Optional: owned by the client from success on. Without: HTTP, as below. */
    const char *endpoint; /**< Optional: "http://host:port", "https://…", or "unix:/path/to.sock". For all
                             services. */
    bool aws; /**< AWS itself, whatever endpoints environment and profile configure; `endpoint` still counts.
               */
    const char
        *region; /**< Optional: else environment, profile. With an endpoint that is not AWS: us-east-1. */
    const char *profile; /**< Optional: else AWS_PROFILE, "default". */
    const char *access_key_id, *secret_access_key,
        *session_token;       /**< Optional: else found as the AWS CLI does. */
    unsigned max_connections; /**< 0: 320; they are opened as needed. */
    unsigned attempts;  /**< per request; 0: 4 (the SDKs' standard mode has 3, DynamoDB's old default 10). */
    int64_t timeout_ms; /**< of one attempt; 0: 30,000. */
    int64_t connect_timeout_ms; /**< 0: 5,000. */
    /** Optional: called on the I/O thread for a request that found nobody to connect to; it may block. True:
     * the request is sent again soon, which does not count as an attempt. HTTP only. */
    bool (*unreachable)(void *ctx);
    void *unreachable_ctx;
    tr_logger logger;
} tr_client_options;

/** Whether the text is an endpoint as tr_client_options.endpoint takes it: 0, or TR_EINVAL with what is one.
 */
int tr_client_check_endpoint(const char *text, tr_error *err);
/** Opens a client; nothing is sent yet, but credentials and region are looked for. TR_EAUTH, TR_EINVAL,
 * TR_ENOMEM. */
int tr_client_new(const tr_client_options *options, tr_client **ret_client, tr_error *err);
/** Cancels what is under way (callbacks run with TR_ECANCELED), joins the I/O thread. NULL is fine. */
void tr_client_free(tr_client *client);
int tr_client_call(tr_client *client, const tr_request *request, tr_reply_fn *fn, void *ctx);
/**
 * Blocks until the answer. On success its body is appended to ret_body (may be NULL). On failure err is
 * filled, and ret_body, if given, gets the error answer's body where one was received. TR_ETHREAD on the I/O
 * thread.
 */
int tr_client_call_wait(tr_client *client, const tr_request *request, tr_buf *ret_body, tr_error *err);
/** Runs fn on the I/O thread after at least delay_ms. fn runs early, once, when the client is freed: ask
 *  tr_client_closing there. */
int tr_client_schedule(tr_client *client, int64_t delay_ms, tr_task_fn *fn, void *ctx);
bool tr_client_closing(tr_client *client);
bool tr_client_on_thread(tr_client *client);
/** As tr_transport.subscribe; TR_EUNSUPPORTED if the transport cannot. */
int tr_client_subscribe(tr_client *client, tr_view path, tr_view last_event_id, tr_sse_fn *on_event,
                        tr_reply_fn *done, void *ctx);
/** "http://127.0.0.1:8000", "https://dynamodb.eu-west-1.amazonaws.com", "embedded": for messages and as a key
 * of saved state. Valid as long as the client. */
const char *tr_client_endpoint(const tr_client *client, tr_service service);
const char *tr_client_region(const tr_client *client);
/** Whether requests go to AWS itself. */
bool tr_client_is_aws(const tr_client *client);
/** Whether the server is tailrace's engine (it answered with x-tailrace-version, or is embedded). False
 * before the first answer of an HTTP server. */
bool tr_client_is_tailrace(const tr_client *client);
/** Requests sent so far, by service, retries included; for tests and metrics. */
uint64_t tr_client_requests(const tr_client *client, tr_service service);

#ifdef __cplusplus
}
#endif
#endif
