/* SPDX-License-Identifier: MIT */
/* One attempt of a delivery: to a URL, a function of the server's configuration, a table. */
#include "bus/bus_private.h"
#include "http/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <tailrace/handler.h>
#include <tailrace/http_client.h>
#include <unistd.h>

#define URL_TIMEOUT_MS 30000

struct tr__bus_function {
    tr_bus *bus;
    char *name, *target, *directory, *on_failure;
    char **environment;
    size_t environment_count;
    unsigned concurrency;
    int64_t timeout_ms;
    tr_handler *handler; /* started with the first event */
    tr_target *failures; /* NULL: none */
};

/** An attempt under way on another thread, or in the HTTP client. */
struct tr_attempt {
    tr_bus *bus;
    tr_attempt *next, *prev;
    tr_delivery *delivery; /* NULL: the bus is being closed */
    tr_attempt *next_over;
    tr_outcome outcome;
    char message[512];
    tr_buf payload;    /* of a function: {"errorType":…}; of a sink: the failure record */
    tr_target *target; /* of a sink */
};

#define PAYLOAD_MAX ((size_t)8 * 1024 * 1024)

/* --------------------------------------------------------------------------------------------- attempts */

static tr_attempt *begin(tr_bus *b, tr_delivery *d)
{
    tr_attempt *a = tr_calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->bus = b;
    a->delivery = d;
    tr_buf_init(&a->payload, PAYLOAD_MAX);
    a->next = b->attempts;
    if (b->attempts)
        b->attempts->prev = a;
    b->attempts = a;
    return a;
}

static void unlink_attempt(tr_attempt *a)
{
    if (a->prev)
        a->prev->next = a->next;
    else
        a->bus->attempts = a->next;
    if (a->next)
        a->next->prev = a->prev;
}

static void free_attempt(tr_attempt *a)
{
    if (!a)
        return;
    tr_buf_done(&a->payload);
    tr_free(a);
}

static void end(tr_attempt *a)
{
    tr_bus *b = a->bus;
    if (a->delivery) {
        unlink_attempt(a);
        tr__bus_deliver_finish(b, a->delivery, &a->outcome);
    }
    free_attempt(a);
}

/* An attempt that could not be begun. */
static void undo(tr_attempt *a)
{
    if (a)
        unlink_attempt(a);
    free_attempt(a);
}

/* From any thread: the attempt is over. */
static void hand_over(tr_attempt *a)
{
    tr_bus *b = a->bus;
    (void)pthread_mutex_lock(&b->lock);
    a->next_over = b->over;
    b->over = a;
    (void)pthread_mutex_unlock(&b->lock);
    if (b->options.wake)
        b->options.wake(b->options.wake_ctx);
}

void tr__bus_send_collect(tr_bus *b)
{
    tr_attempt *list = NULL, *next;
    (void)pthread_mutex_lock(&b->lock);
    for (tr_attempt *a = b->over; a; a = next) { /* the oldest first */
        next = a->next_over;
        a->next_over = list;
        list = a;
    }
    b->over = NULL;
    (void)pthread_mutex_unlock(&b->lock);
    for (tr_attempt *a = list; a; a = next) {
        next = a->next_over;
        end(a);
    }
}

static void set_message(tr_attempt *a, tr_view text)
{
    tr_view shown = tr_utf8_cut(text, sizeof a->message - 1);
    if (shown.len)
        memcpy(a->message, shown.ptr, shown.len);
    a->message[shown.len] = 0;
    a->outcome.message = a->message;
}

static void finish_now(tr_bus *b, tr_delivery *d, bool done, bool retry, const char *code,
                       const char *message)
{
    const tr_outcome outcome = {.done = done, .retry = retry, .code = code, .message = message};
    tr__bus_deliver_finish(b, d, &outcome);
}

/* -------------------------------------------------------------------------------------------------- URLs */

