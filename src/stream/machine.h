/* SPDX-License-Identifier: MIT */
#ifndef TR_STREAM_MACHINE_H
#define TR_STREAM_MACHINE_H

/*
 * The inside of the machine, shared by its files:
 *
 *   core.c     life, time, requests and answers, the stream's phases
 *   graph.c    shards: found, waiting for parents, forgotten
 *   listing.c  DescribeStream in pages, children of closed shards, following a table into its next stream
 *   reader.c   iterators, records, errors, gaps of one shard
 *   deliver.c  lanes, merging, acknowledgement
 *   save.c     checkpoints of a single consumer        lease.c, fleet.c   checkpoints and leases of a fleet
 *   state.c    the state as JSON                       stats.c            lag and statistics
 */

#include "stream/core.h"

#include <assert.h>

#include "base/hash.h"

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/** Shards of one stream that are kept at a time: a listing that brings more is refused. */
#define TR__SHARDS_MAX 200000
/** Complete listings in a row without a shard before it counts as having left the stream. */
#define TR__ABSENT_LISTINGS 3
/** Fresh iterators tried before a missing shard is believed. */
#define TR__DOUBT_TRIES 3
/** The same before it is looked whether data really were trimmed (or a number is refused for good). */
#define TR__TRIM_TRIES 5
/** Margin for the difference between the service's clock where it answers and where it stamps records. */
#define TR__CLOCK_SLACK_MS 2000
/** An iterator lives 15 minutes (API Reference, GetShardIterator); older saved ones are not tried. */
#define TR__ITERATOR_LIFE_MS (15 * 60 * 1000)
/** x-tailrace-wait-ms at most (docs/: wire extensions). */
#define TR__LONG_POLL_MS  20000
#define TR__WORKER_ID_MAX 255
/** How long a shard waits for a parent that is not listed and whose age does not tell that it was trimmed. */
#define TR__ORPHAN_WAIT_MS 10000
/** A state document: 200,000 shards at some 200 bytes, and iterators. */
#define TR__STATE_MAX (256u * 1024 * 1024)

/* ---------------------------------------------------------------------------------------------- timers */

typedef struct tr__timer tr__timer;
typedef void tr__timer_fn(tr__core *core, tr__timer *timer);
struct tr__timer {
    int64_t at_ms;
    size_t slot; /* in the heap, from 1; 0: not set */
    tr__timer_fn *fn;
};

typedef struct tr__timers {
    tr__timer **heap; /* from 1 */
    size_t count, capacity, reserved;
} tr__timers;

/** Room for `more` timers beyond those reserved so far, so that setting one cannot fail. */
int tr__timers_reserve(tr__timers *timers, size_t more);
void tr__timers_release(tr__timers *timers, size_t fewer);
/** Runs what is due. */
void tr__timers_run(tr__core *core);
void tr__timer_set(tr__core *core, tr__timer *timer, int64_t at_ms);
void tr__timer_stop(tr__core *core, tr__timer *timer);

/* ------------------------------------------------------------------------------------------- positions */

typedef enum tr__pos_kind {
    TR__POS_TRIM,     /* the oldest record */
    TR__POS_LATEST,   /* the shard's note_iterator, or TRIM with since_ms once that has expired */
    TR__POS_AT,       /* seq, inclusive */
    TR__POS_AFTER,    /* behind seq */
    TR__POS_ITERATOR, /* the shard's note_iterator, and nothing else is known */
    TR__POS_END       /* everything was acknowledged */
} tr__pos_kind;

/** Where a consumer stands in a shard. Beside the place: what is still to be skipped until the first record
 * is kept. */
typedef struct tr__pos {
    tr__pos_kind kind;
    bool floor_inclusive; /* a record with the floor's number is kept */
    tr__seq seq;          /* AT, AFTER */
    tr__seq floor;        /* skip records below this number; len 0: none */
    int64_t since_ms;     /* skip records created before; -1: none */
    int64_t born_ms;      /* service time at which the shard is known to have been there; -1: not known */
} tr__pos;

/* ---------------------------------------------------------------------------------------------- shards */

