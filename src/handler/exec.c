/* SPDX-License-Identifier: MIT */
/* One process that stays: an event is a line {"id":n,…} on its input, its outcome a line {"id":n,…} on its
 * output. */
#include "handler/handler.h"

#include <stdio.h>

#define PAUSE_BASE_MS 100
#define PAUSE_CAP_MS  10000

typedef struct exec {
    tr_handler *h;
    tr__process *process;
    uv_timer_t pause;     /* before a start after one that ended badly */
    bool pausing, rested; /* rested: the pause was served */
    bool doomed;          /* the process was killed: nothing more is given to it */
    bool flooded;
    char fault[320];   /* why it was killed, if its output was at fault: what else it says is ignored */
    unsigned failures; /* starts in a row that ended before any answer */
    tr_rng rng;
    tr_buf line;
} exec;

static void run_next(exec *x);

/* {"id":n,…the event's members} */
static void write_event(exec *x, tr__event *e)
{
    tr_view json = tr_buf_view(&e->json);
    size_t at = 1; /* behind the brace */
    while (at < json.len && strchr(" \t\r\n", json.ptr[at]))
        at++;
    tr_buf_reset(&x->line);
    tr_buf_printf(&x->line, "{\"id\":%llu%s", (unsigned long long)e->id, json.ptr[at] == '}' ? "" : ",");
    for (; at < json.len; at++) /* a line must stay one; line feeds can only be white space in JSON */
        tr_buf_putc(&x->line, json.ptr[at] == '\n' || json.ptr[at] == '\r' ? ' ' : json.ptr[at]);
    tr_buf_putc(&x->line, '\n');
    int code = tr_buf_status(&x->line) ? tr_buf_status(&x->line)
                                       : tr__process_write(x->process, tr_buf_view(&x->line));
    e->of_kind = x; /* it was handed over */
    if (code && code != TR_ECLOSED)
        tr__event_fail(e, code, "Runtime.ExitError", "the event cannot be given to the process: %s",
                       tr_strerror(code));
    /* where it has closed its input it is about to end, which fails the event */
}

static bool has_given(const exec *x)
{
    for (tr__event *e = x->h->running.first; e; e = e->next)
        if (e->of_kind == x)
            return true;
    return false;
}

/* What it says cannot be followed any more: it is ended, which fails the events it has. */
static void end_faulty(exec *x)
{
    x->doomed = true;
    tr__process_kill(x->process);
}

static void answer(exec *x, tr_view line)
{
    tr_arena arena;
    tr_view raw;
    uint64_t id;
    tr_arena_init(&arena, x->h->options.output_max + 65536);
    tr_json_reader reader;
    tr_json_init(&reader, line, &arena);
    bool valid = tr_json_next(&reader) == TR_JSON_OBJECT && tr_json_skip(&reader) == 0 &&
                 tr_json_next(&reader) == TR_JSON_DONE;
    tr__event *e =
        valid && tr_json_member(line, "id", &arena, &raw) == 0 && tr_view_to_u64(raw, UINT64_MAX, &id) == 0
            ? tr__event_find(x->h, id)
            : NULL;
    tr_arena_done(&arena);
    if (e && e->of_kind == x) {
        x->failures = 0;
        tr_handler_result result = {.response = line};
        tr__event_finish(e, &result);
        return;
    }
    bool waiting = has_given(x); /* perhaps for ever: that line may have been meant as the answer */
    (void)snprintf(x->fault, sizeof x->fault,
                   "a line on its output is no answer ({\"id\":n,…} of an event it was given): %.*s",
                   line.len < 200 ? (int)line.len : 200, line.ptr);
    tr_log(&x->h->options.logger, TR_LOG_WARN, "%s: %s%s", x->h->options.name, x->fault,
           waiting ? "; it is ended" : "");
    if (waiting)
        end_faulty(x);
    else
        x->fault[0] = 0;
}

static void on_line(void *ctx, tr__process *process, bool is_error, tr_view line, bool more)
{
    exec *x = ctx;
    (void)process;
    if (is_error) {
        tr__handler_log(x->h, line);
        return;
    }
    if (more) { /* longer than an answer may be: it cannot be told which event's */
        tr_log(&x->h->options.logger, TR_LOG_ERROR,
               "%s: a line on its output is longer than %zu bytes: it is ended", x->h->options.name,
               x->h->options.output_max);
        (void)snprintf(x->fault, sizeof x->fault, "an answer was too long");
        x->flooded = true;
        end_faulty(x);
    } else if (line.len && !x->fault[0]) {
        answer(x, line);
    }
}

/* All events that the process had are failed. */
static void fail_given(exec *x, int code, const char *format, const char *how, int number)
{
    while (has_given(x)) {
        tr__event *e = x->h->running.first;
        while (e->of_kind != x)
            e = e->next;
        tr__event_fail(e, code, "Runtime.ExitError", format, how, number);
    }
}

