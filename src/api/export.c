/* SPDX-License-Identifier: MIT */
#include "api/export.h"
#include "api/tables.h"

#include <stdio.h>

/* ExportTableToPointInTime, DescribeExport, ListExports. */

typedef struct incremental_spec {
    tr_int from, to;
    tr_view view;
} incremental_spec;

typedef struct export_request {
    tr_view table, token, bucket, owner, prefix, sse, sse_key, format, type;
    tr_int time;
    incremental_spec *incremental;
    const char *refused;
} export_request;

static const tr_member incremental_members[] = {
    TR_MEMBER(incremental_spec, from, "ExportFromTime", TR_K_TIME, .rules = 0),
    TR_MEMBER(incremental_spec, to, "ExportToTime", TR_K_TIME, .rules = 0),
    TR_MEMBER(incremental_spec, view, "ExportViewType", TR_K_STRING,
              .values = "[NEW_IMAGE, NEW_AND_OLD_IMAGES]"),
};
static const tr_shape incremental_shape =
    TR_SHAPE(incremental_spec, "IncrementalExportSpecification", incremental_members);

static const tr_member export_members[] = {
    TR_MEMBER(export_request, table, "TableArn", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_TABLE),
    TR_MEMBER(export_request, time, "ExportTime", TR_K_TIME, .rules = 0),
    TR_M_TEXT(export_request, token, "ClientToken"),
    TR_MEMBER(export_request, bucket, "S3Bucket", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MAX, .max = 255),
    TR_M_TEXT(export_request, owner, "S3BucketOwner"),
    TR_MEMBER(export_request, prefix, "S3Prefix", TR_K_STRING, .rules = TR_R_MAX, .max = 1024),
    TR_MEMBER(export_request, sse, "S3SseAlgorithm", TR_K_STRING, .values = "[AES256, KMS]"),
    TR_MEMBER(export_request, sse_key, "S3SseKmsKeyId", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 2048),
    TR_MEMBER(export_request, format, "ExportFormat", TR_K_STRING, .values = "[DYNAMODB_JSON, ION]"),
    TR_MEMBER(export_request, type, "ExportType", TR_K_STRING, .values = "[FULL_EXPORT, INCREMENTAL_EXPORT]"),
    TR_MEMBER(export_request, incremental, "IncrementalExportSpecification", TR_K_STRUCT,
              .shape = &incremental_shape),
    TR_MEMBER(export_request, refused, "FilterSpecification", TR_K_REFUSED, .rules = 0),
};
const tr_shape tr__shape_export_table =
    TR_SHAPE(export_request, "ExportTableToPointInTimeInput", export_members);

typedef struct arn_request {
    tr_view arn;
} arn_request;
static const tr_member arn_members[] = {
    TR_MEMBER(arn_request, arn, "ExportArn", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,
              .min = 37, .max = 1024),
};
const tr_shape tr__shape_describe_export = TR_SHAPE(arn_request, "DescribeExportInput", arn_members);

typedef struct list_request {
    tr_view table, next;
    tr_int limit;
} list_request;
static const tr_member list_members[] = {
    TR_MEMBER(list_request, table, "TableArn", TR_K_STRING, .rules = TR_R_TABLE),
    TR_MEMBER(list_request, limit, "MaxResults", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 25),
    TR_M_TEXT(list_request, next, "NextToken"),
};
const tr_shape tr__shape_list_exports = TR_SHAPE(list_request, "ListExportsInput", list_members);

/* -------------------------------------------------------------------------------------------- description */

static void put_if(tr_json_writer *w, const char *name, tr_view text)
{
    if (text.len)
        tr_json_member_string(w, name, text);
}

