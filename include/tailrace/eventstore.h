/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_H
#define TAILRACE_EVENTSTORE_H

/**
 * tailrace/eventstore.h: an event store in a DynamoDB table, in the layout of castore.
 *
 * An event store ("ACCOUNTS") holds aggregates ("a-1"), and an aggregate is a run of events numbered 1, 2,
 * 3 …: its versions. An application on castore (`@castore/event-storage-adapter-dynamodb`) and one on this
 * library can work on the same table at the same time: items, requests and page tokens are the same.
 *
 *     tr_eventstore *accounts;
 *     tr_eventstore_options o = {.store_id = "ACCOUNTS", .table = "events"};
 *     tr_eventstore_new(client, &o, &accounts, &err);
 *     tr_event e = {.aggregate_id = TR_VIEW("a-1"), .type = TR_VIEW("OPENED"), .payload = …};
 *     tr_push_options p = {.expect = TR_EXPECT_NONE};
 *     tr_eventstore_push_wait(accounts, &e, 1, &p, &arena, &err);     (e.version is 1, e.timestamp is set)
 *
 * What stands upon it has headers of its own: tailrace/aggregate.h (folding events into aggregates,
 * snapshots, commands), tailrace/subscription.h (reading everything, publishing, projections),
 * tailrace/schema.h (the tables, as JSON, CloudFormation, Terraform …).
 *
 * What is promised
 * - An event that was acknowledged is in the table exactly once, under the version that was told.
 * - Several events pushed together are all there or none is.
 * - A push that is repeated because its answer was lost succeeds. What tells it is the event that stands
 * there already (ReturnValuesOnConditionCheckFailure), in transactions also the ClientRequestToken. Where an
 * earlier attempt may have arrived, an event equal to ours counts as ours; and where the caller gave version
 * and timestamp, always: such a push may be repeated at will. Two writers that push the same version, type,
 *   payload and metadata within one millisecond, one of them with a broken connection, cannot be told apart:
 *   where that matters, let the metadata name the command (tailrace/aggregate.h does).
 * - Lost races, throttling and transactions in each other's way are repeated with full jitter.
 *
 * Threads: an event store may be used from any thread. Callbacks run on the client's I/O thread and must not
 * block; functions ending in _wait block and refuse to run there (TR_ETHREAD). The client must outlive the
 * event store, and the event store every call under way.
 */

#include <tailrace/base.h>
#include <tailrace/client.h>
#include <tailrace/item.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------------- names */

/* Attributes and index of the events' table, as castore's package exports them (EVENT_TABLE_PK …). */
#define TR_EVENT_TABLE_PK                       "aggregateId"  /**< partition key, S: `<store>#<aggregate>` */
#define TR_EVENT_TABLE_SK                       "version"      /**< sort key, N */
#define TR_EVENT_TABLE_TIMESTAMP_KEY            "timestamp"    /**< S, ISO 8601 */
#define TR_EVENT_TABLE_EVENT_TYPE_KEY           "type"         /**< S */
#define TR_EVENT_TABLE_PAYLOAD_KEY              "payload"      /**< any type; absent if there is none */
#define TR_EVENT_TABLE_METADATA_KEY             "metadata"     /**< any type; absent if there is none */
#define TR_EVENT_TABLE_EVENT_STORE_ID_KEY       "eventStoreId" /**< S, on version 1 only */
#define TR_EVENT_TABLE_IS_INITIAL_EVENT_KEY     "isInitialEvent" /**< N 1, on version 1, legacy layout only */
#define TR_EVENT_TABLE_INITIAL_EVENT_INDEX_NAME "initialEvents"
#define TR_EVENT_TABLE                          "events" /**< default name of a single table */
/** Between store and aggregate in the partition key; not allowed in a store's id. */
#define TR_EVENT_STORE_SEPARATOR "#"

/** Error types (tr_error.type), castore's where it has one. */
#define TR_EVENT_ALREADY_EXISTS "EventAlreadyExistsError"
#define TR_AGGREGATE_NOT_FOUND  "AggregateNotFoundError"
#define TR_PREVIOUS_EVENT_MISSING                                                                            \
    "PreviousEventMissingError"                  /**< strict: the version before is not there                \
                                                  */
