/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include "kv/kv.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct fixture {
    char dir[64], copy[80];
    tr_kv *kv;
} fixture;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void open_at(fixture *f, const char *dir)
{
    tr_error err = {0};
    int rc = tr_kv_open(&(tr_kv_options){.dir = dir}, &f->kv, &err);
    if (rc)
        print_error("%s\n", err.message);
    assert_int_equal(rc, 0);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "kv-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->copy, sizeof f->copy, "%s.copy", f->dir);
    open_at(f, f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    tr_kv_close(f->kv);
    remove_tree(f->dir);
    remove_tree(f->copy);
    free(f);
    return 0;
}

static void put(tr_kv *kv, tr_kv_family family, const char *key, const char *value)
{
    tr_kv_batch *batch;
    assert_int_equal(tr_kv_batch_new(kv, &batch), 0);
    tr_kv_batch_put(batch, family, tr_view_str(key), tr_view_str(value));
    assert_int_equal(tr_kv_batch_count(batch), 1);
    assert_int_equal(tr_kv_write(kv, batch, NULL), 0);
    tr_kv_batch_free(batch);
}

static void expect(tr_kv *kv, tr_kv_family family, const tr_kv_snapshot *snapshot, const char *key,
                   const char *value)
{
    tr_kv_pin pin = {0};
    int rc = tr_kv_get(kv, family, snapshot, tr_view_str(key), &pin, NULL);
    assert_int_equal(rc, value ? 0 : TR_ENOTFOUND);
    if (value)
        assert_view(pin.value, value);
    tr_kv_unpin(&pin);
}

static void families_and_snapshots(tr_kv *kv)
{
    put(kv, TR_KV_META, "a", "meta");
    put(kv, TR_KV_ITEMS, "a", "item");
    tr_kv_snapshot *snapshot = tr_kv_snapshot_new(kv);
    put(kv, TR_KV_ITEMS, "a", "newer");
    put(kv, TR_KV_ITEMS, "b", "later");
    expect(kv, TR_KV_META, NULL, "a", "meta");
    expect(kv, TR_KV_ITEMS, NULL, "a", "newer");
    expect(kv, TR_KV_ITEMS, snapshot, "a", "item");
    expect(kv, TR_KV_ITEMS, snapshot, "b", NULL);
    expect(kv, TR_KV_CHANGES, NULL, "a", NULL);
    tr_kv_snapshot_free(kv, snapshot);
    assert_int_equal(tr_kv_sync(kv, NULL), 0);
}

static void test_families(void **state)
{
    fixture *f = *state;
    families_and_snapshots(f->kv);
    assert_false(tr_kv_in_memory(f->kv));
}

static void test_memory(void **state)
{
    fixture *f = *state;
    tr_kv_close(f->kv);
    open_at(f, NULL);
    assert_true(tr_kv_in_memory(f->kv));
    families_and_snapshots(f->kv);
    uint64_t memory, disk;
    tr_kv_usage(f->kv, &memory, &disk);
    assert_true(memory > 0 && disk == 0);
}

/** A batch over several families survives whole; parts are joined. */
static void test_batch(void **state)
{
    fixture *f = *state;
    tr_kv_batch *batch;
    assert_int_equal(tr_kv_batch_new(f->kv, &batch), 0);
    put(f->kv, TR_KV_ITEMS, "gone", "x");
    tr_kv_batch_putv(batch, TR_KV_ITEMS, (tr_view[]){TR_VIEW("k"), TR_VIEW("ey")}, 2,
                     (tr_view[]){TR_VIEW("va"), {NULL, 0}, TR_VIEW("lue")}, 3);
    tr_kv_batch_put(batch, TR_KV_BUS, TR_VIEW("key"), (tr_view){NULL, 0});
    tr_kv_batch_delete(batch, TR_KV_ITEMS, TR_VIEW("gone"));
    assert_int_equal(tr_kv_batch_count(batch), 3);
    assert_int_equal(tr_kv_batch_size(batch), 3 + 5 + 3 + 4);
    expect(f->kv, TR_KV_ITEMS, NULL, "key", NULL);
    assert_int_equal(tr_kv_write(f->kv, batch, NULL), 0);
    tr_kv_batch_clear(batch);
    assert_int_equal(tr_kv_batch_count(batch), 0);
    tr_kv_batch_free(batch);
    assert_int_equal(tr_kv_sync(f->kv, NULL), 0);
    tr_kv_close(f->kv);
    open_at(f, f->dir);
    expect(f->kv, TR_KV_ITEMS, NULL, "key", "value");
    expect(f->kv, TR_KV_ITEMS, NULL, "gone", NULL);
    expect(f->kv, TR_KV_BUS, NULL, "key", "");
}

static void expect_at(tr_kv_iter *iter, const char *key)
{
    tr_view k, v;
    bool there = tr_kv_iter_get(iter, &k, &v);
    assert_int_equal(tr_kv_iter_status(iter, NULL), 0);
    assert_int_equal(there, key != NULL);
    if (key)
        assert_view(k, key);
}

/** Keys of one prefix of 12 bytes take the filtered path, bounds across prefixes the other: same results. */
static void test_iterate(void **state)
{
    fixture *f = *state;
    static const char *const keys[] = {"aaaaaaaaaaaa1", "bbbbbbbbbbbb1", "bbbbbbbbbbbb2", "bbbbbbbbbbbb3",
                                       "cccccccccccc1"};
    for (size_t i = 0; i < TR_COUNT(keys); i++)
        put(f->kv, TR_KV_ITEMS, keys[i], "v");
    tr_kv_iter *iter;
    tr_view lower = TR_VIEW("bbbbbbbbbbbb1"), uppers[] = {TR_VIEW("bbbbbbbbbbbb4"), TR_VIEW("c")};
    for (size_t u = 0; u < 2; u++) {
        assert_int_equal(tr_kv_iter_new(f->kv, TR_KV_ITEMS, NULL, lower, uppers[u], &iter), 0);
        tr_kv_iter_first(iter);
        expect_at(iter, keys[1]);
        tr_kv_iter_next(iter);
        expect_at(iter, keys[2]);
        tr_kv_iter_prev(iter);
        tr_kv_iter_prev(iter);
        expect_at(iter, NULL);
        tr_kv_iter_last(iter);
        expect_at(iter, keys[3]);
        tr_kv_iter_next(iter);
        expect_at(iter, NULL);
        tr_kv_iter_seek(iter, TR_VIEW("bbbbbbbbbbbb21"));
        expect_at(iter, keys[3]);
        tr_kv_iter_seek_back(iter, TR_VIEW("bbbbbbbbbbbb21"));
        expect_at(iter, keys[2]);
        tr_kv_iter_free(iter);
    }
    assert_int_equal(tr_kv_iter_new(f->kv, TR_KV_ITEMS, NULL, (tr_view){0}, (tr_view){0}, &iter), 0);
    tr_kv_iter_last(iter);
    expect_at(iter, keys[4]);
    tr_kv_iter_free(iter);
}

static void test_delete_range(void **state)
{
    fixture *f = *state;
    put(f->kv, TR_KV_CHANGES, "a", "1");
    put(f->kv, TR_KV_CHANGES, "b", "2");
    put(f->kv, TR_KV_CHANGES, "c", "3");
    tr_kv_batch *batch;
    assert_int_equal(tr_kv_batch_new(f->kv, &batch), 0);
    tr_kv_batch_delete_range(batch, TR_KV_CHANGES, TR_VIEW("a"), TR_VIEW("c"));
    assert_int_equal(tr_kv_write(f->kv, batch, NULL), 0);
    tr_kv_batch_free(batch);
    assert_int_equal(tr_kv_drop_files(f->kv, TR_KV_CHANGES, TR_VIEW("a"), TR_VIEW("c"), NULL), 0);
    expect(f->kv, TR_KV_CHANGES, NULL, "b", NULL);
    expect(f->kv, TR_KV_CHANGES, NULL, "c", "3");
}

/** A second opener is refused, in this process and in another. */
static void test_lock(void **state)
{
    fixture *f = *state;
    tr_kv *second;
    tr_error err = {0};
    assert_int_equal(tr_kv_open(&(tr_kv_options){.dir = f->dir}, &second, &err), TR_EBUSY);
    assert_non_null(strstr(err.message, "in use"));
    pid_t child = fork();
    if (child == 0)
        _exit(tr_kv_open(&(tr_kv_options){.dir = f->dir}, &second, NULL) == TR_EBUSY ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_format(void **state)
{
    fixture *f = *state;
    tr_kv_close(f->kv);
    f->kv = NULL;
    tr_error err = {0};
    static const struct {
        const char *text;
        int code;
    } cases[] = {{"tailrace 2\n", TR_EVERSION},
                 {"something\n", TR_ECORRUPT},
                 {"", TR_ECORRUPT},
                 {"tailrace 0\n", TR_ECORRUPT}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        write_file(f->dir, "FORMAT", cases[i].text);
        assert_int_equal(tr_kv_open(&(tr_kv_options){.dir = f->dir}, &f->kv, &err), cases[i].code);
    }
    char path[128];
    snprintf(path, sizeof path, "%s/FORMAT", f->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(tr_kv_open(&(tr_kv_options){.dir = f->dir}, &f->kv, &err), TR_ECORRUPT);
    write_file(f->dir, "FORMAT", "tailrace 1\n");
    open_at(f, f->dir);
}

static unsigned files_ending(const fixture *f, const char *suffix)
{
    char path[128];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/store", f->dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name), n = strlen(suffix);
        count += len > n && !strcmp(entry->d_name + len - n, suffix);
    }
    closedir(dir);
    return count;
}

/** The ground of the changes is laid with the first of them, once. */
static void test_ground(void **state)
{
    fixture *f = *state;
    put(f->kv, TR_KV_ITEMS, "a", "1");
    assert_int_equal(files_ending(f, ".sst"), 0);
    put(f->kv, TR_KV_CHANGES, "a", "1");
    assert_int_equal(files_ending(f, ".sst"), 1);
    put(f->kv, TR_KV_CHANGES, "b", "2");
    tr_kv_close(f->kv);
    open_at(f, f->dir);
    put(f->kv, TR_KV_CHANGES, "c", "3");
    assert_int_equal(files_ending(f, ".sst"), 1);
    expect(f->kv, TR_KV_CHANGES, NULL, "a", "1");
    expect(f->kv, TR_KV_CHANGES, NULL, "b", "2");
}

/** What a start leaves behind that did not come to its end is begun anew, but a store is never taken for
 * that. */
static void test_half_made(void **state)
{
    fixture *f = *state;
    tr_error err = {0};
    tr_kv_close(f->kv);
    f->kv = NULL;
    remove_tree(f->dir);
    assert_int_equal(mkdir(f->dir, 0700), 0);
    char path[128];
    snprintf(path, sizeof path, "%s/store", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(f->dir, "FORMAT", "tailrace 1\n");
    write_file(f->dir, "store/MANIFEST-000001", "half");
    write_file(f->dir, "store/CURRENT.new", "");
    open_at(f, f->dir);
    put(f->kv, TR_KV_BUS, "a", "1");
    assert_int_equal(tr_kv_sync(f->kv, NULL), 0);
    tr_kv_close(f->kv);
    f->kv = NULL;
    snprintf(path, sizeof path, "%s/store/CURRENT", f->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(tr_kv_open(&(tr_kv_options){.dir = f->dir}, &f->kv, &err), TR_ECORRUPT);
    assert_non_null(strstr(err.message, "CURRENT is missing"));
    assert_true(files_ending(f, ".log") > 0);
}

/** A copy holds what was written, also what has not been synced. */
static void test_checkpoint(void **state)
{
    fixture *f = *state;
    put(f->kv, TR_KV_ITEMS, "a", "1");
    assert_int_equal(tr_kv_sync(f->kv, NULL), 0);
    put(f->kv, TR_KV_ITEMS, "b", "2");
    tr_error err = {0};
    int rc = tr_kv_checkpoint(f->kv, f->copy, &err);
    assert_int_equal(rc, 0);
    assert_int_equal(tr_kv_checkpoint(f->kv, f->copy, &err), TR_EEXIST);
    put(f->kv, TR_KV_ITEMS, "c", "3");
    fixture g = {0};
    open_at(&g, f->copy);
    expect(g.kv, TR_KV_ITEMS, NULL, "a", "1");
    expect(g.kv, TR_KV_ITEMS, NULL, "b", "2");
    expect(g.kv, TR_KV_ITEMS, NULL, "c", NULL);
    tr_kv_close(g.kv);
}

/* ------------------------------------------------------------------------------------- the log's end */

#define BATCHES    200
#define VALUE_SIZE 1000

/* Writes BATCHES batches, of which the first `synced` are synced; then closes. */
static void write_batches(fixture *f, int synced)
{
    char key[16], value[VALUE_SIZE + 1];
    memset(value, 'x', VALUE_SIZE);
    value[VALUE_SIZE] = 0;
    for (int i = 0; i < BATCHES; i++) {
        snprintf(key, sizeof key, "key%05d", i);
        put(f->kv, i % 2 ? TR_KV_ITEMS : TR_KV_CHANGES, key, value);
        if (i + 1 == synced)
            assert_int_equal(tr_kv_sync(f->kv, NULL), 0);
    }
    tr_kv_close(f->kv);
    f->kv = NULL;
}

/* How many batches there are, given that there is no gap. */
static int count_batches(tr_kv *kv)
{
    int count = 0;
    bool ended = false;
    for (int i = 0; i < BATCHES; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%05d", i);
        tr_kv_pin pin = {0};
        int rc = tr_kv_get(kv, i % 2 ? TR_KV_ITEMS : TR_KV_CHANGES, NULL, tr_view_str(key), &pin, NULL);
        tr_kv_unpin(&pin);
        assert_true(rc == 0 || rc == TR_ENOTFOUND);
        assert_false(ended && rc == 0);
        ended = rc != 0;
        count += rc == 0;
    }
    return count;
}

static void log_path(fixture *f, char *out, size_t size)
{
    char store[80], newest[80] = "";
    snprintf(store, sizeof store, "%s/store", f->dir);
    DIR *dir = opendir(store);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        if (strstr(e->d_name, ".log") && strlen(e->d_name) < sizeof newest && strcmp(e->d_name, newest) > 0)
            snprintf(newest, sizeof newest, "%s", e->d_name);
    closedir(dir);
    snprintf(out, size, "%s/%s", store, newest);
}

typedef enum damage { SHORTER, ZEROS, GARBAGE, BIT } damage;

/* Damages the log at a share of its length, in permille. */
static void harm(fixture *f, damage what, long permille)
{
    char path[200];
    log_path(f, path, sizeof path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    long size = ftell(file), at = size * permille / 1000;
    assert_true(size > BATCHES * VALUE_SIZE);
    if (what == SHORTER) {
        assert_int_equal(ftruncate(fileno(file), at), 0);
    } else {
        fseek(file, at, SEEK_SET);
        for (int i = 0; i < (what == BIT ? 1 : 5000); i++)
            fputc(what == ZEROS ? 0 : what == BIT ? 'y' : (i * 7919) >> 3 & 255, file);
    }
    fclose(file);
}

/** Whatever becomes of the unsynced end of the log, what comes back is a whole number of batches without a
 * gap, with all that was synced; and the store goes on from there. */
static void test_torn_log(void **state)
{
    fixture *f = *state;
    static const damage kinds[] = {SHORTER, ZEROS, GARBAGE, BIT};
    for (size_t k = 0; k < TR_COUNT(kinds); k++)
        for (long permille = 505; permille < 1000; permille += 45) {
            write_batches(f, BATCHES / 2);
            harm(f, kinds[k], permille);
            open_at(f, f->dir);
            int count = count_batches(f->kv);
            assert_in_range(count, BATCHES / 2, BATCHES * permille / 1000 + 1);
            put(f->kv, TR_KV_META, "later", "1");
            assert_int_equal(tr_kv_sync(f->kv, NULL), 0);
            tr_kv_close(f->kv);
            open_at(f, f->dir);
            assert_int_equal(count_batches(f->kv), count);
            expect(f->kv, TR_KV_META, NULL, "later", "1");
            tr_kv_close(f->kv);
            remove_tree(f->dir);
            open_at(f, f->dir);
        }
}

/** Damage in what was durable is not taken for a torn end. */
static void test_damaged_log(void **state)
{
    fixture *f = *state;
    static const damage kinds[] = {ZEROS, GARBAGE, BIT};
    for (size_t k = 0; k < TR_COUNT(kinds); k++)
        for (long permille = 5; permille < 470; permille += 90) {
            write_batches(f, BATCHES / 2);
            harm(f, kinds[k], permille);
            tr_error err = {0};
            assert_int_equal(tr_kv_open(&(tr_kv_options){.dir = f->dir}, &f->kv, &err), TR_ECORRUPT);
            f->kv = NULL;
            remove_tree(f->dir);
            open_at(f, f->dir);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_families, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_iterate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_format, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ground, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_log, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
