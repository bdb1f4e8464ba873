/* SPDX-License-Identifier: MIT */
/* events project: a read model, by declared rules or by the user's code. */
#include "cli/events.h"

#include <tailrace/projection.h>

#include <stdio.h>

#define TEXT_MAX   ((size_t)64 << 20)
#define ROUNDS_MAX 10 /* how often code may ask for more rows */

/* Code is given {"event":{"eventStoreId":…,"event":{…}},"rows":{"<store>#<aggregate>":{…} or null}} and
 * answers
 * {"rows":{"KEY":{…} or null,…}}: rows to put and to delete; or {"need":["KEY",…]}, and is asked again with
 * these rows as well. */
typedef struct projecting {
    tr_cli_events *c;
    tr_rules *rules;
    tr_handler *handler;
    tr_projection *projection;
    tr_buf request, answer, key, row;
    tr_arena arena;
    char path[4096];
} projecting;

static int write_row(tr_projecting *rows, tr_view key, tr_json_writer *w, tr_error *err)
{
    tr_item row;
    tr_error missing;
    tr_json_key(w, key);
    int e = tr_project_get(rows, key, &row, &missing);
    if (e == TR_ENOTFOUND) {
        tr_json_null(w);
        return 0;
    }
    if (e)
        return tr_fail(err, e, "%s", missing.message);
    tr_item_write_plain(w, row);
    return 0;
}

/* The request with the event's own row, and those in `need` (a JSON array of keys, or empty). */
static int write_request(projecting *p, tr_projecting *rows, const tr_subscribed *s, tr_view need,
                         tr_error *err)
{
    tr_json_writer w;
    tr_json_reader r;
    tr_buf_reset(&p->request);
    tr_buf_reset(&p->key);
    tr_buf_printf(&p->key, "%.*s#%.*s", TR_FMT(s->store_id), TR_FMT(s->event.aggregate_id));
    tr_json_write_init(&w, &p->request);
    tr_json_begin_object(&w);
    tr_json_name(&w, "event");
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "eventStoreId", s->store_id);
    tr_json_name(&w, "event");
    tr_event_write(&w, &s->event, NULL);
    tr_json_end_object(&w);
    tr_json_name(&w, "rows");
    tr_json_begin_object(&w);
    int e = write_row(rows, tr_buf_view(&p->key), &w, err);
    if (!e && need.len) {
        tr_json_init(&r, need, &p->arena);
        (void)tr_json_next(&r);
        while (!e && tr_json_next(&r) == TR_JSON_STRING)
            if (!tr_view_eq(r.text, tr_buf_view(&p->key)))
                e = write_row(rows, r.text, &w, err);
        if (!e && r.token != TR_JSON_ARRAY_END)
            e = tr_fail(err, TR_EPARSE, "\"need\" is an array of keys");
    }
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    return e                            ? e
           : tr_buf_status(&p->request) ? tr_fail(err, tr_buf_status(&p->request), "rows are too large")
                                        : 0;
}

