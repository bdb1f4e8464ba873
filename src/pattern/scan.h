/* SPDX-License-Identifier: MIT */
#ifndef TR_PATTERN_SCAN_H
#define TR_PATTERN_SCAN_H

/**
 * Getting over JSON quickly. What is passed over is not checked, only delimited: strings end at a quote
 * without a backslash, containers where their brackets outside of strings balance. No function reads at or
 * behind `end`; NULL means that the text ends too early or is plainly not JSON.
 */

#include <tailrace/base.h>

#if defined(__SSE2__) && !defined(TR_PATTERN_PORTABLE)
#include <emmintrin.h>
#define TR__SSE2 1
#endif

static inline const char *tr__scan_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/** p: behind the opening quote. The closing quote; *escaped becomes true if there was a backslash. */
static inline const char *tr__scan_string(const char *p, const char *end, bool *escaped)
{
#ifdef TR__SSE2
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    while (end - p >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned hits = (unsigned)_mm_movemask_epi8(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, slash)));
        if (hits == 0) {
            p += 16;
            continue;
        }
        p += __builtin_ctz(hits);
        if (*p == '"')
            return p;
        *escaped = true;
        if (end - p < 2)
            return NULL;
        p += 2;
    }
#endif
    while (p < end) {
        if (*p == '"')
            return p;
        if (*p == '\\') {
            *escaped = true;
            if (end - p < 2)
                return NULL;
            p++;
        }
        p++;
    }
    return NULL;
}

/** p: at the first character of true, false, null or a number. Behind its last one. */
static inline const char *tr__scan_word(const char *p, const char *end)
{
    while (p < end && *p != ',' && *p != '}' && *p != ']' && (uint8_t)*p > ' ')
        p++;
    return p;
}

/** p: at a { or [. Behind its counterpart. */
const char *tr__scan_container(const char *p, const char *end);

/** p: at the first character of a value. Behind its last one. */
static inline const char *tr__scan_value(const char *p, const char *end)
{
    if (p >= end)
        return NULL;
    if (*p == '"') {
        bool escaped = false;
        p = tr__scan_string(p + 1, end, &escaped);
        return p ? p + 1 : NULL;
    }
    if (*p == '{' || *p == '[')
        return tr__scan_container(p, end);
    const char *behind = tr__scan_word(p, end);
    return behind > p ? behind : NULL;
}

/** Decodes the escapes of from..to into out (room for to - from bytes). False if one is not valid. */
bool tr__scan_decode(const char *from, const char *to, char *out, size_t *ret_len);
/** Whether the text is a number of JSON. */
bool tr__scan_is_number(tr_view text);

#endif
