/* SPDX-License-Identifier: MIT */
/* Walking partitions and whole tables or indexes. */
#include "engine/engine_private.h"

#include <assert.h>

struct tr_cursor {
    tr_engine *engine;
    tr_engine_snapshot *snapshot;
    tr_kv_iter *iter;
    bool backward, started;
    bool has_after;
    tr_buf after; /* exclusive start, in key form */
};

uint64_t tr__hash_split(uint64_t i, uint64_t n)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)i << 64) / n);
}

static void scan_bounds(const tr_cursor_spec *spec, uint32_t space, tr_buf *lower, tr_buf *upper)
{
    uint32_t segments = spec->segments ? spec->segments : 1;
    char head[TR__ITEM_PREFIX];
    tr_put_be32(head, space);
    tr_put_be64(head + 4, tr__hash_split(spec->segment, segments));
    tr_buf_reset(lower);
    tr_buf_put(lower, head, sizeof head);
    bool last = spec->segment + 1 >= segments;
    tr_put_be32(head, last ? space + 1 : space);
    tr_put_be64(head + 4, last ? 0 : tr__hash_split(spec->segment + 1, segments));
    tr_buf_reset(upper);
    tr_buf_put(upper, head, last ? 4 : sizeof head);
}

/* The bounds of `prefix op low [high]`; lower holds the prefix, upper is a copy of it. */
static void apply_range(const tr_cursor_spec *spec, tr_buf *lower, tr_buf *upper)
{
    switch (spec->op) {
    case TR_RANGE_ALL:
        tr__key_successor(upper);
        return;
    case TR_RANGE_EQ:
        tr_key_put(lower, spec->low);
        tr_key_put(upper, spec->low);
        tr__key_successor(upper);
        return;
    case TR_RANGE_LT:
        tr_key_put(upper, spec->low);
        return;
    case TR_RANGE_LE:
        tr_key_put(upper, spec->low);
        tr__key_successor(upper);
        return;
    case TR_RANGE_GT:
        tr_key_put(lower, spec->low);
        tr__key_successor(lower);
        tr__key_successor(upper);
        return;
    case TR_RANGE_GE:
        tr_key_put(lower, spec->low);
        tr__key_successor(upper);
        return;
    case TR_RANGE_BETWEEN:
        tr_key_put(lower, spec->low);
        tr_key_put(upper, spec->high);
        tr__key_successor(upper);
        return;
    case TR_RANGE_BEGINS:
        tr_key_put_prefix(lower, spec->low);
        tr_key_put_prefix(upper, spec->low);
        tr__key_successor(upper);
        return;
    }
}

static void query_bounds(const tr_cursor_spec *spec, uint32_t space, tr_buf *lower, tr_buf *upper)
{
    uint64_t hash;
    tr__key_begin(lower, space, spec->hash, spec->hash_count, &hash);
    for (unsigned i = 0; i < spec->range_count; i++)
        tr_key_put(lower, spec->range[i]);
    tr_buf_reset(upper);
    tr_buf_put_view(upper, tr_buf_view(lower));
    apply_range(spec, lower, upper);
}

static int start_after(tr_cursor *cursor, const tr_cursor_spec *spec, tr_view lower, tr_view upper)
{
    uint64_t hash;
    int rc = spec->index ? tr__key_of_entry(spec->table, spec->index, spec->after, &cursor->after)
                         : tr__key_of_item(spec->table, spec->after, &cursor->after, &hash);
    if (rc)
        return rc == TR_ENOTFOUND ? TR_EINVAL : rc;
    tr_view after = tr_buf_view(&cursor->after);
    if (tr_view_cmp(after, lower) < 0 || (upper.len && tr_view_cmp(after, upper) >= 0))
        return TR_EINVAL;
    cursor->has_after = true;
    return 0;
}

static int cursor_open(tr_cursor *cursor, const tr_cursor_spec *spec, tr_error *err)
{
    tr_engine *engine = cursor->engine;
    uint32_t space = spec->index ? spec->index->space : spec->table->space;
    tr_buf *lower = &engine->key, *upper = &engine->key2;
    if (spec->hash_count)
        query_bounds(spec, space, lower, upper);
    else
        scan_bounds(spec, space, lower, upper);
    int rc = tr_buf_status(lower) ? tr_buf_status(lower) : tr_buf_status(upper);
    if (rc)
        return tr_fail(err, rc, "a key is too long");
    tr_view low = tr_buf_view(lower), high = tr_buf_view(upper);
    if (spec->after.len) {
        rc = start_after(cursor, spec, low, high);
        if (rc)
            return tr_fail(err, rc, "the start key does not lie in the range that is read");
    }
    if (tr_view_cmp(low, high) > 0)
        high = low; /* BETWEEN with its ends exchanged: nothing */
    rc = tr_kv_iter_new(engine->kv, TR_KV_ITEMS, cursor->snapshot->kv, low, high, &cursor->iter);
    return rc ? tr_fail(err, rc, "out of memory") : 0;
}

int tr_cursor_new(tr_engine *engine, const tr_cursor_spec *spec, tr_cursor **ret_cursor, tr_error *err)
{
    assert(spec->segment < (spec->segments ? spec->segments : 1));
    tr_cursor *cursor = tr_calloc(1, sizeof *cursor);
    if (!cursor)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    cursor->engine = engine;
    cursor->backward = spec->backward;
    tr_buf_init(&cursor->after, TR__KEY_BUF_MAX);
    cursor->snapshot = tr__snapshot_ref(engine, spec->snapshot);
    int rc = cursor_open(cursor, spec, err);
    if (rc) {
        tr_cursor_free(cursor);
        return rc;
    }
    *ret_cursor = cursor;
    return 0;
}

void tr_cursor_free(tr_cursor *cursor)
{
    if (!cursor)
        return;
    tr_kv_iter_free(cursor->iter);
    tr__snapshot_unref(cursor->engine, cursor->snapshot);
    tr_buf_done(&cursor->after);
    tr_free(cursor);
}

static void step(tr_cursor *cursor)
{
    if (cursor->backward)
        tr_kv_iter_prev(cursor->iter);
    else
        tr_kv_iter_next(cursor->iter);
}

static void start(tr_cursor *cursor)
{
    tr_kv_iter *iter = cursor->iter;
    if (!cursor->has_after) {
        if (cursor->backward)
            tr_kv_iter_last(iter);
        else
            tr_kv_iter_first(iter);
        return;
    }
    tr_view after = tr_buf_view(&cursor->after), key, value;
    if (cursor->backward)
        tr_kv_iter_seek_back(iter, after);
    else
        tr_kv_iter_seek(iter, after);
    if (tr_kv_iter_get(iter, &key, &value) && tr_view_eq(key, after))
        step(cursor);
}

int tr_cursor_next(tr_cursor *cursor, tr_item *ret_item, tr_error *err)
{
    if (cursor->started)
        step(cursor);
    else
        start(cursor);
    cursor->started = true;
    tr_view key, value;
    if (!tr_kv_iter_get(cursor->iter, &key, &value)) {
        int rc = tr_kv_iter_status(cursor->iter, err);
        return rc ? rc : TR_ENOTFOUND;
    }
    if (value.len < 1 || value.ptr[0] != TR__VALUE_VERSION)
        return tr_fail(err, TR_ECORRUPT, "a stored item is damaged");
    *ret_item = tr_view_of(value.ptr + 1, value.len - 1);
    return 0;
}
