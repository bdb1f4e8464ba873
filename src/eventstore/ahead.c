/* SPDX-License-Identifier: MIT */
#include "eventstore/ahead.h"

#include "eventstore/model.h"

#include "base/hash.h"

#define COUNT_MAX  1000000
#define MEMORY_MAX ((size_t)1 << 30)

typedef struct tr__ahead_slot {
    tr__ahead_entry entry;
    UT_hash_handle hh;
} slot;

void tr__ahead_init(tr__ahead *a)
{
    *a = (tr__ahead){0};
    tr_arena_init(&a->memory, MEMORY_MAX);
    tr_buf_init(&a->key, 2 * TR_EVENT_KEY_MAX);
}

void tr__ahead_clear(tr__ahead *a)
{
    HASH_CLEAR(hh, a->slots);
    a->slots = NULL;
    a->count = a->uncovered = 0;
    tr_arena_reset(&a->memory);
}

void tr__ahead_done(tr__ahead *a)
{
    tr__ahead_clear(a);
    tr_arena_done(&a->memory);
    tr_buf_done(&a->key);
}

int tr__ahead_find(tr__ahead *a, const tr_subscribed *event, bool add, tr__ahead_entry **ret_entry,
                   bool *ret_fresh)
{
    slot *s = NULL;
    *ret_entry = NULL;
    tr_buf_reset(&a->key);
    tr__aggregate_key(&a->key, event);
    if (tr_buf_status(&a->key))
        return tr_buf_status(&a->key);
    HASH_FIND(hh, a->slots, a->key.ptr, a->key.len, s);
    if (!s && add && a->count < COUNT_MAX) {
        s = tr_arena_calloc(&a->memory, 1, sizeof *s);
        tr_view key = tr_arena_copy(&a->memory, tr_buf_view(&a->key));
        if (!s || !key.ptr)
            return TR_ENOMEM;
        s->entry.key = key;
        HASH_ADD_KEYPTR(hh, a->slots, key.ptr, key.len, s);
        if (!s->hh.tbl)
            return TR_ENOMEM;
        a->count++;
        *ret_fresh = true;
    }
    if (s)
        *ret_entry = &s->entry;
    return 0;
}

void tr__ahead_set(tr__ahead *a, tr__ahead_entry *entry, bool before, uint64_t version)
{
    a->uncovered -= entry->of[1] > entry->of[0];
    if (version > entry->of[before])
        entry->of[before] = version;
    a->uncovered += entry->of[1] > entry->of[0];
}
