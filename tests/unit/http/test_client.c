/* SPDX-License-Identifier: MIT */
#include "serving.h"

#include "http/loop.h"

#include <tailrace/http_client.h>

/* A client on a loop thread, and what its last request gave. */
struct asking {
    tr__loop *loop;
    tr_http_client *client;
    tr_http_client_options options;
};

struct outcome {
    struct asking *asking;
    const tr_http_call *call;
    atomic_int done;
    int code, sent;
    int status;
    uint64_t id;
    tr_buf body, headers, pieces;
    tr_error err;
    size_t stop_after;
    struct outcome *cancel; /* in the reply */
    struct outcome *more;   /* three to be sent in between */
};

static void init_client(void *ctx)
{
    struct asking *a = ctx;
    assert_int_equal(tr_http_client_new(tr__loop_uv(a->loop), &a->options, &a->client, NULL), 0);
}

static void free_client(void *ctx)
{
    tr_http_client_free(((struct asking *)ctx)->client);
}

static void asking_start(struct asking *a, tr_http_client_options options)
{
    memset(a, 0, sizeof *a);
    a->options = options;
    assert_int_equal(tr__loop_new(&a->loop, NULL), 0);
    tr__loop_call(a->loop, init_client, a);
    assert_int_equal(tr__loop_at_stop(a->loop, free_client, a), 0);
}

static void on_reply(void *ctx, int code, const tr_http_reply *reply, const tr_error *err)
{
    struct outcome *o = ctx;
    o->code = code;
    if (reply) {
        assert_null(err);
        o->status = reply->status;
        tr_buf_put_view(&o->body, reply->body);
        for (size_t i = 0; i < reply->header_count; i++) {
            tr_buf_put_view(&o->headers, reply->headers[i].name);
            tr_buf_putc(&o->headers, '=');
            tr_buf_put_view(&o->headers, reply->headers[i].value);
            tr_buf_putc(&o->headers, ';');
        }
        assert_view(tr_http_reply_header(reply, "no-such"), "");
    } else {
        assert_non_null(err);
        o->err = *err;
        assert_int_equal(err->code, code);
    }
    if (o->cancel)
        tr_http_client_cancel(o->asking->client, o->cancel->id);
    o->done++;
}

static bool on_piece(void *ctx, tr_view bytes)
{
    struct outcome *o = ctx;
    tr_buf_put_view(&o->pieces, bytes);
    return o->stop_after == 0 || o->pieces.len < o->stop_after;
}

static void outcome_init(struct outcome *o, struct asking *a, const tr_http_call *call)
{
    memset(o, 0, sizeof *o);
    o->asking = a;
    o->call = call;
    tr_buf_init(&o->body, 256 << 20);
    tr_buf_init(&o->headers, 100000);
    tr_buf_init(&o->pieces, 256 << 20);
}

static void outcome_done(struct outcome *o)
{
    tr_buf_done(&o->body);
    tr_buf_done(&o->headers);
    tr_buf_done(&o->pieces);
}

static void send_it(void *ctx)
{
    struct outcome *o = ctx;
    o->sent = tr_http_client_send(o->asking->client, o->call, on_reply, o, &o->id);
    assert_int_equal(o->done, 0); /* never within the call */
}

static void begin(struct asking *a, struct outcome *o, const tr_http_call *call)
{
    outcome_init(o, a, call);
    tr__loop_call(a->loop, send_it, o);
    assert_int_equal(o->sent, 0);
}

static void ask(struct asking *a, struct outcome *o, const tr_http_call *call)
{
    begin(a, o, call);
    wait_for_count(&o->done, 1);
}

static void url_of(const struct serving *s, const char *path, char *out)
{
    (void)snprintf(out, 200, "http://127.0.0.1:%u%s", s->port, path);
}

