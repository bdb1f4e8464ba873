/* SPDX-License-Identifier: MIT */
#include "api/restore.h"

#include <stdio.h>

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
    tr__write_vector_infos(w, table);
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

static void put_backup(tr_call *c, const char *arn, tr_view name, const tr_table *table, int64_t now_ms,
                       tr_buf *out)
{
    tr_json_writer w;
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    put_details(&w, arn, name, table->size_bytes, now_ms);
    put_source(&w, table);
    put_features(c, &w, table);
    tr_json_end_object(&w);
}

/* Remembers and answers. The copy is there. */
static int keep(tr_call *c, const char *arn, int64_t now_ms, tr_view json, tr_kept **ret_kept)
{
    tr_view details;
    tr_error err;
    int e = tr__kept_add(c->api, TR_KEPT_BACKUPS, arn, now_ms, json, (tr_view){NULL, 0}, ret_kept, &err);
    if (e == 0)
        e = tr_json_member(json, "BackupDetails", c->arena, &details);
    if (e)
        return tr__fail_code(c, e, &err);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "BackupDetails");
    tr_json_value(&c->w, details);
    tr_json_end_object(&c->w);
    return 0;
}

/* In memory: a snapshot, and the table as it is. */
static int keep_snapshot(tr_call *c, const tr_table *table, const char *arn, int64_t now_ms, tr_view json)
{
    tr_error err;
    tr_kept *kept;
    tr_table *copy = NULL;
    tr_engine_snapshot *snapshot = NULL;
    int e = tr_engine_sync_wait(c->engine, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    e = tr_engine_table_copy(c->engine, table, &copy);
    if (e == 0 && !(snapshot = tr_engine_snapshot_new(c->engine)))
        e = TR_ENOMEM;
    if (e == 0)
        e = keep(c, arn, now_ms, json, &kept);
    if (e) {
        if (snapshot)
            tr_engine_snapshot_free(c->engine, snapshot);
        tr_engine_table_copy_free(copy);
        return e;
    }
    kept->snapshot = snapshot;
    kept->table = copy;
    return 0;
}

/* On disk: a copy of the store, which a thread makes. */
static int begin_copy(tr_call *c, const create_request *r, const tr_table *table, const char *arn,
                      tr_source **ret_source)
{
    tr_error err;
    const char *dir;
    int e = tr__kept_folder(c->api, TR_KEPT_BACKUPS, arn, c->arena, &dir, &err);
    const tr_source_spec spec = {.kind = TR_SOURCE_COPY, .dir = e ? NULL : dir, .copy = true, .own = true};
    if (e == 0)
        e = tr__held_new(c->api, &spec, ret_source, &err);
    if (e)
        return tr__fail_code(c, e, &err);
    (*ret_source)->now_ms = tr_engine_now_ms(c->engine);
    (void)snprintf((*ret_source)->arn, sizeof(*ret_source)->arn, "%s", arn);
    put_backup(c, arn, r->name, table, (*ret_source)->now_ms, &(*ret_source)->text);
    return 0;
}

static int keep_copy(tr_call *c, tr_source *source)
{
    tr_error err;
    tr_kept *kept;
    int e = tr__held_status(source, &err);
    if (e == 0)
        e = tr_buf_status(&source->text);
    e = e ? tr__fail_code(c, e, &err)
          : keep(c, source->arn, source->now_ms, tr_buf_view(&source->text), &kept);
    tr__held_end(c->api, source, e != 0);
    return e;
}

int tr__op_create_backup(tr_call *c, void *request)
{
    const create_request *r = request;
    tr_source *source = c->request->held;
    if (!source) {
        char id[TR_KEPT_ID];
        tr_table *table = tr_engine_table(c->engine, tr__table_of_arn(r->table));
        if (!table || table->status == TR_CREATING || table->status == TR_DELETING)
            return tr__fail(c, 400, TR_TYPE("TableNotFoundException"), "Table not found: %.*s",
                            TR_FMT(tr__table_of_arn(r->table)));
        int64_t now = tr_engine_now_ms(c->engine);
        tr__kept_id(now, id);
        const char *arn = tr_arena_printf(c->arena, "%.*s/backup/%s", TR_FMT(table->arn), id);
        if (!arn)
            return TR_ENOMEM;
        if (!c->api->dir) {
            tr_buf_reset(c->text);
            put_backup(c, arn, r->name, table, now, c->text);
            int e = tr_buf_status(c->text);
            return e ? e : keep_snapshot(c, table, arn, now, tr_buf_view(c->text));
        }
        int e = begin_copy(c, r, table, arn, &source);
        if (e)
            return e;
    }
    return source && tr__held_ready(c, source) ? keep_copy(c, source) : 0;
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
    if (tr__restoring_from(c->api, k->arn))
        return tr__fail(c, 400, TR_TYPE("BackupInUseException"), "Backup is being restored: %s", k->arn);
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
    const char *path = c->api->dir ? tr__kept_path(c->api, TR_KEPT_BACKUPS, k->arn, "", c->arena) : NULL;
    tr__kept_remove(c->api, TR_KEPT_BACKUPS, k);
    if (path)
        tr__held_clear(c->api, path);
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

/* On disk the copy is opened by a thread. */
static int open_backup(tr_call *c, const tr_restore_request *r, const tr_kept *k, tr_source **ret_source)
{
    tr_error err;
    int e = tr__check_target(c, r->target, k->arn);
    if (e == 0)
        e = tr__job_check(c);
    if (e)
        return e;
    e = tr__held_of_backup(c->api, k, ret_source, &err);
    return e ? tr__fail_code(c, e, &err) : 0;
}

int tr__op_restore_backup(tr_call *c, void *request)
{
    const tr_restore_request *r = request;
    const tr_kept *k = tr__kept_find(c->api, TR_KEPT_BACKUPS, r->backup);
    tr_source *source = c->request->held;
    tr_error err;
    int e;
    if (!k && !source)
        return not_found(c, r->backup);
    e = source ? 0 : open_backup(c, r, k, &source);
    if (e || !source || !tr__held_ready(c, source))
        return e;
    e = k ? tr__held_status(source, &err) : TR_ENOTFOUND;
    if (e) {
        tr__held_end(c->api, source, false);
        return !k ? not_found(c, r->backup)
               : e == TR_EBUSY
                   ? tr__fail(c, 400, TR_TYPE("BackupInUseException"), "Backup is being restored: %s", k->arn)
                   : tr__fail_code(c, e, &err);
    }
    return tr__restore(c, r, source, tr_view_str(k->arn),
                       tr__kept_text(k, "SourceTableDetails.TableArn", c->arena), k->created_ms);
}
