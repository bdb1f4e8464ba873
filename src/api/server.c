/* SPDX-License-Identifier: MIT */
#include "api/server.h"

#include <stdio.h>

/* --------------------------------------------------------------------------------------- pending answers */

static void list_add(tr_pending_list *list, tr_pending *p)
{
    p->next = NULL;
    p->prev = list->last;
    if (list->last)
        list->last->next = p;
    else
        list->first = p;
    list->last = p;
}

static void list_remove(tr_pending_list *list, tr_pending *p)
{
    if (p->prev)
        p->prev->next = p->next;
    else
        list->first = p->next;
    if (p->next)
        p->next->prev = p->prev;
    else
        list->last = p->prev;
}

static void on_news(tr_listener *listener)
{
    tr_pending *p = listener->ctx;
    p->woken = p->server->any_woken = true;
}

static void on_deadline(uv_timer_t *timer);

/* Sets the timer to the earliest deadline. */
static void arm(tr_server *s)
{
    int64_t first = INT64_MAX, now = tr_clock_mono_ms();
    for (tr_pending *p = s->parked.first; p; p = p->next)
        if (p->deadline_ms < first)
            first = p->deadline_ms;
    if (first == INT64_MAX) {
        (void)uv_timer_stop(&s->wait);
        return;
    }
    uv_update_time(s->wait.loop);
    (void)uv_timer_start(&s->wait, on_deadline, (uint64_t)(first > now ? first - now : 0), 0);
}

static void park(tr_server *s, tr_pending *p)
{
    p->woken = false;
    if (p->parked)
        return;
    p->parked = true;
    p->server = s;
    p->on_queue = p->reply.wait_queue_ms > 0;
    p->deadline_ms = p->request.held
                         ? INT64_MAX
                         : tr_clock_mono_ms() + (p->on_queue ? p->reply.wait_queue_ms : p->request.wait_ms);
    p->listener = (tr_listener){.stream = p->reply.wait_stream, .fn = on_news, .ctx = p};
    if (p->reply.wait_stream)
        tr_engine_listen(s->engine, &p->listener);
    list_add(&s->parked, p);
    arm(s);
}

static void unpark(tr_server *s, tr_pending *p)
{
    if (!p->parked)
        return;
    p->parked = false;
    if (p->listener.stream)
        tr_engine_unlisten(s->engine, &p->listener);
    list_remove(&s->parked, p);
}

static void on_tick(uv_timer_t *timer);

void tr__server_carry_out(tr_server *s, tr_pending *p)
{
    if (s->stopping) {
        p->request.wait_ms = 0;
        p->request.expired = true;
    }
    p->request.may_hold = true;
    tr_api_call(s->api, &p->request, p->body, &p->reply);
    p->request.held = p->reply.held;
    if (!s->hasty && s->tick_on && tr_api_busy(s->api)) { /* work has come: do not wait for the next round */
        s->hasty = true;
        (void)uv_timer_start(&s->tick, on_tick, 1, 0);
    }
    if (p->reply.wait_stream || p->reply.wait_queue_ms > 0 || p->reply.held) {
        park(s, p);
        return;
    }
    unpark(s, p);
    if (p->reply.ticket <= tr_engine_synced(s->engine))
        p->answer(p, 0);
    else if (s->failed)
        p->answer(p, s->failed);
    else
        list_add(&s->pending, p);
}

void tr__server_drop(tr_server *s, tr_pending *p)
{
    if (p->parked)
        unpark(s, p);
    else
        list_remove(&s->pending, p);
    if (p->request.held)
        tr_api_drop(s->api, p->request.held);
    p->request.held = NULL;
}

/* Answers whose states are durable; all, with the code, once syncing failed. */
static void release(tr_server *s)
{
    uint64_t synced = tr_engine_synced(s->engine);
    tr_pending *p;
    while ((p = s->pending.first) && (p->reply.ticket <= synced || s->failed)) {
        list_remove(&s->pending, p);
        p->answer(p, p->reply.ticket <= synced ? 0 : s->failed);
    }
}

