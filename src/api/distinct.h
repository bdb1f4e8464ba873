/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_DISTINCT_H
#define TAILRACE_API_DISTINCT_H

/** distinct.h: whether the items of a request are all different, and capacities summed by table. */

#include "api/call.h"

/** Items named in one request, at most. */
#define TR_DISTINCT_MAX 128

/** A set of (table, packed key). Zero-initialise. */
typedef struct tr_distinct {
    unsigned count;
    struct {
        const tr_table *table;
        tr_item key;
    } seen[TR_DISTINCT_MAX];
    uint8_t slots[TR_DISTINCT_MAX * 2]; /* index + 1 into seen, by hash */
} tr_distinct;

/** False if the item was there already. The key's bytes must stay where they are. */
bool tr__distinct_add(tr_distinct *set, const tr_table *table, tr_item key);

/** Consumed capacity by table, in the order in which the tables first came. */
typedef struct tr_capacities {
    unsigned count;
    tr_capacity *list; /* room for `max`, in the arena */
    unsigned max;
} tr_capacities;

int tr__capacities_init(tr_call *call, tr_capacities *capacities, unsigned max);
/** The table's, which is made if there is none yet. */
tr_capacity *tr__capacities_of(tr_capacities *capacities, const tr_table *table, bool write);
/** "ConsumedCapacity":[…] if asked for. */
void tr__capacities_member(tr_call *call, const tr_capacities *capacities, tr_capacity_mode mode);

#endif
