/* SPDX-License-Identifier: MIT */
/* Reads {"prefix": …} and its like. Each function starts behind the token that chose it and ends behind its
 * own }. */
#include "compiled.h"
#include "value.h"

static int fail_too_many(struct tr__compiler *c)
{
    return tr__pattern_fail(c, "Too many elements in numeric expression");
}

/* The operator's } */
static int end_object(struct tr__compiler *c)
{
    tr_json_token token = TR_JSON_ERROR;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    return token == TR_JSON_OBJECT_END ? 0 : tr__pattern_fail(c, "Only one key allowed in match expression");
}

/* A token as the service prints it. */
static tr_view token_text(const struct tr__compiler *c, tr_json_token token)
{
    switch (token) {
    case TR_JSON_KEY:
    case TR_JSON_STRING:
    case TR_JSON_NUMBER:
        return c->reader.text;
    case TR_JSON_OBJECT:
        return TR_VIEW("{");
    case TR_JSON_OBJECT_END:
        return TR_VIEW("}");
    case TR_JSON_ARRAY:
        return TR_VIEW("[");
    case TR_JSON_ARRAY_END:
        return TR_VIEW("]");
    case TR_JSON_TRUE:
        return TR_VIEW("true");
    case TR_JSON_FALSE:
        return TR_VIEW("false");
    default:
        return TR_VIEW("null");
    }
}

/* -------------------------------------------------------------------------------------------- strings */

static int add_folded(struct tr__compiler *c, enum tr__kind kind, tr_view text)
{
    char *folded = tr_arena_alloc(&c->pattern->arena, TR__FOLD_MAX(text.len));
    if (!folded)
        return tr_fail(c->err, TR_ENOMEM, "out of memory");
    return tr__pattern_add_test(c, kind, folded, tr__fold(text, folded));
}

static bool folds(enum tr__kind kind)
{
    return kind == TR__EQUAL_FOLD || kind == TR__PREFIX_FOLD || kind == TR__SUFFIX_FOLD;
}

/* A wildcard that has its only star at an end, or none, is one of the simpler kinds. */
static int add_simple_wildcard(struct tr__compiler *c, const struct tr__glob *glob, tr_view text,
                               size_t stars)
{
    if (stars == 0)
        return tr__pattern_add_test(c, TR__EXACT, glob->head.ptr, glob->head.len);
    if (stars == 1 && glob->tail.len == 0)
        return tr__pattern_add_test(c, TR__PREFIX, glob->head.ptr, glob->head.len);
    if (stars == 1 && glob->head.len == 0)
        return tr__pattern_add_test(c, TR__SUFFIX, glob->tail.ptr, glob->tail.len);
    return tr__pattern_add_test(c, TR__WILDCARD, text.ptr, text.len);
}

static int add_wildcard(struct tr__compiler *c, tr_view text)
{
    size_t stars = 0;
    for (size_t i = 0; i < text.len; i++) {
        char next = i + 1 < text.len ? text.ptr[i + 1] : 0;
        /* positions count the quote that the service puts in front */
        if (text.ptr[i] == '*' && next == '*')
            return tr__pattern_fail(c, "Consecutive wildcard characters at pos %zu", i + 1);
        if (text.ptr[i] == '*')
            stars++;
        if (text.ptr[i] == '\\') {
            if (next != '*' && next != '\\')
                return tr__pattern_fail(c, "Invalid escape character at pos %zu", i + 1);
            i++;
        }
    }
    struct tr__glob glob;
    int e = tr__glob_parse(text, &c->pattern->arena, &glob);
    if (!e)
        e = TR__VEC_ROOM(&c->wildcards);
    if (e)
        return tr_fail(c->err, e, "out of memory");
    c->wildcards.at[c->wildcards.len++] =
        (struct tr__wild_text){.field = c->pattern->fields.len, .text = text};
    return add_simple_wildcard(c, &glob, text, stars);
}

static int add_string(struct tr__compiler *c, enum tr__kind kind, tr_view text)
{
    if (kind == TR__WILDCARD)
        return add_wildcard(c, text);
    if (folds(kind))
        return add_folded(c, kind, text);
    return tr__pattern_add_test(c, kind, text.ptr, text.len);
}

/* A value that must be a string; `name` is for the error. */
static int string_operand(struct tr__compiler *c, enum tr__kind kind, const char *name)
{
    tr_json_token token = TR_JSON_ERROR;
    uint32_t first = c->pattern->tests.len;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    if (token != TR_JSON_STRING)
        return tr__pattern_fail(c, "%s match pattern must be a string", name);
    e = add_string(c, kind, c->reader.text);
    if (!e)
        e = tr__pattern_add_alternative(c, false, first);
    return e ? e : end_object(c);
}

