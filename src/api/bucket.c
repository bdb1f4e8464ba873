/* SPDX-License-Identifier: MIT */
#include "api/bucket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Directories below each other, and objects of one listing. */
#define LEVELS_MAX  32
#define OBJECTS_MAX 100000

/* S3's rules for names, without those about addresses. */
static bool valid_name(tr_view bucket)
{
    if (bucket.len < 3 || bucket.len > 255 || bucket.ptr[0] == '.')
        return false;
    return tr__name_valid(bucket) && tr_view_find(bucket, TR_VIEW(".."), 0) == SIZE_MAX;
}

int tr__bucket_check(tr_call *c, tr_view bucket)
{
    if (!c->api->buckets)
        return tr__invalid(
            c, "There is no S3 here: start the server with a directory that stands for it (serve --buckets "
               "DIR), whose directories are buckets");
    if (!valid_name(bucket))
        return tr__invalid(
            c,
            "1 validation error detected: Value '%.*s' at 's3Bucket' failed to satisfy constraint: Member "
            "must satisfy regular expression pattern: ^[a-z0-9A-Z]+[\\.\\-\\w]*[a-z0-9A-Z]+$",
            TR_FMT(bucket));
    return 0;
}

bool tr__bucket_exists(const tr_api *api, tr_view bucket)
{
    char path[4096];
    struct stat info;
    int n = snprintf(path, sizeof path, "%s/%.*s", api->buckets, TR_FMT(bucket));
    return n < (int)sizeof path && stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* A key's parts are names, none of which leads up. */
static bool safe_key(tr_view key)
{
    for (size_t at = 0; at <= key.len;) {
        size_t end = at;
        while (end < key.len && key.ptr[end] != '/')
            end++;
        tr_view part = tr_view_of(key.ptr + at, end - at);
        if (tr_view_is(part, "..") || tr_view_is(part, ".") || memchr(part.ptr ? part.ptr : "", 0, part.len))
            return false;
        at = end + 1;
    }
    return !key.len || key.ptr[0] != '/';
}

int tr__bucket_path(const tr_api *api, tr_view bucket, tr_view key, tr_arena *arena, const char **ret_path)
{
    if (!safe_key(key))
        return TR_EINVAL;
    *ret_path = tr_arena_printf(arena, "%s/%.*s/%.*s", api->buckets, TR_FMT(bucket), TR_FMT(key));
    return *ret_path ? 0 : TR_ENOMEM;
}

/* ------------------------------------------------------------------------------------------------- objects
 */

/* The directories above a path; the bucket itself is there. */
static void make_parents(const char *path)
{
    char part[4096];
    size_t n = strlen(path);
    for (size_t i = 1; i < n && i < sizeof part; i++) {
        if (path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        (void)mkdir(part, 0700);
    }
}

int tr__object_write(const char *path, tr_view bytes, bool append, tr_error *err)
{
    if (!append)
        make_parents(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0600);
    if (fd < 0)
        return tr_fail(err, TR_EIO, "%s: %s", path, strerror(errno));
    int e = 0;
    while (bytes.len && e == 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno != EINTR)
            e = tr_fail(err, TR_EIO, "%s: %s", path, strerror(errno));
        if (n > 0)
            bytes = tr_view_of(bytes.ptr + n, bytes.len - (size_t)n);
    }
    if (close(fd) && e == 0)
        e = tr_fail(err, TR_EIO, "%s: %s", path, strerror(errno));
    return e;
}

int tr__object_read(const char *path, tr_buf *out, tr_error *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info)) {
        int e = tr_fail(err, TR_EIO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return e;
    }
    int e = (uint64_t)info.st_size > out->limit - out->len ? TR_ELIMIT
                                                           : tr_buf_reserve(out, (size_t)info.st_size + 1);
    ssize_t n = 1;
    while (e == 0 && n) {
        n = read(fd, out->ptr + out->len, out->cap - out->len);
        if (n < 0 && errno != EINTR)
            e = TR_EIO;
        if (n > 0) {
            out->len += (size_t)n;
            e = tr_buf_reserve(out, 1);
        }
    }
    (void)close(fd);
    return e ? tr_fail(err, e, "%s: %s", path, e == TR_ELIMIT ? "too large an object" : tr_strerror(e)) : 0;
}

/* ------------------------------------------------------------------------------------------------- listing
 */

typedef struct listing {
    tr_arena *arena;
    tr_view prefix;
    tr_view *keys;
    uint32_t count, room;
    tr_error *err;
} listing;

