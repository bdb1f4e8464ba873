/* SPDX-License-Identifier: MIT */
#include "api/sqs_query.h"

#include <tailrace/http.h>
#include <tailrace/json.h>

/* Of a list or map that are read; operations take at most ten. */
#define ELEMENTS_MAX 100
#define NAMESPACE    "http://queue.amazonaws.com/doc/2012-11-05/"

/* ------------------------------------------------------------------------------------------------ decode */

typedef enum kind { TEXT, NUMBER, TEXTS, PAIRS, ATTRIBUTES, ENTRIES } kind;

typedef struct member {
    const char *form; /* as the form names it */
    const char *json;
    kind kind;
} member;

static const member members[] = {
    {"QueueUrl", "QueueUrl", TEXT},
    {"QueueName", "QueueName", TEXT},
    {"QueueOwnerAWSAccountId", "QueueOwnerAWSAccountId", TEXT},
    {"QueueNamePrefix", "QueueNamePrefix", TEXT},
    {"NextToken", "NextToken", TEXT},
    {"MaxResults", "MaxResults", NUMBER},
    {"MessageBody", "MessageBody", TEXT},
    {"DelaySeconds", "DelaySeconds", NUMBER},
    {"ReceiptHandle", "ReceiptHandle", TEXT},
    {"VisibilityTimeout", "VisibilityTimeout", NUMBER},
    {"MaxNumberOfMessages", "MaxNumberOfMessages", NUMBER},
    {"WaitTimeSeconds", "WaitTimeSeconds", NUMBER},
    {"AttributeName", "AttributeNames", TEXTS},
    {"MessageAttributeName", "MessageAttributeNames", TEXTS},
    {"MessageSystemAttributeName", "MessageSystemAttributeNames", TEXTS},
    {"Attribute", "Attributes", PAIRS},
    {"MessageAttribute", "MessageAttributes", ATTRIBUTES},
    {"SendMessageBatchRequestEntry", "Entries", ENTRIES},
    {"DeleteMessageBatchRequestEntry", "Entries", ENTRIES},
};

static const member entry_members[] = {
    {"Id", "Id", TEXT},
    {"MessageBody", "MessageBody", TEXT},
    {"DelaySeconds", "DelaySeconds", NUMBER},
    {"ReceiptHandle", "ReceiptHandle", TEXT},
    {"VisibilityTimeout", "VisibilityTimeout", NUMBER},
    {"MessageAttribute", "MessageAttributes", ATTRIBUTES},
};

static const member value_members[] = {{"DataType", "DataType", TEXT},
                                       {"StringValue", "StringValue", TEXT},
                                       {"BinaryValue", "BinaryValue", TEXT}};

typedef struct param {
    tr_view name, value;
} param;

typedef struct form {
    param *params;
    size_t count;
    tr_arena *arena;
    tr_json_writer w;
} form;

static int read_params(form *f, tr_view text)
{
    f->params = tr_arena_calloc(f->arena, TR_QUERY_PARAMS_MAX, sizeof *f->params);
    if (!f->params)
        return TR_ENOMEM;
    while (text.len) {
        size_t end = tr_view_find(text, TR_VIEW("&"), 0);
        tr_view pair = tr_view_of(text.ptr, end == SIZE_MAX ? text.len : end);
        size_t used = end == SIZE_MAX ? text.len : end + 1, equals = tr_view_find(pair, TR_VIEW("="), 0);
        text = tr_view_of(text.ptr + used, text.len - used);
        if (!pair.len)
            continue;
        if (f->count == TR_QUERY_PARAMS_MAX)
            return TR_ELIMIT;
        param *p = &f->params[f->count++];
        size_t name = equals == SIZE_MAX ? pair.len : equals,
               value = equals == SIZE_MAX ? pair.len : equals + 1;
        int e = tr_http_percent_decode(f->arena, tr_view_of(pair.ptr, name), true, &p->name);
        if (e == 0)
            e = tr_http_percent_decode(f->arena, tr_view_of(pair.ptr + value, pair.len - value), true,
                                       &p->value);
        if (e == 0 && (!tr_utf8_valid(p->name) || !tr_utf8_valid(p->value)))
            e = TR_EPARSE;
        if (e)
            return e;
    }
    return 0;
}

