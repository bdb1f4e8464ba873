/* SPDX-License-Identifier: MIT */
#include "api/distinct.h"
#include "api/statements.h"
#include "api/transact.h"

/*
 * ExecuteTransaction: statements that all read one item each, or all write one, together or not at all.
 * EXISTS(SELECT …) is a condition on an item that is not written.
 */

typedef struct transaction {
    tr_list statements; /* tr_statement_request */
    tr_view capacity, token;
} transaction;

static const tr_member entry_members[] = {
    TR_M_STATEMENT(tr_statement_request, statement),
    TR_M_PARAMETERS(tr_statement_request, parameters),
    TR_M_ON_FAILURE(tr_statement_request, on_failure),
};
static const tr_shape entry_shape = TR_SHAPE(tr_statement_request, "ParameterizedStatement", entry_members);
static const tr_member members[] = {
    TR_MEMBER(transaction, statements, "TransactStatements", TR_K_STRUCTS,
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1, .max = TR_ACTIONS_MAX,
              .shape = &entry_shape),
    TR_MEMBER(transaction, token, "ClientRequestToken", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = TR_CLIENT_TOKEN_MAX),
    TR_M_CAPACITY(transaction, capacity, .rules = 0),
};
const tr_shape tr__shape_execute_transaction = TR_SHAPE(transaction, "ExecuteTransactionInput", members);

#define AT "Validation failed in TransactStatements[%u]: "

static int parse_all(tr_call *c, const transaction *t, tr_statement *list, bool *ret_reads)
{
    const tr_statement_request *requests = t->statements.items;
    bool reads = false, writes = false;
    int e = 0;
    for (uint32_t i = 0; i < t->statements.count && e == 0; i++)
        e = tr__statement_check_parameters(c, &requests[i]);
    for (uint32_t i = 0; i < t->statements.count && e == 0; i++) {
        e = tr__statement_parse(c, &requests[i], &list[i]);
        if (e)
            return e;
        reads |= tr__statement_reads(&list[i]);
        writes |= !tr__statement_reads(&list[i]);
    }
    if (e == 0 && reads && writes)
        e = tr__invalid(
            c, "ExecuteTransaction API does not support both read and write operations in the same request.");
    *ret_reads = reads;
    return e;
}

/* What is told by the number of the statement, before tables are looked at. */
static int check_forms(tr_call *c, const tr_statement *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].ql->returning != TR_QL_RETURN_NOTHING)
            return tr__invalid(c, AT "RETURNING clause is not supported in ExecuteTransaction.", i);
        if (list[i].ql->index.ptr)
            return tr__invalid(c, AT "Reads on indices are not supported within transactions.", i);
    }
    return 0;
}

static int repeated(tr_call *c)
{
    return tr__invalid(c, "Transaction request cannot include multiple operations on one item");
}

static int too_large(tr_call *c)
{
    return tr__invalid(
        c, "Collection size of items exceeded, which can also be caused by the aggregate size of the "
           "items in the transaction exceeding the 4MB limit");
}

/* --------------------------------------------------------------------------------------------------- reads
 */

static int resolve_gets(tr_call *c, tr_statement *list, uint32_t count)
{
    tr_distinct seen = {0};
    int e = 0;
    for (uint32_t i = 0; i < count && e == 0; i++) {
        bool single;
        e = tr__statement_find_table(c, &list[i]);
        if (e == 0)
            e = tr__statement_resolve_get(c, &list[i], &single);
        if (e == 0 && !single)
            e = tr__invalid(
                c,
                AT "Select statements within ExecuteTransaction must specify the primary key in the where "
                   "clause.",
                i);
    }
    for (uint32_t i = 0; i < count && e == 0; i++)
        if (!tr__distinct_add(&seen, list[i].table, list[i].target.key))
            e = repeated(c);
    return e;
}

static int get_one(tr_call *c, const tr_statement *s, tr_capacities *capacities, size_t *bytes)
{
    tr_item item = {NULL, 0};
    tr_error err;
    tr_capacity *capacity = tr__capacities_of(capacities, s->table, false);
    int e = tr_engine_get(c->engine, NULL, s->table, s->target.key, c->arena, &item, &err);
    if (e && e != TR_ENOTFOUND)
        return tr__fail_code(c, e, &err);
    bool found = e == 0;
    size_t size = found ? tr_item_size(item) : 0;
    *bytes += size;
    if (*bytes > TR_TRANSACTION_BYTES_MAX)
        return too_large(c);
    capacity->transaction = true;
    capacity->table_halves += 2 * tr__read_halves(size, true);
    e = found ? tr_ql_pick(s->ql, item, c->arena, &c->api->scratch, &item) : 0;
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    if (found) {
        tr_json_name(&c->w, "Item");
        tr_item_write(&c->w, item);
    }
    tr_json_end_object(&c->w);
    return 0;
}

static int get_all(tr_call *c, const transaction *t, tr_statement *list)
{
    tr_capacities capacities;
    size_t bytes = 0;
    int e = tr__capacities_init(c, &capacities, t->statements.count);
    if (e == 0)
        e = resolve_gets(c, list, t->statements.count);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Responses");
    tr_json_begin_array(&c->w);
    for (uint32_t i = 0; i < t->statements.count && e == 0; i++)
        e = get_one(c, &list[i], &capacities, &bytes);
    if (e)
        return e;
    tr_json_end_array(&c->w);
    tr__capacities_member(c, &capacities, tr__capacity_mode(t->capacity));
    tr_json_end_object(&c->w);
    c->read_only = true;
    return 0;
}

