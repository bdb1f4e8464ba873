/* SPDX-License-Identifier: MIT */
#include "api/transact.h"
#include "api/distinct.h"
#include "api/requests.h"

/*
 * TransactWriteItems, TransactGetItems. What is wrong with the request as such is a ValidationException; what
 * is wrong with an action against its table or item cancels the transaction and is told action by action.
 */

typedef tr_item_request action;

#define ACTION_TABLE                                                                                         \
    TR_MEMBER(action, table_name, "TableName", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_TABLE | TR_R_MAX,  \
              .max = 255)
#define ACTION_KEY TR_MEMBER(action, key, "Key", TR_K_ITEM, .rules = TR_R_NOT_NULL)
#define ACTION_REST                                                                                          \
    TR_M_NAMES(action, env), TR_M_VALUES(action, env),                                                       \
        TR_MEMBER(action, return_on_failure, "ReturnValuesOnConditionCheckFailure", TR_K_STRING,             \
                  .values = TR_ENUM_FAILURE)

static const tr_member check_members[] = {
    ACTION_TABLE, ACTION_KEY,
    TR_MEMBER(action, condition, "ConditionExpression", TR_K_STRING, .rules = TR_R_NOT_NULL), ACTION_REST};
static const tr_shape check_shape = TR_SHAPE_ENV(action, "ConditionCheck", check_members, env);
static const tr_member put_members[] = {ACTION_TABLE,
                                        TR_MEMBER(action, item, "Item", TR_K_ITEM, .rules = TR_R_NOT_NULL),
                                        TR_M_TEXT(action, condition, "ConditionExpression"), ACTION_REST};
static const tr_shape put_shape = TR_SHAPE_ENV(action, "Put", put_members, env);
static const tr_member delete_members[] = {ACTION_TABLE, ACTION_KEY,
                                           TR_M_TEXT(action, condition, "ConditionExpression"), ACTION_REST};