/* The parameter of that name below a prefix ("" or one that ends in a dot). */
static const tr_view *find(const form *f, tr_view prefix, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < f->count; i++) {
        tr_view v = f->params[i].name;
        if (v.len == prefix.len + len && tr_view_starts(v, prefix) &&
            memcmp(v.ptr + prefix.len, name, len) == 0)
            return &f->params[i].value;
    }
    return NULL;
}

static bool any_below(const form *f, tr_view prefix)
{
    for (size_t i = 0; i < f->count; i++)
        if (tr_view_starts(f->params[i].name, prefix))
            return true;
    return false;
}

/* "PREFIX NAME.N." in the arena; empty without memory. */
static tr_view element(form *f, tr_view prefix, const char *name, unsigned n)
{
    const char *text = tr_arena_printf(f->arena, "%.*s%s.%u.", TR_FMT(prefix), name, n);
    return tr_view_str(text);
}

static void write_members(form *f, tr_view prefix, const member *list, size_t count);

/* {"NAME":"VALUE"} of PREFIX.N.Name and PREFIX.N.Value */
static void write_pairs(form *f, tr_view prefix, const member *m, bool structs)
{
    tr_json_begin_object(&f->w);
    for (unsigned n = 1; n <= ELEMENTS_MAX; n++) {
        tr_view at = element(f, prefix, m->form, n);
        const tr_view *name = at.len ? find(f, at, "Name") : NULL, *value;
        if (!name)
            break;
        tr_json_key(&f->w, *name);
        if (structs) {
            const char *below = tr_arena_printf(f->arena, "%.*sValue.", TR_FMT(at));
            tr_json_begin_object(&f->w);
            if (below)
                write_members(f, tr_view_str(below), value_members, TR_COUNT(value_members));
            tr_json_end_object(&f->w);
        } else {
            value = find(f, at, "Value");
            tr_json_string(&f->w, value ? *value : TR_VIEW(""));
        }
    }
    tr_json_end_object(&f->w);
}

static void write_texts(form *f, tr_view prefix, const member *m)
{
    tr_json_begin_array(&f->w);
    for (unsigned n = 1; n <= ELEMENTS_MAX; n++) {
        tr_view at = element(f, prefix, m->form, n);
        const tr_view *value = at.len ? find(f, tr_view_of(at.ptr, at.len - 1), "") : NULL;
        if (!value)
            break;
        tr_json_string(&f->w, *value);
    }
    tr_json_end_array(&f->w);
}

static void write_entries(form *f, tr_view prefix, const member *m)
{
    tr_json_begin_array(&f->w);
    for (unsigned n = 1; n <= ELEMENTS_MAX; n++) {
        tr_view at = element(f, prefix, m->form, n);
        if (!at.len || !any_below(f, at))
            break;
        tr_json_begin_object(&f->w);
        write_members(f, at, entry_members, TR_COUNT(entry_members));
        tr_json_end_object(&f->w);
    }
    tr_json_end_array(&f->w);
}

/* What is no number is passed on as text, for the operation to refuse. */
static void write_scalar(form *f, kind k, tr_view value)
{
    uint64_t number;
    if (k == NUMBER && tr_view_to_u64(value, INT32_MAX, &number) == 0)
        tr_json_u64(&f->w, number);
    else
        tr_json_string(&f->w, value);
}

static void write_members(form *f, tr_view prefix, const member *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const member *m = &list[i];
        if (m->kind == TEXT || m->kind == NUMBER) {
            const tr_view *value = find(f, prefix, m->form);
            if (value) {
                tr_json_name(&f->w, m->json);
                write_scalar(f, m->kind, *value);
            }
            continue;
        }
        tr_view first = element(f, prefix, m->form, 1);
        if (!first.len || !any_below(f, tr_view_of(first.ptr, first.len - 1)))
            continue;
        tr_json_name(&f->w, m->json);
        if (m->kind == TEXTS)
            write_texts(f, prefix, m);
        else if (m->kind == ENTRIES)
            write_entries(f, prefix, m);
        else
            write_pairs(f, prefix, m, m->kind == ATTRIBUTES);
    }
}

int tr__query_decode(tr_view text, tr_view path, tr_arena *arena, tr_view *ret_action, tr_buf *json)
{
    form f = {.arena = arena};
    int e = read_params(&f, text);
    if (e)
        return e;
    const tr_view none = {"", 0}, *action = find(&f, none, "Action");
    if (!action)
        return TR_ENOTFOUND;
    if (!find(&f, none, "QueueUrl") && path.len > 1 && f.count < TR_QUERY_PARAMS_MAX)
        f.params[f.count++] = (param){TR_VIEW("QueueUrl"), path};
    tr_json_write_init(&f.w, json);
    tr_json_begin_object(&f.w);
    write_members(&f, none, members, TR_COUNT(members));
    tr_json_end_object(&f.w);
    *ret_action = *action;
    return tr_buf_status(json);
}

