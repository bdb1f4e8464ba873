/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_BUS_PRIVATE_H
#define TAILRACE_BUS_PRIVATE_H

/**
 * bus_private.h: what the files of src/bus share.
 *
 * Keys of the store (family TR_KV_BUS), numbers big-endian; values begin with TR__BUS_VERSION:
 *
 *   'R' kind name                 a resource's document
 *   'N'                           next number of an event or message
 *   'E' event                     time received, envelope
 *   'D' event index               a delivery: kind, attempts, created, due, length of the name, name,
 * target's id 'M' queue message             time sent, document of the message 'V' queue message visible
 * from, received first, times received
 */

#include "bus/bus.h"

#include <pthread.h>

#define TR__BUS_VERSION 1
#define TR__BUS_TEXT_MAX                                                                                     \
    ((size_t)4 * 1024 * 1024)   /* of an event, with what an input transformer makes of it */
#define TR__BUS_HOPS_MAX   8    /* from bus to bus to bus */
#define TR__BUS_RELAYS_MAX 1000 /* times that one event is put on a bus; buses may lead in circles */
#define TR__BUS_KEPT_MAX   ((size_t)64 * 1024 * 1024) /* envelopes of pending deliveries kept in memory */

typedef struct tr_delivery tr_delivery;

/** An event with deliveries that are not done. */
typedef struct tr_bus_event {
    uint64_t number, ticket;
    int64_t received_ms;
    uint32_t refs;
    size_t len;
    char *text; /* NULL: in the store only */
} tr_bus_event;

typedef enum tr_target_kind {
    TR_TARGET_NOWHERE, /* an ARN of something that is not here */
    TR_TARGET_BUS,
    TR_TARGET_QUEUE,
    TR_TARGET_TABLE,
    TR_TARGET_URL,
    TR_TARGET_FUNCTION,
    TR_TARGET_SINK, /* a failure destination of src/handler */
    TR_TARGET_ARCHIVE
} tr_target_kind;

/** Where events go: a target of a rule, or an archive. Lives while a rule or a delivery holds it. */
typedef struct tr_target {
    unsigned refs;
    tr_target_kind kind;
    char *doc;                     /* as given to PutTargets */
    char *owner;                   /* "BUS|RULE", or the archive's name */
    char *id, *arn, *dead_letters; /* dead_letters: ARN, or NULL */
    char *input, *path, *rule_arn;
    struct tr__bus_input *made; /* compiled input path or transformer; see input.c */
    uint32_t retries;
    int64_t age_ms;
    int64_t retry_base_ms, retry_cap_ms; /* its own pauses; 0: the bus' */
    int64_t interval_us, next_us;        /* rate: between starts, and the earliest next one; monotonic */
    struct tr_input_path *order;         /* what deliveries are kept in order by, or NULL */
    struct tr_lane *lanes;               /* see order.c */
    bool failures; /* of a function: what it is given is failure records, see failure.c */
    struct tr_failure_sink *sink;
    unsigned active, concurrency;
    tr_delivery *first, *last; /* ready */
    struct tr_target *next_ready;
    bool listed; /* in bus->ready */
} tr_target;

struct tr_delivery {
    tr_delivery *next;
    tr_bus_event *event;
    tr_target *target;
    struct tr_lane *lane;   /* NULL: in no order */
    tr_delivery *lane_next; /* behind it in its lane */
    uint32_t index, attempts;
    int64_t created_ms, due_ms;
};

/** First member of what a matcher's id points to. */
typedef struct tr_matched {
    tr_res_kind kind;
    tr_res *res;
} tr_matched;

typedef struct tr_event_bus {
    tr_matcher *matcher;
    bool changed;
} tr_event_bus;

typedef struct tr_rule {
    tr_matched matched;
    tr_event_bus *bus;
    tr_pattern *pattern;
    char *arn;
    tr_target **targets;
    size_t target_count;
} tr_rule;

typedef struct tr_archive {
    tr_matched matched;
    tr_event_bus *bus;
    tr_pattern *pattern;
    tr_target *target;
    tr_archive_file *file;
    int64_t next_trim_ms;
} tr_archive;

typedef struct tr_res_list {
    tr_res **items;
    size_t count, cap;
} tr_res_list;

typedef struct tr_attempt tr_attempt;
typedef struct tr__bus_function tr__bus_function;

