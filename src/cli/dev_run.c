/* SPDX-License-Identifier: MIT */
/* What follows streams in `tailrace dev`: mappings to functions, pipes to buses. A thread and a client each.
 */
#include "cli/dev.h"
#include "cli/follow.h"

#include <tailrace/failure.h>
#include <tailrace/mapping.h>
#include <tailrace/pipe.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define PATH_SIZE   4096
#define AGAIN_MS    1000 /* after a stream failed: until it is opened again */
#define STEP_MS     50
#define FILTERS_MAX TR_MAPPING_FILTERS_MAX

struct tr_dev_runner {
    tr_dev_runner *next;
    const tr_dev_place *place;
    const tr_project_mapping *mapping; /* one of the two */
    const tr_project_pipe *pipe;
    const char *name;
    tr_project_text *filters;
    pthread_t thread;
    bool started;
    atomic_bool stop;
    pthread_mutex_t lock; /* of what the other threads reach: */
    tr_handler *handler;
    tr_mapping *running;
    tr_pipe *piping;
    /* of the thread */
    tr_client *client, *bus_client;
    tr_stream *stream;
    tr_pattern *patterns[FILTERS_MAX];
    size_t pattern_count;
};

/* -------------------------------------------------------------------------------------------- functions */

static void say_line(void *ctx, tr_view line)
{
    tr_dev_say(ctx, line);
}

/* The function's code in terms of a handler; false: it is none (file:, stdout:). */
static bool handler_options(const tr_dev_place *place, const tr_project_function *f, tr_handler_options *o)
{
    static const struct {
        const char *prefix;
        size_t skip;
        tr_handler_kind kind;
    } kinds[] = {{"handler:", 8, TR_HANDLER_LAMBDA},
                 {"exec:", 5, TR_HANDLER_EXEC},
                 {"exec-each:", 10, TR_HANDLER_EXEC_EACH},
                 {"http://", 0, TR_HANDLER_URL},
                 {"https://", 0, TR_HANDLER_URL}};
    for (size_t i = 0; i < TR_COUNT(kinds); i++) {
        if (strncmp(f->target, kinds[i].prefix, strlen(kinds[i].prefix)) != 0)
            continue;
        *o = (tr_handler_options){.kind = kinds[i].kind,
                                  .target = f->target + kinds[i].skip,
                                  .name = f->name,
                                  .directory = f->directory,
                                  .environment = f->variables,
                                  .environment_count = f->variable_count,
                                  .endpoint = place->endpoint,
                                  .region = place->project->region,
                                  .concurrency = f->concurrency,
                                  .timeout_ms = f->timeout_ms,
                                  .on_log = say_line,
                                  .log_ctx = (void *)(uintptr_t)f->name,
                                  .logger = tr_dev_logger(f->name)};
        return true;
    }
    return false;
}

static int new_handler(const tr_dev_place *place, const tr_project_function *f, tr_handler **ret_handler,
                       tr_error *err)
{
    tr_handler_options o;
    if (!f || !handler_options(place, f, &o))
        return tr_fail(err, TR_EINVAL, "function %s cannot be run on a table's changes: it is %s",
                       f ? f->name : "?", f ? f->target : "not there");
    return tr_handler_new(&o, ret_handler, err);
}

/* ------------------------------------------------------------------------------------------------- parts */

static int new_client(const tr_dev_runner *r, tr_client **ret, tr_error *err)
{
    return tr_cli_server_client(r->place->server, r->place->project->region, tr_dev_logger(r->name), ret,
                                err);
}

static int compile_filters(tr_dev_runner *r, tr_error *err)
{
    tr_pattern_options options = {.dialect = TR_PATTERN_LAMBDA, .max_length = TR_PATTERN_FILTER_LENGTH_MAX};
    for (tr_project_text *f = r->filters; f; f = f->next) {
        if (r->pattern_count == FILTERS_MAX)
            return tr_fail(err, TR_EINVAL, "%s: at most %d filters", r->name, FILTERS_MAX);
        int e = tr_pattern_compile(tr_view_str(f->text), &options, &r->patterns[r->pattern_count], err);
        if (e)
            return e;
        r->pattern_count++;
    }
    return 0;
}

/* A function of the project, by its name, as lambda:NAME or by its ARN; or what tr_failure_sink_open knows.
 */
