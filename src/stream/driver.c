/* SPDX-License-Identifier: MIT */
#include "stream/driver.h"
#include "stream/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define WORKER_NAME_MAX 200
#define REQUEST_MAX     (8u * 1024 * 1024) /* bytes of a request: lease rows and iterators are far smaller */

/* ----------------------------------------------------------------------------------------------- time */

void tr__stream_tick(tr_stream *stream)
{
    tr__core_time(stream->core, tr_clock_mono_ms(), tr_clock_wall_ms());
}

int64_t tr__stream_until(int64_t timeout_ms)
{
    if (timeout_ms < 0)
        return INT64_MAX;
    int64_t now = tr_clock_mono_ms();
    return timeout_ms > INT64_MAX - now ? INT64_MAX : now + timeout_ms;
}

void tr__stream_wait(tr_stream *stream, int64_t until_ms)
{
    stream->waiters++;
    if (until_ms == INT64_MAX) {
        (void)pthread_cond_wait(&stream->changed, &stream->lock);
    } else {
        struct timespec at = {.tv_sec = (time_t)(until_ms / 1000),
                              .tv_nsec = (long)(until_ms % 1000) * 1000000};
        (void)pthread_cond_timedwait(&stream->changed, &stream->lock, &at);
    }
    stream->waiters--;
}

static void unref(tr_stream *stream)
{
    unsigned left = --stream->refs;
    (void)pthread_mutex_unlock(&stream->lock);
    if (left)
        return;
    (void)pthread_mutex_destroy(&stream->lock);
    (void)pthread_mutex_destroy(&stream->poll);
    (void)pthread_cond_destroy(&stream->changed);
    (void)pthread_cond_destroy(&stream->job_there);
    tr_buf_done(&stream->job.state);
    tr__filter_free(stream->filter);
    tr__page_pool_done(&stream->pages);
    tr_free(stream);
}

static void woken(void *ctx)
{
    tr_stream *stream = ctx;
    (void)pthread_mutex_lock(&stream->lock);
    stream->wake_ms = INT64_MAX;
    if (stream->core && !tr_client_closing(stream->client)) {
        tr__stream_tick(stream);
        tr__stream_pump(stream);
    }
    unref(stream);
}

static void schedule(tr_stream *stream)
{
    int64_t at = tr__core_deadline(stream->core);
    /* an earlier wake-up than needed does no harm: it will schedule the next */
    if (at >= stream->wake_ms)
        return;
    int64_t delay = at - tr_clock_mono_ms();
    stream->refs++;
    if (tr_client_schedule(stream->client, delay > 0 ? delay : 0, woken, stream))
        stream->refs--;
    else
        stream->wake_ms = at;
}

/* ------------------------------------------------------------------------------------------------ calls */

typedef struct call {
    tr_stream *stream;
    tr_client *client;
    uint64_t id;
    tr__req_kind kind;
    bool keep_raw;
    char shard_id[TR_SHARD_ID_MAX + 1];
} call;

static void look_at_server(tr_stream *stream, tr_client *client)
{
    if (client != stream->client)
        return;
    tr__core_set_server(stream->core, tr_client_is_tailrace(client) ? TR__SERVER_TAILRACE
                                      : tr_client_is_aws(client)    ? TR__SERVER_AWS
                                                                    : TR__SERVER_OTHER);
}

static void answered(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    call *c = ctx;
    tr_stream *stream = c->stream;
    tr__answer a = {.id = c->id, .code = code, .error = err, .service_ms = -1};
    tr__wire wire;
    tr__wire_init(&wire);
    wire.pool = &stream->pages;
    if (reply)
        a.service_ms = tr__wire_date(tr_reply_header(reply, "date"));
    if (code == 0) /* not under the lock: a page of records takes a while */
        tr__wire_decode(&wire, c->kind, tr_view_str(c->shard_id), c->keep_raw, reply->body, &a);
    (void)pthread_mutex_lock(&stream->lock);
    if (stream->core) {
        tr__stream_tick(stream);
        if (reply)
            look_at_server(stream, c->client);
        tr__core_answer(stream->core, &a);
        if (code != TR_ECANCELED || !tr_client_closing(c->client))
            tr__stream_pump(stream);
    } else {
        tr__page_free(a.page);
    }
    unref(stream);
    tr__wire_done(&wire);
    tr_free(c);
}

