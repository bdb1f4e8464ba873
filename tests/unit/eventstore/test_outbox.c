/* SPDX-License-Identifier: MIT */
/* Events to a bus, in castore's messages; and old events poured. */
#include "event_world.h"

#include <tailrace/outbox.h>

#include <uv.h>

/* ------------------------------------------------------------------------------------------------- pouring
 */

typedef struct poured {
    event_world *w;
    tr_buf text;
    size_t most;      /* taken at a time; the rest comes again */
    unsigned failing; /* so many calls fail with what passes */
    size_t until;     /* then it ends with an error */
    size_t count, largest;
} poured;

static int take(void *ctx, const tr_subscribed *events, size_t count, size_t *ret_done, tr_error *err)
{
    poured *p = ctx;
    if (p->failing) {
        p->failing--;
        return tr_fail(err, TR_ECONNECT, "not now");
    }
    if (count > p->largest)
        p->largest = count;
    for (size_t i = 0; i < count && i < p->most; i++) {
        if (p->until && p->count == p->until)
            return tr_fail(err, TR_EINVAL, "no more");
        world_tell(&p->text, &events[i]);
        p->count++;
        ++*ret_done;
    }
    return 0;
}

static int pour(poured *p, tr_pour_options *o)
{
    tr_pour *pour;
    uint64_t count = 0;
    o->put = take;
    o->ctx = p;
    if (tr_pour_new(p->w->e.client, o, &pour, &p->w->err))
        fail_msg("%s", p->w->err.message);
    size_t before = p->count;
    int e = tr_pour_run(pour, &count, &p->w->err);
    assert_int_equal(count, p->count - before);
    tr_pour_free(pour);
    return e;
}

static void old_events_are_poured_by_timestamp(void **state)
{
    event_world *w = *state;
    poured p = {.w = w, .most = 100};
    tr_pour_options o = {.batch = 4};
    tr_buf_init(&p.text, 65536);
    world_push_history(w);
    assert_int_equal(pour(&p, &o), 0);
    assert_string_equal(tr_buf_cstr(&p.text), HISTORY);
    assert_int_equal(p.largest, 4);
    const char *stores[] = {"LOANS"};
    tr_buf_reset(&p.text);
    o = (tr_pour_options){.select = {.stores = stores, .store_count = 1}, .until_ms = INT64_C(1767225602000)};
    assert_int_equal(pour(&p, &o), 0);
    assert_string_equal(tr_buf_cstr(&p.text), "LOANS a 1 TAKEN");
    tr_buf_done(&p.text);
}

static void what_is_not_taken_is_poured_again(void **state)
{
    event_world *w = *state;
    poured p = {.w = w, .most = 2, .failing = 2};
    tr_pour_options o = {.state = w->state};
    tr_buf_init(&p.text, 65536);
    world_push_history(w);
    p.until = 3;
    assert_int_equal(pour(&p, &o), TR_EINVAL);
    assert_string_equal(w->err.message, "no more");
    world_push(w, w->accounts, "z", "OPENED", "", NULL); /* the table was read already */
    p.until = 0;
    assert_int_equal(pour(&p, &o), 0);
    assert_string_equal(tr_buf_cstr(&p.text), HISTORY);
    /* all over: the next one begins anew */
    tr_buf_reset(&p.text);
    p.most = 100;
    assert_int_equal(pour(&p, &o), 0);
    assert_string_equal(tr_buf_cstr(&p.text), HISTORY ", ACCOUNTS z 1 OPENED");
    tr_buf_done(&p.text);
}

static void a_pour_keeps_to_its_rate(void **state)
{
    event_world *w = *state;
    poured p = {.w = w, .most = 100};
    tr_pour_options o = {.rate = 20};
    tr_buf_init(&p.text, 65536);
    world_push_history(w);
    int64_t began = tr_clock_mono_ms();
    assert_int_equal(pour(&p, &o), 0);
    assert_true(tr_clock_mono_ms() - began >= 200); /* two at a time: the last two after four tenths */
    assert_string_equal(tr_buf_cstr(&p.text), HISTORY);
    assert_int_equal(p.largest, 2);
    tr_buf_done(&p.text);
}

