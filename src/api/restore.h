/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_RESTORE_H
#define TAILRACE_API_RESTORE_H

/** restore.h: a new table filled from somewhere: a backup, an earlier time, files. */

#include "api/kept.h"
#include "api/source.h"
#include "api/tables.h"

/** What a restore may have otherwise than its source. */
typedef struct tr_restore_request {
    tr_view target, backup, source, source_arn, billing;
    tr_units *throughput, *on_demand;
    tr_list local, global; /* tr_index_spec */
    tr_list vectors;       /* tr_vector_index_spec */
    tr_sse_spec *sse;
    tr_bool latest;
    tr_int time;
    const char *refused;
} tr_restore_request;

/** Makes the table and fills it from the source, which is made and is taken over, also when it fails. The
 * answer is written. RestoreSummary's members are "SourceBackupArn" (Optional) and "SourceTableArn". */
int tr__restore(tr_call *call, const tr_restore_request *request, tr_source *source, tr_view backup_arn,
                tr_view table_arn, int64_t at_ms);
/** Refuses a target that is there. backup_arn: Optional: what it is to be restored from. */
int tr__check_target(tr_call *call, tr_view target, const char *backup_arn);
/** Whether a table is being filled from that backup. */
bool tr__restoring_from(const tr_api *api, const char *backup_arn);

/** Puts items into a table that is being filled, and makes it active at the end. Embedded in a job. */
typedef struct tr_filler {
    char name[TR_TABLE_NAME_MAX + 1];
    char uuid[TR_UUID_LEN + 1];
    tr_arena arena;
    tr_write writes[TR_JOB_ITEMS];
    unsigned count;
    size_t bytes;
    uint64_t items;   /* so far */
    uint64_t refused; /* items that did not fit the table */
} tr_filler;
void tr__filler_init(tr_filler *filler, tr_view name, tr_view uuid);
void tr__filler_done(tr_filler *filler);
/** The table, or NULL if it is gone. */
tr_table *tr__filler_table(tr_api *api, const tr_filler *filler);
/** Copies the item and writes what is full. checked: the item is known to fit the table. TR_ENOTFOUND: the
 * table is gone. */
int tr__filler_put(tr_api *api, tr_filler *filler, tr_item item, tr_error *err);
bool tr__filler_full(const tr_filler *filler);
int tr__filler_flush(tr_api *api, tr_filler *filler, tr_error *err);
/** The last flush, and the table becomes active. restore: RestoreSummary, empty: none. */
int tr__filler_finish(tr_api *api, tr_filler *filler, tr_view restore, tr_error *err);

#endif
