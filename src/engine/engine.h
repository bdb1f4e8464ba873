/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ENGINE_ENGINE_H
#define TAILRACE_ENGINE_ENGINE_H

/**
 * engine.h: the embedded DynamoDB below its wire protocol: catalogue, items, indexes, transactions, change
 * streams, expiry. src/api decodes requests into the calls below and encodes what they give.
 *
 * Thread: all calls come from one thread, the engine's (in the server: its loop's). The engine owns one more,
 * which syncs the log, and calls `on_synced` from there.
 *
 * Durability: writes join the current batch. tr_engine_flush writes it (visible to later writes' conditions,
 * not yet durable) and wakes the sync thread. Every answer depends on a state; tr_engine_ticket names the
 * newest state that answers made now depend on, and an answer may leave once tr_engine_synced() >= its
 * ticket. Reads (tr_engine_get, cursors, records) see the last synced state, so their answers may leave at
 * once; writes and failed conditions wait for their ticket. Calls that change the catalogue, and
 * tr_engine_tick where it changes shards, are durable when they return, so tables and shards can be shown as
 * they are. A failed sync stops writes (TR_EIO) until the store is opened anew.
 *
 *   write ---> batch ---flush---> store ---sync thread---> durable, tr_engine_poll: snapshot for reads moves
 * on key touched twice in one batch: the batch is written first
 */

#include "expr/expr.h"
#include "kv/kv.h"

#include <tailrace/item.h>
#include <tailrace/record.h>

typedef struct tr_engine tr_engine;

typedef struct tr_engine_options {
    const char *dir;              /**< Optional: NULL is in memory. */
    const char *region;           /**< Optional: "us-east-1". */
    const char *account;          /**< Optional: "000000000000". */
    unsigned stream_shards;       /**< of a new stream; 0: 4 */
    int64_t shard_lifetime_ms;    /**< 0: 4 h */
    unsigned shard_split_rate;    /**< records/s of a shard above which it splits; 0: 1,000 */
    int64_t shard_split_after_ms; /**< once it has lasted so long; 0: 60 s */
    int64_t stream_retention_ms;  /**< 0: 24 h */
    int64_t expiry_interval_ms;   /**< between sweeps for expired items; 0: 30 s */
    size_t memory_bytes;          /**< see tr_kv_options */
    int64_t (*clock_ms)(void *);  /**< Optional: wall clock for tests */
    void *clock_ctx;
    /** Called by the sync thread: let the engine's thread call tr_engine_poll soon. In memory there is no
     * such thread: tr_engine_flush makes its state durable itself, and tr_engine_poll is called after it. */
    void (*on_synced)(void *ctx);
    void *on_synced_ctx;
    tr_logger logger;
} tr_engine_options;

int tr_engine_open(const tr_engine_options *options, tr_engine **ret_engine, tr_error *err);
/** Flushes, syncs, closes. */
void tr_engine_close(tr_engine *engine);

/** The newest state that an answer composed now depends on. 0 if nothing is pending. */
uint64_t tr_engine_ticket(const tr_engine *engine);
/** All states up to this one are durable. */
uint64_t tr_engine_synced(const tr_engine *engine);
/** Writes the current batch, if there is one, and has it synced. Call when no more requests are at hand. */
int tr_engine_flush(tr_engine *engine, tr_error *err);
/** After on_synced: moves the read snapshot on, wakes change listeners. Returns a code if syncing failed. */
int tr_engine_poll(tr_engine *engine, tr_error *err);
/** Flush and wait until all is durable. For shutdown and tests. */
int tr_engine_sync_wait(tr_engine *engine, tr_error *err);
/** Housekeeping that is due: shard rollover, trimming, expiry, index backfill, removal of deleted tables.
 * Bounded work per call. Returns the milliseconds after which to call again. */
int64_t tr_engine_tick(tr_engine *engine);
int64_t tr_engine_now_ms(const tr_engine *engine);

/* ---------------------------------------------------------------------------------------- catalogue */

#define TR_TABLE_NAME_MAX    255
#define TR_ATTR_NAME_MAX     255
#define TR_TABLE_INDEXES_MAX 30 /* 20 global, 5 local and 5 of vectors, Developer Guide quotas */
#define TR_ARN_MAX           1024

/* tr_key_part and tr_key_schema are expr.h's: tables have one attribute per side, indexes up to
 * TR_KEY_PARTS_MAX. */

