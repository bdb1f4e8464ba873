/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <unistd.h>

/* A command is declared here and listed below, a line each, in the order in which the help shows them. */
extern const tr_cli_command tr_cli_api;
extern const tr_cli_command tr_cli_archive;
extern const tr_cli_command tr_cli_backup;
extern const tr_cli_command tr_cli_bus;
extern const tr_cli_command tr_cli_check;
extern const tr_cli_command tr_cli_dev;
extern const tr_cli_command tr_cli_dlq;
extern const tr_cli_command tr_cli_events_command;
extern const tr_cli_command tr_cli_leases;
extern const tr_cli_command tr_cli_log;
extern const tr_cli_command tr_cli_on;
extern const tr_cli_command tr_cli_pipe;
extern const tr_cli_command tr_cli_replay;
extern const tr_cli_command tr_cli_query;
extern const tr_cli_command tr_cli_replicate;
extern const tr_cli_command tr_cli_restore;
extern const tr_cli_command tr_cli_scan;
extern const tr_cli_command tr_cli_schema;
extern const tr_cli_command tr_cli_serve;
extern const tr_cli_command tr_cli_tail;
extern const tr_cli_command tr_cli_top;

// clang-format off
const tr_cli_command *const tr_cli_commands[] = {
    &tr_cli_serve,
    &tr_cli_dev,
    &tr_cli_tail,
    &tr_cli_replicate,
    &tr_cli_on,
    &tr_cli_pipe,
    &tr_cli_dlq,
    &tr_cli_leases,
    &tr_cli_top,
    &tr_cli_log,
    &tr_cli_events_command,
    &tr_cli_bus,
    &tr_cli_archive,
    &tr_cli_replay,
    &tr_cli_api,
    &tr_cli_query,
    &tr_cli_scan,
    &tr_cli_backup,
    &tr_cli_restore,
    &tr_cli_check,
    &tr_cli_schema,
    NULL};
// clang-format on

int main(int argc, char **argv)
{
    if (argc == 1 && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        return tr_cli_menu();
    return tr_cli_main(argc, argv);
}
