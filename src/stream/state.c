/* SPDX-License-Identifier: MIT */
#include "stream/machine.h"

#include <stdio.h>

/*
 * The state as JSON, written and read, and the two forms that are read beside our own: none (an empty text),
 * and dynamodb-stream's {"<id>":{"shardId":"<id>","nextShardIterator":"…"}}.
 */

#define STATE_FORMAT "tailrace-stream"

/* --------------------------------------------------------------------------------------------- writing */

tr_view tr__pos_text(const tr__pos *pos)
{
    switch (pos->kind) {
    case TR__POS_TRIM:
    case TR__POS_AT:
        return TR_VIEW("TRIM_HORIZON");
    case TR__POS_LATEST:
        return TR_VIEW("LATEST");
    case TR__POS_ITERATOR:
        return TR_VIEW("ITERATOR");
    case TR__POS_END:
        return TR_VIEW("SHARD_END");
    case TR__POS_AFTER:
        break;
    }
    return tr__seq_view(&pos->seq);
}

bool tr__pos_needs_extra(const tr__shard *s, const tr__pos *pos)
{
    bool placed = pos->kind == TR__POS_AT || pos->kind == TR__POS_LATEST || pos->kind == TR__POS_ITERATOR;
    bool skips = pos->floor.len || pos->since_ms >= 0;
    /* the age of a shard stands in its id, but for servers that name them otherwise */
    bool ageless = pos->kind == TR__POS_TRIM && pos->born_ms >= 0 && tr__shard_time(s->id) < 0;
    return pos->kind != TR__POS_END && (placed || skips || ageless);
}

void tr__pos_write_extra(tr_json_writer *w, const tr__shard *s, const tr__pos *pos)
{
    if (pos->kind == TR__POS_END)
        return;
    if (pos->kind == TR__POS_AT)
        tr_json_member_string(w, "at", tr__seq_view(&pos->seq));
    if (pos->floor.len) {
        tr_json_member_string(w, "floor", tr__seq_view(&pos->floor));
        tr_json_member_bool(w, "floor_inclusive", pos->floor_inclusive);
    }
    if (pos->since_ms >= 0)
        tr_json_member_i64(w, "since", pos->since_ms);
    if (pos->born_ms >= 0)
        tr_json_member_i64(w, "born", pos->born_ms);
    if (s->note_iterator && (pos->kind == TR__POS_LATEST || pos->kind == TR__POS_ITERATOR)) {
        tr_json_member_cstring(w, "iterator", s->note_iterator);
        tr_json_member_i64(w, "iterator_time", s->note_ms);
    }
}

static void write_shard(tr_json_writer *w, const tr__shard *s)
{
    tr_json_key(w, tr_view_str(s->id));
    tr_json_begin_object(w);
    tr_json_member_string(w, "checkpoint", tr__pos_text(&s->ack));
    if (s->parent[0])
        tr_json_member_cstring(w, "parent", s->parent);
    tr__pos_write_extra(w, s, &s->ack);
    tr_json_end_object(w);
}

void tr__state_write(tr__core *core, tr_buf *ret_json)
{
    tr_json_writer w;
    tr_json_write_init(&w, ret_json);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "format", STATE_FORMAT);
    tr_json_member_i64(&w, "version", TR_STREAM_STATE_VERSION);
    if (core->table)
        tr_json_member_cstring(&w, "table", core->table);
    if (core->arn[0])
        tr_json_member_cstring(&w, "stream_arn", core->arn);
    tr_json_member_i64(&w, "saved_at", core->wall);
    if (core->since_ms >= 0)
        tr_json_member_i64(&w, "since", core->since_ms);
    if (core->floor.len) {
        tr_json_member_string(&w, "floor", tr__seq_view(&core->floor));
        tr_json_member_bool(&w, "floor_inclusive", core->floor_inclusive);
    }
    tr_json_name(&w, "shards");
    tr_json_begin_object(&w);
    for (tr__shard *s = core->shards; s; s = s->hh.next)
        if (tr__lease_ours(core, s))
            write_shard(&w, s);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
}

int tr__core_get_state(tr__core *core, tr_buf *ret_json)
{
    if (!core->fleet && core->stage < TR__STAGE_SAVE && !core->resumed)
        return TR_EBUSY;
    size_t len = ret_json->len;
    tr__state_write(core, ret_json);
    int code = tr_buf_status(ret_json);
    if (code)
        ret_json->len = len;
    return code;
}

/* --------------------------------------------------------------------------------------------- reading */

typedef struct state_reader {
    tr_json_reader r;
    tr_arena arena;
    tr__core *core;
    tr_error *err;
    bool foreign; /* dynamodb-stream's form */
    bool ours;    /* "format" was there */
} state_reader;

