/* SPDX-License-Identifier: MIT */
#include "eventstore/aggregate.h"

#include <inttypes.h>

#define TIMESTAMP_MAX ((size_t)TR_ITEM_SIZE_MAX)

/* The state stands behind the struct, aligned for any type. */
#define STATE_OFFSET ((sizeof(tr_aggregate) + 15) & ~(size_t)15)

int tr_aggregate_new(const tr_reducer *reducer, tr_view id, tr_aggregate **ret_aggregate, tr_error *err)
{
    tr_aggregate *a = tr_calloc(1, STATE_OFFSET + reducer->size);
    if (!a)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    a->reducer = reducer;
    a->state = (char *)a + STATE_OFFSET;
    a->latest_ms = INT64_MIN;
    tr_buf_init(&a->timestamp, TIMESTAMP_MAX);
    a->id = tr_malloc(id.len + 1);
    int e = a->id ? 0 : TR_ENOMEM;
    if (!e) {
        memcpy(a->id, id.len ? id.ptr : "", id.len);
        a->id[id.len] = 0;
        a->id_len = id.len;
        e = reducer->init ? reducer->init(reducer->ctx, a->state) : 0;
    }
    if (e) {
        tr_aggregate_free(a);
        return tr_fail(err, e, "making an empty aggregate: %s", tr_strerror(e));
    }
    *ret_aggregate = a;
    return 0;
}

void tr_aggregate_free(tr_aggregate *a)
{
    if (!a)
        return;
    if (a->reducer->done)
        a->reducer->done(a->reducer->ctx, a->state);
    tr_buf_done(&a->timestamp);
    tr_free(a->id);
    tr_free(a);
}

void *tr_aggregate_state(const tr_aggregate *a)
{
    return a->state;
}

uint64_t tr_aggregate_version(const tr_aggregate *a)
{
    return a->version;
}

tr_view tr_aggregate_id(const tr_aggregate *a)
{
    return tr_view_of(a->id, a->id_len);
}

tr_view tr_aggregate_timestamp(const tr_aggregate *a)
{
    return tr_buf_view(&a->timestamp);
}

uint64_t tr_aggregate_snapshot_version(const tr_aggregate *a)
{
    return a->snapshot_version;
}

int tr_aggregate_apply(tr_aggregate *a, const tr_event *event, tr_error *err)
{
    if (event->version <= a->version)
        return tr_fail(err, TR_EINVAL, "version %" PRIu64 " of aggregate %s does not follow version %" PRIu64,
                       event->version, a->id, a->version);
    tr_error theirs = {.code = 0};
    int e = a->reducer->apply(a->reducer->ctx, a->state, event, &theirs);
    if (e) {
        if (theirs.code && err)
            *err = theirs;
        return theirs.code
                   ? e
                   : tr_fail(err, e, "version %" PRIu64 " (%.*s) of aggregate %s cannot be folded: %s",
                             event->version, TR_FMT(event->type), a->id, tr_strerror(e));
    }
    int64_t ms;
    if (tr_time_parse(event->timestamp, &ms))
        ms = INT64_MAX;
    a->latest_ms = ms > a->latest_ms ? ms : a->latest_ms;
    a->version = event->version;
    tr_buf_reset(&a->timestamp);
    tr_buf_put_view(&a->timestamp, event->timestamp);
    return tr_buf_status(&a->timestamp) ? tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM)) : 0;
}

bool tr__timestamp_later(tr_view timestamp, int64_t until_ms)
{
    int64_t ms;
    char until[TR_TIME_TEXT_MAX];
    if (tr_time_parse(timestamp, &ms) == 0)
        return ms > until_ms;
    tr_time_format(until_ms, true, until);
    return tr_view_cmp(timestamp, tr_view_str(until)) > 0;
}

/* ----------------------------------------------------------------------------------------------- folding */

typedef struct fold {
    tr_eventstore *store;
    tr_aggregate *aggregate;
    tr_aggregate_options o;
    tr__query query;
    bool stopped; /* by an event that is later than wanted */
    tr__fold_fn *fn;
    void *ctx;
} fold;

