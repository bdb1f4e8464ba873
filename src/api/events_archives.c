/* SPDX-License-Identifier: MIT */
#include "api/events.h"

/* Archives: CreateArchive, UpdateArchive, DescribeArchive, ListArchives, DeleteArchive. */

typedef struct archive_request {
    tr_view name, source, description, pattern;
    tr_int retention;
} archive_request;

#define MORE                                                                                                 \
    TR_E_TEXT(archive_request, description, "Description", 512),                                             \
        TR_E_TEXT(archive_request, pattern, "EventPattern", 4096),                                           \
        TR_MEMBER(archive_request, retention, "RetentionDays", TR_K_INTEGER, .rules = TR_R_MIN, .min = 0)

static const tr_member create_members[] = {TR_E_NAME(archive_request, name, "ArchiveName", 48),
                                           TR_E_ARN(archive_request, source, "EventSourceArn"), MORE};
const tr_shape tr__shape_create_archive = TR_SHAPE(archive_request, "CreateArchiveRequest", create_members);
static const tr_member update_members[] = {TR_E_NAME(archive_request, name, "ArchiveName", 48), MORE};
const tr_shape tr__shape_update_archive = TR_SHAPE(archive_request, "UpdateArchiveRequest", update_members);
static const tr_member name_members[] = {TR_E_NAME(archive_request, name, "ArchiveName", 48)};
const tr_shape tr__shape_describe_archive = TR_SHAPE(archive_request, "DescribeArchiveRequest", name_members);
const tr_shape tr__shape_delete_archive = TR_SHAPE(archive_request, "DeleteArchiveRequest", name_members);
static const tr_member list_members[] = {
    TR_E_LIST(48, "[ENABLED, DISABLED, CREATING, UPDATING, CREATE_FAILED, UPDATE_FAILED]")};
const tr_shape tr__shape_list_archives = TR_SHAPE(tr_page_request, "ListArchivesRequest", list_members);

static int find(tr_call *c, tr_view name, tr_res **ret_archive)
{
    return tr__find_res(c, TR_RES_ARCHIVE, "Archive", name, ret_archive);
}

static void text_or_old(tr_json_writer *w, const char *name, tr_view text, tr_view old)
{
    if (text.ptr)
        tr_json_member_string(w, name, text);
    else
        tr__doc_member(w, old, name);
}

static int put(tr_call *c, const archive_request *r, tr_view source, tr_view old)
{
    tr_buf doc;
    tr_json_writer w;
    tr__doc_begin(&w, &doc);
    tr_json_member_string(&w, "ArchiveName", r->name);
    tr_json_name(&w, "ArchiveArn");
    tr_json_sep(&w);
    tr_buf_printf(&doc, "\"arn:aws:events:%s:%s:archive/%.*s\"", c->api->region, TR_BUS_ACCOUNT,
                  TR_FMT(r->name));
    tr_json_member_string(&w, "EventSourceArn", source);
    text_or_old(&w, "Description", r->description, old);
    text_or_old(&w, "EventPattern", r->pattern, old);
    tr_json_member_cstring(&w, "State", "ENABLED");
    tr_json_member_i64(&w, "RetentionDays",
                       r->retention.given ? r->retention.value : tr_doc_int(old, "RetentionDays", 0));
    tr_json_member_i64(&w, "CreationTime", tr_doc_int(old, "CreationTime", tr_engine_now_ms(c->engine)));
    tr_json_end_object(&w);
    int e = tr__doc_put(c, TR_RES_ARCHIVE, r->name, &doc);
    if (e)
        return e;
    const tr_res *archive = tr_bus_find(c->api->bus, TR_RES_ARCHIVE, r->name);
    tr_json_begin_object(&c->w);
    tr__doc_member(&c->w, archive->doc, "ArchiveArn");
    tr__doc_member(&c->w, archive->doc, "State");
    tr__doc_time(&c->w, archive->doc, "CreationTime");
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_create_archive(tr_call *c, void *request)
{
    const archive_request *r = request;
    tr_res *bus;
    if (tr_bus_find(c->api->bus, TR_RES_ARCHIVE, r->name))
        return tr__fail(c, 400, TR_EXISTS_EXCEPTION, "Archive %.*s already exists.", TR_FMT(r->name));
    int e = tr__find_bus(c, r->source, &bus);
    return e ? e : put(c, r, r->source, (tr_view){NULL, 0});
}

int tr__op_update_archive(tr_call *c, void *request)
{
    const archive_request *r = request;
    tr_res *archive;
    int e = find(c, r->name, &archive);
    if (e)
        return e;
    return put(c, r, tr_doc_text(archive->doc, "EventSourceArn", c->arena), archive->doc);
}

static int write_archive(tr_call *c, tr_res *archive, bool describe)
{
    const tr_archive_filter all = {.after = 0};
    int64_t events, bytes;
    tr_error err;
    int e = tr_archive_count(c->api->bus, archive, &all, &events, &bytes, &err);
    if (e)
        return tr__fail(c, 500, "InternalException", "%s", err.message);
    tr_json_begin_object(&c->w);
    tr__doc_member(&c->w, archive->doc, "ArchiveName");
    tr__doc_member(&c->w, archive->doc, "EventSourceArn");
    tr__doc_member(&c->w, archive->doc, "State");
    if (describe) {
        tr__doc_member(&c->w, archive->doc, "ArchiveArn");
        tr__doc_member(&c->w, archive->doc, "Description");
        tr__doc_member(&c->w, archive->doc, "EventPattern");
    }
    tr__doc_member(&c->w, archive->doc, "RetentionDays");
    tr_json_member_i64(&c->w, "SizeBytes", bytes);
    tr_json_member_i64(&c->w, "EventCount", events);
    tr__doc_time(&c->w, archive->doc, "CreationTime");
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_describe_archive(tr_call *c, void *request)
{
    tr_res *archive;
    int e = find(c, ((archive_request *)request)->name, &archive);
    return e ? e : write_archive(c, archive, true);
}

static int write_listed(tr_call *c, tr_res *archive)
{
    return write_archive(c, archive, false);
}

int tr__op_list_archives(tr_call *c, void *request)
{
    static const tr_listing archives = {.kind = TR_RES_ARCHIVE, .member = "Archives", .write = write_listed};
    return tr__list(c, request, &archives);
}

int tr__op_delete_archive(tr_call *c, void *request)
{
    tr_res *archive;
    int e = find(c, ((archive_request *)request)->name, &archive);
    if (e)
        return e;
    tr_bus_delete(c->api->bus, archive);
    tr_json_begin_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}
