/* SPDX-License-Identifier: MIT */
#include "api/server.h"
#include "api/sqs_query.h"

#include <stdio.h>

/* Requests over HTTP: operations, health, event streams. */

#define AMZ_JSON   "application/x-amz-json-1.0"
#define AMZ_JSON11 "application/x-amz-json-1.1"        /* EventBridge */
#define FORM       "application/x-www-form-urlencoded" /* SQS' query protocol */

static const char not_found[] = "<UnknownOperationException/>\n"; /* as the service answers */

/** A request of the operations, in the HTTP request's arena. */
typedef struct http_call {
    tr_pending pending;
    tr_http_request *http;
    const char *content_type;
    tr_view action; /* of the query protocol; else empty */
    tr_buf json;    /* its answer, before it becomes XML */
} http_call;

#define REQUEST_ID_LEN 52

static void request_id(tr_server *s, char *out)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUV";
    uint64_t bits = 0;
    for (int i = 0; i < REQUEST_ID_LEN; i++, bits >>= 5) {
        if (i % 12 == 0)
            bits = tr_rng_next(&s->rng);
        out[i] = digits[bits & 31];
    }
}

size_t tr__server_headers(const tr_api_reply *reply, tr_header *out)
{
    size_t n = 0;
    if (reply->sequence_number[0])
        out[n++] = (tr_header){TR_VIEW("x-tailrace-sequence-number"), tr_view_str(reply->sequence_number)};
    if (reply->stream_arn[0])
        out[n++] = (tr_header){TR_VIEW("x-tailrace-stream-arn"), tr_view_str(reply->stream_arn)};
    if (reply->snapshot[0])
        out[n++] = (tr_header){TR_VIEW("x-tailrace-snapshot"), tr_view_str(reply->snapshot)};
    return n;
}

static void respond(tr_server *s, tr_http_request *http, const char *content_type, const tr_api_reply *reply)
{
    char id[REQUEST_ID_LEN];
    tr_header headers[4];
    request_id(s, id);
    headers[0] = (tr_header){TR_VIEW("x-amzn-RequestId"), tr_view_of(id, sizeof id)};
    size_t n = 1 + tr__server_headers(reply, headers + 1);
    tr_http_respond(http, reply->status, content_type, headers, n, TR_HTTP_CRC32 | TR_HTTP_GZIP);
}

/* Without an operation, but with an id like all answers. */
static void respond_text(tr_server *s, tr_http_request *http, int status, const char *type, tr_view text)
{
    char id[REQUEST_ID_LEN];
    request_id(s, id);
    const tr_header header = {TR_VIEW("x-amzn-RequestId"), tr_view_of(id, sizeof id)};
    tr_buf_put_view(&http->out, text);
    tr_http_respond(http, status, type, &header, 1, TR_HTTP_CRC32);
}

/* The answer as XML. */
static void answer_query(tr_server *s, http_call *call)
{
    char id[REQUEST_ID_LEN];
    tr_http_request *http = call->http;
    request_id(s, id);
    tr_view request = tr_view_of(id, sizeof id);
    const tr_header header = {TR_VIEW("x-amzn-RequestId"), request};
    int status = call->pending.reply.status;
    if (tr__query_encode(call->action, status, tr_buf_view(&call->json), request, &http->arena, &http->out)) {
        tr_buf_reset(&http->out);
        status = 500;
    }
    tr_buf_done(&call->json);
    tr_http_respond(http, status, "text/xml", &header, 1, 0);
}

static void answer(tr_pending *p, int code)
{
    http_call *call = (http_call *)p;
    if (code) {
        tr_api_error_body(p->body, "com.amazonaws.dynamodb.v20120810#InternalServerError",
                          "the store could not be written");
        p->reply.status = 500;
    }
    if (call->action.len)
        answer_query(p->server, call);
    else
        respond(p->server, call->http, call->content_type, &p->reply);
}

