/* SPDX-License-Identifier: MIT */
#include "api/import.h"
#include "api/bucket.h"
#include "api/restore.h"

#include <stdio.h>

/* ImportTable, DescribeImport, ListImports. A new table is made at once and filled by a job, object by
 * object. */

typedef struct source_spec {
    tr_view owner, bucket, prefix;
} source_spec;

typedef struct csv_spec {
    tr_view delimiter;
    tr_list header; /* tr_view */
} csv_spec;

typedef struct options_spec {
    csv_spec *csv;
} options_spec;

typedef struct import_request {
    tr_view token, format, compression;
    source_spec *source;
    options_spec *options;
    tr_table_request *table;
} import_request;

static const tr_member source_members[] = {
    TR_MEMBER(source_spec, owner, "S3BucketOwner", TR_K_STRING, .rules = 0),
    TR_MEMBER(source_spec, bucket, "S3Bucket", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MAX, .max = 255),
    TR_MEMBER(source_spec, prefix, "S3KeyPrefix", TR_K_STRING, .rules = TR_R_MAX, .max = 1024),
};
static const tr_shape source_shape = TR_SHAPE(source_spec, "S3BucketSource", source_members);
static const tr_member csv_members[] = {
    TR_MEMBER(csv_spec, delimiter, "Delimiter", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 1),
    TR_MEMBER(csv_spec, header, "HeaderList", TR_K_STRINGS, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 255),
};
static const tr_shape csv_shape = TR_SHAPE(csv_spec, "CsvOptions", csv_members);
static const tr_member options_members[] = {
    TR_MEMBER(options_spec, csv, "Csv", TR_K_STRUCT, .shape = &csv_shape),
};
static const tr_shape options_shape = TR_SHAPE(options_spec, "InputFormatOptions", options_members);

static const tr_member import_members[] = {
    TR_M_TEXT(import_request, token, "ClientToken"),
    TR_MEMBER(import_request, source, "S3BucketSource", TR_K_STRUCT, .rules = TR_R_NOT_NULL,
              .shape = &source_shape),
    TR_MEMBER(import_request, format, "InputFormat", TR_K_STRING, .rules = TR_R_NOT_NULL,
              .values = "[DYNAMODB_JSON, ION, CSV]"),
    TR_MEMBER(import_request, options, "InputFormatOptions", TR_K_STRUCT, .shape = &options_shape),
    TR_MEMBER(import_request, compression, "InputCompressionType", TR_K_STRING,
              .values = "[GZIP, ZSTD, NONE]"),
    TR_MEMBER(import_request, table, "TableCreationParameters", TR_K_STRUCT, .rules = TR_R_NOT_NULL,
              .shape = &tr__shape_creation),
};
const tr_shape tr__shape_import_table = TR_SHAPE(import_request, "ImportTableInput", import_members);

typedef struct arn_request {
    tr_view arn;
} arn_request;
static const tr_member arn_members[] = {
    TR_MEMBER(arn_request, arn, "ImportArn", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,
              .min = 37, .max = 1024),
};
const tr_shape tr__shape_describe_import = TR_SHAPE(arn_request, "DescribeImportInput", arn_members);

typedef struct list_request {
    tr_view table, next;
    tr_int limit;
} list_request;
static const tr_member list_members[] = {
    TR_MEMBER(list_request, table, "TableArn", TR_K_STRING, .rules = TR_R_TABLE),
    TR_MEMBER(list_request, limit, "PageSize", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 25),
    TR_M_TEXT(list_request, next, "NextToken"),
};
const tr_shape tr__shape_list_imports = TR_SHAPE(list_request, "ListImportsInput", list_members);

/* ---------------------------------------------------------------------------------------------------- job */

/* As AWS words it; here nothing is logged but the counts. */
#define ITEMS_INVALID                                                                                        \
    "Some of the items failed validation checks and were not imported. Please check CloudWatch error logs "  \
    "for more details."

