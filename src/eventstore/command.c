/* SPDX-License-Identifier: MIT */
/*
 *   load all targets --> decide --> push --- ok ----------> fold what was pushed in, done
 *           ^                        |
 *           +----- wait, jittered <--+ another writer was first: fold in what it pushed
 */
#include "eventstore/aggregate.h"

#include <inttypes.h>

#define ATTEMPTS     20
#define TARGETS_MAX  (TR_EVENT_GROUP_MAX / 2)
#define WAIT_BASE_MS 5
#define WAIT_CAP_MS  1000
/* between attempts to load from a service that is throttling or cannot be reached */
#define TROUBLE_BASE_MS 25
#define TROUBLE_CAP_MS  2000
#define DECISION_MAX    ((size_t)64 << 20) /* bytes of one decision's events */

typedef struct decided {
    size_t target;
    tr_event event;
} decided;

struct tr_decision {
    tr_arena arena;
    decided *events;
    size_t count, room;
    size_t target_count;
    tr_view correlation, causation;
    int status;
};

typedef struct running {
    tr_command command;
    tr_command_target *targets;
    tr_aggregate **aggregates;
    size_t count;
    tr_client *client;
    tr_arena arena;
    tr_decision decision;
    tr_command_fn *fn;
    void *ctx;
    tr_rng rng;
    unsigned attempt, loading;
    unsigned troubles;  /* loads in a row that failed */
    int64_t give_up_ms; /* when to stop loading again, on the monotonic clock */
    int load_code;
    tr_error *load_error;
    size_t event_count; /* of the members pushed; checks follow */
} running;

static void load_all(void *ctx);

static void end(running *r, int code, const tr_pushed *pushed, const tr_error *err)
{
    tr_command_fn *fn = r->fn;
    const tr_pushed nothing = {NULL, 0, SIZE_MAX};
    fn(r->ctx, code, pushed ? pushed : &nothing, (const tr_aggregate *const *)r->aggregates,
       code ? err : NULL);
    for (size_t i = 0; i < r->count; i++)
        tr_aggregate_free(r->aggregates[i]);
    tr_arena_done(&r->decision.arena);
    tr_free(r->decision.events);
    tr_free(r->load_error);
    tr_arena_done(&r->arena);
    tr_free(r);
}

static void fail(running *r, int code)
{
    tr_error err;
    end(r, tr_fail(&err, code, "%s", tr_strerror(code)), NULL, &err);
}

/* ----------------------------------------------------------------------------------------------- deciding */

static int add_text(tr_packer *p, tr_item have, const char *name, tr_view text)
{
    tr_value there;
    if (text.len == 0 || (have.len && tr_item_get(have, tr_view_str(name), &there) == 0))
        return 0;
    tr_pack_name(p, tr_view_str(name));
    tr_pack_s(p, text);
    return 0;
}

/* The metadata with correlation and causation. */
static int fill_metadata(tr_decision *d, tr_value metadata, tr_value *ret_filled)
{
    tr_buf buf;
    tr_packer p;
    tr_packed_iter it;
    tr_item have = metadata.type == TR_M ? metadata.payload : (tr_item){NULL, 0};
    if (metadata.type != TR_M && metadata.type != TR_NONE)
        return TR_EINVAL;
    tr_buf_init(&buf, have.len + d->correlation.len + d->causation.len + 256);
    tr_packer_init(&p, &buf);
    tr_pack_item_begin(&p);
    if (have.len) {
        tr_item_iter(&it, have);
        while (tr_packed_next(&it)) {
            tr_pack_name(&p, it.name);
            tr_pack_encoded(&p, it.encoded);
        }
    }
    (void)add_text(&p, have, TR_EVENT_CORRELATION_ID, d->correlation);
    (void)add_text(&p, have, TR_EVENT_CAUSATION_ID, d->causation);
    int e = tr_pack_item_end(&p);
    if (!e) {
        *ret_filled = (tr_value){TR_M, tr_arena_copy(&d->arena, tr_buf_view(&buf))};
        e = ret_filled->payload.ptr ? 0 : TR_ENOMEM;
    }
    tr_buf_done(&buf);
    return e;
}

