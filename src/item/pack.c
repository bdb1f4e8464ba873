/* SPDX-License-Identifier: MIT */
#include "pack.h"

#include <assert.h>

/* The type byte that stands in a level for the item itself, whose bytes have neither type nor length. */
#define BARE 0

static const char zeros[4]; /* an empty container's count, and a length not known yet */

#define LEVELS TR_COUNT(((tr_packer *)NULL)->level)

void tr_packer_init(tr_packer *packer, tr_buf *out)
{
    packer->out = out;
    packer->depth = 0;
}

/* The container that is open, or NULL at the top or where the nesting was too deep (the buffer has failed
 * then). */
static inline struct tr_packer_level *top(tr_packer *p)
{
    return p->depth == 0 || p->depth > LEVELS ? NULL : &p->level[p->depth - 1];
}

/* A value follows: counts it in a list, and finds the caller's mistakes. */
static inline void value_follows(tr_packer *p)
{
    struct tr_packer_level *level = top(p);
    if (!level)
        return;
    if (level->type == TR_L) {
        level->count++;
    } else {
        assert(level->type == BARE || level->type == TR_M);
        assert(level->named);
        level->named = false;
    }
}

static void begin(tr_packer *p, uint8_t type)
{
    tr_buf *out = p->out;
    if (p->depth++ >= LEVELS) {
        if (!out->status)
            out->status = TR_ELIMIT;
        return;
    }
    if (type != BARE) {
        tr_buf_putc(out, (char)type);
        tr_buf_put(out, zeros, 4);
    }
    p->level[p->depth - 1] = (struct tr_packer_level){.type = type, .sorted = true, .start = out->len};
    tr_buf_put(out, zeros, 4);
}

static void put_name(tr_packer *p, struct tr_packer_level *level, tr_view bytes)
{
    tr_buf *out = p->out;
    char *at = tr__buf_room(out, tr__varint_len(bytes.len) + bytes.len);
    if (!at)
        return;
    out->len = (size_t)(tr__put_sized(at, bytes) - out->ptr);
    tr__level_note(level, out, out->len - bytes.len, bytes.len, tr__head(bytes));
}

static int end(tr_packer *p)
{
    tr_buf *out = p->out;
    assert(p->depth > 0);
    if (p->depth-- > LEVELS)
        return out->status;
    struct tr_packer_level *level = &p->level[p->depth];
    assert(!level->named);
    if (out->status)
        return out->status;
    size_t len = out->len - level->start;
    if (len > UINT32_MAX)
        return out->status = TR_ELIMIT;
    if (!level->sorted) {
        int e =
            tr__pack_sort(out, level->start + 4, level->count, level->type == BARE || level->type == TR_M);
        if (e)
            return e;
    }
    tr__put_u32(out->ptr + level->start, level->count);
    if (level->type != BARE)
        tr__put_u32(out->ptr + level->start - 4, (uint32_t)len);
    return 0;
}

void tr_pack_item_begin(tr_packer *packer)
{
    assert(packer->depth == 0);
    begin(packer, BARE);
}

int tr_pack_item_end(tr_packer *packer)
{
    assert(packer->depth == 1 && packer->level[0].type == BARE);
    return end(packer);
}

void tr_pack_map_begin(tr_packer *packer)
{
    value_follows(packer);
    begin(packer, TR_M);
}

int tr_pack_map_end(tr_packer *packer)
{
    return end(packer);
}

void tr_pack_list_begin(tr_packer *packer)
{
    value_follows(packer);
    begin(packer, TR_L);
}

int tr_pack_list_end(tr_packer *packer)
{
    return end(packer);
}

void tr_pack_set_begin(tr_packer *packer, tr_type type)
{
    assert(tr__element_type(type) != TR_NONE);
    value_follows(packer);
    begin(packer, (uint8_t)type);
}

int tr_pack_set_end(tr_packer *packer)
{
    return end(packer);
}

void tr_pack_element(tr_packer *packer, tr_view payload)
{
    struct tr_packer_level *level = top(packer);
    if (!level)
        return;
    assert(tr__element_type((tr_type)level->type) != TR_NONE);
    put_name(packer, level, payload);
}

