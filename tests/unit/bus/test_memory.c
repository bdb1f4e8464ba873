/* SPDX-License-Identifier: MIT */
/* The bus under an allocator that fails once, at each allocation in turn: what comes is an answer, never a
 * crash, and afterwards everything works. */
#include "../test.h"

#include "api/api.h"
#include "bus/bus.h"

#include <stdlib.h>

#define QUEUE_ARN    "arn:aws:sqs:us-east-1:000000000000:q"
#define FUNCTION_ARN "arn:aws:lambda:us-east-1:000000000000:function:f"

typedef struct world {
    tr_engine *engine;
    tr_bus *bus;
    tr_api *api;
    tr_buf body;
    tr_api_reply reply;
} world;

static int64_t allowed = -1; /* allocations until one fails; < 0: none does */

static void *failing_realloc(void *ptr, size_t size)
{
    if (allowed == 0) {
        allowed = -2;
        return NULL;
    }
    if (allowed > 0)
        allowed--;
    return realloc(ptr, size);
}

static void call(world *w, const char *operation, const char *body)
{
    static const char *const queues[] = {"CreateQueue", "SendMessage", "SendMessageBatch", "ReceiveMessage"};
    tr_service service = TR_EVENTS;
    for (size_t i = 0; i < TR_COUNT(queues); i++)
        if (strcmp(operation, queues[i]) == 0)
            service = TR_SQS;
    const tr_api_request request = {
        .service = service, .operation = tr_view_str(operation), .body = tr_view_str(body), .expired = true};
    tr_api_call(w->api, &request, &w->body, &w->reply);
}

static void must(world *w, const char *operation, const char *body)
{
    tr_error err;
    call(w, operation, body);
    if (w->reply.status != 200)
        fail_msg("%s %s: %d %s", operation, body, w->reply.status, tr_buf_cstr(&w->body));
    assert_int_equal(tr_engine_flush(w->engine, &err), 0);
    assert_int_equal(tr_engine_poll(w->engine, &err), 0);
}

static const struct {
    const char *operation, *body;
} cases[] = {
    {"CreateEventBus", "{\"Name\":\"b\",\"Tags\":[{\"Key\":\"k\",\"Value\":\"v\"}]}"},
    {"CreateQueue", "{\"QueueName\":\"q\",\"Attributes\":{\"VisibilityTimeout\":\"0\"}}"},
    {"CreateArchive",
     "{\"ArchiveName\":\"a\",\"EventSourceArn\":\"arn:aws:events:us-east-1:000000000000:event-bus/b\"}"},
    {"PutRule", "{\"Name\":\"r\",\"EventBusName\":\"b\",\"EventPattern\":\"{\\\"source\\\":[{\\\"prefix\\\":"
                "\\\"s\\\"}]}\"}"},
    {"PutTargets", "{\"Rule\":\"r\",\"EventBusName\":\"b\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" QUEUE_ARN
                   "\"},{\"Id\":\"2\",\"Arn\":"
                   "\"" FUNCTION_ARN "\",\"InputTransformer\":{\"InputPathsMap\":{\"a\":\"$.detail.a\"},"
                   "\"InputTemplate\":\"{\\\"x\\\":<a>}\"},"
                   "\"Delivery\":{\"OrderBy\":\"$.detail.a\",\"Concurrency\":2},\"RetryPolicy\":{"
                   "\"MaximumRetryAttempts\":1},"
                   "\"DeadLetterConfig\":{\"Arn\":\"" QUEUE_ARN "\"}}]}"},
    {"PutEvents",
     "{\"Entries\":[{\"EventBusName\":\"b\",\"Source\":\"shop\",\"DetailType\":\"t\",\"Resources\":[\"arn:"
     "x\"],"
     "\"Detail\":\"{\\\"a\\\":\\\"k\\\"}\"},{\"EventBusName\":\"b\",\"Source\":\"shop\",\"DetailType\":\"t\","
     "\"Detail\":\"{\\\"a\\\":\\\"k\\\"}\"}]}"},
    {"TestEventPattern",
     "{\"EventPattern\":\"{\\\"source\\\":[\\\"s\\\"]}\",\"Event\":\"{\\\"id\\\":\\\"1\\\",\\\"account\\\":"
     "\\\"1\\\",\\\"source\\\":\\\"s\\\",\\\"time\\\":\\\"2026-01-01T00:00:00Z\\\",\\\"region\\\":\\\"r\\\","
     "\\\"resources\\\":[],\\\"detail-type\\\":\\\"t\\\",\\\"detail\\\":{}}\"}"},
    {"SendMessage",
     "{\"QueueUrl\":\"q\",\"MessageBody\":\"m\",\"MessageAttributes\":{\"n\":{\"DataType\":\"Number\","
     "\"StringValue\":\"1\"}}}"},
    {"ReceiveMessage", "{\"QueueUrl\":\"q\",\"MaxNumberOfMessages\":10,\"MessageAttributeNames\":[\"All\"],"
                       "\"AttributeNames\":[\"All\"]}"},
    {"ListRules", "{\"EventBusName\":\"b\",\"NamePrefix\":\"r\"}"},
    {"DescribeArchive", "{\"ArchiveName\":\"a\"}"},
};

