/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ENGINE_PRIVATE_H
#define TAILRACE_ENGINE_PRIVATE_H

/* What the files of this room share. See README.md for the formats of keys and values. */

#include "engine/engine.h"

#include <pthread.h>
#include <stdatomic.h>

/** First byte of every stored value. */
#define TR__VALUE_VERSION 1

/* Sizes of the fixed parts of keys. */
#define TR__ITEM_PREFIX     12 /* space u32, hash u64 */
#define TR__CHANGE_KEY      20 /* slice u32, stream u32, shard u32, sequence u64 */
#define TR__KEY_BUF_MAX     (64 * 1024)
#define TR__VALUE_LIMIT     (16 * 1024 * 1024) /* of a catalogue record; a stream with 10,000 shards has 3 MB */
#define TR__OPEN_SHARDS_MAX 1024               /* of one stream; splitting stops there */
/* Shards that a stream lists at once: four hours of rollover every second. Rollover and splitting wait
 * beyond. */
#define TR__SHARDS_MAX 16384
#define TR__LOOK_MS    1000 /* between looks at the shards' load and age */

/* A batch is written (not synced) when it has grown to this. */
#define TR__BATCH_BYTES_MAX (4 * 1024 * 1024)

/* ------------------------------------------------------------------------------------------- snapshots */

/** A state of the store that was, or is about to be, synced. Counted references, engine thread only, but for
 * the links below. */
struct tr_engine_snapshot {
    tr_kv_snapshot *kv;
    uint64_t state;    /* number of the flush that made it */
    uint64_t sequence; /* of its last change */
    unsigned refs;
    struct tr_engine_snapshot *next; /* in tr__syncer.done */
};

/** The thread that syncs the log, and what it shares with the engine's. Everything under `lock`. */
typedef struct tr__syncer {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    uint64_t requested;       /* newest state flushed */
    tr_engine_snapshot *next; /* of `requested`, not yet taken up */
    tr_engine_snapshot *done; /* synced, newest first, not yet polled */
    bool waiting, stop;
    int failed; /* code of the sync that failed */
    tr_error error;
    _Atomic uint64_t synced;
} tr__syncer;

/* --------------------------------------------------------------------------------------------- touched */

/** Hashes of the keys that the current batch holds. */
typedef struct tr__touched {
    struct tr__touched_slot {
        uint64_t hash;
        uint32_t round;
    } * slots;
    size_t cap, count; /* cap: a power of two */
    uint32_t round;    /* slots of other rounds are free */
} tr__touched;

/* -------------------------------------------------------------------------------------------- catalogue */

typedef struct tr__stream tr__stream;
typedef struct tr__table tr__table;

/** What the engine keeps of an index beside its public part. */
typedef struct tr__index {
    tr_view *names; /* attributes that its entries hold, sorted; NULL: all */
    unsigned name_count;
} tr__index;

/** An index or expiry list that is being filled: the key of the last item that it has. */
typedef struct tr__fill {
    uint32_t space;
    tr_buf to;
} tr__fill;

struct tr__table {
    tr_table pub; /* first */
    tr_arena arena;
    tr__index *index; /* beside pub.indexes */
    tr__fill *fills;
    unsigned fill_count;
    bool counts_dirty;
    tr__table *next_dirty;
};

struct tr__stream {
    tr_stream pub; /* first */
    tr_arena arena;
    size_t shard_cap;
    uint32_t *open; /* places in pub.shards of the open ones, by hash */
    size_t open_count, open_cap;
    uint64_t last_sequence; /* of the newest record made since the store was opened; 0: none */
    uint64_t unannounced;   /* of the first record that listeners have not been told of; 0: none */
    bool changed;           /* shards changed: tell listeners */
    bool news;              /* during an announcement */
    bool stale;             /* its record must be written anew */
    struct tr__shard_state {
        uint64_t trimmed_to; /* newest record that was dropped; 0: none */
        uint64_t window_records;
        int64_t busy_since_ms; /* 0: not above the threshold */
    } * state;                 /* beside pub.shards */
    uint64_t trimmed_to;
};

