/* SPDX-License-Identifier: MIT */
/* Copies in memory, and sinks of the application's own. */
#include "../embedded.h"

#include <tailrace/memory_table.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static void create(tr_client *client, const char *table)
{
    char body[1024];
    (void)snprintf(
        body, sizeof body,
        "{\"TableName\":\"%s\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":[{"
        "\"AttributeName\":\"id\",\"AttributeType\":\"S\"},{\"AttributeName\":\"n\",\"AttributeType\":\"N\"}]"
        ","
        "\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"n\",\"KeyType\":"
        "\"RANGE\"}],\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"NEW_AND_OLD_"
        "IMAGES\"}}",
        table);
    embedded_call(client, "CreateTable", body, NULL);
}

static void put(tr_client *client, int n, int value)
{
    char body[512];
    (void)snprintf(
        body, sizeof body,
        "{\"TableName\":\"tab\",\"Item\":{\"id\":{\"S\":\"k%d\"},\"n\":{\"N\":\"%d\"},\"v\":{\"N\":\"%d\"}"
        ",\"b\":{\"B\":\"AAE=\"}}}",
        n % 3, n, value);
    embedded_call(client, "PutItem", body, NULL);
}

static void take_away(tr_client *client, int n)
{
    char body[256];
    (void)snprintf(body, sizeof body,
                   "{\"TableName\":\"tab\",\"Key\":{\"id\":{\"S\":\"k%d\"},\"n\":{\"N\":\"%d\"}}}", n % 3, n);
    embedded_call(client, "DeleteItem", body, NULL);
}

/* The key of row n as an item. */
static tr_item key_of(int n, tr_arena *arena)
{
    char json[128];
    tr_item item = {NULL, 0};
    (void)snprintf(json, sizeof json, "{\"id\":{\"S\":\"k%d\"},\"n\":{\"N\":\"%d\"}}", n % 3, n);
    assert_int_equal(tr_item_from_json(tr_view_str(json), arena, &item, NULL), 0);
    return item;
}

static int64_t value_of(tr_item item)
{
    tr_value v;
    int64_t number = -1;
    assert_int_equal(tr_item_get(item, TR_VIEW("v"), &v), 0);
    assert_int_equal(tr_number_to_i64(v.payload, &number), 0);
    return number;
}

static int setup(void **state)
{
    embedded *e = calloc(1, sizeof *e);
    embedded_open(e, NULL);
    create(e->client, "tab");
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    embedded_close(*state);
    free(*state);
    return 0;
}

static tr_replica *replica_into(embedded *e, tr_sink *sink, bool once)
{
    tr_replica_options o = {.table = "tab", .sink = sink, .once = once, .segments = 2};
    tr_replica *r = NULL;
    tr_error err = {0};
    if (tr_replica_new(e->client, &o, &r, &err))
        fail_msg("%s", err.message);
    return r;
}

static tr_replica *memory_replica(embedded *e, tr_memory_table *copy, bool once)
{
    tr_sink *sink;
    assert_int_equal(tr_sink_memory(copy, &sink, NULL), 0);
    return replica_into(e, sink, once);
}

static void run_to_end(tr_replica *r)
{
    tr_error err = {0};
    if (tr_replica_run(r, &err))
        fail_msg("%s", err.message);
}

static void catch_up(embedded *e, tr_memory_table *copy)
{
    tr_replica *r = memory_replica(e, copy, true);
    tr_verify_result result = {.differences = 99};
    tr_error err = {0};
    run_to_end(r);
    if (tr_replica_verify(r, NULL, NULL, &result, &err))
        fail_msg("%s", err.message);
    assert_int_equal(result.differences, 0);
    assert_int_equal(result.rows, tr_memory_table_count(copy));
    tr_replica_free(r);
}

/* ---------------------------------------------------------------------------------------------- memory */

typedef struct told {
    int kinds[4];
    tr_memory_table *copy;
    bool unreadable;
    char last_sequence[64];
} told;

static void on_change(void *ctx, const tr_memory_change *c)
{
    told *t = ctx;
    t->kinds[c->event]++;
    assert_true((c->event == TR_INSERT) == (c->old_item.len == 0));
    assert_true((c->event == TR_REMOVE) == (c->new_item.len == 0));
    (void)snprintf(t->last_sequence, sizeof t->last_sequence, "%.*s", TR_FMT(c->sequence_number));
    tr_buf item; /* what it tells of can be read */
    tr_buf_init(&item, 1 << 20);
    int e = tr_memory_table_get(t->copy, c->new_item.len ? c->new_item : c->old_item, &item);
    t->unreadable |= e && e != TR_ENOTFOUND;
    tr_buf_done(&item);
}

typedef struct walk {
    int count;
    tr_buf last;
    bool disordered;
} walk;

static int step(void *ctx, tr_item item)
{
    walk *w = ctx;
    tr_value id, n;
    tr_buf key;
    assert_int_equal(tr_item_get(item, TR_VIEW("id"), &id), 0);
    assert_int_equal(tr_item_get(item, TR_VIEW("n"), &n), 0);
    tr_buf_init(&key, 4096);
    tr_key_put(&key, id);
    tr_key_put(&key, n);
    w->disordered |= w->count && tr_view_cmp(tr_buf_view(&w->last), tr_buf_view(&key)) >= 0;
    tr_buf_done(&w->last);
    w->last = key;
    w->count++;
    return 0;
}

static int stop_at_five(void *ctx, tr_item item)
{
    (void)item;
    return ++*(int *)ctx == 5 ? 77 : 0;
}

static void a_copy_in_memory_is_read_walked_and_told(void **state)
{
    embedded *e = *state;
    told t = {0};
    walk w = {0};
    tr_arena arena;
    tr_buf item;
    tr_memory_table *copy;
    tr_memory_table_options o = {.on_change = on_change, .ctx = &t};
    tr_arena_init(&arena, 1 << 20);
    tr_buf_init(&item, 1 << 20);
    assert_int_equal(tr_memory_table_new(&o, &copy, NULL), 0);
    t.copy = copy;
    assert_int_equal(tr_memory_table_get(copy, key_of(1, &arena), &item), TR_ENOTFOUND);
    for (int i = 0; i < 100; i++)
        put(e->client, i, i);
    catch_up(e, copy);
    assert_int_equal(t.kinds[TR_INSERT], 100);
    assert_int_equal(tr_memory_table_count(copy), 100);
    uint64_t bytes = tr_memory_table_bytes(copy);
    assert_true(bytes > 1000);
    for (int i = 0; i < 10; i++)
        put(e->client, i, 1000 + i);
    for (int i = 10; i < 15; i++)
        take_away(e->client, i);
    put(e->client, 200, 1);
    take_away(e->client, 200); /* in one batch: both are told */
    catch_up(e, copy);
    assert_int_equal(t.kinds[TR_INSERT], 101);
    assert_int_equal(t.kinds[TR_MODIFY], 10);
    assert_int_equal(t.kinds[TR_REMOVE], 6);
    assert_int_equal(strlen(t.last_sequence), 21);
    assert_false(t.unreadable);
    assert_int_equal(tr_memory_table_count(copy), 95);
    assert_true(tr_memory_table_bytes(copy) < bytes);
    assert_int_equal(tr_memory_table_get(copy, key_of(3, &arena), &item), 0);
    assert_int_equal(value_of(tr_buf_view(&item)), 1003);
    assert_int_equal(tr_memory_table_get(copy, key_of(12, &arena), &item), TR_ENOTFOUND);
    tr_item no_key = {NULL, 0};
    assert_int_equal(tr_item_from_json(TR_VIEW("{\"id\":{\"S\":\"k0\"}}"), &arena, &no_key, NULL), 0);
    assert_int_equal(tr_memory_table_get(copy, no_key, &item), TR_EINVAL);
    assert_int_equal(tr_memory_table_each(copy, step, &w), 0);
    assert_int_equal(w.count, 95);
    assert_false(w.disordered);
    int seen = 0;
    assert_int_equal(tr_memory_table_each(copy, stop_at_five, &seen), 77);
    tr_buf_done(&w.last);
    tr_buf_done(&item);
    tr_arena_done(&arena);
    tr_memory_table_free(copy);
}

/* Between two runs the stream was disabled: what it does not tell is found by copying again. */
static void a_gap_is_mended_with_its_deletions(void **state)
{
    embedded *e = *state;
    told t = {0};
    tr_memory_table *copy;
    tr_memory_table_options o = {.on_change = on_change, .ctx = &t};
    assert_int_equal(tr_memory_table_new(&o, &copy, NULL), 0);
    t.copy = copy;
    for (int i = 0; i < 20; i++)
        put(e->client, i, i);
    catch_up(e, copy);
    embedded_call(e->client, "UpdateTable",
                  "{\"TableName\":\"tab\",\"StreamSpecification\":{\"StreamEnabled\":false}}", NULL);
    take_away(e->client, 5);
    put(e->client, 6, 66);
    put(e->client, 100, 1);
    embedded_call(e->client, "UpdateTable",
                  "{\"TableName\":\"tab\",\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":"
                  "\"NEW_IMAGE\"}}",
                  NULL);
    memset(t.kinds, 0, sizeof t.kinds);
    catch_up(e, copy);
    assert_int_equal(t.kinds[TR_INSERT], 1);
    assert_int_equal(t.kinds[TR_MODIFY], 1);
    assert_int_equal(t.kinds[TR_REMOVE], 1);
    assert_int_equal(tr_memory_table_count(copy), 20);
    tr_memory_table_free(copy);
}

static void a_limit_of_memory_is_kept(void **state)
{
    embedded *e = *state;
    tr_memory_table *copy;
    tr_memory_table_options o = {.max_bytes = 2000};
    assert_int_equal(tr_memory_table_new(&o, &copy, NULL), 0);
    for (int i = 0; i < 100; i++)
        put(e->client, i, i);
    tr_replica *r = memory_replica(e, copy, true);
    tr_error err = {0};
    assert_int_equal(tr_replica_run(r, &err), TR_ELIMIT);
    assert_non_null(strstr(err.message, "2000 bytes"));
    assert_true(tr_memory_table_bytes(copy) <= 2000);
    tr_replica_free(r);
    tr_memory_table_free(copy);
}

typedef struct crowd {
    embedded *e;
    tr_memory_table *copy;
    atomic_bool stop;
} crowd;

static void *write_much(void *arg)
{
    crowd *c = arg;
    tr_client *client = embedded_client(c->e->server);
    for (int i = 0; i < 1200; i++) {
        if (i % 5 == 4)
            take_away(client, i % 90);
        else
            put(client, i % 90, i);
    }
    tr_client_free(client);
    return NULL;
}

static void *read_much(void *arg)
{
    crowd *c = arg;
    tr_arena arena;
    tr_buf item;
    tr_arena_init(&arena, 1 << 20);
    tr_buf_init(&item, 1 << 20);
    for (int i = 0; !atomic_load(&c->stop); i++) {
        walk w = {0};
        tr_arena_reset(&arena);
        tr_buf_reset(&item);
        int e = tr_memory_table_get(c->copy, key_of(i % 90, &arena), &item);
        assert_true(e == 0 || e == TR_ENOTFOUND);
        if (!e)
            assert_int_equal(tr_item_check(tr_buf_view(&item)), 0);
        assert_int_equal(tr_memory_table_each(c->copy, step, &w), 0);
        assert_false(w.disordered);
        tr_buf_done(&w.last);
        (void)usleep(500);
    }
    tr_buf_done(&item);
    tr_arena_done(&arena);
    return NULL;
}

static void *run_replica(void *arg)
{
    tr_error err = {0};
    return tr_replica_run(arg, &err) ? arg : NULL;
}

static void readers_and_the_writer_do_not_disturb_each_other(void **state)
{
    crowd c = {.e = *state};
    pthread_t readers[2], writer, runner;
    void *failed;
    tr_memory_table_options o = {0};
    assert_int_equal(tr_memory_table_new(&o, &c.copy, NULL), 0);
    for (int i = 0; i < 90; i++)
        put(c.e->client, i, i);
    tr_replica *r = memory_replica(c.e, c.copy, false);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_much, &c), 0);
    assert_int_equal(pthread_create(&runner, NULL, run_replica, r), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_much, &c), 0);
    (void)pthread_join(writer, NULL);
    tr_sink *second;
    tr_error err = {0};
    assert_int_equal(tr_sink_memory(c.copy, &second, NULL), 0);
    tr_buf none;
    tr_buf_init(&none, 4096);
    tr_sink_table table = {.name = TR_VIEW("tab"), .hash_name = TR_VIEW("id"), .hash_type = TR_S};
    while (tr_memory_table_count(c.copy) == 0)
        (void)usleep(1000);
    assert_int_equal(second->open(second, &table, &none, &err), TR_EBUSY);
    second->free(second);
    tr_buf_done(&none);
    tr_replica_stop(r);
    (void)pthread_join(runner, &failed);
    assert_null(failed);
    tr_replica_free(r);
    catch_up(c.e, c.copy);
    atomic_store(&c.stop, true);
    for (int i = 0; i < 2; i++)
        (void)pthread_join(readers[i], NULL);
    tr_memory_table_free(c.copy);
}

