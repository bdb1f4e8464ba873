/* SPDX-License-Identifier: MIT */
#include "packed.h"

/* Developer Guide, "DynamoDB item sizes and formats": a list or map takes 3 bytes, and 1 for each value in
 * it. */
#define CONTAINER_SIZE 3
#define NESTED_SIZE    1

static size_t list_size(tr_value value)
{
    size_t size = CONTAINER_SIZE;
    tr_packed_iter iter;
    tr_value_iter(&iter, value);
    while (tr_packed_next(&iter))
        size += NESTED_SIZE + (value.type == TR_M ? iter.name.len : 0) + tr_value_size(iter.value);
    return size;
}

static size_t set_size(tr_value value)
{
    size_t size = 0;
    tr_packed_iter iter;
    tr_value_iter(&iter, value);
    while (tr_packed_next(&iter))
        size += tr_value_size(iter.value);
    return size;
}

size_t tr_value_size(tr_value value)
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
    case TR_L:
        return list_size(value);
    case TR_SS:
    case TR_NS:
    case TR_BS:
        return set_size(value);
    default:
        return 0;
    }
}

size_t tr_item_size(tr_item item)
{
    size_t size = 0;
    tr_packed_iter iter;
    tr_item_iter(&iter, item);
    while (tr_packed_next(&iter))
        size += iter.name.len + tr_value_size(iter.value);
    return size;
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
