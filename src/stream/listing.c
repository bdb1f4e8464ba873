/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

#include <stdio.h>

/*
 * DescribeStream, one call at a time: either the next page of a complete listing, or the children of one
 * closed shard. Only a complete listing tells that a shard is not there.
 */

/** Least time between two calls on AWS, where an account has 10 a second for all its consumers. */
#define DESCRIBE_EVERY_MS 150
/** A page without end: more are not believed. */
#define PAGES_MAX 10000
/** Lookups of a closed shard's children before leaving it to the periodic listings. */
#define LOOKUPS_MAX   12
#define LOOKUP_MIN_MS 250
#define LOOKUP_MAX_MS 15000
/** The longest time between the listings of one worker of a fleet. */
#define SHARED_MAX_MS (4 * 3600 * 1000)
/** Between listings that are to settle a doubt. */
#define DOUBT_EVERY_MS 2000

void tr__listing_want(tr__core *core)
{
    core->listing_wanted = true;
    tr__listing_pump(core);
}

void tr__listing_due(tr__core *core, tr__timer *timer)
{
    (void)timer;
    tr__listing_want(core);
}

void tr__describe_due(tr__core *core, tr__timer *timer)
{
    (void)timer;
    tr__listing_pump(core);
}

/* ---------------------------------------------------------------------------------------------- sending */

static tr__shard *pop_lookup(tr__core *core)
{
    tr__shard *s = core->lookup_first;
    if (!s)
        return NULL;
    core->lookup_first = s->lookup_next;
    if (!core->lookup_first)
        core->lookup_last = NULL;
    s->lookup_next = NULL;
    s->lookup_queued = false;
    core->lookup_count--;
    return s;
}

static void begin_listing(tr__core *core)
{
    core->listing_wanted = false;
    core->listing = true;
    core->listing_number++;
    core->listing_ms = core->now;
    core->listing_pages = core->listing_new = 0;
    core->listing_start[0] = 0;
    if (core->fleet)
        tr__fleet_listing_begins(core);
    while (pop_lookup(core)) /* the listing answers them all */
        ;
}

static void describe(tr__core *core, const tr__shard *children_of)
{
    tr__pending *call = tr__core_send(core, TR__REQ_DESCRIBE_STREAM, NULL);
    if (!call) {
        tr__timer_set(core, &core->describe_timer, core->now + core->o.retry_min_ms + 1);
        if (children_of)
            core->listing_wanted = true;
        return;
    }
    core->describing = true;
    if (children_of) {
        call->child_lookup = true;
        memcpy(call->lookup_of, children_of->id, sizeof call->lookup_of);
    }
    core->next_describe_ms = core->now + (core->server == TR__SERVER_AWS ? DESCRIBE_EVERY_MS : 0);
}

void tr__listing_pump(tr__core *core)
{
    if (core->describing || core->stopping || core->gone || core->describe_timer.slot)
        return;
    if (!core->listing && !core->listing_wanted && !core->lookup_first)
        return;
    if (core->now < core->next_describe_ms) {
        tr__timer_set(core, &core->describe_timer, core->next_describe_ms);
        return;
    }
    /* beyond as many calls as a listing takes, the listing is cheaper */
    if (!core->listing && core->lookup_first &&
        (core->filter_refused || core->lookup_count > core->last_listing_pages))
        core->listing_wanted = true;
    if (!core->listing && core->listing_wanted)
        begin_listing(core);
    describe(core, core->listing ? NULL : pop_lookup(core));
}

/** A closed shard's children are to be looked for. */
void tr__listing_children(tr__core *core, tr__shard *s)
{
    if (s->lookup_queued || core->stopping || core->o.manual)
        return;
    s->lookup_queued = true;
    s->lookup_next = NULL;
    if (core->lookup_last)
        core->lookup_last->lookup_next = s;
    else
        core->lookup_first = s;
    core->lookup_last = s;
    core->lookup_count++;
    tr__listing_pump(core);
}

void tr__listing_lookup_due(tr__core *core, tr__timer *timer)
{
    tr__listing_children(core, container_of(timer, tr__shard, lookup_timer));
}

