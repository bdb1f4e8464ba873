/* SPDX-License-Identifier: MIT */
#include <tailrace/base.h>

#include <stdio.h>

const char *tr_strerror(int code)
{
    switch (code) {
    case 0:
        return "success";
#define X(name, value, text, retryable)                                                                      \
    case name:                                                                                               \
        return text;
        TR_ERRORS(X)
#undef X
    default:
        return "unknown error";
    }
}

bool tr_retryable(int code)
{
    switch (code) {
#define X(name, value, text, retryable)                                                                      \
    case name:                                                                                               \
        return retryable;
        TR_ERRORS(X)
#undef X
    default:
        return false;
    }
}

static void fill(tr_error *err, int code, int http_status, const char *type, const char *format, va_list args)
{
    err->code = code;
    err->http_status = http_status;
    (void)snprintf(err->type, sizeof err->type, "%s", type);
    int wanted = vsnprintf(err->message, sizeof err->message, format, args);
    size_t len = strlen(err->message);
    if (wanted > 0 && (size_t)wanted > len) { /* cut, perhaps within a character */
        len = tr_utf8_cut(tr_view_of(err->message, len), len - 1).len;
        err->message[len] = 0;
    }
    tr_utf8_mend(err->message, len);
}

int(tr_fail)(tr_error *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, code, 0, "", format, args);
        va_end(args);
    }
    return code;
}

int(tr_fail_service)(tr_error *err, int code, int http_status, const char *type, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, code, http_status, type, format, args);
        va_end(args);
    }
    return code;
}

void tr_log(const tr_logger *logger, tr_log_level level, const char *format, ...)
{
    if (!logger || !logger->fn)
        return;
    char message[2048];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    logger->fn(logger->ctx, level, message);
}
