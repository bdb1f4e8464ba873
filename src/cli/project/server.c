/* SPDX-License-Identifier: MIT */
#include "cli/project/server.h"

#include <stdio.h>

const char *tr_project_beside(tr_project *p, const char *path)
{
    if (path[0] == '/' || strcmp(p->directory, ".") == 0)
        return path;
    return tr_arena_printf(&p->arena, "%s/%s", p->directory, path);
}

static int set_functions(tr_project *p, tr_project_server *s, tr_server_options *o, tr_error *err)
{
    for (const tr_project_function *f = p->functions; f; f = f->next) {
        if (o->function_count == TR_PROJECT_FUNCTIONS_MAX)
            return tr_fail(err, TR_ELIMIT, "%s: at most %d functions", p->path, TR_PROJECT_FUNCTIONS_MAX);
        tr_server_function *to = &s->functions[o->function_count++];
        *to = (tr_server_function){.name = f->name,
                                   .target = f->target,
                                   .concurrency = f->concurrency,
                                   .timeout_ms = f->timeout_ms,
                                   .on_failure = f->on_failure,
                                   .environment = f->variables,
                                   .environment_count = f->variable_count,
                                   .directory = tr_project_beside(p, f->directory ? f->directory : ".")};
        if (!to->directory)
            return tr_fail(err, TR_ENOMEM, "out of memory");
    }
    o->functions = s->functions;
    return 0;
}

static size_t set_texts(const tr_project_text *from, const char **to)
{
    size_t n = 0;
    for (; from && n < TR_PROJECT_TEXTS_MAX; from = from->next)
        to[n++] = from->text;
    return n;
}

static void set_deliveries(const tr_project *p, tr_server_options *o)
{
    if (!o->bus_limit_retries && p->retries >= 0) {
        o->bus_limit_retries = true;
        o->bus_retries = (uint32_t)p->retries;
    }
    if (!o->bus_event_age_ms)
        o->bus_event_age_ms = p->event_age_ms;
    if (!o->bus_retry_base_ms) {
        o->bus_retry_base_ms = p->retry_delay_ms;
        o->bus_retry_cap_ms = p->retry_max_delay_ms;
        o->bus_retry_fixed = p->retry_delay_ms && !p->retry_max_delay_ms;
    }
}

int tr_project_serve(tr_project *p, tr_project_server *s, tr_server_options *o, tr_error *err)
{
    if (!o->listen_count) {
        o->listen_count = set_texts(p->listen, s->listen);
        o->listen = s->listen;
    }
    if (!o->cors_count) {
        o->cors_count = set_texts(p->cors, s->cors);
        o->cors = s->cors;
    }
    if (!o->region)
        o->region = p->region;
    if (!o->stream_shards)
        o->stream_shards = (unsigned)p->stream_shards;
    if (!o->shard_lifetime_ms)
        o->shard_lifetime_ms = p->shard_lifetime_ms;
    if (!o->iterator_lifetime_ms)
        o->iterator_lifetime_ms = p->iterator_lifetime_ms;
    if (!o->stream_retention_ms)
        o->stream_retention_ms = p->stream_retention_ms;
    if (!o->put_events_bytes)
        o->put_events_bytes = (size_t)p->put_events_bytes;
    set_deliveries(p, o);
    return o->function_count ? 0 : set_functions(p, s, o, err);
}