/* prefix and suffix: a string, or {"equals-ignore-case": string} */
static int affix(struct tr__compiler *c, bool prefix)
{
    tr_json_token token = TR_JSON_ERROR;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    uint32_t first = c->pattern->tests.len;
    if (token == TR_JSON_OBJECT) {
        if ((e = tr__pattern_next(c, &token)))
            return e;
        if (token != TR_JSON_KEY)
            return tr__pattern_fail(c, "%s expression name not found", prefix ? "Prefix" : "Suffix");
        if (!tr_view_is(c->reader.text, "equals-ignore-case"))
            return tr__pattern_fail(c, "Unsupported %s pattern: %.*s", prefix ? "prefix" : "suffix",
                                    TR_FMT(c->reader.text));
        e = string_operand(c, prefix ? TR__PREFIX_FOLD : TR__SUFFIX_FOLD, "equals-ignore-case");
        return e ? e : end_object(c);
    }
    if (token != TR_JSON_STRING)
        return tr__pattern_fail(c, "%s match pattern must be a string", prefix ? "prefix" : "suffix");
    e = add_string(c, prefix ? TR__PREFIX : TR__SUFFIX, c->reader.text);
    if (!e)
        e = tr__pattern_add_alternative(c, false, first);
    return e ? e : end_object(c);
}

/* -------------------------------------------------------------------------------------------- numbers */

static int number_key(struct tr__compiler *c, uint64_t *ret_key)
{
    if (tr__number_key(c->reader.text, ret_key))
        return 0;
    return tr__pattern_fail(c, "Cannot compare number : %.*s", TR_FMT(c->reader.text));
}

static int add_range(struct tr__compiler *c, uint64_t low, uint64_t high)
{
    uint32_t first = c->pattern->tests.len;
    uint8_t bytes[16];
    tr_put_be64(bytes, low);
    tr_put_be64(bytes + 8, high);
    int e = low == high ? tr__pattern_add_test(c, TR__NUMBER, bytes, 8)
                        : tr__pattern_add_test(c, TR__RANGE, bytes, sizeof bytes);
    return e ? e : tr__pattern_add_alternative(c, false, first);
}

/* The number behind an operator. */
static int read_bound(struct tr__compiler *c, const char *name, uint64_t *ret_key)
{
    tr_json_token token = TR_JSON_ERROR;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    if (token != TR_JSON_NUMBER)
        return tr__pattern_fail(c, "Value of %s must be numeric", name);
    return number_key(c, ret_key);
}

/* What follows > or >= and its number: ], or < or <= and a number and ]. low is the lowest key within. */
static int range_top(struct tr__compiler *c, uint64_t bottom, uint64_t low)
{
    tr_json_token token = TR_JSON_ERROR;
    uint64_t high = UINT64_MAX;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    if (token == TR_JSON_ARRAY_END)
        return add_range(c, low, high);
    if (token != TR_JSON_STRING)
        return tr__pattern_fail(c, "Bad value in numeric range: %.*s", TR_FMT(token_text(c, token)));
    bool open = tr_view_is(c->reader.text, "<");
    if (!open && !tr_view_is(c->reader.text, "<="))
        return tr__pattern_fail(c, "Bad numeric range operator: %.*s", TR_FMT(c->reader.text));
    if ((e = read_bound(c, open ? "<" : "<=", &high)))
        return e;
    if ((e = tr__pattern_next(c, &token)))
        return e;
    if (token != TR_JSON_ARRAY_END)
        return tr__pattern_fail(c, "Too many terms in numeric range expression");
    if (bottom >= high)
        return tr__pattern_fail(c, "Bottom must be less than top");
    return add_range(c, low, open ? high - 1 : high);
}

static int array_end(struct tr__compiler *c)
{
    tr_json_token token = TR_JSON_ERROR;
    int e = tr__pattern_next(c, &token);
    return e ? e : token == TR_JSON_ARRAY_END ? 0 : fail_too_many(c);
}

/* The members of a numeric expression, whose [ was just read. */
static int numeric_terms(struct tr__compiler *c)
{
    tr_json_token token = TR_JSON_ERROR;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    if (token != TR_JSON_STRING)
        return tr__pattern_fail(c, "Invalid member in numeric match: %.*s", TR_FMT(token_text(c, token)));
    static const struct {
        const char *text, *name;
    } ops[] = {{"=", "equals"}, {">=", ">="}, {">", ">"}, {"<=", "<="}, {"<", "<"}};
    unsigned op = 0;
    while (op < TR_COUNT(ops) && !tr_view_is(c->reader.text, ops[op].text))
        op++;
    if (op == TR_COUNT(ops))
        return tr__pattern_fail(c, "Unrecognized numeric range operator: %.*s", TR_FMT(c->reader.text));
    uint64_t key;
    if ((e = read_bound(c, ops[op].name, &key)))
        return e;
    if (op == 1 || op == 2)
        return range_top(c, key, op == 1 ? key : key + 1);
    if ((e = array_end(c)))
        return e;
    return add_range(c, op == 0 ? key : 0, op == 4 ? key - 1 : key);
}

