/* SPDX-License-Identifier: MIT */
#include "api/reads.h"
#include "api/vectors.h"

/*
 * Query and Scan: one page of a partition or of a segment. A page ends after Limit items looked at, or before
 * the item that would make more than 1 MB of them; filters apply behind that. Items are written as they come.
 */

#define WERE_INVALID "One or more parameter values were invalid: "

#define SEGMENTS_MAX 1000000

typedef tr_read_request req;

#define PAGE_MEMBERS                                                                                         \
    TR_M_CAPACITY(req, capacity, .rules = 0),                                                                \
        TR_MEMBER(req, index_name, "IndexName", TR_K_STRING, .rules = TR_R_NAME | TR_R_MIN | TR_R_MAX,       \
                  .min = 3, .max = 255),                                                                     \
        TR_MEMBER(req, select, "Select", TR_K_STRING,                                                        \
                  .values = "[SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]"),       \
        TR_MEMBER(req, start, "ExclusiveStartKey", TR_K_ITEM, .rules = 0), TR_M_TO_GET(req, to_get),         \
        TR_M_LOGIC(req, logic), TR_MEMBER(req, consistent, "ConsistentRead", TR_K_BOOLEAN, .rules = 0),      \
        TR_M_TEXT(req, filter, "FilterExpression"), TR_M_TEXT(req, projection, "ProjectionExpression"),      \
        TR_M_NAMES(req, env), TR_M_VALUES(req, env)

static const tr_member query_members[] = {
    TR_M_TABLE(req, table_name, 0),
    PAGE_MEMBERS,
    TR_MEMBER(req, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_UNNAMED, .min = 1),
    TR_MEMBER(req, forward, "ScanIndexForward", TR_K_BOOLEAN, .rules = 0),
    TR_M_TEXT(req, keys, "KeyConditionExpression"),
    TR_M_CONDITIONS(req, legacy_keys, "KeyConditions"),
    TR_M_CONDITIONS(req, legacy_filter, "QueryFilter"),
};
const tr_shape tr__shape_query = TR_SHAPE_ENV(req, "QueryInput", query_members, env);

static const tr_member scan_members[] = {
    TR_M_TABLE(req, table_name, 0),
    PAGE_MEMBERS,
    TR_MEMBER(req, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN, .min = 1),
    TR_MEMBER(req, segment, "Segment", TR_K_INTEGER, .rules = TR_R_MIN, .min = 0),
    TR_MEMBER(req, segments, "TotalSegments", TR_K_INTEGER, .rules = 0),
    TR_M_CONDITIONS(req, legacy_filter, "ScanFilter"),
};
const tr_shape tr__shape_scan = TR_SHAPE_ENV(req, "ScanInput", scan_members, env);

/* ------------------------------------------------------------------------------- checks without a table */

int tr__check_to_get(tr_call *c, const tr_list *to_get)
{
    const tr_view *names = to_get->items;
    int e = 0;
    for (uint32_t i = 0; i < to_get->count && e == 0; i++)
        e = tr__check_name(c, names[i]);
    for (uint32_t i = 0; i < to_get->count && e == 0; i++)
        for (uint32_t k = 0; k < i && e == 0; k++)
            if (tr_view_eq(names[i], names[k]))
                e = tr__invalid(c, WERE_INVALID "Duplicate value in attribute name: %.*s", TR_FMT(names[i]));
    return e;
}

int tr__projection_of(tr_call *c, tr_expr_env *env, tr_view expression, const tr_list *to_get,
                      const tr_projection **ret_projection)
{
    *ret_projection = NULL;
    if (expression.ptr)
        return tr__compile_projection(c, env, expression, ret_projection);
    if (!to_get->given)
        return 0;
    tr_path *paths = tr_arena_calloc(c->arena, to_get->count, sizeof *paths);
    if (!paths)
        return TR_ENOMEM;
    for (uint32_t i = 0; i < to_get->count; i++)
        if (tr_path_of(c->arena, ((const tr_view *)to_get->items)[i], &paths[i]))
            return TR_ENOMEM;
    tr_error err;
    int e = tr_projection_of(c->arena, paths, to_get->count, ret_projection, &err);
    return e ? tr__fail_expr(c, e, &err) : 0;
}

