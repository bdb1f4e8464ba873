/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 1024

/* --------------------------------------------------------------------------------------------------- date */

void tr__server_date(tr_http_server *server)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == server->date_s)
        return;
    struct tm t;
    (void)gmtime_r(&now.tv_sec, &t);
    (void)snprintf(server->date, sizeof server->date, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                   days + 3 * t.tm_wday, t.tm_mday, months + 3 * t.tm_mon, (t.tm_year + 1900) % 10000,
                   t.tm_hour, t.tm_min, t.tm_sec);
    tr_buf_reset(&server->ok_head);
    tr_buf_printf(&server->ok_head, "HTTP/1.1 200 OK\r\nDate: %s\r\n", server->date);
    tr_buf_put_view(&server->ok_head, tr_buf_view(&server->extra));
    server->date_s = tr_buf_status(&server->ok_head) ? -1 : now.tv_sec;
}

/* ----------------------------------------------------------------------------------------------- listening
 */

/* Splits "HOST:PORT", "[V6]:PORT" into NUL-terminated parts. */
static int split_address(const char *address, char *host, size_t host_size, char *port, size_t port_size)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address)
        return TR_EINVAL;
    const char *begin = address, *end = colon;
    if (*begin == '[') {
        if (end[-1] != ']')
            return TR_EINVAL;
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin))) {
        return TR_EINVAL; /* an IPv6 address without its brackets */
    }
    uint64_t number;
    if (begin == end || (size_t)(end - begin) >= host_size || strlen(colon + 1) >= port_size ||
        tr_view_to_u64(tr_view_str(colon + 1), 65535, &number))
        return TR_EINVAL;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = 0;
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    tr_http_server *server = listener->server;
    server->handles--;
    tr__server_conn_closed(server);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *listener = stream->data;
    tr_http_server *server = listener->server;
    if (status < 0)
        tr_log(&server->options.logger, TR_LOG_WARN, "http: a connection could not be accepted: %s",
               uv_strerror(status));
    else if (!server->closing)
        tr__conn_accept(server, listener);
}

static int listen_error(int code, const char *address, tr_error *err)
{
    const char *text = uv_strerror(code);
    if (code == UV_EADDRINUSE)
        return tr_fail(err, TR_EBUSY, "cannot listen on %s: the address is in use", address);
    if (code == UV_ENOMEM)
        return tr_fail(err, TR_ENOMEM, "cannot listen on %s: %s", address, text);
    return tr_fail(err, TR_EIO, "cannot listen on %s: %s", address, text);
}

static int listen_tcp(tr_http_server *server, const char *address, tr_error *err)
{
    char host[256], port[8];
    if (split_address(address, host, sizeof host, port, sizeof port))
        return tr_fail(err, TR_EINVAL,
                       "\"%s\" is not an address to listen on; write HOST:PORT, as 127.0.0.1:8000 or "
                       "[::1]:8000",
                       address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE},
                    *found = NULL;
    if (strcmp(host, "localhost") == 0)
        hints.ai_family = AF_INET; /* the one that everybody tries */
    int code = getaddrinfo(host, port, &hints, &found);
    if (code)
        return tr_fail(err, TR_EINVAL, "cannot listen on %s: %s", address, gai_strerror(code));
    struct listener *listener = &server->listeners[server->listener_count];
    listener->server = server;
    code = uv_tcp_init(server->loop, &listener->u.tcp);
    if (code == 0) {
        server->listener_count++;
        server->handles++;
        listener->u.handle.data = listener;
        code = uv_tcp_bind(&listener->u.tcp, found->ai_addr, 0);
    }
    freeaddrinfo(found);
    if (code == 0)
        code = uv_listen(&listener->u.stream, BACKLOG, on_connection);
    struct sockaddr_storage name;
    int name_len = sizeof name;
    if (code == 0)
        code = uv_tcp_getsockname(&listener->u.tcp, (struct sockaddr *)&name, &name_len);
    if (code)
        return listen_error(code, address, err);
    listener->port = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                                      : ((struct sockaddr_in *)&name)->sin_port);
    return 0;
}

/* A socket file that nobody listens on stays behind when a process is killed. */
static void remove_stale(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) && errno == ECONNREFUSED)
        (void)unlink(address->sun_path);
    (void)close(fd);
}

