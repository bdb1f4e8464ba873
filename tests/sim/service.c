/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

/*
 * A model of DynamoDB Streams, with what a consumer has to live with: shards that split and roll over and are
 * listed late, pages that are empty in the middle, closed shards whose last page holds records, iterators
 * that expire, data that are trimmed, streams that are disabled, enabled again, deleted.
 */

#define EPOCH_MS INT64_C(1760000000000)

/* Numbers get from 21 to 22 digits on the way, so that comparing them as texts goes wrong. */
#define BASE_HIGH UINT64_C(999999999999) /* the leading 12 digits; 9 follow */
#define BASE_LOW  UINT64_C(999999000)

void sim_number_text(uint64_t number, char *out)
{
    uint64_t low = BASE_LOW + number, high = BASE_HIGH + low / UINT64_C(1000000000);
    (void)snprintf(out, TR_SEQUENCE_MAX + 1, "%" PRIu64 "%09" PRIu64, high, low % UINT64_C(1000000000));
}

bool sim_number_parse(tr_view text, uint64_t *ret_number)
{
    uint64_t high, low;
    if (text.len < 10 || tr_view_to_u64(tr_view_of(text.ptr, text.len - 9), UINT64_MAX, &high) ||
        tr_view_to_u64(tr_view_of(text.ptr + text.len - 9, 9), UINT64_MAX, &low))
        return false;
    *ret_number = (high - BASE_HIGH) * UINT64_C(1000000000) + low - BASE_LOW;
    return true;
}

int64_t sim_service_clock(const sim *s)
{
    return EPOCH_MS + s->now;
}

int sim_shard_find(const sim *s, tr_view id)
{
    for (unsigned i = 0; i < s->shard_count; i++)
        if (tr_view_is(id, s->shards[i].id))
            return (int)i;
    return -1;
}

/* ----------------------------------------------------------------------------------------- its own life */

static uint32_t hash_of(unsigned item)
{
    return (uint32_t)(item + 1) * UINT32_C(2654435761);
}

static int add_shard(sim *s, unsigned stream, int parent, uint32_t low, uint32_t high)
{
    if (s->shard_count == SIM_SHARDS_MAX)
        return -1;
    sim_shard *sh = &s->shards[s->shard_count];
    *sh = (sim_shard){
        .stream = stream, .parent = parent, .low = low, .high = high, .created_at = s->now, .closed_at = -1};
    sh->visible_at = s->now;
    if (s->c.late_listing_ms && sim_chance(s, 300))
        sh->visible_at += sim_between(s, 0, s->c.late_listing_ms);
    sh->first_number = s->number + 1;
    /* half of the worlds name their shards as the service does, with the time; the others tell nothing by the
     * name */
    if (s->c.seed & 1)
        (void)snprintf(sh->id, sizeof sh->id, "shardId-%020" PRId64 "-%08x", sim_service_clock(s),
                       s->shard_count);
    else
        (void)snprintf(sh->id, sizeof sh->id, "shard-of-the-model-number-%06u", s->shard_count);
    return (int)s->shard_count++;
}

static void enable(sim *s)
{
    if (s->stream_count == SIM_STREAMS_MAX)
        return;
    unsigned n = s->stream_count++;
    sim_stream *st = &s->streams[n];
    (void)snprintf(st->label, sizeof st->label, "2026-01-0%uT00:00:00.000", n + 1);
    (void)snprintf(st->arn, sizeof st->arn,
                   "arn:aws:dynamodb:us-east-1:000000000000:table/T/stream/2026-01-0%uT00:00:00.000", n + 1);
    unsigned shards = 1 + (unsigned)sim_below(s, 4);
    for (unsigned i = 0; i < shards; i++) {
        uint32_t low = (uint32_t)((UINT64_C(1) << 32) * i / shards);
        uint32_t high = (uint32_t)((UINT64_C(1) << 32) * (i + 1) / shards - 1);
        (void)add_shard(s, n, -1, low, high);
    }
    sim_trace(s, "stream %s enabled with %u shards", st->label, shards);
}

static int enabled_stream(const sim *s)
{
    return s->stream_count && !s->streams[s->stream_count - 1].disabled ? (int)s->stream_count - 1 : -1;
}

