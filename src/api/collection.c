/* SPDX-License-Identifier: MIT */
#include "api/requests.h"

/*
 * ItemCollectionMetrics: how large the items of one partition key are, with their entries in local indexes.
 * Told for tables with local indexes only. The partition is walked, up to a bound: past it the estimate is
 * that of the items seen, a lower bound.
 */

#define WALK_MAX 10000 /* items */
#define GIGABYTE ((size_t)1024 * 1024 * 1024)

static size_t size_of(const tr_table *table, tr_item item)
{
    size_t size = tr_item_size(item);
    for (unsigned i = 0; i < table->index_count; i++)
        if (table->indexes[i].local)
            size += tr__index_entry_size(table, &table->indexes[i], item);
    return size;
}

static int walk(tr_call *c, const tr_table *table, tr_value hash, size_t *ret_size)
{
    const tr_cursor_spec spec = {.table = table, .hash = {hash}, .hash_count = 1};
    tr_cursor *cursor;
    tr_item item;
    tr_error err;
    size_t size = 0;
    int e = tr_cursor_new(c->engine, &spec, &cursor, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    for (int i = 0; i < WALK_MAX && e == 0; i++) {
        e = tr_cursor_next(cursor, &item, &err);
        if (e == 0)
            size += size_of(table, item);
    }
    tr_cursor_free(cursor);
    if (e && e != TR_ENOTFOUND)
        return tr__fail_code(c, e, &err);
    *ret_size = size;
    return 0;
}

bool tr__collection_wanted(tr_view metrics, const tr_table *table)
{
    if (!tr_view_is(metrics, "SIZE"))
        return false;
    for (unsigned i = 0; i < table->index_count; i++)
        if (table->indexes[i].local)
            return true;
    return false;
}

int tr__collection_put(tr_call *c, const tr_table *table, tr_item key)
{
    const tr_key_part *part = &table->schema.hash[0];
    tr_value hash;
    size_t size;
    if (tr_item_get(key, part->name, &hash))
        return TR_EINVAL;
    int e = walk(c, table, hash, &size);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "ItemCollectionKey");
    tr_json_begin_object(&c->w);
    tr_json_key(&c->w, part->name);
    tr_value_write(&c->w, hash);
    tr_json_end_object(&c->w);
    tr_json_name(&c->w, "SizeEstimateRangeGB");
    tr_json_begin_array(&c->w);
    tr_json_u64(&c->w, size / GIGABYTE);
    tr_json_u64(&c->w, size / GIGABYTE + 1);
    tr_json_end_array(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

/* The first write of each partition tells of it, and opens the table's list. */
static bool told_before(const tr_write *writes, uint32_t i)
{
    const tr_key_part *part = &writes[i].table->schema.hash[0];
    tr_value a, b;
    if (tr_item_get(writes[i].key, part->name, &a))
        return true;
    for (uint32_t k = 0; k < i; k++)
        if (writes[k].table == writes[i].table && tr_item_get(writes[k].key, part->name, &b) == 0 &&
            tr_value_eq(a, b))
            return true;
    return false;
}

static int put_table(tr_call *c, const tr_write *writes, uint32_t from, uint32_t count)
{
    const tr_table *table = writes[from].table;
    int e = 0;
    tr_json_key(&c->w, table->name);
    tr_json_begin_array(&c->w);
    for (uint32_t i = from; i < count && e == 0; i++)
        if (writes[i].table == table && !told_before(writes, i))
            e = tr__collection_put(c, table, writes[i].key);
    tr_json_end_array(&c->w);
    return e;
}

int tr__collections_member(tr_call *c, tr_view metrics, const tr_write *writes, uint32_t count)
{
    bool open = false;
    int e = 0;
    for (uint32_t i = 0; i < count && e == 0; i++) {
        bool first = tr__collection_wanted(metrics, writes[i].table);
        for (uint32_t k = 0; k < i; k++)
            first &= writes[k].table != writes[i].table;
        if (!first)
            continue;
        if (!open) {
            tr_json_name(&c->w, "ItemCollectionMetrics");
            tr_json_begin_object(&c->w);
            open = true;
        }
        e = put_table(c, writes, i, count);
    }
    if (open)
        tr_json_end_object(&c->w);
    return e;
}
