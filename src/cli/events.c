/* SPDX-License-Identifier: MIT */
#include "cli/events.h"

#include <tailrace/schema.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static const tr_cli_option options[] = {
    {"table", TR_CLI_EVENTS_TABLE, "TABLE",
     "the events' table (" TR_EVENT_TABLE "; legacy layout: the store's id)"},
    {"legacy", TR_CLI_EVENTS_LEGACY, NULL, "castore's legacy layout: one table per store"},
    {"stream", TR_CLI_EVENTS_STREAM, NULL,
     "init: with the change stream that publishing and subscriptions need"},
    {"snapshots", TR_CLI_EVENTS_SNAPSHOTS, "TABLE",
     "init: make a table for snapshots too\naggregate, and to a bus with state-carrying messages: begin at "
     "snapshots in\nTABLE, and take one when --snapshot-every says so"},
    {"snapshot-every", TR_CLI_EVENTS_SNAPSHOT_EVERY, "N",
     "take a snapshot where N events or more were folded behind the one before\n(100)"},
    {"expect", TR_CLI_EVENTS_EXPECT, "any|none|exists",
     "push, group: what events without a version want: any (default: the next\nversion), none (a new "
     "aggregate), exists "
     "(an aggregate with events)"},
    {"force", TR_CLI_EVENTS_FORCE, NULL, "push, group: overwrite events that are there"},
    {"strict", TR_CLI_EVENTS_STRICT, NULL, "push, group: refuse a version whose predecessor is missing"},
    {"atomic", TR_CLI_EVENTS_ATOMIC, NULL, "push: all events in one transaction"},
    {"parallel", TR_CLI_EVENTS_PARALLEL, "N", "push: so many aggregates at once (1)"},
    {"min", TR_CLI_EVENTS_MIN, "VERSION", "get: from this version"},
    {"max", TR_CLI_EVENTS_MAX, "VERSION", "get, aggregate: up to this version"},
    {"reverse", TR_CLI_EVENTS_REVERSE, NULL, "get, list: newest first"},
    {"limit", TR_CLI_EVENTS_LIMIT, "N", "get: at most N events; list: of a page"},
    {"after", TR_CLI_EVENTS_AFTER, "TIME", "list: begun at this time or later"},
    {"before", TR_CLI_EVENTS_BEFORE, "TIME", "list: begun at this time or earlier"},
    {"page-token", TR_CLI_EVENTS_PAGE_TOKEN, "TOKEN", "list: go on where a page ended"},
    {"all", TR_CLI_EVENTS_ALL, NULL, "list: all pages"},
    {"at", TR_CLI_EVENTS_AT, "TIME", "aggregate: as it was then (RFC 3339)"},
    {"rules", TR_CLI_EVENTS_RULES, "FILE",
     "aggregate, publish, project: how events are folded, in JSON (else payloads are merged)"},
    {"with", TR_CLI_EVENTS_WITH, "FILE",
     "aggregate: fold these events in too, without pushing them (-: standard input)"},
    {"type", TR_CLI_EVENTS_TYPE, "TYPE",
     "subscribe, publish, pour, project: events of this type; may be given several times"},
    {"order", TR_CLI_EVENTS_ORDER, "time|aggregate",
     "subscribe: of what is in the table already: by timestamp, once all of it was\nread (time), or as it is "
     "read, an aggregate's events by version (aggregate)"},
    {"from", TR_CLI_EVENTS_FROM, "WHERE",
     "subscribe, publish: beginning, now, a time or -15m, and give an earlier\nposition up; without, where "
     "the "
     "last run ended, at first at the beginning\n(publish: now)\npour: events of this time or later"},
    {"until", TR_CLI_EVENTS_UNTIL, "TIME", "pour: events of this time or earlier"},
    {"to", TR_CLI_EVENTS_TO, "DEST",
     "subscribe, pour: -, bus:NAME or table:TABLE (-); or one of the following four\nproject: sqlite:FILE or "
     "table:TABLE"},
    TR_CLI_CODE_OPTIONS,
    {"bus", TR_CLI_EVENTS_BUS, "NAME", "publish: the bus"},
    {"message", TR_CLI_EVENTS_MESSAGE, "KIND",
     "to a bus: notification (default), state-carrying (with --rules) or\naggregate-exists"},
    {"on-failure", TR_CLI_EVENTS_ON_FAILURE, "DEST",
     "to a bus: where what it refuses for good goes, as for tailrace on;\nwithout, that ends the command"},
    {"rate", TR_CLI_EVENTS_RATE, "N", "pour: at most N events per second"},
    {"batch-size", TR_CLI_EVENTS_BATCH, "N", "subscribe, publish, pour: at most N events at a time (100)"},
    {"of-version", TR_CLI_EVENTS_VERSION, "V",
     "project: of the rules or the code (1); another one wants --rebuild"},
    {"rebuild", TR_CLI_EVENTS_REBUILD, NULL,
     "project: make the rows once more, while those that are there serve"},
    {"once", TR_CLI_EVENTS_ONCE, NULL,
     "subscribe, publish, project: end when everything there is was brought"},
    {"state", TR_CLI_EVENTS_STATE, "FILE",
     "subscribe, publish, pour, project: where the position and what is waiting is\nkept; else below "
     "$XDG_STATE_HOME/tailrace"},
    TR_CLI_FLEET_OPTIONS,
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

