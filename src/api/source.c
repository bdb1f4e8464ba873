/* SPDX-License-Identifier: MIT */
#include "api/source.h"
#include "api/kept.h"

static void source_free(tr_source *s)
{
    tr_past_free(s->past);
    tr_past_changes_free(s->changes);
    tr_buf_done(&s->text);
    tr_free((char *)(uintptr_t)s->spec.dir); /* ours */
    tr_free((char *)(uintptr_t)s->spec.name.ptr);
    tr_free(s);
}

static tr_source *source_alloc(const tr_source_spec *spec)
{
    tr_source *s = tr_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->spec = *spec;
    s->spec.table = NULL;
    s->spec.snapshot = NULL;
    s->spec.dir = tr_strdup(spec->dir);
    char *name = tr_malloc(spec->name.len + 1);
    s->spec.name = tr_view_of(name, spec->name.len);
    tr_buf_init(&s->text, (size_t)2 * 1024 * 1024);
    if (name && spec->name.len)
        memcpy(name, spec->name.ptr, spec->name.len);
    if (!name || (spec->dir && !s->spec.dir)) {
        source_free(s);
        return NULL;
    }
    return s;
}

/* --------------------------------------------------------------------------------------------- on a thread
 */

/* On the thread: touches nothing but the store's files and the source. */
static int make(tr_source *s, tr_error *err)
{
    const tr_source_spec *spec = &s->spec;
    int e = s->kv ? tr_kv_sync(s->kv, err) : 0;
    if (e == 0 && s->kv)
        e = tr_kv_checkpoint(s->kv, spec->dir, err);
    if (e == 0 && spec->kind == TR_SOURCE_PAST)
        e = tr_past_of_directory(spec->dir, spec->name, spec->to_ms, &s->past, err);
    if (e == 0 && spec->kind == TR_SOURCE_CHANGES)
        e = tr_past_changes_of_directory(spec->dir, spec->name, spec->from_ms, spec->to_ms, &s->changes, err);
    return e;
}

static void make_on_thread(void *ctx)
{
    tr_source *s = ctx;
    s->code = make(s, &s->error);
}

/* ------------------------------------------------------------------------------------------------- sources
 */

static int make_in_memory(tr_api *api, const tr_source_spec *spec, tr_source *s, tr_error *err)
{
    if (spec->snapshot)
        return tr_past_of_snapshot(api->engine, spec->snapshot, spec->table, &s->past, err);
    return spec->kind == TR_SOURCE_PAST
               ? tr_past_new(api->engine, spec->table, spec->to_ms, &s->past, err)
               : tr_past_changes_new(api->engine, spec->table, spec->from_ms, spec->to_ms, &s->changes, err);
}

int tr__held_new(tr_api *api, const tr_source_spec *spec, tr_source **ret_source, tr_error *err)
{
    /* what was answered, and what is answered with this turn's batch, is in the copy */
    int e = tr_engine_flush(api->engine, err);
    tr_source *s = e ? NULL : source_alloc(spec);
    if (!s)
        return e ? e : tr_fail(err, TR_ENOMEM, "out of memory");
    if (!spec->dir) {
        e = make_in_memory(api, spec, s, err);
        if (e) {
            source_free(s);
            return e;
        }
    } else {
        s->kv = spec->copy ? tr_engine_kv(api->engine) : NULL;
        api->sources++;
        tr__task_begin(&s->work, make_on_thread, s);
    }
    *ret_source = s;
    return 0;
}

int tr__held_of_backup(tr_api *api, const tr_kept *k, tr_source **ret_source, tr_error *err)
{
    tr_arena arena;
    tr_arena_init(&arena, (size_t)1024 * 1024);
    tr_source_spec spec = {
        .kind = TR_SOURCE_PAST, .to_ms = INT64_MAX, .table = k->table, .snapshot = k->snapshot};
    spec.name = tr__kept_text(k, "SourceTableDetails.TableName", &arena);
    if (api->dir)
        spec.dir = tr__kept_path(api, TR_KEPT_BACKUPS, k->arn, "", &arena);
    int e = api->dir && !spec.dir ? tr_fail(err, TR_ENOMEM, "out of memory")
                                  : tr__held_new(api, &spec, ret_source, err);
    tr_arena_done(&arena);
    return e;
}

bool tr__held_done(const tr_source *s)
{
    return tr__task_done(&s->work);
}

int tr__held_status(tr_source *s, tr_error *err)
{
    tr__task_join(&s->work);
    if (s->code)
        *err = s->error;
    return s->code;
}

/* ------------------------------------------------------------------------------------------------ clearing
 */

/* First the source is made to its end, if its request has gone away; then it is taken down. */
typedef struct clearing {
    tr_job job;
    tr_source *source;
    bool begun;
} clearing;

static void clear_on_thread(void *ctx)
{
    tr_source *s = ctx;
    tr_past_free(s->past);
    tr_past_changes_free(s->changes);
    s->past = NULL;
    s->changes = NULL;
    if (s->remove)
        tr__remove_tree(s->spec.dir);
}

static int step(tr_api *api, tr_job *job, bool *ret_done, tr_error *err)
{
    clearing *c = (clearing *)job;
    (void)api;
    (void)err;
    job->idle = !tr__held_done(c->source);
    if (job->idle)
        return 0;
    tr__task_join(&c->source->work);
    *ret_done = c->begun;
    if (!c->begun)
        tr__task_begin(&c->source->work, clear_on_thread, c->source);
    c->begun = true;
    return 0;
}

static void end(tr_api *api, tr_job *job, int code, const tr_error *err)
{
    clearing *c = (clearing *)job;
    (void)code;
    (void)err;
    tr__task_join(&c->source->work);
    if (!c->begun)
        clear_on_thread(c->source);
    source_free(c->source);
    tr_free(c);
    api->sources--;
}

void tr__held_end(tr_api *api, tr_source *s, bool remove)
{
    if (!s)
        return;
    if (!s->spec.dir) {
        source_free(s);
        return;
    }
    clearing *c = tr_calloc(1, sizeof *c);
    if (!c) {
        tr__task_join(&s->work);
        s->remove = remove;
        clear_on_thread(s);
        source_free(s);
        api->sources--;
        return;
    }
    c->job = (tr_job){.step = step, .end = end, .aside = true};
    c->source = s;
    s->remove = remove;
    tr__job_add(api, &c->job);
}

void tr__held_clear(tr_api *api, const char *dir)
{
    const tr_source_spec spec = {.kind = TR_SOURCE_COPY, .dir = dir};
    tr_source *s = source_alloc(&spec);
    if (!s)
        return; /* the next start finds it */
    api->sources++;
    tr__held_end(api, s, true);
}

/* ------------------------------------------------------------------------------------------------- parking
 */

bool tr__held_ready(tr_call *c, tr_source *s)
{
    if (tr__held_done(s) || !c->request->may_hold || c->request->expired)
        return true;
    c->reply->held = s;
    return false;
}

bool tr_api_ready(const tr_held *held)
{
    return tr__held_done(held);
}

void tr_api_drop(tr_api *api, tr_held *held)
{
    tr__held_end(api, held, held->spec.own);
}
