/* SPDX-License-Identifier: MIT */
/* Prints the server's own tables: a line for each operation of DynamoDB and its streams, with its state and
 * the parameters that it reads. For tests/compat/operations.py. */
#include "api/call.h"

#include <stdio.h>

int main(void)
{
    for (const tr_op *op = tr__ops; op->name; op++) {
        if (op->service != TR_DYNAMODB && op->service != TR_STREAMS)
            continue;
        (void)printf("%s %s %s", op->service == TR_STREAMS ? "streams" : "dynamodb", op->name,
                     op->flags & TR_OP_REFUSED  ? "refused"
                     : op->flags & TR_OP_UNUSED ? "unused"
                                                : "answered");
        for (unsigned i = 0; i < op->shape->count; i++)
            (void)printf(" %s%s", op->shape->members[i].kind == TR_K_REFUSED ? "!" : "",
                         op->shape->members[i].name);
        (void)printf("\n");
    }
    return 0;
}
