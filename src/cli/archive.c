/* SPDX-License-Identifier: MIT */
#include "cli/where.h"

#include <inttypes.h>
#include <stdio.h>

/* tailrace archive list | query NAME | export NAME: what the bus has archived, as JSON lines. */

enum { OPT_FROM = 0x100, OPT_TO, OPT_LOG, OPT_TYPE, OPT_LIMIT };

#define ANSWER_MAX ((size_t)64 * 1024 * 1024)
#define PAGE       500

static const tr_cli_option options[] = {
    {"from", OPT_FROM, "TIME", "only events from this time on (2026-01-31T00:00:00Z)"},
    {"to", OPT_TO, "TIME", "only events up to this time"},
    {"log", OPT_LOG, "LOG", "only events of this log"},
    {"type", OPT_TYPE, "TYPE", "only events of this type"},
    {"limit", OPT_LIMIT, "N", "query: at most N events (100)"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct archive_command {
    tr_cli *cli;
    tr_cli_where where;
    tr_cli_place place;
    const char *log, *type;
    int64_t from_ms, to_ms;
    uint64_t limit;
} archive_command;

static int call(archive_command *c, const char *operation, tr_view body, tr_buf *answer, tr_error *err)
{
    const tr_request request = {.service = TR_EVENTS, .operation = operation, .body = body};
    tr_buf_reset(answer);
    int e = tr_client_call_wait(c->place.client, &request, answer, err);
    return e ? e : tr_buf_status(answer) ? tr_fail(err, tr_buf_status(answer), "the answer is too large") : 0;
}

/* The elements of an array member, a line each. Returns how many, or a code. */
static int print_lines(tr_view answer, const char *member, bool whole, uint64_t most, uint64_t *ret_count,
                       tr_error *err)
{
    tr_arena arena;
    tr_json_reader r;
    tr_view list, value, event;
    uint64_t count = 0;
    tr_arena_init(&arena, ANSWER_MAX);
    int e = tr_json_member(answer, member, &arena, &list);
    if (!e) {
        tr_json_init(&r, list, &arena);
        (void)tr_json_next(&r);
        while (!e && count < most && tr_json_next(&r) == TR_JSON_OBJECT) {
            e = tr_json_raw(&r, &value);
            if (!e && !whole && tr_json_member(value, "event", &arena, &event) == 0)
                value = event;
            if (!e && (fwrite(value.ptr, 1, value.len, stdout) != value.len || putchar('\n') == EOF))
                e = TR_EIO;
            count++;
        }
    }
    tr_arena_done(&arena);
    if (e)
        return tr_fail(err, e, "printing the answer: %s", tr_strerror(e));
    *ret_count = count;
    return 0;
}

static int64_t after_of(tr_view answer)
{
    tr_arena arena;
    tr_view raw;
    uint64_t after = 0;
    tr_arena_init(&arena, ANSWER_MAX);
    if (tr_json_member(answer, "After", &arena, &raw) || tr_view_to_u64(raw, INT64_MAX, &after))
        after = 0;
    tr_arena_done(&arena);
    return (int64_t)after;
}

static int read_pages(archive_command *c, uint64_t most, bool whole, tr_error *err)
{
    tr_buf body, answer;
    tr_json_writer w;
    int64_t after = 0;
    int e = 0;
    tr_buf_init(&body, 65536);
    tr_buf_init(&answer, ANSWER_MAX);
    do {
        uint64_t count;
        tr_buf_reset(&body);
        tr_json_write_init(&w, &body);
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "ArchiveName", c->cli->argv[1]);
        tr_json_member_i64(&w, "After", after);
        tr_json_member_u64(&w, "Limit", most < PAGE ? most : PAGE);
        if (c->from_ms)
            tr_json_member_i64(&w, "StartTime", c->from_ms / 1000);
        if (c->to_ms)
            tr_json_member_i64(&w, "EndTime", c->to_ms / 1000);
        if (c->log)
            tr_json_member_cstring(&w, "Log", c->log);
        if (c->type)
            tr_json_member_cstring(&w, "Type", c->type);
        tr_json_end_object(&w);
        e = call(c, "QueryArchive", tr_buf_view(&body), &answer, err);
        if (!e)
            e = print_lines(tr_buf_view(&answer), "Events", whole, most, &count, err);
        if (!e)
            most -= count;
        after = e ? 0 : after_of(tr_buf_view(&answer));
    } while (!e && after && most);
    tr_buf_done(&body);
    tr_buf_done(&answer);
    return e;
}

static int query(void *ctx, tr_error *err)
{
    archive_command *c = ctx;
    return read_pages(c, c->limit, true, err);
}

static int export_all(void *ctx, tr_error *err)
{
    return read_pages(ctx, UINT64_MAX, false, err);
}

static int list(void *ctx, tr_error *err)
{
    tr_buf answer;
    uint64_t count;
    tr_buf_init(&answer, ANSWER_MAX);
    int e = call(ctx, "ListArchives", TR_VIEW("{}"), &answer, err);
    if (!e)
        e = print_lines(tr_buf_view(&answer), "Archives", true, UINT64_MAX, &count, err);
    tr_buf_done(&answer);
    return e;
}

static const tr_cli_verb verbs[] = {{"list", 1, 1, "archive list", list},
                                    {"query", 2, 2, "archive query NAME", query},
                                    {"export", 2, 2, "archive export NAME", export_all},
                                    {NULL, 0, 0, NULL, NULL}};

static int take_time(const tr_cli *cli, const char *option, int64_t *ret_ms)
{
    if (tr_time_parse(tr_view_str(cli->value), ret_ms) == 0)
        return 0;
    return tr_cli_usage(cli, "%s needs a time such as 2026-01-31T00:00:00Z, not '%s'", option, cli->value);
}

static int parse(tr_cli *cli, archive_command *c)
{
    int option, e = 0;
    while (!e && (option = tr_cli_next(cli)) > 0) {
        if (tr_cli_where_take(&c->where, option, cli))
            continue;
        switch (option) {
        case OPT_FROM:
            e = take_time(cli, "--from", &c->from_ms);
            break;
        case OPT_TO:
            e = take_time(cli, "--to", &c->to_ms);
            break;
        case OPT_LOG:
            c->log = cli->value;
            break;
        case OPT_TYPE:
            c->type = cli->value;
            break;
        default:
            e = tr_cli_number(cli, "--limit", 1, INT64_MAX, &c->limit);
        }
    }
    return e ? e : option < 0 ? (cli->exit_code ? cli->exit_code : -1) : 0;
}

static int run(tr_cli *cli)
{
    archive_command c = {.cli = cli, .limit = 100};
    int usage = parse(cli, &c);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    const tr_cli_verb *verb = tr_cli_verb_of(cli, verbs);
    return verb ? tr_cli_verb_run(verb, &c.where, &c.place, &c) : TR_EXIT_USAGE;
}

const tr_cli_command tr_cli_archive = {
    .name = "archive",
    .summary = "What the bus has archived: list archives, query one, export its events.",
    .arguments = "list | query NAME | export NAME",
    .text = "query prints a line per row of the archive, export a line per event, as it was on the bus.",
    .options = options,
    .run = run};
