/* SPDX-License-Identifier: MIT */
#include "hex.h"
#include "sigv4.h"

#include <openssl/crypto.h>

#define ALGORITHM "AWS4-HMAC-SHA256"

/* What a request claims, from its Authorization header or its query. */
struct claim {
    tr_view credential, signed_headers, signature, timestamp;
    int64_t expires_ms; /* of a presigned URL; else -1 */
    bool has_credential, has_signed_headers, has_signature;
};

static int refuse(tr_error *err, const char *type, const char *message)
{
    return tr_fail_service(err, TR_EAUTH, 400, type, "%s", message);
}

static int invalid(tr_error *err, const char *message)
{
    return refuse(err, "InvalidSignatureException", message);
}

/* A header by its lower-case name; ptr is NULL if there is none. */
static tr_view header(const tr_sigv4_request *request, const char *name)
{
    tr_view wanted = tr_view_str(name);
    for (size_t i = 0; i < request->header_count; i++)
        if (tr_view_eq(request->headers[i].name, wanted))
            return request->headers[i].value;
    return (tr_view){NULL, 0};
}

/* ---------------------------------------------------------------------------------- the Authorization header
 */

/* Takes "Name=value" pairs apart that are separated by commas or spaces. */
static void parse_pairs(tr_view text, struct claim *claim)
{
    size_t at = 0;
    while (at < text.len) {
        while (at < text.len && (text.ptr[at] == ' ' || text.ptr[at] == ','))
            at++;
        size_t end = at;
        while (end < text.len && text.ptr[end] != ' ' && text.ptr[end] != ',')
            end++;
        tr_view pair = tr_view_of(text.ptr + at, end - at);
        size_t equals = tr_view_find(pair, TR_VIEW("="), 0);
        at = end;
        if (equals == SIZE_MAX)
            continue;
        tr_view name = tr_view_of(pair.ptr, equals),
                value = tr_view_of(pair.ptr + equals + 1, pair.len - equals - 1);
        if (tr_view_is(name, "Credential")) {
            claim->credential = value;
            claim->has_credential = true;
        } else if (tr_view_is(name, "SignedHeaders")) {
            claim->signed_headers = value;
            claim->has_signed_headers = true;
        } else if (tr_view_is(name, "Signature")) {
            claim->signature = value;
            claim->has_signature = true;
        }
    }
}

