/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

/*
 * Reading one shard: an iterator, then pages with it, each of which brings the next iterator. When and how
 * much is decided here; what the answers mean, in answer.c.
 *
 *            +--------------------- sleep: idle, backoff, reads per second <-----------------+
 *            v                                                                               |
 *   OFF -> QUEUED -> no iterator: GetShardIterator --> QUEUED                                |
 *            |   \-> iterator:    GetRecords ----------> page: QUEUED; empty or error --------+
 *            v                            \----------> last page: the shard is DRAINING
 *         BLOCKED: too much is unacknowledged
 */

/** What a shard may always read if it has nothing unacknowledged, so that no shard starves another. */
#define SMALL_PAGE_RECORDS 100
#define SMALL_PAGE_BYTES   (256 * 1024)
/** First guess of a record's bytes. */
#define RECORD_BYTES 2048
/** Records reserved for a read that waits for the next change. */
/** Reads under way at a time unless set otherwise, and on the engine, which holds them open: as many as an
 * HTTP client has connections for, but for some. */
#define READS_MAX         32
#define READS_MAX_HELD    256
#define LONG_POLL_RECORDS 100

/* ----------------------------------------------------------------------------------------------- lists */

void tr__list_push(tr__list *list, tr__shard *s)
{
    s->ready_next = NULL;
    s->ready_prev = list->last;
    if (list->last)
        list->last->ready_next = s;
    else
        list->first = s;
    list->last = s;
    list->count++;
}

void tr__list_remove(tr__list *list, tr__shard *s)
{
    if (s->ready_prev)
        s->ready_prev->ready_next = s->ready_next;
    else
        list->first = s->ready_next;
    if (s->ready_next)
        s->ready_next->ready_prev = s->ready_prev;
    else
        list->last = s->ready_prev;
    s->ready_prev = s->ready_next = NULL;
    list->count--;
}

/* ------------------------------------------------------------------------------------------- when to read */

/** Takes the reader out of wherever it waits. */
static void park(tr__core *core, tr__shard *s)
{
    if (s->reader == TR__READER_QUEUED)
        tr__list_remove(&core->ready, s);
    else if (s->reader == TR__READER_BLOCKED)
        tr__list_remove(&core->blocked, s);
    else if (s->reader == TR__READER_SLEEPING)
        tr__timer_stop(core, &s->timer);
    s->call_id = 0; /* whatever is still answered is not listened to */
    s->reader = TR__READER_OFF;
}

void tr__reader_queue(tr__core *core, tr__shard *s)
{
    park(core, s);
    s->reader = TR__READER_QUEUED;
    tr__list_push(&core->ready, s);
}

void tr__reader_sleep(tr__core *core, tr__shard *s, int64_t delay_ms)
{
    park(core, s);
    s->reader = TR__READER_SLEEPING;
    tr__timer_set(core, &s->timer, core->now + (delay_ms > 0 ? delay_ms : 1));
}

static void block(tr__core *core, tr__shard *s)
{
    park(core, s);
    s->reader = TR__READER_BLOCKED;
    tr__list_push(&core->blocked, s);
}

void tr__reader_due(tr__core *core, tr__timer *timer)
{
    tr__shard *s = container_of(timer, tr__shard, timer);
    s->reader = TR__READER_OFF;
    tr__reader_queue(core, s);
}

/** Room has come back: blocked readers try again. */
void tr__reader_unblock(tr__core *core)
{
    if (!core->blocked.first ||
        core->unacked + core->reserved > core->o.max_records - core->o.max_records / 4 ||
        core->held_bytes + core->reserved_bytes > core->o.max_bytes - core->o.max_bytes / 4)
        return;
    while (core->blocked.first)
        tr__reader_queue(core, core->blocked.first);
}

void tr__reader_wake(tr__core *core, tr__shard *s)
{
    if (s->reader == TR__READER_BLOCKED)
        tr__reader_queue(core, s);
}