#define TR_AGGREGATE_MOVED "AggregateMovedError" /**< a participant that is only checked */

/** Bytes of a store's id and of an aggregate's; together they are a key of at most 2,048 bytes (Developer
 * Guide, "Constraints in Amazon DynamoDB"). */
#define TR_EVENT_KEY_MAX 2048
/** Actions of one transaction (API Reference, TransactWriteItems). */
#define TR_EVENT_GROUP_MAX 100
/** Largest version: numbers up to here are exact in JavaScript too (Number.MAX_SAFE_INTEGER). */
#define TR_EVENT_VERSION_MAX 9007199254740991

/* ---------------------------------------------------------------------------------------------- stores */

typedef enum tr_event_layout {
    TR_EVENTS_SINGLE_TABLE = 0, /**< any number of stores in a table */
    TR_EVENTS_LEGACY /**< one table per store, aggregates without prefix: castore's older adapter */
} tr_event_layout;

typedef struct tr_eventstore tr_eventstore;

/** All text is copied. Zero-initialise, set what you need. */
typedef struct tr_eventstore_options {
    const char *store_id; /**< Required: not empty, without '#' (it would be cut off wrongly when events are
                             read from the table's stream). */
    const char *table;    /**< The table; with both NULL: "events", in the legacy layout the store's id. */
    const char *(*table_fn)(void *ctx); /**< Or a function, asked at each call, on the calling thread; what it
                                           returns is copied at once. */
    void *table_ctx;
    tr_event_layout layout;
    int64_t patience_ms; /**< how long a push, or a command, goes on when the service is throttling or cannot
                            be reached, beyond the client's own attempts; 0: 2,000 */
    tr_logger
        logger; /**< optional: told once by a push that has been trying for a while, on the I/O thread */
} tr_eventstore_options;

/** TR_EINVAL, TR_ENOMEM. */
int tr_eventstore_new(tr_client *client, const tr_eventstore_options *options, tr_eventstore **ret_store,
                      tr_error *err);
/** NULL is fine. */
void tr_eventstore_free(tr_eventstore *store);
/** Valid as long as the store. */
const char *tr_eventstore_id(const tr_eventstore *store);
tr_event_layout tr_eventstore_layout(const tr_eventstore *store);
tr_client *tr_eventstore_client(const tr_eventstore *store);
/** Appends the table's name (asks the callback, if there is one). */
void tr_eventstore_table(const tr_eventstore *store, tr_buf *ret_name);

/* ---------------------------------------------------------------------------------------------- events */

/** An event. Views are borrowed. */
typedef struct tr_event {
    tr_view aggregate_id; /**< not empty */
    uint64_t version;     /**< from 1 */
    tr_view type;
    tr_view timestamp; /**< ISO 8601 with milliseconds and Z, as castore writes it, or any text of up to 64
                          bytes; empty when pushing: now */
    tr_value payload;  /**< any value; type TR_NONE: absent */
    tr_value metadata; /**< the same */
} tr_event;

/** How numbers are written in plain JSON. castore's unmarshalling (`wrapNumbers`) has the last two. */
typedef enum tr_event_numbers {
    TR_NUMBERS_EXACT = 0, /**< all digits */
    TR_NUMBERS_DOUBLE, /**< the nearest double's shortest form; whole numbers past 2^53 keep their digits */
    TR_NUMBERS_WRAPPED /**< {"value":"1.50"} with the digits, as NumberValue of the AWS SDK is written */
} tr_event_numbers;
typedef enum tr_event_sets {
    TR_SETS_ARRAY = 0, /**< sorted array */
    TR_SETS_TYPED      /**< {"SS":["a","b"]} */
} tr_event_sets;
/** NULL where a pointer to it is taken: the first of both. */
typedef struct tr_event_format {
    tr_event_numbers numbers;
    tr_event_sets sets;
} tr_event_format;

/** Writes {"aggregateId":…,"version":…,"type":…,"timestamp":…,"payload":…,"metadata":…} in plain JSON, absent
 * ones left out. */
