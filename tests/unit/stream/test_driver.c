/* SPDX-License-Identifier: MIT */
#include "live.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ITEMS    12
#define VERSIONS 25
#define THREADS  6

/** Every item counts up; the last version removes it. */
static void write_versions(embedded *e)
{
    for (int v = 1; v < VERSIONS; v++)
        for (int i = 0; i < ITEMS; i++)
            live_put(e, i, v);
    for (int i = 0; i < ITEMS; i++)
        live_remove(e, i);
}

/** The item's version that a record tells of. */
static int version_of(const tr_record *record)
{
    return record->has_new ? live_number(record->new_image, "v") : live_number(record->old_image, "v") + 1;
}

/* --------------------------------------------------------------------------------------------- pulling */

static void records_carry_all_that_the_service_told(void **state)
{
    embedded *e = *state;
    tr_stream *stream = live_stream(e, (tr_stream_options){.keep_raw = true});
    int64_t before_ms = tr_clock_wall_ms();
    live_put(e, 1, 1);
    live_put(e, 1, 2);
    live_remove(e, 1);
    for (int i = 1; i <= 3; i++) {
        tr_stream_event *event = live_next(stream, TR_STREAM_RECORD);
        const tr_record *r = event->record;
        assert_int_equal(event->delivery, 1);
        assert_int_equal(r->event, i);
        assert_int_equal(r->has_new, i < 3);
        assert_int_equal(r->has_old, i > 1);
        assert_int_equal(version_of(r), i);
        assert_int_equal(live_number(r->keys, "id"), 1);
        assert_true(tr_sequence_valid(r->sequence_number) && r->sequence_number.len >= 21);
        assert_true(r->event_id.len > 0 && r->shard_id.len >= 28);
        assert_view(r->region, "us-east-1");
        assert_false(r->expired);
        assert_int_equal(r->view_type, TR_NEW_AND_OLD_IMAGES);
        assert_true(r->time_ms >= before_ms / 1000 * 1000 - 1000 && r->time_ms <= tr_clock_wall_ms());
        assert_true(r->raw.len > 0 && r->raw.ptr[0] == '{');
        tr_stream_ack(stream, event);
    }
    tr_stream_free(stream);
}

static void what_is_given_back_comes_again_before_its_successors(void **state)
{
    embedded *e = *state;
    for (int v = 1; v <= 4; v++)
        live_put(e, 7, v);
    tr_stream *stream = live_stream(e, (tr_stream_options){.parallelism = 1});
    tr_stream_event *event = live_next(stream, TR_STREAM_RECORD);
    assert_int_equal(version_of(event->record), 1);
    tr_stream_event *other;
    assert_int_equal(tr_stream_next(stream, 20, &other), TR_ETIMEOUT); /* one at a time in a lane */
    tr_stream_nack(stream, event, 30);
    event = live_next(stream, TR_STREAM_RECORD);
    assert_int_equal(version_of(event->record), 1);
    assert_int_equal(event->delivery, 2);
    tr_stream_ack(stream, event);
    tr_stream_batch batch = {0};
    while (batch.count < 3) { /* the rest as a batch, of which a part fails */
        if (batch.count)
            tr_stream_nack_batch(stream, &batch, 0, 0);
        assert_int_equal(tr_stream_next_batch(stream, 10, LIVE_WAIT_MS, 50, &batch), 0);
    }
    tr_stream_nack_batch(stream, &batch, 1, 0);
    assert_int_equal(batch.count, 0);
    assert_int_equal(tr_stream_next_batch(stream, 10, LIVE_WAIT_MS, 0, &batch), 0);
    assert_int_equal(batch.count, 2);
    assert_int_equal(version_of(batch.events[0]->record), 3);
    tr_stream_ack_batch(stream, &batch);
    tr_stream_batch_done(&batch);
    tr_stream_free(stream);
}

/* ------------------------------------------------------------------------------------------- callbacks */

