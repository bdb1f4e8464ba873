/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_SIM_H
#define TAILRACE_SIM_H

/*
 * A world in which consumers live: a model of the stream service and of the tables around it, a network that
 * loses and delays, workers that crash and pause, clocks that disagree, and checks of what is promised. One
 * seed decides all; time is virtual, in milliseconds.
 *
 *   sim.c      main: seeds, the world's life      queue.c   virtual time
 *   service.c  the model of DynamoDB Streams      lease.c   the model of the lease table
 *   network.c  what happens to requests           worker.c  a consumer process and its user
 *   check.c    what is promised
 */

#include "stream/core.h"

#include <stdio.h>

#define SIM_ITEMS_MAX   40
#define SIM_SHARDS_MAX  400
#define SIM_RECORDS_MAX 4000
#define SIM_WORKERS_MAX 5
#define SIM_STREAMS_MAX 4

typedef struct sim sim;
typedef void sim_fn(sim *s, void *ctx, uint64_t arg);

/* ---------------------------------------------------------------------------------------- virtual time */

typedef struct sim_event {
    int64_t at_ms;
    uint64_t order;
    sim_fn *fn;
    void *ctx;
    uint64_t arg;
} sim_event;

typedef struct sim_queue {
    sim_event *heap; /* from 1 */
    size_t count, capacity;
    uint64_t order;
} sim_queue;

void sim_at(sim *s, int64_t at_ms, sim_fn *fn, void *ctx, uint64_t arg);
bool sim_queue_pop(sim_queue *queue, sim_event *ret_event);

/* -------------------------------------------------------------------------------------------- the model */

typedef struct sim_record {
    unsigned item, version; /* the item's version'th change, from 1 */
    unsigned shard;
    uint64_t number;    /* sequence number less the base */
    int64_t time_ms;    /* service time */
    int64_t created_at; /* virtual time */
    bool processed, acked, in_gap;
    bool needed; /* was written after the start */
} sim_record;

typedef struct sim_shard {
    char id[TR_SHARD_ID_MAX + 1];
    unsigned stream;
    int parent;                    /* index, -1 */
    uint32_t low, high;            /* of the hash, high exclusive */
    int64_t created_at, closed_at; /* -1: open */
    int64_t visible_at;
    uint64_t first_number, last_number;
    unsigned *records; /* indexes */
    size_t count, capacity, trimmed;
    bool gone;      /* left the stream */
    bool end_saved; /* its end is durable */
    bool gap_told;  /* some gap of it was told */
    size_t empties_at;
    unsigned empties; /* pages in a row, at that place, although there was more */
    unsigned denied;  /* how often it was said not to be there since records of it were last given */
    bool skipped;     /* before the start */
    bool imported;    /* has an iterator in the imported state, behind import_number */
    uint64_t import_number;
} sim_shard;

typedef struct sim_stream {
    char arn[200], label[64];
    bool disabled, gone;
} sim_stream;

/** What the seed decides about a run. */
typedef struct sim_config {
    uint64_t seed;
    tr__server server;
    unsigned workers; /* 1: single consumer; more: a fleet */
    bool fleet, manual, user_checkpoints, batch;
    unsigned items, records;
    int64_t life_ms; /* while faults happen */
    int64_t write_every_ms;
    tr_stream_start start;
    char start_number[TR_SEQUENCE_MAX + 1];
    unsigned parallelism, max_records, page_records;
    unsigned max_reads, start_record;
    bool no_store, start_in_shard;
    int64_t start_time; /* virtual */
    int64_t discover_ms, checkpoint_ms, retention_ms, iterator_life_ms, handle_ms, failover_ms;
    bool start_trimmed; /* the start's number may be trimmed */
    bool trims, disables, deletes, splits, import_state, import_expired, filter;
    unsigned filter_mode; /* ShardFilter: 0 honoured, 1 ignored, 2 refused */
    int64_t late_listing_ms;
    unsigned scanners; /* 0: as it is */
    /* chances in 1/1000 */
    unsigned p_throttle, p_error, p_lost, p_slow, p_empty, p_spurious_trim, p_spurious_missing, p_store_fail,
        p_nack;
    unsigned crashes, pauses; /* how many */
    int64_t skew_ms;
} sim_config;

typedef struct sim_row {
    char key[TR_SHARD_ID_MAX + 1], owner[64], handover_to[64], parent[TR_SHARD_ID_MAX + 1];
    char checkpoint[TR_SEQUENCE_MAX + 8];
    char start[TR__ITERATOR_MAX + 512];
    uint64_t counter, switches;
    bool used;
    bool forced; /* taken from a worker that was asked and did not give it */
} sim_row;

typedef struct sim_worker sim_worker;
typedef struct sim_reply sim_reply;

struct sim {
    sim_config c;
    tr_rng rng;
    sim_queue queue;
    int64_t now;
    bool faults; /* still happening */
    bool failed;
    char failure[600];
    bool verbose, fleets, over;
    char import[65536], import_arn[200];
    uint64_t digest; /* of everything that happened, to tell runs apart */

