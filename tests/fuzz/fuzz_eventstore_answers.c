/* SPDX-License-Identifier: MIT */
/**
 * The event store against a service that answers anything: pages of items, snapshots, refusals, page tokens.
 * The first byte chooses what is asked; the answers follow, divided by bytes of 1, each begun by the first
 * digit of its status (any other: the connection breaks). When they are used up, everything is canceled. For
 * listing the first of them is the page token.
 */
#include <assert.h>
#include <stdlib.h>

#include <tailrace/aggregate.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define QUEUE 64

typedef struct step {
    tr_reply_fn *fn; /* an answer, or */
    tr_task_fn *task;
    void *ctx;
} step;

typedef struct world {
    tr_transport transport; /* first */
    step queue[QUEUE];
    size_t first, count;
    tr_view answers;
    bool running, over;
    unsigned ended;
    tr_arena arena;
} world;

static int put(tr_transport *transport, step s)
{
    world *w = (world *)transport;
    if (w->count == QUEUE)
        return TR_ENOMEM;
    w->queue[(w->first + w->count++) % QUEUE] = s;
    return 0;
}

static int send(tr_transport *transport, const tr_request *request, tr_reply_fn *fn, void *ctx)
{
    (void)request;
    return put(transport, (step){.fn = fn, .ctx = ctx});
}

static int schedule(tr_transport *transport, int64_t delay_ms, tr_task_fn *task, void *ctx)
{
    (void)delay_ms;
    return put(transport, (step){.task = task, .ctx = ctx});
}

static bool on_thread(tr_transport *transport)
{
    return ((world *)transport)->running;
}

static bool take_answer(world *w, tr_view *ret_answer)
{
    if (w->over)
        return false;
    size_t end = tr_view_find(w->answers, TR_VIEW("\1"), 0);
    w->over = end == SIZE_MAX;
    *ret_answer = tr_view_of(w->answers.ptr, w->over ? w->answers.len : end);
    if (!w->over)
        w->answers = tr_view_of(w->answers.ptr + end + 1, w->answers.len - end - 1);
    return true;
}

static void answer(world *w, const step *s)
{
    tr_error err;
    tr_view text;
    if (!take_answer(w, &text)) {
        s->fn(s->ctx, tr_fail(&err, TR_ECANCELED, "over"), NULL, &err);
    } else if (text.len == 0 || text.ptr[0] < '2' || text.ptr[0] > '5') {
        s->fn(s->ctx, tr_fail(&err, TR_ECONNECT, "broken"), NULL, &err);
    } else {
        /* Of exactly that size, so that reading past its end is seen. */
        char *copy = malloc(text.len - 1 ? text.len - 1 : 1);
        memcpy(copy, text.ptr + 1, text.len - 1);
        tr_reply reply = {.status = (text.ptr[0] - '0') * 100, .body = tr_view_of(copy, text.len - 1)};
        s->fn(s->ctx, 0, &reply, NULL);
        free(copy);
    }
}

static void run(world *w)
{
    w->running = true;
    while (w->count) {
        step s = w->queue[w->first];
        w->first = (w->first + 1) % QUEUE;
        w->count--;
        if (s.task)
            s.task(s.ctx);
        else
            answer(w, &s);
    }
    w->running = false;
}

static void free_transport(tr_transport *transport)
{
    run((world *)transport);
}

/* ----------------------------------------------------------------------------------- what is asked for */

static int see_event(void *ctx, const tr_event *event)
{
    tr_buf out;
    tr_json_writer json;
    (void)ctx;
    tr_buf_init(&out, (size_t)16 << 20);
    tr_json_write_init(&json, &out);
    tr_event_write(&json, event, NULL);
    tr_buf_done(&out);
    return 0;
}

static void on_end(void *ctx, int code, const tr_error *err)
{
    assert((code == 0) == (err == NULL));
    ((world *)ctx)->ended++;
}

