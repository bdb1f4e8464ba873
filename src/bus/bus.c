/* SPDX-License-Identifier: MIT */
#include "bus/bus_private.h"

#define ARENA_MAX ((size_t)64 * 1024 * 1024)
#define TEXT_MAX  ((size_t)8 * 1024 * 1024)

static int init(tr_bus *b, tr_error *err)
{
    const tr_bus_options *o = &b->options;
    uint64_t seed;
    tr_random_bytes(&seed, sizeof seed);
    tr_rng_seed(&b->rng, seed);
    tr_arena_init(&b->arena, ARENA_MAX);
    tr_buf_init(&b->text, TEXT_MAX);
    tr_buf_init(&b->key, TEXT_MAX);
    b->next_number = 1;
    b->region = tr_strdup(o->region ? o->region : "us-east-1");
    b->dir = tr_strdup(o->dir);
    if (!b->region || (o->dir && !b->dir) || tr_match_ctx_new(NULL, &b->match))
        return tr_fail(err, TR_ENOMEM, "out of memory");
    int e = tr__bus_send_open(b, err);
    if (e == 0)
        e = tr__res_load(b, err);
    if (e == 0)
        e = tr__queue_load(b, err);
    if (e == 0)
        e = tr__bus_deliver_load(b, err);
    return e;
}

/* The bus that is always there. */
static int make_default(tr_bus *b, tr_error *err)
{
    tr_buf doc;
    if (tr_bus_find(b, TR_RES_BUS, TR_VIEW("default")))
        return 0;
    tr_buf_init(&doc, 4096);
    tr_buf_printf(&doc, "{\"Name\":\"default\",\"Arn\":\"arn:aws:events:%s:%s:event-bus/default\"}",
                  b->region, TR_BUS_ACCOUNT);
    int e = tr_buf_status(&doc);
    e = e ? tr_fail(err, e, "%s", tr_strerror(e))
          : tr_bus_put(b, TR_RES_BUS, TR_VIEW("default"), tr_buf_view(&doc), err);
    tr_buf_done(&doc);
    return e;
}

int tr_bus_open(const tr_bus_options *options, tr_bus **ret_bus, tr_error *err)
{
    tr_bus *b = tr_calloc(1, sizeof *b);
    if (!b)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    (void)pthread_mutex_init(&b->lock, NULL);
    b->options = *options;
    b->engine = options->engine;
    b->kv = tr_engine_kv(options->engine);
    int e = init(b, err);
    if (e == 0)
        e = make_default(b, err);
    if (e) {
        tr_bus_close(b);
        return e;
    }
    *ret_bus = b;
    return 0;
}

int tr_bus_set_endpoint(tr_bus *b, const char *endpoint, tr_error *err)
{
    char *copy = tr_strdup(endpoint);
    if (!copy)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    tr_free(b->endpoint);
    b->endpoint = copy;
    return tr__bus_send_failures_open(b, err);
}

void tr_bus_close(tr_bus *b)
{
    if (!b)
        return;
    b->closing = true;
    tr__bus_send_close(b);
    tr__bus_deliver_done(b);
    tr__res_done(b);
    tr_match_ctx_free(b->match);
    tr_arena_done(&b->arena);
    tr_buf_done(&b->text);
    tr_buf_done(&b->key);
    (void)pthread_mutex_destroy(&b->lock);
    tr_free(b->region);
    tr_free(b->dir);
    tr_free(b->endpoint);
    tr_free(b);
}
