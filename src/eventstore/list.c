/* SPDX-License-Identifier: MIT */
/*
 * One page of a store's aggregates, from the index of initial events. The page token is castore's: JSON of
 * what was asked, and of the key behind which to go on.
 */
#include "eventstore/internal.h"

#include <inttypes.h>

#define LISTING_MAX ((size_t)64 << 20) /* a page of 1 MB of keys, and room */
#define LIMIT_MAX   INT32_MAX          /* of a Query (API Reference) */

typedef struct list {
    tr__query query;
    const tr_eventstore *store;
    tr_list_options asked; /* with what the token had */
    tr_arena arena;
    tr_listed *found;
    size_t count, room;
    tr_list_fn *fn;
    void *ctx;
} list;

static void free_list(list *l)
{
    tr__query_done(&l->query);
    tr_arena_done(&l->arena);
    tr_free(l);
}

static const char *index_key(const tr_eventstore *store)
{
    return store->layout == TR_EVENTS_LEGACY ? TR_EVENT_TABLE_IS_INITIAL_EVENT_KEY
                                             : TR_EVENT_TABLE_EVENT_STORE_ID_KEY;
}

/* ------------------------------------------------------------------------------------------------ tokens */

static int token_text(tr_json_reader *r, tr_view *ret_text)
{
    tr_json_token token = tr_json_next(r);
    if (token == TR_JSON_STRING)
        *ret_text = r->text;
    return token == TR_JSON_STRING || token == TR_JSON_NULL ? 0 : TR_EPARSE;
}

static int token_limit(tr_json_reader *r, uint64_t *ret_limit)
{
    int64_t number;
    if (tr_json_next(r) == TR_JSON_NULL)
        return 0;
    if (r->token != TR_JSON_NUMBER || tr_json_int(r, &number) || number < 1)
        return TR_EPARSE;
    *ret_limit = (uint64_t)number;
    return 0;
}

static int token_reverse(tr_json_reader *r, tr_event_order *ret_order)
{
    tr_json_token token = tr_json_next(r);
    if (token == TR_JSON_TRUE || token == TR_JSON_FALSE)
        *ret_order = token == TR_JSON_TRUE ? TR_ORDER_REVERSE : TR_ORDER_FORWARD;
    return token == TR_JSON_TRUE || token == TR_JSON_FALSE || token == TR_JSON_NULL ? 0 : TR_EPARSE;
}

static int token_key(tr_json_reader *r, tr_arena *arena, tr_item *ret_key)
{
    tr_view raw;
    if (tr_json_next(r) == TR_JSON_NULL)
        return 0;
    if (r->token != TR_JSON_OBJECT || tr_json_raw(r, &raw))
        return TR_EPARSE;
    return tr_item_from_json(raw, arena, ret_key, NULL);
}

/* {"limit":…,"initialEventAfter":…,"initialEventBefore":…,"reverse":…,"lastEvaluatedKey":…} */
static int read_token(tr_view token, tr_arena *arena, tr_list_options *ret, tr_item *ret_key)
{
    tr_json_reader r;
    tr_json_init(&r, token, arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT)
        return TR_EPARSE;
    int e = 0;
    while (!e && tr_json_next_key(&r)) {
        tr_view name = r.text;
        if (tr_view_is(name, "limit"))
            e = token_limit(&r, &ret->limit);
        else if (tr_view_is(name, "initialEventAfter"))
            e = token_text(&r, &ret->after);
        else if (tr_view_is(name, "initialEventBefore"))
            e = token_text(&r, &ret->before);
        else if (tr_view_is(name, "reverse"))
            e = token_reverse(&r, &ret->order);
        else if (tr_view_is(name, "lastEvaluatedKey"))
            e = token_key(&r, arena, ret_key);
        else
            (void)tr_json_next(&r), e = tr_json_skip(&r);
    }
    return e ? e : r.token == TR_JSON_OBJECT_END && tr_json_next(&r) == TR_JSON_DONE ? 0 : TR_EPARSE;
}

static void write_attribute(tr_json_writer *w, tr_item key, const char *name)
{
    tr_value value;
    if (tr_item_get(key, tr_view_str(name), &value))
        return;
    tr_json_name(w, name);
    tr_value_write(w, value);
}

