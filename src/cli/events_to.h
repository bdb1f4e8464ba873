/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_EVENTS_TO_H
#define TAILRACE_CLI_EVENTS_TO_H

/** events_to.h: where `events subscribe`, `publish` and `pour` bring events: the standard output, a bus,
 * another table, or the user's code. */

#include "cli/events.h"

#include <tailrace/failure.h>
#include <tailrace/outbox.h>

#define TR_CLI_TO_STORES_MAX 1024

typedef struct tr_cli_to {
    int (*put)(struct tr_cli_to *to, const tr_subscribed *events, size_t count, size_t *ret_done,
               tr_error *err);
    tr_cli_events *events;
    bool replay; /* they are old ones */
    tr_buf text;
    tr_handler *handler;
    unsigned failures; /* in a row */
    tr_rng rng;
    tr_publisher *publisher;
    tr_failure_sink *on_failure;
    tr_rules *rules;
    tr_snapshots *snapshots;
    tr_outbox *outbox;
    const char *table; /* the other one */
    tr_eventstore *stores[TR_CLI_TO_STORES_MAX];
    size_t store_count;
} tr_cli_to;

/** Opens what --to, --bus, or the options of the user's code say; without any of them the standard output. */
int tr_cli_to_open(tr_cli_to *to, tr_cli_events *c, bool replay, tr_error *err);
/** Brings events there. *ret_done: so many, from the first, are done; the others are to be brought again,
 * after a failure that was told, and a pause. As tr_pour_options.put, with the tr_cli_to as ctx. */
int tr_cli_to_put(void *to, const tr_subscribed *events, size_t count, size_t *ret_done, tr_error *err);
/** Nothing is waited for any more. From any thread. */
void tr_cli_to_stop(tr_cli_to *to);
void tr_cli_to_close(tr_cli_to *to);

#endif
