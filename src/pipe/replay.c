/* SPDX-License-Identifier: MIT */
/* A replay's loop and its state. */
#include "pipe/replay.h"

#include <stdio.h>
#include <tailrace/log.h>
#include <tailrace/pipe.h>
#include <time.h>
#include <uv.h>

#define RETRIES       3
#define SAVE_MS       1000
#define STATE_MAX     ((size_t)1 << 20)
#define SLEEP_STEP_MS 20
#define BEAT_MS       20000

/* ----------------------------------------------------------------------------------------------- helpers */

tr_view tr__replay_raw(tr_view object, const char *name, tr_arena *arena)
{
    tr_view raw;
    return object.len && tr_json_member(object, name, arena, &raw) == 0 ? raw : (tr_view){NULL, 0};
}

tr_view tr__replay_text(tr_view object, const char *name, tr_arena *arena)
{
    tr_json_reader r;
    tr_view raw = tr__replay_raw(object, name, arena);
    if (!raw.ptr)
        return raw;
    tr_json_init(&r, raw, arena);
    return tr_json_next(&r) == TR_JSON_STRING ? r.text : (tr_view){NULL, 0};
}

void tr__replay_mark(tr_view object, const char *name, const char *text, tr_buf *out)
{
    tr_arena arena;
    tr_json_reader r;
    tr_json_writer w;
    tr_view raw;
    tr_arena_init(&arena, 2 * object.len + 65536);
    tr_json_init(&r, object, &arena);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    if (tr_json_next(&r) == TR_JSON_OBJECT) {
        while (tr_json_next_key(&r)) {
            tr_view key = r.text;
            bool old = tr_view_is(key, name);
            (void)tr_json_next(&r);
            if (tr_json_raw(&r, &raw))
                break;
            if (old)
                continue;
            tr_json_key(&w, key);
            tr_json_value(&w, raw);
        }
    }
    tr_json_member_cstring(&w, name, text);
    tr_json_end_object(&w);
    tr_arena_done(&arena);
}

tr__replay_row *tr__replay_add(tr__replay_page *page)
{
    if (page->count == page->cap) {
        size_t cap = page->cap ? page->cap * 2 : 64;
        tr__replay_row *rows = tr_arena_calloc(&page->arena, cap, sizeof *rows);
        if (!rows)
            return NULL;
        if (page->count)
            memcpy(rows, page->rows, page->count * sizeof *rows);
        page->rows = rows;
        page->cap = cap;
    }
    return &page->rows[page->count++];
}

int tr__replay_call(tr_client *client, tr_service service, const char *operation, tr_buf *body,
                    tr_buf *ret_answer, tr_error *err)
{
    const tr_request request = {.service = service, .operation = operation, .body = tr_buf_view(body)};
    int e = tr_buf_status(body);
    e = e ? tr_fail(err, e, "%s: the request is too large", operation)
          : tr_client_call_wait(client, &request, ret_answer, err);
    tr_buf_done(body);
    return e;
}

bool tr__replay_sleep(tr_replay *r, int64_t ms)
{
    for (int64_t until = tr_clock_mono_ms() + ms; tr_clock_mono_ms() < until && !atomic_load(&r->stop);)
        uv_sleep(ms < SLEEP_STEP_MS ? (unsigned)ms : SLEEP_STEP_MS);
    return !atomic_load(&r->stop);
}

void tr__replay_failed(tr_replay *r, tr_view event, int code, const tr_error *why)
{
    tr_error err = {0};
    char number[24];
    (void)snprintf(number, sizeof number, "%d", code);
    const tr_failure failure = {.source = tr_view_str(r->name),
                                .record = event,
                                .event = event,
                                .error_type = tr_view_str(why->type[0] ? why->type : number),
                                .error_message = tr_view_str(why->message),
                                .attempts = 1};
    pthread_mutex_lock(&r->lock);
    int e = code == TR_ECANCELED    ? TR_ECANCELED
            : r->options.on_failure ? tr_failure_put(r->options.on_failure, &failure, &err)
                                    : code;
    if (e == 0) {
        r->failed++;
    } else if (!r->code) {
        r->code = e;
        r->err = e == code ? *why : err;
        if (!r->err.message[0])
            (void)tr_fail(&r->err, e, "%s", tr_strerror(e));
    }
    pthread_mutex_unlock(&r->lock);
}

/* ------------------------------------------------------------------------------------------------- state */

