/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_BUS_BUS_H
#define TAILRACE_BUS_BUS_H

/**
 * bus.h: the embedded EventBridge below its wire protocol, and the part of SQS that dead letters need.
 *
 * Buses, rules with their targets, archives, replays and queues are resources: each is a JSON document (what
 * its Describe operation tells, and what belongs to it) under a kind and a name, kept in the store and read
 * back at start. What the bus needs to work with is parsed from the document once, when it is put.
 *
 *   event --publish--> matcher of its bus --> per target: another bus, a queue: at once, in the same batch
 *                                         |              everything else: a delivery, kept until it is done
 *                                         +-> per archive: a delivery into SQLite
 *
 * All writes join the engine's batch and are durable with its tickets. A delivery starts once the state that
 * holds it is durable. Thread: the engine's; the functions of src/bus never block but for archives.
 */

#include "engine/engine.h"

#include <tailrace/archive.h>
#include <tailrace/engine.h>
#include <tailrace/pattern.h>

struct tr__loop;

typedef struct tr_bus tr_bus;

typedef struct tr_bus_options {
    tr_engine *engine;     /**< Required: must outlive the bus. */
    struct tr__loop *loop; /**< Optional: without it nothing is delivered to URLs and functions. */
    const char *dir;       /**< Optional: archives lie in DIR/archive; NULL: in memory. */
    const char *region;    /**< Optional: "us-east-1". */
    const tr_server_function *functions; /**< copied */
    size_t function_count;
    int64_t retry_base_ms; /**< of the backoff between attempts; 0: 1 s */
    int64_t retry_cap_ms;  /**< its longest pause; 0: 10 min */
    bool retry_fixed;      /**< pause for retry_base_ms each time */
    bool limit_retries;    /**< of targets without a RetryPolicy: `retries`; else 185 */
    uint32_t retries;
    int64_t event_age_ms; /**< of targets without a RetryPolicy; 0: 24 h */
    void (*on_function_log)(void *ctx, const char *function, tr_view line); /**< Optional. */
    void *function_log_ctx;
    void (*wake)(void *ctx); /**< Optional: an attempt is over: let the engine's thread call tr_bus_run soon.
                                From any thread. */
    void *wake_ctx;
    tr_logger logger;
} tr_bus_options;

/** Reads what the store holds and goes on with what is pending. TR_ECORRUPT, TR_EIO, TR_ENOMEM. */
int tr_bus_open(const tr_bus_options *options, tr_bus **ret_bus, tr_error *err);
/** The server's own address, for the environment of functions that start from now on. Opens what their
 * failures go to: TR_ENOTFOUND, TR_EINVAL, TR_EIO …, TR_ENOMEM. */
int tr_bus_set_endpoint(tr_bus *bus, const char *endpoint, tr_error *err);
/** Ends the processes of a function; its next event meets fresh ones. */
void tr_bus_restart_function(tr_bus *bus, tr_view name);
/** Stops deliveries; what is not done goes on when the store is opened anew. NULL is fine. */
void tr_bus_close(tr_bus *bus);
/**
 * Starts what is due and durable. Call after tr_engine_poll, and when the time it returned (milliseconds) has
 * passed. Stages writes.
 */
int64_t tr_bus_run(tr_bus *bus);
/** Account in ARNs. */
#define TR_BUS_ACCOUNT "000000000000"

/* ------------------------------------------------------------------------------------------ resources */

typedef enum tr_res_kind {
    TR_RES_BUS,
    TR_RES_RULE, /* its name is BUS|RULE */
    TR_RES_ARCHIVE,
    TR_RES_REPLAY,
    TR_RES_QUEUE,
    TR_RES_CONNECTION,
    TR_RES_DESTINATION,
    TR_RES_KINDS
} tr_res_kind;

/** Resources of a kind, at most. */
#define TR_RES_MAX 100000

typedef struct tr_res {
    tr_res_kind kind;
    tr_view name;
    tr_view doc; /* a JSON object */
    void *state; /* of the kind; private */
} tr_res;

/** NULL if there is none. Valid until it is put or deleted. */
tr_res *tr_bus_find(tr_bus *bus, tr_res_kind kind, tr_view name);
/** The first whose name is greater than `after`, or NULL. */
tr_res *tr_bus_next(tr_bus *bus, tr_res_kind kind, tr_view after);
/** Creates or replaces. The document has been validated; TR_EINVAL with the service's type and message for
 * what only parsing finds (patterns, transformers). */
int tr_bus_put(tr_bus *bus, tr_res_kind kind, tr_view name, tr_view doc, tr_error *err);
/** Replaces the document where nothing that is parsed from it changes (tags, descriptions, states). */
int tr_bus_update(tr_bus *bus, tr_res *res, tr_view doc);
/** With all that belongs to it: rules of a bus, messages of a queue, events of an archive. */
void tr_bus_delete(tr_bus *bus, tr_res *res);

