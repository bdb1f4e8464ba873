/* SPDX-License-Identifier: MIT */
/* The log's end after a crash: what was being written is cut off, what was durable must be there. */
#include "kv/kv_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * RocksDB forgives a log that simply ends early. A power cut can leave more than that: pages reach the disk
 * in any order, so that the unsynced end may have holes of zeros with whole records behind them, in one file
 * or the next. RocksDB either refuses such a log or, worse, reads on behind the hole. So before RocksDB opens
 * the store, its logs are walked here:
 *
 *   records ... records | torn | perhaps more records
 *                       ^ everything from here on is cut off, unless a record behind it tells that something
 *                         from here on had been durable: then the log is damaged, and is refused
 *
 * To tell the one from the other, each batch begins with a mark that carries the sequence number up to which
 * all was durable when the batch was begun.
 *
 * Format (RocksDB wiki, "Write Ahead Log File Format"): blocks of 32 KiB hold records of crc u32, length u16,
 * type u8, payload; a batch is one record (full) or several (first, middle, last), and begins with its first
 * sequence u64 and count u32, little-endian.
 */
#define BLOCK      32768
#define HEAD       7
#define RECYCLED   4 /* more bytes in heads of recycled files */
#define BATCH_HEAD 12
#define LOG_DATA   3 /* tag of what WriteBatch::PutLogData puts */
#define MARK       "tr:durable:"
#define MARK_LEN   (sizeof MARK - 1)
#define LOG_FILES  4096
#define PATH_BYTES 4096
#define CRC_MASK   0xa282ead8u
#define CRC_POLY   0x82f63b78u /* Castagnoli, reflected */

size_t tr__kv_log_mark(uint64_t durable, char *out)
{
    memcpy(out, MARK, MARK_LEN);
    tr_put_be64(out + MARK_LEN, durable);
    return MARK_LEN + 8;
}

/* ----------------------------------------------------------------------------------------------- records */

typedef enum kind { FULL = 1, FIRST, MIDDLE, LAST, RECYCLED_FULL, RECYCLED_LAST = 8, CONTROL } kind;

typedef struct record {
    kind type; /* FULL to LAST, or CONTROL for what is no part of a batch */
    tr_view payload;
    size_t end; /* where the next one may be */
} record;

typedef enum verdict { RECORD, END, TORN } verdict;

static uint32_t get_le32(const char *at)
{
    const uint8_t *p = (const uint8_t *)at;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get_le64(const char *at)
{
    return get_le32(at) | (uint64_t)get_le32(at + 4) << 32;
}

uint32_t tr__kv_log_crc(const char *bytes, size_t len)
{
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++)
                c = c & 1 ? c >> 1 ^ CRC_POLY : c >> 1;
            table[i] = c;
        }
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++)
        crc = table[(crc ^ (uint8_t)bytes[i]) & 255] ^ crc >> 8;
    crc = ~crc;
    return (crc >> 15 | crc << 17) + CRC_MASK;
}

static bool all_zero(const char *at, const char *end)
{
    while (at < end && *at == 0)
        at++;
    return at == end;
}

/* The physical record at or behind `at`. */
static verdict read_record(tr_view file, size_t at, bool check_crc, record *ret)
{
    if (BLOCK - at % BLOCK < HEAD)
        at += BLOCK - at % BLOCK; /* a trailer */
    if (at >= file.len)
        return END;
    const char *head = file.ptr + at, *end = file.ptr + file.len;
    if (file.len - at < HEAD)
        return all_zero(head, end) ? END : TORN;
    unsigned len = (uint8_t)head[4] | (unsigned)(uint8_t)head[5] << 8, type = (uint8_t)head[6];
    if (type == 0 && len == 0)
        return all_zero(head, end) ? END : TORN;
    size_t head_len = type >= RECYCLED_FULL && type <= RECYCLED_LAST ? HEAD + RECYCLED : HEAD;
    if (type < FULL || head_len + len > BLOCK - at % BLOCK || head_len + len > file.len - at)
        return TORN;
    if (check_crc && tr__kv_log_crc(head + 6, head_len - 6 + len) != get_le32(head))
        return TORN;
    ret->type = type >= CONTROL ? CONTROL : type >= RECYCLED_FULL ? (kind)(type - 4) : (kind)type;
    ret->payload = tr_view_of(head + head_len, len);
    ret->end = at + head_len + len;
    return RECORD;
}

/* ----------------------------------------------------------------------------------------------- walking */

typedef struct walk {
    bool check_crc;
    uint64_t next;    /* sequence behind the last batch seen; 0: none seen */
    bool torn;        /* the place was found: */
    size_t torn_file; /* place in the list of files */
    size_t torn_at;   /* offset of the batch */
    bool lost;        /* something durable lies behind it */
    uint64_t behind;  /* sequence of the first batch behind it; 0: none */
} walk;

/* A batch that is there whole. */
static void see_batch(walk *w, tr_view first)
{
    if (first.len < BATCH_HEAD)
        return;
    uint64_t sequence = get_le64(first.ptr);
    if (!w->torn) {
        w->next = sequence + get_le32(first.ptr + 8);
        return;
    }
    if (!w->behind)
        w->behind = sequence;
    const char *mark = first.ptr + BATCH_HEAD;
    if (first.len < BATCH_HEAD + 2 + MARK_LEN + 8 || mark[0] != LOG_DATA || mark[1] != MARK_LEN + 8 ||
        memcmp(mark + 2, MARK, MARK_LEN) != 0)
        return;
    uint64_t durable = tr_get_be64(mark + 2 + MARK_LEN);
    w->lost = w->lost || durable >= (w->next ? w->next : w->behind - 1);
}

