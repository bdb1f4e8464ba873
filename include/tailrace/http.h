/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HTTP_H
#define TAILRACE_HTTP_H

/**
 * tailrace/http.h: an HTTP/1.1 server that lives in the caller's libuv loop.
 *
 * The server reads whole requests (head and body), hands each to a handler, and sends what the handler
 * answers, now or later. Answers leave in the order in which the requests of a connection came, whatever the
 * order in which they are given. Besides whole answers there are streams (Server-Sent Events) and upgrades
 * (WebSocket).
 *
 * Threads: everything happens on the loop's thread, and every function below must be called there. If SIGPIPE
 * has its default action, which ends the process when a peer goes away, it is set to be ignored.
 *
 * A request belongs to the handler from the call until it is ended, by exactly one of tr_http_respond,
 * tr_http_respond_bytes, tr_http_respond_static, or (after tr_http_stream_begin or tr_http_upgrade)
 * tr_http_stream_end. It stays valid until then, with all it points to, also when the peer goes away in
 * between: ending it then does nothing but free it. What is not ended is leaked, and keeps a graceful close
 * waiting.
 *
 *     static void handle(void *ctx, tr_http_request *request)
 *     {
 *         tr_buf_printf(&request->out, "{\"path\":\"%.*s\"}", TR_FMT(request->path));
 *         tr_http_respond(request, 200, "application/json", NULL, 0, 0);
 *     }
 *
 * What the server refuses by itself, before the handler sees it: malformed heads (bare CR or LF, folded
 * headers, NUL, two Content-Length or Transfer-Encoding headers or one of each, other transfer codings than
 * chunked), what is past a limit, a content coding other than gzip, and Host and Origin headers that are not
 * allowed (see `hosts` and `origins` below). Its answers to those are JSON: {"message":"…"}.
 */

#include <tailrace/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s; /* libuv's uv_loop_t */

/** Bytes of request line and headers together; more is answered 431. */
#define TR_HTTP_HEAD_MAX (64 * 1024)
/** Header lines of a request; more is answered 431. */
#define TR_HTTP_HEADERS_MAX 256

typedef struct tr_http_server tr_http_server;
typedef struct tr_http_request tr_http_request;
typedef void tr_http_handler_fn(void *ctx, tr_http_request *request);

/** Zero-initialise, set what you need. All text is copied. Times are milliseconds. */
typedef struct tr_http_options {
    const char *const *listen; /**< Addresses "HOST:PORT": "127.0.0.1:8000", "[::1]:0" (0: any free port). */
    size_t listen_count;
    const char *unix_path; /**< Optional: a Unix socket too, made with mode 0600. At most 107 bytes. A stale
                              one (nobody listens) is replaced. Removed at the end. */
    size_t body_limit;     /**< bytes of a body, also inflated; more is answered 413. 0: 32 MiB */
    size_t out_limit;      /**< bytes of an answer, or queued in a stream. 0: 64 MiB */
    size_t arena_limit;    /**< bytes of a request's arena. 0: 128 MiB */
    size_t memory_limit; /**< bytes of all bodies being received or handled; past it requests with a body are
                              answered 503. 0: 512 MiB */
    size_t max_connections; /**< further ones are answered 503 and closed. 0: 10,000 */
    size_t gzip_min; /**< answers smaller than this many bytes are not compressed. 0: 1,400, a packet */
    int64_t header_timeout_ms; /**< from a head's first byte (or connecting) to its end. 0: 15,000 */
    int64_t body_timeout_ms;   /**< for each 64 KiB of a body, and its end. 0: 30,000 */
    int64_t idle_timeout_ms;   /**< between requests of a connection. 0: 120,000 */
    int64_t write_timeout_ms;  /**< without the peer taking a byte of what is to be sent. 0: 30,000 */
    /**
     * Host headers allowed beside the addresses that no other machine's name can stand for: localhost (and
     * names below it), IP addresses, and the hosts listened on. A web page whose own name was pointed at this
     * machine is so kept out. "*" allows all. Not checked on the Unix socket, which web pages cannot reach.
     */
    const char *const *hosts;
    size_t host_count;
    /**
     * Origins ("https://app.example", "*" for all) whose pages may call; besides them only pages of the
     * server itself may. Their preflight requests are answered by the server, their answers get the
     * Access-Control headers.
     */
    const char *const *origins;
    size_t origin_count;
    const tr_header *headers; /**< Sent with every answer, for instance x-tailrace-version. */
    size_t header_count;
    tr_logger logger;
} tr_http_options;

