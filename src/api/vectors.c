/* SPDX-License-Identifier: MIT */
#include "api/vectors.h"

/* Vector indexes: what CreateTable and UpdateTable take of them and refuse, and how they are described. */

#define WERE_INVALID "One or more parameter values were invalid: "

typedef tr_vector_index_spec spec;

/* ------------------------------------------------------------------------------------------------ shapes */

static const tr_member attribute_members[] = {
    TR_MEMBER(tr_vector_attribute, name, "AttributeName", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1, .max = 255),
};
static const tr_shape attribute_shape =
    TR_SHAPE(tr_vector_attribute, "VectorAttributeDefinition", attribute_members);

static const tr_member element_members[] = {
    TR_MEMBER(tr_search_element, name, "AttributeName", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1, .max = 255),
    TR_MEMBER(tr_search_element, type, "SearchSchemaElementType", TR_K_STRING, .rules = TR_R_NOT_NULL,
              .values = "[HASH, INLINE_FILTER]"),
};
static const tr_shape element_shape = TR_SHAPE(tr_search_element, "SearchSchemaElement", element_members);

#define INDEX_NAME                                                                                           \
    TR_MEMBER(spec, name, "IndexName", TR_K_STRING,                                                          \
              .rules = TR_R_NOT_NULL | TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255)

static const tr_member index_members[] = {
    INDEX_NAME,
    TR_MEMBER(spec, attribute, "VectorAttribute", TR_K_STRUCT, .rules = TR_R_NOT_NULL,
              .shape = &attribute_shape),
    TR_MEMBER(spec, schema, "SearchSchema", TR_K_STRUCTS, .rules = TR_R_MIN, .min = 1,
              .shape = &element_shape),
    TR_MEMBER(spec, projection, "Projection", TR_K_STRUCT, .rules = TR_R_NOT_NULL,
              .shape = &tr__shape_projection),
    TR_MEMBER(spec, dimensions, "Dimensions", TR_K_LONG, .rules = TR_R_NOT_NULL | TR_R_MIN, .min = 1),
    TR_MEMBER(spec, distance, "DistanceFunction", TR_K_STRING, .rules = TR_R_NOT_NULL,
              .values = "[COSINE, DOT_PRODUCT, EUCLIDEAN]"),
};
const tr_shape tr__shape_vector_index = TR_SHAPE(spec, "VectorIndex", index_members);
static const tr_shape create_shape = TR_SHAPE(spec, "CreateVectorIndexAction", index_members);

static const tr_member delete_members[] = {INDEX_NAME};
static const tr_shape delete_shape = TR_SHAPE(spec, "DeleteVectorIndexAction", delete_members);

static const tr_member update_members[] = {
    TR_MEMBER(tr_vector_update, create, "Create", TR_K_STRUCT, .shape = &create_shape),
    TR_MEMBER(tr_vector_update, drop, "Delete", TR_K_STRUCT, .shape = &delete_shape),
};
const tr_shape tr__shape_vector_update = TR_SHAPE(tr_vector_update, "VectorIndexUpdate", update_members);

/* ------------------------------------------------------------------------------------------------ checks */

static const tr_attribute_definition *definition(const tr_list *attributes, tr_view name)
{
    const tr_attribute_definition *a = attributes->items;
    for (uint32_t i = 0; i < attributes->count; i++)
        if (tr_view_eq(a[i].name, name))
            return &a[i];
    return NULL;
}

static int check_schema(tr_call *c, const spec *s, const tr_list *attributes)
{
    const tr_search_element *e = s->schema.items;
    unsigned hash = 0;
    for (uint32_t i = 0; i < s->schema.count; i++)
        if (!definition(attributes, e[i].name))
            return tr__invalid(c, WERE_INVALID
                               "One element in SearchSchema is not defined in attribute definitions");
    for (uint32_t i = 0; i < s->schema.count; i++) {
        hash += tr_view_is(e[i].type, "HASH");
        for (uint32_t k = 0; k < i; k++)
            if (tr_view_eq(e[i].name, e[k].name))
                return tr__invalid(c, WERE_INVALID "Duplicate attribute in SearchSchema: %.*s",
                                   TR_FMT(e[i].name));
    }
    if (hash > 1)
        return tr__invalid(c, WERE_INVALID "SearchSchema can have at most one HASH element");
    if (s->schema.count - hash > TR_VECTOR_FILTERS_MAX)
        return tr__invalid(c, WERE_INVALID "SearchSchema can have at most %d INLINE_FILTER elements",
                           TR_VECTOR_FILTERS_MAX);
    return 0;
}

static int check_one(tr_call *c, const spec *s, const tr_list *attributes)
{
    if (s->dimensions.value < 1 || s->dimensions.value > TR_VECTOR_DIMENSIONS_MAX)
        return tr__invalid(c, WERE_INVALID "Number of dimensions must be between 1 and %d inclusive.",
                           TR_VECTOR_DIMENSIONS_MAX);
    int e = check_schema(c, s, attributes);
    if (e)
        return e;
    if (definition(attributes, s->attribute->name))
        return tr__invalid(c,
                           WERE_INVALID "Conflicting attribute definition for '%.*s'. An attribute cannot be "
                                        "defined in AttributeDefinitions when used as a VectorAttribute.",
                           TR_FMT(s->attribute->name));
    return tr__check_projection(c, s->projection);
}