static void requests_are_sent_as_asked(void **state)
{
    (void)state;
    struct serving s;
    struct asking a;
    struct outcome o;
    char url[200];
    serving_start(&s, (tr_http_options){0});
    asking_start(&a, (tr_http_client_options){0});
    static const char *const methods[] = {"POST", "GET", "PUT", "GET", "DELETE", "POST", "PATCH"};
    for (size_t i = 0; i < TR_COUNT(methods); i++) {
        tr_header headers[] = {{TR_VIEW("X-Empty"), TR_VIEW("")}, {TR_VIEW("X-A"), TR_VIEW("b")}};
        tr_http_call call = {
            .method = methods[i], .url = url, .headers = headers, .header_count = 2, .timeout_ms = 5000};
        if (i != 1)
            call.body = TR_VIEW("the body");
        url_of(&s, "/echo?x=%20", url);
        ask(&a, &o, &call);
        assert_int_equal(o.code, 0);
        assert_int_equal(o.status, 200);
        char wanted[100];
        (void)snprintf(wanted, sizeof wanted, "%s /echo?x=%%20 %s", methods[i], i != 1 ? "the body" : "");
        assert_view(tr_buf_view(&o.body), wanted);
        assert_true(has(&o.headers, "Content-Type=text/plain;"));
        outcome_done(&o);
    }
    url_of(&s, "/status/503", url);
    ask(&a, &o, &(tr_http_call){.method = "GET", .url = url});
    assert_int_equal(o.code, 0);
    assert_int_equal(o.status, 503);
    outcome_done(&o);
    url_of(&s, "/big/5", url);
    ask(&a, &o, &(tr_http_call){.method = "HEAD", .url = url});
    assert_int_equal(o.code, 0);
    assert_int_equal(o.body.len, 0);
    assert_true(has(&o.headers, "Content-Length=5;"));
    outcome_done(&o);
    tr__loop_free(a.loop);
    serving_stop(&s);
    assert_int_equal(s.stats.connections_total, 1); /* one connection for all */
}

static void many_at_once_share_the_connections(void **state)
{
    (void)state;
    enum { N = 300 };
    struct serving s;
    struct asking a;
    static struct outcome o[N];
    static char urls[N][200];
    static tr_http_call calls[N];
    serving_start(&s, (tr_http_options){0});
    asking_start(&a, (tr_http_client_options){.max_connections = 7});
    for (int i = 0; i < N; i++) {
        char path[50];
        (void)snprintf(path, sizeof path, "/%s/%d?%d", i % 3 ? "echo" : "defer", i % 10, i);
        url_of(&s, path, urls[i]);
        calls[i] = (tr_http_call){.method = "GET", .url = urls[i], .timeout_ms = 20000};
        begin(&a, &o[i], &calls[i]);
    }
    for (int i = 0; i < N; i++) {
        wait_for_count(&o[i].done, 1);
        char mark[20];
        (void)snprintf(mark, sizeof mark, "?%d ", i);
        assert_int_equal(o[i].code, 0);
        assert_true(has(&o[i].body, mark));
        outcome_done(&o[i]);
    }
    tr__loop_free(a.loop);
    serving_stop(&s);
    assert_in_range(s.stats.connections_total, 1, 7);
}

