/* SPDX-License-Identifier: MIT */
#include "credentials.h"
#include "fetch.h"

#include <tailrace/sigv4.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TOKEN_FILE_MAX 65536
#define ATTEMPTS       3

/* Where STS is: AWS_ENDPOINT_URL_STS, or the region's, or the global one. */
static void find_endpoint(const char *region, char *url, size_t size, char *signing_region,
                          size_t region_size)
{
    const char *named = getenv("AWS_ENDPOINT_URL_STS");
    bool china = region && strncmp(region, "cn-", 3) == 0;
    (void)snprintf(signing_region, region_size, "%s", region ? region : "us-east-1");
    if (named && *named) {
        size_t len = strlen(named);
        while (len && named[len - 1] == '/')
            len--;
        (void)snprintf(url, size, "%.*s/", (int)len, named);
    } else if (region) {
        (void)snprintf(url, size, "https://sts.%s.amazonaws.com%s/", region, china ? ".cn" : "");
    } else {
        (void)snprintf(url, size, "https://sts.amazonaws.com/");
    }
}

static tr_view host_of(const char *url)
{
    const char *begin = strstr(url, "://");
    begin = begin ? begin + 3 : url;
    return tr_view_of(begin, strcspn(begin, "/"));
}

/* ----------------------------------------------------------------------------------------------------- XML
 */

static const char *entity(tr_view text, size_t at, size_t *ret_len)
{
    static const char *const entities[][2] = {{"&amp;", "&"},   {"&lt;", "<"},   {"&gt;", ">"},
                                              {"&quot;", "\""}, {"&apos;", "'"}, {"&#39;", "'"},
                                              {"&#xD;", ""}};
    for (size_t i = 0; i < TR_COUNT(entities); i++) {
        size_t len = strlen(entities[i][0]);
        if (text.len - at >= len && memcmp(text.ptr + at, entities[i][0], len) == 0) {
            *ret_len = len;
            return entities[i][1];
        }
    }
    return NULL;
}

/* The text of the first element of this name, as a C string in the arena; NULL if there is none. */
static const char *element(tr_arena *arena, tr_view xml, const char *name)
{
    char open[64], close[64];
    (void)snprintf(open, sizeof open, "<%s>", name);
    (void)snprintf(close, sizeof close, "</%s>", name);
    size_t begin = tr_view_find(xml, tr_view_str(open), 0);
    if (begin == SIZE_MAX)
        return NULL;
    begin += strlen(open);
    size_t end = tr_view_find(xml, tr_view_str(close), begin);
    char *out = end == SIZE_MAX ? NULL : tr_arena_alloc(arena, end - begin + 1);
    if (!out)
        return NULL;
    tr_view text = tr_view_of(xml.ptr + begin, end - begin);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        size_t skip = 0;
        const char *plain = text.ptr[i] == '&' ? entity(text, i, &skip) : NULL;
        if (!plain) {
            out[len++] = text.ptr[i];
            continue;
        }
        if (*plain)
            out[len++] = *plain;
        i += skip - 1;
    }
    out[len] = 0;
    return out;
}

static int read_answer(tr_view xml, int status, const char *role, tr__credentials *out, tr_error *err)
{
    tr_arena arena;
    tr_arena_init(&arena, (size_t)2 * TR__FETCH_MAX);
    const char *id = element(&arena, xml, "AccessKeyId"), *secret = element(&arena, xml, "SecretAccessKey");
    const char *token = element(&arena, xml, "SessionToken"),
               *expiration = element(&arena, xml, "Expiration");
    int64_t expires = 0;
    int code;
    if (status == 200 && id && secret && token && expiration &&
        tr_time_parse(tr_view_str(expiration), &expires) == 0) {
        code =
            tr__credentials_set(out, tr_view_str(id), tr_view_str(secret), tr_view_str(token), expires, err);
    } else {
        const char *type = element(&arena, xml, "Code"), *message = element(&arena, xml, "Message");
        code = tr_fail_service(err, TR_EAUTH, status, type ? type : "", "cannot assume the role %s: %s", role,
                               message ? message : "STS gave no credentials");
    }
    tr_arena_done(&arena);
    return code;
}

/* ------------------------------------------------------------------------------------------------- requests
 */

static void put_parameter(tr_buf *body, const char *name, tr_view value)
{
    tr_buf_putc(body, '&');
    tr_buf_put_str(body, name);
    tr_buf_putc(body, '=');
    tr_percent_put(body, value, false);
}

static void put_role(tr_buf *body, const tr__role *role)
{
    char name[64];
    (void)snprintf(name, sizeof name, "tailrace-%lld", (long long)(tr_clock_wall_ms() / 1000));
    put_parameter(body, "RoleArn", tr_view_str(role->role_arn));
    put_parameter(body, "RoleSessionName", tr_view_str(role->session_name ? role->session_name : name));
    if (role->external_id)
        put_parameter(body, "ExternalId", tr_view_str(role->external_id));
    if (role->duration_seconds)
        put_parameter(body, "DurationSeconds", tr_view_str(role->duration_seconds));
}

