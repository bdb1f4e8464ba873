/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_VECTORS_H
#define TAILRACE_API_VECTORS_H

/** vectors.h: vector indexes in the requests and descriptions of tables. */

#include "api/tables.h"

typedef struct tr_vector_attribute {
    tr_view name;
} tr_vector_attribute;

/** Of a SearchSchema. */
typedef struct tr_search_element {
    tr_view name, type; /* "HASH", "INLINE_FILTER" */
} tr_search_element;

typedef struct tr_vector_index_spec {
    tr_view name, distance;
    tr_vector_attribute *attribute;
    tr_list schema; /* tr_search_element */
    tr_projection_spec *projection;
    tr_int dimensions;
} tr_vector_index_spec;

typedef struct tr_vector_update {
    tr_vector_index_spec *create, *drop;
} tr_vector_update;

/** Of CreateTable: against the table's definitions, keys, other indexes. */
int tr__check_vectors(tr_call *call, const tr_table_request *request);
/** Of UpdateTable: against the table too. */
int tr__check_vector_updates(tr_call *call, const tr_table_request *request, const tr_table *table);
/** Whether one of them has the attribute in its SearchSchema. */
bool tr__vectors_name(const tr_list *vectors, tr_view attribute);
/** What they project, with what counts as projected: the vector and each filter. */
size_t tr__vectors_projected(const tr_list *vectors);
/** In the engine's terms; the arena holds what is new. */
int tr__vector_of(tr_call *call, const tr_vector_index_spec *spec, const tr_list *attributes,
                  tr_index *ret_index);

/** Vector index of that name or NULL. */
const tr_index *tr__find_vector(const tr_table *table, tr_view name);
bool tr__has_vectors(const tr_table *table);
/** Whether one is being filled. */
bool tr__making_vectors(const tr_table *table);
/** IndexName, VectorAttribute, SearchSchema, Projection, Dimensions, DistanceFunction. */
void tr__write_vector_members(tr_json_writer *writer, const tr_index *index);

#endif
