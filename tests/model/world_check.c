/* SPDX-License-Identifier: MIT */
/* Comparing everything in the store with the oracle. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

uint32_t newest_marker(world *w, const tr_engine_snapshot *snapshot)
{
    tr_table *table = tr_engine_table(w->engine, TR_VIEW("markers"));
    EXPECT(w, table, "the table of markers is gone");
    uint32_t newest = 0;
    tr_cursor *cursor;
    tr_item item;
    tr_cursor_spec spec = {.snapshot = snapshot, .table = table};
    MUST(w, tr_cursor_new(w->engine, &spec, &cursor, err));
    while (tr_cursor_next(cursor, &item, NULL) == 0) {
        tr_value value;
        int64_t n;
        MUST(w, tr_item_get(item, TR_VIEW("n"), &value));
        MUST(w, tr_number_to_i64(value.payload, &n));
        if (n > newest)
            newest = (uint32_t)n;
    }
    tr_cursor_free(cursor);
    return newest;
}

static uint16_t number_of(world *w, tr_item item)
{
    tr_value pk, sk;
    uint64_t p, s;
    MUST(w, tr_item_get(item, TR_VIEW("pk"), &pk));
    MUST(w, tr_item_get(item, TR_VIEW("sk"), &sk));
    MUST(w, tr_view_to_u64(tr_view_of(pk.payload.ptr + 1, pk.payload.len - 1), 11, &p));
    MUST(w, tr_view_to_u64(tr_view_of(sk.payload.ptr + 1, sk.payload.len - 1), 5, &s));
    return (uint16_t)(p * 6 + s);
}

/* -------------------------------------------------------------------------------------------------- tables
 */

/* Walks what the spec says; `seen` is told each key. */
static size_t walk(world *w, tr_cursor_spec spec, const oracle_items *items, bool whole, bool *seen)
{
    tr_cursor *cursor;
    tr_item item;
    size_t count = 0;
    int rc;
    tr_error why = {0};
    MUST(w, tr_cursor_new(w->engine, &spec, &cursor, err));
    while ((rc = tr_cursor_next(cursor, &item, &why)) == 0) {
        uint16_t key = number_of(w, item);
        const oracle_item *there = oracle_find(items, key);
        EXPECT(w, there, "item %u should not be", key);
        EXPECT(w, !whole || tr_view_eq(there->item, item), "item %u is another", key);
        EXPECT(w, !seen[key], "item %u comes twice", key);
        seen[key] = true;
        count++;
    }
    EXPECT(w, rc == TR_ENOTFOUND, "%s", why.message);
    tr_cursor_free(cursor);
    return count;
}

static void check_scans(world *w, tr_table *table, const oracle_items *items)
{
    for (uint32_t segments = 1; segments <= 3; segments += 2) {
        bool seen[KEYS_MAX] = {false};
        size_t count = 0;
        for (uint32_t s = 0; s < segments; s++)
            count += walk(
                w, (tr_cursor_spec){.table = table, .segment = s, .segments = segments, .backward = s == 1},
                items, true, seen);
        EXPECT(w, count == items->count, "%zu items instead of %zu", count, items->count);
    }
}

static void check_queries(world *w, tr_table *table, const oracle_items *items)
{
    for (uint16_t p = 0; p < 12; p++) {
        char pk[8];
        bool seen[KEYS_MAX] = {false};
        size_t expected = 0;
        (void)snprintf(pk, sizeof pk, "p%d", p);
        for (size_t i = 0; i < items->count; i++)
            expected += items->item[i].key / 6 == p && items->item[i].key % 6 >= 2;
        tr_cursor_spec spec = {.table = table,
                               .hash = {{TR_S, tr_view_str(pk)}},
                               .hash_count = 1,
                               .op = TR_RANGE_GE,
                               .low = {TR_S, TR_VIEW("s2")},
                               .backward = p % 2};
        EXPECT(w, walk(w, spec, items, true, seen) == expected, "query of %s", pk);
    }
}