/* A starting key's values; some faults are told with a prefix. */
static int check_start(tr_call *c, const tr_attributes *start)
{
    tr_item_problem p = start->error.problem;
    bool plain = p == TR_ITEM_NUMBER || p == TR_ITEM_SET_DUPLICATE ||
                 (p == TR_ITEM_EMPTY_SET && start->error.type == TR_NS);
    return tr__check_attributes(c, start, plain ? "" : "The provided starting key is invalid: ", false);
}

static int check_select(tr_call *c, const req *r, bool query)
{
    tr_view select = r->select;
    if (!select.ptr)
        return 0;
    if (tr_view_is(select, "SPECIFIC_ATTRIBUTES") && !r->projection.ptr && !r->to_get.given)
        return tr__invalid(c,
                           "%sMust specify the AttributesToGet or ProjectionExpression when choosing to get "
                           "SPECIFIC_ATTRIBUTES",
                           query ? "1 validation error detected: " : "");
    if ((r->projection.ptr || r->to_get.given) && !tr_view_is(select, "SPECIFIC_ATTRIBUTES"))
        return tr__invalid(c, "%sCannot specify the %s when choosing to get %.*s",
                           query ? "1 validation error detected: " : "",
                           r->projection.ptr ? "ProjectionExpression" : "AttributesToGet",
                           TR_FMT(tr_view_is(select, "COUNT") ? TR_VIEW("only the Count") : select));
    if (tr_view_is(select, "ALL_PROJECTED_ATTRIBUTES") && !r->index_name.ptr)
        return tr__invalid(c, "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName");
    return 0;
}

/* ---------------------------------------------------------------------------------- checks with the table */

int tr__read_find_index(tr_call *c, const req *r, tr_read *read)
{
    read->index = NULL;
    if (!r->index_name.ptr)
        return 0;
    read->index = tr__find_index(read->table, r->index_name);
    if (!read->index && tr__find_vector(read->table, r->index_name))
        return tr__invalid(c, tr_view_is(tr_view_str(c->op->name), "Query")
                                  ? "Query operation not supported on this index type."
                                  : "Scan operation not supported on this index type");
    if (!read->index)
        return tr__invalid(c, "The table does not have the specified index: %.*s", TR_FMT(r->index_name));
    if (r->consistent.value && !read->index->local)
        return tr__invalid(c, "Consistent reads are not supported on global secondary indexes");
    if (read->index->backfilling)
        return tr__invalid(c, "Cannot read from backfilling global secondary index: %.*s",
                           TR_FMT(r->index_name));
    return 0;
}

static const tr_key_schema *schema_of(const tr_read *read)
{
    return read->index ? &read->index->schema : &read->table->schema;
}

static bool key_attribute(const tr_key_schema *schema, tr_view name)
{
    for (unsigned i = 0; i < schema->hash_count; i++)
        if (tr_view_eq(schema->hash[i].name, name))
            return true;
    for (unsigned i = 0; i < schema->range_count; i++)
        if (tr_view_eq(schema->range[i].name, name))
            return true;
    return false;
}

/* Table keys and index keys, each name once. */
static unsigned start_key_count(const tr_read *read)
{
    const tr_key_schema *t = &read->table->schema;
    unsigned n = t->hash_count + t->range_count;
    if (!read->index)
        return n;
    const tr_key_schema *s = &read->index->schema;
    for (unsigned i = 0; i < s->hash_count; i++)
        n += !key_attribute(t, s->hash[i].name);
    for (unsigned i = 0; i < s->range_count; i++)
        n += !key_attribute(t, s->range[i].name);
    return n;
}

/* 0: all there and of their types; 1: one is missing; 2: one has another type. */
static int fits(const tr_key_schema *schema, tr_item key)
{
    tr_value value;
    for (unsigned i = 0; i < schema->hash_count + schema->range_count; i++) {
        const tr_key_part *part =
            i < schema->hash_count ? &schema->hash[i] : &schema->range[i - schema->hash_count];
        if (tr_item_get(key, part->name, &value))
            return 1;
        if (value.type != part->type || value.payload.len == 0)
            return 2;
    }
    return 0;
}

/* How many attributes it has, and its index keys: told before the query's own conditions. */
static int check_start_shape(tr_call *c, const req *r, const tr_read *read, bool query)
{
    if (!r->start.given)
        return 0;
    tr_item key = r->start.item;
    bool plain = query || read->index;
    if (tr_packed_count(key) != start_key_count(read))
        return tr__invalid(c, "The provided starting key is invalid%s",
                           plain ? "" : ": The provided key element does not match the schema");
    int f = plain ? fits(schema_of(read), key) : 0;
    if (f == 1)
        return tr__invalid(c, "The provided starting key is invalid");
    if (f == 2)
        return tr__invalid(c, "The provided key element does not match the schema");
    return 0;
}