static void on_list(void *ctx, int code, const tr_listing *listing, const tr_error *err)
{
    world *w = ctx;
    w->ended++;
    assert(code ? err != NULL : listing != NULL);
    for (size_t i = 0; !code && i < listing->count; i++)
        assert(listing->aggregates[i].aggregate_id.ptr);
}

static void on_aggregate(void *ctx, int code, tr_aggregate *aggregate, const tr_error *err)
{
    assert((code == 0) == (aggregate != NULL) && (code == 0) == (err == NULL));
    if (aggregate)
        assert(tr_item_check(tr_rules_state(aggregate)) == 0);
    tr_aggregate_free(aggregate);
    ((world *)ctx)->ended++;
}

static void on_pushed(void *ctx, int code, const tr_pushed *pushed, const tr_error *err)
{
    assert((code == 0) == (err == NULL) && (pushed->failed == SIZE_MAX || pushed->failed < pushed->count));
    ((world *)ctx)->ended++;
}

static int list(world *w, tr_eventstore *store)
{
    tr_error err;
    tr_view token;
    (void)take_answer(w, &token);
    tr_list_options o = {.page_token = token};
    return tr_eventstore_list(store, &o, on_list, w, &err);
}

static int push(world *w, tr_eventstore *store, size_t count, tr_event_expect expect)
{
    tr_error err;
    tr_event events[2] = {{.aggregate_id = TR_VIEW("a"), .type = TR_VIEW("T"), .version = 1},
                          {.aggregate_id = TR_VIEW("a"), .type = TR_VIEW("T"), .version = 2}};
    tr_push_options o = {.expect = expect};
    return tr_eventstore_push(store, events, count, &o, on_pushed, w, &err);
}

static int aggregate(world *w, tr_eventstore *store, tr_snapshots *snapshots, tr_rules *rules)
{
    tr_error err;
    tr_aggregate_options o = {.snapshots = snapshots};
    return tr_aggregate_get(store, tr_rules_reducer(rules), TR_VIEW("a"), &o, on_aggregate, w, &err);
}

static int ask(world *w, uint8_t what, tr_eventstore *store, tr_snapshots *snapshots, tr_rules *rules)
{
    tr_error err;
    switch (what % 7) {
    case 0:
        return tr_eventstore_get(store, TR_VIEW("a"), NULL, see_event, on_end, w, &err);
    case 1:
        return list(w, store);
    case 2:
        return aggregate(w, store, snapshots, rules);
    case 3:
        return aggregate(w, store, NULL, rules);
    case 4:
        return push(w, store, 1, TR_EXPECT_VERSION);
    case 5:
        return push(w, store, 1, TR_EXPECT_ANY);
    default:
        return push(w, store, 2, TR_EXPECT_EXISTS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    static world w;
    tr_client *client;
    tr_eventstore *store;
    tr_snapshots *snapshots;
    tr_rules *rules;
    tr_error err;
    w = (world){
        .transport = {.send = send, .schedule = schedule, .on_thread = on_thread, .free = free_transport},
        .answers = tr_view_of(data + 1, size - 1)};
    tr_client_options co = {.transport = &w.transport, .attempts = 1};
    tr_eventstore_options eo = {.store_id = "A",
                                .layout = data[0] & 0x80 ? TR_EVENTS_LEGACY : TR_EVENTS_SINGLE_TABLE};
    tr_snapshots_options so = {.every = 1, .on_read = true};
    assert(tr_client_new(&co, &client, &err) == 0 && tr_eventstore_new(client, &eo, &store, &err) == 0);
    assert(tr_snapshots_new(client, &so, &snapshots, &err) == 0 &&
           tr_rules_new(TR_VIEW("{\"name\":\"r\",\"version\":\"1\",\"events\":{\"*\":{\"merge\":true}}}"),
                        &rules, &err) == 0);
    unsigned expected = ask(&w, data[0] & 0x7f, store, snapshots, rules) == 0;
    run(&w);
    assert(w.ended == expected); /* once, whatever came */
    tr_snapshots_free(snapshots);
    tr_eventstore_free(store);
    tr_client_free(client);
    tr_rules_free(rules);
    return 0;
}