void tr_event_write(tr_json_writer *writer, const tr_event *event, const tr_event_format *format);
/**
 * Reads such an object. aggregateId and type are required; without version ret_event->version is 0. Numbers
 * keep up to 38 digits, more are refused. Other members are refused (TR_EINVAL names them). Everything
 * ret_event points to is in the arena. TR_EPARSE, TR_EINVAL, TR_ELIMIT, TR_ENOMEM.
 */
int tr_event_from_json(tr_view json, tr_arena *arena, tr_event *ret_event, tr_error *err);
/**
 * Takes an event out of an item of the store's table; views point into the item. The store's prefix is
 * removed from the key, another key is left as it is. TR_EINVAL: not an event.
 */
int tr_event_from_item(const tr_eventstore *store, tr_item item, tr_event *ret_event, tr_error *err);
/**
 * From an image of the table's stream: finds out which of the stores the event belongs to. In the
 * single-table layout the key is split at the first '#'; a legacy store takes any key. TR_ENOTFOUND: of none
 * of them; TR_EINVAL: not an event.
 */
int tr_event_parse_image(const tr_eventstore *const *stores, size_t count, tr_item image, size_t *ret_index,
                         tr_event *ret_event, tr_error *err);

/* --------------------------------------------------------------------------------------------- pushing */

typedef enum tr_event_expect {
    TR_EXPECT_VERSION = 0, /**< each event's own version; TR_ECONFLICT if it is taken */
    TR_EXPECT_ANY,         /**< the next free version is found (one query), lost races are repeated */
    TR_EXPECT_NONE,        /**< the aggregate is new: the first event is version 1 */
    TR_EXPECT_EXISTS       /**< as ANY, but TR_ENOTFOUND if the aggregate has no events */
} tr_event_expect;

typedef struct tr_push_options {
    tr_event_expect expect;
    bool force;  /**< overwrite what is there; with TR_EXPECT_VERSION only */
    bool strict; /**< with TR_EXPECT_VERSION: refuse an event whose predecessor is missing. Costs a
                    transaction (twice the write units, the right dynamodb:ConditionCheckItem); the other
                    modes leave no gap anyway. */
} tr_push_options;

/** Outcome of a push or a group. Valid during the callback only. */
typedef struct tr_pushed {
    const tr_event *events; /**< as stored: versions and timestamps filled in */
    size_t count;
    size_t failed; /**< TR_ECONFLICT, TR_ENOTFOUND: the event (or participant) at fault; else SIZE_MAX */
} tr_pushed;
/**
 * code 0: done. TR_ECONFLICT: types TR_EVENT_ALREADY_EXISTS, TR_PREVIOUS_EVENT_MISSING, TR_AGGREGATE_MOVED.
 * TR_ENOTFOUND: TR_AGGREGATE_NOT_FOUND. Others as tr_client_call; after TR_ETIMEOUT and TR_ECONNECT the
 * events may have been stored or not. `pushed` is always given.
 */
typedef void tr_push_fn(void *ctx, int code, const tr_pushed *pushed, const tr_error *err);

/**
 * Pushes events of one aggregate, 1 to TR_EVENT_GROUP_MAX: a single one by PutItem, several by one
 * transaction. With TR_EXPECT_VERSION their versions must follow each other. Events without a timestamp get
 * the present time, all the same one, or the one that others of them have; two different ones are refused.
 * A timestamp that is given stands as it is, whatever it says: castore takes any string, and its events must
 * be readable, and pushable to a copy. Lists, pours and subscriptions sort by it as text, so give times as
 * castore writes them. Everything is copied. 0 means that fn runs exactly once.
 */
int tr_eventstore_push(tr_eventstore *store, const tr_event *events, size_t count,
                       const tr_push_options *options, tr_push_fn *fn, void *ctx, tr_error *err);
/** Blocks. On success versions and timestamps are filled in, the latter from the arena. */
int tr_eventstore_push_wait(tr_eventstore *store, tr_event *events, size_t count,
                            const tr_push_options *options, tr_arena *arena, tr_error *err);

/** One that takes part in a group: an event to push, or an aggregate that is only looked at. */
typedef struct tr_group_member {
    tr_eventstore *store; /**< Required. */
    tr_event event;       /**< Only checked: aggregate_id, and version where `expect` wants it. */
    tr_event_expect expect;
    /**
     * Push nothing; the whole group fails with TR_AGGREGATE_MOVED unless, with TR_EXPECT_VERSION, the
     * aggregate's newest event is `version` (0: it has none), with EXISTS it has events, with NONE it has
     * none.
     */
    bool check_only;
} tr_group_member;

