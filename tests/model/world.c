/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#define ARENA_LIMIT ((size_t)4 * 1024 * 1024 * 1024)

static uint64_t seed_used;

void world_fail(world *w, const char *file, int line, const char *what, const char *format, ...)
{
    va_list args;
    (void)fprintf(stderr, "seed %llu, operation %u: %s:%d: %s does not hold: ", (unsigned long long)seed_used,
                  w->op, file, line, what);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    abort();
}

static unsigned below(world *w, unsigned n)
{
    return (unsigned)tr_rng_below(&w->rng, n);
}

static bool chance(world *w, unsigned percent)
{
    return below(w, 100) < percent;
}

/* ---------------------------------------------------------------------------------------- open and close */

static int64_t clock_of(void *ctx)
{
    return ((world *)ctx)->now_ms;
}

void world_open(world *w)
{
    MUST(w, tr_engine_open(&w->options, &w->engine, err));
}

static void make_marker_table(world *w)
{
    tr_key_part pk = {TR_VIEW("pk"), TR_S};
    tr_table_spec spec = {.name = TR_VIEW("markers"),
                          .schema = {.hash_count = 1, .hash = {pk}},
                          .attributes = &pk,
                          .attribute_count = 1};
    tr_table *table;
    MUST(w, tr_engine_create_table(w->engine, &spec, &table, err));
}

void world_init(world *w, uint64_t seed, const char *dir)
{
    static const oracle_items nothing;
    seed_used = seed;
    memset(w, 0, sizeof *w);
    tr_rng_seed(&w->rng, seed);
    tr_arena_init(&w->arena, ARENA_LIMIT);
    w->now_ms = 1700000000000;
    w->trims = chance(w, 30);
    w->options = (tr_engine_options){.dir = dir,
                                     .clock_ms = clock_of,
                                     .clock_ctx = w,
                                     .stream_shards = 1 + below(w, 4),
                                     .shard_lifetime_ms = 20000,
                                     .shard_split_rate = 3,
                                     .shard_split_after_ms = 1,
                                     .stream_retention_ms = w->trims ? 100000 : (int64_t)1000 * 3600 * 1000,
                                     .expiry_interval_ms = 1,
                                     .memory_bytes = 4 * 1024 * 1024};
    for (int t = 0; t < TABLES; t++)
        w->now.table[t].items = &nothing;
    world_open(w);
    make_marker_table(w);
    w->after[0] = w->now;
}

void world_done(world *w)
{
    tr_engine_close(w->engine);
    tr_arena_done(&w->arena);
}

/* ------------------------------------------------------------------------------------------ the oracle */

const oracle_item *oracle_find(const oracle_items *items, uint16_t key)
{
    for (size_t i = 0; i < items->count; i++)
        if (items->item[i].key == key)
            return &items->item[i];
    return NULL;
}

/* The contents with one item more, less or otherwise (empty: removed). */
static const oracle_items *oracle_set(world *w, const oracle_items *old, uint16_t key, tr_item item)
{
    oracle_items *new = tr_arena_alloc(&w->arena, sizeof *new);
    EXPECT(w, new, "out of memory");
    new->count = 0;
    bool placed = item.len == 0;
    for (size_t i = 0; i < old->count; i++) {
        if (!placed && old->item[i].key >= key) {
            new->item[new->count++] = (oracle_item){key, item};
            placed = true;
        }
        if (old->item[i].key != key)
            new->item[new->count++] = old->item[i];
    }
    if (!placed)
        new->item[new->count++] = (oracle_item){key, item};
    return new;
}

static const char *table_name(int t)
{
    static const char *const names[TABLES] = {"alpha", "beta", "gamma"};
    return names[t];
}

tr_table *world_table(world *w, int t)
{
    return tr_engine_table(w->engine, tr_view_str(table_name(t)));
}