static int bind_unix(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    remove_stale(&address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* on Linux the file gets the mode that the socket has when it is bound: no moment in which others may
     * connect */
    if (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&address, sizeof address)) {
        int code = -errno;
        (void)close(fd);
        return code;
    }
    *ret_fd = fd;
    return 0;
}

static int listen_unix(tr_http_server *server, const char *path, tr_error *err)
{
    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return tr_fail(err, TR_EINVAL, "the path of a Unix socket has at most 107 bytes, this has %zu: %s",
                       strlen(path), path);
    int fd = -1;
    int code = bind_unix(path, &fd);
    if (code)
        return listen_error(code, path, err);
    struct stat st;
    server->unix_path = tr_strdup(path);
    if (server->unix_path && stat(path, &st) == 0) {
        server->unix_dev = st.st_dev;
        server->unix_ino = st.st_ino;
    }
    struct listener *listener = &server->listeners[server->listener_count];
    listener->server = server;
    listener->is_unix = true;
    code = server->unix_path ? uv_pipe_init(server->loop, &listener->u.pipe, 0) : UV_ENOMEM;
    if (code) {
        (void)close(fd);
        return listen_error(code, path, err);
    }
    server->listener_count++;
    server->handles++;
    listener->u.handle.data = listener;
    code = uv_pipe_open(&listener->u.pipe, fd);
    if (code)
        (void)close(fd);
    else
        code = uv_listen(&listener->u.stream, BACKLOG, on_connection);
    return code ? listen_error(code, path, err) : 0;
}

static void remove_unix(tr_http_server *server)
{
    struct stat st;
    if (server->unix_path && stat(server->unix_path, &st) == 0 && st.st_dev == server->unix_dev &&
        st.st_ino == server->unix_ino)
        (void)unlink(server->unix_path);
}

/* ------------------------------------------------------------------------------------------------- closing
 */

static void destroy(tr_http_server *server)
{
    for (tr_http_request *request = server->live; request; request = request->p.live_next)
        request->p.server = NULL; /* still with the handler, which will end it */
    server->closing = true;
    while (server->pool) {
        tr_http_request *request = server->pool;
        server->pool = request->p.next;
        request->p.server = NULL;
        tr__request_free(request);
    }
    for (size_t i = 0; i < server->host_count; i++)
        tr_free((char *)(uintptr_t)server->hosts[i].ptr);
    for (size_t i = 0; i < server->origin_count; i++)
        tr_free((char *)(uintptr_t)server->origins[i].ptr);
    tr_free(server->hosts);
    tr_free(server->origins);
    tr_buf_done(&server->extra);
    tr_buf_done(&server->ok_head);
    tr_free(server->listeners);
    tr_free(server->unix_path);
    tr_free(server->read_buf);
    if (server->compressor)
        libdeflate_free_compressor(server->compressor);
    if (server->decompressor)
        libdeflate_free_decompressor(server->decompressor);
    tr_free(server);
}

static void on_own_closed(uv_handle_t *handle)
{
    tr_http_server *server = handle->data;
    if (--server->handles)
        return;
    void (*done)(void *) = server->done;
    void *ctx = server->done_ctx;
    destroy(server);
    if (done)
        done(ctx);
}

/* When the last connection and listener is closed, the server's own handles follow. */
static void finish_closing(tr_http_server *server)
{
    if (uv_is_closing((uv_handle_t *)&server->sweep))
        return;
    server->handles += 3;
    uv_close((uv_handle_t *)&server->sweep, on_own_closed);
    uv_close((uv_handle_t *)&server->prepare, on_own_closed);
    uv_close((uv_handle_t *)&server->idle, on_own_closed);
}

void tr__server_conn_opened(tr_http_server *server)
{
    server->stats.connections++;
    server->stats.connections_total++;
}

static void on_sweep(uv_timer_t *timer);

void tr__server_conn_closed(tr_http_server *server)
{
    if (server->closing && server->handles == 0 && server->stats.connections == 0)
        finish_closing(server);
}

static void close_listeners(tr_http_server *server)
{
    remove_unix(server);
    for (size_t i = 0; i < server->listener_count; i++)
        uv_close(&server->listeners[i].u.handle, on_listener_closed);
}

