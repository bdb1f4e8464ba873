/* SPDX-License-Identifier: MIT */
#include "api/events.h"

/*
 * tailrace's own operations on the rows of an archive. All take a selection,
 *
 *   {"ArchiveName", "After": id, "StartTime", "EndTime": seconds, "Log", "Type", "EventPattern"}
 *
 * QueryArchive: a page of events by id.
 *   "Limit"  -> {"Events": [{"id", "createdAt", "log", "type", "event"}], "After": id}, without After at the
 *               end; a page may be empty before that
 *   "Count": true  -> {"EventCount", "SizeBytes"} instead; the pattern is not looked at
 * ImportArchive: adds events that match the archive's own pattern and are not there yet, by time and id.
 *   "Events": [envelope, …]  -> {"ImportedCount", "KnownCount": of those that are}
 * PruneArchive: deletes the selection, what its retention no longer keeps if nothing is selected.
 *   -> {"PrunedCount", "More": whether to call again}
 */

#define LIMIT_MAX  1000
#define BYTES_MAX  ((size_t)4 * 1024 * 1024) /* of a page */
#define PRUNE_MAX  10000                     /* rows of a call, so that others need not wait long */
#define IMPORT_MAX 1000

typedef struct query_request {
    tr_view name, log, type, pattern;
    tr_list events; /* of import_event; only the list's text is looked at */
    tr_int after, from, to, limit;
    tr_bool count;
} query_request;

#define SELECTION                                                                                            \
    TR_E_NAME(query_request, name, "ArchiveName", 48),                                                       \
        TR_MEMBER(query_request, after, "After", TR_K_LONG, .rules = TR_R_MIN, .min = 0),                    \
        TR_MEMBER(query_request, from, "StartTime", TR_K_LONG, .rules = TR_R_MIN, .min = 0),                 \
        TR_MEMBER(query_request, to, "EndTime", TR_K_LONG, .rules = TR_R_MIN, .min = 0),                     \
        TR_MEMBER(query_request, log, "Log", TR_K_STRING, .rules = 0),                                       \
        TR_MEMBER(query_request, type, "Type", TR_K_STRING, .rules = 0),                                     \
        TR_MEMBER(query_request, pattern, "EventPattern", TR_K_STRING, .rules = TR_R_MAX, .max = 4096)

static const tr_member query_members[] = {
    SELECTION,
    TR_MEMBER(query_request, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = LIMIT_MAX),
    TR_MEMBER(query_request, count, "Count", TR_K_BOOLEAN, .rules = 0),
};
const tr_shape tr__shape_query_archive = TR_SHAPE(query_request, "QueryArchiveRequest", query_members);
static const tr_member prune_members[] = {SELECTION};
const tr_shape tr__shape_prune_archive = TR_SHAPE(query_request, "PruneArchiveRequest", prune_members);
typedef struct import_event {
    tr_view id;
} import_event;
static const tr_member event_members[] = {
    TR_MEMBER(import_event, id, "id", TR_K_STRING, .rules = 0),
};
static const tr_shape event_shape = TR_SHAPE(import_event, "ArchivedEvent", event_members);
static const tr_member import_members[] = {
    TR_E_NAME(query_request, name, "ArchiveName", 48),
    TR_MEMBER(query_request, events, "Events", TR_K_STRUCTS, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,
              .min = 1, .max = IMPORT_MAX, .shape = &event_shape),
};
const tr_shape tr__shape_import_archive = TR_SHAPE(query_request, "ImportArchiveRequest", import_members);

static int64_t milliseconds(const tr_int *seconds)
{
    return seconds->given && seconds->value < INT64_MAX / 1000 ? seconds->value * 1000 : 0;
}

/* The archive, and which of its rows. The pattern is to be freed. */
static int select_rows(tr_call *c, const query_request *r, tr_res **ret_archive, tr_archive_filter *filter,
                       tr_pattern **ret_pattern)
{
    tr_error err = {0};
    *ret_pattern = NULL;
    *ret_archive = tr_bus_find(c->api->bus, TR_RES_ARCHIVE, r->name);
    if (!*ret_archive)
        return tr__fail(c, 400, TR_NOT_FOUND_EXCEPTION, "Archive %.*s does not exist.", TR_FMT(r->name));
    int e = r->pattern.len ? tr_pattern_compile(r->pattern, NULL, ret_pattern, &err) : 0;
    if (e)
        return tr__fail_bus(c, e, &err);
    *filter = (tr_archive_filter){.after = r->after.value,
                                  .from_ms = milliseconds(&r->from),
                                  .to_ms = milliseconds(&r->to),
                                  .log = r->log,
                                  .type = r->type,
                                  .pattern = *ret_pattern};
    return 0;
}

/* ------------------------------------------------------------------------------------------------- query */

