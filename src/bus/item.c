/* SPDX-License-Identifier: MIT */
#include "bus/bus_private.h"

#define HASH_MAX  2048 /* bytes of key values (DynamoDB Developer Guide, quotas) */
#define RANGE_MAX 1024

static bool fits(const tr_key_part *part, tr_item item, size_t max, bool needed)
{
    tr_value value;
    if (tr_item_get(item, part->name, &value))
        return !needed;
    return value.type == part->type && value.payload.len > 0 && (!needed || value.payload.len <= max);
}

bool tr_bus_item_fits(const tr_table *table, tr_item item)
{
    const tr_key_schema *s = &table->schema;
    bool ok = fits(&s->hash[0], item, HASH_MAX, true) &&
              (!s->range_count || fits(&s->range[0], item, RANGE_MAX, true));
    for (unsigned i = 0; ok && i < table->index_count; i++) {
        const tr_key_schema *k = &table->indexes[i].schema;
        for (uint32_t n = 0; ok && n < k->hash_count; n++)
            ok = fits(&k->hash[n], item, HASH_MAX, false);
        for (uint32_t n = 0; ok && n < k->range_count; n++)
            ok = fits(&k->range[n], item, RANGE_MAX, false);
    }
    return ok;
}