static int check_start_table(tr_call *c, const req *r, const tr_read *read)
{
    if (r->start.given && fits(&read->table->schema, r->start.item))
        return tr__invalid(
            c, "The provided starting key is invalid: The provided key element does not match the schema");
    return 0;
}

/* Names of those attributes that the index does not hold, into the text. */
static void put_not_held(tr_call *c, const tr_read *read, const tr_view *names, uint32_t count)
{
    const tr_index *index = read->index;
    tr_buf_reset(c->text);
    for (uint32_t i = 0; i < count; i++) {
        bool held = key_attribute(&index->schema, names[i]) || key_attribute(&read->table->schema, names[i]);
        for (unsigned k = 0; !held && k < index->include_count; k++)
            held = tr_view_eq(index->include[k], names[i]);
        if (held)
            continue;
        if (c->text->len)
            tr_buf_put_str(c->text, ", ");
        tr_buf_put_view(c->text, names[i]);
    }
}

int tr__read_check_where(tr_call *c, const tr_read *read, const tr_condition *where)
{
    if (!read->index || !where || read->index->projection == TR_PROJECT_ALL)
        return 0;
    put_not_held(c, read, where->attributes, where->attribute_count);
    if (!c->text->len)
        return 0;
    return tr__invalid(
        c, WERE_INVALID "Secondary index %.*s does not project one or more filter attributes: [%.*s]",
        TR_FMT(read->index->name), TR_FMT(tr_buf_view(c->text)));
}

/* Whether Select=ALL_ATTRIBUTES, or a projection, needs more than the index holds. */
int tr__read_check_projection(tr_call *c, const req *r, tr_read *read)
{
    const tr_index *index = read->index;
    read->fetch = false;
    if (!index || index->projection == TR_PROJECT_ALL)
        return 0;
    if (tr_view_is(r->select, "ALL_ATTRIBUTES")) {
        if (!index->local)
            return tr__invalid(c,
                               WERE_INVALID
                               "Select type ALL_ATTRIBUTES is not supported for global secondary "
                               "index %.*s because its projection type is not ALL",
                               TR_FMT(index->name));
        read->fetch = true;
        return 0;
    }
    if (!read->projection)
        return 0;
    uint32_t count;
    const tr_view *names = tr_projection_attributes(read->projection, &count);
    put_not_held(c, read, names, count);
    if (!c->text->len)
        return 0;
    if (!index->local)
        return tr__invalid(c, WERE_INVALID "Global secondary index %.*s does not project [%.*s]",
                           TR_FMT(index->name), TR_FMT(tr_buf_view(c->text)));
    read->fetch = true;
    return 0;
}

/* ----------------------------------------------------------------------------------------------- pages */

/* The whole item behind an index entry. */
static int fetch(tr_call *c, const tr_read *read, tr_item *item)
{
    tr_error err;
    tr_item key;
    int e = tr__key_of(c, &read->table->schema, *item, &key);
    if (e == 0)
        e = tr_engine_get(c->engine, read->spec.snapshot, read->table, key, c->arena, item, &err);
    if (e == TR_ENOTFOUND)
        return 0; /* the entry itself is what there is */
    return e ? tr__fail_code(c, e, &err) : 0;
}

static int keep_position(tr_call *c, const tr_read *read, tr_item item, tr_item *ret_key)
{
    tr_key_schema all = read->table->schema;
    if (!read->index)
        return tr__key_of(c, &all, item, ret_key);
    /* an index's keys beside the table's: packed one by one, since they may share attributes */
    tr_packer packer;
    tr_packed_iter iter;
    tr_buf *out = &c->api->scratch;
    tr_buf_reset(out);
    tr_packer_init(&packer, out);
    tr_pack_item_begin(&packer);
    tr_item_iter(&iter, item);
    while (tr_packed_next(&iter)) {
        if (!key_attribute(&all, iter.name) && !key_attribute(&read->index->schema, iter.name))
            continue;
        tr_pack_name(&packer, iter.name);
        tr_pack_encoded(&packer, iter.encoded);
    }
    int e = tr_pack_item_end(&packer);
    if (e)
        return e;
    *ret_key = tr_arena_copy(c->arena, tr_buf_view(out));
    return ret_key->ptr ? 0 : TR_ENOMEM;
}

