/* SPDX-License-Identifier: MIT */
#include "cli/dev.h"
#include "cli/code.h"
#include "cli/project/apply.h"
#include "cli/project/server.h"
#include "cli/where.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* tailrace dev: a project's tables, buses, rules, handlers and pipes from one file, in this process. */

#define LISTEN_MAX   32
#define DATA_DEFAULT ".tailrace"
#define PATH_SIZE    4096

enum { OPT_CONFIG = 'c', OPT_STAGE = 0x100, OPT_CLEAN, OPT_LISTEN, OPT_MEMORY, OPT_DATA, OPT_REGION };

static const tr_cli_option options[] = {
    {"config", OPT_CONFIG, "FILE", "the project (tailrace.yaml, else serverless.yml)"},
    {"stage", OPT_STAGE, "STAGE", "what ${stage} stands for in it (local)"},
    {"data", OPT_DATA, "DIR", "keep everything in this directory (" DATA_DEFAULT " beside the file)"},
    {"memory", OPT_MEMORY, NULL, "keep everything in memory: gone at the end"},
    {"listen", OPT_LISTEN, "HOST:PORT",
     "listen here; may be given several times (127.0.0.1:8000 and\n127.0.0.1:4010)"},
    {"region", OPT_REGION, "REGION", "the region in ARNs (us-east-1)"},
    {"clean", OPT_CLEAN, NULL, "remove data, and archives, each after asking; then end"},
    {NULL, 0, NULL, NULL}};

typedef struct dev {
    const char *path, *stage, *data, *region, *listen[LISTEN_MAX];
    size_t listen_count;
    bool memory, clean;
    char state[PATH_SIZE];
    tr_project *project;
    tr_server *server;
    tr_dev_place place;
    tr_dev_runner *runners;
    tr_dev_watcher *watcher;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool stop;
} dev;

/* ----------------------------------------------------------------------------------------------- project */

/* Paths in the file are relative to it. */
static int enter(dev *d, tr_error *err)
{
    tr_project *p = d->project;
    if (p->endpoint)
        return tr_fail(err, TR_EINVAL, "%s: dev runs an engine of its own: it has no use for `endpoint`",
                       p->path);
    if (!d->memory && !d->data)
        d->data = p->data ? p->data : DATA_DEFAULT;
    if (!d->region)
        d->region = p->region;
    if (chdir(p->directory))
        return tr_fail(err, TR_EIO, "%s: %s", p->directory, strerror(errno));
    p->directory = ".";
    return 0;
}

/* ------------------------------------------------------------------------------------------------- clean */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static bool ask(const char *question)
{
    char answer[16] = "";
    (void)fprintf(stderr, "%s [y/N] ", question);
    (void)fflush(stderr);
    bool yes = fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
    if (!isatty(STDIN_FILENO))
        (void)fprintf(stderr, "%s\n", yes ? "yes" : "no");
    return yes;
}

/* Everything in the directory but the archives, or only those. */
static int clean_part(const char *dir, bool archives, tr_error *err)
{
    char path[PATH_SIZE];
    DIR *open = opendir(dir);
    int e = 0;
    for (struct dirent *entry; open && !e && (entry = readdir(open)) != NULL;) {
        bool is_archive = strcmp(entry->d_name, "archive") == 0;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || is_archive != archives)
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof path || nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT))
            e = tr_fail(err, TR_EIO, "%s/%s cannot be removed: %s", dir, entry->d_name, strerror(errno));
    }
    if (open)
        (void)closedir(open);
    return e;
}

/* A directory that is served is locked; so is one that is not ours left alone. */
static int check_data(const char *dir, tr_error *err)
{
    char path[PATH_SIZE];
    tr_server *server;
    const tr_server_options o = {.data_dir = dir};
    (void)snprintf(path, sizeof path, "%s/FORMAT", dir);
    if (access(path, F_OK))
        return tr_fail(err, TR_ENOTFOUND, "there is no data of tailrace in %s", dir);
    int e = tr_server_new(&o, &server, err);
    if (e == TR_EBUSY)
        return e;
    if (e == 0)
        tr_server_free(server);
    return 0;
}

