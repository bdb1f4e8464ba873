/* SPDX-License-Identifier: MIT */
#include "api/server.h"

#include <pthread.h>
#include <strings.h>

/*
 * The way into the server from inside the process: the same operations, with the same bytes, without a
 * socket. Each transport has a loop thread of its own, on which answers are given.
 *
 *   send ---task---> server's loop: tr__server_carry_out ... answer ---task---> transport's loop: callback
 */

typedef struct local_call local_call;
typedef struct local_feed local_feed;

typedef struct local {
    tr_transport transport; /* first */
    tr_server *server;
    tr__loop *loop;
    local_call *calls; /* of the server's thread */
    local_feed *feeds; /* of the server's thread */
    pthread_mutex_t lock;
    pthread_cond_t gone;
    size_t open_feeds; /* under the lock */
} local;

struct local_call {
    tr_pending pending; /* first */
    tr__loop_task task;
    local *owner;
    local_call *next, *prev;
    tr_reply_fn *fn;
    void *ctx;
    tr_buf body;
    int code;
    char text[]; /* operation, body, snapshot */
};

/* -------------------------------------------------------------------------------------------------- calls */

static void free_call(local_call *call)
{
    tr_buf_done(&call->body);
    tr_free(call);
}

/* On the transport's loop. */
static void deliver(void *ctx)
{
    local_call *call = ctx;
    tr_header headers[4] = {{TR_VIEW("x-tailrace-version"), TR_VIEW(TR_VERSION)}};
    if (call->code) {
        tr_error err;
        tr_fail(&err, call->code, "the call was canceled");
        call->fn(call->ctx, call->code, NULL, &err);
    } else {
        const tr_reply reply = {.status = call->pending.reply.status,
                                .body = tr_buf_view(&call->body),
                                .headers = headers,
                                .header_count = 1 + tr__server_headers(&call->pending.reply, headers + 1)};
        call->fn(call->ctx, 0, &reply, NULL);
    }
    free_call(call);
}

static void unlink_call(local_call *call)
{
    if (call->prev)
        call->prev->next = call->next;
    else
        call->owner->calls = call->next;
    if (call->next)
        call->next->prev = call->prev;
}

static void answer(tr_pending *pending, int code)
{
    local_call *call = (local_call *)pending;
    unlink_call(call);
    if (code) {
        tr_api_error_body(&call->body, "com.amazonaws.dynamodb.v20120810#InternalServerError",
                          "the store could not be written");
        pending->reply.status = 500;
    }
    tr__loop_post_task(call->owner->loop, &call->task, deliver, call);
}

/* On the server's loop. */
static void run_call(void *ctx)
{
    local_call *call = ctx;
    local *owner = call->owner;
    call->prev = NULL;
    call->next = owner->calls;
    if (owner->calls)
        owner->calls->prev = call;
    owner->calls = call;
    tr__server_carry_out(owner->server, &call->pending);
}

static tr_view header_of(const tr_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (request->headers[i].name.len == strlen(name) &&
            strncasecmp(request->headers[i].name.ptr, name, request->headers[i].name.len) == 0)
            return request->headers[i].value;
    return (tr_view){NULL, 0};
}

/* Copies to `at` and moves it on. */
static tr_view copy_to(char **at, tr_view text)
{
    tr_view copy = tr_view_of(*at, text.len);
    if (text.len)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return copy;
}

static int local_send(tr_transport *transport, const tr_request *request, tr_reply_fn *fn, void *ctx)
{
    local *t = (local *)transport;
    tr_view operation = tr_view_str(request->operation);
    tr_view body = request->body.len ? request->body : TR_VIEW("{}");
    tr_view snapshot = header_of(request, "x-tailrace-snapshot"),
            wait = header_of(request, "x-tailrace-wait-ms");
    uint64_t wait_ms = 0;
    if (wait.ptr && tr_view_to_u64(wait, TR_API_WAIT_MAX_MS, &wait_ms))
        return TR_EINVAL;
    if (body.len > TR_API_BODY_MAX)
        return TR_ELIMIT;
    local_call *call = tr_malloc(sizeof *call + operation.len + body.len + snapshot.len);
    if (!call)
        return TR_ENOMEM;
    memset(call, 0, sizeof *call);
    char *at = call->text;
    call->owner = t;
    call->fn = fn;
    call->ctx = ctx;
    tr_buf_init(&call->body, TR_API_REPLY_MAX);
    call->pending.server = t->server;
    call->pending.body = &call->body;
    call->pending.answer = answer;
    call->pending.request = (tr_api_request){.service = request->service,
                                             .operation = copy_to(&at, operation),
                                             .body = copy_to(&at, body),
                                             .wait_ms = (int64_t)wait_ms,
                                             .snapshot = copy_to(&at, snapshot)};
    tr__loop_post_task(t->server->loop, &call->task, run_call, call);
    return 0;
}