static void wake_held(sim *s, unsigned shard);

static void close_shard(sim *s, unsigned shard)
{
    s->shards[shard].closed_at = s->now;
    s->shards[shard].last_number = ++s->number;
    wake_held(s, shard);
}

static void append(sim *s, unsigned shard, unsigned item)
{
    sim_shard *sh = &s->shards[shard];
    if (s->record_count == SIM_RECORDS_MAX)
        return;
    if (sh->count == sh->capacity) {
        size_t capacity = sh->capacity ? sh->capacity * 2 : 16;
        unsigned *records = tr_realloc(sh->records, capacity * sizeof *records);
        if (!records) {
            sim_fail(s, "out of memory");
            return;
        }
        sh->records = records;
        sh->capacity = capacity;
    }
    sim_record *r = &s->records[s->record_count];
    int64_t grain = s->c.server == TR__SERVER_OTHER ? 60000 : 1000;
    s->number += 1 + sim_below(s, 3);
    *r = (sim_record){.item = item,
                      .version = ++s->versions[item],
                      .shard = shard,
                      .number = s->number,
                      .time_ms = sim_service_clock(s) - sim_service_clock(s) % grain,
                      .created_at = s->now,
                      .needed = s->started};
    if (s->c.filter && item % 3 == 0)
        r->needed = false;
    sh->records[sh->count++] = s->record_count++;
    wake_held(s, shard);
}

static void write_tick(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    (void)arg;
    if (!s->faults || s->record_count >= s->c.records)
        return;
    int stream = enabled_stream(s);
    unsigned burst = sim_chance(s, 100) ? 1 + (unsigned)sim_below(s, 20) : 1;
    while (burst-- && stream >= 0) {
        unsigned item = (unsigned)sim_below(s, s->c.items);
        uint32_t h = hash_of(item);
        for (unsigned i = 0; i < s->shard_count; i++) {
            sim_shard *sh = &s->shards[i];
            if (sh->stream == (unsigned)stream && sh->closed_at < 0 && h >= sh->low && h <= sh->high) {
                append(s, i, item);
                break;
            }
        }
    }
    sim_at(s, s->now + 1 + (int64_t)sim_below(s, (uint64_t)(2 * s->c.write_every_ms)), write_tick, NULL, 0);
}

static void split(sim *s, unsigned i)
{
    sim_shard sh = s->shards[i];
    close_shard(s, i);
    if (sim_chance(s, 500) && sh.high - sh.low > 1000) {
        uint32_t middle = sh.low + (sh.high - sh.low) / 2;
        (void)add_shard(s, sh.stream, (int)i, sh.low, middle);
        (void)add_shard(s, sh.stream, (int)i, middle + 1, sh.high);
    } else {
        (void)add_shard(s, sh.stream, (int)i, sh.low, sh.high);
    }
    sim_trace(s, "shard %u closed", i);
}

static void split_tick(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    (void)arg;
    if (!s->faults)
        return;
    int stream = enabled_stream(s);
    unsigned open[SIM_SHARDS_MAX], n = 0;
    for (unsigned i = 0; i < s->shard_count; i++)
        if ((int)s->shards[i].stream == stream && s->shards[i].closed_at < 0)
            open[n++] = i;
    if (n && s->shard_count + 2 < SIM_SHARDS_MAX / 2)
        split(s, open[sim_below(s, n)]);
    sim_at(s, s->now + sim_between(s, 500, s->c.life_ms / 6), split_tick, NULL, 0);
}

static void disable_tick(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    int stream = enabled_stream(s);
    if (arg == 0 && s->c.fleet && !s->started) {
        /* a fleet whose first workers find different streams cannot know of each other */
        sim_at(s, s->now + 1000, disable_tick, NULL, 0);
        return;
    }
    if (arg == 1) {
        enable(s);
    } else if (stream >= 0) {
        s->streams[stream].disabled = true;
        for (unsigned i = 0; i < s->shard_count; i++)
            if ((int)s->shards[i].stream == stream && s->shards[i].closed_at < 0)
                close_shard(s, i);
        sim_trace(s, "stream %d disabled", stream);
        sim_at(s, s->now + sim_between(s, 0, 20000), disable_tick, NULL, 1);
    }
}

