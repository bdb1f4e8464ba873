/* SPDX-License-Identifier: MIT */
/*
 * Archives: an SQLite database each, with one table,
 *
 *   events(id integer primary key, createdAt int not null, log text not null, type text not null, event text
 * not null)
 *
 * createdAt holds the event's time as text, event the whole envelope; log and type are the detail's members
 * of these names where it has them, else source and detail-type. The id is the event's number on the bus, so
 * that an event whose delivery is repeated after a crash is there once.
 */
#include "bus/bus_private.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

#define BATCH_MS   50 /* events are put in at most that often, with one sync each time */
#define TRIM_MS    60000
#define PATH_MAX_  4096
#define TEXT_ARENA ((size_t)8 * 1024 * 1024)

static const char schema[] =
    "create table if not exists events(id integer primary key, createdAt int not null, log text not null, "
    "type text not null, event text not null);"
    "create index if not exists events_createdAt on events(createdAt);"
    "create index if not exists events_log on events(log);"
    "create index if not exists events_type on events(type);";

static int failed(sqlite3 *db, const char *what, tr_error *err)
{
    return tr_fail(err, TR_EIO, "archive: %s: %s", what, db ? sqlite3_errmsg(db) : "out of memory");
}

static int path_of(const tr_bus *b, const tr_res *res, char *out, tr_error *err)
{
    if (!b->dir) {
        memcpy(out, ":memory:", sizeof ":memory:");
        return 0;
    }
    int n = snprintf(out, PATH_MAX_, "%s/archive", b->dir);
    if (n > 0 && n < PATH_MAX_ && mkdir(out, 0700) != 0 && errno != EEXIST)
        return tr_fail(err, TR_EIO, "cannot make the directory %s: %s", out, strerror(errno));
    n = snprintf(out, PATH_MAX_, "%s/archive/%.*s.sqlite", b->dir, TR_FMT(res->name));
    return n > 0 && n < PATH_MAX_ ? 0 : tr_fail(err, TR_ELIMIT, "the path of the archive is too long");
}

static int64_t last_id(sqlite3 *db)
{
    sqlite3_stmt *q;
    int64_t id = 0;
    if (sqlite3_prepare_v2(db, "select max(id) from events", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW)
        id = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return id;
}

int tr__archive_open(tr_bus *b, tr_res *res, tr_archive *archive, tr_error *err)
{
    char path[PATH_MAX_];
    sqlite3 *db = NULL;
    sqlite3_stmt *insert;
    int e = path_of(b, res, path, err);
    if (e)
        return e;
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        (b->dir && sqlite3_exec(db, "pragma journal_mode=wal; pragma synchronous=full", NULL, NULL, NULL) !=
                       SQLITE_OK) ||
        sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db,
                           "insert or ignore into events(id, createdAt, log, type, event) values(?,?,?,?,?)",
                           -1, &insert, NULL) != SQLITE_OK) {
        e = failed(db, path, err);
        (void)sqlite3_close(db);
        return e;
    }
    (void)sqlite3_busy_timeout(db, 1000);
    archive->db = db;
    archive->insert = insert;
    int64_t last = last_id(db); /* a file that was there before, or came from elsewhere */
    if (last > 0)
        tr__bus_number_above(b, (uint64_t)last);
    return 0;
}

void tr__archive_close(tr_archive *archive)
{
    if (!archive->db)
        return;
    (void)sqlite3_finalize(archive->insert);
    (void)sqlite3_close(archive->db);
    archive->db = archive->insert = NULL;
}

void tr__archive_drop(tr_bus *b, tr_res *res)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char path[PATH_MAX_], name[PATH_MAX_ + 8];
    tr_error err;
    tr__archive_close(res->state);
    if (!b->dir || path_of(b, res, path, &err))
        return;
    for (size_t i = 0; i < TR_COUNT(endings); i++) {
        (void)snprintf(name, sizeof name, "%s%s", path, endings[i]);
        (void)remove(name);
    }
}