static tr_view write_token(list *l, tr_item key)
{
    tr_buf out;
    tr_json_writer w;
    const tr_list_options *o = &l->asked;
    tr_buf_init(&out, LISTING_MAX);
    tr_json_write_init(&w, &out);
    tr_json_begin_object(&w);
    if (o->limit)
        tr_json_member_u64(&w, "limit", o->limit);
    if (o->after.len)
        tr_json_member_string(&w, "initialEventAfter", o->after);
    if (o->before.len)
        tr_json_member_string(&w, "initialEventBefore", o->before);
    if (o->order != TR_ORDER_DEFAULT)
        tr_json_member_bool(&w, "reverse", o->order == TR_ORDER_REVERSE);
    tr_json_name(&w, "lastEvaluatedKey");
    tr_json_begin_object(&w);
    write_attribute(&w, key, TR_EVENT_TABLE_PK);
    write_attribute(&w, key, TR_EVENT_TABLE_SK);
    write_attribute(&w, key, index_key(l->store));
    write_attribute(&w, key, TR_EVENT_TABLE_TIMESTAMP_KEY);
    tr_json_end_object(&w);
    tr_json_end_object(&w);
    tr_view token = tr_buf_status(&out) ? (tr_view){NULL, 0} : tr_arena_copy(&l->arena, tr_buf_view(&out));
    tr_buf_done(&out);
    return token;
}

/* ------------------------------------------------------------------------------------------------- query */

static void write_text_value(tr_json_writer *w, const char *name, tr_view text)
{
    tr_json_name(w, name);
    tr_json_begin_object(w);
    tr_json_member_string(w, "S", text);
    tr_json_end_object(w);
}

static void write_condition(list *l)
{
    tr_json_writer *w = &l->query.writer;
    const tr_list_options *o = &l->asked;
    bool legacy = l->store->layout == TR_EVENTS_LEGACY;
    tr_json_name(w, "KeyConditionExpression");
    tr_json_sep(w);
    tr_buf_put_str(w->out, legacy ? "\"#isInitialEvent = :true" : "\"#eventStoreId = :eventStoreId");
    if (o->after.len && o->before.len)
        tr_buf_put_str(w->out, " and #timestamp between :initialEventAfter and :initialEventBefore");
    else if (o->before.len)
        tr_buf_put_str(w->out, " and #timestamp <= :initialEventBefore");
    else if (o->after.len)
        tr_buf_put_str(w->out, " and #timestamp >= :initialEventAfter");
    tr_buf_putc(w->out, '"');
    tr_json_name(w, "ExpressionAttributeNames");
    tr_json_begin_object(w);
    tr_json_member_cstring(w, legacy ? "#isInitialEvent" : "#eventStoreId", index_key(l->store));
    if (o->after.len || o->before.len)
        tr_json_member_cstring(w, "#timestamp", TR_EVENT_TABLE_TIMESTAMP_KEY);
    tr_json_end_object(w);
}

/* Member by member what castore's listAggregateIds asks. */
static void write_query(list *l)
{
    tr_json_writer *w = &l->query.writer;
    const tr_list_options *o = &l->asked;
    tr_json_member_cstring(w, "TableName", tr__eventstore_table(l->store));
    tr_json_member_cstring(w, "IndexName", TR_EVENT_TABLE_INITIAL_EVENT_INDEX_NAME);
    write_condition(l);
    tr_json_name(w, "ExpressionAttributeValues");
    tr_json_begin_object(w);
    if (l->store->layout == TR_EVENTS_LEGACY) {
        tr_json_name(w, ":true");
        tr_json_begin_object(w);
        tr_json_member_cstring(w, "N", "1");
        tr_json_end_object(w);
    } else {
        write_text_value(w, ":eventStoreId", tr_view_str(l->store->id));
    }
    if (o->before.len)
        write_text_value(w, ":initialEventBefore", o->before);
    if (o->after.len)
        write_text_value(w, ":initialEventAfter", o->after);
    tr_json_end_object(w);
    if (o->order != TR_ORDER_DEFAULT)
        tr_json_member_bool(w, "ScanIndexForward", o->order != TR_ORDER_REVERSE);
}

/* ---------------------------------------------------------------------------------------------- results */

static tr_listed *room_for_one(list *l)
{
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        tr_listed *found = tr_arena_alloc(&l->arena, room * sizeof *found);
        if (!found)
            return NULL;
        if (l->count)
            memcpy(found, l->found, l->count * sizeof *found);
        l->found = found;
        l->room = room;
    }
    return &l->found[l->count++];
}

