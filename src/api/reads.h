/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_READS_H
#define TAILRACE_API_READS_H

/** reads.h: Query's and Scan's request, and a page of it under way. */

#include "api/requests.h"

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
    bool fetch; /* the table's item for each entry of a local index */
    bool count_only;
    uint64_t limit; /* items to look at */
    /* so far */
    uint64_t count, scanned;
    size_t bytes, table_bytes; /* looked at; of those fetched from the table */
    tr_item position;          /* LastEvaluatedKey; empty: the end was reached */
} tr_read;

#endif
