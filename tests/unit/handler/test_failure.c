/* SPDX-License-Identifier: MIT */
#include "../embedded.h"
#include "../http/serving.h"

#include <tailrace/failure.h>
#include <tailrace/sigv4.h>

#include <stdio.h>
#include <sys/stat.h>

/* A batch's failure record, short of nothing that a reader looks at. */
#define RECORD                                                                                               \
    "{\"requestContext\":{\"requestId\":\"%s\",\"functionArn\":\"arn:aws:lambda:us-east-1:000000000000:"     \
    "function:on-tab\",\"condition\":\"RetryAttemptsExhausted\",\"approximateInvokeCount\":3},"              \
    "\"responseContext\":{\"statusCode\":200,\"executedVersion\":\"$LATEST\",\"functionError\":"             \
    "\"Unhandled\"},\"version\":\"1.0\",\"timestamp\":\"2026-01-31T00:00:00.000Z\",\"DDBStreamBatchInfo\":{" \
    "}}"

typedef struct world {
    embedded e;
    char dir[64];
    struct serving web;
    tr_buf seen; /* of requests to `web`, behind the lock */
    int signature;
    int refuse; /* so many requests */
} world;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int find_secret(void *ctx, tr_view id, tr_view *ret_secret)
{
    (void)ctx;
    (void)id;
    *ret_secret = TR_VIEW("the-secret");
    return 0;
}

/* Notes what it is sent, and checks its signature as AWS would. */
static void answer(void *ctx, tr_http_request *request)
{
    world *w = (world *)((char *)ctx - offsetof(world, web));
    tr_sigv4 *signer;
    tr_sigv4_identity who;
    tr_sigv4_check check = {.secret = find_secret, .now_ms = tr_clock_wall_ms(), .service = "lambda"};
    tr_sigv4_request r = {request->method,  request->path,         request->query,
                          request->headers, request->header_count, request->body};
    assert_int_equal(tr_sigv4_new(&signer), 0);
    pthread_mutex_lock(&lock);
    w->signature = tr_sigv4_verify(signer, &check, &r, &who, NULL);
    tr_buf_printf(&w->seen, "%.*s %.*s\n", TR_FMT(request->method), TR_FMT(request->path));
    for (size_t i = 0; i < request->header_count; i++)
        if (tr_view_is(request->headers[i].name, "x-amz-invocation-type"))
            tr_buf_printf(&w->seen, "%.*s\n", TR_FMT(request->headers[i].value));
    tr_buf_put_view(&w->seen, request->body);
    bool refused = w->refuse > 0;
    w->refuse -= refused;
    pthread_mutex_unlock(&lock);
    tr_sigv4_free(signer);
    tr_http_respond_static(request, refused ? 503 : 202, "application/json", NULL, 0, 0, TR_VIEW(""));
}