/* The peer left while the request waited for news. */
static void on_gone(tr_http_request *http)
{
    http_call *call = http->user;
    if (!call->pending.parked)
        return; /* its answer is on its way, and will find nobody */
    tr__server_drop(call->pending.server, &call->pending);
    tr_buf_done(&call->json);
    tr_http_respond_bytes(http, 503, NULL, (tr_view){NULL, 0});
}

static void fail(tr_server *s, tr_http_request *http, const char *content_type, const char *type)
{
    tr_api_reply reply = {.status = 400};
    tr_api_error_body(&http->out, type, NULL);
    respond(s, http, content_type, &reply);
}

/* "DynamoDB_20120810.PutItem" */
static bool split_target(tr_view target, tr_service *ret_service, tr_view *ret_operation)
{
    static const struct {
        const char *prefix;
        tr_service service;
    } services[] = {{"DynamoDB_20120810.", TR_DYNAMODB},
                    {"DynamoDBStreams_20120810.", TR_STREAMS},
                    {"AWSEvents.", TR_EVENTS},
                    {"AmazonSQS.", TR_SQS}};
    for (size_t i = 0; i < TR_COUNT(services); i++) {
        tr_view prefix = tr_view_str(services[i].prefix);
        if (!tr_view_starts(target, prefix))
            continue;
        *ret_service = services[i].service;
        *ret_operation = tr_view_of(target.ptr + prefix.len, target.len - prefix.len);
        return true;
    }
    return false;
}

/* The media type without its parameters. */
static tr_view media_type(tr_view content_type)
{
    size_t end = tr_view_find(content_type, TR_VIEW(";"), 0);
    if (end != SIZE_MAX)
        content_type.len = end;
    while (content_type.len && content_type.ptr[content_type.len - 1] == ' ')
        content_type.len--;
    return content_type;
}

static void refuse_wait(tr_server *s, tr_http_request *http, const char *content_type)
{
    tr_api_reply reply = {.status = 400};
    char message[96];
    (void)snprintf(message, sizeof message,
                   "x-tailrace-wait-ms must be a whole number of milliseconds from 0 to %d",
                   TR_API_WAIT_MAX_MS);
    tr_api_error_body(&http->out, "com.amazon.coral.validate#ValidationException", message);
    respond(s, http, content_type, &reply);
}

/* False: the header holds something else than 0 to TR_API_WAIT_MAX_MS. */
static bool take_wait(const tr_http_request *http, int64_t *ret_ms)
{
    uint64_t ms = 0;
    tr_view text = tr_http_header(http, "x-tailrace-wait-ms");
    bool ok = !text.ptr || tr_view_to_u64(text, TR_API_WAIT_MAX_MS, &ms) == 0;
    *ret_ms = (int64_t)ms;
    return ok;
}

static void not_there(tr_server *s, tr_http_request *http)
{
    respond_text(s, http, 404, NULL, tr_view_of(not_found, sizeof not_found - 1));
}

/* A form is a request to SQS in the query protocol. */
static void carry_out_query(tr_server *s, tr_http_request *http)
{
    http_call *call = tr_arena_calloc(&http->arena, 1, sizeof *call);
    tr_buf body;
    tr_buf_init(&body, TR_API_BODY_MAX);
    int e = call ? tr__query_decode(http->body, http->path, &http->arena, &call->action, &body) : TR_ENOMEM;
    tr_view copy = e ? (tr_view){NULL, 0} : tr_arena_copy(&http->arena, tr_buf_view(&body));
    tr_buf_done(&body);
    if (e == 0 && !copy.ptr)
        e = TR_ENOMEM;
    if (e == TR_ENOTFOUND || e == TR_EPARSE) {
        not_there(s, http);
        return;
    }
    if (e) {
        tr_http_respond_bytes(http, e == TR_ELIMIT ? 413 : 503, NULL, (tr_view){NULL, 0});
        return;
    }
    tr_pending *p = &call->pending;
    call->http = http;
    tr_buf_init(&call->json, TR_API_REPLY_MAX);
    p->server = s;
    p->answer = answer;
    p->body = &call->json;
    p->request = (tr_api_request){
        .service = TR_SQS, .operation = call->action, .body = copy, .host = tr_http_header(http, "host")};
    http->user = call;
    http->on_gone = on_gone;
    tr__server_carry_out(s, p);
}

