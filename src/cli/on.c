/* SPDX-License-Identifier: MIT */
/* tailrace on: an event source mapping; tailrace dlq: what it gave up. */
#include "cli/follow.h"

#include <tailrace/mapping.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    OPT_EXEC = 0x100,
    OPT_EXEC_EACH,
    OPT_URL,
    OPT_HANDLER,
    OPT_BATCH,
    OPT_WINDOW,
    OPT_PARALLELISM,
    OPT_FROM,
    OPT_RETRIES,
    OPT_AGE,
    OPT_BISECT,
    OPT_FILTER,
    OPT_ON_FAILURE,
    OPT_TIMEOUT,
    OPT_ENV,
    OPT_ONCE,
    OPT_STATE,
    OPT_QUEUE
};

#define ENV_MAX 256

#define HANDLER_OPTIONS                                                                                      \
    {"exec", OPT_EXEC, "CMD", "a program that stays: a line per batch in, a line back"},                     \
        {"exec-each", OPT_EXEC_EACH, "CMD", "a program per batch; exit status 0 is success"},                \
        {"url", OPT_URL, "URL", "a POST per batch; 2xx is success"},                                         \
        {"handler", OPT_HANDLER, "MODULE.EXPORT",                                                            \
         "a Lambda handler in Node or Python, as in src/trigger.handler"},                                   \
        {"timeout", OPT_TIMEOUT, "DURATION", "of a batch (15m)"},                                            \
    {                                                                                                        \
        "env", OPT_ENV, "NAME=VALUE", "for the handler; may be given several times"                          \
    }

static const tr_cli_option on_options[] = {
    HANDLER_OPTIONS,
    {"batch-size", OPT_BATCH, "N", "records of a batch, 1 to 10,000 (100)"},
    {"batch-window", OPT_WINDOW, "DURATION", "how long a batch may wait to fill, up to 300s (0s)"},
    {"parallelism", OPT_PARALLELISM, "N",
     "batches of a shard at a time, 1 to 10; an item's order is kept (1)"},
    {"from", OPT_FROM, "WHERE",
     "where to begin, as for tailrace tail; without, where the last run\nended, at first latest"},
    {"retries", OPT_RETRIES, "N", "how often a failed batch is tried again (for ever)"},
    {"record-age", OPT_AGE, "DURATION", "records older than this are given up (never)"},
    {"bisect", OPT_BISECT, NULL, "cut a failed batch in two before retrying"},
    {"filter", OPT_FILTER, "PATTERN",
     "an event pattern that records must match; up to 5, any of which\nwill do"},
    {"on-failure", OPT_ON_FAILURE, "DEST", "where what is given up goes: file:PATH, sqlite:PATH or a URL"},
    {"once", OPT_ONCE, NULL, "end when everything there is was handled"},
    {"state", OPT_STATE, "FILE", "where the position is kept; else below $XDG_STATE_HOME/tailrace"},
    TR_CLI_FLEET_OPTIONS,
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct target {
    tr_handler_options options;
    const char *env[ENV_MAX];
    bool given;
} target;

/* Takes an option of HANDLER_OPTIONS. 0, or an exit code; *ret_taken whether it was one. */
static int take_handler(const tr_cli *cli, int option, target *t, bool *ret_taken)
{
    static const tr_handler_kind kinds[] = {TR_HANDLER_EXEC, TR_HANDLER_EXEC_EACH, TR_HANDLER_URL,
                                            TR_HANDLER_LAMBDA};
    *ret_taken = true;
    if (option >= OPT_EXEC && option <= OPT_HANDLER) {
        if (t->given)
            return tr_cli_usage(cli,
                                "one of --exec, --exec-each, --url and --handler is needed, not several");
        t->given = true;
        t->options.kind = kinds[option - OPT_EXEC];
        t->options.target = cli->value;
        return 0;
    }
    if (option == OPT_TIMEOUT)
        return tr_cli_duration(cli, "timeout", &t->options.timeout_ms);
    if (option == OPT_ENV) {
        if (t->options.environment_count == ENV_MAX)
            return tr_cli_usage(cli, "--env may be given at most %d times", ENV_MAX);
        t->env[t->options.environment_count++] = cli->value;
        return 0;
    }
    *ret_taken = false;
    return 0;
}

/* What the handler says goes to stderr, a line at a time. */
static void print_line(void *ctx, tr_view line)
{
    (void)ctx;
    (void)fprintf(stderr, "%.*s\n", TR_FMT(line));
}

static int open_target(target *t, tr_client *client, tr_handler **ret, tr_error *err)
{
    t->options.environment = t->env;
    t->options.on_log = print_line;
    t->options.logger = tr_cli_logger();
    if (client && !tr_client_is_aws(client)) {
        const char *endpoint = tr_client_endpoint(client, TR_DYNAMODB);
        t->options.endpoint = strncmp(endpoint, "http", 4) == 0 ? endpoint : "http://127.0.0.1:8000";
        t->options.region = tr_client_region(client);
    }
    return tr_handler_new(&t->options, ret, err);
}

/* ------------------------------------------------------------------------------------------------- on */

typedef struct on {
    const char *table, *from, *state, *on_failure;
    bool once;
    target target;
    tr_mapping_options options;
    tr_cli_filters filters;
    tr_cli_fleet fleet;
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
    case OPT_FROM:
        o->from = cli->value;
        return 0;
    case OPT_RETRIES:
        o->options.limit_retries = true;
        return tr_cli_number(cli, "retries", 0, 10000, &o->options.retries);
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
        if (tr_cli_where_take(&o->where, option, cli) || tr_cli_fleet_take(&o->fleet, option, cli, &e))
            continue;
        e = take_handler(cli, option, &o->target, &taken);
        if (!e && !taken)
            e = take_option(cli, option, o);
    }
    if (e || option < 0)
        return e ? e : cli->exit_code ? cli->exit_code : -1;
    tr_stream_start ignored;
    tr_error err = {0};
    if (cli->argc != 1)
        return tr_cli_usage(cli, "one TABLE is needed");
    if (!o->target.given)
        return tr_cli_usage(cli, "what shall be run? --exec, --exec-each, --url or --handler is needed");
    if (o->from && tr_cli_parse_from(o->from, &ignored, &err))
        return tr_cli_usage(cli, "%s", err.message);
    if (o->fleet.lease_table && (o->once || o->state))
        return tr_cli_usage(cli, "--name keeps the position in the lease table and goes on for ever: neither "
                                 "--state nor --once fits");
    o->table = cli->argv[0];
    return tr_cli_table_name(cli, o->table);
}

