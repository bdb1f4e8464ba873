/* SPDX-License-Identifier: MIT */
#include "json_scan.h"

void tr_json_init(tr_json_reader *r, tr_view input, tr_arena *arena)
{
    /* in_object need not be cleared: a level's bit is set when it is entered */
    r->text = (tr_view){NULL, 0};
    r->token = TR_JSON_ERROR;
    r->at = r->begin = r->value = input.ptr;
    r->end = input.len ? input.ptr + input.len : input.ptr;
    r->arena = arena;
    r->error = NULL;
    r->code = 0;
    r->depth = 0;
    r->state = TR__JSON_EXPECT_VALUE;
}

static tr_json_token fail(tr_json_reader *r, int code, const char *error)
{
    r->state = TR__JSON_FAILED;
    r->code = code;
    r->error = error;
    return r->token = TR_JSON_ERROR;
}

static inline void skip_space(tr_json_reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

static int hex4(const char *p, uint32_t *ret)
{
    uint32_t x = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t d;
        if (c >= '0' && c <= '9')
            d = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            d = (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            d = (uint32_t)(c - 'A') + 10;
        else
            return -1;
        x = x << 4 | d;
    }
    *ret = x;
    return 0;
}

char *tr__utf8_put(char *o, uint32_t c)
{
    if (c < 0x80) {
        *o++ = (char)c;
    } else if (c < 0x800) {
        *o++ = (char)(0xc0 | c >> 6);
        *o++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *o++ = (char)(0xe0 | c >> 12);
        *o++ = (char)(0x80 | (c >> 6 & 63));
        *o++ = (char)(0x80 | (c & 63));
    } else {
        *o++ = (char)(0xf0 | c >> 18);
        *o++ = (char)(0x80 | (c >> 12 & 63));
        *o++ = (char)(0x80 | (c >> 6 & 63));
        *o++ = (char)(0x80 | (c & 63));
    }
    return o;
}

const char *tr__json_unescape(const char *from, const char *to, char *out, size_t *ret_len)
{
    static const char plain[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    char *o = out;
    for (const char *p = from; p < to;) {
        if (*p != '\\') {
            *o++ = *p++;
            continue;
        }
        char c = to - p > 1 ? p[1] : 0;
        const char *known = c ? strchr(plain, c) : NULL;
        if (known) {
            *o++ = meaning[known - plain];
            p += 2;
            continue;
        }
        uint32_t x, low;
        if (c != 'u' || to - p < 6 || hex4(p + 2, &x))
            return "an escape in a string is not valid";
        p += 6;
        if (x >= 0xd800 && x <= 0xdbff) {
            if (to - p < 6 || p[0] != '\\' || p[1] != 'u' || hex4(p + 2, &low) || low < 0xdc00 ||
                low > 0xdfff)
                return "a lone surrogate in a string";
            x = 0x10000 + ((x - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
        } else if (x >= 0xdc00 && x <= 0xdfff) {
            return "a lone surrogate in a string";
        }
        o = tr__utf8_put(o, x);
    }
    *ret_len = (size_t)(o - out);
    return NULL;
}

/* Decodes the string from..to, which holds escapes. */
static bool unescape(tr_json_reader *r, const char *from, const char *to)
{
    char *out = tr_arena_alloc(r->arena, (size_t)(to - from));
    if (!out)
        return fail(r, TR_ENOMEM, "a string is too large"), false;
    size_t len;
    const char *error = tr__json_unescape(from, to, out, &len);
    if (error)
        return fail(r, TR_EPARSE, error), false;
    r->text = tr_view_of(out, len);
    return true;
}

/* At the character behind the opening quote. */
static bool read_string(tr_json_reader *r)
{
    const char *from = r->at, *p = from, *end = r->end;
    bool escapes = false, wide = false;
    for (;;) {
        p = tr__json_scan(p, end, true);
        if (p < end && (uint8_t)*p >= 0x80) {
            wide = true;
            p = tr__json_scan(p, end, false);
        }
        if (p >= end)
            return fail(r, TR_EPARSE, "a string has no end"), false;
        if (*p == '"')
            break;
        if (*p != '\\')
            return fail(r, TR_EPARSE, "a control character in a string"), false;
        escapes = true;
        if (end - p < 2)
            return fail(r, TR_EPARSE, "a string has no end"), false;
        wide |= (uint8_t)p[1] >= 0x80;
        p += 2;
    }
    r->at = p + 1;
    if (wide && !tr_utf8_valid(tr_view_of(from, (size_t)(p - from))))
        return fail(r, TR_EPARSE, "a string is not valid UTF-8"), false;
    if (escapes)
        return unescape(r, from, p);
    r->text = tr_view_of(from, (size_t)(p - from));
    return true;
}

static bool is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

const char *tr__json_scan_number(const char *p, const char *end)
{
    if (p < end && *p == '-')
        p++;
    if (!is_digit(p, end))
        return NULL;
    if (*p == '0')
        p++;
    else
        while (is_digit(p, end))
            p++;
    if (p < end && *p == '.') {
        p++;
        if (!is_digit(p, end))
            return NULL;
        while (is_digit(p, end))
            p++;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        if (!is_digit(p, end))
            return NULL;
        while (is_digit(p, end))
            p++;
    }
    return p;
}

static bool read_number(tr_json_reader *r)
{
    const char *p = tr__json_scan_number(r->at, r->end);
    if (!p)
        return fail(r, TR_EPARSE, "a number is not valid"), false;
    r->text = tr_view_of(r->at, (size_t)(p - r->at));
    r->at = p;
    return true;
}

static bool read_word(tr_json_reader *r, const char *word, size_t len)
{
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
        return fail(r, TR_EPARSE, "a value is not valid"), false;
    r->at += len;
    return true;
}

static inline bool top_is_object(const tr_json_reader *r)
{
    unsigned level = r->depth - 1;
    return r->in_object[level / 8] >> (level % 8) & 1;
}

static tr_json_token enter(tr_json_reader *r, bool object)
{
    if (r->depth == TR_JSON_DEPTH_MAX)
        return fail(r, TR_ELIMIT, "nested too deeply");
    unsigned level = r->depth++;
    uint8_t bit = (uint8_t)(1u << (level % 8));
    if (object)
        r->in_object[level / 8] |= bit;
    else
        r->in_object[level / 8] &= (uint8_t)~bit;
    r->at++;
    r->state = object ? TR__JSON_EXPECT_FIRST_KEY : TR__JSON_EXPECT_FIRST_VALUE;
    return r->token = object ? TR_JSON_OBJECT : TR_JSON_ARRAY;
}

static tr_json_token leave(tr_json_reader *r)
{
    bool object = top_is_object(r);
    r->at++;
    r->depth--;
    r->state = r->depth ? TR__JSON_EXPECT_COMMA : TR__JSON_EXPECT_END;
    return r->token = object ? TR_JSON_OBJECT_END : TR_JSON_ARRAY_END;
}

static tr_json_token read_key(tr_json_reader *r)
{
    if (*r->at != '"')
        return fail(r, TR_EPARSE, "a member's name is missing");
    r->at++;
    if (!read_string(r))
        return TR_JSON_ERROR;
    skip_space(r);
    if (r->at >= r->end || *r->at != ':')
        return fail(r, TR_EPARSE, "a colon is missing");
    r->at++;
    r->state = TR__JSON_EXPECT_VALUE;
    return r->token = TR_JSON_KEY;
}

static tr_json_token read_value(tr_json_reader *r)
{
    tr_json_token token;
    r->value = r->at;
    switch (*r->at) {
    case '{':
        return enter(r, true);
    case '[':
        return enter(r, false);
    case '"':
        r->at++;
        if (!read_string(r))
            return TR_JSON_ERROR;
        token = TR_JSON_STRING;
        break;
    case 't':
        if (!read_word(r, "true", 4))
            return TR_JSON_ERROR;
        token = TR_JSON_TRUE;
        break;
    case 'f':
        if (!read_word(r, "false", 5))
            return TR_JSON_ERROR;
        token = TR_JSON_FALSE;
        break;
    case 'n':
        if (!read_word(r, "null", 4))
            return TR_JSON_ERROR;
        token = TR_JSON_NULL;
        break;
    default:
        if (!read_number(r))
            return TR_JSON_ERROR;
        token = TR_JSON_NUMBER;
    }
    r->state = r->depth ? TR__JSON_EXPECT_COMMA : TR__JSON_EXPECT_END;
    return r->token = token;
}

tr_json_token tr_json_next(tr_json_reader *r)
{
    skip_space(r);
    if (TR_UNLIKELY(r->at >= r->end)) {
        if (r->state == TR__JSON_EXPECT_END)
            return r->token = TR_JSON_DONE;
        return r->state == TR__JSON_FAILED ? TR_JSON_ERROR : fail(r, TR_EPARSE, "the text ends too early");
    }
    switch (r->state) {
    case TR__JSON_EXPECT_VALUE:
        return read_value(r);
    case TR__JSON_EXPECT_FIRST_KEY:
        return *r->at == '}' ? leave(r) : read_key(r);
    case TR__JSON_EXPECT_FIRST_VALUE:
        return *r->at == ']' ? leave(r) : read_value(r);
    case TR__JSON_EXPECT_COMMA: {
        bool object = top_is_object(r);
        if (*r->at == (object ? '}' : ']'))
            return leave(r);
        if (*r->at != ',')
            return fail(r, TR_EPARSE, "a comma is missing");
        r->at++;
        skip_space(r);
        if (r->at >= r->end)
            return fail(r, TR_EPARSE, "the text ends too early");
        return object ? read_key(r) : read_value(r);
    }
    case TR__JSON_EXPECT_END:
        return fail(r, TR_EPARSE, "text behind the value");
    default:
        return TR_JSON_ERROR;
    }
}

int tr_json_skip(tr_json_reader *r)
{
    if (r->token == TR_JSON_ERROR)
        return r->code;
    if (r->token == TR_JSON_KEY)
        tr_json_next(r);
    if (r->token != TR_JSON_OBJECT && r->token != TR_JSON_ARRAY)
        return r->token == TR_JSON_ERROR ? r->code : 0;
    unsigned outside = r->depth - 1;
    while (r->depth > outside)
        if (tr_json_next(r) == TR_JSON_ERROR)
            return r->code;
    return 0;
}

int tr_json_raw(tr_json_reader *r, tr_view *ret_text)
{
    if (r->token < TR_JSON_OBJECT || r->token == TR_JSON_KEY)
        return r->code ? r->code : TR_EINVAL;
    const char *from = r->value;
    int e = tr_json_skip(r);
    if (e)
        return e;
    *ret_text = tr_view_of(from, (size_t)(r->at - from));
    return 0;
}

size_t tr_json_offset(const tr_json_reader *r)
{
    return (size_t)(r->at - r->begin);
}

const char *tr_json_error(const tr_json_reader *r)
{
    return r->error;
}

int tr_json_error_code(const tr_json_reader *r)
{
    return r->code;
}

int tr_json_int(const tr_json_reader *r, int64_t *ret_number)
{
    if (r->token != TR_JSON_NUMBER)
        return TR_EPARSE;
    tr_view digits = r->text;
    bool negative = digits.ptr[0] == '-';
    if (negative)
        digits = tr_view_of(digits.ptr + 1, digits.len - 1);
    uint64_t x;
    int e = tr_view_to_u64(digits, (uint64_t)INT64_MAX + negative, &x);
    if (e)
        return e;
    *ret_number = negative ? (int64_t)(0 - x) : (int64_t)x;
    return 0;
}

int tr_json_member(tr_view json, const char *name, tr_arena *arena, tr_view *ret_raw)
{
    tr_json_reader r;
    tr_json_init(&r, json, arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    while (tr_json_next_key(&r)) {
        bool found = tr_view_is(r.text, name);
        tr_json_next(&r);
        int e = found ? tr_json_raw(&r, ret_raw) : tr_json_skip(&r);
        if (e || found)
            return e;
    }
    return r.token == TR_JSON_OBJECT_END ? TR_ENOTFOUND : TR_EPARSE;
}
