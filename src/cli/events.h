/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_EVENTS_H
#define TAILRACE_CLI_EVENTS_H

/** events.h: what the verbs of `tailrace events` share. */

#include "cli/code.h"
#include "cli/follow.h"
#include "cli/where.h"

#include <tailrace/aggregate.h>
#include <tailrace/eventstore.h>
#include <tailrace/outbox.h>
#include <tailrace/subscription.h>

/** Bytes of a line of JSON that is read: an event of 400 KB with every byte escaped, and room. */
#define TR_CLI_LINE_MAX ((size_t)4 << 20)

/** How often --type may be given. */
#define TR_CLI_EVENT_TYPES_MAX 100

/** One run of the command: its options, and where it works. */
typedef struct tr_cli_events {
    tr_cli *cli;
    tr_cli_where where;
    tr_cli_place place;
    const char *table;
    bool legacy, force, strict, atomic, reverse, all, stream, once, rebuild;
    const char *expect, *rules, *with, *page_token, *after, *before, *snapshots;
    const char *exec; /* of --exec, which is also what folds an aggregate */
    const char *order, *from, *until, *to, *state, *bus, *message, *on_failure, *version;
    const char *types[TR_CLI_EVENT_TYPES_MAX];
    size_t type_count;
    uint64_t min, max, limit, parallel, rate, batch, snapshot_every;
    uint64_t given; /* options, as bits: tr_cli_events_bit */
    tr_cli_fleet fleet;
    tr_cli_code code;
    int64_t at_ms;
    tr_eventstore *store; /* of the verbs that work on one */
} tr_cli_events;

/** Ids of the options of `events`: of its own ones, and of those that several commands have. */
enum {
    TR_CLI_EVENTS_TABLE = 0x100,
    TR_CLI_EVENTS_LEGACY,
    TR_CLI_EVENTS_FORCE,
    TR_CLI_EVENTS_STRICT,
    TR_CLI_EVENTS_EXPECT,
    TR_CLI_EVENTS_ATOMIC,
    TR_CLI_EVENTS_PARALLEL,
    TR_CLI_EVENTS_MIN,
    TR_CLI_EVENTS_MAX,
    TR_CLI_EVENTS_REVERSE,
    TR_CLI_EVENTS_LIMIT,
    TR_CLI_EVENTS_AFTER,
    TR_CLI_EVENTS_BEFORE,
    TR_CLI_EVENTS_PAGE_TOKEN,
    TR_CLI_EVENTS_ALL,
    TR_CLI_EVENTS_AT,
    TR_CLI_EVENTS_RULES,
    TR_CLI_EVENTS_WITH,
    TR_CLI_EVENTS_SNAPSHOTS,
    TR_CLI_EVENTS_SNAPSHOT_EVERY,
    TR_CLI_EVENTS_STREAM,
    TR_CLI_EVENTS_ORDER,
    TR_CLI_EVENTS_FROM,
    TR_CLI_EVENTS_UNTIL,
    TR_CLI_EVENTS_TO,
    TR_CLI_EVENTS_STATE,
    TR_CLI_EVENTS_BUS,
    TR_CLI_EVENTS_MESSAGE,
    TR_CLI_EVENTS_ON_FAILURE,
    TR_CLI_EVENTS_VERSION,
    TR_CLI_EVENTS_TYPE,
    TR_CLI_EVENTS_RATE,
    TR_CLI_EVENTS_BATCH,
    TR_CLI_EVENTS_ONCE,
    TR_CLI_EVENTS_REBUILD,
    TR_CLI_EVENTS_LAST
};

/** Whether the options that were given (c->given) and the arguments are of use to the verb.
 * 0, or an exit code once a mistake was told. */
int tr_cli_events_check(const tr_cli_events *c, const char *verb);
/** The bit of an option's id; 0: of every verb's. */
uint64_t tr_cli_events_bit(int option);
/** --expect. TR_EINVAL. */
int tr_cli_events_expect(const tr_cli_events *c, tr_event_expect *ret_expect, tr_error *err);
/** --from and --until of pour. TR_EINVAL. */
int tr_cli_events_times(const tr_cli_events *c, int64_t *ret_from_ms, int64_t *ret_until_ms, tr_error *err);
/** --order. TR_EINVAL. */
int tr_cli_events_order(const tr_cli_events *c, tr_history_order *ret_order, tr_error *err);
/** --message. TR_EINVAL. */
int tr_cli_events_message(const char *name, tr_message_kind *ret_kind, tr_error *err);

/* The verbs; ctx: the tr_cli_events. */
int tr_cli_events_push(void *ctx, tr_error *err);
int tr_cli_events_group(void *ctx, tr_error *err);
int tr_cli_events_get(void *ctx, tr_error *err);
int tr_cli_events_list(void *ctx, tr_error *err);
int tr_cli_events_aggregate(void *ctx, tr_error *err);
int tr_cli_events_init(void *ctx, tr_error *err);

int tr_cli_events_subscribe(void *c, tr_error *err);
int tr_cli_events_publish(void *c, tr_error *err);
int tr_cli_events_pour(void *c, tr_error *err);
int tr_cli_events_project(void *c, tr_error *err);

/** What the arguments behind the verb (stores) and the options say. Valid as long as they. */
void tr_cli_events_selection(const tr_cli_events *c, tr_event_selection *ret_selection);
/** --from: "beginning", "now", a time, or "-15m". */
int tr_cli_events_from(const char *text, tr_subscribe_from *ret_from, int64_t *ret_ms, tr_error *err);
/** Where an inbox is kept: --state, or a file named by the command, what is selected, and `more` (or NULL).
 */
int tr_cli_events_state(const tr_cli_events *c, const char *command, const char *more, char *out, size_t size,
                        tr_error *err);
/** The reducer that --rules names; without, payloads are merged. */
int tr_cli_open_rules(const tr_cli_events *c, tr_rules **ret_rules, tr_error *err);
/** Opens a store of the chosen table and layout. */
int tr_cli_open_store(tr_cli_events *c, const char *id, const char *table, tr_eventstore **ret_store,
                      tr_error *err);
/** Puts the table's name before an error that says that a table is missing. Returns `code`. */
int tr_cli_name_table(const tr_eventstore *store, int code, tr_error *err);
/** The next line that is not empty, without its end; valid until the next call. TR_ECLOSED at the end. */
typedef struct tr_cli_lines {
    void *file; /* FILE */
    tr_buf line;
    uint64_t number; /* of the line, from 1 */
} tr_cli_lines;
void tr_cli_lines_init(tr_cli_lines *lines, void *file);
int tr_cli_next_line(tr_cli_lines *lines, tr_view *ret_line, tr_error *err);
void tr_cli_lines_done(tr_cli_lines *lines);
/** Puts the line's number before an error's message. Returns `code`, TR_EPARSE for TR_EINVAL: what is wrong
 * in a line of the input is no wrong usage of the command. */
int tr_cli_line_error(const tr_cli_lines *lines, int code, tr_error *err);
/** Prints what a buffer holds and a line's end. TR_EIO. */
int tr_cli_print_line(tr_buf *text, tr_error *err);
int tr_cli_print_event(const tr_event *event, tr_error *err);

#endif
