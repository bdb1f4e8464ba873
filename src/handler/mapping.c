/* SPDX-License-Identifier: MIT */
/*
 * Batches of a stream to a handler. Threads of the mapping take batches from the stream, which hands out one
 * per lane at a time, so a thread may block in retries without holding others up as long as there are threads
 * left.
 *
 *   work(range):  invoke -- success ------------------------------------------------> done
 *                    |----- partial failure: work(rest), one attempt used
 *                    '----- failure -- bisect, several records: work(first half), work(second half)
 *                              |------ attempts and age left: pause, again
 *                              '------ none left: failure record to its destination (until that succeeds)
 */
#include "handler/mapping_private.h"

#include <uv.h>

#define BATCH_SIZE       100
#define RETRY_MIN_MS     200
#define RETRY_MAX_MS     60000
#define WAIT_MS          200
#define CHECK_MS         250 /* longer than the pause between two looks at windows */
#define THREADS_MIN      4
#define THREADS_MAX      256
#define STOP_STEP_MS     20
#define STOP_PATIENCE_MS 5000
#define ONCE_PATIENCE_MS 60000

/* -------------------------------------------------------------------------------------------- a batch */

/* How many of the leading records are past their age. */
static size_t too_old(const tr__work *w, size_t from, size_t to)
{
    int64_t age = w->m->options.record_age_ms, now = tr_clock_wall_ms();
    size_t i = from;
    while (age && i < to && now - w->events[i]->record->time_ms > age)
        i++;
    return i;
}

/* A range of the batch that is still to be done; halves of halves are few: a batch has at most 10,000
 * records. */
typedef struct range {
    size_t from, to;
    uint64_t retries, attempts; /* attempts: that its records were part of */
} range;

static void work_batch(tr__work *w)
{
    range todo[64];
    size_t depth = 0;
    tr_mapping *m = w->m;
    const tr_mapping_options *o = &m->options;
    todo[depth++] = (range){.to = w->count};
    while (depth && !w->gave_up) {
        range r = todo[--depth];
        w->attempts = r.attempts;
        size_t old = too_old(w, r.from, r.to);
        if (old > r.from) {
            tr__work_give_up(w, r.from, old, "RecordAgeExceeded");
            r.from = old;
        }
        if (r.from == r.to || w->gave_up)
            continue;
        size_t failed = tr__work_attempt(w, r.from, r.to);
        if (failed == r.to || w->gave_up)
            continue;
        bool partial = failed > r.from;
        r.attempts++;
        r.from = failed;
        if (!partial && o->bisect && r.to - r.from > 1 && depth + 2 <= TR_COUNT(todo)) {
            size_t middle = r.from + (r.to - r.from) / 2;
            atomic_fetch_add(&m->bisections, 1);
            todo[depth++] = (range){middle, r.to, r.retries, r.attempts};
            todo[depth++] = (range){r.from, middle, r.retries, r.attempts};
            continue;
        }
        if (o->limit_retries && r.retries >= o->retries) {
            tr__work_give_up(w, r.from, r.to, "RetryAttemptsExhausted");
            continue;
        }
        r.retries++;
        atomic_fetch_add(&m->retries, 1);
        if (tr__work_pause(w, r.retries - 1))
            todo[depth++] = r;
        else
            w->gave_up = true;
    }
}

/* --------------------------------------------------------------------------------------------- threads */

static void tell(tr_mapping *m, const tr_stream_event *e)
{
    if (e->kind == TR_STREAM_GAP)
        tr_log(&m->options.logger, TR_LOG_WARN, "%s: records may be missing in shard %.*s (%s)", m->name,
               TR_FMT(e->gap->shard_id), tr_gap_reason_name(e->gap->reason));
    else if (e->kind == TR_STREAM_TROUBLE)
        tr_log(&m->options.logger, TR_LOG_WARN, "%s: %s: %s; again in %lld ms", m->name, e->trouble->doing,
               e->trouble->error->message, (long long)e->trouble->retry_in_ms);
}

/* Takes as many records of the batch as an event of the service may hold, at least one. */
static size_t within_bytes(const tr_stream_batch *batch)
{
    size_t bytes = 0, i = 0;
    for (; i < batch->count; i++) {
        bytes += batch->events[i]->record->raw.len + 128;
        if (bytes > TR_MAPPING_BYTES_MAX && i > 0)
            break;
    }
    return i;
}