typedef struct heard {
    pthread_mutex_t lock;
    pthread_cond_t met;
    tr_stream *stream;
    int last[ITEMS];    /* version of each item that was handled last */
    int working[ITEMS]; /* how many threads are at it */
    int records, refusals, kinds[4], started, caught_up, shards, together, most_together;
    bool meet;   /* nobody goes on before two were at work at the same time */
    bool refuse; /* every fifth record at its first delivery */
    bool broken; /* an order was not kept */
} heard;

static int handle(heard *h, const tr_record *record, int kind)
{
    int item = live_number(record->keys, "id"), version = version_of(record);
    (void)pthread_mutex_lock(&h->lock);
    h->broken |= h->working[item]++ > 0;
    if (++h->together > h->most_together)
        h->most_together = h->together;
    if (h->most_together == 2)
        (void)pthread_cond_broadcast(&h->met);
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LIVE_WAIT_MS / 1000;
    while (h->meet && h->most_together < 2)
        h->meet = pthread_cond_timedwait(&h->met, &h->lock, &until) == 0;
    (void)pthread_mutex_unlock(&h->lock);
    if (version % 4 == 0)
        (void)usleep(200);
    (void)pthread_mutex_lock(&h->lock);
    h->working[item]--;
    h->together--;
    bool refused = h->refuse && version % 5 == 0 && h->last[item] < version && h->refusals < 40;
    if (refused) {
        h->refusals++;
    } else {
        h->broken |= version != h->last[item] + 1;
        h->last[item] = version;
        h->kinds[kind]++;
        h->records++;
    }
    bool done = h->records == ITEMS * VERSIONS;
    (void)pthread_mutex_unlock(&h->lock);
    if (done)
        tr_stream_stop(h->stream);
    return refused ? 1 : 0;
}

static int on_insert(void *ctx, const tr_record *record)
{
    return handle(ctx, record, TR_INSERT);
}

static int on_modify(void *ctx, const tr_record *record)
{
    return handle(ctx, record, TR_MODIFY);
}

static int on_remove(void *ctx, const tr_record *record)
{
    return handle(ctx, record, TR_REMOVE);
}

static void count(heard *h, int *what, int more)
{
    (void)pthread_mutex_lock(&h->lock);
    *what += more;
    (void)pthread_mutex_unlock(&h->lock);
}

static void on_started(void *ctx)
{
    heard *h = ctx;
    count(h, &h->started, 1);
}

static void on_shards(void *ctx, const tr_view *ids, size_t n)
{
    heard *h = ctx;
    for (size_t i = 0; i < n; i++)
        assert_true(ids[i].len >= 28);
    count(h, &h->shards, (int)n);
}

static const tr_stream_handlers callbacks = {.insert = on_insert,
                                             .modify = on_modify,
                                             .remove = on_remove,
                                             .started = on_started,
                                             .shards_added = on_shards};

static void *run(void *ctx)
{
    heard *h = ctx;
    tr_stream_handlers mine = callbacks;
    mine.ctx = h;
    assert_int_equal(tr_stream_run(h->stream, &mine), 0);
    return NULL;
}

static void hear(embedded *e, heard *h, unsigned parallelism, int threads)
{
    pthread_t ids[THREADS];
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_cond_init(&h->met, NULL);
    h->meet = threads > 1;
    h->stream =
        live_stream(e, (tr_stream_options){.parallelism = parallelism, .retry_min_ms = 1, .retry_max_ms = 3});
    for (int i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, run, h), 0);
    for (int i = 0; i < threads; i++)
        (void)pthread_join(ids[i], NULL);
    tr_stream_free(h->stream);
    (void)pthread_cond_destroy(&h->met);
    (void)pthread_mutex_destroy(&h->lock);
    assert_false(h->broken);
    assert_int_equal(h->records, ITEMS * VERSIONS);
    assert_int_equal(h->kinds[TR_INSERT], ITEMS);
    assert_int_equal(h->kinds[TR_REMOVE], ITEMS);
    assert_int_equal(h->started, 1);
    assert_int_equal(h->shards, 3);
}

