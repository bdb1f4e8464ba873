/* SPDX-License-Identifier: MIT */
#include "engine_test.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static int64_t clock_of(void *ctx)
{
    return ((fixture *)ctx)->now_ms;
}

void open_engine(fixture *f)
{
    CHECK(f, tr_engine_open(&f->options, &f->engine, &f->err));
}

void close_engine(fixture *f)
{
    tr_engine_close(f->engine);
    f->engine = NULL;
}

void reopen(fixture *f)
{
    close_engine(f);
    open_engine(f);
}

static int setup(void **state, bool in_memory)
{
    fixture *f = calloc(1, sizeof *f);
    f->now_ms = 1700000000000;
    f->options = (tr_engine_options){.clock_ms = clock_of, .clock_ctx = f};
    if (!in_memory) {
        strcpy(f->dir, "engine-test-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        f->options.dir = f->dir;
    }
    tr_arena_init(&f->arena, 256 * 1024 * 1024);
    open_engine(f);
    *state = f;
    return 0;
}

int setup_dir(void **state)
{
    return setup(state, false);
}

int setup_memory(void **state)
{
    return setup(state, true);
}

int teardown(void **state)
{
    fixture *f = *state;
    close_engine(f);
    if (f->dir[0])
        remove_tree(f->dir);
    tr_arena_done(&f->arena);
    free(f);
    return 0;
}

tr_item item(fixture *f, const char *json)
{
    tr_item packed;
    CHECK(f, tr_item_from_json(tr_view_str(json), &f->arena, &packed, &f->err));
    return packed;
}

const char *json_of(fixture *f, tr_item packed)
{
    tr_buf out;
    tr_buf_init(&out, 64 * 1024 * 1024);
    tr_json_writer writer;
    tr_json_write_init(&writer, &out);
    tr_item_write(&writer, packed);
    const char *text = tr_arena_str(&f->arena, tr_buf_view(&out));
    tr_buf_done(&out);
    return text;
}

void assert_item(fixture *f, tr_item packed, const char *json)
{
    if (!json) {
        assert_int_equal(packed.len, 0);
        return;
    }
    assert_string_equal(json_of(f, packed), json_of(f, item(f, json)));
}

tr_table *make_table(fixture *f, const char *name, bool ranged, tr_view_type view)
{
    tr_key_part attributes[] = {{TR_VIEW("pk"), TR_S}, {TR_VIEW("sk"), TR_S}};
    tr_table_spec spec = {
        .name = tr_view_str(name),
        .schema = {.hash_count = 1, .range_count = ranged, .hash = {attributes[0]}, .range = {attributes[1]}},
        .attributes = attributes,
        .attribute_count = ranged ? 2 : 1,
        .on_demand = true,
        .stream_view = view};
    tr_table *table;
    CHECK(f, tr_engine_create_table(f->engine, &spec, &table, &f->err));
    return table;
}

tr_write do_write(fixture *f, tr_write w)
{
    CHECK(f, tr_engine_write(f->engine, &w, 1, false, &f->arena, &f->err));
    return w;
}

tr_write put(fixture *f, tr_table *table, const char *json)
{
    return do_write(f, (tr_write){.kind = TR_WRITE_PUT, .table = table, .item = item(f, json)});
}

tr_write del(fixture *f, tr_table *table, const char *key)
{
    return do_write(f, (tr_write){.kind = TR_WRITE_DELETE, .table = table, .key = item(f, key)});
}

void settle(fixture *f)
{
    CHECK(f, tr_engine_sync_wait(f->engine, &f->err));
    CHECK(f, tr_engine_poll(f->engine, &f->err));
}

void expect_get(fixture *f, tr_table *table, const char *key, const char *json)
{
    tr_item found = {NULL, 0};
    int rc = tr_engine_get(f->engine, NULL, table, item(f, key), &f->arena, &found, &f->err);
    assert_int_equal(rc, json ? 0 : TR_ENOTFOUND);
    assert_item(f, found, json);
}
