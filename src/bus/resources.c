/* SPDX-License-Identifier: MIT */
/* Resources: sorted arrays in memory, documents in the store. */
#include "bus/bus_private.h"

static size_t position(const tr_res_list *list, tr_view name, bool *ret_found)
{
    size_t low = 0, high = list->count;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = tr_view_cmp(list->items[middle]->name, name);
        if (c == 0) {
            *ret_found = true;
            return middle;
        }
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

tr_res *tr_bus_find(tr_bus *bus, tr_res_kind kind, tr_view name)
{
    bool found;
    size_t at = position(&bus->res[kind], name, &found);
    return found ? bus->res[kind].items[at] : NULL;
}

tr_res *tr_bus_next(tr_bus *bus, tr_res_kind kind, tr_view after)
{
    bool found;
    size_t at = position(&bus->res[kind], after, &found) + found;
    return at < bus->res[kind].count ? bus->res[kind].items[at] : NULL;
}

static int insert(tr_res_list *list, size_t at, tr_res *res)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 16;
        tr_res **items = tr_realloc(list->items, cap * sizeof *items);
        if (!items)
            return TR_ENOMEM;
        list->items = items;
        list->cap = cap;
    }
    memmove(list->items + at + 1, list->items + at, (list->count - at) * sizeof *list->items);
    list->items[at] = res;
    list->count++;
    return 0;
}

static void free_res(tr_bus *bus, tr_res *res)
{
    if (!res)
        return;
    tr__bus_state_free(bus, res->kind, res->state);
    tr_free((void *)(uintptr_t)res->name.ptr);
    tr_free((void *)(uintptr_t)res->doc.ptr);
    tr_free(res);
}

/* ------------------------------------------------------------------------------------------------- store */

#define KEY_MAX 512 /* BUS|RULE: 256 + 64 */

static tr_view key_of(tr_res_kind kind, tr_view name, char *out)
{
    size_t len = name.len < KEY_MAX - 2 ? name.len : KEY_MAX - 2;
    out[0] = 'R';
    out[1] = (char)('a' + (int)kind);
    memcpy(out + 2, name.ptr, len);
    return tr_view_of(out, len + 2);
}

void tr__res_stage(tr_bus *bus, const tr_res *res)
{
    char key[KEY_MAX];
    const char version = TR__BUS_VERSION;
    const tr_view parts[] = {tr_view_of(&version, 1), res->doc};
    tr__bus_value_put(bus, key_of(res->kind, res->name, key), parts, TR_COUNT(parts));
}

int tr_bus_update(tr_bus *bus, tr_res *res, tr_view doc)
{
    char *copy = tr__bus_copy(doc);
    if (!copy)
        return TR_ENOMEM;
    tr_free((void *)(uintptr_t)res->doc.ptr);
    res->doc = tr_view_of(copy, doc.len);
    tr__res_stage(bus, res);
    return 0;
}

uint64_t tr__bus_number(tr_bus *bus)
{
    tr__bus_number_above(bus, bus->next_number);
    return bus->next_number - 1;
}

void tr__bus_number_above(tr_bus *bus, uint64_t number)
{
    char value[9] = {TR__BUS_VERSION};
    if (number < bus->next_number)
        return;
    bus->next_number = number + 1;
    tr_put_be64(value + 1, bus->next_number);
    const tr_view part = tr_view_of(value, sizeof value);
    tr__bus_value_put(bus, TR_VIEW("N"), &part, 1);
}

/* ------------------------------------------------------------------------------------------- put, delete */

static int make(tr_res_kind kind, tr_view name, tr_view doc, tr_res **ret_res)
{
    tr_res *res = tr_calloc(1, sizeof *res);
    char *name_copy = tr__bus_copy(name), *doc_copy = tr__bus_copy(doc);
    if (!res || !name_copy || !doc_copy) {
        tr_free(res);
        tr_free(name_copy);
        tr_free(doc_copy);
        return TR_ENOMEM;
    }
    *res = (tr_res){kind, tr_view_of(name_copy, name.len), tr_view_of(doc_copy, doc.len), NULL};
    *ret_res = res;
    return 0;
}

static int put(tr_bus *bus, tr_res_kind kind, tr_view name, tr_view doc, bool stage, tr_error *err)
{
    tr_res_list *list = &bus->res[kind];
    bool found;
    size_t at = position(list, name, &found);
    tr_res *old = found ? list->items[at] : NULL, *res;
    if (!found && list->count >= TR_RES_MAX)
        return tr_fail(err, TR_ELIMIT, "there can be %d of them", TR_RES_MAX);
    if (make(kind, name, doc, &res))
        return tr_fail(err, TR_ENOMEM, "out of memory");
    int e = tr__bus_state_new(bus, res, old, &res->state, err);
    if (e == 0 && !found && insert(list, at, res))
        e = tr_fail(err, TR_ENOMEM, "out of memory");
    if (e) {
        free_res(bus, res);
        return e;
    }
    if (old)
        tr__bus_state_detach(bus, old);
    list->items[at] = res;
    e = tr__bus_state_attach(bus, res, err);
    if (e) {
        if (old) {
            list->items[at] = old;
            tr_error ignored;
            (void)tr__bus_state_attach(bus, old, &ignored);
        } else {
            memmove(list->items + at, list->items + at + 1, (list->count - at - 1) * sizeof *list->items);
            list->count--;
        }
        free_res(bus, res);
        return e;
    }
    free_res(bus, old);
    if (stage)
        tr__res_stage(bus, res);
    return 0;
}

