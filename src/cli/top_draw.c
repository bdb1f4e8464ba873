/* SPDX-License-Identifier: MIT */
#include "cli/top.h"

#include <tailrace/json.h>

#include <stdio.h>
#include <stdlib.h>

#define BOLD           "\033[1m"
#define REVERSE        "\033[7m"
#define RED            "\033[31m"
#define PLAIN          "\033[0m"
#define LINE_MAX_BYTES 1024
#define NUMBER_MAX     32
#define BEHIND_MS      60000 /* lag that is shown in red */

/* A frame in the making: lines, as far as there are rows for them. */
typedef struct frame {
    const tr_top_view *view;
    tr_buf *out;
    size_t lines;
} frame;

static bool is_full(const frame *f)
{
    return f->view->rows && f->lines >= f->view->rows;
}

/* Bytes of a text that take so many columns, control characters replaced; characters count as one column. */
static void put_clipped(tr_buf *out, const char *text, size_t columns)
{
    for (const char *c = text; *c; c++) {
        bool begins = ((uint8_t)*c & 0xc0) != 0x80;
        if (begins && columns-- == 0)
            return;
        tr_buf_putc(out, (uint8_t)*c < 0x20 || *c == 0x7f ? '?' : *c);
    }
}

static void line(frame *f, const char *style, const char *format, ...) TR_PRINTF(3, 4);
static void line(frame *f, const char *style, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list args;
    if (is_full(f))
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (style && f->view->ansi)
        tr_buf_put_str(f->out, style);
    put_clipped(f->out, text, f->view->columns ? f->view->columns : sizeof text);
    if (style && f->view->ansi)
        tr_buf_put_str(f->out, PLAIN);
    tr_buf_putc(f->out, '\n');
    f->lines++;
}

/* 1.2 s, 3:05 min, 4.5 h */
static const char *duration(int64_t ms, bool at_least, char *out)
{
    const char *more = at_least ? ">" : "";
    if (ms < 0)
        (void)snprintf(out, NUMBER_MAX, "-");
    else if (ms < 60000)
        (void)snprintf(out, NUMBER_MAX, "%s%.1f s", more, (double)ms / 1000);
    else if (ms < 3600000)
        (void)snprintf(out, NUMBER_MAX, "%s%d:%02d min", more, (int)(ms / 60000), (int)(ms / 1000 % 60));
    else
        (void)snprintf(out, NUMBER_MAX, "%s%.1f h", more, (double)ms / 3600000);
    return out;
}

