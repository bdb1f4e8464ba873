/* SPDX-License-Identifier: MIT */
/*
 * Many writers on few aggregates, over a connection that loses answers and requests and is throttled:
 * versions without gap or duplicate, and every acknowledged event there once, under the version that was
 * told.
 */
#include "store_test.h"

#include <inttypes.h>
#include <stdlib.h>
#include <uv.h>

#define WRITERS     32
#define AGGREGATES  10
#define ROUNDS      12
#define EVENTS      (WRITERS * ROUNDS)
#define SPOILED     20 /* percent of writes */
#define PATIENCE_MS 120000

typedef struct test {
    world w;
    tr_eventstore *store;
    uv_sem_t done;
    unsigned finished;
    uint64_t version[EVENTS]; /* that was acknowledged, by number of the event */
    unsigned failures;
    tr_error first;
} test;

typedef struct writer {
    test *t;
    unsigned number, round;
    char aggregate[8];
} writer;

static void push_next(writer *wr);

static void on_pushed(void *ctx, int code, const tr_pushed *pushed, const tr_error *err)
{
    writer *wr = ctx;
    test *t = wr->t;
    if (code && !t->failures++)
        t->first = *err;
    if (!code)
        t->version[wr->number * ROUNDS + wr->round] = pushed->events[0].version;
    wr->round++;
    push_next(wr);
}

/* On the I/O thread. */
static void push_next(writer *wr)
{
    test *t = wr->t;
    if (wr->round == ROUNDS) {
        if (++t->finished == WRITERS)
            uv_sem_post(&t->done);
        return;
    }
    unsigned number = wr->number * ROUNDS + wr->round;
    (void)snprintf(wr->aggregate, sizeof wr->aggregate, "a%u", number % AGGREGATES);
    tr_event e = make_event(&t->w, wr->aggregate, 0, "MOVED", number);
    tr_push_options o = {.expect = TR_EXPECT_ANY};
    tr_error err;
    if (tr_eventstore_push(t->store, &e, 1, &o, on_pushed, wr, &err) && !t->failures++)
        t->first = err;
}

static void begin(void *ctx)
{
    push_next(ctx);
}

typedef struct reading {
    test *t;
    uint64_t next;
    unsigned number; /* of the aggregate */
    unsigned found;
} reading;

static int check_event(void *ctx, const tr_event *event)
{
    reading *r = ctx;
    tr_value n;
    int64_t number;
    assert_int_equal(event->version, r->next++);
    assert_int_equal(tr_item_get(event->payload.payload, TR_VIEW("n"), &n), 0);
    assert_int_equal(tr_number_to_i64(n.payload, &number), 0);
    assert_int_equal(number % AGGREGATES, r->number);
    assert_int_equal(r->t->version[number], event->version); /* so none is there twice either */
    r->found++;
    return 0;
}

static void test_many_writers_on_a_bad_connection(void **state)
{
    static test t;
    static writer writers[WRITERS];
    (void)state;
    world_open(&t.w);
    tr_eventstore_options o = {.store_id = "ACCOUNTS", .patience_ms = PATIENCE_MS};
    assert_int_equal(tr_eventstore_new(t.w.client, &o, &t.store, &t.w.err), 0);
    tr_rng_seed(&t.w.rng, 20261120);
    t.w.spoil_percent = SPOILED;
    assert_int_equal(uv_sem_init(&t.done, 0), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (writer){.t = &t, .number = i};
        assert_int_equal(tr_client_schedule(t.w.client, 0, begin, &writers[i]), 0);
    }
    uv_sem_wait(&t.done);
    t.w.spoil_percent = 0;
    if (t.failures)
        fail_msg("%u of %u pushes failed, the first: %s", t.failures, EVENTS, t.first.message);
    unsigned found = 0;
    for (unsigned i = 0; i < AGGREGATES; i++) {
        char id[8];
        reading r = {.t = &t, .next = 1, .number = i};
        (void)snprintf(id, sizeof id, "a%u", i);
        assert_int_equal(tr_eventstore_get_wait(t.store, tr_view_str(id), NULL, check_event, &r, &t.w.err),
                         0);
        found += r.found;
    }
    assert_int_equal(found, EVENTS);
    uv_sem_destroy(&t.done);
    tr_eventstore_free(t.store);
    world_close(&t.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_many_writers_on_a_bad_connection)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
