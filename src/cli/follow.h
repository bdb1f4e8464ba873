/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_FOLLOW_H
#define TAILRACE_CLI_FOLLOW_H

/**
 * follow.h: what the commands that follow a stream share (tail, on, pipe): where to start, and where their
 * state is.
 */

#include "cli/where.h"

#include <tailrace/mapping.h>
#include <tailrace/stream.h>

/** How long a command with --once goes on without progress. */
#define TR_CLI_ONCE_PATIENCE_MS 60000
/** With --once: how late the end of an idle stream may be seen, at most (tr_stream_options.hold_ms). */
#define TR_CLI_ONCE_HOLD_MS 200

/**
 * "latest", "trim-horizon", a sequence number (21 or more digits), an RFC 3339 time with a zone, or "-15m":
 * so long ago. The text must outlive ret_start. TR_EINVAL with err telling what would be right.
 */
int tr_cli_parse_from(const char *text, tr_stream_start *ret_start, tr_error *err);

/**
 * For a stream that was read to its end: TR_EINVAL if `from` (may be NULL) is a sequence number and every
 * record was older, so that it is no number of this stream's yet.
 */
int tr_cli_check_from(tr_stream *stream, const char *from, const char *table, tr_error *err);

/** Where a command keeps what it must remember: `given`, or
 * $XDG_STATE_HOME/tailrace/COMMAND-TABLE-<hash of endpoint and what>.ENDING ($HOME/.local/state without
 * XDG_STATE_HOME). TR_EINVAL. */
int tr_cli_state_path(const char *given, const char *command, const char *table, const char *endpoint,
                      const char *what, const char *ending, char *out, size_t size, tr_error *err);

/** A table's newest stream, and the table itself. */
typedef struct tr_cli_source {
    char stream_arn[TR_STREAM_ARN_MAX + 1];
    /** Its ARN and what tells it from one of the same name that was deleted: its id, or when it was made. */
    char table[TR_STREAM_ARN_MAX + 100];
} tr_cli_source;
/** TR_ENOTFOUND: there is no such table; TR_EINVAL: it has no stream. */
int tr_cli_find_source(tr_client *client, const char *table, tr_cli_source *ret_source, tr_error *err);

/** The path of the position in a table's stream, and of what lies beside it. One file for all streams that
 * the table has had, one after the other: it says itself in which one its position is, and what comes after a
 * stream is read to its end is that table's next (docs/decisions/005). */
int tr_cli_stream_state_path(tr_client *client, const char *given, const char *command, const char *table,
                             const tr_cli_source *source, const char *ending, char *out, size_t size,
                             tr_error *err);

/**
 * The store in which a command keeps its position of a table's stream: the file `given`, or
 * $XDG_STATE_HOME/tailrace/COMMAND-TABLE-<hash of endpoint and table>.json ($HOME/.local/state without
 * XDG_STATE_HOME). anew: what is there is removed first. A file that holds something else, less than a whole
 * position, or another table's, is refused (TR_EINVAL), one in use too (TR_EBUSY). A server that cannot be
 * reached is waited for, with `once` for TR_CLI_ONCE_PATIENCE_MS.
 */
int tr_cli_state_store(tr_client *client, const char *given, const char *command, const char *table,
                       bool anew, bool once, tr_cli_source *ret_source, tr_stream_store **ret_store,
                       tr_error *err);

/** Event patterns, as --filter gives them. */
typedef struct tr_cli_filters {
    tr_pattern *list[TR_MAPPING_FILTERS_MAX];
    size_t count;
} tr_cli_filters;
/** Takes the pattern in cli->value. 0, or an exit code once the mistake was told. */
int tr_cli_filters_add(tr_cli_filters *filters, const tr_cli *cli);
void tr_cli_filters_done(tr_cli_filters *filters);

/* Ids of the options below. */
enum { TR_CLI_NAME = 0x9000, TR_CLI_FAILOVER, TR_CLI_IDLE_MAX };
/** To be listed in the options of a command that follows a stream. */
#define TR_CLI_IDLE_OPTION                                                                                   \
    {                                                                                                        \
        "idle-max", TR_CLI_IDLE_MAX, "DURATION",                                                             \
            "the longest pause between two reads of an idle shard, 10ms to 5m\n(1s); tailrace's own server " \
            "pushes, and needs none"                                                                         \
    }
/** Takes the option if it is this one (tr_stream_options.idle_max_ms); *ret_exit is 0, or an exit code once a
 * mistake was told. */
bool tr_cli_idle_take(int64_t *idle_max_ms, int option, const tr_cli *cli, int *ret_exit);
/** To be listed in the options of a command that may share its work with others. */
#define TR_CLI_FLEET_OPTIONS                                                                                 \
    {"name", TR_CLI_NAME, "NAME",                                                                            \
     "share the changes with all workers of this name; it is the table\nof their leases and positions"},     \
    {                                                                                                        \
        "failover", TR_CLI_FAILOVER, "DURATION",                                                             \
            "with --name: after how long a silent worker's shards are taken (10s)"                           \
    }
/** What they say. lease_table is NULL without --name. */
typedef tr_fleet_options tr_cli_fleet;
/** Takes the option that tr_cli_next returned, if it is one of these; *ret_exit is 0, or an exit code once a
 * mistake was told. */
bool tr_cli_fleet_take(tr_cli_fleet *fleet, int option, const tr_cli *cli, int *ret_exit);

/** What is said of where to begin and where the position is kept must go together. 0, or an exit code once
 * the mistake was told. */
int tr_cli_check_position(const tr_cli *cli, const char *from, const char *state, bool once,
                          const tr_cli_fleet *fleet);

/** Tells trouble, gaps and the stream's end on stderr; other events are not for people. The client is asked
 * whether the stream ended with its table. */
void tr_cli_tell_event(tr_client *client, const char *table, const tr_stream_event *event);

#endif
