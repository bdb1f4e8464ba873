/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_ARCHIVE_H
#define TAILRACE_CLI_ARCHIVE_H

#include "cli/cli.h"

/** The value of an option that is a time, RFC 3339 with a zone. 0, or an exit code once the mistake was told.
 */
int tr_cli_time(const tr_cli *cli, const char *option, const char *text, int64_t *ret_ms);

#endif
