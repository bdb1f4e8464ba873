/* SPDX-License-Identifier: MIT */
#include "number.h"
#include "packed.h"

/* First byte of the packed form. */
enum { NEGATIVE = 1, ZERO = 2, POSITIVE = 3 };

#define EXPONENT_BIAS 65 /* 1E-130 is 01 × 100^-65 */

static int problem(tr_number_problem *ret_problem, tr_number_problem what)
{
    if (ret_problem)
        *ret_problem = what;
    return what == TR_NUMBER_OK ? 0 : what == TR_NUMBER_MALFORMED ? TR_EPARSE : TR_ELIMIT;
}

void tr__decimal_unpack(tr_view packed, tr__decimal *ret_decimal)
{
    tr__decimal *d = ret_decimal;
    d->count = 0;
    d->point = 0;
    d->negative = packed.ptr[0] == NEGATIVE;
    if (packed.ptr[0] == ZERO)
        return;
    uint8_t flip = d->negative ? 0xff : 0;
    const uint8_t *p = (const uint8_t *)packed.ptr, *end = p + packed.len - 1;
    int exponent = 2 * ((p[1] ^ flip) - EXPONENT_BIAS);
    for (p += 2; p < end && d->count + 2 <= sizeof d->digits; p++) {
        unsigned pair = (unsigned)(*p ^ flip) - 1;
        if (d->count > 0 || pair >= 10)
            d->digits[d->count++] = (uint8_t)(pair / 10);
        if (d->count > 0)
            d->digits[d->count++] = (uint8_t)(pair % 10);
        else
            d->digits[d->count++] = (uint8_t)pair;
    }
    /* an exponent of 100 counts from the first pair's second digit */
    d->point = exponent + 1 + ((((const uint8_t *)packed.ptr)[2] ^ flip) - 1 >= 10);
    while (d->count > 0 && d->digits[d->count - 1] == 0)
        d->count--;
}

int tr__decimal_pack(const tr__decimal *d, uint8_t *out, size_t *ret_len, tr_number_problem *ret_problem)
{
    if (d->count == 0) {
        out[0] = ZERO;
        *ret_len = 1;
        return problem(ret_problem, TR_NUMBER_OK);
    }
    if (d->count > TR_NUMBER_DIGITS_MAX)
        return problem(ret_problem, TR_NUMBER_PRECISION);
    int first = d->point - 1; /* exponent of the first digit */
    if (first > TR__EXPONENT_MAX)
        return problem(ret_problem, TR_NUMBER_OVERFLOW);
    if (first < TR__EXPONENT_MIN)
        return problem(ret_problem, TR_NUMBER_UNDERFLOW);
    uint8_t flip = d->negative ? 0xff : 0;
    unsigned biased = (unsigned)(first + 2 * EXPONENT_BIAS);
    size_t n = 0, i = 0;
    out[n++] = d->negative ? NEGATIVE : POSITIVE;
    out[n++] = (uint8_t)(biased / 2) ^ flip;
    if (biased % 2 == 0)
        out[n++] = (uint8_t)(d->digits[i++] + 1) ^ flip;
    for (; i < d->count; i += 2) {
        unsigned low = i + 1 < d->count ? d->digits[i + 1] : 0;
        out[n++] = (uint8_t)(d->digits[i] * 10u + low + 1) ^ flip;
    }
    out[n++] = flip;
    *ret_len = n;
    return problem(ret_problem, TR_NUMBER_OK);
}

bool tr__number_check(tr_view packed)
{
    const uint8_t *p = (const uint8_t *)packed.ptr;
    if (packed.len == 1)
        return p[0] == ZERO;
    if (packed.len < 4 || packed.len > TR_NUMBER_PACKED_MAX || (p[0] != NEGATIVE && p[0] != POSITIVE))
        return false;
    uint8_t flip = p[0] == NEGATIVE ? 0xff : 0;
    size_t last = packed.len - 2;
    if ((p[1] ^ flip) > 127 || p[packed.len - 1] != flip)
        return false;
    for (size_t i = 2; i <= last; i++)
        if ((p[i] ^ flip) < 1 || (p[i] ^ flip) > 100)
            return false;
    unsigned head = (unsigned)(p[2] ^ flip) - 1, tail = (unsigned)(p[last] ^ flip) - 1;
    size_t digits = 2 * (last - 1) - (head < 10) - (tail % 10 == 0);
    return head > 0 && tail > 0 && digits <= TR_NUMBER_DIGITS_MAX;
}

