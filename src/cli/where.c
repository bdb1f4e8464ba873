/* SPDX-License-Identifier: MIT */
#include "cli/where.h"
#include "cli/project/server.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The opener of a directory locks it before it listens on the socket, and it may end between our finding that
 * out and our connecting to it: how long a second one tries to open or to connect. */
#define JOIN_PATIENCE_MS 30000 /* opening and closing sync: on a slow disk that takes its time */
#define JOIN_PAUSE_NS    20000000
/* Later the opener may be restarting: how long it has for that, before we open the directory in its place,
 * and how long that is tried. */
#define AWAY_RETURN_MS   5000
#define AWAY_PATIENCE_MS 15000
/* So long without a request that found nobody: the opener was there meanwhile, or there was nothing to ask.
 */
#define AWAY_APART_MS 5000

/* Where another process opened the directory. Should it end, we go on as the opener, at once while we begin:
 * requests go through the same socket, to ourselves. */
struct tr_cli_joined {
    pthread_mutex_t lock;
    tr_server_options options;
    tr_server *server;         /* once we are the opener */
    int64_t until_ms;          /* we begin until then */
    int64_t away_ms, asked_ms; /* since when nobody is there, and when that was last found out */
};

bool tr_cli_where_take(tr_cli_where *where, int option, tr_cli *cli)
{
    tr_error err;
    switch (option) {
    case TR_CLI_ENDPOINT:
        where->endpoint = cli->value;
        if (tr_client_check_endpoint(cli->value, &err))
            tr_cli_refuse(cli, err.message);
        return true;
    case TR_CLI_DATA:
        where->data = cli->value;
        if (!*cli->value)
            tr_cli_refuse(cli, "--data needs a directory's path");
        return true;
    case TR_CLI_REGION:
        where->region = cli->value;
        if (!tr_cli_region_valid(cli->value))
            tr_cli_refuse(cli, "--region takes a region's name, such as eu-west-1");
        return true;
    case TR_CLI_PROFILE:
        where->profile = cli->value;
        return true;
    default:
        return false;
    }
}

static bool in_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

/* What neither flags nor the environment say, tailrace.yaml or serverless.yml may. It is kept for the
 * process' life. */
static int fill(const tr_cli_where *where, tr_cli_where *ret, tr_error *err)
{
    static tr_project *project;
    static bool looked;
    *ret = *where;
    int e = looked ? 0 : tr_project_find(&project, err);
    if (e)
        return e;
    looked = true;
    if (!project)
        return 0;
    if (!ret->endpoint && !ret->data && !in_environment("AWS_ENDPOINT_URL") &&
        !in_environment("AWS_ENDPOINT_URL_DYNAMODB")) {
        ret->endpoint = project->endpoint;
        ret->data = project->data ? tr_project_beside(project, project->data) : NULL;
    }
    if (!ret->region && !in_environment("AWS_REGION") && !in_environment("AWS_DEFAULT_REGION"))
        ret->region = project->region;
    if (!ret->profile && !in_environment("AWS_PROFILE"))
        ret->profile = project->profile;
    return 0;
}

static int new_client(const tr_cli_where *where, const char *endpoint, tr_transport *transport,
                      tr_client **ret, tr_error *err)
{
    tr_client_options options = {.endpoint = endpoint,
                                 .transport = transport,
                                 .region = where->region,
                                 .profile = where->profile,
                                 .logger = tr_cli_logger()};
    return tr_client_new(&options, ret, err);
}

static int socket_endpoint(const char *dir, char *out, size_t size, tr_error *err)
{
    char here[2048] = "";
    if (dir[0] != '/' && !getcwd(here, sizeof here))
        return tr_fail(err, TR_EIO, "the current directory has no path");
    int n = snprintf(out, size, "unix:%s%s%s/tailrace.sock", here, here[0] ? "/" : "", dir);
    return n > 0 && (size_t)n < size ? 0 : tr_fail(err, TR_EINVAL, "the path of '%s' is too long", dir);
}

int tr_cli_server_client(tr_server *server, const char *region, tr_logger logger, tr_client **ret_client,
                         tr_error *err)
{
    tr_transport *transport;
    int e = tr_server_transport(server, &transport, err);
    if (e)
        return e;
    const tr_client_options o = {.transport = transport, .region = region, .logger = logger};
    e = tr_client_new(&o, ret_client, err);
    if (e)
        transport->free(transport);
    return e;
}

