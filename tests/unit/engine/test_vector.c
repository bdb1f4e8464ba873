/* SPDX-License-Identifier: MIT */
#include "engine_test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* Vector indexes: searches against a model that sorts everything, entries across writes, restarts, fillings.
 */

#define ITEMS      120
#define DIMENSIONS 19 /* neither a multiple of what is summed side by side nor less than it */

static tr_key_part filter_part[] = {{{"tier", 4}, TR_N}};

static tr_index vector_index(const char *name, tr_distance distance, bool split)
{
    return (tr_index){.name = tr_view_str(name),
                      .schema = {.hash_count = split, .hash = {{TR_VIEW("tenant"), TR_S}}},
                      .projection = TR_PROJECT_ALL,
                      .vector = {.dimensions = DIMENSIONS,
                                 .distance = distance,
                                 .attribute = TR_VIEW("v"),
                                 .filters = filter_part,
                                 .filter_count = 1}};
}

static tr_table *vector_table(fixture *f, tr_index *indexes, unsigned count)
{
    tr_key_part attributes[] = {{TR_VIEW("pk"), TR_S}, {TR_VIEW("tenant"), TR_S}, {TR_VIEW("tier"), TR_N}};
    tr_table_spec spec = {.name = TR_VIEW("vec"),
                          .schema = {.hash_count = 1, .hash = {attributes[0]}},
                          .attributes = attributes,
                          .attribute_count = 3,
                          .indexes = indexes,
                          .index_count = count,
                          .on_demand = true};
    tr_table *table;
    CHECK(f, tr_engine_create_table(f->engine, &spec, &table, &f->err));
    return table;
}

static void put_vector(fixture *f, tr_table *t, int i, const float *v)
{
    char json[2048];
    size_t n = (size_t)snprintf(json, sizeof json,
                                "{\"pk\":{\"S\":\"%03d\"},\"tenant\":{\"S\":\"t%d\"},\"tier\":{\"N\":\"%d\"},"
                                "\"v\":{\"L\":[",
                                i, i % 3, i % 2);
    for (int k = 0; k < DIMENSIONS; k++)
        n += (size_t)snprintf(json + n, sizeof json - n, "%s{\"N\":\"%.9g\"}", k ? "," : "", (double)v[k]);
    snprintf(json + n, sizeof json - n, "]}}");
    assert_int_equal(put(f, t, json).outcome, TR_WRITE_DONE);
}

static void make_vectors(float vectors[ITEMS + 1][DIMENSIONS])
{
    unsigned seed = 7;
    for (int i = 0; i <= ITEMS; i++)
        for (int k = 0; k < DIMENSIONS; k++) {
            seed = seed * 1103515245u + 12345u;
            vectors[i][k] = (float)((int)(seed >> 16 & 0x7fff) - 16384) / 1024;
        }
}

/* ------------------------------------------------------------------------------------------------- the model
 */

static double model_score(tr_distance distance, const float *a, const float *b)
{
    double dot = 0, aa = 0, bb = 0, apart = 0;
    for (int k = 0; k < DIMENSIONS; k++) {
        double x = a[k], y = b[k];
        dot += x * y;
        aa += x * x;
        bb += y * y;
        apart += (x - y) * (x - y);
    }
    return distance == TR_COSINE      ? 1 - dot / (sqrt(aa) * sqrt(bb))
           : distance == TR_EUCLIDEAN ? sqrt(apart)
                                      : dot;
}

typedef struct found {
    unsigned count;
    int item[TR_VECTOR_TOP_MAX];
    double score[TR_VECTOR_TOP_MAX];
} found;

static int gather(void *ctx, const tr_vector_match *match)
{
    found *all = ctx;
    tr_value pk, v;
    char text[8] = "";
    assert_int_equal(tr_item_get(match->item, TR_VIEW("pk"), &pk), 0);
    assert_int_not_equal(tr_item_get(match->item, TR_VIEW("v"), &v), 0);
    memcpy(text, pk.payload.ptr, pk.payload.len);
    all->item[all->count] = atoi(text);
    all->score[all->count++] = match->score;
    return 0;
}

static found look(fixture *f, tr_table *t, unsigned i, const float *query, const char *tenant, unsigned top)
{
    found all = {0};
    tr_vector_search spec = {.table = t, .index = &t->indexes[i], .query = query, .top = top};
    if (tenant)
        spec.partition = (tr_value){TR_S, tr_view_str(tenant)};
    CHECK(f, tr_engine_search(f->engine, &spec, gather, &all, &f->err));
    return all;
}

