/* SPDX-License-Identifier: MIT */
/*
 * Subscriptions: history and stream in one order without gap or repeat, whatever is stopped
 * where.
 */
#include "event_world.h"

/* Takes `count` events, at most `max` at a time, and acknowledges: "ACCOUNTS a 1 OPENED, …". */
static const char *take(event_world *t, tr_subscription *s, size_t count, size_t max)
{
    tr_buf text;
    tr_subscribed_batch batch;
    tr_buf_init(&text, 1 << 20);
    for (size_t got = 0; got < count; got += batch.count) {
        size_t most = count - got < max ? count - got : max;
        int e = tr_subscription_next(s, most, PATIENCE_MS, &batch, &t->err);
        if (e)
            fail_msg("after %.*s: %s", TR_FMT(tr_buf_view(&text)), t->err.message);
        for (size_t i = 0; i < batch.count; i++)
            world_tell(&text, &batch.events[i]);
        assert_int_equal(tr_subscription_ack(s, batch.count, &t->err), 0);
    }
    const char *copy = tr_arena_str(&t->arena, tr_buf_view(&text));
    tr_buf_done(&text);
    return copy;
}

static void nothing_more(event_world *t, tr_subscription *s)
{
    tr_subscribed_batch batch;
    assert_int_equal(tr_subscription_next(s, 10, 300, &batch, &t->err), TR_ETIMEOUT);
}

static void history_comes_by_timestamp_then_the_stream(void **state)
{
    event_world *t = *state;
    world_push_history(t);
    tr_subscription *s = world_subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(take(t, s, 6, 4), HISTORY);
    world_push(t, t->loans, "b", "TAKEN", "2020-01-01T00:00:00.000Z", NULL);
    world_push(t, t->accounts, "a", "REOPENED", "2020-01-01T00:00:00.000Z", NULL);
    assert_string_equal(take(t, s, 2, 10), "LOANS b 1 TAKEN, ACCOUNTS a 4 REOPENED");
    nothing_more(t, s);
    tr_subscription_stats stats;
    tr_subscription_get_stats(s, &stats);
    assert_int_equal(stats.phase, TR_SUBSCRIPTION_LIVE);
    assert_int_equal(stats.delivered, 8);
    assert_int_equal(stats.scanned, 6);
    tr_subscription_free(s);
}

/* Takes `count` events and checks that each aggregate's come by version, from where `last` says. Names are
 * single letters. */
static void take_in_order(event_world *t, tr_subscription *s, size_t count, uint64_t last[2][128])
{
    tr_subscribed_batch batch;
    for (size_t got = 0; got < count; got += batch.count) {
        assert_int_equal(tr_subscription_next(s, count - got, PATIENCE_MS, &batch, &t->err), 0);
        for (size_t i = 0; i < batch.count; i++) {
            const tr_subscribed *e = &batch.events[i];
            uint64_t *newest = &last[tr_view_is(e->store_id, "LOANS")][e->event.aggregate_id.ptr[0] & 127];
            assert_int_equal(e->event.version, *newest + 1);
            *newest = e->event.version;
        }
        assert_int_equal(tr_subscription_ack(s, batch.count, &t->err), 0);
    }
}

static void by_aggregate_events_come_while_the_table_is_read(void **state)
{
    event_world *t = *state;
    uint64_t last[2][128] = {0};
    world_push_history(t);
    for (int i = 0; i < 24; i++)
        world_push(t, t->accounts, i % 2 ? "x" : "y", "COUNTED", "", NULL);
    /* ten rows a page, and the second page after ten seconds */
    tr_subscription_options o = {.history = TR_HISTORY_BY_AGGREGATE, .segments = 1, .rows_per_second = 1};
    tr_subscription *s = world_subscribe(t, &o);
    take_in_order(t, s, 10, last);
    tr_subscription_stats stats;
    tr_subscription_get_stats(s, &stats);
    assert_int_equal(stats.phase, TR_SUBSCRIPTION_READING);
    for (int i = 0; i < 4; i++)
        world_push(t, t->accounts, i % 2 ? "x" : "a", "COUNTED", "", NULL);
    tr_subscription_free(s);
    /* in this order the file goes on, and in no other */
    tr_subscription_options other = {.state = t->state};
    assert_int_equal(tr_subscription_new(t->e.client, &other, &s, &t->err), TR_EINVAL);
    o.rows_per_second = 0;
    s = world_subscribe(t, &o);
    take_in_order(t, s, 24, last);
    nothing_more(t, s);
    assert_int_equal(last[0]['a'], 5);
    assert_int_equal(last[0]['x'], 14);
    assert_int_equal(last[1]['a'], 2);
    tr_subscription_free(s);
}