/* ------------------------------------------------------------------------------------------------- taking in
 */

static void bind(sqlite3_stmt *s, int at, tr_view text)
{
    (void)sqlite3_bind_text64(s, at, text.ptr ? text.ptr : "", text.len, SQLITE_STATIC, SQLITE_UTF8);
}

static int insert_event(tr_archive *archive, uint64_t number, tr_view event)
{
    tr_arena arena;
    sqlite3_stmt *s = archive->insert;
    tr_arena_init(&arena, TEXT_ARENA);
    tr_view detail = tr_doc_raw(event, "detail");
    tr_view log = tr_doc_text(detail, "log", &arena), type = tr_doc_text(detail, "type", &arena);
    if (!log.ptr)
        log = tr_doc_text(event, "source", &arena);
    if (!type.ptr)
        type = tr_doc_text(event, "detail-type", &arena);
    (void)sqlite3_bind_int64(s, 1, (int64_t)number);
    bind(s, 2, tr_doc_text(event, "time", &arena));
    bind(s, 3, log);
    bind(s, 4, type);
    bind(s, 5, event);
    int code = sqlite3_step(s);
    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
    tr_arena_done(&arena);
    return code == SQLITE_DONE ? 0 : TR_EIO;
}

static int insert_ready(tr_bus *b, tr_archive *archive, const tr_target *t, uint64_t synced)
{
    tr_buf loaded;
    tr_view text;
    int e = sqlite3_exec(archive->db, "begin immediate", NULL, NULL, NULL) == SQLITE_OK ? 0 : TR_EIO;
    tr_buf_init(&loaded, TR__BUS_TEXT_MAX);
    for (const tr_delivery *d = t->first; e == 0 && d && d->event->ticket <= synced; d = d->next) {
        e = tr__event_text(b, d->event, &loaded, &text);
        if (e == 0)
            e = insert_event(archive, d->event->number, text);
    }
    tr_buf_done(&loaded);
    if (e == 0 && sqlite3_exec(archive->db, "commit", NULL, NULL, NULL) != SQLITE_OK)
        e = TR_EIO;
    if (e)
        (void)sqlite3_exec(archive->db, "rollback", NULL, NULL, NULL);
    return e;
}

static void take(tr_bus *b, tr_archive *archive, tr_target *t, uint64_t synced)
{
    static const tr_outcome done = {.done = true}, again = {.retry = true,
                                                            .code = "SDK_CLIENT_ERROR",
                                                            .message = "The archive cannot be written."};
    if (!t->first || t->first->event->ticket > synced)
        return;
    int e = archive && archive->db ? insert_ready(b, archive, t, synced) : 0;
    if (e)
        tr_log(&b->options.logger, TR_LOG_ERROR, "archive %s: %s", t->owner, sqlite3_errmsg(archive->db));
    while (t->first && t->first->event->ticket <= synced) {
        tr_delivery *d = t->first;
        t->first = d->next;
        if (!t->first)
            t->last = NULL;
        t->active++;
        tr__bus_deliver_finish(b, d, e ? &again : &done);
    }
}

void tr__archive_take(tr_bus *b, tr_target *t, uint64_t synced)
{
    int64_t now = tr_engine_now_ms(b->engine);
    if (b->dir && now < b->archive_due_ms && b->archive_due_ms - now <= BATCH_MS)
        return; /* together with what comes meanwhile */
    b->archive_due_ms = now + BATCH_MS;
    tr_res *res = tr_bus_find(b, TR_RES_ARCHIVE, tr_view_str(t->owner));
    take(b, res ? res->state : NULL, t, synced);
}

/* ----------------------------------------------------------------------------------------------- reading */

/* What is durable and on its way is put in first. */
static void settle(tr_bus *b, tr_archive *archive)
{
    take(b, archive, archive->target, tr_engine_synced(b->engine));
}

