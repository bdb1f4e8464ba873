/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

/*
 * From pages to the user and back. A shard's pages wait in order; their entries are spread over the shard's
 * lanes (one, or `parallelism` by key); the lanes that may deliver form a heap, oldest head first.
 *
 *   shard:  first_page -> page -> page -> last_page        lanes: [head e e tail] [head tail] []
 *              ^ front: everything before is acknowledged               \    core->lanes: heap
 */

/* ------------------------------------------------------------------------------------------------ lanes */

int tr__lanes_reserve(tr__core *core, size_t more)
{
    size_t want = core->lane_reserved + more + 1;
    if (want > core->lane_capacity) {
        tr__lane **lanes = tr_realloc(core->lanes, want * 2 * sizeof *lanes);
        if (!lanes)
            return TR_ENOMEM;
        core->lanes = lanes;
        core->lane_capacity = want * 2;
    }
    core->lane_reserved += more;
    return 0;
}

/** Which of two entries is handed out first. Gaps hold nothing back; commit order where the server has one.
 */
static bool before(const tr__core *core, const tr__entry *a, const tr__entry *b)
{
    const tr_record *ra = a->event.record, *rb = b->event.record;
    if (!ra || !rb)
        return ra == NULL && rb != NULL;
    if (core->server == TR__SERVER_TAILRACE)
        return tr_sequence_cmp(ra->sequence_number, rb->sequence_number) < 0;
    if (ra->time_ms != rb->time_ms)
        return ra->time_ms < rb->time_ms;
    return a->page->arrival < b->page->arrival;
}

static void place(tr__core *core, size_t slot, tr__lane *lane)
{
    core->lanes[slot] = lane;
    lane->slot = slot;
}

static void sift_up(tr__core *core, size_t slot)
{
    tr__lane *lane = core->lanes[slot];
    while (slot > 1 && before(core, lane->head, core->lanes[slot / 2]->head)) {
        place(core, slot, core->lanes[slot / 2]);
        slot /= 2;
    }
    place(core, slot, lane);
}

static void sift_down(tr__core *core, size_t slot)
{
    tr__lane *lane = core->lanes[slot];
    for (;;) {
        size_t child = slot * 2;
        if (child > core->lane_count)
            break;
        if (child < core->lane_count && before(core, core->lanes[child + 1]->head, core->lanes[child]->head))
            child++;
        if (!before(core, core->lanes[child]->head, lane->head))
            break;
        place(core, slot, core->lanes[child]);
        slot = child;
    }
    place(core, slot, lane);
}

static void leave_heap(tr__core *core, tr__lane *lane)
{
    size_t slot = lane->slot;
    if (slot == 0)
        return;
    lane->slot = 0;
    tr__lane *last = core->lanes[core->lane_count--];
    if (last == lane)
        return;
    place(core, slot, last);
    sift_up(core, slot);
    sift_down(core, last->slot);
}

/** Puts the lane where it belongs after its head or its state has changed. */
static void update(tr__core *core, tr__lane *lane)
{
    bool may = lane->head && !lane->delayed && (core->o.parallelism == 0 || lane->out == 0) &&
               tr__lease_may_deliver(core, lane->shard);
    if (!may) {
        leave_heap(core, lane);
        return;
    }
    if (!lane->slot) {
        core->lane_count++;
        place(core, core->lane_count, lane);
    }
    sift_up(core, lane->slot);
    sift_down(core, lane->slot);
}

static size_t lane_total(const tr__core *core)
{
    return core->o.parallelism ? core->o.parallelism : 1;
}

void tr__deliver_lanes(tr__core *core, tr__shard *s)
{
    for (size_t i = 0; i < lane_total(core); i++)
        update(core, &s->lanes[i]);
}

void tr__deliver_reorder(tr__core *core)
{
    for (size_t slot = core->lane_count / 2; slot >= 1; slot--)
        sift_down(core, slot);
}

void tr__lane_due(tr__core *core, tr__timer *timer)
{
    tr__lane *lane = container_of(timer, tr__lane, timer);
    lane->delayed = false;
    update(core, lane);
}

/** FNV-1a: spreads keys over lanes, nothing more. */
static uint8_t lane_of(const tr__core *core, const tr_record *record)
{
    if (core->o.parallelism < 2 || !record)
        return 0;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < record->keys.len; i++)
        h = (h ^ (uint8_t)record->keys.ptr[i]) * UINT64_C(0x100000001b3);
    return (uint8_t)((h >> 32) % core->o.parallelism);
}

