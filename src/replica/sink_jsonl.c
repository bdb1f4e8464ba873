/* SPDX-License-Identifier: MIT */
/*
 * A file of JSON lines as a sink. The state lies beside it, in PATH.state, with the length that the file had
 * when it was saved: when the replica is opened again, the file is cut back to that length, so that each
 * change is in it once.
 */
#include "replica/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINES_MAX  ((size_t)256 << 20) /* of one transaction */
#define WRITE_PART ((size_t)1 << 20)   /* lines are written out when there is so much of them */

typedef struct jsonl_sink {
    tr_sink base;
    char *path, *state_path, *temp_path;
    int fd;
    uint64_t length; /* of the file, as committed */
    tr_buf lines, state;
} jsonl_sink;

static int io_fail(jsonl_sink *s, tr_error *err, const char *doing)
{
    return tr_fail(err, TR_EIO, "%s %s: %s", doing, s->path, strerror(errno));
}

static int write_all(int fd, tr_view bytes)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return TR_EIO;
        bytes = tr_view_of(bytes.ptr + n, bytes.len - (size_t)n);
    }
    return 0;
}

static int read_file(const char *path, tr_buf *out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return errno == ENOENT ? 0 : TR_EIO;
    char part[65536];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        tr_buf_put(out, part, n);
    int e = ferror(f) ? TR_EIO : tr_buf_status(out);
    (void)fclose(f);
    return e;
}

/* {"length":N,"table":"T","state":{…}} */
static int take_saved(jsonl_sink *s, const tr_sink_table *table, tr_view saved, tr_buf *ret_state,
                      tr_error *err)
{
    tr_arena arena;
    tr_view length, name, state;
    tr_arena_init(&arena, TR__PAGE_MAX);
    int e = tr_json_member(saved, "length", &arena, &length) ||
                    tr_view_to_u64(length, INT64_MAX, &s->length) ||
                    tr_json_member(saved, "table", &arena, &name) ||
                    tr_json_member(saved, "state", &arena, &state)
                ? tr_fail(err, TR_ECORRUPT, "%s is not valid: remove it and %s to copy anew", s->state_path,
                          s->path)
                : 0;
    if (!e && (name.len < 2 || !tr_view_eq(tr_view_of(name.ptr + 1, name.len - 2), table->name)))
        e = tr_fail(err, TR_EEXIST, "%s belongs to table %.*s, not to %.*s: use another file", s->path,
                    TR_FMT(name), TR_FMT(table->name));
    if (!e) {
        tr_buf_put_view(ret_state, state);
        e = tr_buf_status(ret_state);
    }
    tr_arena_done(&arena);
    return e;
}

static int jsonl_open(tr_sink *sink, const tr_sink_table *table, tr_buf *ret_state, tr_error *err)
{
    jsonl_sink *s = (jsonl_sink *)sink;
    tr_buf saved;
    struct stat st;
    if (s->fd >= 0)
        (void)close(s->fd);
    s->length = 0;
    tr_buf_reset(&s->lines);
    s->fd = open(s->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (s->fd < 0)
        return io_fail(s, err, "opening");
    if (flock(s->fd, LOCK_EX | LOCK_NB))
        return tr_fail(err, TR_EBUSY, "%s is being written by another process", s->path);
    tr_buf_init(&saved, TR__PAGE_MAX);
    int e = read_file(s->state_path, &saved);
    if (e)
        (void)tr_fail(err, e, "reading %s: %s", s->state_path, strerror(errno));
    else if (saved.len)
        e = take_saved(s, table, tr_buf_view(&saved), ret_state, err);
    if (!e && (fstat(s->fd, &st) || (uint64_t)st.st_size < s->length))
        e = tr_fail(err, TR_ECORRUPT,
                    "%s is shorter than when it was last written: remove it and %s to copy anew", s->path,
                    s->state_path);
    if (!e && !saved.len && st.st_size > 0)
        e = tr_fail(err, TR_EEXIST, "%s exists and was not written by a replica: use another file", s->path);
    if (!e && (ftruncate(s->fd, (off_t)s->length) || lseek(s->fd, 0, SEEK_END) < 0))
        e = io_fail(s, err, "cutting back");
    tr_buf_reset(&s->state);
    tr_json_writer w;
    tr_json_write_init(&w, &s->state);
    tr_json_string(&w, table->name);
    tr_buf_done(&saved);
    return e;
}

static int jsonl_begin(tr_sink *sink, tr_error *err)
{
    (void)sink;
    (void)err;
    return 0;
}

/* What was written since the last commit is cut off. */
static void jsonl_rollback(tr_sink *sink)
{
    jsonl_sink *s = (jsonl_sink *)sink;
    tr_buf_reset(&s->lines);
    if (s->fd >= 0 && ftruncate(s->fd, (off_t)s->length) == 0)
        (void)lseek(s->fd, 0, SEEK_END);
}

static int write_lines(jsonl_sink *s, tr_error *err)
{
    int e = tr_buf_status(&s->lines);
    if (e)
        return tr_fail(err, e, "%s: %s", s->path, tr_strerror(e));
    if (write_all(s->fd, tr_buf_view(&s->lines)))
        return io_fail(s, err, "writing");
    tr_buf_reset(&s->lines);
    return 0;
}

static int line_end(jsonl_sink *s, tr_error *err)
{
    tr_buf_putc(&s->lines, '\n');
    return s->lines.len >= WRITE_PART ? write_lines(s, err) : 0;
}

static int jsonl_apply(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    jsonl_sink *s = (jsonl_sink *)sink;
    tr_json_writer w;
    tr_record record = *row->record;
    if (!record.has_new && row->item.len) { /* a stream without new images: the item was read */
        record.has_new = true;
        record.new_image = row->item;
    }
    tr_json_write_init(&w, &s->lines);
    tr_record_write_plain(&w, &record);
    return line_end(s, err);
}

static int jsonl_scanned(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    jsonl_sink *s = (jsonl_sink *)sink;
    tr_json_writer w;
    tr_json_write_init(&w, &s->lines);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "event", "scan");
    tr_json_name(&w, "new");
    tr_item_write_plain(&w, row->item);
    tr_json_end_object(&w);
    return line_end(s, err);
}

