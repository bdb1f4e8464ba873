/* SPDX-License-Identifier: MIT */
/*
 * Events become changes, collected until enough of them make a transaction. An event's own changes are kept
 * apart until its function has returned, so that one that fails leaves nothing behind.
 */
#include "eventstore/model.h"

#include <stdio.h>
#include <uv.h>

#include "base/hash.h"

/* A transaction is ended before the next event could make it larger than the model takes. */
#define CHANGES_MAX   (TR_PROJECT_ROWS_MAX + 1)
#define ENOUGH_BYTES  ((size_t)1 << 20)
#define CONFLICTS_MAX 50 /* in a row */
#define RETRY_MIN_MS  5
#define RETRY_MAX_MS  1000
#define EVENTS_MAX    1000
#define MEMORY_MAX    ((size_t)256 << 20)
#define MEMORY_KEPT   ((size_t)64 << 20) /* beyond it everything is read anew */

/* A row or a position as the transaction would leave it. */
typedef struct entry {
    UT_hash_handle hh;        /* by key, with a first byte that tells rows from positions */
    tr_view key;              /* with that byte */
    tr_item item, tried;      /* empty: not there; tried: by the event at hand */
    uint64_t before, version; /* revision or version before; version: of a position now */
    bool dirty, touched;      /* touched: by the event at hand */
    struct entry *next_dirty, *next_touched;
} entry;

struct tr_projecting {
    tr__model *model;
    const tr_projection_options *options;
    uint64_t generation;
    tr_arena arena;
    tr_buf key, packed;
    entry *entries, *first_dirty, *first_touched;
    size_t dirty, bytes, touched;
    tr_rng rng;
};

struct tr__projector {
    struct tr_projecting p;
};

static void forget(struct tr_projecting *p)
{
    HASH_CLEAR(hh, p->entries);
    p->entries = p->first_dirty = p->first_touched = NULL;
    p->dirty = p->bytes = p->touched = 0;
    tr_arena_reset(&p->arena);
}

/* ---------------------------------------------------------------------------------------------------- rows
 */