/* --------------------------------------------------------------------------------------- the user's own */

#define ENTRIES_MAX 4000

/* A ledger: every change is a line of it, and none is compared with another. Its commits fail at times, as a
 * lost connection makes them fail: some have taken effect nevertheless. */
typedef struct ledger {
    char entries[ENTRIES_MAX][TR_SEQUENCE_MAX + 1];
    size_t committed, count; /* lines that stand; with those of the transaction */
    size_t scanned_committed, scanned;
    char state[1 << 16], saved[1 << 16];
    int opened, commits, failures_left;
    bool in_transaction;
} ledger;

typedef struct ledger_sink {
    tr_sink base;
    ledger *l;
} ledger_sink;

static ledger *ledger_of(tr_sink *sink)
{
    return ((ledger_sink *)sink)->l;
}

static void ledger_rollback(tr_sink *sink)
{
    ledger *l = ledger_of(sink);
    l->count = l->committed;
    l->scanned = l->scanned_committed;
    l->in_transaction = false;
}

static int ledger_open(tr_sink *sink, const tr_sink_table *table, tr_buf *ret_state, tr_error *err)
{
    (void)err;
    assert_view(table->name, "tab");
    assert_view(table->hash_name, "id");
    assert_int_equal(table->range_type, TR_N);
    ledger_rollback(sink);
    ledger_of(sink)->opened++;
    tr_buf_put_str(ret_state, ledger_of(sink)->state);
    return tr_buf_status(ret_state);
}

