/* SPDX-License-Identifier: MIT */
/*
 * AWS Lambda handlers, unchanged: processes that run a bootstrap of ours, which asks the Lambda runtime API
 * (on loopback, below a path of its own per process) for events and gives back what the handler made of them.
 *
 *   worker:  STARTING --GET next--> IDLE --an event--> BUSY --POST response or error--> STARTING (until its
 * next GET) any --the process ends--> gone; its event fails
 */
#include "handler/handler.h"

#include <tailrace/http.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern const char tr__bootstrap_node[], tr__bootstrap_python[];

#define API_PATH       "/2018-06-01/runtime/"
#define LINE_MAX_BYTES ((size_t)256 << 10)

typedef struct worker {
    struct lambda *l;
    struct worker *next;
    unsigned number;
    tr__process *process;
    tr_http_request *waiting; /* its GET next; NULL unless idle */
    tr__event *event;         /* NULL unless busy */
    int64_t since_ms;         /* monotonic: of its start, or its last answer */
    bool leaving;             /* to be replaced: gets no more events */
} worker;

typedef struct lambda {
    tr_handler *h;
    tr_http_server *server;
    unsigned port, last_number, count;
    worker *workers;
    char *file, *function;
    const char *interpreter, *bootstrap, *flag;
    char arn[256];
    struct loading *loading; /* who waits for the first process to have loaded the code */
} lambda;

/* tr_handler_check waiting; no longer known to the loop once it ends. */
typedef struct loading {
    lambda *l;
    uv_mutex_t lock;
    uv_cond_t over;
    bool is_over;
    int code;
    tr_error *err;
} loading;

/* -------------------------------------------------------------------------------------------- loading */

/* type: NULL if the code is loaded. */
static void loaded(lambda *l, const char *type, const char *message)
{
    loading *x = l->loading;
    if (!x)
        return;
    l->loading = NULL;
    uv_mutex_lock(&x->lock);
    x->is_over = true;
    if (type)
        x->code = tr_fail(x->err, TR_ESERVICE, "handler '%s' cannot be loaded: %s: %s", l->h->options.target,
                          type, message);
    uv_cond_signal(&x->over);
    uv_mutex_unlock(&x->lock);
}

/* ------------------------------------------------------------------------------------------ processes */

static void log_line(void *ctx, tr__process *process, bool is_error, tr_view line, bool more)
{
    worker *w = ctx;
    (void)process;
    (void)is_error;
    (void)more;
    tr__handler_log(w->l->h, line);
}

static void unlink_worker(worker *w)
{
    worker **at = &w->l->workers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->l->count--;
}

static void assign(lambda *l);

static void on_worker_exit(void *ctx, tr__process *process, int64_t status, int number)
{
    worker *w = ctx;
    lambda *l = w->l;
    tr__event *e = w->event;
    (void)process;
    unlink_worker(w);
    loaded(l, "Runtime.ExitError", "its process ended");
    if (w->waiting)
        tr_http_respond_bytes(w->waiting, 410, "application/json", TR_VIEW("{}"));
    tr_free(w);
    if (e) {
        e->of_kind = NULL;
        if (number)
            tr__event_fail(e, TR_ECLOSED, "Runtime.ExitError",
                           "RequestId: %s Error: Runtime exited with error: signal: %d", e->uuid, number);
        else
            tr__event_fail(e, TR_ECLOSED, "Runtime.ExitError",
                           "RequestId: %s Error: Runtime exited with error: exit status %d", e->uuid,
                           (int)status);
    }
    assign(l);
}

static const tr__process_events process_events = {.on_line = log_line, .on_exit = on_worker_exit};