struct tr_bus {
    tr_bus_options options;
    tr_engine *engine;
    tr_kv *kv;
    char *region, *dir, *endpoint;
    tr_res_list res[TR_RES_KINDS];
    uint64_t next_number;
    tr_rng rng;
    tr_match_ctx *match;
    tr_arena arena;         /* of a publish */
    tr_buf text;            /* scratch of a delivery's input */
    tr_buf key;             /* scratch of order.c */
    unsigned depth, relays; /* of the event being published */
    uint64_t news;
    /* deliveries */
    size_t pending, kept_bytes;
    tr_delivery **later; /* heap by due_ms */
    size_t later_count, later_cap;
    tr_target *ready;
    tr_attempt *attempts;
    struct tr__loop *sinks; /* the thread of failure destinations, once there is one */
    pthread_mutex_t lock;
    tr_attempt *over; /* under the lock: attempts that other threads are done with */
    struct tr_http_client *http;
    tr__bus_function *functions;
    size_t function_count;
    bool closing, replaying;
    int64_t archive_due_ms;
    int64_t rate_ms; /* of this run: until a target's rate lets something start */
};

/* resources.c */
int tr__res_load(tr_bus *bus, tr_error *err);
void tr__res_done(tr_bus *bus);
/** Stages the document as it is now. */
void tr__res_stage(tr_bus *bus, const tr_res *res);

/* rules.c: what is parsed from documents. */
int tr__bus_state_new(tr_bus *bus, tr_res *res, const tr_res *old, void **ret_state, tr_error *err);
/** Begins (or stops) to take part. The old one, if any, has stopped. */
int tr__bus_state_attach(tr_bus *bus, tr_res *res, tr_error *err);
void tr__bus_state_detach(tr_bus *bus, tr_res *res);
void tr__bus_state_free(tr_bus *bus, tr_res_kind kind, void *state);
void tr__bus_target_unref(tr_target *target);
tr_target *tr__bus_target_find(tr_bus *bus, char kind, tr_view owner, tr_view id);
/** A target that no rule has, with one reference. NULL without memory. */
tr_target *tr__bus_target_new(tr_bus *bus, tr_view owner, tr_view id, tr_view arn);
/** NAME in an ARN of a service: "event-bus/NAME", "table/NAME", "function:NAME", or SQS's last part. */
tr_view tr__arn_name(tr_view arn, const char *service, const char *type);

/* publish.c */
typedef struct tr_publish {
    tr_view text;    /* the envelope */
    tr_view filters; /* of a replay: JSON array of rule ARNs; empty: all */
    bool replayed;
} tr_publish;
int tr__bus_relay(tr_bus *bus, tr_view bus_name, const tr_publish *publish, tr_error *err);

/* deliver.c */
typedef struct tr_outcome {
    bool done, retry;
    const char *code; /* as in ERROR_CODE */
    const char *message;
    tr_view payload; /* of a function that failed: {"errorType":…,"errorMessage":…,"trace":[…]}; else empty */
} tr_outcome;
int tr__bus_deliver_load(tr_bus *bus, tr_error *err);
void tr__bus_deliver_done(tr_bus *bus);
/** A new pending delivery; *event is made with the first one. */
int tr__bus_deliver_later(tr_bus *bus, tr_target *target, tr_view text, uint32_t index, tr_bus_event **event);
/** What became of an attempt. Frees the delivery or puts it on the list of those to repeat. */
void tr__bus_deliver_finish(tr_bus *bus, tr_delivery *delivery, const tr_outcome *outcome);
/** Forgets one that is under way; it stays in the store. */
void tr__bus_deliver_forget(tr_bus *bus, tr_delivery *delivery);
/** Delivers at once to a bus or queue of ours. */
tr_outcome tr__bus_deliver_inside(tr_bus *bus, tr_target *target, tr_view input);
/** To the target's queue for dead letters, if it has one. condition: NULL, or which limit is exhausted. */
void tr__dead_letter(tr_bus *bus, const tr_target *target, tr_view event, const tr_outcome *outcome,
                     const char *condition, uint32_t retries);
/** The envelope, from memory or the store (into `out`). */
int tr__event_text(tr_bus *bus, const tr_bus_event *event, tr_buf *out, tr_view *ret_text);

/* order.c: lanes of a target, in which one delivery waits for the one before it to be done with. */
/** A new delivery joins the lane of its event, if its target has an order. False: others are before it. */
bool tr__order_enter(tr_bus *bus, tr_delivery *delivery);
/** A delivery at the front of its lane leaves; returns the one whose turn it is now, or NULL. */
tr_delivery *tr__order_leave(tr_delivery *delivery);