static int open_mapping(on *o, tr_error *err)
{
    char name[300], arn[TR_STREAM_ARN_MAX + 1];
    tr_stream_options stream = {.table = o->table};
    (void)snprintf(name, sizeof name, "on-%.255s", o->table);
    o->options.name = name;
    o->options.filters = (const tr_pattern *const *)o->filters.list;
    o->options.filter_count = o->filters.count;
    o->options.logger = tr_cli_logger();
    int e = o->from ? tr_cli_parse_from(o->from, &stream.start, err) : 0;
    if (!e && o->on_failure)
        e = tr_failure_sink_open(o->on_failure, &o->options.on_failure, err);
    if (!e && (e = tr_mapping_new(&o->options, &stream, &o->mapping, err)) && o->options.on_failure)
        o->options.on_failure->free(o->options.on_failure);
    if (o->fleet.lease_table)
        stream.fleet = &o->fleet;
    else if (!e)
        e = tr_cli_state_store(o->place.client, o->state, "on", o->table, o->from != NULL, o->once, arn,
                               &stream.store, err);
    if (!e && (e = tr_stream_new(o->place.client, &stream, &o->stream, err)))
        tr_stream_store_free(stream.store);
    return e;
}

static void stop(void *ctx)
{
    on *o = ctx;
    tr_mapping_stop(o->mapping);
}

static void ignore_stop(void *ctx)
{
    (void)ctx;
}

