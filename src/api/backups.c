/* SPDX-License-Identifier: MIT */
#include "api/restore.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

/*
 * CreateBackup, DescribeBackup, ListBackups, DeleteBackup, RestoreTableFromBackup. A backup is a checkpoint
 * of the whole store, made of hard links, or in memory a snapshot that is held; and the description of its
 * table.
 */

typedef struct create_request {
    tr_view table, name;
} create_request;

static const tr_member create_members[] = {
    TR_MEMBER(create_request, table, "TableName", TR_K_STRING, .max = 1024,
              .rules = TR_R_NOT_NULL | TR_R_TABLE),
    TR_MEMBER(create_request, name, "BackupName", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255),
};
const tr_shape tr__shape_create_backup = TR_SHAPE(create_request, "CreateBackupInput", create_members);

typedef struct arn_request {
    tr_view arn;
} arn_request;

#define ARN_MEMBER                                                                                           \
    TR_MEMBER(arn_request, arn, "BackupArn", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,      \
              .min = 37, .max = 1024)
static const tr_member arn_members[] = {ARN_MEMBER};
const tr_shape tr__shape_describe_backup = TR_SHAPE(arn_request, "DescribeBackupInput", arn_members);
const tr_shape tr__shape_delete_backup = TR_SHAPE(arn_request, "DeleteBackupInput", arn_members);

typedef struct list_request {
    tr_view table, start, type;
    tr_int limit, lower, upper;
} list_request;

static const tr_member list_members[] = {
    TR_MEMBER(list_request, table, "TableName", TR_K_STRING, .rules = TR_R_TABLE),
    TR_MEMBER(list_request, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1, .max = 100),
    TR_MEMBER(list_request, lower, "TimeRangeLowerBound", TR_K_TIME, .rules = 0),
    TR_MEMBER(list_request, upper, "TimeRangeUpperBound", TR_K_TIME, .rules = 0),
    TR_MEMBER(list_request, start, "ExclusiveStartBackupArn", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX,
              .min = 37, .max = 1024),
    TR_MEMBER(list_request, type, "BackupType", TR_K_STRING, .values = "[USER, SYSTEM, AWS_BACKUP, ALL]"),
};
const tr_shape tr__shape_list_backups = TR_SHAPE(list_request, "ListBackupsInput", list_members);

static const tr_member restore_members[] = {
    TR_MEMBER(tr_restore_request, target, "TargetTableName", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_NAME | TR_R_MIN | TR_R_MAX, .min = 3, .max = 255),
    TR_MEMBER(tr_restore_request, backup, "BackupArn", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 37, .max = 1024),
    TR_M_RESTORE_OVERRIDES(tr_restore_request),
};
const tr_shape tr__shape_restore_backup =
    TR_SHAPE(tr_restore_request, "RestoreTableFromBackupInput", restore_members);

static int not_found(tr_call *c, tr_view arn)
{
    return tr__fail(c, 400, TR_TYPE("BackupNotFoundException"), "Backup not found: %.*s", TR_FMT(arn));
}

/* ------------------------------------------------------------------------------------------- descriptions */

static void put_details(tr_json_writer *w, const char *arn, tr_view name, int64_t size, int64_t now_ms)
{
    tr_json_name(w, "BackupDetails");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "BackupArn", arn);
    tr_json_member_string(w, "BackupName", name);
    tr_json_member_i64(w, "BackupSizeBytes", size);
    tr_json_member_cstring(w, "BackupStatus", "AVAILABLE");
    tr_json_member_cstring(w, "BackupType", "USER");
    tr__write_time(w, "BackupCreationDateTime", now_ms);
    tr_json_end_object(w);
}

static void put_source(tr_json_writer *w, const tr_table *table)
{
    tr_json_name(w, "SourceTableDetails");
    tr_json_begin_object(w);
    tr_json_member_string(w, "TableName", table->name);
    tr_json_member_cstring(w, "TableId", table->uuid);
    tr_json_member_string(w, "TableArn", table->arn);
    tr_json_member_i64(w, "TableSizeBytes", table->size_bytes);
    tr__write_key_schema(w, &table->schema);
    tr__write_time(w, "TableCreationDateTime", table->created_ms);
    tr_json_name(w, "ProvisionedThroughput");
    tr_json_begin_object(w);
    tr_json_member_i64(w, "ReadCapacityUnits", table->throughput.read);
    tr_json_member_i64(w, "WriteCapacityUnits", table->throughput.write);
    tr_json_end_object(w);
    tr_json_member_i64(w, "ItemCount", table->item_count);
    tr_json_member_cstring(w, "BillingMode", table->on_demand ? "PAY_PER_REQUEST" : "PROVISIONED");
    tr_json_end_object(w);
}

