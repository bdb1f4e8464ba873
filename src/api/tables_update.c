/* SPDX-License-Identifier: MIT */
#include "api/vectors.h"

/* UpdateTable. */

#define WERE_INVALID "One or more parameter values were invalid: "

#define GLOBAL_INDEXES_MAX 20

typedef tr_table_request req;

static bool has_units(const tr_units *u)
{
    return u && (u->read.given || u->write.given);
}

static tr_view update_name(const tr_index_update *u)
{
    return u->update ? u->update->name : u->create ? u->create->name : u->drop->name;
}

static int check_updates(tr_call *c, const req *r)
{
    const tr_index_update *u = r->index_updates.items;
    for (uint32_t i = 0; i < r->index_updates.count; i++)
        if (!u[i].create && !u[i].update && !u[i].drop)
            return tr__invalid(c, WERE_INVALID "One of GlobalSecondaryIndexUpdate.Update, "
                                               "GlobalSecondaryIndexUpdate.Create, "
                                               "GlobalSecondaryIndexUpdate.Delete must not be null");
    for (uint32_t i = 0; i < r->index_updates.count; i++)
        if (u[i].update && u[i].update->warm && !has_units(u[i].update->warm))
            return tr__invalid(c,
                               WERE_INVALID "WarmThroughput must have at least one of ReadUnitsPerSecond or "
                                            "WriteUnitsPerSecond specified for index: %.*s",
                               TR_FMT(u[i].update->name));
    for (uint32_t i = 0; i < r->index_updates.count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (tr_view_eq(update_name(&u[i]), update_name(&u[k])))
                return tr__invalid(c,
                                   WERE_INVALID "Only one global secondary index update per index is allowed "
                                                "simultaneously. Index: %.*s",
                                   TR_FMT(update_name(&u[i])));
    return 0;
}

/* What can be told without the table. */
static int check_request(tr_call *c, const req *r)
{
    if (tr_view_is(r->billing, "PAY_PER_REQUEST") && r->throughput)
        return tr__invalid(c,
                           WERE_INVALID "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified "
                                        "when BillingMode is PAY_PER_REQUEST");
    int e = tr__check_throughput(c, r->throughput);
    if (e)
        return e;
    if (!r->throughput && !r->billing.ptr && !r->stream && !r->deletion_protection.given &&
        !r->table_class.ptr && !has_units(r->on_demand) && !has_units(r->warm) && !r->sse &&
        !r->index_updates.count && !r->vector_updates.count)
        return tr__invalid(c,
                           "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, "
                           "GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required");
    return check_updates(c, r);
}

static int check_on_demand(tr_call *c, const req *r, const tr_table *table)
{
    const tr_units *o = r->on_demand;
    bool provisioned = r->billing.ptr ? tr_view_is(r->billing, "PROVISIONED") : !table->on_demand;
    if (!has_units(o))
        return 0;
    if (provisioned)
        return tr__invalid(c,
                           WERE_INVALID
                           "%s for OnDemandThroughput cannot be specified when the table BillingMode "
                           "is PROVISIONED",
                           o->read.given ? "MaxReadRequestUnits" : "MaxWriteRequestUnits");
    bool bad_read = o->read.given && (o->read.value == 0 || o->read.value < -1);
    bool bad_write = o->write.given && (o->write.value == 0 || o->write.value < -1);
    if (bad_read || bad_write)
        return tr__invalid(
            c, WERE_INVALID "Requested %s for OnDemandThroughput for table is outside of valid range",
            bad_read ? "MaxReadRequestUnits" : "MaxWriteRequestUnits");
    return 0;
}

static int check_billing(tr_call *c, const req *r, const tr_table *table)
{
    bool to_provisioned = tr_view_is(r->billing, "PROVISIONED");
    if (table->on_demand && !r->billing.ptr && r->throughput)
        return tr__invalid(c,
                           WERE_INVALID "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified "
                                        "when BillingMode is PAY_PER_REQUEST");
    if (to_provisioned && !r->throughput)
        return tr__invalid(c, WERE_INVALID
                           "ProvisionedThroughput must be specified when BillingMode is PROVISIONED");
    int e = check_on_demand(c, r, table);
    if (e || !r->throughput || table->on_demand || (r->billing.ptr && !to_provisioned))
        return e;
    const tr_throughput *now = &table->throughput;
    if (now->read != r->throughput->read.value || now->write != r->throughput->write.value)
        return 0;
    return tr__invalid(
        c,
        "The provisioned throughput for the table will not change. The requested value equals the "
        "current value. Current ReadCapacityUnits provisioned for the table: %lld. Requested "
        "ReadCapacityUnits: %lld. Current WriteCapacityUnits provisioned for the table: %lld. "
        "Requested WriteCapacityUnits: %lld. Refer to the Amazon DynamoDB Developer Guide for "
        "current limits and how to request higher limits.",
        (long long)now->read, (long long)now->read, (long long)now->write, (long long)now->write);
}

static int check_stream(tr_call *c, const req *r, const tr_table *table)
{
    bool enabled = table->stream && !table->stream->disabled_ms;
    if (!r->stream)
        return 0;
    if (r->stream->enabled.value && enabled)
        return tr__invalid(c, "Table already has an enabled stream: TableName: %.*s", TR_FMT(table->name));
    if (!r->stream->enabled.value && !enabled)
        return tr__invalid(c, "Table has no stream to disable: TableName: %.*s", TR_FMT(table->name));
    return tr__check_stream_spec(c, r->stream);
}

/* There is such an index, and something to change about it. */
static int check_index_update(tr_call *c, const req *r, const tr_table *table, const tr_index_spec *update)
{
    bool on_demand = r->billing.ptr ? tr_view_is(r->billing, "PAY_PER_REQUEST") : table->on_demand;
    if (!tr__find_index(table, update->name))
        return update->throughput
                   ? tr__invalid(c,
                                 "This operation cannot be performed with given input values. Please contact "
                                 "DynamoDB service team for more info: Action Blocked: IndexUpdate")
                   : tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                              "Requested resource not found: Index %.*s for table %.*s", TR_FMT(update->name),
                              TR_FMT(table->name));
    if (update->throughput || has_units(update->on_demand) || has_units(update->warm))
        return 0;
    return tr__invalid(c,
                       WERE_INVALID
                       "The only Updates for index: %.*s when TableThroughputMode is %s can be to "
                       "%s, WarmThroughput",
                       TR_FMT(update->name), on_demand ? "PAY_PER_REQUEST" : "PROVISIONED",
                       on_demand ? "OnDemandThroughput" : "ProvisionedThroughput");
}

