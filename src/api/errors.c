/* SPDX-License-Identifier: MIT */
#include "api/call.h"

#include <stdio.h>

/* Messages quote what the request held, so they can be as large as it; this much of one is told. */
#define MESSAGE_MAX (64 * 1024)

static void put_body(tr_buf *body, const char *type, const char *key, tr_view message)
{
    tr_json_writer w;
    tr_buf_reset(body);
    tr_json_write_init(&w, body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "__type", type);
    if (message.ptr)
        tr_json_member_string(&w, key, message);
    tr_json_end_object(&w);
}

void tr_api_error_body(tr_buf *body, const char *type, const char *message)
{
    put_body(body, type, "message", tr_view_str(message));
}

static int fail_va(tr_call *c, int status, const char *type, const char *key, const char *prefix,
                   const char *format, va_list args)
{
    tr_view message = {NULL, 0};
    if (format) {
        va_list again;
        va_copy(again, args);
        int len = vsnprintf(NULL, 0, format, args);
        size_t lead = strlen(prefix);
        char *text = len < 0 ? NULL : tr_arena_alloc(c->arena, lead + (size_t)len + 1);
        if (text) {
            memcpy(text, prefix, lead);
            (void)vsnprintf(text + lead, (size_t)len + 1, format, again);
            message = tr_utf8_cut(tr_view_of(text, lead + (size_t)len), MESSAGE_MAX);
        }
        va_end(again);
    }
    if (c->fault) {
        *c->fault = (tr_fault){type, message};
        return TR_ESERVICE;
    }
    put_body(c->out, type, key, message);
    c->reply->status = status;
    return TR_ESERVICE;
}

int tr__fail(tr_call *c, int status, const char *type, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int e = fail_va(c, status, type, "message", "", format, args);
    va_end(args);
    return e;
}

int tr__fail_upper(tr_call *c, const char *type, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int e = fail_va(c, 400, type, "Message", "", format, args);
    va_end(args);
    return e;
}

int tr__invalid(tr_call *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int e = fail_va(c, 400, TR_TYPE_VALIDATION, "message", "", format, args);
    va_end(args);
    return e;
}

int tr__invalid_request(tr_call *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int e = fail_va(c, 400, TR_TYPE_VALIDATION, "message",
                    (c->op->flags & TR_OP_ENVELOPE) ? "1 validation error detected: " : "", format, args);
    va_end(args);
    return e;
}

int tr__fail_code(tr_call *c, int code, const tr_error *err)
{
    const char *message = err && err->message[0] ? err->message : tr_strerror(code);
    switch (code) {
    case TR_ESERVICE:
        return TR_ESERVICE;
    case TR_ELIMIT:
        return tr__invalid(c, "The request or its answer is too large: %s", message);
    case TR_ENOMEM:
        /* retried by clients, who then find what others have given back */
        return tr__fail(c, 503, TR_TYPE("ServiceUnavailable"), "out of memory");
    default:
        return tr__fail(c, 500, TR_TYPE("InternalServerError"), "%s", message);
    }
}

int tr__no_table(tr_call *c, tr_view name, bool naming)
{
    if (naming)
        return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                        "Requested resource not found: Table: %.*s not found", TR_FMT(name));
    return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"), "Requested resource not found");
}

/* ------------------------------------------------------------------------------- values that are not valid
 */

#define WERE_INVALID "One or more parameter values were invalid: "

static void number_text(const tr_item_error *error, tr_buf *out)
{
    switch (error->number) {
    case TR_NUMBER_PRECISION:
        tr_buf_put_str(out, "Attempting to store more than 38 significant digits in a Number");
        return;
    case TR_NUMBER_OVERFLOW:
        tr_buf_put_str(
            out, "Number overflow. Attempting to store a number with magnitude larger than supported range");
        return;
    case TR_NUMBER_UNDERFLOW:
        tr_buf_put_str(
            out,
            "Number underflow. Attempting to store a number with magnitude smaller than supported range");
        return;
    default:
        tr_buf_put_str(out, "The parameter cannot be converted to a numeric value");
        if (error->text.len) {
            tr_buf_put_str(out, ": ");
            tr_buf_put_view(out, error->text);
        }
    }
}

