/* SPDX-License-Identifier: MIT */
#include "api/requests.h"
#include "api/vectors.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * SearchVectors: the nearest entries of a vector index. The condition's equalities name the partition and
 * filters; results are written as the engine gives them, best first.
 */

#define RESPONSE_MAX ((size_t)16 * 1024 * 1024) /* Developer Guide, "Vector indexes: requirements" */

typedef struct search_request {
    tr_view table_name, index_name, capacity, projection, condition;
    tr_list vector; /* tr_attribute */
    tr_int top;
    tr_expr_env env;
} req;

static const tr_member search_members[] = {
    TR_M_TABLE(req, table_name, 0),
    TR_MEMBER(req, index_name, "IndexName", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255),
    TR_MEMBER(req, vector, "SearchVector", TR_K_VALUES, .rules = TR_R_NOT_NULL | TR_R_MIN, .min = 1),
    TR_MEMBER(req, top, "TopK", TR_K_INTEGER, .rules = TR_R_NOT_NULL | TR_R_MIN, .min = 1),
    TR_M_CAPACITY(req, capacity, .rules = 0),
    TR_M_TEXT(req, condition, "SearchConditionExpression"),
    TR_M_TEXT(req, projection, "ProjectionExpression"),
    TR_M_NAMES(req, env),
    TR_M_VALUES(req, env),
};
const tr_shape tr__shape_search_vectors = TR_SHAPE_ENV(req, "SearchVectorsInput", search_members, env);

/* One under way. */
typedef struct search {
    tr_call *c;
    tr_table *table;
    tr_vector_search spec;
    const tr_condition *condition;
    const tr_projection *projection;
    bool with_vector; /* the projection asks for it and the index has it to give */
    bool nothing;     /* the condition contradicts itself */
    bool answered;    /* an error is the answer */
    size_t bytes;     /* of entries told, but for their vectors */
} search;

/* ----------------------------------------------------------------------------------------- without a table
 */

static int check_vector(tr_call *c, const req *r, float **ret_query)
{
    const tr_attribute *values = r->vector.items;
    if (r->vector.count > TR_VECTOR_DIMENSIONS_MAX)
        return tr__invalid(c,
                           "1 validation error detected: Value at 'searchVector' failed to satisfy "
                           "constraint: Member must have length less than or equal to %d",
                           TR_VECTOR_DIMENSIONS_MAX);
    float *query = tr_arena_calloc(c->arena, r->vector.count, sizeof *query);
    if (!query)
        return TR_ENOMEM;
    for (uint32_t i = 0; i < r->vector.count; i++)
        if (values[i].error.problem != TR_ITEM_OK || values[i].value.type != TR_N ||
            tr_vector_float(values[i].value.payload, &query[i]) != 0)
            return tr__invalid(c, "Search vector contains invalid values. All values in the search vector "
                                  "must be a 32-bit floating-point number attribute");
    *ret_query = query;
    return 0;
}

static int check_request(tr_call *c, req *r, search *s)
{
    const tr_expr_param params[] = {{TR_EXPR_PROJECTION, r->projection.ptr != NULL},
                                    {TR_EXPR_SEARCH, r->condition.ptr != NULL}};
    float *query = NULL;
    int e = tr__check_given(c, &r->env, params, TR_COUNT(params));
    if (e == 0)
        e = tr__check_env(c, &r->env, params, TR_COUNT(params));
    if (e == 0)
        e = tr__compile_condition(c, &r->env, TR_EXPR_SEARCH, r->condition, &s->condition);
    if (e == 0)
        e = tr__compile_projection(c, &r->env, r->projection, &s->projection);
    if (e == 0)
        e = tr__check_unused(c, &r->env);
    if (e == 0 && r->top.value > TR_VECTOR_TOP_MAX)
        e = tr__invalid(c,
                        "Provided TopK value '%lld' is out of valid range. The value must be between 1 and "
                        "%d inclusive",
                        (long long)r->top.value, TR_VECTOR_TOP_MAX);
    if (e == 0)
        e = check_vector(c, r, &query);
    s->spec.query = query;
    s->spec.top = (unsigned)r->top.value;
    return e;
}

/* ------------------------------------------------------------------------------------------- the condition
 */

