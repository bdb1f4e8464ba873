/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

/*
 * Checkpoints of a consumer that is not in a fleet: the whole state in one document. Every position has a
 * version; a save notes the versions it holds, and what it held is durable once it succeeded. Ends of shards
 * are saved at once, since their children wait for that; anything else at most every checkpoint_ms.
 */

static bool nothing_keeps(const tr__core *core)
{
    return !core->has_store && !core->o.user_checkpoints && !core->fleet;
}

static bool clean(const tr__core *core)
{
    return core->unsaved == 0 && core->graph_saved == core->graph_version;
}

static void schedule(tr__core *core, int64_t delay_ms)
{
    if (!core->save_timer.slot || core->save_timer.at_ms > core->now + delay_ms)
        tr__timer_set(core, &core->save_timer, core->now + delay_ms);
}

void tr__save_done(tr__core *core, tr__shard *s)
{
    if (s->saving == s->saved)
        return;
    s->saved = s->saving;
    s->saved_pos = s->saving_pos;
    if (s->saved == s->version)
        core->unsaved--;
    if (!s->end_version || s->saved < s->end_version || s->phase != TR__PHASE_DRAINING)
        return;
    tr__shard_phase(core, s, TR__PHASE_FINISHED);
    tr__info_shards(core, TR_STREAM_SHARDS_REMOVED, s->id);
    if (!s->children && !core->gone)
        tr__listing_children(core, s);
    tr__graph_advance_children(core, s);
    tr__caught_check(core);
    tr__succession_check(core);
}

void tr__save_changed(tr__core *core, tr__shard *s)
{
    if (core->fleet && !s->lease->mine) {
        s->saved = ++s->version; /* a position is kept only by whoever holds the lease */
        return;
    }
    if (s->version == s->saved)
        core->unsaved++;
    s->version++;
    bool end = s->ack.kind == TR__POS_END && !s->end_version;
    if (end)
        s->end_version = s->version;
    if (core->fleet) {
        tr__lease_changed(core, s);
    } else if (nothing_keeps(core)) {
        s->saving = s->version;
        s->saving_pos = s->ack;
        tr__save_done(core, s);
    } else if (core->stage == TR__STAGE_RUN) {
        schedule(core, end ? 0 : core->o.checkpoint_ms);
    }
}

void tr__save_graph(tr__core *core)
{
    core->graph_version++;
    if (!core->fleet && !nothing_keeps(core) && core->stage == TR__STAGE_RUN)
        schedule(core, core->o.checkpoint_ms);
}

void tr__save_due(tr__core *core, tr__timer *timer)
{
    (void)timer;
    if (!clean(core))
        tr__save_now(core);
}

/** Notes which versions the document holds. */
static void snapshot(tr__core *core)
{
    core->saving = true;
    core->graph_saving = core->graph_version;
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        s->saving = s->version;
        s->saving_pos = s->ack;
    }
}

static void saved(tr__core *core)
{
    core->saving = false;
    core->save_failures = 0;
    core->has_save_error = false;
    core->graph_saved = core->graph_saving;
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        tr__save_done(core, s);
    }
    if (core->stage == TR__STAGE_SAVE)
        tr__core_stage(core, TR__STAGE_RUN);
    if (!clean(core) && !core->saving)
        schedule(core, core->save_wanted ? 0 : core->o.checkpoint_ms);
    core->save_wanted = false;
}

void tr__save_now(tr__core *core)
{
    if (core->fleet || core->stage < TR__STAGE_SAVE)
        return;
    if (core->saving) {
        core->save_wanted = true;
        return;
    }
    if (nothing_keeps(core)) {
        snapshot(core);
        saved(core);
        return;
    }
    if (core->o.user_checkpoints) {
        if (!core->checkpoint_told)
            tr__core_told(core, TR_STREAM_CHECKPOINT);
        core->checkpoint_told = true;
        return;
    }
    tr_buf_reset(&core->text);
    tr__state_write(core, &core->text);
    if (tr_buf_status(&core->text) || !tr__core_send(core, TR__REQ_SAVE, NULL)) {
        tr_error e;
        (void)tr_fail(&e, TR_ENOMEM, "no memory for the state");
        tr__answer failed = {.code = TR_ENOMEM, .error = &e};
        tr__save_answer(core, &failed);
        return;
    }
    snapshot(core);
}

void tr__save_answer(tr__core *core, tr__answer *a)
{
    if (a->code == 0) {
        saved(core);
        return;
    }
    core->saving = core->save_wanted = false;
    core->save_failures++;
    core->has_save_error = true;
    if (a->error)
        core->save_error = *a->error;
    else
        (void)tr_fail(&core->save_error, a->code, "%s", tr_strerror(a->code));
    int64_t delay = tr__core_backoff(core, core->save_failures);
    tr__core_failed(core, NULL, "save", core->save_failures, delay, &core->save_error);
    tr__timer_set(core, &core->save_timer, core->now + delay);
}

int tr__core_checkpoint_begin(tr__core *core, tr_buf *ret_json, uint64_t *ret_token)
{
    if (!core->o.user_checkpoints)
        return TR_EINVAL;
    if (core->saving)
        return TR_EBUSY;
    size_t len = ret_json->len;
    tr__state_write(core, ret_json);
    if (tr_buf_status(ret_json)) {
        int code = tr_buf_status(ret_json);
        ret_json->len = len;
        return code;
    }
    core->checkpoint_told = false;
    if (core->stage >= TR__STAGE_SAVE) {
        snapshot(core);
        core->token++;
        core->stats.saves++;
    }
    *ret_token = core->token;
    return 0;
}

void tr__core_checkpoint_end(tr__core *core, uint64_t token, int code)
{
    if (!core->saving || token != core->token)
        return;
    tr__answer a = {.code = code};
    tr__save_answer(core, &a);
}
