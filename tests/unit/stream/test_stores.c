/* SPDX-License-Identifier: MIT */
#include "live.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORDS 30
#define FIRST   11

/* ------------------------------------------------------------------------------------ the table's store */

static tr_stream_store *table_store(embedded *e, const char *name, bool create, int expect)
{
    tr_stream_store *store = NULL;
    tr_error err = {0};
    int code = tr_stream_store_table(e->client, "checkpoints", name, create, &store, &err);
    if (code == 0 && expect) { /* the table is looked for when it is first needed */
        tr_buf b;
        tr_buf_init(&b, 1 << 16);
        code = store->load(store, &b, &err);
        tr_buf_done(&b);
        tr_stream_store_free(store);
        store = NULL;
    }
    assert_int_equal(code, expect);
    return store;
}

static void assert_loads(tr_stream_store *store, tr_view expected)
{
    tr_buf b;
    tr_error err = {0};
    tr_buf_init(&b, 16 << 20);
    if (store->load(store, &b, &err))
        fail_msg("%s", err.message);
    assert_int_equal(b.len, expected.len);
    assert_true(expected.len == 0 || memcmp(b.ptr, expected.ptr, b.len) == 0);
    tr_buf_done(&b);
}

static size_t items_of(embedded *e, const char *table)
{
    char body[100];
    tr_buf answer;
    tr_arena arena;
    tr_view count;
    uint64_t n;
    (void)snprintf(body, sizeof body, "{\"TableName\":\"%s\",\"Select\":\"COUNT\"}", table);
    tr_buf_init(&answer, 1 << 20);
    tr_arena_init(&arena, 1 << 16);
    embedded_call(e->client, "Scan", body, &answer);
    assert_int_equal(tr_json_member(tr_buf_view(&answer), "Count", &arena, &count), 0);
    assert_int_equal(tr_view_to_u64(count, 1000, &n), 0);
    tr_buf_done(&answer);
    tr_arena_done(&arena);
    return (size_t)n;
}

/** A state as JSON that an item cannot hold, and is not the same everywhere. */
static tr_view large_state(char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "{\"x\":\"");
    for (size_t i = n; i < size - 2; i++)
        out[i] = (char)('a' + (i * 7919 + i / 251) % 26);
    memcpy(out + size - 2, "\"}", 2);
    return tr_view_of(out, size);
}

static void tables_keep_states_of_any_size(void **state)
{
    embedded *e = *state;
    static char text[1000001];
    tr_error err;
    (void)table_store(e, "a", false, TR_ENOTFOUND);
    tr_stream_store *store = table_store(e, "a", true, 0);
    assert_loads(store, (tr_view){0});
    assert_int_equal(store->save(store, TR_VIEW("{\"small\":1}"), &err), 0);
    assert_loads(store, TR_VIEW("{\"small\":1}"));
    assert_int_equal(items_of(e, "checkpoints"), 1);
    tr_view large = large_state(text, sizeof text);
    assert_int_equal(store->save(store, large, &err), 0);
    assert_true(items_of(e, "checkpoints") >= 4);
    tr_stream_store *again = table_store(e, "a", false, 0);
    assert_loads(again, large);
    tr_stream_store_free(store);
    assert_int_equal(again->save(again, TR_VIEW("{\"small\":2}"), &err), 0);
    assert_loads(again, TR_VIEW("{\"small\":2}"));
    assert_int_equal(items_of(e, "checkpoints"), 1); /* the parts are gone */
    tr_stream_store_free(again);
}

static void tables_have_one_consumer_of_a_name(void **state)
{
    embedded *e = *state;
    tr_error err;
    tr_stream_store *first = table_store(e, "a", true, 0), *second = table_store(e, "a", true, 0);
    tr_stream_store *other = table_store(e, "b", true, 0);
    assert_loads(first, (tr_view){0});
    assert_loads(second, (tr_view){0});
    assert_loads(other, (tr_view){0});
    assert_int_equal(first->save(first, TR_VIEW("{\"n\":1}"), &err), 0);
    assert_int_equal(second->save(second, TR_VIEW("{\"n\":2}"), &err), TR_ECONFLICT);
    assert_int_equal(other->save(other, TR_VIEW("{\"n\":3}"), &err), 0);
    assert_int_equal(first->save(first, TR_VIEW("{\"n\":4}"), &err), 0);
    assert_loads(second, TR_VIEW("{\"n\":4}")); /* who has read it anew may go on */
    assert_int_equal(second->save(second, TR_VIEW("{\"n\":5}"), &err), 0);
    assert_int_equal(first->save(first, TR_VIEW("{\"n\":6}"), &err), TR_ECONFLICT);
    tr_stream_store_free(first);
    tr_stream_store_free(second);
    tr_stream_store_free(other);
}

