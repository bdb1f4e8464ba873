/* SPDX-License-Identifier: MIT */
#include "eventstore/select.h"

#include "eventstore/internal.h"

static int copy_texts(const char *const *given, size_t count, const char *what, char ***ret,
                      size_t *ret_count, tr_error *err)
{
    if (count > TR_SELECTION_MAX)
        return tr_fail(err, TR_EINVAL, "%zu %s: at most %d can be selected", count, what, TR_SELECTION_MAX);
    *ret = tr_calloc(count ? count : 1, sizeof **ret);
    for (size_t i = 0; *ret && i < count; i++, (*ret_count)++) {
        if (!given[i] || !given[i][0])
            return tr_fail(err, TR_EINVAL, "an empty text is among the %s", what);
        if (!((*ret)[i] = tr_strdup(given[i])))
            break;
    }
    return *ret && *ret_count == count ? 0 : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

int tr__selection_init(tr__selection *s, const tr_event_selection *given, tr_error *err)
{
    *s = (tr__selection){.layout = given->layout, .from_ms = INT64_MIN, .until_ms = INT64_MAX};
    bool legacy = given->layout == TR_EVENTS_LEGACY;
    if (legacy && given->store_count != 1)
        return tr_fail(err, TR_EINVAL,
                       "the legacy layout has one store per table: name that store, and no other");
    int e = copy_texts(given->stores, given->store_count, "stores", &s->stores, &s->store_count, err);
    if (!e)
        e = copy_texts(given->types, given->type_count, "types", &s->types, &s->type_count, err);
    for (size_t i = 0; !e && !legacy && i < s->store_count; i++)
        if (strchr(s->stores[i], '#'))
            e = tr_fail(err, TR_EINVAL, "store '%s': '#' cannot be in a store's id", s->stores[i]);
    if (!e) {
        s->table = tr_strdup(given->table ? given->table : legacy ? s->stores[0] : TR_EVENT_TABLE);
        if (!s->table)
            e = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    if (e)
        tr__selection_done(s);
    return e;
}

void tr__selection_done(tr__selection *s)
{
    for (size_t i = 0; i < s->store_count; i++)
        tr_free(s->stores[i]);
    for (size_t i = 0; i < s->type_count; i++)
        tr_free(s->types[i]);
    tr_free(s->stores);
    tr_free(s->types);
    tr_free(s->table);
    *s = (tr__selection){0};
}

static void write_texts(tr_json_writer *w, const char *name, char **texts, size_t count)
{
    tr_json_name(w, name);
    tr_json_begin_array(w);
    for (size_t i = 0; i < count; i++)
        tr_json_cstring(w, texts[i]);
    tr_json_end_array(w);
}

void tr__selection_write(const tr__selection *s, tr_json_writer *w)
{
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "table", s->table);
    tr_json_member_bool(w, "legacy", s->layout == TR_EVENTS_LEGACY);
    write_texts(w, "stores", s->stores, s->store_count);
    write_texts(w, "types", s->types, s->type_count);
    if (s->by_aggregate)
        tr_json_member_bool(w, "byAggregate", true);
    tr_json_end_object(w);
}

static bool among(tr_view text, char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (tr_view_is(text, texts[i]))
            return true;
    return count == 0;
}

bool tr__selection_take(const tr__selection *s, tr_item item, tr_view *ret_store, tr_event *ret_event)
{
    tr_event event;
    tr_view store;
    if (tr__event_take(item, &event, NULL))
        return false;
    if (s->layout == TR_EVENTS_LEGACY) {
        store = tr_view_str(s->stores[0]);
    } else {
        size_t hash = tr_view_find(event.aggregate_id, TR_VIEW(TR_EVENT_STORE_SEPARATOR), 0);
        if (hash == SIZE_MAX)
            return false;
        store = tr_view_of(event.aggregate_id.ptr, hash);
        if (!among(store, s->stores, s->store_count))
            return false;
        event.aggregate_id = tr_view_of(event.aggregate_id.ptr + hash + 1, event.aggregate_id.len - hash - 1);
    }
    *ret_store = store;
    *ret_event = event;
    return true;
}

bool tr__selection_wants(const tr__selection *s, const tr_event *event)
{
    int64_t ms;
    if (!among(event->type, s->types, s->type_count))
        return false;
    /* a timestamp that is none cannot be too early or too late */
    return tr_time_parse(event->timestamp, &ms) || (ms >= s->from_ms && ms <= s->until_ms);
}
