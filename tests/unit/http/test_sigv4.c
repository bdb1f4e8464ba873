/* SPDX-License-Identifier: MIT */
#include "serving.h"

#include <tailrace/sigv4.h>

#include <curl/curl.h>

#define NOW INT64_C(1769903998000) /* 2026-01-31T23:59:58Z */

struct vector {
    tr_view method, path, query;
    tr_header headers[8];
    size_t header_count;
    tr_view body, region, service, token;
    const char *authorization;
};

struct presigned {
    tr_view path, query;
};

#include "sigv4_vectors.h"

static const tr_view secret = {"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40};

static int find_secret(void *ctx, tr_view access_key_id, tr_view *ret_secret)
{
    (void)ctx;
    if (!tr_view_is(access_key_id, "AKIDEXAMPLE"))
        return TR_ENOTFOUND;
    *ret_secret = secret;
    return 0;
}

/* The request as the server sees it: names in lower case, with what signing added. */
struct received {
    tr_header headers[16];
    char names[16][64];
    tr_sigv4_request request;
};

static void receive(struct received *r, const struct vector *v, const char *date, tr_view authorization)
{
    memset(r, 0, sizeof *r);
    size_t n = v->header_count;
    memcpy(r->headers, v->headers, n * sizeof *r->headers);
    r->headers[n++] = (tr_header){TR_VIEW("X-Amz-Date"), tr_view_str(date)};
    if (v->token.len)
        r->headers[n++] = (tr_header){TR_VIEW("X-Amz-Security-Token"), v->token};
    r->headers[n++] = (tr_header){TR_VIEW("Authorization"), authorization};
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < r->headers[i].name.len; k++) {
            char c = r->headers[i].name.ptr[k];
            r->names[i][k] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
        r->headers[i].name.ptr = r->names[i];
    }
    r->request = (tr_sigv4_request){v->method, v->path, v->query, r->headers, n, v->body};
}

static void sign(tr_sigv4 *signer, const struct vector *v, int64_t now, char *date, tr_buf *out)
{
    tr_sigv4_credentials credentials = {TR_VIEW("AKIDEXAMPLE"), secret, v->token};
    tr_sigv4_request request = {v->method, v->path, v->query, v->headers, v->header_count, v->body};
    tr_buf_reset(out);
    assert_int_equal(tr_sigv4_sign(signer, &credentials, v->region, v->service, now, &request, date, out), 0);
}

static void signatures_are_those_of_botocore(void **state)
{
    (void)state;
    tr_sigv4 *signer;
    tr_buf out;
    char date[TR_SIGV4_DATE_LEN + 1];
    assert_int_equal(tr_sigv4_new(&signer), 0);
    tr_buf_init(&out, 10000);
    for (int round = 0; round < 2; round++) /* the second time with keys that were kept */
        for (size_t i = 0; i < TR_COUNT(vectors); i++) {
            sign(signer, &vectors[i], NOW, date, &out);
            assert_view(tr_buf_view(&out), vectors[i].authorization);
            assert_string_equal(date, "20260131T235958Z");
            struct received r;
            tr_sigv4_identity who;
            tr_error err = {0};
            tr_sigv4_check check = {.secret = find_secret, .now_ms = NOW};
            receive(&r, &vectors[i], date, tr_view_str(vectors[i].authorization));
            assert_int_equal(tr_sigv4_verify(signer, &check, &r.request, &who, &err), 0);
            assert_view(who.access_key_id, "AKIDEXAMPLE");
            assert_true(tr_view_eq(who.region, vectors[i].region));
            assert_true(tr_view_eq(who.service, vectors[i].service));
            tr_sigv4_identity parsed;
            assert_int_equal(tr_sigv4_parse(tr_view_str(vectors[i].authorization), &parsed), 0);
            assert_true(tr_view_eq(parsed.region, vectors[i].region));
        }
    tr_buf_done(&out);
    tr_sigv4_free(signer);
    tr_sigv4_free(NULL);
}