typedef enum tr__phase {
    TR__PHASE_WAITING = 0, /* for its parent, the start, or a lease */
    TR__PHASE_READING,
    TR__PHASE_DRAINING, /* read to its end; records unacknowledged, or the end not saved */
    TR__PHASE_FINISHED
} tr__phase;

typedef enum tr__reader_state {
    TR__READER_OFF = 0,
    TR__READER_SLEEPING, /* timer set */
    TR__READER_QUEUED,   /* in core->ready */
    TR__READER_BLOCKED,  /* in core->blocked: too much is unacknowledged */
    TR__READER_CALLING
} tr__reader_state;

struct tr__pending;

typedef struct tr__lane {
    struct tr__shard *shard;
    tr__entry *head, *tail; /* not handed out, in order */
    size_t queued, out;
    size_t slot; /* in core->lanes, from 1; 0: not deliverable */
    bool delayed;
    tr__timer timer;
} tr__lane;

struct tr__lease;
typedef struct tr__shard {
    UT_hash_handle hh;
    char id[TR_SHARD_ID_MAX + 1];
    char parent[TR_SHARD_ID_MAX + 1]; /* "" if none */
    tr__phase phase;
    bool fresh;          /* came with the listing under way */
    bool listed;         /* seen in a listing of this run */
    bool closed;         /* has an ending number, or was read to its end */
    bool announced;      /* SHARDS_ADDED told (or the shard came from saved state) */
    bool counted_behind; /* in core->behind */
    bool found_late;     /* not there when the positions were given out: must be read whole */
    bool childless_told; /* a gap was told because it left the stream without a child being seen */
    int64_t found_ms;    /* mono */
    unsigned absent;     /* complete listings in a row without it */
    uint64_t first_listing, last_listing; /* numbers of the listings that had it first and last */
    tr__seq starting, ending;             /* of the range in the listing */
    unsigned children;                    /* known shards whose parent it is */

    /* looking for its children */
    struct tr__shard *lookup_next;
    bool lookup_queued;
    unsigned lookups;
    int64_t looked_ms; /* mono: the last lookup that was answered was sent then; -1 */
    tr__timer lookup_timer;

    /* reading */
    tr__reader_state reader;
    struct tr__shard *ready_prev, *ready_next; /* in core->ready or core->blocked */
    tr__timer timer;
    uint64_t call_id;    /* of the call whose answer is waited for; 0: none */
    tr__pos from;        /* where reading began, as it turned out: TRIM once a noted iterator was of no use */
    bool late_check;     /* whether its first records are still there is to be told from the next page */
    char *iterator;      /* to use next; NULL: ask for one */
    int64_t iterator_ms; /* mono: when it was given */
    char *note_iterator; /* with LATEST and ITERATOR: the saved one */
    int64_t note_ms;     /* service time at which it was given */
    bool bookmarking;    /* wants a LATEST iterator before the start */
    bool verify;         /* reads from TRIM_HORIZON to see whether data really were trimmed */
    bool first_page_done;
    tr__seq read_seq;   /* last record read */
    tr__seq skip_floor; /* filters in effect, from the position */
    bool skip_inclusive;
    int64_t skip_since_ms;
    unsigned failures, trims, missing, empties;
    int64_t called_ms, next_read_ms; /* mono */
    int64_t tip_ms;                  /* mono: last time it was seen at its tip; -1 */
    unsigned empty_run;              /* empty answers one after the other, up to tip_pages */
    int64_t empty_ms;                /* mono: the first of them was asked for then */
    int64_t
        settled_ms;  /* mono: what was written before then has been read; -1: not known since the last page */
    int64_t open_ms; /* mono: reading began */
    bool caught;     /* at its tip, nothing unacknowledged */
    bool ended;      /* its last page has come */
    bool long_polling;
    int64_t wait_ms; /* of the read under way */
    unsigned credit; /* manual: may read once more */
    bool export_wanted;
    char *export_iterator;

    /* read and not acknowledged */
    tr__page *first_page, *last_page;
    tr__page *fill_page; /* the first that is not yet in the lanes, NULL if all are */
    tr__page *barrier;   /* a gap that must be acknowledged before what follows it goes into the lanes */
    size_t unacked, unacked_bytes;
    size_t page_average;   /* bytes of memory per record */
    int64_t page_ms;       /* mono: when the last one came */
    int64_t acked_time_ms; /* creation time of the last acknowledged record; -1 */
    tr__lane *lanes;

    /* positions */
    tr__pos ack;                     /* everything up to here is acknowledged */
    uint64_t version, saving, saved; /* of ack */
    uint64_t end_version;            /* the one that is the shard's end; 0: not ended */
    tr__pos saving_pos, saved_pos;

    struct tr__lease *lease; /* fleet */
    uint64_t records, bytes;
} tr__shard;

