/* SPDX-License-Identifier: MIT */
/* tailrace replay: events of an archive once more. */
#include "cli/archive.h"
#include "cli/code.h"
#include "cli/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <tailrace/log.h>
#include <tailrace/publish.h>
#include <tailrace/replay.h>
#include <unistd.h>

enum {
    OPT_ARCHIVE = 0x100,
    OPT_FROM,
    OPT_TO,
    OPT_UNTIL,
    OPT_LOG,
    OPT_TYPE,
    OPT_RULE,
    OPT_PATTERN,
    OPT_BUS,
    OPT_TABLE,
    OPT_REPLAY_NAME,
    OPT_SPEED,
    OPT_DRY_RUN,
    OPT_RETRIES,
    OPT_ON_FAILURE,
    OPT_STATE,
    OPT_ANEW,
    OPT_ABANDON,
    OPT_AWS_ENDPOINT,
    OPT_AWS_REGION,
    OPT_AWS_PROFILE,
    OPT_COMPLETE
};

#define ANSWER_MAX ((size_t)1 << 20)
#define AWS_PREFIX "aws:"
#define BAR_WIDTH  30
#define BAR_MS     100

static const tr_cli_option options[] = {
    {"archive", OPT_ARCHIVE, "NAME|aws:NAME|FILE",
     "the archive: of the server, on AWS, or an SQLite file (with a / in\nits path, or ending in .sqlite)"},
    {"to", OPT_TO, "bus|dynamodb|aws|exec",
     "where they go: the bus here, the logs' table here, a bus on AWS,\na handler"},
    {"from", OPT_FROM, "TIME", "only events from this time on (2026-01-31T00:00:00Z)"},
    {"until", OPT_UNTIL, "TIME",
     "only events up to this time; --to TIME is the same, beside the\n--to that says where they go"},
    {"log", OPT_LOG, "LOG", "only events of this log"},
    {"type", OPT_TYPE, "TYPE", "only events of this type"},
    {"rule", OPT_RULE, "RULE", "only events that this rule of the bus matches, and here only for it"},
    {"pattern", OPT_PATTERN, "PATTERN", "only events that match this event pattern"},
    {"bus", OPT_BUS, "BUS", "the bus (that of the archive; dynamodb-log for files)"},
    {"table", OPT_TABLE, "TABLE", "the logs' table (" TR_LOG_TABLE ")"},
    {"complete-from", OPT_COMPLETE, "TABLE", "to dynamodb: the table on AWS that completes partial events"},
    {"replay-name", OPT_REPLAY_NAME, "NAME", "marks what is replayed (local)"},
    {"speed", OPT_SPEED, "N|max", "N times as fast as it was (max)"},
    {"dry-run", OPT_DRY_RUN, NULL, "only count"},
    {"retries", OPT_RETRIES, "N", "of an event that fails (3)"},
    {"on-failure", OPT_ON_FAILURE, "DEST",
     "where events go that fail, as for tailrace on; without, the replay\nends there, and goes on there when "
     "it is run again"},
    {"state", OPT_STATE, "FILE", "where the position is kept; else below $XDG_STATE_HOME/tailrace"},
    {"anew", OPT_ANEW, NULL, "begin anew, not where an interrupted run of this replay ended"},
    {"abandon", OPT_ABANDON, NULL, "remove what an interrupted replay from AWS has made there"},
    {"aws-endpoint", OPT_AWS_ENDPOINT, "URL", "what stands for AWS; else AWS, as the AWS CLI finds it"},
    {"aws-region", OPT_AWS_REGION, "REGION", "its region"},
    {"aws-profile", OPT_AWS_PROFILE, "NAME", "the profile for it"},
    TR_CLI_CODE_OPTIONS,
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef enum target { TO_NONE, TO_BUS, TO_DYNAMODB, TO_AWS, TO_EXEC } target;
static const char *const target_names[] = {
    [TO_BUS] = "bus", [TO_DYNAMODB] = "dynamodb", [TO_AWS] = "aws", [TO_EXEC] = "exec"};

typedef struct replaying {
    tr_cli *cli;
    const char *archive, *rule, *pattern_text, *bus, *state, *on_failure, *complete_from;
    target to;
    bool abandon;
    tr_replay_options options;
    tr_cli_code code;
    tr_cli_where where, aws_where;
    tr_cli_place place;
    tr_client *aws;
    tr_handler *handler;
    tr_pattern *pattern;
    char bus_name[256], rule_arn[512], state_path[4096];
    const char *rules[1];
    tr_replay *replay;
    int64_t told_ms;
} replaying;

/* ------------------------------------------------------------------------------------------------ options */

static int take_until(const tr_cli *cli, const char *option, replaying *r)
{
    if (r->options.to_ms)
        return tr_cli_usage(cli, "--%s: the end was given before: one --until, or one --to TIME, is enough",
                            option);
    return tr_cli_time(cli, option, cli->value, &r->options.to_ms);
}

/* Where to, by one of four words. Everything else is a time, as for archive: none is written like a word. */
static int take_to(const tr_cli *cli, replaying *r)
{
    int64_t ms;
    for (target t = TO_BUS; t <= TO_EXEC; t++) {
        if (strcmp(cli->value, target_names[t]) != 0)
            continue;
        if (r->to)
            return tr_cli_usage(cli, "--to %s: a replay goes to one place, and --to %s was given before",
                                cli->value, target_names[r->to]);
        r->to = t;
        return 0;
    }
    if (tr_time_parse(tr_view_str(cli->value), &ms) == 0)
        return take_until(cli, "to", r);
    return tr_cli_usage(cli,
                        "--to says where: bus, dynamodb, aws or exec (or until when: a time such as "
                        "2026-01-31T00:00:00Z), not '%s'",
                        cli->value);
}

static int take_speed(const tr_cli *cli, replaying *r)
{
    char *end;
    if (strcmp(cli->value, "max") == 0)
        return 0;
    r->options.speed = strtod(cli->value, &end);
    if (*end || end == cli->value || !(r->options.speed > 0 && r->options.speed <= 1e9))
        return tr_cli_usage(cli, "--speed is max, or how many times as fast as it was, such as 1 or 60");
    return 0;
}

static int take_option(const tr_cli *cli, int option, replaying *r)
{
    const struct {
        int option;
        const char **to;
    } texts[] = {{OPT_ARCHIVE, &r->archive},
                 {OPT_RULE, &r->rule},
                 {OPT_PATTERN, &r->pattern_text},
                 {OPT_BUS, &r->bus},
                 {OPT_TABLE, &r->options.table},
                 {OPT_COMPLETE, &r->complete_from},
                 {OPT_REPLAY_NAME, &r->options.name},
                 {OPT_ON_FAILURE, &r->on_failure},
                 {OPT_STATE, &r->state},
                 {OPT_AWS_ENDPOINT, &r->aws_where.endpoint},
                 {OPT_AWS_REGION, &r->aws_where.region},
                 {OPT_AWS_PROFILE, &r->aws_where.profile}};
    for (size_t i = 0; i < TR_COUNT(texts); i++) {
        if (option == texts[i].option) {
            *texts[i].to = cli->value;
            return 0;
        }
    }
    switch (option) {
    case OPT_FROM:
        return tr_cli_time(cli, "from", cli->value, &r->options.from_ms);
    case OPT_TO:
        return take_to(cli, r);
    case OPT_UNTIL:
        return take_until(cli, "until", r);
    case OPT_LOG:
        r->options.log = tr_view_str(cli->value);
        return 0;
    case OPT_TYPE:
        r->options.type = tr_view_str(cli->value);
        return 0;
    case OPT_SPEED:
        return take_speed(cli, r);
    case OPT_DRY_RUN:
        r->options.dry_run = true;
        return 0;
    case OPT_ANEW:
        r->options.anew = true;
        return 0;
    case OPT_ABANDON:
        r->abandon = true;
        return 0;
    default:
        return tr_cli_number(cli, "retries", 1, 10000, &r->options.retries);
    }
}

static int check_options(tr_cli *cli, replaying *r)
{
    if (cli->argc)
        return tr_cli_usage(cli, "no arguments are needed: --archive names the archive");
    if (!r->archive || !r->archive[0])
        return tr_cli_usage(cli, "--archive is needed");
    if (!r->to && r->code.given)
        r->to = TO_EXEC;
    if (!r->to)
        return tr_cli_usage(cli, "--to is needed: bus, dynamodb, aws or exec%s",
                            r->options.to_ms ? ", beside the one with a time" : "");
    if (r->to == TO_EXEC && !r->code.given)
        return tr_cli_usage(cli,
                            "--to exec needs what shall be run: --exec, --exec-each, --url or --handler");
    if (r->to != TO_EXEC && r->code.given)
        return tr_cli_usage(cli, "--exec, --exec-each, --url and --handler are for --to exec, not --to %s",
                            target_names[r->to]);
    if (r->options.to_ms && r->options.from_ms > r->options.to_ms)
        return tr_cli_usage(cli, "--from is after the end, --until");
    if (r->rule && r->pattern_text)
        return tr_cli_usage(cli, "--rule and --pattern both select events: give one");
    bool aws = strncmp(r->archive, AWS_PREFIX, strlen(AWS_PREFIX)) == 0;
    if (r->options.dry_run && aws)
        return tr_cli_usage(cli, "--dry-run cannot count on AWS: an archive there is read by replaying it");
    if (r->abandon && !aws)
        return tr_cli_usage(cli, "--abandon is for replays from AWS");
    if (aws && r->to == TO_AWS)
        return tr_cli_usage(cli, "from AWS to AWS: let AWS do that (aws events start-replay)");
    return 0;
}

static int parse(tr_cli *cli, replaying *r)
{
    int option, e = 0;
    bool taken;
    while (!e && (option = tr_cli_next(cli)) > 0) {
        if (tr_cli_where_take(&r->where, option, cli))
            continue;
        e = tr_cli_code_take(&r->code, option, cli, &taken);
        if (!e && !taken)
            e = take_option(cli, option, r);
    }
    if (e || option < 0)
        return e ? e : cli->exit_code ? cli->exit_code : -1;
    return check_options(cli, r);
}

/* ------------------------------------------------------------------------------------------------ opening */

static bool is_file(const char *archive)
{
    size_t len = strlen(archive);
    return strchr(archive, '/') || (len > 7 && strcmp(archive + len - 7, ".sqlite") == 0);
}

static bool needs_place(const replaying *r)
{
    return r->options.from == TR_REPLAY_FROM_SERVER || r->to == TO_BUS || r->to == TO_DYNAMODB;
}

static int connect_places(replaying *r, tr_error *err)
{
    int e = 0;
    bool aws = r->options.from == TR_REPLAY_FROM_AWS || r->to == TO_AWS || r->complete_from;
    if (needs_place(r) || r->where.data || r->where.endpoint)
        e = tr_cli_connect(&r->where, &r->place, err);
    if (!e && aws)
        e = tr_cli_connect_aws(&r->aws_where, &r->aws, err);
    return e;
}

/* A member of the answer of an operation with one or two arguments, as text. */
static int ask(tr_client *client, const char *operation, const char *name, const char *value, const char *bus,
               const char *member, char *out, size_t size, tr_buf *ret_pattern, tr_error *err)
{
    tr_buf body, answer;
    tr_json_writer w;
    tr_arena arena;
    tr_json_reader reader;
    tr_view raw;
    tr_buf_init(&body, 65536);
    tr_buf_init(&answer, ANSWER_MAX);
    tr_arena_init(&arena, ANSWER_MAX);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, name, value);
    if (bus)
        tr_json_member_cstring(&w, "EventBusName", bus);
    tr_json_end_object(&w);
    const tr_request request = {.service = TR_EVENTS, .operation = operation, .body = tr_buf_view(&body)};
    int e = tr_client_call_wait(client, &request, &answer, err);
    if (!e && tr_json_member(tr_buf_view(&answer), member, &arena, &raw))
        e = tr_fail(err, TR_EPARSE, "%s: the answer has no %s", operation, member);
    if (!e) {
        tr_json_init(&reader, raw, &arena);
        (void)tr_json_next(&reader);
        (void)snprintf(out, size, "%.*s", TR_FMT(reader.text));
    }
    if (!e && ret_pattern && tr_json_member(tr_buf_view(&answer), "EventPattern", &arena, &raw) == 0) {
        tr_json_init(&reader, raw, &arena);
        if (tr_json_next(&reader) == TR_JSON_STRING)
            tr_buf_put_view(ret_pattern, reader.text);
    }
    tr_arena_done(&arena);
    tr_buf_done(&answer);
    tr_buf_done(&body);
    return e;
}