/* "get-vanilla" of AWS's own test suite */
static void the_vanilla_request_of_aws(void **state)
{
    (void)state;
    tr_sigv4 *signer;
    tr_buf out;
    char date[TR_SIGV4_DATE_LEN + 1];
    tr_sigv4_credentials credentials = {TR_VIEW("AKIDEXAMPLE"), secret, TR_VIEW("")};
    tr_header host = {TR_VIEW("Host"), TR_VIEW("example.amazonaws.com")};
    tr_sigv4_request request = {TR_VIEW("GET"), TR_VIEW("/"), {NULL, 0}, &host, 1, {NULL, 0}};
    assert_int_equal(tr_sigv4_new(&signer), 0);
    tr_buf_init(&out, 10000);
    assert_int_equal(tr_sigv4_sign(signer, &credentials, TR_VIEW("us-east-1"), TR_VIEW("service"),
                                   INT64_C(1440938160000), &request, date, &out),
                     0);
    assert_view(tr_buf_view(&out),
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                "SignedHeaders=host;x-amz-date, "
                "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    tr_buf_done(&out);
    tr_sigv4_free(signer);
}

static void verify_fails(tr_sigv4 *signer, const tr_sigv4_request *request, const tr_sigv4_check *check,
                         const char *type, const char *text)
{
    tr_sigv4_identity who;
    tr_error err = {0};
    assert_int_equal(tr_sigv4_verify(signer, check, request, &who, &err), TR_EAUTH);
    assert_string_equal(err.type, type);
    assert_int_equal(err.http_status, 400);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" does not say \"%s\"", err.message, text);
}

static void whatever_is_changed_is_noticed(void **state)
{
    (void)state;
    tr_sigv4 *signer;
    assert_int_equal(tr_sigv4_new(&signer), 0);
    struct received r;
    const char *date = "20260131T235958Z";
    tr_sigv4_check check = {.secret = find_secret, .now_ms = NOW};
    static const char invalid[] = "InvalidSignatureException",
                      differs[] = "does not match the signature you provided";
    for (size_t i = 0; i < TR_COUNT(vectors); i++) {
        tr_view auth = tr_view_str(vectors[i].authorization);
        receive(&r, &vectors[i], date, auth);
        r.request.method = TR_VIEW("PATCH");
        verify_fails(signer, &r.request, &check, invalid, differs);
        receive(&r, &vectors[i], date, auth);
        r.request.path = TR_VIEW("/other");
        verify_fails(signer, &r.request, &check, invalid, differs);
        receive(&r, &vectors[i], date, auth);
        r.request.query = TR_VIEW("other=1");
        verify_fails(signer, &r.request, &check, invalid, differs);
        receive(&r, &vectors[i], date, auth);
        r.request.body = TR_VIEW("other");
        verify_fails(signer, &r.request, &check, invalid, differs);
        receive(&r, &vectors[i], date, auth);
        r.headers[0].value = TR_VIEW("other");
        verify_fails(signer, &r.request, &check, invalid, differs);
        char forged[2000];
        (void)snprintf(forged, sizeof forged, "%s", vectors[i].authorization);
        char *last = forged + strlen(forged) - 1;
        *last = *last == '0' ? '1' : '0';
        receive(&r, &vectors[i], date, tr_view_str(forged));
        verify_fails(signer, &r.request, &check, invalid, differs);
        receive(&r, &vectors[i], date, tr_view_of(forged, strlen(forged) - 1)); /* cut */
        verify_fails(signer, &r.request, &check, invalid, differs);
    }
    tr_sigv4_free(signer);
}