/* The handler's environment and what belongs to Lambda. NULL-terminated, in the arena. */
static char **worker_environment(lambda *l, const worker *w, tr_arena *arena)
{
    size_t count = 0;
    while (l->h->environment[count])
        count++;
    char **env = tr_arena_calloc(arena, count + 12, sizeof *env);
    if (!env)
        return NULL;
    memcpy(env, l->h->environment, count * sizeof *env);
    const tr_handler_options *o = &l->h->options;
    char *ours[] = {tr_arena_printf(arena, "AWS_LAMBDA_RUNTIME_API=127.0.0.1:%u/w%u", l->port, w->number),
                    tr_arena_printf(arena, "AWS_LAMBDA_FUNCTION_NAME=%s", o->name),
                    tr_arena_printf(arena, "_HANDLER=%s", o->target),
                    tr_arena_printf(arena, "LAMBDA_TASK_ROOT=%s", o->directory ? o->directory : "."),
                    tr_arena_printf(arena, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST"),
                    tr_arena_printf(arena, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128"),
                    tr_arena_printf(arena, "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/%s", o->name),
                    tr_arena_printf(arena, "AWS_LAMBDA_LOG_STREAM_NAME=w%u", w->number),
                    tr_arena_printf(arena, "PYTHONUNBUFFERED=1")};
    for (size_t i = 0; i < TR_COUNT(ours); i++) {
        if (!ours[i])
            return NULL;
        env[count++] = ours[i];
    }
    return env;
}

static int start_worker(lambda *l, tr_error *err)
{
    worker *w = tr_calloc(1, sizeof *w);
    if (!w)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    *w = (worker){.l = l, .number = ++l->last_number, .since_ms = tr_clock_mono_ms()};
    tr_arena arena;
    tr_arena_init(&arena, 16 << 20);
    const char *args[] = {l->interpreter, l->flag, l->bootstrap, l->file, l->function, NULL};
    tr__process_options o = {.args = args,
                             .environment = worker_environment(l, w, &arena),
                             .directory = l->h->options.directory,
                             .line_max = LINE_MAX_BYTES,
                             .events = &process_events,
                             .ctx = w};
    int e = o.environment ? tr__process_start(tr__loop_uv(l->h->loop), &o, &w->process, err)
                          : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_arena_done(&arena);
    if (e) {
        tr_free(w);
        return e;
    }
    w->next = l->workers;
    l->workers = w;
    l->count++;
    return 0;
}

/* --------------------------------------------------------------------------------------------- events */

/* Hands the event to an idle worker, as the answer to its GET next. */
static void give(worker *w, tr__event *e)
{
    tr_http_request *request = w->waiting;
    char deadline[32];
    int64_t left = e->deadline_ms - tr_clock_mono_ms();
    (void)snprintf(deadline, sizeof deadline, "%lld", (long long)(tr_clock_wall_ms() + left));
    tr_header headers[] = {{TR_VIEW("Lambda-Runtime-Aws-Request-Id"), tr_view_str(e->uuid)},
                           {TR_VIEW("Lambda-Runtime-Deadline-Ms"), tr_view_str(deadline)},
                           {TR_VIEW("Lambda-Runtime-Invoked-Function-Arn"), tr_view_str(w->l->arn)}};
    w->waiting = NULL;
    w->event = e;
    e->of_kind = w;
    request->on_gone = NULL;
    tr_buf_put_view(&request->out, tr_buf_view(&e->json));
    tr_http_respond(request, 200, "application/json", headers, TR_COUNT(headers), 0);
}

static tr__event *unassigned(tr_handler *h)
{
    for (tr__event *e = h->running.first; e; e = e->next)
        if (!e->of_kind)
            return e;
    return NULL;
}

/* Events to idle workers; new workers where there are too few. */
static void assign(lambda *l)
{
    tr__event *e;
    unsigned starting = 0, wanted = 0;
    if (l->h->closing)
        return;
    for (worker *w = l->workers; w; w = w->next) {
        if (w->waiting && !w->leaving && (e = unassigned(l->h)) != NULL)
            give(w, e);
        starting += !w->waiting && !w->event && !w->leaving;
    }
    for (e = l->h->running.first; e; e = e->next)
        wanted += !e->of_kind;
    while (wanted > starting && l->count < l->h->options.concurrency + 1) {
        tr_error err = {0};
        if (start_worker(l, &err)) {
            if ((e = unassigned(l->h)) != NULL) {
                e->of_kind = l;
                tr__event_fail(e, TR_EINVAL, "Runtime.InvalidEntrypoint", "%s", err.message);
            }
            return;
        }
        starting++;
    }
}

/* {"errorType":…,"errorMessage":…,"trace" or "stackTrace":[…]} */
static tr_handler_result read_failure(tr_view body, tr_arena *arena)
{
    tr_json_reader r;
    tr_handler_result result = {
        .code = TR_ESERVICE, .error_type = TR_VIEW("Error"), .error_message = TR_VIEW("Unhandled")};
    tr_json_init(&r, body, arena);
    if (tr_json_next(&r) == TR_JSON_OBJECT)
        while (tr_json_next_key(&r)) {
            tr_view name = r.text, raw;
            tr_json_token t = tr_json_next(&r);
            if (t == TR_JSON_STRING && tr_view_is(name, "errorType"))
                result.error_type = r.text;
            else if (t == TR_JSON_STRING && tr_view_is(name, "errorMessage"))
                result.error_message = r.text;
            else if (t == TR_JSON_ARRAY && (tr_view_is(name, "trace") || tr_view_is(name, "stackTrace"))) {
                if (tr_json_raw(&r, &raw))
                    break;
                result.trace = raw;
            } else if (tr_json_skip(&r))
                break;
        }
    return result;
}

static void fail_with(tr__event *e, tr_view body)
{
    tr_arena arena;
    tr_arena_init(&arena, e->handler->options.output_max + 65536);
    tr_handler_result result = read_failure(body, &arena);
    tr__event_finish(e, &result);
    tr_arena_done(&arena);
}

static void finish_with(tr__event *e, tr_view body)
{
    size_t max = e->handler->options.output_max;
    tr_handler_result result = {.response = body};
    if (body.len > max)
        tr__event_fail(e, TR_ELIMIT, "Function.ResponseSizeTooLarge",
                       "Response payload size (%zu bytes) exceeded maximum allowed payload size (%zu bytes).",
                       body.len, max);
    else if (!tr__handler_is_json(e->handler, body))
        tr__event_fail(e, TR_EPARSE, "Runtime.MarshalError", "the handler's answer is not JSON");
    else
        tr__event_finish(e, &result);
}

/* ----------------------------------------------------------------------------------------- runtime API */

static void on_waiting_gone(tr_http_request *request)
{
    worker *w = request->user;
    w->waiting = NULL;
    tr_http_respond_bytes(request, 410, "application/json", TR_VIEW("{}"));
}

static void accept_answer(tr_http_request *request)
{
    tr_http_respond_bytes(request, 202, "application/json", TR_VIEW("{\"status\":\"OK\"}"));
}

static void tell_loading(lambda *l, tr_view body)
{
    char type[128], message[768];
    tr_arena arena;
    tr_arena_init(&arena, l->h->options.output_max + 65536);
    tr_handler_result result = read_failure(body, &arena);
    (void)snprintf(type, sizeof type, "%.*s", TR_FMT(result.error_type));
    (void)snprintf(message, sizeof message, "%.*s", TR_FMT(result.error_message));
    tr_arena_done(&arena);
    loaded(l, type, message);
}

static void init_failed(lambda *l, worker *w, tr_http_request *request)
{
    tr__event *e = w->event ? w->event : unassigned(l->h);
    w->leaving = true;
    w->event = NULL;
    if (l->loading)
        tell_loading(l, request->body);
    if (e) {
        e->of_kind = l;
        fail_with(e, request->body);
    }
    accept_answer(request);
}

/* "/w3/2018-06-01/runtime/…": the worker and what follows. */
static worker *find_worker(lambda *l, tr_view *path)
{
    char *end;
    if (path->len < 3 || path->ptr[1] != 'w')
        return NULL;
    unsigned long number = strtoul(path->ptr + 2, &end, 10);
    tr_view rest = tr_view_of(end, (size_t)(path->ptr + path->len - end));
    if (!tr_view_starts(rest, TR_VIEW(API_PATH)))
        return NULL;
    *path = tr_view_of(rest.ptr + sizeof API_PATH - 1, rest.len - (sizeof API_PATH - 1));
    for (worker *w = l->workers; w; w = w->next)
        if (w->number == number)
            return w;
    return NULL;
}

static void on_request(void *ctx, tr_http_request *request)
{
    lambda *l = ctx;
    tr_view path = request->path;
    worker *w = l->h->closing ? NULL : find_worker(l, &path);
    if (!w) {
        tr_http_respond_bytes(request, 404, "application/json",
                              TR_VIEW("{\"errorMessage\":\"no such worker\"}"));
        return;
    }
    if (tr_view_is(path, "invocation/next")) {
        if (w->leaving || w->waiting || w->event) {
            tr_http_respond_bytes(request, 410, "application/json", TR_VIEW("{}"));
            return;
        }
        w->waiting = request;
        request->user = w;
        request->on_gone = on_waiting_gone;
        loaded(l, NULL, NULL);
        assign(l);
        return;
    }
    if (tr_view_is(path, "init/error")) {
        init_failed(l, w, request);
        return;
    }
    /* invocation/ID/response or invocation/ID/error */
    tr__event *e = w->event;
    size_t prefix = strlen("invocation/");
    bool ours = e && tr_view_starts(path, TR_VIEW("invocation/")) && path.len > prefix + TR_UUID_LEN &&
                memcmp(path.ptr + prefix, e->uuid, TR_UUID_LEN) == 0;
    tr_view tail = ours ? tr_view_of(path.ptr + prefix + TR_UUID_LEN, path.len - prefix - TR_UUID_LEN) : path;
    if (!ours || (!tr_view_is(tail, "/response") && !tr_view_is(tail, "/error"))) {
        tr_http_respond_bytes(request, 400, "application/json",
                              TR_VIEW("{\"errorMessage\":\"no such invocation\"}"));
        return;
    }
    w->event = NULL;
    w->since_ms = tr_clock_mono_ms();
    if (tr_view_is(tail, "/error"))
        fail_with(e, request->body);
    else
        finish_with(e, request->body);
    accept_answer(request);
}

/* ------------------------------------------------------------------------------------------- lifecycle */

typedef struct opening {
    lambda *l;
    int code;
    tr_error *err;
} opening;

static void open_server(void *ctx)
{
    opening *o = ctx;
    const char *listen[] = {"127.0.0.1:0"};
    tr_http_options options = {.listen = listen,
                               .listen_count = 1,
                               .body_limit = 2 * o->l->h->options.output_max + 65536,
                               .idle_timeout_ms = INT64_C(1) << 40};
    o->code =
        tr_http_server_new(tr__loop_uv(o->l->h->loop), &options, on_request, o->l, &o->l->server, o->err);
    if (!o->code)
        o->l->port = tr_http_server_port(o->l->server, 0);
}

/* "src/trigger.handler" -> the module's file and the function in it. */
static int find_module(lambda *l, tr_error *err)
{
    static const struct {
        const char *ending, *interpreter, *flag, *bootstrap;
    } languages[] = {{".js", "node", "-e", tr__bootstrap_node},
                     {".mjs", "node", "-e", tr__bootstrap_node},
                     {".cjs", "node", "-e", tr__bootstrap_node},
                     {".py", "python3", "-c", tr__bootstrap_python}};
    const tr_handler_options *o = &l->h->options;
    const char *slash = strrchr(o->target, '/'), *name = slash ? slash + 1 : o->target,
               *dot = strchr(name, '.');
    if (!dot || !dot[1])
        return tr_fail(err, TR_EINVAL,
                       "'%s' names no function: FILE.FUNCTION is needed, as in src/trigger.handler",
                       o->target);
    for (size_t i = 0; i < TR_COUNT(languages); i++) {
        char *path = tr_arena_printf(&l->h->memory, "%s%s%.*s%s",
                                     o->target[0] != '/' && o->directory ? o->directory : "",
                                     o->target[0] != '/' && o->directory ? "/" : "", (int)(dot - o->target),
                                     o->target, languages[i].ending);
        if (!path)
            return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
        if (access(path, R_OK) != 0)
            continue;
        char *whole = realpath(path, NULL);
        l->file = whole ? tr_arena_str(&l->h->memory, tr_view_str(whole)) : NULL;
        free(whole);
        l->function = tr_arena_str(&l->h->memory, tr_view_str(dot + 1));
        l->interpreter = languages[i].interpreter;
        l->flag = languages[i].flag;
        l->bootstrap = languages[i].bootstrap;
        return l->file && l->function ? 0 : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    return tr_fail(err, TR_EINVAL, "handler '%s': there is no file %.*s.js, .mjs, .cjs or .py%s%s", o->target,
                   (int)(dot - o->target), o->target, o->directory ? " in " : "",
                   o->directory ? o->directory : "");
}

static int lambda_open(tr_handler *h, tr_error *err)
{
    lambda *l = tr_calloc(1, sizeof *l);
    if (!l)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    l->h = h;
    h->state = l;
    (void)snprintf(l->arn, sizeof l->arn, "arn:aws:lambda:%.40s:000000000000:function:%.128s",
                   h->options.region ? h->options.region : "us-east-1", h->options.name);
    int e = find_module(l, err);
    if (e)
        return e;
    opening o = {.l = l, .err = err};
    tr__loop_call(h->loop, open_server, &o);
    return o.code;
}

static void begin_loading(void *ctx)
{
    loading *x = ctx;
    tr_error err = {0};
    x->l->loading = x;
    if (start_worker(x->l, &err))
        loaded(x->l, "Runtime.InvalidEntrypoint", err.message);
}

static void end_loading(void *ctx)
{
    loading *x = ctx;
    x->l->loading = NULL;
}

/* The process that it starts is the first one's; its events come later. */
static int lambda_check(tr_handler *h, tr_error *err)
{
    loading x = {.l = h->state, .err = err};
    uint64_t until = uv_hrtime() + UINT64_C(1000000) * TR_HANDLER_LOAD_MS, now;
    if (uv_mutex_init(&x.lock))
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (uv_cond_init(&x.over)) {
        uv_mutex_destroy(&x.lock);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    tr__loop_call(h->loop, begin_loading, &x);
    uv_mutex_lock(&x.lock);
    while (!x.is_over && (now = uv_hrtime()) < until)
        (void)uv_cond_timedwait(&x.over, &x.lock, until - now);
    uv_mutex_unlock(&x.lock);
    tr__loop_call(h->loop, end_loading, &x);
    uv_cond_destroy(&x.over);
    uv_mutex_destroy(&x.lock);
    return x.code;
}

static void lambda_start(tr_handler *h, tr__event *e)
{
    (void)e;
    assign(h->state);
}

static void end_worker(worker *w)
{
    w->event = NULL;
    w->leaving = true;
    tr__process_kill(w->process);
}

/* Nobody asked for the event in all its time: those that were loading, or busy behind an answer, for about as
 * long hang. */
static void end_hung(lambda *l)
{
    int64_t since = tr_clock_mono_ms() - l->h->options.timeout_ms / 2;
    for (worker *w = l->workers; w; w = w->next)
        if (!w->waiting && !w->event && !w->leaving && w->since_ms <= since)
            end_worker(w);
}

static void lambda_expire(tr_handler *h, tr__event *e)
{
    if (!e->of_kind)
        end_hung(h->state);
    else if (e->of_kind != h->state)
        end_worker(e->of_kind);
}

static void lambda_restart(tr_handler *h)
{
    lambda *l = h->state;
    for (worker *w = l->workers; w; w = w->next) {
        w->leaving = true;
        if (w->waiting) {
            tr_http_request *request = w->waiting;
            w->waiting = NULL;
            request->on_gone = NULL;
            tr_http_respond_bytes(request, 410, "application/json", TR_VIEW("{}"));
        }
        tr__process_stop(w->process);
    }
}

static void lambda_close(tr_handler *h)
{
    lambda *l = h->state;
    if (!l)
        return;
    while (l->workers) {
        worker *w = l->workers;
        l->workers = w->next;
        tr__process_forget(w->process);
        if (w->waiting) {
            w->waiting->on_gone = NULL;
            tr_http_respond_bytes(w->waiting, 410, "application/json", TR_VIEW("{}"));
        }
        tr_free(w);
    }
    if (l->server)
        tr_http_server_close(l->server, 0, NULL, NULL);
    h->state = NULL;
    tr_free(l);
}

const tr__handler_kind tr__handler_lambda = {.open = lambda_open,
                                             .check = lambda_check,
                                             .start = lambda_start,
                                             .expire = lambda_expire,
                                             .restart = lambda_restart,
                                             .close = lambda_close};