typedef struct import_job {
    tr_job job;
    tr_arena arena; /* of the whole */
    tr_arena step_arena, object_arena;
    tr_task work; /* reading the next object */
    const char *path;
    int read_code;
    tr_error read_error;
    tr_buf object, inflated, scratch;
    tr_filler filler;
    tr_import_format format;
    tr_import_lines lines;
    bool gzip, begun, reading, cleared;
    tr_view *keys;
    uint32_t key_count, key;
    /* told */
    tr_view arn, table_arn, token, bucket, prefix, owner, format_name, compression, creation;
    char table_id[TR_UUID_LEN + 1];
    int64_t start_ms, end_ms;
    const char *failure_code;
    char failure[512];
    uint64_t bytes, seen, errors;
} import_job;

static void put_if(tr_json_writer *w, const char *name, tr_view text)
{
    if (text.len)
        tr_json_member_string(w, name, text);
}

static void put_source(tr_json_writer *w, const import_job *j)
{
    tr_json_name(w, "S3BucketSource");
    tr_json_begin_object(w);
    put_if(w, "S3BucketOwner", j->owner);
    tr_json_member_string(w, "S3Bucket", j->bucket);
    put_if(w, "S3KeyPrefix", j->prefix);
    tr_json_end_object(w);
}

static void put_options(tr_json_writer *w, const import_job *j)
{
    tr_json_name(w, "InputFormatOptions");
    tr_json_begin_object(w);
    tr_json_name(w, "Csv");
    tr_json_begin_object(w);
    if (j->format.delimiter_given)
        tr_json_member_string(w, "Delimiter", tr_view_of(&j->format.delimiter, 1));
    if (j->format.has_header) {
        tr_json_name(w, "HeaderList");
        tr_json_begin_array(w);
        for (uint32_t i = 0; i < j->format.header_count; i++)
            tr_json_string(w, j->format.header[i]);
        tr_json_end_array(w);
    }
    tr_json_end_object(w);
    tr_json_end_object(w);
}

/* ImportTableDescription. */
static void put_description(tr_json_writer *w, const import_job *j)
{
    tr_json_begin_object(w);
    tr_json_member_string(w, "ImportArn", j->arn);
    tr_json_member_cstring(w, "ImportStatus",
                           j->failure_code ? "FAILED"
                           : j->end_ms     ? "COMPLETED"
                                           : "IN_PROGRESS");
    tr_json_member_string(w, "TableArn", j->table_arn);
    tr_json_member_cstring(w, "TableId", j->table_id);
    put_if(w, "ClientToken", j->token);
    put_source(w, j);
    tr_json_member_u64(w, "ErrorCount", j->errors + j->filler.refused);
    tr_json_member_string(w, "InputFormat", j->format_name);
    if (j->format.given)
        put_options(w, j);
    tr_json_member_string(w, "InputCompressionType", j->compression.len ? j->compression : TR_VIEW("NONE"));
    tr_json_name(w, "TableCreationParameters");
    tr_json_value(w, j->creation);
    tr__write_time(w, "StartTime", j->start_ms);
    if (j->end_ms)
        tr__write_time(w, "EndTime", j->end_ms);
    tr_json_member_u64(w, "ProcessedSizeBytes", j->bytes);
    tr_json_member_u64(w, "ProcessedItemCount", j->seen);
    tr_json_member_u64(w, "ImportedItemCount", j->filler.items);
    if (j->failure_code) {
        tr_json_member_cstring(w, "FailureCode", j->failure_code);
        tr_json_member_cstring(w, "FailureMessage", j->failure);
    }
    tr_json_end_object(w);
}

/* On a thread: the object's text, inflated. */
static void read_object(void *ctx)
{
    import_job *j = ctx;
    tr_error *err = &j->read_error;
    tr_buf_reset(&j->object);
    tr_buf_reset(&j->inflated);
    int e = tr__object_read(j->path, &j->object, err);
    if (e == 0 && j->gzip) {
        e = tr__gzip_read(tr_buf_view(&j->object), &j->inflated);
        if (e)
            (void)tr_fail(err, e, "%s: %s", j->path, e == TR_EPARSE ? "it is not gzip" : tr_strerror(e));
    }
    j->read_code = e == TR_ENOTFOUND ? TR_EIO : e;
}