static void end_fold(fold *f, int code, const tr_error *err)
{
    tr__fold_fn *fn = f->fn;
    void *ctx = f->ctx;
    tr_aggregate *aggregate = f->aggregate;
    tr_error missing;
    if (!code && f->o.must_exist && aggregate->version == 0) {
        code = tr_fail_service(&missing, TR_ENOTFOUND, 0, TR_AGGREGATE_NOT_FOUND,
                               "Unable to find aggregate %s in event store %s.", aggregate->id, f->store->id);
        err = &missing;
    }
    if (!code && f->o.snapshots && tr__snapshot_due(f->o.snapshots, aggregate, true))
        tr__snapshot_save(f->o.snapshots, f->store, aggregate);
    tr__query_done(&f->query);
    tr_free(f);
    fn(ctx, code, aggregate, code ? err : NULL);
}

static int on_item(void *ctx, tr_item item, tr_error *err)
{
    fold *f = ctx;
    tr_event event;
    int e = tr_event_from_item(f->store, item, &event, err);
    if (e)
        return e;
    if (f->o.until_ms && tr__timestamp_later(event.timestamp, f->o.until_ms)) {
        f->stopped = true;
        return tr_fail(err, TR_ECLOSED, "%s", tr_strerror(TR_ECLOSED));
    }
    e = tr_aggregate_apply(f->aggregate, &event, err);
    if (!e && f->o.each && (e = f->o.each(f->o.each_ctx, &event)))
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    return e;
}

static void on_read(void *ctx, int code, const tr_error *err)
{
    fold *f = ctx;
    end_fold(f, f->stopped ? 0 : code, err);
}

static int read_events(fold *f, tr_error *err)
{
    tr_events_range range = {.min_version = f->aggregate->version ? f->aggregate->version + 1 : 0,
                             .max_version = f->o.max_version};
    int e = tr__events_query(&f->query, f->store, tr_aggregate_id(f->aggregate), &range, err);
    return e ? e : tr__query_start(f->store->client, &f->query, on_item, on_read, f, err);
}

static void on_snapshot(void *ctx)
{
    fold *f = ctx;
    tr_error err;
    if (f->o.max_version && f->aggregate->version >= f->o.max_version) {
        end_fold(f, 0, NULL);
        return;
    }
    int e = read_events(f, &err);
    if (e)
        end_fold(f, e, &err);
}

int tr__fold_start(tr_eventstore *store, tr_aggregate *aggregate, const tr_aggregate_options *options,
                   tr__fold_fn *fn, void *ctx, tr_error *err)
{
    fold *f = tr_calloc(1, sizeof *f);
    if (!f)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    *f = (fold){.store = store, .aggregate = aggregate, .fn = fn, .ctx = ctx};
    if (options)
        f->o = *options;
    int e;
    if (!f->o.snapshots || aggregate->version)
        e = read_events(f, err);
    else if (!(e = tr__snapshot_check(f->o.snapshots, store, aggregate->reducer, err)) &&
             (e = tr__snapshot_load(f->o.snapshots, store, aggregate, f->o.max_version, f->o.until_ms,
                                    on_snapshot, f)))
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    if (e) {
        tr__query_done(&f->query);
        tr_free(f);
    }
    return e;
}

/* --------------------------------------------------------------------------------------------------- get */

typedef struct getting {
    tr_aggregate_fn *fn;
    void *ctx;
} getting;

static void on_folded(void *ctx, int code, tr_aggregate *aggregate, const tr_error *err)
{
    getting g = *(getting *)ctx;
    tr_free(ctx);
    if (code) {
        tr_aggregate_free(aggregate);
        aggregate = NULL;
    }
    g.fn(g.ctx, code, aggregate, err);
}

int tr_aggregate_get(tr_eventstore *store, const tr_reducer *reducer, tr_view aggregate_id,
                     const tr_aggregate_options *options, tr_aggregate_fn *fn, void *ctx, tr_error *err)
{
    tr_aggregate *aggregate = NULL;
    int e = tr__event_check_id(store, aggregate_id, err);
    if (!e)
        e = tr_aggregate_new(reducer, aggregate_id, &aggregate, err);
    if (e)
        return e;
    getting *g = tr_malloc(sizeof *g);
    if (!g) {
        e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    } else {
        *g = (getting){fn, ctx};
        e = tr__fold_start(store, aggregate, options, on_folded, g, err);
    }
    if (e) {
        tr_free(g);
        tr_aggregate_free(aggregate);
    }
    return e;
}

