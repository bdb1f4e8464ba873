/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

struct stop_hook {
    struct stop_hook *next;
    tr__loop_fn *fn;
    void *ctx;
};

struct timer {
    uv_timer_t handle;
    tr__loop_task task;
    struct timer *next, *prev;
    tr__loop *loop;
    tr__loop_fn *fn;
    void *ctx;
    int64_t due_ns; /* on the monotonic clock */
};

struct tr__loop {
    uv_loop_t uv;
    uv_async_t wake;
    pthread_t thread;
    pthread_mutex_t lock; /* guards first, last, hooks */
    tr__loop_task *first, *last;
    struct stop_hook *hooks;
    struct timer *timers; /* of the thread alone */
    atomic_bool closing;
    bool stopped; /* of the thread alone: timers ran early, hooks too */
};

/* ------------------------------------------------------------------------------------------------- posting
 */

void tr__loop_post_task(tr__loop *loop, tr__loop_task *task, tr__loop_fn *fn, void *ctx)
{
    *task = (tr__loop_task){.fn = fn, .ctx = ctx};
    (void)pthread_mutex_lock(&loop->lock);
    bool was_empty = loop->first == NULL;
    if (was_empty)
        loop->first = task;
    else
        loop->last->next = task;
    loop->last = task;
    (void)pthread_mutex_unlock(&loop->lock);
    if (was_empty)
        (void)uv_async_send(&loop->wake);
}

struct owned_task {
    tr__loop_task task;
    tr__loop_fn *fn;
    void *ctx;
};

static void run_owned(void *ctx)
{
    struct owned_task task = *(struct owned_task *)ctx;
    tr_free(ctx);
    task.fn(task.ctx);
}

int tr__loop_post(tr__loop *loop, tr__loop_fn *fn, void *ctx)
{
    struct owned_task *task = tr_malloc(sizeof *task);
    if (!task)
        return TR_ENOMEM;
    task->fn = fn;
    task->ctx = ctx;
    tr__loop_post_task(loop, &task->task, run_owned, task);
    return 0;
}

/* Runs what was posted; what these tasks post runs in the next turn. Whether there was any. */
static bool run_posted(tr__loop *loop)
{
    (void)pthread_mutex_lock(&loop->lock);
    tr__loop_task *task = loop->first;
    loop->first = loop->last = NULL;
    (void)pthread_mutex_unlock(&loop->lock);
    bool any = task != NULL;
    while (task) {
        tr__loop_task *next = task->next; /* fn may free the task */
        task->fn(task->ctx);
        task = next;
    }
    return any;
}

/* -------------------------------------------------------------------------------------------------- timers
 */

static void free_timer(uv_handle_t *handle)
{
    tr_free(handle->data);
}

static void fire(struct timer *timer)
{
    if (timer->prev)
        timer->prev->next = timer->next;
    else
        timer->loop->timers = timer->next;
    if (timer->next)
        timer->next->prev = timer->prev;
    uv_close((uv_handle_t *)&timer->handle, free_timer);
    timer->fn(timer->ctx);
}

static void on_timer(uv_timer_t *handle)
{
    fire(handle->data);
}

