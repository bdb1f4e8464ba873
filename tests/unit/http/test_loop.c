/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include "http/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define THREADS 4
#define EACH    2000

struct poster {
    tr__loop *loop;
    pthread_t thread;
    unsigned next; /* of the loop's thread alone */
    atomic_uint ran;
};

struct numbered {
    struct poster *poster;
    unsigned number;
    tr__loop_task task;
};

static void check_order(void *ctx)
{
    struct numbered *n = ctx;
    assert_true(tr__loop_on_thread(n->poster->loop));
    assert_int_equal(n->number, n->poster->next);
    n->poster->next++;
    n->poster->ran++;
    tr_free(n);
}

static void *post_many(void *arg)
{
    struct poster *p = arg;
    for (unsigned i = 0; i < EACH; i++) {
        struct numbered *n = tr_malloc(sizeof *n);
        *n = (struct numbered){.poster = p, .number = i};
        if (i % 2)
            tr__loop_post_task(p->loop, &n->task, check_order, n);
        else
            assert_int_equal(tr__loop_post(p->loop, check_order, n), 0);
    }
    return NULL;
}

static void tasks_run_once_in_order(void **state)
{
    (void)state;
    tr__loop *loop;
    assert_int_equal(tr__loop_new(&loop, NULL), 0);
    struct poster posters[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        posters[i].loop = loop;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
    tr__loop_free(loop); /* what is still queued runs first */
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(posters[i].ran, EACH);
}

struct timed {
    tr__loop *loop;
    atomic_int count;
    int64_t at_ns;
    bool closing;
};

static void note_time(void *ctx)
{
    struct timed *t = ctx;
    t->at_ns = tr_clock_mono_ns();
    t->closing = tr__loop_closing(t->loop);
    t->count++;
}

static void busy_then_schedule(void *ctx)
{
    struct timed *t = ctx;
    usleep(20000); /* the loop's clock is 20 ms old now */
    t->at_ns = tr_clock_mono_ns();
    assert_int_equal(tr__loop_schedule(t->loop, 30, note_time, t), 0);
}

static void timers_are_never_early(void **state)
{
    (void)state;
    tr__loop *loop;
    assert_int_equal(tr__loop_new(&loop, NULL), 0);
    struct timed t = {.loop = loop};
    int64_t begin = tr_clock_mono_ns();
    assert_int_equal(tr__loop_schedule(loop, 25, note_time, &t), 0);
    for (int i = 0; i < 120000 && t.count < 1; i++)
        usleep(1000);
    assert_int_equal(t.count, 1);
    assert_in_range(t.at_ns - begin, 25000000, INT64_C(120000000000));
    begin = tr_clock_mono_ns();
    assert_int_equal(tr__loop_post(loop, busy_then_schedule, &t), 0);
    for (int i = 0; i < 120000 && t.count < 2; i++)
        usleep(1000);
    assert_int_equal(t.count, 2);
    assert_in_range(t.at_ns - begin, 50000000, INT64_C(120000000000));
    assert_false(t.closing);
    tr__loop_free(loop);
}

static void schedule_again(void *ctx)
{
    struct timed *t = ctx;
    assert_int_equal(tr__loop_schedule(t->loop, 3600000, note_time, t), 0);
}

static void freeing_runs_timers_early(void **state)
{
    (void)state;
    tr__loop *loop;
    assert_int_equal(tr__loop_new(&loop, NULL), 0);
    struct timed t[3] = {{.loop = loop}, {.loop = loop}, {.loop = loop}};
    assert_int_equal(tr__loop_schedule(loop, 3600000, note_time, &t[0]), 0);
    assert_int_equal(tr__loop_schedule(loop, INT64_MAX, schedule_again, &t[1]), 0);
    assert_int_equal(tr__loop_at_stop(loop, note_time, &t[2]), 0);
    int64_t begin = tr_clock_mono_ns();
    tr__loop_free(loop);
    assert_true(tr_clock_mono_ns() - begin < INT64_C(120000000000)); /* they were due in an hour */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(t[i].count, 1);
        assert_true(t[i].closing);
    }
    tr__loop_free(NULL);
}

static void calls_wait_for_their_end(void **state)
{
    (void)state;
    tr__loop *loop;
    assert_int_equal(tr__loop_new(&loop, NULL), 0);
    assert_false(tr__loop_on_thread(loop));
    struct timed t = {.loop = loop};
    for (int i = 0; i < 100; i++) {
        tr__loop_call(loop, note_time, &t);
        assert_int_equal(t.count, i + 1);
    }
    tr__loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_once_in_order),
        cmocka_unit_test(timers_are_never_early),
        cmocka_unit_test(freeing_runs_timers_early),
        cmocka_unit_test(calls_wait_for_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
