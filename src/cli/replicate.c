/* SPDX-License-Identifier: MIT */
#include "cli/bars.h"
#include "cli/follow.h"
#include "cli/metrics.h"

#include <tailrace/replica.h>

#include <pthread.h>
#include <stdio.h>

enum { OPT_TO = 0x100, OPT_ONCE, OPT_VERIFY, OPT_SEGMENTS, OPT_RATE };

#define TABLES_MAX TR_CLI_BARS_MAX
#define QUIET_MS   10000 /* between messages where stderr is no terminal */

static const tr_cli_option options[] = {
    {"to", OPT_TO, "sqlite:FILE|postgres:URL|jsonl:FILE", "where the replica is kept; jsonl takes one table"},
    {"once", OPT_ONCE, NULL, "end when the replica has caught up"},
    {"verify", OPT_VERIFY, NULL, "with --once: compare table and replica afterwards"},
    {"segments", OPT_SEGMENTS, "N", "parallel segments of the first copy (4)"},
    {"rows-per-second", OPT_RATE, "N", "limit of the first copy's speed, per table"},
    TR_CLI_IDLE_OPTION,
    TR_CLI_METRICS_OPTION,
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

/* "postgres://…" is a URL as a whole, "postgres:host=… dbname=…" is not. */
static int open_postgres(const char *where, tr_sink **ret_sink, tr_error *err)
{
    char url[4096];
    int n = snprintf(url, sizeof url, "%s%s", strncmp(where, "//", 2) == 0 ? "postgres:" : "", where);
    if (n < 0 || (size_t)n >= sizeof url)
        return tr_fail(err, TR_EINVAL, "the connection string is too long");
    return tr_sink_postgres(url, ret_sink, err);
}

static const struct kind {
    const char *prefix;
    int (*open)(const char *where, tr_sink **ret_sink, tr_error *err);
    bool needs_rest, one_table, unreadable;
} kinds[] = {{"sqlite:", tr_sink_sqlite, .needs_rest = true},
             {"postgres:", open_postgres, .needs_rest = false},
             {"postgresql:", open_postgres, .needs_rest = false},
             {"jsonl:", tr_sink_jsonl, .needs_rest = true, .one_table = true, .unreadable = true}};

typedef struct replicate replicate;

/* One table: a replica, run by a thread of its own with a client of its own. */
typedef struct job {
    replicate *all;
    const char *table;
    tr_client *client;
    tr_replica *replica;
    pthread_t thread;
    bool started;
    int code;
    tr_error err;
    tr_verify_result verified;
    uint64_t told, told_changes;
    int64_t began_ms, told_ms, scan_began_ms;
    uint64_t scanned_before; /* of the scan, by an earlier process */
    tr_replica_phase told_phase;
} job;

struct replicate {
    tr_cli_where where;
    tr_cli_place place;
    const char *to, *metrics;
    size_t kind; /* of `to`, in kinds */
    bool once, verify, bad_sink;
    uint64_t segments, rate;
    int64_t idle_max_ms;
    job jobs[TABLES_MAX];
    size_t count;
    tr_cli_bars bars; /* a line per table */
};

/* ------------------------------------------------------------------------------------------- progress */

/* Rows a second, of what this process copies: an earlier one may have copied the rest. */
static double copy_rate(const job *j, const tr_replica_progress *p)
{
    int64_t spent = tr_clock_mono_ms() - j->scan_began_ms;
    return (double)(p->scanned - j->scanned_before) * 1000 / (double)(spent > 0 ? spent : 1);
}

static void time_left(double rate, const tr_replica_progress *p, char *out, size_t size)
{
    out[0] = 0;
    if (rate > 0 && p->scan_estimate > p->scanned) {
        uint64_t left = (uint64_t)((double)(p->scan_estimate - p->scanned) / rate);
        (void)snprintf(out, size, ", %llu:%02llu left", (unsigned long long)(left / 60),
                       (unsigned long long)(left % 60));
    }
}

static void line(job *j, const tr_replica_progress *p, char *out, size_t size)
{
    int64_t spent = tr_clock_mono_ms() - j->began_ms;
    double seconds = (double)(spent > 0 ? spent : 1) / 1000;
    char left[64], lag[48] = "";
    if (p->lag_ms >= 0)
        (void)snprintf(lag, sizeof lag, ", lag %.1f s", (double)p->lag_ms / 1000);
    if (p->phase == TR_REPLICA_SCANNING) {
        double rate = copy_rate(j, p);
        time_left(rate, p, left, sizeof left);
        (void)snprintf(out, size, "%s: copying, %llu of ~%llu rows, %.0f/s%s; %llu changes%s", j->table,
                       (unsigned long long)p->scanned, (unsigned long long)p->scan_estimate, rate, left,
                       (unsigned long long)p->changes, lag);
    } else {
        (void)snprintf(out, size, "%s: %s, %llu changes, %.0f/s%s", j->table, tr_replica_phase_name(p->phase),
                       (unsigned long long)p->changes, (double)p->changes / seconds, lag);
    }
}

static void on_progress(void *ctx, const tr_replica_progress *p)
{
    job *j = ctx;
    replicate *all = j->all;
    char text[TR_CLI_BAR_BYTES - 40];
    int64_t now = tr_clock_mono_ms();
    bool turned = p->phase != j->told_phase;
    if (p->phase == TR_REPLICA_SCANNING && (turned || p->scanned < j->scanned_before)) {
        j->scan_began_ms = now;
        j->scanned_before = p->scanned;
    }
    j->told_phase = p->phase;
    line(j, p, text, sizeof text);
    double part = p->phase != TR_REPLICA_SCANNING ? 1
                  : p->scan_estimate              ? (double)p->scanned / (double)p->scan_estimate
                                                  : 0;
    if (all->bars.on) {
        tr_cli_bars_set(&all->bars, (size_t)(j - all->jobs), part, text);
    } else if (turned || now - j->told_ms >= QUIET_MS) {
        /* the number 0 is left out: a lag that is not known */
        const tr_cli_field fields[] = {{.name = "table", .text = j->table},
                                       {.name = "phase", .text = tr_replica_phase_name(p->phase)},
                                       {.name = "scanned", .number = (int64_t)p->scanned},
                                       {.name = "changes", .number = (int64_t)p->changes},
                                       {.name = "lag_ms", .number = p->lag_ms > 0 ? p->lag_ms : 0},
                                       {NULL, NULL, 0}};
        tr_cli_tell(TR_LOG_INFO, fields, "%s", text);
        j->told_ms = now;
        j->told_changes = p->changes;
    }
}

/* --------------------------------------------------------------------------------------------- verify */

static void tell_difference(void *ctx, tr_difference kind, tr_item in_table, tr_item in_replica)
{
    static const char *const names[] = {"only-in-table", "only-in-replica", "differs"};
    job *j = ctx;
    tr_buf out;
    tr_json_writer w;
    tr_buf_init(&out, (size_t)64 << 20);
    tr_json_write_init(&w, &out);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "table_name", j->table);
    tr_json_member_cstring(&w, "difference", names[kind]);
    const struct {
        const char *name;
        tr_item item;
    } sides[] = {{"table", in_table}, {"replica", in_replica}};
    for (size_t i = 0; i < 2; i++) {
        if (!sides[i].item.len)
            continue;
        tr_json_name(&w, sides[i].name);
        tr_item_write(&w, sides[i].item);
    }
    tr_json_end_object(&w);
    tr_buf_putc(&out, '\n');
    if (!tr_buf_status(&out))
        (void)fwrite(out.ptr, 1, out.len, stdout);
    tr_buf_done(&out);
    j->told++;
}

