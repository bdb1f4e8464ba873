/* SPDX-License-Identifier: MIT */
/* What CPU time an operation costs between its body and its answer, without HTTP: bench_api [seconds]. */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH 32 /* writes that share a flush, as concurrent requests do */
#define ITEMS 10000

static tr_engine *engine;
static tr_api *api;
static tr_buf body, request;

static void call(const char *operation, bool flush)
{
    tr_api_reply reply;
    tr_error err;
    const tr_api_request r = {.operation = tr_view_str(operation), .body = tr_buf_view(&request)};
    tr_api_call(api, &r, &body, &reply);
    if (reply.status != 200) {
        (void)fprintf(stderr, "%s: %s\n", operation, tr_buf_cstr(&body));
        exit(1);
    }
    if (flush && (tr_engine_flush(engine, &err) || tr_engine_poll(engine, &err)))
        exit(1);
}

/* Of this thread: what others do beside it does not count. */
static int64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

typedef void compose_fn(unsigned i);

static void put(unsigned i)
{
    static char filler[331];
    static unsigned turn; /* so that the item changes */
    if (!filler[0])
        memset(filler, 'x', sizeof filler - 1);
    tr_buf_printf(&request,
                  "{\"TableName\":\"bench\",\"Item\":{\"pk\":{\"S\":\"customer-%06u\"},\"n\":{\"N\":\"%u\"},"
                  "\"ok\":{\"BOOL\":"
                  "true},\"text\":{\"S\":\"%s\"}}}",
                  i, turn++, filler);
}

static void get(unsigned i)
{
    tr_buf_printf(&request, "{\"TableName\":\"bench\",\"Key\":{\"pk\":{\"S\":\"customer-%06u\"}}}", i);
}

static void get_projected(unsigned i)
{
    tr_buf_printf(&request,
                  "{\"TableName\":\"bench\",\"Key\":{\"pk\":{\"S\":\"customer-%06u\"}},"
                  "\"ProjectionExpression\":\"#n, ok\","
                  "\"ExpressionAttributeNames\":{\"#n\":\"n\"}}",
                  i);
}

static void update(unsigned i)
{
    tr_buf_printf(&request,
                  "{\"TableName\":\"bench\",\"Key\":{\"pk\":{\"S\":\"customer-%06u\"}},\"UpdateExpression\":"
                  "\"SET n = n + "
                  ":one\",\"ConditionExpression\":\"attribute_exists(pk)\",\"ExpressionAttributeValues\":{\":"
                  "one\":{\"N\":"
                  "\"1\"}}}",
                  i);
}

static void query(unsigned i)
{
    tr_buf_printf(&request,
                  "{\"TableName\":\"bench\",\"KeyConditionExpression\":\"pk = "
                  ":p\",\"ExpressionAttributeValues\":{\":p\":{"
                  "\"S\":\"customer-%06u\"}}}",
                  i);
}

static void measure(const char *operation, const char *name, compose_fn *compose, bool write, double seconds)
{
    uint64_t count = 0;
    int64_t begin = tr_clock_mono_ns(), busy = 0;
    tr_rng rng;
    tr_rng_seed(&rng, 1);
    while (tr_clock_mono_ns() - begin < (int64_t)(seconds * 1e9)) {
        for (int i = 0; i < BATCH; i++, count++) {
            tr_buf_reset(&request);
            compose((unsigned)tr_rng_below(&rng, ITEMS));
            int64_t from = cpu_ns();
            call(operation, write && i == BATCH - 1);
            busy += cpu_ns() - from;
        }
    }
    printf("%-28s %8.2f us of CPU\n", name, (double)busy / 1000 / (double)count);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    const tr_engine_options options = {.stream_shards = 4};
    tr_error err;
    if (tr_engine_open(&options, &engine, &err))
        return 1;
    const tr_api_options api_options = {.engine = engine};
    if (tr_api_new(&api_options, &api))
        return 1;
    tr_buf_init(&body, TR_API_REPLY_MAX);
    tr_buf_init(&request, 1 << 20);
    tr_buf_put_str(
        &request,
        "{\"TableName\":\"bench\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":[{"
        "\"AttributeName\":\"pk\",\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":\"pk\","
        "\"KeyType\":\"HASH\"}],\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":"
        "\"NEW_AND_OLD_IMAGES\"}}");
    call("CreateTable", true);
    for (unsigned i = 0; i < ITEMS; i++) {
        tr_buf_reset(&request);
        put(i);
        call("PutItem", i % BATCH == 0);
    }
    measure("PutItem", "PutItem, 400 bytes", put, true, seconds);
    measure("UpdateItem", "UpdateItem, conditional", update, true, seconds);
    measure("GetItem", "GetItem, 400 bytes", get, false, seconds);
    measure("GetItem", "GetItem, projected", get_projected, false, seconds);
    measure("Query", "Query, 1 item", query, false, seconds);
    tr_api_free(api);
    tr_engine_close(engine);
    return 0;
}
