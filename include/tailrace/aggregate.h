/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_AGGREGATE_H
#define TAILRACE_AGGREGATE_H

/**
 * tailrace/aggregate.h: folding events into aggregates, snapshots of them, and commands.
 *
 *     struct account { int64_t balance; bool closed; };
 *
 *     static int apply(void *ctx, void *state, const tr_event *event, tr_error *err) { … }
 *
 *     static const tr_reducer account = {.name = "account", .version = "1", .size = sizeof(struct account),
 *                                        .apply = apply};
 *     tr_aggregate *a;
 *     tr_aggregate_get_wait(accounts, &account, TR_VIEW("a-1"), NULL, &a, &err);
 *     const struct account *state = tr_aggregate_state(a);
 *     tr_aggregate_free(a);
 *
 * A reducer must be a function of state and event alone: the same events give the same aggregate, today and
 * in ten years. Reducers and decisions run on the client's I/O thread and must not block.
 */

#include <tailrace/eventstore.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -------------------------------------------------------------------------------------------- reducers */

/** What an aggregate is made of. Must outlive the aggregates. */
typedef struct tr_reducer {
    const char *name;    /**< For snapshots: not empty, without '#' and '@'. */
    const char *version; /**< For snapshots: one made with another version is not looked at. Change it
                            whenever apply would give something else. Without '#'. */
    size_t size;         /**< Bytes of a state; it starts zeroed. */
    void *ctx;           /**< Handed to the functions. */
    int (*init)(void *ctx, void *state); /**< Optional: makes the state of an aggregate without events. */
    /** Required: folds an event in. An error other than 0 ends the reading with that code. */
    int (*apply)(void *ctx, void *state, const tr_event *event, tr_error *err);
    void (*done)(void *ctx, void *state); /**< Optional: frees what the state owns. */
    /** For snapshots: writes the state's members (between tr_pack_item_begin and _end), and reads them back
     * into a fresh state. */
    int (*save)(void *ctx, const void *state, tr_packer *packer);
    int (*load)(void *ctx, void *state, tr_item saved);
} tr_reducer;

typedef struct tr_aggregate tr_aggregate;
/** The state that the reducer made; never NULL. Yours to change, if it is of use. */
void *tr_aggregate_state(const tr_aggregate *aggregate);
/** Version of the newest event in it; 0: there is none. */
uint64_t tr_aggregate_version(const tr_aggregate *aggregate);
tr_view tr_aggregate_id(const tr_aggregate *aggregate);
/** Timestamp of the newest event in it; empty if there is none. */
tr_view tr_aggregate_timestamp(const tr_aggregate *aggregate);
/** Version of the snapshot it began from; 0: none. */
uint64_t tr_aggregate_snapshot_version(const tr_aggregate *aggregate);
/** NULL is fine. */
void tr_aggregate_free(tr_aggregate *aggregate);

/* ------------------------------------------------------------------------------------------- snapshots */

/* The snapshots' table: one item per aggregate, reducer and version. */
#define TR_SNAPSHOT_TABLE               "snapshots" /**< default name */
#define TR_SNAPSHOT_TABLE_PK            "snapshotId" /**< S: `<store>#<reducer>@<reducer's version>#<aggregate>` */
#define TR_SNAPSHOT_TABLE_SK            "version"   /**< N: of the aggregate */
#define TR_SNAPSHOT_TABLE_STATE_KEY     "state"     /**< M: what the reducer saved */
#define TR_SNAPSHOT_TABLE_TIMESTAMP_KEY "timestamp" /**< S: of the aggregate's newest event */
#define TR_SNAPSHOT_TABLE_UNTIL_KEY     "until"     /**< N: latest timestamp of its events, ms since 1970 */
#define TR_SNAPSHOT_TABLE_TTL_KEY       "expiresAt" /**< N: seconds since 1970; with ttl_ms only */

typedef struct tr_snapshots tr_snapshots;

