/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_KV_H
#define TAILRACE_KV_H

/**
 * kv.h: an ordered store of byte keys and values over RocksDB, on disk or in memory.
 *
 * One store has four families of keys that share one log, so that a batch over several is atomic. Writing is
 * two steps: tr_kv_write makes a batch visible to later reads, tr_kv_sync makes all that was written before
 * it durable. Batches, iterators and pins belong to one thread at a time; everything else may be called from
 * any thread.
 */

#include <tailrace/base.h>

typedef enum tr_kv_family {
    TR_KV_META,    /* catalogue, counters: few and small */
    TR_KV_ITEMS,   /* items and index entries */
    TR_KV_CHANGES, /* change records: written in order, read once or twice, dropped by range */
    TR_KV_BUS,     /* the embedded bus */
    TR_KV_FAMILIES
} tr_kv_family;

typedef struct tr_kv tr_kv;
typedef struct tr_kv_batch tr_kv_batch;
typedef struct tr_kv_snapshot tr_kv_snapshot;
typedef struct tr_kv_iter tr_kv_iter;

typedef struct tr_kv_options {
    const char *dir;     /**< Optional: NULL keeps everything in memory. Created if it is not there. */
    size_t memory_bytes; /**< ceiling for block cache and write buffers together; 0: 128 MiB */
    tr_logger logger;
} tr_kv_options;

/** Opens or creates. TR_EBUSY if another process has it, TR_EVERSION, TR_ECORRUPT, TR_EIO. A torn tail of the
 * log is tolerated, damage before it is not. */
int tr_kv_open(const tr_kv_options *options, tr_kv **ret_kv, tr_error *err);
/** All iterators, pins and snapshots must be gone. */
void tr_kv_close(tr_kv *kv);

/** A value that stays valid until released. */
typedef struct tr_kv_pin {
    tr_view value;
    void *handle;
} tr_kv_pin;
/** Looks a key up, in the snapshot or (NULL) the latest state. TR_ENOTFOUND. */
int tr_kv_get(tr_kv *kv, tr_kv_family family, const tr_kv_snapshot *snapshot, tr_view key, tr_kv_pin *ret_pin,
              tr_error *err);
void tr_kv_unpin(tr_kv_pin *pin);

int tr_kv_batch_new(tr_kv *kv, tr_kv_batch **ret_batch);
void tr_kv_batch_free(tr_kv_batch *batch);
void tr_kv_batch_clear(tr_kv_batch *batch);
/** Operations in the batch. */
size_t tr_kv_batch_count(const tr_kv_batch *batch);
/** Bytes of the batch. */
size_t tr_kv_batch_size(const tr_kv_batch *batch);
void tr_kv_batch_put(tr_kv_batch *batch, tr_kv_family family, tr_view key, tr_view value);
/** Key and value from parts, joined without a copy of ours. */
void tr_kv_batch_putv(tr_kv_batch *batch, tr_kv_family family, const tr_view *key_parts, size_t key_count,
                      const tr_view *value_parts, size_t value_count);
void tr_kv_batch_delete(tr_kv_batch *batch, tr_kv_family family, tr_view key);
/** Deletes from <= key < to. */
void tr_kv_batch_delete_range(tr_kv_batch *batch, tr_kv_family family, tr_view from, tr_view to);
/** Applies the batch atomically; visible on return, durable after the next tr_kv_sync. The batch stays as it
 * is. */
int tr_kv_write(tr_kv *kv, tr_kv_batch *batch, tr_error *err);
/** Makes all earlier writes durable. In memory: does nothing. */
int tr_kv_sync(tr_kv *kv, tr_error *err);
bool tr_kv_in_memory(const tr_kv *kv);
/**
 * Has the family's write buffer written to a file of its own, in the background. What comes later goes to
 * another file, so a caller whose keys ascend keeps files apart, which then never have to be merged.
 */
int tr_kv_cut(tr_kv *kv, tr_kv_family family, tr_error *err);
/** The ceiling that was asked for, or its default. */
size_t tr_kv_memory_limit(const tr_kv *kv);
/**
 * Drops the files that hold nothing but keys from <= key < to, at once and for all snapshots. Keys of the
 * range in other files stay: a batch with tr_kv_batch_delete_range takes them. For what nobody reads any
 * more.
 */
int tr_kv_drop_files(tr_kv *kv, tr_kv_family family, tr_view from, tr_view to, tr_error *err);

tr_kv_snapshot *tr_kv_snapshot_new(tr_kv *kv);
void tr_kv_snapshot_free(tr_kv *kv, tr_kv_snapshot *snapshot);

/** Walks lower <= key < upper (empty upper: no bound); both are copied. Starts before the first: call seek.
 */
int tr_kv_iter_new(tr_kv *kv, tr_kv_family family, const tr_kv_snapshot *snapshot, tr_view lower,
                   tr_view upper, tr_kv_iter **ret_iter);
/** The same for a range of many megabytes that will be walked whole: reads ahead, and leaves the cache to
 * what others read. */
int tr_kv_iter_new_whole(tr_kv *kv, tr_kv_family family, const tr_kv_snapshot *snapshot, tr_view lower,
                         tr_view upper, tr_kv_iter **ret_iter);
void tr_kv_iter_free(tr_kv_iter *iter);
/** To the first key >= key. */
void tr_kv_iter_seek(tr_kv_iter *iter, tr_view key);
/** To the last key <= key. */
void tr_kv_iter_seek_back(tr_kv_iter *iter, tr_view key);
void tr_kv_iter_first(tr_kv_iter *iter);
void tr_kv_iter_last(tr_kv_iter *iter);
void tr_kv_iter_next(tr_kv_iter *iter);
void tr_kv_iter_prev(tr_kv_iter *iter);
/** Key and value at the iterator, valid until it moves; false at the end or on an error (ret of
 * tr_kv_iter_status). */
bool tr_kv_iter_get(const tr_kv_iter *iter, tr_view *ret_key, tr_view *ret_value);
int tr_kv_iter_status(const tr_kv_iter *iter, tr_error *err);

/** A copy of the store in a directory that does not exist yet, cheap (hard links). */
int tr_kv_checkpoint(tr_kv *kv, const char *dir, tr_error *err);
/** Bytes of memory held, estimated, and bytes on disk. */
void tr_kv_usage(tr_kv *kv, uint64_t *ret_memory_bytes, uint64_t *ret_disk_bytes);

#endif
