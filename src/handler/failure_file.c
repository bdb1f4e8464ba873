/* SPDX-License-Identifier: MIT */
/*
 * Failures as lines of JSON at a file's end. Everything is done under a lock of the file (flock), so that
 * several writers and readers may share it.
 *
 * Removing: the line is blanked where it stands, which is durable at once; blank lines are left out when the
 * file is next written anew, beside and renamed over. So a writer that has the lock looks whether its file is
 * still the one of that name.
 */
#include "handler/failure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_MAX_ 4096
#define PART      65536

typedef struct file_sink {
    tr_failure_sink base;
    char *path;
    int fd;         /* -1: to be opened */
    bool existing;  /* is not made */
    bool iterating; /* within file_each, which compacts at its end */
    off_t current;  /* the line that file_each has given out */
    bool blanked;   /* there are blank lines */
} file_sink;

static int io_fail(const file_sink *s, const char *what, tr_error *err)
{
    return tr_fail(err, errno == ENOENT ? TR_ENOTFOUND : TR_EIO, "%s %s: %s", what, s->path, strerror(errno));
}

static int sync_directory(const file_sink *s, tr_error *err)
{
    char dir[PATH_MAX_];
    const char *slash = strrchr(s->path, '/');
    int n = slash ? snprintf(dir, sizeof dir, "%.*s/", (int)(slash - s->path), s->path)
                  : snprintf(dir, sizeof dir, ".");
    int fd = n > 0 && (size_t)n < sizeof dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int e = fd < 0 || fsync(fd) ? io_fail(s, "syncing the directory of", err) : 0;
    if (fd >= 0)
        (void)close(fd);
    return e;
}

static void close_file(file_sink *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
}

static int open_file(file_sink *s, tr_error *err)
{
    int flags = O_RDWR | O_CLOEXEC;
    s->fd = open(s->path, flags);
    if (s->fd >= 0 || errno != ENOENT || s->existing)
        return s->fd < 0 ? io_fail(s, "opening", err) : 0;
    s->fd = open(s->path, flags | O_CREAT, 0666);
    return s->fd < 0 ? io_fail(s, "making", err) : sync_directory(s, err);
}

/* Opens and locks the file that has the name now. */
static int lock(file_sink *s, tr_error *err)
{
    for (;;) {
        struct stat mine, named;
        int e = s->fd < 0 ? open_file(s, err) : 0;
        if (e)
            return e;
        int rc;
        while ((rc = flock(s->fd, LOCK_EX)) && errno == EINTR)
            ;
        if (rc || fstat(s->fd, &mine))
            return io_fail(s, "locking", err);
        if (stat(s->path, &named) == 0 && named.st_ino == mine.st_ino && named.st_dev == mine.st_dev)
            return 0;
        close_file(s);
    }
}

static void unlock(file_sink *s)
{
    if (s->fd >= 0)
        (void)flock(s->fd, LOCK_UN);
}