static void callbacks_are_called_in_order_and_again_where_they_fail(void **state)
{
    embedded *e = *state;
    heard h = {.refuse = true};
    write_versions(e);
    hear(e, &h, 0, 1);
    assert_true(h.refusals > 0);
}

static void threads_keep_the_order_of_every_item(void **state)
{
    embedded *e = *state;
    write_versions(e);
    for (unsigned parallelism = 1; parallelism <= 10; parallelism += 3) {
        heard h = {.refuse = parallelism > 1};
        hear(e, &h, parallelism, THREADS);
        assert_true(h.most_together > 1); /* three shards, so even with one lane each */
    }
}

/* --------------------------------------------------------------- patterns, filters, transforms, changes */

static bool odd_items(void *ctx, const tr_record *record)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
    return live_number(record->keys, "id") % 2 == 1;
}

static void patterns_and_filters_discard_records(void **state)
{
    embedded *e = *state;
    tr_pattern *patterns[2];
    tr_error err = {0};
    tr_pattern_options lambda = {.dialect = TR_PATTERN_LAMBDA};
    write_versions(e);
    assert_int_equal(tr_pattern_compile(TR_VIEW("{\"eventName\":[\"REMOVE\"]}"), &lambda, &patterns[0], &err),
                     0);
    assert_int_equal(
        tr_pattern_compile(TR_VIEW("{\"dynamodb\":{\"NewImage\":{\"v\":{\"N\":[\"3\",\"5\"]}}}}"), &lambda,
                           &patterns[1], &err),
        0);
    atomic_int asked = 0;
    tr_stream *stream = live_stream(e, (tr_stream_options){.patterns = (const tr_pattern *const *)patterns,
                                                           .pattern_count = 2,
                                                           .filter = odd_items,
                                                           .filter_ctx = &asked});
    tr_pattern_free(patterns[0]);
    tr_pattern_free(patterns[1]);
    int versions[VERSIONS + 1] = {0};
    for (int i = 0; i < 3 * ITEMS / 2; i++) {
        tr_stream_event *event = live_next(stream, TR_STREAM_RECORD);
        assert_int_equal(live_number(event->record->keys, "id") % 2, 1);
        versions[version_of(event->record)]++;
        tr_stream_ack(stream, event);
    }
    assert_int_equal(versions[3], ITEMS / 2);
    assert_int_equal(versions[5], ITEMS / 2);
    assert_int_equal(versions[VERSIONS], ITEMS / 2);
    tr_stream_ack(stream, live_next(stream, TR_STREAM_CAUGHT_UP));
    tr_stream_stats stats;
    tr_stream_get_stats(stream, &stats);
    assert_int_equal(stats.records, ITEMS * VERSIONS);
    assert_int_equal(stats.filtered, ITEMS * VERSIONS - 3 * ITEMS / 2);
    assert_int_equal(atomic_load(&asked), 3 * ITEMS); /* what no pattern matches is not asked about */
    tr_stream_free(stream);
}

static int shout(void *ctx, tr_record *record, tr_arena *arena)
{
    atomic_int *failures = ctx;
    if (live_number(record->keys, "id") == 2)
        return TR_ENOTFOUND;
    if (atomic_load(failures) > 0) {
        atomic_fetch_sub(failures, 1);
        return TR_EIO;
    }
    char *text = tr_arena_printf(arena, "seen: %.*s", TR_FMT(record->event_id));
    if (!text)
        return TR_ENOMEM;
    record->event_id = tr_view_str(text);
    return 0;
}