static int sign(tr_view body, tr_view host, const char *region, const tr__credentials *by, char *date,
                tr_buf *authorization)
{
    tr_sigv4 *signer;
    int code = tr_sigv4_new(&signer);
    if (code)
        return code;
    tr_header headers[] = {{TR_VIEW("Host"), host},
                           {TR_VIEW("Content-Type"), TR_VIEW("application/x-www-form-urlencoded")}};
    tr_sigv4_request request = {
        .method = TR_VIEW("POST"), .path = TR_VIEW("/"), .headers = headers, .header_count = 2, .body = body};
    tr_sigv4_credentials credentials = {tr_view_str(by->access_key_id), tr_view_str(by->secret_access_key),
                                        tr_view_str(by->session_token)};
    code = tr_sigv4_sign(signer, &credentials, tr_view_str(region), TR_VIEW("sts"), tr_clock_wall_ms(),
                         &request, date, authorization);
    tr_sigv4_free(signer);
    return code;
}

/* One attempt. `by` is NULL for requests that carry a token of their own. */
static int post(tr__source *source, tr_view body, const tr__credentials *by, int *ret_status, tr_buf *answer,
                tr_error *err)
{
    char url[512], region[128], date[TR_SIGV4_DATE_LEN + 1];
    find_endpoint(source->region, url, sizeof url, region, sizeof region);
    tr_view host = host_of(url);
    tr_header headers[5] = {{TR_VIEW("Host"), host},
                            {TR_VIEW("Content-Type"), TR_VIEW("application/x-www-form-urlencoded")}};
    size_t count = 2;
    tr_buf authorization;
    tr_buf_init(&authorization, 4096);
    if (by) {
        int code = sign(body, host, region, by, date, &authorization);
        if (code) {
            tr_buf_done(&authorization);
            return tr_fail(err, code, "cannot sign a request to STS: %s", tr_strerror(code));
        }
        headers[count++] = (tr_header){TR_VIEW("X-Amz-Date"), tr_view_str(date)};
        headers[count++] = (tr_header){TR_VIEW("Authorization"), tr_buf_view(&authorization)};
        if (by->session_token)
            headers[count++] = (tr_header){TR_VIEW("X-Amz-Security-Token"), tr_view_str(by->session_token)};
    }
    tr__fetch fetch = {.method = "POST",
                       .url = url,
                       .headers = headers,
                       .header_count = count,
                       .body = body,
                       .connect_timeout_ms = 5000,
                       .timeout_ms = 15000,
                       .abort = &source->abort};
    int code = tr__fetch_run(&fetch, ret_status, answer, err);
    tr_buf_done(&authorization);
    return code;
}

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

static int ask(tr__source *source, tr_view body, const tr__credentials *by, const char *role,
               tr__credentials *out, tr_error *err)
{
    tr_buf answer;
    int status = 0, code = 0;
    tr_buf_init(&answer, TR__FETCH_MAX);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (attempt)
            pause_ms(100L << attempt);
        tr_buf_reset(&answer);
        code = post(source, body, by, &status, &answer, err);
        bool again = code == 0 ? status >= 500 : code != TR_ECANCELED && tr_retryable(code);
        if (!again || atomic_load(&source->abort))
            break;
    }
    if (code == 0)
        code = read_answer(tr_buf_view(&answer), status, role, out, err);
    else if (err)
        code = tr_fail(err, code, "cannot reach STS to assume the role %s: %s", role, tr_strerror(code));
    tr_buf_done(&answer);
    return code;
}

int tr__assume_role(tr__source *source, const tr__credentials *by, const tr__role *role, tr__credentials *out,
                    tr_error *err)
{
    tr_buf body;
    tr_buf_init(&body, 65536);
    tr_buf_put_str(&body, "Action=AssumeRole&Version=2011-06-15");
    put_role(&body, role);
    int code = tr_buf_status(&body);
    code = code ? tr_fail(err, code, "the role's settings are too long")
                : ask(source, tr_buf_view(&body), by, role->role_arn, out, err);
    tr_buf_done(&body);
    return code;
}

int tr__assume_role_with_token(tr__source *source, const char *token_file, const tr__role *role,
                               tr__credentials *out, tr_error *err)
{
    tr_buf body, token;
    tr_buf_init(&body, (size_t)4 * TOKEN_FILE_MAX);
    tr_buf_init(&token, (size_t)2 * TOKEN_FILE_MAX);
    int code = role->role_arn
                   ? tr__read_file(token_file, TOKEN_FILE_MAX, &token, err)
                   : tr_fail(err, TR_EAUTH, "a web identity token needs a role to assume (AWS_ROLE_ARN)");
    if (code == 0) {
        tr_buf_put_str(&body, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
        put_role(&body, role);
        put_parameter(&body, "WebIdentityToken", tr_buf_view(&token));
        code = tr_buf_status(&body);
        code = code ? tr_fail(err, code, "the token in %s is too long", token_file)
                    : ask(source, tr_buf_view(&body), NULL, role->role_arn, out, err);
    }
    tr_buf_done(&body);
    tr_buf_done(&token);
    return code;
}