static void handle_batch(tr__work *w, tr_stream_batch *batch)
{
    tr_mapping *m = w->m;
    if (batch->events[0]->kind != TR_STREAM_RECORD) {
        for (size_t i = 0; i < batch->count; i++)
            tell(m, batch->events[i]);
        tr_stream_ack_batch(m->stream, batch);
        return;
    }
    size_t done = 0;
    while (done < batch->count && !w->gave_up) {
        tr_stream_batch rest = {.events = batch->events + done, .count = batch->count - done};
        bool skip = false;
        w->events = rest.events;
        w->count = within_bytes(&rest);
        if (m->options.tumbling_ms) {
            rest.count = w->count;
            w->count = tr__window_enter(w, &rest, &skip);
        }
        if (!skip && !w->gave_up)
            work_batch(w);
        if (m->options.tumbling_ms)
            tr__window_leave(w, !skip);
        if (!w->gave_up)
            done += w->count;
    }
    atomic_fetch_add(&m->records, done);
    if (done == batch->count)
        tr_stream_ack_batch(m->stream, batch);
    else
        tr_stream_nack_batch(m->stream, batch, done, 0);
}

static void *run_thread(void *ctx)
{
    tr_mapping *m = ctx;
    tr__work w;
    tr_stream_batch batch = {0};
    tr__work_init(&w, m);
    while (!atomic_load(&m->stop)) {
        int got =
            tr_stream_next_batch(m->stream, m->options.batch_size, WAIT_MS, m->options.window_ms, &batch);
        if (got == TR_ECLOSED)
            break;
        if (got && got != TR_ETIMEOUT) {
            atomic_store(&m->code, got);
            atomic_store(&m->stop, true);
            break;
        }
        if (batch.count) {
            atomic_fetch_add(&m->busy, 1);
            handle_batch(&w, &batch);
            atomic_fetch_sub(&m->busy, 1);
        }
        if (m->options.tumbling_ms)
            tr__windows_close_due(&w);
    }
    tr_stream_nack_batch(m->stream, &batch, 0, 0);
    tr_stream_batch_done(&batch);
    tr__work_done(&w);
    atomic_fetch_sub(&m->running, 1);
    return NULL;
}

/* What is under way may end by itself for a while; then it is canceled, and comes again another time. */
static void end_handler(tr_mapping *m)
{
    int64_t until = tr_clock_mono_ms() + STOP_PATIENCE_MS;
    while (atomic_load(&m->running) && tr_clock_mono_ms() < until)
        uv_sleep(STOP_STEP_MS);
    if (atomic_load(&m->running))
        tr_handler_cancel(m->handler);
}

/* Those that are over by now, before a run with `once` ends. */
static void close_windows(tr_mapping *m)
{
    tr__work w;
    if (!m->options.tumbling_ms)
        return;
    uv_sleep(CHECK_MS); /* so that it is looked again */
    tr__work_init(&w, m);
    tr__windows_close_due(&w);
    tr__work_done(&w);
}

/* The threads of a run. There are as many as have a batch at hand, and some: one that waits between retries
 * must not keep other shards waiting. */
typedef struct crew {
    pthread_t threads[THREADS_MAX];
    int count;
} crew;

static bool add_thread(tr_mapping *m, crew *c)
{
    atomic_fetch_add(&m->running, 1);
    if (pthread_create(&c->threads[c->count], NULL, run_thread, m)) {
        atomic_fetch_sub(&m->running, 1);
        return false;
    }
    c->count++;
    return true;
}

/* With `once`: time in which nothing has gone on; that of the handler does not count, which has a limit of
 * its own. */
typedef struct patience {
    int64_t idle_ms, looked_ms;
} patience;

static bool is_lost(patience *p, tr_mapping *m)
{
    int64_t now = tr_clock_mono_ms();
    if (atomic_exchange(&m->progressed, false))
        p->idle_ms = 0;
    else if (!atomic_load(&m->invoking))
        p->idle_ms += now - p->looked_ms;
    p->looked_ms = now;
    return p->idle_ms > ONCE_PATIENCE_MS;
}

/* Whether all that was written before the run began has been read and acknowledged. */
static bool is_settled(tr_mapping *m, int64_t began_ms)
{
    tr_stream_stats stats;
    tr_stream_get_stats(m->stream, &stats);
    return stats.settled_ms >= began_ms;
}

static int supervise(tr_mapping *m, crew *c, bool once, tr_error *err)
{
    int64_t began_ms = tr_clock_mono_ms();
    patience p = {.looked_ms = began_ms};
    while (!atomic_load(&m->stop)) {
        uv_sleep(STOP_STEP_MS);
        if (atomic_load(&m->busy) == c->count && c->count < THREADS_MAX)
            (void)add_thread(m, c);
        if (once && is_settled(m, began_ms)) {
            close_windows(m);
            if (!tr__windows_closing(m)) /* else another thread is at it, whom a stop would cut off */
                break;
        }
        if (once && is_lost(&p, m))
            return tr_fail(err, TR_ETIMEOUT, "no progress for %d s", ONCE_PATIENCE_MS / 1000);
    }
    return 0;
}

