/* SPDX-License-Identifier: MIT */
#include "api/kept.h"

#include <stdio.h>

/* A request's arena: items of a 16 MB body, their packed forms, and what reading them back takes. */
#define ARENA_LIMIT ((size_t)256 * 1024 * 1024)
/* Kept between requests, so that common ones allocate nothing. */
#define ARENA_KEPT   (64 * 1024)
#define SCRATCH_KEPT (1024 * 1024)
/* The largest request struct, put in the arena. */
#define SCRATCH_LIMIT ((size_t)32 * 1024 * 1024)
#define NAME_SHOWN    128 /* bytes of an operation's name: longer ones are none of any service */

/* Goes on with what was answered before the last server ended. */
static void resume(tr_api *api)
{
    tr__imports_resume(api);
    tr__exports_resume(api);
    tr__restores_resume(api);
}

/* Whether a job fills the table. */
static bool wanted(const tr_api *api, const tr_table *table)
{
    static const tr_kept_kind kinds[] = {TR_KEPT_IMPORTS, TR_KEPT_RESTORES};
    for (size_t i = 0; i < TR_COUNT(kinds); i++)
        for (const tr_kept *k = api->kept[kinds[i]]; k; k = k->next)
            if (k->request && tr_view_find(tr_view_str(k->json), tr_view_str(table->uuid), 0) != SIZE_MAX)
                return true;
    return false;
}

/* Tables that were to be filled by a request that was not answered before the last server ended. */
static void drop_unwanted(tr_api *api)
{
    tr_table *next = tr_engine_next_table(api->engine, (tr_view){NULL, 0});
    while (next) {
        char name[TR_TABLE_NAME_MAX];
        tr_view after = tr_view_of(name, next->name.len);
        tr_error err;
        memcpy(name, next->name.ptr, next->name.len);
        if (next->status == TR_CREATING && !wanted(api, next))
            (void)tr_engine_delete_table(api->engine, next, &err);
        next = tr_engine_next_table(api->engine, after);
    }
}

int tr_api_new(const tr_api_options *options, tr_api **ret_api)
{
    tr_api *api = tr_calloc(1, sizeof *api);
    if (!api)
        return TR_ENOMEM;
    api->engine = options->engine;
    api->bus = options->bus;
    api->iterator_lifetime_ms =
        options->iterator_lifetime_ms ? options->iterator_lifetime_ms : 15 * 60 * 1000;
    api->put_events_bytes = options->put_events_bytes ? options->put_events_bytes : TR_API_PUT_EVENTS_BYTES;
    tr_arena_init(&api->arena, ARENA_LIMIT);
    tr_buf_init(&api->scratch, SCRATCH_LIMIT);
    tr_buf_init(&api->text, SCRATCH_LIMIT);
    api->region = tr_strdup(options->region ? options->region : "us-east-1");
    api->dir = tr_strdup(options->dir);
    api->buckets = tr_strdup(options->buckets);
    if ((options->dir && !api->dir) || (options->buckets && !api->buckets)) {
        tr_api_free(api);
        return TR_ENOMEM;
    }
    /* the arena's first chunk is as large as the first allocation, and stays */
    if (!api->region || !tr_arena_alloc(&api->arena, ARENA_KEPT)) {
        tr_api_free(api);
        return TR_ENOMEM;
    }
    tr_arena_reset(&api->arena);
    (void)tr__kept_load(api);
    drop_unwanted(api);
    resume(api);
    *ret_api = api;
    return 0;
}

void tr_api_free(tr_api *api)
{
    if (!api)
        return;
    tr__jobs_done(api);
    tr__kept_done(api);
    tr__snapshots_done(api);
    tr_free(api->dir);
    tr_free(api->buckets);
    tr_buf_done(&api->scratch);
    tr_buf_done(&api->text);
    tr_arena_done(&api->arena);
    tr_free(api->region);
    tr_free(api);
}

static const tr_op *find_op(tr_service service, tr_view name)
{
    for (const tr_op *op = tr__ops; op->name; op++)
        if (op->service == service && tr_view_is(name, op->name))
            return op;
    return NULL;
}

bool tr_api_knows(tr_service service, tr_view operation)
{
    return find_op(service, operation) != NULL;
}

/* A body that has no operation: one that is no JSON is told first, as the service does. */
static int unknown_operation(tr_call *c)
{
    tr_json_reader json;
    tr_json_init(&json, c->request->body, c->arena);
    tr_json_token token = TR_JSON_NULL;
    while (c->request->body.len && token != TR_JSON_DONE && token != TR_JSON_ERROR)
        token = tr_json_next(&json);
    if (token == TR_JSON_ERROR)
        return tr__fail(c, 400, TR_TYPE_SERIALIZATION, NULL);
    tr_service service = c->request->service;
    tr_view name = c->request->operation;
    bool told = name.len && name.len <= NAME_SHOWN && tr_utf8_valid(name);
    if (told && (service == TR_EVENTS || service == TR_SQS)) /* others answer as DynamoDB does, in no words */
        return tr__fail(c, 400, TR_TYPE_UNKNOWN, "%s of tailrace does not support the operation %.*s.",
                        service == TR_EVENTS ? "The event bus" : "The queue service", TR_FMT(name));
    return tr__fail(c, 400, TR_TYPE_UNKNOWN, NULL);
}