/* The operation just done: what the world is after it, and what its answer depends on. */
static void note(world *w)
{
    EXPECT(w, w->op + 1 < OPS_MAX, "too many operations");
    w->op++;
    w->after[w->op] = w->now;
    w->ticket[w->op] = tr_engine_ticket(w->engine);
}

static void take_answers(world *w)
{
    uint64_t synced = tr_engine_synced(w->engine);
    while (w->answered < w->op && w->ticket[w->answered + 1] <= synced)
        w->answered++;
}

/* ---------------------------------------------------------------------------------------------- items */

static tr_item from_json(world *w, const char *json)
{
    tr_item item;
    MUST(w, tr_item_from_json(tr_view_str(json), &w->arena, &item, err));
    return item;
}

tr_item key_of(world *w, uint16_t key)
{
    char json[96];
    (void)snprintf(json, sizeof json, "{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"s%d\"}}", key / 6, key % 6);
    return from_json(w, json);
}

static tr_item random_item(world *w, uint16_t key)
{
    static char json[64 * 1024], note_text[48 * 1024];
    size_t n = below(w, 40);
    if (chance(w, 10))
        n = w->large ? sizeof note_text - 1 - below(w, 10000) : 1500;
    memset(note_text, 'a' + (char)below(w, 26), n);
    note_text[n] = 0;
    int used =
        snprintf(json, sizeof json, "{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"s%d\"},\"note\":{\"S\":\"%s\"}",
                 key / 6, key % 6, note_text);
    if (chance(w, 70))
        used +=
            snprintf(json + used, sizeof json - (size_t)used,
                     chance(w, 3) ? ",\"status\":{\"N\":\"%u\"}" : ",\"status\":{\"S\":\"%u\"}", below(w, 3));
    if (chance(w, 70))
        used +=
            snprintf(json + used, sizeof json - (size_t)used,
                     chance(w, 3) ? ",\"total\":{\"S\":\"%u\"}" : ",\"total\":{\"N\":\"%u\"}", below(w, 10));
    if (chance(w, 20))
        used += snprintf(json + used, sizeof json - (size_t)used, ",\"expires\":{\"N\":\"%lld\"}",
                         (long long)(w->now_ms / 1000 + below(w, 200)));
    (void)snprintf(json + used, sizeof json - (size_t)used, "}");
    return from_json(w, json);
}

static const tr_condition *random_condition(world *w)
{
    static const char *const texts[] = {"attribute_exists(pk)", "attribute_not_exists(pk)", "#t < :five",
                                        "size(note) > :five AND attribute_exists(#s)"};
    if (chance(w, 60))
        return NULL;
    tr_expr_env *env = tr_arena_calloc(&w->arena, 1, sizeof *env);
    tr_expr_env_init(env, &w->arena);
    tr_value five;
    MUST(w, tr_item_get(from_json(w, "{\"v\":{\"N\":\"5\"}}"), TR_VIEW("v"), &five));
    MUST(w, tr_expr_env_add_value(env, TR_VIEW(":five"), five));
    MUST(w, tr_expr_env_add_name(env, TR_VIEW("#t"), TR_VIEW("total")));
    MUST(w, tr_expr_env_add_name(env, TR_VIEW("#s"), TR_VIEW("status")));
    const tr_condition *condition;
    MUST(w, tr_condition_parse(env, TR_EXPR_CONDITION, tr_view_str(texts[below(w, TR_COUNT(texts))]),
                               &condition, err));
    return condition;
}

