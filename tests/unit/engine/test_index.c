/* SPDX-License-Identifier: MIT */
#include "engine_test.h"

#include <stdlib.h>

#define STATUS_PART                                                                                          \
    {                                                                                                        \
        TR_VIEW("status"), TR_S                                                                              \
    }
#define TOTAL_PART                                                                                           \
    {                                                                                                        \
        TR_VIEW("total"), TR_N                                                                               \
    }

static tr_index by_status(tr_projection_type projection)
{
    return (tr_index){
        .name = TR_VIEW("by-status"),
        .schema = {.hash_count = 1, .range_count = 1, .hash = {STATUS_PART}, .range = {TOTAL_PART}},
        .projection = projection};
}

static tr_index local_by_total(void)
{
    return (tr_index){
        .name = TR_VIEW("local"),
        .local = true,
        .schema = {.hash_count = 1, .range_count = 1, .hash = {{TR_VIEW("pk"), TR_S}}, .range = {TOTAL_PART}},
        .projection = TR_PROJECT_KEYS_ONLY};
}

static tr_table *indexed_table(fixture *f, tr_index *indexes, unsigned count)
{
    tr_key_part attributes[] = {{TR_VIEW("pk"), TR_S}, {TR_VIEW("sk"), TR_S}, STATUS_PART, TOTAL_PART};
    tr_table_spec spec = {
        .name = TR_VIEW("orders"),
        .schema = {.hash_count = 1, .range_count = 1, .hash = {attributes[0]}, .range = {attributes[1]}},
        .attributes = attributes,
        .attribute_count = 4,
        .indexes = indexes,
        .index_count = count};
    tr_table *table;
    CHECK(f, tr_engine_create_table(f->engine, &spec, &table, &f->err));
    return table;
}

static void put_order(fixture *f, tr_table *t, const char *pk, const char *sk, const char *status, int total)
{
    char json[256];
    snprintf(
        json, sizeof json,
        "{\"pk\":{\"S\":\"%s\"},\"sk\":{\"S\":\"%s\"},\"status\":{\"S\":\"%s\"},\"total\":{\"N\":\"%d\"},"
        "\"note\":{\"S\":\"x\"}}",
        pk, sk, status, total);
    assert_int_equal(put(f, t, json).outcome, TR_WRITE_DONE);
}

/* The sort keys that a query of the index gives. */
static const char *query(fixture *f, tr_table *t, unsigned i, const char *hash, tr_cursor_spec spec)
{
    char *out = tr_arena_calloc(&f->arena, 1, 4096);
    tr_cursor *cursor;
    spec.table = t;
    spec.index = &t->indexes[i];
    if (hash) {
        spec.hash[0] = (tr_value){TR_S, tr_view_str(hash)};
        spec.hash_count = 1;
    }
    CHECK(f, tr_cursor_new(f->engine, &spec, &cursor, &f->err));
    tr_item found;
    size_t n = 0;
    while (tr_cursor_next(cursor, &found, &f->err) == 0) {
        tr_value sk;
        assert_int_equal(tr_item_get(found, TR_VIEW("sk"), &sk), 0);
        n += (size_t)snprintf(out + n, 16, "%.*s ", TR_FMT(sk.payload));
    }
    tr_cursor_free(cursor);
    return out;
}

static tr_value number(fixture *f, int64_t n)
{
    char *out = tr_arena_alloc(&f->arena, TR_NUMBER_PACKED_MAX);
    return (tr_value){TR_N, tr_view_of(out, tr_number_from_i64(n, (uint8_t *)out))};
}

