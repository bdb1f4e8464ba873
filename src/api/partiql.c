/* SPDX-License-Identifier: MIT */
#include "api/reads.h"
#include "api/statements.h"

#include <xxhash.h>

/*
 * ExecuteStatement, and what the other operations of PartiQL share with it. A SELECT becomes pages as Query
 * and Scan read them, one range of keys after the other; anything else becomes one write of the engine's.
 */

typedef tr_statement_request req;

static const tr_member members[] = {
    TR_M_STATEMENT(req, statement),
    TR_M_PARAMETERS(req, parameters),
    TR_MEMBER(req, consistent, "ConsistentRead", TR_K_BOOLEAN, .rules = 0),
    TR_M_TEXT(req, next_token, "NextToken"),
    TR_M_CAPACITY(req, capacity, .rules = 0),
    TR_MEMBER(req, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN, .min = 1),
    TR_M_ON_FAILURE(req, on_failure),
};
const tr_shape tr__shape_execute = TR_SHAPE(req, "ExecuteStatementInput", members);

/* -------------------------------------------------------------------------------------------- what is shared
 */

int tr__statement_check_parameters(tr_call *c, const req *r)
{
    const tr_attribute *list = r->parameters.items;
    int e = 0;
    for (uint32_t i = 0; i < r->parameters.count && e == 0; i++) {
        const tr_attributes as_map = {.given = true, .error = list[i].error};
        e = tr__check_attributes(c, &as_map, "", false);
    }
    return e;
}

int tr__statement_parse(tr_call *c, const req *r, tr_statement *ret)
{
    const tr_attribute *list = r->parameters.items;
    tr_error err;
    tr_value *values = tr_arena_calloc(c->arena, r->parameters.count + 1, sizeof *values);
    if (!values)
        return TR_ENOMEM;
    for (uint32_t i = 0; i < r->parameters.count; i++)
        values[i] = list[i].value;
    *ret = (tr_statement){.request = r};
    int e =
        tr_ql_parse(c->arena, &c->api->scratch, r->statement, values, r->parameters.count, &ret->ql, &err);
    return e ? tr__fail_expr(c, e, &err) : 0;
}

int tr__statement_find_table(tr_call *c, tr_statement *s)
{
    tr_view name = s->ql->table;
    if (!tr_view_starts(name, TR_VIEW("arn:")) &&
        (name.len < 3 || name.len > TR_TABLE_NAME_MAX || !tr__name_valid(name)))
        return tr__invalid(
            c, "Table name should be within the length [3, 255] and only contain 'a-z', 'A-Z', '0-9', "
               "'-', '_', '.'.");
    return tr__find_table(c, name, &s->table);
}

static int plan_target(tr_call *c, tr_statement *s)
{
    tr_error err;
    int e = tr_ql_plan_target(c->arena, &c->api->scratch, s->ql, &s->table->schema, &s->target, &err);
    return e ? tr__fail_expr(c, e, &err) : 0;
}

static int check_inserted_part(tr_call *c, const tr_key_part *part, tr_item item)
{
    tr_value value;
    if (tr_item_get(item, part->name, &value))
        return tr__invalid(c, "Key attribute should be present in the item: Key %.*s", TR_FMT(part->name));
    if (value.type != part->type)
        return tr__invalid(c,
                           "Key attribute's data type should match its data type in table's schema: Key %.*s",
                           TR_FMT(part->name));
    return 0;
}

static int resolve_insert(tr_call *c, tr_statement *s)
{
    const tr_key_schema *schema = &s->table->schema;
    tr_item item = s->ql->item;
    int e = check_inserted_part(c, &schema->hash[0], item);
    if (e == 0 && schema->range_count)
        e = check_inserted_part(c, &schema->range[0], item);
    if (e == 0)
        e = tr__check_item_keys(c, s->table, item, false);
    if (e == 0 && tr_item_size(item) > TR_ITEM_SIZE_MAX)
        e = tr__invalid(c, "Item size has exceeded the maximum allowed size");
    if (e == 0 && tr_item_depth(item) > TR_ITEM_DEPTH_MAX)
        e = tr__invalid(
            c, "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels "
               "beyond supported limit");
    return e ? e : tr__key_of(c, schema, item, &s->write.key);
}

int tr__statement_resolve_write(tr_call *c, tr_statement *s)
{
    static const tr_write_kind kinds[] = {[TR_QL_INSERT] = TR_WRITE_PUT,
                                          [TR_QL_UPDATE] = TR_WRITE_UPDATE,
                                          [TR_QL_DELETE] = TR_WRITE_DELETE,
                                          [TR_QL_EXISTS] = TR_WRITE_CHECK};
    s->write = (tr_write){
        .kind = kinds[s->ql->kind], .table = s->table, .item = s->ql->item, .update = s->ql->update};
    int e = plan_target(c, s);
    if (e == 0 && s->ql->kind == TR_QL_INSERT)
        e = resolve_insert(c, s);
    else
        s->write.key = s->target.key;
    if (e == 0 && s->ql->kind != TR_QL_INSERT)
        e = tr__check_key(c, s->table, s->write.key);
    if (e == 0)
        e = tr__check_update_keys(c, s->table, s->ql->update);
    s->write.condition = s->target.condition;
    return e ? e : tr__check_scalar_keys(c, s->table, s->write.condition, NULL, s->ql->update);
}

