/* SPDX-License-Identifier: MIT */
/* Reading change records: one shard in order, or all shards of a stream merged by sequence. */
#include "engine/engine_private.h"

#include <inttypes.h>
#include <stdlib.h>

/* Slices without a record of the shard that one call passes over, so that a call's work is bounded: a shard
 * in which nothing happens, beside a busy one, gives an empty result and a place to go on from. */
#define EMPTY_SLICES_MAX 4096

/* A place in the records of one shard. */
typedef struct lane {
    const tr_shard *shard;
    tr_kv_iter *iter;
    size_t slice; /* place in engine->slices */
    uint64_t from;
    tr_view key, value; /* the record at hand; key.len 0: none */
    uint64_t sequence;
    unsigned passed; /* slices passed over */
} lane;

/* The slice that holds the sequence: the last that starts at or before it, or the first of all. */
static size_t slice_of(const tr_engine *engine, uint64_t sequence)
{
    size_t low = 0, high = engine->slice_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (engine->slices[middle].start <= sequence)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Moves to the first record >= from in the slices from lane->slice on. */
static int lane_seek(tr_engine *engine, const tr_stream *stream, lane *l, uint64_t limit, tr_error *err)
{
    char key[TR__CHANGE_KEY];
    l->key.len = 0;
    for (; l->slice < engine->slice_count && engine->slices[l->slice].start <= limit; l->slice++) {
        if (l->passed++ > EMPTY_SLICES_MAX)
            return 0;
        uint32_t number = engine->slices[l->slice].number;
        tr__record_key(number, stream->number, l->shard->number, l->from, key);
        tr_kv_iter_seek(l->iter, tr_view_of(key, sizeof key));
        tr_view k, v;
        if (!tr_kv_iter_get(l->iter, &k, &v))
            return tr_kv_iter_status(l->iter, err);
        if (k.len == TR__CHANGE_KEY && memcmp(k.ptr, key, 12) == 0) {
            l->key = k;
            l->value = v;
            l->sequence = tr_get_be64(k.ptr + 12);
            l->passed = 0;
            return 0;
        }
    }
    return 0;
}

static int lane_next(tr_engine *engine, const tr_stream *stream, lane *l, uint64_t limit, tr_error *err)
{
    char prefix[12];
    memcpy(prefix, l->key.ptr, sizeof prefix);
    l->from = l->sequence + 1;
    tr_kv_iter_next(l->iter);
    tr_view k, v;
    if (tr_kv_iter_get(l->iter, &k, &v)) {
        if (k.len == TR__CHANGE_KEY && memcmp(k.ptr, prefix, sizeof prefix) == 0) {
            l->key = k;
            l->value = v;
            l->sequence = tr_get_be64(k.ptr + 12);
            return 0;
        }
    } else {
        l->key.len = 0;
        return tr_kv_iter_status(l->iter, err);
    }
    l->slice++;
    return lane_seek(engine, stream, l, limit, err);
}

static int lane_open(tr_engine *engine, const tr_stream *stream, const tr_shard *shard, uint64_t from,
                     uint64_t limit, lane *l, tr_error *err)
{
    *l = (lane){.shard = shard, .from = from < shard->start ? shard->start : from};
    l->slice = slice_of(engine, l->from);
    int rc = tr_kv_iter_new(engine->kv, TR_KV_CHANGES, engine->current->kv, (tr_view){NULL, 0},
                            (tr_view){NULL, 0}, &l->iter);
    return rc ? tr_fail(err, rc, "out of memory") : lane_seek(engine, stream, l, limit, err);
}

/* Hands the lane's record over. */
static int deliver(const tr_stream *stream, const lane *l, tr_buf *keys, tr_stream_change_fn *fn, void *ctx,
                   bool *ret_more, tr_error *err)
{
    tr_stream_change change;
    int rc = tr__record_decode(stream, l->key, l->value, keys, &change);
    if (rc)
        return tr_fail(err, rc, "change record %" PRIu64 " is damaged", l->sequence);
    change.shard = l->shard;
    *ret_more = fn(ctx, &change);
    return 0;
}

/* Where a reader goes on that has seen everything there is for now. */
static uint64_t after_all(const tr_engine *engine, uint64_t from)
{
    uint64_t next = engine->current->sequence + 1;
    return next < from ? from : next;
}

/* A lane that gave up within its bounds hides what comes after that place: nothing from there on may be
 * handed over. */
static void heed(const tr_engine *engine, const lane *l, uint64_t *limit, uint64_t *next)
{
    if (l->key.len || l->passed <= EMPTY_SLICES_MAX || l->slice >= engine->slice_count)
        return;
    uint64_t bar = engine->slices[l->slice].start;
    if (bar <= *limit) {
        *limit = bar - 1;
        *next = bar;
    }
}

int tr_engine_read_shard(tr_engine *engine, tr_stream *stream, const tr_shard *shard, uint64_t from,
                         tr_stream_change_fn *fn, void *ctx, uint64_t *ret_next, tr_error *err)
{
    const tr__stream *s = (const tr__stream *)stream;
    uint64_t trimmed = s->state[shard - stream->shards].trimmed_to;
    if (trimmed && from <= trimmed)
        return tr_fail(err, TR_ETRIMMED, "records from this sequence number on have been trimmed");
    uint64_t limit = engine->current->sequence, next = after_all(engine, from);
    if (shard->closed_ms && shard->end < limit)
        limit = shard->end;
    if (from > limit || engine->slice_count == 0) {
        *ret_next = next;
        return 0;
    }
    lane l;
    bool more = true;
    int rc = lane_open(engine, stream, shard, from, limit, &l, err);
    while (!rc && l.key.len && l.sequence <= limit) {
        rc = deliver(stream, &l, &engine->value, fn, ctx, &more, err);
        if (rc || !more)
            break;
        rc = lane_next(engine, stream, &l, limit, err);
    }
    if (!more)
        next = l.sequence + 1;
    else
        heed(engine, &l, &limit, &next);
    tr_kv_iter_free(l.iter);
    if (!rc)
        *ret_next = next;
    return rc;
}

/* ---------------------------------------------------------------------------------------------- merging */

static void sift(lane **heap, size_t count, size_t at)
{
    for (;;) {
        size_t least = at, left = 2 * at + 1, right = left + 1;
        if (left < count && heap[left]->sequence < heap[least]->sequence)
            least = left;
        if (right < count && heap[right]->sequence < heap[least]->sequence)
            least = right;
        if (least == at)
            return;
        lane *swap = heap[at];
        heap[at] = heap[least];
        heap[least] = swap;
        at = least;
    }
}

static bool overlaps(const tr_shard *shard, uint64_t from, uint64_t limit)
{
    return shard->start <= limit && (!shard->closed_ms || shard->end >= from);
}

/* Hands records over in the order of their sequences, from the lanes in the heap. */
static int merge(tr_engine *engine, tr_stream *stream, lane **heap, size_t count, uint64_t limit,
                 tr_stream_change_fn *fn, void *ctx, uint64_t *next, tr_error *err)
{
    for (size_t i = count; i-- > 0;)
        sift(heap, count, i);
    while (count && heap[0]->sequence <= limit) {
        lane *l = heap[0];
        bool more = true;
        int rc = deliver(stream, l, &engine->value, fn, ctx, &more, err);
        if (rc)
            return rc;
        if (!more) {
            *next = l->sequence + 1;
            return 0;
        }
        rc = lane_next(engine, stream, l, limit, err);
        if (rc)
            return rc;
        heed(engine, l, &limit, next);
        if (!l->key.len)
            heap[0] = heap[--count];
        sift(heap, count, 0);
    }
    return 0;
}

int tr_engine_read_stream(tr_engine *engine, tr_stream *stream, uint64_t from, tr_stream_change_fn *fn,
                          void *ctx, uint64_t *ret_next, tr_error *err)
{
    uint64_t trimmed = ((tr__stream *)stream)->trimmed_to;
    if (trimmed && from <= trimmed)
        return tr_fail(err, TR_ETRIMMED, "records from this sequence number on have been trimmed");
    uint64_t limit = engine->current->sequence, next = after_all(engine, from);
    if (from > limit || engine->slice_count == 0) {
        *ret_next = next;
        return 0;
    }
    size_t opened = 0, count = 0, most = stream->shard_count + 1;
    lane *lanes = tr_calloc(most, sizeof *lanes + sizeof(lane *));
    if (!lanes)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    lane **heap = (lane **)(void *)(lanes + most);
    int rc = 0;
    for (size_t i = 0; !rc && i < stream->shard_count; i++) {
        if (!overlaps(&stream->shards[i], from, limit))
            continue;
        lane *l = &lanes[opened++];
        rc = lane_open(engine, stream, &stream->shards[i], from, limit, l, err);
        heed(engine, l, &limit, &next);
        if (l->key.len)
            heap[count++] = l;
    }
    if (!rc)
        rc = merge(engine, stream, heap, count, limit, fn, ctx, &next, err);
    for (size_t i = 0; i < opened; i++)
        tr_kv_iter_free(lanes[i].iter);
    tr_free(lanes);
    if (!rc)
        *ret_next = next;
    return rc;
}

/* --------------------------------------------------------------------------------------------- positions */

uint64_t tr_engine_stream_tip(tr_engine *engine, const tr_stream *stream)
{
    uint64_t last = ((const tr__stream *)stream)->last_sequence, synced = engine->current->sequence;
    return last && last <= synced ? last : synced;
}

uint64_t tr_engine_trim_horizon(tr_engine *engine, const tr_stream *stream)
{
    (void)engine;
    return ((const tr__stream *)stream)->trimmed_to + 1;
}