void tr_pack_name(tr_packer *packer, tr_view name)
{
    struct tr_packer_level *level = top(packer);
    if (!level)
        return;
    assert((level->type == BARE || level->type == TR_M) && !level->named);
    level->named = true;
    put_name(packer, level, name);
}

void tr_pack_value(tr_packer *packer, tr_value value)
{
    assert(value.type > TR_NONE && value.type <= TR_BS);
    tr_buf *out = packer->out;
    tr_view payload = value.payload;
    value_follows(packer);
    bool container = tr__is_container(value.type);
    assert(!container || payload.len <= UINT32_MAX);
    if (container && payload.len == 0) /* an item without attributes may be an empty view */
        payload = tr_view_of(zeros, 4);
    char *at = tr__buf_room(out, 1 + (container ? 4 : tr__varint_len(payload.len)) + payload.len);
    if (!at)
        return;
    *at++ = (char)value.type;
    if (container) {
        tr__put_u32(at, (uint32_t)payload.len);
        memcpy(at + 4, payload.ptr, payload.len);
        at += 4 + payload.len;
    } else {
        at = tr__put_sized(at, payload);
    }
    out->len = (size_t)(at - out->ptr);
}

int tr__pack_base64(tr_packer *packer, tr_view text, bool element)
{
    tr_buf *out = packer->out;
    size_t pads = text.len < 2 || text.ptr[text.len - 1] != '=' ? 0 : 1 + (text.ptr[text.len - 2] == '=');
    if (text.len % 4)
        return TR_EPARSE;
    size_t len = text.len / 4 * 3 - pads, decoded = 0;
    char *at = tr__buf_room(out, (element ? 0 : 1) + tr__varint_len(len) + len);
    if (!at)
        return out->status;
    if (!element)
        *at++ = (char)TR_B;
    at += tr_varint_put(at, len);
    if (tr_base64_decode(text, at, &decoded))
        return TR_EPARSE;
    assert(decoded == len);
    if (!element)
        value_follows(packer);
    out->len = (size_t)(at - out->ptr) + len;
    struct tr_packer_level *level = element ? top(packer) : NULL;
    if (level)
        tr__level_note(level, out, out->len - len, len, tr__head(tr_view_of(at, len)));
    return 0;
}

void tr_pack_encoded(tr_packer *packer, tr_view encoded)
{
    assert(encoded.len >= 2);
    value_follows(packer);
    tr_buf_put_view(packer->out, encoded);
}

void tr_pack_s(tr_packer *packer, tr_view text)
{
    tr_pack_value(packer, (tr_value){TR_S, text});
}

void tr_pack_b(tr_packer *packer, tr_view bytes)
{
    tr_pack_value(packer, (tr_value){TR_B, bytes});
}

static void pack_number(tr_packer *packer, const uint8_t *packed, size_t len)
{
    assert(len <= TR_NUMBER_PACKED_MAX); /* which gcc must know to see that nothing is read behind it */
    tr_pack_value(packer, (tr_value){TR_N, tr_view_of(packed, len)});
}

int tr_pack_n(tr_packer *packer, tr_view text)
{
    uint8_t packed[TR_NUMBER_PACKED_MAX];
    size_t len;
    int e = tr_number_parse(text, packed, &len, NULL);
    if (e)
        return e;
    pack_number(packer, packed, len);
    return tr_buf_status(packer->out);
}

void tr_pack_n_i64(tr_packer *packer, int64_t number)
{
    uint8_t packed[TR_NUMBER_PACKED_MAX];
    pack_number(packer, packed, tr_number_from_i64(number, packed));
}

void tr_pack_bool(tr_packer *packer, bool value)
{
    char byte = value ? 1 : 0;
    tr_pack_value(packer, (tr_value){TR_BOOL, tr_view_of(&byte, 1)});
}

void tr_pack_null(tr_packer *packer)
{
    tr_pack_value(packer, (tr_value){TR_NULL, {NULL, 0}});
}