/** Entries follow their items, in order, by key and by range. */
static void test_maintained(void **state)
{
    fixture *f = *state;
    tr_index indexes[] = {by_status(TR_PROJECT_ALL), local_by_total()};
    tr_table *t = indexed_table(f, indexes, 2);
    put_order(f, t, "p", "1", "open", 30);
    put_order(f, t, "p", "2", "open", -5);
    put_order(f, t, "q", "3", "open", 100);
    put_order(f, t, "p", "4", "done", 7);
    put(f, t, "{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"5\"},\"status\":{\"S\":\"open\"}}"); /* sparse */
    settle(f);
    assert_string_equal(query(f, t, 0, "open", (tr_cursor_spec){0}), "2 1 3 ");
    assert_string_equal(query(f, t, 0, "open", (tr_cursor_spec){.backward = true}), "3 1 2 ");
    tr_cursor_spec over = {.op = TR_RANGE_GT, .low = number(f, 30)};
    assert_string_equal(query(f, t, 0, "open", over), "3 ");
    assert_string_equal(query(f, t, 1, "p", (tr_cursor_spec){0}), "2 4 1 ");
    assert_int_equal(t->indexes[0].item_count, 4);
    assert_int_equal(t->indexes[1].item_count, 4);
    put_order(f, t, "p", "1", "done", 30);
    del(f, t, "{\"pk\":{\"S\":\"q\"},\"sk\":{\"S\":\"3\"}}");
    settle(f);
    assert_string_equal(query(f, t, 0, "open", (tr_cursor_spec){0}), "2 ");
    assert_string_equal(query(f, t, 0, "done", (tr_cursor_spec){0}), "4 1 ");
    assert_int_equal(t->indexes[0].item_count, 3);
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("orders"));
    assert_string_equal(query(f, t, 0, "done", (tr_cursor_spec){0}), "4 1 ");
    assert_int_equal(t->indexes[0].item_count, 3);
    /* An exclusive start has the keys of index and table. */
    tr_cursor_spec after = {.after = item(f, "{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"4\"},\"status\":{\"S\":"
                                             "\"done\"},\"total\":{\"N\":\"7\"}}")};
    assert_string_equal(query(f, t, 0, "done", after), "1 ");
    tr_cursor *cursor;
    tr_cursor_spec bad = {.table = t, .index = &t->indexes[0], .after = item(f, "{\"pk\":{\"S\":\"p\"}}")};
    assert_int_equal(tr_cursor_new(f->engine, &bad, &cursor, &f->err), TR_EINVAL);
}

static tr_item first_entry(fixture *f, tr_table *t, unsigned i)
{
    tr_cursor *cursor;
    tr_cursor_spec spec = {.table = t, .index = &t->indexes[i]};
    CHECK(f, tr_cursor_new(f->engine, &spec, &cursor, &f->err));
    tr_item found;
    CHECK(f, tr_cursor_next(cursor, &found, &f->err));
    found = tr_arena_copy(&f->arena, found);
    tr_cursor_free(cursor);
    return found;
}

static void test_projections(void **state)
{
    fixture *f = *state;
    tr_view include[] = {TR_VIEW("note"), TR_VIEW("absent")};
    tr_index indexes[] = {by_status(TR_PROJECT_ALL), by_status(TR_PROJECT_KEYS_ONLY),
                          by_status(TR_PROJECT_INCLUDE)};
    indexes[1].name = TR_VIEW("keys");
    indexes[2].name = TR_VIEW("include");
    indexes[2].include = include;
    indexes[2].include_count = 2;
    tr_table *t = indexed_table(f, indexes, 3);
#define KEYS "\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"1\"},\"status\":{\"S\":\"open\"},\"total\":{\"N\":\"30\"}"
    put(f, t, "{" KEYS ",\"note\":{\"S\":\"x\"},\"other\":{\"L\":[]}}");
    settle(f);
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("orders"));
    assert_item(f, first_entry(f, t, 0), "{" KEYS ",\"note\":{\"S\":\"x\"},\"other\":{\"L\":[]}}");
    assert_item(f, first_entry(f, t, 1), "{" KEYS "}");
    assert_item(f, first_entry(f, t, 2), "{" KEYS ",\"note\":{\"S\":\"x\"}}");
    int64_t size = t->indexes[1].size_bytes;
    assert_int_equal(size, tr_item_size(item(f, "{" KEYS "}")));
    /* What an index does not hold changes nothing in it. */
    put(f, t, "{" KEYS ",\"note\":{\"S\":\"y\"}}");
    settle(f);
    assert_int_equal(t->indexes[1].size_bytes, size);
    assert_item(f, first_entry(f, t, 2), "{" KEYS ",\"note\":{\"S\":\"y\"}}");
}

