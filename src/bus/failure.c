/* SPDX-License-Identifier: MIT */
/* Where failures of functions go: the record that Lambda sends to a destination, and what takes it. */
#include "bus/bus_private.h"

#include <stdio.h>
#include <tailrace/failure.h>

#define ARENA_MAX ((size_t)16 * 1024 * 1024)

/* EventBridge's name of the limit, as Lambda tells it. */
static const char *lambda_condition(const char *condition)
{
    return strcmp(condition, "MaximumEventAgeInSeconds") == 0 ? "EventAgeExceeded" : "RetriesExhausted";
}

static void put_context(tr_bus *b, const tr_delivery *d, const char *condition, tr_json_writer *w)
{
    char id[TR_UUID_LEN + 1];
    tr_view name = tr__arn_name(tr_view_str(d->target->arn), "lambda", "function:");
    tr_uuid(id);
    tr_json_name(w, "requestContext");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "requestId", id);
    tr_json_name(w, "functionArn");
    tr_json_sep(w);
    tr_buf_printf(w->out, "\"arn:aws:lambda:%s:%s:function:%.*s:$LATEST\"", b->region, TR_BUS_ACCOUNT,
                  TR_FMT(name));
    tr_json_member_cstring(w, "condition", lambda_condition(condition));
    tr_json_member_u64(w, "approximateInvokeCount", d->attempts);
    tr_json_end_object(w);
}

int tr__failure_record(tr_bus *b, const tr_delivery *d, tr_view input, const tr_outcome *outcome,
                       const char *condition, tr_buf *out)
{
    char time[TR_TIME_TEXT_MAX];
    tr_json_writer w;
    tr_time_format(tr_clock_wall_ms(), true, time);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "version", "1.0");
    tr_json_member_cstring(&w, "timestamp", time);
    put_context(b, d, condition, &w);
    tr_json_name(&w, "requestPayload");
    tr_json_value(&w, input);
    tr_json_name(&w, "responseContext");
    tr_json_begin_object(&w);
    tr_json_member_u64(&w, "statusCode", 200);
    tr_json_member_cstring(&w, "executedVersion", "$LATEST");
    tr_json_member_cstring(&w, "functionError", "Unhandled");
    tr_json_end_object(&w);
    tr_json_name(&w, "responsePayload");
    if (outcome->payload.len) {
        tr_json_value(&w, outcome->payload);
    } else {
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "errorType", "Error");
        tr_json_member_cstring(&w, "errorMessage", outcome->message ? outcome->message : "");
        tr_json_name(&w, "trace");
        tr_json_begin_array(&w);
        tr_json_end_array(&w);
        tr_json_end_object(&w);
    }
    tr_json_end_object(&w);
    return tr_buf_status(out);
}

/* ---------------------------------------------------------------------------------------- destinations */

/* The ARN by which this server knows the place; empty: it is none of its own. */
static void own_arn(const tr_bus *b, const tr_failure_place *place, char *out, size_t size)
{
    static const char *const resources[] = {[TR_FAILURE_TABLE] = "dynamodb:%s:%s:table/%.*s",
                                            [TR_FAILURE_QUEUE] = "sqs:%s:%s:%.*s",
                                            [TR_FAILURE_BUS] = "events:%s:%s:event-bus/%.*s",
                                            [TR_FAILURE_LAMBDA] = "lambda:%s:%s:function:%.*s"};
    const char *resource = place->kind < TR_COUNT(resources) ? resources[place->kind] : NULL;
    if (place->kind == TR_FAILURE_LAMBDA && !tr__bus_send_knows(b, place->name))
        resource = NULL;
    memcpy(out, "arn:aws:", resource ? sizeof "arn:aws:" : 1);
    out[resource ? 8 : 0] = 0;
    if (resource)
        (void)snprintf(out + 8, size - 8, resource, b->region, TR_BUS_ACCOUNT, TR_FMT(place->name));
}

/* A function's name, or one of the places of failure.h. */
static int parse(const tr_bus *b, const char *function, const char *destination, tr_failure_place *place,
                 tr_error *err)
{
    tr_error why;
    *place =
        (tr_failure_place){.kind = TR_FAILURE_LAMBDA, .at = destination, .name = tr_view_str(destination)};
    bool named = !strchr(destination, ':') && tr__bus_send_knows(b, place->name);
    if (!named && tr_failure_parse(destination, place, &why))
        return tr_fail(err, TR_EINVAL, "function %s: %s; or the name of another function", function,
                       why.message);
    bool known = place->kind == TR_FAILURE_LAMBDA && tr__bus_send_knows(b, place->name);
    if (known && tr_view_is(place->name, function))
        return tr_fail(err, TR_EINVAL, "function %s cannot be its own failure destination", function);
    if (place->kind == TR_FAILURE_LAMBDA && !known && tr_view_is(place->account, TR_BUS_ACCOUNT))
        return tr_fail(err, TR_ENOTFOUND, "function %s: there is no function %.*s for its failures", function,
                       TR_FMT(place->name));
    return 0;
}

