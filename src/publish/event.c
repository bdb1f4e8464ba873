/* SPDX-License-Identifier: MIT */
/* What publishers of events that were on a bus before need: the event as an entry, and whether its bus is
 * there. */
#include <tailrace/publish.h>

#include <tailrace/json.h>

#define BODY_MAX   ((size_t)16 * 1024)
#define ANSWER_MAX ((size_t)4 << 20)

static int take_resources(tr_json_reader *r, tr_arena *arena, tr_publish_entry *entry)
{
    tr_view *list = tr_arena_alloc(arena, TR_PUBLISH_RESOURCES_MAX * sizeof *list);
    if (!list)
        return TR_ENOMEM;
    while (entry->resource_count < TR_PUBLISH_RESOURCES_MAX && tr_json_next(r) == TR_JSON_STRING)
        list[entry->resource_count++] = r->text;
    entry->resources = list;
    return r->token == TR_JSON_ARRAY_END ? 0 : TR_EPARSE;
}

/* The value of a member, whose first token was read. */
static int take_member(tr_json_reader *r, tr_view name, tr_arena *arena, tr_publish_entry *entry,
                       tr_view *time)
{
    tr_view *texts[] = {&entry->source, &entry->detail_type, time};
    static const char *const names[] = {"source", "detail-type", "time"};
    for (size_t i = 0; i < TR_COUNT(names); i++)
        if (tr_view_is(name, names[i])) {
            *texts[i] = r->text;
            return r->token == TR_JSON_STRING ? 0 : TR_EPARSE;
        }
    if (tr_view_is(name, "detail"))
        return tr_json_raw(r, &entry->detail);
    if (!tr_view_is(name, "resources"))
        return tr_json_skip(r);
    return r->token == TR_JSON_ARRAY ? take_resources(r, arena, entry) : TR_EPARSE;
}

int tr_publish_read_event(tr_view event, tr_arena *arena, tr_publish_entry *ret_entry, tr_error *err)
{
    tr_publish_entry entry = {0};
    tr_view time = {NULL, 0};
    tr_json_reader r;
    tr_json_init(&r, event, arena);
    int e = tr_json_next(&r) == TR_JSON_OBJECT ? 0 : TR_EPARSE;
    while (!e && tr_json_next_key(&r)) {
        tr_view name = r.text;
        (void)tr_json_next(&r);
        e = take_member(&r, name, arena, &entry, &time);
    }
    if (e || r.token != TR_JSON_OBJECT_END)
        return tr_fail(
            err, e == TR_ENOMEM ? e : TR_EINVAL,
            "an event is a JSON object, with texts as \"source\" and \"detail-type\", and at most %d "
            "\"resources\"",
            TR_PUBLISH_RESOURCES_MAX);
    if (!entry.source.len || !entry.detail_type.len || !entry.detail.len)
        return tr_fail(err, TR_EINVAL, "an event needs \"source\", \"detail-type\" and \"detail\"");
    entry.has_time = time.ptr && tr_time_parse(time, &entry.time_ms) == 0;
    if (time.ptr && !entry.has_time)
        return tr_fail(err, TR_EINVAL, "time '%.*s' is none such as 2026-01-31T00:00:00Z", TR_FMT(time));
    *ret_entry = entry;
    return 0;
}

int tr_publish_check_bus(tr_client *client, const char *bus, tr_error *err)
{
    tr_buf body, answer;
    tr_json_writer w;
    tr_error found = {0};
    if (!bus || strcmp(bus, "default") == 0)
        return 0;
    tr_buf_init(&body, BODY_MAX);
    tr_buf_init(&answer, ANSWER_MAX);
    tr_json_write_init(&w, &body);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "Name", bus);
    tr_json_end_object(&w);
    const tr_request request = {
        .service = TR_EVENTS, .operation = "DescribeEventBus", .body = tr_buf_view(&body)};
    int e = tr_buf_status(&body);
    e = e ? e : tr_client_call_wait(client, &request, &answer, &found);
    tr_buf_done(&body);
    tr_buf_done(&answer);
    return e == TR_ENOTFOUND ? tr_fail(err, e, "there is no bus %s at %s: make it with 'tailrace bus create'",
                                       bus, tr_client_endpoint(client, TR_EVENTS))
                             : 0;
}