/* Worth repeating, as for API destinations (EventBridge User Guide): 401, 407, 409, 429 and 5xx. */
static bool repeat_status(int status)
{
    return status == 401 || status == 407 || status == 409 || status == 429 || status >= 500;
}

static void on_answer(void *ctx, int code, const tr_http_reply *reply, const tr_error *err)
{
    tr_attempt *a = ctx;
    char text[64];
    if (code == 0 && reply->status >= 200 && reply->status < 300) {
        a->outcome.done = true;
    } else if (code == 0) {
        (void)snprintf(text, sizeof text, "the URL answered with status %d", reply->status);
        a->outcome.retry = repeat_status(reply->status);
        a->outcome.code = reply->status == 429 ? "THROTTLING" : "SDK_CLIENT_ERROR";
        set_message(a, tr_view_str(text));
    } else {
        a->outcome.retry = code != TR_EINVAL;
        a->outcome.code = code == TR_ETIMEOUT ? "TIMEOUT" : "SDK_CLIENT_ERROR";
        set_message(a, tr_view_str(err->message));
    }
    hand_over(a);
}

/* Made when first used: most buses call nobody. */
static int open_http(tr_bus *b, tr_error *err)
{
    if (b->http)
        return 0;
    if (!b->options.loop)
        return tr_fail(err, TR_EUNSUPPORTED, "there is no HTTP client");
    const tr_http_client_options options = {.body_limit = 1024 * 1024, .logger = b->options.logger};
    return tr_http_client_new(tr__loop_uv(b->options.loop), &options, &b->http, err);
}

static void send_url(tr_bus *b, tr_delivery *d, const char *url, tr_view input)
{
    static const tr_header json = {{"Content-Type", 12}, {"application/json", 16}};
    const tr_http_call call = {.method = "POST",
                               .url = url,
                               .headers = &json,
                               .header_count = 1,
                               .body = input,
                               .timeout_ms = URL_TIMEOUT_MS};
    tr_error err;
    if (open_http(b, &err)) {
        finish_now(b, d, false, true, "SDK_CLIENT_ERROR", err.message);
        return;
    }
    tr_attempt *a = begin(b, d);
    int e = a ? tr_http_client_send(b->http, &call, on_answer, a, NULL) : TR_ENOMEM;
    if (e == 0)
        return;
    undo(a);
    finish_now(b, d, false, e != TR_EINVAL, "SDK_CLIENT_ERROR",
               e == TR_EINVAL ? "the URL is not valid" : tr_strerror(e));
}

/* --------------------------------------------------------------------------------------------- functions */

static tr__bus_function *find(const tr_bus *b, tr_view name)
{
    /* NAME, NAME:ALIAS */
    size_t colon = tr_view_find(name, TR_VIEW(":"), 0);
    if (colon != SIZE_MAX)
        name.len = colon;
    for (size_t i = 0; i < b->function_count; i++)
        if (tr_view_is(name, b->functions[i].name))
            return &b->functions[i];
    return NULL;
}

bool tr__bus_send_knows(const tr_bus *b, tr_view name)
{
    return find(b, name) != NULL;
}

/* Handlers take events one at a time, in their order; URLs many at once. */
unsigned tr__bus_send_concurrency(const tr_bus *b, tr_view name)
{
    const tr__bus_function *f = find(b, name);
    if (f && f->concurrency)
        return f->concurrency;
    return f && strncmp(f->target, "http", 4) == 0 ? 16 : 1;
}

tr_target *tr__bus_send_failures(const tr_bus *b, tr_view name)
{
    const tr__bus_function *f = find(b, name);
    return f ? f->failures : NULL;
}

void tr_bus_restart_function(tr_bus *b, tr_view name)
{
    tr__bus_function *f = find(b, name);
    if (f && f->handler)
        tr_handler_restart(f->handler);
}

