/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

#include <stdio.h>

/* ------------------------------------------------------------------------------------------- lifetime */

static void set_defaults(tr_stream_options *o)
{
#define DEFAULT(field, value) o->field = o->field ? o->field : (value)
    DEFAULT(max_records, 10000);
    DEFAULT(max_bytes, 64 * 1024 * 1024);
    DEFAULT(page_records, 1000);
    DEFAULT(checkpoint_ms, 1000);
    DEFAULT(idle_min_ms, o->idle_max_ms && o->idle_max_ms < 200 ? o->idle_max_ms : 200);
    DEFAULT(hold_ms, TR__LONG_POLL_MS);
    DEFAULT(idle_max_ms, 1000);
    DEFAULT(discover_ms, 30000);
    DEFAULT(retry_min_ms, 100);
    DEFAULT(retry_max_ms, 10000);
    DEFAULT(behind_ms, 60000);
    DEFAULT(retention_ms, INT64_C(24) * 3600 * 1000);
#undef DEFAULT
    if (o->idle_max_ms < o->idle_min_ms)
        o->idle_max_ms = o->idle_min_ms;
    if (o->retry_max_ms < o->retry_min_ms)
        o->retry_max_ms = o->retry_min_ms;
}

static int check_start(const tr_stream_start *start, tr_error *err)
{
    if ((unsigned)start->at > TR_START_TIME)
        return tr_fail(err, TR_EINVAL, "start: %d is none of the ways to start", (int)start->at);
    if (start->at == TR_START_AT || start->at == TR_START_AFTER) {
        if (!tr_sequence_valid(tr_view_str(start->sequence_number)))
            return tr_fail(err, TR_EINVAL, "start at or after a sequence number takes one of 1 to %d digits",
                           TR_SEQUENCE_MAX);
        if (start->shard_id && strlen(start->shard_id) > TR_SHARD_ID_MAX)
            return tr_fail(err, TR_EINVAL, "start: a shard id has at most %d characters", TR_SHARD_ID_MAX);
    }
    if (start->at == TR_START_TIME && start->time_ms < 0)
        return tr_fail(err, TR_EINVAL, "start: the time lies before 1970");
    return 0;
}

static int check_options(const tr_stream_options *o, bool store, tr_error *err)
{
    if (!(o->table && o->table[0]) && !(o->stream_arn && o->stream_arn[0]))
        return tr_fail(err, TR_EINVAL, "a stream takes a table or a stream_arn");
    if (o->stream_arn && strlen(o->stream_arn) > TR_STREAM_ARN_MAX)
        return tr_fail(err, TR_EINVAL, "a stream_arn has at most %d characters", TR_STREAM_ARN_MAX);
    if (o->parallelism > 10)
        return tr_fail(err, TR_EINVAL, "parallelism is 0 to 10, not %u", o->parallelism);
    if (o->page_records > 1000)
        return tr_fail(err, TR_EINVAL, "page_records is 1 to 1000, not %u", o->page_records);
    if (o->fleet && (store || o->state || o->user_checkpoints || o->manual))
        return tr_fail(err, TR_EINVAL,
                       "a fleet keeps its state in its lease table: no store, state, user_checkpoints "
                       "or manual beside it");
    if (o->fleet && !(o->fleet->lease_table && o->fleet->lease_table[0]))
        return tr_fail(err, TR_EINVAL, "a fleet takes a lease_table");
    if (o->fleet && o->fleet->worker_id && strlen(o->fleet->worker_id) > TR__WORKER_ID_MAX)
        return tr_fail(err, TR_EINVAL, "a worker_id has at most %d characters", TR__WORKER_ID_MAX);
    if (o->user_checkpoints && store)
        return tr_fail(err, TR_EINVAL, "either a store or user_checkpoints, not both");
    if (o->checkpoint_ms < 0 || o->idle_min_ms < 0 || o->idle_max_ms < 0 || o->discover_ms < 0 ||
        o->hold_ms < 0 || o->hold_ms > TR__LONG_POLL_MS || o->retry_min_ms < 0 || o->retry_max_ms < 0 ||
        o->behind_ms < 0 || o->retention_ms < 0)
        return tr_fail(err, TR_EINVAL, "times are not negative");
    return check_start(&o->start, err);
}

