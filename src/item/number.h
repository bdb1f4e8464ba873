/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_ITEM_NUMBER_H
#define TAILRACE_ITEM_NUMBER_H

/** Numbers taken apart into decimal digits, between their text and packed forms. */

#include <tailrace/item.h>

#define TR__EXPONENT_MIN (-130) /* of the first digit: 1E-130 */
#define TR__EXPONENT_MAX 125    /* 9.99…E+125 */

/** ±0.d0 d1 d2… × 10^point; no leading and no trailing zeros among the digits. Zero has no digits. */
typedef struct tr__decimal {
    bool negative;
    unsigned count; /* of digits */
    int point;
    uint8_t digits[TR_NUMBER_DIGITS_MAX + 2]; /* each 0 to 9; two more than fit, to see that they do not */
} tr__decimal;

void tr__decimal_unpack(tr_view packed, tr__decimal *ret_decimal);
/** Checks precision and range, then packs. */
int tr__decimal_pack(const tr__decimal *decimal, uint8_t *out, size_t *ret_len,
                     tr_number_problem *ret_problem);
/** Plain decimal, whatever the magnitude. Room for TR_NUMBER_TEXT_MAX. */
size_t tr__decimal_format(const tr__decimal *decimal, char *out);
/** As JavaScript prints a number: plain decimal from 1e-6 up to 1e21, an exponent outside. */
size_t tr__decimal_format_js(const tr__decimal *decimal, char *out);

#endif