static void enqueue(tr__core *core, tr__shard *s, tr__entry *e)
{
    tr__lane *lane = &s->lanes[e->lane];
    e->next = NULL;
    if (lane->tail)
        lane->tail->next = e;
    else
        lane->head = e;
    lane->tail = e;
    lane->queued++;
    core->queued++;
    if (lane->head == e)
        update(core, lane);
}

/** Spreads pages over the lanes, as far as a gap that is not acknowledged: with several lanes it is a
 * barrier. */
static void fill_lanes(tr__core *core, tr__shard *s)
{
    while (s->fill_page && !s->barrier) {
        tr__page *page = s->fill_page;
        s->fill_page = page->next;
        for (uint32_t i = 0; i < page->count; i++) {
            tr__entry *e = &page->entries[i];
            if (e->state != TR__ENTRY_QUEUED)
                continue;
            e->lane = lane_of(core, e->event.record);
            if (e->event.kind == TR_STREAM_GAP && core->o.parallelism > 1)
                s->barrier = page;
            enqueue(core, s, e);
        }
    }
}

/* ---------------------------------------------------------------------------------------- positions */

static void forget_note(tr__shard *s)
{
    tr_free(s->note_iterator);
    s->note_iterator = NULL;
}

/** Everything in the page before entry `to` is acknowledged. */
static void move_to(tr__core *core, tr__shard *s, tr__page *page, uint32_t to)
{
    if (page->gap.reason) {
        bool from_horizon = page->gap.reason == TR_GAP_TRIMMED || page->gap.reason == TR_GAP_ITERATOR_EXPIRED;
        if (!from_horizon)
            return;
        /* told and heard: a restart goes on from what is there, instead of telling it again */
        tr__seq after = tr__seq_of(page->gap.after);
        s->ack.kind = TR__POS_TRIM;
        s->ack.seq.len = 0;
        if (after.len) {
            s->ack.floor = after;
            s->ack.floor_inclusive = false;
        }
        s->ack.born_ms = tr__core_service_now(core);
        forget_note(s);
        tr__save_changed(core, s);
        return;
    }
    bool kept = false;
    for (uint32_t i = page->front; i < to && !kept; i++)
        kept = page->entries[i].event.delivery > 0;
    tr_view number = page->records[to - 1].sequence_number;
    /* a page read again from the horizon ends, at worst, before what is acknowledged */
    if (s->ack.kind == TR__POS_AFTER && tr_sequence_cmp(number, tr__seq_view(&s->ack.seq)) <= 0)
        return;
    if (!kept && (s->ack.kind == TR__POS_ITERATOR || s->ack.kind == TR__POS_LATEST))
        kept = true; /* behind the noted place: nothing is skipped there but duplicates */
    s->ack.kind = TR__POS_AFTER;
    s->ack.seq = tr__seq_of(number);
    s->ack.born_ms = -1;
    if (kept) {
        s->ack.since_ms = -1;
        s->ack.floor.len = 0;
    }
    forget_note(s);
    tr__save_changed(core, s);
}

static void drop_page(tr__core *core, tr__page *page)
{
    core->held_bytes -= page->bytes;
    tr__page_free(page);
}

/** Moves the acknowledged position, and frees the pages that are done. */
static void advance_front(tr__core *core, tr__shard *s)
{
    for (tr__page *page; (page = s->first_page) != NULL && page != s->fill_page;) {
        uint32_t to = page->front;
        while (to < page->count && page->entries[to].state == TR__ENTRY_ACKED)
            to++;
        if (to > page->front) {
            move_to(core, s, page, to);
            if (!page->gap.reason)
                s->acked_time_ms = page->records[to - 1].time_ms;
            page->front = to;
        }
        if (to < page->count)
            break;
        s->first_page = page->next;
        if (!s->first_page)
            s->last_page = NULL;
        s->unacked_bytes -= page->bytes;
        drop_page(core, page);
    }
    tr__shard_drained(core, s);
}

/** Once nothing of a shard that was read to its end is unacknowledged, its end is the position to save. */
void tr__shard_drained(tr__core *core, tr__shard *s)
{
    if (s->phase != TR__PHASE_DRAINING || !s->ended || s->first_page || s->ack.kind == TR__POS_END)
        return;
    s->ack = (tr__pos){.kind = TR__POS_END, .since_ms = -1, .born_ms = -1};
    forget_note(s);
    tr__save_changed(core, s);
}

