/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_STATEMENTS_H
#define TAILRACE_API_STATEMENTS_H

/** statements.h: what the three operations of PartiQL share. A statement is parsed, its table found, and then
 * it is either read in pages, or one item that is got, or a write of the engine's. */

#include "api/requests.h"
#include "partiql/partiql.h"

/** ExecuteStatement's request, and an entry of the others' lists. */
typedef struct tr_statement_request {
    tr_view statement;
    tr_list parameters; /* tr_attribute */
    tr_bool consistent;
    tr_view on_failure, next_token, capacity;
    tr_int limit;
} tr_statement_request;

#define TR_M_STATEMENT(type, field)                                                                          \
    TR_MEMBER(type, field, "Statement", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1, \
              .max = TR_QL_TEXT_MAX)
#define TR_M_PARAMETERS(type, field)                                                                         \
    TR_MEMBER(type, field, "Parameters", TR_K_VALUES, .rules = TR_R_MIN, .min = 1)
#define TR_M_ON_FAILURE(type, field)                                                                         \
    TR_MEMBER(type, field, "ReturnValuesOnConditionCheckFailure", TR_K_STRING, .values = TR_ENUM_FAILURE)

/** A statement under way. */
typedef struct tr_statement {
    const tr_statement_request *request;
    const tr_ql_statement *ql;
    tr_table *table;
    const tr_index *index;
    tr_ql_target target; /* of what is about one item */
    tr_write write;
} tr_statement;

/** Refuses parameters that are no attribute values. */
int tr__statement_check_parameters(tr_call *call, const tr_statement_request *request);
/** Parses. ret: cleared here. */
int tr__statement_parse(tr_call *call, const tr_statement_request *request, tr_statement *ret);
int tr__statement_find_table(tr_call *call, tr_statement *s);
/** INSERT, UPDATE, DELETE, EXISTS: fills s->write; and s->target. */
int tr__statement_resolve_write(tr_call *call, tr_statement *s);
/** A SELECT by the whole key and nothing else: fills s->target; whether it is one goes to ret_single. */
int tr__statement_resolve_get(tr_call *call, tr_statement *s, bool *ret_single);
/** What RETURNING asks for of a write that is done; empty: nothing. */
int tr__statement_returned(tr_call *call, const tr_statement *s, tr_item *ret_item);
static inline bool tr__statement_reads(const tr_statement *s)
{
    return s->ql->kind == TR_QL_SELECT;
}

#endif
