/* SPDX-License-Identifier: MIT */
/* Reads an event: follows the keys that lead to tested places, gets over everything else without looking. */
#include "match.h"
#include "scan.h"

#define DEPTH_MAX 256

struct walk {
    tr_match_ctx *c;
    const tr_matcher *m;
    const char *begin, *end;
};

static const char *fail(struct walk *w, int code)
{
    if (w->c->status == 0)
        w->c->status = code;
    return NULL;
}

static const char *malformed(struct walk *w)
{
    return fail(w, TR_EPARSE);
}

/* ----------------------------------------------------------------------------------------------- values */

/* Decodes a string's escapes. What all strings of an event decode to fits the event's size, so the room is
 * made once. */
static bool decode(struct walk *w, const char *from, const char *to, tr_view *ret)
{
    tr_match_ctx *c = w->c;
    if (c->text.len == 0) {
        int e = tr__vec_grow(&c->text.at, &c->text.cap, (size_t)(w->end - w->begin), 1);
        if (e)
            return fail(w, e), false;
    }
    size_t len;
    if (tr__json_unescape(from, to, c->text.at + c->text.len, &len))
        return malformed(w), false;
    *ret = tr_view_of(c->text.at + c->text.len, len);
    c->text.len += (uint32_t)len;
    return true;
}

static bool record(struct walk *w, uint32_t path, uint32_t scope, enum tr__type type, tr_view text)
{
    tr_match_ctx *c = w->c;
    if (c->values.len >= c->options.max_values)
        return fail(w, TR_ELIMIT), false;
    int e = TR__VEC_ROOM(&c->values);
    if (e)
        return fail(w, e), false;
    uint32_t value = c->values.len++;
    struct tr__value *v = &c->values.at[value];
    *v = (struct tr__value){.text = text, .next = TR__NONE, .scope = scope, .type = (uint8_t)type};
    if (type == TR__NUMERIC)
        v->keyed = tr__number_key(text, &v->key);
    struct tr__found *f = &c->found.at[path];
    if (f->epoch != c->epoch) {
        *f = (struct tr__found){.epoch = c->epoch, .first = value, .last = value};
        c->present.at[c->present.len++] = path; /* has room for all paths */
    } else {
        c->values.at[f->last].next = value;
        f->last = value;
    }
    f->count++;
    f->scoped += scope != 0;
    c->scoped += scope != 0;
    return true;
}

/* p: behind the quote */
static const char *read_string(struct walk *w, const char *p, uint32_t path, uint32_t scope)
{
    bool escaped = false;
    const char *close = tr__scan_string(p, w->end, &escaped);
    if (!close)
        return malformed(w);
    if (path == TR__NONE)
        return close + 1;
    tr_view text = tr_view_of(p, (size_t)(close - p));
    if (escaped && !decode(w, p, close, &text))
        return NULL;
    return record(w, path, scope, TR__STRING, text) ? close + 1 : NULL;
}

/* A number, true, false or null. */
static const char *read_word(struct walk *w, const char *p, uint32_t path, uint32_t scope)
{
    const char *behind = tr__scan_word(p, w->end);
    tr_view text = tr_view_of(p, (size_t)(behind - p));
    if (text.len == 0)
        return malformed(w);
    if (path == TR__NONE)
        return behind;
    bool number = *p == '-' || (*p >= '0' && *p <= '9');
    if (number ? tr__json_scan_number(p, behind) != behind
               : !tr_view_is(text, "true") && !tr_view_is(text, "false") && !tr_view_is(text, "null"))
        return malformed(w);
    return record(w, path, scope, number ? TR__NUMERIC : TR__WORD, text) ? behind : NULL;
}

/* ------------------------------------------------------------------------------------------------- keys */

/* The step that a name without dots leads to. */
static inline uint32_t edge_of(const struct walk *w, const struct tr__step *step, tr_view name,
                               const char *readable)
{
    if (TR_UNLIKELY(step->count > TR__EDGES_SCANNED)) {
        uint32_t id =
            tr__intern_find(&w->m->step_names, (uint64_t)(step - w->m->steps.at), name.ptr, name.len);
        return id == TR__NONE ? TR__NONE : id + 1;
    }
    if (step->count == 0)
        return TR__NONE;
    uint64_t head = tr__head8(name.ptr, name.len, readable);
    const struct tr__edge *edge = &w->m->edges.at[step->first];
    for (uint32_t i = 0; i < step->count; i++, edge++)
        if (edge->head == head && edge->len == name.len &&
            (name.len <= 8 || memcmp(edge->text + 8, name.ptr + 8, name.len - 8) == 0))
            return edge->to;
    return TR__NONE;
}

/* A name with dots takes a step for each of its parts. */
static uint32_t dotted(const struct walk *w, const struct tr__step *step, tr_view name)
{
    uint32_t to = TR__NONE;
    for (size_t from = 0; from <= name.len;) {
        const char *dot = from < name.len ? memchr(name.ptr + from, '.', name.len - from) : NULL;
        size_t end = dot ? (size_t)(dot - name.ptr) : name.len;
        to = edge_of(w, step, tr_view_of(name.ptr + from, end - from), name.ptr + name.len);
        if (to == TR__NONE)
            return TR__NONE;
        step = &w->m->steps.at[to];
        from = end + 1;
    }
    return to;
}