/** All text is copied. Zero-initialise, set what you need. */
typedef struct tr_snapshots_options {
    const char
        *table;     /**< NULL: "snapshots". Never the events' table: getEvents returns all that is there. */
    uint64_t every; /**< a snapshot is due once this many events were folded behind the one before; 0: 100 */
    bool on_read;   /**< take due ones also when an aggregate is only read (else: after a command) */
    bool keep_all;  /**< keep older ones, which makes reading at an old version quicker; else a new one
                       replaces the one it was made from */
    int64_t ttl_ms; /**< life of a snapshot; 0: for ever. Versions of reducers that are gone leave theirs
                       behind. */
    tr_logger logger; /**< Snapshots never make a call fail; what is wrong with them is told here. */
} tr_snapshots_options;

/** Snapshots are written in the background. TR_EINVAL, TR_ENOMEM. The client must outlive it. */
int tr_snapshots_new(tr_client *client, const tr_snapshots_options *options, tr_snapshots **ret_snapshots,
                     tr_error *err);
/** Waits until what is being written is written. TR_ETIMEOUT, TR_ETHREAD. */
int tr_snapshots_flush(tr_snapshots *snapshots, int64_t timeout_ms);
/** NULL is fine. Writes under way go on. */
void tr_snapshots_free(tr_snapshots *snapshots);

/* ----------------------------------------------------------------------------------- reading aggregates */

/** Zero-initialise, set what you need. */
typedef struct tr_aggregate_options {
    uint64_t max_version; /**< as it was at this version; 0: the newest */
    int64_t until_ms;     /**< as it was at this time, ms since 1970: the events before the first one that is
                             later;     0: now */
    bool must_exist;      /**< TR_ENOTFOUND, TR_AGGREGATE_NOT_FOUND if there are no events */
    tr_snapshots *snapshots; /**< Optional: begin at the newest snapshot that fits. */
    tr_event_fn *each; /**< Optional: is shown every event that is read (not those within a snapshot). */
    void *each_ctx;
} tr_aggregate_options;

/** The aggregate is yours to free. */
typedef void tr_aggregate_fn(void *ctx, int code, tr_aggregate *aggregate, const tr_error *err);

/** Reads and folds an aggregate's events; options may be NULL. An aggregate without events is no error unless
 * must_exist. Reads are consistent. */
int tr_aggregate_get(tr_eventstore *store, const tr_reducer *reducer, tr_view aggregate_id,
                     const tr_aggregate_options *options, tr_aggregate_fn *fn, void *ctx, tr_error *err);
/** Blocks. */
int tr_aggregate_get_wait(tr_eventstore *store, const tr_reducer *reducer, tr_view aggregate_id,
                          const tr_aggregate_options *options, tr_aggregate **ret_aggregate, tr_error *err);
/** An aggregate without events. TR_ENOMEM, or what init returned. */
int tr_aggregate_new(const tr_reducer *reducer, tr_view aggregate_id, tr_aggregate **ret_aggregate,
                     tr_error *err);
/** Folds one more event in, which need not be pushed. Its version must follow (TR_EINVAL). */
int tr_aggregate_apply(tr_aggregate *aggregate, const tr_event *event, tr_error *err);

/**
 * What side effects an event would have: events that come with it in a simulation. Adds them with
 * tr_simulation_add; of events with one version the last counts, as in castore.
 */
typedef struct tr_simulation tr_simulation;
typedef int tr_side_effect_fn(void *ctx, tr_simulation *simulation, const tr_event *event);
/** Views are borrowed until tr_aggregate_simulate returns. */
int tr_simulation_add(tr_simulation *simulation, const tr_event *event);
typedef struct tr_simulation_options {
    tr_view until;                  /**< leave out events with a later timestamp (compared as text, as castore
                                       does); empty: none */
    tr_side_effect_fn *side_effect; /**< NULL: an event adds itself */
    void *ctx;
} tr_simulation_options;
/** The aggregate that these events would make if they were pushed in order of their timestamps, numbered from
 * 1. Nothing is read or written. */
int tr_aggregate_simulate(const tr_reducer *reducer, const tr_event *events, size_t count,
                          const tr_simulation_options *options, tr_aggregate **ret_aggregate, tr_error *err);

/* ----------------------------------------------------------------------------------- declared reducers */