static void failures_are_told_apart(void **state)
{
    (void)state;
    struct serving s;
    struct asking a;
    struct outcome o;
    char url[200];
    serving_start(&s, (tr_http_options){0});
    asking_start(&a, (tr_http_client_options){.body_limit = 1000});
    url_of(&s, "/defer/2000", url);
    ask(&a, &o, &(tr_http_call){.method = "GET", .url = url, .timeout_ms = 50});
    assert_int_equal(o.code, TR_ETIMEOUT);
    outcome_done(&o);
    url_of(&s, "/big/1000", url);
    ask(&a, &o, &(tr_http_call){.method = "GET", .url = url});
    assert_int_equal(o.code, 0);
    outcome_done(&o);
    url_of(&s, "/big/1001", url);
    ask(&a, &o, &(tr_http_call){.method = "GET", .url = url});
    assert_int_equal(o.code, TR_ELIMIT);
    assert_string_equal(o.err.message, "the answer is too large");
    outcome_done(&o);
    tr_http_call ftp = {.method = "GET", .url = "ftp://127.0.0.1/"};
    outcome_init(&o, &a, &ftp);
    tr__loop_call(a.loop, send_it, &o);
    assert_int_equal(o.sent, TR_EINVAL);
    outcome_done(&o);
    ask(&a, &o, &(tr_http_call){.method = "GET", .url = "http://localhost/", .unix_path = "/nowhere/s"});
    assert_int_equal(o.code, TR_ECONNECT);
    outcome_done(&o);
    tr_header bad = {TR_VIEW("X"), TR_VIEW("a\r\nY: b")};
    tr_http_call call = {.method = "GET", .url = url, .headers = &bad, .header_count = 1};
    outcome_init(&o, &a, &call);
    tr__loop_call(a.loop, send_it, &o);
    assert_int_equal(o.sent, TR_EINVAL);
    outcome_done(&o);
    tr__loop_free(a.loop);
    unsigned port = s.port;
    serving_stop(&s);
    asking_start(&a, (tr_http_client_options){0});
    s.port = port;
    url_of(&s, "/", url);
    ask(&a, &o, &(tr_http_call){.method = "GET", .url = url});
    assert_int_equal(o.code, TR_ECONNECT);
    outcome_done(&o);
    tr__loop_free(a.loop);
}

/* A server that answers each connection with the same bytes and hangs up. */
struct fake {
    pthread_t thread;
    int fd;
    unsigned port;
    const char *bytes;
    size_t len;
    int connections;
};

static void *fake_run(void *arg)
{
    struct fake *f = arg;
    for (int i = 0; i < f->connections; i++) {
        int fd = accept(f->fd, NULL, NULL);
        tr_buf got = take_until(fd, "\r\n\r\n");
        tr_buf_done(&got);
        put(fd, f->bytes, f->len);
        close(fd);
    }
    return NULL;
}

static void fake_start(struct fake *f, const char *bytes, size_t len, int connections)
{
    *f = (struct fake){.bytes = bytes, .len = len, .connections = connections};
    f->fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t in_len = sizeof in;
    assert_int_equal(bind(f->fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(f->fd, 10), 0);
    assert_int_equal(getsockname(f->fd, (struct sockaddr *)&in, &in_len), 0);
    f->port = ntohs(in.sin_port);
    assert_int_equal(pthread_create(&f->thread, NULL, fake_run, f), 0);
}

static void fake_stop(struct fake *f)
{
    assert_int_equal(pthread_join(f->thread, NULL), 0);
    close(f->fd);
}

static void broken_answers_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int code;
    } cases[] = {
        {"", TR_EIO},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", TR_EIO},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", TR_EIO},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", TR_EIO},
        {"nonsense\r\n\r\n", TR_EIO},
        {"HTTP/1.1 100 Continue\r\nX: no\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0},
        {"HTTP/1.1 200 OK\r\n\r\nok", 0},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        struct fake f;
        struct asking a;
        struct outcome o;
        char url[200];
        fake_start(&f, cases[i].bytes, strlen(cases[i].bytes), 1);
        asking_start(&a, (tr_http_client_options){0});
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", f.port);
        ask(&a, &o, &(tr_http_call){.method = "GET", .url = url, .timeout_ms = 3000});
        if (o.code != cases[i].code)
            fail_msg("%s: %d %s", cases[i].bytes, o.code, o.err.message);
        if (o.code == 0) {
            assert_view(tr_buf_view(&o.body), "ok");
            assert_false(has(&o.headers, "X=no"));
        }
        outcome_done(&o);
        fake_stop(&f);
        tr__loop_free(a.loop);
    }
}