typedef enum tr_projection_type {
    TR_PROJECT_ALL,
    TR_PROJECT_KEYS_ONLY,
    TR_PROJECT_INCLUDE
} tr_projection_type;
typedef enum tr_table_status { TR_CREATING, TR_UPDATING, TR_DELETING, TR_ACTIVE } tr_table_status;

typedef struct tr_throughput {
    int64_t read, write;           /* provisioned; 0 when on demand */
    int64_t max_read, max_write;   /* on demand; -1: not set */
    int64_t warm_read, warm_write; /* 0: not set */
} tr_throughput;

/* Quotas of vector indexes (Developer Guide, "Quotas: vector indexes"). */
#define TR_VECTOR_INDEXES_MAX    5
#define TR_VECTOR_DIMENSIONS_MAX 4096
#define TR_VECTOR_FILTERS_MAX    18
#define TR_VECTOR_TOP_MAX        100

typedef enum tr_distance { TR_COSINE, TR_EUCLIDEAN, TR_DOT_PRODUCT } tr_distance;

/** What makes an index one of vectors. The attribute that partitions it, if one does, is its schema's hash
 * key. */
typedef struct tr_vector {
    uint32_t dimensions; /* 0: an index of the other kinds */
    tr_distance distance;
    tr_view attribute;    /* a list of that many numbers */
    tr_key_part *filters; /* attributes that a search may hold to a value */
    unsigned filter_count;
} tr_vector;

typedef struct tr_index {
    uint32_t space; /* its number in keys of the store */
    bool local;
    tr_vector vector;
    tr_view name;
    tr_key_schema schema;
    tr_projection_type projection;
    tr_view *include; /* names, for TR_PROJECT_INCLUDE */
    unsigned include_count;
    tr_throughput throughput;
    tr_table_status status;
    bool backfilling;
    int64_t item_count, size_bytes;
} tr_index;

typedef struct tr_tag {
    tr_view key, value;
} tr_tag;

typedef struct tr_stream tr_stream;

/** A table as the catalogue keeps it. Read only for callers; changed by the functions below. */
typedef struct tr_table {
    uint32_t space; /* its number in keys of the store */
    tr_view name, arn;
    char uuid[TR_UUID_LEN + 1];
    int64_t created_ms;
    tr_table_status status;
    tr_key_schema schema;
    tr_key_part *attributes; /* definitions, in the order given */
    unsigned attribute_count;
    tr_index *indexes;
    unsigned index_count;
    bool on_demand;
    int64_t billing_changed_ms; /* 0: never */
    tr_throughput throughput;
    bool deletion_protection;
    tr_view table_class; /* empty: standard */
    tr_view sse;         /* SSESpecification as given, JSON; empty: none */
    tr_tag *tags;
    unsigned tag_count;
    tr_view ttl_attribute; /* empty: disabled */
    uint32_t ttl_space;    /* number of its list of expiry times */
    bool ttl_filling;      /* the list is still being made */
    int64_t pitr_since_ms; /* point-in-time recovery was enabled then; 0: it is not */
    uint32_t pitr_days;    /* its RecoveryPeriodInDays */
    tr_view restore;       /* RestoreSummary as JSON, of a table that was restored; empty: none */
    tr_stream *stream;     /* the newest, enabled or not; NULL: never had one */
    int64_t item_count, size_bytes;
} tr_table;

/** What CreateTable asks for, validated by the caller: names, types and counts are right and consistent.
 * Copied. */
typedef struct tr_table_spec {
    tr_view name;
    tr_key_schema schema;
    tr_key_part *attributes;
    unsigned attribute_count;
    tr_index *indexes;
    unsigned index_count;
    bool on_demand;
    tr_throughput throughput;
    bool deletion_protection;
    tr_view table_class, sse;
    tr_tag *tags;
    unsigned tag_count;
    tr_view_type stream_view; /* TR_VIEW_NONE: no stream */
    bool filling;             /* its status is TR_CREATING until tr_engine_update_table makes it active */
    tr_view restore;          /* see tr_table; empty: none */
} tr_table_spec;

/** TR_EEXIST. */
int tr_engine_create_table(tr_engine *engine, const tr_table_spec *spec, tr_table **ret_table, tr_error *err);
/** The table, or NULL. Valid until the next call that changes the catalogue. */
tr_table *tr_engine_table(tr_engine *engine, tr_view name);
/** First table whose name sorts after `after` (empty: first of all), or NULL. */
tr_table *tr_engine_next_table(tr_engine *engine, tr_view after);
/** Removes the table; its stream stays, disabled, for the retention time. */
int tr_engine_delete_table(tr_engine *engine, tr_table *table, tr_error *err);