/**
 * A reducer whose state is an item, described in JSON:
 *
 *   {"name":"account","version":"1","initial":{"balance":0},
 *    "events":{"OPENED":{"merge":true},
 *              "DEPOSITED":{"add":{"balance":"amount"}},
 *              "WITHDRAWN":{"subtract":{"balance":"amount"}},
 *              "RENAMED":{"set":{"owner.name":"name"}},
 *              "TAGGED":{"append":{"tags":"tag"}},
 *              "CLOSED":{"put":{"closed":true},"remove":["limit"]},
 *              "*":{"merge":true}}}
 *
 * merge: the payload is merged into the state (RFC 7396; a text instead of true names the place in the
 * state); add, subtract, set, append: place in the state ← place in the payload ("" is the whole payload);
 * put: place ← constant; remove: places. Places are names joined by dots. "*" is for types that are not
 * named; without it they change nothing. NULL or empty text: every payload is merged. Every aggregate also
 * has the members aggregateId and version.
 */
typedef struct tr_rules tr_rules;
/** TR_EPARSE, TR_EINVAL tell what is wrong. */
int tr_rules_new(tr_view json, tr_rules **ret_rules, tr_error *err);
/** NULL is fine. */
void tr_rules_free(tr_rules *rules);
/** Valid as long as the rules. */
const tr_reducer *tr_rules_reducer(const tr_rules *rules);
/** The state of an aggregate made with such a reducer: valid until it changes. */
tr_item tr_rules_state(const tr_aggregate *aggregate);

/* -------------------------------------------------------------------------------------------- commands */

/* Members of an event's metadata that commands fill in, unless they are there. */
#define TR_EVENT_CORRELATION_ID "correlationId" /**< S: the same in everything that one thing has led to */
#define TR_EVENT_CAUSATION_ID   "causationId"   /**< S: what led to this event at once: a command, an event */

/** What a command decides: events, collected. */
typedef struct tr_decision tr_decision;
/** Adds an event to the first aggregate. payload of type TR_NONE: none. Copied. */
int tr_decide(tr_decision *decision, tr_view type, tr_value payload);
/** Adds an event to aggregate number `target`; of `event` type, payload, metadata and timestamp are used.
 * metadata must be a map or absent. TR_EINVAL, TR_ENOMEM. */
int tr_decide_on(tr_decision *decision, size_t target, const tr_event *event);

/**
 * Looks at the aggregates and decides. 0: what was added is pushed (nothing added: nothing is). Anything else
 * refuses the command with that code and err.
 */
typedef int tr_decide_fn(void *ctx, const tr_aggregate *const *aggregates, tr_decision *decision,
                         tr_error *err);

/** An aggregate that a command works on. */
typedef struct tr_command_target {
    tr_eventstore *store;      /**< Required. */
    const tr_reducer *reducer; /**< Required. */
    tr_view aggregate_id;
    bool must_exist;
    tr_snapshots *snapshots; /**< Optional. */
} tr_command_target;

/** Zero-initialise, set what you need. Everything but stores, reducers and snapshots is copied. */
typedef struct tr_command {
    const tr_command_target *targets; /**< Required. */
    size_t target_count;              /**< 1 to TR_EVENT_GROUP_MAX / 2 */
    tr_decide_fn *decide;             /**< Required. May run several times. */
    void *ctx;
    bool check_all; /**< aggregates that get no events must not have moved either (tr_group_member.check_only)
                     */
    unsigned attempts;      /**< how often it may lose against other writers; 0: 20 */
    tr_view command_id;     /**< causationId of the events; empty: a new UUID */
    tr_view correlation_id; /**< empty: the cause's, else the command's id */
    const tr_event *cause;  /**< Optional: the event that led to this command. Its correlationId goes on, and
                               it  becomes the causationId: `<store>#<aggregate>#<version>`. */
    tr_view cause_store;    /**< id of the cause's store */
} tr_command;

/** code 0: `pushed` is what was pushed, and the aggregates are as they are afterwards; valid during the call.
 * TR_ECONFLICT after all attempts. */
typedef void tr_command_fn(void *ctx, int code, const tr_pushed *pushed,
                           const tr_aggregate *const *aggregates, const tr_error *err);
/**
 * Loads the aggregates, decides, pushes; what another writer has pushed meanwhile is folded in and it is
 * decided again, after a jittered wait. One event of one aggregate is a PutItem, anything else a transaction.
 */
int tr_command_run(const tr_command *command, tr_command_fn *fn, void *ctx, tr_error *err);
/** Blocks. ret_count (may be NULL): events pushed. */
int tr_command_run_wait(const tr_command *command, size_t *ret_count, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
