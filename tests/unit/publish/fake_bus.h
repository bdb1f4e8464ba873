/* SPDX-License-Identifier: MIT */
/**
 * A transport that stands for EventBridge, with a thread of its own. What it does with an entry stands in the
 * entry's detail:
 *
 *     {"id": 7, "key": "a", "fail": 2, "code": "ThrottlingException", "poison": true, "wait": 20}
 *
 * fail: so many times it is refused with `code`; poison: the whole request is, with ValidationException;
 * wait: milliseconds until the request is answered. Requests can be made to fail in turn with fake_script.
 */
#ifndef TAILRACE_TEST_FAKE_BUS_H
#define TAILRACE_TEST_FAKE_BUS_H

#include "../test.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdlib.h>
#include <tailrace/client.h>

typedef enum fake_failure {
    FAKE_OK,
    FAKE_THROTTLED,
    FAKE_BROKEN,    /* 500 */
    FAKE_LOST,      /* carried out, the answer is lost */
    FAKE_GONE,      /* not reachable */
    FAKE_NONSENSE,  /* 200, not the answer */
    FAKE_SHORT,     /* 200, an entry is missing in the answer */
    FAKE_FORBIDDEN, /* AccessDeniedException */
} fake_failure;

#define FAKE_IDS 20000

typedef struct fake_task {
    struct fake_task *next;
    int64_t at_ms;
    tr_task_fn *fn; /* or an answer: */
    void *ctx;
    tr_reply_fn *reply_fn;
    int code, status;
    char *body, *keys;
} fake_task;

typedef struct fake_bus {
    tr_transport transport; /* first */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool end, held;
    fake_task *tasks;
    /* what is to come, and what has been seen: under the lock */
    const fake_failure *script;
    size_t script_count;
    unsigned requests, in_flight, most_in_flight, largest, repeated_keys;
    size_t largest_bytes;
    int refused[FAKE_IDS]; /* times, by id */
    int taken[FAKE_IDS];
    int order[FAKE_IDS]; /* ids in the order in which they were taken */
    size_t order_count;
    char active[65536]; /* " key key " of the requests under way */
    bool crossed;       /* a key was in two requests at a time */
    bool busy_script;   /* the script is used for requests of several entries only */
} fake_bus;

static inline void fake_add(fake_bus *b, fake_task *task)
{
    fake_task **at = &b->tasks;
    while (*at && (*at)->at_ms <= task->at_ms)
        at = &(*at)->next;
    task->next = *at;
    *at = task;
    pthread_cond_broadcast(&b->changed);
}

/* Members of the entry's detail, and of the entry. */
static inline int fake_number(const cJSON *object, const char *name)
{
    const cJSON *member = cJSON_GetObjectItem(object, name);
    return cJSON_IsNumber(member) ? member->valueint : 0;
}

static inline size_t fake_size(const cJSON *entry)
{
    size_t size = cJSON_GetObjectItem(entry, "Time") ? 14 : 0;
    static const char *const texts[] = {"Source", "DetailType", "Detail"};
    for (size_t i = 0; i < TR_COUNT(texts); i++)
        size += strlen(cJSON_GetStringValue(cJSON_GetObjectItem(entry, texts[i])));
    const cJSON *resource;
    cJSON_ArrayForEach(resource, cJSON_GetObjectItem(entry, "Resources")) size +=
        strlen(resource->valuestring);
    return size;
}

static inline void fake_entry(fake_bus *b, const cJSON *detail, tr_buf *out, unsigned *failed)
{
    int id = fake_number(detail, "id");
    if (b->refused[id] < fake_number(detail, "fail")) {
        b->refused[id]++;
        ++*failed;
        tr_buf_printf(out, "{\"ErrorCode\":\"%s\",\"ErrorMessage\":\"refused\"}",
                      cJSON_GetStringValue(cJSON_GetObjectItem(detail, "code")));
        return;
    }
    b->taken[id]++;
    b->order[b->order_count++ % FAKE_IDS] = id;
    tr_buf_printf(out, "{\"EventId\":\"event-%d\"}", id);
}

static inline void fake_enter(fake_bus *b, const cJSON *detail, tr_buf *keys)
{
    const char *key = cJSON_GetStringValue(cJSON_GetObjectItem(detail, "key"));
    char name[64];
    if (!key)
        return;
    (void)snprintf(name, sizeof name, " %s ", key);
    if (strstr(b->active, name))
        b->crossed = true;
    if (keys->len && strstr(tr_buf_cstr(keys), name))
        b->repeated_keys++;
    tr_buf_put_str(keys, name);
}

