/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

/*
 * What the answers to GetShardIterator and GetRecords mean for a shard. Nothing that a server says of trimmed
 * data, a missing shard or a refused sequence number is believed at once: DynamoDB Local now and then refuses
 * fresh iterators. It is asked TR__DOUBT_TRIES times with fresh iterators, and then the shard is read from
 * TRIM_HORIZON ("verify"): if a record up to the last known one is still there nothing is missing, else a gap
 * is told.
 */

/** Data trimmed under an iterator younger than this were trimmed before, too: the refusal means nothing. */
#define FRESH_ITERATOR_MS 60000
/** Reading that begins this close to the retention's end counts as late. */
#define LATE_MARGIN_MS 60000

/** Empty pages in a row after which nothing more is expected from a shard's beginning. */
#define SURE_PAGES 20

static void take_iterator(tr__core *core, tr__shard *s, char *iterator)
{
    tr_free(s->iterator);
    s->iterator = iterator;
    s->iterator_ms = core->now;
}

static char *copy_text(tr_view text)
{
    char *copy = tr_malloc(text.len + 1);
    if (copy) {
        memcpy(copy, text.ptr, text.len);
        copy[text.len] = 0;
    }
    return copy;
}

static void credit_used(tr__core *core, tr__shard *s)
{
    if (s->credit) {
        s->credit = 0;
        core->poll_credits--;
    }
}

/** The call failed: again after a while. */
static void retry(tr__core *core, tr__shard *s, const char *doing, const tr_error *error)
{
    s->failures++;
    int64_t delay = tr__core_backoff(core, s->failures);
    tr__core_failed(core, s, doing, s->failures, delay, error);
    if (core->o.manual && !s->bookmarking && s->failures % TR__DOUBT_TRIES == 0) {
        credit_used(core, s);
        s->reader = TR__READER_OFF;
        return;
    }
    s->reader = TR__READER_OFF;
    tr__reader_sleep(core, s, delay);
}

/** The place that is to be found again. */
static tr_view place_of(const tr__shard *s)
{
    return s->read_seq.len ? tr__seq_view(&s->read_seq) : tr__seq_view(&s->from.seq);
}

/* ---------------------------------------------------------------------------------------------- errors */

/** The iterator is of no use. With nothing read yet, the next one begins at the shard's oldest record. */
static void drop_iterator(tr__core *core, tr__shard *s)
{
    take_iterator(core, s, NULL);
    s->empties = 0; /* the next one may begin with empty pages of its own */
    if (s->read_seq.len || s->from.kind == TR__POS_AT)
        return;
    if (s->from.kind == TR__POS_LATEST || s->from.kind == TR__POS_ITERATOR)
        tr__reader_rewind(s);
    if (s->tip_ms >= 0) /* until then there was nothing to lose */
        s->from.born_ms = tr__core_service_now(core) - (core->now - s->tip_ms);
    s->late_check = true;
}

static void expired(tr__core *core, tr__shard *s)
{
    core->stats.expired_iterators++;
    if (s->from.kind == TR__POS_ITERATOR && !s->read_seq.len)
        tr__deliver_gap(core, s, TR_GAP_ITERATOR_EXPIRED, (tr_view){0}, (tr_view){0});
    drop_iterator(core, s);
}

/** The position is refused, with fresh iterators too: look from the shard's beginning. */
static void doubt(tr__core *core, tr__shard *s)
{
    bool has_place = s->read_seq.len || s->from.kind == TR__POS_AT;
    bool old = core->now - s->iterator_ms >= FRESH_ITERATOR_MS;
    drop_iterator(core, s);
    s->trims++;
    if (has_place && s->trims >= TR__TRIM_TRIES && !s->verify) {
        s->verify = true;
        if (!s->read_seq.len) {
            s->skip_floor = s->from.seq;
            s->skip_inclusive = true;
        }
    } else if (!has_place && s->first_page_done && old) {
        /* it had been idle (or held back) so long that what then came is gone again */
        tr__deliver_gap(core, s, TR_GAP_TRIMMED, (tr_view){0}, (tr_view){0});
        s->late_check = false;
    }
}