static int on_item(void *ctx, tr_item item, tr_error *err)
{
    list *l = ctx;
    tr_value id, time;
    if (tr_item_get(item, TR_VIEW(TR_EVENT_TABLE_PK), &id) || id.type != TR_S ||
        tr_item_get(item, TR_VIEW(TR_EVENT_TABLE_TIMESTAMP_KEY), &time) || time.type != TR_S)
        return tr_fail(err, TR_EINVAL, "an item of the index %s has no aggregateId and timestamp",
                       TR_EVENT_TABLE_INITIAL_EVENT_INDEX_NAME);
    tr_listed *one = room_for_one(l);
    if (one) {
        one->aggregate_id = tr_arena_copy(&l->arena, tr__event_unprefix(l->store, id.payload));
        one->initial_event_timestamp = tr_arena_copy(&l->arena, time.payload);
    }
    return one && one->aggregate_id.ptr && one->initial_event_timestamp.ptr
               ? 0
               : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

static void on_page(void *ctx, int code, const tr_error *err)
{
    list *l = ctx;
    tr_error ours;
    tr_listing listing = {.aggregates = l->found, .count = l->count};
    if (!code && l->query.next.len) {
        tr_item key;
        code = tr_item_from_json(tr_buf_view(&l->query.next), &l->arena, &key, &ours);
        if (!code && !(listing.next_page_token = write_token(l, key)).ptr)
            code = tr_fail(&ours, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
        err = &ours;
    }
    l->fn(l->ctx, code, code ? NULL : &listing, code ? err : NULL);
    free_list(l);
}

/* ------------------------------------------------------------------------------------------------- start */

static int copy_text(list *l, tr_view *text)
{
    if (text->len == 0)
        return 0;
    *text = tr_arena_copy(&l->arena, *text);
    return text->ptr ? 0 : TR_ENOMEM;
}

/* What was asked now wins over what the token has. */
static int prepare(list *l, const tr_list_options *o, tr_error *err)
{
    tr_item key = {NULL, 0};
    tr_view token = o->page_token;
    int e = copy_text(l, &token);
    if (!e && token.len && read_token(token, &l->arena, &l->asked, &key))
        return tr_fail(err, TR_EINVAL, "Invalid page token");
    if (o->limit)
        l->asked.limit = o->limit;
    if (o->after.len)
        l->asked.after = o->after;
    if (o->before.len)
        l->asked.before = o->before;
    if (o->order != TR_ORDER_DEFAULT)
        l->asked.order = o->order;
    if (!e)
        e = copy_text(l, &l->asked.after);
    if (!e)
        e = copy_text(l, &l->asked.before);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    if (l->asked.limit > LIMIT_MAX)
        return tr_fail(err, TR_EINVAL, "a page's limit is at most %d", LIMIT_MAX);
    tr__query_init(&l->query, "Query", l->asked.limit);
    write_query(l);
    if (key.len) {
        tr_json_writer w;
        tr_json_write_init(&w, &l->query.next);
        tr_item_write(&w, key);
    }
    return 0;
}

int tr_eventstore_list(tr_eventstore *store, const tr_list_options *options, tr_list_fn *fn, void *ctx,
                       tr_error *err)
{
    static const tr_list_options none = {0};
    list *l = tr_calloc(1, sizeof *l);
    if (!l)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    l->store = store;
    l->fn = fn;
    l->ctx = ctx;
    tr_arena_init(&l->arena, LISTING_MAX);
    int e = prepare(l, options ? options : &none, err);
    if (!e)
        e = tr__query_page_start(store->client, &l->query, on_item, on_page, l, err);
    if (e)
        free_list(l);
    return e;
}

/* --------------------------------------------------------------------------------------------- blocking */

typedef struct listing_wait {
    tr__wait wait;
    tr_arena *arena;
    tr_listing listing;
} listing_wait;

static int copy_listing(listing_wait *l, const tr_listing *from)
{
    tr_listed *copy = tr_arena_calloc(l->arena, from->count ? from->count : 1, sizeof *copy);
    if (!copy)
        return TR_ENOMEM;
    for (size_t i = 0; i < from->count; i++) {
        copy[i].aggregate_id = tr_arena_copy(l->arena, from->aggregates[i].aggregate_id);
        copy[i].initial_event_timestamp =
            tr_arena_copy(l->arena, from->aggregates[i].initial_event_timestamp);
        if (!copy[i].aggregate_id.ptr || !copy[i].initial_event_timestamp.ptr)
            return TR_ENOMEM;
    }
    l->listing = (tr_listing){.aggregates = copy, .count = from->count};
    if (from->next_page_token.len) {
        l->listing.next_page_token = tr_arena_copy(l->arena, from->next_page_token);
        return l->listing.next_page_token.ptr ? 0 : TR_ENOMEM;
    }
    return 0;
}

static void on_listed(void *ctx, int code, const tr_listing *listing, const tr_error *err)
{
    listing_wait *l = ctx;
    tr_error ours;
    if (!code && (code = copy_listing(l, listing))) {
        (void)tr_fail(&ours, code, "%s", tr_strerror(code));
        err = &ours;
    }
    tr__wait_done(&l->wait, code, err);
}

int tr_eventstore_list_wait(tr_eventstore *store, const tr_list_options *options, tr_arena *arena,
                            tr_listing *ret_listing, tr_error *err)
{
    listing_wait l = {.arena = arena};
    int e = tr__wait_begin(&l.wait, store->client, err);
    if (e)
        return e;
    e = tr__wait_end(&l.wait, tr_eventstore_list(store, options, on_listed, &l, err));
    if (!e)
        *ret_listing = l.listing;
    return e;
}
