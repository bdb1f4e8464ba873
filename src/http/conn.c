/* SPDX-License-Identifier: MIT */
#include "server.h"

#define DIRECT_MIN  16384        /* a body with more than this to come is read into its own buffer */
#define DIRECT_STEP (256 * 1024) /* by which that buffer grows: never more than about what has arrived */
#define IN_LIMIT    (TR_HTTP_HEAD_MAX + 2 * TR__HTTP_READ_SIZE)
#define PROGRESS    (64 * 1024) /* bytes of a body that move its deadline */

static void wait_for(tr__http_conn *conn, uint8_t what, int64_t ms)
{
    conn->waits_for = what;
    conn->deadline = what == TR__WAITS_NOT ? 0 : (int64_t)uv_now(conn->server->loop) + ms;
}

/* ------------------------------------------------------------------------------------------------ closing */

static void on_closed(uv_handle_t *handle)
{
    tr__http_conn *conn = handle->data;
    tr_http_server *server = conn->server;
    tr_buf_done(&conn->in);
    tr_free(conn);
    server->stats.connections--;
    tr__server_conn_closed(server);
}

void tr__request_gone(tr_http_request *request, bool lost)
{
    if (lost)
        request->p.conn = NULL;
    bool told = request->p.gone;
    request->p.gone = true;
    if (told)
        return;
    if (request->p.state == TR__REQ_STREAMING) {
        if (request->p.events->on_close)
            request->p.events->on_close(request->p.events_ctx, request);
    } else if (request->on_gone) {
        request->on_gone(request);
    }
}

static void unlink_conn(tr__http_conn *conn)
{
    tr_http_server *server = conn->server;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    tr__conn_unmark(conn);
}

void tr__conn_close(tr__http_conn *conn)
{
    if (conn->closing)
        return;
    conn->closing = true;
    unlink_conn(conn);
    tr_http_request *request = conn->first;
    conn->first = conn->last = conn->reading = NULL;
    uv_close(&conn->u.handle, on_closed);
    while (request) {
        tr_http_request *next = request->p.next;
        bool with_handler = request->p.state == TR__REQ_HANDLING ||
                            (request->p.state == TR__REQ_STREAMING && !request->p.ended);
        if (with_handler)
            tr__request_gone(request, true);
        else
            tr__request_free(request);
        request = next;
    }
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)request;
    (void)status; /* the deadline or the peer's end closes in any case */
}

/* Our side is finished, but the peer is still sending what we gave up on. Closing now would reset the
 * connection, and the reset may overtake our answer: so end our direction, and read on for a moment. */
static void linger(tr__http_conn *conn)
{
    if (conn->lingering)
        return;
    conn->lingering = true;
    conn->state = TR__CONN_DISCARD;
    conn->remaining = TR__HTTP_LINGER_BYTES;
    wait_for(conn, TR__WAITS_LINGER, TR__HTTP_LINGER_MS);
    if (uv_shutdown(&conn->shutdown, &conn->u.stream, on_shutdown))
        tr__conn_close(conn);
}

void tr__conn_settle(tr__http_conn *conn)
{
    if (conn->closing || conn->first || conn->writing)
        return;
    bool idle = conn->state == TR__CONN_HEAD && conn->in.len == 0;
    if (conn->eof || (conn->close_after && !conn->abandoned) || (idle && conn->server->closing))
        tr__conn_close(conn);
    else if (conn->close_after)
        linger(conn);
    else if (idle)
        wait_for(conn, TR__WAITS_IDLE, conn->server->options.idle_timeout_ms);
}

/* ------------------------------------------------------------------------------------------------ requests
 */

/* Refuses what is being read, for good: where the next request would begin is not known any more. */
static void refuse(tr__http_conn *conn, tr_http_request *request, int status, const char *why)
{
    conn->reading = NULL;
    conn->state = TR__CONN_DISCARD;
    conn->remaining = TR__HTTP_LINGER_BYTES;
    conn->close_after = conn->abandoned = true;
    wait_for(conn, TR__WAITS_NOT, 0);
    tr_buf_reset(&conn->in);
    if (!request)
        request = tr__request_new(conn);
    if (!request) {
        tr__conn_close(conn);
        return;
    }
    request->p.keep_alive = false;
    request->p.wants_continue = false;
    tr__respond_error(request, status, why, true);
}

