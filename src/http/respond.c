/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <tailrace/json.h>

#include <assert.h>

#define JOIN_MAX 2048 /* bytes of a body that are sent in the head's buffer */

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 206:
        return "Partial Content";
    case 301:
        return "Moved Permanently";
    case 302:
        return "Found";
    case 303:
        return "See Other";
    case 304:
        return "Not Modified";
    case 307:
        return "Temporary Redirect";
    case 308:
        return "Permanent Redirect";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 413:
        return "Content Too Large";
    case 415:
        return "Unsupported Media Type";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    case 507:
        return "Insufficient Storage";
    default:
        return "Status";
    }
}

/* ------------------------------------------------------------------------------------------------- heads */

static void put_status(tr_http_server *server, tr_buf *head, int status)
{
    tr__server_date(server);
    if (status == 200) {
        tr_buf_put_view(head, tr_buf_view(&server->ok_head));
        if (tr_buf_status(&server->ok_head))
            head->status = tr_buf_status(&server->ok_head);
        return;
    }
    tr_buf_put_str(head, "HTTP/1.1 ");
    tr_buf_put_u64(head, (unsigned)status);
    tr_buf_putc(head, ' ');
    tr_buf_put_str(head, reason(status));
    tr_buf_put_str(head, "\r\nDate: ");
    tr_buf_put_str(head, server->date);
    tr_buf_put_str(head, "\r\n");
    tr_buf_put_view(head, tr_buf_view(&server->extra));
}

/* Appends a line; false if a byte of it could end the line early or hide. */
static bool put_header(tr_buf *head, tr_view name, tr_view value)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] <= ' ' || name.ptr[i] == ':' || name.ptr[i] == 0x7f)
            return false;
    for (size_t i = 0; i < value.len; i++)
        if (((unsigned char)value.ptr[i] < ' ' && value.ptr[i] != '\t') || value.ptr[i] == 0x7f)
            return false;
    tr_buf_put_view(head, name);
    tr_buf_put(head, ": ", 2);
    tr_buf_put_view(head, value);
    tr_buf_put(head, "\r\n", 2);
    return name.len > 0;
}

static bool put_headers(tr_buf *head, const char *content_type, const tr_header *headers, size_t count)
{
    if (content_type && !put_header(head, TR_VIEW("Content-Type"), tr_view_str(content_type)))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!put_header(head, headers[i].name, headers[i].value))
            return false;
    return true;
}

static void put_length(tr_buf *head, size_t bytes)
{
    tr_buf_put_str(head, "Content-Length: ");
    tr_buf_put_u64(head, bytes);
    tr_buf_put_str(head, "\r\n");
}

/* Decides whether the connection ends with this answer, and says so. */
static void put_connection(tr_http_request *request, tr_buf *head, bool close)
{
    tr__http_conn *conn = request->p.conn;
    if (close || !request->p.keep_alive || request->p.server->closing) {
        conn->close_after = true;
        if (request == conn->last)
            tr_buf_put_str(head, "Connection: close\r\n");
    } else if (request->p.http10) {
        tr_buf_put_str(head, "Connection: keep-alive\r\n");
    }
}

/* ------------------------------------------------------------------------------------------------ answers */

/* The answer is made: it leaves now, unless others may leave with it. */
static void answered(tr_http_request *request)
{
    tr__http_conn *conn = request->p.conn;
    if (conn->batch || conn->first != request)
        return;
    if (conn->last == request && !conn->paused)
        tr__conn_flush(conn);
    else
        tr__conn_mark(conn);
}

static void leave_handler(tr_http_request *request)
{
    if (request->p.server && (request->p.state == TR__REQ_HANDLING || request->p.state == TR__REQ_STREAMING))
        request->p.server->stats.requests--;
}

/* The body that will be sent; makes what could not be made a 500. */
static tr_view final_body(tr_http_request *request, int *status)
{
    if (request->p.fixed.ptr)
        return request->p.fixed;
    if (tr_buf_status(&request->out)) {
        *status = 500;
        request->p.fixed = tr_buf_status(&request->out) == TR_ELIMIT
                               ? TR_VIEW("{\"message\":\"the answer is too large\"}")
                               : TR_VIEW("{\"message\":\"out of memory\"}");
        return request->p.fixed;
    }
    return tr_buf_view(&request->out);
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304 || status < 200;
}

