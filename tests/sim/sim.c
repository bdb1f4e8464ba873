/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <stdarg.h>
#include <stdlib.h>

/* ---------------------------------------------------------------------------------------------- helpers */

uint64_t sim_below(sim *s, uint64_t bound)
{
    return tr_rng_below(&s->rng, bound ? bound : 1);
}

bool sim_chance(sim *s, unsigned per_mille)
{
    return per_mille && sim_below(s, 1000) < per_mille;
}

int64_t sim_between(sim *s, int64_t low, int64_t high)
{
    return low >= high ? low : low + (int64_t)sim_below(s, (uint64_t)(high - low) + 1);
}

static void note(sim *s, const char *text)
{
    for (const char *at = text; *at; at++)
        s->digest = (s->digest ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    s->digest = (s->digest ^ (uint64_t)s->now) * UINT64_C(0x100000001b3);
    if (s->verbose)
        (void)printf("%9lld  %s\n", (long long)s->now, text);
}

void sim_trace(sim *s, const char *format, ...)
{
    char text[700];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    note(s, text);
}

void sim_fail(sim *s, const char *format, ...)
{
    if (s->failed)
        return;
    s->failed = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(s->failure, sizeof s->failure, format, args);
    va_end(args);
    note(s, s->failure);
}

/* ------------------------------------------------------------------------------------ what a seed decides */

static unsigned maybe(sim *s, unsigned per_mille, unsigned most)
{
    return sim_chance(s, per_mille) ? 1 + (unsigned)sim_below(s, most) : 0;
}

static void configure_faults(sim *s)
{
    sim_config *c = &s->c;
    c->p_throttle = maybe(s, 400, 150);
    c->p_error = maybe(s, 400, 100);
    c->p_lost = maybe(s, 500, 80);
    c->p_slow = maybe(s, 400, 60);
    c->p_empty = c->server == TR__SERVER_AWS ? maybe(s, 700, 600) : 0;
    c->p_spurious_trim = maybe(s, 300, 100);
    c->p_spurious_missing = maybe(s, 200, 20);
    c->p_store_fail = maybe(s, 400, 300);
    c->p_nack = maybe(s, 300, 150);
    c->crashes = c->no_store ? 0 : maybe(s, 600, 6);
    c->pauses = maybe(s, 400, 5);
    c->skew_ms = sim_chance(s, 400) ? 600000 : 0;
    c->late_listing_ms =
        c->server != TR__SERVER_TAILRACE && sim_chance(s, 400) ? sim_between(s, 100, 6000) : 0;
    c->iterator_life_ms = sim_chance(s, 300) ? sim_between(s, 2000, 30000) : 900000;
    c->splits = sim_chance(s, 700);
    c->disables = sim_chance(s, 200);
    c->trims = !c->no_store && sim_chance(s, 200);
    c->deletes = c->disables && sim_chance(s, 300);
    c->retention_ms = c->trims ? sim_between(s, 70000, 150000) : 0;
    c->import_state = !c->fleet && !c->user_checkpoints && !c->no_store && !c->manual && sim_chance(s, 150);
    c->import_expired = c->import_state && sim_chance(s, 400);
}

static void configure(sim *s)
{
    sim_config *c = &s->c;
    static const tr_start_at starts[] = {TR_START_LATEST, TR_START_TRIM_HORIZON, TR_START_TRIM_HORIZON,
                                         TR_START_AT,     TR_START_AFTER,        TR_START_TIME};
    static const unsigned lanes[] = {0, 0, 1, 2, 10};
    c->server = (tr__server)sim_below(s, 3);
    c->fleet = s->fleets && sim_chance(s, 450);
    c->workers = c->fleet ? 1 + (unsigned)sim_below(s, SIM_WORKERS_MAX) : 1;
    c->manual = !c->fleet && sim_chance(s, 150);
    c->user_checkpoints = !c->fleet && sim_chance(s, 150);
    c->no_store = !c->fleet && !c->user_checkpoints && sim_chance(s, 100);
    c->batch = sim_chance(s, 400);
    c->items = 2 + (unsigned)sim_below(s, SIM_ITEMS_MAX - 1);
    c->records = 20 + (unsigned)sim_below(s, sim_chance(s, 100) ? 2000 : 400);
    c->life_ms = sim_between(s, 20000, 180000);
    c->write_every_ms = c->life_ms / c->records + 1;
    c->start.at = starts[sim_below(s, TR_COUNT(starts))];
    c->parallelism = c->manual ? 0 : lanes[sim_below(s, TR_COUNT(lanes))];
    c->max_records = 1 + (unsigned)sim_below(s, sim_chance(s, 500) ? 20 : 500);
    c->page_records = 1 + (unsigned)sim_below(s, sim_chance(s, 500) ? 10 : 1000);
    if (c->server == TR__SERVER_AWS && c->page_records < 10) /* at five reads a second */
        c->page_records = 10;
    if (c->manual) /* at a poll a second, small pages would take all day */
        c->max_records += 100;
    c->checkpoint_ms = sim_between(s, 1, 3000);
    c->discover_ms = sim_between(s, 500, 30000);
    c->max_reads = 1 + (unsigned)sim_below(s, 8);
    c->handle_ms = sim_chance(s, 500) ? 5 : sim_between(s, 5, 400);
    c->failover_ms = sim_between(s, 2000, 10000);
    c->filter = sim_chance(s, 150);
    c->filter_mode = (unsigned)sim_below(s, 3);
    c->scanners = c->fleet ? (unsigned)sim_below(s, 3) : 0;
    configure_faults(s);
}

/** Where the start is given by a record, one that was written before. */
static void choose_start(sim *s)
{
    tr_stream_start *start = &s->c.start;
    if (start->at == TR_START_TIME) {
        s->c.start_time = s->now - sim_between(s, 0, s->now);
        start->time_ms = sim_service_clock(s) - (s->now - s->c.start_time);
    }
    if (start->at != TR_START_AT && start->at != TR_START_AFTER)
        return;
    if (s->record_count == 0) {
        start->at = TR_START_TRIM_HORIZON;
        return;
    }
    unsigned i = (unsigned)sim_below(s, s->record_count);
    const sim_shard *sh = &s->shards[s->records[i].shard];
    bool trimmed = sh->trimmed && s->records[sh->records[sh->trimmed - 1]].number >= s->records[i].number;
    s->c.start_trimmed =
        trimmed || sh->gone || sh->stream + 1 != s->stream_count || s->c.disables || s->c.late_listing_ms;
    s->c.start_record = i;
    sim_number_text(s->records[i].number, s->c.start_number);
    start->sequence_number = s->c.start_number;
    s->c.start_in_shard = sim_chance(s, 500);
    if (s->c.start_in_shard)
        start->shard_id = sh->id;
}

bool sim_is_ancestor(const sim *s, unsigned shard, unsigned of)
{
    for (int p = s->shards[of].parent; p >= 0; p = s->shards[p].parent)
        if ((unsigned)p == shard)
            return true;
    return false;
}

/** Imported state knows open shards only: of what is not in it, the ancestors of what is count as read. */
static bool is_wanted_after_import(const sim *s, const sim_record *r, unsigned stream)
{
    const sim_shard *sh = &s->shards[r->shard];
    if (sh->imported)
        return r->number > sh->import_number;
    for (unsigned i = 0; i < s->shard_count; i++)
        if (s->shards[i].imported && sim_is_ancestor(s, r->shard, i))
            return false;
    return sh->stream >= stream;
}

static bool is_wanted(const sim *s, const sim_record *r, unsigned stream)
{
    const sim_shard *sh = &s->shards[r->shard];
    const sim_record *start = &s->records[s->c.start_record];
    if (sh->stream < stream || (s->c.filter && r->item % 3 == 0))
        return false;
    if (s->c.import_state)
        return is_wanted_after_import(s, r, stream);
    switch (s->c.start.at) {
    case TR_START_LATEST:
        return r->created_at > s->started_at;
    case TR_START_TRIM_HORIZON:
        return true;
    case TR_START_TIME:
        return r->created_at >= s->c.start_time;
    case TR_START_AT:
    case TR_START_AFTER:
        if (sh->stream > stream)
            return true;
        if (r == start)
            return s->c.start.at == TR_START_AT;
        if (s->c.start_in_shard && r->shard != start->shard)
            return !sim_is_ancestor(s, r->shard, start->shard);
        return r->number > start->number;
    }
    return true;
}

/** Of what is there when the first worker has started: what must come. */
void sim_mark_needed(sim *s, unsigned stream)
{
    for (unsigned i = 0; i < s->shard_count; i++) {
        sim_shard *sh = &s->shards[i];
        sh->skipped |= sh->stream < stream || (s->c.start.at == TR_START_LATEST && sh->closed_at >= 0);
        for (size_t k = 0; k < sh->count; k++) {
            sim_record *r = &s->records[sh->records[k]];
            bool there = k >= sh->trimmed && !sh->gone;
            r->needed = there && is_wanted(s, r, stream);
        }
    }
}

const char *sim_reply_shard(const sim *s, const sim_reply *reply)
{
    return s->shards[reply->shard].id;
}

/** dynamodb-stream's state as it would be now: an iterator behind what it has read. */
static void make_import(sim *s)
{
    tr_buf b;
    tr_buf_init(&b, sizeof s->import - 1);
    tr_json_writer w;
    tr_json_write_init(&w, &b);
    tr_json_begin_object(&w);
    for (unsigned i = 0; i < s->shard_count; i++) {
        sim_shard *sh = &s->shards[i];
        if (sh->gone || sh->closed_at >= 0 || sh->stream + 1 != s->stream_count)
            continue;
        char text[100];
        int64_t issued = s->c.import_expired ? s->now - s->c.iterator_life_ms - 1000 : s->now;
        size_t place = sh->trimmed + sim_below(s, sh->count - sh->trimmed + 1);
        sh->imported = true;
        for (int p = sh->parent; p >= 0; p = s->shards[p].parent)
            s->shards[p].skipped = true;
        sh->import_number = place ? s->records[sh->records[place - 1]].number : 0;
        (void)snprintf(text, sizeof text, "it:%u:%zu:%lld:0", i, place, (long long)issued);
        tr_json_key(&w, tr_view_str(sh->id));
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "shardId", sh->id);
        tr_json_member_cstring(&w, "nextShardIterator", text);
        tr_json_end_object(&w);
    }
    tr_json_end_object(&w);
    s->c.import_state = b.len > 2; /* with nothing in it, nothing is known */
    (void)snprintf(s->import, sizeof s->import, "%.*s", (int)b.len, b.ptr);
    (void)snprintf(s->import_arn, sizeof s->import_arn, "%s", s->streams[s->stream_count - 1].arn);
    tr_buf_done(&b);
}