/* On a thread too: giving back hundreds of MiB takes long as well. */
static void clear_buffers(void *ctx)
{
    import_job *j = ctx;
    tr_buf_done(&j->object);
    tr_buf_done(&j->inflated);
}

/* Begins to read the next object. TR_ENOTFOUND after the last. */
static int next_object(tr_api *api, import_job *j, tr_error *err)
{
    if (j->key == j->key_count)
        return TR_ENOTFOUND;
    int e = tr__bucket_path(api, j->bucket, j->keys[j->key++], &j->arena, &j->path);
    if (e)
        return tr_fail(err, e, "out of memory");
    j->reading = true;
    tr__task_begin(&j->work, read_object, j);
    return 0;
}

/* The object has been read. One that is not gzip counts as an item that is none. */
static int take_object(import_job *j, tr_error *err)
{
    tr__task_join(&j->work);
    j->reading = false;
    bool bad = j->gzip && j->read_code == TR_EPARSE;
    if (j->read_code && !bad) {
        *err = j->read_error;
        return j->read_code;
    }
    j->bytes += j->object.len;
    j->seen += bad;
    j->errors += bad;
    if (bad)
        tr_buf_reset(&j->inflated);
    tr_arena_reset(&j->object_arena);
    j->lines = (tr_import_lines){.text = tr_buf_view(j->gzip ? &j->inflated : &j->object),
                                 .format = &j->format,
                                 .names_arena = &j->object_arena};
    return 0;
}

/* An item that fits the table is put, one that does not is counted. */
static int take(tr_api *api, import_job *j, const tr_table *table, tr_item item, tr_error *err)
{
    tr_buf_reset(&j->scratch);
    if (tr__item_key_fault(table, item, false, &j->scratch) != TR_KEY_FIT ||
        tr_item_size(item) > TR_ITEM_SIZE_MAX) {
        j->errors++;
        return 0;
    }
    return tr__filler_put(api, &j->filler, item, err);
}

static int begin_reading(tr_api *api, import_job *j, tr_error *err)
{
    j->begun = true;
    if (!tr__bucket_exists(api, j->bucket))
        return tr_fail(err, TR_ENOTFOUND, "The specified bucket does not exist");
    return tr__bucket_list(api, j->bucket, j->prefix, &j->arena, &j->keys, &j->key_count, err);
}

/* The counts are kept before the table becomes active: whoever finds it active knows them. */
static int finish(tr_api *api, import_job *j, tr_error *err)
{
    tr_json_writer w;
    tr_kept *kept = tr__kept_find(api, TR_KEPT_IMPORTS, j->arn);
    int e = tr__filler_flush(api, &j->filler, err);
    tr_buf_reset(&api->text);
    tr_json_write_init(&w, &api->text);
    put_description(&w, j);
    if (e == 0 && kept && tr_buf_status(&api->text) == 0)
        e = tr__kept_set(api, TR_KEPT_IMPORTS, kept, tr_buf_view(&api->text), false, err);
    return e ? e : tr__filler_finish(api, &j->filler, (tr_view){NULL, 0}, err);
}

/* Up to so many lines or bytes of the object that has been read. */
static int take_some(tr_api *api, import_job *j, const tr_table *table, bool *ret_end, tr_error *err)
{
    int e = 0;
    size_t from = j->lines.at;
    tr_arena_reset(&j->step_arena);
    for (int i = 0; i < TR_JOB_ITEMS && e == 0 && j->lines.at - from < TR_JOB_BYTES; i++) {
        tr_item item;
        e = tr__import_next(&j->lines, table, &j->step_arena, &j->scratch, &item, err);
        if (e == TR_ENOTFOUND) {
            *ret_end = true;
            return 0;
        }
        j->seen += e == 0 || e == TR_EPARSE;
        j->errors += e == TR_EPARSE;
        e = e == TR_EPARSE ? 0 : e ? e : take(api, j, table, item, err);
    }
    return e ? e : tr__filler_flush(api, &j->filler, err);
}