static const tr_key_part *schema_part(const tr_index *index, tr_view name)
{
    if (index->schema.hash_count && tr_view_eq(index->schema.hash->name, name))
        return index->schema.hash;
    for (unsigned i = 0; i < index->vector.filter_count; i++)
        if (tr_view_eq(index->vector.filters[i].name, name))
            return &index->vector.filters[i];
    return NULL;
}

static int no_comparator(tr_call *c)
{
    return tr__invalid(
        c, "Invalid SearchConditionExpression: Invalid comparator used in SearchConditionExpression");
}

static int check_operand(tr_call *c, const tr_index *index, const tr_key_part *part, tr_value value)
{
    if (value.type != part->type)
        return tr__invalid(c,
                           "Type of '%.*s' attribute in SearchConditionExpression (%s) does not match type "
                           "in search schema (%s)",
                           TR_FMT(part->name), tr_type_name(value.type), tr_type_name(part->type));
    if (part == index->schema.hash && value.payload.len == 0)
        return tr__invalid(c,
                           "One or more parameter values are not valid. The AttributeValue for a key "
                           "attribute cannot contain an empty %s value. Key: %.*s",
                           value.type == TR_S ? "string" : "binary", TR_FMT(part->name));
    return 0;
}

/* path = value, either way round. */
static int check_equality(search *s, const tr_cond *cond)
{
    tr_call *c = s->c;
    const tr_index *index = s->spec.index;
    if (cond->op != TR_COND_EQ)
        return no_comparator(c);
    bool swapped = cond->operands[0].kind == TR_OPERAND_VALUE;
    const tr_operand *path = &cond->operands[swapped], *value = &cond->operands[!swapped];
    if (path->kind != TR_OPERAND_PATH || value->kind != TR_OPERAND_VALUE)
        return no_comparator(c);
    tr_view name = path->path.parts[0].name;
    const tr_key_part *part = schema_part(index, name);
    if (!part)
        return tr__invalid(c,
                           "SearchConditionExpression must not contain any attributes that is not in "
                           "SearchSchema. Invalid attribute: %.*s",
                           TR_FMT(name));
    s->nothing |= path->path.count > 1; /* nothing is inside of a scalar */
    int e = check_operand(c, index, part, value->value);
    if (e || part != index->schema.hash)
        return e;
    tr_value *partition = &s->spec.partition;
    s->nothing |= partition->type != TR_NONE && !tr_value_eq(*partition, value->value);
    *partition = value->value;
    return 0;
}

static int check_condition(search *s, const tr_cond *cond)
{
    int e = 0;
    if (cond->op != TR_COND_AND)
        return check_equality(s, cond);
    for (uint32_t i = 0; i < cond->count && e == 0; i++)
        e = check_condition(s, cond->children[i]);
    return e;
}

/* ---------------------------------------------------------------------------------------------- with a table
 */

static int find_index(tr_call *c, const req *r, search *s)
{
    const tr_index *index = tr__find_vector(s->table, r->index_name);
    if (!index && tr__find_index(s->table, r->index_name))
        return tr__invalid(c, "SearchVectors operation not supported on this index type");
    if (!index)
        return tr__invalid(c, "The table does not have the specified index: %.*s", TR_FMT(r->index_name));
    if (index->backfilling)
        return tr__invalid(c, "Cannot search backfilling vector index: %.*s", TR_FMT(r->index_name));
    if (r->vector.count != index->vector.dimensions)
        return tr__invalid(c, "Input search vector dimension %u does not match vector index dimension %u",
                           r->vector.count, index->vector.dimensions);
    s->spec.index = index;
    s->spec.table = s->table;
    int e = s->condition ? check_condition(s, s->condition->root) : 0;
    if (e == 0 && index->schema.hash_count && s->spec.partition.type == TR_NONE)
        e = tr__invalid(c, "SearchConditionExpression must be provided when SearchSchema has a HASH key");
    s->spec.where = s->condition;
    return e;
}

/* The vector is told only if it is asked for by name, and only by an index that projects it. */
static bool tells_vector(const search *s)
{
    const tr_index *index = s->spec.index;
    bool asked = false, projected = index->projection == TR_PROJECT_ALL;
    uint32_t count = 0;
    const tr_view *names = s->projection ? tr_projection_attributes(s->projection, &count) : NULL;
    for (uint32_t i = 0; i < count; i++)
        asked |= tr_view_eq(names[i], index->vector.attribute);
    for (unsigned i = 0; index->projection == TR_PROJECT_INCLUDE && i < index->include_count; i++)
        projected |= tr_view_eq(index->include[i], index->vector.attribute);
    return asked && projected;
}