/* What makes two replays the same one. */
static void write_what(const tr_replay *r, tr_json_writer *w)
{
    static const char *const from[] = {"file", "server", "aws"}, *const to[] = {"bus", "table", "handler"};
    tr_json_name(w, "what");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "from", from[r->options.from]);
    tr_json_member_cstring(w, "archive", r->archive);
    tr_json_member_i64(w, "start", r->options.from_ms);
    tr_json_member_i64(w, "end", r->options.to_ms);
    tr_json_member_cstring(w, "log", r->log ? r->log : "");
    tr_json_member_cstring(w, "type", r->type ? r->type : "");
    tr_json_member_cstring(w, "to", to[r->options.to]);
    tr_json_member_cstring(w, "target",
                           r->options.to == TR_REPLAY_TO_BUS     ? r->bus
                           : r->options.to == TR_REPLAY_TO_TABLE ? r->table
                                                                 : "");
    tr_json_end_object(w);
}

static void write_state(const tr_replay *r, tr_buf *out)
{
    const tr__replay_position *p = &r->position;
    tr_json_writer w;
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "format", "tailrace-replay");
    tr_json_member_i64(&w, "version", 1);
    write_what(r, &w);
    tr_json_member_bool(&w, "complete", r->ended);
    tr_json_member_i64(&w, "after", p->after);
    tr_json_member_u64(&w, "read", p->read);
    tr_json_member_u64(&w, "done", p->done);
    tr_json_member_u64(&w, "there", p->there);
    tr_json_member_u64(&w, "differing", p->differing);
    tr_json_member_u64(&w, "failed", p->failed);
    tr_json_member_cstring(&w, "made", p->made);
    tr_json_member_cstring(&w, "bus", p->bus);
    tr_json_member_bool(&w, "started", p->started);
    if (p->receipts.len) {
        tr_json_name(&w, "receipts");
        tr_json_value(&w, tr_buf_view(&p->receipts));
    }
    tr_json_end_object(&w);
}

int tr__replay_save(tr_replay *r, tr_error *err)
{
    tr_buf text;
    if (!r->options.state || r->options.dry_run)
        return 0;
    tr_buf_init(&text, STATE_MAX);
    write_state(r, &text);
    int e = tr_buf_status(&text);
    e = e ? tr_fail(err, e, "the replay's state: %s", tr_strerror(e))
          : r->options.state->save(r->options.state, tr_buf_view(&text), err);
    tr_buf_done(&text);
    return e;
}

static uint64_t read_number(tr_view state, const char *name, tr_arena *arena)
{
    uint64_t number = 0;
    tr_view raw = tr__replay_raw(state, name, arena);
    return raw.ptr && tr_view_to_u64(raw, INT64_MAX, &number) == 0 ? number : 0;
}

static void read_position(tr_replay *r, tr_view state, tr_arena *arena)
{
    tr__replay_position *p = &r->position;
    tr_buf receipts = p->receipts;
    *p = (tr__replay_position){.receipts = receipts,
                               .after = (int64_t)read_number(state, "after", arena),
                               .read = read_number(state, "read", arena),
                               .done = read_number(state, "done", arena),
                               .there = read_number(state, "there", arena),
                               .differing = read_number(state, "differing", arena),
                               .failed = read_number(state, "failed", arena),
                               .started = tr_view_is(tr__replay_raw(state, "started", arena), "true")};
    (void)snprintf(p->made, sizeof p->made, "%.*s", TR_FMT(tr__replay_text(state, "made", arena)));
    (void)snprintf(p->bus, sizeof p->bus, "%.*s", TR_FMT(tr__replay_text(state, "bus", arena)));
    tr_buf_reset(&p->receipts);
    tr_buf_put_view(&p->receipts, tr__replay_raw(state, "receipts", arena));
    r->resumed = p->read || p->made[0];
}

/* The same replay's position, if the state holds one that is not complete. */
static int check_state(tr_replay *r, tr_view state, tr_arena *arena, tr_error *err)
{
    tr_buf what;
    tr_json_writer w;
    if (!tr_view_is(tr__replay_text(state, "format", arena), "tailrace-replay"))
        return tr_fail(err, TR_EINVAL, "the state file is not of a replay: name another");
    if (tr_view_is(tr__replay_raw(state, "complete", arena), "true"))
        return 0;
    tr_buf_init(&what, STATE_MAX);
    tr_json_write_init(&w, &what);
    tr_json_begin_object(&w);
    write_what(r, &w);
    tr_json_end_object(&w);
    tr_view mine = tr__replay_raw(tr_buf_view(&what), "what", arena);
    bool same = tr_view_eq(mine, tr__replay_raw(state, "what", arena));
    tr_buf_done(&what);
    if (!same)
        return tr_fail(err, TR_EINVAL,
                       "the state is of another replay that was not finished: go on with that one, name "
                       "another state file, or begin anew");
    read_position(r, state, arena);
    return 0;
}