/* Carries the woken ones out again. Answers may bring new requests, which join at the end of the list. */
static void wake(tr_server *s)
{
    while (s->any_woken) {
        s->any_woken = false;
        tr_pending *next;
        for (tr_pending *p = s->parked.first; p; p = next) {
            next = p->next;
            if (p->woken)
                tr__server_carry_out(s, p);
        }
    }
}

static void on_deadline(uv_timer_t *timer)
{
    tr_server *s = timer->data;
    int64_t now = tr_clock_mono_ms();
    tr_pending *next;
    for (tr_pending *p = s->parked.first; p; p = next) {
        next = p->next;
        if (p->deadline_ms > now)
            continue;
        p->request.wait_ms = 0;
        p->request.expired = true;
        tr__server_carry_out(s, p);
    }
    arm(s);
}

/* Whoever waits for messages looks again. */
static void wake_queues(tr_server *s)
{
    uint64_t news = s->bus ? tr_queue_news(s->bus) : s->queue_news;
    if (news == s->queue_news)
        return;
    s->queue_news = news;
    for (tr_pending *p = s->parked.first; p; p = p->next)
        if (p->on_queue)
            p->woken = s->any_woken = true;
}

static void on_deliver(uv_timer_t *timer);

static void run_bus(tr_server *s)
{
    if (!s->bus || !s->deliver_on || s->stopping)
        return;
    int64_t next = tr_bus_run(s->bus);
    uv_update_time(s->deliver.loop);
    (void)uv_timer_start(&s->deliver, on_deliver, (uint64_t)(next < 1 ? 1 : next), 0);
    wake_queues(s);
}

static void poll_engine(tr_server *s)
{
    tr_error err;
    int e = tr_engine_poll(s->engine, &err);
    if (e && !s->failed) {
        s->failed = e;
        tr_log(&s->logger, TR_LOG_ERROR, "writing to the store failed, no more writes are taken: %s",
               err.message);
    }
    release(s);
    run_bus(s);
    wake(s);
    tr__feeds_wake(s);
}

static void on_deliver(uv_timer_t *timer)
{
    tr_server *s = timer->data;
    run_bus(s);
    wake(s);
}

/* --------------------------------------------------------------------------------------------- the loop */

static void flush(tr_server *s)
{
    tr_error err;
    int e = tr_engine_flush(s->engine, &err);
    if (e && !s->failed) {
        s->failed = e;
        tr_log(&s->logger, TR_LOG_ERROR, "writing to the store failed, no more writes are taken: %s",
               err.message);
    }
    /* in memory a state is synced when it is flushed, and nobody calls back */
    if (s->pending.first && (s->failed || s->pending.first->reply.ticket <= tr_engine_synced(s->engine)))
        poll_engine(s);
}

/* All requests at hand are staged: write them in one piece. */
static void on_check(uv_check_t *check)
{
    flush(check->data);
}

static void on_synced(uv_async_t *async)
{
    poll_engine(async->data);
}

/* From the engine's sync thread. */
static void notify(void *ctx)
{
    (void)uv_async_send(&((tr_server *)ctx)->synced);
}

/* Those whose threads are done. */
static void wake_held(tr_server *s)
{
    for (tr_pending *p = s->parked.first; p; p = p->next)
        if (p->request.held && tr_api_ready(p->request.held))
            p->woken = s->any_woken = true;
}

static void on_tick(uv_timer_t *timer)
{
    tr_server *s = timer->data;
    int64_t next = tr_engine_tick(s->engine);
    if (tr_api_tick(s->api))
        next = 0;
    wake_held(s);
    flush(s);
    poll_engine(s);
    if (next < 1)
        next = 1;
    if (next > 1000)
        next = 1000;
    s->hasty = next == 1;
    (void)uv_timer_start(&s->tick, on_tick, (uint64_t)next, 0);
}

/* ------------------------------------------------------------------------------------------------- start */

