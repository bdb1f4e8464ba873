/* SPDX-License-Identifier: MIT */
#include "api/events.h"

/* Replays: StartReplay, DescribeReplay, ListReplays, CancelReplay. */

typedef struct destination {
    tr_view arn;
    tr_list filters;
} destination;

typedef struct replay_request {
    tr_view name, description, source;
    tr_int from, to;
    destination *to_bus;
} replay_request;

static const tr_member destination_members[] = {
    TR_E_ARN(destination, arn, "Arn"),
    TR_MEMBER(destination, filters, "FilterArns", TR_K_STRINGS, .rules = 0),
};
static const tr_shape destination_shape = TR_SHAPE(destination, "ReplayDestination", destination_members);
static const tr_member start_members[] = {
    TR_E_NAME(replay_request, name, "ReplayName", 64),
    TR_E_TEXT(replay_request, description, "Description", 512),
    TR_E_ARN(replay_request, source, "EventSourceArn"),
    TR_MEMBER(replay_request, from, "EventStartTime", TR_K_LONG, .rules = 0),
    TR_MEMBER(replay_request, to, "EventEndTime", TR_K_LONG, .rules = 0),
    TR_MEMBER(replay_request, to_bus, "Destination", TR_K_STRUCT, .rules = TR_R_NOT_NULL,
              .shape = &destination_shape),
};
const tr_shape tr__shape_start_replay = TR_SHAPE(replay_request, "StartReplayRequest", start_members);
static const tr_member name_members[] = {TR_E_NAME(replay_request, name, "ReplayName", 64)};
const tr_shape tr__shape_describe_replay = TR_SHAPE(replay_request, "DescribeReplayRequest", name_members);
const tr_shape tr__shape_cancel_replay = TR_SHAPE(replay_request, "CancelReplayRequest", name_members);
static const tr_member list_members[] = {
    TR_E_LIST(64, "[STARTING, RUNNING, CANCELLING, COMPLETED, CANCELLED, FAILED]")};
const tr_shape tr__shape_list_replays = TR_SHAPE(tr_page_request, "ListReplaysRequest", list_members);

static tr_view archive_name(tr_view arn)
{
    size_t at = tr_view_find(arn, TR_VIEW(":archive/"), 0);
    return at == SIZE_MAX ? arn : tr_view_of(arn.ptr + at + 9, arn.len - at - 9);
}

static int check(tr_call *c, const replay_request *r)
{
    tr_view name = archive_name(r->source);
    const tr_res *archive = tr_bus_find(c->api->bus, TR_RES_ARCHIVE, name);
    if (tr_bus_find(c->api->bus, TR_RES_REPLAY, r->name))
        return tr__fail(c, 400, TR_EXISTS_EXCEPTION, "Replay %.*s already exists.", TR_FMT(r->name));
    if (!r->from.given || !r->to.given)
        return tr__fail(c, 400, "ValidationException",
                        "1 validation error detected: Value null at '%s' failed to satisfy constraint: "
                        "Member must not be null",
                        r->from.given ? "eventEndTime" : "eventStartTime");
    if (tr_view_find(r->to_bus->arn, TR_VIEW(":event-bus/"), 0) == SIZE_MAX)
        return tr__fail(c, 400, "ValidationException",
                        "Parameter Destination.Arn is not valid. Reason: Must contain an event bus ARN.");
    if (!archive)
        return tr__fail(c, 400, "ValidationException",
                        "Parameter EventSourceArn is not valid. Reason: Archive %.*s does not exist.",
                        TR_FMT(name));
    if (r->from.value >= r->to.value)
        return tr__fail(
            c, 400, "ValidationException",
            "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.");
    if (!tr_view_eq(tr_doc_text(archive->doc, "EventSourceArn", c->arena), r->to_bus->arn))
        return tr__fail(
            c, 400, "ValidationException",
            "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.");
    return 0;
}

#define TIME_MAX 253402300799 /* the last second of the year 9999 */

static int64_t milliseconds(int64_t seconds)
{
    return seconds < 0 ? 0 : (seconds > TIME_MAX ? TIME_MAX : seconds) * 1000;
}

