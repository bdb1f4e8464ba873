/* SPDX-License-Identifier: MIT */
/* Idempotency tokens of transactions. */
#include "engine/engine_private.h"

/*
 * In family ITEMS, whose filters suit them, under space 0, which no table has:
 *
 *   0 u32 | period u64 | token        value: version byte, time in ms u64, what the caller gave
 *
 * A period is as long as a token is good for: a token is in the current one or the one before, and periods
 * before that are dropped whole.
 */
#define TOKEN_LIFE_MS ((int64_t)10 * 60 * 1000) /* TransactWriteItems, API reference: 10 minutes */
#define VALUE_HEAD    9

static uint64_t period_of(int64_t ms)
{
    return (uint64_t)(ms / TOKEN_LIFE_MS);
}

static tr_view token_key(tr_engine *engine, uint64_t period, tr_view token)
{
    char head[12];
    tr_put_be32(head, 0);
    tr_put_be64(head + 4, period);
    tr_buf_reset(&engine->key);
    tr_buf_put(&engine->key, head, sizeof head);
    tr_buf_put_view(&engine->key, token);
    return tr_buf_view(&engine->key);
}

static int find(tr_engine *engine, tr_view key, int64_t now_ms, tr_arena *arena, tr_view *ret_value,
                tr_error *err)
{
    int rc = 0;
    if (tr__touched_has(&engine->touched, tr__engine_hash(key)))
        rc = tr__engine_write_out(engine, err);
    tr_kv_pin pin;
    if (!rc)
        rc = tr_kv_get(engine->kv, TR_KV_ITEMS, NULL, key, &pin, err);
    if (rc)
        return rc;
    tr_view value = pin.value;
    if (value.len < VALUE_HEAD || value.ptr[0] != TR__VALUE_VERSION) {
        rc = tr_fail(err, TR_ECORRUPT, "a stored token is damaged");
    } else if (now_ms - (int64_t)tr_get_be64(value.ptr + 1) >= TOKEN_LIFE_MS) {
        rc = TR_ENOTFOUND;
    } else {
        value = tr_arena_copy(arena, tr_view_of(value.ptr + VALUE_HEAD, value.len - VALUE_HEAD));
        if (value.ptr)
            *ret_value = value;
        else
            rc = tr_fail(err, TR_ENOMEM, "out of memory");
    }
    tr_kv_unpin(&pin);
    return rc;
}

int tr_engine_token_get(tr_engine *engine, tr_view token, tr_arena *arena, tr_view *ret_value, tr_error *err)
{
    int64_t now_ms = tr_engine_now_ms(engine);
    uint64_t period = period_of(now_ms);
    int rc = find(engine, token_key(engine, period, token), now_ms, arena, ret_value, err);
    if (rc == TR_ENOTFOUND && period > 0)
        rc = find(engine, token_key(engine, period - 1, token), now_ms, arena, ret_value, err);
    return rc;
}

int tr_engine_token_put(tr_engine *engine, tr_view token, tr_view value, tr_error *err)
{
    if (token.len > TR_TOKEN_MAX)
        return tr_fail(err, TR_ELIMIT, "a token has at most %d bytes", TR_TOKEN_MAX);
    int rc = tr__engine_writable(engine, err);
    if (rc)
        return rc;
    int64_t now_ms = tr_engine_now_ms(engine);
    tr_view key = token_key(engine, period_of(now_ms), token);
    rc = tr__touched_add(&engine->touched, tr__engine_hash(key));
    if (rc)
        return tr__engine_broken(engine, tr_fail(err, rc, "out of memory"));
    char head[VALUE_HEAD] = {TR__VALUE_VERSION};
    tr_put_be64(head + 1, (uint64_t)now_ms);
    tr_view parts[] = {tr_view_of(head, sizeof head), value};
    tr_kv_batch_putv(engine->batch, TR_KV_ITEMS, &key, 1, parts, 2);
    return 0;
}

void tr__tokens_trim(tr_engine *engine)
{
    uint64_t period = period_of(tr_engine_now_ms(engine));
    if (period == engine->token_period || period < 2)
        return;
    engine->token_period = period;
    char from[12] = {0}, to[12];
    tr_put_be32(to, 0);
    tr_put_be64(to + 4, period - 1);
    tr_kv_batch_delete_range(engine->batch, TR_KV_ITEMS, tr_view_of(from, 12), tr_view_of(to, 12));
}
