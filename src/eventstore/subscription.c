/* SPDX-License-Identifier: MIT */
/*
 *             alone                                       fleet
 *                                 .--------------------------------------------.  the history is
 *    new --> INBOX                | LOOK --ours--> INBOX --all delivered--> (positions to leases) --> STREAM
 *                                 '--^  <--lost------'      `-- over: --------------------------------^
 *
 * INBOX: a replica fills the inbox on a thread of its own, the caller takes from it. STREAM: the caller takes
 * from the stream itself, whose leases are shared.
 */
#include "eventstore/inbox.h"
#include "eventstore/share.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define WAIT_MS          200 /* between two looks at what has ended meanwhile */
#define LOOK_MS          500 /* between two looks at who delivers the history */
#define RETRY_MS         500 /* before events of the stream that were not acknowledged come again */
#define BATCH_BYTES      ((size_t)64 << 20)
#define ONCE_PATIENCE_MS 60000

typedef enum mode { LOOK, INBOX, STREAM } mode;

struct tr_subscription {
    tr_client *client;
    tr_subscription_options options;
    tr__selection select;
    char *state;
    mode mode;
    atomic_bool stop;
    atomic_uint phase; /* tr_subscription_phase */
    _Atomic(uint64_t) delivered;

    /* INBOX */
    tr__inbox *inbox;
    uv_mutex_t mutex; /* guards replica and stream as pointers, and failure */
    tr_replica *replica;
    uv_thread_t thread;
    bool running;
    atomic_bool ended; /* the replica has; then failure tells why */
    tr_error failure;

    /* fleet */
    tr__share *share;
    tr_fleet_options fleet;
    char *lease_table, *worker_id;
    bool looked; /* the next look waits for a while */
    tr_stream *stream;
    tr_stream_batch batch;
    tr_subscribed *events;
    size_t capacity;
    atomic_uint_fast64_t gaps;
    int64_t progressed_ms;
};

const char *tr_subscription_phase_name(tr_subscription_phase phase)
{
    static const char *const names[] = {"waiting", "reading", "catching up", "live"};
    return (unsigned)phase < TR_COUNT(names) ? names[phase] : "unknown";
}

static void set_phase(tr_subscription *s, tr_subscription_phase phase)
{
    atomic_store(&s->phase, (unsigned)phase);
}

/* -------------------------------------------------------------------------------------------- the inbox */

/* Versions that have come say nothing about another table of the same name. One that does not tell what it
 * is, or is not there, is left to the replica. */
static int check_table(tr_subscription *s, tr_error *err)
{
    tr_buf body, reply;
    tr_arena arena;
    tr_json_writer w;
    tr_view table, id;
    tr_buf_init(&body, 4096);
    tr_buf_init(&reply, (size_t)4 << 20);
    tr_arena_init(&arena, (size_t)4 << 20);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", s->select.table);
    tr_json_end_object(&w);
    tr_request request = {.service = TR_DYNAMODB, .operation = "DescribeTable", .body = tr_buf_view(&body)};
    int e;
    while ((e = tr_client_call_wait(s->client, &request, &reply, err)) && tr_retryable(e) && e != TR_ENOMEM &&
           !atomic_load(&s->stop) && !s->options.once) {
        tr_buf_reset(&reply);
        uv_sleep(WAIT_MS);
    }
    bool told = !e && tr_json_member(tr_buf_view(&reply), "Table", &arena, &table) == 0 &&
                tr_json_member(table, "TableId", &arena, &id) == 0;
    e = told ? tr__inbox_table(s->inbox, id, err) : 0;
    tr_buf_done(&body);
    tr_buf_done(&reply);
    tr_arena_done(&arena);
    return e;
}

static void run_replica(void *ctx)
{
    tr_subscription *s = ctx;
    tr_error err = {0};
    if (!check_table(s, &err)) {
        tr_error why = err = (tr_error){0};
        int e = tr_replica_run(s->replica, &why);
        if (e == TR_ENOTFOUND) /* not every server says which table it has not found */
            (void)tr_fail_service(&err, e, why.http_status, why.type, "table %s: %.1900s", s->select.table,
                                  why.message);
        else
            err = why;
    }
    uv_mutex_lock(&s->mutex);
    s->failure = err;
    uv_mutex_unlock(&s->mutex);
    atomic_store(&s->ended, true);
    tr__inbox_wake(s->inbox);
}

