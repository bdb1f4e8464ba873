/* SPDX-License-Identifier: MIT */
#ifndef TR_PATTERN_SCAN_H
#define TR_PATTERN_SCAN_H

/**
 * Getting over JSON quickly. What is passed over is not checked, only delimited: strings end at a quote
 * without a backslash, containers where their brackets outside of strings balance. No function reads at or
 * behind `end`; NULL means that the text ends too early or is plainly not JSON.
 */

#include "base/json_scan.h"

#if defined(__SSE2__) && !defined(TR_PATTERN_PORTABLE)
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
    while ((p = tr__json_scan(p, end, false)) < end) {
        if (TR_LIKELY(*p == '"'))
            return p;
        if (*p != '\\' || end - p < 2)
            return NULL;
        *escaped = true;
        p += 2;
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

#endif
