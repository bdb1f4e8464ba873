/* SPDX-License-Identifier: MIT */
#include "cli/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum {
    OPT_TABLE = 0x100,
    OPT_TYPE,
    OPT_EXPECT,
    OPT_AFTER,
    OPT_REVERSE,
    OPT_LIMIT,
    OPT_PATTERN,
    OPT_FROM,
    OPT_ONCE,
    OPT_STATE,
    OPT_USERS,
    OPT_SEED
};

#define PAYLOAD_MAX      ((size_t)4 << 20)
#define FAKE_PATIENCE_MS 60000 /* a server that is restarted meanwhile is waited for */

static const tr_cli_option options[] = {
    {"table", OPT_TABLE, "TABLE", "the logs' table (" TR_LOG_TABLE ")"},
    {"type", OPT_TYPE, "TYPE",
     "append: the event's type; query, tail: only events of this type, or of\nthese if given several times"},
    {"expect", OPT_EXPECT, "N", "append: only if N is the newest version (0: no event yet)"},
    {"after", OPT_AFTER, "N", "read, query LOG ID: only versions after N (with --reverse: before N)"},
    {"reverse", OPT_REVERSE, NULL, "read, query LOG ID: newest first"},
    {"limit", OPT_LIMIT, "N", "read, query, tail: at most N events"},
    {"pattern", OPT_PATTERN, "PATTERN", "query, tail: only events whose line matches this event pattern"},
    {"from", OPT_FROM, "WHERE", "tail: where to begin, as for tailrace tail"},
    {"once", OPT_ONCE, NULL, "tail: end when everything there is was printed"},
    {"state", OPT_STATE, "FILE", "tail: where the position is kept"},
    {"users", OPT_USERS, "N", "fake: how many users, 4 events each (10)"},
    {"seed", OPT_SEED, "N", "fake: which users; the same seed gives the same users (1)"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct log_command {
    tr_cli *cli;
    tr_cli_where where;
    tr_cli_place place;
    const char *table, *type;
    tr_view types[TR_LOG_TYPES_MAX];
    size_t type_count;
    tr_pattern *pattern;
    tr_cli_log_tail tail;
    uint64_t expect, after, limit, users, seed;
    bool reverse;
    int64_t told_ms;
} log_command;

static int init(void *ctx, tr_error *err)
{
    log_command *c = ctx;
    int e = tr_log_create_table(c->place.client, c->table, err);
    if (!e)
        tr_cli_message(TR_LOG_INFO, "table %s is ready", c->table ? c->table : TR_LOG_TABLE);
    return e;
}

/* The payload from the standard input, as plain JSON. */
static int read_payload(tr_arena *arena, tr_buf *packed, tr_error *err)
{
    tr_buf text;
    char part[65536];
    tr_buf_init(&text, PAYLOAD_MAX);
    for (size_t n; (n = fread(part, 1, sizeof part, stdin)) > 0;)
        tr_buf_put(&text, part, n);
    int e = tr_buf_status(&text);
    if (e || ferror(stdin)) {
        tr_buf_done(&text);
        return tr_fail(err, e ? e : TR_EIO, "reading the payload from the standard input: %s",
                       tr_strerror(e));
    }
    tr_json_reader reader;
    tr_item_error problem = {0};
    tr_view json = tr_arena_copy(arena, tr_buf_view(&text));
    tr_buf_done(&text);
    tr_json_init(&reader, json, arena);
    if (!json.ptr)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    bool object = tr_json_next(&reader) == TR_JSON_OBJECT;
    e = object ? tr_item_read_plain(&reader, TR_PLAIN_EXACT, packed, &problem) : TR_EPARSE;
    if (object && e && problem.problem != TR_ITEM_JSON) {
        tr_error why = {0};
        (void)tr_item_error_to(&problem, e, &reader, &why);
        return tr_fail(err, TR_EPARSE, "the payload on the standard input: %.1500s", why.message);
    }
    if (e || tr_json_next(&reader) != TR_JSON_DONE)
        return tr_fail(
            err, TR_EPARSE,
            "the payload on the standard input must be one JSON object, such as {\"name\":\"Ada\"}%s%s",
            tr_json_error(&reader) ? ": " : "", tr_json_error(&reader) ? tr_json_error(&reader) : "");
    return 0;
}

static int append(void *ctx, tr_error *err)
{
    log_command *c = ctx;
    tr_arena arena;
    tr_buf packed;
    tr_arena_init(&arena, 4 * PAYLOAD_MAX);
    tr_buf_init(&packed, 4 * PAYLOAD_MAX);
    int e = read_payload(&arena, &packed, err);
    uint64_t version;
    if (!e) {
        tr_log_append in = {.table = c->table,
                            .log = tr_view_str(c->cli->argv[1]),
                            .id = tr_view_str(c->cli->argv[2]),
                            .type = tr_view_str(c->type),
                            .payload = tr_buf_view(&packed),
                            .expect = c->expect};
        e = tr_log_append_wait(c->place.client, &in, &version, err);
    }
    if (!e)
        (void)printf("{\"version\":%" PRIu64 "}\n", version);
    tr_buf_done(&packed);
    tr_arena_done(&arena);
    return e;
}

static int print_event(void *ctx, const tr_log_event *event)
{
    (void)ctx;
    tr_buf out;
    tr_json_writer w;
    tr_buf_init(&out, 16 * PAYLOAD_MAX);
    tr_json_write_init(&w, &out);
    tr_log_event_write(&w, event);
    tr_buf_putc(&out, '\n');
    int e = tr_buf_status(&out);
    if (!e && fwrite(out.ptr, 1, out.len, stdout) != out.len)
        e = TR_EIO;
    tr_buf_done(&out);
    return e;
}

static int read_log(void *ctx, tr_error *err)
{
    log_command *c = ctx;
    tr_log_range range = {.table = c->table,
                          .log = tr_view_str(c->cli->argv[1]),
                          .id = tr_view_str(c->cli->argv[2]),
                          .after = c->after,
                          .reverse = c->reverse,
                          .limit = c->limit};
    return tr_log_read(c->place.client, &range, print_event, NULL, err);
}

static void on_fake_progress(void *ctx, uint64_t events, uint64_t total)
{
    log_command *c = ctx;
    int64_t now = tr_clock_mono_ms();
    if (!isatty(STDERR_FILENO) || tr_cli_logs_json() || now - c->told_ms < 100)
        return;
    c->told_ms = now;
    (void)fprintf(stderr, "\r\033[K%" PRIu64 " of %" PRIu64 " events", events, total);
}

static int fake(void *ctx, tr_error *err)
{
    log_command *c = ctx;
    tr_log_fake f = {.table = c->table,
                     .users = c->users,
                     .seed = c->seed,
                     .patience_ms = FAKE_PATIENCE_MS,
                     .progress = on_fake_progress,
                     .ctx = c};
    uint64_t events;
    int64_t began = tr_clock_mono_ms();
    int e = tr_log_fake_write(c->place.client, &f, &events, err);
    if (isatty(STDERR_FILENO) && !tr_cli_logs_json())
        (void)fputs("\r\033[K", stderr);
    if (!e) {
        int64_t ms = tr_clock_mono_ms() - began;
        tr_cli_message(TR_LOG_INFO, "%" PRIu64 " events of %" PRIu64 " users are there, %.1f s (%.0f/s)",
                       events, c->users, (double)ms / 1000, (double)events * 1000 / (double)(ms ? ms : 1));
    }
    return e;
}

static tr_log_query selection(const log_command *c)
{
    return (tr_log_query){.table = c->table,
                          .log = tr_view_str(c->cli->argc > 1 ? c->cli->argv[1] : NULL),
                          .id = tr_view_str(c->cli->argc > 2 ? c->cli->argv[2] : NULL),
                          .after = c->after,
                          .reverse = c->reverse,
                          .types = c->types,
                          .type_count = c->type_count,
                          .pattern = c->pattern,
                          .limit = c->limit};
}

static int find(void *ctx, tr_error *err)
{
    log_command *c = ctx;
    const tr_log_query query = selection(c);
    return tr_log_find(c->place.client, &query, print_event, NULL, err);
}

static int tail(void *ctx, tr_error *err)
{
    log_command *c = ctx;
    const tr_log_query query = selection(c);
    return tr_cli_log_follow(c->place.client, &query, &c->tail, err);
}

static const tr_cli_verb verbs[] = {
    {"init", 1, 1, "log init", init},
    {"append", 3, 3, "log append LOG ID --type TYPE, with the payload on the standard input", append},
    {"read", 3, 3, "log read LOG ID", read_log},
    {"query", 1, 3, "log query [LOG [ID]]", find},
    {"tail", 1, 3, "log tail [LOG [ID]]", tail},
    {"fake", 1, 1, "log fake --users N", fake},
    {NULL, 0, 0, NULL, NULL}};

static int take_pattern(const tr_cli *cli, log_command *c)
{
    tr_error err = {0};
    tr_pattern_free(c->pattern);
    c->pattern = NULL;
    return tr_pattern_compile(tr_view_str(cli->value), NULL, &c->pattern, &err)
               ? tr_cli_usage(cli, "--pattern %s: %s", cli->value, err.message)
               : 0;
}

static int parse(tr_cli *cli, log_command *c)
{
    int option, e = 0;
    while (!e && (option = tr_cli_next(cli)) > 0) {
        if (tr_cli_where_take(&c->where, option, cli))
            continue;
        switch (option) {
        case OPT_TABLE:
            c->table = cli->value;
            e = tr_cli_table_name(cli, c->table);
            break;
        case OPT_TYPE:
            c->type = cli->value;
            if (c->type_count == TR_LOG_TYPES_MAX)
                return tr_cli_usage(cli, "--type may be given at most %d times", TR_LOG_TYPES_MAX);
            c->types[c->type_count++] = tr_view_str(cli->value);
            break;
        case OPT_PATTERN:
            e = take_pattern(cli, c);
            break;
        case OPT_FROM:
            c->tail.from = cli->value;
            break;
        case OPT_ONCE:
            c->tail.once = true;
            break;
        case OPT_STATE:
            c->tail.state = cli->value;
            break;
        case OPT_EXPECT:
            e = tr_cli_number(cli, "expect", 0, INT64_MAX - 1, &c->expect);
            break;
        case OPT_AFTER:
            e = tr_cli_number(cli, "after", 0, INT64_MAX, &c->after);
            break;
        case OPT_REVERSE:
            c->reverse = true;
            break;
        case OPT_LIMIT:
            e = tr_cli_number(cli, "limit", 1, INT64_MAX, &c->limit);
            break;
        case OPT_USERS:
            e = tr_cli_number(cli, "users", 1, 1000000000, &c->users);
            break;
        default:
            e = tr_cli_number(cli, "seed", 0, INT64_MAX, &c->seed);
        }
    }
    return e ? e : option < 0 ? (cli->exit_code ? cli->exit_code : -1) : 0;
}

static int run(tr_cli *cli)
{
    log_command c = {.cli = cli, .expect = TR_LOG_ANY_VERSION, .users = 10, .seed = 1};
    int usage = parse(cli, &c);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    const tr_cli_verb *verb = tr_cli_verb_of(cli, verbs);
    if (!verb)
        return TR_EXIT_USAGE;
    if (verb->run == append && !c.type)
        return tr_cli_usage(cli, "append needs --type TYPE");
    if (verb->run == append && c.type_count > 1)
        return tr_cli_usage(cli, "an event has one type");
    if ((c.after || c.reverse) && verb->run != read_log && !(verb->run == find && cli->argc == 3))
        return tr_cli_usage(cli,
                            "--after and --reverse are for the events of one id: log read, log query LOG ID");
    c.where.makes = verb->run == init;
    int code = tr_cli_verb_run(verb, &c.where, &c.place, &c);
    tr_pattern_free(c.pattern);
    return verb->run == tail && !code && tr_cli_stopped() ? TR_EXIT_INTERRUPTED : code;
}

const tr_cli_command tr_cli_log = {
    .name = "log",
    .summary = "Append-only logs in a table: create the table, append, read, query, follow, make up users.",
    .arguments = "init | append LOG ID | read LOG ID | query [LOG [ID]] | tail [LOG [ID]] | fake",
    .text = "append takes the payload as a JSON object on the standard input.",
    .options = options,
    .run = run};
