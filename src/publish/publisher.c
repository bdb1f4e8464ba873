/* SPDX-License-Identifier: MIT */
/* The publisher's life: entries in, results out, the failure destination's thread. */
#include "publish/internal.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

#define IN_FLIGHT    8
#define LINGER_MS    5
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 30000
#define MAX_ENTRIES  10000
#define MAX_BYTES    ((size_t)64 << 20)
#define JSON_MAX     ((size_t)64 << 20) /* of an entry; what is larger cannot even be given to a destination */

size_t tr_publish_size(const tr_publish_entry *e)
{
    size_t size = (e->has_time ? 14 : 0) + e->source.len + e->detail_type.len + e->detail.len;
    for (size_t i = 0; i < e->resource_count; i++)
        size += e->resources[i].len;
    return size;
}

/* ------------------------------------------------------------------------------------------------ entries */

static void write_entry(const tr_publisher *p, const tr_publish_entry *e, tr_buf *out)
{
    tr_json_writer w;
    tr_view bus = e->bus.len ? e->bus : tr_view_str(p->bus);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    if (e->has_time) /* rounded down, before 1970 too */
        tr_json_member_i64(&w, "Time", e->time_ms / 1000 - (e->time_ms % 1000 < 0));
    tr_json_member_string(&w, "Source", e->source);
    if (e->resource_count) {
        tr_json_name(&w, "Resources");
        tr_json_begin_array(&w);
        for (size_t i = 0; i < e->resource_count; i++)
            tr_json_string(&w, e->resources[i]);
        tr_json_end_array(&w);
    }
    tr_json_member_string(&w, "DetailType", e->detail_type);
    tr_json_member_string(&w, "Detail", e->detail);
    if (bus.len)
        tr_json_member_string(&w, "EventBusName", bus);
    if (e->trace_header.len)
        tr_json_member_string(&w, "TraceHeader", e->trace_header);
    tr_json_end_object(&w);
}

static int check_entry(const tr_publish_entry *e, tr_error *err)
{
    if (!e->source.len || !e->detail_type.len || !e->detail.len)
        return tr_fail(err, TR_EINVAL, "an entry needs a source, a detail type and a detail");
    if (!tr_utf8_valid(e->source) || !tr_utf8_valid(e->detail_type) || !tr_utf8_valid(e->detail))
        return tr_fail(err, TR_EINVAL, "an entry's source, detail type and detail must be UTF-8");
    return 0;
}

/* An entry with its text behind it: JSON, detail. */
static int new_entry(const tr_publisher *p, const tr_publish_entry *in, tr__pub_entry **ret, tr_error *err)
{
    tr_buf json;
    tr_buf_init(&json, JSON_MAX);
    write_entry(p, in, &json);
    int e = tr_buf_status(&json);
    size_t kept = p->options.on_failure ? in->detail.len : 0;
    tr__pub_entry *entry = e ? NULL : tr_malloc(sizeof *entry + json.len + kept);
    if (!entry) {
        tr_buf_done(&json);
        return tr_fail(err, e ? e : TR_ENOMEM, "the entry: %s", tr_strerror(e ? e : TR_ENOMEM));
    }
    char *text = (char *)(entry + 1);
    memset(entry, 0, sizeof *entry);
    memcpy(text, json.ptr, json.len);
    if (kept)
        memcpy(text + json.len, in->detail.ptr, kept);
    entry->json = tr_view_of(text, json.len);
    entry->detail = tr_view_of(text + json.len, kept);
    entry->size = tr_publish_size(in);
    entry->bytes = sizeof *entry + json.len + kept;
    tr_buf_done(&json);
    *ret = entry;
    return 0;
}

static int join_lane(tr_publisher *p, tr__pub_entry *entry, tr_view key)
{
    tr__pub_lane *lane = NULL;
    if (!key.len) {
        entry->lane = &entry->own;
        entry->own.entries = 1;
        return 0;
    }
    HASH_FIND(hh, p->lanes, key.ptr, key.len, lane);
    if (!lane) {
        lane = tr_calloc(1, sizeof *lane + key.len);
        if (!lane)
            return TR_ENOMEM;
        lane->key = (char *)(lane + 1);
        memcpy(lane->key, key.ptr, key.len);
        HASH_ADD_KEYPTR(hh, p->lanes, lane->key, key.len, lane);
        if (!lane->hh.tbl) { /* out of memory: uthash leaves it out */
            tr_free(lane);
            return TR_ENOMEM;
        }
    }
    lane->entries++;
    entry->lane = lane;
    return 0;
}

