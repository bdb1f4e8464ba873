/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ITEM_PACK_H
#define TAILRACE_ITEM_PACK_H

/** The packer's inner steps, for the parts of this room that pack at speed. */

#include "base/json_scan.h"
#include "packed.h"

/** Room for `len` more bytes, which the caller then writes and adds to out->len; NULL if the buffer failed.
 */
static inline char *tr__buf_room(tr_buf *out, size_t len)
{
    if (TR_UNLIKELY(out->status || len > out->cap - out->len) && tr_buf_reserve(out, len))
        return NULL;
    return out->ptr + out->len;
}

/** The first eight bytes as a number, zeros behind a shorter run: different heads settle the bytewise order.
 */
static inline uint64_t tr__head(tr_view bytes)
{
    if (TR_LIKELY(bytes.len >= 8))
        return tr_get_be64(bytes.ptr);
    uint64_t head = 0;
    for (size_t i = 0; i < bytes.len; i++)
        head |= (uint64_t)(uint8_t)bytes.ptr[i] << (56 - 8 * i);
    return head;
}

/** Counts a member or element whose name or payload stands at `last` in the buffer, and keeps track of the
 * order. */
static inline void tr__level_note(struct tr_packer_level *level, const tr_buf *out, size_t last, size_t len,
                                  uint64_t head)
{
    if (level->count++ > 0 && level->sorted) {
        level->sorted = level->last_head < head;
        if (TR_UNLIKELY(level->last_head == head))
            level->sorted = tr_view_cmp(tr_view_of(out->ptr + level->last, level->last_len),
                                        tr_view_of(out->ptr + last, len)) < 0;
    }
    level->last = last;
    level->last_len = len;
    level->last_head = head;
}

/** Writes length and bytes at `at`, which has room for both. Where they end. */
static inline char *tr__put_sized(char *at, tr_view bytes)
{
    if (TR_LIKELY(bytes.len < 0x80))
        *at++ = (char)bytes.len;
    else
        at += tr_varint_put(at, bytes.len);
    tr__copy(at, bytes.ptr, bytes.len);
    return at + bytes.len;
}

/** Appends a member whose value is no container to the map or item that is open. head: tr__head of the name.
 */
static inline void tr__pack_member(tr_packer *packer, tr_view name, uint64_t head, tr_value value)
{
    tr_buf *out = packer->out;
    tr_view payload = value.payload;
    char *from = tr__buf_room(out, tr__varint_len(name.len) + name.len + 1 + tr__varint_len(payload.len) +
                                       payload.len);
    if (!from)
        return;
    char *at = tr__put_sized(from, name);
    size_t name_at = (size_t)(at - out->ptr) - name.len;
    *at++ = (char)value.type;
    at = tr__put_sized(at, payload);
    out->len = (size_t)(at - out->ptr);
    tr__level_note(&packer->level[packer->depth - 1], out, name_at, name.len, head);
}

/**
 * Decodes base64 in its place: a value B, or (element) one of a BS. 0, TR_EPARSE if it is not valid (and
 * nothing was packed), or the buffer's status.
 */
int tr__pack_base64(tr_packer *packer, tr_view text, bool element);

/** The level at which the next value will stand: 1 for an item's attributes and for a value of its own. */
static inline unsigned tr__packer_level(const tr_packer *packer)
{
    bool item = packer->depth > 0 && packer->level[0].type == TR_NONE;
    return packer->depth + !item;
}

/**
 * Sorts the members of a map, or the elements of a set, that stand from `body` to the buffer's end. TR_EEXIST
 * if two are the same: the bytes are as they were then. TR_ENOMEM also makes the buffer fail.
 */
int tr__pack_sort(tr_buf *out, size_t body, uint32_t count, bool map);

#endif
