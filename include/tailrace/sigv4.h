/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_SIGV4_H
#define TAILRACE_SIGV4_H

/**
 * tailrace/sigv4.h: AWS Signature Version 4, made and checked by the same code.
 *
 * A tr_sigv4 holds what would cost time to set up for each request: hash contexts and the derived keys of the
 * last days, regions and services used. It is for one thread.
 *
 * Paths and queries are taken as they stand in the request line, percent-encoded. As for all services but S3,
 * the path is normalised and encoded once more; the query is decoded, encoded and sorted.
 */

#include <tailrace/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_sigv4 tr_sigv4;

/** TR_ENOMEM (also if OpenSSL has no SHA-256). */
int tr_sigv4_new(tr_sigv4 **ret_signer);
void tr_sigv4_free(tr_sigv4 *signer);

#define TR_SIGV4_HEADERS_MAX 256
#define TR_SIGV4_QUERY_MAX   256 /* parameters */
#define TR_SIGV4_DATE_LEN    16  /* "20260131T235959Z" */

typedef struct tr_sigv4_request {
    tr_view method, path, query;
    const tr_header *headers; /**< any case, any order */
    size_t header_count;
    tr_view body;
} tr_sigv4_request;

typedef struct tr_sigv4_credentials {
    tr_view access_key_id, secret_access_key;
    tr_view session_token; /**< empty if there is none */
} tr_sigv4_credentials;

/**
 * Signs: appends the value of the Authorization header to `authorization`, and writes that of X-Amz-Date,
 * with a NUL, to `date` (room for TR_SIGV4_DATE_LEN + 1). All headers given are signed (Host must be among
 * them), and besides them X-Amz-Date, and X-Amz-Security-Token if there is a token; these three headers must
 * then be sent. TR_ELIMIT (too many headers or parameters), TR_ENOMEM.
 */
int tr_sigv4_sign(tr_sigv4 *signer, const tr_sigv4_credentials *credentials, tr_view region, tr_view service,
                  int64_t now_ms, const tr_sigv4_request *request, char *date, tr_buf *authorization);

/** What a request says of who signed it; views into the request (of a presigned URL: into the signer, until
 * its next use). */
typedef struct tr_sigv4_identity {
    tr_view access_key_id, date, region, service; /* date: "20260131" */
} tr_sigv4_identity;

/** Reads an Authorization header without checking the signature. TR_EPARSE if it is none of this kind. */
int tr_sigv4_parse(tr_view authorization, tr_sigv4_identity *ret_identity);

/** Gives the secret of an access key; TR_ENOTFOUND if it is unknown. */
typedef int tr_sigv4_secret_fn(void *ctx, tr_view access_key_id, tr_view *ret_secret);

typedef struct tr_sigv4_check {
    tr_sigv4_secret_fn *secret; /**< Required. */
    void *ctx;
    int64_t now_ms;
    const char *region;  /**< that must have been signed for. NULL: any */
    const char *service; /**< as well. NULL: any */
} tr_sigv4_check;

/** How far the signer's clock may be off, and how long a signature lasts (the services' own limit). */
#define TR_SIGV4_SKEW_MS (15 * 60 * 1000)

/**
 * Checks the signature of a request: from its Authorization header, or from its query (a presigned URL, for
 * those who cannot send headers). Header names must be in lower case, as tr_http_request has them. 0, or
 * TR_EAUTH with the services' error: MissingAuthenticationTokenException, IncompleteSignatureException,
 * UnrecognizedClientException, InvalidSignatureException, all with status 400; TR_ENOMEM, TR_ELIMIT.
 */
int tr_sigv4_verify(tr_sigv4 *signer, const tr_sigv4_check *check, const tr_sigv4_request *request,
                    tr_sigv4_identity *ret_identity, tr_error *err);

#ifdef __cplusplus
}
#endif
#endif
