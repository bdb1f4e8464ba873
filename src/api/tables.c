/* SPDX-License-Identifier: MIT */
#include "api/vectors.h"

/* CreateTable, DescribeTable, ListTables, DeleteTable, and lookups. */

tr_view tr__table_of_arn(tr_view name)
{
    if (!tr_view_starts(name, TR_VIEW("arn:")))
        return name;
    size_t at = tr_view_find(name, TR_VIEW(":table/"), 0);
    if (at == SIZE_MAX)
        return name;
    at += strlen(":table/");
    size_t end = tr_view_find(name, TR_VIEW("/"), at);
    return tr_view_of(name.ptr + at, (end == SIZE_MAX ? name.len : end) - at);
}

int tr__find_table(tr_call *c, tr_view name, tr_table **ret_table)
{
    tr_table *table = tr_engine_table(c->engine, tr__table_of_arn(name));
    if (TR_UNLIKELY(!table || table->status == TR_CREATING || table->status == TR_DELETING))
        return tr__no_table(c, name, false);
    *ret_table = table;
    return 0;
}

const tr_index *tr__find_index(const tr_table *table, tr_view name)
{
    for (unsigned i = 0; i < table->index_count; i++)
        if (!table->indexes[i].vector.dimensions && tr_view_eq(table->indexes[i].name, name) &&
            table->indexes[i].status != TR_DELETING)
            return &table->indexes[i];
    return NULL;
}

int tr__find_described(tr_call *c, tr_view name, tr_table **ret_table)
{
    *ret_table = tr_engine_table(c->engine, tr__table_of_arn(name));
    return *ret_table ? 0 : tr__no_table(c, tr__table_of_arn(name), true);
}

/* ------------------------------------------------------------------------------------------ CreateTable */

static int indexes_of(tr_call *c, const tr_table_request *r, tr_table_spec *spec)
{
    const tr_index_spec *local = r->local.items, *global = r->global.items;
    const tr_vector_index_spec *vectors = r->vectors.items;
    spec->indexes =
        tr_arena_calloc(c->arena, r->local.count + r->global.count + r->vectors.count, sizeof *spec->indexes);
    if (!spec->indexes)
        return TR_ENOMEM;
    int e = 0;
    for (uint32_t i = 0; i < r->local.count && e == 0; i++)
        e = tr__index_of(c, &local[i], &r->attributes, true, &spec->indexes[spec->index_count++]);
    for (uint32_t i = 0; i < r->global.count && e == 0; i++)
        e = tr__index_of(c, &global[i], &r->attributes, false, &spec->indexes[spec->index_count++]);
    for (uint32_t i = 0; i < r->vectors.count && e == 0; i++)
        e = tr__vector_of(c, &vectors[i], &r->attributes, &spec->indexes[spec->index_count++]);
    return e;
}

int tr__table_spec_of(tr_call *c, const tr_table_request *r, tr_table_spec *spec)
{
    /* the table's own schema reads as an index's does */
    tr_projection_spec all = {.type = TR_VIEW("ALL")};
    tr_index_spec own = {.schema = r->schema, .projection = &all};
    tr_index schema;
    int e = tr__index_of(c, &own, &r->attributes, false, &schema);
    *spec = (tr_table_spec){
        .name = r->name,
        .schema = schema.schema,
        .attribute_count = r->attributes.count,
        .on_demand = tr_view_is(r->billing, "PAY_PER_REQUEST"),
        .throughput = tr__throughput_of(r->throughput, r->on_demand, r->warm),
        .deletion_protection = r->deletion_protection.value,
        .table_class = r->table_class,
        .tags = r->tags.items,
        .tag_count = r->tags.count,
        .stream_view =
            r->stream && r->stream->enabled.value ? tr__view_type_of(r->stream->view) : TR_VIEW_NONE,
    };
    if (e == 0)
        e = tr__attributes_of(c, &r->attributes, &spec->attributes);
    if (e == 0)
        e = tr__sse_of(c, r->sse, &spec->sse);
    return e ? e : indexes_of(c, r, spec);
}