/* ------------------------------------------------------------------------------------------------- results
 */

/* The shortest decimal that names the float: nine digits always do. */
static size_t put_float(float f, char out[32])
{
    int n = 0;
    for (int digits = 6; digits <= 9; digits++) {
        n = snprintf(out, 32, "%.*g", digits, (double)f);
        if (strtof(out, NULL) == f)
            break;
    }
    return (size_t)n;
}

/* The entry's item with the vector in it, as the numbers that the index holds. */
static int with_vector(const search *s, const tr_vector_match *match, tr_item *ret_item)
{
    const tr_vector *v = &s->spec.index->vector;
    tr_packer packer;
    tr_packed_iter iter;
    tr_buf *out = &s->c->api->scratch;
    char digits[32];
    tr_buf_reset(out);
    tr_packer_init(&packer, out);
    tr_pack_item_begin(&packer);
    tr_item_iter(&iter, match->item);
    while (tr_packed_next(&iter)) {
        tr_pack_name(&packer, iter.name);
        tr_pack_encoded(&packer, iter.encoded);
    }
    tr_pack_name(&packer, v->attribute);
    tr_pack_list_begin(&packer);
    int e = 0;
    for (uint32_t i = 0; i < v->dimensions && e == 0; i++) {
        size_t n = put_float(tr_vector_element(match->elements, i), digits);
        e = tr_pack_n(&packer, tr_view_of(digits, n));
    }
    if (e)
        return e;
    tr_pack_list_end(&packer);
    e = tr_pack_item_end(&packer);
    if (e)
        return e;
    *ret_item = tr_arena_copy(s->c->arena, tr_buf_view(out));
    return ret_item->ptr ? 0 : TR_ENOMEM;
}

static int tell(void *ctx, const tr_vector_match *match)
{
    search *s = ctx;
    tr_call *c = s->c;
    tr_item item = match->item;
    char digits[32];
    s->bytes += tr_item_size(item);
    int e = s->with_vector ? with_vector(s, match, &item) : 0;
    if (e == 0 && s->projection)
        e = tr_projection_apply(s->projection, item, c->arena, &item);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Item");
    tr_item_write(&c->w, item);
    tr_json_name(&c->w, "Score");
    tr_json_value(&c->w, tr_view_of(digits, tr_double_format(match->score, digits)));
    tr_json_end_object(&c->w);
    if (c->out->len <= RESPONSE_MAX)
        return 0;
    s->answered = true;
    return tr__invalid(c, "The response would exceed 16 MB: ask for a smaller TopK, or project less");
}

/*
 * Bytes examined, which the service measures inside of its approximate index and does not reproduce from one
 * call to the next: at least 1 KB; about 17.6 for each dimension; and the results' entries.
 */
static void put_capacity(tr_call *c, const search *s)
{
    double bytes = 17.6 * s->spec.index->vector.dimensions + (double)s->bytes;
    char digits[32];
    tr_json_name(&c->w, "ConsumedCapacity");
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "VectorSearchRequestBytes");
    size_t n = tr_double_format(bytes < 1024 ? 1024 : (double)(int64_t)bytes, digits);
    tr_json_value(&c->w, tr_view_of(digits, n));
    tr_json_end_object(&c->w);
}

int tr__op_search_vectors(tr_call *c, void *request)
{
    req *r = request;
    search s = {.c = c};
    tr_error err;
    int e = check_request(c, r, &s);
    if (e == 0)
        e = tr__find_table(c, r->table_name, &s.table);
    if (e == 0)
        e = find_index(c, r, &s);
    if (e == 0)
        e = tr__snapshot(c, s.table, &s.spec.snapshot);
    if (e)
        return e;
    s.with_vector = tells_vector(&s);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "SearchResults");
    tr_json_begin_array(&c->w);
    e = s.nothing ? 0 : tr_engine_search(c->engine, &s.spec, tell, &s, &err);
    if (e)
        return s.answered || e == TR_ENOMEM ? e : tr__fail_code(c, e, &err);
    tr_json_end_array(&c->w);
    if (tr__capacity_mode(r->capacity) != TR_CAPACITY_NONE)
        put_capacity(c, &s);
    tr_json_end_object(&c->w);
    return 0;
}
