/* SPDX-License-Identifier: MIT */
#include "eventstore/schema.h"

#include <tailrace/aggregate.h>
#include <tailrace/eventstore.h>
#include <tailrace/json.h>
#include <tailrace/log.h>

#include <time.h>

static const tr__schema schemas[] = {
    [TR_SCHEMA_EVENTS] = {.name = "events",
                          .default_name = TR_EVENT_TABLE,
                          .logical = "EventsTable",
                          .pk = {TR_EVENT_TABLE_PK, "S"},
                          .sk = {TR_EVENT_TABLE_SK, "N"},
                          .index = TR_EVENT_TABLE_INITIAL_EVENT_INDEX_NAME,
                          .index_pk = {TR_EVENT_TABLE_EVENT_STORE_ID_KEY, "S"},
                          .index_sk = {TR_EVENT_TABLE_TIMESTAMP_KEY, "S"},
                          .view = "NEW_AND_OLD_IMAGES"},
    [TR_SCHEMA_LEGACY_EVENTS] = {.name = "legacy-events",
                                 .default_name = TR_EVENT_TABLE,
                                 .logical = "EventsTable",
                                 .pk = {TR_EVENT_TABLE_PK, "S"},
                                 .sk = {TR_EVENT_TABLE_SK, "N"},
                                 .index = TR_EVENT_TABLE_INITIAL_EVENT_INDEX_NAME,
                                 .index_pk = {TR_EVENT_TABLE_IS_INITIAL_EVENT_KEY, "N"},
                                 .index_sk = {TR_EVENT_TABLE_TIMESTAMP_KEY, "S"},
                                 .view = "NEW_AND_OLD_IMAGES"},
    [TR_SCHEMA_SNAPSHOTS] = {.name = "snapshots",
                             .default_name = TR_SNAPSHOT_TABLE,
                             .logical = "SnapshotsTable",
                             .pk = {TR_SNAPSHOT_TABLE_PK, "S"},
                             .sk = {TR_SNAPSHOT_TABLE_SK, "N"},
                             .ttl = TR_SNAPSHOT_TABLE_TTL_KEY,
                             .view = "NEW_IMAGE"},
    [TR_SCHEMA_LOG] = {.name = "log",
                       .default_name = TR_LOG_TABLE,
                       .logical = "LogTable",
                       .pk = {TR_LOG_PK, "S"},
                       .sk = {TR_LOG_SK, "N"},
                       .ttl = TR_LOG_TTL,
                       .view = "NEW_AND_OLD_IMAGES",
                       .always_stream = true,
                       .guarded = true,
                       .tag = "dynamodb-table"},
};

static const char *const formats[] = {[TR_SCHEMA_JSON] = "json",
                                      [TR_SCHEMA_AWS_CLI] = "aws-cli",
                                      [TR_SCHEMA_CLOUDFORMATION] = "cloudformation",
                                      [TR_SCHEMA_CDK] = "cdk",
                                      [TR_SCHEMA_TERRAFORM] = "terraform"};

int tr_schema_table_by_name(const char *name, tr_schema_table *ret_table)
{
    for (size_t i = 0; i < TR_COUNT(schemas); i++)
        if (strcmp(schemas[i].name, name) == 0) {
            *ret_table = (tr_schema_table)i;
            return 0;
        }
    return TR_ENOTFOUND;
}

const char *tr_schema_default_name(tr_schema_table table)
{
    return schemas[table].default_name;
}

int tr_schema_format_by_name(const char *name, tr_schema_format *ret_format)
{
    for (size_t i = 0; i < TR_COUNT(formats); i++)
        if (strcmp(formats[i], name) == 0) {
            *ret_format = (tr_schema_format)i;
            return 0;
        }
    return TR_ENOTFOUND;
}

/* ------------------------------------------------------------------------------------------------- view */

static void add_attribute(tr__schema_view *v, tr__schema_key key)
{
    if (!key.name)
        return;
    for (size_t i = 0; i < v->attribute_count; i++)
        if (strcmp(v->attributes[i].name, key.name) == 0)
            return;
    v->attributes[v->attribute_count++] = key;
}