static const char *bytes(double n, char *out)
{
    static const char *const units[] = {"B", "KB", "MB", "GB"};
    size_t unit = 0;
    for (; n >= 1000 && unit + 1 < TR_COUNT(units); unit++)
        n /= 1000;
    (void)snprintf(out, NUMBER_MAX, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
    return out;
}

static const char *state_of(const tr_top_shard *s)
{
    if (!s->there)
        return "gone";
    switch (s->phase) {
    case TR_SHARD_READING:
        return "open";
    case TR_SHARD_DRAINING:
    case TR_SHARD_FINISHED:
        return "closed";
    case TR_SHARD_WAITING:
        return "waiting";
    default:
        return "elsewhere";
    }
}

static int64_t age(int64_t time_ms)
{
    int64_t ms = time_ms ? tr_clock_wall_ms() - time_ms : -1;
    return time_ms && ms < 0 ? 0 : ms;
}

/* The end of a long number or id tells more than its beginning, which all have. */
static const char *tail_of(const char *text, size_t most, char *out, size_t size)
{
    size_t len = strlen(text);
    if (len <= most)
        (void)snprintf(out, size, "%s", text);
    else
        (void)snprintf(out, size, "\xe2\x80\xa6%s", text + len - most + 1);
    return out;
}

/* -------------------------------------------------------------------------------------------- a table */

typedef struct totals {
    size_t open, closed, leases, free_leases, workers, ended;
    uint64_t behind;
    int64_t worker_lag_ms;
    bool gap;
} totals;

/* Workers are those that hold a lease; shards are few enough to compare each with those before it. */
static bool is_first_of_owner(const tr_top_table *t, const tr_top_shard *s)
{
    const tr_top_shard *x = t->shards;
    while (x != s && !(x->leased && strcmp(x->owner, s->owner) == 0))
        x = x->hh.next;
    return x == s;
}

static totals add_up(const tr_top_table *t)
{
    totals n = {0};
    for (const tr_top_shard *s = t->shards; s; s = s->hh.next) {
        bool ended = strcmp(s->checkpoint, "SHARD_END") == 0;
        n.open += s->there && s->phase == TR_SHARD_READING;
        n.closed += s->there && s->phase != TR_SHARD_READING;
        if (!s->leased)
            continue;
        n.leases++;
        n.ended += ended;
        n.free_leases += !ended && !s->owner[0];
        n.workers += s->owner[0] && is_first_of_owner(t, s);
        n.behind += s->behind;
        n.gap |= s->worker_gap;
        if (s->worker_lag_ms > n.worker_lag_ms)
            n.worker_lag_ms = s->worker_lag_ms;
    }
    return n;
}

static void draw_shard(frame *f, const tr_top_shard *s)
{
    char lag[NUMBER_MAX], last[NUMBER_MAX], checkpoint[64], id[64];
    (void)tail_of(s->id, 30, id, sizeof id);
    if (!f->view->lease_table) {
        line(f, NULL, "%-30s  %-8s %11.1f %11llu %12s", id, state_of(s), s->rate,
             (unsigned long long)s->records, duration(age(s->newest_ms), false, last));
        return;
    }
    bool done = strcmp(s->checkpoint, "SHARD_END") == 0;
    line(f, s->leased && s->worker_lag_ms > BEHIND_MS ? RED : NULL,
         "%-30s  %-8s %11.1f %10s %9s%llu  %-14s  %s%s%s", id, state_of(s), s->rate,
         s->leased && !done ? duration(s->worker_lag_ms, s->worker_gap, lag) : "-", s->worker_gap ? ">" : "",
         (unsigned long long)s->behind,
         tail_of(s->leased ? s->checkpoint : "-", 14, checkpoint, sizeof checkpoint),
         s->owner[0]  ? s->owner
         : !s->leased ? "no lease"
         : done       ? "done"
                      : "free",
         s->handover_to[0] ? " -> " : "", s->handover_to);
}

static void draw_table(frame *f, const tr_top_table *t)
{
    char size[NUMBER_MAX], lag[NUMBER_MAX];
    totals n = add_up(t);
    line(f, BOLD, "%s: %zu open shards, %zu closed, %.1f records/s, %s/s, lag %s", t->name, n.open, n.closed,
         t->record_rate, bytes(t->byte_rate, size), duration(t->stats.lag_ms, false, lag));
    if (f->view->lease_table)
        line(f, NULL, "%s: %zu workers, %zu leases, %zu free, %zu done, %s%llu records behind, lag %s",
             f->view->lease_table, n.workers, n.leases, n.free_leases, n.ended, n.gap ? ">" : "",
             (unsigned long long)n.behind, duration(n.worker_lag_ms, n.gap, lag));
    if (t->trouble[0])
        line(f, RED, "%s", t->trouble);
    if (f->view->lease_table)
        line(f, REVERSE, "%-30s  %-8s %11s %10s %10s  %-14s  %s", "SHARD", "STATE", "RECORDS/S", "LAG",
             "BEHIND", "CHECKPOINT", "WORKER");
    else
        line(f, REVERSE, "%-30s  %-8s %11s %11s %12s", "SHARD", "STATE", "RECORDS/S", "RECORDS", "LAST");
    size_t count = HASH_COUNT(t->shards), shown = count;
    size_t room = f->view->rows > f->lines ? f->view->rows - f->lines : 0;
    if (f->view->rows && count > room)
        shown = room ? room - 1 : 0;
    const tr_top_shard *s = t->shards;
    for (size_t i = 0; i < shown; i++, s = s->hh.next)
        draw_shard(f, s);
    if (shown < count)
        line(f, NULL, "and %zu more", count - shown);
}

void tr_top_draw(const tr_top_table *tables, size_t count, const tr_top_view *view, tr_buf *out)
{
    char time[TR_TIME_TEXT_MAX];
    frame f = {.view = view, .out = out};
    tr_time_format(tr_clock_wall_ms(), false, time);
    line(&f, NULL, "tailrace top  %s  %s", view->endpoint, time);
    for (size_t i = 0; i < count; i++) {
        line(&f, NULL, "%s", "");
        draw_table(&f, &tables[i]);
    }
}

/* ----------------------------------------------------------------------------------------------- JSON */

static void put_rate(tr_json_writer *w, const char *name, double rate)
{
    tr_json_name(w, name);
    tr_json_sep(w);
    tr_buf_printf(w->out, "%.3f", rate);
}

static void put_ms(tr_json_writer *w, const char *name, int64_t ms)
{
    if (ms >= 0)
        tr_json_member_i64(w, name, ms);
}

static void write_lease(tr_json_writer *w, const tr_top_shard *s)
{
    tr_json_name(w, "lease");
    tr_json_begin_object(w);
    if (s->owner[0] && tr_utf8_valid(tr_view_str(s->owner)))
        tr_json_member_cstring(w, "owner", s->owner);
    if (tr_utf8_valid(tr_view_str(s->checkpoint)))
        tr_json_member_cstring(w, "checkpoint", s->checkpoint);
    tr_json_member_u64(w, "counter", s->counter);
    tr_json_member_u64(w, "behind", s->behind);
    tr_json_member_i64(w, "lag_ms", s->worker_lag_ms);
    if (s->worker_gap)
        tr_json_member_bool(w, "at_least", true);
    tr_json_end_object(w);
}

static void write_shard(tr_json_writer *w, const tr_top_shard *s)
{
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "shard", s->id);
    if (s->parent[0])
        tr_json_member_cstring(w, "parent", s->parent);
    tr_json_member_cstring(w, "state", state_of(s));
    tr_json_member_u64(w, "records", s->records);
    put_rate(w, "records_per_second", s->rate);
    put_ms(w, "lag_ms", s->lag_ms);
    put_ms(w, "last_record_ms", age(s->newest_ms));
    if (s->leased)
        write_lease(w, s);
    tr_json_end_object(w);
}

