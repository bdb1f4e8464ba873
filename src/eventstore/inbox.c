/* SPDX-License-Identifier: MIT */
/* What is read goes into the inbox, each version once, and is taken out in order. The file is drawn in
 * inbox_file.c. */
#include "eventstore/inbox_file.h"

enum { OVERWRITTEN = 1 };

static const tr_view none = {NULL, 0};

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
    (void)tr__inbox_find_scan(in, NULL);
}

int tr__inbox_save(tr__inbox *in, tr_view state, tr_error *err)
{
    return tr__inbox_put_meta(in, "state", state, err);
}

int tr__inbox_load(tr__inbox *in, tr_buf *ret_state, tr_error *err)
{
    return tr__inbox_get_meta(in, "state", ret_state, err);
}

int tr__inbox_scanning(tr__inbox *in, bool on, bool again, tr_error *err)
{
    int e = 0;
    if (on && again) {
        in->epoch += 2;
        e = tr__inbox_put_number(in, "epoch", in->epoch, err);
    }
    if (!e)
        e = on ? tr__inbox_put_number(in, "held", in->epoch + in->select->by_aggregate, err)
               : tr__inbox_put_meta(in, "held", TR_VIEW(TR__INBOX_NOT_HELD), err);
    if (!e)
        e = tr__lite_run(&in->fill, in->f[PART], err);
    if (!e)
        in->scanning = on;
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

/* What has come since the start is wanted whatever its timestamp says. */
static bool is_wanted(const tr__inbox *in, bool since_start, const tr_event *event)
{
    tr__selection any_time = *in->select;
    if (since_start)
        any_time.from_ms = INT64_MIN;
    return tr__selection_wants(&any_time, event);
}

/* Whether the statement finds something for this key and version. */
static int is_there(tr__inbox *in, int statement, tr_view key, uint64_t version, bool *ret, tr_error *err)
{
    int e;
    tr__lite_blob(in->f[statement], 1, key);
    (void)sqlite3_bind_int64(in->f[statement], 2, (int64_t)version);
    *ret = tr__lite_row(&in->fill, in->f[statement], &e, err);
    (void)sqlite3_reset(in->f[statement]);
    return e;
}

int tr__inbox_scanned(tr__inbox *in, tr_item item, tr_error *err)
{
    tr_view store, key = key_of(item);
    tr_event event;
    bool is_new, met = false;
    if (!tr__selection_take(in->select, item, &store, &event))
        return 0;
    int e = note(in, key, &event, &is_new, err);
    if (!e && is_new)
        e = is_there(in, MET, key, event.version, &met, err);
    if (e || !is_new || !is_wanted(in, met, &event))
        return e;
    if (met)
        return put(in, in->epoch + 1, none, none, ++in->number, 0, item, err);
    return in->select->by_aggregate
               ? put(in, in->epoch, none, none, ++in->number, 0, item, err)
               : put(in, in->epoch, tr_buf_view(&in->at), key, (int64_t)event.version, 0, item, err);
}

/* While a scan is under way: what it finds of this key from now on follows this version, and so does what it
 * has found already beyond it and was held back. */
static int meet(tr__inbox *in, tr_view key, uint64_t version, tr_error *err)
{
    bool later = false;
    sqlite3_stmt *write = in->f[MEET], *move = in->f[MOVE];
    tr__lite_blob(write, 1, key);
    (void)sqlite3_bind_int64(write, 2, (int64_t)version);
    int e = tr__lite_run(&in->fill, write, err);
    if (!e)
        e = is_there(in, LATER, key, version, &later, err);
    if (e || !later)
        return e;
    tr__lite_blob(move, 1, key);
    (void)sqlite3_bind_int64(move, 2, (int64_t)version);
    (void)sqlite3_bind_int64(move, 3, in->epoch);
    (void)sqlite3_bind_int64(move, 4, in->number);
    e = tr__lite_run(&in->fill, move, err);
    return e ? e : tr__inbox_find_number(in, err);
}

/* A change from the stream. */
static int streamed(tr__inbox *in, const tr_sink_row *row, tr_error *err)
{
    tr_view store;
    tr_event event;
    bool is_new, overwritten = row->record->event == TR_MODIFY;
    if (row->item.len == 0 || !tr__selection_take(in->select, row->item, &store, &event))
        return 0;
    tr_view key = key_of(row->item);
    int e = note(in, key, &event, &is_new, err);
    if (!e && (is_new || overwritten) && is_wanted(in, true, &event))
        e = put(in, in->epoch + 1, none, none, ++in->number, overwritten ? OVERWRITTEN : 0, row->item, err);
    return !e && is_new && in->scanning ? meet(in, key, event.version, err) : e;
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
    while (!e && in->arena.used < TR__INBOX_BATCH_BYTES && in->count < max &&
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