static const tr_update *random_update(world *w)
{
    static const char *const texts[] = {"ADD #t :n", "SET note = :s", "REMOVE #s, #t",
                                        "SET #s = :s, note = if_not_exists(note, :s)", "REMOVE note"};
    if (chance(w, 5))
        return NULL;
    tr_expr_env *env = tr_arena_calloc(&w->arena, 1, sizeof *env);
    tr_expr_env_init(env, &w->arena);
    tr_item values = from_json(w, chance(w, 50) ? "{\"n\":{\"N\":\"1\"},\"s\":{\"S\":\"1\"}}"
                                                : "{\"n\":{\"N\":\"-3\"},\"s\":{\"S\":\"2\"}}");
    tr_value value;
    MUST(w, tr_item_get(values, TR_VIEW("n"), &value));
    MUST(w, tr_expr_env_add_value(env, TR_VIEW(":n"), value));
    MUST(w, tr_item_get(values, TR_VIEW("s"), &value));
    MUST(w, tr_expr_env_add_value(env, TR_VIEW(":s"), value));
    MUST(w, tr_expr_env_add_name(env, TR_VIEW("#t"), TR_VIEW("total")));
    MUST(w, tr_expr_env_add_name(env, TR_VIEW("#s"), TR_VIEW("status")));
    const tr_update *update;
    MUST(w, tr_update_parse(env, tr_view_str(texts[below(w, TR_COUNT(texts))]), &update, err));
    return update;
}

/* ---------------------------------------------------------------------------------------------- writes */

/* Whether an index of the table refuses the item. */
static bool bad_for_index(const oracle_table *table, tr_item before, tr_item after, bool update)
{
    static const struct {
        const char *name;
        tr_type type;
        bool global_only;
    } parts[] = {{"status", TR_S, true}, {"total", TR_N, false}};
    for (size_t i = 0; i < TR_COUNT(parts); i++) {
        tr_value new, old;
        if (!table->global && (parts[i].global_only || !table->local))
            continue;
        if (tr_item_get(after, tr_view_str(parts[i].name), &new) != 0 || new.type == parts[i].type)
            continue;
        if (update && tr_item_get(before, tr_view_str(parts[i].name), &old) == 0 && tr_value_eq(old, new))
            continue;
        return true;
    }
    return false;
}

typedef struct expected {
    tr_write_outcome outcome;
    tr_item before, after;
} expected;

/* What the write should do to the oracle's table. */
static expected predict(world *w, const tr_write *write, const oracle_table *table, uint16_t key)
{
    const oracle_item *there = oracle_find(table->items, key);
    expected e = {.before = there ? there->item : (tr_item){NULL, 0}};
    if (write->condition && !tr_condition_eval(write->condition, e.before)) {
        e.outcome = TR_WRITE_CONDITION_FAILED;
        return e;
    }
    tr_error ignored;
    switch (write->kind) {
    case TR_WRITE_PUT:
        e.after = write->item;
        break;
    case TR_WRITE_UPDATE:
        e.after = e.before;
        if (!write->update)
            e.after = there ? e.before : write->key;
        else if ((there || tr_update_creates(write->update)) &&
                 tr_update_apply(write->update, e.before, write->key, &w->arena, &e.after, &ignored) != 0)
            e.outcome = TR_WRITE_INVALID;
        break;
    case TR_WRITE_DELETE:
        break;
    case TR_WRITE_CHECK:
        e.after = e.before;
        break;
    }
    if (e.outcome == TR_WRITE_DONE && e.after.len && !tr_view_eq(e.before, e.after) &&
        bad_for_index(table, e.before, e.after, write->kind == TR_WRITE_UPDATE))
        e.outcome = TR_WRITE_INVALID;
    return e;
}

static tr_write random_write(world *w, int t, uint16_t key)
{
    tr_write write = {.kind = (tr_write_kind)(chance(w, 40) ? TR_WRITE_PUT : below(w, 4)),
                      .table = world_table(w, t),
                      .key = key_of(w, key),
                      .condition = random_condition(w)};
    if (write.kind == TR_WRITE_PUT)
        write.item = random_item(w, key);
    if (write.kind == TR_WRITE_UPDATE)
        write.update = random_update(w);
    return write;
}

