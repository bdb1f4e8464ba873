/* SPDX-License-Identifier: MIT */
#include "api/distinct.h"
#include "api/statements.h"

/*
 * BatchExecuteStatement: up to 25 statements, all reads of one item or all writes, each of which succeeds or
 * fails by itself. What is wrong with one is told in its place of the answer.
 */

/* API reference, PartiQLBatchRequest. */
#define STATEMENTS_MAX 25

typedef struct batch {
    tr_list statements; /* tr_statement_request */
    tr_view capacity;
} batch;

static const tr_member entry_members[] = {
    TR_M_STATEMENT(tr_statement_request, statement),
    TR_M_PARAMETERS(tr_statement_request, parameters),
    TR_MEMBER(tr_statement_request, consistent, "ConsistentRead", TR_K_BOOLEAN, .rules = 0),
    TR_M_ON_FAILURE(tr_statement_request, on_failure),
};
static const tr_shape entry_shape = TR_SHAPE(tr_statement_request, "BatchStatementRequest", entry_members);
static const tr_member members[] = {
    TR_MEMBER(batch, statements, "Statements", TR_K_STRUCTS, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,
              .min = 1, .max = STATEMENTS_MAX, .shape = &entry_shape),
    TR_M_CAPACITY(batch, capacity, .rules = 0),
};
const tr_shape tr__shape_batch_execute = TR_SHAPE(batch, "BatchExecuteStatementInput", members);

/* A statement and what became of it. */
typedef struct entry {
    tr_statement s;
    tr_fault fault; /* type NULL: none */
    bool begun;     /* it reached its table: the answer names it */
    tr_item item;   /* read, returned, or the one that a condition failed on */
    bool found;
} entry;

/* Runs one step of an entry; what it refuses becomes the entry's fault. */
#define STEP(c, entry, call) (((c)->fault = &(entry)->fault), outcome((c), (call)))

/* 0 for what was kept as a fault. */
static int outcome(tr_call *c, int code)
{
    bool kept = code == TR_ESERVICE && c->fault->type;
    c->fault = NULL;
    return kept ? 0 : code;
}

static int parse_all(tr_call *c, const batch *b, entry *list)
{
    const tr_statement_request *requests = b->statements.items;
    int e = 0;
    for (uint32_t i = 0; i < b->statements.count && e == 0; i++)
        e = tr__statement_check_parameters(c, &requests[i]);
    for (uint32_t i = 0; i < b->statements.count && e == 0; i++)
        e = STEP(c, &list[i], tr__statement_parse(c, &requests[i], &list[i].s));
    return e;
}

/* All read, or all write. */
static int check_kinds(tr_call *c, const entry *list, uint32_t count)
{
    bool reads = false, writes = false;
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].fault.type)
            continue;
        reads |= tr__statement_reads(&list[i].s);
        writes |= !tr__statement_reads(&list[i].s);
    }
    if (reads && writes)
        return tr__invalid(c, "Read and write requests together in the same batch is not supported.");
    return 0;
}

static int resolve(tr_call *c, entry *e)
{
    bool single = true;
    if (e->s.ql->kind == TR_QL_EXISTS)
        return tr__invalid(c, "EXISTS can only be used in ExecuteTransaction write requests.");
    int code = tr__statement_find_table(c, &e->s);
    if (code)
        return code;
    if (!tr__statement_reads(&e->s))
        return tr__statement_resolve_write(c, &e->s);
    code = tr__statement_resolve_get(c, &e->s, &single);
    return code || single ? code : tr__invalid(c, "Only single item select is supported");
}

static int resolve_all(tr_call *c, entry *list, uint32_t count)
{
    tr_distinct seen = {0};
    int e = 0;
    for (uint32_t i = 0; i < count && e == 0; i++) {
        if (list[i].fault.type)
            continue;
        e = STEP(c, &list[i], resolve(c, &list[i]));
        list[i].begun = e == 0 && !list[i].fault.type;
    }
    for (uint32_t i = 0; i < count && e == 0; i++) {
        const tr_statement *st = &list[i].s;
        if (list[i].begun &&
            !tr__distinct_add(&seen, st->table, tr__statement_reads(st) ? st->target.key : st->write.key))
            e = tr__invalid(c, "Provided list of item keys contains duplicates");
    }
    return e;
}

/* ----------------------------------------------------------------------------------------- carrying out */

static int read_one(tr_call *c, entry *e, tr_capacities *capacities)
{
    tr_error err;
    tr_capacity *capacity = tr__capacities_of(capacities, e->s.table, false);
    int code = tr_engine_get(c->engine, NULL, e->s.table, e->s.target.key, c->arena, &e->item, &err);
    if (code && code != TR_ENOTFOUND)
        return tr__fail_code(c, code, &err);
    e->found = code == 0;
    capacity->table_halves +=
        tr__read_halves(e->found ? tr_item_size(e->item) : 0, e->s.request->consistent.value);
    return e->found ? tr_ql_pick(e->s.ql, e->item, c->arena, &c->api->scratch, &e->item) : 0;
}

