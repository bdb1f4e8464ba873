/* SPDX-License-Identifier: MIT */
#include "eventstore/schema.h"

#include <tailrace/json.h>

#define JSON_MAX ((size_t)1 << 20)

/* ------------------------------------------------------------------------------------------------- JSON */

static void new_line(tr_buf *out, unsigned depth)
{
    tr_buf_putc(out, '\n');
    for (unsigned i = 0; i < depth; i++)
        tr_buf_put_str(out, "  ");
}

int tr__json_pretty(tr_view json, tr_buf *out)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        if (in_string) {
            tr_buf_putc(out, c);
            if (c == '\\' && i + 1 < json.len)
                tr_buf_putc(out, json.ptr[++i]);
            in_string = c != '"';
            continue;
        }
        bool opens = c == '{' || c == '[', closes = c == '}' || c == ']';
        if (closes && i && json.ptr[i - 1] != '{' && json.ptr[i - 1] != '[')
            new_line(out, depth - 1);
        tr_buf_putc(out, c);
        depth += opens;
        depth -= closes;
        if ((opens && i + 1 < json.len && json.ptr[i + 1] != '}' && json.ptr[i + 1] != ']') || c == ',')
            new_line(out, depth);
        else if (c == ':')
            tr_buf_putc(out, ' ');
        in_string = c == '"';
    }
    tr_buf_putc(out, '\n');
    return tr_buf_status(out);
}

/* ---------------------------------------------------------------------------------------------- AWS CLI */

static void put_cli_keys(tr_buf *out, tr__schema_key pk, tr__schema_key sk)
{
    tr_buf_printf(out, "AttributeName=%s,KeyType=HASH AttributeName=%s,KeyType=RANGE", pk.name, sk.name);
}

void tr__schema_write_aws_cli(tr_buf *out, const tr__schema_view *v)
{
    const tr__schema *of = v->of;
    tr_buf_printf(out, "aws dynamodb create-table \\\n  --table-name %s \\\n  --attribute-definitions",
                  v->table);
    for (size_t i = 0; i < v->attribute_count; i++)
        tr_buf_printf(out, " AttributeName=%s,AttributeType=%s", v->attributes[i].name,
                      v->attributes[i].type);
    tr_buf_put_str(out, " \\\n  --key-schema ");
    put_cli_keys(out, of->pk, of->sk);
    if (of->index)
        tr_buf_printf(
            out,
            " \\\n  --global-secondary-indexes 'IndexName=%s,KeySchema=[{AttributeName=%s,KeyType=HASH},"
            "{AttributeName=%s,KeyType=RANGE}],Projection={ProjectionType=KEYS_ONLY}'",
            of->index, of->index_pk.name, of->index_sk.name);
    tr_buf_put_str(out, " \\\n  --billing-mode PAY_PER_REQUEST");
    if (v->stream)
        tr_buf_printf(out, " \\\n  --stream-specification StreamEnabled=true,StreamViewType=%s", of->view);
    if (of->guarded)
        tr_buf_put_str(out, " \\\n  --sse-specification Enabled=true");
    if (of->tag)
        tr_buf_printf(out, " \\\n  --tags Key=%s,Value=%s", of->tag, v->table);
    tr_buf_printf(out, "\naws dynamodb wait table-exists --table-name %s\n", v->table);
    if (of->ttl)
        tr_buf_printf(out,
                      "aws dynamodb update-time-to-live --table-name %s \\\n"
                      "  --time-to-live-specification Enabled=true,AttributeName=%s\n",
                      v->table, of->ttl);
    if (of->guarded)
        tr_buf_printf(out,
                      "aws dynamodb update-continuous-backups --table-name %s \\\n"
                      "  --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true\n",
                      v->table);
}

/* --------------------------------------------------------------------------------------- CloudFormation */

static void begin_member(tr_json_writer *w, const char *name)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
}

static void write_properties(tr_json_writer *w, const tr__schema_view *v)
{
    const tr__schema *of = v->of;
    begin_member(w, "Properties");
    tr__schema_write_members(w, v);
    if (v->stream) {
        begin_member(w, "StreamSpecification");
        tr_json_member_cstring(w, "StreamViewType", of->view);
        tr_json_end_object(w);
    }
    if (of->guarded) {
        begin_member(w, "SSESpecification");
        tr_json_member_bool(w, "SSEEnabled", true);
        tr_json_end_object(w);
        begin_member(w, "PointInTimeRecoverySpecification");
        tr_json_member_bool(w, "PointInTimeRecoveryEnabled", true);
        tr_json_end_object(w);
    }
    if (of->ttl) {
        begin_member(w, "TimeToLiveSpecification");
        tr_json_member_cstring(w, "AttributeName", of->ttl);
        tr_json_member_bool(w, "Enabled", true);
        tr_json_end_object(w);
    }
    if (of->tag) {
        tr_json_name(w, "Tags");
        tr_json_begin_array(w);
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "Key", of->tag);
        tr_json_member_cstring(w, "Value", v->table);
        tr_json_end_object(w);
        tr_json_end_array(w);
    }
    tr_json_end_object(w);
}

