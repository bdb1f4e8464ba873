/* SPDX-License-Identifier: MIT */
#include "kv/kv_private.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_MEMORY_BYTES ((size_t)128 * 1024 * 1024)
#define LOG_KEPT_BYTES       ((size_t)4 * 1024 * 1024) /* read back in some 20 ms */

const char *const tr__kv_family_names[TR_KV_FAMILIES] = {
    [TR_KV_META] = "default", [TR_KV_ITEMS] = "items", [TR_KV_CHANGES] = "changes", [TR_KV_BUS] = "bus"};

int tr__kv_fail(char *message, const char *doing, tr_error *err)
{
    int code = TR_EIO;
    if (strncmp(message, "Corruption", 10) == 0)
        code = TR_ECORRUPT;
    else if (strncmp(message, "Invalid argument", 16) == 0)
        code = TR_EINVAL;
    else if (strncmp(message, "Busy", 4) == 0)
        code = TR_EBUSY;
    int rc = tr_fail(err, code, "%s: %s", doing, message);
    rocksdb_free(message);
    return rc;
}

static int open_db(tr_kv *kv, size_t memory_bytes, tr_error *err)
{
    bool in_memory = !kv->dir;
    rocksdb_options_t *db_options = tr__kv_db_options(kv->env, memory_bytes, in_memory);
    rocksdb_options_t *options[TR_KV_FAMILIES];
    for (int f = 0; f < TR_KV_FAMILIES; f++)
        options[f] = tr__kv_family_options(kv->env, (tr_kv_family)f, kv->cache, memory_bytes, in_memory);
    char *error = NULL;
    kv->db = rocksdb_open_column_families(db_options, kv->path, TR_KV_FAMILIES, tr__kv_family_names,
                                          (const rocksdb_options_t *const *)options, kv->families, &error);
    for (int f = 0; f < TR_KV_FAMILIES; f++)
        rocksdb_options_destroy(options[f]);
    rocksdb_options_destroy(db_options);
    return error ? tr__kv_fail(error, "cannot open the store", err) : 0;
}

/* The quick look at the log does not check its checksums; RocksDB does. If it finds fault, so does the second
 * look. */
static int mend_and_open(tr_kv *kv, size_t memory_bytes, tr_error *err)
{
    bool torn = false;
    int rc = kv->dir ? tr__kv_log_mend(kv, false, &torn, err) : 0;
    if (!rc)
        rc = open_db(kv, memory_bytes, err);
    if (rc != TR_ECORRUPT || !kv->dir)
        return rc;
    torn = false;
    tr_error why = {0};
    int mended = tr__kv_log_mend(kv, true, &torn, &why);
    if (mended && err)
        *err = why;
    return !mended && torn ? open_db(kv, memory_bytes, err) : rc;
}

static int open_dir(tr_kv *kv, const char *dir, tr_error *err)
{
    kv->dir = tr_strdup(dir);
    kv->path = tr_malloc(strlen(dir) + sizeof "/store");
    if (!kv->dir || !kv->path)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    memcpy(kv->path, dir, strlen(dir));
    memcpy(kv->path + strlen(dir), "/store", sizeof "/store");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return tr_fail(err, TR_EIO, "cannot create %s: %s", dir, strerror(errno));
    int rc = tr__kv_dir_lock(dir, &kv->lock_fd, err);
    if (!rc && mkdir(kv->path, 0755) != 0 && errno != EEXIST)
        rc = tr_fail(err, TR_EIO, "cannot create %s: %s", kv->path, strerror(errno));
    if (!rc)
        rc = tr__kv_dir_format(dir, err);
    return rc ? rc : tr__kv_new(kv->path, err);
}

int tr_kv_open(const tr_kv_options *options, tr_kv **ret_kv, tr_error *err)
{
    size_t memory_bytes = options->memory_bytes ? options->memory_bytes : DEFAULT_MEMORY_BYTES;
    if (memory_bytes < TR__KV_MEMORY_MIN)
        memory_bytes = TR__KV_MEMORY_MIN;
    tr_kv *kv = tr_calloc(1, sizeof *kv);
    if (!kv)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    kv->logger = options->logger;
    kv->lock_fd = -1;
    pthread_mutex_init(&kv->ground_lock, NULL);
    kv->memory_bytes = memory_bytes;
    int rc = 0;
    if (options->dir) {
        kv->env = rocksdb_create_default_env();
        rc = open_dir(kv, options->dir, err);
    } else {
        kv->env = rocksdb_create_mem_env();
        kv->path = tr_strdup("/store");
        if (!kv->path)
            rc = tr_fail(err, TR_ENOMEM, "out of memory");
    }
    if (!rc) {
        kv->cache = tr__kv_cache(memory_bytes - memory_bytes / 4);
        kv->read_options = rocksdb_readoptions_create();
        kv->write_options = rocksdb_writeoptions_create();
        kv->flush_options = rocksdb_flushoptions_create();
        rocksdb_flushoptions_set_wait(kv->flush_options, 0);
        rocksdb_writeoptions_disable_WAL(kv->write_options, !options->dir);
        rc = mend_and_open(kv, memory_bytes, err);
    }
    if (rc) {
        tr_kv_close(kv);
        return rc;
    }
    tr__kv_look_for_ground(kv);
    atomic_store(&kv->durable, rocksdb_get_latest_sequence_number(kv->db));
    *ret_kv = kv;
    return 0;
}