static int check_index_warm(tr_call *c, const tr_table *table, const tr_index_update *u)
{
    const tr_index_spec *spec = u->create ? u->create : u->update;
    if (!spec || !spec->warm)
        return 0;
    const tr_index *index = u->update ? tr__find_index(table, spec->name) : NULL;
    const tr_throughput now =
        index ? index->throughput : tr__throughput_of(spec->throughput, spec->on_demand, NULL);
    return tr__check_warm(c, spec->warm, &now, table->on_demand, !index, spec->name);
}

/* Over the indexes that will be there. */
static int check_projected(tr_call *c, const req *r, const tr_table *table)
{
    const tr_index_update *u = r->index_updates.items;
    size_t count = 0;
    bool more = false;
    for (unsigned i = 0; i < table->index_count; i++) {
        const tr_index *index = &table->indexes[i];
        if (index->status == TR_DELETING)
            continue;
        count += index->projection == TR_PROJECT_INCLUDE ? index->include_count : 0;
        count += index->vector.dimensions ? 1 + index->vector.filter_count : 0;
    }
    const tr_vector_update *v = r->vector_updates.items;
    for (uint32_t i = 0; i < r->vector_updates.count; i++) {
        const tr_list created = {.items = v[i].create, .count = v[i].create ? 1 : 0};
        count += tr__vectors_projected(&created);
        more |= v[i].create != NULL;
    }
    for (uint32_t i = 0; i < r->index_updates.count; i++) {
        const tr_list created = {.items = u[i].create, .count = u[i].create ? 1 : 0};
        count += tr__projected(&created);
        more |= u[i].create != NULL;
    }
    return more && count > TR_PROJECTED_MAX ? tr__too_many_projected(c) : 0;
}

static unsigned globals(const tr_table *table)
{
    unsigned count = 0;
    for (unsigned i = 0; i < table->index_count; i++)
        count += !table->indexes[i].local && !table->indexes[i].vector.dimensions;
    return count;
}

/* What is being made or deleted, but for a vector index that this very request deletes: its filling may be
 * given up. */
static bool under_way(const req *r, const tr_index *index)
{
    const tr_vector_update *v = r->vector_updates.items;
    if (index->status != TR_CREATING)
        return index->status == TR_DELETING;
    for (uint32_t i = 0; i < r->vector_updates.count; i++)
        if (v[i].drop && tr_view_eq(v[i].drop->name, index->name))
            return false;
    return true;
}

