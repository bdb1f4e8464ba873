/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

#include <stdio.h>

/*
 * One shard's lease. At most one request of it is under way at a time; every write is conditional on the
 * counter that we know, and raises it, so that of two workers who believe to hold it only one can write.
 *
 *              TAKE: ours is the row now          GIVE: last checkpoint, owner taken off or changed
 *   not ours ---------------------------> mine ----------------------------------------------------> not ours
 *                                        |    ^
 *                    a write was refused |    | KEEP every third of the fail-over time, and with checkpoints
 *                                        v    |
 *                                        LOOK at the row: somebody else's? then it is lost
 *
 * Held is not the same as valid: nine tenths of the fail-over time after the last write that succeeded was
 * sent, nothing is handed out any more until the next one succeeds, since from then on another worker may
 * take the lease. Both use their own monotonic clocks only: we from the sending of our write, they from
 * seeing its effect, which is later.
 */

bool tr__lease_ours(const tr__core *core, const tr__shard *s)
{
    return !core->fleet || s->lease->mine;
}

bool tr__lease_may_deliver(const tr__core *core, const tr__shard *s)
{
    /* of a finished shard only a gap can be left to tell */
    return !core->fleet || (s->lease->valid && !s->lease->giving) || s->phase == TR__PHASE_FINISHED;
}

static bool is_me(const tr__core *core, const char *owner)
{
    return strcmp(owner, core->fleet->worker) == 0;
}

static size_t handed_out(const tr__core *core, const tr__shard *s)
{
    size_t out = 0;
    for (size_t i = 0; i < (core->o.parallelism ? core->o.parallelism : 1); i++)
        out += s->lanes[i].out;
    return out;
}

/* ------------------------------------------------------------------------------------------ what to do */

static tr__lease_act what(const tr__core *core, const tr__lease *l)
{
    const tr__shard *s = l->shard;
    if (!l->mine)
        return l->wanted ? TR__LEASE_TAKE : TR__LEASE_NOTHING;
    if (s->ack.kind == TR__POS_END && s->version != s->saved)
        return TR__LEASE_GIVE;
    bool patient = core->now - l->giving_ms < core->fleet->handover_ms * 6 / 10;
    if (l->giving && (handed_out(core, s) == 0 || !patient))
        return TR__LEASE_GIVE;
    return TR__LEASE_KEEP;
}

void tr__lease_do(tr__core *core, tr__lease *l, tr__lease_act act)
{
    static const tr__req_kind kinds[] = {
        [TR__LEASE_TAKE] = TR__REQ_LEASE_WRITE, [TR__LEASE_KEEP] = TR__REQ_LEASE_WRITE,
        [TR__LEASE_GIVE] = TR__REQ_LEASE_WRITE, [TR__LEASE_LOOK] = TR__REQ_LEASE_GET,
        [TR__LEASE_MAKE] = TR__REQ_LEASE_PUT,   [TR__LEASE_ASK] = TR__REQ_LEASE_ASK,
        [TR__LEASE_DROP] = TR__REQ_LEASE_DELETE};
    assert(!l->call_id && act != TR__LEASE_NOTHING);
    tr__timer_stop(core, &l->timer);
    l->doing = act;
    tr__pending *call = tr__core_send(core, kinds[act], l->shard);
    if (!call) {
        l->failures++;
        tr__timer_set(core, &l->timer, core->now + core->o.retry_min_ms + 1);
        return;
    }
    call->lease = l;
    l->call_id = call->id;
}

void tr__lease_next(tr__core *core, tr__lease *l)
{
    if (l->call_id || (l->failures && l->timer.slot))
        return;
    tr__lease_act act = what(core, l);
    if (act == TR__LEASE_NOTHING || (act == TR__LEASE_KEEP && l->timer.slot))
        return;
    tr__lease_do(core, l, act);
}

static void timer_due(tr__core *core, tr__timer *timer)
{
    tr__lease *l = container_of(timer, tr__lease, timer);
    if (l->call_id)
        return;
    bool again = l->failures && (l->doing == TR__LEASE_LOOK || l->doing == TR__LEASE_MAKE);
    tr__lease_act act = again ? l->doing : what(core, l);
    if (act != TR__LEASE_NOTHING)
        tr__lease_do(core, l, act);
}

static void set_sooner(tr__core *core, tr__lease *l, int64_t at_ms)
{
    if (!l->timer.slot || l->timer.at_ms > at_ms)
        tr__timer_set(core, &l->timer, at_ms);
}