static int open_failures(tr_dev_runner *r, const char *to, tr_failure_sink **ret, tr_error *err)
{
    const tr_project_function *f = tr_project_function_of(r->place->project, to);
    tr_failure_place place;
    tr_handler_options code;
    if (!f && tr_failure_parse(to, &place, err) == 0 && place.kind == TR_FAILURE_LAMBDA)
        for (f = r->place->project->functions; f && !tr_view_is(place.name, f->name);)
            f = f->next;
    bool is_code = f && handler_options(r->place, f, &code);
    const tr_failure_options o = {.destination = f ? f->target : to,
                                  .check = true,
                                  .client = r->client,
                                  .region = r->place->project->region,
                                  .handler = is_code ? &code : NULL,
                                  .logger = tr_dev_logger(r->name)};
    tr_error why;
    int e = tr_failure_sink_open(&o, ret, &why);
    return e ? tr_fail(err, e, "%s: %s%s", r->name, why.message,
                       e == TR_EINVAL && !f ? "; or the name of a function of the project" : "")
             : 0;
}

static int set_start(const tr_dev_runner *r, const char *table, const char *from, tr_stream_options *o,
                     tr_error *err)
{
    char path[PATH_SIZE];
    o->table = table;
    /* what was written while nothing ran here is not to be missed */
    int e = tr_cli_parse_from(from ? from : "trim-horizon", &o->start, err);
    if (e || !r->place->state)
        return e;
    int n = snprintf(path, sizeof path, "%s/%s.json", r->place->state, r->name);
    if (n < 0 || (size_t)n >= sizeof path)
        return tr_fail(err, TR_EINVAL, "the path of %s's position is too long", r->name);
    return tr_stream_store_file(path, &o->store, err);
}

static int open_stream(tr_dev_runner *r, tr_stream_options *o, tr_error *err)
{
    int e = tr_stream_new(r->client, o, &r->stream, err);
    if (e)
        tr_stream_store_free(o->store);
    return e;
}

static int open_mapping(tr_dev_runner *r, tr_error *err)
{
    const tr_project_mapping *m = r->mapping;
    tr_stream_options stream = {0};
    tr_mapping_options o = {.name = m->name,
                            .batch_size = (size_t)m->batch_size,
                            .window_ms = m->window_ms,
                            .parallelism = (unsigned)m->parallelism,
                            .limit_retries = m->retries >= 0,
                            .retries = m->retries >= 0 ? (uint64_t)m->retries : 0,
                            .record_age_ms = m->record_age_ms,
                            .bisect = m->bisect,
                            .filters = (const tr_pattern *const *)r->patterns,
                            .filter_count = r->pattern_count,
                            .logger = tr_dev_logger(r->name)};
    int e = m->on_failure ? open_failures(r, m->on_failure, &o.on_failure, err) : 0;
    if (!e && (e = tr_mapping_new(&o, &stream, &r->running, err)))
        tr_failure_sink_free(o.on_failure);
    if (!e)
        e = set_start(r, m->table, m->from, &stream, err);
    return e ? e : open_stream(r, &stream, err);
}

static int open_pipe(tr_dev_runner *r, tr_error *err)
{
    const tr_project_pipe *p = r->pipe;
    tr_stream_options stream = {0};
    tr_pipe_options o = {.name = p->name,
                         .bus = p->bus,
                         .source = p->source,
                         .detail_type = p->detail_type,
                         .batch_size = (size_t)p->batch_size,
                         .window_ms = p->window_ms,
                         .logger = tr_dev_logger(r->name)};
    stream.patterns = (const tr_pattern *const *)r->patterns;
    stream.pattern_count = r->pattern_count;
    int e = new_client(r, &r->bus_client, err);
    if (!e && p->on_failure)
        e = open_failures(r, p->on_failure, &o.on_failure, err);
    if (!e && (e = tr_pipe_new(r->bus_client, &o, &stream, &r->piping, err)))
        tr_failure_sink_free(o.on_failure);
    if (!e)
        e = set_start(r, p->table, p->from, &stream, err);
    return e ? e : open_stream(r, &stream, err);
}

/* ------------------------------------------------------------------------------------------------ thread */

static void close_stream(tr_dev_runner *r)
{
    (void)pthread_mutex_lock(&r->lock);
    tr_mapping *mapping = r->running;
    tr_pipe *pipe = r->piping;
    r->running = NULL;
    r->piping = NULL;
    (void)pthread_mutex_unlock(&r->lock);
    tr_pipe_free(pipe);
    tr_stream_free(r->stream);
    tr_mapping_free(mapping);
    tr_client_free(r->bus_client);
    r->stream = NULL;
    r->bus_client = NULL;
}

