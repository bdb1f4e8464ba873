/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ITEM_JSON_FAST_H
#define TAILRACE_ITEM_JSON_FAST_H

/**
 * The usual form of an item, as every SDK writes it, read without a token at a time: no white space, no
 * escapes, text in ASCII, values of type S, N, BOOL or NULL. What is any different, and whatever is wrong, is
 * left to json_in.c.
 */

#include "pack.h"

/** One that the service does not take. */
static inline bool tr__name_odd(tr_view name)
{
    return name.len - 1 >= TR_ITEM_NAME_MAX; /* an empty one's is the largest of all */
}

/**
 * Within an object: packs members of the usual form as long as they come. True if the name of a further one
 * was read (token KEY, its text in the reader, not packed); false if the reader stands before the rest of the
 * object.
 */
bool tr__read_plain_members(tr_json_reader *reader, tr_packer *packer);

#endif
