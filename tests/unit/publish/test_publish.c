/* SPDX-License-Identifier: MIT */
#include "fake_bus.h"

#include <stdatomic.h>
#include <tailrace/publish.h>

typedef struct world {
    fake_bus bus;
    tr_client *client;
    tr_publisher *publisher;
    /* results: told one at a time, on one thread or, of failures, another */
    pthread_mutex_t lock;
    size_t told, published, kept;
    int code[FAKE_IDS], times[FAKE_IDS];
    unsigned attempts[FAKE_IDS];
    char last_event_id[64];
    tr_error last;
    /* failure destination */
    unsigned refuse_failures;
    size_t failures;
    char condition[32], failure_text[65536];
} world;

typedef struct token {
    world *w;
    int id;
} token;
static token tokens[FAKE_IDS];

static void on_done(void *ctx, const tr_publish_result *r)
{
    token *t = ctx;
    world *w = t->w;
    pthread_mutex_lock(&w->lock);
    w->told++;
    w->times[t->id]++;
    w->code[t->id] = r->code;
    w->attempts[t->id] = (unsigned)r->attempts;
    w->published += r->code == 0;
    w->kept += r->kept;
    if (r->code == 0)
        (void)snprintf(w->last_event_id, sizeof w->last_event_id, "%.*s", TR_FMT(r->event_id));
    else
        w->last = *r->err;
    pthread_mutex_unlock(&w->lock);
}

static int on_failure(void *ctx, const tr_publish_failure *f, tr_error *err)
{
    world *w = ctx;
    pthread_mutex_lock(&w->lock);
    int e = 0;
    if (w->refuse_failures) {
        w->refuse_failures--;
        e = tr_fail(err, TR_EIO, "no room");
    } else {
        w->failures++;
        (void)snprintf(w->condition, sizeof w->condition, "%s", f->condition);
        (void)snprintf(w->failure_text, sizeof w->failure_text, "%.*s|%.*s|%s", TR_FMT(f->entry),
                       TR_FMT(f->detail), f->err->type);
    }
    pthread_mutex_unlock(&w->lock);
    return e;
}

static world *open_world(tr_publisher_options *o)
{
    tr_error err;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    pthread_mutex_init(&w->lock, NULL);
    w->client = fake_open(&w->bus);
    if (!o->retry_min_ms)
        o->retry_min_ms = o->retry_max_ms = 3;
    if (o->failure_ctx)
        o->failure_ctx = w;
    assert_int_equal(tr_publisher_new(w->client, o, &w->publisher, &err), 0);
    return w;
}

static void close_world(world *w)
{
    tr_publisher_free(w->publisher);
    fake_close(&w->bus, w->client);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void put(world *w, int id, const char *key, const char *more)
{
    char detail[4096], key_member[64] = "";
    tr_error err;
    if (key)
        (void)snprintf(key_member, sizeof key_member, ",\"key\":\"%s\"", key);
    (void)snprintf(detail, sizeof detail, "{\"id\":%d%s%s}", id, key_member, more ? more : "");
    tokens[id] = (token){w, id};
    const tr_publish_entry entry = {.source = TR_VIEW("test"),
                                    .detail_type = TR_VIEW("thing"),
                                    .detail = tr_view_str(detail),
                                    .key = tr_view_str(key)};
    if (tr_publisher_put(w->publisher, &entry, -1, on_done, &tokens[id], &err))
        fail_msg("%s", err.message);
}

static void flush(world *w)
{
    tr_error err;
    if (tr_publisher_flush(w->publisher, 60000, &err))
        fail_msg("%s", err.message);
}

static void fills_requests_and_tells_every_entry_once(void **state)
{
    (void)state;
    tr_publisher_options o = {.bus = "b"};
    world *w = open_world(&o);
    fake_hold(&w->bus, true);
    for (int i = 0; i < 5000; i++)
        put(w, i, NULL, NULL);
    fake_hold(&w->bus, false);
    flush(w);
    assert_int_equal(w->told, 5000);
    assert_int_equal(w->published, 5000);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(w->times[i], 1);
        assert_int_equal(w->bus.taken[i], 1);
        assert_int_equal(w->bus.order[i], i); /* sent in the order of putting */
    }
    assert_int_equal(w->bus.largest, 10);
    assert_true(w->bus.requests < 2500); /* hardly any goes alone while others are under way */
    assert_true(w->bus.most_in_flight <= 8);
    assert_string_equal(w->last_event_id, "event-4999");
    tr_publisher_stats stats;
    tr_publisher_get_stats(w->publisher, &stats);
    assert_int_equal(stats.entries, 5000);
    assert_int_equal(stats.published, 5000);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.waiting_bytes, 0);
    assert_int_equal(stats.requests, w->bus.requests);
    close_world(w);
}