static bool is_indexed(const tr_index *index, tr_item item)
{
    tr_value value;
    bool total = tr_item_get(item, TR_VIEW("total"), &value) == 0 && value.type == TR_N;
    if (index->local)
        return total;
    return total && tr_item_get(item, TR_VIEW("status"), &value) == 0 && value.type == TR_S;
}

/* An index holds exactly the entries that follow from the items, in its order. */
static void check_index(world *w, tr_table *table, const tr_index *index, const oracle_items *items)
{
    EXPECT(w, index->status == TR_ACTIVE && !index->backfilling, "index %.*s is not active",
           TR_FMT(index->name));
    bool seen[KEYS_MAX] = {false};
    size_t expected = 0;
    for (size_t i = 0; i < items->count; i++)
        expected += is_indexed(index, items->item[i].item);
    size_t count = walk(w, (tr_cursor_spec){.table = table, .index = index}, items, !index->local, seen);
    EXPECT(w, count == expected && index->item_count == (int64_t)expected,
           "%zu entries, %lld counted, not %zu", count, (long long)index->item_count, expected);
}

static void check_order(world *w, tr_table *table, const tr_index *index)
{
    if (index->local)
        return;
    for (int status = 0; status < 3; status++) {
        char text[4];
        (void)snprintf(text, sizeof text, "%d", status);
        tr_cursor_spec spec = {
            .table = table, .index = index, .hash = {{TR_S, tr_view_str(text)}}, .hash_count = 1};
        tr_cursor *cursor;
        tr_item item;
        tr_value last = {TR_NONE, {NULL, 0}}, total;
        MUST(w, tr_cursor_new(w->engine, &spec, &cursor, err));
        while (tr_cursor_next(cursor, &item, NULL) == 0) {
            MUST(w, tr_item_get(item, TR_VIEW("total"), &total));
            EXPECT(w, !last.type || tr_value_cmp(last, total) <= 0, "index out of order");
            last = (tr_value){total.type, tr_arena_copy(&w->arena, total.payload)};
        }
        tr_cursor_free(cursor);
    }
}

void check_tables(world *w)
{
    for (int t = 0; t < TABLES; t++) {
        const oracle_table *o = &w->now.table[t];
        tr_table *table = world_table(w, t);
        EXPECT(w, (table != NULL) == o->exists, "table %d", t);
        if (!table)
            continue;
        int64_t size = 0;
        for (size_t i = 0; i < o->items->count; i++)
            size += (int64_t)tr_item_size(o->items->item[i].item);
        EXPECT(w, table->item_count == (int64_t)o->items->count && table->size_bytes == size,
               "counted %lld items of %lld bytes, not %zu of %lld", (long long)table->item_count,
               (long long)table->size_bytes, o->items->count, (long long)size);
        check_scans(w, table, o->items);
        check_queries(w, table, o->items);
        EXPECT(w, table->index_count == (unsigned)o->local + (unsigned)o->global, "%u indexes",
               table->index_count);
        for (unsigned i = 0; i < table->index_count; i++) {
            check_index(w, table, &table->indexes[i], o->items);
            check_order(w, table, &table->indexes[i]);
        }
    }
}

/* ------------------------------------------------------------------------------------------------- streams
 */

typedef struct replay {
    world *w;
    tr_item item[KEYS_MAX]; /* as replayed so far */
    uint64_t last;
    size_t count;
    const tr_shard *shard; /* reading one: its */
    uint64_t sum;          /* of the sequence numbers */
} replay;

static bool apply(void *ctx, const tr_stream_change *change)
{
    replay *r = ctx;
    world *w = r->w;
    uint16_t key = number_of(w, change->keys);
    EXPECT(w, change->sequence > r->last, "records out of order");
    EXPECT(w, tr_view_eq(r->item[key], change->old_image),
           "the old image of record %llu is not what was there", (unsigned long long)change->sequence);
    tr_change_kind kind = !change->old_image.len   ? TR_CHANGE_INSERT
                          : !change->new_image.len ? TR_CHANGE_REMOVE
                                                   : TR_CHANGE_MODIFY;
    EXPECT(w, change->kind == kind, "kind %d", change->kind);
    EXPECT(w, !tr_view_eq(change->old_image, change->new_image), "a record of nothing");
    r->item[key] = change->new_image.len ? tr_arena_copy(&w->arena, change->new_image) : (tr_item){NULL, 0};
    r->last = change->sequence;
    r->sum += change->sequence;
    r->count++;
    return true;
}

