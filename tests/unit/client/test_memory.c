/* SPDX-License-Identifier: MIT */
/** Every allocation of a client fails once, from opening it to freeing it: callbacks still run exactly once.
 */
#include "../http/serving.h"

#include <tailrace/client.h>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static atomic_long allowed =
    -1;                  /* allocations until the next fails; later ones succeed again. -1: none fails */
static atomic_long live; /* blocks not freed yet */

static void *failing_realloc(void *ptr, size_t size)
{
    if (atomic_load(&allowed) >= 0 && atomic_fetch_sub(&allowed, 1) == 0)
        return NULL;
    void *got = realloc(ptr, size);
    if (got && !ptr)
        live++;
    return got;
}

static void counting_free(void *ptr)
{
    live--;
    free(ptr);
}

/* A server in another process, so that its allocations are not counted. */
static pid_t start_server(unsigned *ret_port)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct serving s;
        serving_start(&s, (tr_http_options){0});
        if (write(fds[1], &s.port, sizeof s.port) != (ssize_t)sizeof s.port)
            _exit(1);
        (void)close(fds[0]);
        for (;;)
            pause();
    }
    assert_int_equal(read(fds[0], ret_port, sizeof *ret_port), sizeof *ret_port);
    (void)close(fds[0]);
    (void)close(fds[1]);
    return pid;
}

struct counts {
    atomic_int accepted, called, good;
};

static void on_reply(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    struct counts *c = ctx;
    assert_true(code == 0 ? reply != NULL : err != NULL);
    c->good += code == 0;
    c->called++;
}

static void on_task(void *ctx)
{
    ((struct counts *)ctx)->called++;
}

static bool on_event(void *ctx, tr_view id, tr_view event, tr_view data)
{
    (void)ctx;
    (void)id;
    (void)event;
    (void)data;
    return true;
}

static void use_client(tr_client *client, struct counts *c)
{
    tr_header header = {TR_VIEW("X-Amz-Extra"), TR_VIEW("v")};
    tr_request request = {.service = TR_DYNAMODB,
                          .operation = "Op",
                          .body = TR_VIEW("{}"),
                          .headers = &header,
                          .header_count = 1,
                          .timeout_ms = 300};
    for (int i = 0; i < 3; i++) {
        request.attempts = i == 1 ? 1 : 3;
        c->accepted += tr_client_call(client, &request, on_reply, c) == 0;
        if (i == 0)
            (void)tr_client_call_wait(client, &request, NULL, NULL);
    }
    c->accepted += tr_client_schedule(client, 5, on_task, c) == 0;
    c->accepted +=
        tr_client_subscribe(client, TR_VIEW("/status/404"), TR_VIEW("7"), on_event, on_reply, c) == 0;
    /* what lacked memory may never come; else it comes when the machine lets it */
    for (int i = 0; i < (allowed < 0 ? 400 : ANSWER_MS) && c->called < c->accepted - 1; i++)
        usleep(1000);
}

static void each_failure_is_survived(void **state)
{
    (void)state;
    unsigned port;
    pid_t pid = start_server(&port);
    char endpoint[64];
    (void)snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", port);
    tr_client_options options = {
        .endpoint = endpoint, .session_token = "t", .access_key_id = "a", .secret_access_key = "b"};
    bool whole = false;
    for (long n = 0; !whole && n < 2000; n++) {
        struct counts c = {0};
        tr_client *client;
        tr_error err;
        long before = live;
        allowed = n;
        int code = tr_client_new(&options, &client, &err);
        if (code == 0) {
            use_client(client, &c);
            whole = allowed >= 0;
            tr_client_free(client);
            assert_int_equal(c.called, c.accepted);
            if (whole)
                assert_int_equal(c.accepted, 5);
            whole = whole && c.good == 3; /* if none failed, time was up for one: once more */
        } else {
            assert_true(code == TR_ENOMEM || code == TR_ELIMIT);
        }
        allowed = -1;
        assert_int_equal(live, before);
    }
    assert_true(whole);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

int main(void)
{
    (void)setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    (void)setenv("HOME", "/proc/nowhere", 1);
    tr_set_allocator(failing_realloc, counting_free);
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_failure_is_survived)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
