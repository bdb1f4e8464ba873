/* SPDX-License-Identifier: MIT */
/* clang-format off */
/*
 * The file:
 *
 *   meta    (name, value)                               format, select, from, until, name, table, state (the
 *                                                       replica's), epoch, held
 *   seen    (key, first, last, at)                      of the partition key, versions first … last have come;
 *                                                       at: the latest timestamp among them and those before
 *   inbox   (id, epoch, at, key, number, flags, item)   to be taken in order of epoch, at, key, number
 *   met     (key, version)                              of the partition key, the first version that the stream
 *                                                       brought while a scan is under way
 *
 * Epoch 0 is the first scan: its events are sorted by at, which is an event's timestamp or that of a
 * predecessor with a later one, then by key and version. Epoch 1 is what the stream has brought since the
 * scan began, with at and key empty, numbered as it came. A repeated scan is epoch 2, and so on. While a scan
 * runs, its epoch and later ones are held back: what the stream brings may follow an event that is still to
 * be found. Where both are at one aggregate at the same time, the stream may bring a version before the scan
 * comes to its successors: these follow it in the stream's epoch, whoever brings them.
 *
 * By aggregate, a scan's events too have at and key empty and are numbered as they came, which within an
 * aggregate is by version; and only epochs later than the scan's are held back.
 */
/* clang-format on */
#include "eventstore/inbox_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define FORMAT_VERSION 1

static const char *const fill_sql[STATEMENTS] = {
    [FIND] = "SELECT first, last, at FROM seen WHERE key = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
    [NEXT] = "SELECT first, last FROM seen WHERE key = ?1 AND first = ?2 + 1",
    [ADD] = "INSERT INTO seen (key, first, last, at) VALUES (?1, ?2, ?3, ?4)",
    [EXTEND] = "UPDATE seen SET last = ?3, at = ?4 WHERE key = ?1 AND first = ?2",
    [SHORTEN] = "DELETE FROM seen WHERE key = ?1 AND first = ?2",
    [PUT] = "INSERT INTO inbox (epoch, at, key, number, flags, item) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [MEET] = ("INSERT INTO met (key, version) VALUES (?1, ?2) "
              "ON CONFLICT (key) DO UPDATE SET version = min(version, ?2)"),
    [MET] = "SELECT 1 FROM met WHERE key = ?1 AND version < ?2",
    [PART] = "DELETE FROM met",
    [LATER] = "SELECT 1 FROM seen WHERE key = ?1 AND last > ?2 LIMIT 1",
    [MOVE] = ("UPDATE inbox SET epoch = ?3 + 1, at = '', key = x'', number = ?4 + number - ?2 "
              "WHERE epoch = ?3 AND key = ?1 AND number > ?2"),
    [SAVE] = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
    [LOAD] = "SELECT value FROM meta WHERE name = ?1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK"};
static const char *const take_sql[TAKER_STATEMENTS] = {
    [TAKE] =
        "SELECT id, epoch, flags, item FROM inbox WHERE epoch < coalesce((SELECT CAST(value AS INTEGER) FROM "
        "meta WHERE name = 'held'), " TR__INBOX_NOT_HELD ") ORDER BY epoch, at, key, number LIMIT ?1",
    [DONE] = "DELETE FROM inbox WHERE id = ?1"};

/* ------------------------------------------------------------------------------------------------ opening */

int tr__inbox_put_meta(tr__inbox *in, const char *name, tr_view value, tr_error *err)
{
    tr__lite_text(in->f[SAVE], 1, tr_view_str(name));
    tr__lite_text(in->f[SAVE], 2, value);
    return tr__lite_run(&in->fill, in->f[SAVE], err);
}

int tr__inbox_get_meta(tr__inbox *in, const char *name, tr_buf *ret, tr_error *err)
{
    int e;
    tr__lite_text(in->f[LOAD], 1, tr_view_str(name));
    if (tr__lite_row(&in->fill, in->f[LOAD], &e, err))
        tr_buf_put_view(ret, tr__lite_column(in->f[LOAD], 0));
    (void)sqlite3_reset(in->f[LOAD]);
    return e ? e : tr_buf_status(ret) ? tr_fail(err, tr_buf_status(ret), "reading the inbox") : 0;
}

