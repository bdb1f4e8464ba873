/* SPDX-License-Identifier: MIT */
#include "api/distinct.h"

#include <xxhash.h>

bool tr__distinct_add(tr_distinct *set, const tr_table *table, tr_item key)
{
    uint64_t hash = XXH3_64bits(key.ptr, key.len) + table->space * UINT64_C(0x9e3779b97f4a7c15);
    size_t mask = TR_COUNT(set->slots) - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        unsigned slot = set->slots[at];
        if (slot == 0) {
            if (set->count == TR_DISTINCT_MAX)
                return true; /* callers have refused requests of that size */
            set->seen[set->count].table = table;
            set->seen[set->count].key = key;
            set->slots[at] = (uint8_t)++set->count;
            return true;
        }
        if (set->seen[slot - 1].table == table && tr_view_eq(set->seen[slot - 1].key, key))
            return false;
    }
}

int tr__capacities_init(tr_call *c, tr_capacities *capacities, unsigned max)
{
    *capacities = (tr_capacities){.max = max};
    capacities->list = tr_arena_calloc(c->arena, max, sizeof *capacities->list);
    return capacities->list ? 0 : TR_ENOMEM;
}

tr_capacity *tr__capacities_of(tr_capacities *capacities, const tr_table *table, bool write)
{
    for (unsigned i = 0; i < capacities->count; i++)
        if (capacities->list[i].table == table)
            return &capacities->list[i];
    tr_capacity *capacity = &capacities->list[capacities->count++];
    tr__capacity_init(capacity, table, write);
    return capacity;
}

void tr__capacities_member(tr_call *c, const tr_capacities *capacities, tr_capacity_mode mode)
{
    if (mode == TR_CAPACITY_NONE || !capacities->count)
        return;
    tr_json_name(&c->w, "ConsumedCapacity");
    tr_json_begin_array(&c->w);
    for (unsigned i = 0; i < capacities->count; i++)
        tr__capacity_put(c, &capacities->list[i], mode);
    tr_json_end_array(&c->w);
}
