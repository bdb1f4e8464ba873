/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_LOG_H
#define TAILRACE_LOG_H

/**
 * tailrace/log.h: append-only logs in a DynamoDB table, in the layout of dynamodb-logs.
 *
 * A log ("users") holds a run of events for each id ("u-1"), numbered 1, 2, 3 … without gaps:
 *
 *   pk  S  <log>#<id>#stream     sk  N  the event's number, its version
 *   type S, log S, payload M (its member id is the id)
 *
 * An append is a put on the condition that the number is not taken, so that of two writers one wins and the
 * other learns of it. All functions work over a tr_client, on AWS and on the embedded engine alike.
 */

#include <tailrace/base.h>
#include <tailrace/client.h>
#include <tailrace/item.h>
#include <tailrace/pattern.h>
#include <tailrace/record.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_LOG_PK        "pk"
#define TR_LOG_SK        "sk"
#define TR_LOG_TYPE      "type"
#define TR_LOG_LOG       "log"
#define TR_LOG_PAYLOAD   "payload"
#define TR_LOG_REPLAY    "replay-name" /**< of events that a replay has put; pipes skip those */
#define TR_LOG_TTL       "ttl"     /**< time to live attribute of the table; events of ours do not carry it */
#define TR_LOG_PK_SUFFIX "#stream" /**< a pk without it is no event */
#define TR_LOG_TABLE     "local-dynamodb-logs"
#define TR_LOG_NAME_MAX                                                                                      \
    1024 /**< bytes of log and id each; with the rest they must fit DynamoDB's 2,048 of a key */

/** One event. Views are borrowed. */
typedef struct tr_log_event {
    tr_view log, id, type;
    uint64_t version; /**< sk */
    tr_item payload;
} tr_log_event;

/* ------------------------------------------------------------------------------------------- appending */

#define TR_LOG_ANY_VERSION UINT64_MAX

typedef struct tr_log_append {
    const char *table;     /**< Optional: TR_LOG_TABLE */
    tr_view log, id, type; /**< Required: not empty; log without '#'. Copied. */
    tr_item payload;       /**< Copied. Gets the member `id` if it has none; TR_EINVAL if it has another. */
    uint64_t expect; /**< the version of the newest event there is (0: none), or TR_LOG_ANY_VERSION: the next
                          number is found by a query, and conflicts are retried with jitter. Above 0 it takes
                          a transaction, with the right to dynamodb:ConditionCheckItem */
    bool out_of_order;   /**< the event is a copy whose number is known: it becomes expect + 1 although what
                            comes before may come later; an equal event that is there already is success */
    tr_view replay_name; /**< Optional: the event comes with a replay of that name; it is marked with it */
    int64_t
        patience_ms; /**< how long to go on when the service cannot be reached; 0: as the client's attempts */
} tr_log_append;

/** code 0: appended as `version` (also when an earlier attempt, whose answer was lost, had already done it).
 *  TR_ECONFLICT: `expect` was not met. Others as tr_client_call. Runs on the client's I/O thread. */
typedef void tr_log_append_fn(void *ctx, int code, uint64_t version, const tr_error *err);
/** Promise as tr_client_call: 0 means that fn runs exactly once. */
int tr_log_append_start(tr_client *client, const tr_log_append *append, tr_log_append_fn *fn, void *ctx,
                        tr_error *err);
/** Blocks. Not on the I/O thread. */
int tr_log_append_wait(tr_client *client, const tr_log_append *append, uint64_t *ret_version, tr_error *err);

/* --------------------------------------------------------------------------------------------- reading */

typedef struct tr_log_range {
    const char *table; /**< Optional: TR_LOG_TABLE */
    tr_view log, id;   /**< Required. */
    uint64_t after;    /**< only versions above this one (reverse: below, if not 0) */
    bool reverse;      /**< newest first */
    uint64_t limit;    /**< events at most; 0: all */
} tr_log_range;

/** Return 0 to go on, anything else to stop with that code. */
typedef int tr_log_event_fn(void *ctx, const tr_log_event *event);
/** Reads consistently, page by page. Blocks. */
int tr_log_read(tr_client *client, const tr_log_range *range, tr_log_event_fn *fn, void *ctx, tr_error *err);
/** Which events. Zeroes and empty views mean all. */
typedef struct tr_log_query {
    const char *table;    /**< Optional: TR_LOG_TABLE */
    tr_view log, id;      /**< with both a Query of one run of events, else a Scan of the table */
    uint64_t after;       /**< as in tr_log_range; of one run only */
    bool reverse;         /**< of one run only */
    const tr_view *types; /**< any of these, at most TR_LOG_TYPES_MAX */
    size_t type_count;
    const tr_pattern *pattern; /**< that the event must match, as tr_log_event_write has it; what it leaves
                                  out is read all the same */
    uint64_t limit;            /**< events at most; 0: all */
} tr_log_query;
#define TR_LOG_TYPES_MAX                                                                                     \
    100 /* operands of IN (Developer Guide, "Comparison operator and function reference") */