/* The bus: as it is given, that of the archive, or that of the layout. */
static int find_bus(replaying *r, tr_error *err)
{
    static const char layout[] = "dynamodb-log";
    if (r->bus || r->options.from == TR_REPLAY_FROM_FILE) {
        (void)snprintf(r->bus_name, sizeof r->bus_name, "%s", r->bus ? r->bus : layout);
        return 0;
    }
    char arn[512];
    tr_client *client = r->options.from == TR_REPLAY_FROM_AWS ? r->aws : r->place.client;
    int e = ask(client, "DescribeArchive", "ArchiveName", r->options.archive, NULL, "EventSourceArn", arn,
                sizeof arn, NULL, err);
    const char *name = e ? NULL : strstr(arn, ":event-bus/");
    if (!e)
        (void)snprintf(r->bus_name, sizeof r->bus_name, "%s", name ? name + strlen(":event-bus/") : layout);
    return e;
}

static int find_rule(replaying *r, tr_error *err)
{
    tr_buf text;
    tr_client *client = r->to == TO_AWS ? r->aws : r->place.client ? r->place.client : r->aws;
    if (!client)
        return tr_fail(err, TR_EINVAL, "--rule: where is the bus? give --endpoint or --data");
    tr_buf_init(&text, 65536);
    int e = ask(client, "DescribeRule", "Name", r->rule, r->bus_name, "Arn", r->rule_arn, sizeof r->rule_arn,
                &text, err);
    if (!e && !text.len)
        e = tr_fail(err, TR_EINVAL, "the rule %s has no event pattern", r->rule);
    if (!e)
        e = tr_pattern_compile(tr_buf_view(&text), NULL, &r->pattern, err);
    tr_buf_done(&text);
    r->rules[0] = r->rule_arn;
    r->options.rules = r->rules;
    r->options.rule_count = e ? 0 : 1;
    return e;
}

