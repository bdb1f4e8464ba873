/* SPDX-License-Identifier: MIT */
/* What a new store begins with: its families, and the ground below its change records. */
#include "kv/kv_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * RocksDB makes a new store's families one after the other, and after each one writes all options to a file,
 * reads them back and compares them: more than half of the processor time of a start, and a dozen syncs. So a
 * new store gets the file that lists its families (the manifest) from us, and RocksDB opens it as it opens
 * any other. It writes a manifest of its own then, so this one is read once.
 *
 * Format (RocksDB wiki, "MANIFEST"): records as in the log, each an edit: tags and values, as varints and
 * strings with their lengths.
 */
#define HEAD               7
#define FULL               1
#define MANIFEST           "MANIFEST-000001"
#define ORDER              "leveldb.BytewiseComparator"
#define MANIFEST_BYTES_MAX 4096

enum tag { COMPARATOR = 1, LOG_NUMBER, NEXT_FILE, LAST_SEQUENCE, FAMILY = 200, FAMILY_ADD };

/* Numbers are below 128 but for the two tags above it. */
static void put_varint(tr_buf *out, unsigned n)
{
    if (n >= 128)
        tr_buf_putc(out, (char)(n | 128));
    tr_buf_putc(out, (char)(n < 128 ? n : n >> 7));
}

static void put_number(tr_buf *out, enum tag tag, unsigned n)
{
    put_varint(out, tag);
    put_varint(out, n);
}

static void put_text(tr_buf *out, enum tag tag, const char *text)
{
    put_number(out, tag, (unsigned)strlen(text));
    tr_buf_put_str(out, text);
}

static void put_edit(tr_buf *out, unsigned family)
{
    size_t at = out->len;
    tr_buf_put(out, (char[HEAD]){[6] = FULL}, HEAD);
    put_text(out, COMPARATOR, ORDER);
    put_number(out, LOG_NUMBER, 0);
    if (family == TR_KV_META) { /* the first is always there */
        put_number(out, NEXT_FILE, 2);
        put_number(out, LAST_SEQUENCE, 0);
    } else {
        put_number(out, FAMILY, family);
        put_text(out, FAMILY_ADD, tr__kv_family_names[family]);
    }
    if (tr_buf_status(out))
        return;
    uint8_t *head = (uint8_t *)out->ptr + at;
    head[4] = (uint8_t)(out->len - at - HEAD); /* a length in two bytes, of which the other stays 0 */
    uint32_t crc = tr__kv_log_crc(out->ptr + at + 6, out->len - at - 6);
    for (int i = 0; i < 4; i++)
        head[i] = (uint8_t)(crc >> 8 * i);
}

static int write_synced(const char *path, tr_view bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    bool ok = write(fd, bytes.ptr, bytes.len) == (ssize_t)bytes.len && fsync(fd) == 0;
    return close(fd) == 0 && ok ? 0 : -1;
}

static int write_files(const char *dir, tr_view manifest)
{
    char path[TR__KV_PATH_MAX], part[TR__KV_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/" MANIFEST, dir);
    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (write_synced(path, manifest))
        return -1;
    (void)snprintf(part, sizeof part, "%s/CURRENT.new", dir);
    (void)snprintf(path, sizeof path, "%s/CURRENT", dir);
    /* The name comes last: without it nothing of this is looked at. */
    if (write_synced(part, TR_VIEW(MANIFEST "\n")) || rename(part, path) != 0)
        return -1;
    return tr__kv_dir_sync(dir);
}

/* Files that RocksDB, finding no CURRENT, would take for left over and remove. */
static bool holds_data(const char *dir)
{
    bool found = false;
    DIR *d = opendir(dir);
    for (const struct dirent *entry; d && !found && (entry = readdir(d));) {
        const char *dot = strrchr(entry->d_name, '.');
        found = dot && (!strcmp(dot, ".sst") || !strcmp(dot, ".log"));
    }
    if (d)
        closedir(d);
    return found;
}

int tr__kv_new(const char *dir, tr_error *err)
{
    char path[TR__KV_PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/CURRENT", dir);
    if (n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0)
        return 0;
    if (holds_data(dir))
        return tr_fail(err, TR_ECORRUPT, "%s holds a store, but %s is missing", dir, path);
    tr_buf manifest;
    tr_buf_init(&manifest, MANIFEST_BYTES_MAX);
    for (unsigned f = 0; f < TR_KV_FAMILIES; f++)
        put_edit(&manifest, f);
    int rc = tr_buf_status(&manifest);
    if (rc)
        rc = tr_fail(err, rc, "out of memory");
    else if (write_files(dir, tr_buf_view(&manifest)))
        rc = tr_fail(err, TR_EIO, "cannot begin a store in %s: %s", dir, strerror(errno));
    tr_buf_done(&manifest);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- ground */

/*
 * Files that lie side by side are moved down from level to level without being read. But RocksDB rewrites a
 * file once it is the lowest of its range, when the snapshots older than it are gone, only to set its
 * sequence numbers to zero; with a snapshot per flush that would be every file of the changes, right away. So
 * a file with the least and the greatest key of all lies below them.
 */
static void put_bounds(rocksdb_sstfilewriter_t *writer, const char *path, char **error)
{
    static const char greatest[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    rocksdb_sstfilewriter_open(writer, path, error);
    if (!*error)
        rocksdb_sstfilewriter_put(writer, "", 1, "", 0, error);
    if (!*error)
        rocksdb_sstfilewriter_put(writer, greatest, 16, "", 0, error);
    if (!*error)
        rocksdb_sstfilewriter_finish(writer, error);
}

void tr__kv_look_for_ground(tr_kv *kv)
{
    char *files =
        rocksdb_property_value_cf(kv->db, kv->families[TR_KV_CHANGES], "rocksdb.num-files-at-level6");
    atomic_store(&kv->ground, files && strcmp(files, "0") != 0);
    rocksdb_free(files);
}

static int lay_ground(tr_kv *kv, tr_error *err)
{
    size_t size = strlen(kv->path) + sizeof "/ground.new";
    char *path = tr_malloc(size), *error = NULL;
    if (!path)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    (void)snprintf(path, size, "%s/ground.new", kv->path);
    rocksdb_options_t *options =
        tr__kv_family_options(kv->env, TR_KV_CHANGES, kv->cache, TR__KV_MEMORY_MIN, !kv->dir);
    rocksdb_envoptions_t *env_options = rocksdb_envoptions_create();
    rocksdb_sstfilewriter_t *writer = rocksdb_sstfilewriter_create(env_options, options);
    put_bounds(writer, path, &error);
    rocksdb_sstfilewriter_destroy(writer);
    rocksdb_ingestexternalfileoptions_t *how = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(how, 1);
    if (!error)
        rocksdb_ingest_external_file_cf(kv->db, kv->families[TR_KV_CHANGES], (const char *const *)&path, 1,
                                        how, &error);
    rocksdb_ingestexternalfileoptions_destroy(how);
    rocksdb_envoptions_destroy(env_options);
    rocksdb_options_destroy(options);
    tr_free(path);
    return error ? tr__kv_fail(error, "cannot lay the ground for changes", err) : 0;
}

int tr__kv_lay_ground(tr_kv *kv, tr_error *err)
{
    pthread_mutex_lock(&kv->ground_lock);
    int rc = atomic_load(&kv->ground) ? 0 : lay_ground(kv, err);
    if (!rc)
        atomic_store(&kv->ground, true);
    pthread_mutex_unlock(&kv->ground_lock);
    return rc;
}