/* Runs fn in one of the loop's next turns at the earliest, also if it is due by now. */
static void arm(struct timer *timer)
{
    tr__loop *loop = timer->loop;
    int64_t left_ms = (timer->due_ns - tr_clock_mono_ns() + 999999) / 1000000;
    (void)uv_timer_init(&loop->uv, &timer->handle);
    timer->handle.data = timer;
    timer->prev = NULL;
    timer->next = loop->timers;
    if (loop->timers)
        loop->timers->prev = timer;
    loop->timers = timer;
    uv_update_time(&loop->uv); /* the loop's clock stands while callbacks run, and would fire too early */
    (void)uv_timer_start(&timer->handle, on_timer, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

/* As a task: what is due already runs at once. */
static void start_timer(void *ctx)
{
    struct timer *timer = ctx;
    if (!timer->loop->stopped && timer->due_ns > tr_clock_mono_ns()) {
        arm(timer);
        return;
    }
    tr__loop_fn *fn = timer->fn;
    void *fn_ctx = timer->ctx;
    tr_free(timer);
    fn(fn_ctx);
}

int tr__loop_schedule(tr__loop *loop, int64_t delay_ms, tr__loop_fn *fn, void *ctx)
{
    if (delay_ms <= 0)
        return tr__loop_post(loop, fn, ctx);
    struct timer *timer = tr_malloc(sizeof *timer);
    if (!timer)
        return TR_ENOMEM;
    const int64_t most = INT64_MAX / 4000000; /* 73 years */
    timer->loop = loop;
    timer->fn = fn;
    timer->ctx = ctx;
    timer->due_ns = tr_clock_mono_ns() + (delay_ms < most ? delay_ms : most) * 1000000;
    if (tr__loop_on_thread(loop) && !loop->stopped)
        arm(timer);
    else
        tr__loop_post_task(loop, &timer->task, start_timer, timer);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ stopping
 */

int tr__loop_at_stop(tr__loop *loop, tr__loop_fn *fn, void *ctx)
{
    struct stop_hook *hook = tr_malloc(sizeof *hook);
    if (!hook)
        return TR_ENOMEM;
    hook->fn = fn;
    hook->ctx = ctx;
    (void)pthread_mutex_lock(&loop->lock);
    hook->next = loop->hooks;
    loop->hooks = hook;
    (void)pthread_mutex_unlock(&loop->lock);
    return 0;
}

static void run_hooks(tr__loop *loop)
{
    for (;;) {
        (void)pthread_mutex_lock(&loop->lock);
        struct stop_hook *hook = loop->hooks;
        if (hook)
            loop->hooks = hook->next;
        (void)pthread_mutex_unlock(&loop->lock);
        if (!hook)
            return;
        hook->fn(hook->ctx);
        tr_free(hook);
    }
}

static void stop(tr__loop *loop)
{
    loop->stopped = true;
    while (loop->timers)
        fire(loop->timers);
    run_hooks(loop);
    uv_unref((uv_handle_t *)&loop->wake); /* the loop ends when all other handles have */
}

static void on_wake(uv_async_t *wake)
{
    tr__loop *loop = wake->data;
    bool closing =
        atomic_load(&loop->closing); /* before the queue: what was posted before closing runs before stop */
    (void)run_posted(loop);
    if (closing && !loop->stopped)
        stop(loop);
}

static void *run(void *arg)
{
    tr__loop *loop = arg;
    do
        (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    while (run_posted(loop));
    uv_close((uv_handle_t *)&loop->wake, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    return NULL;
}

/* -------------------------------------------------------------------------------------------------- public
 */

static int start_thread(tr__loop *loop)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&loop->thread, NULL, run, loop);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

int tr__loop_new(tr__loop **ret_loop, tr_error *err)
{
    tr__loop *loop = tr_calloc(1, sizeof *loop);
    if (!loop)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    int code = uv_loop_init(&loop->uv);
    if (code) {
        tr_free(loop);
        return tr_fail(err, code == UV_ENOMEM ? TR_ENOMEM : TR_EIO, "cannot make an event loop: %s",
                       uv_strerror(code));
    }
    (void)pthread_mutex_init(&loop->lock, NULL);
    code = uv_async_init(&loop->uv, &loop->wake, on_wake);
    loop->wake.data = loop;
    if (code == 0) {
        code = start_thread(loop);
        if (code == 0) {
            (void)pthread_setname_np(loop->thread, "tailrace-io");
            *ret_loop = loop;
            return 0;
        }
        uv_close((uv_handle_t *)&loop->wake, NULL);
        (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
        code = uv_translate_sys_error(code);
    }
    (void)uv_loop_close(&loop->uv);
    (void)pthread_mutex_destroy(&loop->lock);
    tr_free(loop);
    return tr_fail(err, TR_EIO, "cannot start an I/O thread: %s", uv_strerror(code));
}

void tr__loop_free(tr__loop *loop)
{
    if (!loop)
        return;
    assert(!tr__loop_on_thread(loop));
    atomic_store(&loop->closing, true);
    (void)uv_async_send(&loop->wake);
    (void)pthread_join(loop->thread, NULL);
    int code = uv_loop_close(&loop->uv);
    assert(code == 0); /* else a handle was left by one who should have closed it at the stop */
    (void)code;
    (void)pthread_mutex_destroy(&loop->lock);
    tr_free(loop);
}

uv_loop_t *tr__loop_uv(tr__loop *loop)
{
    return &loop->uv;
}

bool tr__loop_on_thread(const tr__loop *loop)
{
    /* the thread itself asks only within tasks, which are posted after tr__loop_new has set it */
    return pthread_equal(pthread_self(), loop->thread) != 0;
}

bool tr__loop_closing(tr__loop *loop)
{
    return atomic_load(&loop->closing);
}

struct waiting_call {
    tr__loop_task task;
    tr__loop_fn *fn;
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    bool done;
};

static void run_waiting(void *ctx)
{
    struct waiting_call *call = ctx;
    call->fn(call->ctx);
    (void)pthread_mutex_lock(&call->lock);
    call->done = true;
    (void)pthread_cond_signal(&call->done_cond);
    (void)pthread_mutex_unlock(&call->lock);
}

void tr__loop_call(tr__loop *loop, tr__loop_fn *fn, void *ctx)
{
    if (tr__loop_on_thread(loop)) {
        fn(ctx);
        return;
    }
    struct waiting_call call = {
        .fn = fn, .ctx = ctx, .lock = PTHREAD_MUTEX_INITIALIZER, .done_cond = PTHREAD_COND_INITIALIZER};
    tr__loop_post_task(loop, &call.task, run_waiting, &call);
    (void)pthread_mutex_lock(&call.lock);
    while (!call.done)
        (void)pthread_cond_wait(&call.done_cond, &call.lock);
    (void)pthread_mutex_unlock(&call.lock);
}