static void counts_bytes_as_the_service_does(void **state)
{
    (void)state;
    const tr_view resources[] = {TR_VIEW("arn:1"), TR_VIEW("arn:22")};
    tr_publish_entry e = {.source = TR_VIEW("sou"),
                          .detail_type = TR_VIEW("type"),
                          .detail = TR_VIEW("{\"a\":\"\xc3\xa9\"}"),
                          .bus = TR_VIEW("not counted"),
                          .trace_header = TR_VIEW("not counted"),
                          .resources = resources,
                          .resource_count = 2};
    assert_int_equal(tr_publish_size(&e), 3 + 4 + 10 + 5 + 6);
    e.has_time = true;
    assert_int_equal(tr_publish_size(&e), 14 + 3 + 4 + 10 + 5 + 6);

    tr_publisher_options o = {.request_bytes = 300};
    world *w = open_world(&o);
    char more[200];
    (void)snprintf(more, sizeof more, ",\"text\":\"%060d\"", 0);
    fake_hold(&w->bus, true);
    for (int i = 0; i < 40; i++)
        put(w, i, NULL, more);
    fake_hold(&w->bus, false);
    flush(w);
    assert_int_equal(w->published, 40);
    assert_true(w->bus.largest_bytes <= 300);
    assert_int_equal(w->bus.largest, 3);
    close_world(w);
}

static void gives_up_what_is_too_large_and_only_that(void **state)
{
    (void)state;
    tr_publisher_options o = {.request_bytes = 300, .on_failure = on_failure, .failure_ctx = &o};
    world *w = open_world(&o);
    char more[400];
    (void)snprintf(more, sizeof more, ",\"text\":\"%0350d\"", 0);
    for (int i = 0; i < 30; i++)
        put(w, i, i % 2 ? "a" : "b", i == 13 ? more : NULL);
    flush(w);
    assert_int_equal(w->published, 29);
    assert_int_equal(w->code[13], TR_ELIMIT);
    assert_int_equal(w->attempts[13], 0);
    assert_int_equal(w->kept, 1);
    assert_string_equal(w->condition, "Refused");
    assert_non_null(strstr(w->last.message, "300 are allowed"));
    assert_non_null(
        strstr(w->failure_text, "{\"Source\":\"test\",\"DetailType\":\"thing\",\"Detail\":\"{\\\"id\\\":13"));
    close_world(w);
}

static void retries_failed_entries_alone(void **state)
{
    (void)state;
    tr_publisher_options o = {0};
    world *w = open_world(&o);
    for (int i = 0; i < 100; i++)
        put(w, i, NULL, i % 7 == 3 ? ",\"fail\":3,\"code\":\"ThrottlingException\"" : NULL);
    flush(w);
    assert_int_equal(w->published, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(w->bus.taken[i], 1);
        assert_int_equal(w->attempts[i], i % 7 == 3 ? 4 : 1);
    }
    tr_publisher_stats stats;
    tr_publisher_get_stats(w->publisher, &stats);
    assert_int_equal(stats.retries, 14 * 3);
    assert_int_equal(stats.throttles, 14 * 3);
    close_world(w);
}

