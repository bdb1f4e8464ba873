/* SPDX-License-Identifier: MIT */
#include "cli/events_to.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define TEXT_MAX     ((size_t)256 << 20)
#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 60000
#define STEP_US      20000

/* Pauses after a failure, longer each time. */
static void pause_after(tr_cli_to *to)
{
    int64_t ms = 1 + tr_backoff_ms(&to->rng, to->failures++, RETRY_MIN_MS, RETRY_MAX_MS);
    for (int64_t until = tr_clock_mono_ms() + ms; tr_clock_mono_ms() < until && !tr_cli_stopped();)
        (void)usleep(STEP_US);
}

static int write_message(tr_json_writer *w, const tr_subscribed *s, tr_error *err)
{
    return tr_message_write(w, TR_MESSAGE_NOTIFICATION, s->store_id, &s->event, NULL, NULL, err);
}

/* ---------------------------------------------------------------------------------------- standard output */

static int put_lines(tr_cli_to *to, const tr_subscribed *events, size_t count, size_t *ret_done,
                     tr_error *err)
{
    int e = 0;
    for (size_t i = 0; !e && i < count; i++) {
        tr_json_writer w;
        tr_buf_reset(&to->text);
        tr_json_write_init(&w, &to->text);
        e = write_message(&w, &events[i], err);
        if (!e)
            e = tr_cli_print_line(&to->text, err);
    }
    if (!e && fflush(stdout))
        e = tr_cli_print_failed(err);
    if (!e)
        *ret_done = count;
    return e;
}

/* -------------------------------------------------------------------------------------------------- code */

/* {"events":[{"eventStoreId":…,"event":{…}},…]}, of which all are done or none is */
static int put_code(tr_cli_to *to, const tr_subscribed *events, size_t count, size_t *ret_done, tr_error *err)
{
    tr_json_writer w;
    int e = 0;
    tr_buf_reset(&to->text);
    tr_json_write_init(&w, &to->text);
    tr_json_begin_object(&w);
    tr_json_name(&w, "events");
    tr_json_begin_array(&w);
    for (size_t i = 0; !e && i < count; i++)
        e = write_message(&w, &events[i], err);
    tr_json_end_array(&w);
    tr_json_end_object(&w);
    if (!e && tr_buf_status(&to->text))
        e = tr_fail(err, tr_buf_status(&to->text), "a batch is too large: make --batch-size smaller");
    if (e)
        return e;
    e = tr_handler_invoke_wait(to->handler, tr_buf_view(&to->text), NULL, err);
    if (e == TR_EINVAL || e == TR_ENOMEM)
        return e;
    if (e) {
        tr_cli_message(TR_LOG_ERROR, "%zu event(s) from %.*s#%.*s version %llu on: %s: %s; trying again",
                       count, TR_FMT(events[0].store_id), TR_FMT(events[0].event.aggregate_id),
                       (unsigned long long)events[0].event.version, err->type, err->message);
        pause_after(to);
        return 0;
    }
    to->failures = 0;
    *ret_done = count;
    return 0;
}

/* --------------------------------------------------------------------------------------------------- bus */

static int put_bus(tr_cli_to *to, const tr_subscribed *events, size_t count, size_t *ret_done, tr_error *err)
{
    int e = tr_outbox_publish(to->outbox, events, count, ret_done, err);
    return e == TR_ECLOSED && tr_cli_stopped() ? 0 : e;
}

/* What the bus will never take goes where --on-failure says. */
static int keep_failure(void *ctx, const tr_publish_failure *failure, tr_error *err)
{
    tr_cli_to *to = ctx;
    tr_buf record;
    tr_json_writer w;
    char time[TR_TIME_TEXT_MAX];
    tr_buf_init(&record, TEXT_MAX);
    tr_json_write_init(&w, &record);
    tr_time_format(tr_clock_wall_ms(), true, time);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "version", "1.0");
    tr_json_member_cstring(&w, "timestamp", time);
    tr_json_name(&w, "requestContext");
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "condition", failure->condition);
    tr_json_member_u64(&w, "approximateInvokeCount", failure->attempts);
    tr_json_end_object(&w);
    tr_json_name(&w, "requestPayload");
    tr_json_value(&w, failure->entry);
    tr_json_name(&w, "responsePayload");
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "errorType", failure->err->type);
    tr_json_member_cstring(&w, "errorMessage", failure->err->message);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    tr_failure f = {.source = TR_VIEW("events-publish"),
                    .record = tr_buf_view(&record),
                    .event = failure->entry,
                    .error_type = tr_view_str(failure->err->type),
                    .error_message = tr_view_str(failure->err->message),
                    .attempts = failure->attempts};
    int e = tr_buf_status(&record) ? tr_buf_status(&record) : tr_failure_put(to->on_failure, &f, err);
    tr_buf_done(&record);
    return e;
}

static int open_failures(tr_cli_to *to, tr_error *err)
{
    tr_cli_events *c = to->events;
    tr_cli_code_place(&c->code, c->place.client);
    return c->on_failure ? tr_cli_failures_open(c->on_failure, &c->code, &c->where, c->place.client,
                                                &to->on_failure, err)
                         : 0;
}

static int open_reducer(tr_cli_to *to, tr_outbox_options *o, tr_error *err)
{
    tr_cli_events *c = to->events;
    if (o->kind != TR_MESSAGE_STATE_CARRYING)
        return 0;
    int e = tr_cli_open_rules(c, &to->rules, err);
    if (e)
        return e;
    o->reducer = tr_rules_reducer(to->rules);
    if (c->snapshots) {
        tr_snapshots_options snapshots = {
            .table = c->snapshots, .every = c->snapshot_every, .on_read = true, .logger = tr_cli_logger()};
        e = tr_snapshots_new(c->place.client, &snapshots, &to->snapshots, err);
        o->snapshots = to->snapshots;
    }
    return e;
}

