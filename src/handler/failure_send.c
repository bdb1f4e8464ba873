/* SPDX-License-Identifier: MIT */
/* Failures to what cannot be read again: an event bus, a function on AWS, a handler, a URL. */
#include "handler/failure.h"

#include <tailrace/publish.h>

#include <stdio.h>

#define SEND_LIMIT     (256 * 1024 - 4096) /* of an entry of PutEvents, and of an asynchronous invocation */
#define URL_TIMEOUT_MS 30000
#define BUS_RETRIES    5 /* then whoever puts decides about going on */

typedef struct send_sink {
    tr_failure_sink base;
    tr__failure_client client;
    tr_handler *handler;
    tr_publisher *publisher;
    char *name; /* bus or function */
    tr_logger logger;
} send_sink;

static void send_free(tr_failure_sink *base)
{
    send_sink *s = (send_sink *)base;
    tr_handler_free(s->handler);
    tr_publisher_free(s->publisher);
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

/* requestContext.functionArn, as a resource. */
static tr_view function_arn(tr_view record, tr_arena *arena)
{
    tr_view context, arn;
    tr_json_reader r;
    if (tr_json_member(record, "requestContext", arena, &context) || context.ptr[0] != '{' ||
        tr_json_member(context, "functionArn", arena, &arn))
        return (tr_view){NULL, 0};
    tr_json_init(&r, arn, arena);
    return tr_json_next(&r) == TR_JSON_STRING ? r.text : (tr_view){NULL, 0};
}

static int put_event(void *ctx, tr_view detail, tr_error *err)
{
    send_sink *s = ctx;
    tr_arena arena;
    tr_arena_init(&arena, TR__FAILURE_MAX);
    tr_view arn = function_arn(detail, &arena);
    const tr_publish_entry entry = {.source = TR_VIEW("lambda"),
                                    .detail_type = TR_VIEW("Lambda Function Invocation Result - Failure"),
                                    .detail = detail,
                                    .resources = &arn,
                                    .resource_count = arn.len != 0};
    int e = tr_publisher_put_wait(s->publisher, &entry, NULL, err);
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
    const tr_publisher_options po = {
        .bus = name, .limit_retries = true, .retries = BUS_RETRIES, .logger = options->logger};
    if (!e && options->check)
        e = tr_publish_check_bus(s->client.client, name, err);
    if (!e)
        e = tr_publisher_new(s->client.client, &po, &s->publisher, err);
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
    int e = tr_handler_new(&o, &s->handler, err);
    if (!e && options->check)
        e = tr_handler_check(s->handler, err);
    return opened(s, e, ret_sink);
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
