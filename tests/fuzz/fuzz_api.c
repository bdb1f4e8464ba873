/* SPDX-License-Identifier: MIT */
/**
 * Operations with any bytes, one a line: "PutItem {…}". Whatever comes, the answer is JSON and its status 200
 * or one of the 400s, and a stored item can be read again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static tr_engine *engine;
static tr_api *api;
static tr_buf body;

static const char table[] =
    "{\"TableName\":\"tab\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":[{\"AttributeName\":"
    "\"a\","
    "\"AttributeType\":\"S\"},{\"AttributeName\":\"b\",\"AttributeType\":\"N\"},{\"AttributeName\":\"c\","
    "\"AttributeType\":\"B\"}],\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"},{"
    "\"AttributeName\":\"b\","
    "\"KeyType\":\"RANGE\"}],\"LocalSecondaryIndexes\":[{\"IndexName\":\"loc\",\"KeySchema\":[{"
    "\"AttributeName\":\"a\","
    "\"KeyType\":\"HASH\"},{\"AttributeName\":\"c\",\"KeyType\":\"RANGE\"}],\"Projection\":{"
    "\"ProjectionType\":"
    "\"KEYS_ONLY\"}}],\"GlobalSecondaryIndexes\":[{\"IndexName\":\"glo\",\"KeySchema\":[{\"AttributeName\":"
    "\"c\","
    "\"KeyType\":\"HASH\"},{\"AttributeName\":\"b\",\"KeyType\":\"RANGE\"}],\"Projection\":{"
    "\"ProjectionType\":"
    "\"INCLUDE\",\"NonKeyAttributes\":[\"d\"]}}],\"VectorIndexes\":[{\"IndexName\":\"vec\","
    "\"VectorAttribute\":{"
    "\"AttributeName\":\"v\"},\"Dimensions\":2,\"DistanceFunction\":\"COSINE\",\"Projection\":{"
    "\"ProjectionType\":\"ALL\"},\"SearchSchema\":[{\"AttributeName\":\"c\",\"SearchSchemaElementType\":"
    "\"INLINE_FILTER\"}]}],\"StreamSpecification\":{\"StreamEnabled\":true,"
    "\"StreamViewType\":"
    "\"NEW_AND_OLD_IMAGES\"}}";

static void check_answer(const tr_api_reply *reply)
{
    tr_arena arena;
    tr_json_reader json;
    if (reply->status != 200 && (reply->status < 400 || reply->status > 499))
        abort();
    if (body.len == 0)
        return; /* operations without an answer */
    tr_arena_init(&arena, (size_t)256 << 20);
    tr_json_init(&json, tr_buf_view(&body), &arena);
    tr_json_token token;
    while ((token = tr_json_next(&json)) != TR_JSON_DONE)
        if (token == TR_JSON_ERROR)
            abort();
    tr_arena_done(&arena);
}

static void call(tr_view operation, tr_view text)
{
    tr_api_reply reply;
    tr_error err;
    for (tr_service service = TR_DYNAMODB; service <= TR_STREAMS; service++) {
        if (service == TR_STREAMS && !tr_api_knows(service, operation))
            continue;
        const tr_api_request request = {.service = service, .operation = operation, .body = text};
        tr_api_call(api, &request, &body, &reply);
        check_answer(&reply);
    }
    if (tr_engine_flush(engine, &err) || tr_engine_poll(engine, &err))
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const tr_engine_options options = {.stream_shards = 1};
    if (tr_engine_open(&options, &engine, NULL))
        abort();
    const tr_api_options api_options = {.engine = engine};
    if (tr_api_new(&api_options, &api))
        abort();
    tr_buf_init(&body, TR_API_REPLY_MAX);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = at + size;
    if (!tr_engine_table(engine, TR_VIEW("tab")))
        call(TR_VIEW("CreateTable"), TR_VIEW(table));
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = stop ? stop : end;
        const char *space = memchr(at, ' ', (size_t)(line_end - at));
        const char *name_end = space ? space : line_end;
        call(tr_view_of(at, (size_t)(name_end - at)),
             space ? tr_view_of(space + 1, (size_t)(line_end - space - 1)) : (tr_view){NULL, 0});
        at = stop ? stop + 1 : end;
    }
    (void)tr_engine_tick(engine);
    return 0;
}
