/* SPDX-License-Identifier: MIT */
#include "packed.h"

#include <assert.h>

static void put_number(tr_json_writer *writer, tr_view packed)
{
    tr_json_sep(writer);
    tr_buf *out = writer->out;
    if (tr_buf_reserve(out, TR_NUMBER_TEXT_MAX + 2))
        return;
    char *at = out->ptr + out->len;
    size_t len = tr_number_format(packed, at + 1);
    at[0] = '"';
    at[1 + len] = '"';
    out->len += len + 2;
}

static void write_scalar(tr_json_writer *writer, tr_value value)
{
    if (value.type == TR_S)
        tr_json_string(writer, value.payload);
    else if (value.type == TR_N)
        put_number(writer, value.payload);
    else if (value.type == TR_B)
        tr_json_base64(writer, value.payload);
    else
        tr_json_bool(writer, value.type == TR_NULL || tr_value_bool(value));
}

static void write_members(tr_json_writer *writer, tr_packed_iter *iter)
{
    tr_json_begin_object(writer);
    while (tr_packed_next(iter)) {
        tr_json_key(writer, iter->name);
        tr_value_write(writer, iter->value);
    }
    tr_json_end_object(writer);
}

static void write_array(tr_json_writer *writer, tr_value value)
{
    tr_packed_iter iter;
    tr_value_iter(&iter, value);
    tr_json_begin_array(writer);
    while (tr_packed_next(&iter)) {
        if (value.type == TR_L)
            tr_value_write(writer, iter.value);
        else
            write_scalar(writer, iter.value);
    }
    tr_json_end_array(writer);
}

void tr_value_write(tr_json_writer *writer, tr_value value)
{
    assert(value.type > TR_NONE && value.type <= TR_BS);
    tr_json_begin_object(writer);
    tr_json_name(writer, tr_type_name(value.type));
    if (value.type == TR_M) {
        tr_packed_iter iter;
        tr_value_iter(&iter, value);
        write_members(writer, &iter);
    } else if (tr__is_container(value.type)) {
        write_array(writer, value);
    } else {
        write_scalar(writer, value);
    }
    tr_json_end_object(writer);
}

void tr_item_write(tr_json_writer *writer, tr_item item)
{
    tr_packed_iter iter;
    tr_item_iter(&iter, item);
    write_members(writer, &iter);
}
