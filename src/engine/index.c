/* SPDX-License-Identifier: MIT */
/* Secondary indexes: which entry an item has, and what a write changes about it. */
#include "engine/engine_private.h"

#include <stdio.h>

/*
 * An entry's key is drawn in keys.c; its value is the version byte and the item as projected. An item without
 * one of the index's key attributes has no entry.
 */

#define HASH_KEY_MAX  2048 /* bytes, Developer Guide, "Quotas: partition keys and sort keys" */
#define RANGE_KEY_MAX 1024

/* --------------------------------------------------------------------------------------------- checking */

TR_PRINTF(2, 3)
static void invalid(tr_write *write, const char *format, ...)
{
    char text[TR_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    write->outcome = TR_WRITE_INVALID;
    tr_fail_service(&write->error, TR_EINVAL, 400, "ValidationException", "%s", text);
}

static bool check_part(tr_write *write, const tr_index *index, const tr_key_part *part, tr_item before,
                       tr_item after, size_t max)
{
    tr_value value, old;
    if (tr_item_get(after, part->name, &value) != 0)
        return true;
    bool update = write->kind == TR_WRITE_UPDATE;
    /* An item older than the index may hold what the index cannot: only an update that sets it is refused. */
    if (update && tr_item_get(before, part->name, &old) == 0 && tr_value_eq(old, value))
        return true;
    if (value.type != part->type) {
        invalid(write,
                "One or more parameter values were invalid: Type mismatch for Index Key %.*s Expected: %s "
                "Actual: %s IndexName: %.*s",
                TR_FMT(part->name), tr_type_name(part->type), tr_type_name(value.type), TR_FMT(index->name));
        return false;
    }
    if (value.type != TR_N && value.payload.len == 0) {
        const char *what = value.type == TR_S ? "string" : "binary";
        if (update)
            invalid(write,
                    "One or more parameter values are not valid. The update expression attempted to update a "
                    "secondary index key to a value that is not supported. The AttributeValue for a key "
                    "attribute cannot contain an empty %s value.",
                    what);
        else
            invalid(
                write,
                "One or more parameter values are not valid. A value specified for a secondary index key is "
                "not supported. The AttributeValue for a key attribute cannot contain an empty %s value. "
                "IndexName: %.*s, IndexKey: %.*s",
                what, TR_FMT(index->name), TR_FMT(part->name));
        return false;
    }
    if (value.payload.len > max) {
        invalid(write,
                "One or more parameter values were invalid: Size of %s has exceeded the maximum size "
                "limit of %zu bytes",
                max == HASH_KEY_MAX ? "hashkey" : "rangekey", max);
        return false;
    }
    return true;
}

static bool check_vector(tr_write *write, const tr_index *index, tr_item before, tr_item after)
{
    bool update = write->kind == TR_WRITE_UPDATE;
    if (tr_vector_fits(index, update ? before : (tr_item){NULL, 0}, after, update, &write->error))
        return true;
    write->outcome = TR_WRITE_INVALID;
    return false;
}

static bool check_index(tr_write *write, const tr_index *index, tr_item before, tr_item after)
{
    if (index->vector.dimensions)
        return check_vector(write, index, before, after);
    const tr_key_schema *schema = &index->schema;
    for (unsigned k = 0; k < schema->hash_count; k++)
        if (!check_part(write, index, &schema->hash[k], before, after, HASH_KEY_MAX))
            return false;
    for (unsigned k = 0; k < schema->range_count; k++)
        if (!check_part(write, index, &schema->range[k], before, after, RANGE_KEY_MAX))
            return false;
    return true;
}

void tr__index_check(tr_write *write, tr_item before, tr_item after)
{
    const tr_table *table = write->table;
    for (unsigned i = 0; i < table->index_count; i++)
        if (table->indexes[i].status != TR_DELETING && !check_index(write, &table->indexes[i], before, after))
            return;
}

/* ------------------------------------------------------------------------------------------- projecting */

/* All members of `item` but the vector. */
static int project_beside(tr_view vector, tr_item item, tr_buf *out)
{
    tr_packer packer;
    tr_packed_iter iter;
    tr_packer_init(&packer, out);
    tr_pack_item_begin(&packer);
    tr_item_iter(&iter, item);
    while (tr_packed_next(&iter)) {
        if (tr_view_eq(iter.name, vector))
            continue;
        tr_pack_name(&packer, iter.name);
        tr_pack_encoded(&packer, iter.encoded);
    }
    return tr_pack_item_end(&packer);
}

/* The members of `item` whose names the index holds: both lists are sorted, so they are walked side by side.
 */
static int project(const tr__index *index, tr_item item, tr_buf *out)
{
    tr_packer packer;
    tr_packed_iter iter;
    tr_packer_init(&packer, out);
    tr_pack_item_begin(&packer);
    tr_item_iter(&iter, item);
    unsigned at = 0;
    while (at < index->name_count && tr_packed_next(&iter)) {
        int order = -1;
        while (at < index->name_count && (order = tr_view_cmp(index->names[at], iter.name)) < 0)
            at++;
        if (order != 0)
            continue;
        tr_pack_name(&packer, iter.name);
        tr_pack_encoded(&packer, iter.encoded);
        at++;
    }
    return tr_pack_item_end(&packer);
}

typedef struct entry {
    bool there;
    tr_view key;
    tr_view vector; /* packed; empty in indexes of the other kinds */
    tr_item item;   /* as projected */
} entry;

/* The vector, then what is projected of the item, in one buffer. */
static int entry_of_vector(const tr__table *table, unsigned i, tr_item item, tr_buf *value, entry *ret)
{
    const tr_vector *vector = &table->pub.indexes[i].vector;
    size_t size = (size_t)vector->dimensions * TR__ELEMENT;
    tr_buf_reset(value);
    int rc = tr__vector_put(&table->pub.indexes[i], item, value);
    if (!rc)
        rc = table->index[i].names ? project(&table->index[i], item, value)
                                   : project_beside(vector->attribute, item, value);
    if (rc)
        return rc;
    ret->vector = tr_view_of(value->ptr, size);
    ret->item = tr_view_of(value->ptr + size, value->len - size);
    return 0;
}

/* The item's entry, if it has one; key and value in the buffers. */
static int entry_of(const tr__table *table, unsigned i, tr_item item, tr_buf *key, tr_buf *value, entry *ret)
{
    *ret = (entry){0};
    if (!item.len)
        return 0;
    int rc = tr__key_of_entry(&table->pub, &table->pub.indexes[i], item, key);
    if (rc == TR_ENOTFOUND)
        return 0;
    if (rc)
        return rc;
    ret->item = item;
    if (table->pub.indexes[i].vector.dimensions) {
        rc = entry_of_vector(table, i, item, value, ret);
        if (rc)
            return rc == TR_ENOTFOUND ? 0 : rc;
    } else if (table->index[i].names) {
        tr_buf_reset(value);
        rc = project(&table->index[i], item, value);
        ret->item = tr_buf_view(value);
    }
    ret->key = tr_buf_view(key);
    ret->there = true;
    return rc;
}

/* --------------------------------------------------------------------------------------------- staging */

static void put_entry(tr_engine *engine, const entry *e)
{
    static const char version = TR__VALUE_VERSION;
    tr_view parts[] = {tr_view_of(&version, 1), e->vector, e->item};
    tr_kv_batch_putv(engine->batch, TR_KV_ITEMS, &e->key, 1, parts, 3);
}

static int64_t size_of(const tr_index *index, const entry *e)
{
    if (!e->there)
        return 0;
    return (int64_t)(tr_item_size(e->item) + e->vector.len + index->vector.attribute.len);
}

static void count(tr_index *index, const entry *before, const entry *after)
{
    index->item_count += after->there - before->there;
    index->size_bytes += size_of(index, after) - size_of(index, before);
}

static int stage_one(tr_engine *engine, tr__table *table, unsigned i, tr_item old, tr_item new)
{
    entry before, after;
    int rc = entry_of(table, i, old, &engine->key2, &engine->value, &before);
    if (!rc)
        rc = entry_of(table, i, new, &engine->key3, &engine->value2, &after);
    if (rc)
        return rc;
    if (before.there && after.there && tr_view_eq(before.key, after.key)) {
        if (tr_view_eq(before.item, after.item) && tr_view_eq(before.vector, after.vector))
            return 0;
    } else if (before.there) {
        tr_kv_batch_delete(engine->batch, TR_KV_ITEMS, before.key);
    }
    if (after.there)
        put_entry(engine, &after);
    count(&table->pub.indexes[i], &before, &after);
    return 0;
}

int tr__index_stage(tr_engine *engine, tr__table *table, tr_view item_key, tr_item old, tr_item new)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < table->pub.index_count; i++) {
        const tr_index *index = &table->pub.indexes[i];
        if (index->status != TR_DELETING && tr__fill_has(table, index->space, item_key))
            rc = stage_one(engine, table, i, old, new);
    }
    return rc;
}

int tr__index_fill(tr_engine *engine, tr__table *table, unsigned i, tr_item item)
{
    return stage_one(engine, table, i, (tr_item){NULL, 0}, item);
}

int tr__index_entry(const tr__table *table, unsigned i, tr_item item, tr_buf *key, tr_buf *value)
{
    entry e;
    int rc = entry_of(table, i, item, key, value, &e);
    if (rc || !e.there)
        return rc ? rc : TR_ENOTFOUND;
    if (!table->index[i].names && !e.vector.len) {
        tr_buf_reset(value);
        tr_buf_put_view(value, item);
    }
    return tr_buf_status(value);
}
