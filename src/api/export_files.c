/* SPDX-License-Identifier: MIT */
#include "api/export.h"

#include <stdio.h>

/* Compressing one takes half a millisecond. */
#define MEMBER_BYTES ((size_t)32 * 1024)
/* Of a file, before it is compressed. */
#define FILE_BYTES ((uint64_t)64 * 1024 * 1024)
#define VERSION    "2020-06-30" /* of the manifests, as the service's */

static const char *key_of(tr_export_files *f, const char *name)
{
    tr_view p = f->export->prefix;
    return tr_arena_printf(f->arena, "%.*s%sAWSDynamoDB/%s%s%s", TR_FMT(p), p.len ? "/" : "",
                           strncmp(name, "data/", 5) == 0 && f->export->incremental ? "" : f->export->id,
                           strncmp(name, "data/", 5) == 0 && f->export->incremental ? "" : "/", name);
}

static int path_of(tr_export_files *f, const char *key, const char **ret_path, tr_error *err)
{
    int e =
        key ? tr__bucket_path(f->api, f->export->bucket, tr_view_str(key), f->arena, ret_path) : TR_ENOMEM;
    return e == TR_EINVAL ? tr_fail(err, e, "the prefix leads out of the bucket")
           : e            ? tr_fail(err, e, "out of memory")
                          : 0;
}

static int put_object(tr_export_files *f, const char *name, tr_view bytes, tr_error *err)
{
    const char *path;
    int e = path_of(f, key_of(f, name), &path, err);
    return e ? e : tr__object_write(path, bytes, false, err);
}

static int put_md5(tr_export_files *f, const char *name, tr_view bytes, tr_error *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char md5_name[64];
    tr_buf text;
    if (!EVP_Digest(bytes.ptr, bytes.len, sum, &len, EVP_md5(), NULL))
        return tr_fail(err, TR_ENOMEM, "no MD5");
    tr_buf_init(&text, 1024);
    tr_base64_put(&text, tr_view_of(sum, len));
    (void)snprintf(md5_name, sizeof md5_name, "%s.md5", name);
    int e = put_object(f, md5_name, tr_buf_view(&text), err);
    tr_buf_done(&text);
    return e;
}

/* --------------------------------------------------------------------------------------------------- data */

static int begin_file(tr_export_files *f, tr_error *err)
{
    unsigned char random[EVP_MAX_MD_SIZE];
    char name[32] = "data/", *to = name + 5;
    const char *seed = tr_arena_printf(f->arena, "%s %u", f->export->id, f->file_count++);
    if (!seed || !EVP_Digest(seed, strlen(seed), random, NULL, EVP_sha256(), NULL))
        return tr_fail(err, TR_ENOMEM, "out of memory");
    for (size_t i = 0; i < 20; i++)
        *to++ = "abcdefghijklmnopqrstuvwxyz234567"[random[i] & 31];
    *to = 0;
    const char *full = tr_arena_printf(f->arena, "%s.json.gz", name);
    f->key = full ? key_of(f, full) : NULL;
    f->file_items = f->file_bytes = 0;
    f->md5 = EVP_MD_CTX_new();
    if (!f->md5 || !EVP_DigestInit_ex(f->md5, EVP_md5(), NULL))
        return tr_fail(err, TR_ENOMEM, "no MD5");
    int e = path_of(f, f->key, &f->path, err);
    return e ? e : tr__object_write(f->path, (tr_view){NULL, 0}, false, err);
}

/* A line of manifest-files.json. */
static int end_file(tr_export_files *f, tr_error *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    tr_json_writer w;
    tr_buf etag;
    if (!f->path)
        return 0;
    if (!EVP_DigestFinal_ex(f->md5, sum, &len))
        return tr_fail(err, TR_ENOMEM, "no MD5");
    tr_buf_init(&etag, 256);
    tr_hex_put(&etag, tr_view_of(sum, len));
    tr_buf_put_str(&etag, "-1");
    tr_json_write_init(&w, &f->manifest);
    tr_json_begin_object(&w);
    tr_json_member_u64(&w, "itemCount", f->file_items);
    tr_json_name(&w, "md5Checksum");
    tr_json_base64(&w, tr_view_of(sum, len));
    tr_json_member_string(&w, "etag", tr_buf_view(&etag));
    tr_json_member_cstring(&w, "dataFileS3Key", f->key);
    tr_json_end_object(&w);
    tr_buf_putc(&f->manifest, '\n');
    tr_buf_done(&etag);
    EVP_MD_CTX_free(f->md5);
    f->md5 = NULL;
    f->path = NULL;
    return tr_buf_status(&f->manifest) ? tr_fail(err, TR_ENOMEM, "out of memory") : 0;
}