static int load(struct tr_projecting *p, entry *e, char kind, tr_error *err)
{
    tr_view key = tr_view_of(e->key.ptr + 1, e->key.len - 1);
    if (kind == 'p') {
        int code = p->model->position(p->model, key, &e->before, err);
        e->version = e->before;
        return code;
    }
    tr_buf_reset(&p->packed);
    int code = p->model->row(p->model, key, &p->packed, &e->before, err);
    if (!code && e->before) {
        e->item = tr_arena_copy(&p->arena, tr_buf_view(&p->packed));
        if (!e->item.ptr)
            code = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    e->tried = e->item;
    return code;
}

/* The entry, read where it is met first. */
static int find(struct tr_projecting *p, char kind, tr_view key, entry **ret, tr_error *err)
{
    entry *e = NULL;
    tr_buf_reset(&p->key);
    tr_buf_putc(&p->key, kind);
    tr_buf_put_view(&p->key, key);
    if (tr_buf_status(&p->key))
        return tr_fail(err, TR_ELIMIT, "a key of %zu bytes is too long", key.len);
    HASH_FIND(hh, p->entries, p->key.ptr, p->key.len, e);
    if (!e) {
        e = tr_arena_calloc(&p->arena, 1, sizeof *e);
        tr_view copy = tr_arena_copy(&p->arena, tr_buf_view(&p->key));
        if (!e || !copy.ptr)
            return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
        e->key = copy;
        int code = load(p, e, kind, err);
        if (code)
            return code;
        HASH_ADD_KEYPTR(hh, p->entries, copy.ptr, copy.len, e);
        if (!e->hh.tbl)
            return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    *ret = e;
    return 0;
}

static int find_row(tr_projecting *p, tr_view key, entry **ret, tr_error *err)
{
    if (key.len == 0 || key.len > TR_PROJECT_KEY_MAX || !tr_utf8_valid(key))
        return tr_fail(err, TR_EINVAL, "a row's key has 1 to %d bytes of UTF-8", TR_PROJECT_KEY_MAX);
    return find(p, 'r', key, ret, err);
}

int tr_project_get(tr_projecting *p, tr_view key, tr_item *ret_row, tr_error *err)
{
    entry *e;
    int code = find_row(p, key, &e, err);
    if (!code && e->tried.len == 0)
        code =
            tr_fail(err, TR_ENOTFOUND, "there is no row '%.*s'", key.len > 200 ? 200 : (int)key.len, key.ptr);
    if (!code)
        *ret_row = e->tried;
    return code;
}

static int change(tr_projecting *p, tr_view key, tr_item row, tr_error *err)
{
    entry *e;
    int code = find_row(p, key, &e, err);
    if (code)
        return code;
    if (!e->touched && p->touched == TR_PROJECT_ROWS_MAX)
        return tr_fail(err, TR_ELIMIT, "an event changes more than %d rows", TR_PROJECT_ROWS_MAX);
    if (!e->touched) {
        e->touched = true;
        e->next_touched = p->first_touched;
        p->first_touched = e;
        p->touched++;
    }
    e->tried = row;
    return 0;
}

int tr_project_put(tr_projecting *p, tr_view key, tr_item row, tr_error *err)
{
    static const char none[4] = {0}; /* an item without attributes */
    if (tr_item_check(row))
        return tr_fail(err, TR_EINVAL, "a row is not a packed item");
    if (tr_item_size(row) > TR_ITEM_SIZE_MAX)
        return tr_fail(err, TR_ELIMIT, "a row has %zu bytes: at most %d are possible", tr_item_size(row),
                       TR_ITEM_SIZE_MAX);
    tr_item copy = tr_arena_copy(&p->arena, row.len ? row : tr_view_of(none, sizeof none));
    return copy.ptr ? change(p, key, copy, err) : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

int tr_project_delete(tr_projecting *p, tr_view key, tr_error *err)
{
    return change(p, key, (tr_item){NULL, 0}, err);
}

/* ------------------------------------------------------------------------------------------------ reducers
 */

static int save_state(tr_projecting *p, const tr_reducer *reducer, const void *state, tr_buf *out,
                      tr_error *err)
{
    tr_packer packer;
    tr_packer_init(&packer, out);
    tr_pack_item_begin(&packer);
    int e = reducer->save(reducer->ctx, state, &packer);
    (void)p;
    if (!e)
        e = tr_pack_item_end(&packer);
    return e ? tr_fail(err, e, "saving an aggregate: %s", tr_strerror(e)) : 0;
}

/* The aggregate is the row. */
static int reduce(tr_projecting *p, tr_view key, const tr_subscribed *s, tr_error *err)
{
    const tr_reducer *reducer = p->options->reducer;
    tr_item row;
    tr_buf packed;
    void *state = tr_arena_calloc(&p->arena, 1, reducer->size);
    int e = state ? 0 : TR_ENOMEM;
    tr_buf_init(&packed, TR__MODEL_ROW_MAX);
    if (!e && reducer->init)
        e = reducer->init(reducer->ctx, state);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    if (tr_project_get(p, key, &row, err) == 0)
        e = reducer->load(reducer->ctx, state, row);
    if (e)
        (void)tr_fail(err, e, "loading an aggregate: %s", tr_strerror(e));
    if (!e)
        e = reducer->apply(reducer->ctx, state, &s->event, err);
    if (!e)
        e = save_state(p, reducer, state, &packed, err);
    if (!e)
        e = tr_project_put(p, key, tr_buf_view(&packed), err);
    if (reducer->done)
        reducer->done(reducer->ctx, state);
    tr_buf_done(&packed);
    return e;
}

/* -------------------------------------------------------------------------------------------------- events
 */

static void mark_dirty(struct tr_projecting *p, entry *e)
{
    if (e->dirty)
        return;
    e->dirty = true;
    e->next_dirty = p->first_dirty;
    p->first_dirty = e;
    p->dirty++;
}

/* What the event at hand has done becomes part of the transaction, or never was. */
static void settle(struct tr_projecting *p, bool keep)
{
    for (entry *e = p->first_touched; e; e = e->next_touched) {
        e->touched = false;
        if (keep) {
            p->bytes += e->tried.len + e->key.len;
            e->item = e->tried;
            mark_dirty(p, e);
        } else {
            e->tried = e->item;
        }
    }
    p->first_touched = NULL;
    p->touched = 0;
}

static int project_one(struct tr_projecting *p, const tr_subscribed *s, size_t *repeated, tr_error *err)
{
    entry *position;
    tr_buf key;
    tr_buf_init(&key, 2 * TR_EVENT_KEY_MAX);
    tr__aggregate_key(&key, s);
    int e = find(p, 'p', tr_buf_view(&key), &position, err);
    if (!e && s->event.version <= position->version) {
        if (s->overwritten)
            tr_log(&p->options->logger, TR_LOG_WARN,
                   "%.*s version %llu was overwritten after it was projected: rebuild",
                   TR_FMT(tr_buf_view(&key)), (unsigned long long)s->event.version);
        ++*repeated;
    } else if (!e) {
        e = p->options->reducer ? reduce(p, tr_buf_view(&key), s, err)
                                : p->options->project(p->options->ctx, p, s, err);
        settle(p, e == 0);
        if (!e) {
            mark_dirty(p, position);
            position->version = s->event.version;
        }
    }
    tr_buf_done(&key);
    return e;
}

static bool is_position(const entry *e)
{
    return e->key.ptr[0] == 'p';
}

/* What was written is what stands there now. */
static void settle_dirty(struct tr_projecting *p)
{
    for (entry *e = p->first_dirty; e; e = e->next_dirty) {
        e->dirty = false;
        e->before = is_position(e) ? e->version : e->item.len ? e->before + 1 : 0;
    }
    p->first_dirty = NULL;
    p->dirty = p->bytes = 0;
}

static int commit(struct tr_projecting *p, tr_error *err)
{
    tr__model_change *changes = tr_arena_calloc(&p->arena, p->dirty + 1, sizeof *changes);
    size_t n = 0;
    if (!changes) {
        p->model->rollback(p->model);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    for (const entry *e = p->first_dirty; e; e = e->next_dirty) {
        bool position = is_position(e);
        if (!position && e->item.len == 0 && !e->before)
            continue;
        changes[n++] = (tr__model_change){.position = position,
                                          .key = tr_view_of(e->key.ptr + 1, e->key.len - 1),
                                          .item = e->item,
                                          .before = e->before,
                                          .after = position ? e->version : e->before + 1};
    }
    if (n)
        return p->model->commit(p->model, changes, n, err);
    p->model->rollback(p->model);
    return 0;
}

/* One transaction. *ret_count: events in it. What a function failed with comes behind those before it. */
static int transact(struct tr_projecting *p, uint64_t generation, const tr_subscribed *events, size_t count,
                    size_t *ret_count, size_t *ret_repeated, tr_error *err)
{
    tr_error failure = {0};
    size_t n = 0, repeated = 0;
    int failed = 0;
    if (!p->model->checks || p->arena.used > MEMORY_KEPT || p->generation != generation)
        forget(p);
    p->generation = generation;
    int e = p->model->begin(p->model, generation, err);
    if (e)
        return e;
    while (n < count && n < EVENTS_MAX && p->dirty + CHANGES_MAX <= p->model->changes_max &&
           p->bytes <= ENOUGH_BYTES && !(failed = project_one(p, &events[n], &repeated, &failure)))
        n++;
    if (n == 0 && failed) {
        p->model->rollback(p->model);
        forget(p);
        return tr_fail(err, failed, "%s", failure.message);
    }
    e = commit(p, err);
    if (!e) {
        *ret_count = n;
        *ret_repeated = repeated;
        settle_dirty(p);
    } else {
        forget(p);
    }
    return e;
}

int tr__project(tr__projector *projector, uint64_t generation, const tr_subscribed *events, size_t count,
                tr__projected *ret, tr_error *err)
{
    struct tr_projecting *p = &projector->p;
    unsigned conflicts = 0;
    int e = 0;
    *ret = (tr__projected){0};
    while (!e && ret->done < count) {
        size_t n = 0, repeated = 0;
        e = transact(p, generation, events + ret->done, count - ret->done, &n, &repeated, err);
        ret->done += n;
        ret->repeated += repeated;
        if (e == TR_ECONFLICT && conflicts < CONFLICTS_MAX) {
            ret->conflicts++;
            uv_sleep((unsigned)(1 + tr_backoff_ms(&p->rng, conflicts++, RETRY_MIN_MS, RETRY_MAX_MS)));
            e = 0;
        } else {
            conflicts = 0;
        }
    }
    if (e)
        forget(p);
    return e;
}

int tr__projector_new(tr__model *model, const tr_projection_options *options, tr__projector **ret_projector)
{
    tr__projector *projector = tr_calloc(1, sizeof *projector);
    uint64_t seed;
    if (!projector)
        return TR_ENOMEM;
    struct tr_projecting *p = &projector->p;
    p->model = model;
    p->options = options;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&p->rng, seed);
    tr_arena_init(&p->arena, MEMORY_MAX);
    tr_buf_init(&p->key, 2 * TR_EVENT_KEY_MAX);
    tr_buf_init(&p->packed, TR__MODEL_ROW_MAX);
    *ret_projector = projector;
    return 0;
}

void tr__projector_free(tr__projector *projector)
{
    if (!projector)
        return;
    forget(&projector->p);
    tr_arena_done(&projector->p.arena);
    tr_buf_done(&projector->p.key);
    tr_buf_done(&projector->p.packed);
    tr_free(projector);
}
