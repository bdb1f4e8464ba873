/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_AHEAD_H
#define TAILRACE_EVENTSTORE_AHEAD_H

/**
 * ahead.h: in what one generation of a read model is before another: of aggregates that it has touched, the
 * versions that both have. So that readers are not shown an older state when the other takes over.
 */

#include <tailrace/subscription.h>

typedef struct tr__ahead_entry tr__ahead_entry;
struct tr__ahead_entry {
    tr_view key;    /* <store>#<aggregate> */
    uint64_t of[2]; /* versions: of the other, of the one that is before */
};

typedef struct tr__ahead {
    struct tr__ahead_slot *slots;
    size_t count;
    size_t uncovered; /* aggregates of which the other has less */
    tr_arena memory;
    tr_buf key;
} tr__ahead;

void tr__ahead_init(tr__ahead *ahead);
void tr__ahead_clear(tr__ahead *ahead);
void tr__ahead_done(tr__ahead *ahead);
/** The event's aggregate. add: made where missing, with *ret_fresh true; else, and once there are too many of
 * them to be kept, *ret_entry may be NULL. TR_ENOMEM. */
int tr__ahead_find(tr__ahead *ahead, const tr_subscribed *event, bool add, tr__ahead_entry **ret_entry,
                   bool *ret_fresh);
/** Raises a version: of the one before, or of the other. */
void tr__ahead_set(tr__ahead *ahead, tr__ahead_entry *entry, bool before, uint64_t version);

#endif
