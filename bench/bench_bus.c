/* SPDX-License-Identifier: MIT */
/**
 * The bus of an embedded server with a directory, called in this process: events of some 900 bytes through
 * PutEvents (32 requests of 10 at a time), the time from PutEvents to a handler's call (a URL of this
 * process, one event at a time), and a replay from an archive to a queue. A line of JSON each.
 *
 *     bench_bus [EVENTS]        default 20000
 */
#include "http/loop.h"

#include <tailrace/client.h>
#include <tailrace/engine.h>
#include <tailrace/http.h>
#include <tailrace/json.h>
#include <tailrace/publish.h>

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define DELAYS 400

typedef struct bench {
    tr_server *server;
    tr_client *client;
    tr_buf answer;
    tr__loop *loop;
    tr_http_server *http;
    unsigned port;
    atomic_llong called_ns;
    sem_t called;
    uint64_t events;
} bench;

static void fail(const char *what, const tr_error *err)
{
    (void)fprintf(stderr, "%s: %s %s\n", what, err->type, err->message);
    exit(1);
}

static void call(bench *b, tr_service service, const char *operation, const char *body)
{
    const tr_request request = {.service = service, .operation = operation, .body = tr_view_str(body)};
    tr_error err = {0};
    tr_buf_reset(&b->answer);
    if (tr_client_call_wait(b->client, &request, &b->answer, &err))
        fail(operation, &err);
}

/* ---------------------------------------------------------------------------------------------- the handler
 */

static void on_request(void *ctx, tr_http_request *request)
{
    bench *b = ctx;
    atomic_store(&b->called_ns, tr_clock_mono_ns());
    tr_http_respond_bytes(request, 200, "application/json", TR_VIEW("{}"));
    (void)sem_post(&b->called);
}

static void open_http(void *ctx)
{
    bench *b = ctx;
    tr_error err = {0};
    const char *const listen[] = {"127.0.0.1:0"};
    const tr_http_options o = {.listen = listen, .listen_count = 1};
    if (tr_http_server_new(tr__loop_uv(b->loop), &o, on_request, b, &b->http, &err))
        fail("listening", &err);
    b->port = tr_http_server_port(b->http, 0);
}

static void close_http(void *ctx)
{
    tr_http_server_close(((bench *)ctx)->http, 0, NULL, NULL);
}

/* ------------------------------------------------------------------------------------------------- parts */

static void put_detail(tr_buf *out, uint64_t n)
{
    tr_buf_reset(out);
    tr_buf_printf(out,
                  "{\"log\":\"users\",\"type\":\"signup\",\"n\":%llu,\"name\":\"Ada "
                  "Lovelace\",\"email\":\"ada%llu@example.com\",\"note\":\"",
                  (unsigned long long)n, (unsigned long long)n);
    for (int i = 0; i < 60; i++)
        tr_buf_put_str(out, "ten bytes ");
    tr_buf_put_str(out, "\"}");
}

static double publish(bench *b, const char *bus, const char *source)
{
    tr_publisher *publisher;
    tr_publisher_stats stats;
    tr_buf detail;
    tr_error err = {0};
    const tr_publisher_options o = {.bus = bus, .in_flight = 32};
    if (tr_publisher_new(b->client, &o, &publisher, &err))
        fail("publisher", &err);
    tr_buf_init(&detail, 1 << 20);
    int64_t began = tr_clock_mono_ns();
    for (uint64_t n = 0; n < b->events; n++) {
        put_detail(&detail, n);
        const tr_publish_entry entry = {
            .source = tr_view_str(source), .detail_type = TR_VIEW("t"), .detail = tr_buf_view(&detail)};
        if (tr_publisher_put(publisher, &entry, -1, NULL, NULL, &err))
            fail("put", &err);
    }
    if (tr_publisher_flush(publisher, -1, &err))
        fail("flush", &err);
    double seconds = (double)(tr_clock_mono_ns() - began) / 1e9;
    tr_publisher_get_stats(publisher, &stats);
    if (stats.published != b->events)
        (void)fprintf(stderr, "%llu of %llu published\n", (unsigned long long)stats.published,
                      (unsigned long long)b->events);
    tr_publisher_free(publisher);
    tr_buf_done(&detail);
    return seconds;
}