static int check_indexes(tr_call *c, const req *r, const tr_table *table)
{
    const tr_index_update *u = r->index_updates.items;
    unsigned online = 0;
    for (uint32_t i = 0; i < r->index_updates.count; i++) {
        int e = u[i].update ? check_index_update(c, r, table, u[i].update) : 0;
        if (e)
            return e;
        online += u[i].create || u[i].drop;
    }
    online += r->vector_updates.count;
    for (unsigned i = 0; i < table->index_count; i++)
        online += online && under_way(r, &table->indexes[i]);
    if (online > 1)
        return tr__fail(
            c, 400, TR_TYPE("LimitExceededException"),
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously "
            "per table");
    for (uint32_t i = 0; i < r->index_updates.count; i++) {
        if (u[i].create &&
            (tr__find_index(table, u[i].create->name) || tr__find_vector(table, u[i].create->name)))
            return tr__invalid(c, WERE_INVALID "Index already exists: %.*s", TR_FMT(u[i].create->name));
        if (u[i].create && globals(table) >= GLOBAL_INDEXES_MAX)
            return tr__fail(c, 400, TR_TYPE("LimitExceededException"),
                            "GlobalSecondaryIndex count exceeds the per-table limit of 20");
        int e = u[i].create ? tr__check_index_spec(c, u[i].create, &r->attributes) : 0;
        if (e == 0)
            e = check_index_warm(c, table, &u[i]);
        if (e)
            return e;
        if (u[i].drop && !tr__find_index(table, u[i].drop->name))
            return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                            "Requested resource not found: Table: %.*s not found", TR_FMT(u[i].drop->name));
    }
    int e = tr__check_vector_updates(c, r, table);
    return e ? e : check_projected(c, r, table);
}

/* What an attribute is already defined as stays: only its name counts in the request. */
static bool defined_type(const tr_table *table, tr_key_part *part)
{
    for (unsigned i = 0; i < table->attribute_count; i++) {
        if (!tr_view_eq(table->attributes[i].name, part->name))
            continue;
        part->type = table->attributes[i].type;
        return true;
    }
    return false;
}

/* The index, and the definitions that it brings. */
static int fill_new_index(tr_call *c, const req *r, const tr_table *table, const tr_index_spec *spec,
                          tr_table_change *change)
{
    tr_index *index = tr_arena_calloc(c->arena, 1, sizeof *index);
    tr_key_part *parts = tr_arena_calloc(c->arena, 2 * TR_KEY_PARTS_MAX, sizeof *parts);
    if (!index || !parts)
        return TR_ENOMEM;
    int e = tr__index_of(c, spec, &r->attributes, false, index);
    tr_key_schema *schema = &index->schema;
    unsigned count = 0;
    for (unsigned i = 0; i < schema->hash_count; i++)
        if (!defined_type(table, &schema->hash[i]))
            parts[count++] = schema->hash[i];
    for (unsigned i = 0; i < schema->range_count; i++)
        if (!defined_type(table, &schema->range[i]))
            parts[count++] = schema->range[i];
    change->create_index = index;
    change->new_attributes = parts;
    change->new_attribute_count = count;
    return e;
}

static int fill_vector(tr_call *c, const req *r, const tr_table *table, const tr_vector_update *u,
                       tr_table_change *change)
{
    if (u->drop) {
        change->delete_index = u->drop->name;
        return 0;
    }
    tr_index *index = tr_arena_calloc(c->arena, 1, sizeof *index);
    tr_key_part *parts = tr_arena_calloc(c->arena, 1 + TR_VECTOR_FILTERS_MAX, sizeof *parts);
    int e = index && parts ? tr__vector_of(c, u->create, &r->attributes, index) : TR_ENOMEM;
    if (e)
        return e;
    unsigned count = 0;
    if (index->schema.hash_count && !defined_type(table, &index->schema.hash[0]))
        parts[count++] = index->schema.hash[0];
    for (unsigned i = 0; i < index->vector.filter_count; i++)
        if (!defined_type(table, &index->vector.filters[i]))
            parts[count++] = index->vector.filters[i];
    change->create_index = index;
    change->new_attributes = parts;
    change->new_attribute_count = count;
    return 0;
}

/* What is given. */
static void set_units(tr_throughput *t, const tr_units *provisioned, const tr_units *on_demand)
{
    if (provisioned) {
        t->read = provisioned->read.value;
        t->write = provisioned->write.value;
    }
    if (on_demand && on_demand->read.given)
        t->max_read = on_demand->read.value;
    if (on_demand && on_demand->write.given)
        t->max_write = on_demand->write.value;
}