static void delete_tick(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    (void)arg;
    if (s->stream_count > 1 && !s->streams[0].gone) {
        s->streams[0].gone = true;
        for (unsigned i = 0; i < s->shard_count; i++)
            if (s->shards[i].stream == 0)
                s->shards[i].gone = true;
        sim_trace(s, "stream 0 deleted");
    }
}

static void trim_tick(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    (void)arg;
    if (!s->faults)
        return;
    for (unsigned i = 0; i < s->shard_count; i++) {
        sim_shard *sh = &s->shards[i];
        while (sh->trimmed < sh->count &&
               s->records[sh->records[sh->trimmed]].created_at < s->now - s->c.retention_ms)
            sh->trimmed++;
        if (!sh->gone && sh->closed_at >= 0 && sh->trimmed == sh->count &&
            sh->closed_at < s->now - s->c.retention_ms) {
            sh->gone = true;
            sim_trace(s, "shard %u left the stream", i);
        }
    }
    sim_at(s, s->now + 1000, trim_tick, NULL, 0);
}

void sim_service_start(sim *s)
{
    enable(s);
    sim_at(s, 1, write_tick, NULL, 0);
    if (s->c.splits)
        sim_at(s, sim_between(s, 100, s->c.life_ms / 4), split_tick, NULL, 0);
    if (s->c.disables)
        sim_at(s, sim_between(s, s->c.life_ms / 8, s->c.life_ms / 2), disable_tick, NULL, 0);
    if (s->c.disables && sim_chance(s, 300))
        sim_at(s, sim_between(s, s->c.life_ms / 2, s->c.life_ms), disable_tick, NULL, 0);
    if (s->c.deletes)
        sim_at(s, sim_between(s, s->c.life_ms / 2, s->c.life_ms), delete_tick, NULL, 0);
    if (s->c.trims)
        sim_at(s, 1000, trim_tick, NULL, 0);
}

/* --------------------------------------------------------------------------------------------- answers */

void sim_reply_fail(sim_reply *reply, int code, const char *type, int status)
{
    reply->a = (tr__answer){.service_ms = -1};
    reply->a.code = tr_fail_service(&reply->error, code, status, type, "%s of the model", type);
    reply->a.error = &reply->error;
    reply->has_body = false;
}

static void missing(sim_reply *reply)
{
    sim_reply_fail(reply, TR_ENOTFOUND, "ResourceNotFoundException", 400);
}

static tr_view copy(sim_reply *reply, const char *text)
{
    return tr_arena_copy(&reply->arena, tr_view_str(text));
}

static void describe_table(sim *s, sim_reply *reply)
{
    reply->a.stream_arn = copy(reply, s->stream_count ? s->streams[s->stream_count - 1].arn : "");
}

static void list_streams(sim *s, const tr__req *req, sim_reply *reply)
{
    unsigned from = 0;
    for (unsigned i = 0; i < s->stream_count; i++)
        if (tr_view_is(req->exclusive_start, s->streams[i].arn))
            from = i + 1;
    tr__listed_stream *list = tr_arena_calloc(&reply->arena, SIM_STREAMS_MAX, sizeof *list);
    size_t n = 0, page = 1 + sim_below(s, 3);
    unsigned i = from;
    for (; i < s->stream_count && n < page; i++) {
        if (s->streams[i].gone)
            continue;
        list[n].arn = copy(reply, s->streams[i].arn);
        list[n++].label = copy(reply, s->streams[i].label);
    }
    reply->a.streams = list;
    reply->a.count = n;
    if (i < s->stream_count && n)
        reply->a.last = list[n - 1].arn;
}

static int stream_of(const sim *s, tr_view arn)
{
    for (unsigned i = 0; i < s->stream_count; i++)
        if (tr_view_is(arn, s->streams[i].arn) && !s->streams[i].gone)
            return (int)i;
    return -1;
}

