/* SPDX-License-Identifier: MIT */
#include "sim.h"

/*
 * Requests on their way: delayed, lost, answered too late. A worker hears of every request exactly once: the
 * answer, or a timeout, after which the service may still carry the request out.
 */

#define TIMEOUT_MS 3000

struct parcel {
    sim_request *request;
    sim_reply *reply;
};

static tr_view keep(sim_request *r, tr_view v)
{
    return v.len ? tr_arena_copy(&r->arena, v) : (tr_view){0};
}

static sim_request *copy_request(sim *s, sim_worker *worker, const tr__req *req)
{
    sim_request *r = tr_calloc(1, sizeof *r);
    tr_arena_init(&r->arena, 64 << 20);
    r->req = *req;
    r->worker = worker;
    r->incarnation = sim_worker_incarnation(worker);
    r->sent_at = s->now;
    (void)snprintf(r->who, sizeof r->who, "%s", sim_worker_name(worker));
    tr_view *views[] = {
        &r->req.table,       &r->req.stream_arn,   &r->req.shard_id,    &r->req.exclusive_start,
        &r->req.children_of, &r->req.iterator,     &r->req.state,       &r->req.sequence_number,
        &r->req.row.key,     &r->req.row.owner,    &r->req.row.parent,  &r->req.row.checkpoint,
        &r->req.row.start,   &r->req.expect_owner, &r->req.handover_to, &r->req.row.handover_to};
    for (size_t i = 0; i < TR_COUNT(views); i++)
        *views[i] = keep(r, *views[i]);
    return r;
}

void sim_request_free(sim_request *r)
{
    if (--r->refs)
        return;
    tr_arena_done(&r->arena);
    tr_free(r);
}

static sim_reply *new_reply(void)
{
    sim_reply *reply = tr_calloc(1, sizeof *reply);
    tr_arena_init(&reply->arena, 64 << 20);
    tr_buf_init(&reply->body, 64 << 20);
    reply->a.service_ms = -1;
    return reply;
}

static void free_reply(sim_reply *reply)
{
    tr_arena_done(&reply->arena);
    tr_buf_done(&reply->body);
    tr_free(reply);
}

static int64_t delay(sim *s)
{
    if (s->faults && sim_chance(s, s->c.p_slow))
        return sim_between(s, 500, 2 * TIMEOUT_MS);
    return sim_chance(s, 100) ? sim_between(s, 10, 400) : sim_between(s, 1, 20);
}

static void deliver(sim *s, void *ctx, uint64_t arg)
{
    struct parcel *p = ctx;
    (void)arg;
    sim_request *r = p->request;
    int64_t wait = sim_worker_paused(s, r->worker);
    if (wait > 0 && r->incarnation == sim_worker_incarnation(r->worker)) {
        sim_at(s, s->now + wait, deliver, p, 0); /* it lies in the socket's buffer */
        return;
    }
    if (!r->answered && r->incarnation == sim_worker_incarnation(r->worker)) {
        r->answered = true;
        sim_worker_answer(s, r->worker, &r->req, p->reply);
    }
    free_reply(p->reply);
    sim_request_free(r);
    tr_free(p);
}

void sim_network_reply(sim *s, sim_request *request, sim_reply *reply)
{
    struct parcel *p = tr_calloc(1, sizeof *p);
    p->request = request;
    p->reply = reply;
    sim_at(s, s->now + delay(s), deliver, p, 0);
}

static void drop(sim_request *r, sim_reply *reply)
{
    free_reply(reply);
    sim_request_free(r);
}

static void arrive(sim *s, void *ctx, uint64_t lose_answer)
{
    sim_request *r = ctx;
    sim_reply *reply = new_reply();
    s->requests++;
    if (r->req.kind == TR__REQ_LOAD || r->req.kind == TR__REQ_SAVE) {
        if (r->incarnation != sim_worker_incarnation(r->worker)) {
            drop(r, reply); /* the thread that would have written died with its process */
            return;
        }
        sim_store_do(s, r, reply);
    } else if (!sim_service_do(s, r, reply)) {
        free_reply(reply);
        return; /* held open */
    }
    if (lose_answer)
        drop(r, reply);
    else
        sim_network_reply(s, r, reply);
}

static void time_out(sim *s, void *ctx, uint64_t arg)
{
    sim_request *r = ctx;
    (void)arg;
    if (r->answered) {
        sim_request_free(r);
        return;
    }
    struct parcel *p = tr_calloc(1, sizeof *p);
    p->request = r;
    p->reply = new_reply();
    sim_reply_fail(p->reply, TR_ETIMEOUT, "", 0);
    deliver(s, p, 0);
}

void sim_network_send(sim *s, sim_worker *worker, const tr__req *req)
{
    sim_request *r = copy_request(s, worker, req);
    if (s->verbose)
        sim_trace(s, "%s sends %d for %.*s (%llu, '%.*s')", sim_worker_name(worker), (int)req->kind,
                  TR_FMT(req->shard_id), (unsigned long long)req->expect_counter, TR_FMT(req->expect_owner));
    bool store = req->kind == TR__REQ_LOAD || req->kind == TR__REQ_SAVE;
    bool lost = !store && s->faults && sim_chance(s, s->c.p_lost);
    bool answer_lost = lost && sim_chance(s, 500);
    r->refs = 1;
    if (!store) {
        r->refs++;
        int64_t timeout = req->timeout_ms ? req->timeout_ms : TIMEOUT_MS;
        sim_at(s, s->now + timeout + req->wait_ms, time_out, r, 0);
    }
    if (lost && !answer_lost)
        sim_request_free(r);
    else
        sim_at(s, s->now + delay(s), arrive, r, answer_lost);
}

/* ------------------------------------------------------------------------------- the checkpoint store */

/** The places that a state document claims. */
static void check_state(sim *s, tr_view json)
{
    tr_arena arena;
    tr_arena_init(&arena, 64 << 20);
    tr_json_reader r;
    tr_json_init(&r, json, &arena);
    (void)tr_json_next(&r);
    while (tr_json_next_key(&r)) {
        bool shards = tr_view_is(r.text, "shards");
        (void)tr_json_next(&r);
        if (!shards) {
            (void)tr_json_skip(&r);
            continue;
        }
        while (tr_json_next_key(&r)) {
            int shard = sim_shard_find(s, r.text);
            (void)tr_json_next(&r);
            while (tr_json_next_key(&r)) {
                bool checkpoint = tr_view_is(r.text, "checkpoint");
                (void)tr_json_next(&r);
                if (checkpoint)
                    sim_check_checkpoint(s, shard, r.text, "the store");
                else
                    (void)tr_json_skip(&r);
            }
        }
    }
    tr_arena_done(&arena);
}

void sim_store_put(sim *s, tr_view state)
{
    tr_buf_reset(&s->store);
    tr_buf_put_view(&s->store, state);
    s->store_used = true;
    check_state(s, state);
}

void sim_store_do(sim *s, sim_request *request, sim_reply *reply)
{
    bool fail = s->faults && sim_chance(s, s->c.p_store_fail);
    bool applied = !fail || sim_chance(s, 500);
    if (request->req.kind == TR__REQ_SAVE && applied)
        sim_store_put(s, request->req.state);
    if (request->req.kind == TR__REQ_LOAD && s->store_used)
        reply->a.state = tr_arena_copy(&reply->arena, tr_buf_view(&s->store));
    if (fail)
        sim_reply_fail(reply, TR_EIO, "", 0);
}
