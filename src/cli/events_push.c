/* SPDX-License-Identifier: MIT */
/*
 * push: lines go through a window of pushes under way. Two of one aggregate are never under way at once, so
 * that they keep their order, and what was stored is printed in the order of the lines. After a failure
 * nothing more is begun.
 */
#include "cli/events.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define ARENA_MAX (4 * TR_CLI_LINE_MAX)

int tr_cli_events_expect(const tr_cli_events *c, tr_event_expect *ret_expect, tr_error *err)
{
    if (!c->expect || strcmp(c->expect, "any") == 0)
        *ret_expect = TR_EXPECT_ANY;
    else if (strcmp(c->expect, "none") == 0)
        *ret_expect = TR_EXPECT_NONE;
    else if (strcmp(c->expect, "exists") == 0)
        *ret_expect = TR_EXPECT_EXISTS;
    else
        return tr_fail(err, TR_EINVAL, "--expect is any, none or exists, not '%s'", c->expect);
    return 0;
}

/* --------------------------------------------------------------------------------------------- one by one */

typedef struct slot {
    struct window *window;
    tr_arena arena;
    tr_event event;
    enum { FREE, UNDER_WAY, STORED, FAILED } state;
    int code;
    tr_error err;
    tr_buf line; /* as stored */
    uint64_t number;
} slot;

typedef struct window {
    tr_cli_events *c;
    tr_event_expect expect;
    slot *slots; /* a ring */
    size_t size, first, count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool failed; /* nothing more is to be begun */
    uint64_t last;      /* line that was begun, or refused */
    tr_buf missing;     /* lines that were begun and are not stored, as far as is known: "3, 5 to 7" */
    uint64_t missing_from, missing_to;
} window;

static void on_pushed(void *ctx, int code, const tr_pushed *pushed, const tr_error *err)
{
    slot *s = ctx;
    window *w = s->window;
    tr_json_writer j;
    if (!code) {
        tr_json_write_init(&j, &s->line);
        tr_event_write(&j, &pushed->events[0], NULL);
    }
    (void)pthread_mutex_lock(&w->lock);
    s->code = code;
    s->state = code ? FAILED : STORED;
    if (code) {
        s->err = *err;
        w->failed = true;
    }
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->lock);
}

static bool under_way(window *w, tr_view aggregate_id)
{
    for (size_t i = 0; i < w->count; i++) {
        const slot *s = &w->slots[(w->first + i) % w->size];
        if (s->state == UNDER_WAY && tr_view_eq(s->event.aggregate_id, aggregate_id))
            return true;
    }
    return false;
}

/* Prints what is stored at the window's front. With the lock held, which printing lets go of. */
static int print_front(window *w, tr_error *err)
{
    int e = 0;
    while (!e && w->count && w->slots[w->first].state == STORED) {
        slot *s = &w->slots[w->first];
        (void)pthread_mutex_unlock(&w->lock);
        e = tr_cli_print_line(&s->line, err);
        tr_buf_reset(&s->line);
        (void)pthread_mutex_lock(&w->lock);
        s->state = FREE;
        w->first = (w->first + 1) % w->size;
        w->count--;
    }
    return e;
}

