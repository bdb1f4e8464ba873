/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>

#include <tailrace/json.h>
#include <tailrace/sigv4.h>

/*
 * The item: 400 bytes as DynamoDB counts them (names and values), of the kind that an order might be.
 *
 *     pk "p0000042" (partition)  sk "07" (in the partition)  status  customer  email  amount  version  note
 * (the rest)
 *
 * Every write of an item carries another version and amount than the one before, so that it always changes
 * something and makes a record in the stream.
 */
#define ITEM_BYTES 400
#define BATCH      25
#define GET_BATCH  100
#define PER_QUERY  10
/* Of a Scan: half of a page of 1 MB, since segments are of uneven size. */
#define PER_SEGMENT 1250

typedef void body_fn(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w);

static void put_string(tr_json_writer *w, const char *name, const char *value)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "S", value);
    tr_json_end_object(w);
}

static void put_number(tr_json_writer *w, const char *name, uint32_t value)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%u", value);
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "N", text);
    tr_json_end_object(w);
}

static void put_key_members(const load_plan *plan, uint32_t index, tr_json_writer *w)
{
    char text[32];
    (void)snprintf(text, sizeof text, "p%07u", index / plan->per_partition);
    put_string(w, "pk", text);
    (void)snprintf(text, sizeof text, "%02u", index % plan->per_partition);
    put_string(w, "sk", text);
}

static void put_key(const load_plan *plan, uint32_t index, tr_json_writer *w)
{
    tr_json_begin_object(w);
    put_key_members(plan, index, w);
    tr_json_end_object(w);
}

static void put_item(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    char email[64], note[ITEM_BYTES];
    /* names: pk sk status customer email amount version note = 43; values besides note: 8+2+7+14+23+4+3 = 61
     */
    (void)snprintf(email, sizeof email, "customer%07u@shop.org", index % 10000000);
    for (size_t i = 0; i < sizeof note; i++)
        note[i] = (char)('a' + (index * 7 + i * 13 + i / 11) % 26);
    note[ITEM_BYTES - 43 - 61] = 0;
    tr_json_begin_object(w);
    put_key_members(plan, index, w);
    put_string(w, "status", version % 2 ? "shipped" : "ordered");
    put_string(w, "customer", "Grace B Hopper");
    put_string(w, "email", email);
    put_number(w, "amount", 100000 + (index * 31 + version) % 800000);
    put_number(w, "version", version);
    put_string(w, "note", note);
    tr_json_end_object(w);
}

static void member_table(const load_plan *plan, tr_json_writer *w)
{
    tr_json_member_cstring(w, "TableName", plan->table);
}

static void body_put(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    member_table(plan, w);
    tr_json_name(w, "Item");
    put_item(plan, index, version, w);
}

static void body_get(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    (void)version;
    member_table(plan, w);
    tr_json_name(w, "Key");
    put_key(plan, index, w);
}

static void body_update(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    member_table(plan, w);
    tr_json_name(w, "Key");
    put_key(plan, index, w);
    tr_json_member_cstring(w, "UpdateExpression", "SET version = version + :one, #s = :s");
    tr_json_name(w, "ExpressionAttributeNames");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "#s", "status");
    tr_json_end_object(w);
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    put_number(w, ":one", 1);
    put_string(w, ":s", version % 2 ? "shipped" : "ordered");
    tr_json_end_object(w);
}

/* An update on condition, as a counter with a ceiling has it. */
static void body_update_if(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    member_table(plan, w);
    tr_json_name(w, "Key");
    put_key(plan, index, w);
    tr_json_member_cstring(w, "UpdateExpression", "SET version = version + :one, #s = :s");
    tr_json_member_cstring(w, "ConditionExpression", "attribute_exists(pk) AND version < :limit");
    tr_json_name(w, "ExpressionAttributeNames");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "#s", "status");
    tr_json_end_object(w);
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    put_number(w, ":one", 1);
    put_number(w, ":limit", 1000000000);
    put_string(w, ":s", version % 2 ? "shipped" : "ordered");
    tr_json_end_object(w);
}

