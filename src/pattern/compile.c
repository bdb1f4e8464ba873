/* SPDX-License-Identifier: MIT */
/*
 * Reads patterns: objects, arrays of values, $or. The order of checks and the texts are those of the service,
 * whose compiler walks the tokens in the same way.
 */
#include "compiled.h"
#include "value.h"

#include <stdio.h>
#include <stdlib.h>

#define ARENA_LIMIT  (64u << 20)
#define COPIED_LIMIT 1000000 /* fields of branches, so that $or within $or stays small */

/* ---------------------------------------------------------------------------------------------- errors */

static int fail_args(struct tr__compiler *c, const char *format, va_list args)
{
    char reason[TR_ERROR_MESSAGE_MAX];
    (void)vsnprintf(reason, sizeof reason, format, args);
    if (c->options.dialect == TR_PATTERN_LAMBDA)
        return tr_fail_service(c->err, TR_EINVAL, 400, "InvalidParameterValueException",
                               "Invalid filter pattern definition. Reason: %s", reason);
    return tr_fail_service(c->err, TR_EINVAL, 400, "InvalidEventPatternException",
                           "Event pattern is not valid. Reason: %s", reason);
}

int tr__pattern_fail(struct tr__compiler *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int e = fail_args(c, format, args);
    va_end(args);
    return e;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$';
}

/* The character that a text begins with; a byte that begins none stands for itself. */
static tr_view letter_at(tr_view text, uint32_t *ret_code)
{
    uint8_t lead = (uint8_t)text.ptr[0];
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    tr_view letter = tr_view_of(text.ptr, len < text.len ? len : text.len);
    *ret_code = lead;
    if (letter.len == 1 || !tr_utf8_valid(letter))
        return tr_view_of(text.ptr, 1);
    *ret_code = lead & (0x7fU >> len);
    for (size_t i = 1; i < len; i++)
        *ret_code = *ret_code << 6 | ((uint8_t)text.ptr[i] & 0x3f);
    return letter;
}

/* What the service says about text that is not JSON, as far as it was seen. */
static int fail_json(struct tr__compiler *c)
{
    int code = tr_json_error_code(&c->reader);
    if (code == TR_ENOMEM)
        return tr_fail(c->err, code, "out of memory");
    const char *error = tr_json_error(&c->reader);
    size_t at = tr_json_offset(&c->reader);
    while (at < c->json.len && strchr(" \t\r\n", c->json.ptr[at]) && c->json.ptr[at])
        at++;
    if (at >= c->json.len)
        return tr__pattern_fail(c, "Unexpected end-of-input");
    char byte = c->json.ptr[at];
    uint32_t code_point;
    tr_view letter = letter_at(tr_view_of(c->json.ptr + at, c->json.len - at), &code_point);
    bool value = strcmp(error, "a value is not valid") == 0 || strcmp(error, "a number is not valid") == 0;
    if (value && is_word(byte) && !(byte >= '0' && byte <= '9')) {
        size_t end = at;
        while (end < c->json.len && is_word(c->json.ptr[end]))
            end++;
        return tr__pattern_fail(
            c,
            "Unrecognized token '%.*s': was expecting (JSON String, Number, Array, Object or "
            "token 'null', 'true' or 'false')",
            (int)(end - at), c->json.ptr + at);
    }
    if (strcmp(error, "a member's name is missing") == 0)
        return tr__pattern_fail(
            c, "Unexpected character ('%.*s' (code %u)): was expecting double-quote to start field name",
            TR_FMT(letter), code_point);
    return tr__pattern_fail(c, "Unexpected character ('%.*s' (code %u)): %s", TR_FMT(letter), code_point,
                            error);
}

int tr__pattern_next(struct tr__compiler *c, tr_json_token *ret_token)
{
    tr_json_token token = tr_json_next(&c->reader);
    if (token == TR_JSON_ERROR)
        return fail_json(c);
    *ret_token = token;
    return 0;
}

static int no_memory(struct tr__compiler *c, int code)
{
    if (code == TR_ELIMIT)
        return tr__pattern_fail(c, "Rule is too complex");
    return tr_fail(c->err, code, "%s", tr_strerror(code));
}

/* ------------------------------------------------------------------------------------ tests and fields */

int tr__pattern_add_test(struct tr__compiler *c, enum tr__kind kind, const void *bytes, size_t len)
{
    tr_pattern *p = c->pattern;
    int e = TR__VEC_ROOM(&p->tests);
    if (e)
        return no_memory(c, e);
    tr_view copy = tr_arena_copy(&p->arena, tr_view_of(bytes, len));
    if (!copy.ptr)
        return no_memory(c, TR_ENOMEM);
    p->tests.at[p->tests.len++] = (struct tr__test){.bytes = copy, .kind = (uint8_t)kind};
    return 0;
}

