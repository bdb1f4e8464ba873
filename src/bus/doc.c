/* SPDX-License-Identifier: MIT */
/* Reading and changing the documents of resources. */
#include "bus/bus_private.h"

char *tr__bus_copy(tr_view text)
{
    char *copy = tr_malloc(text.len + 1);
    if (!copy)
        return NULL;
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return copy;
}

/* Texts with escapes are decoded on the way, all of the document's at most; allocations round up. */
#define DECODED_MAX(doc) ((doc).len * 2 + 65536)

tr_view tr_doc_raw(tr_view doc, const char *name)
{
    tr_arena arena;
    tr_view raw = {NULL, 0};
    if (!doc.len)
        return raw;
    tr_arena_init(&arena, DECODED_MAX(doc));
    if (tr_json_member(doc, name, &arena, &raw) != 0)
        raw = (tr_view){NULL, 0};
    tr_arena_done(&arena);
    return raw;
}

tr_view tr_doc_text(tr_view doc, const char *name, tr_arena *arena)
{
    tr_view raw = tr_doc_raw(doc, name);
    tr_json_reader r;
    if (!raw.ptr)
        return raw;
    tr_json_init(&r, raw, arena);
    return tr_json_next(&r) == TR_JSON_STRING ? r.text : (tr_view){NULL, 0};
}

int64_t tr_doc_int(tr_view doc, const char *name, int64_t otherwise)
{
    tr_view raw = tr_doc_raw(doc, name);
    tr_json_reader r;
    int64_t number;
    if (!raw.ptr)
        return otherwise;
    tr_json_init(&r, raw, NULL);
    return tr_json_next(&r) == TR_JSON_NUMBER && tr_json_int(&r, &number) == 0 ? number : otherwise;
}

void tr_doc_with(tr_view doc, const char *name, tr_view raw, tr_buf *out)
{
    tr_arena arena;
    tr_json_reader r;
    tr_json_writer w;
    tr_arena_init(&arena, DECODED_MAX(doc));
    tr_json_init(&r, doc, &arena);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    if (tr_json_next(&r) == TR_JSON_OBJECT)
        while (tr_json_next_key(&r)) {
            tr_view key = r.text, value;
            tr_json_next(&r);
            if (tr_json_raw(&r, &value))
                break;
            if (tr_view_is(key, name))
                continue;
            tr_json_key(&w, key);
            tr_json_value(&w, value);
        }
    if (raw.ptr) {
        tr_json_name(&w, name);
        tr_json_value(&w, raw);
    }
    tr_json_end_object(&w);
    tr_arena_done(&arena);
}

int tr_doc_elements(tr_view array, tr_arena *arena, tr_view **ret_elements, size_t *ret_count)
{
    tr_json_reader r;
    tr_view *elements = NULL;
    size_t count = 0, cap = 0;
    *ret_elements = NULL;
    *ret_count = 0;
    if (!array.len)
        return 0;
    tr_json_init(&r, array, arena);
    if (tr_json_next(&r) != TR_JSON_ARRAY)
        return TR_EPARSE;
    while (tr_json_next(&r) != TR_JSON_ARRAY_END) {
        tr_view raw;
        if (tr_json_raw(&r, &raw))
            return TR_EPARSE;
        if (count == cap) {
            cap = cap ? cap * 2 : 8;
            tr_view *more = tr_arena_calloc(arena, cap, sizeof *more);
            if (!more)
                return TR_ENOMEM;
            if (count)
                memcpy(more, elements, count * sizeof *more);
            elements = more;
        }
        elements[count++] = raw;
    }
    *ret_elements = elements;
    *ret_count = count;
    return 0;
}
