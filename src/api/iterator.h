/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_ITERATOR_H
#define TAILRACE_API_ITERATOR_H

/**
 * iterator.h: shard iterators. Opaque to clients; inside
 *
 *   <stream ARN> "|1|" base64 { shard id NUL, position:u64, made_ms:u64, crc32 of all before it:u32 }
 *
 * (big-endian). A position is the lowest sequence to read; 0 is the trim horizon, wherever that is when it is
 * read from.
 */

#include "engine/engine.h"

/** Characters, as the service limits them: an ARN of 1,024 and about 120 more. */
#define TR_ITERATOR_MAX 2048

typedef struct tr_iterator {
    tr_view stream_arn; /* in the text */
    char shard_id[TR_SHARD_ID_SIZE];
    uint64_t position;
    int64_t made_ms;
} tr_iterator;

/** Appends the text. */
void tr__iterator_put(tr_buf *out, tr_view stream_arn, const char *shard_id, uint64_t position,
                      int64_t made_ms);
/** TR_EPARSE: it is none of ours, or damaged. */
int tr__iterator_get(tr_view text, tr_iterator *ret_iterator);

#endif
