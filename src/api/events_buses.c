/* SPDX-License-Identifier: MIT */
#include "api/events.h"

/* Event buses: CreateEventBus, DescribeEventBus, UpdateEventBus, ListEventBuses, DeleteEventBus; tags of all.
 */

typedef struct bus_request {
    tr_view name, description, source, kms;
    tr_list tags;
    tr_view dead_letters; /* raw */
} bus_request;

typedef struct tag_item {
    tr_view key, value;
} tag_item;

static const tr_member tag_members[] = {
    TR_MEMBER(tag_item, key, "Key", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 128),
    TR_MEMBER(tag_item, value, "Value", TR_K_STRING, .rules = TR_R_NOT_NULL | TR_R_MAX, .max = 256),
};
static const tr_shape tag_shape = TR_SHAPE(tag_item, "Tag", tag_members);

#define TAGS_MAX 50

static const tr_member create_members[] = {
    TR_MEMBER(bus_request, name, "Name", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX | TR_R_BUS_NAME, .min = 1, .max = 256),
    TR_E_TEXT(bus_request, description, "Description", 512),
    TR_E_TEXT(bus_request, source, "EventSourceName", 256),
    TR_E_TEXT(bus_request, kms, "KmsKeyIdentifier", 2048),
    TR_MEMBER(bus_request, dead_letters, "DeadLetterConfig", TR_K_RAW, .java = "DeadLetterConfig"),
    TR_MEMBER(bus_request, tags, "Tags", TR_K_STRUCTS, .shape = &tag_shape),
};
const tr_shape tr__shape_create_bus = TR_SHAPE(bus_request, "CreateEventBusRequest", create_members);
static const tr_member describe_members[] = {
    TR_MEMBER(bus_request, name, "Name", TR_K_STRING, .rules = TR_R_MIN | TR_R_MAX | TR_R_BUS_ARN, .min = 1,
              .max = 1600),
    TR_E_TEXT(bus_request, description, "Description", 512),
    TR_E_TEXT(bus_request, kms, "KmsKeyIdentifier", 2048),
    TR_MEMBER(bus_request, dead_letters, "DeadLetterConfig", TR_K_RAW, .java = "DeadLetterConfig"),
};
const tr_shape tr__shape_describe_bus = TR_SHAPE(bus_request, "DescribeEventBusRequest", describe_members);
const tr_shape tr__shape_update_bus = TR_SHAPE(bus_request, "UpdateEventBusRequest", describe_members);
static const tr_member delete_members[] = {
    TR_MEMBER(bus_request, name, "Name", TR_K_STRING,
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX | TR_R_BUS_NAME, .min = 1, .max = 256),
};
const tr_shape tr__shape_delete_bus = TR_SHAPE(bus_request, "DeleteEventBusRequest", delete_members);
static const tr_member list_members[] = {
    TR_E_PREFIX(tr_page_request, prefix, 256),
    TR_E_TOKEN(tr_page_request, token),
    TR_E_LIMIT(tr_page_request, limit),
};
const tr_shape tr__shape_list_buses = TR_SHAPE(tr_page_request, "ListEventBusesRequest", list_members);

static void put_time(tr_json_writer *w, tr_view old, const char *name, int64_t now)
{
    int64_t ms = tr_doc_int(old, name, now);
    tr_json_member_i64(w, name, ms);
}

static void write_doc(tr_call *c, const bus_request *r, tr_view name, tr_view old, tr_buf *doc)
{
    tr_json_writer w;
    int64_t now = tr_engine_now_ms(c->engine);
    tr__doc_begin(&w, doc);
    tr_json_member_string(&w, "Name", name);
    tr_json_name(&w, "Arn");
    tr_json_sep(&w);
    tr_buf_printf(doc, "\"arn:aws:events:%s:%s:event-bus/%.*s\"", c->api->region, TR_BUS_ACCOUNT,
                  TR_FMT(name));
    tr__text_member(&w, "Description", r->description);
    tr__text_member(&w, "KmsKeyIdentifier", r->kms);
    if (r->dead_letters.ptr) {
        tr_json_name(&w, "DeadLetterConfig");
        tr_json_value(&w, r->dead_letters);
    }
    put_time(&w, old, "CreationTime", now);
    tr_json_member_i64(&w, "LastModifiedTime", now);
    if (r->tags.given) {
        tr_json_name(&w, "Tags");
        tr_json_value(&w, r->tags.raw);
    } else {
        tr__doc_member(&w, old, "Tags");
    }
    tr_json_end_object(&w);
}