typedef struct shard_state {
    tr_view checkpoint, parent, at, floor, iterator;
    bool floor_inclusive, iterator_null;
    int64_t since, born, iterator_time;
} shard_state;

static int bad(state_reader *sr, const char *what)
{
    return tr_fail(sr->err, TR_EPARSE, "the saved state is damaged: %s", what);
}

static int text(state_reader *sr, tr_view *ret)
{
    if (tr_json_next(&sr->r) != TR_JSON_STRING)
        return bad(sr, "a text was expected");
    *ret = sr->r.text;
    return 0;
}

static int integer(state_reader *sr, int64_t *ret)
{
    if (tr_json_next(&sr->r) != TR_JSON_NUMBER || tr_json_int(&sr->r, ret))
        return bad(sr, "a whole number was expected");
    return 0;
}

static int boolean(state_reader *sr, bool *ret)
{
    tr_json_token t = tr_json_next(&sr->r);
    if (t != TR_JSON_TRUE && t != TR_JSON_FALSE)
        return bad(sr, "true or false was expected");
    *ret = t == TR_JSON_TRUE;
    return 0;
}

static int skip(state_reader *sr)
{
    (void)tr_json_next(&sr->r);
    return tr_json_skip(&sr->r) ? bad(sr, "no JSON") : 0;
}

static int iterator_member(state_reader *sr, shard_state *st)
{
    tr_json_token t = tr_json_next(&sr->r);
    if (t == TR_JSON_NULL)
        st->iterator_null = true; /* dynamodb-stream: read to its end */
    else if (t == TR_JSON_STRING)
        st->iterator = sr->r.text;
    else
        return bad(sr, "an iterator was expected");
    return st->iterator.len > TR__ITERATOR_MAX ? bad(sr, "an iterator is too long") : 0;
}

static int shard_member(state_reader *sr, shard_state *st)
{
    tr_view name = sr->r.text;
    if (tr_view_is(name, "checkpoint"))
        return text(sr, &st->checkpoint);
    if (tr_view_is(name, "parent"))
        return text(sr, &st->parent);
    if (tr_view_is(name, "at"))
        return text(sr, &st->at);
    if (tr_view_is(name, "floor"))
        return text(sr, &st->floor);
    if (tr_view_is(name, "floor_inclusive"))
        return boolean(sr, &st->floor_inclusive);
    if (tr_view_is(name, "since"))
        return integer(sr, &st->since);
    if (tr_view_is(name, "born"))
        return integer(sr, &st->born);
    if (tr_view_is(name, "iterator_time"))
        return integer(sr, &st->iterator_time);
    if (tr_view_is(name, "iterator") || tr_view_is(name, "nextShardIterator"))
        return iterator_member(sr, st);
    return skip(sr);
}

int tr__pos_parse(tr_view checkpoint, tr_view at, bool has_iterator, tr__pos *pos)
{
    if (tr_view_is(checkpoint, "SHARD_END"))
        pos->kind = TR__POS_END;
    else if (tr_view_is(checkpoint, "LATEST"))
        pos->kind = TR__POS_LATEST;
    else if (tr_view_is(checkpoint, "ITERATOR"))
        pos->kind = TR__POS_ITERATOR;
    else if (tr_sequence_valid(checkpoint))
        pos->kind = TR__POS_AFTER;
    else if (tr_view_is(checkpoint,
                        "AT_TIMESTAMP")) /* the library's, whose time is in its configuration only */
        pos->kind = TR__POS_TRIM;
    else if (tr_view_is(checkpoint, "TRIM_HORIZON"))
        pos->kind = at.len ? TR__POS_AT : has_iterator ? TR__POS_ITERATOR : TR__POS_TRIM;
    else
        return TR_EPARSE;
    if (pos->kind == TR__POS_AT && !tr_sequence_valid(at))
        return TR_EPARSE;
    pos->seq = pos->kind == TR__POS_AT      ? tr__seq_of(at)
               : pos->kind == TR__POS_AFTER ? tr__seq_of(checkpoint)
                                            : (tr__seq){0};
    return 0;
}

static int note(tr__shard *s, const shard_state *st)
{
    if (!st->iterator.len)
        return 0;
    char *copy = tr_malloc(st->iterator.len + 1);
    if (!copy)
        return TR_ENOMEM;
    memcpy(copy, st->iterator.ptr, st->iterator.len);
    copy[st->iterator.len] = 0;
    tr_free(s->note_iterator);
    s->note_iterator = copy;
    s->note_ms = st->iterator_time;
    return 0;
}

