/* SPDX-License-Identifier: MIT */
#ifndef TR_STREAM_WIRE_LEASE_H
#define TR_STREAM_WIRE_LEASE_H

#include "stream/core.h"

/** Writes the members of a lease request; returns the operation. */
const char *tr__wire_encode_lease(tr_json_writer *writer, const tr__req *req);
/** Fills rows, count and last. TR_EPARSE, TR_ENOMEM. */
int tr__wire_decode_lease(tr_arena *arena, tr__req_kind kind, tr_view body, tr__answer *answer);

/** A row from its item; what it points to lives in the item and the arena. TR_EPARSE without a leaseKey. */
int tr__wire_row(tr_arena *arena, tr_item item, tr__row *ret_row);

#endif