/* Waits for room, and until no push of that aggregate is under way. */
static int wait_for_turn(window *w, tr_view aggregate_id, tr_error *err)
{
    (void)pthread_mutex_lock(&w->lock);
    int e = print_front(w, err);
    while (!e && !w->failed && (w->count == w->size || under_way(w, aggregate_id))) {
        (void)pthread_cond_wait(&w->changed, &w->lock);
        e = print_front(w, err);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return e;
}

static int begin(window *w, const tr_cli_lines *lines, tr_view line, tr_arena *parsing, tr_error *err)
{
    tr_event event;
    tr_arena_reset(parsing);
    int e = tr_event_from_json(line, parsing, &event, err);
    if (e) {
        w->last = lines->number;
        return tr_cli_line_error(lines, e, err);
    }
    if ((e = wait_for_turn(w, event.aggregate_id, err)) || w->failed)
        return e;
    w->last = lines->number;
    slot *s = &w->slots[(w->first + w->count) % w->size];
    tr_arena_reset(&s->arena);
    s->event = event;
    s->event.aggregate_id = tr_arena_copy(&s->arena, event.aggregate_id);
    s->number = lines->number;
    tr_push_options o = {.expect = event.version ? TR_EXPECT_VERSION : w->expect,
                         .force = w->c->force,
                         .strict = w->c->strict && event.version};
    (void)pthread_mutex_lock(&w->lock);
    s->state = UNDER_WAY;
    w->count++;
    (void)pthread_mutex_unlock(&w->lock);
    e = s->event.aggregate_id.ptr ? tr_eventstore_push(w->c->store, &event, 1, &o, on_pushed, s, err)
                                  : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (e) {
        (void)pthread_mutex_lock(&w->lock);
        s->state = FREE;
        w->count--;
        (void)pthread_mutex_unlock(&w->lock);
        return tr_cli_line_error(lines, e, err);
    }
    return 0;
}

/* ---- what was not pushed ---- */

static void end_missing(window *w)
{
    if (!w->missing_from)
        return;
    if (w->missing.len)
        tr_buf_put_str(&w->missing, ", ");
    tr_buf_put_u64(&w->missing, w->missing_from);
    if (w->missing_to > w->missing_from) {
        tr_buf_put_str(&w->missing, w->missing_to > w->missing_from + 1 ? " to " : ", ");
        tr_buf_put_u64(&w->missing, w->missing_to);
    }
    w->missing_from = 0;
}

/* Lines come in their order. Those that touch are told as one range. */
static void add_missing(window *w, uint64_t line)
{
    if (w->missing_from && w->missing_to + 1 == line) {
        w->missing_to = line;
        return;
    }
    end_missing(w);
    w->missing_from = w->missing_to = line;
}

static void tell_missing(window *w)
{
    end_missing(w);
    if (w->missing.len && !tr_buf_status(&w->missing))
        tr_cli_message(TR_LOG_ERROR,
                       "not stored, or not known to be: line(s) %.*s; nothing behind line %llu was begun",
                       TR_FMT(tr_buf_view(&w->missing)), (unsigned long long)w->last);
}

/* Waits for the rest; what was stored behind a failed one is printed too. */
static int finish(window *w, int code, tr_error *err)
{
    (void)pthread_mutex_lock(&w->lock);
    while (w->count) {
        slot *s = &w->slots[w->first];
        if (s->state == UNDER_WAY) {
            (void)pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        tr_error mine;
        if (s->state == FAILED)
            add_missing(w, s->number);
        if (s->state == FAILED && !code) {
            tr_cli_lines at = {.number = s->number};
            *err = s->err;
            code = tr_cli_line_error(&at, s->code, err);
        } else if (s->state == STORED) {
            int e = tr_cli_print_line(&s->line, &mine);
            if (e && !code) {
                *err = mine;
                code = e;
            }
        }
        w->first = (w->first + 1) % w->size;
        w->count--;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return code;
}

static int push_lines(tr_cli_events *c, tr_event_expect expect, tr_error *err)
{
    window w = {.c = c, .expect = expect, .size = c->parallel};
    tr_cli_lines lines;
    tr_arena parsing;
    tr_view line;
    tr_cli_lines_init(&lines, stdin);
    w.slots = tr_calloc(w.size, sizeof *w.slots);
    if (!w.slots)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    (void)pthread_mutex_init(&w.lock, NULL);
    (void)pthread_cond_init(&w.changed, NULL);
    tr_arena_init(&parsing, ARENA_MAX);
    for (size_t i = 0; i < w.size; i++) {
        w.slots[i].window = &w;
        tr_arena_init(&w.slots[i].arena, ARENA_MAX);
        tr_buf_init(&w.slots[i].line, ARENA_MAX);
    }
    tr_buf_init(&w.missing, ARENA_MAX);
    int e = 0;
    while (!e && !w.failed && !(e = tr_cli_next_line(&lines, &line, err)))
        e = begin(&w, &lines, line, &parsing, err);
    bool refused = e && e != TR_ECLOSED && w.last == lines.number;
    e = finish(&w, e == TR_ECLOSED ? 0 : e, err);
    if (refused)
        add_missing(&w, w.last);
    tell_missing(&w);
    tr_buf_done(&w.missing);
    for (size_t i = 0; i < w.size; i++) {
        tr_arena_done(&w.slots[i].arena);
        tr_buf_done(&w.slots[i].line);
    }
    tr_arena_done(&parsing);
    tr_cli_lines_done(&lines);
    (void)pthread_mutex_destroy(&w.lock);
    (void)pthread_cond_destroy(&w.changed);
    tr_free(w.slots);
    return e;
}

/* ------------------------------------------------------------------------------------------------ at once */

/* Members of a transaction, from lines. */
typedef struct members {
    tr_group_member list[TR_EVENT_GROUP_MAX];
    bool nested[TR_EVENT_GROUP_MAX];      /* {"eventStoreId":…,"event":{…}} */
    uint64_t numbers[TR_EVENT_GROUP_MAX]; /* of their lines */
    size_t count;
    tr_eventstore *stores[TR_EVENT_GROUP_MAX]; /* opened for them */
    size_t store_count;
    tr_arena arena;
} members;

/* The line without its members eventStoreId, table and check, which are taken out. */
typedef struct group_line {
    tr_view store, table, event; /* event: JSON */
    bool check, nested;
} group_line;

static int take_group_member(tr_json_reader *r, tr_view name, group_line *g, tr_json_writer *rest)
{
    tr_view raw;
    tr_json_token token = tr_json_next(r);
    if (tr_view_is(name, TR_EVENT_TABLE_EVENT_STORE_ID_KEY) && token == TR_JSON_STRING) {
        g->store = r->text;
    } else if (tr_view_is(name, "table") && token == TR_JSON_STRING) {
        g->table = r->text;
    } else if (tr_view_is(name, "check") && (token == TR_JSON_TRUE || token == TR_JSON_FALSE)) {
        g->check = token == TR_JSON_TRUE;
    } else if (tr_json_raw(r, &raw)) {
        return TR_EPARSE;
    } else if (tr_view_is(name, "event")) {
        g->event = raw;
        g->nested = true;
    } else {
        tr_json_key(rest, name);
        tr_json_value(rest, raw);
    }
    return 0;
}

static int read_group_line(tr_view line, tr_arena *arena, group_line *ret, tr_error *err)
{
    tr_json_reader r;
    tr_buf rest;
    tr_json_writer w;
    group_line g = {0};
    tr_buf_init(&rest, TR_CLI_LINE_MAX);
    tr_json_write_init(&w, &rest);
    tr_json_begin_object(&w);
    tr_json_init(&r, line, arena);
    int e = tr_json_next(&r) == TR_JSON_OBJECT ? 0 : TR_EPARSE;
    while (!e && tr_json_next_key(&r))
        e = take_group_member(&r, r.text, &g, &w);
    tr_json_end_object(&w);
    if (e || r.token != TR_JSON_OBJECT_END || tr_json_next(&r) != TR_JSON_DONE)
        e = tr_fail(err, TR_EPARSE, "an event is a JSON object%s%s", tr_json_error(&r) ? ": " : "",
                    tr_json_error(&r) ? tr_json_error(&r) : "");
    else if (!g.store.len)
        e = tr_fail(err, TR_EINVAL, "a member of a group needs its eventStoreId");
    else if (g.nested && rest.len > 2)
        e = tr_fail(err, TR_EINVAL, "beside eventStoreId and event there must be nothing but table");
    else if (!g.nested && !(g.event = tr_arena_copy(arena, tr_buf_view(&rest))).ptr)
        e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_buf_done(&rest);
    if (!e)
        *ret = g;
    return e;
}

static int find_store(tr_cli_events *c, members *m, const group_line *g, tr_eventstore **ret_store,
                      tr_error *err)
{
    char *id = tr_arena_str(&m->arena, g->store),
         *table = g->table.len ? tr_arena_str(&m->arena, g->table) : NULL;
    tr_buf name;
    tr_buf_init(&name, 4096);
    for (size_t i = 0; i < m->store_count; i++) {
        tr_buf_reset(&name);
        tr_eventstore_table(m->stores[i], &name);
        if (strcmp(tr_eventstore_id(m->stores[i]), id) == 0 &&
            (!table || tr_view_is(tr_buf_view(&name), table))) {
            *ret_store = m->stores[i];
            tr_buf_done(&name);
            return 0;
        }
    }
    tr_buf_done(&name);
    int e = tr_cli_open_store(c, id, table, &m->stores[m->store_count], err);
    if (!e)
        *ret_store = m->stores[m->store_count++];
    return e;
}

/* Only an aggregate to look at: aggregateId, and version unless --expect says what is wanted. */
static int read_check(tr_view json, tr_arena *arena, tr_event *ret_event, tr_error *err)
{
    tr_view id = {NULL, 0};
    int64_t version = 0;
    tr_json_reader r;
    tr_json_init(&r, json, arena);
    (void)tr_json_next(&r);
    while (tr_json_next_key(&r)) {
        tr_view name = r.text;
        tr_json_token token = tr_json_next(&r);
        if (tr_view_is(name, TR_EVENT_TABLE_PK) && token == TR_JSON_STRING)
            id = r.text;
        else if (!tr_view_is(name, TR_EVENT_TABLE_SK) || tr_json_int(&r, &version) || version < 0)
            return tr_fail(
                err, TR_EINVAL,
                "a check has eventStoreId, aggregateId and version (0: the aggregate has no events)");
    }
    *ret_event = (tr_event){.aggregate_id = id, .version = (uint64_t)version};
    return 0;
}

static int add_member(tr_cli_events *c, members *m, tr_event_expect expect, tr_view line, bool grouped,
                      tr_error *err)
{
    if (m->count == TR_EVENT_GROUP_MAX)
        return tr_fail(err, TR_ELIMIT, "a transaction has at most %d events", TR_EVENT_GROUP_MAX);
    tr_group_member *one = &m->list[m->count];
    group_line g = {.event = line};
    tr_view copy = tr_arena_copy(&m->arena, line);
    if (!copy.ptr)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    g.event = copy;
    *one = (tr_group_member){.store = c->store};
    int e = grouped ? read_group_line(copy, &m->arena, &g, err) : 0;
    if (!e && grouped)
        e = find_store(c, m, &g, &one->store, err);
    if (!e)
        e = g.check ? read_check(g.event, &m->arena, &one->event, err)
                    : tr_event_from_json(g.event, &m->arena, &one->event, err);
    if (e)
        return e;
    one->check_only = g.check;
    one->expect = g.check || one->event.version ? TR_EXPECT_VERSION : expect;
    m->nested[m->count++] = g.nested;
    return 0;
}

static int print_member(const tr_group_member *m, bool grouped, bool nested, tr_error *err)
{
    tr_buf out, event;
    tr_json_writer w;
    tr_buf_init(&out, ARENA_MAX);
    tr_buf_init(&event, ARENA_MAX);
    tr_json_write_init(&w, grouped && !nested ? &event : &out);
    if (grouped && nested) {
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, TR_EVENT_TABLE_EVENT_STORE_ID_KEY, tr_eventstore_id(m->store));
        tr_json_name(&w, "event");
    }
    tr_event_write(&w, &m->event, NULL);
    if (grouped && nested)
        tr_json_end_object(&w);
    if (grouped && !nested && tr_buf_status(&event) == 0) { /* one member more, in front */
        tr_json_write_init(&w, &out);
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, TR_EVENT_TABLE_EVENT_STORE_ID_KEY, tr_eventstore_id(m->store));
        tr_buf_putc(&out, ',');
        tr_buf_put(&out, event.ptr + 1, event.len - 1);
    }
    int e = tr_buf_status(&event);
    e = e ? tr_fail(err, e, "%s", tr_strerror(e)) : tr_cli_print_line(&out, err);
    tr_buf_done(&out);
    tr_buf_done(&event);
    return e;
}

static int push_members(tr_cli_events *c, members *m, bool grouped, tr_error *err)
{
    tr_group_options o = {.force = c->force, .strict = c->strict};
    size_t failed;
    int e = tr_eventstore_group_wait(m->list, m->count, &o, &m->arena, &failed, err);
    if (e && failed != SIZE_MAX) {
        tr_error first = *err; /* its code stays: a group that cannot be is wrong usage as a whole */
        return tr_fail_service(err, e, first.http_status, first.type, "line %llu: %.1900s",
                               (unsigned long long)m->numbers[failed], first.message);
    }
    if (m->store_count == 1) /* else it is not told which of the tables is meant */
        e = tr_cli_name_table(m->stores[0], e, err);
    for (size_t i = 0; !e && i < m->count; i++)
        if (!m->list[i].check_only)
            e = print_member(&m->list[i], grouped, m->nested[i], err);
    return e;
}

static int push_at_once(tr_cli_events *c, tr_event_expect expect, bool grouped, tr_error *err)
{
    members *m = tr_calloc(1, sizeof *m);
    tr_cli_lines lines;
    tr_view line;
    if (!m)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_cli_lines_init(&lines, stdin);
    tr_arena_init(&m->arena, TR_EVENT_GROUP_MAX * 4 * TR_CLI_LINE_MAX);
    int e;
    while (!(e = tr_cli_next_line(&lines, &line, err))) {
        if ((e = add_member(c, m, expect, line, grouped, err))) {
            e = tr_cli_line_error(&lines, e, err);
            break;
        }
        m->numbers[m->count - 1] = lines.number;
    }
    if (e == TR_ECLOSED)
        e = m->count ? push_members(c, m, grouped, err) : 0;
    for (size_t i = 0; i < m->store_count; i++)
        tr_eventstore_free(m->stores[i]);
    tr_arena_done(&m->arena);
    tr_cli_lines_done(&lines);
    tr_free(m);
    return e;
}

int tr_cli_events_push(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    tr_event_expect expect = TR_EXPECT_ANY;
    int e = tr_cli_events_expect(c, &expect, err);
    if (e)
        return e;
    return c->atomic ? push_at_once(c, expect, false, err) : push_lines(c, expect, err);
}

int tr_cli_events_group(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    tr_event_expect expect = TR_EXPECT_ANY;
    int e = tr_cli_events_expect(c, &expect, err);
    return e ? e : push_at_once(c, expect, true, err);
}