static void on_exit_event(void *ctx, tr__process *process, int64_t status, int number)
{
    exec *x = ctx;
    char fault[sizeof x->fault];
    (void)process;
    x->process = NULL;
    x->failures++;
    bool flooded = x->flooded;
    memcpy(fault, x->fault, sizeof fault);
    x->fault[0] = 0;
    x->flooded = x->doomed = false;
    if (fault[0])
        fail_given(x, flooded ? TR_ELIMIT : TR_EPARSE, "the process was ended: %s", fault, 0);
    else if (number)
        fail_given(x, TR_ECLOSED, "the process ended without an answer: %s %d", "signal", number);
    else
        fail_given(x, TR_ECLOSED, "the process ended without an answer: %s %d", "exit status", (int)status);
    run_next(x);
}

static const tr__process_events events = {.on_line = on_line, .on_exit = on_exit_event};

static void on_pause_over(uv_timer_t *timer)
{
    exec *x = timer->data;
    x->pausing = false;
    x->rested = true;
    run_next(x);
}

static bool has_work(const exec *x)
{
    for (tr__event *e = x->h->running.first; e; e = e->next)
        if (!e->of_kind)
            return true;
    return false;
}

static int start_process(exec *x, tr_error *err)
{
    const char *args[] = {"/bin/sh", "-c", x->h->options.target, NULL};
    tr__process_options o = {.args = args,
                             .environment = x->h->environment,
                             .directory = x->h->options.directory,
                             .line_max = x->h->options.output_max,
                             .events = &events,
                             .ctx = x};
    return tr__process_start(tr__loop_uv(x->h->loop), &o, &x->process, err);
}

/* Gives events to the process, which is started if need be, after a pause if it has ended badly before. */
static void run_next(exec *x)
{
    tr_handler *h = x->h;
    if (h->closing || x->pausing || x->doomed || !has_work(x))
        return;
    if (!x->process && x->failures && !x->rested) {
        x->pausing = true;
        (void)uv_timer_start(&x->pause, on_pause_over,
                             (uint64_t)tr_backoff_ms(&x->rng, x->failures - 1, PAUSE_BASE_MS, PAUSE_CAP_MS),
                             0);
        x->failures = x->failures > 10 ? 10 : x->failures;
        return;
    }
    tr_error err = {0};
    x->rested = false;
    if (!x->process && start_process(x, &err)) {
        while (has_work(x)) {
            tr__event *e = h->running.first;
            while (e->of_kind)
                e = e->next;
            e->of_kind = x;
            tr__event_fail(e, TR_EINVAL, "Runtime.InvalidEntrypoint", "%s", err.message);
        }
        return;
    }
    for (tr__event *e = h->running.first, *next; e; e = next) {
        next = e->next;
        if (!e->of_kind)
            write_event(x, e);
    }
}

static int exec_open(tr_handler *h, tr_error *err)
{
    exec *x = tr_calloc(1, sizeof *x);
    if (!x)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    x->h = h;
    tr_buf_init(&x->line, TR__EVENT_MAX + 64);
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&x->rng, seed);
    h->state = x;
    return 0;
}

static void exec_start(tr_handler *h, tr__event *e)
{
    exec *x = h->state;
    (void)e;
    if (!x->pause.data) {
        (void)uv_timer_init(tr__loop_uv(h->loop), &x->pause);
        x->pause.data = x;
    }
    run_next(x);
}

/* The process hangs in it: nothing else that it was given will be answered either. */
static void exec_expire(tr_handler *h, tr__event *e)
{
    exec *x = h->state;
    (void)e;
    if (!x->process)
        return;
    x->doomed = true;
    tr__process_kill(x->process);
}

static void exec_restart(tr_handler *h)
{
    exec *x = h->state;
    if (!x->process)
        return;
    x->doomed = true;
    tr__process_stop(x->process);
}

static void free_exec(uv_handle_t *handle)
{
    exec *x = handle->data;
    tr_buf_done(&x->line);
    tr_free(x);
}

static void exec_close(tr_handler *h)
{
    exec *x = h->state;
    if (!x)
        return;
    if (x->process)
        tr__process_forget(x->process);
    h->state = NULL;
    if (x->pause.data)
        uv_close((uv_handle_t *)&x->pause, free_exec);
    else {
        tr_buf_done(&x->line);
        tr_free(x);
    }
}

const tr__handler_kind tr__handler_exec = {.open = exec_open,
                                           .check = tr__command_check,
                                           .start = exec_start,
                                           .expire = exec_expire,
                                           .restart = exec_restart,
                                           .close = exec_close};
