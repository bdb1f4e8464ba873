/* SPDX-License-Identifier: MIT */
#include <tailrace/client.h>

#include "errors.h"
#include "http_transport.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#define ATTEMPTS     4
#define BASE_MS      50  /* of the pause before the first repetition, as in DynamoDB's SDKs */
#define SLOW_BASE_MS 500 /* after throttling, as in the SDKs' standard mode */
#define PAUSE_MAX_MS 20000

struct tr_client {
    tr_transport *transport;
    bool is_http; /* our own transport */
    unsigned attempts;
    bool (*unreachable)(void *ctx); /* or NULL */
    void *unreachable_ctx;
    char *region; /* of other transports */
    atomic_bool closing, is_tailrace;
    atomic_uint_fast64_t requests[TR_SERVICE_COUNT];
    tr_rng rng; /* on the I/O thread only */
};

/* A request that may be repeated, with copies of all it needs behind it. */
struct call {
    tr_client *client;
    tr_reply_fn *fn;
    void *ctx;
    tr_request request;
    unsigned made, most; /* attempts */
    tr_header headers[];
};

tr_view tr_reply_header(const tr_reply *reply, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < reply->header_count; i++)
        if (reply->headers[i].name.len == len && strncasecmp(reply->headers[i].name.ptr, name, len) == 0)
            return reply->headers[i].value;
    return (tr_view){NULL, 0};
}

/* ------------------------------------------------------------------------------------------------- calling
 */

static tr_view put_copy(char **at, tr_view v)
{
    char *copy = *at;
    if (v.len)
        memcpy(copy, v.ptr, v.len);
    copy[v.len] = 0;
    *at += v.len + 1;
    return tr_view_of(copy, v.len);
}

static struct call *new_call(tr_client *client, const tr_request *request, tr_reply_fn *fn, void *ctx)
{
    unsigned most = request->attempts ? request->attempts : client->attempts;
    bool repeats = most > 1 || client->unreachable; /* else the transport's copy is enough */
    tr_view operation = tr_view_str(request->operation);
    size_t count = repeats ? request->header_count : 0,
           bytes = repeats ? operation.len + request->body.len + 2 : 0;
    for (size_t i = 0; i < count; i++)
        bytes += request->headers[i].name.len + request->headers[i].value.len + 2;
    struct call *call = tr_malloc(sizeof *call + count * sizeof *call->headers + bytes);
    if (!call)
        return NULL;
    *call = (struct call){.client = client, .fn = fn, .ctx = ctx, .request = *request, .most = most};
    if (!repeats)
        return call;
    char *at = (char *)(call->headers + count);
    call->request.operation = put_copy(&at, operation).ptr;
    call->request.body = put_copy(&at, request->body);
    for (size_t i = 0; i < count; i++) {
        call->headers[i].name = put_copy(&at, request->headers[i].name);
        call->headers[i].value = put_copy(&at, request->headers[i].value);
    }
    call->request.headers = call->headers;
    return call;
}

static void complete(struct call *call, int code, const tr_reply *reply, const tr_error *err)
{
    call->fn(call->ctx, code, reply, code ? err : NULL);
    tr_free(call);
}

static void on_attempt(void *ctx, int code, const tr_reply *reply, const tr_error *err);

static int attempt(struct call *call)
{
    tr_client *client = call->client;
    atomic_uint_fast64_t *count = &client->requests[call->request.service];
    atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    int code = client->transport->send(client->transport, &call->request, on_attempt, call);
    if (code) /* else the call may be over and gone already */
        atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return code;
}

static void repeat(void *ctx)
{
    struct call *call = ctx;
    bool closing = atomic_load(&call->client->closing);
    int code = closing ? TR_ECANCELED : attempt(call);
    if (code) {
        tr_error err;
        (void)tr_fail(&err, code, "%s", closing ? "the client was closed" : tr_strerror(code));
        complete(call, code, NULL, &err);
    }
}

/* Whether the call will be repeated, and its callback come later. */
static bool will_repeat(struct call *call, int code, const tr_reply *reply, const tr_error *err)
{
    tr_client *client = call->client;
    if (atomic_load(&client->closing))
        return false;
    if (code == TR_ECONNECT && client->unreachable && client->unreachable(client->unreachable_ctx)) {
        call->made--; /* nothing was sent */
        return client->transport->schedule(client->transport,
                                           tr_backoff_ms(&client->rng, 0, BASE_MS, PAUSE_MAX_MS), repeat,
                                           call) == 0;
    }
    if (call->made >= call->most)
        return false;
    int64_t pause = 0;
    switch (tr__retry_of(code, err)) {
    case TR__RETRY_SOON:
        pause = tr_backoff_ms(&client->rng, call->made - 1, BASE_MS, PAUSE_MAX_MS);
        break;
    case TR__RETRY_SLOWLY:
        pause = tr_backoff_ms(&client->rng, call->made - 1, SLOW_BASE_MS, PAUSE_MAX_MS);
        break;
    case TR__RETRY_RESIGNED:
        if (!client->is_http || !reply || !tr__http_transport_learn(client->transport, reply, err))
            return false;
        break;
    default:
        return false;
    }
    return client->transport->schedule(client->transport, pause, repeat, call) == 0;
}

