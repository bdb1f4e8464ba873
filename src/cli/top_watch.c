/* SPDX-License-Identifier: MIT */
#include "cli/top.h"

#include <stdio.h>

#define BATCH 1000

static void put_text(char *to, size_t size, tr_view text)
{
    (void)snprintf(to, size, "%.*s", text.len < size ? (int)text.len : (int)size - 1,
                   text.ptr ? text.ptr : "");
}

static tr_top_shard *shard_of(tr_top_table *t, tr_view id)
{
    tr_top_shard *s;
    HASH_FIND(hh, t->shards, id.ptr, id.len, s);
    if (s || id.len > TR_SHARD_ID_MAX || !(s = tr_calloc(1, sizeof *s)))
        return s;
    memcpy(s->id, id.ptr, id.len);
    s->lag_ms = -1;
    HASH_ADD(hh, t->shards, id[0], id.len, s);
    return s;
}

static void forget(tr_top_table *t, tr_top_shard *s)
{
    HASH_DEL(t->shards, s);
    tr_free(s->seen);
    tr_free(s);
}

int tr_top_open(tr_top_table *t, const char *name, tr_client *client, tr_error *err)
{
    const tr_stream_options o = {.table = name, .start = {.at = TR_START_LATEST}, .logger = tr_cli_logger()};
    t->name = name;
    t->looked_ns = tr_clock_mono_ns();
    return tr_stream_new(client, &o, &t->stream, err);
}

void tr_top_close(tr_top_table *t)
{
    tr_top_shard *s, *next;
    tr_stream_free(t->stream);
    HASH_ITER(hh, t->shards, s, next)
    {
        forget(t, s);
    }
}

/* ---------------------------------------------------------------------------------------------- records */

static void remember(tr_top_table *t, const tr_record *record)
{
    tr_top_shard *s = shard_of(t, record->shard_id);
    if (!s || (!s->seen && !(s->seen = tr_calloc(TR_TOP_SEEN, sizeof *s->seen))))
        return;
    s->newest_ms = record->time_ms;
    size_t at = (s->first + s->count) % TR_TOP_SEEN;
    if (s->count == TR_TOP_SEEN)
        s->first = (s->first + 1) % TR_TOP_SEEN;
    else
        s->count++;
    put_text(s->seen[at].sequence, sizeof s->seen[at].sequence, record->sequence_number);
    s->seen[at].time_ms = record->time_ms;
}

static void take(tr_top_table *t, const tr_stream_event *e)
{
    if (e->kind == TR_STREAM_RECORD) {
        t->trouble[0] = 0;
        remember(t, e->record);
    } else if (e->kind == TR_STREAM_TROUBLE) {
        (void)snprintf(t->trouble, sizeof t->trouble, "%s: %s%s%.300s", e->trouble->doing,
                       e->trouble->error->type, e->trouble->error->type[0] ? ": " : "",
                       e->trouble->error->message);
    } else if (e->kind == TR_STREAM_CAUGHT_UP) {
        t->trouble[0] = 0;
    } else if (e->kind == TR_STREAM_ENDED) {
        (void)snprintf(t->trouble, sizeof t->trouble, "the stream was disabled and is read to its end");
    }
}

int tr_top_read(tr_top_table *t)
{
    tr_stream_batch batch = {0};
    int e;
    while ((e = tr_stream_next_batch(t->stream, BATCH, 0, 0, &batch)) == 0) {
        for (size_t i = 0; i < batch.count; i++)
            take(t, batch.events[i]);
        tr_stream_ack_batch(t->stream, &batch);
    }
    tr_stream_batch_done(&batch);
    return e == TR_ETIMEOUT ? 0 : e;
}

/* ---------------------------------------------------------------------------------------------- looking */

static void look_at(void *ctx, const tr_shard_stats *stats)
{
    tr_top_table *t = ctx;
    tr_top_shard *s = shard_of(t, stats->id);
    if (!s)
        return;
    s->there = true;
    s->phase = stats->phase;
    s->records = stats->records;
    s->lag_ms = stats->lag_ms;
    put_text(s->parent, sizeof s->parent, stats->parent_id);
}

static int by_id(const tr_top_shard *a, const tr_top_shard *b)
{
    return strcmp(a->id, b->id);
}

void tr_top_look(tr_top_table *t)
{
    int64_t now = tr_clock_mono_ns();
    double passed = (double)(now - t->looked_ns) / 1e9;
    tr_top_shard *s, *next;
    t->looked_ns = now;
    for (s = t->shards; s; s = s->hh.next)
        s->there = false;
    tr_stream_get_stats(t->stream, &t->stats);
    tr_stream_each_shard(t->stream, look_at, t);
    HASH_ITER(hh, t->shards, s, next)
    {
        s->rate = passed > 0 ? (double)(s->records - s->records_before) / passed : 0;
        s->records_before = s->records;
        if (!s->there && !s->leased)
            forget(t, s);
    }
    HASH_SORT(t->shards, by_id);
    t->record_rate = passed > 0 ? (double)(t->stats.records - t->records_before) / passed : 0;
    t->byte_rate = passed > 0 ? (double)(t->stats.bytes - t->bytes_before) / passed : 0;
    t->records_before = t->stats.records;
    t->bytes_before = t->stats.bytes;
}

/* ----------------------------------------------------------------------------------------------- leases */

/* What stands behind the checkpoint, of what is remembered. */
static void reckon(tr_top_shard *s)
{
    tr_view checkpoint = tr_view_str(s->checkpoint);
    s->behind = 0;
    s->worker_lag_ms = 0;
    s->worker_gap = false;
    if (strcmp(s->checkpoint, "SHARD_END") == 0 || !s->count)
        return;
    size_t i = 0;
    if (tr_sequence_valid(checkpoint)) /* the first that is newer */
        for (size_t high = s->count; i < high;) {
            size_t middle = i + (high - i) / 2;
            const tr_top_seen *x = &s->seen[(s->first + middle) % TR_TOP_SEEN];
            if (tr_sequence_cmp(tr_view_str(x->sequence), checkpoint) <= 0)
                i = middle + 1;
            else
                high = middle;
        }
    s->behind = s->count - i;
    s->worker_gap = i == 0 && s->count == TR_TOP_SEEN;
    if (s->behind)
        s->worker_lag_ms = tr_clock_wall_ms() - s->seen[(s->first + i) % TR_TOP_SEEN].time_ms;
    if (s->worker_lag_ms < 0)
        s->worker_lag_ms = 0;
}

static bool take_lease(void *ctx, const tr_lease *lease)
{
    tr_top_table *t = ctx;
    tr_top_shard *s = shard_of(t, lease->key);
    if (!s)
        return true;
    s->leased = true;
    s->counter = lease->counter;
    put_text(s->owner, sizeof s->owner, lease->owner);
    put_text(s->checkpoint, sizeof s->checkpoint, lease->checkpoint);
    put_text(s->handover_to, sizeof s->handover_to, lease->handover_to);
    if (!s->parent[0])
        put_text(s->parent, sizeof s->parent, lease->parent);
    reckon(s);
    return true;
}

int tr_top_leases(tr_top_table *t, tr_client *client, const char *lease_table, tr_error *err)
{
    for (tr_top_shard *s = t->shards; s; s = s->hh.next)
        s->leased = false;
    return tr_leases_list(client, lease_table, take_lease, t, err);
}
