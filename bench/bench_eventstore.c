/* SPDX-License-Identifier: MIT */
/**
 * The event store: pushes per second with many under way, reading a long aggregate, folding it with and
 * without a snapshot.
 *
 *     bench_eventstore WHERE push IN-FLIGHT SECONDS [EVENTS-PER-PUSH]
 *     bench_eventstore WHERE get EVENTS SECONDS
 *     bench_eventstore WHERE aggregate EVENTS SECONDS
 *
 * WHERE is http://HOST:PORT, a directory for the engine in this process, or "memory" for one without a disk.
 * The table "events" is made if it is not there. Prints lines of JSON:
 * {"name":…,"per_second":…,"us":…,"cpu_us":…,"p50_us":…}. bench/castore.mjs is the same with castore.
 */
#include <tailrace/aggregate.h>
#include <tailrace/engine.h>
#include <tailrace/eventstore.h>
#include <tailrace/schema.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define IN_FLIGHT_MAX 4096
#define EVENTS_MAX    100
#define SAMPLES       (1u << 20)

typedef struct bench {
    tr_server *server;
    tr_client *client;
    tr_eventstore *store;
    tr_arena arena;
    tr_value payload;
    char id[32]; /* of the long aggregate */
    tr_error err;
    int64_t from_ns, until_ns;
    double cpu_s;
    unsigned running, per_push;
    uint64_t done; /* pushes within the time that counts */
    uint32_t *samples;
    sem_t over;
} bench;

