/* SPDX-License-Identifier: MIT */
/* Streams and their shards: made, closed, found by hash. */
#include "engine/engine_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STREAM_ARENA_LIMIT ((size_t)TR__VALUE_LIMIT * 2)

void tr__stream_free(tr__stream *stream)
{
    if (!stream)
        return;
    tr_arena_done(&stream->arena);
    tr_free(stream->pub.shards);
    tr_free(stream->state);
    tr_free(stream->open);
    tr_free(stream);
}

int tr__stream_grow(tr__stream *stream, tr_shard **ret_shard, struct tr__shard_state **ret_state)
{
    tr_stream *s = &stream->pub;
    if (s->shard_count == stream->shard_cap) {
        size_t cap = stream->shard_cap ? stream->shard_cap * 2 : 8;
        if (cap > TR__SHARDS_MAX)
            return TR_ELIMIT;
        tr_shard *shards = tr_realloc(s->shards, cap * sizeof *shards);
        if (!shards)
            return TR_ENOMEM;
        s->shards = shards;
        struct tr__shard_state *state = tr_realloc(stream->state, cap * sizeof *state);
        if (!state)
            return TR_ENOMEM;
        stream->state = state;
        stream->shard_cap = cap;
    }
    *ret_shard = &s->shards[s->shard_count];
    *ret_state = &stream->state[s->shard_count];
    **ret_shard = (tr_shard){0};
    **ret_state = (struct tr__shard_state){0};
    s->shard_count++;
    return 0;
}

int tr__stream_reopen(tr__stream *stream)
{
    tr_stream *s = &stream->pub;
    if (stream->open_cap < s->shard_count) {
        uint32_t *open = tr_realloc(stream->open, stream->shard_cap * sizeof *open);
        if (!open)
            return TR_ENOMEM;
        stream->open = open;
        stream->open_cap = stream->shard_cap;
    }
    stream->open_count = 0;
    for (size_t i = 0; i < s->shard_count; i++) {
        if (s->shards[i].closed_ms)
            continue;
        size_t at = stream->open_count++;
        for (; at > 0 && s->shards[stream->open[at - 1]].hash_from > s->shards[i].hash_from; at--)
            stream->open[at] = stream->open[at - 1];
        stream->open[at] = (uint32_t)i;
    }
    return 0;
}

size_t tr__stream_shard_of(const tr__stream *stream, uint64_t hash)
{
    size_t low = 0, high = stream->open_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (stream->pub.shards[stream->open[middle]].hash_from <= hash)
            low = middle;
        else
            high = middle;
    }
    return stream->open[low];
}

int tr__stream_from_record(tr_view record, tr__stream **ret_stream)
{
    tr__stream *stream = tr_calloc(1, sizeof *stream);
    if (!stream)
        return TR_ENOMEM;
    tr_arena_init(&stream->arena, STREAM_ARENA_LIMIT);
    tr_item copy = tr_arena_copy(&stream->arena, record);
    int rc = copy.ptr ? tr__stream_decode(copy, stream) : TR_ENOMEM;
    if (rc) {
        tr__stream_free(stream);
        return rc;
    }
    *ret_stream = stream;
    return 0;
}

/* ---------------------------------------------------------------------------------------------- shards */

/* Like the service's: "shardId-", 20 digits of a time in milliseconds, 8 of something else. */
static void name_shard(tr_engine *engine, tr_shard *shard)
{
    uint32_t mark;
    tr_random_bytes(&mark, sizeof mark);
    snprintf(shard->id, sizeof shard->id, "shardId-%020" PRId64 "-%08" PRIx32, tr_engine_now_ms(engine),
             mark);
}

int tr__stream_add_shard(tr_engine *engine, tr__stream *stream, const char *parent, uint64_t hash_from,
                         uint64_t hash_to)
{
    char parent_id[TR_SHARD_ID_SIZE];
    snprintf(parent_id, sizeof parent_id, "%s", parent);
    tr_shard *shard;
    struct tr__shard_state *state;
    int rc = tr__stream_grow(stream, &shard, &state);
    if (rc)
        return rc;
    shard->number = engine->next_shard++;
    name_shard(engine, shard);
    memcpy(shard->parent, parent_id, sizeof parent_id);
    shard->hash_from = hash_from;
    shard->hash_to = hash_to;
    shard->start = engine->sequence + 1;
    shard->created_ms = tr_engine_now_ms(engine);
    return 0;
}

