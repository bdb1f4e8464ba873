/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_LOG_H
#define TAILRACE_CLI_LOG_H

#include "cli/where.h"

#include <tailrace/log.h>

typedef struct tr_cli_log_tail {
    const char *from, *state; /* as for the commands that follow a stream; NULL: not given */
    bool once;
} tr_cli_log_tail;

/** Prints events as they are appended, a line each, until interrupted. */
int tr_cli_log_follow(tr_client *client, const tr_log_query *query, const tr_cli_log_tail *tail,
                      tr_error *err);

#endif
