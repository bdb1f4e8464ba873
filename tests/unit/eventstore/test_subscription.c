/* SPDX-License-Identifier: MIT */
/*
 * Subscriptions and pouring: history and stream in one order without gap or repeat, whatever is stopped
 * where.
 */
#include "../embedded.h"

#include <tailrace/schema.h>
#include <tailrace/subscription.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE_MS 60000

typedef struct test {
    embedded e;
    tr_eventstore *accounts, *loans;
    tr_arena arena;
    char directory[64], state[96];
    tr_error err;
} test;

static void make_table(tr_client *client)
{
    tr_schema_options o = {.stream = true};
    tr_error err = {0};
    if (tr_schema_create(client, TR_SCHEMA_EVENTS, &o, &err))
        fail_msg("%s", err.message);
}

static tr_eventstore *open_store(test *t, const char *id)
{
    tr_eventstore *store;
    tr_eventstore_options o = {.store_id = id};
    if (tr_eventstore_new(t->e.client, &o, &store, &t->err))
        fail_msg("%s", t->err.message);
    return store;
}

static int set_up(void **state)
{
    static test t;
    t = (test){0};
    embedded_open(&t.e, NULL);
    make_table(t.e.client);
    t.accounts = open_store(&t, "ACCOUNTS");
    t.loans = open_store(&t, "LOANS");
    tr_arena_init(&t.arena, (size_t)64 << 20);
    (void)snprintf(t.directory, sizeof t.directory, "%s/subscription-XXXXXX",
                   getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(t.directory));
    (void)snprintf(t.state, sizeof t.state, "%s/inbox", t.directory);
    *state = &t;
    return 0;
}

static int tear_down(void **state)
{
    test *t = *state;
    char command[160];
    tr_eventstore_free(t->accounts);
    tr_eventstore_free(t->loans);
    tr_arena_done(&t->arena);
    embedded_close(&t->e);
    (void)snprintf(command, sizeof command, "rm -rf %s", t->directory);
    return system(command);
}

static void push(test *t, tr_eventstore *store, const char *aggregate, const char *type,
                 const char *timestamp)
{
    tr_event e = {.aggregate_id = tr_view_str(aggregate),
                  .type = tr_view_str(type),
                  .timestamp = tr_view_str(timestamp)};
    tr_push_options o = {.expect = TR_EXPECT_ANY};
    if (tr_eventstore_push_wait(store, &e, 1, &o, &t->arena, &t->err))
        fail_msg("%s", t->err.message);
}

static tr_subscription *subscribe(test *t, const tr_subscription_options *options)
{
    tr_subscription *s;
    tr_subscription_options o = *options;
    if (!o.state && !o.fleet)
        o.state = t->state;
    if (tr_subscription_new(t->e.client, &o, &s, &t->err))
        fail_msg("%s", t->err.message);
    return s;
}

/* Takes `count` events, at most `max` at a time, and acknowledges: "ACCOUNTS a 1 OPENED, …". */
static const char *take(test *t, tr_subscription *s, size_t count, size_t max)
{
    tr_buf text;
    tr_subscribed_batch batch;
    tr_buf_init(&text, 1 << 20);
    for (size_t got = 0; got < count; got += batch.count) {
        size_t most = count - got < max ? count - got : max;
        int e = tr_subscription_next(s, most, PATIENCE_MS, &batch, &t->err);
        if (e)
            fail_msg("after %.*s: %s", TR_FMT(tr_buf_view(&text)), t->err.message);
        for (size_t i = 0; i < batch.count; i++) {
            const tr_event *v = &batch.events[i].event;
            tr_buf_printf(&text, "%s%.*s %.*s %llu %.*s", text.len ? ", " : "",
                          TR_FMT(batch.events[i].store_id), TR_FMT(v->aggregate_id),
                          (unsigned long long)v->version, TR_FMT(v->type));
        }
        assert_int_equal(tr_subscription_ack(s, batch.count, &t->err), 0);
    }
    const char *copy = tr_arena_str(&t->arena, tr_buf_view(&text));
    tr_buf_done(&text);
    return copy;
}

static void nothing_more(test *t, tr_subscription *s)
{
    tr_subscribed_batch batch;
    assert_int_equal(tr_subscription_next(s, 10, 300, &batch, &t->err), TR_ETIMEOUT);
}

static void push_history(test *t)
{
    push(t, t->accounts, "a", "OPENED", "2026-01-01T00:00:01.000Z");
    push(t, t->loans, "a", "TAKEN", "2026-01-01T00:00:02.000Z");
    push(t, t->accounts, "b", "OPENED", "2026-01-01T00:00:02.000Z");
    push(t, t->accounts, "a", "CLOSED", "2026-01-01T00:00:05.000Z");
    push(t, t->accounts, "a", "AUDITED", "2026-01-01T00:00:03.000Z"); /* a clock that was behind */
    push(t, t->loans, "a", "PAID", "2026-01-01T00:00:04.000Z");
}

#define HISTORY                                                                                              \
    "ACCOUNTS a 1 OPENED, ACCOUNTS b 1 OPENED, LOANS a 1 TAKEN, LOANS a 2 PAID, ACCOUNTS a 2 CLOSED, "       \
    "ACCOUNTS a 3 AUDITED"