static void on_attempt(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    struct call *call = ctx;
    tr_client *client = call->client;
    tr_error service_err;
    call->made++;
    if (code == 0) {
        if (!atomic_load_explicit(&client->is_tailrace, memory_order_relaxed) &&
            tr_reply_header(reply, "x-tailrace-version").ptr)
            atomic_store(&client->is_tailrace, true);
        if (reply->status / 100 != 2) {
            code = tr__reply_error(reply, &service_err);
            err = &service_err;
        }
    }
    if (code == 0 || !will_repeat(call, code, reply, err))
        complete(call, code, reply, err);
}

int tr_client_call(tr_client *client, const tr_request *request, tr_reply_fn *fn, void *ctx)
{
    assert(fn && request->operation);
    if (request->service >= TR_SERVICE_COUNT)
        return TR_EINVAL;
    if (atomic_load(&client->closing))
        return TR_ECLOSED;
    struct call *call = new_call(client, request, fn, ctx);
    if (!call)
        return TR_ENOMEM;
    int code = attempt(call);
    if (code)
        tr_free(call);
    return code;
}

/* ------------------------------------------------------------------------------------------------- waiting
 */

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    bool done;
    int code;
    tr_buf *body;
    tr_error *err;
};

static void on_waited(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    struct waiting *w = ctx;
    (void)pthread_mutex_lock(&w->lock);
    w->code = code;
    if (code && w->err)
        *w->err = *err;
    if (reply && w->body) {
        tr_buf_put_view(w->body, reply->body);
        int full = tr_buf_status(w->body);
        if (full && code == 0)
            w->code = tr_fail(w->err, full, "the answer does not fit the buffer: %s", tr_strerror(full));
    }
    w->done = true;
    (void)pthread_cond_signal(&w->done_cond);
    (void)pthread_mutex_unlock(&w->lock);
}

int tr_client_call_wait(tr_client *client, const tr_request *request, tr_buf *ret_body, tr_error *err)
{
    if (tr_client_on_thread(client))
        return tr_fail(err, TR_ETHREAD, "a blocking call on the client's own I/O thread");
    struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER,
                        .done_cond = PTHREAD_COND_INITIALIZER,
                        .body = ret_body,
                        .err = err};
    int code = tr_client_call(client, request, on_waited, &w);
    if (code)
        return tr_fail(err, code, "cannot send %s: %s", request->operation, tr_strerror(code));
    (void)pthread_mutex_lock(&w.lock);
    while (!w.done)
        (void)pthread_cond_wait(&w.done_cond, &w.lock);
    (void)pthread_mutex_unlock(&w.lock);
    return w.code;
}

/* ------------------------------------------------------------------------------------- opening and closing
 */

int tr_client_new(const tr_client_options *options, tr_client **ret_client, tr_error *err)
{
    tr_client *client = tr_calloc(1, sizeof *client);
    if (!client)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&client->rng, seed);
    client->attempts = options->attempts ? options->attempts : ATTEMPTS;
    client->is_http = !options->transport;
    client->unreachable = client->is_http ? options->unreachable : NULL;
    client->unreachable_ctx = options->unreachable_ctx;
    int code = 0;
    if (client->is_http) {
        code = tr__http_transport_new(options, &client->transport, err);
    } else {
        atomic_store(&client->is_tailrace, true);
        client->region = tr_strdup(options->region ? options->region : "us-east-1");
        code = client->region ? 0 : tr_fail(err, TR_ENOMEM, "out of memory");
    }
    if (code) {
        tr_free(client);
        return code;
    }
    if (options->transport)
        client->transport = options->transport;
    *ret_client = client;
    return 0;
}

void tr_client_free(tr_client *client)
{
    if (!client)
        return;
    assert(!tr_client_on_thread(client)); /* it would wait for itself */
    atomic_store(&client->closing, true);
    client->transport->free(client->transport);
    tr_free(client->region);
    tr_free(client);
}

int tr_client_schedule(tr_client *client, int64_t delay_ms, tr_task_fn *fn, void *ctx)
{
    return client->transport->schedule(client->transport, delay_ms, fn, ctx);
}

bool tr_client_closing(tr_client *client)
{
    return atomic_load(&client->closing);
}

bool tr_client_on_thread(tr_client *client)
{
    return client->transport->on_thread(client->transport);
}

int tr_client_subscribe(tr_client *client, tr_view path, tr_view last_event_id, tr_sse_fn *on_event,
                        tr_reply_fn *done, void *ctx)
{
    if (!client->transport->subscribe)
        return TR_EUNSUPPORTED;
    if (atomic_load(&client->closing))
        return TR_ECLOSED;
    return client->transport->subscribe(client->transport, path, last_event_id, on_event, done, ctx);
}

const char *tr_client_endpoint(const tr_client *client, tr_service service)
{
    return client->is_http ? tr__http_transport_endpoint(client->transport, service) : "embedded";
}

const char *tr_client_region(const tr_client *client)
{
    return client->is_http ? tr__http_transport_region(client->transport) : client->region;
}

bool tr_client_is_aws(const tr_client *client)
{
    return client->is_http && tr__http_transport_is_aws(client->transport);
}

bool tr_client_is_tailrace(const tr_client *client)
{
    return atomic_load(&client->is_tailrace);
}

uint64_t tr_client_requests(const tr_client *client, tr_service service)
{
    return atomic_load_explicit(&client->requests[service], memory_order_relaxed);
}
