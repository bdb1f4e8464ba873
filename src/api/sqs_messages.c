/* SPDX-License-Identifier: MIT */
#include "api/events.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

/* Messages: SendMessage(Batch), ReceiveMessage, DeleteMessage(Batch), ChangeMessageVisibility. */

#define BATCH_MAX   10
#define IN_FLIGHT   120000 /* messages of a queue that may be in flight (SQS quotas) */
#define HANDLE_MAX  64
#define VISIBLE_MAX 43200
#define RECEIVE_MAX 10   /* messages of an answer */
#define HIDDEN_MS   1000 /* of what is received with a visibility of 0, should the answer fail */

typedef struct send_entry {
    tr_view id, body, attributes, handle;
    tr_int delay;
} send_entry;

typedef struct message_request {
    tr_view url, body, attributes, handle;
    tr_int delay, most, visibility, wait;
    tr_list entries, names, system_names, attribute_names;
} message_request;

#define URL TR_MEMBER(message_request, url, "QueueUrl", TR_K_STRING, .rules = TR_R_NOT_NULL)

static const tr_member send_members[] = {
    URL,
    TR_MEMBER(message_request, body, "MessageBody", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(message_request, attributes, "MessageAttributes", TR_K_RAW, .java = "MessageBodyAttributeMap"),
    TR_MEMBER(message_request, delay, "DelaySeconds", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 0,
              .max = 900),
};
const tr_shape tr__shape_send_message = TR_SHAPE(message_request, "SendMessageRequest", send_members);
static const tr_member entry_members[] = {
    TR_MEMBER(send_entry, id, "Id", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(send_entry, body, "MessageBody", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(send_entry, attributes, "MessageAttributes", TR_K_RAW, .java = "MessageBodyAttributeMap"),
    TR_MEMBER(send_entry, delay, "DelaySeconds", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 0,
              .max = 900),
};
static const tr_shape entry_shape = TR_SHAPE(send_entry, "SendMessageBatchRequestEntry", entry_members);
static const tr_member send_batch_members[] = {URL,
                                               TR_MEMBER(message_request, entries, "Entries", TR_K_STRUCTS,
                                                         .rules = TR_R_NOT_NULL, .shape = &entry_shape)};
const tr_shape tr__shape_send_batch =
    TR_SHAPE(message_request, "SendMessageBatchRequest", send_batch_members);
static const tr_member receive_members[] = {
    URL,
    TR_MEMBER(message_request, names, "AttributeNames", TR_K_STRINGS, .rules = 0),
    TR_MEMBER(message_request, system_names, "MessageSystemAttributeNames", TR_K_STRINGS, .rules = 0),
    TR_MEMBER(message_request, attribute_names, "MessageAttributeNames", TR_K_STRINGS, .rules = 0),
    TR_MEMBER(message_request, most, "MaxNumberOfMessages", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX,
              .min = 1, .max = RECEIVE_MAX),
    TR_MEMBER(message_request, visibility, "VisibilityTimeout", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX,
              .min = 0, .max = VISIBLE_MAX),
    TR_MEMBER(message_request, wait, "WaitTimeSeconds", TR_K_INTEGER, .rules = TR_R_MIN | TR_R_MAX, .min = 0,
              .max = 20),
};
const tr_shape tr__shape_receive_message =
    TR_SHAPE(message_request, "ReceiveMessageRequest", receive_members);
static const tr_member delete_members[] = {
    URL, TR_MEMBER(message_request, handle, "ReceiptHandle", TR_K_STRING, .rules = TR_R_NOT_NULL)};
const tr_shape tr__shape_delete_message = TR_SHAPE(message_request, "DeleteMessageRequest", delete_members);
static const tr_member delete_entry_members[] = {
    TR_MEMBER(send_entry, id, "Id", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(send_entry, handle, "ReceiptHandle", TR_K_STRING, .rules = TR_R_NOT_NULL),
};
static const tr_shape delete_entry_shape =
    TR_SHAPE(send_entry, "DeleteMessageBatchRequestEntry", delete_entry_members);
static const tr_member delete_batch_members[] = {URL, TR_MEMBER(message_request, entries, "Entries",
                                                                TR_K_STRUCTS, .rules = TR_R_NOT_NULL,
                                                                .shape = &delete_entry_shape)};
const tr_shape tr__shape_delete_batch =
    TR_SHAPE(message_request, "DeleteMessageBatchRequest", delete_batch_members);
static const tr_member change_members[] = {
    URL,
    TR_MEMBER(message_request, handle, "ReceiptHandle", TR_K_STRING, .rules = TR_R_NOT_NULL),
    TR_MEMBER(message_request, visibility, "VisibilityTimeout", TR_K_INTEGER,
              .rules = TR_R_NOT_NULL | TR_R_MIN | TR_R_MAX, .min = 0, .max = VISIBLE_MAX),
};
const tr_shape tr__shape_change_visibility =
    TR_SHAPE(message_request, "ChangeMessageVisibilityRequest", change_members);

/* -------------------------------------------------------------------------------------------------- MD5 */

static void md5_text(tr_view bytes, char *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    out[0] = 0;
    if (EVP_Digest(bytes.ptr ? bytes.ptr : "", bytes.len, digest, &len, EVP_md5(), NULL) != 1)
        return;
    for (unsigned i = 0; i < len; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void put_part(tr_buf *out, tr_view part)
{
    char length[4];
    tr_put_be32(length, (uint32_t)part.len);
    tr_buf_put(out, length, 4);
    tr_buf_put_view(out, part);
}

typedef struct attribute {
    tr_view name, raw;
} attribute;

static int by_name(const void *a, const void *b)
{
    return tr_view_cmp(((const attribute *)a)->name, ((const attribute *)b)->name);
}

#define ATTRIBUTES_MAX 10

/* What MD5OfMessageAttributes is taken of: name, type, and value of each, by name (SQS Developer Guide).
 * TR_EPARSE, TR_ELIMIT. */
static int attributes_digest(tr_call *c, tr_view attributes, char *out)
{
    tr_json_reader r;
    attribute all[ATTRIBUTES_MAX];
    size_t count = 0, len;
    tr_json_init(&r, attributes, c->arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    while (tr_json_next_key(&r)) {
        if (count == ATTRIBUTES_MAX)
            return TR_ELIMIT;
        all[count].name = r.text;
        if (tr_json_next(&r) != TR_JSON_OBJECT || tr_json_raw(&r, &all[count].raw))
            return TR_EPARSE;
        count++;
    }
    qsort(all, count, sizeof *all, by_name);
    tr_buf_reset(c->text);
    for (size_t i = 0; i < count; i++) {
        tr_view type = tr_doc_text(all[i].raw, "DataType", c->arena),
                text = tr_doc_text(all[i].raw, "StringValue", c->arena);
        tr_view binary = tr_doc_text(all[i].raw, "BinaryValue", c->arena);
        char *bytes = binary.ptr ? tr_arena_alloc(c->arena, TR_BASE64_DECODED_MAX(binary.len)) : NULL;
        if (!type.len || (!text.ptr && (!bytes || tr_base64_decode(binary, bytes, &len))))
            return TR_EPARSE;
        put_part(c->text, all[i].name);
        put_part(c->text, type);
        tr_buf_putc(c->text, text.ptr ? 1 : 2);
        put_part(c->text, text.ptr ? text : tr_view_of(bytes, len));
    }
    md5_text(tr_buf_view(c->text), out);
    return 0;
}

/* -------------------------------------------------------------------------------------------------- send */

/* Writes the members of the answer, in an object that the caller has begun. */
static int send_one(tr_call *c, tr_res *queue, tr_view body, tr_view attributes, const tr_int *delay)
{
    char id[TR_UUID_LEN + 1], digest[2 * EVP_MAX_MD_SIZE + 1], attribute_digest[2 * EVP_MAX_MD_SIZE + 1] = "";
    tr_error err;
    err.type[0] = 0;
    int64_t seconds = delay->given ? delay->value : tr__queue_setting(c, queue, "DelaySeconds");
    if (!body.len)
        return tr__fail(c, 400, "com.amazonaws.sqs#MissingParameter",
                        "The request must contain the parameter MessageBody.");
    if (body.len + attributes.len > (size_t)tr__queue_setting(c, queue, "MaximumMessageSize"))
        return tr__fail(
            c, 400, "com.amazonaws.sqs#InvalidParameterValueException",
            "One or more parameters are invalid. Reason: Message must be shorter than %lld bytes.",
            (long long)tr__queue_setting(c, queue, "MaximumMessageSize"));
    if (attributes.len > 2 && attributes_digest(c, attributes, attribute_digest))
        return tr__fail(c, 400, "com.amazonaws.sqs#InvalidParameterValueException",
                        "The message attributes are not valid: at most %d, each with DataType and "
                        "StringValue or BinaryValue.",
                        ATTRIBUTES_MAX);
    int e = tr_queue_send(c->api->bus, queue, body, attributes.len > 2 ? attributes : (tr_view){NULL, 0},
                          seconds * 1000, id, &err);
    if (e)
        return tr__fail_bus(c, e, &err);
    md5_text(body, digest);
    tr_json_member_cstring(&c->w, "MessageId", id);
    tr_json_member_cstring(&c->w, "MD5OfMessageBody", digest);
    if (attribute_digest[0])
        tr_json_member_cstring(&c->w, "MD5OfMessageAttributes", attribute_digest);
    return 0;
}

int tr__op_send_message(tr_call *c, void *request)
{
    const message_request *r = request;
    tr_res *queue;
    int e = tr__find_queue(c, r->url, &queue);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    e = send_one(c, queue, r->body, r->attributes, &r->delay);
    if (e == 0) /* an error is an answer of its own */
        tr_json_end_object(&c->w);
    return e;
}

static int check_batch(tr_call *c, const tr_list *entries)
{
    const send_entry *all = entries->items;
    if (!entries->count)
        return tr__fail(c, 400, "com.amazonaws.sqs#EmptyBatchRequest",
                        "There should be at least one entry in the request.");
    if (entries->count > BATCH_MAX)
        return tr__fail(c, 400, "com.amazonaws.sqs#TooManyEntriesInBatchRequest",
                        "Maximum number of entries per request are %d. You have sent %u.", BATCH_MAX,
                        entries->count);
    for (uint32_t i = 0; i < entries->count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (tr_view_eq(all[i].id, all[k].id))
                return tr__fail(c, 400, "com.amazonaws.sqs#BatchEntryIdsNotDistinct", "Id %.*s repeated.",
                                TR_FMT(all[i].id));
    return 0;
}

static void end_batch(tr_call *c)
{
    tr_json_end_array(&c->w);
    tr_json_name(&c->w, "Failed");
    tr_json_begin_array(&c->w);
    tr_json_end_array(&c->w);
    tr_json_end_object(&c->w);
}

int tr__op_send_batch(tr_call *c, void *request)
{
    const message_request *r = request;
    tr_res *queue;
    int e = tr__find_queue(c, r->url, &queue);
    if (e == 0)
        e = check_batch(c, &r->entries);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Successful");
    tr_json_begin_array(&c->w);
    for (uint32_t i = 0; i < r->entries.count; i++) {
        const send_entry *entry = (const send_entry *)r->entries.items + i;
        tr_json_begin_object(&c->w);
        tr_json_member_string(&c->w, "Id", entry->id);
        e = send_one(c, queue, entry->body, entry->attributes, &entry->delay);
        if (e)
            return e;
        tr_json_end_object(&c->w);
    }
    end_batch(c);
    return 0;
}

/* ----------------------------------------------------------------------------------------------- receive */

static bool asked(const tr_list *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        tr_view v = ((const tr_view *)names->items)[i];
        if (tr_view_is(v, "All") || tr_view_is(v, ".*") || tr_view_is(v, name))
            return true;
    }
    return false;
}

static void put_system(tr_call *c, const message_request *r, const char *name, int64_t number)
{
    char text[24];
    if (!asked(&r->names, name) && !asked(&r->system_names, name))
        return;
    (void)snprintf(text, sizeof text, "%lld", (long long)number);
    tr_json_member_cstring(&c->w, name, text);
}

static int put_attributes(tr_call *c, const message_request *r, tr_view attributes)
{
    char digest[2 * EVP_MAX_MD_SIZE + 1];
    tr_json_reader reader;
    tr_buf chosen;
    tr_json_writer w;
    tr_buf_init(&chosen, (size_t)8 << 20);
    tr_json_write_init(&w, &chosen);
    tr_json_begin_object(&w);
    tr_json_init(&reader, attributes, c->arena);
    (void)tr_json_next(&reader);
    while (tr_json_next_key(&reader)) {
        char *name = tr_arena_str(c->arena, reader.text);
        tr_view raw;
        (void)tr_json_next(&reader);
        if (!name || tr_json_raw(&reader, &raw))
            break;
        if (asked(&r->attribute_names, name)) {
            tr_json_key(&w, tr_view_str(name));
            tr_json_value(&w, raw);
        }
    }
    tr_json_end_object(&w);
    tr_view copy = tr_arena_copy(c->arena, tr_buf_view(&chosen));
    tr_buf_done(&chosen);
    if (!copy.ptr)
        return TR_ENOMEM;
    if (copy.len <= 2 || attributes_digest(c, copy, digest))
        return 0;
    tr_json_name(&c->w, "MessageAttributes");
    tr_json_value(&c->w, copy);
    tr_json_member_cstring(&c->w, "MD5OfMessageAttributes", digest);
    return 0;
}

static int put_message(tr_call *c, const message_request *r, tr_res *queue, const tr_message *m)
{
    char digest[2 * EVP_MAX_MD_SIZE + 1], handle[HANDLE_MAX];
    tr_view doc;
    tr_error err;
    int e = tr_queue_read(c->api->bus, queue, m, c->arena, &doc, &err);
    if (e)
        return e;
    md5_text(tr_doc_text(doc, "Body", c->arena), digest);
    (void)snprintf(handle, sizeof handle, "%016llx%08x", (unsigned long long)m->id, m->received);
    tr_json_begin_object(&c->w);
    tr__doc_member(&c->w, doc, "MessageId");
    tr_json_member_cstring(&c->w, "ReceiptHandle", handle);
    tr_json_member_cstring(&c->w, "MD5OfBody", digest);
    tr__doc_member(&c->w, doc, "Body");
    if (r->names.count || r->system_names.count) {
        tr_json_name(&c->w, "Attributes");
        tr_json_begin_object(&c->w);
        if (asked(&r->names, "SenderId") || asked(&r->system_names, "SenderId"))
            tr_json_member_cstring(&c->w, "SenderId", TR_BUS_ACCOUNT);
        put_system(c, r, "SentTimestamp", m->sent_ms);
        put_system(c, r, "ApproximateReceiveCount", m->received);
        put_system(c, r, "ApproximateFirstReceiveTimestamp", m->first_received_ms);
        tr_json_end_object(&c->w);
    }
    tr_view attributes = tr_doc_raw(doc, "MessageAttributes");
    e = attributes.ptr && r->attribute_names.count ? put_attributes(c, r, attributes) : 0;
    tr_json_end_object(&c->w);
    return e;
}

int tr__op_receive_message(tr_call *c, void *request)
{
    const message_request *r = request;
    tr_res *queue;
    tr_message *m = NULL;
    size_t visible, in_flight, delayed;
    int e = tr__find_queue(c, r->url, &queue);
    if (e)
        return e;
    tr_queue_count(c->api->bus, queue, &visible, &in_flight, &delayed);
    if (in_flight >= IN_FLIGHT)
        return tr__fail(c, 403, "com.amazonaws.sqs#OverLimit", "Too many messages in flight.");
    int64_t most = r->most.given ? r->most.value : 1, count = 0;
    int64_t visibility =
        r->visibility.given ? r->visibility.value : tr__queue_setting(c, queue, "VisibilityTimeout");
    int64_t wait =
        r->wait.given ? r->wait.value : tr__queue_setting(c, queue, "ReceiveMessageWaitTimeSeconds");
    /* those that stay visible are hidden until the answer is made, so that it holds each of them once */
    tr_message *given[RECEIVE_MAX];
    int64_t hidden_ms = visibility ? visibility * 1000 : HIDDEN_MS;
    tr_json_begin_object(&c->w);
    for (; count < most && (m = tr_queue_receive(c->api->bus, queue, hidden_ms)) != NULL; count++) {
        if (!count) {
            tr_json_name(&c->w, "Messages");
            tr_json_begin_array(&c->w);
        }
        given[count] = m;
        e = put_message(c, r, queue, m);
        if (e)
            return e;
    }
    for (int64_t i = 0; !visibility && i < count; i++)
        tr_queue_set_visible(c->api->bus, queue, given[i], tr_engine_now_ms(c->engine));
    if (count)
        tr_json_end_array(&c->w);
    tr_json_end_object(&c->w);
    if (!count && wait && !c->request->expired)
        c->reply->wait_queue_ms = wait * 1000;
    return 0;
}

/* ------------------------------------------------------------------------------------- delete, visibility */

/* A handle names a message and the receive that gave it; NULL in *ret_message if it is gone. */
static int find_message(tr_call *c, tr_res *queue, tr_view handle, tr_message **ret_message)
{
    uint64_t id = 0;
    bool valid = handle.len == 24;
    for (size_t i = 0; valid && i < 16; i++) {
        char x = handle.ptr[i];
        valid = (x >= '0' && x <= '9') || (x >= 'a' && x <= 'f');
        id = id * 16 + (uint64_t)(x <= '9' ? x - '0' : x - 'a' + 10);
    }
    if (!valid)
        return tr__fail(c, 400, "com.amazonaws.sqs#ReceiptHandleIsInvalid",
                        "The input receipt handle \"%.*s\" is not a valid receipt handle.", TR_FMT(handle));
    *ret_message = tr_queue_find(queue, id);
    return 0;
}

static int empty_answer(tr_call *c)
{
    tr_json_begin_object(&c->w);
    tr_json_end_object(&c->w);
    return 0;
}

int tr__op_delete_message(tr_call *c, void *request)
{
    const message_request *r = request;
    tr_res *queue;
    tr_message *m = NULL;
    int e = tr__find_queue(c, r->url, &queue);
    if (e == 0)
        e = find_message(c, queue, r->handle, &m);
    if (e)
        return e;
    if (m)
        tr_queue_remove(c->api->bus, queue, m);
    return empty_answer(c);
}

int tr__op_delete_batch(tr_call *c, void *request)
{
    const message_request *r = request;
    const send_entry *entries = r->entries.items;
    tr_res *queue;
    tr_message *m = NULL;
    int e = tr__find_queue(c, r->url, &queue);
    if (e == 0)
        e = check_batch(c, &r->entries);
    for (uint32_t i = 0; e == 0 && i < r->entries.count; i++)
        e = find_message(c, queue, entries[i].handle, &m);
    if (e)
        return e;
    tr_json_begin_object(&c->w);
    tr_json_name(&c->w, "Successful");
    tr_json_begin_array(&c->w);
    for (uint32_t i = 0; i < r->entries.count; i++) {
        if (find_message(c, queue, entries[i].handle, &m) == 0 && m)
            tr_queue_remove(c->api->bus, queue, m);
        tr_json_begin_object(&c->w);
        tr_json_member_string(&c->w, "Id", entries[i].id);
        tr_json_end_object(&c->w);
    }
    end_batch(c);
    return 0;
}

int tr__op_change_visibility(tr_call *c, void *request)
{
    const message_request *r = request;
    tr_res *queue;
    tr_message *m = NULL;
    int e = tr__find_queue(c, r->url, &queue);
    if (e == 0)
        e = find_message(c, queue, r->handle, &m);
    if (e)
        return e;
    if (!m)
        return tr__fail(c, 400, "com.amazonaws.sqs#InvalidParameterValueException",
                        "The message does not exist or is not available for visibility timeout change.");
    tr_queue_set_visible(c->api->bus, queue, m, tr_engine_now_ms(c->engine) + r->visibility.value * 1000);
    return empty_answer(c);
}