/* Reads a member's name and the colon; p: at the quote. Gives the step it leads to. */
static const char *read_name(struct walk *w, const char *p, uint32_t step, uint32_t *ret_to)
{
    const struct tr__step *s = &w->m->steps.at[step];
    bool escaped = false;
    const char *close = tr__scan_string(p + 1, w->end, &escaped);
    if (!close)
        return malformed(w);
    tr_view name = tr_view_of(p + 1, (size_t)(close - p - 1));
    const char *readable = w->end;
    if (TR_UNLIKELY(escaped)) {
        if (!decode(w, p + 1, close, &name))
            return NULL;
        readable = name.ptr + name.len;
    }
    *ret_to = edge_of(w, s, name, readable);
    if (*ret_to == TR__NONE && s->inner && name.len && memchr(name.ptr, '.', name.len))
        *ret_to = dotted(w, s, name);
    p = tr__scan_space(close + 1, w->end);
    return p < w->end && *p == ':' ? tr__scan_space(p + 1, w->end) : malformed(w);
}

/* ------------------------------------------------------------------------------------------- containers */

static const char *read_value(struct walk *w, const char *p, uint32_t step, uint32_t scope, unsigned depth);

static const char *skip(struct walk *w, const char *p)
{
    p = tr__scan_value(p, w->end);
    return p ? p : malformed(w);
}

/* p: behind the { */
static const char *read_object(struct walk *w, const char *p, uint32_t step, uint32_t scope, unsigned depth)
{
    p = tr__scan_space(p, w->end);
    if (p < w->end && *p == '}')
        return p + 1;
    while (p < w->end && *p == '"') {
        uint32_t to = TR__NONE;
        p = read_name(w, p, step, &to);
        if (!p)
            return NULL;
        p = to == TR__NONE ? skip(w, p) : read_value(w, p, to, scope, depth);
        if (!p)
            return NULL;
        p = tr__scan_space(p, w->end);
        if (p < w->end && *p == '}')
            return p + 1;
        if (p >= w->end || *p != ',')
            break;
        p = tr__scan_space(p + 1, w->end);
    }
    return malformed(w);
}

/* A scope of its own for an element; TR__NONE without memory. */
static uint32_t open_scope(struct walk *w, uint32_t above, uint32_t *array, uint32_t first)
{
    tr_match_ctx *c = w->c;
    int e = TR__VEC_ROOM(&c->scopes);
    if (!e && *array == TR__NONE)
        e = TR__VEC_ROOM(&c->arrays);
    if (e) {
        fail(w, e);
        return TR__NONE;
    }
    if (*array == TR__NONE) {
        *array = c->arrays.len++;
        c->arrays.at[*array] = (struct tr__array){.first = first};
    }
    c->scopes.at[c->scopes.len] = (struct tr__scope){
        .above = above, .depth = c->scopes.at[above].depth + 1, .array = *array, .first = c->values.len};
    return c->scopes.len++;
}

/* An element that is an object or an array: what lies in it, lies together. */
static const char *read_element(struct walk *w, const char *p, uint32_t step, uint32_t above, uint32_t *array,
                                uint32_t first, unsigned depth)
{
    tr_match_ctx *c = w->c;
    uint32_t scope = open_scope(w, above, array, first);
    if (scope == TR__NONE)
        return NULL;
    p = read_value(w, p, step, scope, depth);
    c->scopes.at[scope].end = c->values.len;
    if (c->scopes.at[scope].first == c->values.len)
        c->scopes.len = scope; /* nothing was found in it */
    return p;
}

/* p: behind the [ */
static const char *read_array(struct walk *w, const char *p, uint32_t step, uint32_t scope, unsigned depth)
{
    uint32_t array = TR__NONE, first = w->c->values.len;
    p = tr__scan_space(p, w->end);
    if (p < w->end && *p == ']')
        return p + 1;
    while (p < w->end) {
        p = *p == '{' || *p == '[' ? read_element(w, p, step, scope, &array, first, depth)
                                   : read_value(w, p, step, scope, depth);
        if (!p)
            return NULL;
        p = tr__scan_space(p, w->end);
        if (p < w->end && *p == ']') {
            if (array != TR__NONE)
                w->c->arrays.at[array].end = w->c->values.len;
            return p + 1;
        }
        if (p >= w->end || *p != ',')
            break;
        p = tr__scan_space(p + 1, w->end);
    }
    return malformed(w);
}

static const char *read_value(struct walk *w, const char *p, uint32_t step, uint32_t scope, unsigned depth)
{
    const struct tr__step *s = &w->m->steps.at[step];
    if (p >= w->end)
        return malformed(w);
    switch (*p) {
    case '"':
        return read_string(w, p + 1, s->path, scope);
    case '{':
        if (s->count == 0)
            return skip(w, p);
        if (depth == DEPTH_MAX)
            return fail(w, TR_ELIMIT);
        return read_object(w, p + 1, step, scope, depth + 1);
    case '[':
        if (depth == DEPTH_MAX)
            return fail(w, TR_ELIMIT);
        return read_array(w, p + 1, step, scope, depth + 1);
    default:
        return read_word(w, p, s->path, scope);
    }
}

int tr__event_read(tr_match_ctx *c, tr_view event)
{
    c->values.len = c->present.len = c->arrays.len = c->text.len = c->scoped = 0;
    c->status = 0;
    if (event.len == 0)
        return TR_EPARSE;
    struct walk w = {.c = c, .m = c->m, .begin = event.ptr, .end = event.ptr + event.len};
    c->scopes.len = 1;
    c->scopes.at[0] = (struct tr__scope){.above = TR__NONE, .array = TR__NONE};
    const char *p = tr__scan_space(event.ptr, w.end);
    if (p >= w.end || *p != '{')
        return TR_EPARSE;
    p = read_object(&w, p + 1, 0, 0, 1);
    if (!p)
        return c->status;
    return tr__scan_space(p, w.end) == w.end ? 0 : TR_EPARSE;
}