static void must(int code, const bench *b)
{
    if (!code)
        return;
    (void)fprintf(stderr, "bench_eventstore: %s: %s\n", tr_strerror(code), b->err.message);
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* `each`: events in one of the n operations. */
static void report(bench *b, const char *name, uint64_t n, unsigned each)
{
    double seconds = 1e-9 * (double)(tr_clock_mono_ns() - b->from_ns), cpu = cpu_seconds() - b->cpu_s;
    uint64_t kept = n < SAMPLES ? n : SAMPLES;
    qsort(b->samples, kept, sizeof *b->samples, by_size);
    printf("{\"name\":\"%s\",\"per_second\":%.1f,\"events_per_second\":%.1f,\"cpu_us\":%.3f,\"p50_us\":%u,"
           "\"p99_us\":%u}\n",
           name, (double)n / seconds, (double)(n * each) / seconds, 1e6 * cpu / (double)(n ? n : 1),
           kept ? b->samples[kept / 2] : 0, kept ? b->samples[kept - 1 - kept / 100] : 0);
    (void)fflush(stdout);
}

static void begin(bench *b, double seconds)
{
    b->done = 0;
    b->cpu_s = cpu_seconds();
    b->from_ns = tr_clock_mono_ns();
    b->until_ns = b->from_ns + (int64_t)(seconds * 1e9);
}

static void sample(bench *b, int64_t since_ns)
{
    b->samples[b->done++ % SAMPLES] = (uint32_t)((tr_clock_mono_ns() - since_ns) / 1000);
}

/* ------------------------------------------------------------------------------------------------ pushes */

typedef struct pusher {
    bench *b;
    char id[32];
    uint64_t version;
    int64_t since_ns;
    tr_event events[EVENTS_MAX];
} pusher;

static void push_next(void *ctx);

static void on_pushed(void *ctx, int code, const tr_pushed *pushed, const tr_error *err)
{
    pusher *p = ctx;
    (void)pushed;
    if (code) {
        p->b->err = *err;
        must(code, p->b);
    }
    sample(p->b, p->since_ns);
    p->version += p->b->per_push;
    push_next(p);
}

static void push_next(void *ctx)
{
    pusher *p = ctx;
    bench *b = p->b;
    tr_error err;
    p->since_ns = tr_clock_mono_ns();
    if (p->since_ns >= b->until_ns) {
        if (--b->running == 0)
            (void)sem_post(&b->over);
        return;
    }
    for (unsigned i = 0; i < b->per_push; i++)
        p->events[i] = (tr_event){.aggregate_id = tr_view_str(p->id),
                                  .version = p->version + i + 1,
                                  .type = TR_VIEW("MOVED"),
                                  .payload = b->payload};
    must(tr_eventstore_push(b->store, p->events, b->per_push, NULL, on_pushed, p, &err), b);
}

static void run_pushers(bench *b, pusher *pushers, unsigned in_flight, double seconds)
{
    begin(b, seconds);
    b->running = in_flight;
    for (unsigned i = 0; i < in_flight; i++)
        must(tr_client_schedule(b->client, 0, push_next, &pushers[i]), b);
    (void)sem_wait(&b->over);
}

static void pushes(bench *b, unsigned in_flight, double seconds, unsigned per_push)
{
    static pusher pushers[IN_FLIGHT_MAX];
    b->per_push = per_push;
    for (unsigned i = 0; i < in_flight; i++) {
        pushers[i] = (pusher){.b = b};
        (void)snprintf(pushers[i].id, sizeof pushers[i].id, "agg-%lld-%u", (long long)tr_clock_wall_ms(), i);
    }
    run_pushers(b, pushers, in_flight, seconds / 4); /* to warm up */
    run_pushers(b, pushers, in_flight, seconds);
    report(b, "push", b->done, per_push);
}

/* ----------------------------------------------------------------------------------------------- reading */

/* An aggregate of so many events, made in transactions of a hundred. */
static void fill(bench *b, uint64_t count)
{
    (void)snprintf(b->id, sizeof b->id, "long-%lld", (long long)tr_clock_wall_ms());
    static tr_event events[EVENTS_MAX];
    for (uint64_t at = 0; at < count;) {
        size_t n = count - at < EVENTS_MAX ? (size_t)(count - at) : EVENTS_MAX;
        for (size_t i = 0; i < n; i++)
            events[i] = (tr_event){.aggregate_id = tr_view_str(b->id),
                                   .version = at + i + 1,
                                   .type = TR_VIEW("MOVED"),
                                   .payload = b->payload};
        must(tr_eventstore_push_wait(b->store, events, n, NULL, &b->arena, &b->err), b);
        tr_arena_reset(&b->arena);
        at += n;
    }
}

typedef struct reading {
    bench *b;
    uint64_t count, seen;
    int64_t since_ns;
} reading;

static int count_event(void *ctx, const tr_event *event)
{
    (void)event;
    ((reading *)ctx)->seen++;
    return 0;
}

static void get_next(void *ctx);

static void on_got(void *ctx, int code, const tr_error *err)
{
    reading *r = ctx;
    if (code) {
        r->b->err = *err;
        must(code, r->b);
    }
    if (r->seen != r->count)
        abort();
    sample(r->b, r->since_ns);
    if (tr_clock_mono_ns() < r->b->until_ns)
        get_next(r);
    else
        (void)sem_post(&r->b->over);
}

static void get_next(void *ctx)
{
    reading *r = ctx;
    r->seen = 0;
    r->since_ns = tr_clock_mono_ns();
    must(tr_eventstore_get(r->b->store, tr_view_str(r->b->id), NULL, count_event, on_got, r, &r->b->err),
         r->b);
}

/* One at a time, as castore.mjs does. */
static void gets(bench *b, uint64_t count, double seconds)
{
    reading r = {.b = b, .count = count};
    fill(b, count);
    begin(b, seconds);
    must(tr_client_schedule(b->client, 0, get_next, &r), b);
    (void)sem_wait(&b->over);
    report(b, "get", b->done, (unsigned)count);
}

/* ------------------------------------------------------------------------------------------ aggregates */

typedef struct sum {
    int64_t n;
} sum;

static int add(void *ctx, void *state, const tr_event *event, tr_error *err)
{
    tr_value number;
    int64_t n = 0;
    (void)ctx, (void)err;
    if (tr_item_get(event->payload.payload, TR_VIEW("n"), &number) == 0)
        (void)tr_number_to_i64(number.payload, &n);
    ((sum *)state)->n += n;
    return 0;
}

static int save(void *ctx, const void *state, tr_packer *packer)
{
    (void)ctx;
    tr_pack_name(packer, TR_VIEW("n"));
    tr_pack_n_i64(packer, ((const sum *)state)->n);
    return 0;
}

static int load(void *ctx, void *state, tr_item saved)
{
    tr_value n;
    (void)ctx;
    return tr_item_get(saved, TR_VIEW("n"), &n) ? TR_ECORRUPT
                                                : tr_number_to_i64(n.payload, &((sum *)state)->n);
}

static void fold(bench *b, const char *name, uint64_t count, double seconds, tr_snapshots *snapshots)
{
    static const tr_reducer reducer = {
        .name = "sum", .version = "1", .size = sizeof(sum), .apply = add, .save = save, .load = load};
    const tr_aggregate_options options = {.snapshots = snapshots};
    begin(b, seconds);
    do {
        int64_t since = tr_clock_mono_ns();
        tr_aggregate *a;
        must(tr_aggregate_get_wait(b->store, &reducer, tr_view_str(b->id), &options, &a, &b->err), b);
        const sum *s = tr_aggregate_state(a);
        if (tr_aggregate_version(a) != count || s->n != (int64_t)count * 7)
            abort();
        tr_aggregate_free(a);
        sample(b, since);
    } while (tr_clock_mono_ns() < b->until_ns);
    if (name)
        report(b, name, b->done, (unsigned)count);
}

static void aggregates(bench *b, uint64_t count, double seconds)
{
    tr_snapshots *snapshots;
    tr_snapshots_options options = {.every = 1000, .on_read = true};
    int e = tr_schema_create(b->client, TR_SCHEMA_SNAPSHOTS, NULL, &b->err);
    must(e == TR_EEXIST ? 0 : e, b);
    must(tr_snapshots_new(b->client, &options, &snapshots, &b->err), b);
    fill(b, count);
    fold(b, "aggregate", count, seconds, NULL);
    fold(b, NULL, count, 0, snapshots);
    must(tr_snapshots_flush(snapshots, 10000), b);
    fold(b, "aggregate-snapshot", count, seconds, snapshots);
    tr_snapshots_free(snapshots);
}

/* --------------------------------------------------------------------------------------------------- main */

static void open_bench(bench *b, const char *where)
{
    tr_client_options options = {0};
    if (strncmp(where, "http", 4) == 0) {
        options.endpoint = where;
    } else {
        tr_server_options so = {.data_dir = strcmp(where, "memory") == 0 ? NULL : where};
        must(tr_server_new(&so, &b->server, &b->err), b);
        must(tr_server_transport(b->server, &options.transport, &b->err), b);
    }
    must(tr_client_new(&options, &b->client, &b->err), b);
    int e = tr_schema_create(b->client, TR_SCHEMA_EVENTS, NULL, &b->err);
    must(e == TR_EEXIST ? 0 : e, b);
    tr_eventstore_options eo = {.store_id = "BENCH"};
    must(tr_eventstore_new(b->client, &eo, &b->store, &b->err), b);
}

/* What is in each event: about 200 bytes, as castore.mjs has it. */
static void make_payload(bench *b, tr_buf *buf)
{
    tr_packer p;
    static char text[128];
    memset(text, 'x', sizeof text);
    tr_packer_init(&p, buf);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("n"));
    tr_pack_n_i64(&p, 7);
    tr_pack_name(&p, TR_VIEW("text"));
    tr_pack_s(&p, tr_view_of(text, sizeof text));
    must(tr_pack_item_end(&p), b);
    b->payload = (tr_value){TR_M, tr_buf_view(buf)};
}