/** Whether an event is one of those: types and pattern, and log and id where they are given. match may be
 * NULL. */
bool tr_log_query_matches(const tr_log_query *query, tr_match_ctx *match, const tr_log_event *event);
/** Reads consistently, page by page. Items of a scan that are no events are passed over. Blocks. */
int tr_log_find(tr_client *client, const tr_log_query *query, tr_log_event_fn *fn, void *ctx, tr_error *err);
/** The event that a change of the table has put (its new image). TR_ENOTFOUND: it is none. */
int tr_log_event_from_record(const tr_record *record, tr_log_event *ret_event);
/** Takes an event out of an item of the table. TR_EINVAL if it is none (pk without suffix, missing
 * attributes). */
int tr_log_event_from_item(tr_item item, tr_log_event *ret_event, tr_error *err);
/** One line of JSON: {"log","id","type","version","payload"}. */
void tr_log_event_write(tr_json_writer *writer, const tr_log_event *event);

/** Creates the table (pay per request, stream of new and old images, time to live, tag) and waits until it is
 * active. TR_EEXIST if it is there already. Blocks. */
int tr_log_create_table(tr_client *client, const char *table, tr_error *err);

/* ---------------------------------------------------------------------------------------- read models */

#define TR_LOG_MODEL_TABLE   "local-core"
#define TR_LOG_MODEL_VERSION "version"

/**
 * Folds one event into an item: appends the members of the item after it (tr_pack_name, tr_pack_…) but for
 * the key and the version. `before` is empty for the first event. A pure function: it may be called again.
 * An error ends the application with that code, and nothing is written.
 */
typedef int tr_log_fold_fn(void *ctx, const tr_log_event *event, tr_item before, tr_packer *after,
                           tr_error *err);

/**
 * Keeps a read model: an item per run of events, which says in an attribute up to which version it has taken
 * them in. Applying reads the item, then the events after its version, folds them in order, and writes the
 * item on the condition that it still has the version that was read.
 *
 * - Events come in order and once each, however often and by however many this is called: who loses the
 * condition reads again.
 * - Where a number is missing it stops: what comes after a gap is not applied before what is in it. The gap
 * is told, and a later call goes on when it is closed.
 */
typedef struct tr_log_apply {
    const char *table;   /**< the log's; Optional: TR_LOG_TABLE */
    tr_view log, id;     /**< Required */
    const char *model;   /**< the read model's table, with pk S and sk S; Optional: TR_LOG_MODEL_TABLE */
    tr_view pk, sk;      /**< Optional: the item's key; else both <log>#<id> */
    const char *version; /**< Optional: the attribute; TR_LOG_MODEL_VERSION */
    tr_log_fold_fn *fold;
    void *ctx;
    uint64_t limit; /**< events of one write; 0: 1,000 */
} tr_log_apply;

typedef struct tr_log_applied {
    uint64_t version; /**< of the read model now */
    uint64_t events;  /**< applied by this call */
    uint64_t gap;     /**< 0, or the version of the event behind a gap */
} tr_log_applied;

/** 0: everything up to the log's end or the gap is applied. TR_ECONFLICT: others kept writing the item.
 * Blocks. */
int tr_log_apply_wait(tr_client *client, const tr_log_apply *apply, tr_log_applied *ret_applied,
                      tr_error *err);

/* ----------------------------------------------------------------------------------------- made users */

/** Number of events of a made user: signup, addPhoneNumber, verifyPhoneNumber, addLocation. */
#define TR_LOG_FAKE_EVENTS 4
/** Event `version` (1 to 4) of made user number `user`, the same for the same seed. Memory of the arena. */
int tr_log_fake_event(uint64_t seed, uint64_t user, unsigned version, tr_arena *arena,
                      tr_log_event *ret_event);

typedef struct tr_log_fake {
    const char *table; /**< Optional: TR_LOG_TABLE */
    uint64_t users, seed;
    unsigned in_flight;  /**< users written at once; 0: 32 */
    int64_t patience_ms; /**< as in tr_log_append */
    /** Optional: called now and then from the calling thread with events written. */
    void (*progress)(void *ctx, uint64_t events, uint64_t total);
    void *ctx;
} tr_log_fake;
/** Writes the events of made users, each user's in order. Events that are there already, equal, count as
 * written, so it can be repeated. Blocks. */
int tr_log_fake_write(tr_client *client, const tr_log_fake *fake, uint64_t *ret_events, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
