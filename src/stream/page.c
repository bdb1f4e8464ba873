/* SPDX-License-Identifier: MIT */
#include "stream/page.h"
#include "stream/record.h"

#include <stdlib.h>

#define JSON_ARENA_MAX (512u * 1024 * 1024) /* decoded strings with escapes of one answer */
#define TRANSFORM_MAX  (64u * 1024 * 1024)  /* what a user's transform may allocate for one page */

/* Blocks are multiples of this, so that a page fits into another's; smaller pages are the heap's business. */
#define BLOCK ((size_t)64 * 1024)

typedef struct tr__decoder {
    tr_buf data;
    tr_arena arena;
    tr__parts *parts;
    size_t count, capacity;
    bool keep_raw;
} decoder;

/* --------------------------------------------------------------------------------------- memory for reuse */

static void free_decoder(decoder *d)
{
    if (!d)
        return;
    tr_buf_done(&d->data);
    tr_arena_done(&d->arena);
    tr_free(d->parts);
    tr_free(d);
}

static void free_kept(tr__page *page)
{
    for (tr__page *next; page; page = next) {
        next = page->next;
        tr_free(page);
    }
}

int tr__page_pool_init(tr__page_pool *pool)
{
    *pool = (tr__page_pool){.kept = NULL};
    return pthread_mutex_init(&pool->lock, NULL) ? TR_ENOMEM : 0;
}

void tr__page_pool_done(tr__page_pool *pool)
{
    free_decoder(pool->decoder);
    free_kept(pool->kept);
    (void)pthread_mutex_destroy(&pool->lock);
}

static decoder *take_decoder(tr__page_pool *pool)
{
    decoder *d = NULL;
    if (pool) {
        (void)pthread_mutex_lock(&pool->lock);
        d = pool->decoder;
        pool->decoder = NULL;
        (void)pthread_mutex_unlock(&pool->lock);
    }
    if (d || !(d = tr_calloc(1, sizeof *d)))
        return d;
    tr_buf_init(&d->data, TR__PAGE_MAX);
    tr_arena_init(&d->arena, JSON_ARENA_MAX);
    return d;
}

/* Kept if records come and there is none yet; without records what is kept goes. */
static void give_decoder(tr__page_pool *pool, decoder *d)
{
    tr__page *drop = NULL;
    if (pool) {
        (void)pthread_mutex_lock(&pool->lock);
        pool->busy = d->count > 0;
        if (pool->busy && !pool->decoder && d->data.cap <= TR__POOL_MAX / 2) {
            tr_buf_reset(&d->data);
            tr_arena_reset(&d->arena);
            d->count = 0;
            pool->decoder = d;
            d = NULL;
        } else if (!pool->busy) {
            drop = pool->kept;
            pool->kept = NULL;
            pool->kept_bytes = 0;
        }
        (void)pthread_mutex_unlock(&pool->lock);
    }
    free_decoder(d);
    free_kept(drop);
}

/* A block of at least so many bytes; more in *size. */
static tr__page *take_block(tr__page_pool *pool, size_t *size)
{
    if (!pool || *size < BLOCK)
        return tr_malloc(*size);
    tr__page *found = NULL;
    *size = (*size + BLOCK - 1) / BLOCK * BLOCK;
    (void)pthread_mutex_lock(&pool->lock);
    for (tr__page **at = &pool->kept; *at && !found; at = &(*at)->next)
        if ((*at)->bytes >= *size) {
            found = *at;
            *at = found->next;
            pool->kept_bytes -= found->bytes;
            *size = found->bytes;
            break;
        }
    (void)pthread_mutex_unlock(&pool->lock);
    return found ? found : tr_malloc(*size);
}