static int open_engine(tr_server *s)
{
    const tr_server_options *o = s->options;
    if (o->put_events_bytes > TR_API_PUT_EVENTS_MAX)
        return tr_fail(s->error, TR_EINVAL, "a PutEvents request may be allowed 1 MiB at most");
    const tr_engine_options options = {
        .dir = o->data_dir,
        .region = o->region,
        .stream_shards = o->stream_shards,
        .shard_lifetime_ms = o->shard_lifetime_ms,
        .stream_retention_ms = o->stream_retention_ms,
        .expiry_interval_ms = o->expiry_interval_ms,
        .memory_bytes = o->memory_bytes,
        .on_synced = notify,
        .on_synced_ctx = s,
        .logger = o->logger,
    };
    int e = tr_engine_open(&options, &s->engine, s->error);
    if (e)
        return e;
    const tr_bus_options bus = {
        .engine = s->engine,
        .loop = s->loop,
        .dir = o->data_dir,
        .region = o->region,
        .functions = o->functions,
        .function_count = o->function_count,
        .retry_base_ms = o->bus_retry_base_ms,
        .retry_cap_ms = o->bus_retry_cap_ms,
        .retry_fixed = o->bus_retry_fixed,
        .limit_retries = o->bus_limit_retries,
        .retries = o->bus_retries,
        .event_age_ms = o->bus_event_age_ms,
        .on_function_log = o->on_function_log,
        .function_log_ctx = o->function_log_ctx,
        .wake = notify,
        .wake_ctx = s,
        .logger = o->logger,
    };
    e = tr_bus_open(&bus, &s->bus, s->error);
    if (e)
        return e;
    const tr_api_options api = {.engine = s->engine,
                                .dir = o->data_dir,
                                .buckets = o->buckets,
                                .bus = s->bus,
                                .region = o->region,
                                .iterator_lifetime_ms = o->iterator_lifetime_ms,
                                .put_events_bytes = o->put_events_bytes};
    e = tr_api_new(&api, &s->api);
    return e ? tr_fail(s->error, e, "out of memory") : 0;
}

/* These cannot fail on a loop that works. */
static void open_handles(tr_server *s)
{
    uv_loop_t *loop = tr__loop_uv(s->loop);
    s->check.data = s->tick.data = s->wait.data = s->deliver.data = s;
    s->check_on = uv_check_init(loop, &s->check) == 0 && uv_check_start(&s->check, on_check) == 0;
    s->tick_on = uv_timer_init(loop, &s->tick) == 0 && uv_timer_start(&s->tick, on_tick, 1, 0) == 0;
    s->wait_on = uv_timer_init(loop, &s->wait) == 0;
    s->deliver_on =
        uv_timer_init(loop, &s->deliver) == 0 && uv_timer_start(&s->deliver, on_deliver, 1, 0) == 0;
}

static int open_synced(tr_server *s)
{
    int code = uv_async_init(tr__loop_uv(s->loop), &s->synced, on_synced);
    s->synced.data = s;
    s->synced_on = code == 0;
    return code ? tr_fail(s->error, TR_EIO, "cannot make an event loop: %s", uv_strerror(code)) : 0;
}

static int add_address(tr_server *s, char *address)
{
    if (!address)
        return tr_fail(s->error, TR_ENOMEM, "out of memory");
    s->addresses[s->address_count++] = address;
    return 0;
}

static char *text_of(const char *scheme, tr_view host, unsigned port)
{
    size_t size = strlen(scheme) + host.len + 16;
    char *text = tr_malloc(size);
    if (text && port)
        (void)snprintf(text, size, "%s%.*s:%u", scheme, TR_FMT(host), port);
    else if (text)
        (void)snprintf(text, size, "%s%.*s", scheme, TR_FMT(host));
    return text;
}

