/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_READS_H
#define TAILRACE_API_READS_H

/** reads.h: Query's and Scan's request, and a page of it under way. */

#include "api/requests.h"
#include "partiql/partiql.h"

/** Bytes of items that a page looks at (Developer Guide, "Paginating table query results"). */
#define TR_PAGE_MAX (1024 * 1024)

typedef struct tr_read_request {
    tr_view table_name, index_name, select, capacity;
    tr_view keys, filter, projection;
    tr_bool consistent, forward;
    tr_int limit, segment, segments;
    tr_attributes start;
    tr_expr_env env;
    tr_list legacy_keys, legacy_filter; /* tr_legacy_condition */
    tr_view logic;
    tr_list to_get;
} tr_read_request;

typedef struct tr_read {
    tr_table *table;
    const tr_index *index; /* NULL: the table */
    tr_cursor_spec spec;
    const tr_condition *filter;
    const tr_projection *projection;
    const tr_ql_statement
        *picks; /* of PartiQL: gives what of an item is written, in place of the projection */
    bool fetch; /* the table's item for each entry of a local index */
    bool count_only;
    uint64_t limit; /* items to look at */
    /* so far */
    uint64_t count, scanned;
    size_t bytes;          /* looked at */
    int64_t fetched_units; /* of items fetched from the table: each is charged by itself */
    tr_item position;      /* LastEvaluatedKey; empty: the end was reached */
} tr_read;

/** The request's index, if it names one; refuses what can not be read from it. */
int tr__read_find_index(tr_call *call, const tr_read_request *request, tr_read *read);
/** Whether the index has all that the projection or Select asks for; sets read->fetch. */
int tr__read_check_projection(tr_call *call, const tr_read_request *request, tr_read *read);
/** Refuses a WHERE of PartiQL that names what the index does not hold; Query and Scan just find nothing
 * there. */
int tr__read_check_where(tr_call *call, const tr_read *read, const tr_condition *where);
/** A key condition as what a cursor walks. */
void tr__read_fill_range(const tr_key_condition *keys, tr_cursor_spec *spec);
/** Writes items until the page is full or the cursor ends; sets read->position if there may be more. */
int tr__read_walk(tr_call *call, tr_read *read, tr_cursor *cursor);
/** "ConsumedCapacity":{…} if asked for. */
void tr__read_put_capacity(tr_call *call, const tr_read_request *request, const tr_read *read);

#endif
