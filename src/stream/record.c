/* SPDX-License-Identifier: MIT */
#include "stream/record.h"

#include <stdio.h>

/* ----------------------------------------------------------------------------------------------- names */

static const char *const event_names[] = {"", "INSERT", "MODIFY", "REMOVE"};
static const char *const view_names[] = {"", "KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"};

const char *tr_record_event_name(tr_record_event event)
{
    return (size_t)event < TR_COUNT(event_names) ? event_names[event] : "";
}

const char *tr_view_type_name(tr_view_type type)
{
    return (size_t)type < TR_COUNT(view_names) ? view_names[type] : "";
}

/** Index of the text in a table of names, or 0. */
static unsigned index_of(tr_view text, const char *const *names, unsigned count)
{
    for (unsigned i = 1; i < count; i++)
        if (tr_view_is(text, names[i]))
            return i;
    return 0;
}

/* ------------------------------------------------------------------------------------ sequence numbers */

static tr_view without_zeros(tr_view v)
{
    while (v.len > 1 && v.ptr[0] == '0') {
        v.ptr++;
        v.len--;
    }
    return v;
}

int tr_sequence_cmp(tr_view a, tr_view b)
{
    a = without_zeros(a);
    b = without_zeros(b);
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return a.len ? memcmp(a.ptr, b.ptr, a.len) : 0;
}

