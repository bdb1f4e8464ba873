/* SPDX-License-Identifier: MIT */
#include "tables.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

int tr__vec_grow(void *at_ptr, uint32_t *cap, size_t need, size_t element)
{
    if (need <= *cap)
        return 0;
    if (need >= UINT32_MAX / 2)
        return TR_ELIMIT;
    size_t want = *cap ? (size_t)*cap * 2 : 8;
    if (want < need)
        want = need;
    if (want > SIZE_MAX / element)
        return TR_ELIMIT;
    void *at;
    memcpy(&at, at_ptr, sizeof at);
    at = tr_realloc(at, want * element);
    if (!at)
        return TR_ENOMEM;
    memcpy(at_ptr, &at, sizeof at);
    *cap = (uint32_t)want;
    return 0;
}

uint64_t tr__hash(const void *bytes, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, len, seed);
}

/* ------------------------------------------------------------------------------------ 64-bit keys */

static int map_grow(struct tr__map *map)
{
    uint32_t size = map->slots ? (map->mask + 1) * 2 : 16;
    if (size > UINT32_C(1) << 30)
        return TR_ELIMIT;
    struct tr__map_slot *slots = tr_malloc(size * sizeof *slots);
    if (!slots)
        return TR_ENOMEM;
    for (uint32_t i = 0; i < size; i++)
        slots[i].key = UINT64_MAX;
    for (uint32_t i = 0; map->slots && i <= map->mask; i++) {
        struct tr__map_slot old = map->slots[i];
        if (old.key == UINT64_MAX)
            continue;
        uint32_t to = (uint32_t)tr__mix(old.key) & (size - 1);
        while (slots[to].key != UINT64_MAX)
            to = (to + 1) & (size - 1);
        slots[to] = old;
    }
    tr_free(map->slots);
    map->slots = slots;
    map->mask = size - 1;
    return 0;
}

int tr__map_set(struct tr__map *map, uint64_t key, uint32_t value)
{
    if (!map->slots || map->used + 1 > (map->mask + 1) / 4 * 3) {
        int e = map_grow(map);
        if (e)
            return e;
    }
    uint32_t i = (uint32_t)tr__mix(key) & map->mask;
    while (map->slots[i].key != UINT64_MAX && map->slots[i].key != key)
        i = (i + 1) & map->mask;
    map->used += map->slots[i].key == UINT64_MAX;
    map->slots[i] = (struct tr__map_slot){.key = key, .value = value};
    return 0;
}

void tr__map_done(struct tr__map *map)
{
    tr_free(map->slots);
    *map = (struct tr__map){0};
}

/* ------------------------------------------------------------------------------- interned strings */

static uint32_t find(const struct tr__intern *table, uint64_t space, const void *bytes, size_t len,
                     uint32_t hash)
{
    if (!table->slots)
        return TR__NONE;
    for (uint32_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        struct tr__intern_slot slot = table->slots[i];
        if (slot.id == TR__NONE)
            return TR__NONE;
        if (slot.hash != hash)
            continue;
        const struct tr__intern_key *key = &table->keys.at[slot.id];
        if (key->space == space && key->len == len && (len == 0 || memcmp(key->bytes, bytes, len) == 0))
            return slot.id;
    }
}

uint32_t tr__intern_find(const struct tr__intern *table, uint64_t space, const void *bytes, size_t len)
{
    return find(table, space, bytes, len, (uint32_t)tr__hash(bytes, len, space));
}

static void place(struct tr__intern_slot *slots, uint32_t mask, uint32_t hash, uint32_t id)
{
    uint32_t i = hash & mask;
    while (slots[i].id != TR__NONE)
        i = (i + 1) & mask;
    slots[i] = (struct tr__intern_slot){.hash = hash, .id = id};
}

static int intern_grow(struct tr__intern *table)
{
    uint32_t size = table->slots ? (table->mask + 1) * 2 : 16;
    if (size > UINT32_C(1) << 30)
        return TR_ELIMIT;
    struct tr__intern_slot *slots = tr_malloc(size * sizeof *slots);
    if (!slots)
        return TR_ENOMEM;
    memset(slots, 0xff, size * sizeof *slots);
    for (uint32_t i = 0; i < table->keys.len; i++)
        place(slots, size - 1, table->keys.at[i].hash, i);
    tr_free(table->slots);
    table->slots = slots;
    table->mask = size - 1;
    return 0;
}

int tr__intern_add(struct tr__intern *table, tr_arena *arena, uint64_t space, const void *bytes, size_t len,
                   uint32_t *ret_id, bool *ret_new)
{
    uint32_t hash = (uint32_t)tr__hash(bytes, len, space);
    uint32_t id = find(table, space, bytes, len, hash);
    if (ret_new)
        *ret_new = id == TR__NONE;
    if (id != TR__NONE) {
        *ret_id = id;
        return 0;
    }
    if (len > UINT32_MAX)
        return TR_ELIMIT;
    int e = TR__VEC_ROOM(&table->keys);
    if (!e && (!table->slots || table->keys.len + 1 > (table->mask + 1) / 4 * 3))
        e = intern_grow(table);
    if (e)
        return e;
    tr_view copy = tr_arena_copy(arena, tr_view_of(bytes, len));
    if (!copy.ptr)
        return arena->limit - arena->used <= len + 64 ? TR_ELIMIT : TR_ENOMEM;
    id = table->keys.len++;
    table->keys.at[id] =
        (struct tr__intern_key){.bytes = copy.ptr, .len = (uint32_t)len, .hash = hash, .space = space};
    place(table->slots, table->mask, hash, id);
    *ret_id = id;
    return 0;
}

void tr__intern_done(struct tr__intern *table)
{
    tr_free(table->slots);
    TR__VEC_FREE(&table->keys);
    *table = (struct tr__intern){0};
}
