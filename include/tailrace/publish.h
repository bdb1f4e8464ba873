/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PUBLISH_H
#define TAILRACE_PUBLISH_H

/**
 * tailrace/publish.h: publishing events on an EventBridge bus, on AWS or the embedded one, losing none.
 *
 * A tr_publisher takes entries from any thread, sends them with PutEvents in requests of up to 10 entries,
 * repeats what failed (of a request of which some entries were refused, those alone), and tells for each
 * entry, once, what became of it:
 *
 *     tr_publisher_options o = {.bus = "orders"};
 *     tr_publisher_new(client, &o, &publisher, &err);
 *     tr_publish_entry e = {.source = TR_VIEW("shop"), .detail_type = TR_VIEW("paid"), .detail = json};
 *     tr_publisher_put(publisher, &e, -1, on_done, ctx, &err);        (or tr_publisher_put_wait)
 *     tr_publisher_flush(publisher, -1, &err);
 *     tr_publisher_free(publisher);
 *
 * What is promised
 * - At least once: an entry whose request had no answer (the connection broke, it timed out) is sent again,
 * and may then be on the bus twice. The service has no means against that; `unknown` of the statistics counts
 * them.
 * - Order: entries are sent in the order in which they were put. Several requests are under way at a time,
 * and entries that failed alone come later than their successors, so that order is not kept as a whole. It is
 * kept among entries that have the same `key`: they are never in two requests at a time, and while one of
 * them waits for its retry the later ones wait behind it. Within one request the service may still refuse an
 * entry and take its successor; with `strict_order` only one entry of a key is under way at a time.
 * - A refusal that will not pass (malformed entries, not authorized for the source, too large) is given up at
 * once. Where a whole request is refused, its entries are sent again one by one, so that one does not spoil
 * nine others. Everything else is retried with jittered backoff, until `retries` or `age_ms` are used up.
 * - What is given up goes to `on_failure`, if there is one, which is repeated until it takes it.
 * - Memory is bounded: max_entries, max_bytes; tr_publisher_put waits or tells TR_EBUSY.
 *
 * Concurrency: in_flight requests at a time. A request goes off when it is full, when no other is under way,
 * or when its oldest entry has waited for linger_ms: alone, an entry waits for nothing; many fill requests.
 *
 * Threads: tr_publisher_put and the rest may be called from any thread; what waits is refused on the client's
 * I/O thread (TR_ETHREAD). Results are told on that I/O thread, those of what was given up on a thread of the
 * publisher's own where there is an on_failure. The client must outlive tr_publisher_free.
 */

#include <tailrace/base.h>
#include <tailrace/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Entries of a request (API Reference, PutEvents). */
#define TR_PUBLISH_ENTRIES_MAX 10
/** Bytes of a request's entries, as tr_publish_size counts them (User Guide, "PutEvents event entry size").
 */
#define TR_PUBLISH_BYTES 262144
/** What request_bytes may be set to: 1 MB, where the service has raised the limit. */
#define TR_PUBLISH_BYTES_MAX 1048576

/** An event to be. Zero-initialise, set what you need. Everything is copied. */
typedef struct tr_publish_entry {
    tr_view source;           /**< Required */
    tr_view detail_type;      /**< Required */
    tr_view detail;           /**< Required: JSON, an object */
    tr_view bus;              /**< Optional: name or ARN; else the publisher's */
    const tr_view *resources; /**< Optional: ARNs that the event is about */
    size_t resource_count;
    bool has_time;
    int64_t time_ms;      /**< with has_time: when it happened, since 1970; sent in whole seconds */
    tr_view trace_header; /**< Optional: of X-Ray */
    tr_view key;          /**< Optional: entries of one key keep their order; not sent */
} tr_publish_entry;

/** What the entry counts towards the size of a request: 14 if it has a time, and the bytes of source,
 * detail type, detail and resources (User Guide, "PutEvents event entry size"). */
size_t tr_publish_size(const tr_publish_entry *entry);

/** Resources of an event that is read; the service sets no number (API Reference, PutEventsRequestEntry). */
#define TR_PUBLISH_RESOURCES_MAX 1000
/** An event as it was on a bus, {"source":…,"detail-type":…,"detail":…,"time":…,"resources":[…]}, as an
 * entry; other members are the bus' to set. Texts are in the arena or the event. TR_EINVAL: something is
 * missing, or is not what it should be. */
int tr_publish_read_event(tr_view event, tr_arena *arena, tr_publish_entry *ret_entry, tr_error *err);

/** TR_ENOTFOUND if the bus (name or ARN; NULL: default) is surely not there, whose events the service would
 * take and lose. Whatever else keeps it from being told, such as a missing right to DescribeEventBus, is 0.
 * Blocks. */
int tr_publish_check_bus(tr_client *client, const char *bus, tr_error *err);

