/* SPDX-License-Identifier: MIT */
/*
 * The file:
 *
 *   meta    (name, value)                      format, select, from, until, name, table, state (the
 * replica's), epoch, held seen    (key, first, last, at)             of the partition key, versions first …
 * last have come; at: the latest timestamp among them and those before inbox   (id, epoch, at, key, number,
 * flags, item)    to be taken in order of epoch, at, key, number
 *
 * Epoch 0 is the first scan: its events are sorted by at, which is an event's timestamp or that of a
 * predecessor with a later one, then by key and version. Epoch 1 is what the stream has brought since the
 * scan began, with at and key empty, numbered as it came. A repeated scan is epoch 2, and so on. While a scan
 * runs, its epoch and later ones are held back: what the stream brings may follow an event that is still to
 * be found.
 */
#include "eventstore/inbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define FORMAT_VERSION 1
#define ITEM_MAX       ((size_t)2 << 20)  /* of a packed item */
#define TAKE_BYTES     ((size_t)32 << 20) /* of a batch, beyond its first event */

enum { FIND, NEXT, ADD, EXTEND, SHORTEN, PUT, SAVE, LOAD, BEGIN, COMMIT, ROLLBACK, STATEMENTS };
enum { TAKE, DONE, TAKER_STATEMENTS };

static const char *const fill_sql[STATEMENTS] = {
    [FIND] = "SELECT first, last, at FROM seen WHERE key = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
    [NEXT] = "SELECT first, last FROM seen WHERE key = ?1 AND first = ?2 + 1",
    [ADD] = "INSERT INTO seen (key, first, last, at) VALUES (?1, ?2, ?3, ?4)",
    [EXTEND] = "UPDATE seen SET last = ?3, at = ?4 WHERE key = ?1 AND first = ?2",
    [SHORTEN] = "DELETE FROM seen WHERE key = ?1 AND first = ?2",
    [PUT] = "INSERT INTO inbox (epoch, at, key, number, flags, item) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [SAVE] = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
    [LOAD] = "SELECT value FROM meta WHERE name = ?1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK"};
static const char *const take_sql[TAKER_STATEMENTS] = {
    [TAKE] =
        "SELECT id, epoch, flags, item FROM inbox WHERE epoch < coalesce((SELECT CAST(value AS INTEGER) FROM "
        "meta WHERE name = 'held'), 9223372036854775807) ORDER BY epoch, at, key, number LIMIT ?1",
    [DONE] = "DELETE FROM inbox WHERE id = ?1"};

enum { OVERWRITTEN = 1 };

struct tr__inbox {
    tr__selection *select;
    tr_stream_store *lock; /* of the file; never used as a store */
    uv_mutex_t mutex;
    uv_cond_t changed;
    uint64_t commits; /* with the mutex */

    /* filling */
    tr__lite fill;
    sqlite3_stmt *f[STATEMENTS];
    int64_t epoch;  /* of the present or last scan; what the stream brings is epoch + 1 */
    int64_t number; /* of the last event from the stream */
    tr_buf at;

    /* taking */
    tr__lite take;
    sqlite3_stmt *t[TAKER_STATEMENTS];
    tr_arena arena;
    tr_subscribed *events;
    int64_t *ids;
    size_t count, capacity, seen_commits;
};

/* ------------------------------------------------------------------------------------------------ opening */

static int put_meta(tr__inbox *in, const char *name, tr_view value, tr_error *err)
{
    tr__lite_text(in->f[SAVE], 1, tr_view_str(name));
    tr__lite_text(in->f[SAVE], 2, value);
    return tr__lite_run(&in->fill, in->f[SAVE], err);
}

/* Appends the value; nothing if there is none. */
static int get_meta(tr__inbox *in, const char *name, tr_buf *ret, tr_error *err)
{
    int e;
    tr__lite_text(in->f[LOAD], 1, tr_view_str(name));
    if (tr__lite_row(&in->fill, in->f[LOAD], &e, err))
        tr_buf_put_view(ret, tr__lite_column(in->f[LOAD], 0));
    (void)sqlite3_reset(in->f[LOAD]);
    return e ? e : tr_buf_status(ret) ? tr_fail(err, tr_buf_status(ret), "reading the inbox") : 0;
}