/* What Lambda gives back for a handler that failed. */
static void put_payload(tr_attempt *a, const tr_handler_result *result)
{
    tr_json_writer w;
    tr_buf_reset(&a->payload); /* the event, where it was wrapped */
    tr_json_write_init(&w, &a->payload);
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "errorType", result->error_type.len ? result->error_type : TR_VIEW("Error"));
    tr_json_member_string(&w, "errorMessage", result->error_message);
    tr_json_name(&w, "trace");
    tr_json_value(&w, result->trace.len ? result->trace : TR_VIEW("[]"));
    tr_json_end_object(&w);
    if (tr_buf_status(&a->payload) == 0)
        a->outcome.payload = tr_buf_view(&a->payload);
}

/* On the handler's thread. */
static void on_result(void *ctx, const tr_handler_result *result)
{
    tr_attempt *a = ctx;
    a->outcome.done = result->code == 0;
    a->outcome.retry = !a->outcome.done;
    a->outcome.code = result->code == TR_ETIMEOUT ? "TIMEOUT" : "SDK_CLIENT_ERROR";
    set_message(a,
                result->error_message.len ? result->error_message : tr_view_str(tr_strerror(result->code)));
    if (result->code)
        put_payload(a, result);
    hand_over(a);
}

/* A line that a function wrote, on its handler's thread. */
static void on_line(void *ctx, tr_view line)
{
    const tr__bus_function *f = ctx;
    const tr_bus_options *o = &f->bus->options;
    if (o->on_function_log)
        o->on_function_log(o->function_log_ctx, f->name, line);
}

static int start_handler(tr_bus *b, tr__bus_function *f, tr_error *err)
{
    static const struct {
        const char *prefix;
        tr_handler_kind kind;
    } kinds[] = {
        {"exec:", TR_HANDLER_EXEC}, {"exec-each:", TR_HANDLER_EXEC_EACH}, {"handler:", TR_HANDLER_LAMBDA}};
    for (size_t i = 0; i < TR_COUNT(kinds); i++) {
        size_t len = strlen(kinds[i].prefix);
        if (strncmp(f->target, kinds[i].prefix, len) != 0)
            continue;
        const tr_handler_options options = {.kind = kinds[i].kind,
                                            .target = f->target + len,
                                            .name = f->name,
                                            .directory = f->directory,
                                            .environment = (const char *const *)f->environment,
                                            .environment_count = f->environment_count,
                                            .concurrency = f->concurrency,
                                            .timeout_ms = f->timeout_ms,
                                            .on_log = on_line,
                                            .log_ctx = f,
                                            .endpoint = b->endpoint,
                                            .region = b->region,
                                            .logger = b->options.logger};
        return tr_handler_new(&options, &f->handler, err);
    }
    return tr_fail(err, TR_EINVAL, "a function is exec:, exec-each:, handler:, file:, stdout: or a URL");
}

/* {"event":…}, in the attempt's buffer. */
static tr_view wrapped(tr_attempt *a, tr_view input)
{
    tr_buf_put_str(&a->payload, "{\"event\":");
    tr_buf_put_view(&a->payload, input);
    tr_buf_putc(&a->payload, '}');
    return tr_buf_view(&a->payload);
}

static void send_handler(tr_bus *b, tr_delivery *d, tr__bus_function *f, tr_view input)
{
    tr_error err;
    if (!b->options.loop) {
        finish_now(b, d, false, true, "SDK_CLIENT_ERROR", "functions need an event loop");
        return;
    }
    if (!f->handler && start_handler(b, f, &err)) {
        finish_now(b, d, false, true, "SDK_CLIENT_ERROR", err.message);
        return;
    }
    tr_attempt *a = begin(b, d);
    /* a process that stays knows its lines by their id, and the event has one of its own */
    tr_view event = a && strncmp(f->target, "exec:", 5) == 0 ? wrapped(a, input) : input;
    int e = !a ? TR_ENOMEM : tr_buf_status(&a->payload);
    if (e == 0)
        e = tr_handler_invoke(f->handler, event, on_result, a);
    if (e == 0) /* the attempt is the handler's thread's now */
        return;
    undo(a);
    finish_now(b, d, false, e != TR_EINVAL, e == TR_EINVAL ? "INVALID_PARAMETER" : "SDK_CLIENT_ERROR",
               e == TR_EINVAL ? "What the function is given is not a JSON object." : tr_strerror(e));
}