/** What UpdateTable and its kin change; only what is set. */
typedef struct tr_table_change {
    bool set_billing, on_demand;
    bool set_throughput;
    tr_throughput throughput;
    bool set_deletion_protection, deletion_protection;
    bool set_table_class, set_sse;
    tr_view table_class, sse;
    bool set_stream;
    tr_view_type stream_view;          /* TR_VIEW_NONE disables */
    const tr_index *create_index;      /* at most one */
    const tr_key_part *new_attributes; /* definitions that create_index brings */
    unsigned new_attribute_count;
    tr_view delete_index, update_index; /* names; empty: none */
    tr_throughput index_throughput;
    bool set_ttl;
    tr_view ttl_attribute;
    bool set_tags;
    tr_tag *tags; /* the whole new set */
    unsigned tag_count;
    bool set_pitr;
    int64_t pitr_since_ms;
    uint32_t pitr_days;
    bool set_status; /* TR_CREATING while somebody fills it, then TR_ACTIVE */
    tr_table_status status;
    bool set_restore;
    tr_view restore;
} tr_table_change;
int tr_engine_update_table(tr_engine *engine, tr_table *table, const tr_table_change *change, tr_error *err);

/** A copy of what a table is, to read a snapshot with after the table itself has changed or gone. It has no
 * stream. TR_ENOMEM. */
int tr_engine_table_copy(tr_engine *engine, const tr_table *table, tr_table **ret_copy);
void tr_engine_table_copy_free(tr_table *copy);

/* -------------------------------------------------------------------------------------------- items */

typedef enum tr_write_kind { TR_WRITE_PUT, TR_WRITE_UPDATE, TR_WRITE_DELETE, TR_WRITE_CHECK } tr_write_kind;
typedef enum tr_write_outcome {
    TR_WRITE_DONE,
    TR_WRITE_CONDITION_FAILED,
    TR_WRITE_INVALID /* `error` tells: the update does not fit the item, item too large, index key of a wrong
                        type */
} tr_write_outcome;

/** One action. The caller has validated key types and sizes. Views must live until the call returns. */
typedef struct tr_write {
    tr_write_kind kind;
    tr_table *table;
    tr_item key;                   /* packed, key attributes only */
    tr_item item;                  /* PUT: the whole item */
    const tr_update *update;       /* UPDATE; NULL: creates the item with its key if it is absent */
    const tr_condition *condition; /* NULL: none */
    bool expired;                  /* DELETE by expiry: marked in the change record */
    /* results */
    tr_write_outcome outcome;
    tr_item before, after; /* empty views: absent; in the arena */
    bool changed;
    tr_error error; /* ValidationException text for TR_WRITE_INVALID */
} tr_write;

/**
 * Carries out the actions. atomic: either all or none (a transaction: conditions of all are checked first;
 * keys are distinct, checked by the caller); else each on its own, in order. Results of each are filled in;
 * for atomic ones all outcomes are given, so that cancellation reasons can be told. Returns a code only if
 * the store failed.
 */
int tr_engine_write(tr_engine *engine, tr_write *writes, size_t count, bool atomic, tr_arena *arena,
                    tr_error *err);

#define TR_TOKEN_MAX 64 /* bytes; ClientRequestToken has at most 36 */
/** What was put with an idempotency token in the last ten minutes, in the arena; TR_ENOTFOUND. Sees the
 * latest state: an answer that depends on it waits for its ticket. */
int tr_engine_token_get(tr_engine *engine, tr_view token, tr_arena *arena, tr_view *ret_value, tr_error *err);
/** Keeps a token, durable with the atomic tr_engine_write that came immediately before this call. */
int tr_engine_token_put(tr_engine *engine, tr_view token, tr_view value, tr_error *err);

typedef struct tr_engine_snapshot tr_engine_snapshot;
/** The last synced state, to read from several times; NULL in calls below means the same, taken anew. */
tr_engine_snapshot *tr_engine_snapshot_new(tr_engine *engine);
void tr_engine_snapshot_free(tr_engine *engine, tr_engine_snapshot *snapshot);
/** Sequence counter of the last change that the snapshot holds. */
uint64_t tr_engine_snapshot_sequence(const tr_engine_snapshot *snapshot);

/** The item of a key (packed, key attributes only), in the arena or pinned to it; TR_ENOTFOUND. */
int tr_engine_get(tr_engine *engine, const tr_engine_snapshot *snapshot, const tr_table *table, tr_item key,
                  tr_arena *arena, tr_item *ret_item, tr_error *err);