static int write_all(int fd, tr_view bytes, off_t at)
{
    while (bytes.len) {
        ssize_t n = pwrite(fd, bytes.ptr, bytes.len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n ? errno : ENOSPC;
            return TR_EIO;
        }
        bytes = tr_view_of(bytes.ptr + n, bytes.len - (size_t)n);
        at += n;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------ put */

/* At the end, behind a line feed: a crash may have left a piece of a line. What cannot be written whole is
 * taken back. */
static int append(file_sink *s, tr_view line, tr_error *err)
{
    off_t end = lseek(s->fd, 0, SEEK_END), at = end;
    char last = '\n';
    if (end > 0 && pread(s->fd, &last, 1, end - 1) != 1)
        return io_fail(s, "reading", err);
    int e = last == '\n' ? 0 : write_all(s->fd, TR_VIEW("\n"), at++);
    if (!e)
        e = write_all(s->fd, line, at);
    if (!e && fdatasync(s->fd) == 0)
        return 0;
    e = io_fail(s, "writing", err);
    (void)!ftruncate(s->fd, end);
    return e == TR_ENOTFOUND ? TR_EIO : e;
}

/* Why it was given up, where the record does not say it itself: as a member, in place of the last brace. */
static void add_cause(const tr_failure *f, tr_buf *line)
{
    tr_arena arena;
    tr_view there;
    tr_json_writer w;
    tr_arena_init(&arena, TR__FAILURE_MAX);
    bool told = tr_json_member(f->record, "responsePayload", &arena, &there) == 0;
    if (!told && (f->error_type.len || f->error_message.len) && line->len) {
        line->len--;
        tr_buf_put_str(line, ",\"responsePayload\":");
        tr_json_write_init(&w, line);
        tr_json_begin_object(&w);
        tr_json_member_string(&w, "errorType", f->error_type);
        tr_json_member_string(&w, "errorMessage", f->error_message);
        tr_json_end_object(&w);
        tr_buf_putc(line, '}');
    }
    tr_arena_done(&arena);
}

static int file_put(tr_failure_sink *base, const tr_failure *failure, tr_error *err)
{
    file_sink *s = (file_sink *)base;
    tr_buf line;
    tr_buf_init(&line, TR__FAILURE_MAX);
    tr__failure_compose(failure, &line);
    add_cause(failure, &line);
    tr_buf_putc(&line, '\n');
    int e = tr_buf_status(&line) ? tr_fail(err, tr_buf_status(&line), "a failure record is too large") : 0;
    if (!e)
        e = lock(s, err);
    if (!e)
        e = append(s, tr_buf_view(&line), err);
    unlock(s);
    tr_buf_done(&line);
    return e;
}

/* ------------------------------------------------------------------------------------------------ read */

/* The lines of a file, one after the other; what stands behind the last line feed counts as one. */
typedef struct lines {
    int fd;
    tr_buf buf; /* read ahead from `begin` on */
    off_t begin;
    size_t used; /* of buf: lines given out */
} lines;

static void lines_init(lines *l, int fd)
{
    *l = (lines){.fd = fd};
    tr_buf_init(&l->buf, TR__FAILURE_MAX);
}

/* False at the end. A line longer than any that is written ends it too. */
static bool lines_next(lines *l, tr_view *ret_line, off_t *ret_at)
{
    for (size_t scanned = 0;;) {
        tr_view rest = l->buf.len ? tr_view_of(l->buf.ptr + l->used, l->buf.len - l->used) : TR_VIEW("");
        size_t feed = tr_view_find(rest, TR_VIEW("\n"), scanned);
        ssize_t n = 0;
        if (feed == SIZE_MAX) {
            scanned = rest.len;
            if (l->used) {
                memmove(l->buf.ptr, rest.ptr, rest.len);
                l->begin += (off_t)l->used;
                l->buf.len = rest.len;
                l->used = 0;
            }
            if (tr_buf_reserve(&l->buf, PART))
                return false;
            n = pread(l->fd, l->buf.ptr + l->buf.len, PART, l->begin + (off_t)l->buf.len);
            if (n > 0) {
                l->buf.len += (size_t)n;
                continue;
            }
            rest = tr_buf_view(&l->buf);
            if (!rest.len)
                return false;
        }
        *ret_line = tr_view_of(rest.ptr, feed == SIZE_MAX ? rest.len : feed);
        *ret_at = l->begin + (off_t)l->used;
        l->used += ret_line->len + (feed != SIZE_MAX);
        return true;
    }
}

static bool is_blank(tr_view line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] != ' ')
            return false;
    return true;
}

/* requestContext.requestId, which names a line; else where it begins. */
static tr_view id_of(tr_view line, off_t at, tr_arena *arena)
{
    tr_view context, id;
    if (tr_json_member(line, "requestContext", arena, &context) == 0 && context.ptr[0] == '{' &&
        tr_json_member(context, "requestId", arena, &id) == 0 && id.len > 2 && id.ptr[0] == '"')
        return tr_view_of(id.ptr + 1, id.len - 2);
    return tr_view_str(tr_arena_printf(arena, "at-%lld", (long long)at));
}

/* Writes the file anew without its blank lines. Under the lock. */
static int compact(file_sink *s, tr_error *err)
{
    char beside[PATH_MAX_];
    struct stat mode;
    int n = snprintf(beside, sizeof beside, "%s.new", s->path);
    if (n <= 0 || (size_t)n >= sizeof beside || fstat(s->fd, &mode))
        return io_fail(s, "writing", err);
    int to = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode.st_mode & 0777);
    if (to < 0)
        return io_fail(s, "writing beside", err);
    lines l;
    tr_view line;
    off_t at, end = 0;
    int e = 0;
    lines_init(&l, s->fd);
    while (!e && lines_next(&l, &line, &at)) {
        if (is_blank(line))
            continue;
        e = write_all(to, line, end);
        end += (off_t)line.len;
        if (!e)
            e = write_all(to, TR_VIEW("\n"), end++);
    }
    tr_buf_done(&l.buf);
    if (e || fsync(to) || rename(beside, s->path)) {
        e = io_fail(s, "writing", err);
        (void)unlink(beside);
    } else {
        e = sync_directory(s, err);
        s->blanked = false;
    }
    (void)close(to);
    return e;
}

