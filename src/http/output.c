/* SPDX-License-Identifier: MIT */
#include "server.h"

/* What one write takes: buffers of the requests at the front of the list. */
struct batch {
    uv_buf_t bufs[TR__HTTP_STREAM_JOIN];
    unsigned count;
    size_t bytes;
    size_t requests; /* counted from the front; of the last maybe only what its stream has so far */
};

static void add(struct batch *batch, tr_view bytes)
{
    if (bytes.len == 0)
        return;
    batch->bufs[batch->count++] = uv_buf_init((char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len);
    batch->bytes += bytes.len;
}

/* Adds what a request has to send; false if those behind it must wait. */
static bool add_request(struct batch *batch, tr_http_request *request)
{
    struct tr_http_request_private *p = &request->p;
    switch (p->state) {
    case TR__REQ_ANSWERED:
        add(batch, tr_buf_view(&p->head));
        if (!p->is_head)
            add(batch, p->fixed.ptr ? p->fixed : tr_buf_view(&request->out));
        batch->requests++;
        return true;
    case TR__REQ_STREAMING: {
        if (p->head.len == 0 && request->out.len == 0 && !p->ended)
            return false;
        tr_buf full = request->out; /* what is queued leaves; what is written meanwhile is queued behind it */
        request->out = p->sending;
        p->sending = full;
        add(batch, tr_buf_view(&p->head));
        add(batch, tr_buf_view(&p->sending));
        batch->requests++;
        return p->ended;
    }
    case TR__REQ_READING:
        if (p->wants_continue && batch->count < TR__HTTP_STREAM_JOIN) {
            p->wants_continue = false;
            add(batch, TR_VIEW("HTTP/1.1 100 Continue\r\n\r\n"));
        }
        return false;
    default:
        return false;
    }
}

static void collect(const tr__http_conn *conn, struct batch *batch)
{
    batch->count = 0;
    batch->bytes = batch->requests = 0;
    for (tr_http_request *request = conn->first; request; request = request->p.next)
        if (batch->count + 2 > TR__HTTP_STREAM_JOIN || !add_request(batch, request))
            break;
}

/* The first n requests were sent, as far as they had something. */
static void sent(tr__http_conn *conn, size_t n)
{
    while (n-- && conn->first && !conn->closing) {
        tr_http_request *request = conn->first;
        if (request->p.state == TR__REQ_STREAMING) {
            tr_buf_reset(&request->p.head);
            tr_buf_reset(&request->p.sending);
            if (request->p.ended && request->out.len)
                return; /* ended while the write was under way */
            if (!request->p.ended) {
                if (request->out.len == 0 && !request->p.gone && request->p.events->on_drain)
                    request->p.events->on_drain(request->p.events_ctx, request);
                return;
            }
        }
        conn->first = request->p.next;
        if (!conn->first)
            conn->last = NULL;
        conn->waiting--;
        tr__request_free(request);
    }
}

static void on_written(uv_write_t *write, int status)
{
    tr__http_conn *conn = write->data;
    if (conn->closing)
        return;
    if (status < 0) {
        tr__conn_close(conn);
        return;
    }
    size_t n = conn->writing;
    conn->writing = 0;
    conn->write_deadline = 0;
    conn->batch = true;
    sent(conn, n);
    if (!conn->closing)
        tr__conn_flush(conn);
}

/* The kernel took only `taken` bytes: the rest waits until it takes more. */
static void write_later(tr__http_conn *conn, struct batch *batch, size_t taken)
{
    unsigned i = 0;
    while (taken >= batch->bufs[i].len)
        taken -= batch->bufs[i++].len;
    batch->bufs[i].base += taken;
    batch->bufs[i].len -= taken;
    conn->write.data = conn;
    if (uv_write(&conn->write, &conn->u.stream, batch->bufs + i, batch->count - i, on_written)) {
        tr__conn_close(conn);
        return;
    }
    conn->writing = batch->requests;
    conn->unsent = uv_stream_get_write_queue_size(&conn->u.stream);
    conn->write_deadline = (int64_t)uv_now(conn->server->loop) + conn->server->options.write_timeout_ms;
}

static void send_all(tr__http_conn *conn)
{
    struct batch batch;
    while (!conn->closing && !conn->writing) {
        collect(conn, &batch);
        if (batch.count == 0 && batch.requests == 0)
            return;
        int taken = batch.count ? uv_try_write(&conn->u.stream, batch.bufs, batch.count) : 0;
        if (taken < 0 && taken != UV_EAGAIN) {
            tr__conn_close(conn);
            return;
        }
        if (taken < 0)
            taken = 0;
        conn->server->stats.bytes_out += batch.bytes;
        if ((size_t)taken < batch.bytes) {
            write_later(conn, &batch, (size_t)taken);
            return;
        }
        sent(conn, batch.requests);
        if (conn->first && conn->first->p.state == TR__REQ_STREAMING && !conn->first->p.ended) {
            /* what on_drain wrote leaves in the loop's next turn, so that one fast reader cannot hold up the
             * loop */
            if (conn->first->out.len)
                tr__conn_mark(conn);
            return;
        }
    }
}

void tr__conn_flush(tr__http_conn *conn)
{
    conn->batch = true;
    do
        send_all(conn);
    while (!conn->closing && !conn->writing && tr__conn_resume(conn));
    conn->batch = false;
    tr__conn_settle(conn);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* only keeps the loop from waiting */
}

void tr__conn_mark(tr__http_conn *conn)
{
    tr_http_server *server = conn->server;
    if (conn->dirty_at || conn->closing)
        return;
    conn->dirty_next = server->dirty;
    conn->dirty_at = &server->dirty;
    if (server->dirty)
        server->dirty->dirty_at = &conn->dirty_next;
    server->dirty = conn;
}

void tr__conn_unmark(tr__http_conn *conn)
{
    if (!conn->dirty_at)
        return;
    *conn->dirty_at = conn->dirty_next;
    if (conn->dirty_next)
        conn->dirty_next->dirty_at = conn->dirty_at;
    conn->dirty_at = NULL;
}

void tr__server_flush_marked(tr_http_server *server)
{
    tr__http_conn *list = server->dirty, *conn;
    server->dirty = NULL; /* those that get marked meanwhile wait for the next turn */
    if (list)
        list->dirty_at = &list;
    while ((conn = list) != NULL) {
        tr__conn_unmark(conn);
        tr__conn_flush(conn);
    }
    if (server->dirty)
        (void)uv_idle_start(&server->idle, on_idle);
    else
        (void)uv_idle_stop(&server->idle);
}
