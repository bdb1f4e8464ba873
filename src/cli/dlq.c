/* SPDX-License-Identifier: MIT */
/* tailrace dlq: what was given up. */
#include "cli/code.h"

#include <tailrace/failure.h>
#include <tailrace/json.h>
#include <tailrace/publish.h>

#include <stdio.h>

enum { OPT_QUEUE = 0x100, OPT_BUS };

#define BUS_RETRIES 5 /* then the entry stays */

static const tr_cli_option options[] = {
    {"queue", OPT_QUEUE, "DEST",
     "where it went: what --on-failure named (file:PATH, sqlite:PATH,\ntable:NAME, queue:NAME, the ARN of a "
     "table or queue, a\nqueue's URL); a path alone is an SQLite file"},
    {"bus", OPT_BUS, "BUS", "redrive: publish each event anew on this bus: its name or ARN"},
    TR_CLI_CODE_OPTIONS,
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct dlq {
    tr_cli *cli;
    tr_cli_where where;
    tr_cli_place place;
    tr_cli_code code;
    const char *destination, *bus;
    tr_view id; /* empty: all */
    bool whole;
    tr_failure_sink *sink;
    tr_handler *handler;
    tr_publisher *publisher;
    uint64_t done, failed;
    tr_buf out;
} dlq;

static int print_entry(void *ctx, const tr_failure_entry *entry)
{
    dlq *d = ctx;
    tr_json_writer w;
    if (d->id.len && !tr_view_eq(entry->id, d->id))
        return 0;
    d->done++;
    tr_buf_reset(&d->out);
    tr_json_write_init(&w, &d->out);
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "id", entry->id);
    tr_json_member_string(&w, "time", entry->time);
    tr_json_member_string(&w, "source", entry->source);
    tr_json_member_u64(&w, "attempts", entry->attempts);
    tr_json_member_string(&w, "error_type", entry->error_type);
    tr_json_member_string(&w, "error_message", entry->error_message);
    if (d->whole) {
        tr_json_name(&w, "record");
        tr_json_value(&w, entry->record);
        if (entry->event.len) {
            tr_json_name(&w, "event");
            tr_json_value(&w, entry->event);
        }
    }
    tr_json_end_object(&w);
    tr_buf_putc(&d->out, '\n');
    if (tr_buf_status(&d->out) || fwrite(d->out.ptr, 1, d->out.len, stdout) != d->out.len)
        return TR_EIO;
    return 0;
}

static int no_such(const dlq *d, tr_error *err)
{
    return tr_fail(err, TR_ENOTFOUND, "there is no entry %.*s", TR_FMT(d->id));
}

static int list(void *ctx, tr_error *err)
{
    dlq *d = ctx;
    tr_buf_init(&d->out, (size_t)512 << 20);
    int e = tr_failure_each(d->sink, print_entry, d, err);
    tr_buf_done(&d->out);
    return e ? e : d->id.len && !d->done ? no_such(d, err) : 0;
}

/* The event goes to all rules of the bus once more; 0 once the bus has it and the entry is gone. */
static int publish_entry(dlq *d, const tr_failure_entry *entry, tr_error *err)
{
    tr_arena arena;
    tr_publish_entry event;
    tr_arena_init(&arena, 4 * entry->event.len + 65536);
    int e = tr_publish_read_event(entry->event, &arena, &event, err);
    if (e) /* records of a stream, or cut off */
        (void)tr_fail(err, TR_EUNSUPPORTED, "it holds no event of a bus: redrive it with a handler");
    else
        e = tr_publisher_put_wait(d->publisher, &event, NULL, err);
    tr_arena_done(&arena);
    return e ? e : tr_failure_remove(d->sink, entry->id, err);
}

static int redrive_entry(void *ctx, const tr_failure_entry *entry)
{
    dlq *d = ctx;
    tr_error err = {0};
    if (d->id.len && !tr_view_eq(entry->id, d->id))
        return 0;
    int e =
        d->publisher ? publish_entry(d, entry, &err) : tr_failure_redrive(d->sink, entry, d->handler, &err);
    if (!e) {
        d->done++;
        return 0;
    }
    d->failed++;
    tr_cli_message(TR_LOG_ERROR, "entry %.*s: %s%s%s", TR_FMT(entry->id), err.type, err.type[0] ? ": " : "",
                   err.message);
    return 0;
}

static int open_bus(dlq *d, tr_error *err)
{
    const tr_publisher_options o = {
        .bus = d->bus, .limit_retries = true, .retries = BUS_RETRIES, .logger = tr_cli_logger()};
    int e = tr_publish_check_bus(d->place.client, d->bus, err);
    return e ? e : tr_publisher_new(d->place.client, &o, &d->publisher, err);
}

