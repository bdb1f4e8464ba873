/* SPDX-License-Identifier: MIT */
#include "api/events.h"

/*
 * QueryArchive: tailrace's own operation, a page of an archive's events by id.
 *
 *   {"ArchiveName", "After": id, "StartTime", "EndTime": seconds, "Log", "Type", "Limit"}
 *   -> {"Events": [{"id", "createdAt", "log", "type", "event"}], "After": id}, without After at the end
 */

#define LIMIT_MAX 1000
#define BYTES_MAX ((size_t)4 * 1024 * 1024) /* of a page */

typedef struct query_request {
    tr_view name, log, type;
    tr_int after, from, to, limit;
} query_request;

static const tr_member query_members[] = {
    TR_E_NAME(query_request, name, "ArchiveName", 48),
    TR_MEMBER(query_request, after, "After", TR_K_LONG, .rules = TR_R_MIN, .min = 0),
    TR_MEMBER(query_request, from, "StartTime", TR_K_LONG, .rules = TR_R_MIN, .min = 0),
    TR_MEMBER(query_request, to, "EndTime", TR_K_LONG, .rules = TR_R_MIN, .min = 0),
    TR_MEMBER(query_request, log, "Log", TR_K_STRING, .rules = 0),
    TR_MEMBER(query_request, type, "Type", TR_K_STRING, .rules = 0),
    TR_MEMBER(query_request, limit, "Limit", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = LIMIT_MAX),
};
const tr_shape tr__shape_query_archive = TR_SHAPE(query_request, "QueryArchiveRequest", query_members);

typedef struct answer {
    tr_call *c;
    const query_request *r;
    int64_t last;
    unsigned seen;
} answer;

static int put_event(void *ctx, const tr_archive_event *event)
{
    answer *a = ctx;
    tr_json_writer *w = &a->c->w;
    a->last = event->id;
    a->seen++;
    if ((a->r->log.ptr && !tr_view_eq(a->r->log, event->log)) ||
        (a->r->type.ptr && !tr_view_eq(a->r->type, event->type)))
        return 0;
    if (!tr__is_json_object(a->c, event->event))
        return 0; /* a line of a file from elsewhere */
    tr_json_begin_object(w);
    tr_json_member_i64(w, "id", event->id);
    tr_json_member_string(w, "createdAt", event->created_at);
    tr_json_member_string(w, "log", event->log);
    tr_json_member_string(w, "type", event->type);
    tr_json_name(w, "event");
    tr_json_value(w, event->event);
    tr_json_end_object(w);
    return w->out->len > BYTES_MAX ? TR_ECANCELED : tr_buf_status(w->out);
}

int tr__op_query_archive(tr_call *c, void *request)
{
    const query_request *r = request;
    tr_error err;
    answer a = {.c = c, .r = r};
    tr_res *archive = tr_bus_find(c->api->bus, TR_RES_ARCHIVE, r->name);
    if (!archive)
        return tr__fail(c, 400, TR_NOT_FOUND_EXCEPTION, "Archive %.*s does not exist.", TR_FMT(r->name));
    const tr_archive_query query = {.after = r->after.value,
                                    .from_ms = r->from.value < INT64_MAX / 1000 ? r->from.value * 1000 : 0,
                                    .to_ms = r->to.value < INT64_MAX / 1000 ? r->to.value * 1000 : 0,
                                    .limit = r->limit.given ? (unsigned)r->limit.value : 100};
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Events");
    tr_json_begin_array(&c->w);
    int e = tr_archive_read(c->api->bus, archive, &query, put_event, &a, &err);
    if (e && e != TR_ECANCELED)
        return tr__fail(c, 500, "InternalException", "%s", err.message);
    tr_json_end_array(&c->w);
    if (e == TR_ECANCELED || a.seen == query.limit)
        tr_json_member_i64(&c->w, "After", a.last);
    tr_json_end_object(&c->w);
    return 0;
}
