/* SPDX-License-Identifier: MIT */
/* Writes: old item read, condition checked, new item made, everything staged in one batch. */
#include "engine/engine_private.h"

/* A write between the check and the staging. */
typedef struct pending {
    tr_write *write;
    uint64_t partition; /* hash of the partition key */
    uint64_t touch;     /* hash of the whole key */
    tr_view key;        /* of the store */
    tr_kv_pin pin;      /* the stored value */
    tr_item before, after;
    size_t size_before, size_after;
} pending;

/* ------------------------------------------------------------------------------------------- preparing */

static void invalid(tr_write *write, const char *message)
{
    write->outcome = TR_WRITE_INVALID;
    tr_fail_service(&write->error, TR_EINVAL, 400, "ValidationException", "%s", message);
}

static int read_before(tr_engine *engine, pending *p, tr_error *err)
{
    int rc = tr_kv_get(engine->kv, TR_KV_ITEMS, NULL, p->key, &p->pin, err);
    if (rc == TR_ENOTFOUND)
        return 0;
    if (rc)
        return rc;
    if (p->pin.value.len < 1 || p->pin.value.ptr[0] != TR__VALUE_VERSION)
        return tr_fail(err, TR_ECORRUPT, "a stored item of table %.*s is damaged",
                       TR_FMT(p->write->table->name));
    p->before = tr_view_of(p->pin.value.ptr + 1, p->pin.value.len - 1);
    p->size_before = tr_item_size(p->before);
    return 0;
}

/* The item that the update makes, or the one there was. */
static int make_update(tr_engine *engine, pending *p, tr_arena *arena, tr_error *err)
{
    (void)engine;
    tr_write *write = p->write;
    if (!write->update) {
        p->after = p->before.len ? p->before : write->key;
        return 0;
    }
    if (!p->before.len && !tr_update_creates(write->update))
        return 0;
    int rc = tr_update_apply(write->update, p->before, write->key, arena, &p->after, &write->error);
    if (rc == TR_ENOMEM)
        return tr_fail(err, rc, "out of memory");
    if (rc)
        write->outcome = TR_WRITE_INVALID;
    return 0;
}

static int make_after(tr_engine *engine, pending *p, tr_arena *arena, tr_error *err)
{
    tr_write *write = p->write;
    switch (write->kind) {
    case TR_WRITE_PUT:
        p->after = write->item;
        break;
    case TR_WRITE_UPDATE: {
        int rc = make_update(engine, p, arena, err);
        if (rc || write->outcome != TR_WRITE_DONE)
            return rc;
        break;
    }
    case TR_WRITE_DELETE:
        break;
    case TR_WRITE_CHECK:
        p->after = p->before;
        break;
    }
    write->changed = !tr_view_eq(p->before, p->after);
    if (!write->changed || !p->after.len)
        return 0;
    p->size_after = tr_item_size(p->after);
    if (p->size_after > TR_ITEM_SIZE_MAX) {
        invalid(write, write->kind == TR_WRITE_UPDATE
                           ? "Item size to update has exceeded the maximum allowed size"
                           : "Item size has exceeded the maximum allowed size");
        return 0;
    }
    /* a put's item was held to this when it was packed; an update's values, each within it, may add up */
    if (write->kind == TR_WRITE_UPDATE && tr_item_depth(p->after) > TR_ITEM_DEPTH_MAX) {
        invalid(write, "Nesting Levels have exceeded supported limits: Attributes in the item have "
                       "nested levels beyond supported limit");
        return 0;
    }
    tr__index_check(write, p->before, p->after);
    return 0;
}

static int copy_results(pending *p, tr_arena *arena, tr_error *err)
{
    tr_write *write = p->write;
    if (p->before.len) {
        write->before = tr_arena_copy(arena, p->before);
        if (!write->before.ptr)
            return tr_fail(err, TR_ENOMEM, "out of memory");
    }
    if (write->outcome == TR_WRITE_DONE)
        write->after = tr_view_eq(p->after, p->before) ? write->before : p->after;
    return 0;
}

/* Everything up to the staging. The outcome says whether the write may go on. */
static int prepare(tr_engine *engine, pending *p, tr_arena *arena, tr_error *err)
{
    tr_write *write = p->write;
    write->outcome = TR_WRITE_DONE;
    write->before = write->after = (tr_item){NULL, 0};
    write->changed = false;
    int rc = tr__key_of_item(write->table, write->kind == TR_WRITE_PUT ? write->item : write->key,
                             &engine->key, &p->partition);
    if (rc)
        return tr_fail(err, rc, "the key does not fit table %.*s", TR_FMT(write->table->name));
    p->key = tr_buf_view(&engine->key);
    p->touch = tr__engine_hash(p->key);
    if (tr__touched_has(&engine->touched, p->touch)) {
        rc = tr__engine_write_out(engine, err);
        if (rc)
            return rc;
    }
    rc = read_before(engine, p, err);
    if (rc)
        return rc;
    if (write->condition && !tr_condition_eval(write->condition, p->before))
        write->outcome = TR_WRITE_CONDITION_FAILED;
    else
        rc = make_after(engine, p, arena, err);
    if (write->outcome != TR_WRITE_DONE)
        write->changed = false;
    return rc ? rc : copy_results(p, arena, err);
}

/* --------------------------------------------------------------------------------------------- staging */

static void count(tr_engine *engine, tr__table *table, const pending *p)
{
    table->pub.item_count += (p->after.len != 0) - (p->before.len != 0);
    table->pub.size_bytes += (int64_t)p->size_after - (int64_t)p->size_before;
    tr__table_dirty(engine, table);
}

