/* SPDX-License-Identifier: MIT */
#include "sigv4.h"
#include "hex.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <time.h>

#define CANONICAL_LIMIT ((size_t)1 << 20)

int tr_sigv4_new(tr_sigv4 **ret_signer)
{
    tr_sigv4 *signer = tr_calloc(1, sizeof *signer);
    if (!signer)
        return TR_ENOMEM;
    tr_buf_init(&signer->canonical, CANONICAL_LIMIT);
    tr_buf_init(&signer->names, CANONICAL_LIMIT);
    tr_buf_init(&signer->scratch, CANONICAL_LIMIT);
    signer->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    signer->ctx = EVP_MD_CTX_new();
    if (!signer->sha256 || !signer->ctx || EVP_DigestInit_ex2(signer->ctx, signer->sha256, NULL) != 1) {
        tr_sigv4_free(signer);
        return TR_ENOMEM;
    }
    *ret_signer = signer;
    return 0;
}

void tr_sigv4_free(tr_sigv4 *signer)
{
    if (!signer)
        return;
    EVP_MD_CTX_free(signer->ctx);
    EVP_MD_free(signer->sha256);
    tr_buf_done(&signer->canonical);
    tr_buf_done(&signer->names);
    tr_buf_done(&signer->scratch);
    OPENSSL_cleanse(signer->keys, sizeof signer->keys);
    tr_free(signer);
}

/* ------------------------------------------------------------------------------------------------- hashing
 */

/* Hashes one or two pieces. The context keeps its algorithm, so that beginning again costs next to nothing.
 */
static int hash(tr_sigv4 *signer, tr_view a, tr_view b, uint8_t *out)
{
    bool ok = EVP_DigestInit_ex2(signer->ctx, NULL, NULL) == 1 &&
              EVP_DigestUpdate(signer->ctx, a.ptr, a.len) == 1 &&
              (b.len == 0 || EVP_DigestUpdate(signer->ctx, b.ptr, b.len) == 1) &&
              EVP_DigestFinal_ex(signer->ctx, out, NULL) == 1;
    return ok ? 0 : TR_ENOMEM;
}

/* HMAC (RFC 2104) by hand: OpenSSL 3's takes longer to set up than to compute. */
static int hmac(tr_sigv4 *signer, tr_view key, tr_view text, uint8_t *out)
{
    enum { BLOCK = 64 };
    uint8_t pad[BLOCK] = {0}, inner[TR__SHA256];
    int code = 0;
    if (key.len > BLOCK)
        code = hash(signer, key, TR_VIEW(""), pad);
    else
        memcpy(pad, key.ptr, key.len);
    for (size_t i = 0; i < BLOCK; i++)
        pad[i] ^= 0x36;
    if (code == 0)
        code = hash(signer, tr_view_of(pad, BLOCK), text, inner);
    for (size_t i = 0; i < BLOCK; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    if (code == 0)
        code = hash(signer, tr_view_of(pad, BLOCK), tr_view_of(inner, sizeof inner), out);
    return code;
}

static void to_hex(const uint8_t *bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < TR__SHA256; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * TR__SHA256] = 0;
}

static int derive(tr_sigv4 *signer, const tr__sigv4_scope *scope, uint8_t *key)
{
    tr_buf *first = &signer->scratch;
    tr_buf_reset(first);
    tr_buf_put_str(first, "AWS4");
    tr_buf_put_view(first, scope->secret);
    int code = tr_buf_status(first);
    tr_view steps[] = {scope->date, scope->region, scope->service, TR_VIEW("aws4_request")};
    for (size_t i = 0; i < TR_COUNT(steps) && code == 0; i++) {
        uint8_t made[TR__SHA256];
        code = hmac(signer, i ? tr_view_of(key, TR__SHA256) : tr_buf_view(first), steps[i], made);
        memcpy(key, made, sizeof made);
    }
    OPENSSL_cleanse(first->ptr, first->len);
    return code;
}

