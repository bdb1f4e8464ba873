/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <stdlib.h>

/*
 * A process with a consumer in it and a user who handles what comes: at his own speed, in any order, giving
 * some back, stopping for a while, and dying at any moment. Its clocks are its own.
 */

#define HANDS_MAX 64 /* events that a user holds at a time */

struct sim_worker {
    unsigned index, incarnation;
    char name[64];
    bool alive, stopping, polling, poll_records;
    tr__core *core;
    int64_t paused_until, stalled_until;
    int64_t mono_base, skew;
    int64_t ppm; /* how much faster its monotonic clock goes, in millionths */
    int64_t wake_at;
    bool take_planned;
    unsigned slots;
    tr_stream_event *hands[HANDS_MAX];
    unsigned held, lease_writes; /* the latter are under way */
    int64_t poll_since, stop_since;
    tr_buf checkpoint;
    uint64_t token;
};

static void pump(sim *s, sim_worker *w);
static void plan_take(sim *s, sim_worker *w);

const char *sim_worker_name(const sim_worker *w)
{
    return w->name;
}

unsigned sim_worker_incarnation(const sim_worker *w)
{
    return w->incarnation;
}

bool sim_worker_alive(const sim_worker *w)
{
    return w->alive;
}

int64_t sim_worker_paused(const sim *s, const sim_worker *w)
{
    return w->alive && w->paused_until > s->now ? w->paused_until - s->now : 0;
}

/* --------------------------------------------------------------------------------------------- clocks */

static int64_t mono(const sim *s, const sim_worker *w)
{
    return w->mono_base + s->now + s->now * w->ppm / 1000000;
}

static int64_t virtual_of(const sim_worker *w, int64_t mono_ms)
{
    int64_t t = (mono_ms - w->mono_base) * 1000000 / (1000000 + w->ppm);
    while (w->mono_base + t + t * w->ppm / 1000000 < mono_ms)
        t++;
    return t;
}

static void tick(sim *s, sim_worker *w)
{
    tr__core_time(w->core, mono(s, w), sim_service_clock(s) + w->skew);
}

/** Whether an event of this incarnation has something to do now; if the process is stopped, it is done later.
 */
static bool runs(sim *s, sim_worker *w, uint64_t incarnation, sim_fn *fn)
{
    if (!w->alive || w->incarnation != (unsigned)incarnation)
        return false;
    if (w->paused_until > s->now) {
        sim_at(s, w->paused_until, fn, w, incarnation);
        return false;
    }
    return true;
}

static void wake(sim *s, void *ctx, uint64_t arg)
{
    sim_worker *w = ctx;
    if (!runs(s, w, arg, wake))
        return;
    w->wake_at = INT64_MAX;
    tick(s, w);
    pump(s, w);
}

static void check_memory(sim *s, const sim_worker *w)
{
    tr_stream_stats stats;
    tr__core_get_stats(w->core, &stats);
    size_t most = s->c.max_records + 100 * (stats.shards_reading + 1) + s->c.page_records;
    if (stats.settled_ms >= 0)
        sim_check_settled(s, w, stats.stream_arn, virtual_of(w, stats.settled_ms));
    if (stats.unacknowledged > most)
        sim_fail(s, "memory: %zu records are held, at most %zu should be", stats.unacknowledged, most);
}

static void stop_check(sim *s, sim_worker *w);

static void pump(sim *s, sim_worker *w)
{
    tr__req req;
    while (tr__core_request(w->core, &req)) {
        w->lease_writes += req.kind == TR__REQ_LEASE_WRITE;
        sim_network_send(s, w, &req);
    }
    int64_t deadline = tr__core_deadline(w->core);
    if (deadline != INT64_MAX) {
        int64_t at = virtual_of(w, deadline);
        if (at < w->wake_at) {
            w->wake_at = at;
            sim_at(s, at, wake, w, w->incarnation);
        }
    }
    plan_take(s, w);
    if (w->stopping)
        stop_check(s, w);
}

