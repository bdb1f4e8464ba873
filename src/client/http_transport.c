/* SPDX-License-Identifier: MIT */
#include "http_transport.h"

#include "endpoint.h"
#include "errors.h"
#include "http/loop.h"
#include "provider.h"

#include <tailrace/http_client.h>
#include <tailrace/sigv4.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADERS_MAX    32          /* of a request's own */
#define SKEW_MIN_MS    (60 * 1000) /* clocks that differ by less are as good as right */
#define SSE_SILENCE_MS 90000       /* a server must send something, if only a comment, more often than this */
#define SSE_EVENT_MAX  (16 * 1024 * 1024) /* bytes of one event */
#define MAX_WAITING    100000

struct http_transport {
    tr_transport base;
    tr__loop *loop;
    tr_http_client *http; /* NULL once stopped; like all below used on the thread only */
    tr_sigv4 *signer;
    tr__provider provider;
    tr__profiles profiles;
    tr__endpoint endpoints[TR_SERVICE_COUNT];
    char *region;
    int64_t skew_ms; /* to be added to our clock */
    int64_t timeout_ms;
    tr_http_client_options http_options;
    tr_buf authorization;
    int open_code;
};

/* A request on its way, with copies of all it needs behind it. */
struct sending {
    tr__loop_task task;
    tr__provider_waiter waiter;
    struct http_transport *transport;
    tr_reply_fn *fn;
    void *ctx;
    tr_service service;
    tr_view operation, body;
    size_t header_count;
    int64_t timeout_ms;
    struct subscription *subscription; /* or NULL */
    tr_header headers[];
};

struct subscription {
    tr_sse_parser parser;
    tr_sse_fn *on_event;
    void *ctx;
    int parse_code;
    bool ended; /* by on_event */
};

/* ------------------------------------------------------------------------------------------------- copying
 */

static tr_view put_copy(char **at, tr_view v)
{
    char *copy = *at;
    if (v.len)
        memcpy(copy, v.ptr, v.len);
    copy[v.len] = 0;
    *at += v.len + 1;
    return tr_view_of(copy, v.len);
}

static struct sending *copy_request(struct http_transport *t, const tr_request *request, tr_reply_fn *fn,
                                    void *ctx)
{
    tr_view operation = tr_view_str(request->operation);
    size_t bytes = operation.len + 1 + request->body.len + 1;
    for (size_t i = 0; i < request->header_count; i++)
        bytes += request->headers[i].name.len + request->headers[i].value.len + 2;
    struct sending *s = tr_malloc(sizeof *s + request->header_count * sizeof *s->headers + bytes);
    if (!s)
        return NULL;
    char *at = (char *)(s->headers + request->header_count);
    *s = (struct sending){.transport = t,
                          .fn = fn,
                          .ctx = ctx,
                          .service = request->service,
                          .header_count = request->header_count,
                          .timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : t->timeout_ms};
    s->operation = put_copy(&at, operation);
    s->body = put_copy(&at, request->body);
    for (size_t i = 0; i < request->header_count; i++) {
        s->headers[i].name = put_copy(&at, request->headers[i].name);
        s->headers[i].value = put_copy(&at, request->headers[i].value);
    }
    return s;
}

static void free_sending(struct sending *s)
{
    if (s->subscription)
        tr_sse_done(&s->subscription->parser);
    tr_free(s->subscription);
    tr_free(s);
}

static void fail(struct sending *s, int code, const tr_error *err)
{
    s->fn(s->ctx, code, NULL, err);
    free_sending(s);
}

static void fail_text(struct sending *s, int code, const char *text)
{
    tr_error err;
    (void)tr_fail(&err, code, "%s", text);
    fail(s, code, &err);
}

/* ------------------------------------------------------------------------------------------------- answers
 */

/* DynamoDB sends a checksum of each body. A body that differs was damaged on its way. */
static bool is_intact(const tr_reply *reply)
{
    tr_view crc = tr_reply_header(reply, "x-amz-crc32");
    uint64_t wanted;
    if (!crc.ptr || tr_view_to_u64(crc, UINT32_MAX, &wanted))
        return true;
    return tr_crc32(0, reply->body) == (uint32_t)wanted;
}