static int view_of(tr_schema_table table, const tr_schema_options *options, tr__schema_view *ret_view,
                   tr_error *err)
{
    const tr__schema *of = &schemas[table];
    tr__schema_view v = {.of = of, .table = of->default_name, .stream = of->always_stream};
    if (options) {
        v.table = options->table ? options->table : v.table;
        v.stream |= options->stream;
    }
    size_t len = strlen(v.table);
    if (len < 3 || len > 255 ||
        strspn(v.table, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != len)
        return tr_fail(err, TR_EINVAL,
                       "'%.255s' is no table name: 3 to 255 of the characters A-Z a-z 0-9 _ . - are allowed",
                       v.table);
    add_attribute(&v, of->pk);
    add_attribute(&v, of->sk);
    add_attribute(&v, of->index_pk);
    add_attribute(&v, of->index_sk);
    *ret_view = v;
    return 0;
}

/* ------------------------------------------------------------------------------------------------- JSON */

static void write_key(tr_json_writer *w, tr__schema_key key, const char *type)
{
    if (!key.name)
        return;
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "AttributeName", key.name);
    tr_json_member_cstring(w, "KeyType", type);
    tr_json_end_object(w);
}

static void write_keys(tr_json_writer *w, tr__schema_key pk, tr__schema_key sk)
{
    tr_json_name(w, "KeySchema");
    tr_json_begin_array(w);
    write_key(w, pk, "HASH");
    write_key(w, sk, "RANGE");
    tr_json_end_array(w);
}

static void write_index(tr_json_writer *w, const tr__schema *of)
{
    tr_json_name(w, "GlobalSecondaryIndexes");
    tr_json_begin_array(w);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "IndexName", of->index);
    write_keys(w, of->index_pk, of->index_sk);
    tr_json_name(w, "Projection");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "ProjectionType", "KEYS_ONLY");
    tr_json_end_object(w);
    tr_json_end_object(w);
    tr_json_end_array(w);
}

/* What CreateTable and CloudFormation name alike. */
void tr__schema_write_members(tr_json_writer *w, const tr__schema_view *v)
{
    tr_json_member_cstring(w, "TableName", v->table);
    tr_json_name(w, "AttributeDefinitions");
    tr_json_begin_array(w);
    for (size_t i = 0; i < v->attribute_count; i++) {
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "AttributeName", v->attributes[i].name);
        tr_json_member_cstring(w, "AttributeType", v->attributes[i].type);
        tr_json_end_object(w);
    }
    tr_json_end_array(w);
    write_keys(w, v->of->pk, v->of->sk);
    if (v->of->index)
        write_index(w, v->of);
    tr_json_member_cstring(w, "BillingMode", "PAY_PER_REQUEST");
}

static void write_create(tr_json_writer *w, const tr__schema_view *v)
{
    tr__schema_write_members(w, v);
    if (v->stream) {
        tr_json_name(w, "StreamSpecification");
        tr_json_begin_object(w);
        tr_json_member_bool(w, "StreamEnabled", true);
        tr_json_member_cstring(w, "StreamViewType", v->of->view);
        tr_json_end_object(w);
    }
    if (v->of->guarded) {
        tr_json_name(w, "SSESpecification");
        tr_json_begin_object(w);
        tr_json_member_bool(w, "Enabled", true);
        tr_json_end_object(w);
    }
    if (v->of->tag) {
        tr_json_name(w, "Tags");
        tr_json_begin_array(w);
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "Key", v->of->tag);
        tr_json_member_cstring(w, "Value", v->table);
        tr_json_end_object(w);
        tr_json_end_array(w);
    }
}

static void write_ttl(tr_json_writer *w, const tr__schema_view *v)
{
    tr_json_name(w, "TimeToLiveSpecification");
    tr_json_begin_object(w);
    tr_json_member_bool(w, "Enabled", true);
    tr_json_member_cstring(w, "AttributeName", v->of->ttl);
    tr_json_end_object(w);
}

static void write_recovery(tr_json_writer *w)
{
    tr_json_name(w, "PointInTimeRecoverySpecification");
    tr_json_begin_object(w);
    tr_json_member_bool(w, "PointInTimeRecoveryEnabled", true);
    tr_json_end_object(w);
}

static void write_json(tr_buf *out, const tr__schema_view *v)
{
    tr_buf compact;
    tr_json_writer w;
    tr_buf_init(&compact, out->limit);
    tr_json_write_init(&w, &compact);
    tr_json_begin_object(&w);
    write_create(&w, v);
    if (v->of->ttl)
        write_ttl(&w, v);
    if (v->of->guarded)
        write_recovery(&w);
    tr_json_end_object(&w);
    (void)tr__json_pretty(tr_buf_view(&compact), out);
    tr_buf_done(&compact);
}

