/* SPDX-License-Identifier: MIT */
#include "cli/follow.h"
#include "cli/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { OPT_FROM = 0x100, OPT_FORMAT, OPT_ONCE, OPT_STATE, OPT_FILTER, OPT_CHANGES, OPT_ITERATORS };

static const tr_cli_option options[] = {
    {"from", OPT_FROM, "WHERE",
     "where to begin: latest, trim-horizon, a sequence number (21 or\nmore digits), a time "
     "(2026-01-31T12:00:00Z) or "
     "-15m; without,\nwhere the last run ended, at first latest"},
    {"format", OPT_FORMAT, "json|pretty|raw",
     "json (the default): a plain line per change; raw: the\nservice's records"},
    {"once", OPT_ONCE, NULL, "end when everything there is was printed"},
    {"state", OPT_STATE, "FILE", "where the position is kept; else below $XDG_STATE_HOME/tailrace"},
    {"iterators", OPT_ITERATORS, "FILE",
     "with --once: at the end, write the state of the npm package\ndynamodb-stream there, for going on with "
     "it at once"},
    {"filter", OPT_FILTER, "PATTERN",
     "an event pattern that changes must match; up to 5, any of which\nwill do"},
    {"changes", OPT_CHANGES, NULL, "json: add which paths changed, from what to what"},
    TR_CLI_IDLE_OPTION,
    TR_CLI_FLEET_OPTIONS,
    TR_CLI_METRICS_OPTION,
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef enum format { FORMAT_JSON, FORMAT_PRETTY, FORMAT_RAW } format;

typedef struct tail {
    const char *table, *from, *state, *iterators, *metrics;
    format format;
    bool once, color, changes;
    tr_cli_filters filters;
    tr_cli_fleet fleet;
    int64_t idle_max_ms;
    tr_cli_where where;
    tr_cli_place place;
    tr_stream_start start; /* what `from` says */
    tr_stream *stream;
    tr_buf out;
    tr_cli_source source; /* at the start */
} tail;

/* ------------------------------------------------------------------------------------------- printing */

static void paint(tail *t, const char *code)
{
    if (t->color)
        tr_buf_put_str(&t->out, code);
}

static bool print_change(void *ctx, const tr_change *change)
{
    tail *t = ctx;
    tr_json_writer w;
    tr_buf_printf(&t->out, "    %.*s: ", TR_FMT(change->path));
    const tr_value sides[] = {change->old_value, change->new_value};
    for (int i = 0; i < 2; i++) {
        paint(t, i ? "\033[32m" : "\033[31m");
        if (sides[i].type == TR_NONE) {
            tr_buf_put_str(&t->out, "(none)");
        } else {
            tr_json_write_init(&w, &t->out);
            tr_value_write_plain(&w, sides[i]);
        }
        paint(t, "\033[0m");
        tr_buf_put_str(&t->out, i ? "\n" : " -> ");
    }
    return true;
}

/* 2026-01-31T12:00:00Z MODIFY {"id":"1"}, then the item or the paths that changed. */
static void print_pretty(tail *t, const tr_record *record)
{
    static const char *const colors[] = {
        [TR_INSERT] = "\033[32m", [TR_MODIFY] = "\033[33m", [TR_REMOVE] = "\033[31m"};
    char time[TR_TIME_TEXT_MAX];
    tr_json_writer w;
    tr_time_format(record->time_ms, false, time);
    tr_buf_printf(&t->out, "%s ", time);
    paint(t, colors[record->event]);
    tr_buf_printf(&t->out, "%s%s", tr_record_event_name(record->event),
                  record->expired ? " (expired) " : " ");
    paint(t, "\033[0m");
    tr_json_write_init(&w, &t->out);
    tr_item_write_plain(&w, record->keys);
    tr_buf_putc(&t->out, '\n');
    if (record->has_new && record->has_old) {
        (void)tr_item_diff(record->old_image, record->new_image, print_change, t);
    } else if (record->has_new || record->has_old) {
        tr_buf_put_str(&t->out, "    ");
        tr_json_write_init(&w, &t->out);
        tr_item_write_plain(&w, record->has_new ? record->new_image : record->old_image);
        tr_buf_putc(&t->out, '\n');
    }
}

/* A further member of the object that was just written. */
static void add_changes(tail *t, const tr_record *record)
{
    tr_json_writer w;
    t->out.len--; /* the brace */
    tr_buf_put_str(&t->out, ",\"changes\":");
    tr_json_write_init(&w, &t->out);
    (void)tr_record_write_diff(&w, record);
    tr_buf_putc(&t->out, '}');
}

static void print_record(tail *t, const tr_record *record)
{
    tr_json_writer w;
    tr_json_write_init(&w, &t->out);
    switch (t->format) {
    case FORMAT_JSON:
        tr_record_write_plain(&w, record);
        if (t->changes)
            add_changes(t, record);
        tr_buf_putc(&t->out, '\n');
        break;
    case FORMAT_RAW:
        tr_record_write(&w, record);
        tr_buf_putc(&t->out, '\n');
        break;
    case FORMAT_PRETTY:
        print_pretty(t, record);
    }
}

static int write_out(tail *t, tr_error *err)
{
    int e = tr_buf_status(&t->out);
    if (e)
        return tr_fail(err, e, "a record is too large to print: %s", tr_strerror(e));
    e = tr_cli_print(tr_buf_view(&t->out), err);
    tr_buf_reset(&t->out);
    return e;
}

/* ---------------------------------------------------------------------------------------------- loop */

static void stop(void *ctx)
{
    tail *t = ctx;
    tr_stream_stop(t->stream);
}

/* Whether every shard of the newest stream was read to its tip since `began`; an older stream comes first. */
static bool is_at_end(tail *t, int64_t began)
{
    tr_stream_stats stats;
    tr_stream_get_stats(t->stream, &stats);
    return stats.settled_ms >= began && strcmp(stats.stream_arn, t->source.stream_arn) == 0;
}

static int follow(tail *t, tr_error *err)
{
    tr_stream_batch batch = {0};
    int64_t began = tr_clock_mono_ms(), progressed = began;
    int e = 0, got;
    bool done = false,
         at_end = t->start.at != TR_START_AT; /* looked at for --once, and for a number's sake */
    while (!e && !done && (got = tr_stream_next_batch(t->stream, 1000, 200, 0, &batch)) != TR_ECLOSED) {
        if (got && got != TR_ETIMEOUT) {
            e = tr_fail(err, got, "reading the stream: %s", tr_strerror(got));
            break;
        }
        for (size_t i = 0; i < batch.count; i++) {
            const tr_stream_event *event = batch.events[i];
            if (event->kind == TR_STREAM_RECORD)
                print_record(t, event->record);
            else
                tr_cli_tell_event(t->place.client, t->table, event);
            if (event->kind != TR_STREAM_TROUBLE)
                progressed = tr_clock_mono_ms();
        }
        if (!(e = write_out(t, err)))
            tr_stream_ack_batch(t->stream, &batch);
        if (!e && (t->once || !at_end) && is_at_end(t, began)) {
            e = at_end ? 0 : tr_cli_check_from(t->stream, t->from, t->table, err);
            at_end = true;
            done = t->once;
        }
        if (!e && !done && t->once && tr_clock_mono_ms() - progressed > TR_CLI_ONCE_PATIENCE_MS)
            e = tr_fail(err, TR_ETIMEOUT, "%s: no progress for %d s", t->table,
                        TR_CLI_ONCE_PATIENCE_MS / 1000);
    }
    tr_stream_nack_batch(t->stream, &batch, 0, 0); /* what could not be printed */
    tr_stream_batch_done(&batch);
    return e;
}

/* Iterators behind what was printed, as dynamodb-stream keeps them. */
static int export_iterators(tail *t, tr_error *err)
{
    tr_buf json;
    tr_buf_init(&json, (size_t)256 << 20);
    int e = tr_stream_export_iterators(t->stream, TR_CLI_ONCE_PATIENCE_MS, &json, err);
    FILE *file = e ? NULL : fopen(t->iterators, "wb");
    if (!e && (!file || fwrite(json.ptr, 1, json.len, file) != json.len))
        e = tr_fail(err, TR_EIO, "%s: %s", t->iterators, strerror(errno));
    if (file && fclose(file) && !e)
        e = tr_fail(err, TR_EIO, "%s: %s", t->iterators, strerror(errno));
    tr_buf_done(&json);
    return e;
}

static int open_stream(tail *t, tr_error *err)
{
    tr_stream_options o = {.table = t->table,
                           .start = t->start,
                           .keep_raw = t->format == FORMAT_RAW,
                           .patterns = (const tr_pattern *const *)t->filters.list,
                           .pattern_count = t->filters.count,
                           .idle_max_ms = t->idle_max_ms,
                           .hold_ms = t->once ? TR_CLI_ONCE_HOLD_MS : 0};
    int e = 0;
    if (t->fleet.lease_table)
        o.fleet = &t->fleet;
    else
        e = tr_cli_state_store(t->place.client, t->state, "tail", t->table, t->from != NULL, t->once,
                               &t->source, &o.store, err);
    if (!e && (e = tr_stream_new(t->place.client, &o, &t->stream, err)))
        tr_stream_store_free(o.store);
    return e;
}

static int take_format(const tr_cli *cli, tail *t)
{
    static const char *const names[] = {"json", "pretty", "raw"};
    for (size_t i = 0; i < TR_COUNT(names); i++) {
        if (strcmp(cli->value, names[i]) == 0) {
            t->format = (format)i;
            return 0;
        }
    }
    return tr_cli_usage(cli, "--format is json, pretty or raw, not '%s'", cli->value);
}

static int take_option(const tr_cli *cli, int option, tail *t)
{
    switch (option) {
    case OPT_FROM:
        t->from = cli->value;
        return 0;
    case OPT_STATE:
        t->state = cli->value;
        return 0;
    case TR_CLI_METRICS:
        t->metrics = cli->value;
        return 0;
    case OPT_ONCE:
        t->once = true;
        return 0;
    case OPT_FILTER:
        return tr_cli_filters_add(&t->filters, cli);
    case OPT_ITERATORS:
        t->iterators = cli->value;
        return 0;
    case OPT_CHANGES:
        t->changes = true;
        return 0;
    default:
        return take_format(cli, t);
    }
}

static int parse(tr_cli *cli, tail *t)
{
    int option, e = 0;
    while (!e && (option = tr_cli_next(cli)) > 0)
        if (!tr_cli_where_take(&t->where, option, cli) && !tr_cli_fleet_take(&t->fleet, option, cli, &e) &&
            !tr_cli_idle_take(&t->idle_max_ms, option, cli, &e))
            e = take_option(cli, option, t);
    if (e || option < 0)
        return e ? e : cli->exit_code ? cli->exit_code : -1;
    if (cli->argc != 1)
        return tr_cli_usage(cli, "one TABLE is needed");
    if (t->iterators && !t->once)
        return tr_cli_usage(cli, "--iterators is for --once");
    if (t->changes && t->format != FORMAT_JSON)
        return tr_cli_usage(cli, "--changes is for --format json; pretty shows them anyway");
    t->table = cli->argv[0];
    tr_error err = {0};
    e = tr_cli_check_position(cli, t->from, t->state, t->once, &t->fleet);
    if (!e && t->from)
        (void)tr_cli_parse_from(t->from, &t->start, &err);
    return e ? e : tr_cli_table_name(cli, t->table);
}

static void collect(void *ctx, tr_metrics *metrics)
{
    tail *t = ctx;
    tr_metrics_of_stream(metrics, t->table, t->stream);
}

static int run(tr_cli *cli)
{
    tr_cli_metrics *metrics = NULL;
    tail t = {.color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR")};
    tr_error err = {0};
    int usage = parse(cli, &t);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    tr_buf_init(&t.out, (size_t)256 << 20);
    /* a batch in one write, so that whole lines meet where several append to one file */
    (void)setvbuf(stdout, NULL, _IONBF, 0);
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(&t.where, &t.place, &err);
    if (!e)
        e = open_stream(&t, &err);
    if (!e)
        e = tr_cli_metrics_start(t.metrics, collect, &t, &metrics, &err);
    if (!e) {
        tr_cli_on_stop(stop, &t);
        e = follow(&t, &err);
        if (!e && t.iterators && !tr_cli_stopped())
            e = export_iterators(&t, &err);
        tr_cli_ignore_stop(); /* the stream goes now */
    }
    tr_cli_metrics_stop(metrics);
    tr_stream_free(t.stream);
    tr_cli_disconnect(&t.place);
    tr_cli_filters_done(&t.filters);
    tr_buf_done(&t.out);
    return e ? tr_cli_fail(&err) : tr_cli_stopped() ? TR_EXIT_INTERRUPTED : TR_EXIT_OK;
}

const tr_cli_command tr_cli_tail = {
    .name = "tail",
    .summary = "Print a table's changes as they happen.",
    .arguments = "TABLE",
    .text = "Prints a line per change: event, keys, new and old item, sequence number, shard, time. The\n"
            "position is kept, so that the next run goes on where this one ended.",
    .options = options,
    .run = run};
