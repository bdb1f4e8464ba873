/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_REQUESTS_H
#define TAILRACE_API_REQUESTS_H

/** requests.h: request structs and enumerations that several families share. */

#include "api/call.h"

#define TR_ENUM_CAPACITY "[INDEXES, TOTAL, NONE]"
#define TR_ENUM_METRICS  "[SIZE, NONE]"
#define TR_ENUM_RETURN   "[ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"
#define TR_ENUM_FAILURE  "[ALL_OLD, NONE]"
#define TR_ENUM_LOGIC    "[OR, AND]"
#define TR_ENUM_COMPARE                                                                                      \
    "[IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]"

/* Members that many operations have. */
#define TR_M_CAPACITY(type, field, ...)                                                                      \
    TR_MEMBER(type, field, "ReturnConsumedCapacity", TR_K_STRING, .values = TR_ENUM_CAPACITY, __VA_ARGS__)
#define TR_M_METRICS(type, field, ...)                                                                       \
    TR_MEMBER(type, field, "ReturnItemCollectionMetrics", TR_K_STRING, .values = TR_ENUM_METRICS, __VA_ARGS__)
#define TR_M_TABLE(type, field, more)                                                                        \
    TR_MEMBER(type, field, "TableName", TR_K_STRING, .max = 255,                                             \
              .rules = TR_R_NOT_NULL | TR_R_TABLE | TR_R_MAX | (more))
#define TR_M_NAMES(type, field) TR_MEMBER(type, field, "ExpressionAttributeNames", TR_K_ENV_NAMES, .rules = 0)
#define TR_M_VALUES(type, field)                                                                             \
    TR_MEMBER(type, field, "ExpressionAttributeValues", TR_K_ENV_VALUES, .rules = 0)
#define TR_M_TEXT(type, field, name) TR_MEMBER(type, field, name, TR_K_STRING, .rules = 0)
#define TR_M_TO_GET(type, field)                                                                             \
    TR_MEMBER(type, field, "AttributesToGet", TR_K_STRINGS, .rules = TR_R_MIN | TR_R_MAX, .min = 1,          \
              .max = 255)

/* Parameters of the time before expressions. */

/** An entry of Expected, KeyConditions, QueryFilter or ScanFilter. */
typedef struct tr_legacy_condition {
    tr_view attribute;
    tr_view comparison;
    tr_list values; /* tr_attribute */
    tr_attribute value;
    tr_bool exists;
} tr_legacy_condition;

/** An entry of AttributeUpdates. */
typedef struct tr_legacy_update {
    tr_view attribute;
    tr_view action;
    tr_attribute value;
} tr_legacy_update;

extern const tr_shape tr__shape_legacy_expected, tr__shape_legacy_condition, tr__shape_legacy_update;

#define TR_M_EXPECTED(type, field)                                                                           \
    TR_MEMBER(type, field, "Expected", TR_K_STRUCT_MAP, .shape = &tr__shape_legacy_expected)
#define TR_M_CONDITIONS(type, field, name)                                                                   \
    TR_MEMBER(type, field, name, TR_K_STRUCT_MAP, .shape = &tr__shape_legacy_condition)
#define TR_M_LOGIC(type, field)                                                                              \
    TR_MEMBER(type, field, "ConditionalOperator", TR_K_STRING, .values = TR_ENUM_LOGIC)

/** GetItem, PutItem, UpdateItem, DeleteItem, and the actions of transactions. */
typedef struct tr_item_request {
    tr_view table_name;
    tr_attributes key, item;
    tr_view capacity, metrics, return_values, return_on_failure;
    tr_view condition, update, projection;
    tr_bool consistent;
    tr_expr_env env;
    tr_list expected, updates; /* tr_legacy_condition, tr_legacy_update */
    tr_view logic;
    tr_list to_get; /* tr_view */
} tr_item_request;

/** What a read leaves of an item: the projection of an expression or of AttributesToGet; NULL: all. */
int tr__projection_of(tr_call *call, tr_expr_env *env, tr_view expression, const tr_list *to_get,
                      const tr_projection **ret_projection);
/** Refuses a name that no attribute has. */
int tr__check_name(tr_call *call, tr_view name);
/** Refuses AttributesToGet with such names, or that name an attribute twice. */
int tr__check_to_get(tr_call *call, const tr_list *to_get);

/* What the legacy parameters mean, in trees of src/expr. legacy.c. */

/** Refuses a ConditionalOperator that has nothing to join: told before what is wrong with the conditions. */
int tr__legacy_check_logic(tr_call *call, tr_view logic, const tr_list *conditions);
/** Refuses one beside a lone condition: told behind what is wrong with it. */
int tr__legacy_check_lone(tr_call *call, tr_view logic, const tr_list *conditions);
/** Checks of Expected that need no table. */
int tr__legacy_check_expected(tr_call *call, const tr_list *expected);
int tr__legacy_check_conditions(tr_call *call, const tr_list *conditions);
int tr__legacy_check_updates(tr_call *call, const tr_list *updates);
/** Expected or a filter as a condition; NULL if there is nothing to check. */
int tr__legacy_expected(tr_call *call, const tr_list *expected, tr_view logic,
                        const tr_condition **ret_condition);
int tr__legacy_filter(tr_call *call, const tr_list *filter, tr_view logic,
                      const tr_condition **ret_condition);
int tr__legacy_updates(tr_call *call, const tr_list *updates, const tr_update **ret_update);
int tr__legacy_keys(tr_call *call, const tr_list *conditions, const tr_key_expr **ret_expr);

#endif
