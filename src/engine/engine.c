/* SPDX-License-Identifier: MIT */
#include "engine/engine_private.h"

#define DEFAULT_SHARDS          4
#define DEFAULT_SHARD_LIFETIME  ((int64_t)4 * 3600 * 1000)
#define DEFAULT_RETENTION       ((int64_t)24 * 3600 * 1000)
#define DEFAULT_EXPIRY_INTERVAL ((int64_t)30 * 1000)
#define DEFAULT_SPLIT_RATE      1000 /* a partition of the real service takes 1,000 writes a second */
#define DEFAULT_SPLIT_AFTER     ((int64_t)60 * 1000)
#define SCRATCH_LIMIT           ((size_t)64 * 1024 * 1024)

/* --------------------------------------------------------------------------------------- open and close */

static int64_t or_default(int64_t given, int64_t otherwise)
{
    return given > 0 ? given : otherwise;
}

static int copy_options(tr_engine *engine, const tr_engine_options *options)
{
    tr_engine_options *o = &engine->options;
    *o = *options;
    engine->region = tr_strdup(options->region ? options->region : "us-east-1");
    engine->account = tr_strdup(options->account ? options->account : "000000000000");
    o->dir = NULL;
    o->region = engine->region;
    o->account = engine->account;
    o->stream_shards = options->stream_shards ? options->stream_shards : DEFAULT_SHARDS;
    if (o->stream_shards > TR__OPEN_SHARDS_MAX)
        o->stream_shards = TR__OPEN_SHARDS_MAX;
    o->shard_lifetime_ms = or_default(options->shard_lifetime_ms, DEFAULT_SHARD_LIFETIME);
    o->stream_retention_ms = or_default(options->stream_retention_ms, DEFAULT_RETENTION);
    o->shard_split_rate = options->shard_split_rate ? options->shard_split_rate : DEFAULT_SPLIT_RATE;
    o->shard_split_after_ms = or_default(options->shard_split_after_ms, DEFAULT_SPLIT_AFTER);
    o->expiry_interval_ms = or_default(options->expiry_interval_ms, DEFAULT_EXPIRY_INTERVAL);
    return engine->region && engine->account ? 0 : TR_ENOMEM;
}

static int open_store(tr_engine *engine, const tr_engine_options *options, tr_error *err)
{
    tr_kv_options kv_options = {
        .dir = options->dir, .memory_bytes = options->memory_bytes, .logger = options->logger};
    int rc = tr_kv_open(&kv_options, &engine->kv, err);
    if (rc)
        return rc;
    rc = tr_kv_batch_new(engine->kv, &engine->batch);
    if (rc)
        return tr_fail(err, rc, "out of memory");
    rc = tr__catalogue_load(engine, err);
    if (rc)
        return rc;
    engine->sequence_stored = engine->sequence;
    engine->looked_ms = tr_engine_now_ms(engine);
    rc = tr__snapshot_make(engine, &engine->current);
    return rc ? tr_fail(err, rc, "out of memory") : tr__sync_start(engine, err);
}

int tr_engine_open(const tr_engine_options *options, tr_engine **ret_engine, tr_error *err)
{
    tr_engine *engine = tr_calloc(1, sizeof *engine);
    if (!engine)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    tr_buf_init(&engine->key, TR__KEY_BUF_MAX);
    tr_buf_init(&engine->key2, TR__KEY_BUF_MAX);
    tr_buf_init(&engine->key3, TR__KEY_BUF_MAX);
    tr_buf_init(&engine->value, TR__VALUE_LIMIT);
    tr_buf_init(&engine->value2, TR__VALUE_LIMIT);
    tr_arena_init(&engine->scratch, SCRATCH_LIMIT);
    engine->touched.round = 1;
    engine->next_space = engine->next_stream = engine->next_shard = 1;
    int rc = copy_options(engine, options);
    if (rc)
        tr_fail(err, rc, "out of memory");
    else
        rc = open_store(engine, options, err);
    if (rc) {
        tr_engine_close(engine);
        return rc;
    }
    *ret_engine = engine;
    return 0;
}

void tr_engine_close(tr_engine *engine)
{
    if (!engine)
        return;
    if (engine->current && !engine->failed)
        tr_engine_sync_wait(engine, NULL);
    tr__sync_stop(engine);
    tr__snapshot_unref(engine, engine->current);
    tr__catalogue_done(engine);
    tr_kv_batch_free(engine->batch);
    tr_kv_close(engine->kv);
    tr__touched_done(&engine->touched);
    tr_buf_done(&engine->key);
    tr_buf_done(&engine->key2);
    tr_buf_done(&engine->key3);
    tr_buf_done(&engine->value);
    tr_buf_done(&engine->value2);
    tr_arena_done(&engine->scratch);
    tr_free(engine->region);
    tr_free(engine->account);
    tr_free(engine);
}

/* --------------------------------------------------------------------------------- states and tickets */

int tr__engine_broken(tr_engine *engine, int code)
{
    if (!engine->failed) {
        engine->failed = code;
        tr_log(&engine->options.logger, TR_LOG_ERROR,
               "the store failed (%s): no more writes until it is opened anew", tr_strerror(code));
    }
    return code;
}

