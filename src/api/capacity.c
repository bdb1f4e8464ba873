/* SPDX-License-Identifier: MIT */
#include "api/call.h"

/*
 * Capacity units as the Developer Guide counts them: a write costs a unit per started KB of the larger image,
 * a strongly consistent read a unit per started 4 KB, an eventually consistent one half of that; an index is
 * charged for each of its entries that changes. In transactions the table's part counts twice. A vector index
 * is charged in bytes of the entry that changes, at least 1 KB, apart from all units.
 */

#define WRITE_UNIT 1024
#define READ_UNIT  4096

tr_capacity_mode tr__capacity_mode(tr_view wanted)
{
    if (!wanted.ptr || wanted.len == 4)
        return TR_CAPACITY_NONE;
    return wanted.len == 5 ? TR_CAPACITY_TOTAL : TR_CAPACITY_INDEXES;
}

void tr__capacity_init(tr_capacity *capacity, const tr_table *table, bool write)
{
    capacity->table = table;
    capacity->table_halves = 0;
    capacity->write = write;
    capacity->transaction = false;
    for (unsigned i = 0; i < table->index_count; i++)
        capacity->index_halves[i] = -1;
}

static int64_t units(size_t bytes, size_t unit)
{
    return bytes ? (int64_t)((bytes + unit - 1) / unit) : 1;
}

int64_t tr__read_halves(size_t bytes, bool consistent)
{
    return units(bytes, READ_UNIT) * (consistent ? 2 : 1);
}

static bool has_keys(const tr_key_schema *schema, tr_item item)
{
    tr_value value;
    for (unsigned i = 0; i < schema->hash_count; i++)
        if (tr_item_get(item, schema->hash[i].name, &value) || value.type != schema->hash[i].type)
            return false;
    for (unsigned i = 0; i < schema->range_count; i++)
        if (tr_item_get(item, schema->range[i].name, &value) || value.type != schema->range[i].type)
            return false;
    return true;
}

static bool in_schema(const tr_key_schema *schema, tr_view name)
{
    for (unsigned i = 0; i < schema->hash_count; i++)
        if (tr_view_eq(schema->hash[i].name, name))
            return true;
    for (unsigned i = 0; i < schema->range_count; i++)
        if (tr_view_eq(schema->range[i].name, name))
            return true;
    return false;
}

static bool projected(const tr_table *table, const tr_index *index, tr_view name)
{
    for (unsigned i = 0; i < index->vector.filter_count; i++)
        if (tr_view_eq(index->vector.filters[i].name, name))
            return true;
    if (index->vector.dimensions && tr_view_eq(index->vector.attribute, name))
        return true;
    if (index->projection == TR_PROJECT_ALL || in_schema(&table->schema, name) ||
        in_schema(&index->schema, name))
        return true;
    for (unsigned i = 0; i < index->include_count; i++)
        if (tr_view_eq(index->include[i], name))
            return true;
    return false;
}

size_t tr__index_entry_size(const tr_table *table, const tr_index *index, tr_item item)
{
    if (!item.len || !has_keys(&index->schema, item))
        return 0;
    if (index->projection == TR_PROJECT_ALL)
        return tr_item_size(item);
    tr_packed_iter iter;
    size_t size = 0;
    tr_item_iter(&iter, item);
    while (tr_packed_next(&iter))
        if (projected(table, index, iter.name))
            size += iter.name.len + tr_value_size(iter.value);
    return size;
}

/* Whether what the index holds of two items is the same. */
static bool same_entry(const tr_table *table, const tr_index *index, tr_item a, tr_item b)
{
    tr_packed_iter iter;
    tr_value value;
    tr_item_iter(&iter, a);
    while (tr_packed_next(&iter))
        if (projected(table, index, iter.name) &&
            (tr_item_get(b, iter.name, &value) || !tr_value_eq(value, iter.value)))
            return false;
    tr_item_iter(&iter, b);
    while (tr_packed_next(&iter))
        if (projected(table, index, iter.name) && tr_item_get(a, iter.name, &value))
            return false;
    return true;
}

static bool same_keys(const tr_key_schema *schema, tr_item a, tr_item b)
{
    tr_value x, y;
    for (unsigned i = 0; i < schema->hash_count; i++)
        if (tr_item_get(a, schema->hash[i].name, &x) || tr_item_get(b, schema->hash[i].name, &y) ||
            !tr_value_eq(x, y))
            return false;
    for (unsigned i = 0; i < schema->range_count; i++)
        if (tr_item_get(a, schema->range[i].name, &x) || tr_item_get(b, schema->range[i].name, &y) ||
            !tr_value_eq(x, y))
            return false;
    return true;
}

/* Units of an index for one write; 0: it was not touched. An entry whose key changes is deleted and put. */
static int64_t index_units(const tr_table *table, const tr_index *index, tr_item before, tr_item after)
{
    size_t old_size = tr__index_entry_size(table, index, before);
    size_t new_size = tr__index_entry_size(table, index, after);
    if (!old_size && !new_size)
        return 0;
    if (!old_size || !new_size)
        return units(old_size + new_size, WRITE_UNIT);
    if (!same_keys(&index->schema, before, after))
        return units(old_size, WRITE_UNIT) + units(new_size, WRITE_UNIT);
    if (same_entry(table, index, before, after))
        return 0;
    return units(old_size > new_size ? old_size : new_size, WRITE_UNIT);
}

