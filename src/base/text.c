/* SPDX-License-Identifier: MIT */
#include <tailrace/base.h>

#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

size_t tr_view_find(tr_view v, tr_view needle, size_t from)
{
    if (from > v.len || needle.len > v.len - from)
        return SIZE_MAX;
    if (needle.len == 0)
        return from;
    const char *hit = memmem(v.ptr + from, v.len - from, needle.ptr, needle.len);
    return hit ? (size_t)(hit - v.ptr) : SIZE_MAX;
}

int tr_view_to_u64(tr_view v, uint64_t max, uint64_t *ret_number)
{
    if (v.len == 0)
        return TR_EPARSE;
    uint64_t number = 0;
    bool over = false;
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (c < '0' || c > '9')
            return TR_EPARSE;
        uint64_t digit = (uint64_t)(c - '0');
        if (over || number > (max - (digit < max ? digit : max)) / 10 || digit > max)
            over = true;
        else
            number = number * 10 + digit;
    }
    if (over)
        return TR_ELIMIT;
    *ret_number = number;
    return 0;
}

size_t tr_varint_put(void *at, uint64_t x)
{
    uint8_t *p = at;
    size_t n = 0;
    while (x >= 0x80) {
        p[n++] = (uint8_t)(x | 0x80);
        x >>= 7;
    }
    p[n++] = (uint8_t)x;
    return n;
}

size_t tr_varint_get(tr_view v, uint64_t *ret_number)
{
    uint64_t x = 0;
    for (size_t i = 0; i < v.len && i < TR_VARINT_MAX; i++) {
        uint8_t byte = (uint8_t)v.ptr[i];
        x |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *ret_number = x;
            return i + 1;
        }
    }
    return 0;
}

void tr_random_bytes(void *out, size_t len)
{
    char *at = out;
    while (len) {
        size_t ask = len < 256 ? len : 256; /* up to 256 bytes come whole, getrandom(2) */
        ssize_t got = getrandom(at, ask, 0);
        if (got > 0) {
            at += got;
            len -= (size_t)got;
        }
    }
}

void tr_uuid(char *out)
{
    uint8_t b[16];
    tr_random_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        out[at++] = hex[b[i] >> 4];
        out[at++] = hex[b[i] & 15];
    }
    out[at] = 0;
}

/* xoshiro256** 1.0 and splitmix64 for its seed (D. Blackman, S. Vigna) */
void tr_rng_seed(tr_rng *rng, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        rng->s[i] = z ^ (z >> 31);
    }
}

