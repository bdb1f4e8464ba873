/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HTTP_SERVER_H
#define TAILRACE_HTTP_SERVER_H

/**
 * What the files of the HTTP server share. server.c listens and accepts, conn.c reads and frames requests,
 * head.c and chunked.c take their bytes apart, respond.c makes answers, output.c sends them, guard.c checks
 * Host and Origin.
 *
 *   conn: first -> request -> request -> last      in order of arrival; answered ones leave from the front
 *         reading: the last one, while its body is still coming
 *         in: bytes that could not be used yet: half a head, or what came while too many requests were
 * waiting
 */

#include <tailrace/http.h>

#include <libdeflate.h>
#include <uv.h>

/* Requests of one connection that may wait for their answers, and bytes of them; past that it is not read. */
#define TR__HTTP_PIPELINE_MAX 64
#define TR__HTTP_HELD_MAX     (1024 * 1024)
#define TR__HTTP_READ_SIZE    (64 * 1024)
#define TR__HTTP_POOL_MAX     256         /* request objects kept for reuse */
#define TR__HTTP_KEEP_OUT     (64 * 1024) /* bytes of an answer's buffer kept for reuse */
#define TR__HTTP_STREAM_JOIN  32          /* buffers of one write */
#define TR__HTTP_LINGER_MS                                                                                   \
    2000 /* an answer to input we gave up on needs the peer to read it before we close */
#define TR__HTTP_LINGER_BYTES (64 * 1024 * 1024)

enum { TR__REQ_READING, TR__REQ_HANDLING, TR__REQ_ANSWERED, TR__REQ_STREAMING };
enum { TR__CONN_HEAD, TR__CONN_LENGTH, TR__CONN_CHUNKED, TR__CONN_RAW, TR__CONN_DISCARD };
enum {
    TR__WAITS_NOT,
    TR__WAITS_IDLE,
    TR__WAITS_HEAD,
    TR__WAITS_BODY,
    TR__WAITS_LINGER
}; /* what conn.deadline is for */

/** Decodes Transfer-Encoding: chunked. Zero-initialised. */
typedef struct tr__chunked {
    uint64_t size; /* of the chunk, what is left of it */
    uint32_t line; /* bytes of the present size line or of all trailers, for their limits */
    uint8_t state, digits;
} tr__chunked;

/**
 * Takes bytes; appends data to `out` (whose status tells its limit). Returns the bytes consumed, or a
 * negative code: TR_EPARSE, or out's. *ret_done once the last chunk and its trailers were read.
 */
ptrdiff_t tr__chunked_feed(tr__chunked *decoder, tr_view bytes, tr_buf *out, bool *ret_done);

typedef struct tr__http_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    tr_http_server *server;
    struct tr__http_conn *next, *prev; /* of the server */
    struct tr__http_conn *dirty_next,
        **dirty_at; /* dirty_at: what points here, if the server is to flush this */
    tr_http_request *first, *last, *reading;
    tr_buf in;
    size_t scanned;     /* of `in`: offset of the line that head scanning goes on with */
    size_t lines;       /* seen by it */
    size_t waiting;     /* requests in the list */
    size_t held;        /* bytes of their bodies */
    uint64_t remaining; /* of a body with Content-Length; of what may be discarded */
    size_t progress;    /* bytes of the body since the deadline was last moved */
    tr__chunked chunked;
    int64_t deadline, write_deadline; /* on the loop's clock; 0: none */
    size_t unsent;                    /* when write_deadline was set */
    uv_write_t write;
    uv_shutdown_t shutdown;
    size_t writing; /* requests in the write under way, counted from first; the last may be a stream */
    uint8_t state, waits_for;
    bool is_unix;
    bool batch;  /* answers are collected; who set it will flush */
    bool paused; /* not reading: too much waits, or an upgrade is being decided, or the handler wants it so */
    bool held_back; /* the handler of an upgraded connection does not want bytes */
    bool direct;    /* the read under way goes straight into the body */
    bool skipped_blank;
    bool eof, closing;
    bool close_after; /* no further request is taken; close once the list is empty */
    bool abandoned;   /* input was given up in its middle: linger before closing */
    bool lingering;
} tr__http_conn;

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    tr_http_server *server;
    unsigned port;
    bool is_unix;
    bool stalled; /* a connection waits that there was no memory for */
};