void tr__export_write(tr_json_writer *w, const tr_export *x)
{
    tr_json_begin_object(w);
    tr_json_member_string(w, "ExportArn", x->arn);
    tr_json_member_cstring(w, "ExportStatus",
                           x->failure_code ? "FAILED"
                           : x->end_ms     ? "COMPLETED"
                                           : "IN_PROGRESS");
    tr__write_time(w, "StartTime", x->start_ms);
    if (x->end_ms)
        tr__write_time(w, "EndTime", x->end_ms);
    if (x->end_ms && !x->failure_code)
        tr_json_member_cstring(w, "ExportManifest", x->manifest);
    tr_json_member_string(w, "TableArn", x->table_arn);
    tr_json_member_cstring(w, "TableId", x->table_id);
    if (!x->incremental)
        tr__write_time(w, "ExportTime", x->time_ms);
    put_if(w, "ClientToken", x->token);
    tr_json_member_string(w, "S3Bucket", x->bucket);
    put_if(w, "S3BucketOwner", x->owner);
    put_if(w, "S3Prefix", x->prefix);
    tr_json_member_string(w, "S3SseAlgorithm", x->sse.len ? x->sse : TR_VIEW("AES256"));
    put_if(w, "S3SseKmsKeyId", x->sse_key);
    if (x->failure_code) {
        tr_json_member_cstring(w, "FailureCode", x->failure_code);
        tr_json_member_cstring(w, "FailureMessage", x->failure);
    }
    tr_json_member_cstring(w, "ExportFormat", "DYNAMODB_JSON");
    if (x->end_ms) {
        tr_json_member_u64(w, "BilledSizeBytes", x->bytes);
        tr_json_member_u64(w, "ItemCount", x->items);
    }
    tr_json_member_cstring(w, "ExportType", x->incremental ? "INCREMENTAL_EXPORT" : "FULL_EXPORT");
    if (x->incremental) {
        tr_json_name(w, "IncrementalExportSpecification");
        tr_json_begin_object(w);
        tr__write_time(w, "ExportFromTime", x->from_ms);
        tr__write_time(w, "ExportToTime", x->to_ms);
        tr_json_member_cstring(w, "ExportViewType", "NEW_AND_OLD_IMAGES");
        tr_json_end_object(w);
    }
    tr_json_end_object(w);
}

/* ---------------------------------------------------------------------------------------------------- job */

typedef struct export_job {
    tr_job job;
    tr_arena arena;
    tr_export x;
    tr_source *source;
    tr_export_files files;
    bool collected, begun;
} export_job;

static int put_change(export_job *j, const tr_past_change *change, tr_error *err)
{
    tr_json_writer w;
    tr__export_line_begin(&j->files, &w);
    tr_json_begin_object(&w);
    tr_json_name(&w, "Metadata");
    tr_buf_printf(w.out, "{\"WriteTimestampMicros\":{\"N\":\"%lld000\"}}", (long long)change->time_ms);
    tr_json_name(&w, "Keys");
    tr_item_write(&w, change->keys);
    if (change->before.len) {
        tr_json_name(&w, "OldImage");
        tr_item_write(&w, change->before);
    }
    if (change->after.len) {
        tr_json_name(&w, "NewImage");
        tr_item_write(&w, change->after);
    }
    tr_json_end_object(&w);
    j->x.items++;
    j->x.bytes += (change->before.len ? tr_item_size(change->before) : 0) +
                  (change->after.len ? tr_item_size(change->after) : 0);
    return tr__export_line_end(&j->files, err);
}

static int put_item(export_job *j, tr_item item, tr_error *err)
{
    tr_json_writer w;
    tr__export_line_begin(&j->files, &w);
    tr_json_begin_object(&w);
    tr_json_name(&w, "Item");
    tr_item_write(&w, item);
    tr_json_end_object(&w);
    j->x.items++;
    j->x.bytes += tr_item_size(item);
    return tr__export_line_end(&j->files, err);
}

/* An item or a change. TR_ENOTFOUND: there are no more. */
static int put_next(export_job *j, tr_error *err)
{
    tr_past_change change;
    tr_item item;
    if (j->source->changes)
        return tr_past_changes_next(j->source->changes, &change) ? put_change(j, &change, err) : TR_ENOTFOUND;
    int e = tr_past_next(j->source->past, &item, err);
    return e ? e : put_item(j, item, err);
}

