/* SPDX-License-Identifier: MIT */
/*
 * A table in memory as a sink. Rows are never changed once made; who reads one holds a reference.
 *
 *   rows    what readers see: key → row; tombstones among them while a scan runs
 *   staged  the transaction's rows, by key: they shadow `rows` until commit puts them there under the lock
 *   log     the transaction's visible changes in order, each with the row before it, told after commit
 *
 * Only the replica's thread writes, so it reads `rows` without the lock.
 */
#include "replica/internal.h"

#include <tailrace/memory_table.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

/* out of memory is told, not fatal: the element is then not in the table */
#define uthash_nonfatal_oom(obj) ((obj)->lost = true)
#include "base/hash.h"

typedef struct row {
    UT_hash_handle hh;
    atomic_uint references;
    bool lost;           /* the hash table had no memory for it */
    bool scanned;        /* no change made it */
    uint64_t generation; /* of the scan that it was last confirmed in */
    tr_item item;        /* empty: a tombstone */
    tr_view key;
    size_t sequence_len;
    char sequence[TR_SEQUENCE_MAX];
    char bytes[]; /* key, item */
} row;

typedef struct change {
    row *before, *after; /* either may be NULL */
} change;

struct tr_memory_table {
    tr_memory_table_options options;
    uv_rwlock_t lock; /* guards rows, count, bytes and schema against readers */
    row *rows;
    uint64_t count, bytes; /* visible rows; all rows */
    tr_sink_table schema;
    tr_arena names;
    bool attached;

    /* of the replica's thread */
    row *staged;
    change *log;
    size_t log_len, log_cap;
    int64_t staged_bytes; /* by how much the transaction makes the table larger */
    bool in_scan, in_scan_committed;
    uint64_t generation, generation_committed;
    tr_buf state, state_committed;
};

typedef struct memory_sink {
    tr_sink base;
    tr_memory_table *table;
    bool opened;
} memory_sink;

/* ------------------------------------------------------------------------------------------------ rows */

static row *hold(row *r)
{
    if (r)
        atomic_fetch_add_explicit(&r->references, 1, memory_order_relaxed);
    return r;
}

static void drop(row *r)
{
    if (r && atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) == 1)
        tr_free(r);
}

static size_t weight(const row *r)
{
    return r->key.len + r->item.len;
}

static row *new_row(const tr_memory_table *t, const tr_sink_row *from)
{
    row *r = tr_malloc(sizeof *r + from->key.len + from->item.len);
    if (!r)
        return NULL;
    memset(r, 0, sizeof *r);
    atomic_init(&r->references, 1);
    memcpy(r->bytes, from->key.ptr, from->key.len);
    if (from->item.len)
        memcpy(r->bytes + from->key.len, from->item.ptr, from->item.len);
    r->key = tr_view_of(r->bytes, from->key.len);
    r->item = tr_view_of(r->bytes + from->key.len, from->item.len);
    r->scanned = from->sequence_number.len == 0;
    r->sequence_len = from->sequence_number.len;
    if (r->sequence_len)
        memcpy(r->sequence, from->sequence_number.ptr, r->sequence_len);
    r->generation = t->generation;
    return r;
}

static row *find(row *in, tr_view key)
{
    row *r;
    HASH_FIND(hh, in, key.ptr, key.len, r);
    return r;
}

/* As the transaction sees it. */
static row *look_up(const tr_memory_table *t, tr_view key)
{
    row *r = find(t->staged, key);
    return r ? r : find(t->rows, key);
}

static bool visible(const row *r)
{
    return r && r->item.len != 0;
}

static int log_change(tr_memory_table *t, row *before, row *after)
{
    if (!t->options.on_change || (!visible(before) && !visible(after)) ||
        (visible(before) && visible(after) && tr_view_eq(before->item, after->item)))
        return 0;
    if (t->log_len == t->log_cap) {
        size_t cap = t->log_cap ? 2 * t->log_cap : 64;
        change *log = tr_realloc(t->log, cap * sizeof *log);
        if (!log)
            return TR_ENOMEM;
        t->log = log;
        t->log_cap = cap;
    }
    t->log[t->log_len++] = (change){visible(before) ? hold(before) : NULL, hold(after)};
    return 0;
}