/* {"event":"scan-begin"}: the whole table follows as lines of "scan", mixed with changes; what an earlier
 * part of the file had and is not confirmed before "scan-end" is gone from the table. */
static int mark(jsonl_sink *s, const char *event, bool again, tr_error *err)
{
    tr_json_writer w;
    tr_json_write_init(&w, &s->lines);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "event", event);
    tr_json_member_bool(&w, "again", again);
    tr_json_end_object(&w);
    return line_end(s, err);
}

static int jsonl_scan_begin(tr_sink *sink, bool again, tr_error *err)
{
    return mark((jsonl_sink *)sink, "scan-begin", again, err);
}

static int jsonl_scan_end(tr_sink *sink, bool again, uint64_t *ret_deleted, tr_error *err)
{
    *ret_deleted = 0;
    return mark((jsonl_sink *)sink, "scan-end", again, err);
}

/* Lines first, synced; then the state that names their length, put in place by a rename. */
static int jsonl_save(tr_sink *sink, tr_view state, tr_error *err)
{
    jsonl_sink *s = (jsonl_sink *)sink;
    int e = write_lines(s, err);
    off_t length = lseek(s->fd, 0, SEEK_CUR);
    if (!e && (length < 0 || fdatasync(s->fd)))
        e = io_fail(s, err, "syncing");
    if (e)
        return e;
    tr_buf text;
    tr_json_writer w;
    tr_buf_init(&text, TR__PAGE_MAX);
    tr_json_write_init(&w, &text);
    tr_json_begin_object(&w);
    tr_json_member_u64(&w, "length", (uint64_t)length);
    tr_json_name(&w, "table");
    tr_json_value(&w, tr_buf_view(&s->state));
    tr_json_name(&w, "state");
    tr_json_value(&w, state);
    tr_json_end_object(&w);
    tr_buf_putc(&text, '\n');
    int fd = open(s->temp_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool ok = fd >= 0 && !tr_buf_status(&text) && write_all(fd, tr_buf_view(&text)) == 0 && fsync(fd) == 0;
    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    if (!ok || rename(s->temp_path, s->state_path))
        e = tr_fail(err, TR_EIO, "writing %s: %s", s->state_path, strerror(errno));
    else
        s->length = (uint64_t)length;
    tr_buf_done(&text);
    return e;
}

static int jsonl_commit(tr_sink *sink, tr_error *err)
{
    (void)sink;
    (void)err;
    return 0; /* saving was committing */
}

static void jsonl_free(tr_sink *sink)
{
    jsonl_sink *s = (jsonl_sink *)sink;
    if (!s)
        return;
    if (s->fd >= 0)
        (void)close(s->fd);
    tr_buf_done(&s->lines);
    tr_buf_done(&s->state);
    tr_free(s->path);
    tr_free(s->state_path);
    tr_free(s->temp_path);
    tr_free(s);
}

static char *with_suffix(const char *path, const char *suffix)
{
    size_t size = strlen(path) + strlen(suffix) + 1;
    char *text = tr_malloc(size);
    if (text)
        (void)snprintf(text, size, "%s%s", path, suffix);
    return text;
}

int tr_sink_jsonl(const char *path, tr_sink **ret_sink, tr_error *err)
{
    jsonl_sink *s = tr_calloc(1, sizeof *s);
    if (!s)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    s->fd = -1;
    tr_buf_init(&s->lines, LINES_MAX);
    tr_buf_init(&s->state, 4096);
    s->path = tr_strdup(path);
    s->state_path = with_suffix(path, ".state");
    s->temp_path = with_suffix(path, ".state.new");
    if (!s->path || !s->state_path || !s->temp_path) {
        jsonl_free(&s->base);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    s->base = (tr_sink){.transactions = true,
                        .open = jsonl_open,
                        .begin = jsonl_begin,
                        .apply = jsonl_apply,
                        .scanned = jsonl_scanned,
                        .scan_begin = jsonl_scan_begin,
                        .scan_end = jsonl_scan_end,
                        .save = jsonl_save,
                        .commit = jsonl_commit,
                        .rollback = jsonl_rollback,
                        .free = jsonl_free};
    *ret_sink = &s->base;
    return 0;
}