/**
 * Listens and begins to serve. On success the server is in *ret_server, owned by the loop until
 * tr_http_server_close. TR_EINVAL (an address that is none), TR_EBUSY (address in use), TR_EIO, TR_ENOMEM;
 * err says which address and why.
 */
int tr_http_server_new(struct uv_loop_s *loop, const tr_http_options *options, tr_http_handler_fn *handler,
                       void *ctx, tr_http_server **ret_server, tr_error *err);

/**
 * Ends serving: no new connections, idle ones are closed, requests under way are finished (their answers say
 * Connection: close), streams and upgraded connections get on_close. What is still open after grace_ms is cut
 * off. Then `done` (may be NULL) runs, and the server is gone. The loop must run meanwhile. Calling it again
 * only shortens the grace; `done` of the last call counts.
 */
void tr_http_server_close(tr_http_server *server, int64_t grace_ms, void (*done)(void *ctx), void *ctx);

/** The port of the address with this index in `listen` (the chosen one where 0 was asked), or 0. */
unsigned tr_http_server_port(const tr_http_server *server, size_t index);

typedef struct tr_http_stats {
    uint64_t connections_total, requests_total,
        refused_total; /* refused: answered by the server itself with 4xx, 5xx */
    uint64_t bytes_in, bytes_out;
    size_t connections, requests; /* now open; now with the handler */
} tr_http_stats;
void tr_http_server_stats(const tr_http_server *server, tr_http_stats *ret_stats);

/* ------------------------------------------------------------------------------------------------ requests
 */

struct tr_http_request {
    tr_view method;           /**< "POST" */
    tr_view path;             /**< as sent, still percent-encoded, without the query: "/streams/T/events" */
    tr_view query;            /**< behind the '?', as sent; ptr is NULL if there is none */
    tr_view body;             /**< whole, inflated if it came compressed */
    const tr_header *headers; /**< names in lower case, values without white space around them */
    size_t header_count;
    tr_arena arena; /**< for the handler: freed when the request ends */
    tr_buf out; /**< the answer's body: append to it, then tr_http_respond. Its memory is reused; to hand over
                   a buffer of your own: tr_buf_done(&request->out), then assign it. */
    void *user; /**< for the handler */
    /** Optional, for the handler to set: called once if the peer goes away before the request is answered; it
     * may end the request at once. Not for streams, which have on_close. */
    void (*on_gone)(tr_http_request *request);
    struct tr_http_request_private {
        struct tr__http_conn *conn; /* NULL once the peer is gone */
        tr_http_server *server;     /* NULL once the server is gone */
        tr_http_request *next;      /* of the connection, in order of arrival; or of the pool */
        tr_http_request *live_next, *live_prev;
        tr_buf head, body, sending;
        tr_view fixed; /* a borrowed answer body */
        tr_view origin;
        size_t charged;
        const struct tr_http_stream_events *events;
        void *events_ctx;
        uint8_t state;
        bool is_head, keep_alive, http10, wants_continue, wants_upgrade, has_encoding, chunked_out, upgraded,
            ended, gone;
    } p;
};

/** A header by its name in lower case; ptr is NULL if there is none. The first, if there are several. */
tr_view tr_http_header(const tr_http_request *request, const char *name);
/**
 * A parameter of the query ("a=1&b=x%20y"), decoded ('+' is a space) into the request's arena. TR_ENOTFOUND,
 * TR_EPARSE (a broken escape), TR_ENOMEM.
 */
int tr_http_query_param(tr_http_request *request, const char *name, tr_view *ret_value);
/** Percent-decodes into the arena. TR_EPARSE for a broken escape, TR_ENOMEM. */
int tr_http_percent_decode(tr_arena *arena, tr_view text, bool plus_is_space, tr_view *ret_text);
#define TR_HTTP_PEER_MAX 64
/** "127.0.0.1:54321", "[::1]:54321" or "unix"; `out` has room for TR_HTTP_PEER_MAX. Empty once the peer is
 * gone. */