static int numeric(struct tr__compiler *c)
{
    tr_json_token token = TR_JSON_ERROR;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    if (token != TR_JSON_ARRAY)
        return tr__pattern_fail(c, "Value of numeric must be an array.");
    if ((e = numeric_terms(c)))
        return e;
    if ((e = tr__pattern_next(c, &token)))
        return e;
    return token == TR_JSON_OBJECT_END ? 0 : fail_too_many(c);
}

/* --------------------------------------------------------------------------------------- anything-but */

/* One string or number of a plain anything-but. */
static int but_value(struct tr__compiler *c, tr_json_token token)
{
    if (token == TR_JSON_STRING)
        return tr__pattern_add_test(c, TR__EXACT, c->reader.text.ptr, c->reader.text.len);
    uint64_t key;
    uint8_t bytes[8];
    int e = number_key(c, &key);
    if (e)
        return e;
    tr_put_be64(bytes, key);
    return tr__pattern_add_test(c, TR__NUMBER, bytes, sizeof bytes);
}

static int but_list(struct tr__compiler *c)
{
    bool strings = false, numbers = false;
    for (;;) {
        tr_json_token token = TR_JSON_ERROR;
        int e = tr__pattern_next(c, &token);
        if (e)
            return e;
        if (token == TR_JSON_ARRAY_END)
            break;
        if (token != TR_JSON_STRING && token != TR_JSON_NUMBER)
            return tr__pattern_fail(c, "Inside anything but list, start|null|boolean is not supported.");
        strings |= token == TR_JSON_STRING;
        numbers |= token == TR_JSON_NUMBER;
        if ((e = but_value(c, token)))
            return e;
    }
    if (strings == numbers)
        return tr__pattern_fail(
            c, "Inside anything but list, either all values are number or string, mixed type is "
               "not supported");
    return 0;
}

/* One string within anything-but's prefix, suffix, equals-ignore-case or wildcard. */
static int but_string(struct tr__compiler *c, enum tr__kind kind, tr_json_token token)
{
    bool affix = kind == TR__PREFIX || kind == TR__SUFFIX;
    if (token != TR_JSON_STRING && kind == TR__EQUAL_FOLD)
        return tr__pattern_fail(
            c, "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not "
               "supported.");
    if (token != TR_JSON_STRING)
        return tr__pattern_fail(c, "%s match pattern must be a string", affix ? "prefix/suffix" : "wildcard");
    if (affix && c->reader.text.len == 0)
        return tr__pattern_fail(c, "Null prefix/suffix not allowed");
    return add_string(c, kind, c->reader.text);
}

static int but_strings(struct tr__compiler *c, enum tr__kind kind)
{
    for (bool any = false;; any = true) {
        tr_json_token token = TR_JSON_ERROR;
        int e = tr__pattern_next(c, &token);
        if (e)
            return e;
        if (token == TR_JSON_ARRAY_END) /* the service takes an empty list and fails later */
            return any ? 0 : tr__pattern_fail(c, "Empty arrays are not allowed");
        if ((e = but_string(c, kind, token)))
            return e;
    }
}

/* The operator within anything-but: its kind, and the first token of its value. */
static int but_operator(struct tr__compiler *c, enum tr__kind *ret_kind, tr_json_token *ret_token)
{
    int e = tr__pattern_next(c, ret_token);
    if (e)
        return e;
    if (*ret_token != TR_JSON_KEY)
        return tr__pattern_fail(c, "Anything-But expression name not found");
    tr_view name = c->reader.text;
    if (tr_view_is(name, "equals-ignore-case"))
        *ret_kind = TR__EQUAL_FOLD;
    else if (tr_view_is(name, "prefix"))
        *ret_kind = TR__PREFIX;
    else if (tr_view_is(name, "suffix"))
        *ret_kind = TR__SUFFIX;
    else if (tr_view_is(name, "wildcard"))
        *ret_kind = TR__WILDCARD;
    else
        return tr__pattern_fail(c, "Unsupported anything-but pattern: %.*s", TR_FMT(name));
    return tr__pattern_next(c, ret_token);
}

