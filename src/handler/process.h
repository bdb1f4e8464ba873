/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HANDLER_PROCESS_H
#define TAILRACE_HANDLER_PROCESS_H

/**
 * A child process in a libuv loop, in a session of its own, so that it can be ended with all it started:
 * lines of its output, bytes to its input, its end.
 *
 * Owned by itself: after tr__process_start succeeds, on_exit is called exactly once, after which the pointer
 * is gone.
 */

#include <tailrace/base.h>

#include <uv.h>

typedef struct tr__process tr__process;

typedef struct tr__process_events {
    /** A line of its standard output or error, without the line feed; longer ones come in pieces with `more`
     * set. */
    void (*on_line)(void *ctx, tr__process *process, bool is_error, tr_view line, bool more);
    /** It ended, and its output is read: exit status, or the signal that ended it (0: none). */
    void (*on_exit)(void *ctx, tr__process *process, int64_t status, int signal);
} tr__process_events;

typedef struct tr__process_options {
    const char *const *args; /* NULL-terminated; args[0] is looked for in PATH */
    char *const *environment;
    const char *directory; /* NULL: the current one */
    size_t line_max;       /* bytes of a line of standard output; error lines: 64 KiB */
    const tr__process_events *events;
    void *ctx;
} tr__process_options;

/** TR_EINVAL with the reason if it cannot be started. */
int tr__process_start(uv_loop_t *loop, const tr__process_options *options, tr__process **ret_process,
                      tr_error *err);
/** Queues bytes for its input (copied). TR_ELIMIT if it has not read so much (64 MiB), TR_ECLOSED. */
int tr__process_write(tr__process *process, tr_view bytes);
/** End of its input, behind what is queued. */
void tr__process_end_input(tr__process *process);
/** SIGKILL to it and all it started. */
void tr__process_kill(tr__process *process);
/** End of input, after 2 s SIGTERM, after 2 more SIGKILL, to it and all it started. */
void tr__process_stop(tr__process *process);
/** From now on nothing is called any more, on_exit included; it is killed. */
void tr__process_forget(tr__process *process);
int tr__process_pid(const tr__process *process);

#endif