int tr_mapping_run(tr_mapping *m, tr_stream *stream, tr_handler *handler, bool once, tr_error *err)
{
    crew c = {.count = 0};
    int wanted = (int)(THREADS_MIN * m->options.parallelism);
    m->stream = stream;
    m->handler = handler;
    int e = m->options.tumbling_ms ? tr__windows_open(m, err) : 0;
    while (!e && c.count < wanted && add_thread(m, &c))
        ;
    if (!e)
        e = c.count ? supervise(m, &c, once, err) : tr_fail(err, TR_ENOMEM, "cannot start a thread");
    atomic_store(&m->stop, true);
    end_handler(m);
    for (int i = 0; i < c.count; i++)
        (void)pthread_join(c.threads[i], NULL);
    int code = atomic_load(&m->code);
    if (!e && code)
        e = tr_fail(err, code, "reading the stream: %s", tr_strerror(code));
    return e;
}

/* ------------------------------------------------------------------------------------------- lifecycle */

static int check(const tr_mapping_options *o, tr_error *err)
{
    if (o->batch_size > TR_MAPPING_BATCH_MAX)
        return tr_fail(err, TR_EINVAL, "batch size %zu: at most %d", o->batch_size, TR_MAPPING_BATCH_MAX);
    if (o->window_ms < 0 || o->window_ms > TR_MAPPING_WINDOW_MAX_MS)
        return tr_fail(err, TR_EINVAL, "the batching window is 0 to %d s", TR_MAPPING_WINDOW_MAX_MS / 1000);
    if (o->parallelism > TR_MAPPING_PARALLELISM_MAX)
        return tr_fail(err, TR_EINVAL, "parallelism %u: at most %d", o->parallelism,
                       TR_MAPPING_PARALLELISM_MAX);
    if (o->retries > TR_MAPPING_RETRIES_MAX)
        return tr_fail(err, TR_EINVAL, "%llu retries: at most %d", (unsigned long long)o->retries,
                       TR_MAPPING_RETRIES_MAX);
    if (o->record_age_ms < 0 || o->record_age_ms > TR_MAPPING_AGE_MAX_MS)
        return tr_fail(err, TR_EINVAL, "a record's age is limited to at most 7 days");
    if (o->tumbling_ms < 0 || o->tumbling_ms > TR_MAPPING_TUMBLING_MAX_MS || o->tumbling_ms % 1000)
        return tr_fail(err, TR_EINVAL, "a tumbling window has 1 to %d whole seconds",
                       TR_MAPPING_TUMBLING_MAX_MS / 1000);
    if (o->tumbling_ms && o->parallelism > 1)
        return tr_fail(err, TR_EINVAL, "a tumbling window has one state per shard: parallelism must be 1");
    if (o->filter_count > TR_MAPPING_FILTERS_MAX)
        return tr_fail(err, TR_EINVAL, "%zu filters: at most %d", o->filter_count, TR_MAPPING_FILTERS_MAX);
    return 0;
}

int tr_mapping_new(const tr_mapping_options *options, tr_stream_options *stream_options,
                   tr_mapping **ret_mapping, tr_error *err)
{
    int e = check(options, err);
    if (e)
        return e;
    tr_mapping *m = tr_calloc(1, sizeof *m);
    if (!m || !(m->name = tr_strdup(options->name ? options->name : "handler")) ||
        pthread_mutex_init(&m->failing, NULL)) {
        if (m)
            tr_free(m->name);
        tr_free(m);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    m->options = *options;
    (void)pthread_mutex_init(&m->tumbling.lock, NULL);
    (void)pthread_cond_init(&m->tumbling.idle, NULL);
    tr_buf_init(&m->tumbling.saved, TR_MAPPING_WINDOWS_MAX);
    if (!m->options.batch_size)
        m->options.batch_size = BATCH_SIZE;
    if (!m->options.parallelism)
        m->options.parallelism = 1;
    if (!m->options.retry_min_ms)
        m->options.retry_min_ms = RETRY_MIN_MS;
    if (!m->options.retry_max_ms)
        m->options.retry_max_ms = RETRY_MAX_MS;
    stream_options->parallelism = m->options.parallelism;
    stream_options->keep_raw = true;
    stream_options->patterns = options->filters;
    stream_options->pattern_count = options->filter_count;
    *ret_mapping = m;
    return 0;
}

void tr_mapping_free(tr_mapping *m)
{
    if (!m)
        return;
    tr_failure_sink_free(m->options.on_failure);
    tr__windows_done(m);
    (void)pthread_mutex_destroy(&m->failing);
    tr_free(m->name);
    tr_free(m);
}

void tr_mapping_stop(tr_mapping *m)
{
    atomic_store(&m->stop, true);
}

void tr_mapping_get_stats(tr_mapping *m, tr_mapping_stats *ret)
{
    *ret = (tr_mapping_stats){.batches = atomic_load(&m->batches),
                              .records = atomic_load(&m->records),
                              .failures = atomic_load(&m->failures),
                              .retries = atomic_load(&m->retries),
                              .bisections = atomic_load(&m->bisections),
                              .given_up = atomic_load(&m->given_up),
                              .busy_ns = atomic_load(&m->busy_ns),
                              .windows = atomic_load(&m->windows)};
}
