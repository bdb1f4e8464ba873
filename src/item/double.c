/* SPDX-License-Identifier: MIT */
#include "number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DOUBLE_DIGITS 17 /* enough to tell any two doubles apart */

/* The nearest decimal of that many digits; whether it reads back as the same double. */
static bool try_digits(double number, int digits, tr__decimal *ret_decimal)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%.*e", digits - 1, number);
    tr__decimal *d = ret_decimal;
    d->count = 0;
    const char *p = text;
    for (; *p != 'e'; p++) /* the point may be any character of the locale */
        if (*p >= '0' && *p <= '9')
            d->digits[d->count++] = (uint8_t)(*p - '0');
    d->point = atoi(p + 1) + 1;
    while (d->count > 0 && d->digits[d->count - 1] == 0)
        d->count--;
    return strtod(text, NULL) == number;
}

size_t tr_double_format(double number, char *out)
{
    if (isnan(number)) {
        memcpy(out, "NaN", 3);
        return 3;
    }
    if (isinf(number)) {
        memcpy(out, "-Infinity", 9);
        if (number < 0)
            return 9;
        memcpy(out, "Infinity", 8);
        return 8;
    }
    tr__decimal d = {.negative = number < 0};
    number = fabs(number);
    if (number > 0) {
        /* any decimal of 15 digits survives the way through a normal double, so fewer need not be tried */
        int digits = number < 2.2250738585072014e-308 ? 1 : 15;
        while (!try_digits(number, digits, &d) && digits < DOUBLE_DIGITS)
            digits++;
    }
    return tr__decimal_format_js(&d, out);
}
