/* SPDX-License-Identifier: MIT */
#include "replica/row.h"

int tr__row_key(const tr_sink_table *table, tr_item item, tr_buf *ret_key, tr_error *err)
{
    const struct {
        tr_view name;
        tr_type type;
    } parts[] = {{table->hash_name, table->hash_type}, {table->range_name, table->range_type}};
    for (size_t i = 0; i < TR_COUNT(parts) && parts[i].name.len; i++) {
        tr_value v;
        if (tr_item_get(item, parts[i].name, &v) || v.type != parts[i].type)
            return tr_fail(err, TR_EINVAL, "an item of %.*s lacks its key attribute '%.*s'",
                           TR_FMT(table->name), TR_FMT(parts[i].name));
        tr_key_put(ret_key, v);
    }
    int e = tr_buf_status(ret_key);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

int tr__row_sequence(tr_view number, tr_buf *ret_text, tr_error *err)
{
    if (number.len == 0 || number.len > TR__ROW_SEQUENCE)
        return tr_fail(err, TR_EINVAL, "a sequence number has %zu digits, 1 to %d expected", number.len,
                       TR__ROW_SEQUENCE);
    for (size_t i = number.len; i < TR__ROW_SEQUENCE; i++)
        tr_buf_putc(ret_text, '0');
    tr_buf_put_view(ret_text, number);
    int e = tr_buf_status(ret_text);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

bool tr__row_replace_nul(tr_buf *json)
{
    bool found = false;
    if (tr_buf_status(json))
        return false;
    for (size_t i = 0; i + 1 < json->len; i++) {
        if (json->ptr[i] != '\\')
            continue;
        if (i + 6 <= json->len && memcmp(json->ptr + i, "\\u0000", 6) == 0) {
            memcpy(json->ptr + i, "\\ufffd", 6);
            found = true;
        }
        i++; /* what is escaped is no beginning of an escape */
    }
    return found;
}

static int read_json(tr_view json, bool typed, tr_arena *arena, tr_buf *out)
{
    tr_json_reader reader;
    tr_item_error problem;
    tr_json_init(&reader, json, arena);
    if (tr_json_next(&reader) != TR_JSON_OBJECT)
        return TR_ECORRUPT;
    return typed ? tr_item_read(&reader, out, &problem)
                 : tr_item_read_plain(&reader, TR_PLAIN_EXACT, out, &problem);
}

/* Whether the plain JSON is what the item looks like in it, however it is laid out. */
static int same_plain(tr_item item, tr_view plain, bool no_nul, tr_arena *arena, tr_buf *ret_plain_item,
                      bool *ret_same)
{
    tr_json_writer w;
    tr_buf text, expected;
    tr_buf_init(&text, TR__ROW_JSON_MAX);
    tr_buf_init(&expected, TR__ROW_JSON_MAX);
    tr_json_write_init(&w, &text);
    tr_item_write_plain(&w, item);
    if (no_nul)
        (void)tr__row_replace_nul(&text);
    int e = tr_buf_status(&text);
    *ret_same = !e && tr_view_eq(tr_buf_view(&text), plain);
    if (!e && !*ret_same) {
        e = read_json(plain, false, arena, ret_plain_item);
        if (!e)
            e = read_json(tr_buf_view(&text), false, arena, &expected);
        *ret_same = !e && tr_view_eq(tr_buf_view(&expected), tr_buf_view(ret_plain_item));
    }
    tr_buf_done(&text);
    tr_buf_done(&expected);
    return e;
}

int tr__row_read(tr_view plain, tr_view typed, bool no_nul, tr_arena *arena, tr_buf *out, tr_error *err)
{
    tr_buf changed;
    bool same = true;
    size_t start = out->len;
    tr_buf_init(&changed, TR__ROW_JSON_MAX);
    int e = read_json(typed.len ? typed : plain, typed.len != 0, arena, out);
    if (!e && typed.len)
        e = same_plain(tr_view_of(out->ptr + start, out->len - start), plain, no_nul, arena, &changed, &same);
    if (!e && !same) {
        out->len = start;
        tr_buf_put_view(out, tr_buf_view(&changed));
        e = tr_buf_status(out);
    }
    tr_buf_done(&changed);
    return e ? tr_fail(err, TR_ECORRUPT, "a row's item is not valid: %.*s",
                       plain.len < 200 ? (int)plain.len : 200, plain.ptr)
             : 0;
}

/* ------------------------------------------------------------------------------------------ key columns */

/* What the column of a key attribute holds. */
static void put_column(tr_value v, bool no_nul, tr_buf *out)
{
    char text[TR_NUMBER_TEXT_MAX];
    if (v.type == TR_N) {
        tr_buf_put(out, text, tr_number_format(v.payload, text));
        return;
    }
    for (size_t i = 0; i < v.payload.len; i++) {
        if (v.payload.ptr[i] || v.type == TR_B || !no_nul)
            tr_buf_putc(out, v.payload.ptr[i]);
        else
            tr_buf_put_str(out, "\xef\xbf\xbd");
    }
}

/* The item with another value of that name. */
static int put_replaced(tr_item item, tr_view name, tr_value value, tr_buf *out)
{
    tr_packer p;
    tr_packed_iter iter;
    tr_packer_init(&p, out);
    tr_pack_item_begin(&p);
    tr_item_iter(&iter, item);
    while (tr_packed_next(&iter)) {
        if (tr_view_eq(iter.name, name))
            continue;
        tr_pack_name(&p, iter.name);
        tr_pack_encoded(&p, iter.encoded);
    }
    tr_pack_name(&p, name);
    tr_pack_value(&p, value);
    return tr_pack_item_end(&p);
}

/* Whether the item's key attributes are those of the row's key. */
static bool item_fits(const tr_sink_table *table, tr_item item, tr_view key)
{
    tr_buf own;
    tr_error ignored;
    tr_buf_init(&own, TR__ROW_JSON_MAX);
    bool fits = tr__row_key(table, item, &own, &ignored) == 0 && tr_view_eq(tr_buf_view(&own), key);
    tr_buf_done(&own);
    return fits;
}

int tr__row_check_column(const tr_sink_table *table, tr_view key, bool range, tr_view column, bool no_nul,
                         tr_buf *packed, size_t start, tr_error *err)
{
    tr_view name = range ? table->range_name : table->hash_name;
    tr_item item = tr_view_of(packed->ptr + start, packed->len - start);
    tr_value v;
    tr_buf text;
    if (!item_fits(table, item, key) || tr_item_get(item, name, &v))
        return 0; /* it is the item that differs */
    tr_buf_init(&text, TR__ROW_JSON_MAX);
    put_column(v, no_nul, &text);
    int e = tr_buf_status(&text);
    if (!e && !tr_view_eq(tr_buf_view(&text), column)) {
        tr_buf_reset(&text);
        e = put_replaced(item, name,
                         (tr_value){v.type == TR_B || !tr_utf8_valid(column) ? TR_B : TR_S, column}, &text);
        if (!e) {
            packed->len = start;
            tr_buf_put_view(packed, tr_buf_view(&text));
            e = tr_buf_status(packed);
        }
    }
    tr_buf_done(&text);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}
