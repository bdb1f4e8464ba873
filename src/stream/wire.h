/* SPDX-License-Identifier: MIT */
#ifndef TR_STREAM_WIRE_H
#define TR_STREAM_WIRE_H

/* The machine's requests as JSON, and JSON as its answers. */

#include "stream/core.h"

/** Appends the request's body. LOAD and SAVE have none. The operation's name is static. */
void tr__wire_encode(const tr__req *req, tr_buf *body, tr_service *ret_service, const char **ret_operation);

/** Memory that an answer points into. */
typedef struct tr__wire {
    tr_arena arena;
    tr_buf iterator;
    tr_error error;
    struct tr__page_pool *pool; /* of the pages; NULL: none */
} tr__wire;

void tr__wire_init(tr__wire *wire);
void tr__wire_done(tr__wire *wire);
/**
 * Fills the answer to a request of this kind from the body of a 2xx reply. What makes no sense gives
 * TR_EPARSE in answer->code.
 */
void tr__wire_decode(tr__wire *wire, tr__req_kind kind, tr_view shard_id, bool keep_raw, tr_view body,
                     tr__answer *answer);
/** "Tue, 15 Nov 1994 08:12:31 GMT" as milliseconds since 1970, -1 if it is none. */
int64_t tr__wire_date(tr_view header);

#endif
