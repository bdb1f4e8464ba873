/* SPDX-License-Identifier: MIT */
#include "stream/driver.h"

#include <assert.h>
#include <stdio.h>

/* The public functions that deliver, and those that look at the state. */

static int may_block(const tr_stream *stream)
{
    return tr_client_on_thread(stream->client) ? TR_ETHREAD : 0;
}

static void enter(tr_stream *stream)
{
    (void)pthread_mutex_lock(&stream->lock);
    tr__stream_tick(stream);
}

static void leave(tr_stream *stream)
{
    tr__stream_pump(stream);
    (void)pthread_mutex_unlock(&stream->lock);
}

/* -------------------------------------------------------------------------------------------- delivery */

/** With the lock held: waits until at least `want` events are there; how many are, or an error. */
static int await(tr_stream *stream, size_t want, int64_t until, size_t *ret_count)
{
    for (;;) {
        size_t n = tr__core_available(stream->core, want);
        if (n >= want) {
            *ret_count = n;
            return 0;
        }
        if (stream->stopped)
            return TR_ECLOSED;
        if (tr_clock_mono_ms() >= until) {
            *ret_count = n;
            return TR_ETIMEOUT;
        }
        tr__stream_wait(stream, until);
        tr__stream_tick(stream);
    }
}

int tr_stream_next(tr_stream *stream, int64_t timeout_ms, tr_stream_event **ret_event)
{
    int code = may_block(stream);
    if (code)
        return code;
    int64_t until = tr__stream_until(timeout_ms);
    enter(stream);
    size_t n;
    tr_stream_event *event = NULL;
    /* between being told and taking, another thread may have been quicker */
    while (!event && (code = stream->stopped ? TR_ECLOSED : await(stream, 1, until, &n)) == 0)
        event = tr__core_take(stream->core);
    leave(stream);
    if (code == 0)
        *ret_event = event;
    return code;
}

static int grow(tr_stream_batch *batch, size_t capacity)
{
    if (capacity <= batch->capacity)
        return 0;
    tr_stream_event **events = tr_realloc(batch->events, capacity * sizeof *events);
    if (!events)
        return TR_ENOMEM;
    batch->events = events;
    batch->capacity = capacity;
    return 0;
}

int tr_stream_next_batch(tr_stream *stream, size_t max, int64_t timeout_ms, int64_t window_ms,
                         tr_stream_batch *batch)
{
    assert(max > 0 && batch->count == 0);
    int code = may_block(stream);
    if (code == 0)
        code = grow(batch, max);
    if (code)
        return code;
    int64_t until = tr__stream_until(timeout_ms);
    enter(stream);
    while (batch->count == 0) {
        size_t n;
        code = stream->stopped ? TR_ECLOSED : await(stream, 1, until, &n);
        if (code == 0 && window_ms > 0 && max > 1) {
            int64_t window = tr__stream_until(window_ms);
            (void)await(stream, max, window < until || timeout_ms < 0 ? window : until, &n);
            if (stream->stopped)
                code = TR_ECLOSED;
        }
        if (code)
            break;
        batch->count = tr__core_take_batch(stream->core, max, batch->events);
    }
    leave(stream);
    return code;
}

void tr_stream_batch_done(tr_stream_batch *batch)
{
    assert(!batch || batch->count == 0);
    if (batch)
        tr_free(batch->events);
    if (batch)
        *batch = (tr_stream_batch){0};
}

void tr_stream_ack(tr_stream *stream, tr_stream_event *event)
{
    enter(stream);
    tr__core_ack(stream->core, event);
    leave(stream);
}

void tr_stream_ack_batch(tr_stream *stream, tr_stream_batch *batch)
{
    enter(stream);
    for (size_t i = 0; i < batch->count; i++)
        tr__core_ack(stream->core, batch->events[i]);
    batch->count = 0;
    leave(stream);
}

void tr_stream_nack(tr_stream *stream, tr_stream_event *event, int64_t delay_ms)
{
    enter(stream);
    tr__core_nack(stream->core, event, delay_ms);
    leave(stream);
}

void tr_stream_nack_batch(tr_stream *stream, tr_stream_batch *batch, size_t done, int64_t delay_ms)
{
    enter(stream);
    for (size_t i = 0; i < batch->count; i++) {
        if (i < done)
            tr__core_ack(stream->core, batch->events[i]);
        else
            tr__core_nack(stream->core, batch->events[i], delay_ms);
    }
    batch->count = 0;
    leave(stream);
}

/* -------------------------------------------------------------------------------------------- callbacks */