/* The request is whole. */
static void dispatch(tr__http_conn *conn, tr_http_request *request)
{
    tr_http_server *server = conn->server;
    conn->reading = NULL;
    conn->state = TR__CONN_HEAD;
    wait_for(conn, TR__WAITS_NOT, 0);
    request->p.wants_continue = false;
    request->p.state = TR__REQ_HANDLING;
    if (!request->p.keep_alive)
        conn->close_after = true;
    server->stats.requests_total++;
    server->stats.requests++;
    if (request->p.has_encoding) {
        tr_view coding = tr_http_header(request, "content-encoding");
        const char *why = "a Content-Encoding other than gzip is not supported";
        int status = tr__http_is(coding, "gzip") || tr__http_is(coding, "x-gzip")
                         ? tr__gzip_inflate(request, &why)
                         : 415;
        if (status) {
            tr__respond_error(request, status, why, false);
            return;
        }
    }
    if (tr__guard_pass(request))
        server->handler(server->ctx, request);
}

static void begin_body(tr__http_conn *conn, tr_http_request *request, const tr__head *head, bool all_here)
{
    conn->reading = request;
    conn->remaining = head->length;
    conn->progress = 0;
    conn->chunked = (tr__chunked){0};
    conn->state = head->chunked ? TR__CONN_CHUNKED : TR__CONN_LENGTH;
    wait_for(conn, TR__WAITS_BODY, conn->server->options.body_timeout_ms);
    request->p.wants_continue = head->expects_continue && !request->p.http10 && !all_here;
}

static void begin_request(tr__http_conn *conn, tr_view head_bytes, size_t lines, size_t behind)
{
    tr_http_request *request = tr__request_new(conn);
    if (!request) {
        tr__conn_close(conn);
        return;
    }
    tr_view copy = tr_arena_copy(&request->arena, head_bytes);
    const char *why = "out of memory";
    int status = 503;
    tr__head head = {0};
    if (copy.ptr)
        status = tr__head_parse(request, (char *)(uintptr_t)copy.ptr, copy.len, lines, &head, &why);
    if (status == 0 && head.length > conn->server->options.body_limit) {
        status = 413;
        why = "the body is too large";
    }
    if (status) {
        refuse(conn, request, status, why);
        return;
    }
    request->p.has_encoding = head.has_encoding;
    if (head.chunked || head.length > 0)
        begin_body(conn, request, &head, !head.chunked && behind >= head.length);
    else
        dispatch(conn, request);
}

/* ---------------------------------------------------------------------------------------------------- input
 */

static size_t take_head(tr__http_conn *conn, tr_view bytes)
{
    if (!conn->skipped_blank && conn->lines == 0 && bytes.ptr[0] == '\r') {
        /* an empty line before a request is to be ignored (RFC 9112, section 2.2); one is enough */
        if (bytes.len == 1)
            return 0;
        if (bytes.ptr[1] == '\n') {
            conn->skipped_blank = true;
            return 2;
        }
    }
    const char *why = "the request line and headers are too large";
    ptrdiff_t len = tr__head_scan(bytes, &conn->scanned, &conn->lines, &why);
    size_t lines = conn->lines;
    bool too_large = (len == 0 && bytes.len > TR_HTTP_HEAD_MAX) || len > TR_HTTP_HEAD_MAX ||
                     lines > TR_HTTP_HEADERS_MAX + 1;
    if (len < 0 || too_large || (len > 0 && lines == 0)) {
        refuse(conn, NULL, too_large ? 431 : 400, len > 0 && lines == 0 ? "empty request" : why);
        return 0;
    }
    if (len == 0)
        return 0;
    conn->scanned = conn->lines = 0;
    conn->skipped_blank = false;
    begin_request(conn, tr_view_of(bytes.ptr, (size_t)len), lines, bytes.len - (size_t)len);
    return (size_t)len;
}

/* Bytes of a body arrived: are they not too many, and does the deadline move? */
static bool note_body(tr__http_conn *conn, size_t bytes)
{
    if (!tr__request_charge(conn->reading, bytes)) {
        refuse(conn, conn->reading, 503, "too much is being handled; try again");
        return false;
    }
    conn->progress += bytes;
    if (conn->progress >= PROGRESS) {
        conn->progress = 0;
        wait_for(conn, TR__WAITS_BODY, conn->server->options.body_timeout_ms);
    }
    return true;
}

