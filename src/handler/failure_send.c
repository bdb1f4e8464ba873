/* SPDX-License-Identifier: MIT */
/* Failures to what cannot be read again: an event bus, a function on AWS, a handler, a URL. */
#include "handler/failure.h"

#include <stdio.h>

#define SEND_LIMIT     (256 * 1024 - 4096) /* of an entry of PutEvents, and of an asynchronous invocation */
#define URL_TIMEOUT_MS 30000

typedef struct send_sink {
    tr_failure_sink base;
    tr__failure_client client;
    tr_handler *handler;
    char *name; /* bus or function */
    tr_logger logger;
} send_sink;

static void send_free(tr_failure_sink *base)
{
    send_sink *s = (send_sink *)base;
    tr_handler_free(s->handler);
    tr__failure_client_done(&s->client);
    tr_free(s->name);
    tr_free(s);
}

/* NULL without memory. */
static send_sink *new_sink(const tr_failure_options *options, const char *name,
                           int (*put)(tr_failure_sink *, const tr_failure *, tr_error *))
{
    send_sink *s = tr_calloc(1, sizeof *s);
    if (!s || !(s->name = tr_strdup(name))) {
        tr_free(s);
        return NULL;
    }
    s->base = (tr_failure_sink){.put = put, .free = send_free};
    s->logger = options->logger;
    return s;
}

static int opened(send_sink *s, int e, tr_failure_sink **ret_sink)
{
    if (e)
        send_free(&s->base);
    else
        *ret_sink = &s->base;
    return e;
}

/* ------------------------------------------------------------------------------------------------ bus */

/* requestContext.functionArn, as a resource; raw text with its quotes. */
static tr_view function_arn(tr_view record, tr_arena *arena)
{
    tr_view context, arn;
    bool found = tr_json_member(record, "requestContext", arena, &context) == 0 && context.ptr[0] == '{' &&
                 tr_json_member(context, "functionArn", arena, &arn) == 0 && arn.ptr[0] == '"';
    return found ? arn : (tr_view){NULL, 0};
}

static void write_entry(send_sink *s, tr_view detail, tr_arena *arena, tr_buf *body)
{
    tr_json_writer w;
    tr_view arn = function_arn(detail, arena);
    tr_json_write_init(&w, body);
    tr_json_begin_object(&w);
    tr_json_name(&w, "Entries");
    tr_json_begin_array(&w);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "EventBusName", s->name);
    tr_json_member_cstring(&w, "Source", "lambda");
    tr_json_member_cstring(&w, "DetailType", "Lambda Function Invocation Result - Failure");
    tr_json_name(&w, "Resources");
    tr_json_begin_array(&w);
    if (arn.len)
        tr_json_value(&w, arn);
    tr_json_end_array(&w);
    tr_json_member_string(&w, "Detail", detail);
    tr_json_end_object(&w);
    tr_json_end_array(&w);
    tr_json_end_object(&w);
}

/* {"FailedEntryCount":1,"Entries":[{"ErrorCode":…,"ErrorMessage":…}]} is a failure, too. */
static int check_answer(tr_view answer, tr_arena *arena, tr_error *err)
{
    tr_view failed, entries;
    if (tr_json_member(answer, "FailedEntryCount", arena, &failed) || tr_view_is(failed, "0"))
        return 0;
    if (tr_json_member(answer, "Entries", arena, &entries))
        entries = answer;
    return tr_fail_service(err, TR_ESERVICE, 200, "FailedEntry", "%.*s",
                           entries.len < 1000 ? (int)entries.len : 1000, entries.ptr);
}

static int put_event(void *ctx, tr_view detail, tr_error *err)
{
    send_sink *s = ctx;
    tr_buf body, answer;
    tr_arena arena;
    tr_buf_init(&body, TR__FAILURE_MAX);
    tr_buf_init(&answer, 1 << 20);
    tr_arena_init(&arena, 4 << 20);
    write_entry(s, detail, &arena, &body);
    int e = tr__failure_call(s->client.client, TR_EVENTS, "PutEvents", &body, &answer, err);
    if (!e)
        e = check_answer(tr_buf_view(&answer), &arena, err);
    tr_buf_done(&body);
    tr_buf_done(&answer);
    tr_arena_done(&arena);
    return e;
}

static int bus_put(tr_failure_sink *base, const tr_failure *failure, tr_error *err)
{
    send_sink *s = (send_sink *)base;
    return tr__failure_parts(failure, SEND_LIMIT, &s->logger, put_event, s, err);
}