int tr__replay_load(tr_replay *r, tr_error *err)
{
    tr_buf text;
    tr_arena arena;
    if (!r->options.state || r->options.anew)
        return 0;
    tr_buf_init(&text, STATE_MAX);
    int e = r->options.state->load(r->options.state, &text, err);
    if (!e && text.len) {
        tr_arena_init(&arena, 4 * STATE_MAX);
        e = check_state(r, tr_buf_view(&text), &arena, err);
        tr_arena_done(&arena);
    }
    tr_buf_done(&text);
    return e;
}

/* -------------------------------------------------------------------------------------------------- loop */

static bool is_wanted(tr_replay *r, tr_view event)
{
    bool match;
    if (!r->options.pattern)
        return true;
    return tr_pattern_match(r->options.pattern, r->match, event, &match, NULL) == 0 && match;
}

static void beat(tr_replay *r)
{
    int64_t now = tr_clock_mono_ms();
    if (!r->source->beat || now - r->beat_ms < BEAT_MS)
        return;
    r->source->beat(r, r->page, r->row);
    r->beat_ms = now;
}

/* Waits until an event is due. False: stopped. */
static bool pace(tr_replay *r, int64_t event_ms)
{
    if (r->options.speed <= 0 || !event_ms)
        return !atomic_load(&r->stop);
    int64_t now = tr_clock_mono_ms();
    if (!r->first_mono_ms) {
        r->first_mono_ms = now;
        r->first_event_ms = event_ms;
    }
    double due = (double)r->first_mono_ms + (double)(event_ms - r->first_event_ms) / r->options.speed;
    for (; due > (double)now && !atomic_load(&r->stop); now = tr_clock_mono_ms()) {
        double left = due - (double)now;
        (void)tr__replay_sleep(r, left < BEAT_MS ? (int64_t)left + 1 : BEAT_MS);
        beat(r);
    }
    return !atomic_load(&r->stop);
}

static void tell(tr_replay *r)
{
    tr_replay_stats stats;
    if (!r->options.progress)
        return;
    tr_replay_get_stats(r, &stats);
    r->options.progress(r->options.ctx, &stats);
}

static int put_row(tr_replay *r, const tr__replay_row *row, tr_error *err)
{
    tr_arena arena;
    int64_t event_ms = 0;
    tr_arena_init(&arena, 2 * row->event.len + 65536);
    (void)tr_time_parse(tr__replay_text(row->event, "time", &arena), &event_ms);
    tr_arena_done(&arena);
    if (!is_wanted(r, row->event))
        return 0;
    if (!pace(r, event_ms))
        return TR_ECANCELED;
    r->event_ms = event_ms ? event_ms : r->event_ms;
    if (!r->options.dry_run)
        return r->target->put(r, row, err);
    pthread_mutex_lock(&r->lock);
    r->done++;
    pthread_mutex_unlock(&r->lock);
    return 0;
}

/* The first `count` rows of the page are done with. */
static void advance(tr_replay *r, const tr__replay_page *page, size_t count)
{
    tr__replay_position *p = &r->position;
    pthread_mutex_lock(&r->lock);
    p->read += count - r->taken;
    r->taken = count;
    p->done += r->done;
    p->there += r->there;
    p->differing += r->differing;
    p->failed += r->failed;
    r->done = r->there = r->differing = r->failed = 0;
    if (count < page->count)
        p->after = count ? page->rows[count - 1].id : p->after;
    else if (page->next)
        p->after = page->next;
    pthread_mutex_unlock(&r->lock);
}

/* Whether what was put is done with, row by row, and rows can be asked for from any one on. */
static bool by_row(const tr_replay *r)
{
    return r->target->at_once && !r->source->done && !r->options.dry_run;
}

static int save_now_and_then(tr_replay *r, tr_error *err)
{
    int64_t now = tr_clock_mono_ms();
    if (now - r->saved_ms <= SAVE_MS)
        return 0;
    r->saved_ms = now;
    return tr__replay_save(r, err);
}