static int blank(file_sink *s, tr_view line, off_t at, tr_error *err)
{
    tr_buf spaces;
    tr_buf_init(&spaces, TR__FAILURE_MAX);
    int e = tr_buf_reserve(&spaces, line.len + 1);
    if (!e) {
        memset(spaces.ptr, ' ', line.len);
        e = write_all(s->fd, tr_view_of(spaces.ptr, line.len), at);
    }
    if (e || fdatasync(s->fd))
        e = io_fail(s, "writing", err);
    tr_buf_done(&spaces);
    s->blanked |= !e;
    return e;
}

/* The entry's line from `begin` on, blanked. TR_ENOTFOUND. */
static int remove_from(file_sink *s, tr_view id, off_t begin, tr_error *err)
{
    lines l;
    tr_arena arena;
    tr_view line;
    off_t at;
    int e = TR_ENOTFOUND;
    lines_init(&l, s->fd);
    l.begin = begin;
    tr_arena_init(&arena, 1 << 20);
    while (e == TR_ENOTFOUND && lines_next(&l, &line, &at)) {
        tr_arena_reset(&arena);
        if (!is_blank(line) && tr_view_eq(id_of(line, at, &arena), id))
            e = blank(s, line, at, err);
    }
    tr_buf_done(&l.buf);
    tr_arena_done(&arena);
    return e;
}

static int file_remove(tr_failure_sink *base, tr_view id, tr_error *err)
{
    file_sink *s = (file_sink *)base;
    int e = lock(s, err);
    if (e)
        return e;
    e = s->iterating ? remove_from(s, id, s->current, err) : TR_ENOTFOUND;
    if (e == TR_ENOTFOUND)
        e = remove_from(s, id, 0, err);
    if (e == TR_ENOTFOUND)
        e = tr_fail(err, e, "%s has no entry %.*s", s->path, TR_FMT(id));
    if (!e && !s->iterating)
        e = compact(s, err);
    unlock(s);
    return e;
}

/* Without the lock, which fn may take for long: of the file as it is now, even if it is written anew
 * meanwhile. */
static int each_line(file_sink *s, int fd, tr_failure_fn *fn, void *ctx)
{
    lines l;
    tr_arena arena;
    tr_view line;
    int e = 0;
    lines_init(&l, fd);
    tr_arena_init(&arena, TR__FAILURE_MAX);
    while (!e && lines_next(&l, &line, &s->current)) {
        tr_arena_reset(&arena);
        if (is_blank(line))
            continue;
        tr_failure_entry entry = {.id = id_of(line, s->current, &arena)};
        if (tr__failure_read(line, &arena, &entry) == 0) /* else: a piece of a line */
            e = fn(ctx, &entry);
    }
    tr_buf_done(&l.buf);
    tr_arena_done(&arena);
    return e;
}

static int file_each(tr_failure_sink *base, tr_failure_fn *fn, void *ctx, tr_error *err)
{
    file_sink *s = (file_sink *)base;
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return io_fail(s, "opening", err);
    s->iterating = true;
    int e = each_line(s, fd, fn, ctx);
    s->iterating = false;
    (void)close(fd);
    if (s->blanked && lock(s, NULL) == 0) { /* a blank line that stays does no harm */
        (void)compact(s, NULL);
        unlock(s);
    }
    return e;
}

static int file_purge(tr_failure_sink *base, uint64_t *ret_count, tr_error *err)
{
    file_sink *s = (file_sink *)base;
    uint64_t count = 0;
    int e = lock(s, err);
    if (e)
        return e;
    lines l;
    tr_view line;
    off_t at;
    lines_init(&l, s->fd);
    while (lines_next(&l, &line, &at))
        count += !is_blank(line);
    tr_buf_done(&l.buf);
    e = ftruncate(s->fd, 0) || fdatasync(s->fd) ? io_fail(s, "emptying", err) : 0;
    unlock(s);
    if (!e)
        *ret_count = count;
    return e;
}

static void file_free(tr_failure_sink *base)
{
    file_sink *s = (file_sink *)base;
    close_file(s);
    tr_free(s->path);
    tr_free(s);
}

int tr__failure_open_file(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                          tr_error *err)
{
    file_sink *s = tr_calloc(1, sizeof *s);
    if (!s || !(s->path = tr_strdup(name))) {
        tr_free(s);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    s->base = (tr_failure_sink){file_put, file_each, file_remove, file_purge, file_free};
    s->fd = -1;
    s->existing = options->existing;
    int e = open_file(s, err);
    if (e)
        file_free(&s->base);
    else
        *ret_sink = &s->base;
    return e;
}