int tr__pattern_add_alternative(struct tr__compiler *c, bool but, uint32_t first)
{
    tr_pattern *p = c->pattern;
    int e = TR__VEC_ROOM(&p->alternatives);
    if (e)
        return no_memory(c, e);
    p->alternatives.at[p->alternatives.len++] =
        (struct tr__alternative){.first = first, .count = p->tests.len - first, .but = but};
    return 0;
}

/* A value that stands for itself. */
static int exact_value(struct tr__compiler *c, tr_json_token token)
{
    tr_view text = c->reader.text;
    uint32_t first = c->pattern->tests.len;
    struct tr__ip ip;
    uint64_t key;
    int e;
    if (token == TR_JSON_STRING && tr__ip_parse(text, &ip)) {
        uint8_t net[TR__NET_KEY];
        tr__net_key(&ip, ip.bits, net);
        e = tr__pattern_add_test(c, TR__NET, net, sizeof net);
    } else if (token == TR_JSON_STRING) {
        e = tr__pattern_add_test(c, TR__EXACT, text.ptr, text.len);
    } else if (token == TR_JSON_NUMBER && tr__number_key(text, &key)) {
        uint8_t bytes[8];
        tr_put_be64(bytes, key);
        e = tr__pattern_add_test(c, TR__NUMBER, bytes, sizeof bytes);
    } else {
        if (token != TR_JSON_NUMBER)
            text = tr_view_str(token == TR_JSON_TRUE ? "true" : token == TR_JSON_FALSE ? "false" : "null");
        e = tr__pattern_add_test(c, TR__LITERAL, text.ptr, text.len);
    }
    return e ? e : tr__pattern_add_alternative(c, false, first);
}

/* Puts a field into a branch; a later field of the same path takes the place of an earlier one. */
static int put(struct tr__compiler *c, struct tr__branch *branch, uint32_t field)
{
    const struct tr__field *fields = c->pattern->fields.at;
    for (uint32_t i = 0; i < branch->count; i++) {
        if (fields[branch->fields[i]].path == fields[field].path) {
            branch->fields[i] = field;
            return 0;
        }
    }
    if (branch->count == branch->cap) {
        uint32_t cap = branch->cap ? branch->cap * 2 : 4;
        uint32_t *more = tr_arena_alloc(&c->pattern->arena, cap * sizeof *more);
        if (!more)
            return no_memory(c, TR_ENOMEM);
        if (branch->count)
            memcpy(more, branch->fields, branch->count * sizeof *more);
        branch->fields = more;
        branch->cap = cap;
    }
    branch->fields[branch->count++] = field;
    return 0;
}

/* Branches of $or while they are made. */
typedef TR__VEC(struct tr__branch) branch_list;

static int add_branch(struct tr__compiler *c, branch_list *list, struct tr__branch branch)
{
    if (list->len >= c->options.max_combinations)
        return tr__pattern_fail(c, "$or conditions expand to more than %u combinations",
                                c->options.max_combinations);
    int e = TR__VEC_ROOM(list);
    if (e)
        return no_memory(c, e);
    list->at[list->len++] = branch;
    return 0;
}

/* Adds the field to every branch; the first field makes the first branch. */
static int put_everywhere(struct tr__compiler *c, branch_list *list, uint32_t field)
{
    int e = list->len ? 0 : add_branch(c, list, (struct tr__branch){0});
    for (uint32_t i = 0; i < list->len && !e; i++)
        e = put(c, &list->at[i], field);
    return e;
}

/* ---------------------------------------------------------------------------------------- the structure */

/* Appends a step to the path; returns the length to go back to. */
static size_t push_step(struct tr__compiler *c, tr_view step)
{
    size_t before = c->path.len;
    if (before)
        tr_buf_putc(&c->path, '.');
    tr_buf_put_view(&c->path, step);
    return before;
}

/* An array of values, whose [ was just read. */
static int read_values(struct tr__compiler *c, branch_list *list)
{
    tr_pattern *p = c->pattern;
    struct tr__field field = {.first = p->alternatives.len};
    int e = TR__VEC_ROOM(&p->fields);
    if (!e)
        e = tr_buf_status(&c->path);
    if (!e)
        e = tr__intern_add(&p->paths, &p->arena, 0, c->path.ptr, c->path.len, &field.path, NULL);
    if (e)
        return no_memory(c, e);
    for (;;) {
        tr_json_token token = TR_JSON_ERROR;
        if ((e = tr__pattern_next(c, &token)))
            return e;
        if (token == TR_JSON_ARRAY_END)
            break;
        if (token == TR_JSON_ARRAY)
            return tr__pattern_fail(c, "Match value must be String, number, true, false, or null");
        e = token == TR_JSON_OBJECT ? tr__pattern_operator(c) : exact_value(c, token);
        if (e)
            return e;
    }
    field.count = p->alternatives.len - field.first;
    if (field.count == 0)
        return tr__pattern_fail(c, "Empty arrays are not allowed");
    p->fields.at[p->fields.len++] = field;
    return put_everywhere(c, list, p->fields.len - 1);
}