static void streams_come_piece_by_piece(void **state)
{
    (void)state;
    struct serving s;
    struct asking a;
    struct outcome o;
    char url[200];
    serving_start(&s, (tr_http_options){0});
    asking_start(&a, (tr_http_client_options){0});
    url_of(&s, "/flood/16", url);
    ask(&a, &o, &(tr_http_call){.method = "GET", .url = url, .on_bytes = on_piece});
    assert_int_equal(o.code, 0);
    assert_int_equal(o.status, 200);
    assert_int_equal(o.body.len, 0);
    assert_int_equal(o.pieces.len, 16 << 20);
    outcome_done(&o);
    tr_http_call call = {.method = "GET", .url = url, .on_bytes = on_piece};
    outcome_init(&o, &a, &call);
    o.stop_after = 100000;
    tr__loop_call(a.loop, send_it, &o);
    wait_for_count(&o.done, 1);
    assert_int_equal(o.code, TR_ECANCELED);
    assert_in_range(o.pieces.len, 100000, 1000000);
    outcome_done(&o);
    wait_for_count(&s.gone, 1); /* the server notices */
    url_of(&s, "/status/404", url);
    ask(&a, &o, &(tr_http_call){.method = "GET", .url = url, .on_bytes = on_piece});
    assert_int_equal(o.status, 404);
    assert_view(tr_buf_view(&o.body), "static"); /* errors come whole */
    outcome_done(&o);
    url_of(&s, "/never", url);
    ask(&a, &o, &(tr_http_call){.method = "GET", .url = url, .on_bytes = on_piece, .silence_ms = 1});
    assert_int_equal(o.code, TR_ETIMEOUT);
    outcome_done(&o);
    tr__loop_free(a.loop);
    serving_stop(&s);
}

/* What is asked for while libcurl is at work waits until it is done. */
static bool ask_in_between(void *ctx, tr_view bytes)
{
    struct outcome *o = ctx, *more = o->more;
    tr_buf_put_view(&o->pieces, bytes);
    for (int i = 0; i < 3 && !more[i].id; i++)
        send_it(&more[i]);
    if (!more[2].done)
        tr_http_client_cancel(o->asking->client, more[2].id);
    return true;
}

static void requests_are_taken_from_within_a_stream(void **state)
{
    (void)state;
    struct serving s;
    struct asking a;
    struct outcome o, more[3];
    char flood[200], quick[200];
    serving_start(&s, (tr_http_options){0});
    asking_start(&a, (tr_http_client_options){.max_connections = 1});
    url_of(&s, "/flood/16", flood);
    url_of(&s, "/echo", quick);
    tr_http_call plain = {.method = "GET", .url = quick},
                 stream = {.method = "GET", .url = quick, .on_bytes = on_piece};
    outcome_init(&more[0], &a, &plain);
    outcome_init(&more[1], &a, &stream);
    outcome_init(&more[2], &a, &plain);
    tr_http_call call = {.method = "GET", .url = flood, .on_bytes = ask_in_between};
    outcome_init(&o, &a, &call);
    o.more = more;
    tr__loop_call(a.loop, send_it, &o);
    wait_for_count(&o.done, 1);
    for (int i = 0; i < 3; i++)
        wait_for_count(&more[i].done, 1);
    assert_int_equal(o.code, 0);
    assert_int_equal(o.pieces.len, 16 << 20);
    assert_int_equal(more[0].code, 0);
    assert_int_equal(more[0].status, 200);
    assert_int_equal(more[1].code, 0);
    assert_int_equal(more[1].status, 200);
    assert_int_equal(more[2].code, TR_ECANCELED);
    outcome_done(&o);
    for (int i = 0; i < 3; i++)
        outcome_done(&more[i]);
    tr__loop_free(a.loop);
    serving_stop(&s);
}

static void cancel_it(void *ctx)
{
    struct outcome *o = ctx;
    int before = o->done;
    tr_http_client_cancel(o->asking->client, o->id);
    tr_http_client_cancel(o->asking->client, o->id);
    tr_http_client_cancel(o->asking->client, 999999);
    assert_int_equal(o->done, before);
}

