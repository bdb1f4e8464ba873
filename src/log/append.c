/* SPDX-License-Identifier: MIT */
/*
 * An append is a small machine on the client's I/O thread:
 *
 *   expect given ----------------------> put (expect + 1) --- ok --------------------------> done
 *   any: query newest version --> put (newest + 1)  |  ^      conflict, same event there --> done (a lost
 * answer) ^                        conflict      |  +----- cannot be reached: wait ----+
 *            +---- wait, jittered <-----------------+         conflict, expect given ------> TR_ECONFLICT
 */
#include "log/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <uv.h>

#define REQUEST_MAX      (16 << 20) /* an item of 400 KB in JSON with every byte escaped, and room */
#define CONFLICT_BASE_MS 10
#define CONFLICT_CAP_MS  2000
#define RETRY_BASE_MS    50
#define RETRY_CAP_MS     2000
#define CONFLICTS_MAX    100 /* lost races in a row before giving up */

typedef struct append {
    tr_client *client;
    tr_log_append_fn *fn;
    void *ctx;
    char *table;
    tr_arena arena;
    tr_view log, id, type;
    tr_item payload;
    uint64_t expect, version; /* version: the number tried */
    int64_t deadline_ms;      /* monotonic; 0: no patience of our own */
    unsigned conflicts, failures;
    tr_rng rng;
    tr_buf body;
} append;

static void query_newest(void *ctx);
static void put(void *ctx);

static void finish(append *a, int code, const tr_error *err)
{
    tr_log_append_fn *fn = a->fn;
    void *ctx = a->ctx;
    uint64_t version = a->version;
    tr_arena_done(&a->arena);
    tr_buf_done(&a->body);
    tr_free(a->table);
    tr_free(a);
    fn(ctx, code, code ? 0 : version, err);
}

static void later(append *a, unsigned attempt, int64_t base_ms, int64_t cap_ms, tr_task_fn *step)
{
    int64_t delay = 1 + tr_backoff_ms(&a->rng, attempt, base_ms, cap_ms);
    int e = tr_client_schedule(a->client, delay, step, a);
    if (e) {
        tr_error err;
        finish(a, tr_fail(&err, e, "%s", tr_strerror(e)), &err);
    }
}

/* Whether the failure is one that patience waits out. */
static bool try_again(append *a, int code, tr_task_fn *step)
{
    if (code == TR_ECANCELED || !tr_retryable(code) || !a->deadline_ms ||
        tr_clock_mono_ms() >= a->deadline_ms)
        return false;
    later(a, a->failures++, RETRY_BASE_MS, RETRY_CAP_MS, step);
    return true;
}

static void call(append *a, const char *operation, tr_reply_fn *fn)
{
    tr_error err;
    tr_request request = {.service = TR_DYNAMODB, .operation = operation, .body = tr_buf_view(&a->body)};
    int e = tr_buf_status(&a->body);
    if (e)
        finish(a, tr_fail(&err, e, "the event is too large"), &err);
    else if ((e = tr_client_call(a->client, &request, fn, a)))
        finish(a, tr_fail(&err, e, "%s", tr_strerror(e)), &err);
}

/* ------------------------------------------------------------------------------------------------ put */

static void write_event_item(append *a, tr_json_writer *w)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%" PRIu64, a->version);
    tr_json_begin_object(w);
    tr_json_name(w, TR_LOG_PK);
    tr__log_write_pk(w, a->log, a->id);
    tr_json_name(w, TR_LOG_SK);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "N", number);
    tr_json_end_object(w);
    const struct {
        const char *name;
        tr_view text;
    } texts[] = {{TR_LOG_TYPE, a->type}, {TR_LOG_LOG, a->log}};
    for (size_t i = 0; i < TR_COUNT(texts); i++) {
        tr_json_name(w, texts[i].name);
        tr_json_begin_object(w);
        tr_json_member_string(w, "S", texts[i].text);
        tr_json_end_object(w);
    }
    tr_json_name(w, TR_LOG_PAYLOAD);
    tr_json_begin_object(w);
    tr_json_name(w, "M");
    tr_item_write(w, a->payload);
    tr_json_end_object(w);
    tr_json_end_object(w);
}