static int add_key(listing *l, const char *key)
{
    tr_view copy = tr_arena_copy(l->arena, tr_view_str(key));
    if (!copy.ptr)
        return tr_fail(l->err, TR_ENOMEM, "out of memory");
    if (l->count == OBJECTS_MAX)
        return tr_fail(l->err, TR_ELIMIT, "more than %d objects begin with that", OBJECTS_MAX);
    if (l->count == l->room) {
        uint32_t room = l->room ? l->room * 2 : 64;
        tr_view *keys = tr_arena_calloc(l->arena, room, sizeof *keys);
        if (!keys)
            return tr_fail(l->err, TR_ENOMEM, "out of memory");
        if (l->count)
            memcpy(keys, l->keys, l->count * sizeof *keys);
        l->keys = keys;
        l->room = room;
    }
    l->keys[l->count++] = copy;
    return 0;
}

/* `key`: of the directory, empty or with a '/' at its end. */
static int walk(listing *l, const char *root, const char *key, unsigned level)
{
    char path[4096], below[4096];
    int e = 0;
    if (snprintf(path, sizeof path, "%s/%s", root, key) >= (int)sizeof path || level > LEVELS_MAX)
        return 0;
    DIR *d = opendir(path);
    for (const struct dirent *entry; d && e == 0 && (entry = readdir(d));) {
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (snprintf(below, sizeof below, "%s%s", key, entry->d_name) >= (int)sizeof below - 1 ||
            snprintf(path, sizeof path, "%s/%s", root, below) >= (int)sizeof path || lstat(path, &info))
            continue;
        if (S_ISDIR(info.st_mode)) {
            size_t n = strlen(below);
            below[n] = '/';
            below[n + 1] = 0;
            e = walk(l, root, below, level + 1);
        } else if (S_ISREG(info.st_mode) && tr_view_starts(tr_view_str(below), l->prefix)) {
            e = add_key(l, below);
        }
    }
    if (d)
        (void)closedir(d);
    return e;
}

static int compare(const void *a, const void *b)
{
    return tr_view_cmp(*(const tr_view *)a, *(const tr_view *)b);
}

int tr__bucket_list(const tr_api *api, tr_view bucket, tr_view prefix, tr_arena *arena, tr_view **ret_keys,
                    uint32_t *ret_count, tr_error *err)
{
    listing l = {.arena = arena, .prefix = prefix, .err = err};
    const char *root = tr_arena_printf(arena, "%s/%.*s", api->buckets, TR_FMT(bucket));
    int e = root ? walk(&l, root, "", 0) : tr_fail(err, TR_ENOMEM, "out of memory");
    if (e)
        return e;
    if (l.count > 1)
        qsort(l.keys, l.count, sizeof *l.keys, compare);
    *ret_keys = l.keys;
    *ret_count = l.count;
    return 0;
}

/* ---------------------------------------------------------------------------------------------------- gzip
 */

int tr__gzip_append(tr_view bytes, tr_buf *out)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    if (!c)
        return TR_ENOMEM;
    size_t room = libdeflate_gzip_compress_bound(c, bytes.len);
    int e = tr_buf_reserve(out, room);
    size_t n = e ? 0 : libdeflate_gzip_compress(c, bytes.ptr, bytes.len, out->ptr + out->len, room);
    libdeflate_free_compressor(c);
    out->len += n;
    return e ? e : n ? 0 : TR_ENOMEM;
}

int tr__gzip_read(tr_view in, tr_buf *out)
{
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    size_t room = in.len < 16384 ? 65536 : in.len * 4;
    int e = d ? 0 : TR_ENOMEM;
    while (in.len && e == 0) {
        size_t used, made, most = out->limit - out->len;
        room = room < most ? room : most;
        e = tr_buf_reserve(out, room);
        enum libdeflate_result result =
            e ? LIBDEFLATE_BAD_DATA
              : libdeflate_gzip_decompress_ex(d, in.ptr, in.len, out->ptr + out->len, room, &used, &made);
        if (e == 0 && result == LIBDEFLATE_SUCCESS) {
            out->len += made;
            in = tr_view_of(in.ptr + used, in.len - used);
        } else if (e == 0 && result != LIBDEFLATE_INSUFFICIENT_SPACE) {
            e = TR_EPARSE;
        } else if (e == 0 && room == most) {
            e = TR_ELIMIT;
        } else {
            room *= 4;
        }
    }
    libdeflate_free_decompressor(d);
    return e;
}