int tr__statement_resolve_get(tr_call *c, tr_statement *s, bool *ret_single)
{
    tr_ql_reads reads;
    tr_error err;
    *ret_single = false;
    if (s->ql->index.ptr || !s->ql->where)
        return 0;
    int e = tr_ql_plan_reads(c->arena, s->ql, &s->table->schema, &reads, &err);
    if (e)
        return tr__fail_expr(c, e, &err);
    *ret_single = reads.single;
    if (!reads.single)
        return 0;
    e = plan_target(c, s);
    if (e == 0)
        e = tr__check_key(c, s->table, s->target.key);
    return e ? e : tr__check_scalar_keys(c, s->table, NULL, s->ql->projection, NULL);
}

int tr__statement_returned(tr_call *c, const tr_statement *s, tr_item *ret_item)
{
    const tr_write *w = &s->write;
    *ret_item = (tr_item){NULL, 0};
    switch (s->ql->returning) {
    case TR_QL_RETURN_ALL_OLD:
        *ret_item = w->before;
        return 0;
    case TR_QL_RETURN_ALL_NEW:
        *ret_item = w->after;
        return 0;
    case TR_QL_RETURN_MODIFIED_OLD:
        return tr_update_touched(w->update, w->before, c->arena, ret_item);
    case TR_QL_RETURN_MODIFIED_NEW:
        return tr_update_touched(w->update, w->after, c->arena, ret_item);
    default:
        return 0;
    }
}

/* ---------------------------------------------------------------------------------------------- tokens of
 * pages */

/*
 * NextToken is base64 of: version 1, hash of statement and parameters u64, number of the range u32, the
 * packed key behind which to go on, CRC-32 of all that. One that belongs to another statement is refused.
 */
#define TOKEN_VERSION 1
#define TOKEN_HEAD    13
/* Characters of a NextToken (API reference, PartiQLNextToken). */
#define NEXT_TOKEN_MAX 32768

static uint64_t hash_statement(const req *r)
{
    return XXH3_64bits(r->statement.ptr, r->statement.len) ^
           XXH3_64bits_withSeed(r->parameters.raw.ptr, r->parameters.raw.len, 1);
}

static int put_next_token(tr_call *c, const req *r, uint32_t range, tr_item key)
{
    char head[TOKEN_HEAD], sum[4];
    tr_buf *out = c->text;
    head[0] = TOKEN_VERSION;
    tr_put_be64(head + 1, hash_statement(r));
    tr_put_be32(head + 9, range);
    tr_buf_reset(out);
    tr_buf_put(out, head, sizeof head);
    tr_buf_put_view(out, key);
    tr_put_be32(sum, tr_crc32(0, tr_buf_view(out)));
    tr_buf_put(out, sum, sizeof sum);
    tr_view bytes = tr_arena_copy(c->arena, tr_buf_view(out));
    if (!bytes.ptr || tr_buf_status(out))
        return TR_ENOMEM;
    tr_buf_reset(out);
    tr_base64_put(out, bytes);
    tr_json_member_string(&c->w, "NextToken", tr_buf_view(out));
    return tr_buf_status(out);
}

static int get_next_token(tr_call *c, const req *r, uint32_t *ret_range, tr_item *ret_key)
{
    size_t len = 0;
    char *bytes = tr_arena_alloc(c->arena, TR_BASE64_DECODED_MAX(r->next_token.len));
    if (!bytes)
        return TR_ENOMEM;
    if (r->next_token.len > NEXT_TOKEN_MAX || tr_base64_decode(r->next_token, bytes, &len) ||
        len < TOKEN_HEAD + 4 || bytes[0] != TOKEN_VERSION ||
        tr_get_be32(bytes + len - 4) != tr_crc32(0, tr_view_of(bytes, len - 4)) ||
        tr_get_be64(bytes + 1) != hash_statement(r))
        return tr__invalid(c, "Invalid NextToken");
    *ret_range = tr_get_be32(bytes + 9);
    *ret_key = tr_view_of(bytes + TOKEN_HEAD, len - TOKEN_HEAD - 4);
    /* the sum is no secret: what it covers may still be anything */
    return tr_item_check(*ret_key) ? tr__invalid(c, "Invalid NextToken") : 0;
}

/* ------------------------------------------------------------------------------------------------- SELECT */

static int walk_range(tr_call *c, tr_read *read, const tr_ql_reads *plan, uint32_t range)
{
    tr_cursor *cursor;
    tr_error err;
    if (plan->count)
        tr__read_fill_range(&plan->ranges[range], &read->spec);
    int e = tr_cursor_new(c->engine, &read->spec, &cursor, &err);
    if (e == TR_EINVAL)
        return tr__invalid(c, "Invalid NextToken");
    if (e)
        return tr__fail_code(c, e, &err);
    e = tr__read_walk(c, read, cursor);
    tr_cursor_free(cursor);
    read->spec.after = (tr_item){NULL, 0};
    return e;
}

