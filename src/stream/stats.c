/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

#include <stdlib.h>

/* Lag, statistics, and the commands of manual polling and export. */

static int64_t at_least_zero(int64_t ms)
{
    return ms > 0 ? ms : 0;
}

/** Creation time of the oldest record that is not acknowledged, -1 if none is there. */
static int64_t oldest_unacked(const tr__shard *s)
{
    for (const tr__page *page = s->first_page; page; page = page->next) {
        if (page->gap.reason)
            continue;
        for (uint32_t i = page->front; i < page->count; i++)
            if (page->entries[i].state != TR__ENTRY_ACKED)
                return page->records[i].time_ms;
    }
    return -1;
}

static int64_t lag_of(const tr__core *core, const tr__shard *s)
{
    if (s->phase == TR__PHASE_FINISHED)
        return 0;
    if (s->phase == TR__PHASE_WAITING)
        return -1;
    int64_t service = tr__core_service_now(core), oldest = oldest_unacked(s);
    if (oldest >= 0)
        return at_least_zero(service - oldest);
    if (s->phase == TR__PHASE_DRAINING)
        return s->acked_time_ms >= 0 ? at_least_zero(service - s->acked_time_ms) : 0;
    /* while the engine holds a read open at the tip, there is nothing newer */
    if (s->long_polling && s->empties && core->now - s->called_ms <= s->wait_ms + 1000)
        return 0;
    if (s->tip_ms >= s->page_ms && s->tip_ms >= 0)
        return at_least_zero(core->now - s->tip_ms);
    if (s->acked_time_ms >= 0)
        return at_least_zero(service - s->acked_time_ms);
    if (s->page_ms < s->open_ms)
        return -1; /* nothing was heard of it yet */
    return at_least_zero(core->now - s->open_ms);
}

/**
 * Monotonic time before which nothing was written into the shard or, where it has ended, into children of its
 * that are not known yet, but what is acknowledged. Not the lag: that is reckoned by the service's clock, in
 * seconds.
 */
static int64_t settled_of(const tr__core *core, const tr__shard *s)
{
    switch (s->phase) {
    case TR__PHASE_FINISHED:
        if (s->children || core->gone)
            return INT64_MAX;
        return s->looked_ms > core->listed_ms ? s->looked_ms : core->listed_ms;
    case TR__PHASE_READING:
        return s->unacked == 0 ? s->settled_ms : -1;
    case TR__PHASE_WAITING:
    case TR__PHASE_DRAINING:
        break;
    }
    return -1;
}

int64_t tr__core_settled_ms(const tr__core *core)
{
    int64_t least = INT64_MAX;
    /* a listing that has brought some children of a shard may bring more of them with its next page */
    if (!core->listings_complete || (core->listing && core->listing_new))
        return -1;
    for (const tr__shard *s = core->shards; s && least >= 0; s = s->hh.next) {
        int64_t ms = tr__lease_ours(core, s) ? settled_of(core, s) : INT64_MAX;
        if (ms < least)
            least = ms;
    }
    return least == INT64_MAX ? core->listed_ms : least; /* all have ended and have nothing after them */
}

void tr__core_get_stats(const tr__core *core, tr_stream_stats *ret)
{
    *ret = core->stats;
    ret->stream_arn = core->arn;
    ret->lag_ms = -1;
    bool unknown = false;
    for (const tr__shard *s = core->shards; s; s = s->hh.next) {
        if (s->phase == TR__PHASE_WAITING && !core->fleet) /* whose parent ended just now: soon to be read */
            unknown |= tr__graph_parent_done(core, s);
        if (s->phase != TR__PHASE_READING && s->phase != TR__PHASE_DRAINING)
            continue;
        int64_t lag = lag_of(core, s);
        unknown |= lag < 0;
        if (lag > ret->lag_ms)
            ret->lag_ms = lag;
    }
    if (unknown)
        ret->lag_ms = -1;
    ret->settled_ms = core->unacked == 0 && core->stage == TR__STAGE_RUN ? tr__core_settled_ms(core) : -1;
    ret->caught_up = core->caught_up;
    ret->unacknowledged = core->unacked;
    ret->unacknowledged_bytes = core->held_bytes;
    ret->shards_reading = core->phase_count[TR__PHASE_READING] + core->phase_count[TR__PHASE_DRAINING];
    ret->shards_waiting = core->phase_count[TR__PHASE_WAITING];
    ret->shards_finished = core->phase_count[TR__PHASE_FINISHED];
    ret->leases_held = core->fleet ? core->fleet->held : 0;
}