static int step(tr_api *api, tr_job *job, bool *ret_done, tr_error *err)
{
    import_job *j = (import_job *)job;
    job->idle = !tr__task_done(&j->work);
    if (job->idle)
        return 0;
    int e = j->begun ? 0 : begin_reading(api, j, err);
    const tr_table *table = tr__filler_table(api, &j->filler);
    if (e == 0 && !table)
        e = tr_fail(err, TR_ECLOSED, "the table was deleted while it was filled");
    if (e == 0 && j->reading)
        e = take_object(j, err);
    bool ended = !j->lines.format;
    if (e == 0 && !ended)
        e = take_some(api, j, table, &ended, err);
    if (e || !ended)
        return e;
    e = next_object(api, j, err);
    if (e != TR_ENOTFOUND)
        return e;
    if (!j->cleared) {
        j->cleared = true;
        j->lines = (tr_import_lines){.format = NULL};
        tr__task_begin(&j->work, clear_buffers, j);
        return 0;
    }
    *ret_done = true;
    return finish(api, j, err);
}

static void job_free(import_job *j)
{
    tr__task_join(&j->work);
    tr__filler_done(&j->filler);
    tr_buf_done(&j->object);
    tr_buf_done(&j->inflated);
    tr_buf_done(&j->scratch);
    tr_arena_done(&j->step_arena);
    tr_arena_done(&j->object_arena);
    tr_arena_done(&j->arena);
    tr_free(j);
}

static void end(tr_api *api, tr_job *job, int code, const tr_error *why)
{
    import_job *j = (import_job *)job;
    tr_kept *kept = tr__kept_find(api, TR_KEPT_IMPORTS, j->arn);
    bool later = code == TR_ECANCELED && api->dir; /* the next server does it */
    tr_table *table = code && !later ? tr__filler_table(api, &j->filler) : NULL;
    tr_json_writer w;
    tr_error err;
    j->end_ms = tr_engine_now_ms(api->engine);
    if (code) {
        j->failure_code = code == TR_ENOTFOUND ? "S3NoSuchBucket" : "UNKNOWN";
        (void)snprintf(j->failure, sizeof j->failure, "%.500s", why->message);
    } else if (j->errors + j->filler.refused) { /* the table stays, with what was good */
        j->failure_code = "ItemValidationError";
        (void)snprintf(j->failure, sizeof j->failure, "%s", ITEMS_INVALID);
    }
    if (table)
        (void)tr_engine_delete_table(api->engine, table, &err);
    tr_buf_reset(&api->text);
    tr_json_write_init(&w, &api->text);
    put_description(&w, j);
    if (kept && !later && tr_buf_status(&api->text) == 0)
        (void)tr__kept_set(api, TR_KEPT_IMPORTS, kept, tr_buf_view(&api->text), true, &err);
    job_free(j);
}

/* ----------------------------------------------------------------------------------------------- ImportTable
 */

static int check_import(tr_call *c, const import_request *r)
{
    if (tr_view_is(r->format, "ION"))
        return tr__invalid(c, "InputFormat ION is not supported here; use DYNAMODB_JSON or CSV");
    if (tr_view_is(r->compression, "ZSTD"))
        return tr__invalid(c, "InputCompressionType ZSTD is not supported here; use GZIP or NONE");
    if (r->options && r->options->csv && !tr_view_is(r->format, "CSV"))
        return tr__invalid(
            c, "Invalid Request: Unsupported InputFormatOptions for the given input format: %.*s.",
            TR_FMT(r->format));
    const csv_spec *csv = r->options ? r->options->csv : NULL;
    if (csv && csv->delimiter.ptr && !strchr(",;:|\t ", csv->delimiter.ptr[0]))
        return tr__invalid(
            c,
            "1 validation error detected: Value '%.*s' at 'inputFormatOptions.csv.delimiter' failed to "
            "satisfy constraint: Member must satisfy regular expression pattern: [,;:|\\t ]",
            TR_FMT(csv->delimiter));
    int e = tr__bucket_check(c, r->source->bucket);
    if (e == 0)
        e = tr__check_create(c, r->table);
    return e;
}