static size_t take_length(tr__http_conn *conn, tr_view bytes)
{
    tr_http_request *request = conn->reading;
    size_t take = bytes.len < conn->remaining ? bytes.len : (size_t)conn->remaining;
    if (!note_body(conn, take))
        return 0;
    conn->remaining -= take;
    if (conn->remaining == 0 && request->p.body.len == 0) {
        request->body = tr_arena_copy(&request->arena, tr_view_of(bytes.ptr, take));
        if (!request->body.ptr) {
            refuse(conn, request, 503, "out of memory");
            return 0;
        }
        dispatch(conn, request);
        return take;
    }
    tr_buf_put(&request->p.body, bytes.ptr, take);
    if (tr_buf_status(&request->p.body)) {
        refuse(conn, request, 503, "out of memory");
        return 0;
    }
    if (conn->remaining == 0) {
        request->body = tr_buf_view(&request->p.body);
        dispatch(conn, request);
    }
    return take;
}

static size_t take_chunked(tr__http_conn *conn, tr_view bytes)
{
    tr_http_request *request = conn->reading;
    size_t before = request->p.body.len;
    bool done = false;
    ptrdiff_t used = tr__chunked_feed(&conn->chunked, bytes, &request->p.body, &done);
    if (used < 0) {
        if (used == TR_ELIMIT)
            refuse(conn, request, 413, "the body is too large");
        else if (used == TR_ENOMEM)
            refuse(conn, request, 503, "out of memory");
        else
            refuse(conn, request, 400, "malformed chunked body");
        return 0;
    }
    if (!note_body(conn, request->p.body.len - before))
        return 0;
    if (done) {
        request->body = tr_buf_view(&request->p.body);
        dispatch(conn, request);
    }
    return (size_t)used;
}

static size_t take_raw(tr__http_conn *conn, tr_view bytes)
{
    tr_http_request *stream = conn->first;
    if (stream && !stream->p.ended && stream->p.events->on_data)
        stream->p.events->on_data(stream->p.events_ctx, stream, bytes);
    return bytes.len;
}

/* Whether input must wait. */
static bool must_pause(const tr__http_conn *conn)
{
    if (conn->state == TR__CONN_RAW)
        return conn->held_back;
    if (conn->state != TR__CONN_HEAD || conn->waiting == 0)
        return false;
    return conn->waiting >= TR__HTTP_PIPELINE_MAX || conn->held >= TR__HTTP_HELD_MAX ||
           (conn->last->p.wants_upgrade && conn->last->p.state == TR__REQ_HANDLING);
}

/* Uses bytes as far as possible; returns how many. */
static size_t consume(tr__http_conn *conn, tr_view bytes)
{
    size_t at = 0;
    while (at < bytes.len && !conn->closing && !must_pause(conn)) {
        tr_view rest = tr_view_of(bytes.ptr + at, bytes.len - at);
        size_t used = 0;
        if (conn->state == TR__CONN_DISCARD || (conn->close_after && conn->state == TR__CONN_HEAD)) {
            conn->abandoned = true; /* it sent more than it should: do not reset it */
            return bytes.len;
        }
        switch (conn->state) {
        case TR__CONN_HEAD:
            used = take_head(conn, rest);
            break;
        case TR__CONN_LENGTH:
            used = take_length(conn, rest);
            break;
        case TR__CONN_CHUNKED:
            used = take_chunked(conn, rest);
            break;
        default:
            used = take_raw(conn, rest);
            break;
        }
        at += used;
        if (used == 0 && conn->state != TR__CONN_DISCARD)
            break;
    }
    return at;
}

static void drop_front(tr_buf *buf, size_t n)
{
    if (n >= buf->len) {
        tr_buf_done(buf); /* an idle connection holds no memory */
        return;
    }
    memmove(buf->ptr, buf->ptr + n, buf->len - n);
    buf->len -= n;
}