/**
 * The number is none of this shard's. Where it positions all shards by order that is nothing special: the
 * shard is read from its beginning, what is older is skipped, and nobody needs to be told (true).
 */
static bool not_its_number(tr__core *core, tr__shard *s)
{
    bool by_order =
        s->from.floor.len && !s->first_page_done && tr__seq_cmp(&s->from.floor, &s->from.seq) == 0;
    if (!by_order) {
        doubt(core, s);
        return false;
    }
    s->read_seq.len = 0;
    tr__reader_rewind(s);
    s->reader = TR__READER_OFF;
    tr__reader_sleep(core, s, tr__core_backoff(core, 1));
    return true;
}

static bool is_gone(tr__core *core, tr__shard *s)
{
    s->missing++;
    drop_iterator(core, s);
    if (s->missing < TR__DOUBT_TRIES)
        return false;
    tr__listing_want(core);
    tr__reader_gone(core, s, TR_GAP_SHARD_GONE);
    return true;
}

/** Refused for what was asked, not for how the server feels. */
static bool refused(const tr__answer *a)
{
    return a->code == TR_ESERVICE && (!a->error || a->error->http_status < 500);
}

static void read_failed(tr__core *core, tr__shard *s, const char *doing, const tr__answer *a, bool iterator)
{
    switch (a->code) {
    case TR_EEXPIRED:
        expired(core, s);
        break;
    case TR_ETRIMMED:
        doubt(core, s);
        break;
    case TR_ENOTFOUND:
        if (is_gone(core, s))
            return;
        break;
    case TR_ESERVICE: /* ValidationException: of the number, or of the iterator */
        if (!refused(a))
            break;
        if (iterator && not_its_number(core, s))
            return;
        if (iterator)
            break;
        if (s->from.kind == TR__POS_ITERATOR)
            expired(core, s);
        else
            drop_iterator(core, s);
        break;
    default:
        break;
    }
    retry(core, s, doing, a->error);
}

/* ------------------------------------------------------------------------------------------- iterators */

static void marked(tr__core *core, tr__shard *s)
{
    s->bookmarking = false;
    s->failures = 0;
    tr__save_changed(core, s);
    for (tr__shard *other = core->shards; other; other = other->hh.next)
        if (other->bookmarking)
            return;
    if (core->stage == TR__STAGE_MARK)
        tr__core_stage(core, TR__STAGE_SAVE);
}

static void bookmark_answered(tr__core *core, tr__shard *s, const tr__answer *a)
{
    char *note = a->code ? NULL : copy_text(a->iterator);
    char *iterator = note ? tr_strdup(note) : NULL;
    if (iterator) {
        tr_free(s->note_iterator);
        s->note_iterator = note;
        s->note_ms = tr__core_service_now(core);
        take_iterator(core, s, iterator);
        marked(core, s);
        return;
    }
    tr_free(note);
    if (s->failures + 1 < TR__DOUBT_TRIES) {
        retry(core, s, "GetShardIterator", a->error);
        return;
    }
    /* the start of the others is not held up: this one is read from its beginning, and what is older skipped
     */
    s->ack.kind = TR__POS_TRIM;
    marked(core, s);
}

static void export_answered(tr__core *core, tr__shard *s, const tr__answer *a)
{
    core->exports--;
    core->exports_sent--;
    tr_free(s->export_iterator);
    s->export_iterator = a->code ? NULL : copy_text(a->iterator);
}

void tr__reader_iterator(tr__core *core, tr__pending *call, tr__answer *a)
{
    tr__shard *s = call->shard;
    if (call->exporting) {
        export_answered(core, s, a);
        return;
    }
    if (s->call_id != call->id)
        return; /* the shard was closed meanwhile */
    s->reader = TR__READER_OFF;
    s->call_id = 0;
    if (call->bookmark) {
        bookmark_answered(core, s, a);
        return;
    }
    if (a->code) {
        read_failed(core, s, "GetShardIterator", a, true);
        return;
    }
    char *iterator = copy_text(a->iterator);
    if (!iterator) {
        retry(core, s, "GetShardIterator", NULL);
        return;
    }
    take_iterator(core, s, iterator);
    tr__reader_queue(core, s);
}