static void transforms_change_discard_and_delay_records(void **state)
{
    embedded *e = *state;
    atomic_int failures = 2;
    for (int i = 1; i <= 3; i++)
        live_put(e, i, 1);
    tr_stream *stream = live_stream(
        e, (tr_stream_options){
               .transform = shout, .transform_ctx = &failures, .retry_min_ms = 1, .retry_max_ms = 5});
    int seen[4] = {0};
    for (int i = 0; i < 2; i++) {
        tr_stream_event *event = live_next(stream, TR_STREAM_RECORD);
        assert_true(tr_view_starts(event->record->event_id, TR_VIEW("seen: ")));
        seen[live_number(event->record->keys, "id")]++;
        tr_stream_ack(stream, event);
    }
    assert_int_equal(seen[1] + seen[3], 2);
    assert_int_equal(atomic_load(&failures), 0);
    tr_stream_free(stream);
}

static void changes_are_told_from_old_to_new(void **state)
{
    embedded *e = *state;
    live_put(e, 1, 1);
    live_put(e, 1, 22);
    tr_stream *stream = live_stream(e, (tr_stream_options){0});
    tr_buf b;
    tr_json_writer w;
    tr_buf_init(&b, 4096);
    tr_stream_ack(stream, live_next(stream, TR_STREAM_RECORD));
    tr_stream_event *event = live_next(stream, TR_STREAM_RECORD);
    tr_json_write_init(&w, &b);
    assert_int_equal(tr_record_write_diff(&w, event->record), 0);
    assert_view(tr_buf_view(&b), "[{\"path\":\"v\",\"old\":1,\"new\":22}]");
    tr_stream_ack(stream, event);
    tr_stream_free(stream);
    tr_buf_done(&b);
}

/** Starts after the number with one change to come: how many gaps are told before it. */
static uint64_t gaps_after(embedded *e, const char *number)
{
    tr_stream_stats stats;
    tr_stream *stream =
        live_stream(e, (tr_stream_options){.start = {.at = TR_START_AFTER, .sequence_number = number}});
    tr_stream_ack(stream, live_next(stream, TR_STREAM_RECORD));
    tr_stream_get_stats(stream, &stats);
    tr_stream_free(stream);
    return stats.gaps;
}

static void nothing_is_lost_between_a_number_and_the_first_one(void **state)
{
    embedded *e = *state;
    live_put(e, 1, 1);                                           /* has the number 100000000000000000001 */
    assert_int_equal(gaps_after(e, "100000000000000000000"), 0); /* a snapshot from before the first write */
    assert_int_equal(gaps_after(e, "99999999999999999999"), 1);
}

/* -------------------------------------------------------------------------------- one poll at a time */

static tr_stream *polled(embedded *e, tr_start_at at)
{
    tr_stream_options o = {.table = "tab", .manual = true, .keep_raw = true, .start = {.at = at}};
    tr_stream *stream = NULL;
    tr_error err = {0};
    if (tr_stream_new(e->client, &o, &stream, &err))
        fail_msg("%s", err.message);
    return stream;
}

