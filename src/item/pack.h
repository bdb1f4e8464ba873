/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ITEM_PACK_H
#define TAILRACE_ITEM_PACK_H

#include "packed.h"

/**
 * Sorts the members of a map, or the elements of a set, that stand from `body` to the buffer's end. TR_EEXIST
 * if two are the same: the bytes are as they were then. TR_ENOMEM also makes the buffer fail.
 */
int tr__pack_sort(tr_buf *out, size_t body, uint32_t count, bool map);

/** The level at which the next value will stand: 1 for an item's attributes and for a value of its own. */
static inline unsigned tr__packer_level(const tr_packer *packer)
{
    bool item = packer->depth > 0 && packer->level[0].type == TR_NONE;
    return packer->depth + !item;
}

#endif
