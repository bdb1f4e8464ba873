/* SPDX-License-Identifier: MIT */
#include "store_test.h"

#include <tailrace/aggregate.h>

#include <inttypes.h>

/* ------------------------------------------------------------------------------------------------- account
 */

struct account {
    int64_t balance;
    unsigned events; /* folded, which a snapshot does not count again */
};

static unsigned folded; /* by all accounts */

static int64_t amount_of(const tr_event *event)
{
    tr_value n;
    int64_t amount;
    return event->payload.type == TR_M && tr_item_get(event->payload.payload, TR_VIEW("n"), &n) == 0 &&
                   tr_number_to_i64(n.payload, &amount) == 0
               ? amount
               : 0;
}

static int apply(void *ctx, void *state, const tr_event *event, tr_error *err)
{
    struct account *a = state;
    (void)ctx;
    if (tr_view_is(event->type, "BAD"))
        return tr_fail(err, TR_ECORRUPT, "a bad event");
    a->balance += amount_of(event);
    a->events++;
    folded++;
    return 0;
}

static int save(void *ctx, const void *state, tr_packer *packer)
{
    const struct account *a = state;
    (void)ctx;
    tr_pack_name(packer, TR_VIEW("balance"));
    tr_pack_n_i64(packer, a->balance);
    return 0;
}

static int load(void *ctx, void *state, tr_item saved)
{
    struct account *a = state;
    tr_value balance;
    (void)ctx;
    return tr_item_get(saved, TR_VIEW("balance"), &balance) || tr_number_to_i64(balance.payload, &a->balance)
               ? TR_ECORRUPT
               : 0;
}

static const tr_reducer account = {.name = "account",
                                   .version = "1",
                                   .size = sizeof(struct account),
                                   .apply = apply,
                                   .save = save,
                                   .load = load};

static const struct account *state_of(const tr_aggregate *a)
{
    return tr_aggregate_state(a);
}

/* ------------------------------------------------------------------------------------------------- set-up */

static int set_up(void **state)
{
    static world w;
    world_open(&w);
    assert_int_equal(tr_schema_create(w.client, TR_SCHEMA_SNAPSHOTS, NULL, &w.err), 0);
    folded = 0;
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    world_close(*state);
    return 0;
}

static void push_many(world *w, const char *id, unsigned count)
{
    for (unsigned i = 1; i <= count; i++) {
        tr_event e = make_event(w, id, i, "MOVED", i);
        e.timestamp = tr_view_str(tr_arena_printf(&w->arena, "2026-01-01T00:%02u:%02u.000Z", i / 60, i % 60));
        assert_int_equal(tr_eventstore_push_wait(w->store, &e, 1, NULL, &w->arena, &w->err), 0);
    }
}

static tr_aggregate *get(world *w, const char *id, tr_aggregate_options o)
{
    tr_aggregate *a = NULL;
    if (tr_aggregate_get_wait(w->store, &account, tr_view_str(id), &o, &a, &w->err))
        fail_msg("%s", w->err.message);
    return a;
}

static int64_t balance(world *w, const char *id, tr_aggregate_options o, uint64_t version)
{
    tr_aggregate *a = get(w, id, o);
    int64_t result = state_of(a)->balance;
    assert_int_equal(tr_aggregate_version(a), version);
    tr_aggregate_free(a);
    return result;
}

/* ------------------------------------------------------------------------------------------------- reading
 */

static void test_events_are_folded(void **state)
{
    world *w = *state;
    push_many(w, "a", 5);
    assert_int_equal(balance(w, "a", (tr_aggregate_options){0}, 5), 15);
    assert_int_equal(balance(w, "a", (tr_aggregate_options){.max_version = 3}, 3), 6);
    int64_t at;
    assert_int_equal(tr_time_parse(TR_VIEW("2026-01-01T00:00:02.500Z"), &at), 0);
    assert_int_equal(balance(w, "a", (tr_aggregate_options){.until_ms = at}, 2), 3);
    assert_int_equal(balance(w, "nobody", (tr_aggregate_options){0}, 0), 0);
    tr_aggregate *a = get(w, "a", (tr_aggregate_options){0});
    assert_view(tr_aggregate_timestamp(a), "2026-01-01T00:00:05.000Z");
    assert_view(tr_aggregate_id(a), "a");
    tr_aggregate_free(a);
}

