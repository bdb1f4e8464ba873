/* SPDX-License-Identifier: MIT */
#include "handler/failure.h"

#include <pthread.h>

typedef struct job {
    struct job *next;
    tr_failure failure; /* texts in `memory` */
    tr_arena memory;
    tr_failure_done_fn *fn;
    void *ctx;
} job;

struct tr_failure_worker {
    tr_failure_sink *sink;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t news;
    job *first, **last;
    size_t waiting;
    bool stopping;
};

static void free_job(job *j)
{
    tr_arena_done(&j->memory);
    tr_free(j);
}

static job *take(tr_failure_worker *w)
{
    (void)pthread_mutex_lock(&w->lock);
    while (!w->first && !w->stopping)
        (void)pthread_cond_wait(&w->news, &w->lock);
    job *j = w->stopping ? NULL : w->first;
    if (j) {
        w->first = j->next;
        if (!w->first)
            w->last = &w->first;
        w->waiting--;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return j;
}

static void *run(void *ctx)
{
    tr_failure_worker *w = ctx;
    for (job *j; (j = take(w)) != NULL;) {
        tr_error err = {0};
        int e = w->sink->put(w->sink, &j->failure, &err);
        j->fn(j->ctx, e, e ? &err : NULL);
        free_job(j);
    }
    return NULL;
}

int tr_failure_worker_new(tr_failure_sink *sink, tr_failure_worker **ret_worker, tr_error *err)
{
    tr_failure_worker *w = tr_calloc(1, sizeof *w);
    if (!w)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    w->sink = sink;
    w->last = &w->first;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->news, NULL);
    if (pthread_create(&w->thread, NULL, run, w)) {
        (void)pthread_mutex_destroy(&w->lock);
        (void)pthread_cond_destroy(&w->news);
        tr_free(w);
        return tr_fail(err, TR_ENOMEM, "cannot start a thread");
    }
    *ret_worker = w;
    return 0;
}

static job *new_job(const tr_failure *f, tr_failure_done_fn *fn, void *ctx)
{
    job *j = tr_calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->fn = fn;
    j->ctx = ctx;
    tr_arena_init(&j->memory, TR__FAILURE_MAX);
    j->failure = (tr_failure){.source = tr_arena_copy(&j->memory, f->source),
                              .record = tr_arena_copy(&j->memory, f->record),
                              .event = tr_arena_copy(&j->memory, f->event),
                              .error_type = tr_arena_copy(&j->memory, f->error_type),
                              .error_message = tr_arena_copy(&j->memory, f->error_message),
                              .attempts = f->attempts};
    const tr_failure *c = &j->failure;
    if (c->source.ptr && c->record.ptr && c->event.ptr && c->error_type.ptr && c->error_message.ptr)
        return j;
    free_job(j);
    return NULL;
}

int tr_failure_worker_put(tr_failure_worker *w, const tr_failure *failure, tr_failure_done_fn *fn, void *ctx)
{
    job *j = new_job(failure, fn, ctx);
    if (!j)
        return TR_ENOMEM;
    (void)pthread_mutex_lock(&w->lock);
    bool full = w->waiting == TR_FAILURE_WAITING_MAX;
    if (!full) {
        *w->last = j;
        w->last = &j->next;
        w->waiting++;
        (void)pthread_cond_signal(&w->news);
    }
    (void)pthread_mutex_unlock(&w->lock);
    if (full)
        free_job(j);
    return full ? TR_ELIMIT : 0;
}

void tr_failure_worker_free(tr_failure_worker *w)
{
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stopping = true;
    (void)pthread_cond_signal(&w->news);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    tr_error canceled;
    (void)tr_fail(&canceled, TR_ECANCELED, "the failure destination is closed");
    for (job *j; (j = w->first) != NULL; free_job(j)) {
        w->first = j->next;
        j->fn(j->ctx, TR_ECANCELED, &canceled);
    }
    (void)pthread_mutex_destroy(&w->lock);
    (void)pthread_cond_destroy(&w->news);
    tr_failure_sink_free(w->sink);
    tr_free(w);
}