/* An item that was looked at: counted, filtered, written. */
static int take(tr_call *c, tr_read *read, tr_item item)
{
    if (read->fetch) {
        int e = fetch(c, read, &item);
        if (e)
            return e;
        read->fetched_units += tr__read_halves(tr_item_size(item), false);
    }
    read->scanned++;
    if (read->filter && !tr_condition_eval(read->filter, item))
        return 0;
    read->count++;
    if (read->count_only)
        return 0;
    if (read->picks) {
        int e = tr_ql_pick(read->picks, item, c->arena, &c->api->scratch, &item);
        if (e)
            return e;
    } else if (read->projection) {
        int e = tr_projection_apply(read->projection, item, c->arena, &item);
        if (e)
            return e;
    }
    tr_item_write(&c->w, item);
    return 0;
}

int tr__read_walk(tr_call *c, tr_read *read, tr_cursor *cursor)
{
    tr_item item, last = {NULL, 0};
    tr_error err;
    for (;;) {
        int e = tr_cursor_next(cursor, &item, &err);
        if (e == TR_ENOTFOUND)
            return 0;
        if (e)
            return tr__fail_code(c, e, &err);
        size_t size = tr_item_size(item);
        if (read->bytes + size > TR_PAGE_MAX && read->scanned) {
            read->position = last;
            return 0;
        }
        read->bytes += size;
        e = take(c, read, item);
        if (e)
            return e;
        /* the key is kept where the page may end here: at the limit, or when the next item could be too much
         */
        bool full = read->scanned == read->limit;
        if (full || read->bytes + TR_ITEM_SIZE_MAX > TR_PAGE_MAX) {
            e = keep_position(c, read, item, &last);
            if (e)
                return e;
        }
        if (full) {
            read->position = last;
            return 0;
        }
    }
}

void tr__read_put_capacity(tr_call *c, const req *r, const tr_read *read)
{
    tr_capacity capacity;
    if (!r->capacity.ptr)
        return;
    tr__capacity_init(&capacity, read->table, false);
    int64_t halves = tr__read_halves(read->bytes, r->consistent.value);
    if (!read->index)
        capacity.table_halves = halves;
    else
        capacity.index_halves[read->index - read->table->indexes] = halves;
    if (read->fetch)
        capacity.table_halves = read->fetched_units * (r->consistent.value ? 2 : 1);
    tr__capacity_member(c, &capacity, tr__capacity_mode(r->capacity));
}

static int page(tr_call *c, const req *r, tr_read *read)
{
    tr_cursor *cursor;
    tr_error err;
    int e = tr__snapshot(c, read->table, &read->spec.snapshot);
    if (e)
        return e;
    read->limit = r->limit.given ? (uint64_t)r->limit.value : UINT64_MAX;
    read->count_only = tr_view_is(r->select, "COUNT");
    read->spec.table = read->table;
    read->spec.index = read->index;
    read->spec.after = r->start.item;
    e = tr_cursor_new(c->engine, &read->spec, &cursor, &err);
    if (e == TR_EINVAL) /* what Query has not told already is a key of another segment */
        return tr__invalid(c,
                           "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use "
                           "ExclusiveStartKey with correct Segment. TotalSegments: %u Segment: %u",
                           read->spec.segments, read->spec.segment);
    if (e)
        return tr__fail_code(c, e, &err);
    if (!read->spec.hash_count)
        e = tr__check_scalar_keys(c, read->table, read->filter, read->projection, NULL);
    if (e) {
        tr_cursor_free(cursor);
        return e;
    }
    tr_json_begin_object(&c->w);
    if (!read->count_only) {
        tr_json_name(&c->w, "Items");
        tr_json_begin_array(&c->w);
    }
    e = tr__read_walk(c, read, cursor);
    tr_cursor_free(cursor);
    if (e)
        return e;
    if (!read->count_only)
        tr_json_end_array(&c->w);
    tr_json_member_u64(&c->w, "Count", read->count);
    tr_json_member_u64(&c->w, "ScannedCount", read->scanned);
    if (read->position.len) {
        tr_json_name(&c->w, "LastEvaluatedKey");
        tr_item_write(&c->w, read->position);
    }
    tr__read_put_capacity(c, r, read);
    tr_json_end_object(&c->w);
    return 0;
}