static int start_replica(tr_subscription *s, tr_error *err)
{
    tr_replica_options o = {.table = s->select.table,
                            .segments = s->options.segments,
                            .rows_per_second = s->options.rows_per_second,
                            .no_copy = s->options.from == TR_FROM_NOW,
                            .once = s->options.once && !s->share,
                            .logger = s->options.logger};
    tr_replica *replica;
    if (tr__inbox_sink(s->inbox, &o.sink))
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    int e = tr_replica_new(s->client, &o, &replica, err);
    if (e) {
        o.sink->free(o.sink);
        return e;
    }
    uv_mutex_lock(&s->mutex);
    s->replica = replica;
    if (atomic_load(&s->stop))
        tr_replica_stop(replica);
    uv_mutex_unlock(&s->mutex);
    atomic_store(&s->ended, false);
    if (uv_thread_create(&s->thread, run_replica, s))
        return tr_fail(err, TR_ENOMEM, "cannot start a thread");
    s->running = true;
    return 0;
}

static void end_replica(tr_subscription *s)
{
    if (s->replica && s->running) {
        tr_replica_stop(s->replica);
        uv_thread_join(&s->thread);
    }
    s->running = false;
    uv_mutex_lock(&s->mutex);
    tr_replica *replica = s->replica;
    s->replica = NULL;
    uv_mutex_unlock(&s->mutex);
    tr_replica_free(replica);
}

static int open_inbox(tr_subscription *s, tr_error *err)
{
    char name[TR_UUID_LEN + 1];
    int e = s->inbox ? 0 : tr__inbox_open(s->state, &s->select, &s->inbox, err);
    if (!e && s->share) {
        (void)snprintf(name, sizeof name, "%s", tr__share_owner(s->share));
        e = tr__inbox_name(s->inbox, name, err);
    }
    if (!e)
        e = start_replica(s, err);
    if (!e)
        s->mode = INBOX;
    set_phase(s, TR_SUBSCRIPTION_READING);
    return e;
}

static void close_inbox(tr_subscription *s, bool remove)
{
    end_replica(s);
    tr__inbox_close(s->inbox, remove);
    s->inbox = NULL;
}

/* Whether the replica has seen everything that there is. Also sets the phase. */
static bool caught_up(tr_subscription *s)
{
    tr_replica_progress progress;
    if (!s->replica)
        return true;
    tr_replica_get_progress(s->replica, &progress);
    if (progress.phase != TR_REPLICA_FOLLOWING)
        set_phase(s, TR_SUBSCRIPTION_READING);
    else if (atomic_load(&s->phase) == TR_SUBSCRIPTION_READING)
        set_phase(s, TR_SUBSCRIPTION_CATCHING);
    return progress.caught_up;
}

/* ---------------------------------------------------------------------------------------------- the stream
 */

static bool stream_filter(void *ctx, const tr_record *record)
{
    tr_subscription *s = ctx;
    tr_view store;
    tr_event event;
    tr__selection any_time = s->select;
    any_time.from_ms = INT64_MIN;
    return record->has_new && tr__selection_take(&any_time, record->new_image, &store, &event) &&
           tr__selection_wants(&any_time, &event);
}

static int open_stream(tr_subscription *s, tr_error *err)
{
    tr_stream_options o = {.table = s->select.table,
                           .fleet = &s->fleet,
                           .filter = stream_filter,
                           .filter_ctx = s,
                           .logger = s->options.logger};
    tr_stream *stream;
    /* behind a history every shard has its row; one that has none is younger than that */
    o.start.at = s->options.from == TR_FROM_NOW ? TR_START_LATEST : TR_START_TRIM_HORIZON;
    int e = tr_stream_new(s->client, &o, &stream, err);
    if (e)
        return e;
    uv_mutex_lock(&s->mutex);
    s->stream = stream;
    if (atomic_load(&s->stop))
        tr_stream_stop(stream);
    uv_mutex_unlock(&s->mutex);
    s->mode = STREAM;
    s->progressed_ms = tr_clock_mono_ms();
    set_phase(s, TR_SUBSCRIPTION_CATCHING);
    return 0;
}

/* The positions behind the history, from the inbox into the lease table. */
static int hand_over(tr_subscription *s, tr_error *err)
{
    tr_buf state;
    tr_arena arena;
    tr_view stream;
    size_t rows;
    tr_buf_init(&state, BATCH_BYTES);
    tr_arena_init(&arena, 65536);
    int e = tr__inbox_load(s->inbox, &state, err);
    if (!e && tr_json_member(tr_buf_view(&state), "stream", &arena, &stream))
        e = tr_fail(err, TR_ECORRUPT, "%s holds no positions", s->state);
    tr_client *leases = s->fleet.lease_client ? s->fleet.lease_client : s->client;
    if (!e)
        e = tr_leases_import(leases, s->fleet.lease_table, stream, true, &rows, err);
    if (!e)
        e = tr__share_done(s->share, err);
    tr_buf_done(&state);
    tr_arena_done(&arena);
    if (e)
        return e;
    close_inbox(s, true);
    return open_stream(s, err);
}

