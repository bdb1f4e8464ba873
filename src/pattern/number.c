/* SPDX-License-Identifier: MIT */
#include "value.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* digits × 10^exponent, the digits without zeros at either end */
struct decimal {
    char digits[18];
    unsigned count;     /* significant digits; more than 17 are not kept */
    uint64_t magnitude; /* of the first 17 */
    int exponent;
    bool negative;
};

#define EXPONENT_CAP 100000

static int read_exponent(const char *p, const char *end)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    int x = 0;
    for (; p < end; p++)
        x = x < EXPONENT_CAP ? x * 10 + (*p - '0') : x;
    return negative ? -x : x;
}

/* False if there are more significant digits than any double's shortest text has. */
static bool read_decimal(tr_view text, struct decimal *d)
{
    const char *p = text.ptr, *end = p + text.len;
    *d = (struct decimal){0};
    if (p < end && *p == '-') {
        d->negative = true;
        p++;
    }
    unsigned zeros = 0; /* that count once a digit follows */
    bool fraction = false;
    int exponent = 0;
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        exponent -= fraction;
        if (*p == '0') {
            zeros += d->count > 0;
            continue;
        }
        if (d->count + zeros >= 17)
            return false;
        for (; zeros; zeros--) {
            d->digits[d->count++] = '0';
            d->magnitude *= 10;
        }
        d->digits[d->count++] = *p;
        d->magnitude = d->magnitude * 10 + (uint64_t)(*p - '0');
    }
    d->exponent = exponent + (int)zeros + (p < end ? read_exponent(p + 1, end) : 0);
    return true;
}

/* The shortest digits, at least two, that read back as x, and their exponent: what the service's language
 * prints. */
static void shortest(double x, struct decimal *d)
{
    char text[40];
    for (int precision = 2; precision <= 17; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision - 1, x);
        /* the point may be another character in this locale: pick the digits */
        *d = (struct decimal){0};
        char *p = text;
        for (; *p && *p != 'e'; p++)
            if (*p >= '0' && *p <= '9')
                d->digits[d->count++] = *p;
        d->exponent = (*p ? atoi(p + 1) : 0) - (int)d->count + 1;
        char back[40];
        (void)snprintf(back, sizeof back, "%.*se%d", (int)d->count, d->digits, d->exponent);
        if (strtod(back, NULL) == x)
            break;
    }
    while (d->count > 1 && d->digits[d->count - 1] == '0') {
        d->count--;
        d->exponent++;
    }
}

static bool slow_double(const struct decimal *d, double *ret)
{
    char text[40];
    /* no point in the text, so that the locale does not matter */
    (void)snprintf(text, sizeof text, "%.*se%d", (int)d->count, d->digits, d->exponent);
    double x = strtod(text, NULL);
    if (!isfinite(x) || x == 0)
        return false;
    if (d->count > DBL_DIG || x < DBL_MIN) {
        struct decimal s;
        shortest(x, &s);
        if (s.count != d->count || s.exponent != d->exponent || memcmp(s.digits, d->digits, s.count) != 0)
            return false;
    }
    *ret = x;
    return true;
}

bool tr__number_key(tr_view text, uint64_t *ret_key)
{
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct decimal d;
    if (!read_decimal(text, &d))
        return false;
    double x = (double)d.magnitude;
    if (d.count == 0)
        x = 0;
    else if (d.count <= DBL_DIG && d.exponent >= 0 && d.exponent <= 22)
        x *= tens[d.exponent]; /* both exact, one rounding */
    else if (d.count <= DBL_DIG && d.exponent < 0 && d.exponent >= -22)
        x /= tens[-d.exponent];
    else if (!slow_double(&d, &x))
        return false;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    /* minus zero is zero; negative numbers sort backwards */
    *ret_key = d.negative && d.count ? ~(bits | UINT64_C(1) << 63) : bits | UINT64_C(1) << 63;
    return true;
}