static int local_client(const tr_cli_where *where, tr_server *server, tr_client **ret, tr_error *err)
{
    tr_transport *transport;
    int e = tr_server_transport(server, &transport, err);
    if (e)
        return e;
    e = new_client(where, NULL, transport, ret, err);
    if (e)
        transport->free(transport);
    return e;
}

static bool is_there(const char *dir)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/FORMAT", dir);
    return n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
}

/* Whether to try again: also if somebody else was faster. */
static bool take_over(tr_cli_joined *j, bool begins)
{
    tr_error err;
    int e = tr_server_new(&j->options, &j->server, &err);
    if (!e && !begins)
        tr_cli_message(TR_LOG_INFO, "%s: who had it open is gone; this process has it open now",
                       j->options.data_dir);
    if (e && e != TR_EBUSY)
        tr_cli_message(TR_LOG_ERROR, "who had %s open is gone, and it cannot be opened: %s",
                       j->options.data_dir, err.message);
    return !e || e == TR_EBUSY;
}

/* On a client's I/O thread: true if it is to try again. */
static bool open_instead(void *ctx)
{
    tr_cli_joined *j = ctx;
    int64_t now = tr_clock_mono_ms();
    (void)pthread_mutex_lock(&j->lock);
    if (now - j->asked_ms > AWAY_APART_MS)
        j->away_ms = now;
    j->asked_ms = now;
    bool begins = now < j->until_ms;
    bool again = (begins || now - j->away_ms < AWAY_PATIENCE_MS) && !tr_cli_stopped();
    /* what was removed meanwhile is not made anew */
    if (again && !j->server && (begins || now - j->away_ms >= AWAY_RETURN_MS) &&
        is_there(j->options.data_dir))
        again = take_over(j, begins);
    (void)pthread_mutex_unlock(&j->lock);
    return again;
}

static int joined_client(const tr_cli_where *where, tr_cli_joined *joined, tr_client **ret, tr_error *err)
{
    char endpoint[4096];
    int e = socket_endpoint(where->data, endpoint, sizeof endpoint, err);
    if (e)
        return e;
    const tr_client_options options = {.endpoint = endpoint,
                                       .region = where->region,
                                       .profile = where->profile,
                                       .unreachable = open_instead,
                                       .unreachable_ctx = joined,
                                       .logger = tr_cli_logger()};
    return tr_client_new(&options, ret, err);
}

static void leave(tr_cli_joined *joined)
{
    if (!joined)
        return;
    tr_server_free(joined->server);
    (void)pthread_mutex_destroy(&joined->lock);
    tr_free(joined);
}

static int join(const tr_cli_where *where, const tr_server_options *options, tr_cli_place *ret, tr_error *err)
{
    tr_cli_joined *joined = tr_calloc(1, sizeof *joined);
    if (!joined)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    (void)pthread_mutex_init(&joined->lock, NULL);
    joined->options = *options;
    joined->until_ms = tr_clock_mono_ms() + JOIN_PATIENCE_MS;
    joined->away_ms = joined->asked_ms = INT64_MIN / 2;
    int e = joined_client(where, joined, &ret->client, err);
    if (e)
        leave(joined);
    else
        ret->joined = joined;
    return e;
}

/* Opens the directory, or finds another process' socket in it: then TR_EBUSY, and *ret_socket is true. */
static int open_or_find(const tr_server_options *options, tr_server **ret, bool *ret_socket, tr_error *err)
{
    char endpoint[4096];
    int e = socket_endpoint(options->data_dir, endpoint, sizeof endpoint, err);
    if (e)
        return e;
    const char *path = endpoint + strlen("unix:");
    int64_t give_up = tr_clock_mono_ms() + JOIN_PATIENCE_MS;
    while ((e = tr_server_new(options, ret, err)) == TR_EBUSY &&
           !(*ret_socket = access(path, R_OK | W_OK) == 0) && tr_clock_mono_ms() < give_up)
        (void)nanosleep(&(struct timespec){.tv_nsec = JOIN_PAUSE_NS}, NULL);
    if (e == TR_EBUSY && !*ret_socket)
        return tr_fail(err, e, "%s is in use by another process, which has no socket there (%s)",
                       options->data_dir, path);
    return e;
}

static int open_data(const tr_cli_where *where, tr_cli_place *ret, tr_error *err)
{
    tr_cli_place place = {0};
    bool has_socket = false;
    if (!where->makes && access(where->data, F_OK) != 0)
        return tr_fail(
            err, TR_ENOTFOUND,
            "there is no directory %s: 'tailrace serve' and 'dev' make it, and what creates tables",
            where->data);
    tr_server_options options = {
        .data_dir = where->data, .socket = true, .region = where->region, .logger = tr_cli_logger()};
    int e = open_or_find(&options, &place.server, &has_socket, err);
    if (e == TR_EBUSY && has_socket)
        e = join(where, &options, &place, err);
    else if (!e)
        e = local_client(where, place.server, &place.client, err);
    if (e)
        tr_server_free(place.server);
    else
        *ret = place;
    return e;
}