static void tear(walk *w, size_t file, size_t at)
{
    if (w->torn)
        return;
    w->torn = true;
    w->torn_file = file;
    w->torn_at = at;
}

static void walk_file(walk *w, tr_view file, size_t number)
{
    size_t at = 0, start = 0; /* start: of the batch whose parts are being read */
    tr_view first = {NULL, 0};
    bool within = false;
    for (;;) {
        record r;
        verdict v = read_record(file, at, w->check_crc || w->torn, &r);
        if (v == END)
            break;
        bool fits = v == RECORD && (r.type == CONTROL || within == (r.type == MIDDLE || r.type == LAST));
        if (!fits) {
            tear(w, number, within ? start : at);
            within = false;
            /* Whatever there is behind it begins in another block, or with a whole or first part. */
            at = v == RECORD && (r.type == FULL || r.type == FIRST) ? at : (at / BLOCK + 1) * BLOCK;
            if (v == RECORD && r.type >= MIDDLE)
                at = r.end;
            continue;
        }
        if (r.type == FULL || r.type == FIRST) {
            first = r.payload;
            start = at;
        }
        within = r.type == FIRST || r.type == MIDDLE;
        if (r.type == FULL || r.type == LAST)
            see_batch(w, first);
        at = r.end;
    }
    if (within)
        tear(w, number, start);
}

bool tr__kv_log_torn(tr_view file, bool check_crc, size_t *ret_at)
{
    walk w = {.check_crc = check_crc};
    walk_file(&w, file, 0);
    if (w.torn)
        *ret_at = w.torn_at;
    return w.torn;
}

/* ------------------------------------------------------------------------------------------------- files */

typedef struct log_file {
    unsigned long long number;
    size_t size;
} log_file;

static int compare_files(const void *a, const void *b)
{
    const log_file *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static size_t list_files(const char *dir, log_file *files)
{
    size_t count = 0;
    DIR *d = opendir(dir);
    for (struct dirent *entry; d && (entry = readdir(d)) && count < LOG_FILES;) {
        int used = 0;
        if (sscanf(entry->d_name, "%llu.log%n", &files[count].number, &used) == 1 && used > 0 &&
            entry->d_name[used] == 0)
            count++;
    }
    if (d)
        closedir(d);
    qsort(files, count, sizeof *files, compare_files);
    return count;
}

static int open_file(const char *dir, unsigned long long number, int flags, char *path)
{
    (void)snprintf(path, PATH_BYTES, "%s/%06llu.log", dir, number);
    return open(path, flags | O_CLOEXEC);
}

static int walk_one(walk *w, const char *dir, log_file *file, size_t place, tr_error *err)
{
    char path[PATH_BYTES];
    struct stat st;
    int fd = open_file(dir, file->number, O_RDONLY, path);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int rc = tr_fail(err, TR_EIO, "cannot open %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    file->size = (size_t)st.st_size;
    /* What a killed process left in the page cache will be shown as durable: so it must be. */
    if (fsync(fd) != 0) {
        close(fd);
        return tr_fail(err, TR_EIO, "cannot sync %s: %s", path, strerror(errno));
    }
    void *map = file->size ? mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (map == MAP_FAILED)
        return tr_fail(err, TR_EIO, "cannot read %s: %s", path, strerror(errno));
    if (map) {
        walk_file(w, tr_view_of(map, file->size), place);
        munmap(map, file->size);
    }
    return 0;
}

static int cut(const char *dir, const log_file *file, size_t at, tr_error *err)
{
    char path[PATH_BYTES];
    int fd = open_file(dir, file->number, O_WRONLY, path);
    bool ok = fd >= 0 && ftruncate(fd, (off_t)at) == 0 && fsync(fd) == 0;
    int rc = ok ? 0 : tr_fail(err, TR_EIO, "cannot cut off the end of %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

int tr__kv_log_mend(const tr_kv *kv, bool check_crc, bool *ret_cut, tr_error *err)
{
    log_file *files = tr_calloc(LOG_FILES, sizeof *files);
    if (!files)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    size_t count = list_files(kv->path, files);
    walk w = {.check_crc = check_crc};
    int rc = 0;
    for (size_t i = 0; !rc && i < count; i++)
        rc = walk_one(&w, kv->path, &files[i], i, err);
    if (!rc && w.lost)
        rc = tr_fail(err, TR_ECORRUPT,
                     "the log %s/%06llu.log is damaged at byte %zu, and what was durable there is lost",
                     kv->path, files[w.torn_file].number, w.torn_at);
    if (!rc && w.torn) {
        tr_log(&kv->logger, TR_LOG_WARN, "cut off what was being written when %s was last in use", kv->dir);
        for (size_t i = count; !rc && i-- > w.torn_file;)
            rc = cut(kv->path, &files[i], i == w.torn_file ? w.torn_at : 0, err);
        *ret_cut = true;
    }
    tr_free(files);
    return rc;
}