/* --------------------------------------------------------------------------------------------- records */

static bool older(const tr__core *core, const tr__shard *s, const tr_record *r)
{
    if (s->skip_since_ms < 0)
        return false;
    /* the service's times are rounded down; what shares the moment is kept */
    int64_t grain = core->server == TR__SERVER_OTHER ? 60000 : 1000;
    return r->time_ms < s->skip_since_ms - s->skip_since_ms % grain;
}

static bool below(const tr__shard *s, tr_view number)
{
    if (!s->skip_floor.len)
        return false;
    int c = tr_sequence_cmp(number, tr__seq_view(&s->skip_floor));
    return c < 0 || (c == 0 && !s->skip_inclusive);
}

/** Marks what is not to be handed out. An error of the user's transform is returned. */
static int sift(tr__core *core, tr__shard *s, tr__page *page)
{
    tr__seq last = s->read_seq, floor = s->skip_floor;
    int64_t since = s->skip_since_ms;
    for (uint32_t i = 0; i < page->count; i++) {
        tr_record *r = &page->records[i];
        bool seen = last.len && tr_sequence_cmp(r->sequence_number, tr__seq_view(&last)) <= 0;
        if (seen || below(s, r->sequence_number) || older(core, s, r)) {
            page->entries[i].state = TR__ENTRY_ACKED;
            core->stats.skipped++;
            continue;
        }
        last = tr__seq_of(r->sequence_number);
        s->skip_floor.len = 0; /* from the first record that is kept, all are */
        s->skip_since_ms = -1;
        bool keep = !core->o.filter || core->o.filter(core->o.filter_ctx, r);
        if (keep && core->o.transform) {
            int code = core->o.transform(core->o.transform_ctx, r, &page->arena);
            if (code && code != TR_ENOTFOUND) {
                s->skip_floor = floor;
                s->skip_since_ms = since;
                return code;
            }
            keep = code == 0;
        }
        if (!keep) {
            page->entries[i].state = TR__ENTRY_ACKED;
            core->stats.filtered++;
        }
    }
    return 0;
}

/** Gaps that only a page can tell. */
static void tell_gaps(tr__core *core, tr__shard *s, const tr__page *page, bool tip, bool ended)
{
    tr_view first = page ? page->records[0].sequence_number : (tr_view){0};
    if (s->late_check) {
        s->late_check = false;
        int64_t age = tr__core_service_now(core) - s->from.born_ms;
        if (s->from.born_ms >= 0 && s->from.kind == TR__POS_TRIM &&
            age > core->o.retention_ms - LATE_MARGIN_MS)
            tr__deliver_gap(core, s, TR_GAP_LATE, (tr_view){0}, first);
    }
    /* on AWS a good many empty pages may come before the first record */
    bool sure = ended || (tip && (core->server != TR__SERVER_AWS || s->empties >= SURE_PAGES));
    if (!s->verify || (!page && !sure))
        return;
    s->verify = false;
    if (!page ||
        tr_sequence_cmp(first, place_of(s)) > 0) /* what was to be read AT its number is missing, too */
        tr__deliver_gap(core, s, TR_GAP_TRIMMED, tr__seq_view(&s->read_seq), first);
}

static unsigned tip_pages(const tr__core *core)
{
    if (core->o.tip_pages)
        return core->o.tip_pages;
    return core->server == TR__SERVER_TAILRACE ? 1 : core->server == TR__SERVER_AWS ? 5 : 2;
}

/**
 * On AWS an empty answer may come in the middle of a shard, but not tip_pages of them in a row: one of those
 * was given at the tip, and the first may have been that one.
 */
static void take_empty(tr__core *core, tr__shard *s, const tr__pending *call)
{
    unsigned tip = tip_pages(core);
    s->empties++;
    if (s->empty_run == 0)
        s->empty_ms = call->sent_ms;
    if (++s->empty_run < tip)
        return;
    s->settled_ms = s->empty_ms;
    s->empty_run = 0;
}