/* Puts a row (whose reference it takes) into the transaction, in place of what has its key. */
static int stage(tr_memory_table *t, row *r, tr_error *err)
{
    row *old = find(t->staged, r->key), *there = old ? old : find(t->rows, r->key);
    int e = log_change(t, there, r);
    if (!e) {
        t->staged_bytes += (int64_t)weight(r) - (there ? (int64_t)weight(there) : 0);
        if (old) {
            HASH_DEL(t->staged, old);
            drop(old);
        }
        HASH_ADD_KEYPTR(hh, t->staged, r->key.ptr, r->key.len, r);
        e = r->lost ? TR_ENOMEM : 0;
    }
    if (e) {
        drop(r);
        return tr_fail(err, e, "%s", tr_strerror(e));
    }
    if (t->options.max_bytes && t->staged_bytes > 0 &&
        t->bytes + (uint64_t)t->staged_bytes > t->options.max_bytes)
        return tr_fail(err, TR_ELIMIT, "%.*s does not fit into the %llu bytes that were allowed for it",
                       TR_FMT(t->schema.name), (unsigned long long)t->options.max_bytes);
    return 0;
}

static int stage_new(tr_memory_table *t, const tr_sink_row *from, tr_error *err)
{
    row *r = new_row(t, from);
    return r ? stage(t, r, err) : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

/* ------------------------------------------------------------------------------------------------ sink */

static void forget_transaction(tr_memory_table *t)
{
    row *r, *tmp;
    HASH_ITER(hh, t->staged, r, tmp)
    {
        HASH_DEL(t->staged, r);
        drop(r);
    }
    for (size_t i = 0; i < t->log_len; i++) {
        drop(t->log[i].before);
        drop(t->log[i].after);
    }
    t->log_len = 0;
    t->staged_bytes = 0;
}

static void memory_rollback(tr_sink *sink)
{
    tr_memory_table *t = ((memory_sink *)sink)->table;
    forget_transaction(t);
    t->in_scan = t->in_scan_committed;
    t->generation = t->generation_committed;
    tr_buf_reset(&t->state);
}

static int take_schema(tr_memory_table *t, const tr_sink_table *table, tr_error *err)
{
    if (t->schema.name.len)
        return tr_view_eq(t->schema.name, table->name)
                   ? 0
                   : tr_fail(err, TR_EEXIST, "this copy is of table %.*s, not of %.*s",
                             TR_FMT(t->schema.name), TR_FMT(table->name));
    tr_sink_table copy = *table;
    copy.hash_name = tr_arena_copy(&t->names, table->hash_name);
    copy.range_name = tr_arena_copy(&t->names, table->range_name);
    copy.name = tr_arena_copy(&t->names, table->name);
    if (!copy.hash_name.ptr || !copy.range_name.ptr || !copy.name.ptr)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    uv_rwlock_wrlock(&t->lock);
    t->schema = copy;
    uv_rwlock_wrunlock(&t->lock);
    return 0;
}

static int memory_open(tr_sink *sink, const tr_sink_table *table, tr_buf *ret_state, tr_error *err)
{
    memory_sink *s = (memory_sink *)sink;
    tr_memory_table *t = s->table;
    uv_rwlock_wrlock(&t->lock);
    bool busy = t->attached && !s->opened;
    if (!busy)
        t->attached = s->opened = true;
    uv_rwlock_wrunlock(&t->lock);
    if (busy)
        return tr_fail(err, TR_EBUSY, "another replica writes to this copy");
    memory_rollback(sink);
    int e = take_schema(t, table, err);
    if (e)
        return e;
    tr_buf_put_view(ret_state, tr_buf_view(&t->state_committed));
    e = tr_buf_status(ret_state);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

static int memory_begin(tr_sink *sink, tr_error *err)
{
    (void)sink;
    (void)err;
    return 0;
}

static int memory_apply(tr_sink *sink, const tr_sink_row *from, tr_error *err)
{
    tr_memory_table *t = ((memory_sink *)sink)->table;
    const row *there = look_up(t, from->key);
    if (!tr_sequence_valid(from->sequence_number))
        return tr_fail(err, TR_EINVAL, "'%.*s' is no sequence number", TR_FMT(from->sequence_number));
    if (there && there->sequence_len && there->generation == t->generation &&
        tr_sequence_cmp(from->sequence_number, tr_view_of(there->sequence, there->sequence_len)) <= 0)
        return 0;
    return stage_new(t, from, err);
}

static int memory_scanned(tr_sink *sink, const tr_sink_row *from, tr_error *err)
{
    tr_memory_table *t = ((memory_sink *)sink)->table;
    const row *there = look_up(t, from->key);
    bool changed = there && !there->scanned && there->generation == t->generation;
    return changed ? 0 : stage_new(t, from, err);
}

static int memory_scan_begin(tr_sink *sink, bool again, tr_error *err)
{
    tr_memory_table *t = ((memory_sink *)sink)->table;
    (void)err;
    t->in_scan = true;
    if (again || t->rows) /* rows without a state: a commit had no memory */
        t->generation++;
    return 0;
}

/* What the scan has not met goes, each with a tombstone that commit clears away. */
static int memory_scan_end(tr_sink *sink, bool again, uint64_t *ret_deleted, tr_error *err)
{
    tr_memory_table *t = ((memory_sink *)sink)->table;
    uint64_t deleted = 0;
    int e = 0;
    (void)again;
    t->in_scan = false;
    for (row *r = t->rows; r && !e; r = r->hh.next) {
        if (!visible(r) || r->generation == t->generation || find(t->staged, r->key))
            continue;
        e = stage_new(t, &(tr_sink_row){.key = r->key}, err);
        deleted++;
    }
    if (!e)
        *ret_deleted = deleted;
    return e;
}

static int memory_save(tr_sink *sink, tr_view state, tr_error *err)
{
    tr_memory_table *t = ((memory_sink *)sink)->table;
    tr_buf_reset(&t->state);
    tr_buf_put_view(&t->state, state);
    int e = tr_buf_status(&t->state);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

/* Takes a row out of what readers see. With the lock. */
static void take_out(tr_memory_table *t, row *r)
{
    HASH_DEL(t->rows, r);
    t->count -= visible(r);
    t->bytes -= weight(r);
    drop(r);
}

/* Makes room in the table first, so that nothing can fail half-way. Its buckets only grow by adding, which
 * can fail; a row that does not get in is told by `lost`. */
static int publish(tr_memory_table *t, bool clear)
{
    row *r, *tmp;
    int e = 0;
    HASH_ITER(hh, t->staged, r, tmp)
    {
        row *old = find(t->rows, r->key);
        HASH_DEL(t->staged, r);
        if (old)
            take_out(t, old);
        if (!visible(r) && !t->in_scan) {
            drop(r);
            continue;
        }
        HASH_ADD_KEYPTR(hh, t->rows, r->key.ptr, r->key.len, r);
        if (r->lost) {
            drop(r);
            e = TR_ENOMEM;
            continue;
        }
        t->count += visible(r);
        t->bytes += weight(r);
    }
    if (clear)
        HASH_ITER(hh, t->rows, r, tmp)
        {
            if (!visible(r))
                take_out(t, r);
        }
    return e;
}

static void tell(const tr_memory_table *t)
{
    for (size_t i = 0; i < t->log_len; i++) {
        const row *before = t->log[i].before, *after = t->log[i].after;
        tr_memory_change c = {.event = !before          ? TR_INSERT
                                       : visible(after) ? TR_MODIFY
                                                        : TR_REMOVE,
                              .new_item = after->item,
                              .sequence_number = tr_view_of(after->sequence, after->sequence_len)};
        if (before)
            c.old_item = before->item;
        t->options.on_change(t->options.ctx, &c);
    }
}

static int memory_commit(tr_sink *sink, tr_error *err)
{
    tr_memory_table *t = ((memory_sink *)sink)->table;
    uv_rwlock_wrlock(&t->lock);
    int e = publish(t, t->in_scan_committed && !t->in_scan);
    uv_rwlock_wrunlock(&t->lock);
    if (e) { /* rows are missing: only a new copy makes it whole */
        tr_buf_reset(&t->state_committed);
        return tr_fail(err, e, "%s", tr_strerror(e));
    }
    t->in_scan_committed = t->in_scan;
    t->generation_committed = t->generation;
    tr_buf state = t->state;
    t->state = t->state_committed;
    t->state_committed = state;
    tell(t);
    forget_transaction(t);
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    const row *const *x = a, *const *y = b;
    return tr_view_cmp((*x)->key, (*y)->key);
}

/* References to all visible rows in order of their keys; to be given back with release. */
static int snapshot(tr_memory_table *t, row ***ret_rows, size_t *ret_count)
{
    size_t n = 0;
    uv_rwlock_rdlock(&t->lock);
    row **rows = tr_calloc(t->count ? (size_t)t->count : 1, sizeof(row *));
    for (row *r = rows ? t->rows : NULL; r; r = r->hh.next)
        if (visible(r))
            rows[n++] = hold(r);
    uv_rwlock_rdunlock(&t->lock);
    if (!rows)
        return TR_ENOMEM;
    qsort(rows, n, sizeof *rows, compare_keys);
    *ret_rows = rows;
    *ret_count = n;
    return 0;
}

static void release(row **rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        drop(rows[i]);
    tr_free(rows);
}

static int memory_each(tr_sink *sink, int (*fn)(void *, tr_view, tr_item), void *ctx, tr_error *err)
{
    row **rows;
    size_t count;
    int e = snapshot(((memory_sink *)sink)->table, &rows, &count);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    for (size_t i = 0; i < count && !e; i++)
        e = fn(ctx, rows[i]->key, rows[i]->item);
    release(rows, count);
    return e;
}

static int get_by_key(tr_memory_table *t, tr_view key, tr_buf *ret_item)
{
    uv_rwlock_rdlock(&t->lock);
    row *r = hold(find(t->rows, key));
    uv_rwlock_rdunlock(&t->lock);
    int e = visible(r) ? 0 : TR_ENOTFOUND;
    if (!e) {
        tr_buf_put_view(ret_item, r->item);
        e = tr_buf_status(ret_item);
    }
    drop(r);
    return e;
}

static int memory_get(tr_sink *sink, tr_view key, tr_buf *ret_item, tr_error *err)
{
    int e = get_by_key(((memory_sink *)sink)->table, key, ret_item);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

static void memory_free(tr_sink *sink)
{
    memory_sink *s = (memory_sink *)sink;
    if (!s)
        return;
    if (s->opened) {
        memory_rollback(sink);
        uv_rwlock_wrlock(&s->table->lock);
        s->table->attached = false;
        uv_rwlock_wrunlock(&s->table->lock);
    }
    tr_free(s);
}

int tr_sink_memory(tr_memory_table *table, tr_sink **ret_sink, tr_error *err)
{
    memory_sink *s = tr_calloc(1, sizeof *s);
    if (!s)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    s->table = table;
    s->base = (tr_sink){.transactions = true,
                        .open = memory_open,
                        .begin = memory_begin,
                        .apply = memory_apply,
                        .scanned = memory_scanned,
                        .scan_begin = memory_scan_begin,
                        .scan_end = memory_scan_end,
                        .save = memory_save,
                        .commit = memory_commit,
                        .rollback = memory_rollback,
                        .each = memory_each,
                        .get = memory_get,
                        .free = memory_free};
    *ret_sink = &s->base;
    return 0;
}

/* ----------------------------------------------------------------------------------------------- table */

int tr_memory_table_new(const tr_memory_table_options *options, tr_memory_table **ret_table, tr_error *err)
{
    tr_memory_table *t = tr_calloc(1, sizeof *t);
    if (!t || uv_rwlock_init(&t->lock)) {
        tr_free(t);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    t->options = *options;
    tr_arena_init(&t->names, 65536);
    tr_buf_init(&t->state, TR__PAGE_MAX);
    tr_buf_init(&t->state_committed, TR__PAGE_MAX);
    *ret_table = t;
    return 0;
}

void tr_memory_table_free(tr_memory_table *t)
{
    if (!t)
        return;
    row *r, *tmp;
    forget_transaction(t);
    HASH_ITER(hh, t->rows, r, tmp)
    {
        HASH_DEL(t->rows, r);
        drop(r);
    }
    tr_free(t->log);
    tr_arena_done(&t->names);
    tr_buf_done(&t->state);
    tr_buf_done(&t->state_committed);
    uv_rwlock_destroy(&t->lock);
    tr_free(t);
}

int tr_memory_table_get(tr_memory_table *t, tr_item key, tr_buf *ret_item)
{
    tr_buf bytes;
    tr_error ignored;
    tr_buf_init(&bytes, 65536); /* keys have at most 3 KiB, which escaping doubles */
    uv_rwlock_rdlock(&t->lock);
    tr_sink_table schema = t->schema; /* its names never change again */
    uv_rwlock_rdunlock(&t->lock);
    int e = schema.name.len ? tr__row_key(&schema, key, &bytes, &ignored) : TR_ENOTFOUND;
    if (!e)
        e = get_by_key(t, tr_buf_view(&bytes), ret_item);
    tr_buf_done(&bytes);
    return e;
}

int tr_memory_table_each(tr_memory_table *t, int (*fn)(void *ctx, tr_item item), void *ctx)
{
    row **rows;
    size_t count;
    int e = snapshot(t, &rows, &count);
    if (e)
        return e;
    for (size_t i = 0; i < count && !e; i++)
        e = fn(ctx, rows[i]->item);
    release(rows, count);
    return e;
}

uint64_t tr_memory_table_count(tr_memory_table *t)
{
    uv_rwlock_rdlock(&t->lock);
    uint64_t count = t->count;
    uv_rwlock_rdunlock(&t->lock);
    return count;
}

uint64_t tr_memory_table_bytes(tr_memory_table *t)
{
    uv_rwlock_rdlock(&t->lock);
    uint64_t bytes = t->bytes;
    uv_rwlock_rdunlock(&t->lock);
    return bytes;
}