static void test_an_aggregate_that_must_exist(void **state)
{
    world *w = *state;
    tr_aggregate *a = NULL;
    tr_aggregate_options o = {.must_exist = true};
    assert_int_equal(tr_aggregate_get_wait(w->store, &account, TR_VIEW("x"), &o, &a, &w->err), TR_ENOTFOUND);
    assert_string_equal(w->err.type, "AggregateNotFoundError");
    assert_string_equal(w->err.message, "Unable to find aggregate x in event store ACCOUNTS.");
}

static void test_a_reducers_error_is_the_readers(void **state)
{
    world *w = *state;
    tr_aggregate *a = NULL;
    tr_event e = make_event(w, "b", 1, "BAD", 1);
    assert_int_equal(tr_eventstore_push_wait(w->store, &e, 1, NULL, &w->arena, &w->err), 0);
    assert_int_equal(tr_aggregate_get_wait(w->store, &account, TR_VIEW("b"), NULL, &a, &w->err), TR_ECORRUPT);
    assert_string_equal(w->err.message, "a bad event");
}

static int add_interest(void *ctx, tr_simulation *s, const tr_event *event)
{
    tr_event interest = *event;
    (void)ctx;
    int e = tr_simulation_add(s, event);
    interest.version = event->version + 100;
    interest.timestamp = TR_VIEW("2026-12-31T00:00:00.000Z");
    return e ? e : tr_simulation_add(s, &interest);
}

static void test_simulations(void **state)
{
    world *w = *state;
    tr_aggregate *a = NULL;
    tr_event e[3] = {make_event(w, "s", 1, "MOVED", 1), make_event(w, "s", 2, "MOVED", 10),
                     make_event(w, "s", 2, "MOVED", 100)};
    e[0].timestamp = TR_VIEW("2026-01-02T00:00:00.000Z");
    e[1].timestamp = e[2].timestamp = TR_VIEW("2026-01-01T00:00:00.000Z");
    assert_int_equal(tr_aggregate_simulate(&account, e, 3, NULL, &a, &w->err), 0);
    assert_int_equal(state_of(a)->balance, 101); /* the later one of version 2 counts */
    assert_int_equal(tr_aggregate_version(a), 2);
    assert_view(tr_aggregate_timestamp(a), "2026-01-02T00:00:00.000Z");
    tr_aggregate_free(a);
    tr_simulation_options o = {.until = TR_VIEW("2026-01-01T12:00:00.000Z")};
    assert_int_equal(tr_aggregate_simulate(&account, e, 3, &o, &a, &w->err), 0);
    assert_int_equal(state_of(a)->balance, 100);
    tr_aggregate_free(a);
    o = (tr_simulation_options){.side_effect = add_interest};
    assert_int_equal(tr_aggregate_simulate(&account, e, 1, &o, &a, &w->err), 0);
    assert_int_equal(tr_aggregate_version(a), 2);
    assert_int_equal(state_of(a)->balance, 2);
    tr_aggregate_free(a);
}

/* ----------------------------------------------------------------------------------------------- snapshots
 */

static tr_snapshots *snapshots(world *w, tr_snapshots_options o)
{
    tr_snapshots *s;
    assert_int_equal(tr_snapshots_new(w->client, &o, &s, &w->err), 0);
    return s;
}

static uint64_t begins_at(world *w, tr_aggregate_options o)
{
    tr_aggregate *a = get(w, "a", o);
    uint64_t at = tr_aggregate_snapshot_version(a);
    assert_int_equal(tr_snapshots_flush(o.snapshots, 5000), 0);
    tr_aggregate_free(a);
    return at;
}

