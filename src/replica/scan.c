/* SPDX-License-Identifier: MIT */
#include "replica/internal.h"

#define RETRY_BASE_MS 100
#define RETRY_CAP_MS  10000
#define CLOSING_MS    100 /* how late a segment that waits may see that the scan is to end */

static void ask(tr__segment *s);

int tr__scan_init(tr__scan *scan, tr_client *client, tr_view table, unsigned segments)
{
    *scan = (tr__scan){.client = client,
                       .table = table,
                       .segment_count = segments ? segments : 4,
                       .began_ms = tr_clock_mono_ms()};
    scan->last = &scan->first;
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&scan->rng, seed);
    if (scan->segment_count > TR_REPLICA_SEGMENTS_MAX)
        scan->segment_count = TR_REPLICA_SEGMENTS_MAX;
    for (unsigned i = 0; i < TR_REPLICA_SEGMENTS_MAX; i++) {
        scan->segments[i] = (tr__segment){.scan = scan, .number = i};
        tr_buf_init(&scan->segments[i].start, TR__BODY_MAX);
    }
    if (uv_mutex_init(&scan->mutex))
        return TR_ENOMEM;
    if (uv_cond_init(&scan->changed)) {
        uv_mutex_destroy(&scan->mutex);
        return TR_ENOMEM;
    }
    return 0;
}

void tr__scan_done(tr__scan *scan)
{
    uv_mutex_lock(&scan->mutex);
    scan->closing = true;
    while (scan->waiting)
        uv_cond_wait(&scan->changed, &scan->mutex);
    uv_mutex_unlock(&scan->mutex);
    for (tr__scan_page *p = scan->first, *next; p; p = next) {
        next = p->next;
        tr__scan_page_free(p);
    }
    for (unsigned i = 0; i < TR_REPLICA_SEGMENTS_MAX; i++)
        tr_buf_done(&scan->segments[i].start);
    uv_cond_destroy(&scan->changed);
    uv_mutex_destroy(&scan->mutex);
}

void tr__scan_page_free(tr__scan_page *page)
{
    if (!page)
        return;
    tr_buf_done(&page->body);
    tr_free(page);
}

/* Nothing of this segment is under way any more. Called with the mutex held. */
static void settled(tr__scan *scan)
{
    scan->waiting--;
    uv_cond_signal(&scan->changed);
}

static void give_up(tr__scan *scan, int code, const tr_error *err)
{
    uv_mutex_lock(&scan->mutex);
    if (!scan->code) {
        scan->code = code;
        if (err)
            scan->err = *err;
        else
            (void)tr_fail(&scan->err, code, "scanning %.*s: %s", TR_FMT(scan->table), tr_strerror(code));
    }
    settled(scan);
    uv_mutex_unlock(&scan->mutex);
}

static void ask_when_due(tr__segment *s);

static void ask_task(void *ctx)
{
    tr__segment *s = ctx;
    uv_mutex_lock(&s->scan->mutex);
    bool closing = s->scan->closing || tr_client_closing(s->scan->client);
    if (closing)
        settled(s->scan);
    uv_mutex_unlock(&s->scan->mutex);
    if (closing)
        return;
    if (tr_clock_mono_ms() < s->due_ms)
        ask_when_due(s);
    else
        ask(s);
}

static void ask_when_due(tr__segment *s)
{
    int64_t delay_ms = s->due_ms - tr_clock_mono_ms();
    delay_ms = delay_ms < 0 ? 0 : delay_ms > CLOSING_MS ? CLOSING_MS : delay_ms;
    int e = tr_client_schedule(s->scan->client, delay_ms, ask_task, s);
    if (e)
        give_up(s->scan, e, NULL);
}

static void ask_later(tr__segment *s, int64_t delay_ms)
{
    s->due_ms = tr_clock_mono_ms() + delay_ms;
    ask_when_due(s);
}

/* How long to wait so that the scan keeps to its rate. */
static int64_t rate_delay_ms(const tr__scan *scan)
{
    if (!scan->rows_per_second)
        return 0;
    int64_t due_ms = (int64_t)(scan->rows * 1000 / scan->rows_per_second);
    int64_t spent_ms = tr_clock_mono_ms() - scan->began_ms;
    return due_ms > spent_ms ? due_ms - spent_ms : 0;
}

