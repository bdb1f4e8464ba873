/* SPDX-License-Identifier: MIT */
#include "api/iterator.h"
#include "api/records.h"
#include "api/tables.h"

/* ListStreams, DescribeStream, GetShardIterator. */

#define PAGE_MAX 100

/* ------------------------------------------------------------------------------------------ ListStreams */

typedef struct list_request {
    tr_view table_name, start;
    tr_int limit;
} list_request;

static const tr_member list_members[] = {
    TR_MEMBER(list_request, start, "ExclusiveStartStreamArn", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX,
              .min = 37, .max = TR_ARN_MAX),
    TR_MEMBER(list_request, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN, .min = 1),
    TR_MEMBER(list_request, table_name, "TableName", TR_K_STRING, .rules = TR_R_NAME | TR_R_MIN | TR_R_MAX,
              .min = 3, .max = 255),
};
const tr_shape tr__shape_list_streams = TR_SHAPE(list_request, "ListStreamsInput", list_members);

static int check_limit(tr_call *c, const tr_int *limit)
{
    if (limit->given && limit->value > PAGE_MAX)
        return tr__invalid(c,
                           "One or more parameter values were invalid: Limit cannot be greater than the "
                           "maximum allowed size: %d",
                           PAGE_MAX);
    return 0;
}

static bool listed(const list_request *r, const tr_stream *s)
{
    return !r->table_name.ptr || tr_view_eq(s->table_name, r->table_name);
}

int tr__op_list_streams(tr_call *c, void *request)
{
    const list_request *r = request;
    tr_view last = {NULL, 0};
    int e = check_limit(c, &r->limit);
    if (e)
        return e;
    int64_t left = r->limit.given ? r->limit.value : PAGE_MAX;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Streams");
    tr_json_begin_array(&c->w);
    tr_stream *s = tr_engine_next_stream(c->engine, r->start);
    for (; s; s = tr_engine_next_stream(c->engine, s->arn)) {
        if (!listed(r, s))
            continue;
        if (left-- == 0)
            break;
        last = s->arn;
        tr_json_begin_object(&c->w);
        tr_json_member_string(&c->w, "StreamArn", s->arn);
        tr_json_member_string(&c->w, "TableName", s->table_name);
        tr_json_member_string(&c->w, "StreamLabel", s->label);
        tr_json_end_object(&c->w);
    }
    tr_json_end_array(&c->w);
    if (s)
        tr_json_member_string(&c->w, "LastEvaluatedStreamArn", last);
    tr_json_end_object(&c->w);
    return 0;
}

/* --------------------------------------------------------------------------------------- DescribeStream */

typedef struct shard_filter {
    tr_view type, shard_id;
} shard_filter;

typedef struct describe_request {
    tr_view arn, start;
    tr_int limit;
    shard_filter *filter;
} describe_request;

#define STREAM_ARN(type)                                                                                     \
    TR_MEMBER(type, arn, "StreamArn", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 37,  \
              .max = TR_ARN_MAX)
/* shard ids have 28 to 65 characters */
#define SHARD_ID(type, field, text, r)                                                                       \
    TR_MEMBER(type, field, text, TR_K_STRING, .rules = (r) | TR_R_MIN | TR_R_MAX, .min = 28, .max = 65)

static const tr_member filter_members[] = {
    TR_MEMBER(shard_filter, type, "Type", TR_K_STRING, .values = "[CHILD_SHARDS]"),
    SHARD_ID(shard_filter, shard_id, "ShardId", 0),
};
static const tr_shape filter_shape = TR_SHAPE(shard_filter, "ShardFilter", filter_members);

static const tr_member describe_members[] = {
    STREAM_ARN(describe_request),
    TR_MEMBER(describe_request, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN, .min = 1),
    SHARD_ID(describe_request, start, "ExclusiveStartShardId", 0),
    TR_MEMBER(describe_request, filter, "ShardFilter", TR_K_STRUCT, .shape = &filter_shape),
};
const tr_shape tr__shape_describe_stream =
    TR_SHAPE(describe_request, "DescribeStreamInput", describe_members);

static int find_stream(tr_call *c, tr_view arn, tr_stream **ret_stream)
{
    *ret_stream = tr_engine_stream(c->engine, arn);
    if (*ret_stream)
        return 0;
    return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                    "Requested resource not found: Stream: %.*s not found", TR_FMT(arn));
}

const tr_shard *tr__find_shard(const tr_stream *stream, tr_view id)
{
    for (size_t i = 0; i < stream->shard_count; i++)
        if (tr_view_is(id, stream->shards[i].id))
            return &stream->shards[i];
    return NULL;
}

static void put_shard(tr_json_writer *w, const tr_shard *shard)
{
    char text[TR_SEQUENCE_TEXT_MAX];
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "ShardId", shard->id);
    if (shard->parent[0])
        tr_json_member_cstring(w, "ParentShardId", shard->parent);
    tr_json_name(w, "SequenceNumberRange");
    tr_json_begin_object(w);
    tr_sequence_format(shard->start, text);
    tr_json_member_cstring(w, "StartingSequenceNumber", text);
    if (shard->closed_ms) {
        tr_sequence_format(shard->end, text);
        tr_json_member_cstring(w, "EndingSequenceNumber", text);
    }
    tr_json_end_object(w);
    tr_json_end_object(w);
}

