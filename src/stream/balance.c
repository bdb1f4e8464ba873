/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

/*
 * Which leases this worker should have. As the Kinesis Client Library: everybody aims at ceil(leases /
 * workers) of those that can be worked on, takes what is free, and if nothing is, takes one at a time from
 * the worker that has the most. But asks for it first: the owner finishes what is in its user's hands,
 * checkpoints, and hands over.
 */

typedef struct load {
    const char *owner;
    size_t leases;
} load;

/** Counts of leases by owner; only the owners of live ones are there, this worker first. */
typedef struct loads {
    load *list;
    size_t count, capacity;
    size_t leases; /* that can be worked on */
} loads;

static bool unfinished(const tr__shard *s)
{
    return s->lease->row && s->phase != TR__PHASE_FINISHED;
}

/** Not of another stream, and its parent is finished. */
static bool workable(tr__core *core, const tr__shard *s)
{
    return unfinished(s) && (s->listed || s->lease->nowhere) && tr__graph_parent_done(core, s);
}

static bool live(const tr__core *core, const tr__lease *l)
{
    return l->mine || (l->owner[0] && core->now - l->observed_ms < core->fleet->failover_ms);
}

static bool count_for(loads *ls, const char *owner, size_t n)
{
    for (size_t i = 0; i < ls->count; i++) {
        if (strcmp(ls->list[i].owner, owner) == 0) {
            ls->list[i].leases += n;
            return true;
        }
    }
    if (ls->count == ls->capacity) {
        size_t capacity = ls->capacity ? ls->capacity * 2 : 16;
        load *list = tr_realloc(ls->list, capacity * sizeof *list);
        if (!list)
            return false;
        ls->list = list;
        ls->capacity = capacity;
    }
    ls->list[ls->count++] = (load){.owner = owner, .leases = n};
    return true;
}

static bool count_all(tr__core *core, loads *ls)
{
    bool ok = count_for(ls, core->fleet->worker, 0);
    for (tr__shard *s = core->shards; s && ok; s = s->hh.next) {
        if (!workable(core, s))
            continue;
        ls->leases++;
        tr__lease *l = s->lease;
        if (l->mine ? !l->giving : live(core, l))
            ok = count_for(ls, l->mine ? core->fleet->worker : l->owner, 1);
    }
    return ok;
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

static const load *most_loaded(const loads *ls)
{
    const load *most = NULL;
    for (size_t i = 1; i < ls->count; i++)
        if (!most || ls->list[i].leases > most->leases)
            most = &ls->list[i];
    return most;
}

static void ask_for_one(tr__core *core, const loads *ls, size_t target, size_t need)
{
    const load *most = most_loaded(ls);
    if (!most || most->leases < target || (most->leases == target && need < 2) || most->leases < 2)
        return;
    size_t pick = tr_rng_below(&core->rng, most->leases);
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        tr__lease *l = s->lease;
        if (!workable(core, s) || l->mine || strcmp(l->owner, most->owner) != 0 || !live(core, l))
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
    loads ls = {0};
    if (count_all(core, &ls)) {
        size_t target = (ls.leases + ls.count - 1) / ls.count;
        if (f->max_leases && target > f->max_leases)
            target = f->max_leases;
        size_t mine = ls.list[0].leases, need = target > mine ? target - mine : 0;
        size_t taken = need ? take_free(core, need) : 0;
        if (need && !taken && !f->asked)
            ask_for_one(core, &ls, target, need);
    }
    tr_free(ls.list);
}