static int call_record(const tr_stream_handlers *h, const tr_record *record)
{
    int (*const fns[])(void *, const tr_record *) = {NULL, h->insert, h->modify, h->remove};
    return fns[record->event] ? fns[record->event](h->ctx, record) : 0;
}

static int call_handler(const tr_stream_handlers *h, const tr_stream_event *e)
{
    switch (e->kind) {
    case TR_STREAM_RECORD:
        return call_record(h, e->record);
    case TR_STREAM_GAP:
        return h->gap ? h->gap(h->ctx, e->gap) : 0;
    case TR_STREAM_STARTED:
        if (h->started)
            h->started(h->ctx);
        return 0;
    case TR_STREAM_SHARDS_ADDED:
        if (h->shards_added)
            h->shards_added(h->ctx, e->shards, e->shard_count);
        return 0;
    case TR_STREAM_SHARDS_REMOVED:
        if (h->shards_removed)
            h->shards_removed(h->ctx, e->shards, e->shard_count);
        return 0;
    case TR_STREAM_CAUGHT_UP:
        if (h->caught_up)
            h->caught_up(h->ctx);
        return 0;
    case TR_STREAM_ENDED:
        if (h->ended)
            h->ended(h->ctx);
        return 0;
    case TR_STREAM_TROUBLE:
        if (h->trouble)
            h->trouble(h->ctx, e->trouble);
        return 0;
    case TR_STREAM_CHECKPOINT:
        return 0;
    }
    return 0;
}

#define RUN_BATCH 64

int tr_stream_run(tr_stream *stream, const tr_stream_handlers *handlers)
{
    if (stream->user_checkpoints)
        return TR_EINVAL;
    tr_stream_batch batch = {0};
    tr_rng rng;
    tr_rng_seed(&rng, (uint64_t)tr_clock_mono_ns());
    int code;
    while ((code = tr_stream_next_batch(stream, RUN_BATCH, -1, 0, &batch)) == 0) {
        size_t done = 0;
        while (done < batch.count && call_handler(handlers, batch.events[done]) == 0)
            done++;
        unsigned attempt = done < batch.count ? batch.events[done]->delivery - 1 : 0;
        int64_t delay = tr_backoff_ms(&rng, attempt, stream->retry_min_ms, stream->retry_max_ms);
        tr_stream_nack_batch(stream, &batch, done, delay + 1);
    }
    tr_stream_batch_done(&batch);
    return code == TR_ECLOSED ? 0 : code;
}

/* ---------------------------------------------------------------------------------------------- polling */

static int poll_end(tr_stream *stream, int64_t until, tr_error *err)
{
    while (tr__core_poll_busy(stream->core)) {
        if (stream->stopped)
            return tr_fail(err, TR_ECLOSED, "the stream was stopped");
        if (tr_clock_mono_ms() >= until) {
            const tr_error *trouble = tr__core_trouble(stream->core);
            int code = tr_fail(err, TR_ETIMEOUT, "the poll takes too long");
            if (trouble && err)
                *err = *trouble;
            return code;
        }
        tr__stream_pump(stream);
        tr__stream_wait(stream, until);
        tr__stream_tick(stream);
    }
    return 0;
}

static int poll_begin(tr_stream *stream, tr_error *err)
{
    if (may_block(stream))
        return tr_fail(err, TR_ETHREAD, "not on the client's I/O thread");
    if (!stream->manual)
        return tr_fail(err, TR_EINVAL, "the stream was not opened for polling (manual)");
    (void)pthread_mutex_lock(&stream->poll);
    enter(stream);
    return 0;
}

static void poll_over(tr_stream *stream)
{
    leave(stream);
    (void)pthread_mutex_unlock(&stream->poll);
}

int tr_stream_fetch_shards(tr_stream *stream, int64_t timeout_ms, tr_error *err)
{
    int64_t until = tr__stream_until(timeout_ms);
    int code = poll_begin(stream, err);
    if (code)
        return code;
    tr__core_poll_shards(stream->core);
    tr__stream_pump(stream);
    code = poll_end(stream, until, err);
    poll_over(stream);
    return code;
}

/** All events that wait, in order. Those that find no memory wait for the next fetch. */
static int collect(tr_stream *stream, tr_stream_batch *batch)
{
    for (;;) {
        int code = grow(batch, batch->count + 256);
        if (code)
            return batch->count ? 0 : code;
        size_t n = tr__core_take_batch(stream->core, 256, batch->events + batch->count);
        if (n == 0)
            return 0;
        batch->count += n;
    }
}