/* -------------------------------------------------------------------------------------------- open, close */

static bool note_is_fresh(const tr__core *core, const tr__shard *s)
{
    return s->note_iterator && (s->ack.kind == TR__POS_ITERATOR ||
                                tr__core_service_now(core) - s->note_ms < TR__ITERATOR_LIFE_MS);
}

/** Reads from the shard's first record, skipping what the position says. */
void tr__reader_rewind(tr__shard *s)
{
    tr_free(s->iterator);
    s->iterator = NULL;
    s->from.kind = TR__POS_TRIM;
    s->skip_since_ms = s->from.since_ms;
    s->skip_floor = s->from.floor;
    s->skip_inclusive = s->from.floor_inclusive;
}

void tr__reader_open(tr__core *core, tr__shard *s)
{
    if (s->ack.kind == TR__POS_END) {
        tr__shard_phase(core, s, TR__PHASE_DRAINING);
        s->ended = true;
        tr__shard_drained(core, s);
        return;
    }
    tr__shard_phase(core, s, TR__PHASE_READING);
    s->open_ms = core->now;
    s->tip_ms = s->acked_time_ms = s->settled_ms = -1;
    s->page_ms = 0;
    s->from = s->ack;
    s->read_seq = s->ack.kind == TR__POS_AFTER ? s->ack.seq : (tr__seq){0};
    s->verify = s->ended = s->first_page_done = false;
    s->late_check = s->ack.kind == TR__POS_TRIM || s->ack.kind == TR__POS_LATEST;
    s->empties = s->empty_run = s->failures = s->trims = s->missing = 0;
    s->skip_since_ms = s->ack.since_ms;
    s->skip_floor = s->ack.floor;
    s->skip_inclusive = s->ack.floor_inclusive;
    if (s->ack.kind == TR__POS_LATEST || s->ack.kind == TR__POS_ITERATOR) {
        if (!s->iterator && note_is_fresh(core, s))
            s->iterator = tr_strdup(s->note_iterator);
        if (s->iterator)
            s->skip_since_ms = -1;
        else
            tr__reader_rewind(s);
        if (!s->iterator && s->ack.kind == TR__POS_ITERATOR)
            tr__deliver_gap(core, s, TR_GAP_ITERATOR_EXPIRED, (tr_view){0}, (tr_view){0});
    }
    s->iterator_ms = core->now;
    /* a parent that left the stream before it was ever seen */
    if (s->found_late && s->parent[0] && !tr__graph_find(core, tr_view_str(s->parent)))
        tr__deliver_gap_of(core, s, tr_view_str(s->parent), TR_GAP_SHARD_GONE, (tr_view){0}, (tr_view){0});
    s->found_late = false;
    if (core->gone)
        tr__reader_gone(core, s, TR_GAP_STREAM_GONE);
    else if (!core->o.manual)
        tr__reader_queue(core, s);
}

void tr__reader_close(tr__core *core, tr__shard *s)
{
    park(core, s);
    if (s->credit) {
        s->credit = 0;
        core->poll_credits--;
    }
    s->long_polling = false;
}

/** The shard's last page has come, or will never come. */
void tr__reader_end(tr__core *core, tr__shard *s)
{
    tr__reader_close(core, s);
    tr_free(s->iterator);
    s->iterator = NULL;
    s->ended = s->closed = true;
    tr__shard_phase(core, s, TR__PHASE_DRAINING);
    if (!s->children && !core->gone)
        tr__listing_children(core, s);
    tr__shard_drained(core, s);
}

void tr__reader_gone(tr__core *core, tr__shard *s, tr_gap_reason reason)
{
    if (s->phase != TR__PHASE_WAITING && s->phase != TR__PHASE_READING)
        return;
    if (!tr__lease_ours(core, s))
        return;
    if (s->phase == TR__PHASE_WAITING && s->ack.kind == TR__POS_AFTER)
        s->read_seq = s->ack.seq;
    tr__deliver_gap(core, s, reason, tr__seq_view(&s->read_seq), (tr_view){0});
    tr__reader_end(core, s);
}