/* After a failed condition: the event that stands there is ours if an earlier answer was lost. */
static bool is_ours(append *a, tr_view reply)
{
    tr_arena arena;
    tr_arena_init(&arena, REQUEST_MAX);
    tr_view json;
    tr_item there;
    tr_value payload, type;
    bool ours = tr_json_member(reply, "Item", &arena, &json) == 0 &&
                tr_item_from_json(json, &arena, &there, NULL) == 0 &&
                tr_item_get(there, TR_VIEW(TR_LOG_PAYLOAD), &payload) == 0 &&
                tr_item_get(there, TR_VIEW(TR_LOG_TYPE), &type) == 0 && type.type == TR_S &&
                payload.type == TR_M && tr_view_eq(type.payload, a->type) &&
                tr_view_eq(payload.payload, a->payload);
    tr_arena_done(&arena);
    return ours;
}

static void on_put(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    append *a = ctx;
    if (code == 0) {
        finish(a, 0, NULL);
    } else if (code == TR_ECONFLICT && reply && is_ours(a, reply->body)) {
        finish(a, 0, NULL);
    } else if (code == TR_ECONFLICT && a->expect == TR_LOG_ANY_VERSION && ++a->conflicts < CONFLICTS_MAX) {
        later(a, a->conflicts - 1, CONFLICT_BASE_MS, CONFLICT_CAP_MS, query_newest);
    } else if (code == TR_ECONFLICT) {
        tr_error ours;
        finish(a,
               tr_fail(&ours, code, "%.*s %.*s has an event with version %" PRIu64 " already", TR_FMT(a->log),
                       TR_FMT(a->id), a->version),
               &ours);
    } else if (!try_again(a, code, put)) {
        finish(a, code, err);
    }
}

static void put(void *ctx)
{
    append *a = ctx;
    tr_json_writer w;
    tr_buf_reset(&a->body);
    tr_json_write_init(&w, &a->body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", a->table);
    tr_json_name(&w, "Item");
    write_event_item(a, &w);
    tr_json_member_cstring(&w, "ConditionExpression", "attribute_not_exists(#pk)");
    tr_json_name(&w, "ExpressionAttributeNames");
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "#pk", TR_LOG_PK);
    tr_json_end_object(&w);
    tr_json_member_cstring(&w, "ReturnValuesOnConditionCheckFailure", "ALL_OLD");
    tr_json_end_object(&w);
    call(a, "PutItem", on_put);
}

/* -------------------------------------------------------------------------------------- newest version */

static int newest_version(tr_view reply, uint64_t *ret_version)
{
    tr_arena arena;
    tr_arena_init(&arena, REQUEST_MAX);
    tr_view items;
    uint64_t version = 0;
    int e = tr_json_member(reply, "Items", &arena, &items);
    if (!e) {
        tr_json_reader r;
        tr_buf packed;
        tr_item_error problem;
        tr_log_event event;
        tr_buf_init(&packed, 2 * TR_ITEM_SIZE_MAX + 65536);
        tr_json_init(&r, items, &arena);
        if (tr_json_next(&r) != TR_JSON_ARRAY)
            e = TR_EPARSE;
        else if (tr_json_next(&r) == TR_JSON_OBJECT && !(e = tr_item_read(&r, &packed, &problem)) &&
                 !(e = tr_log_event_from_item(tr_buf_view(&packed), &event, NULL)))
            version = event.version;
        tr_buf_done(&packed);
    }
    tr_arena_done(&arena);
    if (!e)
        *ret_version = version;
    return e;
}

static void on_newest(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    append *a = ctx;
    if (code) {
        if (!try_again(a, code, query_newest))
            finish(a, code, err);
        return;
    }
    uint64_t newest;
    int e = newest_version(reply->body, &newest);
    if (e) {
        tr_error ours;
        finish(a, tr_fail(&ours, e, "what stands in the table under this log and id is no event"), &ours);
        return;
    }
    a->version = newest + 1;
    put(a);
}

static void query_newest(void *ctx)
{
    append *a = ctx;
    tr_buf_reset(&a->body);
    tr_log_range range = {.table = a->table, .log = a->log, .id = a->id, .reverse = true, .limit = 1};
    tr__log_write_query(&a->body, &range, (tr_view){NULL, 0});
    call(a, "Query", on_newest);
}

/* ---------------------------------------------------------------------------------------------- start */

