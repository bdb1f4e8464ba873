/* SPDX-License-Identifier: MIT */
/* The catalogue in the store: family META, keys of a letter and a name or number, read whole when opened. */
#include "engine/engine_private.h"

/*
 * G                  counters: next space, stream, shard (u32 each)
 * Q                  sequence of the last change (u64)
 * T name             a table
 * C space u32        its counts: items, bytes, then for each index its space, items, bytes (varints)
 * S stream u32       a stream with its shards
 * L slice u32        a slice of the change records: first sequence u64, begun (ms, u64)
 * B space u32        how far an index or expiry list has been filled: key of the last item
 * D space u32        a table or index that is gone, whose files are not
 *
 * Every value begins with TR__VALUE_VERSION.
 */

typedef struct meta_key {
    char bytes[1 + TR_TABLE_NAME_MAX];
    size_t len;
} meta_key;

static meta_key name_key(char letter, tr_view name)
{
    meta_key key = {.len = 1};
    key.bytes[0] = letter;
    if (name.len && name.len <= TR_TABLE_NAME_MAX) {
        memcpy(key.bytes + 1, name.ptr, name.len);
        key.len += name.len;
    }
    return key;
}

static meta_key number_key(char letter, uint32_t number)
{
    meta_key key = {.len = 5};
    key.bytes[0] = letter;
    tr_put_be32(key.bytes + 1, number);
    return key;
}

static tr_view key_view(const meta_key *key)
{
    return tr_view_of(key->bytes, key->len);
}

static void stage(tr_engine *engine, meta_key key, const void *bytes, size_t len)
{
    static const char version = TR__VALUE_VERSION;
    tr_view key_part = key_view(&key), parts[] = {tr_view_of(&version, 1), tr_view_of(bytes, len)};
    tr_kv_batch_putv(engine->batch, TR_KV_META, &key_part, 1, parts, 2);
}

static void forget(tr_engine *engine, meta_key key)
{
    tr_kv_batch_delete(engine->batch, TR_KV_META, key_view(&key));
}

int tr__store_table(tr_engine *engine, const tr__table *table)
{
    tr_buf_reset(&engine->value);
    int rc = tr__table_encode(&table->pub, &engine->value);
    if (!rc)
        stage(engine, name_key('T', table->pub.name), engine->value.ptr, engine->value.len);
    return rc;
}

int tr__store_stream(tr_engine *engine, const tr__stream *stream)
{
    tr_buf_reset(&engine->value);
    int rc = tr__stream_encode(stream, &engine->value);
    if (!rc)
        stage(engine, number_key('S', stream->pub.number), engine->value.ptr, engine->value.len);
    return rc;
}

void tr__store_counters(tr_engine *engine)
{
    char bytes[12];
    tr_put_be32(bytes, engine->next_space);
    tr_put_be32(bytes + 4, engine->next_stream);
    tr_put_be32(bytes + 8, engine->next_shard);
    stage(engine, name_key('G', (tr_view){NULL, 0}), bytes, sizeof bytes);
}

void tr__store_sequence(tr_engine *engine)
{
    char bytes[8];
    tr_put_be64(bytes, engine->sequence);
    stage(engine, name_key('Q', (tr_view){NULL, 0}), bytes, sizeof bytes);
}

void tr__store_slice(tr_engine *engine, const tr__slice *slice)
{
    char bytes[16];
    tr_put_be64(bytes, slice->start);
    tr_put_be64(bytes + 8, (uint64_t)slice->start_ms);
    stage(engine, number_key('L', slice->number), bytes, sizeof bytes);
}

void tr__store_counts(tr_engine *engine, const tr__table *table)
{
    char bytes[(2 + 3 * TR_TABLE_INDEXES_MAX) * TR_VARINT_MAX];
    const tr_table *t = &table->pub;
    size_t n = tr_varint_put(bytes, (uint64_t)t->item_count);
    n += tr_varint_put(bytes + n, (uint64_t)t->size_bytes);
    for (unsigned i = 0; i < t->index_count && i < TR_TABLE_INDEXES_MAX; i++) {
        n += tr_varint_put(bytes + n, t->indexes[i].space);
        n += tr_varint_put(bytes + n, (uint64_t)t->indexes[i].item_count);
        n += tr_varint_put(bytes + n, (uint64_t)t->indexes[i].size_bytes);
    }
    stage(engine, number_key('C', t->space), bytes, n);
}

void tr__store_gone(tr_engine *engine, uint32_t space)
{
    stage(engine, number_key('D', space), NULL, 0);
}

void tr__forget_gone(tr_engine *engine, uint32_t space)
{
    forget(engine, number_key('D', space));
}

void tr__store_fill(tr_engine *engine, uint32_t space, tr_view to)
{
    stage(engine, number_key('B', space), to.ptr, to.len);
}

void tr__forget_fill(tr_engine *engine, uint32_t space)
{
    forget(engine, number_key('B', space));
}

void tr__forget_slice(tr_engine *engine, uint32_t number)
{
    forget(engine, number_key('L', number));
}

void tr__forget_table(tr_engine *engine, const tr__table *table)
{
    forget(engine, name_key('T', table->pub.name));
    forget(engine, number_key('C', table->pub.space));
}

void tr__forget_stream(tr_engine *engine, const tr__stream *stream)
{
    forget(engine, number_key('S', stream->pub.number));
}

/* -------------------------------------------------------------------------------------------- loading */

static int load_counters(tr_engine *engine, tr_view value)
{
    if (value.len < 12)
        return TR_ECORRUPT;
    engine->next_space = tr_get_be32(value.ptr);
    engine->next_stream = tr_get_be32(value.ptr + 4);
    engine->next_shard = tr_get_be32(value.ptr + 8);
    return 0;
}