static void carry_out(tr_server *s, tr_http_request *http)
{
    tr_view type = media_type(tr_http_header(http, "content-type"));
    bool amz = tr_view_is(type, AMZ_JSON), amz11 = tr_view_is(type, AMZ_JSON11);
    if (!amz && !amz11 && !tr_view_is(type, "application/json") && (type.len || http->body.len)) {
        not_there(s, http);
        return;
    }
    const char *content_type = amz ? AMZ_JSON : amz11 ? AMZ_JSON11 : "application/json";
    http_call *call = tr_arena_calloc(&http->arena, 1, sizeof *call);
    if (!call) {
        tr_http_respond_bytes(http, 503, NULL, (tr_view){NULL, 0});
        return;
    }
    tr_pending *p = &call->pending;
    call->http = http;
    call->content_type = content_type;
    p->server = s;
    p->answer = answer;
    p->body = &http->out;
    p->request.body = http->body;
    if (!take_wait(http, &p->request.wait_ms)) {
        refuse_wait(s, http, content_type);
        return;
    }
    p->request.host = tr_http_header(http, "host");
    p->request.snapshot = tr_http_header(http, "x-tailrace-snapshot");
    if (!split_target(tr_http_header(http, "x-amz-target"), &p->request.service, &p->request.operation) &&
        !http->body.len) {
        fail(s, http, content_type, "com.amazon.coral.service#UnknownOperationException");
        return;
    }
    http->user = call;
    http->on_gone = on_gone;
    tr__server_carry_out(s, p);
}

/* ---------------------------------------------------------------------------------------- event streams */

/* What may be queued for a client that reads slowly. */
#define QUEUE_MAX ((size_t)256 * 1024)

typedef struct http_feed {
    tr_feed feed; /* first */
    tr_http_request *http;
    tr_buf text;
    uv_timer_t beat;
} http_feed;

#define BEAT_MS 15000 /* a comment, so that both sides notice a dead connection */

static void free_feed(uv_handle_t *handle)
{
    http_feed *f = handle->data;
    tr_buf_done(&f->text);
    tr_free(f);
}

static void end_feed(http_feed *f)
{
    tr_http_stream_end(f->http);
    uv_close((uv_handle_t *)&f->beat, free_feed);
}

static void put_line(tr_buf *out, const char *name, tr_view text)
{
    if (!text.len)
        return;
    tr_buf_put_str(out, name);
    tr_buf_put_str(out, ": ");
    tr_buf_put_view(out, text);
    tr_buf_putc(out, '\n');
}

static void emit(tr_feed *feed, tr_view id, tr_view event, tr_view data)
{
    http_feed *f = (http_feed *)feed;
    put_line(&f->text, "id", id);
    put_line(&f->text, "event", event);
    put_line(&f->text, "data", data);
    tr_buf_putc(&f->text, '\n');
}

static size_t space(tr_feed *feed)
{
    size_t queued = tr_http_stream_pending(((http_feed *)feed)->http);
    return queued < QUEUE_MAX ? QUEUE_MAX - queued : 0;
}

/* Where events are missing, for want of memory, the stream ends: the client comes back with the last it has.
 */
static void flush(tr_feed *feed)
{
    http_feed *f = (http_feed *)feed;
    int e = tr_buf_status(&f->text);
    if (!e)
        e = tr_http_stream_write(f->http, tr_buf_view(&f->text));
    tr_buf_reset(&f->text);
    if (e && e != TR_ECLOSED) { /* closed: on_close tells */
        tr__feed_close(&f->feed);
        end_feed(f);
    }
}

static void finish(tr_feed *feed, int code)
{
    (void)code;
    end_feed((http_feed *)feed);
}