static bool copy_text(import_job *j, tr_view from, tr_view *to)
{
    *to = (tr_view){NULL, 0};
    if (from.len)
        *to = tr_arena_copy(&j->arena, from);
    return !from.len || to->ptr;
}

static int set_format(const import_request *r, import_job *j)
{
    const csv_spec *csv = r->options ? r->options->csv : NULL;
    j->gzip = tr_view_is(r->compression, "GZIP");
    j->format = (tr_import_format){.csv = tr_view_is(r->format, "CSV"), .delimiter = ','};
    j->format.given = csv != NULL;
    j->format.delimiter_given = csv && csv->delimiter.len;
    if (j->format.delimiter_given)
        j->format.delimiter = csv->delimiter.ptr[0];
    if (!csv || !csv->header.given)
        return 0;
    j->format.has_header = true;
    j->format.header_count = csv->header.count;
    j->format.header = tr_arena_calloc(&j->arena, csv->header.count + 1, sizeof *j->format.header);
    for (uint32_t i = 0; i < csv->header.count && j->format.header; i++)
        if (!copy_text(j, ((const tr_view *)csv->header.items)[i], &j->format.header[i]))
            return TR_ENOMEM;
    return j->format.header ? 0 : TR_ENOMEM;
}

/* body: the request's. The ARN holds the table's. */
static int describe(const import_request *r, tr_view body, tr_view table_id, const char *arn, int64_t now,
                    import_job *j)
{
    tr_view creation, whole = tr_view_str(arn);
    size_t end = tr_view_find(whole, TR_VIEW("/import/"), 0);
    j->start_ms = now;
    if (tr_json_member(body, "TableCreationParameters", &j->arena, &creation))
        return TR_EINVAL;
    if (end == SIZE_MAX || !copy_text(j, whole, &j->arn) ||
        !copy_text(j, tr_view_of(arn, end), &j->table_arn) || !copy_text(j, r->token, &j->token) ||
        !copy_text(j, r->source->bucket, &j->bucket) || !copy_text(j, r->source->prefix, &j->prefix) ||
        !copy_text(j, r->source->owner, &j->owner) || !copy_text(j, r->format, &j->format_name) ||
        !copy_text(j, r->compression, &j->compression) || !copy_text(j, creation, &j->creation))
        return TR_ENOMEM;
    if (table_id.ptr && table_id.len < sizeof j->table_id)
        memcpy(j->table_id, table_id.ptr, table_id.len);
    tr__filler_init(&j->filler, r->table->name, table_id);
    return set_format(r, j);
}

static import_job *job_new(void)
{
    import_job *j = tr_calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->job = (tr_job){.step = step, .end = end};
    tr_arena_init(&j->arena, (size_t)256 * 1024 * 1024);
    tr_arena_init(&j->step_arena, (size_t)1024 * 1024 * 1024);
    tr_arena_init(&j->object_arena, (size_t)64 * 1024 * 1024);
    tr_buf_init(&j->object, TR_OBJECT_MAX);
    tr_buf_init(&j->inflated, TR_INFLATED_MAX);
    tr_buf_init(&j->scratch, (size_t)16 * 1024 * 1024);
    return j;
}

static int make_table(tr_call *c, const import_request *r, tr_table **ret_table)
{
    tr_table_spec spec;
    tr_error err;
    int e = tr__table_spec_of(c, r->table, &spec);
    if (e)
        return e;
    spec.filling = true;
    e = tr_engine_create_table(c->engine, &spec, ret_table, &err);
    if (e == TR_EEXIST)
        return tr__fail(c, 400, TR_TYPE("ResourceInUseException"), "Table already exists: %.*s",
                        TR_FMT(r->table->name));
    return e ? tr__fail_code(c, e, &err) : 0;
}

