/* SPDX-License-Identifier: MIT */
/*
 * Snapshots never make a call fail: one that cannot be read or written costs time, no more. They are written
 * in the background; a new one in place, the one it was made from is deleted.
 */
#include "eventstore/aggregate.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define EVERY   100
#define KEY_MAX 2048 /* bytes of a partition key (Developer Guide) */

struct tr_snapshots {
    atomic_uint references; /* the owner's, and one of each call under way */
    tr_client *client;
    char *table;
    uint64_t every;
    bool on_read, keep_all;
    int64_t ttl_ms;
    tr_logger logger;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned writing;
};

static void release(tr_snapshots *s)
{
    if (atomic_fetch_sub(&s->references, 1) > 1)
        return;
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->idle);
    tr_free(s->table);
    tr_free(s);
}

int tr_snapshots_new(tr_client *client, const tr_snapshots_options *options, tr_snapshots **ret_snapshots,
                     tr_error *err)
{
    static const tr_snapshots_options defaults = {.table = NULL};
    const tr_snapshots_options *o = options ? options : &defaults;
    tr_snapshots *s = tr_calloc(1, sizeof *s);
    if (!s || !(s->table = tr_strdup(o->table ? o->table : TR_SNAPSHOT_TABLE))) {
        tr_free(s);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->idle, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_init(&s->lock, NULL);
    atomic_init(&s->references, 1);
    s->client = client;
    s->every = o->every ? o->every : EVERY;
    s->on_read = o->on_read;
    s->keep_all = o->keep_all;
    s->ttl_ms = o->ttl_ms;
    s->logger = o->logger;
    *ret_snapshots = s;
    return 0;
}

void tr_snapshots_free(tr_snapshots *s)
{
    if (s)
        release(s);
}

int tr_snapshots_flush(tr_snapshots *s, int64_t timeout_ms)
{
    if (tr_client_on_thread(s->client))
        return TR_ETHREAD;
    int64_t until = tr_clock_mono_ns() + timeout_ms * 1000000;
    struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    (void)pthread_mutex_lock(&s->lock);
    int e = 0;
    while (s->writing && !e)
        e = pthread_cond_timedwait(&s->idle, &s->lock, &at);
    bool busy = s->writing != 0;
    (void)pthread_mutex_unlock(&s->lock);
    return busy ? TR_ETIMEOUT : 0;
}

static bool has_separator(const char *text, const char *separators)
{
    return !text || !*text || strpbrk(text, separators);
}

int tr__snapshot_check(const tr_snapshots *s, const tr_eventstore *store, const tr_reducer *r, tr_error *err)
{
    if (has_separator(r->name, "#@") || has_separator(r->version, "#") || !r->save || !r->load)
        return tr_fail(
            err, TR_EINVAL,
            "a reducer with snapshots needs a name and a version without '#', and the functions save and "
            "load");
    if (strcmp(s->table, tr__eventstore_table(store)) == 0)
        return tr_fail(err, TR_EINVAL, "snapshots need a table of their own: %s holds the events", s->table);
    return 0;
}

bool tr__snapshot_due(const tr_snapshots *s, const tr_aggregate *a, bool read)
{
    return (!read || s->on_read) && a->version >= a->snapshot_version + s->every;
}

/* "<store>#<reducer>@<version>#<aggregate>" as a JSON string. TR_ELIMIT if it is no key. */
static int put_key(tr_buf *out, const tr_eventstore *store, const tr_aggregate *a)
{
    tr_buf key;
    tr_json_writer w;
    tr_buf_init(&key, KEY_MAX);
    tr_buf_printf(&key, "%s#%s@%s#", store->id, a->reducer->name, a->reducer->version);
    tr_buf_put_view(&key, tr_aggregate_id(a));
    tr_json_write_init(&w, out);
    tr_json_string(&w, tr_buf_view(&key));
    int e = tr_buf_status(&key);
    tr_buf_done(&key);
    return e;
}

static void write_number(tr_json_writer *w, const char *name, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, number);
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "N", text);
    tr_json_end_object(w);
}

static void write_names(tr_json_writer *w, bool until)
{
    tr_json_name(w, "ExpressionAttributeNames");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "#id", TR_SNAPSHOT_TABLE_PK);
    tr_json_member_cstring(w, "#version", TR_SNAPSHOT_TABLE_SK);
    if (until)
        tr_json_member_cstring(w, "#until", TR_SNAPSHOT_TABLE_UNTIL_KEY);
    tr_json_end_object(w);
}

/* --------------------------------------------------------------------------------------------- loading */

typedef struct load {
    tr_snapshots *snapshots;
    tr_aggregate *aggregate;
    tr__query query;
    tr__snapshot_loaded_fn *fn;
    void *ctx;
} load;

