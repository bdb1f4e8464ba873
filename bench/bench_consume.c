/* SPDX-License-Identifier: MIT */
/**
 * Reads a table's stream from its beginning with tailrace/stream.h until it has seen COUNT records, and
 * counts them: what bench/dynamodb-stream.mjs does with npm's dynamodb-stream.
 *
 *     bench_consume ENDPOINT TABLE COUNT
 */
#include <tailrace/stream.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define BATCH 1000

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static uint64_t consume(tr_stream *stream, uint64_t count)
{
    tr_stream_batch batch = {0};
    uint64_t records = 0;
    while (records < count) {
        int code = tr_stream_next_batch(stream, BATCH, 10000, 0, &batch);
        if (code) {
            (void)fprintf(stderr, "bench_consume: %s after %llu records\n", tr_strerror(code),
                          (unsigned long long)records);
            break;
        }
        for (size_t i = 0; i < batch.count; i++)
            records += batch.events[i]->kind == TR_STREAM_RECORD;
        tr_stream_ack_batch(stream, &batch);
    }
    tr_stream_batch_done(&batch);
    return records;
}

int main(int argc, char **argv)
{
    tr_client *client;
    tr_stream *stream;
    tr_error err;
    if (argc < 4) {
        (void)fprintf(stderr, "usage: bench_consume ENDPOINT TABLE COUNT\n");
        return 2;
    }
    double cpu = cpu_seconds();
    int64_t began = tr_clock_mono_ns();
    tr_client_options co = {.endpoint = argv[1]};
    tr_stream_options so = {.table = argv[2], .start = {.at = TR_START_TRIM_HORIZON}};
    if (tr_client_new(&co, &client, &err) || tr_stream_new(client, &so, &stream, &err)) {
        (void)fprintf(stderr, "bench_consume: %s\n", err.message);
        return 1;
    }
    uint64_t records = consume(stream, strtoull(argv[3], NULL, 10));
    double seconds = 1e-9 * (double)(tr_clock_mono_ns() - began);
    printf("{\"records\":%llu,\"seconds\":%.6f,\"cpu_s\":%.6f}\n", (unsigned long long)records, seconds,
           cpu_seconds() - cpu);
    tr_stream_free(stream);
    tr_client_free(client);
    return 0;
}