/** Sets the time of the next write of a lease that we hold. */
static void plan(tr__core *core, tr__lease *l)
{
    int64_t at = l->renewed_ms + core->fleet->failover_ms / 3;
    if (l->shard->version != l->shard->saved && at > core->now + core->o.checkpoint_ms)
        at = core->now + core->o.checkpoint_ms;
    if (l->giving && at > l->giving_ms + core->fleet->handover_ms * 6 / 10)
        at = l->giving_ms + core->fleet->handover_ms * 6 / 10;
    tr__timer_set(core, &l->timer, at > core->now ? at : core->now + 1);
}

/* ----------------------------------------------------------------------------------------------- validity */

static void expiry_due(tr__core *core, tr__timer *timer)
{
    tr__lease *l = container_of(timer, tr__lease, expiry);
    l->valid = false;
    tr__reader_close(core, l->shard);
    tr__deliver_lanes(core, l->shard);
    tr_log(&core->o.logger, TR_LOG_WARN, "the lease of %s could not be renewed in time: paused",
           l->shard->id);
}

static void renewed(tr__core *core, tr__lease *l, int64_t sent_ms)
{
    l->renewed_ms = sent_ms;
    l->failures = 0;
    int64_t until = sent_ms + core->fleet->failover_ms - core->fleet->failover_ms / 10;
    if (until <= core->now)
        return; /* the answer came so late that it proves nothing any more */
    tr__timer_set(core, &l->expiry, until);
    if (l->valid)
        return;
    l->valid = true;
    tr__deliver_lanes(core, l->shard);
    if (l->shard->phase == TR__PHASE_READING && !core->stopping && !l->giving)
        tr__reader_queue(core, l->shard);
}

/* ------------------------------------------------------------------------------------ gain and loss */

/** Whatever was read is forgotten: the next owner reads it again from the checkpoint. */
static void put_away(tr__core *core, tr__lease *l)
{
    tr__shard *s = l->shard;
    l->mine = l->valid = l->giving = l->wanted = false;
    core->fleet->held--;
    tr__timer_stop(core, &l->timer);
    tr__timer_stop(core, &l->expiry);
    tr__reader_close(core, s);
    tr__deliver_forget(core, s);
    tr_free(s->iterator);
    s->iterator = NULL;
    if (s->version != s->saved)
        core->unsaved--;
    s->saved = s->version;
    s->end_version = 0;
    if (s->phase == TR__PHASE_READING || s->phase == TR__PHASE_DRAINING)
        tr__shard_phase(core, s, TR__PHASE_WAITING);
    else
        tr__shard_recount(core, s);
    tr__caught_check(core);
}

void tr__lease_lost(tr__core *core, tr__lease *l)
{
    tr_log(&core->o.logger, TR_LOG_INFO, "the lease of %s is another worker's now", l->shard->id);
    put_away(core, l);
    tr__info_shards(core, TR_STREAM_SHARDS_REMOVED, l->shard->id);
}

static void gained(tr__core *core, tr__lease *l, const tr__row *row, int64_t sent_ms)
{
    tr__shard *s = l->shard;
    l->wanted = l->giving = false;
    if (core->fleet->asked == s)
        core->fleet->asked = NULL;
    if (tr__pos_read(s, row->checkpoint, row->start)) {
        tr_error e;
        (void)tr_fail(&e, TR_ECORRUPT, "the lease of %s has a checkpoint that is none: %.*s", s->id,
                      TR_FMT(row->checkpoint));
        tr__core_failed(core, s, "lease", 1, core->fleet->failover_ms, &e);
        return; /* it will run out, and be tried again */
    }
    if (s->ack.kind == TR__POS_END)
        return;
    l->mine = true;
    core->fleet->held++;
    tr_free(s->iterator); /* it was of another place */
    s->iterator = NULL;
    s->saved_pos = s->ack;
    s->end_version = 0;
    s->ended = false;
    if (s->ack.kind == TR__POS_LATEST && s->ack.since_ms < 0) {
        /* written by a library that has no more to say: the start is now, and is made durable with the next
         * write */
        s->ack.since_ms = s->ack.born_ms = tr__core_service_now(core) - TR__CLOCK_SLACK_MS;
        tr__save_changed(core, s);
    }
    /* a shard that came after the start must be read from its first record, however late; its parent tells it
     * from one that was there at the start, half trimmed */
    if (s->ack.kind == TR__POS_TRIM && s->ack.born_ms < 0 && tr__graph_find(core, tr_view_str(s->parent)))
        s->ack.born_ms = tr__shard_time(s->id);
    renewed(core, l, sent_ms);
    plan(core, l);
    tr__shard_recount(core, s);
    tr__info_shards(core, TR_STREAM_SHARDS_ADDED, s->id);
    if (core->stopping)
        tr__lease_give(core, l);
    else
        tr__graph_advance_one(core, s);
}

