/* SPDX-License-Identifier: MIT */
#include <tailrace/stream.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A checkpoint file. A reader sees the old state or the new one, never a part; a power cut leaves one of
 * them. */

typedef struct file_store {
    tr_stream_store base;
    char *path, *temporary, *directory;
    int lock_fd;
} file_store;

static int file_load(tr_stream_store *store, tr_buf *ret_state, tr_error *err)
{
    file_store *fs = (file_store *)store;
    int fd = open(fs->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : tr_fail(err, TR_EIO, "%s: %s", fs->path, strerror(errno));
    size_t len = ret_state->len;
    int code = 0;
    ssize_t n = 1;
    while (n > 0 && code == 0) {
        char chunk[16384];
        n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            code = tr_fail(err, TR_EIO, "%s: %s", fs->path, strerror(errno));
        else
            tr_buf_put(ret_state, chunk, (size_t)n);
        if (code == 0 && tr_buf_status(ret_state))
            code = tr_fail(err, tr_buf_status(ret_state), "%s: too large", fs->path);
    }
    (void)close(fd);
    if (code == 0 && ret_state->len == len) /* to begin anew instead would lose what is behind it */
        code = tr_fail(err, TR_EPARSE, "%s is empty, which no saved position is: remove it to begin anew",
                       fs->path);
    if (code)
        ret_state->len = len;
    return code;
}

static int write_all(int fd, tr_view bytes)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes.ptr += n;
        bytes.len -= (size_t)n;
    }
    return 0;
}

static int sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int bad = fsync(fd);
    (void)close(fd);
    return bad;
}

static int file_save(tr_stream_store *store, tr_view state, tr_error *err)
{
    file_store *fs = (file_store *)store;
    int fd = open(fs->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return tr_fail(err, TR_EIO, "%s: %s", fs->temporary, strerror(errno));
    int bad = write_all(fd, state);
    bad = bad || write_all(fd, TR_VIEW("\n"));
    bad = bad || fsync(fd);
    int saved = errno;
    (void)close(fd);
    if (bad)
        return tr_fail(err, TR_EIO, "%s: %s", fs->temporary, strerror(saved));
    if (rename(fs->temporary, fs->path))
        return tr_fail(err, TR_EIO, "%s: %s", fs->path, strerror(errno));
    if (sync_directory(fs->directory))
        return tr_fail(err, TR_EIO, "%s: %s", fs->directory, strerror(errno));
    return 0;
}

static void file_free(tr_stream_store *store)
{
    file_store *fs = (file_store *)store;
    if (fs->lock_fd >= 0)
        (void)close(fs->lock_fd);
    tr_free(fs->path);
    tr_free(fs->temporary);
    tr_free(fs->directory);
    tr_free(fs);
}

static char *join(const char *a, const char *b)
{
    size_t size = strlen(a) + strlen(b) + 1;
    char *text = tr_malloc(size);
    if (text)
        (void)snprintf(text, size, "%s%s", a, b);
    return text;
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = tr_strdup(slash ? path : ".");
    if (directory && slash)
        directory[slash == path ? 1 : slash - path] = 0;
    return directory;
}

static int make_directories(const char *directory)
{
    char *copy = tr_strdup(directory);
    if (!copy)
        return -1;
    int bad = 0;
    for (char *at = copy + 1; *at && !bad; at++) {
        if (*at != '/')
            continue;
        *at = 0;
        bad = mkdir(copy, 0700) && errno != EEXIST;
        *at = '/';
    }
    bad = bad || (mkdir(copy, 0700) && errno != EEXIST);
    tr_free(copy);
    return bad;
}

static int take_lock(file_store *fs, tr_error *err)
{
    char *lock = join(fs->path, ".lock");
    if (!lock)
        return tr_fail(err, TR_ENOMEM, "no memory for a checkpoint file");
    int code = 0;
    fs->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fs->lock_fd < 0)
        code = tr_fail(err, TR_EIO, "%s: %s", lock, strerror(errno));
    else if (flock(fs->lock_fd, LOCK_EX | LOCK_NB))
        code = tr_fail(err, TR_EBUSY, "%s: another consumer holds it", lock);
    tr_free(lock);
    return code;
}

int tr_stream_store_file(const char *path, tr_stream_store **ret_store, tr_error *err)
{
    if (!path || !path[0])
        return tr_fail(err, TR_EINVAL, "a checkpoint file takes a path");
    file_store *fs = tr_calloc(1, sizeof *fs);
    if (!fs)
        return tr_fail(err, TR_ENOMEM, "no memory for a checkpoint file");
    fs->base = (tr_stream_store){.load = file_load, .save = file_save, .free = file_free};
    fs->lock_fd = -1;
    fs->path = tr_strdup(path);
    fs->temporary = join(path, ".new");
    fs->directory = directory_of(path);
    int code = 0;
    if (!fs->path || !fs->temporary || !fs->directory)
        code = tr_fail(err, TR_ENOMEM, "no memory for a checkpoint file");
    else if (make_directories(fs->directory))
        code = tr_fail(err, TR_EIO, "%s: %s", fs->directory, strerror(errno));
    else
        code = take_lock(fs, err);
    if (code) {
        file_free(&fs->base);
        return code;
    }
    *ret_store = &fs->base;
    return 0;
}

/* -------------------------------------------------------------------------------------- your callbacks */

typedef struct callback_store {
    tr_stream_store base;
    tr_stream_load_fn *load;
    tr_stream_save_fn *save;
    void *ctx;
} callback_store;

static int callback_load(tr_stream_store *store, tr_buf *ret_state, tr_error *err)
{
    callback_store *cs = (callback_store *)store;
    return cs->load ? cs->load(cs->ctx, ret_state, err) : 0;
}

static int callback_save(tr_stream_store *store, tr_view state, tr_error *err)
{
    callback_store *cs = (callback_store *)store;
    return cs->save ? cs->save(cs->ctx, state, err) : 0;
}

static void callback_free(tr_stream_store *store)
{
    tr_free(store);
}

int tr_stream_store_callbacks(tr_stream_load_fn *load, tr_stream_save_fn *save, void *ctx,
                              tr_stream_store **ret_store)
{
    callback_store *cs = tr_calloc(1, sizeof *cs);
    if (!cs)
        return TR_ENOMEM;
    cs->base = (tr_stream_store){.load = callback_load, .save = callback_save, .free = callback_free};
    cs->load = load;
    cs->save = save;
    cs->ctx = ctx;
    *ret_store = &cs->base;
    return 0;
}

void tr_stream_store_free(tr_stream_store *store)
{
    if (store)
        store->free(store);
}
