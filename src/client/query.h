/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_QUERY_H
#define TAILRACE_CLIENT_QUERY_H

/**
 * query.h: Query and Scan, page by page, item by item.
 *
 *   tr__query q;
 *   tr__query_init(&q, "Query", limit);
 *   … write the members of the request to q.writer, which stands within its object …
 *   e = tr__query_wait(client, &q, on_item, ctx, err);     or tr__query_start(client, &q, on_item, on_done,
 * ctx, err) tr__query_done(&q);
 *
 * A limit is a number of items, not of a page: each page asks for what is still wanted, and reading ends when
 * it is reached. Memory is bounded by one page (1 MB of items) in JSON.
 */

#include <tailrace/client.h>
#include <tailrace/item.h>

/** Return 0 to go on; anything else, with err filled, stops with that code. The item is valid during the
 * call. */
typedef int tr__query_item_fn(void *ctx, tr_item item, tr_error *err);
typedef void tr__query_done_fn(void *ctx, int code, const tr_error *err);

typedef struct tr__query {
    const char *operation;
    tr_json_writer writer;
    uint64_t limit; /* 0: none */
    uint64_t seen;
    tr_buf body;
    size_t body_len; /* of the members written by the caller; 0 until the first page is asked for */
    tr_buf next;     /* LastEvaluatedKey, as JSON; empty at the end */
    tr_buf packed;   /* the item at hand */
    tr_arena arena;
    /* of tr__query_start */
    tr_client *client;
    tr__query_item_fn *on_item;
    tr__query_done_fn *on_done;
    void *ctx;
} tr__query;

/** operation: "Query" or "Scan", static. */
void tr__query_init(tr__query *query, const char *operation, uint64_t limit);
void tr__query_done(tr__query *query);
/** Begins behind this key (JSON) instead of at the start. Before the first page. */
void tr__query_begin_at(tr__query *query, tr_view key_json);
/** Blocks; on_item runs on the calling thread. After a limit was reached, `next` tells whether there is more.
 */
int tr__query_wait(tr_client *client, tr__query *query, tr__query_item_fn *on_item, void *ctx, tr_error *err);
/** The same on the I/O thread; `done` runs once, and may call tr__query_done. */
int tr__query_start(tr_client *client, tr__query *query, tr__query_item_fn *on_item, tr__query_done_fn *done,
                    void *ctx, tr_error *err);
/** Fetches one page only (`limit` is the page's Limit). */
int tr__query_page_start(tr_client *client, tr__query *query, tr__query_item_fn *on_item,
                         tr__query_done_fn *done, void *ctx, tr_error *err);

#endif