static void test_reading_begins_at_a_snapshot(void **state)
{
    world *w = *state;
    push_many(w, "a", 25);
    tr_snapshots *s = snapshots(w, (tr_snapshots_options){.every = 10, .on_read = true, .keep_all = true});
    tr_aggregate_options o = {.snapshots = s};
    assert_int_equal(balance(w, "a", o, 25), 325);
    assert_int_equal(folded, 25);
    assert_int_equal(tr_snapshots_flush(s, 5000), 0);
    assert_int_equal(begins_at(w, o), 25);
    assert_int_equal(folded, 25);
    assert_int_equal(balance(w, "a", o, 25), 325);
    /* an older version, and an older time, have no use for it */
    assert_int_equal(balance(w, "a", (tr_aggregate_options){.snapshots = s, .max_version = 12}, 12), 78);
    assert_int_equal(tr_snapshots_flush(s, 5000), 0);
    assert_int_equal(begins_at(w, (tr_aggregate_options){.snapshots = s, .max_version = 20}), 12);
    int64_t at;
    assert_int_equal(tr_time_parse(TR_VIEW("2026-01-01T00:00:14.000Z"), &at), 0);
    assert_int_equal(begins_at(w, (tr_aggregate_options){.snapshots = s, .until_ms = at}), 12);
    assert_int_equal(balance(w, "a", (tr_aggregate_options){.snapshots = s, .until_ms = at}, 14), 105);
    tr_snapshots_free(s);
}

static void test_a_new_snapshot_replaces_the_old_one(void **state)
{
    world *w = *state;
    tr_buf reply;
    tr_snapshots *s = snapshots(w, (tr_snapshots_options){.every = 2, .on_read = true});
    tr_aggregate_options o = {.snapshots = s};
    push_many(w, "a", 4);
    assert_int_equal(begins_at(w, o), 4); /* taken at the end of the read */
    (void)push_ok(w, w->store, "a", 0, TR_EXPECT_ANY, 1);
    (void)push_ok(w, w->store, "a", 0, TR_EXPECT_ANY, 1);
    assert_int_equal(begins_at(w, o), 6);
    tr_buf_init(&reply, 65536);
    world_call(w, "Scan", "{\"TableName\":\"snapshots\"}", &reply);
    assert_true(tr_view_find(tr_buf_view(&reply), TR_VIEW("\"Count\":1"), 0) != SIZE_MAX);
    assert_true(tr_view_find(tr_buf_view(&reply), TR_VIEW("\"ACCOUNTS#account@1#a\""), 0) != SIZE_MAX);
    assert_true(tr_view_find(tr_buf_view(&reply), TR_VIEW("\"expiresAt\""), 0) == SIZE_MAX);
    tr_buf_done(&reply);
    tr_snapshots_free(s);
}

static void test_snapshots_of_another_reducer_are_not_looked_at(void **state)
{
    world *w = *state;
    tr_snapshots *s = snapshots(w, (tr_snapshots_options){.every = 1, .on_read = true});
    tr_reducer newer = account;
    tr_aggregate_options o = {.snapshots = s};
    tr_aggregate *a;
    newer.version = "2";
    push_many(w, "a", 3);
    assert_int_equal(begins_at(w, o), 3);
    assert_int_equal(begins_at(w, o), 3);
    folded = 0;
    assert_int_equal(tr_aggregate_get_wait(w->store, &newer, TR_VIEW("a"), &o, &a, &w->err), 0);
    assert_int_equal(folded, 3);
    tr_aggregate_free(a);
    assert_int_equal(tr_snapshots_flush(s, 5000), 0);
    tr_snapshots_free(s);
}

static void count_message(void *ctx, tr_log_level level, const char *message)
{
    (void)level, (void)message;
    ++*(unsigned *)ctx;
}

static void test_without_their_table_reading_goes_on(void **state)
{
    world *w = *state;
    unsigned told = 0;
    tr_snapshots *s =
        snapshots(w, (tr_snapshots_options){
                         .table = "missing", .every = 1, .on_read = true, .logger = {count_message, &told}});
    push_many(w, "a", 3);
    assert_int_equal(balance(w, "a", (tr_aggregate_options){.snapshots = s}, 3), 6);
    assert_int_equal(tr_snapshots_flush(s, 5000), 0);
    assert_int_equal(told, 2); /* neither read nor written */
    tr_snapshots_free(s);
    s = snapshots(w, (tr_snapshots_options){.table = "events"});
    tr_aggregate *a;
    tr_aggregate_options o = {.snapshots = s};
    assert_int_equal(tr_aggregate_get_wait(w->store, &account, TR_VIEW("a"), &o, &a, &w->err), TR_EINVAL);
    tr_snapshots_free(s);
}

