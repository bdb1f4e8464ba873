/* SPDX-License-Identifier: MIT */
/**
 * A server on a thread of its own, and a raw socket to talk to it byte by byte.
 *
 *   /echo            METHOD path?query, then the body
 *   /defer/N         the same text after N ms
 *   /big/N           N bytes
 *   /gzip/N          N bytes, compressible, with TR_HTTP_GZIP and TR_HTTP_CRC32
 *   /status/N        answers with that status
 *   /never           no answer until the peer is gone (counted)
 *   /stream/N        N pieces "piece I\n", then the end
 *   /flood/N         a stream of N MiB, as fast as the peer takes it
 *   /upgrade         101, then echoes in upper case until '.' comes; '!' stops reading for 100 ms
 *   /late/N          begins a stream after N ms; if it cannot, counts that as gone
 *   /peer            who asks
 *   /stop            closes the server from within the handler
 *   /evil            tries to put a header with a line break
 */
#ifndef TAILRACE_TEST_SERVING_H
#define TAILRACE_TEST_SERVING_H

#include "../test.h"

#include <tailrace/http.h>

#include <uv.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 120000 /* for what must come; tests do not depend on speed */

struct serving {
    uv_loop_t loop;
    uv_async_t stop;
    pthread_t thread;
    tr_http_server *server;
    unsigned port;
    tr_http_stats stats; /* after serving_stop */
    atomic_int gone, requests, drains, done;
    int64_t grace_ms;
    atomic_bool stopped; /* by its handler */
};

struct deferred {
    uv_timer_t timer;
    tr_http_request *request;
};

static inline void free_timer(uv_handle_t *handle)
{
    free(handle->data);
}

static inline void answer_echo(tr_http_request *request)
{
    tr_buf_put_view(&request->out, request->method);
    tr_buf_putc(&request->out, ' ');
    tr_buf_put_view(&request->out, request->path);
    if (request->query.ptr) {
        tr_buf_putc(&request->out, '?');
        tr_buf_put_view(&request->out, request->query);
    }
    tr_buf_putc(&request->out, ' ');
    tr_buf_put_view(&request->out, request->body);
    tr_http_respond(request, 200, "text/plain", NULL, 0, 0);
}

static inline void on_deferred(uv_timer_t *timer)
{
    struct deferred *d = timer->data;
    answer_echo(d->request);
    uv_close((uv_handle_t *)timer, free_timer);
}

static inline void count_gone(tr_http_request *request)
{
    struct serving *s = request->user;
    s->gone++;
    tr_http_respond(request, 200, NULL, NULL, 0, 0);
}

static inline void stream_closed(void *ctx, tr_http_request *stream)
{
    ((struct serving *)ctx)->gone++;
    assert_int_equal(tr_http_stream_write(stream, TR_VIEW("x")), TR_ECLOSED);
    tr_http_stream_end(stream);
}

static inline void flood(void *ctx, tr_http_request *stream)
{
    static char block[65536];
    struct serving *s = ctx;
    s->drains++;
    size_t left = (size_t)(uintptr_t)stream->user;
    if (left == 0) {
        tr_http_stream_end(stream);
        return;
    }
    stream->user = (void *)(uintptr_t)(left - 1);
    memset(block, 'f', sizeof block);
    assert_int_equal(tr_http_stream_write(stream, tr_view_of(block, sizeof block)), 0);
}

static inline void read_again(uv_timer_t *timer)
{
    struct deferred *d = timer->data;
    tr_http_stream_read(d->request, true);
    uv_close((uv_handle_t *)timer, free_timer);
}

static inline void after(struct serving *s, tr_http_request *request, unsigned long ms, uv_timer_cb fn)
{
    struct deferred *d = malloc(sizeof *d);
    d->request = request;
    uv_timer_init(&s->loop, &d->timer);
    d->timer.data = d;
    uv_timer_start(&d->timer, fn, ms, 0);
}