/* With the lock. */
static inline void fake_put_events(fake_bus *b, const char *json, fake_failure failure, fake_task *task)
{
    tr_buf out, keys;
    unsigned failed = 0, count = 0;
    size_t bytes = 0;
    bool poison = false;
    cJSON *request = cJSON_Parse(json), *entry;
    assert_non_null(request);
    tr_buf_init(&out, 1 << 20);
    tr_buf_init(&keys, 65536);
    tr_buf_put_str(&out, "{\"Entries\":[");
    const cJSON *entries = cJSON_GetObjectItem(request, "Entries");
    cJSON_ArrayForEach(entry, entries)
    {
        bytes += fake_size(entry);
        count++;
    }
    cJSON_ArrayForEach(entry, entries)
    {
        cJSON *detail = cJSON_Parse(cJSON_GetStringValue(cJSON_GetObjectItem(entry, "Detail")));
        assert_non_null(detail);
        poison |= cJSON_IsTrue(cJSON_GetObjectItem(detail, "poison"));
        task->at_ms = tr_clock_mono_ms() + fake_number(detail, "wait");
        fake_enter(b, detail, &keys);
        cJSON_Delete(detail);
    }
    if (b->busy_script && count == 1)
        failure = FAKE_OK;
    if (failure != FAKE_GONE && failure != FAKE_THROTTLED && failure != FAKE_BROKEN &&
        failure != FAKE_FORBIDDEN && !poison) {
        cJSON_ArrayForEach(entry, entries)
        {
            cJSON *detail = cJSON_Parse(cJSON_GetStringValue(cJSON_GetObjectItem(entry, "Detail")));
            if (out.ptr[out.len - 1] == '}')
                tr_buf_putc(&out, ',');
            if (failure != FAKE_SHORT || entry->next)
                fake_entry(b, detail, &out, &failed);
            cJSON_Delete(detail);
        }
    }
    tr_buf_printf(&out, "],\"FailedEntryCount\":%u}", failed);
    b->largest = count > b->largest ? count : b->largest;
    b->largest_bytes = bytes > b->largest_bytes ? bytes : b->largest_bytes;
    cJSON_Delete(request);
    task->status = 200;
    if (poison) {
        task->status = 400;
        tr_buf_reset(&out);
        tr_buf_put_str(&out, "{\"__type\":\"ValidationException\",\"message\":\"poison\"}");
    }
    task->body = strdup(tr_buf_cstr(&out));
    task->keys = strdup(keys.len ? tr_buf_cstr(&keys) : "");
    tr_buf_done(&out);
    tr_buf_done(&keys);
}

static inline void fake_fail(fake_task *task, fake_failure failure)
{
    static const struct {
        int code, status;
        const char *body;
    } what[] = {
        [FAKE_THROTTLED] = {0, 400, "{\"__type\":\"ThrottlingException\",\"message\":\"slowly\"}"},
        [FAKE_BROKEN] = {0, 500, "{\"__type\":\"InternalException\"}"},
        [FAKE_LOST] = {TR_ETIMEOUT, 0, ""},
        [FAKE_GONE] = {TR_ECONNECT, 0, ""},
        [FAKE_NONSENSE] = {0, 200, "{\"Entries\":7}"},
        [FAKE_FORBIDDEN] = {0, 400, "{\"__type\":\"AccessDeniedException\",\"message\":\"no\"}"},
    };
    if (!what[failure].body)
        return;
    free(task->body);
    task->code = what[failure].code;
    task->status = what[failure].status;
    task->body = strdup(what[failure].body);
}

static inline int fake_send(tr_transport *t, const tr_request *request, tr_reply_fn *fn, void *ctx)
{
    fake_bus *b = (fake_bus *)t;
    fake_task *task = calloc(1, sizeof *task);
    assert_int_equal(request->service, TR_EVENTS);
    assert_string_equal(request->operation, "PutEvents");
    char *body = calloc(1, request->body.len + 1); /* not strndup, which looks for an end behind it */
    memcpy(body, request->body.ptr, request->body.len);
    task->reply_fn = fn;
    task->ctx = ctx;
    pthread_mutex_lock(&b->lock);
    fake_failure failure = FAKE_OK;
    if (b->script_count) {
        b->script_count--;
        failure = *b->script++;
    }
    fake_put_events(b, body, failure, task);
    fake_fail(task, failure);
    strncat(b->active, task->keys, sizeof b->active - strlen(b->active) - 1);
    b->requests++;
    if (++b->in_flight > b->most_in_flight)
        b->most_in_flight = b->in_flight;
    fake_add(b, task);
    pthread_mutex_unlock(&b->lock);
    free(body);
    return 0;
}

