/* SPDX-License-Identifier: MIT */
#include "eventstore/internal.h"

static int start_group(const tr_group_member *members, size_t count, const tr_group_options *options,
                       tr_push_fn *fn, void *ctx, size_t *ret_fault, tr_error *err)
{
    tr__push_mode mode = {.transaction = true};
    if (options) {
        mode.force = options->force;
        mode.strict = options->strict;
    }
    return tr__push_start(members, count, mode, fn, ctx, ret_fault, err);
}

int tr_eventstore_group(const tr_group_member *members, size_t count, const tr_group_options *options,
                        tr_push_fn *fn, void *ctx, tr_error *err)
{
    return start_group(members, count, options, fn, ctx, NULL, err);
}

int tr_eventstore_push(tr_eventstore *store, const tr_event *events, size_t count,
                       const tr_push_options *options, tr_push_fn *fn, void *ctx, tr_error *err)
{
    tr_group_member members[TR_EVENT_GROUP_MAX];
    tr_push_options o = {TR_EXPECT_VERSION, false, false};
    if (options)
        o = *options;
    for (size_t i = 0; i < count && i < TR_COUNT(members); i++) {
        members[i] = (tr_group_member){.store = store, .event = events[i], .expect = o.expect};
        if (!tr_view_eq(events[i].aggregate_id, events[0].aggregate_id))
            return tr_fail(err, TR_EINVAL,
                           "events pushed together are of one aggregate; a group may have several");
    }
    tr__push_mode mode = {.force = o.force, .strict = o.strict};
    return tr__push_start(members, count, mode, fn, ctx, NULL, err);
}

/* --------------------------------------------------------------------------------------------- blocking */

typedef struct pushing {
    tr__wait wait;
    tr_event *events;         /* of a push */
    tr_group_member *members; /* of a group */
    tr_arena *arena;
    size_t failed;
} pushing;

static int fill_in(tr_event *event, const tr_event *stored, tr_arena *arena)
{
    event->version = stored->version;
    if (event->timestamp.len)
        return 0;
    event->timestamp = tr_arena_copy(arena, stored->timestamp);
    return event->timestamp.ptr ? 0 : TR_ENOMEM;
}

static void on_pushed(void *ctx, int code, const tr_pushed *pushed, const tr_error *err)
{
    pushing *p = ctx;
    tr_error ours;
    p->failed = pushed->failed;
    for (size_t i = 0; !code && i < pushed->count; i++) {
        if (p->members && p->members[i].check_only)
            continue;
        code = fill_in(p->members ? &p->members[i].event : &p->events[i], &pushed->events[i], p->arena);
        if (code) {
            (void)tr_fail(&ours, code, "%s", tr_strerror(code));
            err = &ours;
        }
    }
    tr__wait_done(&p->wait, code, err);
}

int tr_eventstore_push_wait(tr_eventstore *store, tr_event *events, size_t count,
                            const tr_push_options *options, tr_arena *arena, tr_error *err)
{
    pushing p = {.events = events, .arena = arena};
    int e = tr__wait_begin(&p.wait, store->client, err);
    return e ? e
             : tr__wait_end(&p.wait, tr_eventstore_push(store, events, count, options, on_pushed, &p, err));
}

int tr_eventstore_group_wait(tr_group_member *members, size_t count, const tr_group_options *options,
                             tr_arena *arena, size_t *ret_failed, tr_error *err)
{
    pushing p = {.members = members, .arena = arena, .failed = SIZE_MAX};
    size_t fault = SIZE_MAX;
    if (ret_failed)
        *ret_failed = SIZE_MAX;
    if (count == 0)
        return tr_fail(err, TR_EINVAL, "a group needs members");
    int e = tr__wait_begin(&p.wait, members[0].store->client, err);
    if (e)
        return e;
    e = tr__wait_end(&p.wait, start_group(members, count, options, on_pushed, &p, &fault, err));
    if (ret_failed)
        *ret_failed = fault != SIZE_MAX ? fault : p.failed;
    return e;
}
