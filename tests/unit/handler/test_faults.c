/* SPDX-License-Identifier: MIT */
/* Handlers that crash, hang, flood, or answer nonsense: told, contained, and nothing is lost. */
#include "mapping_world.h"

#include <pthread.h>

/* What a bad handler's batch becomes: one failure record, behind which the shard goes on. */
typedef struct verdict {
    int count;
    char type[64], message[256], event[256];
} verdict;

static int note(void *ctx, const tr_failure_entry *entry)
{
    verdict *v = ctx;
    v->count++;
    (void)snprintf(v->type, sizeof v->type, "%.*s", TR_FMT(entry->error_type));
    (void)snprintf(v->message, sizeof v->message, "%.*s", TR_FMT(entry->error_message));
    (void)snprintf(v->event, sizeof v->event, "%.*s", TR_FMT(entry->event));
    return 0;
}

static verdict judge(world *w, running *r, tr_mapping_options o)
{
    static int number;
    char destination[128];
    verdict v = {0};
    (void)snprintf(destination, sizeof destination, "sqlite:%s/q%d.db", w->dir, number++);
    o.limit_retries = true;
    o.on_failure = destination_of(destination);
    tr_mapping_stats stats = run_with(w, r, o);
    tr_failure_sink *q = destination_of(destination);
    assert_int_equal(tr_failure_each(q, note, &v, NULL), 0);
    tr_failure_sink_free(q);
    assert_int_equal(stats.given_up > 0, v.count > 0);
    return v;
}

/* With time enough on any machine. */
static verdict judge_command(world *w, tr_handler_kind kind, const char *command)
{
    running r = {.handler = {.kind = kind, .target = command, .timeout_ms = 60000, .output_max = 100000}};
    return judge(w, &r, (tr_mapping_options){.retries = 1});
}

/* One that never answers. */
static verdict outwait_command(world *w, tr_handler_kind kind, const char *command)
{
    running r = {.handler = {.kind = kind, .target = command, .timeout_ms = 500, .output_max = 100000}};
    return judge(w, &r, (tr_mapping_options){0});
}

#define given_up(v, type_, message_)                                                                         \
    do {                                                                                                     \
        verdict found = (v);                                                                                 \
        assert_int_equal(found.count, 1);                                                                    \
        assert_string_equal(found.type, type_);                                                              \
        if (!strstr(found.message, message_))                                                                \
            fail_msg("'%s' is not in '%s'", message_, found.message);                                        \
        assert_int_equal(strncmp(found.event, "{\"Records\":[{", 13), 0);                                    \
    } while (0)

static void one_that_crashes(void **state)
{
    world *w = *state;
    put(w, "a", 1);
    given_up(judge_command(w, TR_HANDLER_EXEC, "read -r x; kill -9 $$"), "Runtime.ExitError", "signal 9");
    given_up(judge_command(w, TR_HANDLER_EXEC, "exit 7"), "Runtime.ExitError", "exit status 7");
    given_up(judge_command(w, TR_HANDLER_EXEC_EACH, "echo why >&2; exit 3"), "Runtime.ExitError",
             "exit status 3: why");
    given_up(judge_command(w, TR_HANDLER_EXEC_EACH, "kill -SEGV $$"), "Runtime.ExitError", "signal 11");
    given_up(judge_command(w, TR_HANDLER_EXEC, "/proc/nowhere/program"), "Runtime.ExitError",
             "exit status 127");
}

static void one_that_hangs(void **state)
{
    world *w = *state;
    put(w, "a", 1);
    given_up(outwait_command(w, TR_HANDLER_EXEC, "sleep 1000"), "Sandbox.Timedout", "0.50 seconds");
    given_up(outwait_command(w, TR_HANDLER_EXEC_EACH, "trap '' TERM; sleep 1000 & wait"), "Sandbox.Timedout",
             "0.50 seconds");
}

