/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700 /* nftw */
#include "api/kept.h"

#include <tailrace/json.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A description's file: some hundred bytes for each index. */
#define FILE_MAX ((size_t)1024 * 1024)

static const char *const folders[] = {[TR_KEPT_BACKUPS] = "backups",
                                      [TR_KEPT_EXPORTS] = "exports",
                                      [TR_KEPT_IMPORTS] = "imports",
                                      [TR_KEPT_RESTORES] = "restores"};

void tr__kept_id(int64_t now_ms, char out[TR_KEPT_ID])
{
    uint8_t random[4];
    tr_random_bytes(random, sizeof random);
    (void)snprintf(out, TR_KEPT_ID, "%014lld-%02x%02x%02x%02x", (long long)now_ms, random[0], random[1],
                   random[2], random[3]);
}

char *tr__kept_path(const tr_api *api, tr_kept_kind kind, const char *arn, const char *ending,
                    tr_arena *arena)
{
    const char *id = strrchr(arn, '/');
    return tr_arena_printf(arena, "%s/%s/%s%s", api->dir, folders[kind], id ? id + 1 : arn, ending);
}

int tr__kept_folder(const tr_api *api, tr_kept_kind kind, const char *arn, tr_arena *arena,
                    const char **ret_dir, tr_error *err)
{
    const char *folder = tr_arena_printf(arena, "%s/%s", api->dir, folders[kind]);
    const char *dir = tr__kept_path(api, kind, arn, "", arena);
    if (!folder || !dir)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    if (mkdir(folder, 0700) && errno != EEXIST)
        return tr_fail(err, TR_EIO, "%s: %s", folder, strerror(errno));
    *ret_dir = dir;
    return 0;
}

/* ------------------------------------------------------------------------------------------------- files */

static int write_all(int fd, tr_view text)
{
    while (text.len) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n < 0 && errno != EINTR)
            return TR_EIO;
        if (n > 0)
            text = tr_view_of(text.ptr + n, text.len - (size_t)n);
    }
    return 0;
}

/* The file as a whole, or not at all. */
static int write_file(const char *path, tr_view text, tr_error *err)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
        return tr_fail(err, TR_EINVAL, "%s: too long a path", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int e = fd < 0 ? TR_EIO : write_all(fd, text);
    if (fd >= 0 && e == 0 && fsync(fd))
        e = TR_EIO;
    if (fd >= 0 && close(fd) && e == 0)
        e = TR_EIO;
    if (e == 0 && rename(part, path))
        e = TR_EIO;
    return e ? tr_fail(err, e, "%s: %s", path, strerror(errno)) : 0;
}

static int save(const tr_api *api, tr_kept_kind kind, const tr_kept *k, tr_error *err)
{
    tr_arena arena;
    tr_buf text;
    tr_json_writer w;
    if (!api->dir)
        return 0;
    tr_arena_init(&arena, 64 * 1024);
    tr_buf_init(&text, 2 * FILE_MAX);
    tr_json_write_init(&w, &text);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "arn", k->arn);
    tr_json_member_i64(&w, "created", k->created_ms);
    tr_json_name(&w, "description");
    tr_json_value(&w, tr_view_str(k->json));
    if (k->request) {
        tr_json_name(&w, "request");
        tr_json_value(&w, tr_view_str(k->request));
    }
    tr_json_end_object(&w);
    const char *folder = tr_arena_printf(&arena, "%s/%s", api->dir, folders[kind]);
    const char *path = tr__kept_path(api, kind, k->arn, ".json", &arena);
    int e = folder && path ? tr_buf_status(&text) : TR_ENOMEM;
    if (e)
        (void)tr_fail(err, e, "out of memory");
    if (e == 0 && mkdir(folder, 0700) && errno != EEXIST)
        e = tr_fail(err, TR_EIO, "%s: %s", folder, strerror(errno));
    if (e == 0)
        e = write_file(path, tr_buf_view(&text), err);
    tr_buf_done(&text);
    tr_arena_done(&arena);
    return e;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    (void)remove(path);
    return 0;
}

