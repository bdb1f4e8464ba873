/* SPDX-License-Identifier: MIT */
#include "api/distinct.h"
#include "api/transact.h"

#include <xxhash.h>

/* ----------------------------------------------------------------------------------------- cancellation */

static void put_codes(tr_call *c, const tr_reason *reasons, uint32_t count)
{
    tr_buf_reset(c->text);
    tr_buf_put_str(c->text,
                   "Transaction cancelled, please refer cancellation reasons for specific reasons [");
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            tr_buf_put_str(c->text, ", ");
        tr_buf_put_str(c->text, reasons[i].code ? reasons[i].code : "None");
    }
    tr_buf_putc(c->text, ']');
}

int tr__canceled(tr_call *c, const tr_reason *reasons, uint32_t count)
{
    put_codes(c, reasons, count);
    tr_json_begin_object(&c->w);
    tr_json_member_cstring(&c->w, "__type", TR_TYPE("TransactionCanceledException"));
    tr_json_member_string(&c->w, "Message", tr_buf_view(c->text));
    tr_json_name(&c->w, "CancellationReasons");
    tr_json_begin_array(&c->w);
    for (uint32_t i = 0; i < count; i++) {
        tr_json_begin_object(&c->w);
        tr_json_member_cstring(&c->w, "Code", reasons[i].code ? reasons[i].code : "None");
        if (reasons[i].message.ptr)
            tr_json_member_string(&c->w, "Message", reasons[i].message);
        if (reasons[i].item.len) {
            tr_json_name(&c->w, "Item");
            tr_item_write(&c->w, reasons[i].item);
        }
        tr_json_end_object(&c->w);
    }
    tr_json_end_array(&c->w);
    tr_json_end_object(&c->w);
    c->reply->status = 400;
    return TR_ESERVICE;
}

int tr__set_reason(tr_call *c, tr_reason *r, tr_view message)
{
    r->code = "ValidationError";
    r->message = tr_arena_copy(c->arena, message);
    return r->message.ptr ? 0 : TR_ENOMEM;
}

bool tr__any_reason(const tr_reason *reasons, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (reasons[i].code)
            return true;
    return false;
}

/* ---------------------------------------------------------------------------------------- tokens */

/*
 * What is kept of a transaction that came with a ClientRequestToken: a hash of its actions, by which a
 * repetition is known, and what the repetition is charged, which is reading what the first one wrote.
 *
 *   hash:16 bytes { name_len:varint table's name halves:varint }*
 */
#define HASH_LEN 16

static void hash_actions(tr_view raw, char *out)
{
    XXH128_hash_t h = XXH3_128bits(raw.ptr, raw.len);
    tr_put_be64(out, h.high64);
    tr_put_be64(out + 8, h.low64);
}

static void put_varint(tr_buf *out, uint64_t x)
{
    char bytes[TR_VARINT_MAX];
    tr_buf_put(out, bytes, tr_varint_put(bytes, x));
}

/* Takes a number off the view's front. */
static bool take_varint(tr_view *v, uint64_t *ret_number)
{
    size_t n = tr_varint_get(*v, ret_number);
    *v = tr_view_of(v->ptr + n, v->len - n);
    return n > 0;
}

int tr__token_keep(tr_call *c, tr_view token, tr_view raw, const tr_write *writes, uint32_t count)
{
    char hash[HASH_LEN];
    tr_error err;
    hash_actions(raw, hash);
    tr_buf_reset(c->text);
    tr_buf_put(c->text, hash, sizeof hash);
    for (uint32_t i = 0; i < count; i++) {
        size_t before = writes[i].before.len ? tr_item_size(writes[i].before) : 0;
        size_t after = writes[i].after.len ? tr_item_size(writes[i].after) : 0;
        put_varint(c->text, writes[i].table->name.len);
        tr_buf_put_view(c->text, writes[i].table->name);
        put_varint(c->text, (uint64_t)(2 * tr__read_halves(before > after ? before : after, true)));
    }
    int e = tr_buf_status(c->text);
    if (e == 0)
        e = tr_engine_token_put(c->engine, token, tr_buf_view(c->text), &err);
    return e ? tr__fail_code(c, e, &err) : 0;
}

static int answer_again(tr_call *c, tr_view wanted, bool responses, tr_view kept)
{
    tr_capacities capacities;
    uint64_t len, halves;
    if (tr__capacities_init(c, &capacities, TR_ACTIONS_MAX))
        return TR_ENOMEM;
    kept = tr_view_of(kept.ptr + HASH_LEN, kept.len - HASH_LEN);
    while (kept.len && take_varint(&kept, &len) && len <= kept.len) {
        tr_view name = tr_view_of(kept.ptr, len);
        kept = tr_view_of(kept.ptr + len, kept.len - len);
        const tr_table *table = tr_engine_table(c->engine, name);
        if (!take_varint(&kept, &halves))
            break;
        if (!table || capacities.count == TR_ACTIONS_MAX)
            continue;
        tr_capacity *capacity = tr__capacities_of(&capacities, table, false);
        capacity->transaction = true;
        capacity->table_halves += (int64_t)halves;
    }
    tr_json_begin_object(&c->w);
    if (responses) {
        tr_json_name(&c->w, "Responses");
        tr_json_begin_array(&c->w);
        tr_json_end_array(&c->w);
    }
    tr__capacities_member(c, &capacities, tr__capacity_mode(wanted));
    tr_json_end_object(&c->w);
    return 0;
}

int tr__token_check(tr_call *c, tr_view token, tr_view raw, tr_view capacity, bool responses,
                    bool *ret_answered)
{
    char hash[HASH_LEN];
    tr_view kept;
    tr_error err;
    *ret_answered = false;
    if (!token.ptr)
        return 0;
    int e = tr_engine_token_get(c->engine, token, c->arena, &kept, &err);
    if (e == TR_ENOTFOUND)
        return 0;
    if (e)
        return tr__fail_code(c, e, &err);
    hash_actions(raw, hash);
    if (kept.len < HASH_LEN || memcmp(kept.ptr, hash, HASH_LEN) != 0)
        return tr__fail(c, 400, TR_TYPE("IdempotentParameterMismatchException"),
                        "An error occurred (IdempotentParameterMismatchException)");
    *ret_answered = true;
    return answer_again(c, capacity, responses, kept);
}
