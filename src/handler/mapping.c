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
#include "handler/failure.h"

#include <tailrace/mapping.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <uv.h>

#define BATCH_SIZE       100
#define RETRY_MIN_MS     200
#define RETRY_MAX_MS     60000
#define WAIT_MS          200
#define THREADS_MIN      4
#define THREADS_MAX      64
#define STOP_STEP_MS     20
#define ONCE_PATIENCE_MS 60000

struct tr_mapping {
    tr_mapping_options options;
    char *name;
    tr_stream *stream;
    tr_handler *handler;
    atomic_bool stop, caught_up;
    _Atomic(int) code;
    atomic_llong progressed_ms;
    pthread_mutex_t failing; /* the failure destination takes one at a time */
    _Atomic(uint64_t) batches, records, failures, retries, bisections, given_up;
};

/* One thread's batch and its memory. */
typedef struct work {
    tr_mapping *m;
    tr_stream_event **events;
    size_t count;
    tr_buf event, response, record;
    tr_arena arena;
    tr_error err; /* of the last attempt */
    uint64_t attempts;
    tr_rng rng;
    bool gave_up; /* a stop was asked for: nothing more is done */
} work;

/* -------------------------------------------------------------------------------------------- events */

/* {"Records":[{…,"eventSourceARN":"…"},…]} */
static int write_event(work *w, size_t from, size_t to)
{
    tr_stream_stats stats;
    tr_stream_get_stats(w->m->stream, &stats);
    tr_buf_reset(&w->event);
    tr_buf_put_str(&w->event, "{\"Records\":[");
    for (size_t i = from; i < to; i++) {
        tr_view raw = w->events[i]->record->raw;
        if (i > from)
            tr_buf_putc(&w->event, ',');
        tr_buf_put(&w->event, raw.ptr, raw.len - 1);
        tr_buf_printf(&w->event, ",\"eventSourceARN\":\"%s\"}", stats.stream_arn);
    }
    tr_buf_put_str(&w->event, "]}");
    return tr_buf_status(&w->event);
}

static size_t index_of(const work *w, size_t from, size_t to, tr_view sequence_number)
{
    for (size_t i = from; i < to; i++)
        if (tr_view_eq(w->events[i]->record->sequence_number, sequence_number))
            return i;
    return SIZE_MAX;
}

/*
 * The first record of the answer's batchItemFailures, `to` if there is none; `from` (all of it failed) if the
 * list is not as it should be or names a record that is not in the batch.
 */
static size_t first_failure(work *w, size_t from, size_t to)
{
    tr_view list, response = tr_buf_view(&w->response);
    tr_json_reader r;
    size_t first = to;
    tr_arena_reset(&w->arena);
    if (response.len == 0 || response.ptr[0] != '{' ||
        tr_json_member(response, "batchItemFailures", &w->arena, &list) || list.ptr[0] == 'n')
        return to;
    tr_json_init(&r, list, &w->arena);
    bool valid = tr_json_next(&r) == TR_JSON_ARRAY;
    while (valid && tr_json_next(&r) == TR_JSON_OBJECT) {
        size_t i = SIZE_MAX;
        while (tr_json_next_key(&r)) {
            bool named = tr_view_is(r.text, "itemIdentifier");
            if (tr_json_next(&r) == TR_JSON_STRING && named)
                i = index_of(w, from, to, r.text);
            else if (tr_json_skip(&r))
                break;
        }
        valid = i != SIZE_MAX;
        if (valid && i < first)
            first = i;
    }
    return valid && r.token == TR_JSON_ARRAY_END ? first : from;
}

/* --------------------------------------------------------------------------------------- giving up */

/* Region and account are the stream's: arn:aws:dynamodb:REGION:ACCOUNT:table/… */
static void put_function_arn(const tr_mapping *m, const char *stream_arn, tr_buf *out)
{
    tr_view arn = tr_view_str(stream_arn), region = tr__arn_part(arn, 3), account = tr__arn_part(arn, 4);
    tr_buf_printf(out, "arn:aws:lambda:%.*s:%.*s:function:%s", TR_FMT(region), TR_FMT(account), m->name);
}