static int add_shard(state_reader *sr, tr_view id, shard_state *st)
{
    tr__shard *s = tr__graph_find(sr->core, id);
    if (s)
        return bad(sr, "a shard is there twice");
    tr__pos pos = {.since_ms = st->since, .born_ms = st->born, .floor_inclusive = st->floor_inclusive};
    if (st->floor.len && !tr_sequence_valid(st->floor))
        return bad(sr, "a floor is no sequence number");
    pos.floor = tr__seq_of(st->floor);
    if (sr->foreign)
        st->checkpoint = st->iterator_null  ? TR_VIEW("SHARD_END")
                         : st->iterator.len ? TR_VIEW("ITERATOR")
                                            : TR_VIEW("TRIM_HORIZON");
    if (tr__pos_parse(st->checkpoint, st->at, st->iterator.len > 0, &pos))
        return bad(sr, "a checkpoint is none of TRIM_HORIZON, LATEST, SHARD_END, and no sequence number");
    int code = tr__graph_add(sr->core, id, st->parent, &s);
    if (code)
        return tr_fail(sr->err, code, "a shard of the saved state cannot be taken in: %s", tr_strerror(code));
    s->ack = s->saved_pos = pos;
    s->announced = true;
    if (note(s, st))
        return tr_fail(sr->err, TR_ENOMEM, "no memory for the saved state");
    if (pos.kind == TR__POS_END) {
        s->end_version = s->version;
        s->closed = true;
        tr__shard_phase(sr->core, s, TR__PHASE_FINISHED);
    }
    return 0;
}

int tr__pos_read(tr__shard *s, tr_view checkpoint, tr_view extra)
{
    shard_state st = {.since = -1, .born = -1, .iterator_time = -1};
    state_reader sr = {0};
    tr_arena_init(&sr.arena, 64 * 1024);
    int code = 0;
    if (extra.len) {
        tr_json_init(&sr.r, extra, &sr.arena);
        code = tr_json_next(&sr.r) == TR_JSON_OBJECT ? 0 : TR_EPARSE;
        while (code == 0 && tr_json_next_key(&sr.r))
            code = shard_member(&sr, &st);
    }
    tr__pos pos = {.since_ms = st.since, .born_ms = st.born, .floor_inclusive = st.floor_inclusive};
    pos.floor = tr_sequence_valid(st.floor) ? tr__seq_of(st.floor) : (tr__seq){0};
    if (code == 0)
        code = tr__pos_parse(checkpoint, st.at, st.iterator.len > 0, &pos);
    if (code == 0)
        code = note(s, &st);
    if (code == 0)
        s->ack = pos;
    tr_arena_done(&sr.arena);
    return code;
}

/** Behind the shard's key. */
static int read_shard(state_reader *sr, tr_view id)
{
    shard_state st = {.since = -1, .born = -1, .iterator_time = -1};
    int code = 0;
    while (code == 0 && tr_json_next_key(&sr->r))
        code = shard_member(sr, &st);
    if (code)
        return code;
    if (sr->r.token != TR_JSON_OBJECT_END)
        return bad(sr, "no JSON");
    return add_shard(sr, id, &st);
}

static int read_shards(state_reader *sr)
{
    if (tr_json_next(&sr->r) != TR_JSON_OBJECT)
        return bad(sr, "shards is no object");
    while (tr_json_next_key(&sr->r)) {
        tr_view id = sr->r.text;
        if (tr_json_next(&sr->r) != TR_JSON_OBJECT)
            return bad(sr, "a shard is no object");
        int code = read_shard(sr, id);
        if (code)
            return code;
    }
    return sr->r.token == TR_JSON_OBJECT_END ? 0 : bad(sr, "no JSON");
}

static int set_arn(state_reader *sr, tr_view arn)
{
    tr__core *core = sr->core;
    if (arn.len > TR_STREAM_ARN_MAX || memchr(arn.ptr, 0, arn.len))
        return bad(sr, "the stream_arn is too long");
    if (!core->table && core->arn[0] && !tr_view_is(arn, core->arn))
        return tr_fail(sr->err, TR_EINVAL, "the state is of stream %.*s, not of %s", TR_FMT(arn), core->arn);
    (void)snprintf(core->arn, sizeof core->arn, "%.*s", TR_FMT(arn));
    return 0;
}

