/* SPDX-License-Identifier: MIT */
#include "serving.h"

#include <libdeflate.h>

#include <sys/stat.h>

#define HOST "Host: localhost\r\n"

static void expect(struct serving *s, const char *sent, const char *answer)
{
    tr_buf got = talk(s, sent);
    if (!has(&got, answer))
        fail_msg("sent:\n%s\ngot:\n%s\nwanted: %s", sent, got.ptr, answer);
    tr_buf_done(&got);
}

static void answers_carry_what_was_asked(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    tr_buf got = talk(&s, "POST /a/b?c=d&e HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
    assert_true(has(&got, "HTTP/1.1 200 OK\r\n"));
    assert_true(has(&got, "\r\nContent-Type: text/plain\r\n"));
    assert_true(has(&got, "\r\nDate: "));
    assert_true(has(&got, "\r\nContent-Length: 21\r\n\r\nPOST /a/b?c=d&e hello"));
    tr_buf_done(&got);
    expect(&s, "GET http://localhost/x HTTP/1.1\r\nHost: y\r\n\r\n", "GET /x ");
    expect(&s, "GET http://localhost?q HTTP/1.1\r\nHost: y\r\n\r\n", "GET /?q ");
    expect(&s, "GET /peer HTTP/1.1\r\n" HOST "\r\n", "\r\n\r\n127.0.0.1:");
    expect(&s, "\r\nGET /x HTTP/1.1\r\n" HOST "\r\n", "GET /x ");
    expect(&s, "GET /status/404 HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 404 Not Found\r\n");
    expect(&s, "GET /status/404 HTTP/1.1\r\n" HOST "\r\n", "Content-Length: 6\r\n\r\nstatic");
    got = talk(&s, "HEAD /big/1000 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(has(&got, "Content-Length: 1000\r\n\r\n"));
    assert_int_equal(tr_view_find(tr_buf_view(&got), TR_VIEW("\r\n\r\n"), 0) + 4, got.len);
    tr_buf_done(&got);
    got = talk(&s, "GET /status/204 HTTP/1.1\r\n" HOST "\r\n");
    assert_false(has(&got, "Content-Length"));
    assert_false(has(&got, "static"));
    tr_buf_done(&got);
    serving_stop(&s);
    assert_int_equal(s.stats.requests_total, 9);
}

static void connections_are_kept_as_the_versions_say(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    int fd = dial(s.port);
    for (int i = 0; i < 3; i++) {
        put_text(fd, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
        tr_buf got = take_until(fd, "GET /echo ");
        assert_false(has(&got, "Connection:"));
        tr_buf_done(&got);
    }
    put_text(fd, "GET /echo HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    tr_buf got = take_until(fd, NULL);
    assert_true(has(&got, "Connection: close\r\n"));
    tr_buf_done(&got);
    close(fd);
    fd = dial(s.port);
    put_text(fd, "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    got = take_until(fd, "GET /echo ");
    assert_true(has(&got, "Connection: keep-alive\r\n"));
    tr_buf_done(&got);
    put_text(fd, "GET /echo HTTP/1.0\r\n\r\n");
    got = take_until(fd, NULL);
    assert_true(has(&got, "Connection: close\r\n"));
    tr_buf_done(&got);
    close(fd);
    serving_stop(&s);
}

static void pipelined_answers_keep_their_order(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    tr_buf text;
    tr_buf_init(&text, 1 << 20);
    for (int i = 0; i < 300; i++) /* more than may wait at once; some late, some at once, some streamed */
        tr_buf_printf(&text, "GET /%s/%d?%d HTTP/1.1\r\n" HOST "\r\n",
                      i % 7 == 3 ? "stream"
                      : i % 3    ? "echo"
                                 : "defer",
                      i % 7 == 3 ? 1 : i % 20, i);
    tr_buf got = talk(&s, tr_buf_cstr(&text));
    size_t at = 0;
    for (int i = 0; i < 300; i++) {
        char mark[32];
        (void)snprintf(mark, sizeof mark, "?%d ", i);
        at = tr_view_find(tr_buf_view(&got), i % 7 == 3 ? TR_VIEW("piece 0") : tr_view_str(mark), at);
        if (at == SIZE_MAX)
            fail_msg("answer %d is missing or out of order", i);
    }
    assert_int_equal(count_of(&got, "HTTP/1.1 200 OK"), 300);
    tr_buf_done(&got);
    tr_buf_done(&text);
    serving_stop(&s);
}

static void requests_may_come_in_any_pieces(void **state)
{
    (void)state;
    static const char text[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                               "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                               "2;x=y\r\nde\r\n0001\r\nf\r\n0\r\nTrailer: t\r\n\r\n"
                               "GET /last HTTP/1.1\r\n" HOST "\r\n";
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    for (size_t piece = 1; piece < sizeof text; piece += piece < 8 ? 1 : 13) {
        int fd = dial(s.port);
        for (size_t at = 0; at < sizeof text - 1; at += piece) {
            size_t n = sizeof text - 1 - at < piece ? sizeof text - 1 - at : piece;
            put(fd, text + at, n);
            if (at % 5 == 0)
                usleep(200);
        }
        tr_buf got = take_until(fd, "GET /last ");
        assert_true(has(&got, "POST /echo abc"));
        assert_true(has(&got, "POST /echo def"));
        assert_int_equal(count_of(&got, "HTTP/1.1 200 OK"), 3);
        tr_buf_done(&got);
        close(fd);
    }
    serving_stop(&s);
}

static void malformed_requests_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "400"},
        {"GET / HTTP/1.1\nHost: localhost\n\n", "400"},
        {"GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n" HOST ": chunked\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n" HOST "X: a\x01z\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", "400"},
        {"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", "400"},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", "400"},
        {"FLY / HTTP/1.1\r\n" HOST "\r\n", "400"},
        {"GET / HTTP/3.0\r\n" HOST "\r\n", ""},
        {"CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n", "405"},
        {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", "400"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\na", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\na", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\na", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\na", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\na", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\na", "413"},
        {"POST / HTTP/1.1\r\n" HOST
         "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
         "400"},
        {"POST / HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n",
         "400"},
        {"POST / HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "400"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", ""},
        {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na\r\n0\r\n\r\n",
         "400"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nfffffffff\r\na\r\n0\r\n\r\n", ""},
        {"POST / HTTP/1.1\r\n" HOST "Content-Encoding: br\r\nContent-Length: 1\r\n\r\na", "415"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\na", "400"},
    };
    struct serving s;
    serving_start(&s, (tr_http_options){.body_limit = 1000000});
    for (size_t i = 0; i < TR_COUNT(bad); i++) {
        tr_buf got = talk(&s, bad[i][0]);
        char line[32];
        (void)snprintf(line, sizeof line, "HTTP/1.1 %s", bad[i][1]);
        if ((*bad[i][1] && !has(&got, line)) || has(&got, "200 OK") || count_of(&got, "HTTP/1.1 ") > 1)
            fail_msg("%s\n-- wanted %s, got:\n%s", bad[i][0], bad[i][1], got.ptr);
        if (*bad[i][1])
            assert_true(has(&got, "{\"message\":\""));
        tr_buf_done(&got);
    }
    assert_int_equal(s.requests, 0);
    /* behind a refused request nothing is read: whose bytes they are is not known */
    tr_buf got = talk(&s, "GET /a HTTP/1.1\r\n" HOST
                          "\r\nGET / HTTP/1.1\r\nHost: a\rb\r\n\r\nGET /b HTTP/1.1\r\n" HOST "\r\n");
    assert_true(has(&got, "GET /a "));
    assert_true(has(&got, "400 Bad Request"));
    assert_false(has(&got, "GET /b "));
    tr_buf_done(&got);
    serving_stop(&s);
}

static void limits_are_kept(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){.body_limit = 100000, .max_connections = 3});
    tr_buf text;
    tr_buf_init(&text, 1 << 20);
    for (int size = 60000; size <= 70000; size += 10000) {
        tr_buf_reset(&text);
        tr_buf_put_str(&text, "GET /echo HTTP/1.1\r\n" HOST "X: ");
        for (int i = 0; i < size; i++)
            tr_buf_putc(&text, 'x');
        tr_buf_put_str(&text, "\r\n\r\n");
        expect(&s, tr_buf_cstr(&text), size == 60000 ? " 200 OK" : " 431 Request Header Fields Too Large");
    }
    for (int n = 200; n <= 300; n += 100) {
        tr_buf_reset(&text);
        tr_buf_put_str(&text, "GET /echo HTTP/1.1\r\n" HOST);
        for (int i = 0; i < n; i++)
            tr_buf_put_str(&text, "X: y\r\n");
        tr_buf_put_str(&text, "\r\n");
        expect(&s, tr_buf_cstr(&text), n == 200 ? " 200 OK" : " 431 Request Header Fields Too Large");
    }
    for (int size = 100000; size <= 100001; size++)
        for (int chunked = 0; chunked < 2; chunked++) {
            tr_buf_reset(&text);
            tr_buf_printf(&text,
                          chunked ? "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n%x\r\n"
                                  : "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
                          size);
            for (int i = 0; i < size; i++)
                tr_buf_putc(&text, 'x');
            if (chunked)
                tr_buf_put_str(&text, "\r\n0\r\n\r\n");
            expect(&s, tr_buf_cstr(&text), size == 100000 ? " 200 OK" : " 413 Content Too Large");
        }
    tr_buf_done(&text);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(s.port);
        put_text(fds[i], "GET /echo HTTP/1.1\r\n" HOST "\r\n");
        tr_buf got = take_until(fds[i], "GET /echo ");
        assert_true(has(&got, " 200 OK"));
        tr_buf_done(&got);
    }
    int fd = dial(s.port);
    tr_buf got = take_until(fd, NULL);
    assert_true(has(&got, "503 Service Unavailable"));
    tr_buf_done(&got);
    close(fd);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    serving_stop(&s);
}

static void large_bodies_and_answers_pass(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    int fd = dial(s.port);
    tr_buf body;
    size_t size = 9 << 20;
    tr_buf_init(&body, size + 200);
    tr_buf_printf(&body, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", size);
    size_t head = body.len;
    for (size_t i = 0; i < size; i++)
        tr_buf_putc(&body, (char)('A' + i * 7 % 23));
    put(fd, body.ptr, body.len);
    put_text(fd, "GET /after HTTP/1.1\r\n" HOST "\r\n");
    tr_buf got = take_until(fd, "GET /after ");
    size_t at = tr_view_find(tr_buf_view(&got), TR_VIEW("POST /echo "), 0);
    assert_true(at != SIZE_MAX && got.len > at + 11 + size);
    assert_memory_equal(got.ptr + at + 11, body.ptr + head, size);
    tr_buf_done(&got);
    tr_buf_done(&body);
    close(fd);
    serving_stop(&s);
}

static void clients_may_ask_before_they_send(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){.body_limit = 1000});
    int fd = dial(s.port);
    put_text(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    tr_buf got = take_until(fd, "\r\n\r\n");
    assert_string_equal(got.ptr, "HTTP/1.1 100 Continue\r\n\r\n");
    tr_buf_done(&got);
    put_text(fd, "abc");
    got = take_until(fd, "POST /echo abc");
    assert_true(has(&got, "POST /echo abc"));
    tr_buf_done(&got);
    put_text(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3000\r\nExpect: 100-continue\r\n\r\n");
    got = take_until(fd, NULL);
    assert_false(has(&got, "100 Continue"));
    assert_true(has(&got, " 413 "));
    tr_buf_done(&got);
    close(fd);
    serving_stop(&s);
}

static void bodies_may_be_compressed(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){.body_limit = 300000});
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    for (size_t size = 10; size <= 3000000; size *= 10) {
        char *plain = malloc(size), packed[20000];
        memset(plain, 'z', size);
        size_t n = libdeflate_gzip_compress(c, plain, size, packed, sizeof packed);
        assert_true(n > 0);
        int fd = dial(s.port);
        char head[200];
        (void)snprintf(head, sizeof head,
                       "POST /echo HTTP/1.1\r\n" HOST "Content-Encoding: gzip\r\nConnection: close\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       n);
        put_text(fd, head);
        put(fd, packed, n);
        tr_buf got = take_until(fd, NULL);
        if (size <= 300000) {
            size_t at = tr_view_find(tr_buf_view(&got), TR_VIEW("POST /echo "), 0);
            assert_int_equal(got.len - at - 11, size);
            assert_memory_equal(got.ptr + at + 11, plain, size);
        } else {
            assert_true(has(&got, " 413 "));
        }
        tr_buf_done(&got);
        close(fd);
        free(plain);
    }
    libdeflate_free_compressor(c);
    serving_stop(&s);
}

static void answers_are_compressed_when_asked(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    static const struct {
        const char *accept;
        int size;
        bool packed;
    } cases[] = {{"gzip", 5000, true},       {"deflate, gzip;q=0.5, br", 5000, true},
                 {"*", 5000, true},          {"gzip;q=0", 5000, false},
                 {"identity", 5000, false},  {"gzip", 100, false},
                 {"x-gzip-ish", 5000, false}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "GET /gzip/%d HTTP/1.1\r\n" HOST "Accept-Encoding: %s\r\n\r\n",
                       cases[i].size, cases[i].accept);
        tr_buf got = talk(&s, text);
        assert_int_equal(has(&got, "Content-Encoding: gzip"), cases[i].packed);
        size_t at = tr_view_find(tr_buf_view(&got), TR_VIEW("\r\n\r\n"), 0) + 4;
        char crc[64];
        (void)snprintf(crc, sizeof crc, "x-amz-crc32: %u\r\n",
                       tr_crc32(0, tr_view_of(got.ptr + at, got.len - at)));
        assert_true(has(&got, crc));
        if (cases[i].packed) {
            char plain[8192];
            size_t n = 0;
            struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
            assert_int_equal(
                libdeflate_gzip_decompress(d, got.ptr + at, got.len - at, plain, sizeof plain, &n), 0);
            libdeflate_free_decompressor(d);
            assert_int_equal(n, cases[i].size);
            assert_memory_equal(plain, "abcdefgh", 8);
        }
        tr_buf_done(&got);
    }
    serving_stop(&s);
}

static void headers_cannot_be_injected(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    tr_buf got = talk(&s, "GET /evil HTTP/1.1\r\n" HOST "\r\n");
    assert_true(has(&got, "HTTP/1.1 500 "));
    assert_false(has(&got, "Set-Cookie"));
    assert_int_equal(count_of(&got, "HTTP/1.1"), 1);
    tr_buf_done(&got);
    serving_stop(&s);
}

static void web_pages_of_others_are_kept_out(void **state)
{
    (void)state;
    const char *origins[] = {"https://app.example"}, *hosts[] = {"db.internal"};
    struct serving s;
    serving_start(&s,
                  (tr_http_options){.origins = origins, .origin_count = 1, .hosts = hosts, .host_count = 1});
    static const char *const cases[][2] = {
        {"Host: localhost:8000", "200"},
        {"Host: LOCALHOST", "200"},
        {"Host: a.localhost:1", "200"},
        {"Host: 127.0.0.1:8000", "200"},
        {"Host: 0.0.0.0", "200"},
        {"Host: [::1]:8000", "200"},
        {"Host: 192.168.7.9:80", "200"},
        {"Host: db.internal:80", "200"},
        {"Host: evil.example", "403"},
        {"Host: 127.0.0.1.evil.example", "403"},
        {"Host: localhost.evil.example:8000", "403"},
        {"Host: xlocalhost", "403"},
        {"Host: ", "403"},
        {"Host: localhost:8000\r\nOrigin: http://localhost:8000", "200"},
        {"Host: localhost:8000\r\nOrigin: http://localhost:3000", "403"},
        {"Host: localhost:8000\r\nOrigin: https://evil.example", "403"},
        {"Host: localhost:8000\r\nOrigin: null", "403"},
        {"Host: localhost:8000\r\nOrigin: https://app.example", "200"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char text[300], line[32];
        (void)snprintf(text, sizeof text, "POST /echo HTTP/1.1\r\n%s\r\nContent-Length: 0\r\n\r\n",
                       cases[i][0]);
        (void)snprintf(line, sizeof line, "HTTP/1.1 %s", cases[i][1]);
        expect(&s, text, line);
    }
    tr_buf got = talk(
        &s, "OPTIONS /x HTTP/1.1\r\n" HOST "Origin: https://app.example\r\n"
            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-amz-target\r\n\r\n");
    assert_true(has(&got, "HTTP/1.1 204 "));
    assert_true(has(&got, "Access-Control-Allow-Origin: https://app.example\r\n"));
    assert_true(has(&got, "Access-Control-Allow-Headers: x-amz-target\r\n"));
    tr_buf_done(&got);
    got = talk(&s, "GET /echo HTTP/1.1\r\n" HOST "Origin: https://app.example\r\n\r\n");
    assert_true(has(&got, "Access-Control-Allow-Origin: https://app.example\r\n"));
    tr_buf_done(&got);
    serving_stop(&s);
}

static void streams_are_chunked(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    tr_buf got = talk(&s, "GET /flood/0 HTTP/1.1\r\n" HOST "\r\nGET /echo HTTP/1.1\r\n" HOST "\r\n");
    assert_true(has(&got, "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK"));
    tr_buf_done(&got);
    int fd = dial(s.port);
    put_text(fd, "GET /stream/2 HTTP/1.1\r\n" HOST "\r\n");
    got = take_until(fd, "piece 1\n\r\n0\r\n\r\n");
    assert_true(has(&got, "\r\n\r\n8\r\npiece 0\n\r\n8\r\npiece 1\n\r\n"));
    tr_buf_done(&got);
    close(fd);
    fd = dial(s.port);
    put_text(fd, "GET /flood/8 HTTP/1.0\r\n\r\n");
    got = take_until(fd, NULL);
    size_t at = tr_view_find(tr_buf_view(&got), TR_VIEW("\r\n\r\n"), 0) + 4;
    assert_int_equal(got.len - at, 8 << 20);
    tr_buf_done(&got);
    close(fd);
    serving_stop(&s);
}

static void streams_wait_for_slow_readers(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){.write_timeout_ms = 300});
    int fd = dial(s.port), small = 4096;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    put_text(fd, "GET /flood/64 HTTP/1.1\r\n" HOST "\r\n");
    wait_for_count(&s.gone, 1); /* it is let go in the end */
    int drained = s.drains;
    assert_in_range(drained, 1, 300); /* of 1024: it did not pile up 64 MiB for one who does not read */
    close(fd);
    serving_stop(&s);
}

static void handlers_learn_that_the_peer_left(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    for (int i = 0; i < 3; i++) {
        int fd = dial(s.port);
        put_text(fd,
                 i == 1 ? "GET /flood/1000 HTTP/1.1\r\n" HOST "\r\n" : "GET /never HTTP/1.1\r\n" HOST "\r\n");
        wait_for_count(&s.requests, i + 1);
        if (i == 2) { /* a reset instead of an end */
            struct linger l = {1, 0};
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
        }
        close(fd);
        wait_for_count(&s.gone, i + 1);
    }
    /* answered after its peer has gone: nothing happens */
    int fd = dial(s.port);
    put_text(fd, "GET /defer/100 HTTP/1.1\r\n" HOST "\r\nGET /defer/50 HTTP/1.1\r\n" HOST "\r\n");
    wait_for_count(&s.requests, 5);
    struct linger l = {1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    close(fd);
    /* half requests of all kinds */
    static const char *const halves[] = {
        "G", "GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nab",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\na"};
    for (size_t i = 0; i < TR_COUNT(halves); i++) {
        tr_buf got = talk(&s, halves[i]);
        assert_int_equal(got.len, 0);
        tr_buf_done(&got);
    }
    tr_buf got = talk(&s, "GET /whole HTTP/1.1\r\n" HOST "\r\nGET /half HT");
    assert_true(has(&got, "GET /whole "));
    tr_buf_done(&got);
    serving_stop(&s);
}

static void slow_senders_are_timed_out(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){.header_timeout_ms = 80});
    int fd = dial(s.port); /* says nothing */
    assert_true(is_closed(fd));
    close(fd);
    serving_stop(&s);
    serving_start(&s, (tr_http_options){.header_timeout_ms = 1000}); /* longer than we may need to begin */
    fd = dial(s.port);                                               /* a byte now and then does not help */
    put_text(fd, "GET /e HTTP/1.1\r\n");
    for (int i = 0; i < 120; i++) {
        put_text(fd, "X");
        usleep(10000);
    }
    tr_buf got = take_until(fd, NULL);
    assert_true(has(&got, " 408 Request Timeout"));
    tr_buf_done(&got);
    close(fd);
    serving_stop(&s);
    serving_start(&s, (tr_http_options){.body_timeout_ms = 80, .idle_timeout_ms = 80});
    fd = dial(s.port);
    put_text(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\na");
    got = take_until(fd, NULL);
    assert_true(has(&got, " 408 Request Timeout"));
    tr_buf_done(&got);
    close(fd);
    fd = dial(s.port);
    put_text(fd, "GET /defer/200 HTTP/1.1\r\n" HOST "\r\n"); /* the handler's time is its own */
    got = take_until(fd, "GET /defer/200 ");
    assert_true(has(&got, " 200 OK"));
    tr_buf_done(&got);
    assert_true(is_closed(fd)); /* idle */
    close(fd);
    serving_stop(&s);
}

static void connections_can_be_taken_over(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    int fd = dial(s.port);
    put_text(fd, "GET /upgrade HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: shout\r\n\r\nhello");
    tr_buf got = take_until(fd, "HELLO");
    assert_true(
        has(&got, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\nHELLO"));
    tr_buf_done(&got);
    put_text(fd, "GET / HTTP/1.1\r\n\r\n");
    got = take_until(fd, "\r\n\r\n");
    assert_string_equal(got.ptr, "GET / HTTP/1");
    tr_buf_done(&got);
    close(fd);
    expect(&s, "GET /upgrade HTTP/1.1\r\n" HOST "\r\n", " 400 ");
    /* others speak of an upgrade that we do not know; they are served all the same */
    expect(&s,
           "GET /echo HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
           "GET /two HTTP/1.1\r\n" HOST "\r\n",
           "GET /two ");
    serving_stop(&s);
}

static void unix_sockets_are_private(void **state)
{
    (void)state;
    char dir[] = "/tmp/tailrace-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/s", dir);
    for (int round = 0; round < 2; round++) {
        struct serving s;
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
        if (round == 1) { /* one that was left behind */
            int left = socket(AF_UNIX, SOCK_STREAM, 0);
            assert_int_equal(bind(left, (struct sockaddr *)&a, sizeof a), 0);
            close(left);
        }
        serving_start(&s, (tr_http_options){.unix_path = path});
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        tr_http_server *second;
        tr_error err;
        tr_http_options options = {.unix_path = path};
        uv_loop_t loop;
        uv_loop_init(&loop);
        assert_int_equal(tr_http_server_new(&loop, &options, serve, NULL, &second, &err), TR_EBUSY);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
        put_text(fd, "GET /peer HTTP/1.1\r\nHost: anything\r\n\r\n");
        tr_buf got = take_until(fd, "unix");
        assert_true(has(&got, "\r\n\r\nunix"));
        tr_buf_done(&got);
        close(fd);
        serving_stop(&s);
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void addresses_that_are_none_are_named(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",       "8000",        ":8000",   "localhost",        "127.0.0.1:70000",
        "::1:80", "127.0.0.1:x", "[::1:80", "256.256.256.256:1"};
    for (size_t i = 0; i < TR_COUNT(bad); i++) {
        uv_loop_t loop;
        uv_loop_init(&loop);
        tr_http_server *server;
        tr_error err = {0};
        const char *const listen[] = {"127.0.0.1:0", bad[i]};
        tr_http_options options = {.listen = listen, .listen_count = 2};
        assert_int_equal(tr_http_server_new(&loop, &options, serve, NULL, &server, &err), TR_EINVAL);
        assert_non_null(strstr(err.message, bad[i]));
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
}

static void closing_finishes_what_is_under_way(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    int idle = dial(s.port), busy = dial(s.port);
    put_text(busy, "GET /defer/100 HTTP/1.1\r\n" HOST "\r\n");
    wait_for_count(&s.requests, 1);
    s.grace_ms = ANSWER_MS;
    serving_stop(&s);
    assert_true(is_closed(idle));
    tr_buf got = take_until(busy, NULL);
    assert_true(has(&got, "GET /defer/100 "));
    assert_true(has(&got, "Connection: close\r\n"));
    tr_buf_done(&got);
    close(idle);
    close(busy);
    /* what does not end is cut off, such as a stream whose reader does not read */
    serving_start(&s, (tr_http_options){0});
    s.grace_ms = 50;
    busy = dial(s.port);
    int stream = dial(s.port);
    put_text(busy, "GET /never HTTP/1.1\r\n" HOST "\r\n");
    put_text(stream, "GET /flood/1000 HTTP/1.1\r\n" HOST "\r\n");
    wait_for_count(&s.requests, 2);
    serving_stop(&s);
    assert_int_equal(s.gone, 2);
    assert_true(is_closed(busy));
    close(busy);
    close(stream);
}

static void reading_can_be_stopped_for_a_while(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    int fd = dial(s.port);
    put_text(fd, "GET /upgrade HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: shout\r\n\r\n");
    tr_buf got = take_until(fd, "\r\n\r\n");
    tr_buf_done(&got);
    int64_t begin = tr_clock_mono_ms();
    put_text(fd, "a!");
    got = take_until(fd, "!");
    assert_string_equal(got.ptr, "A!");
    tr_buf_done(&got);
    put_text(fd, "b.");
    got = take_until(fd, NULL);
    assert_string_equal(got.ptr, "B");
    tr_buf_done(&got);
    assert_in_range(tr_clock_mono_ms() - begin, 95, ANSWER_MS);
    close(fd);
    serving_stop(&s);
}

static void streams_are_not_begun_for_nobody(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    int fd = dial(s.port);
    put_text(fd, "GET /late/1 HTTP/1.1\r\n" HOST "\r\n");
    tr_buf got = take_until(fd, "0\r\n\r\n");
    assert_true(has(&got, "Transfer-Encoding: chunked"));
    tr_buf_done(&got);
    close(fd);
    fd = dial(s.port);
    put_text(fd, "GET /late/50 HTTP/1.1\r\n" HOST "\r\n");
    wait_for_count(&s.requests, 2);
    close(fd);
    wait_for_count(&s.gone, 1);
    serving_stop(&s);
}

static void a_handler_may_close_the_server(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){0});
    tr_buf got = talk(&s, "GET /stop HTTP/1.1\r\n" HOST "\r\nGET /next HTTP/1.1\r\n" HOST "\r\n");
    assert_true(has(&got, "GET /stop "));
    tr_buf_done(&got);
    serving_stop(&s);
}

static void bodies_share_a_limit(void **state)
{
    (void)state;
    struct serving s;
    serving_start(&s, (tr_http_options){.memory_limit = 100000});
    int fds[3];
    char part[30000];
    memset(part, 'x', sizeof part);
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(s.port);
        put_text(fds[i], "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 40000\r\n\r\n");
        put(fds[i], part, sizeof part);
    }
    usleep(50000);
    put(fds[0], part, 10000); /* all three have 30,000 */
    tr_buf got = take_until(fds[0], "POST /echo ");
    assert_true(has(&got, " 200 OK"));
    tr_buf_done(&got);
    put(fds[1], part, 10000);
    got = take_until(fds[1], "POST /echo ");
    assert_true(has(&got, " 200 OK"));
    tr_buf_done(&got);
    int fd = dial(s.port);
    put_text(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 90000\r\n\r\n");
    for (int i = 0; i < 3; i++)
        put(fd, part, sizeof part);
    got = take_until(fd, NULL);
    assert_true(has(&got, " 503 Service Unavailable"));
    tr_buf_done(&got);
    close(fd);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    serving_stop(&s);
}

static void version_six_is_listened_on_too(void **state)
{
    (void)state;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool there = fd >= 0 && bind(fd, (struct sockaddr *)&six, sizeof six) == 0;
    close(fd);
    if (!there)
        skip(); /* a machine without IPv6 */
    struct serving s;
    const char *listen[] = {"[::1]:0"};
    serving_start(&s, (tr_http_options){.listen = listen, .listen_count = 1});
    assert_int_not_equal(tr_http_server_port(s.server, 0), tr_http_server_port(s.server, 1));
    assert_int_equal(tr_http_server_port(s.server, 2), 0);
    fd = socket(AF_INET6, SOCK_STREAM, 0);
    six.sin6_port = htons((uint16_t)s.port);
    assert_int_equal(connect(fd, (struct sockaddr *)&six, sizeof six), 0);
    put_text(fd, "GET /peer HTTP/1.1\r\nHost: [::1]:1\r\n\r\n");
    tr_buf got = take_until(fd, "[::1]:");
    assert_true(has(&got, "\r\n\r\n[::1]:"));
    tr_buf_done(&got);
    close(fd);
    serving_stop(&s);
}

static void queries_are_decoded(void **state)
{
    (void)state;
    tr_http_request r = {.query = TR_VIEW("a=1&b=x%20y+z&%63=%C3%A9&d&e=%4&f=%zz")};
    tr_arena_init(&r.arena, 10000);
    tr_view v;
    assert_int_equal(tr_http_query_param(&r, "b", &v), 0);
    assert_view(v, "x y z");
    assert_int_equal(tr_http_query_param(&r, "c", &v), 0);
    assert_view(v, "\xc3\xa9");
    assert_int_equal(tr_http_query_param(&r, "d", &v), 0);
    assert_view(v, "");
    assert_int_equal(tr_http_query_param(&r, "e", &v), TR_EPARSE);
    assert_int_equal(tr_http_query_param(&r, "f", &v), TR_EPARSE);
    assert_int_equal(tr_http_query_param(&r, "g", &v), TR_ENOTFOUND);
    tr_arena_done(&r.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_carry_what_was_asked),
        cmocka_unit_test(connections_are_kept_as_the_versions_say),
        cmocka_unit_test(pipelined_answers_keep_their_order),
        cmocka_unit_test(requests_may_come_in_any_pieces),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(large_bodies_and_answers_pass),
        cmocka_unit_test(clients_may_ask_before_they_send),
        cmocka_unit_test(bodies_may_be_compressed),
        cmocka_unit_test(answers_are_compressed_when_asked),
        cmocka_unit_test(headers_cannot_be_injected),
        cmocka_unit_test(web_pages_of_others_are_kept_out),
        cmocka_unit_test(streams_are_chunked),
        cmocka_unit_test(streams_wait_for_slow_readers),
        cmocka_unit_test(handlers_learn_that_the_peer_left),
        cmocka_unit_test(slow_senders_are_timed_out),
        cmocka_unit_test(connections_can_be_taken_over),
        cmocka_unit_test(unix_sockets_are_private),
        cmocka_unit_test(addresses_that_are_none_are_named),
        cmocka_unit_test(closing_finishes_what_is_under_way),
        cmocka_unit_test(reading_can_be_stopped_for_a_while),
        cmocka_unit_test(streams_are_not_begun_for_nobody),
        cmocka_unit_test(a_handler_may_close_the_server),
        cmocka_unit_test(bodies_share_a_limit),
        cmocka_unit_test(version_six_is_listened_on_too),
        cmocka_unit_test(queries_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
