/* SPDX-License-Identifier: MIT */
#include "sim.h"

/* The model of the lease table: rows, and writes that are conditional as the request says. */

static sim_row *find(sim *s, tr_view key)
{
    for (unsigned i = 0; i < SIM_SHARDS_MAX; i++)
        if (s->rows[i].used && tr_view_is(key, s->rows[i].key))
            return &s->rows[i];
    return NULL;
}

static void put_text(char *to, size_t size, tr_view from)
{
    (void)snprintf(to, size, "%.*s", TR_FMT(from));
}

static tr__row view_of(tr_arena *arena, const sim_row *row)
{
    tr__row v = {.counter = row->counter, .owner_switches = row->switches};
    v.key = tr_arena_copy(arena, tr_view_str(row->key));
    v.owner = tr_arena_copy(arena, tr_view_str(row->owner));
    v.checkpoint = tr_arena_copy(arena, tr_view_str(row->checkpoint));
    v.parent = tr_arena_copy(arena, tr_view_str(row->parent));
    v.handover_to = tr_arena_copy(arena, tr_view_str(row->handover_to));
    v.start = tr_arena_copy(arena, tr_view_str(row->start));
    return v;
}

static void answer_row(sim_reply *reply, const sim_row *row)
{
    tr__row *rows = tr_arena_calloc(&reply->arena, 1, sizeof *rows);
    rows[0] = view_of(&reply->arena, row);
    reply->a.rows = rows;
    reply->a.count = 1;
}

static void conflict(sim_reply *reply)
{
    sim_reply_fail(reply, TR_ECONFLICT, "ConditionalCheckFailedException", 400);
}

static void check_checkpoint(sim *s, const sim_row *row, const char *who)
{
    sim_check_checkpoint(s, sim_shard_find(s, tr_view_str(row->key)), tr_view_str(row->checkpoint), who);
}

static void put(sim *s, const tr__req *req, sim_reply *reply)
{
    if (find(s, req->row.key)) {
        conflict(reply);
        return;
    }
    for (unsigned i = 0; i < SIM_SHARDS_MAX; i++) {
        sim_row *row = &s->rows[i];
        if (row->used)
            continue;
        *row = (sim_row){.used = true, .counter = req->row.counter};
        put_text(row->key, sizeof row->key, req->row.key);
        put_text(row->parent, sizeof row->parent, req->row.parent);
        put_text(row->owner, sizeof row->owner, req->row.owner);
        put_text(row->checkpoint, sizeof row->checkpoint, req->row.checkpoint);
        put_text(row->start, sizeof row->start, req->row.start);
        sim_trace(s, "row %s made at %s", row->key, row->checkpoint);
        check_checkpoint(s, row, "a new row");
        return;
    }
}

/** Order of two checkpoints of one shard: the end comes last, what says less than a number first. */
static int place_cmp(const char *a, const char *b)
{
    bool end_a = strcmp(a, "SHARD_END") == 0, end_b = strcmp(b, "SHARD_END") == 0;
    if (end_a || end_b)
        return (int)end_a - (int)end_b;
    bool number_a = tr_sequence_valid(tr_view_str(a)), number_b = tr_sequence_valid(tr_view_str(b));
    if (!number_a || !number_b)
        return (int)number_a - (int)number_b;
    return tr_sequence_cmp(tr_view_str(a), tr_view_str(b));
}

static void write_row(sim *s, const sim_request *request, sim_row *row)
{
    const tr__req *req = &request->req;
    const char *who = sim_worker_name(request->worker);
    char before[sizeof row->checkpoint];
    (void)snprintf(before, sizeof before, "%s", row->checkpoint);
    bool taken = !tr_view_is(req->row.owner, row->owner);
    bool by_owner =
        tr_view_eq(req->expect_owner, tr_view_str(row->owner)) && tr_view_is(req->expect_owner, request->who);
    if (req->row.checkpoint.len) {
        if (!by_owner)
            sim_fail(s, "fencing: %s checkpoints %s, which is the lease of '%s'", who, row->key, row->owner);
        put_text(row->checkpoint, sizeof row->checkpoint, req->row.checkpoint);
        put_text(row->start, sizeof row->start, req->row.start);
    }
    if (taken)
        sim_trace(s, "lease %s goes from '%s' to '%.*s' at %s, says %s", row->key, row->owner,
                  TR_FMT(req->row.owner), row->checkpoint, request->who);
    if (taken && tr_view_is(req->row.owner, request->who) &&
        !tr_view_is(tr_view_str(row->owner), request->who))
        row->forced = row->owner[0] && strcmp(row->handover_to, request->who) == 0;
    put_text(row->owner, sizeof row->owner, req->row.owner);
    row->counter = req->row.counter;
    row->switches = req->row.owner_switches;
    if (req->clear_handover)
        row->handover_to[0] = 0;
    /* gaps let a position go back to the horizon, nothing else does */
    if (place_cmp(row->checkpoint, before) < 0 && strcmp(row->checkpoint, "TRIM_HORIZON") != 0)
        sim_fail(s, "%s: checkpoint of %s goes back from %s to %s", who, row->key, before, row->checkpoint);
    check_checkpoint(s, row, who);
}

