/* SPDX-License-Identifier: MIT */
/*
 * Replays: a page of the archive at a time, put on the bus again with the replay's name. How far it got is in
 * the replay's document, written in the same batch as the deliveries of its page: after a crash it goes on
 * there.
 */
#include "bus/bus_private.h"

#define PAGE        100
#define BACKLOG_MAX 10000 /* deliveries that may be pending before it waits */

typedef struct replay_page {
    tr_bus *b;
    tr_view bus_name, filters, name;
    tr_buf text;
    int64_t after, last_ms;
    unsigned count;
} replay_page;

static int replay_one(void *ctx, const tr_archive_row *event)
{
    replay_page *p = ctx;
    tr_error err;
    tr_buf name;
    tr_json_writer w;
    tr_buf_init(&name, 1024);
    tr_json_write_init(&w, &name);
    tr_json_string(&w, p->name);
    tr_buf_reset(&p->text);
    tr_doc_with(event->event, "replay-name", tr_buf_view(&name), &p->text);
    tr_buf_done(&name);
    int e = tr_buf_status(&p->text);
    const tr_publish publish = {.text = tr_buf_view(&p->text), .filters = p->filters, .replayed = true};
    if (e == 0)
        e = tr__bus_relay(p->b, p->bus_name, &publish, &err);
    if (e == TR_EPARSE)
        e = 0; /* a line of an archive from elsewhere that is no event */
    if (e)
        return e;
    p->after = event->id;
    p->count++;
    (void)tr_time_parse(event->created_at, &p->last_ms);
    return 0;
}

static void set_number(tr_buf *doc, tr_buf *next, const char *name, int64_t number)
{
    char text[24];
    tr_buf number_text;
    tr_json_writer w;
    tr_buf_init(&number_text, sizeof text);
    tr_json_write_init(&w, &number_text);
    tr_json_i64(&w, number);
    tr_buf_reset(next);
    tr_doc_with(tr_buf_view(doc), name, tr_buf_view(&number_text), next);
    tr_buf_done(&number_text);
    tr_buf swap = *doc;
    *doc = *next;
    *next = swap;
}

static void set_text(tr_buf *doc, tr_buf *next, const char *name, tr_view raw)
{
    tr_buf_reset(next);
    tr_doc_with(tr_buf_view(doc), name, raw, next);
    tr_buf swap = *doc;
    *doc = *next;
    *next = swap;
}

static void save(tr_bus *b, tr_res *replay, const replay_page *p, tr_view state)
{
    tr_buf doc, next;
    tr_buf_init(&doc, TR__BUS_TEXT_MAX);
    tr_buf_init(&next, TR__BUS_TEXT_MAX);
    tr_buf_put_view(&doc, replay->doc);
    set_text(&doc, &next, "State", state);
    set_number(&doc, &next, "After", p->after);
    if (p->last_ms)
        set_number(&doc, &next, "EventLastReplayedTime", p->last_ms);
    if (!tr_view_is(state, "\"RUNNING\""))
        set_number(&doc, &next, "ReplayEndTime", tr_engine_now_ms(b->engine));
    if (tr_buf_status(&doc) || tr_bus_update(b, replay, tr_buf_view(&doc)))
        tr_log(&b->options.logger, TR_LOG_ERROR, "a replay's progress cannot be kept: out of memory");
    tr_buf_done(&doc);
    tr_buf_done(&next);
}

static bool step(tr_bus *b, tr_res *replay)
{
    tr_arena arena;
    tr_error err;
    tr_arena_init(&arena, TR__BUS_TEXT_MAX);
    tr_view destination = tr_doc_raw(replay->doc, "Destination");
    replay_page p = {.b = b,
                     .bus_name =
                         tr__arn_name(tr_doc_text(destination, "Arn", &arena), "events", "event-bus/"),
                     .filters = tr_doc_raw(destination, "FilterArns"),
                     .name = replay->name,
                     .after = tr_doc_int(replay->doc, "After", 0)};
    tr_view state = TR_VIEW("\"RUNNING\"");
    tr_res *archive =
        tr_bus_find(b, TR_RES_ARCHIVE,
                    tr__arn_name(tr_doc_text(replay->doc, "EventSourceArn", &arena), "events", "archive/"));
    tr_buf_init(&p.text, TR__BUS_TEXT_MAX);
    if (tr_view_is(tr_doc_raw(replay->doc, "State"), "\"CANCELLING\"")) {
        state = TR_VIEW("\"CANCELLED\"");
    } else if (!archive || !p.bus_name.ptr) {
        state = TR_VIEW("\"FAILED\"");
    } else {
        const tr_archive_filter query = {.after = p.after,
                                         .from_ms = tr_doc_int(replay->doc, "EventStartTime", 0),
                                         .to_ms = tr_doc_int(replay->doc, "EventEndTime", 0)};
        b->replaying = true;
        int e = tr_archive_read(b, archive, &query, PAGE, replay_one, &p, NULL, &err);
        b->replaying = false;
        if (e && e != TR_ETHROTTLED)
            state = TR_VIEW("\"FAILED\"");
        else if (e == 0 && p.count < PAGE)
            state = TR_VIEW("\"COMPLETED\"");
    }
    tr_buf_done(&p.text);
    save(b, replay, &p, state);
    tr_arena_done(&arena);
    return tr_view_is(state, "\"RUNNING\"");
}

bool tr__replays_step(tr_bus *b)
{
    bool more = false;
    for (size_t i = 0; i < b->res[TR_RES_REPLAY].count; i++) {
        tr_res *replay = b->res[TR_RES_REPLAY].items[i];
        tr_view state = tr_doc_raw(replay->doc, "State");
        bool runs = tr_view_is(state, "\"STARTING\"") || tr_view_is(state, "\"RUNNING\"") ||
                    tr_view_is(state, "\"CANCELLING\"");
        if (runs && b->pending < BACKLOG_MAX)
            more |= step(b, replay);
    }
    return more;
}
