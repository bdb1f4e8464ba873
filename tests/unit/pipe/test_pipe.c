/* SPDX-License-Identifier: MIT */
#include "../embedded.h"
#include "../publish/fake_bus.h"

#include <stdlib.h>
#include <tailrace/log.h>
#include <tailrace/pipe.h>

/* ------------------------------------------------------------------------------------------- details */

static char *detail_of(tr_pipe_format format, const char *json, int *ret_code)
{
    static char text[65536];
    tr_arena arena;
    tr_record record;
    tr_error err;
    tr_buf out;
    tr_arena_init(&arena, 4 << 20);
    tr_buf_init(&out, sizeof text - 1);
    if (tr_record_from_json(tr_view_str(json), &arena, &record, &err))
        fail_msg("%s", err.message);
    *ret_code = tr_pipe_detail(format, &record, &out);
    memcpy(text, out.ptr ? out.ptr : "", out.len);
    text[out.len] = 0;
    tr_buf_done(&out);
    tr_arena_done(&arena);
    return text;
}

#define RECORD(event, image)                                                                                 \
    "{\"eventID\":\"1\",\"eventName\":\"" event                                                              \
    "\",\"eventVersion\":\"1.1\",\"eventSource\":\"aws:dynamodb\",\"awsRegion\":\"us-east-1\",\"dynamodb\":" \
    "{\"ApproximateCreationDateTime\":1.7e9,\"Keys\":{\"pk\":{\"S\":\"users#7#stream\"},\"sk\":{\"N\":"      \
    "\"1\"}}," image "\"SequenceNumber\":\"100000000000000000001\",\"SizeBytes\":10,\"StreamViewType\":"     \
    "\"NEW_AND_OLD_IMAGES\"}}"
#define IMAGE(pk, more)                                                                                      \
    "\"NewImage\":{\"pk\":{\"S\":\"" pk                                                                      \
    "\"},\"sk\":{\"N\":\"1\"},\"type\":{\"S\":\"signup\"},\"log\":{\"S\":\"users\"}," more "},"
#define PAYLOAD "\"payload\":{\"M\":{\"id\":{\"S\":\"7\"},\"n\":{\"N\":\"12345678901234567890.5\"}}}"

static void details_are_as_the_contract_says(void **state)
{
    (void)state;
    int code;
    static const char expected[] = "{\"log\":\"users\",\"key\":{\"pk\":\"users#7#stream\",\"sk\":1},\"type\":"
                                   "\"signup\",\"payload\":{\"id\":\"7\",\"n\":12345678901234567890.5}}";
    assert_string_equal(detail_of(TR_PIPE_LOG, RECORD("INSERT", IMAGE("users#7#stream", PAYLOAD)), &code),
                        expected);
    assert_int_equal(code, 0);
    assert_string_equal(detail_of(TR_PIPE_LOG, RECORD("MODIFY", IMAGE("users#7#stream", PAYLOAD)), &code),
                        expected);
}

static void what_is_no_event_is_skipped(void **state)
{
    (void)state;
    static const char *const records[] = {
        RECORD("REMOVE", ""),
        RECORD("INSERT", ""), /* a stream of keys only */
        RECORD("INSERT", IMAGE("users#7", PAYLOAD)),
        RECORD("INSERT", IMAGE("#strea", PAYLOAD)),
        RECORD("INSERT", IMAGE("users#7#stream", PAYLOAD ",\"replay-name\":{\"S\":\"local\"}")),
    };
    for (size_t i = 0; i < TR_COUNT(records); i++) {
        int code;
        assert_string_equal(detail_of(TR_PIPE_LOG, records[i], &code), "");
        assert_int_equal(code, TR_ENOTFOUND);
        assert_true(detail_of(TR_PIPE_RECORD, records[i], &code)[0] == '{');
        assert_true(detail_of(TR_PIPE_PLAIN, records[i], &code)[0] == '{');
    }
}

