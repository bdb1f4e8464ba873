/* SPDX-License-Identifier: MIT */
/* Events by what they are: a query of one run, or a scan of the table. */
#include "client/query.h"
#include "log/internal.h"

#include <inttypes.h>
#include <stdio.h>

#define LINE_MAX_ ((size_t)16 << 20)

static void put_text(tr_json_writer *w, const char *name, tr_view text)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_string(w, "S", text);
    tr_json_end_object(w);
}

/* "#type IN (:t0, :t1)" */
static void put_types(tr_buf *out, const tr_log_query *q)
{
    tr_buf_put_str(out, "#type IN (");
    for (size_t i = 0; i < q->type_count; i++)
        tr_buf_printf(out, "%s:t%zu", i ? ", " : "", i);
    tr_buf_putc(out, ')');
}

static void write_names(tr_json_writer *w, const tr_log_query *q, bool one)
{
    tr_json_name(w, "ExpressionAttributeNames");
    tr_json_begin_object(w);
    if (one)
        tr_json_member_cstring(w, "#pk", TR_LOG_PK);
    if (one && q->after)
        tr_json_member_cstring(w, "#sk", TR_LOG_SK);
    if (!one && q->log.len)
        tr_json_member_cstring(w, "#log", TR_LOG_LOG);
    if (q->type_count)
        tr_json_member_cstring(w, "#type", TR_LOG_TYPE);
    tr_json_end_object(w);
}

static void write_values(tr_json_writer *w, const tr_log_query *q, bool one)
{
    char name[24];
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    if (one) {
        tr_json_name(w, ":pk");
        tr_json_begin_object(w);
        tr_json_name(w, "S");
        tr__log_put_pk(w->out, q->log, q->id);
        tr_json_end_object(w);
    }
    if (one && q->after) {
        (void)snprintf(name, sizeof name, "%" PRIu64, q->after);
        tr_json_name(w, ":after");
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "N", name);
        tr_json_end_object(w);
    }
    if (!one && q->log.len)
        put_text(w, ":log", q->log);
    for (size_t i = 0; i < q->type_count; i++) {
        (void)snprintf(name, sizeof name, ":t%zu", i);
        put_text(w, name, q->types[i]);
    }
    tr_json_end_object(w);
}

static void write_request(tr_json_writer *w, const tr_log_query *q, bool one)
{
    tr_buf filter;
    tr_buf_init(&filter, 4096);
    if (!one && q->log.len)
        tr_buf_put_str(&filter, "#log = :log");
    if (q->type_count) {
        tr_buf_put_str(&filter, filter.len ? " AND " : "");
        put_types(&filter, q);
    }
    tr_json_member_cstring(w, "TableName", tr__log_table(q->table));
    tr_json_member_bool(w, "ConsistentRead", true);
    if (one)
        tr_json_member_cstring(w, "KeyConditionExpression",
                               !q->after    ? "#pk = :pk"
                               : q->reverse ? "#pk = :pk AND #sk < :after"
                                            : "#pk = :pk AND #sk > :after");
    if (one && q->reverse)
        tr_json_member_bool(w, "ScanIndexForward", false);
    if (filter.len)
        tr_json_member_string(w, "FilterExpression", tr_buf_view(&filter));
    if (one || filter.len) {
        write_names(w, q, one);
        write_values(w, q, one);
    }
    tr_buf_done(&filter);
}

bool tr_log_query_matches(const tr_log_query *q, tr_match_ctx *match, const tr_log_event *event)
{
    bool found = q->type_count == 0;
    for (size_t i = 0; !found && i < q->type_count; i++)
        found = tr_view_eq(q->types[i], event->type);
    if (!found || (q->log.len && !tr_view_eq(q->log, event->log)) ||
        (q->id.len && !tr_view_eq(q->id, event->id)))
        return false;
    if (!q->pattern)
        return true;
    tr_buf line;
    tr_json_writer w;
    tr_buf_init(&line, LINE_MAX_);
    tr_json_write_init(&w, &line);
    tr_log_event_write(&w, event);
    found = tr_buf_status(&line) == 0 &&
            tr_pattern_match(q->pattern, match, tr_buf_view(&line), &found, NULL) == 0 && found;
    tr_buf_done(&line);
    return found;
}

typedef struct finding {
    const tr_log_query *query;
    tr_match_ctx *match;
    tr_log_event_fn *fn;
    void *ctx;
    uint64_t found;
    bool one, enough;
} finding;

static int on_item(void *ctx, tr_item item, tr_error *err)
{
    finding *f = ctx;
    tr_log_event event;
    int e = tr_log_event_from_item(item, &event, err);
    if (e)
        return f->one ? e : 0;
    if (!tr_log_query_matches(f->query, f->match, &event))
        return 0;
    e = f->fn(f->ctx, &event);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    f->enough = ++f->found == f->query->limit;
    return f->enough ? TR_ECANCELED : 0;
}

int tr_log_find(tr_client *client, const tr_log_query *q, tr_log_event_fn *fn, void *ctx, tr_error *err)
{
    tr__query query;
    finding f = {.query = q, .fn = fn, .ctx = ctx, .one = q->log.len && q->id.len};
    if (q->log.len > TR_LOG_NAME_MAX || q->id.len > TR_LOG_NAME_MAX || q->type_count > TR_LOG_TYPES_MAX)
        return tr_fail(err, TR_ELIMIT, "log or id is too long, or there are too many types");
    if (q->pattern && tr_match_ctx_new(NULL, &f.match))
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr__query_init(&query, f.one ? "Query" : "Scan", 0);
    write_request(&query.writer, q, f.one);
    int e = tr__query_wait(client, &query, on_item, &f, err);
    tr__query_done(&query);
    tr_match_ctx_free(f.match);
    return f.enough ? 0 : e;
}

int tr_log_event_from_record(const tr_record *record, tr_log_event *ret_event)
{
    if (record->event == TR_REMOVE || !record->has_new)
        return TR_ENOTFOUND;
    return tr_log_event_from_item(record->new_image, ret_event, NULL) ? TR_ENOTFOUND : 0;
}
