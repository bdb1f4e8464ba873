/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_FETCH_H
#define TAILRACE_CLIENT_FETCH_H

/**
 * One HTTP request that blocks: for finding credentials, which happens on a thread of libuv's pool, or once
 * while a client is made. Never on an I/O thread.
 */

#include <tailrace/base.h>

#include <stdatomic.h>

typedef struct tr__fetch {
    const char *method, *url;
    const tr_header *headers; /* at most 16 */
    size_t header_count;
    tr_view body;
    int64_t connect_timeout_ms, timeout_ms;
    bool direct;        /* never through a proxy */
    atomic_bool *abort; /* optional: ends it early when set (looked at once a second or oftener) */
} tr__fetch;

#define TR__FETCH_MAX (1024 * 1024) /* bytes of an answer */

/** Appends the body to ret_body (limit: its own). 0 with any status; TR_ECONNECT, TR_ETIMEOUT, TR_EIO,
 * TR_ECANCELED. */
int tr__fetch_run(const tr__fetch *fetch, int *ret_status, tr_buf *ret_body, tr_error *err);

#endif
