/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_MEMORY_TABLE_H
#define TAILRACE_MEMORY_TABLE_H

/**
 * tailrace/memory_table.h: a replica of a table in this process' memory.
 *
 *     tr_memory_table_new(&(tr_memory_table_options){.on_change = tell}, &copy, &err);
 *     tr_sink_memory(copy, &options.sink, &err);
 *     tr_replica_new(client, &options, &replica, &err);       (owns the sink, not the copy)
 *     … tr_replica_run(replica, &err) on a thread of its own; meanwhile, on any thread:
 *     tr_memory_table_get(copy, key, &item);
 *     … tr_replica_stop, join, tr_replica_free(replica); the copy can still be read, and followed again by
 *     a new replica, which goes on where the last one stood
 *     tr_memory_table_free(copy);
 *
 * Readers see whole transactions of the replica: a batch of changes, or pages of the first copy. A row is
 * kept as its packed item; reading copies it, so what was read is the reader's own.
 *
 * Threads: all functions are safe from any thread, on_change included, but tr_memory_table_free, which must
 * be the last one.
 */

#include <tailrace/replica.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_memory_table tr_memory_table;

/** A change of the copy. Views are valid during the call. */
typedef struct tr_memory_change {
    tr_record_event event;   /**< as the copy saw it: a row of the first copy is an INSERT */
    tr_item old_item;        /**< empty for an INSERT */
    tr_item new_item;        /**< empty for a REMOVE */
    tr_view sequence_number; /**< empty for what a scan has brought or, when repeated, not found any more */
} tr_memory_change;
/**
 * Called for every row that has become another, after the transaction with the change can be read, in order
 * of the changes; on the thread of tr_replica_run. It may call every function of this header but free.
 */
typedef void tr_memory_change_fn(void *ctx, const tr_memory_change *change);

/** Zero-initialise, set what you need. */
typedef struct tr_memory_table_options {
    tr_memory_change_fn *on_change; /**< Optional. */
    void *ctx;
    uint64_t max_bytes; /**< of keys and items, 0: no limit. Past it tr_replica_run ends with TR_ELIMIT. */
} tr_memory_table_options;

int tr_memory_table_new(const tr_memory_table_options *options, tr_memory_table **ret_table, tr_error *err);
/** After the replica that writes to it was freed. NULL is fine. */
void tr_memory_table_free(tr_memory_table *table);

/** The sink of a replica into the table, which must outlive it. One at a time: TR_EBUSY when a second one is
 * opened. */
int tr_sink_memory(tr_memory_table *table, tr_sink **ret_sink, tr_error *err);

/** Appends the packed item to ret_item. `key`: an item that holds at least the key attributes. TR_ENOTFOUND,
 * TR_EINVAL (a key attribute is missing or of another type), TR_ENOMEM. */
int tr_memory_table_get(tr_memory_table *table, tr_item key, tr_buf *ret_item);
/**
 * Calls fn for every item in order of the keys (partition key, then sort key, as DynamoDB sorts), all of one
 * moment: writers go on meanwhile and are not seen. Nonzero from fn stops and is returned. `item` is valid
 * during the call. Takes a pointer of memory per row. TR_ENOMEM.
 */
int tr_memory_table_each(tr_memory_table *table, int (*fn)(void *ctx, tr_item item), void *ctx);
uint64_t tr_memory_table_count(tr_memory_table *table);
/** Bytes of keys and items. */
uint64_t tr_memory_table_bytes(tr_memory_table *table);

#ifdef __cplusplus
}
#endif
#endif