void tr__stream_close_shard(tr_engine *engine, tr__stream *stream, size_t at)
{
    tr_shard *shard = &stream->pub.shards[at];
    /* Its ending sequence number, though the last record may be older. A shard that never had a turn ends
     * where it starts: that number is used up by this, so that no record of its children bears it. */
    if (engine->sequence < shard->start)
        engine->sequence = shard->start;
    shard->end = engine->sequence;
    shard->closed_ms = tr_engine_now_ms(engine);
    stream->changed = true;
}

/* ---------------------------------------------------------------------------------------------- streams */

/* The label tells streams of one table apart: the time, moved on where two would be alike. */
static int name_stream(tr_engine *engine, const tr_table *table, tr_view *ret_label, tr_view *ret_arn)
{
    for (int64_t ms = tr_engine_now_ms(engine);; ms++) {
        char label[TR_TIME_TEXT_MAX];
        tr_time_format(ms, true, label);
        label[strlen(label) - 1] = 0; /* the service's labels have no Z */
        char *arn = tr_arena_printf(&engine->scratch, "%.*s/stream/%s", TR_FMT(table->arn), label);
        if (!arn)
            return TR_ENOMEM;
        if (tr_engine_stream(engine, tr_view_str(arn)))
            continue;
        *ret_label = tr_arena_copy(&engine->scratch, tr_view_str(label));
        *ret_arn = tr_view_str(arn);
        return ret_label->ptr ? 0 : TR_ENOMEM;
    }
}

static int add_first_shards(tr_engine *engine, tr__stream *stream)
{
    unsigned count = engine->options.stream_shards;
    int rc = 0;
    for (unsigned i = 0; !rc && i < count; i++) {
        uint64_t from = tr__hash_split(i, count), to = tr__hash_split(i + 1, count) - 1;
        rc = tr__stream_add_shard(engine, stream, "", from, to);
    }
    return rc ? rc : tr__stream_reopen(stream);
}

int tr__stream_create(tr_engine *engine, const tr_table *table, tr_view_type view, tr__stream **ret_stream)
{
    tr__stream draft = {.pub = {.number = engine->next_stream++,
                                .table_name = table->name,
                                .view = view,
                                .schema = table->schema,
                                .created_ms = tr_engine_now_ms(engine)}};
    int rc = name_stream(engine, table, &draft.pub.label, &draft.pub.arn);
    if (rc)
        return rc;
    tr_buf_reset(&engine->value);
    rc = tr__stream_encode(&draft, &engine->value);
    tr__stream *stream = NULL;
    if (!rc)
        rc = tr__stream_from_record(tr_buf_view(&engine->value), &stream);
    if (!rc)
        rc = add_first_shards(engine, stream);
    if (!rc)
        rc = tr__store_stream(engine, stream);
    if (!rc)
        rc = tr__stream_insert(engine, stream);
    if (rc) {
        tr__stream_free(stream);
        return rc;
    }
    stream->changed = true;
    *ret_stream = stream;
    return 0;
}

int tr__stream_disable(tr_engine *engine, tr__stream *stream)
{
    stream->pub.disabled_ms = tr_engine_now_ms(engine);
    for (size_t i = 0; i < stream->open_count; i++)
        tr__stream_close_shard(engine, stream, stream->open[i]);
    stream->open_count = 0;
    stream->changed = true;
    return tr__store_stream(engine, stream);
}

/* ---------------------------------------------------------------------------------- sequence numbers */

/* 10^20 + n, as text. */
void tr_sequence_format(uint64_t sequence, char *out)
{
    snprintf(out, TR_SEQUENCE_TEXT_MAX, "1%020" PRIu64, sequence);
}

#define SEQUENCE_DIGITS 21

int tr_sequence_parse(tr_view text, uint64_t *ret_sequence)
{
    if (text.len < SEQUENCE_DIGITS || text.len > 40)
        return TR_EPARSE;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return TR_EPARSE;
    while (text.len > SEQUENCE_DIGITS && text.ptr[0] == '0')
        text = tr_view_of(text.ptr + 1, text.len - 1);
    uint64_t number;
    if (text.len > SEQUENCE_DIGITS || text.ptr[0] > '1')
        *ret_sequence = UINT64_MAX;
    else if (text.ptr[0] < '1')
        *ret_sequence = 0;
    else if (tr_view_to_u64(tr_view_of(text.ptr + 1, text.len - 1), UINT64_MAX, &number) == 0)
        *ret_sequence = number;
    else
        *ret_sequence = UINT64_MAX;
    return 0;
}