static void refusals_for_good_are_not_retried(void **state)
{
    (void)state;
    tr_publisher_options o = {.on_failure = on_failure, .failure_ctx = &o};
    world *w = open_world(&o);
    w->refuse_failures = 2; /* the destination is repeated, too */
    put(w, 0, NULL, ",\"fail\":1000,\"code\":\"MalformedDetail\"");
    put(w, 1, NULL, NULL);
    flush(w);
    assert_int_equal(w->code[0], TR_ESERVICE);
    assert_int_equal(w->attempts[0], 1);
    assert_int_equal(w->failures, 1);
    assert_int_equal(w->kept, 1);
    assert_string_equal(w->last.type, "MalformedDetail");
    assert_string_equal(w->last.message, "refused");
    assert_int_equal(w->published, 1);
    close_world(w);
}

static void limits_of_attempts_and_age_hold(void **state)
{
    (void)state;
    static const char always[] = ",\"fail\":100000,\"code\":\"InternalFailure\"";
    tr_publisher_options o = {
        .limit_retries = true, .retries = 4, .on_failure = on_failure, .failure_ctx = &o};
    world *w = open_world(&o);
    put(w, 0, NULL, always);
    put(w, 1, NULL, NULL);
    flush(w);
    assert_int_equal(w->attempts[0], 5);
    assert_string_equal(w->condition, "RetriesExhausted");
    assert_int_equal(w->code[1], 0);
    close_world(w);

    tr_publisher_options aged = {.age_ms = 50, .on_failure = on_failure, .failure_ctx = &aged};
    w = open_world(&aged);
    put(w, 0, NULL, always);
    flush(w);
    assert_string_equal(w->condition, "EventAgeExceeded");
    assert_true(w->attempts[0] >= 1);
    close_world(w);
}

static void a_poisoned_entry_does_not_spoil_its_request(void **state)
{
    (void)state;
    tr_publisher_options o = {0};
    world *w = open_world(&o);
    put(w, 0, NULL, ",\"wait\":30"); /* the others gather meanwhile */
    for (int i = 1; i <= 10; i++)
        put(w, i, i % 2 ? "k" : NULL, i == 5 ? ",\"poison\":true" : NULL);
    flush(w);
    assert_int_equal(w->published, 10);
    assert_int_equal(w->code[5], TR_ESERVICE);
    assert_string_equal(w->last.message, "poison");
    for (int i = 0; i <= 10; i++)
        assert_int_equal(w->bus.taken[i], i != 5);
    close_world(w);
}

static void requests_that_fail_are_repeated(void **state)
{
    (void)state;
    static const fake_failure script[] = {FAKE_THROTTLED, FAKE_GONE,      FAKE_BROKEN, FAKE_NONSENSE,
                                          FAKE_SHORT,     FAKE_FORBIDDEN, FAKE_LOST,   FAKE_THROTTLED};
    tr_publisher_options o = {0};
    world *w = open_world(&o);
    fake_script(&w->bus, script, TR_COUNT(script));
    for (int i = 0; i < 200; i++)
        put(w, i, i % 3 ? NULL : "k", NULL);
    flush(w);
    assert_int_equal(w->published, 200);
    tr_publisher_stats stats;
    tr_publisher_get_stats(w->publisher, &stats);
    /* lost, and answers that make no sense: nobody knows, so they may be there twice */
    assert_true(stats.unknown > 0);
    size_t twice = 0;
    for (int i = 0; i < 200; i++) {
        assert_true(w->bus.taken[i] >= 1);
        twice += (size_t)w->bus.taken[i] - 1;
    }
    assert_true(twice <= stats.unknown);
    close_world(w);
}

static void an_unreachable_bus_uses_up_retries(void **state)
{
    (void)state;
    static fake_failure script[1000];
    for (size_t i = 0; i < TR_COUNT(script); i++)
        script[i] = FAKE_GONE;
    tr_publisher_options o = {.limit_retries = true, .retries = 2};
    world *w = open_world(&o);
    fake_script(&w->bus, script, TR_COUNT(script));
    tr_error err;
    const tr_publish_entry entry = {
        .source = TR_VIEW("s"), .detail_type = TR_VIEW("t"), .detail = TR_VIEW("{}")};
    assert_int_equal(tr_publisher_put_wait(w->publisher, &entry, NULL, &err), TR_ECONNECT);
    assert_int_equal(w->bus.requests, 3);
    fake_script(&w->bus, NULL, 0);
    char id[TR_UUID_LEN + 1];
    assert_int_equal(tr_publisher_put_wait(w->publisher, &entry, id, &err), 0);
    assert_string_equal(id, "event-0");
    close_world(w);
}

