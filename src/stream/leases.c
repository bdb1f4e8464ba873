/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"
#include "stream/wire.h"
#include "stream/wire_lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The lease table for operators: list, release, import. These block, and make their requests one after the
 * other. */

#define BODY_MAX (64u * 1024 * 1024)

/** Sends a lease request; the answer lives in the wire's arena. */
static int ask(tr_client *client, const tr__req *req, tr__wire *wire, tr__answer *ret_answer, tr_error *err)
{
    tr_buf body, answer;
    tr_buf_init(&body, BODY_MAX);
    tr_buf_init(&answer, BODY_MAX);
    tr_request request = {0};
    tr__wire_encode(req, &body, &request.service, &request.operation);
    request.body = tr_buf_view(&body);
    int code = tr_buf_status(&body);
    if (code)
        (void)tr_fail(err, code, "a lease request is too large");
    else
        code = tr_client_call_wait(client, &request, &answer, err);
    if (code == 0) {
        *ret_answer = (tr__answer){.service_ms = -1};
        tr_view copy = tr_arena_copy(&wire->arena, tr_buf_view(&answer));
        tr__wire_decode(wire, req->kind, (tr_view){0}, false, copy, ret_answer);
        code = ret_answer->code;
        if (code && err)
            *err = wire->error;
    }
    tr_buf_done(&body);
    tr_buf_done(&answer);
    return code;
}

typedef struct rows {
    tr__wire wire;
    tr_arena arena;
    tr__row *list;
    size_t count, capacity;
} rows;

static int keep_row(rows *all, const tr__row *row)
{
    if (all->count == all->capacity) {
        size_t capacity = all->capacity ? all->capacity * 2 : 256;
        tr__row *list = tr_realloc(all->list, capacity * sizeof *list);
        if (!list)
            return TR_ENOMEM;
        all->list = list;
        all->capacity = capacity;
    }
    tr__row *copy = &all->list[all->count];
    *copy = *row;
    tr_view *texts[] = {&copy->key,    &copy->owner,       &copy->checkpoint,
                        &copy->parent, &copy->handover_to, &copy->start};
    for (size_t i = 0; i < TR_COUNT(texts); i++) {
        *texts[i] = tr_arena_copy(&all->arena, *texts[i]);
        if (!texts[i]->ptr)
            return TR_ENOMEM;
    }
    all->count++;
    return 0;
}

static void rows_done(rows *all)
{
    tr__wire_done(&all->wire);
    tr_arena_done(&all->arena);
    tr_free(all->list);
}

static int by_key(const void *a, const void *b)
{
    return tr_view_cmp(((const tr__row *)a)->key, ((const tr__row *)b)->key);
}

static int all_rows(tr_client *client, const char *table, rows *all, tr_error *err)
{
    *all = (rows){0};
    tr__wire_init(&all->wire);
    tr_arena_init(&all->arena, 1024u * 1024 * 1024);
    tr__req req = {.kind = TR__REQ_LEASE_SCAN, .table = tr_view_str(table)};
    int code;
    do {
        tr__answer a;
        tr_arena_reset(&all->wire.arena);
        code = ask(client, &req, &all->wire, &a, err);
        for (size_t i = 0; code == 0 && i < a.count; i++)
            code = keep_row(all, &a.rows[i]);
        if (code == 0 && a.last.len)
            a.last = tr_arena_copy(&all->arena, a.last);
        if (code == TR_ENOMEM)
            (void)tr_fail(err, code, "no memory for the leases of %s", table);
        else if (code == TR_ENOTFOUND)
            (void)tr_fail(err, code, "there is no lease table %s", table);
        else if (code == TR_EPARSE)
            (void)tr_fail(err, code, "%s is no lease table: its rows have no leaseKey", table);
        req.exclusive_start = code ? (tr_view){0} : a.last;
    } while (code == 0 && req.exclusive_start.len);
    if (code)
        rows_done(all);
    else if (all->count)
        qsort(all->list, all->count, sizeof *all->list, by_key);
    return code;
}

int tr_leases_list(tr_client *client, const char *lease_table, bool (*fn)(void *ctx, const tr_lease *lease),
                   void *ctx, tr_error *err)
{
    rows all;
    int code = all_rows(client, lease_table, &all, err);
    if (code)
        return code;
    for (size_t i = 0; i < all.count; i++) {
        const tr__row *r = &all.list[i];
        tr_lease lease = {.key = r->key,
                          .owner = r->owner,
                          .checkpoint = r->checkpoint,
                          .parent = r->parent,
                          .handover_to = r->handover_to,
                          .counter = r->counter,
                          .owner_switches = r->owner_switches};
        if (!fn(ctx, &lease))
            break;
    }
    rows_done(&all);
    return 0;
}

/** Takes the owner off; 1 if that was done, 0 if there was none (or it changed hands just now), or an error.
 */
