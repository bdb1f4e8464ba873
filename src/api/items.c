/* SPDX-License-Identifier: MIT */
#include "api/requests.h"

/* GetItem, PutItem, UpdateItem, DeleteItem. */

typedef tr_item_request req;

#define KEY_MEMBER TR_MEMBER(req, key, "Key", TR_K_ITEM, .rules = TR_R_NOT_NULL)
#define ON_FAILURE                                                                                           \
    TR_MEMBER(req, return_on_failure, "ReturnValuesOnConditionCheckFailure", TR_K_STRING,                    \
              .values = TR_ENUM_FAILURE)
#define RETURN_VALUES(r)                                                                                     \
    TR_MEMBER(req, return_values, "ReturnValues", TR_K_STRING, .values = TR_ENUM_RETURN, .rules = (r))

/* Each in the order in which the service tells what is wrong. */
static const tr_member get_members[] = {
    KEY_MEMBER,
    TR_M_TABLE(req, table_name, 0),
    TR_M_CAPACITY(req, capacity, .rules = 0),
    TR_M_TO_GET(req, to_get),
    TR_MEMBER(req, consistent, "ConsistentRead", TR_K_BOOLEAN, .rules = 0),
    TR_M_TEXT(req, projection, "ProjectionExpression"),
    TR_M_NAMES(req, env),
};
const tr_shape tr__shape_get_item = TR_SHAPE_ENV(req, "GetItemInput", get_members, env);

static const tr_member put_members[] = {
    TR_M_TABLE(req, table_name, TR_R_FIRST),
    TR_MEMBER(req, item, "Item", TR_K_ITEM, .rules = TR_R_NOT_NULL),
    TR_M_CAPACITY(req, capacity, .rules = 0),
    RETURN_VALUES(0),
    TR_M_METRICS(req, metrics, .rules = 0),
    ON_FAILURE,
    TR_M_TEXT(req, condition, "ConditionExpression"),
    TR_M_NAMES(req, env),
    TR_M_VALUES(req, env),
    TR_M_LOGIC(req, logic),
    TR_M_EXPECTED(req, expected),
};
const tr_shape tr__shape_put_item = TR_SHAPE_ENV(req, "PutItemInput", put_members, env);

static const tr_member update_members[] = {
    TR_M_TABLE(req, table_name, TR_R_FIRST),
    KEY_MEMBER,
    RETURN_VALUES(TR_R_LONE),
    TR_M_CAPACITY(req, capacity, .rules = TR_R_LONE),
    TR_M_METRICS(req, metrics, .rules = TR_R_LONE),
    ON_FAILURE,
    TR_M_TEXT(req, update, "UpdateExpression"),
    TR_M_TEXT(req, condition, "ConditionExpression"),
    TR_M_NAMES(req, env),
    TR_M_VALUES(req, env),
    TR_M_LOGIC(req, logic),
    TR_M_EXPECTED(req, expected),
    TR_MEMBER(req, updates, "AttributeUpdates", TR_K_STRUCT_MAP, .shape = &tr__shape_legacy_update),
};
const tr_shape tr__shape_update_item = TR_SHAPE_ENV(req, "UpdateItemInput", update_members, env);

static const tr_member delete_members[] = {
    TR_M_TABLE(req, table_name, 0),
    KEY_MEMBER,
    TR_M_CAPACITY(req, capacity, .rules = 0),
    RETURN_VALUES(0),
    TR_M_METRICS(req, metrics, .rules = 0),
    ON_FAILURE,
    TR_M_TEXT(req, condition, "ConditionExpression"),
    TR_M_NAMES(req, env),
    TR_M_VALUES(req, env),
    TR_M_LOGIC(req, logic),
    TR_M_EXPECTED(req, expected),
};
const tr_shape tr__shape_delete_item = TR_SHAPE_ENV(req, "DeleteItemInput", delete_members, env);

/* --------------------------------------------------------------------------------------------- GetItem */

