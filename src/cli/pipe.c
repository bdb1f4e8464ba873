/* SPDX-License-Identifier: MIT */
/* tailrace pipe: a table's changes as events on a bus. */
#include "cli/code.h"
#include "cli/follow.h"
#include "cli/metrics.h"

#include <tailrace/pipe.h>

#include <stdio.h>

enum {
    OPT_BUS = 0x100,
    OPT_BUS_ENDPOINT,
    OPT_BUS_REGION,
    OPT_BUS_PROFILE,
    OPT_FORMAT,
    OPT_SOURCE,
    OPT_DETAIL_TYPE,
    OPT_TIME,
    OPT_TEMPLATE,
    OPT_FILTER,
    OPT_BATCH,
    OPT_WINDOW,
    OPT_IN_FLIGHT,
    OPT_STRICT,
    OPT_REQUEST_SIZE,
    OPT_RETRIES,
    OPT_AGE,
    OPT_ON_FAILURE,
    OPT_FROM,
    OPT_ONCE,
    OPT_STATE
};

#define CHECKPOINT_MS 200 /* what is published again after a crash is published twice */

static const tr_cli_option options[] = {
    {"bus", OPT_BUS, "BUS", "the bus: its name or ARN"},
    {"bus-endpoint", OPT_BUS_ENDPOINT, "URL", "where the bus is, if not where the table is; aws: on AWS"},
    {"bus-region", OPT_BUS_REGION, "REGION", "its region"},
    {"bus-profile", OPT_BUS_PROFILE, "NAME", "the AWS profile for it"},
    {"format", OPT_FORMAT, "log|record|json",
     "log (the default): events of logs, as the trigger of dynamodb-logs\nmakes them; record: every change, "
     "as EventBridge Pipes do; json:\nthe same with plain items"},
    {"source", OPT_SOURCE, "TEXT", "the events' source (dynamodb-log)"},
    {"detail-type", OPT_DETAIL_TYPE, "TEXT", "their detail type (stream changes)"},
    {"time", OPT_TIME, NULL, "events carry the time of the change, not that of their publishing"},
    {"input-template", OPT_TEMPLATE, "TEXT|@FILE",
     "makes the detail anew: a template with placeholders such as\n<$.payload.id>"},
    {"filter", OPT_FILTER, "PATTERN",
     "an event pattern that records must match; up to 5, any of which\nwill do"},
    {"batch-size", OPT_BATCH, "N", "records that are grouped by log, at most (25)"},
    {"batch-window", OPT_WINDOW, "DURATION", "how long a batch may wait to fill, up to 300s (0s)"},
    {"in-flight", OPT_IN_FLIGHT, "N", "requests to the bus at a time, 1 to 1,000 (8)"},
    {"strict-order", OPT_STRICT, NULL,
     "events of one log id never overtake each other, even where the bus\n"
     "refuses one of them"},
    {"request-size", OPT_REQUEST_SIZE, "SIZE", "of a request to the bus, up to 1MiB (256KiB)"},
    {"retries", OPT_RETRIES, "N", "how often an event is tried again (for ever)"},
    {"record-age", OPT_AGE, "DURATION", "events that failed for longer are given up (never)"},
    {"on-failure", OPT_ON_FAILURE, "DEST", "where what is given up goes, as for tailrace on"},
    {"from", OPT_FROM, "WHERE",
     "where to begin, as for tailrace tail; without, where the last run\nended, at first latest"},
    {"once", OPT_ONCE, NULL, "end when everything there is was published"},
    {"state", OPT_STATE, "FILE", "where the position is kept; else below $XDG_STATE_HOME/tailrace"},
    TR_CLI_IDLE_OPTION,
    TR_CLI_FLEET_OPTIONS,
    TR_CLI_METRICS_OPTION,
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct piping {
    const char *table, *from, *state, *on_failure, *template, *metrics;
    bool once;
    tr_pipe_options options;
    tr_cli_code code; /* of failure destinations */
    tr_cli_filters filters;
    tr_cli_fleet fleet;
    int64_t idle_max_ms;
    tr_cli_where where, bus_where;
    tr_cli_place place;
    tr_client *bus; /* NULL: the place's */
    tr_transform *transform;
    tr_pipe *pipe;
    tr_stream *stream;
} piping;

static int take_format(const tr_cli *cli, piping *p)
{
    static const char *const names[] = {
        [TR_PIPE_LOG] = "log", [TR_PIPE_RECORD] = "record", [TR_PIPE_PLAIN] = "json"};
    for (size_t i = 0; i < TR_COUNT(names); i++) {
        if (strcmp(cli->value, names[i]) == 0) {
            p->options.format = (tr_pipe_format)i;
            return 0;
        }
    }
    return tr_cli_usage(cli, "--format is log, record or json, not '%s'", cli->value);
}

/* Options of the publisher, and numbers. */
static int take_number(const tr_cli *cli, int option, piping *p)
{
    uint64_t number = 0;
    int e;
    switch (option) {
    case OPT_BATCH:
        e = tr_cli_number(cli, "batch-size", 1, TR_MAPPING_BATCH_MAX, &number);
        p->options.batch_size = (size_t)number;
        return e;
    case OPT_WINDOW:
        return tr_cli_duration_within(cli, "batch-window", "0s", "300s", &p->options.window_ms);
    case OPT_IN_FLIGHT:
        e = tr_cli_number(cli, "in-flight", 1, 1000, &number);
        p->options.publisher.in_flight = (unsigned)number;
        return e;
    case OPT_REQUEST_SIZE:
        e = tr_cli_size(cli, "request-size", &number);
        if (!e && (number < 1024 || number > TR_PUBLISH_BYTES_MAX))
            return tr_cli_usage(cli, "--request-size is 1KiB to 1MiB");
        p->options.publisher.request_bytes = (size_t)number;
        return e;
    case OPT_RETRIES:
        p->options.publisher.limit_retries = true;
        return tr_cli_number(cli, "retries", 0, 10000, &p->options.publisher.retries);
    default:
        return tr_cli_duration_within(cli, "record-age", "1s", "365d", &p->options.publisher.age_ms);
    }
}

static int take_option(const tr_cli *cli, int option, piping *p)
{
    const struct {
        int option;
        const char **to;
    } texts[] = {{OPT_BUS, &p->options.bus},
                 {OPT_BUS_ENDPOINT, &p->bus_where.endpoint},
                 {OPT_BUS_REGION, &p->bus_where.region},
                 {OPT_BUS_PROFILE, &p->bus_where.profile},
                 {OPT_SOURCE, &p->options.source},
                 {OPT_DETAIL_TYPE, &p->options.detail_type},
                 {OPT_TEMPLATE, &p->template},
                 {OPT_ON_FAILURE, &p->on_failure},
                 {TR_CLI_METRICS, &p->metrics},
                 {OPT_FROM, &p->from},
                 {OPT_STATE, &p->state}};
    for (size_t i = 0; i < TR_COUNT(texts); i++) {
        if (option == texts[i].option) {
            *texts[i].to = cli->value;
            return 0;
        }
    }
    switch (option) {
    case OPT_FORMAT:
        return take_format(cli, p);
    case OPT_TIME:
        p->options.with_time = true;
        return 0;
    case OPT_FILTER:
        return tr_cli_filters_add(&p->filters, cli);
    case OPT_STRICT:
        p->options.publisher.strict_order = true;
        return 0;
    case OPT_ONCE:
        p->once = true;
        return 0;
    default:
        return take_number(cli, option, p);
    }
}

static int parse(tr_cli *cli, piping *p)
{
    int option, e = 0;
    while (!e && (option = tr_cli_next(cli)) > 0)
        if (!tr_cli_where_take(&p->where, option, cli) && !tr_cli_fleet_take(&p->fleet, option, cli, &e) &&
            !tr_cli_idle_take(&p->idle_max_ms, option, cli, &e))
            e = take_option(cli, option, p);
    if (e || option < 0)
        return e ? e : cli->exit_code ? cli->exit_code : -1;
    if (cli->argc != 1)
        return tr_cli_usage(cli, "one TABLE is needed");
    if (!p->options.bus || !p->options.bus[0])
        return tr_cli_usage(cli, "--bus BUS is needed");
    e = tr_cli_check_position(cli, p->from, p->state, p->once, &p->fleet);
    if (e)
        return e;
    p->table = cli->argv[0];
    return tr_cli_table_name(cli, p->table);
}

static int open_template(piping *p, tr_error *err)
{
    tr_buf text;
    int e = 0;
    if (!p->template)
        return 0;
    tr_buf_init(&text, TR_INPUT_TEMPLATE_MAX + 2);
    if (p->template[0] == '@')
        e = tr_cli_read_file(p->template + 1, &text, err);
    else
        tr_buf_put_str(&text, p->template);
    const tr_transform_options o = {.target_id = "pipe", .input_template = tr_buf_view(&text), .pipes = true};
    if (!e && tr_buf_status(&text))
        e = tr_fail(err, TR_EINVAL, "--input-template: at most %d bytes", TR_INPUT_TEMPLATE_MAX);
    if (!e)
        e = tr_transform_compile(&o, &p->transform, err);
    tr_buf_done(&text);
    p->options.transform = p->transform;
    return e;
}

/* The bus is where the table is, unless it is said to be elsewhere. */
static int open_bus(piping *p, tr_error *err)
{
    if (!p->bus_where.endpoint && !p->bus_where.region && !p->bus_where.profile)
        return tr_cli_another_client(&p->where, &p->place, &p->bus, err);
    if (p->bus_where.endpoint && strcmp(p->bus_where.endpoint, "aws") == 0)
        p->bus_where.endpoint = NULL;
    return tr_cli_connect_aws(&p->bus_where, &p->bus, err);
}

static int open_destination(piping *p, tr_error *err)
{
    tr_cli_code_place(&p->code, p->place.client);
    return tr_cli_failures_open(p->on_failure, &p->code, &p->where, p->place.client, &p->options.on_failure,
                                err);
}

static int open_stream(piping *p, tr_error *err)
{
    char name[256];
    tr_cli_source source;
    tr_stream_options stream = {.table = p->table,
                                .checkpoint_ms = CHECKPOINT_MS,
                                .idle_max_ms = p->idle_max_ms,
                                .patterns = (const tr_pattern *const *)p->filters.list,
                                .pattern_count = p->filters.count};
    (void)snprintf(name, sizeof name, "%.255s", p->table);
    p->options.name = name;
    p->options.logger = tr_cli_logger();
    int e = p->from ? tr_cli_parse_from(p->from, &stream.start, err) : 0;
    if (!e && p->on_failure)
        e = open_destination(p, err);
    if (!e && (e = tr_pipe_new(p->bus, &p->options, &stream, &p->pipe, err)))
        tr_failure_sink_free(p->options.on_failure);
    if (!e && p->fleet.lease_table)
        stream.fleet = &p->fleet;
    else if (!e)
        e = tr_cli_state_store(p->place.client, p->state, "pipe", p->table, p->from != NULL, p->once, &source,
                               &stream.store, err);
    if (!e && (e = tr_stream_new(p->place.client, &stream, &p->stream, err)))
        tr_stream_store_free(stream.store);
    return e;
}

static void stop(void *ctx)
{
    piping *p = ctx;
    tr_pipe_stop(p->pipe);
}

static void tell_end(piping *p)
{
    tr_pipe_stats s;
    tr_pipe_get_stats(p->pipe, &s);
    tr_cli_message(TR_LOG_INFO, "%llu events published, %llu records skipped, %llu given up",
                   (unsigned long long)s.publisher.published, (unsigned long long)s.skipped,
                   (unsigned long long)s.given_up);
}

static void collect(void *ctx, tr_metrics *metrics)
{
    piping *p = ctx;
    tr_metrics_of_stream(metrics, p->table, p->stream);
    tr_metrics_of_pipe(metrics, p->table, p->pipe);
}

static int run(tr_cli *cli)
{
    static piping p;
    tr_cli_metrics *metrics = NULL;
    tr_error err = {0};
    int usage = parse(cli, &p);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = open_template(&p, &err);
    if (!e)
        e = tr_cli_connect(&p.where, &p.place, &err);
    if (!e)
        e = open_bus(&p, &err);
    if (!e)
        e = tr_publish_check_bus(p.bus, p.options.bus, &err);
    if (!e)
        e = open_stream(&p, &err);
    if (!e)
        e = tr_cli_metrics_start(p.metrics, collect, &p, &metrics, &err);
    if (!e) {
        tr_cli_on_stop(stop, &p);
        e = tr_pipe_run(p.pipe, p.stream, p.once, &err);
        tr_cli_ignore_stop();
        tell_end(&p);
    }
    tr_cli_metrics_stop(metrics);
    tr_pipe_free(p.pipe);
    tr_stream_free(p.stream);
    tr_client_free(p.bus);
    tr_cli_disconnect(&p.place);
    tr_cli_filters_done(&p.filters);
    tr_transform_free(p.transform);
    return e ? tr_cli_fail(&err) : tr_cli_stopped() ? TR_EXIT_INTERRUPTED : TR_EXIT_OK;
}

const tr_cli_command tr_cli_pipe = {
    .name = "pipe",
    .summary = "Publish a table's changes as events on a bus.",
    .arguments = "TABLE --bus BUS",
    .text =
        "A change is done once the bus has taken its event, or --on-failure what was given up after\n"
        "--retries or --record-age; until then it is tried again. The position is kept, so that the next\n"
        "run goes on where this one ended.",
    .options = options,
    .run = run};