/* ------------------------------------------------------------------------------------------------ encode */

/* A character that XML 1.0 cannot hold becomes U+FFFD; SQS does not take such messages at all. */
static void put_text(tr_buf *out, tr_view text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        switch (c) {
        case '&':
            tr_buf_put_str(out, "&amp;");
            break;
        case '<':
            tr_buf_put_str(out, "&lt;");
            break;
        case '>':
            tr_buf_put_str(out, "&gt;");
            break;
        case '"':
            tr_buf_put_str(out, "&quot;");
            break;
        case '\r':
            tr_buf_put_str(out, "&#xD;");
            break;
        default:
            if ((uint8_t)c < 0x20 && c != '\t' && c != '\n')
                tr_buf_put_str(out, "\xEF\xBF\xBD");
            else
                tr_buf_putc(out, c);
        }
    }
}

static void put_element(tr_buf *out, const char *name, tr_view text)
{
    tr_buf_printf(out, "<%s>", name);
    put_text(out, text);
    tr_buf_printf(out, "</%s>", name);
}

/* How lists and maps of the answers are called in XML; they are flattened. */
static const struct {
    const char *json, *xml;
    bool map;
} containers[] = {{"QueueUrls", "QueueUrl", false},           {"Messages", "Message", false},
                  {"Attributes", "Attribute", true},          {"MessageAttributes", "MessageAttribute", true},
                  {"Failed", "BatchResultErrorEntry", false}, {"Successful", NULL, false}};

typedef struct encoder {
    tr_json_reader r;
    tr_buf *out;
    const char *batch; /* element of an entry of Successful */
    tr_arena *arena;
} encoder;

static int put_object(encoder *x);

/* A value whose first token was read. */
static int put_value(encoder *x, const char *name, tr_json_token token)
{
    if (token == TR_JSON_OBJECT) {
        tr_buf_printf(x->out, "<%s>", name);
        int e = put_object(x);
        tr_buf_printf(x->out, "</%s>", name);
        return e;
    }
    if (token != TR_JSON_STRING && token != TR_JSON_NUMBER && token != TR_JSON_TRUE && token != TR_JSON_FALSE)
        return TR_EPARSE;
    put_element(x->out, name,
                token == TR_JSON_TRUE    ? TR_VIEW("true")
                : token == TR_JSON_FALSE ? TR_VIEW("false")
                                         : x->r.text);
    return 0;
}

static int put_list(encoder *x, const char *name)
{
    tr_json_token token;
    int e = 0;
    while (!e && (token = tr_json_next(&x->r)) != TR_JSON_ARRAY_END)
        e = put_value(x, name, token);
    return e;
}

static int put_map(encoder *x, const char *name)
{
    int e = 0;
    while (!e && tr_json_next_key(&x->r)) {
        tr_buf_printf(x->out, "<%s>", name);
        put_element(x->out, "Name", x->r.text);
        e = put_value(x, "Value", tr_json_next(&x->r));
        tr_buf_printf(x->out, "</%s>", name);
    }
    return e ? e : x->r.token == TR_JSON_OBJECT_END ? 0 : TR_EPARSE;
}

static int put_member(encoder *x, tr_view name)
{
    tr_json_token token = tr_json_next(&x->r);
    for (size_t i = 0; i < TR_COUNT(containers); i++) {
        if (!tr_view_is(name, containers[i].json))
            continue;
        const char *element_name = containers[i].xml ? containers[i].xml : x->batch;
        if (token != (containers[i].map ? TR_JSON_OBJECT : TR_JSON_ARRAY))
            return TR_EPARSE;
        return containers[i].map ? put_map(x, element_name) : put_list(x, element_name);
    }
    const char *copy = tr_arena_str(x->arena, name);
    return copy ? put_value(x, copy, token) : TR_ENOMEM;
}

/* The members of an object that was begun. */
static int put_object(encoder *x)
{
    int e = 0;
    while (!e && tr_json_next_key(&x->r))
        e = put_member(x, x->r.text);
    return e ? e : x->r.token == TR_JSON_OBJECT_END ? 0 : TR_EPARSE;
}

