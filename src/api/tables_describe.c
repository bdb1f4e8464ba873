/* SPDX-License-Identifier: MIT */
#include "api/vectors.h"

/* TableDescription. */

static const char *const statuses[] = {[TR_CREATING] = "CREATING",
                                       [TR_UPDATING] = "UPDATING",
                                       [TR_DELETING] = "DELETING",
                                       [TR_ACTIVE] = "ACTIVE"};

void tr__write_time(tr_json_writer *w, const char *name, int64_t ms)
{
    tr_json_name(w, name);
    tr_buf_printf(w->out, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
}

static void put_key(tr_json_writer *w, tr_view name, const char *type)
{
    tr_json_begin_object(w);
    tr_json_member_string(w, "AttributeName", name);
    tr_json_member_cstring(w, "KeyType", type);
    tr_json_end_object(w);
}

void tr__write_key_schema(tr_json_writer *w, const tr_key_schema *schema)
{
    tr_json_name(w, "KeySchema");
    tr_json_begin_array(w);
    for (unsigned i = 0; i < schema->hash_count; i++)
        put_key(w, schema->hash[i].name, "HASH");
    for (unsigned i = 0; i < schema->range_count; i++)
        put_key(w, schema->range[i].name, "RANGE");
    tr_json_end_array(w);
}

static void put_throughput(tr_json_writer *w, const tr_throughput *t)
{
    tr_json_name(w, "ProvisionedThroughput");
    tr_json_begin_object(w);
    tr_json_member_i64(w, "NumberOfDecreasesToday", 0);
    tr_json_member_i64(w, "ReadCapacityUnits", t->read);
    tr_json_member_i64(w, "WriteCapacityUnits", t->write);
    tr_json_end_object(w);
    if (t->max_read > 0 || t->max_write > 0) {
        tr_json_name(w, "OnDemandThroughput");
        tr_json_begin_object(w);
        if (t->max_read > 0)
            tr_json_member_i64(w, "MaxReadRequestUnits", t->max_read);
        if (t->max_write > 0)
            tr_json_member_i64(w, "MaxWriteRequestUnits", t->max_write);
        tr_json_end_object(w);
    }
    if (t->warm_read || t->warm_write) {
        tr_json_name(w, "WarmThroughput");
        tr_json_begin_object(w);
        tr_json_member_i64(w, "ReadUnitsPerSecond", t->warm_read);
        tr_json_member_i64(w, "WriteUnitsPerSecond", t->warm_write);
        tr_json_member_cstring(w, "Status", "ACTIVE");
        tr_json_end_object(w);
    }
}

void tr__write_projection(tr_json_writer *w, const tr_index *index)
{
    static const char *const types[] = {
        [TR_PROJECT_ALL] = "ALL", [TR_PROJECT_KEYS_ONLY] = "KEYS_ONLY", [TR_PROJECT_INCLUDE] = "INCLUDE"};
    tr_json_name(w, "Projection");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "ProjectionType", types[index->projection]);
    if (index->projection == TR_PROJECT_INCLUDE) {
        tr_json_name(w, "NonKeyAttributes");
        tr_json_begin_array(w);
        for (unsigned i = 0; i < index->include_count; i++)
            tr_json_string(w, index->include[i]);
        tr_json_end_array(w);
    }
    tr_json_end_object(w);
}

void tr__write_vector_infos(tr_json_writer *w, const tr_table *table)
{
    if (!tr__has_vectors(table))
        return;
    tr_json_name(w, "VectorIndexes");
    tr_json_begin_array(w);
    for (unsigned i = 0; i < table->index_count; i++) {
        if (!table->indexes[i].vector.dimensions || table->indexes[i].status == TR_DELETING)
            continue;
        tr_json_begin_object(w);
        tr__write_vector_members(w, &table->indexes[i]);
        tr_json_end_object(w);
    }
    tr_json_end_array(w);
}

void tr__write_index_infos(tr_json_writer *w, const tr_table *table, bool local)
{
    bool open = false;
    for (unsigned i = 0; i < table->index_count; i++) {
        const tr_index *index = &table->indexes[i];
        if (index->vector.dimensions || index->local != local)
            continue;
        if (!open) {
            tr_json_name(w, local ? "LocalSecondaryIndexes" : "GlobalSecondaryIndexes");
            tr_json_begin_array(w);
            open = true;
        }
        tr_json_begin_object(w);
        tr_json_member_string(w, "IndexName", index->name);
        tr__write_key_schema(w, &index->schema);
        tr__write_projection(w, index);
        if (!local) {
            tr_json_name(w, "ProvisionedThroughput");
            tr_json_begin_object(w);
            tr_json_member_i64(w, "ReadCapacityUnits", index->throughput.read);
            tr_json_member_i64(w, "WriteCapacityUnits", index->throughput.write);
            tr_json_end_object(w);
        }
        tr_json_end_object(w);
    }
    if (open)
        tr_json_end_array(w);
}

static void put_size(tr_call *c, const tr_table *table, const tr_index *index)
{
    tr_json_writer *w = &c->w;
    tr_json_member_i64(w, "IndexSizeBytes", index->size_bytes);
    tr_json_member_i64(w, "ItemCount", index->item_count);
    tr_buf_reset(c->text);
    tr_buf_printf(c->text, "%.*s/index/%.*s", TR_FMT(table->arn), TR_FMT(index->name));
    tr_json_member_string(w, "IndexArn", tr_buf_view(c->text));
}