int main(int argc, char **argv)
{
    static bench b;
    tr_buf payload;
    if (argc < 5) {
        (void)fprintf(stderr,
                      "usage: bench_eventstore URL|DIR|memory push|get|aggregate COUNT SECONDS [EVENTS]\n");
        return 2;
    }
    unsigned long count = strtoul(argv[3], NULL, 10), each = argc > 5 ? strtoul(argv[5], NULL, 10) : 1;
    double seconds = strtod(argv[4], NULL);
    if (count < 1 || each < 1 || each > EVENTS_MAX)
        return 2;
    b.samples = malloc(SAMPLES * sizeof *b.samples);
    if (!b.samples)
        return 1;
    tr_arena_init(&b.arena, 64 << 20);
    tr_buf_init(&payload, 4096);
    (void)sem_init(&b.over, 0, 0);
    make_payload(&b, &payload);
    open_bench(&b, argv[1]);
    if (strcmp(argv[2], "push") == 0)
        pushes(&b, count > IN_FLIGHT_MAX ? IN_FLIGHT_MAX : (unsigned)count, seconds, (unsigned)each);
    else if (strcmp(argv[2], "get") == 0)
        gets(&b, count, seconds);
    else
        aggregates(&b, count, seconds);
    tr_eventstore_free(b.store);
    tr_client_free(b.client);
    tr_server_free(b.server);
    tr_buf_done(&payload);
    tr_arena_done(&b.arena);
    free(b.samples);
    return 0;
}