/* -------------------------------------------------------------------------------- failure destinations */

/* On the sinks' thread. */
static void put_sink(void *ctx)
{
    tr_attempt *a = ctx;
    tr_error err;
    err.message[0] = 0;
    int e = tr__failure_put(a->target, tr_buf_view(&a->payload), &err);
    a->outcome.done = e == 0;
    a->outcome.retry = true;
    a->outcome.code = "SDK_CLIENT_ERROR";
    set_message(a, tr_view_str(err.message[0] ? err.message : tr_strerror(e)));
    hand_over(a);
}

static void send_sink(tr_bus *b, tr_delivery *d, tr_view record)
{
    tr_error err;
    int e = tr__failure_open(b, d->target, &err);
    if (e == 0 && !b->sinks)
        e = tr__loop_new(&b->sinks, &err);
    tr_attempt *a = e ? NULL : begin(b, d);
    if (e == 0 && !a)
        e = TR_ENOMEM;
    if (e == 0) {
        a->target = d->target;
        tr_buf_put_view(&a->payload, record);
        e = tr_buf_status(&a->payload);
    }
    if (e == 0)
        e = tr__loop_post(b->sinks, put_sink, a);
    if (e == 0)
        return;
    undo(a);
    finish_now(b, d, false, true, "SDK_CLIENT_ERROR", tr_strerror(e));
}

/* ------------------------------------------------------------------------------------------------- lines */

/* A line at the file's end, written in one piece. */
static void send_line(tr_bus *b, tr_delivery *d, const char *path, tr_view input)
{
    tr_buf line;
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : STDOUT_FILENO,
        saved = errno;
    tr_buf_init(&line, TR__BUS_TEXT_MAX * 2);
    tr_buf_put_view(&line, input);
    tr_buf_putc(&line, '\n');
    bool ok = fd >= 0 && tr_buf_status(&line) == 0;
    for (size_t at = 0; ok && at < line.len;) {
        ssize_t n = write(fd, line.ptr + at, line.len - at);
        saved = errno;
        ok = n > 0 || (n < 0 && errno == EINTR);
        at += n > 0 ? (size_t)n : 0;
    }
    if (path && fd >= 0)
        (void)close(fd);
    tr_buf_done(&line);
    finish_now(b, d, ok, true, "SDK_CLIENT_ERROR", ok ? "" : strerror(saved));
}

static void send_function(tr_bus *b, tr_delivery *d, tr_view name, tr_view input)
{
    tr__bus_function *f = find(b, name);
    if (!f)
        finish_now(b, d, false, false, "NO_RESOURCE",
                   "The function does not exist: it is not in the server's configuration.");
    else if (strncmp(f->target, "http", 4) == 0)
        send_url(b, d, f->target, input);
    else if (strncmp(f->target, "file:", 5) == 0)
        send_line(b, d, f->target + 5, input);
    else if (strcmp(f->target, "stdout:") == 0)
        send_line(b, d, NULL, input);
    else
        send_handler(b, d, f, input);
}

/* ------------------------------------------------------------------------------------------------ tables */

static int pack(tr_view input, tr_arena *arena, tr_buf *packed)
{
    tr_json_reader reader;
    tr_item_error problem;
    tr_json_init(&reader, input, arena);
    if (tr_json_next(&reader) != TR_JSON_OBJECT)
        return TR_EPARSE;
    int e = tr_item_read_plain(&reader, TR_PLAIN_EXACT, packed, &problem);
    return e ? e : tr_json_next(&reader) == TR_JSON_DONE ? 0 : TR_EPARSE;
}

