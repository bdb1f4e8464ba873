/* SPDX-License-Identifier: MIT */
#include "packed.h"

/* Developer Guide, "DynamoDB item sizes and formats": a list or map takes 3 bytes, and 1 for each value in
 * it. */
#define CONTAINER_SIZE 3
#define NESTED_SIZE    1

static size_t value_size(tr_value value);

/* Names and values of a map; each counts `extra` bytes more. */
static size_t members_size(tr_view payload, size_t extra)
{
    size_t size = 0;
    if (payload.len < 4)
        return 0;
    const char *at = payload.ptr + 4, *end = payload.ptr + payload.len;
    while (at < end) {
        tr_view name;
        tr_value value;
        at = tr__get_sized(at, end, &name);
        if (!at || !(at = tr__get_value(at, end, &value)))
            break;
        size += extra + name.len + value_size(value);
    }
    return size;
}

/* Values of a list or elements of a set; each counts `extra` bytes more. */
static size_t values_size(tr_value container, size_t extra)
{
    size_t size = 0;
    tr_packed_iter iter;
    tr_value_iter(&iter, container);
    while (tr_packed_next(&iter))
        size += extra + value_size(iter.value);
    return size;
}

static size_t value_size(tr_value value)
{
    switch (value.type) {
    case TR_S:
    case TR_B:
        return value.payload.len;
    case TR_N:
        return tr_number_size(value.payload);
    case TR_BOOL:
    case TR_NULL:
        return 1;
    case TR_M:
        return CONTAINER_SIZE + members_size(value.payload, NESTED_SIZE);
    case TR_L:
        return CONTAINER_SIZE + values_size(value, NESTED_SIZE);
    case TR_SS:
    case TR_NS:
    case TR_BS:
        return values_size(value, 0);
    default:
        return 0;
    }
}

size_t tr_value_size(tr_value value)
{
    return value_size(value);
}

size_t tr_item_size(tr_item item)
{
    return members_size(item, 0);
}

static unsigned depth_of(tr_packed_iter *iter)
{
    unsigned deepest = 0;
    while (tr_packed_next(iter)) {
        unsigned depth = 1;
        if (iter->value.type == TR_M || iter->value.type == TR_L) {
            tr_packed_iter inner;
            tr_value_iter(&inner, iter->value);
            depth += depth_of(&inner);
        }
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

unsigned tr_item_depth(tr_item item)
{
    tr_packed_iter iter;
    tr_item_iter(&iter, item);
    return depth_of(&iter);
}
