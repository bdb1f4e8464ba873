/* SPDX-License-Identifier: MIT */
/* Reading and writing: gets, batches, iterators. */
#include "kv/kv_private.h"

#include <assert.h>

#define PARTS_MAX 16

/* RocksDB counts for each thread what it does, at each comparison of keys; nobody reads it, and it costs a
 * tenth of a write. */
static inline void count_nothing(void)
{
    static _Thread_local bool done;
    if (TR_LIKELY(done))
        return;
    rocksdb_set_perf_level(rocksdb_disable);
    done = true;
}

int tr_kv_get(tr_kv *kv, tr_kv_family family, const tr_kv_snapshot *snapshot, tr_view key, tr_kv_pin *ret_pin,
              tr_error *err)
{
    count_nothing();
    char *error = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned_cf(kv->db, snapshot ? snapshot->read_options : kv->read_options,
                              kv->families[family], key.ptr, key.len, &error);
    if (error)
        return tr__kv_fail(error, "cannot read", err);
    if (!slice)
        return TR_ENOTFOUND;
    size_t len;
    const char *value = rocksdb_pinnableslice_value(slice, &len);
    *ret_pin = (tr_kv_pin){tr_view_of(value, len), slice};
    return 0;
}

void tr_kv_unpin(tr_kv_pin *pin)
{
    if (pin->handle)
        rocksdb_pinnableslice_destroy(pin->handle);
    *pin = (tr_kv_pin){0};
}

/* --------------------------------------------------------------------------------------------- batches */

struct tr_kv_batch {
    tr_kv *kv;
    rocksdb_writebatch_t *batch;
    size_t count, bytes;
    bool changes; /* has some */
};

/* A store without a log needs no marks. */
static void begin(tr_kv_batch *batch)
{
    char mark[TR__KV_MARK_MAX];
    batch->count = batch->bytes = 0;
    batch->changes = false;
    if (!batch->kv->dir)
        return;
    size_t len = tr__kv_log_mark(atomic_load_explicit(&batch->kv->durable, memory_order_relaxed), mark);
    rocksdb_writebatch_put_log_data(batch->batch, mark, len);
}

int tr_kv_batch_new(tr_kv *kv, tr_kv_batch **ret_batch)
{
    tr_kv_batch *batch = tr_calloc(1, sizeof *batch);
    if (!batch)
        return TR_ENOMEM;
    batch->kv = kv;
    batch->batch = rocksdb_writebatch_create();
    begin(batch);
    *ret_batch = batch;
    return 0;
}

void tr_kv_batch_free(tr_kv_batch *batch)
{
    if (!batch)
        return;
    rocksdb_writebatch_destroy(batch->batch);
    tr_free(batch);
}

void tr_kv_batch_clear(tr_kv_batch *batch)
{
    rocksdb_writebatch_clear(batch->batch);
    begin(batch);
}

size_t tr_kv_batch_count(const tr_kv_batch *batch)
{
    return batch->count;
}

size_t tr_kv_batch_size(const tr_kv_batch *batch)
{
    return batch->bytes;
}

void tr_kv_batch_put(tr_kv_batch *batch, tr_kv_family family, tr_view key, tr_view value)
{
    rocksdb_writebatch_put_cf(batch->batch, batch->kv->families[family], key.ptr, key.len, value.ptr,
                              value.len);
    batch->count++;
    batch->bytes += key.len + value.len;
    batch->changes |= family == TR_KV_CHANGES;
}

static size_t split(const tr_view *parts, size_t count, const char **ptrs, size_t *sizes)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        ptrs[i] = parts[i].ptr ? parts[i].ptr : "";
        sizes[i] = parts[i].len;
        sum += parts[i].len;
    }
    return sum;
}

void tr_kv_batch_putv(tr_kv_batch *batch, tr_kv_family family, const tr_view *key_parts, size_t key_count,
                      const tr_view *value_parts, size_t value_count)
{
    assert(key_count <= PARTS_MAX && value_count <= PARTS_MAX);
    const char *keys[PARTS_MAX], *values[PARTS_MAX];
    size_t key_sizes[PARTS_MAX], value_sizes[PARTS_MAX];
    batch->bytes += split(key_parts, key_count, keys, key_sizes);
    batch->bytes += split(value_parts, value_count, values, value_sizes);
    rocksdb_writebatch_putv_cf(batch->batch, batch->kv->families[family], (int)key_count, keys, key_sizes,
                               (int)value_count, values, value_sizes);
    batch->count++;
    batch->changes |= family == TR_KV_CHANGES;
}

void tr_kv_batch_delete(tr_kv_batch *batch, tr_kv_family family, tr_view key)
{
    rocksdb_writebatch_delete_cf(batch->batch, batch->kv->families[family], key.ptr, key.len);
    batch->count++;
    batch->bytes += key.len;
}

