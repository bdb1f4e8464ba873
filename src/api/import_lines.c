/* SPDX-License-Identifier: MIT */
#include "api/import.h"

/* Items out of DynamoDB JSON, {"Item":{…}} a line, and out of CSV. */

#define COLUMNS_MAX 10000
/* No item of 400 KB needs more, however its bytes are written; reading one takes milliseconds. */
#define LINE_MAX_BYTES ((size_t)4 * 1024 * 1024)

static bool blank(tr_view line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] != ' ' && line.ptr[i] != '\t' && line.ptr[i] != '\r')
            return false;
    return true;
}

/* Up to the line's end. false at the text's end. */
static bool next_line(tr_import_lines *l, tr_view *ret_line)
{
    if (l->at >= l->text.len)
        return false;
    const char *from = l->text.ptr + l->at, *end = memchr(from, '\n', l->text.len - l->at);
    size_t n = end ? (size_t)(end - from) : l->text.len - l->at;
    *ret_line = tr_view_of(from, n);
    l->at += n + 1;
    return true;
}

/* An item as PutItem would take it. */
static int read_item(tr_view json, tr_arena *arena, tr_buf *scratch, tr_item *ret_item, tr_error *err)
{
    tr_json_reader r;
    tr_item_error problem;
    tr_buf_reset(scratch);
    tr_json_init(&r, json, arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return tr_fail(err, TR_EPARSE, "an item is not an object");
    int e = tr_item_read(&r, scratch, &problem);
    if (e == 0 && problem.problem == TR_ITEM_NAME)
        e = TR_EPARSE;
    if (e)
        return tr_item_error_to(&problem, e == TR_ENOMEM ? e : TR_EPARSE, &r, err);
    *ret_item = tr_arena_copy(arena, tr_buf_view(scratch));
    return ret_item->ptr ? 0 : tr_fail(err, TR_ENOMEM, "out of memory");
}

static int next_json(tr_import_lines *l, tr_arena *arena, tr_buf *scratch, tr_item *ret_item, tr_error *err)
{
    tr_view line, item;
    do
        if (!next_line(l, &line))
            return TR_ENOTFOUND;
    while (blank(line));
    if (line.len > LINE_MAX_BYTES)
        return tr_fail(err, TR_EPARSE, "a line is longer than %zu bytes", LINE_MAX_BYTES);
    if (tr_json_member(line, "Item", arena, &item))
        return tr_fail(err, TR_EPARSE, "a line is not of the form {\"Item\":{…}}");
    return read_item(item, arena, scratch, ret_item, err);
}

/* ------------------------------------------------------------------------------------------------------ CSV
 */

/* The quote that ends a quoted field, or the text's end. */
static const char *quote_end(const char *p, const char *end)
{
    while ((p = memchr(p, '"', (size_t)(end - p))) && p + 1 < end && p[1] == '"')
        p += 2;
    return p ? p : end;
}

/* One field; quotes are taken off. ret_end: the line ends behind it. */
static int next_field(tr_import_lines *l, tr_arena *arena, tr_view *ret_field, bool *ret_end)
{
    const char *p = l->text.ptr + l->at, *end = l->text.ptr + l->text.len;
    const char *from = p;
    char delimiter = l->format->delimiter;
    if (p < end && *p == '"') {
        const char *close = quote_end(p + 1, end);
        if ((size_t)(close - p) > LINE_MAX_BYTES) {
            const char *line = memchr(close, '\n', (size_t)(end - close));
            l->at = line ? (size_t)(line - l->text.ptr) + 1 : l->text.len;
            return TR_ELIMIT;
        }
        char *to = tr_arena_alloc(arena, (size_t)(close - p)), *out = to;
        if (!to)
            return TR_ENOMEM;
        for (p++; p < end; p++) {
            if (*p == '"' && (p + 1 == end || p[1] != '"'))
                break;
            p += *p == '"';
            *out++ = *p;
        }
        *ret_field = tr_view_of(to, (size_t)(out - to));
        p += p < end;
        while (p < end && *p != delimiter && *p != '\n')
            p++;
    } else {
        while (p < end && *p != delimiter && *p != '\n')
            p++;
        size_t n = (size_t)(p - from);
        *ret_field = tr_view_of(from, n && from[n - 1] == '\r' && (p == end || *p == '\n') ? n - 1 : n);
    }
    *ret_end = p == end || *p == '\n';
    l->at = (size_t)(p - l->text.ptr) + 1;
    return 0;
}

static int read_names(tr_import_lines *l, tr_error *err)
{
    bool end = false;
    if (l->format->has_header) {
        l->names = l->format->header;
        l->name_count = l->format->header_count;
        return 0;
    }
    tr_view *names = tr_arena_calloc(l->names_arena, COLUMNS_MAX, sizeof *names);
    if (!names)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    while (!end && l->at < l->text.len) {
        if (l->name_count == COLUMNS_MAX)
            return tr_fail(err, TR_ELIMIT, "a header of more than %d names", COLUMNS_MAX);
        if (next_field(l, l->names_arena, &names[l->name_count++], &end))
            return tr_fail(err, TR_ENOMEM, "out of memory");
    }
    l->names = names;
    return 0;
}

static tr_type type_of(const tr_table *table, tr_view name)
{
    for (unsigned i = 0; i < table->attribute_count; i++)
        if (tr_view_eq(table->attributes[i].name, name))
            return table->attributes[i].type;
    return TR_S;
}

/* 0, or TR_EPARSE if the text is no value of the key's type. */
static int put_field(tr_packer *p, tr_type type, tr_view name, tr_view text, tr_arena *arena)
{
    size_t len;
    char *bytes;
    tr_pack_name(p, name);
    switch (type) {
    case TR_N:
        if (tr_pack_n(p, text) == 0)
            return 0;
        tr_pack_null(p);
        return TR_EPARSE;
    case TR_B:
        bytes = tr_arena_alloc(arena, TR_BASE64_DECODED_MAX(text.len));
        if (bytes && tr_base64_decode(text, bytes, &len) == 0) {
            tr_pack_b(p, tr_view_of(bytes, len));
            return 0;
        }
        tr_pack_null(p);
        return TR_EPARSE;
    default:
        tr_pack_s(p, text);
        return tr_utf8_valid(text) ? 0 : TR_EPARSE;
    }
}

static int next_csv(tr_import_lines *l, const tr_table *table, tr_arena *arena, tr_buf *scratch,
                    tr_item *ret_item, tr_error *err)
{
    tr_packer p;
    bool end = false;
    int bad = 0, e = l->names ? 0 : read_names(l, err);
    uint32_t column = 0;
    while (e == 0 && l->at < l->text.len && (l->text.ptr[l->at] == '\n' || l->text.ptr[l->at] == '\r'))
        l->at++;
    if (e)
        return e;
    if (l->at >= l->text.len)
        return TR_ENOTFOUND;
    tr_buf_reset(scratch);
    tr_packer_init(&p, scratch);
    tr_pack_item_begin(&p);
    while (!end && l->at <= l->text.len) {
        tr_view field;
        e = next_field(l, arena, &field, &end);
        if (e)
            return e == TR_ELIMIT
                       ? tr_fail(err, TR_EPARSE, "a field is longer than %zu bytes", LINE_MAX_BYTES)
                       : tr_fail(err, e, "out of memory");
        if (column < l->name_count && field.len && l->names[column].len)
            bad |= put_field(&p, type_of(table, l->names[column]), l->names[column], field, arena);
        column++;
    }
    e = tr_pack_item_end(&p);
    if (e == TR_ENOMEM)
        return tr_fail(err, e, "out of memory");
    if (e || bad || column > l->name_count)
        return tr_fail(err, TR_EPARSE, "a line has values that do not fit its columns");
    *ret_item = tr_arena_copy(arena, tr_buf_view(scratch));
    return ret_item->ptr ? 0 : tr_fail(err, TR_ENOMEM, "out of memory");
}

int tr__import_next(tr_import_lines *l, const tr_table *table, tr_arena *arena, tr_buf *scratch,
                    tr_item *ret_item, tr_error *err)
{
    return l->format->csv ? next_csv(l, table, arena, scratch, ret_item, err)
                          : next_json(l, arena, scratch, ret_item, err);
}