int tr_cli_events_message(const char *name, tr_message_kind *ret_kind, tr_error *err)
{
    for (int i = TR_MESSAGE_NOTIFICATION; name && i <= TR_MESSAGE_AGGREGATE_EXISTS; i++)
        if (strcmp(name, tr_message_kind_name((tr_message_kind)i)) == 0) {
            *ret_kind = (tr_message_kind)i;
            return 0;
        }
    return name ? tr_fail(err, TR_EINVAL,
                          "--message '%s': notification, state-carrying and aggregate-exists are possible",
                          name)
                : 0;
}

static int open_bus(tr_cli_to *to, const char *bus, tr_error *err)
{
    tr_cli_events *c = to->events;
    tr_outbox_options o = {.replay = to->replay,
                           .table = c->table,
                           .layout = c->legacy ? TR_EVENTS_LEGACY : TR_EVENTS_SINGLE_TABLE,
                           .logger = tr_cli_logger()};
    int e = tr_cli_events_message(c->message, &o.kind, err);
    if (!e) /* the service would take what is for a bus that is not there, and say nothing */
        e = tr_publish_check_bus(c->place.client, bus[0] ? bus : NULL, err);
    if (!e)
        e = open_reducer(to, &o, err);
    if (!e)
        e = open_failures(to, err);
    tr_publisher_options p = {.bus = bus[0] ? bus : NULL,
                              .strict_order = true,
                              .on_failure = to->on_failure ? keep_failure : NULL,
                              .failure_ctx = to,
                              .logger = tr_cli_logger()};
    if (!e)
        e = tr_publisher_new(c->place.client, &p, &to->publisher, err);
    o.publisher = to->publisher;
    if (!e)
        e = tr_outbox_new(c->place.client, &o, &to->outbox, err);
    to->put = put_bus;
    return e;
}

/* ------------------------------------------------------------------------------------------- another table
 */

static int store_of(tr_cli_to *to, tr_view id, tr_eventstore **ret_store, tr_error *err)
{
    char name[TR_EVENT_KEY_MAX + 1];
    for (size_t i = 0; i < to->store_count; i++)
        if (tr_view_is(id, tr_eventstore_id(to->stores[i]))) {
            *ret_store = to->stores[i];
            return 0;
        }
    if (to->store_count == TR_CLI_TO_STORES_MAX || id.len > TR_EVENT_KEY_MAX)
        return tr_fail(err, TR_ELIMIT, "too many event stores");
    (void)snprintf(name, sizeof name, "%.*s", TR_FMT(id));
    int e = tr_cli_open_store(to->events, name, to->table, ret_store, err);
    if (!e)
        to->stores[to->store_count++] = *ret_store;
    return e;
}

/* Version and timestamp are given, so that what was pushed before counts as done. */
static int put_table(tr_cli_to *to, const tr_subscribed *events, size_t count, size_t *ret_done,
                     tr_error *err)
{
    tr_arena arena;
    int e = 0;
    tr_arena_init(&arena, TR_CLI_LINE_MAX);
    for (size_t i = 0; !e && i < count; i++) {
        tr_eventstore *store;
        tr_event event = events[i].event;
        tr_push_options o = {.force = events[i].overwritten};
        e = store_of(to, events[i].store_id, &store, err);
        if (!e)
            e = tr_eventstore_push_wait(store, &event, 1, &o, &arena, err);
        *ret_done += !e;
        tr_arena_reset(&arena);
    }
    tr_arena_done(&arena);
    if (e && tr_retryable(e) && e != TR_ENOMEM) {
        tr_cli_message(TR_LOG_WARN, "%s; trying again", err->message);
        pause_after(to);
        return 0;
    }
    to->failures = 0;
    return e;
}

/* ------------------------------------------------------------------------------------------------ opening */

static int open_code(tr_cli_to *to, tr_error *err)
{
    tr_cli_code_place(&to->events->code, to->events->place.client);
    to->put = put_code;
    return tr_cli_code_open(&to->events->code, &to->handler, err);
}

int tr_cli_to_open(tr_cli_to *to, tr_cli_events *c, bool replay, tr_error *err)
{
    const char *where = c->to;
    uint64_t seed;
    *to = (tr_cli_to){.events = c, .replay = replay, .put = put_lines};
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&to->rng, seed);
    tr_buf_init(&to->text, TEXT_MAX);
    if (c->code.given)
        return open_code(to, err);
    if (c->bus)
        return open_bus(to, c->bus, err);
    if (!where || strcmp(where, "-") == 0)
        return 0;
    if (strncmp(where, "bus:", 4) == 0)
        return open_bus(to, where + 4, err);
    to->table = where + strlen("table:"); /* tr_cli_events_check has seen to it */
    to->put = put_table;
    return 0;
}

int tr_cli_to_put(void *ctx, const tr_subscribed *events, size_t count, size_t *ret_done, tr_error *err)
{
    tr_cli_to *to = ctx;
    *ret_done = 0;
    return to->put(to, events, count, ret_done, err);
}

void tr_cli_to_stop(tr_cli_to *to)
{
    if (to->outbox)
        tr_outbox_stop(to->outbox);
}

void tr_cli_to_close(tr_cli_to *to)
{
    tr_publisher_free(to->publisher);
    tr_outbox_free(to->outbox);
    tr_failure_sink_free(to->on_failure);
    tr_snapshots_free(to->snapshots);
    tr_rules_free(to->rules);
    tr_handler_free(to->handler);
    for (size_t i = 0; i < to->store_count; i++)
        tr_eventstore_free(to->stores[i]);
    tr_buf_done(&to->text);
}