int tr__engine_writable(tr_engine *engine, tr_error *err)
{
    if (TR_LIKELY(!engine->failed))
        return 0;
    return tr_fail(err, TR_EIO, "an earlier write or sync failed (%s): no more writes until restart",
                   tr_strerror(engine->failed));
}

int tr__engine_write_out(tr_engine *engine, tr_error *err)
{
    if (tr_kv_batch_count(engine->batch) == 0)
        return 0;
    if (engine->sequence != engine->sequence_stored)
        tr__store_sequence(engine);
    for (tr__table *table; (table = engine->dirty_tables);) {
        tr__store_counts(engine, table);
        engine->dirty_tables = table->next_dirty;
        table->counts_dirty = false;
    }
    int rc = tr_kv_write(engine->kv, engine->batch, err);
    tr_kv_batch_clear(engine->batch);
    tr__touched_clear(&engine->touched);
    if (rc)
        return tr__engine_broken(engine, rc);
    engine->sequence_stored = engine->sequence;
    engine->dirty = true;
    tr__slice_cut(engine);
    return 0;
}

uint64_t tr_engine_ticket(const tr_engine *engine)
{
    if (engine->dirty || tr_kv_batch_count(engine->batch) > 0)
        return engine->state + 1;
    return engine->state > tr_engine_synced(engine) ? engine->state : 0;
}

int tr_engine_flush(tr_engine *engine, tr_error *err)
{
    if (engine->failed)
        return tr__engine_writable(engine, err);
    int rc = tr__engine_write_out(engine, err);
    if (rc || !engine->dirty)
        return rc;
    engine->state++;
    engine->dirty = false;
    return tr__sync_request(engine, err);
}

int tr_engine_sync_wait(tr_engine *engine, tr_error *err)
{
    int rc = tr_engine_flush(engine, err);
    return rc ? rc : tr__sync_wait(engine, engine->state, err);
}

int tr__catalogue_commit(tr_engine *engine, tr_error *err)
{
    return tr_engine_sync_wait(engine, err);
}

int64_t tr_engine_now_ms(const tr_engine *engine)
{
    return engine->options.clock_ms ? engine->options.clock_ms(engine->options.clock_ctx)
                                    : tr_clock_wall_ms();
}

/* ------------------------------------------------------------------------------------------ listeners */

void tr_engine_listen(tr_engine *engine, tr_listener *listener)
{
    listener->prev = NULL;
    listener->next = engine->listeners;
    if (engine->listeners)
        engine->listeners->prev = listener;
    engine->listeners = listener;
}

void tr_engine_unlisten(tr_engine *engine, tr_listener *listener)
{
    if (engine->listener_at == listener)
        engine->listener_at = listener->next;
    if (listener->next)
        listener->next->prev = listener->prev;
    if (listener->prev)
        listener->prev->next = listener->next;
    else if (engine->listeners == listener)
        engine->listeners = listener->next;
    listener->next = listener->prev = NULL;
}

/* Whether the stream has something new; listeners are told afterwards, since they may call back into us. */
static bool has_news(const tr__stream *stream, uint64_t sequence)
{
    return stream->changed || (stream->unannounced && stream->unannounced <= sequence);
}

static void settle(tr__stream *stream, uint64_t sequence)
{
    stream->changed = false;
    if (stream->unannounced && stream->unannounced <= sequence)
        stream->unannounced = stream->last_sequence > sequence ? sequence + 1 : 0;
}

static void announce(tr_engine *engine)
{
    uint64_t sequence = engine->current->sequence;
    bool any = false;
    for (size_t i = 0; i < engine->stream_count; i++) {
        tr__stream *stream = engine->streams[i];
        stream->news = has_news(stream, sequence);
        if (stream->news) {
            any = true;
            settle(stream, sequence);
        }
    }
    tr__stream *gone = &engine->no_stream;
    gone->news = gone->changed;
    gone->changed = false;
    if (!any && !gone->news)
        return;
    engine->listener_at = engine->listeners;
    for (tr_listener *l; (l = engine->listener_at);) {
        engine->listener_at = l->next;
        if (!l->stream || ((const tr__stream *)l->stream)->news)
            l->fn(l);
    }
}

int tr_engine_poll(tr_engine *engine, tr_error *err)
{
    int rc = tr__sync_collect(engine, err);
    if (rc)
        return rc;
    announce(engine);
    return 0;
}

/* ------------------------------------------------------------------------------------------ others' use */

int tr_engine_write_out(tr_engine *engine, tr_error *err)
{
    int rc = tr__engine_writable(engine, err);
    return rc ? rc : tr__engine_write_out(engine, err);
}

int tr_engine_checkpoint(tr_engine *engine, const char *dir, tr_error *err)
{
    int rc = tr_engine_sync_wait(engine, err);
    return rc ? rc : tr_kv_checkpoint(engine->kv, dir, err);
}

tr_kv *tr_engine_kv(tr_engine *engine)
{
    return engine->kv;
}

tr_kv_batch *tr_engine_batch(tr_engine *engine)
{
    return engine->batch;
}