static void refusals_are_those_of_the_service(void **state)
{
    (void)state;
    tr_sigv4 *signer;
    assert_int_equal(tr_sigv4_new(&signer), 0);
    struct received r;
    const struct vector *v = &vectors[0];
    const char *date = "20260131T235958Z";
    tr_view auth = tr_view_str(v->authorization);
    tr_sigv4_check check = {.secret = find_secret, .now_ms = NOW};
    receive(&r, v, date, auth);
    r.request.header_count--;
    verify_fails(signer, &r.request, &check, "MissingAuthenticationTokenException", "Request is missing");
    receive(&r, v, date, TR_VIEW("Basic abc"));
    verify_fails(signer, &r.request, &check, "MissingAuthenticationTokenException", "Request is missing");
    receive(&r, v, date, TR_VIEW("AWS4-HMAC-SHA256 Credential=a/b/c/d/e"));
    verify_fails(
        signer, &r.request, &check, "IncompleteSignatureException",
        "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' "
        "parameter. Authorization=AWS4-HMAC-SHA256 Credential=a/b/c/d/e");
    receive(&r, v, date, auth);
    r.headers[v->header_count].name = TR_VIEW("x-other");
    verify_fails(signer, &r.request, &check, "IncompleteSignatureException",
                 "either a 'X-Amz-Date' or a 'Date' header");
    receive(&r, v, date, TR_VIEW("AWS4-HMAC-SHA256 Credential=abc, SignedHeaders=host, Signature=x"));
    verify_fails(signer, &r.request, &check, "IncompleteSignatureException", "5 slash-delimited elements");
    receive(&r, v, "yesterday", auth);
    verify_fails(signer, &r.request, &check, "IncompleteSignatureException", "ISO-8601");
    receive(&r, v, date,
            TR_VIEW("AWS4-HMAC-SHA256 Credential=NOBODY/20260131/us-east-1/dynamodb/aws4_request, "
                    "SignedHeaders=host, "
                    "Signature=x"));
    verify_fails(signer, &r.request, &check, "UnrecognizedClientException",
                 "The security token included in the request is invalid.");
    receive(&r, v, date,
            TR_VIEW("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/us-east-1/dynamodb/aws4_request, "
                    "SignedHeaders=x-amz-date, Signature=x"));
    verify_fails(signer, &r.request, &check, "InvalidSignatureException", "'Host' or ':authority' must be");
    receive(
        &r, v, date,
        TR_VIEW(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260130/us-east-1/dynamodb/aws3, SignedHeaders=host, "
            "Signature=x"));
    tr_sigv4_check strict = {
        .secret = find_secret, .now_ms = NOW, .region = "eu-west-1", .service = "events"};
    verify_fails(signer, &r.request, &strict, "InvalidSignatureException", "valid region, not 'us-east-1'");
    verify_fails(signer, &r.request, &strict, "InvalidSignatureException", "correct service: 'events'");
    verify_fails(signer, &r.request, &strict, "InvalidSignatureException", "'aws4_request', not 'aws3'");
    verify_fails(signer, &r.request, &strict, "InvalidSignatureException", "'20260130' != '20260131'");
    receive(&r, v, date, auth);
    tr_sigv4_identity who;
    const int64_t limit = 15 * 60 * 1000;
    check.now_ms = NOW + limit;
    assert_int_equal(tr_sigv4_verify(signer, &check, &r.request, &who, NULL), 0);
    check.now_ms = NOW - limit;
    assert_int_equal(tr_sigv4_verify(signer, &check, &r.request, &who, NULL), 0);
    check.now_ms = NOW + limit + 1000;
    verify_fails(signer, &r.request, &check, "InvalidSignatureException",
                 "Signature expired: 20260131T235958Z is now earlier than 20260131T235959Z (20260201T001459Z "
                 "- 15 min.)");
    check.now_ms = NOW - limit - 1000;
    verify_fails(signer, &r.request, &check, "InvalidSignatureException",
                 "Signature not yet current: 20260131T235958Z is still later than 20260131T235957Z "
                 "(20260131T234457Z + "
                 "15 min.)");
    tr_sigv4_free(signer);
}

static void presigned_urls_are_verified(void **state)
{
    (void)state;
    tr_sigv4 *signer;
    assert_int_equal(tr_sigv4_new(&signer), 0);
    for (size_t i = 0; i < TR_COUNT(presigned); i++) {
        tr_header host = {TR_VIEW("host"), TR_VIEW("localhost:8000")};
        tr_sigv4_request request = {TR_VIEW("GET"), presigned[i].path, presigned[i].query, &host, 1,
                                    {NULL, 0}};
        tr_sigv4_check check = {.secret = find_secret, .now_ms = NOW + 3500000, .service = "dynamodb"};
        tr_sigv4_identity who;
        tr_error err = {0};
        int code = tr_sigv4_verify(signer, &check, &request, &who, &err);
        assert_string_equal(err.message, "");
        assert_int_equal(code, 0);
        assert_view(who.access_key_id, "AKIDEXAMPLE");
        check.now_ms = NOW + 3601000;
        verify_fails(signer, &request, &check, "InvalidSignatureException", "Signature expired");
        check.now_ms = NOW;
        request.path = TR_VIEW("/y");
        verify_fails(signer, &request, &check, "InvalidSignatureException", "does not match");
    }
    tr_sigv4_free(signer);
}

