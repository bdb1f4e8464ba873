/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_SELECT_H
#define TAILRACE_EVENTSTORE_SELECT_H

/** select.h: which events of a table are wanted. */

#include <tailrace/subscription.h>

typedef struct tr__selection {
    char *table;
    tr_event_layout layout;
    char **stores, **types;
    size_t store_count, type_count;
    bool from_now;             /* from_ms is to be the present */
    bool by_aggregate;         /* tr_subscription_options.history */
    int64_t from_ms, until_ms; /* of timestamps, inclusive; INT64_MIN, INT64_MAX: no bound */
} tr__selection;

/** Copies and checks. TR_EINVAL, TR_ENOMEM. */
int tr__selection_init(tr__selection *s, const tr_event_selection *given, tr_error *err);
void tr__selection_done(tr__selection *s);
/** One line of JSON that tells one selection from another; the bounds of time are left out. */
void tr__selection_write(const tr__selection *s, tr_json_writer *w);
/** Whether an item of the table is an event of the stores that are wanted; then which one. */
bool tr__selection_take(const tr__selection *s, tr_item item, tr_view *ret_store, tr_event *ret_event);
/** Of those: whether its type and time are wanted. */
bool tr__selection_wants(const tr__selection *s, const tr_event *event);

#endif
