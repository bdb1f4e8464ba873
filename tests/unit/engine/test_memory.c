/* SPDX-License-Identifier: MIT */
/** Every allocation of ours fails once: nothing may crash, leak, or be wrong without saying so. */
#include "engine_test.h"

#include <stdlib.h>

static long allowed = -1; /* allocations until the next fails; later ones succeed again */
static long live;         /* blocks not freed yet */

static void *failing_realloc(void *ptr, size_t size)
{
    if (allowed-- == 0)
        return NULL;
    void *got = realloc(ptr, size);
    if (got && !ptr)
        live++;
    return got;
}

static void counting_free(void *ptr)
{
    live--;
    free(ptr);
}

typedef struct torture {
    tr_engine *engine;
    tr_table *table;
    tr_arena arena;
    size_t records;
} torture;

static int open_one(torture *t)
{
    tr_engine_options options = {.region = "r"};
    return tr_engine_open(&options, &t->engine, NULL);
}

static int make_one(torture *t)
{
    tr_key_part pk = {TR_VIEW("pk"), TR_S}, n = {TR_VIEW("n"), TR_N}, attributes[] = {pk, n};
    tr_index index = {.name = TR_VIEW("i"),
                      .schema = {.hash_count = 1, .range_count = 1, .hash = {pk}, .range = {n}},
                      .projection = TR_PROJECT_KEYS_ONLY};
    tr_table_spec spec = {.name = TR_VIEW("t"),
                          .schema = {.hash_count = 1, .hash = {pk}},
                          .attributes = attributes,
                          .attribute_count = 2,
                          .indexes = &index,
                          .index_count = 1,
                          .stream_view = TR_NEW_AND_OLD_IMAGES};
    return tr_engine_create_table(t->engine, &spec, &t->table, NULL);
}

static int write_one(torture *t, const char *pk, int64_t n, bool atomic)
{
    tr_buf buf;
    tr_packer p;
    tr_buf_init(&buf, 4096);
    tr_packer_init(&p, &buf);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("pk"));
    tr_pack_s(&p, tr_view_str(pk));
    tr_pack_name(&p, TR_VIEW("n"));
    tr_pack_n_i64(&p, n);
    int rc = tr_pack_item_end(&p);
    tr_write w = {.kind = TR_WRITE_PUT, .table = t->table, .item = tr_buf_view(&buf)};
    if (!rc)
        rc = tr_engine_write(t->engine, &w, 1, atomic, &t->arena, NULL);
    tr_buf_done(&buf);
    return rc;
}

static int write_a(torture *t)
{
    return write_one(t, "a", 1, false);
}

static int write_b(torture *t)
{
    return write_one(t, "b", 2, true);
}

static int write_again(torture *t)
{
    return write_one(t, "a", 3, false);
}

static int settle_all(torture *t)
{
    int rc = tr_engine_sync_wait(t->engine, NULL);
    return rc ? rc : tr_engine_poll(t->engine, NULL);
}

static int walk_index(torture *t)
{
    tr_cursor_spec spec = {.table = t->table, .index = &t->table->indexes[0]};
    tr_cursor *cursor;
    tr_item item;
    int rc = tr_cursor_new(t->engine, &spec, &cursor, NULL), count = 0;
    if (rc)
        return rc;
    while ((rc = tr_cursor_next(cursor, &item, NULL)) == 0)
        count++;
    tr_cursor_free(cursor);
    if (rc == TR_ENOTFOUND)
        assert_int_equal(count, 2);
    return rc == TR_ENOTFOUND ? 0 : rc;
}

static bool count_record(void *ctx, const tr_stream_change *change)
{
    (void)change;
    ((torture *)ctx)->records++;
    return true;
}

static int read_records(torture *t)
{
    uint64_t next;
    t->records = 0;
    int rc = tr_engine_read_stream(t->engine, t->table->stream, 0, count_record, t, &next, NULL);
    if (!rc)
        assert_int_equal(t->records, 3);
    return rc;
}

static int change_table(torture *t)
{
    tr_table_change change = {.set_ttl = true, .ttl_attribute = TR_VIEW("n"), .set_stream = true};
    return tr_engine_update_table(t->engine, t->table, &change, NULL);
}

static int tick(torture *t)
{
    while (tr_engine_tick(t->engine) == 0)
        continue;
    return 0;
}

static int token(torture *t)
{
    return tr_engine_token_put(t->engine, TR_VIEW("k"), TR_VIEW("v"), NULL);
}

static int remove_table(torture *t)
{
    return tr_engine_delete_table(t->engine, t->table, NULL);
}

static int (*const steps[])(torture *) = {open_one,     make_one,   write_a,    write_b,
                                          write_again,  settle_all, walk_index, read_records,
                                          change_table, tick,       token,      remove_table};

/* Runs all steps; one that lacks memory is tried again. Whether the run got to its end. */
static bool run(torture *t)
{
    for (size_t i = 0; i < TR_COUNT(steps); i++) {
        int rc = steps[i](t);
        if (rc == TR_ENOMEM)
            rc = steps[i](t);
        /* What could not be staged whole ends all writing. */
        if (rc == TR_EIO || rc == TR_EEXIST)
            return false;
        assert_int_equal(rc, 0);
    }
    return true;
}

static void test_allocations(void **state)
{
    (void)state;
    tr_set_allocator(failing_realloc, counting_free);
    long failures = 0, ends = 0;
    for (long n = 0;; n++) {
        torture t = {0};
        long before = live;
        tr_arena_init(&t.arena, 1 << 20);
        allowed = n;
        ends += run(&t);
        bool failed = allowed < 0;
        allowed = -1;
        tr_engine_close(t.engine);
        tr_arena_done(&t.arena);
        assert_int_equal(live, before);
        if (!failed)
            break;
        failures++;
    }
    assert_true(failures > 50 && ends > failures / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_allocations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