static int get_number(tr__inbox *in, const char *name, int64_t *ret, tr_error *err)
{
    tr_buf text;
    uint64_t number = 0;
    tr_buf_init(&text, 64);
    int e = get_meta(in, name, &text, err);
    if (!e && text.len && tr_view_to_u64(tr_buf_view(&text), INT64_MAX, &number))
        e = tr_fail(err, TR_ECORRUPT, "%s is no inbox that can be read", in->fill.path);
    if (!e)
        *ret = (int64_t)number;
    tr_buf_done(&text);
    return e;
}

static int put_number(tr__inbox *in, const char *name, int64_t number, tr_error *err)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)number);
    return put_meta(in, name, tr_view_str(text), err);
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
        e = get_number(in, "format", &format, err);
    if (!e && format > FORMAT_VERSION)
        e = tr_fail(err, TR_EVERSION, "%s was written by a newer version", in->fill.path);
    if (!e)
        e = get_meta(in, "select", &theirs, err);
    if (!e && theirs.len == 0) {
        e = put_number(in, "format", FORMAT_VERSION, err);
        if (!e)
            e = put_meta(in, "select", tr_buf_view(&ours), err);
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
        int e = put_number(in, "from", from > 0 ? from : 0, err);
        if (!e)
            e = put_number(in, "until", select->until_ms, err);
        if (e)
            return e;
    }
    int e = get_number(in, "from", &from, err);
    if (!e)
        e = get_number(in, "until", &until, err);
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
        "CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, at TEXT NOT NULL, "
        "key BLOB NOT NULL, number INTEGER NOT NULL, flags INTEGER NOT NULL, item BLOB NOT NULL);"
        "CREATE INDEX IF NOT EXISTS inbox_order ON inbox (epoch, at, key, number);",
        err);
}