static int by_id(const void *a, const void *b)
{
    return strcmp((*(tr__shard *const *)a)->id, (*(tr__shard *const *)b)->id);
}

static void describe(tr__core *core, const tr__shard *s, tr_shard_stats *ret)
{
    *ret = (tr_shard_stats){.id = tr_view_str(s->id),
                            .parent_id = tr_view_str(s->parent),
                            .checkpoint = tr__pos_text(&s->saved_pos),
                            .lag_ms = lag_of(core, s),
                            .records = s->records,
                            .bytes = s->bytes,
                            .unacknowledged = s->unacked,
                            .failures = s->failures};
    static const tr_shard_phase phases[] = {TR_SHARD_WAITING, TR_SHARD_READING, TR_SHARD_DRAINING,
                                            TR_SHARD_FINISHED};
    ret->phase =
        s->phase == TR__PHASE_WAITING && !tr__lease_ours(core, s) ? TR_SHARD_ELSEWHERE : phases[s->phase];
    if (s->ack.kind == TR__POS_AFTER)
        ret->acknowledged = tr__seq_view(&s->ack.seq);
    if (s->lease)
        ret->owner = tr_view_str(s->lease->owner);
}

void tr__core_each_shard(tr__core *core, void (*fn)(void *ctx, const tr_shard_stats *shard), void *ctx)
{
    tr__shard **sorted = core->shard_count ? tr_malloc(core->shard_count * sizeof *sorted) : NULL;
    if (!sorted)
        return;
    size_t n = 0;
    for (tr__shard *s = core->shards; s; s = s->hh.next)
        sorted[n++] = s;
    qsort(sorted, n, sizeof *sorted, by_id);
    for (size_t i = 0; i < n; i++) {
        tr_shard_stats stats;
        describe(core, sorted[i], &stats);
        fn(ctx, &stats);
    }
    tr_free(sorted);
}

/* --------------------------------------------------------------------------------------------- polling */

void tr__core_poll_shards(tr__core *core)
{
    core->poll_listing = true;
    core->has_trouble = false;
    if (core->stage == TR__STAGE_RUN)
        tr__listing_want(core);
    else if (core->stage == TR__STAGE_LEASES) /* nothing was begun yet */
        tr__core_stage(core, core->has_store && !core->resumed ? TR__STAGE_LOAD : TR__STAGE_RESOLVE);
}

void tr__core_poll_records(tr__core *core, bool drain)
{
    core->poll_drain = drain;
    core->has_trouble = false;
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        if (s->phase != TR__PHASE_READING || s->credit)
            continue;
        s->credit = 1;
        core->poll_credits++;
        if (s->reader == TR__READER_OFF)
            tr__reader_queue(core, s);
    }
}

bool tr__core_poll_busy(const tr__core *core)
{
    if (core->checkpoint_told) /* it is the user's turn: the event is among those that the poll returns */
        return false;
    return core->stage != TR__STAGE_RUN || (core->poll_listing && !core->gone) || core->poll_credits > 0;
}

void tr__core_export_begin(tr__core *core)
{
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        /* with nothing unacknowledged the iterator in use is the place; a noted one is it until the first
         * record */
        bool exact = s->unacked == 0 && s->iterator;
        if (s->export_wanted || s->ack.kind == TR__POS_END || exact || s->note_iterator)
            continue;
        s->export_wanted = true;
        core->exports++;
    }
}

bool tr__core_export_end(tr__core *core, tr_buf *ret_json)
{
    if (core->exports)
        return false;
    tr_json_writer w;
    tr_json_write_init(&w, ret_json);
    tr_json_begin_object(&w);
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        tr_json_key(&w, tr_view_str(s->id));
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "shardId", s->id);
        const char *iterator = s->unacked == 0 && s->iterator ? s->iterator
                               : s->export_iterator           ? s->export_iterator
                                                              : s->note_iterator;
        if (s->ack.kind == TR__POS_END) {
            tr_json_name(&w, "nextShardIterator");
            tr_json_null(&w);
        } else if (iterator) {
            tr_json_member_cstring(&w, "nextShardIterator", iterator);
        }
        tr_json_end_object(&w);
        tr_free(s->export_iterator);
        s->export_iterator = NULL;
    }
    tr_json_end_object(&w);
    return true;
}