void tr__listing_forget(tr__core *core, tr__shard *s)
{
    if (!s->lookup_queued)
        return;
    tr__shard **at = &core->lookup_first, *before = NULL;
    while (*at != s) {
        before = *at;
        at = &(*at)->lookup_next;
    }
    *at = s->lookup_next;
    if (core->lookup_last == s)
        core->lookup_last = before;
    s->lookup_queued = false;
    core->lookup_count--;
}

/* ---------------------------------------------------------------------------------------------- merging */

static int merge(tr__core *core, const tr__listed_shard *l)
{
    tr__shard *s = tr__graph_find(core, l->id);
    if (!s) {
        int code = tr__graph_add(core, l->id, l->parent, &s);
        if (code)
            return code;
        s->fresh = true;
        s->found_late = core->resumed || core->stage == TR__STAGE_RUN;
        s->found_ms = core->now;
        core->listing_new++;
        core->graph_version++;
    }
    if (!s->listed) {
        s->listed = true;
        s->found_ms = core->now;
        s->first_listing = core->listing ? core->listing_number : core->listing_number + 1;
    }
    if (!s->announced && !core->fleet) { /* in a fleet: when its lease is ours */
        s->announced = true;
        tr__info_shards(core, TR_STREAM_SHARDS_ADDED, s->id);
    }
    if (core->listing)
        s->last_listing = core->listing_number;
    if (!s->parent[0] && l->parent.len && l->parent.len <= TR_SHARD_ID_MAX)
        (void)snprintf(s->parent, sizeof s->parent, "%.*s", TR_FMT(l->parent));
    s->closed |= l->ending.len > 0;
    s->starting = tr_sequence_valid(l->starting) ? tr__seq_of(l->starting) : s->starting;
    s->ending = tr_sequence_valid(l->ending) ? tr__seq_of(l->ending) : s->ending;
    return 0;
}

static int merge_all(tr__core *core, const tr__answer *a)
{
    int worst = 0;
    for (size_t i = 0; i < a->count; i++) {
        int code = merge(core, &a->shards[i]);
        if (code && code != TR_EPARSE)
            worst = code;
    }
    return worst;
}

/* ------------------------------------------------------------------------------------------- completing */

/**
 * A shard that was not known before although one of its descendants was: it has been finished and forgotten
 * (by us, by another worker, or by the library whose leases are continued).
 */
static bool begun(const tr__shard *s)
{
    return s->phase != TR__PHASE_WAITING || s->ack.kind != TR__POS_TRIM;
}

static void skip_ancestors_of_begun(tr__core *core)
{
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        if (s->fresh || !begun(s))
            continue;
        tr__shard *p = tr__graph_find(core, tr_view_str(s->parent));
        while (p && p->fresh && p->phase == TR__PHASE_WAITING) {
            tr__shard_skip(core, p);
            p = tr__graph_find(core, tr_view_str(p->parent));
        }
    }
}

/**
 * Whoever closed a shard either disabled the stream or gave the shard children; if it leaves the stream and
 * none were ever seen, they have come and gone unseen, and it must be told.
 */
static void tell_childless(tr__core *core, tr__shard *s)
{
    if (s->children || core->disabled || s->childless_told || !s->listed)
        return;
    s->childless_told = true;
    tr__deliver_gap(core, s, TR_GAP_SHARD_GONE, tr__seq_view(&s->read_seq), (tr_view){0});
}

static void forget(tr__core *core, tr__shard *s)
{
    tell_childless(core, s);
    if (s->unacked || s->version != s->saved)
        return;
    if (core->fleet) {
        tr__lease_drop(core, s);
        return;
    }
    tr__graph_remove(core, s);
    tr__save_graph(core);
}

static void count_absent(tr__core *core)
{
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        s->absent = s->last_listing == core->listing_number ? 0 : s->absent + 1;
        if (s->phase == TR__PHASE_FINISHED && s->absent >= TR__ABSENT_LISTINGS)
            forget(core, s);
    }
}

