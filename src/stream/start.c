/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

#include <stdio.h>

/*
 * Where reading begins once the shards are known for the first time, and how a table is followed into the
 * stream that comes after a disabled one.
 */

/** Until a table whose stream is over is first looked at for another one. */
#define LOOK_MIN_MS 500

/** Counts as read to its end. */
void tr__shard_skip(tr__core *core, tr__shard *s)
{
    s->ack = (tr__pos){.kind = TR__POS_END, .since_ms = -1, .born_ms = -1};
    tr__shard_phase(core, s, TR__PHASE_FINISHED);
    tr__save_changed(core, s);
}

static void start_latest(tr__core *core)
{
    core->since_ms = tr__core_service_now(core) - TR__CLOCK_SLACK_MS;
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        if (s->closed) {
            tr__shard_skip(core, s);
            continue;
        }
        s->ack = (tr__pos){.kind = TR__POS_LATEST, .since_ms = core->since_ms, .born_ms = core->since_ms};
        s->bookmarking = true;
    }
}

static void start_at_shard(tr__core *core, tr__pos_kind kind)
{
    tr__shard *s = tr__graph_find(core, tr_view_str(core->start_shard));
    if (!s && tr__graph_add(core, tr_view_str(core->start_shard), (tr_view){0}, &s))
        return;
    s->ack = (tr__pos){.kind = kind, .seq = core->start_seq, .since_ms = -1, .born_ms = -1};
    s->announced = true;
    /* bounded, since a circle of parents would be the server's nonsense */
    for (size_t i = 0; i < core->shard_count; i++) {
        s = tr__graph_find(core, tr_view_str(s->parent));
        if (!s || s->phase == TR__PHASE_FINISHED)
            break;
        tr__shard_skip(core, s);
    }
}

/**
 * Whether no number lies between the two. On tailrace's own engine the numbers of a stream are consecutive,
 * so that a snapshot of a table that has seen no write yet is the number right before its shards' first.
 */
static bool is_next(const tr__seq *seq, const tr__seq *after)
{
    tr__seq next = *after;
    size_t i = next.len;
    while (i > 0 && next.text[i - 1] == '9')
        next.text[--i] = '0';
    if (i == 0)
        return false;
    next.text[i - 1]++;
    return tr__seq_cmp(seq, &next) == 0;
}

/** Without a shard, the number positions all of them by order. */
static void start_at(tr__core *core, tr__pos_kind kind)
{
    core->floor = core->start_seq;
    core->floor_inclusive = kind == TR__POS_AT;
    tr__shard *first = NULL, *s, *tmp;
    bool covered = false;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        int start = s->starting.len ? tr__seq_cmp(&s->starting, &core->floor) : -1;
        int end = s->ending.len ? tr__seq_cmp(&s->ending, &core->floor) : 1;
        covered |= start <= 0 || (kind == TR__POS_AFTER && is_next(&s->starting, &core->floor));
        if (end < 0 || (end == 0 && kind == TR__POS_AFTER)) {
            tr__shard_skip(core, s);
            continue;
        }
        s->ack.floor = core->floor;
        s->ack.floor_inclusive = core->floor_inclusive;
        if (start <= 0) {
            s->ack.kind = kind;
            s->ack.seq = core->floor;
        }
        if (!first || (s->starting.len && tr__seq_cmp(&s->starting, &first->starting) < 0))
            first = s;
    }
    if (!covered && first)
        tr__deliver_gap(core, first, TR_GAP_TRIMMED, tr__seq_view(&core->floor),
                        tr__seq_view(&first->starting));
}

static void assign_positions(tr__core *core)
{
    int64_t now = tr__core_service_now(core);
    for (tr__shard *s = core->shards; s; s = s->hh.next)
        s->ack.born_ms = now; /* what was trimmed before the start is nobody's loss */
    switch (core->o.start.at) {
    case TR_START_LATEST:
        start_latest(core);
        break;
    case TR_START_TRIM_HORIZON:
        break;
    case TR_START_TIME:
        core->since_ms = core->o.start.time_ms;
        for (tr__shard *s = core->shards; s; s = s->hh.next)
            s->ack.since_ms = core->since_ms;
        break;
    case TR_START_AT:
    case TR_START_AFTER: {
        tr__pos_kind kind = core->o.start.at == TR_START_AT ? TR__POS_AT : TR__POS_AFTER;
        if (core->start_shard)
            start_at_shard(core, kind);
        else
            start_at(core, kind);
        break;
    }
    }
}

/**
 * A shard that has opened just now may be listed late, and without it nobody knows which ones come before it.
 * After some listings it counts as trimmed.
 */
static bool start_is_missing(tr__core *core)
{
    return !core->resumed && !core->o.manual && core->start_shard &&
           core->listings_complete < TR__ABSENT_LISTINGS &&
           (core->o.start.at == TR_START_AT || core->o.start.at == TR_START_AFTER) &&
           !tr__graph_find(core, tr_view_str(core->start_shard));
}

void tr__stage_listed(tr__core *core)
{
    if (core->fleet) {
        tr__fleet_first_listing(core);
        return;
    }
    if (start_is_missing(core))
        return; /* until the next listing */
    if (!core->resumed)
        assign_positions(core);
    for (tr__shard *s = core->shards; s; s = s->hh.next)
        s->fresh = false;
    tr__core_stage(core, TR__STAGE_MARK);
}

void tr__start_positions(tr__core *core)
{
    assign_positions(core);
}

/* ------------------------------------------------------------------------------------- the next stream */