/* 0: the whole page is done. TR_ECANCELED: stopped, or an event failed; what is done of it comes again,
 * unless it is known row by row. */
static int put_page(tr_replay *r, tr__replay_page *page, tr_error *err)
{
    int e = 0;
    r->done = r->there = r->differing = r->failed = 0;
    r->taken = 0;
    r->page = page;
    r->beat_ms = tr_clock_mono_ms();
    for (size_t i = 0; i < page->count && !e; i++) {
        r->row = i;
        e = put_row(r, &page->rows[i], err);
        if (by_row(r)) {
            advance(r, page, e ? i : i + 1);
            e = e ? e : save_now_and_then(r, err);
        }
        beat(r);
        if (r->options.speed > 0)
            tell(r);
    }
    int flushed = r->options.dry_run ? 0 : r->target->flush(r, e ? NULL : err);
    e = e ? e : flushed;
    pthread_mutex_lock(&r->lock);
    if (r->code) {
        e = r->code;
        if (err)
            *err = r->err;
    }
    if (e)
        r->done = r->there = r->differing = r->failed = 0; /* they come again */
    pthread_mutex_unlock(&r->lock);
    if (!e)
        advance(r, page, page->count);
    return e;
}

static int loop(tr_replay *r, tr_error *err)
{
    tr__replay_page page = {.rows = NULL};
    int e = 0;
    r->saved_ms = tr_clock_mono_ms();
    tr_arena_init(&page.arena, 4 * TR__REPLAY_TEXT_MAX);
    while (!e && !r->ended && !atomic_load(&r->stop)) {
        tr_arena_reset(&page.arena);
        page.rows = NULL;
        page.count = page.cap = 0;
        page.next = 0;
        page.end = false;
        e = r->source->read(r, &page, err);
        if (!e)
            e = put_page(r, &page, err);
        if (!e && r->source->done && page.count)
            e = r->source->done(r, &page, err);
        r->ended = !e && page.end;
        if (!e)
            e = save_now_and_then(r, err);
        tell(r);
    }
    tr_arena_done(&page.arena);
    return e == TR_ECANCELED && atomic_load(&r->stop) ? 0 : e;
}

int tr_replay_run(tr_replay *r, bool *ret_complete, tr_error *err)
{
    tr_error ignored;
    int e = tr__replay_load(r, err);
    if (e) /* nothing is open, and what the state holds is another's */
        return e;
    e = r->source->open(r, err);
    if (!e && !r->options.dry_run)
        e = r->target->open(r, err);
    if (!e)
        e = loop(r, err);
    r->target->close(r);
    int closed = r->source->close(r, !e && r->ended, e ? &ignored : err);
    e = e ? e : closed;
    int saved = tr__replay_save(r, e ? &ignored : err);
    e = e ? e : saved;
    if (!e)
        *ret_complete = r->ended;
    return e;
}

void tr_replay_stop(tr_replay *r)
{
    atomic_store(&r->stop, true);
}

void tr_replay_get_stats(tr_replay *r, tr_replay_stats *ret_stats)
{
    pthread_mutex_lock(&r->lock);
    const tr__replay_position *p = &r->position;
    *ret_stats = (tr_replay_stats){.total = r->total,
                                   .read = p->read,
                                   .done = p->done + r->done,
                                   .there = p->there + r->there,
                                   .differing = p->differing + r->differing,
                                   .failed = p->failed + r->failed,
                                   .event_ms = r->event_ms,
                                   .resumed = r->resumed};
    pthread_mutex_unlock(&r->lock);
}

/* --------------------------------------------------------------------------------------------- lifecycle */

static int check(const tr_replay_options *o, tr_error *err)
{
    if (!o->archive || !o->archive[0])
        return tr_fail(err, TR_EINVAL, "a replay needs an archive");
    if (o->name && (!o->name[0] || strlen(o->name) > TR_REPLAY_NAME_MAX))
        return tr_fail(err, TR_EINVAL, "a replay's name has 1 to %d characters", TR_REPLAY_NAME_MAX);
    if (o->from != TR_REPLAY_FROM_FILE && !o->from_client)
        return tr_fail(err, TR_EINVAL, "from_client is needed");
    if (o->from == TR_REPLAY_FROM_AWS && (o->dry_run || !o->state))
        return tr_fail(err, TR_EINVAL,
                       "a replay from AWS needs a state, and cannot be tried: AWS would start it");
    if (o->to == TR_REPLAY_TO_HANDLER ? !o->handler : !o->to_client)
        return tr_fail(err, TR_EINVAL,
                       o->to == TR_REPLAY_TO_HANDLER ? "handler is needed" : "to_client is needed");
    if (o->to == TR_REPLAY_TO_BUS && (!o->bus || !o->bus[0]))
        return tr_fail(err, TR_EINVAL, "bus is needed");
    if (o->speed < 0 || o->from_ms < 0 || o->to_ms < 0 || (o->to_ms && o->from_ms > o->to_ms))
        return tr_fail(err, TR_EINVAL, "speed or range of time are out of order");
    return 0;
}