static void put_kept(tr_call *c, tr_view json)
{
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "ImportTableDescription");
    tr_json_value(&c->w, json);
    tr_json_end_object(&c->w);
}

static int begin(tr_call *c, const import_request *r, const tr_table *table, import_job *j)
{
    tr_error err;
    tr_kept *kept;
    tr_json_writer w;
    char id[TR_KEPT_ID];
    int64_t now = tr_engine_now_ms(c->engine);
    tr__kept_id(now, id);
    const char *arn = tr_arena_printf(c->arena, "%.*s/import/%s", TR_FMT(table->arn), id);
    int e = arn ? describe(r, c->request->body, tr_view_str(table->uuid), arn, now, j) : TR_ENOMEM;
    if (e)
        return e;
    tr_buf_reset(c->text);
    tr_json_write_init(&w, c->text);
    put_description(&w, j);
    e = tr_buf_status(c->text);
    if (e == 0)
        e = tr__kept_add(c->api, TR_KEPT_IMPORTS, arn, now, tr_buf_view(c->text), c->request->body, &kept,
                         &err);
    if (e)
        return tr__fail_code(c, e, &err);
    put_kept(c, tr_buf_view(c->text));
    return 0;
}

int tr__op_import_table(tr_call *c, void *request)
{
    const import_request *r = request;
    tr_table *table;
    tr_error err;
    int e = check_import(c, r);
    if (e)
        return e;
    /* the token stands for its import while that goes on, and once its table has been deleted */
    for (const tr_kept *k = c->api->kept[TR_KEPT_IMPORTS]; k && r->token.len; k = k->next)
        if (tr_view_eq(tr__kept_text(k, "ClientToken", c->arena), r->token) &&
            (k->request || !tr_engine_table(c->engine, r->table->name))) {
            put_kept(c, tr_view_str(k->json));
            return 0;
        }
    e = tr__job_check(c);
    if (e == 0)
        e = make_table(c, r, &table);
    if (e)
        return e;
    import_job *j = job_new();
    e = j ? begin(c, r, table, j) : TR_ENOMEM;
    if (e) {
        if (j)
            job_free(j);
        (void)tr_engine_delete_table(c->engine, table, &err);
        return e;
    }
    tr__job_add(c->api, &j->job);
    return 0;
}

/* -------------------------------------------------------------------------------------------------- resuming
 */

/* The whole description again, of an import whose table was made active before its server ended. */
static int complete(tr_api *api, tr_kept *k, tr_error *err)
{
    tr_view json = tr_view_str(k->json), mark = TR_VIEW("\"IN_PROGRESS\"");
    size_t at = tr_view_find(json, mark, 0);
    tr_json_writer w;
    tr_buf_reset(&api->text);
    if (at == SIZE_MAX || json.len < at + mark.len + 1)
        return tr_fail(err, TR_ECORRUPT, "its description cannot be read");
    bool whole = tr_view_find(json, TR_VIEW("\"ErrorCount\":0,"), 0) != SIZE_MAX;
    tr_buf_put(&api->text, json.ptr, at);
    tr_buf_put_str(&api->text, whole ? "\"COMPLETED\""
                                     : "\"FAILED\",\"FailureCode\":\"ItemValidationError\","
                                       "\"FailureMessage\":\"" ITEMS_INVALID "\"");
    tr_buf_put_str(&api->text, ",\"EndTime\":");
    tr_json_write_init(&w, &api->text);
    int64_t now = tr_engine_now_ms(api->engine);
    tr_buf_printf(&api->text, "%lld.%03d", (long long)(now / 1000), (int)(now % 1000));
    tr_buf_put(&api->text, json.ptr + at + mark.len, json.len - at - mark.len);
    int e = tr_buf_status(&api->text);
    return e ? tr_fail(err, e, "out of memory")
             : tr__kept_set(api, TR_KEPT_IMPORTS, k, tr_buf_view(&api->text), true, err);
}

