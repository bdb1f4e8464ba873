/* SPDX-License-Identifier: MIT */
#include "engine_test.h"

#define A  "{\"pk\":{\"S\":\"a\"}}"
#define A1 "{\"pk\":{\"S\":\"a\"},\"n\":{\"N\":\"1\"}}"
#define A2 "{\"pk\":{\"S\":\"a\"},\"n\":{\"N\":\"2\"}}"

/** Answers come from the last synced state, writes see the latest; both survive a restart. */
static void test_put_get_delete(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_VIEW_NONE);
    tr_write w = put(f, t, A1);
    assert_true(w.changed);
    assert_item(f, w.before, NULL);
    assert_item(f, w.after, A1);
    expect_get(f, t, A, NULL);
    w = put(f, t, A2);
    assert_item(f, w.before, A1);
    settle(f);
    expect_get(f, t, A, A2);
    assert_int_equal(t->item_count, 1);
    if (f->dir[0]) {
        reopen(f);
        t = tr_engine_table(f->engine, TR_VIEW("t"));
        assert_non_null(t);
        expect_get(f, t, A, A2);
        assert_int_equal(t->item_count, 1);
        assert_int_equal(t->size_bytes, tr_item_size(item(f, A2)));
    }
    w = del(f, t, A);
    assert_true(w.changed);
    w = del(f, t, A);
    assert_false(w.changed);
    settle(f);
    expect_get(f, t, A, NULL);
    assert_int_equal(t->item_count, 0);
    assert_int_equal(t->size_bytes, 0);
}

static void test_tickets(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_VIEW_NONE);
    assert_int_equal(tr_engine_ticket(f->engine), 0);
    put(f, t, A1);
    uint64_t ticket = tr_engine_ticket(f->engine);
    assert_true(ticket > tr_engine_synced(f->engine));
    /* An unchanged or refused write depends on what it saw. */
    tr_write w = put(f, t, A1);
    assert_false(w.changed);
    assert_int_equal(tr_engine_ticket(f->engine), ticket);
    CHECK(f, tr_engine_flush(f->engine, &f->err));
    assert_true(tr_engine_ticket(f->engine) == ticket || tr_engine_synced(f->engine) >= ticket);
    CHECK(f, tr_engine_sync_wait(f->engine, &f->err));
    assert_true(tr_engine_synced(f->engine) >= ticket);
    assert_int_equal(tr_engine_ticket(f->engine), 0);
}

static void test_catalogue(void **state)
{
    fixture *f = *state;
    make_table(f, "b", true, TR_NEW_IMAGE);
    make_table(f, "c", false, TR_VIEW_NONE);
    make_table(f, "a", false, TR_VIEW_NONE);
    tr_table *t;
    assert_int_equal(tr_engine_create_table(f->engine, &(tr_table_spec){.name = TR_VIEW("a")}, &t, &f->err),
                     TR_EEXIST);
    reopen(f);
    static const char *const names[] = {"a", "b", "c"};
    tr_view after = {NULL, 0};
    for (size_t i = 0; i < 3; i++) {
        t = tr_engine_next_table(f->engine, after);
        assert_non_null(t);
        assert_view(t->name, names[i]);
        after = t->name;
    }
    assert_null(tr_engine_next_table(f->engine, after));
    t = tr_engine_table(f->engine, TR_VIEW("b"));
    assert_view(t->arn, "arn:aws:dynamodb:us-east-1:000000000000:table/b");
    assert_int_equal(t->created_ms, f->now_ms);
    assert_int_equal(t->schema.range_count, 1);
    assert_view(t->schema.range[0].name, "sk");
    assert_int_equal(t->attribute_count, 2);
    assert_non_null(t->stream);
    assert_view(t->stream->arn,
                "arn:aws:dynamodb:us-east-1:000000000000:table/b/stream/2023-11-14T22:13:20.000");
    assert_int_equal(t->stream->view, TR_NEW_IMAGE);
    tr_tag tags[] = {{TR_VIEW("k"), TR_VIEW("v")}};
    tr_table_change change = {.set_tags = true,
                              .tags = tags,
                              .tag_count = 1,
                              .set_ttl = true,
                              .ttl_attribute = TR_VIEW("expires"),
                              .set_billing = true};
    put(f, t, "{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"a\"}}");
    CHECK(f, tr_engine_update_table(f->engine, t, &change, &f->err));
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("b"));
    assert_view(t->tags[0].value, "v");
    assert_view(t->ttl_attribute, "expires");
    assert_false(t->on_demand);
    assert_int_equal(t->billing_changed_ms, f->now_ms);
    assert_int_equal(t->item_count, 1);
    CHECK(f, tr_engine_delete_table(f->engine, t, &f->err));
    assert_null(tr_engine_table(f->engine, TR_VIEW("b")));
    tr_engine_tick(f->engine);
    reopen(f);
    assert_null(tr_engine_table(f->engine, TR_VIEW("b")));
    assert_non_null(tr_engine_next_stream(f->engine, (tr_view){NULL, 0}));
    t = make_table(f, "b", true, TR_VIEW_NONE);
    expect_get(f, t, "{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"a\"}}", NULL);
}