void sim_worker_answer(sim *s, sim_worker *w, const tr__req *req, sim_reply *reply)
{
    if (!w->alive)
        return;
    reply->a.id = req->id;
    w->lease_writes -= req->kind == TR__REQ_LEASE_WRITE;
    tr_buf next;
    tr_buf_init(&next, TR__ITERATOR_MAX);
    if (reply->has_body) {
        reply->a.code =
            tr__page_decode(NULL, tr_buf_view(&reply->body), tr_view_str(sim_reply_shard(s, reply)), false,
                            &reply->a.page, &next, &reply->error);
        reply->a.iterator = tr_buf_view(&next);
        reply->a.body_bytes = reply->body.len;
        if (reply->a.code)
            sim_fail(s, "a page of the model was not understood: %s", reply->error.message);
    }
    tick(s, w);
    tr__core_set_server(w->core, s->c.server);
    tr__core_answer(w->core, &reply->a);
    check_memory(s, w);
    pump(s, w);
    tr_buf_done(&next);
}

/* ------------------------------------------------------------------------------------------ the user */

static void remove_hand(sim_worker *w, tr_stream_event *e)
{
    for (unsigned i = 0; i < w->held; i++) {
        if (w->hands[i] == e) {
            w->held--;
            memmove(&w->hands[i], &w->hands[i + 1], (w->held - i) * sizeof w->hands[0]);
            return;
        }
    }
}

static tr_view shard_of(const tr_stream_event *e)
{
    return e->record ? e->record->shard_id : e->gap->shard_id;
}

/** With lanes a user works on several items at a time, but on each of them in order. */
static tr_stream_event *pick(sim *s, const sim_worker *w)
{
    tr_stream_event *e = w->hands[sim_below(s, w->held)];
    if (!s->c.parallelism)
        return e;
    for (unsigned i = 0; i < w->held; i++) {
        tr_stream_event *other = w->hands[i];
        bool same = !e->record || !other->record || tr_view_eq(e->record->keys, other->record->keys);
        if (same && tr_view_eq(shard_of(other), shard_of(e)))
            return other;
    }
    return e;
}

/** Gives it back undone, and with lanes all that came after it from its shard. */
static void refuse(sim *s, sim_worker *w, tr_stream_event *e)
{
    int64_t delay = (int64_t)sim_below(s, 500);
    tr_view shard = shard_of(e);
    unsigned from = 0;
    while (w->hands[from] != e)
        from++;
    for (unsigned i = w->held; i-- > from;) {
        tr_stream_event *other = w->hands[i];
        if (other != e && (!s->c.parallelism || !tr_view_eq(shard_of(other), shard)))
            continue;
        remove_hand(w, other);
        tr__core_nack(w->core, other, delay);
    }
}

static void started(sim *s, sim_worker *w)
{
    if (s->started)
        return;
    tr_stream_stats stats;
    tr__core_get_stats(w->core, &stats);
    sim_trace(s, "%s started on %s", w->name, stats.stream_arn);
    s->started = true;
    s->started_at = s->now;
    unsigned stream = 0;
    while (stream + 1 < s->stream_count && strcmp(s->streams[stream].arn, stats.stream_arn) != 0)
        stream++;
    sim_mark_needed(s, stream);
}

static void handle(sim *s, sim_worker *w, tr_stream_event *e)
{
    switch (e->kind) {
    case TR_STREAM_RECORD:
        sim_check_processed(s, w, e->record);
        break;
    case TR_STREAM_GAP:
        sim_check_gap(s, e->gap);
        break;
    default:
        break;
    }
}

static void give_back(sim *s, sim_worker *w, tr_stream_event *e)
{
    if (e->kind == TR_STREAM_RECORD)
        sim_check_acked(s, e->record);
    tr__core_ack(w->core, e);
}

/** One of the events in hand is done. */
static void finish_one(sim *s, void *ctx, uint64_t arg)
{
    sim_worker *w = ctx;
    if (!runs(s, w, arg, finish_one) || w->held == 0)
        return;
    tick(s, w);
    tr_stream_event *e = pick(s, w);
    bool again = s->faults && sim_chance(s, s->c.p_nack);
    if (again) {
        refuse(s, w, e);
    } else {
        remove_hand(w, e);
        if (s->c.parallelism)
            handle(s, w, e);
        give_back(s, w, e);
    }
    pump(s, w);
}

static void user_saves(sim *s, void *ctx, uint64_t arg)
{
    sim_worker *w = ctx;
    if (!runs(s, w, arg, user_saves))
        return;
    tick(s, w);
    bool fail = s->faults && sim_chance(s, s->c.p_store_fail);
    if (!fail || sim_chance(s, 500))
        sim_store_put(s, tr_buf_view(&w->checkpoint));
    tr__core_checkpoint_end(w->core, w->token, fail ? TR_EIO : 0);
    pump(s, w);
}