static void history_comes_by_timestamp_then_the_stream(void **state)
{
    test *t = *state;
    push_history(t);
    tr_subscription *s = subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(take(t, s, 6, 4), HISTORY);
    push(t, t->loans, "b", "TAKEN", "2020-01-01T00:00:00.000Z");
    push(t, t->accounts, "a", "REOPENED", "2020-01-01T00:00:00.000Z");
    assert_string_equal(take(t, s, 2, 10), "LOANS b 1 TAKEN, ACCOUNTS a 4 REOPENED");
    nothing_more(t, s);
    tr_subscription_stats stats;
    tr_subscription_get_stats(s, &stats);
    assert_int_equal(stats.phase, TR_SUBSCRIPTION_LIVE);
    assert_int_equal(stats.delivered, 8);
    assert_int_equal(stats.scanned, 6);
    tr_subscription_free(s);
}

static void what_was_not_acknowledged_comes_again(void **state)
{
    test *t = *state;
    push_history(t);
    tr_subscribed_batch batch;
    tr_subscription *s = subscribe(t, &(tr_subscription_options){0});
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), 0);
    assert_int_equal(batch.count, 6);
    assert_int_equal(tr_subscription_ack(s, 2, &t->err), 0);
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), 0);
    assert_int_equal(batch.count, 4);
    tr_subscription_free(s);
    /* another one goes on, with what came meanwhile behind */
    push(t, t->accounts, "c", "OPENED", "2020-01-01T00:00:00.000Z");
    s = subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(
        take(t, s, 5, 10),
        "LOANS a 1 TAKEN, LOANS a 2 PAID, ACCOUNTS a 2 CLOSED, ACCOUNTS a 3 AUDITED, ACCOUNTS c 1 OPENED");
    nothing_more(t, s);
    tr_subscription_free(s);
}

static void stores_types_and_times_select(void **state)
{
    test *t = *state;
    push_history(t);
    const char *stores[] = {"ACCOUNTS"}, *types[] = {"OPENED", "CLOSED"};
    tr_subscription_options o = {
        .select = {.stores = stores, .store_count = 1, .types = types, .type_count = 2},
        .from = TR_FROM_TIME,
        .from_ms = INT64_C(1767225602000)};
    tr_subscription *s = subscribe(t, &o);
    assert_string_equal(take(t, s, 2, 10), "ACCOUNTS b 1 OPENED, ACCOUNTS a 2 CLOSED");
    push(t, t->loans, "z", "OPENED", "");
    push(t, t->accounts, "z", "RENAMED", "");
    push(t, t->accounts, "z", "CLOSED", "2020-01-01T00:00:00.000Z");
    assert_string_equal(take(t, s, 1, 10), "ACCOUNTS z 2 CLOSED");
    nothing_more(t, s);
    /* one at a time; and the file is for these events alone */
    tr_subscription *second;
    tr_subscription_options other = {.state = t->state};
    assert_int_equal(tr_subscription_new(t->e.client, &other, &second, &t->err), TR_EBUSY);
    tr_subscription_free(s);
    assert_int_equal(tr_subscription_new(t->e.client, &other, &second, &t->err), TR_EINVAL);
}

static void from_now_leaves_the_history_out(void **state)
{
    test *t = *state;
    push_history(t);
    tr_subscription_options o = {.from = TR_FROM_NOW};
    tr_subscription *s = subscribe(t, &o);
    nothing_more(t, s);
    push(t, t->accounts, "a", "REOPENED", "");
    push(t, t->accounts, "n", "OPENED", "");
    assert_string_equal(take(t, s, 2, 10), "ACCOUNTS a 4 REOPENED, ACCOUNTS n 1 OPENED");
    tr_subscription_free(s);
    push(t, t->accounts, "n", "CLOSED", "");
    s = subscribe(t, &o);
    assert_string_equal(take(t, s, 1, 10), "ACCOUNTS n 2 CLOSED");
    nothing_more(t, s);
    tr_subscription_free(s);
}

static void once_ends_when_all_is_acknowledged(void **state)
{
    test *t = *state;
    tr_subscribed_batch batch;
    push_history(t);
    tr_subscription_options o = {.once = true};
    tr_subscription *s = subscribe(t, &o);
    assert_string_equal(take(t, s, 6, 10), HISTORY);
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), TR_ECLOSED);
    tr_subscription_free(s);
    push(t, t->accounts, "n", "OPENED", "");
    s = subscribe(t, &o);
    assert_string_equal(take(t, s, 1, 10), "ACCOUNTS n 1 OPENED");
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), TR_ECLOSED);
    tr_subscription_free(s);
}