/* ------------------------------------------------------------------------------------------- the world */

static sim_worker *any_worker(sim *s)
{
    return s->workers[sim_below(s, s->c.workers)];
}

static void crash_tick(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    sim_worker *w = any_worker(s);
    if (!s->faults)
        return;
    if (arg == 0)
        sim_worker_crash(s, w);
    else if (arg == 1)
        sim_worker_stop(s, w);
    else
        sim_worker_reload(s, w);
}

static void pause_tick(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    (void)arg;
    if (s->faults)
        sim_worker_pause(s, any_worker(s), sim_between(s, 100, 3 * s->c.failover_ms));
}

static void birth(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    if (s->over)
        return;
    if (arg == 0) {
        choose_start(s);
        if (s->c.import_state)
            make_import(s);
    }
    sim_worker_start(s, s->workers[arg]);
}

static void calm(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    (void)arg;
    sim_trace(s, "no more faults, no more writes");
    s->faults = false;
}

static void tell_config(sim *s)
{
    const sim_config *c = &s->c;
    sim_trace(s,
              "server %d, %u workers%s%s%s%s%s, start %d%s, lanes %u, max %u records, pages of %u, %u reads, "
              "%s%s%s%s%s%s",
              (int)c->server, c->workers, c->fleet ? " in a fleet" : "", c->manual ? ", manual" : "",
              c->user_checkpoints ? ", user's checkpoints" : "", c->no_store ? ", no store" : "",
              c->batch ? ", batches" : "", (int)c->start.at, c->import_state ? " (import)" : "",
              c->parallelism, c->max_records, c->page_records, c->max_reads, c->splits ? "splits " : "",
              c->trims ? "trims " : "", c->disables ? "disables " : "", c->deletes ? "deletes " : "",
              c->filter ? "filter " : "", c->import_expired ? "expired import" : "");
    sim_trace(
        s,
        "iterators live %lld ms, retention %lld ms, failover %lld ms, filter mode %u, late listing %lld ms",
        (long long)c->iterator_life_ms, (long long)c->retention_ms, (long long)c->failover_ms, c->filter_mode,
        (long long)c->late_listing_ms);
}

