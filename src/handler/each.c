/* SPDX-License-Identifier: MIT */
/* A fresh process per event: the event on its input, success is exit status 0. */
#include "handler/handler.h"

#include <stdio.h>

typedef struct each {
    tr_handler *h;
    tr__event *event; /* NULL: it was given up */
    tr__process *process;
    struct each *next, *prev;
    tr_buf last_error; /* its last line on standard error, for the message */
} each;

/* All that run. */
typedef struct each_list {
    each *first;
} each_list;

static void drop(each *x)
{
    each_list *list = x->h->state;
    if (list) {
        *(x->prev ? &x->prev->next : &list->first) = x->next;
        if (x->next)
            x->next->prev = x->prev;
    }
    tr_buf_done(&x->last_error);
    tr_free(x);
}

static void on_line(void *ctx, tr__process *process, bool is_error, tr_view line, bool more)
{
    each *x = ctx;
    (void)process;
    (void)more;
    tr__handler_log(x->h, line);
    if (is_error && line.len) {
        tr_buf_reset(&x->last_error);
        tr_buf_put(&x->last_error, line.ptr, line.len < 1000 ? line.len : 1000);
    }
}

static void on_exit_event(void *ctx, tr__process *process, int64_t status, int number)
{
    each *x = ctx;
    tr__event *e = x->event;
    (void)process;
    if (!e) {
        drop(x);
        return;
    }
    e->of_kind = NULL;
    if (number) {
        tr__event_fail(e, TR_ECLOSED, "Runtime.ExitError", "ended by signal %d", number);
    } else if (status) {
        tr__event_fail(e, TR_ESERVICE, "Runtime.ExitError", "exit status %d%s%.*s", (int)status,
                       x->last_error.len ? ": " : "", (int)x->last_error.len,
                       x->last_error.ptr ? x->last_error.ptr : "");
    } else {
        tr_handler_result result = {0};
        tr__event_finish(e, &result);
    }
    drop(x);
}

static const tr__process_events events = {.on_line = on_line, .on_exit = on_exit_event};

static int each_open(tr_handler *h, tr_error *err)
{
    h->state = tr_calloc(1, sizeof(each_list));
    return h->state ? 0 : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

static void each_start(tr_handler *h, tr__event *e)
{
    each_list *list = h->state;
    each *x = tr_calloc(1, sizeof *x);
    tr_error err = {0};
    if (!x) {
        tr__event_fail(e, TR_ENOMEM, "Runtime.Unknown", "%s", tr_strerror(TR_ENOMEM));
        return;
    }
    *x = (each){.h = h, .event = e, .next = list->first};
    tr_buf_init(&x->last_error, 2000);
    if (list->first)
        list->first->prev = x;
    list->first = x;
    const char *args[] = {"/bin/sh", "-c", h->options.target, NULL};
    tr__process_options o = {.args = args,
                             .environment = h->environment,
                             .directory = h->options.directory,
                             .line_max = 65536,
                             .events = &events,
                             .ctx = x};
    if (tr__process_start(tr__loop_uv(h->loop), &o, &x->process, &err)) {
        drop(x);
        tr__event_fail(e, TR_EINVAL, "Runtime.InvalidEntrypoint", "%s", err.message);
        return;
    }
    e->of_kind = x;
    tr_buf_putc(&e->json, '\n');
    /* one that does not read all of its input may still succeed: its exit status decides */
    (void)tr__process_write(x->process, tr_buf_view(&e->json));
    tr__process_end_input(x->process);
}

static void each_expire(tr_handler *h, tr__event *e)
{
    each *x = e->of_kind;
    (void)h;
    if (!x)
        return;
    x->event = NULL;
    tr__process_kill(x->process);
}

static void each_close(tr_handler *h)
{
    each_list *list = h->state;
    while (list && list->first) {
        each *x = list->first;
        tr__process_forget(x->process);
        drop(x);
    }
    h->state = NULL;
    tr_free(list);
}

const tr__handler_kind tr__handler_each = {.open = each_open,
                                           .check = tr__command_check,
                                           .start = each_start,
                                           .expire = each_expire,
                                           .close = each_close};
