/* SPDX-License-Identifier: MIT */
/*
 * How a large fleet behaves: the real machines of many workers on virtual time, on one stream that is
 * faultless but as limited as the service. Counts what every call costs, loses some workers at once, and
 * tells how long it takes until every shard is read again.
 *
 *     scale [--shards N] [--workers N] [--lose N] [--minutes N] [--rate RECORDS-PER-SECOND-AND-SHARD]
 * [--idle-max MS]
 *           [--failover MS] [--rollover MINUTES]
 *
 * A worker's machine takes 1.8 KB for each shard: 10,000 shards and 500 workers are 9 GB.
 */
#include "stream/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define EPOCH_MS    INT64_C(1760000000000)
#define LATENCY_MS  8
#define SCAN_ROWS   4000 /* of some 250 bytes: a page of 1 MB */
#define ROW_BYTES   250
#define NAME_BYTES  16
#define SHARDS_MAX  200000
#define WORKERS_MAX 1000
/** DescribeStream calls that an account has in a second (API Reference). */
#define DESCRIBES_PER_SECOND 10

typedef struct shard {
    int parent;
    int64_t born_ms, closed_ms; /* -1: open */
    int64_t children_from;      /* index of the one child; -1: none */
    uint64_t counter;
    bool row;
    char owner[NAME_BYTES], handover_to[NAME_BYTES], checkpoint[TR_SEQUENCE_MAX + 8];
    char *start;
} shard;

typedef struct worker {
    tr__core *core;
    char name[NAME_BYTES];
    int64_t wake_ms; /* of the newest wake-up that is planned */
    bool alive;
} worker;

/** A request under way, with what it pointed to; kind 0: a wake-up. */
typedef struct event {
    int64_t at_ms;
    uint64_t order, id;
    unsigned worker;
    tr__req_kind kind;
    int shard, after;
    uint64_t position, counter, expect_counter;
    unsigned limit;
    bool children, clear_handover, has_checkpoint, is_latest;
    char owner[NAME_BYTES], expect_owner[NAME_BYTES], handover_to[NAME_BYTES],
        checkpoint[TR_SEQUENCE_MAX + 8];
    char *start;
} event;

typedef struct counts {
    uint64_t describes, throttled, iterators, reads, records, lease_writes, lease_reads, scans, scan_rows,
        failed_writes;
} counts;

static struct {
    int shards, workers, lose;
    int64_t minutes, idle_max_ms, failover_ms, rollover_ms;
    double rate;
} o = {.shards = 1000, .workers = 50, .lose = 10, .minutes = 60, .rollover_ms = 4 * 3600 * 1000};

static shard *shards;
static int shard_count, open_count;
static worker workers[WORKERS_MAX];
static event **heap;
static size_t heap_count, heap_capacity;
static event *pool;
static int64_t now;
static uint64_t orders;
static counts c;
static tr_rng rng;
static bool limited;
static double tokens;
static int64_t tokens_ms;
static tr__row *scan_rows;
static tr__listed_shard *listed;
static char (*ids)[48];

/* ---------------------------------------------------------------------------------------- virtual time */