/* ------------------------------------------------------------------------------------------------ commands
 */

struct order {
    world *w;
    int64_t amount;
    unsigned decided;
    bool rival; /* another writer pushes while it is decided, the first time */
};

static void rival_push(world *w)
{
    static const char put[] = "{\"TableName\":\"events\",\"Item\":{\"aggregateId\":{\"S\":\"ACCOUNTS#c\"},"
                              "\"version\":{\"N\":\"2\"},"
                              "\"type\":{\"S\":\"RIVAL\"},\"timestamp\":{\"S\":\"2026-01-01T00:00:00.000Z\"},"
                              "\"payload\":{\"M\":{\"n\":{\"N\":\"-90\"}}}}}";
    tr_request r = {.service = TR_DYNAMODB, .operation = "PutItem", .body = tr_view_str(put)};
    w->before_write = NULL;
    world_send_first(w, &r);
}

static int withdraw(void *ctx, const tr_aggregate *const *aggregates, tr_decision *decision, tr_error *err)
{
    struct order *o = ctx;
    o->decided++;
    if (o->rival) {
        o->rival = false;
        o->w->before_write = rival_push;
    }
    if (state_of(aggregates[0])->balance < o->amount)
        return tr_fail(err, TR_EINVAL, "not enough: %" PRId64, state_of(aggregates[0])->balance);
    tr_event e = make_event(o->w, "", 0, "WITHDRAWN", -o->amount);
    return tr_decide(decision, e.type, e.payload);
}

static int command(world *w, struct order *o, tr_command_target *targets, size_t count, tr_decide_fn *fn,
                   bool check)
{
    tr_command c = {.targets = targets, .target_count = count, .decide = fn, .ctx = o, .check_all = check};
    size_t pushed;
    o->w = w;
    return tr_command_run_wait(&c, &pushed, &w->err);
}

static void test_a_command_loads_decides_and_pushes(void **state)
{
    world *w = *state;
    (void)push_ok(w, w->store, "c", 1, TR_EXPECT_NONE, 100);
    tr_command_target target = {.store = w->store, .reducer = &account, .aggregate_id = TR_VIEW("c")};
    struct order o = {.amount = 30};
    assert_int_equal(command(w, &o, &target, 1, withdraw, false), 0);
    assert_string_equal(w->operation, "PutItem");
    assert_non_null(strstr(w->body, "\"correlationId\""));
    assert_non_null(strstr(w->body, "\"causationId\""));
    assert_int_equal(balance(w, "c", (tr_aggregate_options){0}, 2), 70);
    o.amount = 1000;
    assert_int_equal(command(w, &o, &target, 1, withdraw, false), TR_EINVAL);
    assert_string_equal(w->err.message, "not enough: 70");
    assert_string_equal(versions_of(w, w->store, "c"), "1 2");
}

static void test_a_command_that_lost_a_race_decides_again(void **state)
{
    world *w = *state;
    (void)push_ok(w, w->store, "c", 1, TR_EXPECT_NONE, 100);
    tr_command_target target = {.store = w->store, .reducer = &account, .aggregate_id = TR_VIEW("c")};
    struct order o = {.amount = 10, .rival = true};
    assert_int_equal(command(w, &o, &target, 1, withdraw, false), 0);
    assert_int_equal(o.decided, 2);
    assert_int_equal(balance(w, "c", (tr_aggregate_options){0}, 3), 0);
    /* and may find that it cannot be any more */
    o = (struct order){.amount = 10};
    assert_int_equal(command(w, &o, &target, 1, withdraw, false), TR_EINVAL);
}

static int transfer(void *ctx, const tr_aggregate *const *aggregates, tr_decision *decision, tr_error *err)
{
    struct order *o = ctx;
    if (state_of(aggregates[0])->balance < o->amount)
        return tr_fail(err, TR_EINVAL, "not enough");
    tr_event out = make_event(o->w, "", 0, "SENT", -o->amount),
             in = make_event(o->w, "", 0, "RECEIVED", o->amount);
    int e = tr_decide_on(decision, 0, &out);
    return e ? e : tr_decide_on(decision, 1, &in);
}

