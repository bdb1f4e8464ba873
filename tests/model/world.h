/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_MODEL_WORLD_H
#define TAILRACE_MODEL_WORLD_H

/**
 * A world for the engine's model tests: an engine, and beside it an oracle that does the same in the plainest
 * way, a sorted array per table. Random operations are given to both; what the engine answers must be what
 * the oracle says, and from time to time everything in the store is compared.
 *
 * Each operation that changes something writes a marker item (number of the operation, under its number
 * modulo MARKERS) in the same transaction. So the store itself tells which operations it holds: the newest
 * marker, and the state after that operation must be all there is. The oracle keeps its state after every
 * operation.
 */

#include "engine/engine.h"

#define TABLES      3
#define MARKERS     32
#define KEYS_MAX    128 /* of a table: 12 partitions of 6 */
#define OPS_MAX     4000
#define INDEX_TABLE 4 /* places of an index in a table's bits */

typedef struct oracle_item {
    uint16_t key; /* partition * 6 + sort */
    tr_item item;
} oracle_item;

/** A table's contents, immutable once made. */
typedef struct oracle_items {
    size_t count;
    oracle_item item[KEYS_MAX];
} oracle_items;

typedef struct oracle_table {
    bool exists, local, global, expires;
    const oracle_items *items;
    const char *stream_arn;     /* NULL: none enabled */
    const oracle_items *before; /* what the table held when the stream was enabled */
} oracle_table;

typedef struct oracle {
    oracle_table table[TABLES];
} oracle;

typedef struct world {
    tr_engine_options options;
    tr_engine *engine;
    tr_arena arena; /* for everything; freed at the end */
    tr_rng rng;
    int64_t now_ms;
    oracle now;
    uint32_t op;           /* number of the last operation */
    oracle after[OPS_MAX]; /* states, by operation */
    uint64_t ticket[OPS_MAX];
    uint32_t answered; /* newest operation whose answer has left */
    uint32_t shown;    /* newest operation that a read has shown */
    uint32_t durable;  /* an operation that was waited for */
    bool large;        /* items of some 40 KB among them, so that files are written */
    bool trims;        /* records may be past retention */
    /* what happened, to know that the run was worth something */
    unsigned long writes, changed, refused, invalid, transactions, shards, reads;
} world;

void world_init(world *w, uint64_t seed, const char *dir);
void world_done(world *w);
void world_open(world *w);
/** One random operation. */
void world_step(world *w);
/** Everything durable, answered and shown to reads. */
void world_settle(world *w);
/** Everything in the store is what the oracle says. Settles first. */
void world_check(world *w);
/** After a crash and world_open: finds out which operations have come back, fails if one that was answered or
 * shown is lost, and goes on from there. */
void world_recover(world *w);

/* world_check.c */
void check_tables(world *w);
void check_streams(world *w);
/** The newest operation that the snapshot (NULL: the last synced state) holds. */
uint32_t newest_marker(world *w, const tr_engine_snapshot *snapshot);
tr_table *world_table(world *w, int t);
tr_item key_of(world *w, uint16_t key);
const oracle_item *oracle_find(const oracle_items *items, uint16_t key);

/** Ends the run with what went wrong, unless the condition holds. */
#define EXPECT(w, condition, ...)                                                                            \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            world_fail(w, __FILE__, __LINE__, #condition, __VA_ARGS__);                                      \
    } while (0)
#define MUST(w, call)                                                                                        \
    do {                                                                                                     \
        tr_error err_ = {0}, *err = &err_;                                                                   \
        int rc_ = (call);                                                                                    \
        EXPECT(w, rc_ == 0, "%s: %s", tr_strerror(rc_), err->message);                                       \
    } while (0)
TR_PRINTF(5, 6)
_Noreturn void world_fail(world *w, const char *file, int line, const char *what, const char *format, ...);

#endif
