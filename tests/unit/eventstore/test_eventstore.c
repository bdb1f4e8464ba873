/* SPDX-License-Identifier: MIT */
#include "store_test.h"

static int set_up(void **state)
{
    static world w;
    world_open(&w);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    world_close(*state);
    return 0;
}

static int push(world *w, tr_eventstore *store, tr_event *events, size_t count, tr_push_options o)
{
    return tr_eventstore_push_wait(store, events, count, &o, &w->arena, &w->err);
}

/* ------------------------------------------------------------------------------------------------ pushing */

static void test_a_store_id_with_a_hash_is_refused(void **state)
{
    world *w = *state;
    tr_eventstore *store = NULL;
    tr_eventstore_options o = {.store_id = "A#B"};
    assert_int_equal(tr_eventstore_new(w->client, &o, &store, &w->err), TR_EINVAL);
    o.store_id = "";
    assert_int_equal(tr_eventstore_new(w->client, &o, &store, &w->err), TR_EINVAL);
    assert_null(store);
}

static void test_the_put_is_castores_with_one_member_more(void **state)
{
    world *w = *state;
    tr_event e = make_event(w, "123", 1, "X", 7);
    e.timestamp = TR_VIEW("2026-01-01T00:00:00.000Z");
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){0}), 0);
    assert_string_equal(w->operation, "PutItem");
    assert_string_equal(w->body,
                        "{\"TableName\":\"events\",\"Item\":{\"aggregateId\":{\"S\":\"ACCOUNTS#123\"},"
                        "\"version\":{\"N\":\"1\"},"
                        "\"type\":{\"S\":\"X\"},\"timestamp\":{\"S\":\"2026-01-01T00:00:00.000Z\"},"
                        "\"payload\":{\"M\":{\"n\":{\"N\":\"7\"}}},\"eventStoreId\":{\"S\":\"ACCOUNTS\"}},"
                        "\"ConditionExpression\":\"attribute_not_exists(#version)\","
                        "\"ExpressionAttributeNames\":{\"#version\":\"version\"},"
                        "\"ReturnValuesOnConditionCheckFailure\":\"ALL_OLD\"}");
    e.version = 2;
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){.force = true}), 0);
    assert_string_equal(w->body, "{\"TableName\":\"events\",\"Item\":{\"aggregateId\":{\"S\":\"ACCOUNTS#"
                                 "123\"},\"version\":{\"N\":\"2\"},"
                                 "\"type\":{\"S\":\"X\"},\"timestamp\":{\"S\":\"2026-01-01T00:00:00.000Z\"},"
                                 "\"payload\":{\"M\":{\"n\":{\"N\":\"7\"}}}}}");
}

static void test_a_taken_version_is_a_conflict_that_names_the_event(void **state)
{
    world *w = *state;
    tr_event e = make_event(w, "a", 1, "MOVED", 2);
    (void)push_ok(w, w->store, "a", 1, TR_EXPECT_VERSION, 1);
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){0}), TR_ECONFLICT);
    assert_string_equal(w->err.type, "EventAlreadyExistsError");
    assert_string_equal(w->err.message, "Event already exists for ACCOUNTS aggregate a and version 1");
    assert_string_equal(versions_of(w, w->store, "a"), "1");
}

static void test_the_modes_leave_no_gap(void **state)
{
    world *w = *state;
    tr_event e = make_event(w, "m", 0, "MOVED", 1);
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){.expect = TR_EXPECT_EXISTS}), TR_ENOTFOUND);
    assert_string_equal(w->err.type, "AggregateNotFoundError");
    assert_string_equal(w->err.message, "Unable to find aggregate m in event store ACCOUNTS.");
    assert_int_equal(push_ok(w, w->store, "m", 0, TR_EXPECT_NONE, 1), 1);
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){.expect = TR_EXPECT_NONE}), TR_ECONFLICT);
    assert_int_equal(push_ok(w, w->store, "m", 0, TR_EXPECT_ANY, 1), 2);
    assert_int_equal(push_ok(w, w->store, "m", 0, TR_EXPECT_EXISTS, 1), 3);
    assert_string_equal(versions_of(w, w->store, "m"), "1 2 3");
}