static int verify(job *j)
{
    int e = tr_replica_verify(j->replica, tell_difference, j, &j->verified, &j->err);
    if (e)
        return e;
    if (j->verified.differences)
        return tr_fail(&j->err, TR_ECONFLICT, "%s: table and replica differ in %llu of %llu rows", j->table,
                       (unsigned long long)j->verified.differences, (unsigned long long)j->verified.rows);
    tr_cli_bars_message(&j->all->bars, TR_LOG_INFO, "%s: table and replica are equal, %llu rows", j->table,
                        (unsigned long long)j->verified.rows);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ jobs */

static void *run_job(void *ctx)
{
    job *j = ctx;
    j->code = tr_replica_run(j->replica, &j->err);
    if (!j->code && j->all->once && !tr_cli_stopped()) { /* what it came to, in the last message */
        tr_replica_progress progress;
        tr_replica_get_progress(j->replica, &progress);
        if (progress.changes != j->told_changes) {
            j->told_ms = -QUIET_MS;
            on_progress(j, &progress);
        }
    }
    if (!j->code && j->all->verify && !tr_cli_stopped())
        j->code = verify(j);
    return NULL;
}

static int open_sink(const replicate *all, tr_sink **ret_sink, tr_error *err)
{
    return kinds[all->kind].open(all->to + strlen(kinds[all->kind].prefix), ret_sink, err);
}

static int open_job(replicate *all, job *j, const char *table, tr_error *err)
{
    *j = (job){.all = all, .table = table, .began_ms = tr_clock_mono_ms()};
    tr_replica_options o = {.table = table,
                            .segments = (unsigned)all->segments,
                            .rows_per_second = all->rate,
                            .idle_max_ms = all->idle_max_ms,
                            .once = all->once,
                            .on_progress = on_progress,
                            .ctx = j,
                            .logger = tr_cli_bars_logger(&all->bars)};
    int e = tr_cli_another_client(&all->where, &all->place, &j->client, err);
    if (!e)
        e = open_sink(all, &o.sink, err);
    all->bad_sink = e == TR_EINVAL && !o.sink;
    if (!e && (e = tr_replica_new(j->client, &o, &j->replica, err)))
        o.sink->free(o.sink);
    return e;
}

static void stop_all(void *ctx)
{
    replicate *all = ctx;
    for (size_t i = 0; i < all->count; i++)
        if (all->jobs[i].replica)
            tr_replica_stop(all->jobs[i].replica);
}

static int run_jobs(replicate *all)
{
    int exit_code = TR_EXIT_OK;
    tr_cli_on_stop(stop_all, all);
    for (size_t i = 0; i < all->count; i++) {
        job *j = &all->jobs[i];
        j->started = pthread_create(&j->thread, NULL, run_job, j) == 0;
        if (!j->started)
            j->code = tr_fail(&j->err, TR_ENOMEM, "cannot start a thread");
    }
    for (size_t i = 0; i < all->count; i++) {
        job *j = &all->jobs[i];
        if (j->started)
            (void)pthread_join(j->thread, NULL);
        if (j->code)
            exit_code = tr_cli_fail(&j->err);
    }
    tr_cli_ignore_stop();
    return exit_code == TR_EXIT_OK && tr_cli_stopped() ? TR_EXIT_INTERRUPTED : exit_code;
}

/* What kind of sink --to names: an index into `kinds`, or TR_COUNT(kinds). */
static size_t kind_of(const char *to)
{
    size_t i = 0;
    while (i < TR_COUNT(kinds) && (strncmp(to, kinds[i].prefix, strlen(kinds[i].prefix)) != 0 ||
                                   (kinds[i].needs_rest && !to[strlen(kinds[i].prefix)])))
        i++;
    return i;
}

static int check(const tr_cli *cli, replicate *all)
{
    all->kind = kind_of(all->to);
    if (all->kind == TR_COUNT(kinds))
        return tr_cli_usage(cli, "--to takes sqlite:FILE, postgres:URL or jsonl:FILE, not '%s'", all->to);
    if (kinds[all->kind].one_table && cli->argc > 1)
        return tr_cli_usage(cli, "jsonl takes one table: run one command per table");
    if (kinds[all->kind].unreadable && all->verify)
        return tr_cli_usage(cli, "--verify needs a replica that can be read back, jsonl cannot");
    for (int i = 0; i < cli->argc; i++) {
        int e = tr_cli_table_name(cli, cli->argv[i]);
        if (e)
            return e;
        for (int k = 0; k < i; k++)
            if (strcmp(cli->argv[i], cli->argv[k]) == 0)
                return tr_cli_usage(cli, "table %s is named twice", cli->argv[i]);
    }
    return 0;
}

static int parse(tr_cli *cli, replicate *all)
{
    int option, e = 0;
    while (!e && (option = tr_cli_next(cli)) > 0) {
        if (tr_cli_where_take(&all->where, option, cli) ||
            tr_cli_idle_take(&all->idle_max_ms, option, cli, &e))
            continue;
        switch (option) {
        case OPT_TO:
            all->to = cli->value;
            break;
        case OPT_ONCE:
            all->once = true;
            break;
        case TR_CLI_METRICS:
            all->metrics = cli->value;
            break;
        case OPT_VERIFY:
            all->verify = true;
            break;
        case OPT_SEGMENTS:
            e = tr_cli_number(cli, "segments", 1, TR_REPLICA_SEGMENTS_MAX, &all->segments);
            break;
        default:
            e = tr_cli_number(cli, "rows-per-second", 1, UINT32_MAX, &all->rate);
        }
    }
    if (e || option < 0)
        return e ? e : cli->exit_code ? cli->exit_code : -1;
    if (cli->argc < 1 || cli->argc > TABLES_MAX)
        return tr_cli_usage(cli, "one TABLE or more (up to %d) are needed", TABLES_MAX);
    if (!all->to)
        return tr_cli_usage(cli, "--to is needed: where the replica is kept");
    if (all->verify && !all->once)
        return tr_cli_usage(cli, "--verify goes with --once");
    return check(cli, all);
}

static void collect(void *ctx, tr_metrics *metrics)
{
    replicate *all = ctx;
    for (size_t i = 0; i < all->count; i++)
        tr_metrics_of_replica(metrics, all->jobs[i].table, all->jobs[i].replica);
}

static int run(tr_cli *cli)
{
    static replicate all;
    tr_cli_metrics *metrics = NULL;
    tr_error err = {0};
    int usage = parse(cli, &all);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    tr_cli_bars_init(&all.bars, (size_t)cli->argc);
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(&all.where, &all.place, &err);
    for (int i = 0; i < cli->argc && !e; i++) {
        e = open_job(&all, &all.jobs[i], cli->argv[i], &err);
        all.count++;
    }
    if (!e)
        e = tr_cli_metrics_start(all.metrics, collect, &all, &metrics, &err);
    int exit_code = e == TR_EINVAL && all.bad_sink ? tr_cli_usage(cli, "--to: %s", err.message)
                    : e                            ? tr_cli_fail(&err)
                                                   : run_jobs(&all);
    tr_cli_metrics_stop(metrics);
    for (size_t i = 0; i < all.count; i++) {
        tr_replica_free(all.jobs[i].replica);
        tr_client_free(all.jobs[i].client);
    }
    tr_cli_disconnect(&all.place);
    tr_cli_bars_done(&all.bars);
    return exit_code;
}

const tr_cli_command tr_cli_replicate = {
    .name = "replicate",
    .summary = "Keep a copy of tables up to date in SQLite, PostgreSQL or as JSON lines.",
    .arguments = "TABLE…",
    .text = "Copies the tables, then follows their streams. Can be stopped at any moment, also by kill -9;\n"
            "started again it goes on where it was. A replica in a database can be queried meanwhile.",
    .options = options,
    .run = run};
