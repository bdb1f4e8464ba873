/* SPDX-License-Identifier: MIT */
/* Change records: their slices, keys and values. */
#include "engine/engine_private.h"

/*
 * key    slice u32 | stream u32 | shard u32 | sequence u64
 * value  version u8 | flags u8 | time in ms, 48 bits | bytes of the images as the service counts them: varint
 *        | keys, if no image is stored | new image: its length as a varint, bytes | old image
 *
 * flags  bits 0-1 kind, 2 expired, 3 keys stored, 4 new image, 5 old image
 *
 * Slices follow each other in time and in sequence: what is written together lies together, whatever stream
 * and shard it belongs to. When a slice has grown to an eighth of the memory ceiling, the write buffer is cut
 * behind it, so that files and slices end together, and compaction moves files without reading them. A slice
 * ends also after a 24th of the retention time, for retention drops whole slices.
 */
#define SLICE_SHARE    16
#define SLICE_MIN_MS   1000
#define SLICES_PER_DAY 24

#define HAS_KEYS 8
#define HAS_NEW  16
#define HAS_OLD  32
#define EXPIRED  4
#define KINDS    3

#define VALUE_HEAD 8 /* version, flags, time */

/* ---------------------------------------------------------------------------------------------- slices */

int tr__slice_append(tr_engine *engine, tr__slice slice)
{
    tr__slice *slices = engine->slices;
    if (!slices || engine->slice_count == engine->slice_cap) {
        size_t cap = engine->slice_cap ? engine->slice_cap * 2 : 64;
        slices = tr_realloc(slices, cap * sizeof *slices);
        if (!slices)
            return TR_ENOMEM;
        engine->slices = slices;
        engine->slice_cap = cap;
    }
    slices[engine->slice_count++] = slice;
    return 0;
}

int64_t tr__slice_length_ms(const tr_engine *engine)
{
    int64_t length = engine->options.stream_retention_ms / SLICES_PER_DAY;
    return length < SLICE_MIN_MS ? SLICE_MIN_MS : length;
}

static const tr__slice *newest(const tr_engine *engine)
{
    return engine->slice_count ? engine->slices + engine->slice_count - 1 : NULL;
}

int tr__slice_begin(tr_engine *engine, int64_t now_ms)
{
    const tr__slice *last = newest(engine);
    tr__slice slice = {last ? last->number + 1 : 1, engine->sequence + 1, now_ms};
    int rc = tr__slice_append(engine, slice);
    if (rc)
        return rc;
    engine->slice_bytes = 0;
    engine->slice_over = false;
    tr__store_slice(engine, &slice);
    return 0;
}

void tr__slice_cut(tr_engine *engine)
{
    if (engine->slice_bytes < tr_kv_memory_limit(engine->kv) / SLICE_SHARE)
        return;
    engine->slice_bytes = 0;
    tr_error err;
    /* Without the cut, files overlap and are merged some day: dearer, not wrong. */
    if (tr_kv_cut(engine->kv, TR_KV_CHANGES, &err) == 0)
        engine->slice_over = true;
    else
        tr_log(&engine->options.logger, TR_LOG_WARN, "%s", err.message);
}

/* The slice for the next record. After a restart the newest goes on, at most twice as large as usual. */
static int current_slice(tr_engine *engine, int64_t now_ms, uint32_t *ret_number)
{
    const tr__slice *slice = newest(engine);
    if (!slice || engine->slice_over || now_ms - slice->start_ms >= tr__slice_length_ms(engine)) {
        int rc = tr__slice_begin(engine, now_ms);
        if (rc)
            return rc;
        slice = newest(engine);
    }
    *ret_number = slice->number;
    return 0;
}

/* --------------------------------------------------------------------------------------------- writing */

void tr__record_key(uint32_t slice, uint32_t stream, uint32_t shard, uint64_t sequence, char *out)
{
    tr_put_be32(out, slice);
    tr_put_be32(out + 4, stream);
    tr_put_be32(out + 8, shard);
    tr_put_be64(out + 12, sequence);
}

static void put_time(char *at, int64_t ms)
{
    tr_put_be16(at, (uint16_t)((uint64_t)ms >> 32));
    tr_put_be32(at + 2, (uint32_t)ms);
}

static int64_t get_time(const char *at)
{
    return (int64_t)((uint64_t)tr_get_be16(at) << 32 | tr_get_be32(at + 2));
}

static unsigned images_of(tr_view_type view)
{
    switch (view) {
    case TR_NEW_IMAGE:
        return HAS_NEW;
    case TR_OLD_IMAGE:
        return HAS_OLD;
    case TR_NEW_AND_OLD_IMAGES:
        return HAS_NEW | HAS_OLD;
    default:
        return 0;
    }
}

