/* SPDX-License-Identifier: MIT */
/* Archives: SQLite files of events. */
#include <tailrace/archive.h>
#include <tailrace/json.h>

#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#define TEXT_ARENA     ((size_t)16 << 20) /* of an event's members */
#define SCANNED_MAX    10000              /* rows that are held against a pattern in one call */
#define BUSY_PATIENCE  5000               /* ms, while somebody else writes */
#define CONDITIONS_MAX 512                /* bytes of a statement */

struct tr_archive_file {
    sqlite3 *db;
    sqlite3_stmt *insert;
    sqlite3_stmt *know_time, *know_all, *know; /* of tr_archive_file_knows; NULL until its first use */
    tr_match_ctx *match;                       /* made with the first pattern */
};

/* rowid is the id, also where a file has no such column */
static const char schema[] =
    "create table if not exists events(id integer primary key, createdAt int not null, log text not null, "
    "type text not null, event text not null);"
    "create index if not exists events_createdAt on events(createdAt);"
    "create index if not exists events_log on events(log);"
    "create index if not exists events_type on events(type);";

static int failed(const tr_archive_file *file, const char *what, tr_error *err)
{
    return tr_fail(err, TR_EIO, "archive: %s: %s", what,
                   file->db ? sqlite3_errmsg(file->db) : "out of memory");
}