static int64_t number_in(tr_item item, const char *name)
{
    tr_value value;
    int64_t number;
    return tr_item_get(item, tr_view_str(name), &value) || value.type != TR_N ||
                   tr_number_to_i64(value.payload, &number)
               ? 0
               : number;
}

static int on_item(void *ctx, tr_item item, tr_error *err)
{
    load *l = ctx;
    tr_aggregate *a = l->aggregate;
    tr_value state, timestamp;
    int64_t version = number_in(item, TR_SNAPSHOT_TABLE_SK);
    if (version < 1 || tr_item_get(item, TR_VIEW(TR_SNAPSHOT_TABLE_STATE_KEY), &state) || state.type != TR_M)
        return tr_fail(err, TR_ECORRUPT, "a snapshot has no version and state");
    int e = a->reducer->load(a->reducer->ctx, a->state, state.payload);
    if (e)
        return tr_fail(err, e, "the reducer cannot load what it saved: %s", tr_strerror(e));
    a->version = a->snapshot_version = (uint64_t)version;
    a->latest_ms = number_in(item, TR_SNAPSHOT_TABLE_UNTIL_KEY);
    if (tr_item_get(item, TR_VIEW(TR_SNAPSHOT_TABLE_TIMESTAMP_KEY), &timestamp) == 0 &&
        timestamp.type == TR_S)
        tr_buf_put_view(&a->timestamp, timestamp.payload);
    return 0;
}

/* A reducer that could not load its state may have left it half made. */
static void start_afresh(tr_aggregate *a)
{
    const tr_reducer *r = a->reducer;
    if (r->done)
        r->done(r->ctx, a->state);
    memset(a->state, 0, r->size);
    if (r->init)
        (void)r->init(r->ctx, a->state);
    a->version = a->snapshot_version = 0;
}

static void on_loaded(void *ctx, int code, const tr_error *err)
{
    load l = *(load *)ctx;
    tr__query_done(&((load *)ctx)->query);
    tr_free(ctx);
    if (code && code != TR_ECANCELED)
        tr_log(&l.snapshots->logger, TR_LOG_WARN, "no snapshot of aggregate %s in table %s: %s",
               l.aggregate->id, l.snapshots->table, err->message);
    if (code)
        start_afresh(l.aggregate);
    release(l.snapshots);
    l.fn(l.ctx);
}

static int write_query(load *l, const tr_eventstore *store, uint64_t max_version, int64_t until_ms)
{
    tr_json_writer *w = &l->query.writer;
    tr_json_member_cstring(w, "TableName", l->snapshots->table);
    tr_json_member_cstring(w, "KeyConditionExpression", "#id = :id and #version between :first and :last");
    if (until_ms)
        tr_json_member_cstring(w, "FilterExpression", "#until <= :until");
    write_names(w, until_ms != 0);
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    tr_json_name(w, ":id");
    tr_json_begin_object(w);
    tr_json_name(w, "S");
    int e = put_key(w->out, store, l->aggregate);
    tr_json_end_object(w);
    write_number(w, ":first", 1);
    write_number(w, ":last", max_version ? (int64_t)max_version : TR_EVENT_VERSION_MAX);
    if (until_ms)
        write_number(w, ":until", until_ms);
    tr_json_end_object(w);
    tr_json_member_bool(w, "ScanIndexForward", false);
    return e;
}

int tr__snapshot_load(tr_snapshots *s, const tr_eventstore *store, tr_aggregate *a, uint64_t max_version,
                      int64_t until_ms, tr__snapshot_loaded_fn *fn, void *ctx)
{
    load *l = tr_calloc(1, sizeof *l);
    if (!l)
        return TR_ENOMEM;
    *l = (load){.snapshots = s, .aggregate = a, .fn = fn, .ctx = ctx};
    tr__query_init(&l->query, "Query", 1);
    atomic_fetch_add(&s->references, 1);
    int e = write_query(l, store, max_version, until_ms);
    if (!e)
        e = tr__query_start(s->client, &l->query, on_item, on_loaded, l, NULL);
    if (e) {
        tr__query_done(&l->query);
        tr_free(l);
        release(s);
    }
    return e;
}

/* --------------------------------------------------------------------------------------------- writing */

typedef struct save {
    tr_snapshots *snapshots;
    char *id;
    tr_buf body;
    tr_buf delete_body; /* empty: nothing to delete */
} save;