static void test_a_command_over_several_aggregates_is_one_transaction(void **state)
{
    world *w = *state;
    (void)push_ok(w, w->store, "a", 1, TR_EXPECT_NONE, 50);
    tr_command_target targets[3] = {
        {.store = w->store, .reducer = &account, .aggregate_id = TR_VIEW("a")},
        {.store = w->other, .reducer = &account, .aggregate_id = TR_VIEW("b")},
        {.store = w->store, .reducer = &account, .aggregate_id = TR_VIEW("seen")}};
    struct order o = {.amount = 20};
    assert_int_equal(command(w, &o, targets, 3, transfer, true), 0);
    assert_string_equal(w->operation, "TransactWriteItems");
    assert_non_null(strstr(w->body, "ConditionCheck"));
    assert_int_equal(balance(w, "a", (tr_aggregate_options){0}, 2), 30);
    assert_string_equal(versions_of(w, w->other, "b"), "1");
    targets[2].must_exist = true;
    assert_int_equal(command(w, &o, targets, 3, transfer, true), TR_ENOTFOUND);
    targets[1] = targets[0];
    assert_int_equal(command(w, &o, targets, 2, transfer, false), TR_EINVAL);
}

static void test_a_cause_is_carried_on(void **state)
{
    world *w = *state;
    tr_event cause;
    const char *json =
        "{\"aggregateId\":\"x\",\"version\":4,\"type\":\"T\",\"metadata\":{\"correlationId\":\"first\"}}";
    assert_int_equal(tr_event_from_json(tr_view_str(json), &w->arena, &cause, &w->err), 0);
    (void)push_ok(w, w->store, "c", 1, TR_EXPECT_NONE, 100);
    tr_command_target target = {.store = w->store, .reducer = &account, .aggregate_id = TR_VIEW("c")};
    struct order o = {.w = w, .amount = 1};
    tr_command c = {.targets = &target,
                    .target_count = 1,
                    .decide = withdraw,
                    .ctx = &o,
                    .cause = &cause,
                    .cause_store = TR_VIEW("LOANS")};
    assert_int_equal(tr_command_run_wait(&c, NULL, &w->err), 0);
    assert_non_null(strstr(
        w->body,
        "\"metadata\":{\"M\":{\"causationId\":{\"S\":\"LOANS#x#4\"},\"correlationId\":{\"S\":\"first\"}}}"));
}

/* --------------------------------------------------------------------------------------------------- rules
 */

static void fold_rules(world *w, const char *rules_json, const char *const *events, const char *want)
{
    tr_rules *rules;
    tr_aggregate *a;
    tr_buf out;
    tr_json_writer j;
    if (tr_rules_new(tr_view_str(rules_json), &rules, &w->err))
        fail_msg("%s", w->err.message);
    assert_int_equal(tr_aggregate_new(tr_rules_reducer(rules), TR_VIEW("a"), &a, &w->err), 0);
    for (; *events; events++) {
        tr_event e;
        assert_int_equal(tr_event_from_json(tr_view_str(*events), &w->arena, &e, &w->err), 0);
        if (tr_aggregate_apply(a, &e, &w->err))
            fail_msg("%s", w->err.message);
    }
    tr_buf_init(&out, 65536);
    tr_json_write_init(&j, &out);
    tr_item_write_plain(&j, tr_rules_state(a));
    assert_view(tr_buf_view(&out), want);
    tr_buf_done(&out);
    tr_aggregate_free(a);
    tr_rules_free(rules);
}

/* One event of a text: `number` is its version. */
#define EVENT(number, rest) "{\"aggregateId\":\"a\",\"version\":" #number "," rest "}"