void tr_http_server_close(tr_http_server *server, int64_t grace_ms, void (*done)(void *ctx), void *ctx)
{
    bool first = !server->closing;
    int64_t deadline = (int64_t)uv_now(server->loop) + (grace_ms > 0 ? grace_ms : 0);
    server->closing = true;
    server->done = done;
    server->done_ctx = ctx;
    if (first || deadline < server->close_deadline)
        server->close_deadline = deadline;
    if (first) {
        close_listeners(server);
        if (server->listener_count == 0)
            tr__server_conn_closed(server);
    }
    for (tr__http_conn *conn = server->conns, *next; conn; conn = next) {
        next = conn->next;
        tr__conn_wind_down(conn);
    }
    int64_t every = grace_ms < 4 * server->sweep_every_ms ? grace_ms / 4 + 1 : server->sweep_every_ms;
    (void)uv_timer_start(&server->sweep, on_sweep, 0, (uint64_t)every);
}

#define RETRY_MS 20

void tr__server_retry_soon(tr_http_server *server)
{
    (void)uv_timer_start(&server->sweep, on_sweep, RETRY_MS, (uint64_t)server->sweep_every_ms);
}

static void on_sweep(uv_timer_t *timer)
{
    tr_http_server *server = timer->data;
    int64_t now = (int64_t)uv_now(server->loop);
    for (size_t i = 0; i < server->listener_count && !server->closing; i++)
        if (server->listeners[i].stalled)
            tr__conn_accept(server, &server->listeners[i]);
    bool cut = server->closing && now >= server->close_deadline;
    for (tr__http_conn *conn = server->conns, *next; conn; conn = next) {
        next = conn->next;
        if (cut)
            tr__conn_close(conn);
        else
            tr__conn_check_deadline(conn, now);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    tr__server_flush_marked(prepare->data);
}

/* ------------------------------------------------------------------------------------------------- opening
 */

static void default_size(size_t *value, size_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void default_ms(int64_t *value, int64_t otherwise)
{
    if (*value <= 0)
        *value = otherwise;
}

static void set_defaults(tr_http_server *server)
{
    tr_http_options *o = &server->options;
    default_size(&o->body_limit, (size_t)32 << 20);
    default_size(&o->out_limit, (size_t)64 << 20);
    default_size(&o->arena_limit, (size_t)128 << 20);
    default_size(&o->memory_limit, (size_t)512 << 20);
    default_size(&o->max_connections, 10000);
    default_size(&o->gzip_min, 1400);
    default_ms(&o->header_timeout_ms, 15000);
    default_ms(&o->body_timeout_ms, 30000);
    default_ms(&o->idle_timeout_ms, 120000);
    default_ms(&o->write_timeout_ms, 30000);
    int64_t times[] = {o->header_timeout_ms, o->body_timeout_ms, o->idle_timeout_ms, o->write_timeout_ms};
    int64_t least = 4000;
    for (size_t i = 0; i < TR_COUNT(times); i++)
        if (times[i] < least)
            least = times[i];
    server->sweep_every_ms = least < 40 ? 10 : least / 4;
}

static tr_view copy_text(tr_view text)
{
    char *copy = tr_malloc(text.len + 1);
    if (copy) {
        memcpy(copy, text.ptr, text.len);
        copy[text.len] = 0;
    }
    return tr_view_of(copy, copy ? text.len : 0);
}

/* The host of an address to listen on is allowed as Host header. */
static tr_view host_of(const char *address)
{
    tr_view v = tr_view_str(address);
    const char *colon = strrchr(address, ':');
    return colon ? tr_view_of(v.ptr, (size_t)(colon - address)) : v;
}

static int copy_lists(tr_http_server *server, const tr_http_options *options)
{
    server->hosts = tr_calloc(options->host_count + options->listen_count + 1, sizeof *server->hosts);
    server->origins = tr_calloc(options->origin_count + 1, sizeof *server->origins);
    if (!server->hosts || !server->origins)
        return TR_ENOMEM;
    for (size_t i = 0; i < options->host_count + options->listen_count; i++) {
        const char *text = i < options->host_count ? options->hosts[i] : NULL;
        server->any_host |= text && strcmp(text, "*") == 0;
        tr_view copy =
            copy_text(text ? tr_view_str(text) : host_of(options->listen[i - options->host_count]));
        if (!copy.ptr)
            return TR_ENOMEM;
        server->hosts[server->host_count++] = copy;
    }
    for (size_t i = 0; i < options->origin_count; i++) {
        server->any_origin |= strcmp(options->origins[i], "*") == 0;
        tr_view copy = copy_text(tr_view_str(options->origins[i]));
        if (!copy.ptr)
            return TR_ENOMEM;
        server->origins[server->origin_count++] = copy;
    }
    for (size_t i = 0; i < options->header_count; i++) {
        tr_buf_put_view(&server->extra, options->headers[i].name);
        tr_buf_put_str(&server->extra, ": ");
        tr_buf_put_view(&server->extra, options->headers[i].value);
        tr_buf_put_str(&server->extra, "\r\n");
    }
    return tr_buf_status(&server->extra);
}

static int listen_all(tr_http_server *server, const tr_http_options *options, tr_error *err)
{
    server->listeners = tr_calloc(options->listen_count + 1, sizeof *server->listeners);
    if (!server->listeners)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    for (size_t i = 0; i < options->listen_count; i++) {
        int code = listen_tcp(server, options->listen[i], err);
        if (code)
            return code;
    }
    return options->unix_path ? listen_unix(server, options->unix_path, err) : 0;
}

static int init_handles(tr_http_server *server)
{
    int code = uv_timer_init(server->loop, &server->sweep);
    if (code == 0)
        code = uv_prepare_init(server->loop, &server->prepare);
    if (code == 0)
        code = uv_idle_init(server->loop, &server->idle);
    assert(code == 0); /* these cannot fail in libuv 1 */
    server->sweep.data = server->prepare.data = server->idle.data = server;
    code = uv_prepare_start(&server->prepare, on_prepare);
    if (code == 0)
        code = uv_timer_start(&server->sweep, on_sweep, (uint64_t)server->sweep_every_ms,
                              (uint64_t)server->sweep_every_ms);
    uv_unref((uv_handle_t *)&server->sweep);
    uv_unref((uv_handle_t *)&server->prepare);
    uv_unref((uv_handle_t *)&server->idle);
    return code;
}

/* Writing to a socket whose peer is gone raises SIGPIPE, which ends the process unless somebody has seen to
 * it. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
        now.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &now, NULL);
    }
}

int tr_http_server_new(uv_loop_t *loop, const tr_http_options *options, tr_http_handler_fn *handler,
                       void *ctx, tr_http_server **ret_server, tr_error *err)
{
    assert(loop && handler);
    ignore_sigpipe();
    tr_http_server *server = tr_calloc(1, sizeof *server);
    if (!server)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    server->loop = loop;
    server->handler = handler;
    server->ctx = ctx;
    server->options = *options;
    server->date_s = -1;
    set_defaults(server);
    tr_buf_init(&server->extra, TR_HTTP_HEAD_MAX / 2);
    tr_buf_init(&server->ok_head, TR_HTTP_HEAD_MAX);
    server->read_buf = tr_malloc(TR__HTTP_READ_SIZE);
    int code = server->read_buf ? copy_lists(server, options) : TR_ENOMEM;
    if (code) {
        destroy(server);
        return tr_fail(err, code, "cannot make the HTTP server: %s", tr_strerror(code));
    }
    (void)init_handles(server);
    code = listen_all(server, options, err);
    if (code) {
        tr_http_server_close(server, 0, NULL, NULL); /* the loop frees it in its next turn */
        return code;
    }
    *ret_server = server;
    return 0;
}