static void requests_can_be_canceled(void **state)
{
    (void)state;
    struct serving s;
    struct asking a;
    struct outcome o[6];
    char url[200], quick[200];
    serving_start(&s, (tr_http_options){0});
    asking_start(&a, (tr_http_client_options){.max_connections = 2});
    url_of(&s, "/never", url);
    url_of(&s, "/echo", quick);
    for (int i = 0; i < 4; i++) /* two under way, two waiting */
        begin(&a, &o[i], &(tr_http_call){.method = "GET", .url = url});
    wait_for_count(&s.requests, 2);
    tr__loop_call(a.loop, cancel_it, &o[0]);
    tr__loop_call(a.loop, cancel_it, &o[3]);
    wait_for_count(&o[0].done, 1);
    wait_for_count(&o[3].done, 1);
    assert_int_equal(o[0].code, TR_ECANCELED);
    assert_int_equal(o[3].code, TR_ECANCELED);
    wait_for_count(&s.requests, 3); /* the next got the place */
    /* from within a reply */
    tr__loop_call(a.loop, cancel_it, &o[1]);
    tr_http_call call = {.method = "GET", .url = quick};
    outcome_init(&o[4], &a, &call);
    o[4].cancel = &o[2];
    tr__loop_call(a.loop, send_it, &o[4]);
    wait_for_count(&o[2].done, 1);
    assert_int_equal(o[2].code, TR_ECANCELED);
    assert_int_equal(o[4].code, 0);
    /* waiting longer than allowed */
    begin(&a, &o[5], &(tr_http_call){.method = "GET", .url = url});
    for (int i = 0; i < 5; i++)
        if (i != 4)
            outcome_done(&o[i]);
    outcome_done(&o[4]);
    begin(&a, &o[0], &(tr_http_call){.method = "GET", .url = url});
    ask(&a, &o[1], &(tr_http_call){.method = "GET", .url = url, .timeout_ms = 30});
    assert_int_equal(o[1].code, TR_ETIMEOUT);
    tr__loop_free(a.loop); /* what is under way is canceled, once */
    assert_int_equal(o[0].done, 1);
    assert_int_equal(o[0].code, TR_ECANCELED);
    assert_int_equal(o[5].done, 1);
    assert_int_equal(o[5].code, TR_ECANCELED);
    outcome_done(&o[0]);
    outcome_done(&o[1]);
    outcome_done(&o[5]);
    serving_stop(&s);
}

/* A server that answers the first request of each connection, and hangs up then or reads the second before.
 */
struct hanging_up {
    pthread_t thread;
    int fd;
    char url[64];
    int reads; /* requests of a connection */
    atomic_uint requests;
    atomic_int closed;
};

static void *hang_up(void *arg)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct hanging_up *h = arg;
    for (int fd; (fd = accept(h->fd, NULL, NULL)) >= 0;) {
        for (int i = 0; i < h->reads; i++) {
            tr_buf got = take_until(fd, "\r\n\r\n");
            bool any = got.len > 0;
            tr_buf_done(&got);
            h->requests += any;
            if (any && i == 0)
                put(fd, answer, strlen(answer));
        }
        close(fd);
        h->closed++;
    }
    return NULL;
}

static void hanging_up_start(struct hanging_up *h, int reads)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t in_len = sizeof in;
    *h = (struct hanging_up){.fd = socket(AF_INET, SOCK_STREAM, 0), .reads = reads};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(h->fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(h->fd, 10), 0);
    assert_int_equal(getsockname(h->fd, (struct sockaddr *)&in, &in_len), 0);
    (void)snprintf(h->url, sizeof h->url, "http://127.0.0.1:%u/", ntohs(in.sin_port));
    assert_int_equal(pthread_create(&h->thread, NULL, hang_up, h), 0);
}

static void hanging_up_stop(struct hanging_up *h)
{
    (void)shutdown(h->fd, SHUT_RDWR);
    assert_int_equal(pthread_join(h->thread, NULL), 0);
    close(h->fd);
}