static int release_row(tr_client *client, const char *table, const tr__row *row, tr_error *err)
{
    if (!row->owner.len)
        return 0;
    tr__wire wire;
    tr__answer a;
    tr__wire_init(&wire);
    tr__req req = {
        .kind = TR__REQ_LEASE_WRITE,
        .table = tr_view_str(table),
        .row = {.key = row->key, .counter = row->counter + 1, .owner_switches = row->owner_switches},
        .clear_handover = true,
        .expect_counter = row->counter,
        .expect_owner = row->owner};
    int code = ask(client, &req, &wire, &a, err);
    tr__wire_done(&wire);
    return code == 0 ? 1 : code == TR_ECONFLICT ? 0 : code;
}

static int read_row(tr_client *client, const char *table, tr_view key, tr__wire *wire, tr__answer *a,
                    tr_error *err)
{
    tr__req req = {.kind = TR__REQ_LEASE_GET, .table = tr_view_str(table), .shard_id = key};
    tr_arena_reset(&wire->arena);
    return ask(client, &req, wire, a, err);
}

/** A lease that is being renewed changes under our eyes: a few tries will find it at rest. */
#define RELEASE_TRIES 10

static int release_one(tr_client *client, const char *table, const char *key, size_t *ret_count,
                       tr_error *err)
{
    tr__wire wire;
    tr__answer a;
    tr__wire_init(&wire);
    int done = 0;
    for (int i = 0; i < RELEASE_TRIES && done == 0; i++) {
        int code = read_row(client, table, tr_view_str(key), &wire, &a, err);
        if (code == 0 && a.count == 0)
            code = tr_fail(err, TR_ENOTFOUND, "%s has no lease %s", table, key);
        done = code ? code : release_row(client, table, &a.rows[0], err);
        if (code == 0 && !a.rows[0].owner.len)
            break;
    }
    tr__wire_done(&wire);
    if (done < 0)
        return done;
    *ret_count = (size_t)done;
    return 0;
}

int tr_leases_release(tr_client *client, const char *lease_table, const char *key, size_t *ret_count,
                      tr_error *err)
{
    if (key)
        return release_one(client, lease_table, key, ret_count, err);
    rows all;
    size_t count = 0;
    int code = all_rows(client, lease_table, &all, err);
    if (code)
        return code;
    for (size_t i = 0; i < all.count && code == 0; i++) {
        int done = release_row(client, lease_table, &all.list[i], err);
        if (done < 0)
            code = done;
        else
            count += (size_t)done;
    }
    rows_done(&all);
    if (code == 0)
        *ret_count = count;
    return code;
}

/* ------------------------------------------------------------------------------------------------ import */

static int make_table(tr_client *client, const char *table, tr_error *err)
{
    tr__wire wire;
    tr__answer a = {0};
    tr__wire_init(&wire);
    tr__req req = {.kind = TR__REQ_LEASE_DESCRIBE, .table = tr_view_str(table)};
    int code = 0;
    for (int i = 0; i < 600; i++) { /* making one takes seconds; a minute is given */
        code = ask(client, &req, &wire, &a, err);
        if (code == TR_ENOTFOUND) {
            tr__req create = {.kind = TR__REQ_LEASE_CREATE, .table = tr_view_str(table)};
            code = ask(client, &create, &wire, &a, err);
            if (code == TR_ECONFLICT)
                code = 0;
        }
        if (code || tr_view_is(a.status, "ACTIVE"))
            break;
        struct timespec pause = {.tv_nsec = 100 * 1000000};
        (void)nanosleep(&pause, NULL);
    }
    tr__wire_done(&wire);
    return code;
}

/** 1 if the row was written, 0 if there was one that stays, or an error. */
static int import_row(tr_client *client, const char *table, const tr__row *row, bool replace, tr_error *err)
{
    tr__wire wire;
    tr__answer a;
    tr__wire_init(&wire);
    tr__req put = {.kind = TR__REQ_LEASE_PUT, .table = tr_view_str(table), .row = *row};
    int done = ask(client, &put, &wire, &a, err);
    if (done == 0) {
        done = 1;
    } else if (done == TR_ECONFLICT) {
        done = read_row(client, table, row->key, &wire, &a, err);
        if (done == 0 && a.count && a.rows[0].owner.len && replace)
            done = tr_fail(err, TR_EBUSY, "lease %.*s is held by %.*s; stop the worker or release it first",
                           TR_FMT(row->key), TR_FMT(a.rows[0].owner));
        if (done == 0 && a.count && replace) {
            tr__req write = {.kind = TR__REQ_LEASE_WRITE,
                             .table = tr_view_str(table),
                             .row = *row,
                             .clear_handover = true,
                             .expect_counter = a.rows[0].counter};
            write.row.counter = a.rows[0].counter + 1;
            done = ask(client, &write, &wire, &a, err);
            done = done ? done : 1;
        }
    }
    tr__wire_done(&wire);
    return done;
}