typedef enum tr_range_op {
    TR_RANGE_ALL,
    TR_RANGE_EQ,
    TR_RANGE_LT,
    TR_RANGE_LE,
    TR_RANGE_GT,
    TR_RANGE_GE,
    TR_RANGE_BETWEEN,
    TR_RANGE_BEGINS
} tr_range_op;

/** What to walk: one partition (Query) or a segment of a whole table or index (Scan). */
typedef struct tr_cursor_spec {
    const tr_engine_snapshot *snapshot; /* NULL: the last synced state */
    const tr_table *table;
    const tr_index *index; /* NULL: the table itself */
    /* Query: hash_count values; Scan: 0 */
    tr_value hash[TR_KEY_PARTS_MAX];
    unsigned hash_count;
    tr_value range[TR_KEY_PARTS_MAX]; /* leading range attributes that must be equal */
    unsigned range_count;
    tr_range_op op;     /* on the range attribute behind those */
    tr_value low, high; /* high for BETWEEN only */
    bool backward;
    uint32_t segment, segments; /* Scan; segments 0 counts as 1 */
    tr_item after; /* exclusive start: the key attributes of table and index; empty: from the start */
} tr_cursor_spec;

typedef struct tr_cursor tr_cursor;
/** `after` outside of the range walked: TR_EINVAL. */
int tr_cursor_new(tr_engine *engine, const tr_cursor_spec *spec, tr_cursor **ret_cursor, tr_error *err);
void tr_cursor_free(tr_cursor *cursor);
/** The next item (what the index holds of it); its view lives until the next call. TR_ENOTFOUND at the end.
 */
int tr_cursor_next(tr_cursor *cursor, tr_item *ret_item, tr_error *err);

/* ------------------------------------------------------------------------------------------ vectors */

/** Whether the item's attributes are what the vector index takes: a vector of its dimensions that 32-bit
 * floats hold, partition and filters of their types; what is not there is fit. Else false, and the service's
 * words in `err`. `old`: what was so before an update may stay; empty: everything is looked at. */
bool tr_vector_fits(const tr_index *index, tr_item old, tr_item item, bool update, tr_error *err);
/** A number as the 32-bit float that an index keeps of it; TR_ELIMIT: none does. */
int tr_vector_float(tr_view packed_number, float *ret_float);
/** Bytes that the index holds of an item: four for each dimension, names, and what is projected. 0: the item
 * is not in it. */
size_t tr_vector_entry_size(const tr_table *table, const tr_index *index, tr_item item);

typedef struct tr_vector_search {
    const tr_engine_snapshot *snapshot; /* NULL: the last synced state */
    const tr_table *table;
    const tr_index *index;
    tr_value partition;        /* of an index that is partitioned */
    const float *query;        /* as many as the index has dimensions */
    const tr_condition *where; /* Optional: on attributes that the index holds */
    unsigned top;              /* 1 to TR_VECTOR_TOP_MAX */
} tr_vector_search;

typedef struct tr_vector_match {
    double score;         /* of 32-bit precision and range */
    tr_item item;         /* what the index holds, but for the vector */
    const char *elements; /* of the vector: tr_vector_element */
} tr_vector_match;

/** Return other than 0 ends the search with that code. Views live until it returns. */
typedef int tr_vector_fn(void *ctx, const tr_vector_match *match);
/**
 * The nearest entries of the partition, best first: every entry is compared, so the answer is exact. Of equal
 * ones those come first whose keys do in the store.
 */
int tr_engine_search(tr_engine *engine, const tr_vector_search *search, tr_vector_fn *fn, void *ctx,
                     tr_error *err);
float tr_vector_element(const char *elements, uint32_t i);

/* ------------------------------------------------------------------------------------------ streams */

/** Sequence numbers on the wire are 10^20 + this counter, so that they have 21 digits; 0 is before all. */
#define TR_SEQUENCE_TEXT_MAX 22
void tr_sequence_format(uint64_t sequence, char *out);
/** Any number of 21 to 40 digits; one that is no sequence of ours is mapped in order (below all: 0, above:
 * UINT64_MAX). TR_EPARSE. */
int tr_sequence_parse(tr_view text, uint64_t *ret_sequence);

#define TR_SHARD_ID_SIZE 66