static int note_addresses(tr_server *s, const char *socket_path)
{
    const tr_server_options *o = s->options;
    int e = 0;
    for (size_t i = 0; i < o->listen_count && e == 0; i++) {
        tr_view host = tr_view_str(o->listen[i]);
        while (host.len && host.ptr[host.len - 1] != ':')
            host.len--;
        if (host.len)
            host.len--;
        e = add_address(s, text_of("http://", host, tr_http_server_port(s->http, i)));
    }
    if (e == 0 && socket_path)
        e = add_address(s, text_of("unix:", tr_view_str(socket_path), 0));
    return e;
}

static int open_http(tr_server *s)
{
    const tr_server_options *o = s->options;
    static const tr_header version[] = {{{"x-tailrace-version", 18}, {TR_VERSION, sizeof TR_VERSION - 1}}};
    char *path = NULL;
    if (o->socket && o->data_dir)
        path = text_of("", tr_view_str(o->data_dir), 0);
    if (path) {
        size_t len = strlen(path);
        char *longer = tr_realloc(path, len + sizeof "/tailrace.sock");
        if (longer)
            memcpy(longer + len, "/tailrace.sock", sizeof "/tailrace.sock");
        else
            tr_free(path);
        path = longer;
    }
    if (o->socket && o->data_dir && !path)
        return tr_fail(s->error, TR_ENOMEM, "out of memory");
    const tr_http_options http = {
        .listen = o->listen,
        .listen_count = o->listen_count,
        .unix_path = path,
        .body_limit = TR_API_BODY_MAX,
        .out_limit = TR_API_REPLY_MAX,
        .origins = o->cors,
        .origin_count = o->cors_count,
        .headers = version,
        .header_count = TR_COUNT(version),
        .logger = o->logger,
    };
    int e = 0;
    if (o->listen_count || path)
        e = tr_http_server_new(tr__loop_uv(s->loop), &http, tr__server_handle, s, &s->http, s->error);
    if (e == 0 && s->http)
        e = note_addresses(s, path);
    tr_free(path);
    return e;
}

/* On the loop's thread. */
static void start(void *ctx)
{
    tr_server *s = ctx;
    s->code = open_synced(s);
    if (s->code == 0)
        s->code = open_engine(s);
    if (s->code)
        return;
    open_handles(s);
    s->code = open_http(s);
    /* what functions are told where nothing listens: the default, so that they never take it for AWS */
    bool tcp = s->address_count && strncmp(s->addresses[0], "http", 4) == 0;
    if (s->code == 0)
        s->code = tr_bus_set_endpoint(s->bus, tcp ? s->addresses[0] : "http://127.0.0.1:8000", s->error);
}

/* -------------------------------------------------------------------------------------------------- stop */