/* ---------------------------------------------------------------------------------------------- fleets */

typedef enum tr__lease_act {
    TR__LEASE_NOTHING = 0,
    TR__LEASE_TAKE, /* become the owner; the answer tells the checkpoint */
    TR__LEASE_KEEP, /* renew, with the newest checkpoint */
    TR__LEASE_GIVE, /* final checkpoint, then to handover_to or to nobody */
    TR__LEASE_LOOK, /* read the row: a write's outcome is not known */
    TR__LEASE_MAKE, /* put the row */
    TR__LEASE_ASK,  /* write the wish for a handover */
    TR__LEASE_DROP  /* delete the row */
} tr__lease_act;

/** A worker's name, kept once however many leases it has. Fields of leases point to its text. */
typedef struct tr__name {
    UT_hash_handle hh;
    size_t leases; /* live ones, as of the last balancing */
    uint64_t used; /* number of the last scan that found it in a row */
    char text[];
} tr__name;

/** A shard's row in the lease table, as this worker knows it. */
typedef struct tr__lease {
    tr__shard *shard;
    bool row;       /* it exists */
    bool mine;      /* held by this worker */
    bool valid;     /* and its time has not run out by our clock: records may be handed out */
    bool giving;    /* on its way to another worker or to nobody */
    bool wanted;    /* to be taken */
    bool dirty;     /* the position is to be written, not only the counter */
    bool surveyed;  /* was there before the table's streams were listed */
    bool somewhere; /* one of the table's streams has the shard */
    bool nowhere;   /* none of the table's streams had the shard when we looked */
    uint64_t counter, owner_switches;
    bool kin; /* the row came before the listing that has the shard, but after one that has its parent */
    const char *owner;       /* "" if none, else the text of a name */
    const char *handover_to; /* who has asked for it; the same */
    int64_t observed_ms;     /* mono: when the row was last seen to change */
    int64_t looked_ms;       /* mono: when it was last seen */
    int64_t renewed_ms;      /* mono: when the last write that succeeded was sent */
    int64_t giving_ms;       /* mono: when giving began */
    uint64_t seen;           /* number of the last scan that had it, or that was under way when we wrote it */
    uint64_t vanished;       /* number of the scan that first had it no longer; 0 */
    tr__lease_act doing;
    uint64_t call_id; /* of the request under way; 0: none */
    unsigned failures;
    tr__timer timer;  /* next write */
    tr__timer expiry; /* the end of validity */
    tr_buf start;     /* tailraceStart of the request under way */
    uint64_t write_version;
    tr__pos write_pos;
} tr__lease;

typedef struct tr__fleet {
    char *table, *worker;
    bool no_create;
    int64_t failover_ms, handover_ms;
    unsigned max_leases;
    int64_t scanners; /* so many workers scan without regard to each other */
    bool ready;       /* the table is there */
    bool scanning;
    bool any_row;         /* the table was not empty when we came */
    uint64_t scan;        /* number of the scan under way or last done */
    uint64_t scans;       /* number of the last complete one */
    uint64_t scan_before; /* the last complete one when the listing under way began */
    char scan_start[TR_SHARD_ID_MAX + 1];
    unsigned failures;
    tr__timer timer;  /* next scan, or next try of what failed */
    tr__shard *asked; /* the one lease we have asked another worker for */
    int64_t asked_ms;
    size_t held;
    size_t workers;      /* with live leases, as of the last balancing, and this one; 0 before it */
    tr__name *names;     /* hash by text */
    size_t nowhere_open; /* unfinished rows of streams that are gone: told as gaps before anything is read */
    bool confirmed;      /* a scan after the first listing has shown that the table is still empty */
    uint64_t confirm_after;
    size_t making; /* rows being put */
    /* the table's streams, oldest first, while one is being chosen */
    char (*arns)[TR_STREAM_ARN_MAX + 1];
    char (*labels)[128];
    size_t arn_count, arn_next;
    size_t chosen; /* index + 1 of the oldest stream that has rows; 0: none */
} tr__fleet;

