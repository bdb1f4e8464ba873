/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HTTP_CLIENT_H
#define TAILRACE_HTTP_CLIENT_H

/**
 * tailrace/http_client.h: HTTP requests from within a libuv loop, on libcurl.
 *
 * Connections are kept and reused; HTTP/1.1, TLS with the system's certificates, Unix sockets, the proxies of
 * the environment (never for this machine itself). Redirects are not followed. No retries: whoever knows what
 * may be repeated does that.
 *
 * Threads: all functions must be called on the loop's thread; callbacks run there, never within the call that
 * caused them.
 *
 * Promise: if tr_http_client_send returns 0, its callback runs exactly once, also when the client is freed
 * (TR_ECANCELED); if it returns an error, the callback never runs.
 */

#include <tailrace/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;

typedef struct tr_http_client tr_http_client;

/** Zero-initialise, set what you need. */
typedef struct tr_http_client_options {
    unsigned max_connections;   /**< at the same time, streams apart; further requests wait. 0: 320 */
    unsigned max_waiting;       /**< requests that may wait. 0: 100,000 */
    size_t body_limit;          /**< bytes of an answer. 0: 64 MiB */
    int64_t connect_timeout_ms; /**< including TLS. 0: 5,000 */
    const char *user_agent;     /**< copied. NULL: "tailrace" */
    tr_logger logger;
} tr_http_client_options;

/** TR_ENOMEM, TR_EIO (libcurl cannot be set up). */
int tr_http_client_new(struct uv_loop_s *loop, const tr_http_client_options *options,
                       tr_http_client **ret_client, tr_error *err);
/** Cancels what is under way (callbacks run with TR_ECANCELED, before this returns) and closes the
 * connections; the loop must turn once more to close its handles. NULL is fine. */
void tr_http_client_free(tr_http_client *client);

/** What came back. Valid during the callback only. */
typedef struct tr_http_reply {
    int status;
    tr_view body;
    const tr_header *headers; /**< names as sent; tr_http_reply_header compares without regard to case */
    size_t header_count;
} tr_http_reply;

/** A header by its name (any case), or an empty view with ptr NULL. */
tr_view tr_http_reply_header(const tr_http_reply *reply, const char *name);

/**
 * code 0: an answer came, whatever its status; err is NULL. Otherwise there is no reply, and err says why:
 * TR_ECONNECT, TR_ETIMEOUT, TR_EIO (the connection broke), TR_ELIMIT (the answer is too large), TR_EINVAL (no
 * such URL), TR_ENOMEM, TR_ECANCELED (also when on_bytes returned false).
 */
typedef void tr_http_reply_fn(void *ctx, int code, const tr_http_reply *reply, const tr_error *err);

/** What is sent. Everything is copied. */
typedef struct tr_http_call {
    const char *method;       /**< Required: "GET", "POST", … */
    const char *url;          /**< Required: http or https. */
    const char *unix_path;    /**< Optional: connect to this Unix socket instead of the URL's host. */
    const tr_header *headers; /**< Optional. */
    size_t header_count;
    tr_view body;       /**< Optional. */
    int64_t timeout_ms; /**< of the whole exchange, waiting for a connection included. 0: none */
    /**
     * Optional: makes it a stream. Gets the body of a 2xx answer piece by piece, instead of the reply;
     * returning false ends it. Streams do not count against max_connections.
     */
    bool (*on_bytes)(void *ctx, tr_view bytes);
    int64_t silence_ms; /**< of a stream: ends it with TR_ETIMEOUT when nothing came for so long (in steps of
                           a second). 0: never */
} tr_http_call;

/**
 * Sends a request, once: what is not answered may have arrived, and is not repeated here. Callbacks may call
 * it, on_bytes too. TR_EINVAL (a header with control characters, a URL of another scheme), TR_ELIMIT (too
 * many waiting), TR_ENOMEM. ret_id may be NULL.
 */
int tr_http_client_send(tr_http_client *client, const tr_http_call *call, tr_http_reply_fn *fn, void *ctx,
                        uint64_t *ret_id);
/** Ends a request early: its callback runs soon, with TR_ECANCELED unless it was done already. Unknown ids
 * are fine. */
void tr_http_client_cancel(tr_http_client *client, uint64_t id);

/* ------------------------------------------------------------------------------------- Server-Sent Events */

/**
 * Takes text/event-stream apart (HTML Living Standard, section 9.2.6): lines ended by CR, LF or both,
 * comments, several data lines joined by line feeds. `id` holds on until another comes; `retry` is not used.
 */
typedef struct tr_sse_parser {
    tr_buf line, data, id, event; /* their limits bound an event */
    bool after_cr, begun;
} tr_sse_parser;

/** Returns false to stop. */
typedef bool tr_sse_event_fn(void *ctx, tr_view id, tr_view event, tr_view data);

/** limit: bytes of an event. */
void tr_sse_init(tr_sse_parser *parser, size_t limit);
void tr_sse_done(tr_sse_parser *parser);
/** Takes bytes, calls on_event for each event that is complete. TR_ELIMIT, TR_ENOMEM, TR_ECANCELED (on_event
 * said no); the parser must not be fed again after an error. */
int tr_sse_feed(tr_sse_parser *parser, tr_view bytes, tr_sse_event_fn *on_event, void *ctx);

#ifdef __cplusplus
}
#endif
#endif
