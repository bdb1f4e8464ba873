/* SPDX-License-Identifier: MIT */
/*
 * Tumbling windows: per shard one state, which is given to the handler with each batch of the window and
 * taken from its answer.
 *
 *   batch --> enter --(of a later window)--> close --> handle --> leave --> saved --> acknowledged
 *               '--(through was saved: seen before)-------------> leave ------------> acknowledged
 *
 * A window is busy from enter to leave, and while it is closed because its time is over. Whoever has made it
 * busy owns `live`; `kept`, which is what the store has, is touched under the lock only.
 *
 * Lock order: the stream's before ours (tr_stream_each_shard calls us), so nothing here calls the stream
 * under the lock.
 */
#include "handler/mapping_private.h"

#include "base/hash.h"

#include <stdio.h>

#define CHECK_MS  200  /* between two looks at what is over */
#define MARGIN_MS 1000 /* creation times are whole seconds, and clocks differ */
#define WAIT_NS   100000000

/** Where a shard is. */
typedef struct progress {
    bool open;
    int64_t start_ms; /* of the open window */
    int64_t next_ms;  /* earliest start of one that is opened: windows before it are closed */
    char first[TR_SEQUENCE_MAX + 1],
        through[TR_SEQUENCE_MAX + 1]; /* what has been aggregated; "" if nothing */
    tr_buf state;                     /* JSON */
} progress;

struct tr__window {
    UT_hash_handle hh;
    char shard[TR_SHARD_ID_MAX + 1];
    progress live, kept;
    bool busy, due, ended;
    bool seen; /* at the last look */
};

static int copy_progress(progress *to, const progress *from)
{
    tr_buf state = to->state;
    tr_buf_reset(&state);
    tr_buf_put_view(&state, tr_buf_view(&from->state));
    *to = *from;
    to->state = state;
    return tr_buf_status(&state);
}

static void free_window(tr__window *w)
{
    tr_buf_done(&w->live.state);
    tr_buf_done(&w->kept.state);
    tr_free(w);
}