static void on_reply(void *ctx, int code, const tr_http_reply *http, const tr_error *err)
{
    struct sending *s = ctx;
    if (code) {
        fail(s, code, err);
        return;
    }
    tr_reply reply = {http->status, http->body, http->headers, http->header_count};
    if (!is_intact(&reply)) {
        fail_text(s, TR_EIO, "the answer's checksum (x-amz-crc32) does not fit its body");
        return;
    }
    s->fn(s->ctx, 0, &reply, NULL);
    free_sending(s);
}

static bool on_event(void *ctx, tr_view id, tr_view event, tr_view data)
{
    struct subscription *sub = ctx;
    sub->ended = !sub->on_event(sub->ctx, id, event, data);
    return !sub->ended;
}

static bool on_sse_bytes(void *ctx, tr_view bytes)
{
    struct sending *s = ctx;
    s->subscription->parse_code = tr_sse_feed(&s->subscription->parser, bytes, on_event, s->subscription);
    return s->subscription->parse_code == 0;
}

static void on_sse_end(void *ctx, int code, const tr_http_reply *http, const tr_error *err)
{
    struct sending *s = ctx;
    tr_error service_err;
    tr_reply reply = {0};
    if (code == 0) {
        reply = (tr_reply){http->status, http->body, http->headers, http->header_count};
        if (reply.status / 100 != 2) {
            code = tr__reply_error(&reply, &service_err);
            err = &service_err;
        }
    } else if (s->subscription->ended) {
        code = 0;
    } else if (s->subscription->parse_code) {
        code = tr_fail(&service_err, s->subscription->parse_code, "an event of the stream is too large");
        err = &service_err;
    }
    s->fn(s->ctx, code, http ? &reply : NULL, code ? err : NULL);
    free_sending(s);
}

/* ------------------------------------------------------------------------------------------------- sending
 */

static tr_view target_prefix(tr_service service)
{
    switch (service) {
    case TR_DYNAMODB:
        return TR_VIEW("DynamoDB_20120810.");
    case TR_STREAMS:
        return TR_VIEW("DynamoDBStreams_20120810.");
    case TR_EVENTS:
        return TR_VIEW("AWSEvents.");
    default:
        return TR_VIEW("AmazonSQS.");
    }
}

/* What is sent, made on the stack of `transmit`. */
struct message {
    char url[4096], target[256], path[4096], date[TR_SIGV4_DATE_LEN + 1];
    char method[16];
    tr_header headers[HEADERS_MAX + 8];
    size_t count;
};

static int add(struct message *m, tr_view name, tr_view value)
{
    if (m->count == TR_COUNT(m->headers))
        return TR_ELIMIT;
    m->headers[m->count++] = (tr_header){name, value};
    return 0;
}

/* REST: the operation is "METHOD /path?query"; the others are POSTs to "/". */
static int compose(const struct sending *s, struct message *m)
{
    const tr__endpoint *e = &s->transport->endpoints[s->service];
    tr_view path = TR_VIEW("/");
    (void)memcpy(m->method, "POST", 5);
    m->count = 0;
    int code = add(m, TR_VIEW("Host"), tr_view_str(e->host));
    size_t space = tr_view_find(s->operation, TR_VIEW(" "), 0);
    if (s->subscription || s->service == TR_LAMBDA) {
        if (space == SIZE_MAX || space >= sizeof m->method || s->operation.len == space + 1 ||
            s->operation.ptr[space + 1] != '/')
            return TR_EINVAL;
        memcpy(m->method, s->operation.ptr, space);
        m->method[space] = 0;
        path = tr_view_of(s->operation.ptr + space + 1, s->operation.len - space - 1);
    } else {
        int n =
            snprintf(m->target, sizeof m->target, "%s%s", target_prefix(s->service).ptr, s->operation.ptr);
        if (n < 0 || (size_t)n >= sizeof m->target)
            return TR_EINVAL;
        if (code == 0)
            code = add(m, TR_VIEW("X-Amz-Target"), tr_view_str(m->target));
    }
    if (code == 0 && !s->subscription) {
        bool is_events = s->service == TR_EVENTS;
        code = add(m, TR_VIEW("Content-Type"),
                   s->service == TR_LAMBDA ? TR_VIEW("application/json")
                   : is_events             ? TR_VIEW("application/x-amz-json-1.1")
                                           : TR_VIEW("application/x-amz-json-1.0"));
    }
    int u = snprintf(m->url, sizeof m->url, "%s%.*s", e->url, TR_FMT(path));
    int p = snprintf(m->path, sizeof m->path, "%s%.*s", e->prefix, TR_FMT(path));
    if (u < 0 || (size_t)u >= sizeof m->url || p < 0 || (size_t)p >= sizeof m->path)
        return TR_ELIMIT;
    return code;
}

