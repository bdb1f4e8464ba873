/* SPDX-License-Identifier: MIT */
#include "json_fast.h"
#include "pack.h"

static int fail(tr_item_error *error, int code, tr_item_problem problem, const tr_json_reader *reader,
                tr_type type)
{
    *error = (tr_item_error){.problem = problem, .type = type, .token = reader->token, .text = reader->text};
    return code;
}

/* The reader or the buffer failed. */
static int fail_json(tr_item_error *error, const tr_json_reader *reader)
{
    int code = tr_json_error_code(reader);
    return fail(error, code ? code : TR_EPARSE, code == TR_ENOMEM ? TR_ITEM_MEMORY : TR_ITEM_JSON, reader,
                TR_NONE);
}

static int fail_buf(tr_item_error *error, const tr_json_reader *reader, const tr_packer *packer)
{
    return fail(error, tr_buf_status(packer->out), TR_ITEM_MEMORY, reader, TR_NONE);
}

static int fail_token(tr_item_error *error, const tr_json_reader *reader, tr_type wanted)
{
    if (reader->token == TR_JSON_ERROR)
        return fail_json(error, reader);
    return fail(error, TR_EPARSE, TR_ITEM_WRONG_JSON_TYPE, reader, wanted);
}

static tr_type type_named(tr_view name)
{
    const char *n = name.ptr;
    switch (name.len) {
    case 1:
        return *n == 'S'   ? TR_S
               : *n == 'N' ? TR_N
               : *n == 'B' ? TR_B
               : *n == 'M' ? TR_M
               : *n == 'L' ? TR_L
                           : TR_NONE;
    case 2:
        return n[1] != 'S' ? TR_NONE : *n == 'S' ? TR_SS : *n == 'N' ? TR_NS : *n == 'B' ? TR_BS : TR_NONE;
    case 4:
        return memcmp(n, "BOOL", 4) == 0 ? TR_BOOL : memcmp(n, "NULL", 4) == 0 ? TR_NULL : TR_NONE;
    default:
        return TR_NONE;
    }
}

/* ---------------------------------------------------------------------------------------------- scalars */

static int parse_number(tr_json_reader *reader, uint8_t *packed, size_t *ret_len, tr_item_error *error)
{
    tr_number_problem problem;
    int e = tr_number_parse(reader->text, packed, ret_len, &problem);
    if (e) {
        fail(error, e, TR_ITEM_NUMBER, reader, TR_N);
        error->number = problem;
    }
    return e;
}

static int read_base64(tr_json_reader *reader, tr_packer *packer, bool element, tr_item_error *error)
{
    int e = tr__pack_base64(packer, reader->text, element);
    if (e == TR_EPARSE)
        return fail(error, e, TR_ITEM_BASE64, reader, TR_B);
    return e ? fail_buf(error, reader, packer) : 0;
}

/* A value of type S, N or B, or (element) one in a set of those. */
static int read_text(tr_json_reader *reader, tr_packer *packer, tr_type type, bool element,
                     tr_item_error *error)
{
    if (reader->token != TR_JSON_STRING)
        return fail_token(error, reader, type);
    if (type == TR_B)
        return read_base64(reader, packer, element, error);
    uint8_t packed[TR_NUMBER_PACKED_MAX];
    tr_view payload = reader->text;
    if (type == TR_N) {
        size_t len = 0;
        int e = parse_number(reader, packed, &len, error);
        if (e)
            return e;
        payload = tr_view_of(packed, len);
    }
    if (element)
        tr_pack_element(packer, payload);
    else
        tr_pack_value(packer, (tr_value){type, payload});
    return 0;
}

static int read_bool(tr_json_reader *reader, tr_packer *packer, tr_type type, tr_item_error *error)
{
    bool yes = reader->token == TR_JSON_TRUE;
    if (!yes && reader->token != TR_JSON_FALSE)
        return fail_token(error, reader, type);
    if (type == TR_BOOL) {
        tr_pack_bool(packer, yes);
        return 0;
    }
    if (!yes)
        return fail(error, TR_EPARSE, TR_ITEM_NULL_FALSE, reader, type);
    tr_pack_null(packer);
    return 0;
}