/** A member of a document that is a string, decoded; empty with ptr NULL if it is not there. */
tr_view tr_doc_text(tr_view doc, const char *name, tr_arena *arena);
/** A whole number; `otherwise` if it is not there. */
int64_t tr_doc_int(tr_view doc, const char *name, int64_t otherwise);
/** The raw text of a member, or an empty view with ptr NULL. */
tr_view tr_doc_raw(tr_view doc, const char *name);
/** The document with a member set to a raw value (ptr NULL: left out), appended to `out`. */
void tr_doc_with(tr_view doc, const char *name, tr_view raw, tr_buf *out);
/** The elements of a JSON array; TR_EPARSE, TR_ENOMEM. */
int tr_doc_elements(tr_view array, tr_arena *arena, tr_view **ret_elements, size_t *ret_count);

/* --------------------------------------------------------------------------------------------- events */

/** An entry of PutEvents, validated. */
typedef struct tr_bus_entry {
    tr_view source, detail_type, detail; /* detail: JSON, an object */
    tr_view resources;                   /* JSON, an array; empty: none */
    int64_t time_ms;
    tr_view replay_name; /* of an event that comes with a replay: it is not archived; empty: none */
    tr_view filters;     /* with replay_name: JSON array of the ARNs of rules that it goes to; empty: all */
} tr_bus_entry;

/** Room for deliveries that are not done; more are refused with TR_ETHROTTLED. */
#define TR_BUS_PENDING_MAX 1000000

/** Publishes on a bus, by name; an unknown bus takes it and forgets it. ret_id: the event's, TR_UUID_LEN + 1.
 */
int tr_bus_publish(tr_bus *bus, tr_view bus_name, const tr_bus_entry *entry, char *ret_id, tr_error *err);
/** Deliveries that are not done. */
size_t tr_bus_pending(const tr_bus *bus);

/* --------------------------------------------------------------------------------------------- queues */

typedef struct tr_queue tr_queue;

typedef struct tr_message {
    uint64_t id;
    int64_t sent_ms, visible_ms, first_received_ms;
    uint32_t received;
} tr_message;

/** A number for a new queue's document. */
uint32_t tr_queue_number(tr_bus *bus);
/** Body and attributes of a message to be sent. attributes: JSON as in MessageAttributes; empty: none. */
int tr_queue_send(tr_bus *bus, tr_res *queue, tr_view body, tr_view attributes, int64_t delay_ms,
                  char *ret_id, tr_error *err);
/** What a message holds: {"MessageId","Body","MessageAttributes"}, in the arena. */
int tr_queue_read(tr_bus *bus, tr_res *queue, const tr_message *message, tr_arena *arena, tr_view *ret_doc,
                  tr_error *err);
/** The next visible message, now invisible for visibility_ms; NULL if there is none. */
tr_message *tr_queue_receive(tr_bus *bus, tr_res *queue, int64_t visibility_ms);
/** By id; NULL. */
tr_message *tr_queue_find(tr_res *queue, uint64_t id);
void tr_queue_set_visible(tr_bus *bus, tr_res *queue, tr_message *message, int64_t visible_ms);
void tr_queue_remove(tr_bus *bus, tr_res *queue, tr_message *message);
void tr_queue_purge(tr_bus *bus, tr_res *queue);
void tr_queue_count(tr_bus *bus, tr_res *queue, size_t *ret_visible, size_t *ret_in_flight,
                    size_t *ret_delayed);
/** Rises whenever a message may have become visible. */
uint64_t tr_queue_news(const tr_bus *bus);

/* ------------------------------------------------------------------------------------------- archives */

/** Events and bytes of an archive that pass the filter (its pattern aside), with what is on its way into it.
 */
int tr_archive_count(tr_bus *bus, tr_res *archive, const tr_archive_filter *filter, int64_t *ret_events,
                     int64_t *ret_bytes, tr_error *err);
/** As tr_archive_file_read. */
int tr_archive_read(tr_bus *bus, tr_res *archive, const tr_archive_filter *filter, unsigned limit,
                    tr_archive_row_fn *fn, void *ctx, int64_t *ret_next, tr_error *err);
typedef struct tr_archive_imported {
    uint64_t taken, known; /**< known: left out, since they are there */
} tr_archive_imported;
/** Adds events (envelopes) that match the archive's pattern and are not there yet (by time and id), behind
 * all others; durable when it returns. */
int tr_archive_import(tr_bus *bus, tr_res *archive, const tr_view *events, size_t count,
                      tr_archive_imported *ret_counts, tr_error *err);
/** As tr_archive_file_prune. */
int tr_archive_prune(tr_bus *bus, tr_res *archive, const tr_archive_filter *filter, unsigned limit,
                     uint64_t *ret_count, tr_error *err);
/** The time before which its retention keeps nothing; 0: it keeps all. */
int64_t tr_archive_horizon(tr_bus *bus, const tr_res *archive);

#endif