/** Whether a closed shard's children were looked for in vain, so that only a listing can bring them. */
static bool has_childless(const tr__core *core)
{
    if (core->disabled)
        return false;
    for (const tr__shard *s = core->shards; s; s = s->hh.next)
        if (s->lookups >= LOOKUPS_MAX && !s->children)
            return true;
    return false;
}

/**
 * The workers of a fleet learn of new shards from their rows: it is enough that all of them together list as
 * often as one would. At random, so that they do not do it together.
 */
static int64_t shared_wait(tr__core *core, int64_t wait)
{
    int64_t share = tr__fleet_share(core);
    if (share == 1)
        return wait;
    if (wait > SHARED_MAX_MS / share)
        return wait > SHARED_MAX_MS ? wait : SHARED_MAX_MS;
    return wait * share / 2 + (int64_t)tr_rng_below(&core->rng, (uint64_t)(wait * share) + 1);
}

static void next_listing(tr__core *core)
{
    if (core->o.manual || core->stopping)
        return;
    int64_t wait = core->o.discover_ms;
    bool doubt = tr__graph_has_doubtful(core) || core->quiet_listing || core->stage == TR__STAGE_LIST;
    if (doubt && wait > DOUBT_EVERY_MS)
        wait = DOUBT_EVERY_MS;
    else if (!doubt && core->stage == TR__STAGE_RUN && !has_childless(core))
        wait = shared_wait(core, wait);
    tr__timer_set(core, &core->listing_timer, core->now + wait + 1);
}

/** The next listing is to settle a doubt that has come up between two of them. */
void tr__listing_doubt(tr__core *core)
{
    int64_t at = core->now + DOUBT_EVERY_MS + 1;
    if (!core->o.manual && core->listing_timer.slot && core->listing_timer.at_ms > at)
        tr__timer_set(core, &core->listing_timer, at);
}

static void complete(tr__core *core)
{
    core->listing = false;
    core->last_listing_pages = core->listing_pages;
    core->listings_complete = core->listing_number;
    core->listed_ms = core->listing_ms;
    core->poll_listing = false;
    if (core->resumed || core->stage == TR__STAGE_RUN)
        skip_ancestors_of_begun(core);
    if (core->stage == TR__STAGE_RUN)
        for (tr__shard *s = core->shards; s; s = s->hh.next)
            s->fresh = false;
    tr__graph_count_children(core);
    count_absent(core);
    if (core->stage == TR__STAGE_LIST) {
        tr__stage_listed(core);
    } else {
        if (core->listing_new)
            tr__save_graph(core);
        if (core->fleet)
            tr__fleet_listed(core);
        tr__graph_advance(core);
        tr__succession_check(core);
    }
    next_listing(core);
}

/* --------------------------------------------------------------------------------------------- answers */

static void retry_describe(tr__core *core, const tr__answer *a, const char *doing)
{
    core->describe_failures++;
    int64_t delay = tr__core_backoff(core, core->describe_failures);
    tr__core_failed(core, NULL, doing, core->describe_failures, delay, a->error);
    tr__timer_set(core, &core->describe_timer, core->now + delay);
}

static void stream_missing(tr__core *core, const tr__answer *a)
{
    core->missing++;
    if (core->fleet && core->stage == TR__STAGE_LIST && core->missing >= TR__DOUBT_TRIES) {
        core->listing = false;
        tr__fleet_stream_missing(core);
        return;
    }
    if (core->missing < TR__DOUBT_TRIES || (core->stage != TR__STAGE_RUN && !core->resumed)) {
        core->listing_wanted = true;
        core->listing = false;
        retry_describe(core, a, "DescribeStream");
        /* the table may have been made anew meanwhile */
        if (core->stage == TR__STAGE_LIST && core->missing >= TR__DOUBT_TRIES && !core->fleet &&
            core->arn_resolved) {
            core->arn[0] = 0;
            core->missing = 0;
            core->listing_wanted = false;
            tr__core_stage(core, TR__STAGE_RESOLVE);
        }
        return;
    }
    core->gone = true;
    core->listing = core->listing_wanted = false;
    core->poll_listing = false;
    bool orderly = tr__stream_was_over(core);
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        if (s->phase == TR__PHASE_WAITING || s->phase == TR__PHASE_READING)
            tr__reader_gone(core, s, TR_GAP_STREAM_GONE);
        else if (!orderly && !s->children) /* it may have had children that nobody has seen */
            tr__deliver_gap(core, s, TR_GAP_STREAM_GONE, tr__seq_view(&s->read_seq), (tr_view){0});
    }
    if (core->stage == TR__STAGE_RUN)
        tr__succession_check(core);
    else
        tr__core_stage(core, TR__STAGE_SAVE);
}

