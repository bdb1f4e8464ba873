/* SPDX-License-Identifier: MIT */
/** What the tests of items share. */
#ifndef TAILRACE_ITEM_TEST_H
#define TAILRACE_ITEM_TEST_H

#include "../test.h"

#include <tailrace/item.h>

/** Reads DynamoDB JSON into `packed` (emptied first). Returns the code; checks what was packed. */
static inline int pack_json(const char *json, tr_arena *arena, tr_buf *packed, tr_item_error *error)
{
    tr_json_reader reader;
    tr_json_init(&reader, tr_view_str(json), arena);
    tr_json_next(&reader);
    tr_buf_reset(packed);
    int e = tr_item_read(&reader, packed, error);
    if (e)
        return e;
    assert_int_equal(tr_json_next(&reader), TR_JSON_DONE);
    assert_int_equal(tr_item_check(tr_buf_view(packed)), 0);
    return 0;
}

/** The item as text, NUL-terminated, in `out` (emptied first). */
static inline const char *item_text(tr_item item, bool plain, tr_buf *out)
{
    tr_json_writer writer;
    tr_buf_reset(out);
    tr_json_write_init(&writer, out);
    if (plain)
        tr_item_write_plain(&writer, item);
    else
        tr_item_write(&writer, item);
    assert_int_equal(tr_buf_status(out), 0);
    return tr_buf_cstr(out);
}

/** A packed number from its text, which must be one. */
typedef struct number {
    uint8_t bytes[TR_NUMBER_PACKED_MAX];
    size_t len;
} number;

static inline number number_of(const char *text)
{
    number n;
    if (tr_number_parse(tr_view_str(text), n.bytes, &n.len, NULL))
        fail_msg("%s is not a number", text);
    return n;
}

static inline tr_view number_view(const number *n)
{
    return tr_view_of(n->bytes, n->len);
}

/** The plain form, in a buffer of the caller. */
static inline const char *number_text(tr_view packed, char *out)
{
    out[tr_number_format(packed, out)] = 0;
    return out;
}

/** A random number's text: up to 38 digits, an exponent, sometimes a sign and a point. Room for 64. */
static inline void random_number(tr_rng *rng, char *out)
{
    size_t n = 0;
    unsigned digits = 1 + (unsigned)tr_rng_below(rng, tr_rng_below(rng, 2) ? 38 : 4);
    if (tr_rng_below(rng, 2))
        out[n++] = '-';
    unsigned point = (unsigned)tr_rng_below(rng, digits + 1);
    for (unsigned i = 0; i < digits; i++) {
        if (i == point && i > 0)
            out[n++] = '.';
        /* runs of 0 and 9 are where carries and trimming go wrong */
        uint64_t kind = tr_rng_below(rng, 4);
        out[n++] = kind == 0 ? '0' : kind == 1 ? '9' : (char)('0' + tr_rng_below(rng, 10));
    }
    int64_t range = tr_rng_below(rng, 2) ? 5 : 85; /* with up to 38 digits still within 1E-130 to 9.9E+125 */
    int64_t exponent = (int64_t)tr_rng_below(rng, (uint64_t)(2 * range + 1)) - range;
    (void)snprintf(out + n, 8, "e%d", (int)exponent);
}

#endif