static bool is_amz(tr_view name)
{
    return name.len > 6 && strncasecmp(name.ptr, "x-amz-", 6) == 0;
}

static int sign(struct sending *s, struct message *m, const tr__credentials *keys)
{
    struct http_transport *t = s->transport;
    tr_view target = tr_view_str(m->path);
    size_t mark = tr_view_find(target, TR_VIEW("?"), 0);
    tr_sigv4_request request = {.method = tr_view_str(m->method),
                                .path = mark == SIZE_MAX ? target : tr_view_of(target.ptr, mark),
                                .headers = m->headers,
                                .header_count = m->count,
                                .body = s->body};
    if (mark != SIZE_MAX)
        request.query = tr_view_of(target.ptr + mark + 1, target.len - mark - 1);
    tr_sigv4_credentials credentials = {tr_view_str(keys->access_key_id),
                                        tr_view_str(keys->secret_access_key),
                                        tr_view_str(keys->session_token)};
    tr_buf_reset(&t->authorization);
    int code = tr_sigv4_sign(t->signer, &credentials, tr_view_str(t->region),
                             tr_view_str(tr__service_signing_name(s->service)),
                             tr_clock_wall_ms() + t->skew_ms, &request, m->date, &t->authorization);
    if (code == 0)
        code = add(m, TR_VIEW("X-Amz-Date"), tr_view_str(m->date));
    if (code == 0 && keys->session_token)
        code = add(m, TR_VIEW("X-Amz-Security-Token"), credentials.session_token);
    return code ? code : add(m, TR_VIEW("Authorization"), tr_buf_view(&t->authorization));
}

static int transmit(struct sending *s, const tr__credentials *keys)
{
    struct http_transport *t = s->transport;
    struct message m;
    int code = compose(s, &m);
    for (size_t i = 0; i < s->header_count && code == 0; i++)
        if (is_amz(s->headers[i].name))
            code = add(&m, s->headers[i].name, s->headers[i].value);
    if (code == 0)
        code = sign(s, &m, keys);
    for (size_t i = 0; i < s->header_count && code == 0; i++)
        if (!is_amz(s->headers[i].name))
            code = add(&m, s->headers[i].name, s->headers[i].value);
    if (code)
        return code;
    tr_http_call call = {.method = m.method,
                         .url = m.url,
                         .unix_path = t->endpoints[s->service].unix_path,
                         .headers = m.headers,
                         .header_count = m.count,
                         .body = s->body,
                         .timeout_ms = s->timeout_ms};
    if (s->subscription) {
        call.on_bytes = on_sse_bytes;
        call.timeout_ms = 0;
        call.silence_ms = SSE_SILENCE_MS;
    }
    return tr_http_client_send(t->http, &call, s->subscription ? on_sse_end : on_reply, s, NULL);
}

static void on_credentials(void *ctx, int code, const tr_error *err);

static void start(void *ctx)
{
    struct sending *s = ctx;
    struct http_transport *t = s->transport;
    if (!t->http || t->provider.stopped) {
        fail_text(s, TR_ECANCELED, "the client was closed");
        return;
    }
    const tr__credentials *keys = tr__provider_get(&t->provider, &s->waiter, on_credentials, s);
    if (!keys)
        return;
    int code = transmit(s, keys);
    if (code == TR_EINVAL)
        fail_text(s, code, "the request's operation or a header of it cannot be sent");
    else if (code)
        fail_text(s, code, tr_strerror(code));
}

