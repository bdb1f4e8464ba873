/* SPDX-License-Identifier: MIT */
#include "engine/engine_private.h"

/*
 * The sync thread and the read snapshot.
 *
 *   flush: state n written, snapshot taken ---> next (n)          a later flush replaces it
 *   sync thread takes `next` up, syncs     ---> done (n)
 *   poll: current = newest done
 *
 * What was written while a sync runs may or may not be covered by it, so it waits for the next one. In memory
 * there is no thread: a state is synced when it is flushed.
 */

int tr__snapshot_make(tr_engine *engine, tr_engine_snapshot **ret_snapshot)
{
    tr_engine_snapshot *snapshot = tr_calloc(1, sizeof *snapshot);
    if (!snapshot)
        return TR_ENOMEM;
    snapshot->kv = tr_kv_snapshot_new(engine->kv);
    if (!snapshot->kv) {
        tr_free(snapshot);
        return TR_ENOMEM;
    }
    snapshot->state = engine->state;
    snapshot->sequence = engine->sequence;
    snapshot->refs = 1;
    engine->snapshots++;
    *ret_snapshot = snapshot;
    return 0;
}

void tr__snapshot_unref(tr_engine *engine, tr_engine_snapshot *snapshot)
{
    if (!snapshot || --snapshot->refs > 0)
        return;
    tr_kv_snapshot_free(engine->kv, snapshot->kv);
    tr_free(snapshot);
    engine->snapshots--;
}

tr_engine_snapshot *tr_engine_snapshot_new(tr_engine *engine)
{
    return tr__snapshot_ref(engine, NULL);
}

void tr_engine_snapshot_free(tr_engine *engine, tr_engine_snapshot *snapshot)
{
    tr__snapshot_unref(engine, snapshot);
}

uint64_t tr_engine_snapshot_sequence(const tr_engine_snapshot *snapshot)
{
    return snapshot->sequence;
}

static void *sync_main(void *arg)
{
    tr_engine *engine = arg;
    tr__syncer *s = &engine->syncer;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->next && !s->stop) {
            s->waiting = true;
            pthread_cond_wait(&s->work, &s->lock);
        }
        if (!s->next)
            break;
        tr_engine_snapshot *snapshot = s->next;
        s->next = NULL;
        pthread_mutex_unlock(&s->lock);
        tr_error err = {0};
        int rc = tr_kv_sync(engine->kv, &err);
        pthread_mutex_lock(&s->lock);
        /* Linked in any case: only the engine's thread may free it. */
        snapshot->next = s->done;
        s->done = snapshot;
        if (rc && !s->failed) {
            s->failed = rc;
            s->error = err;
        }
        if (!s->failed)
            atomic_store_explicit(&s->synced, snapshot->state, memory_order_release);
        pthread_cond_broadcast(&s->finished);
        pthread_mutex_unlock(&s->lock);
        if (engine->options.on_synced)
            engine->options.on_synced(engine->options.on_synced_ctx);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int tr__sync_start(tr_engine *engine, tr_error *err)
{
    tr__syncer *s = &engine->syncer;
    if (tr_kv_in_memory(engine->kv))
        return 0;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->finished, NULL);
    s->started = pthread_create(&s->thread, NULL, sync_main, engine) == 0;
    if (s->started)
        (void)pthread_setname_np(s->thread, "tailrace-sync");
    if (s->started)
        return 0;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->finished);
    return tr_fail(err, TR_ENOMEM, "cannot start the thread that syncs the log");
}

static void free_list(tr_engine *engine, tr_engine_snapshot *list)
{
    while (list) {
        tr_engine_snapshot *next = list->next;
        tr__snapshot_unref(engine, list);
        list = next;
    }
}

void tr__sync_stop(tr_engine *engine)
{
    tr__syncer *s = &engine->syncer;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        s->stop = true;
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
        pthread_mutex_destroy(&s->lock);
        pthread_cond_destroy(&s->work);
        pthread_cond_destroy(&s->finished);
        s->started = false;
    }
    free_list(engine, s->next);
    free_list(engine, s->done);
    s->next = s->done = NULL;
}

int tr__sync_request(tr_engine *engine, tr_error *err)
{
    tr__syncer *s = &engine->syncer;
    tr_engine_snapshot *snapshot;
    if (tr__snapshot_make(engine, &snapshot) != 0)
        return tr__engine_broken(engine, tr_fail(err, TR_ENOMEM, "out of memory"));
    if (!s->started) {
        free_list(engine, s->done);
        s->done = snapshot;
        atomic_store_explicit(&s->synced, snapshot->state, memory_order_release);
        return 0;
    }
    pthread_mutex_lock(&s->lock);
    tr_engine_snapshot *replaced = s->next;
    s->next = snapshot;
    s->requested = snapshot->state;
    if (s->waiting) {
        s->waiting = false;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    tr__snapshot_unref(engine, replaced);
    return 0;
}

int tr__sync_collect(tr_engine *engine, tr_error *err)
{
    tr__syncer *s = &engine->syncer;
    if (s->started)
        pthread_mutex_lock(&s->lock);
    tr_engine_snapshot *done = s->done;
    int failed = s->failed;
    s->done = NULL;
    if (failed && err)
        *err = s->error;
    if (s->started)
        pthread_mutex_unlock(&s->lock);
    if (failed) {
        free_list(engine, done);
        return tr__engine_broken(engine, failed);
    }
    if (!done)
        return 0;
    free_list(engine, done->next);
    done->next = NULL;
    tr__snapshot_unref(engine, engine->current);
    engine->current = done;
    return 0;
}

int tr__sync_wait(tr_engine *engine, uint64_t state, tr_error *err)
{
    tr__syncer *s = &engine->syncer;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        while (!s->failed && atomic_load_explicit(&s->synced, memory_order_relaxed) < state)
            pthread_cond_wait(&s->finished, &s->lock);
        pthread_mutex_unlock(&s->lock);
    }
    return tr__sync_collect(engine, err);
}

uint64_t tr_engine_synced(const tr_engine *engine)
{
    return atomic_load_explicit(&engine->syncer.synced, memory_order_acquire);
}
