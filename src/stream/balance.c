/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

/*
 * Which leases this worker should have. As the Kinesis Client Library: everybody aims at ceil(leases /
 * workers) of those that can be worked on, takes what is free, and if nothing is, takes one at a time from
 * the worker that has the most. But asks for it first: the owner finishes what is in its user's hands,
 * checkpoints, and hands over.
 */

/** What there is to share. Every owner's live leases are counted in its name. */
typedef struct loads {
    size_t leases; /* that can be worked on */
    size_t mine;
    size_t owners; /* of live ones, and this worker */
} loads;

static bool unfinished(const tr__shard *s)
{
    return s->lease->row && s->phase != TR__PHASE_FINISHED;
}

/** Not of another stream, and its parent is finished. */
static bool workable(tr__core *core, const tr__shard *s)
{
    return unfinished(s) && (s->listed || s->lease->kin || s->lease->nowhere) &&
           tr__graph_parent_done(core, s);
}

/** What was not seen to change for the fail-over time is nobody's; time in which nobody looked proves
 * nothing. */
static bool live(const tr__core *core, const tr__lease *l)
{
    return l->mine || (l->owner[0] && l->looked_ms - l->observed_ms < core->fleet->failover_ms);
}

static tr__name *name_of(const tr__lease *l)
{
    return container_of(l->owner, tr__name, text);
}

static loads count_all(tr__core *core)
{
    tr__fleet *f = core->fleet;
    loads ls = {.owners = 1};
    for (tr__name *n = f->names; n; n = n->hh.next)
        n->leases = 0;
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        if (!workable(core, s))
            continue;
        ls.leases++;
        const tr__lease *l = s->lease;
        if (l->mine)
            ls.mine += !l->giving;
        else if (live(core, l) && strcmp(l->owner, f->worker) != 0)
            ls.owners += name_of(l)->leases++ == 0;
    }
    f->workers = ls.owners;
    return ls;
}

/** Takes up to `need` of the leases that nobody holds, beginning anywhere, so that workers do not run into
 * each other. */
static size_t take_free(tr__core *core, size_t need)
{
    size_t taken = 0, skip = core->shard_count ? tr_rng_below(&core->rng, core->shard_count) : 0;
    for (int round = 0; round < 2 && taken < need; round++) {
        size_t i = 0;
        for (tr__shard *s = core->shards; s && taken < need; s = s->hh.next, i++) {
            tr__lease *l = s->lease;
            if ((round == 0) == (i < skip) || l->call_id || l->timer.slot || l->wanted || l->mine ||
                !workable(core, s) || live(core, l))
                continue;
            l->wanted = true;
            taken++;
            tr__lease_next(core, l);
        }
    }
    return taken;
}

static const tr__name *most_loaded(const tr__core *core)
{
    const tr__name *most = NULL;
    for (const tr__name *n = core->fleet->names; n; n = n->hh.next)
        if (n->leases && (!most || n->leases > most->leases))
            most = n;
    return most;
}

static void ask_for_one(tr__core *core, size_t target, size_t need)
{
    const tr__name *most = most_loaded(core);
    if (!most || most->leases < target || (most->leases == target && need < 2) || most->leases < 2)
        return;
    size_t pick = tr_rng_below(&core->rng, most->leases);
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        tr__lease *l = s->lease;
        if (!workable(core, s) || l->mine || l->owner != most->text || !live(core, l))
            continue;
        if (pick-- > 0)
            continue;
        if (l->call_id || l->timer.slot || l->handover_to[0])
            return;
        core->fleet->asked = s;
        core->fleet->asked_ms = core->now;
        tr__lease_do(core, l, TR__LEASE_ASK);
        return;
    }
}

/** The owner has not given it in time: taken without its consent; its writes fail from then on. */
static void press(tr__core *core)
{
    tr__fleet *f = core->fleet;
    tr__shard *s = f->asked;
    tr__lease *l = s->lease;
    if (l->mine || !unfinished(s) || !live(core, l)) {
        f->asked = NULL;
        return;
    }
    if (core->now - f->asked_ms < f->handover_ms || l->call_id)
        return;
    f->asked = NULL;
    if (strcmp(l->handover_to, f->worker) != 0)
        return; /* it has changed hands meanwhile */
    l->wanted = true;
    tr__lease_next(core, l);
}

void tr__fleet_balance(tr__core *core)
{
    tr__fleet *f = core->fleet;
    if (core->stage != TR__STAGE_RUN || core->stopping)
        return;
    if (f->asked)
        press(core);
    loads ls = count_all(core);
    size_t target = (ls.leases + ls.owners - 1) / ls.owners;
    if (f->max_leases && target > f->max_leases)
        target = f->max_leases;
    size_t need = target > ls.mine ? target - ls.mine : 0;
    size_t taken = need ? take_free(core, need) : 0;
    if (need && !taken && !f->asked)
        ask_for_one(core, target, need);
}