/** One poll's records, in order; the others are only counted. */
static size_t poll(tr_stream *stream, bool drain, const char *last_number)
{
    tr_stream_batch batch = {0};
    tr_error err = {0};
    size_t records = 0;
    char last[TR_SEQUENCE_MAX + 1] = "0";
    (void)snprintf(last, sizeof last, "%s", last_number);
    if (tr_stream_fetch_records(stream, drain, LIVE_WAIT_MS, &batch, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < batch.count; i++) {
        const tr_record *r = batch.events[i]->record;
        if (batch.events[i]->kind != TR_STREAM_RECORD)
            continue;
        assert_true(tr_sequence_cmp(r->sequence_number, tr_view_str(last)) > 0); /* all shards merged */
        (void)snprintf(last, sizeof last, "%.*s", TR_FMT(r->sequence_number));
        assert_true(r->raw.len > 0);
        records++;
    }
    tr_stream_ack_batch(stream, &batch);
    tr_stream_batch_done(&batch);
    return records;
}

static void polls_mark_latest_and_merge_shards(void **state)
{
    embedded *e = *state;
    tr_error err = {0};
    live_put(e, 1, 99); /* before the first poll: not seen */
    tr_stream *stream = polled(e, TR_START_LATEST);
    tr_stream_batch batch = {0};
    assert_int_equal(tr_stream_fetch_shards(stream, LIVE_WAIT_MS, &err), 0);
    write_versions(e);
    assert_int_equal(poll(stream, true, "0"), ITEMS * VERSIONS);
    assert_int_equal(poll(stream, false, "0"), 0);
    live_put(e, 5, 1);
    /* both at once, as fetchStreamState does it */
    assert_int_equal(tr_stream_fetch(stream, LIVE_WAIT_MS, &batch, &err), 0);
    assert_int_equal(batch.count, 1);
    assert_int_equal(live_number(batch.events[0]->record->keys, "id"), 5);
    tr_stream_nack_batch(stream, &batch, 0, 0); /* not acknowledged: the next poll has it again */
    assert_int_equal(poll(stream, false, "0"), 1);
    tr_stream_batch_done(&batch);
    tr_stream_free(stream);
}

static void *poll_often(void *ctx)
{
    size_t records = 0;
    for (int i = 0; i < 20; i++)
        records += poll(ctx, true, "0");
    return (void *)(uintptr_t)records;
}

static void polls_of_several_threads_are_one_after_the_other(void **state)
{
    embedded *e = *state;
    tr_error err = {0};
    tr_stream *stream = polled(e, TR_START_TRIM_HORIZON);
    assert_int_equal(tr_stream_fetch_shards(stream, LIVE_WAIT_MS, &err), 0);
    write_versions(e);
    pthread_t ids[THREADS];
    size_t all = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, poll_often, stream), 0);
    for (int i = 0; i < THREADS; i++) {
        void *records;
        (void)pthread_join(ids[i], &records);
        all += (uintptr_t)records;
    }
    assert_int_equal(all, ITEMS * VERSIONS); /* each once */
    tr_stream_free(stream);
}

static void only_streams_opened_for_it_are_polled(void **state)
{
    embedded *e = *state;
    tr_stream *stream = live_stream(e, (tr_stream_options){0});
    tr_stream_batch batch = {0};
    tr_error err = {0};
    assert_int_equal(tr_stream_fetch_shards(stream, 0, &err), TR_EINVAL);
    assert_int_equal(tr_stream_fetch(stream, 0, &batch, &err), TR_EINVAL);
    assert_non_null(strstr(err.message, "manual"));
    tr_stream_free(stream);
}

/* -------------------------------------------------------------------------------------------- lifecycle */

typedef struct on_loop {
    tr_stream *stream;
    atomic_int codes[4];
    atomic_bool done;
} on_loop;

static void block_on_loop(void *ctx)
{
    on_loop *l = ctx;
    tr_stream_event *event;
    tr_stream_batch batch = {0};
    tr_error err;
    tr_buf b;
    tr_buf_init(&b, 1024);
    atomic_store(&l->codes[0], tr_stream_next(l->stream, 1000, &event));
    atomic_store(&l->codes[1], tr_stream_next_batch(l->stream, 10, 1000, 0, &batch));
    atomic_store(&l->codes[2], tr_stream_flush(l->stream, 1000, &err));
    atomic_store(&l->codes[3], tr_stream_export_iterators(l->stream, 1000, &b, &err));
    tr_stream_batch_done(&batch);
    tr_buf_done(&b);
    atomic_store(&l->done, true);
}

