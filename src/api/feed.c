/* SPDX-License-Identifier: MIT */
#include "api/records.h"
#include "api/server.h"

#include <stdio.h>

/*
 * Feeds: a table's changes as events. An event's id is "<stream label>/<sequence number>"; a client that
 * comes back with the last one it saw goes on behind it, also into the table's next stream when the old one
 * is read to its end.
 */

/* Records read between two looks at the loop. */
#define ROUND_BYTES    ((size_t)64 * 1024)
#define TABLE_TEXT_MAX 1024

static void attach(tr_feed *feed)
{
    tr_server *s = feed->server;
    feed->prev = NULL;
    feed->next = s->feeds;
    if (s->feeds)
        s->feeds->prev = feed;
    s->feeds = feed;
}

static void unlisten(tr_feed *feed)
{
    if (feed->listening)
        tr_engine_unlisten(feed->server->engine, &feed->listener);
    feed->listening = false;
}

void tr__feed_close(tr_feed *feed)
{
    if (feed->ended)
        return;
    feed->ended = true;
    unlisten(feed);
    if (feed->prev)
        feed->prev->next = feed->next;
    else
        feed->server->feeds = feed->next;
    if (feed->next)
        feed->next->prev = feed->prev;
    tr_free(feed->arn);
    tr_free(feed->label);
    feed->arn = feed->label = NULL;
}

static void finish(tr_feed *feed, int code)
{
    if (feed->ended)
        return;
    tr__feed_close(feed);
    feed->finish(feed, code);
}

static void on_news(tr_listener *listener)
{
    ((tr_feed *)listener->ctx)->room = SIZE_MAX; /* marks it for tr__feeds_wake */
}

/* ------------------------------------------------------------------------------------------------ opening */

/* A copy with a NUL behind it. */
static char *copy(tr_view text)
{
    char *out = tr_malloc(text.len + 1);
    if (out) {
        if (text.len)
            memcpy(out, text.ptr, text.len);
        out[text.len] = 0;
    }
    return out;
}

static tr_stream *stream_labelled(tr_server *s, tr_view table, tr_view label)
{
    for (tr_stream *x = tr_engine_next_stream(s->engine, (tr_view){NULL, 0}); x;
         x = tr_engine_next_stream(s->engine, x->arn))
        if (tr_view_eq(x->table_name, table) && tr_view_eq(x->label, label))
            return x;
    return NULL;
}

static uint64_t horizon(tr_server *s, const tr_stream *stream)
{
    return tr_engine_trim_horizon(s->engine, stream);
}

/* TR_EINVAL: the stream has not come to that number yet. */
static int check_position(tr_server *s, uint64_t sequence, tr_error *err)
{
    uint64_t newest;
    int e = tr__newest_sequence(s->engine, &newest);
    if (e)
        return tr_fail(err, e, "out of memory");
    return sequence <= newest ? 0 : tr_fail(err, TR_EINVAL, "the sequence number is beyond the newest one");
}

/* Behind the last event that the client saw. `newest`: the table's stream now, or NULL. */
static int position_after(tr_server *s, tr_feed *feed, tr_view table, tr_view last, tr_stream *newest,
                          tr_stream **ret_stream, tr_error *err)
{
    size_t slash = tr_view_find(last, TR_VIEW("/"), 0);
    uint64_t sequence;
    if (slash == SIZE_MAX ||
        tr_sequence_parse(tr_view_of(last.ptr + slash + 1, last.len - slash - 1), &sequence))
        return tr_fail(err, TR_EINVAL, "Last-Event-ID must be <stream label>/<sequence number>, not '%.*s'",
                       TR_FMT(last));
    tr_stream *stream = stream_labelled(s, table, tr_view_of(last.ptr, slash));
    if (stream && (stream == newest || sequence < tr_engine_stream_tip(s->engine, stream) || !newest)) {
        *ret_stream = stream;
        feed->position = sequence + 1;
        return check_position(s, sequence, err);
    }
    if (!newest)
        return 0; /* the caller tells that there is no stream */
    *ret_stream = newest;
    feed->position = horizon(s, newest);
    feed->gap = true; /* another stream: what came between the two is in neither */
    return 0;
}

/* Of the query's "from": latest (also without one), trim-horizon, or a sequence number. */
static int position_from(tr_server *s, tr_feed *feed, tr_view from, const tr_stream *stream, tr_error *err)
{
    if (!from.len || tr_view_is(from, "latest"))
        feed->position = tr_engine_stream_tip(s->engine, stream) + 1;
    else if (tr_view_is(from, "trim-horizon"))
        feed->position = horizon(s, stream);
    else if (tr_sequence_parse(from, &feed->position) == 0)
        return check_position(s, feed->position, err);
    else
        return tr_fail(err, TR_EINVAL, "from must be latest, trim-horizon or a sequence number, not '%.*s'",
                       TR_FMT(from));
    return 0;
}

static tr_view query_from(tr_view query)
{
    size_t at = tr_view_starts(query, TR_VIEW("from=")) ? 0 : tr_view_find(query, TR_VIEW("&from="), 0);
    if (at == SIZE_MAX)
        return (tr_view){NULL, 0};
    at = at ? at + 6 : 5;
    size_t end = tr_view_find(query, TR_VIEW("&"), at);
    return tr_view_of(query.ptr + at, (end == SIZE_MAX ? query.len : end) - at);
}