/* A put on condition that the item is there, as one writes optimistic locks. */
static void body_condition(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    body_put(plan, index, version, w);
    tr_json_member_cstring(w, "ConditionExpression", "attribute_exists(pk) AND version < :limit");
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    put_number(w, ":limit", 1000000);
    tr_json_end_object(w);
}

static void body_query(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    char text[32];
    (void)version;
    member_table(plan, w);
    tr_json_member_cstring(w, "KeyConditionExpression", "pk = :p");
    tr_json_member_i64(w, "Limit", PER_QUERY);
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    (void)snprintf(text, sizeof text, "p%07u", index / plan->per_partition);
    put_string(w, ":p", text);
    tr_json_end_object(w);
}

static void open_requests(const load_plan *plan, tr_json_writer *w)
{
    tr_json_name(w, "RequestItems");
    tr_json_begin_object(w);
    tr_json_key(w, tr_view_str(plan->table));
}

static void body_batch_write(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    open_requests(plan, w);
    tr_json_begin_array(w);
    for (uint32_t i = 0; i < BATCH; i++) {
        tr_json_begin_object(w);
        tr_json_name(w, "PutRequest");
        tr_json_begin_object(w);
        tr_json_name(w, "Item");
        put_item(plan, (index * BATCH + i) % plan->items, version, w);
        tr_json_end_object(w);
        tr_json_end_object(w);
    }
    tr_json_end_array(w);
    tr_json_end_object(w);
}

static void body_batch_get(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    (void)version;
    open_requests(plan, w);
    tr_json_begin_object(w);
    tr_json_name(w, "Keys");
    tr_json_begin_array(w);
    for (uint32_t i = 0; i < GET_BATCH; i++)
        put_key(plan, (index * GET_BATCH + i) % plan->items, w);
    tr_json_end_array(w);
    tr_json_end_object(w);
    tr_json_end_object(w);
}

/* Items change together, far enough apart that neighbouring requests do not meet. */
static void put_transaction(const load_plan *plan, uint32_t index, uint32_t version, uint32_t count,
                            tr_json_writer *w)
{
    tr_json_name(w, "TransactItems");
    tr_json_begin_array(w);
    for (uint32_t i = 0; i < count; i++) {
        tr_json_begin_object(w);
        tr_json_name(w, "Put");
        tr_json_begin_object(w);
        body_put(plan, (index + i * (plan->items / count)) % plan->items, version, w);
        tr_json_end_object(w);
        tr_json_end_object(w);
    }
    tr_json_end_array(w);
}

static void body_transact(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    put_transaction(plan, index, version, 2, w);
}

static void body_transact_4(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    put_transaction(plan, index, version, 4, w);
}

/* A segment, so small that it is one page; all of them together are the table. */
static void body_scan(const load_plan *plan, uint32_t index, uint32_t version, tr_json_writer *w)
{
    uint32_t segments = plan->items / PER_SEGMENT ? plan->items / PER_SEGMENT : 1;
    (void)version;
    member_table(plan, w);
    tr_json_member_i64(w, "TotalSegments", segments);
    tr_json_member_i64(w, "Segment", index % segments);
}

static const struct kind {
    const char *name, *operation;
    body_fn *body;
    bool writes;   /* two versions of each request, so that every write changes something */
    uint32_t each; /* items that one request covers */
} kinds[] = {
    {"put", "PutItem", body_put, true, 1},
    {"put-if", "PutItem", body_condition, true, 1},
    {"get", "GetItem", body_get, false, 1},
    {"update", "UpdateItem", body_update, true, 1},
    {"query", "Query", body_query, false, PER_QUERY},
    {"batch-write", "BatchWriteItem", body_batch_write, true, BATCH},
    {"batch-get", "BatchGetItem", body_batch_get, false, GET_BATCH},
    {"transact", "TransactWriteItems", body_transact, true, 2},
    {"transact-4", "TransactWriteItems", body_transact_4, true, 4},
    {"update-if", "UpdateItem", body_update_if, true, 1},
    {"scan", "Scan", body_scan, false, PER_SEGMENT},
};

const char *load_operations(void)
{
    return "put, put-if, get, update, update-if, query, scan, batch-write, batch-get, transact, transact-4";
}

