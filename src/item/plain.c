/* SPDX-License-Identifier: MIT */
#include "packed.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* --------------------------------------------------------------------------------------------- writing */

static void write_members(tr_json_writer *writer, tr_packed_iter *iter)
{
    tr_json_begin_object(writer);
    while (tr_packed_next(iter)) {
        tr_json_key(writer, iter->name);
        tr_value_write_plain(writer, iter->value);
    }
    tr_json_end_object(writer);
}

void tr_value_write_plain(tr_json_writer *writer, tr_value value)
{
    assert(value.type > TR_NONE && value.type <= TR_BS);
    char text[TR_NUMBER_TEXT_MAX];
    tr_packed_iter iter;
    switch (value.type) {
    case TR_S:
        tr_json_string(writer, value.payload);
        break;
    case TR_N:
        tr_json_value(writer, tr_view_of(text, tr_number_format_plain(value.payload, text)));
        break;
    case TR_B:
        tr_json_base64(writer, value.payload);
        break;
    case TR_BOOL:
        tr_json_bool(writer, tr_value_bool(value));
        break;
    case TR_NULL:
        tr_json_null(writer);
        break;
    case TR_M:
        tr_value_iter(&iter, value);
        write_members(writer, &iter);
        break;
    default:
        tr_value_iter(&iter, value);
        tr_json_begin_array(writer);
        while (tr_packed_next(&iter))
            tr_value_write_plain(writer, iter.value);
        tr_json_end_array(writer);
    }
}

void tr_item_write_plain(tr_json_writer *writer, tr_item item)
{
    tr_packed_iter iter;
    tr_item_iter(&iter, item);
    write_members(writer, &iter);
}

static bool lossless(tr_packed_iter *iter)
{
    while (tr_packed_next(iter)) {
        tr_value v = iter->value;
        if (v.type == TR_B || v.type >= TR_SS)
            return false;
        if (tr__is_container(v.type)) {
            tr_packed_iter inner;
            tr_value_iter(&inner, v);
            if (!lossless(&inner))
                return false;
        }
    }
    return true;
}

bool tr_item_plain_lossless(tr_item item)
{
    tr_packed_iter iter;
    tr_item_iter(&iter, item);
    return lossless(&iter);
}

/* --------------------------------------------------------------------------------------------- reading */

typedef struct plain {
    tr_json_reader *reader;
    tr_packer packer;
    tr_plain_numbers numbers;
    tr_item_error *error;
} plain;

static int fail(plain *p, int code, tr_item_problem problem)
{
    *p->error = (tr_item_error){.problem = problem, .token = p->reader->token, .text = p->reader->text};
    return code;
}

static int fail_json(plain *p)
{
    int code = tr_json_error_code(p->reader);
    return fail(p, code ? code : TR_EPARSE, code == TR_ENOMEM ? TR_ITEM_MEMORY : TR_ITEM_JSON);
}

#define DOUBLE_TEXT_MAX 1024 /* no double needs more than 767 digits to be told from its neighbours */

/* The nearest double to a JSON number. Its point is left out, since strtod would expect the locale's. */
static int nearest_double(tr_view text, double *ret_number)
{
    char copy[DOUBLE_TEXT_MAX + 16];
    size_t n = 0, i = 0;
    long fraction = 0;
    bool point = false;
    for (; i < text.len && text.ptr[i] != 'e' && text.ptr[i] != 'E'; i++) {
        if (n == DOUBLE_TEXT_MAX)
            return TR_ELIMIT;
        if (text.ptr[i] == '.')
            point = true;
        else
            copy[n++] = text.ptr[i];
        fraction += point && text.ptr[i] != '.';
    }
    long exponent = 0;
    if (i < text.len) {
        bool negative = text.ptr[++i] == '-';
        for (i += text.ptr[i] == '-' || text.ptr[i] == '+'; i < text.len; i++)
            exponent = exponent < 100000 ? exponent * 10 + (text.ptr[i] - '0') : exponent;
        exponent = negative ? -exponent : exponent;
    }
    (void)snprintf(copy + n, 16, "e%ld", exponent - fraction);
    *ret_number = strtod(copy, NULL);
    return 0;
}

