/* SPDX-License-Identifier: MIT */
#include "cli/events.h"

#include <tailrace/schema.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OPT_TABLE = 0x100,
    OPT_LEGACY,
    OPT_FORCE,
    OPT_STRICT,
    OPT_EXPECT,
    OPT_ATOMIC,
    OPT_PARALLEL,
    OPT_MIN,
    OPT_MAX,
    OPT_REVERSE,
    OPT_LIMIT,
    OPT_AFTER,
    OPT_BEFORE,
    OPT_PAGE_TOKEN,
    OPT_ALL,
    OPT_AT,
    OPT_RULES,
    OPT_EXEC,
    OPT_WITH,
    OPT_SNAPSHOTS,
    OPT_STREAM
};

static const tr_cli_option options[] = {
    {"table", OPT_TABLE, "TABLE", "the events' table (" TR_EVENT_TABLE "; legacy layout: the store's id)"},
    {"legacy", OPT_LEGACY, NULL, "castore's legacy layout: one table per store"},
    {"stream", OPT_STREAM, NULL, "init: with the change stream that publishing and subscriptions need"},
    {"snapshots", OPT_SNAPSHOTS, "TABLE",
     "init: make a table for snapshots too\naggregate: begin at snapshots in TABLE, and take them"},
    {"expect", OPT_EXPECT, "any|none|exists",
     "push, group: what events without a version want: any (default: the next\nversion), none (a new "
     "aggregate), exists "
     "(an aggregate with events)"},
    {"force", OPT_FORCE, NULL, "push, group: overwrite events that are there"},
    {"strict", OPT_STRICT, NULL, "push, group: refuse a version whose predecessor is missing"},
    {"atomic", OPT_ATOMIC, NULL, "push: all events in one transaction"},
    {"parallel", OPT_PARALLEL, "N", "push: so many aggregates at once (1)"},
    {"min", OPT_MIN, "VERSION", "get: from this version"},
    {"max", OPT_MAX, "VERSION", "get, aggregate: up to this version"},
    {"reverse", OPT_REVERSE, NULL, "get, list: newest first"},
    {"limit", OPT_LIMIT, "N", "get: at most N events; list: of a page"},
    {"after", OPT_AFTER, "TIME", "list: begun at this time or later"},
    {"before", OPT_BEFORE, "TIME", "list: begun at this time or earlier"},
    {"page-token", OPT_PAGE_TOKEN, "TOKEN", "list: go on where a page ended"},
    {"all", OPT_ALL, NULL, "list: all pages"},
    {"at", OPT_AT, "TIME", "aggregate: as it was then (RFC 3339)"},
    {"rules", OPT_RULES, "FILE", "aggregate: how events are folded, in JSON (else payloads are merged)"},
    {"exec", OPT_EXEC, "CMD", "aggregate: a command that folds: events as JSON lines in, one object out"},
    {"with", OPT_WITH, "FILE",
     "aggregate: fold these events in too, without pushing them (-: standard input)"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

/* ------------------------------------------------------------------------------------------------ helpers */

int tr_cli_open_store(tr_cli_events *c, const char *id, const char *table, tr_eventstore **ret_store,
                      tr_error *err)
{
    tr_eventstore_options o = {.store_id = id,
                               .table = table ? table : c->table,
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
        return tr_fail(err, TR_EIO, "writing to the standard output: %s", strerror(errno));
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

int tr_cli_events_init(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    const char *table = c->table ? c->table : c->legacy && c->cli->argc > 1 ? c->cli->argv[1] : NULL;
    int e = make_table(c, c->legacy ? TR_SCHEMA_LEGACY_EVENTS : TR_SCHEMA_EVENTS, table, err);
    if (!e && c->snapshots)
        e = make_table(c, TR_SCHEMA_SNAPSHOTS, c->snapshots, err);
    return e;
}

/* ------------------------------------------------------------------------------------------------ verbs */

/* Of the verbs whose first argument is a store's id. */
static int on_store(tr_cli_events *c, int (*run)(void *, tr_error *), tr_error *err)
{
    int e = tr_cli_open_store(c, c->cli->argv[1], NULL, &c->store, err);
    if (!e)
        e = run(c, err);
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
    {"init", 1, 2, "events init [--table TABLE] [--legacy] [--stream]", tr_cli_events_init},
    {"push", 2, 2, "events push STORE, with events as JSON lines on the standard input", push},
    {"group", 1, 1,
     "events group, with events as JSON lines on the standard input, each with its eventStoreId",
     tr_cli_events_group},
    {"get", 3, 3, "events get STORE AGGREGATE", get},
    {"list", 2, 2, "events list STORE", list},
    {"aggregate", 3, 3, "events aggregate STORE AGGREGATE", aggregate},
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
    case OPT_MIN:
        return tr_cli_number(c->cli, "--min", 1, TR_EVENT_VERSION_MAX, &c->min);
    case OPT_MAX:
        return tr_cli_number(c->cli, "--max", 1, TR_EVENT_VERSION_MAX, &c->max);
    case OPT_LIMIT:
        return tr_cli_number(c->cli, "--limit", 1, INT32_MAX, &c->limit);
    case OPT_PARALLEL:
        return tr_cli_number(c->cli, "--parallel", 1, 1024, &c->parallel);
    default:
        return take_time(c->cli, &c->at_ms);
    }
}

static void take_text(tr_cli_events *c, int option)
{
    const char **texts[] = {[0] = &c->table,
                            [OPT_EXPECT - OPT_TABLE] = &c->expect,
                            [OPT_AFTER - OPT_TABLE] = &c->after,
                            [OPT_BEFORE - OPT_TABLE] = &c->before,
                            [OPT_PAGE_TOKEN - OPT_TABLE] = &c->page_token,
                            [OPT_RULES - OPT_TABLE] = &c->rules,
                            [OPT_EXEC - OPT_TABLE] = &c->exec,
                            [OPT_WITH - OPT_TABLE] = &c->with,
                            [OPT_SNAPSHOTS - OPT_TABLE] = &c->snapshots};
    *texts[option - OPT_TABLE] = c->cli->value;
}

static int take_option(tr_cli_events *c, int option)
{
    switch (option) {
    case OPT_LEGACY:
        c->legacy = true;
        break;
    case OPT_FORCE:
        c->force = true;
        break;
    case OPT_STRICT:
        c->strict = true;
        break;
    case OPT_ATOMIC:
        c->atomic = true;
        break;
    case OPT_REVERSE:
        c->reverse = true;
        break;
    case OPT_ALL:
        c->all = true;
        break;
    case OPT_STREAM:
        c->stream = true;
        break;
    case OPT_MIN:
    case OPT_MAX:
    case OPT_LIMIT:
    case OPT_PARALLEL:
    case OPT_AT:
        return take_number(c, option);
    default:
        take_text(c, option);
    }
    return 0;
}

static int parse(tr_cli *cli, tr_cli_events *c)
{
    int option, e = 0;
    while (!e && (option = tr_cli_next(cli)) > 0)
        if (!tr_cli_where_take(&c->where, option, cli))
            e = take_option(c, option);
    return e ? e : option < 0 ? (cli->exit_code ? cli->exit_code : -1) : 0;
}

static int run(tr_cli *cli)
{
    tr_cli_events c = {.cli = cli, .parallel = 1};
    int usage = parse(cli, &c);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    const tr_cli_verb *verb = tr_cli_verb_of(cli, verbs);
    return verb ? tr_cli_verb_run(verb, &c.where, &c.place, &c) : TR_EXIT_USAGE;
}

const tr_cli_command tr_cli_events_command = {
    .name = "events",
    .summary = "An event store in castore's layout: create the table, push, read, list, fold.",
    .arguments = "init | push STORE | group | get STORE AGGREGATE | list STORE | aggregate STORE AGGREGATE",
    .text =
        "Events are JSON lines in castore's shape:\n"
        "  {\"aggregateId\":\"a-1\",\"version\":1,\"type\":\"OPENED\",\"payload\":{…},\"metadata\":{…}}\n"
        "push and group read them from the standard input and print them as stored. Without a version an\n"
        "event gets the next one; without a timestamp, the present time. group wants a member eventStoreId\n"
        "in each (or castore's {\"eventStoreId\":…,\"event\":{…}}), and takes "
        "{\"eventStoreId\":…,\"aggregateId\":…,\n"
        "\"version\":…,\"check\":true} for an aggregate that must still be at that version.",
    .options = options,
    .run = run};
