/* SPDX-License-Identifier: MIT */
#include "api/past.h"
#include "api/call.h"

#include "base/hash.h"

/* Of the second engine that reads a backup: it reads once, from front to back. */
#define BACKUP_CACHE ((size_t)8 * 1024 * 1024)

/* What a key's item was; empty: there was none. */
typedef struct undo {
    UT_hash_handle hh;
    tr_item key, item;
} undo;

/* Records of one step. */
#define COLLECT_RECORDS 512

/* A walk over a stream's records, from its beginning, in steps. The stream is looked up each time: it may go
 * between them. */
typedef struct walk {
    tr_engine *engine;
    char arn[TR_ARN_MAX + 1]; /* empty: at its end */
    uint64_t next;
    unsigned left; /* of this step */
} walk;

struct tr_past {
    tr_engine *engine;
    bool own_engine;
    tr_engine_snapshot *snapshot;
    bool own_snapshot;
    tr_table *table;
    tr_cursor *cursor; /* NULL: at its end */
    tr_arena arena;
    tr_buf key;
    undo *undone; /* by key */
    undo *next;   /* after the cursor's end: the next to give */
    walk walk;
    int code; /* of collecting */
    int64_t at_ms;
};

const tr_table *tr_past_table(const tr_past *p)
{
    return p->table;
}

void tr_past_free(tr_past *p)
{
    if (!p)
        return;
    HASH_CLEAR(hh, p->undone);
    tr_cursor_free(p->cursor);
    if (p->own_snapshot)
        tr_engine_snapshot_free(p->engine, p->snapshot);
    tr_engine_table_copy_free(p->table);
    if (p->own_engine)
        tr_engine_close(p->engine);
    tr_buf_done(&p->key);
    tr_arena_done(&p->arena);
    tr_free(p);
}

static tr_past *past_alloc(tr_engine *engine)
{
    tr_past *p = tr_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->engine = engine;
    tr_arena_init(&p->arena, TR_PAST_BYTES_MAX);
    tr_buf_init(&p->key, (size_t)16 * 1024);
    return p;
}

static int open_cursor(tr_past *p, const tr_table *table, tr_error *err)
{
    int e = tr_engine_table_copy(p->engine, table, &p->table);
    if (e)
        return tr_fail(err, e, "out of memory");
    const tr_cursor_spec spec = {.snapshot = p->snapshot, .table = p->table};
    return tr_cursor_new(p->engine, &spec, &p->cursor, err);
}

/* ----------------------------------------------------------------------------------------------- the walk */

static void walk_begin(walk *w, tr_engine *engine, const tr_stream *stream)
{
    w->engine = engine;
    memcpy(w->arn, stream->arn.ptr, stream->arn.len);
    w->arn[stream->arn.len] = 0;
    w->next = tr_engine_trim_horizon(engine, stream);
}

/* TR_EBUSY: there are more. */
static int walk_on(walk *w, tr_stream_change_fn *fn, void *ctx, const int *code, tr_error *err)
{
    tr_stream *stream = w->arn[0] ? tr_engine_stream(w->engine, tr_view_str(w->arn)) : NULL;
    uint64_t next;
    if (!w->arn[0])
        return 0;
    if (!stream)
        return tr_fail(err, TR_ETRIMMED, "the table's stream is gone");
    w->left = COLLECT_RECORDS;
    int e = tr_engine_read_stream(w->engine, stream, w->next, fn, ctx, &next, err);
    if (e == 0 && *code)
        e = tr_fail(err, *code, "too much has changed since then: more than %zu MiB",
                    TR_PAST_BYTES_MAX >> 20);
    if (e)
        return e;
    w->next = next;
    if (w->left == 0)
        return TR_EBUSY;
    w->arn[0] = 0;
    return 0;
}

/* Whether the walk goes on in this step. */
static bool walked(walk *w)
{
    return --w->left > 0;
}

/* ------------------------------------------------------------------------------------------- taking back */

static bool old_images(const tr_stream *stream)
{
    return stream && !stream->disabled_ms &&
           (stream->view == TR_OLD_IMAGE || stream->view == TR_NEW_AND_OLD_IMAGES);
}

typedef struct first_change {
    int64_t time_ms;
} first_change;

static bool take_time(void *ctx, const tr_stream_change *change)
{
    ((first_change *)ctx)->time_ms = change->time_ms;
    return false;
}

int64_t tr_past_earliest(tr_engine *engine, const tr_table *table)
{
    const tr_stream *stream = table->stream;
    first_change first = {.time_ms = 0};
    uint64_t next, horizon;
    if (!old_images(stream))
        return INT64_MAX;
    horizon = tr_engine_trim_horizon(engine, stream);
    if (tr_engine_read_stream(engine, table->stream, horizon, take_time, &first, &next, NULL))
        return INT64_MAX;
    /* before the first record that is left nothing is known, once records were dropped */
    return horizon <= 1 || !first.time_ms ? stream->created_ms : first.time_ms;
}