/* failure.c */
/** Appends the failure record of an event that a function was given and that was given up. condition: as in
 * the dead letter's attribute. TR_ENOMEM, TR_ELIMIT. */
int tr__failure_record(tr_bus *bus, const tr_delivery *delivery, tr_view input, const tr_outcome *outcome,
                       const char *condition, tr_buf *out);
/** Opens a function's destination as a target. TR_EINVAL, TR_ENOMEM, and what opening a sink gives. */
int tr__failure_target(tr_bus *bus, const char *function, const char *destination, tr_target **ret_target,
                       tr_error *err);
/** Opens the sink of a destination that is one, if it is not open. */
int tr__failure_open(tr_bus *bus, tr_target *target, tr_error *err);
/** The failure record as an item of a table, plain JSON, and as an event of a bus of this server. */
int tr__failure_item(const tr_target *target, tr_view record, tr_buf *out);
tr_outcome tr__failure_publish(tr_bus *bus, const tr_target *target, tr_view record);
/** Puts a failure record into a sink; blocks. */
int tr__failure_put(tr_target *target, tr_view record, tr_error *err);

/* input.c */
int tr__bus_input_compile(tr_target *target, tr_view doc, tr_error *err);
void tr__bus_input_free(tr_target *target);
/** What the target is given of an event; a view into `out`, the target, or the event. */
int tr__bus_input_make(const tr_target *target, tr_view event, int64_t received_ms, tr_buf *out,
                       tr_view *ret_input, tr_error *err);

/* send.c */
int tr__bus_send_open(tr_bus *bus, tr_error *err);
void tr__bus_send_close(tr_bus *bus);
/** Starts an attempt; tr__bus_deliver_finish is called when it is over, maybe before this returns. */
void tr__bus_send(tr_bus *bus, tr_delivery *delivery);
/** Takes note of attempts that are over. */
void tr__bus_send_collect(tr_bus *bus);
/** Whether a function of that name is registered. */
bool tr__bus_send_knows(const tr_bus *bus, tr_view function);
unsigned tr__bus_send_concurrency(const tr_bus *bus, tr_view function);
/** Opens the sinks of all functions' destinations. */
int tr__bus_send_failures_open(tr_bus *bus, tr_error *err);
/** Where its failure records go, or NULL. */
tr_target *tr__bus_send_failures(const tr_bus *bus, tr_view function);

/* queue.c */
int tr__queue_new(tr_bus *bus, tr_res *res, const tr_res *old, void **ret_state, tr_error *err);
void tr__queue_free(void *state);
int tr__queue_load(tr_bus *bus, tr_error *err);
void tr__queue_drop(tr_bus *bus, tr_res *res);
int64_t tr__queues_due(tr_bus *bus, int64_t now);

/* item.c */
/** Whether the packed item has the table's key attributes, and those of indexes that it has are of their
 * types. */
bool tr_bus_item_fits(const tr_table *table, tr_item item);

/* archive.c */
int tr__archive_open(tr_bus *bus, tr_res *res, tr_archive *archive, tr_error *err);
void tr__archive_close(tr_archive *archive);
void tr__archive_drop(tr_bus *bus, tr_res *res);
/** Puts the ready deliveries of an archive into it, those up to the state that is durable. */
void tr__archive_take(tr_bus *bus, tr_target *target, uint64_t synced);
void tr__archives_trim(tr_bus *bus, int64_t now);

/* replay.c */
/** A step of each replay that runs. Returns whether there is more to do. */
bool tr__replays_step(tr_bus *bus);

/* keys and values */
static inline void tr__bus_value_put(tr_bus *bus, tr_view key, const tr_view *parts, size_t count)
{
    tr_kv_batch_putv(tr_engine_batch(bus->engine), TR_KV_BUS, &key, 1, parts, count);
}
static inline void tr__bus_value_delete(tr_bus *bus, tr_view key)
{
    tr_kv_batch_delete(tr_engine_batch(bus->engine), TR_KV_BUS, key);
}
/** A new number, higher than all before; durable with the batch. */
uint64_t tr__bus_number(tr_bus *bus);
/** From now on numbers are above this one. */
void tr__bus_number_above(tr_bus *bus, uint64_t number);
/** A copy that tr_free frees, NUL-terminated; NULL without memory. */
char *tr__bus_copy(tr_view text);

#endif