/* ------------------------------------------------------------------------------------------------ messages
 */

static void messages_are_castores(void **state)
{
    event_world *w = *state;
    tr_event e;
    tr_rules *rules;
    tr_aggregate *a;
    tr_buf text;
    tr_json_writer j;
    tr_buf_init(&text, 65536);
    assert_int_equal(
        tr_event_from_json(TR_VIEW("{\"aggregateId\":\"a\",\"version\":1,\"type\":\"OPENED\",\"timestamp\":"
                                   "\"2026-01-01T00:00:01.000Z\",\"payload\":{\"owner\":\"Ada\"}}"),
                           &w->arena, &e, &w->err),
        0);
    assert_int_equal(tr_rules_new((tr_view){NULL, 0}, &rules, &w->err), 0);
    assert_int_equal(tr_aggregate_new(tr_rules_reducer(rules), TR_VIEW("a"), &a, &w->err), 0);
    assert_int_equal(tr_aggregate_apply(a, &e, &w->err), 0);
#define EVENT                                                                                                \
    "\"event\":{\"aggregateId\":\"a\",\"version\":1,\"type\":\"OPENED\",\"timestamp\":"                      \
    "\"2026-01-01T00:00:01.000Z\",\"payload\":{\"owner\":\"Ada\"}}"
#define STATE "\"aggregate\":{\"aggregateId\":\"a\",\"version\":1,\"owner\":\"Ada\"}"
#define FIRST "\"aggregateId\":\"a\",\"initialEventTimestamp\":\"2026-01-01T00:00:01.000Z\""
    static const char *const want[] = {("{\"eventStoreId\":\"S\"," EVENT "}"),
                                       ("{\"eventStoreId\":\"S\"," EVENT "," STATE "}"),
                                       ("{\"eventStoreId\":\"S\"," FIRST "}")};
    for (int kind = 0; kind < 3; kind++) {
        tr_buf_reset(&text);
        tr_json_write_init(&j, &text);
        assert_int_equal(tr_message_write(&j, (tr_message_kind)kind, TR_VIEW("S"), &e, a, NULL, &w->err), 0);
        assert_string_equal(tr_buf_cstr(&text), want[kind]);
    }
    assert_int_equal(tr_message_write(&j, TR_MESSAGE_STATE_CARRYING, TR_VIEW("S"), &e, NULL, NULL, &w->err),
                     TR_EINVAL);
    tr_aggregate_free(a);
    tr_rules_free(rules);
    tr_buf_done(&text);
}

static uint64_t publish_all(event_world *w, tr_outbox_options *o, const tr_subscription_options *s)
{
    tr_publisher *publisher;
    tr_outbox *outbox;
    tr_publisher_stats stats;
    tr_publisher_options p = {.strict_order = true};
    assert_int_equal(tr_publisher_new(w->e.client, &p, &publisher, &w->err), 0);
    o->publisher = publisher;
    assert_int_equal(tr_outbox_new(w->e.client, o, &outbox, &w->err), 0);
    tr_subscription *subscription = world_subscribe(w, s);
    if (tr_outbox_run(outbox, subscription, &w->err))
        fail_msg("%s", w->err.message);
    tr_subscription_free(subscription);
    tr_publisher_get_stats(publisher, &stats);
    tr_publisher_free(publisher);
    tr_outbox_free(outbox);
    assert_int_equal(stats.given_up, 0);
    return stats.published;
}