/* ----------------------------------------------------------------------------------------------- Query */

static int check_keys_given(tr_call *c, const req *r)
{
    if (r->keys.ptr || r->legacy_keys.given)
        return 0;
    return tr__invalid(c, "Either the KeyConditions or KeyConditionExpression parameter must be specified in "
                          "the request.");
}

/* KeyConditions and QueryFilter by themselves. */
static int check_query_conditions(tr_call *c, const req *r)
{
    int e = r->legacy_keys.given ? tr__legacy_check_conditions(c, &r->legacy_keys) : 0;
    if (e || !r->legacy_filter.given)
        return e;
    e = check_keys_given(c, r);
    if (e == 0)
        e = tr__legacy_check_conditions(c, &r->legacy_filter);
    return e ? e : tr__legacy_check_lone(c, r->logic, &r->legacy_filter);
}

static int check_query_given(tr_call *c, const req *r, const tr_expr_param *params)
{
    /* KeyConditions may stand beside the other expressions */
    const tr_given legacy[] = {{"AttributesToGet", r->to_get.given},
                               {"QueryFilter", r->legacy_filter.given},
                               {"ConditionalOperator", r->logic.ptr != NULL},
                               {"KeyConditions", r->legacy_keys.given && params[2].given},
                               {NULL, false}};
    const tr_given exprs[] = {{"ProjectionExpression", params[0].given},
                              {"FilterExpression", params[1].given},
                              {"KeyConditionExpression", params[2].given},
                              {NULL, false}};
    int e = tr__check_mixed(c, legacy, exprs);
    if (e == 0)
        e = tr__legacy_check_logic(c, r->logic, &r->legacy_filter);
    if (e == 0)
        e = tr__check_given(c, &r->env, params, 3);
    if (e == 0)
        e = check_query_conditions(c, r);
    if (e == 0)
        e = tr__check_to_get(c, &r->to_get);
    if (e == 0)
        e = check_start(c, &r->start);
    return e ? e : check_keys_given(c, r);
}

static int compile_keys(tr_call *c, req *r, const tr_key_expr **ret_keys)
{
    tr_error err;
    if (!r->keys.ptr)
        return 0;
    if (!r->keys.len)
        return tr__invalid(c, "Invalid KeyConditionExpression: The expression can not be empty;");
    int e = tr_key_expr_parse(&r->env, r->keys, ret_keys, &err);
    return e ? tr__fail_expr(c, e, &err) : 0;
}

/* What may be wrong with key conditions as such. */
static int check_keys(tr_call *c, const req *r, const tr_key_expr **keys)
{
    tr_error err;
    if (r->keys.ptr) {
        int e = tr_key_expr_check(*keys, &err);
        return e ? tr__fail_expr(c, e, &err) : 0;
    }
    int e = tr__legacy_check_conditions(c, &r->legacy_keys);
    return e ? e : tr__legacy_keys(c, &r->legacy_keys, keys);
}

static int check_query(tr_call *c, req *r, tr_read *read, const tr_key_expr **keys)
{
    const tr_expr_param params[] = {{TR_EXPR_PROJECTION, r->projection.ptr != NULL},
                                    {TR_EXPR_FILTER, r->filter.ptr != NULL},
                                    {TR_EXPR_KEY_CONDITION, r->keys.ptr != NULL}};
    int e = check_query_given(c, r, params);
    if (e == 0)
        e = tr__check_env(c, &r->env, params, TR_COUNT(params));
    if (e == 0)
        e = compile_keys(c, r, keys);
    if (e == 0)
        e = tr__compile_condition(c, &r->env, TR_EXPR_FILTER, r->filter, &read->filter);
    if (e == 0)
        e = tr__projection_of(c, &r->env, r->projection, &r->to_get, &read->projection);
    if (e == 0)
        e = tr__check_unused(c, &r->env);
    if (e == 0)
        e = check_keys(c, r, keys);
    return e ? e : check_select(c, r, true);
}

/* Filters look at what is read, so they may not name the keys that choose it. */
static int check_filter_keys(tr_call *c, const req *r, const tr_read *read)
{
    const tr_key_schema *schema = schema_of(read);
    for (uint32_t i = 0; read->filter && i < read->filter->attribute_count; i++)
        if (key_attribute(schema, read->filter->attributes[i]))
            return tr__invalid(
                c, "%s can only contain non-primary key attributes: Primary key attribute: %.*s",
                r->filter.ptr ? "Filter Expression" : "QueryFilter", TR_FMT(read->filter->attributes[i]));
    return 0;
}