/* ---------------------------------------------------------------------------------------- the whole of it */

typedef struct tr__pending {
    UT_hash_handle hh;
    uint64_t id;
    tr__req_kind kind;
    tr__shard *shard;         /* NULL: not of a shard, or the shard was forgotten meanwhile */
    struct tr__pending *next; /* in core->out */
    uint64_t epoch;
    unsigned limit; /* GET_RECORDS: reserved records */
    size_t reserved_bytes;
    int64_t sent_ms;
    tr__lease *lease; /* of a lease request */
    bool long_poll, exporting, bookmark, child_lookup;
    char lookup_of[TR_SHARD_ID_MAX + 1];
} tr__pending;

typedef enum tr__stage {
    TR__STAGE_LEASES,  /* fleet: lease table being made and scanned */
    TR__STAGE_LOAD,    /* checkpoint store being asked */
    TR__STAGE_RESOLVE, /* which stream: DescribeTable */
    TR__STAGE_CHOOSE,  /* fleet: which of the table's streams is being worked on */
    TR__STAGE_LIST,    /* first listing */
    TR__STAGE_MARK,    /* LATEST iterators being fetched */
    TR__STAGE_SAVE,    /* first save; fleet: rows being put */
    TR__STAGE_RUN
} tr__stage;

typedef struct tr__info {
    tr__entry entry; /* first */
    struct tr__info *next;
    tr_view *ids;
    char (*texts)[TR_SHARD_ID_MAX + 1];
    size_t count, capacity;
    tr_stream_trouble trouble;
    tr_error error;
    char shard_id[TR_SHARD_ID_MAX + 1];
} tr__info;

typedef struct tr__list {
    tr__shard *first, *last;
    size_t count;
} tr__list;

struct tr__core {
    tr_stream_options o; /* defaults filled in; texts are ours */
    char *table, *start_shard;
    tr__seq start_seq;
    bool has_store;
    tr__server server;
    tr_rng rng;
    int64_t now, wall;      /* mono, wall */
    int64_t service_offset; /* service time minus mono */
    bool service_known;
    bool stopping;
    tr__stage stage;
    tr__timers timers;
    tr__timer stage_timer;
    unsigned stage_failures;

    /* requests */
    tr__pending *pending; /* hash by id */
    tr__pending *out_first, *out_last;
    uint64_t last_id;
    uint64_t epoch; /* answers to requests of an earlier epoch are dropped */
    unsigned reads; /* GET_ITERATOR and GET_RECORDS under way */
    tr__list ready, blocked;
    tr_buf text; /* scratch of requests: state documents, positions */

    /* stream */
    char arn[TR_STREAM_ARN_MAX + 1];
    bool arn_resolved; /* asked of the table in this run */
    char label[128];
    bool disabled, gone; /* the stream is DISABLED; does not exist */
    unsigned missing;    /* DescribeStream said so, in a row */
    bool resumed;        /* positions came from saved state (or an earlier stream) */
    bool started;        /* STARTED told */
    int64_t since_ms;    /* for shards found later; -1 */
    tr__seq floor;
    bool floor_inclusive;

    /* shards */
    tr__shard *shards; /* hash by id */
    size_t shard_count, phase_count[4];
    size_t behind;  /* not finished, not caught up */
    bool caught_up; /* told */