static int write_failure(work *w, size_t from, size_t to, const char *condition)
{
    tr_stream_stats stats;
    tr_buf arn;
    tr_stream_get_stats(w->m->stream, &stats);
    tr_buf_init(&arn, 65536);
    put_function_arn(w->m, stats.stream_arn, &arn);
    const tr__stream_failure failure = {.function_arn = tr_buf_view(&arn),
                                        .stream_arn = stats.stream_arn,
                                        .condition = condition,
                                        .attempts = w->attempts,
                                        .first = w->events[from]->record,
                                        .last = w->events[to - 1]->record,
                                        .count = to - from};
    tr_buf_reset(&w->record);
    tr__failure_of_stream(&failure, &w->record);
    tr_buf_done(&arn);
    return tr_buf_status(&w->record);
}

/* False once a stop was asked for. */
static bool sleep_ms(tr_mapping *m, int64_t ms)
{
    for (int64_t until = tr_clock_mono_ms() + ms; tr_clock_mono_ms() < until && !atomic_load(&m->stop);)
        uv_sleep(ms < STOP_STEP_MS ? (unsigned)ms : STOP_STEP_MS);
    return !atomic_load(&m->stop);
}

static int64_t pause_ms(work *w, unsigned attempt)
{
    const tr_mapping_options *o = &w->m->options;
    return 1 + tr_backoff_ms(&w->rng, attempt, o->retry_min_ms, o->retry_max_ms);
}

static int put_failure(work *w, size_t from, size_t to, const char *condition, tr_error *err)
{
    tr_mapping *m = w->m;
    int e = write_event(w, from, to);
    if (!e)
        e = write_failure(w, from, to, condition);
    if (e)
        return tr_fail(err, e, "the failure record cannot be written: %s", tr_strerror(e));
    const tr_failure f = {.source = tr_view_str(m->name),
                          .record = tr_buf_view(&w->record),
                          .event = tr_buf_view(&w->event),
                          .error_type = tr_view_str(w->err.type),
                          .error_message = tr_view_str(w->err.message),
                          .attempts = w->attempts};
    pthread_mutex_lock(&m->failing);
    e = tr_failure_put(m->options.on_failure, &f, err);
    pthread_mutex_unlock(&m->failing);
    return e;
}

/* To the destination, however long that takes. */
static void give_up(work *w, size_t from, size_t to, const char *condition)
{
    tr_mapping *m = w->m;
    tr_error err = {0};
    tr_log(&m->options.logger, TR_LOG_ERROR,
           "%zu record(s) from %.*s are given up after %llu attempt(s): %s %s", to - from,
           TR_FMT(w->events[from]->record->sequence_number), (unsigned long long)w->attempts, w->err.type,
           w->err.message);
    for (unsigned attempt = 0; m->options.on_failure && put_failure(w, from, to, condition, &err);
         attempt++) {
        tr_log(&m->options.logger, TR_LOG_ERROR, "the failure destination: %s%s%s; trying again", err.type,
               err.type[0] ? ": " : "", err.message);
        atomic_store(&m->progressed_ms, tr_clock_mono_ms());
        if (!sleep_ms(m, pause_ms(w, attempt))) {
            w->gave_up = true;
            return;
        }
    }
    atomic_fetch_add(&m->given_up, to - from);
}

/* -------------------------------------------------------------------------------------------- a batch */

/* How many of the leading records are past their age. */
static size_t too_old(const work *w, size_t from, size_t to)
{
    int64_t age = w->m->options.record_age_ms, now = tr_clock_wall_ms();
    size_t i = from;
    while (age && i < to && now - w->events[i]->record->time_ms > age)
        i++;
    return i;
}