static int find_pattern(replaying *r, tr_error *err)
{
    int e = r->rule           ? find_rule(r, err)
            : r->pattern_text ? tr_pattern_compile(tr_view_str(r->pattern_text), NULL, &r->pattern, err)
                              : 0;
    r->options.pattern = r->pattern;
    return e;
}

static int open_state(replaying *r, tr_error *err)
{
    char what[1200];
    tr_client *client = r->options.from == TR_REPLAY_FROM_AWS ? r->aws : r->place.client;
    (void)snprintf(what, sizeof what, "%.1000s %s", r->archive, target_names[r->to]);
    int e = tr_cli_state_path(r->state, "replay", target_names[r->to],
                              client ? tr_client_endpoint(client, TR_EVENTS) : "file", what, "json",
                              r->state_path, sizeof r->state_path, err);
    return e ? e : tr_stream_store_file(r->state_path, &r->options.state, err);
}

/* ----------------------------------------------------------------------------------------------- progress */

static void show(void *ctx, const tr_replay_stats *s)
{
    replaying *r = ctx;
    char time[TR_TIME_TEXT_MAX] = "", bar[BAR_WIDTH + 1];
    int64_t now = tr_clock_mono_ms();
    if (!isatty(STDERR_FILENO) || now - r->told_ms < BAR_MS)
        return;
    r->told_ms = now;
    if (s->event_ms)
        tr_time_format(s->event_ms, false, time);
    if (!s->total) {
        (void)fprintf(stderr, "\r\033[K%" PRIu64 " events  %s", s->read, time);
        return;
    }
    uint64_t read = s->read < s->total ? s->read : s->total;
    size_t filled = (size_t)(read * BAR_WIDTH / s->total);
    memset(bar, ' ', sizeof bar);
    memset(bar, '#', filled);
    bar[BAR_WIDTH] = 0;
    (void)fprintf(stderr, "\r\033[K[%s] %3" PRIu64 "%%  %" PRIu64 " of %" PRIu64 "  %s", bar,
                  read * 100 / s->total, read, s->total, time);
}

