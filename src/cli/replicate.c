/* SPDX-License-Identifier: MIT */
#include "cli/where.h"

#include <tailrace/replica.h>

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { OPT_TO = 0x100, OPT_ONCE, OPT_VERIFY, OPT_SEGMENTS, OPT_RATE };

#define TABLES_MAX 64
#define BAR_WIDTH  30
#define QUIET_MS   10000 /* between messages where stderr is no terminal */

static const tr_cli_option options[] = {
    {"to", OPT_TO, "sqlite:FILE|jsonl:FILE", "where the replica is kept; jsonl takes one table"},
    {"once", OPT_ONCE, NULL, "end when the replica has caught up"},
    {"verify", OPT_VERIFY, NULL, "with --once: compare table and replica afterwards"},
    {"segments", OPT_SEGMENTS, "N", "parallel segments of the first copy (4)"},
    {"rows-per-second", OPT_RATE, "N", "limit of the first copy's speed, per table"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

static const struct kind {
    const char *prefix;
    int (*open)(const char *where, tr_sink **ret_sink, tr_error *err);
    bool needs_rest, one_table, unreadable;
} kinds[] = {{"sqlite:", tr_sink_sqlite, .needs_rest = true},
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
    uint64_t told;
    int64_t began_ms, told_ms;
    tr_replica_phase told_phase;
} job;

struct replicate {
    tr_cli_where where;
    tr_cli_place place;
    const char *to;
    size_t kind; /* of `to`, in kinds */
    bool once, verify, bar;
    uint64_t segments, rate;
    job jobs[TABLES_MAX];
    size_t count;
    pthread_mutex_t print; /* one message at a time */
};

/* ------------------------------------------------------------------------------------------- progress */

static void time_left(const tr_replica_progress *p, int64_t spent_ms, char *out, size_t size)
{
    out[0] = 0;
    if (p->scanned && p->scan_estimate > p->scanned) {
        int64_t left =
            (int64_t)((double)spent_ms * (double)(p->scan_estimate - p->scanned) / (double)p->scanned / 1000);
        (void)snprintf(out, size, ", about %lld:%02lld left", (long long)(left / 60), (long long)(left % 60));
    }
}

static void line(job *j, const tr_replica_progress *p, char *out, size_t size)
{
    int64_t spent = tr_clock_mono_ms() - j->began_ms;
    double seconds = (double)(spent ? spent : 1) / 1000;
    char left[64], lag[48] = "";
    if (p->lag_ms >= 0)
        (void)snprintf(lag, sizeof lag, ", lag %.1f s", (double)p->lag_ms / 1000);
    if (p->phase == TR_REPLICA_SCANNING) {
        time_left(p, spent, left, sizeof left);
        (void)snprintf(out, size, "%s: copying, %llu of about %llu rows (%.0f/s)%s; %llu changes%s", j->table,
                       (unsigned long long)p->scanned, (unsigned long long)p->scan_estimate,
                       (double)p->scanned / seconds, left, (unsigned long long)p->changes, lag);
    } else {
        (void)snprintf(out, size, "%s: %s, %llu changes (%.0f/s)%s", j->table,
                       tr_replica_phase_name(p->phase), (unsigned long long)p->changes,
                       (double)p->changes / seconds, lag);
    }
}

static void draw_bar(job *j, const tr_replica_progress *p)
{
    char text[512], bar[BAR_WIDTH + 1];
    line(j, p, text, sizeof text);
    size_t filled = p->phase != TR_REPLICA_SCANNING ? BAR_WIDTH
                    : p->scan_estimate              ? (size_t)(p->scanned * BAR_WIDTH / p->scan_estimate)
                                                    : 0;
    for (size_t i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = 0;
    (void)fprintf(stderr, "\r\033[K[%s] %s", bar, text);
    (void)fflush(stderr);
}

static void on_progress(void *ctx, const tr_replica_progress *p)
{
    job *j = ctx;
    replicate *all = j->all;
    int64_t now = tr_clock_mono_ms();
    bool turned = p->phase != j->told_phase;
    pthread_mutex_lock(&all->print);
    if (all->bar) {
        draw_bar(j, p);
    } else if (turned || now - j->told_ms >= QUIET_MS) {
        char text[512];
        line(j, p, text, sizeof text);
        tr_cli_message(TR_LOG_INFO, "%s", text);
        j->told_ms = now;
    }
    j->told_phase = p->phase;
    pthread_mutex_unlock(&all->print);
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
    tr_cli_message(TR_LOG_INFO, "%s: table and replica are equal, %llu rows", j->table,
                   (unsigned long long)j->verified.rows);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ jobs */

static void *run_job(void *ctx)
{
    job *j = ctx;
    j->code = tr_replica_run(j->replica, &j->err);
    if (j->all->bar) {
        pthread_mutex_lock(&j->all->print);
        (void)fputc('\n', stderr);
        pthread_mutex_unlock(&j->all->print);
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
                            .once = all->once,
                            .on_progress = on_progress,
                            .ctx = j,
                            .logger = tr_cli_logger()};
    int e = tr_cli_another_client(&all->where, &all->place, &j->client, err);
    if (!e)
        e = open_sink(all, &o.sink, err);
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

static void ignore_stop(void *ctx)
{
    (void)ctx;
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
    tr_cli_on_stop(ignore_stop, NULL);
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
        return tr_cli_usage(cli, "--to takes sqlite:FILE or jsonl:FILE, not '%s'", all->to);
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
        if (tr_cli_where_take(&all->where, option, cli))
            continue;
        switch (option) {
        case OPT_TO:
            all->to = cli->value;
            break;
        case OPT_ONCE:
            all->once = true;
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

static int run(tr_cli *cli)
{
    static replicate all;
    tr_error err = {0};
    int usage = parse(cli, &all);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    all.bar = isatty(STDERR_FILENO) && cli->argc == 1;
    (void)pthread_mutex_init(&all.print, NULL);
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(&all.where, &all.place, &err);
    for (int i = 0; i < cli->argc && !e; i++) {
        e = open_job(&all, &all.jobs[i], cli->argv[i], &err);
        all.count++;
    }
    int exit_code = e ? tr_cli_fail(&err) : run_jobs(&all);
    for (size_t i = 0; i < all.count; i++) {
        tr_replica_free(all.jobs[i].replica);
        tr_client_free(all.jobs[i].client);
    }
    tr_cli_disconnect(&all.place);
    (void)pthread_mutex_destroy(&all.print);
    return exit_code;
}

const tr_cli_command tr_cli_replicate = {
    .name = "replicate",
    .summary = "Keep a copy of tables up to date in a SQLite file or as JSON lines.",
    .arguments = "TABLE…",
    .text = "Copies the tables, then follows their streams. Can be stopped at any moment, also by kill -9;\n"
            "started again it goes on where it was. A SQLite replica can be queried meanwhile.",
    .options = options,
    .run = run};