static void one_that_floods_its_output(void **state)
{
    world *w = *state;
    put(w, "a", 1);
    given_up(
        judge_command(w, TR_HANDLER_EXEC, "read -r x; head -c 3000000 /dev/zero | tr '\\0' x; sleep 1000"),
        "Runtime.ExitError", "too long");
    /* lines without end are no answer, and no memory */
    given_up(judge_command(w, TR_HANDLER_EXEC, "read -r x; yes"), "Runtime.ExitError", "is no answer");
    given_up(outwait_command(w, TR_HANDLER_EXEC_EACH, "yes >&2"), "Sandbox.Timedout", "0.50 seconds");
}

static void one_that_answers_nonsense(void **state)
{
    world *w = *state;
    put(w, "a", 1);
    static const char *const answers[] = {"hello",          "{\"id\":999}",  "[1,2",
                                          "{\"id\":\"1\"}", "{\"id\":-1}",   "{\"id\":1}{}",
                                          "\\377\\376",     "{\"id\":1e999", "null"};
    char command[256];
    for (size_t i = 0; i < TR_COUNT(answers); i++) { /* its end is not waited for */
        (void)snprintf(command, sizeof command, "read -r x; printf '%s\\n'; sleep 1000", answers[i]);
        given_up(judge_command(w, TR_HANDLER_EXEC, command), "Runtime.ExitError", "is no answer");
    }

    static const char *const lists[] = {
        "\"all\"", "{}", "[1]", "[{}]", "[{\"itemIdentifier\":5}]", "[{\"itemIdentifier\":\"123\"}]", "true"};
    for (size_t i = 0; i < TR_COUNT(lists); i++) {
        (void)snprintf(command, sizeof command,
                       "while read -r x; do n=$((n+1)); echo '{\"id\":'$n',\"batchItemFailures\":%s}'; done",
                       lists[i]);
        given_up(judge_command(w, TR_HANDLER_EXEC, command), "batchItemFailures", "1 of 1 records failed");
    }
}

static void a_module_that_cannot_be_loaded_or_throws(void **state)
{
    world *w = *state;
    put(w, "a", 1);
    running r = {.handler = {.kind = TR_HANDLER_LAMBDA, .target = "fn.handler"}};
    write_function(w, "    raise KeyError('k')\n");
    given_up(judge(w, &r, (tr_mapping_options){0}), "KeyError", "k");
    write_function(w, "    import os\n    os._exit(5)\n");
    r = (running){.handler = {.kind = TR_HANDLER_LAMBDA, .target = "fn.handler"}};
    given_up(judge(w, &r, (tr_mapping_options){0}), "Runtime.ExitError", "exit status 5");
    write_function(w, "  this is no Python\n");
    r = (running){.handler = {.kind = TR_HANDLER_LAMBDA, .target = "fn.handler"}};
    verdict v = judge(w, &r, (tr_mapping_options){0});
    assert_int_equal(v.count, 1);
    assert_true(strstr(v.type, "SyntaxError") || strstr(v.type, "IndentationError"));
}

/* A handler that dies now and then: everything is handled all the same, in order. */
static void after_a_crash_the_batch_comes_again(void **state)
{
    world *w = *state;
    for (int i = 0; i < 20; i++)
        put(w, "a", i);
    tr_mapping_stats stats = run(w,
                                 "    for r in records:\n"
                                 "        if n(r) % 5 == 4 and not os.path.exists(str(n(r))):\n"
                                 "            open(str(n(r)), 'w').close()\n"
                                 "            os._exit(1)\n"
                                 "    say([n(r) for r in records])\n",
                                 (tr_mapping_options){.batch_size = 5});
    assert_int_equal(stats.failures, 4);
    assert_string_equal(read_file(w, "out"),
                        "[0, 1, 2, 3, 4]\n[5, 6, 7, 8, 9]\n[10, 11, 12, 13, 14]\n[15, 16, 17, 18, 19]\n");
}

/* ------------------------------------------------------------------------------------- destinations */

typedef struct stubborn {
    tr_failure_sink base;
    running *r;
    int refusals, puts;
    uint64_t acknowledged; /* the most that was acknowledged before a put had succeeded */
} stubborn;

