/* SPDX-License-Identifier: MIT */
/* Tables and streams as stored records: packed items, so that a field can be added without a new format. */
#include "engine/engine_private.h"

#include <limits.h>

/* ---------------------------------------------------------------------------------------------- writing */

static void put_int(tr_packer *p, const char *name, int64_t number)
{
    tr_pack_name(p, tr_view_str(name));
    tr_pack_n_i64(p, number);
}

static void put_text(tr_packer *p, const char *name, tr_view text)
{
    tr_pack_name(p, tr_view_str(name));
    tr_pack_s(p, text);
}

static void put_parts(tr_packer *p, const char *name, const tr_key_part *parts, unsigned count)
{
    tr_pack_name(p, tr_view_str(name));
    tr_pack_list_begin(p);
    for (unsigned i = 0; i < count; i++) {
        tr_pack_map_begin(p);
        put_text(p, "name", parts[i].name);
        put_int(p, "type", parts[i].type);
        tr_pack_map_end(p);
    }
    tr_pack_list_end(p);
}

static void put_schema(tr_packer *p, const tr_key_schema *schema)
{
    put_parts(p, "hash", schema->hash, schema->hash_count);
    put_parts(p, "range", schema->range, schema->range_count);
}

static void put_throughput(tr_packer *p, const tr_throughput *t)
{
    const int64_t numbers[] = {t->read, t->write, t->max_read, t->max_write, t->warm_read, t->warm_write};
    tr_pack_name(p, TR_VIEW("throughput"));
    tr_pack_list_begin(p);
    for (size_t i = 0; i < TR_COUNT(numbers); i++)
        tr_pack_n_i64(p, numbers[i]);
    tr_pack_list_end(p);
}

static void put_vector(tr_packer *p, const tr_vector *vector)
{
    if (!vector->dimensions)
        return;
    tr_pack_name(p, TR_VIEW("vector"));
    tr_pack_map_begin(p);
    put_int(p, "dimensions", vector->dimensions);
    put_int(p, "distance", vector->distance);
    put_text(p, "attribute", vector->attribute);
    put_parts(p, "filters", vector->filters, vector->filter_count);
    tr_pack_map_end(p);
}

static void put_index(tr_packer *p, const tr_index *index)
{
    tr_pack_map_begin(p);
    put_int(p, "space", index->space);
    put_int(p, "local", index->local);
    put_text(p, "name", index->name);
    put_schema(p, &index->schema);
    put_int(p, "projection", index->projection);
    tr_pack_name(p, TR_VIEW("include"));
    tr_pack_list_begin(p);
    for (unsigned i = 0; i < index->include_count; i++)
        tr_pack_s(p, index->include[i]);
    tr_pack_list_end(p);
    put_throughput(p, &index->throughput);
    put_int(p, "status", index->status);
    put_int(p, "backfilling", index->backfilling);
    put_vector(p, &index->vector);
    tr_pack_map_end(p);
}

static void put_tags(tr_packer *p, const tr_tag *tags, unsigned count)
{
    tr_pack_name(p, TR_VIEW("tags"));
    tr_pack_list_begin(p);
    for (unsigned i = 0; i < count; i++) {
        tr_pack_map_begin(p);
        put_text(p, "key", tags[i].key);
        put_text(p, "value", tags[i].value);
        tr_pack_map_end(p);
    }
    tr_pack_list_end(p);
}

int tr__table_encode(const tr_table *t, tr_buf *out)
{
    tr_packer packer, *p = &packer;
    tr_packer_init(p, out);
    tr_pack_item_begin(p);
    put_int(p, "space", t->space);
    put_text(p, "name", t->name);
    put_text(p, "arn", t->arn);
    put_text(p, "uuid", tr_view_str(t->uuid));
    put_int(p, "created", t->created_ms);
    put_int(p, "status", t->status);
    put_schema(p, &t->schema);
    put_parts(p, "attributes", t->attributes, t->attribute_count);
    tr_pack_name(p, TR_VIEW("indexes"));
    tr_pack_list_begin(p);
    for (unsigned i = 0; i < t->index_count; i++)
        put_index(p, &t->indexes[i]);
    tr_pack_list_end(p);
    put_int(p, "on_demand", t->on_demand);
    put_int(p, "billing_changed", t->billing_changed_ms);
    put_throughput(p, &t->throughput);
    put_int(p, "protected", t->deletion_protection);
    put_text(p, "class", t->table_class);
    put_text(p, "sse", t->sse);
    put_tags(p, t->tags, t->tag_count);
    put_text(p, "ttl", t->ttl_attribute);
    put_int(p, "ttl_space", t->ttl_space);
    put_int(p, "ttl_filling", t->ttl_filling);
    put_int(p, "stream", t->stream ? t->stream->number : 0);
    put_int(p, "pitr", t->pitr_since_ms);
    put_int(p, "pitr_days", t->pitr_days);
    put_text(p, "restore", t->restore);
    return tr_pack_item_end(p);
}