static int copy_event(tr_decision *d, const tr_event *event, tr_event *ret_copy)
{
    tr_event copy = {.payload = {event->payload.type, tr_arena_copy(&d->arena, event->payload.payload)},
                     .type = tr_arena_copy(&d->arena, event->type),
                     .timestamp = tr_arena_copy(&d->arena, event->timestamp)};
    int e = fill_metadata(d, event->metadata, &copy.metadata);
    if (e)
        return e;
    *ret_copy = copy;
    return copy.type.ptr && copy.timestamp.ptr && copy.payload.payload.ptr ? 0 : TR_ENOMEM;
}

int tr_decide_on(tr_decision *d, size_t target, const tr_event *event)
{
    if (target >= d->target_count || event->type.len == 0)
        return d->status = TR_EINVAL;
    if (d->count == TR_EVENT_GROUP_MAX)
        return d->status = TR_ELIMIT;
    if (d->count == d->room) {
        size_t room = d->room ? 2 * d->room : 4;
        decided *events = tr_realloc(d->events, room * sizeof *events);
        if (!events)
            return d->status = TR_ENOMEM;
        d->events = events;
        d->room = room;
    }
    int e = copy_event(d, event, &d->events[d->count].event);
    if (e)
        return d->status = e;
    d->events[d->count++].target = target;
    return 0;
}

int tr_decide(tr_decision *d, tr_view type, tr_value payload)
{
    const tr_event event = {.type = type, .payload = payload};
    return tr_decide_on(d, 0, &event);
}

/* ------------------------------------------------------------------------------------------------- pushing
 */

static bool lost_a_race(int code, const tr_error *err)
{
    return code == TR_ECONFLICT && err &&
           (strcmp(err->type, TR_EVENT_ALREADY_EXISTS) == 0 || strcmp(err->type, TR_AGGREGATE_MOVED) == 0);
}

/* What was pushed becomes part of the aggregates. A reducer that refuses its own command's event is told of.
 */
static void fold_pushed(running *r, const tr_pushed *pushed)
{
    tr_error err;
    int e = 0;
    for (size_t i = 0; !e && i < r->event_count; i++)
        e = tr_aggregate_apply(r->aggregates[r->decision.events[i].target], &pushed->events[i], &err);
    const tr_pushed own = {pushed->events, r->event_count, SIZE_MAX};
    for (size_t i = 0; !e && i < r->count; i++)
        if (r->targets[i].snapshots && tr__snapshot_due(r->targets[i].snapshots, r->aggregates[i], false))
            tr__snapshot_save(r->targets[i].snapshots, r->targets[i].store, r->aggregates[i]);
    end(r, e, &own, &err);
}

static void on_pushed(void *ctx, int code, const tr_pushed *pushed, const tr_error *err)
{
    running *r = ctx;
    if (code == 0) {
        fold_pushed(r, pushed);
    } else if (lost_a_race(code, err) && ++r->attempt < r->command.attempts) {
        int64_t wait = 1 + tr_backoff_ms(&r->rng, r->attempt - 1, WAIT_BASE_MS, WAIT_CAP_MS);
        int e = tr_client_schedule(r->client, wait, load_all, r);
        if (e)
            fail(r, e);
    } else {
        end(r, code, pushed, err);
    }
}

static size_t make_members(running *r, tr_group_member *members)
{
    size_t n = 0, numbered[TARGETS_MAX] = {0};
    for (; n < r->decision.count; n++) {
        size_t t = r->decision.events[n].target;
        members[n] = (tr_group_member){.store = r->targets[t].store, .event = r->decision.events[n].event};
        members[n].event.aggregate_id = tr_aggregate_id(r->aggregates[t]);
        members[n].event.version = r->aggregates[t]->version + ++numbered[t];
    }
    for (size_t t = 0; r->command.check_all && t < r->count; t++)
        if (!numbered[t])
            members[n++] = (tr_group_member){.store = r->targets[t].store,
                                             .event = {.aggregate_id = tr_aggregate_id(r->aggregates[t]),
                                                       .version = r->aggregates[t]->version},
                                             .check_only = true};
    return n;
}