static void leave_lane(tr_publisher *p, tr__pub_entry *entry)
{
    tr__pub_lane *lane = entry->lane;
    if (--lane->entries)
        return;
    if (lane->later)
        DL_DELETE(p->later, lane);
    if (lane != &entry->own) {
        HASH_DEL(p->lanes, lane);
        tr_free(lane);
    }
}

static void free_entry(tr__pub_entry *entry)
{
    tr_free(entry->err);
    tr_free(entry);
}

/* Without the lock. */
static void tell(const tr__pub_entry *entry)
{
    tr_error none = {.code = entry->code};
    tr_publish_result result = {.code = entry->code,
                                .event_id = tr_view_str(entry->event_id),
                                .attempts = entry->attempts,
                                .kept = entry->kept,
                                .err = entry->code ? entry->err ? entry->err : &none : NULL};
    if (entry->fn)
        entry->fn(entry->ctx, &result);
}

void tr__pub_tell(tr_publisher *p, tr__pub_entry *done)
{
    tr__pub_entry *entry, *next;
    if (!done)
        return;
    DL_FOREACH(done, entry)
    tell(entry);
    pthread_mutex_lock(&p->lock);
    DL_FOREACH_SAFE(done, entry, next)
    {
        DL_DELETE2(p->all, entry, prev_all, next_all);
        leave_lane(p, entry);
        p->stats.waiting--;
        p->stats.waiting_bytes -= entry->bytes;
        free_entry(entry);
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void tr__pub_settle(tr_publisher *p, tr__pub_entry *entry, int code, const char *condition,
                    const tr_error *err, tr__pub_entry **done)
{
    entry->code = code;
    entry->condition = condition;
    if (code)
        p->stats.given_up++;
    else
        p->stats.published++;
    if (code && err && (entry->err = tr_malloc(sizeof *entry->err)))
        *entry->err = *err;
    if (code && code != TR_ECANCELED && p->options.on_failure) {
        DL_APPEND(p->failed, entry);
        pthread_cond_broadcast(&p->changed);
        return;
    }
    if (code && code != TR_ECANCELED)
        tr_log(&p->options.logger, TR_LOG_ERROR, "an event is given up after %llu attempt(s): %s: %s",
               (unsigned long long)entry->attempts, err ? err->type : "",
               err ? err->message : tr_strerror(code));
    DL_APPEND(*done, entry);
}

/* ------------------------------------------------------------------------------------------------ wake-ups
 */

static void free_publisher(tr_publisher *p)
{
    tr_buf_done(&p->body);
    tr_buf_done(&p->head);
    (void)pthread_cond_destroy(&p->changed);
    (void)pthread_mutex_destroy(&p->lock);
    tr_free(p->bus);
    tr_free(p);
}

void tr__pub_unref(tr_publisher *p)
{
    pthread_mutex_lock(&p->lock);
    bool last = --p->refs == 0;
    pthread_mutex_unlock(&p->lock);
    if (last)
        free_publisher(p);
}

typedef struct wakeup {
    tr_publisher *publisher;
    int64_t at_ms;
} wakeup;

static void on_wake(void *ctx)
{
    wakeup *w = ctx;
    tr_publisher *p = w->publisher;
    tr__pub_entry *done = NULL;
    pthread_mutex_lock(&p->lock);
    if (!p->closed && p->wake_ms == w->at_ms) { /* else an earlier one came in between */
        p->wake_ms = INT64_MAX;
        p->calling++;
        tr__pub_pump(p, &done);
        pthread_mutex_unlock(&p->lock);
        tr__pub_tell(p, done);
        pthread_mutex_lock(&p->lock);
        p->calling--;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    tr_free(w);
    tr__pub_unref(p);
}

int tr__pub_wake(tr_publisher *p, int64_t at_ms)
{
    if (at_ms >= p->wake_ms)
        return 0;
    wakeup *w = tr_malloc(sizeof *w);
    if (!w)
        return TR_ENOMEM;
    *w = (wakeup){p, at_ms};
    int64_t now = tr_clock_mono_ms();
    int e = tr_client_schedule(p->client, at_ms > now ? at_ms - now : 0, on_wake, w);
    if (e) {
        tr_free(w);
        return e;
    }
    p->refs++;
    p->wake_ms = at_ms;
    return 0;
}

/* -------------------------------------------------------------------------------------- failure destination
 */

/* With the lock. Waits on `changed`, until a monotonic time or for ever (INT64_MAX). */
static void wait_changed(tr_publisher *p, int64_t until_ms)
{
    struct timespec at = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    if (until_ms == INT64_MAX)
        pthread_cond_wait(&p->changed, &p->lock);
    else
        (void)pthread_cond_timedwait(&p->changed, &p->lock, &at);
}

/* With the lock, which is given up meanwhile: until the destination has it, or the publisher is closed. */
static void hand_over(tr_publisher *p, tr__pub_entry *entry)
{
    tr_error none = {.code = entry->code}, err;
    const tr_publish_failure failure = {.entry = entry->json,
                                        .detail = entry->detail,
                                        .condition = entry->condition,
                                        .attempts = entry->attempts,
                                        .err = entry->err ? entry->err : &none,
                                        .ctx = entry->ctx};
    for (unsigned attempt = 0; !p->closed; attempt++) {
        pthread_mutex_unlock(&p->lock);
        err.message[0] = 0;
        int e = p->options.on_failure(p->options.failure_ctx, &failure, &err);
        if (e == 0) {
            entry->kept = true;
            pthread_mutex_lock(&p->lock);
            return;
        }
        tr_log(&p->options.logger, TR_LOG_ERROR, "the failure destination: %s; trying again",
               err.message[0] ? err.message : tr_strerror(e));
        pthread_mutex_lock(&p->lock);
        int64_t until = tr_clock_mono_ms() + 1 +
                        tr_backoff_ms(&p->rng, attempt, p->options.retry_min_ms, p->options.retry_max_ms);
        while (!p->closed && tr_clock_mono_ms() < until)
            wait_changed(p, until);
    }
}

static void *run_failures(void *ctx)
{
    tr_publisher *p = ctx;
    pthread_mutex_lock(&p->lock);
    while (!p->closed) {
        tr__pub_entry *entry = p->failed, *done = NULL;
        if (!entry) {
            wait_changed(p, INT64_MAX);
            continue;
        }
        hand_over(p, entry);
        if (!entry->kept)
            break; /* closed: it stays in the list of all */
        DL_DELETE(p->failed, entry);
        DL_APPEND(done, entry);
        pthread_mutex_unlock(&p->lock);
        tr__pub_tell(p, done);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* --------------------------------------------------------------------------------------------- new, free */

static int check_options(const tr_publisher_options *o, tr_error *err)
{
    if (o->request_bytes > TR_PUBLISH_BYTES_MAX)
        return tr_fail(err, TR_EINVAL, "request_bytes %zu: at most %d", o->request_bytes,
                       TR_PUBLISH_BYTES_MAX);
    if (o->request_entries > TR_PUBLISH_ENTRIES_MAX)
        return tr_fail(err, TR_EINVAL, "request_entries %zu: at most %d", o->request_entries,
                       TR_PUBLISH_ENTRIES_MAX);
    if (o->linger_ms < 0 || o->age_ms < 0 || o->retry_min_ms < 0 || o->retry_max_ms < 0)
        return tr_fail(err, TR_EINVAL, "a time is negative");
    return 0;
}

static void set_defaults(tr_publisher_options *o)
{
    o->request_bytes = o->request_bytes ? o->request_bytes : TR_PUBLISH_BYTES;
    o->request_entries = o->request_entries ? o->request_entries : TR_PUBLISH_ENTRIES_MAX;
    o->in_flight = o->in_flight ? o->in_flight : IN_FLIGHT;
    o->linger_ms = o->linger_ms ? o->linger_ms : LINGER_MS;
    o->retry_min_ms = o->retry_min_ms ? o->retry_min_ms : RETRY_MIN_MS;
    o->retry_max_ms = o->retry_max_ms ? o->retry_max_ms : RETRY_MAX_MS;
    o->max_entries = o->max_entries ? o->max_entries : MAX_ENTRIES;
    o->max_bytes = o->max_bytes ? o->max_bytes : MAX_BYTES;
}

/* {"ReplayName":…,"FilterArns":[…],"Entries":[ */
static int write_head(tr_publisher *p)
{
    const tr_publisher_options *o = &p->options;
    tr_json_writer w;
    tr_buf_init(&p->head, 1 << 20);
    tr_json_write_init(&w, &p->head);
    tr_json_begin_object(&w);
    if (o->replay_name && !tr_client_is_aws(p->client)) {
        tr_json_member_cstring(&w, "ReplayName", o->replay_name);
        tr_json_name(&w, "FilterArns");
        tr_json_begin_array(&w);
        for (size_t i = 0; i < o->rule_count; i++)
            tr_json_cstring(&w, o->rules[i]);
        tr_json_end_array(&w);
    }
    tr_json_name(&w, "Entries");
    tr_json_begin_array(&w);
    return tr_buf_status(&p->head);
}

static int init_locks(tr_publisher *p)
{
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic))
        return TR_ENOMEM;
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    int e = pthread_cond_init(&p->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    if (!e && pthread_mutex_init(&p->lock, NULL)) {
        (void)pthread_cond_destroy(&p->changed);
        e = 1;
    }
    return e ? TR_ENOMEM : 0;
}

int tr_publisher_new(tr_client *client, const tr_publisher_options *options, tr_publisher **ret_publisher,
                     tr_error *err)
{
    uint64_t seed;
    int e = check_options(options, err);
    if (e)
        return e;
    tr_publisher *p = tr_calloc(1, sizeof *p);
    if (!p || (options->bus && !(p->bus = tr_strdup(options->bus))) || init_locks(p)) {
        if (p)
            tr_free(p->bus);
        tr_free(p);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    p->client = client;
    p->options = *options;
    p->options.bus = p->bus;
    p->refs = 1;
    p->wake_ms = INT64_MAX;
    set_defaults(&p->options);
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&p->rng, seed);
    /* a text of one byte may take six in JSON, and twice that in an escaped detail */
    tr_buf_init(&p->body, 12 * p->options.request_bytes + (1 << 20));
    if (write_head(p)) {
        free_publisher(p);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    if (options->on_failure && pthread_create(&p->failure_thread, NULL, run_failures, p)) {
        free_publisher(p);
        return tr_fail(err, TR_ENOMEM, "cannot start a thread");
    }
    p->failure_running = options->on_failure != NULL;
    *ret_publisher = p;
    return 0;
}

void tr_publisher_free(tr_publisher *p)
{
    tr__pub_entry *entry, *next;
    if (!p)
        return;
    assert(!tr_client_on_thread(p->client)); /* it would wait for itself */
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    pthread_cond_broadcast(&p->changed);
    while (p->calling)
        wait_changed(p, INT64_MAX);
    pthread_mutex_unlock(&p->lock);
    if (p->failure_running)
        (void)pthread_join(p->failure_thread, NULL);
    DL_FOREACH2(p->all, entry, next_all)
    {
        entry->code = TR_ECANCELED;
        tell(entry);
    }
    DL_FOREACH_SAFE2(p->all, entry, next, next_all)
    {
        leave_lane(p, entry);
        free_entry(entry);
    }
    p->all = NULL;
    tr__pub_unref(p);
}

/* ------------------------------------------------------------------------------------------------- putting
 */

static int64_t until_of(int64_t timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : tr_clock_mono_ms() + timeout_ms;
}

static bool is_full(const tr_publisher *p, size_t bytes)
{
    return p->stats.waiting >= p->options.max_entries ||
           (p->stats.waiting && p->stats.waiting_bytes + bytes > p->options.max_bytes);
}

static int enqueue(tr_publisher *p, tr__pub_entry *entry, tr_view key, tr_error *err)
{
    if (p->closed)
        return tr_fail(err, TR_ECLOSED, "the publisher was closed");
    int e = join_lane(p, entry, key);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    entry->put_ms = tr_clock_mono_ms();
    e = tr__pub_wake(p, entry->put_ms);
    if (e) {
        leave_lane(p, entry);
        return tr_fail(err, e, "cannot wake the client: %s", tr_strerror(e));
    }
    entry->number = p->next_number++;
    DL_APPEND2(p->all, entry, prev_all, next_all);
    DL_APPEND(p->waiting, entry);
    p->stats.entries++;
    p->stats.waiting++;
    p->stats.waiting_bytes += entry->bytes;
    return 0;
}

int tr_publisher_put(tr_publisher *p, const tr_publish_entry *in, int64_t timeout_ms, tr_publish_fn *fn,
                     void *ctx, tr_error *err)
{
    tr__pub_entry *entry = NULL;
    if (timeout_ms && tr_client_on_thread(p->client))
        return tr_fail(err, TR_ETHREAD, "a blocking call on the client's I/O thread");
    int e = check_entry(in, err);
    if (!e)
        e = new_entry(p, in, &entry, err);
    if (e)
        return e;
    entry->fn = fn;
    entry->ctx = ctx;
    int64_t until = until_of(timeout_ms);
    pthread_mutex_lock(&p->lock);
    while (!p->closed && is_full(p, entry->bytes) && tr_clock_mono_ms() < until)
        wait_changed(p, until);
    e = is_full(p, entry->bytes)
            ? tr_fail(err, TR_EBUSY, "%zu events wait to be published already", p->stats.waiting)
            : enqueue(p, entry, in->key, err);
    pthread_mutex_unlock(&p->lock);
    if (e)
        free_entry(entry);
    return e;
}

typedef struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    bool done;
    int code;
    char *event_id;
    tr_error *err;
} waiting;

static void on_waited(void *ctx, const tr_publish_result *result)
{
    waiting *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->code = result->code;
    if (result->code == 0 && w->event_id) {
        memcpy(w->event_id, result->event_id.ptr, result->event_id.len);
        w->event_id[result->event_id.len] = 0;
    }
    if (result->code && w->err) {
        *w->err = *result->err;
        if (!w->err->message[0])
            (void)tr_fail(w->err, result->code, "%s", tr_strerror(result->code));
    }
    w->done = true;
    pthread_cond_signal(&w->done_cond);
    pthread_mutex_unlock(&w->lock);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): on_waited writes there */
int tr_publisher_put_wait(tr_publisher *p, const tr_publish_entry *entry, char *ret_event_id, tr_error *err)
{
    waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER,
                 .done_cond = PTHREAD_COND_INITIALIZER,
                 .event_id = ret_event_id,
                 .err = err};
    int e = tr_publisher_put(p, entry, -1, on_waited, &w, err);
    if (e)
        return e;
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.done_cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return w.code;
}

int tr_publisher_flush(tr_publisher *p, int64_t timeout_ms, tr_error *err)
{
    if (tr_client_on_thread(p->client))
        return tr_fail(err, TR_ETHREAD, "a blocking call on the client's I/O thread");
    int64_t until = until_of(timeout_ms);
    pthread_mutex_lock(&p->lock);
    uint64_t end = p->next_number;
    while (p->all && p->all->number < end && tr_clock_mono_ms() < until)
        wait_changed(p, until);
    int e = p->all && p->all->number < end
                ? tr_fail(err, TR_ETIMEOUT, "%zu events are not published yet", p->stats.waiting)
                : 0;
    pthread_mutex_unlock(&p->lock);
    return e;
}

void tr_publisher_get_stats(tr_publisher *p, tr_publisher_stats *ret_stats)
{
    pthread_mutex_lock(&p->lock);
    *ret_stats = p->stats;
    pthread_mutex_unlock(&p->lock);
}
