/* SPDX-License-Identifier: MIT */
#ifndef TR_STREAM_CORE_H
#define TR_STREAM_CORE_H

/*
 * The consumer as a state machine: no I/O, no threads, no clock. A driver (driver.c on a tr_client, tests/sim
 * on virtual time) tells it the time and the answers, sends what it requests, and takes events from it.
 *
 *   every entry:   tr__core_time (now), then one of: answer, take, ack, nack, a command
 *   after it:      while (tr__core_request(core, &req)) send(req);   and wake again at
 * tr__core_deadline(core)
 *
 * Not safe for several threads: the driver holds a lock. Nothing here calls back into the driver, except the
 * user's filter and transform.
 */

#include "stream/page.h"

typedef struct tr__core tr__core;

/* -------------------------------------------------------------------------------------------- requests */

typedef enum tr__req_kind {
    TR__REQ_DESCRIBE_TABLE = 1, /* table */
    TR__REQ_LIST_STREAMS,       /* table, exclusive_start */
    TR__REQ_DESCRIBE_STREAM,    /* stream_arn, exclusive_start; or children_of */
    TR__REQ_GET_ITERATOR,       /* stream_arn, shard_id, iterator_type, sequence_number */
    TR__REQ_GET_RECORDS,        /* iterator, limit, wait_ms; shard_id and keep_raw for decoding */
    TR__REQ_LOAD,               /* the checkpoint store's load */
    TR__REQ_SAVE,               /* state */
    TR__REQ_LEASE_DESCRIBE,     /* table: the lease table's state */
    TR__REQ_LEASE_CREATE,       /* table */
    TR__REQ_LEASE_SCAN,         /* table, exclusive_start (a lease key) */
    TR__REQ_LEASE_GET,          /* table, shard_id */
    TR__REQ_LEASE_PUT,          /* table, row: only if it does not exist */
    TR__REQ_LEASE_WRITE,        /* table, row, expect_counter, expect_owner: the whole row, as it is to be */
    TR__REQ_LEASE_ASK,          /* table, shard_id, expect_owner, handover_to */
    TR__REQ_LEASE_DELETE        /* table, shard_id, expect_counter */
} tr__req_kind;

typedef enum tr__iterator_type {
    TR__ITERATOR_TRIM_HORIZON,
    TR__ITERATOR_LATEST,
    TR__ITERATOR_AT,
    TR__ITERATOR_AFTER
} tr__iterator_type;

/**
 * A lease's row. `start` is the content of tailraceStart as JSON, empty where the checkpoint says everything.
 */
typedef struct tr__row {
    tr_view key, owner, checkpoint, parent, handover_to, start;
    uint64_t counter, owner_switches;
} tr__row;

/** Views point into the core and are valid until its next call. */
typedef struct tr__req {
    uint64_t id;
    tr__req_kind kind;
    tr_view table, stream_arn, shard_id, exclusive_start, children_of, sequence_number, iterator;
    tr__iterator_type iterator_type;
    unsigned limit;
    int64_t wait_ms;
    bool keep_raw;
    tr_view state;
    tr__row row;         /* LEASE_WRITE: an empty checkpoint leaves that of the table, with its start */
    bool clear_handover; /* LEASE_WRITE: takes tailraceHandover away */
    uint64_t expect_counter;
    tr_view expect_owner, handover_to;
    int64_t timeout_ms; /* 0: the client's */
} tr__req;

typedef struct tr__listed_shard {
    tr_view id, parent;
    tr_view starting, ending; /* sequence numbers; ending is empty while the shard is open */
} tr__listed_shard;

typedef struct tr__listed_stream {
    tr_view arn, label;
} tr__listed_stream;

/** Borrowed during tr__core_answer, but for `page`, which passes to the core. */
typedef struct tr__answer {
    uint64_t id;
    int code;              /* as tr_reply_fn's; TR_EPARSE for an answer that made no sense */
    const tr_error *error; /* if code is not 0 */
    int64_t service_ms;    /* the service's clock (Date), -1 if it did not tell */
    tr_view stream_arn;    /* DESCRIBE_TABLE: LatestStreamArn, empty if the table has none */
    tr_view status, label; /* DESCRIBE_STREAM: StreamStatus, StreamLabel. LEASE_DESCRIBE: TableStatus */
    const tr__listed_stream *streams; /* LIST_STREAMS */
    const tr__listed_shard *shards;   /* DESCRIBE_STREAM */
    const tr__row *rows; /* LEASE_SCAN; LEASE_GET, LEASE_WRITE: one, or none if there is no such row */
    size_t count;
    tr_view last;     /* LastEvaluatedStreamArn, …ShardId, …Key; empty: that was the last page */
    tr_view iterator; /* GET_ITERATOR; GET_RECORDS: the next one, empty if the shard has ended */
    tr__page *page;   /* GET_RECORDS: NULL if there were no records */
    size_t body_bytes;
    tr_view state; /* LOAD: empty if nothing is saved */
} tr__answer;

