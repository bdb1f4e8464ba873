/* SPDX-License-Identifier: MIT */
#include "store_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---------------------------------------------------------------------------------------------- transport */

typedef struct spoiled {
    tr_reply_fn *fn;
    void *ctx;
    world *w;
    spoiling what;
} spoiled;

static void answer(void *ctx)
{
    spoiled s = *(spoiled *)ctx;
    tr_error err;
    free(ctx);
    const char *type = s.what == THROTTLE ? "ThrottlingException" : "TransactionConflictException";
    char body[256];
    int len = snprintf(body, sizeof body,
                       "{\"__type\":\"com.amazonaws.dynamodb.v20120810#%s\",\"message\":\"no\"}", type);
    tr_reply reply = {.status = 400, .body = tr_view_of(body, (size_t)len)};
    if (s.what == LOSE_ANSWER)
        s.fn(s.ctx, tr_fail(&err, TR_ETIMEOUT, "lost"), NULL, &err);
    else if (s.what == LOSE_REQUEST)
        s.fn(s.ctx, tr_fail(&err, TR_ECONNECT, "refused"), NULL, &err);
    else
        s.fn(s.ctx, 0, &reply, NULL);
}

static void on_carried_out(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    (void)code, (void)reply, (void)err;
    answer(ctx);
}

static int send_spoiled(tr_transport *transport, const tr_request *request, tr_reply_fn *fn, void *ctx)
{
    world *w = (world *)transport;
    bool write =
        strcmp(request->operation, "PutItem") == 0 || strcmp(request->operation, "TransactWriteItems") == 0;
    w->writes += write;
    w->queries += strcmp(request->operation, "Query") == 0;
    (void)snprintf(w->operation, sizeof w->operation, "%s", request->operation);
    (void)snprintf(w->body, sizeof w->body, "%.*s", TR_FMT(request->body));
    if (write && w->before_write)
        w->before_write(w);
    if (write && w->spoil_percent && tr_rng_below(&w->rng, 100) < w->spoil_percent &&
        w->spoil_at == w->spoil_count)
        world_spoil(w, (spoiling)(LOSE_ANSWER + tr_rng_below(&w->rng, IN_THE_WAY)));
    spoiling what = write && w->spoil_at < w->spoil_count ? w->spoil[w->spoil_at++] : PASS;
    if (what == PASS)
        return w->inner->send(w->inner, request, fn, ctx);
    spoiled *s = malloc(sizeof *s);
    *s = (spoiled){fn, ctx, w, what};
    return what == LOSE_ANSWER ? w->inner->send(w->inner, request, on_carried_out, s)
                               : w->inner->schedule(w->inner, 0, answer, s);
}

static int schedule(tr_transport *transport, int64_t delay_ms, tr_task_fn *fn, void *ctx)
{
    world *w = (world *)transport;
    return w->inner->schedule(w->inner, delay_ms, fn, ctx);
}

static bool on_thread(tr_transport *transport)
{
    world *w = (world *)transport;
    return w->inner->on_thread(w->inner);
}

static void free_transport(tr_transport *transport)
{
    world *w = (world *)transport;
    w->inner->free(w->inner);
}

/* -------------------------------------------------------------------------------------------------- world */

static void open_store(world *w, const char *id, const char *table, tr_event_layout layout,
                       tr_eventstore **ret)
{
    tr_eventstore_options o = {.store_id = id, .table = table, .layout = layout};
    assert_int_equal(tr_eventstore_new(w->client, &o, ret, &w->err), 0);
}

void world_open(world *w)
{
    memset(w, 0, sizeof *w);
    tr_server_options so = {.data_dir = NULL};
    assert_int_equal(tr_server_new(&so, &w->server, &w->err), 0);
    assert_int_equal(tr_server_transport(w->server, &w->inner, &w->err), 0);
    w->transport = (tr_transport){
        .send = send_spoiled, .schedule = schedule, .on_thread = on_thread, .free = free_transport};
    tr_client_options co = {.transport = &w->transport};
    assert_int_equal(tr_client_new(&co, &w->client, &w->err), 0);
    tr_schema_options old = {.table = "old-events"};
    assert_int_equal(tr_schema_create(w->client, TR_SCHEMA_EVENTS, NULL, &w->err), 0);
    assert_int_equal(tr_schema_create(w->client, TR_SCHEMA_LEGACY_EVENTS, &old, &w->err), 0);
    open_store(w, "ACCOUNTS", NULL, TR_EVENTS_SINGLE_TABLE, &w->store);
    open_store(w, "LOANS", NULL, TR_EVENTS_SINGLE_TABLE, &w->other);
    open_store(w, "OLD", "old-events", TR_EVENTS_LEGACY, &w->legacy);
    tr_arena_init(&w->arena, 64 << 20);
}

void world_close(world *w)
{
    tr_eventstore_free(w->store);
    tr_eventstore_free(w->other);
    tr_eventstore_free(w->legacy);
    tr_client_free(w->client);
    tr_server_free(w->server);
    tr_arena_done(&w->arena);
}

void world_spoil(world *w, spoiling what)
{
    if (w->spoil_at == w->spoil_count)
        w->spoil_at = w->spoil_count = 0;
    assert_true(w->spoil_count < TR_COUNT(w->spoil));
    w->spoil[w->spoil_count++] = what;
}

void world_call(world *w, const char *operation, const char *body, tr_buf *reply)
{
    tr_request r = {.service = TR_DYNAMODB, .operation = operation, .body = tr_view_str(body)};
    int e = tr_client_call_wait(w->client, &r, reply, &w->err);
    if (e)
        fail_msg("%s: %s", operation, w->err.message);
}

static void ignore_reply(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    (void)ctx, (void)code, (void)reply, (void)err;
}

void world_send_first(world *w, const tr_request *request)
{
    assert_int_equal(w->inner->send(w->inner, request, ignore_reply, NULL), 0);
}

tr_event make_event(world *w, const char *aggregate, uint64_t version, const char *type, int64_t number)
{
    tr_buf buf;
    tr_packer p;
    tr_buf_init(&buf, 1024);
    tr_packer_init(&p, &buf);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("n"));
    tr_pack_n_i64(&p, number);
    assert_int_equal(tr_pack_item_end(&p), 0);
    tr_view copy = tr_arena_copy(&w->arena, tr_buf_view(&buf));
    tr_buf_done(&buf);
    return (tr_event){.aggregate_id = tr_view_str(aggregate),
                      .version = version,
                      .type = tr_view_str(type),
                      .payload = {TR_M, copy}};
}

uint64_t push_ok(world *w, tr_eventstore *store, const char *aggregate, uint64_t version,
                 tr_event_expect expect, int64_t number)
{
    tr_event event = make_event(w, aggregate, version, "MOVED", number);
    tr_push_options o = {.expect = expect};
    if (tr_eventstore_push_wait(store, &event, 1, &o, &w->arena, &w->err))
        fail_msg("push: %s", w->err.message);
    assert_int_equal(event.timestamp.len, 24);
    return event.version;
}

static int append_version(void *ctx, const tr_event *event)
{
    tr_buf_printf(ctx, "%s%" PRIu64, ((tr_buf *)ctx)->len ? " " : "", event->version);
    return 0;
}

const char *versions_of(world *w, tr_eventstore *store, const char *aggregate)
{
    tr_buf out;
    tr_buf_init(&out, 65536);
    assert_int_equal(
        tr_eventstore_get_wait(store, tr_view_str(aggregate), NULL, append_version, &out, &w->err), 0);
    char *text = tr_arena_str(&w->arena, tr_buf_view(&out));
    tr_buf_done(&out);
    return text;
}
