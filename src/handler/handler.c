/* SPDX-License-Identifier: MIT */
#include "handler/handler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

/* ---------------------------------------------------------------------------------------------- events */

static void list_add(tr__event_list *list, tr__event *event)
{
    event->next = NULL;
    event->prev = list->last;
    if (list->last)
        list->last->next = event;
    else
        list->first = event;
    list->last = event;
}

static void list_remove(tr__event_list *list, tr__event *event)
{
    *(event->prev ? &event->prev->next : &list->first) = event->next;
    *(event->next ? &event->next->prev : &list->last) = event->prev;
    event->next = event->prev = NULL;
}

static void free_event(tr__event *event)
{
    tr_buf_done(&event->json);
    tr_free(event);
}

static void on_deadline(uv_timer_t *timer);

/* The timer stands at the nearest deadline. */
static void set_timer(tr_handler *h)
{
    int64_t nearest = INT64_MAX;
    for (tr__event *e = h->running.first; e; e = e->next)
        if (e->deadline_ms < nearest)
            nearest = e->deadline_ms;
    if (!h->timer_open)
        return;
    if (nearest == INT64_MAX) {
        (void)uv_timer_stop(&h->timer);
        return;
    }
    int64_t left = nearest - tr_clock_mono_ms();
    (void)uv_timer_start(&h->timer, on_deadline, left > 0 ? (uint64_t)left : 0, 0);
}

void tr__event_finish(tr__event *event, const tr_handler_result *result)
{
    tr_handler *h = event->handler;
    list_remove(&h->running, event);
    h->running_count--;
    event->fn(event->ctx, result);
    free_event(event);
    set_timer(h);
    tr__handler_pump(h);
}

void tr__event_fail(tr__event *event, int code, const char *type, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    tr_utf8_mend(message, strlen(message)); /* what programs write may be any bytes, and it is cut */
    tr_handler_result result = {
        .code = code, .error_type = tr_view_str(type), .error_message = tr_view_str(message)};
    tr__event_finish(event, &result);
}

tr__event *tr__event_find(tr_handler *h, uint64_t id)
{
    for (tr__event *e = h->running.first; e; e = e->next)
        if (e->id == id)
            return e;
    return NULL;
}

static void on_deadline(uv_timer_t *timer)
{
    tr_handler *h = timer->data;
    int64_t now = tr_clock_mono_ms();
    for (tr__event *e = h->running.first, *next; e; e = next) {
        next = e->next;
        if (e->deadline_ms > now)
            continue;
        h->kind->expire(h, e);
        tr__event_fail(e, TR_ETIMEOUT, "Sandbox.Timedout", "Task timed out after %.2f seconds",
                       (double)h->options.timeout_ms / 1000);
        next = h->running.first; /* callbacks and other ends may have changed the list */
    }
    set_timer(h);
}

void tr__handler_pump(tr_handler *h)
{
    if (h->pumping) /* an event ended at its start: the loop below starts the next, not a call within a call
                     */
        return;
    h->pumping = true;
    while (h->waiting.first && h->running_count < h->options.concurrency && !h->closing) {
        tr__event *e = h->waiting.first;
        list_remove(&h->waiting, e);
        list_add(&h->running, e);
        h->running_count++;
        e->deadline_ms = tr_clock_mono_ms() + h->options.timeout_ms;
        h->kind->start(h, e);
    }
    h->pumping = false;
    set_timer(h);
}

bool tr__handler_is_json(const tr_handler *h, tr_view text)
{
    tr_arena arena;
    tr_json_reader r;
    tr_arena_init(&arena, h->options.output_max + 65536);
    tr_json_init(&r, text, &arena);
    bool valid =
        tr_json_next(&r) != TR_JSON_ERROR && tr_json_skip(&r) == 0 && tr_json_next(&r) == TR_JSON_DONE;
    tr_arena_done(&arena);
    return valid;
}

void tr__handler_log(tr_handler *h, tr_view line)
{
    if (h->options.on_log)
        h->options.on_log(h->options.log_ctx, line);
}

/* ------------------------------------------------------------------------------------------- environment */

static bool sets(const char *entry, const char *name)
{
    size_t n = strlen(name);
    return strncmp(entry, name, n) == 0 && entry[n] == '=';
}

/* Adds NAME=VALUE, in place of one of that name. */
static int env_set(tr_handler *h, size_t *count, const char *name, const char *value)
{
    char *entry = tr_arena_printf(&h->memory, "%s=%s", name, value);
    if (!entry)
        return TR_ENOMEM;
    for (size_t i = 0; i < *count; i++)
        if (sets(h->environment[i], name)) {
            h->environment[i] = entry;
            return 0;
        }
    h->environment[(*count)++] = entry;
    h->environment[*count] = NULL;
    return 0;
}

static int env_offline(tr_handler *h, size_t *n)
{
    static const char *const endpoints[] = {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB",
                                            "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
                                            "AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL_SQS"};
    int e = env_set(h, n, "IS_OFFLINE", "true");
    for (size_t i = 0; i < TR_COUNT(endpoints) && !e; i++)
        e = env_set(h, n, endpoints[i], h->options.endpoint);
    if (!e)
        e = env_set(h, n, "AWS_ACCESS_KEY_ID", "offline");
    if (!e)
        e = env_set(h, n, "AWS_SECRET_ACCESS_KEY", "offline");
    return e;
}