static tr_write marker_write(world *w)
{
    char json[96];
    uint32_t op = w->op + 1;
    (void)snprintf(json, sizeof json, "{\"pk\":{\"S\":\"m%u\"},\"n\":{\"N\":\"%u\"}}", op % MARKERS, op);
    return (tr_write){.kind = TR_WRITE_PUT,
                      .table = tr_engine_table(w->engine, TR_VIEW("markers")),
                      .item = from_json(w, json)};
}

static void compare(world *w, const tr_write *write, const expected *e)
{
    EXPECT(w, write->outcome == e->outcome, "outcome %d, expected %d: %s", write->outcome, e->outcome,
           write->error.message);
    EXPECT(w, tr_view_eq(write->before, e->before), "before has %zu bytes, expected %zu", write->before.len,
           e->before.len);
    if (e->outcome == TR_WRITE_DONE)
        EXPECT(w, tr_view_eq(write->after, e->after), "after has %zu bytes, expected %zu", write->after.len,
               e->after.len);
}

/* One write, or several as a transaction. */
static void write_some(world *w, unsigned count)
{
    enum { MOST = 6 };
    tr_write writes[MOST + 1];
    expected e[MOST];
    int tables[MOST];
    uint16_t keys[MOST];
    unsigned n = 0;
    for (unsigned tries = 0; n < count && tries < 20; tries++) {
        int t = (int)below(w, TABLES);
        uint16_t key = (uint16_t)below(w, 72);
        bool again = !w->now.table[t].exists;
        for (unsigned i = 0; i < n; i++)
            again = again || (tables[i] == t && keys[i] == key);
        if (again)
            continue;
        tables[n] = t;
        keys[n] = key;
        writes[n] = random_write(w, t, key);
        e[n] = predict(w, &writes[n], &w->now.table[t], key);
        n++;
    }
    if (n == 0)
        return;
    bool done = true, changed = false;
    for (unsigned i = 0; i < n; i++) {
        done = done && e[i].outcome == TR_WRITE_DONE;
        changed = changed || !tr_view_eq(e[i].before, e[i].after);
        w->refused += e[i].outcome == TR_WRITE_CONDITION_FAILED;
        w->invalid += e[i].outcome == TR_WRITE_INVALID;
    }
    writes[n] = marker_write(w);
    MUST(w, tr_engine_write(w->engine, writes, n + 1, true, &w->arena, err));
    for (unsigned i = 0; i < n; i++) {
        compare(w, &writes[i], &e[i]);
        if (done)
            w->now.table[tables[i]].items = oracle_set(w, w->now.table[tables[i]].items, keys[i], e[i].after);
    }
    w->writes += n;
    w->transactions += n > 1;
    w->changed += done && changed;
    note(w);
}

/* ----------------------------------------------------------------------------------------- catalogue */

/* A change of the catalogue is durable when it is done, and everything before it. */
static void note_durable(world *w)
{
    note(w);
    w->durable = w->answered = w->op;
}

static void create_table(world *w, int t)
{
    oracle_table *o = &w->now.table[t];
    tr_key_part parts[] = {{TR_VIEW("pk"), TR_S}, {TR_VIEW("sk"), TR_S}, {TR_VIEW("total"), TR_N}};
    tr_index local = {.name = TR_VIEW("local"),
                      .local = true,
                      .schema = {.hash_count = 1, .range_count = 1, .hash = {parts[0]}, .range = {parts[2]}},
                      .projection = TR_PROJECT_KEYS_ONLY};
    *o = (oracle_table){.exists = true, .local = chance(w, 50), .items = o->items, .before = o->items};
    tr_table_spec spec = {
        .name = tr_view_str(table_name(t)),
        .schema = {.hash_count = 1, .range_count = 1, .hash = {parts[0]}, .range = {parts[1]}},
        .attributes = parts,
        .attribute_count = 3,
        .indexes = &local,
        .index_count = o->local,
        .stream_view = chance(w, 70) ? TR_NEW_AND_OLD_IMAGES : TR_VIEW_NONE};
    tr_table *table;
    MUST(w, tr_engine_create_table(w->engine, &spec, &table, err));
    if (table->stream)
        o->stream_arn = tr_arena_str(&w->arena, table->stream->arn);
    note_durable(w);
}