static void on_credentials(void *ctx, int code, const tr_error *err)
{
    struct sending *s = ctx;
    if (code)
        /* whatever kept us from getting them: what the caller lacks is credentials */
        fail(s, code == TR_ECANCELED || code == TR_ENOMEM ? code : TR_EAUTH, err);
    else
        start(s);
}

static int http_send(tr_transport *transport, const tr_request *request, tr_reply_fn *fn, void *ctx)
{
    struct http_transport *t = (struct http_transport *)transport;
    if (!request->operation || request->service >= TR_SERVICE_COUNT || request->header_count > HEADERS_MAX)
        return TR_EINVAL;
    tr_request copy = *request;
    if (copy.body.len == 0 && copy.service != TR_LAMBDA)
        copy.body = TR_VIEW("{}");
    struct sending *s = copy_request(t, &copy, fn, ctx);
    if (!s)
        return TR_ENOMEM;
    tr__loop_post_task(t->loop, &s->task, start, s);
    return 0;
}

static int http_subscribe(tr_transport *transport, tr_view path, tr_view last_event_id, tr_sse_fn *event_fn,
                          tr_reply_fn *done, void *ctx)
{
    struct http_transport *t = (struct http_transport *)transport;
    char operation[4096];
    if (path.len == 0 || path.ptr[0] != '/' || path.len + 5 > sizeof operation)
        return TR_EINVAL;
    (void)snprintf(operation, sizeof operation, "GET %.*s", TR_FMT(path));
    tr_header headers[] = {{TR_VIEW("Accept"), TR_VIEW("text/event-stream")},
                           {TR_VIEW("Last-Event-ID"), last_event_id}};
    tr_request request = {.service = TR_DYNAMODB,
                          .operation = operation,
                          .headers = headers,
                          .header_count = last_event_id.len ? 2 : 1};
    struct sending *s = copy_request(t, &request, done, ctx);
    struct subscription *sub = tr_calloc(1, sizeof *sub);
    if (!s || !sub) {
        tr_free(s);
        tr_free(sub);
        return TR_ENOMEM;
    }
    tr_sse_init(&sub->parser, SSE_EVENT_MAX);
    sub->on_event = event_fn;
    sub->ctx = ctx;
    s->subscription = sub;
    tr__loop_post_task(t->loop, &s->task, start, s);
    return 0;
}

static int http_schedule(tr_transport *transport, int64_t delay_ms, tr_task_fn *fn, void *ctx)
{
    return tr__loop_schedule(((struct http_transport *)transport)->loop, delay_ms, fn, ctx);
}

static bool http_on_thread(tr_transport *transport)
{
    return tr__loop_on_thread(((struct http_transport *)transport)->loop);
}

/* ------------------------------------------------------------------------------------------------ learning
 */

int tr__http_date_parse(tr_view text, int64_t *ret_ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char iso[TR_TIME_TEXT_MAX];
    if (text.len != 29 || text.ptr[3] != ',' || memcmp(text.ptr + 26, "GMT", 3) != 0)
        return TR_EPARSE;
    for (int m = 0; m < 12; m++)
        if (memcmp(months + 3 * (size_t)m, text.ptr + 8, 3) == 0) {
            (void)snprintf(iso, sizeof iso, "%.4s-%02d-%.2sT%.8sZ", text.ptr + 12, m + 1, text.ptr + 5,
                           text.ptr + 17);
            return tr_time_parse(tr_view_str(iso), ret_ms);
        }
    return TR_EPARSE;
}

bool tr__http_transport_learn(tr_transport *transport, const tr_reply *reply, const tr_error *err)
{
    struct http_transport *t = (struct http_transport *)transport;
    assert(tr__loop_on_thread(t->loop));
    int64_t server;
    if (err->code == TR_EEXPIRED)
        return tr__provider_expire(&t->provider);
    if (tr__http_date_parse(tr_reply_header(reply, "date"), &server))
        return false;
    int64_t skew = server - tr_clock_wall_ms(), change = skew - t->skew_ms;
    if (change < SKEW_MIN_MS && change > -SKEW_MIN_MS)
        return false;
    t->skew_ms = skew;
    return true;
}