void tr__read_fill_range(const tr_key_condition *keys, tr_cursor_spec *spec)
{
    static const tr_range_op ops[] = {
        [TR_KEY_NONE] = TR_RANGE_ALL,        [TR_KEY_EQ] = TR_RANGE_EQ,
        [TR_KEY_LT] = TR_RANGE_LT,           [TR_KEY_LE] = TR_RANGE_LE,
        [TR_KEY_GT] = TR_RANGE_GT,           [TR_KEY_GE] = TR_RANGE_GE,
        [TR_KEY_BETWEEN] = TR_RANGE_BETWEEN, [TR_KEY_BEGINS_WITH] = TR_RANGE_BEGINS};
    spec->hash_count = keys->hash_count;
    memcpy(spec->hash, keys->hash, sizeof spec->hash);
    spec->range_count = keys->equal_count;
    memcpy(spec->range, keys->equal, sizeof spec->range);
    spec->op = keys->op < TR_COUNT(ops) ? ops[keys->op] : TR_RANGE_ALL;
    spec->low = keys->low;
    spec->high = keys->high;
}

static bool in_range(const tr_key_condition *keys, tr_value v)
{
    int low = tr_value_cmp(v, keys->low);
    switch (keys->op) {
    case TR_KEY_LT:
        return low < 0;
    case TR_KEY_LE:
        return low <= 0;
    case TR_KEY_GT:
        return low > 0;
    case TR_KEY_GE:
        return low >= 0;
    case TR_KEY_BETWEEN:
        return low >= 0 && tr_value_cmp(v, keys->high) <= 0;
    case TR_KEY_BEGINS_WITH:
        return tr_view_starts(v.payload, keys->low.payload);
    default:
        return true;
    }
}

/* Whether the start key lies where the query reads. It was found to have all key attributes. */
static int check_start_range(tr_call *c, const req *r, const tr_read *read, const tr_key_condition *keys)
{
    const tr_key_schema *schema = schema_of(read);
    bool hash = true, range = true;
    tr_value v;
    if (!r->start.given)
        return 0;
    for (uint32_t i = 0; i < keys->hash_count; i++)
        hash &= tr_item_get(r->start.item, schema->hash[i].name, &v) == 0 && tr_value_eq(v, keys->hash[i]);
    for (uint32_t i = 0; i < keys->equal_count; i++)
        range &= tr_item_get(r->start.item, schema->range[i].name, &v) == 0 && tr_value_eq(v, keys->equal[i]);
    if (keys->op != TR_KEY_NONE)
        range &=
            tr_item_get(r->start.item, schema->range[keys->equal_count].name, &v) == 0 && in_range(keys, v);
    if (!range)
        return tr__invalid(c, "The provided starting key does not match the range key predicate");
    if (hash)
        return 0;
    return tr__invalid(c, keys->equal_count || keys->op != TR_KEY_NONE
                              ? "The query can return at most one row and cannot be restarted"
                              : "The provided starting key is outside query boundaries based on provided "
                                "conditions");
}

static int resolve(tr_call *c, const req *r, tr_read *read, const tr_key_expr *keys)
{
    tr_key_condition resolved;
    tr_error err;
    tr_key_schema schema = *schema_of(read);
    schema.index_name = read->index ? read->index->name : (tr_view){NULL, 0};
    int e = tr_key_condition_resolve(keys, &schema, !r->keys.ptr, &resolved, &err);
    if (e)
        return tr__fail_expr(c, e, &err);
    e = check_start_table(c, r, read);
    if (e == 0)
        e = check_start_range(c, r, read, &resolved);
    tr__read_fill_range(&resolved, &read->spec);
    return e;
}