static void refuse(world *w, int requests)
{
    pthread_mutex_lock(&lock);
    w->refuse = requests;
    pthread_mutex_unlock(&lock);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/tailrace-failure-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    embedded_open(&w->e, NULL);
    tr_buf_init(&w->seen, 16 << 20);
    serving_start_with(&w->web, (tr_http_options){0}, answer);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    char command[128];
    serving_stop(&w->web);
    tr_buf_done(&w->seen);
    embedded_close(&w->e);
    (void)snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static tr_failure_sink *open_sink(world *w, const char *format, bool existing)
{
    char destination[256];
    tr_failure_sink *sink = NULL;
    tr_error err = {0};
    (void)snprintf(destination, sizeof destination, format, w->dir);
    const tr_failure_options o = {.destination = destination, .client = w->e.client, .existing = existing};
    if (tr_failure_sink_open(&o, &sink, &err))
        fail_msg("%s: %s %s", destination, err.type, err.message);
    return sink;
}

/* A failure with so many records of so many bytes. */
static void put_failure(tr_failure_sink *sink, const char *id, int records, size_t bytes)
{
    tr_buf event, record;
    tr_error err = {0};
    tr_buf_init(&event, 64 << 20);
    tr_buf_init(&record, 4096);
    tr_buf_printf(&record, RECORD, id);
    tr_buf_put_str(&event, "{\"Records\":[");
    for (int i = 0; i < records; i++) {
        tr_buf_printf(&event, "%s{\"eventID\":\"%d\",\"x\":\"", i ? "," : "", i);
        for (size_t n = 0; n < bytes; n += 2) /* é: two bytes, so that cuts can go wrong */
            tr_buf_put(&event, "\xc3\xa9", 2);
        tr_buf_put_str(&event, "\"}");
    }
    tr_buf_put_str(&event, "]}");
    const tr_failure f = {.source = TR_VIEW("on-tab"),
                          .record = tr_buf_view(&record),
                          .event = tr_buf_view(&event),
                          .error_type = TR_VIEW("TypeError"),
                          .error_message = TR_VIEW("x is \"undefined\""),
                          .attempts = 3};
    if (tr_failure_put(sink, &f, &err))
        fail_msg("%s %s", err.type, err.message);
    tr_buf_done(&event);
    tr_buf_done(&record);
}

typedef struct listing {
    tr_failure_sink *sink;
    int count, records;
    size_t bytes;
    char ids[16][128], sources[16][64], types[16][64], messages[16][64], times[16][32];
    uint64_t attempts[16];
    int remove; /* of the entries, this one */
} listing;

static int note(void *ctx, const tr_failure_entry *e)
{
    listing *l = ctx;
    assert_true(l->count < 16);
    (void)snprintf(l->ids[l->count], 128, "%.*s", TR_FMT(e->id));
    (void)snprintf(l->sources[l->count], 64, "%.*s", TR_FMT(e->source));
    (void)snprintf(l->types[l->count], 64, "%.*s", TR_FMT(e->error_type));
    (void)snprintf(l->messages[l->count], 64, "%.*s", TR_FMT(e->error_message));
    (void)snprintf(l->times[l->count], 32, "%.*s", TR_FMT(e->time));
    l->attempts[l->count] = e->attempts;
    assert_true(tr_utf8_valid(e->event));
    l->bytes += e->event.len;
    for (size_t at = 0; (at = tr_view_find(e->event, TR_VIEW("\"eventID\""), at)) != SIZE_MAX; at++)
        l->records++;
    tr_arena arena;
    tr_view batch;
    tr_arena_init(&arena, 1 << 20);
    assert_int_equal(tr_json_member(e->record, "DDBStreamBatchInfo", &arena, &batch), 0);
    tr_arena_done(&arena);
    if (++l->count == l->remove)
        assert_int_equal(tr_failure_remove(l->sink, e->id, NULL), 0);
    return 0;
}

static listing list(tr_failure_sink *sink, int remove)
{
    listing l = {.sink = sink, .remove = remove};
    tr_error err = {0};
    if (tr_failure_each(sink, note, &l, &err))
        fail_msg("%s %s", err.type, err.message);
    return l;
}

/* What all that can be read have in common. */
static void keeps_and_gives_back(world *w, const char *destination, bool ordered)
{
    tr_failure_sink *sink = open_sink(w, destination, false), *reader;
    uint64_t count = 0;
    put_failure(sink, "r-1", 2, 10);
    usleep(2000); /* entries of one millisecond have no order in a table */
    put_failure(sink, "r-2", 1, 10);
    usleep(2000);
    put_failure(sink, "r-3", 1, 500000); /* more than an item holds, or a message takes */
    reader = open_sink(w, destination, true);
    listing all = list(reader, 2);
    assert_int_equal(all.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(all.sources[i], "on-tab");
        assert_int_equal(all.attempts[i], 3);
        assert_int_equal(all.times[i][0], '2');
    }
    listing rest = list(reader, 0);
    assert_int_equal(rest.count, 2);
    if (ordered) {
        assert_string_equal(rest.ids[0], all.ids[0]);
        assert_string_equal(rest.ids[1], all.ids[2]);
        assert_int_equal(rest.records, 3);
        assert_true(rest.bytes > 500000);
    }
    put_failure(sink, "r-4", 1, 10); /* the writer has seen none of this */
    assert_int_equal(list(reader, 0).count, 3);
    assert_int_equal(tr_failure_remove(reader, tr_view_str(all.ids[0]), NULL), 0);
    assert_int_equal(tr_failure_remove(reader, tr_view_str(all.ids[0]), NULL), TR_ENOTFOUND);
    assert_int_equal(list(reader, 0).count, 2);
    assert_int_equal(tr_failure_purge(reader, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_int_equal(list(reader, 0).count, 0);
    put_failure(sink, "r-5", 1, 10);
    assert_int_equal(list(reader, 0).count, 1);
    tr_failure_sink_free(sink);
    tr_failure_sink_free(reader);
}

static void a_file_keeps_and_gives_back(void **state)
{
    keeps_and_gives_back(*state, "file:%s/failed.jsonl", true);
}

static void a_database_keeps_and_gives_back(void **state)
{
    keeps_and_gives_back(*state, "sqlite:%s/failed.db", true);
}

static void a_table_keeps_and_gives_back(void **state)
{
    keeps_and_gives_back(*state, "table:failures", true);
}

static void sqs(world *w, const char *operation, const char *body, tr_buf *ret)
{
    tr_error err = {0};
    tr_request r = {.service = TR_SQS, .operation = operation, .body = tr_view_str(body)};
    if (tr_client_call_wait(w->e.client, &r, ret, &err))
        fail_msg("%s %s", err.type, err.message);
}

static void a_queue_keeps_and_gives_back(void **state)
{
    world *w = *state;
    sqs(w, "CreateQueue", "{\"QueueName\":\"failed\"}", NULL);
    sqs(w, "CreateQueue", "{\"QueueName\":\"failed-too\"}", NULL);
    keeps_and_gives_back(w, "queue:failed", false);
    keeps_and_gives_back(w, "arn:aws:sqs:us-east-1:000000000000:failed-too", false);
}

static void dead_letters_of_the_bus_are_read_too(void **state)
{
    world *w = *state;
    sqs(w, "CreateQueue", "{\"QueueName\":\"dead\"}", NULL);
    sqs(w, "SendMessage",
        "{\"QueueUrl\":\"http://localhost/000000000000/dead\",\"MessageBody\":\"{\\\"id\\\":\\\"e\\\","
        "\\\"detail\\\":{},\\\"DDBStreamBatchInfo\\\":0}\",\"MessageAttributes\":{\"RULE_ARN\":{\"DataType\":"
        "\"String\",\"StringValue\":\"arn:rule\"},\"ERROR_CODE\":{\"DataType\":\"String\",\"StringValue\":"
        "\"TIMEOUT\"},\"RETRY_ATTEMPTS\":{\"DataType\":\"String\",\"StringValue\":\"7\"}}}",
        NULL);
    tr_failure_sink *sink = open_sink(w, "queue:dead", true);
    listing l = list(sink, 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.sources[0], "arn:rule");
    assert_string_equal(l.types[0], "TIMEOUT");
    assert_int_equal(l.attempts[0], 8);
    tr_failure_sink_free(sink);
}

static void a_torn_line_is_neither_read_nor_joined_to_the_next(void **state)
{
    world *w = *state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/torn", w->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs("{\"requestContext\":{\"requestId\":\"lost", f);
    (void)fclose(f);
    tr_failure_sink *sink = open_sink(w, "file:%s/torn", false);
    put_failure(sink, "whole", 1, 10);
    listing l = list(sink, 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.ids[0], "whole");
    tr_failure_sink_free(sink);
}

static void a_writer_follows_a_file_that_was_written_anew(void **state)
{
    world *w = *state;
    char path[128], away[160];
    tr_failure_sink *sink = open_sink(w, "file:%s/moved", false);
    (void)snprintf(path, sizeof path, "%s/moved", w->dir);
    (void)snprintf(away, sizeof away, "%s.1", path);
    put_failure(sink, "one", 1, 10);
    assert_int_equal(rename(path, away), 0); /* as logrotate does */
    put_failure(sink, "two", 1, 10);
    listing l = list(sink, 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.ids[0], "two");
    tr_failure_sink_free(sink);
}

static const char *seen(world *w)
{
    pthread_mutex_lock(&lock);
    const char *text = tr_buf_cstr(&w->seen);
    pthread_mutex_unlock(&lock);
    return text;
}

static int signature(world *w)
{
    pthread_mutex_lock(&lock);
    int checked = w->signature;
    pthread_mutex_unlock(&lock);
    return checked;
}

static void a_url_is_posted_the_record(void **state)
{
    world *w = *state;
    char url[64];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/dead", w->web.port);
    tr_failure_sink *sink = open_sink(w, url, false);
    put_failure(sink, "r", 2, 4);
    assert_ptr_equal(strstr(seen(w), "POST /dead\n{\"requestContext\":{\"requestId\":\"r\""), seen(w));
    assert_non_null(strstr(seen(w), ",\"Records\":[{\"eventID\":\"0\",\"x\":\"éé\"},{\"eventID\":\"1\""));
    tr_error err = {0};
    const tr_failure f = {.record = TR_VIEW("{}"), .event = TR_VIEW("{}")};
    refuse(w, 1);
    assert_int_equal(tr_failure_put(sink, &f, &err), TR_ESERVICE);
    assert_int_equal(tr_failure_put(sink, &f, &err), 0);
    assert_int_equal(tr_failure_each(sink, note, NULL, &err), TR_EUNSUPPORTED);
    tr_failure_sink_free(sink);
}

static void a_function_on_aws_is_invoked_with_a_signature(void **state)
{
    world *w = *state;
    char url[64];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", w->web.port);
    setenv("AWS_ENDPOINT_URL_LAMBDA", url, 1);
    setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "the-secret", 1);
    setenv("AWS_REGION", "us-east-1", 1);
    tr_failure_sink *sink = open_sink(w, "lambda:retry", false);
    refuse(w, 1); /* repeated by the client */
    put_failure(sink, "r", 1, 4);
    assert_int_equal(signature(w), 0);
    assert_non_null(
        strstr(seen(w), "POST /2015-03-31/functions/retry/invocations\nEvent\n{\"requestContext\""));
    tr_failure_sink_free(sink);
    sink = open_sink(w, "arn:aws:lambda:eu-west-1:123456789012:function:retry:live", false);
    put_failure(sink, "r", 3, 100000); /* 300 KB: in two invocations */
    assert_int_equal(signature(w), 0);
    assert_int_equal(count_of(&w->seen,
                              "POST /2015-03-31/functions/"
                              "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Aretry%3Alive"),
                     2);
    assert_int_equal(count_of(&w->seen, "\"eventID\":\"2\""), 1);
    tr_failure_sink_free(sink);
    unsetenv("AWS_ENDPOINT_URL_LAMBDA");
}

static void a_bus_is_given_an_event(void **state)
{
    world *w = *state;
    static const char *const calls[][2] = {
        {"PutRule",
         "{\"Name\":\"r\",\"EventPattern\":\"{\\\"source\\\":[\\\"lambda\\\"],\\\"detail-type\\\":["
         "\\\"Lambda Function Invocation Result - Failure\\\"]}\"}"},
        {"PutTargets", "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"arn:aws:sqs:us-east-1:"
                       "000000000000:failures\"}]}"}};
    tr_error err = {0};
    sqs(w, "CreateQueue", "{\"QueueName\":\"failures\"}", NULL);
    for (size_t i = 0; i < TR_COUNT(calls); i++) {
        tr_request r = {.service = TR_EVENTS, .operation = calls[i][0], .body = tr_view_str(calls[i][1])};
        if (tr_client_call_wait(w->e.client, &r, NULL, &err))
            fail_msg("%s %s", err.type, err.message);
    }
    tr_failure_sink *sink = open_sink(w, "bus:default", false);
    put_failure(sink, "r", 2, 100000);
    tr_buf got;
    tr_buf_init(&got, 1 << 20);
    sqs(w, "ReceiveMessage", "{\"QueueUrl\":\"http://localhost/000000000000/failures\"}", &got);
    assert_non_null(tr_buf_cstr(&got));
    assert_non_null(
        strstr(got.ptr, "\\\"resources\\\":[\\\"arn:aws:lambda:us-east-1:000000000000:function:on-tab"));
    assert_non_null(strstr(got.ptr, "\\\"detail\\\":{\\\"requestContext\\\""));
    tr_buf_done(&got);
    tr_failure_sink_free(sink);
}

static const char *read_file(world *w, const char *name)
{
    static char text[65536];
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", w->dir, name);
    FILE *f = fopen(path, "r");
    if (!f)
        return "";
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    (void)fclose(f);
    return text;
}

static void another_handler_is_given_the_record(void **state)
{
    world *w = *state;
    tr_failure_sink *sink = open_sink(w, "exec-each:cat > %s/each", false);
    tr_error err = {0};
    put_failure(sink, "r", 1, 4);
    assert_non_null(strstr(read_file(w, "each"), "\"requestId\":\"r\""));
    assert_non_null(strstr(read_file(w, "each"), "\"Records\":[{\"eventID\":\"0\""));
    tr_failure_sink_free(sink);

    sink = open_sink(w, "exec:while read -r line; do echo \"$line\" >> %s/stays; echo '{\"id\":1}'; done",
                     false);
    put_failure(sink, "r", 1, 4);
    assert_non_null(strstr(read_file(w, "stays"), "{\"id\":1,\"requestContext\""));
    tr_failure_sink_free(sink);

    char path[128];
    (void)snprintf(path, sizeof path, "%s/retry.py", w->dir);
    FILE *f = fopen(path, "w");
    (void)fputs("def handler(event, context):\n"
                "    open('module', 'w').write(event['requestContext']['condition'])\n",
                f);
    (void)fclose(f);
    tr_handler_options in = {.directory = w->dir};
    const tr_failure_options o = {.destination = "handler:retry.handler", .handler = &in};
    assert_int_equal(tr_failure_sink_open(&o, &sink, &err), 0);
    put_failure(sink, "r", 1, 4);
    assert_string_equal(read_file(w, "module"), "RetryAttemptsExhausted");
    tr_failure_sink_free(sink);

    sink = open_sink(w, "exec-each:exit 3", false);
    const tr_failure failing = {.record = TR_VIEW("{}"), .event = TR_VIEW("{}")};
    assert_int_equal(tr_failure_put(sink, &failing, &err), TR_ESERVICE);
    tr_failure_sink_free(sink);
}

typedef struct redriving {
    tr_failure_sink *sink;
    tr_handler *handler;
    int last;
} redriving;

static int redrive_one(void *ctx, const tr_failure_entry *entry)
{
    redriving *r = ctx;
    r->last = tr_failure_redrive(r->sink, entry, r->handler, NULL);
    return 0;
}

static int redrive_with(tr_failure_sink *sink, const char *command)
{
    tr_error err = {0};
    redriving r = {.sink = sink};
    const tr_handler_options o = {.kind = TR_HANDLER_EXEC, .target = command};
    assert_int_equal(tr_handler_new(&o, &r.handler, &err), 0);
    assert_int_equal(tr_failure_each(sink, redrive_one, &r, &err), 0);
    tr_handler_free(r.handler);
    return r.last;
}

static void redriving_removes_only_what_succeeds(void **state)
{
    world *w = *state;
    tr_failure_sink *sink = open_sink(w, "sqlite:%s/again.db", false);
    put_failure(sink, "r", 2, 10);
    assert_int_equal(redrive_with(sink, "read -r x; exit 1"), TR_ECLOSED);
    assert_int_equal(redrive_with(sink,
                                  "read -r x; echo '{\"id\":1,\"batchItemFailures\":[{\"itemIdentifier\":"
                                  "\"1\"}]}'"),
                     TR_ESERVICE);
    assert_int_equal(redrive_with(sink, "read -r x; echo '{\"id\":1,\"batchItemFailures\":\"nonsense\"}'"),
                     TR_ESERVICE);
    assert_int_equal(list(sink, 0).count, 1);
    assert_int_equal(redrive_with(sink, "read -r x; echo '{\"id\":1,\"batchItemFailures\":[]}'"), 0);
    assert_int_equal(list(sink, 0).count, 0);
    tr_failure_sink_free(sink);
}

/* One grammar, for mappings, pipes, replays and the functions of a server. */
static void destinations_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *at, *name, *account;
        tr_failure_kind kind;
    } good[] = {
        {"file:/a/b:c", "/a/b:c", "/a/b:c", "", TR_FAILURE_FILE},
        {"sqlite:x.db", "x.db", "x.db", "", TR_FAILURE_SQLITE},
        {"table:t", "t", "t", "", TR_FAILURE_TABLE},
        {"arn:aws:dynamodb:eu-west-1:12:table/t", NULL, "t", "12", TR_FAILURE_TABLE},
        {"queue:q", "q", "q", "", TR_FAILURE_QUEUE},
        {"queue:http://127.0.0.1:1/0/q", "http://127.0.0.1:1/0/q", "q", "", TR_FAILURE_QUEUE},
        {"https://sqs.eu-west-1.amazonaws.com/12/q", NULL, "q", "", TR_FAILURE_QUEUE},
        {"arn:aws-cn:sqs:cn-north-1:12:q", NULL, "q", "12", TR_FAILURE_QUEUE},
        {"bus:b", "b", "b", "", TR_FAILURE_BUS},
        {"arn:aws:events:us-east-1:000000000000:event-bus/b", NULL, "b", "000000000000", TR_FAILURE_BUS},
        {"lambda:f", "f", "f", "", TR_FAILURE_LAMBDA},
        {"arn:aws:lambda:us-east-1:12:function:f:$LATEST", NULL, "f", "12", TR_FAILURE_LAMBDA},
        {"exec:./x -y", "./x -y", "./x -y", "", TR_FAILURE_EXEC},
        {"exec-each:cat", "cat", "cat", "", TR_FAILURE_EXEC_EACH},
        {"handler:src/a.b", "src/a.b", "src/a.b", "", TR_FAILURE_HANDLER},
        {"http://h/p", NULL, "http://h/p", "", TR_FAILURE_URL},
        {"https://h", NULL, "https://h", "", TR_FAILURE_URL},
    };
    static const char *const wrong[] = {"",
                                        "t",
                                        "file:",
                                        "queue:http://h/",
                                        "arn:aws:events:us-east-1:1:rule/r",
                                        "arn:aws:sqs:::",
                                        "queue:",
                                        "http://",
                                        "arn:",
                                        "stdout:",
                                        "arn:aws:dynamodb:r:1:table/t/stream/s",
                                        "FILE:x",
                                        "arn:aws:lambda:r:1:layer:x"};
    tr_failure_place place;
    tr_error err;
    for (size_t i = 0; i < TR_COUNT(good); i++) {
        assert_int_equal(tr_failure_parse(good[i].text, &place, &err), 0);
        assert_int_equal(place.kind, good[i].kind);
        assert_string_equal(place.at, good[i].at ? good[i].at : good[i].text);
        assert_true(tr_view_is(place.name, good[i].name));
        assert_true(tr_view_is(place.account, good[i].account));
    }
    for (size_t i = 0; i < TR_COUNT(wrong); i++)
        assert_int_equal(tr_failure_parse(wrong[i], &place, &err), TR_EINVAL);
}

