/* SPDX-License-Identifier: MIT */
#include "api/call.h"

/* All operations: one line each. */
#define OP(name, service, flags, stem)                                                                       \
    {                                                                                                        \
        (name), (service), (flags), &tr__shape_##stem, tr__op_##stem                                         \
    }

const tr_op tr__ops[] = {
    OP("GetItem", TR_DYNAMODB, TR_OP_READ, get_item),
    OP("PutItem", TR_DYNAMODB, TR_OP_ENVELOPE, put_item),
    OP("UpdateItem", TR_DYNAMODB, TR_OP_ENVELOPE, update_item),
    OP("DeleteItem", TR_DYNAMODB, 0, delete_item),
    OP("Query", TR_DYNAMODB, TR_OP_READ, query),
    OP("Scan", TR_DYNAMODB, TR_OP_READ, scan),
    OP("BatchGetItem", TR_DYNAMODB, TR_OP_READ, batch_get),
    OP("BatchWriteItem", TR_DYNAMODB, 0, batch_write),
    OP("TransactWriteItems", TR_DYNAMODB, 0, transact_write),
    OP("TransactGetItems", TR_DYNAMODB, TR_OP_READ, transact_get),
    OP("GetRecords", TR_STREAMS, TR_OP_READ, get_records),
    OP("GetShardIterator", TR_STREAMS, TR_OP_READ, get_iterator),
    OP("DescribeStream", TR_STREAMS, 0, describe_stream),
    OP("ListStreams", TR_STREAMS, 0, list_streams),
    OP("CreateTable", TR_DYNAMODB, TR_OP_NAMED, create_table),
    OP("DescribeTable", TR_DYNAMODB, TR_OP_NAMED | TR_OP_LENGTH, describe_table),
    OP("ListTables", TR_DYNAMODB, 0, list_tables),
    OP("DeleteTable", TR_DYNAMODB, TR_OP_NAMED | TR_OP_LENGTH, delete_table),
    OP("UpdateTable", TR_DYNAMODB, TR_OP_NAMED | TR_OP_LENGTH, update_table),
    OP("UpdateTimeToLive", TR_DYNAMODB, TR_OP_NAMED | TR_OP_LENGTH, update_ttl),
    OP("DescribeTimeToLive", TR_DYNAMODB, TR_OP_NAMED | TR_OP_LENGTH, describe_ttl),
    OP("TagResource", TR_DYNAMODB, 0, tag),
    OP("UntagResource", TR_DYNAMODB, 0, untag),
    OP("ListTagsOfResource", TR_DYNAMODB, 0, list_tags),
    OP("DescribeLimits", TR_DYNAMODB, 0, describe_limits),
    OP("DescribeEndpoints", TR_DYNAMODB, 0, describe_endpoints),
    {NULL, TR_DYNAMODB, 0, NULL, NULL},
};
