/* SPDX-License-Identifier: MIT */
#include "mapping_world.h"

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
        T(options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
