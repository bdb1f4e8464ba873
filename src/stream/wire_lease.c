/* SPDX-License-Identifier: MIT */
#include "stream/wire_lease.h"

/*
 * Rows of the lease table on the wire. Those of the Kinesis Client Library 1.x (its LeaseSerializer and
 * KinesisClientLeaseSerializer), and two attributes of our own that it does not mind: tailraceStart and
 * tailraceHandover.
 */

/* --------------------------------------------------------------------------------------------- requests */

static void text_value(tr_json_writer *w, const char *name, tr_view text)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_string(w, "S", text);
    tr_json_end_object(w);
}

static void number_value(tr_json_writer *w, const char *name, uint64_t number)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_name(w, "N");
    tr_json_sep(w);
    tr_buf_putc(w->out, '"');
    tr_buf_put_u64(w->out, number);
    tr_buf_putc(w->out, '"');
    tr_json_end_object(w);
}

/** Plain JSON as an attribute of type M. */
static void map_value(tr_json_writer *w, const char *name, tr_view json)
{
    tr_arena arena;
    tr_buf packed;
    tr_item_error problem;
    tr_arena_init(&arena, 64 * 1024);
    tr_buf_init(&packed, 64 * 1024);
    tr_json_reader r;
    tr_json_init(&r, json, &arena);
    tr_json_name(w, name);
    if (tr_json_next(&r) == TR_JSON_OBJECT && tr_item_read_plain(&r, TR_PLAIN_EXACT, &packed, &problem) == 0)
        tr_value_write(w, (tr_value){.type = TR_M, .payload = tr_buf_view(&packed)});
    else
        tr_json_value(w, TR_VIEW("{\"M\":{}}"));
    tr_buf_done(&packed);
    tr_arena_done(&arena);
}

static void key_member(tr_json_writer *w, const char *member, tr_view key)
{
    tr_json_name(w, member);
    tr_json_begin_object(w);
    text_value(w, "leaseKey", key);
    tr_json_end_object(w);
}

static void encode_create(tr_json_writer *w)
{
    tr_json_name(w, "KeySchema");
    tr_json_value(w, TR_VIEW("[{\"AttributeName\":\"leaseKey\",\"KeyType\":\"HASH\"}]"));
    tr_json_name(w, "AttributeDefinitions");
    tr_json_value(w, TR_VIEW("[{\"AttributeName\":\"leaseKey\",\"AttributeType\":\"S\"}]"));
    tr_json_member_cstring(w, "BillingMode", "PAY_PER_REQUEST");
}

static void encode_put(tr_json_writer *w, const tr__row *row)
{
    tr_json_member_cstring(w, "ConditionExpression", "attribute_not_exists(leaseKey)");
    tr_json_name(w, "Item");
    tr_json_begin_object(w);
    text_value(w, "leaseKey", row->key);
    if (row->owner.len)
        text_value(w, "leaseOwner", row->owner);
    number_value(w, "leaseCounter", row->counter);
    number_value(w, "ownerSwitchesSinceCheckpoint", row->owner_switches);
    text_value(w, "checkpoint", row->checkpoint);
    number_value(w, "checkpointSubSequenceNumber", 0);
    if (row->parent.len) {
        tr_json_name(w, "parentShardId");
        tr_json_begin_object(w);
        tr_json_name(w, "SS");
        tr_json_begin_array(w);
        tr_json_string(w, row->parent);
        tr_json_end_array(w);
        tr_json_end_object(w);
    }
    if (row->start.len)
        map_value(w, "tailraceStart", row->start);
    tr_json_end_object(w);
}

static void encode_update_expression(tr_json_writer *w, const tr__req *req)
{
    const tr__row *row = &req->row;
    char text[400];
    tr_buf e;
    tr_buf_init(&e, sizeof text);
    tr_buf_put_str(&e, "SET leaseCounter=:n, ownerSwitchesSinceCheckpoint=:s");
    if (row->owner.len)
        tr_buf_put_str(&e, ", leaseOwner=:w");
    if (row->checkpoint.len)
        tr_buf_put_str(&e, ", checkpoint=:p, checkpointSubSequenceNumber=:z");
    if (row->checkpoint.len && row->start.len)
        tr_buf_put_str(&e, ", tailraceStart=:x");
    const char *before = " REMOVE ";
    if (!row->owner.len) {
        tr_buf_printf(&e, "%sleaseOwner", before);
        before = ", ";
    }
    if (row->checkpoint.len && !row->start.len) {
        tr_buf_printf(&e, "%stailraceStart", before);
        before = ", ";
    }
    if (req->clear_handover)
        tr_buf_printf(&e, "%stailraceHandover", before);
    tr_json_member_string(w, "UpdateExpression", tr_buf_view(&e));
    tr_buf_done(&e);
}