static void tell_end(const replaying *r, bool complete, int64_t ms)
{
    tr_replay_stats s;
    tr_replay_get_stats(r->replay, &s);
    if (isatty(STDERR_FILENO))
        (void)fputs("\r\033[K", stderr);
    if (s.there)
        tr_cli_message(TR_LOG_INFO, "%" PRIu64 " partial events: their items are there already", s.there);
    if (s.differing)
        tr_cli_message(TR_LOG_WARN, "%" PRIu64 " events differ from what the table holds, which stays",
                       s.differing);
    if (s.failed)
        tr_cli_message(TR_LOG_WARN, "%" PRIu64 " events failed and went to %s", s.failed, r->on_failure);
    tr_cli_message(TR_LOG_INFO, "%" PRIu64 " events %s%s%s, %.1f s (%.0f/s)", s.done,
                   r->options.dry_run ? "would be replayed" : "replayed",
                   s.resumed ? ", earlier runs included" : "",
                   complete ? "" : "; run the same again to go on", (double)ms / 1000,
                   (double)s.done * 1000 / (double)(ms ? ms : 1));
}

/* ------------------------------------------------------------------------------------------------ running */

static void stop(void *ctx)
{
    replaying *r = ctx;
    tr_replay_stop(r->replay);
}

static int open_all(replaying *r, tr_error *err)
{
    tr_replay_options *o = &r->options;
    bool aws = strncmp(r->archive, AWS_PREFIX, strlen(AWS_PREFIX)) == 0;
    o->from = aws ? TR_REPLAY_FROM_AWS : is_file(r->archive) ? TR_REPLAY_FROM_FILE : TR_REPLAY_FROM_SERVER;
    o->archive = aws ? r->archive + strlen(AWS_PREFIX) : r->archive;
    o->to = r->to == TO_DYNAMODB ? TR_REPLAY_TO_TABLE
            : r->to == TO_EXEC   ? TR_REPLAY_TO_HANDLER
                                 : TR_REPLAY_TO_BUS;
    o->progress = show;
    o->ctx = r;
    o->logger = tr_cli_logger();
    int e = connect_places(r, err);
    o->from_client = aws ? r->aws : r->place.client;
    o->to_client = r->to == TO_AWS ? r->aws : r->place.client;
    o->log_client = r->complete_from ? r->aws : NULL;
    o->log_table = r->complete_from;
    if (!e)
        e = find_bus(r, err);
    o->bus = r->bus_name;
    if (!e && o->to == TR_REPLAY_TO_BUS)
        e = tr_publish_check_bus(o->to_client, o->bus, err);
    if (!e)
        e = find_pattern(r, err);
    tr_cli_code_place(&r->code, r->place.client);
    if (!e && r->to == TO_EXEC)
        e = tr_cli_code_open(&r->code, &r->handler, err);
    o->handler = r->handler;
    if (!e && !o->dry_run)
        e = open_state(r, err);
    if (!e && r->on_failure)
        e = tr_cli_failures_open(r->on_failure, &r->code, &r->where, r->place.client, &o->on_failure, err);
    if (!e)
        e = tr_replay_new(o, &r->replay, err);
    if (e) {
        tr_stream_store_free(o->state);
        tr_failure_sink_free(o->on_failure);
    }
    return e;
}