static const char *set_name(tr_type type)
{
    return type == TR_SS ? "string" : type == TR_NS ? "number" : "binary";
}

static void duplicate_text(const tr_item_error *error, tr_buf *out)
{
    if (error->type == TR_NS) {
        tr_buf_put_str(out, "Input collection contains duplicates");
        return;
    }
    tr_buf_put_str(out, WERE_INVALID "Input collection ");
    tr_buf_put_view(out, error->text);
    tr_buf_put_str(out, error->type == TR_SS ? " contains duplicates." : "of type BS contains duplicates.");
}

/* {"SS": [null]}: the service's words for strings and bytes; of numbers none are known. */
static bool null_member_text(const tr_item_error *error, tr_buf *out)
{
    if (error->type == TR_S || error->type == TR_N)
        tr_buf_printf(out, WERE_INVALID "An %s set may not have a null string as a member",
                      error->type == TR_S ? "string" : "number");
    else if (error->type == TR_B)
        tr_buf_put_str(out, WERE_INVALID "Binary sets may not contain null values");
    else
        return false;
    return true;
}

void tr__item_error_text(const tr_item_error *error, tr_buf *out, bool *ret_request)
{
    *ret_request = false;
    switch (error->problem) {
    case TR_ITEM_NUMBER:
        number_text(error, out);
        return;
    case TR_ITEM_MANY_TYPES:
        tr_buf_put_str(out, "Supplied AttributeValue has more than one datatypes set, must contain exactly "
                            "one of the supported datatypes");
        return;
    case TR_ITEM_NULL_FALSE:
        *ret_request = true;
        tr_buf_put_str(out, WERE_INVALID "Null attribute value types must have the value of true");
        return;
    case TR_ITEM_EMPTY_SET:
        *ret_request = true;
        if (error->type == TR_BS)
            tr_buf_put_str(out, WERE_INVALID "Binary sets should not be empty");
        else /* with the service's two spaces */
            tr_buf_printf(out, WERE_INVALID "An %s set  may not be empty", set_name(error->type));
        return;
    case TR_ITEM_SET_DUPLICATE:
        *ret_request = true;
        duplicate_text(error, out);
        return;
    case TR_ITEM_DEPTH:
        tr_buf_put_str(out, "Nesting Levels have exceeded supported limits: Attributes in the item have "
                            "nested levels beyond supported limit");
        return;
    case TR_ITEM_DUPLICATE_NAME:
        tr_buf_put_str(out, WERE_INVALID "A map has two values of one name");
        return;
    case TR_ITEM_NAME:
        tr_buf_put_str(out, error->text.len ? "Attribute name is too large, must be less than 65536 bytes"
                                            : "Empty attribute name");
        return;
    case TR_ITEM_WRONG_JSON_TYPE: /* what was let through: {"NULL": "no"}, {"SS": [null]} */
        *ret_request = true;
        if (null_member_text(error, out))
            return;
        tr_buf_put_str(out, WERE_INVALID "Null attribute value types must have the value of true");
        return;
    default:
        tr_buf_put_str(
            out, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes");
    }
}

int tr__check_attributes(tr_call *c, const tr_attributes *attributes, const char *prefix, bool item)
{
    if (TR_LIKELY(attributes->error.problem == TR_ITEM_OK))
        return 0;
    bool request;
    tr_buf_reset(c->text);
    tr_buf_put_str(c->text, prefix);
    tr__item_error_text(&attributes->error, c->text, &request);
    tr_view text = tr_buf_view(c->text);
    request &= item || attributes->error.problem == TR_ITEM_NULL_FALSE;
    return request ? tr__invalid_request(c, "%.*s", TR_FMT(text)) : tr__invalid(c, "%.*s", TR_FMT(text));
}
