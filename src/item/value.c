/* SPDX-License-Identifier: MIT */
#include "packed.h"

#include <assert.h>

const char *tr_type_name(tr_type type)
{
    static const char *const names[] = {"", "S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"};
    return (size_t)type < TR_COUNT(names) ? names[type] : "";
}

static void iter_init(tr_packed_iter *iter, tr_type of, tr_view payload)
{
    bool empty = payload.len < 4;
    *iter = (tr_packed_iter){.of = of,
                             .at = empty ? payload.ptr : payload.ptr + 4,
                             .end = empty ? payload.ptr : payload.ptr + payload.len};
}

void tr_item_iter(tr_packed_iter *iter, tr_item item)
{
    iter_init(iter, TR_M, item);
}

void tr_value_iter(tr_packed_iter *iter, tr_value container)
{
    assert(tr__is_container(container.type));
    iter_init(iter, container.type, container.payload);
}

bool tr_packed_next(tr_packed_iter *iter)
{
    const char *at = iter->at, *end = iter->end;
    if (at >= end)
        return false;
    if (iter->of == TR_M || iter->of == TR_L) {
        if (iter->of == TR_M)
            at = tr__get_sized(at, end, &iter->name);
        const char *from = at;
        at = at ? tr__get_value(at, end, &iter->value) : NULL;
        if (at)
            iter->encoded = tr_view_of(from, (size_t)(at - from));
    } else {
        at = tr__get_sized(at, end, &iter->value.payload);
        iter->value.type = tr__element_type(iter->of);
    }
    iter->at = at ? at : end;
    return at != NULL;
}

int tr_item_get(tr_item item, tr_view name, tr_value *ret_value)
{
    if (item.len < 4)
        return TR_ENOTFOUND;
    const char *at = item.ptr + 4, *end = item.ptr + item.len;
    while (at < end) {
        tr_view found;
        tr_value value;
        at = tr__get_sized(at, end, &found);
        if (!at || !(at = tr__get_value(at, end, &value)))
            break;
        int order = tr_view_cmp(found, name);
        if (order < 0)
            continue;
        if (order > 0)
            break; /* members are sorted */
        *ret_value = value;
        return 0;
    }
    return TR_ENOTFOUND;
}

int tr_list_at(tr_value list, uint32_t index, tr_value *ret_value)
{
    assert(list.type == TR_L);
    if (index >= tr_packed_count(list.payload))
        return TR_ENOTFOUND;
    tr_packed_iter iter;
    tr_value_iter(&iter, list);
    for (uint32_t i = 0; tr_packed_next(&iter); i++) {
        if (i == index) {
            *ret_value = iter.value;
            return 0;
        }
    }
    return TR_ENOTFOUND;
}

int tr_value_decode(tr_view packed, tr_value *ret_value, size_t *ret_len)
{
    tr_value value;
    const char *end = packed.len ? tr__get_value(packed.ptr, packed.ptr + packed.len, &value) : NULL;
    if (!end || value.type == TR_NONE || value.type > TR_BS)
        return TR_ECORRUPT;
    *ret_value = value;
    *ret_len = (size_t)(end - packed.ptr);
    return 0;
}

bool tr_set_has(tr_value set, tr_value element)
{
    if (element.type == TR_NONE || tr__element_type(set.type) != element.type)
        return false;
    tr_packed_iter iter;
    tr_value_iter(&iter, set);
    while (tr_packed_next(&iter)) {
        int order = tr_view_cmp(iter.value.payload, element.payload);
        if (order >= 0)
            return order == 0; /* elements are sorted */
    }
    return false;
}