int tr__op_create_table(tr_call *c, void *request)
{
    const tr_table_request *r = request;
    tr_table_spec spec;
    tr_table *table;
    tr_error err;
    int e = tr__check_create(c, r);
    if (e == 0)
        e = tr__check_tags(c, &r->tags);
    if (e == 0)
        e = tr__table_spec_of(c, r, &spec);
    if (e)
        return e;
    e = tr_engine_create_table(c->engine, &spec, &table, &err);
    if (e == TR_EEXIST)
        return tr__fail(c, 400, TR_TYPE("ResourceInUseException"), "Table already exists: %.*s",
                        TR_FMT(r->name));
    if (e)
        return tr__fail_code(c, e, &err);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "TableDescription");
    tr__write_table(c, table, TR_CREATING);
    tr_json_end_object(&c->w);
    return 0;
}

/* ------------------------------------------------------------------------------ DescribeTable, DeleteTable
 */

typedef struct name_request {
    tr_view name;
} name_request;

static const tr_member name_members[] = {
    TR_MEMBER(name_request, name, "TableName", TR_K_STRING, .rules = TR_R_TABLE),
};
const tr_shape tr__shape_describe_table = TR_SHAPE(name_request, "DescribeTableInput", name_members);
const tr_shape tr__shape_delete_table = TR_SHAPE(name_request, "DeleteTableInput", name_members);

int tr__op_describe_table(tr_call *c, void *request)
{
    tr_table *table;
    int e = tr__find_described(c, ((name_request *)request)->name, &table);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Table");
    tr__write_table(c, table, table->status);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_delete_table(tr_call *c, void *request)
{
    tr_table *table;
    tr_error err;
    int e = tr__find_described(c, ((name_request *)request)->name, &table);
    if (e)
        return e;
    if (table->deletion_protection)
        return tr__invalid(
            c, "Resource cannot be deleted as it is currently protected against deletion. Disable "
               "deletion protection first.");
    if (table->status == TR_DELETING)
        return tr__fail(c, 400, TR_TYPE("ResourceInUseException"),
                        "Attempt to change a resource which is still in use: Table is being deleted: %.*s",
                        TR_FMT(table->name));
    if (tr__making_vectors(table))
        return tr__fail(c, 400, TR_TYPE("ResourceInUseException"),
                        "Attempt to change a resource which is still in use: Cannot delete table while "
                        "indexes are being created, updated, or deleted.");
    /* described first: deleting may free it */
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "TableDescription");
    tr__write_table(c, table, TR_DELETING);
    tr_json_end_object(&c->w);
    e = tr_engine_delete_table(c->engine, table, &err);
    return e ? tr__fail_code(c, e, &err) : 0;
}

/* ------------------------------------------------------------------------------------------- ListTables */

typedef struct list_request {
    tr_view start;
    tr_int limit;
} list_request;

static const tr_member list_members[] = {
    TR_MEMBER(list_request, start, "ExclusiveStartTableName", TR_K_STRING,
              .rules = TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255),
    TR_MEMBER(list_request, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1, .max = 100),
};
const tr_shape tr__shape_list_tables = TR_SHAPE(list_request, "ListTablesInput", list_members);

int tr__op_list_tables(tr_call *c, void *request)
{
    const list_request *r = request;
    int64_t left = r->limit.given ? r->limit.value : 100;
    tr_view last = {NULL, 0};
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "TableNames");
    tr_json_begin_array(&c->w);
    tr_table *table = tr_engine_next_table(c->engine, r->start);
    for (; table && left > 0; left--) {
        last = table->name;
        tr_json_string(&c->w, last);
        table = tr_engine_next_table(c->engine, last);
    }
    tr_json_end_array(&c->w);
    if (table)
        tr_json_member_string(&c->w, "LastEvaluatedTableName", last);
    tr_json_end_object(&c->w);
    return 0;
}
