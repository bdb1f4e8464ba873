/* SPDX-License-Identifier: MIT */
/*
 * Records of a stream onto a bus. One thread takes batches from the stream and puts entries; the publisher
 * tells what became of them on the bus client's thread, and there records are acknowledged.
 */
#include "handler/failure.h"

#include <tailrace/log.h>
#include <tailrace/pipe.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <uv.h>

#define BATCH_SIZE       25
#define WAIT_MS          200
#define STOP_STEP_MS     20
#define STOP_PATIENCE_MS 2000
#define ONCE_PATIENCE_MS 60000
#define DETAIL_MAX       ((size_t)32 << 20) /* a record of the largest item, and what a template makes of it */

struct tr_pipe {
    tr_pipe_options options;
    char *name, *source, *detail_type, *arn;
    tr_publisher *publisher;
    tr_stream *stream;
    pthread_mutex_t failing; /* the failure destination takes one at a time */
    tr_buf failure_record, failure_event;
    tr_buf detail, made;
    size_t *group; /* of a batch's records */
    atomic_bool stop, caught_up;
    _Atomic(int64_t) progressed_ms;
    _Atomic(uint64_t) records, skipped, given_up;
};

/* ----------------------------------------------------------------------------------------- giving up */

/* The failure record of a stream's handler, whose batch is this one record. */
static void write_failure(tr_pipe *p, const tr_record *record, const char *condition, uint64_t attempts)
{
    tr_stream_stats stats;
    tr_stream_get_stats(p->stream, &stats);
    const tr__stream_failure failure = {.function_arn = tr_view_str(p->arn),
                                        .stream_arn = stats.stream_arn,
                                        .condition = condition,
                                        .attempts = attempts,
                                        .first = record,
                                        .last = record,
                                        .count = 1};
    tr_buf_reset(&p->failure_record);
    tr__failure_of_stream(&failure, &p->failure_record);
}

/* {"Records":[…]}: what a function of this stream would be given. */
static void write_event(tr_pipe *p, const tr_record *record)
{
    tr_json_writer w;
    tr_buf_reset(&p->failure_event);
    tr_buf_put_str(&p->failure_event, "{\"Records\":[");
    tr_json_write_init(&w, &p->failure_event);
    tr_record_write(&w, record);
    tr_buf_put_str(&p->failure_event, "]}");
}

/* Once. 0 if the destination has it, or there is none. */
static int put_failure(tr_pipe *p, const tr_record *record, const char *condition, uint64_t attempts,
                       const tr_error *why, tr_error *err)
{
    if (!p->options.on_failure)
        return 0;
    pthread_mutex_lock(&p->failing);
    write_failure(p, record, condition, attempts);
    write_event(p, record);
    int e = tr_buf_status(&p->failure_record) ? tr_buf_status(&p->failure_record)
                                              : tr_buf_status(&p->failure_event);
    const tr_failure failure = {.source = tr_view_str(p->name),
                                .record = tr_buf_view(&p->failure_record),
                                .event = tr_buf_view(&p->failure_event),
                                .error_type = tr_view_str(why->type),
                                .error_message = tr_view_str(why->message),
                                .attempts = attempts};
    e = e ? tr_fail(err, e, "%s", tr_strerror(e)) : tr_failure_put(p->options.on_failure, &failure, err);
    pthread_mutex_unlock(&p->failing);
    return e;
}

/* The publisher's failure destination, on its thread. */
static int on_given_up(void *ctx, const tr_publish_failure *f, tr_error *err)
{
    const tr_stream_event *event = f->ctx;
    const char *condition = strcmp(f->condition, "RetriesExhausted") == 0   ? "RetryAttemptsExhausted"
                            : strcmp(f->condition, "EventAgeExceeded") == 0 ? "RecordAgeExceeded"
                                                                            : f->condition;
    tr_pipe *p = ctx;
    int e = put_failure(p, event->record, condition, f->attempts, f->err, err);
    if (e == 0)
        tr_log(&p->options.logger, TR_LOG_ERROR, "record %.*s was given up after %llu attempt(s): %s: %s",
               TR_FMT(event->record->sequence_number), (unsigned long long)f->attempts, f->err->type,
               f->err->message);
    return e;
}