/* Names that the service keeps for operators, which an object of $or must not use. */
static bool reserved(tr_view name)
{
    static const char *const names[] = {"exactly",
                                        "equals-ignore-case",
                                        "prefix",
                                        "suffix",
                                        "anything-but",
                                        "exists",
                                        "wildcard",
                                        "numeric",
                                        "cidr",
                                        "=",
                                        "<",
                                        "<=",
                                        ">",
                                        ">=",
                                        "regex",
                                        "not-wildcard",
                                        "not-equals-ignore-case",
                                        "date-after",
                                        "date-on-or-after",
                                        "date-before",
                                        "date-on-or-before",
                                        "in-date-range",
                                        "ip-address-in-range",
                                        "ip-address-not-in-range"};
    for (size_t i = 0; i < TR_COUNT(names); i++)
        if (tr_view_is(name, names[i]))
            return true;
    return false;
}

static int read_or(struct tr__compiler *c, branch_list *list);

/* Members of an object, whose { was just read. Nesting is limited by the reader. */
static int read_object(struct tr__compiler *c, branch_list *list, bool within_or)
{
    bool any = false;
    for (;; any = true) {
        tr_json_token token = TR_JSON_ERROR;
        int e = tr__pattern_next(c, &token);
        if (e)
            return e;
        if (token == TR_JSON_OBJECT_END)
            return any ? 0 : tr__pattern_fail(c, "Empty objects are not allowed");
        tr_view name = c->reader.text;
        if (tr_view_is(name, "$or")) {
            if ((e = read_or(c, list)))
                return e;
            continue;
        }
        if (within_or && reserved(name))
            return tr__pattern_fail(c, "%.*s is Ruler reserved fieldName which cannot be used inside $or.",
                                    TR_FMT(name));
        if ((e = tr__pattern_next(c, &token)))
            return e;
        if (token != TR_JSON_OBJECT && token != TR_JSON_ARRAY)
            return tr__pattern_fail(c, "\"%.*s\" must be an object or an array", TR_FMT(name));
        size_t before = push_step(c, name);
        e = token == TR_JSON_OBJECT ? read_object(c, list, within_or) : read_values(c, list);
        if (e)
            return e;
        c->path.len = before;
    }
}

/* Copies all branches read so far, for one object of $or to extend. */
static int copy_branches(struct tr__compiler *c, const branch_list *from, branch_list *to)
{
    int e = 0;
    for (uint32_t i = 0; i < from->len && !e; i++) {
        struct tr__branch copy = from->at[i];
        copy.cap = copy.count;
        c->copied += copy.count;
        if (c->copied > COPIED_LIMIT)
            return no_memory(c, TR_ELIMIT);
        copy.fields = tr_arena_alloc(&c->pattern->arena, copy.count * sizeof *copy.fields);
        if (!copy.fields)
            return no_memory(c, TR_ENOMEM);
        if (copy.count)
            memcpy(copy.fields, from->at[i].fields, copy.count * sizeof *copy.fields);
        e = add_branch(c, to, copy);
    }
    if (!e && from->len == 0)
        e = add_branch(c, to, (struct tr__branch){0});
    return e;
}

/* One object of $or: what was read before it, extended by it, joins `result`. */
static int read_or_object(struct tr__compiler *c, const branch_list *before, branch_list *result)
{
    branch_list extended = {0};
    int e = copy_branches(c, before, &extended);
    if (!e)
        e = read_object(c, &extended, true);
    for (uint32_t i = 0; i < extended.len && !e; i++)
        e = add_branch(c, result, extended.at[i]);
    TR__VEC_FREE(&extended);
    return e;
}

static int read_or_objects(struct tr__compiler *c, const branch_list *before, branch_list *result)
{
    tr_json_token token = TR_JSON_ERROR;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    if (token != TR_JSON_ARRAY)
        return tr__pattern_fail(c, "It must be an Array followed with $or.");
    for (unsigned count = 0;; count++) {
        if ((e = tr__pattern_next(c, &token)))
            return e;
        if (token == TR_JSON_ARRAY_END)
            return count >= 2
                       ? 0
                       : tr__pattern_fail(c, "There must have at least 2 Objects in $or relationship.");
        if (token != TR_JSON_OBJECT)
            return tr__pattern_fail(c, "Only JSON object is allowed in array of $or relationship.");
        if ((e = read_or_object(c, before, result)))
            return e;
    }
}

