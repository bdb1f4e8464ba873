/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_TOP_H
#define TAILRACE_CLI_TOP_H

/**
 * top.h: what `tailrace top` knows of a table's stream, and how it shows it.
 *
 * It reads the stream as one more consumer, from its newest record on, without a position of its own. So it
 * knows the shards, how much is written, and the last records of each shard by sequence number and time:
 * behind which of them a lease's checkpoint stands is how far that worker is behind.
 */

#include "cli/where.h"

#include <tailrace/stream.h>

#include <uthash.h>

/** Records of a shard that are remembered: beyond them a worker is "at least" that far behind. */
#define TR_TOP_SEEN     4096
#define TR_TOP_TABLES   16
#define TR_TOP_TEXT_MAX 160 /* bytes of an owner or checkpoint that are shown */

typedef struct tr_top_seen {
    char sequence[TR_SEQUENCE_MAX + 1];
    int64_t time_ms;
} tr_top_seen;

typedef struct tr_top_shard {
    UT_hash_handle hh;
    char id[TR_SHARD_ID_MAX + 1], parent[TR_SHARD_ID_MAX + 1];
    tr_shard_phase phase;
    uint64_t records, records_before;
    double rate;       /* records/s since the frame before */
    int64_t newest_ms; /* creation time of its newest record; 0: none was seen */
    int64_t lag_ms;    /* of our own reading; -1: unknown */
    tr_top_seen *seen; /* a ring of TR_TOP_SEEN, or NULL */
    size_t first, count;
    bool there;      /* at the last look */
    bool leased;     /* there is a row of it */
    bool worker_gap; /* lease: it is behind everything that is remembered */
    char owner[TR_TOP_TEXT_MAX], checkpoint[TR_TOP_TEXT_MAX], handover_to[TR_TOP_TEXT_MAX];
    uint64_t counter;
    uint64_t behind;       /* lease: records behind its checkpoint */
    int64_t worker_lag_ms; /* lease: age of the oldest of them; 0: none */
} tr_top_shard;

typedef struct tr_top_table {
    const char *name;
    tr_stream *stream;
    tr_top_shard *shards; /* in order of their ids */
    tr_stream_stats stats;
    uint64_t records_before, bytes_before;
    double record_rate, byte_rate;
    int64_t looked_ns;
    char trouble[400]; /* what fails, "" if nothing does */
} tr_top_table;

/* top_watch.c */
int tr_top_open(tr_top_table *table, const char *name, tr_client *client, tr_error *err);
void tr_top_close(tr_top_table *table);
/** Takes what was read meanwhile. TR_ECLOSED once the stream was stopped. */
int tr_top_read(tr_top_table *table);
/** Looks at everything anew; rates are since the call before. */
void tr_top_look(tr_top_table *table);
/** Reads the leases of the table's fleet. */
int tr_top_leases(tr_top_table *table, tr_client *client, const char *lease_table, tr_error *err);

/* top_draw.c */
typedef struct tr_top_view {
    const char *endpoint, *lease_table; /* lease_table: NULL: none */
    size_t rows, columns;               /* 0: no limit */
    bool ansi;                          /* bold and colours */
} tr_top_view;
/** A frame of lines. */
void tr_top_draw(const tr_top_table *tables, size_t count, const tr_top_view *view, tr_buf *out);
/** A frame as one JSON object per table, a line each. */
void tr_top_json(const tr_top_table *tables, size_t count, const tr_top_view *view, tr_buf *out);

#endif