/* ------------------------------------------------------------------------------------------- containers */

/* The set's elements as the service lists them: [a, b, a]. */
static int fail_duplicate(tr_json_reader *reader, tr_value set, tr_item_error *error)
{
    tr_buf list;
    tr_buf_init(&list, SIZE_MAX / 2);
    tr_packed_iter iter;
    tr_value_iter(&iter, set);
    tr_buf_putc(&list, '[');
    for (bool more = false; tr_packed_next(&iter); more = true) {
        if (more)
            tr_buf_put(&list, ", ", 2);
        if (set.type == TR_SS) {
            tr_buf_put_view(&list, iter.value.payload);
        } else if (set.type == TR_BS) {
            tr_base64_put(&list, iter.value.payload);
        } else {
            char text[TR_NUMBER_TEXT_MAX];
            tr_buf_put(&list, text, tr_number_format(iter.value.payload, text));
        }
    }
    tr_buf_putc(&list, ']');
    tr_view text =
        tr_buf_status(&list) ? (tr_view){NULL, 0} : tr_arena_copy(reader->arena, tr_buf_view(&list));
    tr_buf_done(&list);
    fail(error, TR_EEXIST, TR_ITEM_SET_DUPLICATE, reader, set.type);
    if (!text.ptr)
        return fail(error, TR_ENOMEM, TR_ITEM_MEMORY, reader, set.type);
    error->text = text;
    return TR_EEXIST;
}

static int read_set(tr_json_reader *reader, tr_packer *packer, tr_type type, tr_item_error *error)
{
    if (reader->token != TR_JSON_ARRAY)
        return fail_token(error, reader, type);
    tr_type element = tr__element_type(type);
    tr_pack_set_begin(packer, type);
    size_t start = packer->out->len - 4;
    uint32_t count = 0;
    for (; tr_json_next(reader) != TR_JSON_ARRAY_END; count++) {
        int e = read_text(reader, packer, element, true, error);
        if (e)
            return e;
    }
    if (count == 0)
        return fail(error, TR_EPARSE, TR_ITEM_EMPTY_SET, reader, type);
    int e = tr_pack_set_end(packer);
    if (e == TR_EEXIST)
        return fail_duplicate(
            reader, (tr_value){type, tr_view_of(packer->out->ptr + start, packer->out->len - start)}, error);
    return e ? fail_buf(error, reader, packer) : 0;
}

static int read_value(tr_json_reader *reader, tr_packer *packer, tr_item_error *error);

static int read_list(tr_json_reader *reader, tr_packer *packer, tr_item_error *error)
{
    if (reader->token != TR_JSON_ARRAY)
        return fail_token(error, reader, TR_L);
    tr_pack_list_begin(packer);
    while (tr_json_next(reader) != TR_JSON_ARRAY_END) {
        int e = read_value(reader, packer, error);
        if (e)
            return e;
    }
    return tr_pack_list_end(packer) ? fail_buf(error, reader, packer) : 0;
}

/* The members up to the object's end. */
static int read_members(tr_json_reader *reader, tr_packer *packer, tr_item_error *error)
{
    while (tr__read_plain_members(reader, packer) || tr_json_next(reader) == TR_JSON_KEY) {
        if (TR_UNLIKELY(tr__name_odd(reader->text)) && error->problem == TR_ITEM_OK)
            *error = (tr_item_error){.problem = TR_ITEM_NAME, .token = TR_JSON_KEY, .text = reader->text};
        tr_pack_name(packer, reader->text);
        tr_json_next(reader);
        int e = read_value(reader, packer, error);
        if (e)
            return e;
    }
    return reader->token == TR_JSON_OBJECT_END ? 0 : fail_json(error, reader);
}

