/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ITEM_PACKED_H
#define TAILRACE_ITEM_PACKED_H

/** Steps over packed bytes that several files of this room share. None of them reads past `end`. */

#include <tailrace/item.h>

static inline bool tr__is_container(tr_type type)
{
    return type >= TR_M;
}

static inline uint32_t tr__get_u32(const char *at)
{
    const uint8_t *p = (const uint8_t *)at;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void tr__put_u32(char *at, uint32_t x)
{
    uint8_t *p = (uint8_t *)at;
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
    p[2] = (uint8_t)(x >> 16);
    p[3] = (uint8_t)(x >> 24);
}

/** Reads a length and the bytes it counts. Where they end, or NULL if `end` comes first. */
static inline const char *tr__get_sized(const char *at, const char *end, tr_view *ret_bytes)
{
    uint64_t len;
    if (TR_LIKELY(at < end && !(*at & 0x80))) {
        len = (uint8_t)*at++;
    } else {
        size_t used = tr_varint_get(tr_view_of(at, (size_t)(end - at)), &len);
        if (used == 0)
            return NULL;
        at += used;
    }
    if (len > (size_t)(end - at))
        return NULL;
    *ret_bytes = tr_view_of(at, (size_t)len);
    return at + len;
}

/** Reads a value. Where it ends, or NULL if it is damaged. */
static inline const char *tr__get_value(const char *at, const char *end, tr_value *ret_value)
{
    if (TR_UNLIKELY(!at || at >= end))
        return NULL;
    tr_type type = (tr_type)(uint8_t)*at++;
    ret_value->type = type;
    if (!tr__is_container(type))
        return tr__get_sized(at, end, &ret_value->payload);
    if (end - at < 4)
        return NULL;
    uint32_t len = tr__get_u32(at);
    at += 4;
    if (len > (size_t)(end - at))
        return NULL;
    ret_value->payload = tr_view_of(at, len);
    return at + len;
}

static inline size_t tr__varint_len(uint64_t x)
{
    size_t n = 1;
    while (x >= 0x80) {
        x >>= 7;
        n++;
    }
    return n;
}

/** The type of a set's elements; TR_NONE for what is no set. */
static inline tr_type tr__element_type(tr_type set)
{
    return set == TR_SS ? TR_S : set == TR_NS ? TR_N : set == TR_BS ? TR_B : TR_NONE;
}

/** Whether the bytes are a number in packed normal form. */
bool tr__number_check(tr_view packed);

#endif
