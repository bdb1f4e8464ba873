/* SPDX-License-Identifier: MIT */
/*
 * What a replica keeps in its sink, with every transaction:
 *
 *   {"format":"tailrace-replica","version":1,"stream_arn":"…","phase":"scanning|overlap|following","again":false,
 *    "scan":{"snapshot":"TOKEN or empty","rows":N,"segments":[null | true | {key}, …]},     while scanning
 *    "stream":{…}}                                                                 of
 * tr_stream_checkpoint_begin
 */
#include "replica/internal.h"

#define STATE_VERSION 1

const char *tr_replica_phase_name(tr_replica_phase phase)
{
    static const char *const names[] = {"starting", "scanning", "overlap", "following"};
    return (unsigned)phase < TR_COUNT(names) ? names[phase] : "unknown";
}

int tr__replica_write_state(tr_replica *r, tr_view stream_json)
{
    tr_json_writer w;
    tr_buf_reset(&r->state);
    tr_json_write_init(&w, &r->state);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "format", "tailrace-replica");
    tr_json_member_u64(&w, "version", STATE_VERSION);
    tr_json_member_cstring(&w, "stream_arn", r->stream_arn);
    tr_json_member_cstring(&w, "phase", tr_replica_phase_name(r->phase));
    tr_json_member_bool(&w, "again", r->again);
    if (r->phase == TR_REPLICA_SCANNING) {
        tr_json_name(&w, "scan");
        tr_json_begin_object(&w);
        tr_json_member_cstring(&w, "snapshot", r->scan.snapshot);
        tr_json_member_u64(&w, "rows", r->scan.copied);
        tr_json_name(&w, "segments");
        tr__scan_write(&r->scan, &w);
        tr_json_end_object(&w);
    }
    tr_json_name(&w, "stream");
    tr_json_value(&w, stream_json);
    tr_json_end_object(&w);
    return tr_buf_status(&r->state);
}

static int read_scan(tr_replica *r, tr_json_reader *reader)
{
    if (reader->token != TR_JSON_OBJECT)
        return TR_EPARSE;
    while (tr_json_next_key(reader)) {
        tr_view name = reader->text;
        tr_json_token t = tr_json_next(reader);
        if (tr_view_is(name, "segments") && t == TR_JSON_ARRAY) {
            int e = tr__scan_read(&r->scan, reader);
            if (e)
                return e;
        } else if (tr_view_is(name, "snapshot") && t == TR_JSON_STRING) {
            if (reader->text.len >= sizeof r->scan.snapshot)
                return TR_EPARSE;
            memcpy(r->scan.snapshot, reader->text.ptr, reader->text.len);
            r->scan.snapshot[reader->text.len] = 0;
            r->exact = reader->text.len != 0;
        } else if (tr_view_is(name, "rows") && t == TR_JSON_NUMBER) {
            (void)tr_view_to_u64(reader->text, UINT64_MAX, &r->scan.copied);
        } else if (tr_json_skip(reader)) {
            return TR_EPARSE;
        }
    }
    return reader->token == TR_JSON_OBJECT_END ? 0 : TR_EPARSE;
}

static int read_phase(tr_replica *r, tr_view text)
{
    for (int i = TR_REPLICA_STARTING; i <= TR_REPLICA_FOLLOWING; i++)
        if (tr_view_is(text, tr_replica_phase_name((tr_replica_phase)i))) {
            r->phase = (tr_replica_phase)i;
            return 0;
        }
    return TR_EPARSE;
}

static int read_member(tr_replica *r, tr_json_reader *reader, tr_view name)
{
    tr_json_token t = tr_json_next(reader);
    tr_view raw;
    int64_t version;
    if (tr_view_is(name, "version")) {
        if (tr_json_int(reader, &version))
            return TR_EPARSE;
        return version > STATE_VERSION ? TR_EVERSION : 0;
    }
    if (tr_view_is(name, "stream_arn") && t == TR_JSON_STRING) {
        if (reader->text.len >= sizeof r->stream_arn)
            return TR_EPARSE;
        memcpy(r->stream_arn, reader->text.ptr, reader->text.len);
        r->stream_arn[reader->text.len] = 0;
        return 0;
    }
    if (tr_view_is(name, "phase") && t == TR_JSON_STRING)
        return read_phase(r, reader->text);
    if (tr_view_is(name, "again")) {
        r->again = t == TR_JSON_TRUE;
        return 0;
    }
    if (tr_view_is(name, "scan"))
        return read_scan(r, reader);
    if (tr_view_is(name, "stream")) {
        if (tr_json_raw(reader, &raw))
            return TR_EPARSE;
        tr_buf_reset(&r->saved_stream);
        tr_buf_put_view(&r->saved_stream, raw);
        return tr_buf_status(&r->saved_stream);
    }
    return tr_json_skip(reader);
}

int tr__replica_read_state(tr_replica *r, bool *ret_known, tr_error *err)
{
    tr_view state = tr_buf_view(&r->committed);
    if (state.len == 0) {
        *ret_known = false;
        return 0;
    }
    tr_arena arena;
    tr_json_reader reader;
    char listed_arn[sizeof r->stream_arn];
    memcpy(listed_arn, r->stream_arn, sizeof listed_arn);
    tr_arena_init(&arena, TR__PAGE_MAX);
    tr_json_init(&reader, state, &arena);
    int e = tr_json_next(&reader) == TR_JSON_OBJECT ? 0 : TR_EPARSE;
    while (!e && tr_json_next_key(&reader))
        e = read_member(r, &reader, reader.text);
    if (!e && (reader.token != TR_JSON_OBJECT_END || r->saved_stream.len == 0))
        e = TR_EPARSE;
    tr_arena_done(&arena);
    if (e == TR_EVERSION)
        return tr_fail(err, e, "the replica's state was written by a newer version");
    if (e)
        return tr_fail(err, TR_ECORRUPT,
                       "the replica's saved state cannot be read: remove the replica to copy anew");
    *ret_known = strcmp(listed_arn, r->stream_arn) == 0;
    memcpy(r->stream_arn, listed_arn, sizeof listed_arn);
    return 0;
}
