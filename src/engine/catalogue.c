/* SPDX-License-Identifier: MIT */
/* Tables in memory: looked up by name, made, changed and removed. What callers hold is never moved. */
#include "engine/engine_private.h"

#include <stdio.h>
#include <stdlib.h>

#define TABLE_ARENA_LIMIT ((size_t)TR__VALUE_LIMIT * 2)

/* -------------------------------------------------------------------------------------------- look up */

/* First place whose name is >= name. */
static size_t table_place(const tr_engine *engine, tr_view name)
{
    size_t low = 0, high = engine->table_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tr_view_cmp(engine->tables[middle]->pub.name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

tr_table *tr_engine_table(tr_engine *engine, tr_view name)
{
    size_t at = table_place(engine, name);
    if (at == engine->table_count || !tr_view_eq(engine->tables[at]->pub.name, name))
        return NULL;
    return &engine->tables[at]->pub;
}

tr_table *tr_engine_next_table(tr_engine *engine, tr_view after)
{
    size_t at = table_place(engine, after);
    if (at < engine->table_count && tr_view_eq(engine->tables[at]->pub.name, after))
        at++;
    return at < engine->table_count ? &engine->tables[at]->pub : NULL;
}

static int grow(void **array, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return 0;
    size_t larger = *cap ? *cap * 2 : 16;
    void *moved = tr_realloc(*array, larger * size);
    if (!moved)
        return TR_ENOMEM;
    *array = moved;
    *cap = larger;
    return 0;
}

/* Arrays of pointers, in order. */
static int insert_at(void **array, size_t *cap, size_t *count, size_t at, void *object)
{
    int rc = grow(array, cap, *count, sizeof(void *));
    if (rc)
        return rc;
    char *place = (char *)*array + at * sizeof(void *);
    memmove(place + sizeof(void *), place, (*count - at) * sizeof(void *));
    memcpy(place, &object, sizeof(void *));
    ++*count;
    return 0;
}

static void remove_at(void *array, size_t *count, size_t at)
{
    char *place = (char *)array + at * sizeof(void *);
    --*count;
    memmove(place, place + sizeof(void *), (*count - at) * sizeof(void *));
}

int tr__table_insert(tr_engine *engine, tr__table *table)
{
    return insert_at((void **)&engine->tables, &engine->table_cap, &engine->table_count,
                     table_place(engine, table->pub.name), table);
}

static void table_remove(tr_engine *engine, const tr__table *table)
{
    remove_at(engine->tables, &engine->table_count, table_place(engine, table->pub.name));
}

static size_t stream_place(const tr_engine *engine, tr_view arn)
{
    size_t low = 0, high = engine->stream_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tr_view_cmp(engine->streams[middle]->pub.arn, arn) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

tr_stream *tr_engine_stream(tr_engine *engine, tr_view arn)
{
    size_t at = stream_place(engine, arn);
    if (at == engine->stream_count || !tr_view_eq(engine->streams[at]->pub.arn, arn))
        return NULL;
    return &engine->streams[at]->pub;
}

tr_stream *tr_engine_next_stream(tr_engine *engine, tr_view after_arn)
{
    size_t at = stream_place(engine, after_arn);
    if (at < engine->stream_count && tr_view_eq(engine->streams[at]->pub.arn, after_arn))
        at++;
    return at < engine->stream_count ? &engine->streams[at]->pub : NULL;
}

int tr__stream_insert(tr_engine *engine, tr__stream *stream)
{
    return insert_at((void **)&engine->streams, &engine->stream_cap, &engine->stream_count,
                     stream_place(engine, stream->pub.arn), stream);
}

void tr__stream_remove(tr_engine *engine, const tr__stream *stream)
{
    remove_at(engine->streams, &engine->stream_count, stream_place(engine, stream->pub.arn));
}

static tr_stream *stream_by_number(tr_engine *engine, uint32_t number)
{
    for (size_t i = 0; number && i < engine->stream_count; i++)
        if (engine->streams[i]->pub.number == number)
            return &engine->streams[i]->pub;
    return NULL;
}

/* --------------------------------------------------------------------------------- making table objects */

void tr__table_free(tr__table *table)
{
    if (!table)
        return;
    tr_arena_done(&table->arena);
    tr__fill_done(table);
    tr_free(table);
}

static int compare_names(const void *a, const void *b)
{
    return tr_view_cmp(*(const tr_view *)a, *(const tr_view *)b);
}

static void add_parts(tr__index *index, const tr_key_schema *schema)
{
    for (unsigned i = 0; i < schema->hash_count; i++)
        index->names[index->name_count++] = schema->hash[i].name;
    for (unsigned i = 0; i < schema->range_count; i++)
        index->names[index->name_count++] = schema->range[i].name;
}

/* Lists the attributes that the index's entries hold: its keys, the table's, and those included. */
static int list_names(tr__table *table, unsigned i)
{
    const tr_index *pub = &table->pub.indexes[i];
    tr__index *index = &table->index[i];
    if (pub->projection == TR_PROJECT_ALL)
        return 0;
    size_t max = pub->include_count + pub->vector.filter_count + 4 * TR_KEY_PARTS_MAX;
    index->names = tr_arena_calloc(&table->arena, max, sizeof *index->names);
    if (!index->names)
        return TR_ENOMEM;
    add_parts(index, &table->pub.schema);
    add_parts(index, &pub->schema);
    for (unsigned k = 0; k < pub->vector.filter_count; k++)
        index->names[index->name_count++] = pub->vector.filters[k].name;
    for (unsigned k = 0; pub->projection == TR_PROJECT_INCLUDE && k < pub->include_count; k++)
        index->names[index->name_count++] = pub->include[k];
    qsort(index->names, index->name_count, sizeof *index->names, compare_names);
    unsigned distinct = 0;
    for (unsigned k = 0; k < index->name_count; k++)
        if (pub->vector.dimensions && tr_view_eq(index->names[k], pub->vector.attribute))
            continue; /* its entries hold the vector beside the item */
        else if (distinct == 0 || !tr_view_eq(index->names[k], index->names[distinct - 1]))
            index->names[distinct++] = index->names[k];
    index->name_count = distinct;
    return 0;
}

int tr__table_from_record(tr_engine *engine, tr_view record, tr__table **ret_table)
{
    tr__table *table = tr_calloc(1, sizeof *table);
    if (!table)
        return TR_ENOMEM;
    tr_arena_init(&table->arena, TABLE_ARENA_LIMIT);
    uint32_t stream = 0;
    tr_item copy = tr_arena_copy(&table->arena, record);
    int rc = copy.ptr ? tr__table_decode(copy, &table->arena, &table->pub, &stream) : TR_ENOMEM;
    if (!rc) {
        table->pub.stream = stream_by_number(engine, stream);
        table->index = tr_arena_calloc(&table->arena, table->pub.index_count + 1, sizeof *table->index);
        rc = table->index ? 0 : TR_ENOMEM;
    }
    for (unsigned i = 0; !rc && i < table->pub.index_count; i++)
        rc = list_names(table, i);
    if (rc) {
        tr__table_free(table);
        return rc;
    }
    *ret_table = table;
    return 0;
}

/* A table object from a draft whose parts lie anywhere: by way of its record, so that there is one way to
 * make tables. */
static int table_from_draft(tr_engine *engine, const tr_table *draft, tr__table **ret_table)
{
    tr_buf_reset(&engine->value);
    int rc = tr__table_encode(draft, &engine->value);
    return rc ? rc : tr__table_from_record(engine, tr_buf_view(&engine->value), ret_table);
}

int tr_engine_table_copy(tr_engine *engine, const tr_table *table, tr_table **ret_copy)
{
    tr__table *copy;
    int rc = table_from_draft(engine, table, &copy);
    if (rc)
        return rc;
    copy->pub.item_count = table->item_count;
    copy->pub.size_bytes = table->size_bytes;
    copy->pub.stream = NULL; /* it may go before the copy does */
    *ret_copy = &copy->pub;
    return 0;
}

void tr_engine_table_copy_free(tr_table *copy)
{
    tr__table_free((tr__table *)copy);
}

/* ----------------------------------------------------------------------------------------------- create */

static int draft_table(tr_engine *engine, const tr_table_spec *spec, tr_table *draft)
{
    char *arn = tr_arena_printf(&engine->scratch, "arn:aws:dynamodb:%s:%s:table/%.*s", engine->region,
                                engine->account, TR_FMT(spec->name));
    tr_index *indexes = tr_arena_calloc(&engine->scratch, spec->index_count + 1, sizeof *indexes);
    if (!arn || !indexes)
        return TR_ENOMEM;
    *draft = (tr_table){.space = engine->next_space++,
                        .name = spec->name,
                        .arn = tr_view_str(arn),
                        .created_ms = tr_engine_now_ms(engine),
                        .status = spec->filling ? TR_CREATING : TR_ACTIVE,
                        .restore = spec->restore,
                        .schema = spec->schema,
                        .attributes = spec->attributes,
                        .attribute_count = spec->attribute_count,
                        .indexes = indexes,
                        .index_count = spec->index_count,
                        .on_demand = spec->on_demand,
                        .throughput = spec->throughput,
                        .deletion_protection = spec->deletion_protection,
                        .table_class = spec->table_class,
                        .sse = spec->sse,
                        .tags = spec->tags,
                        .tag_count = spec->tag_count};
    tr_uuid(draft->uuid);
    for (unsigned i = 0; i < spec->index_count; i++) {
        indexes[i] = spec->indexes[i];
        indexes[i].space = engine->next_space++;
        indexes[i].status = TR_ACTIVE;
        indexes[i].backfilling = false;
    }
    return 0;
}

static int make_table(tr_engine *engine, const tr_table_spec *spec, tr__table **ret_table)
{
    tr_table draft;
    tr_arena_reset(&engine->scratch);
    int rc = draft_table(engine, spec, &draft);
    if (!rc && spec->stream_view != TR_VIEW_NONE) {
        tr__stream *stream;
        rc = tr__stream_create(engine, &draft, spec->stream_view, &stream);
        if (!rc)
            draft.stream = &stream->pub;
    }
    if (rc)
        return rc;
    rc = table_from_draft(engine, &draft, ret_table);
    if (rc)
        return rc;
    tr__store_counters(engine);
    rc = tr__table_insert(engine, *ret_table);
    if (rc)
        tr__table_free(*ret_table);
    return rc ? rc : tr__store_table(engine, *ret_table);
}

int tr_engine_create_table(tr_engine *engine, const tr_table_spec *spec, tr_table **ret_table, tr_error *err)
{
    if (tr_engine_table(engine, spec->name))
        return tr_fail(err, TR_EEXIST, "table %.*s exists already", TR_FMT(spec->name));
    if (spec->index_count > TR_TABLE_INDEXES_MAX || spec->name.len > TR_TABLE_NAME_MAX)
        return tr_fail(err, TR_ELIMIT, "too many indexes or too long a name");
    int rc = tr__engine_writable(engine, err);
    if (!rc)
        rc = tr__engine_write_out(engine, err);
    if (rc)
        return rc;
    tr__table *table;
    rc = make_table(engine, spec, &table);
    if (rc)
        return tr__engine_broken(engine, tr_fail(err, rc, "cannot make the table: %s", tr_strerror(rc)));
    rc = tr__catalogue_commit(engine, err);
    if (rc)
        return rc;
    *ret_table = &table->pub;
    return 0;
}

/* ----------------------------------------------------------------------------------------------- delete */

int tr__gone_append(tr_engine *engine, uint32_t space)
{
    int rc = grow((void **)&engine->gone, &engine->gone_cap, engine->gone_count, sizeof *engine->gone);
    if (!rc)
        engine->gone[engine->gone_count++] = (struct tr__gone){space, engine->state + 1};
    return rc;
}

/* The files go in tr_engine_tick, when no snapshot can see them. */
int tr__space_drop(tr_engine *engine, uint32_t space)
{
    char from[4], to[4];
    tr_put_be32(from, space);
    tr_put_be32(to, space + 1);
    tr_kv_batch_delete_range(engine->batch, TR_KV_ITEMS, tr_view_of(from, 4), tr_view_of(to, 4));
    tr__store_gone(engine, space);
    return tr__gone_append(engine, space);
}

int tr_engine_delete_table(tr_engine *engine, tr_table *pub, tr_error *err)
{
    tr__table *table = (tr__table *)pub;
    int rc = tr__engine_writable(engine, err);
    if (!rc)
        rc = tr__engine_write_out(engine, err);
    if (rc)
        return rc;
    if (pub->stream && pub->stream->disabled_ms == 0)
        rc = tr__stream_disable(engine, (tr__stream *)pub->stream);
    for (unsigned i = 0; !rc && i < pub->index_count; i++)
        rc = tr__space_drop(engine, pub->indexes[i].space);
    if (!rc && pub->ttl_space)
        rc = tr__space_drop(engine, pub->ttl_space);
    for (unsigned i = 0; i < table->fill_count; i++)
        tr__forget_fill(engine, table->fills[i].space);
    if (!rc)
        rc = tr__space_drop(engine, pub->space);
    if (rc)
        return tr__engine_broken(engine, tr_fail(err, rc, "cannot delete the table: %s", tr_strerror(rc)));
    tr__forget_table(engine, table);
    table_remove(engine, table);
    tr__table_free(table);
    return tr__catalogue_commit(engine, err);
}

/* ----------------------------------------------------------------------------------------------- update */

/* Puts the fresh object's contents in the place that callers know. Counts go on. */
static void replace_table(tr__table *table, tr__table *fresh)
{
    fresh->pub.item_count = table->pub.item_count;
    fresh->pub.size_bytes = table->pub.size_bytes;
    for (unsigned i = 0; i < fresh->pub.index_count; i++)
        for (unsigned k = 0; k < table->pub.index_count; k++)
            if (fresh->pub.indexes[i].space == table->pub.indexes[k].space) {
                fresh->pub.indexes[i].item_count = table->pub.indexes[k].item_count;
                fresh->pub.indexes[i].size_bytes = table->pub.indexes[k].size_bytes;
            }
    fresh->fills = table->fills;
    fresh->fill_count = table->fill_count;
    fresh->counts_dirty = table->counts_dirty;
    fresh->next_dirty = table->next_dirty;
    table->fills = NULL;
    table->fill_count = 0;
    tr__table old = *table;
    *table = *fresh;
    *fresh = old;
    tr__table_free(fresh);
}

int tr__table_change(tr_engine *engine, tr__table *table, const tr_table *draft)
{
    tr__table *fresh;
    int rc = table_from_draft(engine, draft, &fresh);
    if (rc)
        return rc;
    replace_table(table, fresh);
    return tr__store_table(engine, table);
}

static int change_stream(tr_engine *engine, tr_table *draft, tr_view_type view)
{
    bool enabled = draft->stream && draft->stream->disabled_ms == 0;
    if (view == TR_VIEW_NONE)
        return enabled ? tr__stream_disable(engine, (tr__stream *)draft->stream) : 0;
    if (enabled)
        return TR_EEXIST;
    tr__stream *stream;
    int rc = tr__stream_create(engine, draft, view, &stream);
    if (!rc) {
        draft->stream = &stream->pub;
        tr__store_counters(engine);
    }
    return rc;
}

static int add_index(tr_engine *engine, tr_table *draft, const tr_table_change *change)
{
    tr_index *indexes = tr_arena_calloc(&engine->scratch, draft->index_count + 1, sizeof *indexes);
    size_t count = draft->attribute_count + change->new_attribute_count;
    tr_key_part *attributes = tr_arena_calloc(&engine->scratch, count + 1, sizeof *attributes);
    if (!indexes || !attributes)
        return TR_ENOMEM;
    for (unsigned i = 0; i < draft->index_count; i++)
        indexes[i] = draft->indexes[i];
    tr_index *index = &indexes[draft->index_count++];
    *index = *change->create_index;
    index->space = engine->next_space++;
    index->status = TR_CREATING;
    index->backfilling = true;
    for (unsigned i = 0; i < draft->attribute_count; i++)
        attributes[i] = draft->attributes[i];
    for (unsigned i = 0; i < change->new_attribute_count; i++)
        attributes[draft->attribute_count + i] = change->new_attributes[i];
    draft->indexes = indexes;
    draft->attributes = attributes;
    draft->attribute_count = (unsigned)count;
    tr__store_counters(engine);
    return 0;
}

static int change_indexes(tr_engine *engine, tr_table *draft, const tr_table_change *change)
{
    tr_index *indexes = tr_arena_calloc(&engine->scratch, draft->index_count + 1, sizeof *indexes);
    if (!indexes)
        return TR_ENOMEM;
    for (unsigned i = 0; i < draft->index_count; i++) {
        indexes[i] = draft->indexes[i];
        if (change->delete_index.len && tr_view_eq(indexes[i].name, change->delete_index))
            indexes[i].status = TR_DELETING;
        if (change->update_index.len && tr_view_eq(indexes[i].name, change->update_index))
            indexes[i].throughput = change->index_throughput;
    }
    draft->indexes = indexes;
    return change->create_index ? add_index(engine, draft, change) : 0;
}

static void change_fields(tr_engine *engine, tr_table *draft, const tr_table_change *change)
{
    if (change->set_billing) {
        if (change->on_demand != draft->on_demand)
            draft->billing_changed_ms = tr_engine_now_ms(engine);
        draft->on_demand = change->on_demand;
    }
    if (change->set_throughput)
        draft->throughput = change->throughput;
    if (change->set_deletion_protection)
        draft->deletion_protection = change->deletion_protection;
    if (change->set_table_class)
        draft->table_class = change->table_class;
    if (change->set_sse)
        draft->sse = change->sse;
    if (change->set_tags) {
        draft->tags = change->tags;
        draft->tag_count = change->tag_count;
    }
    if (change->set_pitr) {
        draft->pitr_since_ms = change->pitr_since_ms;
        draft->pitr_days = change->pitr_days;
    }
    if (change->set_status)
        draft->status = change->status;
    if (change->set_restore)
        draft->restore = change->restore;
}

/* Another attribute means another list. */
static int change_ttl(tr_engine *engine, tr__table *table, tr_table *draft, tr_view attribute)
{
    if (tr_view_eq(draft->ttl_attribute, attribute))
        return 0;
    draft->ttl_attribute = attribute;
    if (draft->ttl_space) {
        tr__fill_end(table, draft->ttl_space);
        tr__forget_fill(engine, draft->ttl_space);
        int rc = tr__space_drop(engine, draft->ttl_space);
        if (rc)
            return rc;
    }
    draft->ttl_space = attribute.len ? engine->next_space++ : 0;
    draft->ttl_filling = attribute.len != 0;
    tr__store_counters(engine);
    return draft->ttl_filling ? tr__fill_begin(table, draft->ttl_space) : 0;
}

int tr_engine_update_table(tr_engine *engine, tr_table *pub, const tr_table_change *change, tr_error *err)
{
    int rc = tr__engine_writable(engine, err);
    if (!rc)
        rc = tr__engine_write_out(engine, err);
    if (rc)
        return rc;
    if (change->set_stream && change->stream_view != TR_VIEW_NONE && pub->stream &&
        pub->stream->disabled_ms == 0)
        return tr_fail(err, TR_EEXIST, "the table has an enabled stream already");
    if (change->create_index && pub->index_count >= TR_TABLE_INDEXES_MAX)
        return tr_fail(err, TR_ELIMIT, "the table has %d indexes already", TR_TABLE_INDEXES_MAX);
    tr_table draft = *pub;
    tr_arena_reset(&engine->scratch);
    change_fields(engine, &draft, change);
    rc = change_indexes(engine, &draft, change);
    if (!rc && change->set_stream)
        rc = change_stream(engine, &draft, change->stream_view);
    if (!rc && change->set_ttl)
        rc = change_ttl(engine, (tr__table *)pub, &draft, change->ttl_attribute);
    if (!rc && change->create_index)
        rc = tr__fill_begin((tr__table *)pub, draft.indexes[draft.index_count - 1].space);
    if (!rc)
        rc = tr__table_change(engine, (tr__table *)pub, &draft);
    if (rc)
        return tr__engine_broken(engine, tr_fail(err, rc, "cannot change the table: %s", tr_strerror(rc)));
    return tr__catalogue_commit(engine, err);
}

/* Removes the indexes that an update marked for deletion. */
static int drop_indexes(tr_engine *engine, tr__table *table)
{
    tr_table draft = table->pub;
    tr_arena_reset(&engine->scratch);
    tr_index *kept = tr_arena_calloc(&engine->scratch, draft.index_count, sizeof *kept);
    if (!kept)
        return TR_ENOMEM;
    draft.index_count = 0;
    int rc = 0;
    for (unsigned i = 0; !rc && i < table->pub.index_count; i++) {
        const tr_index *index = &table->pub.indexes[i];
        if (index->status != TR_DELETING) {
            kept[draft.index_count++] = *index;
            continue;
        }
        tr__fill_end(table, index->space);
        tr__forget_fill(engine, index->space);
        rc = tr__space_drop(engine, index->space);
    }
    draft.indexes = kept;
    return rc ? rc : tr__table_change(engine, table, &draft);
}

int tr__indexes_drop(tr_engine *engine, tr_error *err)
{
    for (size_t i = 0; i < engine->table_count; i++) {
        tr__table *table = engine->tables[i];
        unsigned marked = 0;
        for (unsigned k = 0; k < table->pub.index_count; k++)
            marked += table->pub.indexes[k].status == TR_DELETING;
        if (!marked)
            continue;
        int rc = tr__engine_write_out(engine, err);
        if (!rc)
            rc = drop_indexes(engine, table);
        if (!rc)
            rc = tr__catalogue_commit(engine, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* -------------------------------------------------------------------------------------------- load, free */

int tr__catalogue_load(tr_engine *engine, tr_error *err)
{
    return tr__store_load(engine, err);
}

void tr__catalogue_done(tr_engine *engine)
{
    for (size_t i = 0; i < engine->table_count; i++)
        tr__table_free(engine->tables[i]);
    for (size_t i = 0; i < engine->stream_count; i++)
        tr__stream_free(engine->streams[i]);
    tr_free(engine->tables);
    tr_free(engine->streams);
    tr_free(engine->slices);
    tr_free(engine->gone);
}
