/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HTTP_LOOP_H
#define TAILRACE_HTTP_LOOP_H

/**
 * A libuv loop on a thread of its own, with a queue of tasks and timers that any thread may add to.
 *
 * For transports and whatever else needs an I/O thread. Tasks run on the loop's thread in the order in which
 * they were posted, one at a time, never within the call that posted them. What was accepted runs exactly
 * once, also when the loop is freed: timers then run early (tr__loop_closing tells).
 *
 * All signals are blocked on the thread, so that a handler of the application never runs there and a write to
 * a closed socket fails instead of ending the process.
 */

#include <tailrace/base.h>

#include <uv.h>

typedef struct tr__loop tr__loop;
typedef void tr__loop_fn(void *ctx);

/** A task embedded in what it works on; it must stay until fn runs. */
typedef struct tr__loop_task {
    struct tr__loop_task *next;
    tr__loop_fn *fn;
    void *ctx;
} tr__loop_task;

/** Starts the thread. TR_ENOMEM, TR_EIO. */
int tr__loop_new(tr__loop **ret_loop, tr_error *err);
/**
 * Ends the thread: runs what was posted, then all timers early, then the functions given to tr__loop_at_stop
 * in reverse order; waits until no handle is left in the loop; joins. Must not be called on the loop's
 * thread. NULL is fine. From here on only functions that run on the thread may post, and what they post is
 * run too, timers at once.
 */
void tr__loop_free(tr__loop *loop);

/** The loop, for use on its thread only. */
uv_loop_t *tr__loop_uv(tr__loop *loop);
bool tr__loop_on_thread(const tr__loop *loop);
/** Whether tr__loop_free was called. */
bool tr__loop_closing(tr__loop *loop);

/** Runs fn on the thread. TR_ENOMEM. */
int tr__loop_post(tr__loop *loop, tr__loop_fn *fn, void *ctx);
/** The same without allocating; cannot fail. */
void tr__loop_post_task(tr__loop *loop, tr__loop_task *task, tr__loop_fn *fn, void *ctx);
/** Runs fn on the thread after at least delay_ms (0 or less: soon). TR_ENOMEM. */
int tr__loop_schedule(tr__loop *loop, int64_t delay_ms, tr__loop_fn *fn, void *ctx);
/** Runs fn on the thread and waits until it returned; at once if this is the thread. */
void tr__loop_call(tr__loop *loop, tr__loop_fn *fn, void *ctx);
/** Runs fn on the thread when the loop is freed: it closes the handles that its owner keeps in the loop.
 * TR_ENOMEM. */
int tr__loop_at_stop(tr__loop *loop, tr__loop_fn *fn, void *ctx);

#endif
