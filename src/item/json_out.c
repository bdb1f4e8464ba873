/* SPDX-License-Identifier: MIT */
#include "base/json_scan.h"
#include "pack.h"

#include <assert.h>

/* `{"S":` and its kin, so that a value's start is one copy. */
typedef struct opening {
    char text[16];
    uint8_t len;
} opening;

static const opening openings[] = {
    [TR_S] = {"{\"S\":", 5},       [TR_N] = {"{\"N\":", 5},       [TR_B] = {"{\"B\":", 5},
    [TR_BOOL] = {"{\"BOOL\":", 8}, [TR_NULL] = {"{\"NULL\":", 8}, [TR_M] = {"{\"M\":", 5},
    [TR_L] = {"{\"L\":", 5},       [TR_SS] = {"{\"SS\":", 6},     [TR_NS] = {"{\"NS\":", 6},
    [TR_BS] = {"{\"BS\":", 6}};

static void put_value(tr_buf *out, tr_value value, bool js);

/* Up to 16 bytes at once. `text` may be read that far. */
static inline void put_short(tr_buf *out, const char *text, size_t len)
{
    if (TR_LIKELY(out->cap - out->len >= 16 && out->status == 0)) {
        memcpy(out->ptr + out->len, text, 16);
        out->len += len;
        return;
    }
    tr_buf_put(out, text, len);
}

static inline void put_string(tr_buf *out, tr_view text)
{
    char *at = tr__buf_room(out, text.len + 2);
    if (!at)
        return;
    if (TR_UNLIKELY(!tr__json_copy_clean(at + 1, text.ptr, text.len))) {
        tr__json_put_string(out, text);
        return;
    }
    at[0] = '"';
    at[text.len + 1] = '"';
    out->len += text.len + 2;
}

/* ,"name": */
static inline void put_name(tr_buf *out, tr_view name, bool comma)
{
    if (comma)
        tr_buf_putc(out, ',');
    put_string(out, name);
    tr_buf_putc(out, ':');
}

static void put_number(tr_buf *out, tr_view packed, bool js)
{
    char text[TR_NUMBER_TEXT_MAX + 16];
    size_t len = js ? tr_number_format_js(packed, text + 1) : tr_number_format(packed, text + 1);
    text[0] = '"';
    text[1 + len] = '"';
    if (len <= 14)
        put_short(out, text, len + 2);
    else
        tr_buf_put(out, text, len + 2);
}

static void put_binary(tr_buf *out, tr_view bytes)
{
    tr_buf_putc(out, '"');
    tr_base64_put(out, bytes);
    tr_buf_putc(out, '"');
}

/* A scalar without its type, as in sets. */
static void put_scalar(tr_buf *out, tr_value value, bool js)
{
    if (value.type == TR_S)
        put_string(out, value.payload);
    else if (value.type == TR_N)
        put_number(out, value.payload, js);
    else if (value.type == TR_B)
        put_binary(out, value.payload);
    else if (value.type == TR_NULL || tr_value_bool(value))
        tr_buf_put(out, "true", 4);
    else
        tr_buf_put(out, "false", 5);
}

/* payload: of a map, or an item */
static void put_members(tr_buf *out, tr_view payload, bool js)
{
    tr_buf_putc(out, '{');
    if (payload.len > 4) {
        const char *at = payload.ptr + 4, *end = payload.ptr + payload.len;
        for (bool comma = false; at < end; comma = true) {
            tr_view name;
            tr_value value;
            at = tr__get_sized(at, end, &name);
            if (!at || !(at = tr__get_value(at, end, &value)))
                break;
            put_name(out, name, comma);
            put_value(out, value, js);
        }
    }
    tr_buf_putc(out, '}');
}

static void put_array(tr_buf *out, tr_value value, bool js)
{
    tr_packed_iter iter;
    tr_value_iter(&iter, value);
    tr_buf_putc(out, '[');
    for (bool comma = false; tr_packed_next(&iter); comma = true) {
        if (comma)
            tr_buf_putc(out, ',');
        if (value.type == TR_L)
            put_value(out, iter.value, js);
        else
            put_scalar(out, iter.value, js);
    }
    tr_buf_putc(out, ']');
}

static void put_value(tr_buf *out, tr_value value, bool js)
{
    assert(value.type > TR_NONE && value.type <= TR_BS);
    put_short(out, openings[value.type].text, openings[value.type].len);
    if (value.type == TR_M)
        put_members(out, value.payload, js);
    else if (tr__is_container(value.type))
        put_array(out, value, js);
    else
        put_scalar(out, value, js);
    tr_buf_putc(out, '}');
}

void tr_value_write(tr_json_writer *writer, tr_value value)
{
    tr_json_sep(writer);
    put_value(writer->out, value, false);
}

void tr_item_write(tr_json_writer *writer, tr_item item)
{
    tr_json_sep(writer);
    put_members(writer->out, item, false);
}

void tr_value_write_js(tr_json_writer *writer, tr_value value)
{
    tr_json_sep(writer);
    put_value(writer->out, value, true);
}

void tr_item_write_js(tr_json_writer *writer, tr_item item)
{
    tr_json_sep(writer);
    put_members(writer->out, item, true);
}