/* Whether no repetition helps: the table is gone, the snapshot is, or we may not. */
static bool is_final(int code)
{
    return code == TR_ENOTFOUND || code == TR_ECANCELED || code == TR_EAUTH || code == TR_ESERVICE;
}

static void on_page(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    tr__segment *s = ctx;
    tr__scan *scan = s->scan;
    if (code == TR_ESERVICE && err && err->http_status >= 500)
        code = TR_EIO; /* the service's own trouble: it will pass */
    if (code && scan->snapshot[0] && (code == TR_EEXPIRED || code == TR_ESERVICE)) {
        uv_mutex_lock(&scan->mutex);
        scan->snapshot_lost = true;
        settled(scan);
        uv_mutex_unlock(&scan->mutex);
        return;
    }
    if (code && is_final(code)) {
        give_up(scan, code, err);
        return;
    }
    if (code) {
        ask_later(s, 1 + tr_backoff_ms(&scan->rng, s->failures++, RETRY_BASE_MS, RETRY_CAP_MS));
        return;
    }
    s->failures = 0;
    tr__scan_page *page = tr_calloc(1, sizeof *page);
    if (!page) {
        give_up(scan, TR_ENOMEM, NULL);
        return;
    }
    page->segment = s->number;
    tr_buf_init(&page->body, TR__PAGE_MAX);
    tr_buf_put_view(&page->body, reply->body);
    if (tr_buf_status(&page->body)) {
        int e = tr_buf_status(&page->body);
        tr__scan_page_free(page);
        give_up(scan, e, NULL);
        return;
    }
    uv_mutex_lock(&scan->mutex);
    *scan->last = page;
    scan->last = &page->next;
    settled(scan);
    uv_mutex_unlock(&scan->mutex);
}

static void write_request(const tr__segment *s, tr_buf *body)
{
    const tr__scan *scan = s->scan;
    tr_json_writer w;
    tr_json_write_init(&w, body);
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "TableName", scan->table);
    if (scan->segment_count > 1) {
        tr_json_member_u64(&w, "Segment", s->number);
        tr_json_member_u64(&w, "TotalSegments", scan->segment_count);
    }
    tr_json_member_bool(&w, "ConsistentRead", true);
    if (scan->rows_per_second && scan->rows_per_second < 10000)
        tr_json_member_u64(&w, "Limit", scan->rows_per_second < 100 ? 10 : scan->rows_per_second / 10);
    if (s->start.len) {
        tr_json_name(&w, "ExclusiveStartKey");
        tr_json_value(&w, tr_buf_view(&s->start));
    }
    tr_json_end_object(&w);
}

static void ask(tr__segment *s)
{
    tr__scan *scan = s->scan;
    tr_buf body;
    tr_buf_init(&body, TR__BODY_MAX);
    write_request(s, &body);
    tr_header header = {TR_VIEW("x-tailrace-snapshot"), tr_view_str(scan->snapshot)};
    tr_request request = {.service = TR_DYNAMODB,
                          .operation = "Scan",
                          .body = tr_buf_view(&body),
                          .headers = &header,
                          .header_count = scan->snapshot[0] ? 1 : 0};
    int e = tr_buf_status(&body) ? tr_buf_status(&body) : tr_client_call(scan->client, &request, on_page, s);
    tr_buf_done(&body);
    if (e)
        give_up(scan, e, NULL);
}

void tr__scan_go(tr__scan *scan)
{
    for (unsigned i = 0; i < scan->segment_count; i++) {
        tr__segment *s = &scan->segments[i];
        if (s->done || s->asked)
            continue;
        uv_mutex_lock(&scan->mutex);
        bool failed = scan->code || scan->snapshot_lost;
        if (!failed)
            scan->waiting++;
        uv_mutex_unlock(&scan->mutex);
        if (failed)
            return;
        s->asked = true;
        ask_later(s, rate_delay_ms(scan));
    }
}

tr__scan_page *tr__scan_take(tr__scan *scan)
{
    uv_mutex_lock(&scan->mutex);
    tr__scan_page *page = scan->first;
    if (page && !(scan->first = page->next))
        scan->last = &scan->first;
    uv_mutex_unlock(&scan->mutex);
    return page;
}

bool tr__scan_finished(const tr__scan *scan)
{
    for (unsigned i = 0; i < scan->segment_count; i++)
        if (!scan->segments[i].done)
            return false;
    return true;
}

