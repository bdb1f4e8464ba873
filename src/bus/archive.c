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
#include <stdio.h>
#include <sys/stat.h>

#define BATCH_MS  50 /* events are put in at most that often, with one sync each time */
#define TRIM_MS   60000
#define PATH_MAX_ 4096
#define TRIM_ROWS 10000

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

int tr__archive_open(tr_bus *b, tr_res *res, tr_archive *archive, tr_error *err)
{
    char path[PATH_MAX_];
    int64_t last;
    int e = path_of(b, res, path, err);
    if (!e)
        e = tr_archive_file_open(path, TR_ARCHIVE_WRITE, &archive->file, err);
    if (!e)
        e = tr_archive_file_last(archive->file, &last, err);
    if (!e && last > 0) /* a file that was there before, or came from elsewhere */
        tr__bus_number_above(b, (uint64_t)last);
    return e;
}

void tr__archive_close(tr_archive *archive)
{
    tr_archive_file_close(archive->file);
    archive->file = NULL;
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

static int insert_ready(tr_bus *b, tr_archive *archive, const tr_target *t, uint64_t synced, tr_error *err)
{
    tr_buf loaded;
    tr_view text;
    int e = tr_archive_file_begin(archive->file, err);
    if (e)
        return e;
    tr_buf_init(&loaded, TR__BUS_TEXT_MAX);
    for (const tr_delivery *d = t->first; e == 0 && d && d->event->ticket <= synced; d = d->next) {
        e = tr__event_text(b, d->event, &loaded, &text);
        if (e)
            (void)tr_fail(err, e, "reading an event: %s", tr_strerror(e));
        else
            e = tr_archive_file_put(archive->file, (int64_t)d->event->number, text, err);
    }
    tr_buf_done(&loaded);
    if (e)
        tr_archive_file_rollback(archive->file);
    return e ? e : tr_archive_file_commit(archive->file, err);
}

static void take(tr_bus *b, tr_archive *archive, tr_target *t, uint64_t synced)
{
    static const tr_outcome done = {.done = true}, again = {.retry = true,
                                                            .code = "SDK_CLIENT_ERROR",
                                                            .message = "The archive cannot be written."};
    if (!t->first || t->first->event->ticket > synced)
        return;
    tr_error err;
    int e = archive && archive->file ? insert_ready(b, archive, t, synced, &err) : 0;
    if (e)
        tr_log(&b->options.logger, TR_LOG_ERROR, "%s: %s", t->owner, err.message);
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

int tr_archive_count(tr_bus *b, tr_res *res, const tr_archive_filter *filter, int64_t *ret_events,
                     int64_t *ret_bytes, tr_error *err)
{
    tr_archive *archive = res->state;
    settle(b, archive);
    return tr_archive_file_count(archive->file, filter, ret_events, ret_bytes, err);
}

int tr_archive_read(tr_bus *b, tr_res *res, const tr_archive_filter *filter, unsigned limit,
                    tr_archive_row_fn *fn, void *ctx, int64_t *ret_next, tr_error *err)
{
    tr_archive *archive = res->state;
    settle(b, archive);
    return tr_archive_file_read(archive->file, filter, limit, fn, ctx, ret_next, err);
}

/* ---------------------------------------------------------------------------------------------- importing */

static int import_one(tr_bus *b, tr_archive *archive, tr_view event, tr_archive_imported *counts,
                      tr_error *err)
{
    bool match = false, is_new = false;
    int e = tr_pattern_match(archive->pattern, b->match, event, &match, err);
    if (e || !match)
        return e;
    e = tr_archive_file_put_new(archive->file, (int64_t)tr__bus_number(b), event, &is_new, err);
    counts->taken += e == 0 && is_new;
    counts->known += e == 0 && !is_new;
    return e;
}

int tr_archive_import(tr_bus *b, tr_res *res, const tr_view *events, size_t count,
                      tr_archive_imported *ret_counts, tr_error *err)
{
    tr_archive *archive = res->state;
    tr_archive_imported counts = {0, 0};
    settle(b, archive);
    int e = tr_archive_file_begin_import(archive->file, err);
    if (e)
        return e;
    for (size_t i = 0; e == 0 && i < count; i++)
        e = import_one(b, archive, events[i], &counts, err);
    if (e)
        tr_archive_file_rollback(archive->file);
    else
        e = tr_archive_file_commit(archive->file, err);
    if (!e)
        *ret_counts = counts;
    return e;
}

/* ------------------------------------------------------------------------------------------------ retention
 */

int tr_archive_prune(tr_bus *b, tr_res *res, const tr_archive_filter *filter, unsigned limit,
                     uint64_t *ret_count, tr_error *err)
{
    tr_archive *archive = res->state;
    settle(b, archive);
    return tr_archive_file_prune(archive->file, filter, limit, ret_count, err);
}

int64_t tr_archive_horizon(tr_bus *b, const tr_res *res)
{
    int64_t days = tr_doc_int(res->doc, "RetentionDays", 0);
    return days <= 0 || days > 40000 ? 0 : tr_engine_now_ms(b->engine) - days * 86400000;
}

static void trim(tr_bus *b, tr_res *res, int64_t now)
{
    tr_archive *archive = res->state;
    const tr_archive_filter filter = {.to_ms = tr_archive_horizon(b, res)};
    uint64_t count = 0;
    tr_error err;
    archive->next_trim_ms = now + TRIM_MS;
    if (!filter.to_ms)
        return;
    if (tr_archive_file_prune(archive->file, &filter, TRIM_ROWS, &count, &err))
        tr_log(&b->options.logger, TR_LOG_ERROR, "%.*s: %s", TR_FMT(res->name), err.message);
    if (count == TRIM_ROWS) /* more of it soon, so that nobody waits for all of it */
        archive->next_trim_ms = now + BATCH_MS;
}

void tr__archives_trim(tr_bus *b, int64_t now)
{
    for (size_t i = 0; i < b->res[TR_RES_ARCHIVE].count; i++) {
        tr_archive *archive = b->res[TR_RES_ARCHIVE].items[i]->state;
        if (archive->file && archive->next_trim_ms <= now)
            trim(b, b->res[TR_RES_ARCHIVE].items[i], now);
    }
}