static void told(sim *s, sim_worker *w, tr_stream_event *e)
{
    switch (e->kind) {
    case TR_STREAM_STARTED:
        started(s, w);
        break;
    case TR_STREAM_CAUGHT_UP:
        s->caught_up++;
        break;
    case TR_STREAM_CHECKPOINT:
        tr_buf_reset(&w->checkpoint);
        if (tr__core_checkpoint_begin(w->core, &w->checkpoint, &w->token) == 0)
            sim_at(s, s->now + sim_between(s, 1, 100), user_saves, w, w->incarnation);
        break;
    case TR_STREAM_TROUBLE:
        sim_trace(s, "%s: trouble: %s of %.*s: %s", w->name, e->trouble->doing, TR_FMT(e->trouble->shard_id),
                  e->trouble->error->message);
        break;
    case TR_STREAM_SHARDS_REMOVED:
        sim_trace(s, "%s: %zu shards removed, first %.*s", w->name, e->shard_count, TR_FMT(e->shards[0]));
        break;
    default:
        break;
    }
    tr__core_ack(w->core, e);
}

static void take_into_hand(sim *s, sim_worker *w, tr_stream_event *e)
{
    if (e->kind != TR_STREAM_RECORD && e->kind != TR_STREAM_GAP) {
        told(s, w, e);
        return;
    }
    sim_check_delivery(s, w, e);
    /* without lanes it is the user who keeps the order: what he takes takes effect at once */
    if (!s->c.parallelism)
        handle(s, w, e);
    w->hands[w->held++] = e;
    sim_at(s, s->now + 1 + (int64_t)sim_below(s, (uint64_t)s->c.handle_ms), finish_one, w, w->incarnation);
}

static void take(sim *s, void *ctx, uint64_t arg)
{
    sim_worker *w = ctx;
    if (!runs(s, w, arg, take))
        return;
    w->take_planned = false;
    if (w->stalled_until > s->now) {
        w->take_planned = true;
        sim_at(s, w->stalled_until, take, w, arg);
        return;
    }
    tick(s, w);
    while (w->held < w->slots && w->alive) {
        tr_stream_event *events[8];
        size_t room = w->slots - w->held < 8 ? w->slots - w->held : 8;
        size_t n = s->c.batch ? tr__core_take_batch(w->core, room, events) : 0;
        if (!s->c.batch)
            n = (events[0] = tr__core_take(w->core)) != NULL;
        if (n == 0)
            break;
        for (size_t i = 0; i < n; i++)
            take_into_hand(s, w, events[i]);
    }
    if (s->faults && sim_chance(s, 5))
        w->stalled_until = s->now + sim_between(s, 1000, 20000);
    pump(s, w);
}

static void plan_take(sim *s, sim_worker *w)
{
    if (w->take_planned || s->c.manual || w->stopping || w->held >= w->slots ||
        !tr__core_available(w->core, 1))
        return;
    w->take_planned = true;
    sim_at(s, s->now + (int64_t)sim_below(s, 3), take, w, w->incarnation);
}

/* ------------------------------------------------------------------------------------- one poll at a time */

/** The records of a poll are merged in order. */
static void check_merged(sim *s, tr_stream_event **events, size_t n)
{
    const tr_record *last = NULL;
    for (size_t i = 0; i < n; i++) {
        const tr_record *r = events[i]->record;
        if (!r)
            continue;
        bool wrong = last && (s->c.server == TR__SERVER_TAILRACE
                                  ? tr_sequence_cmp(last->sequence_number, r->sequence_number) > 0
                                  : last->time_ms > r->time_ms);
        if (wrong)
            sim_fail(s, "a poll's records are not in order: %.*s before %.*s", TR_FMT(last->sequence_number),
                     TR_FMT(r->sequence_number));
        last = r;
    }
}