/* This process's environment; offline without what would lead to real credentials. Returns how many. */
static size_t copy_environment(tr_handler *h)
{
    static const char *const real[] = {"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"};
    size_t count = 0;
    for (char **entry = environ; *entry; entry++) {
        bool skip = false;
        for (size_t i = 0; h->options.endpoint && i < TR_COUNT(real); i++)
            skip |= sets(*entry, real[i]);
        if (!skip)
            h->environment[count++] = *entry;
    }
    return count;
}

/* This process's environment, what offline code needs, the region, and what the user adds. */
static int make_environment(tr_handler *h)
{
    size_t count = 0;
    while (environ[count])
        count++;
    h->environment =
        tr_arena_calloc(&h->memory, count + h->options.environment_count + 16, sizeof *h->environment);
    if (!h->environment)
        return TR_ENOMEM;
    count = copy_environment(h);
    int e = 0;
    if (h->options.endpoint)
        e = env_offline(h, &count);
    const char *region = h->options.region ? h->options.region : h->options.endpoint ? "us-east-1" : NULL;
    if (!e && region)
        e = env_set(h, &count, "AWS_REGION", region);
    if (!e && region)
        e = env_set(h, &count, "AWS_DEFAULT_REGION", region);
    for (size_t i = 0; i < h->options.environment_count && !e; i++) {
        const char *entry = h->options.environment[i], *eq = strchr(entry, '=');
        char *name = eq ? tr_arena_str(&h->memory, tr_view_of(entry, (size_t)(eq - entry))) : NULL;
        e = !eq ? TR_EINVAL : !name ? TR_ENOMEM : env_set(h, &count, name, eq + 1);
    }
    return e;
}

/* -------------------------------------------------------------------------------------------- lifecycle */

static int check(const tr_handler_options *o, tr_error *err)
{
    if (!o->target || !o->target[0])
        return tr_fail(err, TR_EINVAL, "a handler needs a target: a command, a URL or MODULE.EXPORT");
    if (o->concurrency > TR_HANDLER_CONCURRENCY_MAX)
        return tr_fail(err, TR_EINVAL, "concurrency %u: at most %d", o->concurrency,
                       TR_HANDLER_CONCURRENCY_MAX);
    if (o->timeout_ms < 0)
        return tr_fail(err, TR_EINVAL, "a time limit must not be negative");
    for (size_t i = 0; i < o->environment_count; i++)
        if (!strchr(o->environment[i], '=') || o->environment[i][0] == '=')
            return tr_fail(err, TR_EINVAL, "environment '%s': NAME=VALUE is needed", o->environment[i]);
    return 0;
}

static const char *keep(tr_handler *h, const char *text, bool *failed)
{
    if (!text)
        return NULL;
    char *copy = tr_arena_str(&h->memory, tr_view_str(text));
    *failed |= !copy;
    return copy;
}

static int take_options(tr_handler *h, const tr_handler_options *o)
{
    bool failed = false;
    h->options = *o;
    h->options.target = keep(h, o->target, &failed);
    h->options.name = keep(h, o->name ? o->name : o->target, &failed);
    h->options.directory = keep(h, o->directory, &failed);
    h->options.endpoint = keep(h, o->endpoint, &failed);
    h->options.region = keep(h, o->region, &failed);
    if (!h->options.concurrency)
        h->options.concurrency = 1;
    if (!h->options.timeout_ms)
        h->options.timeout_ms = TR_HANDLER_TIMEOUT_MS;
    if (!h->options.output_max)
        h->options.output_max = TR_HANDLER_OUTPUT_MAX;
    return failed ? TR_ENOMEM : make_environment(h);
}

static void open_timer(void *ctx)
{
    tr_handler *h = ctx;
    h->timer_open = uv_timer_init(tr__loop_uv(h->loop), &h->timer) == 0;
    h->timer.data = h;
}

/* On the loop, when it is freed: everything ends. */
static void close_all(void *ctx)
{
    tr_handler *h = ctx;
    h->closing = true;
    tr_handler_result canceled = {.code = TR_ECANCELED, .error_message = TR_VIEW("the handler is closed")};
    h->kind->close(h);
    while (h->running.first)
        tr__event_finish(h->running.first, &canceled);
    while (h->waiting.first) {
        tr__event *e = h->waiting.first;
        list_remove(&h->waiting, e);
        e->fn(e->ctx, &canceled);
        free_event(e);
    }
    if (h->timer_open)
        uv_close((uv_handle_t *)&h->timer, NULL);
    h->timer_open = false;
}

static const tr__handler_kind *kind_of(tr_handler_kind kind)
{
    switch (kind) {
    case TR_HANDLER_EXEC:
        return &tr__handler_exec;
    case TR_HANDLER_EXEC_EACH:
        return &tr__handler_each;
    case TR_HANDLER_URL:
        return &tr__handler_url;
    default:
        return &tr__handler_lambda;
    }
}

