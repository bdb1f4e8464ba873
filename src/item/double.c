/* SPDX-License-Identifier: MIT */
#include "number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DOUBLE_DIGITS   17 /* enough to tell any two doubles apart */
#define SMALLEST_NORMAL 2.2250738585072014e-308
#define DOUBLE_TEXT_MAX (DOUBLE_DIGITS + 16)

static bool reads_back(const tr__decimal *d, double number)
{
    char text[DOUBLE_TEXT_MAX]; /* without a point, which would be the locale's */
    int len = 0;
    for (unsigned i = 0; i < d->count; i++)
        text[len++] = (char)('0' + d->digits[i]);
    (void)snprintf(text + len, sizeof text - (size_t)len, "e%d", d->point - (int)d->count);
    return strtod(text, NULL) == number;
}

/* The decimal of that many digits nearest to the number. */
static void nearest(double number, int digits, tr__decimal *d)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%.*e", digits - 1, number);
    d->count = 0;
    const char *p = text;
    for (; *p != 'e'; p++) /* the point may be any character of the locale */
        if (*p >= '0' && *p <= '9')
            d->digits[d->count++] = (uint8_t)(*p - '0');
    d->point = (int)strtol(p + 1, NULL, 10) + 1;
}

static void increment(tr__decimal *d)
{
    unsigned i = d->count;
    while (i > 0 && d->digits[i - 1] == 9)
        d->digits[--i] = 0;
    if (i > 0) {
        d->digits[i - 1]++;
        return;
    }
    d->digits[0] = 1; /* 99…9 became 100…0 */
    d->point++;
}

/*
 * A power of two is nearer to the double below than to the one above, so the nearest decimal may be too far
 * below where the next one above still reads back.
 */
static bool next_reads_back(double number, tr__decimal *d)
{
    int exponent;
    if (frexp(number, &exponent) != 0.5)
        return false;
    increment(d);
    return reads_back(d, number);
}

static void shortest(double number, tr__decimal *d)
{
    /* any decimal of 15 digits survives the way through a normal double, so fewer need not be tried */
    for (int digits = number < SMALLEST_NORMAL ? 1 : 15; digits <= DOUBLE_DIGITS; digits++) {
        nearest(number, digits, d);
        if (digits == DOUBLE_DIGITS || reads_back(d, number) || next_reads_back(number, d))
            break;
    }
    while (d->count > 0 && d->digits[d->count - 1] == 0)
        d->count--;
}

static void whole(uint64_t number, tr__decimal *d)
{
    uint8_t digits[20];
    unsigned n = 0;
    for (; number > 0; number /= 10)
        digits[n++] = (uint8_t)(number % 10);
    d->point = (int)n;
    for (d->count = 0; n > 0;)
        d->digits[d->count++] = digits[--n];
}

size_t tr_double_format(double number, char *out)
{
    if (isnan(number)) {
        memcpy(out, "NaN", 3);
        return 3;
    }
    if (isinf(number)) {
        size_t sign = number < 0;
        out[0] = '-';
        memcpy(out + sign, "Infinity", 8);
        return sign + 8;
    }
    tr__decimal d = {.negative = number < 0};
    double magnitude = fabs(number);
    if (magnitude < 1e15 && magnitude == floor(magnitude))
        whole((uint64_t)magnitude, &d);
    else
        shortest(magnitude, &d);
    return tr__decimal_format_js(&d, out);
}