static inline void shout(void *ctx, tr_http_request *stream, tr_view bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i] == '!') {
            tr_http_stream_read(stream, false);
            after(ctx, stream, 100, read_again);
        }
        char c = bytes.ptr[i];
        if (c == '.') {
            tr_http_stream_end(stream);
            return;
        }
        c = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
        assert_int_equal(tr_http_stream_write(stream, tr_view_of(&c, 1)), 0);
    }
}

static const tr_http_stream_events flood_events = {.on_drain = flood, .on_close = stream_closed};
static const tr_http_stream_events shout_events = {.on_data = shout, .on_close = stream_closed};

static inline void serve_stream(struct serving *s, tr_http_request *request, unsigned long n)
{
    assert_int_equal(tr_http_stream_begin(request, 200, "text/event-stream", NULL, 0, 0, &flood_events, s),
                     0);
    request->user = 0;
    for (unsigned long i = 0; i < n; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "piece %lu\n", i);
        assert_int_equal(tr_http_stream_write(request, tr_view_of(text, (size_t)len)), 0);
    }
}

static inline void on_late(uv_timer_t *timer)
{
    struct deferred *d = timer->data;
    struct serving *s = d->request->user;
    if (tr_http_stream_begin(d->request, 200, NULL, NULL, 0, 0, &flood_events, s)) {
        s->gone++;
        tr_http_respond(d->request, 200, NULL, NULL, 0, 0);
    } else {
        d->request->user = NULL;
        tr_http_stream_end(d->request);
    }
    uv_close((uv_handle_t *)timer, free_timer);
}

static inline void serving_on_stop(uv_async_t *async);

static inline void serve(void *ctx, tr_http_request *request)
{
    struct serving *s = ctx;
    s->requests++;
    char path[64] = "";
    memcpy(path, request->path.ptr, request->path.len < 63 ? request->path.len : 63);
    const char *slash = strrchr(path, '/');
    unsigned long n = slash ? strtoul(slash + 1, NULL, 10) : 0;
    if (strncmp(path, "/defer/", 7) == 0) {
        after(s, request, n, on_deferred);
    } else if (strncmp(path, "/late/", 6) == 0) {
        request->user = s;
        after(s, request, n, on_late);
    } else if (strcmp(path, "/peer") == 0) {
        char peer[TR_HTTP_PEER_MAX];
        tr_http_peer(request, peer);
        tr_http_respond_bytes(request, 200, NULL, tr_view_str(peer));
    } else if (strcmp(path, "/stop") == 0) {
        answer_echo(request);
        serving_on_stop(&s->stop);
    } else if (strncmp(path, "/big/", 5) == 0 || strncmp(path, "/gzip/", 6) == 0) {
        for (unsigned long i = 0; i < n; i++)
            tr_buf_putc(&request->out, (char)('a' + i % 26));
        tr_http_respond(request, 200, "text/plain", NULL, 0,
                        path[1] == 'g' ? TR_HTTP_GZIP | TR_HTTP_CRC32 : 0);
    } else if (strncmp(path, "/status/", 8) == 0) {
        tr_http_respond_static(request, (int)n, "text/plain", NULL, 0, 0, TR_VIEW("static"));
    } else if (strcmp(path, "/never") == 0) {
        request->user = s;
        request->on_gone = count_gone;
    } else if (strncmp(path, "/stream/", 8) == 0) {
        serve_stream(s, request, n);
    } else if (strncmp(path, "/flood/", 7) == 0) {
        assert_int_equal(tr_http_stream_begin(request, 200, NULL, NULL, 0, 0, &flood_events, s), 0);
        request->user = (void *)(uintptr_t)(n * 16);
        flood(s, request);
    } else if (strcmp(path, "/upgrade") == 0) {
        tr_header headers[] = {{TR_VIEW("Upgrade"), TR_VIEW("shout")},
                               {TR_VIEW("Connection"), TR_VIEW("Upgrade")}};
        if (tr_http_upgrade(request, headers, 2, &shout_events, s))
            tr_http_respond(request, 400, NULL, NULL, 0, 0);
    } else if (strcmp(path, "/evil") == 0) {
        tr_header header = {TR_VIEW("x"), TR_VIEW("a\r\nSet-Cookie: b")};
        tr_http_respond(request, 200, NULL, &header, 1, 0);
    } else {
        answer_echo(request);
    }
}