/* The input becomes an item, put over whatever is there. */
static const char *put_item(tr_bus *b, tr_table *table, tr_view input)
{
    const char *problem = NULL;
    tr_arena arena;
    tr_buf packed;
    tr_arena_init(&arena, TR__BUS_TEXT_MAX * 4);
    tr_buf_init(&packed, TR__BUS_TEXT_MAX);
    if (pack(input, &arena, &packed)) {
        problem = "What the target is given is not a JSON object.";
    } else {
        tr_write write = {.kind = TR_WRITE_PUT, .table = table, .item = tr_buf_view(&packed)};
        tr_error err;
        if (packed.len > 400 * 1024)
            problem = "The item is larger than 400 KB.";
        else if (!tr_bus_item_fits(table, write.item))
            problem = "The item lacks a key attribute of the table, or has one of the wrong type.";
        else if (tr_engine_write(b->engine, &write, 1, false, &arena, &err))
            problem = "The table cannot be written.";
        else if (write.outcome != TR_WRITE_DONE)
            problem = "The item does not fit the table.";
    }
    tr_buf_done(&packed);
    tr_arena_done(&arena);
    return problem;
}

static void send_table(tr_bus *b, tr_delivery *d, tr_view name, tr_view input)
{
    tr_table *table = tr_engine_table(b->engine, name);
    const char *problem = table ? put_item(b, table, input) : "The table does not exist.";
    finish_now(b, d, !problem, false, table ? "INVALID_PARAMETER" : "NO_RESOURCE", problem);
}

static void send_to_table(tr_bus *b, tr_delivery *d, tr_view name, tr_view input)
{
    tr_buf item;
    if (!d->target->failures) {
        send_table(b, d, name, input);
        return;
    }
    tr_buf_init(&item, TR__BUS_TEXT_MAX * 2);
    if (tr__failure_item(d->target, input, &item))
        finish_now(b, d, false, true, "SDK_CLIENT_ERROR", "out of memory");
    else
        send_table(b, d, name, tr_buf_view(&item));
    tr_buf_done(&item);
}

/* ----------------------------------------------------------------------------------------------- sending */

static void send_input(tr_bus *b, tr_delivery *d, tr_view input)
{
    tr_view arn = tr_view_str(d->target->arn);
    switch (d->target->kind) {
    case TR_TARGET_URL:
        send_url(b, d, d->target->arn, input);
        return;
    case TR_TARGET_FUNCTION:
        send_function(b, d, tr__arn_name(arn, "lambda", "function:"), input);
        return;
    case TR_TARGET_SINK:
        send_sink(b, d, input);
        return;
    case TR_TARGET_TABLE:
        send_to_table(b, d, tr__arn_name(arn, "dynamodb", "table/"), input);
        return;
    default: {
        const tr_outcome outcome = d->target->failures && d->target->kind == TR_TARGET_BUS
                                       ? tr__failure_publish(b, d->target, input)
                                       : tr__bus_deliver_inside(b, d->target, input);
        tr__bus_deliver_finish(b, d, &outcome);
    }
    }
}

void tr__bus_send(tr_bus *b, tr_delivery *d)
{
    tr_view text, input;
    tr_buf loaded;
    tr_error err;
    tr_buf_init(&loaded, TR__BUS_TEXT_MAX);
    tr_buf_reset(&b->text);
    if (tr__event_text(b, d->event, &loaded, &text))
        finish_now(b, d, false, true, "SDK_CLIENT_ERROR", "the event cannot be read");
    else if (tr__bus_input_make(d->target, text, d->event->received_ms, &b->text, &input, &err))
        finish_now(b, d, false, false, "INVALID_PARAMETER", err.message);
    else
        send_input(b, d, input);
    tr_buf_done(&loaded);
}

