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

/* Tables, queues and buses are this server's own: their ARNs are targets like any other. */
static int open_sink(tr_bus *b, const char *function, const char *destination, tr_failure_sink **ret_sink,
                     tr_error *err)
{
    if (tr_failure_needs_client(destination))
        return tr_fail(err, TR_EINVAL, "function %s: name '%s' by its ARN", function, destination);
    const tr_handler_options code = {
        .endpoint = b->endpoint, .region = b->region, .logger = b->options.logger};
    const tr_failure_options o = {.destination = destination, .handler = &code, .logger = b->options.logger};
    return tr_failure_sink_open(&o, ret_sink, err);
}

int tr__failure_target(tr_bus *b, const char *function, const char *destination, tr_target **ret_target,
                       tr_error *err)
{
    char arn[256] = "";
    tr_view to = tr_view_str(destination);
    bool named = tr__bus_send_knows(b, to), place = tr_view_starts(to, TR_VIEW("arn:")) ||
                                                    tr_view_starts(to, TR_VIEW("http://")) ||
                                                    tr_view_starts(to, TR_VIEW("https://"));
    if (named && strcmp(destination, function) == 0)
        return tr_fail(err, TR_EINVAL, "function %s cannot be its own failure destination", function);
    if (named)
        (void)snprintf(arn, sizeof arn, "arn:aws:lambda:%s:%s:function:%s", b->region, TR_BUS_ACCOUNT,
                       destination);
    tr_target *t =
        tr__bus_target_new(b, tr_view_str(function), TR_VIEW("on-failure"), named ? tr_view_str(arn) : to);
    if (!t)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    if (!named && place && t->kind == TR_TARGET_NOWHERE) {
        tr__bus_target_unref(t);
        return tr_fail(err, TR_EINVAL,
                       "function %s: '%s' is no ARN of a function, queue, bus or table of this server",
                       function, destination);
    }
    if (!named && !place) {
        int e = open_sink(b, function, destination, &t->sink, err);
        if (e) {
            tr__bus_target_unref(t);
            return e;
        }
        t->kind = TR_TARGET_SINK;
        t->concurrency = 1; /* calls of a sink come one at a time */
    }
    *ret_target = t;
    return 0;
}

/* A member of the record, its text if it is a string. */
static tr_view member(tr_view record, const char *name, tr_arena *arena)
{
    tr_view raw;
    return tr_json_member(record, name, arena, &raw) ? (tr_view){NULL, 0} : raw;
}

int tr__failure_put(tr_target *t, tr_view record, tr_error *err)
{
    tr_arena arena;
    tr_arena_init(&arena, ARENA_MAX);
    tr_view payload = member(record, "responsePayload", &arena);
    const tr_failure failure = {.source = tr_view_str(t->owner),
                                .record = record,
                                .event = member(record, "requestPayload", &arena),
                                .error_type = tr_doc_text(payload, "errorType", &arena),
                                .error_message = tr_doc_text(payload, "errorMessage", &arena),
                                .attempts = (uint64_t)tr_doc_int(member(record, "requestContext", &arena),
                                                                 "approximateInvokeCount", 0)};
    int e = t->sink->put(t->sink, &failure, err);
    tr_arena_done(&arena);
    return e;
}
