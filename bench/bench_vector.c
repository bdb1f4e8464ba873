/* SPDX-License-Identifier: MIT */
/**
 * Vector indexes without a wire: putting items with vectors, and exact searches over all of them.
 *
 *     bench_vector DIR|memory VECTORS DIMENSIONS [SEARCHES]
 *
 * One index for each distance function holds the same vectors, with nothing but keys projected.
 */
#include "engine/engine.h"
#include "must.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct bench {
    tr_engine *engine;
    tr_table *table;
    tr_arena arena;
    tr_buf buf;
    tr_rng rng;
    unsigned vectors, dimensions;
} bench;

static double ms_since(int64_t start_ns)
{
    return 1e-6 * (double)(tr_clock_mono_ns() - start_ns);
}

static int element(bench *b)
{
    return (int)tr_rng_below(&b->rng, 20001) - 10000;
}

static tr_item make_item(bench *b, unsigned n)
{
    char text[32];
    tr_packer p;
    tr_buf_reset(&b->buf);
    tr_packer_init(&p, &b->buf);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("pk"));
    (void)snprintf(text, sizeof text, "p%08u", n);
    tr_pack_s(&p, tr_view_str(text));
    tr_pack_name(&p, TR_VIEW("v"));
    tr_pack_list_begin(&p);
    for (unsigned i = 0; i < b->dimensions; i++) {
        (void)snprintf(text, sizeof text, "%de-4", element(b));
        must(tr_pack_n(&p, tr_view_str(text)), &(tr_error){0});
    }
    tr_pack_list_end(&p);
    must(tr_pack_item_end(&p), &(tr_error){0});
    return tr_buf_view(&b->buf);
}

static void make_table(bench *b)
{
    static const char *const names[] = {"cosine", "euclidean", "dot"};
    tr_error err = {0};
    tr_key_part pk = {TR_VIEW("pk"), TR_S};
    tr_index indexes[3] = {0};
    for (int i = 0; i < 3; i++) {
        indexes[i].name = tr_view_str(names[i]);
        indexes[i].projection = TR_PROJECT_KEYS_ONLY;
        indexes[i].vector =
            (tr_vector){.dimensions = b->dimensions, .distance = (tr_distance)i, .attribute = TR_VIEW("v")};
    }
    tr_table_spec spec = {.name = TR_VIEW("bench"),
                          .schema = {.hash_count = 1, .hash = {pk}},
                          .attributes = &pk,
                          .attribute_count = 1,
                          .indexes = indexes,
                          .index_count = 3,
                          .on_demand = true};
    must(tr_engine_create_table(b->engine, &spec, &b->table, &err), &err);
}

static void load(bench *b)
{
    tr_error err = {0};
    int64_t start = tr_clock_mono_ns();
    for (unsigned n = 0; n < b->vectors; n++) {
        tr_write w = {.kind = TR_WRITE_PUT, .table = b->table, .item = make_item(b, n)};
        must(tr_engine_write(b->engine, &w, 1, false, &b->arena, &err), &err);
        tr_arena_reset(&b->arena);
        if (n % 1000 == 999)
            must(tr_engine_sync_wait(b->engine, &err), &err);
    }
    must(tr_engine_sync_wait(b->engine, &err), &err);
    printf("%-12s %8u of %u dimensions  %9.3f ms each\n", "put", b->vectors, b->dimensions,
           ms_since(start) / b->vectors);
}

static int ignore(void *ctx, const tr_vector_match *match)
{
    *(double *)ctx += match->score;
    return 0;
}

static void searches(bench *b, unsigned count)
{
    tr_error err = {0};
    float query[TR_VECTOR_DIMENSIONS_MAX];
    for (unsigned i = 0; i < b->table->index_count; i++) {
        tr_vector_search search = {
            .table = b->table, .index = &b->table->indexes[i], .query = query, .top = 10};
        double sum = 0, best = 1e9;
        int64_t start = tr_clock_mono_ns();
        for (unsigned n = 0; n < count; n++) {
            for (unsigned k = 0; k < b->dimensions; k++)
                query[k] = (float)element(b) / 10000;
            int64_t one = tr_clock_mono_ns();
            must(tr_engine_search(b->engine, &search, ignore, &sum, &err), &err);
            best = ms_since(one) < best ? ms_since(one) : best;
        }
        printf("%-12.*s %8u of %u dimensions  %9.3f ms each, best %.3f\n", (int)search.index->name.len,
               search.index->name.ptr, b->vectors, b->dimensions, ms_since(start) / count, best);
    }
}

int main(int argc, char **argv)
{
    static bench b;
    b.vectors = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    b.dimensions = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    if (!b.vectors || !b.dimensions || b.dimensions > TR_VECTOR_DIMENSIONS_MAX) {
        (void)fprintf(stderr, "usage: bench_vector DIR|memory VECTORS DIMENSIONS [SEARCHES]\n");
        return 2;
    }
    tr_arena_init(&b.arena, (size_t)64 * 1024 * 1024);
    tr_buf_init(&b.buf, 1 << 20);
    tr_rng_seed(&b.rng, 1);
    tr_error err = {0};
    tr_engine_options options = {.dir = strcmp(argv[1], "memory") == 0 ? NULL : argv[1]};
    must(tr_engine_open(&options, &b.engine, &err), &err);
    b.table = tr_engine_table(b.engine, TR_VIEW("bench"));
    if (!b.table) {
        make_table(&b);
        load(&b);
    }
    searches(&b, argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 10);
    tr_engine_close(b.engine);
    tr_arena_done(&b.arena);
    tr_buf_done(&b.buf);
    return 0;
}
