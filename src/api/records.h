/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_RECORDS_H
#define TAILRACE_API_RECORDS_H

/** records.h: change records as the service writes them. */

#include "engine/engine.h"

/** {"eventID":…,"eventName":…,…,"dynamodb":{…}} */
void tr__record_write(tr_json_writer *writer, const tr_stream *stream, const char *region,
                      const tr_change *change);
const tr_shard *tr__find_shard(const tr_stream *stream, tr_view id);

#endif