static int put_some(tr_api *api, export_job *j, bool *ret_done, tr_error *err)
{
    uint64_t from = j->x.bytes;
    for (int i = 0; i < TR_JOB_ITEMS && j->x.bytes - from < TR_JOB_BYTES; i++) {
        int e = put_next(j, err);
        if (e == TR_ENOTFOUND) {
            *ret_done = true;
            j->x.end_ms = tr_engine_now_ms(api->engine);
            return tr__export_files_finish(&j->files, err);
        }
        if (e)
            return e;
    }
    return 0;
}

static int collect(export_job *j, tr_error *err)
{
    int e = j->source->changes ? tr_past_changes_collect(j->source->changes, err)
                               : tr_past_collect(j->source->past, err);
    j->collected = e == 0;
    return e == TR_EBUSY ? 0 : e;
}

static int step(tr_api *api, tr_job *job, bool *ret_done, tr_error *err)
{
    export_job *j = (export_job *)job;
    job->idle = !tr__held_done(j->source);
    if (job->idle)
        return 0;
    int e = tr__held_status(j->source, err);
    if (e)
        return e == TR_ENOTFOUND ? TR_ECORRUPT : e; /* not the bucket's */
    if (!j->begun) {
        if (!tr__bucket_exists(api, j->x.bucket))
            return tr_fail(err, TR_ENOTFOUND, "The specified bucket does not exist");
        j->begun = true;
        return tr__export_files_init(&j->files, api, &j->x, &j->arena, err);
    }
    return j->collected ? put_some(api, j, ret_done, err) : collect(j, err);
}

static void job_free(tr_api *api, export_job *j, bool remove)
{
    if (j->begun)
        tr__export_files_done(&j->files);
    tr__held_end(api, j->source, remove);
    tr_arena_done(&j->arena);
    tr_free(j);
}

static void end(tr_api *api, tr_job *job, int code, const tr_error *why)
{
    export_job *j = (export_job *)job;
    tr_kept *kept = tr__kept_find(api, TR_KEPT_EXPORTS, j->x.arn);
    bool later = code == TR_ECANCELED && api->dir; /* the next server does it */
    tr_json_writer w;
    tr_error err;
    j->x.end_ms = tr_engine_now_ms(api->engine);
    if (code) {
        j->x.failure_code = code == TR_ENOTFOUND ? "S3NoSuchBucket"
                            : code == TR_EIO     ? "S3AccessDenied"
                                                 : "UNKNOWN";
        (void)snprintf(j->x.failure, sizeof j->x.failure, "%.500s", why->message);
    }
    tr_buf_reset(&api->text);
    tr_json_write_init(&w, &api->text);
    tr__export_write(&w, &j->x);
    if (kept && !later && tr_buf_status(&api->text) == 0)
        (void)tr__kept_set(api, TR_KEPT_EXPORTS, kept, tr_buf_view(&api->text), true, &err);
    job_free(api, j, !later);
}

/* ----------------------------------------------------------------------------------------------- requests */

static int check_export(tr_call *c, const export_request *r)
{
    bool incremental = tr_view_is(r->type, "INCREMENTAL_EXPORT");
    if (!tr_view_starts(r->table, TR_VIEW("arn:")))
        return tr__invalid(c, "One or more parameter values were invalid: tableArn is not a valid ARN");
    if (tr_view_is(r->format, "ION"))
        return tr__invalid(c, "ExportFormat ION is not supported here; use DYNAMODB_JSON");
    if (!incremental && r->incremental)
        return tr__invalid(
            c, "IncrementalExportSpecification can only be specified when ExportType is INCREMENTAL_EXPORT");
    if (incremental && r->time.given)
        return tr__invalid(c, "ExportTime cannot be specified when ExportType is INCREMENTAL_EXPORT");
    if (incremental && (!r->incremental || !r->incremental->from.given))
        return tr__invalid(
            c, "Invalid Request: ExportFromTime must be provided in IncrementalExportSpecification");
    if (incremental && tr_view_is(r->incremental->view, "NEW_IMAGE"))
        return tr__invalid(c, "ExportViewType NEW_IMAGE is not supported here; use NEW_AND_OLD_IMAGES");
    return tr__bucket_check(c, r->bucket);
}

