/* SPDX-License-Identifier: MIT */
#include "kv/kv_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * DIR/FORMAT   one line, "tailrace 1\n": the version of everything below DIR
 * DIR/LOCK     locked while a process has DIR open; holds nothing
 * DIR/store/   RocksDB's files
 */
#define FORMAT_VERSION 1
#define FORMAT_NAME    "FORMAT"
#define FORMAT_TEXT    "tailrace %u\n"

static int join(char *out, const char *dir, const char *name, tr_error *err)
{
    int n = snprintf(out, TR__KV_PATH_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= TR__KV_PATH_MAX)
        return tr_fail(err, TR_ELIMIT, "the path of the data directory is longer than %d bytes",
                       TR__KV_PATH_MAX - 32);
    return 0;
}

int tr__kv_dir_lock(const char *dir, int *ret_fd, tr_error *err)
{
    char path[TR__KV_PATH_MAX];
    int rc = join(path, dir, "LOCK", err);
    if (rc)
        return rc;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return tr_fail(err, TR_EIO, "cannot open %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        close(fd);
        if (why == EWOULDBLOCK)
            return tr_fail(err, TR_EBUSY, "%s is in use by another process", dir);
        return tr_fail(err, TR_EIO, "cannot lock %s: %s", path, strerror(why));
    }
    *ret_fd = fd;
    return 0;
}

int tr__kv_dir_sync(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

int tr__kv_dir_write_format(const char *dir, tr_error *err)
{
    char path[TR__KV_PATH_MAX], part[TR__KV_PATH_MAX];
    int rc = join(path, dir, FORMAT_NAME, err);
    if (!rc)
        rc = join(part, dir, FORMAT_NAME ".new", err);
    if (rc)
        return rc;
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return tr_fail(err, TR_EIO, "cannot create %s: %s", part, strerror(errno));
    bool ok = dprintf(fd, FORMAT_TEXT, (unsigned)FORMAT_VERSION) > 0 && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (!ok || rename(part, path) != 0 || tr__kv_dir_sync(dir) != 0)
        return tr_fail(err, TR_EIO, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

int tr__kv_dir_format(const char *dir, tr_error *err)
{
    char path[TR__KV_PATH_MAX], text[64];
    int rc = join(path, dir, FORMAT_NAME, err);
    if (rc)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        char store[TR__KV_PATH_MAX];
        struct stat st;
        rc = join(store, dir, "store/CURRENT", err);
        if (!rc && stat(store, &st) == 0)
            return tr_fail(err, TR_ECORRUPT, "%s holds a store, but %s is missing", dir, path);
        return rc ? rc : tr__kv_dir_write_format(dir, err);
    }
    if (fd < 0)
        return tr_fail(err, TR_EIO, "cannot open %s: %s", path, strerror(errno));
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    unsigned version = 0;
    if (sscanf(text, FORMAT_TEXT, &version) != 1 || version == 0)
        return tr_fail(err, TR_ECORRUPT, "%s does not say \"tailrace\" and a version", path);
    if (version > FORMAT_VERSION)
        return tr_fail(err, TR_EVERSION, "%s was written by a newer tailrace (format %u, this one knows %u)",
                       dir, version, (unsigned)FORMAT_VERSION);
    return 0;
}

uint64_t tr__kv_dir_size(const char *path)
{
    uint64_t sum = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
    }
    closedir(dir);
    return sum;
}
