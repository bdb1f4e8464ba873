/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_TABLE_H
#define TAILRACE_CLIENT_TABLE_H

#include <tailrace/client.h>

/**
 * Waits until a table of ours is active: one with the string partition key "id", in which items are kept
 * under names (checkpoints, failures). create: made if missing, pay per request. Blocks, up to a minute.
 * TR_ENOTFOUND, TR_ETIMEOUT, or what the service said.
 */
int tr__table_ready(tr_client *client, const char *table, bool create, tr_error *err);

#endif