/* ------------------------------------------------------------------------------------------------ helpers */

#define PUSH_PATIENCE_MS 60000 /* a server that is restarted meanwhile is waited for, as by --once */
#define TELL_EVERY_MS    5000  /* one line for all pushes under way */

/* Pushes that cannot reach the service tell of it, each. */
static void tell_trouble(void *ctx, tr_log_level level, const char *message)
{
    static _Atomic(int64_t) told_ms = INT64_MIN / 2;
    int64_t now = tr_clock_mono_ms(), last = atomic_load(&told_ms);
    (void)ctx;
    if (now - last >= TELL_EVERY_MS && atomic_compare_exchange_strong(&told_ms, &last, now))
        tr_cli_message(level, "%s", message);
}

int tr_cli_open_store(tr_cli_events *c, const char *id, const char *table, tr_eventstore **ret_store,
                      tr_error *err)
{
    tr_eventstore_options o = {.store_id = id,
                               .table = table ? table : c->table,
                               .patience_ms = PUSH_PATIENCE_MS,
                               .logger = {.fn = tell_trouble},
                               .layout = c->legacy ? TR_EVENTS_LEGACY : TR_EVENTS_SINGLE_TABLE};
    return tr_eventstore_new(c->place.client, &o, ret_store, err);
}

/* One line into l->line, without what ends it. False at the end of the file. */
static bool read_line(tr_cli_lines *l)
{
    int c;
    tr_buf_reset(&l->line);
    while ((c = getc_unlocked(l->file)) != EOF && c != '\n')
        tr_buf_putc(&l->line, (char)c);
    while (l->line.len && strchr(" \t\r", l->line.ptr[l->line.len - 1]))
        l->line.len--;
    return c != EOF || l->line.len;
}

void tr_cli_lines_init(tr_cli_lines *l, void *file)
{
    *l = (tr_cli_lines){.file = file};
    tr_buf_init(&l->line, TR_CLI_LINE_MAX);
}

int tr_cli_next_line(tr_cli_lines *l, tr_view *ret_line, tr_error *err)
{
    errno = 0;
    while (read_line(l)) {
        l->number++;
        int e = tr_buf_status(&l->line);
        if (e)
            return tr_fail(err, e, "line %llu: a line has at most %zu bytes", (unsigned long long)l->number,
                           TR_CLI_LINE_MAX);
        if (l->line.len) {
            *ret_line = tr_buf_view(&l->line);
            return 0;
        }
    }
    return ferror(l->file) ? tr_fail(err, TR_EIO, "reading the events: %s", strerror(errno))
                           : tr_fail(err, TR_ECLOSED, "%s", tr_strerror(TR_ECLOSED));
}

void tr_cli_lines_done(tr_cli_lines *l)
{
    tr_buf_done(&l->line);
}

int tr_cli_line_error(const tr_cli_lines *l, int code, tr_error *err)
{
    tr_error first = *err;
    if (code == TR_EINVAL)
        code = TR_EPARSE;
    return tr_fail_service(err, code, first.http_status, first.type, "line %llu: %.1900s",
                           (unsigned long long)l->number, first.message);
}

int tr_cli_print_line(tr_buf *text, tr_error *err)
{
    tr_buf_putc(text, '\n');
    int e = tr_buf_status(text);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    if (fwrite(text->ptr, 1, text->len, stdout) != text->len)
        return tr_cli_print_failed(err);
    return 0;
}