void tr__deliver_page(tr__core *core, tr__shard *s, tr__page *page)
{
    page->shard = s;
    page->arrival = ++core->arrivals;
    if (s->last_page)
        s->last_page->next = page;
    else
        s->first_page = page;
    s->last_page = page;
    size_t kept = 0;
    for (uint32_t i = 0; i < page->count; i++)
        kept += page->entries[i].state != TR__ENTRY_ACKED;
    core->held_bytes += page->bytes;
    s->unacked_bytes += page->bytes;
    s->unacked += kept;
    core->unacked += kept;
    if (!s->fill_page)
        s->fill_page = page;
    fill_lanes(core, s);
    advance_front(core, s);
}

void tr__deliver_gap_of(tr__core *core, tr__shard *s, tr_view shard_id, tr_gap_reason reason, tr_view after,
                        tr_view before_)
{
    tr__page *page;
    core->stats.gaps++;
    if (tr__page_gap(reason, shard_id, after, before_, &page)) {
        /* no memory for so little: nothing else will work either, but the loss must not go unheard */
        tr_log(&core->o.logger, TR_LOG_ERROR,
               "records of %.*s may be missing (%s), and there is no memory to tell", TR_FMT(shard_id),
               tr_gap_reason_name(reason));
        return;
    }
    tr__deliver_page(core, s, page);
}

void tr__deliver_gap(tr__core *core, tr__shard *s, tr_gap_reason reason, tr_view after, tr_view before_)
{
    tr__deliver_gap_of(core, s, tr_view_str(s->id), reason, after, before_);
}

const char *tr_gap_reason_name(tr_gap_reason reason)
{
    static const char *const names[] = {"",    "trimmed", "shard-gone", "stream-gone", "iterator-expired",
                                        "late"};
    return (size_t)reason < TR_COUNT(names) ? names[reason] : "";
}

/** Forgets what is unacknowledged; entries that are handed out live until they are given back. */
void tr__deliver_forget(tr__core *core, tr__shard *s)
{
    for (size_t i = 0; i < lane_total(core); i++) {
        tr__lane *lane = &s->lanes[i];
        core->queued -= lane->queued;
        lane->head = lane->tail = NULL;
        lane->queued = lane->out = 0;
        lane->delayed = false;
        tr__timer_stop(core, &lane->timer);
        update(core, lane);
    }
    for (tr__page *page = s->first_page, *next; page; page = next) {
        next = page->next;
        page->shard = NULL;
        if (page->outstanding == 0)
            drop_page(core, page);
    }
    core->unacked -= s->unacked;
    s->first_page = s->last_page = s->fill_page = s->barrier = NULL;
    s->unacked = s->unacked_bytes = 0;
}

/* ------------------------------------------------------------------------------------------ handing out */

static tr_stream_event *take_info(tr__core *core)
{
    tr__info *info = core->info_first;
    core->info_first = info->next;
    if (!core->info_first)
        core->info_last = NULL;
    core->info_count--;
    if (info->entry.event.kind == TR_STREAM_TROUBLE)
        core->trouble_waiting = false;
    for (size_t i = 0; i < info->count; i++)
        info->ids[i] = tr_view_str(info->texts[i]);
    if (info->count) {
        info->entry.event.shards = info->ids;
        info->entry.event.shard_count = info->count;
    }
    info->entry.event.delivery = 1;
    return &info->entry.event;
}

static tr_stream_event *take_head(tr__core *core, tr__lane *lane)
{
    tr__entry *e = lane->head;
    lane->head = e->next;
    if (!lane->head)
        lane->tail = NULL;
    e->next = NULL;
    lane->queued--;
    core->queued--;
    lane->out++;
    e->state = TR__ENTRY_OUT;
    e->page->outstanding++;
    e->event.delivery++;
    if (e->event.kind == TR_STREAM_RECORD)
        core->stats.delivered++;
    return &e->event;
}

tr_stream_event *tr__core_take(tr__core *core)
{
    if (core->info_first)
        return take_info(core);
    if (core->lane_count == 0)
        return NULL;
    tr__lane *lane = core->lanes[1];
    tr_stream_event *event = take_head(core, lane);
    update(core, lane);
    return event;
}

