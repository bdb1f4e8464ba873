/* SPDX-License-Identifier: MIT */
/** Every allocation of server and client fails once: nothing may crash, leak or hang, and both work on
 * afterwards. */
#include "serving.h"

#include <tailrace/http_client.h>
#include <tailrace/sigv4.h>

#include <errno.h>
#include <libdeflate.h>

static long allowed = -1; /* allocations until the next fails; later ones succeed again. -1: none fails */
static long live;         /* blocks not freed yet */

static void *failing_realloc(void *ptr, size_t size)
{
    if (allowed >= 0 && allowed-- == 0)
        return NULL;
    void *got = realloc(ptr, size);
    if (got && !ptr)
        live++;
    return got;
}

static void counting_free(void *ptr)
{
    live--;
    free(ptr);
}

/* ------------------------------------------------------------------------------------------------- the
 * server */

static tr_http_request *waiting;

static void handle(void *ctx, tr_http_request *request)
{
    static const tr_http_stream_events events = {.on_close = NULL};
    (void)ctx;
    tr_view value;
    (void)tr_http_query_param(request, "q", &value);
    (void)tr_arena_alloc(&request->arena, 10000);
    if (tr_view_is(request->path, "/wait")) {
        waiting = request;
    } else if (tr_view_is(request->path, "/stream") &&
               tr_http_stream_begin(request, 200, NULL, NULL, 0, 0, &events, NULL) == 0) {
        for (int i = 0; i < 100; i++)
            (void)tr_http_stream_write(request, TR_VIEW("0123456789012345678901234567890123456789"));
        tr_http_stream_end(request);
    } else {
        for (int i = 0; i < 100; i++)
            tr_buf_put_view(&request->out, TR_VIEW("0123456789012345678901234567890123456789"));
        tr_http_respond(request, 200, "text/plain", NULL, 0, TR_HTTP_GZIP | TR_HTTP_CRC32);
    }
}

static void turn(uv_loop_t *loop, int times)
{
    for (int i = 0; i < times; i++)
        (void)uv_run(loop, UV_RUN_NOWAIT);
}