int tr_cli_print_event(const tr_event *event, tr_error *err)
{
    tr_buf out;
    tr_json_writer w;
    tr_buf_init(&out, 4 * TR_CLI_LINE_MAX);
    tr_json_write_init(&w, &out);
    tr_event_write(&w, event, NULL);
    int e = tr_cli_print_line(&out, err);
    tr_buf_done(&out);
    return e;
}

static int make_table(tr_cli_events *c, tr_schema_table table, const char *name, tr_error *err)
{
    tr_schema_options o = {.table = name, .stream = c->stream};
    int e = tr_schema_create(c->place.client, table, &o, err);
    if (!e)
        tr_cli_message(TR_LOG_INFO, "table %s is ready", name ? name : tr_schema_default_name(table));
    return e;
}

/* Of both tables what is missing. TR_EEXIST if neither is. */
static int make_tables(tr_cli_events *c, tr_schema_table table, const char *name, tr_error *err)
{
    tr_error there;
    int first = make_table(c, table, name, &there);
    if (first && first != TR_EEXIST) {
        *err = there;
        return first;
    }
    int second = make_table(c, TR_SCHEMA_SNAPSHOTS, c->snapshots, err);
    if (second == TR_EEXIST && !first) {
        tr_cli_message(TR_LOG_INFO, "%s", err->message);
        return 0;
    }
    if (!second && first)
        tr_cli_message(TR_LOG_INFO, "%s", there.message);
    return second;
}

int tr_cli_events_init(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    const char *table = c->table ? c->table : c->legacy && c->cli->argc > 1 ? c->cli->argv[1] : NULL;
    const tr_schema_table events = c->legacy ? TR_SCHEMA_LEGACY_EVENTS : TR_SCHEMA_EVENTS;
    return c->snapshots ? make_tables(c, events, table, err) : make_table(c, events, table, err);
}

/* ------------------------------------------------------------------------------------------------ verbs */

/* The service does not say which table it has not found. */
int tr_cli_name_table(const tr_eventstore *store, int code, tr_error *err)
{
    tr_buf name;
    tr_error first = *err;
    if (!code || strcmp(first.type, "ResourceNotFoundException") != 0)
        return code;
    tr_buf_init(&name, 4096);
    tr_eventstore_table(store, &name);
    code = tr_fail_service(err, code, first.http_status, first.type, "table %.*s: %.1900s",
                           TR_FMT(tr_buf_view(&name)), first.message);
    tr_buf_done(&name);
    return code;
}

/* Of the verbs whose first argument is a store's id. */
static int on_store(tr_cli_events *c, int (*run)(void *, tr_error *), tr_error *err)
{
    int e = tr_cli_open_store(c, c->cli->argv[1], NULL, &c->store, err);
    if (!e)
        e = tr_cli_name_table(c->store, run(c, err), err);
    tr_eventstore_free(c->store);
    c->store = NULL;
    return e;
}

static int push(void *ctx, tr_error *err)
{
    return on_store(ctx, tr_cli_events_push, err);
}

static int get(void *ctx, tr_error *err)
{
    return on_store(ctx, tr_cli_events_get, err);
}

static int list(void *ctx, tr_error *err)
{
    return on_store(ctx, tr_cli_events_list, err);
}

static int aggregate(void *ctx, tr_error *err)
{
    return on_store(ctx, tr_cli_events_aggregate, err);
}

static const tr_cli_verb verbs[] = {
    {"init", 1, 2,
     "events init [--table TABLE] [--stream] [--snapshots TABLE], or events init STORE --legacy",
     tr_cli_events_init},
    {"push", 2, 2, "events push STORE, with events as JSON lines on the standard input", push},
    {"group", 1, 1,
     "events group, with events as JSON lines on the standard input, each with its eventStoreId",
     tr_cli_events_group},
    {"get", 3, 3, "events get STORE AGGREGATE", get},
    {"list", 2, 2, "events list STORE", list},
    {"aggregate", 3, 3, "events aggregate STORE AGGREGATE", aggregate},
    {"subscribe", 1, 1 + TR_SELECTION_MAX, "events subscribe [STORE…]", tr_cli_events_subscribe},
    {"publish", 1, 1 + TR_SELECTION_MAX, "events publish [STORE…] --bus NAME", tr_cli_events_publish},
    {"pour", 2, 1 + TR_SELECTION_MAX,
     "events pour STORE… [--from TIME] [--until TIME] [--rate N] [--to DEST]", tr_cli_events_pour},
    {"project", 2, 2 + TR_SELECTION_MAX, "events project NAME [STORE…] --to sqlite:FILE|table:TABLE",
     tr_cli_events_project},
    {NULL, 0, 0, NULL, NULL}};

