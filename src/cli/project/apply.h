/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_PROJECT_APPLY_H
#define TAILRACE_CLI_PROJECT_APPLY_H

/** apply.h: makes what a project describes on a server: what is missing is created, what differs is changed.
 */

#include "cli/project/project.h"

#include <tailrace/client.h>

/** The account of the embedded engine, in ARNs. */
#define TR_PROJECT_ACCOUNT "000000000000"
/** The project's region, "us-east-1" unless it says otherwise. */
const char *tr_project_region(const tr_project *project);

/**
 * Tables, buses, queues, archives, rules and their targets. Rules that an earlier run made and that the
 * project does not have any more are deleted (they are known by their tag tailrace:project); tables, queues
 * and archives stay, they hold data. Blocks.
 */
int tr_project_apply(const tr_project *project, tr_client *client, tr_logger logger, tr_error *err);

#endif
