/* SPDX-License-Identifier: MIT */
#include "cli/events.h"
#include "cli/follow.h"

#include <tailrace/publish.h>

#include <stdatomic.h>
#include <stdio.h>

/* tailrace bus list | create | delete | rules | put | test | tail: a bus by hand, here or on AWS. */

enum { OPT_PATTERN = 0x100 };

#define ANSWER_MAX ((size_t)64 << 20)
#define WAIT_S     2 /* of a receive: how late a stop may be seen */

static const tr_cli_option options[] = {
    {"pattern", OPT_PATTERN, "PATTERN", "tail: only events that match this event pattern"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct bus_command {
    tr_cli *cli;
    tr_cli_where where;
    tr_cli_place place;
    const char *pattern;
    tr_buf body, answer;
    tr_json_writer w;
    tr_arena arena; /* of the answer at hand */
    atomic_uint_fast64_t refused;
} bus_command;

/* A new request body, begun. */
static tr_json_writer *body(bus_command *c)
{
    tr_buf_reset(&c->body);
    tr_json_write_init(&c->w, &c->body);
    tr_json_begin_object(&c->w);
    return &c->w;
}

static int call(bus_command *c, tr_service service, const char *operation, tr_error *err)
{
    tr_json_end_object(&c->w);
    const tr_request request = {.service = service, .operation = operation, .body = tr_buf_view(&c->body)};
    tr_buf_reset(&c->answer);
    tr_arena_reset(&c->arena);
    int e = tr_buf_status(&c->body);
    return e ? tr_fail(err, e, "the request is too large")
             : tr_client_call_wait(c->place.client, &request, &c->answer, err);
}

/* A text member of an object, on the arena; NULL. */
static const char *text_of(bus_command *c, tr_view object, const char *name)
{
    tr_view raw;
    tr_json_reader r;
    if (tr_json_member(object, name, &c->arena, &raw))
        return NULL;
    tr_json_init(&r, raw, &c->arena);
    return tr_json_next(&r) == TR_JSON_STRING ? tr_arena_str(&c->arena, r.text) : NULL;
}

static int print(tr_view line, tr_error *err)
{
    if (fwrite(line.ptr, 1, line.len, stdout) == line.len && putchar('\n') != EOF)
        return 0;
    return tr_fail(err, TR_EIO, "writing to the standard output");
}

/* Calls fn for each object in a list of all pages. `set` writes the request's members. */
static int each(bus_command *c, const char *operation, const char *list_name, const char *bus,
                int (*fn)(bus_command *c, tr_view object, tr_error *err), tr_error *err)
{
    char token[4096] = "";
    int e = 0;
    do {
        tr_json_reader r;
        tr_view list, object;
        (void)body(c);
        if (bus)
            tr_json_member_cstring(&c->w, "EventBusName", bus);
        if (token[0])
            tr_json_member_cstring(&c->w, "NextToken", token);
        e = call(c, TR_EVENTS, operation, err);
        if (e)
            return e;
        const char *next = text_of(c, tr_buf_view(&c->answer), "NextToken");
        (void)snprintf(token, sizeof token, "%s", next ? next : "");
        if (tr_json_member(tr_buf_view(&c->answer), list_name, &c->arena, &list))
            return tr_fail(err, TR_EPARSE, "the answer of %s has no %s", operation, list_name);
        /* fn may call: what it is given must outlive the answer */
        char *copy = tr_malloc(list.len + 1);
        tr_arena arena;
        if (!copy)
            return tr_fail(err, TR_ENOMEM, "out of memory");
        memcpy(copy, list.ptr, list.len);
        tr_arena_init(&arena, ANSWER_MAX);
        tr_json_init(&r, tr_view_of(copy, list.len), &arena);
        (void)tr_json_next(&r);
        while (!e && tr_json_next(&r) == TR_JSON_OBJECT && !tr_json_raw(&r, &object))
            e = fn(c, object, err);
        tr_arena_done(&arena);
        tr_free(copy);
    } while (!e && token[0]);
    return e;
}

/* ------------------------------------------------------------------------------------------------ verbs */

static int print_object(bus_command *c, tr_view object, tr_error *err)
{
    (void)c;
    return print(object, err);
}

static int list(void *ctx, tr_error *err)
{
    return each(ctx, "ListEventBuses", "EventBuses", NULL, print_object, err);
}

static int by_name(bus_command *c, const char *operation, const char *done, tr_error *err)
{
    const char *name = c->cli->argv[1];
    (void)body(c);
    tr_json_member_cstring(&c->w, "Name", name);
    int e = call(c, TR_EVENTS, operation, err);
    if (!e)
        tr_cli_message(TR_LOG_INFO, "bus %s is %s", name, done);
    return e;
}

static int create(void *ctx, tr_error *err)
{
    return by_name(ctx, "CreateEventBus", "made", err);
}

static int delete_bus(void *ctx, tr_error *err)
{
    return by_name(ctx, "DeleteEventBus", "gone", err);
}

/* The rule with its targets in it. */
static int print_rule(bus_command *c, tr_view rule, tr_error *err)
{
    tr_view targets;
    tr_buf line;
    tr_json_writer w;
    tr_arena arena;
    tr_arena_init(&arena, ANSWER_MAX);
    tr_view name, bus;
    int e =
        tr_json_member(rule, "Name", &arena, &name) ? tr_fail(err, TR_EPARSE, "a rule without a name") : 0;
    (void)body(c);
    if (!e) {
        tr_json_name(&c->w, "Rule");
        tr_json_value(&c->w, name);
        if (tr_json_member(rule, "EventBusName", &arena, &bus) == 0) {
            tr_json_name(&c->w, "EventBusName");
            tr_json_value(&c->w, bus);
        }
        e = call(c, TR_EVENTS, "ListTargetsByRule", err);
    }
    tr_arena_done(&arena);
    if (e)
        return e;
    if (tr_json_member(tr_buf_view(&c->answer), "Targets", &c->arena, &targets))
        targets = TR_VIEW("[]");
    tr_buf_init(&line, ANSWER_MAX);
    tr_buf_put(&line, rule.ptr, rule.len - 1);
    tr_buf_putc(&line, ',');
    tr_json_write_init(&w, &line);
    tr_json_name(&w, "Targets");
    tr_json_value(&w, targets);
    tr_buf_putc(&line, '}');
    e = tr_buf_status(&line) ? tr_fail(err, tr_buf_status(&line), "a rule is too large")
                             : print(tr_buf_view(&line), err);
    tr_buf_done(&line);
    return e;
}

static int rules(void *ctx, tr_error *err)
{
    bus_command *c = ctx;
    return each(c, "ListRules", "Rules", c->cli->argc > 1 ? c->cli->argv[1] : NULL, print_rule, err);
}

/* ---------------------------------------------------------------------------------------------------- put */

static void on_published(void *ctx, const tr_publish_result *result)
{
    bus_command *c = ctx;
    if (result->code == 0)
        return;
    atomic_fetch_add(&c->refused, 1);
    tr_cli_message(TR_LOG_ERROR, "an event was not taken: %s",
                   result->err && result->err->message[0] ? result->err->message : tr_strerror(result->code));
}

/* As `tail` and the archive print them. */
static int put_line(bus_command *c, tr_publisher *publisher, tr_view line, tr_error *err)
{
    tr_publish_entry entry;
    tr_arena_reset(&c->arena);
    int e = tr_publish_read_event(line, &c->arena, &entry, err);
    return e ? e : tr_publisher_put(publisher, &entry, -1, on_published, c, err);
}

static int put(void *ctx, tr_error *err)
{
    bus_command *c = ctx;
    tr_publisher *publisher;
    tr_cli_lines lines;
    tr_view line;
    tr_publisher_stats stats;
    const tr_publisher_options o = {
        .bus = c->cli->argv[1], .limit_retries = true, .retries = 10, .logger = tr_cli_logger()};
    int e = tr_publish_check_bus(c->place.client, o.bus, err);
    if (!e)
        e = tr_publisher_new(c->place.client, &o, &publisher, err);
    if (e)
        return e;
    tr_cli_lines_init(&lines, stdin);
    while ((e = tr_cli_next_line(&lines, &line, err)) == 0)
        if ((e = put_line(c, publisher, line, err)) != 0) {
            e = tr_cli_line_error(&lines, e, err);
            break;
        }
    tr_cli_lines_done(&lines);
    int flushed = tr_publisher_flush(publisher, -1, e == TR_ECLOSED ? err : NULL);
    if (e == TR_ECLOSED)
        e = flushed;
    tr_publisher_get_stats(publisher, &stats);
    tr_publisher_free(publisher);
    tr_cli_message(TR_LOG_INFO, "%llu events published", (unsigned long long)stats.published);
    if (!e && atomic_load(&c->refused))
        e = tr_fail(err, TR_ESERVICE, "%llu events were not taken",
                    (unsigned long long)atomic_load(&c->refused));
    return e;
}

/* --------------------------------------------------------------------------------------------------- test */

/* Writes the event with what the bus sets on its way, where it lacks that: what `put` takes can be tested,
 * too. TR_EPARSE: it is no object. */
static int complete(bus_command *c, tr_view event, tr_buf *out)
{
    char id[TR_UUID_LEN + 1], time[TR_TIME_TEXT_MAX];
    tr_uuid(id);
    tr_time_format(tr_clock_wall_ms(), false, time);
    const char *const set[][2] = {{"version", "0"},
                                  {"id", id},
                                  {"account", "000000000000"},
                                  {"time", time},
                                  {"region", c->where.region ? c->where.region : "us-east-1"},
                                  {"resources", NULL}};
    tr_json_reader r;
    tr_json_writer w;
    tr_view raw;
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    for (size_t i = 0; i < TR_COUNT(set); i++) {
        if (tr_json_member(event, set[i][0], &c->arena, &raw) == 0)
            continue;
        tr_json_name(&w, set[i][0]);
        set[i][1] ? tr_json_cstring(&w, set[i][1]) : tr_json_value(&w, TR_VIEW("[]"));
    }
    tr_json_init(&r, event, &c->arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    while (tr_json_next_key(&r)) {
        tr_json_key(&w, r.text);
        (void)tr_json_next(&r);
        if (tr_json_raw(&r, &raw))
            return TR_EPARSE;
        tr_json_value(&w, raw);
    }
    tr_json_end_object(&w);
    return r.token == TR_JSON_OBJECT_END && tr_json_next(&r) == TR_JSON_DONE ? tr_buf_status(out) : TR_EPARSE;
}

static int test_event(bus_command *c, tr_view line, tr_error *err)
{
    tr_buf event;
    tr_view result;
    tr_buf_init(&event, ANSWER_MAX);
    tr_arena_reset(&c->arena);
    int e = complete(c, line, &event);
    if (e)
        (void)tr_fail(err, e, e == TR_EPARSE ? "an event is a JSON object" : "the event is too large");
    if (!e) {
        (void)body(c);
        tr_json_member_cstring(&c->w, "EventPattern", c->cli->argv[1]);
        tr_json_member_string(&c->w, "Event", tr_buf_view(&event));
        e = call(c, TR_EVENTS, "TestEventPattern", err);
    }
    tr_buf_done(&event);
    if (!e && tr_json_member(tr_buf_view(&c->answer), "Result", &c->arena, &result))
        e = tr_fail(err, TR_EPARSE, "the answer has no Result");
    return e ? e : print(result, err);
}

static int test(void *ctx, tr_error *err)
{
    bus_command *c = ctx;
    tr_cli_lines lines;
    tr_view line;
    int e;
    tr_cli_lines_init(&lines, stdin);
    while ((e = tr_cli_next_line(&lines, &line, err)) == 0)
        if ((e = test_event(c, line, err)) != 0) {
            e = tr_cli_line_error(&lines, e, err);
            break;
        }
    tr_cli_lines_done(&lines);
    return e == TR_ECLOSED ? 0 : e;
}

/* --------------------------------------------------------------------------------------------------- tail */

typedef struct tail {
    bus_command *c;
    const char *bus;
    char name[64]; /* of rule and queue */
    char url[1024], arn[1024];
    bool queue, rule, target;
} tail;

static int make_queue(tail *t, tr_error *err)
{
    bus_command *c = t->c;
    (void)body(c);
    tr_json_member_cstring(&c->w, "QueueName", t->name);
    int e = call(c, TR_SQS, "CreateQueue", err);
    if (e)
        return e;
    t->queue = true;
    const char *url = text_of(c, tr_buf_view(&c->answer), "QueueUrl");
    (void)snprintf(t->url, sizeof t->url, "%s", url ? url : t->name);
    (void)body(c);
    tr_json_member_cstring(&c->w, "QueueUrl", t->url);
    tr_json_name(&c->w, "AttributeNames");
    tr_json_value(&c->w, TR_VIEW("[\"QueueArn\"]"));
    e = call(c, TR_SQS, "GetQueueAttributes", err);
    tr_view attributes;
    const char *arn = !e && !tr_json_member(tr_buf_view(&c->answer), "Attributes", &c->arena, &attributes)
                          ? text_of(c, attributes, "QueueArn")
                          : NULL;
    if (!e && !arn)
        e = tr_fail(err, TR_EPARSE, "the queue has no ARN");
    if (!e)
        (void)snprintf(t->arn, sizeof t->arn, "%s", arn);
    return e;
}

/* On AWS the bus needs to be allowed to send to the queue. */
static int allow(tail *t, const char *rule_arn, tr_error *err)
{
    bus_command *c = t->c;
    tr_buf policy;
    tr_buf_init(&policy, 8192);
    tr_buf_printf(
        &policy,
        "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":"
        "\"events.amazonaws.com\"},\"Action\":\"sqs:SendMessage\",\"Resource\":\"%s\",\"Condition\":{"
        "\"ArnEquals\":{\"aws:SourceArn\":\"%s\"}}}]}",
        t->arn, rule_arn);
    (void)body(c);
    tr_json_member_cstring(&c->w, "QueueUrl", t->url);
    tr_json_name(&c->w, "Attributes");
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "Policy", tr_buf_view(&policy));
    tr_json_end_object(&c->w);
    tr_buf_done(&policy);
    return call(c, TR_SQS, "SetQueueAttributes", err);
}

static int make_rule(tail *t, tr_error *err)
{
    bus_command *c = t->c;
    char arn[1024];
    (void)body(c);
    tr_json_member_cstring(&c->w, "Name", t->name);
    tr_json_member_cstring(&c->w, "EventBusName", t->bus);
    tr_json_member_cstring(&c->w, "EventPattern", c->pattern ? c->pattern : "{\"version\":[\"0\"]}");
    int e = call(c, TR_EVENTS, "PutRule", err);
    if (e)
        return e;
    t->rule = true;
    const char *found = text_of(c, tr_buf_view(&c->answer), "RuleArn");
    (void)snprintf(arn, sizeof arn, "%s", found ? found : "");
    e = allow(t, arn, err);
    if (e)
        return e;
    (void)body(c);
    tr_json_member_cstring(&c->w, "Rule", t->name);
    tr_json_member_cstring(&c->w, "EventBusName", t->bus);
    tr_json_name(&c->w, "Targets");
    tr_json_begin_array(&c->w);
    tr_json_begin_object(&c->w);
    tr_json_member_cstring(&c->w, "Id", "tail");
    tr_json_member_cstring(&c->w, "Arn", t->arn);
    tr_json_end_object(&c->w);
    tr_json_end_array(&c->w);
    e = call(c, TR_EVENTS, "PutTargets", err);
    t->target = !e;
    return e;
}

static void remove_all(tail *t)
{
    bus_command *c = t->c;
    tr_error ignored;
    if (t->target) {
        (void)body(c);
        tr_json_member_cstring(&c->w, "Rule", t->name);
        tr_json_member_cstring(&c->w, "EventBusName", t->bus);
        tr_json_name(&c->w, "Ids");
        tr_json_value(&c->w, TR_VIEW("[\"tail\"]"));
        (void)call(c, TR_EVENTS, "RemoveTargets", &ignored);
    }
    if (t->rule) {
        (void)body(c);
        tr_json_member_cstring(&c->w, "Name", t->name);
        tr_json_member_cstring(&c->w, "EventBusName", t->bus);
        (void)call(c, TR_EVENTS, "DeleteRule", &ignored);
    }
    if (t->queue) {
        (void)body(c);
        tr_json_member_cstring(&c->w, "QueueUrl", t->url);
        (void)call(c, TR_SQS, "DeleteQueue", &ignored);
    }
}

/* Prints what was received and deletes it. */
static int take(tail *t, tr_error *err)
{
    bus_command *c = t->c;
    tr_json_reader r;
    tr_view list, message;
    tr_buf handles;
    tr_json_writer w;
    unsigned count = 0;
    int e = 0;
    if (tr_json_member(tr_buf_view(&c->answer), "Messages", &c->arena, &list))
        return 0;
    tr_buf_init(&handles, ANSWER_MAX);
    tr_json_write_init(&w, &handles);
    tr_json_begin_array(&w);
    tr_json_init(&r, list, &c->arena);
    (void)tr_json_next(&r);
    while (!e && tr_json_next(&r) == TR_JSON_OBJECT && !tr_json_raw(&r, &message)) {
        char id[16];
        const char *event = text_of(c, message, "Body"), *handle = text_of(c, message, "ReceiptHandle");
        (void)snprintf(id, sizeof id, "%u", count++);
        e = event ? print(tr_view_str(event), err) : 0;
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "Id", id);
        tr_json_member_cstring(&w, "ReceiptHandle", handle ? handle : "");
        tr_json_end_object(&w);
    }
    tr_json_end_array(&w);
    (void)fflush(stdout);
    if (!e && count) {
        (void)body(c);
        tr_json_member_cstring(&c->w, "QueueUrl", t->url);
        tr_json_name(&c->w, "Entries");
        tr_json_value(&c->w, tr_buf_view(&handles));
        e = call(c, TR_SQS, "DeleteMessageBatch", err);
    }
    tr_buf_done(&handles);
    return e;
}

static int follow(void *ctx, tr_error *err)
{
    bus_command *c = ctx;
    uint64_t random;
    tail t = {.c = c, .bus = c->cli->argc > 1 ? c->cli->argv[1] : "default"};
    tr_random_bytes(&random, sizeof random);
    (void)snprintf(t.name, sizeof t.name, "tailrace-tail-%016llx", (unsigned long long)random);
    tr_cli_ignore_stop();
    int e = make_queue(&t, err);
    if (!e)
        e = make_rule(&t, err);
    if (!e)
        tr_cli_message(TR_LOG_INFO, "following bus %s", t.bus);
    while (!e && !tr_cli_stopped()) {
        (void)body(c);
        tr_json_member_cstring(&c->w, "QueueUrl", t.url);
        tr_json_member_i64(&c->w, "MaxNumberOfMessages", 10);
        tr_json_member_i64(&c->w, "WaitTimeSeconds", WAIT_S);
        e = call(c, TR_SQS, "ReceiveMessage", err);
        if (!e)
            e = take(&t, err);
    }
    remove_all(&t);
    return e;
}

/* ---------------------------------------------------------------------------------------------------- run */

static const tr_cli_verb verbs[] = {
    {"list", 1, 1, "bus list", list},
    {"create", 2, 2, "bus create NAME", create},
    {"delete", 2, 2, "bus delete NAME", delete_bus},
    {"rules", 1, 2, "bus rules [BUS]", rules},
    {"put", 2, 2, "bus put BUS, with events as JSON lines on the standard input", put},
    {"test", 2, 2, "bus test PATTERN, with events as JSON lines on the standard input", test},
    {"tail", 1, 2, "bus tail [BUS] [--pattern PATTERN]", follow},
    {NULL, 0, 0, NULL, NULL}};

static int run(tr_cli *cli)
{
    bus_command c = {.cli = cli};
    int option;
    while ((option = tr_cli_next(cli)) > 0)
        if (!tr_cli_where_take(&c.where, option, cli))
            c.pattern = cli->value;
    if (option < 0)
        return cli->exit_code;
    const tr_cli_verb *verb = tr_cli_verb_of(cli, verbs);
    if (!verb)
        return TR_EXIT_USAGE;
    tr_buf_init(&c.body, ANSWER_MAX);
    tr_buf_init(&c.answer, ANSWER_MAX);
    tr_arena_init(&c.arena, ANSWER_MAX);
    c.where.makes = verb->run == create;
    int status = tr_cli_verb_run(verb, &c.where, &c.place, &c);
    tr_buf_done(&c.body);
    tr_buf_done(&c.answer);
    tr_arena_done(&c.arena);
    return status == TR_EXIT_OK && tr_cli_stopped() ? TR_EXIT_INTERRUPTED : status;
}

const tr_cli_command tr_cli_bus = {
    .name = "bus",
    .summary = "Buses by hand: make, look at rules, put events, test patterns, follow events.",
    .arguments = "list | create NAME | delete NAME | rules [BUS] | put BUS | test PATTERN | tail [BUS]",
    .text = "put and test read events as JSON lines: {\"source\":…,\"detail-type\":…,\"detail\":{…}}. tail "
            "makes a rule\n"
            "and a queue of its own, and removes them at its end.",
    .options = options,
    .run = run};