int tr_handler_new(const tr_handler_options *options, tr_handler **ret_handler, tr_error *err)
{
    int e = check(options, err);
    if (e)
        return e;
    tr_handler *h = tr_calloc(1, sizeof *h);
    if (!h)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_arena_init(&h->memory, 16 << 20);
    h->kind = kind_of(options->kind);
    e = take_options(h, options);
    if (e)
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    if (!e)
        e = tr__loop_new(&h->loop, err);
    if (!e)
        tr__loop_call(h->loop, open_timer, h);
    if (!e && h->kind->open)
        e = h->kind->open(h, err);
    if (!e && (e = tr__loop_at_stop(h->loop, close_all, h)))
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    if (e) {
        if (h->loop) {
            tr__loop_call(h->loop, close_all, h);
            tr__loop_free(h->loop);
        }
        tr_arena_done(&h->memory);
        tr_free(h);
        return e;
    }
    *ret_handler = h;
    return 0;
}

int tr_handler_check(tr_handler *h, tr_error *err)
{
    if (tr__loop_on_thread(h->loop))
        return tr_fail(err, TR_ETHREAD, "a blocking call on the handler's thread");
    return h->kind->check ? h->kind->check(h, err) : 0;
}

void tr_handler_free(tr_handler *h)
{
    if (!h)
        return;
    tr__loop_free(h->loop);
    tr_arena_done(&h->memory);
    tr_free(h);
}

static void enqueue(void *ctx)
{
    tr__event *e = ctx;
    tr_handler *h = e->handler;
    if (h->closing) {
        tr_handler_result canceled = {.code = TR_ECANCELED,
                                      .error_message = TR_VIEW("the handler is closed")};
        e->fn(e->ctx, &canceled);
        free_event(e);
        return;
    }
    e->id = ++h->last_id;
    list_add(&h->waiting, e);
    tr__handler_pump(h);
}

int tr_handler_invoke(tr_handler *h, tr_view event, tr_handler_fn *fn, void *ctx)
{
    if (event.len < 2 || event.ptr[0] != '{')
        return TR_EINVAL;
    tr__event *e = tr_calloc(1, sizeof *e);
    if (!e)
        return TR_ENOMEM;
    *e = (tr__event){.handler = h, .fn = fn, .ctx = ctx};
    tr_uuid(e->uuid);
    tr_buf_init(&e->json, TR__EVENT_MAX);
    tr_buf_put_view(&e->json, event);
    int code = tr_buf_status(&e->json);
    if (!code)
        code = tr__loop_post(h->loop, enqueue, e);
    if (code)
        free_event(e);
    return code;
}

/* ------------------------------------------------------------------------------------------- blocking */

typedef struct waiter {
    uv_sem_t done;
    int code;
    tr_buf *response;
    tr_error *err;
} waiter;

static void on_result(void *ctx, const tr_handler_result *result)
{
    waiter *w = ctx;
    w->code = result->code;
    if (result->code)
        (void)tr_fail_service(w->err, result->code, 0, "", "%.*s", TR_FMT(result->error_message));
    if (result->code && w->err)
        (void)snprintf(w->err->type, sizeof w->err->type, "%.*s", TR_FMT(result->error_type));
    if (w->response)
        tr_buf_put_view(w->response, result->code ? result->trace : result->response);
    uv_sem_post(&w->done);
}

int tr_handler_invoke_wait(tr_handler *h, tr_view event, tr_buf *ret_response, tr_error *err)
{
    if (tr__loop_on_thread(h->loop))
        return tr_fail(err, TR_ETHREAD, "a blocking call on the handler's thread");
    waiter w = {.response = ret_response, .err = err};
    if (uv_sem_init(&w.done, 0))
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    int e = tr_handler_invoke(h, event, on_result, &w);
    if (e)
        (void)tr_fail(err, e, "the event cannot be handled: %s", tr_strerror(e));
    else
        uv_sem_wait(&w.done);
    uv_sem_destroy(&w.done);
    return e ? e : w.code;
}

/* Those that are there now; callbacks may bring new ones. */
static void cancel(void *ctx)
{
    tr_handler *h = ctx;
    uint64_t last = h->last_id;
    tr_handler_result canceled = {.code = TR_ECANCELED, .error_message = TR_VIEW("canceled")};
    while (h->waiting.first && h->waiting.first->id <= last) {
        tr__event *e = h->waiting.first;
        list_remove(&h->waiting, e);
        e->fn(e->ctx, &canceled);
        free_event(e);
    }
    for (tr__event *e = h->running.first; e && e->id <= last; e = h->running.first) {
        h->kind->expire(h, e);
        tr__event_finish(e, &canceled);
    }
}

void tr_handler_cancel(tr_handler *h)
{
    tr__loop_call(h->loop, cancel, h);
}

static void restart(void *ctx)
{
    tr_handler *h = ctx;
    if (h->kind->restart && !h->closing)
        h->kind->restart(h);
}

void tr_handler_restart(tr_handler *h)
{
    tr__loop_call(h->loop, restart, h);
}