int tr__stream_encode(const tr__stream *stream, tr_buf *out)
{
    const tr_stream *s = &stream->pub;
    tr_packer packer, *p = &packer;
    tr_packer_init(p, out);
    tr_pack_item_begin(p);
    put_int(p, "number", s->number);
    put_text(p, "table", s->table_name);
    put_text(p, "label", s->label);
    put_text(p, "arn", s->arn);
    put_int(p, "view", s->view);
    put_schema(p, &s->schema);
    put_int(p, "created", s->created_ms);
    put_int(p, "disabled", s->disabled_ms);
    put_int(p, "trimmed", (int64_t)stream->trimmed_to);
    tr_pack_name(p, TR_VIEW("shards"));
    tr_pack_list_begin(p);
    for (size_t i = 0; i < s->shard_count; i++) {
        const tr_shard *shard = &s->shards[i];
        tr_pack_map_begin(p);
        put_int(p, "number", shard->number);
        put_text(p, "id", tr_view_str(shard->id));
        put_text(p, "parent", tr_view_str(shard->parent));
        put_int(p, "from", (int64_t)shard->hash_from);
        put_int(p, "to", (int64_t)shard->hash_to);
        put_int(p, "start", (int64_t)shard->start);
        put_int(p, "end", (int64_t)shard->end);
        put_int(p, "created", shard->created_ms);
        put_int(p, "closed", shard->closed_ms);
        put_int(p, "trimmed", (int64_t)stream->state[i].trimmed_to);
        tr_pack_map_end(p);
    }
    tr_pack_list_end(p);
    return tr_pack_item_end(p);
}

/* ---------------------------------------------------------------------------------------------- reading */

/* A reader's errors are sticky, so that a record is read field by field and checked once. */
typedef struct reader {
    tr_item item;
    tr_arena *arena;
    int status;
} reader;

static tr_value get(reader *r, const char *name, tr_type type)
{
    tr_value value = {TR_NONE, {NULL, 0}};
    if (r->status)
        return value;
    if (tr_item_get(r->item, tr_view_str(name), &value) != 0 || value.type != type) {
        r->status = TR_ECORRUPT;
        return (tr_value){TR_NONE, {NULL, 0}};
    }
    return value;
}

static int64_t get_int(reader *r, const char *name)
{
    int64_t number = 0;
    tr_value value = get(r, name, TR_N);
    if (!r->status && tr_number_to_i64(value.payload, &number) != 0)
        r->status = TR_ECORRUPT;
    return number;
}

static tr_view get_text(reader *r, const char *name)
{
    return get(r, name, TR_S).payload;
}

/* Whether a field is there that older records do not have. */
static bool has(const reader *r, const char *name)
{
    tr_value value;
    return !r->status && tr_item_get(r->item, tr_view_str(name), &value) == 0;
}

static int get_small(reader *r, const char *name, int max)
{
    int64_t number = get_int(r, name);
    if (number >= 0 && number <= max)
        return (int)number;
    if (!r->status)
        r->status = TR_ECORRUPT;
    return 0;
}

static uint32_t get_u32(reader *r, const char *name)
{
    int64_t number = get_int(r, name);
    if (number >= 0 && number <= UINT32_MAX)
        return (uint32_t)number;
    if (!r->status)
        r->status = TR_ECORRUPT;
    return 0;
}

/* Starts to walk a list; its length. */
static uint32_t get_list(reader *r, const char *name, tr_packed_iter *ret_iter)
{
    tr_value value = get(r, name, TR_L);
    if (r->status)
        return 0;
    tr_value_iter(ret_iter, value);
    return tr_packed_count(value.payload);
}

