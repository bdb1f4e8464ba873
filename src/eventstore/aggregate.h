/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_AGGREGATE_H
#define TAILRACE_EVENTSTORE_AGGREGATE_H

#include "eventstore/internal.h"

#include <tailrace/aggregate.h>

struct tr_aggregate {
    const tr_reducer *reducer;
    void *state; /* behind this struct */
    char *id;    /* NUL-terminated, for messages */
    size_t id_len;
    uint64_t version, snapshot_version;
    tr_buf timestamp;  /* of the newest event */
    int64_t latest_ms; /* of all events; INT64_MAX if one's timestamp is none */
};

/** Whether a timestamp is later than until_ms; what is no timestamp is compared as text. */
bool tr__timestamp_later(tr_view timestamp, int64_t until_ms);

/** Folds what is behind the aggregate's version; the aggregate is handed to fn, also after an error. */
typedef void tr__fold_fn(void *ctx, int code, tr_aggregate *aggregate, const tr_error *err);
int tr__fold_start(tr_eventstore *store, tr_aggregate *aggregate, const tr_aggregate_options *options,
                   tr__fold_fn *fn, void *ctx, tr_error *err);

/** Puts the aggregate into the state of the newest snapshot that fits, if there is one, and calls fn. */
typedef void tr__snapshot_loaded_fn(void *ctx);
int tr__snapshot_load(tr_snapshots *snapshots, const tr_eventstore *store, tr_aggregate *aggregate,
                      uint64_t max_version, int64_t until_ms, tr__snapshot_loaded_fn *fn, void *ctx);
/** Whether a new snapshot is due after a read, or after a command. */
bool tr__snapshot_due(const tr_snapshots *snapshots, const tr_aggregate *aggregate, bool read);
/** Writes one in the background. */
void tr__snapshot_save(tr_snapshots *snapshots, const tr_eventstore *store, tr_aggregate *aggregate);
/** TR_EINVAL if the reducer cannot have snapshots. */
int tr__snapshot_check(const tr_snapshots *snapshots, const tr_eventstore *store, const tr_reducer *reducer,
                       tr_error *err);

#endif