static const tr_shape delete_shape = TR_SHAPE_ENV(action, "Delete", delete_members, env);
static const tr_member update_members[] = {
    ACTION_TABLE, ACTION_KEY,
    TR_MEMBER(action, update, "UpdateExpression", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_M_TEXT(action, condition, "ConditionExpression"), ACTION_REST};
static const tr_shape update_shape = TR_SHAPE_ENV(action, "Update", update_members, env);

typedef struct entry {
    action *check, *put, *drop, *update, *get;
} entry;

static const tr_member entry_members[] = {
    TR_MEMBER(entry, check, "ConditionCheck", TR_K_STRUCT, .shape = &check_shape),
    TR_MEMBER(entry, put, "Put", TR_K_STRUCT, .shape = &put_shape),
    TR_MEMBER(entry, drop, "Delete", TR_K_STRUCT, .shape = &delete_shape),
    TR_MEMBER(entry, update, "Update", TR_K_STRUCT, .shape = &update_shape),
};
static const tr_shape entry_shape = TR_SHAPE(entry, "TransactWriteItem", entry_members);

typedef struct transaction {
    tr_list items; /* entry */
    tr_view capacity, metrics, token;
} transaction;

#define ITEMS_MEMBER(element)                                                                                \
    TR_MEMBER(transaction, items, "TransactItems", TR_K_STRUCTS,                                             \
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1, .max = TR_ACTIONS_MAX,                 \
              .shape = (element))

static const tr_member write_members[] = {
    ITEMS_MEMBER(&entry_shape),
    TR_M_CAPACITY(transaction, capacity, .rules = 0),
    TR_M_METRICS(transaction, metrics, .rules = 0),
    TR_MEMBER(transaction, token, "ClientRequestToken", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = TR_CLIENT_TOKEN_MAX),
};
const tr_shape tr__shape_transact_write = TR_SHAPE(transaction, "TransactWriteItemsInput", write_members);

static const tr_member get_members[] = {
    ACTION_TABLE, ACTION_KEY, TR_M_TEXT(action, projection, "ProjectionExpression"), TR_M_NAMES(action, env)};
static const tr_shape get_shape = TR_SHAPE_ENV(action, "Get", get_members, env);
static const tr_member get_entry_members[] = {
    TR_MEMBER(entry, get, "Get", TR_K_STRUCT, .rules = TR_R_NOT_NULL, .shape = &get_shape),
};
static const tr_shape get_entry_shape = TR_SHAPE(entry, "TransactGetItem", get_entry_members);
static const tr_member get_list_members[] = {
    ITEMS_MEMBER(&get_entry_shape),
    TR_M_CAPACITY(transaction, capacity, .rules = 0),
};
const tr_shape tr__shape_transact_get = TR_SHAPE(transaction, "TransactGetItemsInput", get_list_members);

/* ----------------------------------------------------------------------------------- TransactWriteItems */

static action *action_of(const entry *e, tr_write_kind *ret_kind)
{
    *ret_kind = e->put      ? TR_WRITE_PUT
                : e->update ? TR_WRITE_UPDATE
                : e->drop   ? TR_WRITE_DELETE
                            : TR_WRITE_CHECK;
    return e->put ? e->put : e->update ? e->update : e->drop ? e->drop : e->check;
}

static int check_entry(tr_call *c, const entry *e)
{
    int given = (e->put != NULL) + (e->update != NULL) + (e->drop != NULL) + (e->check != NULL);
    if (given > 1)
        return tr__invalid(c, "TransactItems can only contain one of Check, Put, Update or Delete");
    if (given == 0)
        return tr__invalid(c, "Invalid Request: TransactWriteRequest should contain Delete or Put or Update "
                              "request");
    return 0;
}

/* What can be told without the table. */
static int prepare(tr_call *c, const entry *from, tr_write *w)
{
    action *a = action_of(from, &w->kind);
    bool update = a->update.ptr != NULL, condition = a->condition.ptr != NULL;
    const tr_expr_param params[] = {{TR_EXPR_UPDATE, update}, {TR_EXPR_CONDITION, condition}};
    bool updates = w->kind == TR_WRITE_UPDATE;
    int e = tr__check_attributes(c, w->kind == TR_WRITE_PUT ? &a->item : &a->key, "", false);
    /* unlike elsewhere, names and values without any expression pass */
    bool bare = !update && !condition;
    const tr_expr_param any = {TR_EXPR_CONDITION, true};
    if (e == 0 && !bare)
        e = tr__check_given(c, &a->env, updates ? params : params + 1, updates ? 2 : 1);
    if (e == 0)
        e = tr__check_env(c, &a->env, bare ? &any : updates ? params : params + 1, updates && !bare ? 2 : 1);
    if (e == 0)
        e = tr__compile_update(c, &a->env, a->update, &w->update);
    if (e == 0)
        e = tr__compile_condition(c, &a->env, TR_EXPR_CONDITION, a->condition, &w->condition);
    if (e == 0 && !bare)
        e = tr__check_unused(c, &a->env);
    w->item = a->item.item;
    w->key = a->key.item;
    if (e == 0 && w->kind == TR_WRITE_PUT && tr_item_size(w->item) > TR_ITEM_SIZE_MAX)
        e = tr__invalid(c, "Item size has exceeded the maximum allowed size");
    return e;
}

static int prepare_all(tr_call *c, const transaction *t, tr_write *writes)
{
    const entry *entries = t->items.items;
    int e = 0;
    for (uint32_t i = 0; i < t->items.count && e == 0; i++)
        e = check_entry(c, &entries[i]);
    for (uint32_t i = 0; i < t->items.count && e == 0; i++)
        e = prepare(c, &entries[i], &writes[i]);
    return e;
}

/* What needs the table. Keys that do not fit cancel, empty ones are refused. */
static int resolve(tr_call *c, const entry *from, tr_write *w, tr_reason *r)
{
    tr_write_kind kind;
    const action *a = action_of(from, &kind);
    int e = tr__find_table(c, a->table_name, &w->table);
    if (e)
        return e;
    tr_buf_reset(c->text);
    bool put = kind == TR_WRITE_PUT;
    tr_key_fault fault = put ? tr__item_key_fault(w->table, w->item, false, c->text)
                             : tr__key_fault(w->table, w->key, c->text);
    if (fault == TR_KEY_EMPTY)
        return tr__invalid(c, "%.*s", TR_FMT(tr_buf_view(c->text)));
    if (fault != TR_KEY_FIT)
        return tr__set_reason(c, r, tr_buf_view(c->text));
    tr_buf_reset(c->text);
    if (tr__update_fault(w->table, w->update, c->text))
        return tr__set_reason(c, r, tr_buf_view(c->text));
    return put ? tr__key_of(c, &w->table->schema, w->item, &w->key) : 0;
}

static int check_together(tr_call *c, const tr_write *writes, const tr_reason *reasons, uint32_t count)
{
    tr_distinct seen = {0};
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!reasons[i].code && !tr__distinct_add(&seen, writes[i].table, writes[i].key))
            return tr__invalid(c, "Transaction request cannot include multiple operations on one item");
        bytes += writes[i].item.len ? tr_item_size(writes[i].item) : tr_item_size(writes[i].key);
    }
    if (bytes > TR_TRANSACTION_BYTES_MAX)
        return tr__invalid(
            c, "Collection size of items exceeded, which can also be caused by the aggregate size "
               "of the items in the transaction exceeding the 4MB limit");
    return 0;
}