static void connections_closed_by_the_server_are_replaced(void **state)
{
    (void)state;
    struct hanging_up h;
    struct asking a;
    struct outcome o;
    hanging_up_start(&h, 1);
    asking_start(&a, (tr_http_client_options){0});
    for (int i = 0; i < 4; i++) {
        ask(&a, &o, &(tr_http_call){.method = "POST", .url = h.url});
        assert_int_equal(o.code, 0);
        outcome_done(&o);
        wait_for_count(&h.closed, i + 1);
    }
    assert_int_equal(h.requests, 4);
    tr__loop_free(a.loop);
    hanging_up_stop(&h);
}

static void a_request_is_sent_once(void **state)
{
    (void)state;
    struct hanging_up h;
    struct asking a;
    struct outcome o;
    hanging_up_start(&h, 2);
    asking_start(&a, (tr_http_client_options){0});
    const tr_http_call call = {.method = "POST", .url = h.url, .timeout_ms = ANSWER_MS};
    for (unsigned i = 0; i < 4; i++) {
        ask(&a, &o, &call);
        assert_int_equal(o.code, i % 2 ? TR_EIO : 0);
        assert_int_equal(h.requests, i + 1); /* libcurl would have sent the second one again */
        outcome_done(&o);
    }
    tr__loop_free(a.loop);
    hanging_up_stop(&h);
}

/* ---------------------------------------------------------------------------------------------------- SSE */

static bool note_event(void *ctx, tr_view id, tr_view event, tr_view data)
{
    tr_buf *out = ctx;
    tr_buf_printf(out, "[%.*s|%.*s|%.*s]", TR_FMT(id), TR_FMT(event), TR_FMT(data));
    return !tr_view_is(data, "stop");
}

static void events_are_parsed_in_any_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *text, *events;
        int code;
    } cases[] = {
        {"data: a\n\n", "[||a]", 0},
        {"\xef\xbb\xbf"
         "data:a\r\ndata: b\r\n\r\n",
         "[||a\nb]", 0},
        {"data: a\r\rdata: b\r\r", "[||a][||b]", 0},
        {"id: 7\nevent: put\ndata:  x\n\ndata\n\n", "[7|put| x][7||]", 0},
        {": a comment\n\n:\nretry: 5\nfoo: bar\n\n", "", 0},
        {"id: 7\n\nid\ndata: x\n\n", "[||x]", 0},
        {"event: gone\n\ndata: x\n\n", "[||x]", 0},
        {"data: not ended", "", 0},
        {"data: stop\n\ndata: more\n\n", "[||stop]", TR_ECANCELED},
        {"data: 012345678901234567890123456789012345678901234567890123456789\n\n", "", TR_ELIMIT},
        {"data: 0123456789012345678901234567890123456789\ndata: 0123456789012345678901\n\n", "", TR_ELIMIT},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        for (size_t piece = 1; piece < 80; piece++) {
            tr_sse_parser p;
            tr_buf out;
            tr_sse_init(&p, 60);
            tr_buf_init(&out, 10000);
            int code = 0;
            size_t len = strlen(cases[i].text);
            for (size_t at = 0; at < len && code == 0; at += piece)
                code = tr_sse_feed(&p, tr_view_of(cases[i].text + at, len - at < piece ? len - at : piece),
                                   note_event, &out);
            assert_int_equal(code, cases[i].code);
            assert_view(tr_buf_view(&out), cases[i].events);
            tr_sse_done(&p);
            tr_buf_done(&out);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_sent_as_asked),
        cmocka_unit_test(many_at_once_share_the_connections),
        cmocka_unit_test(failures_are_told_apart),
        cmocka_unit_test(broken_answers_are_errors),
        cmocka_unit_test(streams_come_piece_by_piece),
        cmocka_unit_test(requests_are_taken_from_within_a_stream),
        cmocka_unit_test(requests_can_be_canceled),
        cmocka_unit_test(connections_closed_by_the_server_are_replaced),
        cmocka_unit_test(a_request_is_sent_once),
        cmocka_unit_test(events_are_parsed_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
