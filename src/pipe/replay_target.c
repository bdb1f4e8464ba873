/* SPDX-License-Identifier: MIT */
/* Where replayed events go: a bus, a table of logs, a handler. */
#include "pipe/replay.h"

#include <stdio.h>
#include <tailrace/log.h>
#include <tailrace/pipe.h>

#define TABLE_IN_FLIGHT 64
#define TABLE_PATIENCE  10000 /* ms that a table may be out of reach */
#define WAIT_MS         200
#define RETRY_MIN_MS    200
#define RETRY_MAX_MS    10000
#define PLAIN_MAX       ((size_t)16 << 20) /* of an item in memory */

/* ---------------------------------------------------------------------------------------------------- bus */

static int open_bus(tr_replay *r, tr_error *err)
{
    const tr_publisher_options o = {.bus = r->bus,
                                    .replay_name = r->name,
                                    .rules = (const char *const *)r->rules,
                                    .rule_count = r->options.rule_count,
                                    .limit_retries = true,
                                    .retries = r->options.retries,
                                    .wait_for_bus = true,
                                    .logger = r->options.logger};
    return tr_publisher_new(r->options.to_client, &o, &r->publisher, err);
}

/* An event under way, with its text for the failure destination. */
typedef struct published {
    tr_replay *replay;
    tr_view event; /* in the page, which lasts until all of it are done */
} published;

static void on_published(void *ctx, const tr_publish_result *result)
{
    published *p = ctx;
    tr_replay *r = p->replay;
    if (result->code) {
        tr__replay_failed(r, p->event, result->code, result->err);
    } else {
        pthread_mutex_lock(&r->lock);
        r->done++;
        pthread_mutex_unlock(&r->lock);
    }
    tr_free(p);
}

static int publish(tr_replay *r, const tr__replay_row *row, tr_arena *arena, tr_error *err)
{
    tr_publish_entry entry;
    int e = tr_publish_read_event(row->event, arena, &entry, err);
    if (e)
        return e;
    entry.key = tr__replay_text(tr__replay_raw(entry.detail, "key", arena), TR_LOG_PK, arena);
    tr_buf_reset(&r->text);
    tr__replay_mark(entry.detail, TR_PIPE_REPLAY_MARK, r->name, &r->text);
    entry.detail = tr_buf_view(&r->text);
    published *p = tr_malloc(sizeof *p);
    if (!p)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    *p = (published){r, row->event};
    e = TR_EBUSY;
    while (e == TR_EBUSY && !atomic_load(&r->stop))
        e = tr_publisher_put(r->publisher, &entry, WAIT_MS, on_published, p, err);
    if (e)
        tr_free(p);
    return e == TR_EBUSY ? TR_ECANCELED : e;
}

static int put_bus(tr_replay *r, const tr__replay_row *row, tr_error *err)
{
    tr_arena arena;
    tr_error why = {0};
    tr_arena_init(&arena, 4 * row->event.len + 65536);
    int e = publish(r, row, &arena, &why);
    tr_arena_done(&arena);
    if (e == TR_EINVAL || e == TR_ELIMIT) { /* no event */
        tr__replay_failed(r, row->event, e, &why);
        return 0;
    }
    if (e && err)
        *err = why;
    return e;
}

static int flush_bus(tr_replay *r, tr_error *err)
{
    int e;
    while ((e = tr_publisher_flush(r->publisher, WAIT_MS, err)) == TR_ETIMEOUT && !atomic_load(&r->stop))
        ;
    return e == TR_ETIMEOUT ? TR_ECANCELED : e;
}

static void close_bus(tr_replay *r)
{
    tr_publisher_free(r->publisher);
    r->publisher = NULL;
}

const tr__replay_target tr__replay_target_bus = {
    .open = open_bus, .put = put_bus, .flush = flush_bus, .close = close_bus};

/* -------------------------------------------------------------------------------------------------- table */

static int open_table(tr_replay *r, tr_error *err)
{
    tr_buf body;
    tr_json_writer w;
    tr_buf_init(&body, 65536);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", r->table);
    tr_json_end_object(&w);
    return tr__replay_call(r->options.to_client, TR_DYNAMODB, "DescribeTable", &body, NULL, err);
}

/* What the detail says, for messages. */
typedef struct logged {
    tr_view log, id, type, payload;
    uint64_t version;
    bool partial;
} logged;

