/* SPDX-License-Identifier: MIT */
#include "eventstore/internal.h"

static const char *const content[] = {TR_EVENT_TABLE_EVENT_TYPE_KEY, TR_EVENT_TABLE_TIMESTAMP_KEY,
                                      TR_EVENT_TABLE_PAYLOAD_KEY, TR_EVENT_TABLE_METADATA_KEY, NULL};
const tr__numbered_layout tr__event_numbering = {
    .pk = TR_EVENT_TABLE_PK, .sk = TR_EVENT_TABLE_SK, .marker = TR_EVENT_TABLE_SK, .content = content};

static int check_store_id(const tr_eventstore_options *o, tr_error *err)
{
    tr_view id = tr_view_str(o->store_id);
    if (id.len == 0)
        return tr_fail(err, TR_EINVAL, "an event store needs an id, such as ACCOUNTS");
    if (id.len >= TR_EVENT_KEY_MAX)
        return tr_fail(err, TR_EINVAL, "an event store's id has less than %d bytes", TR_EVENT_KEY_MAX);
    if (!tr_utf8_valid(id))
        return tr_fail(err, TR_EINVAL, "an event store's id is valid UTF-8");
    if (o->layout == TR_EVENTS_SINGLE_TABLE &&
        tr_view_find(id, TR_VIEW(TR_EVENT_STORE_SEPARATOR), 0) != SIZE_MAX)
        return tr_fail(
            err, TR_EINVAL,
            "an event store's id must not hold '#', which stands between it and the aggregate's id in "
            "the table's keys: %s",
            o->store_id);
    return 0;
}

int tr_eventstore_new(tr_client *client, const tr_eventstore_options *o, tr_eventstore **ret_store,
                      tr_error *err)
{
    int e = check_store_id(o, err);
    if (e)
        return e;
    tr_eventstore *store = tr_calloc(1, sizeof *store);
    if (!store)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    *store = (tr_eventstore){.client = client,
                             .id = tr_strdup(o->store_id),
                             .table_fn = o->table_fn,
                             .table_ctx = o->table_ctx,
                             .layout = o->layout,
                             .patience_ms = o->patience_ms ? o->patience_ms : TR__EVENTS_PATIENCE_MS,
                             .logger = o->logger};
    const char *table = o->table ? o->table : o->layout == TR_EVENTS_LEGACY ? o->store_id : TR_EVENT_TABLE;
    store->table = tr_strdup(table);
    if (!store->id || !store->table) {
        tr_eventstore_free(store);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    *ret_store = store;
    return 0;
}

void tr_eventstore_free(tr_eventstore *store)
{
    if (!store)
        return;
    tr_free(store->id);
    tr_free(store->table);
    tr_free(store);
}

const char *tr_eventstore_id(const tr_eventstore *store)
{
    return store->id;
}

tr_event_layout tr_eventstore_layout(const tr_eventstore *store)
{
    return store->layout;
}

tr_client *tr_eventstore_client(const tr_eventstore *store)
{
    return store->client;
}

const char *tr__eventstore_table(const tr_eventstore *store)
{
    const char *name = store->table_fn ? store->table_fn(store->table_ctx) : NULL;
    return name ? name : store->table;
}

void tr_eventstore_table(const tr_eventstore *store, tr_buf *ret_name)
{
    tr_buf_put_str(ret_name, tr__eventstore_table(store));
}

int tr__event_check_id(const tr_eventstore *store, tr_view id, tr_error *err)
{
    size_t prefix = store->layout == TR_EVENTS_LEGACY ? 0 : strlen(store->id) + 1;
    if (id.len == 0)
        return tr_fail(err, TR_EINVAL, "an aggregate's id must not be empty");
    if (id.len + prefix > TR_EVENT_KEY_MAX)
        return tr_fail(err, TR_EINVAL,
                       "an aggregate's id of %zu bytes is too long: %zu are left of a key of %d", id.len,
                       TR_EVENT_KEY_MAX - prefix, TR_EVENT_KEY_MAX);
    if (!tr_utf8_valid(id))
        return tr_fail(err, TR_EINVAL, "an aggregate's id must be valid UTF-8");
    return 0;
}

void tr__event_put_key(tr_buf *out, const tr_eventstore *store, tr_view aggregate_id)
{
    char key[TR_EVENT_KEY_MAX + 1];
    size_t at = 0;
    tr_json_writer w;
    if (store->layout == TR_EVENTS_SINGLE_TABLE) {
        at = strlen(store->id);
        memcpy(key, store->id, at);
        key[at++] = TR_EVENT_STORE_SEPARATOR[0];
    }
    memcpy(key + at, aggregate_id.ptr, aggregate_id.len); /* its length was checked */
    tr_json_write_init(&w, out);
    tr_json_string(&w, tr_view_of(key, at + aggregate_id.len));
}

tr_view tr__event_unprefix(const tr_eventstore *store, tr_view key)
{
    size_t len = strlen(store->id);
    if (store->layout == TR_EVENTS_LEGACY || key.len <= len || memcmp(key.ptr, store->id, len) != 0 ||
        key.ptr[len] != TR_EVENT_STORE_SEPARATOR[0])
        return key;
    return tr_view_of(key.ptr + len + 1, key.len - len - 1);
}