static int copy_texts(tr__core *core, const tr_stream_options *o)
{
    core->table = o->table ? tr_strdup(o->table) : NULL;
    core->start_shard = o->start.shard_id ? tr_strdup(o->start.shard_id) : NULL;
    if ((o->table && !core->table) || (o->start.shard_id && !core->start_shard))
        return TR_ENOMEM;
    if (o->stream_arn)
        (void)snprintf(core->arn, sizeof core->arn, "%s", o->stream_arn);
    core->o.table = core->table;
    core->o.start.shard_id = core->start_shard;
    core->o.stream_arn = core->o.state = NULL;
    core->o.store = NULL;
    core->start_seq = tr__seq_of(tr_view_str(o->start.sequence_number));
    core->o.start.sequence_number = NULL;
    return 0;
}

static void stage_due(tr__core *core, tr__timer *timer)
{
    (void)timer;
    tr__core_stage(core, core->stage);
}

static void set_up(tr__core *core, uint64_t seed)
{
    tr_rng_seed(&core->rng, seed);
    tr_buf_init(&core->text, TR__STATE_MAX);
    core->since_ms = -1;
    core->graph_version = 1; /* so that the first state is saved */
    core->stage_timer.fn = stage_due;
    core->listing_timer.fn = tr__listing_due;
    core->describe_timer.fn = tr__describe_due;
    core->succession_timer.fn = tr__succession_due;
    core->save_timer.fn = tr__save_due;
}

int tr__core_new(const tr_stream_options *options, bool store, uint64_t seed, int64_t mono_ms,
                 int64_t wall_ms, tr__core **ret_core, tr_error *err)
{
    int code = check_options(options, store, err);
    if (code)
        return code;
    tr__core *core = tr_calloc(1, sizeof *core);
    if (!core)
        return tr_fail(err, TR_ENOMEM, "no memory for a stream");
    core->o = *options;
    set_defaults(&core->o);
    set_up(core, seed);
    core->now = mono_ms;
    core->wall = wall_ms;
    core->has_store = store;
    code = copy_texts(core, options);
    if (code == 0)
        code = tr__timers_reserve(&core->timers, 8);
    if (code == 0)
        code = tr__lanes_reserve(core, 8);
    if (code == 0 && options->fleet)
        code = tr__fleet_new(core, options->fleet);
    core->o.fleet = NULL;
    if (code)
        (void)tr_fail(err, code, "a stream cannot be made: %s", tr_strerror(code));
    else if (options->state)
        code = tr__state_read(core, tr_view_str(options->state), err);
    if (code) {
        tr__core_free(core);
        return code;
    }
    if (!core->o.manual)
        tr__core_stage(core, core->fleet                ? TR__STAGE_LEASES
                             : store && !options->state ? TR__STAGE_LOAD
                                                        : TR__STAGE_RESOLVE);
    *ret_core = core;
    return 0;
}

void tr__core_free(tr__core *core)
{
    if (!core)
        return;
    tr__graph_clear(core);
    tr__pending *call, *tmp;
    HASH_ITER(hh, core->pending, call, tmp)
    {
        HASH_DEL(core->pending, call);
        tr_free(call);
    }
    while (core->info_first) {
        tr__info *info = core->info_first;
        core->info_first = info->next;
        tr__info_free(info);
    }
    tr__fleet_free(core);
    tr_free(core->timers.heap);
    tr_free(core->lanes);
    tr_buf_done(&core->text);
    tr_free(core->table);
    tr_free(core->start_shard);
    tr_free(core);
}

/* ------------------------------------------------------------------------------------------------ time */

void tr__core_time(tr__core *core, int64_t mono_ms, int64_t wall_ms)
{
    if (mono_ms > core->now)
        core->now = mono_ms;
    core->wall = wall_ms;
    tr__timers_run(core);
}

int64_t tr__core_deadline(const tr__core *core)
{
    return core->timers.count ? core->timers.heap[1]->at_ms : INT64_MAX;
}

int64_t tr__core_service_now(const tr__core *core)
{
    return core->service_known ? core->now + core->service_offset : core->wall;
}

int64_t tr__core_backoff(tr__core *core, unsigned failures)
{
    /* at least a quarter of the step, so that a failing call is never repeated at once */
    int64_t step = core->o.retry_min_ms;
    for (unsigned i = 1; i < failures && step < core->o.retry_max_ms; i++)
        step *= 2;
    if (step > core->o.retry_max_ms)
        step = core->o.retry_max_ms;
    return step / 4 + 1 + tr_backoff_ms(&core->rng, 0, step - step / 4, step);
}

void tr__core_set_server(tr__core *core, tr__server server)
{
    if (core->server == server)
        return;
    core->server = server;
    tr__deliver_reorder(core); /* commit order instead of times, or back */
}

