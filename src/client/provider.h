/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_PROVIDER_H
#define TAILRACE_CLIENT_PROVIDER_H

/**
 * Keeps the credentials of one source, and renews them ahead of their end, on a thread of libuv's pool.
 *
 *        get                       expires within 5 minutes            fetch ends
 *   none -----> fetching, waiters  ------------------------> fetching  ----------> kept; waiters run
 *
 * All functions but init run on the loop's thread. While old credentials are still good they are used, also
 * when renewing fails; it is then tried again half a minute later.
 */

#include "credentials.h"
#include "http/loop.h"

typedef void tr__provider_fn(void *ctx, int code, const tr_error *err);

typedef struct tr__provider_waiter {
    struct tr__provider_waiter *next;
    tr__provider_fn *fn;
    void *ctx;
} tr__provider_waiter;

typedef struct tr__provider {
    tr__loop *loop;
    tr__source source;
    tr__credentials current, fetched;
    bool has_current, fetching, failing, stopped;
    tr__loop_task fail_task;
    int64_t not_before_ms; /* when renewing may be tried again, monotonic */
    int64_t renewed_ms;    /* when it last succeeded, monotonic */
    uv_work_t work;
    int fetch_code;
    tr_error fetch_err;
    tr__provider_waiter *first, *last;
    tr_logger logger;
} tr__provider;

/** Takes `source` over, also on failure. Static credentials are fetched here, and an instance is asked
 * whether it has any, within the time its service allows. Errors as of tr__source_fetch. */
int tr__provider_init(tr__provider *provider, tr__loop *loop, tr__source *source, tr_logger logger,
                      tr_error *err);
/** After the loop has stopped. */
void tr__provider_done(tr__provider *provider);
/** The credentials, if they are there; else NULL, and the waiter's fn is called later (code 0: ask again). */
const tr__credentials *tr__provider_get(tr__provider *provider, tr__provider_waiter *waiter,
                                        tr__provider_fn *fn, void *ctx);
/** The service says they are expired: whether there will be others. */
bool tr__provider_expire(tr__provider *provider);
/** Ends waiting with TR_ECANCELED. */
void tr__provider_stop(tr__provider *provider);

#endif