int tr_stream_fetch_records(tr_stream *stream, bool drain, int64_t timeout_ms, tr_stream_batch *batch,
                            tr_error *err)
{
    assert(batch->count == 0);
    int64_t until = tr__stream_until(timeout_ms);
    int code = poll_begin(stream, err);
    if (code)
        return code;
    tr__core_poll_records(stream->core, drain);
    tr__stream_pump(stream);
    code = poll_end(stream, until, err);
    if (code == 0 || code == TR_ETIMEOUT) {
        int memory = collect(stream, batch);
        code = batch->count ? 0 : code ? code : memory;
    }
    poll_over(stream);
    return code;
}

int tr_stream_fetch(tr_stream *stream, int64_t timeout_ms, tr_stream_batch *batch, tr_error *err)
{
    int64_t until = tr__stream_until(timeout_ms);
    int code = tr_stream_fetch_shards(stream, timeout_ms, err);
    if (code)
        return code;
    int64_t left = until == INT64_MAX ? -1 : until - tr_clock_mono_ms();
    return tr_stream_fetch_records(stream, false, until != INT64_MAX && left < 0 ? 0 : left, batch, err);
}

/* ------------------------------------------------------------------------------------------------ state */

int tr_stream_get_state(tr_stream *stream, tr_buf *ret_json)
{
    enter(stream);
    int code = tr__core_get_state(stream->core, ret_json);
    leave(stream);
    return code;
}

int tr_stream_set_state(tr_stream *stream, tr_view json, tr_error *err)
{
    enter(stream);
    int code = tr__core_set_state(stream->core, json, err);
    leave(stream);
    return code;
}

int tr_stream_export_iterators(tr_stream *stream, int64_t timeout_ms, tr_buf *ret_json, tr_error *err)
{
    if (may_block(stream))
        return tr_fail(err, TR_ETHREAD, "not on the client's I/O thread");
    int64_t until = tr__stream_until(timeout_ms);
    size_t len = ret_json->len;
    int code = 0;
    enter(stream);
    tr__core_export_begin(stream->core);
    tr__stream_pump(stream);
    while (!tr__core_export_end(stream->core, ret_json)) {
        if (stream->stopped || tr_clock_mono_ms() >= until) {
            code = tr_fail(err, stream->stopped ? TR_ECLOSED : TR_ETIMEOUT, "not all iterators have come");
            break;
        }
        tr__stream_wait(stream, until);
        tr__stream_tick(stream);
        tr__stream_pump(stream);
    }
    leave(stream);
    if (code == 0 && tr_buf_status(ret_json))
        code = tr_fail(err, tr_buf_status(ret_json), "no room for the state");
    if (code)
        ret_json->len = len;
    return code;
}

int tr_stream_flush(tr_stream *stream, int64_t timeout_ms, tr_error *err)
{
    if (may_block(stream))
        return tr_fail(err, TR_ETHREAD, "not on the client's I/O thread");
    int64_t until = tr__stream_until(timeout_ms);
    int code = 0;
    enter(stream);
    tr__core_flush(stream->core);
    tr__stream_pump(stream);
    while (!tr__core_saved_all(stream->core)) {
        if (tr_clock_mono_ms() >= until) {
            const tr_error *why = tr__core_save_error(stream->core);
            code = why ? why->code : TR_ETIMEOUT;
            if (why && err)
                *err = *why;
            else
                (void)tr_fail(err, TR_ETIMEOUT, "saving takes too long");
            break;
        }
        tr__stream_wait(stream, until);
        tr__stream_tick(stream);
    }
    leave(stream);
    return code;
}

int tr_stream_checkpoint_begin(tr_stream *stream, tr_buf *ret_json, uint64_t *ret_token)
{
    enter(stream);
    int code = tr__core_checkpoint_begin(stream->core, ret_json, ret_token);
    leave(stream);
    return code;
}

void tr_stream_checkpoint_end(tr_stream *stream, uint64_t token, int code)
{
    enter(stream);
    tr__core_checkpoint_end(stream->core, token, code);
    leave(stream);
}

void tr_stream_get_stats(tr_stream *stream, tr_stream_stats *ret_stats)
{
    enter(stream);
    tr__core_get_stats(stream->core, ret_stats);
    leave(stream);
}

void tr_stream_each_shard(tr_stream *stream, void (*fn)(void *ctx, const tr_shard_stats *shard), void *ctx)
{
    enter(stream);
    tr__core_each_shard(stream->core, fn, ctx);
    leave(stream);
}