/* Turns what the engine says into reasons. */
static void outcomes(const transaction *t, const tr_write *writes, tr_reason *reasons)
{
    for (uint32_t i = 0; i < t->items.count; i++) {
        tr_write_kind kind;
        const action *a = action_of(&((const entry *)t->items.items)[i], &kind);
        if (writes[i].outcome == TR_WRITE_CONDITION_FAILED) {
            reasons[i].code = "ConditionalCheckFailed";
            reasons[i].message = TR_VIEW("The conditional request failed");
            if (tr_view_is(a->return_on_failure, "ALL_OLD"))
                reasons[i].item = writes[i].before;
        } else if (writes[i].outcome == TR_WRITE_INVALID) {
            reasons[i].code = "ValidationError";
            reasons[i].message = tr_view_str(writes[i].error.message);
        }
    }
}

static int carry_out(tr_call *c, const transaction *t, tr_write *writes)
{
    uint32_t count = t->items.count;
    const entry *entries = t->items.items;
    tr_reason *reasons = tr_arena_calloc(c->arena, count, sizeof *reasons);
    tr_error err;
    int e = reasons ? 0 : TR_ENOMEM;
    for (uint32_t i = 0; i < count && e == 0; i++)
        e = resolve(c, &entries[i], &writes[i], &reasons[i]);
    if (e == 0)
        e = check_together(c, writes, reasons, count);
    if (e)
        return e;
    if (tr__any_reason(reasons, count))
        return tr__canceled(c, reasons, count);
    e = tr_engine_write(c->engine, writes, count, true, c->arena, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    for (uint32_t i = 0; i < count; i++) /* empty index keys are refused as empty keys are */
        if (writes[i].outcome == TR_WRITE_INVALID && strstr(writes[i].error.message, "are not valid."))
            return tr__invalid(c, "%s", writes[i].error.message);
    outcomes(t, writes, reasons);
    return tr__any_reason(reasons, count) ? tr__canceled(c, reasons, count) : 0;
}

static int answer(tr_call *c, const transaction *t, const tr_write *writes)
{
    tr_capacities capacities;
    if (tr__capacities_init(c, &capacities, t->items.count))
        return TR_ENOMEM;
    for (uint32_t i = 0; i < t->items.count && t->capacity.ptr; i++) {
        tr_capacity *capacity = tr__capacities_of(&capacities, writes[i].table, true);
        capacity->transaction = true;
        tr__capacity_write(capacity, &writes[i]);
    }
    tr_json_begin_object(&c->w);
    tr__capacities_member(c, &capacities, tr__capacity_mode(t->capacity));
    int e = tr__collections_member(c, t->metrics, writes, t->items.count);
    tr_json_end_object(&c->w);
    return e;
}

int tr__op_transact_write(tr_call *c, void *request)
{
    const transaction *t = request;
    bool answered = false;
    tr_write *writes = tr_arena_calloc(c->arena, t->items.count, sizeof *writes);
    if (!writes)
        return TR_ENOMEM;
    int e = prepare_all(c, t, writes);
    if (e == 0)
        e = tr__token_check(c, t->token, t->items.raw, t->capacity, false, &answered);
    if (e || answered)
        return e;
    e = carry_out(c, t, writes);
    if (e == 0 && t->token.ptr)
        e = tr__token_keep(c, t->token, t->items.raw, writes, t->items.count);
    return e ? e : answer(c, t, writes);
}

/* ------------------------------------------------------------------------------------- TransactGetItems */

typedef struct wanted {
    tr_table *table;
    const tr_projection *fields;
} wanted;

static int prepare_get(tr_call *c, action *a, wanted *w)
{
    const tr_expr_param params[] = {{TR_EXPR_PROJECTION, true}}, any = {TR_EXPR_CONDITION, true};
    int e = tr__check_attributes(c, &a->key, "", false);
    if (e == 0 && a->projection.ptr)
        e = tr__check_given(c, &a->env, params, TR_COUNT(params));
    if (e == 0)
        e = tr__check_env(c, &a->env, a->projection.ptr ? params : &any, 1);
    if (e == 0)
        e = tr__compile_projection(c, &a->env, a->projection, &w->fields);
    return e || !a->projection.ptr ? e : tr__check_unused(c, &a->env);
}

static int resolve_get(tr_call *c, const action *a, wanted *w, tr_reason *r)
{
    int e = tr__find_table(c, a->table_name, &w->table);
    if (e)
        return e;
    tr_buf_reset(c->text);
    if (tr__key_fault(w->table, a->key.item, c->text) != TR_KEY_FIT)
        return tr__set_reason(c, r, tr_buf_view(c->text));
    return 0;
}

static int prepare_gets(tr_call *c, const transaction *t, wanted *list)
{
    const entry *entries = t->items.items;
    uint32_t count = t->items.count;
    tr_reason *reasons = tr_arena_calloc(c->arena, count, sizeof *reasons);
    tr_distinct seen = {0};
    int e = reasons ? 0 : TR_ENOMEM;
    for (uint32_t i = 0; i < count && e == 0; i++)
        e = prepare_get(c, entries[i].get, &list[i]);
    for (uint32_t i = 0; i < count && e == 0; i++)
        e = resolve_get(c, entries[i].get, &list[i], &reasons[i]);
    if (e == 0 && tr__any_reason(reasons, count))
        e = tr__canceled(c, reasons, count);
    for (uint32_t i = 0; i < count && e == 0; i++)
        if (!tr__distinct_add(&seen, list[i].table, entries[i].get->key.item))
            e = tr__invalid(c, "Transaction request cannot include multiple operations on one item");
    return e;
}

/* One action's {"Item":…}, or {} if there is none, or nothing of it was asked for. */
static int get_one(tr_call *c, const action *a, const wanted *w, tr_capacity *capacity, size_t *bytes)
{
    tr_item item;
    tr_error err;
    int e = tr_engine_get(c->engine, NULL, w->table, a->key.item, c->arena, &item, &err);
    if (e && e != TR_ENOTFOUND)
        return tr__fail_code(c, e, &err);
    bool found = e == 0;
    size_t size = found ? tr_item_size(item) : 0;
    *bytes += size;
    if (*bytes > TR_TRANSACTION_BYTES_MAX)
        return tr__invalid(
            c, "Collection size of items exceeded, which can also be caused by the aggregate size "
               "of the items in the transaction exceeding the 4MB limit");
    capacity->table_halves += 2 * tr__read_halves(size, true);
    if (found && w->fields) {
        e = tr_projection_apply(w->fields, item, c->arena, &item);
        if (e)
            return e;
        found = tr_packed_count(item) > 0;
    }
    tr_json_begin_object(&c->w);
    if (found) {
        tr_json_name(&c->w, "Item");
        tr_item_write(&c->w, item);
    }
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_transact_get(tr_call *c, void *request)
{
    const transaction *t = request;
    const entry *entries = t->items.items;
    tr_capacities capacities;
    size_t bytes = 0;
    wanted *list = tr_arena_calloc(c->arena, t->items.count, sizeof *list);
    if (!list || tr__capacities_init(c, &capacities, t->items.count))
        return TR_ENOMEM;
    int e = prepare_gets(c, t, list);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Responses");
    tr_json_begin_array(&c->w);
    for (uint32_t i = 0; i < t->items.count && e == 0; i++) {
        tr_capacity *capacity = tr__capacities_of(&capacities, list[i].table, false);
        capacity->transaction = true;
        e = get_one(c, entries[i].get, &list[i], capacity, &bytes);
    }
    if (e)
        return e;
    tr_json_end_array(&c->w);
    tr__capacities_member(c, &capacities, tr__capacity_mode(t->capacity));
    tr_json_end_object(&c->w);
    return 0;
}