/* A detail of so many UTF-16 units, with so many of them in pairs. */
static const char *large(size_t units, size_t pairs)
{
    static char record[65536], payload[40000];
    static const size_t around =
        sizeof "{\"log\":\"users\",\"key\":{\"pk\":\"users#7#stream\",\"sk\":1},\"type\":"
               "\"signup\",\"payload\":{\"id\":\"7\",\"text\":\"\"}}" -
        1;
    size_t len = 0;
    for (size_t i = 0; i < pairs; i++)
        len += (size_t)snprintf(payload + len, sizeof payload - len, "\xf0\x9f\x99\x82");
    for (size_t i = around + 2 * pairs; i < units; i++)
        payload[len++] = 'x';
    payload[len] = 0;
    (void)snprintf(record, sizeof record,
                   RECORD("INSERT", IMAGE("users#7#stream", "\"payload\":{\"M\":{\"id\":{\"S\":\"7\"},"
                                                            "\"text\":{\"S\":\"%s\"}}}")),
                   payload);
    return record;
}

static void large_details_become_partial(void **state)
{
    (void)state;
    int code;
    for (size_t pairs = 0; pairs < 6; pairs++) {
        assert_null(strstr(detail_of(TR_PIPE_LOG, large(10240, pairs), &code), "partial"));
        assert_string_equal(detail_of(TR_PIPE_LOG, large(10241, pairs), &code),
                            "{\"log\":\"users\",\"key\":{\"pk\":\"users#7#stream\",\"sk\":1},\"type\":"
                            "\"signup\",\"partial\":true,\"payload\":{\"id\":\"7\"}}");
    }
}

/* -------------------------------------------------------------------------------------------- running */

typedef struct sink {
    tr_failure_sink base;
    unsigned refuse, puts;
    bool freed;
    char record[8192], event[8192], type[100];
} sink;

static int sink_put(tr_failure_sink *base, const tr_failure *f, tr_error *err)
{
    sink *s = (sink *)base;
    if (s->refuse) {
        s->refuse--;
        return tr_fail(err, TR_EIO, "full");
    }
    s->puts++;
    (void)snprintf(s->record, sizeof s->record, "%.*s", TR_FMT(f->record));
    (void)snprintf(s->event, sizeof s->event, "%.*s", TR_FMT(f->event));
    (void)snprintf(s->type, sizeof s->type, "%.*s", TR_FMT(f->error_type));
    return 0;
}

static void sink_free(tr_failure_sink *base)
{
    ((sink *)base)->freed = true;
}

static tr_stream_store *no_store(void)
{
    tr_stream_store *store;
    assert_int_equal(tr_stream_store_callbacks(NULL, NULL, NULL, &store), 0);
    return store;
}

static void run_pipe(tr_client *table, tr_client *bus, tr_pipe_options *o, tr_pipe_stats *ret_stats)
{
    tr_error err = {0};
    tr_pipe *pipe = NULL;
    tr_stream *stream = NULL;
    tr_stream_options so = {
        .table = TR_LOG_TABLE, .start = {.at = TR_START_TRIM_HORIZON}, .store = no_store()};
    if (tr_pipe_new(bus, o, &so, &pipe, &err) || tr_stream_new(table, &so, &stream, &err) ||
        tr_pipe_run(pipe, stream, true, &err))
        fail_msg("%s", err.message);
    tr_pipe_get_stats(pipe, ret_stats);
    tr_pipe_free(pipe);
    tr_stream_free(stream);
}

static void events_call(tr_client *client, const char *operation, const char *body, tr_buf *out)
{
    tr_error err = {0};
    tr_request request = {.service = TR_EVENTS, .operation = operation, .body = tr_view_str(body)};
    if (tr_client_call_wait(client, &request, out, &err))
        fail_msg("%s %s: %s %s", operation, body, err.type, err.message);
}

static void append_fakes(tr_client *client, uint64_t users)
{
    tr_error err = {0};
    uint64_t events;
    const tr_log_fake fake = {.users = users, .seed = 3};
    if (tr_log_create_table(client, NULL, &err) || tr_log_fake_write(client, &fake, &events, &err))
        fail_msg("%s", err.message);
}