/** Up to four attributes on each side; leading ones may be given alone. */
static void test_multi_attribute(void **state)
{
    fixture *f = *state;
    tr_index index = {.name = TR_VIEW("multi"),
                      .schema = {.hash_count = 2,
                                 .range_count = 3,
                                 .hash = {STATUS_PART, {TR_VIEW("pk"), TR_S}},
                                 .range = {TOTAL_PART, {TR_VIEW("sk"), TR_S}, {TR_VIEW("note"), TR_S}}},
                      .projection = TR_PROJECT_ALL};
    tr_table *t = indexed_table(f, &index, 1);
    put_order(f, t, "p", "1", "open", 30);
    put_order(f, t, "p", "2", "open", 30);
    put_order(f, t, "p", "3", "open", 40);
    put_order(f, t, "q", "4", "open", 30);
    settle(f);
    tr_cursor_spec spec = {.hash = {{TR_S, TR_VIEW("open")}, {TR_S, TR_VIEW("p")}}, .hash_count = 2};
    assert_string_equal(query(f, t, 0, NULL, spec), "1 2 3 ");
    spec.range[0] = number(f, 30);
    spec.range_count = 1;
    assert_string_equal(query(f, t, 0, NULL, spec), "1 2 ");
    spec.op = TR_RANGE_GE;
    spec.low = (tr_value){TR_S, TR_VIEW("2")};
    assert_string_equal(query(f, t, 0, NULL, spec), "2 ");
}

static void expect_invalid(fixture *f, tr_table *t, const char *json, const char *message)
{
    tr_write w = put(f, t, json);
    assert_int_equal(w.outcome, TR_WRITE_INVALID);
    assert_string_equal(w.error.type, "ValidationException");
    assert_string_equal(w.error.message, message);
    assert_false(w.changed);
}

static void test_wrong_types(void **state)
{
    fixture *f = *state;
    tr_index indexes[] = {by_status(TR_PROJECT_ALL)};
    tr_table *t = indexed_table(f, indexes, 1);
    expect_invalid(
        f, t, "{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"1\"},\"status\":{\"N\":\"1\"}}",
        "One or more parameter values were invalid: Type mismatch for Index Key status Expected: S "
        "Actual: N IndexName: by-status");
    expect_invalid(
        f, t, "{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"1\"},\"status\":{\"S\":\"\"}}",
        "One or more parameter values are not valid. A value specified for a secondary index key is "
        "not supported. The AttributeValue for a key attribute cannot contain an empty string value. "
        "IndexName: by-status, IndexKey: status");
}

/* An expression's environment with one value. */
static const tr_update *set_total(fixture *f, const char *json)
{
    tr_expr_env *env = tr_arena_calloc(&f->arena, 1, sizeof *env);
    const tr_update *update;
    tr_value value;
    assert_int_equal(tr_item_get(item(f, json), TR_VIEW("v"), &value), 0);
    tr_expr_env_init(env, &f->arena);
    CHECK(f, tr_expr_env_add_value(env, TR_VIEW(":v"), value));
    CHECK(f, tr_expr_env_add_name(env, TR_VIEW("#t"), TR_VIEW("total")));
    CHECK(f, tr_update_parse(env, TR_VIEW("SET #t = :v"), &update, &f->err));
    return update;
}

/** An index of a live table is filled in steps, beside writes, across a restart; what does not fit is left
 * out. */