static void delete_table(world *w, int t)
{
    static const oracle_items nothing;
    MUST(w, tr_engine_delete_table(w->engine, world_table(w, t), err));
    w->now.table[t] = (oracle_table){.items = &nothing};
    note_durable(w);
}

static void toggle_stream(world *w, int t)
{
    oracle_table *o = &w->now.table[t];
    tr_table *table = world_table(w, t);
    tr_table_change change = {.set_stream = true,
                              .stream_view = o->stream_arn ? TR_VIEW_NONE : TR_NEW_AND_OLD_IMAGES};
    MUST(w, tr_engine_update_table(w->engine, table, &change, err));
    o->stream_arn = o->stream_arn ? NULL : tr_arena_str(&w->arena, table->stream->arn);
    o->before = o->items;
    note_durable(w);
}

static void toggle_index(world *w, int t)
{
    oracle_table *o = &w->now.table[t];
    tr_index index = {.name = TR_VIEW("global"),
                      .schema = {.hash_count = 1,
                                 .range_count = 1,
                                 .hash = {{TR_VIEW("status"), TR_S}},
                                 .range = {{TR_VIEW("total"), TR_N}}},
                      .projection = TR_PROJECT_ALL};
    tr_table_change change = {.create_index = &index}, away = {.delete_index = TR_VIEW("global")};
    tr_table *table = world_table(w, t);
    for (unsigned i = 0; i < table->index_count; i++)
        if (table->indexes[i].status == TR_DELETING)
            return; /* not gone yet */
    MUST(w, tr_engine_update_table(w->engine, table, o->global ? &away : &change, err));
    o->global = !o->global;
    note_durable(w);
}

static void toggle_expiry(world *w, int t)
{
    oracle_table *o = &w->now.table[t];
    tr_table_change change = {.set_ttl = true,
                              .ttl_attribute = o->expires ? (tr_view){NULL, 0} : TR_VIEW("expires")};
    MUST(w, tr_engine_update_table(w->engine, world_table(w, t), &change, err));
    o->expires = !o->expires;
    note_durable(w);
}

static void change_catalogue(world *w)
{
    int t = (int)below(w, TABLES);
    if (!w->now.table[t].exists) {
        create_table(w, t);
        return;
    }
    switch (below(w, 8)) {
    case 0:
        delete_table(w, t);
        break;
    case 1:
    case 2:
        toggle_stream(w, t);
        break;
    case 3:
    case 4:
        toggle_expiry(w, t);
        break;
    default:
        toggle_index(w, t);
    }
}

/* ------------------------------------------------------------------------------------------ housekeeping */

/* Time goes by; all housekeeping that is due is done, so what is past its time is gone. */
static void let_time_pass(world *w)
{
    w->now_ms += 1 + below(w, 3000);
    do
        w->now_ms += 2;
    while (tr_engine_tick(w->engine) == 0);
    for (int t = 0; t < TABLES; t++) {
        oracle_table *o = &w->now.table[t];
        for (size_t i = o->expires ? o->items->count : 0; i-- > 0;) {
            tr_value at;
            int64_t s;
            if (tr_item_get(o->items->item[i].item, TR_VIEW("expires"), &at) == 0 &&
                tr_number_to_i64(at.payload, &s) == 0 && s <= w->now_ms / 1000)
                o->items = oracle_set(w, o->items, o->items->item[i].key, (tr_item){NULL, 0});
        }
    }
    /* Expiry writes no markers. */
    MUST(w, tr_engine_sync_wait(w->engine, err));
    note_durable(w);
}

