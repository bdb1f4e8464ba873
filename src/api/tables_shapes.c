/* SPDX-License-Identifier: MIT */
#include "api/tables.h"

/* What CreateTable and UpdateTable take. Members stand in the order in which the service tells errors. */

typedef tr_table_request req;

static const tr_member key_members[] = {
    TR_MEMBER(tr_key_element, name, "AttributeName", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(tr_key_element, type, "KeyType", TR_K_STRING, .rules = TR_R_NOT_NULL,
              .values = "[HASH, RANGE]"),
};
static const tr_shape key_shape = TR_SHAPE(tr_key_element, "KeySchemaElement", key_members);

static const tr_member attribute_members[] = {
    TR_MEMBER(tr_attribute_definition, name, "AttributeName", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(tr_attribute_definition, type, "AttributeType", TR_K_STRING, .rules = TR_R_NOT_NULL,
              .values = "[B, N, S]"),
};
static const tr_shape attribute_shape =
    TR_SHAPE(tr_attribute_definition, "AttributeDefinition", attribute_members);

static const tr_member units_members[] = {
    TR_MEMBER(tr_units, write, "WriteCapacityUnits", TR_K_LONG, .rules = TR_R_NOT_NULL | TR_R_MIN, .min = 1),
    TR_MEMBER(tr_units, read, "ReadCapacityUnits", TR_K_LONG, .rules = TR_R_NOT_NULL | TR_R_MIN, .min = 1),
};
const tr_shape tr__shape_units = TR_SHAPE(tr_units, "ProvisionedThroughput", units_members);

static const tr_member on_demand_members[] = {
    TR_MEMBER(tr_units, read, "MaxReadRequestUnits", TR_K_LONG, .rules = 0),
    TR_MEMBER(tr_units, write, "MaxWriteRequestUnits", TR_K_LONG, .rules = 0),
};
const tr_shape tr__shape_on_demand = TR_SHAPE(tr_units, "OnDemandThroughput", on_demand_members);

static const tr_member warm_members[] = {
    TR_MEMBER(tr_units, read, "ReadUnitsPerSecond", TR_K_LONG, .rules = 0),
    TR_MEMBER(tr_units, write, "WriteUnitsPerSecond", TR_K_LONG, .rules = 0),
};
static const tr_shape warm_shape = TR_SHAPE(tr_units, "WarmThroughput", warm_members);

static const tr_member projection_members[] = {
    TR_MEMBER(tr_projection_spec, type, "ProjectionType", TR_K_STRING, .values = "[ALL, INCLUDE, KEYS_ONLY]"),
    TR_MEMBER(tr_projection_spec, attributes, "NonKeyAttributes", TR_K_STRINGS, .rules = TR_R_MIN, .min = 1),
};
const tr_shape tr__shape_projection = TR_SHAPE(tr_projection_spec, "Projection", projection_members);

#define INDEX_NAME                                                                                           \
    TR_MEMBER(tr_index_spec, name, "IndexName", TR_K_STRING,                                                 \
              .rules = TR_R_NOT_NULL | TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255)
/* a global index may have four attributes on each side */
#define INDEX_KEYS(most)                                                                                     \
    TR_MEMBER(tr_index_spec, schema, "KeySchema", TR_K_STRUCTS,                                              \
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1, .max = (most), .shape = &key_shape)
#define INDEX_PROJECTION                                                                                     \
    TR_MEMBER(tr_index_spec, projection, "Projection", TR_K_STRUCT, .rules = TR_R_NOT_NULL,                  \
              .shape = &tr__shape_projection)
#define INDEX_UNITS                                                                                          \
    TR_MEMBER(tr_index_spec, throughput, "ProvisionedThroughput", TR_K_STRUCT, .shape = &tr__shape_units),   \
        TR_MEMBER(tr_index_spec, on_demand, "OnDemandThroughput", TR_K_STRUCT,                               \
                  .shape = &tr__shape_on_demand),                                                            \
        TR_MEMBER(tr_index_spec, warm, "WarmThroughput", TR_K_STRUCT, .shape = &warm_shape)

static const tr_member local_members[] = {INDEX_NAME, INDEX_KEYS(2), INDEX_PROJECTION};
const tr_shape tr__shape_local_index = TR_SHAPE(tr_index_spec, "LocalSecondaryIndex", local_members);

static const tr_member global_members[] = {INDEX_KEYS(2 * TR_KEY_PARTS_MAX), INDEX_PROJECTION, INDEX_NAME,
                                           INDEX_UNITS};
const tr_shape tr__shape_global_index = TR_SHAPE(tr_index_spec, "GlobalSecondaryIndex", global_members);

static const tr_member update_index_members[] = {INDEX_NAME, INDEX_UNITS};
static const tr_shape update_index_shape =
    TR_SHAPE(tr_index_spec, "UpdateGlobalSecondaryIndexAction", update_index_members);

static const tr_member create_index_members[] = {INDEX_PROJECTION, INDEX_NAME, INDEX_UNITS,
                                                 INDEX_KEYS(2 * TR_KEY_PARTS_MAX)};
static const tr_shape create_index_shape =
    TR_SHAPE(tr_index_spec, "CreateGlobalSecondaryIndexAction", create_index_members);

static const tr_member delete_index_members[] = {INDEX_NAME};
static const tr_shape delete_index_shape =
    TR_SHAPE(tr_index_spec, "DeleteGlobalSecondaryIndexAction", delete_index_members);

static const tr_member index_update_members[] = {
    TR_MEMBER(tr_index_update, update, "Update", TR_K_STRUCT, .shape = &update_index_shape),
    TR_MEMBER(tr_index_update, create, "Create", TR_K_STRUCT, .shape = &create_index_shape),
    TR_MEMBER(tr_index_update, drop, "Delete", TR_K_STRUCT, .shape = &delete_index_shape),
};
static const tr_shape index_update_shape =
    TR_SHAPE(tr_index_update, "GlobalSecondaryIndexUpdate", index_update_members);

static const tr_member stream_members[] = {
    TR_MEMBER(tr_stream_spec, enabled, "StreamEnabled", TR_K_BOOLEAN, .rules = TR_R_NOT_NULL),
    TR_MEMBER(tr_stream_spec, view, "StreamViewType", TR_K_STRING,
              .values = "[NEW_AND_OLD_IMAGES, OLD_IMAGE, NEW_IMAGE, KEYS_ONLY]"),
};
static const tr_shape stream_shape = TR_SHAPE(tr_stream_spec, "StreamSpecification", stream_members);

static const tr_member sse_members[] = {
    TR_MEMBER(tr_sse_spec, enabled, "Enabled", TR_K_BOOLEAN, .rules = 0),
    TR_MEMBER(tr_sse_spec, type, "SSEType", TR_K_STRING, .values = "[AES256, KMS]"),
    TR_MEMBER(tr_sse_spec, key, "KMSMasterKeyId", TR_K_STRING, .rules = 0),
};
const tr_shape tr__shape_sse = TR_SHAPE(tr_sse_spec, "SSESpecification", sse_members);

static const tr_member tag_members[] = {
    TR_MEMBER(tr_tag, key, "Key", TR_K_STRING, .rules = 0),
    TR_MEMBER(tr_tag, value, "Value", TR_K_STRING, .rules = 0),
};
const tr_shape tr__shape_tag_element = TR_SHAPE(tr_tag, "Tag", tag_members);

#define BILLING                                                                                              \
    TR_MEMBER(req, billing, "BillingMode", TR_K_STRING, .values = "[PROVISIONED, PAY_PER_REQUEST]"),         \
        TR_MEMBER(req, throughput, "ProvisionedThroughput", TR_K_STRUCT, .shape = &tr__shape_units)
#define OPTIONS                                                                                              \
    TR_MEMBER(req, on_demand, "OnDemandThroughput", TR_K_STRUCT, .shape = &tr__shape_on_demand),             \
        TR_MEMBER(req, warm, "WarmThroughput", TR_K_STRUCT, .shape = &warm_shape),                           \
        TR_MEMBER(req, stream, "StreamSpecification", TR_K_STRUCT, .shape = &stream_shape),                  \
        TR_MEMBER(req, sse, "SSESpecification", TR_K_STRUCT, .shape = &tr__shape_sse),                       \
        TR_MEMBER(req, table_class, "TableClass", TR_K_STRING,                                               \
                  .values = "[STANDARD, STANDARD_INFREQUENT_ACCESS]"),                                       \
        TR_MEMBER(req, deletion_protection, "DeletionProtectionEnabled", TR_K_BOOLEAN, .rules = 0)

#define REFUSED(name) TR_MEMBER(req, refused, name, TR_K_REFUSED, .rules = 0)

static const tr_member create_members[] = {
    TR_MEMBER(req, name, "TableName", TR_K_STRING, .rules = TR_R_FIRST | TR_R_NAME | TR_R_MIN | TR_R_MAX,
              .min = 3, .max = 255),
    BILLING,
    TR_MEMBER(req, schema, "KeySchema", TR_K_STRUCTS, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 2, .shape = &key_shape),
    TR_MEMBER(req, attributes, "AttributeDefinitions", TR_K_STRUCTS, .rules = TR_R_NOT_NULL,
              .shape = &attribute_shape),
    TR_MEMBER(req, local, "LocalSecondaryIndexes", TR_K_STRUCTS, .shape = &tr__shape_local_index),
    TR_MEMBER(req, global, "GlobalSecondaryIndexes", TR_K_STRUCTS, .shape = &tr__shape_global_index),
    OPTIONS,
    TR_M_TAGS(req, tags, .rules = 0),
    REFUSED("ResourcePolicy"),
    TR_MEMBER(req, vectors, "VectorIndexes", TR_K_STRUCTS, .shape = &tr__shape_vector_index),
    REFUSED("GlobalTableSourceArn"),
    REFUSED("GlobalTableSettingsReplicationMode"),
};
const tr_shape tr__shape_create_table = TR_SHAPE(req, "CreateTableInput", create_members);

static const tr_member update_members[] = {
    TR_MEMBER(req, name, "TableName", TR_K_STRING, .rules = TR_R_TABLE),
    BILLING,
    TR_MEMBER(req, index_updates, "GlobalSecondaryIndexUpdates", TR_K_STRUCTS, .shape = &index_update_shape),
    TR_MEMBER(req, attributes, "AttributeDefinitions", TR_K_STRUCTS, .shape = &attribute_shape),
    OPTIONS,
    REFUSED("ReplicaUpdates"),
    TR_MEMBER(req, vector_updates, "VectorIndexUpdates", TR_K_STRUCTS, .shape = &tr__shape_vector_update),
    REFUSED("MultiRegionConsistency"),
    REFUSED("GlobalTableWitnessUpdates"),
    REFUSED("GlobalTableSettingsReplicationMode"),
};
const tr_shape tr__shape_update_table = TR_SHAPE(req, "UpdateTableInput", update_members);

static const tr_member creation_members[] = {
    TR_MEMBER(req, name, "TableName", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_NAME | TR_R_MIN | TR_R_MAX,
              .min = 3, .max = 255),
    TR_MEMBER(req, attributes, "AttributeDefinitions", TR_K_STRUCTS, .rules = TR_R_NOT_NULL,
              .shape = &attribute_shape),
    TR_MEMBER(req, schema, "KeySchema", TR_K_STRUCTS, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 2, .shape = &key_shape),
    BILLING,
    TR_MEMBER(req, on_demand, "OnDemandThroughput", TR_K_STRUCT, .shape = &tr__shape_on_demand),
    TR_MEMBER(req, sse, "SSESpecification", TR_K_STRUCT, .shape = &tr__shape_sse),
    TR_MEMBER(req, global, "GlobalSecondaryIndexes", TR_K_STRUCTS, .shape = &tr__shape_global_index),
    TR_MEMBER(req, vectors, "VectorIndexes", TR_K_STRUCTS, .shape = &tr__shape_vector_index),
};
const tr_shape tr__shape_creation = TR_SHAPE(req, "TableCreationParameters", creation_members);