static int fail_members(tr_json_reader *reader, const tr_packer *packer, int code, tr_item_error *error)
{
    if (code == TR_EEXIST)
        return fail(error, code, TR_ITEM_DUPLICATE_NAME, reader, TR_M);
    return fail_buf(error, reader, packer);
}

static int read_map(tr_json_reader *reader, tr_packer *packer, tr_item_error *error)
{
    if (reader->token != TR_JSON_OBJECT)
        return fail_token(error, reader, TR_M);
    tr_pack_map_begin(packer);
    int e = read_members(reader, packer, error);
    if (e)
        return e;
    e = tr_pack_map_end(packer);
    return e ? fail_members(reader, packer, e, error) : 0;
}

/* ---------------------------------------------------------------------------------------------- values */

static int read_typed(tr_json_reader *reader, tr_packer *packer, tr_type type, tr_item_error *error)
{
    switch (type) {
    case TR_S:
    case TR_N:
    case TR_B:
        return read_text(reader, packer, type, false, error);
    case TR_BOOL:
    case TR_NULL:
        return read_bool(reader, packer, type, error);
    case TR_M:
        return read_map(reader, packer, error);
    case TR_L:
        return read_list(reader, packer, error);
    default:
        return read_set(reader, packer, type, error);
    }
}

/* A second type makes the value invalid, but what is wrong inside it is told first. */
static int check_extra(tr_json_reader *reader, tr_buf *out, tr_type type, tr_item_error *error)
{
    tr_packer aside;
    tr_packer_init(&aside, out);
    return read_typed(reader, &aside, type, error);
}

static int read_value(tr_json_reader *reader, tr_packer *packer, tr_item_error *error)
{
    if (reader->token != TR_JSON_OBJECT) {
        if (reader->token == TR_JSON_ERROR)
            return fail_json(error, reader);
        return fail(error, TR_EPARSE, TR_ITEM_NOT_OBJECT, reader, TR_NONE);
    }
    if (tr__packer_level(packer) > TR_ITEM_DEPTH_MAX)
        return fail(error, TR_ELIMIT, TR_ITEM_DEPTH, reader, TR_NONE);
    unsigned named = 0; /* types that have a value */
    while (tr_json_next(reader) == TR_JSON_KEY) {
        tr_type type = type_named(reader->text);
        tr_json_next(reader);
        int e = 0;
        if (type == TR_NONE || reader->token == TR_JSON_NULL) /* the service looks past both */
            e = tr_json_skip(reader) ? fail_json(error, reader) : 0;
        else if (named++ == 0)
            e = read_typed(reader, packer, type, error);
        else
            e = check_extra(reader, packer->out, type, error);
        if (e)
            return e;
    }
    if (reader->token != TR_JSON_OBJECT_END)
        return fail_json(error, reader);
    if (named != 1)
        return fail(error, TR_EPARSE, named ? TR_ITEM_MANY_TYPES : TR_ITEM_NO_TYPE, reader, TR_NONE);
    return tr_buf_status(packer->out) ? fail_buf(error, reader, packer) : 0;
}

int tr_value_read(tr_json_reader *reader, tr_packer *packer, tr_item_error *ret_error)
{
    ret_error->problem = TR_ITEM_OK;
    return read_value(reader, packer, ret_error);
}

int tr_item_read(tr_json_reader *reader, tr_buf *out, tr_item_error *ret_error)
{
    if (reader->token != TR_JSON_OBJECT)
        return fail_token(ret_error, reader, TR_M);
    ret_error->problem = TR_ITEM_OK;
    tr_packer packer;
    tr_packer_init(&packer, out);
    tr_pack_item_begin(&packer);
    int e = read_members(reader, &packer, ret_error);
    if (e)
        return e;
    e = tr_pack_item_end(&packer);
    return e ? fail_members(reader, &packer, e, ret_error) : 0;
}