int tr_cli_connect(const tr_cli_where *given, tr_cli_place *ret_place, tr_error *err)
{
    tr_cli_where filled;
    const tr_cli_where *where = &filled;
    int e = fill(given, &filled, err);
    if (e)
        return e;
    if (where->data && where->endpoint)
        return tr_fail(err, TR_EINVAL, "give either --endpoint or --data, not both");
    if (where->data)
        return open_data(where, ret_place, err);
    tr_client *client;
    e = new_client(where, where->endpoint, NULL, &client, err);
    if (!e)
        *ret_place = (tr_cli_place){.client = client};
    else if (!where->endpoint && err && (e == TR_EAUTH || e == TR_EINVAL)) {
        tr_error found = *err;
        (void)tr_fail(err, e,
                      "no DynamoDB to talk to: give --endpoint URL for a server, --data DIR for the embedded "
                      "engine, or "
                      "set up AWS credentials and a region as for the AWS CLI (%.1500s)",
                      found.message);
    }
    return e;
}

int tr_cli_connect_aws(const tr_cli_where *where, tr_client **ret_client, tr_error *err)
{
    const tr_client_options options = {.endpoint = where->endpoint,
                                       .aws = true,
                                       .region = where->region,
                                       .profile = where->profile,
                                       .logger = tr_cli_logger()};
    return tr_client_new(&options, ret_client, err);
}

int tr_cli_another_client(const tr_cli_where *given, const tr_cli_place *place, tr_client **ret_client,
                          tr_error *err)
{
    tr_cli_where filled;
    const tr_cli_where *where = &filled;
    int e = fill(given, &filled, err);
    if (e)
        return e;
    if (place->server)
        return local_client(where, place->server, ret_client, err);
    if (where->data && place->joined)
        return joined_client(where, place->joined, ret_client, err);
    return new_client(where, where->endpoint, NULL, ret_client, err);
}

void tr_cli_disconnect(tr_cli_place *place)
{
    tr_client_free(place->client);
    leave(place->joined);
    tr_server_free(place->server);
    *place = (tr_cli_place){0};
}

/* -------------------------------------------------------------------------------------------- signals */

static atomic_bool stopped;
static pthread_mutex_t stop_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*stop_fn)(void *);
static void *stop_ctx;

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
}

static void *wait_for_signals(void *arg)
{
    (void)arg;
    sigset_t set;
    int number;
    stop_signals(&set);
    if (sigwait(&set, &number) == 0) {
        pthread_mutex_lock(&stop_lock);
        if (!stop_fn)
            _exit(TR_EXIT_INTERRUPTED);
        atomic_store(&stopped, true);
        stop_fn(stop_ctx);
        pthread_mutex_unlock(&stop_lock);
    }
    if (sigwait(&set, &number) == 0)
        _exit(TR_EXIT_INTERRUPTED);
    return NULL;
}

int tr_cli_catch_signals(tr_error *err)
{
    sigset_t set;
    pthread_t thread;
    stop_signals(&set);
    (void)signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) || pthread_create(&thread, NULL, wait_for_signals, NULL))
        return tr_fail(err, TR_EIO, "cannot start a thread for signals");
    (void)pthread_detach(thread);
    return 0;
}

void tr_cli_on_stop(void (*fn)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&stop_lock);
    stop_fn = fn;
    stop_ctx = ctx;
    pthread_mutex_unlock(&stop_lock);
}

static void ignore(void *ctx)
{
    (void)ctx;
}

void tr_cli_ignore_stop(void)
{
    tr_cli_on_stop(ignore, NULL);
}

bool tr_cli_stopped(void)
{
    return atomic_load(&stopped);
}

int tr_cli_verb_run(const tr_cli_verb *verb, const tr_cli_where *where, tr_cli_place *place, void *ctx)
{
    tr_error err = {0};
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(where, place, &err);
    if (!e)
        e = verb->run(ctx, &err);
    if (fflush(stdout) && !e)
        e = tr_fail(&err, TR_EIO, "writing to the standard output: %s", strerror(errno));
    tr_cli_disconnect(place);
    return e ? tr_cli_fail(&err) : TR_EXIT_OK;
}