struct tr_http_server {
    uv_loop_t *loop;
    tr_http_handler_fn *handler;
    void *ctx;
    tr_http_options options; /* its pointers are not valid any more, but those below */
    tr_view *hosts, *origins;
    size_t host_count, origin_count;
    bool any_host, any_origin;
    tr_buf extra;   /* options.headers as lines */
    tr_buf ok_head; /* "HTTP/1.1 200 OK", Date, extra */
    int64_t date_s; /* second that ok_head says */
    char date[32];
    struct listener *listeners;
    size_t listener_count;
    char *unix_path;
    uint64_t unix_dev, unix_ino;
    uv_prepare_t prepare;
    uv_idle_t idle; /* on while `dirty` is not empty after a flush, so that the loop does not wait */
    uv_timer_t sweep;
    int64_t sweep_every_ms;
    unsigned handles; /* open ones of the server itself */
    tr__http_conn *conns, *dirty;
    tr_http_request *pool, *live;
    size_t pool_count;
    size_t held; /* bytes of all bodies */
    char *read_buf;
    struct libdeflate_compressor *compressor;
    struct libdeflate_decompressor *decompressor;
    tr_http_stats stats;
    bool closing;
    int64_t close_deadline;
    void (*done)(void *ctx);
    void *done_ctx;
};

/* server.c */
void tr__server_conn_opened(tr_http_server *server);
void tr__server_conn_closed(tr_http_server *server);
/** Looks after stalled listeners in a moment. */
void tr__server_retry_soon(tr_http_server *server);
/** Makes date and ok_head say the present second. */
void tr__server_date(tr_http_server *server);

/* request.c */
tr_http_request *tr__request_new(tr__http_conn *conn);
void tr__request_free(tr_http_request *request);
/** Counts `bytes` more as held by a request's body. False past memory_limit. */
bool tr__request_charge(tr_http_request *request, size_t bytes);

/* head.c */
typedef struct tr__head {
    uint64_t length; /* of the body, if has_length */
    bool has_length, chunked, expects_continue, has_encoding;
} tr__head;
/**
 * Looks for the end of a head in `bytes`, going on at *scanned. Returns its length with the empty line, 0 if
 * more bytes are needed, or TR_EPARSE with *ret_why. *lines counts lines.
 */
ptrdiff_t tr__head_scan(tr_view bytes, size_t *scanned, size_t *lines, const char **ret_why);
/**
 * Parses a whole head that lies in the request's arena (names are put in lower case there) into the request.
 * Returns 0 or the HTTP status to refuse it with, and why.
 */
int tr__head_parse(tr_http_request *request, char *bytes, size_t len, size_t lines, tr__head *ret_head,
                   const char **ret_why);

/* conn.c */
void tr__conn_accept(tr_http_server *server, struct listener *listener);
void tr__conn_close(tr__http_conn *conn);
/** Uses input that was held back, if it may be used now. Whether a byte was used. The caller has set batch.
 */
bool tr__conn_resume(tr__http_conn *conn);
/** The list is empty or everything was sent: closes, lingers, or sets the deadline for what comes next. */
void tr__conn_settle(tr__http_conn *conn);
/** Tells the handler of a request that its peer is gone; `lost` if nothing can be sent any more. */
void tr__request_gone(tr_http_request *request, bool lost);
void tr__conn_check_deadline(tr__http_conn *conn, int64_t now);
/** The server is closing: ends what is idle. */
void tr__conn_wind_down(tr__http_conn *conn);

/* respond.c */
/** An answer of the server itself, {"message": why}. */
void tr__respond_error(tr_http_request *request, int status, const char *why, bool close);

/* output.c */
/** Sends what may be sent now. May close the connection. */
void tr__conn_flush(tr__http_conn *conn);
/** Sees to it that tr__conn_flush runs before the loop waits. */
void tr__conn_mark(tr__http_conn *conn);
void tr__conn_unmark(tr__http_conn *conn);
void tr__server_flush_marked(tr_http_server *server);

/* guard.c */
/** Whether the handler may see the request; if not, it was answered. */
bool tr__guard_pass(tr_http_request *request);
/** Appends the Access-Control headers of an answer. */
void tr__guard_headers(const tr_http_request *request, tr_buf *head);

/* gzip.c */
/** Inflates request->p.body in place. 0 or the HTTP status to refuse it with, and why. */
int tr__gzip_inflate(tr_http_request *request, const char **ret_why);
/** Replaces `body` (of the answer) by its compressed form if that is smaller. Whether it did. */
bool tr__gzip_deflate(tr_http_request *request, tr_view body);
/** Whether an Accept-Encoding header allows gzip. */
bool tr__gzip_accepted(tr_view accept_encoding);

/** Compares without regard to the case of ASCII letters; `lower` is in lower case. */
bool tr__http_is(tr_view text, const char *lower);

#endif