static void what_was_not_acknowledged_comes_again(void **state)
{
    event_world *t = *state;
    world_push_history(t);
    tr_subscribed_batch batch;
    tr_subscription *s = world_subscribe(t, &(tr_subscription_options){0});
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), 0);
    assert_int_equal(batch.count, 6);
    assert_int_equal(tr_subscription_ack(s, 2, &t->err), 0);
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), 0);
    assert_int_equal(batch.count, 4);
    tr_subscription_free(s);
    /* another one goes on, with what came meanwhile behind */
    world_push(t, t->accounts, "c", "OPENED", "2020-01-01T00:00:00.000Z", NULL);
    s = world_subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(
        take(t, s, 5, 10),
        "LOANS a 1 TAKEN, LOANS a 2 PAID, ACCOUNTS a 2 CLOSED, ACCOUNTS a 3 AUDITED, ACCOUNTS c 1 OPENED");
    nothing_more(t, s);
    tr_subscription_free(s);
}

static void stores_types_and_times_select(void **state)
{
    event_world *t = *state;
    world_push_history(t);
    const char *stores[] = {"ACCOUNTS"}, *types[] = {"OPENED", "CLOSED"};
    tr_subscription_options o = {
        .select = {.stores = stores, .store_count = 1, .types = types, .type_count = 2},
        .from = TR_FROM_TIME,
        .from_ms = INT64_C(1767225602000)};
    tr_subscription *s = world_subscribe(t, &o);
    assert_string_equal(take(t, s, 2, 10), "ACCOUNTS b 1 OPENED, ACCOUNTS a 2 CLOSED");
    world_push(t, t->loans, "z", "OPENED", "", NULL);
    world_push(t, t->accounts, "z", "RENAMED", "", NULL);
    world_push(t, t->accounts, "z", "CLOSED", "2020-01-01T00:00:00.000Z", NULL);
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
    event_world *t = *state;
    world_push_history(t);
    tr_subscription_options o = {.from = TR_FROM_NOW};
    tr_subscription *s = world_subscribe(t, &o);
    nothing_more(t, s);
    world_push(t, t->accounts, "a", "REOPENED", "", NULL);
    world_push(t, t->accounts, "n", "OPENED", "", NULL);
    assert_string_equal(take(t, s, 2, 10), "ACCOUNTS a 4 REOPENED, ACCOUNTS n 1 OPENED");
    tr_subscription_free(s);
    world_push(t, t->accounts, "n", "CLOSED", "", NULL);
    s = world_subscribe(t, &o);
    assert_string_equal(take(t, s, 1, 10), "ACCOUNTS n 2 CLOSED");
    nothing_more(t, s);
    tr_subscription_free(s);
}

static void once_ends_when_all_is_acknowledged(void **state)
{
    event_world *t = *state;
    tr_subscribed_batch batch;
    world_push_history(t);
    tr_subscription_options o = {.once = true};
    tr_subscription *s = world_subscribe(t, &o);
    assert_string_equal(take(t, s, 6, 10), HISTORY);
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), TR_ECLOSED);
    tr_subscription_free(s);
    world_push(t, t->accounts, "n", "OPENED", "", NULL);
    s = world_subscribe(t, &o);
    assert_string_equal(take(t, s, 1, 10), "ACCOUNTS n 1 OPENED");
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), TR_ECLOSED);
    tr_subscription_free(s);
}

static void overwritten_events_come_again(void **state)
{
    event_world *t = *state;
    tr_subscribed_batch batch;
    world_push_history(t);
    tr_subscription *s = world_subscribe(t, &(tr_subscription_options){0});
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
    event_world *t = *state;
    world_push_history(t);
    tr_subscription *s = world_subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(take(t, s, 6, 10), HISTORY);
    tr_subscription_free(s);
    world_push(t, t->accounts, "c", "OPENED", "2026-01-01T00:00:07.000Z", NULL);
    world_push(t, t->accounts, "a", "REOPENED", "2026-01-01T00:00:06.000Z", NULL);
    embedded_call(t->e.client, "UpdateTable",
                  "{\"TableName\":\"events\",\"StreamSpecification\":{\"StreamEnabled\":false}}", NULL);
    world_push(t, t->accounts, "c", "CLOSED", "2026-01-01T00:00:08.000Z", NULL);
    embedded_call(t->e.client, "UpdateTable",
                  "{\"TableName\":\"events\",\"StreamSpecification\":{\"StreamEnabled\":true,"
                  "\"StreamViewType\":\"NEW_IMAGE\"}}",
                  NULL);
    s = world_subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(take(t, s, 3, 10), "ACCOUNTS a 4 REOPENED, ACCOUNTS c 1 OPENED, ACCOUNTS c 2 CLOSED");
    nothing_more(t, s);
    tr_subscription_free(s);
}