static void put_features(tr_call *c, tr_json_writer *w, const tr_table *table)
{
    tr_json_name(w, "SourceTableFeatureDetails");
    tr_json_begin_object(w);
    tr__write_index_infos(w, table, true);
    tr__write_index_infos(w, table, false);
    if (table->stream && !table->stream->disabled_ms) {
        tr_json_name(w, "StreamDescription");
        tr_json_begin_object(w);
        tr_json_member_bool(w, "StreamEnabled", true);
        tr_json_member_cstring(w, "StreamViewType", tr_view_type_name(table->stream->view));
        tr_json_end_object(w);
    }
    if (table->ttl_attribute.len) {
        tr_json_name(w, "TimeToLiveDescription");
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "TimeToLiveStatus", "ENABLED");
        tr_json_member_string(w, "AttributeName", table->ttl_attribute);
        tr_json_end_object(w);
    }
    if (table->sse.len) {
        tr_json_name(w, "SSEDescription");
        tr_json_value(w, table->sse);
    }
    tr_json_end_object(w);
    (void)c;
}

/* ------------------------------------------------------------------------------------------- CreateBackup */

/* What the backup holds, beside its description. */
static int hold(tr_call *c, const tr_table *table, const char *arn, tr_engine_snapshot **ret_snapshot,
                tr_table **ret_copy)
{
    tr_error err;
    *ret_snapshot = NULL;
    *ret_copy = NULL;
    if (c->api->dir) {
        const char *folder = tr_arena_printf(c->arena, "%s/backups", c->api->dir);
        const char *path = tr__kept_path(c->api, TR_KEPT_BACKUPS, arn, "", c->arena);
        if (!folder || !path)
            return TR_ENOMEM;
        if (mkdir(folder, 0700) && errno != EEXIST)
            return tr__fail(c, 500, TR_TYPE("InternalServerError"), "%s: %s", folder, strerror(errno));
        int e = tr_engine_checkpoint(c->engine, path, &err);
        return e ? tr__fail_code(c, e, &err) : 0;
    }
    int e = tr_engine_sync_wait(c->engine, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    e = tr_engine_table_copy(c->engine, table, ret_copy);
    *ret_snapshot = e ? NULL : tr_engine_snapshot_new(c->engine);
    return e ? e : *ret_snapshot ? 0 : TR_ENOMEM;
}

int tr__op_create_backup(tr_call *c, void *request)
{
    const create_request *r = request;
    tr_table *table = tr_engine_table(c->engine, tr__table_of_arn(r->table));
    char id[TR_KEPT_ID];
    int64_t now = tr_engine_now_ms(c->engine);
    tr_engine_snapshot *snapshot;
    tr_table *copy;
    tr_kept *kept;
    tr_error err;
    if (!table || table->status == TR_CREATING || table->status == TR_DELETING)
        return tr__fail(c, 400, TR_TYPE("TableNotFoundException"), "Table not found: %.*s",
                        TR_FMT(tr__table_of_arn(r->table)));
    tr__kept_id(now, id);
    const char *arn = tr_arena_printf(c->arena, "%.*s/backup/%s", TR_FMT(table->arn), id);
    if (!arn)
        return TR_ENOMEM;
    int e = hold(c, table, arn, &snapshot, &copy);
    if (e == 0) {
        tr_json_writer w;
        tr_buf_reset(c->text);
        tr_json_write_init(&w, c->text);
        tr_json_begin_object(&w);
        put_details(&w, arn, r->name, table->size_bytes, now);
        put_source(&w, table);
        put_features(c, &w, table);
        tr_json_end_object(&w);
        e = tr__kept_add(c->api, TR_KEPT_BACKUPS, arn, now, tr_buf_view(c->text), &kept, &err);
        if (e)
            e = tr__fail_code(c, e, &err);
    }
    if (e) {
        if (snapshot)
            tr_engine_snapshot_free(c->engine, snapshot);
        tr_engine_table_copy_free(copy);
        return e;
    }
    kept->snapshot = snapshot;
    kept->table = copy;
    tr_json_begin_object(&c->w);
    put_details(&c->w, arn, r->name, table->size_bytes, now);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_describe_backup(tr_call *c, void *request)
{
    const arn_request *r = request;
    const tr_kept *k = tr__kept_find(c->api, TR_KEPT_BACKUPS, r->arn);
    if (!k)
        return not_found(c, r->arn);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "BackupDescription");
    tr_json_value(&c->w, tr_view_str(k->json));
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_delete_backup(tr_call *c, void *request)
{
    const arn_request *r = request;
    tr_kept *k = tr__kept_find(c->api, TR_KEPT_BACKUPS, r->arn);
    if (!k)
        return not_found(c, r->arn);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "BackupDescription");
    /* as it was, but for its status: the only AVAILABLE in it, since names have been checked and stand in
     * quotes of their own */
    tr_view json = tr_view_str(k->json), mark = TR_VIEW("\"BackupStatus\":\"AVAILABLE\"");
    size_t at = tr_view_find(json, mark, 0);
    tr_buf_reset(c->text);
    tr_buf_put(c->text, json.ptr, at == SIZE_MAX ? json.len : at);
    if (at != SIZE_MAX) {
        tr_buf_put_str(c->text, "\"BackupStatus\":\"DELETED\"");
        tr_buf_put(c->text, json.ptr + at + mark.len, json.len - at - mark.len);
    }
    tr_json_value(&c->w, tr_buf_view(c->text));
    tr_json_end_object(&c->w);
    tr__kept_remove(c->api, TR_KEPT_BACKUPS, k);
    return 0;
}

/* -------------------------------------------------------------------------------------------- ListBackups */

static bool listed(tr_call *c, const list_request *r, const tr_kept *k)
{
    if (r->table.ptr &&
        !tr_view_eq(tr__kept_text(k, "SourceTableDetails.TableName", c->arena), tr__table_of_arn(r->table)))
        return false;
    if (r->type.ptr && !tr_view_is(r->type, "USER") && !tr_view_is(r->type, "ALL"))
        return false;
    return (!r->lower.given || k->created_ms >= r->lower.value) &&
           (!r->upper.given || k->created_ms < r->upper.value);
}

static void put_listed(tr_call *c, const tr_kept *k)
{
    static const char *const source[] = {"TableName", "TableId", "TableArn"};
    static const char *const details[] = {"BackupArn", "BackupName", "BackupStatus", "BackupType"};
    char path[64];
    tr_json_begin_object(&c->w);
    for (size_t i = 0; i < TR_COUNT(source); i++) {
        (void)snprintf(path, sizeof path, "SourceTableDetails.%s", source[i]);
        tr_json_member_string(&c->w, source[i], tr__kept_text(k, path, c->arena));
    }
    for (size_t i = 0; i < TR_COUNT(details); i++) {
        (void)snprintf(path, sizeof path, "BackupDetails.%s", details[i]);
        tr_json_member_string(&c->w, details[i], tr__kept_text(k, path, c->arena));
    }
    tr__write_time(&c->w, "BackupCreationDateTime", k->created_ms);
    tr_json_name(&c->w, "BackupSizeBytes");
    tr_json_value(&c->w, tr__kept_text(k, "BackupDetails.BackupSizeBytes", c->arena));
    tr_json_end_object(&c->w);
}

int tr__op_list_backups(tr_call *c, void *request)
{
    const list_request *r = request;
    int64_t left = r->limit.given ? r->limit.value : 100;
    bool begun = !r->start.ptr;
    const char *last = NULL;
    const tr_kept *k = c->api->kept[TR_KEPT_BACKUPS];
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "BackupSummaries");
    tr_json_begin_array(&c->w);
    for (; k; k = k->next) {
        if (!begun) {
            begun = tr_view_is(r->start, k->arn);
            continue;
        }
        if (!listed(c, r, k))
            continue;
        if (left-- == 0)
            break;
        put_listed(c, k);
        last = k->arn;
    }
    tr_json_end_array(&c->w);
    if (k && last)
        tr_json_member_cstring(&c->w, "LastEvaluatedBackupArn", last);
    tr_json_end_object(&c->w);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ restore */

int tr__op_restore_backup(tr_call *c, void *request)
{
    const tr_restore_request *r = request;
    const tr_kept *k = tr__kept_find(c->api, TR_KEPT_BACKUPS, r->backup);
    tr_past *past;
    tr_error err;
    int e;
    if (!k)
        return not_found(c, r->backup);
    if (tr_engine_table(c->engine, r->target))
        return tr__fail(c, 400, TR_TYPE("TableAlreadyExistsException"), "Table already exists: %.*s",
                        TR_FMT(r->target));
    e = tr__job_check(c);
    if (e)
        return e;
    tr_view table_arn = tr__kept_text(k, "SourceTableDetails.TableArn", c->arena);
    if (c->api->dir) {
        const char *path = tr__kept_path(c->api, TR_KEPT_BACKUPS, k->arn, "", c->arena);
        e = path ? tr_past_of_directory(path, tr__kept_text(k, "SourceTableDetails.TableName", c->arena),
                                        &past, &err)
                 : tr_fail(&err, TR_ENOMEM, "out of memory");
        if (e == TR_EBUSY)
            return tr__fail(c, 400, TR_TYPE("BackupInUseException"), "Backup is being restored: %s", k->arn);
    } else {
        e = tr_past_of_snapshot(c->engine, k->snapshot, k->table, &past, &err);
    }
    if (e)
        return tr__fail_code(c, e, &err);
    return tr__restore(c, r, past, tr_view_str(k->arn), table_arn, k->created_ms);
}