typedef struct answer {
    tr_call *c;
    int64_t last; /* of a page that became too large */
} answer;

static int put_event(void *ctx, const tr_archive_row *row)
{
    answer *a = ctx;
    tr_json_writer *w = &a->c->w;
    a->last = row->id;
    if (!tr__is_json_object(a->c, row->event))
        return 0; /* a line of a file from elsewhere */
    tr_json_begin_object(w);
    tr_json_member_i64(w, "id", row->id);
    tr_json_member_string(w, "createdAt", row->created_at);
    tr_json_member_string(w, "log", row->log);
    tr_json_member_string(w, "type", row->type);
    tr_json_name(w, "event");
    tr_json_value(w, row->event);
    tr_json_end_object(w);
    return w->out->len > BYTES_MAX ? TR_ECANCELED : tr_buf_status(w->out);
}

static int write_count(tr_call *c, tr_res *archive, const tr_archive_filter *filter, tr_error *err)
{
    int64_t events, bytes;
    int e = tr_archive_count(c->api->bus, archive, filter, &events, &bytes, err);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_member_i64(&c->w, "EventCount", events);
    tr_json_member_i64(&c->w, "SizeBytes", bytes);
    tr_json_end_object(&c->w);
    return 0;
}

static int write_page(tr_call *c, tr_res *archive, const tr_archive_filter *filter, unsigned limit,
                      tr_error *err)
{
    answer a = {.c = c};
    int64_t next = 0;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Events");
    tr_json_begin_array(&c->w);
    int e = tr_archive_read(c->api->bus, archive, filter, limit, put_event, &a, &next, err);
    if (e && e != TR_ECANCELED)
        return e;
    tr_json_end_array(&c->w);
    if (e || next)
        tr_json_member_i64(&c->w, "After", e ? a.last : next);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_query_archive(tr_call *c, void *request)
{
    const query_request *r = request;
    tr_error err = {0};
    tr_res *archive;
    tr_archive_filter filter = {.after = 0};
    tr_pattern *pattern = NULL;
    int e = select_rows(c, r, &archive, &filter, &pattern);
    if (e)
        return e;
    e = r->count.value
            ? write_count(c, archive, &filter, &err)
            : write_page(c, archive, &filter, r->limit.given ? (unsigned)r->limit.value : 100, &err);
    tr_pattern_free(pattern);
    return e ? tr__fail(c, 500, "InternalException", "%s", err.message) : 0;
}

/* ------------------------------------------------------------------------------------------ import, prune */

int tr__op_import_archive(tr_call *c, void *request)
{
    const query_request *r = request;
    tr_error err = {0};
    tr_view *events;
    size_t count;
    tr_archive_imported counts;
    tr_res *archive = tr_bus_find(c->api->bus, TR_RES_ARCHIVE, r->name);
    if (!archive)
        return tr__fail(c, 400, TR_NOT_FOUND_EXCEPTION, "Archive %.*s does not exist.", TR_FMT(r->name));
    if (tr_doc_elements(r->events.raw, c->arena, &events, &count))
        return tr__fail(c, 500, "InternalException", "%s", tr_strerror(TR_ENOMEM));
    for (size_t i = 0; i < count; i++)
        if (tr_pattern_check_event(events[i], &err))
            return tr__fail(c, 400, "ValidationException",
                            "Parameter Events is not valid. Reason: Number %zu is not an event.", i);
    if (tr_archive_import(c->api->bus, archive, events, count, &counts, &err))
        return tr__fail(c, 500, "InternalException", "%s", err.message);
    tr_json_begin_object(&c->w);
    tr_json_member_u64(&c->w, "ImportedCount", counts.taken);
    tr_json_member_u64(&c->w, "KnownCount", counts.known);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_prune_archive(tr_call *c, void *request)
{
    const query_request *r = request;
    tr_error err = {0};
    tr_res *archive;
    tr_archive_filter filter = {.after = 0};
    tr_pattern *pattern = NULL;
    uint64_t count = 0;
    int e = select_rows(c, r, &archive, &filter, &pattern);
    if (e)
        return e;
    bool nothing = !filter.from_ms && !filter.to_ms && !filter.log.ptr && !filter.type.ptr && !pattern;
    if (nothing)
        filter.to_ms = tr_archive_horizon(c->api->bus, archive);
    if (!nothing || filter.to_ms)
        e = tr_archive_prune(c->api->bus, archive, &filter, PRUNE_MAX, &count, &err);
    tr_pattern_free(pattern);
    if (e)
        return tr__fail(c, 500, "InternalException", "%s", err.message);
    tr_json_begin_object(&c->w);
    tr_json_member_u64(&c->w, "PrunedCount", count);
    tr_json_member_bool(&c->w, "More", count == PRUNE_MAX);
    tr_json_end_object(&c->w);
    return 0;
}
