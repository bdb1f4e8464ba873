/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_REPLICA_INTERNAL_H
#define TAILRACE_REPLICA_INTERNAL_H

#include "replica/row.h"

#include <tailrace/stream.h>

#include <stdatomic.h>
#include <uv.h>

/** Bytes of an answer: a page of 1 MB of items in JSON with every byte escaped. */
#define TR__PAGE_MAX ((size_t)64 << 20)
/** Bytes of a request of ours: a key at most, in JSON. */
#define TR__BODY_MAX ((size_t)64 << 10)
/** Bytes of one packed item: 400 KB and what packing adds. */
#define TR__ITEM_MAX ((size_t)2 << 20)

/* ------------------------------------------------------------------------------------------------ scan */

/** A page of a segment, waiting to be applied. */
typedef struct tr__scan_page {
    struct tr__scan_page *next;
    unsigned segment;
    tr_buf body; /* the answer */
} tr__scan_page;

/** Where a segment of the scan stands. */
typedef struct tr__segment {
    struct tr__scan *scan;
    unsigned number;
    bool done, asked; /* asked: a request is under way or its page waits */
    tr_buf start;     /* LastEvaluatedKey in JSON; empty at the beginning */
    int64_t due_ms;   /* when it is to be asked */
    unsigned failures;
} tr__segment;

/**
 * A parallel scan: requests run on the client's I/O thread, pages come out one by one on the caller's. A
 * segment's next page is asked for once the one before was applied, so at most one page per segment is in
 * memory.
 */
typedef struct tr__scan {
    tr_client *client;
    tr_view table; /* borrowed */
    uv_mutex_t mutex;
    uv_cond_t changed;
    tr__scan_page *first, **last;
    unsigned segment_count, waiting; /* waiting: requests and retries under way */
    tr__segment segments[TR_REPLICA_SEGMENTS_MAX];
    char snapshot[256]; /* token; "": consistent reads */
    bool snapshot_lost; /* the server does not know the token any more */
    bool closing;
    int code; /* a failure that no repetition mends */
    tr_error err;
    tr_rng rng;
    uint64_t rows_per_second, rows; /* rows: since began_ms */
    uint64_t copied;                /* by this scan, over all runs */
    int64_t began_ms;               /* monotonic */
} tr__scan;

int tr__scan_init(tr__scan *scan, tr_client *client, tr_view table, unsigned segments);
/** Waits for what is under way. */
void tr__scan_done(tr__scan *scan);
/** Asks for the next page of every segment that has none under way. */
void tr__scan_go(tr__scan *scan);
/** A page, or NULL if none is there. To be freed with tr__scan_page_free after its segment was moved on. */
tr__scan_page *tr__scan_take(tr__scan *scan);
void tr__scan_page_free(tr__scan_page *page);
bool tr__scan_finished(const tr__scan *scan);
/** Why the scan cannot go on, or 0. */
int tr__scan_code(tr__scan *scan, bool *ret_snapshot_lost, tr_error *err);
/** After the snapshot was lost: goes on with consistent reads. False while requests are under way. */
bool tr__scan_forget_snapshot(tr__scan *scan);
/** Calls fn for every item of the page, then moves the segment's start on (in memory; saving is the
 * caller's). */
int tr__scan_each(tr__scan *scan, tr__scan_page *page, int (*fn)(void *ctx, tr_item item), void *ctx,
                  tr_error *err);
/** The segments as JSON: an array of null (not begun), true (done) or the key to start behind. */
void tr__scan_write(const tr__scan *scan, tr_json_writer *writer);
/** Back from JSON, whose TR_JSON_ARRAY token was read. */
int tr__scan_read(tr__scan *scan, tr_json_reader *reader);

/* -------------------------------------------------------------------------------------------- replica */

struct tr_replica {
    tr_client *client;
    char *table;
    tr_sink *sink;
    tr_replica_options options;
    atomic_bool stop;
    _Atomic(tr_stream *) running; /* to be stopped by tr_replica_stop */
    uv_mutex_t mutex;             /* guards progress */
    tr_replica_progress progress;
    char stream_arn[TR_STREAM_ARN_MAX + 1];

    /* of the thread of run */
    tr_arena memory; /* names of the table below */
    tr_sink_table schema;
    bool opened;
    tr_view_type view;
    tr_stream *stream;
    tr__scan scan;
    bool scan_open;
    bool again;                         /* the scan is a repeated one */
    bool exact;                         /* it reads a snapshot that the stream continues */
    bool resync;                        /* a gap was met: begin a scan again */
    char sequence[TR_SEQUENCE_MAX + 1]; /* of the snapshot */
    tr_replica_phase phase;
    int64_t scan_end_ms;   /* monotonic: when the scan's last page came */
    int64_t began_ms;      /* monotonic: when this run began */
    int64_t progressed_ms; /* monotonic: last sign of progress */
    tr_buf saved_stream;   /* the stream's part of the state */
    tr_buf committed;      /* the state in the sink */
    tr_buf state;          /* the next one, being written */
    tr_buf key, item, body;
};

/** Describes the table; the first time opens the sink for it, which gives its state into r->committed. */
int tr__replica_open(tr_replica *r, tr_error *err);
/** The state as it stands, into r->state. stream_json: of tr_stream_checkpoint_begin. */
int tr__replica_write_state(tr_replica *r, tr_view stream_json);
/** Restores from r->committed; *ret_known false if it is of another stream or there is none. */
int tr__replica_read_state(tr_replica *r, bool *ret_known, tr_error *err);
/** The order-preserving key of an item (or of its keys), into r->key. */
int tr__replica_key(tr_replica *r, tr_item item, tr_error *err);
/** The item of a key, read consistently: appended to ret_item, or nothing if it is not there. */
int tr__replica_get_item(tr_replica *r, tr_item key, tr_buf *ret_item, tr_error *err);

#endif