static int post(tr_stream *stream, const tr__req *req)
{
    bool lease = req->kind >= TR__REQ_LEASE_DESCRIBE;
    call *c = tr_calloc(1, sizeof *c);
    if (!c)
        return TR_ENOMEM;
    *c = (call){.stream = stream,
                .client = lease ? stream->lease_client : stream->client,
                .id = req->id,
                .kind = req->kind,
                .keep_raw = req->keep_raw};
    if (req->shard_id.len <= TR_SHARD_ID_MAX && req->shard_id.len)
        memcpy(c->shard_id, req->shard_id.ptr, req->shard_id.len);
    tr_buf body;
    tr_buf_init(&body, REQUEST_MAX);
    tr_request request = {.attempts = 1}; /* the machine repeats by itself, and counts */
    tr__wire_encode(req, &body, &request.service, &request.operation);
    request.body = tr_buf_view(&body);
    char text[24];
    tr_header wait = {.name = TR_VIEW("x-tailrace-wait-ms")};
    if (req->wait_ms > 0) {
        int n = snprintf(text, sizeof text, "%lld", (long long)req->wait_ms);
        wait.value = tr_view_of(text, (size_t)n);
        request.headers = &wait;
        request.header_count = 1;
        request.timeout_ms = req->wait_ms + 10000;
    }
    if (req->timeout_ms > 0)
        request.timeout_ms = req->timeout_ms;
    int code = tr_buf_status(&body);
    stream->refs++;
    if (code == 0)
        code = tr_client_call(c->client, &request, answered, c);
    if (code) {
        stream->refs--;
        tr_free(c);
    }
    tr_buf_done(&body);
    return code;
}

/** Hands the job to the store's thread. There is one at a time: the machine saves one state after the other.
 */
static int start_job(tr_stream *stream, const tr__req *req)
{
    if (!stream->store_running || stream->job.kind)
        return TR_EBUSY;
    tr_buf_reset(&stream->job.state);
    tr_buf_put_view(&stream->job.state, req->state);
    if (tr_buf_status(&stream->job.state))
        return tr_buf_status(&stream->job.state);
    stream->job.kind = req->kind;
    stream->job.id = req->id;
    (void)pthread_cond_signal(&stream->job_there);
    return 0;
}

void tr__stream_pump(tr_stream *stream)
{
    tr__req req;
    while (tr__core_request(stream->core, &req)) {
        bool job = req.kind == TR__REQ_LOAD || req.kind == TR__REQ_SAVE;
        int code = job ? start_job(stream, &req) : post(stream, &req);
        if (code == 0)
            continue;
        tr_error e;
        (void)tr_fail(&e, code, "the request could not be sent: %s", tr_strerror(code));
        tr__answer a = {.id = req.id, .code = code, .error = &e, .service_ms = -1};
        tr__core_answer(stream->core, &a);
    }
    schedule(stream);
    if (stream->waiters)
        (void)pthread_cond_broadcast(&stream->changed);
}

/* ------------------------------------------------------------------------------------------------ store */

static void run_job(tr_stream *stream, tr__job *job)
{
    tr_error err = {0};
    tr_buf loaded;
    tr_buf_init(&loaded, 256u * 1024 * 1024);
    tr_stream_store *store = stream->store;
    int code = job->kind == TR__REQ_LOAD ? store->load(store, &loaded, &err)
                                         : store->save(store, tr_buf_view(&job->state), &err);
    if (code && !err.code)
        (void)tr_fail(&err, code, "%s", tr_strerror(code));
    tr__answer a = {
        .id = job->id, .code = code, .error = &err, .service_ms = -1, .state = tr_buf_view(&loaded)};
    (void)pthread_mutex_lock(&stream->lock);
    job->kind = (tr__req_kind)0;
    if (stream->core) {
        tr__stream_tick(stream);
        tr__core_answer(stream->core, &a);
        tr__stream_pump(stream);
    }
    tr_buf_done(&loaded);
}

static void *store_main(void *ctx)
{
    tr_stream *stream = ctx;
    (void)pthread_mutex_lock(&stream->lock);
    while (!stream->store_end || stream->job.kind) {
        if (!stream->job.kind) {
            (void)pthread_cond_wait(&stream->job_there, &stream->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&stream->lock);
        run_job(stream, &stream->job);
    }
    (void)pthread_mutex_unlock(&stream->lock);
    return NULL;
}

/* ------------------------------------------------------------------------------------------- lifecycle */

static int init_sync(tr_stream *stream)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return TR_ENOMEM;
    int bad = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    bad = bad || pthread_mutex_init(&stream->lock, NULL);
    bad = bad || pthread_mutex_init(&stream->poll, NULL);
    bad = bad || tr__page_pool_init(&stream->pages);
    bad = bad || pthread_cond_init(&stream->changed, &attr);
    bad = bad || pthread_cond_init(&stream->job_there, NULL);
    (void)pthread_condattr_destroy(&attr);
    return bad ? TR_ENOMEM : 0;
}

