/* SPDX-License-Identifier: MIT */
#include "api/vectors.h"

/* What CreateTable and UpdateTable refuse beyond the constraints of single members, in the service's order.
 */

#define WERE_INVALID "One or more parameter values were invalid: "

#define THROUGHPUT_MAX     INT64_C(1000000000000)
#define LOCAL_INDEXES_MAX  5
#define GLOBAL_INDEXES_MAX 20
#define NAME_MAX_BYTES     255

static bool on_demand(const tr_table_request *r)
{
    return tr_view_is(r->billing, "PAY_PER_REQUEST");
}

int tr__check_throughput(tr_call *c, const tr_units *t)
{
    if (t && t->read.value > THROUGHPUT_MAX)
        return tr__invalid(c, "Given value %lld for ReadCapacityUnits is out of bounds",
                           (long long)t->read.value);
    if (t && t->write.value > THROUGHPUT_MAX)
        return tr__invalid(c, "Given value %lld for WriteCapacityUnits is out of bounds",
                           (long long)t->write.value);
    return 0;
}

static int check_billing(tr_call *c, const tr_table_request *r)
{
    if (on_demand(r) && r->throughput)
        return tr__invalid(c,
                           WERE_INVALID "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified "
                                        "when BillingMode is PAY_PER_REQUEST");
    if (!on_demand(r) && !r->throughput)
        return tr__invalid(c, WERE_INVALID "ReadCapacityUnits and WriteCapacityUnits must both be specified "
                                           "when BillingMode is PROVISIONED");
    return tr__check_throughput(c, r->throughput);
}

static bool defined(const tr_list *attributes, tr_view name)
{
    const tr_attribute_definition *a = attributes->items;
    for (uint32_t i = 0; i < attributes->count; i++)
        if (tr_view_eq(a[i].name, name))
            return true;
    return false;
}

static bool all_defined(const tr_list *schema, const tr_list *attributes)
{
    const tr_key_element *keys = schema->items;
    for (uint32_t i = 0; i < schema->count; i++)
        if (!defined(attributes, keys[i].name))
            return false;
    return true;
}

/* "Keys: [a, b], AttributeDefinitions: [a]" */
static int not_defined(tr_call *c, const tr_list *schema, const tr_list *attributes)
{
    const tr_key_element *keys = schema->items;
    const tr_attribute_definition *defs = attributes->items;
    tr_buf_reset(c->text);
    tr_buf_put_str(c->text,
                   WERE_INVALID "Some index key attributes are not defined in AttributeDefinitions. Keys: [");
    for (uint32_t i = 0; i < schema->count; i++)
        tr_buf_printf(c->text, "%s%.*s", i ? ", " : "", TR_FMT(keys[i].name));
    tr_buf_put_str(c->text, "], AttributeDefinitions: [");
    for (uint32_t i = 0; i < attributes->count; i++)
        tr_buf_printf(c->text, "%s%.*s", i ? ", " : "", TR_FMT(defs[i].name));
    tr_buf_putc(c->text, ']');
    return tr__invalid(c, "%.*s", TR_FMT(tr_buf_view(c->text)));
}

static int check_name(tr_call *c, tr_view name)
{
    return name.len >= 1 && name.len <= NAME_MAX_BYTES
               ? 0
               : tr__invalid(c, "Names of key attributes and attributes projected into an index must be "
                                "between 1 and 255 characters, inclusive");
}

static int check_key_names(tr_call *c, const tr_list *schema)
{
    const tr_key_element *keys = schema->items;
    int e = 0;
    for (uint32_t i = 0; i < schema->count && e == 0; i++)
        e = check_name(c, keys[i].name);
    return e;
}

static bool is_hash(const tr_key_element *key)
{
    return tr_view_is(key->type, "HASH");
}

