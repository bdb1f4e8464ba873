/* SPDX-License-Identifier: MIT */
#include "eventstore/share.h"

#include <stdatomic.h>
#include <stdio.h>
#include <uv.h>

#define FAILOVER_MS 10000 /* as the lease table's */
#define STATE_MAX   4096
#define OWNER_MAX   (TR_UUID_LEN + 1)
#define ITEM_NAME   "history"

struct tr__share {
    tr_stream_store *store; /* of the item; of the keeping thread while that runs */
    int64_t failover_ms;
    char owner[OWNER_MAX]; /* the name of our inbox */
    uv_mutex_t mutex;
    uv_cond_t changed;
    uv_thread_t thread;
    bool running, stop; /* stop: with the mutex */
    atomic_bool lost;
    uint64_t counter;
    atomic_llong renewed_ms; /* monotonic: when the last write that succeeded was sent */
    /* of another worker */
    char seen_owner[OWNER_MAX];
    uint64_t seen_counter;
    int64_t seen_ms; /* monotonic: since when it stands so */
};

typedef struct item {
    bool over, there;
    char owner[OWNER_MAX];
    uint64_t counter;
} item;

/* {"history":"done"} or {"history":"running","owner":"…","counter":5} */
static int read_item(tr__share *s, item *out, tr_error *err)
{
    tr_buf text;
    tr_arena arena;
    tr_json_reader r;
    *out = (item){0};
    tr_buf_init(&text, STATE_MAX);
    tr_arena_init(&arena, STATE_MAX);
    int e = s->store->load(s->store, &text, err);
    if (!e && text.len) {
        out->there = true;
        tr_json_init(&r, tr_buf_view(&text), &arena);
        bool valid = tr_json_next(&r) == TR_JSON_OBJECT;
        int64_t counter = 0;
        while (valid && tr_json_next_key(&r)) {
            tr_view name = r.text;
            tr_json_token t = tr_json_next(&r);
            if (tr_view_is(name, "history"))
                out->over = tr_view_is(r.text, "done");
            else if (tr_view_is(name, "owner") && t == TR_JSON_STRING && r.text.len < sizeof out->owner)
                (void)snprintf(out->owner, sizeof out->owner, "%.*s", TR_FMT(r.text));
            else if (tr_view_is(name, "counter"))
                valid = tr_json_int(&r, &counter) == 0 && counter >= 0;
            else
                valid = tr_json_skip(&r) == 0;
        }
        out->counter = (uint64_t)counter;
        if (!valid || r.token != TR_JSON_OBJECT_END)
            e = tr_fail(err, TR_ECORRUPT, "the item that says who delivers the history cannot be read: %.*s",
                        TR_FMT(tr_buf_view(&text)));
    }
    tr_buf_done(&text);
    tr_arena_done(&arena);
    return e;
}

static int write_item(tr__share *s, bool over, const char *owner, tr_error *err)
{
    tr_buf text;
    tr_json_writer w;
    int64_t sent_ms = tr_clock_mono_ms();
    tr_buf_init(&text, STATE_MAX);
    tr_json_write_init(&w, &text);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "history", over ? "done" : "running");
    if (!over) {
        tr_json_member_cstring(&w, "owner", owner);
        tr_json_member_u64(&w, "counter", s->counter + 1);
    }
    tr_json_end_object(&w);
    int e = tr_buf_status(&text) ? tr_buf_status(&text) : s->store->save(s->store, tr_buf_view(&text), err);
    if (!e) {
        s->counter++;
        atomic_store(&s->renewed_ms, sent_ms);
    }
    tr_buf_done(&text);
    return e;
}

/* By our own clock: a worker that cannot renew stops before another may begin. */
static bool too_late(tr__share *s)
{
    return tr_clock_mono_ms() - atomic_load(&s->renewed_ms) > s->failover_ms * 9 / 10;
}

/* Renews while the role is ours. */
static void keep(void *ctx)
{
    tr__share *s = ctx;
    uv_mutex_lock(&s->mutex);
    while (!s->stop && !atomic_load(&s->lost)) {
        (void)uv_cond_timedwait(&s->changed, &s->mutex, (uint64_t)s->failover_ms * 1000000 / 4);
        if (s->stop)
            break;
        uv_mutex_unlock(&s->mutex);
        if (write_item(s, false, s->owner, NULL) == TR_ECONFLICT || too_late(s))
            atomic_store(&s->lost, true);
        uv_mutex_lock(&s->mutex);
    }
    uv_mutex_unlock(&s->mutex);
}