/** All or nothing; outcomes of all are told. */
static void test_atomic(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_NEW_AND_OLD_IMAGES);
    put(f, t, A1);
    tr_path path;
    const tr_condition *absent;
    CHECK(f, tr_path_of(&f->arena, TR_VIEW("pk"), &path));
    tr_operand operand = tr_operand_path(path);
    CHECK(f, tr_condition_of(&f->arena, tr_cond_test(&f->arena, TR_COND_NOT_EXISTS, &operand, 1), &absent));
    tr_item b = item(f, "{\"pk\":{\"S\":\"b\"}}");
    tr_write writes[] = {
        {.kind = TR_WRITE_PUT, .table = t, .item = b},
        {.kind = TR_WRITE_DELETE, .table = t, .key = item(f, A), .condition = absent},
        {.kind = TR_WRITE_CHECK, .table = t, .key = item(f, "{\"pk\":{\"S\":\"c\"}}"), .condition = absent}};
    CHECK(f, tr_engine_write(f->engine, writes, 3, true, &f->arena, &f->err));
    assert_int_equal(writes[0].outcome, TR_WRITE_DONE);
    assert_int_equal(writes[1].outcome, TR_WRITE_CONDITION_FAILED);
    assert_int_equal(writes[2].outcome, TR_WRITE_DONE);
    assert_item(f, writes[1].before, A1);
    settle(f);
    expect_get(f, t, "{\"pk\":{\"S\":\"b\"}}", NULL);
    expect_get(f, t, A, A1);
    writes[1].condition = NULL;
    CHECK(f, tr_engine_write(f->engine, writes, 3, true, &f->arena, &f->err));
    settle(f);
    expect_get(f, t, "{\"pk\":{\"S\":\"b\"}}", "{\"pk\":{\"S\":\"b\"}}");
    expect_get(f, t, A, NULL);
    assert_int_equal(t->item_count, 1);
}

/* -------------------------------------------------------------------------------------------- cursors */

static void collect(fixture *f, tr_cursor_spec spec, char *out)
{
    tr_cursor *cursor;
    CHECK(f, tr_cursor_new(f->engine, &spec, &cursor, &f->err));
    tr_item found;
    int rc;
    out[0] = 0;
    while ((rc = tr_cursor_next(cursor, &found, &f->err)) == 0) {
        tr_value sk;
        assert_int_equal(tr_item_get(found, TR_VIEW("sk"), &sk), 0);
        snprintf(out + strlen(out), 16, "%.*s ", TR_FMT(sk.payload));
    }
    assert_int_equal(rc, TR_ENOTFOUND);
    tr_cursor_free(cursor);
}

