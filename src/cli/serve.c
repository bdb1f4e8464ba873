/* SPDX-License-Identifier: MIT */
#include "cli/code.h"
#include "cli/metrics.h"
#include "cli/project/server.h"

#include <tailrace/engine.h>

#include <signal.h>
#include <stdio.h>

/* tailrace serve: the embedded engine over HTTP, until a signal ends it. */

#define LISTEN_MAX 32
#define CORS_MAX   32

#define FUNCTIONS_MAX     256
#define FUNCTION_NAME_MAX 64 /* characters (Lambda API, CreateFunction) */

enum {
    OPT_DATA = 1000,
    OPT_MEMORY,
    OPT_LISTEN,
    OPT_REGION,
    OPT_SHARDS,
    OPT_SHARD_LIFETIME,
    OPT_ITERATOR_LIFETIME,
    OPT_RETENTION,
    OPT_EXPIRY,
    OPT_CORS,
    OPT_CACHE,
    OPT_FUNCTION,
    OPT_RETRY_DELAY,
    OPT_RETRIES,
    OPT_EVENT_AGE,
    OPT_ON_FAILURE,
    OPT_PUT_EVENTS,
    OPT_BUCKETS
};

static const tr_cli_option options[] = {
    {"data", OPT_DATA, "DIR", "keep everything in this directory; it is made if need be"},
    {"memory", OPT_MEMORY, NULL, "keep everything in memory: gone at the end (the default)"},
    {"listen", OPT_LISTEN, "HOST:PORT",
     "listen here; may be given several times, port 0\nis any free one (127.0.0.1:8000)"},
    {"region", OPT_REGION, "REGION", "the region in ARNs (us-east-1)"},
    {"stream-shards", OPT_SHARDS, "N", "shards of a new stream (4)"},
    {"shard-lifetime", OPT_SHARD_LIFETIME, "DURATION",
     "after which a shard is closed and followed by\nanother (4h)"},
    {"iterator-lifetime", OPT_ITERATOR_LIFETIME, "DURATION", "of shard iterators (15m)"},
    {"stream-retention", OPT_RETENTION, "DURATION", "how long change records are kept (24h)"},
    {"expiry-interval", OPT_EXPIRY, "DURATION", "between looks for items past their time to live (30s)"},
    {"buckets", OPT_BUCKETS, "DIR",
     "a directory that stands for S3, for exports and imports:\nits directories are buckets"},
    {"cors", OPT_CORS, "ORIGIN", "let pages of this origin call; may be given several\ntimes, * is any"},
    {"function", OPT_FUNCTION, "NAME=TARGET",
     "a function that rules may name as a target: exec:CMD,\nexec-each:CMD, handler:MODULE.EXPORT, "
     "file:PATH,\nstdout: or a "
     "URL; may be given several times"},
    {"retry-delay", OPT_RETRY_DELAY, "DURATION",
     "pause this long before each retry of the bus\n(from 1s to 10m, growing, with jitter)"},
    {"retries", OPT_RETRIES, "N", "of targets without a RetryPolicy (185)"},
    {"event-age", OPT_EVENT_AGE, "DURATION", "after which such targets give an event up (24h)"},
    {"on-failure", OPT_ON_FAILURE, "NAME=DEST",
     "where events go that function NAME failed to handle:\nanother function's name, or as for tailrace on"},
    {"put-events-size", OPT_PUT_EVENTS, "SIZE", "the largest PutEvents request, up to 1MiB (256KiB)"},
    TR_CLI_METRICS_OPTION,
    {"cache", OPT_CACHE, "SIZE", "ceiling of the store's caches and buffers (128MiB)"},
    {NULL, 0, NULL, NULL}};

/** What the options said. */
typedef struct settings {
    tr_server_options server;
    const char *listen[LISTEN_MAX], *cors[CORS_MAX];
    tr_server_function functions[FUNCTIONS_MAX];
    char names[FUNCTIONS_MAX][FUNCTION_NAME_MAX + 1];
    const char *metrics;
    bool memory;
} settings;

static int add_text(const tr_cli *cli, const char **list, size_t *count, size_t max, const char *option)
{
    if (*count == max)
        return tr_cli_usage(cli, "--%s may be given at most %zu times", option, max);
    list[(*count)++] = cli->value;
    return 0;
}

