/* SPDX-License-Identifier: MIT */
#include "fetch.h"

#include "http/curl.h"

#define HEADERS_MAX 16

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    (void)one;
    tr_buf *body = arg;
    tr_buf_put(body, bytes, len);
    return tr_buf_status(body) ? 0 : len;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    atomic_bool *abort = arg;
    return abort && atomic_load(abort);
}

static int set_options(CURL *easy, const tr__fetch *fetch, struct curl_slist *headers, tr_buf *body,
                       char *text)
{
    bool post = fetch->body.len > 0 || strcmp(fetch->method, "POST") == 0;
    bool ok =
        tr__curl.easy_setopt(easy, CURLOPT_URL, fetch->url) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_WRITEDATA, body) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_ERRORBUFFER, text) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_XFERINFODATA, fetch->abort) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_USERAGENT, "tailrace") == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)fetch->connect_timeout_ms) == CURLE_OK &&
        tr__curl.easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)fetch->timeout_ms) == CURLE_OK;
    if (ok && fetch->direct)
        ok = tr__curl.easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK;
    if (ok && post)
        ok = tr__curl.easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)fetch->body.len) ==
                 CURLE_OK &&
             tr__curl.easy_setopt(easy, CURLOPT_POSTFIELDS, fetch->body.len ? fetch->body.ptr : "") ==
                 CURLE_OK;
    if (ok && strcmp(fetch->method, post ? "POST" : "GET") != 0)
        ok = tr__curl.easy_setopt(easy, CURLOPT_CUSTOMREQUEST, fetch->method) == CURLE_OK;
    return ok ? 0 : TR_ENOMEM;
}

static int code_of(CURLcode result, const tr_buf *body)
{
    switch (result) {
    case CURLE_ABORTED_BY_CALLBACK:
        return TR_ECANCELED;
    case CURLE_OPERATION_TIMEDOUT:
        return TR_ETIMEOUT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return TR_ECONNECT;
    case CURLE_OUT_OF_MEMORY:
        return TR_ENOMEM;
    default:
        return tr_buf_status(body) ? tr_buf_status(body) : TR_EIO;
    }
}

int tr__fetch_run(const tr__fetch *fetch, int *ret_status, tr_buf *ret_body, tr_error *err)
{
    tr_arena arena;
    struct curl_slist list[HEADERS_MAX + 1];
    char text[CURL_ERROR_SIZE] = "";
    size_t count = 0;
    if (fetch->header_count > HEADERS_MAX)
        return tr_fail(err, TR_ELIMIT, "too many headers");
    int code = tr__curl_init(err);
    if (code)
        return code;
    tr_arena_init(&arena, TR__FETCH_MAX);
    for (size_t i = 0; i < fetch->header_count; i++, count++)
        list[count] =
            (struct curl_slist){.data = tr_arena_printf(&arena, "%.*s: %.*s", TR_FMT(fetch->headers[i].name),
                                                        TR_FMT(fetch->headers[i].value)),
                                .next = &list[count + 1]};
    list[count++] = (struct curl_slist){.data = (char *)(uintptr_t) "Expect:"};
    CURL *easy = tr__curl.easy_init();
    code = easy ? set_options(easy, fetch, list, ret_body, text) : TR_ENOMEM;
    for (size_t i = 0; i < count && code == 0; i++)
        code = list[i].data ? 0 : TR_ENOMEM;
    if (code) {
        code = tr_fail(err, code, "out of memory");
    } else {
        CURLcode result = tr__curl.easy_perform(easy);
        long status = 0;
        (void)tr__curl.easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        if (result == CURLE_OK)
            *ret_status = (int)status;
        else
            code =
                tr_fail(err, code_of(result, ret_body), "%s", *text ? text : tr__curl.easy_strerror(result));
    }
    tr__curl.easy_cleanup(easy);
    tr_arena_done(&arena);
    return code;
}