/* On the bus client's thread, or the publisher's. */
static void on_done(void *ctx, const tr_publish_result *result)
{
    tr_stream_event *event = ctx;
    tr_pipe *p = event->user;
    atomic_store(&p->progressed_ms, tr_clock_mono_ms());
    if (result->code == TR_ECANCELED) {
        tr_stream_nack(p->stream, event, 0);
        return;
    }
    if (result->code)
        atomic_fetch_add(&p->given_up, 1);
    tr_stream_ack(p->stream, event);
}

/* ----------------------------------------------------------------------------------------- publishing */

static int make_detail(tr_pipe *p, const tr_record *record, tr_view *ret_detail, tr_error *err)
{
    char now[TR_TIME_TEXT_MAX];
    tr_buf_reset(&p->detail);
    int e = tr_pipe_detail(p->options.format, record, &p->detail);
    if (e == TR_ENOTFOUND)
        return e;
    if (e)
        return tr_fail(err, e, "the record is too large: %s", tr_strerror(e));
    *ret_detail = tr_buf_view(&p->detail);
    if (!p->options.transform)
        return 0;
    tr_time_format(tr_clock_wall_ms(), false, now);
    tr_buf_reset(&p->made);
    const tr_transform_input input = {.event = *ret_detail,
                                      .rule_arn = tr_view_str(p->arn),
                                      .rule_name = tr_view_str(p->name),
                                      .ingestion_time = tr_view_str(now)};
    e = tr_transform_apply(p->options.transform, &input, &p->made, err);
    *ret_detail = tr_buf_view(&p->made);
    return e;
}

/* What puts records in order: the run of a log, or the item. */
static tr_view order_key(const tr_pipe *p, const tr_record *record)
{
    tr_value pk;
    if (p->options.format == TR_PIPE_LOG && tr_item_get(record->keys, TR_VIEW(TR_LOG_PK), &pk) == 0)
        return pk.payload;
    return record->keys;
}

static bool sleep_ms(tr_pipe *p, int64_t ms)
{
    for (int64_t until = tr_clock_mono_ms() + ms; tr_clock_mono_ms() < until && !atomic_load(&p->stop);)
        uv_sleep(STOP_STEP_MS);
    return !atomic_load(&p->stop);
}

/* No event can be made of the record: to the failure destination, however long that takes. */
static void give_up(tr_pipe *p, tr_stream_event *event, const tr_error *why)
{
    tr_error err = {0};
    tr_rng rng;
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&rng, seed);
    tr_log(&p->options.logger, TR_LOG_ERROR, "record %.*s is given up: %s",
           TR_FMT(event->record->sequence_number), why->message);
    for (unsigned attempt = 0; put_failure(p, event->record, "Refused", 0, why, &err); attempt++) {
        tr_log(&p->options.logger, TR_LOG_ERROR, "the failure destination: %s; trying again", err.message);
        if (!sleep_ms(p, 1 + tr_backoff_ms(&rng, attempt > 20 ? 20 : attempt, 100, 30000))) {
            tr_stream_nack(p->stream, event, 0);
            return;
        }
    }
    atomic_fetch_add(&p->given_up, 1);
    tr_stream_ack(p->stream, event);
}

static void put_record(tr_pipe *p, tr_stream_event *event)
{
    const tr_record *record = event->record;
    tr_error err = {0};
    tr_view detail;
    int e = make_detail(p, record, &detail, &err);
    atomic_fetch_add(&p->records, 1);
    if (e == TR_ENOTFOUND) {
        atomic_fetch_add(&p->skipped, 1);
        tr_stream_ack(p->stream, event);
        return;
    }
    if (e && e != TR_ENOMEM) {
        give_up(p, event, &err);
        return;
    }
    event->user = p;
    const tr_publish_entry entry = {.source = tr_view_str(p->source),
                                    .detail_type = tr_view_str(p->detail_type),
                                    .detail = detail,
                                    .has_time = p->options.with_time,
                                    .time_ms = record->time_ms,
                                    .key = order_key(p, record)};
    /* in steps, so that a stop is noticed while the bus cannot be reached */
    for (e = e ? e : TR_EBUSY; e == TR_EBUSY && !atomic_load(&p->stop);)
        e = tr_publisher_put(p->publisher, &entry, WAIT_MS, on_done, event, &err);
    if (e)
        tr_stream_nack(p->stream, event, WAIT_MS);
}