typedef struct tr_shard {
    uint32_t number; /* its number in keys of the store */
    char id[TR_SHARD_ID_SIZE];
    char parent[TR_SHARD_ID_SIZE]; /* "": none */
    uint64_t hash_from, hash_to;   /* inclusive */
    uint64_t start;                /* sequence from which records may be here */
    uint64_t end;                  /* last sequence when closed; 0: open */
    int64_t created_ms, closed_ms;
} tr_shard;

struct tr_stream {
    uint32_t number; /* its number in keys of the store */
    tr_view table_name, label, arn;
    tr_view_type view;
    tr_key_schema schema;
    int64_t created_ms, disabled_ms; /* 0: enabled */
    tr_shard *shards;                /* oldest first; those still listed */
    size_t shard_count;
};

/** By ARN; NULL. A stream's shards move when shards are added: pointers to them are good until the next
 * tr_engine_tick or change of the catalogue. */
tr_stream *tr_engine_stream(tr_engine *engine, tr_view arn);
/** All streams, in the order of their ARNs; NULL after the last. */
tr_stream *tr_engine_next_stream(tr_engine *engine, tr_view after_arn);

typedef enum tr_change_kind { TR_CHANGE_INSERT, TR_CHANGE_MODIFY, TR_CHANGE_REMOVE } tr_change_kind;
typedef struct tr_stream_change {
    uint64_t sequence;
    const tr_shard *shard;
    tr_change_kind kind;
    bool expired;
    int64_t time_ms;
    tr_item keys, new_image, old_image; /* empty: absent */
    size_t size_bytes;                  /* as the service counts SizeBytes */
} tr_stream_change;

/** Return false to stop before the next record. Views live during the call. */
typedef bool tr_stream_change_fn(void *ctx, const tr_stream_change *change);
/**
 * Records of one shard with sequence >= from, in order, of the last synced state. ret_next: where to go on.
 * TR_ETRIMMED if `from` lies before the trim horizon and records there were dropped.
 */
int tr_engine_read_shard(tr_engine *engine, tr_stream *stream, const tr_shard *shard, uint64_t from,
                         tr_stream_change_fn *fn, void *ctx, uint64_t *ret_next, tr_error *err);
/** The same over all shards of the stream, merged by sequence. */
int tr_engine_read_stream(tr_engine *engine, tr_stream *stream, uint64_t from, tr_stream_change_fn *fn,
                          void *ctx, uint64_t *ret_next, tr_error *err);
/** Sequence of the stream's newest synced record or, if it has none, of the state itself. */
uint64_t tr_engine_stream_tip(tr_engine *engine, const tr_stream *stream);
/** Lowest sequence that can still be read. */
uint64_t tr_engine_trim_horizon(tr_engine *engine, const tr_stream *stream);

/**
 * Told from tr_engine_poll when a stream has new synced records or its shards changed. stream NULL: all
 * streams. When the stream is removed (disabled, and past its retention time), the listener is told once more
 * and its stream is then one that tr_engine_stream does not know: look streams up by ARN when told.
 */
typedef struct tr_listener {
    const tr_stream *stream;
    void (*fn)(struct tr_listener *listener);
    void *ctx;
    struct tr_listener *next, *prev; /* private */
} tr_listener;
void tr_engine_listen(tr_engine *engine, tr_listener *listener);
void tr_engine_unlisten(tr_engine *engine, tr_listener *listener);

/* ------------------------------------------------------------------------------------------ others' use */

/** A copy of everything as of now in a directory that does not exist yet, made of hard links where possible.
 * TR_EUNSUPPORTED in memory. */
int tr_engine_checkpoint(tr_engine *engine, const char *dir, tr_error *err);

/** Told of each thing that is not as it should be, in words. */
typedef void tr_problem_fn(void *ctx, const char *problem);
/**
 * Reads the whole store: every item and record must be sound and lie where it should, counts must be right,
 * and indexes and expiry lists must hold exactly what follows from the items. The code tells of a store that
 * cannot be read on; else ret_problems how many were found.
 */
int tr_engine_check(tr_engine *engine, tr_problem_fn *fn, void *ctx, uint64_t *ret_problems, tr_error *err);

/** Makes what is in the batch visible to gets of the store's latest state, without having it synced. For
 * whoever must read what it has just put into the batch. */
int tr_engine_write_out(tr_engine *engine, tr_error *err);

/** The store, for the bus: its writes join the engine's batch (family TR_KV_BUS only) and follow the same
 * tickets. */
tr_kv *tr_engine_kv(tr_engine *engine);
tr_kv_batch *tr_engine_batch(tr_engine *engine);

#endif
