/* SPDX-License-Identifier: MIT */
#include "packed.h"

#include <assert.h>

/* 00 becomes 00 FF, so that the terminator 00 00 sorts before whatever may follow within a longer value. */
static void put_escaped(tr_buf *out, tr_view bytes)
{
    while (bytes.len) {
        const char *zero = memchr(bytes.ptr, 0, bytes.len);
        if (!zero) {
            tr_buf_put_view(out, bytes);
            return;
        }
        size_t upto = (size_t)(zero - bytes.ptr) + 1;
        tr_buf_put(out, bytes.ptr, upto);
        tr_buf_putc(out, (char)0xff);
        bytes = tr_view_of(bytes.ptr + upto, bytes.len - upto);
    }
}

void tr_key_put_prefix(tr_buf *out, tr_value value)
{
    assert(value.type == TR_S || value.type == TR_N || value.type == TR_B);
    if (value.type == TR_N)
        tr_buf_put_view(out, value.payload);
    else
        put_escaped(out, value.payload);
}

void tr_key_put(tr_buf *out, tr_value value)
{
    static const char end[2];
    tr_key_put_prefix(out, value);
    if (value.type != TR_N)
        tr_buf_put(out, end, 2);
}

static int get_number(tr_view key, tr_value *ret_value, size_t *ret_len)
{
    size_t len = 1;
    if (key.len == 0)
        return TR_ECORRUPT;
    if (key.ptr[0] != 2) {
        char terminator = key.ptr[0] == 3 ? 0 : (char)0xff;
        len = 2; /* the exponent may look like a terminator */
        while (len < key.len && len < TR_NUMBER_PACKED_MAX && key.ptr[len] != terminator)
            len++;
        len++;
    }
    if (len > key.len || !tr__number_check(tr_view_of(key.ptr, len)))
        return TR_ECORRUPT;
    *ret_value = (tr_value){TR_N, tr_view_of(key.ptr, len)};
    *ret_len = len;
    return 0;
}

static int unescape(tr_view escaped, tr_arena *arena, tr_view *ret_bytes)
{
    char *out = tr_arena_alloc(arena, escaped.len);
    if (!out)
        return TR_ENOMEM;
    char *o = out;
    for (size_t i = 0; i < escaped.len; i++) {
        *o++ = escaped.ptr[i];
        if (escaped.ptr[i] == 0)
            i++; /* its FF */
    }
    *ret_bytes = tr_view_of(out, (size_t)(o - out));
    return 0;
}

static int get_bytes(tr_view key, tr_type type, tr_arena *arena, tr_value *ret_value, size_t *ret_len)
{
    bool escapes = false;
    size_t at = 0;
    for (;;) {
        const char *zero = at < key.len ? memchr(key.ptr + at, 0, key.len - at) : NULL;
        if (!zero || (size_t)(zero - key.ptr) + 1 == key.len)
            return TR_ECORRUPT;
        at = (size_t)(zero - key.ptr);
        if (zero[1] == 0)
            break;
        if (zero[1] != (char)0xff)
            return TR_ECORRUPT;
        escapes = true;
        at += 2;
    }
    tr_view bytes = tr_view_of(key.ptr, at);
    if (escapes) {
        int e = unescape(bytes, arena, &bytes);
        if (e)
            return e;
    }
    *ret_value = (tr_value){type, bytes};
    *ret_len = at + 2;
    return 0;
}

int tr_key_get(tr_view key, tr_type type, tr_arena *arena, tr_value *ret_value, size_t *ret_len)
{
    assert(type == TR_S || type == TR_N || type == TR_B);
    if (type == TR_N)
        return get_number(key, ret_value, ret_len);
    return get_bytes(key, type, arena, ret_value, ret_len);
}
