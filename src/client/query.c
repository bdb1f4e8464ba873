/* SPDX-License-Identifier: MIT */
#include "client/query.h"

#define BODY_MAX ((size_t)1 << 20)
#define PAGE_MAX ((size_t)64 << 20) /* 1 MB of items in JSON, with every byte escaped, and room */
#define NEXT_MAX ((size_t)1 << 16)  /* the keys of a table and an index, in JSON */
#define ITEM_MAX (2 * (size_t)TR_ITEM_SIZE_MAX + 65536)

void tr__query_init(tr__query *q, const char *operation, uint64_t limit)
{
    *q = (tr__query){.operation = operation, .limit = limit};
    tr_buf_init(&q->body, BODY_MAX);
    tr_buf_init(&q->next, NEXT_MAX);
    tr_buf_init(&q->packed, ITEM_MAX);
    tr_arena_init(&q->arena, PAGE_MAX);
    tr_json_write_init(&q->writer, &q->body);
    tr_json_begin_object(&q->writer);
}

void tr__query_done(tr__query *q)
{
    tr_buf_done(&q->body);
    tr_buf_done(&q->next);
    tr_buf_done(&q->packed);
    tr_arena_done(&q->arena);
}

void tr__query_begin_at(tr__query *q, tr_view key_json)
{
    tr_buf_reset(&q->next);
    tr_buf_put_view(&q->next, key_json);
}

/* The request for the next page: the caller's members, and what differs between pages. */
static int write_page_request(tr__query *q, tr_request *ret_request, tr_error *err)
{
    if (!q->body_len)
        q->body_len = q->body.len;
    if (!tr_buf_status(&q->body))
        q->body.len = q->body_len;
    if (q->limit)
        tr_json_member_u64(&q->writer, "Limit", q->limit - q->seen);
    if (q->next.len) {
        tr_json_name(&q->writer, "ExclusiveStartKey");
        tr_json_value(&q->writer, tr_buf_view(&q->next));
    }
    tr_json_end_object(&q->writer);
    int e = tr_buf_status(&q->body) ? tr_buf_status(&q->body) : tr_buf_status(&q->next);
    if (e)
        return tr_fail(err, e, "the request for a %s is too large", q->operation);
    *ret_request =
        (tr_request){.service = TR_DYNAMODB, .operation = q->operation, .body = tr_buf_view(&q->body)};
    return 0;
}

static int bad_page(const tr__query *q, tr_error *err)
{
    return tr_fail(err, TR_EPARSE, "the answer to a %s is not as the service writes it", q->operation);
}

static int read_items(tr__query *q, tr_json_reader *r, tr__query_item_fn *on_item, void *ctx, tr_error *err)
{
    if (tr_json_next(r) != TR_JSON_ARRAY)
        return bad_page(q, err);
    while (tr_json_next(r) == TR_JSON_OBJECT) {
        tr_item_error problem;
        tr_buf_reset(&q->packed);
        int e = tr_item_read(r, &q->packed, &problem);
        if (e)
            return tr_item_error_to(&problem, e, r, err);
        if (q->limit && q->seen == q->limit)
            continue; /* a server that gives more than asked for */
        q->seen++;
        if ((e = on_item(ctx, tr_buf_view(&q->packed), err)))
            return e;
    }
    return r->token == TR_JSON_ARRAY_END ? 0 : bad_page(q, err);
}

/* Where the next page begins. One that cannot be kept must not look like the end. */
static int keep_next(tr__query *q, tr_view key, tr_error *err)
{
    tr_buf_put_view(&q->next, key);
    int e = tr_buf_status(&q->next);
    return e ? tr_fail(err, e, "the LastEvaluatedKey of a %s has %zu bytes: %s", q->operation, key.len,
                       tr_strerror(e))
             : 0;
}

/* One answer: its items are handed out, its LastEvaluatedKey is kept in q->next. */
static int read_page(tr__query *q, tr_view body, tr__query_item_fn *on_item, void *ctx, tr_error *err)
{
    tr_json_reader r;
    tr_arena_reset(&q->arena);
    tr_buf_reset(&q->next);
    tr_json_init(&r, body, &q->arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return bad_page(q, err);
    while (tr_json_next_key(&r)) {
        tr_view name = r.text, key;
        int e = 0;
        if (tr_view_is(name, "Items")) {
            e = read_items(q, &r, on_item, ctx, err);
        } else if (tr_view_is(name, "LastEvaluatedKey")) {
            if (tr_json_next(&r) == TR_JSON_OBJECT && tr_json_raw(&r, &key) == 0)
                e = keep_next(q, key, err);
            else if (r.token != TR_JSON_NULL)
                e = bad_page(q, err);
        } else {
            (void)tr_json_next(&r);
            e = tr_json_skip(&r) ? bad_page(q, err) : 0;
        }
        if (e)
            return e;
    }
    return r.token == TR_JSON_OBJECT_END ? 0 : bad_page(q, err);
}

static bool wants_more(const tr__query *q)
{
    return q->next.len && (!q->limit || q->seen < q->limit);
}

int tr__query_wait(tr_client *client, tr__query *q, tr__query_item_fn *on_item, void *ctx, tr_error *err)
{
    tr_buf page;
    tr_request request;
    tr_buf_init(&page, PAGE_MAX);
    int e;
    do {
        tr_buf_reset(&page);
        e = write_page_request(q, &request, err);
        if (!e)
            e = tr_client_call_wait(client, &request, &page, err);
        if (!e)
            e = read_page(q, tr_buf_view(&page), on_item, ctx, err);
    } while (!e && wants_more(q));
    tr_buf_done(&page);
    return e;
}

/* --------------------------------------------------------------------------------------- on the I/O thread
 */

static int ask(tr__query *q, tr_reply_fn *fn, tr_error *err)
{
    tr_request request;
    int e = write_page_request(q, &request, err);
    if (!e && (e = tr_client_call(q->client, &request, fn, q)))
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    return e;
}

static void on_only_page(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    tr__query *q = ctx;
    tr_error ours;
    if (!code && (code = read_page(q, reply->body, q->on_item, q->ctx, &ours)))
        err = &ours;
    q->on_done(q->ctx, code, code ? err : NULL);
}

static void on_page(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    tr__query *q = ctx;
    tr_error ours;
    if (!code) {
        code = read_page(q, reply->body, q->on_item, q->ctx, &ours);
        if (!code && wants_more(q) && !(code = ask(q, on_page, &ours)))
            return;
        err = &ours;
    }
    q->on_done(q->ctx, code, code ? err : NULL);
}

static int start(tr_client *client, tr__query *q, tr__query_item_fn *on_item, tr__query_done_fn *done,
                 void *ctx, tr_reply_fn *fn, tr_error *err)
{
    q->client = client;
    q->on_item = on_item;
    q->on_done = done;
    q->ctx = ctx;
    return ask(q, fn, err);
}

int tr__query_start(tr_client *client, tr__query *q, tr__query_item_fn *on_item, tr__query_done_fn *done,
                    void *ctx, tr_error *err)
{
    return start(client, q, on_item, done, ctx, on_page, err);
}

int tr__query_page_start(tr_client *client, tr__query *q, tr__query_item_fn *on_item, tr__query_done_fn *done,
                         void *ctx, tr_error *err)
{
    return start(client, q, on_item, done, ctx, on_only_page, err);
}