/* NAME=TARGET */
static int add_function(const tr_cli *cli, settings *s)
{
    size_t at = s->server.function_count;
    const char *equals = strchr(cli->value, '=');
    size_t len = equals ? (size_t)(equals - cli->value) : 0;
    if (!len || len > FUNCTION_NAME_MAX || !equals[1])
        return tr_cli_usage(cli, "--function needs NAME=TARGET, such as thumbs=exec:./thumbs.sh, not '%s'",
                            cli->value);
    if (at == FUNCTIONS_MAX)
        return tr_cli_usage(cli, "--function may be given at most %d times", FUNCTIONS_MAX);
    memcpy(s->names[at], cli->value, len);
    s->names[at][len] = 0;
    s->functions[at] = (tr_server_function){.name = s->names[at], .target = equals + 1};
    s->server.functions = s->functions;
    s->server.function_count++;
    return 0;
}

/* Below 8 MiB the store would write files all the time. */
static int take_cache(const tr_cli *cli, uint64_t *ret_bytes)
{
    int e = tr_cli_size(cli, "cache", ret_bytes);
    if (!e && (*ret_bytes < UINT64_C(8) << 20 || *ret_bytes > UINT64_C(1) << 40))
        e = tr_cli_usage(cli, "--cache takes a size from 8MiB to 1024GiB, not '%s'", cli->value);
    return e;
}

/* NAME=DEST, of a function that was given before. */
static int set_failure(const tr_cli *cli, settings *s)
{
    const char *equals = strchr(cli->value, '=');
    for (size_t i = 0; equals && equals[1] && i < s->server.function_count; i++)
        if (strlen(s->names[i]) == (size_t)(equals - cli->value) &&
            strncmp(s->names[i], cli->value, (size_t)(equals - cli->value)) == 0) {
            s->functions[i].on_failure = equals + 1;
            return 0;
        }
    return tr_cli_usage(cli, "--on-failure needs NAME=DEST with the NAME of a --function before it, not '%s'",
                        cli->value);
}

static int take_size(const tr_cli *cli, settings *s)
{
    uint64_t number;
    int e = tr_cli_size(cli, "put-events-size", &number);
    s->server.put_events_bytes = e ? 0 : (size_t)number;
    return e;
}

static int take_number(const tr_cli *cli, settings *s, int option)
{
    uint64_t number;
    int e = option == OPT_CACHE     ? take_cache(cli, &number)
            : option == OPT_RETRIES ? tr_cli_number(cli, "retries", 0, UINT32_MAX, &number)
                                    : tr_cli_number(cli, "stream-shards", 1, 256, &number);
    if (e)
        return e;
    if (option == OPT_CACHE)
        s->server.memory_bytes = (size_t)number;
    else if (option == OPT_RETRIES)
        s->server.bus_retries = (uint32_t)number;
    else
        s->server.stream_shards = (unsigned)number;
    s->server.bus_limit_retries |= option == OPT_RETRIES;
    return 0;
}

static int take_option(const tr_cli *cli, settings *s, int option)
{
    tr_server_options *o = &s->server;
    switch (option) {
    case OPT_DATA:
        o->data_dir = cli->value;
        return 0;
    case OPT_BUCKETS:
        o->buckets = cli->value;
        return 0;
    case OPT_MEMORY:
        s->memory = true;
        return 0;
    case OPT_LISTEN:
        return add_text(cli, s->listen, &o->listen_count, LISTEN_MAX, "listen");
    case OPT_CORS:
        return add_text(cli, s->cors, &o->cors_count, CORS_MAX, "cors");
    case OPT_REGION:
        o->region = cli->value;
        return tr_cli_region_valid(cli->value)
                   ? 0
                   : tr_cli_usage(cli, "--region takes a region's name, such as eu-west-1, not '%s'",
                                  cli->value);
    case OPT_FUNCTION:
        return add_function(cli, s);
    case TR_CLI_METRICS:
        s->metrics = cli->value;
        return 0;
    case OPT_RETRY_DELAY:
        o->bus_retry_fixed = true;
        return tr_cli_duration_within(cli, "retry-delay", "1ms", "1d", &o->bus_retry_base_ms);
    case OPT_EVENT_AGE:
        return tr_cli_duration_within(cli, "event-age", "1s", "1d", &o->bus_event_age_ms);
    case OPT_ON_FAILURE:
        return set_failure(cli, s);
    case OPT_PUT_EVENTS:
        return take_size(cli, s);
    case OPT_SHARD_LIFETIME:
        return tr_cli_duration_within(cli, "shard-lifetime", "100ms", "365d", &o->shard_lifetime_ms);
    case OPT_ITERATOR_LIFETIME:
        return tr_cli_duration_within(cli, "iterator-lifetime", "100ms", "365d", &o->iterator_lifetime_ms);
    case OPT_RETENTION:
        return tr_cli_duration_within(cli, "stream-retention", "100ms", "3650d", &o->stream_retention_ms);
    case OPT_EXPIRY:
        return tr_cli_duration_within(cli, "expiry-interval", "10ms", "365d", &o->expiry_interval_ms);
    default:
        return take_number(cli, s, option);
    }
}