static void on_got(void *ctx, int code, tr_aggregate *aggregate, const tr_error *err)
{
    tr__wait *wait = ctx;
    wait->out = aggregate;
    tr__wait_done(wait, code, err);
}

int tr_aggregate_get_wait(tr_eventstore *store, const tr_reducer *reducer, tr_view aggregate_id,
                          const tr_aggregate_options *options, tr_aggregate **ret_aggregate, tr_error *err)
{
    tr__wait wait;
    int e = tr__wait_begin(&wait, store->client, err);
    if (e)
        return e;
    e = tr__wait_end(&wait, tr_aggregate_get(store, reducer, aggregate_id, options, on_got, &wait, err));
    if (!e)
        *ret_aggregate = wait.out;
    return e;
}

/* -------------------------------------------------------------------------------------------- simulating */

#define SIMULATED_MAX 1000000 /* events of a simulation */

struct tr_simulation {
    tr_event *events;
    size_t count, room;
    int status;
};

int tr_simulation_add(tr_simulation *s, const tr_event *event)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->events[i].version == event->version) {
            s->events[i] = *event;
            return 0;
        }
    if (s->count == s->room) {
        size_t room = s->room ? 2 * s->room : 32;
        tr_event *events = room > SIMULATED_MAX ? NULL : tr_realloc(s->events, room * sizeof *events);
        if (!events)
            return s->status = room > SIMULATED_MAX ? TR_ELIMIT : TR_ENOMEM;
        s->events = events;
        s->room = room;
    }
    s->events[s->count++] = *event;
    return 0;
}

/* castore keeps them in an object indexed by version: they come out in order of their versions. */
static void sort_by_version(tr_simulation *s)
{
    for (size_t i = 1; i < s->count; i++)
        for (size_t j = i; j > 0 && s->events[j - 1].version > s->events[j].version; j--) {
            tr_event swap = s->events[j];
            s->events[j] = s->events[j - 1];
            s->events[j - 1] = swap;
        }
}

/* Merge sort, which keeps the order of equal timestamps. */
static void sort_by_time(tr_event *events, tr_event *scratch, size_t count)
{
    if (count < 2)
        return;
    size_t half = count / 2, i = 0, j = half, k = 0;
    sort_by_time(events, scratch, half);
    sort_by_time(events + half, scratch, count - half);
    while (i < half && j < count)
        scratch[k++] = tr_view_cmp(events[j].timestamp, events[i].timestamp) < 0 ? events[j++] : events[i++];
    while (i < half)
        scratch[k++] = events[i++];
    memcpy(events, scratch, k * sizeof *events);
}

static int fold_simulated(tr_simulation *s, const tr_simulation_options *o, tr_aggregate *a, tr_error *err)
{
    tr_event *scratch = tr_calloc(s->count ? s->count : 1, sizeof *scratch);
    if (!scratch)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    sort_by_version(s);
    sort_by_time(s->events, scratch, s->count);
    tr_free(scratch);
    int e = 0;
    uint64_t version = 0;
    for (size_t i = 0; !e && i < s->count; i++) {
        if (o->until.len && tr_view_cmp(s->events[i].timestamp, o->until) > 0)
            continue;
        s->events[i].version = ++version;
        e = tr_aggregate_apply(a, &s->events[i], err);
    }
    return e;
}

int tr_aggregate_simulate(const tr_reducer *reducer, const tr_event *events, size_t count,
                          const tr_simulation_options *options, tr_aggregate **ret_aggregate, tr_error *err)
{
    static const tr_simulation_options none = {{NULL, 0}, NULL, NULL};
    const tr_simulation_options *o = options ? options : &none;
    tr_simulation s = {0};
    tr_aggregate *a = NULL;
    int e = tr_aggregate_new(reducer, count ? events[0].aggregate_id : (tr_view){"", 0}, &a, err);
    if (e)
        return e;
    for (size_t i = 0; !e && i < count; i++) {
        e = o->side_effect ? o->side_effect(o->ctx, &s, &events[i]) : tr_simulation_add(&s, &events[i]);
        if (!e)
            e = s.status;
        if (e)
            (void)tr_fail(err, e, "the simulation's side effects of event %zu: %s", i, tr_strerror(e));
    }
    if (!e)
        e = fold_simulated(&s, o, a, err);
    tr_free(s.events);
    if (e)
        tr_aggregate_free(a);
    else
        *ret_aggregate = a;
    return e;
}