/* A long log takes longer to read back than its contents take to be written to files now. */
static void shorten_log(tr_kv *kv)
{
    uint64_t bytes = 0;
    for (int f = 0; f < TR_KV_FAMILIES; f++) {
        uint64_t n = 0;
        if (rocksdb_property_int_cf(kv->db, kv->families[f], "rocksdb.cur-size-all-mem-tables", &n) == 0)
            bytes += n;
    }
    if (bytes < LOG_KEPT_BYTES)
        return;
    rocksdb_flushoptions_set_wait(kv->flush_options, 1);
    for (int f = 0; f < TR_KV_FAMILIES; f++) {
        char *error = NULL;
        rocksdb_flush_cf(kv->db, kv->flush_options, kv->families[f], &error);
        rocksdb_free(error); /* the log has it all */
    }
}

void tr_kv_close(tr_kv *kv)
{
    if (!kv)
        return;
    if (kv->db && kv->dir)
        shorten_log(kv);
    for (int f = 0; kv->db && f < TR_KV_FAMILIES; f++)
        rocksdb_column_family_handle_destroy(kv->families[f]);
    if (kv->db)
        rocksdb_close(kv->db);
    if (kv->write_options)
        rocksdb_writeoptions_destroy(kv->write_options);
    if (kv->read_options)
        rocksdb_readoptions_destroy(kv->read_options);
    if (kv->flush_options)
        rocksdb_flushoptions_destroy(kv->flush_options);
    if (kv->cache)
        rocksdb_cache_destroy(kv->cache);
    if (kv->env)
        rocksdb_env_destroy(kv->env);
    if (kv->lock_fd >= 0)
        close(kv->lock_fd);
    pthread_mutex_destroy(&kv->ground_lock);
    tr_free(kv->path);
    tr_free(kv->dir);
    tr_free(kv);
}

bool tr_kv_in_memory(const tr_kv *kv)
{
    return !kv->dir;
}

int tr_kv_sync(tr_kv *kv, tr_error *err)
{
    if (!kv->dir)
        return 0;
    uint64_t covered = rocksdb_get_latest_sequence_number(kv->db);
    char *error = NULL;
    rocksdb_flush_wal(kv->db, 1, &error);
    if (error)
        return tr__kv_fail(error, "cannot sync the log", err);
    atomic_store_explicit(&kv->durable, covered, memory_order_relaxed);
    return 0;
}

int tr_kv_cut(tr_kv *kv, tr_kv_family family, tr_error *err)
{
    char *error = NULL;
    rocksdb_flush_cf(kv->db, kv->flush_options, kv->families[family], &error);
    return error ? tr__kv_fail(error, "cannot cut a file", err) : 0;
}

size_t tr_kv_memory_limit(const tr_kv *kv)
{
    return kv->memory_bytes;
}

int tr_kv_drop_files(tr_kv *kv, tr_kv_family family, tr_view from, tr_view to, tr_error *err)
{
    char *error = NULL;
    rocksdb_delete_file_in_range_cf(kv->db, kv->families[family], from.ptr, from.len, to.ptr, to.len, &error);
    return error ? tr__kv_fail(error, "cannot drop files", err) : 0;
}

/* ------------------------------------------------------------------------------------------ snapshots */

tr_kv_snapshot *tr_kv_snapshot_new(tr_kv *kv)
{
    tr_kv_snapshot *snapshot = tr_malloc(sizeof *snapshot);
    if (!snapshot)
        return NULL;
    snapshot->handle = rocksdb_create_snapshot(kv->db);
    snapshot->read_options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(snapshot->read_options, snapshot->handle);
    return snapshot;
}

void tr_kv_snapshot_free(tr_kv *kv, tr_kv_snapshot *snapshot)
{
    if (!snapshot)
        return;
    rocksdb_readoptions_destroy(snapshot->read_options);
    rocksdb_release_snapshot(kv->db, snapshot->handle);
    tr_free(snapshot);
}

/* ----------------------------------------------------------------------------------------- whole store */

int tr_kv_checkpoint(tr_kv *kv, const char *dir, tr_error *err)
{
    if (!kv->dir)
        return tr_fail(err, TR_EUNSUPPORTED, "a store in memory has no files to copy");
    if (mkdir(dir, 0700) != 0)
        return tr_fail(err, errno == EEXIST ? TR_EEXIST : TR_EIO, "cannot create %s: %s", dir,
                       strerror(errno));
    size_t size = strlen(dir) + sizeof "/store";
    char *path = tr_malloc(size);
    if (!path)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    snprintf(path, size, "%s/store", dir);
    char *error = NULL;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(kv->db, &error);
    if (!error) {
        /* The log is copied as it is rather than flushed to a table file first: no pause for writers. */
        rocksdb_checkpoint_create(checkpoint, path, UINT64_MAX, &error);
        rocksdb_checkpoint_object_destroy(checkpoint);
    }
    tr_free(path);
    return error ? tr__kv_fail(error, "cannot copy the store", err) : tr__kv_dir_write_format(dir, err);
}

void tr_kv_usage(tr_kv *kv, uint64_t *ret_memory_bytes, uint64_t *ret_disk_bytes)
{
    static const char *const properties[] = {"rocksdb.cur-size-all-mem-tables",
                                             "rocksdb.estimate-table-readers-mem"};
    uint64_t memory = rocksdb_cache_get_usage(kv->cache), tables = 0;
    for (int f = 0; f < TR_KV_FAMILIES; f++) {
        uint64_t n = 0;
        for (size_t i = 0; i < TR_COUNT(properties); i++)
            if (rocksdb_property_int_cf(kv->db, kv->families[f], properties[i], &n) == 0)
                memory += n;
        if (!kv->dir &&
            rocksdb_property_int_cf(kv->db, kv->families[f], "rocksdb.total-sst-files-size", &n) == 0)
            tables += n;
    }
    *ret_memory_bytes = memory + tables; /* the files of a store in memory are memory too */
    *ret_disk_bytes = kv->dir ? tr__kv_dir_size(kv->path) : 0;
}