static void blocking_is_refused_on_the_io_thread(void **state)
{
    embedded *e = *state;
    static on_loop l;
    l = (on_loop){.stream = live_stream(e, (tr_stream_options){0})};
    assert_int_equal(tr_client_schedule(e->client, 0, block_on_loop, &l), 0);
    while (!atomic_load(&l.done))
        (void)usleep(1000);
    for (size_t i = 0; i < TR_COUNT(l.codes); i++)
        assert_int_equal(atomic_load(&l.codes[i]), TR_ETHREAD);
    tr_stream_free(l.stream);
}

static void *wait_for_ever(void *ctx)
{
    tr_stream *stream = ctx;
    tr_stream_event *event;
    int code;
    while ((code = tr_stream_next(stream, -1, &event)) == 0)
        tr_stream_ack(stream, event);
    return (void *)(intptr_t)code;
}

static void a_stop_wakes_all_who_wait(void **state)
{
    embedded *e = *state;
    tr_stream *stream = live_stream(e, (tr_stream_options){0});
    pthread_t ids[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, wait_for_ever, stream), 0);
    live_put(e, 1, 1);
    (void)usleep(20000);
    tr_stream_stop(stream);
    for (int i = 0; i < THREADS; i++) {
        void *code;
        (void)pthread_join(ids[i], &code);
        assert_int_equal((intptr_t)code, TR_ECLOSED);
    }
    tr_stream_free(stream);
}

static void mistakes_in_the_options_are_told(void **state)
{
    embedded *e = *state;
    static const tr_pattern *const none[] = {NULL};
    const tr_stream_options wrong[] = {{0},
                                       {.table = "tab", .parallelism = 11},
                                       {.table = "tab", .page_records = 1001},
                                       {.table = "tab", .start = {.at = TR_START_AT, .sequence_number = "x"}},
                                       {.table = "tab", .patterns = none, .pattern_count = 1},
                                       {.table = "tab", .fleet = &(tr_fleet_options){0}}};
    for (size_t i = 0; i < TR_COUNT(wrong); i++) {
        tr_stream *stream;
        tr_error err = {0};
        assert_int_equal(tr_stream_new(e->client, &wrong[i], &stream, &err), TR_EINVAL);
        assert_true(err.message[0] != 0);
    }
}

static void a_commit_is_heard_of_at_once(void **state)
{
    embedded *e = *state;
    tr_stream *stream = live_stream(e, (tr_stream_options){.start = {.at = TR_START_LATEST}});
    tr_stream_ack(stream, live_next(stream, TR_STREAM_CAUGHT_UP));
    tr_stream_stats before, after;
    tr_stream_get_stats(stream, &before);
    for (int i = 0; i < 20; i++) {
        live_put(e, i, 1);
        tr_stream_event *event = live_next(stream, TR_STREAM_RECORD);
        assert_int_equal(live_number(event->record->keys, "id"), i);
        tr_stream_ack(stream, event);
    }
    tr_stream_get_stats(stream, &after);
    /* the engine holds a read open until there is something: a call that brings it, one that finds the tip */
    assert_true(after.calls_records - before.calls_records <= 2 * 20 + 3 * 3);
    assert_int_equal(after.gaps, 0);
    tr_stream_free(stream);
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

#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(records_carry_all_that_the_service_told),
        LIVE(what_is_given_back_comes_again_before_its_successors),
        LIVE(callbacks_are_called_in_order_and_again_where_they_fail),
        LIVE(threads_keep_the_order_of_every_item),
        LIVE(patterns_and_filters_discard_records),
        LIVE(transforms_change_discard_and_delay_records),
        LIVE(changes_are_told_from_old_to_new),
        LIVE(nothing_is_lost_between_a_number_and_the_first_one),
        LIVE(polls_mark_latest_and_merge_shards),
        LIVE(polls_of_several_threads_are_one_after_the_other),
        LIVE(only_streams_opened_for_it_are_polled),
        LIVE(blocking_is_refused_on_the_io_thread),
        LIVE(a_stop_wakes_all_who_wait),
        LIVE(mistakes_in_the_options_are_told),
        LIVE(a_commit_is_heard_of_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