static int check_table_keys(tr_call *c, const tr_table_request *r)
{
    const tr_key_element *keys = r->schema.items;
    bool twice = r->schema.count == 2 && tr_view_eq(keys[0].name, keys[1].name);
    bool missing = !all_defined(&r->schema, &r->attributes);
    int e = check_key_names(c, &r->schema);
    if (e)
        return e;
    if (twice || (missing && (r->schema.count > 1 || !r->attributes.count)))
        return tr__invalid(c, "Invalid KeySchema: Some index key attribute have no definition");
    if (missing)
        return not_defined(c, &r->schema, &r->attributes);
    if (!is_hash(&keys[0]))
        return tr__invalid(c, "Invalid KeySchema: The first KeySchemaElement is not a HASH key type");
    if (r->schema.count > 1 && is_hash(&keys[1]))
        return tr__invalid(c, "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type");
    return 0;
}

/* One to four HASH elements, then up to four RANGE elements, all of different names. */
static int check_index_keys(tr_call *c, const tr_list *schema, bool local)
{
    const tr_key_element *keys = schema->items;
    unsigned hash = 0, range = 0;
    int e = check_key_names(c, schema);
    if (e)
        return e;
    if (!is_hash(&keys[0]))
        return tr__invalid(c, "Invalid KeySchema: The first KeySchemaElement is not a HASH key type");
    for (uint32_t i = 0; i < schema->count; i++) {
        for (uint32_t k = 0; k < i; k++)
            if (tr_view_eq(keys[i].name, keys[k].name))
                return tr__invalid(
                    c, "Both the Hash Key and the Range Key element in the KeySchema have the same name");
        if (is_hash(&keys[i]) && (range || (local && hash)))
            return tr__invalid(c, "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type");
        if (is_hash(&keys[i]))
            hash++;
        else
            range++;
    }
    if (hash > TR_KEY_PARTS_MAX || range > TR_KEY_PARTS_MAX)
        return tr__invalid(c,
                           WERE_INVALID "An index's KeySchema can have at most 4 HASH and 4 RANGE elements");
    return 0;
}

int tr__check_projection(tr_call *c, const tr_projection_spec *p)
{
    if (!p->type.ptr)
        return tr__invalid(c, WERE_INVALID "Unknown ProjectionType: null");
    bool include = tr_view_is(p->type, "INCLUDE");
    if (!include && p->attributes.given)
        return tr__invalid(c, WERE_INVALID "ProjectionType is %.*s, but NonKeyAttributes is specified",
                           TR_FMT(p->type));
    if (include && !p->attributes.given)
        return tr__invalid(c,
                           WERE_INVALID "ProjectionType is INCLUDE, but NonKeyAttributes is not specified");
    const tr_view *names = p->attributes.items;
    int e = 0;
    for (uint32_t i = 0; i < p->attributes.count && e == 0; i++)
        e = check_name(c, names[i]);
    return e;
}

size_t tr__projected(const tr_list *indexes)
{
    const tr_index_spec *a = indexes->items;
    size_t n = 0;
    for (uint32_t i = 0; i < indexes->count; i++)
        n += a[i].projection ? a[i].projection->attributes.count : 0;
    return n;
}

int tr__too_many_projected(tr_call *c)
{
    return tr__invalid(
        c, WERE_INVALID "More than %d non-key attributes are projected into the table's secondary indexes",
        TR_PROJECTED_MAX);
}

int tr__check_index_spec(tr_call *c, const tr_index_spec *index, const tr_list *attributes)
{
    if (!all_defined(&index->schema, attributes))
        return not_defined(c, &index->schema, attributes);
    int e = check_index_keys(c, &index->schema, false);
    return e ? e : tr__check_projection(c, index->projection);
}