void tr__reader_bookmark(tr__core *core, tr__shard *s)
{
    tr__reader_queue(core, s);
}

/* ------------------------------------------------------------------------------------------ how much to read
 */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t less(size_t a, size_t b)
{
    return a > b ? a - b : 0;
}

/**
 * Records that the shard may ask for now, 0: none. Each shard has its share of what may be unacknowledged, so
 * that one whose records are not acknowledged leaves room to the others.
 */
static unsigned allowance(const tr__core *core, const tr__shard *s)
{
    const tr_stream_options *o = &core->o;
    size_t active = core->phase_count[TR__PHASE_READING] ? core->phase_count[TR__PHASE_READING] : 1;
    size_t each = s->page_average ? s->page_average : RECORD_BYTES;
    size_t share =
        o->max_records / active > SMALL_PAGE_RECORDS ? o->max_records / active : SMALL_PAGE_RECORDS;
    size_t bytes = o->max_bytes / active > SMALL_PAGE_BYTES ? o->max_bytes / active : SMALL_PAGE_BYTES;
    size_t full = least(least(o->page_records, share), o->max_records);
    full = least(full, bytes / each + 1);
    size_t n = least(full, less(o->max_records, core->unacked + core->reserved));
    n = least(n, less(share, s->unacked));
    n = least(n, less(o->max_bytes, core->held_bytes + core->reserved_bytes) / each);
    n = least(n, less(bytes, s->unacked_bytes) / each);
    if (n >= (full + 7) / 8)
        return (unsigned)n;
    if (s->unacked)
        return 0;
    size_t small = SMALL_PAGE_BYTES / each ? SMALL_PAGE_BYTES / each : 1;
    return (unsigned)least(least(small, SMALL_PAGE_RECORDS), full);
}

/* ----------------------------------------------------------------------------------------------- requests */

static void from_position(const tr__shard *s, tr__req *req)
{
    if (s->bookmarking) {
        req->iterator_type = TR__ITERATOR_LATEST;
    } else if (s->verify) {
        req->iterator_type = TR__ITERATOR_TRIM_HORIZON;
    } else if (s->read_seq.len) {
        req->iterator_type = TR__ITERATOR_AFTER;
        req->sequence_number = tr__seq_view(&s->read_seq);
    } else if (s->from.kind == TR__POS_AT) {
        req->iterator_type = TR__ITERATOR_AT;
        req->sequence_number = tr__seq_view(&s->from.seq);
    } else {
        req->iterator_type = TR__ITERATOR_TRIM_HORIZON;
    }
}

static tr__pending *call(tr__core *core, tr__shard *s, tr__req_kind kind, tr__req *req)
{
    tr__pending *c = tr__core_call(core, kind, s);
    if (!c)
        return NULL;
    core->reads++;
    *req = (tr__req){.id = c->id,
                     .kind = kind,
                     .stream_arn = tr_view_str(core->arn),
                     .shard_id = tr_view_str(s->id),
                     .keep_raw = core->o.keep_raw};
    return c;
}

static bool ask_iterator(tr__core *core, tr__shard *s, tr__req *req)
{
    tr__pending *c = call(core, s, TR__REQ_GET_ITERATOR, req);
    if (!c)
        return false;
    core->stats.calls_iterator++;
    c->bookmark = s->bookmarking;
    from_position(s, req);
    return true;
}

size_t tr__reads_max(const tr__core *core)
{
    if (core->o.max_reads)
        return core->o.max_reads;
    return core->server == TR__SERVER_TAILRACE ? READS_MAX_HELD : READS_MAX;
}

/** Whether the engine should hold the read open until something comes. */
static bool may_wait(const tr__core *core, const tr__shard *s)
{
    return core->server == TR__SERVER_TAILRACE && s->empties > 0 && !core->o.manual &&
           core->phase_count[TR__PHASE_READING] <= tr__reads_max(core);
}