static void poll_again(sim *s, void *ctx, uint64_t arg)
{
    sim_worker *w = ctx;
    if (!runs(s, w, arg, poll_again))
        return;
    tick(s, w);
    if (!w->polling) {
        w->polling = true;
        w->poll_since = s->now;
        w->poll_records = !w->poll_records;
        if (w->poll_records)
            tr__core_poll_shards(w->core);
        else
            tr__core_poll_records(w->core, sim_chance(s, 500));
        pump(s, w);
        if (!w->alive)
            return;
    }
    if (tr__core_poll_busy(w->core) && s->now - w->poll_since < 30000) {
        sim_at(s, s->now + 20, poll_again, w, arg);
        return;
    }
    w->polling = false;
    static tr_stream_event *events[4096];
    size_t n = 0;
    /* informational events come one by one, and before the records */
    for (size_t got;
         n < TR_COUNT(events) && (got = tr__core_take_batch(w->core, TR_COUNT(events) - n, events + n)) > 0;)
        n += got;
    check_merged(s, events, n);
    for (size_t i = 0; i < n; i++) {
        if (events[i]->kind != TR_STREAM_RECORD && events[i]->kind != TR_STREAM_GAP) {
            told(s, w, events[i]);
            continue;
        }
        handle(s, w, events[i]);
        give_back(s, w, events[i]);
    }
    pump(s, w);
    sim_at(s, s->now + sim_between(s, 50, 1500), poll_again, w, arg);
}

/* ------------------------------------------------------------------------------------- birth and death */

static bool keep_record(void *ctx, const tr_record *record)
{
    tr_value v;
    unsigned item = 0;
    (void)ctx;
    if (tr_item_get(record->keys, TR_VIEW("pk"), &v) == 0 && v.payload.len > 4)
        item = (unsigned)strtoul(v.payload.ptr + 4, NULL, 10);
    return item % 3 != 0;
}

static void options_of(const sim *s, sim_worker *w, tr_stream_options *o, tr_fleet_options *fleet)
{
    *o = (tr_stream_options){.table = "T",
                             .start = s->c.start,
                             .manual = s->c.manual,
                             .user_checkpoints = s->c.user_checkpoints,
                             .parallelism = s->c.parallelism,
                             .max_records = s->c.max_records,
                             .page_records = s->c.page_records,
                             .checkpoint_ms = s->c.checkpoint_ms,
                             .retention_ms = s->c.retention_ms,
                             .discover_ms = s->c.discover_ms,
                             .max_reads = s->c.max_reads};
    if (s->c.filter)
        o->filter = keep_record;
    if (s->c.user_checkpoints && s->store_used)
        o->state = tr_buf_cstr((tr_buf *)(uintptr_t)&s->store);
    if (s->c.import_state && !s->store_used) {
        o->state = s->import;
        o->stream_arn = s->import_arn; /* dynamodb-stream is given it, and does not save it */
    }
    *fleet = (tr_fleet_options){.lease_table = "L", .worker_id = w->name, .failover_ms = s->c.failover_ms};
    if (s->c.fleet)
        o->fleet = fleet;
}

static bool has_store(const sim *s)
{
    return !s->c.fleet && !s->c.user_checkpoints && !s->c.no_store;
}

sim_worker *sim_worker_new(sim *s, unsigned index)
{
    (void)s;
    sim_worker *w = tr_calloc(1, sizeof *w);
    w->index = index;
    tr_buf_init(&w->checkpoint, 64 << 20);
    return w;
}

static void bury(sim_worker *w)
{
    for (unsigned i = 0; i < w->held; i++)
        tr__core_nack(w->core, w->hands[i], 0); /* only so that the memory is free */
    w->held = 0;
    tr__core_free(w->core);
    w->core = NULL;
    w->alive = false;
    w->incarnation++;
}

void sim_worker_kill(sim_worker *w)
{
    bury(w);
}

void sim_worker_free(sim_worker *w)
{
    if (!w)
        return;
    if (w->alive)
        bury(w);
    tr_buf_done(&w->checkpoint);
    tr_free(w);
}

void sim_worker_start(sim *s, sim_worker *w)
{
    if (w->alive)
        return;
    w->incarnation++;
    (void)snprintf(w->name, sizeof w->name, "worker-%u-%u", w->index, w->incarnation);
    w->mono_base = (int64_t)sim_below(s, 1000000000);
    w->skew = s->c.skew_ms ? sim_between(s, -s->c.skew_ms, s->c.skew_ms) : 0;
    w->ppm = sim_between(s, -2000, 2000);
    w->wake_at = INT64_MAX;
    w->take_planned = w->stopping = w->polling = w->poll_records = false;
    w->paused_until = w->stalled_until = 0;
    w->lease_writes = 0;
    w->slots = 1 + (unsigned)sim_below(s, HANDS_MAX);
    tr_stream_options o;
    tr_fleet_options fleet;
    tr_error err;
    options_of(s, w, &o, &fleet);
    int code = tr__core_new(&o, has_store(s), tr_rng_next(&s->rng), mono(s, w),
                            sim_service_clock(s) + w->skew, &w->core, &err);
    if (code) {
        sim_fail(s, "a consumer could not be made: %s", err.message);
        return;
    }
    sim_trace(s, "%s born", w->name);
    if (s->c.scanners)
        tr__core_set_scanners(w->core, s->c.scanners);
    w->alive = true;
    tr__core_set_server(w->core, s->c.server);
    if (s->c.manual)
        sim_at(s, s->now + 1, poll_again, w, w->incarnation);
    pump(s, w);
}