void tr__lease_give(tr__core *core, tr__lease *l)
{
    if (l->giving || !l->mine)
        return;
    l->giving = true;
    l->giving_ms = core->now;
    tr__reader_close(core, l->shard);
    tr__deliver_lanes(core, l->shard);
    plan(core, l);
    tr__lease_next(core, l);
}

void tr__lease_acked(tr__core *core, tr__shard *s)
{
    if (core->fleet && s->lease->giving)
        tr__lease_next(core, s->lease);
}

void tr__lease_changed(tr__core *core, tr__shard *s)
{
    tr__lease *l = s->lease;
    if (!l->mine || core->stage != TR__STAGE_RUN)
        return;
    if (s->ack.kind == TR__POS_END)
        tr__lease_next(core, l);
    else
        set_sooner(core, l, core->now + core->o.checkpoint_ms);
}

/* -------------------------------------------------------------------------------------------- requests */

static void fill_checkpoint(tr__lease *l, tr__req *req)
{
    tr__shard *s = l->shard;
    l->write_version = s->version;
    l->write_pos = s->ack;
    req->row.checkpoint = tr__pos_text(&s->ack);
    if (tr_view_is(req->row.checkpoint, "ITERATOR"))
        req->row.checkpoint =
            TR_VIEW("TRIM_HORIZON"); /* what the library knows; the iterator stands beside it */
    tr_buf_reset(&l->start);
    if (tr__pos_needs_extra(s, &s->ack)) {
        tr_json_writer w;
        tr_json_write_init(&w, &l->start);
        tr_json_begin_object(&w);
        tr__pos_write_extra(&w, s, &s->ack);
        tr_json_end_object(&w);
    }
    req->row.start = tr_buf_view(&l->start);
    req->row.owner_switches = 0;
}

static void fill_write(tr__core *core, tr__lease *l, tr__req *req)
{
    tr_view me = tr_view_str(core->fleet->worker);
    l->write_version = 0;
    req->expect_counter = l->counter;
    req->row.counter = l->counter + 1;
    req->row.owner_switches = l->owner_switches;
    req->row.owner = req->expect_owner = me;
    if (l->doing == TR__LEASE_TAKE) {
        req->expect_owner = tr_view_str(l->owner);
        req->row.owner_switches += l->owner[0] && !is_me(core, l->owner);
        req->clear_handover = true;
        return;
    }
    if (l->shard->version != l->shard->saved)
        fill_checkpoint(l, req);
    if (l->doing == TR__LEASE_GIVE) {
        bool end = l->shard->ack.kind == TR__POS_END;
        req->row.owner = end ? (tr_view){0} : tr_view_str(l->handover_to);
        req->clear_handover = true;
    }
}

