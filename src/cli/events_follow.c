/* SPDX-License-Identifier: MIT */
/* events subscribe, publish, pour: everything in a table of events, to somewhere. */
#include "cli/events_to.h"

#include <stdio.h>
#include <unistd.h>

#define BATCH 100

/* ------------------------------------------------------------------------------------------------ options */

/* "beginning", "now", a time, or "-15m". */
int tr_cli_events_from(const char *text, tr_subscribe_from *ret_from, int64_t *ret_ms, tr_error *err)
{
    tr_view v = tr_view_str(text);
    int64_t ms;
    *ret_from = TR_FROM_TIME;
    if (tr_view_is(v, "beginning"))
        *ret_from = TR_FROM_BEGINNING;
    else if (tr_view_is(v, "now"))
        *ret_from = TR_FROM_NOW;
    else if (v.len > 1 && v.ptr[0] == '-' && tr_duration_parse(tr_view_of(v.ptr + 1, v.len - 1), &ms) == 0)
        *ret_ms = tr_clock_wall_ms() - ms;
    else if (tr_time_parse(v, ret_ms))
        return tr_fail(err, TR_EINVAL,
                       "'%s': beginning, now, a time such as 2026-01-31T12:00:00Z, or -15m are possible",
                       text);
    return 0;
}

int tr_cli_events_order(const tr_cli_events *c, tr_history_order *ret_order, tr_error *err)
{
    if (c->order && strcmp(c->order, "time") != 0 && strcmp(c->order, "aggregate") != 0)
        return tr_fail(err, TR_EINVAL, "--order is time or aggregate, not '%s'", c->order);
    *ret_order = c->order && c->order[0] == 'a' ? TR_HISTORY_BY_AGGREGATE : TR_HISTORY_BY_TIME;
    return 0;
}

void tr_cli_events_selection(const tr_cli_events *c, tr_event_selection *ret_selection)
{
    *ret_selection = (tr_event_selection){.table = c->table,
                                          .layout = c->legacy ? TR_EVENTS_LEGACY : TR_EVENTS_SINGLE_TABLE,
                                          .stores = (const char *const *)c->cli->argv + 1,
                                          .store_count = (size_t)c->cli->argc - 1,
                                          .types = c->types,
                                          .type_count = c->type_count};
}

static void put_texts(tr_buf *out, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tr_buf_printf(out, "%s\n", texts[i]);
    tr_buf_putc(out, '\n');
}

int tr_cli_events_state(const tr_cli_events *c, const char *command, const char *more, char *out, size_t size,
                        tr_error *err)
{
    tr_event_selection select;
    tr_buf what;
    tr_cli_events_selection(c, &select);
    tr_buf_init(&what, (size_t)1 << 20);
    put_texts(&what, select.stores, select.store_count);
    put_texts(&what, select.types, select.type_count);
    tr_buf_put_str(&what, more ? more : "");
    if (c->fleet.lease_table)
        tr_buf_printf(&what, "\n%s", c->fleet.lease_table);
    const char *text = tr_buf_cstr(&what), *table = c->table    ? c->table
                                                    : c->legacy ? "legacy"
                                                                : TR_EVENT_TABLE;
    int e =
        text ? tr_cli_state_path(c->state, command, table, tr_client_endpoint(c->place.client, TR_DYNAMODB),
                                 text, "inbox", out, size, err)
             : tr_fail(err, TR_EINVAL, "too much is selected");
    tr_buf_done(&what);
    return e;
}

/* ---------------------------------------------------------------------------------------------- subscribing
 */

typedef struct following {
    tr_subscription *subscription;
    tr_cli_to to;
} following;

static void stop(void *ctx)
{
    following *f = ctx;
    tr_subscription_stop(f->subscription);
    tr_cli_to_stop(&f->to);
}

static int follow(const tr_cli_events *c, following *f, tr_error *err)
{
    tr_subscribed_batch batch;
    tr_error acknowledging;
    int e;
    size_t max = c->batch ? (size_t)c->batch : BATCH;
    while (!(e = tr_subscription_next(f->subscription, max, -1, &batch, err))) {
        size_t done;
        e = tr_cli_to_put(&f->to, batch.events, batch.count, &done, err);
        int acked = tr_subscription_ack(f->subscription, done, &acknowledging);
        if (!e && acked)
            e = tr_fail(err, acked, "%s", acknowledging.message);
        if (e)
            break;
    }
    return e == TR_ECLOSED ? 0 : e;
}

