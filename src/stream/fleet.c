/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

#include <stdio.h>

/*
 * A worker's view of the lease table: made if missing, scanned again and again. And which of the table's
 * streams the fleet is working on, which the rows do not say: the oldest one that has shards with rows.
 */

/** Rows that are put at a time. */
#define MAKING_MAX 16

/** Workers who scan the lease table thrice in a fail-over time each; more of them scan less often. */
#define SCANNERS 32

static void scan_due(tr__core *core, tr__timer *timer);

int tr__fleet_new(tr__core *core, const tr_fleet_options *o)
{
    tr__fleet *f = tr_calloc(1, sizeof *f);
    if (!f)
        return TR_ENOMEM;
    core->fleet = f;
    f->no_create = o->no_create;
    f->failover_ms = o->failover_ms > 0 ? o->failover_ms : 10000;
    f->handover_ms = o->handover_ms > 0 ? o->handover_ms : f->failover_ms;
    f->max_leases = o->max_leases;
    f->scanners = SCANNERS;
    f->timer.fn = scan_due;
    f->table = tr_strdup(o->lease_table);
    char generated[64];
    (void)snprintf(generated, sizeof generated, "worker-%016llx",
                   (unsigned long long)tr_rng_next(&core->rng));
    f->worker = tr_strdup(o->worker_id && o->worker_id[0] ? o->worker_id : generated);
    return f->table && f->worker ? 0 : TR_ENOMEM;
}

void tr__core_set_scanners(tr__core *core, unsigned workers)
{
    core->fleet->scanners = workers;
}

void tr__fleet_free(tr__core *core)
{
    tr__fleet *f = core->fleet;
    if (!f)
        return;
    tr__name *name, *tmp;
    HASH_ITER(hh, f->names, name, tmp)
    {
        HASH_DEL(f->names, name);
        tr_free(name);
    }
    tr_free(f->table);
    tr_free(f->worker);
    tr_free(f->arns);
    tr_free(f->labels);
    tr_free(f);
    core->fleet = NULL;
}

/* ------------------------------------------------------------------------------------------------ names */

const char *tr__fleet_name(tr__core *core, tr_view text)
{
    tr__fleet *f = core->fleet;
    tr__name *name = NULL;
    size_t len = text.len <= TR__WORKER_ID_MAX ? text.len : TR__WORKER_ID_MAX;
    if (len)
        HASH_FIND(hh, f->names, text.ptr, len, name);
    if (!len || name)
        return name ? name->text : "";
    name = tr_calloc(1, sizeof *name + len + 1);
    if (!name)
        return ""; /* a lease without an owner is not taken for that: its row has one */
    memcpy(name->text, text.ptr, len);
    HASH_ADD_KEYPTR(hh, f->names, name->text, len, name);
    if (!name->hh.tbl) {
        tr_free(name);
        return "";
    }
    return name->text;
}

static void use_name(const char *text, uint64_t scan)
{
    if (text[0])
        container_of(text, tr__name, text)->used = scan;
}

/** Forgets the names of workers that are in no row. */
static void forget_names(tr__core *core)
{
    tr__fleet *f = core->fleet;
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        use_name(s->lease->owner, f->scan);
        use_name(s->lease->handover_to, f->scan);
    }
    tr__name *name, *tmp;
    HASH_ITER(hh, f->names, name, tmp)
    {
        if (name->used == f->scan)
            continue;
        HASH_DEL(f->names, name);
        tr_free(name);
    }
}

int64_t tr__fleet_share(const tr__core *core)
{
    return core->fleet && core->fleet->workers > 1 ? (int64_t)core->fleet->workers : 1;
}

/* ------------------------------------------------------------------------------------------------ scans */

static void again(tr__core *core, const char *doing, const tr_error *error)
{
    tr__fleet *f = core->fleet;
    f->failures++;
    int64_t delay = tr__core_backoff(core, f->failures);
    tr__core_failed(core, NULL, doing, f->failures, delay, error);
    tr__timer_set(core, &f->timer, core->now + delay);
}