    /* listing */
    bool listing, listing_wanted, filter_refused;
    uint64_t listing_number;       /* of the one under way or last begun */
    uint64_t listings_complete;    /* number of the last complete one */
    int64_t listing_ms, listed_ms; /* mono: when the one under way was begun, and the last complete one; -1 */
    size_t listing_pages, last_listing_pages, listing_new;
    char listing_start[TR_SHARD_ID_MAX + 1];
    bool describing; /* a call is under way */
    unsigned describe_failures;
    tr__timer listing_timer;  /* the next complete listing */
    tr__timer describe_timer; /* the next call, after a failure or for the limit's sake */
    int64_t next_describe_ms;
    tr__shard *lookup_first, *lookup_last; /* closed shards whose children are to be asked for */
    size_t lookup_count;

    /* next stream */
    bool succession; /* being looked for */
    char next_arn[TR_STREAM_ARN_MAX + 1], next_label[128];
    char list_start[TR_STREAM_ARN_MAX + 1];
    bool told_ended;
    uint64_t quiet_listing; /* the listing since which all is read and the stream disabled; 0: not so */
    int64_t quiet_ms;
    tr__timer succession_timer;
    unsigned succession_failures, succession_looks;

    /* delivery */
    tr__lane **lanes; /* heap, from 1 */
    size_t lane_count, lane_capacity, lane_reserved;
    tr__info *info_first, *info_last;
    size_t info_count;
    bool trouble_waiting;
    tr_error last_trouble;
    bool has_trouble;
    size_t unacked, held_bytes, reserved, reserved_bytes, queued;
    uint64_t arrivals; /* pages so far */

    /* saving */
    tr__timer save_timer;
    bool saving, save_wanted, save_urgent, checkpoint_told;
    uint64_t token;
    size_t unsaved; /* shards whose version is not saved, plus changes of the graph */
    uint64_t graph_version, graph_saving, graph_saved;
    unsigned save_failures;
    tr_error save_error;
    bool has_save_error;

    tr__fleet *fleet;

    /* manual */
    bool poll_listing, poll_drain;
    size_t poll_credits;          /* shards that are still to be read in this round */
    size_t exports, exports_sent; /* iterators still to come; of these, asked for */

    tr_stream_stats stats; /* counters only */
};

/* core.c */
int64_t tr__core_service_now(const tr__core *core);
/** Notes a request that the caller hands to the driver itself; NULL without memory. */
tr__pending *tr__core_call(tr__core *core, tr__req_kind kind, tr__shard *shard);
/** Notes a request and puts it into the queue. */
tr__pending *tr__core_send(tr__core *core, tr__req_kind kind, tr__shard *shard);
void tr__core_told(tr__core *core, tr_stream_event_kind kind);
void tr__core_failed(tr__core *core, const tr__shard *shard, const char *doing, unsigned attempt,
                     int64_t retry_in_ms, const tr_error *error);
int64_t tr__core_backoff(tr__core *core, unsigned failures);
void tr__core_stage(tr__core *core, tr__stage stage);

/* graph.c */
tr__shard *tr__graph_find(const tr__core *core, tr_view id);
/** Adds a shard (TR_ELIMIT, TR_ENOMEM, TR_EPARSE for an unusable id), to be read from its first record. */
int tr__graph_add(tr__core *core, tr_view id, tr_view parent, tr__shard **ret_shard);
void tr__graph_remove(tr__core *core, tr__shard *shard);
/** Removes all shards, and makes answers that are under way go unheard. */
void tr__graph_clear(tr__core *core);
void tr__shard_phase(tr__core *core, tr__shard *shard, tr__phase phase);
void tr__shard_recount(tr__core *core, tr__shard *shard);
void tr__shard_caught(tr__core *core, tr__shard *shard, bool caught);
void tr__caught_check(tr__core *core);
int64_t tr__core_settled_ms(const tr__core *core);
/** Service time at which a shard found now is known to have been there. */
/** The time in "shardId-<20 digits: milliseconds since 1970>-<hex>", or -1. */
int64_t tr__shard_time(const char *id);
int64_t tr__shard_born(const tr__core *core, const char *id);
/** The position of a shard that is to be read from its first record. */
tr__pos tr__pos_beginning(const tr__core *core, const char *id);
/** Begins to read every shard that may be read. */
void tr__graph_advance(tr__core *core);
void tr__graph_advance_one(tr__core *core, tr__shard *shard);
void tr__graph_advance_children(tr__core *core, const tr__shard *parent);
bool tr__graph_parent_done(const tr__core *core, const tr__shard *shard);
bool tr__graph_has_doubtful(tr__core *core);
void tr__graph_count_children(tr__core *core);