static void test_strict_wants_the_version_before(void **state)
{
    world *w = *state;
    tr_event e = make_event(w, "s", 7, "MOVED", 1);
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){.strict = true}), TR_ECONFLICT);
    assert_string_equal(w->err.type, "PreviousEventMissingError");
    assert_string_equal(w->err.message,
                        "ACCOUNTS aggregate s has no version 6, so there can be no version 7 yet");
    e.version = 1;
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){.strict = true}), 0);
    assert_string_equal(w->operation, "PutItem");
    e.version = 2;
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){.strict = true}), 0);
    assert_string_equal(w->operation, "TransactWriteItems");
    e.timestamp = (tr_view){NULL, 0};
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){.strict = true}), TR_ECONFLICT);
    assert_string_equal(w->err.type, "EventAlreadyExistsError");
    assert_string_equal(versions_of(w, w->store, "s"), "1 2");
}

static void test_several_events_are_pushed_together_or_not_at_all(void **state)
{
    world *w = *state;
    tr_event e[3] = {make_event(w, "t", 1, "A", 1), make_event(w, "t", 2, "B", 2),
                     make_event(w, "t", 3, "C", 3)};
    (void)push_ok(w, w->store, "t", 3, TR_EXPECT_VERSION, 9);
    assert_int_equal(push(w, w->store, e, 3, (tr_push_options){0}), TR_ECONFLICT);
    assert_string_equal(w->err.message, "Event already exists for ACCOUNTS aggregate t and version 3");
    assert_string_equal(versions_of(w, w->store, "t"), "3");
    e[0].aggregate_id = e[1].aggregate_id = e[2].aggregate_id = TR_VIEW("u");
    assert_int_equal(push(w, w->store, e, 3, (tr_push_options){.expect = TR_EXPECT_ANY}), 0);
    assert_int_equal(push(w, w->store, e, 3, (tr_push_options){.expect = TR_EXPECT_ANY}), 0);
    assert_int_equal(e[2].version, 6);
    assert_string_equal(versions_of(w, w->store, "u"), "1 2 3 4 5 6");
    e[1].version = 9;
    assert_int_equal(push(w, w->store, e, 3, (tr_push_options){0}), TR_EINVAL);
}

static void test_events_pushed_together_have_one_timestamp(void **state)
{
    world *w = *state;
    tr_event e[2] = {make_event(w, "z", 1, "A", 1), make_event(w, "z", 2, "B", 2)};
    e[1].timestamp = TR_VIEW("2026-01-01T00:00:00.000Z");
    assert_int_equal(push(w, w->store, e, 2, (tr_push_options){0}), 0);
    assert_view(e[0].timestamp, "2026-01-01T00:00:00.000Z");
    e[0] = make_event(w, "z", 3, "A", 1);
    e[1] = make_event(w, "z", 4, "A", 1);
    e[0].timestamp = TR_VIEW("2026-01-01T00:00:00.001Z");
    e[1].timestamp = TR_VIEW("2026-01-01T00:00:00.000Z");
    assert_int_equal(push(w, w->store, e, 2, (tr_push_options){0}), TR_EINVAL);
    assert_string_equal(w->err.message,
                        "event 2 (ACCOUNTS aggregate z): events 1 and 2 have different timestamps: events "
                        "pushed together have one");
}

/* ------------------------------------------------------------------------------------------------- faults */