static void rise(sim *s, void *ctx, uint64_t arg)
{
    (void)arg;
    if (!s->over)
        sim_worker_start(s, ctx);
}

static void die(sim *s, sim_worker *w)
{
    bury(w);
    sim_at(s, s->now + sim_between(s, 10, 8000), rise, w, 0);
}

void sim_worker_crash(sim *s, sim_worker *w)
{
    if (!w->alive)
        return;
    sim_trace(s, "%s crashes", w->name);
    die(s, w);
}

static void stop_check(sim *s, sim_worker *w)
{
    if (!tr__core_settled(w->core) && s->now - w->stop_since < 5000)
        return;
    if (tr__core_settled(w->core) && w->lease_writes)
        sim_fail(s, "%s ends before it knows of the last lease it took or gave away", w->name);
    sim_trace(s, "%s has stopped", w->name);
    die(s, w);
}

static void stop_due(sim *s, void *ctx, uint64_t arg)
{
    sim_worker *w = ctx;
    if (runs(s, w, arg, stop_due) && w->stopping)
        stop_check(s, w);
}

/** An orderly end: what is in hand is given back, what is acknowledged is saved. */
void sim_worker_stop(sim *s, sim_worker *w)
{
    if (!w->alive || w->stopping || w->paused_until > s->now)
        return;
    sim_trace(s, "%s stops", w->name);
    tick(s, w);
    tr__core_stop(w->core);
    while (w->held) {
        tr_stream_event *e = w->hands[0];
        remove_hand(w, e);
        if (!s->c.parallelism)
            give_back(s, w, e);
        else
            tr__core_nack(w->core, e, 0);
    }
    w->stopping = true;
    w->stop_since = s->now;
    tr__core_flush(w->core);
    sim_at(s, s->now + 5000, stop_due, w, w->incarnation);
    pump(s, w);
}

void sim_worker_pause(sim *s, sim_worker *w, int64_t for_ms)
{
    if (!w->alive)
        return;
    sim_trace(s, "%s stands still for %lld ms", w->name, (long long)for_ms);
    w->paused_until = s->now + for_ms;
}

/** Takes its own state and goes on from it: what is unacknowledged comes again. */
void sim_worker_reload(sim *s, sim_worker *w)
{
    if (!w->alive || w->stopping || s->c.fleet || w->paused_until > s->now || !s->started)
        return;
    sim_trace(s, "%s goes on from its own state", w->name);
    tick(s, w);
    tr_buf state;
    tr_error err;
    tr_buf_init(&state, 64 << 20);
    if (tr__core_get_state(w->core, &state) == 0 && tr__core_set_state(w->core, tr_buf_view(&state), &err))
        sim_fail(s, "a consumer's own state is refused: %s", err.message);
    tr_buf_done(&state);
    pump(s, w);
}

bool sim_worker_has_saved(const sim_worker *w)
{
    if (!w->alive)
        return true;
    tr_stream_stats stats;
    tr__core_get_stats(w->core, &stats);
    return stats.unacknowledged == 0 && tr__core_saved_all(w->core);
}

void sim_worker_check_end(sim *s, sim_worker *w)
{
    if (!w->alive)
        return;
    tick(s, w);
    tr_stream_stats stats;
    tr__core_get_stats(w->core, &stats);
    if (stats.unacknowledged || stats.unacknowledged_bytes)
        sim_fail(s, "%s holds %zu records (%zu bytes) although all are acknowledged", w->name,
                 stats.unacknowledged, stats.unacknowledged_bytes);
    if (!tr__core_saved_all(w->core))
        sim_fail(s, "%s has not saved what is acknowledged", w->name);
    if (stats.shards_reading && stats.lag_ms > 25000 && !s->c.manual)
        sim_fail(s, "%s says it is %lld ms behind although all is read", w->name, (long long)stats.lag_ms);
}