static void populate(sim *s)
{
    tell_config(s);
    s->faults = true;
    sim_service_start(s);
    int64_t first = sim_between(s, 1, s->c.life_ms / 3);
    for (unsigned i = 0; i < s->c.workers; i++) {
        s->workers[i] = sim_worker_new(s, i);
        sim_at(s, i ? first + sim_between(s, 1, s->c.life_ms / 2) : first, birth, NULL, i);
    }
    for (unsigned i = 0; i < s->c.crashes; i++) {
        unsigned kind = s->c.fleet ? (unsigned)sim_below(s, 2) : (unsigned)sim_below(s, 3);
        sim_at(s, sim_between(s, first, s->c.life_ms), crash_tick, NULL, kind);
    }
    for (unsigned i = 0; i < s->c.pauses; i++)
        sim_at(s, sim_between(s, first, s->c.life_ms), pause_tick, NULL, 0);
    sim_at(s, s->c.life_ms, calm, NULL, 0);
}

static void clean_up(sim *s)
{
    s->over = true;
    s->faults = false;
    for (unsigned i = 0; i < s->c.workers; i++) {
        if (s->workers[i] && sim_worker_alive(s->workers[i]))
            sim_worker_kill(s->workers[i]);
    }
    sim_event e;
    while (sim_queue_pop(&s->queue, &e)) { /* whoever is asked now finds nobody; memory comes back */
        s->now = e.at_ms;
        e.fn(s, e.ctx, e.arg);
    }
    sim_service_finish(s);
    for (unsigned i = 0; i < s->c.workers; i++)
        sim_worker_free(s->workers[i]);
    tr_free(s->queue.heap);
    tr_buf_done(&s->store);
}