/* -------------------------------------------------------------------------------------------- open, close */

static int check_kind(const tr__bus_function *f, tr_error *err)
{
    static const char *const kinds[] = {
        "exec:", "exec-each:", "handler:", "file:", "stdout:", "http://", "https://"};
    for (size_t k = 0; k < TR_COUNT(kinds); k++)
        if (strncmp(f->target, kinds[k], strlen(kinds[k])) == 0)
            return 0;
    return tr_fail(err, TR_EINVAL,
                   "function %s: '%s' is none of exec:COMMAND, exec-each:COMMAND, handler:MODULE.EXPORT, "
                   "file:PATH, stdout:, http://… and https://…",
                   f->name, f->target);
}

static int copy_function(tr_bus *b, const tr_server_function *from, tr__bus_function *f, tr_error *err)
{
    f->bus = b;
    f->name = tr_strdup(from->name);
    f->target = tr_strdup(from->target);
    f->directory = tr_strdup(from->directory);
    f->on_failure = tr_strdup(from->on_failure);
    f->concurrency = from->concurrency;
    f->timeout_ms = from->timeout_ms;
    f->environment = from->environment_count ? tr_calloc(from->environment_count, sizeof(char *)) : NULL;
    bool ok = f->name && f->target && (!from->directory || f->directory) &&
              (!from->on_failure || f->on_failure) && (!from->environment_count || f->environment);
    for (size_t i = 0; ok && i < from->environment_count; i++)
        ok = (f->environment[f->environment_count++] = tr_strdup(from->environment[i])) != NULL;
    return ok ? check_kind(f, err) : tr_fail(err, TR_ENOMEM, "out of memory");
}

static int copy_functions(tr_bus *b, tr_error *err)
{
    const tr_bus_options *o = &b->options;
    int e = 0;
    if (!o->function_count)
        return 0;
    b->functions = tr_calloc(o->function_count, sizeof *b->functions);
    if (!b->functions)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    for (size_t i = 0; e == 0 && i < o->function_count; i++)
        e = copy_function(b, &o->functions[i], &b->functions[b->function_count++], err);
    for (size_t i = 0; e == 0 && i < b->function_count; i++)
        if (b->functions[i].on_failure)
            e = tr__failure_target(b, b->functions[i].name, b->functions[i].on_failure,
                                   &b->functions[i].failures, err);
    b->options.functions = NULL;
    return e;
}

int tr__bus_send_failures_open(tr_bus *b, tr_error *err)
{
    int e = 0;
    for (size_t i = 0; e == 0 && i < b->function_count; i++)
        if (b->functions[i].failures)
            e = tr__failure_open(b, b->functions[i].failures, err);
    return e;
}

static void free_function(tr__bus_function *f)
{
    tr_handler_free(f->handler);
    tr__bus_target_unref(f->failures);
    for (size_t i = 0; i < f->environment_count; i++)
        tr_free(f->environment[i]);
    tr_free(f->environment);
    tr_free(f->name);
    tr_free(f->target);
    tr_free(f->directory);
    tr_free(f->on_failure);
}

int tr__bus_send_open(tr_bus *b, tr_error *err)
{
    return copy_functions(b, err);
}

/* Deliveries under way are forgotten here and stay in the store. */
void tr__bus_send_close(tr_bus *b)
{
    for (tr_attempt *a = b->attempts, *next; a; a = next) {
        next = a->next;
        a->next = a->prev = NULL;
        tr__bus_deliver_forget(b, a->delivery);
        a->delivery = NULL;
    }
    b->attempts = NULL;
    tr_http_client_free(b->http);
    b->http = NULL;
    tr__loop_free(b->sinks);
    b->sinks = NULL;
    for (size_t i = 0; i < b->function_count; i++)
        free_function(&b->functions[i]);
    tr_free(b->functions);
    b->functions = NULL;
    b->function_count = 0;
    tr__bus_send_collect(b);
}