static void test_declared_rules(void **state)
{
    world *w = *state;
    const char *const merged[] = {
        EVENT(1, "\"type\":\"T\",\"payload\":{\"x\":{\"y\":1,\"z\":2},\"gone\":1}"),
        EVENT(2, "\"type\":\"U\",\"payload\":{\"x\":{\"y\":null,\"v\":[1]},\"gone\":null}"),
        EVENT(3, "\"type\":\"U\",\"payload\":\"no object\""), NULL};
    fold_rules(w, "", merged, "{\"aggregateId\":\"a\",\"version\":3,\"x\":{\"v\":[1],\"z\":2}}");
    const char *const steps[] = {EVENT(1, "\"type\":\"OPENED\",\"payload\":{\"owner\":{\"name\":\"Ada\"}}"),
                                 EVENT(2, "\"type\":\"DEPOSITED\",\"payload\":{\"amount\":0.1}"),
                                 EVENT(3, "\"type\":\"DEPOSITED\",\"payload\":{\"amount\":0.2}"),
                                 EVENT(4, "\"type\":\"WITHDRAWN\",\"payload\":{\"amount\":1}"),
                                 EVENT(5, "\"type\":\"OTHER\""),
                                 EVENT(6, "\"type\":\"CLOSED\",\"payload\":7"),
                                 NULL};
    fold_rules(w,
               "{\"initial\":{\"balance\":0},\"events\":{\"OPENED\":{\"merge\":\"info.at\"},"
               "\"DEPOSITED\":{\"add\":{\"balance\":\"amount\"},\"append\":{\"all\":\"amount\"}},"
               "\"WITHDRAWN\":{\"subtract\":{\"balance\":\"amount\"},\"set\":{\"info.last\":\"amount\"}},"
               "\"CLOSED\":{\"put\":{\"closed\":true},\"remove\":[\"info.at\"],\"set\":{\"why\":\"\"}},"
               "\"*\":{\"put\":{\"other\":[1]}}}}",
               steps,
               "{\"aggregateId\":\"a\",\"all\":[0.1,0.2],\"balance\":-0.7,\"closed\":true,\"info\":{\"last\":"
               "1},\"other\":[1],"
               "\"version\":6,\"why\":7}");
}

static void test_bad_rules_are_told(void **state)
{
    world *w = *state;
    static const char *const bad[] = {"[]",
                                      "{\"event\":{}}",
                                      "{\"events\":{\"T\":1}}",
                                      "{\"events\":{\"T\":{\"ad\":{}}}}",
                                      "{\"events\":{\"T\":{\"add\":{\"a\":1}}}}",
                                      "{\"events\":{\"T\":{\"add\":{\"a..b\":\"x\"}}}}",
                                      "{\"events\":{\"T\":{\"remove\":\"a\"}}}",
                                      "{\"events\":{\"T\":{\"merge\":1}}}",
                                      "{\"name\":1}"};
    tr_rules *rules = NULL;
    for (size_t i = 0; i < TR_COUNT(bad); i++) {
        int e = tr_rules_new(tr_view_str(bad[i]), &rules, &w->err);
        assert_true(e == TR_EINVAL || e == TR_EPARSE);
        assert_true(w->err.message[0]);
    }
    assert_null(rules);
    tr_event e;
    tr_aggregate *a;
    assert_int_equal(tr_rules_new(TR_VIEW("{\"events\":{\"T\":{\"add\":{\"n\":\"n\"}}}}"), &rules, &w->err),
                     0);
    assert_int_equal(tr_aggregate_new(tr_rules_reducer(rules), TR_VIEW("a"), &a, &w->err), 0);
    assert_int_equal(
        tr_event_from_json(
            TR_VIEW("{\"aggregateId\":\"a\",\"version\":1,\"type\":\"T\",\"payload\":{\"n\":\"x\"}}"),
            &w->arena, &e, &w->err),
        0);
    assert_int_equal(tr_aggregate_apply(a, &e, &w->err), TR_EINVAL);
    tr_aggregate_free(a);
    tr_rules_free(rules);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_events_are_folded),
                                       TEST(test_an_aggregate_that_must_exist),
                                       TEST(test_a_reducers_error_is_the_readers),
                                       TEST(test_simulations),
                                       TEST(test_reading_begins_at_a_snapshot),
                                       TEST(test_a_new_snapshot_replaces_the_old_one),
                                       TEST(test_snapshots_of_another_reducer_are_not_looked_at),
                                       TEST(test_without_their_table_reading_goes_on),
                                       TEST(test_a_command_loads_decides_and_pushes),
                                       TEST(test_a_command_that_lost_a_race_decides_again),
                                       TEST(test_a_command_over_several_aggregates_is_one_transaction),
                                       TEST(test_a_cause_is_carried_on),
                                       TEST(test_declared_rules),
                                       TEST(test_bad_rules_are_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
