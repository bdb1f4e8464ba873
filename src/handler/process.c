/* SPDX-License-Identifier: MIT */
#include "handler/process.h"

#include <signal.h>
#include <stdlib.h>

#define INPUT_MAX      ((size_t)64 << 20)
#define ERROR_LINE_MAX ((size_t)64 << 10)
#define STOP_STEP_MS   2000
#define DRAIN_STEP_MS  250 /* after the exit, twice: what it wrote has been read by then */

/* One of its outputs, cut into lines. */
typedef struct output {
    uv_pipe_t pipe;
    bool open;
    tr_buf line;
    size_t max;
} output;

struct tr__process {
    uv_process_t child;
    uv_pipe_t input;
    uv_timer_t timer; /* of stopping */
    output outputs[2];
    const tr__process_events *events;
    void *ctx;
    size_t queued; /* bytes written and not yet taken */
    int64_t status;
    int signal;
    unsigned handles; /* not closed yet */
    bool exited, input_open, input_ending, told, term_sent, drained;
    char chunk[65536];
};

typedef struct writing {
    uv_write_t request;
    tr__process *process;
    size_t len;
    char bytes[];
} writing;

static void on_closed(uv_handle_t *handle)
{
    tr__process *p = handle->data;
    if (--p->handles)
        return;
    tr_buf_done(&p->outputs[0].line);
    tr_buf_done(&p->outputs[1].line);
    tr_free(p);
}

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void close_input(tr__process *p)
{
    if (p->input_open)
        close_handle(&p->input);
    p->input_open = false;
}

/* All is over once it has exited and its outputs are read to their ends. */
static void maybe_over(tr__process *p)
{
    if (!p->exited || p->outputs[0].open || p->outputs[1].open || p->told)
        return;
    p->told = true;
    close_input(p);
    close_handle(&p->timer);
    close_handle(&p->child);
    if (p->events)
        p->events->on_exit(p->ctx, p, p->status, p->signal);
}

static void close_output(tr__process *p, output *o)
{
    if (!o->open)
        return;
    o->open = false;
    close_handle(&o->pipe);
    if (o->line.len && p->events)
        p->events->on_line(p->ctx, p, o == &p->outputs[1], tr_buf_view(&o->line), false);
    tr_buf_reset(&o->line);
    maybe_over(p);
}

/* Pipes are looked at between two timers, so at the second one they are empty of what the child wrote. */
static void on_drain_timer(uv_timer_t *timer)
{
    tr__process *p = timer->data;
    if (p->drained) {
        (void)uv_timer_stop(timer);
        close_output(p, &p->outputs[0]);
        close_output(p, &p->outputs[1]);
    }
    p->drained = true;
}

static void on_child_exit(uv_process_t *child, int64_t status, int signal)
{
    tr__process *p = child->data;
    p->exited = true;
    p->status = status;
    p->signal = signal;
    /* what it left running must not keep our ends of the pipes open; what has a session of its own is not
     * reached by this, and not waited for */
    (void)kill(-child->pid, SIGKILL);
    (void)uv_timer_start(&p->timer, on_drain_timer, DRAIN_STEP_MS, DRAIN_STEP_MS);
    maybe_over(p);
}

