/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PARTIQL_H
#define TAILRACE_PARTIQL_H

/**
 * src/partiql/partiql.h: DynamoDB's PartiQL, internal to libtailrace-engine.
 *
 *   text + parameters --tr_ql_parse--> statement --tr_ql_plan_…--> what src/api hands to the engine
 *
 * A statement names one table or index and says one of: SELECT, INSERT, UPDATE, DELETE, EXISTS(SELECT …).
 * Conditions and the right-hand sides of SET are src/expr's own trees, made and checked by the same
 * functions; so whatever an expression may say here is evaluated as it is everywhere else. Parameters are put
 * in while parsing.
 *
 * Memory: everything is allocated in the arena given and refers to the text and the parameters, which must
 * live as long. Threads: none of this has state. Errors: 0, TR_ENOMEM, TR_ELIMIT, or TR_EINVAL with `err`
 * worded as the service words it (type "ValidationException"). Wording and what is allowed follow DynamoDB
 * Local 3.3, which shares the service's parser; see README.md.
 */

#include "expr/expr.h"

/** Bytes of a statement (API reference, ExecuteStatement: Statement). */
#define TR_QL_TEXT_MAX 8192
/** Parentheses, NOTs and function calls in each other. */
#define TR_QL_DEPTH_MAX 64
/** Pieces of a table that one SELECT may read one after the other: the values of IN for a partition key,
 * times those for a sort key. A SELECT with more of them looks at the whole table. */
#define TR_QL_RANGES_MAX 1000

typedef enum tr_ql_kind { TR_QL_SELECT, TR_QL_INSERT, TR_QL_UPDATE, TR_QL_DELETE, TR_QL_EXISTS } tr_ql_kind;

typedef enum tr_ql_returning {
    TR_QL_RETURN_NOTHING,
    TR_QL_RETURN_ALL_OLD,
    TR_QL_RETURN_ALL_NEW,
    TR_QL_RETURN_MODIFIED_OLD,
    TR_QL_RETURN_MODIFIED_NEW
} tr_ql_returning;

/** What SELECT gives of an item: the value at the path, under the name of the path's last part. */
typedef struct tr_ql_field {
    tr_path path;
    tr_view name; /**< "x", "x[0]" */
} tr_ql_field;

typedef struct tr_ql_order {
    tr_view name;
    bool descending;
} tr_ql_order;

typedef struct tr_ql_statement {
    tr_ql_kind kind;
    tr_view table, index;      /**< index.ptr NULL: the table itself */
    const tr_cond *where;      /**< NULL: none */
    const tr_ql_field *fields; /**< SELECT and EXISTS */
    uint32_t field_count;      /**< 0: all of the item */
    const tr_ql_order *orders;
    uint32_t order_count;
    const tr_projection *projection; /**< of the fields' paths; NULL: all of the item */
    tr_item item;                    /**< INSERT */
    const tr_update *update;         /**< UPDATE */
    tr_ql_returning returning;
} tr_ql_statement;

/** `scratch`: values are packed there and copied; its contents are lost. */
int tr_ql_parse(tr_arena *arena, tr_buf *scratch, tr_view text, const tr_value *parameters,
                uint32_t parameter_count, const tr_ql_statement **ret_statement, tr_error *err);

/** What a SELECT gives of an item, packed in the arena. TR_ENOMEM. */
int tr_ql_pick(const tr_ql_statement *statement, tr_item item, tr_arena *arena, tr_buf *scratch,
               tr_item *ret_item);

/** What a SELECT reads: ranges, one after the other, or everything; `filter` picks out of what they hold. */
typedef struct tr_ql_reads {
    const tr_key_condition *ranges;
    uint32_t count; /**< 0: everything */
    bool backward;
    bool single;                /**< nothing but equalities on all key attributes: one item at most */
    const tr_condition *filter; /**< NULL: none */
} tr_ql_reads;
/** schema: of the table, or of the index if the statement names one. */
int tr_ql_plan_reads(tr_arena *arena, const tr_ql_statement *statement, const tr_key_schema *schema,
                     tr_ql_reads *ret_reads, tr_error *err);

/** The one item that UPDATE, DELETE, EXISTS or a SELECT by key is about. */
typedef struct tr_ql_target {
    tr_item key; /**< packed in the arena */
    /** UPDATE, EXISTS: the item is there and the rest of WHERE holds; DELETE: the rest of WHERE holds, or the
     * item is not there; INSERT: it is not there. NULL: always. */
    const tr_condition *condition;
    bool more; /**< WHERE says more than the key */
} tr_ql_target;
int tr_ql_plan_target(tr_arena *arena, tr_buf *scratch, const tr_ql_statement *statement,
                      const tr_key_schema *schema, tr_ql_target *ret_target, tr_error *err);

#endif