static int ledger_begin(tr_sink *sink, tr_error *err)
{
    (void)err;
    assert_false(ledger_of(sink)->in_transaction);
    ledger_of(sink)->in_transaction = true;
    return 0;
}

static int ledger_apply(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    ledger *l = ledger_of(sink);
    (void)err;
    assert_true(l->in_transaction && l->count < ENTRIES_MAX);
    (void)snprintf(l->entries[l->count++], sizeof l->entries[0], "%.*s", TR_FMT(row->sequence_number));
    return 0;
}

static int ledger_scanned(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    (void)err;
    assert_true(row->item.len && !row->record && !row->sequence_number.len);
    ledger_of(sink)->scanned++;
    return 0;
}

static int ledger_save(tr_sink *sink, tr_view state, tr_error *err)
{
    (void)err;
    assert_true(state.len < sizeof ledger_of(sink)->saved);
    (void)snprintf(ledger_of(sink)->saved, sizeof ledger_of(sink)->saved, "%.*s", TR_FMT(state));
    return 0;
}

static int ledger_commit(tr_sink *sink, tr_error *err)
{
    ledger *l = ledger_of(sink);
    bool fails = ++l->commits % 3 == 0 && l->failures_left;
    bool takes_effect = !fails || l->failures_left % 2;
    assert_true(l->in_transaction);
    if (takes_effect) {
        l->committed = l->count;
        l->scanned_committed = l->scanned;
        memcpy(l->state, l->saved, sizeof l->state);
    }
    l->in_transaction = false;
    if (!fails)
        return 0;
    l->failures_left--;
    return tr_fail(err, TR_EIO, "the connection was lost");
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void sinks_with_transactions_get_every_change_once(void **state)
{
    embedded *e = *state;
    static ledger l;
    memset(&l, 0, sizeof l);
    ledger_sink sink = {.base = {.transactions = true,
                                 .open = ledger_open,
                                 .begin = ledger_begin,
                                 .apply = ledger_apply,
                                 .scanned = ledger_scanned,
                                 .save = ledger_save,
                                 .commit = ledger_commit,
                                 .rollback = ledger_rollback},
                        .l = &l};
    for (int i = 0; i < 30; i++)
        put(e->client, i, i);
    tr_replica *r = replica_into(e, &sink.base, true);
    run_to_end(r);
    assert_int_equal(l.scanned_committed, 30);
    assert_int_equal(l.committed, 0);
    l.failures_left = 4;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 60; i++)
            put(e->client, i, 1000 * (round + 1) + i);
        run_to_end(r);
        tr_replica_free(r); /* and another process */
        r = replica_into(e, &sink.base, true);
    }
    run_to_end(r);
    tr_replica_free(r);
    assert_int_equal(l.failures_left, 0);
    assert_true(l.opened >= 4 + 7);
    assert_int_equal(l.committed, 300);
    qsort(l.entries, l.committed, sizeof l.entries[0], compare_entries);
    for (size_t i = 1; i < l.committed; i++)
        assert_true(strcmp(l.entries[i - 1], l.entries[i]) < 0);
}