static uint64_t rotl(uint64_t x, unsigned k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t tr_rng_next(tr_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t tr_rng_below(tr_rng *rng, uint64_t bound)
{
    uint64_t reject = (0 - bound) % bound; /* values below it would make the low remainders likelier */
    uint64_t x;
    do
        x = tr_rng_next(rng);
    while (x < reject);
    return x % bound;
}

int64_t tr_backoff_ms(tr_rng *rng, unsigned attempt, int64_t base_ms, int64_t cap_ms)
{
    int64_t top = base_ms;
    for (unsigned i = 0; i < attempt && top < cap_ms; i++)
        top *= 2;
    if (top > cap_ms)
        top = cap_ms;
    return (int64_t)tr_rng_below(rng, (uint64_t)top + 1);
}

static const char base64_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void tr_base64_put(tr_buf *buf, tr_view bytes)
{
    if (bytes.len == 0)
        return;
    if (bytes.len > SIZE_MAX / 2 || tr_buf_reserve(buf, (bytes.len + 2) / 3 * 4)) {
        buf->status = buf->status ? buf->status : TR_ELIMIT;
        return;
    }
    char *o = buf->ptr + buf->len;
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    size_t i = 0;
    for (; i + 3 <= bytes.len; i += 3) {
        uint32_t x = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
        *o++ = base64_chars[x >> 18];
        *o++ = base64_chars[x >> 12 & 63];
        *o++ = base64_chars[x >> 6 & 63];
        *o++ = base64_chars[x & 63];
    }
    if (i < bytes.len) {
        bool two = i + 1 < bytes.len;
        uint32_t x = (uint32_t)p[i] << 16 | (two ? (uint32_t)p[i + 1] << 8 : 0);
        *o++ = base64_chars[x >> 18];
        *o++ = base64_chars[x >> 12 & 63];
        *o++ = two ? base64_chars[x >> 6 & 63] : '=';
        *o++ = '=';
    }
    buf->len = (size_t)(o - buf->ptr);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int tr_base64_decode(tr_view text, void *out, size_t *ret_len)
{
    uint8_t *o = out;
    if (text.len % 4)
        return TR_EPARSE;
    for (size_t i = 0; i < text.len; i += 4) {
        const char *c = text.ptr + i;
        bool last = i + 4 == text.len;
        int pad = last ? (c[3] == '=') + (c[3] == '=' && c[2] == '=') : 0;
        int v[4] = {base64_value(c[0]), base64_value(c[1]), pad >= 2 ? 0 : base64_value(c[2]),
                    pad >= 1 ? 0 : base64_value(c[3])};
        if (v[0] < 0 || v[1] < 0 || v[2] < 0 || v[3] < 0)
            return TR_EPARSE;
        uint32_t x = (uint32_t)v[0] << 18 | (uint32_t)v[1] << 12 | (uint32_t)v[2] << 6 | (uint32_t)v[3];
        if ((pad == 1 && (x & 0xff)) || (pad == 2 && (x & 0xffff)))
            return TR_EPARSE;
        *o++ = (uint8_t)(x >> 16);
        if (pad < 2)
            *o++ = (uint8_t)(x >> 8);
        if (pad < 1)
            *o++ = (uint8_t)x;
    }
    *ret_len = (size_t)(o - (uint8_t *)out);
    return 0;
}

void tr_hex_put(tr_buf *buf, tr_view bytes)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        char pair[2] = {hex[(uint8_t)bytes.ptr[i] >> 4], hex[(uint8_t)bytes.ptr[i] & 15]};
        tr_buf_put(buf, pair, 2);
    }
}

uint32_t tr_crc32(uint32_t crc, tr_view bytes)
{
    return libdeflate_crc32(crc, bytes.ptr, bytes.len);
}

/* Bytes of the character that begins at p, or 0 if none that is valid does. The lead byte tells how many
 * follow, and the range of the first of them (Unicode 15, table 3-7). */
static inline size_t character(const uint8_t *p, const uint8_t *end)
{
    uint8_t c = *p, low = 0x80, high = 0xbf;
    int follow;
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf) {
        follow = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        follow = 2;
        if (c == 0xe0)
            low = 0xa0;
        if (c == 0xed)
            high = 0x9f;
    } else if (c >= 0xf0 && c <= 0xf4) {
        follow = 3;
        if (c == 0xf0)
            low = 0x90;
        if (c == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (end - p <= follow || p[1] < low || p[1] > high)
        return 0;
    for (int i = 2; i <= follow; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return (size_t)follow + 1;
}

bool tr_utf8_valid(tr_view bytes)
{
    const uint8_t *p = (const uint8_t *)bytes.ptr, *end = bytes.len ? p + bytes.len : p;
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8 && (memcpy(&eight, p, 8), !(eight & UINT64_C(0x8080808080808080)))) {
            p += 8;
            continue;
        }
        size_t len = character(p, end);
        if (!len)
            return false;
        p += len;
    }
    return true;
}

tr_view tr_utf8_cut(tr_view text, size_t max)
{
    size_t n = max;
    if (text.len <= max)
        return text;
    while (n && max - n < 3 && ((uint8_t)text.ptr[n] & 0xc0) == 0x80)
        n--;
    /* what is no character has no place to be cut at */
    return tr_view_of(text.ptr, ((uint8_t)text.ptr[n] & 0xc0) == 0x80 ? max : n);
}

void tr_utf8_mend(char *bytes, size_t len)
{
    uint8_t *p = (uint8_t *)bytes, *end = len ? p + len : p;
    if (tr_utf8_valid(tr_view_of(bytes, len)))
        return;
    while (p < end) {
        size_t n = character(p, end);
        if (!n)
            *p = '?';
        p += n ? n : 1;
    }
}

void tr_percent_put(tr_buf *buf, tr_view bytes, bool keep_slash)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.ptr[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '.' || c == '_' || c == '~' || (c == '/' && keep_slash);
        if (plain) {
            tr_buf_putc(buf, c);
        } else {
            char escape[3] = {'%', hex[(uint8_t)c >> 4], hex[(uint8_t)c & 15]};
            tr_buf_put(buf, escape, 3);
        }
    }
}
