/* SPDX-License-Identifier: MIT */
#include "api/events.h"

/* Queues: CreateQueue, GetQueueUrl, GetQueueAttributes, SetQueueAttributes, ListQueues, DeleteQueue,
 * PurgeQueue. */

#define NO_QUEUE  "com.amazonaws.sqs#QueueDoesNotExist"
#define NAME_MAX_ 80

typedef struct queue_request {
    tr_view name, url, attributes, prefix, token, owner;
    tr_list names;
    tr_int max;
} queue_request;

static const tr_member create_members[] = {
    TR_MEMBER(queue_request, name, "QueueName", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(queue_request, attributes, "Attributes", TR_K_RAW, .java = "QueueAttributeMap"),
};
const tr_shape tr__shape_create_queue = TR_SHAPE(queue_request, "CreateQueueRequest", create_members);
static const tr_member url_members[] = {
    TR_MEMBER(queue_request, name, "QueueName", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(queue_request, owner, "QueueOwnerAWSAccountId", TR_K_STRING, .rules = 0),
};
const tr_shape tr__shape_queue_url = TR_SHAPE(queue_request, "GetQueueUrlRequest", url_members);
static const tr_member attributes_members[] = {
    TR_MEMBER(queue_request, url, "QueueUrl", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(queue_request, names, "AttributeNames", TR_K_STRINGS, .rules = 0),
};
const tr_shape tr__shape_queue_attributes =
    TR_SHAPE(queue_request, "GetQueueAttributesRequest", attributes_members);
static const tr_member set_members[] = {
    TR_MEMBER(queue_request, url, "QueueUrl", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(queue_request, attributes, "Attributes", TR_K_RAW, .rules = TR_R_NOT_NULL,
              .java = "QueueAttributeMap"),
};
const tr_shape tr__shape_set_queue_attributes =
    TR_SHAPE(queue_request, "SetQueueAttributesRequest", set_members);
static const tr_member only_url_members[] = {
    TR_MEMBER(queue_request, url, "QueueUrl", TR_K_STRING, .rules = TR_R_NOT_NULL)};
const tr_shape tr__shape_delete_queue = TR_SHAPE(queue_request, "DeleteQueueRequest", only_url_members);
const tr_shape tr__shape_purge_queue = TR_SHAPE(queue_request, "PurgeQueueRequest", only_url_members);
static const tr_member list_members[] = {
    TR_MEMBER(queue_request, prefix, "QueueNamePrefix", TR_K_STRING, .rules = 0),
    TR_MEMBER(queue_request, token, "NextToken", TR_K_STRING, .rules = 0),
    TR_MEMBER(queue_request, max, "MaxResults", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 1,
              .max = 1000),
};
const tr_shape tr__shape_list_queues = TR_SHAPE(queue_request, "ListQueuesRequest", list_members);

/* What can be set, with its bounds and default. */
static const struct {
    const char *name;
    int64_t min, max;
    const char *standard; /* NULL: a text, told only if it was set */
} settable[] = {
    {"VisibilityTimeout", 0, 43200, "30"},
    {"MessageRetentionPeriod", 60, 1209600, "345600"},
    {"DelaySeconds", 0, 900, "0"},
    {"MaximumMessageSize", 1024, 1048576, "1048576"},
    {"ReceiveMessageWaitTimeSeconds", 0, 20, "0"},
    {"SqsManagedSseEnabled", 0, 0, NULL},
    {"Policy", 0, 0, NULL},
    {"RedrivePolicy", 0, 0, NULL},
    {"RedriveAllowPolicy", 0, 0, NULL},
    {"KmsMasterKeyId", 0, 0, NULL},
    {"KmsDataKeyReusePeriodSeconds", 60, 86400, NULL},
};

int tr__find_queue(tr_call *c, tr_view url, tr_res **ret_queue)
{
    tr_view name = url;
    for (size_t i = url.len; i-- > 0;)
        if (url.ptr[i] == '/') {
            name = tr_view_of(url.ptr + i + 1, url.len - i - 1);
            break;
        }
    *ret_queue = tr_bus_find(c->api->bus, TR_RES_QUEUE, name);
    return *ret_queue ? 0 : tr__fail(c, 400, NO_QUEUE, "The specified queue does not exist.");
}

int64_t tr__queue_setting(tr_call *c, const tr_res *queue, const char *name)
{
    tr_view text = tr_doc_text(tr_doc_raw(queue->doc, "Attributes"), name, c->arena);
    uint64_t number;
    for (size_t i = 0; i < TR_COUNT(settable); i++)
        if (strcmp(settable[i].name, name) == 0 && settable[i].standard && !text.ptr)
            text = tr_view_str(settable[i].standard);
    return text.ptr && tr_view_to_u64(text, INT64_MAX, &number) == 0 ? (int64_t)number : 0;
}

static void write_url(tr_call *c, tr_json_writer *w, tr_view name)
{
    tr_view host = c->request->host;
    tr_json_sep(w);
    tr_buf_printf(w->out, "\"http://%.*s/%s/%.*s\"", TR_FMT(host.len ? host : TR_VIEW("localhost")),
                  TR_BUS_ACCOUNT, TR_FMT(name));
}

static int url_answer(tr_call *c, tr_view name)
{
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "QueueUrl");
    write_url(c, &c->w, name);
    tr_json_end_object(&c->w);
    return 0;
}

/* One attribute of a request. */
static int check_attribute(tr_call *c, tr_view name, tr_view value)
{
    uint64_t number;
    for (size_t i = 0; i < TR_COUNT(settable); i++) {
        if (!tr_view_is(name, settable[i].name))
            continue;
        bool bounded = settable[i].max > 0;
        if (bounded &&
            (tr_view_to_u64(value, (uint64_t)settable[i].max, &number) || (int64_t)number < settable[i].min))
            return tr__fail(c, 400, "com.amazonaws.sqs#InvalidAttributeValue",
                            "Invalid value for the parameter %.*s.", TR_FMT(name));
        if (tr_view_is(name, "RedrivePolicy") && value.len && !tr__is_json_object(c, value))
            return tr__fail(
                c, 400, "com.amazonaws.sqs#InvalidAttributeValue",
                "Invalid value for the parameter RedrivePolicy. Reason: it is not a JSON object.");
        return 0;
    }
    return tr__fail(c, 400, "com.amazonaws.sqs#InvalidAttributeName", "Unknown Attribute %.*s.",
                    TR_FMT(name));
}

/* The old attributes with the request's over them. */
static int merge(tr_call *c, tr_view old, tr_view fresh, tr_buf *out)
{
    tr_json_reader r;
    tr_buf next;
    tr_buf_put_view(out, old.ptr ? old : TR_VIEW("{}"));
    if (!fresh.ptr)
        return 0;
    tr_json_init(&r, fresh, c->arena);
    (void)tr_json_next(&r);
    while (tr_json_next_key(&r)) {
        char *name = tr_arena_str(c->arena, r.text);
        tr_json_token token = tr_json_next(&r);
        tr_view value = r.text, raw;
        if (!name)
            return TR_ENOMEM;
        if (token != TR_JSON_STRING || tr_json_raw(&r, &raw))
            return tr__fail(c, 400, "com.amazonaws.sqs#InvalidAttributeValue",
                            "Invalid value for the parameter %s.", name);
        int e = check_attribute(c, tr_view_str(name), value);
        if (e)
            return e;
        tr_buf_init(&next, 1 << 20);
        tr_doc_with(tr_buf_view(out), name, value.len ? raw : (tr_view){NULL, 0}, &next);
        tr_buf_reset(out);
        tr_buf_put_view(out, tr_buf_view(&next));
        tr_buf_done(&next);
    }
    return tr_buf_status(out);
}

static int put_queue(tr_call *c, tr_view name, const tr_res *old, tr_view attributes)
{
    tr_buf doc;
    tr_json_writer w;
    int64_t now = tr_engine_now_ms(c->engine);
    uint64_t number = old ? (uint64_t)tr_doc_int(old->doc, "Number", 0) : tr_queue_number(c->api->bus);
    tr__doc_begin(&w, &doc);
    tr_json_member_u64(&w, "Number", number);
    tr_json_name(&w, "Arn");
    tr_json_sep(&w);
    tr_buf_printf(&doc, "\"arn:aws:sqs:%s:%s:%.*s\"", c->api->region, TR_BUS_ACCOUNT, TR_FMT(name));
    tr_json_member_i64(&w, "Created", old ? tr_doc_int(old->doc, "Created", now) : now);
    tr_json_member_i64(&w, "Modified", now);
    tr_json_name(&w, "Attributes");
    tr_json_value(&w, attributes);
    tr_json_end_object(&w);
    return tr__doc_put(c, TR_RES_QUEUE, name, &doc);
}

static int put_merged(tr_call *c, tr_view name, const tr_res *old, tr_view fresh)
{
    tr_buf merged;
    tr_view copy = tr_arena_copy(c->arena, name); /* the queue's own goes away */
    tr_buf_init(&merged, 1 << 20);
    int e = copy.ptr ? merge(c, old ? tr_doc_raw(old->doc, "Attributes") : (tr_view){NULL, 0}, fresh, &merged)
                     : TR_ENOMEM;
    if (e == 0)
        e = put_queue(c, copy, old, tr_buf_view(&merged));
    tr_buf_done(&merged);
    return e;
}

int tr__op_create_queue(tr_call *c, void *request)
{
    const queue_request *r = request;
    bool valid = r->name.len > 0 && r->name.len <= NAME_MAX_;
    for (size_t i = 0; valid && i < r->name.len; i++)
        valid = r->name.ptr[i] != '.' && tr__name_valid(tr_view_of(r->name.ptr + i, 1));
    if (r->name.len > 5 && memcmp(r->name.ptr + r->name.len - 5, ".fifo", 5) == 0)
        return tr__fail(c, 400, "com.amazonaws.sqs#UnsupportedOperation",
                        "There are no FIFO queues on this server.");
    if (!valid)
        return tr__fail(
            c, 400, "com.amazonaws.sqs#InvalidParameterValueException",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length");
    tr_res *old = tr_bus_find(c->api->bus, TR_RES_QUEUE, r->name);
    int e = old ? 0 : put_merged(c, r->name, NULL, r->attributes);
    return e ? e : url_answer(c, r->name);
}

int tr__op_queue_url(tr_call *c, void *request)
{
    tr_res *queue;
    int e = tr__find_queue(c, ((queue_request *)request)->name, &queue);
    return e ? e : url_answer(c, queue->name);
}

static bool asked(const tr_list *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        tr_view v = ((const tr_view *)names->items)[i];
        if (tr_view_is(v, "All") || tr_view_is(v, name))
            return true;
    }
    return false;
}

static void put_count(tr_call *c, const tr_list *names, const char *name, int64_t number)
{
    char text[24];
    size_t len = 0;
    for (uint64_t n = (uint64_t)number; n || !len; n /= 10)
        text[sizeof text - ++len] = (char)('0' + n % 10);
    if (asked(names, name))
        tr_json_member_string(&c->w, name, tr_view_of(text + sizeof text - len, len));
}

int tr__op_queue_attributes(tr_call *c, void *request)
{
    const queue_request *r = request;
    tr_res *queue;
    size_t visible, in_flight, delayed;
    int e = tr__find_queue(c, r->url, &queue);
    if (e)
        return e;
    tr_queue_count(c->api->bus, queue, &visible, &in_flight, &delayed);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Attributes");
    tr_json_begin_object(&c->w);
    if (asked(&r->names, "QueueArn"))
        tr_json_member_string(&c->w, "QueueArn", tr_doc_text(queue->doc, "Arn", c->arena));
    put_count(c, &r->names, "ApproximateNumberOfMessages", (int64_t)visible);
    put_count(c, &r->names, "ApproximateNumberOfMessagesNotVisible", (int64_t)in_flight);
    put_count(c, &r->names, "ApproximateNumberOfMessagesDelayed", (int64_t)delayed);
    put_count(c, &r->names, "CreatedTimestamp", tr_doc_int(queue->doc, "Created", 0) / 1000);
    put_count(c, &r->names, "LastModifiedTimestamp", tr_doc_int(queue->doc, "Modified", 0) / 1000);
    for (size_t i = 0; i < TR_COUNT(settable); i++) {
        tr_view value = tr_doc_text(tr_doc_raw(queue->doc, "Attributes"), settable[i].name, c->arena);
        if (!value.ptr && settable[i].standard)
            value = tr_view_str(settable[i].standard);
        if (value.ptr && asked(&r->names, settable[i].name))
            tr_json_member_string(&c->w, settable[i].name, value);
    }
    tr_json_end_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

static int empty_answer(tr_call *c)
{
    tr_json_begin_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_set_queue_attributes(tr_call *c, void *request)
{
    const queue_request *r = request;
    tr_res *queue;
    int e = tr__find_queue(c, r->url, &queue);
    if (e == 0)
        e = put_merged(c, queue->name, queue, r->attributes);
    return e ? e : empty_answer(c);
}

int tr__op_list_queues(tr_call *c, void *request)
{
    const queue_request *r = request;
    tr_view after;
    int e = tr__page_after(c, r->token, &after);
    if (e)
        return e;
    int64_t left = r->max.given ? r->max.value : 1000;
    tr_res *queue = tr_bus_next(c->api->bus, TR_RES_QUEUE, after);
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "QueueUrls");
    tr_json_begin_array(&c->w);
    for (; queue && left; queue = tr_bus_next(c->api->bus, TR_RES_QUEUE, queue->name))
        if (tr_view_starts(queue->name, r->prefix)) {
            write_url(c, &c->w, queue->name);
            after = queue->name;
            left--;
        }
    tr_json_end_array(&c->w);
    if (queue)
        tr__page_token(c, after);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_delete_queue(tr_call *c, void *request)
{
    tr_res *queue;
    int e = tr__find_queue(c, ((queue_request *)request)->url, &queue);
    if (e)
        return e;
    tr_bus_delete(c->api->bus, queue);
    return empty_answer(c);
}

int tr__op_purge_queue(tr_call *c, void *request)
{
    tr_res *queue;
    int e = tr__find_queue(c, ((queue_request *)request)->url, &queue);
    if (e)
        return e;
    tr_queue_purge(c->api->bus, queue);
    return empty_answer(c);
}