size_t tr__core_take_batch(tr__core *core, size_t max, tr_stream_event **events)
{
    if (max == 0)
        return 0;
    if (core->info_first) {
        events[0] = take_info(core);
        return 1;
    }
    size_t n = 0;
    tr__lane *only = NULL;
    while (n < max && core->lane_count) {
        tr__lane *lane = core->lanes[1];
        bool gap = lane->head->event.kind != TR_STREAM_RECORD;
        if (gap && n)
            break;
        if (core->o.parallelism)
            only = lane;
        events[n++] = take_head(core, lane);
        while (only && n < max && only->head && only->head->event.kind == TR_STREAM_RECORD && !gap)
            events[n++] = take_head(core, only);
        update(core, lane);
        if (gap || only)
            break;
    }
    return n;
}

size_t tr__core_available(const tr__core *core, size_t max)
{
    size_t n = core->queued;
    if (core->info_first)
        return max ? 1 : 0;
    if (core->lane_count == 0)
        return 0;
    if (core->o.parallelism)
        n = core->lanes[1]->queued;
    if (core->lanes[1]->head->event.kind != TR_STREAM_RECORD)
        n = 1;
    return n < max ? n : max;
}

/* ------------------------------------------------------------------------------------------ coming back */

/** The entry is no longer out. False if its shard has been forgotten. */
static bool come_back(tr__core *core, tr__entry *e)
{
    tr__page *page = e->page;
    assert(e->state == TR__ENTRY_OUT);
    page->outstanding--;
    if (page->shard) {
        page->shard->lanes[e->lane].out--;
        return true;
    }
    e->state = TR__ENTRY_ACKED;
    if (page->outstanding == 0)
        drop_page(core, page);
    return false;
}

/** After an acknowledgement: nothing is left, and the tip was seen since the last page. */
static void check_caught(tr__core *core, tr__shard *s)
{
    if (s->unacked == 0 && s->phase == TR__PHASE_READING && !s->caught && s->empties > 0 &&
        s->tip_ms >= s->page_ms)
        tr__shard_caught(core, s, true);
}

void tr__core_ack(tr__core *core, tr_stream_event *event)
{
    tr__entry *e = (tr__entry *)(void *)event;
    if (!e->page) {
        tr__info_free((tr__info *)(void *)e);
        return;
    }
    if (!come_back(core, e))
        return;
    tr__shard *s = e->page->shard;
    tr__lane *lane = &s->lanes[e->lane];
    e->state = TR__ENTRY_ACKED;
    s->unacked--;
    core->unacked--;
    if (event->kind == TR_STREAM_RECORD)
        core->stats.acknowledged++;
    if (s->barrier == e->page) {
        s->barrier = NULL;
        fill_lanes(core, s);
    }
    update(core, lane);
    advance_front(core, s); /* frees the page */
    check_caught(core, s);
    if (s->unacked == 0 || s->unacked * 2 < core->o.page_records)
        tr__reader_wake(core, s);
    tr__reader_unblock(core);
    tr__lease_acked(core, s);
    if (core->gone && core->unacked == 0)
        tr__succession_check(core);
}

static bool earlier(const tr__entry *a, const tr__entry *b)
{
    return a->page->arrival != b->page->arrival ? a->page->arrival < b->page->arrival : a->index < b->index;
}

static void put_back(tr__lane *lane, tr__entry *e)
{
    tr__entry **at = &lane->head;
    while (*at && earlier(*at, e))
        at = &(*at)->next;
    e->next = *at;
    *at = e;
    if (!e->next)
        lane->tail = e;
    lane->queued++;
}

void tr__core_nack(tr__core *core, tr_stream_event *event, int64_t delay_ms)
{
    tr__entry *e = (tr__entry *)(void *)event;
    if (!e->page) {
        tr__info_free((tr__info *)(void *)e);
        return;
    }
    if (!come_back(core, e))
        return;
    tr__lane *lane = &e->page->shard->lanes[e->lane];
    e->state = TR__ENTRY_QUEUED;
    put_back(lane, e);
    core->queued++;
    if (delay_ms > 0) {
        lane->delayed = true;
        tr__timer_set(core, &lane->timer, core->now + delay_ms);
    }
    update(core, lane);
    tr__lease_acked(core, e->page->shard);
}
