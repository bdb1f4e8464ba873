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

/* ------------------------------------------------------------------ scalars and their members at once */

/*
 * The pieces above each write the buffer's length back, and the next waits for it. Members whose value is a
 * string, a number, a boolean or null, which is what items mostly consist of, are written through one pointer
 * instead, where the buffer has room for their longest form. All else, escapes included, falls back to the
 * pieces.
 */
#define MEMBER_ROOM 40 /* comma, quotes, colon, braces; and the 16 bytes of an opening */

static inline size_t scalar_room(tr_value value)
{
    return value.type == TR_S ? value.payload.len : value.type == TR_N ? TR_NUMBER_TEXT_MAX : 0;
}

static inline bool is_plain(tr_value value)
{
    return value.type == TR_S || value.type == TR_N || value.type == TR_BOOL || value.type == TR_NULL;
}

static inline bool has_room(tr_buf *out, size_t len)
{
    if (TR_LIKELY(len <= out->cap - out->len && out->status == 0))
        return true;
    /* less than asked may do, so the limit is not hit here */
    return out->limit >= out->len && len <= out->limit - out->len && tr_buf_reserve(out, len) == 0;
}

/* {"S":"text"}; where it ends, or NULL if it needs an escape. */
static inline char *emit_scalar(char *at, tr_value value, bool js)
{
    const opening *open = &openings[value.type];
    memcpy(at, open->text, sizeof open->text);
    at += open->len;
    if (value.type == TR_S) {
        *at++ = '"';
        if (TR_UNLIKELY(!tr__json_copy_clean(at, value.payload.ptr, value.payload.len)))
            return NULL;
        at += value.payload.len;
        *at++ = '"';
    } else if (value.type == TR_N) {
        *at++ = '"';
        at += js ? tr_number_format_js(value.payload, at) : tr_number_format(value.payload, at);
        *at++ = '"';
    } else {
        bool yes = value.type == TR_NULL || tr_value_bool(value);
        memcpy(at, yes ? "true" : "false", 5);
        at += yes ? 4 : 5;
    }
    *at++ = '}';
    return at;
}

static inline bool put_plain_member(tr_buf *out, tr_view name, tr_value value, bool comma, bool js)
{
    if (!is_plain(value) || !has_room(out, name.len + scalar_room(value) + MEMBER_ROOM))
        return false;
    char *at = out->ptr + out->len;
    *at = ',';
    at += comma;
    *at++ = '"';
    if (TR_UNLIKELY(!tr__json_copy_clean(at, name.ptr, name.len)))
        return false;
    at += name.len;
    *at++ = '"';
    *at++ = ':';
    at = emit_scalar(at, value, js);
    if (!at)
        return false;
    out->len = (size_t)(at - out->ptr);
    return true;
}

static inline bool put_plain_value(tr_buf *out, tr_value value, bool js)
{
    if (!is_plain(value) || !has_room(out, scalar_room(value) + MEMBER_ROOM))
        return false;
    char *at = emit_scalar(out->ptr + out->len, value, js);
    if (!at)
        return false;
    out->len = (size_t)(at - out->ptr);
    return true;
}

/* ------------------------------------------------------------------------------------------ containers */

/* payload: of a map, or an item */
static void put_members(tr_buf *out, tr_view payload, bool js)
{
    tr_buf_putc(out, '{');
    if (payload.len > 4) {
        const char *at = payload.ptr + 4, *end = payload.ptr + payload.len;
        for (bool comma = false; at < end; comma = true) {
            tr_view name = {NULL, 0};
            tr_value value = {TR_NONE, {NULL, 0}};
            at = tr__get_sized(at, end, &name);
            if (!at || !(at = tr__get_value(at, end, &value)))
                break;
            if (TR_LIKELY(put_plain_member(out, name, value, comma, js)))
                continue;
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
        if (value.type != TR_L)
            put_scalar(out, iter.value, js);
        else if (!put_plain_value(out, iter.value, js))
            put_value(out, iter.value, js);
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