/* The shard's, made if need be; NULL without memory. Under the lock. */
static tr__window *window_of(tr_mapping *m, tr_view shard)
{
    tr__window *w;
    HASH_FIND(hh, m->tumbling.first, shard.ptr, shard.len, w);
    if (w || shard.len > TR_SHARD_ID_MAX || !(w = tr_calloc(1, sizeof *w)))
        return w;
    memcpy(w->shard, shard.ptr, shard.len);
    tr_buf_init(&w->live.state, TR_HANDLER_OUTPUT_MAX + 65536);
    tr_buf_init(&w->kept.state, TR_HANDLER_OUTPUT_MAX + 65536);
    w->live.next_ms = w->kept.next_ms = INT64_MIN;
    HASH_ADD(hh, m->tumbling.first, shard[0], shard.len, w);
    if (w->hh.tbl)
        return w;
    free_window(w);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ saved */

static void write_window(tr_json_writer *j, const tr__window *w)
{
    const progress *p = &w->kept;
    tr_json_key(j, tr_view_str(w->shard));
    tr_json_begin_object(j);
    tr_json_member_bool(j, "open", p->open);
    tr_json_member_i64(j, "start", p->start_ms);
    tr_json_member_i64(j, "next", p->next_ms);
    tr_json_member_cstring(j, "first", p->first);
    tr_json_member_cstring(j, "through", p->through);
    if (p->open) {
        tr_json_name(j, "state");
        tr_json_value(j, tr_buf_view(&p->state));
    }
    tr_json_end_object(j);
}

/* Under the lock. */
static int save(tr_mapping *m, tr_error *err)
{
    tr_json_writer j;
    tr_buf *out = &m->tumbling.saved;
    if (!m->options.window_store)
        return 0;
    tr_buf_reset(out);
    tr_json_write_init(&j, out);
    tr_json_begin_object(&j);
    tr_json_member_cstring(&j, "format", "tailrace-windows");
    tr_json_member_u64(&j, "version", 1);
    tr_json_member_cstring(&j, "name", m->name);
    tr_json_name(&j, "shards");
    tr_json_begin_object(&j);
    for (const tr__window *w = m->tumbling.first; w; w = w->hh.next)
        write_window(&j, w);
    tr_json_end_object(&j);
    tr_json_end_object(&j);
    if (tr_buf_status(out))
        return tr_fail(err, tr_buf_status(out), "the windows' states are too large to be saved");
    return m->options.window_store->save(m->options.window_store, tr_buf_view(out), err);
}

/* Saves what `live` says, however long that takes. False if it was stopped meanwhile. */
static bool commit(tr__work *work, tr__window *w)
{
    tr_mapping *m = work->m;
    tr_error err = {0};
    for (uint64_t n = 0;; n++) {
        (void)pthread_mutex_lock(&m->tumbling.lock);
        int e = copy_progress(&w->kept, &w->live);
        if (e)
            (void)tr_fail(&err, e, "%s", tr_strerror(e));
        else
            e = save(m, &err);
        (void)pthread_mutex_unlock(&m->tumbling.lock);
        if (!e)
            return true;
        tr_log(&m->options.logger, TR_LOG_ERROR, "saving the windows: %s; trying again", err.message);
        if (!tr__work_pause(work, n)) {
            work->gave_up = true;
            return false;
        }
    }
}

static void read_number(tr_json_reader *r, int64_t *to)
{
    if (tr_json_next(r) != TR_JSON_NUMBER || tr_json_int(r, to))
        (void)tr_json_skip(r);
}

static void read_digits(tr_json_reader *r, char *to)
{
    if (tr_json_next(r) != TR_JSON_STRING || r->text.len > TR_SEQUENCE_MAX)
        return;
    memcpy(to, r->text.ptr, r->text.len);
    to[r->text.len] = 0;
}

static int read_window(tr_json_reader *r, tr__window *w)
{
    progress *p = &w->kept;
    tr_view state;
    if (tr_json_next(r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    while (tr_json_next_key(r)) {
        tr_view key = r->text;
        if (tr_view_is(key, "start"))
            read_number(r, &p->start_ms);
        else if (tr_view_is(key, "next"))
            read_number(r, &p->next_ms);
        else if (tr_view_is(key, "first"))
            read_digits(r, p->first);
        else if (tr_view_is(key, "through"))
            read_digits(r, p->through);
        else if (tr_view_is(key, "open"))
            p->open = tr_json_next(r) == TR_JSON_TRUE;
        else if (tr_view_is(key, "state") && tr_json_next(r) == TR_JSON_OBJECT && tr_json_raw(r, &state) == 0)
            tr_buf_put_view(&p->state, state);
        else
            (void)tr_json_skip(r);
    }
    if (r->token != TR_JSON_OBJECT_END || (p->open && !p->state.len))
        return TR_EPARSE;
    return copy_progress(&w->live, p);
}

static int read_saved(tr_mapping *m, tr_view text, tr_arena *arena)
{
    tr_view shards, format, version;
    tr_json_reader r;
    if (tr_json_member(text, "format", arena, &format) || !tr_view_is(format, "\"tailrace-windows\"") ||
        tr_json_member(text, "version", arena, &version) || tr_json_member(text, "shards", arena, &shards))
        return TR_EPARSE;
    if (!tr_view_is(version, "1"))
        return TR_EVERSION;
    tr_json_init(&r, shards, arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    while (tr_json_next_key(&r)) {
        tr__window *w = window_of(m, r.text);
        int e = w ? read_window(&r, w) : TR_ENOMEM;
        if (e)
            return e;
    }
    return r.token == TR_JSON_OBJECT_END ? 0 : TR_EPARSE;
}

int tr__windows_open(tr_mapping *m, tr_error *err)
{
    tr_stream_store *store = m->options.window_store;
    tr_buf text;
    tr_arena arena;
    if (m->tumbling.loaded || !store)
        return 0;
    tr_buf_init(&text, TR_MAPPING_WINDOWS_MAX);
    tr_arena_init(&arena, TR_MAPPING_WINDOWS_MAX);
    int e = store->load(store, &text, err);
    if (!e && text.len && (e = read_saved(m, tr_buf_view(&text), &arena)) != 0)
        e = tr_fail(err, e, "the saved state of windows cannot be read: %s", tr_strerror(e));
    m->tumbling.loaded = !e;
    tr_buf_done(&text);
    tr_arena_done(&arena);
    return e;
}

void tr__windows_done(tr_mapping *m)
{
    tr__window *w, *next;
    HASH_ITER(hh, m->tumbling.first, w, next)
    {
        HASH_DEL(m->tumbling.first, w);
        free_window(w);
    }
    if (m->options.window_store)
        tr_stream_store_free(m->options.window_store);
    tr_buf_done(&m->tumbling.saved);
    (void)pthread_mutex_destroy(&m->tumbling.lock);
    (void)pthread_cond_destroy(&m->tumbling.idle);
}

/* --------------------------------------------------------------------------------------------- closing */

/* The last event of the window, until it is handled or given up. */
static void close_window(tr__work *work, tr__window *w, bool early)
{
    const tr_mapping_options *o = &work->m->options;
    work->window = w;
    work->final = true;
    work->early = early;
    work->attempts = 0;
    for (uint64_t retries = 0; tr__work_attempt(work, 0, 0) && !work->gave_up; retries++) {
        if (o->limit_retries && retries >= o->retries) {
            tr__work_give_up(work, 0, 0, "RetryAttemptsExhausted");
            break;
        }
        atomic_fetch_add(&work->m->retries, 1);
        if (!tr__work_pause(work, retries))
            work->gave_up = true;
    }
    work->final = work->early = false;
    if (work->gave_up)
        return;
    w->live.open = false;
    if (!early)
        w->live.next_ms = w->live.start_ms + o->tumbling_ms;
    atomic_fetch_add(&work->m->windows, 1);
}

/* What was not saved did not happen. */
static void set_idle(tr__work *work, tr__window *w)
{
    tr_mapping *m = work->m;
    (void)pthread_mutex_lock(&m->tumbling.lock);
    if (work->gave_up)
        (void)copy_progress(&w->live, &w->kept);
    w->busy = false;
    (void)pthread_cond_broadcast(&m->tumbling.idle);
    (void)pthread_mutex_unlock(&m->tumbling.lock);
    work->window = NULL;
}

static void look_at(void *ctx, const tr_shard_stats *shard)
{
    tr_mapping *m = ctx;
    tr__window *w;
    (void)pthread_mutex_lock(&m->tumbling.lock);
    HASH_FIND(hh, m->tumbling.first, shard->id.ptr, shard->id.len, w);
    if (w) {
        int64_t end = w->kept.start_ms + m->options.tumbling_ms + MARGIN_MS;
        w->seen = true;
        w->ended = shard->phase == TR_SHARD_FINISHED;
        w->due =
            w->kept.open && (w->ended || (shard->lag_ms >= 0 && tr_clock_wall_ms() - shard->lag_ms >= end));
    }
    (void)pthread_mutex_unlock(&m->tumbling.lock);
}

/* One that is over and not busy, now busy; those of shards that are gone are forgotten. NULL if there is
 * none. */
static tr__window *take_due(tr_mapping *m, bool all_known)
{
    tr__window *w, *next, *found = NULL;
    (void)pthread_mutex_lock(&m->tumbling.lock);
    HASH_ITER(hh, m->tumbling.first, w, next)
    {
        bool gone = all_known && !w->seen;
        if (w->busy)
            continue;
        if (!w->kept.open && (gone || w->ended)) {
            HASH_DEL(m->tumbling.first, w);
            free_window(w);
        } else if (w->kept.open && (w->due || gone)) {
            w->ended |= gone;
            w->due = false;
            w->busy = true;
            found = w;
            break;
        }
    }
    (void)pthread_mutex_unlock(&m->tumbling.lock);
    return found;
}

/* True: whoever called counts as closing. */
static bool time_to_look(tr_mapping *m)
{
    int64_t now = tr_clock_mono_ms();
    (void)pthread_mutex_lock(&m->tumbling.lock);
    bool look = now - m->tumbling.looked_ms >= CHECK_MS;
    if (look) {
        m->tumbling.looked_ms = now;
        m->tumbling.closing++;
        for (tr__window *w = m->tumbling.first; w; w = w->hh.next)
            w->seen = false;
    }
    (void)pthread_mutex_unlock(&m->tumbling.lock);
    return look;
}

void tr__windows_close_due(tr__work *work)
{
    tr_mapping *m = work->m;
    tr_stream_stats stats;
    tr__window *w;
    if (!time_to_look(m))
        return;
    tr_stream_get_stats(m->stream, &stats);
    tr_stream_each_shard(m->stream, look_at, m);
    bool all_known = stats.lag_ms >= 0 && stats.shards_reading > 0;
    while (!work->gave_up && (w = take_due(m, all_known)) != NULL) {
        close_window(work, w, w->ended);
        if (!work->gave_up)
            (void)commit(work, w);
        set_idle(work, w);
    }
    work->gave_up = false; /* of this window only: a batch at hand is not concerned */
    (void)pthread_mutex_lock(&m->tumbling.lock);
    m->tumbling.closing--;
    (void)pthread_mutex_unlock(&m->tumbling.lock);
}

bool tr__windows_closing(tr_mapping *m)
{
    (void)pthread_mutex_lock(&m->tumbling.lock);
    bool closing = m->tumbling.closing > 0;
    (void)pthread_mutex_unlock(&m->tumbling.lock);
    return closing;
}

/* --------------------------------------------------------------------------------------------- batches */

/* Waits for whoever closes it. NULL if stopped, or without memory. */
static tr__window *take_window(tr_mapping *m, tr_view shard)
{
    (void)pthread_mutex_lock(&m->tumbling.lock);
    tr__window *w = window_of(m, shard);
    while (w && w->busy && !atomic_load(&m->stop)) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&m->tumbling.idle, &m->tumbling.lock, &until);
        w = window_of(m, shard); /* it may have been forgotten */
    }
    if (w && w->busy)
        w = NULL;
    if (w)
        w->busy = true;
    (void)pthread_mutex_unlock(&m->tumbling.lock);
    return w;
}

static int64_t start_of(const tr_mapping *m, const tr_record *record)
{
    return record->time_ms - record->time_ms % m->options.tumbling_ms;
}

static bool was_aggregated(const tr__window *w, const tr_record *record)
{
    return w->live.through[0] && tr_sequence_cmp(record->sequence_number, tr_view_str(w->live.through)) <= 0;
}

static void put_digits(char *to, tr_view digits)
{
    size_t n = digits.len < TR_SEQUENCE_MAX ? digits.len : TR_SEQUENCE_MAX;
    memcpy(to, digits.ptr, n);
    to[n] = 0;
}

static void open_window(tr_mapping *m, tr__window *w, const tr_record *record)
{
    int64_t start = start_of(m, record);
    w->live.open = true;
    w->live.start_ms = start > w->live.next_ms ? start : w->live.next_ms;
    put_digits(w->live.first, record->sequence_number);
    tr_buf_reset(&w->live.state);
    tr_buf_put_str(&w->live.state, "{}");
}

size_t tr__window_enter(tr__work *work, const tr_stream_batch *rest, bool *ret_skip)
{
    tr_mapping *m = work->m;
    const tr_record *first = rest->events[0]->record;
    tr__window *w = take_window(m, first->shard_id);
    size_t n = 1;
    if (!w) {
        work->gave_up = true;
        return 0;
    }
    work->window = w;
    *ret_skip = was_aggregated(w, first);
    if (*ret_skip) {
        while (n < rest->count && was_aggregated(w, rest->events[n]->record))
            n++;
        return n;
    }
    if (w->live.open && start_of(m, first) > w->live.start_ms) {
        close_window(work, w, false);
        if (work->gave_up || !commit(work, w))
            return 0;
    }
    if (!w->live.open)
        open_window(m, w, first);
    while (n < rest->count && start_of(m, rest->events[n]->record) <= w->live.start_ms)
        n++;
    work->events = rest->events;
    return n;
}

void tr__window_leave(tr__work *work, bool done)
{
    tr__window *w = work->window;
    if (!w)
        return;
    if (done && !work->gave_up) {
        put_digits(w->live.through, work->events[work->count - 1]->record->sequence_number);
        bool saved = commit(work, w);
        if (saved && w->live.state.len > TR_MAPPING_STATE_MAX) {
            close_window(work, w, true);
            if (!work->gave_up)
                (void)commit(work, w);
            else
                work->gave_up = atomic_load(&work->m->stop);
        }
    }
    set_idle(work, w);
}

/* ---------------------------------------------------------------------------------------------- events */

void tr__window_write(const tr__work *work, tr_view stream_arn, tr_buf *out)
{
    const progress *p = &work->window->live;
    char start[TR_TIME_TEXT_MAX], end[TR_TIME_TEXT_MAX];
    tr_time_format(p->start_ms, false, start);
    tr_time_format(p->start_ms + work->m->options.tumbling_ms, false, end);
    tr_buf_printf(out, ",\"window\":{\"start\":\"%s\",\"end\":\"%s\"},\"state\":", start, end);
    tr_buf_put_view(out, tr_buf_view(&p->state));
    tr_buf_printf(out,
                  ",\"shardId\":\"%s\",\"eventSourceARN\":\"%.*s\",\"isFinalInvokeForWindow\":%s,"
                  "\"isWindowTerminatedEarly\":%s",
                  work->window->shard, TR_FMT(stream_arn), work->final ? "true" : "false",
                  work->early ? "true" : "false");
}

bool tr__window_take_state(tr__work *work)
{
    tr_view state, response = tr_buf_view(&work->response);
    tr_buf *to = &work->window->live.state;
    if (work->final) /* nothing follows */
        return true;
    tr_arena_reset(&work->arena);
    if (!response.len || response.ptr[0] != '{' || tr_json_member(response, "state", &work->arena, &state) ||
        state.ptr[0] != '{')
        return false;
    tr_buf_reset(to);
    tr_buf_put_view(to, state);
    return tr_buf_status(to) == 0;
}

void tr__window_extent(const tr__work *work, tr_record *ret_first, tr_record *ret_last)
{
    const tr__window *w = work->window;
    *ret_first = *ret_last = (tr_record){.shard_id = tr_view_str(w->shard)};
    ret_first->sequence_number = tr_view_str(w->live.first);
    ret_first->time_ms = w->live.start_ms;
    ret_last->sequence_number = tr_view_str(w->live.through);
    ret_last->time_ms = w->live.start_ms + work->m->options.tumbling_ms;
}