/* The list's next element, a map, as a reader of its own. */
static reader next_map(reader *r, tr_packed_iter *iter)
{
    reader inner = {.arena = r->arena, .status = r->status};
    if (!inner.status && (!tr_packed_next(iter) || iter->value.type != TR_M))
        inner.status = TR_ECORRUPT;
    inner.item = iter->value.payload;
    return inner;
}

static void *get_array(reader *r, size_t count, size_t size)
{
    void *array = r->status ? NULL : tr_arena_calloc(r->arena, count ? count : 1, size);
    if (!array && !r->status)
        r->status = TR_ENOMEM;
    return array;
}

static unsigned get_parts(reader *r, const char *name, tr_key_part *parts, unsigned max)
{
    tr_packed_iter iter;
    uint32_t count = get_list(r, name, &iter);
    if (count > max && !r->status)
        r->status = TR_ECORRUPT;
    for (uint32_t i = 0; !r->status && i < count; i++) {
        reader part = next_map(r, &iter);
        parts[i].name = get_text(&part, "name");
        parts[i].type = (tr_type)get_small(&part, "type", TR_B);
        r->status = part.status;
    }
    return r->status ? 0 : count;
}

static void get_schema(reader *r, tr_key_schema *schema)
{
    schema->hash_count = get_parts(r, "hash", schema->hash, TR_KEY_PARTS_MAX);
    schema->range_count = get_parts(r, "range", schema->range, TR_KEY_PARTS_MAX);
}

static void get_throughput(reader *r, tr_throughput *t)
{
    int64_t *numbers[] = {&t->read, &t->write, &t->max_read, &t->max_write, &t->warm_read, &t->warm_write};
    tr_packed_iter iter;
    uint32_t count = get_list(r, "throughput", &iter);
    for (size_t i = 0; !r->status && i < count && i < TR_COUNT(numbers); i++)
        if (!tr_packed_next(&iter) || tr_number_to_i64(iter.value.payload, numbers[i]) != 0)
            r->status = TR_ECORRUPT;
}

static void get_vector(reader *r, tr_vector *vector)
{
    if (!has(r, "vector"))
        return;
    reader inner = {.item = get(r, "vector", TR_M).payload, .arena = r->arena, .status = r->status};
    tr_packed_iter iter;
    vector->dimensions = get_u32(&inner, "dimensions");
    vector->distance = (tr_distance)get_small(&inner, "distance", TR_DOT_PRODUCT);
    vector->attribute = get_text(&inner, "attribute");
    uint32_t count = get_list(&inner, "filters", &iter);
    vector->filters = get_array(&inner, count, sizeof *vector->filters);
    vector->filter_count = get_parts(&inner, "filters", vector->filters, count);
    if (!inner.status && vector->dimensions - 1u >= TR_VECTOR_DIMENSIONS_MAX)
        inner.status = TR_ECORRUPT;
    r->status = inner.status;
}

static void get_index(reader *r, tr_index *index)
{
    index->space = get_u32(r, "space");
    index->local = get_int(r, "local") != 0;
    index->name = get_text(r, "name");
    get_schema(r, &index->schema);
    index->projection = (tr_projection_type)get_small(r, "projection", TR_PROJECT_INCLUDE);
    tr_packed_iter iter;
    uint32_t count = get_list(r, "include", &iter);
    index->include = get_array(r, count, sizeof *index->include);
    for (; !r->status && index->include_count < count && tr_packed_next(&iter); index->include_count++)
        index->include[index->include_count] = iter.value.payload;
    get_throughput(r, &index->throughput);
    index->status = (tr_table_status)get_small(r, "status", TR_ACTIVE);
    index->backfilling = get_int(r, "backfilling") != 0;
    get_vector(r, &index->vector);
}

static void get_indexes(reader *r, tr_table *t)
{
    tr_packed_iter iter;
    uint32_t count = get_list(r, "indexes", &iter);
    t->indexes = get_array(r, count, sizeof *t->indexes);
    for (; !r->status && t->index_count < count; t->index_count++) {
        reader index = next_map(r, &iter);
        get_index(&index, &t->indexes[t->index_count]);
        r->status = index.status;
    }
}

