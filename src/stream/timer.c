/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

/* A binary heap of timers by due time; each knows its slot, so that it can be moved and removed. */

int tr__timers_reserve(tr__timers *t, size_t more)
{
    if (t->reserved + more + 1 > t->capacity) {
        size_t capacity = (t->reserved + more + 1) * 2;
        tr__timer **heap = tr_realloc(t->heap, capacity * sizeof *heap);
        if (!heap)
            return TR_ENOMEM;
        t->heap = heap;
        t->capacity = capacity;
    }
    t->reserved += more;
    return 0;
}

void tr__timers_release(tr__timers *t, size_t fewer)
{
    t->reserved -= fewer;
}

static void place(tr__timers *t, size_t slot, tr__timer *timer)
{
    t->heap[slot] = timer;
    timer->slot = slot;
}

static void sift_up(tr__timers *t, size_t slot)
{
    tr__timer *timer = t->heap[slot];
    while (slot > 1 && t->heap[slot / 2]->at_ms > timer->at_ms) {
        place(t, slot, t->heap[slot / 2]);
        slot /= 2;
    }
    place(t, slot, timer);
}

static void sift_down(tr__timers *t, size_t slot)
{
    tr__timer *timer = t->heap[slot];
    for (;;) {
        size_t child = slot * 2;
        if (child > t->count)
            break;
        if (child < t->count && t->heap[child + 1]->at_ms < t->heap[child]->at_ms)
            child++;
        if (t->heap[child]->at_ms >= timer->at_ms)
            break;
        place(t, slot, t->heap[child]);
        slot = child;
    }
    place(t, slot, timer);
}

void tr__timer_stop(tr__core *core, tr__timer *timer)
{
    tr__timers *t = &core->timers;
    size_t slot = timer->slot;
    if (slot == 0)
        return;
    timer->slot = 0;
    tr__timer *last = t->heap[t->count--];
    if (last == timer)
        return;
    place(t, slot, last);
    sift_up(t, slot);
    sift_down(t, last->slot);
}

void tr__timer_set(tr__core *core, tr__timer *timer, int64_t at_ms)
{
    tr__timers *t = &core->timers;
    assert(timer->fn);
    tr__timer_stop(core, timer);
    assert(t->count + 1 < t->capacity);
    timer->at_ms = at_ms;
    t->count++;
    place(t, t->count, timer);
    sift_up(t, t->count);
}

void tr__timers_run(tr__core *core)
{
    tr__timers *t = &core->timers;
    while (t->count && t->heap[1]->at_ms <= core->now) {
        tr__timer *timer = t->heap[1];
        tr__timer_stop(core, timer);
        timer->fn(core, timer);
    }
}