/* -------------------------------------------------------------------------------------------------- writes
 */

/* What is wrong with a statement against its table cancels; all else refuses. */
static int resolve_write(tr_call *c, tr_statement *s, tr_reason *reason)
{
    tr_fault fault = {NULL, {NULL, 0}};
    int e = tr__statement_find_table(c, s);
    if (e)
        return e;
    c->fault = &fault;
    e = tr__statement_resolve_write(c, s);
    c->fault = NULL;
    if (e != TR_ESERVICE || !fault.type)
        return e;
    if (strcmp(fault.type, TR_TYPE_VALIDATION) != 0)
        return tr__fail(c, 500, fault.type, "%.*s", TR_FMT(fault.message));
    return tr__set_reason(c, reason, fault.message);
}

static int resolve_writes(tr_call *c, tr_statement *list, tr_write *writes, tr_reason *reasons,
                          uint32_t count)
{
    tr_distinct seen = {0};
    size_t bytes = 0;
    int e = 0;
    for (uint32_t i = 0; i < count && e == 0; i++) {
        e = resolve_write(c, &list[i], &reasons[i]);
        if (e == 0 && !reasons[i].code && list[i].ql->kind == TR_QL_EXISTS && !list[i].target.more)
            e = tr__invalid(c, AT "EXISTS() must contain a single item read with additional condition", i);
        writes[i] = list[i].write;
    }
    for (uint32_t i = 0; i < count && e == 0; i++) {
        if (reasons[i].code)
            continue;
        bytes += writes[i].item.len ? tr_item_size(writes[i].item) : tr_item_size(writes[i].key);
        if (!tr__distinct_add(&seen, writes[i].table, writes[i].key))
            e = repeated(c);
    }
    return e == 0 && bytes > TR_TRANSACTION_BYTES_MAX ? too_large(c) : e;
}

static void outcomes(const tr_statement *list, const tr_write *writes, tr_reason *reasons, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        tr_reason *r = &reasons[i];
        if (writes[i].outcome == TR_WRITE_INVALID)
            *r = (tr_reason){"ValidationError", tr_view_str(writes[i].error.message), {NULL, 0}};
        if (writes[i].outcome != TR_WRITE_CONDITION_FAILED)
            continue;
        if (list[i].ql->kind == TR_QL_INSERT)
            *r = (tr_reason){"DuplicateItem", TR_VIEW("Duplicate primary key exists in table"), {NULL, 0}};
        else
            *r = (tr_reason){"ConditionalCheckFailed", TR_VIEW("The conditional request failed"), {NULL, 0}};
        if (tr_view_is(list[i].request->on_failure, "ALL_OLD"))
            r->item = writes[i].before;
    }
}

static int answer(tr_call *c, const transaction *t, const tr_write *writes)
{
    tr_capacities capacities;
    if (tr__capacities_init(c, &capacities, t->statements.count))
        return TR_ENOMEM;
    for (uint32_t i = 0; i < t->statements.count && t->capacity.ptr; i++) {
        tr_capacity *capacity = tr__capacities_of(&capacities, writes[i].table, true);
        capacity->transaction = true;
        tr__capacity_write(capacity, &writes[i]);
    }
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Responses");
    tr_json_begin_array(&c->w);
    tr_json_end_array(&c->w);
    tr__capacities_member(c, &capacities, tr__capacity_mode(t->capacity));
    tr_json_end_object(&c->w);
    return 0;
}

static int write_all(tr_call *c, const transaction *t, tr_statement *list)
{
    uint32_t count = t->statements.count;
    tr_write *writes = tr_arena_calloc(c->arena, count, sizeof *writes);
    tr_reason *reasons = tr_arena_calloc(c->arena, count, sizeof *reasons);
    tr_error err;
    int e = writes && reasons ? resolve_writes(c, list, writes, reasons, count) : TR_ENOMEM;
    if (e)
        return e;
    if (tr__any_reason(reasons, count))
        return tr__canceled(c, reasons, count);
    e = tr_engine_write(c->engine, writes, count, true, c->arena, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    outcomes(list, writes, reasons, count);
    if (tr__any_reason(reasons, count))
        return tr__canceled(c, reasons, count);
    e = t->token.ptr ? tr__token_keep(c, t->token, t->statements.raw, writes, count) : 0;
    return e ? e : answer(c, t, writes);
}

int tr__op_execute_transaction(tr_call *c, void *request)
{
    const transaction *t = request;
    bool answered, reads = false;
    int e = tr__token_check(c, t->token, t->statements.raw, t->capacity, true, &answered);
    if (e || answered)
        return e;
    tr_statement *list = tr_arena_calloc(c->arena, t->statements.count, sizeof *list);
    if (!list)
        return TR_ENOMEM;
    e = parse_all(c, t, list, &reads);
    if (e == 0)
        e = check_forms(c, list, t->statements.count);
    if (e)
        return e;
    return reads ? get_all(c, t, list) : write_all(c, t, list);
}
