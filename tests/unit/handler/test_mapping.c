/* SPDX-License-Identifier: MIT */
#include "mapping_world.h"

#include <pthread.h>

static void batches_come_in_order(void **state)
{
    world *w = *state;
    for (int i = 0; i < 25; i++)
        put(w, "a", i);
    tr_mapping_stats stats =
        run(w,
            "    say(len(records), n(records[0]), records[0]['eventSourceARN'].count(':stream') or "
            "records[0]['eventSourceARN'].count('/stream/'))\n",
            (tr_mapping_options){.batch_size = 10});
    assert_int_equal(stats.records, 25);
    assert_string_equal(read_file(w, "out"), "10 0 1\n10 10 1\n5 20 1\n");
}

static void a_partial_failure_is_retried_from_its_lowest_record(void **state)
{
    world *w = *state;
    for (int i = 0; i < 6; i++)
        put(w, "a", i);
    tr_mapping_stats stats =
        run(w,
            "    say([n(r) for r in records])\n"
            "    if len(records) == 6: return {'batchItemFailures': [{'itemIdentifier': seq(records[4])}, "
            "{'itemIdentifier': seq(records[2])}]}\n"
            "    return {'batchItemFailures': []}\n",
            (tr_mapping_options){0});
    assert_int_equal(stats.retries, 1);
    assert_string_equal(read_file(w, "out"), "[0, 1, 2, 3, 4, 5]\n[2, 3, 4, 5]\n");
}

static void bisecting_isolates_what_cannot_be_handled(void **state)
{
    world *w = *state;
    char destination[128];
    (void)snprintf(destination, sizeof destination, "file:%s/failed", w->dir);
    for (int i = 0; i < 8; i++)
        put(w, "a", i);
    tr_mapping_options o = {.bisect = true, .limit_retries = true, .retries = 1};
    o.on_failure = destination_of(destination);
    tr_mapping_stats stats = run(w,
                                 "    if any(n(r) == 5 for r in records): raise ValueError('five')\n"
                                 "    [say(n(r)) for r in records]\n",
                                 o);
    assert_int_equal(stats.given_up, 1);
    assert_string_equal(read_file(w, "out"), "0\n1\n2\n3\n4\n6\n7\n");
    const char *failed = read_file(w, "failed");
    assert_non_null(strstr(failed, "\"condition\":\"RetryAttemptsExhausted\",\"approximateInvokeCount\":5"));
    assert_non_null(strstr(failed, "\"batchSize\":1"));
    assert_non_null(strstr(failed, "\"Records\":[{\"eventID\""));
}

static void the_queue_keeps_and_gives_back(void **state)
{
    world *w = *state;
    char destination[160];
    (void)snprintf(destination, sizeof destination, "sqlite:%s/q.db", w->dir);
    put(w, "a", 1);
    tr_mapping_options o = {.limit_retries = true};
    o.on_failure = destination_of(destination);
    (void)run(w, "    raise ValueError('no')\n", o);
    tr_failure_sink *q = destination_of(destination);
    uint64_t count = 0;
    assert_int_equal(tr_failure_remove(q, TR_VIEW("77"), NULL), TR_ENOTFOUND);
    assert_int_equal(tr_failure_purge(q, &count, NULL), 0);
    assert_int_equal(count, 1);
    tr_failure_sink_free(q);
}

static void filters_discard_what_they_do_not_match(void **state)
{
    world *w = *state;
    for (int i = 0; i < 9; i++)
        put(w, i % 3 ? "a" : "b", i);
    tr_pattern_options p = {.dialect = TR_PATTERN_LAMBDA};
    tr_pattern *filter;
    tr_error err = {0};
    assert_int_equal(
        tr_pattern_compile(TR_VIEW("{\"dynamodb\":{\"Keys\":{\"id\":{\"S\":[\"b\"]}}}}"), &p, &filter, &err),
        0);
    const tr_pattern *filters[] = {filter};
    tr_mapping_stats stats = run(w, "    say([n(r) for r in records])\n",
                                 (tr_mapping_options){.filters = filters, .filter_count = 1});
    assert_int_equal(stats.records, 3);
    assert_string_equal(read_file(w, "out"), "[0, 3, 6]\n");
    tr_pattern_free(filter);
}

/* Lanes work at the same time; each item's changes stay in order. */
static void parallel_batches_keep_the_order_of_every_item(void **state)
{
    world *w = *state;
    running r = {.handler = {.kind = TR_HANDLER_LAMBDA, .target = "fn.handler", .concurrency = 4}};
    for (int i = 0; i < 120; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "i%d", i % 12);
        put(w, id, i);
    }
    write_function(w,
                   "    with open('out', 'a') as f:\n"
                   "        f.write(''.join('%s %d\\n' % (r['dynamodb']['Keys']['id']['S'], n(r)) for r in "
                   "records))\n");
    tr_mapping_stats stats = run_with(w, &r, (tr_mapping_options){.parallelism = 4, .batch_size = 3});
    assert_int_equal(stats.records, 120);
    int last[12], lines = 0;
    memset(last, -1, sizeof last);
    for (const char *line = read_file(w, "out"); *line; line = strchr(line, '\n') + 1, lines++) {
        int item, n;
        assert_int_equal(sscanf(line, "i%d %d", &item, &n), 2);
        assert_true(n > last[item]);
        last[item] = n;
    }
    assert_int_equal(lines, 120);
}