/* -------------------------------------------------------------------------------------------------- feeds */

/* Bytes of events handed over at a time. */
#define BLOCK_BYTES ((size_t)64 * 1024)

struct local_feed {
    tr_feed feed; /* first */
    tr__loop_task task;
    local *owner;
    local_feed *next, *prev; /* of the server's thread */
    tr_sse_fn *on_event;
    tr_reply_fn *done;
    void *ctx;
    tr_buf block;   /* { three lengths:u32, id, event, data }* */
    bool in_flight; /* the block is with the transport's loop */
    bool stopped;   /* by on_event */
    bool finished;
    int code;
    tr_error error;
    tr_view path, last_event_id;
    char text[];
};

static void forget_feed(local_feed *f)
{
    local *t = f->owner;
    tr_buf_done(&f->block);
    tr_free(f);
    (void)pthread_mutex_lock(&t->lock);
    t->open_feeds--;
    (void)pthread_cond_broadcast(&t->gone);
    (void)pthread_mutex_unlock(&t->lock);
}

/* On the transport's loop: the last that happens to the feed. */
static void tell_done(void *ctx)
{
    local_feed *f = ctx;
    f->done(f->ctx, f->code, NULL, f->code ? &f->error : NULL);
    forget_feed(f);
}

/* The feed ends as soon as its block is back. */
static void end_feed(local_feed *f, int code, const char *why)
{
    if (f->finished)
        return;
    f->finished = true;
    f->code = code;
    if (code && why)
        tr_fail(&f->error, code, "%s", why);
    if (f->prev)
        f->prev->next = f->next;
    else if (f->owner->feeds == f)
        f->owner->feeds = f->next;
    if (f->next)
        f->next->prev = f->prev;
    if (!f->in_flight)
        tr__loop_post_task(f->owner->loop, &f->task, tell_done, f);
}

/* On the server's loop: the block is empty again. */
static void resume(void *ctx)
{
    local_feed *f = ctx;
    f->in_flight = false;
    tr_buf_reset(&f->block);
    if (f->finished) {
        tr__loop_post_task(f->owner->loop, &f->task, tell_done, f);
    } else if (f->stopped) {
        tr__feed_close(&f->feed);
        end_feed(f, 0, NULL);
    } else {
        tr__feed_pump(&f->feed);
    }
}

/* On the transport's loop. */
static void deliver_block(void *ctx)
{
    local_feed *f = ctx;
    const char *at = f->block.ptr, *end = at + f->block.len;
    while (at < end && !f->stopped) {
        tr_view part[3];
        const char *text = at + 12;
        for (int i = 0; i < 3; i++) {
            part[i] = tr_view_of(text, tr_get_be32(at + 4 * i));
            text += part[i].len;
        }
        f->stopped = !f->on_event(f->ctx, part[0], part[1], part[2]);
        at = text;
    }
    tr__loop_post_task(f->owner->server->loop, &f->task, resume, f);
}

static void feed_emit(tr_feed *feed, tr_view id, tr_view event, tr_view data)
{
    local_feed *f = (local_feed *)feed;
    char lengths[12];
    tr_put_be32(lengths, (uint32_t)id.len);
    tr_put_be32(lengths + 4, (uint32_t)event.len);
    tr_put_be32(lengths + 8, (uint32_t)data.len);
    if (tr_buf_reserve(&f->block, sizeof lengths + id.len + event.len + data.len))
        return; /* out of memory: the block is dropped whole below */
    tr_buf_put(&f->block, lengths, sizeof lengths);
    tr_buf_put_view(&f->block, id);
    tr_buf_put_view(&f->block, event);
    tr_buf_put_view(&f->block, data);
}

static size_t feed_space(tr_feed *feed)
{
    return ((local_feed *)feed)->in_flight ? 0 : BLOCK_BYTES;
}