    sim_stream streams[SIM_STREAMS_MAX];
    unsigned stream_count;
    sim_shard shards[SIM_SHARDS_MAX];
    unsigned shard_count;
    sim_record records[SIM_RECORDS_MAX];
    unsigned record_count;
    unsigned versions[SIM_ITEMS_MAX];
    unsigned processed_versions[SIM_ITEMS_MAX]; /* up to which each item is processed or excused */
    uint64_t number;                            /* last given */
    bool started;                               /* STARTED was told for the first time */
    int64_t started_at;
    uint64_t start_floor; /* records below need not come: number */
    unsigned gaps, caught_up, deliveries, redeliveries;

    /* checkpoint store of the single consumer */
    tr_buf store;
    bool store_used;
    /* lease table */
    bool table_made;
    int64_t table_active_at;
    sim_row rows[SIM_SHARDS_MAX];

    sim_worker *workers[SIM_WORKERS_MAX];
    uint64_t requests;
    unsigned calm;                      /* requests since the last spurious ResourceNotFoundException */
    unsigned unsettled;                 /* lowest record index that may not be acknowledged yet */
    unsigned pending_of[SIM_ITEMS_MAX]; /* lowest record index of the item that may still be missing */
};

uint64_t sim_below(sim *s, uint64_t bound);
bool sim_chance(sim *s, unsigned per_mille);
int64_t sim_between(sim *s, int64_t low, int64_t high);
/** Notes a broken promise; the first one counts. */
void sim_fail(sim *s, const char *format, ...) TR_PRINTF(2, 3);
/** One line of the trace, part of the digest. */
void sim_trace(sim *s, const char *format, ...) TR_PRINTF(2, 3);

/* sim.c */
bool sim_is_ancestor(const sim *s, unsigned shard, unsigned of);
void sim_mark_needed(sim *s, unsigned stream);
const char *sim_reply_shard(const sim *s, const sim_reply *reply);

/* service.c */
void sim_service_start(sim *s);
void sim_service_finish(sim *s);
void sim_number_text(uint64_t number, char *out); /* room for TR_SEQUENCE_MAX + 1 */
bool sim_number_parse(tr_view text, uint64_t *ret_number);
int sim_shard_find(const sim *s, tr_view id);
int64_t sim_service_clock(const sim *s);

/** A request after it has left the worker, with copies of what it points to. */
typedef struct sim_request {
    tr__req req;
    sim_worker *worker;
    unsigned incarnation;
    tr_arena arena;
    int64_t sent_at;
    unsigned refs;
    bool answered;
    char who[64]; /* the worker's id when it was sent */
} sim_request;

/** An answer on its way. body: of GetRecords, decoded on arrival. */
struct sim_reply {
    tr__answer a;
    tr_error error;
    tr_arena arena;
    tr_buf body;
    bool has_body;
    unsigned shard; /* of the body */
};

/** Carries the request out at the service; false: it is being held open, and the service answers later. */
bool sim_service_do(sim *s, sim_request *request, sim_reply *reply);
void sim_reply_fail(sim_reply *reply, int code, const char *type, int status);
void sim_table_do(sim *s, sim_request *request, sim_reply *reply);
void sim_store_do(sim *s, sim_request *request, sim_reply *reply);
const char *sim_lease_owner(const sim *s, tr_view shard, bool *ret_forced);

/* network.c */
void sim_network_send(sim *s, sim_worker *worker, const tr__req *req);
void sim_network_reply(sim *s, sim_request *request, sim_reply *reply);
void sim_request_free(sim_request *request);
void sim_store_put(sim *s, tr_view state);

/* worker.c */
sim_worker *sim_worker_new(sim *s, unsigned index);
void sim_worker_free(sim_worker *worker);
void sim_worker_start(sim *s, sim_worker *worker);
void sim_worker_crash(sim *s, sim_worker *worker);
void sim_worker_pause(sim *s, sim_worker *worker, int64_t for_ms);
bool sim_worker_alive(const sim_worker *worker);
/** Milliseconds for which it is still stopped. */
int64_t sim_worker_paused(const sim *s, const sim_worker *worker);
unsigned sim_worker_incarnation(const sim_worker *worker);
void sim_worker_answer(sim *s, sim_worker *worker, const tr__req *req, sim_reply *reply);
const char *sim_worker_name(const sim_worker *worker);
void sim_worker_stop(sim *s, sim_worker *worker);
void sim_worker_reload(sim *s, sim_worker *worker);
void sim_worker_kill(sim_worker *worker);
/** Whether all that it holds is acknowledged, and that is saved. At a poll a second that takes a while for
 * each generation of shards that have ended; and gaps may have been told this very moment. */
bool sim_worker_has_saved(const sim_worker *worker);
void sim_worker_check_end(sim *s, sim_worker *worker);

/* check.c */
void sim_check_processed(sim *s, sim_worker *worker, const tr_record *record);
void sim_check_delivery(sim *s, sim_worker *worker, const tr_stream_event *event);
void sim_check_acked(sim *s, const tr_record *record);
/** A worker claims that all is acknowledged that was written to the stream before the (virtual) time. */
void sim_check_settled(sim *s, const sim_worker *worker, const char *stream_arn, int64_t before);
void sim_check_gap(sim *s, const tr_stream_gap *gap);
void sim_check_read(sim *s, int shard);
void sim_check_checkpoint(sim *s, int shard, tr_view checkpoint, const char *who);
void sim_check_end(sim *s);
bool sim_all_done(const sim *s);

#endif
