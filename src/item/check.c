/* SPDX-License-Identifier: MIT */
#include "packed.h"

/* Like tr__get_sized, and the length is written in as few bytes as can be: equal values have equal bytes. */
static const char *get_canonical(const char *at, const char *end, tr_view *ret_bytes)
{
    const char *next = tr__get_sized(at, end, ret_bytes);
    if (!next || (size_t)(ret_bytes->ptr - at) != tr__varint_len(ret_bytes->len))
        return NULL;
    return next;
}

static bool check_payload(tr_value value, unsigned level);

/* level: at which the value stands, 1 for an item's attributes */
static const char *check_value(const char *at, const char *end, unsigned level)
{
    tr_value value;
    const char *next = tr__get_value(at, end, &value);
    if (!next || level > TR_ITEM_DEPTH_MAX)
        return NULL;
    if (!tr__is_container(value.type)) {
        tr_view same;
        if (!get_canonical(at + 1, end, &same))
            return NULL;
    }
    return check_payload(value, level) ? next : NULL;
}

static bool check_map(tr_view payload, unsigned level)
{
    const char *at = payload.ptr + 4, *end = payload.ptr + payload.len;
    tr_view last = {NULL, 0};
    for (uint32_t i = 0, count = tr_packed_count(payload); i < count; i++) {
        tr_view name;
        at = get_canonical(at, end, &name);
        if (!at || !tr_utf8_valid(name) || (i > 0 && tr_view_cmp(last, name) >= 0))
            return false;
        last = name;
        at = check_value(at, end, level);
        if (!at)
            return false;
    }
    return at == end;
}

static bool check_list(tr_view payload, unsigned level)
{
    const char *at = payload.ptr + 4, *end = payload.ptr + payload.len;
    for (uint32_t i = 0, count = tr_packed_count(payload); i < count; i++) {
        at = check_value(at, end, level);
        if (!at)
            return false;
    }
    return at == end;
}

static bool check_set(tr_type element, tr_view payload, unsigned level)
{
    const char *at = payload.ptr + 4, *end = payload.ptr + payload.len;
    uint32_t count = tr_packed_count(payload);
    tr_view last = {NULL, 0};
    for (uint32_t i = 0; i < count; i++) {
        tr_view bytes;
        at = get_canonical(at, end, &bytes);
        if (!at || (i > 0 && tr_view_cmp(last, bytes) >= 0))
            return false;
        if (!check_payload((tr_value){element, bytes}, level))
            return false;
        last = bytes;
    }
    return at == end && count > 0;
}

static bool check_payload(tr_value value, unsigned level)
{
    tr_view p = value.payload;
    if (tr__is_container(value.type) && p.len < 4)
        return false;
    switch (value.type) {
    case TR_S:
        return tr_utf8_valid(p);
    case TR_N:
        return tr__number_check(p);
    case TR_B:
        return true;
    case TR_BOOL:
        return p.len == 1 && (uint8_t)p.ptr[0] <= 1;
    case TR_NULL:
        return p.len == 0;
    case TR_M:
        return check_map(p, level + 1);
    case TR_L:
        return check_list(p, level + 1);
    case TR_SS:
    case TR_NS:
    case TR_BS:
        return check_set(tr__element_type(value.type), p, level);
    default:
        return false;
    }
}

int tr_item_check(tr_item item)
{
    if (item.len == 0)
        return 0;
    return item.len >= 4 && check_map(item, 1) ? 0 : TR_ECORRUPT;
}
