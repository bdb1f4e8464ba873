/* SPDX-License-Identifier: MIT */
/* Items that expire: found by time, deleted as the service's own deletions. */
#include "engine/engine_private.h"

/*
 * A table whose TTL is on has a list of expiry times in a space of its own:
 *
 *   ttl space u32 | time in seconds u64 | the item's key behind its space      value: the version byte
 *
 * It is maintained in the batch of each write, so that a sweep looks at nothing but what is due.
 */
#define STEP_ITEMS 128
/* "more than 5 years in the past" is left alone (Developer Guide, "Using time to live"). */
#define TOO_OLD_S ((int64_t)5 * 365 * 24 * 3600)
/* Beyond this a double has no whole seconds; nothing sensible lies there. */
#define TIME_MAX_S 9007199254740992.0

bool tr__expiry_of(const tr_table *table, tr_item item, int64_t *ret_s)
{
    tr_value value;
    if (!item.len || tr_item_get(item, table->ttl_attribute, &value) != 0 || value.type != TR_N)
        return false;
    double s = tr_number_to_double(value.payload);
    if (!(s >= 0 && s < TIME_MAX_S))
        return false;
    *ret_s = (int64_t)s;
    return true;
}

static void list_key(tr_buf *out, uint32_t space, int64_t s, tr_view item_key)
{
    char head[12];
    tr_put_be32(head, space);
    tr_put_be64(head + 4, (uint64_t)s);
    tr_buf_reset(out);
    tr_buf_put(out, head, sizeof head);
    tr_buf_put_view(out, tr_view_of(item_key.ptr + 4, item_key.len - 4));
}

int tr__expiry_stage(tr_engine *engine, const tr__table *table, tr_view item_key, tr_item before,
                     tr_item after)
{
    static const char version = TR__VALUE_VERSION;
    int64_t old = 0, new = 0;
    bool had = tr__expiry_of(&table->pub, before, &old), has = tr__expiry_of(&table->pub, after, &new);
    if (had == has && old == new)
        return 0;
    if (had) {
        list_key(&engine->key2, table->pub.ttl_space, old, item_key);
        tr_kv_batch_delete(engine->batch, TR_KV_ITEMS, tr_buf_view(&engine->key2));
    }
    if (has) {
        list_key(&engine->key3, table->pub.ttl_space, new, item_key);
        tr_kv_batch_put(engine->batch, TR_KV_ITEMS, tr_buf_view(&engine->key3), tr_view_of(&version, 1));
    }
    return had ? tr_buf_status(&engine->key2) : tr_buf_status(&engine->key3);
}

/* -------------------------------------------------------------------------------------------- sweeping */

/* The deletion of a due item, on condition that its time is still what the list said. NULL condition: it is
 * gone already. */
static int prepare(tr_engine *engine, tr__table *table, tr_view item_key, tr_write *write, tr_error *err)
{
    tr_arena *arena = &engine->scratch;
    tr_kv_pin pin;
    int rc = tr_kv_get(engine->kv, TR_KV_ITEMS, NULL, item_key, &pin, err);
    if (rc)
        return rc == TR_ENOTFOUND ? 0 : rc;
    tr_value at;
    tr_item item = tr_view_of(pin.value.ptr + 1, pin.value.len - 1);
    tr_buf_reset(&engine->value);
    if (tr_item_get(item, table->pub.ttl_attribute, &at) == 0 &&
        tr__keys_of(&table->pub.schema, item, &engine->value) == 0) {
        tr_path path;
        rc = tr_path_of(arena, table->pub.ttl_attribute, &path);
        at.payload = tr_arena_copy(arena, at.payload);
        const tr_operand operands[] = {tr_operand_path(path), tr_operand_value(at)};
        if (!rc)
            rc = tr_condition_of(arena, tr_cond_test(arena, TR_COND_EQ, operands, 2), &write->condition);
        write->key = tr_arena_copy(arena, tr_buf_view(&engine->value));
        if (!write->key.ptr || !at.payload.ptr)
            rc = TR_ENOMEM;
    }
    tr_kv_unpin(&pin);
    return rc ? tr_fail(err, rc, "cannot expire an item: %s", tr_strerror(rc)) : 0;
}

static int expire(tr_engine *engine, tr__table *table, tr_view list_entry, tr_error *err)
{
    char *key = tr_arena_alloc(&engine->scratch, list_entry.len - 8);
    if (!key)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    tr_put_be32(key, table->pub.space);
    memcpy(key + 4, list_entry.ptr + 12, list_entry.len - 12);
    tr_write write = {.kind = TR_WRITE_DELETE, .table = &table->pub, .expired = true};
    int rc = prepare(engine, table, tr_view_of(key, list_entry.len - 8), &write, err);
    if (rc || !write.condition)
        return rc;
    return tr_engine_write(engine, &write, 1, false, &engine->scratch, err);
}

static int sweep(tr_engine *engine, tr__table *table, int64_t now_s, bool *ret_more, tr_error *err)
{
    char lower[12], upper[12];
    tr_put_be32(lower, table->pub.ttl_space);
    tr_put_be64(lower + 4, now_s > TOO_OLD_S ? (uint64_t)(now_s - TOO_OLD_S) : 0);
    tr_put_be32(upper, table->pub.ttl_space);
    tr_put_be64(upper + 4, (uint64_t)now_s + 1);
    int rc = tr__engine_write_out(engine, err);
    if (rc)
        return rc;
    tr_kv_iter *iter;
    rc = tr_kv_iter_new(engine->kv, TR_KV_ITEMS, NULL, tr_view_of(lower, 12), tr_view_of(upper, 12), &iter);
    if (rc)
        return tr_fail(err, rc, "out of memory");
    size_t count = 0;
    tr_view key, value;
    for (tr_kv_iter_first(iter); !rc && tr_kv_iter_get(iter, &key, &value); tr_kv_iter_next(iter)) {
        if (count++ == STEP_ITEMS) {
            *ret_more = true;
            break;
        }
        tr_arena_reset(&engine->scratch);
        rc = expire(engine, table, key, err);
    }
    if (!rc)
        rc = tr_kv_iter_status(iter, err);
    tr_kv_iter_free(iter);
    return rc;
}

int tr__expiry_step(tr_engine *engine, bool *ret_more, tr_error *err)
{
    int64_t now_ms = tr_engine_now_ms(engine);
    if (now_ms - engine->swept_ms < engine->options.expiry_interval_ms && now_ms >= engine->swept_ms)
        return 0;
    bool more = false;
    int rc = 0;
    for (size_t i = 0; !rc && i < engine->table_count; i++)
        if (engine->tables[i]->pub.ttl_space)
            rc = sweep(engine, engine->tables[i], now_ms / 1000, &more, err);
    if (more)
        *ret_more = true;
    else
        engine->swept_ms = now_ms;
    return rc;
}
