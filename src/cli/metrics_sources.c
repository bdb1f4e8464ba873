/* SPDX-License-Identifier: MIT */
/* What there is to measure. */
#include "cli/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LABEL(text) tr_view_str(text)
#define END                                                                                                  \
    {                                                                                                        \
        NULL,                                                                                                \
        {                                                                                                    \
            NULL, 0                                                                                          \
        }                                                                                                    \
    }

static double seconds(int64_t ms)
{
    return (double)ms / 1000;
}

/* --------------------------------------------------------------------------------------------- process */

/* Field number n (from 1) behind the name, in /proc/self/stat; the name may hold anything. */
static double stat_field(int n)
{
    char text[4096];
    FILE *f = fopen("/proc/self/stat", "r");
    if (!f)
        return 0;
    size_t len = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[len] = 0;
    char *at = strrchr(text, ')');
    for (int i = 2; at && i < n; i++)
        at = strchr(at + 1, ' ');
    return at ? strtod(at, NULL) : 0;
}

static size_t open_files(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(dir);
    return n ? n - 1 : 0; /* the directory itself */
}

void tr_metrics_of_process(tr_metrics *m)
{
    static double began; /* on one thread only */
    const tr_metric_label version[] = {{"version", LABEL(TR_VERSION)}, END};
    struct rusage usage;
    tr_metric_count(m, TR_METRIC_BUILD, version, 1);
    if (began == 0) {
        struct timespec up;
        (void)clock_gettime(CLOCK_BOOTTIME, &up);
        double age =
            (double)up.tv_sec + (double)up.tv_nsec / 1e9 - stat_field(22) / (double)sysconf(_SC_CLK_TCK);
        began = seconds(tr_clock_wall_ms()) - age;
    }
    tr_metric_put(m, TR_METRIC_START, NULL, began);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        tr_metric_put(m, TR_METRIC_CPU, NULL,
                      (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                          (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    tr_metric_count(m, TR_METRIC_MEMORY, NULL, (uint64_t)(stat_field(24) * (double)sysconf(_SC_PAGESIZE)));
    tr_metric_count(m, TR_METRIC_FILES, NULL, open_files());
}

/* ---------------------------------------------------------------------------------------------- stream */

typedef struct shards {
    tr_metrics *m;
    const char *table;
    size_t count;
} shards;

static void put_shard(void *ctx, const tr_shard_stats *s)
{
    shards *all = ctx;
    const tr_metric_label labels[] = {{"table", LABEL(all->table)}, {"shard", s->id}, END};
    if ((s->phase != TR_SHARD_READING && s->phase != TR_SHARD_DRAINING) ||
        all->count++ >= TR_METRICS_SHARDS_MAX)
        return;
    if (s->lag_ms >= 0)
        tr_metric_put(all->m, TR_METRIC_SHARD_LAG, labels, seconds(s->lag_ms));
    tr_metric_count(all->m, TR_METRIC_SHARD_RECORDS, labels, s->records);
    tr_metric_count(all->m, TR_METRIC_SHARD_UNACKED, labels, s->unacknowledged);
}

static void put_labeled(tr_metrics *m, tr_metric metric, const char *stream_table, const char *label,
                        const char *value, uint64_t n)
{
    const tr_metric_label labels[] = {{"table", LABEL(stream_table)}, {label, LABEL(value)}, END};
    tr_metric_count(m, metric, labels, n);
}

void tr_metrics_of_stream(tr_metrics *m, const char *table, tr_stream *stream)
{
    tr_stream_stats s;
    tr_stream_get_stats(stream, &s);
    const tr_metric_label labels[] = {{"table", LABEL(table)}, END};
    const struct {
        tr_metric metric;
        uint64_t value;
    } values[] = {{TR_METRIC_S_RECORDS, s.records},
                  {TR_METRIC_S_BYTES, s.bytes},
                  {TR_METRIC_S_DELIVERED, s.delivered},
                  {TR_METRIC_S_ACKED, s.acknowledged},
                  {TR_METRIC_S_FILTERED, s.filtered},
                  {TR_METRIC_S_SKIPPED, s.skipped},
                  {TR_METRIC_S_GAPS, s.gaps},
                  {TR_METRIC_S_RETRIES, s.retries},
                  {TR_METRIC_S_THROTTLES, s.throttles},
                  {TR_METRIC_S_EXPIRED, s.expired_iterators},
                  {TR_METRIC_S_EMPTY, s.empty_pages},
                  {TR_METRIC_S_SAVES, s.saves},
                  {TR_METRIC_S_CAUGHT_UP, s.caught_up},
                  {TR_METRIC_S_UNACKED, s.unacknowledged},
                  {TR_METRIC_S_UNACKED_BYTES, s.unacknowledged_bytes},
                  {TR_METRIC_S_LEASES, s.leases_held}};
    for (size_t i = 0; i < TR_COUNT(values); i++)
        tr_metric_count(m, values[i].metric, labels, values[i].value);
    if (s.lag_ms >= 0)
        tr_metric_put(m, TR_METRIC_S_LAG, labels, seconds(s.lag_ms));
    put_labeled(m, TR_METRIC_S_CALLS, table, "operation", "DescribeStream", s.calls_describe);
    put_labeled(m, TR_METRIC_S_CALLS, table, "operation", "GetShardIterator", s.calls_iterator);
    put_labeled(m, TR_METRIC_S_CALLS, table, "operation", "GetRecords", s.calls_records);
    put_labeled(m, TR_METRIC_S_CALLS, table, "operation", "lease", s.calls_lease);
    put_labeled(m, TR_METRIC_S_SHARDS, table, "state", "reading", s.shards_reading);
    put_labeled(m, TR_METRIC_S_SHARDS, table, "state", "waiting", s.shards_waiting);
    put_labeled(m, TR_METRIC_S_SHARDS, table, "state", "finished", s.shards_finished);
    shards all = {.m = m, .table = table};
    tr_stream_each_shard(stream, put_shard, &all);
}

/* ------------------------------------------------------------------------ handlers, replicas, pipes */

void tr_metrics_of_mapping(tr_metrics *m, const char *table, tr_mapping *mapping)
{
    tr_mapping_stats s;
    tr_mapping_get_stats(mapping, &s);
    const tr_metric_label labels[] = {{"table", LABEL(table)}, END};
    tr_metric_put(m, TR_METRIC_M_INVOCATIONS, labels, (double)s.busy_ns / 1e9);
    const struct {
        tr_metric metric;
        uint64_t value;
    } values[] = {{TR_METRIC_M_INVOCATIONS, s.batches},   {TR_METRIC_M_FAILED, s.failures},
                  {TR_METRIC_M_RECORDS, s.records},       {TR_METRIC_M_RETRIES, s.retries},
                  {TR_METRIC_M_BISECTIONS, s.bisections}, {TR_METRIC_M_GIVEN_UP, s.given_up},
                  {TR_METRIC_M_WINDOWS, s.windows}};
    for (size_t i = 0; i < TR_COUNT(values); i++)
        tr_metric_count(m, values[i].metric, labels, values[i].value);
}

void tr_metrics_of_replica(tr_metrics *m, const char *table, tr_replica *replica)
{
    tr_replica_progress p;
    tr_replica_get_progress(replica, &p);
    const tr_metric_label labels[] = {{"table", LABEL(table)}, END};
    put_labeled(m, TR_METRIC_R_PHASE, table, "phase", tr_replica_phase_name(p.phase), 1);
    const struct {
        tr_metric metric;
        uint64_t value;
    } values[] = {{TR_METRIC_R_SCANNED, p.scanned}, {TR_METRIC_R_ESTIMATE, p.scan_estimate},
                  {TR_METRIC_R_CHANGES, p.changes}, {TR_METRIC_R_GAPS, p.gaps},
                  {TR_METRIC_R_DELETED, p.deleted}, {TR_METRIC_R_CAUGHT_UP, p.caught_up}};
    for (size_t i = 0; i < TR_COUNT(values); i++)
        tr_metric_count(m, values[i].metric, labels, values[i].value);
    if (p.lag_ms >= 0)
        tr_metric_put(m, TR_METRIC_R_LAG, labels, seconds(p.lag_ms));
}

void tr_metrics_of_pipe(tr_metrics *m, const char *table, tr_pipe *pipe)
{
    tr_pipe_stats s;
    tr_pipe_get_stats(pipe, &s);
    const tr_publisher_stats *p = &s.publisher;
    const tr_metric_label labels[] = {{"table", LABEL(table)}, END};
    const struct {
        tr_metric metric;
        uint64_t value;
    } values[] = {{TR_METRIC_P_RECORDS, s.records},
                  {TR_METRIC_P_SKIPPED, s.skipped},
                  {TR_METRIC_P_GIVEN_UP, s.given_up},
                  {TR_METRIC_P_PUBLISHED, p->published},
                  {TR_METRIC_P_FAILED, p->given_up},
                  {TR_METRIC_P_REQUESTS, p->requests},
                  {TR_METRIC_P_RETRIES, p->retries},
                  {TR_METRIC_P_THROTTLES, p->throttles},
                  {TR_METRIC_P_UNKNOWN, p->unknown},
                  {TR_METRIC_P_WAITING, p->waiting},
                  {TR_METRIC_P_WAITING_BYTES, p->waiting_bytes}};
    for (size_t i = 0; i < TR_COUNT(values); i++)
        tr_metric_count(m, values[i].metric, labels, values[i].value);
}

/* ---------------------------------------------------------------------------------------------- server */

static void put_operation(void *ctx, const tr_operation_stats *o)
{
    static const char *const services[TR_SERVICE_COUNT] = {[TR_DYNAMODB] = "dynamodb",
                                                           [TR_STREAMS] = "dynamodbstreams",
                                                           [TR_EVENTS] = "events",
                                                           [TR_SQS] = "sqs",
                                                           [TR_LAMBDA] = "lambda"};
    const struct {
        const char *kind;
        uint64_t n;
    } kinds[] = {{"2xx", o->ok}, {"4xx", o->refused}, {"5xx", o->failed}};
    for (size_t i = 0; i < TR_COUNT(kinds); i++) {
        const tr_metric_label labels[] = {{"service", LABEL(services[o->service])},
                                          {"operation", LABEL(o->name)},
                                          {"status", LABEL(kinds[i].kind)},
                                          END};
        if (kinds[i].n)
            tr_metric_count(ctx, TR_METRIC_V_OPERATIONS, labels, kinds[i].n);
    }
}

void tr_metrics_of_server(tr_metrics *m, tr_server *server)
{
    tr_server_stats s;
    tr_server_get_stats(server, &s);
    const struct {
        tr_metric metric;
        uint64_t value;
    } values[] = {{TR_METRIC_V_CONNECTIONS, s.connections_total},
                  {TR_METRIC_V_OPEN, s.connections},
                  {TR_METRIC_V_REQUESTS, s.requests_total},
                  {TR_METRIC_V_REFUSED, s.refused_total},
                  {TR_METRIC_V_ACTIVE, s.requests},
                  {TR_METRIC_V_IN, s.bytes_received},
                  {TR_METRIC_V_OUT, s.bytes_sent},
                  {TR_METRIC_V_HELD, s.held},
                  {TR_METRIC_V_UNSYNCED, s.unsynced},
                  {TR_METRIC_V_FEEDS, s.feeds},
                  {TR_METRIC_V_DELIVERIES, s.bus_deliveries}};
    for (size_t i = 0; i < TR_COUNT(values); i++)
        tr_metric_count(m, values[i].metric, NULL, values[i].value);
    tr_server_each_operation(server, put_operation, m);
}