typedef struct tr_group_options {
    bool force;  /**< of all; with TR_EXPECT_VERSION only */
    bool strict; /**< as above */
} tr_group_options;

/**
 * Pushes events of several stores and tables in one transaction (also if it is one event): all or none. At
 * most TR_EVENT_GROUP_MAX actions, where an event counts 1, `strict` 1 per aggregate, and a check 1 (with
 * TR_EXPECT_VERSION and a version above 0: 2). Stores of both layouts in one group are refused, and so are
 * events with different timestamps; those without one share one. All stores must have the same client. With a
 * mode other than TR_EXPECT_VERSION an aggregate's members must all have that mode, and are numbered in the
 * order given.
 */
int tr_eventstore_group(const tr_group_member *members, size_t count, const tr_group_options *options,
                        tr_push_fn *fn, void *ctx, tr_error *err);
/** Blocks. Fills in versions and timestamps of the members' events. ret_failed (may be NULL): as in
 * tr_pushed, and the member for which the group was refused (TR_EINVAL), if it was for one. */
int tr_eventstore_group_wait(tr_group_member *members, size_t count, const tr_group_options *options,
                             tr_arena *arena, size_t *ret_failed, tr_error *err);

/* --------------------------------------------------------------------------------------------- reading */

/** The order asked of the service; both of the first two read forwards, but castore's requests tell them
 * apart. */
typedef enum tr_event_order { TR_ORDER_DEFAULT = 0, TR_ORDER_FORWARD, TR_ORDER_REVERSE } tr_event_order;

typedef struct tr_events_range {
    uint64_t min_version, max_version; /**< inclusive; 0: no bound */
    uint64_t limit;                    /**< events at most; 0: all (castore's limit is a page size) */
    tr_event_order order;
} tr_events_range;

/** Return 0 to go on, anything else to stop with that code. The event is valid during the call. */
typedef int tr_event_fn(void *ctx, const tr_event *event);
typedef void tr_events_done_fn(void *ctx, int code, const tr_error *err);

/** Reads an aggregate's events, consistently, page by page; `each` and then `done`, once, run on the I/O
 * thread. An aggregate without events is no error. range may be NULL. */
int tr_eventstore_get(tr_eventstore *store, tr_view aggregate_id, const tr_events_range *range,
                      tr_event_fn *each, tr_events_done_fn *done, void *ctx, tr_error *err);
/** The same with `each` on the calling thread, where it may take its time. */
int tr_eventstore_get_wait(tr_eventstore *store, tr_view aggregate_id, const tr_events_range *range,
                           tr_event_fn *each, void *ctx, tr_error *err);

/** What to list. Members that are set override those of the page token. */
typedef struct tr_list_options {
    uint64_t limit;       /**< of one page; 0: what fits into one (1 MB) */
    tr_view after;        /**< aggregates whose initial event has this timestamp or a later one */
    tr_view before;       /**< … or an earlier one */
    tr_event_order order; /**< by the initial event's timestamp */
    tr_view page_token;   /**< from an earlier page, ours or castore's */
} tr_list_options;

typedef struct tr_listed {
    tr_view aggregate_id, initial_event_timestamp;
} tr_listed;
/** One page. Valid during the callback only. */
typedef struct tr_listing {
    const tr_listed *aggregates;
    size_t count;
    tr_view next_page_token; /**< empty at the end */
} tr_listing;
typedef void tr_list_fn(void *ctx, int code, const tr_listing *listing, const tr_error *err);

/** Lists a store's aggregates, one page, from the index of initial events (eventually consistent). TR_EINVAL
 * "Invalid page token". */
int tr_eventstore_list(tr_eventstore *store, const tr_list_options *options, tr_list_fn *fn, void *ctx,
                       tr_error *err);
/** Blocks. What ret_listing points to is in the arena. */
int tr_eventstore_list_wait(tr_eventstore *store, const tr_list_options *options, tr_arena *arena,
                            tr_listing *ret_listing, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