static void limits_are_kept(void **state)
{
    (void)state;
    tr_sigv4 *signer;
    tr_buf out, query;
    char date[TR_SIGV4_DATE_LEN + 1];
    static tr_header headers[300];
    assert_int_equal(tr_sigv4_new(&signer), 0);
    tr_buf_init(&out, 1 << 20);
    tr_buf_init(&query, 1 << 20);
    tr_sigv4_credentials credentials = {TR_VIEW("AKIDEXAMPLE"), secret, TR_VIEW("")};
    for (size_t i = 0; i < 300; i++)
        headers[i] = (tr_header){TR_VIEW("Host"), TR_VIEW("x")};
    tr_sigv4_request request = {TR_VIEW("GET"), TR_VIEW("/"), {NULL, 0}, headers, 300, {NULL, 0}};
    assert_int_equal(
        tr_sigv4_sign(signer, &credentials, TR_VIEW("r"), TR_VIEW("s"), NOW, &request, date, &out),
        TR_ELIMIT);
    for (int i = 0; i < 300; i++)
        tr_buf_put_str(&query, "a=b&");
    request.header_count = 1;
    request.query = tr_buf_view(&query);
    assert_int_equal(
        tr_sigv4_sign(signer, &credentials, TR_VIEW("r"), TR_VIEW("s"), NOW, &request, date, &out),
        TR_ELIMIT);
    /* more regions than keys are kept, and some that are not kept */
    tr_buf_reset(&query);
    for (int i = 0; i < 300; i++)
        tr_buf_putc(&query, 'r');
    request.query = (tr_view){NULL, 0};
    for (int round = 0; round < 2; round++)
        for (size_t n = 0; n < 300; n += 13) {
            tr_buf_reset(&out);
            tr_view region = tr_view_of(query.ptr, n);
            assert_int_equal(
                tr_sigv4_sign(signer, &credentials, region, TR_VIEW("s"), NOW, &request, date, &out), 0);
            tr_sigv4 *fresh;
            tr_buf again;
            tr_buf_init(&again, 10000);
            assert_int_equal(tr_sigv4_new(&fresh), 0);
            assert_int_equal(
                tr_sigv4_sign(fresh, &credentials, region, TR_VIEW("s"), NOW, &request, date, &again), 0);
            assert_string_equal(tr_buf_cstr(&out), tr_buf_cstr(&again));
            tr_buf_done(&again);
            tr_sigv4_free(fresh);
        }
    tr_buf_done(&out);
    tr_buf_done(&query);
    tr_sigv4_free(signer);
}

/* --------------------------------------------------------------------------- curl's own signing as an oracle
 */

static void verify_and_answer(void *ctx, tr_http_request *request)
{
    (void)ctx;
    tr_sigv4 *signer;
    tr_sigv4_identity who;
    tr_error err = {0};
    tr_sigv4_check check = {
        .secret = find_secret, .now_ms = tr_clock_wall_ms(), .region = "eu-west-3", .service = "events"};
    tr_sigv4_request r = {request->method,  request->path,         request->query,
                          request->headers, request->header_count, request->body};
    assert_int_equal(tr_sigv4_new(&signer), 0);
    int code = tr_sigv4_verify(signer, &check, &r, &who, &err);
    tr_sigv4_free(signer);
    tr_http_respond_bytes(request, code ? 400 : 200, "text/plain", tr_view_str(err.message));
}

static void curl_signs_alike(void **state)
{
    (void)state;
    struct serving s;
    serving_start_with(&s, (tr_http_options){0}, verify_and_answer);
    for (int wrong = 0; wrong < 2; wrong++) {
        char url[100];
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", s.port);
        CURL *easy = curl_easy_init();
        struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/x-amz-json-1.1");
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "{\"Entries\":[]}");
        curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, "aws:amz:eu-west-3:events");
        curl_easy_setopt(easy, CURLOPT_USERPWD,
                         wrong ? "AKIDEXAMPLE:wrong"
                               : "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        FILE *sink = fopen("/dev/null", "w");
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, sink);
        assert_int_equal(curl_easy_perform(easy), CURLE_OK);
        long status = 0;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        assert_int_equal(status, wrong ? 400 : 200);
        fclose(sink);
        curl_slist_free_all(headers);
        curl_easy_cleanup(easy);
    }
    serving_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_those_of_botocore),
        cmocka_unit_test(the_vanilla_request_of_aws),
        cmocka_unit_test(whatever_is_changed_is_noticed),
        cmocka_unit_test(refusals_are_those_of_the_service),
        cmocka_unit_test(presigned_urls_are_verified),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(curl_signs_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
