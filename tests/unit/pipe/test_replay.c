/* SPDX-License-Identifier: MIT */
/* tailrace/replay.h: an archive's file into a table, onto a bus, to a handler; marks, interruptions,
 * failures. */
#include "../embedded.h"

#include <stdio.h>
#include <stdlib.h>
#include <tailrace/log.h>
#include <tailrace/replay.h>
#include <unistd.h>

#define USERS  5
#define EVENTS (4 * USERS)

typedef struct world {
    embedded e;
    char dir[32], file[64], state[64];
} world;

/* Made users, a second between two events. */
static void fill(const char *path)
{
    tr_archive_file *file;
    tr_error err = {0};
    if (tr_archive_file_open(path, TR_ARCHIVE_WRITE, &file, &err) || tr_archive_file_begin(file, &err))
        fail_msg("%s", err.message);
    for (int64_t i = 0; i < EVENTS; i++) {
        tr_log_event event;
        tr_arena arena;
        tr_buf text;
        tr_json_writer w;
        char time[TR_TIME_TEXT_MAX];
        tr_arena_init(&arena, 65536);
        tr_buf_init(&text, 65536);
        assert_int_equal(tr_log_fake_event(3, (uint64_t)i / 4, (uint64_t)i % 4 + 1, &arena, &event), 0);
        tr_time_format(1700000000000 + i * 1000, false, time);
        tr_buf_printf(&text,
                      "{\"version\":\"0\",\"id\":\"e%d\",\"detail-type\":\"stream "
                      "changes\",\"source\":\"dynamodb-log\","
                      "\"account\":\"1\",\"time\":\"%s\",\"region\":\"r\",\"resources\":[],\"detail\":{"
                      "\"log\":\"users\","
                      "\"key\":{\"pk\":\"users#%.*s#stream\",\"sk\":%d},\"type\":\"%.*s\",\"payload\":",
                      (int)i, time, TR_FMT(event.id), (int)event.version, TR_FMT(event.type));
        tr_json_write_init(&w, &text);
        tr_item_write_plain(&w, event.payload);
        tr_buf_put_str(&text, "}}");
        assert_int_equal(tr_buf_status(&text), 0);
        assert_int_equal(tr_archive_file_put(file, i + 1, tr_buf_view(&text), &err), 0);
        tr_buf_done(&text);
        tr_arena_done(&arena);
    }
    assert_int_equal(tr_archive_file_commit(file, &err), 0);
    tr_archive_file_close(file);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    tr_error err = {0};
    assert_non_null(w);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/tailrace-replay-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->file, sizeof w->file, "%s/a.sqlite", w->dir);
    (void)snprintf(w->state, sizeof w->state, "%s/state.json", w->dir);
    fill(w->file);
    embedded_open(&w->e, NULL);
    if (tr_log_create_table(w->e.client, NULL, &err))
        fail_msg("%s", err.message);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    char command[64];
    embedded_close(&w->e);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static tr_replay_options into_table(const world *w)
{
    return (tr_replay_options){.archive = w->file, .to = TR_REPLAY_TO_TABLE, .to_client = w->e.client};
}

/* Runs it once; the state's file is the world's. */
static int run(const world *w, tr_replay_options o, bool *ret_complete, tr_replay_stats *ret_stats)
{
    tr_error err = {0};
    tr_replay *replay;
    assert_int_equal(tr_stream_store_file(w->state, &o.state, &err), 0);
    if (tr_replay_new(&o, &replay, &err))
        fail_msg("%s", err.message);
    int e = tr_replay_run(replay, ret_complete, &err);
    tr_replay_get_stats(replay, ret_stats);
    tr_replay_free(replay);
    return e;
}

static void expect_items(const world *w, int count)
{
    tr_buf out;
    char text[64];
    tr_buf_init(&out, 1 << 20);
    embedded_call(w->e.client, "Scan", "{\"TableName\":\"" TR_LOG_TABLE "\"}", &out);
    (void)snprintf(text, sizeof text, "\"Count\":%d,", count);
    assert_non_null(strstr(tr_buf_cstr(&out), text));
    size_t marks = 0;
    for (const char *at = out.ptr; (at = strstr(at, "\"replay-name\":{\"S\":\"local\"}")) != NULL; at++)
        marks++;
    assert_int_equal(marks, count);
    tr_buf_done(&out);
}

