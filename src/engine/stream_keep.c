/* SPDX-License-Identifier: MIT */
/* Keeping streams: shards roll over and split, old slices, shards and streams go. */
#include "engine/engine_private.h"

/* Slices dropped in one call. */
#define TRIM_SLICES_MAX 8

/* ----------------------------------------------------------------------------------- rollover and split */

static bool lifetime_is_over(const tr_engine *engine, const tr_shard *shard, int64_t now_ms)
{
    return now_ms - shard->created_ms >= engine->options.shard_lifetime_ms;
}

/* Whether the shard has taken more than the split rate for long enough. Looks at what came since the last
 * look. */
static bool is_overloaded(tr_engine *engine, const tr_shard *shard, struct tr__shard_state *state,
                          int64_t now_ms, int64_t elapsed_ms)
{
    uint64_t limit = (uint64_t)engine->options.shard_split_rate * (uint64_t)elapsed_ms / 1000;
    bool busy = state->window_records > limit;
    state->window_records = 0;
    if (!busy) {
        state->busy_since_ms = 0;
        return false;
    }
    if (!state->busy_since_ms)
        state->busy_since_ms = now_ms - elapsed_ms;
    return now_ms - state->busy_since_ms >= engine->options.shard_split_after_ms &&
           shard->hash_from < shard->hash_to;
}

/* Closes a shard and opens its children: one of the same range, or two halves. */
static int succeed(tr_engine *engine, tr__stream *stream, size_t at, bool split)
{
    tr_shard parent = stream->pub.shards[at]; /* a copy: growing moves them */
    if (stream->pub.shard_count + 2 > TR__SHARDS_MAX)
        return 0; /* goes on until older ones are trimmed */
    tr__stream_close_shard(engine, stream, at);
    if (!split)
        return tr__stream_add_shard(engine, stream, parent.id, parent.hash_from, parent.hash_to);
    uint64_t middle = parent.hash_from + (parent.hash_to - parent.hash_from) / 2;
    int rc = tr__stream_add_shard(engine, stream, parent.id, parent.hash_from, middle);
    return rc ? rc : tr__stream_add_shard(engine, stream, parent.id, middle + 1, parent.hash_to);
}

static int turn_over(tr_engine *engine, tr__stream *stream, int64_t now_ms, int64_t elapsed_ms, bool *changed)
{
    size_t open = stream->open_count, splits = 0;
    bool any = false;
    int rc = 0;
    for (size_t i = 0; !rc && i < open; i++) {
        size_t at = stream->open[i];
        bool split = is_overloaded(engine, &stream->pub.shards[at], &stream->state[at], now_ms, elapsed_ms) &&
                     open + splits < TR__OPEN_SHARDS_MAX;
        if (!split && !lifetime_is_over(engine, &stream->pub.shards[at], now_ms))
            continue;
        splits += split;
        any = true;
        rc = succeed(engine, stream, at, split);
    }
    if (any && !rc)
        rc = tr__stream_reopen(stream);
    if (any && !rc)
        rc = tr__store_stream(engine, stream);
    *changed = *changed || any;
    return rc;
}

int tr__streams_turn_over(tr_engine *engine, bool *ret_changed)
{
    int64_t now_ms = tr_engine_now_ms(engine), elapsed_ms = now_ms - engine->looked_ms;
    if (elapsed_ms <= 0) {
        engine->looked_ms = now_ms; /* the clock was set back */
        return 0;
    }
    if (elapsed_ms < TR__LOOK_MS && engine->options.shard_lifetime_ms > TR__LOOK_MS)
        return 0;
    engine->looked_ms = now_ms;
    int rc = 0;
    for (size_t i = 0; !rc && i < engine->stream_count; i++)
        if (!engine->streams[i]->pub.disabled_ms)
            rc = turn_over(engine, engine->streams[i], now_ms, elapsed_ms, ret_changed);
    if (!rc && *ret_changed)
        tr__store_counters(engine);
    return rc;
}

/* --------------------------------------------------------------------------------------------- trimming */

static tr__stream *stream_of(tr_engine *engine, uint32_t number)
{
    for (size_t i = 0; i < engine->stream_count; i++)
        if (engine->streams[i]->pub.number == number)
            return engine->streams[i];
    return NULL;
}

static void note_trimmed(tr_engine *engine, uint32_t stream_number, uint32_t shard_number, uint64_t sequence)
{
    tr__stream *stream = stream_of(engine, stream_number);
    if (!stream)
        return;
    stream->stale = true;
    if (sequence > stream->trimmed_to)
        stream->trimmed_to = sequence;
    for (size_t i = 0; i < stream->pub.shard_count; i++)
        if (stream->pub.shards[i].number == shard_number && sequence > stream->state[i].trimmed_to)
            stream->state[i].trimmed_to = sequence;
}

/* Remembers the newest record of each shard in the slice: who asks for it later learns that it is gone. Seeks
 * from shard to shard. */