/* A full batch does not wait for its window. */
static void a_window_fills_batches(void **state)
{
    world *w = *state;
    for (int i = 0; i < 30; i++)
        put(w, "a", i);
    (void)run(w, "    say(len(records))\n", (tr_mapping_options){.batch_size = 10, .window_ms = 300000});
    assert_string_equal(read_file(w, "out"), "10\n10\n10\n");
}

static void an_event_has_at_most_six_megabytes(void **state)
{
    world *w = *state;
    char *body = malloc(400000);
    assert_non_null(body);
    for (int i = 0; i < 24; i++) {
        int at = snprintf(body, 400000,
                          "{\"TableName\":\"tab\",\"Item\":{\"id\":{\"S\":\"a%d\"},\"x\":{\"S\":\"", i);
        memset(body + at, 'x', 380000);
        (void)snprintf(body + at + 380000, 100, "\"}}}");
        embedded_call(w->e.client, "PutItem", body, NULL);
    }
    free(body);
    tr_mapping_stats stats = run(w, "    say(len(json.dumps(event)) <= 6 * 1024 * 1024, len(records) > 5)\n",
                                 (tr_mapping_options){.window_ms = 20000});
    assert_int_equal(stats.records, 24);
    assert_null(strstr(read_file(w, "out"), "False "));
    assert_non_null(strstr(read_file(w, "out"), "True True\n"));
}

static void *run_mapping(void *ctx)
{
    running *r = ctx;
    tr_error err = {0};
    return (void *)(intptr_t)tr_mapping_run(r->mapping, r->stream, r->code, false, &err);
}

/* Batches that are tried for ever wait in their own shards: there are more of them than a run begins with. */
static void shards_that_fail_do_not_hold_up_others(void **state)
{
    world *w = *state;
    running r = {
        .handler = {
            .kind = TR_HANDLER_EXEC_EACH, .target = "exit 1", .directory = w->dir, .concurrency = 16}};
    tr_mapping_options o = {.retry_min_ms = 60000, .retry_max_ms = 60000};
    tr_stream_options so = {.table = "wide", .start = {.at = TR_START_TRIM_HORIZON}};
    tr_server_options shards = {.stream_shards = 16};
    tr_error err = {0};
    pthread_t thread;
    char body[256];
    embedded wide;
    embedded_open(&wide, &shards);
    embedded_call(
        wide.client, "CreateTable",
        "{\"TableName\":\"wide\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":["
        "{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":\"id\","
        "\"KeyType\":\"HASH\"}],\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":"
        "\"KEYS_ONLY\"}}",
        NULL);
    assert_int_equal(tr_handler_new(&r.handler, &r.code, &err), 0);
    assert_int_equal(tr_mapping_new(&o, &so, &r.mapping, &err), 0);
    assert_int_equal(tr_stream_new(wide.client, &so, &r.stream, &err), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_mapping, &r), 0);
    for (int i = 0; i < 200; i++) { /* every shard has something that fails, and then waits a minute */
        (void)snprintf(body, sizeof body, "{\"TableName\":\"wide\",\"Item\":{\"id\":{\"S\":\"%d\"}}}", i);
        embedded_call(wide.client, "PutItem", body, NULL);
    }
    tr_mapping_stats stats;
    do { /* more batches failing at the same time than there are threads at the start */
        usleep(5000);
        tr_mapping_get_stats(r.mapping, &stats);
    } while (stats.failures < 10);
    tr_mapping_stop(r.mapping);
    (void)pthread_join(thread, NULL);
    assert_int_equal(stats.records, 0);
    tr_stream_free(r.stream);
    tr_handler_free(r.code);
    tr_mapping_free(r.mapping);
    embedded_close(&wide);
}

static void options_are_checked(void **state)
{
    (void)state;
    tr_stream_options s = {0};
    tr_mapping *m;
    tr_error err = {0};
    assert_int_equal(tr_mapping_new(&(tr_mapping_options){.batch_size = 10001}, &s, &m, &err), TR_EINVAL);
    assert_int_equal(tr_mapping_new(&(tr_mapping_options){.parallelism = 11}, &s, &m, &err), TR_EINVAL);
    assert_int_equal(tr_mapping_new(&(tr_mapping_options){.window_ms = 300001}, &s, &m, &err), TR_EINVAL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(batches_come_in_order),
        T(a_partial_failure_is_retried_from_its_lowest_record),
        T(bisecting_isolates_what_cannot_be_handled),
        T(the_queue_keeps_and_gives_back),
        T(filters_discard_what_they_do_not_match),
        T(parallel_batches_keep_the_order_of_every_item),
        T(a_window_fills_batches),
        T(an_event_has_at_most_six_megabytes),
        T(shards_that_fail_do_not_hold_up_others),
        T(options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
