/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_LOG_INTERNAL_H
#define TAILRACE_LOG_INTERNAL_H

#include <tailrace/log.h>

/** {"S":"<log>#<id>#stream"} */
void tr__log_write_pk(tr_json_writer *w, tr_view log, tr_view id);
static inline const char *tr__log_table(const char *table)
{
    return table ? table : TR_LOG_TABLE;
}
/** Body of a Query for the events of one id. first_page: empty start; newest: only the version of the last
 * one. */
void tr__log_write_query(tr_buf *body, const tr_log_range *range, tr_view start_key_json);

#endif