static void test_a_push_whose_answer_was_lost_succeeds(void **state)
{
    world *w = *state;
    world_spoil(w, LOSE_ANSWER);
    assert_int_equal(push_ok(w, w->store, "l", 1, TR_EXPECT_VERSION, 1), 1);
    world_spoil(w, LOSE_REQUEST);
    world_spoil(w, LOSE_ANSWER);
    world_spoil(w, THROTTLE);
    assert_int_equal(push_ok(w, w->store, "l", 0, TR_EXPECT_ANY, 1), 2);
    world_spoil(w, LOSE_ANSWER);
    assert_int_equal(push_ok(w, w->store, "l", 0, TR_EXPECT_EXISTS, 1), 3);
    assert_string_equal(versions_of(w, w->store, "l"), "1 2 3");
    tr_event e[2] = {make_event(w, "l2", 1, "A", 1), make_event(w, "l2", 2, "B", 2)};
    world_spoil(w, LOSE_ANSWER);
    world_spoil(w, IN_THE_WAY);
    assert_int_equal(push(w, w->store, e, 2, (tr_push_options){.expect = TR_EXPECT_NONE}), 0);
    assert_string_equal(versions_of(w, w->store, "l2"), "1 2");
}

static void test_an_equal_event_of_another_writer_is_a_conflict(void **state)
{
    world *w = *state;
    tr_event e = make_event(w, "q", 1, "MOVED", 1);
    e.timestamp = TR_VIEW("2026-01-01T00:00:00.000Z");
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){0}), 0);
    /* the caller gave all of it: a repetition */
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){0}), 0);
    /* but another payload is none */
    tr_event other = make_event(w, "q", 1, "MOVED", 2);
    other.timestamp = e.timestamp;
    assert_int_equal(push(w, w->store, &other, 1, (tr_push_options){0}), TR_ECONFLICT);
    /* nor is one that finds its version: it is a further event */
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){.expect = TR_EXPECT_ANY}), 0);
    assert_string_equal(versions_of(w, w->store, "q"), "1 2");
}

static void test_a_group_repeated_past_its_token_succeeds(void **state)
{
    world *w = *state;
    tr_group_member m[2] = {{.store = w->store, .event = make_event(w, "g", 1, "A", 1)},
                            {.store = w->other, .event = make_event(w, "g", 1, "B", 2)}};
    m[0].event.timestamp = TR_VIEW("2026-01-01T00:00:00.000Z");
    assert_int_equal(tr_eventstore_group_wait(m, 2, NULL, &w->arena, NULL, &w->err), 0);
    assert_int_equal(tr_eventstore_group_wait(m, 2, NULL, &w->arena, NULL, &w->err), 0);
    m[1].event.type = TR_VIEW("C");
    size_t failed = 0;
    assert_int_equal(tr_eventstore_group_wait(m, 2, NULL, &w->arena, &failed, &w->err), TR_ECONFLICT);
    assert_int_equal(failed, 1);
    assert_string_equal(w->err.message, "Event already exists for LOANS aggregate g and version 1");
}

/* ------------------------------------------------------------------------------------------------- groups */

static void test_a_group_may_look_at_aggregates_without_pushing(void **state)
{
    world *w = *state;
    size_t failed;
    (void)push_ok(w, w->other, "limit", 1, TR_EXPECT_NONE, 1);
    tr_group_member m[2] = {
        {.store = w->store, .event = make_event(w, "c", 1, "A", 1)},
        {.store = w->other, .event = {.aggregate_id = TR_VIEW("limit"), .version = 1}, .check_only = true}};
    assert_int_equal(tr_eventstore_group_wait(m, 2, NULL, &w->arena, &failed, &w->err), 0);
    (void)push_ok(w, w->other, "limit", 0, TR_EXPECT_ANY, 1);
    m[0].event = make_event(w, "c", 2, "A", 1);
    assert_int_equal(tr_eventstore_group_wait(m, 2, NULL, &w->arena, &failed, &w->err), TR_ECONFLICT);
    assert_int_equal(failed, 1);
    assert_string_equal(w->err.type, "AggregateMovedError");
    assert_string_equal(w->err.message, "LOANS aggregate limit has a version 2 by now");
    m[1].event.version = 0;
    assert_int_equal(tr_eventstore_group_wait(m, 2, NULL, &w->arena, &failed, &w->err), TR_ECONFLICT);
    m[1].event.aggregate_id = TR_VIEW("nobody");
    m[0].event = make_event(w, "c", 0, "A", 1);
    m[0].expect = TR_EXPECT_ANY;
    assert_int_equal(tr_eventstore_group_wait(m, 2, NULL, &w->arena, &failed, &w->err), 0);
    assert_int_equal(m[0].event.version, 2);
}

