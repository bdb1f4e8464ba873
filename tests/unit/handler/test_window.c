/* SPDX-License-Identifier: MIT */
#include "mapping_world.h"

/* A record's time is the number n of its item, in seconds. */
static int time_is_n(void *ctx, tr_record *record, tr_arena *arena)
{
    (void)ctx;
    (void)arena;
    tr_value n;
    tr_buf text;
    tr_json_writer w;
    uint64_t seconds = 0;
    assert_int_equal(tr_item_get(record->new_image, TR_VIEW("n"), &n), 0);
    tr_buf_init(&text, 64);
    tr_json_write_init(&w, &text);
    tr_value_write_plain(&w, n);
    assert_int_equal(tr_view_to_u64(tr_buf_view(&text), INT64_MAX, &seconds), 0);
    record->time_ms = (int64_t)seconds * 1000;
    tr_buf_done(&text);
    return 0;
}

static tr_mapping_stats aggregate(world *w, const char *function, tr_mapping_options options)
{
    running r = {.handler = {.kind = TR_HANDLER_LAMBDA, .target = "fn.handler"}, .transform = time_is_n};
    write_function(w, function);
    if (!options.tumbling_ms)
        options.tumbling_ms = 60000;
    return run_with(w, &r, options);
}

#define COUNT                                                                                                \
    "    if event['isFinalInvokeForWindow']:\n"                                                              \
    "        say('final', event['window']['start'][14:19], event['state'], len(records), "                   \
    "event['isWindowTerminatedEarly'])\n"                                                                    \
    "        return\n"                                                                                       \
    "    say([n(r) for r in records], event['state'], event['shardId'][:8], "                                \
    "event['eventSourceARN'].count('/stream/'))\n"                                                           \
    "    return {'state': {'n': event['state'].get('n', 0) + len(records)}}\n"

static void state_goes_from_batch_to_batch_and_ends_with_the_window(void **state)
{
    world *w = *state;
    static const int times[] = {10, 20, 30, 70, 200};
    for (size_t i = 0; i < TR_COUNT(times); i++)
        put(w, "a", times[i]);
    tr_mapping_stats stats = aggregate(w, COUNT, (tr_mapping_options){.batch_size = 2});
    assert_string_equal(read_file(w, "out"), "[10, 20] {} shardId- 1\n"
                                             "[30] {'n': 2} shardId- 1\n"
                                             "final 00:00 {'n': 3} 0 False\n"
                                             "[70] {} shardId- 1\n"
                                             "final 01:00 {'n': 1} 0 False\n"
                                             "[200] {} shardId- 1\n"
                                             "final 03:00 {'n': 1} 0 False\n");
    assert_int_equal(stats.windows, 3);
    assert_int_equal(stats.records, 5);
}

static void a_late_record_counts_for_the_next_window(void **state)
{
    world *w = *state;
    static const int times[] = {10, 130, 50};
    for (size_t i = 0; i < TR_COUNT(times); i++)
        put(w, "a", times[i]);
    (void)aggregate(w, COUNT, (tr_mapping_options){0});
    assert_string_equal(read_file(w, "out"), "[10] {} shardId- 1\n"
                                             "final 00:00 {'n': 1} 0 False\n"
                                             "[130, 50] {} shardId- 1\n"
                                             "final 02:00 {'n': 2} 0 False\n");
}

/* Windows far in the future stay open. */
static void a_restart_goes_on_with_the_state_and_skips_what_is_in_it(void **state)
{
    world *w = *state;
    char path[128];
    tr_error err = {0};
    (void)snprintf(path, sizeof path, "%s/windows", w->dir);
    for (int i = 0; i < 3; i++) {
        tr_mapping_options o = {.tumbling_ms = 900000};
        put(w, "a", 2000000000 + i);
        put(w, "b", 2000000000 + i);
        assert_int_equal(tr_stream_store_file(path, &o.window_store, &err), 0);
        tr_mapping_stats stats = aggregate(w, COUNT, o); /* reads from the beginning each time */
        assert_int_equal(stats.windows, 0);
        assert_int_equal(stats.records, 2 * (i + 1));
    }
    assert_string_equal(read_file(w, "out"), "[2000000000, 2000000000] {} shardId- 1\n"
                                             "[2000000001, 2000000001] {'n': 2} shardId- 1\n"
                                             "[2000000002, 2000000002] {'n': 4} shardId- 1\n");
}

static void an_answer_without_state_is_a_failure(void **state)
{
    world *w = *state;
    put(w, "a", 10);
    tr_mapping_stats stats =
        aggregate(w,
                  "    if event['isFinalInvokeForWindow']:\n"
                  "        say('final', event['state'])\n"
                  "        return\n"
                  "    say(event['state'])\n"
                  "    tries = open('out').read().count('{}')\n"
                  "    return [{}, {'state': 5}, None, {'state': {'x': tries}}][tries - 1]\n",
                  (tr_mapping_options){0});
    assert_int_equal(stats.failures, 3);
    assert_string_equal(read_file(w, "out"), "{}\n{}\n{}\n{}\nfinal {'x': 4}\n");
}