static tr_view log_of(const tr_stream_event *event)
{
    tr_value log;
    if (tr_item_get(event->record->new_image, TR_VIEW(TR_LOG_LOG), &log) || log.type != TR_S)
        return (tr_view){NULL, 0};
    return log.payload;
}

/* Who comes first of each one's group: events grouped by log, in the order in which the logs come first. */
static void find_groups(tr_pipe *p, const tr_stream_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        p->group[i] = i;
        if (p->options.format != TR_PIPE_LOG)
            continue;
        tr_view log = log_of(batch->events[i]);
        for (size_t j = 0; p->group[i] == i && j < i; j++)
            if (p->group[j] == j && tr_view_eq(log_of(batch->events[j]), log))
                p->group[i] = j;
    }
}

static void put_batch(tr_pipe *p, tr_stream_batch *batch)
{
    find_groups(p, batch);
    for (size_t i = 0; i < batch->count; i++)
        for (size_t j = i; p->group[i] == i && j < batch->count; j++)
            if (p->group[j] == i)
                put_record(p, batch->events[j]);
    batch->count = 0;
}

/* ------------------------------------------------------------------------------------------------ running */

static void tell(tr_pipe *p, const tr_stream_event *e)
{
    if (e->kind == TR_STREAM_GAP)
        tr_log(&p->options.logger, TR_LOG_WARN, "%s: records may be missing in shard %.*s (%s)", p->name,
               TR_FMT(e->gap->shard_id), tr_gap_reason_name(e->gap->reason));
    else if (e->kind == TR_STREAM_TROUBLE)
        tr_log(&p->options.logger, TR_LOG_WARN, "%s: %s: %s; again in %lld ms", p->name, e->trouble->doing,
               e->trouble->error->message, (long long)e->trouble->retry_in_ms);
    else if (e->kind == TR_STREAM_CAUGHT_UP)
        atomic_store(&p->caught_up, true);
    if (e->kind != TR_STREAM_TROUBLE)
        atomic_store(&p->progressed_ms, tr_clock_mono_ms());
}

static void take_batch(tr_pipe *p, tr_stream_batch *batch)
{
    if (batch->events[0]->kind == TR_STREAM_RECORD) {
        put_batch(p, batch);
        return;
    }
    for (size_t i = 0; i < batch->count; i++)
        tell(p, batch->events[i]);
    tr_stream_ack_batch(p->stream, batch);
}

int tr_pipe_run(tr_pipe *p, tr_stream *stream, bool once, tr_error *err)
{
    tr_stream_batch batch = {0};
    int e = 0;
    p->stream = stream;
    atomic_store(&p->progressed_ms, tr_clock_mono_ms());
    while (!e && !atomic_load(&p->stop) && !(once && atomic_load(&p->caught_up))) {
        int got = tr_stream_next_batch(stream, p->options.batch_size, WAIT_MS, p->options.window_ms, &batch);
        if (got == TR_ECLOSED)
            break;
        if (got && got != TR_ETIMEOUT)
            e = tr_fail(err, got, "reading the stream: %s", tr_strerror(got));
        else if (batch.count)
            take_batch(p, &batch);
        if (!e && once && tr_clock_mono_ms() - atomic_load(&p->progressed_ms) > ONCE_PATIENCE_MS)
            e = tr_fail(err, TR_ETIMEOUT, "no progress for %d s", ONCE_PATIENCE_MS / 1000);
    }
    tr_stream_batch_done(&batch);
    (void)tr_publisher_flush(p->publisher, STOP_PATIENCE_MS, NULL);
    return e;
}

/* ---------------------------------------------------------------------------------------------- lifecycle */

static TR_PRINTF(1, 2) char *print_text(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return n >= 0 && (size_t)n < sizeof text ? tr_strdup(text) : NULL;
}

