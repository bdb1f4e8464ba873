/* SPDX-License-Identifier: MIT */
#include "eventstore/internal.h"

/* ------------------------------------------------------------------------------------------ writing JSON */

static void write_number(tr_json_writer *w, tr_view packed, tr_event_numbers how)
{
    char text[TR_NUMBER_TEXT_MAX];
    int64_t whole;
    size_t len;
    if (how == TR_NUMBERS_WRAPPED) {
        len = tr_number_format_js(packed, text);
        tr_json_begin_object(w);
        tr_json_member_string(w, "value", tr_view_of(text, len));
        tr_json_end_object(w);
        return;
    }
    double number = tr_number_to_double(packed);
    bool exact = how == TR_NUMBERS_EXACT || (tr_number_to_i64(packed, &whole) == 0) ||
                 number > (double)TR_EVENT_VERSION_MAX || number < -(double)TR_EVENT_VERSION_MAX;
    len = how == TR_NUMBERS_EXACT ? tr_number_format_plain(packed, text)
          : exact                 ? tr_number_format_js(packed, text)
                                  : tr_double_format(number, text);
    tr_json_value(w, tr_view_of(text, len));
}

static void write_set(tr_json_writer *w, tr_value set, const tr_event_format *format)
{
    tr_packed_iter it;
    if (format->sets == TR_SETS_TYPED) {
        tr_json_begin_object(w);
        tr_json_name(w, tr_type_name(set.type));
    }
    tr_json_begin_array(w);
    tr_value_iter(&it, set);
    while (tr_packed_next(&it))
        tr__event_write_value(w, it.value, format);
    tr_json_end_array(w);
    if (format->sets == TR_SETS_TYPED)
        tr_json_end_object(w);
}

/* Recurses no deeper than an item may be nested. */
void tr__event_write_value(tr_json_writer *w, tr_value value, const tr_event_format *format)
{
    tr_packed_iter it;
    if (!format || (format->numbers == TR_NUMBERS_EXACT && format->sets == TR_SETS_ARRAY)) {
        tr_value_write_plain(w, value);
        return;
    }
    switch (value.type) {
    case TR_N:
        write_number(w, value.payload, format->numbers);
        break;
    case TR_M:
        tr_json_begin_object(w);
        tr_value_iter(&it, value);
        while (tr_packed_next(&it)) {
            tr_json_key(w, it.name);
            tr__event_write_value(w, it.value, format);
        }
        tr_json_end_object(w);
        break;
    case TR_L:
        tr_json_begin_array(w);
        tr_value_iter(&it, value);
        while (tr_packed_next(&it))
            tr__event_write_value(w, it.value, format);
        tr_json_end_array(w);
        break;
    case TR_SS:
    case TR_NS:
    case TR_BS:
        write_set(w, value, format);
        break;
    default:
        tr_value_write_plain(w, value);
    }
}

void tr_event_write(tr_json_writer *w, const tr_event *event, const tr_event_format *format)
{
    tr_json_begin_object(w);
    tr_json_member_string(w, TR_EVENT_TABLE_PK, event->aggregate_id);
    tr_json_member_u64(w, TR_EVENT_TABLE_SK, event->version);
    tr_json_member_string(w, TR_EVENT_TABLE_EVENT_TYPE_KEY, event->type);
    if (event->timestamp.len)
        tr_json_member_string(w, TR_EVENT_TABLE_TIMESTAMP_KEY, event->timestamp);
    if (event->payload.type != TR_NONE) {
        tr_json_name(w, TR_EVENT_TABLE_PAYLOAD_KEY);
        tr__event_write_value(w, event->payload, format);
    }
    if (event->metadata.type != TR_NONE) {
        tr_json_name(w, TR_EVENT_TABLE_METADATA_KEY);
        tr__event_write_value(w, event->metadata, format);
    }
    tr_json_end_object(w);
}

/* ------------------------------------------------------------------------------------------ reading JSON */