static void feed_flush(tr_feed *feed)
{
    local_feed *f = (local_feed *)feed;
    if (tr_buf_status(&f->block)) { /* events are missing: the feed cannot go on */
        tr__feed_close(&f->feed);
        end_feed(f, TR_ENOMEM, "out of memory");
        return;
    }
    f->in_flight = true;
    tr__loop_post_task(f->owner->loop, &f->task, deliver_block, f);
}

static void feed_finish(tr_feed *feed, int code)
{
    end_feed((local_feed *)feed, code, "the stream of events ended");
}

/* On the server's loop. */
static void open_feed(void *ctx)
{
    local_feed *f = ctx;
    local *t = f->owner;
    size_t mark = tr_view_find(f->path, TR_VIEW("?"), 0);
    tr_view path = mark == SIZE_MAX ? f->path : tr_view_of(f->path.ptr, mark);
    tr_view query =
        mark == SIZE_MAX ? (tr_view){NULL, 0} : tr_view_of(f->path.ptr + mark + 1, f->path.len - mark - 1);
    f->next = t->feeds;
    if (t->feeds)
        t->feeds->prev = f;
    t->feeds = f;
    int e = tr__feed_open(t->server, path, query, f->last_event_id, &f->feed, &f->error);
    if (e)
        end_feed(f, e, NULL);
    else
        tr__feed_pump(&f->feed);
}

static int local_subscribe(tr_transport *transport, tr_view path, tr_view last_event_id, tr_sse_fn *on_event,
                           tr_reply_fn *done, void *ctx)
{
    local *t = (local *)transport;
    local_feed *f = tr_malloc(sizeof *f + path.len + last_event_id.len);
    if (!f)
        return TR_ENOMEM;
    memset(f, 0, sizeof *f);
    char *at = f->text;
    f->feed = (tr_feed){.emit = feed_emit, .space = feed_space, .flush = feed_flush, .finish = feed_finish};
    f->owner = t;
    f->on_event = on_event;
    f->done = done;
    f->ctx = ctx;
    f->path = copy_to(&at, path);
    f->last_event_id = copy_to(&at, last_event_id);
    tr_buf_init(&f->block, TR_API_REPLY_MAX);
    (void)pthread_mutex_lock(&t->lock);
    t->open_feeds++;
    (void)pthread_mutex_unlock(&t->lock);
    tr__loop_post_task(t->server->loop, &f->task, open_feed, f);
    return 0;
}

/* ----------------------------------------------------------------------------------------------- transport
 */

static int local_schedule(tr_transport *transport, int64_t delay_ms, tr_task_fn *fn, void *ctx)
{
    return tr__loop_schedule(((local *)transport)->loop, delay_ms, fn, ctx);
}

static bool local_on_thread(tr_transport *transport)
{
    return tr__loop_on_thread(((local *)transport)->loop);
}

/* On the server's loop: all that was posted before has been taken up. */
static void cancel_all(void *ctx)
{
    local *t = ctx;
    while (t->calls) {
        local_call *call = t->calls;
        tr__server_drop(t->server, &call->pending);
        unlink_call(call);
        call->code = TR_ECANCELED;
        tr__loop_post_task(t->loop, &call->task, deliver, call);
    }
    while (t->feeds) {
        local_feed *f = t->feeds;
        tr__feed_close(&f->feed);
        end_feed(f, TR_ECANCELED, "the subscription was canceled");
    }
}

static void local_free(tr_transport *transport)
{
    local *t = (local *)transport;
    tr__loop_call(t->server->loop, cancel_all, t);
    (void)pthread_mutex_lock(&t->lock);
    while (t->open_feeds)
        (void)pthread_cond_wait(&t->gone, &t->lock);
    (void)pthread_mutex_unlock(&t->lock);
    tr__loop_free(t->loop);
    (void)pthread_cond_destroy(&t->gone);
    (void)pthread_mutex_destroy(&t->lock);
    tr_free(t);
}

int tr_server_transport(tr_server *server, tr_transport **ret_transport, tr_error *err)
{
    local *t = tr_calloc(1, sizeof *t);
    if (!t)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    int e = tr__loop_new(&t->loop, err);
    if (e) {
        tr_free(t);
        return e;
    }
    t->transport = (tr_transport){.send = local_send,
                                  .schedule = local_schedule,
                                  .subscribe = local_subscribe,
                                  .on_thread = local_on_thread,
                                  .free = local_free};
    t->server = server;
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_cond_init(&t->gone, NULL);
    *ret_transport = &t->transport;
    return 0;
}