static void request(tr__core *core, tr__req_kind kind)
{
    if (!tr__core_send(core, kind, NULL))
        again(core, "lease table", NULL);
}

static void scan(tr__core *core)
{
    tr__fleet *f = core->fleet;
    tr__timer_stop(core, &f->timer);
    if (!f->scanning) {
        f->scanning = true;
        f->scan++;
        f->scan_start[0] = 0;
    }
    request(core, TR__REQ_LEASE_SCAN);
}

static void scan_due(tr__core *core, tr__timer *timer)
{
    (void)timer;
    if (core->stage == TR__STAGE_LEASES && !core->fleet->ready)
        request(core, TR__REQ_LEASE_DESCRIBE);
    else
        scan(core);
}

void tr__fleet_start(tr__core *core)
{
    request(core, TR__REQ_LEASE_DESCRIBE);
}

void tr__fleet_reset(tr__core *core)
{
    tr__fleet *f = core->fleet;
    f->scanning = false;
    f->making = 0;
    f->asked = NULL;
    if (!core->stopping)
        tr__timer_set(core, &f->timer, core->now + 1);
}

static void table_known(tr__core *core, const tr__answer *a)
{
    tr__fleet *f = core->fleet;
    if (a->code == 0 && tr_view_is(a->status, "ACTIVE")) {
        f->ready = true;
        f->failures = 0;
        scan(core);
    } else if (a->code == TR_ENOTFOUND && !f->no_create) {
        request(core, TR__REQ_LEASE_CREATE);
    } else if (a->code) {
        again(core, "lease table", a->error);
    } else {
        tr__timer_set(core, &f->timer, core->now + 300);
    }
}

static void table_made(tr__core *core, const tr__answer *a)
{
    if (a->code && a->code != TR_ECONFLICT) /* ResourceInUseException: another worker was quicker */
        again(core, "lease table", a->error);
    else
        tr__timer_set(core, &core->fleet->timer, core->now + 100);
}

static void take_row(tr__core *core, const tr__row *row)
{
    tr__shard *s = tr__graph_find(core, row->key);
    if (!s) {
        const tr__shard *p = tr__graph_find(core, row->parent);
        /* while streams are being looked through, what is listed may be of any of them */
        bool kin = p && core->stage == TR__STAGE_RUN && (p->listed || p->lease->kin);
        if (tr__graph_add(core, row->key, row->parent, &s))
            return;
        s->lease->kin = kin;
    }
    core->fleet->any_row = true;
    /* what we would have skipped at a start of our own is another worker's to decide */
    if (core->stage == TR__STAGE_SAVE && !core->resumed && s->phase == TR__PHASE_FINISHED)
        tr__shard_phase(core, s, TR__PHASE_WAITING);
    tr__lease_row(core, s, row);
}

static void scanned(tr__core *core)
{
    tr__fleet *f = core->fleet;
    f->scanning = false;
    f->scans = f->scan;
    f->failures = 0;
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        tr__lease *l = s->lease;
        if (!l->row || l->seen >= f->scan || l->call_id)
            continue;
        tr__lease_vanished(core, l);
        if (!s->listed)
            tr__graph_remove(core, s);
    }
    forget_names(core);
    if (core->stopping)
        return;
    /* while a lease is on its way to us, look more often */
    int64_t every = f->failover_ms / (f->asked ? 10 : 3);
    if (!f->asked && tr__fleet_share(core) > f->scanners)
        every = every * tr__fleet_share(core) / f->scanners;
    tr__timer_set(core, &f->timer,
                  core->now + every / 2 + 1 + tr_backoff_ms(&core->rng, 0, every / 2, every));
    if (core->stage == TR__STAGE_LEASES) {
        for (s = core->shards; s; s = s->hh.next)
            s->lease->surveyed = true;
        tr__core_stage(core, core->arn[0] || !f->any_row ? TR__STAGE_RESOLVE : TR__STAGE_CHOOSE);
    }
    if (core->stage == TR__STAGE_SAVE)
        tr__fleet_make_rows(core);
    tr__graph_advance(core);
    tr__fleet_balance(core);
}