static void decide(running *r)
{
    tr_error err = {0};
    tr_group_member members[TR_EVENT_GROUP_MAX + TARGETS_MAX];
    tr_arena_reset(&r->decision.arena);
    r->decision.count = 0;
    r->decision.status = 0;
    int e = r->command.decide(r->command.ctx, (const tr_aggregate *const *)r->aggregates, &r->decision, &err);
    if (e) {
        if (!err.code)
            (void)tr_fail(&err, e, "the command was refused: %s", tr_strerror(e));
        end(r, e, NULL, &err);
        return;
    }
    if ((e = r->decision.status)) {
        end(r, tr_fail(&err, e, "the command's events: %s", tr_strerror(e)), NULL, &err);
        return;
    }
    if (r->decision.count == 0) {
        end(r, 0, NULL, NULL);
        return;
    }
    r->event_count = r->decision.count;
    size_t count = make_members(r, members);
    e = tr__push_start(members, count, (tr__push_mode){.force = false}, on_pushed, r, NULL, &err);
    if (e)
        end(r, e, NULL, &err);
}

/* ------------------------------------------------------------------------------------------------- loading
 */

/* A store's patience, counted from the first failure. */
static bool patient(running *r)
{
    if (r->load_code == TR_ECANCELED || !tr_retryable(r->load_code))
        return false;
    int64_t now = tr_clock_mono_ms();
    if (!r->troubles++)
        r->give_up_ms = now + r->targets[0].store->patience_ms;
    return now < r->give_up_ms;
}

static void load_again(running *r)
{
    int64_t wait = tr_backoff_ms(&r->rng, r->troubles - 1, TROUBLE_BASE_MS, TROUBLE_CAP_MS);
    r->load_code = 0;
    int e = tr_client_schedule(r->client, wait, load_all, r);
    if (e)
        fail(r, e);
}

static void all_loaded(running *r)
{
    if (r->load_code && patient(r)) {
        load_again(r);
    } else if (r->load_code) {
        tr_error err;
        if (r->load_error)
            err = *r->load_error;
        else
            (void)tr_fail(&err, r->load_code, "%s", tr_strerror(r->load_code));
        end(r, r->load_code, NULL, &err);
    } else {
        r->troubles = 0;
        decide(r);
    }
}

static void one_loaded(running *r, int code, const tr_error *err)
{
    if (code && !r->load_code) {
        r->load_code = code;
        if (!r->load_error)
            r->load_error = tr_malloc(sizeof *r->load_error);
        if (r->load_error && err)
            *r->load_error = *err;
        else if (r->load_error)
            (void)tr_fail(r->load_error, code, "%s", tr_strerror(code));
    }
    if (--r->loading == 0)
        all_loaded(r);
}

static void on_loaded(void *ctx, int code, tr_aggregate *aggregate, const tr_error *err)
{
    (void)aggregate; /* one of ours */
    one_loaded(ctx, code, err);
}

/* Folds in what is not yet in the aggregates: all of it at first. */
static void load_all(void *ctx)
{
    running *r = ctx;
    tr_error err;
    r->loading = 1; /* ourselves, so that an answer cannot end it before all are asked */
    if (tr_client_closing(r->client))
        r->load_code = TR_ECANCELED;
    for (size_t i = 0; i < r->count && !r->load_code; i++) {
        tr_aggregate_options o = {.must_exist = r->targets[i].must_exist,
                                  .snapshots = r->targets[i].snapshots};
        r->loading++;
        int e = tr__fold_start(r->targets[i].store, r->aggregates[i], &o, on_loaded, r, &err);
        if (e)
            one_loaded(r, e, &err);
    }
    one_loaded(r, 0, NULL);
}

/* --------------------------------------------------------------------------------------------------- start
 */

/* "<store>#<aggregate>#<version>" */
static tr_view event_name(running *r, tr_view store, const tr_event *event)
{
    char *text =
        tr_arena_printf(&r->arena, "%.*s" TR_EVENT_STORE_SEPARATOR "%.*s" TR_EVENT_STORE_SEPARATOR "%" PRIu64,
                        TR_FMT(store), TR_FMT(event->aggregate_id), event->version);
    return tr_view_str(text);
}

static tr_view correlation_of(const tr_event *event)
{
    tr_value value;
    if (event->metadata.type != TR_M ||
        tr_item_get(event->metadata.payload, TR_VIEW(TR_EVENT_CORRELATION_ID), &value) || value.type != TR_S)
        return (tr_view){NULL, 0};
    return value.payload;
}