static void test_layouts_do_not_mix_in_a_group(void **state)
{
    world *w = *state;
    tr_group_member m[2] = {{.store = w->store, .event = make_event(w, "x", 1, "A", 1)},
                            {.store = w->legacy, .event = make_event(w, "x", 1, "A", 1)}};
    size_t failed = 0;
    assert_int_equal(tr_eventstore_group_wait(m, 2, NULL, &w->arena, &failed, &w->err), TR_EINVAL);
    assert_int_equal(failed, 1);
    assert_string_equal(versions_of(w, w->store, "x"), "");
}

/* ------------------------------------------------------------------------------------------------ reading */

typedef struct seen {
    char text[256];
} seen;

static int see(void *ctx, const tr_event *event)
{
    seen *s = ctx;
    size_t at = strlen(s->text);
    (void)snprintf(s->text + at, sizeof s->text - at, " %s%llu", event->aggregate_id.ptr ? "" : "?",
                   (unsigned long long)event->version);
    return 0;
}

static void test_ranges_and_order(void **state)
{
    world *w = *state;
    const struct {
        tr_events_range range;
        const char *want;
    } cases[] = {{{.limit = 2}, " 1 2"},
                 {{.min_version = 3}, " 3 4 5"},
                 {{.max_version = 2}, " 1 2"},
                 {{.min_version = 2, .max_version = 4}, " 2 3 4"},
                 {{.min_version = 4, .max_version = 2}, ""},
                 {{.order = TR_ORDER_REVERSE, .limit = 2}, " 5 4"},
                 {{.order = TR_ORDER_FORWARD, .min_version = 5}, " 5"}};
    for (unsigned i = 1; i <= 5; i++)
        (void)push_ok(w, w->legacy, "r", i, TR_EXPECT_VERSION, i);
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        seen s = {""};
        assert_int_equal(tr_eventstore_get_wait(w->legacy, TR_VIEW("r"), &cases[i].range, see, &s, &w->err),
                         0);
        assert_string_equal(s.text, cases[i].want);
    }
}

typedef struct asked {
    const char *name;
    unsigned times;
} asked;

static const char *table_of(void *ctx)
{
    asked *a = ctx;
    a->times++;
    return a->name;
}

static void test_the_tables_name_is_asked_for_at_each_call(void **state)
{
    world *w = *state;
    asked a = {.name = "no-such-table"};
    tr_eventstore *store;
    tr_eventstore_options o = {.store_id = "ACCOUNTS", .table_fn = table_of, .table_ctx = &a};
    assert_int_equal(tr_eventstore_new(w->client, &o, &store, &w->err), 0);
    tr_event e = make_event(w, "f", 1, "A", 1);
    assert_int_equal(push(w, store, &e, 1, (tr_push_options){0}), TR_ENOTFOUND);
    unsigned before = a.times;
    a.name = "events";
    assert_int_equal(push(w, store, &e, 1, (tr_push_options){0}), 0);
    assert_true(before > 0 && a.times > before);
    assert_string_equal(versions_of(w, w->store, "f"), "1");
    tr_eventstore_free(store);
}