static int open_all(tr_dev_runner *r, tr_error *err)
{
    (void)pthread_mutex_lock(&r->lock);
    int e = r->mapping ? open_mapping(r, err) : open_pipe(r, err);
    (void)pthread_mutex_unlock(&r->lock);
    return e;
}

static void rest(tr_dev_runner *r)
{
    for (int64_t until = tr_clock_mono_ms() + AGAIN_MS; !atomic_load(&r->stop) && tr_clock_mono_ms() < until;)
        (void)nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
}

static void *run(void *arg)
{
    tr_dev_runner *r = arg;
    tr_error err = {0};
    while (!atomic_load(&r->stop)) {
        int e = r->stream ? 0 : open_all(r, &err);
        if (!e && !atomic_load(&r->stop))
            e = r->mapping ? tr_mapping_run(r->running, r->stream, r->handler, false, &err)
                           : tr_pipe_run(r->piping, r->stream, false, &err);
        close_stream(r);
        if (atomic_load(&r->stop))
            break;
        if (e)
            tr_dev_sayf(r->name, "error: %s; trying again", err.message);
        rest(r);
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ public */

static void free_runner(tr_dev_runner *r)
{
    close_stream(r);
    tr_handler_free(r->handler);
    tr_client_free(r->client);
    for (size_t i = 0; i < r->pattern_count; i++)
        tr_pattern_free(r->patterns[i]);
    (void)pthread_mutex_destroy(&r->lock);
    tr_free(r);
}

static int start_one(tr_dev_runner **list, const tr_dev_place *place, const tr_project_mapping *mapping,
                     const tr_project_pipe *pipe, tr_error *err)
{
    tr_dev_runner *r = tr_calloc(1, sizeof *r);
    if (!r)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    (void)pthread_mutex_init(&r->lock, NULL);
    r->next = *list;
    *list = r;
    r->place = place;
    r->mapping = mapping;
    r->pipe = pipe;
    r->name = mapping ? mapping->name : pipe->name;
    r->filters = mapping ? mapping->filters : pipe->filters;
    int e = compile_filters(r, err);
    if (!e)
        e = new_client(r, &r->client, err);
    if (!e && mapping)
        e = new_handler(place, tr_project_function_of(place->project, mapping->function), &r->handler, err);
    if (!e)
        e = open_all(r, err); /* here, so that what is wrong is told at the start */
    if (!e && pthread_create(&r->thread, NULL, run, r))
        e = tr_fail(err, TR_EIO, "cannot start a thread");
    r->started = !e;
    return e;
}

/* Each function's code must be there, and load. */
static int check_functions(const tr_dev_place *place, tr_error *err)
{
    int e = 0;
    for (const tr_project_function *f = place->project->functions; !e && f; f = f->next) {
        tr_handler_options o;
        tr_handler *handler = NULL;
        tr_error found = {0};
        if (!handler_options(place, f, &o))
            continue;
        e = tr_handler_new(&o, &handler, &found);
        if (!e)
            e = tr_handler_check(handler, &found);
        tr_handler_free(handler);
        if (e)
            (void)tr_fail(err, e, "function %s: %s", f->name, found.message);
    }
    return e;
}

int tr_dev_runners_start(const tr_dev_place *place, tr_dev_runner **ret_runners, tr_error *err)
{
    tr_dev_runner *list = NULL;
    int e = check_functions(place, err);
    for (const tr_project_mapping *m = place->project->mappings; !e && m; m = m->next)
        e = start_one(&list, place, m, NULL, err);
    for (const tr_project_pipe *p = place->project->pipes; !e && p; p = p->next)
        e = start_one(&list, place, NULL, p, err);
    if (e) {
        tr_dev_runners_stop(list);
        tr_dev_runners_free(list);
        return e;
    }
    *ret_runners = list;
    return 0;
}

void tr_dev_runners_stop(tr_dev_runner *r)
{
    for (; r; r = r->next) {
        atomic_store(&r->stop, true);
        (void)pthread_mutex_lock(&r->lock);
        if (r->running)
            tr_mapping_stop(r->running);
        if (r->piping)
            tr_pipe_stop(r->piping);
        (void)pthread_mutex_unlock(&r->lock);
    }
}

void tr_dev_runners_free(tr_dev_runner *list)
{
    for (tr_dev_runner *r; (r = list) != NULL;) {
        list = r->next;
        if (r->started)
            (void)pthread_join(r->thread, NULL);
        free_runner(r);
    }
}

void tr_dev_runners_restart(tr_dev_runner *r, const char *function)
{
    for (; r; r = r->next)
        if (r->mapping && strcmp(r->mapping->function, function) == 0)
            tr_handler_restart(r->handler);
}