/* An archive with a place of its own. */
static int clean_archive(const dev *d, const tr_project_archive *a, tr_error *err)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char question[PATH_SIZE + 128], path[PATH_SIZE];
    const char *at = tr_project_beside(d->project, a->path);
    if (!at || access(at, F_OK))
        return at ? 0 : tr_fail(err, TR_ENOMEM, "out of memory");
    (void)snprintf(question, sizeof question, "Remove archive %s, %s?", a->name, at);
    if (!ask(question))
        return 0;
    for (size_t i = 0; i < TR_COUNT(endings); i++) {
        (void)snprintf(path, sizeof path, "%s%s", at, endings[i]);
        if (unlink(path) && errno != ENOENT)
            return tr_fail(err, TR_EIO, "%s cannot be removed: %s", path, strerror(errno));
    }
    return 0;
}

static int clean(const dev *d, tr_error *err)
{
    char question[PATH_SIZE + 128];
    int e = d->data ? check_data(d->data, err)
                    : tr_fail(err, TR_EINVAL, "--clean and --memory exclude each other");
    if (e)
        return e;
    (void)snprintf(question, sizeof question, "Remove tables, buses, queues and positions in %s?", d->data);
    if (ask(question))
        e = clean_part(d->data, false, err);
    (void)snprintf(question, sizeof question, "Remove archives in %s/archive?", d->data);
    if (!e && ask(question))
        e = clean_part(d->data, true, err);
    for (const tr_project_archive *a = d->project->archives; !e && a; a = a->next)
        e = a->path ? clean_archive(d, a, err) : 0;
    return e;
}

/* ------------------------------------------------------------------------------------------------- start */

static void on_function_line(void *ctx, const char *function, tr_view line)
{
    (void)ctx;
    tr_dev_say(function, line);
}

static int start_server(dev *d, tr_error *err)
{
    static tr_project_server room;
    static const char *const usual[] = {"127.0.0.1:8000", "127.0.0.1:4010"};
    tr_server_options o = {.data_dir = d->data,
                           .socket = d->data != NULL,
                           .listen = d->listen,
                           .listen_count = d->listen_count,
                           .region = d->region,
                           .on_function_log = on_function_line,
                           .logger = tr_dev_logger("server")};
    int e = tr_project_serve(d->project, &room, &o, err);
    if (!o.listen_count) {
        o.listen = usual;
        o.listen_count = TR_COUNT(usual);
    }
    if (!e)
        e = tr_project_link_archives(d->project, d->data, err);
    if (!e)
        e = tr_server_new(&o, &d->server, err);
    for (size_t i = 0; !e && tr_server_address(d->server, i); i++)
        tr_dev_sayf("server", "listening on %s", tr_server_address(d->server, i));
    return e;
}

static int apply(dev *d, tr_error *err)
{
    tr_client *client;
    tr_error why;
    int e = tr_cli_server_client(d->server, d->region, tr_dev_logger("server"), &client, err);
    if (e)
        return e;
    e = tr_project_apply(d->project, client, tr_dev_logger("server"), err);
    for (const tr_project_function *f = d->project->functions; !e && f; f = f->next)
        if (f->on_failure && (e = tr_cli_failures_there(f->on_failure, client, &why)))
            (void)tr_fail(err, e, "function %s: %s", f->name, why.message);
    tr_client_free(client);
    return e;
}

static void on_changed(void *ctx, const char *function, const char *file)
{
    dev *d = ctx;
    tr_dev_sayf(function, "%s has changed: started anew", file[0] ? file : "a file");
    tr_server_restart_function(d->server, function);
    tr_dev_runners_restart(d->runners, function);
}

static int start(dev *d, tr_error *err)
{
    int e = start_server(d, err);
    if (!e)
        e = apply(d, err);
    if (!e) {
        (void)snprintf(d->state, sizeof d->state, "%s/state", d->data ? d->data : "");
        d->place = (tr_dev_place){.project = d->project,
                                  .server = d->server,
                                  .endpoint = tr_server_address(d->server, 0),
                                  .state = d->data ? d->state : NULL};
        e = tr_dev_runners_start(&d->place, &d->runners, err);
    }
    if (!e)
        e = tr_dev_watch(d->project, on_changed, d, &d->watcher, err);
    return e;
}