static void get_tags(reader *r, tr_table *t)
{
    tr_packed_iter iter;
    uint32_t count = get_list(r, "tags", &iter);
    t->tags = get_array(r, count, sizeof *t->tags);
    for (; !r->status && t->tag_count < count; t->tag_count++) {
        reader tag = next_map(r, &iter);
        t->tags[t->tag_count] = (tr_tag){get_text(&tag, "key"), get_text(&tag, "value")};
        r->status = tag.status;
    }
}

int tr__table_decode(tr_item record, tr_arena *arena, tr_table *t, uint32_t *ret_stream)
{
    reader reading = {.item = record, .arena = arena, .status = tr_item_check(record)}, *r = &reading;
    t->space = get_u32(r, "space");
    t->name = get_text(r, "name");
    t->arn = get_text(r, "arn");
    tr_view uuid = get_text(r, "uuid");
    if (!r->status && uuid.len != TR_UUID_LEN)
        r->status = TR_ECORRUPT;
    if (!r->status)
        memcpy(t->uuid, uuid.ptr, TR_UUID_LEN);
    t->created_ms = get_int(r, "created");
    t->status = (tr_table_status)get_small(r, "status", TR_ACTIVE);
    get_schema(r, &t->schema);
    tr_packed_iter iter;
    uint32_t count = get_list(r, "attributes", &iter);
    t->attributes = get_array(r, count, sizeof *t->attributes);
    t->attribute_count = get_parts(r, "attributes", t->attributes, count);
    get_indexes(r, t);
    t->on_demand = get_int(r, "on_demand") != 0;
    t->billing_changed_ms = get_int(r, "billing_changed");
    get_throughput(r, &t->throughput);
    t->deletion_protection = get_int(r, "protected") != 0;
    t->table_class = get_text(r, "class");
    t->sse = get_text(r, "sse");
    get_tags(r, t);
    t->ttl_attribute = get_text(r, "ttl");
    t->ttl_space = get_u32(r, "ttl_space");
    t->ttl_filling = get_int(r, "ttl_filling") != 0;
    *ret_stream = get_u32(r, "stream");
    if (has(r, "pitr")) {
        t->pitr_since_ms = get_int(r, "pitr");
        t->pitr_days = get_u32(r, "pitr_days");
        t->restore = get_text(r, "restore");
    }
    return r->status;
}

static void get_shard(reader *r, tr_shard *shard, struct tr__shard_state *state)
{
    shard->number = get_u32(r, "number");
    tr_view id = get_text(r, "id"), parent = get_text(r, "parent");
    if (!r->status && (id.len >= TR_SHARD_ID_SIZE || parent.len >= TR_SHARD_ID_SIZE))
        r->status = TR_ECORRUPT;
    if (r->status)
        return;
    memcpy(shard->id, id.ptr, id.len);
    memcpy(shard->parent, parent.ptr, parent.len);
    shard->hash_from = (uint64_t)get_int(r, "from");
    shard->hash_to = (uint64_t)get_int(r, "to");
    shard->start = (uint64_t)get_int(r, "start");
    shard->end = (uint64_t)get_int(r, "end");
    shard->created_ms = get_int(r, "created");
    shard->closed_ms = get_int(r, "closed");
    state->trimmed_to = (uint64_t)get_int(r, "trimmed");
}

int tr__stream_decode(tr_item record, tr__stream *stream)
{
    tr_stream *s = &stream->pub;
    reader reading = {.item = record, .arena = &stream->arena, .status = tr_item_check(record)};
    reader *r = &reading;
    s->number = get_u32(r, "number");
    s->table_name = get_text(r, "table");
    s->label = get_text(r, "label");
    s->arn = get_text(r, "arn");
    s->view = (tr_view_type)get_small(r, "view", TR_NEW_AND_OLD_IMAGES);
    get_schema(r, &s->schema);
    s->created_ms = get_int(r, "created");
    s->disabled_ms = get_int(r, "disabled");
    stream->trimmed_to = (uint64_t)get_int(r, "trimmed");
    tr_packed_iter iter;
    uint32_t count = get_list(r, "shards", &iter);
    for (uint32_t i = 0; !r->status && i < count; i++) {
        reader shard = next_map(r, &iter);
        tr_shard *place;
        struct tr__shard_state *state;
        int rc = tr__stream_grow(stream, &place, &state);
        if (rc)
            return rc;
        get_shard(&shard, place, state);
        r->status = shard.status;
    }
    return r->status ? r->status : tr__stream_reopen(stream);
}