/* The derived key, from the few that are kept, or made and kept in place of the one unused for longest. */
static int signing_key(tr_sigv4 *signer, const tr__sigv4_scope *scope, uint8_t *ret_key)
{
    char id[TR__SIGV4_ID_MAX];
    size_t len = 0;
    tr_view parts[] = {scope->secret, scope->date, scope->region, scope->service};
    for (size_t i = 0; i < TR_COUNT(parts); i++) {
        if (parts[i].len > 255 || len + parts[i].len + 1 > sizeof id)
            return derive(signer, scope, ret_key); /* of no usual size: not kept */
        id[len++] = (char)parts[i].len;
        memcpy(id + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    tr__derived_key *oldest = signer->keys;
    signer->uses++;
    for (size_t i = 0; i < TR__SIGV4_KEYS; i++) {
        tr__derived_key *key = &signer->keys[i];
        if (key->used && key->id_len == len && memcmp(key->id, id, len) == 0) {
            key->used = signer->uses;
            memcpy(ret_key, key->key, TR__SHA256);
            return 0;
        }
        if (key->used < oldest->used)
            oldest = key;
    }
    int code = derive(signer, scope, ret_key);
    if (code)
        return code;
    memcpy(oldest->key, ret_key, TR__SHA256);
    memcpy(oldest->id, id, len);
    oldest->id_len = len;
    oldest->used = signer->uses;
    return 0;
}

/* ------------------------------------------------------------------------------------------ canonical form
 */

/* Removes "." and ".." and empty segments, then encodes what is already encoded once more. */
static void put_path(tr_buf *out, tr_view path)
{
    if (path.len <= 1) {
        tr_buf_putc(out, '/');
        return;
    }
    size_t begin = out->len;
    for (size_t at = 0; at < path.len && tr_buf_status(out) == 0;) {
        size_t end = at;
        while (end < path.len && path.ptr[end] != '/')
            end++;
        tr_view segment = tr_view_of(path.ptr + at, end - at);
        if (tr_view_is(segment, "..")) {
            while (out->len > begin && out->ptr[--out->len] != '/') {
            }
        } else if (segment.len && !tr_view_is(segment, ".")) {
            tr_buf_putc(out, '/');
            tr_percent_put(out, segment, false);
        }
        at = end + 1;
    }
    bool ends_in_slash = path.ptr[path.len - 1] == '/';
    if (ends_in_slash || out->len == begin)
        tr_buf_putc(out, '/');
}

struct parameter {
    size_t key, key_len, value_len; /* in signer->names, the value behind the key */
};

/* Decodes and encodes again, so that only one way of writing a text remains. */
static void put_reencoded(tr_buf *out, tr_view text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%' && text.len - i >= 3 && tr__hex_digit(text.ptr[i + 1]) >= 0 &&
            tr__hex_digit(text.ptr[i + 2]) >= 0) {
            c = (char)(tr__hex_digit(text.ptr[i + 1]) << 4 | tr__hex_digit(text.ptr[i + 2]));
            i += 2;
        }
        tr_percent_put(out, tr_view_of(&c, 1), false);
    }
}

static int compare_parameters(const void *a, const void *b, void *bytes)
{
    const struct parameter *x = a, *y = b;
    const char *base = bytes;
    int c = tr_view_cmp(tr_view_of(base + x->key, x->key_len), tr_view_of(base + y->key, y->key_len));
    if (c)
        return c;
    return tr_view_cmp(tr_view_of(base + x->key + x->key_len, x->value_len),
                       tr_view_of(base + y->key + y->key_len, y->value_len));
}

static int put_query(tr_sigv4 *signer, tr_view query, const char *without)
{
    struct parameter list[TR_SIGV4_QUERY_MAX];
    size_t count = 0;
    tr_buf *bytes = &signer->scratch, *out = &signer->canonical;
    tr_buf_reset(bytes);
    for (size_t at = 0; at < query.len;) {
        size_t end = at, equals = SIZE_MAX;
        for (; end < query.len && query.ptr[end] != '&'; end++)
            if (query.ptr[end] == '=' && equals == SIZE_MAX)
                equals = end;
        size_t key_end = equals == SIZE_MAX ? end : equals;
        tr_view key = tr_view_of(query.ptr + at, key_end - at);
        if (end > at && !(without && tr_view_is(key, without))) {
            if (count == TR_SIGV4_QUERY_MAX)
                return TR_ELIMIT;
            struct parameter *p = &list[count++];
            p->key = bytes->len;
            put_reencoded(bytes, key);
            p->key_len = bytes->len - p->key;
            if (equals != SIZE_MAX)
                put_reencoded(bytes, tr_view_of(query.ptr + equals + 1, end - equals - 1));
            p->value_len = bytes->len - p->key - p->key_len;
        }
        at = end + 1;
    }
    if (tr_buf_status(bytes))
        return tr_buf_status(bytes);
    if (count > 1)
        qsort_r(list, count, sizeof *list, compare_parameters, bytes->ptr);
    for (size_t i = 0; i < count; i++) {
        const char *key = bytes->ptr + list[i].key;
        if (i)
            tr_buf_putc(out, '&');
        tr_buf_put(out, key, list[i].key_len);
        tr_buf_putc(out, '=');
        tr_buf_put(out, key + list[i].key_len, list[i].value_len);
    }
    return 0;
}