int tr_archive_count(tr_bus *b, tr_res *res, int64_t *ret_events, int64_t *ret_bytes, tr_error *err)
{
    tr_archive *archive = res->state;
    sqlite3_stmt *q;
    settle(b, archive);
    if (sqlite3_prepare_v2(archive->db, "select count(*), coalesce(sum(length(event)), 0) from events", -1,
                           &q, NULL) != SQLITE_OK ||
        sqlite3_step(q) != SQLITE_ROW) {
        int e = failed(archive->db, "counting", err);
        sqlite3_finalize(q);
        return e;
    }
    *ret_events = sqlite3_column_int64(q, 0);
    *ret_bytes = sqlite3_column_int64(q, 1);
    sqlite3_finalize(q);
    return 0;
}

static tr_view column(sqlite3_stmt *q, int at)
{
    const void *text = sqlite3_column_text(q, at);
    return tr_view_of(text, (size_t)sqlite3_column_bytes(q, at));
}

/* Times compare as text up to the second, whatever fraction follows. */
static const char page[] =
    "select id, createdAt, log, type, event from events where id > ?1 and "
    "substr(createdAt, 1, 19) >= ?2 and substr(createdAt, 1, 19) <= ?3 order by id limit ?4";

int tr_archive_read(tr_bus *b, tr_res *res, const tr_archive_query *query, tr_archive_fn *fn, void *ctx,
                    tr_error *err)
{
    tr_archive *archive = res->state;
    sqlite3_stmt *q;
    char from[TR_TIME_TEXT_MAX] = "", to[TR_TIME_TEXT_MAX] = "~";
    settle(b, archive);
    if (query->from_ms)
        tr_time_format(query->from_ms, false, from);
    if (query->to_ms)
        tr_time_format(query->to_ms, false, to);
    if (sqlite3_prepare_v2(archive->db, page, -1, &q, NULL) != SQLITE_OK)
        return failed(archive->db, "reading", err);
    (void)sqlite3_bind_int64(q, 1, query->after);
    (void)sqlite3_bind_text(q, 2, from, (int)strnlen(from, 19), SQLITE_STATIC);
    (void)sqlite3_bind_text(q, 3, to, (int)strnlen(to, 19), SQLITE_STATIC);
    (void)sqlite3_bind_int64(q, 4, query->limit);
    int code, e = 0;
    while (e == 0 && (code = sqlite3_step(q)) == SQLITE_ROW) {
        const tr_archive_event event = {.id = sqlite3_column_int64(q, 0),
                                        .created_at = column(q, 1),
                                        .log = column(q, 2),
                                        .type = column(q, 3),
                                        .event = column(q, 4)};
        e = fn(ctx, &event);
    }
    if (e == 0 && code != SQLITE_DONE)
        e = failed(archive->db, "reading", err);
    sqlite3_finalize(q);
    return e;
}

/* ------------------------------------------------------------------------------------------------- retention
 */

static void trim(tr_bus *b, tr_res *res, int64_t now)
{
    tr_archive *archive = res->state;
    int64_t days = tr_doc_int(res->doc, "RetentionDays", 0);
    char horizon[TR_TIME_TEXT_MAX];
    sqlite3_stmt *q;
    (void)b;
    archive->next_trim_ms = now + TRIM_MS;
    if (days <= 0 || days > 40000)
        return;
    tr_time_format(now - days * 86400000, false, horizon);
    if (sqlite3_prepare_v2(archive->db, "delete from events where createdAt < ?1", -1, &q, NULL) != SQLITE_OK)
        return;
    (void)sqlite3_bind_text(q, 1, horizon, -1, SQLITE_STATIC);
    (void)sqlite3_step(q);
    sqlite3_finalize(q);
}

void tr__archives_trim(tr_bus *b, int64_t now)
{
    for (size_t i = 0; i < b->res[TR_RES_ARCHIVE].count; i++) {
        tr_archive *archive = b->res[TR_RES_ARCHIVE].items[i]->state;
        if (archive->db && archive->next_trim_ms <= now)
            trim(b, b->res[TR_RES_ARCHIVE].items[i], now);
    }
}