/* Entries of each key in the order of putting; with failures only if strict. */
static void check_order(world *w, int count, int keys)
{
    int *last = calloc((size_t)keys, sizeof *last);
    for (int k = 0; k < keys; k++)
        last[k] = -1;
    for (int i = 0; i < count; i++) {
        int id = w->bus.order[i];
        assert_true(id > last[id % keys]);
        last[id % keys] = id;
    }
    free(last);
}

static void put_many(world *w, int count, int keys, bool failing)
{
    tr_rng rng;
    tr_rng_seed(&rng, 7);
    for (int i = 0; i < count; i++) {
        char key[16], more[100];
        (void)snprintf(key, sizeof key, "k%d", i % keys);
        (void)snprintf(more, sizeof more, ",\"wait\":%d,\"fail\":%d,\"code\":\"ThrottlingException\"",
                       (int)tr_rng_below(&rng, 4), failing && tr_rng_below(&rng, 5) == 0 ? 2 : 0);
        put(w, i, key, more);
    }
}

static void entries_of_one_key_keep_their_order(void **state)
{
    (void)state;
    tr_publisher_options o = {.in_flight = 6};
    world *w = open_world(&o);
    put_many(w, 2000, 7, false);
    flush(w);
    assert_int_equal(w->published, 2000);
    check_order(w, 2000, 7);
    assert_false(w->bus.crossed); /* no key in two requests at a time */
    assert_true(w->bus.repeated_keys > 0);
    close_world(w);
}

static void a_waiting_retry_holds_back_its_key_only(void **state)
{
    (void)state;
    tr_publisher_options o = {0};
    world *w = open_world(&o);
    put(w, 0, "slow", ",\"fail\":1000000,\"code\":\"InternalFailure\"");
    for (int i = 1; i < 50; i++)
        put(w, i, i % 2 ? "slow" : "quick", NULL);
    for (size_t quick = 0; quick < 24;) { /* all of them arrive while 0 is being refused */
        quick = 0;
        pthread_mutex_lock(&w->bus.lock);
        for (int i = 2; i < 50; i += 2)
            quick += w->bus.taken[i] > 0;
        pthread_mutex_unlock(&w->bus.lock);
    }
    pthread_mutex_lock(&w->bus.lock);
    w->bus.refused[0] = 1000000;
    pthread_mutex_unlock(&w->bus.lock);
    flush(w);
    int at_0 = -1;
    for (int i = 0; i < 50; i++)
        at_0 = w->bus.order[i] == 0 ? i : at_0;
    assert_true(at_0 >= 24);
    /* those behind it in a request of its may overtake it; none goes in a request without it */
    assert_false(w->bus.crossed);
    close_world(w);
}