static bool keep_block(tr__page_pool *pool, tr__page *page)
{
    (void)pthread_mutex_lock(&pool->lock);
    bool fits = pool->busy && pool->kept_bytes + page->bytes <= TR__POOL_MAX;
    if (fits) {
        page->next = pool->kept;
        pool->kept = page;
        pool->kept_bytes += page->bytes;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return fits;
}

/* ----------------------------------------------------------------------------------------------- decoding */

static int add_record(decoder *d, tr_json_reader *r, tr_error *err)
{
    if (d->count == d->capacity) {
        size_t capacity = d->capacity ? d->capacity * 2 : 64;
        tr__parts *parts = tr_realloc(d->parts, capacity * sizeof *parts);
        if (!parts)
            return tr_fail(err, TR_ENOMEM, "no memory for %zu records", capacity);
        d->parts = parts;
        d->capacity = capacity;
    }
    tr__parts *p = &d->parts[d->count];
    size_t begin = tr_json_offset(r) - 1;
    int code = tr__record_read(r, p, &d->data, err);
    if (code)
        return code;
    if (d->keep_raw) {
        /* the reader stands behind the closing brace */
        const char *raw = r->begin + begin;
        p->span[TR__PART_RAW] = (tr__span){d->data.len, tr_json_offset(r) - begin};
        tr_buf_put(&d->data, raw, tr_json_offset(r) - begin);
        if (tr_buf_status(&d->data))
            return tr_fail(err, tr_buf_status(&d->data), "a page of records is too large");
    }
    d->count++;
    return 0;
}

static int read_records(decoder *d, tr_json_reader *r, tr_error *err)
{
    tr_json_token t = tr_json_next(r);
    if (t == TR_JSON_NULL)
        return 0;
    if (t != TR_JSON_ARRAY)
        return tr_fail(err, TR_EPARSE, "Records is no array");
    while ((t = tr_json_next(r)) == TR_JSON_OBJECT) {
        int code = add_record(d, r, err);
        if (code)
            return code;
    }
    return t == TR_JSON_ARRAY_END ? 0 : tr_fail(err, TR_EPARSE, "Records holds what is no record");
}

static int read_next(tr_json_reader *r, tr_buf *next, tr_error *err)
{
    tr_json_token t = tr_json_next(r);
    if (t == TR_JSON_NULL)
        return 0;
    if (t != TR_JSON_STRING)
        return tr_fail(err, TR_EPARSE, "NextShardIterator is no string");
    tr_buf_put_view(next, r->text);
    return tr_buf_cstr(next) ? 0 : tr_fail(err, TR_ELIMIT, "an iterator of %zu bytes", r->text.len);
}

static int read_answer(decoder *d, tr_view body, tr_buf *next, tr_error *err)
{
    tr_json_reader r;
    tr_json_init(&r, body, &d->arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return tr_fail(err, TR_EPARSE, "an answer that is no JSON object");
    int code = 0;
    while (code == 0 && tr_json_next_key(&r)) {
        if (tr_view_is(r.text, "Records")) {
            code = read_records(d, &r, err);
        } else if (tr_view_is(r.text, "NextShardIterator")) {
            code = read_next(&r, next, err);
        } else {
            tr_json_next(&r);
            code = tr_json_skip(&r);
        }
    }
    if (code)
        return code;
    if (r.token != TR_JSON_OBJECT_END || tr_json_next(&r) != TR_JSON_DONE)
        return tr_fail(err, TR_EPARSE, "an answer that is no JSON");
    return 0;
}

static tr__page *new_page(tr__page_pool *pool, size_t count, size_t data, char **ret_data)
{
    size_t entries = count ? count : 1;
    size_t size = sizeof(tr__page) + entries * sizeof(tr__entry) + count * sizeof(tr_record) + data;
    if (size > TR__PAGE_MAX)
        return NULL;
    tr__page *page = take_block(pool, &size);
    if (!page)
        return NULL;
    memset(page, 0, sizeof *page + entries * sizeof(tr__entry));
    page->bytes = size;
    page->pool = size < BLOCK ? NULL : pool;
    page->count = (uint32_t)entries;
    page->records = (tr_record *)(void *)(page->entries + entries);
    *ret_data = (char *)(page->records + count);
    for (size_t i = 0; i < entries; i++) {
        page->entries[i].page = page;
        page->entries[i].index = (uint32_t)i;
    }
    tr_arena_init(&page->arena, TRANSFORM_MAX);
    return page;
}

static int make_page(tr__page_pool *pool, decoder *d, tr_view shard_id, tr__page **ret_page, tr_error *err)
{
    if (d->count == 0) {
        *ret_page = NULL;
        return 0;
    }
    char *data;
    tr__page *page = new_page(pool, d->count, d->data.len + shard_id.len, &data);
    if (!page)
        return tr_fail(err, TR_ENOMEM, "no memory for a page of %zu records", d->count);
    memcpy(data, d->data.ptr, d->data.len);
    char *id = data + d->data.len;
    if (shard_id.len)
        memcpy(id, shard_id.ptr, shard_id.len);
    for (size_t i = 0; i < d->count; i++) {
        tr_record *record = &page->records[i];
        tr__record_make(&d->parts[i], data, record);
        record->shard_id = tr_view_of(id, shard_id.len);
        page->entries[i].event = (tr_stream_event){.kind = TR_STREAM_RECORD, .record = record};
    }
    page->last = tr__seq_of(page->records[d->count - 1].sequence_number);
    *ret_page = page;
    return 0;
}

int tr__page_decode(tr__page_pool *pool, tr_view body, tr_view shard_id, bool keep_raw, tr__page **ret_page,
                    tr_buf *next, tr_error *err)
{
    decoder *d = take_decoder(pool);
    if (!d)
        return tr_fail(err, TR_ENOMEM, "no memory for a page of records");
    d->keep_raw = keep_raw;
    tr_buf_reset(next);
    int code = read_answer(d, body, next, err);
    if (code == 0)
        code = make_page(pool, d, shard_id, ret_page, err);
    if (code)
        d->count = 0; /* a decoder that has failed is not kept */
    give_decoder(pool, d);
    return code;
}

static tr_view put_at(char **at, tr_view text)
{
    tr_view copy = tr_view_of(*at, text.len);
    if (text.len)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return copy;
}

int tr__page_gap(tr_gap_reason reason, tr_view shard_id, tr_view after, tr_view before, tr__page **ret_page)
{
    char *data;
    tr__page *page = new_page(NULL, 0, shard_id.len + after.len + before.len, &data);
    if (!page)
        return TR_ENOMEM;
    page->gap.reason = reason;
    page->gap.shard_id = put_at(&data, shard_id);
    page->gap.after = put_at(&data, after);
    page->gap.before = put_at(&data, before);
    page->entries[0].event = (tr_stream_event){.kind = TR_STREAM_GAP, .gap = &page->gap};
    *ret_page = page;
    return 0;
}

void tr__page_free(tr__page *page)
{
    if (!page)
        return;
    tr_arena_done(&page->arena);
    if (!page->pool || !keep_block(page->pool, page))
        tr_free(page);
}