static bool sooner(const event *a, const event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static event *new_event(void)
{
    event *e = pool;
    if (e)
        pool = *(event **)(void *)e;
    else
        e = malloc(sizeof *e);
    if (!e)
        abort();
    *e = (event){.shard = -1, .after = -1};
    return e;
}

static void drop_event(event *e)
{
    free(e->start);
    *(event **)(void *)e = pool;
    pool = e;
}

static void push(event *e)
{
    if (heap_count + 2 > heap_capacity) {
        heap_capacity = heap_capacity ? heap_capacity * 2 : 4096;
        heap = realloc(heap, heap_capacity * sizeof *heap);
        if (!heap)
            abort();
    }
    e->order = ++orders;
    size_t slot = ++heap_count;
    for (; slot > 1 && sooner(e, heap[slot / 2]); slot /= 2)
        heap[slot] = heap[slot / 2];
    heap[slot] = e;
}

static event *pop(void)
{
    event *first = heap[1], *last = heap[heap_count--];
    size_t slot = 1;
    while (slot * 2 <= heap_count) {
        size_t child = slot * 2;
        if (child < heap_count && sooner(heap[child + 1], heap[child]))
            child++;
        if (!sooner(heap[child], last))
            break;
        heap[slot] = heap[child];
        slot = child;
    }
    heap[slot] = last;
    return first;
}

/* ------------------------------------------------------------------------------------------ the stream */

static void id_of(int i, char *out)
{
    (void)snprintf(out, sizeof ids[0], "shardId-%020" PRId64 "-%08x", EPOCH_MS + shards[i].born_ms,
                   (unsigned)i);
}

static int index_of(tr_view id)
{
    uint64_t i = 0;
    for (size_t k = id.len > 8 ? id.len - 8 : id.len; k < id.len; k++)
        i = i * 16 + (uint64_t)(id.ptr[k] <= '9' ? id.ptr[k] - '0' : id.ptr[k] - 'a' + 10);
    return id.len > 8 && i < (uint64_t)shard_count ? (int)i : -1;
}

static int add_shard(int parent, int64_t born_ms)
{
    if (shard_count == SHARDS_MAX)
        abort();
    shards[shard_count] = (shard){.parent = parent, .born_ms = born_ms, .closed_ms = -1, .children_from = -1};
    open_count++;
    return shard_count++;
}

/** Shards that have reached their age are closed, and have one child each, as at the service. */
static void roll_over(void)
{
    static int next;
    while (next < shard_count && shards[next].born_ms + o.rollover_ms <= now) {
        shards[next].closed_ms = now;
        open_count--;
        shards[next].children_from = add_shard(next, now);
        next++;
    }
}

static uint64_t written(const shard *s, int64_t at_ms)
{
    int64_t from = s->born_ms > 0 ? s->born_ms : 0, to = s->closed_ms >= 0 ? s->closed_ms : at_ms;
    return to > from ? (uint64_t)((double)(to - from) / 1000 * o.rate) : 0;
}

static void list_shard(int i, size_t at)
{
    id_of(i, ids[2 * at]);
    listed[at] = (tr__listed_shard){.id = tr_view_str(ids[2 * at])};
    if (shards[i].parent >= 0) {
        id_of(shards[i].parent, ids[2 * at + 1]);
        listed[at].parent = tr_view_str(ids[2 * at + 1]);
    }
    if (shards[i].closed_ms >= 0)
        listed[at].ending = TR_VIEW("999999999999999999999");
}

static void fail(tr__answer *a, int code, const char *type)
{
    static tr_error error;
    a->code = tr_fail_service(&error, code, 400, type, "%s", type);
    a->error = &error;
}

static void describe_stream(const event *e, tr__answer *a)
{
    c.describes++;
    if (limited) {
        tokens += (double)(now - tokens_ms) * DESCRIBES_PER_SECOND / 1000;
        tokens = tokens > DESCRIBES_PER_SECOND ? DESCRIBES_PER_SECOND : tokens;
        tokens_ms = now;
        if (tokens < 1) {
            c.throttled++;
            fail(a, TR_ETHROTTLED, "LimitExceededException");
            return;
        }
        tokens--;
    }
    size_t n = 0;
    if (e->children) {
        if (e->shard >= 0 && shards[e->shard].children_from >= 0)
            list_shard((int)shards[e->shard].children_from, n++);
    } else {
        int i = e->after + 1;
        for (; i < shard_count && n < 100; i++)
            list_shard(i, n++);
        if (i < shard_count)
            a->last = listed[n - 1].id;
    }
    a->shards = listed;
    a->count = n;
    a->status = TR_VIEW("ENABLED");
    a->label = TR_VIEW("2026-01-01T00:00:00.000");
}

static void write_records(tr_buf *body, int shard_index, uint64_t from, uint64_t count)
{
    tr_buf_put_str(body, "{\"Records\":[");
    for (uint64_t i = 0; i < count; i++)
        tr_buf_printf(body,
                      "%s{\"eventID\":\"e\",\"eventName\":\"INSERT\",\"dynamodb\":{"
                      "\"ApproximateCreationDateTime\":%" PRId64
                      ",\"Keys\":{\"k\":{\"S\":\"x\"}},\"SequenceNumber\":\"1%010d%012" PRIu64
                      "\",\"SizeBytes\":5,\"StreamViewType\":\"KEYS_ONLY\"}}",
                      i ? "," : "", (EPOCH_MS + now) / 1000, shard_index, from + i + 1);
    tr_buf_put_str(body, "]}");
}

static void get_records(const event *e, tr__answer *a)
{
    static char next[64];
    shard *s = &shards[e->shard];
    uint64_t there = written(s, now), count = there > e->position ? there - e->position : 0;
    c.reads++;
    if (count > e->limit)
        count = e->limit;
    if (count) {
        tr_buf body, unused;
        tr_error err;
        char id[48];
        id_of(e->shard, id);
        tr_buf_init(&body, 4 << 20);
        tr_buf_init(&unused, TR__ITERATOR_MAX);
        write_records(&body, e->shard, e->position, count);
        if (tr__page_decode(NULL, tr_buf_view(&body), tr_view_str(id), false, &a->page, &unused, &err))
            abort();
        a->body_bytes = body.len;
        c.records += count;
        tr_buf_done(&body);
        tr_buf_done(&unused);
    }
    if (s->closed_ms < 0 || e->position + count < there) {
        (void)snprintf(next, sizeof next, "i:%d:%" PRIu64, e->shard, e->position + count);
        a->iterator = tr_view_str(next);
    }
}

static void get_iterator(const event *e, tr__answer *a)
{
    static char text[64];
    c.iterators++;
    (void)snprintf(text, sizeof text, "i:%d:%" PRIu64, e->shard,
                   e->is_latest ? written(&shards[e->shard], now) : e->position);
    a->iterator = tr_view_str(text);
}

/* -------------------------------------------------------------------------------------- the lease table */

static tr__row row_of(int i, char *id, char *parent)
{
    const shard *s = &shards[i];
    id_of(i, id);
    tr__row row = {.key = tr_view_str(id),
                   .owner = tr_view_str(s->owner),
                   .checkpoint = tr_view_str(s->checkpoint),
                   .handover_to = tr_view_str(s->handover_to),
                   .counter = s->counter,
                   .start = s->start ? tr_view_str(s->start) : (tr_view){0}};
    if (s->parent >= 0) {
        id_of(s->parent, parent);
        row.parent = tr_view_str(parent);
    }
    return row;
}

static void answer_row(int i, tr__answer *a)
{
    scan_rows[0] = row_of(i, ids[0], ids[1]);
    a->rows = scan_rows;
    a->count = 1;
}

static void scan(const event *e, tr__answer *a)
{
    size_t n = 0;
    int i = e->after + 1;
    c.scans++;
    for (; i < shard_count && n < SCAN_ROWS; i++) {
        if (!shards[i].row)
            continue;
        scan_rows[n] = row_of(i, ids[2 * n], ids[2 * n + 1]);
        n++;
    }
    c.scan_rows += n;
    a->rows = scan_rows;
    a->count = n;
    if (i < shard_count && n)
        a->last = scan_rows[n - 1].key;
}

static void set_checkpoint(shard *s, event *e)
{
    memcpy(s->checkpoint, e->checkpoint, sizeof s->checkpoint);
    free(s->start);
    s->start = e->start;
    e->start = NULL;
}

static void write_lease(event *e, tr__answer *a)
{
    shard *s = &shards[e->shard];
    bool fits = s->row && s->counter == e->expect_counter && strcmp(s->owner, e->expect_owner) == 0;
    c.lease_writes++;
    if (e->kind == TR__REQ_LEASE_PUT)
        fits = !s->row;
    else if (e->kind == TR__REQ_LEASE_ASK)
        fits = s->row && strcmp(s->owner, e->expect_owner) == 0 && !s->handover_to[0];
    else if (e->kind == TR__REQ_LEASE_DELETE)
        fits = s->row && s->counter == e->expect_counter;
    if (!fits) {
        c.failed_writes++;
        fail(a, TR_ECONFLICT, "ConditionalCheckFailedException");
        return;
    }
    if (e->kind == TR__REQ_LEASE_ASK) {
        memcpy(s->handover_to, e->handover_to, NAME_BYTES);
    } else if (e->kind == TR__REQ_LEASE_DELETE) {
        s->row = false;
        return;
    } else {
        s->row = true;
        s->counter = e->counter;
        memcpy(s->owner, e->owner, NAME_BYTES);
        if (e->has_checkpoint)
            set_checkpoint(s, e);
        if (e->clear_handover)
            s->handover_to[0] = 0;
    }
    answer_row(e->shard, a);
}

/* ------------------------------------------------------------------------------------------- the workers */

static void copy_name(char *to, tr_view from)
{
    (void)snprintf(to, NAME_BYTES, "%.*s", TR_FMT(from));
}

static void send_request(unsigned w, const tr__req *req)
{
    event *e = new_event();
    e->at_ms = now + LATENCY_MS;
    e->id = req->id;
    e->worker = w;
    e->kind = req->kind;
    e->shard = index_of(req->children_of.len ? req->children_of
                        : req->row.key.len   ? req->row.key
                                             : req->shard_id);
    e->children = req->children_of.len > 0;
    e->after = req->exclusive_start.len ? index_of(req->exclusive_start) : -1;
    e->limit = req->limit;
    if (req->kind == TR__REQ_GET_RECORDS) {
        char text[64];
        (void)snprintf(text, sizeof text, "%.*s", TR_FMT(req->iterator));
        if (sscanf(text, "i:%d:%" SCNu64, &e->shard, &e->position) != 2)
            abort();
    } else if (req->kind == TR__REQ_GET_ITERATOR) {
        e->is_latest = req->iterator_type == TR__ITERATOR_LATEST;
        if (req->iterator_type == TR__ITERATOR_AFTER && req->sequence_number.len > 12 &&
            tr_view_to_u64(tr_view_of(req->sequence_number.ptr + req->sequence_number.len - 12, 12),
                           UINT64_MAX, &e->position))
            abort();
    } else if (req->kind >= TR__REQ_LEASE_PUT) {
        e->counter = req->row.counter;
        e->expect_counter = req->expect_counter;
        e->clear_handover = req->clear_handover;
        e->has_checkpoint = req->row.checkpoint.len > 0;
        copy_name(e->owner, req->row.owner);
        copy_name(e->expect_owner, req->expect_owner);
        copy_name(e->handover_to, req->handover_to);
        (void)snprintf(e->checkpoint, sizeof e->checkpoint, "%.*s", TR_FMT(req->row.checkpoint));
        if (req->row.start.len && (e->start = calloc(1, req->row.start.len + 1)) != NULL)
            memcpy(e->start, req->row.start.ptr, req->row.start.len);
    }
    push(e);
}

static void pump(unsigned index)
{
    worker *w = &workers[index];
    tr_stream_event *taken;
    tr__req req;
    while ((taken = tr__core_take(w->core)) != NULL)
        tr__core_ack(w->core, taken);
    while (tr__core_request(w->core, &req))
        send_request(index, &req);
    int64_t at = tr__core_deadline(w->core);
    if (at >= w->wake_ms && w->wake_ms > now)
        return;
    event *e = new_event();
    w->wake_ms = e->at_ms = at > now ? at : now;
    e->worker = index;
    push(e);
}

static void carry_out(event *e, tr__answer *a)
{
    static tr__listed_stream stream;
    stream = (tr__listed_stream){
        .arn = TR_VIEW("arn:aws:dynamodb:us-east-1:000000000000:table/T/stream/2026-01-01"),
        .label = TR_VIEW("2026-01-01T00:00:00.000")};
    switch (e->kind) {
    case TR__REQ_DESCRIBE_TABLE:
        a->stream_arn = stream.arn;
        break;
    case TR__REQ_LIST_STREAMS:
        a->streams = &stream;
        a->count = 1;
        break;
    case TR__REQ_DESCRIBE_STREAM:
        describe_stream(e, a);
        break;
    case TR__REQ_GET_ITERATOR:
        get_iterator(e, a);
        break;
    case TR__REQ_GET_RECORDS:
        get_records(e, a);
        break;
    case TR__REQ_LEASE_DESCRIBE:
        a->status = TR_VIEW("ACTIVE");
        break;
    case TR__REQ_LEASE_SCAN:
        scan(e, a);
        break;
    case TR__REQ_LEASE_GET:
        c.lease_reads++;
        if (e->shard >= 0 && shards[e->shard].row)
            answer_row(e->shard, a);
        break;
    default:
        write_lease(e, a);
    }
}

static void happen(event *e)
{
    worker *w = &workers[e->worker];
    if (w->alive) {
        tr__core_time(w->core, now, EPOCH_MS + now);
        if (e->kind) {
            tr__answer a = {.id = e->id, .service_ms = EPOCH_MS + now};
            carry_out(e, &a);
            tr__core_answer(w->core, &a);
        }
        pump(e->worker);
    }
    drop_event(e);
}

static void run_until(int64_t until)
{
    while (heap_count && heap[1]->at_ms <= until) {
        event *e = pop();
        now = e->at_ms;
        roll_over();
        happen(e);
    }
    now = until;
}

static void start_worker(unsigned i)
{
    worker *w = &workers[i];
    tr_error err = {0};
    (void)snprintf(w->name, sizeof w->name, "w%05u", i);
    tr_fleet_options fleet = {.lease_table = "L", .worker_id = w->name, .failover_ms = o.failover_ms};
    tr_stream_options options = {
        .table = "T", .start = {.at = TR_START_TRIM_HORIZON}, .fleet = &fleet, .idle_max_ms = o.idle_max_ms};
    if (tr__core_new(&options, false, i + 1, now, EPOCH_MS + now, &w->core, &err))
        abort();
    tr__core_set_server(w->core, TR__SERVER_AWS);
    w->alive = true;
    pump(i);
}

/* --------------------------------------------------------------------------------------------- the story */

typedef struct share {
    int held, least, most; /* shards with a live owner; of the workers that are alive */
} share;

static share shares(void)
{
    static int of[WORKERS_MAX];
    share s = {.least = INT32_MAX};
    memset(of, 0, sizeof of);
    for (int i = 0; i < shard_count; i++) {
        int w = shards[i].owner[0] ? atoi(shards[i].owner + 1) : -1;
        if (shards[i].closed_ms >= 0 || w < 0 || !workers[w].alive)
            continue;
        of[w]++;
        s.held++;
    }
    for (int w = 0; w < o.workers; w++) {
        if (!workers[w].alive)
            continue;
        s.least = of[w] < s.least ? of[w] : s.least;
        s.most = of[w] > s.most ? of[w] : s.most;
    }
    return s;
}

/** Until every shard has a live owner and nobody has much more than another. */
static void settle(const char *what, int64_t patience_ms)
{
    int64_t began = now, all_held = -1;
    share s;
    for (;;) {
        run_until(now + 500);
        s = shares();
        if (all_held < 0 && s.held >= open_count)
            all_held = now - began;
        if ((s.held >= open_count && s.most - s.least <= 2) || now - began > patience_ms)
            break;
    }
    (void)printf("%s: every shard has an owner after %.1f s, %s after %.1f s (%d to %d each)\n", what,
                 (double)all_held / 1000, s.most - s.least <= 2 ? "evenly" : "not evenly",
                 (double)(now - began) / 1000, s.least, s.most);
    (void)fflush(stdout);
}

static void tell(const char *what, counts a, int64_t from_ms)
{
    double s = (double)(now - from_ms) / 1000, per_day = 86400 / s / (double)open_count;
    double reads = (double)(c.reads - a.reads), writes = (double)(c.lease_writes - a.lease_writes);
    double units =
        (double)(c.scan_rows - a.scan_rows) * ROW_BYTES / 4096 + (double)(c.lease_reads - a.lease_reads);
    /* us-east-1, on demand: stream read request units, write and read request units */
    double dollars_reads = reads * 0.02 / 100000, dollars_writes = writes * 0.625 / 1e6,
           dollars_scans = units * 0.125 / 1e6;
    double records = (double)(c.records - a.records);
    (void)printf("%s, %.1f min, %d open shards\n", what, s / 60, open_count);
    (void)printf("  GetRecords             %12.0f   %10.1f a day and shard   $ %.2f a day\n", reads,
                 reads * per_day, dollars_reads * 86400 / s);
    (void)printf("  lease writes           %12.0f   %10.1f                   $ %.2f   (%" PRIu64
                 " refused)\n",
                 writes, writes * per_day, dollars_writes * 86400 / s, c.failed_writes - a.failed_writes);
    (void)printf("  lease scans, rows      %12" PRIu64 "   %10.1f                   $ %.2f\n",
                 c.scan_rows - a.scan_rows, (double)(c.scan_rows - a.scan_rows) * per_day,
                 dollars_scans * 86400 / s);
    (void)printf("  DescribeStream         %12" PRIu64 "   %10.1f                   %.2f a second, %" PRIu64
                 " throttled\n",
                 c.describes - a.describes, (double)(c.describes - a.describes) * per_day,
                 (double)(c.describes - a.describes) / s, c.throttled - a.throttled);
    (void)printf("  GetShardIterator       %12" PRIu64 "   %10.1f\n", c.iterators - a.iterators,
                 (double)(c.iterators - a.iterators) * per_day);
    if (records > 0)
        (void)printf("  records                %12.0f   $ %.4f for a million\n", records,
                     (dollars_reads + dollars_writes + dollars_scans) / records * 1e6);
    (void)fflush(stdout);
}

static void lose_some(void)
{
    for (int lost = 0; lost < o.lose;) {
        unsigned w = (unsigned)tr_rng_below(&rng, (uint64_t)o.workers);
        lost += workers[w].alive;
        workers[w].alive = false;
    }
    (void)printf("%d of %d workers die\n", o.lose, o.workers);
}

static void story(void)
{
    counts zero = {0}, before;
    for (int i = 0; i < o.workers; i++) {
        start_worker((unsigned)i);
        run_until(now + 20);
    }
    settle("start", 3600000);
    tell("start", zero, 0);
    uint64_t pages = c.describes;
    (void)printf("  at %d DescribeStream a second these %" PRIu64 " calls take %.1f min\n",
                 DESCRIBES_PER_SECOND, pages, (double)pages / DESCRIBES_PER_SECOND / 60);
    limited = true;
    tokens_ms = now;
    int64_t half = o.minutes * 60000 / 2, began;
    run_until(now + 60000);
    before = c;
    began = now;
    run_until(now + half);
    tell("in peace", before, began);
    if (o.lose) {
        lose_some();
        settle("after the loss", 1800000);
    }
    before = c;
    began = now;
    run_until(now + half);
    tell("after it", before, began);
    share s = shares();
    (void)printf("in the end %d of %d open shards are held, %d to %d each\n", s.held, open_count, s.least,
                 s.most);
}

static int usage(void)
{
    (void)fprintf(
        stderr, "usage: scale [--shards N] [--workers N] [--lose N] [--minutes N] [--rate N] [--idle-max MS] "
                "[--failover MS] [--rollover MINUTES]\n");
    return 2;
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        double n = atof(argv[i + 1]);
        if (strcmp(argv[i], "--shards") == 0)
            o.shards = (int)n;
        else if (strcmp(argv[i], "--workers") == 0)
            o.workers = (int)n;
        else if (strcmp(argv[i], "--lose") == 0)
            o.lose = (int)n;
        else if (strcmp(argv[i], "--minutes") == 0)
            o.minutes = (int64_t)n;
        else if (strcmp(argv[i], "--rate") == 0)
            o.rate = n;
        else if (strcmp(argv[i], "--idle-max") == 0)
            o.idle_max_ms = (int64_t)n;
        else if (strcmp(argv[i], "--failover") == 0)
            o.failover_ms = (int64_t)n;
        else if (strcmp(argv[i], "--rollover") == 0)
            o.rollover_ms = (int64_t)(n * 60000);
        else
            return usage();
    }
    if (argc % 2 == 0 || o.shards < 1 || o.workers < 1 || o.workers > WORKERS_MAX || o.lose >= o.workers ||
        o.shards > SHARDS_MAX / 8)
        return usage();
    shards = calloc(SHARDS_MAX, sizeof *shards);
    scan_rows = calloc(SCAN_ROWS, sizeof *scan_rows);
    listed = calloc(100, sizeof *listed);
    ids = calloc((size_t)2 * SCAN_ROWS, sizeof *ids);
    if (!shards || !scan_rows || !listed || !ids)
        return 1;
    tr_rng_seed(&rng, 1);
    /* of all ages, so that they do not roll over together */
    for (int i = 0; i < o.shards; i++)
        (void)add_shard(-1, -o.rollover_ms + o.rollover_ms * (i + 1) / o.shards);
    story();
    return 0;
}