/* With --from the position that is there is given up, but never that of a consumer at work. */
static int forget(const char *path, tr_error *err)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char name[4200];
    tr_stream_store *lock;
    int e = tr_stream_store_file(path, &lock, err);
    if (e)
        return e;
    for (size_t i = 0; !e && i < TR_COUNT(endings); i++) {
        (void)snprintf(name, sizeof name, "%s%s", path, endings[i]);
        if (unlink(name) && access(name, F_OK) == 0)
            e = tr_fail(err, TR_EIO, "cannot remove the earlier position, %s", name);
    }
    tr_stream_store_free(lock);
    return e;
}

static int open_subscription(tr_cli_events *c, const char *command, const char *more, tr_subscribe_from from,
                             following *f, tr_error *err)
{
    char path[4096];
    tr_subscription_options o = {.from = from,
                                 .state = path,
                                 .fleet = c->fleet.lease_table ? &c->fleet : NULL,
                                 .once = c->once,
                                 .logger = tr_cli_logger()};
    tr_cli_events_selection(c, &o.select);
    int e = tr_cli_events_order(c, &o.history, err);
    if (!e)
        e = tr_cli_events_state(c, command, more, path, sizeof path, err);
    if (!e && c->from)
        e = tr_cli_events_from(c->from, &o.from, &o.from_ms, err);
    if (!e && c->from && !o.fleet)
        e = forget(path, err);
    return e ? e : tr_subscription_new(c->place.client, &o, &f->subscription, err);
}

static int run(tr_cli_events *c, const char *command, const char *more, tr_subscribe_from from, tr_error *err)
{
    following f = {0};
    int e = tr_cli_to_open(&f.to, c, false, err);
    if (!e)
        e = open_subscription(c, command, more, from, &f, err);
    if (!e) {
        tr_cli_on_stop(stop, &f);
        e = follow(c, &f, err);
        tr_cli_ignore_stop();
    }
    tr_subscription_free(f.subscription);
    tr_cli_to_close(&f.to);
    return e;
}

int tr_cli_events_subscribe(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    const char *to = c->bus ? c->bus : c->code.given ? c->code.options.target : c->to;
    tr_history_order order = TR_HISTORY_BY_TIME;
    char more[4200];
    (void)snprintf(more, sizeof more, "%.4100s by aggregate", to ? to : "");
    int e = tr_cli_events_order(c, &order, err);
    return e ? e
             : run(c, "events-subscribe", order == TR_HISTORY_BY_AGGREGATE ? more : to, TR_FROM_BEGINNING,
                   err);
}

int tr_cli_events_publish(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    char more[4096];
    (void)snprintf(more, sizeof more, "%s %s", c->bus, c->message ? c->message : "");
    return run(c, "events-publish", more, TR_FROM_NOW, err);
}

/* ------------------------------------------------------------------------------------------------- pouring
 */

typedef struct pouring {
    tr_pour *pour;
    tr_cli_to to;
} pouring;

static void stop_pouring(void *ctx)
{
    pouring *p = ctx;
    tr_pour_stop(p->pour);
    tr_cli_to_stop(&p->to);
}

int tr_cli_events_times(const tr_cli_events *c, int64_t *ret_from_ms, int64_t *ret_until_ms, tr_error *err)
{
    tr_subscribe_from from = TR_FROM_TIME, until = TR_FROM_TIME;
    int e = c->from ? tr_cli_events_from(c->from, &from, ret_from_ms, err) : 0;
    if (!e && c->until)
        e = tr_cli_events_from(c->until, &until, ret_until_ms, err);
    if (!e && (from == TR_FROM_NOW || until != TR_FROM_TIME))
        e = tr_fail(err, TR_EINVAL, "--from and --until are times such as 2026-01-31T12:00:00Z, or -15m");
    return e;
}

int tr_cli_events_pour(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    pouring p = {0};
    char path[4096];
    uint64_t poured = 0;
    tr_pour_options o = {.rate = (double)c->rate,
                         .batch = (size_t)c->batch,
                         .state = path,
                         .put = tr_cli_to_put,
                         .ctx = &p.to,
                         .logger = tr_cli_logger()};
    tr_cli_events_selection(c, &o.select);
    int e = tr_cli_events_times(c, &o.from_ms, &o.until_ms, err);
    if (!e)
        e = tr_cli_to_open(&p.to, c, true, err);
    else
        return e;
    if (!e)
        e = tr_cli_events_state(c, "events-pour", c->bus ? c->bus : c->to, path, sizeof path, err);
    if (!e)
        e = tr_pour_new(c->place.client, &o, &p.pour, err);
    if (!e) {
        tr_cli_on_stop(stop_pouring, &p);
        e = tr_pour_run(p.pour, &poured, err);
        tr_cli_ignore_stop();
        tr_cli_message(TR_LOG_INFO, "%llu event(s) poured%s", (unsigned long long)poured,
                       !e && tr_cli_stopped() ? "; the same command goes on with the next one" : "");
    }
    tr_pour_free(p.pour);
    tr_cli_to_close(&p.to);
    return e;
}