/* ---------------------------------------------------------------------------------- consumers with stores */

typedef struct kept {
    char text[65536];
    size_t len;
    atomic_int failures; /* so many calls fail, loads and saves alike */
    atomic_int saves;
} kept;

static bool fails(kept *k, tr_error *err)
{
    if (atomic_load(&k->failures) == 0)
        return false;
    atomic_fetch_sub(&k->failures, 1);
    (void)tr_fail(err, TR_EIO, "the disk is away");
    return true;
}

static int load(void *ctx, tr_buf *ret_state, tr_error *err)
{
    kept *k = ctx;
    if (fails(k, err))
        return TR_EIO;
    tr_buf_put(ret_state, k->text, k->len);
    return 0;
}

static int save(void *ctx, tr_view saved, tr_error *err)
{
    kept *k = ctx;
    if (fails(k, err))
        return TR_EIO;
    assert_true(saved.len < sizeof k->text);
    memcpy(k->text, saved.ptr, saved.len);
    k->len = saved.len;
    atomic_fetch_add(&k->saves, 1);
    return 0;
}

static tr_stream_store *store_of(embedded *e, int kind, const char *directory, kept *k)
{
    char path[200];
    tr_stream_store *store = NULL;
    tr_error err = {0};
    int code;
    (void)snprintf(path, sizeof path, "%s/state", directory);
    switch (kind) {
    case 0:
        code = tr_stream_store_file(path, &store, &err);
        break;
    case 1:
        code = tr_stream_store_sqlite(path, "name", &store, &err);
        break;
    case 2:
        code = tr_stream_store_table(e->client, "checkpoints", "name", true, &store, &err);
        break;
    default:
        code = tr_stream_store_callbacks(load, save, k, &store);
    }
    if (code)
        fail_msg("store %d: %s", kind, err.message);
    return store;
}

/** Takes records, and counts them by their item. */
static void take(tr_stream *stream, int count, int seen[RECORDS])
{
    for (int i = 0; i < count; i++) {
        tr_stream_event *event = live_next(stream, TR_STREAM_RECORD);
        seen[live_number(event->record->keys, "id")]++;
        tr_stream_ack(stream, event);
    }
}

static void assert_nothing_more(tr_stream *stream)
{
    tr_stream_event *event;
    while (tr_stream_next(stream, 100, &event) == 0) {
        assert_int_not_equal(event->kind, TR_STREAM_RECORD);
        assert_int_not_equal(event->kind, TR_STREAM_GAP);
        tr_stream_ack(stream, event);
    }
}

static void assert_each_once(const int seen[RECORDS])
{
    for (int i = 0; i < RECORDS; i++)
        assert_int_equal(seen[i], 1);
}

