/* SPDX-License-Identifier: MIT */
/* Verifying a whole store: that everything can be read, and that what is kept twice agrees. */
#include "engine/engine_private.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct checker {
    tr_engine *engine;
    tr_problem_fn *fn;
    void *ctx;
    uint64_t problems;
    tr_buf key, entry;
} checker;

TR_PRINTF(2, 3)
static void problem(checker *c, const char *format, ...)
{
    char text[TR_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->problems++;
    if (c->fn)
        c->fn(c->ctx, text);
}

static int space_iter(checker *c, uint32_t space, tr_kv_iter **ret_iter, tr_error *err)
{
    char lower[4], upper[4];
    tr_put_be32(lower, space);
    tr_put_be32(upper, space + 1);
    int rc = tr_kv_iter_new(c->engine->kv, TR_KV_ITEMS, c->engine->current->kv, tr_view_of(lower, 4),
                            tr_view_of(upper, 4), ret_iter);
    return rc ? tr_fail(err, rc, "out of memory") : 0;
}

static bool get_item(checker *c, tr_view value, const tr_table *table, tr_item *ret_item)
{
    if (value.len < 1 || value.ptr[0] != TR__VALUE_VERSION) {
        problem(c, "table %.*s: a value without its version", TR_FMT(table->name));
        return false;
    }
    *ret_item = tr_view_of(value.ptr + 1, value.len - 1);
    if (tr_item_check(*ret_item) == 0)
        return true;
    problem(c, "table %.*s: an item is damaged", TR_FMT(table->name));
    return false;
}

/* ------------------------------------------------------------------------------------------------ indexes */

/* The entry that the item must have: is it there, and as projected? */
static int check_entry(checker *c, const tr__table *table, unsigned i, tr_item item, uint64_t *expected,
                       tr_error *err)
{
    const tr_index *index = &table->pub.indexes[i];
    int rc = tr__index_entry(table, i, item, &c->key, &c->entry);
    if (rc)
        return rc == TR_ENOTFOUND ? 0 : tr_fail(err, rc, "out of memory");
    ++*expected;
    tr_kv_pin pin;
    rc = tr_kv_get(c->engine->kv, TR_KV_ITEMS, c->engine->current->kv, tr_buf_view(&c->key), &pin, err);
    if (rc && rc != TR_ENOTFOUND)
        return rc;
    if (rc) {
        problem(c, "index %.*s of table %.*s lacks an entry", TR_FMT(index->name), TR_FMT(table->pub.name));
        return 0;
    }
    if (pin.value.len < 1 ||
        !tr_view_eq(tr_view_of(pin.value.ptr + 1, pin.value.len - 1), tr_buf_view(&c->entry)))
        problem(c, "index %.*s of table %.*s has an entry that is not as its item", TR_FMT(index->name),
                TR_FMT(table->pub.name));
    tr_kv_unpin(&pin);
    return 0;
}

static int count_space(checker *c, uint32_t space, uint64_t *ret_count, tr_error *err)
{
    tr_kv_iter *iter;
    int rc = space_iter(c, space, &iter, err);
    if (rc)
        return rc;
    uint64_t count = 0;
    tr_view key, value;
    for (tr_kv_iter_first(iter); tr_kv_iter_get(iter, &key, &value); tr_kv_iter_next(iter))
        count++;
    rc = tr_kv_iter_status(iter, err);
    tr_kv_iter_free(iter);
    *ret_count = count;
    return rc;
}

static int check_index_counts(checker *c, const tr_table *table, const uint64_t *expected, tr_error *err)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < table->index_count; i++) {
        const tr_index *index = &table->indexes[i];
        uint64_t count;
        if (index->backfilling || index->status == TR_DELETING)
            continue;
        rc = count_space(c, index->space, &count, err);
        if (!rc && (count != expected[i] || (int64_t)count != index->item_count))
            problem(c,
                    "index %.*s of table %.*s has %" PRIu64 " entries, should have %" PRIu64
                    ", and counts %" PRId64,
                    TR_FMT(index->name), TR_FMT(table->name), count, expected[i], index->item_count);
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------- tables */

static int check_item(checker *c, const tr__table *table, tr_view key, tr_item item, uint64_t *entries,
                      uint64_t *expiries, tr_error *err)
{
    uint64_t hash;
    int64_t ignored;
    if (tr__key_of_item(&table->pub, item, &c->key, &hash) != 0 || !tr_view_eq(tr_buf_view(&c->key), key))
        problem(c, "table %.*s: an item lies under another key", TR_FMT(table->pub.name));
    if (table->pub.ttl_space && tr__expiry_of(&table->pub, item, &ignored))
        ++*expiries;
    int rc = 0;
    for (unsigned i = 0; !rc && i < table->pub.index_count; i++)
        if (!table->pub.indexes[i].backfilling && table->pub.indexes[i].status != TR_DELETING)
            rc = check_entry(c, table, i, item, &entries[i], err);
    return rc;
}

static int check_table(checker *c, const tr__table *table, tr_error *err)
{
    uint64_t entries[TR_TABLE_INDEXES_MAX] = {0}, expiries = 0, listed = 0;
    int64_t count = 0, size = 0;
    tr_kv_iter *iter;
    int rc = space_iter(c, table->pub.space, &iter, err);
    if (rc)
        return rc;
    tr_view key, value;
    for (tr_kv_iter_first(iter); !rc && tr_kv_iter_get(iter, &key, &value); tr_kv_iter_next(iter)) {
        tr_item item;
        count++;
        if (!get_item(c, value, &table->pub, &item))
            continue;
        size += (int64_t)tr_item_size(item);
        rc = check_item(c, table, key, item, entries, &expiries, err);
    }
    if (!rc)
        rc = tr_kv_iter_status(iter, err);
    tr_kv_iter_free(iter);
    if (rc)
        return rc;
    if (count != table->pub.item_count || size != table->pub.size_bytes)
        problem(c,
                "table %.*s has %" PRId64 " items of %" PRId64 " bytes, and counts %" PRId64 " of %" PRId64,
                TR_FMT(table->pub.name), count, size, table->pub.item_count, table->pub.size_bytes);
    if (table->pub.ttl_space && !table->pub.ttl_filling) {
        rc = count_space(c, table->pub.ttl_space, &listed, err);
        if (!rc && listed != expiries)
            problem(c, "table %.*s lists %" PRIu64 " expiry times, should list %" PRIu64,
                    TR_FMT(table->pub.name), listed, expiries);
    }
    return rc ? rc : check_index_counts(c, &table->pub, entries, err);
}

/* ------------------------------------------------------------------------------------------------ streams */

typedef struct stream_check {
    checker *c;
    const tr_stream *stream;
    uint64_t last;
} stream_check;

static bool check_change(void *ctx, const tr_stream_change *change)
{
    stream_check *s = ctx;
    if (change->sequence <= s->last)
        problem(s->c, "stream %.*s: record %" PRIu64 " comes after %" PRIu64, TR_FMT(s->stream->arn),
                change->sequence, s->last);
    if (tr_item_check(change->keys) != 0 ||
        (change->new_image.len && tr_item_check(change->new_image) != 0) ||
        (change->old_image.len && tr_item_check(change->old_image) != 0))
        problem(s->c, "stream %.*s: record %" PRIu64 " is damaged", TR_FMT(s->stream->arn), change->sequence);
    s->last = change->sequence;
    return true;
}

static int check_stream(checker *c, tr__stream *stream, tr_error *err)
{
    stream_check s = {.c = c, .stream = &stream->pub};
    uint64_t next = stream->trimmed_to + 1, from;
    do {
        from = next;
        int rc = tr_engine_read_stream(c->engine, &stream->pub, from, check_change, &s, &next, err);
        if (rc == TR_ECORRUPT)
            problem(c, "stream %.*s: %s", TR_FMT(stream->pub.arn), err ? err->message : "damaged");
        if (rc)
            return rc == TR_ECORRUPT ? 0 : rc;
    } while (next > from && next <= c->engine->current->sequence);
    return 0;
}

int tr_engine_check(tr_engine *engine, tr_problem_fn *fn, void *ctx, uint64_t *ret_problems, tr_error *err)
{
    tr_error own;
    int rc = tr_engine_sync_wait(engine, err);
    if (rc)
        return rc;
    checker c = {.engine = engine, .fn = fn, .ctx = ctx};
    tr_buf_init(&c.key, TR__KEY_BUF_MAX);
    tr_buf_init(&c.entry, TR__VALUE_LIMIT);
    for (size_t i = 0; !rc && i < engine->table_count; i++)
        rc = check_table(&c, engine->tables[i], err);
    for (size_t i = 0; !rc && i < engine->stream_count; i++)
        rc = check_stream(&c, engine->streams[i], err ? err : &own);
    tr_buf_done(&c.key);
    tr_buf_done(&c.entry);
    if (!rc)
        *ret_problems = c.problems;
    return rc;
}
