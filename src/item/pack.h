/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ITEM_PACK_H
#define TAILRACE_ITEM_PACK_H

#include "packed.h"

/**
 * Sorts the members of a map, or the elements of a set, that stand from `body` to the buffer's end. TR_EEXIST
 * if two are the same: the bytes are as they were then. TR_ENOMEM also makes the buffer fail.
 */
int tr__pack_sort(tr_buf *out, size_t body, uint32_t count, bool map);

#endif