static void take_page(tr__core *core, tr__shard *s, tr__page *page, size_t body_bytes)
{
    uint32_t count = page->count;
    int64_t newest = page->records[count - 1].time_ms;
    s->page_average =
        (s->page_average ? s->page_average * 3 + page->bytes / count : page->bytes / count * 4) / 4;
    s->records += count;
    s->bytes += body_bytes;
    core->stats.records += count;
    s->empties = 0;
    s->settled_ms = -1;
    s->empty_run = 0;
    s->page_ms = core->now;
    if (!s->read_seq.len || tr__seq_cmp(&page->last, &s->read_seq) > 0)
        s->read_seq = page->last;
    if (core->caught_up && tr__core_service_now(core) - newest > core->o.behind_ms + 60000)
        core->caught_up = false; /* it will be told again */
    tr__shard_caught(core, s, false);
    tr__deliver_page(core, s, page);
}

static void go_on(tr__core *core, tr__shard *s, const tr__pending *call, bool empty)
{
    s->reader = TR__READER_OFF;
    unsigned tip = tip_pages(core);
    if (core->o.manual) {
        if (s->credit && core->poll_drain && (!empty || s->empties < tip))
            tr__reader_queue(core, s);
        else
            credit_used(core, s);
        return;
    }
    bool waited = call->long_poll && core->now - s->called_ms >= s->wait_ms / 2;
    bool will_wait = core->server == TR__SERVER_TAILRACE && !call->long_poll &&
                     core->phase_count[TR__PHASE_READING] <= tr__reads_max(core);
    if (!empty || s->empties < tip || waited || will_wait) {
        tr__reader_queue(core, s);
        return;
    }
    int64_t delay = core->o.idle_min_ms;
    for (unsigned i = tip; i < s->empties && delay < core->o.idle_max_ms; i++)
        delay *= 2;
    if (delay > core->o.idle_max_ms)
        delay = core->o.idle_max_ms;
    delay -= tr_backoff_ms(&core->rng, 0, delay / 8, delay); /* so that shards do not march in step */
    tr__reader_sleep(core, s, delay);
}

/** False if the page must be read again. */
static bool accept_page(tr__core *core, tr__shard *s, const tr__pending *call, tr__answer *a)
{
    bool ended = a->iterator.len == 0;
    char *iterator = ended ? NULL : copy_text(a->iterator);
    int code = !ended && !iterator ? TR_ENOMEM : a->page ? sift(core, s, a->page) : 0;
    if (code) {
        tr_error e;
        (void)tr_fail(&e, code, "records could not be taken in: %s", tr_strerror(code));
        tr_free(iterator);
        tr__page_free(a->page);
        retry(core, s, "transform", &e);
        return false;
    }
    s->failures = s->trims = s->missing = 0;
    s->first_page_done = true;
    core->stats.bytes += a->body_bytes;
    if (!a->page)
        take_empty(core, s, call);
    core->stats.empty_pages += !a->page;
    bool tip = !ended && s->empties >= tip_pages(core);
    tell_gaps(core, s, a->page, tip, ended);
    take_iterator(core, s, iterator);
    if (a->page)
        take_page(core, s, a->page, a->body_bytes);
    if (tip) {
        s->tip_ms = call->sent_ms;
        if (s->unacked == 0)
            tr__shard_caught(core, s, true);
    }
    return true;
}

void tr__reader_records(tr__core *core, tr__pending *call, tr__answer *a)
{
    tr__shard *s = call->shard;
    if (s->call_id != call->id) {
        tr__page_free(a->page); /* the shard was closed meanwhile */
        tr__reader_unblock(core);
        return;
    }
    s->reader = TR__READER_OFF;
    s->call_id = 0;
    s->long_polling = false;
    if (a->code) {
        s->empty_run = 0; /* the answer that was lost may have had records */
        read_failed(core, s, "GetRecords", a, false);
    } else {
        bool empty = a->page == NULL;
        bool ended = a->iterator.len == 0;
        if (accept_page(core, s, call, a)) {
            if (ended)
                tr__reader_end(core, s);
            else
                go_on(core, s, call, empty);
        }
    }
    tr__reader_unblock(core);
}