int tr__scan_code(tr__scan *scan, bool *ret_snapshot_lost, tr_error *err)
{
    uv_mutex_lock(&scan->mutex);
    int code = scan->code;
    if (code && err)
        *err = scan->err;
    *ret_snapshot_lost = scan->snapshot_lost;
    uv_mutex_unlock(&scan->mutex);
    return code;
}

bool tr__scan_forget_snapshot(tr__scan *scan)
{
    uv_mutex_lock(&scan->mutex);
    bool idle = scan->waiting == 0 && !scan->first;
    if (idle) {
        scan->snapshot[0] = 0;
        scan->snapshot_lost = false;
        for (unsigned i = 0; i < scan->segment_count; i++)
            scan->segments[i].asked = false;
    }
    uv_mutex_unlock(&scan->mutex);
    return idle;
}

/* ---------------------------------------------------------------------------------------------- pages */

static int each_item(tr__scan *scan, tr_view items, int (*fn)(void *, tr_item), void *ctx, tr_arena *arena,
                     tr_error *err)
{
    tr_json_reader reader;
    tr_item_error problem;
    tr_buf packed;
    tr_buf_init(&packed, TR__ITEM_MAX);
    tr_json_init(&reader, items, arena);
    int e =
        tr_json_next(&reader) == TR_JSON_ARRAY ? 0 : tr_fail(err, TR_EPARSE, "a Scan's Items is no array");
    while (!e && tr_json_next(&reader) == TR_JSON_OBJECT) {
        tr_buf_reset(&packed);
        e = tr_item_read(&reader, &packed, &problem);
        if (e)
            (void)tr_fail(err, e, "a Scan's answer holds an item that is not valid");
        else if (!(e = fn(ctx, tr_buf_view(&packed))))
            scan->rows++;
    }
    if (!e && reader.token != TR_JSON_ARRAY_END)
        e = tr_fail(err, TR_EPARSE, "a Scan's answer is not valid JSON");
    tr_buf_done(&packed);
    return e;
}

int tr__scan_each(tr__scan *scan, tr__scan_page *page, int (*fn)(void *, tr_item), void *ctx, tr_error *err)
{
    tr__segment *s = &scan->segments[page->segment];
    tr_view json = tr_buf_view(&page->body), items, last;
    tr_arena arena;
    tr_arena_init(&arena, TR__PAGE_MAX);
    int e = tr_json_member(json, "Items", &arena, &items);
    if (e)
        (void)tr_fail(err, TR_EPARSE, "a Scan's answer has no Items");
    else
        e = each_item(scan, items, fn, ctx, &arena, err);
    if (!e) {
        tr_buf_reset(&s->start);
        if (tr_json_member(json, "LastEvaluatedKey", &arena, &last) == 0)
            tr_buf_put_view(&s->start, last);
        e = tr_buf_status(&s->start);
        s->done = s->start.len == 0;
        s->asked = false;
    }
    tr_arena_done(&arena);
    return e;
}

void tr__scan_write(const tr__scan *scan, tr_json_writer *w)
{
    tr_json_begin_array(w);
    for (unsigned i = 0; i < scan->segment_count; i++) {
        const tr__segment *s = &scan->segments[i];
        if (s->done)
            tr_json_bool(w, true);
        else if (s->start.len)
            tr_json_value(w, tr_buf_view(&s->start));
        else
            tr_json_null(w);
    }
    tr_json_end_array(w);
}

int tr__scan_read(tr__scan *scan, tr_json_reader *reader)
{
    unsigned n = 0;
    for (tr_json_token t; (t = tr_json_next(reader)) != TR_JSON_ARRAY_END; n++) {
        if (n == TR_REPLICA_SEGMENTS_MAX)
            return TR_ELIMIT;
        tr__segment *s = &scan->segments[n];
        tr_view raw;
        s->done = t == TR_JSON_TRUE;
        tr_buf_reset(&s->start);
        if (t == TR_JSON_OBJECT) {
            if (tr_json_raw(reader, &raw))
                return TR_EPARSE;
            tr_buf_put_view(&s->start, raw);
        } else if (t != TR_JSON_TRUE && t != TR_JSON_NULL) {
            return TR_EPARSE;
        }
    }
    if (n == 0)
        return TR_EPARSE;
    scan->segment_count = n;
    return 0;
}
