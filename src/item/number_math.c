/* SPDX-License-Identifier: MIT */
#include "number.h"

#include <stdio.h>
#include <stdlib.h>

/* Fixed point wide enough for every number and for the carry of a sum: one decimal digit per byte, least
 * significant first. The smallest digit that can be there is the 38th of 1E-130. */
#define LOWEST_DIGIT (TR__EXPONENT_MIN - (TR_NUMBER_DIGITS_MAX - 1))
#define WIDTH        (TR__EXPONENT_MAX + 1 - LOWEST_DIGIT + 1)

typedef struct fixed {
    int low, high; /* exponents of the lowest and highest digit that may differ from 0 */
    int8_t digit[WIDTH];
} fixed;

/* Adds sign * d, without carrying. */
static void accumulate(fixed *f, const tr__decimal *d, int8_t sign)
{
    for (unsigned i = 0; i < d->count; i++) {
        int8_t *at = &f->digit[d->point - 1 - (int)i - LOWEST_DIGIT];
        *at = (int8_t)(*at + sign * (int8_t)d->digits[i]);
    }
}

/* Brings each digit into 0 to 9; the rest, 0 or -1 of the place above the highest, tells the sign. */
static int carry(fixed *f)
{
    int rest = 0;
    for (int e = f->low; e <= f->high; e++) {
        int8_t *at = &f->digit[e - LOWEST_DIGIT];
        int x = *at + rest;
        rest = x < 0 ? -1 : x > 9 ? 1 : 0;
        *at = (int8_t)(x - rest * 10);
    }
    return rest;
}

static int lower(int a, int b)
{
    return a < b ? a : b;
}

static int higher(int a, int b)
{
    return a > b ? a : b;
}

/* The digits from the first to the last that is not 0. One more than fits tells that they do not fit. */
static void to_decimal(const fixed *f, tr__decimal *ret_decimal)
{
    tr__decimal *d = ret_decimal;
    int low = f->low, high = f->high;
    while (high >= low && f->digit[high - LOWEST_DIGIT] == 0)
        high--;
    while (low <= high && f->digit[low - LOWEST_DIGIT] == 0)
        low++;
    d->count = 0;
    d->point = high + 1;
    for (int e = high; e >= low && d->count < sizeof d->digits; e--)
        d->digits[d->count++] = (uint8_t)f->digit[e - LOWEST_DIGIT];
    if (d->count == 0)
        d->negative = false;
}

int tr_number_add(tr_view a, tr_view b, bool subtract, uint8_t *out, size_t *ret_len,
                  tr_number_problem *ret_problem)
{
    tr__decimal x, y, sum;
    tr__decimal_unpack(a, &x);
    tr__decimal_unpack(b, &y);
    if (x.count == 0 || y.count == 0) {
        sum = x.count ? x : y;
        if (x.count == 0 && y.count > 0)
            sum.negative = y.negative != subtract;
        return tr__decimal_pack(&sum, out, ret_len, ret_problem);
    }
    bool y_negative = y.negative != subtract;
    fixed f;
    f.low = lower(x.point - (int)x.count, y.point - (int)y.count);
    f.high = higher(x.point, y.point); /* a place above the first digits, for the carry */
    memset(&f.digit[f.low - LOWEST_DIGIT], 0, (size_t)(f.high - f.low + 1));
    accumulate(&f, &x, 1);
    accumulate(&f, &y, x.negative == y_negative ? 1 : -1);
    sum.negative = x.negative;
    if (carry(&f) < 0) { /* y was larger: negate */
        for (int e = f.low; e <= f.high; e++)
            f.digit[e - LOWEST_DIGIT] = (int8_t)-f.digit[e - LOWEST_DIGIT];
        f.digit[f.high - LOWEST_DIGIT] = (int8_t)(f.digit[f.high - LOWEST_DIGIT] + 10);
        (void)carry(&f);
        sum.negative = !x.negative;
    }
    to_decimal(&f, &sum);
    return tr__decimal_pack(&sum, out, ret_len, ret_problem);
}

int tr_number_to_i64(tr_view packed, int64_t *ret_number)
{
    tr__decimal d;
    tr__decimal_unpack(packed, &d);
    if (d.count == 0) {
        *ret_number = 0;
        return 0;
    }
    if (d.point < (int)d.count || d.point > 19)
        return TR_ELIMIT;
    uint64_t x = 0;
    for (int i = 0; i < d.point; i++) /* 19 digits fit */
        x = x * 10 + ((unsigned)i < d.count ? d.digits[i] : 0);
    if (x > (uint64_t)INT64_MAX + d.negative)
        return TR_ELIMIT;
    *ret_number = d.negative ? (int64_t)(0 - x) : (int64_t)x;
    return 0;
}

size_t tr_number_from_i64(int64_t number, uint8_t *out)
{
    tr__decimal d = {.negative = number < 0};
    uint64_t x = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    uint8_t reversed[20];
    unsigned n = 0;
    for (; x > 0; x /= 10)
        reversed[n++] = (uint8_t)(x % 10);
    d.point = (int)n;
    for (unsigned i = n; i > 0; i--)
        d.digits[d.count++] = reversed[i - 1];
    while (d.count > 0 && d.digits[d.count - 1] == 0)
        d.count--;
    size_t len = 0;
    (void)tr__decimal_pack(&d, out, &len, NULL); /* an int64 is always within range */
    return len;
}

/* Both operands are exact doubles, so one rounding remains: the right one. */
static bool small_double(const tr__decimal *d, double *ret_number)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int exponent = d->point - (int)d->count;
    if (d->count > 15 || exponent < -22 || exponent > 22)
        return false;
    int64_t x = 0;
    for (unsigned i = 0; i < d->count; i++)
        x = x * 10 + d->digits[i];
    double y = exponent < 0 ? (double)x / powers[-exponent] : (double)x * powers[exponent];
    *ret_number = d->negative ? -y : y;
    return true;
}

double tr_number_to_double(tr_view packed)
{
    tr__decimal d;
    double number;
    tr__decimal_unpack(packed, &d);
    if (small_double(&d, &number))
        return number;
    /* digits and an exponent, no point: strtod would expect the locale's */
    char text[TR_NUMBER_DIGITS_MAX + 16];
    char *o = text;
    if (d.negative)
        *o++ = '-';
    for (unsigned i = 0; i < d.count; i++)
        *o++ = (char)('0' + d.digits[i]);
    (void)snprintf(o, 15, "e%d", d.point - (int)d.count);
    return strtod(text, NULL);
}
