/* SPDX-License-Identifier: MIT */
/**
 * The engine without a wire: durable puts, gets and queries per second, 400-byte items, a stream of new and
 * old images.
 *
 *     bench_engine DIR|memory ITEMS [SECONDS] [CONNECTIONS]
 *
 * ITEMS are written first (ten sort keys to a partition, with the keys of bench/load.c), then each
 * measurement runs over random ones of them. A durable put waits for its sync: CONNECTIONS (32) are under way
 * at any time, as many clients would have it.
 */
#include "engine/engine.h"
#include "must.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define SORT_KEYS   10
#define ARENA_LIMIT ((size_t)64 * 1024 * 1024)

typedef struct bench {
    tr_engine *engine;
    tr_table *table;
    tr_arena arena;
    tr_buf buf;
    tr_rng rng;
    uint64_t items;
    unsigned connections;
    double seconds;
    int event;
    uint64_t under_way[4096]; /* tickets, oldest first */
    unsigned first, count;
} bench;

static void on_synced(void *ctx)
{
    uint64_t one = 1;
    if (write(((bench *)ctx)->event, &one, sizeof one) < 0)
        abort();
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void report(const char *what, uint64_t n, int64_t start_ns, double start_cpu)
{
    double s = 1e-9 * (double)(tr_clock_mono_ns() - start_ns), cpu = cpu_seconds() - start_cpu;
    printf("%-28s %10.0f /s   %6.2f us wall   %6.2f us cpu\n", what, (double)n / s, 1e6 * s / (double)n,
           1e6 * cpu / (double)n);
    (void)fflush(stdout);
}

/* ---------------------------------------------------------------------------------------------- items */

/* As bench/load_requests.c has them, so that a server can be measured on what was loaded here. */
static void key_texts(uint64_t n, char *pk, char *sk)
{
    (void)snprintf(pk, 32, "p%07u", (unsigned)(n / SORT_KEYS));
    (void)snprintf(sk, 32, "%02u", (unsigned)(n % SORT_KEYS));
}

static tr_item make_item(bench *b, uint64_t n, bool whole)
{
    static char fillers[64][320];
    char pk[32], sk[32];
    key_texts(n, pk, sk);
    tr_packer p;
    tr_buf_reset(&b->buf);
    tr_packer_init(&p, &b->buf);
    tr_pack_item_begin(&p);
    if (whole) {
        char *filler = fillers[tr_rng_below(&b->rng, TR_COUNT(fillers))];
        for (size_t i = 0; !filler[0] && i < sizeof fillers; i++)
            fillers[0][i] = (char)('0' + (i % 8 < 5 ? 0 : tr_rng_below(&b->rng, 10)));
        tr_pack_name(&p, TR_VIEW("filler"));
        tr_pack_s(&p, tr_view_of(filler, sizeof fillers[0]));
        tr_pack_name(&p, TR_VIEW("number"));
        tr_pack_n_i64(&p, (int64_t)n);
    }
    tr_pack_name(&p, TR_VIEW("pk"));
    tr_pack_s(&p, tr_view_str(pk));
    tr_pack_name(&p, TR_VIEW("sk"));
    tr_pack_s(&p, tr_view_str(sk));
    if (whole) {
        tr_pack_name(&p, TR_VIEW("when"));
        tr_pack_n_i64(&p, 1700000000);
    }
    must(tr_pack_item_end(&p), &(tr_error){0});
    return tr_buf_view(&b->buf);
}

static void put(bench *b, uint64_t n)
{
    tr_error err = {0};
    tr_write w = {.kind = TR_WRITE_PUT, .table = b->table, .item = make_item(b, n, true)};
    must(tr_engine_write(b->engine, &w, 1, false, &b->arena, &err), &err);
    tr_arena_reset(&b->arena);
}

/* ----------------------------------------------------------------------------------------- measurements */

/* Answers those whose state is durable; waits for one if none is. */
static void take_answers(bench *b)
{
    tr_error err = {0};
    while (tr_engine_synced(b->engine) < b->under_way[b->first]) {
        uint64_t n;
        if (read(b->event, &n, sizeof n) < 0)
            abort();
    }
    must(tr_engine_poll(b->engine, &err), &err);
    uint64_t synced = tr_engine_synced(b->engine);
    for (; b->count && b->under_way[b->first] <= synced; b->count--)
        b->first = (b->first + 1) % TR_COUNT(b->under_way);
}

static void durable_puts(bench *b, const char *what, uint64_t count, bool random)
{
    tr_error err = {0};
    int64_t start = tr_clock_mono_ns(), end = start + (int64_t)(b->seconds * 1e9);
    double cpu = cpu_seconds();
    uint64_t n = 0;
    while (count ? n < count : tr_clock_mono_ns() < end) {
        for (; b->count < b->connections; b->count++, n++) {
            put(b, random ? tr_rng_below(&b->rng, b->items) : n);
            b->under_way[(b->first + b->count) % TR_COUNT(b->under_way)] = tr_engine_ticket(b->engine);
        }
        must(tr_engine_flush(b->engine, &err), &err);
        take_answers(b);
    }
    while (b->count)
        take_answers(b);
    report(what, n, start, cpu);
}

static void gets(bench *b)
{
    tr_error err = {0};
    int64_t start = tr_clock_mono_ns(), end = start + (int64_t)(b->seconds * 1e9);
    double cpu = cpu_seconds();
    uint64_t n = 0;
    for (; tr_clock_mono_ns() < end; n++) {
        tr_item found, key = make_item(b, tr_rng_below(&b->rng, b->items), false);
        must(tr_engine_get(b->engine, NULL, b->table, key, &b->arena, &found, &err), &err);
        tr_arena_reset(&b->arena);
    }
    report("gets", n, start, cpu);
}

static void queries(bench *b, bool backward)
{
    tr_error err = {0};
    int64_t start = tr_clock_mono_ns(), end = start + (int64_t)(b->seconds * 1e9);
    double cpu = cpu_seconds();
    uint64_t n = 0;
    for (; tr_clock_mono_ns() < end; n++) {
        char pk[32], sk[32];
        key_texts(tr_rng_below(&b->rng, b->items), pk, sk);
        tr_cursor_spec spec = {
            .table = b->table, .hash = {{TR_S, tr_view_str(pk)}}, .hash_count = 1, .backward = backward};
        tr_cursor *cursor;
        tr_item found;
        must(tr_cursor_new(b->engine, &spec, &cursor, &err), &err);
        unsigned got = 0;
        while (tr_cursor_next(cursor, &found, &err) == 0)
            got++;
        if (got != SORT_KEYS)
            abort();
        tr_cursor_free(cursor);
    }
    report(backward ? "queries of 10, backward" : "queries of 10", n, start, cpu);
}

static bool count_change(void *ctx, const tr_stream_change *change)
{
    (void)change;
    (*(uint64_t *)ctx)++;
    return true;
}

static void changes(bench *b)
{
    tr_error err = {0};
    tr_stream *stream = b->table->stream;
    if (!stream)
        return;
    int64_t start = tr_clock_mono_ns();
    double cpu = cpu_seconds();
    uint64_t n = 0, next;
    for (size_t i = 0; i < stream->shard_count; i++)
        must(tr_engine_read_shard(b->engine, stream, &stream->shards[i], 0, count_change, &n, &next, &err),
             &err);
    report("change records, by shard", n, start, cpu);
    start = tr_clock_mono_ns();
    cpu = cpu_seconds();
    n = 0;
    must(tr_engine_read_stream(b->engine, stream, 0, count_change, &n, &next, &err), &err);
    report("change records, merged", n, start, cpu);
}

static void memory(bench *b)
{
    uint64_t memory_bytes, disk_bytes;
    tr_kv_usage(tr_engine_kv(b->engine), &memory_bytes, &disk_bytes);
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf("store %.1f MB memory, %.1f MB disk; peak rss %.1f MB\n", 1e-6 * (double)memory_bytes,
           1e-6 * (double)disk_bytes, 1e-3 * (double)u.ru_maxrss);
}

static void make_table(bench *b)
{
    tr_error err = {0};
    tr_key_part attributes[] = {{TR_VIEW("pk"), TR_S}, {TR_VIEW("sk"), TR_S}};
    tr_table_spec spec = {
        .name = TR_VIEW("bench"),
        .schema = {.hash_count = 1, .range_count = 1, .hash = {attributes[0]}, .range = {attributes[1]}},
        .attributes = attributes,
        .attribute_count = 2,
        .on_demand = true,
        .stream_view = TR_NEW_AND_OLD_IMAGES};
    must(tr_engine_create_table(b->engine, &spec, &b->table, &err), &err);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: bench_engine DIR|memory ITEMS [SECONDS] [CONNECTIONS]\n");
        return 2;
    }
    static bench b;
    b.items = strtoull(argv[2], NULL, 10);
    b.seconds = argc > 3 ? strtod(argv[3], NULL) : 3;
    b.connections = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 32;
    if (!b.items || b.items < SORT_KEYS || b.connections < 1 || b.connections > TR_COUNT(b.under_way))
        return 2;
    b.items -= b.items % SORT_KEYS;
    b.event = eventfd(0, EFD_CLOEXEC);
    tr_arena_init(&b.arena, ARENA_LIMIT);
    tr_buf_init(&b.buf, 1 << 20);
    tr_rng_seed(&b.rng, 1);
    tr_error err = {0};
    tr_engine_options options = {
        .dir = strcmp(argv[1], "memory") == 0 ? NULL : argv[1], .on_synced = on_synced, .on_synced_ctx = &b};
    const char *megabytes = getenv("MEMORY_MB");
    if (megabytes)
        options.memory_bytes = strtoul(megabytes, NULL, 10) << 20;
    int64_t start = tr_clock_mono_ns();
    must(tr_engine_open(&options, &b.engine, &err), &err);
    printf("open %.2f ms\n", 1e-6 * (double)(tr_clock_mono_ns() - start));
    b.table = tr_engine_table(b.engine, TR_VIEW("bench"));
    if (!b.table) {
        make_table(&b);
        durable_puts(&b, "load, durable", b.items, false);
    }
    const char *only = getenv("ONLY"), *count = getenv("COUNT"); /* some of g, q, p, c; random puts */
    if (!only || strchr(only, 'g'))
        gets(&b);
    if (!only || strchr(only, 'q')) {
        queries(&b, false);
        queries(&b, true);
    }
    if (!only || strchr(only, 'p'))
        durable_puts(&b, "puts, durable", count ? strtoull(count, NULL, 10) : 0, true);
    if (!only || strchr(only, 'g'))
        gets(&b);
    if (!only || strchr(only, 'c'))
        changes(&b);
    memory(&b);
    start = tr_clock_mono_ns();
    tr_engine_close(b.engine);
    printf("close %.2f ms\n", 1e-6 * (double)(tr_clock_mono_ns() - start));
    tr_arena_done(&b.arena);
    tr_buf_done(&b.buf);
    return 0;
}