/** A run of change records: number in keys, first sequence, and when it began. */
typedef struct tr__slice {
    uint32_t number;
    uint64_t start;
    int64_t start_ms;
} tr__slice;

struct tr_engine {
    tr_kv *kv;
    tr_kv_batch *batch;
    tr_engine_options options; /* texts copied, defaults filled in */
    char *region, *account;
    int failed; /* writes are refused with this code */

    /* writing */
    uint64_t state;       /* number of the last flush */
    uint64_t fill_ticket; /* of the last step of filling */
    bool dirty;           /* something was staged or written since */
    uint64_t sequence;    /* of the last change staged */
    uint64_t sequence_stored;
    tr__touched touched;
    tr__table *dirty_tables;
    tr_buf key, key2, key3, value, value2; /* scratch */
    tr_arena scratch;

    /* catalogue */
    tr__table **tables; /* by name */
    size_t table_count, table_cap;
    tr__stream **streams; /* by ARN */
    size_t stream_count, stream_cap;
    uint32_t next_space, next_stream, next_shard;

    /* changes */
    tr__slice *slices; /* oldest first; never empty once a change was made */
    size_t slice_count, slice_cap;
    uint64_t slice_bytes; /* in the newest */
    bool slice_over;      /* the next record begins another */
    int64_t looked_ms;    /* when shards' load was last looked at */
    tr__stream no_stream; /* what listeners of a stream that is gone listen to */

    /* spaces whose files are to be dropped when no snapshot sees them any more */
    struct tr__gone {
        uint32_t space;
        uint64_t state; /* that deletes them */
    } * gone;
    size_t gone_count, gone_cap;
    size_t snapshots; /* alive */

    int64_t swept_ms; /* when the last sweep for expired items ended */
    uint64_t token_period;

    /* reading */
    tr_engine_snapshot *current; /* the last synced state */
    tr__syncer syncer;
    tr_listener *listeners, *listener_at; /* at: the next one that poll will look at */
};

/* engine.c */
/** Writes the batch out (visible to gets of the latest state) without making it a state to be synced. */
int tr__engine_write_out(tr_engine *engine, tr_error *err);
/** Refuses once a write or a sync has failed. */
int tr__engine_writable(tr_engine *engine, tr_error *err);
/** Remembers that the store can no longer be trusted to take writes. */
int tr__engine_broken(tr_engine *engine, int code);

/* sync.c */
int tr__sync_start(tr_engine *engine, tr_error *err);
void tr__sync_stop(tr_engine *engine);
/** Hands the state just written to the sync thread. */
int tr__sync_request(tr_engine *engine, tr_error *err);
/** Moves engine->current to the newest synced state. */
int tr__sync_collect(tr_engine *engine, tr_error *err);
int tr__sync_wait(tr_engine *engine, uint64_t state, tr_error *err);
int tr__snapshot_make(tr_engine *engine, tr_engine_snapshot **ret_snapshot);
void tr__snapshot_unref(tr_engine *engine, tr_engine_snapshot *snapshot);
static inline tr_engine_snapshot *tr__snapshot_ref(tr_engine *engine, const tr_engine_snapshot *snapshot)
{
    tr_engine_snapshot *s = snapshot ? (tr_engine_snapshot *)snapshot : engine->current;
    s->refs++;
    return s;
}

/* touched.c */
void tr__touched_done(tr__touched *touched);
void tr__touched_clear(tr__touched *touched);
bool tr__touched_has(const tr__touched *touched, uint64_t hash);
int tr__touched_add(tr__touched *touched, uint64_t hash);

/* keys.c */
/** Store key of the item that has these key attributes, into `out` (emptied first). TR_EINVAL if one is
 * missing or of a wrong type. */
int tr__key_of_item(const tr_table *table, tr_item item, tr_buf *out, uint64_t *ret_hash);
/** Store key of an index entry. TR_ENOTFOUND: the item is not in the index. */
int tr__key_of_entry(const tr_table *table, const tr_index *index, tr_item item, tr_buf *out);
/** Space and hash of a partition key, and its key forms. */
void tr__key_begin(tr_buf *out, uint32_t space, const tr_value *hash, unsigned hash_count,
                   uint64_t *ret_hash);