static tr_value text(const char *s)
{
    return (tr_value){TR_S, tr_view_str(s)};
}

static void test_query(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", true, TR_VIEW_NONE);
    static const char *const keys[] = {"a", "ab", "abc", "b", "c"};
    for (size_t i = 0; i < TR_COUNT(keys); i++)
        for (int p = 0; p < 3; p++) {
            char json[128];
            snprintf(json, sizeof json, "{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"%s\"}}", p, keys[i]);
            put(f, t, json);
        }
    settle(f);
    static const struct {
        tr_range_op op;
        const char *low, *high, *forward, *backward;
    } cases[] = {
        {TR_RANGE_ALL, NULL, NULL, "a ab abc b c ", "c b abc ab a "},
        {TR_RANGE_EQ, "ab", NULL, "ab ", "ab "},
        {TR_RANGE_LT, "ab", NULL, "a ", "a "},
        {TR_RANGE_LE, "ab", NULL, "a ab ", "ab a "},
        {TR_RANGE_GT, "ab", NULL, "abc b c ", "c b abc "},
        {TR_RANGE_GE, "ab", NULL, "ab abc b c ", "c b abc ab "},
        {TR_RANGE_BETWEEN, "ab", "b", "ab abc b ", "b abc ab "},
        {TR_RANGE_BETWEEN, "b", "ab", "", ""},
        {TR_RANGE_BEGINS, "ab", NULL, "ab abc ", "abc ab "},
        {TR_RANGE_BEGINS, "", NULL, "a ab abc b c ", "c b abc ab a "},
    };
    char out[256];
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_cursor_spec spec = {.table = t, .hash = {text("p1")}, .hash_count = 1, .op = cases[i].op};
        if (cases[i].low)
            spec.low = text(cases[i].low);
        if (cases[i].high)
            spec.high = text(cases[i].high);
        collect(f, spec, out);
        assert_string_equal(out, cases[i].forward);
        spec.backward = true;
        collect(f, spec, out);
        assert_string_equal(out, cases[i].backward);
    }
    /* From a start key on, be there an item of it or not; a key outside of the range is refused. */
    tr_cursor_spec spec = {.table = t, .hash = {text("p1")}, .hash_count = 1};
    spec.after = item(f, "{\"pk\":{\"S\":\"p1\"},\"sk\":{\"S\":\"ab\"}}");
    collect(f, spec, out);
    assert_string_equal(out, "abc b c ");
    spec.backward = true;
    collect(f, spec, out);
    assert_string_equal(out, "a ");
    spec.after = item(f, "{\"pk\":{\"S\":\"p1\"},\"sk\":{\"S\":\"aa\"}}");
    collect(f, spec, out);
    assert_string_equal(out, "a ");
    tr_cursor *cursor;
    spec.after = item(f, "{\"pk\":{\"S\":\"p2\"},\"sk\":{\"S\":\"aa\"}}");
    assert_int_equal(tr_cursor_new(f->engine, &spec, &cursor, &f->err), TR_EINVAL);
}

/** Segments are disjoint and together the whole. */
static void test_scan(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", true, TR_VIEW_NONE), *other = make_table(f, "u", true, TR_VIEW_NONE);
    for (int i = 0; i < 200; i++) {
        char json[128];
        snprintf(json, sizeof json, "{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"%d\"}}", i, i);
        put(f, t, json);
        put(f, other, json);
    }
    settle(f);
    for (uint32_t segments = 1; segments <= 7; segments += 3) {
        bool seen[200] = {false};
        unsigned count = 0;
        for (uint32_t s = 0; s < segments; s++) {
            tr_cursor *cursor;
            tr_cursor_spec spec = {.table = t, .segment = s, .segments = segments, .backward = s % 2 == 1};
            CHECK(f, tr_cursor_new(f->engine, &spec, &cursor, &f->err));
            tr_item found;
            while (tr_cursor_next(cursor, &found, NULL) == 0) {
                tr_value sk;
                uint64_t n;
                assert_int_equal(tr_item_get(found, TR_VIEW("sk"), &sk), 0);
                assert_int_equal(tr_view_to_u64(sk.payload, 199, &n), 0);
                assert_false(seen[n]);
                seen[n] = true;
                count++;
            }
            tr_cursor_free(cursor);
        }
        assert_int_equal(count, 200);
    }
}