/** What became of an entry. Views are valid during the call. */
typedef struct tr_publish_result {
    int code;         /**< 0: published. Else why it was given up: TR_ESERVICE (refused), TR_ELIMIT (too
                         large), TR_ETHROTTLED, TR_ECONNECT … (the last failure), TR_ECANCELED */
    tr_view event_id; /**< published: as the service named it */
    uint64_t attempts;
    bool kept; /**< given up, and on_failure has taken it */
    const tr_error *err;
} tr_publish_result;
typedef void tr_publish_fn(void *ctx, const tr_publish_result *result);

/** An entry that was given up. Views are valid during the call. */
typedef struct tr_publish_failure {
    tr_view entry; /**< JSON, as in PutEvents: {"Source":…,"DetailType":…,"Detail":"…","EventBusName":…} */
    tr_view detail;        /**< its detail, JSON */
    const char *condition; /**< "RetriesExhausted", "EventAgeExceeded", or "Refused" if it was not retried */
    uint64_t attempts;
    const tr_error *err; /**< of the last attempt */
    void *ctx;           /**< as given to tr_publisher_put */
} tr_publish_failure;
/** Returns 0 once the failure would survive a crash; else it is called again after a pause. May block. */
typedef int tr_publish_failure_fn(void *ctx, const tr_publish_failure *failure, tr_error *err);

/** Zero-initialise, set what you need. Text is copied. */
typedef struct tr_publisher_options {
    const char *bus;        /**< Optional: name or ARN, for entries that name none; NULL: the default bus */
    size_t request_bytes;   /**< 0: TR_PUBLISH_BYTES; at most TR_PUBLISH_BYTES_MAX */
    size_t request_entries; /**< 0: TR_PUBLISH_ENTRIES_MAX, which is also the most */
    unsigned in_flight;     /**< requests at a time; 0: 8 */
    bool strict_order;      /**< see above */
    int64_t linger_ms;      /**< 0: 5 */
    bool limit_retries;     /**< else an entry is retried until it is published, unless refused for good */
    uint64_t retries;       /**< with limit_retries: after the first attempt */
    int64_t age_ms;         /**< since it was put; 0: no limit */
    int64_t retry_min_ms, retry_max_ms; /**< even in [0, min · 2^n], at most max; 0: 100 and 30,000 */
    int64_t timeout_ms;                 /**< of a request; 0: the client's */
    size_t max_entries;                 /**< not done; 0: 10,000 */
    size_t max_bytes;                   /**< of memory of those; 0: 64 MiB. One entry is always taken. */
    bool wait_for_bus; /**< A bus that cannot be reached, or throttles whole requests, is waited for: that
                          uses up no retries. */
    /**
     * For replays onto tailrace's own bus: its events are marked with this name and not archived, and go to
     * the rules of these ARNs only (none: to all that match). Not sent to AWS.
     */
    const char *replay_name;
    const char *const *rules;
    size_t rule_count;
    tr_publish_failure_fn *on_failure; /**< Optional: the failure destination; runs on a thread of its own */
    void *failure_ctx;
    tr_logger logger;
} tr_publisher_options;

typedef struct tr_publisher tr_publisher;

/** TR_EINVAL (err tells which option), TR_ENOMEM. */
int tr_publisher_new(tr_client *client, const tr_publisher_options *options, tr_publisher **ret_publisher,
                     tr_error *err);
/** What is not done is told TR_ECANCELED, that of requests under way too; nothing is called afterwards. Not
 * on the client's I/O thread, and not from on_failure. NULL is fine. */
void tr_publisher_free(tr_publisher *publisher);

/**
 * Puts an entry at the end of the queue. While the publisher is full it waits up to timeout_ms (0: not at
 * all, negative: for ever), then TR_EBUSY. fn may be NULL. Promise: after 0 fn runs exactly once; after an
 * error never. TR_EINVAL: source, detail type or detail is missing. TR_ENOMEM, TR_ETHREAD.
 */
int tr_publisher_put(tr_publisher *publisher, const tr_publish_entry *entry, int64_t timeout_ms,
                     tr_publish_fn *fn, void *ctx, tr_error *err);
/** The same, and waits for the outcome: 0 if it was published. ret_event_id (TR_UUID_LEN + 1) may be NULL. */
int tr_publisher_put_wait(tr_publisher *publisher, const tr_publish_entry *entry, char *ret_event_id,
                          tr_error *err);
/** Waits until everything that was put before the call is done, published or given up. TR_ETIMEOUT. */
int tr_publisher_flush(tr_publisher *publisher, int64_t timeout_ms, tr_error *err);

typedef struct tr_publisher_stats {
    uint64_t entries;   /**< put */
    uint64_t published; /**< done */
    uint64_t given_up;
    uint64_t requests, retries;    /**< retries: of entries */
    uint64_t throttles;            /**< entries or requests that were throttled */
    uint64_t unknown;              /**< entries of requests without an answer: may be on the bus twice */
    size_t waiting, waiting_bytes; /**< not done */
} tr_publisher_stats;
void tr_publisher_get_stats(tr_publisher *publisher, tr_publisher_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