/* All of it again: putting an item a second time changes nothing. */
static int resume_one(tr_api *api, tr_kept *k, tr_arena *arena, tr_error *err)
{
    tr_shape_reader reader = {.arena = arena, .scratch = &api->scratch};
    tr_view request = tr_view_str(k->request), id = tr__kept_text(k, "TableId", arena);
    import_request *r = tr_arena_calloc(arena, 1, sizeof *r);
    const tr_table *table =
        tr_engine_table(api->engine, tr__table_of_arn(tr__kept_text(k, "TableArn", arena)));
    bool there = table && tr_view_is(id, table->uuid);
    if (there && table->status != TR_CREATING)
        return complete(api, k, err);
    int e = r ? tr__shape_read(&reader, &tr__shape_import_table, request, r) : TR_ENOMEM;
    if (e)
        return tr_fail(err, e, "its request cannot be read");
    import_job *j = job_new();
    e = j ? describe(r, request, id, k->arn, k->created_ms, j) : TR_ENOMEM;
    if (e == 0)
        tr__job_add(api, &j->job);
    else if (j)
        job_free(j);
    return e ? tr_fail(err, e, "out of memory") : 0;
}

void tr__imports_resume(tr_api *api)
{
    for (tr_kept *k = api->kept[TR_KEPT_IMPORTS]; k; k = k->next) {
        tr_arena arena;
        tr_error err = {.code = 0};
        if (!k->request)
            continue;
        if (!api->buckets) {
            (void)fprintf(stderr, "tailrace: import %s waits for a start with --buckets\n", k->arn);
            continue;
        }
        tr_arena_init(&arena, (size_t)32 * 1024 * 1024);
        if (resume_one(api, k, &arena, &err))
            (void)fprintf(stderr, "tailrace: import %s cannot be gone on with: %s\n", k->arn, err.message);
        tr_arena_done(&arena);
    }
}

/* ----------------------------------------------------------------------------------------------- the others
 */

int tr__op_describe_import(tr_call *c, void *request)
{
    const arn_request *r = request;
    const tr_kept *k = tr__kept_find(c->api, TR_KEPT_IMPORTS, r->arn);
    if (!k)
        return tr__fail(c, 400, TR_TYPE("ImportNotFoundException"), "Import not found: %.*s", TR_FMT(r->arn));
    put_kept(c, tr_view_str(k->json));
    return 0;
}

static void put_summary(tr_call *c, const tr_kept *k)
{
    static const char *const texts[] = {"ImportArn", "ImportStatus", "TableArn", "InputFormat"};
    static const char *const raw[] = {"S3BucketSource", "StartTime", "EndTime"};
    tr_json_begin_object(&c->w);
    for (size_t i = 0; i < TR_COUNT(texts); i++)
        tr_json_member_string(&c->w, texts[i], tr__kept_text(k, texts[i], c->arena));
    for (size_t i = 0; i < TR_COUNT(raw); i++) {
        tr_view value = tr__kept_text(k, raw[i], c->arena);
        if (!value.len)
            continue;
        tr_json_name(&c->w, raw[i]);
        tr_json_value(&c->w, value);
    }
    tr_json_end_object(&c->w);
}

int tr__op_list_imports(tr_call *c, void *request)
{
    const list_request *r = request;
    int64_t left = r->limit.given ? r->limit.value : 25;
    bool begun = !r->next.ptr;
    const char *last = NULL;
    const tr_kept *k = c->api->kept[TR_KEPT_IMPORTS];
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "ImportSummaryList");
    tr_json_begin_array(&c->w);
    for (; k; k = k->next) {
        if (!begun) {
            begun = tr_view_is(r->next, k->arn);
            continue;
        }
        if (r->table.ptr && !tr_view_eq(tr__kept_text(k, "TableArn", c->arena), r->table))
            continue;
        if (left-- == 0)
            break;
        put_summary(c, k);
        last = k->arn;
    }
    tr_json_end_array(&c->w);
    if (k && last)
        tr_json_member_cstring(&c->w, "NextToken", last);
    tr_json_end_object(&c->w);
    return 0;
}
