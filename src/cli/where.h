/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_WHERE_H
#define TAILRACE_CLI_WHERE_H

/**
 * where.h: which DynamoDB a command talks to: `--endpoint URL` (or AWS_ENDPOINT_URL…), `--data DIR` for the
 * embedded engine, or AWS as the AWS CLI finds it.
 *
 * The first command that opens a directory runs the engine and lets later ones in through DIR/tailrace.sock.
 */

#include "cli/cli.h"

#include <tailrace/client.h>
#include <tailrace/engine.h>

/* Ids of the options below; a command's own begin behind them or are letters. */
enum {
    TR_CLI_WHERE_FIRST = 0x8000,
    TR_CLI_ENDPOINT = TR_CLI_WHERE_FIRST,
    TR_CLI_DATA,
    TR_CLI_REGION,
    TR_CLI_PROFILE
};

/** To be listed in a command's options. */
#define TR_CLI_WHERE_OPTIONS                                                                                 \
    {"endpoint", TR_CLI_ENDPOINT, "URL", "the server to talk to; else AWS_ENDPOINT_URL"},                    \
        {"data", TR_CLI_DATA, "DIR", "the embedded engine in this directory"},                               \
        {"region", TR_CLI_REGION, "REGION", "the AWS region; else as the AWS CLI finds it"},                 \
    {                                                                                                        \
        "profile", TR_CLI_PROFILE, "NAME", "the AWS profile"                                                 \
    }

typedef struct tr_cli_where {
    const char *endpoint, *data, *region, *profile;
    bool makes; /* the command may be the first in `data`: a directory that is not there is made, else
                   TR_ENOTFOUND, since nothing could be found in it */
} tr_cli_where;

/** Takes the option that tr_cli_next returned, if it is one of these. What cannot be meant (an endpoint that
 * is none) is told, and the next tr_cli_next ends the command. */
bool tr_cli_where_take(tr_cli_where *where, int option, tr_cli *cli);

typedef struct tr_cli_joined tr_cli_joined;
/** A connection of a command: the client, and what is behind it where it is a directory: the server if this
 * process opened it, else what becomes the opener if the other process ends just then. */
typedef struct tr_cli_place {
    tr_client *client;
    tr_server *server; /* NULL: somewhere else */
    tr_cli_joined *joined;
} tr_cli_place;

int tr_cli_connect(const tr_cli_where *where, tr_cli_place *ret_place, tr_error *err);
/** AWS as the AWS CLI finds it, whatever endpoints are configured; where->endpoint names what stands for it.
 */
int tr_cli_connect_aws(const tr_cli_where *where, tr_client **ret_client, tr_error *err);
/** Another client of the same place, with an I/O thread of its own. */
int tr_cli_another_client(const tr_cli_where *where, const tr_cli_place *place, tr_client **ret_client,
                          tr_error *err);
void tr_cli_disconnect(tr_cli_place *place);
/** A client of a server in this process, which must outlive it. */
int tr_cli_server_client(tr_server *server, const char *region, tr_logger logger, tr_client **ret_client,
                         tr_error *err);

/** Carries out a verb there: takes signals, connects into *place, runs, tells a failure, disconnects. Returns
 * the exit code. */
int tr_cli_verb_run(const tr_cli_verb *verb, const tr_cli_where *where, tr_cli_place *place, void *ctx);

/**
 * Takes SIGINT and SIGTERM from now on; call before any thread is started. The first one ends the process
 * with 130, unless tr_cli_on_stop has named what is to be done instead; the second ends it in any case.
 * SIGPIPE is ignored.
 */
int tr_cli_catch_signals(tr_error *err);
/** From now on the first signal calls fn (on a thread of its own) and makes tr_cli_stopped true. */
void tr_cli_on_stop(void (*fn)(void *ctx), void *ctx);
/** From now on the first signal only makes tr_cli_stopped true: what it would have stopped is going. */
void tr_cli_ignore_stop(void);
bool tr_cli_stopped(void);

#endif