/* Every result has the model's score, they come in order, and none that is left out is nearer. */
static void compare(const found *all, tr_distance distance, float vectors[ITEMS + 1][DIMENSIONS], int tenant,
                    unsigned top)
{
    bool there[ITEMS] = {false};
    unsigned possible = 0;
    double sign = distance == TR_DOT_PRODUCT ? -1 : 1, last = -DBL_MAX;
    for (unsigned i = 0; i < all->count; i++) {
        double score = model_score(distance, vectors[ITEMS], vectors[all->item[i]]);
        assert_true(fabs(all->score[i] - score) <= 1e-5 * (1 + fabs(score)));
        assert_true(sign * all->score[i] >= last);
        assert_false(there[all->item[i]]);
        last = sign * all->score[i];
        there[all->item[i]] = true;
    }
    for (int i = 0; i < ITEMS; i++) {
        if (tenant >= 0 && i % 3 != tenant)
            continue;
        possible++;
        double score = sign * model_score(distance, vectors[ITEMS], vectors[i]);
        assert_true(there[i] || score >= last - 1e-5 * (1 + fabs(last)));
    }
    assert_int_equal(all->count, possible < top ? possible : top);
}

static void expect_sound(fixture *f)
{
    uint64_t problems = 1;
    CHECK(f, tr_engine_check(f->engine, NULL, NULL, &problems, &f->err));
    assert_int_equal(problems, 0);
}

/* ------------------------------------------------------------------------------------------------- tests */

static void test_nearest(void **state)
{
    static const unsigned tops[] = {1, 2, 7, 100};
    static float vectors[ITEMS + 1][DIMENSIONS];
    fixture *f = *state;
    tr_index indexes[] = {vector_index("cos", TR_COSINE, false), vector_index("euc", TR_EUCLIDEAN, true),
                          vector_index("dot", TR_DOT_PRODUCT, false)};
    tr_table *t = vector_table(f, indexes, 3);
    make_vectors(vectors);
    for (int i = 0; i < ITEMS; i++)
        put_vector(f, t, i, vectors[i]);
    settle(f);
    for (int round = 0; round < 2; round++) {
        for (size_t k = 0; k < TR_COUNT(tops); k++) {
            found all = look(f, t, 0, vectors[ITEMS], NULL, tops[k]);
            compare(&all, TR_COSINE, vectors, -1, tops[k]);
            all = look(f, t, 1, vectors[ITEMS], "t2", tops[k]);
            compare(&all, TR_EUCLIDEAN, vectors, 2, tops[k]);
            all = look(f, t, 2, vectors[ITEMS], NULL, tops[k]);
            compare(&all, TR_DOT_PRODUCT, vectors, -1, tops[k]);
        }
        reopen(f);
        t = tr_engine_table(f->engine, TR_VIEW("vec"));
        assert_int_equal(t->indexes[1].vector.dimensions, DIMENSIONS);
        assert_view(t->indexes[1].vector.filters[0].name, "tier");
    }
    expect_sound(f);
}

/* Heavy enough that a few make an index which is read past the cache. */
static void put_heavy(fixture *f, tr_table *t, unsigned i, tr_buf *scratch)
{
    static char filler[200 * 1024];
    char pk[8];
    tr_packer p;
    memset(filler, 'x', sizeof filler);
    (void)snprintf(pk, sizeof pk, "%03u", i % 1000);
    tr_buf_reset(scratch);
    tr_packer_init(&p, scratch);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("filler"));
    tr_pack_s(&p, tr_view_of(filler, sizeof filler));
    tr_pack_name(&p, TR_VIEW("pk"));
    tr_pack_s(&p, tr_view_str(pk));
    tr_pack_name(&p, TR_VIEW("v"));
    tr_pack_list_begin(&p);
    for (unsigned k = 0; k < DIMENSIONS; k++)
        tr_pack_n_i64(&p, (int64_t)(i + k));
    tr_pack_list_end(&p);
    CHECK(f, tr_pack_item_end(&p));
    tr_write w = {.kind = TR_WRITE_PUT, .table = t, .item = tr_buf_view(scratch)};
    assert_int_equal(do_write(f, w).outcome, TR_WRITE_DONE);
}

static void test_large(void **state)
{
    fixture *f = *state;
    tr_index indexes[] = {vector_index("euc", TR_EUCLIDEAN, false)};
    tr_table *t = vector_table(f, indexes, 1);
    float query[DIMENSIONS];
    tr_buf scratch;
    tr_buf_init(&scratch, 1 << 20);
    for (unsigned i = 0; i < 100; i++)
        put_heavy(f, t, i, &scratch);
    tr_buf_done(&scratch);
    for (int k = 0; k < DIMENSIONS; k++)
        query[k] = (float)(40 + k);
    reopen(f); /* all of it from files */
    t = tr_engine_table(f->engine, TR_VIEW("vec"));
    assert_true(t->indexes[0].size_bytes > 16 * 1024 * 1024);
    found all = look(f, t, 0, query, NULL, 3);
    assert_int_equal(all.count, 3);
    assert_int_equal(all.item[0], 40);
    assert_true(all.score[0] == 0);
    assert_int_equal(all.item[1] + all.item[2], 80);
    assert_int_equal(look(f, t, 0, query, NULL, 100).count, 100);
}