/* Rules for anything that is added to the layout: readers look past it, force drops it. */
static void test_further_attributes_are_ignored(void **state)
{
    world *w = *state;
    world_call(w, "PutItem",
               "{\"TableName\":\"events\",\"Item\":{\"aggregateId\":{\"S\":\"ACCOUNTS#x\"},\"version\":{"
               "\"N\":\"1\"},"
               "\"a\":{\"N\":\"1\"},\"type\":{\"S\":\"T\"},\"typf\":{\"BOOL\":true},\"zz\":{\"S\":\"\"}}}",
               NULL);
    assert_string_equal(versions_of(w, w->store, "x"), "1");
    tr_event e = make_event(w, "x", 1, "T", 1);
    tr_buf reply;
    tr_buf_init(&reply, 65536);
    assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){.force = true}), 0);
    world_call(w, "GetItem",
               "{\"TableName\":\"events\",\"Key\":{\"aggregateId\":{\"S\":\"ACCOUNTS#x\"},\"version\":{\"N\":"
               "\"1\"}}}",
               &reply);
    assert_true(tr_view_find(tr_buf_view(&reply), TR_VIEW("zz"), 0) == SIZE_MAX);
    tr_buf_done(&reply);
}

static void test_listing_pages_with_castores_token(void **state)
{
    world *w = *state;
    for (unsigned i = 0; i < 3; i++) {
        char id[2] = {(char)('a' + i), 0};
        tr_event e = make_event(w, tr_arena_str(&w->arena, tr_view_str(id)), 1, "A", 1);
        e.timestamp = tr_view_str(tr_arena_printf(&w->arena, "2026-01-0%uT00:00:00.000Z", i + 1));
        assert_int_equal(push(w, w->store, &e, 1, (tr_push_options){0}), 0);
    }
    tr_listing page;
    tr_list_options o = {.limit = 1, .order = TR_ORDER_REVERSE, .after = TR_VIEW("2026-01-02T00:00:00.000Z")};
    assert_int_equal(tr_eventstore_list_wait(w->store, &o, &w->arena, &page, &w->err), 0);
    assert_int_equal(page.count, 1);
    assert_view(page.aggregates[0].aggregate_id, "c");
    assert_view(page.next_page_token, "{\"limit\":1,\"initialEventAfter\":\"2026-01-02T00:00:00.000Z\","
                                      "\"reverse\":true,\"lastEvaluatedKey\":"
                                      "{\"aggregateId\":{\"S\":\"ACCOUNTS#c\"},\"version\":{\"N\":\"1\"},"
                                      "\"eventStoreId\":{\"S\":\"ACCOUNTS\"},"
                                      "\"timestamp\":{\"S\":\"2026-01-03T00:00:00.000Z\"}}}");
    tr_list_options more = {.page_token = page.next_page_token, .limit = 5};
    assert_int_equal(tr_eventstore_list_wait(w->store, &more, &w->arena, &page, &w->err), 0);
    assert_int_equal(page.count, 1);
    assert_view(page.aggregates[0].aggregate_id, "b");
    assert_view(page.aggregates[0].initial_event_timestamp, "2026-01-02T00:00:00.000Z");
    assert_int_equal(page.next_page_token.len, 0);
    more.page_token = TR_VIEW("{nonsense");
    assert_int_equal(tr_eventstore_list_wait(w->store, &more, &w->arena, &page, &w->err), TR_EINVAL);
    assert_string_equal(w->err.message, "Invalid page token");
}

/* ------------------------------------------------------------------------------------------------- events */