/* ------------------------------------------------------------------------------------- opening and closing
 */

static void open_http(void *ctx)
{
    struct http_transport *t = ctx;
    t->open_code = tr_http_client_new(tr__loop_uv(t->loop), &t->http_options, &t->http, NULL);
}

static void stop_http(void *ctx)
{
    struct http_transport *t = ctx;
    tr_http_client *http = t->http;
    tr__provider_stop(&t->provider);
    t->http = NULL; /* what the callbacks now send is told that it is too late */
    tr_http_client_free(http);
}

static void destroy(struct http_transport *t)
{
    tr__provider_done(&t->provider);
    tr__profiles_done(&t->profiles);
    for (int i = 0; i < TR_SERVICE_COUNT; i++)
        tr__endpoint_done(&t->endpoints[i]);
    tr_sigv4_free(t->signer);
    tr_buf_done(&t->authorization);
    tr_free(t->region);
    tr_free(t);
}

static void http_free(tr_transport *transport)
{
    struct http_transport *t = (struct http_transport *)transport;
    tr__loop_free(t->loop);
    destroy(t);
}

static int find_all(struct http_transport *t, const tr_client_options *options, tr_error *err)
{
    const char *named = options->profile ? options->profile : getenv("AWS_PROFILE");
    const char *profile = named && *named ? named : "default";
    int code = tr__profiles_load(&t->profiles, err);
    if (code == 0)
        code = tr__endpoints_find(options, &t->profiles, profile, t->endpoints, &t->region, err);
    if (code)
        return code;
    tr__source source;
    tr__source_options from = {.access_key_id = options->access_key_id,
                               .secret_access_key = options->secret_access_key,
                               .session_token = options->session_token,
                               .profile = options->profile,
                               .region = t->region,
                               .is_aws = t->endpoints[TR_DYNAMODB].is_aws,
                               .profiles = &t->profiles};
    code = tr__source_init(&source, &from, err);
    return code ? code : tr__provider_init(&t->provider, t->loop, &source, options->logger, err);
}

static int start_loop(struct http_transport *t, tr_error *err)
{
    int code = tr__loop_new(&t->loop, err);
    if (code)
        return code;
    t->provider.loop = t->loop;
    tr__loop_call(t->loop, open_http, t);
    code = t->open_code;
    if (code == 0)
        code = tr__loop_at_stop(t->loop, stop_http, t);
    if (code == 0)
        return 0;
    if (t->open_code == 0)
        tr__loop_call(t->loop, stop_http, t);
    tr__loop_free(t->loop);
    return tr_fail(err, code, "cannot start a client: %s", tr_strerror(code));
}

int tr__http_transport_new(const tr_client_options *options, tr_transport **ret_transport, tr_error *err)
{
    struct http_transport *t = tr_calloc(1, sizeof *t);
    if (!t)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    t->base = (tr_transport){http_send, http_schedule, http_subscribe, http_on_thread, http_free};
    t->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : 30000;
    t->http_options = (tr_http_client_options){.max_connections = options->max_connections,
                                               .max_waiting = MAX_WAITING,
                                               .connect_timeout_ms = options->connect_timeout_ms,
                                               .logger = options->logger};
    tr_buf_init(&t->authorization, 8192);
    int code = tr_sigv4_new(&t->signer);
    code = code ? tr_fail(err, code, "out of memory") : find_all(t, options, err);
    if (code == 0)
        code = start_loop(t, err);
    if (code) {
        destroy(t);
        return code;
    }
    *ret_transport = &t->base;
    return 0;
}

const char *tr__http_transport_endpoint(const tr_transport *transport, tr_service service)
{
    return ((const struct http_transport *)transport)->endpoints[service].text;
}

const char *tr__http_transport_region(const tr_transport *transport)
{
    return ((const struct http_transport *)transport)->region;
}

bool tr__http_transport_is_aws(const tr_transport *transport)
{
    return ((const struct http_transport *)transport)->endpoints[TR_DYNAMODB].is_aws;
}