static void encode_update(tr_json_writer *w, const tr__req *req)
{
    const tr__row *row = &req->row;
    key_member(w, "Key", row->key);
    encode_update_expression(w, req);
    tr_json_member_cstring(w, "ConditionExpression",
                           req->expect_owner.len ? "leaseCounter=:c AND leaseOwner=:o"
                                                 : "leaseCounter=:c AND attribute_not_exists(leaseOwner)");
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    number_value(w, ":n", row->counter);
    number_value(w, ":s", row->owner_switches);
    number_value(w, ":c", req->expect_counter);
    if (req->expect_owner.len)
        text_value(w, ":o", req->expect_owner);
    if (row->owner.len)
        text_value(w, ":w", row->owner);
    if (row->checkpoint.len) {
        text_value(w, ":p", row->checkpoint);
        number_value(w, ":z", 0);
        if (row->start.len)
            map_value(w, ":x", row->start);
    }
    tr_json_end_object(w);
    tr_json_member_cstring(w, "ReturnValues", "ALL_NEW");
}

static void encode_ask(tr_json_writer *w, const tr__req *req)
{
    key_member(w, "Key", req->shard_id);
    tr_json_member_cstring(w, "UpdateExpression", "SET tailraceHandover=:h");
    tr_json_member_cstring(w, "ConditionExpression",
                           "leaseOwner=:o AND attribute_not_exists(tailraceHandover)");
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    text_value(w, ":h", req->handover_to);
    text_value(w, ":o", req->expect_owner);
    tr_json_end_object(w);
    tr_json_member_cstring(w, "ReturnValues", "ALL_NEW");
}

static void encode_delete(tr_json_writer *w, const tr__req *req)
{
    key_member(w, "Key", req->shard_id);
    tr_json_member_cstring(w, "ConditionExpression", "leaseCounter=:c");
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    number_value(w, ":c", req->expect_counter);
    tr_json_end_object(w);
}

const char *tr__wire_encode_lease(tr_json_writer *w, const tr__req *req)
{
    tr_json_member_string(w, "TableName", req->table);
    switch (req->kind) {
    case TR__REQ_LEASE_DESCRIBE:
        return "DescribeTable";
    case TR__REQ_LEASE_CREATE:
        encode_create(w);
        return "CreateTable";
    case TR__REQ_LEASE_SCAN:
        tr_json_member_bool(w, "ConsistentRead", true);
        if (req->exclusive_start.len)
            key_member(w, "ExclusiveStartKey", req->exclusive_start);
        return "Scan";
    case TR__REQ_LEASE_GET:
        tr_json_member_bool(w, "ConsistentRead", true);
        key_member(w, "Key", req->shard_id);
        return "GetItem";
    case TR__REQ_LEASE_PUT:
        encode_put(w, &req->row);
        return "PutItem";
    case TR__REQ_LEASE_WRITE:
        encode_update(w, req);
        return "UpdateItem";
    case TR__REQ_LEASE_ASK:
        encode_ask(w, req);
        return "UpdateItem";
    default:
        encode_delete(w, req);
        return "DeleteItem";
    }
}

/* ---------------------------------------------------------------------------------------------- answers */

static tr_view text_of(tr_item item, const char *name)
{
    tr_value v;
    if (tr_item_get(item, tr_view_str(name), &v) || v.type != TR_S)
        return (tr_view){0};
    return v.payload;
}

static uint64_t number_of(tr_item item, const char *name)
{
    tr_value v;
    int64_t n;
    if (tr_item_get(item, tr_view_str(name), &v) || v.type != TR_N || tr_number_to_i64(v.payload, &n) ||
        n < 0)
        return 0;
    return (uint64_t)n;
}

static tr_view first_of(tr_item item, const char *name)
{
    tr_value v;
    tr_packed_iter iter;
    if (tr_item_get(item, tr_view_str(name), &v) || v.type != TR_SS)
        return (tr_view){0};
    tr_value_iter(&iter, v);
    return tr_packed_next(&iter) ? iter.value.payload : (tr_view){0};
}

/** An attribute of type M as plain JSON, in the arena. */
static tr_view map_of(tr_arena *arena, tr_item item, const char *name)
{
    tr_value v;
    if (tr_item_get(item, tr_view_str(name), &v) || v.type != TR_M)
        return (tr_view){0};
    tr_buf b;
    tr_buf_init(&b, 64 * 1024);
    tr_json_writer w;
    tr_json_write_init(&w, &b);
    tr_value_write_plain(&w, v);
    tr_view json = tr_buf_status(&b) ? (tr_view){0} : tr_arena_copy(arena, tr_buf_view(&b));
    tr_buf_done(&b);
    return json;
}