/* listing.c */
void tr__listing_want(tr__core *core);
void tr__listing_pump(tr__core *core);
void tr__listing_answer(tr__core *core, tr__pending *call, tr__answer *answer);
void tr__listing_children(tr__core *core, tr__shard *shard);
void tr__listing_forget(tr__core *core, tr__shard *shard);
void tr__listing_lookup_due(tr__core *core, tr__timer *timer);
void tr__listing_due(tr__core *core, tr__timer *timer);
void tr__listing_doubt(tr__core *core);
void tr__describe_due(tr__core *core, tr__timer *timer);

/* start.c */
void tr__stage_listed(tr__core *core);
void tr__start_positions(tr__core *core);
void tr__shard_skip(tr__core *core, tr__shard *shard);
/** Whether the stream was disabled and all of it read, as far as several listings can tell. */
bool tr__stream_was_over(const tr__core *core);
void tr__succession_check(tr__core *core);
void tr__succession_due(tr__core *core, tr__timer *timer);
void tr__succession_answer(tr__core *core, tr__answer *answer);

/* reader.c, answer.c */
void tr__list_push(tr__list *list, tr__shard *shard);
void tr__list_remove(tr__list *list, tr__shard *shard);
void tr__reader_open(tr__core *core, tr__shard *shard);
void tr__reader_close(tr__core *core, tr__shard *shard);
void tr__reader_queue(tr__core *core, tr__shard *shard);
void tr__reader_sleep(tr__core *core, tr__shard *shard, int64_t delay_ms);
void tr__reader_wake(tr__core *core, tr__shard *shard);
void tr__reader_unblock(tr__core *core);
void tr__reader_due(tr__core *core, tr__timer *timer);
/** How many reads may be under way: on the engine, where they wait for records, more. */
size_t tr__reads_max(const tr__core *core);
void tr__reader_rewind(tr__shard *shard);
void tr__reader_bookmark(tr__core *core, tr__shard *shard);
void tr__reader_end(tr__core *core, tr__shard *shard);
/** The shard cannot be read on: tells a gap and ends it. */
void tr__reader_gone(tr__core *core, tr__shard *shard, tr_gap_reason reason);
bool tr__reader_request(tr__core *core, tr__req *ret_request);
void tr__reader_iterator(tr__core *core, tr__pending *call, tr__answer *answer);
void tr__reader_records(tr__core *core, tr__pending *call, tr__answer *answer);

/* deliver.c */
int tr__lanes_reserve(tr__core *core, size_t more);
void tr__deliver_page(tr__core *core, tr__shard *shard, tr__page *page);
void tr__deliver_gap(tr__core *core, tr__shard *shard, tr_gap_reason reason, tr_view after, tr_view before);
/** A gap in another shard than the one whose records it comes before. */
void tr__deliver_gap_of(tr__core *core, tr__shard *shard, tr_view shard_id, tr_gap_reason reason,
                        tr_view after, tr_view before);
void tr__deliver_forget(tr__core *core, tr__shard *shard);
/** After something changed that decides whether the shard's lanes may deliver. */
void tr__deliver_lanes(tr__core *core, tr__shard *shard);
void tr__deliver_reorder(tr__core *core);
void tr__lane_due(tr__core *core, tr__timer *timer);
void tr__shard_drained(tr__core *core, tr__shard *shard);
void tr__info_shards(tr__core *core, tr_stream_event_kind kind, const char *id);
void tr__info_free(tr__info *info);

/* save.c */
void tr__save_changed(tr__core *core, tr__shard *shard);
void tr__save_graph(tr__core *core);
void tr__save_due(tr__core *core, tr__timer *timer);
void tr__save_now(tr__core *core);
void tr__save_answer(tr__core *core, tr__answer *answer);
/** The position as of `saving` is durable. */
void tr__save_done(tr__core *core, tr__shard *shard);