static int state_member(state_reader *sr)
{
    tr__core *core = sr->core;
    tr_view name = sr->r.text, value;
    int64_t version;
    int code;
    if (tr_view_is(name, "shards"))
        return read_shards(sr);
    if (tr_view_is(name, "format")) {
        sr->ours = true;
        code = text(sr, &value);
        return code ? code : tr_view_is(value, STATE_FORMAT) ? 0 : bad(sr, "its format is not " STATE_FORMAT);
    }
    if (tr_view_is(name, "version")) {
        code = integer(sr, &version);
        if (code == 0 && version > TR_STREAM_STATE_VERSION)
            return tr_fail(sr->err, TR_EVERSION,
                           "the saved state has version %lld; this program reads up to %d",
                           (long long)version, TR_STREAM_STATE_VERSION);
        return code;
    }
    if (tr_view_is(name, "stream_arn")) {
        code = text(sr, &value);
        return code ? code : set_arn(sr, value);
    }
    if (tr_view_is(name, "since"))
        return integer(sr, &core->since_ms);
    if (tr_view_is(name, "floor_inclusive"))
        return boolean(sr, &core->floor_inclusive);
    if (tr_view_is(name, "floor")) {
        code = text(sr, &value);
        if (code == 0 && !tr_sequence_valid(value))
            code = bad(sr, "a floor is no sequence number");
        if (code == 0)
            core->floor = tr__seq_of(value);
        return code;
    }
    return skip(sr);
}

/** Whether the first member's value is an object with a shardId: then all members are shards. */
static bool looks_foreign(tr_view json)
{
    tr_arena arena;
    tr_arena_init(&arena, 1 << 16);
    tr_json_reader r;
    tr_json_init(&r, json, &arena);
    bool foreign = false;
    if (tr_json_next(&r) == TR_JSON_OBJECT && tr_json_next_key(&r) && tr_json_next(&r) == TR_JSON_OBJECT) {
        while (!foreign && tr_json_next_key(&r)) {
            foreign = tr_view_is(r.text, "shardId");
            (void)tr_json_next(&r);
            if (tr_json_skip(&r))
                break;
        }
    }
    tr_arena_done(&arena);
    return foreign;
}

static int read_document(state_reader *sr)
{
    tr_json_token t = tr_json_next(&sr->r);
    if (t != TR_JSON_OBJECT)
        return bad(sr, "no JSON object");
    int code = 0;
    while (code == 0 && tr_json_next_key(&sr->r)) {
        if (!sr->foreign) {
            code = state_member(sr);
            continue;
        }
        tr_view id = sr->r.text;
        code = tr_json_next(&sr->r) == TR_JSON_OBJECT ? read_shard(sr, id) : bad(sr, "a shard is no object");
    }
    if (code)
        return code;
    if (sr->r.token != TR_JSON_OBJECT_END || tr_json_next(&sr->r) != TR_JSON_DONE)
        return bad(sr, "no JSON");
    /* dynamodb-stream writes {} before its first fetch: nothing is known */
    return 0;
}

int tr__state_read(tr__core *core, tr_view json, tr_error *err)
{
    state_reader sr = {.core = core, .err = err, .foreign = looks_foreign(json)};
    tr_arena_init(&sr.arena, TR__STATE_MAX);
    tr_json_init(&sr.r, json, &sr.arena);
    tr__graph_clear(core);
    core->since_ms = -1;
    core->floor.len = 0;
    int code = read_document(&sr);
    if (code == 0 && !sr.foreign && !sr.ours && core->shard_count)
        code = tr_fail(err, TR_EPARSE, "the saved state is damaged: it has no format");
    if (code)
        tr__graph_clear(core);
    else
        core->resumed = core->shard_count > 0 || sr.ours;
    tr_arena_done(&sr.arena);
    return code;
}

/** Read elsewhere first: one that is refused must not have taken the place of what is there. */
static int try_state(const tr__core *core, tr_view json, tr_error *err)
{
    const tr_stream_options o = {
        .table = core->table, .stream_arn = core->table ? NULL : core->arn, .manual = true};
    tr__core *scratch;
    int code = tr__core_new(&o, false, 1, core->now, core->wall, &scratch, err);
    if (code)
        return code;
    code = tr__state_read(scratch, json, err);
    tr__core_free(scratch);
    return code;
}

int tr__core_set_state(tr__core *core, tr_view json, tr_error *err)
{
    if (core->fleet)
        return tr_fail(err, TR_EUNSUPPORTED, "a fleet's state is in its lease table");
    int code = try_state(core, json, err);
    if (code == 0)
        code = tr__state_read(core, json, err);
    if (code)
        return code;
    core->listing_wanted = core->listing = core->gone = core->disabled = core->caught_up = core->told_ended =
        false;
    core->listings_complete = core->quiet_listing = 0;
    core->missing = 0;
    core->graph_version++;
    tr__timer_stop(core, &core->stage_timer);
    tr__timer_stop(core, &core->describe_timer);
    tr__timer_stop(core, &core->succession_timer);
    if (core->o.manual)
        core->stage = TR__STAGE_LEASES; /* goes on with the next poll */
    else
        tr__core_stage(core, TR__STAGE_RESOLVE);
    return 0;
}