/** A search reads the last synced state, or the snapshot that it is given. */
static void test_snapshot(void **state)
{
    static float vectors[ITEMS + 1][DIMENSIONS];
    fixture *f = *state;
    tr_index indexes[] = {vector_index("cos", TR_COSINE, false)};
    tr_table *t = vector_table(f, indexes, 1);
    make_vectors(vectors);
    put_vector(f, t, 0, vectors[0]);
    settle(f);
    tr_engine_snapshot *before = tr_engine_snapshot_new(f->engine);
    put_vector(f, t, 1, vectors[1]);
    assert_int_equal(look(f, t, 0, vectors[ITEMS], NULL, 5).count, 1);
    settle(f);
    assert_int_equal(look(f, t, 0, vectors[ITEMS], NULL, 5).count, 2);
    found all = {0};
    tr_vector_search spec = {
        .snapshot = before, .table = t, .index = &t->indexes[0], .query = vectors[ITEMS], .top = 5};
    CHECK(f, tr_engine_search(f->engine, &spec, gather, &all, &f->err));
    assert_int_equal(all.count, 1);
    tr_engine_snapshot_free(f->engine, before);
}

/** Items older than an index get their entries, those that do not fit it are passed over, and counts agree
 * whatever is written meanwhile. */
static void test_fill(void **state)
{
    static float vectors[ITEMS + 1][DIMENSIONS];
    fixture *f = *state;
    tr_table *t = vector_table(f, NULL, 0);
    make_vectors(vectors);
    for (int i = 0; i < ITEMS; i++)
        put_vector(f, t, i, vectors[i]);
    put(f, t, "{\"pk\":{\"S\":\"none\"}}");
    put(f, t, "{\"pk\":{\"S\":\"text\"},\"v\":{\"S\":\"x\"}}");
    put(f, t, "{\"pk\":{\"S\":\"short\"},\"v\":{\"L\":[{\"N\":\"1\"}]}}");
    tr_index index = vector_index("late", TR_EUCLIDEAN, true);
    tr_table_change add = {.create_index = &index};
    CHECK(f, tr_engine_update_table(f->engine, t, &add, &f->err));
    put_vector(f, t, 0, vectors[1]);
    del(f, t, "{\"pk\":{\"S\":\"001\"}}");
    reopen(f);
    t = tr_engine_table(f->engine, TR_VIEW("vec"));
    assert_true(t->indexes[0].backfilling);
    for (int i = 0; i < 100 && t->indexes[0].backfilling; i++) {
        tr_engine_tick(f->engine);
        settle(f);
        t = tr_engine_table(f->engine, TR_VIEW("vec"));
    }
    assert_false(t->indexes[0].backfilling);
    assert_int_equal(t->indexes[0].item_count, ITEMS - 1);
    assert_int_equal(look(f, t, 0, vectors[ITEMS], "t1", 100).count, ITEMS / 3 - 1);
    found nearest = look(f, t, 0, vectors[1], "t0", 1);
    assert_int_equal(nearest.item[0], 0);
    assert_true(nearest.score[0] == 0);
    expect_sound(f);
}

/** An update that leaves an old misfit alone passes; one that makes a misfit does not. */
static void test_misfits(void **state)
{
    fixture *f = *state;
    tr_table *t = vector_table(f, NULL, 0);
    put(f, t, "{\"pk\":{\"S\":\"a\"},\"v\":{\"S\":\"x\"},\"tenant\":{\"S\":\"t\"}}");
    tr_index index = vector_index("late", TR_COSINE, true);
    tr_table_change add = {.create_index = &index};
    CHECK(f, tr_engine_update_table(f->engine, t, &add, &f->err));
    tr_expr_env env;
    const tr_update *update;
    tr_expr_env_init(&env, &f->arena);
    CHECK(f, tr_update_parse(&env, TR_VIEW("REMOVE tenant"), &update, &f->err));
    tr_write w = {
        .kind = TR_WRITE_UPDATE, .table = t, .key = item(f, "{\"pk\":{\"S\":\"a\"}}"), .update = update};
    assert_int_equal(do_write(f, w).outcome, TR_WRITE_DONE);
    assert_int_equal(put(f, t, "{\"pk\":{\"S\":\"a\"},\"v\":{\"S\":\"y\"}}").outcome, TR_WRITE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nearest, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_large, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_snapshot, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_fill, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_misfits, setup_memory, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
