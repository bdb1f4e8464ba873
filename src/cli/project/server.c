/* SPDX-License-Identifier: MIT */
#include "cli/project/server.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* ---------------------------------------------------------------------------------------------- archives */

#define PATH_SIZE 4096

/* The absolute path of a file that need not be there, in a directory that must. */
static int absolute(const tr_project *p, const tr_project_archive *a, const char *path, char *out,
                    tr_error *err)
{
    char directory[PATH_SIZE], whole[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    (void)snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    const char *real = realpath(slash == path ? "/" : directory, whole);
    int n = real ? snprintf(out, PATH_SIZE, "%s/%s", real, name) : 0;
    if (!real || !name[0])
        return tr_fail(err, name[0] ? TR_ENOTFOUND : TR_EINVAL, "%s: archive %s: there is no directory %s",
                       p->path, a->name, directory);
    return n > 0 && n < PATH_SIZE ? 0
                                  : tr_fail(err, TR_EINVAL, "the path of archive %s is too long", a->name);
}

static int link_one(tr_project *p, const tr_project_archive *a, const char *data_dir, tr_error *err)
{
    char to[PATH_SIZE], from[PATH_SIZE], old[PATH_SIZE];
    const char *path = tr_project_beside(p, a->path);
    int e = path ? absolute(p, a, path, to, err) : tr_fail(err, TR_ENOMEM, "out of memory");
    int n = snprintf(from, sizeof from, "%s/archive/%s.sqlite", data_dir, a->name);
    if (e || n < 0 || (size_t)n >= sizeof from)
        return e ? e : tr_fail(err, TR_EINVAL, "the path of archive %s is too long", a->name);
    ssize_t len = readlink(from, old, sizeof old - 1);
    if (len >= 0 && (old[len] = 0, strcmp(old, to) == 0))
        return 0;
    if (len < 0 && errno != ENOENT)
        return tr_fail(err, TR_EEXIST,
                       "%s: archive %s lies in %s already: move it to %s, or leave the path out", p->path,
                       a->name, from, a->path);
    if ((len >= 0 && unlink(from)) || symlink(to, from))
        return tr_fail(err, TR_EIO, "%s: %s", from, strerror(errno));
    return 0;
}

int tr_project_link_archives(tr_project *p, const char *data_dir, tr_error *err)
{
    char directory[PATH_SIZE];
    int n = snprintf(directory, sizeof directory, "%s/archive", data_dir ? data_dir : "");
    int e =
        n > 0 && (size_t)n < sizeof directory ? 0 : tr_fail(err, TR_EINVAL, "the data's path is too long");
    for (const tr_project_archive *a = p->archives; !e && a; a = a->next) {
        if (!a->path || (!data_dir && a->path_found))
            continue;
        if (!data_dir)
            return tr_fail(err, TR_EINVAL, "%s: archive %s has a path, which does not go with data in memory",
                           p->path, a->name);
        if ((mkdir(data_dir, 0700) && errno != EEXIST) || (mkdir(directory, 0700) && errno != EEXIST))
            return tr_fail(err, TR_EIO, "cannot make the directory %s: %s", directory, strerror(errno));
        e = link_one(p, a, data_dir, err);
    }
    return e;
}