static bool tally(void *ctx, const tr_stream_change *change)
{
    replay *r = ctx;
    const tr_shard *shard = r->shard;
    EXPECT(r->w, change->shard == shard, "record of another shard");
    EXPECT(r->w, change->sequence > r->last, "records out of order");
    EXPECT(r->w, change->sequence >= shard->start && (!shard->closed_ms || change->sequence <= shard->end),
           "record %llu outside of its shard", (unsigned long long)change->sequence);
    r->last = change->sequence;
    r->sum += change->sequence;
    r->count++;
    return true;
}

static const tr_shard *parent_of(const tr_stream *stream, const tr_shard *shard)
{
    for (size_t i = 0; i < stream->shard_count; i++)
        if (strcmp(stream->shards[i].id, shard->parent) == 0)
            return &stream->shards[i];
    return NULL;
}

/* The shards one by one hold what the stream holds; children follow their parents; the open ones cover all
 * hashes. */
static void check_shards(world *w, tr_stream *stream, uint64_t from, const replay *whole)
{
    replay r = {.w = w};
    uint64_t covered = 0;
    for (size_t i = 0; i < stream->shard_count; i++) {
        const tr_shard *shard = &stream->shards[i], *parent = parent_of(stream, shard);
        EXPECT(w, !parent || (parent->closed_ms && parent->end <= shard->start), "child before parent");
        if (!shard->closed_ms)
            covered += shard->hash_to - shard->hash_from + 1;
        r.shard = shard;
        r.last = 0;
        /* In two halves, so that reading on is tried too. */
        uint64_t next;
        MUST(w, tr_engine_read_shard(w->engine, stream, shard, from, tally, &r, &next, err));
        size_t before = r.count;
        MUST(w, tr_engine_read_shard(w->engine, stream, shard, next, tally, &r, &next, err));
        EXPECT(w, r.count == before, "records after the end");
    }
    EXPECT(w, stream->disabled_ms || covered == 0, "open shards do not cover all hashes");
    EXPECT(w, r.count == whole->count && r.sum == whole->sum, "%zu records in shards, %zu in the stream",
           r.count, whole->count);
    w->shards += stream->shard_count;
}

/* Replayed over what the table held when the stream was enabled, the stream gives the table. */
static void check_stream(world *w, const oracle_table *o)
{
    tr_stream *stream = tr_engine_stream(w->engine, tr_view_str(o->stream_arn));
    EXPECT(w, stream && !stream->disabled_ms, "stream %s is gone", o->stream_arn);
    replay r = {.w = w};
    for (size_t i = 0; i < o->before->count; i++)
        r.item[o->before->item[i].key] = o->before->item[i].item;
    uint64_t next, horizon = tr_engine_trim_horizon(w->engine, stream);
    if (horizon > 1) {
        EXPECT(w, w->trims, "records were trimmed before their time");
        int rc = tr_engine_read_stream(w->engine, stream, horizon - 1, apply, &r, &next, NULL);
        EXPECT(w, rc == TR_ETRIMMED, "trimmed records were not missed");
        return;
    }
    MUST(w, tr_engine_read_stream(w->engine, stream, 0, apply, &r, &next, err));
    for (uint16_t key = 0; key < KEYS_MAX; key++) {
        const oracle_item *there = oracle_find(o->items, key);
        EXPECT(w, tr_view_eq(r.item[key], there ? there->item : (tr_item){NULL, 0}),
               "item %u of the replay is another", key);
    }
    check_shards(w, stream, 0, &r);
}

void check_streams(world *w)
{
    for (int t = 0; t < TABLES; t++)
        if (w->now.table[t].stream_arn)
            check_stream(w, &w->now.table[t]);
}