/* Without white space around it, and with single spaces within. */
static void put_value(tr_buf *out, tr_view value)
{
    bool space = false;
    size_t begin = out->len;
    if (!memchr(value.len ? value.ptr : "", ' ', value.len) &&
        !memchr(value.len ? value.ptr : "", '\t', value.len)) {
        tr_buf_put_view(out, value);
        return;
    }
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == ' ' || c == '\t') {
            space = true;
            continue;
        }
        if (space && out->len > begin)
            tr_buf_putc(out, ' ');
        space = false;
        tr_buf_putc(out, c);
    }
}

void tr__sigv4_put_names(tr_buf *out, const tr_header *headers, size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (i && tr_view_eq(headers[i].name, headers[i - 1].name))
            continue;
        if (any)
            tr_buf_putc(out, ';');
        any = true;
        tr_buf_put_view(out, headers[i].name);
    }
}

static void put_headers(tr_buf *out, const tr_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i && tr_view_eq(headers[i].name, headers[i - 1].name)) {
            out->len--; /* the line feed: values of one name are joined */
            tr_buf_putc(out, ',');
        } else {
            tr_buf_put_view(out, headers[i].name);
            tr_buf_putc(out, ':');
        }
        put_value(out, headers[i].value);
        tr_buf_putc(out, '\n');
    }
    tr_buf_putc(out, '\n');
    tr__sigv4_put_names(out, headers, count);
}

static int put_canonical(tr_sigv4 *signer, const tr_sigv4_request *request, const tr_header *headers,
                         size_t count, const char *without)
{
    static const char empty_hash[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    tr_buf *out = &signer->canonical;
    tr_buf_reset(out);
    tr_buf_put_view(out, request->method);
    tr_buf_putc(out, '\n');
    put_path(out, request->path);
    tr_buf_putc(out, '\n');
    int code = request->query.len ? put_query(signer, request->query, without) : 0;
    if (code)
        return code;
    tr_buf_putc(out, '\n');
    put_headers(out, headers, count);
    tr_buf_putc(out, '\n');
    if (request->body.len == 0) {
        tr_buf_put(out, empty_hash, sizeof empty_hash - 1);
    } else {
        uint8_t digest[TR__SHA256];
        char hex[2 * TR__SHA256 + 1];
        code = hash(signer, request->body, TR_VIEW(""), digest);
        if (code)
            return code;
        to_hex(digest, hex);
        tr_buf_put(out, hex, sizeof hex - 1);
    }
    return tr_buf_status(out);
}

int tr__sigv4_signature(tr_sigv4 *signer, const tr__sigv4_scope *scope, const tr_sigv4_request *request,
                        const tr_header *signed_headers, size_t count, const char *without, char *ret_hex)
{
    uint8_t digest[TR__SHA256], key[TR__SHA256];
    char hex[2 * TR__SHA256 + 1];
    int code = put_canonical(signer, request, signed_headers, count, without);
    if (code == 0)
        code = hash(signer, tr_buf_view(&signer->canonical), TR_VIEW(""), digest);
    if (code == 0)
        code = signing_key(signer, scope, key);
    if (code)
        return code;
    to_hex(digest, hex);
    tr_buf *text = &signer->scratch;
    tr_buf_reset(text);
    tr_buf_put_str(text, "AWS4-HMAC-SHA256\n");
    tr_buf_put_view(text, scope->timestamp);
    tr_buf_putc(text, '\n');
    tr_view parts[] = {scope->date, scope->region, scope->service};
    for (size_t i = 0; i < TR_COUNT(parts); i++) {
        tr_buf_put_view(text, parts[i]);
        tr_buf_putc(text, '/');
    }
    tr_buf_put_str(text, "aws4_request\n");
    tr_buf_put(text, hex, sizeof hex - 1);
    code = tr_buf_status(text);
    if (code == 0)
        code = hmac(signer, tr_view_of(key, sizeof key), tr_buf_view(text), digest);
    OPENSSL_cleanse(key, sizeof key);
    if (code == 0)
        to_hex(digest, ret_hex);
    return code;
}

/* ------------------------------------------------------------------------------------------------- signing
 */

void tr__sigv4_date(int64_t now_ms, char *out)
{
    char text[TR_TIME_TEXT_MAX]; /* 2026-01-31T23:59:59Z */
    tr_time_format(now_ms, false, text);
    size_t at = 0;
    for (const char *c = text; *c && at < TR_SIGV4_DATE_LEN; c++)
        if (*c != '-' && *c != ':')
            out[at++] = *c;
    out[at] = 0;
}

/* By insertion: they are few, and mostly in order. Equal names stay in theirs. */
static void sort_headers(tr_header *headers, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        tr_header moving = headers[i];
        size_t at = i;
        for (; at > 0 && tr_view_cmp(headers[at - 1].name, moving.name) > 0; at--)
            headers[at] = headers[at - 1];
        headers[at] = moving;
    }
}