/* {"log","key":{"pk":"<log>#<id>#stream","sk"},"type","payload"} */
static int read_logged(tr_view event, tr_arena *arena, logged *ret, tr_error *err)
{
    static const tr_view suffix = {TR_LOG_PK_SUFFIX, sizeof TR_LOG_PK_SUFFIX - 1};
    tr_view detail = tr__replay_raw(event, "detail", arena), key = tr__replay_raw(detail, "key", arena);
    tr_view pk = tr__replay_text(key, TR_LOG_PK, arena), sk = tr__replay_raw(key, TR_LOG_SK, arena);
    logged l = {.log = tr__replay_text(detail, TR_LOG_LOG, arena),
                .type = tr__replay_text(detail, TR_LOG_TYPE, arena),
                .payload = tr__replay_raw(detail, TR_LOG_PAYLOAD, arena),
                .partial = tr_view_is(tr__replay_raw(detail, "partial", arena), "true")};
    size_t around = l.log.len + 1 + suffix.len;
    if (!l.log.len || !l.type.len || !l.payload.ptr || l.payload.ptr[0] != '{' || !sk.ptr ||
        tr_view_to_u64(sk, INT64_MAX, &l.version) || l.version == 0 || pk.len <= around ||
        !tr_view_starts(pk, l.log) || pk.ptr[l.log.len] != '#' ||
        !tr_view_eq(tr_view_of(pk.ptr + pk.len - suffix.len, suffix.len), suffix))
        return tr_fail(
            err, TR_EPARSE,
            "the event is none of a log: its detail lacks log, key, type or payload, or the key is "
            "not of that log");
    l.id = tr_view_of(pk.ptr + l.log.len + 1, pk.len - around);
    *ret = l;
    return 0;
}

static int pack_payload(tr_view json, tr_arena *arena, tr_buf *out, tr_error *err)
{
    tr_json_reader reader;
    tr_item_error problem;
    tr_json_init(&reader, json, arena);
    (void)tr_json_next(&reader);
    int e = tr_item_read_plain(&reader, TR_PLAIN_EXACT, out, &problem);
    return e ? tr_item_error_to(&problem, e, &reader, err) : 0;
}

typedef struct fetched {
    tr_buf *packed;
    bool found;
} fetched;

static int on_fetched(void *ctx, const tr_log_event *event)
{
    fetched *f = ctx;
    tr_buf_put_view(f->packed, event->payload);
    f->found = true;
    return tr_buf_status(f->packed);
}

/* The event with that number out of a table, if it has it. */
static int fetch(tr_client *client, const char *table, const logged *l, tr_buf *packed, bool *ret_found,
                 tr_error *err)
{
    fetched f = {.packed = packed};
    const tr_log_range range = {
        .table = table, .log = l->log, .id = l->id, .after = l->version + 1, .reverse = true, .limit = 1};
    int e = tr_log_read(client, &range, on_fetched, &f, err);
    *ret_found = f.found;
    return e;
}

/* 0: packed is the payload. TR_EEXIST: the item is there already. */
static int complete(tr_replay *r, const logged *l, tr_buf *packed, tr_error *err)
{
    bool found = false;
    int e = fetch(r->options.to_client, r->table, l, packed, &found, err);
    if (e || found)
        return e ? e : TR_EEXIST;
    if (r->options.log_client) {
        e = fetch(r->options.log_client, r->log_table ? r->log_table : r->table, l, packed, &found, err);
        if (e || found)
            return e;
    }
    return tr_fail(err, TR_EPARSE,
                   "the event is partial: %.*s %.*s, version %llu, is not in the log that could complete it",
                   TR_FMT(l->log), TR_FMT(l->id), (unsigned long long)l->version);
}

static void on_put(void *ctx, int code, uint64_t version, const tr_error *err)
{
    published *p = ctx;
    tr_replay *r = p->replay;
    (void)version;
    if (code == TR_ECONFLICT)
        tr_log(&r->options.logger, TR_LOG_WARN, "not replayed: %s, which differs", err->message);
    else if (code)
        tr__replay_failed(r, p->event, code, err);
    pthread_mutex_lock(&r->lock);
    r->done += code == 0;
    r->differing += code == TR_ECONFLICT;
    r->under_way--;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    tr_free(p);
}

/* Waits until fewer are under way. */
static int wait_below(tr_replay *r, size_t most)
{
    pthread_mutex_lock(&r->lock);
    while (r->under_way >= most)
        pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
    return 0;
}