/** The smallest key that is larger than all keys beginning with these bytes. */
void tr__key_successor(tr_buf *key);
/** Key attributes of an item, packed. */
int tr__keys_of(const tr_key_schema *schema, tr_item item, tr_buf *out);
/** Hash of any bytes, frozen: it is part of the stored format. */
uint64_t tr__engine_hash(tr_view bytes);

/* catalogue_record.c */
int tr__table_encode(const tr_table *table, tr_buf *out);
int tr__stream_encode(const tr__stream *stream, tr_buf *out);
/** Views point into the record, arrays into the arena. */
int tr__table_decode(tr_item record, tr_arena *arena, tr_table *table, uint32_t *ret_stream);
int tr__stream_decode(tr_item record, tr__stream *stream);

/* catalogue.c */
int tr__catalogue_load(tr_engine *engine, tr_error *err);
void tr__catalogue_done(tr_engine *engine);
void tr__table_free(tr__table *table);
int tr__table_from_record(tr_engine *engine, tr_view record, tr__table **ret_table);
int tr__table_insert(tr_engine *engine, tr__table *table);
/** Makes the table what the draft says, in its place, and stages its record. */
int tr__table_change(tr_engine *engine, tr__table *table, const tr_table *draft);
int tr__stream_insert(tr_engine *engine, tr__stream *stream);
void tr__stream_remove(tr_engine *engine, const tr__stream *stream);
/** Removes indexes that are marked TR_DELETING. */
int tr__indexes_drop(tr_engine *engine, tr_error *err);
/** Deletes everything of a space. */
int tr__space_drop(tr_engine *engine, uint32_t space);
int tr__gone_append(tr_engine *engine, uint32_t space);
/** The table's counts go into the next batch. */
static inline void tr__table_dirty(tr_engine *engine, tr__table *table)
{
    if (table->counts_dirty)
        return;
    table->counts_dirty = true;
    table->next_dirty = engine->dirty_tables;
    engine->dirty_tables = table;
}

/* catalogue_store.c: stage records of the catalogue, read them back */
int tr__store_table(tr_engine *engine, const tr__table *table);
int tr__store_stream(tr_engine *engine, const tr__stream *stream);
void tr__store_counters(tr_engine *engine);
void tr__store_counts(tr_engine *engine, const tr__table *table);
void tr__store_sequence(tr_engine *engine);
void tr__store_slice(tr_engine *engine, const tr__slice *slice);
void tr__store_gone(tr_engine *engine, uint32_t space);
void tr__forget_gone(tr_engine *engine, uint32_t space);
void tr__store_fill(tr_engine *engine, uint32_t space, tr_view to);
void tr__forget_fill(tr_engine *engine, uint32_t space);
void tr__forget_slice(tr_engine *engine, uint32_t number);
void tr__forget_table(tr_engine *engine, const tr__table *table);
void tr__forget_stream(tr_engine *engine, const tr__stream *stream);
int tr__store_load(tr_engine *engine, tr_error *err);
/** Makes catalogue changes staged in the batch durable. */
int tr__catalogue_commit(tr_engine *engine, tr_error *err);

/* vector.c: the part of entries that is a vector */
/** Bytes of a stored element. */
#define TR__ELEMENT 4
/** Elements that are summed side by side; a query has zeros up to a whole number of these. */
#define TR__LANES 8
/** Appends the item's vector. TR_ENOTFOUND: the index does not hold the item. */
int tr__vector_put(const tr_index *index, tr_item item, tr_buf *out);
/** What ranks a stored vector: the smaller, the nearer. `query_square`: of the query with itself. */
double tr__vector_rank(tr_distance distance, const float *query, double query_square, const char *stored,
                       uint32_t count);
double tr__vector_square(const float *query, uint32_t count);
/** The score that the service tells for a rank. */
double tr__vector_score(tr_distance distance, double rank);

/* index.c */
/** Whether the new item's index keys are fit for their indexes; else the write's outcome says why not. */
void tr__index_check(tr_write *write, tr_item before, tr_item after);
/** Stages what a write changes in all indexes. */
int tr__index_stage(tr_engine *engine, tr__table *table, tr_view item_key, tr_item before, tr_item after);

