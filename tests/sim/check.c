/* SPDX-License-Identifier: MIT */
#include "sim.h"

/* What is promised to a consumer's user, checked at the moments at which it could be broken. */

static sim_record *find_record(sim *s, tr_view shard_id, tr_view number_text, const char *what)
{
    int shard = sim_shard_find(s, shard_id);
    uint64_t number;
    if (shard < 0 || !sim_number_parse(number_text, &number)) {
        sim_fail(s, "%s: no record %.*s of %.*s was ever written", what, TR_FMT(number_text),
                 TR_FMT(shard_id));
        return NULL;
    }
    sim_shard *sh = &s->shards[shard];
    for (size_t i = 0; i < sh->count; i++)
        if (s->records[sh->records[i]].number == number)
            return &s->records[sh->records[i]];
    sim_fail(s, "%s: no record %.*s of %.*s was ever written", what, TR_FMT(number_text), TR_FMT(shard_id));
    return NULL;
}

static bool excused(const sim_record *r)
{
    return r->processed || r->in_gap || !r->needed;
}

static void check_content(sim *s, const sim_record *r, const tr_record *record)
{
    tr_value v;
    char key[16];
    int64_t version = -1;
    (void)snprintf(key, sizeof key, "item%u", r->item);
    tr_item image = record->has_new ? record->new_image : record->old_image;
    if (tr_item_get(record->keys, TR_VIEW("pk"), &v) || !tr_view_is(v.payload, key) ||
        tr_item_get(image, TR_VIEW("v"), &v) || tr_number_to_i64(v.payload, &version) ||
        version != (int64_t)r->version)
        sim_fail(s, "record %.*s came with other content", TR_FMT(record->sequence_number));
}

/** The record takes effect. */
void sim_check_processed(sim *s, sim_worker *worker, const tr_record *record)
{
    sim_record *r = find_record(s, record->shard_id, record->sequence_number, "delivered");
    if (!r)
        return;
    check_content(s, r, record);
    sim_trace(s, "%s processes item %u version %u (%.*s)%s", sim_worker_name(worker), r->item, r->version,
              TR_FMT(record->sequence_number), r->processed ? " again" : "");
    s->deliveries++;
    s->redeliveries += r->processed;
    if (r->processed)
        return;
    if (s->c.filter && r->item % 3 == 0)
        sim_fail(s, "item %u was to be filtered out", r->item);
    /* every earlier change of the item has been processed, or is excused */
    unsigned i = s->pending_of[r->item];
    unsigned self = (unsigned)(r - s->records);
    while (i < self && (s->records[i].item != r->item || excused(&s->records[i])))
        i++;
    s->pending_of[r->item] = i;
    if (i < self)
        sim_fail(s, "order: item %u version %u processed before version %u (shard %u before shard %u)",
                 r->item, r->version, s->records[i].version, r->shard, s->records[i].shard);
    r->processed = true;
}

/** May this worker hand out records of the shard? */
void sim_check_delivery(sim *s, sim_worker *worker, const tr_stream_event *event)
{
    if (!s->c.fleet)
        return;
    tr_view shard = event->record ? event->record->shard_id : event->gap->shard_id;
    bool forced = false;
    const char *owner = sim_lease_owner(s, shard, &forced);
    /* a lease that was not given in time when asked for is taken while its old owner still believes to have
     * it */
    if (event->record && owner && strcmp(owner, sim_worker_name(worker)) != 0 && !forced)
        sim_fail(s, "%s hands out records of %.*s, which is the lease of '%s'", sim_worker_name(worker),
                 TR_FMT(shard), owner);
}

void sim_check_acked(sim *s, const tr_record *record)
{
    sim_record *r = find_record(s, record->shard_id, record->sequence_number, "acknowledged");
    if (r)
        r->acked = true;
}

void sim_check_settled(sim *s, const sim_worker *worker, const char *stream_arn, int64_t before)
{
    if (s->c.fleet ||
        s->c.late_listing_ms) /* where a shard is listed long after it was written to, nobody can tell */
        return;
    unsigned stream = 0;
    while (stream < s->stream_count && strcmp(s->streams[stream].arn, stream_arn) != 0)
        stream++;
    bool all = true;
    for (unsigned i = s->unsettled; i < s->record_count && s->records[i].created_at < before; i++) {
        const sim_record *r = &s->records[i];
        bool settled = r->acked || r->in_gap || !r->needed || (s->c.filter && r->item % 3 == 0);
        if (!settled && s->shards[r->shard].stream <= stream) {
            sim_fail(s,
                     "%s says that all written before %lld is acknowledged, but item %u version %u in shard "
                     "%u is not",
                     sim_worker_name(worker), (long long)before, r->item, r->version, r->shard);
            return;
        }
        all &= settled;
        if (all)
            s->unsettled = i + 1;
    }
}

