/* SPDX-License-Identifier: MIT */
#ifndef TR_STREAM_PAGE_H
#define TR_STREAM_PAGE_H

/*
 * One answer of GetRecords, decoded: records and the events that hand them out, in one block of memory.
 *
 *   +------+-------------+-------------+--------------------------------------------+
 *   | page | entries [n] | records [n] | data: packed items, texts, (raw JSON), id  |
 *   +------+-------------+-------------+--------------------------------------------+
 *
 * A gap is a page of one entry without a record, so that it keeps its place among the records of its shard.
 */

#include <tailrace/stream.h>

#include <pthread.h>

struct tr__shard;
struct tr__page;

/** A sequence number by value; len 0: none. */
typedef struct tr__seq {
    uint8_t len;
    char text[TR_SEQUENCE_MAX];
} tr__seq;

static inline tr_view tr__seq_view(const tr__seq *seq)
{
    return tr_view_of(seq->text, seq->len);
}
/** Copies what tr_sequence_valid accepted; anything else gives none. */
static inline tr__seq tr__seq_of(tr_view text)
{
    tr__seq seq = {0};
    if (text.len > 0 && text.len <= TR_SEQUENCE_MAX) {
        seq.len = (uint8_t)text.len;
        memcpy(seq.text, text.ptr, text.len);
    }
    return seq;
}
static inline int tr__seq_cmp(const tr__seq *a, const tr__seq *b)
{
    return tr_sequence_cmp(tr__seq_view(a), tr__seq_view(b));
}

typedef enum tr__entry_state {
    TR__ENTRY_QUEUED = 0, /* in its lane's queue, or waiting to be put there */
    TR__ENTRY_OUT,        /* handed out */
    TR__ENTRY_ACKED
} tr__entry_state;

typedef struct tr__entry {
    tr_stream_event event;  /* first: the handle that users hold */
    struct tr__entry *next; /* in its lane's queue */
    struct tr__page *page;  /* NULL: an informational event, on the heap by itself */
    uint32_t index;
    uint8_t state; /* tr__entry_state */
    uint8_t lane;
} tr__entry;

typedef struct tr__page {
    struct tr__page *next;      /* in its shard */
    struct tr__shard *shard;    /* NULL once the shard has been forgotten or reset */
    uint64_t arrival;           /* order among all pages */
    size_t bytes;               /* of memory */
    struct tr__page_pool *pool; /* where its memory goes; NULL: to the heap */
    uint32_t count;
    uint32_t front;       /* entries before it are acknowledged */
    uint32_t outstanding; /* entries handed out */
    tr__seq last;         /* of the last record, discarded ones included; none in a gap's page */
    tr_stream_gap gap;
    tr_arena arena; /* of the user's transform */
    tr_record *records;
    tr__entry entries[];
} tr__page;

/**
 * Memory of pages that are done with, kept for the next ones: a page of 1,000 records takes more than a
 * megabyte, and fresh memory costs a page fault for each 4 KiB of it (a third of a consumer's processor time,
 * before). Kept while records come, up to TR__POOL_MAX; the first page without records lets all of it go.
 * Safe from any thread; must outlive its pages.
 */
typedef struct tr__page_pool {
    pthread_mutex_t lock;
    tr__page *kept; /* by next */
    size_t kept_bytes;
    struct tr__decoder *decoder; /* NULL while in use */
    bool busy;                   /* the last page had records */
} tr__page_pool;
#define TR__POOL_MAX (8u * 1024 * 1024)

int tr__page_pool_init(tr__page_pool *pool);
void tr__page_pool_done(tr__page_pool *pool);

/**
 * Decodes {"Records":[…],"NextShardIterator":"…"}. ret_page is NULL if there are no records. next: reset,
 * then the next iterator, NUL-terminated; empty if the shard has ended. pool may be NULL. TR_EPARSE,
 * TR_ELIMIT, TR_ENOMEM.
 */
int tr__page_decode(tr__page_pool *pool, tr_view body, tr_view shard_id, bool keep_raw, tr__page **ret_page,
                    tr_buf *next, tr_error *err);
/** A page with one GAP entry. */
int tr__page_gap(tr_gap_reason reason, tr_view shard_id, tr_view after, tr_view before, tr__page **ret_page);
void tr__page_free(tr__page *page);

/** Characters of an iterator that are accepted (API Reference, ShardIterator: 2,048; others may be longer).
 */
#define TR__ITERATOR_MAX 8192
/** Bytes of a decoded page: more than 1,000 records of two images of 400 KB would take is refused. */
#define TR__PAGE_MAX (1024u * 1024 * 1024)

#endif
