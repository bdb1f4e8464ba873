/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include <tailrace/handler.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct world {
    char dir[64];
    char log[65536];
    size_t log_len;
} world;

static void keep_log(void *ctx, tr_view line)
{
    world *w = ctx;
    if (w->log_len + line.len + 2 < sizeof w->log) {
        memcpy(w->log + w->log_len, line.ptr, line.len);
        w->log_len += line.len;
        w->log[w->log_len++] = '\n';
    }
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/tailrace-handler-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static void write_file(world *w, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", w->dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs(text, f);
    (void)fclose(f);
}

#define PATIENT_MS 60000 /* where nothing is to time out, on a machine however slow */

static tr_handler *open_handler(world *w, tr_handler_kind kind, const char *target, int64_t timeout_ms)
{
    tr_handler_options o = {.kind = kind,
                            .target = target,
                            .directory = w->dir,
                            .timeout_ms = timeout_ms,
                            .output_max = 100000,
                            .endpoint = "http://127.0.0.1:1234",
                            .on_log = keep_log,
                            .log_ctx = w};
    tr_handler *h;
    tr_error err = {0};
    if (tr_handler_new(&o, &h, &err))
        fail_msg("%s", err.message);
    return h;
}

/* The outcome of one event as text: "0 RESPONSE" or "CODE TYPE MESSAGE". */
static const char *outcome(tr_handler *h, const char *event)
{
    static char text[4096];
    tr_buf response;
    tr_error err = {0};
    tr_buf_init(&response, 1 << 20);
    int code = tr_handler_invoke_wait(h, tr_view_str(event), &response, &err);
    if (code)
        (void)snprintf(text, sizeof text, "%d %s %s", code, err.type, err.message);
    else
        (void)snprintf(text, sizeof text, "0 %.*s", (int)response.len, response.ptr ? response.ptr : "");
    tr_buf_done(&response);
    return text;
}

static void a_process_that_stays(void **state)
{
    world *w = *state;
    write_file(
        w, "h.py",
        "import sys, json, os\n"
        "n = 0\n"
        "for line in sys.stdin:\n"
        "    e = json.loads(line); n += 1\n"
        "    print('log', file=sys.stderr, flush=True)\n"
        "    do = e.get('do')\n"
        "    if do == 'crash': os._exit(3)\n"
        "    if do == 'hang': import time; time.sleep(60)\n"
        "    if do == 'flood': print('x' * 300000, flush=True); continue\n"
        "    if do == 'nonsense': print('hello', flush=True)\n"
        "    if do in ('nonsense', 'other id'): print(json.dumps({'id': 1000}), flush=True); continue\n"
        "    print(json.dumps({'id': e['id'], 'n': n, 'offline': os.environ.get('IS_OFFLINE')}), "
        "flush=True)\n");
    tr_handler *h = open_handler(w, TR_HANDLER_EXEC, "exec python3 h.py", PATIENT_MS);
    assert_string_equal(outcome(h, "{\"a\":1}"), "0 {\"id\": 1, \"n\": 1, \"offline\": \"true\"}");
    assert_string_equal(outcome(h, "{}"), "0 {\"id\": 2, \"n\": 2, \"offline\": \"true\"}");
    assert_non_null(strstr(outcome(h, "{\n\"do\":\"nonsense\"}"),
                           "-4 Runtime.ExitError the process was ended: a line on its output is no answer"));
    assert_non_null(strstr(outcome(h, "{\"do\":\"other id\"}"), "{\"id\": 1000}"));
    assert_non_null(strstr(outcome(h, "{\"do\":\"crash\"}"), "-13 Runtime.ExitError the process ended"));
    assert_string_equal(outcome(h, "{}"), "0 {\"id\": 6, \"n\": 1, \"offline\": \"true\"}");
    assert_non_null(strstr(outcome(h, "{\"do\":\"flood\"}"), "-3 Runtime.ExitError"));
    assert_string_equal(outcome(h, "{}"), "0 {\"id\": 8, \"n\": 1, \"offline\": \"true\"}");
    tr_handler_free(h);
    h = open_handler(w, TR_HANDLER_EXEC, "exec python3 h.py", 2500);
    assert_non_null(
        strstr(outcome(h, "{\"do\":\"hang\"}"), "-11 Sandbox.Timedout Task timed out after 2.50 seconds"));
    const char *next = outcome(h, "{}"); /* a slow machine may not start a program in that time */
    for (int i = 0; i < 100 && strstr(next, "Sandbox.Timedout"); i++)
        next = outcome(h, "{}");
    assert_non_null(strstr(next, "\"n\": 1, \"offline\": \"true\"}"));
    tr_handler_free(h);
    assert_non_null(strstr(w->log, "log\n"));
}

static void a_process_per_event(void **state)
{
    world *w = *state;
    tr_handler *h =
        open_handler(w, TR_HANDLER_EXEC_EACH, "grep -q yes || { echo no yes >&2; exit 7; }", PATIENT_MS);
    assert_string_equal(outcome(h, "{\"x\":\"yes\"}"), "0 ");
    assert_string_equal(outcome(h, "{\"x\":\"nay\"}"), "-9 Runtime.ExitError exit status 7: no yes");
    tr_handler_free(h);
    h = open_handler(w, TR_HANDLER_EXEC_EACH, "sleep 30", 200);
    assert_non_null(strstr(outcome(h, "{}"), "-11 Sandbox.Timedout"));
    tr_handler_free(h);
    h = open_handler(w, TR_HANDLER_EXEC_EACH, "exec /proc/nowhere/program", PATIENT_MS);
    assert_non_null(strstr(outcome(h, "{}"), "-9 Runtime.ExitError exit status 127"));
    tr_handler_free(h);
}

static void a_url_that_nobody_serves(void **state)
{
    world *w = *state;
    tr_handler *h = open_handler(w, TR_HANDLER_URL, "http://127.0.0.1:1/x", PATIENT_MS);
    assert_non_null(strstr(outcome(h, "{}"), "-12 Runtime.ConnectError"));
    tr_handler_free(h);
    tr_handler_options o = {.kind = TR_HANDLER_URL, .target = "ftp://x"};
    tr_error err = {0};
    assert_int_equal(tr_handler_new(&o, &h, &err), TR_EINVAL);
}

static void lambda_cases(world *w, const char *target)
{
    tr_handler *h = open_handler(w, TR_HANDLER_LAMBDA, target, PATIENT_MS);
    assert_string_equal(outcome(h, "{\"do\":\"echo\",\"x\":\"one\"}"), "0 \"one\"");
    assert_string_equal(outcome(h, "{\"do\":\"fail\"}"), "-9 MyError it broke");
    assert_string_equal(outcome(h, "{\"do\":\"none\"}"), "0 null");
    assert_string_equal(outcome(h, "{\"do\":\"env\"}"), "0 \"true http://127.0.0.1:1234\"");
    assert_non_null(strstr(outcome(h, "{\"do\":\"exit\"}"), "Runtime exited with error: exit status 9"));
    assert_string_equal(outcome(h, "{\"do\":\"echo\",\"x\":\"again\"}"), "0 \"again\"");
    tr_handler_free(h);
    assert_non_null(strstr(w->log, "said on stdout"));
    size_t before = w->log_len;
    h = open_handler(w, TR_HANDLER_LAMBDA, target, PATIENT_MS);
    assert_string_equal(outcome(h, "{\"do\":\"echo\",\"x\":0}"), "0 0");
    tr_handler_restart(h); /* an idle process is told that there is nothing more: no event, no words */
    assert_string_equal(outcome(h, "{\"do\":\"echo\",\"x\":1}"), "0 1");
    tr_handler_free(h);
    w->log[w->log_len] = 0;
    const size_t line = strlen("said on stdout\n");
    for (const char *said = w->log + before; *said; said += line)
        assert_memory_equal(said, "said on stdout\n", line);
}

static void lambda_in_node(void **state)
{
    world *w = *state;
    write_file(
        w, "fn.js",
        "exports.handler = async (event, context) => {\n"
        "  console.log('said on stdout');\n"
        "  if (event.do === 'fail') { const e = new Error('it broke'); e.name = 'MyError'; throw e; }\n"
        "  if (event.do === 'exit') process.exit(9);\n"
        "  if (event.do === 'env') return process.env.IS_OFFLINE + ' ' + process.env.AWS_ENDPOINT_URL;\n"
        "  if (context.getRemainingTimeInMillis() <= 0 || !context.awsRequestId) throw new "
        "Error('context');\n"
        "  return event.x;\n"
        "};\n"
        "exports.callback = (event, context, callback) => setTimeout(() => callback(null, event.x), 5);\n");
    lambda_cases(w, "fn.handler");
    tr_handler *h = open_handler(w, TR_HANDLER_LAMBDA, "fn.callback", PATIENT_MS);
    assert_string_equal(outcome(h, "{\"x\":3}"), "0 3");
    tr_handler_free(h);
    h = open_handler(w, TR_HANDLER_LAMBDA, "fn.absent", PATIENT_MS);
    tr_error absent = {0};
    assert_int_equal(tr_handler_check(h, &absent), TR_ESERVICE);
    assert_non_null(strstr(absent.message, "Runtime.HandlerNotFound"));
    assert_non_null(strstr(outcome(h, "{}"), "Runtime.HandlerNotFound"));
    tr_handler_free(h);
    tr_handler_options o = {.kind = TR_HANDLER_LAMBDA, .target = "none.handler", .directory = w->dir};
    tr_error err = {0};
    assert_int_equal(tr_handler_new(&o, &h, &err), TR_EINVAL);
    assert_non_null(strstr(err.message, "none.js"));
}

static void lambda_in_python(void **state)
{
    world *w = *state;
    write_file(w, "pyfn.py",
               "import os\n"
               "class MyError(Exception): pass\n"
               "def handler(event, context):\n"
               "    print('said on stdout')\n"
               "    do = event['do']\n"
               "    if do == 'fail': raise MyError('it broke')\n"
               "    if do == 'exit': os._exit(9)\n"
               "    if do == 'env': return os.environ['IS_OFFLINE'] + ' ' + os.environ['AWS_ENDPOINT_URL']\n"
               "    assert context.get_remaining_time_in_millis() > 0 and context.aws_request_id\n"
               "    return event.get('x')\n");
    lambda_cases(w, "pyfn.handler");
}

static void count_down(void *ctx, const tr_handler_result *result)
{
    int *counts = ctx;
    counts[result->code == 0 ? 0 : result->code == TR_ECANCELED ? 1 : 2]++;
}

static void freeing_answers_what_waits(void **state)
{
    world *w = *state;
    int counts[3] = {0};
    tr_handler *h = open_handler(w, TR_HANDLER_EXEC_EACH, "sleep 30", 60000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(tr_handler_invoke(h, TR_VIEW("{}"), count_down, counts), 0);
    assert_int_equal(tr_handler_invoke(h, TR_VIEW("[]"), count_down, counts), TR_EINVAL);
    tr_handler_free(h);
    assert_int_equal(counts[1], 10);
}

static void count_success(void *ctx, const tr_handler_result *result)
{
    assert_int_equal(result->code, 0);
    atomic_fetch_add((atomic_int *)ctx, 1);
}

/* Three that wait for each other: none would end if they were run one after the other. */
static void events_run_at_the_same_time_where_asked(void **state)
{
    static const tr_handler_kind kinds[] = {TR_HANDLER_EXEC_EACH, TR_HANDLER_LAMBDA};
    for (size_t k = 0; k < TR_COUNT(kinds); k++) {
        world *w = *state;
        atomic_int done = 0;
        write_file(w, "together.py",
                   "import os, time, uuid\n"
                   "def handler(event, context):\n"
                   "    os.makedirs('met', exist_ok=True)\n"
                   "    open('met/' + str(uuid.uuid4()), 'w').close()\n"
                   "    while len(os.listdir('met')) < 3: time.sleep(0.01)\n"
                   "if __name__ == '__main__': handler(None, None)\n");
        tr_handler_options o = {.kind = kinds[k],
                                .target = k ? "together.handler" : "python3 together.py; rm -f none",
                                .directory = w->dir,
                                .concurrency = 3,
                                .timeout_ms = 60000};
        tr_handler *h;
        tr_error err = {0};
        assert_int_equal(tr_handler_new(&o, &h, &err), 0);
        for (int i = 0; i < 3; i++)
            assert_int_equal(tr_handler_invoke(h, TR_VIEW("{}"), count_success, &done), 0);
        while (atomic_load(&done) < 3)
            usleep(1000);
        tr_handler_free(h);
        char command[128];
        (void)snprintf(command, sizeof command, "rm -rf %s/met", w->dir);
        assert_int_equal(system(command), 0);
    }
}

static void canceling_ends_what_runs_and_the_next_event_meets_a_fresh_process(void **state)
{
    world *w = *state;
    static const struct {
        tr_handler_kind kind;
        const char *target;
    } kinds[] = {
        {TR_HANDLER_EXEC, "while read -r x; do case $x in *hang*) touch began; sleep 1000;; esac; "
                          "echo \"{\\\"id\\\":$(echo $x | tr -cd 0-9)}\"; done"},
        {TR_HANDLER_EXEC_EACH, "if grep -q hang; then touch began; sleep 1000; fi"},
        {TR_HANDLER_LAMBDA, "hang.handler"},
    };
    write_file(w, "hang.py",
               "import time\n"
               "def handler(event, context):\n"
               "    if event.get('do') == 'hang':\n"
               "        open('began', 'w').close()\n"
               "        time.sleep(1000)\n");
    for (size_t i = 0; i < TR_COUNT(kinds); i++) {
        char path[128];
        int counts[3] = {0};
        tr_handler *h = open_handler(w, kinds[i].kind, kinds[i].target, 60000);
        for (int k = 0; k < 3; k++)
            assert_int_equal(tr_handler_invoke(h, TR_VIEW("{\"do\":\"hang\"}"), count_down, counts), 0);
        (void)snprintf(path, sizeof path, "%s/began", w->dir);
        while (access(path, F_OK) != 0)
            usleep(1000);
        (void)unlink(path);
        tr_handler_cancel(h);
        assert_int_equal(counts[1], 3); /* told before it returns */
        assert_int_equal(tr_handler_invoke_wait(h, TR_VIEW("{}"), NULL, NULL), 0);
        tr_handler_free(h);
        assert_int_equal(counts[0] + counts[2], 0);
    }
}

static int checked(world *w, tr_handler_kind kind, const char *target, const char *message)
{
    tr_error err = {0};
    tr_handler *h = open_handler(w, kind, target, 60000);
    int code = tr_handler_check(h, &err);
    if (code)
        assert_non_null(strstr(err.message, message));
    else
        assert_int_equal(tr_handler_invoke_wait(h, TR_VIEW("{}"), NULL, &err), 0);
    tr_handler_free(h);
    return code;
}

static void code_that_cannot_run_is_found_before_any_event(void **state)
{
    world *w = *state;
    write_file(w, "good.py", "def handler(event, context): pass\n");
    write_file(w, "broken.py", "import no_such_module\n");
    write_file(w, "left.py", "import os\nos._exit(3)\n");
    static const tr_handler_kind lambda = TR_HANDLER_LAMBDA, each = TR_HANDLER_EXEC_EACH;
    assert_int_equal(checked(w, lambda, "good.handler", ""), 0);
    assert_int_equal(checked(w, lambda, "broken.handler", "no_such_module"), TR_ESERVICE);
    assert_int_equal(checked(w, lambda, "left.handler", "its process ended"), TR_ESERVICE);
    assert_int_equal(checked(w, each, "/no/such/cmd x", "/no/such/cmd"), TR_ENOTFOUND);
    assert_int_equal(checked(w, TR_HANDLER_EXEC, "no-such-command", "no-such-command"), TR_ENOTFOUND);
    assert_int_equal(checked(w, each, "cat > /dev/null", ""), 0);
    assert_int_equal(checked(w, each, "if true; then A=b cat; fi", ""), 0);
    assert_int_equal(checked(w, each, "A=b cat", ""), 0);
}

/* What has left for a session of its own keeps the pipes of its parent open for as long as it likes. */
static void a_process_that_leaves_another_behind_is_over_when_it_exits(void **state)
{
    world *w = *state;
    char command[128];
    tr_handler *h = open_handler(w, TR_HANDLER_EXEC_EACH,
                                 "setsid sh -c 'echo $$ > pid; exec sleep 600' & "
                                 "while ! test -s pid; do sleep 0.01; done; echo 'caf\xe9' >&2; exit 3",
                                 120000);
    const char *said = outcome(h, "{}");
    (void)snprintf(command, sizeof command, "kill $(cat %s/pid)", w->dir);
    assert_int_equal(system(command), 0);
    assert_string_equal(said, "-9 Runtime.ExitError exit status 3: caf?");
    tr_handler_free(h);
}

static void set_stack(size_t bytes)
{
    pthread_attr_t attr;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, bytes), 0);
    assert_int_equal(pthread_setattr_default_np(&attr), 0);
    (void)pthread_attr_destroy(&attr);
}

