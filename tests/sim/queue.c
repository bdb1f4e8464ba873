/* SPDX-License-Identifier: MIT */
#include "sim.h"

/* What happens next: a heap by time, and by order of planning among what happens at one time. */

static bool sooner(const sim_event *a, const sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

void sim_at(sim *s, int64_t at_ms, sim_fn *fn, void *ctx, uint64_t arg)
{
    sim_queue *q = &s->queue;
    if (q->count + 2 > q->capacity) {
        size_t capacity = q->capacity ? q->capacity * 2 : 1024;
        sim_event *heap = tr_realloc(q->heap, capacity * sizeof *heap);
        if (!heap) {
            sim_fail(s, "out of memory");
            return;
        }
        q->heap = heap;
        q->capacity = capacity;
    }
    sim_event e = {
        .at_ms = at_ms < s->now ? s->now : at_ms, .order = ++q->order, .fn = fn, .ctx = ctx, .arg = arg};
    size_t slot = ++q->count;
    while (slot > 1 && sooner(&e, &q->heap[slot / 2])) {
        q->heap[slot] = q->heap[slot / 2];
        slot /= 2;
    }
    q->heap[slot] = e;
}

bool sim_queue_pop(sim_queue *q, sim_event *ret_event)
{
    if (q->count == 0)
        return false;
    *ret_event = q->heap[1];
    sim_event last = q->heap[q->count--];
    size_t slot = 1;
    for (;;) {
        size_t child = slot * 2;
        if (child > q->count)
            break;
        if (child < q->count && sooner(&q->heap[child + 1], &q->heap[child]))
            child++;
        if (!sooner(&q->heap[child], &last))
            break;
        q->heap[slot] = q->heap[child];
        slot = child;
    }
    q->heap[slot] = last;
    return true;
}
