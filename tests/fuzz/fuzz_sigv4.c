/* SPDX-License-Identifier: MIT */
/**
 * Signatures of any request: what is signed verifies, and bytes that claim to be signed are refused without
 * harm. The input is split by line feeds into path, query, a header's value, and the body.
 */
#include <assert.h>
#include <stdlib.h>

#include <tailrace/sigv4.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int secret(void *ctx, tr_view id, tr_view *ret_secret)
{
    (void)ctx;
    (void)id;
    *ret_secret = TR_VIEW("secret");
    return 0;
}

static tr_view take_line(tr_view *rest)
{
    size_t end = tr_view_find(*rest, TR_VIEW("\n"), 0);
    tr_view line = tr_view_of(rest->ptr, end == SIZE_MAX ? rest->len : end);
    *rest = end == SIZE_MAX ? (tr_view){0} : tr_view_of(rest->ptr + end + 1, rest->len - end - 1);
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static tr_sigv4 *signer;
    if (!signer && tr_sigv4_new(&signer))
        abort();
    tr_view rest = tr_view_of(data, size);
    tr_view path = take_line(&rest), query = take_line(&rest), value = take_line(&rest);
    tr_header headers[4] = {{TR_VIEW("host"), TR_VIEW("h")}, {TR_VIEW("x-a"), value}};
    tr_sigv4_request request = {TR_VIEW("POST"), path, query, headers, 2, rest};
    tr_sigv4_credentials credentials = {TR_VIEW("ID"), TR_VIEW("secret"), {0}};
    char date[TR_SIGV4_DATE_LEN + 1];
    tr_buf authorization;
    tr_buf_init(&authorization, 10000);
    int64_t now = 1769903998000;
    tr_sigv4_check check = {.secret = secret, .now_ms = now};
    tr_sigv4_identity who;
    int code =
        tr_sigv4_sign(signer, &credentials, TR_VIEW("r"), TR_VIEW("s"), now, &request, date, &authorization);
    if (code == 0) {
        headers[2] = (tr_header){TR_VIEW("x-amz-date"), tr_view_str(date)};
        headers[3] = (tr_header){TR_VIEW("authorization"), tr_buf_view(&authorization)};
        request.header_count = 4;
        if (tr_view_find(query, TR_VIEW("X-Amz-Algorithm="), 0) == SIZE_MAX)
            assert(tr_sigv4_verify(signer, &check, &request, &who, NULL) == 0);
    }
    /* now the line is the header itself, or the query a presigned one */
    headers[2] = (tr_header){TR_VIEW("x-amz-date"), TR_VIEW("20260131T235958Z")};
    headers[3] = (tr_header){TR_VIEW("authorization"), value};
    request.header_count = value.len ? 4 : 3;
    tr_error err;
    assert(tr_sigv4_verify(signer, &check, &request, &who, &err) != 0);
    (void)tr_sigv4_parse(value, &who);
    tr_buf_done(&authorization);
    return 0;
}