/* What may pass is tried again the next time. */
static int hand_over_at_last(tr_subscription *s, int64_t wait_ms, tr_error *err)
{
    int e = hand_over(s, err);
    if (!e || !tr_retryable(e) || e == TR_ENOMEM)
        return e;
    tr_log(&s->options.logger, TR_LOG_WARN, "%s; trying again", err->message);
    uv_sleep((unsigned)wait_ms);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ lifecycle
 */

static int check(const tr_subscription_options *o, tr_error *err)
{
    if (!o->state && !(o->fleet && o->from == TR_FROM_NOW))
        return tr_fail(err, TR_EINVAL, "a subscription needs a state file");
    if (o->fleet && (!o->fleet->lease_table || !o->fleet->lease_table[0]))
        return tr_fail(err, TR_EINVAL, "a fleet needs a lease table");
    return 0;
}

static int copy_options(tr_subscription *s, const tr_subscription_options *o, tr_error *err)
{
    int e = tr__selection_init(&s->select, &o->select, err);
    if (e)
        return e;
    s->options = *o;
    s->select.from_now = o->from == TR_FROM_NOW;
    s->select.by_aggregate = o->history == TR_HISTORY_BY_AGGREGATE;
    if (o->from == TR_FROM_TIME)
        s->select.from_ms = o->from_ms;
    s->state = tr_strdup(o->state);
    if (o->fleet) {
        s->fleet = *o->fleet;
        s->fleet.lease_table = s->lease_table = tr_strdup(o->fleet->lease_table);
        s->fleet.worker_id = s->worker_id = tr_strdup(o->fleet->worker_id);
    }
    bool missing = (o->state && !s->state) || (o->fleet && !s->lease_table);
    return missing ? tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM)) : 0;
}

