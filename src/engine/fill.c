/* SPDX-License-Identifier: MIT */
/* Filling an index (or the list of expiry times) that was added to a table with items in it. */
#include "engine/engine_private.h"

/*
 * One step takes some items in the order of their keys, stages their entries and notes how far it got, all in
 * one batch. Up to that key, writes maintain the index; beyond it they leave it alone, since the filling will
 * get there. META key B space u32 holds the place, so that a restart goes on.
 */
#define STEP_ITEMS 256
#define STEP_BYTES ((size_t)1024 * 1024)

tr__fill *tr__fill_find(const tr__table *table, uint32_t space)
{
    for (unsigned i = 0; i < table->fill_count; i++)
        if (table->fills[i].space == space)
            return &table->fills[i];
    return NULL;
}

int tr__fill_begin(tr__table *table, uint32_t space)
{
    tr__fill *fills = tr_realloc(table->fills, (table->fill_count + 1) * sizeof *fills);
    if (!fills)
        return TR_ENOMEM;
    table->fills = fills;
    tr__fill *fill = &fills[table->fill_count++];
    fill->space = space;
    tr_buf_init(&fill->to, TR__KEY_BUF_MAX);
    return 0;
}

void tr__fill_end(tr__table *table, uint32_t space)
{
    tr__fill *fill = tr__fill_find(table, space);
    if (!fill)
        return;
    tr_buf_done(&fill->to);
    *fill = table->fills[--table->fill_count];
}

void tr__fill_done(tr__table *table)
{
    while (table->fill_count)
        tr__fill_end(table, table->fills[0].space);
    tr_free(table->fills);
    table->fills = NULL;
}

/* Stages the entries of one item. */
static int fill_one(tr_engine *engine, tr__table *table, uint32_t space, tr_view key, tr_item item)
{
    if (space == table->pub.ttl_space)
        return tr__expiry_stage(engine, table, key, (tr_item){NULL, 0}, item);
    for (unsigned i = 0; i < table->pub.index_count; i++)
        if (table->pub.indexes[i].space == space)
            return tr__index_fill(engine, table, i, item);
    return 0;
}

static int fill_some(tr_engine *engine, tr__table *table, tr__fill *fill, tr_kv_iter *iter, bool *ret_end,
                     tr_error *err)
{
    tr_view key, value;
    if (fill->to.len) {
        tr_kv_iter_seek(iter, tr_buf_view(&fill->to));
        if (tr_kv_iter_get(iter, &key, &value) && tr_view_eq(key, tr_buf_view(&fill->to)))
            tr_kv_iter_next(iter);
    } else {
        tr_kv_iter_first(iter);
    }
    size_t bytes = 0, count = 0;
    int rc = 0;
    while (!rc && count < STEP_ITEMS && bytes < STEP_BYTES) {
        if (!tr_kv_iter_get(iter, &key, &value)) {
            *ret_end = true;
            return tr_kv_iter_status(iter, err);
        }
        if (value.len < 1 || value.ptr[0] != TR__VALUE_VERSION)
            return tr_fail(err, TR_ECORRUPT, "a stored item of table %.*s is damaged",
                           TR_FMT(table->pub.name));
        rc = fill_one(engine, table, fill->space, key, tr_view_of(value.ptr + 1, value.len - 1));
        bytes += value.len;
        count++;
        tr_buf_reset(&fill->to);
        tr_buf_put_view(&fill->to, key);
        tr_kv_iter_next(iter);
    }
    return rc ? tr_fail(err, rc, "cannot fill an index: %s", tr_strerror(rc)) : 0;
}

/* The whole table has been gone through. */
static int complete(tr_engine *engine, tr__table *table, uint32_t space, tr_error *err)
{
    tr_table draft = table->pub;
    tr_arena_reset(&engine->scratch);
    tr_index *indexes = tr_arena_calloc(&engine->scratch, draft.index_count + 1, sizeof *indexes);
    if (!indexes)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    for (unsigned i = 0; i < draft.index_count; i++) {
        indexes[i] = draft.indexes[i];
        if (indexes[i].space == space) {
            indexes[i].backfilling = false;
            if (indexes[i].status == TR_CREATING)
                indexes[i].status = TR_ACTIVE;
        }
    }
    draft.indexes = indexes;
    if (draft.ttl_space == space)
        draft.ttl_filling = false;
    tr__fill_end(table, space);
    tr__forget_fill(engine, space);
    int rc = tr__table_change(engine, table, &draft);
    return rc ? tr_fail(err, rc, "cannot complete an index: %s", tr_strerror(rc))
              : tr__catalogue_commit(engine, err);
}

static int step(tr_engine *engine, tr__table *table, tr__fill *fill, tr_error *err)
{
    char lower[4], upper[4];
    tr_put_be32(lower, table->pub.space);
    tr_put_be32(upper, table->pub.space + 1);
    int rc = tr__engine_write_out(engine, err);
    if (rc)
        return rc;
    tr_kv_iter *iter;
    rc = tr_kv_iter_new(engine->kv, TR_KV_ITEMS, NULL, tr_view_of(lower, 4), tr_view_of(upper, 4), &iter);
    if (rc)
        return tr_fail(err, rc, "out of memory");
    bool end = false;
    uint32_t space = fill->space;
    rc = fill_some(engine, table, fill, iter, &end, err);
    tr_kv_iter_free(iter);
    if (rc)
        return rc;
    tr__store_fill(engine, space, tr_buf_view(&fill->to));
    tr__table_dirty(engine, table);
    return end ? complete(engine, table, space, err) : tr__engine_write_out(engine, err);
}

int tr__fill_step(tr_engine *engine, bool *ret_more, tr_error *err)
{
    /* What is staged is synced with everybody's writes, so their answers would wait for a lot of it. */
    if (engine->fill_ticket > tr_engine_synced(engine)) {
        *ret_more = true;
        return 0;
    }
    for (size_t i = 0; i < engine->table_count; i++) {
        tr__table *table = engine->tables[i];
        if (table->fill_count == 0)
            continue;
        *ret_more = true;
        int rc = step(engine, table, &table->fills[0], err);
        engine->fill_ticket = tr_engine_ticket(engine);
        return rc;
    }
    return 0;
}