static int want_text(const char *name, tr_value value, tr_view *ret_text, tr_error *err)
{
    if (value.type != TR_S || value.payload.len == 0)
        return tr_fail(err, TR_EINVAL, "an event's %s must be a string that is not empty", name);
    *ret_text = value.payload;
    return 0;
}

static int want_version(tr_value value, uint64_t *ret_version, tr_error *err)
{
    int64_t number;
    if (value.type != TR_N || tr_number_to_i64(value.payload, &number) || number < 1 ||
        number > TR_EVENT_VERSION_MAX)
        return tr_fail(err, TR_EINVAL, "an event's version must be a whole number from 1");
    *ret_version = (uint64_t)number;
    return 0;
}

static int take_member(tr_view name, tr_value value, tr_event *event, tr_error *err)
{
    if (tr_view_is(name, TR_EVENT_TABLE_PK))
        return want_text(TR_EVENT_TABLE_PK, value, &event->aggregate_id, err);
    if (tr_view_is(name, TR_EVENT_TABLE_SK))
        return want_version(value, &event->version, err);
    if (tr_view_is(name, TR_EVENT_TABLE_EVENT_TYPE_KEY))
        return want_text(TR_EVENT_TABLE_EVENT_TYPE_KEY, value, &event->type, err);
    if (tr_view_is(name, TR_EVENT_TABLE_TIMESTAMP_KEY))
        return want_text(TR_EVENT_TABLE_TIMESTAMP_KEY, value, &event->timestamp, err);
    if (tr_view_is(name, TR_EVENT_TABLE_PAYLOAD_KEY))
        event->payload = value;
    else if (tr_view_is(name, TR_EVENT_TABLE_METADATA_KEY))
        event->metadata = value;
    else
        return tr_fail(
            err, TR_EINVAL,
            "an event has no member '%.*s': aggregateId, version, type, timestamp, payload and metadata "
            "are known",
            name.len > 200 ? 200 : (int)name.len, name.ptr);
    return 0;
}