static void test_events_in_json(void **state)
{
    world *w = *state;
    const char *text =
        "{\"aggregateId\":\"a\",\"version\":3,\"type\":\"T\",\"timestamp\":\"2026-01-01T00:00:00.000Z\","
        "\"payload\":{\"big\":12345678901234567890,\"e\":\"\",\"n\":null,\"o\":{},\"tiny\":0.0000001},"
        "\"metadata\":[1,\"x\"]}";
    tr_event e;
    tr_buf out;
    tr_json_writer j;
    tr_buf_init(&out, 4096);
    tr_json_write_init(&j, &out);
    if (tr_event_from_json(tr_view_str(text), &w->arena, &e, &w->err))
        fail_msg("%s", w->err.message);
    tr_event_write(&j, &e, NULL);
    assert_view(tr_buf_view(&out), text);
    assert_int_equal(tr_event_from_json(TR_VIEW("{\"aggregateId\":\"a\",\"type\":\"T\",\"paylod\":1}"),
                                        &w->arena, &e, &w->err),
                     TR_EINVAL);
    assert_int_equal(tr_event_from_json(TR_VIEW("{\"aggregateId\":\"a\"}"), &w->arena, &e, &w->err),
                     TR_EINVAL);
    assert_int_equal(tr_event_from_json(TR_VIEW("{\"aggregateId\":\"a\",\"type\":\"T\",\"version\":0}"),
                                        &w->arena, &e, &w->err),
                     TR_EINVAL);
    assert_int_equal(tr_event_from_json(TR_VIEW("[1]"), &w->arena, &e, &w->err), TR_EPARSE);
    tr_buf_reset(&out);
    tr_event_format wrapped = {TR_NUMBERS_WRAPPED, TR_SETS_TYPED};
    assert_int_equal(tr_event_from_json(TR_VIEW("{\"aggregateId\":\"a\",\"type\":\"T\",\"payload\":1.50}"),
                                        &w->arena, &e, &w->err),
                     0);
    tr_json_write_init(&j, &out);
    tr_event_write(&j, &e, &wrapped);
    assert_view(tr_buf_view(&out),
                "{\"aggregateId\":\"a\",\"version\":0,\"type\":\"T\",\"payload\":{\"value\":\"1.5\"}}");
    tr_buf_done(&out);
}

static void test_images_find_their_store(void **state)
{
    world *w = *state;
    tr_item image;
    tr_event e;
    size_t index;
    const tr_eventstore *stores[] = {w->other, w->store};
    const char *json =
        "{\"aggregateId\":{\"S\":\"ACCOUNTS#a#b\"},\"version\":{\"N\":\"2\"},\"type\":{\"S\":\"T\"},"
        "\"timestamp\":{\"S\":\"t\"},\"payload\":{\"SS\":[\"b\",\"a\"]}}";
    assert_int_equal(tr_item_from_json(tr_view_str(json), &w->arena, &image, &w->err), 0);
    assert_int_equal(tr_event_parse_image(stores, 2, image, &index, &e, &w->err), 0);
    assert_int_equal(index, 1);
    assert_view(e.aggregate_id, "a#b");
    assert_int_equal(e.version, 2);
    assert_int_equal(tr_event_parse_image(stores, 1, image, &index, &e, &w->err), TR_ENOTFOUND);
    assert_string_equal(w->err.message,
                        "Unable to detect eventStore from image. Received eventStoreId: ACCOUNTS");
    stores[0] = w->legacy;
    assert_int_equal(tr_event_parse_image(stores, 1, image, &index, &e, &w->err), 0);
    assert_view(e.aggregate_id, "ACCOUNTS#a#b");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_a_store_id_with_a_hash_is_refused),
                                       TEST(test_the_put_is_castores_with_one_member_more),
                                       TEST(test_a_taken_version_is_a_conflict_that_names_the_event),
                                       TEST(test_the_modes_leave_no_gap),
                                       TEST(test_strict_wants_the_version_before),
                                       TEST(test_several_events_are_pushed_together_or_not_at_all),
                                       TEST(test_events_pushed_together_have_one_timestamp),
                                       TEST(test_a_push_whose_answer_was_lost_succeeds),
                                       TEST(test_an_equal_event_of_another_writer_is_a_conflict),
                                       TEST(test_a_group_repeated_past_its_token_succeeds),
                                       TEST(test_a_group_may_look_at_aggregates_without_pushing),
                                       TEST(test_layouts_do_not_mix_in_a_group),
                                       TEST(test_ranges_and_order),
                                       TEST(test_the_tables_name_is_asked_for_at_each_call),
                                       TEST(test_further_attributes_are_ignored),
                                       TEST(test_listing_pages_with_castores_token),
                                       TEST(test_events_in_json),
                                       TEST(test_images_find_their_store)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