static void restart_with(embedded *e, int kind)
{
    char directory[] = "/tmp/tailrace-store-XXXXXX", command[100];
    assert_non_null(mkdtemp(directory));
    kept k = {.failures = kind == 4 ? 2 : 0};
    int seen[RECORDS] = {0};
    for (int i = 0; i < RECORDS; i++)
        live_put(e, i, 1);
    tr_stream_options o = {.store = store_of(e, kind, directory, &k), .checkpoint_ms = 5};
    tr_stream *stream = live_stream(e, o);
    take(stream, FIRST, seen);
    tr_stream_free(stream);
    o.store = store_of(e, kind, directory, &k);
    o.start.at = TR_START_LATEST; /* what is saved wins */
    stream = live_stream(e, o);
    take(stream, RECORDS - FIRST, seen);
    assert_nothing_more(stream);
    tr_stream_free(stream);
    assert_each_once(seen);
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

static void a_restart_goes_on_from_a_file(void **state)
{
    restart_with(*state, 0);
}

static void a_restart_goes_on_from_a_database(void **state)
{
    restart_with(*state, 1);
}

static void a_restart_goes_on_from_a_table(void **state)
{
    restart_with(*state, 2);
}

static void a_restart_goes_on_from_callbacks(void **state)
{
    restart_with(*state, 3);
}

static void loads_and_saves_that_fail_are_repeated(void **state)
{
    restart_with(*state, 4);
}

static void a_save_that_fails_is_told_and_repeated(void **state)
{
    embedded *e = *state;
    kept k = {0};
    tr_error err = {0};
    tr_stream_options o = {
        .store = store_of(e, 3, "", &k), .checkpoint_ms = 5, .retry_min_ms = 1, .retry_max_ms = 5};
    live_put(e, 1, 1);
    tr_stream *stream = live_stream(e, o);
    tr_stream_event *event = live_next(stream, TR_STREAM_RECORD);
    assert_int_equal(tr_stream_flush(stream, LIVE_WAIT_MS, &err), 0);
    atomic_store(&k.failures, 1000000);
    tr_stream_ack(stream, event);
    event = live_next(stream, TR_STREAM_TROUBLE);
    assert_string_equal(event->trouble->doing, "save");
    assert_string_equal(event->trouble->error->message, "the disk is away");
    tr_stream_ack(stream, event);
    assert_int_equal(tr_stream_flush(stream, 50, &err), TR_EIO);
    assert_string_equal(err.message, "the disk is away");
    atomic_store(&k.failures, 0);
    assert_int_equal(tr_stream_flush(stream, LIVE_WAIT_MS, &err), 0);
    tr_stream_free(stream);
}

static void stores_may_lack_either_function(void **state)
{
    embedded *e = *state;
    tr_stream_store *store = NULL;
    assert_int_equal(tr_stream_store_callbacks(NULL, NULL, NULL, &store), 0);
    live_put(e, 1, 1);
    tr_stream_options o = {.store = store};
    tr_stream *stream = live_stream(e, o);
    tr_error err;
    tr_stream_ack(stream, live_next(stream, TR_STREAM_RECORD));
    assert_int_equal(tr_stream_flush(stream, LIVE_WAIT_MS, &err), 0);
    tr_stream_free(stream);
}

/* -------------------------------------------------------------------------------- states in the user's hands
 */

/** As take, and saves by the user's own means when there is something to save. */
static void take_and_save(tr_stream *stream, int count, int seen[RECORDS], tr_buf *saved)
{
    while (count > 0) {
        tr_stream_event *event;
        uint64_t token, second;
        assert_int_equal(tr_stream_next(stream, LIVE_WAIT_MS, &event), 0);
        if (event->kind == TR_STREAM_RECORD) {
            seen[live_number(event->record->keys, "id")]++;
            count--;
        }
        bool due = event->kind == TR_STREAM_CHECKPOINT;
        tr_stream_ack(stream, event);
        if (!due)
            continue;
        tr_buf_reset(saved);
        assert_int_equal(tr_stream_checkpoint_begin(stream, saved, &token), 0);
        assert_int_equal(tr_stream_checkpoint_begin(stream, saved, &second), TR_EBUSY);
        tr_stream_checkpoint_end(stream, token, TR_EIO); /* the transaction was rolled back */
        tr_buf_reset(saved);
        assert_int_equal(tr_stream_checkpoint_begin(stream, saved, &token), 0);
        tr_stream_checkpoint_end(stream, token, 0);
    }
}

static void users_save_with_their_own_data(void **state)
{
    embedded *e = *state;
    int seen[RECORDS] = {0}, lost[RECORDS] = {0};
    for (int i = 0; i < RECORDS; i++)
        live_put(e, i, 1);
    tr_stream_options o = {.user_checkpoints = true, .checkpoint_ms = 1};
    tr_stream *stream = live_stream(e, o);
    tr_buf json, ignored;
    uint64_t token;
    tr_buf_init(&json, 1 << 20);
    tr_buf_init(&ignored, 1 << 20);
    take_and_save(stream, FIRST, seen, &json);
    tr_buf_reset(&json);
    assert_int_equal(tr_stream_checkpoint_begin(stream, &json, &token), 0);
    tr_stream_checkpoint_end(stream, token, 0);
    take_and_save(stream, 5, lost, &ignored); /* handled, and thrown away with what was saved of it */
    tr_stream_free(stream);
    tr_buf_putc(&json, 0);
    o.state = json.ptr;
    stream = live_stream(e, o);
    take_and_save(stream, RECORDS - FIRST, seen, &ignored);
    tr_stream_free(stream);
    assert_each_once(seen);
    tr_buf_done(&json);
    tr_buf_done(&ignored);
}

static void states_are_got_and_set_at_any_time(void **state)
{
    embedded *e = *state;
    int seen[RECORDS] = {0}, again[RECORDS] = {0};
    for (int i = 0; i < RECORDS; i++)
        live_put(e, i, 1);
    tr_stream *stream = live_stream(e, (tr_stream_options){0});
    tr_buf json;
    tr_error err = {0};
    tr_buf_init(&json, 1 << 20);
    take(stream, FIRST, seen);
    assert_int_equal(tr_stream_get_state(stream, &json), 0);
    tr_stream_event *held = live_next(stream, TR_STREAM_RECORD);
    take(stream, 5, again);
    if (tr_stream_set_state(stream, tr_buf_view(&json), &err))
        fail_msg("%s", err.message);
    tr_stream_ack(stream, held); /* from before: without effect */
    take(stream, 3, seen);
    held = live_next(stream, TR_STREAM_RECORD);
    assert_int_equal(tr_stream_set_state(stream, TR_VIEW("{\"format\":\"other\"}"), &err), TR_EPARSE);
    tr_stream_ack(stream, held); /* what was refused has changed nothing */
    take(stream, RECORDS - FIRST - 4, seen);
    assert_nothing_more(stream);
    tr_stream_free(stream);
    int count = 0;
    for (int i = 0; i < RECORDS; i++) {
        count += seen[i];
        assert_true(seen[i] <= 1);
    }
    assert_int_equal(count, RECORDS - 1); /* the one that was held */
    tr_buf_done(&json);
}

/* ------------------------------------------------------------------------------------ dynamodb-stream's */

static void iterators_are_exported_and_read(void **state)
{
    embedded *e = *state;
    int seen[RECORDS] = {0};
    for (int i = 0; i < RECORDS; i++)
        live_put(e, i, 1);
    tr_stream *stream = live_stream(e, (tr_stream_options){0});
    tr_buf json;
    tr_error err = {0};
    tr_buf_init(&json, 1 << 20);
    take(stream, FIRST, seen);
    tr_stream_event *held = live_next(stream, TR_STREAM_RECORD); /* not acknowledged: comes again */
    if (tr_stream_export_iterators(stream, LIVE_WAIT_MS, &json, &err))
        fail_msg("%s", err.message);
    tr_stream_ack(stream, held);
    tr_stream_free(stream);
    tr_buf_putc(&json, 0);
    stream = live_stream(e, (tr_stream_options){.state = json.ptr});
    take(stream, RECORDS - FIRST, seen);
    assert_nothing_more(stream);
    assert_each_once(seen);
    tr_stream_free(stream);
    tr_buf_done(&json);
}

static void an_expired_iterator_is_a_gap_and_never_latest(void **state)
{
    (void)state;
    embedded e;
    live_open(&e, 50);
    for (int i = 0; i < RECORDS; i++)
        live_put(&e, i, 1);
    tr_stream *stream = live_stream(&e, (tr_stream_options){0});
    tr_buf json;
    tr_error err = {0};
    tr_buf_init(&json, 1 << 20);
    take(stream, RECORDS, (int[RECORDS]){0});
    if (tr_stream_export_iterators(stream, LIVE_WAIT_MS, &json, &err))
        fail_msg("%s", err.message);
    tr_stream_free(stream);
    (void)usleep(200000);
    tr_buf_putc(&json, 0);
    int seen[RECORDS] = {0}, gaps = 0, records = 0;
    stream = live_stream(&e, (tr_stream_options){.state = json.ptr});
    while (records < RECORDS) {
        tr_stream_event *event;
        assert_int_equal(tr_stream_next(stream, LIVE_WAIT_MS, &event), 0);
        if (event->kind == TR_STREAM_GAP) {
            assert_int_equal(event->gap->reason, TR_GAP_ITERATOR_EXPIRED);
            assert_string_equal(tr_gap_reason_name(event->gap->reason), "iterator-expired");
            assert_true(event->gap->shard_id.len > 0);
            gaps++;
        } else if (event->kind == TR_STREAM_RECORD) {
            assert_true(gaps > 0); /* told before the records that follow */
            seen[live_number(event->record->keys, "id")]++;
            records++;
        }
        tr_stream_ack(stream, event);
    }
    assert_each_once(seen);
    assert_true(gaps >= 1 && gaps <= 3);
    tr_stream_free(stream);
    tr_buf_done(&json);
    embedded_close(&e);
}

static int setup(void **state)
{
    embedded *e = calloc(1, sizeof *e);
    live_open(e, 0);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    embedded_close(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tables_keep_states_of_any_size, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_have_one_consumer_of_a_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_goes_on_from_a_file, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_goes_on_from_a_database, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_goes_on_from_a_table, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_goes_on_from_callbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(loads_and_saves_that_fail_are_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(a_save_that_fails_is_told_and_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(stores_may_lack_either_function, setup, teardown),
        cmocka_unit_test_setup_teardown(users_save_with_their_own_data, setup, teardown),
        cmocka_unit_test_setup_teardown(states_are_got_and_set_at_any_time, setup, teardown),
        cmocka_unit_test_setup_teardown(iterators_are_exported_and_read, setup, teardown),
        cmocka_unit_test(an_expired_iterator_is_a_gap_and_never_latest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