static int read_failed(tr_call *c, const tr_shape_reader *r, int code)
{
    if (code == TR_EPARSE && r->problem[0])
        return tr__fail_upper(c, TR_TYPE_SERIALIZATION, "%s", r->problem);
    if (code == TR_EPARSE)
        return tr__fail(c, 400, TR_TYPE_SERIALIZATION, NULL);
    if (code == TR_ENOMEM)
        return tr__fail_code(c, code, NULL);
    return tr__invalid(c, "The request has more elements than can be processed");
}

/* Operations on tables tell of a missing name before anything else. */
static int check_name(tr_call *c, const void *request)
{
    if (!(c->op->flags & TR_OP_NAMED))
        return 0;
    tr_view name = *(const tr_view *)request;
    if (!name.ptr)
        return tr__invalid(c, "The parameter 'TableName' is required but was not present in the request");
    if ((c->op->flags & TR_OP_LENGTH) &&
        (name.len < 3 || (name.len > 255 && !tr_view_starts(name, TR_VIEW("arn:")))))
        return tr__invalid(c, "TableName must be at least 3 characters long and at most 255 characters long");
    return 0;
}

/* Parameters that ask for what is not there. */
static int check_refused(tr_call *c, const void *request)
{
    const tr_shape *shape = c->op->shape;
    for (unsigned i = 0; i < shape->count; i++) {
        const char *name =
            shape->members[i].kind == TR_K_REFUSED
                ? *(const char *const *)(const void *)((const char *)request + shape->members[i].offset)
                : NULL;
        if (name)
            return tr__invalid(c,
                               "%s is not available here: tailrace is one DynamoDB on one machine. See "
                               "docs/compatibility.md",
                               name);
    }
    return 0;
}

static int carry_out(tr_call *c)
{
    if (!c->op || (c->op->service >= TR_EVENTS && !c->api->bus))
        return unknown_operation(c);
    tr_shape_reader r = {.arena = c->arena, .scratch = &c->api->scratch};
    void *request = tr_arena_alloc(c->arena, c->op->shape->size);
    if (!request)
        return tr__fail_code(c, TR_ENOMEM, NULL);
    int e = tr__shape_read(&r, c->op->shape, c->request->body, request);
    if (e)
        return read_failed(c, &r, e);
    e = check_name(c, request);
    if (e)
        return e;
    tr_buf_reset(c->text);
    unsigned broken = tr__shape_check(c->op->shape, request, c->text);
    if (broken)
        return tr__invalid(c, "%u validation error%s detected: %.*s", broken, broken > 1 ? "s" : "",
                           TR_FMT(tr_buf_view(c->text)));
    e = check_refused(c, request);
    return e ? e : c->op->run(c, request);
}

/* What one huge request made grow is given back. */
static void trim(tr_buf *buf)
{
    if (buf->cap > SCRATCH_KEPT)
        tr_buf_done(buf);
    tr_buf_reset(buf);
}

static void count(tr_api *api, const tr_op *op, const tr_api_reply *reply)
{
    size_t i = op ? (size_t)(op - tr__ops) : TR_API_OPS_MAX;
    if (i >= TR_API_OPS_MAX || reply->wait_stream || reply->held ||
        reply->wait_queue_ms > 0) /* it will be carried out again */
        return;
    tr_api_count *c = &api->counts[i];
    *(reply->status < 400 ? &c->ok : reply->status < 500 ? &c->refused : &c->failed) += 1;
}

const tr_api_count *tr_api_counts(const tr_api *api, size_t i, const char **ret_name, tr_service *ret_service)
{
    if (i >= TR_API_OPS_MAX || !tr__ops[i].name)
        return NULL;
    *ret_name = tr__ops[i].name;
    *ret_service = tr__ops[i].service;
    return &api->counts[i];
}

void tr_api_call(tr_api *api, const tr_api_request *request, tr_buf *body, tr_api_reply *ret_reply)
{
    tr_call c = {.api = api,
                 .engine = api->engine,
                 .op = find_op(request->service, request->operation),
                 .request = request,
                 .reply = ret_reply,
                 .arena = &api->arena,
                 .out = body,
                 .text = &api->text};
    ret_reply->status = 200;
    ret_reply->ticket = 0;
    ret_reply->sequence_number[0] = ret_reply->snapshot[0] = ret_reply->stream_arn[0] = 0;
    ret_reply->wait_stream = NULL;
    ret_reply->wait_queue_ms = 0;
    ret_reply->held = NULL;
    tr_buf_reset(body);
    tr_json_write_init(&c.w, body);
    int e = carry_out(&c);
    if (e != TR_ESERVICE && (e || tr_buf_status(body)))
        (void)tr__fail_code(&c, e ? e : tr_buf_status(body), NULL);
    if (c.op && !(c.op->flags & TR_OP_READ) && !c.read_only)
        ret_reply->ticket = tr_engine_ticket(api->engine);
    count(api, c.op, ret_reply);
    trim(&api->scratch);
    trim(&api->text);
    tr_arena_reset(&api->arena);
}

bool tr_api_tick(tr_api *api)
{
    tr__snapshots_expire(api);
    (void)tr__jobs_step(api);
    return tr_api_busy(api);
}

bool tr_api_busy(const tr_api *api)
{
    return api->jobs || api->sources;
}
