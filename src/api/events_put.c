/* SPDX-License-Identifier: MIT */
#include "api/events.h"

/* PutEvents, TestEventPattern. */

#define TIME_SIZE 14 /* what an entry's Time counts */

typedef struct put_entry {
    tr_view source, detail_type, detail, bus, trace;
    tr_int time;
    tr_list resources;
} put_entry;

typedef struct put_request {
    tr_list entries;
    tr_view endpoint;
    /* tailrace's own: the entries come with a replay, and go to these rules */
    tr_view replay_name;
    tr_list filters;
} put_request;

static const tr_member entry_members[] = {
    TR_MEMBER(put_entry, time, "Time", TR_K_LONG, .rules = 0),
    TR_MEMBER(put_entry, source, "Source", TR_K_STRING, .rules = 0),
    TR_MEMBER(put_entry, resources, "Resources", TR_K_STRINGS, .rules = 0),
    TR_MEMBER(put_entry, detail_type, "DetailType", TR_K_STRING, .rules = 0),
    TR_MEMBER(put_entry, detail, "Detail", TR_K_STRING, .rules = 0),
    TR_E_BUS(put_entry, bus),
    TR_E_TEXT(put_entry, trace, "TraceHeader", 500),
};
static const tr_shape entry_shape = TR_SHAPE(put_entry, "PutEventsRequestEntry", entry_members);
static const tr_member put_members[] = {
    TR_MEMBER(put_request, entries, "Entries", TR_K_STRUCTS, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX,
              .min = 1, .max = 10, .shape = &entry_shape),
    TR_E_TEXT(put_request, endpoint, "EndpointId", 50),
    TR_E_TEXT(put_request, replay_name, "ReplayName", 64),
    TR_MEMBER(put_request, filters, "FilterArns", TR_K_STRINGS, .rules = 0),
};
const tr_shape tr__shape_put_events = TR_SHAPE(put_request, "PutEventsRequest", put_members);

static size_t size_of(const put_entry *e)
{
    size_t size = (e->time.given ? TIME_SIZE : 0) + e->source.len + e->detail_type.len + e->detail.len;
    for (uint32_t i = 0; i < e->resources.count; i++)
        size += ((const tr_view *)e->resources.items)[i].len;
    return size;
}

static int refuse(tr_call *c, const char *code, const char *format, const char *what)
{
    tr_buf_reset(c->text);
    tr_buf_printf(c->text, format, what, what);
    tr_json_begin_object(&c->w);
    tr_json_member_cstring(&c->w, "ErrorCode", code);
    tr_json_member_string(&c->w, "ErrorMessage", tr_buf_view(c->text));
    tr_json_end_object(&c->w);
    return 1;
}

/* 1: refused, and the entry's answer is written. */
static int check_entry(tr_call *c, const put_request *r, const put_entry *e)
{
    static const char missing[] = "Parameter %s is not valid. Reason: %s is a required argument.";
    if (!e->source.len)
        return refuse(c, "InvalidArgument", missing, "Source");
    if (!e->detail_type.len)
        return refuse(c, "InvalidArgument", missing, "DetailType");
    if (!e->detail.len)
        return refuse(c, "InvalidArgument", missing, "Detail");
    if (tr_view_starts(e->source, TR_VIEW("aws.")) && !r->replay_name.len)
        return refuse(c, "NotAuthorizedForSourceException", "Not authorized for the source.", "");
    if (!tr__is_json_object(c, e->detail))
        return refuse(c, "MalformedDetail", "Detail is malformed.", "");
    return 0;
}

static int put_one(tr_call *c, const put_request *r, const put_entry *e, bool *ret_failed)
{
    char id[TR_UUID_LEN + 1];
    tr_error err;
    *ret_failed = check_entry(c, r, e) != 0;
    if (*ret_failed)
        return 0;
    err.type[0] = 0;
    const tr_bus_entry entry = {.source = e->source,
                                .detail_type = e->detail_type,
                                .detail = e->detail,
                                .resources = e->resources.raw,
                                .time_ms = e->time.given ? e->time.value * 1000 : tr_engine_now_ms(c->engine),
                                .replay_name = r->replay_name,
                                .filters = r->filters.raw};
    int code = tr_bus_publish(c->api->bus, tr__bus_name(e->bus), &entry, id, &err);
    if (code == TR_ETHROTTLED) {
        *ret_failed = true;
        (void)refuse(c, "ThrottlingException", "%s", err.message);
        return 0;
    }
    if (code)
        return tr__fail_bus(c, code, &err);
    tr_json_begin_object(&c->w);
    tr_json_member_cstring(&c->w, "EventId", id);
    tr_json_end_object(&c->w);
    return 0;
}

#define TIME_MAX 253402300799 /* the last second of the year 9999 */

int tr__op_put_events(tr_call *c, void *request)
{
    const put_request *r = request;
    const put_entry *entries = r->entries.items;
    size_t size = 0, failed = 0;
    for (uint32_t i = 0; i < r->entries.count; i++) {
        size += size_of(&entries[i]);
        if (entries[i].time.given && (entries[i].time.value < 0 || entries[i].time.value > TIME_MAX))
            return tr__fail(c, 400, "ValidationException", "Parameter Time is not valid.");
    }
    if (size > c->api->put_events_bytes)
        return tr__fail(c, 400, "ValidationException",
                        "Total size of the entries in the request is over the limit.");
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Entries");
    tr_json_begin_array(&c->w);
    for (uint32_t i = 0; i < r->entries.count; i++) {
        bool bad;
        int e = put_one(c, r, &entries[i], &bad);
        if (e)
            return e;
        failed += bad;
    }
    tr_json_end_array(&c->w);
    tr_json_member_u64(&c->w, "FailedEntryCount", failed);
    tr_json_end_object(&c->w);
    return 0;
}

/* --------------------------------------------------------------------------------------- TestEventPattern */

typedef struct test_request {
    tr_view pattern, event;
} test_request;

static const tr_member test_members[] = {
    TR_MEMBER(test_request, pattern, "EventPattern", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MAX,
              .max = 4096),
    TR_MEMBER(test_request, event, "Event", TR_K_STRING, .rules = TR_R_NOT_NULL),
};
const tr_shape tr__shape_test_pattern = TR_SHAPE(test_request, "TestEventPatternRequest", test_members);

int tr__op_test_pattern(tr_call *c, void *request)
{
    const test_request *r = request;
    tr_pattern *pattern;
    tr_error err;
    bool match = false;
    err.type[0] = err.message[0] = 0;
    int e = tr_pattern_compile(r->pattern, NULL, &pattern, &err);
    if (e)
        return tr__fail_bus(c, e, &err);
    e = tr_pattern_check_event(r->event, &err);
    if (e == 0)
        e = tr_pattern_match(pattern, NULL, r->event, &match, &err);
    tr_pattern_free(pattern);
    if (e)
        return tr__fail_bus(c, e, &err);
    tr_json_begin_object(&c->w);
    tr_json_member_bool(&c->w, "Result", match);
    tr_json_end_object(&c->w);
    return 0;
}