static int check_times(tr_call *c, const export_request *r, const tr_table *table, int64_t now)
{
    int64_t earliest = tr__pitr_earliest(c, table);
    const incremental_spec *s = r->incremental;
    if (!s && (!r->time.given || (r->time.value >= earliest && r->time.value <= now)))
        return 0;
    if (s && s->from.value >= earliest && s->from.value < (s->to.given ? s->to.value : now) &&
        (!s->to.given || s->to.value <= now))
        return 0;
    if (!s && (r->time.value > now || r->time.value < table->pitr_since_ms))
        return tr__fail(c, 400, TR_TYPE("InvalidExportTimeException"), "Export Time is invalid");
    return tr__fail(c, 400, TR_TYPE("InvalidExportTimeException"),
                    "The export's time must lie between EarliestRestorableDateTime and "
                    "LatestRestorableDateTime of the table, "
                    "which reach as far back as its stream holds old images");
}

static bool copy_text(export_job *j, tr_view from, tr_view *to)
{
    *to = (tr_view){NULL, 0};
    if (from.len)
        *to = tr_arena_copy(&j->arena, from);
    return !from.len || to->ptr;
}

/* The ARN holds the table's and ends with the ID. */
static int describe(const export_request *r, const char *arn, const char *table_id, int64_t now,
                    export_job *j)
{
    const char *id = strrchr(arn, '/') + 1;
    tr_view whole = tr_view_str(arn);
    size_t end = tr_view_find(whole, TR_VIEW("/export/"), 0);
    j->x.id = tr_arena_str(&j->arena, tr_view_str(id));
    if (end == SIZE_MAX || !j->x.id || !copy_text(j, whole, &j->x.arn) ||
        !copy_text(j, tr_view_of(arn, end), &j->x.table_arn) || !copy_text(j, r->bucket, &j->x.bucket) ||
        !copy_text(j, r->prefix, &j->x.prefix) || !copy_text(j, r->owner, &j->x.owner) ||
        !copy_text(j, r->sse, &j->x.sse) || !copy_text(j, r->sse_key, &j->x.sse_key) ||
        !copy_text(j, r->token, &j->x.token))
        return TR_ENOMEM;
    j->x.manifest = tr_arena_printf(&j->arena, "%.*s%sAWSDynamoDB/%s/manifest-summary.json",
                                    TR_FMT(r->prefix), r->prefix.len ? "/" : "", id);
    if (!j->x.manifest)
        return TR_ENOMEM;
    (void)snprintf(j->x.table_id, sizeof j->x.table_id, "%s", table_id);
    j->x.start_ms = now;
    j->x.time_ms = r->time.given ? r->time.value : now;
    j->x.incremental = r->incremental != NULL;
    if (r->incremental) {
        j->x.from_ms = r->incremental->from.value;
        j->x.to_ms = r->incremental->to.given ? r->incremental->to.value : now;
    }
    return 0;
}

static export_job *job_new(void)
{
    export_job *j = tr_calloc(1, sizeof *j);
    if (!j)
        return NULL;
    tr_arena_init(&j->arena, (size_t)64 * 1024 * 1024);
    j->job = (tr_job){.step = step, .end = end};
    return j;
}

/* What is read; dir NULL: in memory. */
static tr_source_spec source_of(const export_request *r, int64_t now, const char *dir, tr_view name)
{
    tr_source_spec spec = {.kind = TR_SOURCE_PAST,
                           .dir = dir,
                           .own = true,
                           .name = name,
                           .to_ms = r->time.given ? r->time.value : INT64_MAX};
    if (r->incremental) {
        spec.kind = TR_SOURCE_CHANGES;
        spec.from_ms = r->incremental->from.value;
        spec.to_ms = r->incremental->to.given ? r->incremental->to.value : now;
    }
    return spec;
}