/* ------------------------------------------------------------------------------------------------ text */

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits and at most one point. Where they end, or NULL if there is no digit. */
static const char *parse_digits(const char *p, const char *end, tr__decimal *d)
{
    bool seen = false, fraction = false;
    unsigned zeros = 0; /* zeros held back: they count only if another digit follows */
    long point = 0;
    for (; p < end; p++) {
        if (*p == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (!is_digit(*p))
            break;
        seen = true;
        if (*p == '0') {
            if (d->count > 0)
                zeros++;
            if (d->count > 0 ? !fraction : fraction)
                point += fraction ? -1 : 1;
            continue;
        }
        for (; zeros > 0 && d->count < sizeof d->digits; zeros--)
            d->digits[d->count++] = 0;
        zeros = 0;
        if (d->count < sizeof d->digits)
            d->digits[d->count++] = (uint8_t)(*p - '0');
        if (!fraction)
            point++;
    }
    d->point = point > 1000000 ? 1000000 : point < -1000000 ? -1000000 : (int)point;
    return seen ? p : NULL;
}

/* An exponent past 32 bits is no number for the service (Java's BigDecimal), however small the digits. */
static const char *parse_exponent(const char *p, const char *end, int *ret_exponent)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p >= end || !is_digit(*p))
        return NULL;
    int64_t exponent = 0;
    for (; p < end && is_digit(*p); p++) {
        exponent = exponent * 10 + (*p - '0');
        if (exponent > INT32_MAX)
            return NULL;
    }
    int limited =
        exponent > 100000000 ? 100000000 : (int)exponent; /* far out of range, and sums stay in an int */
    *ret_exponent = negative ? -limited : limited;
    return p;
}

int tr_number_parse(tr_view text, uint8_t *out, size_t *ret_len, tr_number_problem *ret_problem)
{
    if (text.len == 0)
        return problem(ret_problem, TR_NUMBER_MALFORMED);
    const char *p = text.ptr, *end = p + text.len;
    tr__decimal d = {.negative = *p == '-'};
    if (*p == '-' || *p == '+')
        p++;
    p = parse_digits(p, end, &d);
    int exponent = 0;
    if (p && p < end && (*p == 'e' || *p == 'E'))
        p = parse_exponent(p + 1, end, &exponent);
    if (p != end || !p)
        return problem(ret_problem, TR_NUMBER_MALFORMED);
    d.point += exponent;
    if (d.count == 0)
        d.negative = false;
    return tr__decimal_pack(&d, out, ret_len, ret_problem);
}

static char *put_digits(char *o, const uint8_t *digits, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        *o++ = (char)('0' + digits[i]);
    return o;
}

static char *put_zeros(char *o, int count)
{
    if (count > 0) {
        memset(o, '0', (size_t)count);
        o += count;
    }
    return o;
}

size_t tr__decimal_format(const tr__decimal *d, char *out)
{
    char *o = out;
    if (d->count == 0) {
        *o = '0';
        return 1;
    }
    if (d->negative)
        *o++ = '-';
    if (d->point <= 0) {
        *o++ = '0';
        *o++ = '.';
        o = put_zeros(o, -d->point);
        o = put_digits(o, d->digits, d->count);
    } else if ((unsigned)d->point >= d->count) {
        o = put_digits(o, d->digits, d->count);
        o = put_zeros(o, d->point - (int)d->count);
    } else {
        o = put_digits(o, d->digits, (unsigned)d->point);
        *o++ = '.';
        o = put_digits(o, d->digits + d->point, d->count - (unsigned)d->point);
    }
    return (size_t)(o - out);
}

/* Plain decimal while the point stands within `least` to 21, else with an exponent. */
static size_t format_within(const tr__decimal *d, int least, char *out)
{
    if (d->count == 0 || (d->point >= least && d->point <= 21))
        return tr__decimal_format(d, out);
    char *o = out;
    if (d->negative)
        *o++ = '-';
    o = put_digits(o, d->digits, 1);
    if (d->count > 1) {
        *o++ = '.';
        o = put_digits(o, d->digits + 1, d->count - 1);
    }
    int exponent = d->point - 1;
    *o++ = 'e';
    *o++ = exponent < 0 ? '-' : '+';
    unsigned e = (unsigned)(exponent < 0 ? -exponent : exponent);
    if (e >= 100)
        *o++ = (char)('0' + e / 100);
    if (e >= 10)
        *o++ = (char)('0' + e / 10 % 10);
    *o++ = (char)('0' + e % 10);
    return (size_t)(o - out);
}

/* Number::toString of ECMAScript. */
size_t tr__decimal_format_js(const tr__decimal *d, char *out)
{
    return format_within(d, -5, out);
}

size_t tr_number_format(tr_view packed, char *out)
{
    tr__decimal d;
    tr__decimal_unpack(packed, &d);
    return tr__decimal_format(&d, out);
}

size_t tr_number_format_plain(tr_view packed, char *out)
{
    tr__decimal d;
    tr__decimal_unpack(packed, &d);
    return format_within(&d, -6, out);
}

size_t tr_number_format_js(tr_view packed, char *out)
{
    tr__decimal d;
    tr__decimal_unpack(packed, &d);
    return tr__decimal_format_js(&d, out);
}

/* DynamoDB Local counts what it stores: a byte for each pair of digits as they stand in powers of 100, one
 * for the exponent, one for the sign of negative numbers; zero is one byte. */
size_t tr_number_size(tr_view packed)
{
    if (packed.len < 4)
        return 1;
    return packed.len - 2 + (packed.ptr[0] == NEGATIVE);
}