static int written(tr_call *c, entry *e, tr_capacities *capacities)
{
    const tr_write *w = &e->s.write;
    if (w->outcome == TR_WRITE_INVALID) {
        e->fault = (tr_fault){TR_TYPE_VALIDATION, tr_view_str(w->error.message)};
    } else if (w->outcome == TR_WRITE_CONDITION_FAILED && w->kind == TR_WRITE_PUT) {
        e->fault =
            (tr_fault){TR_TYPE("DuplicateItemException"), TR_VIEW("Duplicate primary key exists in table")};
    } else if (w->outcome == TR_WRITE_CONDITION_FAILED) {
        e->fault =
            (tr_fault){TR_TYPE("ConditionalCheckFailedException"), TR_VIEW("The conditional request failed")};
        if (tr_view_is(e->s.request->on_failure, "ALL_OLD"))
            e->item = w->before;
    } else {
        tr__capacity_write(tr__capacities_of(capacities, w->table, true), w);
        int code = tr__statement_returned(c, &e->s, &e->item);
        e->found = e->item.len > 0;
        return code;
    }
    return 0;
}

static int write_all(tr_call *c, entry *list, uint32_t count, tr_capacities *capacities)
{
    tr_error err;
    uint32_t n = 0;
    tr_write *writes = tr_arena_calloc(c->arena, count, sizeof *writes);
    if (!writes)
        return TR_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        if (list[i].begun)
            writes[n++] = list[i].s.write;
    int e = n ? tr_engine_write(c->engine, writes, n, false, c->arena, &err) : 0;
    if (e)
        return tr__fail_code(c, e, &err);
    n = 0;
    for (uint32_t i = 0; i < count && e == 0; i++) {
        if (!list[i].begun)
            continue;
        list[i].s.write = writes[n++];
        e = written(c, &list[i], capacities);
    }
    return e;
}

static int carry_out(tr_call *c, entry *list, uint32_t count, tr_capacities *capacities)
{
    int e = 0;
    bool reads = false;
    for (uint32_t i = 0; i < count && e == 0; i++)
        if (list[i].begun && tr__statement_reads(&list[i].s)) {
            reads = true;
            e = read_one(c, &list[i], capacities);
        }
    c->read_only = reads;
    return e || reads ? e : write_all(c, list, count, capacities);
}

/* "ResourceNotFoundException" and its kin as BatchStatementErrorCodeEnum has them. */
static void put_error(tr_call *c, const entry *e)
{
    const char *name = strchr(e->fault.type, '#');
    tr_view code = tr_view_str(name ? name + 1 : e->fault.type);
    if (tr_view_is(code, "ValidationException"))
        code = TR_VIEW("ValidationError");
    else if (code.len > 9 && tr_view_is(tr_view_of(code.ptr + code.len - 9, 9), "Exception"))
        code.len -= 9;
    tr_json_name(&c->w, "Error");
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "Code", code);
    tr_json_member_string(&c->w, "Message", e->fault.message);
    if (e->item.len) {
        tr_json_name(&c->w, "Item");
        tr_item_write(&c->w, e->item);
    }
    tr_json_end_object(&c->w);
}

static void put_entry(tr_call *c, const entry *e)
{
    tr_json_begin_object(&c->w);
    if (e->fault.type)
        put_error(c, e);
    if (e->begun)
        tr_json_member_string(&c->w, "TableName", e->s.table->name);
    if (!e->fault.type && e->found) {
        tr_json_name(&c->w, "Item");
        tr_item_write(&c->w, e->item);
    }
    tr_json_end_object(&c->w);
}

int tr__op_batch_execute(tr_call *c, void *request)
{
    const batch *b = request;
    uint32_t count = b->statements.count;
    tr_capacities capacities;
    entry *list = tr_arena_calloc(c->arena, count, sizeof *list);
    if (!list || tr__capacities_init(c, &capacities, count))
        return TR_ENOMEM;
    int e = parse_all(c, b, list);
    if (e == 0)
        e = check_kinds(c, list, count);
    if (e == 0)
        e = resolve_all(c, list, count);
    if (e == 0)
        e = carry_out(c, list, count, &capacities);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Responses");
    tr_json_begin_array(&c->w);
    for (uint32_t i = 0; i < count; i++)
        put_entry(c, &list[i]);
    tr_json_end_array(&c->w);
    tr__capacities_member(c, &capacities, tr__capacity_mode(b->capacity));
    tr_json_end_object(&c->w);
    return 0;
}
