/* SPDX-License-Identifier: MIT */
/* Where failures go: a SQLite queue, a file of JSON lines, a URL. */
#include <tailrace/mapping.h>

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 10000
#define URL_TIMEOUT_MS  30000

struct tr_dlq {
    sqlite3 *db;
    char *path;
};

static int db_fail(tr_dlq *q, tr_error *err)
{
    int code = sqlite3_errcode(q->db);
    return tr_fail(err, code == SQLITE_BUSY ? TR_EBUSY : TR_EIO, "%s: %s", q->path, sqlite3_errmsg(q->db));
}

int tr_dlq_open(const char *path, bool create, tr_dlq **ret_dlq, tr_error *err)
{
    static const char schema[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                 "CREATE TABLE IF NOT EXISTS dead_letters (id INTEGER PRIMARY KEY "
                                 "AUTOINCREMENT, time TEXT NOT NULL, source TEXT NOT "
                                 "NULL, attempts INTEGER NOT NULL, error_type TEXT NOT NULL, error_message "
                                 "TEXT NOT NULL, record TEXT NOT NULL, event "
                                 "TEXT NOT NULL);";
    tr_dlq *q = tr_calloc(1, sizeof *q);
    if (!q || !(q->path = tr_strdup(path))) {
        tr_free(q);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    int e = 0;
    if (!create && access(path, F_OK) != 0)
        e = tr_fail(err, TR_ENOTFOUND, "there is no queue %s", path);
    int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    if (!e && sqlite3_open_v2(path, &q->db, flags, NULL) != SQLITE_OK)
        e = q->db ? db_fail(q, err) : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (!e) {
        (void)sqlite3_busy_timeout(q->db, BUSY_TIMEOUT_MS);
        if (sqlite3_exec(q->db, schema, NULL, NULL, NULL) != SQLITE_OK)
            e = db_fail(q, err);
    }
    if (e)
        tr_dlq_close(q);
    else
        *ret_dlq = q;
    return e;
}

void tr_dlq_close(tr_dlq *q)
{
    if (!q)
        return;
    (void)sqlite3_close(q->db);
    tr_free(q->path);
    tr_free(q);
}

static void bind(sqlite3_stmt *stmt, int at, tr_view text)
{
    (void)sqlite3_bind_text(stmt, at, text.ptr ? text.ptr : "", (int)text.len, SQLITE_STATIC);
}

int tr_dlq_put(tr_dlq *q, const tr_failure *f, tr_error *err)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(q->db,
                           "INSERT INTO dead_letters (time, source, attempts, error_type, error_message, "
                           "record, event) VALUES "
                           "(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                           -1, &stmt, NULL) != SQLITE_OK)
        return db_fail(q, err);
    char time[TR_TIME_TEXT_MAX];
    tr_time_format(tr_clock_wall_ms(), true, time);
    bind(stmt, 1, tr_view_str(time));
    bind(stmt, 2, f->source);
    (void)sqlite3_bind_int64(stmt, 3, (sqlite3_int64)f->attempts);
    bind(stmt, 4, f->error_type);
    bind(stmt, 5, f->error_message);
    bind(stmt, 6, f->record);
    bind(stmt, 7, f->event);
    int e = sqlite3_step(stmt) == SQLITE_DONE ? 0 : db_fail(q, err);
    (void)sqlite3_finalize(stmt);
    return e;
}

static tr_view column(sqlite3_stmt *stmt, int at)
{
    const void *text = sqlite3_column_text(stmt, at);
    return tr_view_of(text, (size_t)sqlite3_column_bytes(stmt, at));
}

int tr_dlq_each(tr_dlq *q, int64_t after, int (*fn)(void *, const tr_dlq_entry *), void *ctx, tr_error *err)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(
            q->db,
            "SELECT id, time, source, attempts, error_type, error_message, record, event FROM dead_letters "
            "WHERE id > ?1 ORDER BY id",
            -1, &stmt, NULL) != SQLITE_OK)
        return db_fail(q, err);
    (void)sqlite3_bind_int64(stmt, 1, after);
    int rc, e = 0;
    while (!e && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        tr_dlq_entry entry = {.id = sqlite3_column_int64(stmt, 0),
                              .time = column(stmt, 1),
                              .source = column(stmt, 2),
                              .attempts = (uint64_t)sqlite3_column_int64(stmt, 3),
                              .error_type = column(stmt, 4),
                              .error_message = column(stmt, 5),
                              .record = column(stmt, 6),
                              .event = column(stmt, 7)};
        e = fn(ctx, &entry);
    }
    if (!e && rc != SQLITE_DONE)
        e = db_fail(q, err);
    (void)sqlite3_finalize(stmt);
    return e;
}