/* The table as it is now or was, out of a copy of the store that the export has for itself. */
static int begin_source(tr_call *c, const export_request *r, const tr_table *table, tr_source **ret_source)
{
    tr_error err;
    char id[TR_KEPT_ID];
    int64_t now = tr_engine_now_ms(c->engine);
    tr__kept_id(now, id);
    const char *dir = NULL, *arn = tr_arena_printf(c->arena, "%.*s/export/%s", TR_FMT(table->arn), id);
    if (!arn)
        return TR_ENOMEM;
    int e = c->api->dir ? tr__kept_folder(c->api, TR_KEPT_EXPORTS, arn, c->arena, &dir, &err) : 0;
    tr_source_spec spec = source_of(r, now, dir, table->name);
    spec.copy = dir != NULL;
    spec.table = table;
    if (e == 0)
        e = tr__held_new(c->api, &spec, ret_source, &err);
    if (e == TR_ETRIMMED)
        return tr__fail(c, 400, TR_TYPE("InvalidExportTimeException"), "%s", err.message);
    if (e)
        return tr__fail_code(c, e, &err);
    (*ret_source)->now_ms = now;
    (void)snprintf((*ret_source)->arn, sizeof(*ret_source)->arn, "%s", arn);
    tr_buf_put_str(&(*ret_source)->text, table->uuid);
    return 0;
}

/* Remembers, answers and goes on by itself. */
static int begin(tr_call *c, const export_request *r, tr_source *source, export_job *j)
{
    tr_error err;
    tr_kept *kept;
    int e = tr__held_status(source, &err);
    if (e == TR_ETRIMMED)
        return tr__fail(c, 400, TR_TYPE("InvalidExportTimeException"), "%s", err.message);
    if (e)
        return tr__fail_code(c, e, &err);
    const char *table_id = tr_buf_cstr(&source->text);
    e = table_id ? describe(r, source->arn, table_id, source->now_ms, j) : TR_ENOMEM;
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "ExportDescription");
    size_t from = c->out->len;
    tr__export_write(&c->w, &j->x);
    tr_view json = tr_view_of(c->out->ptr + from, c->out->len - from);
    tr_json_end_object(&c->w);
    json.ptr = c->out->ptr + from;
    e = tr_buf_status(c->out);
    if (e == 0)
        e = tr__kept_add(c->api, TR_KEPT_EXPORTS, source->arn, source->now_ms, json, c->request->body, &kept,
                         &err);
    return e ? tr__fail_code(c, e, &err) : 0;
}

/* -------------------------------------------------------------------------------------------------- resuming
 */

/* The same again: the files have the same names. */
static int resume_one(tr_api *api, tr_kept *k, tr_arena *arena, tr_error *err)
{
    tr_shape_reader reader = {.arena = arena, .scratch = &api->scratch};
    export_request *r = tr_arena_calloc(arena, 1, sizeof *r);
    const char *dir = tr__kept_path(api, TR_KEPT_EXPORTS, k->arn, "", arena);
    const char *table_id = tr_arena_str(arena, tr__kept_text(k, "TableId", arena));
    export_job *j = job_new();
    int e = r && dir && table_id && j ? 0 : TR_ENOMEM;
    if (e == 0)
        e = tr__shape_read(&reader, &tr__shape_export_table, tr_view_str(k->request), r);
    if (e == 0)
        e = describe(r, k->arn, table_id, k->created_ms, j);
    if (e == 0) {
        const tr_source_spec spec = source_of(r, k->created_ms, dir, tr__table_of_arn(j->x.table_arn));
        e = tr__held_new(api, &spec, &j->source, err);
    }
    if (e == 0)
        tr__job_add(api, &j->job);
    else if (j)
        job_free(api, j, true);
    return e;
}

void tr__exports_resume(tr_api *api)
{
    for (tr_kept *k = api->kept[TR_KEPT_EXPORTS]; k; k = k->next) {
        tr_arena arena;
        tr_error err = {.code = 0};
        if (!k->request)
            continue;
        if (!api->buckets) {
            (void)fprintf(stderr, "tailrace: export %s waits for a start with --buckets\n", k->arn);
            continue;
        }
        tr_arena_init(&arena, (size_t)32 * 1024 * 1024);
        int e = resume_one(api, k, &arena, &err);
        if (e)
            (void)fprintf(stderr, "tailrace: export %s cannot be gone on with: %s\n", k->arn,
                          err.code ? err.message : tr_strerror(e));
        tr_arena_done(&arena);
    }
}