static int read_or(struct tr__compiler *c, branch_list *list)
{
    branch_list result = {0};
    int e = read_or_objects(c, list, &result);
    if (e) {
        TR__VEC_FREE(&result);
        return e;
    }
    TR__VEC_FREE(list);
    *list = result;
    return 0;
}

/* ------------------------------------------------------------------------------------------------- whole */

static int by_path(const void *a, const void *b, void *pattern)
{
    const tr_pattern *p = pattern;
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    const struct tr__intern_key *kx = &p->paths.keys.at[p->fields.at[x].path];
    const struct tr__intern_key *ky = &p->paths.keys.at[p->fields.at[y].path];
    return tr_view_cmp(tr_view_of(kx->bytes, kx->len), tr_view_of(ky->bytes, ky->len));
}

static int read_pattern(struct tr__compiler *c)
{
    branch_list list = {0};
    tr_json_token token = TR_JSON_ERROR;
    int e = tr__pattern_next(c, &token);
    if (!e && token != TR_JSON_OBJECT)
        e = tr__pattern_fail(c, "Filter is not an object");
    if (!e)
        e = read_object(c, &list, false);
    if (!e)
        e = tr__pattern_next(c, &token);
    tr_pattern *p = c->pattern;
    p->branches.at = list.at;
    p->branches.len = list.len;
    p->branches.cap = list.cap;
    for (uint32_t i = 0; i < list.len && !e; i++)
        qsort_r(list.at[i].fields, list.at[i].count, sizeof *list.at[i].fields, by_path, p);
    return e ? e : tr__pattern_complexity(c);
}

static size_t count_characters(tr_view text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
    return n;
}

static void set_options(struct tr__compiler *c, const tr_pattern_options *options)
{
    if (options)
        c->options = *options;
    tr_pattern_options *o = &c->options;
    if (o->max_length == 0)
        o->max_length =
            o->dialect == TR_PATTERN_LAMBDA ? TR_PATTERN_FILTER_LENGTH_MAX : TR_PATTERN_LENGTH_MAX;
    if (o->max_length > TR_PATTERN_LENGTH_CEILING)
        o->max_length = TR_PATTERN_LENGTH_CEILING;
    if (o->max_combinations == 0)
        o->max_combinations = TR_PATTERN_COMBINATIONS_MAX;
    if (o->max_complexity == 0)
        o->max_complexity = TR_PATTERN_COMPLEXITY_MAX;
    if (o->max_complexity > TR_PATTERN_COMPLEXITY_CEILING)
        o->max_complexity = TR_PATTERN_COMPLEXITY_CEILING;
}

int tr_pattern_compile(tr_view json, const tr_pattern_options *options, tr_pattern **ret_pattern,
                       tr_error *err)
{
    struct tr__compiler c = {.json = json, .err = err};
    set_options(&c, options);
    if (json.len > c.options.max_length * 4 || count_characters(json) > c.options.max_length)
        return tr__pattern_fail(&c, "Event pattern is longer than %zu characters", c.options.max_length);
    c.pattern = tr_calloc(1, sizeof *c.pattern);
    if (!c.pattern)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    atomic_init(&c.pattern->refs, 1);
    atomic_init(&c.pattern->single, NULL);
    tr_arena_init(&c.pattern->arena, ARENA_LIMIT);
    tr_buf_init(&c.path, TR_PATTERN_LENGTH_CEILING * 8);
    tr_json_init(&c.reader, json, &c.pattern->arena);
    int e = read_pattern(&c);
    tr_buf_done(&c.path);
    TR__VEC_FREE(&c.wildcards);
    if (e) {
        tr_pattern_free(c.pattern);
        return e;
    }
    *ret_pattern = c.pattern;
    return 0;
}

tr_pattern *tr__pattern_ref(const tr_pattern *pattern)
{
    tr_pattern *p = (tr_pattern *)(uintptr_t)pattern;
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void tr_pattern_free(tr_pattern *pattern)
{
    if (!pattern || atomic_fetch_sub(&pattern->refs, 1) != 1)
        return;
    tr_matcher_free(atomic_load(&pattern->single));
    tr__intern_done(&pattern->paths);
    TR__VEC_FREE(&pattern->tests);
    TR__VEC_FREE(&pattern->alternatives);
    TR__VEC_FREE(&pattern->fields);
    TR__VEC_FREE(&pattern->branches);
    tr_arena_done(&pattern->arena);
    tr_free(pattern);
}