/* What would be noticed only when something fails. */
static void what_is_not_there_is_told_at_the_start(void **state)
{
    world *w = *state;
    static const char *const missing[] = {"queue:nosuch",
                                          "bus:nosuch",
                                          "arn:aws:events:us-east-1:000000000000:event-bus/nosuch",
                                          "arn:aws:dynamodb:us-east-1:000000000000:table/nosuch",
                                          "exec:/no/such/program",
                                          "exec-each:/no/such/program x"};
    tr_failure_sink *sink;
    tr_error err;
    for (size_t i = 0; i < TR_COUNT(missing); i++) {
        const tr_failure_options o = {.destination = missing[i], .client = w->e.client, .check = true};
        assert_int_equal(tr_failure_sink_open(&o, &sink, &err), TR_ENOTFOUND);
    }
    const tr_failure_options there = {.destination = "bus:default", .client = w->e.client, .check = true};
    assert_int_equal(tr_failure_sink_open(&there, &sink, &err), 0);
    tr_failure_sink_free(sink);
}

static void wrong_destinations_are_refused(void **state)
{
    world *w = *state;
    static const char *const wrong[] = {"", "file:", "ftp://x", "nonsense", "arn:aws:sns:us-east-1:1:topic"};
    tr_failure_sink *sink;
    tr_error err;
    for (size_t i = 0; i < TR_COUNT(wrong); i++) {
        const tr_failure_options o = {.destination = wrong[i], .client = w->e.client};
        assert_int_equal(tr_failure_sink_open(&o, &sink, &err), TR_EINVAL);
        assert_non_null(strstr(err.message, "sqlite:PATH"));
    }
    char file[100], queue[100];
    (void)snprintf(file, sizeof file, "file:%s/nowhere/x", w->dir);
    (void)snprintf(queue, sizeof queue, "sqlite:%s/nowhere/x", w->dir);
    const char *const missing[] = {file, queue, "table:nowhere"};
    for (size_t i = 0; i < TR_COUNT(missing); i++) {
        const tr_failure_options o = {.destination = missing[i], .client = w->e.client, .existing = true};
        assert_int_equal(tr_failure_sink_open(&o, &sink, &err), TR_ENOTFOUND);
    }
    assert_true(tr_failure_needs_client("queue:x"));
    assert_true(tr_failure_needs_client("arn:aws-cn:sqs:cn-north-1:1:x"));
    assert_false(tr_failure_needs_client("sqlite:x"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_file_keeps_and_gives_back),
        T(a_database_keeps_and_gives_back),
        T(a_table_keeps_and_gives_back),
        T(a_queue_keeps_and_gives_back),
        T(dead_letters_of_the_bus_are_read_too),
        T(a_torn_line_is_neither_read_nor_joined_to_the_next),
        T(a_writer_follows_a_file_that_was_written_anew),
        T(a_url_is_posted_the_record),
        T(a_function_on_aws_is_invoked_with_a_signature),
        T(a_bus_is_given_an_event),
        T(another_handler_is_given_the_record),
        T(redriving_removes_only_what_succeeds),
        T(destinations_are_taken_apart),
        T(what_is_not_there_is_told_at_the_start),
        T(wrong_destinations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