static void a_table_gets_what_it_lacks(void **state)
{
    const world *w = *state;
    bool complete = false;
    tr_replay_stats stats;
    assert_int_equal(run(w, into_table(w), &complete, &stats), 0);
    assert_true(complete);
    assert_int_equal(stats.total, EVENTS);
    assert_int_equal(stats.done, EVENTS);
    expect_items(w, EVENTS);
    assert_int_equal(run(w, into_table(w), &complete, &stats), 0); /* complete: it begins anew */
    assert_int_equal(stats.read, EVENTS);
    assert_int_equal(stats.differing, 0);
    assert_false(stats.resumed);
    expect_items(w, EVENTS);
}

static void what_differs_stays(void **state)
{
    const world *w = *state;
    tr_log_event event;
    tr_arena arena;
    tr_error err = {0};
    tr_replay_stats stats;
    uint64_t version;
    bool complete;
    tr_arena_init(&arena, 65536);
    assert_int_equal(tr_log_fake_event(3, 0, 1, &arena, &event), 0);
    const tr_log_append other = {.log = event.log, .id = event.id, .type = TR_VIEW("other")};
    assert_int_equal(tr_log_append_wait(w->e.client, &other, &version, &err), 0);
    assert_int_equal(run(w, into_table(w), &complete, &stats), 0);
    assert_int_equal(stats.differing, 1);
    assert_int_equal(stats.done + stats.there + stats.differing, EVENTS);
    tr_arena_done(&arena);
}

static void events_are_selected(void **state)
{
    const world *w = *state;
    tr_replay_stats stats;
    bool complete;
    tr_error err;
    tr_pattern *pattern;
    assert_int_equal(tr_pattern_compile(TR_VIEW("{\"detail\":{\"key\":{\"sk\":[{\"numeric\":[\"<\",3]}]}}}"),
                                        NULL, &pattern, &err),
                     0);
    const struct {
        tr_replay_options o;
        uint64_t count;
    } cases[] = {
        {{.type = TR_VIEW("signup")}, USERS},
        {{.log = TR_VIEW("others")}, 0},
        {{.from_ms = 1700000004000, .to_ms = 1700000007000}, 4},
        {{.pattern = pattern}, 2 * (uint64_t)USERS},
        {{.pattern = pattern, .type = TR_VIEW("signup"), .to_ms = 1700000000000}, 1},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_replay_options o = cases[i].o;
        o.archive = w->file;
        o.to = TR_REPLAY_TO_TABLE;
        o.to_client = w->e.client;
        o.dry_run = true;
        assert_int_equal(run(w, o, &complete, &stats), 0);
        assert_true(complete);
        assert_int_equal(stats.done, cases[i].count);
    }
    expect_items(w, 0); /* they only count */
    tr_pattern_free(pattern);
}