static void what_failed_does_not_change_the_state(void **state)
{
    world *w = *state;
    for (int i = 0; i < 4; i++)
        put(w, "a", i);
    (void)aggregate(
        w,
        "    if event['isFinalInvokeForWindow']:\n"
        "        say('final', event['state'])\n"
        "        return\n"
        "    say([n(r) for r in records], event['state'])\n"
        "    if len(records) == 4: raise ValueError('no')\n"
        "    return {'state': {'n': event['state'].get('n', 0) + len(records)}, 'batchItemFailures': "
        "[{'itemIdentifier': seq(records[1])}] if n(records[0]) == 2 and len(records) > 1 else []}\n",
        (tr_mapping_options){.bisect = true});
    assert_string_equal(read_file(w, "out"),
                        "[0, 1, 2, 3] {}\n[0, 1] {}\n[2, 3] {'n': 2}\n[3] {'n': 4}\nfinal "
                        "{'n': 5}\n");
}

static void too_much_state_ends_the_window_early(void **state)
{
    world *w = *state;
    for (int i = 0; i < 3; i++)
        put(w, "a", i);
    (void)aggregate(
        w,
        "    say(len(records), len(json.dumps(event['state'])), event['isFinalInvokeForWindow'], "
        "event['isWindowTerminatedEarly'], event['window']['start'][14:19])\n"
        "    return {'state': {'x': 'x' * (1100000 if n(records[0]) == 1 else 10)}} if records else "
        "None\n",
        (tr_mapping_options){.batch_size = 1});
    assert_string_equal(read_file(w, "out"), "1 2 False False 00:00\n"
                                             "1 19 False False 00:00\n"
                                             "0 1100009 True True 00:00\n"
                                             "1 2 False False 00:00\n"
                                             "0 19 True False 00:00\n");
}

static int first_entry(void *ctx, const tr_failure_entry *entry)
{
    (void)snprintf(ctx, 512, "%.*s", TR_FMT(entry->event));
    return 0;
}

static void an_end_that_fails_goes_to_the_destination(void **state)
{
    world *w = *state;
    char destination[128];
    (void)snprintf(destination, sizeof destination, "sqlite:%s/q.db", w->dir);
    put(w, "a", 1);
    tr_mapping_options o = {.limit_retries = true, .retries = 1};
    o.on_failure = destination_of(destination);
    tr_mapping_stats stats = aggregate(w,
                                       "    if event['isFinalInvokeForWindow']: raise ValueError('the end')\n"
                                       "    return {'state': {'n': 1}}\n",
                                       o);
    assert_int_equal(stats.failures, 2);
    tr_failure_sink *q = destination_of(destination);
    char found[512] = "";
    assert_int_equal(tr_failure_each(q, first_entry, found, NULL), 0);
    assert_non_null(strstr(found, "{\"Records\":[],\"window\":{\"start\":\"1970-01-01T00:00:00Z\",\"end\":"
                                  "\"1970-01-01T00:01:00Z\"},\"state\":{\"n\": 1},\"shardId\":\"shardId-"));
    tr_failure_sink_free(q);
}

static void windows_are_checked(void **state)
{
    (void)state;
    tr_stream_options s = {0};
    tr_mapping *m;
    tr_error err = {0};
    static const int64_t wrong[] = {1, 1500, 901000, -1000};
    for (size_t i = 0; i < TR_COUNT(wrong); i++)
        assert_int_equal(tr_mapping_new(&(tr_mapping_options){.tumbling_ms = wrong[i]}, &s, &m, &err),
                         TR_EINVAL);
    assert_int_equal(
        tr_mapping_new(&(tr_mapping_options){.tumbling_ms = 1000, .parallelism = 2}, &s, &m, &err),
        TR_EINVAL);
}

static int load_text(void *ctx, tr_buf *ret, tr_error *err)
{
    (void)err;
    tr_buf_put_str(ret, ctx);
    return 0;
}

static void damaged_state_is_refused(void **state)
{
    world *w = *state;
    static char texts[][120] = {
        "nonsense", "{}", "{\"format\":\"tailrace-windows\",\"version\":1}",
        "{\"format\":\"tailrace-windows\",\"version\":2,\"shards\":{}}",
        "{\"format\":\"tailrace-windows\",\"version\":1,\"shards\":{\"s\":{\"open\":true}}}"};
    for (size_t i = 0; i < TR_COUNT(texts); i++) {
        tr_mapping_options o = {.tumbling_ms = 1000};
        tr_stream_options s = {.table = "tab"};
        tr_mapping *mapping;
        tr_stream *stream;
        tr_error err = {0};
        assert_int_equal(tr_stream_store_callbacks(load_text, NULL, texts[i], &o.window_store), 0);
        assert_int_equal(tr_mapping_new(&o, &s, &mapping, &err), 0);
        assert_int_equal(tr_stream_new(w->e.client, &s, &stream, &err), 0);
        int e = tr_mapping_run(mapping, stream, NULL, true, &err);
        assert_int_equal(e, i == 3 ? TR_EVERSION : TR_EPARSE);
        tr_stream_free(stream);
        tr_mapping_free(mapping);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(state_goes_from_batch_to_batch_and_ends_with_the_window),
        T(a_late_record_counts_for_the_next_window),
        T(a_restart_goes_on_with_the_state_and_skips_what_is_in_it),
        T(an_answer_without_state_is_a_failure),
        T(what_failed_does_not_change_the_state),
        T(too_much_state_ends_the_window_early),
        T(an_end_that_fails_goes_to_the_destination),
        T(windows_are_checked),
        T(damaged_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