int tr_bus_put(tr_bus *bus, tr_res_kind kind, tr_view name, tr_view doc, tr_error *err)
{
    return put(bus, kind, name, doc, true, err);
}

static void delete_one(tr_bus *bus, tr_res *res)
{
    char key[KEY_MAX];
    tr_res_list *list = &bus->res[res->kind];
    bool found;
    size_t at = position(list, res->name, &found);
    if (res->kind == TR_RES_QUEUE)
        tr__queue_drop(bus, res);
    tr__bus_state_detach(bus, res);
    if (res->kind == TR_RES_ARCHIVE)
        tr__archive_drop(bus, res);
    memmove(list->items + at, list->items + at + 1, (list->count - at - 1) * sizeof *list->items);
    list->count--;
    tr__bus_value_delete(bus, key_of(res->kind, res->name, key));
    free_res(bus, res);
}

/* Whether the rule is one of the bus. */
static bool rule_of(const tr_res *rule, tr_view bus_name)
{
    return rule->name.len > bus_name.len && tr_view_starts(rule->name, bus_name) &&
           rule->name.ptr[bus_name.len] == '|';
}

void tr_bus_delete(tr_bus *bus, tr_res *res)
{
    if (res->kind == TR_RES_BUS)
        for (size_t i = bus->res[TR_RES_RULE].count; i-- > 0;)
            if (rule_of(bus->res[TR_RES_RULE].items[i], res->name))
                delete_one(bus, bus->res[TR_RES_RULE].items[i]);
    if (res->kind == TR_RES_BUS)
        for (size_t i = 0; i < bus->res[TR_RES_ARCHIVE].count; i++) {
            tr_archive *archive = bus->res[TR_RES_ARCHIVE].items[i]->state;
            if (archive->bus == res->state) {
                tr__bus_state_detach(bus, bus->res[TR_RES_ARCHIVE].items[i]);
                archive->bus = NULL;
            }
        }
    delete_one(bus, res);
}

/* -------------------------------------------------------------------------------------------------- load */

static int load_kind(tr_bus *bus, tr_res_kind kind, tr_error *err)
{
    const char from[] = {'R', (char)('a' + (int)kind)}, to[] = {'R', (char)('b' + (int)kind)};
    tr_kv_iter *iter;
    tr_view key, value;
    int e = tr_kv_iter_new(bus->kv, TR_KV_BUS, NULL, tr_view_of(from, 2), tr_view_of(to, 2), &iter);
    if (e)
        return tr_fail(err, e, "%s", tr_strerror(e));
    for (tr_kv_iter_first(iter); e == 0 && tr_kv_iter_get(iter, &key, &value); tr_kv_iter_next(iter)) {
        if (value.len < 1 || value.ptr[0] > TR__BUS_VERSION)
            e = tr_fail(err, value.len ? TR_EVERSION : TR_ECORRUPT, "a resource of the bus cannot be read");
        else
            e = put(bus, kind, tr_view_of(key.ptr + 2, key.len - 2), tr_view_of(value.ptr + 1, value.len - 1),
                    false, err);
    }
    if (e == 0)
        e = tr_kv_iter_status(iter, err);
    tr_kv_iter_free(iter);
    return e;
}

int tr__res_load(tr_bus *bus, tr_error *err)
{
    tr_kv_pin pin;
    int e = tr_kv_get(bus->kv, TR_KV_BUS, NULL, TR_VIEW("N"), &pin, err);
    if (e == 0) {
        bus->next_number = pin.value.len == 9 ? tr_get_be64(pin.value.ptr + 1) : 1;
        tr_kv_unpin(&pin);
    } else if (e != TR_ENOTFOUND) {
        return e;
    }
    /* in the order in which they refer to each other */
    e = 0;
    for (int kind = 0; e == 0 && kind < TR_RES_KINDS; kind++)
        if (kind != TR_RES_RULE)
            e = load_kind(bus, (tr_res_kind)kind, err);
    if (e == 0)
        e = load_kind(bus, TR_RES_RULE, err);
    return e;
}

void tr__res_done(tr_bus *bus)
{
    for (int kind = TR_RES_KINDS; kind-- > 0;) {
        tr_res_list *list = &bus->res[kind];
        for (size_t i = 0; i < list->count; i++)
            tr__bus_state_detach(bus, list->items[i]);
        for (size_t i = 0; i < list->count; i++)
            free_res(bus, list->items[i]);
        tr_free(list->items);
        *list = (tr_res_list){NULL, 0, 0};
    }
}