/* --------------------------------------------------------------------------------------------- requests */

tr__pending *tr__core_call(tr__core *core, tr__req_kind kind, tr__shard *shard)
{
    tr__pending *call = tr_calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->id = ++core->last_id;
    call->kind = kind;
    call->shard = shard;
    call->epoch = core->epoch;
    call->sent_ms = core->now;
    HASH_ADD(hh, core->pending, id, sizeof call->id, call);
    if (!call->hh.tbl) {
        tr_free(call);
        return NULL;
    }
    return call;
}

tr__pending *tr__core_send(tr__core *core, tr__req_kind kind, tr__shard *shard)
{
    tr__pending *call = tr__core_call(core, kind, shard);
    if (!call)
        return NULL;
    if (core->out_last)
        core->out_last->next = call;
    else
        core->out_first = call;
    core->out_last = call;
    return call;
}

static tr__pending *pop_out(tr__core *core)
{
    tr__pending *call = core->out_first;
    if (call) {
        core->out_first = call->next;
        if (!core->out_first)
            core->out_last = NULL;
        call->next = NULL;
    }
    return call;
}

static void fill_describe(tr__core *core, const tr__pending *call, tr__req *req)
{
    core->stats.calls_describe++;
    req->stream_arn = tr_view_str(core->arn);
    if (call->child_lookup)
        req->children_of = tr_view_str(call->lookup_of);
    else
        req->exclusive_start = tr_view_str(core->listing_start);
}

/** False if the request has lost its sense; then it counts as answered. */
static bool fill(tr__core *core, tr__pending *call, tr__req *req)
{
    *req = (tr__req){.id = call->id, .kind = call->kind, .table = tr_view_str(core->table)};
    call->sent_ms = core->now;
    switch (call->kind) {
    case TR__REQ_DESCRIBE_TABLE:
    case TR__REQ_LOAD:
        return true;
    case TR__REQ_LIST_STREAMS:
        req->exclusive_start = tr_view_str(core->list_start);
        return true;
    case TR__REQ_DESCRIBE_STREAM:
        fill_describe(core, call, req);
        return true;
    case TR__REQ_SAVE:
        core->stats.saves++;
        req->state = tr_buf_view(&core->text);
        return true;
    case TR__REQ_GET_ITERATOR:
    case TR__REQ_GET_RECORDS:
        return false; /* made by the readers themselves */
    default:
        return tr__lease_fill(core, call, req);
    }
}

bool tr__core_request(tr__core *core, tr__req *ret_request)
{
    for (tr__pending *call; (call = pop_out(core));) {
        if (call->epoch == core->epoch && fill(core, call, ret_request))
            return true;
        HASH_DEL(core->pending, call);
        tr_free(call);
    }
    return tr__reader_request(core, ret_request);
}

/* ---------------------------------------------------------------------------------------------- answers */

static void stage_failed(tr__core *core, const char *doing, const tr_error *error)
{
    core->stage_failures++;
    int64_t delay = tr__core_backoff(core, core->stage_failures);
    tr__core_failed(core, NULL, doing, core->stage_failures, delay, error);
    tr__timer_set(core, &core->stage_timer, core->now + delay);
}

static void table_described(tr__core *core, const tr__answer *a)
{
    tr_error e;
    if (a->code) {
        stage_failed(core, "DescribeTable", a->error);
    } else if (a->stream_arn.len == 0 || a->stream_arn.len > TR_STREAM_ARN_MAX) {
        (void)tr_fail(&e, TR_ENOTFOUND, "table %s has no stream; enable one (StreamSpecification)",
                      core->table);
        stage_failed(core, "DescribeTable", &e);
    } else {
        (void)snprintf(core->arn, sizeof core->arn, "%.*s", TR_FMT(a->stream_arn));
        core->arn_resolved = true;
        tr__core_stage(core, TR__STAGE_LIST);
    }
}

static void loaded(tr__core *core, const tr__answer *a)
{
    tr_error e;
    if (a->code) {
        stage_failed(core, "load", a->error);
        return;
    }
    /* A damaged state must not turn into a silent new start: it is told, and loaded again. */
    if (a->state.len && tr__state_read(core, a->state, &e)) {
        stage_failed(core, "load", &e);
        return;
    }
    tr__core_stage(core, TR__STAGE_RESOLVE);
}

