/* SPDX-License-Identifier: MIT */
#include "engine/engine_private.h"

/*
 * Open addressing with linear probing, at most half full. Emptied by starting a new round, so that a small
 * batch after a large one costs nothing. Two keys of one hash only cause a batch to be written early.
 */
#define FIRST_CAP 256

void tr__touched_done(tr__touched *touched)
{
    tr_free(touched->slots);
    *touched = (tr__touched){0};
}

void tr__touched_clear(tr__touched *touched)
{
    touched->count = 0;
    if (++touched->round == 0) { /* once in 2^32 batches */
        if (touched->slots)
            memset(touched->slots, 0, touched->cap * sizeof *touched->slots);
        touched->round = 1;
    }
}

static struct tr__touched_slot *find(const tr__touched *touched, uint64_t hash)
{
    size_t at = (size_t)hash & (touched->cap - 1);
    while (touched->slots[at].round == touched->round && touched->slots[at].hash != hash)
        at = (at + 1) & (touched->cap - 1);
    return &touched->slots[at];
}

bool tr__touched_has(const tr__touched *touched, uint64_t hash)
{
    return touched->count > 0 && find(touched, hash)->round == touched->round;
}

static int grow(tr__touched *touched)
{
    tr__touched larger = {.cap = touched->cap ? touched->cap * 2 : FIRST_CAP,
                          .count = touched->count,
                          .round = touched->round ? touched->round : 1};
    larger.slots = tr_calloc(larger.cap, sizeof *larger.slots);
    if (!larger.slots)
        return TR_ENOMEM;
    for (size_t i = 0; i < touched->cap; i++)
        if (touched->slots[i].round == touched->round)
            *find(&larger, touched->slots[i].hash) = touched->slots[i];
    tr_free(touched->slots);
    *touched = larger;
    return 0;
}

int tr__touched_add(tr__touched *touched, uint64_t hash)
{
    if (touched->count * 2 >= touched->cap) {
        int rc = grow(touched);
        if (rc)
            return rc;
    }
    struct tr__touched_slot *slot = find(touched, hash);
    if (slot->round != touched->round)
        touched->count++;
    *slot = (struct tr__touched_slot){hash, touched->round};
    return 0;
}