static void list_shard(sim_reply *reply, const sim *s, unsigned i, tr__listed_shard *l)
{
    const sim_shard *sh = &s->shards[i];
    char number[TR_SEQUENCE_MAX + 1];
    l->id = copy(reply, sh->id);
    if (sh->parent >= 0)
        l->parent = copy(reply, s->shards[sh->parent].id);
    sim_number_text(sh->first_number, number);
    l->starting = copy(reply, number);
    if (sh->closed_at >= 0) {
        sim_number_text(sh->last_number, number);
        l->ending = copy(reply, number);
    }
}

static void describe_stream(sim *s, const tr__req *req, sim_reply *reply)
{
    int stream = stream_of(s, req->stream_arn);
    if (stream < 0) {
        missing(reply);
        return;
    }
    bool filter = req->children_of.len && s->c.filter_mode == 0;
    if (req->children_of.len && s->c.filter_mode == 2) {
        sim_reply_fail(reply, TR_ESERVICE, "ValidationException", 400);
        return;
    }
    int after = sim_shard_find(s, req->exclusive_start), parent = sim_shard_find(s, req->children_of);
    size_t page = 1 + sim_below(s, 12), n = 0;
    if (filter && !s->c.late_listing_ms)
        page = 16; /* all children; where shards are listed late, some may come later */
    tr__listed_shard *list = tr_arena_calloc(&reply->arena, 16, sizeof *list);
    unsigned i = (unsigned)(after + 1);
    for (; i < s->shard_count && n < page; i++) {
        const sim_shard *sh = &s->shards[i];
        if ((int)sh->stream == stream && !sh->gone && sh->visible_at <= s->now &&
            (!filter || sh->parent == parent))
            list_shard(reply, s, i, &list[n++]);
    }
    /* a last id although nothing follows: happens when the page is just full */
    bool more = i < s->shard_count || (n == page && sim_chance(s, 500));
    if (more && n && !filter)
        reply->a.last = list[n - 1].id;
    reply->a.shards = list;
    reply->a.count = n;
    reply->a.status = TR_VIEW("ENABLED");
    if (s->streams[stream].disabled)
        reply->a.status = TR_VIEW("DISABLED");
    reply->a.label = copy(reply, s->streams[stream].label);
}

static void give_iterator(sim *s, sim_reply *reply, unsigned shard, size_t place)
{
    reply->a.iterator = tr_view_str(tr_arena_printf(&reply->arena, "it:%u:%zu:%" PRId64 ":%" PRIu64, shard,
                                                    place, s->now, sim_below(s, 1000000)));
}

static void get_iterator(sim *s, const tr__req *req, sim_reply *reply)
{
    int i = sim_shard_find(s, req->shard_id);
    if (i < 0 || s->shards[i].gone || stream_of(s, req->stream_arn) != (int)s->shards[i].stream) {
        missing(reply);
        return;
    }
    const sim_shard *sh = &s->shards[i];
    uint64_t number = 0;
    size_t place = sh->trimmed;
    if (req->iterator_type == TR__ITERATOR_LATEST) {
        place = sh->count;
    } else if (req->iterator_type != TR__ITERATOR_TRIM_HORIZON) {
        bool exact = sim_number_parse(req->sequence_number, &number);
        place = 0;
        while (place < sh->count && s->records[sh->records[place]].number < number)
            place++;
        bool there = exact && place < sh->count && s->records[sh->records[place]].number == number;
        if (!there && s->c.server != TR__SERVER_TAILRACE) {
            sim_reply_fail(reply, TR_ESERVICE, "ValidationException", 400);
            return;
        }
        if (there && req->iterator_type == TR__ITERATOR_AFTER)
            place++;
        if (place < sh->trimmed || (there && place == sh->trimmed && place > 0 && sim_chance(s, 500))) {
            sim_reply_fail(reply, TR_ETRIMMED, "TrimmedDataAccessException", 400);
            return;
        }
    }
    if (s->verbose)
        sim_trace(s, "iterator of type %d for shard %d at %zu (%.*s)", (int)req->iterator_type, i, place,
                  TR_FMT(req->sequence_number));
    give_iterator(s, reply, (unsigned)i, place);
}

/* --------------------------------------------------------------------------------------------- records */

