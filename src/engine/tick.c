/* SPDX-License-Identifier: MIT */
/* Housekeeping, in bounded steps. */
#include "engine/engine_private.h"

#define SHORT_TICK_MS 50 /* while lifetimes are so short that a second is too long */

/* Drops the files of deleted tables and indexes, once no snapshot is left that was taken before. */
static void drop_gone(tr_engine *engine)
{
    if (engine->gone_count == 0 || engine->snapshots != 1 ||
        engine->current->state < engine->gone[engine->gone_count - 1].state)
        return;
    for (size_t i = 0; i < engine->gone_count; i++) {
        char from[4], to[4];
        tr_put_be32(from, engine->gone[i].space);
        tr_put_be32(to, engine->gone[i].space + 1);
        tr_error err = {0};
        if (tr_kv_drop_files(engine->kv, TR_KV_ITEMS, tr_view_of(from, 4), tr_view_of(to, 4), &err) != 0)
            tr_log(&engine->options.logger, TR_LOG_WARN, "%s", err.message);
        tr__forget_gone(engine, engine->gone[i].space);
    }
    engine->gone_count = 0;
}

/* What shards there are is shown at once, so it must be durable before anybody sees it. */
static int keep_streams(tr_engine *engine, bool *ret_more, tr_error *err)
{
    bool changed = false;
    uint32_t dropped = 0;
    int rc = tr__streams_turn_over(engine, &changed);
    if (!rc)
        rc = tr__streams_trim(engine, &dropped, ret_more, err);
    if (rc || (!changed && !dropped))
        return rc;
    rc = tr__catalogue_commit(engine, err);
    if (rc || !dropped)
        return rc;
    char to[4];
    tr_put_be32(to, dropped + 1);
    return tr_kv_drop_files(engine->kv, TR_KV_CHANGES, tr_view_of("\0\0\0\0", 4), tr_view_of(to, 4), err);
}

static int64_t next_tick(const tr_engine *engine)
{
    const tr_engine_options *o = &engine->options;
    bool hasty = o->shard_lifetime_ms < 4 * TR__LOOK_MS || o->stream_retention_ms < 4 * TR__LOOK_MS;
    return hasty ? SHORT_TICK_MS : TR__LOOK_MS;
}

int64_t tr_engine_tick(tr_engine *engine)
{
    if (engine->failed)
        return TR__LOOK_MS;
    tr_error err = {0};
    bool more = false;
    int rc = keep_streams(engine, &more, &err);
    if (!rc)
        rc = tr__indexes_drop(engine, &err);
    if (!rc)
        rc = tr__fill_step(engine, &more, &err);
    if (!rc)
        rc = tr__expiry_step(engine, &more, &err);
    if (!rc) {
        drop_gone(engine);
        tr__tokens_trim(engine);
        rc = tr_engine_flush(engine, &err); /* no request may come along to do it */
    }
    if (rc) {
        tr_log(&engine->options.logger, TR_LOG_ERROR, "housekeeping failed: %s", err.message);
        tr__engine_broken(engine, rc);
    }
    return more ? 0 : next_tick(engine);
}
