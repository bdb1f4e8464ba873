/* SPDX-License-Identifier: MIT */
#include "api/records.h"

#include "api/iterator.h"
#include "api/tables.h"

#include <xxhash.h>

/* GetRecords. */

#define RECORDS_MAX 1000
#define BYTES_MAX   (1024 * 1024)

typedef struct records_request {
    tr_view iterator;
    tr_int limit;
} records_request;

static const tr_member members[] = {
    TR_MEMBER(records_request, iterator, "ShardIterator", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1, .max = TR_ITERATOR_MAX),
    TR_MEMBER(records_request, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN, .min = 1),
};
const tr_shape tr__shape_get_records = TR_SHAPE(records_request, "GetRecordsInput", members);

/* 32 hexadecimal digits, the same whenever the record is read. */
static void make_event_id(const tr_stream *stream, uint64_t sequence, char *out)
{
    static const char hex[] = "0123456789abcdef";
    XXH128_hash_t h = XXH3_128bits_withSeed(stream->arn.ptr, stream->arn.len, sequence);
    for (int i = 0; i < 16; i++) {
        out[i] = hex[h.high64 >> (60 - 4 * i) & 15];
        out[16 + i] = hex[h.low64 >> (60 - 4 * i) & 15];
    }
}

void tr__record_of(const tr_stream *stream, const char *region, const tr_stream_change *change,
                   tr_record_text *text, tr_record *ret)
{
    static const tr_record_event events[] = {
        [TR_CHANGE_INSERT] = TR_INSERT, [TR_CHANGE_MODIFY] = TR_MODIFY, [TR_CHANGE_REMOVE] = TR_REMOVE};
    tr_sequence_format(change->sequence, text->sequence);
    make_event_id(stream, change->sequence, text->event_id);
    *ret = (tr_record){.event = events[change->kind],
                       .expired = change->expired,
                       .has_new = change->new_image.len != 0,
                       .has_old = change->old_image.len != 0,
                       .view_type = stream->view,
                       .keys = change->keys,
                       .new_image = change->new_image,
                       .old_image = change->old_image,
                       .sequence_number = tr_view_str(text->sequence),
                       .shard_id = tr_view_str(change->shard->id),
                       .event_id = tr_view_of(text->event_id, sizeof text->event_id),
                       .region = tr_view_str(region),
                       .time_ms = change->time_ms / 1000 * 1000,
                       .size_bytes = change->size_bytes};
    if (change->expired) {
        ret->user_type = TR_VIEW("Service");
        ret->user_principal = TR_VIEW("dynamodb.amazonaws.com");
    }
}

int tr__newest_sequence(tr_engine *engine, uint64_t *ret_sequence)
{
    tr_engine_snapshot *snapshot = tr_engine_snapshot_new(engine);
    if (!snapshot)
        return TR_ENOMEM;
    *ret_sequence = tr_engine_snapshot_sequence(snapshot);
    tr_engine_snapshot_free(engine, snapshot);
    return 0;
}

/** A page under way. */
typedef struct page {
    tr_call *call;
    const tr_stream *stream;
    uint64_t count, limit, next; /* next: where the page was cut; 0: it was not */
    size_t bytes;
} page;

/* One record always fits. */
static bool take(void *ctx, const tr_stream_change *change)
{
    page *p = ctx;
    if (p->count && (p->count == p->limit || p->bytes + change->size_bytes > BYTES_MAX)) {
        p->next = change->sequence;
        return false;
    }
    p->count++;
    p->bytes += change->size_bytes;
    tr_record_text text;
    tr_record record;
    tr__record_of(p->stream, p->call->api->region, change, &text, &record);
    tr_record_write(&p->call->w, &record);
    return true;
}

/* The iterator, its stream and its shard, or the error. */
static int open_iterator(tr_call *c, const records_request *r, tr_iterator *it, tr_stream **ret_stream,
                         const tr_shard **ret_shard)
{
    int64_t now = tr_engine_now_ms(c->engine);
    if (tr__iterator_get(r->iterator, it))
        return tr__invalid(c, "Invalid ShardIterator");
    if (r->limit.given && r->limit.value > RECORDS_MAX)
        return tr__invalid(
            c, "One or more parameter values were invalid: Limit should be less than or equal to %d",
            RECORDS_MAX);
    if (now - it->made_ms > c->api->iterator_lifetime_ms)
        return tr__fail(
            c, 400, TR_TYPE("ExpiredIteratorException"),
            "Iterator expired. The iterator was created at time %lld while right now it is %lld which "
            "is further in the future than the tolerated delay of %lld milliseconds.",
            (long long)it->made_ms, (long long)now, (long long)c->api->iterator_lifetime_ms);
    *ret_stream = tr_engine_stream(c->engine, it->stream_arn);
    if (!*ret_stream)
        return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                        "Requested resource not found: Stream: %.*s not found", TR_FMT(it->stream_arn));
    *ret_shard = tr__find_shard(*ret_stream, tr_view_str(it->shard_id));
    if (!*ret_shard) /* a shard leaves the list when all of it was trimmed */
        return tr__fail(c, 400, TR_TYPE("TrimmedDataAccessException"),
                        "The data you are trying to access has been trimmed: shard %s", it->shard_id);
    return 0;
}

static uint64_t first_of(tr_call *c, const tr_stream *stream, const tr_shard *shard, const tr_iterator *it)
{
    if (it->position)
        return it->position;
    uint64_t horizon = tr_engine_trim_horizon(c->engine, stream);
    return horizon > shard->start ? horizon : shard->start;
}

int tr__op_get_records(tr_call *c, void *request)
{
    const records_request *r = request;
    tr_iterator it;
    tr_stream *stream = NULL;
    const tr_shard *shard = NULL;
    uint64_t next = 0;
    tr_error err;
    int e = open_iterator(c, r, &it, &stream, &shard);
    if (e)
        return e;
    page p = {.call = c, .stream = stream, .limit = r->limit.given ? (uint64_t)r->limit.value : RECORDS_MAX};
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Records");
    tr_json_begin_array(&c->w);
    e = tr_engine_read_shard(c->engine, stream, shard, first_of(c, stream, shard, &it), take, &p, &next,
                             &err);
    if (e == TR_ETRIMMED)
        return tr__fail(c, 400, TR_TYPE("TrimmedDataAccessException"),
                        "The data you are trying to access has been trimmed");
    if (e)
        return tr__fail_code(c, e, &err);
    tr_json_end_array(&c->w);
    if (p.next)
        next = p.next;
    bool drained = shard->closed_ms && next > shard->end;
    if (!drained) {
        tr_buf_reset(c->text);
        tr__iterator_put(c->text, stream->arn, shard->id, next, tr_engine_now_ms(c->engine));
        tr_json_member_string(&c->w, "NextShardIterator", tr_buf_view(c->text));
    }
    tr_json_end_object(&c->w);
    if (p.count == 0 && !drained && c->request->wait_ms > 0)
        c->reply->wait_stream = stream;
    return 0;
}