/* The object as a packed item in the arena. */
static int pack_object(tr_view json, tr_arena *arena, tr_item *ret_item, tr_error *err)
{
    tr_json_reader r;
    tr_buf packed;
    tr_item_error problem;
    int e;
    tr_buf_init(&packed, TR__EVENT_JSON_MAX);
    tr_json_init(&r, json, arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT) {
        e = tr_fail(err, TR_EPARSE, "an event is a JSON object%s%s", tr_json_error(&r) ? ": " : "",
                    tr_json_error(&r) ? tr_json_error(&r) : "");
    } else if ((e = tr_item_read_plain(&r, TR_PLAIN_EXACT, &packed, &problem))) {
        e = e == TR_EEXIST ? TR_EPARSE : e; /* a name occurs twice: the text's fault, not the store's */
        (void)tr_item_error_to(&problem, e, &r, err);
    } else if (tr_json_next(&r) != TR_JSON_DONE) {
        e = tr_fail(err, TR_EPARSE, "an event is one JSON object, nothing may follow it");
    }
    if (!e) {
        *ret_item = tr_arena_copy(arena, tr_buf_view(&packed));
        if (!ret_item->ptr)
            e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    tr_buf_done(&packed);
    return e;
}

int tr_event_from_json(tr_view json, tr_arena *arena, tr_event *ret_event, tr_error *err)
{
    tr_item item;
    tr_event event = {0};
    tr_packed_iter it;
    int e = pack_object(json, arena, &item, err);
    if (e)
        return e;
    tr_item_iter(&it, item);
    while (!e && tr_packed_next(&it))
        e = take_member(it.name, it.value, &event, err);
    if (!e && (!event.aggregate_id.len || !event.type.len))
        e = tr_fail(err, TR_EINVAL, "an event needs a member '%s'",
                    event.aggregate_id.len ? TR_EVENT_TABLE_EVENT_TYPE_KEY : TR_EVENT_TABLE_PK);
    if (!e)
        *ret_event = event;
    return e;
}

/* ----------------------------------------------------------------------------------------------- items */

static int not_event(const char *attribute, const char *want, tr_error *err)
{
    return tr_fail(err, TR_EINVAL, "not an event: its %s is not %s", attribute, want);
}

/* The attributes of an event, by the order in which items have them: an item is walked once. */
typedef struct attributes {
    tr_value key, metadata, payload, timestamp, type, version;
} attributes;

static void find_attributes(tr_item item, attributes *ret)
{
    const struct {
        tr_view name;
        tr_value *value;
    } wanted[] = {{TR_VIEW(TR_EVENT_TABLE_PK), &ret->key},
                  {TR_VIEW(TR_EVENT_TABLE_METADATA_KEY), &ret->metadata},
                  {TR_VIEW(TR_EVENT_TABLE_PAYLOAD_KEY), &ret->payload},
                  {TR_VIEW(TR_EVENT_TABLE_TIMESTAMP_KEY), &ret->timestamp},
                  {TR_VIEW(TR_EVENT_TABLE_EVENT_TYPE_KEY), &ret->type},
                  {TR_VIEW(TR_EVENT_TABLE_SK), &ret->version}};
    size_t next = 0;
    tr_packed_iter it;
    tr_item_iter(&it, item);
    while (next < TR_COUNT(wanted) && tr_packed_next(&it)) {
        int order = 1;
        while (next < TR_COUNT(wanted) && (order = tr_view_cmp(it.name, wanted[next].name)) > 0)
            next++;
        if (order == 0)
            *wanted[next++].value = it.value;
    }
}

int tr__event_take(tr_item item, tr_event *ret_event, tr_error *err)
{
    attributes a = {0};
    int64_t number;
    find_attributes(item, &a);
    if (a.key.type != TR_S)
        return not_event(TR_EVENT_TABLE_PK, "a string", err);
    if (a.version.type != TR_N || tr_number_to_i64(a.version.payload, &number) || number < 0)
        return not_event(TR_EVENT_TABLE_SK, "a whole number", err);
    if (a.type.type != TR_S)
        return not_event(TR_EVENT_TABLE_EVENT_TYPE_KEY, "a string", err);
    if (a.timestamp.type != TR_S && a.timestamp.type != TR_NONE)
        return not_event(TR_EVENT_TABLE_TIMESTAMP_KEY, "a string", err);
    *ret_event = (tr_event){.aggregate_id = a.key.payload,
                            .version = (uint64_t)number,
                            .type = a.type.payload,
                            .timestamp = a.timestamp.payload,
                            .payload = a.payload,
                            .metadata = a.metadata};
    return 0;
}

int tr_event_from_item(const tr_eventstore *store, tr_item item, tr_event *ret_event, tr_error *err)
{
    tr_event event = {0};
    int e = tr__event_take(item, &event, err);
    if (e)
        return e;
    event.aggregate_id = tr__event_unprefix(store, event.aggregate_id);
    *ret_event = event;
    return 0;
}

int tr_event_parse_image(const tr_eventstore *const *stores, size_t count, tr_item image, size_t *ret_index,
                         tr_event *ret_event, tr_error *err)
{
    tr_event event = {0};
    int e = tr__event_take(image, &event, err);
    if (e)
        return e;
    size_t hash = tr_view_find(event.aggregate_id, TR_VIEW(TR_EVENT_STORE_SEPARATOR), 0);
    tr_view prefix = hash == SIZE_MAX ? event.aggregate_id : tr_view_of(event.aggregate_id.ptr, hash);
    for (size_t i = 0; i < count; i++) {
        if (stores[i]->layout == TR_EVENTS_SINGLE_TABLE &&
            (hash == SIZE_MAX || !tr_view_is(prefix, stores[i]->id)))
            continue;
        event.aggregate_id = tr__event_unprefix(stores[i], event.aggregate_id);
        *ret_index = i;
        *ret_event = event;
        return 0;
    }
    return tr_fail(err, TR_ENOTFOUND, "Unable to detect eventStore from image. Received eventStoreId: %.*s",
                   prefix.len > 1000 ? 1000 : (int)prefix.len, prefix.ptr);
}
