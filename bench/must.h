/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_BENCH_MUST_H
#define TAILRACE_BENCH_MUST_H

/** must.h: what a benchmark cannot do without; else it says why and ends. */

#include <tailrace/base.h>

#include <stdio.h>
#include <stdlib.h>

static inline void must(int rc, const tr_error *err)
{
    if (!rc)
        return;
    (void)fprintf(stderr, "%s: %s\n", tr_strerror(rc), err->message);
    exit(1);
}

#endif