static int flush(tr_export_files *f, tr_error *err)
{
    if (!f->lines.len)
        return 0;
    int e = f->path ? 0 : begin_file(f, err);
    if (e)
        return e;
    tr_buf_reset(&f->member);
    if (tr__gzip_append(tr_buf_view(&f->lines), &f->member))
        return tr_fail(err, TR_ENOMEM, "out of memory");
    e = tr__object_write(f->path, tr_buf_view(&f->member), true, err);
    if (e == 0 && !EVP_DigestUpdate(f->md5, f->member.ptr, f->member.len))
        e = tr_fail(err, TR_ENOMEM, "no MD5");
    f->file_bytes += f->lines.len;
    tr_buf_reset(&f->lines);
    return e == 0 && f->file_bytes >= FILE_BYTES ? end_file(f, err) : e;
}

void tr__export_line_begin(tr_export_files *f, tr_json_writer *ret_writer)
{
    tr_json_write_init(ret_writer, &f->lines);
}

int tr__export_line_end(tr_export_files *f, tr_error *err)
{
    tr_buf_putc(&f->lines, '\n');
    if (tr_buf_status(&f->lines))
        return tr_fail(err, tr_buf_status(&f->lines), "out of memory");
    f->file_items++;
    return f->lines.len >= MEMBER_BYTES ? flush(f, err) : 0;
}

/* ---------------------------------------------------------------------------------------------- the whole */

int tr__export_files_init(tr_export_files *f, tr_api *api, const tr_export *export, tr_arena *arena,
                          tr_error *err)
{
    *f = (tr_export_files){.api = api, .export = export, .arena = arena};
    tr_buf_init(&f->lines, (size_t)16 * 1024 * 1024);
    tr_buf_init(&f->member, (size_t)32 * 1024 * 1024);
    tr_buf_init(&f->manifest, (size_t)64 * 1024 * 1024);
    return put_object(f, "_started", (tr_view){NULL, 0}, err);
}

void tr__export_files_done(tr_export_files *f)
{
    EVP_MD_CTX_free(f->md5);
    tr_buf_done(&f->lines);
    tr_buf_done(&f->member);
    tr_buf_done(&f->manifest);
}

static void put_time(tr_json_writer *w, const char *name, int64_t ms)
{
    char text[TR_TIME_TEXT_MAX];
    tr_time_format(ms, true, text);
    tr_json_member_cstring(w, name, text);
}

static void put_optional(tr_json_writer *w, const char *name, tr_view text)
{
    tr_json_name(w, name);
    if (text.len)
        tr_json_string(w, text);
    else
        tr_json_null(w);
}

static void put_summary(tr_export_files *f, tr_buf *out, const char *files_key)
{
    const tr_export *x = f->export;
    tr_json_writer w;
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "version", VERSION);
    tr_json_member_string(&w, "exportArn", x->arn);
    put_time(&w, "startTime", x->start_ms);
    put_time(&w, "endTime", x->end_ms);
    tr_json_member_string(&w, "tableArn", x->table_arn);
    tr_json_member_cstring(&w, "tableId", x->table_id);
    if (x->incremental) {
        put_time(&w, "exportFromTime", x->from_ms);
        put_time(&w, "exportToTime", x->to_ms);
    } else {
        put_time(&w, "exportTime", x->time_ms);
    }
    tr_json_member_string(&w, "s3Bucket", x->bucket);
    put_optional(&w, "s3Prefix", x->prefix);
    tr_json_member_string(&w, "s3SseAlgorithm", x->sse.len ? x->sse : TR_VIEW("AES256"));
    put_optional(&w, "s3SseKmsKeyId", x->sse_key);
    tr_json_member_cstring(&w, "manifestFilesS3Key", files_key);
    tr_json_member_u64(&w, "billedSizeBytes", x->bytes);
    tr_json_member_u64(&w, "itemCount", x->items);
    tr_json_member_cstring(&w, "outputFormat", "DYNAMODB_JSON");
    if (x->incremental)
        tr_json_member_cstring(&w, "outputView", "NEW_AND_OLD_IMAGES");
    tr_json_member_cstring(&w, "exportType", x->incremental ? "INCREMENTAL_EXPORT" : "FULL_EXPORT");
    tr_json_end_object(&w);
}

int tr__export_files_finish(tr_export_files *f, tr_error *err)
{
    tr_buf summary;
    int e = flush(f, err);
    if (e == 0)
        e = end_file(f, err);
    if (e == 0)
        e = put_object(f, "manifest-files.json", tr_buf_view(&f->manifest), err);
    if (e == 0)
        e = put_md5(f, "manifest-files.json", tr_buf_view(&f->manifest), err);
    const char *key = e ? NULL : key_of(f, "manifest-files.json");
    if (e == 0 && !key)
        e = tr_fail(err, TR_ENOMEM, "out of memory");
    if (e)
        return e;
    tr_buf_init(&summary, 64 * 1024);
    put_summary(f, &summary, key);
    e = tr_buf_status(&summary) ? tr_fail(err, TR_ENOMEM, "out of memory")
                                : put_object(f, "manifest-summary.json", tr_buf_view(&summary), err);
    if (e == 0)
        e = put_md5(f, "manifest-summary.json", tr_buf_view(&summary), err);
    tr_buf_done(&summary);
    return e;
}