void tr__schema_write_cloudformation(tr_buf *out, const tr__schema_view *v)
{
    tr_buf compact;
    tr_json_writer w;
    tr_buf_init(&compact, JSON_MAX);
    tr_json_write_init(&w, &compact);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "AWSTemplateFormatVersion", "2010-09-09");
    begin_member(&w, "Resources");
    begin_member(&w, v->of->logical);
    tr_json_member_cstring(&w, "Type", "AWS::DynamoDB::Table");
    write_properties(&w, v);
    tr_json_member_cstring(&w, "UpdateReplacePolicy", "Retain");
    tr_json_member_cstring(&w, "DeletionPolicy", "Retain");
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    (void)tr__json_pretty(tr_buf_view(&compact), out);
    tr_buf_done(&compact);
}

/* -------------------------------------------------------------------------------------------------- CDK */

static void put_cdk_key(tr_buf *out, const char *indent, const char *member, tr__schema_key key)
{
    tr_buf_printf(out, "%s%s: { name: '%s', type: AttributeType.%s },\n", indent, member, key.name,
                  key.type[0] == 'N' ? "NUMBER" : "STRING");
}

void tr__schema_write_cdk(tr_buf *out, const tr__schema_view *v)
{
    const tr__schema *of = v->of;
    tr_buf_printf(out,
                  "import { App, RemovalPolicy, Stack%s } from 'aws-cdk-lib';\n"
                  "import { AttributeType, BillingMode%s%s%s, Table } from 'aws-cdk-lib/aws-dynamodb';\n\n"
                  "const app = new App();\n"
                  "const stack = new Stack(app, '%.*s');\n\n"
                  "const table = new Table(stack, '%s', {\n"
                  "  tableName: '%s',\n",
                  of->tag ? ", Tags" : "", of->index ? ", ProjectionType" : "",
                  v->stream ? ", StreamViewType" : "", of->guarded ? ", TableEncryption" : "",
                  (int)(strlen(of->logical) - strlen("Table")), of->logical, of->logical, v->table);
    put_cdk_key(out, "  ", "partitionKey", of->pk);
    put_cdk_key(out, "  ", "sortKey", of->sk);
    tr_buf_put_str(out, "  billingMode: BillingMode.PAY_PER_REQUEST,\n");
    if (v->stream)
        tr_buf_printf(out, "  stream: StreamViewType.%s,\n", of->view);
    if (of->ttl)
        tr_buf_printf(out, "  timeToLiveAttribute: '%s',\n", of->ttl);
    if (of->guarded)
        tr_buf_put_str(out, "  encryption: TableEncryption.AWS_MANAGED,\n"
                            "  pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },\n");
    tr_buf_put_str(out, "  removalPolicy: RemovalPolicy.RETAIN,\n});\n");
    if (of->index) {
        tr_buf_printf(out, "table.addGlobalSecondaryIndex({\n  indexName: '%s',\n", of->index);
        put_cdk_key(out, "  ", "partitionKey", of->index_pk);
        put_cdk_key(out, "  ", "sortKey", of->index_sk);
        tr_buf_put_str(out, "  projectionType: ProjectionType.KEYS_ONLY,\n});\n");
    }
    if (of->tag)
        tr_buf_printf(out, "Tags.of(table).add('%s', '%s');\n", of->tag, v->table);
    tr_buf_put_str(out, "\napp.synth();\n");
}

/* -------------------------------------------------------------------------------------------- Terraform */

void tr__schema_write_terraform(tr_buf *out, const tr__schema_view *v)
{
    const tr__schema *of = v->of;
    tr_buf_printf(out,
                  "resource \"aws_dynamodb_table\" \"%s\" {\n"
                  "  name         = \"%s\"\n"
                  "  billing_mode = \"PAY_PER_REQUEST\"\n"
                  "  hash_key     = \"%s\"\n"
                  "  range_key    = \"%s\"\n",
                  of->name, v->table, of->pk.name, of->sk.name);
    if (v->stream)
        tr_buf_printf(out, "\n  stream_enabled   = true\n  stream_view_type = \"%s\"\n", of->view);
    for (size_t i = 0; i < v->attribute_count; i++)
        tr_buf_printf(out, "\n  attribute {\n    name = \"%s\"\n    type = \"%s\"\n  }\n",
                      v->attributes[i].name, v->attributes[i].type);
    if (of->index)
        tr_buf_printf(out,
                      "\n  global_secondary_index {\n"
                      "    name            = \"%s\"\n"
                      "    hash_key        = \"%s\"\n"
                      "    range_key       = \"%s\"\n"
                      "    projection_type = \"KEYS_ONLY\"\n  }\n",
                      of->index, of->index_pk.name, of->index_sk.name);
    if (of->ttl)
        tr_buf_printf(out, "\n  ttl {\n    attribute_name = \"%s\"\n    enabled        = true\n  }\n",
                      of->ttl);
    if (of->guarded)
        tr_buf_put_str(out, "\n  server_side_encryption {\n    enabled = true\n  }\n"
                            "\n  point_in_time_recovery {\n    enabled = true\n  }\n");
    if (of->tag)
        tr_buf_printf(out, "\n  tags = {\n    \"%s\" = \"%s\"\n  }\n", of->tag, v->table);
    tr_buf_put_str(out, "\n  lifecycle {\n    prevent_destroy = true\n  }\n}\n");
}