static void dispatch(tr__core *core, tr__pending *call, tr__answer *a)
{
    switch (call->kind) {
    case TR__REQ_DESCRIBE_TABLE:
        table_described(core, a);
        return;
    case TR__REQ_LIST_STREAMS:
        tr__succession_answer(core, a);
        return;
    case TR__REQ_DESCRIBE_STREAM:
        tr__listing_answer(core, call, a);
        return;
    case TR__REQ_GET_ITERATOR:
        tr__reader_iterator(core, call, a);
        return;
    case TR__REQ_GET_RECORDS:
        tr__reader_records(core, call, a);
        return;
    case TR__REQ_LOAD:
        loaded(core, a);
        return;
    case TR__REQ_SAVE:
        tr__save_answer(core, a);
        return;
    default:
        tr__lease_answer(core, call, a);
        return;
    }
}

void tr__core_answer(tr__core *core, tr__answer *answer)
{
    tr__pending *call;
    HASH_FIND(hh, core->pending, &answer->id, sizeof answer->id, call);
    if (!call) {
        tr__page_free(answer->page);
        return;
    }
    HASH_DEL(core->pending, call);
    if (answer->service_ms >= 0) {
        core->service_offset = answer->service_ms - core->now;
        core->service_known = true;
    }
    if (answer->code == TR_ETHROTTLED)
        core->stats.throttles++;
    if (answer->code)
        core->stats.retries++;
    tr__page *page = answer->page;
    if (call->kind == TR__REQ_GET_ITERATOR || call->kind == TR__REQ_GET_RECORDS) {
        assert(core->reads > 0);
        core->reads--;
        core->reserved -= call->limit;
        core->reserved_bytes -= call->reserved_bytes;
    }
    if (call->epoch == core->epoch)
        dispatch(core, call, answer);
    else
        tr__page_free(page);
    tr_free(call);
}

/* ----------------------------------------------------------------------------------------------- events */

static tr__info *new_info(tr__core *core, tr_stream_event_kind kind)
{
    tr__info *info = tr_calloc(1, sizeof *info);
    if (!info)
        return NULL; /* informational: without memory it is left out */
    info->entry.event.kind = kind;
    if (core->info_last)
        core->info_last->next = info;
    else
        core->info_first = info;
    core->info_last = info;
    core->info_count++;
    return info;
}

void tr__info_free(tr__info *info)
{
    if (!info)
        return;
    tr_free(info->ids);
    tr_free(info->texts);
    tr_free(info);
}

void tr__core_told(tr__core *core, tr_stream_event_kind kind)
{
    (void)new_info(core, kind);
}

static bool grow_ids(tr__info *info)
{
    if (info->count < info->capacity)
        return true;
    size_t capacity = info->capacity ? info->capacity * 2 : 8;
    void *texts = tr_realloc(info->texts, capacity * sizeof *info->texts);
    if (!texts)
        return false;
    info->texts = texts;
    tr_view *ids = tr_realloc(info->ids, capacity * sizeof *ids);
    if (!ids)
        return false;
    info->ids = ids;
    info->capacity = capacity;
    return true;
}

void tr__info_shards(tr__core *core, tr_stream_event_kind kind, const char *id)
{
    tr__info *info = core->info_last;
    if (!info || info->entry.event.kind != kind)
        info = new_info(core, kind);
    if (!info || !grow_ids(info))
        return;
    (void)snprintf(info->texts[info->count], sizeof info->texts[0], "%s", id);
    info->count++;
}

static void fill_trouble(tr__info *info, const tr__shard *shard, const char *doing, unsigned attempt,
                         int64_t retry_in_ms, const tr_error *error)
{
    (void)snprintf(info->shard_id, sizeof info->shard_id, "%s", shard ? shard->id : "");
    info->error = *error;
    info->trouble = (tr_stream_trouble){.shard_id = tr_view_str(info->shard_id),
                                        .doing = doing,
                                        .attempt = attempt,
                                        .retry_in_ms = retry_in_ms,
                                        .error = &info->error};
    info->entry.event.trouble = &info->trouble;
}

static tr__info *waiting_trouble(tr__core *core)
{
    for (tr__info *info = core->info_first; info; info = info->next)
        if (info->entry.event.kind == TR_STREAM_TROUBLE)
            return info;
    return NULL;
}