/* Where the page begins. Ids grow with time, so a start that is no longer listed still has its place. */
static size_t first_shown(const describe_request *r, const tr_stream *s)
{
    size_t at = 0;
    if (!r->start.ptr)
        return 0;
    const tr_shard *start = tr__find_shard(s, r->start);
    if (start)
        return (size_t)(start - s->shards) + 1;
    while (at < s->shard_count && tr_view_cmp(tr_view_str(s->shards[at].id), r->start) <= 0)
        at++;
    return at;
}

static bool shown(const describe_request *r, const tr_shard *shard)
{
    return !r->filter || !r->filter->type.ptr || tr_view_is(r->filter->shard_id, shard->parent);
}

static void put_shards(tr_call *c, const describe_request *r, const tr_stream *s)
{
    int64_t left = r->limit.given ? r->limit.value : PAGE_MAX;
    const char *last = NULL;
    bool more = false;
    tr_json_name(&c->w, "Shards");
    tr_json_begin_array(&c->w);
    for (size_t i = first_shown(r, s); i < s->shard_count && !more; i++) {
        if (!shown(r, &s->shards[i]))
            continue;
        more = left-- == 0;
        if (more)
            break;
        last = s->shards[i].id;
        put_shard(&c->w, &s->shards[i]);
    }
    tr_json_end_array(&c->w);
    if (more)
        tr_json_member_cstring(&c->w, "LastEvaluatedShardId", last);
}

int tr__op_describe_stream(tr_call *c, void *request)
{
    const describe_request *r = request;
    tr_stream *s;
    int e = check_limit(c, &r->limit);
    if (e == 0 && r->filter && r->filter->type.ptr && !r->filter->shard_id.ptr)
        e = tr__invalid(c,
                        "1 validation error detected: Value null at 'shardFilter.shardId' failed to satisfy "
                        "constraint: Member must not be null");
    if (e == 0)
        e = find_stream(c, r->arn, &s);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "StreamDescription");
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "StreamArn", s->arn);
    tr_json_member_string(&c->w, "StreamLabel", s->label);
    tr_json_member_cstring(&c->w, "StreamStatus", s->disabled_ms ? "DISABLED" : "ENABLED");
    tr_json_member_cstring(&c->w, "StreamViewType", tr_view_type_name(s->view));
    tr__write_time(&c->w, "CreationRequestDateTime", s->created_ms);
    tr_json_member_string(&c->w, "TableName", s->table_name);
    tr__write_key_schema(&c->w, &s->schema);
    put_shards(c, r, s);
    tr_json_end_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

/* ------------------------------------------------------------------------------------- GetShardIterator */

typedef struct iterator_request {
    tr_view arn, shard_id, type, sequence;
} iterator_request;

static const tr_member iterator_members[] = {
    SHARD_ID(iterator_request, shard_id, "ShardId", TR_R_NOT_NULL),
    TR_MEMBER(iterator_request, type, "ShardIteratorType", TR_K_STRING, .rules = TR_R_NOT_NULL,
              .values = "[AFTER_SEQUENCE_NUMBER, LATEST, AT_SEQUENCE_NUMBER, TRIM_HORIZON]"),
    TR_MEMBER(iterator_request, sequence, "SequenceNumber", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX,
              .min = 21, .max = 40),
    STREAM_ARN(iterator_request),
};
const tr_shape tr__shape_get_iterator = TR_SHAPE(iterator_request, "GetShardIteratorInput", iterator_members);

/* Any number up to the newest one has its place, whichever shard its record is in. */
static int position_at(tr_call *c, const iterator_request *r, bool after, uint64_t *ret_position)
{
    uint64_t sequence, last;
    if (!r->sequence.ptr || tr_sequence_parse(r->sequence, &sequence))
        return tr__invalid(c, "One or more parameter values were invalid: Invalid SequenceNumber");
    int e = tr__newest_sequence(c->engine, &last);
    if (e)
        return e;
    if (sequence > last)
        return tr__invalid(
            c,
            "One or more parameter values were invalid: Invalid SequenceNumber: %.*s is beyond the "
            "newest of the stream",
            TR_FMT(r->sequence));
    *ret_position = after ? sequence + 1 : sequence ? sequence : 1;
    return 0;
}

static int position_of(tr_call *c, const iterator_request *r, const tr_stream *s, uint64_t *ret_position)
{
    bool after = tr_view_is(r->type, "AFTER_SEQUENCE_NUMBER");
    if (after || tr_view_is(r->type, "AT_SEQUENCE_NUMBER"))
        return position_at(c, r, after, ret_position);
    if (r->sequence.ptr)
        return tr__invalid(
            c, "One or more parameter values were invalid: SequenceNumber should not be passed for "
               "this iterator type");
    *ret_position = tr_view_is(r->type, "LATEST") ? tr_engine_stream_tip(c->engine, s) + 1 : 0;
    return 0;
}

int tr__op_get_iterator(tr_call *c, void *request)
{
    const iterator_request *r = request;
    tr_stream *s;
    uint64_t position = 0;
    int e = find_stream(c, r->arn, &s);
    if (e)
        return e;
    const tr_shard *shard = tr__find_shard(s, r->shard_id);
    if (!shard)
        return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                        "Requested resource not found: Shard: %.*s does not exist", TR_FMT(r->shard_id));
    e = position_of(c, r, s, &position);
    if (e)
        return e;
    tr_buf_reset(c->text);
    tr__iterator_put(c->text, s->arn, shard->id, position, tr_engine_now_ms(c->engine));
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "ShardIterator", tr_buf_view(c->text));
    tr_json_end_object(&c->w);
    return 0;
}