static int import_shard(tr_client *client, const char *table, const tr__shard *s, bool replace, tr_error *err)
{
    tr_buf start;
    tr_buf_init(&start, TR__ITERATOR_MAX + 1024);
    tr__row row = {
        .key = tr_view_str(s->id), .parent = tr_view_str(s->parent), .checkpoint = tr__pos_text(&s->ack)};
    if (s->ack.kind == TR__POS_ITERATOR)
        row.checkpoint = TR_VIEW("TRIM_HORIZON");
    if (tr__pos_needs_extra(s, &s->ack)) {
        tr_json_writer w;
        tr_json_write_init(&w, &start);
        tr_json_begin_object(&w);
        tr__pos_write_extra(&w, s, &s->ack);
        tr_json_end_object(&w);
        row.start = tr_buf_view(&start);
    }
    int done = import_row(client, table, &row, replace, err);
    tr_buf_done(&start);
    return done;
}

/** Rows of the Kinesis Client Library, in our table or as text: the checkpoint counts, owners stay behind. */
static int import_rows(tr_client *client, const char *table, const tr__row *list, size_t n, bool replace,
                       size_t *ret_count, tr_error *err)
{
    int code = 0;
    for (size_t i = 0; i < n && code == 0; i++) {
        tr__pos pos;
        if (list[i].key.len > TR_SHARD_ID_MAX)
            code = tr_fail(err, TR_EPARSE,
                           "lease %.*s is of no DynamoDB stream: a shard's id has at most %d "
                           "characters",
                           (int)(list[i].key.len < 200 ? list[i].key.len : 200), list[i].key.ptr,
                           TR_SHARD_ID_MAX);
        else if (tr__pos_parse(list[i].checkpoint, (tr_view){0}, false, &pos))
            code = tr_fail(err, TR_EPARSE,
                           "lease %.*s: its checkpoint is none of TRIM_HORIZON, LATEST, SHARD_END, and no "
                           "sequence number",
                           TR_FMT(list[i].key));
    }
    if (code == 0)
        code = make_table(client, table, err);
    size_t count = 0;
    for (size_t i = 0; i < n && code == 0; i++) {
        tr__row row = {.key = list[i].key,
                       .checkpoint = list[i].checkpoint,
                       .parent = list[i].parent,
                       .start = list[i].start,
                       .owner_switches = list[i].owner_switches};
        int done = import_row(client, table, &row, replace, err);
        if (done < 0)
            code = done;
        else
            count += (size_t)done;
    }
    if (code == 0)
        *ret_count = count;
    return code;
}

int tr_leases_copy(tr_client *from, const char *from_table, tr_client *to, const char *to_table, bool replace,
                   size_t *ret_count, tr_error *err)
{
    rows all;
    int code = all_rows(from, from_table, &all, err);
    if (code)
        return code;
    code = import_rows(to, to_table, all.list, all.count, replace, ret_count, err);
    rows_done(&all);
    return code;
}

/** Whether the text is what a Scan of a lease table answers: {"Items":[{"leaseKey":…},…]}. */
static bool is_scan(tr_view json)
{
    tr_arena arena;
    tr_view items;
    tr_arena_init(&arena, 1u << 20);
    bool found = tr_json_member(json, "Items", &arena, &items) == 0;
    tr_arena_done(&arena);
    return found;
}

static int import_scan(tr_client *client, const char *table, tr_view json, bool replace, size_t *ret_count,
                       tr_error *err)
{
    tr__wire wire;
    tr__wire_init(&wire);
    tr__answer a = {.service_ms = -1};
    tr__wire_decode(&wire, TR__REQ_LEASE_SCAN, (tr_view){0}, false, json, &a);
    int code;
    if (a.code)
        code = tr_fail(err, a.code, "these are no rows of a lease table: every one needs a leaseKey");
    else if (a.last.len)
        code = tr_fail(err, TR_EPARSE, "the scan of the lease table is not complete (LastEvaluatedKey)");
    else
        code = import_rows(client, table, a.rows, a.count, replace, ret_count, err);
    tr__wire_done(&wire);
    return code;
}

int tr_leases_import(tr_client *client, const char *lease_table, tr_view state, bool replace,
                     size_t *ret_count, tr_error *err)
{
    if (is_scan(state))
        return import_scan(client, lease_table, state, replace, ret_count, err);
    tr_stream_options o = {.table = "import", .manual = true};
    tr__core *core;
    size_t count = 0;
    int code = tr__core_new(&o, false, 1, 0, tr_clock_wall_ms(), &core, err);
    if (code)
        return code;
    code = tr__state_read(core, state, err);
    if (code == 0)
        code = make_table(client, lease_table, err);
    for (tr__shard *s = core->shards; s && code == 0; s = s->hh.next) {
        int done = import_shard(client, lease_table, s, replace, err);
        if (done < 0)
            code = done;
        else
            count += (size_t)done;
    }
    tr__core_free(core);
    if (code == 0)
        *ret_count = count;
    return code;
}