static int stage(tr_engine *engine, const pending *p)
{
    static const char version = TR__VALUE_VERSION;
    tr_write *write = p->write;
    if (write->outcome != TR_WRITE_DONE || !write->changed)
        return 0;
    int rc = tr__touched_add(&engine->touched, p->touch);
    if (rc)
        return rc;
    if (p->after.len) {
        tr_view parts[] = {tr_view_of(&version, 1), p->after};
        tr_kv_batch_putv(engine->batch, TR_KV_ITEMS, &p->key, 1, parts, 2);
    } else {
        tr_kv_batch_delete(engine->batch, TR_KV_ITEMS, p->key);
    }
    tr__table *table = (tr__table *)write->table;
    if (table->pub.index_count) {
        rc = tr__index_stage(engine, table, p->key, p->before, p->after);
        if (rc)
            return rc;
    }
    if (table->pub.ttl_space && tr__fill_has(table, table->pub.ttl_space, p->key)) {
        rc = tr__expiry_stage(engine, table, p->key, p->before, p->after);
        if (rc)
            return rc;
    }
    count(engine, table, p);
    tr__stream *stream = (tr__stream *)table->pub.stream;
    if (!stream || stream->pub.disabled_ms)
        return 0;
    tr__change change = {.hash = p->partition,
                         .expired = write->expired,
                         .before = p->before,
                         .after = p->after,
                         .size_before = p->size_before,
                         .size_after = p->size_after};
    return tr__record_stage(engine, stream, &change);
}

/* A batch that could not be staged whole must never be written. */
static int abandon(tr_engine *engine, int rc, tr_error *err)
{
    tr_kv_batch_clear(engine->batch);
    tr_fail(err, rc, "cannot stage a write: %s", tr_strerror(rc));
    return tr__engine_broken(engine, rc);
}

static int write_each(tr_engine *engine, tr_write *writes, size_t n, tr_arena *arena, tr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        pending p = {.write = &writes[i]};
        int rc = prepare(engine, &p, arena, err);
        int staged = rc ? 0 : stage(engine, &p);
        tr_kv_unpin(&p.pin);
        if (staged)
            return abandon(engine, staged, err);
        if (!rc && tr_kv_batch_size(engine->batch) > TR__BATCH_BYTES_MAX)
            rc = tr__engine_write_out(engine, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* ret_go_on: all may be staged. */
static int prepare_all(tr_engine *engine, pending *all, size_t n, tr_arena *arena, bool *ret_go_on,
                       tr_error *err)
{
    bool go_on = true;
    for (size_t i = 0; i < n; i++) {
        int rc = prepare(engine, &all[i], arena, err);
        if (rc)
            return rc;
        all[i].key = tr_arena_copy(arena, all[i].key); /* the scratch is used again by the next */
        if (!all[i].key.ptr)
            return tr_fail(err, TR_ENOMEM, "out of memory");
        go_on = go_on && all[i].write->outcome == TR_WRITE_DONE;
    }
    *ret_go_on = go_on;
    return 0;
}

static int write_all(tr_engine *engine, tr_write *writes, size_t n, tr_arena *arena, tr_error *err)
{
    pending *all = tr_arena_calloc(arena, n, sizeof *all);
    if (!all)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        all[i].write = &writes[i];
    bool go_on = false;
    int rc = prepare_all(engine, all, n, arena, &go_on, err), staged = 0;
    for (size_t i = 0; i < n && go_on && !staged; i++)
        staged = stage(engine, &all[i]);
    for (size_t i = 0; i < n; i++) {
        tr_kv_unpin(&all[i].pin);
        if (!go_on)
            writes[i].changed = false;
    }
    return staged ? abandon(engine, staged, err) : rc;
}

int tr_engine_write(tr_engine *engine, tr_write *writes, size_t n, bool atomic, tr_arena *arena,
                    tr_error *err)
{
    int rc = tr__engine_writable(engine, err);
    if (rc)
        return rc;
    return atomic ? write_all(engine, writes, n, arena, err) : write_each(engine, writes, n, arena, err);
}

/* ------------------------------------------------------------------------------------------------ reading */

int tr_engine_get(tr_engine *engine, const tr_engine_snapshot *snapshot, const tr_table *table, tr_item key,
                  tr_arena *arena, tr_item *ret_item, tr_error *err)
{
    uint64_t hash;
    int rc = tr__key_of_item(table, key, &engine->key, &hash);
    if (rc)
        return tr_fail(err, rc, "the key does not fit table %.*s", TR_FMT(table->name));
    const tr_engine_snapshot *from = snapshot ? snapshot : engine->current;
    tr_kv_pin pin;
    rc = tr_kv_get(engine->kv, TR_KV_ITEMS, from->kv, tr_buf_view(&engine->key), &pin, err);
    if (rc)
        return rc;
    if (pin.value.len < 1 || pin.value.ptr[0] != TR__VALUE_VERSION)
        rc = tr_fail(err, TR_ECORRUPT, "a stored item of table %.*s is damaged", TR_FMT(table->name));
    tr_item item = {NULL, 0};
    if (!rc) {
        item = tr_arena_copy(arena, tr_view_of(pin.value.ptr + 1, pin.value.len - 1));
        if (!item.ptr)
            rc = tr_fail(err, TR_ENOMEM, "out of memory");
    }
    tr_kv_unpin(&pin);
    if (!rc)
        *ret_item = item;
    return rc;
}