static void compress(tr_http_request *request, tr_view *body, tr_buf *head, unsigned flags)
{
    if (!(flags & TR_HTTP_GZIP) || body->len < request->p.server->options.gzip_min)
        return;
    tr_buf_put_str(head, "Vary: Accept-Encoding\r\n");
    if (!tr__gzip_accepted(tr_http_header(request, "accept-encoding")) || !tr__gzip_deflate(request, *body))
        return;
    request->p.fixed = (tr_view){NULL, 0};
    *body = tr_buf_view(&request->out);
    tr_buf_put_str(head, "Content-Encoding: gzip\r\n");
}

/* Writes the head. False if a header is not fit to be sent. */
static bool make_head(tr_http_request *request, int status, const char *content_type,
                      const tr_header *headers, size_t count, unsigned flags)
{
    tr_buf *head = &request->p.head;
    tr_buf_reset(head);
    tr_view body = final_body(request, &status);
    put_status(request->p.server, head, status);
    if (!put_headers(head, content_type, headers, count))
        return false;
    tr__guard_headers(request, head);
    if (has_no_body(status)) {
        tr_buf_reset(&request->out);
        request->p.fixed = (tr_view){NULL, 0};
    } else {
        compress(request, &body, head, flags);
        if (flags & TR_HTTP_CRC32) {
            tr_buf_put_str(head, "x-amz-crc32: ");
            tr_buf_put_u64(head, tr_crc32(0, body));
            tr_buf_put_str(head, "\r\n");
        }
        put_length(head, body.len);
    }
    put_connection(request, head, (flags & TR_HTTP_CLOSE) != 0);
    tr_buf_put_str(head, "\r\n");
    if (body.len <= JOIN_MAX && !request->p.is_head && !has_no_body(status)) {
        /* copying a little costs less than a second buffer does in the kernel */
        tr_buf_put_view(head, body);
        tr_buf_reset(&request->out);
        request->p.fixed = (tr_view){NULL, 0};
    }
    return true;
}

static void finish(tr_http_request *request, int status, const char *content_type, const tr_header *headers,
                   size_t count, unsigned flags)
{
    assert(request->p.state == TR__REQ_HANDLING || request->p.state == TR__REQ_READING);
    leave_handler(request);
    if (!request->p.conn || !request->p.server) {
        tr__request_free(request);
        return;
    }
    if (!make_head(request, status, content_type, headers, count, flags)) {
        request->p.fixed = TR_VIEW("{\"message\":\"the answer has a header that cannot be sent\"}");
        tr_log(&request->p.server->options.logger, TR_LOG_ERROR,
               "http: an answer's header has control characters");
        (void)make_head(request, 500, "application/json", NULL, 0, flags & TR_HTTP_CLOSE);
    }
    if (tr_buf_status(&request->p.head)) { /* no memory for a few hundred bytes, or 64 KiB of headers */
        tr_log(&request->p.server->options.logger, TR_LOG_ERROR, "http: no memory for an answer's head");
        request->p.state = TR__REQ_ANSWERED;
        tr__conn_close(request->p.conn);
        return;
    }
    request->p.state = TR__REQ_ANSWERED;
    answered(request);
}

void tr_http_respond(tr_http_request *request, int status, const char *content_type, const tr_header *headers,
                     size_t header_count, unsigned flags)
{
    request->p.fixed = (tr_view){NULL, 0};
    finish(request, status, content_type, headers, header_count, flags);
}

void tr_http_respond_bytes(tr_http_request *request, int status, const char *content_type, tr_view body)
{
    tr_buf_reset(&request->out);
    tr_buf_put_view(&request->out, body);
    tr_http_respond(request, status, content_type, NULL, 0, 0);
}

void tr_http_respond_static(tr_http_request *request, int status, const char *content_type,
                            const tr_header *headers, size_t header_count, unsigned flags, tr_view body)
{
    tr_buf_reset(&request->out);
    request->p.fixed = body.len ? body : (tr_view){NULL, 0};
    finish(request, status, content_type, headers, header_count, flags);
}

void tr__respond_error(tr_http_request *request, int status, const char *why, bool close)
{
    tr_json_writer writer;
    request->p.server->stats.refused_total++;
    tr_buf_reset(&request->out);
    tr_json_write_init(&writer, &request->out);
    tr_json_begin_object(&writer);
    tr_json_member_cstring(&writer, "message", why);
    tr_json_end_object(&writer);
    tr_http_respond(request, status, "application/json", NULL, 0, close ? TR_HTTP_CLOSE : 0);
}

/* ------------------------------------------------------------------------------------ streams and upgrades
 */