/* Bytes that a vector index is charged for one write. */
static int64_t vector_bytes(const tr_table *table, const tr_index *index, tr_item before, tr_item after)
{
    size_t old_size = tr_vector_entry_size(table, index, before);
    size_t new_size = tr_vector_entry_size(table, index, after);
    if ((!old_size && !new_size) || (old_size && new_size && same_entry(table, index, before, after)))
        return 0;
    size_t size = new_size ? new_size : old_size;
    return size < WRITE_UNIT ? WRITE_UNIT : (int64_t)size;
}

void tr__capacity_write(tr_capacity *capacity, const tr_write *write)
{
    const tr_table *table = capacity->table;
    size_t old_size = write->before.len ? tr_item_size(write->before) : 0;
    size_t new_size = write->after.len ? tr_item_size(write->after) : 0;
    capacity->table_halves +=
        units(old_size > new_size ? old_size : new_size, WRITE_UNIT) * (capacity->transaction ? 4 : 2);
    if (write->kind == TR_WRITE_CHECK)
        return;
    for (unsigned i = 0; i < table->index_count; i++) {
        const tr_index *index = &table->indexes[i];
        int64_t n = index->vector.dimensions ? vector_bytes(table, index, write->before, write->after)
                                             : index_units(table, index, write->before, write->after);
        if (n)
            capacity->index_halves[i] =
                (capacity->index_halves[i] < 0 ? 0 : capacity->index_halves[i]) + n * 2;
    }
}

static void put_units(tr_json_writer *w, const char *name, int64_t halves)
{
    tr_json_name(w, name);
    tr_buf_put_u64(w->out, (uint64_t)(halves / 2));
    tr_buf_put_str(w->out, halves % 2 ? ".5" : ".0");
}

static void put_detail(tr_call *c, const tr_capacity *capacity, int64_t halves)
{
    put_units(&c->w, "CapacityUnits", halves);
    if (capacity->transaction)
        put_units(&c->w, capacity->write ? "WriteCapacityUnits" : "ReadCapacityUnits", halves);
}

static void put_indexes(tr_call *c, const tr_capacity *capacity, bool local)
{
    bool open = false;
    for (unsigned i = 0; i < capacity->table->index_count; i++) {
        const tr_index *index = &capacity->table->indexes[i];
        if (index->vector.dimensions || index->local != local || capacity->index_halves[i] < 0)
            continue;
        if (!open) {
            tr_json_name(&c->w, local ? "LocalSecondaryIndexes" : "GlobalSecondaryIndexes");
            tr_json_begin_object(&c->w);
            open = true;
        }
        tr_json_key(&c->w, index->name);
        tr_json_begin_object(&c->w);
        put_detail(c, capacity, capacity->index_halves[i]);
        tr_json_end_object(&c->w);
    }
    if (open)
        tr_json_end_object(&c->w);
}

static void put_vectors(tr_call *c, const tr_capacity *capacity)
{
    bool open = false;
    for (unsigned i = 0; i < capacity->table->index_count; i++) {
        const tr_index *index = &capacity->table->indexes[i];
        if (!index->vector.dimensions || capacity->index_halves[i] < 0)
            continue;
        if (!open) {
            tr_json_name(&c->w, "VectorIndexes");
            tr_json_begin_object(&c->w);
            open = true;
        }
        tr_json_key(&c->w, index->name);
        tr_json_begin_object(&c->w);
        put_units(&c->w, "VectorWriteRequestBytes", capacity->index_halves[i]);
        tr_json_end_object(&c->w);
    }
    if (open)
        tr_json_end_object(&c->w);
}

void tr__capacity_put(tr_call *c, const tr_capacity *capacity, tr_capacity_mode mode)
{
    int64_t total = capacity->table_halves;
    for (unsigned i = 0; i < capacity->table->index_count; i++)
        if (!capacity->table->indexes[i].vector.dimensions && capacity->index_halves[i] > 0)
            total += capacity->index_halves[i];
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "TableName", capacity->table->name);
    put_detail(c, capacity, total);
    if (mode == TR_CAPACITY_INDEXES) {
        tr_json_name(&c->w, "Table");
        tr_json_begin_object(&c->w);
        put_detail(c, capacity, capacity->table_halves);
        tr_json_end_object(&c->w);
        put_indexes(c, capacity, false);
        put_indexes(c, capacity, true);
        put_vectors(c, capacity);
    }
    tr_json_end_object(&c->w);
}

void tr__capacity_member(tr_call *c, const tr_capacity *capacity, tr_capacity_mode mode)
{
    if (mode == TR_CAPACITY_NONE)
        return;
    tr_json_name(&c->w, "ConsumedCapacity");
    tr__capacity_put(c, capacity, mode);
}