static void test_fill(void **state)
{
    fixture *f = *state;
    tr_table *t = indexed_table(f, NULL, 0);
    char sk[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(sk, sizeof sk, "%03d", i);
        put_order(f, t, "p", sk, i % 2 ? "odd" : "even", i);
    }
    put(f, t,
        "{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"bad\"},\"status\":{\"S\":\"odd\"},\"total\":{\"S\":\"x\"}}");
    tr_index index = by_status(TR_PROJECT_ALL);
    tr_key_part attributes[] = {STATUS_PART, TOTAL_PART};
    tr_table_change change = {.create_index = &index, .new_attributes = attributes, .new_attribute_count = 2};
    CHECK(f, tr_engine_update_table(f->engine, t, &change, &f->err));
    assert_int_equal(t->indexes[0].status, TR_CREATING);
    assert_true(t->indexes[0].backfilling);
    assert_int_equal(tr_engine_tick(f->engine), 0);
    assert_true(t->indexes[0].backfilling);
    put_order(f, t, "p", "000", "odd", -1);    /* behind the filling */
    put_order(f, t, "p", "999", "even", 5000); /* before it */
    del(f, t, "{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"001\"}}");
    del(f, t, "{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"998\"}}");
    tr_write w = {.kind = TR_WRITE_UPDATE,
                  .table = t,
                  .key = item(f, "{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"002\"}}"),
                  .update = set_total(f, "{\"v\":{\"S\":\"no\"}}")};
    w = do_write(f, w);
    assert_int_equal(w.outcome, TR_WRITE_INVALID);
    assert_non_null(strstr(w.error.message, "Type mismatch for Index Key total Expected: N Actual: S"));
    settle(f);
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("orders"));
    assert_true(t->indexes[0].backfilling);
    while (tr_engine_tick(f->engine) == 0)
        continue;
    settle(f);
    assert_false(t->indexes[0].backfilling);
    assert_int_equal(t->indexes[0].status, TR_ACTIVE);
    assert_int_equal(t->indexes[0].item_count, 998);
    tr_cursor_spec spec = {.op = TR_RANGE_LE, .low = number(f, 4)};
    assert_string_equal(query(f, t, 0, "odd", spec), "000 003 ");
    spec.low = number(f, 0);
    assert_string_equal(query(f, t, 0, "even", spec), "");
    spec.op = TR_RANGE_GT;
    spec.low = number(f, 996);
    assert_string_equal(query(f, t, 0, "even", spec), "999 ");
    /* And goes again. */
    tr_table_change away = {.delete_index = TR_VIEW("by-status")};
    CHECK(f, tr_engine_update_table(f->engine, t, &away, &f->err));
    assert_int_equal(t->indexes[0].status, TR_DELETING);
    tr_engine_tick(f->engine);
    assert_int_equal(t->index_count, 0);
    put_order(f, t, "p", "000", "odd", -1);
    reopen(f);
    assert_int_equal(tr_engine_table(f->engine, TR_VIEW("orders"))->index_count, 0);
}

/* --------------------------------------------------------------------------------------------- expiry */

static void put_expiring(fixture *f, tr_table *t, const char *pk, const char *value)
{
    char json[128];
    snprintf(json, sizeof json, "{\"pk\":{\"S\":\"%s\"},\"expires\":%s}", pk, value);
    put(f, t, json);
}

static void expect_there(fixture *f, tr_table *t, const char *pk, bool there)
{
    char json[64];
    snprintf(json, sizeof json, "{\"pk\":{\"S\":\"%s\"}}", pk);
    tr_item found;
    int rc = tr_engine_get(f->engine, NULL, t, item(f, json), &f->arena, &found, &f->err);
    if (rc != (there ? 0 : TR_ENOTFOUND))
        print_error("item %s\n", pk);
    assert_int_equal(rc, there ? 0 : TR_ENOTFOUND);
}