int tr_subscription_new(tr_client *client, const tr_subscription_options *options,
                        tr_subscription **ret_subscription, tr_error *err)
{
    int e = check(options, err);
    if (e)
        return e;
    tr_subscription *s = tr_calloc(1, sizeof *s);
    if (!s || uv_mutex_init(&s->mutex)) {
        tr_free(s);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    s->client = client;
    e = copy_options(s, options, err);
    if (!e && options->fleet && options->from != TR_FROM_NOW)
        e = tr__share_new(client, &s->fleet, &s->share, err);
    if (!e && !options->fleet)
        e = open_inbox(s, err);
    else if (!e && !s->share)
        e = open_stream(s, err);
    if (e)
        tr_subscription_free(s);
    else
        *ret_subscription = s;
    return e;
}

void tr_subscription_stop(tr_subscription *s)
{
    atomic_store(&s->stop, true);
    uv_mutex_lock(&s->mutex);
    if (s->replica)
        tr_replica_stop(s->replica);
    if (s->stream)
        tr_stream_stop(s->stream);
    uv_mutex_unlock(&s->mutex);
}

void tr_subscription_free(tr_subscription *s)
{
    if (!s)
        return;
    close_inbox(s, false);
    if (s->stream) {
        tr_stream_nack_batch(s->stream, &s->batch, 0, 0);
        tr_stream_free(s->stream);
    }
    tr_stream_batch_done(&s->batch);
    tr__share_free(s->share);
    tr__selection_done(&s->select);
    tr_free(s->events);
    tr_free(s->lease_table);
    tr_free(s->worker_id);
    tr_free(s->state);
    uv_mutex_destroy(&s->mutex);
    tr_free(s);
}

void tr_subscription_get_stats(tr_subscription *s, tr_subscription_stats *ret_stats)
{
    tr_subscription_stats out = {.phase = (tr_subscription_phase)atomic_load(&s->phase),
                                 .delivered = atomic_load(&s->delivered),
                                 .gaps = atomic_load(&s->gaps),
                                 .lag_ms = -1};
    uv_mutex_lock(&s->mutex);
    if (s->replica) {
        tr_replica_progress progress;
        tr_replica_get_progress(s->replica, &progress);
        out.scanned = progress.scanned;
        out.gaps += progress.gaps;
        out.lag_ms = progress.lag_ms;
    } else if (s->stream) {
        tr_stream_stats stats;
        tr_stream_get_stats(s->stream, &stats);
        out.lag_ms = stats.lag_ms;
    }
    uv_mutex_unlock(&s->mutex);
    *ret_stats = out;
}

/* ------------------------------------------------------------------------------------------------- taking */

/* Each of these gives events, or 0 without events: to be asked again; or why it ends. */

static int replica_failure(tr_subscription *s, tr_error *err)
{
    uv_mutex_lock(&s->mutex);
    tr_error failure = s->failure;
    uv_mutex_unlock(&s->mutex);
    if (failure.code && err)
        *err = failure;
    /* the waiting of tr_subscription_next alone is told as TR_ETIMEOUT */
    return failure.code == TR_ETIMEOUT ? tr_fail(err, TR_ECANCELED, "%s", failure.message) : failure.code;
}

static int next_of_inbox(tr_subscription *s, size_t max, int64_t wait_ms, tr_subscribed_batch *ret,
                         tr_error *err)
{
    bool ended = atomic_load(&s->ended), behind = !caught_up(s);
    if (s->share && tr__share_lost(s->share)) {
        tr_log(&s->options.logger, TR_LOG_WARN, "another worker delivers the history now");
        end_replica(s);
        s->mode = LOOK;
        return 0;
    }
    int e = tr__inbox_take(s->inbox, max, &ret->events, &ret->count, err);
    if (e || ret->count)
        return e;
    if (ended) {
        e = replica_failure(s, err);
        return e ? e : !s->share || s->replica ? TR_ECLOSED : hand_over_at_last(s, wait_ms, err);
    }
    if (!behind)
        set_phase(s, TR_SUBSCRIPTION_LIVE);
    if (!behind && s->share) {
        end_replica(s);
        atomic_store(&s->ended, true); /* what it brought at last is to be delivered still */
        return 0;
    }
    tr__inbox_wait(s->inbox, wait_ms);
    return 0;
}

static int make_room(tr_subscription *s, size_t count, tr_error *err)
{
    if (count <= s->capacity)
        return 0;
    tr_subscribed *events = tr_realloc(s->events, count * sizeof *events);
    if (!events)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    s->events = events;
    s->capacity = count;
    return 0;
}

static void tell(tr_subscription *s, const tr_stream_event *event)
{
    if (event->kind == TR_STREAM_GAP) {
        atomic_fetch_add(&s->gaps, 1);
        tr_log(&s->options.logger, TR_LOG_ERROR, "%s: the stream has lost records (%s): events are missing",
               s->select.table, tr_gap_reason_name(event->gap->reason));
    } else if (event->kind == TR_STREAM_TROUBLE) {
        tr_log(&s->options.logger, TR_LOG_WARN, "%s: %s: %s", s->select.table, event->trouble->doing,
               event->trouble->error->message);
    } else if (event->kind == TR_STREAM_CAUGHT_UP) {
        set_phase(s, TR_SUBSCRIPTION_LIVE);
    }
}

static int next_of_stream(tr_subscription *s, size_t max, int64_t wait_ms, tr_subscribed_batch *ret,
                          tr_error *err)
{
    tr_stream_nack_batch(s->stream, &s->batch, 0, RETRY_MS); /* what was not acknowledged */
    int e = tr_stream_next_batch(s->stream, max, wait_ms, 0, &s->batch);
    if (e == TR_ETIMEOUT && s->options.once) {
        if (atomic_load(&s->phase) == TR_SUBSCRIPTION_LIVE)
            return TR_ECLOSED;
        if (tr_clock_mono_ms() - s->progressed_ms > ONCE_PATIENCE_MS)
            return tr_fail(err, TR_ETIMEOUT, "%s: no progress for %d s", s->select.table,
                           ONCE_PATIENCE_MS / 1000);
    }
    if (e)
        return e == TR_ETIMEOUT ? 0 : e;
    e = make_room(s, s->batch.count, err);
    if (e)
        return e;
    s->progressed_ms = tr_clock_mono_ms();
    size_t count = 0;
    for (size_t i = 0; i < s->batch.count; i++) {
        const tr_stream_event *event = s->batch.events[i];
        if (event->kind != TR_STREAM_RECORD) {
            tell(s, event);
            continue;
        }
        tr_subscribed *out = &s->events[count++];
        *out = (tr_subscribed){.live = true, .overwritten = event->record->event == TR_MODIFY};
        (void)tr__selection_take(&s->select, event->record->new_image, &out->store_id, &out->event);
    }
    if (count == 0)
        tr_stream_ack_batch(s->stream, &s->batch);
    *ret = (tr_subscribed_batch){s->events, count};
    return 0;
}

/* An inbox that this worker has from before: if it delivers the history again, it goes on in it. */
static int old_inbox(tr_subscription *s, char name[TR_UUID_LEN + 1], bool *ret_there, tr_error *err)
{
    int e = 0;
    if (!s->inbox && access(s->state, F_OK) == 0)
        e = tr__inbox_open(s->state, &s->select, &s->inbox, err);
    *ret_there = s->inbox != NULL;
    tr_uuid(name); /* for one that was made and not named yet */
    return !e && s->inbox ? tr__inbox_name(s->inbox, name, err) : e;
}

/* A fleet that does not know yet who delivers the history. */
static int look(tr_subscription *s, int64_t wait_ms, tr_error *err)
{
    tr__share_role role = TR__SHARE_OTHER;
    char name[TR_UUID_LEN + 1];
    bool there;
    if (s->looked)
        for (int64_t until = tr_clock_mono_ms() + wait_ms;
             tr_clock_mono_ms() < until && !atomic_load(&s->stop);)
            uv_sleep(20);
    s->looked = true;
    int e = old_inbox(s, name, &there, err);
    if (e && e != TR_EBUSY)
        return e;
    /* another worker on this machine has the file: when that one ends, this one goes on in it */
    e = e ? tr__share_peek(s->share, &role, err) : tr__share_look(s->share, there ? name : NULL, &role, err);
    if (e && tr_retryable(e) && e != TR_ENOMEM) {
        tr_log(&s->options.logger, TR_LOG_WARN, "%s; trying again", err ? err->message : tr_strerror(e));
        return 0;
    }
    if (e)
        return e;
    set_phase(s, TR_SUBSCRIPTION_WAITING);
    if (role == TR__SHARE_MINE) {
        e = open_inbox(s, err);
        return e == TR_EBUSY ? 0 : e;
    }
    if (role != TR__SHARE_OVER)
        return 0;
    close_inbox(s, true);
    return open_stream(s, err);
}

static int step(tr_subscription *s, size_t max, int64_t left_ms, tr_subscribed_batch *ret, tr_error *err)
{
    int64_t most = s->mode == LOOK ? LOOK_MS : WAIT_MS,
            wait = left_ms >= 0 && left_ms < most ? left_ms : most;
    switch (s->mode) {
    case LOOK:
        return look(s, wait, err);
    case INBOX:
        return next_of_inbox(s, max, wait, ret, err);
    default:
        return next_of_stream(s, max, wait, ret, err);
    }
}

int tr_subscription_next(tr_subscription *s, size_t max, int64_t timeout_ms, tr_subscribed_batch *ret_batch,
                         tr_error *err)
{
    int64_t until = timeout_ms < 0 ? INT64_MAX : tr_clock_mono_ms() + timeout_ms;
    tr_subscribed_batch batch = {0};
    tr_error local = {0};
    if (max == 0 || max > TR_SUBSCRIBED_MAX)
        return tr_fail(err, TR_EINVAL, "1 to %d events can be taken at a time", TR_SUBSCRIBED_MAX);
    for (;;) {
        if (atomic_load(&s->stop))
            return tr_fail(err, TR_ECLOSED, "%s", tr_strerror(TR_ECLOSED));
        int64_t left = timeout_ms < 0 ? -1 : until - tr_clock_mono_ms();
        int e = step(s, max, left < 0 && timeout_ms >= 0 ? 0 : left, &batch, &local);
        if (e)
            return tr_fail(err, e, "%s", local.code == e ? local.message : tr_strerror(e));
        if (batch.count) {
            *ret_batch = batch;
            return 0;
        }
        if (timeout_ms >= 0 && tr_clock_mono_ms() >= until)
            return tr_fail(err, TR_ETIMEOUT, "%s", tr_strerror(TR_ETIMEOUT));
    }
}

int tr_subscription_ack(tr_subscription *s, size_t count, tr_error *err)
{
    int e = 0;
    if (s->mode == INBOX)
        e = tr__inbox_done(s->inbox, count, err);
    else if (s->mode == STREAM)
        tr_stream_nack_batch(s->stream, &s->batch, count < s->batch.count ? count : s->batch.count, RETRY_MS);
    if (!e)
        atomic_fetch_add(&s->delivered, count);
    return e;
}