/* The page: its items, and where to go on. */
static int put_page(tr_call *c, const req *r, tr_read *read, const tr_ql_reads *plan, uint32_t range)
{
    int e = 0;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Items");
    tr_json_begin_array(&c->w);
    do
        e = walk_range(c, read, plan, range);
    while (e == 0 && !read->position.len && ++range < plan->count);
    if (e)
        return e;
    tr_json_end_array(&c->w);
    if (read->position.len) {
        e = put_next_token(c, r, range, read->position);
        tr_json_name(&c->w, "LastEvaluatedKey");
        tr_item_write(&c->w, read->position);
    }
    const tr_read_request as_read = {.capacity = r->capacity, .consistent = r->consistent};
    tr__read_put_capacity(c, &as_read, read);
    tr_json_end_object(&c->w);
    return e;
}

static int select_items(tr_call *c, const req *r, tr_statement *s)
{
    tr_read read = {.table = s->table, .projection = s->ql->projection, .picks = s->ql};
    const tr_read_request as_read = {
        .index_name = s->ql->index, .consistent = r->consistent, .capacity = r->capacity};
    tr_ql_reads plan;
    tr_error err;
    uint32_t range = 0;
    int e = tr__read_find_index(c, &as_read, &read);
    if (e)
        return e;
    e = tr_ql_plan_reads(c->arena, s->ql, read.index ? &read.index->schema : &s->table->schema, &plan, &err);
    if (e)
        return tr__fail_expr(c, e, &err);
    read.filter = plan.filter;
    /* the ranges hold what the condition says of keys, so the condition itself is asked about paths into them
     */
    const tr_condition *where = NULL;
    if (s->ql->where && tr_condition_of(c->arena, s->ql->where, &where))
        return TR_ENOMEM;
    e = tr__check_scalar_keys(c, s->table, where, s->ql->projection, NULL);
    if (e == 0 && plan.count) /* of a whole index, what it does not hold is nowhere */
        e = tr__read_check_where(c, &read, where);
    if (e == 0)
        e = tr__read_check_projection(c, &as_read, &read);
    if (e == 0 && r->next_token.ptr)
        e = get_next_token(c, r, &range, &read.spec.after);
    if (e == 0 && range && range >= plan.count)
        e = tr__invalid(c, "Invalid NextToken");
    if (e == 0)
        e = tr__snapshot(c, s->table, &read.spec.snapshot);
    if (e)
        return e;
    read.limit = r->limit.given ? (uint64_t)r->limit.value : UINT64_MAX;
    read.spec.table = s->table;
    read.spec.index = read.index;
    read.spec.backward = plan.backward;
    c->read_only = true;
    return put_page(c, r, &read, &plan, range);
}

/* ---------------------------------------------------------------------------------------------------- writes
 */

static int failed(tr_call *c, const tr_statement *s)
{
    if (s->ql->kind == TR_QL_INSERT)
        return tr__fail(c, 400, TR_TYPE("DuplicateItemException"), "Duplicate primary key exists in table");
    tr_json_begin_object(&c->w);
    tr_json_member_cstring(&c->w, "__type", TR_TYPE("ConditionalCheckFailedException"));
    tr_json_member_cstring(&c->w, "message", "The conditional request failed");
    if (tr_view_is(s->request->on_failure, "ALL_OLD") && s->write.before.len) {
        tr_json_name(&c->w, "Item");
        tr_item_write(&c->w, s->write.before);
    }
    tr_json_end_object(&c->w);
    c->reply->status = 400;
    return TR_ESERVICE;
}

static int write_item(tr_call *c, const req *r, tr_statement *s)
{
    tr_error err;
    tr_item returned;
    int e = tr__statement_resolve_write(c, s);
    if (e)
        return e;
    e = tr_engine_write(c->engine, &s->write, 1, false, c->arena, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    if (s->write.outcome == TR_WRITE_CONDITION_FAILED)
        return failed(c, s);
    if (s->write.outcome == TR_WRITE_INVALID)
        return tr__invalid(c, "%s", s->write.error.message);
    e = tr__statement_returned(c, s, &returned);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Items");
    tr_json_begin_array(&c->w);
    if (returned.len)
        tr_item_write(&c->w, returned);
    tr_json_end_array(&c->w);
    if (r->capacity.ptr) {
        tr_capacity capacity;
        tr__capacity_init(&capacity, s->table, true);
        tr__capacity_write(&capacity, &s->write);
        tr__capacity_member(c, &capacity, tr__capacity_mode(r->capacity));
    }
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_execute(tr_call *c, void *request)
{
    const req *r = request;
    tr_statement s;
    int e = tr__statement_check_parameters(c, r);
    if (e == 0)
        e = tr__statement_parse(c, r, &s);
    if (e == 0 && s.ql->kind == TR_QL_EXISTS)
        e = tr__invalid(c, "EXISTS can only be used in ExecuteTransaction write requests.");
    if (e == 0)
        e = tr__statement_find_table(c, &s);
    if (e)
        return e;
    return tr__statement_reads(&s) ? select_items(c, r, &s) : write_item(c, r, &s);
}