static void scan_answered(tr__core *core, const tr__answer *a)
{
    tr__fleet *f = core->fleet;
    if (a->code) {
        again(core, "lease scan", a->error);
        return;
    }
    for (size_t i = 0; i < a->count; i++)
        take_row(core, &a->rows[i]);
    bool more = a->last.len && a->last.len <= TR_SHARD_ID_MAX && !tr_view_is(a->last, f->scan_start);
    if (!more) {
        scanned(core);
        return;
    }
    (void)snprintf(f->scan_start, sizeof f->scan_start, "%.*s", TR_FMT(a->last));
    scan(core);
}

void tr__fleet_answer(tr__core *core, tr__pending *call, tr__answer *a)
{
    if (call->kind == TR__REQ_LEASE_DESCRIBE)
        table_known(core, a);
    else if (call->kind == TR__REQ_LEASE_CREATE)
        table_made(core, a);
    else if (call->kind == TR__REQ_LEASE_SCAN)
        scan_answered(core, a);
}

/* ------------------------------------------------------------------------------------------ which stream */

void tr__fleet_choose(tr__core *core)
{
    tr__fleet *f = core->fleet;
    f->arn_count = f->arn_next = f->chosen = 0;
    core->list_start[0] = 0;
    if (!tr__core_send(core, TR__REQ_LIST_STREAMS, NULL))
        tr__timer_set(core, &core->stage_timer, core->now + core->o.retry_min_ms + 1);
}

static int add_stream(tr__fleet *f, const tr__listed_stream *stream)
{
    if (stream->arn.len > TR_STREAM_ARN_MAX || stream->label.len >= sizeof f->labels[0])
        return 0;
    void *arns = tr_realloc(f->arns, (f->arn_count + 1) * sizeof *f->arns);
    if (arns)
        f->arns = arns;
    void *labels = tr_realloc(f->labels, (f->arn_count + 1) * sizeof *f->labels);
    if (labels)
        f->labels = labels;
    if (!arns || !labels)
        return TR_ENOMEM;
    size_t at = f->arn_count++;
    /* by label, which is the time of its making */
    while (at > 0 && tr_view_cmp(stream->label, tr_view_str(f->labels[at - 1])) < 0) {
        memcpy(f->arns[at], f->arns[at - 1], sizeof *f->arns);
        memcpy(f->labels[at], f->labels[at - 1], sizeof *f->labels);
        at--;
    }
    (void)snprintf(f->arns[at], sizeof *f->arns, "%.*s", TR_FMT(stream->arn));
    (void)snprintf(f->labels[at], sizeof *f->labels, "%.*s", TR_FMT(stream->label));
    return 0;
}

/** The streams' shards are listed one stream after the other; then the oldest one that has rows is worked on.
 */
static void next_stream(tr__core *core)
{
    tr__fleet *f = core->fleet;
    bool last = f->arn_next == f->arn_count;
    /* if none has rows, they are of streams that are gone, and the oldest that is there comes next */
    size_t which = last ? (f->chosen ? f->chosen - 1 : 0) : f->arn_next;
    (void)snprintf(core->arn, sizeof core->arn, "%s", f->arns[which]);
    (void)snprintf(core->label, sizeof core->label, "%s", f->labels[which]);
    f->arn_next++;
    core->missing = 0;
    core->disabled = false;
    tr__core_stage(core, TR__STAGE_LIST);
}