/* Not one call within the other, for which the stack here has no room. */
static void each_that_cannot_start_is_told_however_many_wait(void **state)
{
    world *w = *state;
    enum { EVENTS = 120 };
    char go[128], command[256];
    int counts[3] = {0};
    (void)snprintf(go, sizeof go, "%s.go", w->dir);
    (void)snprintf(command, sizeof command, "while ! test -e %s; do sleep 0.01; done", go);
    set_stack((size_t)256 << 10);
    tr_handler *h = open_handler(w, TR_HANDLER_EXEC_EACH, command, 600000);
    set_stack((size_t)8 << 20);
    for (int i = 0; i < EVENTS; i++) /* the first of them runs, the others wait for it */
        assert_int_equal(tr_handler_invoke(h, TR_VIEW("{}"), count_down, counts), 0);
    tr_handler_restart(h);              /* all of them have arrived */
    assert_int_equal(rmdir(w->dir), 0); /* where the programs should run */
    FILE *f = fopen(go, "w");
    assert_non_null(f);
    (void)fclose(f);
    assert_int_equal(tr_handler_invoke_wait(h, TR_VIEW("{}"), NULL, NULL), TR_EINVAL);
    tr_handler_free(h);
    (void)unlink(go);
    assert_int_equal(counts[0], 1);
    assert_int_equal(counts[2], EVENTS - 1);
}

