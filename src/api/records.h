/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_RECORDS_H
#define TAILRACE_API_RECORDS_H

/** records.h: change records as the service writes them. */

#include "engine/engine.h"

/** What a record points to that no one else keeps. */
typedef struct tr_record_text {
    char sequence[TR_SEQUENCE_TEXT_MAX];
    char event_id[32];
} tr_record_text;

/** The record of a change, as consumers are handed it; its time is of whole seconds, as the service tells it.
 */
void tr__record_of(const tr_stream *stream, const char *region, const tr_stream_change *change,
                   tr_record_text *text, tr_record *ret_record);
/** Sequence of the newest synced state: positions beyond it are refused. TR_ENOMEM. */
int tr__newest_sequence(tr_engine *engine, uint64_t *ret_sequence);
const tr_shard *tr__find_shard(const tr_stream *stream, tr_view id);

#endif