static bool all_finished(const tr__core *core)
{
    if (!core->fleet)
        return core->phase_count[TR__PHASE_FINISHED] == core->shard_count;
    for (const tr__shard *s = core->shards; s; s = s->hh.next)
        if (s->phase != TR__PHASE_FINISHED && (s->listed || s->lease->nowhere))
            return false; /* other rows may be of the stream that comes next */
    return true;
}

/**
 * Everything listed is read, and the stream is disabled: but the last shards may be listed late, so several
 * listings over some seconds must agree.
 */
bool tr__stream_was_over(const tr__core *core)
{
    if (!core->disabled || !all_finished(core) || !core->quiet_listing)
        return false;
    return core->server == TR__SERVER_TAILRACE ||
           (core->listings_complete >= core->quiet_listing + TR__ABSENT_LISTINGS &&
            core->now - core->quiet_ms >= TR__ORPHAN_WAIT_MS);
}

static bool surely_over(tr__core *core)
{
    if (core->gone) /* and what there was to tell about it is told */
        return all_finished(core) && core->unacked == 0;
    if (!core->disabled || !all_finished(core) || core->listing_new) {
        core->quiet_listing = 0;
        return false;
    }
    if (!core->quiet_listing) {
        core->quiet_listing = core->listings_complete;
        core->quiet_ms = core->now;
        tr__listing_doubt(core);
    }
    return tr__stream_was_over(core);
}

static void ask_streams(tr__core *core)
{
    core->succession = true;
    if (!tr__core_send(core, TR__REQ_LIST_STREAMS, NULL)) {
        core->succession = false;
        tr__timer_set(core, &core->succession_timer, core->now + core->o.retry_max_ms);
    }
}

void tr__succession_check(tr__core *core)
{
    if (core->stage != TR__STAGE_RUN || core->stopping || core->succession || core->succession_timer.slot ||
        !surely_over(core))
        return;
    if (!core->table) {
        if (!core->told_ended)
            tr__core_told(core, TR_STREAM_ENDED);
        core->told_ended = true;
        return;
    }
    core->next_arn[0] = core->next_label[0] = core->list_start[0] = 0;
    ask_streams(core);
}

void tr__succession_due(tr__core *core, tr__timer *timer)
{
    (void)timer;
    tr__succession_check(core);
}

/** The label at the end of a stream's ARN; the whole of it where there is none. */
static tr_view label_of(const tr__core *core)
{
    if (core->label[0])
        return tr_view_str(core->label);
    const char *at = strstr(core->arn, "/stream/");
    return tr_view_str(at ? at + 8 : "");
}

static void consider_streams(tr__core *core, const tr__answer *a)
{
    for (size_t i = 0; i < a->count; i++) {
        tr_view arn = a->streams[i].arn, label = a->streams[i].label;
        if (tr_view_is(arn, core->arn) || arn.len > TR_STREAM_ARN_MAX ||
            label.len >= sizeof core->next_label || tr_view_cmp(label, label_of(core)) <= 0)
            continue;
        if (core->next_arn[0] && tr_view_cmp(label, tr_view_str(core->next_label)) >= 0)
            continue;
        (void)snprintf(core->next_arn, sizeof core->next_arn, "%.*s", TR_FMT(arn));
        (void)snprintf(core->next_label, sizeof core->next_label, "%.*s", TR_FMT(label));
    }
}

static void succeed(tr__core *core)
{
    tr__graph_clear(core);
    (void)snprintf(core->arn, sizeof core->arn, "%s", core->next_arn);
    core->label[0] = 0;
    core->disabled = core->gone = core->told_ended = false;
    core->quiet_listing = core->listings_complete = 0;
    core->missing = core->succession_looks = 0;
    core->floor.len = 0;
    if (core->fleet)
        core->fleet->arn_count = 0;
    core->resumed = true; /* so that its shards are read from their first records */
    core->listing = core->describing = false;
    core->graph_version++;
    tr__core_stage(core, TR__STAGE_LIST);
}

/** A table that is made again is mostly so at once: often at first, all workers of a fleet together. */
static int64_t next_look(tr__core *core)
{
    int64_t wait = LOOK_MIN_MS * tr__fleet_share(core);
    for (unsigned i = 0; i < core->succession_looks && wait < core->o.discover_ms; i++)
        wait *= 2;
    core->succession_looks++;
    return wait > core->o.discover_ms ? core->o.discover_ms : wait;
}

void tr__succession_answer(tr__core *core, tr__answer *a)
{
    core->succession = false;
    if (core->stage == TR__STAGE_CHOOSE) {
        tr__fleet_streams(core, a);
        return;
    }
    if (a->code) {
        core->succession_failures++;
        int64_t delay = tr__core_backoff(core, core->succession_failures);
        tr__core_failed(core, NULL, "ListStreams", core->succession_failures, delay, a->error);
        tr__timer_set(core, &core->succession_timer, core->now + delay);
        return;
    }
    core->succession_failures = 0;
    consider_streams(core, a);
    if (a->last.len && a->last.len <= TR_STREAM_ARN_MAX && !tr_view_is(a->last, core->list_start)) {
        (void)snprintf(core->list_start, sizeof core->list_start, "%.*s", TR_FMT(a->last));
        ask_streams(core);
        return;
    }
    if (core->next_arn[0]) {
        succeed(core);
        return;
    }
    if (!core->told_ended)
        tr__core_told(core, TR_STREAM_ENDED);
    core->told_ended = true;
    tr__timer_set(core, &core->succession_timer, core->now + next_look(core) + 1);
}