int tr__record_stage(tr_engine *engine, tr__stream *stream, const tr__change *change)
{
    int64_t now_ms = tr_engine_now_ms(engine);
    uint32_t slice;
    int rc = current_slice(engine, now_ms, &slice);
    if (rc)
        return rc;
    unsigned flags = images_of(stream->pub.view);
    if (!change->after.len)
        flags &= ~(unsigned)HAS_NEW;
    if (!change->before.len)
        flags &= ~(unsigned)HAS_OLD;
    tr_view keys = {NULL, 0};
    if (!flags) {
        tr_buf_reset(&engine->value);
        rc = tr__keys_of(&stream->pub.schema, change->after.len ? change->after : change->before,
                         &engine->value);
        if (rc)
            return rc;
        keys = tr_buf_view(&engine->value);
        flags = HAS_KEYS;
    }
    size_t size = (flags & HAS_NEW ? change->size_after : 0) + (flags & HAS_OLD ? change->size_before : 0);
    tr_change_kind kind = !change->before.len  ? TR_CHANGE_INSERT
                          : !change->after.len ? TR_CHANGE_REMOVE
                                               : TR_CHANGE_MODIFY;
    char head[VALUE_HEAD + 2 * TR_VARINT_MAX], key[TR__CHANGE_KEY];
    head[0] = TR__VALUE_VERSION;
    head[1] = (char)(flags | (unsigned)kind | (change->expired ? EXPIRED : 0));
    put_time(head + 2, now_ms);
    size_t head_len = VALUE_HEAD + tr_varint_put(head + VALUE_HEAD, size);
    tr_view parts[] = {{NULL, 0}, keys, {NULL, 0}, {NULL, 0}};
    if (flags & HAS_NEW) {
        head_len += tr_varint_put(head + head_len, change->after.len);
        parts[2] = change->after;
    }
    if (flags & HAS_OLD)
        parts[3] = change->before;
    parts[0] = tr_view_of(head, head_len);
    size_t at = tr__stream_shard_of(stream, change->hash);
    uint64_t sequence = ++engine->sequence;
    tr__record_key(slice, stream->pub.number, stream->pub.shards[at].number, sequence, key);
    tr_view key_part = tr_view_of(key, sizeof key);
    tr_kv_batch_putv(engine->batch, TR_KV_CHANGES, &key_part, 1, parts, TR_COUNT(parts));
    for (size_t i = 0; i < TR_COUNT(parts); i++)
        engine->slice_bytes += parts[i].len;
    stream->last_sequence = sequence;
    if (!stream->unannounced)
        stream->unannounced = sequence;
    stream->state[at].window_records++;
    return 0;
}

/* --------------------------------------------------------------------------------------------- reading */

static bool take_varint(tr_view *v, uint64_t *ret_number)
{
    size_t n = tr_varint_get(*v, ret_number);
    if (n == 0)
        return false;
    *v = tr_view_of(v->ptr + n, v->len - n);
    return true;
}

int tr__record_decode(const tr_stream *stream, tr_view key, tr_view value, tr_buf *keys,
                      tr_stream_change *change)
{
    if (key.len != TR__CHANGE_KEY || value.len < VALUE_HEAD || value.ptr[0] != TR__VALUE_VERSION)
        return TR_ECORRUPT;
    unsigned flags = (uint8_t)value.ptr[1];
    *change = (tr_stream_change){.sequence = tr_get_be64(key.ptr + 12),
                                 .kind = (tr_change_kind)(flags & KINDS),
                                 .expired = (flags & EXPIRED) != 0,
                                 .time_ms = get_time(value.ptr + 2)};
    tr_view rest = tr_view_of(value.ptr + VALUE_HEAD, value.len - VALUE_HEAD);
    uint64_t size, len = 0;
    if (!take_varint(&rest, &size))
        return TR_ECORRUPT;
    if (flags & HAS_KEYS) {
        change->keys = rest;
    } else {
        if ((flags & HAS_NEW) && (!take_varint(&rest, &len) || len > rest.len))
            return TR_ECORRUPT;
        change->new_image = tr_view_of(rest.ptr, (size_t)len);
        change->old_image = tr_view_of(rest.ptr + len, rest.len - (size_t)len);
        tr_buf_reset(keys);
        int rc = tr__keys_of(&stream->schema, len ? change->new_image : change->old_image, keys);
        if (rc)
            return rc == TR_EINVAL ? TR_ECORRUPT : rc;
        change->keys = tr_buf_view(keys);
    }
    change->size_bytes = (size_t)size + tr_item_size(change->keys);
    return 0;
}
