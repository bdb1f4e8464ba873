/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_BASE_JSON_SCAN_H
#define TAILRACE_BASE_JSON_SCAN_H

/**
 * What the JSON reader and writer share with the item room, whose parsing is the hottest path of all: the
 * reader's states, and finding the end of a string many bytes at a time.
 */

#include <tailrace/json.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/** tr_json_reader.state: what may come next. */
enum {
    TR__JSON_EXPECT_VALUE,       /* the document's value, or the one after a key or a comma */
    TR__JSON_EXPECT_FIRST_KEY,   /* after { : a key or } */
    TR__JSON_EXPECT_FIRST_VALUE, /* after [ : a value or ] */
    TR__JSON_EXPECT_COMMA,       /* after a value inside a container: , or its end */
    TR__JSON_EXPECT_END,         /* after the document's value */
    TR__JSON_FAILED
};

/* A bit is set at the top of each of the eight bytes that is ", \ or a control character, and of wider ones
 * if asked. A byte behind the first such one may be marked without being one; nobody looks there. */
static inline uint64_t tr__json_marks8(uint64_t x, bool stop_at_wide)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
    uint64_t quote = x ^ (ones * '"'), slash = x ^ (ones * '\\');
    uint64_t hits = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((x - ones * 0x20) & ~x);
    return (hits | (stop_at_wide ? x : 0)) & high;
}

static inline bool tr__json_is_special(uint8_t c, bool stop_at_wide)
{
    return c == '"' || c == '\\' || c < 0x20 || (stop_at_wide && c >= 0x80);
}

/** The first ", \ or control character (with stop_at_wide: or byte outside ASCII) in p..end; `end` without
 * one. */
static inline const char *tr__json_scan(const char *p, const char *end, bool stop_at_wide)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20),
                  control = _mm_set1_epi8(0x1f);
    for (; end - p >= 16; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* as signed bytes, those outside ASCII are less than a space too */
        __m128i low = stop_at_wide ? _mm_cmplt_epi8(x, space) : _mm_cmpeq_epi8(_mm_min_epu8(x, control), x);
        __m128i hits = _mm_or_si128(low, _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash)));
        int mask = _mm_movemask_epi8(hits);
        if (mask)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; end - p >= 8; p += 8) {
        uint64_t eight;
        memcpy(&eight, p, 8);
        uint64_t marks = tr__json_marks8(eight, stop_at_wide);
        if (marks)
            return p + __builtin_ctzll(marks) / 8;
    }
#endif
    while (p < end && !tr__json_is_special((uint8_t)*p, stop_at_wide))
        p++;
    return p;
}

/** Behind the number that starts at p, or NULL if none of JSON's grammar does. */
const char *tr__json_scan_number(const char *p, const char *end);
/**
 * Decodes the escapes of a string's inside into out (room for to - from bytes, which is always enough). NULL,
 * or what is wrong: static text.
 */
const char *tr__json_unescape(const char *from, const char *to, char *out, size_t *ret_len);
/** Writes a letter (at most 4 bytes), returns the place behind it. */
char *tr__utf8_put(char *at, uint32_t letter);

/* Two blocks, from the start and from the end, which may overlap: so that no loop is needed for a length
 * between. */
static inline void tr__copy_ends(char *to, const char *from, size_t n, size_t block)
{
    char head[16], tail[16];
    memcpy(head, from, block);
    memcpy(tail, from + n - block, block);
    memcpy(to, head, block);
    memcpy(to + n - block, tail, block);
}

/** Copies n bytes, without a call where they are few. */
static inline void tr__copy(char *to, const char *from, size_t n)
{
    if (TR_UNLIKELY(n > 32)) {
        memcpy(to, from, n);
    } else if (n >= 16) {
        tr__copy_ends(to, from, n, 16);
    } else if (n >= 8) {
        tr__copy_ends(to, from, n, 8);
    } else if (n >= 4) {
        tr__copy_ends(to, from, n, 4);
    } else if (n > 0) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

static inline bool tr__json_copy16(char *to, const char *from)
{
#ifdef __SSE2__
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)from);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i hits = _mm_or_si128(
        low, _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')), _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'))));
    _mm_storeu_si128((__m128i *)(void *)to, x);
    return _mm_movemask_epi8(hits) == 0;
#else
    uint64_t x, y;
    memcpy(&x, from, 8);
    memcpy(&y, from + 8, 8);
    memcpy(to, &x, 8);
    memcpy(to + 8, &y, 8);
    return (tr__json_marks8(x, false) | tr__json_marks8(y, false)) == 0;
#endif
}

/** Copies n bytes; true if none of them needs an escape (else what was written is of no use). */
static inline bool tr__json_copy_clean(char *to, const char *from, size_t n)
{
    if (n >= 16) {
        size_t i = 0;
        for (; i + 16 <= n; i += 16)
            if (!tr__json_copy16(to + i, from + i))
                return false;
        return tr__json_copy16(to + n - 16, from + n - 16);
    }
    tr__copy(to, from, n);
    uint64_t x = 0, y = 0;
    if (n >= 8) {
        memcpy(&x, from, 8);
        memcpy(&y, from + n - 8, 8);
    } else if (n >= 4) {
        uint32_t head, tail;
        memcpy(&head, from, 4);
        memcpy(&tail, from + n - 4, 4);
        x = y = (uint64_t)head << 32 | tail;
    } else {
        bool special = n > 0 && (tr__json_is_special((uint8_t)from[0], false) ||
                                 tr__json_is_special((uint8_t)from[n / 2], false) ||
                                 tr__json_is_special((uint8_t)from[n - 1], false));
        return !special;
    }
    return (tr__json_marks8(x, false) | tr__json_marks8(y, false)) == 0;
}

/** A string with its quotes and escapes, without a comma before it. */
void tr__json_put_string(tr_buf *out, tr_view text);

#endif
