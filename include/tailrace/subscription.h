/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_SUBSCRIPTION_H
#define TAILRACE_SUBSCRIPTION_H

/**
 * tailrace/subscription.h: reading everything that is in a table of events: what is there, then what comes.
 *
 *     const char *stores[] = {"ACCOUNTS"};
 *     tr_subscription_options o = {.stores = stores, .store_count = 1, .state = "audit.inbox"};
 *     tr_subscription_new(client, &o, &sub, &err);
 *     while ((code = tr_subscription_next(sub, 100, -1, &batch, &err)) == 0) {
 *         for (size_t i = 0; i < batch.count; i++)
 *             use(batch.events[i].store_id, &batch.events[i].event);
 *         tr_subscription_ack(sub, batch.count, &err);
 *     }
 *     tr_subscription_free(sub);
 *
 * Order
 * - First the history: what the table held when the subscription began, by timestamp; with equal timestamps
 * by store and aggregate. Within an aggregate always by version: an event whose clock was behind counts as
 * being as old as its predecessor. The oldest event may be the last that is found, so nothing comes before
 * the table was read; where the order across aggregates does not matter, `history` lets events come as they
 * are read.
 * - Then what was pushed since, in the order of the table's stream; within an aggregate again by version.
 * - Nothing is left out and nothing comes twice where the two meet: the history is read from a snapshot that
 *   the stream continues, or (where the server has none) overlaps with the stream, and every event that came
 *   is known by its version.
 *
 * Where it is kept. `state` is a SQLite file, an inbox: what was read and not yet acknowledged, which
 * versions of which aggregate have come, and the positions of the stream, all changed together. After a
 * crash, kill -9 included, the subscription goes on with the first event that was not acknowledged. The file
 * grows by the history while that is being read, and shrinks as it is acknowledged. If the stream has lost
 * records (a subscription that stood still for more than 24 hours) the table is read again, and the events
 * that have not come yet come then.
 *
 * Several workers (`fleet`) share the work: one of them, whichever is first, delivers the history alone,
 * through to live; then it writes its positions into the lease table, and all share the shards from there on.
 * An aggregate's events come in order, to one worker at a time. If that first worker ends, it goes on when it
 * is started again; if it stays away for longer than failover_ms another one begins with the history anew.
 * Workers on one machine may have the same `state`: who delivers the history has the file, and if that one
 * ends, another goes on in it at once.
 * Among several workers an event comes at least once, as it does with all leases; and what the stream has
 * lost is told (`gaps`, and the logger) but not read from the table again, for nobody knows what all of them
 * have had.
 *
 * An event that was overwritten (`force`) comes again, with `overwritten`. Deletions are not told.
 *
 * Threads: one thread at a time may call tr_subscription_next and tr_subscription_ack, any thread the others.
 * The client must outlive the subscription.
 */

#include <tailrace/eventstore.h>
#include <tailrace/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_subscribe_from {
    TR_FROM_BEGINNING = 0,
    TR_FROM_TIME, /**< events with this timestamp or a later one; what is pushed later comes in any case */
    TR_FROM_NOW   /**< what is pushed after the start; no history is read */
} tr_subscribe_from;

/** Order of the history. */
typedef enum tr_history_order {
    TR_HISTORY_BY_TIME = 0, /**< by timestamp, across stores; nothing comes before the whole table was read */
    TR_HISTORY_BY_AGGREGATE /**< as the table is read: an aggregate's events together, by version, the
                                 aggregates in no order; the first come at once */
} tr_history_order;

/** Which events. Zero-initialise, set what you need. */
typedef struct tr_event_selection {
    const char *table; /**< NULL: "events", in the legacy layout the store's id */
    tr_event_layout layout;
    const char *const *stores; /**< of these stores; none: of all in the table. The legacy layout has one per
                                  table, which must be given. */
    size_t store_count;
    const char *const *types; /**< of these types; none: of all */
    size_t type_count;
} tr_event_selection;

#define TR_SELECTION_MAX 1000 /* stores, and types */

/** Zero-initialise, set what you need. Everything is copied. */
typedef struct tr_subscription_options {
    tr_event_selection select;
    tr_subscribe_from from;
    int64_t from_ms;   /**< for TR_FROM_TIME: ms since 1970 */
    const char *state; /**< The inbox's file; PATH.lock keeps a second one out. Required, unless from is
                          TR_FROM_NOW and there is a fleet. Where it goes on, `from` is not looked at; a file
                          that was begun for other stores, types, another order or table is refused. */
    tr_history_order history;      /**< order of what is in the table already */
    const tr_fleet_options *fleet; /**< Optional: share the work. */
    bool once; /**< end (TR_ECLOSED) when everything that is there has been acknowledged; TR_ECANCELED after
                  60 s without progress */
    unsigned segments;        /**< the table is read in so many parts at a time; 0: 4 */
    uint64_t rows_per_second; /**< of that reading; 0: as fast as it goes */
    tr_logger logger;
} tr_subscription_options;