static int work(replaying *r, tr_error *err)
{
    bool complete = false;
    int64_t began = tr_clock_mono_ms();
    if (r->abandon)
        return tr_replay_abandon(r->replay, err);
    tr_cli_on_stop(stop, r);
    int e = tr_replay_run(r->replay, &complete, err);
    tr_cli_ignore_stop();
    tr_replay_stats s;
    tr_replay_get_stats(r->replay, &s);
    if (!e || s.done || s.failed) /* else it has not begun: the error says it all */
        tell_end(r, complete, tr_clock_mono_ms() - began);
    if (!e && complete && r->state_path[0])
        (void)unlink(r->state_path);
    if (!e && s.differing)
        e = tr_fail(err, TR_ECONFLICT, "%" PRIu64 " events differ from what the table holds", s.differing);
    return e;
}

static int run(tr_cli *cli)
{
    static replaying r;
    tr_error err = {0};
    r.cli = cli;
    int usage = parse(cli, &r);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = open_all(&r, &err);
    if (!e)
        e = work(&r, &err);
    tr_replay_free(r.replay);
    tr_handler_free(r.handler);
    tr_pattern_free(r.pattern);
    tr_cli_disconnect(&r.place);
    tr_client_free(r.aws);
    return e ? tr_cli_fail(&err) : tr_cli_stopped() ? TR_EXIT_INTERRUPTED : TR_EXIT_OK;
}

const tr_cli_command tr_cli_replay = {
    .name = "replay",
    .summary = "Send events of an archive once more: to a bus, a table, AWS or a handler.",
    .arguments = "--archive A --to bus|dynamodb|aws|exec",
    .text =
        "What is replayed is marked, so that it is not archived or piped again. A replay that was\n"
        "interrupted goes on where it was when it is run again. From an archive on AWS (aws:NAME) events\n"
        "come through a queue that is made for it and removed.",
    .options = options,
    .run = run};