static bool collect(void *ctx, const tr_stream_change *change)
{
    tr_past *p = ctx;
    undo *u;
    if (change->time_ms <= p->at_ms)
        return walked(&p->walk);
    HASH_FIND(hh, p->undone, change->keys.ptr, change->keys.len, u);
    if (u)
        return walked(&p->walk); /* an earlier change has told what was before */
    u = tr_arena_calloc(&p->arena, 1, sizeof *u);
    if (u)
        u->key = tr_arena_copy(&p->arena, change->keys);
    if (u && change->old_image.len)
        u->item = tr_arena_copy(&p->arena, change->old_image);
    if (!u || !u->key.ptr || (change->old_image.len && !u->item.ptr)) {
        p->code = p->arena.used > TR_PAST_BYTES_MAX / 2 ? TR_ELIMIT : TR_ENOMEM;
        return false;
    }
    HASH_ADD_KEYPTR(hh, p->undone, u->key.ptr, u->key.len, u);
    if (!u->hh.tbl) { /* it was not added */
        p->code = TR_ENOMEM;
        return false;
    }
    return walked(&p->walk);
}

int tr_past_collect(tr_past *p, tr_error *err)
{
    return walk_on(&p->walk, collect, p, &p->code, err);
}

static int take_back(tr_past *p, tr_engine *engine, const tr_table *table, int64_t at_ms, tr_error *err)
{
    if (at_ms >= tr_engine_now_ms(engine))
        return 0;
    if (at_ms < tr_past_earliest(engine, table))
        return tr_fail(err, TR_ETRIMMED,
                       "the table's stream does not reach back to that time with old images");
    p->at_ms = at_ms;
    walk_begin(&p->walk, engine, table->stream);
    return 0;
}

/* -------------------------------------------------------------------------------------------------- making
 */

/* The snapshot and what is to be taken back from it. */
static int past_begin(tr_past *p, tr_engine *engine, const tr_table *table, int64_t at_ms, tr_error *err)
{
    p->snapshot = tr_engine_snapshot_new(engine);
    p->own_snapshot = p->snapshot != NULL;
    int e = p->snapshot ? take_back(p, engine, table, at_ms, err) : tr_fail(err, TR_ENOMEM, "out of memory");
    return e ? e : open_cursor(p, table, err);
}

int tr_past_new(tr_engine *engine, const tr_table *table, int64_t at_ms, tr_past **ret_past, tr_error *err)
{
    /* what was acknowledged is in it */
    int e = tr_engine_sync_wait(engine, err);
    if (e)
        return e;
    tr_past *p = past_alloc(engine);
    if (!p)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    e = past_begin(p, engine, table, at_ms, err);
    if (e) {
        tr_past_free(p);
        return e;
    }
    *ret_past = p;
    return 0;
}

int tr_past_of_snapshot(tr_engine *engine, const tr_engine_snapshot *snapshot, const tr_table *table,
                        tr_past **ret_past, tr_error *err)
{
    tr_past *p = past_alloc(engine);
    if (!p)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    p->snapshot = (tr_engine_snapshot *)(uintptr_t)snapshot; /* borrowed, not changed */
    int e = open_cursor(p, table, err);
    if (e) {
        tr_past_free(p);
        return e;
    }
    *ret_past = p;
    return 0;
}

/* The copy as an engine, and its table. */
static int open_copy(const char *dir, tr_view name, tr_engine **ret_engine, const tr_table **ret_table,
                     tr_error *err)
{
    const tr_engine_options options = {.dir = dir, .memory_bytes = BACKUP_CACHE};
    int e = tr_engine_open(&options, ret_engine, err);
    if (e)
        return e;
    *ret_table = tr_engine_table(*ret_engine, name);
    if (*ret_table)
        return 0;
    tr_engine_close(*ret_engine);
    return tr_fail(err, TR_ENOTFOUND, "the copy has no table %.*s", TR_FMT(name));
}

int tr_past_of_directory(const char *dir, tr_view name, int64_t at_ms, tr_past **ret_past, tr_error *err)
{
    const tr_table *table;
    tr_past *p = past_alloc(NULL);
    if (!p)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    int e = open_copy(dir, name, &p->engine, &table, err);
    p->own_engine = e == 0;
    if (e == 0)
        e = past_begin(p, p->engine, table, at_ms, err);
    for (int more = e ? 0 : TR_EBUSY; more == TR_EBUSY && e == 0;) {
        more = tr_past_collect(p, err);
        e = more == TR_EBUSY ? 0 : more;
    }
    if (e) {
        tr_past_free(p);
        return e;
    }
    *ret_past = p;
    return 0;
}

/* -------------------------------------------------------------------------------------------------- walking
 */

/* What stands in place of an item of now; NULL: nothing does. */
static undo *replaced(tr_past *p, tr_item item, int *ret_code)
{
    undo *u = NULL;
    *ret_code = p->undone ? tr__key_pack(&p->table->schema, item, &p->key) : 0;
    if (*ret_code == 0 && p->undone)
        HASH_FIND(hh, p->undone, p->key.ptr, p->key.len, u);
    return u;
}