static int take_time(tr_cli *cli, int64_t *ret_ms)
{
    if (tr_time_parse(tr_view_str(cli->value), ret_ms) == 0)
        return 0;
    return tr_cli_usage(cli, "--at is a time such as 2026-01-31T12:00:00Z, not '%s'", cli->value);
}

static int take_number(tr_cli_events *c, int option)
{
    switch (option) {
    case TR_CLI_EVENTS_MIN:
        return tr_cli_number(c->cli, "min", 1, TR_EVENT_VERSION_MAX, &c->min);
    case TR_CLI_EVENTS_MAX:
        return tr_cli_number(c->cli, "max", 1, TR_EVENT_VERSION_MAX, &c->max);
    case TR_CLI_EVENTS_LIMIT:
        return tr_cli_number(c->cli, "limit", 1, INT32_MAX, &c->limit);
    case TR_CLI_EVENTS_PARALLEL:
        return tr_cli_number(c->cli, "parallel", 1, 1024, &c->parallel);
    case TR_CLI_EVENTS_RATE:
        return tr_cli_number(c->cli, "rate", 1, 1000000, &c->rate);
    case TR_CLI_EVENTS_SNAPSHOT_EVERY:
        return tr_cli_number(c->cli, "snapshot-every", 1, TR_EVENT_VERSION_MAX, &c->snapshot_every);
    case TR_CLI_EVENTS_BATCH:
        return tr_cli_number(c->cli, "batch-size", 1, TR_SUBSCRIBED_MAX, &c->batch);
    default:
        return take_time(c->cli, &c->at_ms);
    }
}

static void take_text(tr_cli_events *c, int option)
{
    const char **texts[] = {[0] = &c->table,
                            [TR_CLI_EVENTS_EXPECT - TR_CLI_EVENTS_TABLE] = &c->expect,
                            [TR_CLI_EVENTS_AFTER - TR_CLI_EVENTS_TABLE] = &c->after,
                            [TR_CLI_EVENTS_BEFORE - TR_CLI_EVENTS_TABLE] = &c->before,
                            [TR_CLI_EVENTS_PAGE_TOKEN - TR_CLI_EVENTS_TABLE] = &c->page_token,
                            [TR_CLI_EVENTS_RULES - TR_CLI_EVENTS_TABLE] = &c->rules,
                            [TR_CLI_EVENTS_WITH - TR_CLI_EVENTS_TABLE] = &c->with,
                            [TR_CLI_EVENTS_SNAPSHOTS - TR_CLI_EVENTS_TABLE] = &c->snapshots,
                            [TR_CLI_EVENTS_ORDER - TR_CLI_EVENTS_TABLE] = &c->order,
                            [TR_CLI_EVENTS_FROM - TR_CLI_EVENTS_TABLE] = &c->from,
                            [TR_CLI_EVENTS_UNTIL - TR_CLI_EVENTS_TABLE] = &c->until,
                            [TR_CLI_EVENTS_TO - TR_CLI_EVENTS_TABLE] = &c->to,
                            [TR_CLI_EVENTS_STATE - TR_CLI_EVENTS_TABLE] = &c->state,
                            [TR_CLI_EVENTS_BUS - TR_CLI_EVENTS_TABLE] = &c->bus,
                            [TR_CLI_EVENTS_MESSAGE - TR_CLI_EVENTS_TABLE] = &c->message,
                            [TR_CLI_EVENTS_ON_FAILURE - TR_CLI_EVENTS_TABLE] = &c->on_failure,
                            [TR_CLI_EVENTS_VERSION - TR_CLI_EVENTS_TABLE] = &c->version};
    *texts[option - TR_CLI_EVENTS_TABLE] = c->cli->value;
}

