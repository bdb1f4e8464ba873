/* SPDX-License-Identifier: MIT */
/**
 * Many writers of events, over a connection on which anything may happen; says what was acknowledged.
 * tests/crash/events runs it and checks that it is there.
 *
 *     event_writers ENDPOINT SECONDS [WRITERS AGGREGATES SEED]
 *
 * Each writer pushes, one after the other and each in a way chosen by chance: an event behind the newest,
 * three together, one to each of two aggregates of two stores, a command that loads an aggregate and decides.
 * Every event carries a number of its own. Prints "ack NUMBER STORE AGGREGATE VERSION" for each event that
 * was acknowledged, "unknown CODE …" for a push that was given up. Ends with 1 if a push failed for any
 * reason but an unreachable server.
 */
#include <tailrace/aggregate.h>
#include <tailrace/eventstore.h>

#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#define WRITERS_MAX 256
#define EVENTS_MAX  3
#define PATIENCE_MS 60000
#define ATTEMPTS    10000 /* of a command: as many as there are others */

typedef struct test {
    tr_client *client;
    tr_eventstore *stores[2];
    unsigned writers, aggregates, finished, failures;
    int64_t until_ms;
    uint64_t last; /* number given to an event */
    sem_t over;
} test;

typedef struct writer {
    test *t;
    tr_rng rng;
    char ids[EVENTS_MAX][16];
    tr_event events[EVENTS_MAX];
    const tr_eventstore *into[EVENTS_MAX];
    uint64_t numbers[EVENTS_MAX];
    size_t count;
    tr_buf payloads[EVENTS_MAX];
} writer;

static void next(void *ctx);

/* All callbacks run on the client's thread, one at a time. */
static void on_pushed(void *ctx, int code, const tr_pushed *pushed, const tr_error *err)
{
    writer *w = ctx;
    if (code) {
        bool unknown = code == TR_ETIMEOUT || code == TR_ECONNECT || code == TR_EIO;
        w->t->failures += !unknown;
        (void)fprintf(stderr, "%s: %s\n", err->type, err->message);
        printf("unknown %d", code);
        for (size_t i = 0; i < w->count; i++)
            printf(" %" PRIu64, w->numbers[i]);
        printf("\n");
    }
    for (size_t i = 0; !code && i < pushed->count; i++)
        printf("ack %" PRIu64 " %s %s %" PRIu64 "\n", w->numbers[i], tr_eventstore_id(w->into[i]), w->ids[i],
               pushed->events[i].version);
    next(w);
}

static void on_command(void *ctx, int code, const tr_pushed *pushed, const tr_aggregate *const *aggregates,
                       const tr_error *err)
{
    (void)aggregates;
    on_pushed(ctx, code, pushed, err);
}

static void make_event(writer *w, size_t i, size_t store, unsigned aggregate)
{
    tr_packer p;
    w->numbers[i] = ++w->t->last;
    w->into[i] = w->t->stores[store];
    (void)snprintf(w->ids[i], sizeof w->ids[i], "a%u", aggregate);
    tr_buf_reset(&w->payloads[i]);
    tr_packer_init(&p, &w->payloads[i]);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("n"));
    tr_pack_n_i64(&p, (int64_t)w->numbers[i]);
    if (tr_pack_item_end(&p))
        abort();
    w->events[i] = (tr_event){.aggregate_id = tr_view_str(w->ids[i]),
                              .type = TR_VIEW("MOVED"),
                              .payload = {TR_M, tr_buf_view(&w->payloads[i])}};
    w->count = i + 1;
}

/* Several of one aggregate, together. */
static int push_run(writer *w, size_t count, tr_error *err)
{
    const tr_push_options any = {.expect = TR_EXPECT_ANY};
    unsigned aggregate = (unsigned)tr_rng_below(&w->rng, w->t->aggregates);
    for (size_t i = 0; i < count; i++)
        make_event(w, i, 0, aggregate);
    return tr_eventstore_push(w->t->stores[0], w->events, count, &any, on_pushed, w, err);
}