static int check_get(tr_call *c, req *r, const tr_projection **ret_projection)
{
    const tr_given legacy[] = {{"AttributesToGet", r->to_get.given}, {NULL, false}};
    const tr_given exprs[] = {{"ProjectionExpression", r->projection.ptr != NULL}, {NULL, false}};
    const tr_expr_param params[] = {{TR_EXPR_PROJECTION, r->projection.ptr != NULL}};
    int e = tr__check_mixed(c, legacy, exprs);
    if (e == 0)
        e = tr__check_given(c, &r->env, params, TR_COUNT(params));
    if (e == 0)
        e = tr__check_attributes(c, &r->key, "", false);
    if (e == 0)
        e = tr__check_to_get(c, &r->to_get);
    if (e == 0)
        e = tr__check_env(c, &r->env, params, TR_COUNT(params));
    if (e == 0)
        e = tr__projection_of(c, &r->env, r->projection, &r->to_get, ret_projection);
    return e ? e : tr__check_unused(c, &r->env);
}

int tr__op_get_item(tr_call *c, void *request)
{
    req *r = request;
    const tr_projection *projection = NULL;
    const tr_engine_snapshot *snapshot;
    tr_table *table;
    tr_item item = {NULL, 0};
    tr_error err;
    int e = check_get(c, r, &projection);
    if (e == 0)
        e = tr__find_table(c, r->table_name, &table);
    if (e == 0)
        e = tr__check_key(c, table, r->key.item);
    if (e == 0)
        e = tr__check_scalar_keys(c, table, NULL, projection, NULL);
    if (e == 0)
        e = tr__snapshot(c, table, &snapshot);
    if (e)
        return e;
    e = tr_engine_get(c->engine, snapshot, table, r->key.item, c->arena, &item, &err);
    if (e && e != TR_ENOTFOUND)
        return tr__fail_code(c, e, &err);
    bool found = e == 0;
    size_t bytes = found ? tr_item_size(item) : 0;
    if (found && projection) {
        e = tr_projection_apply(projection, item, c->arena, &item);
        if (e)
            return e;
    }
    tr_json_begin_object(&c->w);
    if (found) {
        tr_json_name(&c->w, "Item");
        tr_item_write(&c->w, item);
    }
    if (r->capacity.ptr) {
        tr_capacity capacity;
        tr__capacity_init(&capacity, table, false);
        capacity.table_halves = tr__read_halves(bytes, r->consistent.value);
        tr__capacity_member(c, &capacity, tr__capacity_mode(r->capacity));
    }
    tr_json_end_object(&c->w);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- writes */

static int condition_failed(tr_call *c, const req *r, const tr_write *w)
{
    tr_json_begin_object(&c->w);
    tr_json_member_cstring(&c->w, "__type", TR_TYPE("ConditionalCheckFailedException"));
    tr_json_member_cstring(&c->w, "message", "The conditional request failed");
    if (tr_view_is(r->return_on_failure, "ALL_OLD") && w->before.len) {
        tr_json_name(&c->w, "Item");
        tr_item_write(&c->w, w->before);
    }
    tr_json_end_object(&c->w);
    c->reply->status = 400;
    return TR_ESERVICE;
}

/* The attributes that ReturnValues asks for; an empty view: none. */
static int returned(tr_call *c, const req *r, const tr_write *w, tr_item *ret_item)
{
    *ret_item = (tr_item){NULL, 0};
    if (!r->return_values.ptr || tr_view_is(r->return_values, "NONE"))
        return 0;
    if (tr_view_is(r->return_values, "ALL_OLD"))
        *ret_item = w->before;
    else if (tr_view_is(r->return_values, "ALL_NEW"))
        *ret_item = w->after;
    else if (w->update)
        return tr_update_touched(w->update,
                                 tr_view_is(r->return_values, "UPDATED_OLD") ? w->before : w->after, c->arena,
                                 ret_item);
    return 0;
}

/* AttributeUpdates has words of its own for an operand of another type. */
static int update_invalid(tr_call *c, const req *r, const tr_write *w)
{
    if (r->updates.given && strstr(w->error.message, "incorrect data type"))
        return tr__invalid(c, "Type mismatch for attribute to update");
    return tr__invalid(c, "%s", w->error.message);
}

/* Carries the write out and composes the answer. */
static int write_one(tr_call *c, const req *r, tr_write *w)
{
    tr_error err;
    tr_item attributes;
    int e = tr_engine_write(c->engine, w, 1, false, c->arena, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    if (w->outcome == TR_WRITE_CONDITION_FAILED)
        return condition_failed(c, r, w);
    if (w->outcome == TR_WRITE_INVALID)
        return update_invalid(c, r, w);
    e = returned(c, r, w, &attributes);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    if (tr_packed_count(attributes)) {
        tr_json_name(&c->w, "Attributes");
        tr_item_write(&c->w, attributes);
    }
    if (r->capacity.ptr) {
        tr_capacity capacity;
        tr__capacity_init(&capacity, w->table, true);
        tr__capacity_write(&capacity, w);
        tr__capacity_member(c, &capacity, tr__capacity_mode(r->capacity));
    }
    if (tr__collection_wanted(r->metrics, w->table)) {
        tr_json_name(&c->w, "ItemCollectionMetrics");
        e = tr__collection_put(c, w->table, w->key);
        if (e)
            return e;
    }
    tr_json_end_object(&c->w);
    return 0;
}

static int check_condition_given(tr_call *c, req *r)
{
    const tr_given legacy[] = {
        {"Expected", r->expected.given}, {"ConditionalOperator", r->logic.ptr != NULL}, {NULL, false}};
    const tr_given exprs[] = {{"ConditionExpression", r->condition.ptr != NULL}, {NULL, false}};
    const tr_expr_param params[] = {{TR_EXPR_CONDITION, r->condition.ptr != NULL}};
    int e = tr__check_mixed(c, legacy, exprs);
    if (e == 0)
        e = tr__legacy_check_logic(c, r->logic, &r->expected);
    return e ? e : tr__check_given(c, &r->env, params, TR_COUNT(params));
}

/* PutItem and DeleteItem know two of the five ReturnValues. */
static bool returns_old(const req *r)
{
    return !r->return_values.ptr || tr_view_is(r->return_values, "NONE") ||
           tr_view_is(r->return_values, "ALL_OLD");
}

static int check_return_values(tr_call *c, const req *r)
{
    if (returns_old(r))
        return 0;
    return tr__invalid_request(c, "ReturnValues can only be ALL_OLD or NONE");
}

/* DeleteItem tells of it behind what Expected says, and behind a missing table. */
static int check_delete_returns(tr_call *c, const req *r)
{
    tr_table *table;
    int e = r->expected.given ? tr__legacy_check_expected(c, &r->expected) : 0;
    if (e || returns_old(r))
        return e;
    e = tr__find_table(c, r->table_name, &table);
    return e ? e : check_return_values(c, r);
}

static int condition_of(tr_call *c, req *r, const tr_condition **ret_condition)
{
    const tr_expr_param params[] = {{TR_EXPR_CONDITION, r->condition.ptr != NULL}};
    int e = r->expected.given ? tr__legacy_expected(c, &r->expected, r->logic, ret_condition) : 0;
    if (e == 0)
        e = tr__check_env(c, &r->env, params, TR_COUNT(params));
    if (e == 0 && r->condition.ptr)
        e = tr__compile_condition(c, &r->env, TR_EXPR_CONDITION, r->condition, ret_condition);
    return e ? e : tr__check_unused(c, &r->env);
}

int tr__op_put_item(tr_call *c, void *request)
{
    req *r = request;
    tr_write w = {.kind = TR_WRITE_PUT};
    int e = check_condition_given(c, r);
    if (e == 0)
        e = tr__check_attributes(c, &r->item, "", true);
    if (e == 0)
        e = check_return_values(c, r);
    w.item = r->item.item;
    if (e == 0)
        e = condition_of(c, r, &w.condition);
    if (e == 0)
        e = tr__find_table(c, r->table_name, &w.table);
    if (e == 0 && tr_item_size(w.item) > TR_ITEM_SIZE_MAX)
        e = tr__invalid(c, "Item size has exceeded the maximum allowed size");
    if (e == 0)
        e = tr__check_item_keys(c, w.table, w.item, false);
    if (e == 0)
        e = tr__check_scalar_keys(c, w.table, w.condition, NULL, NULL);
    if (e == 0)
        e = tr__key_of(c, &w.table->schema, w.item, &w.key);
    return e ? e : write_one(c, r, &w);
}

int tr__op_delete_item(tr_call *c, void *request)
{
    req *r = request;
    tr_write w = {.kind = TR_WRITE_DELETE};
    int e = check_condition_given(c, r);
    if (e == 0)
        e = tr__check_attributes(c, &r->key, "", false);
    if (e == 0)
        e = check_delete_returns(c, r);
    if (e == 0)
        e = condition_of(c, r, &w.condition);
    if (e == 0)
        e = tr__find_table(c, r->table_name, &w.table);
    w.key = r->key.item;
    if (e == 0)
        e = tr__check_key(c, w.table, w.key);
    if (e == 0)
        e = tr__check_scalar_keys(c, w.table, w.condition, NULL, NULL);
    return e ? e : write_one(c, r, &w);
}

static int check_update_given(tr_call *c, req *r, const tr_expr_param *params)
{
    const tr_given legacy[] = {{"AttributeUpdates", r->updates.given},
                               {"Expected", r->expected.given},
                               {"ConditionalOperator", r->logic.ptr != NULL},
                               {NULL, false}};
    const tr_given exprs[] = {
        {"UpdateExpression", params[0].given}, {"ConditionExpression", params[1].given}, {NULL, false}};
    int e = tr__check_mixed(c, legacy, exprs);
    if (e == 0)
        e = tr__legacy_check_logic(c, r->logic, &r->expected);
    return e ? e : tr__check_given(c, &r->env, params, 2);
}

static int update_of(tr_call *c, req *r, tr_write *w)
{
    const tr_expr_param params[] = {{TR_EXPR_UPDATE, r->update.ptr != NULL},
                                    {TR_EXPR_CONDITION, r->condition.ptr != NULL}};
    int e = check_update_given(c, r, params);
    if (e == 0)
        e = tr__check_attributes(c, &r->key, "", false);
    if (e == 0 && r->expected.given)
        e = tr__legacy_check_expected(c, &r->expected);
    if (e == 0 && r->updates.given)
        e = tr__legacy_updates(c, &r->updates, &w->update);
    if (e == 0 && r->expected.given)
        e = tr__legacy_expected(c, &r->expected, r->logic, &w->condition);
    if (e == 0)
        e = tr__check_env(c, &r->env, params, TR_COUNT(params));
    if (e == 0 && r->update.ptr)
        e = tr__compile_update(c, &r->env, r->update, &w->update);
    if (e == 0 && r->condition.ptr)
        e = tr__compile_condition(c, &r->env, TR_EXPR_CONDITION, r->condition, &w->condition);
    return e ? e : tr__check_unused(c, &r->env);
}

int tr__op_update_item(tr_call *c, void *request)
{
    req *r = request;
    tr_write w = {.kind = TR_WRITE_UPDATE, .key = r->key.item};
    int e = update_of(c, r, &w);
    if (e == 0)
        e = tr__find_table(c, r->table_name, &w.table);
    if (e == 0)
        e = tr__check_update_keys(c, w.table, w.update);
    if (e == 0)
        e = tr__check_key(c, w.table, w.key);
    if (e == 0)
        e = tr__check_scalar_keys(c, w.table, w.condition, NULL, w.update);
    return e ? e : write_one(c, r, &w);
}