static void every_append_reaches_the_bus_in_order(void **state)
{
    (void)state;
    embedded e;
    tr_buf out;
    tr_pipe_stats stats;
    embedded_open(&e, NULL);
    tr_buf_init(&out, 16 << 20);
    append_fakes(e.client, 30);
    events_call(e.client, "CreateEventBus", "{\"Name\":\"dynamodb-log\"}", NULL);
    events_call(e.client, "CreateArchive",
                "{\"ArchiveName\":\"a\",\"EventSourceArn\":"
                "\"arn:aws:events:us-east-1:000000000000:event-bus/dynamodb-log\"}",
                NULL);
    tr_pipe_options o = {.bus = "dynamodb-log"};
    run_pipe(e.client, e.client, &o, &stats);
    assert_int_equal(stats.records, 120);
    assert_int_equal(stats.skipped, 0);
    assert_int_equal(stats.publisher.published, 120);
    events_call(e.client, "QueryArchive", "{\"ArchiveName\":\"a\",\"Limit\":1000}", &out);
    cJSON *answer = cJSON_ParseWithLength(out.ptr, out.len), *event;
    const cJSON *events = cJSON_GetObjectItem(answer, "Events");
    assert_int_equal(cJSON_GetArraySize(events), 120);
    cJSON *newest = cJSON_CreateObject();
    cJSON_ArrayForEach(event, events)
    {
        const cJSON *envelope = cJSON_GetObjectItem(event, "event");
        const cJSON *detail = cJSON_GetObjectItem(envelope, "detail"),
                    *key = cJSON_GetObjectItem(detail, "key");
        const char *pk = cJSON_GetStringValue(cJSON_GetObjectItem(key, "pk"));
        int sk = cJSON_GetObjectItem(key, "sk")->valueint;
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(envelope, "source")), "dynamodb-log");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(envelope, "detail-type")),
                            "stream changes");
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(envelope, "resources")), 0);
        cJSON *last = cJSON_GetObjectItem(newest, pk);
        assert_int_equal(sk, last ? last->valueint + 1 : 1);
        cJSON_DeleteItemFromObject(newest, pk);
        cJSON_AddNumberToObject(newest, pk, sk);
    }
    assert_int_equal(cJSON_GetArraySize(newest), 30);
    cJSON_Delete(newest);
    cJSON_Delete(answer);
    tr_buf_done(&out);
    embedded_close(&e);
}

static void what_the_bus_refuses_goes_to_the_destination(void **state)
{
    (void)state;
    static fake_failure script[1000];
    for (size_t i = 0; i < TR_COUNT(script); i++)
        script[i] = FAKE_THROTTLED;
    embedded e;
    fake_bus bus;
    tr_pipe_stats stats;
    embedded_open(&e, NULL);
    append_fakes(e.client, 1);
    tr_client *there = fake_open(&bus);
    fake_script(&bus, script, TR_COUNT(script));
    sink s = {.base = {.put = sink_put, .free = sink_free}, .refuse = 1};
    tr_pipe_options o = {
        .name = "users",
        .bus = "b",
        .on_failure = &s.base,
        .publisher = {.limit_retries = true, .retries = 2, .retry_min_ms = 1, .retry_max_ms = 2}};
    run_pipe(e.client, there, &o, &stats);
    assert_int_equal(stats.given_up, 4);
    assert_int_equal(s.puts, 4);
    assert_true(s.freed);
    assert_string_equal(s.type, "ThrottlingException");
    cJSON *record = cJSON_Parse(s.record), *event = cJSON_Parse(s.event);
    const cJSON *context = cJSON_GetObjectItem(record, "requestContext"),
                *batch = cJSON_GetObjectItem(record, "DDBStreamBatchInfo");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(context, "condition")),
                        "RetryAttemptsExhausted");
    assert_int_equal(cJSON_GetObjectItem(context, "approximateInvokeCount")->valueint, 3);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(context, "functionArn")),
                        "arn:aws:pipes:us-east-1:000000000000:pipe/users");
    assert_int_equal(cJSON_GetObjectItem(batch, "batchSize")->valueint, 1);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(event, "Records")), 1);
    cJSON_Delete(record);
    cJSON_Delete(event);
    fake_close(&bus, there);
    embedded_close(&e);
}