static void overwritten_events_come_again(void **state)
{
    test *t = *state;
    tr_subscribed_batch batch;
    push_history(t);
    tr_subscription *s = subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(take(t, s, 6, 10), HISTORY);
    tr_event e = {.aggregate_id = TR_VIEW("a"), .version = 2, .type = TR_VIEW("RECLOSED")};
    tr_push_options o = {.force = true};
    assert_int_equal(tr_eventstore_push_wait(t->accounts, &e, 1, &o, &t->arena, &t->err), 0);
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), 0);
    assert_int_equal(batch.count, 1);
    assert_true(batch.events[0].overwritten && batch.events[0].live);
    assert_true(tr_view_is(batch.events[0].event.type, "RECLOSED"));
    tr_subscription_free(s);
}

/* A stream that was lost: what it would have brought is found in the table. */
static void lost_records_are_read_from_the_table(void **state)
{
    test *t = *state;
    push_history(t);
    tr_subscription *s = subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(take(t, s, 6, 10), HISTORY);
    tr_subscription_free(s);
    push(t, t->accounts, "c", "OPENED", "2026-01-01T00:00:07.000Z");
    push(t, t->accounts, "a", "REOPENED", "2026-01-01T00:00:06.000Z");
    embedded_call(t->e.client, "UpdateTable",
                  "{\"TableName\":\"events\",\"StreamSpecification\":{\"StreamEnabled\":false}}", NULL);
    push(t, t->accounts, "c", "CLOSED", "2026-01-01T00:00:08.000Z");
    embedded_call(t->e.client, "UpdateTable",
                  "{\"TableName\":\"events\",\"StreamSpecification\":{\"StreamEnabled\":true,"
                  "\"StreamViewType\":\"NEW_IMAGE\"}}",
                  NULL);
    s = subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(take(t, s, 3, 10), "ACCOUNTS a 4 REOPENED, ACCOUNTS c 1 OPENED, ACCOUNTS c 2 CLOSED");
    nothing_more(t, s);
    tr_subscription_free(s);
}

/* ------------------------------------------------------------------------------------------------ fleets */

static void a_fleet_shares_from_where_the_history_ends(void **state)
{
    test *t = *state;
    char second_state[128];
    tr_subscribed_batch batch;
    push_history(t);
    tr_fleet_options fleet = {.lease_table = "audit", .failover_ms = 2000};
    (void)snprintf(second_state, sizeof second_state, "%s2", t->state);
    tr_subscription_options o = {.fleet = &fleet, .state = t->state},
                            o2 = {.fleet = &fleet, .state = second_state};
    tr_subscription *first = subscribe(t, &o), *second = subscribe(t, &o2);
    assert_string_equal(take(t, first, 6, 4), HISTORY);
    nothing_more(t, second); /* it waits */
    for (int i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%d", i);
        push(t, t->accounts, name, "OPENED", "");
    }
    /* each event comes to one of them */
    unsigned seen[40] = {0}, count = 0;
    for (int64_t until = tr_clock_mono_ms() + PATIENCE_MS; count < 40 && tr_clock_mono_ms() < until;) {
        tr_subscription *of[] = {first, second};
        for (int k = 0; k < 2; k++) {
            int e = tr_subscription_next(of[k], 5, 50, &batch, &t->err);
            if (e == TR_ETIMEOUT)
                continue;
            if (e)
                fail_msg("%s", t->err.message);
            for (size_t i = 0; i < batch.count; i++, count++) {
                tr_view id = batch.events[i].event.aggregate_id;
                seen[atoi(tr_arena_str(&t->arena, tr_view_of(id.ptr + 1, id.len - 1)))]++;
            }
            assert_int_equal(tr_subscription_ack(of[k], batch.count, &t->err), 0);
        }
    }
    for (int i = 0; i < 40; i++)
        assert_int_equal(seen[i], 1);
    nothing_more(t, first);
    nothing_more(t, second);
    tr_subscription_free(first);
    push(t, t->accounts, "late", "OPENED", "");
    assert_string_equal(take(t, second, 1, 10), "ACCOUNTS late 1 OPENED");
    tr_subscription_free(second);
}

static void another_worker_takes_over_the_history(void **state)
{
    test *t = *state;
    char second_state[128];
    push_history(t);
    tr_fleet_options fleet = {.lease_table = "audit", .failover_ms = 1000};
    (void)snprintf(second_state, sizeof second_state, "%s2", t->state);
    tr_subscription_options o = {.fleet = &fleet, .state = t->state},
                            o2 = {.fleet = &fleet, .state = second_state};
    tr_subscription *first = subscribe(t, &o);
    (void)take(t, first, 2, 2);
    tr_subscription_free(first); /* gives its role back */
    tr_subscription *second = subscribe(t, &o2);
    assert_string_equal(take(t, second, 6, 10), HISTORY);
    push(t, t->accounts, "late", "OPENED", "");
    assert_string_equal(take(t, second, 1, 10), "ACCOUNTS late 1 OPENED");
    tr_subscription_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        T(history_comes_by_timestamp_then_the_stream),
        T(what_was_not_acknowledged_comes_again),
        T(stores_types_and_times_select),
        T(from_now_leaves_the_history_out),
        T(once_ends_when_all_is_acknowledged),
        T(overwritten_events_come_again),
        T(lost_records_are_read_from_the_table),
        T(a_fleet_shares_from_where_the_history_ends),
        T(another_worker_takes_over_the_history)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
