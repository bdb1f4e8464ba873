/* SPDX-License-Identifier: MIT */
#include "stream/wire_lease.h"

const char *tr__wire_encode_lease(tr_json_writer *w, const tr__req *req)
{
    tr_json_member_string(w, "TableName", req->table);
    return "Scan";
}

int tr__wire_decode_lease(tr_arena *arena, tr__req_kind kind, tr_view body, tr__answer *a)
{
    (void)arena;
    (void)kind;
    (void)body;
    (void)a;
    return TR_EUNSUPPORTED;
}