static int authorize(tr_sigv4 *signer, const load_plan *plan, const char *target, tr_view body, char *date,
                     tr_buf *authorization)
{
    const tr_sigv4_credentials credentials = {TR_VIEW("tailrace"), TR_VIEW("tailrace"), {NULL, 0}};
    const tr_header headers[] = {{TR_VIEW("host"), tr_view_str(plan->host)},
                                 {TR_VIEW("content-type"), TR_VIEW("application/x-amz-json-1.0")},
                                 {TR_VIEW("x-amz-target"), tr_view_str(target)}};
    const tr_sigv4_request request = {.method = TR_VIEW("POST"),
                                      .path = TR_VIEW("/"),
                                      .headers = headers,
                                      .header_count = TR_COUNT(headers),
                                      .body = body};
    tr_buf_reset(authorization);
    return tr_sigv4_sign(signer, &credentials, TR_VIEW("us-east-1"), TR_VIEW("dynamodb"), tr_clock_wall_ms(),
                         &request, date, authorization);
}

static int put_request(tr_sigv4 *signer, const load_plan *plan, const struct kind *kind, uint32_t index,
                       uint32_t version, tr_buf *body, tr_buf *authorization, tr_buf *out)
{
    char target[64], date[TR_SIGV4_DATE_LEN + 1];
    tr_json_writer w;
    tr_buf_reset(body);
    tr_json_write_init(&w, body);
    tr_json_begin_object(&w);
    kind->body(plan, index, version, &w);
    tr_json_end_object(&w);
    (void)snprintf(target, sizeof target, "DynamoDB_20120810.%s", kind->operation);
    int e = authorize(signer, plan, target, tr_buf_view(body), date, authorization);
    if (e)
        return e;
    tr_buf_printf(
        out,
        "POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: %s\r\n"
        "X-Amz-Date: %s\r\nAuthorization: %.*s\r\nContent-Length: %zu\r\n\r\n",
        plan->host, target, date, TR_FMT(tr_buf_view(authorization)), body->len);
    tr_buf_put_view(out, tr_buf_view(body));
    return tr_buf_status(out) ? tr_buf_status(out) : tr_buf_status(body);
}

static const struct kind *kind_named(const char *name)
{
    for (size_t i = 0; i < TR_COUNT(kinds); i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    (void)fprintf(stderr, "unknown operation %s: one of %s\n", name, load_operations());
    return NULL;
}

int load_requests_make(const load_plan *plan, load_requests *ret_requests)
{
    const struct kind *kind = kind_named(plan->operation);
    if (!kind)
        return TR_EINVAL;
    uint32_t distinct = plan->items / kind->each ? plan->items / kind->each : 1;
    load_requests made = {.count = kind->writes ? 2 * distinct : distinct};
    if (plan->requests && plan->requests < made.count)
        made.count = (uint32_t)plan->requests;
    tr_buf out, body, authorization;
    tr_sigv4 *signer = NULL;
    tr_buf_init(&out, (size_t)4 << 30);
    tr_buf_init(&body, 1 << 20);
    tr_buf_init(&authorization, 4096);
    made.ends = calloc(made.count, sizeof *made.ends);
    int e = made.ends ? tr_sigv4_new(&signer) : TR_ENOMEM;
    /* through the items in an order that jumps about (the step has no divisor in common with a round number
     * of items) */
    for (uint32_t i = 0; i < made.count && e == 0; i++) {
        uint32_t index = (uint32_t)((uint64_t)(i % distinct) * 7919 % distinct);
        e = put_request(signer, plan, kind, kind->operation[0] == 'Q' ? index * kind->each : index,
                        1000 + i / distinct, &body, &authorization, &out);
        made.ends[i] = out.len;
    }
    tr_sigv4_free(signer);
    tr_buf_done(&body);
    tr_buf_done(&authorization);
    made.bytes = out.ptr; /* freed by load_requests_done */
    if (e) {
        (void)fprintf(stderr, "cannot prepare the requests: %s\n", tr_strerror(e));
        load_requests_done(&made);
        return e;
    }
    *ret_requests = made;
    return 0;
}

void load_requests_done(load_requests *requests)
{
    tr_free(requests->bytes);
    free(requests->ends);
    *requests = (load_requests){.bytes = NULL};
}