int tr_dlq_remove(tr_dlq *q, int64_t id, tr_error *err)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(q->db, "DELETE FROM dead_letters WHERE id = ?1", -1, &stmt, NULL) != SQLITE_OK)
        return db_fail(q, err);
    (void)sqlite3_bind_int64(stmt, 1, id);
    int e = sqlite3_step(stmt) == SQLITE_DONE ? 0 : db_fail(q, err);
    (void)sqlite3_finalize(stmt);
    if (!e && sqlite3_changes(q->db) == 0)
        e = tr_fail(err, TR_ENOTFOUND, "%s has no entry %lld", q->path, (long long)id);
    return e;
}

int tr_dlq_purge(tr_dlq *q, uint64_t *ret_count, tr_error *err)
{
    if (sqlite3_exec(q->db, "DELETE FROM dead_letters", NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(q, err);
    *ret_count = (uint64_t)sqlite3_changes64(q->db);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- sinks */

typedef struct sink {
    tr_failure_sink base;
    tr_dlq *queue;
    char *path;
    int fd;
    tr_handler *url;
} sink;

static int put_queue(tr_failure_sink *base, const tr_failure *f, tr_error *err)
{
    return tr_dlq_put(((sink *)base)->queue, f, err);
}

/* The failure record with the full records behind, on one line. */
static int put_file(tr_failure_sink *base, const tr_failure *f, tr_error *err)
{
    sink *s = (sink *)base;
    tr_buf line;
    tr_arena arena;
    tr_view records;
    tr_buf_init(&line, (size_t)64 << 20);
    tr_arena_init(&arena, (size_t)64 << 20);
    tr_buf_put(&line, f->record.ptr, f->record.len - 1);
    if (tr_json_member(f->event, "Records", &arena, &records) == 0) {
        tr_buf_put_str(&line, ",\"Records\":");
        tr_buf_put_view(&line, records);
    }
    tr_buf_put_str(&line, "}\n");
    int e = tr_buf_status(&line) ? tr_fail(err, tr_buf_status(&line), "a failure record is too large") : 0;
    if (!e && (write(s->fd, line.ptr, line.len) != (ssize_t)line.len || fdatasync(s->fd)))
        e = tr_fail(err, TR_EIO, "writing %s: %s", s->path, strerror(errno));
    tr_buf_done(&line);
    tr_arena_done(&arena);
    return e;
}

static int put_url(tr_failure_sink *base, const tr_failure *f, tr_error *err)
{
    return tr_handler_invoke_wait(((sink *)base)->url, f->record, NULL, err);
}

static void free_sink(tr_failure_sink *base)
{
    sink *s = (sink *)base;
    if (!s)
        return;
    tr_dlq_close(s->queue);
    tr_handler_free(s->url);
    if (s->fd >= 0)
        (void)close(s->fd);
    tr_free(s->path);
    tr_free(s);
}

int tr_failure_sink_open(const char *destination, tr_failure_sink **ret_sink, tr_error *err)
{
    tr_view d = tr_view_str(destination);
    sink *s = tr_calloc(1, sizeof *s);
    if (!s)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    s->fd = -1;
    s->base.free = free_sink;
    int e;
    if (tr_view_starts(d, TR_VIEW("sqlite:")) && d.len > 7) {
        s->base.put = put_queue;
        e = tr_dlq_open(destination + 7, true, &s->queue, err);
    } else if (tr_view_starts(d, TR_VIEW("file:")) && d.len > 5) {
        s->base.put = put_file;
        s->path = tr_strdup(destination + 5);
        s->fd = open(destination + 5, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        e = s->fd < 0 || !s->path ? tr_fail(err, TR_EIO, "opening %s: %s", destination + 5, strerror(errno))
                                  : 0;
    } else if (tr_view_starts(d, TR_VIEW("http://")) || tr_view_starts(d, TR_VIEW("https://"))) {
        tr_handler_options o = {.kind = TR_HANDLER_URL, .target = destination, .timeout_ms = URL_TIMEOUT_MS};
        s->base.put = put_url;
        e = tr_handler_new(&o, &s->url, err);
    } else {
        e = tr_fail(err, TR_EINVAL, "failure destination '%s': file:PATH, sqlite:PATH or a URL is needed",
                    destination);
    }
    if (e)
        free_sink(&s->base);
    else
        *ret_sink = &s->base;
    return e;
}