static int redrive(void *ctx, tr_error *err)
{
    dlq *d = ctx;
    tr_cli_code_place(&d->code, d->place.client);
    int e = d->bus ? open_bus(d, err) : tr_cli_code_open(&d->code, &d->handler, err);
    if (!e)
        e = tr_failure_each(d->sink, redrive_entry, d, err);
    tr_handler_free(d->handler);
    tr_publisher_free(d->publisher);
    if (e)
        return e;
    if (d->id.len && !d->done && !d->failed)
        return no_such(d, err);
    tr_cli_message(TR_LOG_INFO, "%llu redriven, %llu failed again", (unsigned long long)d->done,
                   (unsigned long long)d->failed);
    return d->failed ? tr_fail(err, TR_ESERVICE, "%llu entries failed again and stay",
                               (unsigned long long)d->failed)
                     : 0;
}

static int purge(void *ctx, tr_error *err)
{
    dlq *d = ctx;
    int e = tr_failure_purge(d->sink, &d->done, err);
    if (!e)
        tr_cli_message(TR_LOG_INFO, "%llu removed", (unsigned long long)d->done);
    return e;
}

static const tr_cli_verb verbs[] = {
    {"list", 1, 1, "dlq list --queue DEST", list},
    {"show", 2, 2, "dlq show ID --queue DEST", list},
    {"redrive", 1, 2, "dlq redrive [ID] --queue DEST --handler MODULE.EXPORT | --bus BUS", redrive},
    {"purge", 1, 1, "dlq purge --queue DEST", purge},
    {NULL, 0, 0, NULL, NULL}};

static int parse(tr_cli *cli, dlq *d)
{
    int option, e = 0;
    while (!e && (option = tr_cli_next(cli)) > 0) {
        bool taken;
        if (option == OPT_QUEUE)
            d->destination = cli->value;
        else if (option == OPT_BUS)
            d->bus = cli->value;
        else if (!tr_cli_where_take(&d->where, option, cli))
            e = tr_cli_code_take(&d->code, option, cli, &taken);
    }
    return e ? e : option < 0 ? (cli->exit_code ? cli->exit_code : -1) : 0;
}

/* Connects only where there is something to connect for: files need no server. */
static int open_place(dlq *d, tr_error *err)
{
    static char text[4096];
    bool url = strncmp(d->destination, "http", 4) == 0; /* what can be read at a URL is a queue */
    if (url || !strchr(d->destination, ':')) {
        int n = snprintf(text, sizeof text, "%s:%s", url ? "queue" : "sqlite", d->destination);
        if (n < 0 || (size_t)n >= sizeof text)
            return tr_fail(err, TR_EINVAL, "the path of the queue is too long");
        d->destination = text;
    }
    int e = 0;
    if (d->where.data || d->where.endpoint || d->bus || tr_failure_needs_client(d->destination))
        e = tr_cli_connect(&d->where, &d->place, err);
    if (e)
        return e;
    const tr_failure_options o = {.destination = d->destination,
                                  .existing = true,
                                  .client = d->place.client,
                                  .region = d->where.region,
                                  .profile = d->where.profile,
                                  .logger = tr_cli_logger()};
    return tr_failure_sink_open(&o, &d->sink, err);
}

static int run(tr_cli *cli)
{
    static dlq d;
    tr_error err = {0};
    d.cli = cli;
    int usage = parse(cli, &d);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    const tr_cli_verb *verb = tr_cli_verb_of(cli, verbs);
    if (!verb)
        return TR_EXIT_USAGE;
    if (!d.destination)
        return tr_cli_usage(cli, "--queue DEST is needed");
    if (verb->run == redrive && !d.code.given == !d.bus)
        return tr_cli_usage(cli, "redrive needs one of --exec, --exec-each, --url, --handler and --bus");
    if (cli->argc > 1)
        d.id = tr_view_str(cli->argv[1]);
    d.whole = strcmp(verb->name, "show") == 0;
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = open_place(&d, &err);
    if (!e)
        e = verb->run(&d, &err);
    tr_failure_sink_free(d.sink);
    tr_cli_disconnect(&d.place);
    return e ? tr_cli_fail(&err) : TR_EXIT_OK;
}

const tr_cli_command tr_cli_dlq = {.name = "dlq",
                                   .summary = "Look at what was given up, try it again, or throw it away.",
                                   .arguments = "list | show ID | redrive [ID] | purge",
                                   .options = options,
                                   .run = run};