bool tr_sequence_valid(tr_view text)
{
    if (text.len == 0 || text.len > TR_SEQUENCE_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    return true;
}

/* --------------------------------------------------------------------------------------------- reading */

static void put_span(tr__parts *parts, tr_buf *data, tr__part part, tr_view bytes)
{
    parts->span[part] = (tr__span){data->len, bytes.len};
    tr_buf_put_view(data, bytes);
}

static int text_member(tr_json_reader *r, tr__parts *parts, tr_buf *data, tr__part part, const char *name,
                       tr_error *err)
{
    tr_json_token t = tr_json_next(r);
    if (t == TR_JSON_NULL)
        return 0;
    if (t != TR_JSON_STRING)
        return tr_fail(err, TR_EPARSE, "a record's %s is no string", name);
    put_span(parts, data, part, r->text);
    return 0;
}

static int item_member(tr_json_reader *r, tr__parts *parts, tr_buf *data, tr__part part, const char *name,
                       tr_error *err)
{
    tr_json_token t = tr_json_next(r);
    if (t == TR_JSON_NULL)
        return 0;
    if (t != TR_JSON_OBJECT)
        return tr_fail(err, TR_EPARSE, "a record's %s is no item", name);
    size_t start = data->len;
    tr_item_error problem;
    int code = tr_item_read(r, data, &problem);
    if (code)
        return tr_fail(err, code, "a record's %s is no valid item (problem %d)", name, (int)problem.problem);
    parts->span[part] = (tr__span){start, data->len - start};
    parts->present = (uint16_t)(parts->present | 1u << part);
    return 0;
}

/** Seconds since 1970, possibly with a fraction or an exponent (1.46480527E9), as milliseconds. */
static int read_time(tr_json_reader *r, int64_t *ret_ms)
{
    if (tr_json_next(r) != TR_JSON_NUMBER)
        return TR_EPARSE;
    const int64_t max_s = INT64_C(253402300800); /* the year 10000 */
    int64_t whole;
    if (tr_json_int(r, &whole) == 0) {
        if (whole < -max_s || whole > max_s)
            return TR_EPARSE;
        *ret_ms = whole * 1000;
        return 0;
    }
    uint8_t packed[TR_NUMBER_PACKED_MAX];
    size_t len;
    if (tr_number_parse(r->text, packed, &len, NULL))
        return TR_EPARSE;
    double s = tr_number_to_double(tr_view_of(packed, len));
    if (!(s > -(double)max_s && s < (double)max_s))
        return TR_EPARSE;
    *ret_ms = (int64_t)(s * 1000.0 + (s < 0 ? -0.5 : 0.5));
    return 0;
}

static int read_size(tr_json_reader *r, uint64_t *ret_size)
{
    int64_t size;
    if (tr_json_next(r) != TR_JSON_NUMBER || tr_json_int(r, &size) || size < 0)
        return TR_EPARSE;
    *ret_size = (uint64_t)size;
    return 0;
}

static int read_change(tr_json_reader *r, tr__parts *parts, tr_buf *data, tr_error *err)
{
    if (tr_json_next(r) != TR_JSON_OBJECT)
        return tr_fail(err, TR_EPARSE, "a record's dynamodb member is no object");
    int code = 0;
    while (code == 0 && tr_json_next_key(r)) {
        if (tr_view_is(r->text, "Keys")) {
            code = item_member(r, parts, data, TR__PART_KEYS, "Keys", err);
        } else if (tr_view_is(r->text, "NewImage")) {
            code = item_member(r, parts, data, TR__PART_NEW, "NewImage", err);
        } else if (tr_view_is(r->text, "OldImage")) {
            code = item_member(r, parts, data, TR__PART_OLD, "OldImage", err);
        } else if (tr_view_is(r->text, "SequenceNumber")) {
            code = text_member(r, parts, data, TR__PART_SEQUENCE, "SequenceNumber", err);
        } else if (tr_view_is(r->text, "StreamViewType")) {
            if (tr_json_next(r) == TR_JSON_STRING)
                parts->view_type = (uint8_t)index_of(r->text, view_names, TR_COUNT(view_names));
        } else if (tr_view_is(r->text, "ApproximateCreationDateTime")) {
            if (read_time(r, &parts->time_ms))
                code = tr_fail(err, TR_EPARSE, "a record's ApproximateCreationDateTime is no time");
        } else if (tr_view_is(r->text, "SizeBytes")) {
            if (read_size(r, &parts->size_bytes))
                code = tr_fail(err, TR_EPARSE, "a record's SizeBytes is no size");
        } else {
            tr_json_next(r);
            code = tr_json_skip(r);
        }
    }
    return code;
}

static int read_identity(tr_json_reader *r, tr__parts *parts, tr_buf *data, tr_error *err)
{
    tr_json_token t = tr_json_next(r);
    if (t == TR_JSON_NULL)
        return 0;
    if (t != TR_JSON_OBJECT)
        return tr_fail(err, TR_EPARSE, "a record's userIdentity is no object");
    int code = 0;
    while (code == 0 && tr_json_next_key(r)) {
        if (tr_view_is(r->text, "Type") || tr_view_is(r->text, "type")) {
            code = text_member(r, parts, data, TR__PART_USER_TYPE, "userIdentity.Type", err);
        } else if (tr_view_is(r->text, "PrincipalId") || tr_view_is(r->text, "principalId")) {
            code = text_member(r, parts, data, TR__PART_PRINCIPAL, "userIdentity.PrincipalId", err);
        } else {
            tr_json_next(r);
            code = tr_json_skip(r);
        }
    }
    return code;
}

static int read_members(tr_json_reader *r, tr__parts *parts, tr_buf *data, tr_error *err)
{
    int code = 0;
    while (code == 0 && tr_json_next_key(r)) {
        if (tr_view_is(r->text, "dynamodb")) {
            code = read_change(r, parts, data, err);
        } else if (tr_view_is(r->text, "eventName")) {
            if (tr_json_next(r) == TR_JSON_STRING)
                parts->event = (uint8_t)index_of(r->text, event_names, TR_COUNT(event_names));
        } else if (tr_view_is(r->text, "eventID")) {
            code = text_member(r, parts, data, TR__PART_EVENT_ID, "eventID", err);
        } else if (tr_view_is(r->text, "awsRegion")) {
            code = text_member(r, parts, data, TR__PART_REGION, "awsRegion", err);
        } else if (tr_view_is(r->text, "userIdentity")) {
            code = read_identity(r, parts, data, err);
        } else {
            tr_json_next(r);
            code = tr_json_skip(r);
        }
    }
    return code;
}

int tr__record_read(tr_json_reader *r, tr__parts *parts, tr_buf *data, tr_error *err)
{
    *parts = (tr__parts){0};
    int code = read_members(r, parts, data, err);
    if (r->token == TR_JSON_ERROR)
        return tr_fail(err, tr_json_error_code(r), "a record is no JSON: %s at byte %zu", tr_json_error(r),
                       tr_json_offset(r));
    if (code)
        return code;
    if (tr_buf_status(data))
        return tr_fail(err, tr_buf_status(data), "a record is too large");
    if (!parts->event)
        return tr_fail(err, TR_EPARSE, "a record's eventName is none of INSERT, MODIFY, REMOVE");
    if (!(parts->present & 1u << TR__PART_KEYS))
        return tr_fail(err, TR_EPARSE, "a record has no dynamodb.Keys");
    tr__span seq = parts->span[TR__PART_SEQUENCE];
    if (!tr_sequence_valid(tr_view_of(data->ptr + seq.at, seq.len)))
        return tr_fail(err, TR_EPARSE, "a record's SequenceNumber is not 1 to 40 digits");
    return 0;
}

static tr_view at_span(const char *base, tr__span span)
{
    return tr_view_of(base + span.at, span.len);
}

void tr__record_make(const tr__parts *parts, const char *base, tr_record *ret)
{
    tr_view type = at_span(base, parts->span[TR__PART_USER_TYPE]);
    tr_view principal = at_span(base, parts->span[TR__PART_PRINCIPAL]);
    *ret = (tr_record){
        .event = (tr_record_event)parts->event,
        .expired = tr_view_is(type, "Service") && tr_view_is(principal, "dynamodb.amazonaws.com"),
        .has_new = (parts->present & 1u << TR__PART_NEW) != 0,
        .has_old = (parts->present & 1u << TR__PART_OLD) != 0,
        .view_type = (tr_view_type)parts->view_type,
        .keys = at_span(base, parts->span[TR__PART_KEYS]),
        .new_image = at_span(base, parts->span[TR__PART_NEW]),
        .old_image = at_span(base, parts->span[TR__PART_OLD]),
        .sequence_number = at_span(base, parts->span[TR__PART_SEQUENCE]),
        .event_id = at_span(base, parts->span[TR__PART_EVENT_ID]),
        .region = at_span(base, parts->span[TR__PART_REGION]),
        .time_ms = parts->time_ms,
        .size_bytes = parts->size_bytes,
        .user_type = type,
        .user_principal = principal,
        .raw = at_span(base, parts->span[TR__PART_RAW]),
    };
}

int tr_record_from_json(tr_view json, tr_arena *arena, tr_record *ret_record, tr_error *err)
{
    if (json.len > TR_RECORD_JSON_MAX)
        return tr_fail(err, TR_ELIMIT, "a record of %zu bytes; at most %d are read", json.len,
                       TR_RECORD_JSON_MAX);
    tr_buf data;
    tr_buf_init(&data, 2 * TR_RECORD_JSON_MAX);
    tr_json_reader r;
    tr_json_init(&r, json, arena);
    tr__parts parts;
    int code;
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        code = tr_fail(err, TR_EPARSE, "a record is no JSON object");
    else
        code = tr__record_read(&r, &parts, &data, err);
    if (code == 0 && tr_json_next(&r) != TR_JSON_DONE)
        code = tr_fail(err, TR_EPARSE, "something follows the record");
    if (code == 0) {
        put_span(&parts, &data, TR__PART_RAW, json);
        tr_view copy = {0};
        if (tr_buf_status(&data) == 0)
            copy = tr_arena_copy(arena, tr_buf_view(&data));
        if (copy.ptr)
            tr__record_make(&parts, copy.ptr, ret_record);
        else
            code = tr_fail(err, TR_ENOMEM, "no memory for a record of %zu bytes", json.len);
    }
    tr_buf_done(&data);
    return code;
}

/* --------------------------------------------------------------------------------------------- writing */

/** Epoch seconds: whole where they are, else with milliseconds. */
static void write_time(tr_json_writer *w, const char *name, int64_t ms)
{
    tr_json_name(w, name);
    if (ms % 1000 == 0) {
        tr_json_i64(w, ms / 1000);
        return;
    }
    char text[32];
    int64_t magnitude = ms < 0 ? -ms : ms;
    int n = snprintf(text, sizeof text, "%s%lld.%03d", ms < 0 ? "-" : "", (long long)(magnitude / 1000),
                     (int)(magnitude % 1000));
    tr_json_value(w, tr_view_of(text, (size_t)n));
}

static void write_change(tr_json_writer *w, const tr_record *record)
{
    tr_json_begin_object(w);
    write_time(w, "ApproximateCreationDateTime", record->time_ms);
    tr_json_name(w, "Keys");
    tr_item_write(w, record->keys);
    if (record->has_new) {
        tr_json_name(w, "NewImage");
        tr_item_write(w, record->new_image);
    }
    if (record->has_old) {
        tr_json_name(w, "OldImage");
        tr_item_write(w, record->old_image);
    }
    tr_json_member_string(w, "SequenceNumber", record->sequence_number);
    tr_json_member_u64(w, "SizeBytes", record->size_bytes);
    if (record->view_type)
        tr_json_member_cstring(w, "StreamViewType", tr_view_type_name(record->view_type));
    tr_json_end_object(w);
}

void tr_record_write(tr_json_writer *w, const tr_record *record)
{
    if (record->raw.len) {
        tr_json_value(w, record->raw);
        return;
    }
    tr_json_begin_object(w);
    tr_json_member_string(w, "eventID", record->event_id);
    tr_json_member_cstring(w, "eventName", tr_record_event_name(record->event));
    tr_json_member_cstring(w, "eventVersion", "1.1");
    tr_json_member_cstring(w, "eventSource", "aws:dynamodb");
    tr_json_member_string(w, "awsRegion", record->region);
    tr_json_name(w, "dynamodb");
    write_change(w, record);
    if (record->user_type.len) {
        tr_json_name(w, "userIdentity");
        tr_json_begin_object(w);
        tr_json_member_string(w, "Type", record->user_type);
        tr_json_member_string(w, "PrincipalId", record->user_principal);
        tr_json_end_object(w);
    }
    tr_json_end_object(w);
}

void tr_record_write_plain(tr_json_writer *w, const tr_record *record)
{
    static const char *const lower[] = {"", "insert", "modify", "remove"};
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "event", lower[record->event]);
    tr_json_name(w, "keys");
    tr_item_write_plain(w, record->keys);
    if (record->has_new) {
        tr_json_name(w, "new");
        tr_item_write_plain(w, record->new_image);
    }
    if (record->has_old) {
        tr_json_name(w, "old");
        tr_item_write_plain(w, record->old_image);
    }
    tr_json_member_string(w, "sequence_number", record->sequence_number);
    tr_json_member_string(w, "shard", record->shard_id);
    write_time(w, "time", record->time_ms);
    tr_json_member_bool(w, "expired", record->expired);
    tr_json_end_object(w);
}