static int find_number(tr__inbox *in, tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int e = tr__lite_prepare(&in->fill, "SELECT coalesce(max(number), 0) FROM inbox WHERE epoch % 2 = 1",
                             &stmt, err);
    if (!e && tr__lite_row(&in->fill, stmt, &e, err))
        in->number = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
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
        e = get_number(in, "epoch", &in->epoch, err);
    if (!e)
        e = find_number(in, err);
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
    tr_arena_init(&in->arena, 2 * TAKE_BYTES);
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

/* ------------------------------------------------------------------------------------------------ filling */

int tr__inbox_begin(tr__inbox *in, tr_error *err)
{
    return tr__lite_run(&in->fill, in->f[BEGIN], err);
}

int tr__inbox_commit(tr__inbox *in, tr_error *err)
{
    int e = tr__lite_run(&in->fill, in->f[COMMIT], err);
    if (!e)
        tr__inbox_wake(in);
    return e;
}

void tr__inbox_rollback(tr__inbox *in)
{
    if (in->fill.db && !sqlite3_get_autocommit(in->fill.db))
        (void)tr__lite_run(&in->fill, in->f[ROLLBACK], NULL);
    (void)get_number(in, "epoch", &in->epoch, NULL);
}

int tr__inbox_save(tr__inbox *in, tr_view state, tr_error *err)
{
    return put_meta(in, "state", state, err);
}

int tr__inbox_load(tr__inbox *in, tr_buf *ret_state, tr_error *err)
{
    return get_meta(in, "state", ret_state, err);
}

int tr__inbox_scanning(tr__inbox *in, bool on, bool again, tr_error *err)
{
    int e = 0;
    if (on && again) {
        in->epoch += 2;
        e = put_number(in, "epoch", in->epoch, err);
    }
    return e ? e : put_number(in, "held", on ? in->epoch : INT64_MAX, err);
}

int tr__inbox_name(tr__inbox *in, char name[TR_UUID_LEN + 1], tr_error *err)
{
    tr_buf was;
    tr_buf_init(&was, TR_UUID_LEN);
    int e = get_meta(in, "name", &was, err);
    if (!e && was.len == 0)
        e = put_meta(in, "name", tr_view_str(name), err);
    else if (!e)
        (void)snprintf(name, TR_UUID_LEN + 1, "%.*s", TR_FMT(tr_buf_view(&was)));
    tr_buf_done(&was);
    return e;
}

int tr__inbox_table(tr__inbox *in, tr_view table_id, tr_error *err)
{
    tr_buf was;
    tr_buf_init(&was, 4096);
    int e = get_meta(in, "table", &was, err);
    if (!e && was.len == 0)
        e = put_meta(in, "table", table_id, err);
    else if (!e && !tr_view_eq(tr_buf_view(&was), table_id))
        e = tr_fail(err, TR_EINVAL,
                    "%s was deleted and made anew since %s was begun: remove that file to begin anew",
                    in->select->table, in->fill.path);
    tr_buf_done(&was);
    return e;
}

/* The timestamp in one form, so that texts compare as times. One that is none stands as it is. */
static void put_time(tr_buf *out, tr_view timestamp)
{
    char text[TR_TIME_TEXT_MAX];
    int64_t ms;
    if (tr_time_parse(timestamp, &ms) == 0) {
        tr_time_format(ms, true, text);
        tr_buf_put_str(out, text);
    } else {
        tr_buf_put_view(out, timestamp.len > 4096 ? tr_view_of(timestamp.ptr, 4096) : timestamp);
    }
}

/* Notes that a version has come, and *ret_new if it had not yet. in->at becomes the time it sorts by. */
static int note(tr__inbox *in, tr_view key, const tr_event *event, bool *ret_new, tr_error *err)
{
    int64_t version = (int64_t)event->version, first = -1, last = -1;
    sqlite3_stmt *find = in->f[FIND], *next = in->f[NEXT];
    tr_buf_reset(&in->at);
    put_time(&in->at, event->timestamp);
    int e;
    tr__lite_blob(find, 1, key);
    (void)sqlite3_bind_int64(find, 2, version);
    if (tr__lite_row(&in->fill, find, &e, err)) {
        first = sqlite3_column_int64(find, 0);
        last = sqlite3_column_int64(find, 1);
        tr_view at = tr__lite_column(find, 2);
        if (tr_view_cmp(at, tr_buf_view(&in->at)) > 0) {
            tr_buf_reset(&in->at);
            tr_buf_put_view(&in->at, at);
        }
    }
    (void)sqlite3_reset(find);
    *ret_new = version > last;
    if (e || !*ret_new)
        return e;
    int64_t end = version;
    tr__lite_blob(next, 1, key);
    (void)sqlite3_bind_int64(next, 2, version);
    if (tr__lite_row(&in->fill, next, &e, err))
        end = sqlite3_column_int64(next, 1);
    (void)sqlite3_reset(next);
    if (!e && end > version) {
        tr__lite_blob(in->f[SHORTEN], 1, key);
        (void)sqlite3_bind_int64(in->f[SHORTEN], 2, version + 1);
        e = tr__lite_run(&in->fill, in->f[SHORTEN], err);
    }
    if (e)
        return e;
    bool joins = last == version - 1 && first >= 0;
    sqlite3_stmt *write = in->f[joins ? EXTEND : ADD];
    tr__lite_blob(write, 1, key);
    (void)sqlite3_bind_int64(write, 2, joins ? first : version);
    (void)sqlite3_bind_int64(write, 3, end);
    tr__lite_text(write, 4, tr_buf_view(&in->at));
    return tr__lite_run(&in->fill, write, err);
}

static int put(tr__inbox *in, int64_t epoch, tr_view at, tr_view key, int64_t number, int flags, tr_item item,
               tr_error *err)
{
    sqlite3_stmt *stmt = in->f[PUT];
    (void)sqlite3_bind_int64(stmt, 1, epoch);
    tr__lite_text(stmt, 2, at);
    tr__lite_blob(stmt, 3, key);
    (void)sqlite3_bind_int64(stmt, 4, number);
    (void)sqlite3_bind_int(stmt, 5, flags);
    tr__lite_blob(stmt, 6, item);
    return tr__lite_run(&in->fill, stmt, err);
}

/* The partition key, as it is in the item. */
static tr_view key_of(tr_item item)
{
    tr_value v = {TR_NONE, {NULL, 0}};
    (void)tr_item_get(item, TR_VIEW(TR_EVENT_TABLE_PK), &v);
    return v.payload;
}

int tr__inbox_scanned(tr__inbox *in, tr_item item, tr_error *err)
{
    tr_view store, key = key_of(item);
    tr_event event;
    bool is_new;
    if (!tr__selection_take(in->select, item, &store, &event))
        return 0;
    int e = note(in, key, &event, &is_new, err);
    if (e || !is_new || !tr__selection_wants(in->select, &event))
        return e;
    return put(in, in->epoch, tr_buf_view(&in->at), key, (int64_t)event.version, 0, item, err);
}

/* A change from the stream. */
static int streamed(tr__inbox *in, const tr_sink_row *row, tr_error *err)
{
    tr_view store;
    tr_event event;
    bool is_new, overwritten = row->record->event == TR_MODIFY;
    if (row->item.len == 0 || !tr__selection_take(in->select, row->item, &store, &event))
        return 0;
    int e = note(in, key_of(row->item), &event, &is_new, err);
    /* from now on: what has come since the start is wanted whatever its timestamp says */
    tr__selection any_time = *in->select;
    any_time.from_ms = INT64_MIN;
    if (e || !(is_new || overwritten) || !tr__selection_wants(&any_time, &event))
        return e;
    return put(in, in->epoch + 1, (tr_view){NULL, 0}, (tr_view){NULL, 0}, ++in->number,
               overwritten ? OVERWRITTEN : 0, row->item, err);
}

/* ---------------------------------------------------------------------------------------------- as a sink */

typedef struct inbox_sink {
    tr_sink base;
    tr__inbox *inbox;
} inbox_sink;

static tr__inbox *of(tr_sink *sink)
{
    return ((inbox_sink *)sink)->inbox;
}

static int sink_open(tr_sink *sink, const tr_sink_table *table, tr_buf *ret_state, tr_error *err)
{
    if (!tr_view_is(table->hash_name, TR_EVENT_TABLE_PK) || !tr_view_is(table->range_name, TR_EVENT_TABLE_SK))
        return tr_fail(err, TR_EINVAL,
                       "%.*s is no table of events: its keys are not " TR_EVENT_TABLE_PK
                       " and " TR_EVENT_TABLE_SK,
                       TR_FMT(table->name));
    return tr__inbox_load(of(sink), ret_state, err);
}

static int sink_begin(tr_sink *sink, tr_error *err)
{
    return tr__inbox_begin(of(sink), err);
}

static int sink_apply(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    return streamed(of(sink), row, err);
}

static int sink_scanned(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    return tr__inbox_scanned(of(sink), row->item, err);
}

static int sink_scan_begin(tr_sink *sink, bool again, tr_error *err)
{
    return tr__inbox_scanning(of(sink), true, again, err);
}

static int sink_scan_end(tr_sink *sink, bool again, uint64_t *ret_deleted, tr_error *err)
{
    (void)again;
    *ret_deleted = 0;
    return tr__inbox_scanning(of(sink), false, false, err);
}

static int sink_save(tr_sink *sink, tr_view state, tr_error *err)
{
    return tr__inbox_save(of(sink), state, err);
}

static int sink_commit(tr_sink *sink, tr_error *err)
{
    return tr__inbox_commit(of(sink), err);
}

static void sink_rollback(tr_sink *sink)
{
    tr__inbox_rollback(of(sink));
}

static void sink_free(tr_sink *sink)
{
    tr_free(sink);
}

int tr__inbox_sink(tr__inbox *in, tr_sink **ret_sink)
{
    inbox_sink *s = tr_calloc(1, sizeof *s);
    if (!s)
        return TR_ENOMEM;
    s->inbox = in;
    s->base = (tr_sink){.transactions = true,
                        .open = sink_open,
                        .begin = sink_begin,
                        .apply = sink_apply,
                        .scanned = sink_scanned,
                        .scan_begin = sink_scan_begin,
                        .scan_end = sink_scan_end,
                        .save = sink_save,
                        .commit = sink_commit,
                        .rollback = sink_rollback,
                        .free = sink_free};
    *ret_sink = &s->base;
    return 0;
}

/* ------------------------------------------------------------------------------------------------- taking */

static int make_room(tr__inbox *in, size_t max, tr_error *err)
{
    if (in->capacity >= max)
        return 0;
    tr_subscribed *events = tr_realloc(in->events, max * sizeof *events);
    if (events)
        in->events = events;
    int64_t *ids = events ? tr_realloc(in->ids, max * sizeof *ids) : NULL;
    if (!ids)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    in->ids = ids;
    in->capacity = max;
    return 0;
}

/* The statement's row as an event. */
static int take_row(tr__inbox *in, tr_error *err)
{
    sqlite3_stmt *stmt = in->t[TAKE];
    tr_subscribed *s = &in->events[in->count];
    tr_item item = tr_arena_copy(&in->arena, tr__lite_column(stmt, 3));
    if (!item.ptr)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (tr_item_check(item) || !tr__selection_take(in->select, item, &s->store_id, &s->event))
        return tr_fail(err, TR_ECORRUPT, "%s holds what is no event", in->take.path);
    s->live = sqlite3_column_int64(stmt, 1) % 2 != 0;
    s->overwritten = (sqlite3_column_int(stmt, 2) & OVERWRITTEN) != 0;
    in->ids[in->count++] = sqlite3_column_int64(stmt, 0);
    return 0;
}

int tr__inbox_take(tr__inbox *in, size_t max, const tr_subscribed **ret_events, size_t *ret_count,
                   tr_error *err)
{
    int e = make_room(in, max, err);
    in->count = 0;
    tr_arena_reset(&in->arena);
    if (e)
        return e;
    (void)sqlite3_bind_int64(in->t[TAKE], 1, (int64_t)max);
    while (!e && in->arena.used < TAKE_BYTES && in->count < max &&
           tr__lite_row(&in->take, in->t[TAKE], &e, err))
        e = take_row(in, err);
    (void)sqlite3_reset(in->t[TAKE]);
    if (e)
        in->count = 0;
    *ret_events = in->events;
    *ret_count = in->count;
    return e;
}

int tr__inbox_done(tr__inbox *in, size_t count, tr_error *err)
{
    if (count > in->count)
        count = in->count;
    int e = count ? tr__lite_exec(&in->take, "BEGIN IMMEDIATE", err) : 0;
    for (size_t i = 0; !e && i < count; i++) {
        (void)sqlite3_bind_int64(in->t[DONE], 1, in->ids[i]);
        e = tr__lite_run(&in->take, in->t[DONE], err);
    }
    if (count && !e)
        e = tr__lite_exec(&in->take, "COMMIT", err);
    if (e && !sqlite3_get_autocommit(in->take.db))
        (void)tr__lite_exec(&in->take, "ROLLBACK", NULL);
    if (!e)
        in->count = 0;
    return e;
}

void tr__inbox_wake(tr__inbox *in)
{
    uv_mutex_lock(&in->mutex);
    in->commits++;
    uv_cond_broadcast(&in->changed);
    uv_mutex_unlock(&in->mutex);
}

void tr__inbox_wait(tr__inbox *in, int64_t timeout_ms)
{
    uv_mutex_lock(&in->mutex);
    if (in->commits == in->seen_commits && timeout_ms > 0)
        (void)uv_cond_timedwait(&in->changed, &in->mutex, (uint64_t)timeout_ms * 1000000);
    in->seen_commits = in->commits;
    uv_mutex_unlock(&in->mutex);
}
