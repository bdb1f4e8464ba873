/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include "stream/core.h"

#include <stdlib.h>
#include <unistd.h>

static tr__core *consumer(const char *state, int expect)
{
    tr_stream_options o = {.table = "T", .manual = true, .state = state};
    tr__core *core = NULL;
    tr_error err = {0};
    assert_int_equal(tr__core_new(&o, false, 1, 0, INT64_C(1700000000000), &core, &err), expect);
    if (expect)
        assert_true(err.message[0]);
    return core;
}

static void states_come_back_as_they_were(void **state)
{
    (void)state;
    static const char json[] =
        "{\"format\":\"tailrace-stream\",\"version\":1,\"table\":\"T\",\"stream_arn\":\"arn\",\"saved_at\":"
        "1700000000000,"
        "\"since\":5,\"shards\":{\"a\":{\"checkpoint\":\"SHARD_END\"},\"b\":{\"checkpoint\":\"123\","
        "\"parent\":\"a\"},"
        "\"c\":{\"checkpoint\":\"LATEST\",\"since\":3,\"born\":4,\"iterator\":\"it\",\"iterator_time\":6},"
        "\"d\":{\"checkpoint\":\"TRIM_HORIZON\",\"at\":\"77\"}}}";
    tr__core *core = consumer(json, 0);
    tr_buf b;
    tr_buf_init(&b, 1 << 16);
    assert_int_equal(tr__core_get_state(core, &b), 0);
    assert_view(tr_buf_view(&b), json);
    tr_buf_done(&b);
    tr__core_free(core);
}

static void foreign_states_are_read(void **state)
{
    (void)state;
    tr__core *core = consumer("{\"a\":{\"shardId\":\"a\",\"nextShardIterator\":\"x\"},"
                              "\"b\":{\"shardId\":\"b\",\"nextShardIterator\":null}}",
                              0);
    tr_buf b;
    tr_buf_init(&b, 1 << 16);
    assert_int_equal(tr__core_get_state(core, &b), 0);
    assert_true(tr_view_find(tr_buf_view(&b),
                             TR_VIEW("\"a\":{\"checkpoint\":\"ITERATOR\",\"iterator\":\"x\""),
                             0) != SIZE_MAX);
    assert_true(tr_view_find(tr_buf_view(&b), TR_VIEW("\"b\":{\"checkpoint\":\"SHARD_END\"}"), 0) !=
                SIZE_MAX);
    tr_buf_done(&b);
    tr__core_free(core);
}

static void damaged_states_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int code;
    } cases[] = {
        {"[]", TR_EPARSE},
        {"{", TR_EPARSE},
        {"{\"format\":\"other\"}", TR_EPARSE},
        {"{\"format\":\"tailrace-stream\",\"version\":2}", TR_EVERSION},
        {"{\"format\":\"tailrace-stream\",\"floor\":!}", TR_EPARSE},
        {"{\"format\":\"tailrace-stream\",\"floor\":\"x\"}", TR_EPARSE},
        {"{\"format\":\"tailrace-stream\",\"shards\":[]}", TR_EPARSE},
        {"{\"format\":\"tailrace-stream\",\"shards\":{\"a\":{}}}", TR_EPARSE},
        {"{\"format\":\"tailrace-stream\",\"shards\":{\"a\":{\"checkpoint\":\"12x\"}}}", TR_EPARSE},
        {"{\"shards\":{\"a\":{\"checkpoint\":\"12\"}}}", TR_EPARSE},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        (void)consumer(cases[i].json, cases[i].code);
}

static void check_store(tr_stream_store *store, tr_stream_store *again)
{
    tr_buf b;
    tr_error err;
    tr_buf_init(&b, 1 << 16);
    assert_int_equal(store->load(store, &b, &err), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(store->save(store, TR_VIEW("{\"one\":1}"), &err), 0);
    assert_int_equal(store->save(store, TR_VIEW("{\"two\":2}"), &err), 0);
    assert_int_equal(again->load(again, &b, &err), 0);
    assert_true(tr_view_starts(tr_buf_view(&b), TR_VIEW("{\"two\":2}")));
    tr_buf_done(&b);
}

static void files_keep_the_state_and_one_consumer(void **state)
{
    (void)state;
    char directory[] = "/tmp/tailrace-test-XXXXXX", path[100];
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/deep/state", directory);
    tr_stream_store *store, *second;
    tr_error err;
    assert_int_equal(tr_stream_store_file(path, &store, &err), 0);
    assert_int_equal(tr_stream_store_file(path, &second, &err), TR_EBUSY);
    check_store(store, store);
    tr_stream_store_free(store);
    static const char *const names[] = {"/deep/state", "/deep/state.lock", "/deep", ""};
    for (size_t i = 0; i < TR_COUNT(names); i++) {
        (void)snprintf(path, sizeof path, "%s%s", directory, names[i]);
        assert_int_equal(i < 2 ? unlink(path) : rmdir(path), 0);
    }
}

static void databases_keep_the_state_and_one_consumer(void **state)
{
    (void)state;
    tr_stream_store *store, *second;
    tr_error err;
    static const char uri[] = "/tmp/tailrace-test-state.sqlite";
    (void)unlink(uri);
    assert_int_equal(tr_stream_store_sqlite(uri, "x", &store, &err), 0);
    assert_int_equal(tr_stream_store_sqlite(uri, "x", &second, &err), 0);
    check_store(store, second);
    /* the first one saves on; the second, which has seen an older version, must not overwrite it */
    assert_int_equal(store->save(store, TR_VIEW("{\"three\":3}"), &err), 0);
    assert_int_equal(second->save(second, TR_VIEW("{}"), &err), TR_ECONFLICT);
    tr_stream_store_free(store);
    tr_stream_store_free(second);
    (void)unlink(uri);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_come_back_as_they_were),
        cmocka_unit_test(foreign_states_are_read),
        cmocka_unit_test(damaged_states_are_refused),
        cmocka_unit_test(files_keep_the_state_and_one_consumer),
        cmocka_unit_test(databases_keep_the_state_and_one_consumer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