static int push_group(writer *w, tr_error *err)
{
    tr_group_member members[2];
    for (size_t i = 0; i < 2; i++) {
        make_event(w, i, i, (unsigned)tr_rng_below(&w->rng, w->t->aggregates));
        members[i] =
            (tr_group_member){.store = w->t->stores[i], .event = w->events[i], .expect = TR_EXPECT_ANY};
    }
    return tr_eventstore_group(members, 2, NULL, on_pushed, w, err);
}

static int apply(void *ctx, void *state, const tr_event *event, tr_error *err)
{
    (void)ctx, (void)event, (void)err;
    ++*(uint64_t *)state;
    return 0;
}

/* What it decides on must be all that was there before. */
static int decide(void *ctx, const tr_aggregate *const *aggregates, tr_decision *decision, tr_error *err)
{
    const writer *w = ctx;
    const uint64_t *seen = tr_aggregate_state(aggregates[0]);
    if (*seen != tr_aggregate_version(aggregates[0]))
        return tr_fail(err, TR_ECORRUPT, "%" PRIu64 " events make version %" PRIu64, *seen,
                       tr_aggregate_version(aggregates[0]));
    return tr_decide(decision, TR_VIEW("DECIDED"), w->events[0].payload);
}

static int run_command(writer *w, tr_error *err)
{
    static const tr_reducer counter = {
        .name = "counter", .version = "1", .size = sizeof(uint64_t), .apply = apply};
    make_event(w, 0, 0, (unsigned)tr_rng_below(&w->rng, w->t->aggregates));
    const tr_command_target target = {
        .store = w->t->stores[0], .reducer = &counter, .aggregate_id = w->events[0].aggregate_id};
    const tr_command command = {
        .targets = &target, .target_count = 1, .decide = decide, .ctx = w, .attempts = ATTEMPTS};
    return tr_command_run(&command, on_command, w, err);
}

static void next(void *ctx)
{
    writer *w = ctx;
    tr_error err;
    if (tr_clock_mono_ms() >= w->t->until_ms) {
        if (++w->t->finished == w->t->writers)
            (void)sem_post(&w->t->over);
        return;
    }
    uint64_t chance = tr_rng_below(&w->rng, 100);
    int e = chance < 60   ? push_run(w, 1, &err)
            : chance < 75 ? push_run(w, EVENTS_MAX, &err)
            : chance < 90 ? push_group(w, &err)
                          : run_command(w, &err);
    if (e) {
        (void)fprintf(stderr, "%s\n", err.message);
        abort();
    }
}

static void open_test(test *t, const char *endpoint)
{
    static const char *const ids[] = {"ACCOUNTS", "LOANS"};
    tr_error err;
    tr_client_options co = {.endpoint = endpoint, .timeout_ms = 5000};
    int e = tr_client_new(&co, &t->client, &err);
    for (size_t i = 0; !e && i < 2; i++) {
        tr_eventstore_options eo = {.store_id = ids[i], .patience_ms = PATIENCE_MS};
        e = tr_eventstore_new(t->client, &eo, &t->stores[i], &err);
    }
    if (e) {
        (void)fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static test t;
    static writer writers[WRITERS_MAX];
    if (argc < 3)
        return 2;
    t.writers = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 32;
    t.aggregates = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 10;
    uint64_t seed = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;
    if (t.writers < 1 || t.writers > WRITERS_MAX || t.aggregates < 1)
        return 2;
    t.until_ms = tr_clock_mono_ms() + (int64_t)(strtod(argv[2], NULL) * 1000);
    (void)sem_init(&t.over, 0, 0);
    open_test(&t, argv[1]);
    for (unsigned i = 0; i < t.writers; i++) {
        writers[i].t = &t;
        tr_rng_seed(&writers[i].rng, seed * WRITERS_MAX + i);
        for (size_t k = 0; k < EVENTS_MAX; k++)
            tr_buf_init(&writers[i].payloads[k], 4096);
        if (tr_client_schedule(t.client, 0, next, &writers[i]))
            abort();
    }
    (void)sem_wait(&t.over);
    for (unsigned i = 0; i < t.writers; i++)
        for (size_t k = 0; k < EVENTS_MAX; k++)
            tr_buf_done(&writers[i].payloads[k]);
    for (size_t i = 0; i < 2; i++)
        tr_eventstore_free(t.stores[i]);
    tr_client_free(t.client);
    return t.failures ? 1 : 0;
}