typedef struct tr_subscribed {
    tr_view store_id;
    tr_event event;
    bool live;        /**< from the stream, not from the history */
    bool overwritten; /**< it replaces one of the same version */
} tr_subscribed;
/** Valid until the next call of tr_subscription_next or tr_subscription_ack. */
typedef struct tr_subscribed_batch {
    const tr_subscribed *events;
    size_t count;
} tr_subscribed_batch;

#define TR_SUBSCRIBED_MAX 10000 /* events of a batch */

typedef struct tr_subscription tr_subscription;

/** Opens the file and begins. TR_EINVAL, TR_EBUSY (another one has the file), TR_EIO, TR_ECORRUPT,
 * TR_EVERSION, TR_ENOMEM. */
int tr_subscription_new(tr_client *client, const tr_subscription_options *options,
                        tr_subscription **ret_subscription, tr_error *err);
/**
 * The next events, 1 to `max`: waits up to timeout_ms (negative: for ever). What was handed out and not
 * acknowledged comes again. TR_ETIMEOUT; TR_ECLOSED after tr_subscription_stop, or with `once` at the end;
 * TR_ENOTFOUND (no such table), TR_EINVAL (it has no stream), and what the file fails with, end the
 * subscription. Failures of the service are repeated inside.
 */
int tr_subscription_next(tr_subscription *subscription, size_t max, int64_t timeout_ms,
                         tr_subscribed_batch *ret_batch, tr_error *err);
/** The first `count` events of the last batch are done and will not come again: saved when it returns. The
 * others come again. */
int tr_subscription_ack(tr_subscription *subscription, size_t count, tr_error *err);
/** Makes tr_subscription_next return TR_ECLOSED, now and later. */
void tr_subscription_stop(tr_subscription *subscription);
/** NULL is fine. */
void tr_subscription_free(tr_subscription *subscription);

typedef enum tr_subscription_phase {
    TR_SUBSCRIPTION_WAITING,  /**< fleet: another worker delivers the history */
    TR_SUBSCRIPTION_READING,  /**< the table is being read */
    TR_SUBSCRIPTION_CATCHING, /**< history, and what has come since, is being delivered */
    TR_SUBSCRIPTION_LIVE      /**< everything was delivered once; follows */
} tr_subscription_phase;
/** "waiting", "reading", … Static. */
const char *tr_subscription_phase_name(tr_subscription_phase phase);

typedef struct tr_subscription_stats {
    tr_subscription_phase phase;
    uint64_t scanned;   /**< rows of the table read */
    uint64_t delivered; /**< acknowledged by this object */
    uint64_t gaps;      /**< how often the stream had lost records */
    int64_t lag_ms;     /**< of the stream; -1: not known yet */
} tr_subscription_stats;
/** From any thread. */
void tr_subscription_get_stats(tr_subscription *subscription, tr_subscription_stats *ret_stats);

/* ---------------------------------------------------------------------------------------------- pouring */

/**
 * Pouring: old events once more, to anywhere, in order of their timestamps across stores (as the history of a
 * subscription), not faster than a rate. The table needs no stream. It is read as a whole before the first
 * event is poured; events pushed meanwhile may be among them or not, so `until_ms` should not lie in the
 * future.
 */
typedef struct tr_pour_options {
    tr_event_selection select;
    int64_t from_ms, until_ms; /**< timestamps, both inclusive; 0: no bound */
    double rate;               /**< events per second, at most; 0: as fast as they are taken */
    size_t batch;              /**< events handed over at a time, at most; 0: 100 */
    const char
        *state; /**< Optional: file of what is still to be poured. A run that was ended, in whatever way,
                   goes on there; it is removed once everything is poured. NULL: a temporary file. */
    unsigned segments;
    uint64_t rows_per_second; /**< of reading the table; 0: as fast as it goes */
    /** Required: takes events. *ret_done: how many of them, from the first, are done; fewer than `count`, or
     * an error that may pass (tr_retryable): the others come again after a pause. Other errors end the run.
     */
    int (*put)(void *ctx, const tr_subscribed *events, size_t count, size_t *ret_done, tr_error *err);
    void *ctx;
    tr_logger logger;
} tr_pour_options;

typedef struct tr_pour tr_pour;
int tr_pour_new(tr_client *client, const tr_pour_options *options, tr_pour **ret_pour, tr_error *err);
/** Blocks until everything is poured or tr_pour_stop was called (both 0). ret_poured (may be NULL): events
 * handed over in this run. */
int tr_pour_run(tr_pour *pour, uint64_t *ret_poured, tr_error *err);
/** From any thread. */
void tr_pour_stop(tr_pour *pour);
/** NULL is fine. */
void tr_pour_free(tr_pour *pour);

#ifdef __cplusplus
}
#endif
#endif