static void templates_and_texts_replace_the_formats(void **state)
{
    (void)state;
    embedded e;
    tr_buf out;
    tr_error err = {0};
    tr_pipe_stats stats;
    tr_transform *transform;
    embedded_open(&e, NULL);
    tr_buf_init(&out, 16 << 20);
    append_fakes(e.client, 1);
    events_call(e.client, "CreateArchive",
                "{\"ArchiveName\":\"a\",\"EventSourceArn\":"
                "\"arn:aws:events:us-east-1:000000000000:event-bus/default\"}",
                NULL);
    const tr_transform_options t = {
        .target_id = "pipe", .pipes = true, .input_template = TR_VIEW("{\"version\": <$.key.sk>}")};
    assert_int_equal(tr_transform_compile(&t, &transform, &err), 0);
    tr_pipe_options o = {.bus = "default",
                         .source = "mine",
                         .detail_type = "moved",
                         .with_time = true,
                         .transform = transform};
    run_pipe(e.client, e.client, &o, &stats);
    events_call(e.client, "QueryArchive", "{\"ArchiveName\":\"a\"}", &out);
    assert_non_null(tr_buf_cstr(&out));
    assert_non_null(strstr(out.ptr, "\"detail\":{\"version\": 4}"));
    assert_non_null(strstr(out.ptr, "\"source\":\"mine\""));
    assert_non_null(strstr(out.ptr, "\"detail-type\":\"moved\""));
    tr_transform_free(transform);

    /* one whose result is no JSON: the records are given up, and nothing stops */
    const tr_transform_options broken = {
        .target_id = "pipe", .pipes = true, .input_template = TR_VIEW("{\"a\": 1<$.payload>}")};
    assert_int_equal(tr_transform_compile(&broken, &transform, &err), 0);
    sink s = {.base = {.put = sink_put, .free = sink_free}, .refuse = 2};
    o.transform = transform;
    o.on_failure = &s.base;
    run_pipe(e.client, e.client, &o, &stats);
    assert_int_equal(s.puts, 4);
    assert_int_equal(stats.given_up, 4);
    assert_int_equal(stats.publisher.entries, 0);
    tr_transform_free(transform);
    tr_buf_done(&out);
    embedded_close(&e);
}

static void *stop_when_busy(void *ctx)
{
    struct {
        fake_bus *bus;
        tr_pipe *pipe;
    } *both = ctx;
    for (unsigned requests = 0; requests < 5;) {
        pthread_mutex_lock(&both->bus->lock);
        requests = both->bus->requests;
        pthread_mutex_unlock(&both->bus->lock);
    }
    tr_pipe_stop(both->pipe);
    return NULL;
}

static void stopping_gives_back_what_is_not_published(void **state)
{
    (void)state;
    static fake_failure script[100000];
    for (size_t i = 0; i < TR_COUNT(script); i++)
        script[i] = FAKE_GONE;
    embedded e;
    fake_bus bus;
    tr_error err = {0};
    tr_pipe *pipe;
    tr_stream *stream;
    embedded_open(&e, NULL);
    append_fakes(e.client, 3);
    tr_client *there = fake_open(&bus);
    fake_script(&bus, script, TR_COUNT(script));
    tr_pipe_options o = {.bus = "b", .publisher = {.retry_max_ms = 5}};
    tr_stream_options so = {
        .table = TR_LOG_TABLE, .start = {.at = TR_START_TRIM_HORIZON}, .store = no_store()};
    assert_int_equal(tr_pipe_new(there, &o, &so, &pipe, &err), 0);
    assert_int_equal(tr_stream_new(e.client, &so, &stream, &err), 0);
    pthread_t stopper;
    struct {
        fake_bus *bus;
        tr_pipe *pipe;
    } both = {&bus, pipe};
    assert_int_equal(pthread_create(&stopper, NULL, stop_when_busy, &both), 0);
    assert_int_equal(tr_pipe_run(pipe, stream, false, &err), 0);
    (void)pthread_join(stopper, NULL);
    tr_pipe_free(pipe);
    tr_stream_stats stats;
    tr_stream_get_stats(stream, &stats);
    assert_int_equal(stats.acknowledged, 0);
    assert_true(stats.delivered > 0);
    tr_stream_free(stream);
    fake_close(&bus, there);
    embedded_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(details_are_as_the_contract_says),
        cmocka_unit_test(what_is_no_event_is_skipped),
        cmocka_unit_test(large_details_become_partial),
        cmocka_unit_test(every_append_reaches_the_bus_in_order),
        cmocka_unit_test(what_the_bus_refuses_goes_to_the_destination),
        cmocka_unit_test(templates_and_texts_replace_the_formats),
        cmocka_unit_test(stopping_gives_back_what_is_not_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
