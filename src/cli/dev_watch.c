/* SPDX-License-Identifier: MIT */
/* Changed code is found by looking: twice a second at the files below the directory of each function's
 * module. */
#include "cli/dev.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LOOK_MS   500
#define FILES_MAX 5000 /* of a function */
#define DEPTH_MAX 8
#define PATH_SIZE 4096

typedef struct watched {
    struct watched *next;
    const char *function;
    char directory[PATH_SIZE];
    int64_t newest_ns;
    uint64_t seen; /* a sum over names and sizes, so that removed files are noticed */
} watched;

struct tr_dev_watcher {
    watched *all;
    void (*changed)(void *ctx, const char *function, const char *file);
    void *ctx;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
};

/** One look at a directory. */
typedef struct look {
    int64_t newest_ns;
    uint64_t seen;
    unsigned files;
    char newest[PATH_SIZE];
} look;

static bool is_code(const char *name)
{
    static const char *const endings[] = {".js", ".mjs", ".cjs", ".ts", ".py", ".json", ".sh"};
    size_t n = strlen(name);
    for (size_t i = 0; i < TR_COUNT(endings); i++) {
        size_t m = strlen(endings[i]);
        if (n > m && strcmp(name + n - m, endings[i]) == 0)
            return true;
    }
    return false;
}

static void note(look *l, const char *path, const struct stat *st)
{
    int64_t ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    uint64_t h = 14695981039346656037U;
    for (const char *c = path; *c; c++)
        h = (h ^ (uint8_t)*c) * 1099511628211U;
    l->files++;
    l->seen += h ^ ((uint64_t)st->st_size * 31);
    if (ns > l->newest_ns) {
        l->newest_ns = ns;
        (void)snprintf(l->newest, sizeof l->newest, "%s", path);
    }
}

static void look_at(look *l, const char *directory, unsigned depth)
{
    char path[PATH_SIZE];
    struct stat st;
    DIR *dir = depth < DEPTH_MAX ? opendir(directory) : NULL;
    for (struct dirent *d; dir && l->files < FILES_MAX && (d = readdir(dir)) != NULL;) {
        if (d->d_name[0] == '.' || strcmp(d->d_name, "node_modules") == 0 ||
            strcmp(d->d_name, "__pycache__") == 0)
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", directory, d->d_name);
        if (n < 0 || (size_t)n >= sizeof path || lstat(path, &st))
            continue;
        if (S_ISDIR(st.st_mode))
            look_at(l, path, depth + 1);
        else if (S_ISREG(st.st_mode) && is_code(d->d_name))
            note(l, path, &st);
    }
    if (dir)
        (void)closedir(dir);
}

/* Looks again; tells if something is new. */
static void check(tr_dev_watcher *w, watched *of, bool first)
{
    look l = {0};
    look_at(&l, of->directory, 0);
    bool changed = l.newest_ns != of->newest_ns || l.seen != of->seen;
    of->newest_ns = l.newest_ns;
    of->seen = l.seen;
    if (changed && !first)
        w->changed(w->ctx, of->function, l.newest);
}

static void *watch(void *arg)
{
    tr_dev_watcher *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&w->wake, &w->lock, &until);
        (void)pthread_mutex_unlock(&w->lock);
        for (watched *of = w->all; of; of = of->next)
            check(w, of, false);
        (void)pthread_mutex_lock(&w->lock);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* The directory of "handler:src/trigger.handler"; of other code the directory it is run in, if one is named.
 */
static bool directory_of(const tr_project_function *f, char *out)
{
    const char *module = strncmp(f->target, "handler:", 8) == 0 ? f->target + 8 : NULL;
    const char *base = f->directory ? f->directory : ".", *slash = module ? strrchr(module, '/') : NULL;
    if (!module && !f->directory)
        return false;
    int n = slash ? snprintf(out, PATH_SIZE, "%s/%.*s", base, (int)(slash - module), module)
                  : snprintf(out, PATH_SIZE, "%s", base);
    return n > 0 && n < PATH_SIZE;
}

static void free_watcher(tr_dev_watcher *w)
{
    for (watched *of; (of = w->all) != NULL;) {
        w->all = of->next;
        tr_free(of);
    }
    (void)pthread_mutex_destroy(&w->lock);
    (void)pthread_cond_destroy(&w->wake);
    tr_free(w);
}

int tr_dev_watch(const tr_project *p, void (*changed)(void *ctx, const char *function, const char *file),
                 void *ctx, tr_dev_watcher **ret_watcher, tr_error *err)
{
    tr_dev_watcher *w = tr_calloc(1, sizeof *w);
    if (!w)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    w->changed = changed;
    w->ctx = ctx;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->wake, NULL);
    for (const tr_project_function *f = p->functions; f; f = f->next) {
        watched *of = tr_calloc(1, sizeof *of);
        if (!of) {
            free_watcher(w);
            return tr_fail(err, TR_ENOMEM, "out of memory");
        }
        of->function = f->name;
        of->next = w->all;
        if (!directory_of(f, of->directory)) {
            tr_free(of);
            continue;
        }
        w->all = of;
        check(w, of, true);
    }
    if (pthread_create(&w->thread, NULL, watch, w)) {
        free_watcher(w);
        return tr_fail(err, TR_EIO, "cannot start a thread");
    }
    *ret_watcher = w;
    return 0;
}

void tr_dev_watch_end(tr_dev_watcher *w)
{
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    free_watcher(w);
}