static void open_world(world *w)
{
    static const tr_server_function function = {.name = "f", .target = "file:/nowhere/at/all"};
    tr_error err;
    const tr_engine_options engine = {.stream_shards = 1};
    assert_int_equal(tr_engine_open(&engine, &w->engine, &err), 0);
    const tr_bus_options bus = {.engine = w->engine,
                                .functions = &function,
                                .function_count = 1,
                                .retry_base_ms = 1,
                                .retry_fixed = true};
    assert_int_equal(tr_bus_open(&bus, &w->bus, &err), 0);
    const tr_api_options api = {.engine = w->engine, .bus = w->bus};
    assert_int_equal(tr_api_new(&api, &w->api), 0);
    tr_buf_init(&w->body, TR_API_REPLY_MAX);
}

static void close_world(world *w)
{
    tr_api_free(w->api);
    tr_bus_close(w->bus);
    tr_engine_close(w->engine);
    tr_buf_done(&w->body);
}

/* What the cases before this one have made. */
static void prepare(world *w, size_t upto)
{
    for (size_t i = 0; i < upto; i++)
        must(w, cases[i].operation, cases[i].body);
}

/* Carries an operation out with allocation n failing, then a step of the deliveries. Returns whether none
 * failed. */
static bool attempt(world *w, size_t i, int64_t n)
{
    tr_error err;
    tr_buf_done(&w->body); /* so that the answer has to be allocated too */
    allowed = n;
    tr_set_allocator(failing_realloc, free);
    call(w, cases[i].operation, cases[i].body);
    bool usable = tr_engine_flush(w->engine, &err) == 0 && tr_engine_poll(w->engine, &err) == 0;
    if (usable)
        (void)tr_bus_run(w->bus);
    bool spared = allowed >= 0;
    allowed = -1;
    tr_set_allocator(realloc, free);
    if (spared) {
        assert_true(usable);
        assert_true(w->reply.status == 200 || w->reply.status == 400); /* 400: a try before made it */
        return true;
    }
    int status = w->reply.status;
    if (status != 200 && status != 400 && status != 500 && status != 503)
        fail_msg("%s, allocation %lld: %d %s", cases[i].operation, (long long)n, status,
                 tr_buf_cstr(&w->body));
    if (!usable) { /* a batch that could not be staged whole stops the engine: the answers never left */
        close_world(w);
        open_world(w);
        prepare(w, i);
    }
    return false;
}

static void every_allocation_may_fail(void **state)
{
    world w;
    (void)state;
    open_world(&w);
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        for (int64_t n = 0; !attempt(&w, i, n); n++)
            assert_true(n < 100000);
        /* and afterwards all of it works */
        close_world(&w);
        open_world(&w);
        prepare(&w, i + 1);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