static int anything_but(struct tr__compiler *c)
{
    tr_json_token token = TR_JSON_ERROR;
    enum tr__kind kind = TR__EXACT;
    uint32_t first = c->pattern->tests.len;
    int e = tr__pattern_next(c, &token);
    if (!e && token == TR_JSON_OBJECT)
        e = but_operator(c, &kind, &token);
    if (e)
        return e;
    bool plain = kind == TR__EXACT;
    if (token == TR_JSON_ARRAY)
        e = plain ? but_list(c) : but_strings(c, kind);
    else if (token == TR_JSON_STRING || token == TR_JSON_NUMBER)
        e = plain ? but_value(c, token) : but_string(c, kind, token);
    else
        e = tr__pattern_fail(c, "Value of anything-but must be an array or single string/number value.");
    for (int closing = plain ? 1 : 2; closing && !e; closing--) {
        e = tr__pattern_next(c, &token);
        if (!e && token != TR_JSON_OBJECT_END)
            e = fail_too_many(c);
    }
    return e ? e : tr__pattern_add_alternative(c, true, first);
}

/* ------------------------------------------------------------------------------------------- the rest */

static int exists(struct tr__compiler *c)
{
    tr_json_token token = TR_JSON_ERROR;
    uint32_t first = c->pattern->tests.len;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    if (token != TR_JSON_TRUE && token != TR_JSON_FALSE)
        return tr__pattern_fail(c, "exists match pattern must be either true or false.");
    e = tr__pattern_add_test(c, token == TR_JSON_TRUE ? TR__EXISTS : TR__ABSENT, "", 0);
    if (!e)
        e = tr__pattern_add_alternative(c, false, first);
    return e ? e : end_object(c);
}

/* The number of bits behind the slash. */
static int read_bits(struct tr__compiler *c, tr_view text, unsigned *ret_bits)
{
    bool negative = text.len && text.ptr[0] == '-', sign = negative || (text.len && text.ptr[0] == '+');
    uint64_t bits;
    if (tr_view_to_u64(tr_view_of(text.ptr + sign, text.len - sign), INT32_MAX, &bits))
        return tr__pattern_fail(c, "Malformed CIDR, mask bits must be an integer");
    if (negative && bits)
        return tr__pattern_fail(c, "Malformed CIDR, mask bits must not be negative");
    *ret_bits = (unsigned)bits;
    return 0;
}

static int add_network(struct tr__compiler *c, tr_view text)
{
    tr_view left = text;
    size_t slash = tr_view_find(text, TR_VIEW("/"), 0);
    if (slash == SIZE_MAX || slash + 1 == text.len || tr_view_find(text, TR_VIEW("/"), slash + 1) != SIZE_MAX)
        return tr__pattern_fail(c, "Malformed CIDR, one '/' required");
    left.len = slash;
    unsigned bits = 0;
    int e = read_bits(c, tr_view_of(text.ptr + slash + 1, text.len - slash - 1), &bits);
    if (e)
        return e;
    struct tr__ip ip;
    if (!tr__ip_parse(left, &ip))
        return tr__pattern_fail(c, "%s IP address: %.*s", tr__ip_plausible(left) ? "Invalid" : "Nonstandard",
                                TR_FMT(left));
    if (bits >= ip.bits)
        return tr__pattern_fail(c, "IPv%d mask bits must be < %u", ip.bits == 32 ? 4 : 6, ip.bits);
    uint8_t net[TR__NET_KEY];
    tr__net_key(&ip, bits, net);
    return tr__pattern_add_test(c, TR__NET, net, sizeof net);
}

static int cidr(struct tr__compiler *c)
{
    tr_json_token token = TR_JSON_ERROR;
    uint32_t first = c->pattern->tests.len;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    if (token != TR_JSON_STRING)
        return tr__pattern_fail(c, "prefix match pattern must be a string"); /* the service's own words */
    e = add_network(c, c->reader.text);
    if (!e)
        e = tr__pattern_add_alternative(c, false, first);
    return e ? e : end_object(c);
}

int tr__pattern_operator(struct tr__compiler *c)
{
    tr_json_token token = TR_JSON_ERROR;
    int e = tr__pattern_next(c, &token);
    if (e)
        return e;
    if (token != TR_JSON_KEY)
        return tr__pattern_fail(c, "Match expression name not found");
    tr_view name = c->reader.text;
    if (tr_view_is(name, "exactly"))
        return string_operand(c, TR__EXACT, "exact");
    if (tr_view_is(name, "prefix"))
        return affix(c, true);
    if (tr_view_is(name, "suffix"))
        return affix(c, false);
    if (tr_view_is(name, "numeric"))
        return numeric(c);
    if (tr_view_is(name, "anything-but"))
        return anything_but(c);
    if (tr_view_is(name, "exists"))
        return exists(c);
    if (tr_view_is(name, "cidr"))
        return cidr(c);
    if (tr_view_is(name, "equals-ignore-case"))
        return string_operand(c, TR__EQUAL_FOLD, "equals-ignore-case");
    if (tr_view_is(name, "wildcard"))
        return string_operand(c, TR__WILDCARD, "wildcard");
    return tr__pattern_fail(c, "Unrecognized match type %.*s", TR_FMT(name));
}
