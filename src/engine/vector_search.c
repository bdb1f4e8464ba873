/* SPDX-License-Identifier: MIT */
/* The nearest vectors of a partition: all are compared, the best kept in a heap. */
#include "engine/engine_private.h"

#include <string.h>

/* An index without partitions that is larger than this is read past the cache: it would push out of it what
 * others need, and itself before the next search. */
#define WHOLE_BYTES (16 * 1024 * 1024)

/* One of the best so far: where it is, not what, since most are displaced again. */
typedef struct candidate {
    double rank;
    uint64_t order; /* in the walk */
    tr_buf key;
} candidate;

typedef struct search {
    tr_engine *engine;
    const tr_vector_search *spec;
    tr_engine_snapshot *snapshot;
    float query[TR_VECTOR_DIMENSIONS_MAX + TR__LANES]; /* zeros behind the dimensions */
    double square;
    candidate *heap; /* the worst first */
    unsigned count;
} search;

static bool worse(const candidate *a, const candidate *b)
{
    return a->rank > b->rank || (a->rank == b->rank && a->order > b->order);
}

static void swap(candidate *a, candidate *b)
{
    candidate c = *a;
    *a = *b;
    *b = c;
}

static void sink(candidate *heap, unsigned count, unsigned at)
{
    for (;;) {
        unsigned worst = at, left = 2 * at + 1;
        for (unsigned child = left; child < count && child < left + 2; child++)
            if (worse(&heap[child], &heap[worst]))
                worst = child;
        if (worst == at)
            return;
        swap(&heap[at], &heap[worst]);
        at = worst;
    }
}

static void rise(candidate *heap, unsigned at)
{
    while (at && worse(&heap[at], &heap[(at - 1) / 2])) {
        swap(&heap[at], &heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static int keep(search *s, tr_view key, double rank, uint64_t order)
{
    bool full = s->count == s->spec->top;
    if (full && rank >= s->heap[0].rank)
        return 0;
    candidate *c = &s->heap[full ? 0 : s->count];
    tr_buf_reset(&c->key);
    tr_buf_put_view(&c->key, key);
    c->rank = rank;
    c->order = order;
    if (full)
        sink(s->heap, s->count, 0);
    else
        rise(s->heap, s->count++);
    return tr_buf_status(&s->heap[0].key);
}

/* The vector and the item of an entry. */
static int parts(const search *s, tr_view value, const char **ret_elements, tr_item *ret_item, tr_error *err)
{
    size_t size = (size_t)s->spec->index->vector.dimensions * TR__ELEMENT;
    if (value.len < 1 + size || value.ptr[0] != TR__VALUE_VERSION)
        return tr_fail(err, TR_ECORRUPT, "a stored entry of index %.*s is damaged",
                       TR_FMT(s->spec->index->name));
    *ret_elements = value.ptr + 1;
    *ret_item = tr_view_of(value.ptr + 1 + size, value.len - 1 - size);
    return 0;
}

static int walk(search *s, tr_kv_iter *iter, tr_error *err)
{
    const tr_vector *v = &s->spec->index->vector;
    tr_view key, value;
    uint64_t order = 0;
    for (tr_kv_iter_first(iter); tr_kv_iter_get(iter, &key, &value); tr_kv_iter_next(iter)) {
        const char *elements = NULL;
        tr_item item;
        int rc = parts(s, value, &elements, &item, err);
        if (rc)
            return rc;
        if (s->spec->where && !tr_condition_eval(s->spec->where, item))
            continue;
        double rank = tr__vector_rank(v->distance, s->query, s->square, elements, v->dimensions);
        if (keep(s, key, rank, order++) != 0)
            return tr_fail(err, TR_ENOMEM, "out of memory");
    }
    return tr_kv_iter_status(iter, err);
}

static int look(search *s, tr_error *err)
{
    const tr_index *index = s->spec->index;
    tr_buf *lower = &s->engine->key, *upper = &s->engine->key2;
    uint64_t hash;
    tr__key_begin(lower, index->space, &s->spec->partition, index->schema.hash_count, &hash);
    tr_buf_reset(upper);
    tr_buf_put_view(upper, tr_buf_view(lower));
    tr__key_successor(upper);
    if (tr_buf_status(lower) || tr_buf_status(upper))
        return tr_fail(err, TR_ENOMEM, "out of memory");
    bool whole =
        index->schema.hash_count == 0 && index->size_bytes > WHOLE_BYTES && !tr_kv_in_memory(s->engine->kv);
    tr_kv_iter *iter;
    int rc = (whole ? tr_kv_iter_new_whole : tr_kv_iter_new)(s->engine->kv, TR_KV_ITEMS, s->snapshot->kv,
                                                             tr_buf_view(lower), tr_buf_view(upper), &iter);
    if (rc)
        return tr_fail(err, rc, "out of memory");
    rc = walk(s, iter, err);
    tr_kv_iter_free(iter);
    return rc;
}

/* The worst goes to the end of the shrinking heap, until the best is first. */
static void sort(search *s)
{
    for (unsigned n = s->count; n > 1; n--) {
        swap(&s->heap[0], &s->heap[n - 1]);
        sink(s->heap, n - 1, 0);
    }
}

static int tell(search *s, tr_vector_fn *fn, void *ctx, tr_error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < s->count && !rc; i++) {
        tr_vector_match match = {.score = tr__vector_score(s->spec->index->vector.distance, s->heap[i].rank)};
        tr_kv_pin pin;
        rc = tr_kv_get(s->engine->kv, TR_KV_ITEMS, s->snapshot->kv, tr_buf_view(&s->heap[i].key), &pin, err);
        if (rc)
            return rc;
        rc = parts(s, pin.value, &match.elements, &match.item, err);
        if (!rc)
            rc = fn(ctx, &match);
        tr_kv_unpin(&pin);
    }
    return rc;
}

int tr_engine_search(tr_engine *engine, const tr_vector_search *spec, tr_vector_fn *fn, void *ctx,
                     tr_error *err)
{
    const tr_vector *v = &spec->index->vector;
    search *s = tr_calloc(1, sizeof *s);
    candidate *heap = tr_calloc(spec->top, sizeof *heap);
    if (!s || !heap) {
        tr_free(s);
        tr_free(heap);
        return tr_fail(err, TR_ENOMEM, "out of memory");
    }
    s->engine = engine;
    s->spec = spec;
    s->heap = heap;
    for (unsigned i = 0; i < spec->top; i++)
        tr_buf_init(&heap[i].key, TR__KEY_BUF_MAX);
    memcpy(s->query, spec->query, v->dimensions * sizeof *spec->query);
    s->square = tr__vector_square(s->query, v->dimensions);
    s->snapshot = tr__snapshot_ref(engine, spec->snapshot);
    int rc = look(s, err);
    if (!rc) {
        sort(s);
        rc = tell(s, fn, ctx, err);
    }
    tr__snapshot_unref(engine, s->snapshot);
    for (unsigned i = 0; i < spec->top; i++)
        tr_buf_done(&heap[i].key);
    tr_free(heap);
    tr_free(s);
    return rc;
}