/** Host, process, and a random part, so that a process id that comes again is another worker. */
static const char *name_worker(uint64_t seed, char name[WORKER_NAME_MAX])
{
    char host[128] = "";
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(name, WORKER_NAME_MAX, "%s:%ld:%08llx", host[0] ? host : "host", (long)getpid(),
                   (unsigned long long)(seed >> 32));
    return name;
}

int tr_stream_new(tr_client *client, const tr_stream_options *options, tr_stream **ret_stream, tr_error *err)
{
    assert(client && options && ret_stream);
    tr_stream *stream = tr_calloc(1, sizeof *stream);
    if (!stream || init_sync(stream)) {
        tr_free(stream);
        return tr_fail(err, TR_ENOMEM, "no memory for a stream");
    }
    stream->client = client;
    stream->lease_client =
        options->fleet && options->fleet->lease_client ? options->fleet->lease_client : client;
    stream->manual = options->manual;
    stream->user_checkpoints = options->user_checkpoints;
    stream->logger = options->logger;
    stream->wake_ms = INT64_MAX;
    stream->refs = 1;
    stream->retry_min_ms = options->retry_min_ms ? options->retry_min_ms : 100;
    stream->retry_max_ms = options->retry_max_ms ? options->retry_max_ms : 10000;
    tr_buf_init(&stream->job.state, 256u * 1024 * 1024);
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_stream_options own = *options;
    tr_fleet_options fleet;
    char worker[WORKER_NAME_MAX];
    if (options->fleet && !(options->fleet->worker_id && options->fleet->worker_id[0])) {
        fleet = *options->fleet;
        fleet.worker_id = name_worker(seed, worker);
        own.fleet = &fleet;
    }
    int code = tr__filter_new(&own, &stream->filter, err);
    if (code == 0)
        code = tr__core_new(&own, options->store != NULL, seed, tr_clock_mono_ms(), tr_clock_wall_ms(),
                            &stream->core, err);
    if (code == 0 && options->store) {
        stream->store = options->store;
        stream->store_running = pthread_create(&stream->store_thread, NULL, store_main, stream) == 0;
        if (!stream->store_running)
            code = tr_fail(err, TR_ENOMEM, "no thread for the checkpoint store");
    }
    (void)pthread_mutex_lock(&stream->lock);
    if (code) {
        tr__core_free(stream->core);
        unref(stream);
        return code;
    }
    look_at_server(stream, client);
    tr__stream_tick(stream);
    tr__stream_pump(stream);
    (void)pthread_mutex_unlock(&stream->lock);
    *ret_stream = stream;
    return 0;
}

void tr_stream_stop(tr_stream *stream)
{
    (void)pthread_mutex_lock(&stream->lock);
    stream->stopped = true;
    tr__stream_tick(stream);
    tr__core_stop(stream->core);
    tr__stream_pump(stream);
    (void)pthread_cond_broadcast(&stream->changed);
    (void)pthread_mutex_unlock(&stream->lock);
}

void tr_stream_free(tr_stream *stream)
{
    if (!stream)
        return;
    assert(!tr_client_on_thread(stream->client));
    tr_stream_stop(stream);
    (void)pthread_mutex_lock(&stream->lock);
    int64_t until = tr__stream_until(5000);
    tr__stream_tick(stream);
    tr__core_flush(stream->core);
    tr__stream_pump(stream);
    while (!stream->user_checkpoints && !tr__core_settled(stream->core) && tr_clock_mono_ms() < until &&
           !tr_client_closing(stream->client))
        tr__stream_wait(stream, until);
    tr__core_free(stream->core);
    stream->core = NULL;
    stream->store_end = true;
    (void)pthread_cond_signal(&stream->job_there);
    (void)pthread_mutex_unlock(&stream->lock);
    if (stream->store_running)
        (void)pthread_join(stream->store_thread, NULL);
    tr_stream_store_free(stream->store);
    (void)pthread_mutex_lock(&stream->lock);
    unref(stream);
}