void tr__fleet_streams(tr__core *core, tr__answer *a)
{
    tr__fleet *f = core->fleet;
    int code = a->code;
    for (size_t i = 0; i < a->count && code == 0; i++)
        code = add_stream(f, &a->streams[i]);
    bool more = code == 0 && a->last.len && a->last.len <= TR_STREAM_ARN_MAX &&
                !tr_view_is(a->last, core->list_start);
    if (more) {
        (void)snprintf(core->list_start, sizeof core->list_start, "%.*s", TR_FMT(a->last));
        if (tr__core_send(core, TR__REQ_LIST_STREAMS, NULL))
            return;
        code = TR_ENOMEM;
    }
    if (code == 0 && f->arn_count) {
        next_stream(core);
        return;
    }
    tr_error e;
    (void)tr_fail(&e, code ? code : TR_ENOTFOUND, "table %s has no stream; enable one (StreamSpecification)",
                  core->table);
    core->stage_failures++;
    int64_t delay = tr__core_backoff(core, core->stage_failures);
    tr__core_failed(core, NULL, "ListStreams", core->stage_failures, delay, a->error ? a->error : &e);
    tr__timer_set(core, &core->stage_timer, core->now + delay);
}

/** One of the streams was listed (or is gone): which rows are of it? */
static void survey(tr__core *core)
{
    tr__fleet *f = core->fleet;
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        bool here = s->listed;
        s->listed = s->fresh = false;
        s->absent = 0;
        if (here && s->lease->row && !f->chosen)
            f->chosen = f->arn_next; /* which was raised before the listing */
        s->lease->somewhere |= here;
        if (!s->lease->row)
            tr__graph_remove(core, s);
    }
    core->listings_complete = 0;
    next_stream(core);
}

/** Back to the beginning: which stream? */
static void choose_again(tr__core *core)
{
    core->fleet->arn_count = 0;
    core->arn[0] = core->label[0] = 0;
    core->listings_complete = 0;
    core->stage = TR__STAGE_LEASES;
    tr__graph_clear(core); /* and a new scan */
}

void tr__fleet_stream_missing(tr__core *core)
{
    tr__fleet *f = core->fleet;
    if (f->arn_count && f->arn_next <= f->arn_count) {
        survey(core); /* nothing of it is there any more */
        return;
    }
    core->missing = 0;
    if (core->table)
        choose_again(core);
    else
        tr__core_stage(core, TR__STAGE_LIST);
}

static void mark_nowhere(tr__core *core)
{
    core->fleet->nowhere_open = 0;
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        s->lease->nowhere = s->lease->row && s->lease->surveyed && !s->listed && !s->lease->somewhere;
        core->fleet->nowhere_open += s->lease->nowhere && s->phase != TR__PHASE_FINISHED;
    }
}

void tr__fleet_first_listing(tr__core *core)
{
    tr__fleet *f = core->fleet;
    if (f->arn_count && f->arn_next <= f->arn_count && f->any_row) {
        survey(core);
        return;
    }
    if (!core->resumed && f->any_row && core->table && !f->arn_count) {
        choose_again(core); /* the table was empty when we asked for the newest stream, and is not any more */
        return;
    }
    if (!core->resumed) /* not after a change of streams, when all is known */
        mark_nowhere(core);
    core->resumed |= f->any_row;
    if (!core->resumed)
        tr__start_positions(core);
    for (tr__shard *s = core->shards; s; s = s->hh.next)
        s->fresh = false;
    tr__core_stage(core, TR__STAGE_MARK);
}

/* ------------------------------------------------------------------------------------------------- rows */

void tr__fleet_listing_begins(tr__core *core)
{
    core->fleet->scan_before = core->fleet->scans;
}

/**
 * A row may be made only if a scan had shown that there is none before the listing began that shows the
 * shard: otherwise it could have been finished, have left the stream, and its row been removed, all between a
 * listing and a scan.
 */
static bool needs_row(const tr__core *core, const tr__shard *s)
{
    const tr__lease *l = s->lease;
    return s->listed && !l->row && !l->call_id && !l->timer.slot && core->fleet->scan_before > l->vanished;
}