static void describe(const dev *d)
{
    const tr_project *p = d->project;
    for (const tr_project_text *i = p->ignored; i; i = i->next)
        tr_dev_sayf("tailrace", "%s: %s means nothing here", p->path, i->text);
    for (const tr_project_mapping *m = p->mappings; m; m = m->next)
        tr_dev_sayf("tailrace", "table %s -> function %s", m->table, m->function);
    for (const tr_project_pipe *x = p->pipes; x; x = x->next)
        tr_dev_sayf("tailrace", "table %s -> bus %s", x->table, x->bus);
    for (const tr_project_rule *r = p->rules; r; r = r->next)
        for (const tr_project_target *t = r->targets; t; t = t->next)
            tr_dev_sayf("tailrace", "bus %s -> rule %s -> %s", r->bus, r->name, t->to);
    tr_dev_sayf("tailrace", "ready; Ctrl-C ends it");
}

static void on_stop(void *ctx)
{
    dev *d = ctx;
    (void)pthread_mutex_lock(&d->lock);
    d->stop = true;
    (void)pthread_cond_signal(&d->ended);
    (void)pthread_mutex_unlock(&d->lock);
}

static void wait_for_end(dev *d)
{
    (void)pthread_mutex_lock(&d->lock);
    while (!d->stop)
        (void)pthread_cond_wait(&d->ended, &d->lock);
    (void)pthread_mutex_unlock(&d->lock);
    tr_dev_sayf("tailrace", "stopping");
}

static int work(dev *d, tr_error *err)
{
    tr_dev_width(d->project);
    int e = tr_cli_catch_signals(err);
    if (e)
        return e;
    tr_cli_on_stop(on_stop, d);
    e = start(d, err);
    if (!e) {
        describe(d);
        wait_for_end(d);
    }
    tr_dev_watch_end(d->watcher);
    tr_dev_runners_stop(d->runners);
    tr_dev_runners_free(d->runners);
    tr_server_free(d->server);
    tr_cli_ignore_stop();
    return e;
}

/* -------------------------------------------------------------------------------------------------- run */

static int take_option(const tr_cli *cli, dev *d, int option)
{
    switch (option) {
    case OPT_CONFIG:
        d->path = cli->value;
        return 0;
    case OPT_STAGE:
        d->stage = cli->value;
        return 0;
    case OPT_DATA:
        d->data = cli->value;
        return 0;
    case OPT_MEMORY:
        d->memory = true;
        return 0;
    case OPT_REGION:
        d->region = cli->value;
        return 0;
    case OPT_LISTEN:
        if (d->listen_count == LISTEN_MAX)
            return tr_cli_usage(cli, "--listen may be given at most %d times", LISTEN_MAX);
        d->listen[d->listen_count++] = cli->value;
        return 0;
    default:
        d->clean = true;
        return 0;
    }
}

/* --data is relative to where the command was given, everything in the file to the file. */
static int keep_directory(dev *d, char *out, tr_error *err)
{
    if (!d->data || d->data[0] == '/')
        return 0;
    char here[PATH_SIZE / 2];
    if (!getcwd(here, sizeof here) || snprintf(out, PATH_SIZE, "%s/%s", here, d->data) >= PATH_SIZE)
        return tr_fail(err, TR_EIO, "the current directory has no path, or a very long one");
    d->data = out;
    return 0;
}

static int run(tr_cli *cli)
{
    static dev d = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    static char data[PATH_SIZE];
    tr_error err = {0};
    int option;
    while ((option = tr_cli_next(cli)) > 0) {
        int usage = take_option(cli, &d, option);
        if (usage)
            return usage;
    }
    if (option < 0)
        return cli->exit_code;
    if (cli->argc)
        return tr_cli_usage(cli, "dev takes no arguments, but '%s' was given", cli->argv[0]);
    if (d.memory && d.data)
        return tr_cli_usage(cli, "--data and --memory exclude each other");
    int e = keep_directory(&d, data, &err);
    if (!e)
        e = tr_project_open(d.path, d.stage, &d.project, &err);
    if (!e)
        e = enter(&d, &err);
    if (!e)
        e = d.clean ? clean(&d, &err) : work(&d, &err);
    tr_project_free(d.project);
    return e ? tr_cli_fail(&err) : tr_cli_stopped() ? TR_EXIT_INTERRUPTED : TR_EXIT_OK;
}

const tr_cli_command tr_cli_dev = {
    .name = "dev",
    .summary = "Run a project from one file: tables, buses, rules, handlers, pipes, archives.",
    .text = "The file is a tailrace.yaml (docs/config.md) or a serverless.yml, of which it names what it "
            "ignores.\n"
            "Handlers are started anew when their files change. One Ctrl-C ends everything.",
    .options = options,
    .run = run};