static void excuse_gone(sim *s, int shard)
{
    const sim_shard *sh = &s->shards[shard];
    for (size_t i = 0; i < sh->count && sh->gone; i++)
        s->records[sh->records[i]].in_gap = true;
}

void sim_check_gap(sim *s, const tr_stream_gap *gap)
{
    int shard = sim_shard_find(s, gap->shard_id);
    if (shard < 0) {
        sim_fail(s, "a gap in a shard that never was");
        return;
    }
    sim_trace(s, "gap (%s) in shard %d after %.*s before %.*s", tr_gap_reason_name(gap->reason), shard,
              TR_FMT(gap->after), TR_FMT(gap->before));
    s->gaps++;
    if (!s->c.trims && !s->c.deletes && !s->c.import_state && !s->c.start_trimmed)
        sim_fail(s, "a gap (%s) was told although nothing is missing", tr_gap_reason_name(gap->reason));
    sim_shard *sh = &s->shards[shard];
    uint64_t after = 0, before = UINT64_MAX;
    if (gap->after.len)
        (void)sim_number_parse(gap->after, &after);
    if (gap->before.len)
        (void)sim_number_parse(gap->before, &before);
    if (gap->reason == TR_GAP_STREAM_GONE) /* nobody can tell what was in shards that were never listed */
        for (unsigned i = 0; i < s->record_count; i++)
            s->records[i].in_gap |=
                s->shards[s->records[i].shard].stream == sh->stream && s->streams[sh->stream].gone;
    if (gap->reason == TR_GAP_SHARD_GONE) { /* nor in shards around it that came and went unseen */
        for (int p = sh->parent; p >= 0; p = s->shards[p].parent)
            excuse_gone(s, p);
        for (unsigned i = 0; i < s->shard_count; i++)
            if (sim_is_ancestor(s, (unsigned)shard, i))
                excuse_gone(s, (int)i);
    }
    size_t lost = sh->gone ? sh->count : sh->trimmed;
    for (size_t i = 0; i < lost; i++) {
        sim_record *r = &s->records[sh->records[i]];
        if (r->number > after && r->number < before)
            r->in_gap = true;
    }
}

/** A shard is being read: its parent's end is durable, or the parent is not there any more. */
void sim_check_read(sim *s, int shard)
{
    int parent = s->shards[shard].parent;
    if (parent < 0)
        return;
    const sim_shard *p = &s->shards[parent];
    if (s->c.no_store && p->closed_at >= 0) { /* saved means acknowledged */
        for (size_t i = 0; i < p->count; i++) {
            const sim_record *r = &s->records[p->records[i]];
            if (r->needed && !r->acked)
                sim_fail(s, "shard %d is read before all records of its parent %d are acknowledged", shard,
                         parent);
        }
        return;
    }
    if (!p->end_saved && !p->gone && !p->skipped)
        sim_fail(s, "shard %d is read before the end of its parent %d is saved", shard, parent);
}

void sim_check_checkpoint(sim *s, int shard, tr_view checkpoint, const char *who)
{
    if (shard < 0) {
        sim_fail(s, "%s: a checkpoint of a shard that never was", who);
        return;
    }
    sim_shard *sh = &s->shards[shard];
    uint64_t upto = 0;
    bool end = tr_view_is(checkpoint, "SHARD_END");
    if (end)
        upto = UINT64_MAX;
    else if (!tr_sequence_valid(checkpoint) || !sim_number_parse(checkpoint, &upto))
        upto = 0;
    for (size_t i = 0; i < sh->count; i++) {
        const sim_record *r = &s->records[sh->records[i]];
        if (r->number <= upto && r->needed && !r->acked && !r->in_gap) {
            char text[TR_SEQUENCE_MAX + 1];
            sim_number_text(r->number, text);
            sim_fail(s, "%s: shard %d is checkpointed at %.*s, but %s is not acknowledged", who, shard,
                     TR_FMT(checkpoint), text);
            return;
        }
    }
    if (end && sh->closed_at < 0 && !sh->gone)
        sim_fail(s, "%s: shard %d is checkpointed as ended, but is open", who, shard);
    sh->end_saved |= end;
}

bool sim_all_done(const sim *s)
{
    if (!s->started)
        return false;
    for (unsigned i = 0; i < s->record_count; i++) {
        const sim_record *r = &s->records[i];
        if (r->needed && !r->in_gap && !(r->processed && r->acked))
            return false;
    }
    return true;
}

void sim_check_end(sim *s)
{
    unsigned missing = 0, first = 0;
    for (unsigned i = s->record_count; i-- > 0;) {
        const sim_record *r = &s->records[i];
        if (r->needed && !r->in_gap && !(r->processed && r->acked)) {
            missing++;
            first = i;
        }
    }
    if (!s->started)
        sim_fail(s, "no worker ever started");
    else if (missing)
        sim_fail(s, "lost or stuck: %u records never came, the first is item %u version %u of shard %u",
                 missing, s->records[first].item, s->records[first].version, s->records[first].shard);
}