int tr__failure_target(tr_bus *b, const char *function, const char *destination, tr_target **ret_target,
                       tr_error *err)
{
    char arn[2048];
    tr_failure_place place;
    int e = parse(b, function, destination, &place, err);
    if (e)
        return e;
    own_arn(b, &place, arn, sizeof arn);
    tr_target *t = tr__bus_target_new(b, tr_view_str(function), TR_VIEW("on-failure"),
                                      tr_view_str(arn[0] ? arn : destination));
    if (!t)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    t->failures = true;
    if (!arn[0] && place.kind != TR_FAILURE_URL) {
        t->kind = TR_TARGET_SINK;
        t->concurrency = 1; /* calls of a sink come one at a time */
    }
    *ret_target = t;
    return 0;
}

int tr__failure_open(tr_bus *b, tr_target *t, tr_error *err)
{
    const tr_handler_options code = {
        .endpoint = b->endpoint, .region = b->region, .logger = b->options.logger};
    const tr_failure_options o = {
        .destination = t->arn, .region = b->region, .handler = &code, .logger = b->options.logger};
    tr_error why;
    if (t->kind != TR_TARGET_SINK || t->sink)
        return 0;
    int e = tr_failure_sink_open(&o, &t->sink, &why);
    return e ? tr_fail(err, e, "function %s: %s", t->owner, why.message) : 0;
}

/* --------------------------------------------------------------------------------------------- records */

/* A member of the record, its text if it is a string. */
static tr_view member(tr_view record, const char *name, tr_arena *arena)
{
    tr_view raw;
    return tr_json_member(record, name, arena, &raw) ? (tr_view){NULL, 0} : raw;
}

static tr_failure read_record(const tr_target *t, tr_view record, tr_arena *arena)
{
    tr_view payload = member(record, "responsePayload", arena);
    return (tr_failure){.source = tr_view_str(t->owner),
                        .record = record,
                        .event = member(record, "requestPayload", arena),
                        .error_type = tr_doc_text(payload, "errorType", arena),
                        .error_message = tr_doc_text(payload, "errorMessage", arena),
                        .attempts = (uint64_t)tr_doc_int(member(record, "requestContext", arena),
                                                         "approximateInvokeCount", 0)};
}

int tr__failure_put(tr_target *t, tr_view record, tr_error *err)
{
    tr_arena arena;
    tr_arena_init(&arena, ARENA_MAX);
    const tr_failure failure = read_record(t, record, &arena);
    int e = t->sink->put(t->sink, &failure, err);
    tr_arena_done(&arena);
    return e;
}

/* As src/handler/failure_table.c has it; the event is the record's. */
int tr__failure_item(const tr_target *t, tr_view record, tr_buf *out)
{
    char time[TR_TIME_TEXT_MAX], id[TR_TIME_TEXT_MAX + TR_UUID_LEN + 2], uuid[TR_UUID_LEN + 1];
    tr_arena arena;
    tr_json_writer w;
    tr_arena_init(&arena, ARENA_MAX);
    const tr_failure f = read_record(t, record, &arena);
    tr_time_format(tr_clock_wall_ms(), true, time);
    tr_uuid(uuid);
    (void)snprintf(id, sizeof id, "%s-%s", time, uuid);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "id", id);
    tr_json_member_cstring(&w, "time", time);
    tr_json_member_string(&w, "source", f.source);
    tr_json_member_u64(&w, "attempts", f.attempts);
    tr_json_member_string(&w, "error_type", f.error_type);
    tr_json_member_string(&w, "error_message", f.error_message);
    tr_json_member_string(&w, "record", f.record);
    tr_json_end_object(&w);
    tr_arena_done(&arena);
    return tr_buf_status(out);
}

/* An event of a bus, as Lambda's destinations make it. */
tr_outcome tr__failure_publish(tr_bus *b, const tr_target *t, tr_view record)
{
    char id[TR_UUID_LEN + 1];
    tr_view name = tr__arn_name(tr_view_str(t->arn), "events", "event-bus/");
    tr_buf resources;
    tr_error err;
    if (!tr_bus_find(b, TR_RES_BUS, name))
        return (tr_outcome){.code = "NO_RESOURCE", .message = "The event bus does not exist."};
    tr_buf_init(&resources, 4096);
    tr_buf_printf(&resources, "[\"arn:aws:lambda:%s:%s:function:%s:$LATEST\"]", b->region, TR_BUS_ACCOUNT,
                  t->owner);
    const tr_bus_entry entry = {.source = TR_VIEW("lambda"),
                                .detail_type = TR_VIEW("Lambda Function Invocation Result - Failure"),
                                .resources = tr_buf_view(&resources),
                                .detail = record,
                                .time_ms = tr_clock_wall_ms()};
    int e = tr_buf_status(&resources) ? TR_ELIMIT : tr_bus_publish(b, name, &entry, id, &err);
    tr_buf_done(&resources);
    return (tr_outcome){.done = !e,
                        .retry = true,
                        .code = "SDK_CLIENT_ERROR",
                        .message = "The event bus cannot take the event."};
}