/* ------------------------------------------------------------------------------------------- the machine */

typedef enum tr__server { TR__SERVER_OTHER, TR__SERVER_AWS, TR__SERVER_TAILRACE } tr__server;

/** Copies the options; `store` tells whether LOAD and SAVE are answered. now: as tr__core_time. TR_EINVAL,
 * TR_ENOMEM. */
int tr__core_new(const tr_stream_options *options, bool store, uint64_t seed, int64_t mono_ms,
                 int64_t wall_ms, tr__core **ret_core, tr_error *err);
/** Events that are out must have been given back. NULL is fine. */
void tr__core_free(tr__core *core);

/** From how many workers on a fleet scans its table less often; for the simulator, whose fleets are small. */
void tr__core_set_scanners(tr__core *core, unsigned workers);

/** What the time is; runs what is due. Must come before every other entry. mono_ms never goes back. */
void tr__core_time(tr__core *core, int64_t mono_ms, int64_t wall_ms);
/** When tr__core_time wants to be called next, INT64_MAX: not without another entry. */
int64_t tr__core_deadline(const tr__core *core);
/** The next request to send; false if none. Each is answered exactly once. */
bool tr__core_request(tr__core *core, tr__req *ret_request);
void tr__core_answer(tr__core *core, tr__answer *answer);
/** What kind of server answers. */
void tr__core_set_server(tr__core *core, tr__server server);

/** The next event, or NULL. */
tr_stream_event *tr__core_take(tr__core *core);
/** Up to max events as tr_stream_next_batch says; returns how many. */
size_t tr__core_take_batch(tr__core *core, size_t max, tr_stream_event **events);
/** How many events tr__core_take_batch would return now, at most max. */
size_t tr__core_available(const tr__core *core, size_t max);
void tr__core_ack(tr__core *core, tr_stream_event *event);
void tr__core_nack(tr__core *core, tr_stream_event *event, int64_t delay_ms);

/** Stops reading; saves go on. With a fleet: leases are given back as soon as nothing of their shard is out.
 */
void tr__core_stop(tr__core *core);
/** Whether everything acknowledged is saved. */
bool tr__core_saved_all(const tr__core *core);
/** As tr__core_saved_all; after a stop, whether no lease is held either. */
bool tr__core_settled(const tr__core *core);
/** Saves now. */
void tr__core_flush(tr__core *core);
/** The last failure of saving (or of a lease write) that no success has followed; NULL if none. */
const tr_error *tr__core_save_error(const tr__core *core);

/** TR_EBUSY while the state is still being loaded, or the first positions are not known. */
int tr__core_get_state(tr__core *core, tr_buf *ret_json);
int tr__core_set_state(tr__core *core, tr_view json, tr_error *err);
int tr__core_checkpoint_begin(tr__core *core, tr_buf *ret_json, uint64_t *ret_token);
void tr__core_checkpoint_end(tr__core *core, uint64_t token, int code);
/** Asks for fresh iterators behind the last acknowledged record of every shard being read. */
void tr__core_export_begin(tr__core *core);
/** Whether they are all there (or given up); then writes dynamodb-stream's state. */
bool tr__core_export_end(tr__core *core, tr_buf *ret_json);

/** Manual polling. A round is over when tr__core_poll_busy says false. */
void tr__core_poll_shards(tr__core *core);
void tr__core_poll_records(tr__core *core, bool drain);
bool tr__core_poll_busy(const tr__core *core);
/** The last failure, for a poll that takes too long; NULL if none. */
const tr_error *tr__core_trouble(const tr__core *core);

void tr__core_get_stats(const tr__core *core, tr_stream_stats *ret_stats);
void tr__core_each_shard(tr__core *core, void (*fn)(void *ctx, const tr_shard_stats *shard), void *ctx);

#endif
