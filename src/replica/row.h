/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_REPLICA_ROW_H
#define TAILRACE_REPLICA_ROW_H

/** What sinks that keep rows share: keys, and an item's two columns. */

#include <tailrace/replica.h>

/** Bytes of an item as plain JSON or as DynamoDB JSON: 400 KB with every byte escaped, and names repeated. */
#define TR__ROW_JSON_MAX ((size_t)16 * TR_ITEM_SIZE_MAX)
/** Digits to which sequence numbers are padded, so that text order is numeric order. */
#define TR__ROW_SEQUENCE 40

/** Appends the order-preserving key of an item. TR_EINVAL: a key attribute is missing or of another type. */
int tr__row_key(const tr_sink_table *table, tr_item item, tr_buf *ret_key, tr_error *err);
/** Appends the number padded to TR__ROW_SEQUENCE digits. TR_EINVAL. */
int tr__row_sequence(tr_view number, tr_buf *ret_text, tr_error *err);
/** Replaces NUL characters within the strings of a JSON text (written \u0000) by U+FFFD, in place. Whether
 * there was one. */
bool tr__row_replace_nul(tr_buf *json);
/**
 * The packed item of a row, appended to `out`, from its columns: plain JSON, and DynamoDB JSON where plain
 * loses a type (else `typed` is empty). If plain is not what typed looks like, plain is returned: it was
 * changed by somebody, and what is compared with the table must show that. no_nul: plain has gone through
 * tr__row_replace_nul. TR_ECORRUPT.
 */
int tr__row_read(tr_view plain, tr_view typed, bool no_nul, tr_arena *arena, tr_buf *out, tr_error *err);
/**
 * Compares a key attribute's own column with the item that tr__row_read has put into packed at `start`, the
 * row of `key`. If they differ though the item fits the key, the item gets the column's bytes (as a string,
 * or a binary if they are no text) in place of what it has, so that a comparison shows it. `column`: numbers
 * as decimal text. no_nul: its NUL characters are U+FFFD.
 */
int tr__row_check_column(const tr_sink_table *table, tr_view key, bool range, tr_view column, bool no_nul,
                         tr_buf *packed, size_t start, tr_error *err);

#endif