int tr__op_create_bus(tr_call *c, void *request)
{
    const bus_request *r = request;
    tr_buf doc;
    if (tr_bus_find(c->api->bus, TR_RES_BUS, r->name))
        return tr__fail(c, 400, TR_EXISTS_EXCEPTION, "Event bus %.*s already exists.", TR_FMT(r->name));
    if (tr_view_find(r->name, TR_VIEW("/"), 0) != SIZE_MAX && !r->source.ptr)
        return tr__fail(c, 400, "ValidationException", "Event bus name must not contain '/'.");
    if (r->tags.count > TAGS_MAX)
        return tr__fail(c, 400, TR_LIMIT_EXCEPTION, "A resource can have %d tags.", TAGS_MAX);
    write_doc(c, r, r->name, (tr_view){NULL, 0}, &doc);
    int e = tr__doc_put(c, TR_RES_BUS, r->name, &doc);
    if (e)
        return e;
    tr_view arn = tr_doc_text(tr_bus_find(c->api->bus, TR_RES_BUS, r->name)->doc, "Arn", c->arena);
    tr_json_begin_object(&c->w);
    tr_json_member_string(&c->w, "EventBusArn", arn);
    tr__text_member(&c->w, "Description", r->description);
    tr_json_end_object(&c->w);
    return 0;
}

static void write_bus(tr_json_writer *w, tr_view doc)
{
    tr_json_begin_object(w);
    tr__doc_member(w, doc, "Name");
    tr__doc_member(w, doc, "Arn");
    tr__doc_member(w, doc, "Description");
    tr__doc_member(w, doc, "KmsKeyIdentifier");
    tr__doc_member(w, doc, "DeadLetterConfig");
    tr__doc_member(w, doc, "Policy");
    tr__doc_time(w, doc, "CreationTime");
    tr__doc_time(w, doc, "LastModifiedTime");
    tr_json_end_object(w);
}

int tr__op_describe_bus(tr_call *c, void *request)
{
    tr_res *bus;
    int e = tr__find_bus(c, ((bus_request *)request)->name, &bus);
    if (e == 0)
        write_bus(&c->w, bus->doc);
    return e;
}

int tr__op_update_bus(tr_call *c, void *request)
{
    const bus_request *r = request;
    tr_res *bus;
    tr_buf doc;
    int e = tr__find_bus(c, r->name, &bus);
    if (e)
        return e;
    write_doc(c, r, bus->name, bus->doc, &doc);
    e = tr__doc_update(c, bus, &doc);
    if (e == 0)
        write_bus(&c->w, bus->doc);
    return e;
}

static int write_listed(tr_call *c, tr_res *bus)
{
    write_bus(&c->w, bus->doc);
    return 0;
}

int tr__op_list_buses(tr_call *c, void *request)
{
    static const tr_listing buses = {.kind = TR_RES_BUS, .member = "EventBuses", .write = write_listed};
    return tr__list(c, request, &buses);
}