static void strict_order_holds_through_failures(void **state)
{
    (void)state;
    static const fake_failure script[] = {FAKE_OK,   FAKE_THROTTLED, FAKE_OK, FAKE_GONE,
                                          FAKE_GONE, FAKE_OK,        FAKE_OK, FAKE_BROKEN};
    tr_publisher_options o = {.strict_order = true, .in_flight = 6, .retry_min_ms = 1, .retry_max_ms = 2};
    world *w = open_world(&o);
    fake_script(&w->bus, script, TR_COUNT(script));
    put_many(w, 1000, 23, true);
    flush(w);
    assert_int_equal(w->published, 1000);
    check_order(w, 1000, 23);
    assert_int_equal(w->bus.repeated_keys, 0);
    assert_false(w->bus.crossed);
    close_world(w);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    static fake_failure script[100000];
    for (size_t i = 0; i < TR_COUNT(script); i++)
        script[i] = FAKE_GONE;
    tr_publisher_options o = {.max_entries = 20};
    world *w = open_world(&o);
    fake_script(&w->bus, script, TR_COUNT(script));
    tr_error err;
    const tr_publish_entry entry = {
        .source = TR_VIEW("s"), .detail_type = TR_VIEW("t"), .detail = TR_VIEW("{\"id\":1}")};
    for (int i = 0; i < 20; i++)
        assert_int_equal(tr_publisher_put(w->publisher, &entry, 0, NULL, NULL, &err), 0);
    assert_int_equal(tr_publisher_put(w->publisher, &entry, 0, NULL, NULL, &err), TR_EBUSY);
    assert_int_equal(tr_publisher_put(w->publisher, &entry, 20, NULL, NULL, &err), TR_EBUSY);
    assert_int_equal(tr_publisher_flush(w->publisher, 10, &err), TR_ETIMEOUT);
    fake_script(&w->bus, NULL, 0);
    assert_int_equal(tr_publisher_put(w->publisher, &entry, -1, NULL, NULL, &err), 0);
    flush(w);
    assert_true(w->bus.taken[1] == 21);
    close_world(w);
}

static void freeing_tells_what_is_not_done(void **state)
{
    (void)state;
    tr_publisher_options o = {.in_flight = 2, .on_failure = on_failure, .failure_ctx = &o};
    world *w = open_world(&o);
    w->refuse_failures = 1000000;
    put(w, 0, NULL, ",\"fail\":1,\"code\":\"MalformedDetail\"");
    for (int i = 1; i < 100; i++)
        put(w, i, i % 2 ? "k" : NULL, ",\"wait\":100000");
    for (unsigned under_way = 0; under_way < 2;) {
        pthread_mutex_lock(&w->bus.lock);
        under_way = w->bus.in_flight;
        pthread_mutex_unlock(&w->bus.lock);
    }
    tr_publisher_free(w->publisher);
    w->publisher = NULL;
    assert_int_equal(w->told, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(w->code[i], TR_ECANCELED);
    close_world(w);
}

static void refuses_what_is_no_entry(void **state)
{
    (void)state;
    tr_publisher_options o = {0}, too_much = {.request_bytes = TR_PUBLISH_BYTES_MAX + 1},
                         too_many = {.request_entries = 11};
    world *w = open_world(&o);
    tr_publisher *none;
    tr_error err;
    tr_publish_entry entry = {.source = TR_VIEW("s"), .detail_type = TR_VIEW("t")};
    assert_int_equal(tr_publisher_put(w->publisher, &entry, 0, NULL, NULL, &err), TR_EINVAL);
    entry.detail = TR_VIEW("{\"a\":\"\xff\"}");
    assert_int_equal(tr_publisher_put(w->publisher, &entry, 0, NULL, NULL, &err), TR_EINVAL);
    assert_int_equal(tr_publisher_new(w->client, &too_much, &none, &err), TR_EINVAL);
    assert_int_equal(tr_publisher_new(w->client, &too_many, &none, &err), TR_EINVAL);
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_requests_and_tells_every_entry_once),
        cmocka_unit_test(counts_bytes_as_the_service_does),
        cmocka_unit_test(gives_up_what_is_too_large_and_only_that),
        cmocka_unit_test(retries_failed_entries_alone),
        cmocka_unit_test(refusals_for_good_are_not_retried),
        cmocka_unit_test(limits_of_attempts_and_age_hold),
        cmocka_unit_test(a_poisoned_entry_does_not_spoil_its_request),
        cmocka_unit_test(requests_that_fail_are_repeated),
        cmocka_unit_test(an_unreachable_bus_uses_up_retries),
        cmocka_unit_test(entries_of_one_key_keep_their_order),
        cmocka_unit_test(a_waiting_retry_holds_back_its_key_only),
        cmocka_unit_test(strict_order_holds_through_failures),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(freeing_tells_what_is_not_done),
        cmocka_unit_test(refuses_what_is_no_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
