/* SPDX-License-Identifier: MIT */
#include "provider.h"

#define RENEW_AHEAD_MS (5 * 60 * 1000)
#define STILL_GOOD_MS  10000 /* what ends sooner is not used any more */
#define RETRY_AFTER_MS 30000
#define SURELY_NEW_MS  1000 /* credentials younger than this are not thrown away for new ones */

int tr__provider_init(tr__provider *provider, tr__loop *loop, tr__source *source, tr_logger logger,
                      tr_error *err)
{
    memset(provider, 0, sizeof *provider);
    provider->loop = loop;
    provider->source = *source;
    provider->logger = logger;
    if (!source->is_static && source->kind != TR__SOURCE_INSTANCE)
        return 0;
    int code = tr__source_fetch(&provider->source, &provider->current, err);
    if (code && source->kind == TR__SOURCE_INSTANCE)
        code = tr_fail(err, TR_EAUTH,
                       "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, "
                       "or run `aws "
                       "configure`; and this machine is no instance with a role");
    provider->has_current = code == 0;
    provider->renewed_ms = tr_clock_mono_ms();
    if (code)
        tr__source_done(&provider->source);
    return code;
}

void tr__provider_done(tr__provider *provider)
{
    tr__credentials_done(&provider->current);
    tr__credentials_done(&provider->fetched);
    tr__source_done(&provider->source);
}

/* On a thread of the pool. */
static void fetch(uv_work_t *work)
{
    tr__provider *provider = work->data;
    memset(&provider->fetch_err, 0, sizeof provider->fetch_err);
    provider->fetch_code = tr__source_fetch(&provider->source, &provider->fetched, &provider->fetch_err);
}

static void wake_waiters(tr__provider *provider, int code, const tr_error *err)
{
    tr__provider_waiter *waiter = provider->first;
    provider->first = provider->last = NULL;
    while (waiter) {
        tr__provider_waiter *next = waiter->next; /* fn may free it */
        waiter->fn(waiter->ctx, code, code ? err : NULL);
        waiter = next;
    }
}

static void on_fetched(uv_work_t *work, int status)
{
    tr__provider *provider = work->data;
    int64_t now = tr_clock_mono_ms();
    int code = status ? TR_ECANCELED : provider->fetch_code;
    provider->fetching = false;
    if (code == 0) {
        tr__credentials_done(&provider->current);
        provider->current = provider->fetched;
        provider->fetched = (tr__credentials){0};
        provider->has_current = true;
        provider->renewed_ms = now;
        provider->not_before_ms = 0;
    } else {
        provider->not_before_ms = now + RETRY_AFTER_MS;
        if (provider->has_current && !provider->stopped)
            tr_log(&provider->logger, TR_LOG_WARN, "cannot renew the credentials: %s",
                   provider->fetch_err.message);
    }
    wake_waiters(provider, code, &provider->fetch_err);
}

static int begin_fetch(tr__provider *provider)
{
    if (provider->fetching)
        return 0;
    provider->work.data = provider;
    if (uv_queue_work(tr__loop_uv(provider->loop), &provider->work, fetch, on_fetched))
        return TR_ENOMEM;
    provider->fetching = true;
    return 0;
}

static void fail_soon(void *ctx)
{
    tr__provider *provider = ctx;
    provider->failing = false;
    if (!provider->fetching)
        wake_waiters(provider, TR_ENOMEM, &provider->fetch_err);
}

const tr__credentials *tr__provider_get(tr__provider *provider, tr__provider_waiter *waiter,
                                        tr__provider_fn *fn, void *ctx)
{
    if (provider->has_current) {
        int64_t left =
            provider->current.expires_ms ? provider->current.expires_ms - tr_clock_wall_ms() : INT64_MAX;
        int64_t now = tr_clock_mono_ms();
        bool fresh = now - provider->renewed_ms < SURELY_NEW_MS; /* if these are old, the clock is wrong */
        if (left < RENEW_AHEAD_MS && !fresh && now >= provider->not_before_ms)
            (void)begin_fetch(provider);
        if (left > STILL_GOOD_MS || fresh)
            return &provider->current;
    }
    *waiter = (tr__provider_waiter){.fn = fn, .ctx = ctx};
    if (provider->last)
        provider->last->next = waiter;
    else
        provider->first = waiter;
    provider->last = waiter;
    if (begin_fetch(provider)) {
        (void)tr_fail(&provider->fetch_err, TR_ENOMEM, "out of memory");
        if (!provider->failing)
            tr__loop_post_task(provider->loop, &provider->fail_task, fail_soon, provider);
        provider->failing = true;
    }
    return NULL;
}

bool tr__provider_expire(tr__provider *provider)
{
    if (provider->source.is_static)
        return false;
    if (provider->has_current && tr_clock_mono_ms() - provider->renewed_ms < SURELY_NEW_MS)
        return provider->fetching;
    provider->has_current = false;
    return true;
}

void tr__provider_stop(tr__provider *provider)
{
    tr_error err;
    provider->stopped = true;
    atomic_store(&provider->source.abort, true);
    (void)tr_fail(&err, TR_ECANCELED, "the client was closed");
    wake_waiters(provider, TR_ECANCELED, &err);
}
