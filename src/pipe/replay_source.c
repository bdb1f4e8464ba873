/* SPDX-License-Identifier: MIT */
/* Events of an archive's file, and of an archive of tailrace's server. Both go by id. */
#include "pipe/replay.h"

/* Bytes of a page's events, one larger event aside: what is in memory, and what a target may have under way.
 */
#define PAGE_BYTES ((size_t)8 << 20)

static int add_row(tr__replay_page *page, int64_t id, tr_view event)
{
    tr_view copy = tr_arena_copy(&page->arena, event);
    tr__replay_row *row = copy.ptr ? tr__replay_add(page) : NULL;
    if (!row)
        return TR_ENOMEM;
    *row = (tr__replay_row){.id = id, .event = copy};
    page->next = id;
    return 0;
}

/* -------------------------------------------------------------------------------------------------- files */

static tr_archive_filter filter_of(const tr_replay *r)
{
    return (tr_archive_filter){.after = r->position.after,
                               .from_ms = r->options.from_ms,
                               .to_ms = r->options.to_ms,
                               .log = r->options.log,
                               .type = r->options.type};
}

static int open_file(tr_replay *r, tr_error *err)
{
    tr_archive_filter filter = filter_of(r);
    int64_t count, bytes;
    int e = tr_archive_file_open(r->archive, TR_ARCHIVE_READ, &r->file, err);
    filter.after = 0;
    if (!e)
        e = tr_archive_file_count(r->file, &filter, &count, &bytes, err);
    if (!e)
        r->total = (uint64_t)count;
    return e;
}

static int on_row(void *ctx, const tr_archive_row *row)
{
    tr__replay_page *page = ctx;
    int e = add_row(page, row->id, row->event);
    return e ? e : page->arena.used > PAGE_BYTES ? TR_ECANCELED : 0;
}

static int read_file(tr_replay *r, tr__replay_page *page, tr_error *err)
{
    const tr_archive_filter filter = filter_of(r);
    int e = tr_archive_file_read(r->file, &filter, TR__REPLAY_PAGE, on_row, page, NULL, err);
    if (e == TR_ECANCELED)
        return 0; /* full */
    page->end = page->count < TR__REPLAY_PAGE;
    return e == TR_ENOMEM ? tr_fail(err, e, "%s", tr_strerror(e)) : e;
}

static int close_file(tr_replay *r, bool complete, tr_error *err)
{
    (void)complete;
    (void)err;
    tr_archive_file_close(r->file);
    r->file = NULL;
    return 0;
}

const tr__replay_source tr__replay_source_file = {.open = open_file, .read = read_file, .close = close_file};

/* ------------------------------------------------------------------------------------------------- servers
 */

static int query(tr_replay *r, bool count, tr_buf *ret_answer, tr_error *err)
{
    tr_buf body;
    tr_json_writer w;
    tr_buf_init(&body, 65536);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "ArchiveName", r->archive);
    if (r->options.from_ms)
        tr_json_member_i64(&w, "StartTime", r->options.from_ms / 1000);
    if (r->options.to_ms)
        tr_json_member_i64(&w, "EndTime", r->options.to_ms / 1000);
    if (r->log)
        tr_json_member_cstring(&w, "Log", r->log);
    if (r->type)
        tr_json_member_cstring(&w, "Type", r->type);
    if (count) {
        tr_json_member_bool(&w, "Count", true);
    } else {
        tr_json_member_i64(&w, "After", r->position.after);
        tr_json_member_i64(&w, "Limit", TR__REPLAY_PAGE);
    }
    tr_json_end_object(&w);
    return tr__replay_call(r->options.from_client, TR_EVENTS, "QueryArchive", &body, ret_answer, err);
}

static int64_t number_of(tr_view answer, const char *name, tr_arena *arena)
{
    uint64_t number = 0;
    tr_view raw = tr__replay_raw(answer, name, arena);
    return raw.ptr && tr_view_to_u64(raw, INT64_MAX, &number) == 0 ? (int64_t)number : 0;
}

static int open_server(tr_replay *r, tr_error *err)
{
    tr_buf answer;
    tr_arena arena;
    tr_buf_init(&answer, TR__REPLAY_TEXT_MAX);
    tr_arena_init(&arena, 65536);
    int e = query(r, true, &answer, err);
    if (!e)
        r->total = (uint64_t)number_of(tr_buf_view(&answer), "EventCount", &arena);
    else if (e == TR_ESERVICE && err && strcmp(err->type, "UnknownOperationException") == 0)
        (void)tr_fail(err, e, "the server at %s is not tailrace's: it cannot be asked for archived events",
                      tr_client_endpoint(r->options.from_client, TR_EVENTS));
    tr_arena_done(&arena);
    tr_buf_done(&answer);
    return e;
}

static int add_event(tr__replay_page *page, tr_view row)
{
    tr_arena arena;
    tr_arena_init(&arena, 2 * row.len + 65536);
    int64_t id = number_of(row, "id", &arena);
    tr_view event = tr__replay_raw(row, "event", &arena);
    int e = event.ptr ? add_row(page, id, event) : TR_EPARSE;
    tr_arena_done(&arena);
    return e;
}

static int read_answer(tr__replay_page *page, tr_view answer, tr_error *err)
{
    tr_arena arena;
    tr_json_reader reader;
    tr_view row, list;
    tr_arena_init(&arena, TR__REPLAY_TEXT_MAX);
    list = tr__replay_raw(answer, "Events", &arena);
    int e = list.ptr ? 0 : TR_EPARSE;
    if (!e) {
        tr_json_init(&reader, list, &arena);
        (void)tr_json_next(&reader);
        while (!e && tr_json_next(&reader) == TR_JSON_OBJECT) {
            e = tr_json_raw(&reader, &row);
            if (!e)
                e = add_event(page, row);
        }
    }
    int64_t next = number_of(answer, "After", &arena);
    if (next)
        page->next = next;
    page->end = next == 0;
    tr_arena_done(&arena);
    return e ? tr_fail(err, e, "QueryArchive: %s", tr_strerror(e)) : 0;
}

static int read_server(tr_replay *r, tr__replay_page *page, tr_error *err)
{
    tr_buf answer;
    tr_buf_init(&answer, TR__REPLAY_TEXT_MAX);
    int e = query(r, false, &answer, err);
    if (!e)
        e = read_answer(page, tr_buf_view(&answer), err);
    tr_buf_done(&answer);
    return e;
}

static int close_server(tr_replay *r, bool complete, tr_error *err)
{
    (void)r;
    (void)complete;
    (void)err;
    return 0;
}

const tr__replay_source tr__replay_source_server = {
    .open = open_server, .read = read_server, .close = close_server};