/* What JavaScript makes of a number with more digits than fit: the shortest form of the nearest double. */
static int parse_double(tr_view text, uint8_t *packed, size_t *ret_len, tr_number_problem *ret_problem)
{
    double number;
    char shortest[32];
    int e = nearest_double(text, &number);
    if (e)
        return e; /* the problem stays that of the exact form */
    size_t len = tr_double_format(number, shortest);
    return tr_number_parse(tr_view_of(shortest, len), packed, ret_len, ret_problem);
}

static int read_number(plain *p)
{
    uint8_t packed[TR_NUMBER_PACKED_MAX];
    size_t len;
    tr_number_problem problem;
    tr_view text = p->reader->text;
    int e = tr_number_parse(text, packed, &len, &problem);
    if (e && problem == TR_NUMBER_PRECISION && p->numbers == TR_PLAIN_JAVASCRIPT)
        e = parse_double(text, packed, &len, &problem);
    if (e) {
        fail(p, e, TR_ITEM_NUMBER);
        p->error->number = problem;
        return e;
    }
    tr_pack_value(&p->packer, (tr_value){TR_N, tr_view_of(packed, len)});
    return 0;
}

static int read_value(plain *p);

static int read_members(plain *p)
{
    while (tr_json_next(p->reader) == TR_JSON_KEY) {
        tr_pack_name(&p->packer, p->reader->text);
        tr_json_next(p->reader);
        int e = read_value(p);
        if (e)
            return e;
    }
    return p->reader->token == TR_JSON_OBJECT_END ? 0 : fail_json(p);
}

static int ended(plain *p, int e)
{
    return e == 0 ? 0 : fail(p, e, e == TR_EEXIST ? TR_ITEM_DUPLICATE_NAME : TR_ITEM_MEMORY);
}

static int read_container(plain *p)
{
    if (p->reader->token == TR_JSON_OBJECT) {
        tr_pack_map_begin(&p->packer);
        int e = read_members(p);
        return e ? e : ended(p, tr_pack_map_end(&p->packer));
    }
    tr_pack_list_begin(&p->packer);
    while (tr_json_next(p->reader) != TR_JSON_ARRAY_END) {
        int e = read_value(p);
        if (e)
            return e;
    }
    return ended(p, tr_pack_list_end(&p->packer));
}

static int read_value(plain *p)
{
    if (p->packer.depth > TR_ITEM_DEPTH_MAX) /* the item itself is open, so this is the value's level */
        return fail(p, TR_ELIMIT, TR_ITEM_DEPTH);
    switch (p->reader->token) {
    case TR_JSON_STRING:
        tr_pack_s(&p->packer, p->reader->text);
        return 0;
    case TR_JSON_NUMBER:
        return read_number(p);
    case TR_JSON_TRUE:
    case TR_JSON_FALSE:
        tr_pack_bool(&p->packer, p->reader->token == TR_JSON_TRUE);
        return 0;
    case TR_JSON_NULL:
        tr_pack_null(&p->packer);
        return 0;
    case TR_JSON_OBJECT:
    case TR_JSON_ARRAY:
        return read_container(p);
    default:
        return fail_json(p);
    }
}

int tr_item_read_plain(tr_json_reader *reader, tr_plain_numbers numbers, tr_buf *out,
                       tr_item_error *ret_error)
{
    plain p = {.reader = reader, .numbers = numbers, .error = ret_error};
    if (reader->token == TR_JSON_ERROR)
        return fail_json(&p);
    if (reader->token != TR_JSON_OBJECT)
        return fail(&p, TR_EPARSE, TR_ITEM_NOT_OBJECT);
    tr_packer_init(&p.packer, out);
    tr_pack_item_begin(&p.packer);
    int e = read_members(&p);
    return e ? e : ended(&p, tr_pack_item_end(&p.packer));
}