/* Events that nobody asks for time out, and the process that did not ask is replaced. */
static void code_that_hangs_while_it_loads_is_started_again(void **state)
{
    world *w = *state;
    write_file(w, "slow.py",
               "import os, time\n"
               "if not os.path.exists('once'):\n"
               "    open('once', 'w').close()\n"
               "    time.sleep(1000)\n"
               "def handler(event, context): return 'here'\n");
    tr_handler *h = open_handler(w, TR_HANDLER_LAMBDA, "slow.handler", 2000);
    assert_non_null(strstr(outcome(h, "{}"), "-11 Sandbox.Timedout"));
    const char *said = "";
    for (int i = 0; i < 30 && strcmp(said, "0 \"here\"") != 0; i++) /* a busy machine loads slowly */
        said = outcome(h, "{}");
    assert_string_equal(said, "0 \"here\"");
    tr_handler_free(h);
}

static void options_are_checked(void **state)
{
    (void)state;
    static const char *const wrong_env[] = {"NAME"}, *const empty_env[] = {"=x"};
    const tr_handler_options wrong[] = {
        {.kind = TR_HANDLER_EXEC},
        {.kind = TR_HANDLER_EXEC, .target = ""},
        {.kind = TR_HANDLER_URL, .target = "ftp://x"},
        {.kind = TR_HANDLER_LAMBDA, .target = "no/such/file.handler"},
        {.kind = TR_HANDLER_LAMBDA, .target = "nodot"},
        {.kind = TR_HANDLER_EXEC, .target = "x", .concurrency = TR_HANDLER_CONCURRENCY_MAX + 1},
        {.kind = TR_HANDLER_EXEC, .target = "x", .timeout_ms = -1},
        {.kind = TR_HANDLER_EXEC, .target = "x", .environment = wrong_env, .environment_count = 1},
        {.kind = TR_HANDLER_EXEC, .target = "x", .environment = empty_env, .environment_count = 1},
    };
    for (size_t i = 0; i < TR_COUNT(wrong); i++) {
        tr_handler *h = NULL;
        tr_error err = {0};
        assert_int_equal(tr_handler_new(&wrong[i], &h, &err), TR_EINVAL);
        assert_null(h);
        assert_int_not_equal(err.message[0], 0);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_process_that_stays),
        T(a_process_per_event),
        T(a_url_that_nobody_serves),
        T(lambda_in_node),
        T(lambda_in_python),
        T(freeing_answers_what_waits),
        T(events_run_at_the_same_time_where_asked),
        T(canceling_ends_what_runs_and_the_next_event_meets_a_fresh_process),
        T(code_that_cannot_run_is_found_before_any_event),
        T(a_process_that_leaves_another_behind_is_over_when_it_exits),
        T(each_that_cannot_start_is_told_however_many_wait),
        T(code_that_hangs_while_it_loads_is_started_again),
        T(options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
