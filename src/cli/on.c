/* SPDX-License-Identifier: MIT */
/* tailrace on: an event source mapping. */
#include "cli/code.h"
#include "cli/follow.h"
#include "cli/metrics.h"

#include <tailrace/mapping.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    OPT_BATCH = 0x100,
    OPT_WINDOW,
    OPT_PARALLELISM,
    OPT_FROM,
    OPT_RETRIES,
    OPT_AGE,
    OPT_BISECT,
    OPT_FILTER,
    OPT_ON_FAILURE,
    OPT_ONCE,
    OPT_STATE,
    OPT_TUMBLING,
    OPT_CONCURRENCY
};

#define CONCURRENCY 4 /* batches at a time: as many as a new stream has shards */

static const tr_cli_option on_options[] = {
    TR_CLI_CODE_OPTIONS,
    {"batch-size", OPT_BATCH, "N", "records of a batch, 1 to 10,000 (100)"},
    {"batch-window", OPT_WINDOW, "DURATION", "how long a batch may wait to fill, up to 300s (0s)"},
    {"tumbling-window", OPT_TUMBLING, "DURATION",
     "aggregate in windows of whole seconds, up to 15m, with state\nbetween invocations"},
    {"concurrency", OPT_CONCURRENCY, "N",
     "batches that the handler has at the same time, 1 to 1000\n(4 per parallelism; --exec: 1)"},
    {"parallelism", OPT_PARALLELISM, "N",
     "batches of a shard at a time, 1 to 10; an item's order is kept (1)"},
    {"from", OPT_FROM, "WHERE",
     "where to begin, as for tailrace tail; without, where the last run\nended, at first latest"},
    {"retries", OPT_RETRIES, "N", "how often a failed batch is tried again (for ever)"},
    {"record-age", OPT_AGE, "DURATION", "records older than this are given up (never)"},
    {"bisect", OPT_BISECT, NULL, "cut a failed batch in two before retrying"},
    {"filter", OPT_FILTER, "PATTERN",
     "an event pattern that records must match; up to 5, any of which\nwill do"},
    {"on-failure", OPT_ON_FAILURE, "DEST",
     "where what is given up goes: file:PATH, sqlite:PATH, table:NAME,\nqueue:NAME, bus:NAME, lambda:NAME, "
     "exec:CMD, exec-each:CMD,\nhandler:MODULE.EXPORT, an ARN or a URL"},
    {"once", OPT_ONCE, NULL, "end when everything there is was handled"},
    {"state", OPT_STATE, "FILE", "where the position is kept; else below $XDG_STATE_HOME/tailrace"},
    TR_CLI_IDLE_OPTION,
    TR_CLI_FLEET_OPTIONS,
    TR_CLI_METRICS_OPTION,
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct on {
    const char *table, *from, *state, *on_failure, *metrics;
    bool once;
    tr_cli_code code;
    tr_mapping_options options;
    tr_cli_filters filters;
    tr_cli_fleet fleet;
    int64_t idle_max_ms;
    tr_cli_where where;
    tr_cli_place place;
    tr_handler *handler;
    tr_mapping *mapping;
    tr_stream *stream;
} on;

static int take_option(const tr_cli *cli, int option, on *o)
{
    uint64_t number = 0;
    int e = 0;
    switch (option) {
    case OPT_BATCH:
        e = tr_cli_number(cli, "batch-size", 1, TR_MAPPING_BATCH_MAX, &number);
        o->options.batch_size = (size_t)number;
        return e;
    case OPT_WINDOW:
        return tr_cli_duration(cli, "batch-window", &o->options.window_ms);
    case OPT_PARALLELISM:
        e = tr_cli_number(cli, "parallelism", 1, TR_MAPPING_PARALLELISM_MAX, &number);
        o->options.parallelism = (unsigned)number;
        return e;
    case OPT_TUMBLING:
        return tr_cli_duration(cli, "tumbling-window", &o->options.tumbling_ms);
    case OPT_CONCURRENCY:
        e = tr_cli_number(cli, "concurrency", 1, TR_HANDLER_CONCURRENCY_MAX, &number);
        o->code.options.concurrency = (unsigned)number;
        return e;
    case OPT_FROM:
        o->from = cli->value;
        return 0;
    case OPT_RETRIES:
        o->options.limit_retries = true;
        return tr_cli_number(cli, "retries", 0, TR_MAPPING_RETRIES_MAX, &o->options.retries);
    case OPT_AGE:
        return tr_cli_duration(cli, "record-age", &o->options.record_age_ms);
    case OPT_BISECT:
        o->options.bisect = true;
        return 0;
    case OPT_FILTER:
        return tr_cli_filters_add(&o->filters, cli);
    case OPT_ON_FAILURE:
        o->on_failure = cli->value;
        return 0;
    case OPT_ONCE:
        o->once = true;
        return 0;
    case TR_CLI_METRICS:
        o->metrics = cli->value;
        return 0;
    default:
        o->state = cli->value;
        return 0;
    }
}

static int parse(tr_cli *cli, on *o)
{
    int option, e = 0;
    bool taken;
    while (!e && (option = tr_cli_next(cli)) > 0) {
        if (tr_cli_where_take(&o->where, option, cli) || tr_cli_fleet_take(&o->fleet, option, cli, &e) ||
            tr_cli_idle_take(&o->idle_max_ms, option, cli, &e))
            continue;
        e = tr_cli_code_take(&o->code, option, cli, &taken);
        if (!e && !taken)
            e = take_option(cli, option, o);
    }
    if (e || option < 0)
        return e ? e : cli->exit_code ? cli->exit_code : -1;
    if (cli->argc != 1)
        return tr_cli_usage(cli, "one TABLE is needed");
    if (!o->code.given)
        return tr_cli_usage(cli, "what shall be run? --exec, --exec-each, --url or --handler is needed");
    e = tr_cli_check_position(cli, o->from, o->state, o->once, &o->fleet);
    if (e)
        return e;
    if (o->fleet.lease_table && o->options.tumbling_ms)
        return tr_cli_usage(
            cli, "the state of tumbling windows is kept in a file of this process, where a worker that "
                 "takes a shard over would not find it: --name does not fit");
    if (!o->code.options.concurrency && o->code.options.kind != TR_HANDLER_EXEC)
        o->code.options.concurrency = CONCURRENCY * (o->options.parallelism ? o->options.parallelism : 1);
    o->table = cli->argv[0];
    return tr_cli_table_name(cli, o->table);
}

/* Where the position is, and the state of windows beside it. On failure what was opened is in *stream. */
static int open_stores(on *o, tr_stream_options *stream, tr_error *err)
{
    tr_cli_source source;
    char path[4096], beside[4096];
    if (o->fleet.lease_table) {
        stream->fleet = &o->fleet;
        return 0;
    }
    int e = tr_cli_state_store(o->place.client, o->state, "on", o->table, o->from != NULL, o->once, &source,
                               &stream->store, err);
    if (e || !o->options.tumbling_ms)
        return e;
    if (o->state)
        (void)snprintf(beside, sizeof beside, "%s.windows", o->state);
    e = tr_cli_stream_state_path(o->place.client, o->state ? beside : NULL, "on", o->table, &source,
                                 "windows.json", path, sizeof path, err);
    if (!e && o->from && unlink(path) && access(path, F_OK) == 0)
        e = tr_fail(err, TR_EIO, "cannot remove the earlier windows, %s", path);
    return e ? e : tr_stream_store_file(path, &o->options.window_store, err);
}

static int open_mapping(on *o, tr_error *err)
{
    char name[300];
    tr_stream_options stream = {
        .table = o->table, .idle_max_ms = o->idle_max_ms, .hold_ms = o->once ? TR_CLI_ONCE_HOLD_MS : 0};
    (void)snprintf(name, sizeof name, "on-%.255s", o->table);
    o->options.name = name;
    o->options.filters = (const tr_pattern *const *)o->filters.list;
    o->options.filter_count = o->filters.count;
    o->options.logger = tr_cli_logger();
    int e = o->from ? tr_cli_parse_from(o->from, &stream.start, err) : 0;
    if (!e && o->on_failure)
        e = tr_cli_failures_open(o->on_failure, &o->code, &o->where, o->place.client, &o->options.on_failure,
                                 err);
    if (!e)
        e = open_stores(o, &stream, err);
    if (!e)
        e = tr_mapping_new(&o->options, &stream, &o->mapping, err);
    o->options.name = NULL; /* the mapping has a copy */
    if (!o->mapping) {
        tr_failure_sink_free(o->options.on_failure);
        tr_stream_store_free(o->options.window_store);
    }
    if (!e)
        e = tr_stream_new(o->place.client, &stream, &o->stream, err);
    if (e)
        tr_stream_store_free(stream.store);
    return e;
}

static void stop(void *ctx)
{
    on *o = ctx;
    tr_mapping_stop(o->mapping);
}

static void collect(void *ctx, tr_metrics *metrics)
{
    on *o = ctx;
    tr_metrics_of_stream(metrics, o->table, o->stream);
    tr_metrics_of_mapping(metrics, o->table, o->mapping);
}

/* Nobody would learn of records that nothing kept, but from the exit code. */
static int check_given_up(const on *o, tr_error *err)
{
    tr_mapping_stats stats;
    tr_mapping_get_stats(o->mapping, &stats);
    if (!stats.given_up || o->on_failure)
        return 0;
    return tr_fail(err, TR_ESERVICE,
                   "%llu record(s) were given up, and no --on-failure told where to keep them",
                   (unsigned long long)stats.given_up);
}

static int run_on(tr_cli *cli)
{
    static on o;
    tr_cli_metrics *metrics = NULL;
    tr_error err = {0};
    int usage = parse(cli, &o);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(&o.where, &o.place, &err);
    if (!e) {
        tr_cli_code_place(&o.code, o.place.client);
        e = tr_cli_code_open(&o.code, &o.handler, &err);
    }
    if (!e)
        e = open_mapping(&o, &err);
    if (!e)
        e = tr_cli_metrics_start(o.metrics, collect, &o, &metrics, &err);
    if (!e) {
        tr_cli_on_stop(stop, &o);
        e = tr_mapping_run(o.mapping, o.stream, o.handler, o.once, &err);
        if (!e && o.once && !tr_cli_stopped())
            e = tr_cli_check_from(o.stream, o.from, o.table, &err);
        if (!e && o.once && !tr_cli_stopped())
            e = check_given_up(&o, &err);
        tr_cli_ignore_stop();
    }
    tr_cli_metrics_stop(metrics);
    tr_stream_free(o.stream);
    tr_handler_free(o.handler);
    tr_mapping_free(o.mapping);
    tr_cli_filters_done(&o.filters);
    tr_cli_disconnect(&o.place);
    return e ? tr_cli_fail(&err) : tr_cli_stopped() ? TR_EXIT_INTERRUPTED : TR_EXIT_OK;
}

const tr_cli_command tr_cli_on = {
    .name = "on",
    .summary = "Run a handler on a table's changes, as Lambda's event source mappings do.",
    .arguments = "TABLE",
    .text = "A batch is a Lambda event, {\"Records\":[…]}. An answer may name batchItemFailures. What is "
            "given up\n"
            "after --retries or --record-age goes to --on-failure.",
    .options = on_options,
    .run = run_on};