static inline int fake_schedule(tr_transport *t, int64_t delay_ms, tr_task_fn *fn, void *ctx)
{
    fake_bus *b = (fake_bus *)t;
    fake_task *task = calloc(1, sizeof *task);
    task->fn = fn;
    task->ctx = ctx;
    task->at_ms = tr_clock_mono_ms() + delay_ms;
    pthread_mutex_lock(&b->lock);
    fake_add(b, task);
    pthread_mutex_unlock(&b->lock);
    return 0;
}

static inline bool fake_on_thread(tr_transport *t)
{
    return pthread_equal(pthread_self(), ((fake_bus *)t)->thread) != 0;
}

/* Takes the keys of an answered request out of `active`. */
static inline void fake_leave(fake_bus *b, const char *keys)
{
    char *at = keys[0] ? strstr(b->active, keys) : NULL;
    if (at)
        memmove(at, at + strlen(keys), strlen(at + strlen(keys)) + 1);
}

static inline void fake_run_task(fake_bus *b, fake_task *task)
{
    if (task->fn) {
        task->fn(task->ctx);
    } else {
        tr_error err = {.code = b->end ? TR_ECANCELED : task->code};
        const tr_reply reply = {.status = task->status, .body = tr_view_str(task->body)};
        pthread_mutex_lock(&b->lock);
        fake_leave(b, task->keys);
        b->in_flight--;
        pthread_mutex_unlock(&b->lock);
        task->reply_fn(task->ctx, err.code, err.code ? NULL : &reply, err.code ? &err : NULL);
    }
    free(task->body);
    free(task->keys);
    free(task);
}

static inline void *fake_run(void *ctx)
{
    fake_bus *b = ctx;
    pthread_mutex_lock(&b->lock);
    while (!b->end || b->tasks) {
        fake_task *task = b->tasks;
        int64_t now = tr_clock_mono_ms();
        if (task && (b->end || (task->at_ms <= now && !b->held))) {
            b->tasks = task->next;
            pthread_mutex_unlock(&b->lock);
            fake_run_task(b, task);
            pthread_mutex_lock(&b->lock);
        } else if (task && task->at_ms > now) {
            struct timespec at = {.tv_sec = task->at_ms / 1000, .tv_nsec = task->at_ms % 1000 * 1000000};
            (void)pthread_cond_timedwait(&b->changed, &b->lock, &at);
        } else {
            pthread_cond_wait(&b->changed, &b->lock);
        }
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static inline void fake_free(tr_transport *t)
{
    fake_bus *b = (fake_bus *)t;
    pthread_mutex_lock(&b->lock);
    b->end = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    (void)pthread_join(b->thread, NULL);
}

/** The bus outlives the client. */
static inline tr_client *fake_open(fake_bus *b)
{
    pthread_condattr_t monotonic;
    tr_client *client;
    tr_error err;
    memset(b, 0, sizeof *b);
    b->transport = (tr_transport){
        .send = fake_send, .schedule = fake_schedule, .on_thread = fake_on_thread, .free = fake_free};
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&b->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&b->lock, NULL);
    assert_int_equal(pthread_create(&b->thread, NULL, fake_run, b), 0);
    const tr_client_options options = {.transport = &b->transport};
    if (tr_client_new(&options, &client, &err))
        fail_msg("%s", err.message);
    return client;
}

static inline void fake_close(fake_bus *b, tr_client *client)
{
    tr_client_free(client);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
}

/** Holds answers back until it is called again. What was put meanwhile waits with the publisher, whoever is
 * faster. */
static inline void fake_hold(fake_bus *b, bool hold)
{
    pthread_mutex_lock(&b->lock);
    b->held = hold;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static inline void fake_script(fake_bus *b, const fake_failure *script, size_t count)
{
    pthread_mutex_lock(&b->lock);
    b->script = script;
    b->script_count = count;
    pthread_mutex_unlock(&b->lock);
}

#endif