int tr__op_delete_bus(tr_call *c, void *request)
{
    const bus_request *r = request;
    if (tr_view_is(r->name, "default"))
        return tr__fail(c, 400, "ValidationException", "Cannot delete event bus default.");
    tr_res *bus = tr_bus_find(c->api->bus, TR_RES_BUS, r->name);
    if (bus)
        tr_bus_delete(c->api->bus, bus);
    tr_json_begin_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

/* -------------------------------------------------------------------------------------------------- tags */

typedef struct tags_request {
    tr_view arn;
    tr_list tags, keys;
} tags_request;

static const tr_member bus_tag_members[] = {
    TR_E_ARN(tags_request, arn, "ResourceARN"),
    TR_MEMBER(tags_request, tags, "Tags", TR_K_STRUCTS, .rules = TR_R_NOT_NULL, .shape = &tag_shape),
};
const tr_shape tr__shape_bus_tag = TR_SHAPE(tags_request, "TagResourceRequest", bus_tag_members);
static const tr_member bus_untag_members[] = {
    TR_E_ARN(tags_request, arn, "ResourceARN"),
    TR_MEMBER(tags_request, keys, "TagKeys", TR_K_STRINGS, .rules = TR_R_NOT_NULL),
};
const tr_shape tr__shape_bus_untag = TR_SHAPE(tags_request, "UntagResourceRequest", bus_untag_members);
static const tr_member bus_list_tags_members[] = {TR_E_ARN(tags_request, arn, "ResourceARN")};
const tr_shape tr__shape_bus_list_tags =
    TR_SHAPE(tags_request, "ListTagsForResourceRequest", bus_list_tags_members);

static int find_tagged(tr_call *c, tr_view arn, tr_res **ret_res)
{
    size_t bus = tr_view_find(arn, TR_VIEW(":event-bus/"), 0), rule = tr_view_find(arn, TR_VIEW(":rule/"), 0);
    *ret_res = NULL;
    if (bus != SIZE_MAX) {
        *ret_res = tr_bus_find(c->api->bus, TR_RES_BUS, tr__bus_name(arn));
        return *ret_res ? 0
                        : tr__fail(c, 400, TR_NOT_FOUND_EXCEPTION, "Event bus %.*s does not exist.",
                                   TR_FMT(tr__bus_name(arn)));
    }
    if (rule == SIZE_MAX)
        return tr__fail(c, 400, "ValidationException",
                        "Parameter %.*s is not valid. Reason: Provided Arn is not in correct format.",
                        TR_FMT(arn));
    tr_view name = tr_view_of(arn.ptr + rule + 6, arn.len - rule - 6), of = TR_VIEW("default");
    for (size_t i = name.len; i-- > 0;)
        if (name.ptr[i] == '/') {
            of = tr_view_of(name.ptr, i);
            name = tr_view_of(name.ptr + i + 1, name.len - i - 1);
            break;
        }
    return tr__find_rule(c, of, name, ret_res);
}

static bool has_key(const tr_list *tags, const tr_list *keys, tr_view key)
{
    for (uint32_t i = 0; i < tags->count; i++)
        if (tr_view_eq(((const tag_item *)tags->items)[i].key, key))
            return true;
    for (uint32_t i = 0; i < keys->count; i++)
        if (tr_view_eq(((const tr_view *)keys->items)[i], key))
            return true;
    return false;
}

/* The tags that are there without those named, and the new ones. */
static int change_tags(tr_call *c, tr_res *res, const tags_request *r)
{
    tr_view *old;
    size_t count;
    tr_buf tags, doc;
    tr_json_writer w;
    int e = tr_doc_elements(tr_doc_raw(res->doc, "Tags"), c->arena, &old, &count);
    if (e)
        return e;
    tr_buf_init(&tags, 1 << 20);
    tr_json_write_init(&w, &tags);
    tr_json_begin_array(&w);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!has_key(&r->tags, &r->keys, tr_doc_text(old[i], "Key", c->arena))) {
            tr_json_value(&w, old[i]);
            kept++;
        }
    for (uint32_t i = 0; i < r->tags.count; i++) {
        const tag_item *tag = (const tag_item *)r->tags.items + i;
        tr_json_begin_object(&w);
        tr_json_member_string(&w, "Key", tag->key);
        tr_json_member_string(&w, "Value", tag->value);
        tr_json_end_object(&w);
    }
    tr_json_end_array(&w);
    if (kept + r->tags.count > TAGS_MAX) {
        tr_buf_done(&tags);
        return tr__fail(c, 400, TR_LIMIT_EXCEPTION, "A resource can have %d tags.", TAGS_MAX);
    }
    tr_buf_init(&doc, (size_t)4 << 20);
    tr_doc_with(res->doc, "Tags", tr_buf_view(&tags), &doc);
    e = tr_buf_status(&tags);
    tr_buf_done(&tags);
    int e2 = tr__doc_update(c, res, &doc);
    return e ? e : e2;
}

int tr__op_bus_tag(tr_call *c, void *request)
{
    tr_res *res;
    int e = find_tagged(c, ((tags_request *)request)->arn, &res);
    if (e == 0)
        e = change_tags(c, res, request);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_bus_untag(tr_call *c, void *request)
{
    return tr__op_bus_tag(c, request);
}

int tr__op_bus_list_tags(tr_call *c, void *request)
{
    tr_res *res;
    int e = find_tagged(c, ((tags_request *)request)->arn, &res);
    if (e)
        return e;
    tr_view tags = tr_doc_raw(res->doc, "Tags");
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Tags");
    tr_json_value(&c->w, tags.ptr ? tags : TR_VIEW("[]"));
    tr_json_end_object(&c->w);
    return 0;
}