static void look_again(tr__core *core, tr__shard *s)
{
    if (s->lookups >= LOOKUPS_MAX || s->children)
        return;
    int64_t step = LOOKUP_MIN_MS;
    for (unsigned i = 0; i < s->lookups && step < LOOKUP_MAX_MS; i++)
        step *= 2;
    if (step > LOOKUP_MAX_MS)
        step = LOOKUP_MAX_MS;
    s->lookups++;
    tr__timer_set(core, &s->lookup_timer,
                  core->now + step / 2 + 1 + tr_backoff_ms(&core->rng, 0, step / 2, step));
}

static bool filter_honoured(const tr__pending *call, const tr__answer *a)
{
    for (size_t i = 0; i < a->count; i++)
        if (!tr_view_is(a->shards[i].parent, call->lookup_of))
            return false;
    return a->last.len == 0;
}

static void children_listed(tr__core *core, const tr__pending *call, const tr__answer *a)
{
    tr__shard *s = tr__graph_find(core, tr_view_str(call->lookup_of));
    if (a->code) {
        /* A server that does not know the filter refuses it; the complete listing serves as well. */
        bool passing = tr_retryable(a->code) || (a->error && a->error->http_status >= 500);
        if (!passing) {
            core->filter_refused |= a->code == TR_ESERVICE;
            core->listing_wanted = true;
        }
        if (s)
            look_again(core, s);
        if (passing)
            retry_describe(core, a, "DescribeStream");
        return;
    }
    core->describe_failures = 0;
    if (!filter_honoured(call, a)) {
        core->filter_refused = true;
        core->listing_wanted = true;
        return;
    }
    if (merge_all(core, a))
        core->listing_wanted = true;
    if (core->listing_new)
        tr__save_graph(core);
    core->listing_new = 0;
    if (s) {
        s->looked_ms = call->sent_ms;
        look_again(core, s);
    }
    /* it was disabled meanwhile, perhaps: only a complete listing tells */
    if (!core->disabled && tr_view_is(a->status, "DISABLED"))
        tr__listing_doubt(core);
    if (core->fleet)
        tr__fleet_listed(core);
    tr__graph_advance(core);
}

static void page_listed(tr__core *core, const tr__answer *a)
{
    if (a->code == TR_ENOTFOUND) {
        stream_missing(core, a);
        return;
    }
    tr_error e;
    tr__answer failed = {.code = a->code, .error = a->error};
    if (a->code == 0) {
        failed.code = merge_all(core, a);
        if (failed.code)
            (void)tr_fail(&e, failed.code, "the stream has more than %d shards, or memory is short",
                          TR__SHARDS_MAX);
        failed.error = &e;
    }
    if (failed.code) {
        retry_describe(core, &failed, "DescribeStream"); /* the same page again */
        return;
    }
    core->describe_failures = core->missing = 0;
    core->listing_pages++;
    core->disabled = tr_view_is(a->status, "DISABLED");
    if (a->label.len && a->label.len < sizeof core->label)
        (void)snprintf(core->label, sizeof core->label, "%.*s", TR_FMT(a->label));
    bool more = a->last.len > 0 && a->last.len <= TR_SHARD_ID_MAX && core->listing_pages < PAGES_MAX &&
                !tr_view_is(a->last, core->listing_start);
    if (more)
        (void)snprintf(core->listing_start, sizeof core->listing_start, "%.*s", TR_FMT(a->last));
    else
        complete(core);
}

void tr__listing_answer(tr__core *core, tr__pending *call, tr__answer *a)
{
    core->describing = false;
    if (call->child_lookup)
        children_listed(core, call, a);
    else if (core->listing)
        page_listed(core, a);
    tr__listing_pump(core);
}
