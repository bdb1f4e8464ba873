/* SPDX-License-Identifier: MIT */
/*
 * How long it takes from a write to the callback of a consumer, one write after the other with pauses.
 *
 *     bench_delay --endpoint URL | --embedded  [--writes 2000] [--pause-us 2000]
 *
 * Makes the table "delay" and prints one JSON line: from sending the write ("write") and from its answer,
 * when it is durable ("commit": negative where the callback was the quicker), in microseconds.
 */
#include <tailrace/engine.h>
#include <tailrace/stream.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WRITES_MAX 1000000

typedef struct delay {
    tr_client *client;
    tr_stream *stream;
    size_t writes, heard;
    int64_t *sent, *answered, *called; /* ns */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool caught_up;
} delay;

static void call(tr_client *client, const char *operation, const char *body)
{
    tr_error err = {0};
    tr_request request = {.service = TR_DYNAMODB, .operation = operation, .body = tr_view_str(body)};
    if (tr_client_call_wait(client, &request, NULL, &err)) {
        (void)fprintf(stderr, "%s: %s %s\n", operation, err.type, err.message);
        exit(1);
    }
}

static int on_record(void *ctx, const tr_record *record)
{
    delay *d = ctx;
    int64_t now = tr_clock_mono_ns(), n;
    tr_value v;
    if (tr_item_get(record->new_image, TR_VIEW("n"), &v) || tr_number_to_i64(v.payload, &n) ||
        (size_t)n >= d->writes)
        return 0;
    (void)pthread_mutex_lock(&d->lock);
    d->called[n] = now;
    d->heard++;
    (void)pthread_cond_signal(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
    return 0;
}

static void on_caught_up(void *ctx)
{
    delay *d = ctx;
    (void)pthread_mutex_lock(&d->lock);
    d->caught_up = true;
    (void)pthread_cond_signal(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
}

static void *consume(void *ctx)
{
    delay *d = ctx;
    const tr_stream_handlers handlers = {
        .ctx = d, .insert = on_record, .modify = on_record, .caught_up = on_caught_up};
    (void)tr_stream_run(d->stream, &handlers);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/** From each of `from` to the callback, as {"p50_us":…,"p99_us":…}. */
static void tell(const delay *d, const char *name, const int64_t *from, const char *end)
{
    int64_t *took = malloc(d->writes * sizeof *took);
    if (!took)
        exit(1);
    for (size_t i = 0; i < d->writes; i++)
        took[i] = d->called[i] - from[i];
    qsort(took, d->writes, sizeof *took, by_value);
    size_t middle = d->writes / 2, late = d->writes * 99 / 100;
    (void)printf("\"%s\":{\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}%s", name,
                 (double)took[middle] / 1e3, (double)took[late] / 1e3, (double)took[d->writes - 1] / 1e3,
                 end);
    free(took);
}

static void measure(delay *d, unsigned pause_us)
{
    (void)pthread_mutex_lock(&d->lock);
    while (!d->caught_up)
        (void)pthread_cond_wait(&d->changed, &d->lock);
    (void)pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < d->writes; i++) {
        char body[200];
        (void)snprintf(body, sizeof body,
                       "{\"TableName\":\"delay\",\"Item\":{\"id\":{\"S\":\"%zu\"},\"n\":{\"N\":\"%zu\"}}}",
                       i % 64, i);
        d->sent[i] = tr_clock_mono_ns();
        call(d->client, "PutItem", body);
        d->answered[i] = tr_clock_mono_ns();
        if (pause_us)
            (void)usleep(pause_us);
    }
    (void)pthread_mutex_lock(&d->lock);
    while (d->heard < d->writes)
        (void)pthread_cond_wait(&d->changed, &d->lock);
    (void)pthread_mutex_unlock(&d->lock);
}

static int open_clients(tr_server *server, const char *endpoint, tr_client **writer, tr_client **reader,
                        tr_error *err)
{
    tr_client **clients[] = {writer, reader};
    for (int i = 0; i < 2; i++) {
        tr_client_options o = {.endpoint = endpoint, .access_key_id = "x", .secret_access_key = "x"};
        int code = server ? tr_server_transport(server, &o.transport, err) : 0;
        if (code || tr_client_new(&o, clients[i], err))
            return -1;
    }
    return 0;
}

static int run(delay *d, tr_server *server, const char *endpoint, unsigned pause_us, tr_error *err)
{
    tr_client *reader;
    if (open_clients(server, endpoint, &d->client, &reader, err))
        return -1;
    call(d->client, "CreateTable",
         "{\"TableName\":\"delay\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":[{"
         "\"AttributeName\":"
         "\"id\",\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"}],"
         "\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}");
    tr_stream_options o = {.table = "delay"};
    if (tr_stream_new(reader, &o, &d->stream, err))
        return -1;
    pthread_t thread;
    if (pthread_create(&thread, NULL, consume, d))
        return -1;
    measure(d, pause_us);
    tr_stream_stop(d->stream);
    (void)pthread_join(thread, NULL);
    (void)printf("{\"writes\":%zu,", d->writes);
    tell(d, "write", d->sent, ",");
    tell(d, "commit", d->answered, "}\n");
    tr_stream_free(d->stream);
    tr_client_free(reader);
    tr_client_free(d->client);
    return 0;
}

int main(int argc, char **argv)
{
    const char *endpoint = NULL;
    delay d = {.writes = 2000, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    unsigned pause_us = 2000;
    bool embedded = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--embedded") == 0)
            embedded = true;
        else if (strcmp(argv[i], "--endpoint") == 0 && i + 1 < argc)
            endpoint = argv[++i];
        else if (strcmp(argv[i], "--writes") == 0 && i + 1 < argc)
            d.writes = strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--pause-us") == 0 && i + 1 < argc)
            pause_us = (unsigned)strtoul(argv[++i], NULL, 10);
        else
            return 2;
    }
    if (d.writes == 0 || d.writes > WRITES_MAX || embedded == (endpoint != NULL))
        return 2;
    d.sent = calloc(d.writes, sizeof *d.sent);
    d.answered = calloc(d.writes, sizeof *d.answered);
    d.called = calloc(d.writes, sizeof *d.called);
    tr_error err = {0};
    tr_server *server = NULL;
    tr_server_options options = {0};
    int code = !d.sent || !d.answered || !d.called;
    if (!code && embedded)
        code = tr_server_new(&options, &server, &err);
    if (!code)
        code = run(&d, server, endpoint, pause_us, &err);
    if (code)
        (void)fprintf(stderr, "%s\n", err.message);
    tr_server_free(server);
    free(d.sent);
    free(d.answered);
    free(d.called);
    return code ? 1 : 0;
}