/* Codes of the query protocol where they differ from the names of the shapes (API model of SQS). */
static tr_view error_code(tr_view type, tr_arena *arena)
{
    static const char *const prefixed[] = {
        "BatchEntryIdsNotDistinct", "BatchRequestTooLong",          "EmptyBatchRequest",
        "InvalidBatchEntryId",      "MessageNotInflight",           "PurgeQueueInProgress",
        "QueueDeletedRecently",     "TooManyEntriesInBatchRequest", "UnsupportedOperation"};
    static const char *const renamed[][2] = {{"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"},
                                             {"QueueNameExists", "QueueAlreadyExists"},
                                             {"InvalidParameterValueException", "InvalidParameterValue"},
                                             {"ValidationException", "InvalidParameterValue"},
                                             {"SerializationException", "MalformedQueryString"},
                                             {"UnknownOperationException", "InvalidAction"}};
    size_t hash = tr_view_find(type, TR_VIEW("#"), 0);
    if (hash != SIZE_MAX)
        type = tr_view_of(type.ptr + hash + 1, type.len - hash - 1);
    for (size_t i = 0; i < TR_COUNT(renamed); i++)
        if (tr_view_is(type, renamed[i][0]))
            return tr_view_str(renamed[i][1]);
    for (size_t i = 0; i < TR_COUNT(prefixed); i++)
        if (tr_view_is(type, prefixed[i]))
            return tr_view_str(tr_arena_printf(arena, "AWS.SimpleQueueService.%.*s", TR_FMT(type)));
    return type;
}

/* {"__type":"…","message":"…"} */
static int put_error(tr_view action, int status, tr_view json, tr_view request_id, tr_arena *arena,
                     tr_buf *xml)
{
    tr_json_reader r;
    tr_view type = TR_VIEW("InternalFailure"), message = {NULL, 0};
    tr_json_init(&r, json, arena);
    (void)tr_json_next(&r);
    while (tr_json_next_key(&r)) {
        bool is_type = tr_view_is(r.text, "__type");
        if (tr_json_next(&r) == TR_JSON_STRING && is_type)
            type = r.text;
        else if (r.token == TR_JSON_STRING)
            message = r.text;
    }
    tr_view code = error_code(type, arena);
    if (tr_view_is(code, "InvalidAction")) {
        const char *text =
            tr_arena_printf(arena, "The action %.*s is not valid for this endpoint.", TR_FMT(action));
        message = tr_view_str(text);
    }
    tr_buf_put_str(xml, "<ErrorResponse xmlns=\"" NAMESPACE "\"><Error>");
    put_element(xml, "Type", status < 500 ? TR_VIEW("Sender") : TR_VIEW("Receiver"));
    put_element(xml, "Code", code);
    put_element(xml, "Message", message);
    tr_buf_put_str(xml, "<Detail/></Error>");
    put_element(xml, "RequestId", request_id);
    tr_buf_put_str(xml, "</ErrorResponse>\n");
    return tr_buf_status(xml);
}

int tr__query_encode(tr_view action, int status, tr_view json, tr_view request_id, tr_arena *arena,
                     tr_buf *xml)
{
    tr_buf_put_str(xml, "<?xml version=\"1.0\"?>\n");
    if (status != 200)
        return put_error(action, status, json, request_id, arena, xml);
    bool removes = tr_view_is(action, "DeleteMessageBatch");
    encoder x = {.out = xml,
                 .arena = arena,
                 .batch = removes ? "DeleteMessageBatchResultEntry" : "SendMessageBatchResultEntry"};
    tr_json_init(&x.r, json, arena);
    if (tr_json_next(&x.r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    tr_buf_printf(xml, "<%.*sResponse xmlns=\"" NAMESPACE "\">", TR_FMT(action));
    size_t before = xml->len;
    tr_buf_printf(xml, "<%.*sResult>", TR_FMT(action));
    size_t begun = xml->len;
    int e = put_object(&x);
    if (e)
        return e;
    bool empty = xml->len == begun && !tr_view_is(action, "ReceiveMessage");
    if (empty)
        xml->len = before; /* operations without an answer have no Result */
    else
        tr_buf_printf(xml, "</%.*sResult>", TR_FMT(action));
    tr_buf_put_str(xml, "<ResponseMetadata>");
    put_element(xml, "RequestId", request_id);
    tr_buf_printf(xml, "</ResponseMetadata></%.*sResponse>\n", TR_FMT(action));
    return tr_buf_status(xml);
}