static void write_record(sim *s, tr_json_writer *w, const sim_record *r)
{
    static const char *const names[] = {"INSERT", "MODIFY", "MODIFY", "REMOVE"};
    char number[TR_SEQUENCE_MAX + 1], key[16], version[16];
    sim_number_text(r->number, number);
    (void)snprintf(key, sizeof key, "item%u", r->item);
    (void)snprintf(version, sizeof version, "%u", r->version);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "eventID", number);
    tr_json_member_cstring(w, "eventName", names[r->version % 4]);
    tr_json_name(w, "dynamodb");
    tr_json_begin_object(w);
    tr_json_member_i64(w, "ApproximateCreationDateTime", r->time_ms / 1000);
    tr_json_name(w, "Keys");
    tr_buf_printf(w->out, "{\"pk\":{\"S\":\"%s\"}}", key);
    tr_json_name(w, r->version % 4 == 3 ? "OldImage" : "NewImage");
    tr_buf_printf(w->out, "{\"pk\":{\"S\":\"%s\"},\"v\":{\"N\":\"%s\"}}", key, version);
    tr_json_member_cstring(w, "SequenceNumber", number);
    tr_json_member_i64(w, "SizeBytes", 30);
    tr_json_member_cstring(w, "StreamViewType", "NEW_AND_OLD_IMAGES");
    tr_json_end_object(w);
    tr_json_end_object(w);
    (void)s;
}

static void write_page(sim *s, sim_reply *reply, unsigned shard, size_t place, size_t count)
{
    sim_shard *sh = &s->shards[shard];
    tr_json_writer w;
    tr_buf_reset(&reply->body);
    tr_json_write_init(&w, &reply->body);
    tr_json_begin_object(&w);
    tr_json_name(&w, "Records");
    tr_json_begin_array(&w);
    for (size_t i = 0; i < count; i++)
        write_record(s, &w, &s->records[sh->records[place + i]]);
    tr_json_end_array(&w);
    place += count;
    /* the page that reaches a closed shard's end may be its last, or an empty one may follow */
    if (sh->closed_at < 0 || place < sh->count || (count && sim_chance(s, 500))) {
        give_iterator(s, reply, shard, place);
        tr_json_member_string(&w, "NextShardIterator", reply->a.iterator);
    }
    tr_json_end_object(&w);
    reply->has_body = true;
    reply->shard = shard;
}

typedef struct held {
    uint64_t serial;
    sim_request *request;
    unsigned shard;
    size_t place;
    struct held *next;
} held;

static held *held_first;
static uint64_t held_serial;

/** False: held open. */
static bool get_records(sim *s, sim_request *request, sim_reply *reply)
{
    const tr__req *req = &request->req;
    unsigned shard;
    size_t place;
    int64_t issued;
    if (sscanf(req->iterator.ptr, "it:%u:%zu:%" SCNd64, &shard, &place, &issued) != 3 ||
        shard >= s->shard_count) {
        sim_reply_fail(reply, TR_ESERVICE, "ValidationException", 400);
        return true;
    }
    sim_shard *sh = &s->shards[shard];
    if (s->now - issued > s->c.iterator_life_ms) {
        sim_reply_fail(reply, TR_EEXPIRED, "ExpiredIteratorException", 400);
        return true;
    }
    if (sh->gone) {
        missing(reply);
        return true;
    }
    /* DynamoDB Local does so now and then, with iterators that it has just given */
    bool spurious = s->faults && s->now - issued < 30000 && sim_chance(s, s->c.p_spurious_trim);
    if (place < sh->trimmed || spurious) {
        sim_reply_fail(reply, TR_ETRIMMED, "TrimmedDataAccessException", 400);
        return true;
    }
    sim_check_read(s, (int)shard);
    sh->denied = 0;
    size_t count = sh->count - place;
    if (count > req->limit)
        count = req->limit;
    if (count && sim_chance(s, 300))
        count = 1 + sim_below(s, count);
    if (place > sh->empties_at) {
        sh->empties_at = place;
        sh->empties = 0;
    }
    if (count && sh->empties < 4 && place == sh->empties_at && sim_chance(s, s->c.p_empty)) {
        count = 0;
        sh->empties++;
    }
    if (count == 0 && place == sh->count && sh->closed_at < 0 && req->wait_ms > 0) {
        held *h = tr_calloc(1, sizeof *h);
        *h = (held){
            .serial = ++held_serial, .request = request, .shard = shard, .place = place, .next = held_first};
        held_first = h;
        return false;
    }
    write_page(s, reply, shard, place, count);
    if (s->verbose)
        sim_trace(s, "page of shard %u from %zu: %zu records", shard, place, count);
    return true;
}