/* The export that a request with the same ClientToken has begun. */
static const tr_kept *begun_before(tr_call *c, tr_view token)
{
    for (const tr_kept *k = c->api->kept[TR_KEPT_EXPORTS]; k && token.len; k = k->next)
        if (tr_view_eq(tr__kept_text(k, "ClientToken", c->arena), token))
            return k;
    return NULL;
}

static void put_kept(tr_call *c, const tr_kept *k)
{
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "ExportDescription");
    tr_json_value(&c->w, tr_view_str(k->json));
    tr_json_end_object(&c->w);
}

static int check(tr_call *c, const export_request *r, const tr_table **ret_table)
{
    int e = check_export(c, r);
    const tr_table *table = *ret_table = e ? NULL : tr_engine_table(c->engine, tr__table_of_arn(r->table));
    if (e == 0 && (!table || table->status == TR_CREATING || table->status == TR_DELETING))
        e = tr__fail(c, 400, TR_TYPE("TableNotFoundException"), "Table not found: %.*s", TR_FMT(r->table));
    if (e == 0 && table)
        e = tr__check_pitr(c, table);
    if (e || !table)
        return e;
    return check_times(c, r, table, tr_engine_now_ms(c->engine));
}

int tr__op_export_table(tr_call *c, void *request)
{
    const export_request *r = request;
    tr_source *source = c->request->held;
    const tr_table *table;
    int e = 0;
    if (!source) {
        e = check(c, r, &table);
        const tr_kept *before = e ? NULL : begun_before(c, r->token);
        if (before) {
            put_kept(c, before);
            return 0;
        }
        if (e == 0)
            e = tr__job_check(c);
        if (e == 0)
            e = begin_source(c, r, table, &source);
    }
    if (e || !source || !tr__held_ready(c, source))
        return e;
    export_job *j = job_new();
    e = j ? begin(c, r, source, j) : TR_ENOMEM;
    if (e) {
        if (j)
            job_free(c->api, j, true);
        tr__held_end(c->api, source, true);
        return e;
    }
    j->source = source;
    tr__job_add(c->api, &j->job);
    return 0;
}

int tr__op_describe_export(tr_call *c, void *request)
{
    const arn_request *r = request;
    const tr_kept *k = tr__kept_find(c->api, TR_KEPT_EXPORTS, r->arn);
    if (!k)
        return tr__fail(c, 400, TR_TYPE("ExportNotFoundException"), "Export not found: %.*s", TR_FMT(r->arn));
    put_kept(c, k);
    return 0;
}

int tr__op_list_exports(tr_call *c, void *request)
{
    const list_request *r = request;
    int64_t left = r->limit.given ? r->limit.value : 25;
    bool begun = !r->next.ptr;
    const char *last = NULL;
    const tr_kept *k = c->api->kept[TR_KEPT_EXPORTS];
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "ExportSummaries");
    tr_json_begin_array(&c->w);
    for (; k; k = k->next) {
        static const char *const members[] = {"ExportArn", "ExportStatus", "ExportType"};
        if (!begun) {
            begun = tr_view_is(r->next, k->arn);
            continue;
        }
        if (r->table.ptr && !tr_view_eq(tr__kept_text(k, "TableArn", c->arena), r->table))
            continue;
        if (left-- == 0)
            break;
        tr_json_begin_object(&c->w);
        for (size_t i = 0; i < TR_COUNT(members); i++)
            tr_json_member_string(&c->w, members[i], tr__kept_text(k, members[i], c->arena));
        tr_json_end_object(&c->w);
        last = k->arn;
    }
    tr_json_end_array(&c->w);
    if (k && last)
        tr_json_member_cstring(&c->w, "NextToken", last);
    tr_json_end_object(&c->w);
    return 0;
}