static void alloc_read(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    tr__http_conn *conn = handle->data;
    conn->direct = false;
    if (conn->state == TR__CONN_LENGTH && conn->remaining >= DIRECT_MIN && conn->in.len == 0) {
        tr_buf *body = &conn->reading->p.body;
        size_t want = conn->remaining < DIRECT_STEP ? (size_t)conn->remaining : DIRECT_STEP;
        if (tr_buf_reserve(body, want) == 0) {
            conn->direct = true;
            *buf = uv_buf_init(body->ptr + body->len, (unsigned)want);
            return;
        }
        body->status = 0; /* the read itself will find out */
    }
    *buf = uv_buf_init(conn->server->read_buf, TR__HTTP_READ_SIZE);
}

/* Bytes that the read put into the body's own buffer. */
static void take_direct(tr__http_conn *conn, size_t bytes)
{
    tr_http_request *request = conn->reading;
    request->p.body.len += bytes;
    conn->remaining -= bytes;
    if (note_body(conn, bytes) && conn->remaining == 0) {
        request->body = tr_buf_view(&request->p.body);
        dispatch(conn, request);
    }
}

/* What came is used, or kept; reading goes on, or stops. */
static void take_input(tr__http_conn *conn, tr_view bytes)
{
    if (conn->in.len) {
        tr_buf_put_view(&conn->in, bytes);
        if (tr_buf_status(&conn->in)) {
            tr__conn_close(conn);
            return;
        }
        (void)tr__conn_resume(conn);
        return;
    }
    size_t used = consume(conn, bytes);
    if (conn->closing || used >= bytes.len || conn->state == TR__CONN_DISCARD)
        return;
    tr_buf_put(&conn->in, bytes.ptr + used, bytes.len - used);
    if (tr_buf_status(&conn->in))
        tr__conn_close(conn);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

static void adjust_reading(tr__http_conn *conn)
{
    if (conn->closing || conn->eof)
        return;
    bool pause = must_pause(conn);
    if (pause && !conn->paused)
        (void)uv_read_stop(&conn->u.stream);
    else if (!pause && conn->paused && uv_read_start(&conn->u.stream, alloc_read, on_read))
        tr__conn_close(conn);
    conn->paused = pause;
    if (conn->state == TR__CONN_HEAD && conn->in.len && !pause && conn->waits_for != TR__WAITS_HEAD)
        wait_for(conn, TR__WAITS_HEAD, conn->server->options.header_timeout_ms);
}

bool tr__conn_resume(tr__http_conn *conn)
{
    size_t used = 0;
    if (conn->in.len) {
        used = consume(conn, tr_buf_view(&conn->in));
        if (conn->state == TR__CONN_DISCARD)
            used = conn->in.len;
        if (!conn->closing && used)
            drop_front(&conn->in, used);
    }
    if (!conn->closing && conn->paused)
        adjust_reading(conn);
    return used > 0;
}

static void drop_last(tr__http_conn *conn)
{
    tr_http_request *last = conn->last, *before = NULL;
    for (tr_http_request *at = conn->first; at != last; at = at->p.next)
        before = at;
    if (before)
        before->p.next = NULL;
    else
        conn->first = NULL;
    conn->last = before;
    conn->waiting--;
    tr__request_free(last);
}

static void on_end(tr__http_conn *conn)
{
    conn->eof = true;
    (void)uv_read_stop(&conn->u.stream);
    wait_for(conn, TR__WAITS_NOT, 0);
    conn->close_after = true;
    if (conn->reading) { /* half a request: nobody waits for its answer, but maybe for those before it */
        drop_last(conn);
        conn->reading = NULL;
        conn->state = TR__CONN_HEAD;
    }
    tr_buf_done(&conn->in);
    for (tr_http_request *request = conn->first, *next; request && !conn->closing; request = next) {
        next = request->p.next;
        if (request->p.state == TR__REQ_HANDLING ||
            (request->p.state == TR__REQ_STREAMING && !request->p.ended))
            tr__request_gone(request, false);
    }
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    tr__http_conn *conn = stream->data;
    if (nread == 0 || conn->closing)
        return;
    if (nread < 0 && nread != UV_EOF) {
        tr__conn_close(conn);
        return;
    }
    conn->batch = true;
    if (nread == UV_EOF) {
        on_end(conn);
    } else {
        conn->server->stats.bytes_in += (uint64_t)nread;
        if (conn->direct && conn->state == TR__CONN_LENGTH)
            take_direct(conn, (size_t)nread);
        else if (conn->state != TR__CONN_DISCARD)
            take_input(conn, tr_view_of(buf->base, (size_t)nread));
        else if (conn->remaining <= (uint64_t)nread)
            tr__conn_close(conn);
        else
            conn->remaining -= (uint64_t)nread;
    }
    if (conn->closing)
        return;
    adjust_reading(conn);
    tr__conn_flush(conn);
}

/* ------------------------------------------------------------------------------------- opening and deadlines
 */

/* Too many: says so and closes. */
static void turn_away(tr__http_conn *conn)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
                               "Content-Length: 34\r\nConnection: close\r\nRetry-After: 1\r\n\r\n"
                               "{\"message\":\"too many connections\"}";
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, sizeof text - 1);
    tr_http_server *server = conn->server;
    (void)uv_try_write(&conn->u.stream, &buf, 1);
    server->stats.refused_total++;
    conn->close_after = true;
    /* by lingering the peer surely sees the answer, but even those who linger must not become too many */
    conn->abandoned = server->stats.connections / 2 < server->options.max_connections;
    tr__conn_settle(conn);
}