static void on_beat(uv_timer_t *timer)
{
    http_feed *f = timer->data;
    if (tr_http_stream_pending(f->http) == 0)
        (void)tr_http_stream_write(f->http, TR_VIEW(":\n\n"));
}

static void on_drain(void *ctx, tr_http_request *stream)
{
    (void)stream;
    tr__feed_pump(&((http_feed *)ctx)->feed);
}

static void on_close(void *ctx, tr_http_request *stream)
{
    http_feed *f = ctx;
    (void)stream;
    tr__feed_close(&f->feed);
    end_feed(f);
}

static void feed_failed(tr_http_request *http, int code, const tr_error *err)
{
    tr_json_writer w;
    tr_json_write_init(&w, &http->out);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "message", err->message);
    tr_json_end_object(&w);
    tr_http_respond(http,
                    code == TR_ENOTFOUND ? 404
                    : code == TR_EINVAL  ? 400
                                         : 503,
                    "application/json", NULL, 0, 0);
}

static void stream_events(tr_server *s, tr_http_request *http)
{
    static const tr_http_stream_events events = {.on_drain = on_drain, .on_close = on_close};
    static const tr_header headers[] = {{{"Cache-Control", 13}, {"no-store", 8}}};
    tr_error err = {.message = "out of memory"};
    http_feed *f = tr_calloc(1, sizeof *f);
    int e = TR_ENOMEM;
    if (f) {
        f->feed = (tr_feed){.emit = emit, .space = space, .flush = flush, .finish = finish};
        f->http = http;
        tr_buf_init(&f->text, TR_API_REPLY_MAX);
        e = tr__feed_open(s, http->path, http->query, tr_http_header(http, "last-event-id"), &f->feed, &err);
        if (e == 0) {
            e = tr_http_stream_begin(http, 200, "text/event-stream", headers, TR_COUNT(headers), 0, &events,
                                     f);
            if (e)
                tr__feed_close(&f->feed);
        }
    }
    if (e) {
        tr_free(f);
        feed_failed(http, e, &err);
        return;
    }
    (void)uv_timer_init(tr__loop_uv(s->loop), &f->beat);
    f->beat.data = f;
    (void)uv_timer_start(&f->beat, on_beat, BEAT_MS, BEAT_MS);
    /* at once, so that the client sees that it is connected */
    (void)tr_http_stream_write(http, TR_VIEW(":\n\n"));
    tr__feed_pump(&f->feed);
}

/* ----------------------------------------------------------------------------------------------- routes */

static void health(tr_server *s, tr_http_request *http)
{
    tr_buf_printf(&http->out, "healthy: dynamodb.%s.amazonaws.com ", s->region);
    respond_text(s, http, 200, "text/plain", (tr_view){NULL, 0});
}

static bool is_events_path(tr_view path)
{
    return tr_view_starts(path, TR_VIEW("/streams/")) && path.len > 16 &&
           memcmp(path.ptr + path.len - 7, "/events", 7) == 0;
}

void tr__server_handle(void *ctx, tr_http_request *http)
{
    tr_server *s = ctx;
    bool get = tr_view_is(http->method, "GET") || tr_view_is(http->method, "HEAD");
    bool post = tr_view_is(http->method, "POST");
    /* clients of SQS send to the queue's URL */
    bool queue = post && tr_view_starts(tr_http_header(http, "x-amz-target"), TR_VIEW("AmazonSQS."));
    if (post && !tr_http_header(http, "x-amz-target").ptr &&
        tr_view_is(media_type(tr_http_header(http, "content-type")), FORM))
        carry_out_query(s, http);
    else if (queue || (post && tr_view_is(http->path, "/")))
        carry_out(s, http);
    else if (get && tr_view_is(http->path, "/"))
        health(s, http);
    else if (tr_view_is(http->method, "GET") && is_events_path(http->path))
        stream_events(s, http);
    else
        not_there(s, http);
}