int tr__inbox_get_number(tr__inbox *in, const char *name, int64_t *ret, tr_error *err)
{
    tr_buf text;
    uint64_t number = 0;
    tr_buf_init(&text, 64);
    int e = tr__inbox_get_meta(in, name, &text, err);
    if (!e && text.len && tr_view_to_u64(tr_buf_view(&text), INT64_MAX, &number))
        e = tr_fail(err, TR_ECORRUPT, "%s is no inbox that can be read", in->fill.path);
    if (!e)
        *ret = (int64_t)number;
    tr_buf_done(&text);
    return e;
}

int tr__inbox_put_number(tr__inbox *in, const char *name, int64_t number, tr_error *err)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)number);
    return tr__inbox_put_meta(in, name, tr_view_str(text), err);
}

/* A new file notes what it is for; another must have been begun for the same. */
static int check_purpose(tr__inbox *in, bool *ret_fresh, tr_error *err)
{
    tr_buf ours, theirs;
    tr_json_writer w;
    int64_t format = 0;
    tr_buf_init(&ours, (size_t)4 << 20);
    tr_buf_init(&theirs, (size_t)4 << 20);
    tr_json_write_init(&w, &ours);
    tr__selection_write(in->select, &w);
    int e = tr_buf_status(&ours) ? tr_fail(err, tr_buf_status(&ours), "too much is selected") : 0;
    if (!e)
        e = tr__inbox_get_number(in, "format", &format, err);
    if (!e && format > FORMAT_VERSION)
        e = tr_fail(err, TR_EVERSION, "%s was written by a newer version", in->fill.path);
    if (!e)
        e = tr__inbox_get_meta(in, "select", &theirs, err);
    if (!e && theirs.len == 0) {
        e = tr__inbox_put_number(in, "format", FORMAT_VERSION, err);
        if (!e)
            e = tr__inbox_put_meta(in, "select", tr_buf_view(&ours), err);
    } else if (!e && !tr_view_eq(tr_buf_view(&ours), tr_buf_view(&theirs))) {
        e = tr_fail(err, TR_EINVAL, "%s was begun for other events (%.*s): use another file, or remove it",
                    in->fill.path, theirs.len > 600 ? 600 : (int)theirs.len, theirs.ptr);
    }
    *ret_fresh = theirs.len == 0;
    tr_buf_done(&ours);
    tr_buf_done(&theirs);
    return e;
}

/* The bounds of time that the file was begun with go on; "now" is when that was. */
static int find_bounds(tr__inbox *in, bool fresh, tr_error *err)
{
    tr__selection *select = in->select;
    int64_t from = 0, until = 0;
    if (fresh) {
        from = select->from_now ? tr_clock_wall_ms() : select->from_ms;
        int e = tr__inbox_put_number(in, "from", from > 0 ? from : 0, err);
        if (!e)
            e = tr__inbox_put_number(in, "until", select->until_ms, err);
        if (e)
            return e;
    }
    int e = tr__inbox_get_number(in, "from", &from, err);
    if (!e)
        e = tr__inbox_get_number(in, "until", &until, err);
    if (!e) {
        select->from_ms = from ? from : INT64_MIN;
        select->until_ms = until;
    }
    return e;
}

