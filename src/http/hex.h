/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HTTP_HEX_H
#define TAILRACE_HTTP_HEX_H

/** The value of a hexadecimal digit of either case, or -1. */
static inline int tr__hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char low = (char)(c | 0x20);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

#endif