/** Stages the entry of an item that the index has not seen. */
int tr__index_fill(tr_engine *engine, tr__table *table, unsigned i, tr_item item);

/* fill.c */
int tr__fill_begin(tr__table *table, uint32_t space);
void tr__fill_end(tr__table *table, uint32_t space);
void tr__fill_done(tr__table *table);
tr__fill *tr__fill_find(const tr__table *table, uint32_t space);
/** Whether writes of the item must maintain the space. */
static inline bool tr__fill_has(const tr__table *table, uint32_t space, tr_view item_key)
{
    if (TR_LIKELY(table->fill_count == 0))
        return true;
    const tr__fill *fill = tr__fill_find(table, space);
    return !fill || tr_view_cmp(item_key, tr_buf_view(&fill->to)) <= 0;
}
/** Some items of one table's filling; ret_more is set if there is anything to fill. */
int tr__fill_step(tr_engine *engine, bool *ret_more, tr_error *err);

/** Key and value of the entry that the item must have; TR_ENOTFOUND: none. */
int tr__index_entry(const tr__table *table, unsigned i, tr_item item, tr_buf *key, tr_buf *value);

/* expiry.c */
/** When the item expires, if it ever does. */
bool tr__expiry_of(const tr_table *table, tr_item item, int64_t *ret_s);
int tr__expiry_stage(tr_engine *engine, const tr__table *table, tr_view item_key, tr_item before,
                     tr_item after);
/** Deletes what is due, when a sweep is. */
int tr__expiry_step(tr_engine *engine, bool *ret_more, tr_error *err);

/* token.c */
void tr__tokens_trim(tr_engine *engine);

/* stream.c */
int tr__stream_create(tr_engine *engine, const tr_table *table, tr_view_type view, tr__stream **ret_stream);
int tr__stream_disable(tr_engine *engine, tr__stream *stream);
int tr__stream_from_record(tr_view record, tr__stream **ret_stream);
void tr__stream_free(tr__stream *stream);
/** Room for one more shard, zeroed. Moves the others. */
int tr__stream_grow(tr__stream *stream, tr_shard **ret_shard, struct tr__shard_state **ret_state);
int tr__stream_add_shard(tr_engine *engine, tr__stream *stream, const char *parent, uint64_t hash_from,
                         uint64_t hash_to);
void tr__stream_close_shard(tr_engine *engine, tr__stream *stream, size_t at);
/** Lists the open shards anew. */
int tr__stream_reopen(tr__stream *stream);
/** Place of the open shard that takes the hash. */
size_t tr__stream_shard_of(const tr__stream *stream, uint64_t hash);

/* stream_keep.c: housekeeping; what they stage must be committed */
/** Rollover and splits that are due. */
int tr__streams_turn_over(tr_engine *engine, bool *ret_changed);
/** Drops what is past retention. ret_dropped: the newest slice that was dropped, unchanged if none was. */
int tr__streams_trim(tr_engine *engine, uint32_t *ret_dropped, bool *ret_more, tr_error *err);

/* record.c */
typedef struct tr__change {
    uint64_t hash; /* of the partition key */
    bool expired;
    tr_item before, after; /* empty: absent */
    size_t size_before, size_after;
} tr__change;
int tr__record_stage(tr_engine *engine, tr__stream *stream, const tr__change *change);
void tr__record_key(uint32_t slice, uint32_t stream, uint32_t shard, uint64_t sequence, char *out);
/** Decodes a stored record; `change->shard` is left alone. Keys that are not stored are cut out into `keys`.
 */
int tr__record_decode(const tr_stream *stream, tr_view key, tr_view value, tr_buf *keys,
                      tr_stream_change *change);
int tr__slice_append(tr_engine *engine, tr__slice slice);
int tr__slice_begin(tr_engine *engine, int64_t now_ms);
/** After a batch was written: ends the slice if it is large. */
void tr__slice_cut(tr_engine *engine);
int64_t tr__slice_length_ms(const tr_engine *engine);

/* cursor.c */
/** First hash of part i of n of all hashes: floor(i * 2^64 / n). i = n gives 0. */
uint64_t tr__hash_split(uint64_t i, uint64_t n);

#endif