static void update(sim *s, sim_request *request, sim_reply *reply)
{
    const tr__req *req = &request->req;
    sim_row *row = find(s, req->row.key);
    if (!row || row->counter != req->expect_counter || !tr_view_is(req->expect_owner, row->owner)) {
        conflict(reply);
        return;
    }
    write_row(s, request, row);
    answer_row(reply, row);
}

static void ask(sim *s, const sim_request *request, sim_reply *reply)
{
    const tr__req *req = &request->req;
    sim_row *row = find(s, req->shard_id);
    if (!row || !tr_view_is(req->expect_owner, row->owner) || row->handover_to[0]) {
        conflict(reply);
        return;
    }
    put_text(row->handover_to, sizeof row->handover_to, req->handover_to);
    sim_trace(s, "%s asks for %s of %s", sim_worker_name(request->worker), row->key, row->owner);
    answer_row(reply, row);
}

static void scan(sim *s, const tr__req *req, sim_reply *reply)
{
    tr__row *rows = tr_arena_calloc(&reply->arena, 64, sizeof *rows);
    size_t n = 0, page = 1 + sim_below(s, 60);
    tr_view after = req->exclusive_start;
    for (;;) { /* in order of keys, as any order will do that is the same each time */
        const sim_row *next = NULL;
        for (unsigned i = 0; i < SIM_SHARDS_MAX; i++) {
            const sim_row *row = &s->rows[i];
            if (row->used && tr_view_cmp(tr_view_str(row->key), after) > 0 &&
                (!next || strcmp(row->key, next->key) < 0))
                next = row;
        }
        if (!next)
            break;
        if (n == page) {
            reply->a.last = rows[n - 1].key;
            break;
        }
        rows[n++] = view_of(&reply->arena, next);
        after = tr_view_str(next->key);
    }
    reply->a.rows = rows;
    reply->a.count = n;
    if (s->verbose)
        sim_trace(s, "scan from '%.*s': %zu rows, last '%.*s'", TR_FMT(req->exclusive_start), n,
                  TR_FMT(reply->a.last));
}

static void delete_row(sim *s, const tr__req *req, sim_reply *reply)
{
    sim_row *row = find(s, req->shard_id);
    if (!row)
        return;
    if (row->counter != req->expect_counter) {
        conflict(reply);
        return;
    }
    int shard = sim_shard_find(s, req->shard_id);
    sim_trace(s, "row %s removed", row->key);
    if (shard >= 0 && !s->shards[shard].gone)
        sim_fail(s, "the row of shard %d is removed although the shard is still in the stream", shard);
    if (strcmp(row->checkpoint, "SHARD_END") != 0)
        sim_fail(s, "the row of shard %d is removed at %s", shard, row->checkpoint);
    row->used = false;
}

static void table_state(sim *s, sim_reply *reply)
{
    if (!s->table_made)
        sim_reply_fail(reply, TR_ENOTFOUND, "ResourceNotFoundException", 400);
    else if (s->now < s->table_active_at)
        reply->a.status = TR_VIEW("CREATING");
    else
        reply->a.status = TR_VIEW("ACTIVE");
}

static void make_table(sim *s, sim_reply *reply)
{
    if (s->table_made) {
        sim_reply_fail(reply, TR_ECONFLICT, "ResourceInUseException", 400);
        return;
    }
    s->table_made = true;
    s->table_active_at = s->now + sim_between(s, 0, 3000);
}

/** Whether the shard's lease is this worker's. */
const char *sim_lease_owner(const sim *s, tr_view shard, bool *ret_forced)
{
    for (unsigned i = 0; i < SIM_SHARDS_MAX; i++) {
        if (s->rows[i].used && tr_view_is(shard, s->rows[i].key)) {
            *ret_forced = s->rows[i].forced;
            return s->rows[i].owner;
        }
    }
    return NULL;
}

void sim_table_do(sim *s, sim_request *request, sim_reply *reply)
{
    const tr__req *req = &request->req;
    switch (req->kind) {
    case TR__REQ_LEASE_DESCRIBE:
        table_state(s, reply);
        break;
    case TR__REQ_LEASE_CREATE:
        make_table(s, reply);
        break;
    case TR__REQ_LEASE_SCAN:
        scan(s, req, reply);
        break;
    case TR__REQ_LEASE_GET: {
        const sim_row *row = find(s, req->shard_id);
        if (row)
            answer_row(reply, row);
        break;
    }
    case TR__REQ_LEASE_PUT:
        put(s, req, reply);
        break;
    case TR__REQ_LEASE_WRITE:
        update(s, request, reply);
        break;
    case TR__REQ_LEASE_ASK:
        ask(s, request, reply);
        break;
    case TR__REQ_LEASE_DELETE:
        delete_row(s, req, reply);
        break;
    default:
        sim_fail(s, "a request of kind %d has come to the lease table", (int)req->kind);
    }
}
