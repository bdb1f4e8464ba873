/* SPDX-License-Identifier: MIT */
/** What a signature costs: making one, checking one, for a request as the SDKs send it. */
#include <tailrace/sigv4.h>

#include <stdio.h>

static int secret(void *ctx, tr_view access_key_id, tr_view *ret_secret)
{
    (void)ctx;
    (void)access_key_id;
    *ret_secret = TR_VIEW("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    return 0;
}

int main(void)
{
    enum { N = 300000 };
    tr_sigv4 *signer;
    tr_buf out;
    char date[TR_SIGV4_DATE_LEN + 1], body[500];
    if (tr_sigv4_new(&signer))
        return 1;
    memset(body, 'x', sizeof body);
    tr_buf_init(&out, 1000);
    tr_sigv4_credentials credentials = {.access_key_id = TR_VIEW("AKIDEXAMPLE")};
    (void)secret(NULL, credentials.access_key_id, &credentials.secret_access_key);
    tr_header headers[] = {{TR_VIEW("host"), TR_VIEW("127.0.0.1:8000")},
                           {TR_VIEW("content-type"), TR_VIEW("application/x-amz-json-1.0")},
                           {TR_VIEW("x-amz-target"), TR_VIEW("DynamoDB_20120810.PutItem")},
                           {TR_VIEW("x-amz-date"), TR_VIEW("")},
                           {TR_VIEW("authorization"), TR_VIEW("")}};
    tr_sigv4_request request = {TR_VIEW("POST"), TR_VIEW("/"), {NULL, 0}, headers, 3, {body, sizeof body}};
    int64_t now = 1769903998000, begin = tr_clock_mono_ns();
    for (int i = 0; i < N; i++) {
        tr_buf_reset(&out);
        if (tr_sigv4_sign(signer, &credentials, TR_VIEW("us-east-1"), TR_VIEW("dynamodb"), now, &request,
                          date, &out))
            return 1;
    }
    printf("sign:   %.2f us\n", (double)(tr_clock_mono_ns() - begin) / N / 1000);
    headers[3].value = tr_view_str(date);
    headers[4].value = tr_buf_view(&out);
    request.header_count = 5;
    tr_sigv4_check check = {.secret = secret, .now_ms = now, .service = "dynamodb"};
    begin = tr_clock_mono_ns();
    for (int i = 0; i < N; i++) {
        tr_sigv4_identity who;
        if (tr_sigv4_verify(signer, &check, &request, &who, NULL))
            return 1;
    }
    printf("verify: %.2f us\n", (double)(tr_clock_mono_ns() - begin) / N / 1000);
    tr_buf_done(&out);
    tr_sigv4_free(signer);
    return 0;
}