/* One attempt. Returns where the first failed record is, `to` if all is well. */
static size_t attempt(work *w, size_t from, size_t to)
{
    tr_mapping *m = w->m;
    int e = write_event(w, from, to);
    tr_buf_reset(&w->response);
    w->err = (tr_error){0};
    if (e)
        (void)tr_fail(&w->err, e, "the batch is too large");
    else
        e = tr_handler_invoke_wait(m->handler, tr_buf_view(&w->event), &w->response, &w->err);
    w->attempts++;
    atomic_fetch_add(&m->batches, 1);
    if (e == TR_ECANCELED) {
        w->gave_up = true;
        return from;
    }
    size_t failed = e ? from : first_failure(w, from, to);
    if (!e && failed < to)
        (void)tr_fail_service(&w->err, TR_ESERVICE, 0, "batchItemFailures", "%zu of %zu records failed",
                              to - failed, to - from);
    if (failed < to) {
        atomic_fetch_add(&m->failures, 1);
        tr_log(&m->options.logger, TR_LOG_WARN, "%s: %s: %s", m->name, w->err.type, w->err.message);
    }
    atomic_store(&m->progressed_ms, tr_clock_mono_ms());
    return failed;
}

/* A range of the batch that is still to be done; halves of halves are few: a batch has at most 10,000
 * records. */
typedef struct range {
    size_t from, to;
    uint64_t retries, attempts; /* attempts: that its records were part of */
} range;

static void work_batch(work *w)
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
            give_up(w, r.from, old, "RecordAgeExceeded");
            r.from = old;
        }
        if (r.from == r.to || w->gave_up)
            continue;
        size_t failed = attempt(w, r.from, r.to);
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
            give_up(w, r.from, r.to, "RetryAttemptsExhausted");
            continue;
        }
        r.retries++;
        atomic_fetch_add(&m->retries, 1);
        if (sleep_ms(m, pause_ms(w, (unsigned)(r.retries > 20 ? 20 : r.retries - 1))))
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
    else if (e->kind == TR_STREAM_CAUGHT_UP)
        atomic_store(&m->caught_up, true);
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

static void handle_batch(work *w, tr_stream_batch *batch)
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
        w->events = rest.events;
        w->count = within_bytes(&rest);
        work_batch(w);
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
    work w = {.m = m};
    tr_stream_batch batch = {0};
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&w.rng, seed);
    tr_buf_init(&w.event, (size_t)64 << 20);
    tr_buf_init(&w.response, TR_HANDLER_OUTPUT_MAX + 65536);
    tr_buf_init(&w.record, 1 << 20);
    tr_arena_init(&w.arena, TR_HANDLER_OUTPUT_MAX + 65536);
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
        if (batch.count)
            handle_batch(&w, &batch);
    }
    tr_stream_nack_batch(m->stream, &batch, 0, 0);
    tr_stream_batch_done(&batch);
    tr_buf_done(&w.event);
    tr_buf_done(&w.response);
    tr_buf_done(&w.record);
    tr_arena_done(&w.arena);
    return NULL;
}

int tr_mapping_run(tr_mapping *m, tr_stream *stream, tr_handler *handler, bool once, tr_error *err)
{
    pthread_t threads[THREADS_MAX];
    size_t count = (size_t)THREADS_MIN * m->options.parallelism, started = 0;
    m->stream = stream;
    m->handler = handler;
    atomic_store(&m->progressed_ms, tr_clock_mono_ms());
    for (; started < count && started < THREADS_MAX; started++)
        if (pthread_create(&threads[started], NULL, run_thread, m))
            break;
    int e = started ? 0 : tr_fail(err, TR_ENOMEM, "cannot start a thread");
    while (!e && !atomic_load(&m->stop)) {
        uv_sleep(STOP_STEP_MS);
        if (once && atomic_load(&m->caught_up))
            break;
        if (once && tr_clock_mono_ms() - atomic_load(&m->progressed_ms) > ONCE_PATIENCE_MS)
            e = tr_fail(err, TR_ETIMEOUT, "no progress for %d s", ONCE_PATIENCE_MS / 1000);
    }
    atomic_store(&m->stop, true);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
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
                              .given_up = atomic_load(&m->given_up)};
}
