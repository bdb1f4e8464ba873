/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_LOG_INTERNAL_H
#define TAILRACE_LOG_INTERNAL_H

#include <tailrace/log.h>

/** Appends the partition key of an id's events as a JSON string with its quotes: "<log>#<id>#stream". */
void tr__log_put_pk(tr_buf *out, tr_view log, tr_view id);
static inline const char *tr__log_table(const char *table)
{
    return table ? table : TR_LOG_TABLE;
}

#endif