static int check_local(tr_call *c, const tr_table_request *r, const tr_index_spec *index)
{
    const tr_key_element *keys = index->schema.items, *table = r->schema.items;
    int e = check_index_keys(c, &index->schema, true);
    if (e)
        return e;
    if (index->schema.count < 2)
        return tr__invalid(c, WERE_INVALID "Index KeySchema does not have a range key for index: %.*s",
                           TR_FMT(index->name));
    if (!tr_view_eq(keys[0].name, table[0].name))
        return tr__invalid(c,
                           WERE_INVALID
                           "Index KeySchema does not have the same leading hash key as table "
                           "KeySchema for index: %.*s. index hash key: %.*s, table hash key: %.*s",
                           TR_FMT(index->name), TR_FMT(keys[0].name), TR_FMT(table[0].name));
    return tr__check_projection(c, index->projection);
}

static int check_unique_names(tr_call *c, const tr_list *indexes, const tr_list *others)
{
    const tr_index_spec *a = indexes->items, *b = others->items;
    for (uint32_t i = 0; i < indexes->count; i++) {
        bool twice = false;
        for (uint32_t k = 0; k < i; k++)
            twice |= tr_view_eq(a[i].name, a[k].name);
        for (uint32_t k = 0; k < others->count; k++)
            twice |= tr_view_eq(a[i].name, b[k].name);
        if (twice)
            return tr__invalid(c, WERE_INVALID "Duplicate index name: %.*s", TR_FMT(a[i].name));
    }
    return 0;
}

static int check_locals(tr_call *c, const tr_table_request *r)
{
    const tr_list none = {0};
    const tr_index_spec *indexes = r->local.items;
    if (!r->local.given)
        return 0;
    if (r->schema.count < 2)
        return tr__invalid(c,
                           WERE_INVALID "Table KeySchema does not have a range key, which is required when "
                                        "specifying a LocalSecondaryIndex");
    for (uint32_t i = 0; i < r->local.count; i++)
        if (!all_defined(&indexes[i].schema, &r->attributes))
            return not_defined(c, &indexes[i].schema, &r->attributes);
    int e = 0;
    for (uint32_t i = 0; i < r->local.count && e == 0; i++)
        e = check_local(c, r, &indexes[i]);
    if (e == 0)
        e = check_unique_names(c, &r->local, &none);
    if (e == 0 && r->local.count > LOCAL_INDEXES_MAX)
        e = tr__invalid(c, WERE_INVALID "Number of LocalSecondaryIndexes exceeds per-table limit of %d",
                        LOCAL_INDEXES_MAX);
    return e;
}

static int check_globals(tr_call *c, const tr_table_request *r)
{
    const tr_list none = {0};
    const tr_index_spec *indexes = r->global.items;
    int e = 0;
    for (uint32_t i = 0; i < r->global.count && e == 0; i++)
        e = tr__check_index_spec(c, &indexes[i], &r->attributes);
    if (e == 0)
        e = check_unique_names(c, &r->global, &none);
    if (e == 0 && r->global.count > GLOBAL_INDEXES_MAX)
        e = tr__invalid(c, WERE_INVALID "GlobalSecondaryIndex count exceeds the per-table limit of %d",
                        GLOBAL_INDEXES_MAX);
    for (uint32_t i = 0; i < r->global.count && e == 0 && on_demand(r); i++)
        if (indexes[i].throughput)
            e = tr__invalid(c,
                            WERE_INVALID "ProvisionedThroughput should not be specified for index: %.*s when "
                                         "BillingMode is PAY_PER_REQUEST",
                            TR_FMT(indexes[i].name));
    return e ? e : check_unique_names(c, &r->global, &r->local);
}

static bool names_key(const tr_list *schema, tr_view name)
{
    const tr_key_element *keys = schema->items;
    for (uint32_t i = 0; i < schema->count; i++)
        if (tr_view_eq(keys[i].name, name))
            return true;
    return false;
}

static bool indexed(const tr_list *indexes, tr_view name)
{
    const tr_index_spec *list = indexes->items;
    for (uint32_t i = 0; i < indexes->count; i++)
        if (names_key(&list[i].schema, name))
            return true;
    return false;
}