int tr__op_query(tr_call *c, void *request)
{
    req *r = request;
    tr_read read = {.spec = {.backward = r->forward.given && !r->forward.value}};
    const tr_key_expr *keys = NULL;
    int e = check_query(c, r, &read, &keys);
    if (e == 0)
        e = tr__find_table(c, r->table_name, &read.table);
    if (e == 0 && r->legacy_filter.given)
        e = tr__legacy_filter(c, &r->legacy_filter, r->logic, &read.filter);
    if (e == 0)
        e = tr__read_find_index(c, r, &read);
    if (e == 0)
        e = check_start_shape(c, r, &read, true);
    if (e == 0)
        e = resolve(c, r, &read, keys);
    if (e == 0)
        e = tr__check_scalar_keys(c, read.table, NULL, read.projection, NULL);
    if (e == 0)
        e = check_filter_keys(c, r, &read);
    if (e == 0)
        e = tr__read_check_projection(c, r, &read);
    if (e == 0)
        e = tr__check_scalar_keys(c, read.table, read.filter, NULL, NULL);
    return e ? e : page(c, r, &read);
}

/* ------------------------------------------------------------------------------------------------ Scan */

static int check_segments(tr_call *c, const req *r)
{
    if (r->segment.given && !r->segments.given)
        return tr__invalid(c,
                           "The TotalSegments parameter is required but was not present in the request when "
                           "Segment parameter is present");
    if (!r->segment.given && r->segments.given)
        return tr__invalid(c, "The Segment parameter is required but was not present in the request when "
                              "parameter TotalSegments is present");
    if (r->segments.given && (r->segments.value < 1 || r->segments.value > SEGMENTS_MAX))
        return tr__invalid(
            c,
            "1 validation error detected: Value at 'totalSegments' failed to satisfy constraint: "
            "Member must have value between 1 and %d",
            SEGMENTS_MAX);
    if (r->segment.given && r->segment.value >= r->segments.value)
        return tr__invalid(
            c,
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            "Segment: %lld is not less than TotalSegments: %lld",
            (long long)r->segment.value, (long long)r->segments.value);
    return 0;
}

static int check_scan_given(tr_call *c, const req *r, const tr_expr_param *params)
{
    const tr_given legacy[] = {{"AttributesToGet", r->to_get.given},
                               {"ScanFilter", r->legacy_filter.given},
                               {"ConditionalOperator", r->logic.ptr != NULL},
                               {NULL, false}};
    const tr_given exprs[] = {
        {"ProjectionExpression", params[0].given}, {"FilterExpression", params[1].given}, {NULL, false}};
    int e = tr__check_mixed(c, legacy, exprs);
    if (e == 0)
        e = tr__legacy_check_logic(c, r->logic, &r->legacy_filter);
    if (e == 0)
        e = tr__check_given(c, &r->env, params, 2);
    if (e == 0)
        e = tr__check_to_get(c, &r->to_get);
    if (e == 0 && r->legacy_filter.given)
        e = tr__legacy_check_conditions(c, &r->legacy_filter);
    if (e == 0)
        e = tr__legacy_check_lone(c, r->logic, &r->legacy_filter);
    if (e == 0)
        e = check_start(c, &r->start);
    return e ? e : check_segments(c, r);
}

static int check_scan(tr_call *c, req *r, tr_read *read)
{
    const tr_expr_param params[] = {{TR_EXPR_PROJECTION, r->projection.ptr != NULL},
                                    {TR_EXPR_FILTER, r->filter.ptr != NULL}};
    int e = check_scan_given(c, r, params);
    if (e == 0)
        e = tr__check_env(c, &r->env, params, TR_COUNT(params));
    if (e == 0)
        e = tr__compile_condition(c, &r->env, TR_EXPR_FILTER, r->filter, &read->filter);
    if (e == 0)
        e = tr__projection_of(c, &r->env, r->projection, &r->to_get, &read->projection);
    if (e == 0)
        e = tr__check_unused(c, &r->env);
    return e ? e : check_select(c, r, false);
}

int tr__op_scan(tr_call *c, void *request)
{
    req *r = request;
    tr_read read = {0};
    int e = check_scan(c, r, &read);
    if (e == 0)
        e = tr__find_table(c, r->table_name, &read.table);
    if (e == 0 && r->legacy_filter.given)
        e = tr__legacy_filter(c, &r->legacy_filter, r->logic, &read.filter);
    if (e == 0)
        e = tr__read_find_index(c, r, &read);
    if (e == 0)
        e = check_start_shape(c, r, &read, false);
    if (e == 0)
        e = tr__read_check_projection(c, r, &read);
    if (e == 0)
        e = check_start_table(c, r, &read);
    if (e)
        return e;
    read.spec.segment = (uint32_t)r->segment.value;
    read.spec.segments = r->segments.given ? (uint32_t)r->segments.value : 1;
    return page(c, r, &read);
}