static int take_option(tr_cli_events *c, int option)
{
    switch (option) {
    case TR_CLI_EVENTS_LEGACY:
        c->legacy = true;
        break;
    case TR_CLI_EVENTS_FORCE:
        c->force = true;
        break;
    case TR_CLI_EVENTS_STRICT:
        c->strict = true;
        break;
    case TR_CLI_EVENTS_ATOMIC:
        c->atomic = true;
        break;
    case TR_CLI_EVENTS_REVERSE:
        c->reverse = true;
        break;
    case TR_CLI_EVENTS_ALL:
        c->all = true;
        break;
    case TR_CLI_EVENTS_STREAM:
        c->stream = true;
        break;
    case TR_CLI_EVENTS_ONCE:
        c->once = true;
        break;
    case TR_CLI_EVENTS_REBUILD:
        c->rebuild = true;
        break;
    case TR_CLI_EVENTS_TYPE:
        if (c->type_count == TR_CLI_EVENT_TYPES_MAX)
            return tr_cli_usage(c->cli, "--type may be given at most %d times", TR_CLI_EVENT_TYPES_MAX);
        c->types[c->type_count++] = c->cli->value;
        break;
    case TR_CLI_EVENTS_MIN:
    case TR_CLI_EVENTS_MAX:
    case TR_CLI_EVENTS_LIMIT:
    case TR_CLI_EVENTS_PARALLEL:
    case TR_CLI_EVENTS_RATE:
    case TR_CLI_EVENTS_BATCH:
    case TR_CLI_EVENTS_SNAPSHOT_EVERY:
    case TR_CLI_EVENTS_AT:
        return take_number(c, option);
    default:
        take_text(c, option);
    }
    return 0;
}

static int parse(tr_cli *cli, tr_cli_events *c)
{
    int option, e = 0;
    bool taken;
    while (!e && (option = tr_cli_next(cli)) > 0) {
        c->given |= tr_cli_events_bit(option);
        if (tr_cli_where_take(&c->where, option, cli) || tr_cli_fleet_take(&c->fleet, option, cli, &e))
            continue;
        e = tr_cli_code_take(&c->code, option, cli, &taken);
        if (!e && !taken)
            e = take_option(c, option);
        if (!e && option == TR_CLI_EVENTS_TABLE)
            e = tr_cli_table_name(cli, cli->value);
    }
    if (c->code.given && c->code.options.kind == TR_HANDLER_EXEC)
        c->exec = c->code.options.target;
    return e ? e : option < 0 ? (cli->exit_code ? cli->exit_code : -1) : 0;
}

static int run(tr_cli *cli)
{
    static tr_cli_events c;
    c = (tr_cli_events){.cli = cli, .parallel = 1};
    int usage = parse(cli, &c);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    const tr_cli_verb *verb = tr_cli_verb_of(cli, verbs);
    if (verb && (usage = tr_cli_events_check(&c, verb->name)))
        return usage;
    c.where.makes = verb && verb->run == tr_cli_events_init;
    int code = verb ? tr_cli_verb_run(verb, &c.where, &c.place, &c) : TR_EXIT_USAGE;
    return code == TR_EXIT_OK && tr_cli_stopped() ? TR_EXIT_INTERRUPTED : code;
}

const tr_cli_command tr_cli_events_command = {
    .name = "events",
    .summary = "An event store in castore's layout: create the table, push, read, fold, follow, publish.",
    .arguments =
        "init | push STORE | group | get STORE AGGREGATE | list STORE | aggregate STORE AGGREGATE |\n"
        "       subscribe [STORE…] | publish [STORE…] --bus NAME | pour STORE… |\n"
        "       project NAME [STORE…] --to WHERE",
    .text =
        "Events are JSON lines in castore's shape:\n"
        "  {\"aggregateId\":\"a-1\",\"version\":1,\"type\":\"OPENED\",\"payload\":{…},\"metadata\":{…}}\n"
        "push and group read them from the standard input and print them as stored. Without a version an\n"
        "event gets the next one; without a timestamp, the present time. group wants a member eventStoreId\n"
        "in each (or castore's {\"eventStoreId\":…,\"event\":{…}}), and takes "
        "{\"eventStoreId\":…,\"aggregateId\":…,\n"
        "\"version\":…,\"check\":true} for an aggregate that must still be at that version.\n"
        "aggregate --exec CMD: a command that folds: events as JSON lines in, one object out.\n"
        "\n"
        "subscribe brings everything that is in the table, by timestamp, and then what is pushed, as lines "
        "of\n"
        "{\"eventStoreId\":…,\"event\":{…}}; code is given {\"events\":[…]} of these. publish brings what "
        "is\n"
        "pushed to a bus, in castore's messages. pour brings old events once more, by timestamp.\n"
        "project keeps rows up to date: an aggregate each, by --rules, or what code answers to\n"
        "{\"event\":{…},\"rows\":{…}}: {\"rows\":{KEY:{…}|null}}, or {\"need\":[KEY,…]} to be given more "
        "rows.",
    .options = options,
    .run = run};