static int name_command(running *r, const tr_command *c)
{
    char uuid[TR_UUID_LEN + 1];
    tr_view id = c->command_id;
    if (id.len == 0 && c->cause)
        id = event_name(r, c->cause_store, c->cause);
    if (id.len == 0) {
        tr_uuid(uuid);
        id = tr_view_str(uuid);
    }
    tr_view correlation = c->correlation_id;
    if (correlation.len == 0 && c->cause)
        correlation = correlation_of(c->cause);
    r->decision.causation = tr_arena_copy(&r->arena, id);
    r->decision.correlation = correlation.len ? tr_arena_copy(&r->arena, correlation) : r->decision.causation;
    return r->decision.causation.ptr && r->decision.correlation.ptr ? 0 : TR_ENOMEM;
}

static int check_command(const tr_command *c, tr_error *err)
{
    if (c->target_count < 1 || c->target_count > TARGETS_MAX)
        return tr_fail(err, TR_EINVAL, "a command works on 1 to %d aggregates, not %zu", TARGETS_MAX,
                       c->target_count);
    for (size_t i = 0; i < c->target_count; i++) {
        const tr_command_target *t = &c->targets[i];
        int e = tr__event_check_id(t->store, t->aggregate_id, err);
        if (!e && t->store->client != c->targets[0].store->client)
            e = tr_fail(err, TR_EINVAL, "the stores of a command must share one client");
        for (size_t j = 0; !e && j < i; j++)
            if (c->targets[j].store == t->store && tr_view_eq(c->targets[j].aggregate_id, t->aggregate_id))
                e = tr_fail(err, TR_EINVAL, "aggregate %.*s is a target twice", TR_FMT(t->aggregate_id));
        if (e)
            return e;
    }
    return 0;
}

static int prepare(running *r, const tr_command *c, tr_error *err)
{
    tr_rng_seed(&r->rng, (uint64_t)tr_clock_mono_ns() ^ (uint64_t)(uintptr_t)r);
    r->command = *c;
    r->command.attempts = c->attempts ? c->attempts : ATTEMPTS;
    r->client = c->targets[0].store->client;
    r->decision.target_count = c->target_count;
    r->targets = tr_arena_calloc(&r->arena, c->target_count, sizeof *r->targets);
    r->aggregates = tr_arena_calloc(&r->arena, c->target_count, sizeof(tr_aggregate *));
    int e = r->targets && r->aggregates ? name_command(r, c) : TR_ENOMEM;
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    for (; !e && r->count < c->target_count; r->count += !e) {
        r->targets[r->count] = c->targets[r->count];
        e = tr_aggregate_new(c->targets[r->count].reducer, c->targets[r->count].aggregate_id,
                             &r->aggregates[r->count], err);
    }
    return e;
}

static void abandon(running *r)
{
    for (size_t i = 0; i < r->count; i++)
        tr_aggregate_free(r->aggregates[i]);
    tr_arena_done(&r->arena);
    tr_free(r);
}

int tr_command_run(const tr_command *command, tr_command_fn *fn, void *ctx, tr_error *err)
{
    int e = check_command(command, err);
    if (e)
        return e;
    running *r = tr_calloc(1, sizeof *r);
    if (!r)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    r->fn = fn;
    r->ctx = ctx;
    tr_arena_init(&r->arena, DECISION_MAX);
    tr_arena_init(&r->decision.arena, DECISION_MAX);
    e = prepare(r, command, err);
    if (!e && (e = tr_client_schedule(r->client, 0, load_all, r))) /* all of it runs on the I/O thread */
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    if (e)
        abandon(r);
    return e;
}

typedef struct command_wait {
    tr__wait wait;
    size_t count;
} command_wait;

static void on_done(void *ctx, int code, const tr_pushed *pushed, const tr_aggregate *const *aggregates,
                    const tr_error *err)
{
    command_wait *w = ctx;
    (void)aggregates;
    w->count = pushed->count;
    tr__wait_done(&w->wait, code, err);
}

int tr_command_run_wait(const tr_command *command, size_t *ret_count, tr_error *err)
{
    command_wait w = {.count = 0};
    int e = check_command(command, err);
    if (!e)
        e = tr__wait_begin(&w.wait, command->targets[0].store->client, err);
    if (e)
        return e;
    e = tr__wait_end(&w.wait, tr_command_run(command, on_done, &w, err));
    if (!e && ret_count)
        *ret_count = w.count;
    return e;
}
