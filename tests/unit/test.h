/* SPDX-License-Identifier: MIT */
/** What every unit test includes: cmocka with the headers it wants before it. */
#ifndef TAILRACE_TEST_H
#define TAILRACE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <tailrace/base.h>

/** A view equals a text; both are printed if not. */
static inline void assert_view(tr_view v, const char *text)
{
    char copy[4096];
    size_t n = v.len < sizeof copy - 1 ? v.len : sizeof copy - 1;
    if (n)
        memcpy(copy, v.ptr, n);
    copy[n] = 0;
    assert_string_equal(copy, text);
    assert_int_equal(v.len, strlen(text));
}

#endif