static bool ask_records(tr__core *core, tr__shard *s, unsigned limit, tr__req *req)
{
    bool wait = may_wait(core, s);
    /* what is reserved for reads that wait must leave room for those that bring something */
    size_t fair = core->o.max_records / (2 * core->phase_count[TR__PHASE_READING] + 1);
    unsigned most = fair >= LONG_POLL_RECORDS ? LONG_POLL_RECORDS : fair ? (unsigned)fair : 1;
    if (wait && limit > most)
        limit = most;
    tr__pending *c = call(core, s, TR__REQ_GET_RECORDS, req);
    if (!c)
        return false;
    core->stats.calls_records++;
    c->limit = limit;
    c->reserved_bytes = limit * (s->page_average ? s->page_average : RECORD_BYTES);
    core->reserved += c->limit;
    core->reserved_bytes += c->reserved_bytes;
    c->long_poll = s->long_polling = wait;
    req->iterator = tr_view_str(s->iterator);
    req->limit = limit;
    /* a read cannot be called back: with few to spare, none may keep a new shard waiting for long */
    bool plenty = core->phase_count[TR__PHASE_READING] * 2 <= tr__reads_max(core);
    req->wait_ms = s->wait_ms = !wait ? 0 : plenty ? core->o.hold_ms : (core->o.hold_ms + 9) / 10;
    s->called_ms = core->now;
    int64_t every = core->o.read_every_ms ? core->o.read_every_ms : core->server == TR__SERVER_AWS ? 200 : -1;
    s->next_read_ms = core->now + (every > 0 ? every : 0);
    return true;
}

/** Whether a request was made for the shard, which was at the head of the queue. */
static bool step(tr__core *core, tr__shard *s, tr__req *req)
{
    if (s->phase != TR__PHASE_READING && !s->bookmarking) {
        park(core, s);
        return false;
    }
    bool records = s->iterator && !s->bookmarking;
    unsigned limit = 0;
    if (records && core->now < s->next_read_ms) {
        tr__reader_sleep(core, s, s->next_read_ms - core->now);
        return false;
    }
    if (records && (limit = allowance(core, s)) == 0) {
        if (core->o.manual)
            tr__reader_close(core, s); /* not in this round */
        else
            block(core, s);
        return false;
    }
    if (records ? ask_records(core, s, limit, req) : ask_iterator(core, s, req)) {
        park(core, s);
        s->reader = TR__READER_CALLING;
        s->call_id = req->id;
        return true;
    }
    tr__reader_sleep(core, s, core->o.retry_min_ms);
    return false;
}

static bool export_step(tr__core *core, tr__req *req)
{
    if (core->exports == core->exports_sent)
        return false;
    for (tr__shard *s = core->shards; s; s = s->hh.next) {
        if (!s->export_wanted)
            continue;
        tr__pending *c = call(core, s, TR__REQ_GET_ITERATOR, req);
        if (!c)
            return false;
        core->exports_sent++;
        s->export_wanted = false;
        c->exporting = true;
        req->iterator_type = TR__ITERATOR_TRIM_HORIZON;
        if (s->ack.kind == TR__POS_AFTER || s->ack.kind == TR__POS_AT) {
            req->iterator_type = s->ack.kind == TR__POS_AT ? TR__ITERATOR_AT : TR__ITERATOR_AFTER;
            req->sequence_number = tr__seq_view(&s->ack.seq);
        }
        return true;
    }
    return false;
}

bool tr__reader_request(tr__core *core, tr__req *ret_request)
{
    if (core->stopping)
        return false;
    while (core->reads < tr__reads_max(core)) {
        if (export_step(core, ret_request))
            return true;
        if (!core->ready.first)
            return false;
        if (step(core, core->ready.first, ret_request))
            return true;
    }
    return false;
}