static int take_rows(projecting *p, tr_projecting *rows, tr_view json, tr_error *err)
{
    tr_json_reader r;
    tr_item_error problem;
    int e = 0;
    tr_json_init(&r, json, &p->arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return tr_fail(err, TR_EPARSE, "\"rows\" is an object");
    while (!e && tr_json_next_key(&r)) {
        tr_view key = r.text;
        tr_json_token t = tr_json_next(&r);
        tr_buf_reset(&p->row);
        if (t == TR_JSON_NULL)
            e = tr_project_delete(rows, key, err);
        else if (t != TR_JSON_OBJECT)
            e = tr_fail(err, TR_EPARSE, "row '%.*s' is neither an object nor null", TR_FMT(key));
        else if ((e = tr_item_read_plain(&r, TR_PLAIN_EXACT, &p->row, &problem)))
            (void)tr_item_error_to(&problem, e, &r, err);
        else
            e = tr_project_put(rows, key, tr_buf_view(&p->row), err);
    }
    return !e && r.token != TR_JSON_OBJECT_END ? tr_fail(err, TR_EPARSE, "\"rows\" is not valid JSON") : e;
}

/* An answer of code; *ret_need is empty if it is the last one. */
static int take_answer(projecting *p, tr_projecting *rows, tr_view *ret_need, tr_error *err)
{
    tr_view answer = tr_buf_view(&p->answer), found;
    *ret_need = (tr_view){NULL, 0};
    if (answer.len == 0 || tr_json_member(answer, "rows", &p->arena, &found) == TR_EPARSE)
        return answer.len ? tr_fail(err, TR_EPARSE, "the answer is no JSON object") : 0;
    if (tr_json_member(answer, "need", &p->arena, &found) == 0 && found.ptr[0] == '[')
        *ret_need = found;
    else if (tr_json_member(answer, "rows", &p->arena, &found) == 0)
        return take_rows(p, rows, found, err);
    return 0;
}

static int project_by_code(void *ctx, tr_projecting *rows, const tr_subscribed *s, tr_error *err)
{
    projecting *p = ctx;
    tr_view need = {NULL, 0};
    tr_arena_reset(&p->arena);
    for (int round = 0; round < ROUNDS_MAX; round++) {
        int e = write_request(p, rows, s, need, err);
        if (e)
            return e;
        tr_buf_reset(&p->answer);
        e = tr_handler_invoke_wait(p->handler, tr_buf_view(&p->request), &p->answer, err);
        if (e == TR_EINVAL || e == TR_ENOMEM)
            return e;
        if (e) /* whatever it was: again after a pause */
            return tr_fail(err, TR_ECONNECT, "%.*s#%.*s version %llu: %.1000s", TR_FMT(s->store_id),
                           TR_FMT(s->event.aggregate_id), (unsigned long long)s->event.version, err->message);
        tr_view answer = tr_arena_copy(&p->arena, tr_buf_view(&p->answer));
        if (p->answer.len && !answer.ptr)
            return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
        e = take_answer(p, rows, &need, err);
        if (e || need.len == 0)
            return e;
        need = tr_arena_copy(&p->arena, need);
    }
    return tr_fail(err, TR_EINVAL, "the code asks for rows again and again");
}

/* ------------------------------------------------------------------------------------------------- command
 */

static int open_function(projecting *p, tr_projection_options *o, tr_error *err)
{
    tr_cli_events *c = p->c;
    if (c->code.given) {
        o->project = project_by_code;
        o->ctx = p;
        tr_cli_code_place(&c->code, c->place.client);
        return tr_cli_code_open(&c->code, &p->handler, err);
    }
    int e = tr_cli_open_rules(c, &p->rules, err);
    if (!e) {
        o->reducer = tr_rules_reducer(p->rules);
        if (!o->version)
            o->version = o->reducer->version;
    }
    return e;
}

static int where(const tr_cli_events *c, tr_projection_options *o, tr_error *err)
{
    if (c->to && strncmp(c->to, "sqlite:", 7) == 0 && c->to[7])
        o->sqlite = c->to + 7;
    else if (c->to && strncmp(c->to, "table:", 6) == 0 && c->to[6])
        o->table = c->to + 6;
    else
        return tr_fail(err, TR_EINVAL, "where are the rows? --to sqlite:FILE or --to table:TABLE is needed");
    return 0;
}

static void stop(void *ctx)
{
    tr_projection_stop(((projecting *)ctx)->projection);
}

static int run(projecting *p, tr_projection_options *o, tr_error *err)
{
    tr_cli_events *c = p->c;
    char more[4200];
    tr_projection_stats stats;
    int e = where(c, o, err);
    if (!e)
        e = open_function(p, o, err);
    (void)snprintf(more, sizeof more, "%s %s", o->name, c->to);
    if (!e)
        e = tr_cli_events_state(c, "events-project", more, p->path, sizeof p->path, err);
    o->state = p->path;
    if (!e)
        e = tr_projection_new(c->place.client, o, &p->projection, err);
    if (e)
        return e;
    tr_cli_on_stop(stop, p);
    e = tr_projection_run(p->projection, err);
    tr_cli_ignore_stop();
    tr_projection_get_stats(p->projection, &stats);
    tr_cli_message(TR_LOG_INFO, "%s: %llu event(s) projected, generation %llu serves", o->name,
                   (unsigned long long)(stats.events - stats.repeated), (unsigned long long)stats.serving);
    return e;
}

int tr_cli_events_project(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    projecting p = {.c = c};
    tr_projection_options o = {.name = c->cli->argv[1],
                               .version = c->version,
                               .rebuild = c->rebuild,
                               .once = c->once,
                               .logger = tr_cli_logger()};
    tr_cli_events_selection(c, &o.select);
    o.select.stores++; /* behind the projection's name */
    o.select.store_count--;
    tr_buf_init(&p.request, TEXT_MAX);
    tr_buf_init(&p.answer, TEXT_MAX);
    tr_buf_init(&p.key, 2 * TR_EVENT_KEY_MAX);
    tr_buf_init(&p.row, TEXT_MAX);
    tr_arena_init(&p.arena, 4 * TEXT_MAX);
    int e = run(&p, &o, err);
    tr_projection_free(p.projection);
    tr_handler_free(p.handler);
    tr_rules_free(p.rules);
    tr_buf_done(&p.request);
    tr_buf_done(&p.answer);
    tr_buf_done(&p.key);
    tr_buf_done(&p.row);
    tr_arena_done(&p.arena);
    return e;
}