bool tr__lease_fill(tr__core *core, tr__pending *call, tr__req *req)
{
    tr__fleet *f = core->fleet;
    core->stats.calls_lease++;
    req->table = tr_view_str(f->table);
    req->timeout_ms = f->failover_ms / 3 > 500 ? f->failover_ms / 3 : 500;
    if (!call->lease) {
        req->exclusive_start = tr_view_str(f->scan_start);
        return true;
    }
    tr__lease *l = call->lease;
    req->shard_id = req->row.key = tr_view_str(l->shard->id);
    switch (l->doing) {
    case TR__LEASE_MAKE:
        req->row.parent = tr_view_str(l->shard->parent);
        fill_checkpoint(l, req);
        break;
    case TR__LEASE_ASK:
        req->expect_owner = tr_view_str(l->owner);
        req->handover_to = tr_view_str(f->worker);
        break;
    case TR__LEASE_DROP:
        req->expect_counter = l->counter;
        break;
    case TR__LEASE_LOOK:
        break;
    default:
        fill_write(core, l, req);
        break;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- answers */

/** Whether the owner has been asked for it by somebody else. */
static void see_handover(tr__core *core, tr__lease *l)
{
    if (l->mine && l->handover_to[0] && !is_me(core, l->handover_to))
        tr__lease_give(core, l);
}

/** False if nothing has happened to the row. */
static bool know(tr__core *core, tr__lease *l, const tr__row *row)
{
    bool moved = !l->row || row->counter != l->counter || !tr_view_is(row->owner, l->owner);
    if (moved)
        l->observed_ms = core->now;
    l->row = true;
    l->seen = core->fleet->scan;
    l->looked_ms = core->now;
    l->counter = row->counter;
    l->owner_switches = row->owner_switches;
    l->owner = tr__fleet_name(core, row->owner);
    l->handover_to = tr__fleet_name(core, row->handover_to);
    return moved;
}

/** The position of a lease that is not ours: for balancing, and to see parents finished. */
static void look_on(tr__core *core, tr__shard *s, const tr__row *row)
{
    if (s->phase != TR__PHASE_WAITING || tr__pos_read(s, row->checkpoint, row->start))
        return;
    if (s->ack.since_ms >= 0 && (core->since_ms < 0 || s->ack.since_ms < core->since_ms))
        core->since_ms = s->ack.since_ms;
    if (s->ack.kind != TR__POS_END)
        return;
    s->closed = true;
    tr__shard_phase(core, s, TR__PHASE_FINISHED);
    tr__graph_advance_children(core, s);
    tr__succession_check(core);
}

void tr__lease_row(tr__core *core, tr__shard *s, const tr__row *row)
{
    tr__lease *l = s->lease;
    bool stale = l->row && row->counter < l->counter; /* read before a write that we know of */
    l->seen = core->fleet->scan;
    if (l->call_id || stale)
        return; /* our own request will tell */
    bool me = row->owner.len && tr_view_is(row->owner, core->fleet->worker);
    if (l->mine) {
        if (!me) {
            (void)know(core, l, row);
            tr__lease_lost(core, l);
            look_on(core, s, row);
        } else {
            l->handover_to = tr__fleet_name(core, row->handover_to);
            see_handover(core, l);
        }
        return;
    }
    /* an end that we had reached but could not save is not the row's */
    if (know(core, l, row) || core->stage != TR__STAGE_RUN || s->ack.kind == TR__POS_END)
        look_on(core, s, row);
    if (me && s->phase != TR__PHASE_FINISHED && !core->stopping) {
        /* handed over to us, or taken by a write whose answer was lost */
        l->wanted = true;
        tr__lease_next(core, l);
    }
}

static void row_is_gone(tr__core *core, tr__lease *l)
{
    l->row = false;
    l->counter = 0;
    l->owner = l->handover_to = "";
    l->vanished = core->fleet->scan;
    if (l->mine)
        tr__lease_lost(core, l);
}

void tr__lease_vanished(tr__core *core, tr__lease *l)
{
    row_is_gone(core, l);
}

static void written(tr__core *core, tr__lease *l)
{
    if (!l->write_version)
        return;
    l->shard->saving = l->write_version;
    l->shard->saving_pos = l->write_pos;
    core->has_save_error = false;
    core->stats.saves++;
    tr__save_done(core, l->shard);
}

static void kept(tr__core *core, tr__lease *l, const tr__pending *call, const tr__answer *a)
{
    l->counter++;
    if (l->write_version)
        l->owner_switches = 0;
    written(core, l);
    renewed(core, l, call->sent_ms);
    plan(core, l);
    if (a->count) {
        l->handover_to = tr__fleet_name(core, a->rows[0].handover_to);
        see_handover(core, l);
    }
    tr__lease_next(core, l);
}

static void given(tr__core *core, tr__lease *l)
{
    tr__shard *s = l->shard;
    bool end = s->ack.kind == TR__POS_END && l->write_version == s->version;
    l->counter++;
    l->owner = end ? "" : l->handover_to;
    l->handover_to = "";
    l->observed_ms = l->looked_ms = core->now;
    if (!end && s->ack.kind == TR__POS_END) {
        /* it was read to its end while the write was under way: that is for the next owner to find out */
        tr__lease_lost(core, l);
        return;
    }
    if (!end) {
        written(core, l);
        tr__lease_lost(core, l);
        return;
    }
    written(core, l); /* FINISHED, and its children may begin */
    l->mine = l->valid = l->giving = false;
    core->fleet->held--;
    tr__timer_stop(core, &l->timer);
    tr__timer_stop(core, &l->expiry);
    tr__shard_recount(core, s);
    tr__caught_check(core);
    tr__fleet_balance(core);
}

static void looked(tr__core *core, tr__lease *l, const tr__answer *a)
{
    l->failures = 0;
    if (a->count == 0) {
        row_is_gone(core, l);
        return;
    }
    const tr__row *row = &a->rows[0];
    bool me = row->owner.len && tr_view_is(row->owner, core->fleet->worker);
    (void)know(core, l, row);
    if (l->mine && !me)
        tr__lease_lost(core, l);
    if (!l->mine)
        look_on(core, l->shard, row);
    l->wanted = !l->mine && me && l->shard->phase != TR__PHASE_FINISHED && !core->stopping;
    tr__fleet_row_made(core);
    see_handover(core, l);
    /* a write of ours had succeeded after all: the next one follows at once */
    tr__timer_stop(core, &l->timer);
    tr__lease_next(core, l);
}

static void succeeded(tr__core *core, tr__lease *l, const tr__pending *call, const tr__answer *a)
{
    l->failures = 0;
    switch (l->doing) {
    case TR__LEASE_TAKE:
        if (a->count) {
            (void)know(core, l, &a->rows[0]);
            gained(core, l, &a->rows[0], call->sent_ms);
        }
        break;
    case TR__LEASE_KEEP:
        kept(core, l, call, a);
        break;
    case TR__LEASE_GIVE:
        given(core, l);
        break;
    case TR__LEASE_LOOK:
        looked(core, l, a);
        break;
    case TR__LEASE_MAKE:
        l->row = true;
        l->counter = l->owner_switches = 0;
        l->owner = l->handover_to = "";
        l->seen = core->fleet->scan;
        l->observed_ms = l->looked_ms = core->now;
        written(core, l);
        tr__fleet_row_made(core);
        break;
    case TR__LEASE_DROP:
        tr__graph_remove(core, l->shard);
        break;
    default:
        break;
    }
}

static void failed(tr__core *core, tr__lease *l, const tr__answer *a)
{
    static const char *const names[] = {"",           "lease taking", "lease renewal", "lease handover",
                                        "lease read", "lease making", "lease request", "lease removal"};
    l->failures++;
    int64_t most = core->fleet->failover_ms / 6, delay = tr__core_backoff(core, l->failures);
    if (delay > most)
        delay = most / 2 + 1 + tr_backoff_ms(&core->rng, 0, most / 2, most);
    tr__core_failed(core, l->shard, names[l->doing], l->failures, delay, a->error);
    if (l->mine && a->error) {
        core->save_error = *a->error;
        core->has_save_error = true;
    }
    if (l->doing == TR__LEASE_ASK && core->fleet->asked == l->shard)
        core->fleet->asked = NULL;
    if (!l->mine && l->doing != TR__LEASE_LOOK && l->doing != TR__LEASE_MAKE) {
        l->wanted = false; /* the next scan tells what has become of it */
        l->failures = 0;
        return;
    }
    tr__timer_set(core, &l->timer, core->now + delay);
}

void tr__lease_answer(tr__core *core, tr__pending *call, tr__answer *a)
{
    tr__lease *l = call->lease;
    if (!l) {
        tr__fleet_answer(core, call, a);
        return;
    }
    if (l->call_id != call->id)
        return;
    l->call_id = 0;
    if (a->code == 0) {
        succeeded(core, l, call, a);
        return;
    }
    if (a->code != TR_ECONFLICT) {
        failed(core, l, a);
        return;
    }
    if (l->doing == TR__LEASE_ASK && core->fleet->asked == l->shard)
        core->fleet->asked = NULL;
    l->wanted = false;
    l->failures = 0;
    tr__lease_do(core, l, TR__LEASE_LOOK);
}

/* ----------------------------------------------------------------------------------------- life and death */

int tr__lease_init(tr__core *core, tr__shard *s)
{
    (void)core;
    tr__lease *l = tr_calloc(1, sizeof *l);
    if (!l)
        return TR_ENOMEM;
    l->shard = s;
    l->owner = l->handover_to = "";
    l->timer.fn = timer_due;
    l->expiry.fn = expiry_due;
    tr_buf_init(&l->start, TR__ITERATOR_MAX + 1024);
    s->lease = l;
    return 0;
}

void tr__lease_forget(tr__core *core, tr__shard *s)
{
    tr__lease *l = s->lease;
    if (!l)
        return;
    tr__timer_stop(core, &l->timer);
    tr__timer_stop(core, &l->expiry);
    core->fleet->held -= l->mine;
    if (core->fleet->asked == s)
        core->fleet->asked = NULL;
    tr_buf_done(&l->start);
    tr_free(l);
    s->lease = NULL;
}

void tr__lease_drop(tr__core *core, tr__shard *s)
{
    tr__lease *l = s->lease;
    if (l->call_id || l->mine || core->stopping || !(s->listed || l->nowhere))
        return; /* an unlisted row may be of the stream that comes next */
    if (l->row)
        tr__lease_do(core, l, TR__LEASE_DROP);
    else
        tr__graph_remove(core, s);
}