static void take_bytes(tr__process *p, output *o, tr_view bytes)
{
    bool is_error = o == &p->outputs[1];
    while (bytes.len) {
        const char *end = memchr(bytes.ptr, '\n', bytes.len);
        size_t n = end ? (size_t)(end - bytes.ptr) : bytes.len;
        size_t room = o->max - o->line.len;
        bool full = n > room;
        tr_buf_put(&o->line, bytes.ptr, full ? room : n);
        if (full || end) {
            if (p->events)
                p->events->on_line(p->ctx, p, is_error, tr_buf_view(&o->line), full);
            tr_buf_reset(&o->line);
        }
        size_t used = full ? room : n + (end != NULL);
        bytes = tr_view_of(bytes.ptr + used, bytes.len - used);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    tr__process *p = handle->data;
    (void)suggested;
    *buf = uv_buf_init(p->chunk, sizeof p->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    tr__process *p = stream->data;
    output *o = (uv_stream_t *)&p->outputs[0].pipe == stream ? &p->outputs[0] : &p->outputs[1];
    if (n > 0)
        take_bytes(p, o, tr_view_of(buf->base, (size_t)n));
    else if (n < 0)
        close_output(p, o);
}

static int init_handles(tr__process *p, uv_loop_t *loop)
{
    uv_handle_t *all[] = {(uv_handle_t *)&p->input, (uv_handle_t *)&p->outputs[0].pipe,
                          (uv_handle_t *)&p->outputs[1].pipe, (uv_handle_t *)&p->timer};
    if (uv_pipe_init(loop, &p->input, 0) || uv_pipe_init(loop, &p->outputs[0].pipe, 0) ||
        uv_pipe_init(loop, &p->outputs[1].pipe, 0) || uv_timer_init(loop, &p->timer))
        return TR_ENOMEM;
    for (size_t i = 0; i < TR_COUNT(all); i++)
        all[i]->data = p;
    p->child.data = p;
    p->handles = TR_COUNT(all) + 1;
    p->input_open = p->outputs[0].open = p->outputs[1].open = true;
    return 0;
}

int tr__process_start(uv_loop_t *loop, const tr__process_options *options, tr__process **ret_process,
                      tr_error *err)
{
    tr__process *p = tr_calloc(1, sizeof *p);
    if (!p || init_handles(p, loop)) {
        tr_free(p);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    p->events = options->events;
    p->ctx = options->ctx;
    p->outputs[0].max = options->line_max;
    p->outputs[1].max = ERROR_LINE_MAX;
    tr_buf_init(&p->outputs[0].line, options->line_max);
    tr_buf_init(&p->outputs[1].line, ERROR_LINE_MAX);
    const int readable = UV_CREATE_PIPE | UV_READABLE_PIPE, writable = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
    uv_stdio_container_t stdio[3] = {
        {.flags = (uv_stdio_flags)readable, .data.stream = (uv_stream_t *)&p->input},
        {.flags = (uv_stdio_flags)writable, .data.stream = (uv_stream_t *)&p->outputs[0].pipe},
        {.flags = (uv_stdio_flags)writable, .data.stream = (uv_stream_t *)&p->outputs[1].pipe}};
    uv_process_options_t o = {.file = options->args[0],
                              .args = (char **)(uintptr_t)options->args,
                              .env = (char **)(uintptr_t)options->environment,
                              .cwd = options->directory,
                              .flags = UV_PROCESS_DETACHED,
                              .exit_cb = on_child_exit,
                              .stdio_count = 3,
                              .stdio = stdio};
    int e = uv_spawn(loop, &p->child, &o);
    if (e) {
        p->events = NULL;
        p->exited = p->told = true;
        p->input_open = p->outputs[0].open = p->outputs[1].open = false;
        close_handle(&p->input);
        close_handle(&p->outputs[0].pipe);
        close_handle(&p->outputs[1].pipe);
        close_handle(&p->timer);
        close_handle(&p->child);
        return tr_fail(err, TR_EINVAL, "cannot start %s: %s", options->args[0], uv_strerror(e));
    }
    (void)uv_read_start((uv_stream_t *)&p->outputs[0].pipe, on_alloc, on_read);
    (void)uv_read_start((uv_stream_t *)&p->outputs[1].pipe, on_alloc, on_read);
    *ret_process = p;
    return 0;
}

static void on_written(uv_write_t *request, int status)
{
    writing *w = request->data;
    tr__process *p = w->process;
    p->queued -= w->len;
    tr_free(w);
    if (status || (p->input_ending && !p->queued))
        close_input(p); /* it does not read any more, or that was all */
}

int tr__process_write(tr__process *p, tr_view bytes)
{
    if (!p->input_open || p->input_ending)
        return TR_ECLOSED;
    if (bytes.len > INPUT_MAX - p->queued)
        return TR_ELIMIT;
    writing *w = tr_malloc(sizeof *w + bytes.len);
    if (!w)
        return TR_ENOMEM;
    *w = (writing){.process = p, .len = bytes.len};
    w->request.data = w;
    memcpy(w->bytes, bytes.ptr, bytes.len);
    uv_buf_t buf = uv_buf_init(w->bytes, (unsigned)bytes.len);
    if (uv_write(&w->request, (uv_stream_t *)&p->input, &buf, 1, on_written)) {
        tr_free(w);
        return TR_ECLOSED;
    }
    p->queued += bytes.len;
    return 0;
}

void tr__process_end_input(tr__process *p)
{
    p->input_ending = true;
    if (!p->queued)
        close_input(p);
}

static void signal_all(tr__process *p, int number)
{
    if (!p->exited && p->child.pid > 0)
        (void)kill(-p->child.pid, number);
}

void tr__process_kill(tr__process *p)
{
    signal_all(p, SIGKILL);
}

static void on_stop_timer(uv_timer_t *timer)
{
    tr__process *p = timer->data;
    signal_all(p, p->term_sent ? SIGKILL : SIGTERM);
    if (!p->term_sent)
        (void)uv_timer_start(timer, on_stop_timer, STOP_STEP_MS, 0);
    p->term_sent = true;
}

void tr__process_stop(tr__process *p)
{
    if (p->exited)
        return;
    tr__process_end_input(p);
    (void)uv_timer_start(&p->timer, on_stop_timer, STOP_STEP_MS, 0);
}

void tr__process_forget(tr__process *p)
{
    p->events = NULL;
    tr__process_kill(p);
}

int tr__process_pid(const tr__process *p)
{
    return p->child.pid;
}