/* Lower-case copies of the names, in signer->names, which has room for them. */
static void lower_names(tr_sigv4 *signer, tr_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *copy = signer->names.ptr + signer->names.len;
        for (size_t k = 0; k < headers[i].name.len; k++) {
            char c = headers[i].name.ptr[k];
            copy[k] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
        headers[i].name.ptr = copy;
        signer->names.len += headers[i].name.len;
    }
}

int tr_sigv4_sign(tr_sigv4 *signer, const tr_sigv4_credentials *credentials, tr_view region, tr_view service,
                  int64_t now_ms, const tr_sigv4_request *request, char *date, tr_buf *authorization)
{
    tr_header headers[TR_SIGV4_HEADERS_MAX];
    size_t count = request->header_count, bytes = 64;
    if (count + 2 > TR_SIGV4_HEADERS_MAX)
        return TR_ELIMIT;
    char timestamp[TR_SIGV4_DATE_LEN + 1], signature[2 * TR__SHA256 + 1];
    tr__sigv4_date(now_ms, timestamp);
    if (count)
        memcpy(headers, request->headers, count * sizeof *headers);
    headers[count++] = (tr_header){TR_VIEW("x-amz-date"), tr_view_of(timestamp, TR_SIGV4_DATE_LEN)};
    if (credentials->session_token.len)
        headers[count++] = (tr_header){TR_VIEW("x-amz-security-token"), credentials->session_token};
    for (size_t i = 0; i < count; i++)
        bytes += headers[i].name.len;
    tr_buf_reset(&signer->names);
    int code = tr_buf_reserve(&signer->names, bytes);
    if (code)
        return code;
    lower_names(signer, headers, count);
    sort_headers(headers, count);
    tr__sigv4_scope scope = {.secret = credentials->secret_access_key,
                             .timestamp = tr_view_of(timestamp, TR_SIGV4_DATE_LEN),
                             .date = tr_view_of(timestamp, 8),
                             .region = region,
                             .service = service};
    code = tr__sigv4_signature(signer, &scope, request, headers, count, NULL, signature);
    if (code)
        return code;
    tr_buf_put_str(authorization, "AWS4-HMAC-SHA256 Credential=");
    tr_view parts[] = {credentials->access_key_id, scope.date, region, service};
    for (size_t i = 0; i < TR_COUNT(parts); i++) {
        tr_buf_put_view(authorization, parts[i]);
        tr_buf_putc(authorization, '/');
    }
    tr_buf_put_str(authorization, "aws4_request, SignedHeaders=");
    tr__sigv4_put_names(authorization, headers, count);
    tr_buf_put_str(authorization, ", Signature=");
    tr_buf_put(authorization, signature, sizeof signature - 1);
    if (tr_buf_status(authorization))
        return tr_buf_status(authorization);
    memcpy(date, timestamp, sizeof timestamp);
    return 0;
}