static int put_stubborn(tr_failure_sink *sink, const tr_failure *failure, tr_error *err)
{
    stubborn *s = (stubborn *)sink;
    tr_stream_stats stats;
    assert_non_null(failure->record.ptr);
    tr_stream_get_stats(s->r->stream, &stats);
    if (stats.acknowledged > s->acknowledged)
        s->acknowledged = stats.acknowledged;
    s->puts++;
    return s->puts > s->refusals ? 0 : tr_fail(err, TR_EIO, "not now");
}

static void free_stubborn(tr_failure_sink *sink)
{
    (void)sink;
}

static void nothing_is_acknowledged_before_its_failure_is_safe(void **state)
{
    world *w = *state;
    running r = {.handler = {.kind = TR_HANDLER_EXEC_EACH, .target = "exit 1"}};
    stubborn s = {.base = {.put = put_stubborn, .free = free_stubborn}, .r = &r, .refusals = 5};
    for (int i = 0; i < 3; i++)
        put(w, "a", i);
    tr_mapping_stats stats =
        run_with(w, &r, (tr_mapping_options){.limit_retries = true, .on_failure = &s.base});
    assert_int_equal(s.puts, 6);
    assert_int_equal(s.acknowledged, 0);
    assert_int_equal(stats.given_up, 3);
    assert_int_equal(stats.records, 3);
}

static void old_records_are_given_up_without_a_try(void **state)
{
    world *w = *state;
    running r = {.handler = {.kind = TR_HANDLER_EXEC_EACH, .target = "cat >> handled"}};
    put(w, "a", 1);
    usleep(1100000); /* creation times are whole seconds */
    verdict v = judge(w, &r, (tr_mapping_options){.record_age_ms = 1});
    assert_int_equal(v.count, 1);
    assert_string_equal(read_file(w, "handled"), "");
}

/* -------------------------------------------------------------------------------------------- ending */

static void *run_mapping(void *ctx)
{
    running *r = ctx;
    tr_error err = {0};
    return (void *)(intptr_t)tr_mapping_run(r->mapping, r->stream, r->code, false, &err);
}

static void a_stop_does_not_wait_for_a_handler_that_hangs(void **state)
{
    world *w = *state;
    running r = {
        .handler = {.kind = TR_HANDLER_EXEC, .target = "touch began; sleep 1000", .directory = w->dir}};
    stubborn s = {.base = {.put = put_stubborn, .free = free_stubborn}, .r = &r};
    tr_mapping_options o = {.limit_retries = true, .on_failure = &s.base};
    tr_stream_options so = {.table = "tab", .start = {.at = TR_START_TRIM_HORIZON}};
    tr_error err = {0};
    pthread_t thread;
    void *result;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/began", w->dir);
    put(w, "a", 1);
    assert_int_equal(tr_handler_new(&r.handler, &r.code, &err), 0);
    assert_int_equal(tr_mapping_new(&o, &so, &r.mapping, &err), 0);
    assert_int_equal(tr_stream_new(w->e.client, &so, &r.stream, &err), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_mapping, &r), 0);
    while (access(path, F_OK) != 0)
        usleep(1000);
    tr_mapping_stop(r.mapping);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    tr_stream_stats stats;
    tr_stream_get_stats(r.stream, &stats);
    assert_int_equal(stats.acknowledged, 0);
    assert_int_equal(s.puts, 0); /* it is not the records' fault */
    tr_stream_free(r.stream);
    tr_handler_free(r.code);
    tr_mapping_free(r.mapping);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(one_that_crashes),
        T(one_that_hangs),
        T(one_that_floods_its_output),
        T(one_that_answers_nonsense),
        T(a_module_that_cannot_be_loaded_or_throws),
        T(after_a_crash_the_batch_comes_again),
        T(nothing_is_acknowledged_before_its_failure_is_safe),
        T(old_records_are_given_up_without_a_try),
        T(a_stop_does_not_wait_for_a_handler_that_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
