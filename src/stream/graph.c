/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

#include <stdio.h>

/*
 * A shard's way:
 *
 *              parent finished,              last page          all acknowledged,
 *              started, lease held           has come           end saved
 *   WAITING ------------------------> READING ------> DRAINING ------------------> FINISHED --> forgotten,
 * once it ^                                 |               |                                       has left
 * the stream
 *      +---------------------------------+---------------+
 *                        lease lost (fleet)
 */

/** Timers that a shard may have set at a time: reader, child lookup, lease and its expiry, and one per lane.
 */
static size_t timers_of_shard(const tr__core *core)
{
    return 4 + (core->o.parallelism ? core->o.parallelism : 1);
}

static size_t lanes_of_shard(const tr__core *core)
{
    return core->o.parallelism ? core->o.parallelism : 1;
}

tr__shard *tr__graph_find(const tr__core *core, tr_view id)
{
    tr__shard *shard = NULL;
    if (id.len && id.len <= TR_SHARD_ID_MAX)
        HASH_FIND(hh, core->shards, id.ptr, id.len, shard);
    return shard;
}

static bool usable_id(tr_view id)
{
    return id.len > 0 && id.len <= TR_SHARD_ID_MAX && !memchr(id.ptr, 0, id.len);
}

static void init_shard(tr__core *core, tr__shard *s, tr_view id, tr_view parent)
{
    memcpy(s->id, id.ptr, id.len);
    if (parent.len)
        memcpy(s->parent, parent.ptr, parent.len);
    s->ack = tr__pos_beginning(core, s->id);
    s->saved_pos = s->ack;
    s->timer.fn = tr__reader_due;
    s->lookup_timer.fn = tr__listing_lookup_due;
    s->tip_ms = s->acked_time_ms = s->page_ms = s->looked_ms = s->settled_ms = -1;
    s->version = 1; /* not saved yet */
    for (size_t i = 0; i < lanes_of_shard(core); i++) {
        s->lanes[i].shard = s;
        s->lanes[i].timer.fn = tr__lane_due;
    }
}

static int reserve(tr__core *core)
{
    if (tr__timers_reserve(&core->timers, timers_of_shard(core)))
        return TR_ENOMEM;
    if (tr__lanes_reserve(core, lanes_of_shard(core))) {
        tr__timers_release(&core->timers, timers_of_shard(core));
        return TR_ENOMEM;
    }
    return 0;
}

static void release(tr__core *core)
{
    tr__timers_release(&core->timers, timers_of_shard(core));
    core->lane_reserved -= lanes_of_shard(core);
}

static void free_shard(tr__shard *s)
{
    tr_free(s->iterator);
    tr_free(s->note_iterator);
    tr_free(s->export_iterator);
    tr_free(s->lanes);
    tr_free(s);
}

int tr__graph_add(tr__core *core, tr_view id, tr_view parent, tr__shard **ret_shard)
{
    if (!usable_id(id) || (parent.len && !usable_id(parent)))
        return TR_EPARSE;
    if (core->shard_count >= TR__SHARDS_MAX)
        return TR_ELIMIT;
    tr__shard *s = tr_calloc(1, sizeof *s);
    if (!s || reserve(core)) {
        tr_free(s);
        return TR_ENOMEM;
    }
    s->lanes = tr_calloc(lanes_of_shard(core), sizeof *s->lanes);
    bool ok = s->lanes && (!core->fleet || tr__lease_init(core, s) == 0);
    if (ok) {
        init_shard(core, s, id, parent);
        HASH_ADD(hh, core->shards, id, id.len, s);
    }
    if (!ok || !s->hh.tbl) {
        tr__lease_forget(core, s);
        release(core);
        free_shard(s);
        return TR_ENOMEM;
    }
    core->shard_count++;
    core->phase_count[TR__PHASE_WAITING]++;
    if (core->fleet)
        s->saved = s->version; /* a position is kept only by whoever holds the lease */
    else
        core->unsaved++;
    tr__shard_recount(core, s);
    tr__shard *p = tr__graph_find(core, parent);
    if (p)
        p->children++;
    *ret_shard = s;
    return 0;
}

/** No request may find its way back to a shard that is about to go. */
static void forget_calls(tr__core *core, const tr__shard *s)
{
    for (tr__pending *call = core->pending; call; call = call->hh.next) {
        if (call->shard == s) {
            call->shard = NULL;
            call->epoch = UINT64_MAX;
        }
    }
}

void tr__graph_remove(tr__core *core, tr__shard *s)
{
    tr__reader_close(core, s);
    tr__deliver_forget(core, s);
    tr__timer_stop(core, &s->lookup_timer);
    tr__listing_forget(core, s);
    forget_calls(core, s);
    if (s->version != s->saved)
        core->unsaved--;
    if (core->fleet && s->lease->nowhere)
        core->fleet->nowhere_open -= s->phase != TR__PHASE_FINISHED;
    core->phase_count[s->phase]--;
    core->shard_count--;
    if (s->counted_behind)
        core->behind--;
    tr__lease_forget(core, s);
    HASH_DEL(core->shards, s);
    release(core);
    free_shard(s);
}

void tr__graph_clear(tr__core *core)
{
    core->epoch++; /* so that answers under way are dropped */
    core->describing = core->listing = core->saving = core->succession = false;
    core->exports = core->exports_sent = 0;
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        tr__graph_remove(core, s);
    }
    if (core->fleet)
        tr__fleet_reset(core);
}

void tr__shard_recount(tr__core *core, tr__shard *s)
{
    bool behind = s->phase != TR__PHASE_FINISHED && !s->caught && tr__lease_ours(core, s);
    if (behind && !s->counted_behind)
        core->behind++;
    if (!behind && s->counted_behind)
        core->behind--;
    s->counted_behind = behind;
}

