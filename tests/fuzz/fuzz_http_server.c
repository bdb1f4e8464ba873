/* SPDX-License-Identifier: MIT */
/**
 * The HTTP server on any bytes, in any pieces, over a real connection: it neither crashes nor hangs nor
 * leaks, answers at most as often as there may be requests, and what it hands to its handler keeps the
 * header's promises. The first byte of the input says how large the pieces are; an answer is deferred where
 * the body begins with 'd'.
 */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <tailrace/http.h>

#include <uv.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uv_loop_t loop;
static tr_http_server *server;
static char path[64];
static tr_http_request *deferred;

static void answer(tr_http_request *request)
{
    tr_buf_put_view(&request->out, request->body);
    tr_http_respond(request, 200, "text/plain", NULL, 0, TR_HTTP_GZIP | TR_HTTP_CRC32);
}

static void handle(void *ctx, tr_http_request *request)
{
    (void)ctx;
    assert(request->method.len > 0 && request->path.len > 0);
    assert(request->path.ptr[0] == '/' || tr_view_is(request->path, "*"));
    for (size_t i = 0; i < request->header_count; i++) {
        tr_view name = request->headers[i].name, value = request->headers[i].value;
        assert(name.len > 0);
        for (size_t k = 0; k < name.len; k++)
            assert((unsigned char)name.ptr[k] > ' ' && name.ptr[k] != ':' &&
                   !(name.ptr[k] >= 'A' && name.ptr[k] <= 'Z'));
        for (size_t k = 0; k < value.len; k++)
            assert(value.ptr[k] != '\r' && value.ptr[k] != '\n' && value.ptr[k] != 0);
    }
    tr_view length = tr_http_header(request, "content-length");
    uint64_t said;
    if (length.ptr && !tr_http_header(request, "content-encoding").ptr)
        assert(tr_view_to_u64(length, UINT64_MAX, &said) == 0 && said == request->body.len);
    tr_view value;
    (void)tr_http_query_param(request, "a", &value);
    if (request->body.len && request->body.ptr[0] == 'd' && !deferred)
        deferred = request;
    else
        answer(request);
}

static void start(void)
{
    tr_error err;
    (void)snprintf(path, sizeof path, "/tmp/tailrace-fuzz-%ld", (long)getpid());
    tr_http_options options = {.unix_path = path, .body_limit = 100000};
    if (uv_loop_init(&loop) || tr_http_server_new(&loop, &options, handle, NULL, &server, &err))
        abort();
}

static void turn(void)
{
    for (int i = 0; i < 3; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void drain(int fd)
{
    char sink[65536];
    while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0) {
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!server)
        start();
    if (size < 1)
        return 0;
    size_t piece = data[0] ? data[0] : 100000;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, sizeof path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        abort();
    for (size_t at = 1; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        if (send(fd, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        turn();
        drain(fd);
    }
    if (deferred) {
        tr_http_request *request = deferred;
        deferred = NULL;
        answer(request);
    }
    turn();
    (void)close(fd);
    tr_http_stats stats;
    for (int i = 0;; i++) {
        turn();
        if (deferred) {
            tr_http_request *request = deferred;
            deferred = NULL;
            answer(request);
        }
        tr_http_server_stats(server, &stats);
        if (stats.connections == 0)
            break;
        if (i > 1000)
            abort(); /* the peer is gone, the connection is not */
    }
    assert(stats.requests == 0);
    return 0;
}