void tr__remove_tree(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* -------------------------------------------------------------------------------------------------- list */

static void kept_free(tr_api *api, tr_kept *k)
{
    if (k->snapshot)
        tr_engine_snapshot_free(api->engine, k->snapshot);
    tr_engine_table_copy_free(k->table);
    tr_free(k->json);
    tr_free(k->request);
    tr_free(k);
}

static char *text_copy(tr_view text)
{
    char *copy = tr_malloc(text.len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return copy;
}

static tr_kept *kept_alloc(tr_view arn, int64_t created_ms, tr_view json, tr_view request)
{
    tr_kept *k = tr_calloc(1, sizeof *k);
    if (!k || arn.len > TR_ARN_MAX || !(k->json = text_copy(json)) ||
        (request.len && !(k->request = text_copy(request)))) {
        if (k)
            tr_free(k->json);
        tr_free(k);
        return NULL;
    }
    memcpy(k->arn, arn.ptr, arn.len);
    k->created_ms = created_ms;
    return k;
}

/* Newest first. */
static void insert(tr_api *api, tr_kept_kind kind, tr_kept *k)
{
    tr_kept **at = &api->kept[kind];
    while (*at && (*at)->created_ms > k->created_ms)
        at = &(*at)->next;
    k->next = *at;
    *at = k;
}

int tr__kept_add(tr_api *api, tr_kept_kind kind, const char *arn, int64_t created_ms, tr_view json,
                 tr_view request, tr_kept **ret_kept, tr_error *err)
{
    size_t count = 0;
    for (const tr_kept *k = api->kept[kind]; k; k = k->next)
        count++;
    if (count >= TR_KEPT_MAX)
        return tr_fail(err, TR_ELIMIT, "there are %d %s already", TR_KEPT_MAX, folders[kind]);
    tr_kept *k = kept_alloc(tr_view_str(arn), created_ms, json, request);
    if (!k)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    int e = save(api, kind, k, err);
    if (e) {
        kept_free(api, k);
        return e;
    }
    insert(api, kind, k);
    *ret_kept = k;
    return 0;
}

int tr__kept_set(tr_api *api, tr_kept_kind kind, tr_kept *k, tr_view json, bool done, tr_error *err)
{
    char *copy = text_copy(json);
    if (!copy)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    tr_free(k->json);
    k->json = copy;
    if (done) {
        tr_free(k->request);
        k->request = NULL;
    }
    return save(api, kind, k, err);
}

void tr__kept_remove(tr_api *api, tr_kept_kind kind, tr_kept *k)
{
    tr_arena arena;
    tr_kept **at = &api->kept[kind];
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    tr_arena_init(&arena, 64 * 1024);
    const char *file = api->dir ? tr__kept_path(api, kind, k->arn, ".json", &arena) : NULL;
    if (file)
        (void)unlink(file);
    tr_arena_done(&arena);
    kept_free(api, k);
}

tr_kept *tr__kept_find(const tr_api *api, tr_kept_kind kind, tr_view arn)
{
    for (tr_kept *k = api->kept[kind]; k; k = k->next)
        if (tr_view_is(arn, k->arn))
            return k;
    return NULL;
}

tr_view tr__kept_text(const tr_kept *k, const char *path, tr_arena *arena)
{
    tr_view json = tr_view_str(k->json), none = {NULL, 0};
    char name[64];
    for (;;) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof name)
            return none;
        memcpy(name, path, n);
        name[n] = 0;
        if (tr_json_member(json, name, arena, &json))
            return none;
        if (!path[n])
            break;
        path += n + 1;
    }
    tr_json_reader r;
    tr_json_init(&r, json, arena);
    return tr_json_next(&r) == TR_JSON_STRING ? r.text : json;
}

/* -------------------------------------------------------------------------------------------------- load */

static int read_file(const char *path, tr_buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    if (fd < 0)
        return TR_EIO;
    do {
        if (tr_buf_reserve(out, 4096))
            break;
        n = read(fd, out->ptr + out->len, out->cap - out->len);
        if (n > 0)
            out->len += (size_t)n;
    } while (n > 0 || (n < 0 && errno == EINTR));
    (void)close(fd);
    return n == 0 ? 0 : TR_EIO;
}

/* `name`: of the file, which its ARN ends with. */
static void load_one(tr_api *api, tr_kept_kind kind, const char *path, tr_view name)
{
    tr_arena arena;
    tr_buf text;
    tr_view arn, created, description, request;
    tr_json_reader r;
    int64_t ms = 0;
    tr_arena_init(&arena, 4 * FILE_MAX);
    tr_buf_init(&text, FILE_MAX);
    tr_kept *k = NULL;
    if (read_file(path, &text) == 0 && tr_json_member(tr_buf_view(&text), "arn", &arena, &arn) == 0 &&
        tr_json_member(tr_buf_view(&text), "created", &arena, &created) == 0 &&
        tr_json_member(tr_buf_view(&text), "description", &arena, &description) == 0) {
        if (tr_json_member(tr_buf_view(&text), "request", &arena, &request))
            request = (tr_view){NULL, 0};
        tr_json_init(&r, created, &arena);
        if (tr_json_next(&r) == TR_JSON_NUMBER && tr_json_int(&r, &ms) == 0 && arn.len > 2)
            k = kept_alloc(tr_view_of(arn.ptr + 1, arn.len - 2), ms, description, request);
    }
    const char *id = k ? strrchr(k->arn, '/') : NULL;
    if (id && tr_view_is(name, id + 1))
        insert(api, kind, k);
    else if (k)
        kept_free(api, k);
    tr_buf_done(&text);
    tr_arena_done(&arena);
}

/* A copy of the store that nobody needs: its description was not written, since the server ended before, or
 * its work is done. */
static void remove_orphan(const tr_api *api, tr_kept_kind kind, const char *path, tr_view name)
{
    for (const tr_kept *k = api->kept[kind]; k; k = k->next) {
        const char *id = strrchr(k->arn, '/');
        if (id && tr_view_is(name, id + 1) && (kind == TR_KEPT_BACKUPS || k->request))
            return;
    }
    tr__remove_tree(path);
}