static void each_event_is_published_once(void **state)
{
    event_world *w = *state;
    tr_rules *rules;
    tr_subscription_options s = {.once = true};
    tr_outbox_options o = {0};
    world_push_history(w);
    assert_int_equal(publish_all(w, &o, &s), 6);
    assert_int_equal(publish_all(w, &o, &s), 0);
    world_push(w, w->accounts, "a", "REOPENED", "", "{\"owner\":\"Grace\"}");
    world_push(w, w->accounts, "c", "OPENED", "", NULL);
    o.kind = TR_MESSAGE_AGGREGATE_EXISTS;
    assert_int_equal(publish_all(w, &o, &s), 1);
    for (int i = 0; i < 20; i++)
        world_push(w, i % 2 ? w->accounts : w->loans, "a", "MOVED", "", "{\"n\":1}");
    assert_int_equal(tr_rules_new((tr_view){NULL, 0}, &rules, &w->err), 0);
    o = (tr_outbox_options){.kind = TR_MESSAGE_STATE_CARRYING, .reducer = tr_rules_reducer(rules)};
    assert_int_equal(publish_all(w, &o, &s), 20);
    tr_rules_free(rules);
}

static void wait_a_little_and_stop(void *ctx)
{
    uv_sleep(100);
    tr_outbox_stop(ctx);
}

static void an_outbox_can_be_stopped(void **state)
{
    event_world *w = *state;
    tr_publisher *publisher;
    tr_outbox *outbox;
    uv_thread_t thread;
    assert_int_equal(tr_publisher_new(w->e.client, &(tr_publisher_options){0}, &publisher, &w->err), 0);
    tr_outbox_options o = {.publisher = publisher};
    assert_int_equal(tr_outbox_new(w->e.client, &o, &outbox, &w->err), 0);
    tr_subscription *s = world_subscribe(w, &(tr_subscription_options){0});
    assert_int_equal(uv_thread_create(&thread, wait_a_little_and_stop, outbox), 0);
    assert_int_equal(tr_outbox_run(outbox, s, &w->err), 0);
    uv_thread_join(&thread);
    tr_subscription_free(s);
    tr_publisher_free(publisher);
    tr_outbox_free(outbox);
    o = (tr_outbox_options){0};
    assert_int_equal(tr_outbox_new(w->e.client, &o, &outbox, &w->err), TR_EINVAL);
}

/* What the bus refuses for good is not passed over. */
static void what_cannot_be_published_ends_publishing(void **state)
{
    event_world *w = *state;
    tr_publisher *publisher;
    tr_outbox *outbox;
    size_t done = 9;
    tr_buf payload;
    tr_buf_init(&payload, 1 << 20);
    tr_buf_put_str(&payload, "{\"text\":\"");
    for (int i = 0; i < 300000; i++)
        tr_buf_putc(&payload, 'x');
    tr_buf_put_str(&payload, "\"}");
    world_push(w, w->accounts, "a", "SMALL", "", NULL);
    world_push(w, w->accounts, "b", "LARGE", "", tr_buf_cstr(&payload));
    assert_int_equal(tr_publisher_new(w->e.client, &(tr_publisher_options){0}, &publisher, &w->err), 0);
    tr_outbox_options o = {.publisher = publisher};
    assert_int_equal(tr_outbox_new(w->e.client, &o, &outbox, &w->err), 0);
    tr_subscription *s = world_subscribe(w, &(tr_subscription_options){0});
    tr_subscribed_batch batch;
    assert_int_equal(tr_subscription_next(s, 10, PATIENCE_MS, &batch, &w->err), 0);
    assert_int_equal(batch.count, 2);
    assert_int_not_equal(tr_outbox_publish(outbox, batch.events, batch.count, &done, &w->err), 0);
    assert_int_equal(done, 1);
    assert_non_null(strstr(w->err.message, "ACCOUNTS#b version 1 was not published"));
    tr_subscription_free(s);
    tr_publisher_free(publisher);
    tr_outbox_free(outbox);
    tr_buf_done(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
        T(old_events_are_poured_by_timestamp),
        T(what_is_not_taken_is_poured_again),
        T(a_pour_keeps_to_its_rate),
        T(messages_are_castores),
        T(each_event_is_published_once),
        T(an_outbox_can_be_stopped),
        T(what_cannot_be_published_ends_publishing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