/* Whether the server has hung up. */
static bool drain(int fd, tr_buf *got)
{
    char block[65536];
    ssize_t n;
    while ((n = recv(fd, block, sizeof block, MSG_DONTWAIT)) > 0)
        tr_buf_put(got, block, (size_t)n);
    return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

/* All kinds of requests on one connection, in pieces. */
static void converse(uv_loop_t *loop, unsigned port, const char *text, size_t len, size_t answers,
                     bool may_fail, tr_buf *got)
{
    int fd = dial(port);
    for (size_t at = 0; at < len; at += 3000) {
        (void)send(fd, text + at, len - at < 3000 ? len - at : 3000, MSG_NOSIGNAL);
        turn(loop, 3);
        (void)drain(fd, got);
    }
    /* what lacked memory may never come; else it comes when the machine lets it */
    for (int i = 0; i < (may_fail && allowed < 0 ? 60 : ANSWER_MS); i++) {
        turn(loop, 4);
        if (waiting) {
            tr_http_request *request = waiting;
            waiting = NULL;
            tr_buf_put_str(&request->out, "waited");
            tr_http_respond(request, 200, NULL, NULL, 0, 0);
        }
        if (drain(fd, got) || count_of(got, "HTTP/1.1 ") >= answers)
            break;
        usleep(i < 5 ? 0 : 1000); /* where memory lacked, the server comes back to it in a moment */
    }
    close(fd);
    turn(loop, 4);
}

static tr_buf make_conversation(void)
{
    static const char plain[8000] = {0};
    char packed[1000];
    tr_buf text;
    tr_buf_init(&text, 1 << 20);
    tr_buf_put_str(
        &text,
        "GET /a?q=%20x HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n"
        "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
        "POST /b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        "POST /c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000\r\n\r\n");
    for (int i = 0; i < 40000; i++)
        tr_buf_putc(&text, 'x');
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    size_t n = libdeflate_gzip_compress(c, plain, sizeof plain, packed, sizeof packed);
    libdeflate_free_compressor(c);
    tr_buf_printf(
        &text, "POST /d HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
        n);
    tr_buf_put(&text, packed, n);
    tr_buf_put_str(
        &text, "GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\nGET /last HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return text;
}

static int start_server(uv_loop_t *loop, tr_http_server **server)
{
    const char *listen[] = {"127.0.0.1:0"};
    tr_header extra = {TR_VIEW("X-Extra"), TR_VIEW("y")};
    tr_http_options options = {.listen = listen,
                               .listen_count = 1,
                               .hosts = listen,
                               .host_count = 1,
                               .headers = &extra,
                               .header_count = 1};
    return tr_http_server_new(loop, &options, handle, NULL, server, NULL);
}

static void the_server_survives_each_failure(void **state)
{
    (void)state;
    tr_buf text = make_conversation();
    bool whole = false;
    for (long n = 0; !whole && n < 2000; n++) {
        uv_loop_t loop;
        tr_http_server *server;
        tr_buf got;
        assert_int_equal(uv_loop_init(&loop), 0);
        tr_buf_init(&got, 1 << 20);
        long before = live;
        allowed = n;
        int code = start_server(&loop, &server);
        if (code == 0) {
            unsigned port = tr_http_server_port(server, 0);
            converse(&loop, port, text.ptr, text.len, 7, true, &got);
            whole = allowed >= 0; /* so many are not needed: none failed */
            allowed = -1;
            if (whole)
                assert_int_equal(count_of(&got, "HTTP/1.1 200 OK"), 7);
            tr_buf_reset(&got);
            static const char last[] = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
            converse(&loop, port, last, sizeof last - 1, 1, false, &got);
            assert_true(has(&got, "HTTP/1.1 200 OK")); /* it serves on */
            tr_http_server_close(server, 0, NULL, NULL);
        } else {
            assert_int_equal(code, TR_ENOMEM);
        }
        allowed = -1;
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
        tr_buf_done(&got);
        assert_int_equal(live, before);
    }
    assert_true(whole);
    tr_buf_done(&text);
}

/* ------------------------------------------------------------------------------------------------- the
 * client */

struct outcome {
    int done, code;
};

static void on_reply(void *ctx, int code, const tr_http_reply *reply, const tr_error *err)
{
    struct outcome *o = ctx;
    (void)reply;
    (void)err;
    o->done++;
    o->code = code;
}

static bool on_bytes(void *ctx, tr_view bytes)
{
    (void)ctx;
    (void)bytes;
    return true;
}

static int try_client(uv_loop_t *loop, const char *url, int64_t timeout_ms)
{
    tr_http_client *client;
    tr_header headers[] = {{TR_VIEW("X-A"), TR_VIEW("b")}, {TR_VIEW("X-Empty"), TR_VIEW("")}};
    struct outcome o[3] = {0};
    int good = 0;
    if (tr_http_client_new(loop, &(tr_http_client_options){0}, &client, NULL))
        return 0;
    for (int i = 0; i < 3; i++) {
        tr_http_call call = {.method = "POST",
                             .url = url,
                             .headers = headers,
                             .header_count = 2,
                             .body = TR_VIEW("body"),
                             .timeout_ms = timeout_ms,
                             .on_bytes = i == 2 ? on_bytes : NULL};
        bool sent = tr_http_client_send(client, &call, on_reply, &o[i], NULL) == 0;
        for (int k = 0; k < 1000000 && sent && !o[i].done; k++)
            (void)uv_run(loop, UV_RUN_ONCE);
        assert_int_equal(o[i].done, sent);
        good += sent && o[i].code == 0;
    }
    tr_http_client_free(client);
    return good;
}

static void the_client_survives_each_failure(void **state)
{
    (void)state;
    bool whole = false;
    for (long n = 0; !whole && n < 2000; n++) {
        uv_loop_t loop;
        tr_http_server *server;
        char url[100];
        assert_int_equal(uv_loop_init(&loop), 0);
        long before = live;
        assert_int_equal(start_server(&loop, &server), 0);
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/a?q=1", tr_http_server_port(server, 0));
        allowed = n;
        int good = try_client(&loop, url, 500); /* a socket that could not be watched is noticed by this */
        whole = allowed >= 0 && good == 3;      /* if none failed, time was up: once more */
        allowed = -1;
        assert_int_equal(try_client(&loop, url, ANSWER_MS), 3);
        tr_http_server_close(server, 0, NULL, NULL);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
        assert_int_equal(live, before);
    }
    assert_true(whole);
}

static void signing_survives_each_failure(void **state)
{
    (void)state;
    bool whole = false;
    for (long n = 0; !whole; n++) {
        long before = live;
        tr_sigv4 *signer;
        tr_buf out;
        char date[TR_SIGV4_DATE_LEN + 1];
        tr_header headers[] = {{TR_VIEW("Host"), TR_VIEW("h")}, {TR_VIEW("X"), TR_VIEW("a  b")}};
        tr_sigv4_request request = {TR_VIEW("GET"), TR_VIEW("/a"), TR_VIEW("b=c&a=d"), headers, 2,
                                    TR_VIEW("body")};
        tr_sigv4_credentials credentials = {TR_VIEW("A"), TR_VIEW("S"), TR_VIEW("T")};
        tr_buf_init(&out, 1000);
        allowed = n;
        int code = tr_sigv4_new(&signer);
        if (code == 0) {
            code = tr_sigv4_sign(signer, &credentials, TR_VIEW("r"), TR_VIEW("s"), 0, &request, date, &out);
            whole = allowed >= 0;
            assert_int_equal(code, whole ? 0 : TR_ENOMEM);
            tr_sigv4_free(signer);
        }
        allowed = -1;
        tr_buf_done(&out);
        assert_int_equal(live, before);
    }
}

int main(void)
{
    tr_set_allocator(failing_realloc, counting_free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_survives_each_failure),
        cmocka_unit_test(the_client_survives_each_failure),
        cmocka_unit_test(signing_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