static int copy_texts(tr_pipe *p, const tr_pipe_options *o, const char *region)
{
    bool log = o->format == TR_PIPE_LOG;
    const char *name = o->name ? o->name : "pipe";
    p->name = tr_strdup(name);
    p->source = o->source ? tr_strdup(o->source)
                : log     ? tr_strdup(TR_PIPE_SOURCE)
                          : print_text("Pipe %s", name);
    p->detail_type = tr_strdup(o->detail_type ? o->detail_type
                               : log          ? TR_PIPE_DETAIL_TYPE
                                              : "Event from aws:dynamodb");
    p->arn = print_text("arn:aws:pipes:%s:000000000000:pipe/%s", region, name);
    return p->name && p->source && p->detail_type && p->arn ? 0 : TR_ENOMEM;
}

static int check(const tr_pipe_options *o, tr_error *err)
{
    if (!o->bus || !o->bus[0])
        return tr_fail(err, TR_EINVAL, "a pipe needs a bus");
    if (o->name && strlen(o->name) > 255)
        return tr_fail(err, TR_EINVAL, "the pipe's name is longer than 255 bytes");
    if (o->batch_size > TR_MAPPING_BATCH_MAX)
        return tr_fail(err, TR_EINVAL, "batch size %zu: at most %d", o->batch_size, TR_MAPPING_BATCH_MAX);
    if (o->window_ms < 0 || o->window_ms > TR_MAPPING_WINDOW_MAX_MS)
        return tr_fail(err, TR_EINVAL, "the batching window is 0 to %d s", TR_MAPPING_WINDOW_MAX_MS / 1000);
    return 0;
}

static int open_publisher(tr_pipe *p, tr_client *bus, tr_error *err)
{
    tr_publisher_options o = p->options.publisher;
    o.bus = p->options.bus;
    o.logger = p->options.logger;
    o.on_failure = p->options.on_failure ? on_given_up : NULL;
    o.failure_ctx = p;
    return tr_publisher_new(bus, &o, &p->publisher, err);
}

int tr_pipe_new(tr_client *bus, const tr_pipe_options *options, tr_stream_options *stream_options,
                tr_pipe **ret_pipe, tr_error *err)
{
    int e = check(options, err);
    if (e)
        return e;
    tr_pipe *p = tr_calloc(1, sizeof *p);
    if (!p || pthread_mutex_init(&p->failing, NULL)) {
        tr_free(p);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    p->options = *options;
    p->options.on_failure = NULL; /* not ours before we have succeeded */
    p->options.batch_size = options->batch_size ? options->batch_size : BATCH_SIZE;
    tr_buf_init(&p->failure_record, 1 << 20);
    tr_buf_init(&p->failure_event, DETAIL_MAX);
    tr_buf_init(&p->detail, DETAIL_MAX);
    tr_buf_init(&p->made, DETAIL_MAX);
    p->group = tr_calloc(p->options.batch_size, sizeof *p->group);
    e = p->group ? copy_texts(p, options, tr_client_region(bus)) : TR_ENOMEM;
    if (e) {
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    } else {
        p->options.on_failure = options->on_failure;
        e = open_publisher(p, bus, err);
    }
    if (e) {
        p->options.on_failure = NULL;
        tr_pipe_free(p);
        return e;
    }
    stream_options->keep_raw |= p->options.format == TR_PIPE_RECORD;
    *ret_pipe = p;
    return 0;
}

void tr_pipe_free(tr_pipe *p)
{
    if (!p)
        return;
    tr_publisher_free(p->publisher);
    tr_failure_sink_free(p->options.on_failure);
    (void)pthread_mutex_destroy(&p->failing);
    tr_buf_done(&p->failure_record);
    tr_buf_done(&p->failure_event);
    tr_buf_done(&p->detail);
    tr_buf_done(&p->made);
    tr_free(p->group);
    tr_free(p->name);
    tr_free(p->source);
    tr_free(p->detail_type);
    tr_free(p->arn);
    tr_free(p);
}

void tr_pipe_stop(tr_pipe *p)
{
    atomic_store(&p->stop, true);
}

void tr_pipe_get_stats(tr_pipe *p, tr_pipe_stats *ret_stats)
{
    *ret_stats = (tr_pipe_stats){.records = atomic_load(&p->records),
                                 .skipped = atomic_load(&p->skipped),
                                 .given_up = atomic_load(&p->given_up)};
    tr_publisher_get_stats(p->publisher, &ret_stats->publisher);
}