static void end_keeping(tr__share *s)
{
    if (!s->running)
        return;
    uv_mutex_lock(&s->mutex);
    s->stop = true;
    uv_cond_signal(&s->changed);
    uv_mutex_unlock(&s->mutex);
    uv_thread_join(&s->thread);
    s->running = false;
}

int tr__share_new(tr_client *client, const tr_fleet_options *fleet, tr__share **ret_share, tr_error *err)
{
    char table[512];
    tr__share *s = tr_calloc(1, sizeof *s);
    if (!s)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_uuid(s->owner);
    (void)snprintf(table, sizeof table, "%.255s-history", fleet->lease_table);
    s->failover_ms = fleet->failover_ms ? fleet->failover_ms : FAILOVER_MS;
    bool mutex = uv_mutex_init(&s->mutex) == 0, cond = mutex && uv_cond_init(&s->changed) == 0;
    int e = cond ? tr_stream_store_table(fleet->lease_client ? fleet->lease_client : client, table, ITEM_NAME,
                                         !fleet->no_create, &s->store, err)
                 : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (e) {
        if (cond)
            uv_cond_destroy(&s->changed);
        if (mutex)
            uv_mutex_destroy(&s->mutex);
        tr_free(s);
        return e;
    }
    *ret_share = s;
    return 0;
}

static void give_back(tr__share *s)
{
    bool ours = s->running;
    end_keeping(s);
    if (ours && !atomic_load(&s->lost))
        (void)write_item(s, false, "", NULL);
}

void tr__share_free(tr__share *s)
{
    if (!s)
        return;
    give_back(s);
    tr_stream_store_free(s->store);
    uv_cond_destroy(&s->changed);
    uv_mutex_destroy(&s->mutex);
    tr_free(s);
}

/* Whether the role may be taken: nobody has it, or who has it stood still for too long. */
static bool is_free(tr__share *s, const item *now)
{
    int64_t ms = tr_clock_mono_ms();
    if (!now->there || now->owner[0] == 0)
        return true;
    if (strcmp(now->owner, s->seen_owner) != 0 || now->counter != s->seen_counter) {
        (void)snprintf(s->seen_owner, sizeof s->seen_owner, "%s", now->owner);
        s->seen_counter = now->counter;
        s->seen_ms = ms;
        return false;
    }
    return ms - s->seen_ms > s->failover_ms;
}

const char *tr__share_owner(const tr__share *s)
{
    return s->owner;
}

int tr__share_look(tr__share *s, const char *name, tr__share_role *ret_role, tr_error *err)
{
    item now;
    end_keeping(s);
    if (name)
        (void)snprintf(s->owner, sizeof s->owner, "%s", name);
    s->stop = false;
    atomic_store(&s->lost, false);
    int e = read_item(s, &now, err);
    if (e)
        return e;
    *ret_role = now.over ? TR__SHARE_OVER : TR__SHARE_OTHER;
    bool ours = name && strcmp(now.owner, name) == 0;
    if (now.over || (!ours && !is_free(s, &now)))
        return 0;
    s->counter = now.counter;
    e = write_item(s, false, s->owner, err);
    if (e == TR_ECONFLICT)
        return 0; /* another one was faster */
    if (!e && uv_thread_create(&s->thread, keep, s))
        e = tr_fail(err, TR_ENOMEM, "cannot start a thread");
    s->running = !e;
    if (!e)
        *ret_role = TR__SHARE_MINE;
    return e;
}

int tr__share_peek(tr__share *s, tr__share_role *ret_role, tr_error *err)
{
    item now;
    give_back(s);
    int e = read_item(s, &now, err);
    if (!e)
        *ret_role = now.over ? TR__SHARE_OVER : TR__SHARE_OTHER;
    return e;
}

bool tr__share_lost(tr__share *s)
{
    return atomic_load(&s->lost) || (s->running && too_late(s));
}

int tr__share_done(tr__share *s, tr_error *err)
{
    end_keeping(s);
    return atomic_load(&s->lost) ? tr_fail(err, TR_ECONFLICT, "another worker delivers the history")
                                 : write_item(s, true, "", err);
}