void tr__shard_phase(tr__core *core, tr__shard *s, tr__phase phase)
{
    if (core->fleet && s->lease->nowhere) {
        core->fleet->nowhere_open -= s->phase != TR__PHASE_FINISHED;
        core->fleet->nowhere_open += phase != TR__PHASE_FINISHED;
    }
    core->phase_count[s->phase]--;
    s->phase = phase;
    core->phase_count[phase]++;
    if (core->fleet && s->lease->nowhere && core->fleet->nowhere_open == 0)
        tr__graph_advance(core);
    tr__shard_recount(core, s);
}

/* --------------------------------------------------------------------------------------- caught up */

void tr__caught_check(tr__core *core)
{
    if (core->caught_up || core->behind || core->stage != TR__STAGE_RUN || !core->listings_complete ||
        core->phase_count[TR__PHASE_READING] + core->phase_count[TR__PHASE_FINISHED] == 0 ||
        tr__core_settled_ms(core) < 0)
        return;
    core->caught_up = true;
    tr__core_told(core, TR_STREAM_CAUGHT_UP);
}

void tr__shard_caught(tr__core *core, tr__shard *s, bool caught)
{
    s->caught = caught;
    tr__shard_recount(core, s);
    tr__caught_check(core);
}

/* --------------------------------------------------------------------------------------- positions */

/** The time in "shardId-<20 digits: milliseconds since 1970>-<hex>", or -1. */
int64_t tr__shard_time(const char *id)
{
    static const char prefix[] = "shardId-";
    if (strncmp(id, prefix, sizeof prefix - 1) != 0)
        return -1;
    const char *digits = id + sizeof prefix - 1;
    size_t n = strspn(digits, "0123456789");
    uint64_t ms;
    if (n != 20 || digits[n] != '-' || tr_view_to_u64(tr_view_of(digits, n), INT64_MAX, &ms))
        return -1;
    const uint64_t least = UINT64_C(1262304000000), most = UINT64_C(4102444800000); /* 2010, 2100 */
    return ms >= least && ms <= most ? (int64_t)ms : -1;
}

int64_t tr__shard_born(const tr__core *core, const char *id)
{
    int64_t now = tr__core_service_now(core), born = tr__shard_time(id);
    return born >= 0 && born < now ? born : now;
}

tr__pos tr__pos_beginning(const tr__core *core, const char *id)
{
    return (tr__pos){.kind = TR__POS_TRIM,
                     .since_ms = core->since_ms,
                     .floor = core->floor,
                     .floor_inclusive = core->floor_inclusive,
                     .born_ms = tr__shard_born(core, id)};
}

/* ---------------------------------------------------------------------------------- parents, children */

/**
 * A parent that no listing shows was trimmed, or is listed late. Its children are a retention old if it was
 * trimmed; where their age is not known, several listings and some seconds decide.
 */
static bool parent_is_trimmed(const tr__core *core, const tr__shard *s)
{
    if (core->listings_complete == 0 || core->listings_complete < s->first_listing)
        return false;
    if (core->server == TR__SERVER_TAILRACE || !s->listed)
        return true;
    int64_t born = tr__shard_time(s->id), margin_ms = core->o.retention_ms / 24;
    if (born >= 0 && tr__core_service_now(core) - born >= core->o.retention_ms - margin_ms)
        return true;
    return core->listings_complete + 1 >= s->first_listing + TR__ABSENT_LISTINGS &&
           core->now - s->found_ms >= TR__ORPHAN_WAIT_MS;
}

bool tr__graph_parent_done(const tr__core *core, const tr__shard *s)
{
    /* what the stream before this one has left unread must be told first */
    if (core->fleet && core->fleet->nowhere_open && !s->lease->nowhere)
        return false;
    if (!s->parent[0])
        return true;
    tr__shard *p = tr__graph_find(core, tr_view_str(s->parent));
    return p ? p->phase == TR__PHASE_FINISHED : parent_is_trimmed(core, s);
}

/** Whether a shard waits only for more listings to tell that its parent is gone. */
bool tr__graph_has_doubtful(tr__core *core)
{
    if (!core->phase_count[TR__PHASE_WAITING])
        return false;
    for (tr__shard *s = core->shards; s; s = s->hh.next)
        if (s->phase == TR__PHASE_WAITING && s->listed && s->parent[0] &&
            !tr__graph_find(core, tr_view_str(s->parent)) && !parent_is_trimmed(core, s))
            return true;
    return false;
}

void tr__graph_advance_one(tr__core *core, tr__shard *s)
{
    bool may = core->stage == TR__STAGE_RUN && !core->stopping;
    if (may && s->phase == TR__PHASE_WAITING && tr__lease_ours(core, s) && tr__graph_parent_done(core, s))
        tr__reader_open(core, s);
}

void tr__graph_advance(tr__core *core)
{
    if (core->stage != TR__STAGE_RUN || core->stopping)
        return;
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        tr__graph_advance_one(core, s);
    }
    tr__caught_check(core);
}

void tr__graph_advance_children(tr__core *core, const tr__shard *parent)
{
    if (core->stage != TR__STAGE_RUN || core->stopping)
        return;
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        if (strcmp(s->parent, parent->id) == 0)
            tr__graph_advance_one(core, s);
    }
}

void tr__graph_count_children(tr__core *core)
{
    for (tr__shard *s = core->shards; s; s = s->hh.next)
        s->children = 0;
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        tr__shard *p = tr__graph_find(core, tr_view_str(s->parent));
        if (p)
            p->children++;
    }
}