void tr_http_peer(const tr_http_request *request, char *out);
/** Whether the peer is gone, so that working on the answer is wasted. */
bool tr_http_gone(const tr_http_request *request);

/* ------------------------------------------------------------------------------------------------- answers
 */

enum {
    TR_HTTP_GZIP = 1,  /**< compress if the request accepts it and the body has gzip_min bytes */
    TR_HTTP_CRC32 = 2, /**< add x-amz-crc32, of the bytes as sent (as the AWS SDKs check it) */
    TR_HTTP_CLOSE = 4  /**< close the connection afterwards */
};

/**
 * Answers with request->out as the body, and ends the request. content_type may be NULL. Date, Content-Length
 * and Connection headers are the server's. A header whose name or value could break out of its line (control
 * characters) makes the answer a 500, as does an `out` that failed. Everything passed is copied.
 */
void tr_http_respond(tr_http_request *request, int status, const char *content_type, const tr_header *headers,
                     size_t header_count, unsigned flags);
/** Answers with a copy of `body`. */
void tr_http_respond_bytes(tr_http_request *request, int status, const char *content_type, tr_view body);
/** Answers with `body`, which is not copied and must stay as it is for as long as the server exists. */
void tr_http_respond_static(tr_http_request *request, int status, const char *content_type,
                            const tr_header *headers, size_t header_count, unsigned flags, tr_view body);

/* ------------------------------------------------------------------------------------ streams and upgrades
 */

/** Callbacks of a stream; any may be NULL. The struct must outlive the stream (a static const is best). */
typedef struct tr_http_stream_events {
    /** All that was queued has left: write more. Not called before the first write. */
    void (*on_drain)(void *ctx, tr_http_request *stream);
    /** The peer is gone, or the server is closing: writes are refused from now on. Called at most once, never
     * after tr_http_stream_end; the stream must still be ended, which may be done right here. */
    void (*on_close)(void *ctx, tr_http_request *stream);
    /** Upgraded connections only: bytes from the peer, valid during the call. */
    void (*on_data)(void *ctx, tr_http_request *stream, tr_view bytes);
} tr_http_stream_events;

/**
 * Begins an answer whose body comes piece by piece (chunked; to HTTP/1.0 until the connection ends). Flags:
 * TR_HTTP_CLOSE. On failure (TR_EINVAL: a bad header; TR_ECLOSED: the peer is gone; TR_ENOMEM) the request is
 * as before, and is still to be answered.
 */
int tr_http_stream_begin(tr_http_request *request, int status, const char *content_type,
                         const tr_header *headers, size_t header_count, unsigned flags,
                         const tr_http_stream_events *events, void *ctx);
/**
 * Answers 101 with the given headers (Upgrade and Connection among them) and takes the connection over: from
 * now on bytes go both ways as they are. Fails as tr_http_stream_begin does; TR_EINVAL also if the request
 * did not ask for an upgrade, is HTTP/1.0 or has a body, or others are in front of it.
 */
int tr_http_upgrade(tr_http_request *request, const tr_header *headers, size_t header_count,
                    const tr_http_stream_events *events, void *ctx);
/**
 * Queues bytes (copied); they leave before the loop waits again, joined with others. TR_ELIMIT past out_limit
 * (nothing is queued then), TR_ECLOSED when the peer is gone, TR_ENOMEM. Watch tr_http_stream_pending to stay
 * far below.
 */
int tr_http_stream_write(tr_http_request *stream, tr_view bytes);
/** Bytes queued that the kernel has not taken yet. */
size_t tr_http_stream_pending(const tr_http_request *stream);
/** Upgraded connections: stops and resumes on_data. */
void tr_http_stream_read(tr_http_request *stream, bool on);
/** Ends stream and request once all is sent; `stream` is invalid from here. An upgraded connection is closed.
 */
void tr_http_stream_end(tr_http_request *stream);

#ifdef __cplusplus
}
#endif
#endif