static int make_tables(tr__inbox *in, tr_error *err)
{
    return tr__lite_exec(
        &in->fill,
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS seen (key BLOB, first INTEGER, last INTEGER NOT NULL, at TEXT NOT NULL, "
        "PRIMARY KEY (key, first)) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS met (key BLOB PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, at TEXT NOT NULL, "
        "key BLOB NOT NULL, number INTEGER NOT NULL, flags INTEGER NOT NULL, item BLOB NOT NULL);"
        "CREATE INDEX IF NOT EXISTS inbox_order ON inbox (epoch, at, key, number);",
        err);
}

int tr__inbox_find_number(tr__inbox *in, tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int e = tr__lite_prepare(&in->fill,
                             in->select->by_aggregate
                                 ? "SELECT coalesce(max(number), 0) FROM inbox"
                                 : "SELECT coalesce(max(number), 0) FROM inbox WHERE epoch % 2 = 1",
                             &stmt, err);
    if (!e && tr__lite_row(&in->fill, stmt, &e, err))
        in->number = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return e;
}

int tr__inbox_find_scan(tr__inbox *in, tr_error *err)
{
    tr_buf held;
    tr_buf_init(&held, 64);
    int e = tr__inbox_get_number(in, "epoch", &in->epoch, err);
    if (!e)
        e = tr__inbox_get_meta(in, "held", &held, err);
    if (!e)
        in->scanning = held.len > 0 && !tr_view_is(tr_buf_view(&held), TR__INBOX_NOT_HELD);
    tr_buf_done(&held);
    return e;
}

/* Events are nobody else's: SQLite takes the file's rights over to those beside it. */
static int make_file(const char *path, tr_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return tr_fail(err, TR_EIO, "%s: %s", path, strerror(errno));
    (void)close(fd);
    return 0;
}

static int open_database(tr__inbox *in, const char *path, tr_error *err)
{
    bool fresh = false;
    int e = make_file(path, err);
    if (!e)
        e = tr__lite_open(&in->fill, path, true, err);
    if (!e)
        e = make_tables(in, err);
    for (int i = 0; !e && i < STATEMENTS; i++)
        e = tr__lite_prepare(&in->fill, fill_sql[i], &in->f[i], err);
    if (!e)
        e = tr__inbox_begin(in, err);
    if (!e)
        e = check_purpose(in, &fresh, err);
    if (!e)
        e = find_bounds(in, fresh, err);
    if (!e)
        e = tr__inbox_find_scan(in, err);
    if (!e)
        e = tr__inbox_find_number(in, err);
    if (!e)
        e = tr__inbox_commit(in, err);
    if (!e)
        e = tr__lite_open(&in->take, path, false, err);
    for (int i = 0; !e && i < TAKER_STATEMENTS; i++)
        e = tr__lite_prepare(&in->take, take_sql[i], &in->t[i], err);
    return e;
}

int tr__inbox_open(const char *path, tr__selection *select, tr__inbox **ret_inbox, tr_error *err)
{
    tr__inbox *in = tr_calloc(1, sizeof *in);
    if (!in)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    in->select = select;
    tr_buf_init(&in->at, TR_TIME_TEXT_MAX + 4096);
    tr_arena_init(&in->arena, 2 * TR__INBOX_BATCH_BYTES);
    if (uv_mutex_init(&in->mutex)) {
        tr_free(in);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    if (uv_cond_init(&in->changed)) {
        uv_mutex_destroy(&in->mutex);
        tr_free(in);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    /* the lock of a state file, and the directories to it, are what an inbox needs too */
    int e = tr_stream_store_file(path, &in->lock, err);
    if (!e)
        e = open_database(in, path, err);
    if (e)
        tr__inbox_close(in, false);
    else
        *ret_inbox = in;
    return e;
}

void tr__inbox_remove(const char *path)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char name[4096];
    for (size_t i = 0; i < TR_COUNT(endings); i++)
        if (snprintf(name, sizeof name, "%s%s", path, endings[i]) < (int)sizeof name)
            (void)unlink(name);
}

void tr__inbox_close(tr__inbox *in, bool remove)
{
    if (!in)
        return;
    char *path = remove && in->fill.path ? tr_strdup(in->fill.path) : NULL;
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(in->f[i]);
    for (int i = 0; i < TAKER_STATEMENTS; i++)
        (void)sqlite3_finalize(in->t[i]);
    tr__lite_close(&in->fill);
    tr__lite_close(&in->take);
    if (path)
        tr__inbox_remove(path);
    tr_stream_store_free(in->lock);
    tr_free(path);
    tr_buf_done(&in->at);
    tr_arena_done(&in->arena);
    tr_free(in->events);
    tr_free(in->ids);
    uv_cond_destroy(&in->changed);
    uv_mutex_destroy(&in->mutex);
    tr_free(in);
}

int tr__inbox_name(tr__inbox *in, char name[TR_UUID_LEN + 1], tr_error *err)
{
    tr_buf was;
    tr_buf_init(&was, TR_UUID_LEN);
    int e = tr__inbox_get_meta(in, "name", &was, err);
    if (!e && was.len == 0)
        e = tr__inbox_put_meta(in, "name", tr_view_str(name), err);
    else if (!e)
        (void)snprintf(name, TR_UUID_LEN + 1, "%.*s", TR_FMT(tr_buf_view(&was)));
    tr_buf_done(&was);
    return e;
}

int tr__inbox_table(tr__inbox *in, tr_view table_id, tr_error *err)
{
    tr_buf was;
    tr_buf_init(&was, 4096);
    int e = tr__inbox_get_meta(in, "table", &was, err);
    if (!e && was.len == 0)
        e = tr__inbox_put_meta(in, "table", table_id, err);
    else if (!e && !tr_view_eq(tr_buf_view(&was), table_id))
        e = tr_fail(err, TR_EINVAL,
                    "%s was deleted and made anew since %s was begun: remove that file to begin anew",
                    in->select->table, in->fill.path);
    tr_buf_done(&was);
    return e;
}
