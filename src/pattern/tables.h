/* SPDX-License-Identifier: MIT */
#ifndef TR_PATTERN_TABLES_H
#define TR_PATTERN_TABLES_H

/**
 * The containers of this room: vectors, a map of 64-bit keys, and interned byte strings. They are flat arrays
 * with 32-bit indexes instead of uthash's pointers because the automaton probes them several times per event:
 * a probe is one cache line here.
 */

#include <tailrace/base.h>

#define TR__NONE UINT32_MAX

/* A growing array. Zeroed is empty. */
#define TR__VEC(...)                                                                                         \
    struct {                                                                                                 \
        __VA_ARGS__ *at;                                                                                     \
        uint32_t len, cap;                                                                                   \
    }

/** Grows *at (an array of *cap elements) to hold `need` elements. 0, TR_ENOMEM or TR_ELIMIT. */
int tr__vec_grow(void *at_ptr, uint32_t *cap, size_t need, size_t element);
/** Room for one more element: 0 or an error. */
#define TR__VEC_ROOM(v)                                                                                      \
    ((v)->len < (v)->cap ? 0 : tr__vec_grow(&(v)->at, &(v)->cap, (size_t)(v)->len + 1, sizeof *(v)->at))
#define TR__VEC_FREE(v) (tr_free((v)->at), (v)->at = NULL, (v)->len = (v)->cap = 0)

/** Hash of bytes; `seed` separates the name spaces that share a table. */
uint64_t tr__hash(const void *bytes, size_t len, uint64_t seed);

/* ------------------------------------------------------------------------------------ 64-bit keys */

struct tr__map_slot {
    uint64_t key; /* UINT64_MAX: empty */
    uint32_t value;
};
/** Open addressing, at most 3/4 full, no deletion: set a value to TR__NONE instead. */
struct tr__map {
    struct tr__map_slot *slots;
    uint32_t mask, used; /* mask + 1 slots; 0 slots if slots is NULL */
};
static inline uint64_t tr__mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ (x >> 32);
}
/** TR__NONE if absent. */
static inline uint32_t tr__map_get(const struct tr__map *map, uint64_t key)
{
    if (!map->slots)
        return TR__NONE;
    for (uint32_t i = (uint32_t)tr__mix(key) & map->mask;; i = (i + 1) & map->mask) {
        const struct tr__map_slot *slot = &map->slots[i];
        if (slot->key == key)
            return slot->value;
        if (slot->key == UINT64_MAX)
            return TR__NONE;
    }
}
int tr__map_set(struct tr__map *map, uint64_t key, uint32_t value);
void tr__map_done(struct tr__map *map);
static inline uint64_t tr__key2(uint32_t high, uint32_t low)
{
    return (uint64_t)high * (UINT64_C(1) << 32) + low;
}

/* ------------------------------------------------------------------------------- interned strings */

struct tr__intern_slot {
    uint32_t hash;
    uint32_t id; /* TR__NONE: empty */
};
/** Byte strings under small dense numbers; `space` separates name spaces. */
struct tr__intern {
    struct tr__intern_slot *slots;
    uint32_t mask;
    TR__VEC(struct tr__intern_key {
        const char *bytes;
        uint32_t len;
        uint32_t hash;
        uint64_t space;
    })
    keys;
};
/** The id, or TR__NONE. */
uint32_t tr__intern_find(const struct tr__intern *table, uint64_t space, const void *bytes, size_t len);
/** Finds or adds (the bytes are copied to the arena). *ret_new may be NULL. 0, TR_ENOMEM, TR_ELIMIT. */
int tr__intern_add(struct tr__intern *table, tr_arena *arena, uint64_t space, const void *bytes, size_t len,
                   uint32_t *ret_id, bool *ret_new);
void tr__intern_done(struct tr__intern *table);

#endif