static void put_index(tr_call *c, const tr_table *table, const tr_index *index, bool creating)
{
    tr_json_writer *w = &c->w;
    tr_json_begin_object(w);
    tr_json_member_string(w, "IndexName", index->name);
    tr__write_key_schema(w, &index->schema);
    tr__write_projection(w, index);
    if (!index->local) {
        tr_json_member_cstring(w, "IndexStatus", statuses[creating ? TR_CREATING : index->status]);
        if (!creating && index->status == TR_CREATING)
            tr_json_member_bool(w, "Backfilling", index->backfilling);
        put_throughput(w, &index->throughput);
    }
    put_size(c, table, index);
    tr_json_end_object(w);
}

static void put_indexes(tr_call *c, const tr_table *table, bool local, bool creating)
{
    bool open = false;
    for (unsigned i = 0; i < table->index_count; i++) {
        if (table->indexes[i].vector.dimensions || table->indexes[i].local != local)
            continue;
        if (!open) {
            tr_json_name(&c->w, local ? "LocalSecondaryIndexes" : "GlobalSecondaryIndexes");
            tr_json_begin_array(&c->w);
            open = true;
        }
        put_index(c, table, &table->indexes[i], creating);
    }
    if (open)
        tr_json_end_array(&c->w);
}

static void put_vector(tr_call *c, const tr_table *table, const tr_index *index, bool creating)
{
    tr_json_writer *w = &c->w;
    tr_json_begin_object(w);
    tr__write_vector_members(w, index);
    tr_json_member_cstring(w, "IndexStatus", statuses[creating ? TR_CREATING : index->status]);
    if (!creating && index->status == TR_CREATING)
        tr_json_member_bool(w, "Backfilling", index->backfilling);
    put_size(c, table, index);
    tr_json_end_object(w);
}

static void put_vectors(tr_call *c, const tr_table *table, bool creating)
{
    bool open = false;
    for (unsigned i = 0; i < table->index_count; i++) {
        if (!table->indexes[i].vector.dimensions)
            continue;
        if (!open) {
            tr_json_name(&c->w, "VectorIndexes");
            tr_json_begin_array(&c->w);
            open = true;
        }
        put_vector(c, table, &table->indexes[i], creating);
    }
    if (open)
        tr_json_end_array(&c->w);
}

static void put_billing(tr_json_writer *w, const tr_table *table)
{
    if (!table->on_demand && !table->billing_changed_ms)
        return;
    const char *mode = table->on_demand ? "PAY_PER_REQUEST" : "PROVISIONED";
    tr_json_name(w, "BillingModeSummary");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "BillingMode", mode);
    if (table->on_demand && table->billing_changed_ms)
        tr__write_time(w, "LastUpdateToPayPerRequestDateTime", table->billing_changed_ms);
    tr_json_end_object(w);
    tr_json_name(w, "TableThroughputModeSummary");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "TableThroughputMode", mode);
    tr_json_end_object(w);
}

static void put_stream(tr_json_writer *w, const tr_table *table)
{
    const tr_stream *s = table->stream;
    if (!s)
        return;
    if (!s->disabled_ms) {
        tr_json_name(w, "StreamSpecification");
        tr_json_begin_object(w);
        tr_json_member_bool(w, "StreamEnabled", true);
        tr_json_member_cstring(w, "StreamViewType", tr_view_type_name(s->view));
        tr_json_end_object(w);
    }
    tr_json_member_string(w, "LatestStreamLabel", s->label);
    tr_json_member_string(w, "LatestStreamArn", s->arn);
}

static void put_attributes(tr_json_writer *w, const tr_table *table)
{
    tr_json_name(w, "AttributeDefinitions");
    tr_json_begin_array(w);
    for (unsigned i = 0; i < table->attribute_count; i++) {
        tr_json_begin_object(w);
        tr_json_member_string(w, "AttributeName", table->attributes[i].name);
        tr_json_member_cstring(w, "AttributeType", tr_type_name(table->attributes[i].type));
        tr_json_end_object(w);
    }
    tr_json_end_array(w);
}

void tr__write_table(tr_call *c, const tr_table *table, tr_table_status status)
{
    tr_json_writer *w = &c->w;
    bool creating = status == TR_CREATING;
    tr_json_begin_object(w);
    put_attributes(w, table);
    tr_json_member_string(w, "TableName", table->name);
    tr__write_key_schema(w, &table->schema);
    tr_json_member_cstring(w, "TableStatus", statuses[status]);
    tr__write_time(w, "CreationDateTime", table->created_ms);
    put_throughput(w, &table->throughput);
    tr_json_member_i64(w, "TableSizeBytes", table->size_bytes);
    tr_json_member_i64(w, "ItemCount", table->item_count);
    tr_json_member_string(w, "TableArn", table->arn);
    tr_json_member_cstring(w, "TableId", table->uuid);
    put_billing(w, table);
    put_indexes(c, table, true, creating);
    put_indexes(c, table, false, creating);
    put_vectors(c, table, creating);
    put_stream(w, table);
    if (table->restore.len) {
        tr_json_name(w, "RestoreSummary");
        tr_json_value(w, table->restore);
    }
    if (table->sse.len) {
        tr_json_name(w, "SSEDescription");
        tr_json_value(w, table->sse);
    }
    if (table->table_class.len) {
        tr_json_name(w, "TableClassSummary");
        tr_json_begin_object(w);
        tr_json_member_string(w, "TableClass", table->table_class);
        tr_json_end_object(w);
    }
    tr_json_member_bool(w, "DeletionProtectionEnabled", table->deletion_protection);
    tr_json_end_object(w);
}