static int become_stream(tr_http_request *request, const tr_http_stream_events *events, void *ctx)
{
    int code = tr_buf_status(&request->p.head);
    if (code)
        return code;
    request->p.events = events;
    request->p.events_ctx = ctx;
    request->p.state = TR__REQ_STREAMING;
    request->p.fixed = (tr_view){NULL, 0};
    tr_buf_reset(&request->out);
    if (!request->p.conn->batch)
        tr__conn_mark(request->p.conn);
    return 0;
}

int tr_http_stream_begin(tr_http_request *request, int status, const char *content_type,
                         const tr_header *headers, size_t header_count, unsigned flags,
                         const tr_http_stream_events *events, void *ctx)
{
    assert(request->p.state == TR__REQ_HANDLING);
    tr_buf *head = &request->p.head;
    if (tr_http_gone(request))
        return TR_ECLOSED;
    tr_buf_reset(head);
    put_status(request->p.server, head, status);
    if (!put_headers(head, content_type, headers, header_count))
        return TR_EINVAL;
    tr__guard_headers(request, head);
    request->p.chunked_out = !request->p.http10;
    if (request->p.chunked_out)
        tr_buf_put_str(head, "Transfer-Encoding: chunked\r\n");
    else
        request->p.keep_alive = false;
    put_connection(request, head, (flags & TR_HTTP_CLOSE) != 0);
    tr_buf_put_str(head, "\r\n");
    return become_stream(request, events, ctx);
}

int tr_http_upgrade(tr_http_request *request, const tr_header *headers, size_t header_count,
                    const tr_http_stream_events *events, void *ctx)
{
    assert(request->p.state == TR__REQ_HANDLING);
    tr__http_conn *conn = request->p.conn;
    tr_buf *head = &request->p.head;
    if (tr_http_gone(request))
        return TR_ECLOSED;
    if (!request->p.wants_upgrade || request->p.http10 || request->body.len || conn->first != request ||
        conn->last != request)
        return TR_EINVAL;
    tr_buf_reset(head);
    tr_buf_put_str(head, "HTTP/1.1 101 Switching Protocols\r\n");
    if (!put_headers(head, NULL, headers, header_count))
        return TR_EINVAL;
    tr_buf_put_str(head, "\r\n");
    int code = become_stream(request, events, ctx);
    if (code)
        return code;
    request->p.upgraded = true;
    conn->state = TR__CONN_RAW;
    return 0;
}

int tr_http_stream_write(tr_http_request *stream, tr_view bytes)
{
    assert(stream->p.state == TR__REQ_STREAMING && !stream->p.ended);
    if (tr_http_gone(stream))
        return TR_ECLOSED;
    if (bytes.len == 0 || stream->p.is_head)
        return 0;
    char frame[24];
    size_t frame_len = 0;
    if (stream->p.chunked_out)
        frame_len = (size_t)snprintf(frame, sizeof frame, "%zx\r\n", bytes.len);
    size_t before = stream->out.len;
    tr_buf_put(&stream->out, frame, frame_len);
    tr_buf_put_view(&stream->out, bytes);
    if (stream->p.chunked_out)
        tr_buf_put(&stream->out, "\r\n", 2);
    int code = tr_buf_status(&stream->out);
    if (code) { /* nothing of it was queued */
        stream->out.len = before;
        stream->out.status = 0;
        return code;
    }
    if (!stream->p.conn->batch)
        tr__conn_mark(stream->p.conn);
    return 0;
}

size_t tr_http_stream_pending(const tr_http_request *stream)
{
    return stream->p.head.len + stream->out.len + stream->p.sending.len;
}

void tr_http_stream_read(tr_http_request *stream, bool on)
{
    tr__http_conn *conn = stream->p.conn;
    if (!conn || !stream->p.upgraded)
        return;
    conn->held_back = !on;
    tr__conn_mark(conn);
}

void tr_http_stream_end(tr_http_request *stream)
{
    assert(stream->p.state == TR__REQ_STREAMING && !stream->p.ended);
    tr__http_conn *conn = stream->p.conn;
    leave_handler(stream);
    if (!conn) {
        tr__request_free(stream);
        return;
    }
    stream->p.ended = true;
    if (stream->p.chunked_out && !stream->p.is_head)
        tr_buf_put(&stream->out, "0\r\n\r\n", 5);
    if (tr_buf_status(&stream->out)) { /* no room for the end: cutting the connection tells it is none */
        tr__conn_close(conn);
        return;
    }
    if (stream->p.upgraded)
        conn->close_after = conn->abandoned = true;
    if (!conn->batch)
        tr__conn_mark(conn);
}