int tr__feed_open(tr_server *s, tr_view path, tr_view query, tr_view last_event_id, tr_feed *feed,
                  tr_error *err)
{
    const size_t before = strlen("/streams/"), after = strlen("/events");
    if (path.len <= before + after || path.len > TABLE_TEXT_MAX)
        return tr_fail(err, TR_ENOTFOUND,
                       "there is no such path; event streams are at /streams/TABLE/events");
    tr_view name = tr_view_of(path.ptr + before, path.len - before - after);
    const tr_table *table = tr_engine_table(s->engine, name);
    tr_stream *newest = table && table->stream && !table->stream->disabled_ms ? table->stream : NULL;
    tr_stream *stream = newest;
    int e = 0;
    feed->server = s;
    if (last_event_id.len)
        e = position_after(s, feed, name, last_event_id, newest, &stream, err);
    if (e)
        return e;
    if (!stream)
        return tr_fail(err, TR_ENOTFOUND, table ? "the table %.*s has no stream" : "there is no table %.*s",
                       TR_FMT(name));
    if (!last_event_id.len)
        e = position_from(s, feed, query_from(query), stream, err);
    if (e)
        return e;
    feed->arn = copy(stream->arn);
    feed->label = copy(stream->label);
    if (!feed->arn || !feed->label) {
        tr_free(feed->arn);
        tr_free(feed->label);
        return tr_fail(err, TR_ENOMEM, "out of memory");
    }
    attach(feed);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ reading */

/** A round of reading. */
typedef struct reading {
    tr_feed *feed;
    const tr_stream *stream;
    tr_buf data;
    size_t emitted;
} reading;

static bool take(void *ctx, const tr_stream_change *change)
{
    reading *r = ctx;
    char id[256];
    tr_record_text text;
    tr_record record;
    tr_json_writer w;
    tr__record_of(r->stream, "", change, &text, &record);
    tr_buf_reset(&r->data);
    tr_json_write_init(&w, &r->data);
    tr_record_write_plain(&w, &record);
    if (tr_buf_status(&r->data))
        return false; /* and the round comes back to it */
    int n = snprintf(id, sizeof id, "%s/%s", r->feed->label, text.sequence);
    r->feed->emit(r->feed, tr_view_of(id, (size_t)n), (tr_view){NULL, 0}, tr_buf_view(&r->data));
    r->emitted += r->data.len + (size_t)n;
    r->feed->position = change->sequence + 1;
    return r->emitted < r->feed->room;
}

/* Changes may be missing here, as tr_gap_reason has it. */
static void emit_gap(reading *r, bool stream_gone)
{
    r->feed->gap = false;
    r->feed->emit(r->feed, (tr_view){NULL, 0}, TR_VIEW("gap"),
                  stream_gone
                      ? TR_VIEW("{\"event\":\"gap\",\"reason\":\"stream-gone\",\"message\":\"the stream "
                                "that was followed is gone or at its end: changes before the table's next "
                                "one may be missing\"}")
                      : TR_VIEW("{\"event\":\"gap\",\"reason\":\"trimmed\",\"message\":\"changes before "
                                "the next one were trimmed from the stream\"}"));
    r->emitted++;
}

/* Whether all that ever comes of a disabled stream was read. */
static bool at_end(const reading *r)
{
    return r->stream->disabled_ms &&
           r->feed->position > tr_engine_stream_tip(r->feed->server->engine, r->stream);
}

static int read_round(reading *r, tr_stream *stream)
{
    tr_engine *engine = r->feed->server->engine;
    tr_error err;
    uint64_t next;
    if (r->feed->gap)
        emit_gap(r, true);
    int e = tr_engine_read_stream(engine, stream, r->feed->position, take, r, &next, &err);
    if (e == TR_ETRIMMED) {
        emit_gap(r, false);
        r->feed->position = horizon(r->feed->server, stream);
        e = tr_engine_read_stream(engine, stream, r->feed->position, take, r, &next, &err);
    }
    if (e == 0 && r->emitted < r->feed->room && next > r->feed->position)
        r->feed->position = next;
    return e;
}

/* Listens again when all is read, so that news between reading and listening is not missed: both happen on
 * the engine's thread, between two polls. */
static void hear(tr_feed *feed, const tr_stream *stream)
{
    if (feed->listening)
        return;
    feed->listener = (tr_listener){.stream = stream, .fn = on_news, .ctx = feed};
    tr_engine_listen(feed->server->engine, &feed->listener);
    feed->listening = true;
}

void tr__feed_pump(tr_feed *feed)
{
    tr_server *s = feed->server;
    for (;;) {
        if (feed->ended || !s->engine)
            return;
        size_t room = feed->space(feed);
        tr_stream *stream = tr_engine_stream(s->engine, tr_view_str(feed->arn));
        if (!stream) {
            finish(feed, 0);
            return;
        }
        hear(feed, stream);
        feed->room = room < ROUND_BYTES ? room : ROUND_BYTES;
        if (!room)
            return; /* called again when there is some */
        reading r = {.feed = feed, .stream = stream};
        tr_buf_init(&r.data, TR_API_REPLY_MAX);
        int e = read_round(&r, stream);
        tr_buf_done(&r.data);
        if (r.emitted)
            feed->flush(feed);
        bool more = r.emitted >= feed->room;
        if (feed->ended)
            return; /* by what took the events */
        if (e || at_end(&r)) {
            finish(feed, e);
            return;
        }
        if (!more)
            return;
    }
}

void tr__feeds_wake(tr_server *s)
{
    tr_feed *next;
    for (tr_feed *feed = s->feeds; feed; feed = next) {
        next = feed->next;
        if (feed->room == SIZE_MAX)
            tr__feed_pump(feed);
    }
}

void tr__feeds_stop(tr_server *s)
{
    while (s->feeds)
        finish(s->feeds, TR_ECLOSED);
}