static void close_handle(bool on, void *handle)
{
    if (on && !uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Nothing comes in any more: what was written becomes durable, then all goes. */
static void finish(void *ctx)
{
    tr_server *s = ctx;
    tr_error err;
    s->http = NULL;
    if (s->engine) {
        if (tr_engine_sync_wait(s->engine, &err))
            tr_log(&s->logger, TR_LOG_ERROR, "the last writes could not be made durable: %s", err.message);
        poll_engine(s);
    }
    tr_api_free(s->api);
    tr_bus_close(s->bus);
    s->bus = NULL;
    tr_engine_close(s->engine); /* joins the sync thread, which calls notify */
    s->api = NULL;
    s->engine = NULL;
    close_handle(s->check_on, &s->check);
    close_handle(s->synced_on, &s->synced);
    close_handle(s->tick_on, &s->tick);
    close_handle(s->wait_on, &s->wait);
    close_handle(s->deliver_on, &s->deliver);
}

static void stop(void *ctx)
{
    tr_server *s = ctx;
    s->stopping = true;
    for (tr_pending *p = s->parked.first; p; p = p->next)
        p->woken = s->any_woken = true;
    wake(s);
    tr__feeds_stop(s);
    if (s->http)
        tr_http_server_close(s->http, TR_SERVER_GRACE_MS, finish, s);
    else
        finish(s);
}

/* ------------------------------------------------------------------------------------------------ public */

int tr_server_new(const tr_server_options *options, tr_server **ret_server, tr_error *err)
{
    tr_error local;
    tr_server *s = tr_calloc(1, sizeof *s);
    if (!s)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    if (options->listen_count >= TR_SERVER_ADDRESSES_MAX) {
        tr_free(s);
        return tr_fail(err, TR_EINVAL, "at most %d addresses can be listened on",
                       TR_SERVER_ADDRESSES_MAX - 1);
    }
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&s->rng, seed);
    s->logger = options->logger;
    s->options = options;
    s->error = err ? err : &local;
    s->region = tr_strdup(options->region ? options->region : "us-east-1");
    int e = s->region ? tr__loop_new(&s->loop, s->error) : tr_fail(s->error, TR_ENOMEM, "out of memory");
    if (e == 0)
        e = tr__loop_at_stop(s->loop, stop, s);
    if (e == 0) {
        tr__loop_call(s->loop, start, s);
        e = s->code;
    }
    s->options = NULL;
    s->error = NULL;
    if (e) {
        tr_server_free(s);
        return e;
    }
    *ret_server = s;
    return 0;
}

void tr_server_free(tr_server *s)
{
    if (!s)
        return;
    tr__loop_free(s->loop);
    for (size_t i = 0; i < s->address_count; i++)
        tr_free(s->addresses[i]);
    tr_free(s->region);
    tr_free(s);
}

typedef struct restart_call {
    tr_server *server;
    const char *name;
} restart_call;

static void restart_function(void *ctx)
{
    const restart_call *r = ctx;
    if (r->server->bus)
        tr_bus_restart_function(r->server->bus, tr_view_str(r->name));
}

void tr_server_restart_function(tr_server *s, const char *name)
{
    restart_call r = {s, name};
    tr__loop_call(s->loop, restart_function, &r);
}

typedef struct stats_call {
    tr_server *server;
    tr_server_stats stats;
    void (*fn)(void *ctx, const tr_operation_stats *operation);
    void *ctx;
} stats_call;

static size_t count_list(const tr_pending_list *list)
{
    size_t n = 0;
    for (const tr_pending *p = list->first; p; p = p->next)
        n++;
    return n;
}

static void collect_stats(void *ctx)
{
    stats_call *c = ctx;
    const tr_server *s = c->server;
    tr_http_stats http = {0};
    if (s->http)
        tr_http_server_stats(s->http, &http);
    c->stats = (tr_server_stats){.connections_total = http.connections_total,
                                 .requests_total = http.requests_total,
                                 .refused_total = http.refused_total,
                                 .bytes_received = http.bytes_in,
                                 .bytes_sent = http.bytes_out,
                                 .connections = http.connections,
                                 .requests = http.requests,
                                 .held = count_list(&s->parked),
                                 .unsynced = count_list(&s->pending),
                                 .bus_deliveries = s->bus ? tr_bus_pending(s->bus) : 0};
    for (const tr_feed *f = s->feeds; f; f = f->next)
        c->stats.feeds++;
}

void tr_server_get_stats(tr_server *s, tr_server_stats *ret)
{
    stats_call c = {.server = s};
    tr__loop_call(s->loop, collect_stats, &c);
    *ret = c.stats;
}

static void tell_operations(void *ctx)
{
    stats_call *c = ctx;
    const tr_api_count *count;
    tr_operation_stats o;
    for (size_t i = 0; (count = tr_api_counts(c->server->api, i, &o.name, &o.service)) != NULL; i++) {
        o.ok = count->ok;
        o.refused = count->refused;
        o.failed = count->failed;
        if (o.ok || o.refused || o.failed)
            c->fn(c->ctx, &o);
    }
}

void tr_server_each_operation(tr_server *s, void (*fn)(void *, const tr_operation_stats *), void *ctx)
{
    stats_call c = {.server = s, .fn = fn, .ctx = ctx};
    tr__loop_call(s->loop, tell_operations, &c);
}

const char *tr_server_address(const tr_server *s, size_t i)
{
    return i < s->address_count ? s->addresses[i] : NULL;
}
