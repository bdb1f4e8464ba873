/* SPDX-License-Identifier: MIT */
#include "api/tables.h"

/*
 * What makes no sense on one machine: global tables, Kinesis destinations, contributor insights, resource
 * policies, auto scaling, bulk operations on S3. Asking about them is answered as the service does
 * for an account that does not use them; what would switch them on is refused with words that say so.
 */

typedef struct unused_request {
    tr_view table, index, arn, action;
} unused_request;

#define TABLE_NAME                                                                                           \
    TR_MEMBER(unused_request, table, "TableName", TR_K_STRING, .max = 1024,                                  \
              .rules = TR_R_NOT_NULL | TR_R_TABLE | TR_R_MAX)
#define GLOBAL_NAME                                                                                          \
    TR_MEMBER(unused_request, table, "GlobalTableName", TR_K_STRING,                                         \
              .rules = TR_R_NOT_NULL | TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255)
#define ARN(name)                                                                                            \
    TR_MEMBER(unused_request, arn, name, TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,          \
              .min = 1, .max = 1283)

static const tr_member table_members[] = {TABLE_NAME};
static const tr_member global_members[] = {GLOBAL_NAME};
static const tr_member any_members[] = {TR_M_TEXT(unused_request, table, "TableName")};
static const tr_member insights_members[] = {
    TABLE_NAME, TR_MEMBER(unused_request, index, "IndexName", TR_K_STRING,
                          .rules = TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255)};
static const tr_member update_insights_members[] = {
    TABLE_NAME,
    TR_MEMBER(unused_request, index, "IndexName", TR_K_STRING, .rules = TR_R_NAME | TR_R_MIN | TR_R_MAX,
              .min = 3, .max = 255),
    TR_MEMBER(unused_request, action, "ContributorInsightsAction", TR_K_STRING, .rules = TR_R_NOT_NULL,
              .values = "[ENABLE, DISABLE]")};
static const tr_member kinesis_members[] = {TABLE_NAME, ARN("StreamArn")};
static const tr_member policy_members[] = {ARN("ResourceArn")};
static const tr_member bulk_members[] = {ARN("BulkOperationArn")};

const tr_shape tr__shape_refused = TR_SHAPE(unused_request, "Request", any_members);
const tr_shape tr__shape_list_nothing = TR_SHAPE(unused_request, "Request", any_members);
const tr_shape tr__shape_no_global_table =
    TR_SHAPE(unused_request, "DescribeGlobalTableInput", global_members);
const tr_shape tr__shape_describe_insights =
    TR_SHAPE(unused_request, "DescribeContributorInsightsInput", insights_members);
const tr_shape tr__shape_update_insights =
    TR_SHAPE(unused_request, "UpdateContributorInsightsInput", update_insights_members);
const tr_shape tr__shape_describe_kinesis =
    TR_SHAPE(unused_request, "DescribeKinesisStreamingDestinationInput", table_members);
const tr_shape tr__shape_no_kinesis =
    TR_SHAPE(unused_request, "KinesisStreamingDestinationInput", kinesis_members);
const tr_shape tr__shape_describe_scaling =
    TR_SHAPE(unused_request, "DescribeTableReplicaAutoScalingInput", table_members);
const tr_shape tr__shape_no_policy = TR_SHAPE(unused_request, "GetResourcePolicyInput", policy_members);
const tr_shape tr__shape_delete_policy =
    TR_SHAPE(unused_request, "DeleteResourcePolicyInput", policy_members);
const tr_shape tr__shape_no_bulk = TR_SHAPE(unused_request, "DescribeBulkOperationInput", bulk_members);

/* ------------------------------------------------------------------------------------------------ refusing
 */

int tr__op_refused(tr_call *c, void *request)
{
    (void)request;
    return tr__invalid(
        c, "%s is not available here: tailrace is one DynamoDB on one machine. See docs/compatibility.md",
        c->op->name);
}

int tr__op_no_global_table(tr_call *c, void *request)
{
    return tr__fail(c, 400, TR_TYPE("GlobalTableNotFoundException"),
                    "Global table not found: Global table with name: '%.*s' does not exist.",
                    TR_FMT(((unused_request *)request)->table));
}