static int run_on(tr_cli *cli)
{
    static on o;
    tr_error err = {0};
    int usage = parse(cli, &o);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(&o.where, &o.place, &err);
    if (!e)
        e = open_target(&o.target, o.place.client, &o.handler, &err);
    if (!e)
        e = open_mapping(&o, &err);
    if (!e) {
        tr_cli_on_stop(stop, &o);
        e = tr_mapping_run(o.mapping, o.stream, o.handler, o.once, &err);
        tr_cli_on_stop(ignore_stop, NULL);
    }
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

/* ------------------------------------------------------------------------------------------------ dlq */

static const tr_cli_option dlq_options[] = {
    {"queue", OPT_QUEUE, "FILE", "the SQLite file that --on-failure sqlite:FILE named"},
    HANDLER_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct dlq_run {
    tr_dlq *queue;
    tr_handler *handler;
    int64_t id; /* 0: all */
    bool whole;
    uint64_t done, failed;
    tr_buf out;
} dlq_run;

static int print_entry(void *ctx, const tr_dlq_entry *entry)
{
    dlq_run *d = ctx;
    tr_json_writer w;
    if (d->id && entry->id != d->id)
        return 0;
    d->done++;
    tr_buf_reset(&d->out);
    tr_json_write_init(&w, &d->out);
    tr_json_begin_object(&w);
    tr_json_member_i64(&w, "id", entry->id);
    tr_json_member_string(&w, "time", entry->time);
    tr_json_member_string(&w, "source", entry->source);
    tr_json_member_u64(&w, "attempts", entry->attempts);
    tr_json_member_string(&w, "error_type", entry->error_type);
    tr_json_member_string(&w, "error_message", entry->error_message);
    if (d->whole) {
        tr_json_name(&w, "record");
        tr_json_value(&w, entry->record);
        tr_json_name(&w, "event");
        tr_json_value(&w, entry->event);
    }
    tr_json_end_object(&w);
    tr_buf_putc(&d->out, '\n');
    if (tr_buf_status(&d->out) || fwrite(d->out.ptr, 1, d->out.len, stdout) != d->out.len)
        return TR_EIO;
    return 0;
}

static int redrive_entry(void *ctx, const tr_dlq_entry *entry)
{
    dlq_run *d = ctx;
    tr_error err = {0};
    if (d->id && entry->id != d->id)
        return 0;
    int e = tr_handler_invoke_wait(d->handler, entry->event, NULL, &err);
    if (e) {
        d->failed++;
        tr_cli_message(TR_LOG_ERROR, "entry %lld: %s: %s", (long long)entry->id, err.type, err.message);
        return 0;
    }
    d->done++;
    return tr_dlq_remove(d->queue, entry->id, NULL);
}

static int redrive(dlq_run *d, target *t, tr_error *err)
{
    int e = open_target(t, NULL, &d->handler, err);
    if (!e)
        e = tr_dlq_each(d->queue, 0, redrive_entry, d, err);
    tr_handler_free(d->handler);
    if (e)
        return e;
    tr_cli_message(TR_LOG_INFO, "%llu redriven, %llu failed again", (unsigned long long)d->done,
                   (unsigned long long)d->failed);
    return d->failed ? tr_fail(err, TR_ESERVICE, "%llu entries failed again and stay",
                               (unsigned long long)d->failed)
                     : 0;
}

static int carry_out(dlq_run *d, const char *verb, target *t, tr_error *err)
{
    int e;
    if (strcmp(verb, "redrive") == 0)
        return redrive(d, t, err);
    if (strcmp(verb, "purge") == 0) {
        e = tr_dlq_purge(d->queue, &d->done, err);
        if (!e)
            tr_cli_message(TR_LOG_INFO, "%llu removed", (unsigned long long)d->done);
        return e;
    }
    e = tr_dlq_each(d->queue, 0, print_entry, d, err);
    return !e && d->id && !d->done ? tr_fail(err, TR_ENOTFOUND, "there is no entry %lld", (long long)d->id)
                                   : e;
}

static int run_dlq(tr_cli *cli)
{
    static target t;
    const char *path = NULL;
    int option, e = 0;
    bool taken;
    while (!e && (option = tr_cli_next(cli)) > 0) {
        if (option == OPT_QUEUE)
            path = cli->value;
        else
            e = take_handler(cli, option, &t, &taken);
    }
    if (e || option < 0)
        return e ? e : cli->exit_code;
    static const char *const verbs[] = {"list", "show", "redrive", "purge"};
    size_t v = 0;
    while (v < TR_COUNT(verbs) && (cli->argc < 1 || strcmp(cli->argv[0], verbs[v]) != 0))
        v++;
    uint64_t id = 0;
    if (v == TR_COUNT(verbs))
        return tr_cli_usage(cli, "list, show ID, redrive [ID] or purge is needed");
    if (!path)
        return tr_cli_usage(cli, "--queue FILE is needed");
    bool takes_id = v == 1 || v == 2;
    if (cli->argc > (takes_id ? 2 : 1) || (v == 1 && cli->argc != 2) ||
        (cli->argc == 2 && (tr_view_to_u64(tr_view_str(cli->argv[1]), INT64_MAX, &id) || !id)))
        return tr_cli_usage(cli, "usage: tailrace dlq list | show ID | redrive [ID] | purge");
    if (v == 2 && !t.given)
        return tr_cli_usage(cli, "redrive needs what shall be run: --exec, --exec-each, --url or --handler");
    tr_error err = {0};
    dlq_run d = {.id = (int64_t)id, .whole = v == 1};
    tr_buf_init(&d.out, (size_t)256 << 20);
    e = tr_dlq_open(path, false, &d.queue, &err);
    if (!e)
        e = carry_out(&d, verbs[v], &t, &err);
    tr_dlq_close(d.queue);
    tr_buf_done(&d.out);
    return e ? tr_cli_fail(&err) : TR_EXIT_OK;
}

const tr_cli_command tr_cli_dlq = {.name = "dlq",
                                   .summary = "Look at what was given up, try it again, or throw it away.",
                                   .arguments = "list | show ID | redrive [ID] | purge",
                                   .options = dlq_options,
                                   .run = run_dlq};