void tr__fleet_listed(tr__core *core)
{
    tr__fleet *f = core->fleet;
    if (core->stopping || core->stage < TR__STAGE_SAVE)
        return;
    for (tr__shard *s = core->shards; s && f->making < MAKING_MAX; s = s->hh.next) {
        /* what was skipped because descendants of it are being read has no row any more, and needs none */
        bool skipped = core->stage == TR__STAGE_RUN && s->phase == TR__PHASE_FINISHED;
        if (skipped || !needs_row(core, s))
            continue;
        f->making++;
        tr__lease_do(core, s->lease, TR__LEASE_MAKE);
    }
}

/**
 * Another worker was quicker: the start is his. What has no row yet was found after it, or he has died over
 * it.
 */
static void start_is_theirs(tr__core *core)
{
    core->resumed = true;
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        if (s->lease->row || !s->listed)
            continue;
        if (s->phase == TR__PHASE_FINISHED)
            tr__shard_phase(core, s, TR__PHASE_WAITING);
        tr_free(s->note_iterator);
        s->note_iterator = NULL;
        s->ack = tr__pos_beginning(core, s->id);
        s->end_version = 0;
    }
}

/**
 * Of workers who find the table empty at the same time one begins. He who finds it empty still, after he has
 * listed and marked the shards, may put his positions: they are from before anybody's start.
 */
static bool confirm_start(tr__core *core)
{
    tr__fleet *f = core->fleet;
    if (core->resumed || f->confirmed)
        return true;
    if (f->scans > f->confirm_after && f->confirm_after) {
        f->confirmed = true;
        if (f->any_row && core->table) {
            choose_again(core);
            return false;
        }
        if (f->any_row)
            start_is_theirs(core);
        return true;
    }
    if (!f->confirm_after)
        f->confirm_after = f->scan;
    if (!f->scanning)
        scan(core);
    return false;
}

void tr__fleet_make_rows(tr__core *core)
{
    if (!confirm_start(core))
        return;
    tr__fleet_listed(core);
    if (core->fleet->making == 0)
        tr__core_stage(core, TR__STAGE_RUN);
}

void tr__fleet_row_made(tr__core *core)
{
    tr__fleet *f = core->fleet;
    f->making = 0;
    for (tr__shard *s = core->shards; s; s = s->hh.next)
        f->making += s->lease->doing == TR__LEASE_MAKE && (s->lease->call_id || s->lease->timer.slot);
    if (core->stage == TR__STAGE_SAVE)
        tr__fleet_make_rows(core);
    else if (core->stage == TR__STAGE_RUN)
        tr__fleet_listed(core);
    tr__fleet_balance(core);
}

/* ------------------------------------------------------------------------------------------------- the end
 */

void tr__fleet_stop(tr__core *core)
{
    tr__timer_stop(core, &core->fleet->timer);
    tr__shard *s, *tmp;
    HASH_ITER(hh, core->shards, s, tmp)
    {
        s->lease->wanted = false;
        tr__lease_give(core, s->lease);
    }
}

void tr__fleet_flush(tr__core *core)
{
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        tr__lease *l = s->lease;
        if (!l->mine || s->version == s->saved || l->call_id)
            continue;
        tr__timer_stop(core, &l->timer);
        l->failures = 0;
        tr__lease_next(core, l);
    }
}

bool tr__fleet_saved_all(const tr__core *core)
{
    return core->unsaved == 0;
}

bool tr__fleet_settled(const tr__core *core)
{
    /* what is being taken may be ours already, and would else be found out by its silence only */
    for (const tr__shard *s = core->shards; s && core->fleet->held == 0; s = s->hh.next)
        if (s->lease->call_id && s->lease->doing == TR__LEASE_TAKE)
            return false;
    return core->fleet->held == 0;
}