/* state.c */
void tr__state_write(tr__core *core, tr_buf *ret_json);
int tr__state_read(tr__core *core, tr_view json, tr_error *err);
/** The members beside a checkpoint that make it exact; nothing where it says all. */
void tr__pos_write_extra(tr_json_writer *writer, const tr__shard *shard, const tr__pos *pos);
/** The position that a checkpoint's text stands for; extras but `at` are left alone. TR_EPARSE. */
int tr__pos_parse(tr_view checkpoint, tr_view at, bool has_iterator, tr__pos *pos);
bool tr__pos_needs_extra(const tr__shard *shard, const tr__pos *pos);
/** Reads a checkpoint and the members beside it (JSON, may be empty) into a shard's position and note.
 * TR_EPARSE. */
int tr__pos_read(tr__shard *shard, tr_view checkpoint, tr_view extra);
/** "TRIM_HORIZON", "LATEST", "SHARD_END", "ITERATOR" or a sequence number. */
tr_view tr__pos_text(const tr__pos *pos);

/* lease.c: without a fleet every shard is ours */
bool tr__lease_ours(const tr__core *core, const tr__shard *shard);
bool tr__lease_may_deliver(const tr__core *core, const tr__shard *shard);
/** Makes the shard's lease, in a fleet; TR_ENOMEM. */
int tr__lease_init(tr__core *core, tr__shard *shard);
void tr__lease_forget(tr__core *core, tr__shard *shard);
/** Something of the shard was given back by the user. */
void tr__lease_acked(tr__core *core, tr__shard *shard);
/** The shard's position has changed. */
void tr__lease_changed(tr__core *core, tr__shard *shard);
/** The shard has left the stream. */
void tr__lease_drop(tr__core *core, tr__shard *shard);
/** A row as the table has it. */
void tr__lease_row(tr__core *core, tr__shard *shard, const tr__row *row);
/** Begins what is to be done, if nothing is under way. */
void tr__lease_next(tr__core *core, tr__lease *lease);
void tr__lease_do(tr__core *core, tr__lease *lease, tr__lease_act act);
void tr__lease_lost(tr__core *core, tr__lease *lease);
void tr__lease_give(tr__core *core, tr__lease *lease);
/** A scan has shown that its row is not there any more. */
void tr__lease_vanished(tr__core *core, tr__lease *lease);
bool tr__lease_fill(tr__core *core, tr__pending *call, tr__req *req);
void tr__lease_answer(tr__core *core, tr__pending *call, tr__answer *answer);

/* fleet.c: the table, its scans, which stream; balance.c: who takes what */
int tr__fleet_new(tr__core *core, const tr_fleet_options *options);
void tr__fleet_free(tr__core *core);
void tr__fleet_start(tr__core *core);
/** The text of a name, "" for an empty one or without memory. Valid until a scan finds it in no row. */
const char *tr__fleet_name(tr__core *core, tr_view name);
/** How many times less often each of so many workers has to look at what all look at. */
int64_t tr__fleet_share(const tr__core *core);
/** The graph was cleared: what was under way will not be answered. */
void tr__fleet_reset(tr__core *core);
void tr__fleet_choose(tr__core *core);
void tr__fleet_streams(tr__core *core, tr__answer *answer);
void tr__fleet_answer(tr__core *core, tr__pending *call, tr__answer *answer);
void tr__fleet_listing_begins(tr__core *core);
void tr__fleet_first_listing(tr__core *core);
/** DescribeStream has said for good that the stream being listed is not there. */
void tr__fleet_stream_missing(tr__core *core);
/** After a listing: makes rows for shards that have none. */
void tr__fleet_listed(tr__core *core);
void tr__fleet_make_rows(tr__core *core);
void tr__fleet_row_made(tr__core *core);
void tr__fleet_stop(tr__core *core);
bool tr__fleet_saved_all(const tr__core *core);
bool tr__fleet_settled(const tr__core *core);
void tr__fleet_flush(tr__core *core);
void tr__fleet_balance(tr__core *core);

#endif
