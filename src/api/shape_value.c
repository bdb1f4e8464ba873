/* SPDX-License-Identifier: MIT */
#include "api/shape.h"

#include <stdio.h>
#include <strings.h>

/*
 * The JSON types of attribute values, gone through once more where reading found something wrong: a wrong
 * JSON type anywhere is a SerializationException and comes before a value that merely is not valid.
 */

int tr__shape_problem(tr_shape_reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(r->problem, sizeof r->problem, format, args);
    va_end(args);
    return TR_EPARSE;
}

static int malformed(tr_shape_reader *r)
{
    r->problem[0] = 0;
    return tr_json_error_code(&r->json) == TR_ENOMEM ? TR_ENOMEM : TR_EPARSE;
}

int tr__shape_wrong_scalar(tr_shape_reader *r, const char *java)
{
    const char *found;
    switch (r->json.token) {
    case TR_JSON_TRUE:
        found = "TRUE_VALUE";
        break;
    case TR_JSON_FALSE:
        found = "FALSE_VALUE";
        break;
    case TR_JSON_STRING:
        found = "STRING_VALUE";
        break;
    case TR_JSON_NUMBER:
        found = "NUMBER_VALUE";
        for (size_t i = 0; i < r->json.text.len; i++)
            if (strchr(".eE", r->json.text.ptr[i]))
                found = "DECIMAL_VALUE";
        break;
    case TR_JSON_ARRAY:
        return tr__shape_problem(r, "Unrecognized collection type class java.lang.%s", java);
    case TR_JSON_OBJECT:
        return tr__shape_problem(r, "Start of structure or map found where not expected");
    default:
        return malformed(r);
    }
    return tr__shape_problem(r, "%s cannot be converted to %s", found, java);
}

static int check_string(tr_shape_reader *r)
{
    if (r->json.token == TR_JSON_STRING || r->json.token == TR_JSON_NULL)
        return 0;
    return tr__shape_wrong_scalar(r, "String");
}

static int check_boolean(tr_shape_reader *r)
{
    tr_json_token t = r->json.token;
    if (t == TR_JSON_TRUE || t == TR_JSON_FALSE || t == TR_JSON_NULL)
        return 0;
    if (t == TR_JSON_STRING)
        return tr__shape_problem(r, "Unexpected token received from parser");
    return tr__shape_wrong_scalar(r, "Boolean");
}

/* Whether the service takes the text for a boolean. */
static bool names_boolean(tr_view text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "1", "0"};
    for (size_t i = 0; i < TR_COUNT(words); i++)
        if (text.len == strlen(words[i]) && strncasecmp(text.ptr, words[i], text.len) == 0)
            return true;
    return false;
}

static int check_null(tr_shape_reader *r)
{
    if (r->json.token == TR_JSON_STRING && names_boolean(r->json.text))
        return 0; /* refused later, as a value that is not true */
    return check_boolean(r);
}

static int check_blob(tr_shape_reader *r)
{
    switch (r->json.token) {
    case TR_JSON_NULL:
        return 0;
    case TR_JSON_STRING:
        break;
    case TR_JSON_ARRAY:
        return tr__shape_problem(r, "Unrecognized collection type class java.nio.ByteBuffer");
    case TR_JSON_OBJECT:
        return tr__shape_problem(r, "Start of structure or map found where not expected");
    case TR_JSON_ERROR:
        return malformed(r);
    default:
        return tr__shape_problem(r, "only base-64-encoded strings are convertible to bytes");
    }
    tr_view text = r->json.text;
    if (text.len % 4)
        return tr__shape_problem(r, "Base64 encoded length is expected a multiple of 4 bytes but found: %zu",
                                 text.len);
    size_t len;
    void *bytes = tr_arena_alloc(r->arena, TR_BASE64_DECODED_MAX(text.len));
    if (!bytes)
        return TR_ENOMEM;
    if (tr_base64_decode(text, bytes, &len)) /* the service's own spelling */
        return tr__shape_problem(r, "Invalid last non-pad Base64 character dectected");
    return 0;
}

/* A list whose elements all pass `check`. */
static int check_list(tr_shape_reader *r, int (*check)(tr_shape_reader *))
{
    switch (r->json.token) {
    case TR_JSON_NULL:
        return 0;
    case TR_JSON_ARRAY:
        break;
    case TR_JSON_OBJECT:
        return tr__shape_problem(r, "Start of structure or map found where not expected");
    case TR_JSON_ERROR:
        return malformed(r);
    default:
        return tr__shape_problem(r, "Unexpected field type");
    }
    while (tr_json_next(&r->json) != TR_JSON_ARRAY_END) {
        if (r->json.token == TR_JSON_ERROR)
            return malformed(r);
        int e = check(r);
        if (e)
            return e;
    }
    return 0;
}

static int check_element(tr_shape_reader *r)
{
    return tr__shape_check_value(r, false);
}

static int check_map(tr_shape_reader *r)
{
    switch (r->json.token) {
    case TR_JSON_NULL:
        return 0;
    case TR_JSON_OBJECT:
        return tr__shape_check_values(r);
    case TR_JSON_ARRAY:
        return tr__shape_problem(
            r,
            "Unrecognized collection type java.util.Map<java.lang.String, " TR_JAVA_PREFIX "AttributeValue>");
    case TR_JSON_ERROR:
        return malformed(r);
    default:
        return tr__shape_problem(r, "Unexpected field type");
    }
}

/* The member named in r->json.text, whose value comes next. */
static int check_typed(tr_shape_reader *r)
{
    static const struct {
        const char *name;
        char what;
    } types[] = {{"S", 's'},  {"N", 's'},  {"B", 'b'},  {"BOOL", 'o'}, {"NULL", 'n'},
                 {"SS", 'S'}, {"NS", 'S'}, {"BS", 'B'}, {"L", 'L'},    {"M", 'M'}};
    char what = 0;
    for (size_t i = 0; i < TR_COUNT(types); i++)
        if (tr_view_is(r->json.text, types[i].name))
            what = types[i].what;
    if (tr_json_next(&r->json) == TR_JSON_ERROR)
        return malformed(r);
    switch (what) {
    case 's':
        return check_string(r);
    case 'b':
        return check_blob(r);
    case 'o':
        return check_boolean(r);
    case 'n':
        return check_null(r);
    case 'S':
        return check_list(r, check_string);
    case 'B':
        return check_list(r, check_blob);
    case 'L':
        return check_list(r, check_element);
    case 'M':
        return check_map(r);
    default:
        return tr_json_skip(&r->json) ? malformed(r) : 0;
    }
}

int tr__shape_check_value(tr_shape_reader *r, bool field)
{
    switch (r->json.token) {
    case TR_JSON_NULL:
        return 0;
    case TR_JSON_OBJECT:
        break;
    case TR_JSON_ARRAY:
        return tr__shape_problem(r, "Unrecognized collection type class " TR_JAVA_PREFIX "AttributeValue");
    case TR_JSON_ERROR:
        return malformed(r);
    default:
        return tr__shape_problem(r, field ? "Unexpected field type" : "Unexpected value type in payload");
    }
    while (tr_json_next_key(&r->json)) {
        int e = check_typed(r);
        if (e)
            return e;
    }
    return r->json.token == TR_JSON_ERROR ? malformed(r) : 0;
}

int tr__shape_check_values(tr_shape_reader *r)
{
    while (tr_json_next_key(&r->json)) {
        tr_json_next(&r->json);
        int e = tr__shape_check_value(r, false);
        if (e)
            return e;
    }
    return r->json.token == TR_JSON_ERROR ? malformed(r) : 0;
}