static void ticks(fixture *f)
{
    while (tr_engine_tick(f->engine) == 0)
        continue;
    settle(f);
}

static bool expect_expired(void *ctx, const tr_stream_change *change)
{
    int *counts = ctx;
    if (change->kind == TR_CHANGE_REMOVE)
        counts[change->expired]++;
    return true;
}

/** Items go when their time has come, also those that were there before; others stay. */
static void test_expiry(void **state)
{
    fixture *f = *state;
    tr_table *t = make_table(f, "t", false, TR_NEW_AND_OLD_IMAGES);
    /* The clock stands at 1700000000 s. */
    put_expiring(f, t, "old", "{\"N\":\"1699999999\"}");
    put_expiring(f, t, "ancient", "{\"N\":\"1500000000\"}");
    put_expiring(f, t, "text", "{\"S\":\"1600000000\"}");
    put_expiring(f, t, "later", "{\"N\":\"1700000100\"}");
    put_expiring(f, t, "never", "{\"N\":\"1E+120\"}");
    put_expiring(f, t, "minus", "{\"N\":\"-1\"}");
    tr_table_change on = {.set_ttl = true, .ttl_attribute = TR_VIEW("expires")};
    CHECK(f, tr_engine_update_table(f->engine, t, &on, &f->err));
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("t"));
    f->now_ms += 1000;
    ticks(f);
    put_expiring(f, t, "new", "{\"N\":\"1700000000.5\"}");
    put_expiring(f, t, "moved", "{\"N\":\"1700000000\"}");
    put_expiring(f, t, "moved", "{\"N\":\"1700009999\"}");
    f->now_ms += 31000;
    ticks(f);
    static const struct {
        const char *pk;
        bool there;
    } cases[] = {{"old", false},  {"ancient", true}, {"text", true}, {"later", true},
                 {"never", true}, {"minus", true},   {"new", false}, {"moved", true}};
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        expect_there(f, t, cases[i].pk, cases[i].there);
    f->now_ms += 100 * 1000;
    ticks(f);
    expect_there(f, t, "later", false);
    int counts[2] = {0};
    uint64_t next;
    CHECK(f, tr_engine_read_stream(f->engine, t->stream, 0, expect_expired, counts, &next, &f->err));
    assert_int_equal(counts[true], 3);
    assert_int_equal(counts[false], 0);
    tr_table_change off = {.set_ttl = true};
    CHECK(f, tr_engine_update_table(f->engine, t, &off, &f->err));
    f->now_ms += 3600 * 1000;
    ticks(f);
    expect_there(f, t, "moved", true);
}

static void test_tokens(void **state)
{
    fixture *f = *state;
    tr_view value;
    assert_int_equal(tr_engine_token_get(f->engine, TR_VIEW("a"), &f->arena, &value, &f->err), TR_ENOTFOUND);
    CHECK(f, tr_engine_token_put(f->engine, TR_VIEW("a"), TR_VIEW("digest"), &f->err));
    CHECK(f, tr_engine_token_get(f->engine, TR_VIEW("a"), &f->arena, &value, &f->err));
    assert_view(value, "digest");
    settle(f);
    reopen(f);
    f->now_ms += 599 * 1000;
    tr_engine_tick(f->engine);
    CHECK(f, tr_engine_token_get(f->engine, TR_VIEW("a"), &f->arena, &value, &f->err));
    f->now_ms += 1000;
    assert_int_equal(tr_engine_token_get(f->engine, TR_VIEW("a"), &f->arena, &value, &f->err), TR_ENOTFOUND);
    f->now_ms += 1200 * 1000;
    tr_engine_tick(f->engine);
    assert_int_equal(tr_engine_token_get(f->engine, TR_VIEW("a"), &f->arena, &value, &f->err), TR_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_maintained, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_projections, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_multi_attribute, setup_memory, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_types, setup_memory, teardown),
        cmocka_unit_test_setup_teardown(test_fill, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_tokens, setup_dir, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