static int conflicting(tr_call *c, tr_view attribute)
{
    return tr__invalid(c,
                       WERE_INVALID "Conflicting attribute definition for '%.*s'. All VectorIndexes on the "
                                    "same vector attribute must use the same dimensions.",
                       TR_FMT(attribute));
}

static int requires_on_demand(tr_call *c)
{
    return tr__invalid(c, WERE_INVALID "Vector indexes are only supported for PAY_PER_REQUEST tables");
}

/* Against those before it. */
static int check_among(tr_call *c, const tr_list *vectors, uint32_t i)
{
    const spec *v = vectors->items;
    for (uint32_t k = 0; k < i; k++) {
        if (tr_view_eq(v[i].name, v[k].name))
            return tr__invalid(c, WERE_INVALID "Duplicate index name: %.*s", TR_FMT(v[i].name));
        if (tr_view_eq(v[i].attribute->name, v[k].attribute->name) &&
            v[i].dimensions.value != v[k].dimensions.value)
            return conflicting(c, v[i].attribute->name);
    }
    return 0;
}

static bool has_name(const tr_list *indexes, tr_view name)
{
    const tr_index_spec *a = indexes->items;
    for (uint32_t i = 0; i < indexes->count; i++)
        if (tr_view_eq(a[i].name, name))
            return true;
    return false;
}

int tr__check_vectors(tr_call *c, const tr_table_request *r)
{
    const spec *v = r->vectors.items;
    if (!r->vectors.given)
        return 0;
    if (!r->vectors.count)
        return tr__invalid(c, WERE_INVALID "List of VectorIndexes is empty");
    if (!tr_view_is(r->billing, "PAY_PER_REQUEST"))
        return requires_on_demand(c);
    if (r->vectors.count > TR_VECTOR_INDEXES_MAX)
        return tr__invalid(c, WERE_INVALID "VectorIndex count exceeds the per-table limit of %d",
                           TR_VECTOR_INDEXES_MAX);
    for (uint32_t i = 0; i < r->vectors.count; i++) {
        int e = check_one(c, &v[i], &r->attributes);
        if (e == 0)
            e = check_among(c, &r->vectors, i);
        if (e == 0 && (has_name(&r->local, v[i].name) || has_name(&r->global, v[i].name)))
            e = tr__invalid(c, WERE_INVALID "Duplicate index name: %.*s", TR_FMT(v[i].name));
        if (e)
            return e;
    }
    return 0;
}

static const tr_key_part *key_of(const tr_table *table, tr_view name, bool *ret_hash)
{
    const tr_key_schema *s = &table->schema;
    *ret_hash = tr_view_eq(s->hash[0].name, name);
    if (*ret_hash)
        return &s->hash[0];
    return s->range_count && tr_view_eq(s->range[0].name, name) ? &s->range[0] : NULL;
}

/* A new index beside what the table has. */
static int check_new(tr_call *c, const tr_table_request *r, const tr_table *table, const spec *s)
{
    unsigned count = 0;
    bool hash;
    const tr_key_part *key = key_of(table, s->attribute->name, &hash);
    int e = check_one(c, s, &r->attributes);
    if (e)
        return e;
    if (key)
        return tr__invalid(c,
                           WERE_INVALID "Attributes cannot be redefined. Please check that your attribute "
                                        "has the same type as previously defined. Existing schema: "
                                        "Schema:[SchemaElement: key{%.*s:%s:%s}] New schema: "
                                        "VectorIndexSchema:[VectorAttribute: key{%.*s:L:%lld}]",
                           TR_FMT(key->name), tr_type_name(key->type), hash ? "HASH" : "RANGE",
                           TR_FMT(key->name), (long long)s->dimensions.value);
    for (unsigned i = 0; i < table->index_count; i++) {
        const tr_index *index = &table->indexes[i];
        if (index->status == TR_DELETING)
            continue;
        if (tr_view_eq(index->name, s->name))
            return tr__invalid(c, "Attempting to create an index which already exists");
        count += index->vector.dimensions != 0;
        if (index->vector.dimensions && tr_view_eq(index->vector.attribute, s->attribute->name) &&
            index->vector.dimensions != s->dimensions.value)
            return conflicting(c, s->attribute->name);
    }
    if (count < TR_VECTOR_INDEXES_MAX)
        return 0;
    return tr__fail(c, 400, TR_TYPE("LimitExceededException"),
                    "Subscriber limit exceeded: Number of vector secondary indexes exceeds per-table limit "
                    "of %d",
                    TR_VECTOR_INDEXES_MAX);
}