static void end_save(save *v, int code, const char *why)
{
    tr_snapshots *s = v->snapshots;
    if (code && code != TR_ECANCELED)
        tr_log(&s->logger, TR_LOG_WARN, "snapshot of aggregate %s into table %s: %s", v->id ? v->id : "?",
               s->table, why);
    (void)pthread_mutex_lock(&s->lock);
    if (--s->writing == 0)
        (void)pthread_cond_broadcast(&s->idle);
    (void)pthread_mutex_unlock(&s->lock);
    tr_buf_done(&v->body);
    tr_buf_done(&v->delete_body);
    tr_free(v->id);
    tr_free(v);
    release(s);
}

static void on_deleted(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    (void)reply;
    end_save(ctx, code, err ? err->message : "");
}

static void on_saved(void *ctx, int code, const tr_reply *reply, const tr_error *err)
{
    save *v = ctx;
    (void)reply;
    tr_request request = {
        .service = TR_DYNAMODB, .operation = "DeleteItem", .body = tr_buf_view(&v->delete_body)};
    if (code || !v->delete_body.len)
        end_save(v, code, err ? err->message : "");
    else if ((code = tr_client_call(v->snapshots->client, &request, on_deleted, v)))
        end_save(v, code, tr_strerror(code));
}

static int write_key_members(tr_json_writer *w, const tr_eventstore *store, const tr_aggregate *a,
                             uint64_t version)
{
    tr_json_name(w, TR_SNAPSHOT_TABLE_PK);
    tr_json_begin_object(w);
    tr_json_name(w, "S");
    int e = put_key(w->out, store, a);
    tr_json_end_object(w);
    write_number(w, TR_SNAPSHOT_TABLE_SK, (int64_t)version);
    return e;
}

static int write_put(save *v, const tr_eventstore *store, const tr_aggregate *a)
{
    tr_json_writer w;
    tr_packer p;
    tr_buf state;
    tr_buf_init(&state, TR_ITEM_SIZE_MAX);
    tr_packer_init(&p, &state);
    tr_pack_item_begin(&p);
    int e = a->reducer->save(a->reducer->ctx, a->state, &p);
    if (!e)
        e = tr_pack_item_end(&p);
    if (!e) {
        tr_json_write_init(&w, &v->body);
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "TableName", v->snapshots->table);
        tr_json_name(&w, "Item");
        tr_json_begin_object(&w);
        e = write_key_members(&w, store, a, a->version);
        tr_json_name(&w, TR_SNAPSHOT_TABLE_STATE_KEY);
        tr_json_begin_object(&w);
        tr_json_name(&w, "M");
        tr_item_write(&w, tr_buf_view(&state));
        tr_json_end_object(&w);
        tr_json_name(&w, TR_SNAPSHOT_TABLE_TIMESTAMP_KEY);
        tr_json_begin_object(&w);
        tr_json_member_string(&w, "S", tr_buf_view(&a->timestamp));
        tr_json_end_object(&w);
        write_number(&w, TR_SNAPSHOT_TABLE_UNTIL_KEY, a->latest_ms);
        if (v->snapshots->ttl_ms)
            write_number(&w, TR_SNAPSHOT_TABLE_TTL_KEY, (tr_clock_wall_ms() + v->snapshots->ttl_ms) / 1000);
        tr_json_end_object(&w);
        tr_json_end_object(&w);
    }
    tr_buf_done(&state);
    return e ? e : tr_buf_status(&v->body);
}

static int write_delete(save *v, const tr_eventstore *store, const tr_aggregate *a)
{
    tr_json_writer w;
    tr_json_write_init(&w, &v->delete_body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "TableName", v->snapshots->table);
    tr_json_name(&w, "Key");
    tr_json_begin_object(&w);
    int e = write_key_members(&w, store, a, a->snapshot_version);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    return e ? e : tr_buf_status(&v->delete_body);
}

void tr__snapshot_save(tr_snapshots *s, const tr_eventstore *store, tr_aggregate *a)
{
    save *v = tr_calloc(1, sizeof *v);
    if (!v)
        return;
    v->snapshots = s;
    v->id = tr_strdup(a->id);
    tr_buf_init(&v->body, 8 * (size_t)TR_ITEM_SIZE_MAX);
    tr_buf_init(&v->delete_body, 65536);
    atomic_fetch_add(&s->references, 1);
    (void)pthread_mutex_lock(&s->lock);
    s->writing++;
    (void)pthread_mutex_unlock(&s->lock);
    int e = write_put(v, store, a);
    if (!e && a->snapshot_version && !s->keep_all)
        e = write_delete(v, store, a);
    a->snapshot_version = a->version; /* due again only when further events were folded */
    tr_request request = {.service = TR_DYNAMODB, .operation = "PutItem", .body = tr_buf_view(&v->body)};
    if (e || (e = tr_client_call(s->client, &request, on_saved, v)))
        end_save(v, e, e == TR_ELIMIT ? "the state is larger than an item may be" : tr_strerror(e));
}