void tr__conn_accept(tr_http_server *server, struct listener *listener)
{
    tr__http_conn *conn = tr_calloc(1, sizeof *conn);
    listener->stalled = conn == NULL;
    if (!conn) { /* libuv offers no further one until this is taken */
        tr_log(&server->options.logger, TR_LOG_ERROR, "http: out of memory, connections are left waiting");
        tr__server_retry_soon(server);
        return;
    }
    conn->server = server;
    conn->is_unix = listener->is_unix;
    tr_buf_init(&conn->in, IN_LIMIT);
    int code = conn->is_unix ? uv_pipe_init(server->loop, &conn->u.pipe, 0)
                             : uv_tcp_init(server->loop, &conn->u.tcp);
    if (code) {
        tr_free(conn);
        return;
    }
    conn->u.handle.data = conn;
    conn->next = server->conns;
    if (server->conns)
        server->conns->prev = conn;
    server->conns = conn;
    tr__server_conn_opened(server);
    code = uv_accept(&listener->u.stream, &conn->u.stream);
    if (code == 0 && !conn->is_unix)
        code = uv_tcp_nodelay(&conn->u.tcp, 1);
    if (code == 0)
        code = uv_read_start(&conn->u.stream, alloc_read, on_read);
    if (code)
        tr__conn_close(conn);
    else if (server->stats.connections > server->options.max_connections)
        turn_away(conn);
    else
        wait_for(conn, TR__WAITS_HEAD, server->options.header_timeout_ms);
}

static void check_write_deadline(tr__http_conn *conn, int64_t now)
{
    size_t unsent = uv_stream_get_write_queue_size(&conn->u.stream);
    if (unsent < conn->unsent) {
        conn->unsent = unsent;
        conn->write_deadline = now + conn->server->options.write_timeout_ms;
    } else {
        tr__conn_close(conn);
    }
}

void tr__conn_check_deadline(tr__http_conn *conn, int64_t now)
{
    if (conn->write_deadline && now >= conn->write_deadline) {
        check_write_deadline(conn, now);
        if (conn->closing)
            return;
    }
    if (!conn->deadline || now < conn->deadline)
        return;
    bool in_head = conn->waits_for == TR__WAITS_HEAD && conn->in.len > 0;
    if (in_head || conn->waits_for == TR__WAITS_BODY) {
        refuse(conn, conn->reading, 408,
               in_head ? "the request's head did not come in time" : "the body did not come in time");
        if (!conn->closing)
            tr__conn_flush(conn);
    } else {
        tr__conn_close(conn);
    }
}

void tr__conn_wind_down(tr__http_conn *conn)
{
    bool batch = conn->batch; /* closing may be asked for from within a handler */
    conn->batch = true;
    for (tr_http_request *request = conn->first, *next; request && !conn->closing; request = next) {
        next = request->p.next;
        if (request->p.state == TR__REQ_STREAMING && !request->p.ended)
            tr__request_gone(request, false);
    }
    if (!batch && !conn->closing)
        tr__conn_flush(conn);
}