static void write_table(tr_json_writer *w, const tr_top_table *t, const tr_top_view *view)
{
    char time[TR_TIME_TEXT_MAX];
    totals n = add_up(t);
    tr_time_format(tr_clock_wall_ms(), true, time);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "time", time);
    tr_json_member_cstring(w, "table", t->name);
    tr_json_member_cstring(w, "stream_arn", t->stats.stream_arn);
    tr_json_member_u64(w, "records", t->stats.records);
    put_rate(w, "records_per_second", t->record_rate);
    put_rate(w, "bytes_per_second", t->byte_rate);
    put_ms(w, "lag_ms", t->stats.lag_ms);
    if (t->trouble[0] && tr_utf8_valid(tr_view_str(t->trouble)))
        tr_json_member_cstring(w, "trouble", t->trouble);
    if (view->lease_table) {
        tr_json_member_cstring(w, "lease_table", view->lease_table);
        tr_json_member_u64(w, "workers", n.workers);
        tr_json_member_u64(w, "leases", n.leases);
        tr_json_member_u64(w, "leases_free", n.free_leases);
        tr_json_member_u64(w, "behind", n.behind);
        tr_json_member_i64(w, "worker_lag_ms", n.worker_lag_ms);
    }
    tr_json_name(w, "shards");
    tr_json_begin_array(w);
    for (const tr_top_shard *s = t->shards; s; s = s->hh.next)
        write_shard(w, s);
    tr_json_end_array(w);
    tr_json_end_object(w);
}

void tr_top_json(const tr_top_table *tables, size_t count, const tr_top_view *view, tr_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        tr_json_writer w;
        tr_json_write_init(&w, out);
        write_table(&w, &tables[i], view);
        tr_buf_putc(out, '\n');
    }
}