int tr__op_start_replay(tr_call *c, void *request)
{
    const replay_request *r = request;
    tr_buf doc;
    tr_json_writer w;
    int e = check(c, r);
    if (e)
        return e;
    tr__doc_begin(&w, &doc);
    tr_json_member_string(&w, "ReplayName", r->name);
    tr_json_name(&w, "ReplayArn");
    tr_json_sep(&w);
    tr_buf_printf(&doc, "\"arn:aws:events:%s:%s:replay/%.*s\"", c->api->region, TR_BUS_ACCOUNT,
                  TR_FMT(r->name));
    tr__text_member(&w, "Description", r->description);
    tr_json_member_cstring(&w, "State", "STARTING");
    tr_json_member_string(&w, "EventSourceArn", r->source);
    tr_json_name(&w, "Destination");
    tr_json_begin_object(&w);
    tr_json_member_string(&w, "Arn", r->to_bus->arn);
    if (r->to_bus->filters.count) {
        tr_json_name(&w, "FilterArns");
        tr_json_value(&w, r->to_bus->filters.raw);
    }
    tr_json_end_object(&w);
    tr_json_member_i64(&w, "EventStartTime", milliseconds(r->from.value));
    tr_json_member_i64(&w, "EventEndTime", milliseconds(r->to.value));
    tr_json_member_i64(&w, "ReplayStartTime", tr_engine_now_ms(c->engine));
    tr_json_end_object(&w);
    e = tr__doc_put(c, TR_RES_REPLAY, r->name, &doc);
    if (e)
        return e;
    const tr_res *replay = tr_bus_find(c->api->bus, TR_RES_REPLAY, r->name);
    tr_json_begin_object(&c->w);
    tr__doc_member(&c->w, replay->doc, "ReplayArn");
    tr__doc_member(&c->w, replay->doc, "State");
    tr__doc_time(&c->w, replay->doc, "ReplayStartTime");
    tr_json_end_object(&c->w);
    return 0;
}

static void write_replay(tr_json_writer *w, tr_view doc, bool describe)
{
    tr_json_begin_object(w);
    tr__doc_member(w, doc, "ReplayName");
    tr__doc_member(w, doc, "EventSourceArn");
    tr__doc_member(w, doc, "State");
    if (describe) {
        tr__doc_member(w, doc, "ReplayArn");
        tr__doc_member(w, doc, "Description");
        tr__doc_member(w, doc, "Destination");
    }
    tr__doc_time(w, doc, "EventStartTime");
    tr__doc_time(w, doc, "EventEndTime");
    tr__doc_time(w, doc, "EventLastReplayedTime");
    tr__doc_time(w, doc, "ReplayStartTime");
    tr__doc_time(w, doc, "ReplayEndTime");
    tr_json_end_object(w);
}

static int find(tr_call *c, tr_view name, tr_res **ret_replay)
{
    return tr__find_res(c, TR_RES_REPLAY, "Replay", name, ret_replay);
}

int tr__op_describe_replay(tr_call *c, void *request)
{
    tr_res *replay;
    int e = find(c, ((replay_request *)request)->name, &replay);
    if (e == 0)
        write_replay(&c->w, replay->doc, true);
    return e;
}

static int write_listed(tr_call *c, tr_res *replay)
{
    write_replay(&c->w, replay->doc, false);
    return 0;
}

int tr__op_list_replays(tr_call *c, void *request)
{
    static const tr_listing replays = {.kind = TR_RES_REPLAY, .member = "Replays", .write = write_listed};
    return tr__list(c, request, &replays);
}

int tr__op_cancel_replay(tr_call *c, void *request)
{
    tr_res *replay;
    tr_buf doc;
    int e = find(c, ((replay_request *)request)->name, &replay);
    if (e)
        return e;
    tr_view state = tr_doc_text(replay->doc, "State", c->arena);
    if (!tr_view_is(state, "STARTING") && !tr_view_is(state, "RUNNING"))
        return tr__fail(c, 400, "IllegalStatusException",
                        "Replay %.*s is not in a valid state for this operation.", TR_FMT(replay->name));
    tr_buf_init(&doc, (size_t)4 << 20);
    tr_doc_with(replay->doc, "State", TR_VIEW("\"CANCELLING\""), &doc);
    e = tr__doc_update(c, replay, &doc);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr__doc_member(&c->w, replay->doc, "ReplayArn");
    tr_json_member_cstring(&c->w, "State", "CANCELLING");
    tr_json_end_object(&c->w);
    return 0;
}
