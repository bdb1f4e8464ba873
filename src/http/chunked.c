/* SPDX-License-Identifier: MIT */
#include "hex.h"
#include "server.h"

/* Strict (RFC 9112, section 7.1): lines end in CRLF, sizes are hexadecimal digits without sign or space.
 * Chunk extensions and trailers are read and dropped. */

#define LINE_MAX_BYTES 4096 /* of a size line with its extensions, and of all trailers */

enum { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER_START, TRAILER, TRAILER_LF, END_LF, DONE };

/* A byte of an extension or a trailer: any but controls. */
static bool is_text(char c)
{
    return c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f);
}

static int size_byte(tr__chunked *d, char c)
{
    int value = tr__hex_digit(c);
    if (value >= 0) {
        if (++d->digits > 15) /* 60 bits: larger than any limit, and no overflow */
            return TR_EPARSE;
        d->size = d->size << 4 | (unsigned)value;
        return 0;
    }
    if (d->digits == 0)
        return TR_EPARSE;
    if (c == '\r')
        d->state = SIZE_LF;
    else if (c == ';')
        d->state = EXTENSION;
    else
        return TR_EPARSE;
    return 0;
}

/* One byte outside of data. */
static int step(tr__chunked *d, char c)
{
    if (++d->line > LINE_MAX_BYTES)
        return TR_EPARSE;
    switch (d->state) {
    case SIZE:
        return size_byte(d, c);
    case EXTENSION:
        if (c == '\r')
            d->state = SIZE_LF;
        else if (!is_text(c))
            return TR_EPARSE;
        return 0;
    case SIZE_LF:
        d->state = d->size ? DATA : TRAILER_START;
        d->line = 0;
        return c == '\n' ? 0 : TR_EPARSE;
    case DATA_CR:
        d->state = DATA_LF;
        return c == '\r' ? 0 : TR_EPARSE;
    case DATA_LF:
        d->state = SIZE;
        d->line = d->digits = 0;
        return c == '\n' ? 0 : TR_EPARSE;
    case TRAILER_START:
        d->state = c == '\r' ? END_LF : TRAILER;
        return c == '\r' || is_text(c) ? 0 : TR_EPARSE;
    case TRAILER:
        if (c == '\r')
            d->state = TRAILER_LF;
        else if (!is_text(c))
            return TR_EPARSE;
        return 0;
    case TRAILER_LF:
        d->state = TRAILER_START;
        return c == '\n' ? 0 : TR_EPARSE;
    default: /* END_LF */
        d->state = DONE;
        return c == '\n' ? 0 : TR_EPARSE;
    }
}

ptrdiff_t tr__chunked_feed(tr__chunked *d, tr_view bytes, tr_buf *out, bool *ret_done)
{
    size_t at = 0;
    while (at < bytes.len && d->state != DONE) {
        if (d->state == DATA) {
            size_t take = bytes.len - at < d->size ? bytes.len - at : (size_t)d->size;
            tr_buf_put(out, bytes.ptr + at, take);
            if (tr_buf_status(out))
                return tr_buf_status(out);
            at += take;
            d->size -= take;
            if (d->size == 0)
                d->state = DATA_CR;
        } else {
            int code = step(d, bytes.ptr[at++]);
            if (code)
                return code;
        }
    }
    *ret_done = d->state == DONE;
    return (ptrdiff_t)at;
}