/* Policies are of tables and their streams. */
static int check_policy_table(tr_call *c, tr_view arn)
{
    tr_view name = tr__table_of_arn(arn);
    return tr_engine_table(c->engine, name) ? 0 : tr__no_table(c, name, true);
}

int tr__op_no_policy(tr_call *c, void *request)
{
    int e = check_policy_table(c, ((unused_request *)request)->arn);
    if (e)
        return e;
    return tr__fail(
        c, 400, TR_TYPE("PolicyNotFoundException"),
        "Resource-based policy not found for the provided ResourceArn: Requested policy not found: %.*s",
        TR_FMT(((unused_request *)request)->arn));
}

int tr__op_no_bulk(tr_call *c, void *request)
{
    return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"), "Requested resource not found: %.*s",
                    TR_FMT(((unused_request *)request)->arn));
}

int tr__op_no_kinesis(tr_call *c, void *request)
{
    const unused_request *r = request;
    tr_table *table;
    int e = tr__find_described(c, r->table, &table);
    if (e)
        return e;
    return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                    "Requested resource not found: Table: %.*s does not stream to %.*s", TR_FMT(table->name),
                    TR_FMT(r->arn));
}

/* ----------------------------------------------------------------------------------------- nothing to tell
 */

int tr__op_list_nothing(tr_call *c, void *request)
{
    static const struct {
        const char *operation, *list;
    } lists[] = {{"ListGlobalTables", "GlobalTables"},
                 {"ListContributorInsights", "ContributorInsightsSummaries"},
                 {"ListBulkOperations", "BulkOperationsSummaryList"}};
    (void)request;
    tr_json_begin_object(&c->w);
    for (size_t i = 0; i < TR_COUNT(lists); i++)
        if (strcmp(c->op->name, lists[i].operation) == 0) {
            tr_json_name(&c->w, lists[i].list);
            tr_json_begin_array(&c->w);
            tr_json_end_array(&c->w);
        }
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_delete_policy(tr_call *c, void *request)
{
    int e = check_policy_table(c, ((unused_request *)request)->arn);
    if (e)
        return e;
    /* deleting what is not there is no error */
    tr_json_begin_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

static int put_insights(tr_call *c, const unused_request *r)
{
    tr_table *table;
    int e = tr__find_described(c, r->table, &table);
    if (e)
        return e;
    if (r->index.ptr && !tr__find_index(table, r->index))
        return tr__fail(c, 400, TR_TYPE("ResourceNotFoundException"),
                        "Requested resource not found: Index: %.*s not found", TR_FMT(r->index));
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "TableName", table->name);
    if (r->index.ptr)
        tr_json_member_string(&c->w, "IndexName", r->index);
    tr_json_member_cstring(&c->w, "ContributorInsightsStatus", "DISABLED");
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_describe_insights(tr_call *c, void *request)
{
    return put_insights(c, request);
}

int tr__op_update_insights(tr_call *c, void *request)
{
    const unused_request *r = request;
    return tr_view_is(r->action, "ENABLE") ? tr__op_refused(c, request) : put_insights(c, r);
}

int tr__op_describe_kinesis(tr_call *c, void *request)
{
    tr_table *table;
    int e = tr__find_described(c, ((unused_request *)request)->table, &table);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "TableName", table->name);
    tr_json_name(&c->w, "KinesisDataStreamDestinations");
    tr_json_begin_array(&c->w);
    tr_json_end_array(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_describe_scaling(tr_call *c, void *request)
{
    tr_table *table;
    int e = tr__find_described(c, ((unused_request *)request)->table, &table);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "TableAutoScalingDescription");
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "TableName", table->name);
    tr_json_member_cstring(&c->w, "TableStatus", table->status == TR_ACTIVE ? "ACTIVE" : "UPDATING");
    tr_json_name(&c->w, "Replicas");
    tr_json_begin_array(&c->w);
    tr_json_end_array(&c->w);
    tr_json_end_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}
