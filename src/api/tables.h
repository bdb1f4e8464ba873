/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_TABLES_H
#define TAILRACE_API_TABLES_H

/** tables.h: the requests of CreateTable and UpdateTable, and what checks them. */

#include "api/requests.h"

typedef struct tr_key_element {
    tr_view name, type; /* "HASH", "RANGE" */
} tr_key_element;

typedef struct tr_attribute_definition {
    tr_view name, type; /* "S", "N", "B" */
} tr_attribute_definition;

typedef struct tr_units {
    tr_int read, write;
} tr_units;

typedef struct tr_projection_spec {
    tr_view type;
    tr_list attributes; /* tr_view */
} tr_projection_spec;

typedef struct tr_index_spec {
    tr_view name;
    tr_list schema; /* tr_key_element */
    tr_projection_spec *projection;
    tr_units *throughput, *on_demand, *warm;
} tr_index_spec;

typedef struct tr_index_update {
    tr_index_spec *create, *update, *drop;
} tr_index_update;

typedef struct tr_stream_spec {
    tr_bool enabled;
    tr_view view;
} tr_stream_spec;

typedef struct tr_sse_spec {
    tr_bool enabled;
    tr_view type, key;
} tr_sse_spec;

typedef struct tr_table_request {
    tr_view name; /* first: see TR_OP_NAMED */
    tr_view billing, table_class;
    tr_units *throughput, *on_demand, *warm;
    tr_list schema;         /* tr_key_element */
    tr_list attributes;     /* tr_attribute_definition */
    tr_list local, global;  /* tr_index_spec */
    tr_list index_updates;  /* tr_index_update */
    tr_list vectors;        /* tr_vector_index_spec */
    tr_list vector_updates; /* tr_vector_update */
    tr_list tags;           /* tr_tag */
    const char *refused;    /* a parameter that is */
    tr_bool deletion_protection;
    tr_stream_spec *stream;
    tr_sse_spec *sse;
} tr_table_request;

/* tables_shapes.c */
extern const tr_shape tr__shape_tag_element, tr__shape_units, tr__shape_on_demand, tr__shape_local_index,
    tr__shape_global_index, tr__shape_sse, tr__shape_projection,
    tr__shape_creation /* TableCreationParameters, a tr_table_request */;
/* vectors.c */
extern const tr_shape tr__shape_vector_index, tr__shape_vector_update;
/** What restores may change of a table. */
#define TR_M_RESTORE_OVERRIDES(type)                                                                         \
    TR_MEMBER(type, billing, "BillingModeOverride", TR_K_STRING,                                             \
              .values = "[PROVISIONED, PAY_PER_REQUEST]"),                                                   \
        TR_MEMBER(type, global, "GlobalSecondaryIndexOverride", TR_K_STRUCTS,                                \
                  .shape = &tr__shape_global_index),                                                         \
        TR_MEMBER(type, local, "LocalSecondaryIndexOverride", TR_K_STRUCTS,                                  \
                  .shape = &tr__shape_local_index),                                                          \
        TR_MEMBER(type, throughput, "ProvisionedThroughputOverride", TR_K_STRUCT,                            \
                  .shape = &tr__shape_units),                                                                \
        TR_MEMBER(type, on_demand, "OnDemandThroughputOverride", TR_K_STRUCT,                                \
                  .shape = &tr__shape_on_demand),                                                            \
        TR_MEMBER(type, vectors, "VectorIndexOverride", TR_K_STRUCTS, .shape = &tr__shape_vector_index),     \
        TR_MEMBER(type, sse, "SSESpecificationOverride", TR_K_STRUCT, .shape = &tr__shape_sse)
#define TR_M_TAGS(type, field, ...)                                                                          \
    TR_MEMBER(type, field, "Tags", TR_K_STRUCTS, .shape = &tr__shape_tag_element, __VA_ARGS__)

/** The table of DescribeTable and its kin, whatever its status, or the error that names it. */
int tr__find_described(tr_call *call, tr_view name, tr_table **ret_table);

/* tables_describe.c */
/** "name":seconds.milliseconds */
void tr__write_time(tr_json_writer *writer, const char *name, int64_t ms);
/** "KeySchema":[…] */
void tr__write_key_schema(tr_json_writer *writer, const tr_key_schema *schema);

/** "Projection":{…} */
void tr__write_projection(tr_json_writer *writer, const tr_index *index);
/** "VectorIndexes":[…] as a backup's description has them. */
void tr__write_vector_infos(tr_json_writer *writer, const tr_table *table);
/** "LocalSecondaryIndexes" or "GlobalSecondaryIndexes" as a backup's description has them. */
void tr__write_index_infos(tr_json_writer *writer, const tr_table *table, bool local);

/* continuous.c */
/** The earliest time that the table can be restored to. */
int64_t tr__pitr_earliest(tr_call *call, const tr_table *table);
/** Refuses a table without point-in-time recovery. */
int tr__check_pitr(tr_call *call, const tr_table *table);

/* tables.c */
int tr__table_spec_of(tr_call *call, const tr_table_request *request, tr_table_spec *spec);

/* tags.c */
int tr__check_tags(tr_call *call, const tr_list *tags);

/* tables_check.c: in the service's order; 0 or TR_ESERVICE. */
int tr__check_create(tr_call *call, const tr_table_request *request);
int tr__check_throughput(tr_call *call, const tr_units *throughput);
/** How many names the projections name, of at most TR_PROJECTED_MAX over all indexes of a table, a name
 * counted once for each (Developer Guide quotas). */
#define TR_PROJECTED_MAX 100
size_t tr__projected(const tr_list *indexes);
int tr__too_many_projected(tr_call *call);
/** An index against the attribute definitions. */
int tr__check_index_spec(tr_call *call, const tr_index_spec *index, const tr_list *attributes);
int tr__check_projection(tr_call *call, const tr_projection_spec *projection);
int tr__check_stream_spec(tr_call *call, const tr_stream_spec *stream);

/* Requests in the engine's terms; the arena holds what is new. */
int tr__index_of(tr_call *call, const tr_index_spec *spec, const tr_list *attributes, bool local,
                 tr_index *ret_index);
/** As the definitions have it; TR_NONE: they do not. */
tr_type tr__attribute_type(const tr_list *attributes, tr_view name);
int tr__attributes_of(tr_call *call, const tr_list *attributes, tr_key_part **ret_parts);
tr_view_type tr__view_type_of(tr_view text);
/** SSEDescription's JSON; empty if encryption is not asked for. */
int tr__sse_of(tr_call *call, const tr_sse_spec *spec, tr_view *ret_json);
/** provisioned NULL: it is on demand. */
tr_throughput tr__throughput_of(const tr_units *provisioned, const tr_units *on_demand, const tr_units *warm);

/* warm.c: warm throughput can be raised, never lowered. `now`: what there is; index empty: of the table. */
int tr__check_warm(tr_call *call, const tr_units *warm, const tr_throughput *now, bool pay_per_request,
                   bool created, tr_view index);
/** Sets what is given; the other unit stays what it is or begins with. */
void tr__set_warm(tr_throughput *throughput, const tr_units *warm, bool pay_per_request);

#endif