void tr_kv_batch_delete_range(tr_kv_batch *batch, tr_kv_family family, tr_view from, tr_view to)
{
    rocksdb_writebatch_delete_range_cf(batch->batch, batch->kv->families[family], from.ptr, from.len, to.ptr,
                                       to.len);
    batch->count++;
    batch->bytes += from.len + to.len;
}

int tr_kv_write(tr_kv *kv, tr_kv_batch *batch, tr_error *err)
{
    count_nothing();
    int rc = batch->changes && !atomic_load(&kv->ground) ? tr__kv_lay_ground(kv, err) : 0;
    if (rc)
        return rc;
    char *error = NULL;
    rocksdb_write(kv->db, kv->write_options, batch->batch, &error);
    return error ? tr__kv_fail(error, "cannot write", err) : 0;
}

/* ------------------------------------------------------------------------------------------- iterators */

struct tr_kv_iter {
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *options;
    char bounds[]; /* which RocksDB points to */
};

#define READ_AHEAD ((size_t)1024 * 1024)

static int iter_new(tr_kv *kv, tr_kv_family family, const tr_kv_snapshot *snapshot, tr_view lower,
                    tr_view upper, bool all_of_it, tr_kv_iter **ret_iter)
{
    count_nothing();
    tr_kv_iter *iter = tr_malloc(sizeof *iter + lower.len + upper.len);
    if (!iter)
        return TR_ENOMEM;
    rocksdb_readoptions_t *o = iter->options = rocksdb_readoptions_create();
    char *low = iter->bounds, *high = iter->bounds + lower.len;
    if (lower.len) {
        memcpy(low, lower.ptr, lower.len);
        rocksdb_readoptions_set_iterate_lower_bound(o, low, lower.len);
    }
    if (upper.len) {
        memcpy(high, upper.ptr, upper.len);
        rocksdb_readoptions_set_iterate_upper_bound(o, high, upper.len);
    }
    if (snapshot)
        rocksdb_readoptions_set_snapshot(o, snapshot->handle);
    if (all_of_it) {
        rocksdb_readoptions_set_readahead_size(o, READ_AHEAD);
        rocksdb_readoptions_set_fill_cache(o, 0);
    }
    if (family == TR_KV_ITEMS) {
        /* Within one prefix the filters tell which files hold nothing of it; across prefixes they must not be
         * asked. */
        if (lower.len >= TR__KV_ITEM_PREFIX && upper.len >= TR__KV_ITEM_PREFIX &&
            memcmp(low, high, TR__KV_ITEM_PREFIX) == 0)
            rocksdb_readoptions_set_prefix_same_as_start(o, 1);
        else
            rocksdb_readoptions_set_total_order_seek(o, 1);
    }
    iter->it = rocksdb_create_iterator_cf(kv->db, o, kv->families[family]);
    *ret_iter = iter;
    return 0;
}

int tr_kv_iter_new(tr_kv *kv, tr_kv_family family, const tr_kv_snapshot *snapshot, tr_view lower,
                   tr_view upper, tr_kv_iter **ret_iter)
{
    return iter_new(kv, family, snapshot, lower, upper, false, ret_iter);
}

int tr_kv_iter_new_whole(tr_kv *kv, tr_kv_family family, const tr_kv_snapshot *snapshot, tr_view lower,
                         tr_view upper, tr_kv_iter **ret_iter)
{
    return iter_new(kv, family, snapshot, lower, upper, true, ret_iter);
}

void tr_kv_iter_free(tr_kv_iter *iter)
{
    if (!iter)
        return;
    rocksdb_iter_destroy(iter->it);
    rocksdb_readoptions_destroy(iter->options);
    tr_free(iter);
}

void tr_kv_iter_seek(tr_kv_iter *iter, tr_view key)
{
    rocksdb_iter_seek(iter->it, key.ptr, key.len);
}

void tr_kv_iter_seek_back(tr_kv_iter *iter, tr_view key)
{
    rocksdb_iter_seek_for_prev(iter->it, key.ptr, key.len);
}

void tr_kv_iter_first(tr_kv_iter *iter)
{
    rocksdb_iter_seek_to_first(iter->it);
}

void tr_kv_iter_last(tr_kv_iter *iter)
{
    rocksdb_iter_seek_to_last(iter->it);
}

void tr_kv_iter_next(tr_kv_iter *iter)
{
    rocksdb_iter_next(iter->it);
}

void tr_kv_iter_prev(tr_kv_iter *iter)
{
    rocksdb_iter_prev(iter->it);
}

bool tr_kv_iter_get(const tr_kv_iter *iter, tr_view *ret_key, tr_view *ret_value)
{
    if (!rocksdb_iter_valid(iter->it))
        return false;
    ret_key->ptr = rocksdb_iter_key(iter->it, &ret_key->len);
    ret_value->ptr = rocksdb_iter_value(iter->it, &ret_value->len);
    return true;
}

int tr_kv_iter_status(const tr_kv_iter *iter, tr_error *err)
{
    char *error = NULL;
    rocksdb_iter_get_error(iter->it, &error);
    return error ? tr__kv_fail(error, "cannot read", err) : 0;
}
