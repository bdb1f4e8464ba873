/* SPDX-License-Identifier: MIT */
/* Failures as rows of an SQLite database. */
#include "handler/failure.h"

#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 10000

typedef struct queue {
    tr_failure_sink base;
    sqlite3 *db;
    char *path;
} queue;

static int db_fail(queue *q, tr_error *err)
{
    int code = sqlite3_errcode(q->db);
    return tr_fail(err, code == SQLITE_BUSY ? TR_EBUSY : TR_EIO, "%s: %s", q->path, sqlite3_errmsg(q->db));
}

static void bind(sqlite3_stmt *stmt, int at, tr_view text)
{
    (void)sqlite3_bind_text64(stmt, at, text.ptr ? text.ptr : "", text.len, SQLITE_STATIC, SQLITE_UTF8);
}

static int queue_put(tr_failure_sink *base, const tr_failure *f, tr_error *err)
{
    queue *q = (queue *)base;
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(q->db,
                           "INSERT INTO dead_letters (time, source, attempts, error_type, error_message, "
                           "record, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
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

static int queue_each(tr_failure_sink *base, tr_failure_fn *fn, void *ctx, tr_error *err)
{
    queue *q = (queue *)base;
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(
            q->db,
            "SELECT id, time, source, attempts, error_type, error_message, record, event FROM dead_letters "
            "WHERE id > ?1 ORDER BY id LIMIT 1",
            -1, &stmt, NULL) != SQLITE_OK)
        return db_fail(q, err);
    /* A row at a time: a statement left open over all of them would keep the log from being checkpointed
     * while handlers run. */
    sqlite3_int64 id = 0;
    tr_arena arena;
    tr_arena_init(&arena, TR__FAILURE_MAX);
    int rc = SQLITE_ROW, e = 0;
    while (!e && rc == SQLITE_ROW) {
        char name[24];
        tr_arena_reset(&arena);
        (void)sqlite3_bind_int64(stmt, 1, id);
        if ((rc = sqlite3_step(stmt)) != SQLITE_ROW)
            break;
        id = sqlite3_column_int64(stmt, 0);
        int n = snprintf(name, sizeof name, "%lld", (long long)id);
        tr_failure_entry entry = {.id = tr_view_of(name, (size_t)n),
                                  .time = tr_arena_copy(&arena, column(stmt, 1)),
                                  .source = tr_arena_copy(&arena, column(stmt, 2)),
                                  .attempts = (uint64_t)sqlite3_column_int64(stmt, 3),
                                  .error_type = tr_arena_copy(&arena, column(stmt, 4)),
                                  .error_message = tr_arena_copy(&arena, column(stmt, 5)),
                                  .record = tr_arena_copy(&arena, column(stmt, 6)),
                                  .event = tr_arena_copy(&arena, column(stmt, 7))};
        (void)sqlite3_reset(stmt);
        e = entry.event.ptr ? fn(ctx, &entry) : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    if (!e && rc != SQLITE_DONE)
        e = db_fail(q, err);
    (void)sqlite3_finalize(stmt);
    tr_arena_done(&arena);
    return e;
}

static int queue_remove(tr_failure_sink *base, tr_view id, tr_error *err)
{
    queue *q = (queue *)base;
    sqlite3_stmt *stmt;
    uint64_t number = 0;
    if (tr_view_to_u64(id, INT64_MAX, &number))
        return tr_fail(err, TR_ENOTFOUND, "%s has no entry %.*s", q->path, TR_FMT(id));
    if (sqlite3_prepare_v2(q->db, "DELETE FROM dead_letters WHERE id = ?1", -1, &stmt, NULL) != SQLITE_OK)
        return db_fail(q, err);
    (void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)number);
    int e = sqlite3_step(stmt) == SQLITE_DONE ? 0 : db_fail(q, err);
    (void)sqlite3_finalize(stmt);
    if (!e && sqlite3_changes(q->db) == 0)
        e = tr_fail(err, TR_ENOTFOUND, "%s has no entry %.*s", q->path, TR_FMT(id));
    return e;
}

static int queue_purge(tr_failure_sink *base, uint64_t *ret_count, tr_error *err)
{
    queue *q = (queue *)base;
    if (sqlite3_exec(q->db, "DELETE FROM dead_letters", NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(q, err);
    *ret_count = (uint64_t)sqlite3_changes64(q->db);
    return 0;
}

static void queue_free(tr_failure_sink *base)
{
    queue *q = (queue *)base;
    (void)sqlite3_close(q->db);
    tr_free(q->path);
    tr_free(q);
}

static int open_database(queue *q, bool create, tr_error *err)
{
    static const char schema[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                 "CREATE TABLE IF NOT EXISTS dead_letters (id INTEGER PRIMARY KEY "
                                 "AUTOINCREMENT, time TEXT NOT NULL, source TEXT NOT "
                                 "NULL, attempts INTEGER NOT NULL, error_type TEXT NOT NULL, error_message "
                                 "TEXT NOT NULL, record TEXT NOT NULL, event "
                                 "TEXT NOT NULL);";
    if (!create && access(q->path, F_OK) != 0)
        return tr_fail(err, TR_ENOTFOUND, "there is no queue %s", q->path);
    int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(q->path, &q->db, flags, NULL) != SQLITE_OK)
        return q->db ? db_fail(q, err) : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    (void)sqlite3_busy_timeout(q->db, BUSY_TIMEOUT_MS);
    return sqlite3_exec(q->db, schema, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(q, err);
}

int tr__failure_open_sqlite(const tr_failure_options *options, const char *name, tr_failure_sink **ret_sink,
                            tr_error *err)
{
    queue *q = tr_calloc(1, sizeof *q);
    if (!q || !(q->path = tr_strdup(name))) {
        tr_free(q);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    q->base = (tr_failure_sink){queue_put, queue_each, queue_remove, queue_purge, queue_free};
    int e = open_database(q, !options->existing, err);
    if (e)
        queue_free(&q->base);
    else
        *ret_sink = &q->base;
    return e;
}