/* A copy's directory has the form of an ID; nothing else is touched. */
static bool is_id(tr_view name)
{
    size_t digits = 0;
    while (digits < name.len && name.ptr[digits] >= '0' && name.ptr[digits] <= '9')
        digits++;
    return digits >= 13 && digits + 9 == name.len && name.ptr[digits] == '-';
}

/* First the descriptions, then (orphans) the directories that belong to none. */
static void load_folder(tr_api *api, tr_kept_kind kind, const char *folder, bool orphans)
{
    DIR *d = opendir(folder);
    if (!d)
        return; /* nothing was kept */
    for (const struct dirent *entry; (entry = readdir(d));) {
        tr_view name = tr_view_str(entry->d_name);
        char path[4096];
        if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path)
            continue;
        if (orphans && is_id(name))
            remove_orphan(api, kind, path, name);
        else if (!orphans && name.len > 5 && strcmp(entry->d_name + name.len - 5, ".json") == 0)
            load_one(api, kind, path, tr_view_of(name.ptr, name.len - 5));
    }
    (void)closedir(d);
}

int tr__kept_load(tr_api *api)
{
    char folder[4096];
    for (int kind = 0; api->dir && kind < TR_KEPT_KINDS; kind++)
        if (snprintf(folder, sizeof folder, "%s/%s", api->dir, folders[kind]) < (int)sizeof folder) {
            load_folder(api, (tr_kept_kind)kind, folder, false);
            if (kind != TR_KEPT_IMPORTS)
                load_folder(api, (tr_kept_kind)kind, folder, true);
        }
    return 0;
}

void tr__kept_done(tr_api *api)
{
    for (int kind = 0; kind < TR_KEPT_KINDS; kind++)
        while (api->kept[kind]) {
            tr_kept *k = api->kept[kind];
            api->kept[kind] = k->next;
            kept_free(api, k);
        }
}

/* -------------------------------------------------------------------------------------------------- jobs */

int tr__job_check(tr_call *c)
{
    unsigned count = c->api->sources;
    for (const tr_job *job = c->api->jobs; job; job = job->next)
        count += !job->aside;
    if (count < TR_JOBS_MAX)
        return 0;
    return tr__fail(
        c, 400, TR_TYPE("LimitExceededException"),
        "Subscriber limit exceeded: There is a limit of %d simultaneous restores, exports and imports",
        TR_JOBS_MAX);
}

static void *run_work(void *ctx)
{
    tr_task *w = ctx;
    w->fn(w->ctx);
    atomic_store_explicit(&w->busy, false, memory_order_release);
    return NULL;
}

void tr__task_begin(tr_task *w, void (*fn)(void *), void *ctx)
{
    w->fn = fn;
    w->ctx = ctx;
    atomic_store_explicit(&w->busy, true, memory_order_relaxed);
    w->running = pthread_create(&w->thread, NULL, run_work, w) == 0;
    if (!w->running)
        (void)run_work(w);
}

bool tr__task_done(const tr_task *w)
{
    return !atomic_load_explicit(&w->busy, memory_order_acquire);
}

void tr__task_join(tr_task *w)
{
    if (w->running)
        (void)pthread_join(w->thread, NULL);
    w->running = false;
}

void tr__job_add(tr_api *api, tr_job *job)
{
    job->next = api->jobs;
    api->jobs = job;
}

/* false: it waits for something */
static bool job_step(tr_api *api, tr_job **at)
{
    tr_job *job = *at;
    bool done = false;
    tr_error err = {.code = 0};
    job->idle = false;
    int e = job->step(api, job, &done, &err);
    if (e == 0 && !done)
        return !job->idle;
    *at = job->next;
    job->end(api, job, e, &err);
    return true;
}

/* The first goes to the end, so that the next turn begins with another. */
static void rotate(tr_api *api)
{
    tr_job *first = api->jobs, **end = &api->jobs;
    if (!first || !first->next)
        return;
    api->jobs = first->next;
    while (*end)
        end = &(*end)->next;
    first->next = NULL;
    *end = first;
}

bool tr__jobs_step(tr_api *api)
{
    /* What is written is synced with everybody's writes, so answers would wait for a lot of it. */
    if (api->jobs_ticket > tr_engine_synced(api->engine))
        return true;
    int64_t until = tr_clock_mono_ns() + TR_JOB_TURN_NS;
    size_t count = 0, idle = 0;
    for (const tr_job *job = api->jobs; job; job = job->next)
        count++;
    while (api->jobs && idle < count) {
        idle = job_step(api, &api->jobs) ? 0 : idle + 1;
        rotate(api);
        if (tr_clock_mono_ns() >= until)
            break;
    }
    api->jobs_ticket = tr_engine_ticket(api->engine);
    (void)tr_engine_flush(api->engine, NULL); /* a failed store tells all who write to it */
    return api->jobs != NULL;
}

void tr__jobs_done(tr_api *api)
{
    static const tr_error ended = {.code = TR_ECANCELED, .message = "the server was stopped"};
    while (api->jobs) {
        tr_job *job = api->jobs;
        api->jobs = job->next;
        job->end(api, job, TR_ECANCELED, &ended);
    }
}