static void a_bus_gets_marked_events_and_does_not_archive_them(void **state)
{
    const world *w = *state;
    static const char *const calls[][2] = {
        {"CreateEventBus", "{\"Name\":\"b\"}"},
        {"CreateArchive", "{\"ArchiveName\":\"a\",\"EventSourceArn\":"
                          "\"arn:aws:events:us-east-1:000000000000:event-bus/b\"}"},
        {"PutRule",
         "{\"Name\":\"r\",\"EventBusName\":\"b\",\"EventPattern\":\"{\\\"detail\\\":{\\\"replay-name\\\":["
         "\\\"again\\\"]}}\"}"},
        {"PutTargets", "{\"Rule\":\"r\",\"EventBusName\":\"b\",\"Targets\":[{\"Id\":\"1\",\"Arn\":"
                       "\"arn:aws:sqs:us-east-1:000000000000:q\"}]}"}};
    const tr_replay_options o = {
        .archive = w->file, .to = TR_REPLAY_TO_BUS, .to_client = w->e.client, .bus = "b", .name = "again"};
    tr_request request = {
        .service = TR_SQS, .operation = "CreateQueue", .body = TR_VIEW("{\"QueueName\":\"q\"}")};
    tr_replay_stats stats;
    bool complete;
    tr_buf out;
    tr_error err;
    tr_buf_init(&out, 1 << 20);
    assert_int_equal(tr_client_call_wait(w->e.client, &request, NULL, &err), 0);
    for (size_t i = 0; i < TR_COUNT(calls); i++) {
        request =
            (tr_request){.service = TR_EVENTS, .operation = calls[i][0], .body = tr_view_str(calls[i][1])};
        assert_int_equal(tr_client_call_wait(w->e.client, &request, NULL, &err), 0);
    }
    assert_int_equal(run(w, o, &complete, &stats), 0);
    assert_int_equal(stats.done, EVENTS);
    /* queues of the same server have their messages before PutEvents answers */
    request = (tr_request){
        .service = TR_SQS,
        .operation = "GetQueueAttributes",
        .body = TR_VIEW("{\"QueueUrl\":\"q\",\"AttributeNames\":[\"ApproximateNumberOfMessages\"]}")};
    assert_int_equal(tr_client_call_wait(w->e.client, &request, &out, &err), 0);
    assert_non_null(strstr(tr_buf_cstr(&out), "\"ApproximateNumberOfMessages\":\"20\""));
    request = (tr_request){
        .service = TR_EVENTS, .operation = "DescribeArchive", .body = TR_VIEW("{\"ArchiveName\":\"a\"}")};
    tr_buf_reset(&out);
    assert_int_equal(tr_client_call_wait(w->e.client, &request, &out, &err), 0);
    assert_non_null(strstr(tr_buf_cstr(&out), "\"EventCount\":0"));
    tr_buf_done(&out);
}

/* ------------------------------------------------------------------------------------------- interruptions
 */

typedef struct stopping {
    tr_replay *replay;
} stopping;

static void stop_soon(void *ctx, const tr_replay_stats *stats)
{
    const stopping *s = ctx;
    (void)stats;
    tr_replay_stop(s->replay);
}

static void a_replay_that_was_stopped_goes_on(void **state)
{
    const world *w = *state;
    tr_replay_stats first, second;
    tr_error err = {0};
    bool complete = true;
    stopping s;
    tr_replay_options o = into_table(w);
    o.progress = stop_soon;
    o.ctx = &s;
    o.speed = 0.001; /* the second event is due after 1,000 s: only being stopped ends it */
    assert_int_equal(tr_stream_store_file(w->state, &o.state, &err), 0);
    assert_int_equal(tr_replay_new(&o, &s.replay, &err), 0);
    assert_int_equal(tr_replay_run(s.replay, &complete, &err), 0);
    tr_replay_get_stats(s.replay, &first);
    tr_replay_free(s.replay);
    assert_false(complete);
    assert_true(first.read < EVENTS);
    /* another replay does not go on with it, unless it begins anew */
    o = into_table(w);
    o.type = TR_VIEW("signup");
    assert_int_equal(run(w, o, &complete, &second), TR_EINVAL);
    assert_int_equal(run(w, into_table(w), &complete, &second), 0);
    assert_true(complete);
    assert_int_equal(second.read, EVENTS);
    expect_items(w, EVENTS);
    o.anew = true;
    assert_int_equal(run(w, o, &complete, &second), 0);
    assert_int_equal(second.read, USERS);
}

/* ------------------------------------------------------------------------------------------------ handlers
 */

typedef struct sink {
    tr_failure_sink base;
    unsigned puts;
} sink;

static int sink_put(tr_failure_sink *base, const tr_failure *f, tr_error *err)
{
    (void)f;
    (void)err;
    ((sink *)base)->puts++;
    return 0;
}

static void sink_free(tr_failure_sink *base)
{
    (void)base;
}

/* How often the handler was called. */
static size_t seen(const world *w)
{
    char path[64], byte;
    size_t lines = 0;
    (void)snprintf(path, sizeof path, "%s/seen", w->dir);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fread(&byte, 1, 1, file) == 1)
        lines += byte == '\n';
    (void)fclose(file);
    return lines;
}

