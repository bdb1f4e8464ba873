/* SPDX-License-Identifier: MIT */
#include "cli/archive.h"
#include "cli/events.h"
#include "cli/where.h"

#include <tailrace/archive.h>
#include <tailrace/pattern.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* tailrace archive list | query | export | import | prune: what the bus has archived. */

enum { OPT_FROM = 0x100, OPT_TO, OPT_LOG, OPT_TYPE, OPT_PATTERN, OPT_LIMIT, OPT_KEEP, OPT_DRY_RUN };

#define ANSWER_MAX   ((size_t)64 * 1024 * 1024)
#define PAGE         500
#define IMPORT_COUNT 500                  /* events of a request, */
#define IMPORT_BYTES ((size_t)512 * 1024) /* and bytes, one larger event aside */
#define BODY_MAX     ((size_t)32 * 1024 * 1024)

static const tr_cli_option options[] = {
    {"from", OPT_FROM, "TIME", "only events from this time on (2026-01-31T00:00:00Z)"},
    {"until", OPT_TO, "TIME", "only events up to this time"},
    {"to", OPT_TO, "TIME", "the same as --until"},
    {"log", OPT_LOG, "LOG", "only events of this log"},
    {"type", OPT_TYPE, "TYPE", "only events of this type"},
    {"pattern", OPT_PATTERN, "PATTERN", "only events that match this event pattern"},
    {"limit", OPT_LIMIT, "N", "query: at most N events (100)"},
    {"keep", OPT_KEEP, "DURATION", "prune: what is older than that, such as 30d"},
    {"dry-run", OPT_DRY_RUN, NULL, "prune: count only"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct archive_command {
    tr_cli *cli;
    tr_cli_where where;
    tr_cli_place place;
    const char *log, *type, *pattern;
    int64_t from_ms, to_ms, keep_ms;
    uint64_t limit, count, sent, known;
    bool dry_run;
    tr_buf body, answer; /* of the call at hand */
} archive_command;

/* Calls with what is in body; the answer is in answer. */
static int call(archive_command *c, const char *operation, tr_error *err)
{
    const tr_request request = {.service = TR_EVENTS, .operation = operation, .body = tr_buf_view(&c->body)};
    int e = tr_buf_status(&c->body);
    if (e)
        return tr_fail(err, e, "the request is too large");
    tr_buf_reset(&c->answer);
    e = tr_client_call_wait(c->place.client, &request, &c->answer, err);
    return e                           ? e
           : tr_buf_status(&c->answer) ? tr_fail(err, tr_buf_status(&c->answer), "the answer is too large")
                                       : 0;
}

/* The elements of an array member of the answer, a line each. */
static int print_lines(archive_command *c, const char *member, bool whole, uint64_t most, uint64_t *ret_count,
                       tr_error *err)
{
    tr_arena arena;
    tr_json_reader r;
    tr_view list, value, event;
    tr_buf lines;
    uint64_t count = 0;
    tr_arena_init(&arena, ANSWER_MAX);
    tr_buf_init(&lines, ANSWER_MAX);
    int e = tr_json_member(tr_buf_view(&c->answer), member, &arena, &list);
    if (!e) {
        tr_json_init(&r, list, &arena);
        (void)tr_json_next(&r);
        while (!e && count < most && tr_json_next(&r) == TR_JSON_OBJECT) {
            e = tr_json_raw(&r, &value);
            if (!e && !whole && tr_json_member(value, "event", &arena, &event) == 0)
                value = event;
            tr_buf_put_view(&lines, value);
            tr_buf_putc(&lines, '\n');
            count++;
        }
    }
    e = e ? tr_fail(err, e, "reading the answer: %s", tr_strerror(e))
          : tr_cli_print(tr_buf_view(&lines), err);
    tr_buf_done(&lines);
    tr_arena_done(&arena);
    if (!e)
        *ret_count = count;
    return e;
}

static uint64_t number_of(archive_command *c, const char *member)
{
    tr_arena arena;
    tr_view raw;
    uint64_t number = 0;
    tr_arena_init(&arena, ANSWER_MAX);
    if (tr_json_member(tr_buf_view(&c->answer), member, &arena, &raw) ||
        tr_view_to_u64(raw, INT64_MAX, &number))
        number = 0;
    tr_arena_done(&arena);
    return number;
}

static void begin_body(archive_command *c, tr_json_writer *w)
{
    tr_buf_reset(&c->body);
    tr_json_write_init(w, &c->body);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "ArchiveName", c->cli->argv[1]);
}

static void write_selection(archive_command *c, tr_json_writer *w)
{
    if (c->from_ms)
        tr_json_member_i64(w, "StartTime", c->from_ms / 1000);
    if (c->to_ms)
        tr_json_member_i64(w, "EndTime", c->to_ms / 1000);
    if (c->log)
        tr_json_member_cstring(w, "Log", c->log);
    if (c->type)
        tr_json_member_cstring(w, "Type", c->type);
    if (c->pattern)
        tr_json_member_cstring(w, "EventPattern", c->pattern);
}

static int read_pages(archive_command *c, uint64_t most, bool whole, tr_error *err)
{
    uint64_t after = 0, count;
    int e = 0;
    do {
        tr_json_writer w;
        begin_body(c, &w);
        write_selection(c, &w);
        tr_json_member_u64(&w, "After", after);
        tr_json_member_u64(&w, "Limit", most < PAGE ? most : PAGE);
        tr_json_end_object(&w);
        e = call(c, "QueryArchive", err);
        if (!e)
            e = print_lines(c, "Events", whole, most, &count, err);
        if (!e)
            most -= count;
        after = e ? 0 : number_of(c, "After");
    } while (!e && after && most);
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
    archive_command *c = ctx;
    uint64_t count;
    tr_buf_reset(&c->body);
    tr_buf_put_str(&c->body, "{}");
    int e = call(c, "ListArchives", err);
    return e ? e : print_lines(c, "Archives", true, UINT64_MAX, &count, err);
}

/* -------------------------------------------------------------------------------------------------- import
 */

static int send_events(archive_command *c, tr_error *err)
{
    if (!c->count)
        return 0;
    tr_buf_put_str(&c->body, "]}");
    int e = call(c, "ImportArchive", err);
    if (e)
        return e;
    c->sent += number_of(c, "ImportedCount");
    c->known += number_of(c, "KnownCount");
    c->limit += c->count;
    c->count = 0;
    return 0;
}

static int add_event(archive_command *c, tr_view event, tr_error *err)
{
    tr_json_writer w;
    if (!c->count) {
        begin_body(c, &w);
        tr_buf_put_str(&c->body, ",\"Events\":[");
    } else {
        tr_buf_putc(&c->body, ',');
    }
    tr_buf_put_view(&c->body, event);
    c->count++;
    return c->count == IMPORT_COUNT || c->body.len > IMPORT_BYTES ? send_events(c, err) : 0;
}

typedef struct import_row {
    archive_command *c;
    tr_error *err;
} import_row;

static int add_row(void *ctx, const tr_archive_row *row)
{
    import_row *r = ctx;
    return add_event(r->c, row->event, r->err);
}

static int import_file(archive_command *c, const char *path, tr_error *err)
{
    tr_archive_file *file;
    const tr_archive_filter all = {.after = 0};
    import_row r = {c, err};
    int e = tr_archive_file_open(path, TR_ARCHIVE_READ, &file, err);
    if (e)
        return e;
    e = tr_archive_file_read(file, &all, 0, add_row, &r, NULL, err);
    tr_archive_file_close(file);
    return e;
}

static int import_lines(archive_command *c, FILE *in, tr_error *err)
{
    tr_cli_lines lines;
    tr_view line;
    int e;
    tr_cli_lines_init(&lines, in);
    while ((e = tr_cli_next_line(&lines, &line, err)) == 0) {
        if (tr_pattern_check_event(line, NULL)) {
            (void)tr_fail(err, TR_EINVAL,
                          "this is no event, which has id, account, source, time, region and detail-type");
            e = tr_cli_line_error(&lines, TR_EINVAL, err);
        }
        if (e || (e = add_event(c, line, err)) != 0)
            break;
    }
    tr_cli_lines_done(&lines);
    return e == TR_ECLOSED ? 0 : e;
}

static int import(void *ctx, tr_error *err)
{
    archive_command *c = ctx;
    c->limit = 0; /* counts what was read */
    int e = c->cli->argc == 3 ? import_file(c, c->cli->argv[2], err) : import_lines(c, stdin, err);
    if (!e)
        e = send_events(c, err);
    if (!e || c->limit)
        tr_cli_message(TR_LOG_INFO, "%" PRIu64 " events imported of %" PRIu64 " read, %" PRIu64 " were there",
                       c->sent, c->limit, c->known);
    return e;
}

/* --------------------------------------------------------------------------------------------------- prune
 */

static int count_selection(archive_command *c, tr_error *err)
{
    tr_json_writer w;
    if (c->pattern)
        return tr_fail(err, TR_EINVAL, "--dry-run cannot count by --pattern");
    begin_body(c, &w);
    write_selection(c, &w);
    tr_json_member_bool(&w, "Count", true);
    tr_json_end_object(&w);
    int e = call(c, "QueryArchive", err);
    if (!e)
        tr_cli_message(TR_LOG_INFO, "%" PRIu64 " events would be removed", number_of(c, "EventCount"));
    return e;
}

static bool more(archive_command *c)
{
    tr_arena arena;
    tr_view raw;
    tr_arena_init(&arena, ANSWER_MAX);
    bool is = tr_json_member(tr_buf_view(&c->answer), "More", &arena, &raw) == 0 && tr_view_is(raw, "true");
    tr_arena_done(&arena);
    return is;
}

static int prune(void *ctx, tr_error *err)
{
    archive_command *c = ctx;
    tr_json_writer w;
    int e;
    if (c->keep_ms)
        c->to_ms = tr_clock_wall_ms() - c->keep_ms;
    if (c->dry_run)
        return count_selection(c, err);
    do {
        begin_body(c, &w);
        write_selection(c, &w);
        tr_json_end_object(&w);
        e = call(c, "PruneArchive", err);
        if (!e)
            c->count += number_of(c, "PrunedCount");
    } while (!e && more(c));
    if (!e || c->count)
        tr_cli_message(TR_LOG_INFO, "%" PRIu64 " events removed", c->count);
    return e;
}

static const tr_cli_verb verbs[] = {{"list", 1, 1, "archive list", list},
                                    {"query", 2, 2, "archive query NAME", query},
                                    {"export", 2, 2, "archive export NAME", export_all},
                                    {"import", 2, 3, "archive import NAME [FILE.sqlite]", import},
                                    {"prune", 2, 2, "archive prune NAME", prune},
                                    {NULL, 0, 0, NULL, NULL}};

int tr_cli_time(const tr_cli *cli, const char *option, const char *text, int64_t *ret_ms)
{
    if (tr_time_parse(tr_view_str(text), ret_ms) == 0)
        return 0;
    return tr_cli_usage(cli, "--%s needs a time such as 2026-01-31T00:00:00Z, not '%s'", option, text);
}

static int parse(tr_cli *cli, archive_command *c)
{
    int option, e = 0;
    while (!e && (option = tr_cli_next(cli)) > 0) {
        if (tr_cli_where_take(&c->where, option, cli))
            continue;
        switch (option) {
        case OPT_FROM:
            e = tr_cli_time(cli, "from", cli->value, &c->from_ms);
            break;
        case OPT_TO:
            e = tr_cli_time(cli, "until", cli->value, &c->to_ms);
            break;
        case OPT_LOG:
            c->log = cli->value;
            break;
        case OPT_TYPE:
            c->type = cli->value;
            break;
        case OPT_PATTERN:
            c->pattern = cli->value;
            break;
        case OPT_KEEP:
            e = tr_cli_duration_within(cli, "keep", "1s", "36500d", &c->keep_ms);
            break;
        case OPT_DRY_RUN:
            c->dry_run = true;
            break;
        default:
            e = tr_cli_number(cli, "limit", 1, INT64_MAX, &c->limit);
        }
    }
    if (!e && option == 0 && c->keep_ms && c->to_ms)
        e = tr_cli_usage(cli, "--keep and --until both say which are old enough: give one");
    if (!e && option == 0 && c->to_ms && c->from_ms > c->to_ms)
        e = tr_cli_usage(cli, "--from is after the end, --until");
    return e ? e : option < 0 ? (cli->exit_code ? cli->exit_code : -1) : 0;
}

static int run(tr_cli *cli)
{
    archive_command c = {.cli = cli, .limit = 100};
    int usage = parse(cli, &c);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    const tr_cli_verb *verb = tr_cli_verb_of(cli, verbs);
    if (!verb)
        return TR_EXIT_USAGE;
    tr_buf_init(&c.body, BODY_MAX);
    tr_buf_init(&c.answer, ANSWER_MAX);
    int code = tr_cli_verb_run(verb, &c.where, &c.place, &c);
    tr_buf_done(&c.body);
    tr_buf_done(&c.answer);
    return code;
}

const tr_cli_command tr_cli_archive = {
    .name = "archive",
    .summary = "What the bus has archived: look at it, take it out, bring it in, throw it away.",
    .arguments = "list | query NAME | export NAME | import NAME [FILE] | prune NAME",
    .text =
        "query prints a line per row of the archive, export a line per event, as it was on the bus.\n"
        "import takes such lines from the standard input, or the events of an SQLite file, those that the\n"
        "archive's pattern selects. prune removes what is selected; without a selection, what the\n"
        "archive's retention no longer keeps.",
    .options = options,
    .run = run};