/* What has come says nothing about a table that was made anew under the same name. */
static void another_table_is_not_mistaken(void **state)
{
    event_world *t = *state;
    tr_schema_options schema = {.stream = true};
    tr_subscribed_batch batch;
    world_push_history(t);
    tr_subscription *s = world_subscribe(t, &(tr_subscription_options){0});
    assert_string_equal(take(t, s, 6, 10), HISTORY);
    tr_subscription_free(s);
    embedded_call(t->e.client, "DeleteTable", "{\"TableName\":\"events\"}", NULL);
    assert_int_equal(tr_schema_create(t->e.client, TR_SCHEMA_EVENTS, &schema, &t->err), 0);
    world_push(t, t->accounts, "a", "OPENED", "", NULL);
    s = world_subscribe(t, &(tr_subscription_options){0});
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &t->err), TR_EINVAL);
    assert_non_null(strstr(t->err.message, "made anew"));
    tr_subscription_free(s);
}

/* ------------------------------------------------------------------------------------------------ fleets */

static void a_fleet_shares_from_where_the_history_ends(void **state)
{
    event_world *t = *state;
    char second_state[128];
    tr_subscribed_batch batch;
    world_push_history(t);
    tr_fleet_options fleet = {.lease_table = "audit", .failover_ms = 20000};
    (void)snprintf(second_state, sizeof second_state, "%s2", t->state);
    tr_subscription_options o = {.fleet = &fleet, .state = t->state},
                            o2 = {.fleet = &fleet, .state = second_state};
    tr_subscription *first = world_subscribe(t, &o), *second = world_subscribe(t, &o2);
    assert_string_equal(take(t, first, 6, 4), HISTORY);
    nothing_more(t, second); /* it waits */
    for (int i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%d", i);
        world_push(t, t->accounts, name, "OPENED", "", NULL);
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
    world_push(t, t->accounts, "late", "OPENED", "", NULL);
    assert_string_equal(take(t, second, 1, 10), "ACCOUNTS late 1 OPENED");
    tr_subscription_free(second);
}

static void workers_on_one_machine_share_a_file(void **state)
{
    event_world *t = *state;
    world_push_history(t);
    tr_fleet_options fleet = {.lease_table = "audit", .failover_ms = 300000};
    tr_subscription_options o = {.fleet = &fleet, .state = t->state};
    tr_subscription *first = world_subscribe(t, &o), *second = world_subscribe(t, &o);
    (void)take(t, first, 2, 2);
    nothing_more(t, second);
    tr_subscription_free(first);
    assert_string_equal(take(t, second, 4, 10),
                        "LOANS a 1 TAKEN, LOANS a 2 PAID, ACCOUNTS a 2 CLOSED, ACCOUNTS a 3 AUDITED");
    world_push(t, t->accounts, "late", "OPENED", "", NULL);
    assert_string_equal(take(t, second, 1, 10), "ACCOUNTS late 1 OPENED");
    tr_subscription_free(second);
}

static void another_worker_takes_over_the_history(void **state)
{
    event_world *t = *state;
    char second_state[128];
    world_push_history(t);
    tr_fleet_options fleet = {.lease_table = "audit", .failover_ms = 1000};
    (void)snprintf(second_state, sizeof second_state, "%s2", t->state);
    tr_subscription_options o = {.fleet = &fleet, .state = t->state},
                            o2 = {.fleet = &fleet, .state = second_state};
    tr_subscription *first = world_subscribe(t, &o);
    (void)take(t, first, 2, 2);
    tr_subscription_free(first); /* gives its role back */
    tr_subscription *second = world_subscribe(t, &o2);
    assert_string_equal(take(t, second, 6, 10), HISTORY);
    world_push(t, t->accounts, "late", "OPENED", "", NULL);
    assert_string_equal(take(t, second, 1, 10), "ACCOUNTS late 1 OPENED");
    tr_subscription_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
        T(history_comes_by_timestamp_then_the_stream),
        T(by_aggregate_events_come_while_the_table_is_read),
        T(what_was_not_acknowledged_comes_again),
        T(stores_types_and_times_select),
        T(from_now_leaves_the_history_out),
        T(once_ends_when_all_is_acknowledged),
        T(overwritten_events_come_again),
        T(lost_records_are_read_from_the_table),
        T(another_table_is_not_mistaken),
        T(a_fleet_shares_from_where_the_history_ends),
        T(workers_on_one_machine_share_a_file),
        T(another_worker_takes_over_the_history)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