typedef struct feed {
    tr_sink base;
    int changes, scanned, failures_left;
    bool seen[100]; /* by the sequence number's last digits */
} feed;

static int feed_apply(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    feed *f = (feed *)sink;
    if (f->changes % 20 == 10 && f->failures_left) {
        f->failures_left--;
        f->changes++;
        return tr_fail(err, TR_EBUSY, "not now");
    }
    f->changes++;
    tr_view number = row->sequence_number;
    f->seen[(number.ptr[number.len - 2] - '0') * 10 + number.ptr[number.len - 1] - '0'] = true;
    return 0;
}

static int feed_scanned(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    (void)row;
    (void)err;
    ((feed *)sink)->scanned++;
    return 0;
}

/* Two functions are a sink; a failure that passes has the changes since the last success come again. */
static void sinks_without_transactions_get_every_change(void **state)
{
    embedded *e = *state;
    feed f = {.base = {.apply = feed_apply, .scanned = feed_scanned}, .failures_left = 2};
    for (int i = 0; i < 10; i++)
        put(e->client, i, i);
    tr_replica *r = replica_into(e, &f.base, true);
    run_to_end(r);
    assert_int_equal(f.scanned, 10);
    for (int i = 0; i < 50; i++)
        put(e->client, i, 100 + i);
    run_to_end(r);
    assert_int_equal(f.failures_left, 0);
    assert_true(f.changes >= 50);
    for (int i = 11; i <= 60; i++)
        assert_true(f.seen[i]);
    assert_int_equal(f.scanned, 10); /* the state is this object's: nothing is copied again */
    tr_replica_free(r);
}

static void sinks_must_have_what_they_promise(void **state)
{
    embedded *e = *state;
    tr_replica *r = NULL;
    tr_error err = {0};
    tr_sink half = {.scanned = feed_scanned};
    tr_replica_options o = {.table = "tab", .sink = &half};
    assert_int_equal(tr_replica_new(e->client, &o, &r, &err), TR_EINVAL);
    assert_non_null(strstr(err.message, "apply"));
    half = (tr_sink){.transactions = true, .apply = feed_apply, .scanned = feed_scanned};
    assert_int_equal(tr_replica_new(e->client, &o, &r, &err), TR_EINVAL);
    assert_non_null(strstr(err.message, "commit"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_copy_in_memory_is_read_walked_and_told),
        T(a_gap_is_mended_with_its_deletions),
        T(a_limit_of_memory_is_kept),
        T(readers_and_the_writer_do_not_disturb_each_other),
        T(sinks_with_transactions_get_every_change_once),
        T(sinks_without_transactions_get_every_change),
        T(sinks_must_have_what_they_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