static int incomplete(tr_error *err, const struct claim *claim, tr_view authorization)
{
    static const char *const names[] = {"Credential", "Signature", "SignedHeaders"};
    bool has[] = {claim->has_credential, claim->has_signature, claim->has_signed_headers};
    char missing[512] = "";
    for (size_t i = 0; i < TR_COUNT(names); i++)
        if (!has[i]) {
            size_t len = strlen(missing);
            (void)snprintf(missing + len, sizeof missing - len,
                           "Authorization header requires '%s' parameter. ", names[i]);
        }
    if (!claim->timestamp.ptr) {
        size_t len = strlen(missing);
        (void)snprintf(
            missing + len, sizeof missing - len,
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ");
    }
    if (!*missing)
        return 0;
    size_t shown = authorization.len < 1024 ? authorization.len : 1024;
    return tr_fail_service(err, TR_EAUTH, 400, "IncompleteSignatureException", "%sAuthorization=%.*s",
                           missing, (int)shown, authorization.ptr);
}

static int claim_of_header(const tr_sigv4_request *request, tr_view authorization, struct claim *claim,
                           tr_error *err)
{
    size_t space = tr_view_find(authorization, TR_VIEW(" "), 0);
    size_t len = space == SIZE_MAX ? authorization.len : space;
    if (!tr_view_starts(authorization, TR_VIEW("AWS4-")))
        return refuse(err, "MissingAuthenticationTokenException", "Request is missing Authentication Token");
    if (!tr_view_is(tr_view_of(authorization.ptr, len), ALGORITHM))
        return tr_fail_service(err, TR_EAUTH, 400, "IncompleteSignatureException",
                               "Unsupported AWS 'algorithm': '%.*s'.", (int)(len < 64 ? len : 64),
                               authorization.ptr);
    parse_pairs(tr_view_of(authorization.ptr + len, authorization.len - len), claim);
    claim->timestamp = header(request, "x-amz-date");
    if (!claim->timestamp.ptr)
        claim->timestamp = header(request, "date");
    return incomplete(err, claim, authorization);
}

/* ------------------------------------------------------------------------------------------- presigned URLs
 */

/* A parameter's value, decoded into signer->names; ptr is NULL if there is none. */
static tr_view parameter(tr_sigv4 *signer, tr_view query, const char *name)
{
    for (size_t at = 0; at < query.len;) {
        size_t end = tr_view_find(query, TR_VIEW("&"), at);
        end = end == SIZE_MAX ? query.len : end;
        tr_view pair = tr_view_of(query.ptr + at, end - at);
        size_t equals = tr_view_find(pair, TR_VIEW("="), 0);
        at = end + 1;
        if (equals == SIZE_MAX || !tr_view_is(tr_view_of(pair.ptr, equals), name))
            continue;
        char *out = signer->names.ptr + signer->names.len;
        size_t len = 0;
        for (size_t i = equals + 1; i < pair.len; i++, len++) {
            out[len] = pair.ptr[i];
            if (pair.ptr[i] == '%' && pair.len - i >= 3 && tr__hex_digit(pair.ptr[i + 1]) >= 0 &&
                tr__hex_digit(pair.ptr[i + 2]) >= 0) {
                out[len] = (char)(tr__hex_digit(pair.ptr[i + 1]) << 4 | tr__hex_digit(pair.ptr[i + 2]));
                i += 2;
            }
        }
        signer->names.len += len;
        return tr_view_of(out, len);
    }
    return (tr_view){NULL, 0};
}

static int claim_of_query(tr_sigv4 *signer, const tr_sigv4_request *request, struct claim *claim,
                          tr_error *err)
{
    tr_buf_reset(&signer->names);
    if (tr_buf_reserve(&signer->names, request->query.len * 6)) /* each of six parameters fits */
        return tr_fail(err, TR_ENOMEM, "out of memory");
    if (!tr_view_is(parameter(signer, request->query, "X-Amz-Algorithm"), ALGORITHM))
        return refuse(err, "MissingAuthenticationTokenException", "Request is missing Authentication Token");
    claim->credential = parameter(signer, request->query, "X-Amz-Credential");
    claim->signed_headers = parameter(signer, request->query, "X-Amz-SignedHeaders");
    claim->signature = parameter(signer, request->query, "X-Amz-Signature");
    claim->timestamp = parameter(signer, request->query, "X-Amz-Date");
    tr_view expires = parameter(signer, request->query, "X-Amz-Expires");
    uint64_t seconds;
    if (!claim->credential.ptr || !claim->signed_headers.ptr || !claim->signature.ptr ||
        !claim->timestamp.ptr ||
        tr_view_to_u64(expires, 604800, &seconds)) /* a week at most, as with the services */
        return refuse(err, "IncompleteSignatureException",
                      "AWS query-string parameters must include 'X-Amz-Algorithm', 'X-Amz-Credential', "
                      "'X-Amz-Signature', "
                      "'X-Amz-SignedHeaders', 'X-Amz-Date' and 'X-Amz-Expires'. Re-examine the query-string "
                      "parameters.");
    claim->expires_ms = (int64_t)seconds * 1000;
    return 0;
}

/* -------------------------------------------------------------------------------------------------- checking
 */

static int split_credential(tr_view credential, tr_sigv4_identity *identity, tr_view *ret_end)
{
    tr_view parts[5];
    size_t end = credential.len, n = 5;
    /* from the back: an access key may have slashes, the rest may not */
    while (--n > 0) {
        size_t at = end;
        while (at > 0 && credential.ptr[at - 1] != '/')
            at--;
        if (at == 0)
            return TR_EPARSE;
        parts[n] = tr_view_of(credential.ptr + at, end - at);
        end = at - 1;
    }
    parts[0] = tr_view_of(credential.ptr, end);
    if (parts[0].len == 0)
        return TR_EPARSE;
    *identity = (tr_sigv4_identity){
        .access_key_id = parts[0], .date = parts[1], .region = parts[2], .service = parts[3]};
    *ret_end = parts[4];
    return 0;
}

int tr_sigv4_parse(tr_view authorization, tr_sigv4_identity *ret_identity)
{
    struct claim claim = {0};
    tr_view end;
    if (!tr_view_starts(authorization, TR_VIEW(ALGORITHM " ")))
        return TR_EPARSE;
    size_t skip = sizeof ALGORITHM - 1;
    parse_pairs(tr_view_of(authorization.ptr + skip, authorization.len - skip), &claim);
    return claim.has_credential ? split_credential(claim.credential, ret_identity, &end) : TR_EPARSE;
}

/* "20260131T235959Z" as milliseconds. */
static int parse_timestamp(tr_view text, int64_t *ret_ms)
{
    char iso[] = "0000-00-00T00:00:00Z";
    static const uint8_t places[TR_SIGV4_DATE_LEN] = {0, 1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 14, 15, 17, 18, 19};
    if (text.len != TR_SIGV4_DATE_LEN)
        return TR_EPARSE;
    for (size_t i = 0; i < TR_SIGV4_DATE_LEN; i++)
        iso[places[i]] = text.ptr[i];
    return tr_time_parse(tr_view_str(iso), ret_ms);
}

static int check_time(const tr_sigv4_check *check, const struct claim *claim, tr_error *err)
{
    int64_t at, now = check->now_ms;
    if (parse_timestamp(claim->timestamp, &at))
        return tr_fail_service(err, TR_EAUTH, 400, "IncompleteSignatureException",
                               "Date must be in ISO-8601 'basic format'. Got '%.*s'. See "
                               "http://en.wikipedia.org/wiki/ISO_8601",
                               (int)(claim->timestamp.len < 64 ? claim->timestamp.len : 64),
                               claim->timestamp.ptr);
    char signed_at[TR_SIGV4_DATE_LEN + 1], limit[TR_SIGV4_DATE_LEN + 1], here[TR_SIGV4_DATE_LEN + 1];
    int64_t lasts = claim->expires_ms >= 0 ? claim->expires_ms : TR_SIGV4_SKEW_MS;
    tr__sigv4_date(at, signed_at);
    tr__sigv4_date(now, here);
    if (at + lasts < now) {
        tr__sigv4_date(now - lasts, limit);
        return tr_fail_service(err, TR_EAUTH, 400, "InvalidSignatureException",
                               "Signature expired: %s is now earlier than %s (%s - %lld min.)", signed_at,
                               limit, here, (long long)(lasts / 60000));
    }
    if (at - TR_SIGV4_SKEW_MS > now) {
        tr__sigv4_date(now + TR_SIGV4_SKEW_MS, limit);
        return tr_fail_service(err, TR_EAUTH, 400, "InvalidSignatureException",
                               "Signature not yet current: %s is still later than %s (%s + %d min.)",
                               signed_at, limit, here, TR_SIGV4_SKEW_MS / 60000);
    }
    return 0;
}

static int check_scope(const tr_sigv4_check *check, const struct claim *claim, tr_sigv4_identity *identity,
                       tr_error *err)
{
    tr_view end;
    if (split_credential(claim->credential, identity, &end))
        return tr_fail_service(err, TR_EAUTH, 400, "IncompleteSignatureException",
                               "Credential must have exactly 5 slash-delimited elements, e.g. "
                               "keyid/date/region/service/term, got '%.*s'",
                               (int)(claim->credential.len < 256 ? claim->credential.len : 256),
                               claim->credential.ptr);
    char text[1024] = ""; /* all four fit */
    size_t len = 0;
    if (check->region && !tr_view_is(identity->region, check->region))
        len += (size_t)snprintf(
            text, sizeof text, "Credential should be scoped to a valid region, not '%.*s'. ",
            (int)(identity->region.len < 64 ? identity->region.len : 64), identity->region.ptr);
    if (check->service && !tr_view_is(identity->service, check->service))
        len += (size_t)snprintf(text + len, sizeof text - len,
                                "Credential should be scoped to correct service: '%s'. ", check->service);
    if (!tr_view_is(end, "aws4_request"))
        len += (size_t)snprintf(
            text + len, sizeof text - len,
            "Credential should be scoped with a valid terminator: 'aws4_request', not '%.*s'. ",
            (int)(end.len < 64 ? end.len : 64), end.ptr);
    if (!tr_view_eq(identity->date, tr_view_of(claim->timestamp.ptr, 8)))
        len += (size_t)snprintf(
            text + len, sizeof text - len,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            "HTTP: '%.*s' != '%.8s', from '%.16s'. ",
            (int)(identity->date.len < 64 ? identity->date.len : 64), identity->date.ptr,
            claim->timestamp.ptr, claim->timestamp.ptr);
    return len ? invalid(err, text) : 0;
}

/* Picks the headers that were signed, in the order given, which must be sorted. */
static int pick_headers(const tr_sigv4_request *request, tr_view names, tr_header *out, size_t *ret_count,
                        tr_error *err)
{
    size_t count = 0;
    bool host = false;
    tr_view before = {0};
    for (size_t at = 0; names.ptr && at <= names.len;) {
        size_t end = tr_view_find(names, TR_VIEW(";"), at);
        end = end == SIZE_MAX ? names.len : end;
        tr_view name = tr_view_of(names.ptr + at, end - at);
        at = end + 1;
        if (before.ptr && tr_view_cmp(before, name) >= 0)
            return invalid(err, "'SignedHeaders' must be sorted and name each header once.");
        before = name;
        host |= tr_view_is(name, "host");
        for (size_t i = 0; i < request->header_count; i++) {
            if (!tr_view_eq(request->headers[i].name, name))
                continue;
            if (count == TR_SIGV4_HEADERS_MAX)
                return tr_fail(err, TR_ELIMIT, "too many signed headers");
            out[count++] = request->headers[i];
        }
    }
    if (!host)
        return invalid(err, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
    *ret_count = count;
    return 0;
}

static int check_signature(tr_sigv4 *signer, const tr_sigv4_check *check, const struct claim *claim,
                           const tr_sigv4_identity *identity, const tr_sigv4_request *request, tr_error *err)
{
    tr_header headers[TR_SIGV4_HEADERS_MAX];
    size_t count = 0;
    int code = pick_headers(request, claim->signed_headers, headers, &count, err);
    if (code)
        return code;
    tr__sigv4_scope scope = {.timestamp = claim->timestamp,
                             .date = identity->date,
                             .region = identity->region,
                             .service = identity->service};
    if (check->secret(check->ctx, identity->access_key_id, &scope.secret))
        return refuse(err, "UnrecognizedClientException",
                      "The security token included in the request is invalid.");
    char signature[2 * TR__SHA256 + 1];
    code = tr__sigv4_signature(signer, &scope, request, headers, count,
                               claim->expires_ms >= 0 ? "X-Amz-Signature" : NULL, signature);
    if (code)
        return tr_fail(err, code, "cannot check the signature: %s", tr_strerror(code));
    if (claim->signature.len != sizeof signature - 1 ||
        CRYPTO_memcmp(claim->signature.ptr, signature, sizeof signature - 1) != 0)
        return invalid(
            err, "The request signature we calculated does not match the signature you provided. Check your "
                 "AWS Secret Access Key and signing method. Consult the service documentation for details.");
    return 0;
}

int tr_sigv4_verify(tr_sigv4 *signer, const tr_sigv4_check *check, const tr_sigv4_request *request,
                    tr_sigv4_identity *ret_identity, tr_error *err)
{
    struct claim claim = {.expires_ms = -1};
    tr_sigv4_identity identity = {0};
    tr_view authorization = header(request, "authorization");
    bool in_query = tr_view_find(request->query, TR_VIEW("X-Amz-Algorithm="), 0) != SIZE_MAX;
    if (authorization.ptr && in_query)
        return invalid(
            err, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.");
    if (!authorization.ptr && !in_query)
        return refuse(err, "MissingAuthenticationTokenException", "Request is missing Authentication Token");
    int code = in_query ? claim_of_query(signer, request, &claim, err)
                        : claim_of_header(request, authorization, &claim, err);
    if (code == 0)
        code = check_time(check, &claim, err);
    if (code == 0)
        code = check_scope(check, &claim, &identity, err);
    if (code == 0)
        code = check_signature(signer, check, &claim, &identity, request, err);
    if (code == 0)
        *ret_identity = identity;
    return code;
}