static char *copy_view(tr_view v)
{
    char *copy = tr_malloc(v.len + 1);
    if (copy) {
        memcpy(copy, v.ptr, v.len);
        copy[v.len] = 0;
    }
    return copy;
}

static bool copy_texts(tr_replay *r, const tr_replay_options *o)
{
    r->archive = tr_strdup(o->archive);
    r->bus = tr_strdup(o->bus);
    r->table = tr_strdup(o->table ? o->table : TR_LOG_TABLE);
    r->log_table = tr_strdup(o->log_table);
    r->name = tr_strdup(o->name ? o->name : "local");
    r->log = o->log.ptr ? copy_view(o->log) : NULL;
    r->type = o->type.ptr ? copy_view(o->type) : NULL;
    r->rules = tr_calloc(o->rule_count + 1, sizeof *r->rules);
    bool ok = r->archive && r->table && r->name && r->rules && (r->bus || !o->bus) &&
              (r->log_table || !o->log_table) && (r->log || !o->log.ptr) && (r->type || !o->type.ptr);
    for (size_t i = 0; ok && i < o->rule_count; i++)
        ok = (r->rules[i] = tr_strdup(o->rules[i])) != NULL;
    r->options.log = tr_view_str(r->log);
    r->options.type = tr_view_str(r->type);
    return ok;
}

static int init_locks(tr_replay *r)
{
    pthread_condattr_t monotonic;
    if (pthread_mutex_init(&r->lock, NULL))
        return TR_ENOMEM;
    if (pthread_condattr_init(&monotonic)) {
        (void)pthread_mutex_destroy(&r->lock);
        return TR_ENOMEM;
    }
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    int e = pthread_cond_init(&r->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    if (e)
        (void)pthread_mutex_destroy(&r->lock);
    return e ? TR_ENOMEM : 0;
}

int tr_replay_new(const tr_replay_options *options, tr_replay **ret_replay, tr_error *err)
{
    static const tr__replay_source *const sources[] = {&tr__replay_source_file, &tr__replay_source_server,
                                                       &tr__replay_source_aws};
    static const tr__replay_target *const targets[] = {&tr__replay_target_bus, &tr__replay_target_table,
                                                       &tr__replay_target_handler};
    int e = check(options, err);
    if (e)
        return e;
    tr_replay *r = tr_calloc(1, sizeof *r);
    if (!r || init_locks(r)) {
        tr_free(r);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    r->options = *options;
    r->options.on_failure = NULL; /* not ours before we have succeeded */
    r->options.state = NULL;
    r->options.retries = options->retries ? options->retries : RETRIES;
    r->source = sources[options->from];
    r->target = targets[options->to];
    tr_buf_init(&r->text, TR__REPLAY_TEXT_MAX);
    tr_buf_init(&r->position.receipts, STATE_MAX / 2);
    if (!copy_texts(r, options) || (options->pattern && tr_match_ctx_new(NULL, &r->match))) {
        tr_replay_free(r);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    r->options.on_failure = options->on_failure;
    r->options.state = options->state;
    *ret_replay = r;
    return 0;
}

void tr_replay_free(tr_replay *r)
{
    if (!r)
        return;
    tr_failure_sink_free(r->options.on_failure);
    tr_stream_store_free(r->options.state);
    tr_match_ctx_free(r->match);
    tr_buf_done(&r->text);
    tr_buf_done(&r->position.receipts);
    for (size_t i = 0; r->rules && i < r->options.rule_count; i++)
        tr_free(r->rules[i]);
    char *texts[] = {r->archive, r->bus, r->table, r->log_table, r->name, r->log, r->type};
    for (size_t i = 0; i < TR_COUNT(texts); i++)
        tr_free(texts[i]);
    tr_free(r->rules);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
    tr_free(r);
}
