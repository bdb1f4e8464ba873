/* SPDX-License-Identifier: MIT */
/* What an event tells of a record. */
#include <tailrace/log.h>
#include <tailrace/pipe.h>

/* As JavaScript counts the text: two for what lies beyond the basic plane, which takes four bytes. */
static size_t utf16_units(tr_view text)
{
    size_t units = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        units += (c & 0xc0) == 0x80 ? 0U : c >= 0xf0 ? 2U : 1U;
    }
    return units;
}

static bool is_event(const tr_record *record, tr_value *ret_pk)
{
    static const tr_view suffix = {TR_LOG_PK_SUFFIX, sizeof TR_LOG_PK_SUFFIX - 1};
    tr_value mark;
    if (record->event == TR_REMOVE || !record->has_new ||
        tr_item_get(record->new_image, TR_VIEW(TR_LOG_PK), ret_pk) || ret_pk->type != TR_S)
        return false;
    tr_view pk = ret_pk->payload;
    return pk.len >= suffix.len && tr_view_eq(tr_view_of(pk.ptr + pk.len - suffix.len, suffix.len), suffix) &&
           tr_item_get(record->new_image, TR_VIEW(TR_PIPE_REPLAY_MARK), &mark) != 0;
}

static void put_member(tr_json_writer *w, tr_item item, const char *name)
{
    tr_value value;
    if (tr_item_get(item, tr_view_str(name), &value))
        return; /* left out, as an undefined member is */
    tr_json_name(w, name);
    tr_value_write_plain(w, value);
}

static void write_log(tr_item item, bool partial, tr_buf *out)
{
    tr_json_writer w;
    tr_value payload;
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    put_member(&w, item, TR_LOG_LOG);
    tr_json_name(&w, "key");
    tr_json_begin_object(&w);
    put_member(&w, item, TR_LOG_PK);
    put_member(&w, item, TR_LOG_SK);
    tr_json_end_object(&w);
    put_member(&w, item, TR_LOG_TYPE);
    if (!partial) {
        put_member(&w, item, TR_LOG_PAYLOAD);
    } else {
        tr_json_member_bool(&w, "partial", true);
        tr_json_name(&w, "payload");
        tr_json_begin_object(&w);
        if (tr_item_get(item, TR_VIEW(TR_LOG_PAYLOAD), &payload) == 0 && payload.type == TR_M)
            put_member(&w, payload.payload, "id");
        tr_json_end_object(&w);
    }
    tr_json_end_object(&w);
}

int tr_pipe_detail(tr_pipe_format format, const tr_record *record, tr_buf *out)
{
    tr_json_writer w;
    tr_value pk;
    size_t start = out->len;
    if (format != TR_PIPE_LOG) {
        tr_json_write_init(&w, out);
        if (format == TR_PIPE_RECORD)
            tr_record_write(&w, record);
        else
            tr_record_write_plain(&w, record);
        return tr_buf_status(out);
    }
    if (!is_event(record, &pk))
        return TR_ENOTFOUND;
    write_log(record->new_image, false, out);
    if (tr_buf_status(out) == 0 &&
        utf16_units(tr_view_of(out->ptr + start, out->len - start)) > TR_PIPE_DETAIL_MAX) {
        out->len = start;
        write_log(record->new_image, true, out);
    }
    return tr_buf_status(out);
}