/* What functions say goes to stderr, a line at a time. */
static void print_line(void *ctx, const char *function, tr_view line)
{
    (void)ctx;
    tr_cli_say(function, line);
}

/* What the flags leave open, tailrace.yaml or serverless.yml may say. */
static int take_project(settings *s, tr_project **ret_project, tr_error *err)
{
    static tr_project_server room;
    int e = tr_project_find(ret_project, err);
    if (e || !*ret_project)
        return e;
    if (!s->memory && !s->server.data_dir && (*ret_project)->data)
        s->server.data_dir = tr_project_beside(*ret_project, (*ret_project)->data);
    e = tr_project_serve(*ret_project, &room, &s->server, err);
    return e || !s->server.data_dir ? e : tr_project_link_archives(*ret_project, s->server.data_dir, err);
}

static int check(const tr_cli *cli, settings *s)
{
    if (cli->argc)
        return tr_cli_usage(cli, "serve takes no arguments, but '%s' was given", cli->argv[0]);
    if (s->memory && s->server.data_dir)
        return tr_cli_usage(cli, "--data and --memory exclude each other");
    s->server.listen = s->listen;
    s->server.cors = s->cors;
    s->server.logger = tr_cli_logger();
    s->server.on_function_log = print_line;
    return 0;
}

/* Waits for a signal that ends the server. Returns the exit code. */
static int wait_for_end(const sigset_t *signals)
{
    int which = 0;
    (void)sigwait(signals, &which);
    tr_cli_message(TR_LOG_INFO, "stopping");
    return which == SIGINT ? TR_EXIT_INTERRUPTED : TR_EXIT_OK;
}

/* What may still be made is no error, but a slip of the pen would be noticed late. */
static void check_failures(const settings *s, tr_server *server)
{
    tr_client *client;
    tr_error err;
    if (!s->server.function_count ||
        tr_cli_server_client(server, s->server.region, (tr_logger){0}, &client, &err))
        return;
    for (size_t i = 0; i < s->server.function_count; i++) {
        const tr_server_function *f = &s->server.functions[i];
        if (f->on_failure && tr_cli_failures_there(f->on_failure, client, &err))
            tr_cli_message(TR_LOG_WARN, "function %s: %s; until it is made, its failures wait", f->name,
                           err.message);
    }
    tr_client_free(client);
}

static void collect(void *ctx, tr_metrics *metrics)
{
    tr_metrics_of_server(metrics, ctx);
}

static int run(tr_cli *cli)
{
    settings s = {0};
    tr_cli_metrics *metrics;
    tr_server *server;
    tr_project *project = NULL;
    tr_error err;
    int option;
    while ((option = tr_cli_next(cli)) > 0) {
        int e = take_option(cli, &s, option);
        if (e)
            return e;
    }
    if (option < 0)
        return cli->exit_code;
    int e = check(cli, &s);
    if (e)
        return e;
    if (take_project(&s, &project, &err))
        return tr_cli_fail(&err);
    if (!s.server.listen_count) {
        s.listen[s.server.listen_count++] = "127.0.0.1:8000";
        s.server.listen = s.listen;
    }
    s.server.socket = s.server.data_dir != NULL;
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread starts: only sigwait gets them */
    if (tr_server_new(&s.server, &server, &err))
        return err.code == TR_EINVAL ? tr_cli_usage(cli, "%s", err.message) : tr_cli_fail(&err);
    if (!s.memory && !s.server.data_dir)
        tr_cli_message(TR_LOG_INFO, "everything is kept in memory and gone at the end; --data DIR keeps it");
    for (size_t i = 0; tr_server_address(server, i); i++)
        tr_cli_message(TR_LOG_INFO, "listening on %s", tr_server_address(server, i));
    check_failures(&s, server);
    int code = tr_cli_metrics_start(s.metrics, collect, server, &metrics, &err);
    code = code ? tr_cli_fail(&err) : wait_for_end(&signals);
    tr_cli_metrics_stop(metrics);
    tr_server_free(server);
    tr_project_free(project);
    return code;
}

const tr_cli_command tr_cli_serve = {
    .name = "serve",
    .summary = "Serve DynamoDB, its streams and EventBridge on this machine.",
    .text =
        "Without signatures being checked, any credentials and region see the same tables. A directory is\n"
        "locked while it is served; other commands reach it through the socket DIR/tailrace.sock.",
    .options = options,
    .run = run,
};