int tr__check_vector_updates(tr_call *c, const tr_table_request *r, const tr_table *table)
{
    const tr_vector_update *u = r->vector_updates.items;
    bool on_demand = r->billing.ptr ? tr_view_is(r->billing, "PAY_PER_REQUEST") : table->on_demand;
    if (!on_demand && tr__has_vectors(table))
        return requires_on_demand(c);
    for (uint32_t i = 0; i < r->vector_updates.count; i++) {
        if (!u[i].create == !u[i].drop)
            return tr__invalid(c, WERE_INVALID "One of VectorIndexUpdate.Create, VectorIndexUpdate.Delete "
                                               "must not be null");
        if (u[i].create && !on_demand)
            return requires_on_demand(c);
        int e = u[i].create ? check_new(c, r, table, u[i].create) : 0;
        if (e)
            return e;
        if (u[i].drop && !tr__find_vector(table, u[i].drop->name))
            return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                            "Requested resource not found: Index: %.*s not found", TR_FMT(u[i].drop->name));
    }
    return 0;
}

bool tr__vectors_name(const tr_list *vectors, tr_view attribute)
{
    const spec *v = vectors->items;
    for (uint32_t i = 0; i < vectors->count; i++) {
        const tr_search_element *e = v[i].schema.items;
        for (uint32_t k = 0; k < v[i].schema.count; k++)
            if (tr_view_eq(e[k].name, attribute))
                return true;
    }
    return false;
}

size_t tr__vectors_projected(const tr_list *vectors)
{
    const spec *v = vectors->items;
    size_t n = 0;
    for (uint32_t i = 0; i < vectors->count; i++) {
        const tr_search_element *e = v[i].schema.items;
        n += 1 + v[i].projection->attributes.count;
        for (uint32_t k = 0; k < v[i].schema.count; k++)
            n += !tr_view_is(e[k].type, "HASH");
    }
    return n;
}

/* ------------------------------------------------------------------------------------- the engine's terms */

int tr__vector_of(tr_call *c, const spec *s, const tr_list *attributes, tr_index *ret_index)
{
    const tr_search_element *e = s->schema.items;
    tr_index_spec plain = {.name = s->name, .projection = s->projection};
    int rc = tr__index_of(c, &plain, attributes, false, ret_index);
    tr_vector *v = &ret_index->vector;
    v->dimensions = (uint32_t)s->dimensions.value;
    v->distance = tr_view_is(s->distance, "COSINE")      ? TR_COSINE
                  : tr_view_is(s->distance, "EUCLIDEAN") ? TR_EUCLIDEAN
                                                         : TR_DOT_PRODUCT;
    v->attribute = s->attribute->name;
    v->filters = tr_arena_calloc(c->arena, s->schema.count + 1, sizeof *v->filters);
    if (rc || !v->filters)
        return rc ? rc : TR_ENOMEM;
    for (uint32_t i = 0; i < s->schema.count; i++) {
        const tr_key_part part = {e[i].name, tr__attribute_type(attributes, e[i].name)};
        if (tr_view_is(e[i].type, "HASH"))
            ret_index->schema.hash[ret_index->schema.hash_count++] = part;
        else
            v->filters[v->filter_count++] = part;
    }
    return 0;
}

const tr_index *tr__find_vector(const tr_table *table, tr_view name)
{
    for (unsigned i = 0; i < table->index_count; i++)
        if (table->indexes[i].vector.dimensions && tr_view_eq(table->indexes[i].name, name) &&
            table->indexes[i].status != TR_DELETING)
            return &table->indexes[i];
    return NULL;
}

bool tr__has_vectors(const tr_table *table)
{
    for (unsigned i = 0; i < table->index_count; i++)
        if (table->indexes[i].vector.dimensions && table->indexes[i].status != TR_DELETING)
            return true;
    return false;
}

bool tr__making_vectors(const tr_table *table)
{
    for (unsigned i = 0; i < table->index_count; i++)
        if (table->indexes[i].vector.dimensions && table->indexes[i].status == TR_CREATING)
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------------- description */

static void put_element(tr_json_writer *w, tr_view name, const char *type)
{
    tr_json_begin_object(w);
    tr_json_member_string(w, "AttributeName", name);
    tr_json_member_cstring(w, "SearchSchemaElementType", type);
    tr_json_end_object(w);
}

void tr__write_vector_members(tr_json_writer *w, const tr_index *index)
{
    static const char *const distances[] = {
        [TR_COSINE] = "COSINE", [TR_EUCLIDEAN] = "EUCLIDEAN", [TR_DOT_PRODUCT] = "DOT_PRODUCT"};
    const tr_vector *v = &index->vector;
    tr_json_member_string(w, "IndexName", index->name);
    tr_json_name(w, "VectorAttribute");
    tr_json_begin_object(w);
    tr_json_member_string(w, "AttributeName", v->attribute);
    tr_json_end_object(w);
    if (index->schema.hash_count || v->filter_count) {
        tr_json_name(w, "SearchSchema");
        tr_json_begin_array(w);
        if (index->schema.hash_count)
            put_element(w, index->schema.hash->name, "HASH");
        for (unsigned i = 0; i < v->filter_count; i++)
            put_element(w, v->filters[i].name, "INLINE_FILTER");
        tr_json_end_array(w);
    }
    tr__write_projection(w, index);
    tr_json_member_i64(w, "Dimensions", v->dimensions);
    tr_json_member_cstring(w, "DistanceFunction", distances[v->distance]);
}