static void tell_rate(const bench *b, const char *what, double seconds)
{
    (void)printf("{\"what\":\"%s\",\"per_second\":%.0f}\n", what, (double)b->events / seconds);
    (void)fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure_delay(bench *b)
{
    static double all[DELAYS];
    char body[512];
    call(b, TR_EVENTS, "PutRule", "{\"Name\":\"hook\",\"EventPattern\":\"{\\\"source\\\":[\\\"hook\\\"]}\"}");
    (void)snprintf(body, sizeof body,
                   "{\"Rule\":\"hook\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"http://127.0.0.1:%u/\"}]}",
                   b->port);
    call(b, TR_EVENTS, "PutTargets", body);
    for (int i = 0; i < DELAYS; i++) {
        int64_t began = tr_clock_mono_ns();
        call(b, TR_EVENTS, "PutEvents",
             "{\"Entries\":[{\"Source\":\"hook\",\"DetailType\":\"t\",\"Detail\":\"{\\\"a\\\":1}\"}]}");
        while (sem_wait(&b->called))
            ;
        all[i] = (double)(atomic_load(&b->called_ns) - began) / 1e6;
    }
    qsort(all, DELAYS, sizeof *all, by_value);
    (void)printf("{\"what\":\"event to handler\",\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", all[DELAYS / 2],
                 all[DELAYS * 99 / 100]);
    (void)fflush(stdout);
}

static bool is_state(bench *b, const char *state)
{
    return tr_view_find(tr_buf_view(&b->answer), tr_view_str(state), 0) != SIZE_MAX;
}

static void measure_replay(bench *b)
{
    const struct timespec step = {.tv_nsec = 5000000};
    call(b, TR_SQS, "CreateQueue", "{\"QueueName\":\"replayed\"}");
    call(b, TR_EVENTS, "PutRule",
         "{\"Name\":\"replayed\",\"EventBusName\":\"archived\",\"EventPattern\":\"{\\\"replay-name\\\":[{"
         "\\\"exists\\\":true}]}\"}");
    call(b, TR_EVENTS, "PutTargets",
         "{\"Rule\":\"replayed\",\"EventBusName\":\"archived\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"arn:aws:"
         "sqs:us-east-1:"
         "000000000000:replayed\"}]}");
    int64_t began = tr_clock_mono_ns();
    call(b, TR_EVENTS, "StartReplay",
         "{\"ReplayName\":\"r\",\"EventSourceArn\":\"arn:aws:events:us-east-1:000000000000:archive/"
         "all\",\"EventStartTime\":"
         "1,\"EventEndTime\":4000000000,\"Destination\":{\"Arn\":\"arn:aws:events:us-east-1:000000000000:"
         "event-bus/archived\"}}");
    do {
        (void)nanosleep(&step, NULL);
        call(b, TR_EVENTS, "DescribeReplay", "{\"ReplayName\":\"r\"}");
    } while (is_state(b, "\"STARTING\"") || is_state(b, "\"RUNNING\""));
    if (!is_state(b, "COMPLETED"))
        (void)fprintf(stderr, "the replay did not complete: %s\n", tr_buf_cstr(&b->answer));
    tell_rate(b, "replayed events/s, to a queue", (double)(tr_clock_mono_ns() - began) / 1e9);
}

static void measure_all(bench *b)
{
    call(b, TR_EVENTS, "CreateEventBus", "{\"Name\":\"plain\"}");
    call(b, TR_EVENTS, "CreateEventBus", "{\"Name\":\"archived\"}");
    call(b, TR_EVENTS, "PutRule",
         "{\"Name\":\"other\",\"EventBusName\":\"plain\",\"EventPattern\":\"{\\\"source\\\":[\\\"other\\\"]}"
         "\"}");
    call(b, TR_EVENTS, "CreateArchive",
         "{\"ArchiveName\":\"all\",\"EventSourceArn\":\"arn:aws:events:us-east-1:000000000000:event-bus/"
         "archived\"}");
    tell_rate(b, "PutEvents events/s, a rule that does not match", publish(b, "plain", "shop"));
    tell_rate(b, "PutEvents events/s, archived", publish(b, "archived", "shop"));
    measure_delay(b);
    measure_replay(b);
}

int main(int argc, char **argv)
{
    static bench b;
    char dir[] = "/tmp/tailrace-bench-bus-XXXXXX", command[128];
    tr_error err = {0};
    tr_transport *transport = NULL;
    b.events = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    tr_buf_init(&b.answer, (size_t)64 << 20);
    (void)sem_init(&b.called, 0, 0);
    if (!mkdtemp(dir))
        return 1;
    const tr_server_options options = {.data_dir = dir};
    if (tr_server_new(&options, &b.server, &err) || tr_server_transport(b.server, &transport, &err))
        fail("the server", &err);
    const tr_client_options client = {.transport = transport};
    if (tr_client_new(&client, &b.client, &err) || tr__loop_new(&b.loop, &err))
        fail("the client", &err);
    tr__loop_call(b.loop, open_http, &b);
    measure_all(&b);
    tr__loop_call(b.loop, close_http, &b);
    tr_client_free(b.client);
    tr_server_free(b.server);
    tr__loop_free(b.loop);
    tr_buf_done(&b.answer);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) != 0;
}