static inline void serving_done(void *ctx)
{
    ((struct serving *)ctx)->done++;
}

static inline void serving_on_stop(uv_async_t *async)
{
    struct serving *s = async->data;
    s->stopped = true;
    tr_http_server_stats(s->server, &s->stats);
    tr_http_server_close(s->server, s->grace_ms, serving_done, s);
    uv_close((uv_handle_t *)async, NULL);
}

static inline void *serving_run(void *arg)
{
    struct serving *s = arg;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

/** Listens on a free port of 127.0.0.1 (and first of `listen`, if given), with the options given beside that.
 */
static inline void serving_start_with(struct serving *s, tr_http_options options, tr_http_handler_fn *handler)
{
    memset(s, 0, sizeof *s);
    s->grace_ms = 5000;
    assert_int_equal(uv_loop_init(&s->loop), 0);
    const char *listen[2] = {options.listen ? options.listen[0] : "127.0.0.1:0", "127.0.0.1:0"};
    options.listen = listen;
    options.listen_count = options.listen_count ? 2 : 1;
    tr_error err = {0};
    int code = tr_http_server_new(&s->loop, &options, handler, s, &s->server, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, 0);
    s->port = tr_http_server_port(s->server, 0);
    s->stop.data = s;
    assert_int_equal(uv_async_init(&s->loop, &s->stop, serving_on_stop), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serving_run, s), 0);
}

static inline void serving_start(struct serving *s, tr_http_options options)
{
    serving_start_with(s, options, serve);
}

static inline void serving_stop(struct serving *s)
{
    if (!s->stopped)
        uv_async_send(&s->stop);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    assert_int_equal(s->done, 1);
    assert_int_equal(uv_loop_close(&s->loop), 0); /* nothing of the server is left */
}

/* ------------------------------------------------------------------------------------------- raw sockets */

static inline int dial(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static inline void put(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server may have hung up on us: the test will see it in what comes back */
        at += n;
        len -= (size_t)n;
    }
}

static inline void put_text(int fd, const char *text)
{
    put(fd, text, strlen(text));
}

/** Reads until the peer closes, or `enough` was seen, or ANSWER_MS passed. NUL-terminated, free with
 * tr_buf_done.
 */
static inline tr_buf take_until(int fd, const char *enough)
{
    tr_buf got;
    tr_buf_init(&got, 256 << 20);
    char block[65536];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, ANSWER_MS) <= 0)
            break;
        ssize_t n = recv(fd, block, sizeof block, 0);
        if (n <= 0)
            break;
        tr_buf_put(&got, block, (size_t)n);
        if (enough && tr_view_find(tr_buf_view(&got), tr_view_str(enough), 0) != SIZE_MAX)
            break;
    }
    assert_non_null(tr_buf_cstr(&got));
    return got;
}

/** Whether the peer closes, sending nothing more. */
static inline bool is_closed(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c;
    return poll(&p, 1, ANSWER_MS) == 1 && recv(fd, &c, 1, 0) <= 0;
}

/** Sends a text on a new connection, half-closes, and gives all that came back. */
static inline tr_buf talk(struct serving *s, const char *text)
{
    int fd = dial(s->port);
    put_text(fd, text);
    shutdown(fd, SHUT_WR);
    tr_buf got = take_until(fd, NULL);
    close(fd);
    return got;
}

static inline bool has(const tr_buf *buf, const char *text)
{
    return tr_view_find(tr_buf_view(buf), tr_view_str(text), 0) != SIZE_MAX;
}

static inline size_t count_of(const tr_buf *buf, const char *text)
{
    size_t n = 0;
    for (size_t at = 0; (at = tr_view_find(tr_buf_view(buf), tr_view_str(text), at)) != SIZE_MAX; at++)
        n++;
    return n;
}

/** Waits until a counter of the server's thread gets there. */
static inline void wait_for_count(atomic_int *counter, int wanted)
{
    for (int i = 0; i < ANSWER_MS && *counter < wanted; i++)
        usleep(1000);
    assert_int_equal(*counter, wanted);
}

#endif