/** A snapshot goes on showing its state, also of a table that is gone. */
static void test_snapshot(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_NEW_IMAGE);
    put(f, t, A1);
    settle(f);
    tr_engine_snapshot *snapshot = tr_engine_snapshot_new(f->engine);
    assert_int_equal(tr_engine_snapshot_sequence(snapshot), 1);
    put(f, t, A2);
    settle(f);
    expect_get(f, t, A, A2);
    tr_item found;
    CHECK(f, tr_engine_get(f->engine, snapshot, t, item(f, A), &f->arena, &found, &f->err));
    assert_item(f, found, A1);
    tr_engine_snapshot_free(f->engine, snapshot);
}

/* ---------------------------------------------------------------------------------- copies and checking */

static void note_problem(void *ctx, const char *problem)
{
    snprintf(ctx, 256, "%s", problem);
}

/** A copy holds what was there when it was made, and can be opened beside the original. */
static void test_checkpoint(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_NEW_IMAGE);
    put(f, t, A1);
    char dir[80];
    snprintf(dir, sizeof dir, "%s.copy", f->dir);
    CHECK(f, tr_engine_checkpoint(f->engine, dir, &f->err));
    put(f, t, A2);
    settle(f);
    fixture copy = {.options = f->options, .now_ms = f->now_ms};
    copy.options.dir = dir;
    tr_arena_init(&copy.arena, 1 << 20);
    open_engine(&copy);
    expect_get(&copy, tr_engine_table(copy.engine, TR_VIEW("t")), A, A1);
    uint64_t problems = 1;
    CHECK(f, tr_engine_check(copy.engine, NULL, NULL, &problems, &f->err));
    assert_int_equal(problems, 0);
    close_engine(&copy);
    tr_arena_done(&copy.arena);
    remove_tree(dir);
}

/** What does not belong is found. */
static void test_check(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_VIEW_NONE);
    put(f, t, A1);
    settle(f);
    char problem[256] = "";
    uint64_t problems = 1;
    CHECK(f, tr_engine_check(f->engine, note_problem, problem, &problems, &f->err));
    assert_int_equal(problems, 0);
    char key[16] = {0};
    tr_put_be32(key, t->space);
    tr_item b = item(f, "{\"pk\":{\"S\":\"b\"}}");
    tr_kv_batch_putv(tr_engine_batch(f->engine), TR_KV_ITEMS, &(tr_view){key, sizeof key}, 1,
                     (tr_view[]){{"\1", 1}, b}, 2);
    CHECK(f, tr_engine_check(f->engine, note_problem, problem, &problems, &f->err));
    assert_int_equal(problems, 2); /* under another key, and not counted */
    assert_string_equal(problem, "table t has 2 items of 9 bytes, and counts 1 of 6");
    tr_kv_batch_put(tr_engine_batch(f->engine), TR_KV_ITEMS, (tr_view){key, sizeof key},
                    TR_VIEW("\1nonsense"));
    CHECK(f, tr_engine_check(f->engine, note_problem, problem, &problems, &f->err));
    assert_int_equal(problems, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_get_delete, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_put_get_delete, setup_memory, teardown),
        cmocka_unit_test_setup_teardown(test_tickets, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_tickets, setup_memory, teardown),
        cmocka_unit_test_setup_teardown(test_catalogue, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_atomic, setup_memory, teardown),
        cmocka_unit_test_setup_teardown(test_query, setup_memory, teardown),
        cmocka_unit_test_setup_teardown(test_scan, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_snapshot, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_check, setup_memory, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
