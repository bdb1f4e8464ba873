/* SPDX-License-Identifier: MIT */
/** A table of events with a stream on the engine in memory, two stores in it, and a directory for inboxes. */
#ifndef TAILRACE_TEST_EVENT_WORLD_H
#define TAILRACE_TEST_EVENT_WORLD_H

#include "../embedded.h"

#include <tailrace/schema.h>
#include <tailrace/subscription.h>

#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_MS 120000

typedef struct event_world {
    embedded e;
    tr_eventstore *accounts, *loans;
    tr_arena arena;
    char directory[64], state[96];
    tr_error err;
} event_world;

static inline tr_eventstore *world_store(event_world *w, const char *id)
{
    tr_eventstore *store;
    tr_eventstore_options o = {.store_id = id};
    if (tr_eventstore_new(w->e.client, &o, &store, &w->err))
        fail_msg("%s", w->err.message);
    return store;
}

static inline int world_set_up(void **state)
{
    static event_world w;
    tr_schema_options o = {.stream = true};
    const char *tmp = getenv("TMPDIR");
    w = (event_world){0};
    embedded_open(&w.e, NULL);
    if (tr_schema_create(w.e.client, TR_SCHEMA_EVENTS, &o, &w.err))
        fail_msg("%s", w.err.message);
    w.accounts = world_store(&w, "ACCOUNTS");
    w.loans = world_store(&w, "LOANS");
    tr_arena_init(&w.arena, (size_t)64 << 20);
    (void)snprintf(w.directory, sizeof w.directory, "%.30s/events-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(w.directory));
    (void)snprintf(w.state, sizeof w.state, "%s/inbox", w.directory);
    *state = &w;
    return 0;
}

static inline int world_tear_down(void **state)
{
    event_world *w = *state;
    char command[160];
    tr_eventstore_free(w->accounts);
    tr_eventstore_free(w->loans);
    tr_arena_done(&w->arena);
    embedded_close(&w->e);
    (void)snprintf(command, sizeof command, "rm -rf %s", w->directory);
    return system(command);
}

/** With the next version. timestamp: "" for now. payload: plain JSON of an object, or NULL. */
static inline void world_push(event_world *w, tr_eventstore *store, const char *aggregate, const char *type,
                              const char *timestamp, const char *payload)
{
    const char *json = tr_arena_printf(&w->arena, "{\"aggregateId\":\"%s\",\"type\":\"%s\"%s%s}", aggregate,
                                       type, payload ? ",\"payload\":" : "", payload ? payload : "");
    tr_event e;
    tr_push_options o = {.expect = TR_EXPECT_ANY};
    assert_int_equal(tr_event_from_json(tr_view_str(json), &w->arena, &e, &w->err), 0);
    e.timestamp = tr_view_str(timestamp);
    if (tr_eventstore_push_wait(store, &e, 1, &o, &w->arena, &w->err))
        fail_msg("%s", w->err.message);
}

static inline void world_push_history(event_world *w)
{
    world_push(w, w->accounts, "a", "OPENED", "2026-01-01T00:00:01.000Z", NULL);
    world_push(w, w->loans, "a", "TAKEN", "2026-01-01T00:00:02.000Z", NULL);
    world_push(w, w->accounts, "b", "OPENED", "2026-01-01T00:00:02.000Z", NULL);
    world_push(w, w->accounts, "a", "CLOSED", "2026-01-01T00:00:05.000Z", NULL);
    world_push(w, w->accounts, "a", "AUDITED", "2026-01-01T00:00:03.000Z",
               NULL); /* a clock that was behind */
    world_push(w, w->loans, "a", "PAID", "2026-01-01T00:00:04.000Z", NULL);
}

/** "ACCOUNTS a 1 OPENED, …" */
static inline void world_tell(tr_buf *text, const tr_subscribed *s)
{
    tr_buf_printf(text, "%s%.*s %.*s %llu %.*s", text->len ? ", " : "", TR_FMT(s->store_id),
                  TR_FMT(s->event.aggregate_id), (unsigned long long)s->event.version, TR_FMT(s->event.type));
}

#define HISTORY                                                                                              \
    "ACCOUNTS a 1 OPENED, ACCOUNTS b 1 OPENED, LOANS a 1 TAKEN, LOANS a 2 PAID, ACCOUNTS a 2 CLOSED, "       \
    "ACCOUNTS a 3 AUDITED"

static inline tr_subscription *world_subscribe(event_world *w, const tr_subscription_options *options)
{
    tr_subscription *s;
    tr_subscription_options o = *options;
    if (!o.state && !o.fleet)
        o.state = w->state;
    if (tr_subscription_new(w->e.client, &o, &s, &w->err))
        fail_msg("%s", w->err.message);
    return s;
}

#endif
