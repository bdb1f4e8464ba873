/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_CODE_H
#define TAILRACE_CLI_CODE_H

/**
 * code.h: the user's code that a command runs (on, dlq redrive): `--exec`, `--exec-each`, `--url`,
 * `--handler`.
 */

#include "cli/where.h"

#include <tailrace/failure.h>

/* Ids of the options below; a command's own are smaller. */
enum {
    TR_CLI_CODE_FIRST = 0xa000,
    TR_CLI_EXEC = TR_CLI_CODE_FIRST,
    TR_CLI_EXEC_EACH,
    TR_CLI_URL,
    TR_CLI_HANDLER,
    TR_CLI_TIMEOUT,
    TR_CLI_ENV
};

/** To be listed in a command's options. */
#define TR_CLI_CODE_OPTIONS                                                                                  \
    {"exec", TR_CLI_EXEC, "CMD", "a program that stays: a line per batch in, a line back"},                  \
        {"exec-each", TR_CLI_EXEC_EACH, "CMD", "a program per batch; exit status 0 is success"},             \
        {"url", TR_CLI_URL, "URL", "a POST per batch; 2xx is success"},                                      \
        {"handler", TR_CLI_HANDLER, "MODULE.EXPORT",                                                         \
         "a Lambda handler in Node or Python, as in src/trigger.handler"},                                   \
        {"timeout", TR_CLI_TIMEOUT, "DURATION", "of a batch (15m)"},                                         \
    {                                                                                                        \
        "env", TR_CLI_ENV, "NAME=VALUE", "for the handler; may be given several times"                       \
    }

#define TR_CLI_ENV_MAX 256

/** Zero-initialise. */
typedef struct tr_cli_code {
    tr_handler_options options;
    const char *env[TR_CLI_ENV_MAX];
    bool given;
} tr_cli_code;

/** Takes the option that tr_cli_next returned, if it is one of these. 0, or an exit code. */
int tr_cli_code_take(tr_cli_code *code, int option, const tr_cli *cli, bool *ret_taken);
/** Sets what code finds in its environment; client: of the table, or NULL. */
void tr_cli_code_place(tr_cli_code *code, tr_client *client);
int tr_cli_code_open(tr_cli_code *code, tr_handler **ret_handler, tr_error *err);

/** Opens what --on-failure named, with what can be checked checked; code that it runs finds what `code` does.
 * client: of the tables; may be NULL where `destination` needs none. */
int tr_cli_failures_open(const char *destination, const tr_cli_code *code, const tr_cli_where *where,
                         tr_client *client, tr_failure_sink **ret_sink, tr_error *err);
/** TR_ENOTFOUND if the queue, bus or table that a function's failures go to is surely not there. Of other
 * destinations, such as another function's name, nothing is asked. */
int tr_cli_failures_there(const char *destination, tr_client *client, tr_error *err);

#endif