int tr_schema_write(tr_schema_table table, tr_schema_format format, const tr_schema_options *options,
                    tr_buf *out, tr_error *err)
{
    tr__schema_view v = {.of = NULL};
    int e = view_of(table, options, &v, err);
    if (e)
        return e;
    switch (format) {
    case TR_SCHEMA_AWS_CLI:
        tr__schema_write_aws_cli(out, &v);
        break;
    case TR_SCHEMA_CLOUDFORMATION:
        tr__schema_write_cloudformation(out, &v);
        break;
    case TR_SCHEMA_CDK:
        tr__schema_write_cdk(out, &v);
        break;
    case TR_SCHEMA_TERRAFORM:
        tr__schema_write_terraform(out, &v);
        break;
    default:
        write_json(out, &v);
    }
    e = tr_buf_status(out);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

/* ----------------------------------------------------------------------------------------------- creating */

#define WAIT_MS      120000
#define POLL_MS      50
#define REQUEST_MAX  65536
#define RESPONSE_MAX (1 << 20)

typedef struct creation {
    tr_client *client;
    tr__schema_view view;
    tr_buf body, reply;
    tr_json_writer w;
} creation;

static void begin(creation *c)
{
    tr_buf_reset(&c->body);
    tr_buf_reset(&c->reply);
    tr_json_write_init(&c->w, &c->body);
    tr_json_begin_object(&c->w);
}

static int call(creation *c, const char *operation, tr_error *err)
{
    tr_json_end_object(&c->w);
    tr_request request = {.service = TR_DYNAMODB, .operation = operation, .body = tr_buf_view(&c->body)};
    return tr_client_call_wait(c->client, &request, &c->reply, err);
}

static int create(creation *c, tr_error *err)
{
    tr_error ours;
    begin(c);
    write_create(&c->w, &c->view);
    int e = call(c, "CreateTable", &ours);
    if (e == TR_ECONFLICT && strcmp(ours.type, "ResourceInUseException") == 0)
        return tr_fail_service(err, TR_EEXIST, ours.http_status, ours.type, "table %s is there already",
                               c->view.table);
    if (e && err)
        *err = ours;
    return e;
}

/* A table is active once its indexes are. */
static bool is_active(tr_view reply)
{
    tr_arena arena;
    tr_view table, status;
    tr_arena_init(&arena, RESPONSE_MAX);
    bool active = tr_json_member(reply, "Table", &arena, &table) == 0 &&
                  tr_json_member(table, "TableStatus", &arena, &status) == 0 &&
                  tr_view_is(status, "\"ACTIVE\"");
    tr_arena_done(&arena);
    return active;
}

static int wait_active(creation *c, tr_error *err)
{
    int64_t give_up = tr_clock_mono_ms() + WAIT_MS;
    for (;;) {
        begin(c);
        tr_json_member_cstring(&c->w, "TableName", c->view.table);
        int e = call(c, "DescribeTable", err);
        if (e || is_active(tr_buf_view(&c->reply)))
            return e;
        if (tr_clock_mono_ms() > give_up)
            return tr_fail(err, TR_ETIMEOUT, "table %s is not active after %d s", c->view.table,
                           WAIT_MS / 1000);
        (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

/* Servers that lack these two make the same table without them. */
static int set_up(creation *c, tr_error *err)
{
    tr_error ours;
    int e = 0;
    if (c->view.of->ttl) {
        begin(c);
        tr_json_member_cstring(&c->w, "TableName", c->view.table);
        write_ttl(&c->w, &c->view);
        e = call(c, "UpdateTimeToLive", err);
    }
    if (!e && c->view.of->guarded) {
        begin(c);
        tr_json_member_cstring(&c->w, "TableName", c->view.table);
        write_recovery(&c->w);
        e = call(c, "UpdateContinuousBackups", &ours);
        if (e && (strcmp(ours.type, "UnknownOperationException") == 0 || !tr_client_is_aws(c->client)))
            e = 0;
        else if (e && err)
            *err = ours;
    }
    return e;
}

int tr_schema_create(tr_client *client, tr_schema_table table, const tr_schema_options *options,
                     tr_error *err)
{
    creation c = {.client = client};
    int e = view_of(table, options, &c.view, err);
    if (e)
        return e;
    tr_buf_init(&c.body, REQUEST_MAX);
    tr_buf_init(&c.reply, RESPONSE_MAX);
    e = create(&c, err);
    if (!e)
        e = wait_active(&c, err);
    if (!e)
        e = set_up(&c, err);
    tr_buf_done(&c.body);
    tr_buf_done(&c.reply);
    return e;
}