/** After the last fault everything must come within this. */
#define PATIENCE_MS 400000
/** And then a while must pass in which nothing new happens. */
#define QUIET_MS 40000

static bool all_have_saved(const sim *s)
{
    for (unsigned i = 0; i < s->c.workers; i++)
        if (s->workers[i] && !sim_worker_has_saved(s->workers[i]))
            return false;
    return true;
}

static void run(sim *s)
{
    sim_event e;
    int64_t done_at = -1;
    while (!s->failed && sim_queue_pop(&s->queue, &e)) {
        s->now = e.at_ms;
        e.fn(s, e.ctx, e.arg);
        if (s->faults)
            continue;
        if (done_at < 0 && sim_all_done(s))
            done_at = s->now;
        if (s->now > s->c.life_ms + PATIENCE_MS)
            break;
        if (done_at >= 0 && s->now > done_at + QUIET_MS && all_have_saved(s))
            break;
    }
    sim_check_end(s);
    for (unsigned i = 0; i < s->c.workers && !s->failed; i++)
        if (s->workers[i])
            sim_worker_check_end(s, s->workers[i]);
    if (!s->failed && s->caught_up == 0 && !s->c.manual && s->record_count)
        sim_fail(s, "nobody ever said that all is caught up");
}

/** One life; false if a promise was broken. */
static bool live(uint64_t seed, bool fleets, bool verbose, sim *s, uint64_t *ret_digest)
{
    memset(s, 0, sizeof *s);
    s->verbose = verbose;
    s->fleets = fleets;
    s->digest = UINT64_C(0xcbf29ce484222325);
    tr_rng_seed(&s->rng, seed);
    tr_buf_init(&s->store, 64 << 20);
    s->c.seed = seed;
    configure(s);
    populate(s);
    run(s);
    bool ok = !s->failed;
    *ret_digest = s->digest;
    clean_up(s);
    return ok;
}

/* ----------------------------------------------------------------------------------------------- main */

static int usage(void)
{
    (void)fprintf(stderr, "usage: sim [--seed N] [--count N] [--first] [--single] [--verbose]\n"
                          "  --seed N    the first seed (1)\n"
                          "  --count N   how many seeds, one after the other (1)\n"
                          "  --first     ends with the first seed that breaks a promise\n"
                          "  --single    no fleets\n"
                          "  --verbose   tells what happens\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, count = 1, digest = 0;
    uint64_t most = 20;
    bool verbose = false, fleets = true;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc)
            count = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--first") == 0)
            most = 1;
        else if (strcmp(argv[i], "--single") == 0)
            fleets = false;
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else
            return usage();
    }
    static sim s;
    uint64_t deliveries = 0, gaps = 0, again = 0, all = 0, requests = 0, bad = 0;
    for (uint64_t i = 0; i < count; i++) {
        bool ok = live(seed + i, fleets, verbose, &s, &digest);
        (void)fflush(stdout); /* so that a crash does not take the report with it */
        deliveries += s.deliveries;
        again += s.redeliveries;
        gaps += s.gaps;
        requests += s.requests;
        all = (all ^ digest) * UINT64_C(0x100000001b3);
        if (ok)
            continue;
        bad++;
        (void)printf("seed %llu: %s\n", (unsigned long long)(seed + i), s.failure);
        if (bad >= most)
            break;
    }
    (void)printf(
        "%llu of %llu seeds broke a promise; %llu records delivered (%llu again), %llu gaps, %llu requests; "
        "digest %016llx\n",
        (unsigned long long)bad, (unsigned long long)count, (unsigned long long)deliveries,
        (unsigned long long)again, (unsigned long long)gaps, (unsigned long long)requests,
        (unsigned long long)all);
    return bad ? 1 : 0;
}