static int load_slice(tr_engine *engine, tr_view key, tr_view value)
{
    if (key.len != 5 || value.len < 16)
        return TR_ECORRUPT;
    tr__slice slice = {tr_get_be32(key.ptr + 1), tr_get_be64(value.ptr), (int64_t)tr_get_be64(value.ptr + 8)};
    return tr__slice_append(engine, slice);
}

static int load_table(tr_engine *engine, tr_view value)
{
    tr__table *table;
    int rc = tr__table_from_record(engine, value, &table);
    if (rc)
        return rc;
    rc = tr__table_insert(engine, table);
    if (rc)
        tr__table_free(table);
    return rc;
}

static int load_stream(tr_engine *engine, tr_view value)
{
    tr__stream *stream;
    int rc = tr__stream_from_record(value, &stream);
    if (rc)
        return rc;
    rc = tr__stream_insert(engine, stream);
    if (rc)
        tr__stream_free(stream);
    return rc;
}

static bool take_varint(tr_view *v, int64_t *ret_number)
{
    uint64_t number;
    size_t n = tr_varint_get(*v, &number);
    if (n == 0)
        return false;
    *v = tr_view_of(v->ptr + n, v->len - n);
    *ret_number = (int64_t)number;
    return true;
}

static void load_counts(tr_table *t, tr_view v)
{
    if (!take_varint(&v, &t->item_count) || !take_varint(&v, &t->size_bytes))
        return;
    int64_t space, count, size;
    while (take_varint(&v, &space) && take_varint(&v, &count) && take_varint(&v, &size))
        for (unsigned i = 0; i < t->index_count; i++)
            if (t->indexes[i].space == space) {
                t->indexes[i].item_count = count;
                t->indexes[i].size_bytes = size;
            }
}

static int load_one(tr_engine *engine, tr_view key, tr_view value)
{
    if (key.len == 0 || value.len == 0)
        return TR_ECORRUPT;
    if ((uint8_t)value.ptr[0] != TR__VALUE_VERSION)
        return (uint8_t)value.ptr[0] > TR__VALUE_VERSION ? TR_EVERSION : TR_ECORRUPT;
    value = tr_view_of(value.ptr + 1, value.len - 1);
    switch (key.ptr[0]) {
    case 'G':
        return load_counters(engine, value);
    case 'Q':
        engine->sequence = value.len < 8 ? 0 : tr_get_be64(value.ptr);
        return value.len < 8 ? TR_ECORRUPT : 0;
    case 'L':
        return load_slice(engine, key, value);
    case 'S':
        return load_stream(engine, value);
    case 'T':
        return load_table(engine, value);
    case 'D':
        return key.len == 5 ? tr__gone_append(engine, tr_get_be32(key.ptr + 1)) : TR_ECORRUPT;
    default:
        return 0; /* counts and fillings come when the tables are there */
    }
}

static int load_fill(tr_engine *engine, tr__table *table, uint32_t space, tr_error *err)
{
    int rc = tr__fill_begin(table, space);
    if (rc)
        return tr_fail(err, rc, "out of memory");
    meta_key key = number_key('B', space);
    tr_kv_pin pin;
    rc = tr_kv_get(engine->kv, TR_KV_META, NULL, key_view(&key), &pin, err);
    if (rc)
        return rc == TR_ENOTFOUND ? 0 : rc;
    tr_buf *to = &tr__fill_find(table, space)->to;
    if (pin.value.len > 1)
        tr_buf_put(to, pin.value.ptr + 1, pin.value.len - 1);
    tr_kv_unpin(&pin);
    return tr_buf_status(to);
}

static int load_fills(tr_engine *engine, tr_error *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < engine->table_count; i++) {
        tr__table *table = engine->tables[i];
        for (unsigned k = 0; !rc && k < table->pub.index_count; k++)
            if (table->pub.indexes[k].backfilling)
                rc = load_fill(engine, table, table->pub.indexes[k].space, err);
        if (!rc && table->pub.ttl_filling)
            rc = load_fill(engine, table, table->pub.ttl_space, err);
    }
    return rc;
}

static int load_all_counts(tr_engine *engine, tr_error *err)
{
    for (size_t i = 0; i < engine->table_count; i++) {
        tr_table *t = &engine->tables[i]->pub;
        meta_key key = number_key('C', t->space);
        tr_kv_pin pin;
        int rc = tr_kv_get(engine->kv, TR_KV_META, NULL, key_view(&key), &pin, err);
        if (rc == TR_ENOTFOUND)
            continue;
        if (rc)
            return rc;
        if (pin.value.len > 1)
            load_counts(t, tr_view_of(pin.value.ptr + 1, pin.value.len - 1));
        tr_kv_unpin(&pin);
    }
    return 0;
}

int tr__store_load(tr_engine *engine, tr_error *err)
{
    tr_kv_iter *iter;
    int rc = tr_kv_iter_new(engine->kv, TR_KV_META, NULL, (tr_view){NULL, 0}, (tr_view){NULL, 0}, &iter);
    if (rc)
        return tr_fail(err, rc, "out of memory");
    tr_view key, value;
    for (tr_kv_iter_first(iter); !rc && tr_kv_iter_get(iter, &key, &value); tr_kv_iter_next(iter)) {
        rc = load_one(engine, key, value);
        if (rc)
            tr_fail(err, rc, "the catalogue's record %c cannot be read: %s", key.len ? key.ptr[0] : '?',
                    tr_strerror(rc));
    }
    if (!rc)
        rc = tr_kv_iter_status(iter, err);
    tr_kv_iter_free(iter);
    if (!rc)
        rc = load_all_counts(engine, err);
    return rc ? rc : load_fills(engine, err);
}