static int note_slice(tr_engine *engine, uint32_t slice, tr_error *err)
{
    char lower[4], upper[4], at[TR__CHANGE_KEY];
    tr_put_be32(lower, slice);
    tr_put_be32(upper, slice + 1);
    tr_kv_iter *iter;
    int rc =
        tr_kv_iter_new(engine->kv, TR_KV_CHANGES, NULL, tr_view_of(lower, 4), tr_view_of(upper, 4), &iter);
    if (rc)
        return tr_fail(err, rc, "out of memory");
    tr_view key, value;
    tr_kv_iter_first(iter);
    while (tr_kv_iter_get(iter, &key, &value) && key.len == TR__CHANGE_KEY) {
        uint32_t stream = tr_get_be32(key.ptr + 4), shard = tr_get_be32(key.ptr + 8);
        tr__record_key(slice, stream, shard, UINT64_MAX, at);
        tr_kv_iter_seek_back(iter, tr_view_of(at, sizeof at));
        if (!tr_kv_iter_get(iter, &key, &value))
            break;
        note_trimmed(engine, stream, shard, tr_get_be64(key.ptr + 12));
        tr_kv_iter_seek(iter, tr_view_of(at, sizeof at));
    }
    rc = tr_kv_iter_status(iter, err);
    tr_kv_iter_free(iter);
    return rc;
}

/* Slices whose successor began longer ago than the retention time. */
static size_t slices_due(const tr_engine *engine, int64_t now_ms)
{
    size_t n = 0;
    while (n + 1 < engine->slice_count && n < TRIM_SLICES_MAX &&
           now_ms - engine->slices[n + 1].start_ms >= engine->options.stream_retention_ms)
        n++;
    return n;
}

static int drop_slices(tr_engine *engine, size_t n, tr_error *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        rc = note_slice(engine, engine->slices[i].number, err);
        tr__forget_slice(engine, engine->slices[i].number);
    }
    char from[4], to[4];
    tr_put_be32(from, engine->slices[0].number);
    tr_put_be32(to, engine->slices[n - 1].number + 1);
    tr_kv_batch_delete_range(engine->batch, TR_KV_CHANGES, tr_view_of(from, 4), tr_view_of(to, 4));
    engine->slice_count -= n;
    memmove(engine->slices, engine->slices + n, engine->slice_count * sizeof *engine->slices);
    return rc;
}

/* Closed shards of which nothing is left. */
static void drop_shards(tr_engine *engine, tr__stream *stream, int64_t now_ms)
{
    tr_stream *s = &stream->pub;
    uint64_t oldest = engine->slices[0].start;
    size_t kept = 0;
    for (size_t i = 0; i < s->shard_count; i++) {
        const tr_shard *shard = &s->shards[i];
        if (shard->closed_ms && shard->end < oldest &&
            now_ms - shard->closed_ms >= engine->options.stream_retention_ms)
            continue;
        s->shards[kept] = s->shards[i];
        stream->state[kept] = stream->state[i];
        kept++;
    }
    if (kept == s->shard_count)
        return;
    s->shard_count = kept;
    stream->changed = stream->stale = true;
}

/* Listeners of a stream that goes are told, with no stream to ask any more. */
static void orphan(tr_engine *engine, const tr__stream *stream)
{
    for (tr_listener *l = engine->listeners; l; l = l->next)
        if (l->stream == &stream->pub)
            l->stream = &engine->no_stream.pub;
    engine->no_stream.changed = true;
}

static void drop_stream(tr_engine *engine, tr__stream *stream)
{
    for (size_t i = 0; i < engine->table_count; i++)
        if (engine->tables[i]->pub.stream == &stream->pub)
            engine->tables[i]->pub.stream = NULL;
    orphan(engine, stream);
    tr__forget_stream(engine, stream);
    tr__stream_remove(engine, stream);
    tr__stream_free(stream);
}

static int drop_old(tr_engine *engine, int64_t now_ms)
{
    int rc = 0;
    for (size_t i = engine->stream_count; !rc && i-- > 0;) {
        tr__stream *stream = engine->streams[i];
        drop_shards(engine, stream, now_ms);
        if (!stream->stale)
            continue;
        stream->stale = false;
        if (stream->pub.disabled_ms && stream->pub.shard_count == 0) {
            drop_stream(engine, stream);
            continue;
        }
        rc = tr__stream_reopen(stream);
        if (!rc)
            rc = tr__store_stream(engine, stream);
    }
    return rc;
}

int tr__streams_trim(tr_engine *engine, uint32_t *ret_dropped, bool *ret_more, tr_error *err)
{
    int64_t now_ms = tr_engine_now_ms(engine);
    if (engine->slice_count == 0)
        return 0;
    const tr__slice *newest = &engine->slices[engine->slice_count - 1];
    int rc = 0;
    /* The newest slice is never dropped, so it must not stay the newest for ever. */
    if (now_ms - newest->start_ms >= tr__slice_length_ms(engine) && newest->start <= engine->sequence)
        rc = tr__slice_begin(engine, now_ms);
    size_t n = slices_due(engine, now_ms);
    if (!rc && n) {
        *ret_dropped = engine->slices[n - 1].number;
        rc = tr__engine_write_out(engine, err);
        if (!rc)
            rc = drop_slices(engine, n, err);
        *ret_more = n == TRIM_SLICES_MAX;
    }
    return rc ? rc : drop_old(engine, now_ms);
}