int tr_past_next(tr_past *p, tr_item *ret_item, tr_error *err)
{
    while (p->cursor) {
        int code;
        int e = tr_cursor_next(p->cursor, ret_item, err);
        if (e == TR_ENOTFOUND) {
            tr_cursor_free(p->cursor);
            p->cursor = NULL;
            p->next = p->undone;
            break;
        }
        if (e)
            return e;
        undo *u = replaced(p, *ret_item, &code);
        if (code)
            return tr_fail(err, code, "out of memory");
        if (!u)
            return 0;
        /* what it was comes at the end, with those that are gone */
    }
    while (p->next) {
        const undo *u = p->next;
        p->next = u->hh.next;
        if (!u->item.len)
            continue;
        *ret_item = u->item;
        return 0;
    }
    return TR_ENOTFOUND;
}

/* ------------------------------------------------------------------------------------------------- changes
 */

typedef struct delta {
    UT_hash_handle hh;
    tr_past_change change;
} delta;

struct tr_past_changes {
    tr_arena arena;
    delta *all, *next;
    bool begun; /* next is set */
    int64_t from_ms, to_ms;
    walk walk;
    int code;
};

static bool copy_into(tr_arena *arena, tr_item item, tr_item *ret_copy)
{
    *ret_copy = (tr_item){NULL, 0};
    if (item.len)
        *ret_copy = tr_arena_copy(arena, item);
    return !item.len || ret_copy->ptr;
}

static bool add_change(void *ctx, const tr_stream_change *change)
{
    tr_past_changes *p = ctx;
    delta *d;
    if (change->time_ms < p->from_ms || change->time_ms >= p->to_ms)
        return walked(&p->walk);
    HASH_FIND(hh, p->all, change->keys.ptr, change->keys.len, d);
    bool fresh = !d;
    if (fresh)
        d = tr_arena_calloc(&p->arena, 1, sizeof *d);
    if (!d ||
        (fresh && (!copy_into(&p->arena, change->keys, &d->change.keys) ||
                   !copy_into(&p->arena, change->old_image, &d->change.before))) ||
        !copy_into(&p->arena, change->new_image, &d->change.after)) {
        p->code = TR_ELIMIT;
        return false;
    }
    d->change.time_ms = change->time_ms;
    if (!fresh)
        return walked(&p->walk);
    HASH_ADD_KEYPTR(hh, p->all, d->change.keys.ptr, d->change.keys.len, d);
    if (!d->hh.tbl)
        p->code = TR_ENOMEM;
    return walked(&p->walk) && p->code == 0;
}

int tr_past_changes_collect(tr_past_changes *p, tr_error *err)
{
    return walk_on(&p->walk, add_change, p, &p->code, err);
}

int tr_past_changes_new(tr_engine *engine, const tr_table *table, int64_t from_ms, int64_t to_ms,
                        tr_past_changes **ret_changes, tr_error *err)
{
    if (from_ms < tr_past_earliest(engine, table) || table->stream->view != TR_NEW_AND_OLD_IMAGES)
        return tr_fail(err, TR_ETRIMMED,
                       "the table's stream does not reach back to that time with both images");
    int e = tr_engine_sync_wait(engine, err);
    tr_past_changes *p = e ? NULL : tr_calloc(1, sizeof *p);
    if (!p)
        return e ? e : tr_fail(err, TR_ENOMEM, "out of memory");
    tr_arena_init(&p->arena, TR_PAST_BYTES_MAX);
    p->from_ms = from_ms;
    p->to_ms = to_ms;
    walk_begin(&p->walk, engine, table->stream);
    *ret_changes = p;
    return 0;
}

int tr_past_changes_of_directory(const char *dir, tr_view name, int64_t from_ms, int64_t to_ms,
                                 tr_past_changes **ret_changes, tr_error *err)
{
    const tr_table *table;
    tr_engine *engine;
    tr_past_changes *p = NULL;
    int e = open_copy(dir, name, &engine, &table, err);
    if (e)
        return e;
    e = tr_past_changes_new(engine, table, from_ms, to_ms, &p, err);
    for (int more = e ? 0 : TR_EBUSY; more == TR_EBUSY && e == 0;) {
        more = tr_past_changes_collect(p, err);
        e = more == TR_EBUSY ? 0 : more;
    }
    tr_engine_close(engine);
    if (e) {
        tr_past_changes_free(p);
        return e;
    }
    *ret_changes = p;
    return 0;
}

void tr_past_changes_free(tr_past_changes *p)
{
    if (!p)
        return;
    HASH_CLEAR(hh, p->all);
    tr_arena_done(&p->arena);
    tr_free(p);
}

bool tr_past_changes_next(tr_past_changes *p, tr_past_change *ret_change)
{
    if (!p->begun)
        p->next = p->all;
    p->begun = true;
    if (!p->next)
        return false;
    *ret_change = p->next->change;
    p->next = p->next->hh.next;
    return true;
}
