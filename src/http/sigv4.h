/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HTTP_SIGV4_H
#define TAILRACE_HTTP_SIGV4_H

/** What sigv4.c (hashing and canonical form, signing) and sigv4_verify.c share. */

#include <tailrace/sigv4.h>

#include <openssl/evp.h>

#define TR__SHA256       32
#define TR__SIGV4_KEYS   8   /* derived keys kept */
#define TR__SIGV4_ID_MAX 512 /* bytes of what identifies one: secret, date, region, service */

typedef struct tr__derived_key {
    uint8_t key[TR__SHA256];
    uint64_t used; /* when, in uses of the signer; 0: never */
    size_t id_len;
    char id[TR__SIGV4_ID_MAX];
} tr__derived_key;

struct tr_sigv4 {
    EVP_MD *sha256;
    EVP_MD_CTX *ctx;
    uint64_t uses;
    tr__derived_key keys[TR__SIGV4_KEYS];
    tr_buf canonical; /* the canonical request */
    tr_buf names;     /* lower-case header names, decoded parameters */
    tr_buf scratch;
};

/** What is signed, and for whom. */
typedef struct tr__sigv4_scope {
    tr_view secret, timestamp; /* "20260131T235959Z" */
    tr_view date, region, service;
} tr__sigv4_scope;

/**
 * The signature (64 hexadecimal digits and a NUL) of a request whose signed headers are given: names in lower
 * case, sorted. A query parameter called `without` is left out (NULL: none).
 */
int tr__sigv4_signature(tr_sigv4 *signer, const tr__sigv4_scope *scope, const tr_sigv4_request *request,
                        const tr_header *signed_headers, size_t count, const char *without, char *ret_hex);
/** "20260131T235959Z" with a NUL, in TR_SIGV4_DATE_LEN + 1 bytes. */
void tr__sigv4_date(int64_t ms, char *out);
/** "a;b;c" */
void tr__sigv4_put_names(tr_buf *out, const tr_header *headers, size_t count);

#endif