static sim_reply *new_reply(void)
{
    sim_reply *reply = tr_calloc(1, sizeof *reply);
    tr_arena_init(&reply->arena, 64 << 20);
    tr_buf_init(&reply->body, 64 << 20);
    reply->a.service_ms = -1;
    return reply;
}

static void release(sim *s, held **at)
{
    held *h = *at;
    *at = h->next;
    sim_reply *reply = new_reply();
    sim_shard *sh = &s->shards[h->shard];
    size_t count = sh->count - h->place;
    if (count > h->request->req.limit)
        count = h->request->req.limit;
    write_page(s, reply, h->shard, h->place, count);
    reply->a.service_ms = sim_service_clock(s) / 1000 * 1000;
    sim_network_reply(s, h->request, reply);
    tr_free(h);
}

static void wake_held(sim *s, unsigned shard)
{
    for (held **at = &held_first; *at;) {
        if ((*at)->shard == shard)
            release(s, at);
        else
            at = &(*at)->next;
    }
}

static void held_due(sim *s, void *ctx, uint64_t arg)
{
    (void)ctx;
    for (held **at = &held_first; *at; at = &(*at)->next) {
        if ((*at)->serial == arg) {
            release(s, at);
            return;
        }
    }
}

void sim_service_finish(sim *s)
{
    while (held_first) {
        held *h = held_first;
        held_first = h->next;
        sim_request_free(h->request);
        tr_free(h);
    }
    for (unsigned i = 0; i < s->shard_count; i++)
        tr_free(s->shards[i].records);
}

/** The shard that a request is about. */
static sim_shard *shard_of(sim *s, const tr__req *req)
{
    unsigned shard;
    int i = req->kind == TR__REQ_GET_ITERATOR ? sim_shard_find(s, req->shard_id) : -1;
    if (req->kind == TR__REQ_GET_RECORDS && sscanf(req->iterator.ptr, "it:%u:", &shard) == 1 &&
        shard < s->shard_count)
        i = (int)shard;
    return i < 0 ? NULL : &s->shards[i];
}

bool sim_service_do(sim *s, sim_request *request, sim_reply *reply)
{
    const tr__req *req = &request->req;
    if (s->faults && sim_chance(s, s->c.p_throttle)) {
        sim_reply_fail(reply, TR_ETHROTTLED, "LimitExceededException", 400);
        return true;
    }
    if (s->faults && sim_chance(s, s->c.p_error)) {
        sim_reply_fail(reply, TR_ESERVICE, "InternalServerError", 500);
        return true;
    }
    /* but never so often that it has to be believed */
    sim_shard *asked = shard_of(s, req);
    if (s->faults && req->kind <= TR__REQ_GET_RECORDS && s->calm > 20 && !(asked && asked->denied) &&
        sim_chance(s, s->c.p_spurious_missing)) {
        s->calm = 0;
        if (asked)
            asked->denied++;
        missing(reply);
        return true;
    }
    s->calm++;
    reply->a.service_ms = sim_service_clock(s) / 1000 * 1000;
    switch (req->kind) {
    case TR__REQ_DESCRIBE_TABLE:
        describe_table(s, reply);
        return true;
    case TR__REQ_LIST_STREAMS:
        list_streams(s, req, reply);
        return true;
    case TR__REQ_DESCRIBE_STREAM:
        describe_stream(s, req, reply);
        return true;
    case TR__REQ_GET_ITERATOR:
        get_iterator(s, req, reply);
        return true;
    case TR__REQ_GET_RECORDS:
        if (get_records(s, request, reply))
            return true;
        sim_at(s, s->now + req->wait_ms, held_due, NULL, held_serial);
        return false;
    default:
        sim_table_do(s, request, reply);
        return true;
    }
}
