/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_INTERNAL_H
#define TAILRACE_EVENTSTORE_INTERNAL_H

#include "client/numbered.h"
#include "client/query.h"
#include "client/wait.h"

#include <tailrace/eventstore.h>

struct tr_eventstore {
    tr_client *client;
    char *id, *table;
    const char *(*table_fn)(void *ctx);
    void *table_ctx;
    tr_event_layout layout;
    int64_t patience_ms;
    tr_logger logger;
};

#define TR__EVENTS_PATIENCE_MS 2000
/** An event's plain JSON: 400 KB with every byte escaped, and room. */
#define TR__EVENT_JSON_MAX ((size_t)4 << 20)

/** Longest timestamp that is taken; castore's have 24 characters. */
#define TR__TIMESTAMP_MAX 64

extern const tr__numbered_layout tr__event_numbering;

/** The table's name, with the default where none is set. Asks the callback. */
const char *tr__eventstore_table(const tr_eventstore *store);
/** Appends the partition key of an aggregate, as a JSON string with its quotes. */
void tr__event_put_key(tr_buf *out, const tr_eventstore *store, tr_view aggregate_id);
/** TR_EINVAL if it cannot be an aggregate of this store. */
int tr__event_check_id(const tr_eventstore *store, tr_view aggregate_id, tr_error *err);
/** The aggregate's id in a partition key: the store's prefix is removed. */
tr_view tr__event_unprefix(const tr_eventstore *store, tr_view key);
/** Takes an event out of an item; the key stays as it is. */
int tr__event_take(tr_item item, tr_event *ret_event, tr_error *err);
/** Any value in plain JSON. */
void tr__event_write_value(tr_json_writer *w, tr_value value, const tr_event_format *format);
/** Starts a Query of an aggregate's events. */
int tr__events_query(tr__query *q, const tr_eventstore *store, tr_view aggregate_id,
                     const tr_events_range *range, tr_error *err);

/** A group, and a push as a group of one store. `transaction`: also for a single event. ret_fault (may be
 * NULL): the member at fault, if it is refused for one, else SIZE_MAX. */
typedef struct tr__push_mode {
    bool force, strict, transaction;
} tr__push_mode;
int tr__push_start(const tr_group_member *members, size_t count, tr__push_mode mode, tr_push_fn *fn,
                   void *ctx, size_t *ret_fault, tr_error *err);

#endif