/* A step of housekeeping only: leaves indexes half filled. Nothing may be due to expire. */
static void tick_once(world *w)
{
    for (int t = 0; t < TABLES; t++)
        if (w->now.table[t].expires)
            return;
    tr_engine_tick(w->engine);
}

void world_settle(world *w)
{
    MUST(w, tr_engine_sync_wait(w->engine, err));
    MUST(w, tr_engine_poll(w->engine, err));
    take_answers(w);
    EXPECT(w, w->answered == w->op, "%u of %u operations are answered", w->answered, w->op);
}

static void check_read(world *w)
{
    int t = (int)below(w, TABLES);
    tr_engine_snapshot *snapshot = tr_engine_snapshot_new(w->engine);
    uint32_t op = newest_marker(w, snapshot);
    if (op < w->durable)
        op = w->durable;
    if (op > w->shown)
        w->shown = op;
    const oracle_table *o = &w->after[op].table[t];
    /* The catalogue is that of now; a table made since is empty in the snapshot. */
    if (w->now.table[t].exists && o->exists) {
        uint16_t key = (uint16_t)below(w, 72);
        const oracle_item *there = oracle_find(o->items, key);
        tr_item found = {NULL, 0};
        tr_error err = {0};
        int rc =
            tr_engine_get(w->engine, snapshot, world_table(w, t), key_of(w, key), &w->arena, &found, &err);
        EXPECT(w, rc == (there ? 0 : TR_ENOTFOUND), "%s %s", tr_strerror(rc), err.message);
        EXPECT(w, tr_view_eq(found, there ? there->item : (tr_item){NULL, 0}),
               "another item than in state %u", op);
    }
    tr_engine_snapshot_free(w->engine, snapshot);
    w->reads++;
}

void world_step(world *w)
{
    unsigned n = below(w, 1000);
    if (n < 600)
        write_some(w, 1);
    else if (n < 700)
        write_some(w, 2 + below(w, 5));
    else if (n < 720)
        change_catalogue(w);
    else if (n < 740)
        let_time_pass(w);
    else if (n < 760)
        tick_once(w);
    else if (n < 850)
        MUST(w, tr_engine_flush(w->engine, err));
    else if (n < 900)
        MUST(w, tr_engine_poll(w->engine, err));
    else if (n < 990)
        check_read(w);
    else
        world_settle(w);
    take_answers(w);
}

static void print_problem(void *ctx, const char *problem)
{
    (void)ctx;
    (void)fprintf(stderr, "%s\n", problem);
}

void world_check(world *w)
{
    world_settle(w);
    do
        w->now_ms += 2;
    while (tr_engine_tick(w->engine) == 0); /* half-filled indexes become whole */
    let_time_pass(w);
    world_settle(w);
    check_tables(w);
    check_streams(w);
    uint64_t problems;
    MUST(w, tr_engine_check(w->engine, print_problem, NULL, &problems, err));
    EXPECT(w, problems == 0, "%llu problems", (unsigned long long)problems);
}

static bool oracle_same(const oracle *a, const oracle *b)
{
    for (int t = 0; t < TABLES; t++) {
        const oracle_table *x = &a->table[t], *y = &b->table[t];
        if (x->exists != y->exists || x->items != y->items || x->global != y->global ||
            x->expires != y->expires || x->stream_arn != y->stream_arn)
            return false;
    }
    return true;
}

void world_recover(world *w)
{
    uint32_t op = newest_marker(w, NULL);
    if (op < w->durable)
        op = w->durable;
    uint32_t owed = w->answered > w->shown ? w->answered : w->shown;
    /* Operations that were answered may have changed nothing: then the newest before them that did counts. */
    while (owed > op) {
        EXPECT(w, oracle_same(&w->after[owed], &w->after[op]),
               "operation %u was answered or shown, but only %u came back", owed, op);
        owed--;
    }
    w->op = op;
    w->now = w->after[op];
    w->answered = w->shown = w->durable = op;
}
