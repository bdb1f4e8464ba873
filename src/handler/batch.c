/* SPDX-License-Identifier: MIT */
/* Some records of a batch: as an event, what the handler answers, and as a failure record. */
#include "handler/mapping_private.h"

#include <stdio.h>
#include <uv.h>

#define STOP_STEP_MS 20

/* -------------------------------------------------------------------------------------------- events */

/* {"Records":[{…,"eventSourceARN":"…"},…]}, and what belongs to a window */
static int write_event(tr__work *w, size_t from, size_t to)
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
    tr_buf_putc(&w->event, ']');
    if (w->window)
        tr__window_write(w, tr_view_str(stats.stream_arn), &w->event);
    tr_buf_putc(&w->event, '}');
    return tr_buf_status(&w->event);
}

static size_t index_of(const tr__work *w, size_t from, size_t to, tr_view sequence_number)
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
static size_t first_failure(tr__work *w, size_t from, size_t to)
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

static int write_failure(tr__work *w, size_t from, size_t to, const char *condition)
{
    tr_stream_stats stats;
    tr_buf arn;
    tr_record first, last; /* of the window, whose end has no records */
    tr_stream_get_stats(w->m->stream, &stats);
    tr_buf_init(&arn, 65536);
    put_function_arn(w->m, stats.stream_arn, &arn);
    if (from == to)
        tr__window_extent(w, &first, &last);
    const tr__stream_failure failure = {.function_arn = tr_buf_view(&arn),
                                        .stream_arn = stats.stream_arn,
                                        .condition = condition,
                                        .attempts = w->attempts,
                                        .first = from < to ? w->events[from]->record : &first,
                                        .last = from < to ? w->events[to - 1]->record : &last,
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

bool tr__work_pause(tr__work *w, uint64_t attempt)
{
    const tr_mapping_options *o = &w->m->options;
    return sleep_ms(w->m, 1 + tr_backoff_ms(&w->rng, attempt > 20 ? 20 : (unsigned)attempt, o->retry_min_ms,
                                            o->retry_max_ms));
}

static int put_failure(tr__work *w, size_t from, size_t to, const char *condition, tr_error *err)
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

void tr__work_give_up(tr__work *w, size_t from, size_t to, const char *condition)
{
    tr_mapping *m = w->m;
    tr_error err = {0};
    if (from < to)
        tr_log(&m->options.logger, TR_LOG_ERROR,
               "%zu record(s) from %.*s are given up after %llu attempt(s): %s %s", to - from,
               TR_FMT(w->events[from]->record->sequence_number), (unsigned long long)w->attempts, w->err.type,
               w->err.message);
    else
        tr_log(&m->options.logger, TR_LOG_ERROR, "a window's end is given up after %llu attempt(s): %s %s",
               (unsigned long long)w->attempts, w->err.type, w->err.message);
    for (unsigned n = 0; m->options.on_failure && put_failure(w, from, to, condition, &err); n++) {
        tr_log(&m->options.logger, TR_LOG_ERROR, "the failure destination: %s%s%s; trying again", err.type,
               err.type[0] ? ": " : "", err.message);
        if (!tr__work_pause(w, n)) {
            w->gave_up = true;
            return;
        }
    }
    atomic_store(&m->progressed, true);
    atomic_fetch_add(&m->given_up, to - from);
}

/* -------------------------------------------------------------------------------------------- attempts */

/* What the answer says: where the first failed record is. */
static size_t judge(tr__work *w, size_t from, size_t to)
{
    size_t none = from == to ? SIZE_MAX : from;
    if (w->window && !tr__window_take_state(w)) {
        (void)tr_fail_service(&w->err, TR_EPARSE, 0, "NoState",
                              "the answer has no member state, which is an object");
        return none;
    }
    size_t failed = first_failure(w, from, to);
    if (failed < to)
        (void)tr_fail_service(&w->err, TR_ESERVICE, 0, "batchItemFailures", "%zu of %zu records failed",
                              to - failed, to - from);
    return failed;
}

size_t tr__work_attempt(tr__work *w, size_t from, size_t to)
{
    tr_mapping *m = w->m;
    int e = write_event(w, from, to);
    tr_buf_reset(&w->response);
    w->err = (tr_error){0};
    int64_t began = tr_clock_mono_ns();
    atomic_fetch_add(&m->invoking, 1);
    if (e)
        (void)tr_fail(&w->err, e, "the batch is too large");
    else
        e = tr_handler_invoke_wait(m->handler, tr_buf_view(&w->event), &w->response, &w->err);
    atomic_fetch_sub(&m->invoking, 1);
    atomic_fetch_add(&m->busy_ns, (uint64_t)(tr_clock_mono_ns() - began));
    w->attempts++;
    atomic_fetch_add(&m->batches, 1);
    size_t failed = !e ? judge(w, from, to) : from == to ? SIZE_MAX : from;
    if (failed != to && (e == TR_ECANCELED || atomic_load(&m->stop))) {
        w->gave_up = true; /* it may have failed because we end */
        return failed;
    }
    if (failed != to) {
        atomic_fetch_add(&m->failures, 1);
        tr_log(&m->options.logger, TR_LOG_WARN, "%s: %s%s%s", m->name, w->err.type,
               w->err.type[0] ? ": " : "", w->err.message);
    }
    if (failed == to || (failed > from && failed < to))
        atomic_store(&m->progressed, true);
    return failed;
}

/* ------------------------------------------------------------------------------------------- lifecycle */

void tr__work_init(tr__work *w, tr_mapping *m)
{
    uint64_t seed;
    *w = (tr__work){.m = m};
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&w->rng, seed);
    tr_buf_init(&w->event, (size_t)64 << 20);
    tr_buf_init(&w->response, TR_HANDLER_OUTPUT_MAX + 65536);
    tr_buf_init(&w->record, 1 << 20);
    tr_arena_init(&w->arena, TR_HANDLER_OUTPUT_MAX + 65536);
}

void tr__work_done(tr__work *w)
{
    tr_buf_done(&w->event);
    tr_buf_done(&w->response);
    tr_buf_done(&w->record);
    tr_arena_done(&w->arena);
}