unsigned tr_http_server_port(const tr_http_server *server, size_t index)
{
    return index < server->listener_count ? server->listeners[index].port : 0;
}

void tr_http_server_stats(const tr_http_server *server, tr_http_stats *ret_stats)
{
    *ret_stats = server->stats;
}

/* --------------------------------------------------------------------------------------------------- peers
 */

void tr_http_peer(const tr_http_request *request, char *out)
{
    out[0] = 0;
    const tr__http_conn *conn = request->p.conn;
    if (!conn)
        return;
    struct sockaddr_storage name;
    int len = sizeof name;
    char host[46];
    if (conn->is_unix) {
        (void)snprintf(out, TR_HTTP_PEER_MAX, "unix");
    } else if (uv_tcp_getpeername(&conn->u.tcp, (struct sockaddr *)&name, &len) == 0) {
        bool six = name.ss_family == AF_INET6;
        const struct sockaddr_in *in4 = (struct sockaddr_in *)&name;
        const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&name;
        if ((six ? uv_ip6_name(in6, host, sizeof host) : uv_ip4_name(in4, host, sizeof host)) == 0)
            (void)snprintf(out, TR_HTTP_PEER_MAX, six ? "[%s]:%u" : "%s:%u", host,
                           ntohs(six ? in6->sin6_port : in4->sin_port));
    }
}
