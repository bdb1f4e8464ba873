/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_RECORDS_H
#define TAILRACE_API_RECORDS_H

/** records.h: change records as the service writes them. */

#include "engine/engine.h"

/** {"eventID":…,"eventName":…,…,"dynamodb":{…}} */
void tr__record_write(tr_json_writer *writer, const tr_stream *stream, const char *region,
                      const tr_change *change);
/** The line that `tail` prints: {"event":"insert","keys":{…},"new":{…},"old":{…},"sequence_number":"…",
 * "shard":"…","time":<epoch seconds>,"expired":false}, with plain items. As tr_record_write_plain writes it.
 */
void tr__record_write_line(tr_json_writer *writer, const tr_change *change);
const tr_shard *tr__find_shard(const tr_stream *stream, tr_view id);

#endif