int tr__failure_open_bus(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                         tr_error *err)
{
    send_sink *s = new_sink(options, name, bus_put);
    if (!s)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_view given = tr_view_str(name);
    bool arn = tr_view_starts(given, TR_VIEW("arn:"));
    int e =
        tr__failure_client_open(options, arn ? tr__arn_part(given, 3) : (tr_view){NULL, 0}, &s->client, err);
    return opened(s, e, ret_sink);
}

/* --------------------------------------------------------------------------------------------- Lambda */

static int invoke(void *ctx, tr_view payload, tr_error *err)
{
    send_sink *s = ctx;
    tr_buf operation, answer;
    tr_header header = {TR_VIEW("X-Amz-Invocation-Type"), TR_VIEW("Event")};
    tr_buf_init(&operation, 2048);
    tr_buf_init(&answer, 1 << 20);
    tr_buf_put_str(&operation, "POST /2015-03-31/functions/");
    tr_percent_put(&operation, tr_view_str(s->name), false);
    tr_buf_put_str(&operation, "/invocations");
    const char *text = tr_buf_cstr(&operation);
    tr_request request = {
        .service = TR_LAMBDA, .operation = text, .body = payload, .headers = &header, .header_count = 1};
    int e = text ? tr_client_call_wait(s->client.client, &request, &answer, err)
                 : tr_fail(err, TR_EINVAL, "a function's name or ARN is at most 170 characters long");
    tr_buf_done(&operation);
    tr_buf_done(&answer);
    return e;
}

static int lambda_put(tr_failure_sink *base, const tr_failure *failure, tr_error *err)
{
    send_sink *s = (send_sink *)base;
    return tr__failure_parts(failure, SEND_LIMIT, &s->logger, invoke, s, err);
}

/* Functions are on AWS (or at AWS_ENDPOINT_URL_LAMBDA), wherever the table is. */
int tr__failure_open_lambda(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                            tr_error *err)
{
    send_sink *s = new_sink(options, name, lambda_put);
    if (!s)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_view given = tr_view_str(name);
    bool arn = tr_view_starts(given, TR_VIEW("arn:"));
    tr_failure_options own = *options;
    if (!own.client || !tr_client_is_aws(own.client))
        own.client = NULL;
    int e = tr__failure_client_open(&own, arn ? tr__arn_part(given, 3) : (tr_view){NULL, 0}, &s->client, err);
    return opened(s, e, ret_sink);
}

/* ------------------------------------------------------------------------------------------- handlers */

static int handler_put(tr_failure_sink *base, const tr_failure *failure, tr_error *err)
{
    send_sink *s = (send_sink *)base;
    tr_buf body;
    tr_buf_init(&body, TR__FAILURE_MAX);
    tr__failure_compose(failure, &body);
    int e = tr_buf_status(&body);
    e = e ? tr_fail(err, e, "a failure record is too large")
          : tr_handler_invoke_wait(s->handler, tr_buf_view(&body), NULL, err);
    tr_buf_done(&body);
    return e;
}

static int open_handler(const tr_failure_options *options, tr_handler_kind kind, const char *target,
                        tr_failure_sink **ret_sink, tr_error *err)
{
    send_sink *s = new_sink(options, target, handler_put);
    if (!s)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_handler_options o = {.logger = options->logger};
    if (options->handler)
        o = *options->handler;
    o.kind = kind;
    o.target = s->name;
    o.name = NULL;
    if (kind == TR_HANDLER_URL && (!o.timeout_ms || o.timeout_ms > URL_TIMEOUT_MS))
        o.timeout_ms = URL_TIMEOUT_MS;
    return opened(s, tr_handler_new(&o, &s->handler, err), ret_sink);
}

int tr__failure_open_exec(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                          tr_error *err)
{
    return open_handler(options, TR_HANDLER_EXEC, name, ret_sink, err);
}

int tr__failure_open_each(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                          tr_error *err)
{
    return open_handler(options, TR_HANDLER_EXEC_EACH, name, ret_sink, err);
}

int tr__failure_open_module(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                            tr_error *err)
{
    return open_handler(options, TR_HANDLER_LAMBDA, name, ret_sink, err);
}

int tr__failure_open_url(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                         tr_error *err)
{
    return open_handler(options, TR_HANDLER_URL, name, ret_sink, err);
}