static void a_failing_event_ends_the_replay_or_goes_to_its_destination(void **state)
{
    const world *w = *state;
    char command[256];
    tr_handler *handler;
    tr_error err = {0};
    tr_replay_stats stats;
    bool complete;
    sink failures = {.base = {.put = sink_put, .free = sink_free}};
    (void)snprintf(command, sizeof command,
                   "cd %s; line=$(cat); echo . >> seen; case $line in *addLocation*) test -e healed;; esac",
                   w->dir);
    const tr_handler_options code = {.kind = TR_HANDLER_EXEC_EACH, .target = command};
    assert_int_equal(tr_handler_new(&code, &handler, &err), 0);
    tr_replay_options o = {.archive = w->file,
                           .to = TR_REPLAY_TO_HANDLER,
                           .handler = handler,
                           .retries = 1,
                           .to_ms = 1700000007000};
    assert_int_equal(run(w, o, &complete, &stats), TR_ESERVICE);
    assert_int_equal(stats.done, 3); /* those before the first user's location */
    assert_int_equal(seen(w), 3 + 2);
    o.on_failure = &failures.base;
    assert_int_equal(run(w, o, &complete, &stats), 0); /* goes on with the event that failed */
    assert_true(complete && stats.resumed);
    assert_int_equal(seen(w), 3 + 2 + 2 + 3 + 2);
    assert_int_equal(failures.puts, 2);
    assert_int_equal(stats.done, 6);
    assert_int_equal(stats.failed, 2);
    (void)snprintf(command, sizeof command, "touch '%s/healed'", w->dir);
    assert_int_equal(system(command), 0);
    o.on_failure = NULL;
    assert_int_equal(run(w, o, &complete, &stats), 0);
    assert_int_equal(stats.done, 8);
    tr_handler_free(handler);
}

static void wrong_options_are_refused(void **state)
{
    const world *w = *state;
    char longest[TR_REPLAY_NAME_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    const tr_replay_options wrong[] = {
        {.to = TR_REPLAY_TO_TABLE, .to_client = w->e.client},
        {.archive = w->file, .to = TR_REPLAY_TO_TABLE},
        {.archive = w->file, .to = TR_REPLAY_TO_HANDLER},
        {.archive = w->file, .to = TR_REPLAY_TO_BUS, .to_client = w->e.client},
        {.archive = "a", .from = TR_REPLAY_FROM_SERVER, .to = TR_REPLAY_TO_TABLE, .to_client = w->e.client},
        {.archive = "a",
         .from = TR_REPLAY_FROM_AWS,
         .from_client = w->e.client,
         .to = TR_REPLAY_TO_TABLE,
         .to_client = w->e.client},
        {.archive = w->file, .to = TR_REPLAY_TO_TABLE, .to_client = w->e.client, .name = longest},
        {.archive = w->file, .to = TR_REPLAY_TO_TABLE, .to_client = w->e.client, .from_ms = 2, .to_ms = 1},
        {.archive = w->file, .to = TR_REPLAY_TO_TABLE, .to_client = w->e.client, .speed = -1},
    };
    tr_replay *replay;
    tr_error err = {0};
    tr_replay_stats stats;
    bool complete;
    for (size_t i = 0; i < TR_COUNT(wrong); i++)
        assert_int_equal(tr_replay_new(&wrong[i], &replay, &err), TR_EINVAL);
    tr_replay_options missing = into_table(w);
    missing.archive = "/nowhere/a.sqlite";
    assert_int_equal(run(w, missing, &complete, &stats), TR_ENOTFOUND);
    missing = (tr_replay_options){.archive = "nosuch",
                                  .from = TR_REPLAY_FROM_SERVER,
                                  .from_client = w->e.client,
                                  .to = TR_REPLAY_TO_TABLE,
                                  .to_client = w->e.client,
                                  .anew = true};
    assert_int_equal(run(w, missing, &complete, &stats), TR_ENOTFOUND);
    tr_replay_free(NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_table_gets_what_it_lacks),
        T(what_differs_stays),
        T(events_are_selected),
        T(a_bus_gets_marked_events_and_does_not_archive_them),
        T(a_replay_that_was_stopped_goes_on),
        T(a_failing_event_ends_the_replay_or_goes_to_its_destination),
        T(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
