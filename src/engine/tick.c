/* SPDX-License-Identifier: MIT */
/* Housekeeping, in bounded steps. */
#include "engine/engine_private.h"

#define TICK_MS 1000

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

int64_t tr_engine_tick(tr_engine *engine)
{
    if (engine->failed)
        return TICK_MS;
    drop_gone(engine);
    return TICK_MS;
}