/* Every definition is of a key attribute, and defined once. */
static int check_definitions(tr_call *c, const tr_table_request *r)
{
    const tr_attribute_definition *defs = r->attributes.items;
    for (uint32_t i = 0; i < r->attributes.count; i++) {
        bool bad = !names_key(&r->schema, defs[i].name) && !indexed(&r->local, defs[i].name) &&
                   !indexed(&r->global, defs[i].name) && !tr__vectors_name(&r->vectors, defs[i].name);
        for (uint32_t k = 0; k < i; k++)
            bad |= tr_view_eq(defs[i].name, defs[k].name);
        if (bad)
            return tr__invalid(c,
                               WERE_INVALID "Number of attributes in KeySchema does not exactly match number "
                                            "of attributes defined in AttributeDefinitions");
    }
    return 0;
}

int tr__check_stream_spec(tr_call *c, const tr_stream_spec *s)
{
    if (!s)
        return 0;
    if (s->enabled.value && !s->view.ptr)
        return tr__invalid(
            c, "Invalid StreamViewType: Stream ViewType must not be null or empty when enabling streams.");
    if (!s->enabled.value && s->view.ptr)
        return tr__invalid(c, WERE_INVALID
                           "Table is being created with a stream disabled, UpdateViewType should "
                           "not be specified");
    return 0;
}

static int check_on_demand(tr_call *c, const tr_table_request *r)
{
    const tr_units *o = r->on_demand;
    if (!o || (!o->read.given && !o->write.given))
        return 0;
    if (!on_demand(r))
        return tr__invalid(c,
                           WERE_INVALID
                           "%s for OnDemandThroughput cannot be specified when table BillingMode is "
                           "PROVISIONED.",
                           o->read.given ? "MaxReadRequestUnits" : "MaxWriteRequestUnits");
    if ((o->read.given && o->read.value < 1) || (o->write.given && o->write.value < 1))
        return tr__invalid(
            c, WERE_INVALID "Requested %s for OnDemandThroughput for table is outside of valid range",
            o->read.given && o->read.value < 1 ? "MaxReadRequestUnits" : "MaxWriteRequestUnits");
    return 0;
}

static int check_warm(tr_call *c, const tr_table_request *r)
{
    const tr_index_spec *indexes = r->global.items;
    const tr_throughput own = tr__throughput_of(r->throughput, NULL, NULL);
    int e = tr__check_warm(c, r->warm, &own, on_demand(r), true, (tr_view){NULL, 0});
    for (uint32_t i = 0; i < r->global.count && e == 0; i++) {
        const tr_throughput its = tr__throughput_of(indexes[i].throughput, NULL, NULL);
        e = tr__check_warm(c, indexes[i].warm, &its, on_demand(r), true, indexes[i].name);
    }
    return e;
}

int tr__check_create(tr_call *c, const tr_table_request *r)
{
    int e = check_billing(c, r);
    if (e == 0)
        e = check_table_keys(c, r);
    if (e == 0 && r->local.given && !r->local.count)
        e = tr__invalid(c, WERE_INVALID "List of LocalSecondaryIndexes is empty");
    if (e == 0 && r->global.given && !r->global.count)
        e = tr__invalid(c, WERE_INVALID "List of GlobalSecondaryIndexes is empty");
    if (e == 0)
        e = check_locals(c, r);
    if (e == 0)
        e = check_globals(c, r);
    if (e == 0)
        e = tr__check_vectors(c, r);
    if (e == 0 && tr__projected(&r->local) + tr__projected(&r->global) + tr__vectors_projected(&r->vectors) >
                      TR_PROJECTED_MAX)
        e = tr__too_many_projected(c);
    if (e == 0)
        e = check_definitions(c, r);
    if (e == 0)
        e = tr__check_stream_spec(c, r->stream);
    if (e == 0)
        e = check_on_demand(c, r);
    return e ? e : check_warm(c, r);
}
