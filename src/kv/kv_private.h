/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_KV_PRIVATE_H
#define TAILRACE_KV_PRIVATE_H

/* What the files of this room share. */

#include "kv/kv.h"

#include <pthread.h>
#include <stdatomic.h>

#include <rocksdb/c.h>

struct tr_kv {
    char *dir;   /* NULL in memory */
    char *path;  /* of the RocksDB directory */
    int lock_fd; /* -1 in memory */
    tr_logger logger;
    size_t memory_bytes;
    rocksdb_flushoptions_t *flush_options; /* in the background */
    rocksdb_env_t *env;
    rocksdb_cache_t *cache;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *families[TR_KV_FAMILIES];
    rocksdb_writeoptions_t *write_options;
    rocksdb_readoptions_t *read_options; /* for gets of the latest state */
    _Atomic uint64_t durable;            /* RocksDB's sequence number up to which all is synced */
    atomic_bool ground;                  /* lies below the changes */
    pthread_mutex_t ground_lock;         /* while it is laid */
};

struct tr_kv_snapshot {
    const rocksdb_snapshot_t *handle;
    rocksdb_readoptions_t *read_options; /* for gets in it */
};

/** Keys of items begin with a space (u32) and a hash (u64): RocksDB's prefix filters work on these bytes. */
#define TR__KV_ITEM_PREFIX 12

/** Below this RocksDB writes files all the time. */
#define TR__KV_MEMORY_MIN ((size_t)8 * 1024 * 1024)
#define TR__KV_PATH_MAX   4096

extern const char *const tr__kv_family_names[TR_KV_FAMILIES];

/** Turns RocksDB's error text into a code, and frees it. */
int tr__kv_fail(char *message, const char *doing, tr_error *err);

/* FORMAT and LOCK of a directory (kv_dir.c). */
int tr__kv_dir_lock(const char *dir, int *ret_fd, tr_error *err);
/** Reads the version, or writes the current one into a new directory. */
int tr__kv_dir_format(const char *dir, tr_error *err);
int tr__kv_dir_write_format(const char *dir, tr_error *err);
/** Makes the names in a directory durable: 0, or -1 and errno. */
int tr__kv_dir_sync(const char *path);
uint64_t tr__kv_dir_size(const char *path);

/* What a new store begins with (kv_new.c). */
/** Where there is no store yet, the families of one. */
int tr__kv_new(const char *dir, tr_error *err);
void tr__kv_look_for_ground(tr_kv *kv);
/** Before the first change is written. */
int tr__kv_lay_ground(tr_kv *kv, tr_error *err);

/** The mark with which each batch begins: all up to this sequence number is durable. */
#define TR__KV_MARK_MAX 32
size_t tr__kv_log_mark(uint64_t durable, char *out);
/** RocksDB's checksum of a record, as it stands in its head. */
uint32_t tr__kv_log_crc(const char *bytes, size_t len);
/** Whether a log's bytes have a flaw, and where the batch begins that has it. */
bool tr__kv_log_torn(tr_view file, bool check_crc, size_t *ret_at);
/** Before RocksDB opens the store: cuts off the torn end of the log. TR_ECORRUPT if it is damaged before
 * that.
 */
int tr__kv_log_mend(const tr_kv *kv, bool check_crc, bool *ret_cut, tr_error *err);

/* kv_options.c. All are freed by the caller. */
rocksdb_cache_t *tr__kv_cache(size_t bytes);
/** Options of the whole store and of each family. */
rocksdb_options_t *tr__kv_db_options(rocksdb_env_t *env, size_t memory_bytes, bool in_memory);
rocksdb_options_t *tr__kv_family_options(rocksdb_env_t *env, tr_kv_family family, rocksdb_cache_t *cache,
                                         size_t memory_bytes, bool in_memory);

#endif
