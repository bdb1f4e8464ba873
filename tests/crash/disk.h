/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CRASH_DISK_H
#define TAILRACE_CRASH_DISK_H

/**
 * A disk that forgets: the executable's own fsync, fdatasync, write, … stand before the system's and keep
 * track of how much of each file was synced. disk_cut copies a directory as a power cut might leave it.
 *
 * Of a file's bytes behind what was synced, any part may be there. Of logs, also any page of them: what a
 * drive or file system has written out of order. Names (creation, renaming, removal) are taken as durable at
 * once; RocksDB syncs its directories.
 */

#include <tailrace/base.h>

typedef enum disk_cut_kind {
    CUT_SHARP,  /* nothing but what was synced */
    CUT_SHORT,  /* the rest ends somewhere */
    CUT_HOLES,  /* pages of the rest are zeros */
    CUT_GARBAGE /* pages of the rest are anything */
} disk_cut_kind;

/** Copies `from` to `to`, which is made, as it would be after a power cut now. The copy counts as synced. */
void disk_cut(const char *from, const char *to, disk_cut_kind kind, tr_rng *rng);
/** Bytes of all files in the directory that were not synced. */
uint64_t disk_unsynced(const char *dir);
void disk_remove(const char *dir);
unsigned long disk_syncs(void);

#endif
