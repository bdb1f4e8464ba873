/* SPDX-License-Identifier: MIT */
#undef _FILE_OFFSET_BITS /* it would give the functions below other names */
#include "disk.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES_MAX 20000
#define PAGE      4096
#define PATH_SIZE 4096

/* Held by each change to a file; a power cut excludes them all. */
static pthread_rwlock_t power = PTHREAD_RWLOCK_INITIALIZER;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    dev_t device;
    ino_t inode;
    off_t synced;
} files[FILES_MAX];
static size_t file_count;
static unsigned long syncs;

/* How much of the file is synced; *place is where to note it. */
static off_t synced_of(const struct stat *st, size_t *place)
{
    for (size_t i = 0; i < file_count; i++)
        if (files[i].inode == st->st_ino && files[i].device == st->st_dev) {
            *place = i;
            return files[i].synced;
        }
    *place = file_count;
    return 0;
}

static void note_synced(int fd, off_t length)
{
    struct stat st;
    size_t place;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return;
    pthread_mutex_lock(&lock);
    synced_of(&st, &place);
    if (place == FILES_MAX)
        abort();
    files[place].device = st.st_dev;
    files[place].inode = st.st_ino;
    files[place].synced = length >= 0 ? length : st.st_size;
    if (place == file_count)
        file_count++;
    syncs++;
    pthread_mutex_unlock(&lock);
}

unsigned long disk_syncs(void)
{
    return syncs;
}

/* ---------------------------------------------------------------------------- in the place of the system's
 */

#define REAL(name)                                                                                           \
    static __typeof__(name) *real;                                                                           \
    if (!real)                                                                                               \
        *(void **)&real = dlsym(RTLD_NEXT, #name);                                                           \
    pthread_rwlock_rdlock(&power)
#define DONE(type, call)                                                                                     \
    do {                                                                                                     \
        type result_ = (call);                                                                               \
        int why_ = errno;                                                                                    \
        pthread_rwlock_unlock(&power);                                                                       \
        errno = why_;                                                                                        \
        return result_;                                                                                      \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t len)
{
    REAL(write);
    DONE(ssize_t, real(fd, bytes, len));
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    REAL(pwrite);
    DONE(ssize_t, real(fd, bytes, len, at));
}

int ftruncate(int fd, off_t len)
{
    REAL(ftruncate);
    DONE(int, real(fd, len));
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    DONE(int, real(from, to));
}

int unlink(const char *path)
{
    REAL(unlink);
    struct stat st;
    if (stat(path, &st) == 0 && st.st_nlink == 1) { /* the inode may come again */
        size_t place;
        pthread_mutex_lock(&lock);
        synced_of(&st, &place);
        if (place < file_count)
            files[place] = files[--file_count];
        pthread_mutex_unlock(&lock);
    }
    DONE(int, real(path));
}

/* Nothing is synced in truth: the test would only wait. */
int fsync(int fd)
{
    pthread_rwlock_rdlock(&power);
    note_synced(fd, -1);
    pthread_rwlock_unlock(&power);
    return 0;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

/* ------------------------------------------------------------------------------------------ the power cut */

/* Calls back for each file below the directory. */
static void each_file(const char *dir, void (*fn)(const char *path, const char *relative, void *ctx),
                      void *ctx, const char *below)
{
    char path[PATH_SIZE], relative[PATH_SIZE / 2];
    (void)snprintf(path, sizeof path, "%s/%s", dir, below);
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d));) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(relative, sizeof relative, "%s%s%s", below, *below ? "/" : "", entry->d_name);
        (void)snprintf(path, sizeof path, "%s/%s", dir, relative);
        if (lstat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            each_file(dir, fn, ctx, relative);
        else if (S_ISREG(st.st_mode))
            fn(path, relative, ctx);
    }
    closedir(d);
}

typedef struct cutting {
    const char *to;
    disk_cut_kind kind;
    tr_rng *rng;
} cutting;

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void spoil(char *bytes, off_t from, off_t to, const cutting *c)
{
    for (off_t page = from; page < to;) {
        off_t next = (page / PAGE + 1) * PAGE;
        if (next > to)
            next = to;
        if (tr_rng_below(c->rng, 3) == 0)
            for (off_t i = page; i < next; i++)
                bytes[i] = c->kind == CUT_HOLES ? 0 : (char)tr_rng_next(c->rng);
        page = next;
    }
}

static void copy_file(const char *path, const char *relative, void *ctx)
{
    const cutting *c = ctx;
    char target[PATH_SIZE];
    struct stat st;
    size_t place;
    int in = open(path, O_RDONLY | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) != 0)
        abort();
    off_t synced = synced_of(&st, &place), length = st.st_size;
    if (synced > length)
        synced = length;
    bool log = ends_with(relative, ".log");
    if (c->kind == CUT_SHARP)
        length = synced;
    else if (c->kind == CUT_SHORT || !log)
        length = synced + (off_t)tr_rng_below(c->rng, (uint64_t)(length - synced) + 1);
    char *bytes = malloc((size_t)length + 1);
    if (!bytes || read(in, bytes, (size_t)length) != length)
        abort();
    close(in);
    if (log && c->kind >= CUT_HOLES)
        spoil(bytes, synced, length, c);
    (void)snprintf(target, sizeof target, "%s/%s", c->to, relative);
    for (char *slash = target; (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        (void)mkdir(target, 0700);
        *slash = '/';
    }
    FILE *out = fopen(target, "wb");
    if (!out || fwrite(bytes, 1, (size_t)length, out) != (size_t)length || fflush(out) != 0)
        abort();
    note_synced(fileno(out), length);
    (void)fclose(out);
    free(bytes);
}

void disk_cut(const char *from, const char *to, disk_cut_kind kind, tr_rng *rng)
{
    pthread_rwlock_wrlock(&power);
    each_file(from, copy_file, &(cutting){to, kind, rng}, "");
    pthread_rwlock_unlock(&power);
}

static void add_unsynced(const char *path, const char *relative, void *ctx)
{
    (void)relative;
    struct stat st;
    size_t place;
    if (stat(path, &st) == 0)
        *(uint64_t *)ctx += (uint64_t)(st.st_size - synced_of(&st, &place));
}

uint64_t disk_unsynced(const char *dir)
{
    uint64_t sum = 0;
    pthread_rwlock_wrlock(&power);
    each_file(dir, add_unsynced, &sum, "");
    pthread_rwlock_unlock(&power);
    return sum;
}

static void remove_one(const char *path, const char *relative, void *ctx)
{
    (void)relative, (void)ctx;
    (void)unlink(path);
}

void disk_remove(const char *dir)
{
    char path[PATH_SIZE];
    each_file(dir, remove_one, NULL, "");
    (void)snprintf(path, sizeof path, "%s/store", dir);
    (void)rmdir(path);
    (void)rmdir(dir);
}
