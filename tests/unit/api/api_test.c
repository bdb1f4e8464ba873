/* SPDX-License-Identifier: MIT */
#include "api_test.h"

static int64_t clock_ms(void *ctx)
{
    fixture *f = ctx;
    return f->now_ms ? f->now_ms : tr_clock_wall_ms();
}

int fixture_open(void **state)
{
    fixture *f = tr_calloc(1, sizeof *f);
    tr_error err;
    const tr_engine_options options = {.clock_ms = clock_ms, .clock_ctx = f, .stream_shards = 2};
    assert_int_equal(tr_engine_open(&options, &f->engine, &err), 0);
    const tr_api_options api = {.engine = f->engine};
    assert_int_equal(tr_api_new(&api, &f->api), 0);
    tr_buf_init(&f->body, TR_API_REPLY_MAX);
    tr_buf_init(&f->text, TR_API_REPLY_MAX);
    *state = f;
    return 0;
}

int fixture_close(void **state)
{
    fixture *f = *state;
    tr_api_free(f->api);
    tr_engine_close(f->engine);
    tr_buf_done(&f->body);
    tr_buf_done(&f->text);
    tr_free(f);
    return 0;
}

static tr_service service_of(const char *operation)
{
    static const char *const streams[] = {"ListStreams", "DescribeStream", "GetShardIterator", "GetRecords"};
    for (size_t i = 0; i < TR_COUNT(streams); i++)
        if (strcmp(operation, streams[i]) == 0)
            return TR_STREAMS;
    return TR_DYNAMODB;
}

const char *call(fixture *f, const char *operation, const char *body)
{
    tr_error err;
    const tr_api_request request = {.service = service_of(operation),
                                    .operation = tr_view_str(operation),
                                    .body = tr_view_str(body),
                                    .wait_ms = f->wait_ms,
                                    .snapshot = tr_view_str(f->snapshot)};
    tr_api_call(f->api, &request, &f->body, &f->reply);
    assert_int_equal(tr_engine_flush(f->engine, &err), 0);
    assert_int_equal(tr_engine_poll(f->engine, &err), 0);
    assert_true(f->reply.ticket <= tr_engine_synced(f->engine));
    const char *text = tr_buf_cstr(&f->body);
    assert_non_null(text);
    return text;
}

static const char *format_body(fixture *f, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    tr_buf_reset(&f->text);
    assert_int_equal(tr_buf_reserve(&f->text, (size_t)n + 1), 0);
    (void)vsnprintf(f->text.ptr, (size_t)n + 1, format, args);
    return f->text.ptr;
}

const char *callf(fixture *f, const char *operation, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *body = format_body(f, format, args);
    va_end(args);
    return call(f, operation, body);
}

const char *must(fixture *f, const char *operation, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *body = format_body(f, format, args);
    va_end(args);
    const char *text = call(f, operation, body);
    if (f->reply.status != 200)
        fail_msg("%s: %s", operation, text);
    return text;
}

void refused(fixture *f, const char *operation, const char *body, const char *type, const char *part)
{
    const char *text = call(f, operation, body);
    if (f->reply.status != 400 || !strstr(text, type) || !strstr(text, part))
        fail_msg("%s %s\nanswered %d %s\nnot %s %s", operation, body, f->reply.status, text, type, part);
}

const char *text_of(const char *json, const char *name)
{
    static char out[4096];
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = strstr(json, key);
    if (!at)
        fail_msg("no %s in %s", name, json);
    at += strlen(key);
    size_t n = strcspn(at, "\"");
    assert_true(n < sizeof out);
    memcpy(out, at, n);
    out[n] = 0;
    return out;
}

size_t count_of(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

void make_table(fixture *f, const char *name)
{
    must(f, "CreateTable",
         "{\"TableName\":\"%s\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":["
         "{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"},{\"AttributeName\":\"sk\",\"AttributeType\":"
         "\"S\"},"
         "{\"AttributeName\":\"l\",\"AttributeType\":\"N\"},{\"AttributeName\":\"g\",\"AttributeType\":\"S\"}"
         "],"
         "\"KeySchema\":[{\"AttributeName\":\"pk\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"sk\","
         "\"KeyType\":"
         "\"RANGE\"}],\"LocalSecondaryIndexes\":[{\"IndexName\":\"byL\",\"KeySchema\":[{\"AttributeName\":"
         "\"pk\","
         "\"KeyType\":\"HASH\"},{\"AttributeName\":\"l\",\"KeyType\":\"RANGE\"}],\"Projection\":{"
         "\"ProjectionType\":\"KEYS_ONLY\"}}],\"GlobalSecondaryIndexes\":[{\"IndexName\":\"byG\","
         "\"KeySchema\":[{"
         "\"AttributeName\":\"g\",\"KeyType\":\"HASH\"}],\"Projection\":{\"ProjectionType\":\"KEYS_ONLY\"}}],"
         "\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}",
         name);
}