static int start_put(tr_replay *r, const logged *l, tr_item payload, tr_view event, tr_error *err)
{
    const tr_log_append in = {.table = r->table,
                              .log = l->log,
                              .id = l->id,
                              .type = l->type,
                              .payload = payload,
                              .expect = l->version - 1,
                              .out_of_order = true,
                              .replay_name = tr_view_str(r->name),
                              .patience_ms = TABLE_PATIENCE};
    published *p = tr_malloc(sizeof *p);
    if (!p)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    *p = (published){r, event};
    (void)wait_below(r, TABLE_IN_FLIGHT);
    pthread_mutex_lock(&r->lock);
    r->under_way++;
    pthread_mutex_unlock(&r->lock);
    int e = tr_log_append_start(r->options.to_client, &in, on_put, p, err);
    if (e) {
        pthread_mutex_lock(&r->lock);
        r->under_way--;
        pthread_mutex_unlock(&r->lock);
        tr_free(p);
    }
    return e;
}

static int put_table(tr_replay *r, const tr__replay_row *row, tr_error *err)
{
    tr_arena arena;
    tr_buf packed;
    logged l = {.version = 0};
    tr_error why = {0};
    tr_arena_init(&arena, 4 * row->event.len + 65536);
    tr_buf_init(&packed, PLAIN_MAX);
    int e = read_logged(row->event, &arena, &l, &why);
    if (!e)
        e = l.partial ? complete(r, &l, &packed, &why) : pack_payload(l.payload, &arena, &packed, &why);
    if (e == TR_EEXIST) {
        pthread_mutex_lock(&r->lock);
        r->there++;
        pthread_mutex_unlock(&r->lock);
        e = 0;
    } else if (!e) {
        e = start_put(r, &l, tr_buf_view(&packed), row->event, &why);
    }
    if (e == TR_EINVAL || e == TR_EPARSE || e == TR_ELIMIT || e == TR_EEXIST) { /* the event's own fault */
        tr__replay_failed(r, row->event, e, &why);
        e = 0;
    } else if (e && err) {
        *err = why;
    }
    tr_buf_done(&packed);
    tr_arena_done(&arena);
    return e;
}

static int flush_table(tr_replay *r, tr_error *err)
{
    (void)err;
    return wait_below(r, 1);
}

static void close_table(tr_replay *r)
{
    (void)wait_below(r, 1);
}

const tr__replay_target tr__replay_target_table = {
    .open = open_table, .put = put_table, .flush = flush_table, .close = close_table};

/* ------------------------------------------------------------------------------------------------ handler */

static int open_handler(tr_replay *r, tr_error *err)
{
    (void)r;
    (void)err;
    return 0;
}

/* One at a time, so that they come in their order. */
static int put_handler(tr_replay *r, const tr__replay_row *row, tr_error *err)
{
    tr_rng rng;
    uint64_t seed;
    tr_error why = {0};
    int e;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&rng, seed);
    tr_buf_reset(&r->text);
    tr__replay_mark(row->event, TR_PIPE_REPLAY_MARK, r->name, &r->text);
    for (uint64_t attempt = 0;; attempt++) {
        e = tr_handler_invoke_wait(r->options.handler, tr_buf_view(&r->text), NULL, &why);
        if (e == 0 || e == TR_ECANCELED || attempt >= r->options.retries)
            break;
        tr_log(&r->options.logger, TR_LOG_WARN, "the handler: %s: %s; trying again", why.type, why.message);
        if (!tr__replay_sleep(r, 1 + tr_backoff_ms(&rng, attempt > 20 ? 20 : (unsigned)attempt, RETRY_MIN_MS,
                                                   RETRY_MAX_MS)))
            return TR_ECANCELED;
    }
    if (e == TR_ECANCELED) {
        if (err)
            *err = why;
        return e;
    }
    if (e)
        tr__replay_failed(r, row->event, e, &why);
    pthread_mutex_lock(&r->lock);
    r->done += e == 0;
    bool over = r->code != 0;
    pthread_mutex_unlock(&r->lock);
    return over ? TR_ECANCELED : 0;
}

static int flush_handler(tr_replay *r, tr_error *err)
{
    (void)r;
    (void)err;
    return 0;
}

static void close_handler(tr_replay *r)
{
    (void)r;
}

const tr__replay_target tr__replay_target_handler = {.open = open_handler,
                                                     .put = put_handler,
                                                     .flush = flush_handler,
                                                     .close = close_handler,
                                                     .at_once = true};