static int fill_index(tr_call *c, const req *r, const tr_table *table, const tr_index_update *u,
                      tr_table_change *change)
{
    if (u->drop) {
        change->delete_index = u->drop->name;
    } else if (u->update) {
        const tr_index *index = tr__find_index(table, u->update->name);
        change->update_index = u->update->name;
        change->index_throughput = index ? index->throughput : (tr_throughput){0};
        set_units(&change->index_throughput, u->update->throughput, u->update->on_demand);
        tr__set_warm(&change->index_throughput, u->update->warm, table->on_demand);
    } else {
        return fill_new_index(c, r, table, u->create, change);
    }
    return 0;
}

static void fill_throughput(const req *r, const tr_table *table, tr_table_change *change)
{
    change->set_billing = r->billing.ptr != NULL;
    change->on_demand = tr_view_is(r->billing, "PAY_PER_REQUEST");
    change->set_throughput = r->throughput || has_units(r->on_demand) || has_units(r->warm) ||
                             (change->set_billing && change->on_demand);
    change->throughput = table->throughput;
    if (!r->throughput && change->set_billing && change->on_demand)
        change->throughput.read = change->throughput.write = 0;
    set_units(&change->throughput, r->throughput, r->on_demand);
    tr__set_warm(&change->throughput, r->warm, table->on_demand);
}

static int fill(tr_call *c, const req *r, const tr_table *table, tr_table_change *change)
{
    fill_throughput(r, table, change);
    change->set_deletion_protection = r->deletion_protection.given;
    change->deletion_protection = r->deletion_protection.value;
    change->set_table_class = r->table_class.ptr != NULL;
    change->table_class = r->table_class;
    change->set_stream = r->stream != NULL;
    if (r->stream && r->stream->enabled.value)
        change->stream_view = tr__view_type_of(r->stream->view);
    change->set_sse = r->sse != NULL;
    return tr__sse_of(c, r->sse, &change->sse);
}

/* Several index updates are several changes of the catalogue; the first carries everything else. */
static int carry_out(tr_call *c, const req *r, tr_table **table)
{
    tr_table_change change = {0};
    tr_error err;
    tr_view name = tr_arena_copy(c->arena, (*table)->name);
    int e = fill(c, r, *table, &change);
    const tr_index_update *u = r->index_updates.items;
    const tr_vector_update *v = r->vector_updates.items;
    uint32_t count = r->index_updates.count + r->vector_updates.count;
    for (uint32_t i = 0; e == 0 && (i == 0 || i < count); i++) {
        if (i < r->index_updates.count)
            e = fill_index(c, r, *table, &u[i], &change);
        else if (i < count)
            e = fill_vector(c, r, *table, &v[i - r->index_updates.count], &change);
        if (e)
            return e;
        e = tr_engine_update_table(c->engine, *table, &change, &err);
        if (e)
            return tr__fail_code(c, e, &err);
        *table = tr_engine_table(c->engine, name);
        change = (tr_table_change){0};
        if (!*table)
            return tr__no_table(c, name, true);
    }
    return e;
}

int tr__op_update_table(tr_call *c, void *request)
{
    const req *r = request;
    tr_table *table;
    int e = check_request(c, r);
    if (e == 0)
        e = tr__find_described(c, r->name, &table);
    if (e == 0 && (table->status == TR_CREATING || table->status == TR_DELETING))
        e = tr__fail(c, 400, TR_TYPE("ResourceInUseException"),
                     "Attempt to change a resource which is still in use: Table is being %s: %.*s",
                     table->status == TR_CREATING ? "created" : "deleted", TR_FMT(table->name));
    if (e == 0)
        e = check_billing(c, r, table);
    if (e == 0)
        e = check_stream(c, r, table);
    if (e == 0)
        e = tr__check_warm(c, r->warm, &table->throughput, table->on_demand, false, (tr_view){NULL, 0});
    if (e == 0)
        e = check_indexes(c, r, table);
    if (e)
        return e;
    const tr_throughput before = table->throughput;
    e = carry_out(c, r, &table);
    if (e)
        return e;
    /* the service shows the change as under way, with the throughput there was */
    tr_table shown = *table;
    shown.throughput = before;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "TableDescription");
    tr__write_table(c, &shown, table->status == TR_ACTIVE ? TR_UPDATING : table->status);
    tr_json_end_object(&c->w);
    return 0;
}