static int set_up(tr_archive_file *file, const char *path, tr_archive_mode mode, tr_error *err)
{
    if (mode == TR_ARCHIVE_READ) {
        sqlite3_stmt *probe;
        if (sqlite3_prepare_v2(file->db, "select rowid, createdAt, log, type, event from events limit 0", -1,
                               &probe, NULL) != SQLITE_OK)
            return tr_fail(err, TR_EINVAL, "%s is no archive: %s", path, sqlite3_errmsg(file->db));
        (void)sqlite3_finalize(probe);
        return 0;
    }
    bool durable = strcmp(path, ":memory:") != 0;
    if ((durable && sqlite3_exec(file->db, "pragma journal_mode=wal; pragma synchronous=full", NULL, NULL,
                                 NULL) != SQLITE_OK) ||
        sqlite3_exec(file->db, schema, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(
            file->db, "insert or ignore into events(rowid, createdAt, log, type, event) values(?,?,?,?,?)",
            -1, &file->insert, NULL) != SQLITE_OK)
        return failed(file, path, err);
    return 0;
}

int tr_archive_file_open(const char *path, tr_archive_mode mode, tr_archive_file **ret_file, tr_error *err)
{
    if (mode == TR_ARCHIVE_READ && access(path, F_OK) != 0)
        return tr_fail(err, TR_ENOTFOUND, "there is no file %s", path);
    tr_archive_file *file = tr_calloc(1, sizeof *file);
    if (!file)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    int flags = mode == TR_ARCHIVE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    int e = sqlite3_open_v2(path, &file->db, flags, NULL) == SQLITE_OK ? 0 : failed(file, path, err);
    if (!e) {
        (void)sqlite3_busy_timeout(file->db, BUSY_PATIENCE);
        e = set_up(file, path, mode, err);
    }
    if (e)
        tr_archive_file_close(file);
    else
        *ret_file = file;
    return e;
}

void tr_archive_file_close(tr_archive_file *file)
{
    if (!file)
        return;
    (void)sqlite3_finalize(file->insert);
    (void)sqlite3_finalize(file->know_time);
    (void)sqlite3_finalize(file->know_all);
    (void)sqlite3_finalize(file->know);
    (void)sqlite3_close(file->db);
    tr_match_ctx_free(file->match);
    tr_free(file);
}

int tr_archive_file_last(tr_archive_file *file, int64_t *ret_id, tr_error *err)
{
    sqlite3_stmt *q;
    if (sqlite3_prepare_v2(file->db, "select max(rowid) from events", -1, &q, NULL) != SQLITE_OK)
        return failed(file, "reading", err);
    int e = sqlite3_step(q) == SQLITE_ROW ? 0 : failed(file, "reading", err);
    if (!e)
        *ret_id = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return e;
}

/* ------------------------------------------------------------------------------------------------- reading
 */

/*
 * "HEAD where …", with the filter's values bound. Times compare as text, whatever fraction and zone follow
 * the second: "2026-01-31T12:00:00" is before and "2026-01-31T12:00:00~" behind all of them.
 */
static int prepare(tr_archive_file *file, const char *head, const char *tail, const tr_archive_filter *f,
                   sqlite3_stmt **ret, tr_error *err)
{
    char sql[CONDITIONS_MAX], from[TR_TIME_TEXT_MAX], to[TR_TIME_TEXT_MAX];
    (void)snprintf(sql, sizeof sql, "%s where rowid > ?1%s%s%s%s %s", head,
                   f->from_ms ? " and createdAt >= ?2" : "", f->to_ms ? " and createdAt <= ?3" : "",
                   f->log.ptr ? " and log = ?4" : "", f->type.ptr ? " and type = ?5" : "", tail);
    if (sqlite3_prepare_v2(file->db, sql, -1, ret, NULL) != SQLITE_OK)
        return failed(file, "reading", err);
    (void)sqlite3_bind_int64(*ret, 1, f->after);
    if (f->from_ms) {
        tr_time_format(f->from_ms, false, from);
        (void)sqlite3_bind_text(*ret, 2, from, (int)strnlen(from, 19), SQLITE_TRANSIENT);
    }
    if (f->to_ms) {
        tr_time_format(f->to_ms, false, to);
        to[19] = '~'; /* in place of the Z */
        (void)sqlite3_bind_text(*ret, 3, to, 20, SQLITE_TRANSIENT);
    }
    if (f->log.ptr)
        (void)sqlite3_bind_text64(*ret, 4, f->log.ptr, f->log.len, SQLITE_TRANSIENT, SQLITE_UTF8);
    if (f->type.ptr)
        (void)sqlite3_bind_text64(*ret, 5, f->type.ptr, f->type.len, SQLITE_TRANSIENT, SQLITE_UTF8);
    return 0;
}

static tr_view column(sqlite3_stmt *q, int at)
{
    const void *text = sqlite3_column_text(q, at);
    return tr_view_of(text ? text : "", (size_t)sqlite3_column_bytes(q, at));
}

/* What no matcher can read does not match. */
static bool matches(tr_archive_file *file, const tr_archive_filter *f, tr_view event)
{
    bool match;
    if (!f->pattern)
        return true;
    if (!file->match && tr_match_ctx_new(NULL, &file->match))
        return false;
    return tr_pattern_match(f->pattern, file->match, event, &match, NULL) == 0 && match;
}

int tr_archive_file_read(tr_archive_file *file, const tr_archive_filter *filter, uint64_t limit,
                         tr_archive_row_fn *fn, void *ctx, int64_t *ret_next, tr_error *err)
{
    sqlite3_stmt *q;
    int e = prepare(file, "select rowid, createdAt, log, type, event from events", "order by rowid", filter,
                    &q, err);
    if (e)
        return e;
    int code = SQLITE_DONE;
    uint64_t given = 0, scanned = 0;
    int64_t last = filter->after;
    bool stopped = false;
    while (e == 0 && !stopped && (code = sqlite3_step(q)) == SQLITE_ROW) {
        const tr_archive_row row = {.id = sqlite3_column_int64(q, 0),
                                    .created_at = column(q, 1),
                                    .log = column(q, 2),
                                    .type = column(q, 3),
                                    .event = column(q, 4)};
        last = row.id;
        scanned++;
        if (matches(file, filter, row.event)) {
            given++;
            e = fn(ctx, &row);
        }
        stopped = (limit && given == limit) || (filter->pattern && ret_next && scanned == SCANNED_MAX);
    }
    if (e == 0 && code != SQLITE_DONE && code != SQLITE_ROW)
        e = failed(file, "reading", err);
    if (e == 0 && ret_next)
        *ret_next = stopped ? last : 0;
    sqlite3_finalize(q);
    return e;
}

int tr_archive_file_count(tr_archive_file *file, const tr_archive_filter *filter, int64_t *ret_events,
                          int64_t *ret_bytes, tr_error *err)
{
    sqlite3_stmt *q;
    int e =
        prepare(file, "select count(*), coalesce(sum(length(event)), 0) from events", "", filter, &q, err);
    if (e)
        return e;
    if (sqlite3_step(q) == SQLITE_ROW) {
        *ret_events = sqlite3_column_int64(q, 0);
        *ret_bytes = sqlite3_column_int64(q, 1);
    } else {
        e = failed(file, "counting", err);
    }
    sqlite3_finalize(q);
    return e;
}

/* ------------------------------------------------------------------------------------------------ changing
 */

static int execute(tr_archive_file *file, const char *sql, tr_error *err)
{
    return sqlite3_exec(file->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(file, sql, err);
}

int tr_archive_file_begin(tr_archive_file *file, tr_error *err)
{
    return execute(file, "begin immediate", err);
}

int tr_archive_file_commit(tr_archive_file *file, tr_error *err)
{
    int e = execute(file, "commit", err);
    if (e)
        tr_archive_file_rollback(file);
    return e;
}

void tr_archive_file_rollback(tr_archive_file *file)
{
    (void)sqlite3_exec(file->db, "rollback", NULL, NULL, NULL);
}

/* A member of a JSON object that is a string; empty with ptr NULL where there is none. */
static tr_view text_of(tr_view json, const char *name, tr_arena *arena)
{
    tr_view raw;
    tr_json_reader r;
    if (!json.len || tr_json_member(json, name, arena, &raw))
        return (tr_view){NULL, 0};
    tr_json_init(&r, raw, arena);
    return tr_json_next(&r) == TR_JSON_STRING ? r.text : (tr_view){NULL, 0};
}

static void bind(sqlite3_stmt *s, int at, tr_view text)
{
    (void)sqlite3_bind_text64(s, at, text.ptr ? text.ptr : "", text.len, SQLITE_STATIC, SQLITE_UTF8);
}

int tr_archive_file_put(tr_archive_file *file, int64_t id, tr_view event, tr_error *err)
{
    tr_arena arena;
    tr_view detail = {NULL, 0};
    sqlite3_stmt *s = file->insert;
    tr_arena_init(&arena, TEXT_ARENA);
    (void)tr_json_member(event, "detail", &arena, &detail);
    tr_view log = text_of(detail, "log", &arena), type = text_of(detail, "type", &arena);
    if (!log.ptr)
        log = text_of(event, "source", &arena);
    if (!type.ptr)
        type = text_of(event, "detail-type", &arena);
    (void)sqlite3_bind_int64(s, 1, id);
    bind(s, 2, text_of(event, "time", &arena));
    bind(s, 3, log);
    bind(s, 4, type);
    bind(s, 5, event);
    int e = sqlite3_step(s) == SQLITE_DONE ? 0 : failed(file, "writing", err);
    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
    tr_arena_done(&arena);
    return e;
}

/*
 * Which events are there by their own ids: the ids of a time are read once, when the first event of that time
 * is looked for. An index of them would cost every event that is archived.
 */
static int prepare_knowing(tr_archive_file *file, tr_error *err)
{
    static const char tables[] =
        "pragma temp_store=memory;"
        "create temp table times(time text primary key) without rowid;"
        "create temp table known(time text, id text, primary key(time, id)) without rowid;";
    bool made = file->know ||
                (sqlite3_exec(file->db, tables, NULL, NULL, NULL) == SQLITE_OK &&
                 sqlite3_prepare_v2(file->db, "insert or ignore into temp.times values(?1)", -1,
                                    &file->know_time, NULL) == SQLITE_OK &&
                 sqlite3_prepare_v2(file->db,
                                    "insert or ignore into temp.known select ?1, json_extract(event, '$.id') "
                                    "from events where createdAt = ?1 and json_valid(event)",
                                    -1, &file->know_all, NULL) == SQLITE_OK &&
                 sqlite3_prepare_v2(file->db, "insert or ignore into temp.known values(?1, ?2)", -1,
                                    &file->know, NULL) == SQLITE_OK);
    return made && sqlite3_exec(file->db, "delete from temp.times; delete from temp.known", NULL, NULL,
                                NULL) == SQLITE_OK
               ? 0
               : failed(file, "preparing", err);
}

int tr_archive_file_begin_import(tr_archive_file *file, tr_error *err)
{
    int e = prepare_knowing(file, err);
    return e ? e : tr_archive_file_begin(file, err);
}

/* Runs a statement that adds; *ret_added: whether there was something to add. */
static int add(tr_archive_file *file, sqlite3_stmt *s, tr_view time, tr_view id, bool *ret_added,
               tr_error *err)
{
    bind(s, 1, time);
    if (id.ptr)
        bind(s, 2, id);
    int e = sqlite3_step(s) == SQLITE_DONE ? 0 : failed(file, "looking for an event", err);
    *ret_added = e == 0 && sqlite3_changes(file->db) > 0;
    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
    return e;
}

int tr_archive_file_put_new(tr_archive_file *file, int64_t id, tr_view event, bool *ret_new, tr_error *err)
{
    static const tr_view none = {NULL, 0};
    tr_arena arena;
    bool added = true;
    int e = 0;
    tr_arena_init(&arena, TEXT_ARENA);
    tr_view time = text_of(event, "time", &arena), own = text_of(event, "id", &arena);
    if (own.ptr) {
        e = add(file, file->know_time, time, none, &added, err);
        if (!e && added)
            e = add(file, file->know_all, time, none, &added, err);
        if (!e)
            e = add(file, file->know, time, own, &added, err);
    }
    tr_arena_done(&arena);
    if (!e && added)
        e = tr_archive_file_put(file, id, event, err);
    if (!e)
        *ret_new = added;
    return e;
}

typedef struct pruning {
    tr_archive_file *file;
    sqlite3_stmt *remove;
    uint64_t count;
    tr_error *err;
} pruning;

static int prune_row(void *ctx, const tr_archive_row *row)
{
    pruning *p = ctx;
    (void)sqlite3_bind_int64(p->remove, 1, row->id);
    int e = sqlite3_step(p->remove) == SQLITE_DONE ? 0 : failed(p->file, "pruning", p->err);
    (void)sqlite3_reset(p->remove);
    p->count += e == 0;
    return e;
}

int tr_archive_file_prune(tr_archive_file *file, const tr_archive_filter *filter, uint64_t limit,
                          uint64_t *ret_count, tr_error *err)
{
    pruning p = {.file = file, .err = err};
    if (sqlite3_prepare_v2(file->db, "delete from events where rowid = ?1", -1, &p.remove, NULL) != SQLITE_OK)
        return failed(file, "pruning", err);
    int e = tr_archive_file_begin(file, err);
    if (!e) {
        e = tr_archive_file_read(file, filter, limit, prune_row, &p, NULL, err);
        if (e)
            tr_archive_file_rollback(file);
        else
            e = tr_archive_file_commit(file, err);
    }
    sqlite3_finalize(p.remove);
    if (!e)
        *ret_count = p.count;
    return e;
}