static int check(const tr_log_append *in, tr_error *err)
{
    if (in->log.len == 0 || in->id.len == 0 || in->type.len == 0)
        return tr_fail(err, TR_EINVAL, "log, id and type must not be empty");
    if (in->log.len > TR_LOG_NAME_MAX || in->id.len > TR_LOG_NAME_MAX ||
        in->log.len + in->id.len + sizeof TR_LOG_PK_SUFFIX > 2048)
        return tr_fail(err, TR_EINVAL,
                       "log and id are too long: <log>#<id>" TR_LOG_PK_SUFFIX
                       " is a key of at most 2,048 bytes");
    if (tr_view_find(in->log, TR_VIEW("#"), 0) != SIZE_MAX)
        return tr_fail(err, TR_EINVAL, "a log's name must not hold '#': '%.*s'", TR_FMT(in->log));
    if (in->expect != TR_LOG_ANY_VERSION && in->expect > (uint64_t)INT64_MAX - 1)
        return tr_fail(err, TR_EINVAL, "the expected version is out of range");
    return 0;
}

/* The payload with its member id. */
static int complete_payload(append *a, tr_item payload, tr_error *err)
{
    tr_value id;
    if (payload.len && tr_item_get(payload, TR_VIEW("id"), &id) == 0) {
        if (id.type != TR_S || !tr_view_eq(id.payload, a->id))
            return tr_fail(err, TR_EINVAL, "the payload's member id must be the id '%.*s', or be left out",
                           TR_FMT(a->id));
        a->payload = tr_arena_copy(&a->arena, payload);
        return a->payload.ptr ? 0 : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    tr_buf packed;
    tr_packer p;
    tr_packed_iter it;
    tr_buf_init(&packed, payload.len + a->id.len + 64);
    tr_packer_init(&p, &packed);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("id"));
    tr_pack_s(&p, a->id);
    tr_item_iter(&it, payload);
    while (tr_packed_next(&it)) {
        tr_pack_name(&p, it.name);
        tr_pack_encoded(&p, it.encoded);
    }
    int e = tr_pack_item_end(&p);
    if (!e) {
        a->payload = tr_arena_copy(&a->arena, tr_buf_view(&packed));
        e = a->payload.ptr ? 0 : TR_ENOMEM;
    }
    tr_buf_done(&packed);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

int tr_log_append_start(tr_client *client, const tr_log_append *in, tr_log_append_fn *fn, void *ctx,
                        tr_error *err)
{
    int e = check(in, err);
    if (e)
        return e;
    append *a = tr_calloc(1, sizeof *a);
    if (!a)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    *a = (append){.client = client, .fn = fn, .ctx = ctx, .expect = in->expect};
    tr_arena_init(&a->arena, REQUEST_MAX);
    tr_buf_init(&a->body, REQUEST_MAX);
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&a->rng, seed);
    if (in->patience_ms)
        a->deadline_ms = tr_clock_mono_ms() + in->patience_ms;
    a->table = tr_strdup(tr__log_table(in->table));
    a->log = tr_arena_copy(&a->arena, in->log);
    a->id = tr_arena_copy(&a->arena, in->id);
    a->type = tr_arena_copy(&a->arena, in->type);
    e = a->table && a->log.ptr && a->id.ptr && a->type.ptr
            ? complete_payload(a, in->payload, err)
            : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (!e) {
        a->version = in->expect == TR_LOG_ANY_VERSION ? 0 : in->expect + 1;
        /* on the I/O thread, where all of the machine runs */
        e = tr_client_schedule(client, 0, in->expect == TR_LOG_ANY_VERSION ? query_newest : put, a);
        if (e)
            (void)tr_fail(err, e, "%s", tr_strerror(e));
    }
    if (e) {
        tr_arena_done(&a->arena);
        tr_free(a->table);
        tr_free(a);
    }
    return e;
}

/* ------------------------------------------------------------------------------------------- blocking */

typedef struct waiter {
    uv_sem_t done;
    int code;
    uint64_t version;
    tr_error *err;
} waiter;

static void on_done(void *ctx, int code, uint64_t version, const tr_error *err)
{
    waiter *w = ctx;
    w->code = code;
    w->version = version;
    if (code && err && w->err)
        *w->err = *err;
    uv_sem_post(&w->done);
}

int tr_log_append_wait(tr_client *client, const tr_log_append *in, uint64_t *ret_version, tr_error *err)
{
    if (tr_client_on_thread(client))
        return tr_fail(err, TR_ETHREAD, "a blocking call on the client's I/O thread");
    waiter w = {.err = err};
    if (uv_sem_init(&w.done, 0))
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    int e = tr_log_append_start(client, in, on_done, &w, err);
    if (!e) {
        uv_sem_wait(&w.done);
        e = w.code;
    }
    uv_sem_destroy(&w.done);
    if (!e)
        *ret_version = w.version;
    return e;
}
