/* SPDX-License-Identifier: MIT */
#include "errors.h"

#include <stdio.h>

static bool is_any(const char *type, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(type, *names) == 0)
            return true;
    return false;
}

/* "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException:http://…" is ResourceNotFoundException. */
static void set_type(tr_error *err, tr_view type)
{
    for (size_t i = type.len; i > 0; i--)
        if (type.ptr[i - 1] == '#') {
            type = tr_view_of(type.ptr + i, type.len - i);
            break;
        }
    size_t len = 0;
    while (len < type.len && type.ptr[len] != ':' && len + 1 < sizeof err->type)
        len++;
    if (len)
        memcpy(err->type, type.ptr, len);
    err->type[len] = 0;
}

static void set_message(tr_error *err, tr_view text)
{
    tr_view shown = tr_utf8_cut(text, sizeof err->message - 1);
    (void)snprintf(err->message, sizeof err->message, "%.*s", TR_FMT(shown));
}

static void read_body(tr_view body, tr_error *err)
{
    tr_arena arena;
    tr_json_reader reader;
    tr_arena_init(&arena, body.len + 65536);
    tr_json_init(&reader, body, &arena);
    if (tr_json_next(&reader) == TR_JSON_OBJECT) {
        while (tr_json_next_key(&reader)) {
            tr_view key = reader.text;
            bool is_type = tr_view_is(key, "__type") || (tr_view_is(key, "code") && !*err->type);
            bool is_message =
                tr_view_is(key, "message") || tr_view_is(key, "Message") || tr_view_is(key, "errorMessage");
            tr_json_token token = tr_json_next(&reader);
            if (token == TR_JSON_STRING && is_type)
                set_type(err, reader.text);
            else if (token == TR_JSON_STRING && is_message)
                set_message(err, reader.text);
            else if (tr_json_skip(&reader))
                break;
        }
    }
    tr_arena_done(&arena);
}

static int code_of(const tr_error *err)
{
    static const char *const throttled[] = {"ThrottlingException",
                                            "Throttling",
                                            "ThrottledException",
                                            "RequestThrottledException",
                                            "RequestThrottled",
                                            "TooManyRequestsException",
                                            "ProvisionedThroughputExceededException",
                                            "RequestLimitExceeded",
                                            "BandwidthLimitExceeded",
                                            "SlowDown",
                                            "EC2ThrottledException",
                                            NULL};
    static const char *const missing[] = {"ResourceNotFoundException",
                                          "TableNotFoundException",
                                          "BackupNotFoundException",
                                          "ExportNotFoundException",
                                          "ImportNotFoundException",
                                          "QueueDoesNotExist",
                                          "AWS.SimpleQueueService.NonExistentQueue",
                                          NULL};
    static const char *const conflicts[] = {"ConditionalCheckFailedException",
                                            "TransactionCanceledException",
                                            "TransactionConflictException",
                                            "ResourceInUseException",
                                            "TableInUseException",
                                            "BackupInUseException",
                                            NULL};
    static const char *const existing[] = {"ResourceAlreadyExistsException",
                                           "TableAlreadyExistsException",
                                           "QueueNameExists",
                                           "QueueAlreadyExists",
                                           "AWS.SimpleQueueService.QueueNameExists",
                                           NULL};
    static const char *const expired[] = {"ExpiredIteratorException", "ExpiredTokenException", "ExpiredToken",
                                          NULL};
    static const char *const unknown[] = {"UnrecognizedClientException",
                                          "InvalidSignatureException",
                                          "SignatureDoesNotMatch",
                                          "MissingAuthenticationTokenException",
                                          "MissingAuthenticationToken",
                                          "IncompleteSignatureException",
                                          "IncompleteSignature",
                                          "InvalidClientTokenId",
                                          "AuthFailure",
                                          "RequestExpired",
                                          "RequestTimeTooSkewed",
                                          "RequestInTheFuture",
                                          NULL};
    if (is_any(err->type, throttled) || err->http_status == 429)
        return TR_ETHROTTLED;
    if (is_any(err->type, missing))
        return TR_ENOTFOUND;
    if (is_any(err->type, conflicts))
        return TR_ECONFLICT;
    if (is_any(err->type, existing))
        return TR_EEXIST;
    if (is_any(err->type, expired))
        return TR_EEXPIRED;
    if (is_any(err->type, unknown))
        return TR_EAUTH;
    return strcmp(err->type, "TrimmedDataAccessException") == 0 ? TR_ETRIMMED : TR_ESERVICE;
}

int tr__reply_error(const tr_reply *reply, tr_error *err)
{
    memset(err, 0, sizeof *err);
    err->http_status = reply->status;
    set_type(err, tr_reply_header(reply, "x-amzn-errortype"));
    read_body(reply->body, err);
    if (!*err->message) {
        tr_view shown = tr_utf8_cut(reply->body, 200);
        (void)snprintf(err->message, sizeof err->message,
                       shown.len ? "HTTP status %d: %.*s" : "HTTP status %d", reply->status, (int)shown.len,
                       shown.ptr ? shown.ptr : "");
        tr_utf8_mend(err->message, strlen(err->message)); /* it may be anything */
    }
    return err->code = code_of(err);
}

enum tr__retry tr__retry_of(int code, const tr_error *err)
{
    /* errors of the service that pass by themselves, whatever their status */
    static const char *const passing[] = {"InternalServerError",
                                          "InternalFailure",
                                          "InternalException",
                                          "ServiceUnavailable",
                                          "ServiceUnavailableException",
                                          "RequestTimeout",
                                          "RequestTimeoutException",
                                          "TransactionInProgressException",
                                          NULL};
    static const char *const resign[] = {
        "ExpiredTokenException", "ExpiredToken",       "RequestExpired",
        "RequestTimeTooSkewed",  "RequestInTheFuture", "InvalidSignatureException",
        "SignatureDoesNotMatch", "AuthFailure",        NULL};
    switch (code) {
    case TR_ETHROTTLED:
        return TR__RETRY_SLOWLY;
    case TR_ECONNECT:
    case TR_ETIMEOUT:
    case TR_EIO:
        return TR__RETRY_SOON;
    default:
        break;
    }
    if (is_any(err->type, resign))
        return TR__RETRY_RESIGNED;
    if (is_any(err->type, passing) ||
        (err->http_status >= 500 && err->http_status != 501 && err->http_status != 505))
        return TR__RETRY_SOON;
    return TR__RETRY_NO;
}