int tr__wire_row(tr_arena *arena, tr_item item, tr__row *ret_row)
{
    *ret_row = (tr__row){.key = text_of(item, "leaseKey"),
                         .owner = text_of(item, "leaseOwner"),
                         .checkpoint = text_of(item, "checkpoint"),
                         .parent = first_of(item, "parentShardId"),
                         .handover_to = text_of(item, "tailraceHandover"),
                         .start = map_of(arena, item, "tailraceStart"),
                         .counter = number_of(item, "leaseCounter"),
                         .owner_switches = number_of(item, "ownerSwitchesSinceCheckpoint")};
    if (!ret_row->checkpoint.len)
        ret_row->checkpoint = TR_VIEW("TRIM_HORIZON");
    return ret_row->key.len ? 0 : TR_EPARSE;
}

/** The item whose brace was just read, packed in the arena. */
static int read_item(tr_arena *arena, tr_json_reader *r, tr_item *ret_item)
{
    tr_buf packed;
    tr_item_error problem;
    tr_buf_init(&packed, TR_ITEM_SIZE_MAX * 2);
    int code = tr_item_read(r, &packed, &problem);
    if (code == 0) {
        *ret_item = tr_arena_copy(arena, tr_buf_view(&packed));
        code = ret_item->ptr ? 0 : TR_ENOMEM;
    }
    tr_buf_done(&packed);
    return code;
}

static int read_rows(tr_arena *arena, tr_json_reader *r, tr__answer *a)
{
    size_t capacity = 0;
    tr__row *rows = NULL;
    tr_json_token t;
    if (tr_json_next(r) != TR_JSON_ARRAY)
        return TR_EPARSE;
    while ((t = tr_json_next(r)) == TR_JSON_OBJECT) {
        if (a->count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            tr__row *more = tr_arena_calloc(arena, capacity, sizeof *more);
            if (!more)
                return TR_ENOMEM;
            if (a->count)
                memcpy(more, rows, a->count * sizeof *rows);
            rows = more;
            a->rows = rows;
        }
        tr_item item;
        int code = read_item(arena, r, &item);
        if (code == 0)
            code = tr__wire_row(arena, item, &rows[a->count]);
        if (code)
            return code;
        a->count++;
    }
    return t == TR_JSON_ARRAY_END ? 0 : TR_EPARSE;
}

static int read_row(tr_arena *arena, tr_json_reader *r, tr__answer *a)
{
    tr_json_token t = tr_json_next(r);
    if (t == TR_JSON_NULL)
        return 0;
    tr__row *row = tr_arena_calloc(arena, 1, sizeof *row);
    tr_item item;
    if (!row)
        return TR_ENOMEM;
    int code = t == TR_JSON_OBJECT ? read_item(arena, r, &item) : TR_EPARSE;
    if (code == 0)
        code = tr__wire_row(arena, item, row);
    if (code == 0) {
        a->rows = row;
        a->count = 1;
    }
    return code;
}

static int read_last(tr_arena *arena, tr_json_reader *r, tr__answer *a)
{
    tr_json_token t = tr_json_next(r);
    tr_item key;
    if (t == TR_JSON_NULL)
        return 0;
    int code = t == TR_JSON_OBJECT ? read_item(arena, r, &key) : TR_EPARSE;
    if (code == 0)
        a->last = text_of(key, "leaseKey");
    return code;
}

int tr__wire_decode_lease(tr_arena *arena, tr__req_kind kind, tr_view body, tr__answer *a)
{
    tr_json_reader r;
    (void)kind;
    tr_json_init(&r, body, arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    int code = 0;
    while (code == 0 && tr_json_next_key(&r)) {
        if (tr_view_is(r.text, "Items")) {
            code = read_rows(arena, &r, a);
        } else if (tr_view_is(r.text, "Item") || tr_view_is(r.text, "Attributes")) {
            code = read_row(arena, &r, a);
        } else if (tr_view_is(r.text, "LastEvaluatedKey")) {
            code = read_last(arena, &r, a);
        } else {
            (void)tr_json_next(&r);
            code = tr_json_skip(&r);
        }
    }
    if (code == 0 && (r.token != TR_JSON_OBJECT_END || tr_json_next(&r) != TR_JSON_DONE))
        code = TR_EPARSE;
    return code == 0 || code == TR_ENOMEM ? code : TR_EPARSE;
}