void tr__core_failed(tr__core *core, const tr__shard *shard, const char *doing, unsigned attempt,
                     int64_t retry_in_ms, const tr_error *error)
{
    tr_error none = {.code = TR_EIO};
    if (!error) {
        (void)tr_fail(&none, TR_EIO, "no reason given");
        error = &none;
    }
    core->last_trouble = *error;
    core->has_trouble = true;
    tr_log(&core->o.logger, attempt < 3 ? TR_LOG_DEBUG : TR_LOG_WARN,
           "%s%s%s: %s (attempt %u, again in %lld ms)", doing, shard ? " of " : "", shard ? shard->id : "",
           error->message, attempt, (long long)retry_in_ms);
    /* what passes at the second try is no trouble: throttling and lost connections are daily bread */
    bool passing = tr_retryable(error->code) || error->http_status >= 500;
    if (attempt < 3 && passing)
        return;
    tr__info *info = core->trouble_waiting ? waiting_trouble(core) : NULL;
    if (!info)
        info = new_info(core, TR_STREAM_TROUBLE);
    if (!info)
        return;
    core->trouble_waiting = true;
    fill_trouble(info, shard, doing, attempt, retry_in_ms, error);
}

const tr_error *tr__core_trouble(const tr__core *core)
{
    return core->has_trouble ? &core->last_trouble : NULL;
}

/* ----------------------------------------------------------------------------------------------- stages */

static void request_in_stage(tr__core *core, tr__req_kind kind)
{
    if (!tr__core_send(core, kind, NULL))
        tr__timer_set(core, &core->stage_timer, core->now + core->o.retry_min_ms + 1);
}

static void enter_mark(tr__core *core)
{
    bool any = false;
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        if (s->bookmarking) {
            any = true;
            tr__reader_bookmark(core, s);
        }
    }
    if (!any)
        tr__core_stage(core, TR__STAGE_SAVE);
}

static void enter_save(tr__core *core)
{
    if (core->fleet) {
        tr__fleet_make_rows(core);
        return;
    }
    tr__save_graph(core);
    tr__save_now(core);
}

static void enter_run(tr__core *core)
{
    core->has_trouble = false;
    if (!core->started) {
        core->started = true;
        tr__core_told(core, TR_STREAM_STARTED);
    }
    if (!core->o.manual)
        tr__timer_set(core, &core->listing_timer, core->now + core->o.discover_ms);
    tr__graph_advance(core);
    if (core->fleet)
        tr__fleet_balance(core);
    tr__succession_check(core);
}

void tr__core_stage(tr__core *core, tr__stage stage)
{
    if (stage != core->stage)
        core->stage_failures = 0;
    core->stage = stage;
    if (core->stopping)
        return;
    switch (stage) {
    case TR__STAGE_LEASES:
        tr__fleet_start(core);
        break;
    case TR__STAGE_LOAD:
        request_in_stage(core, TR__REQ_LOAD);
        break;
    case TR__STAGE_RESOLVE:
        if (core->arn[0])
            tr__core_stage(core, TR__STAGE_LIST);
        else
            request_in_stage(core, TR__REQ_DESCRIBE_TABLE);
        break;
    case TR__STAGE_CHOOSE:
        tr__fleet_choose(core);
        break;
    case TR__STAGE_LIST:
        tr__listing_want(core);
        break;
    case TR__STAGE_MARK:
        enter_mark(core);
        break;
    case TR__STAGE_SAVE:
        enter_save(core);
        break;
    case TR__STAGE_RUN:
        enter_run(core);
        break;
    }
}

void tr__core_stop(tr__core *core)
{
    if (core->stopping)
        return;
    core->stopping = true;
    tr__timer_stop(core, &core->stage_timer);
    tr__timer_stop(core, &core->listing_timer);
    tr__timer_stop(core, &core->succession_timer);
    for (tr__shard *s = core->shards; s; s = s->hh.next)
        tr__reader_close(core, s);
    if (core->fleet)
        tr__fleet_stop(core);
}

bool tr__core_saved_all(const tr__core *core)
{
    if (core->fleet)
        return tr__fleet_saved_all(core);
    bool keeps = core->has_store || core->o.user_checkpoints;
    return !keeps || core->stage < TR__STAGE_SAVE || core->unsaved == 0;
}

bool tr__core_settled(const tr__core *core)
{
    return core->fleet ? tr__fleet_settled(core) : tr__core_saved_all(core);
}

void tr__core_flush(tr__core *core)
{
    if (core->fleet)
        tr__fleet_flush(core);
    else if (core->stage >= TR__STAGE_SAVE)
        tr__save_now(core);
}

const tr_error *tr__core_save_error(const tr__core *core)
{
    return core->has_save_error ? &core->save_error : NULL;
}
