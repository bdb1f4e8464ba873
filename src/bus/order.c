/* SPDX-License-Identifier: MIT */
/*
 * Order where it is asked for: deliveries of a target whose events have the same value at the target's
 * OrderBy stand in a lane. Only the one at its front is attempted or waits to be attempted again; the next
 * one's turn comes when it is done or given up.
 *
 *   lane "users#7":  front (ready, under way, or to be repeated later)  <-  behind  <-  behind
 *
 * A lane exists as long as something is in it. Events that have nothing at the path are in no lane.
 */
#include "bus/bus_private.h"

#include <tailrace/transform.h>

#include "base/hash.h"

typedef struct tr_lane {
    UT_hash_handle hh;
    tr_delivery *first, *last;
    tr_target *target;
    char key[];
} tr_lane;

/* The value at the path, as JSON, in a scratch of the bus. Empty: there is none. */
static tr_view key_of(tr_bus *b, const tr_delivery *d)
{
    tr_view text, none = {NULL, 0};
    tr_buf loaded;
    tr_buf_init(&loaded, TR__BUS_TEXT_MAX);
    tr_buf_reset(&b->key);
    int e = tr__event_text(b, d->event, &loaded, &text);
    if (e == 0)
        e = tr_input_path_apply(d->target->order, text, &b->key);
    tr_buf_done(&loaded);
    return e ? none : tr_buf_view(&b->key);
}

static tr_lane *lane_of(tr_target *t, tr_view key)
{
    tr_lane *lane = NULL;
    HASH_FIND(hh, t->lanes, key.ptr, key.len, lane);
    if (lane)
        return lane;
    lane = tr_calloc(1, sizeof *lane + key.len);
    if (!lane)
        return NULL;
    lane->target = t;
    memcpy(lane->key, key.ptr, key.len);
    HASH_ADD_KEYPTR(hh, t->lanes, lane->key, key.len, lane);
    if (lane->hh.tbl)
        return lane;
    tr_free(lane);
    return NULL;
}

bool tr__order_enter(tr_bus *b, tr_delivery *d)
{
    if (!d->target->order)
        return true;
    tr_view key = key_of(b, d);
    if (!key.len)
        return true;
    tr_lane *lane = lane_of(d->target, key);
    if (!lane) {
        tr_log(&b->options.logger, TR_LOG_WARN, "out of memory: an event for %s is not kept in order",
               d->target->arn);
        return true;
    }
    d->lane = lane;
    d->lane_next = NULL;
    if (lane->last)
        lane->last->lane_next = d;
    else
        lane->first = d;
    lane->last = d;
    return lane->first == d;
}

tr_delivery *tr__order_leave(tr_delivery *d)
{
    tr_lane *lane = d->lane;
    if (!lane)
        return NULL;
    tr_delivery *next = lane->first = d->lane_next;
    d->lane = NULL;
    if (next)
        return next;
    HASH_DELETE(hh, lane->target->lanes, lane);
    tr_free(lane);
    return NULL;
}
