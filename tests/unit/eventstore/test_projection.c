/* SPDX-License-Identifier: MIT */
/* Read models: exactly once whatever is repeated, rebuilt while the old one serves, in SQLite and in a table.
 */
#include "event_world.h"

#include <tailrace/projection.h>

#include <sqlite3.h>
#include <uv.h>

static const char rules_json[] =
    "{\"name\":\"account\",\"version\":\"1\",\"initial\":{\"balance\":0},\"events\":{"
    "\"DEPOSITED\":{\"add\":{\"balance\":\"amount\"}},\"WITHDRAWN\":{\"subtract\":{"
    "\"balance\":\"amount\"}}}}";

typedef struct models {
    char sqlite[96], state[96];
} models;

static models paths(const event_world *w)
{
    models m;
    (void)snprintf(m.sqlite, sizeof m.sqlite, "%s/read.db", w->directory);
    (void)snprintf(m.state, sizeof m.state, "%s/projection", w->directory);
    return m;
}

/* The rows of a table: "key item\n…" */
static const char *rows_of(event_world *w, const char *path, const char *table)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    tr_buf text;
    tr_buf_init(&text, 1 << 20);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, PATIENCE_MS);
    const char *sql = tr_arena_printf(&w->arena, "SELECT key, item FROM \"%s\" ORDER BY key", table);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK)
        while (sqlite3_step(stmt) == SQLITE_ROW)
            tr_buf_printf(&text, "%s %s\n", (const char *)sqlite3_column_text(stmt, 0),
                          (const char *)sqlite3_column_text(stmt, 1));
    else
        tr_buf_put_str(&text, "no such table");
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
    const char *copy = tr_arena_str(&w->arena, tr_buf_view(&text));
    tr_buf_done(&text);
    return copy;
}

/* A row of a DynamoDB table as plain JSON, or "none". */
static const char *row_in_table(event_world *w, const char *name, const char *key)
{
    tr_item row;
    tr_buf text;
    tr_json_writer j;
    tr_buf_init(&text, 1 << 20);
    int e = tr_projection_read(w->e.client, "models", name, tr_view_str(key), &w->arena, &row, &w->err);
    if (e == TR_ENOTFOUND)
        return "none";
    if (e)
        fail_msg("%s", w->err.message);
    tr_json_write_init(&j, &text);
    tr_item_write_plain(&j, row);
    const char *copy = tr_arena_str(&w->arena, tr_buf_view(&text));
    tr_buf_done(&text);
    return copy;
}

static int run(event_world *w, const tr_projection_options *o, tr_projection_stats *ret)
{
    tr_projection *p;
    if (tr_projection_new(w->e.client, o, &p, &w->err))
        fail_msg("%s", w->err.message);
    int e = tr_projection_run(p, &w->err);
    if (ret)
        tr_projection_get_stats(p, ret);
    tr_projection_free(p);
    return e;
}

static void run_ok(event_world *w, const tr_projection_options *o, tr_projection_stats *ret)
{
    if (run(w, o, ret))
        fail_msg("%s", w->err.message);
}

static void deposit(event_world *w, const char *account, int amount)
{
    char payload[64], time[TR_TIME_TEXT_MAX];
    static int64_t ms = INT64_C(1767225600000); /* each at a time of its own, so that their order is known */
    (void)snprintf(payload, sizeof payload, "{\"amount\":%d}", amount);
    tr_time_format(ms++, true, time);
    world_push(w, w->accounts, account, amount < 0 ? "WITHDRAWN" : "DEPOSITED", time, payload);
}

static void an_aggregate_is_a_row(void **state)
{
    event_world *w = *state;
    models m = paths(w);
    tr_rules *rules;
    tr_projection_stats stats;
    assert_int_equal(tr_rules_new(tr_view_str(rules_json), &rules, &w->err), 0);
    tr_projection_options o = {.name = "balances",
                               .sqlite = m.sqlite,
                               .state = m.state,
                               .reducer = tr_rules_reducer(rules),
                               .once = true};
    deposit(w, "ada", 50);
    deposit(w, "bob", 7);
    deposit(w, "ada", 20);
    run_ok(w, &o, &stats);
    assert_string_equal(rows_of(w, m.sqlite, "balances"),
                        "ACCOUNTS#ada {\"aggregateId\":\"ada\",\"balance\":70,\"version\":2}\n"
                        "ACCOUNTS#bob {\"aggregateId\":\"bob\",\"balance\":7,\"version\":1}\n");
    assert_int_equal(stats.events, 3);
    assert_int_equal(stats.repeated, 0);
    deposit(w, "ada", 1);
    run_ok(w, &o, &stats);
    assert_int_equal(stats.events, 1);
    /* a position that is lost repeats events, and nothing in the rows */
    char command[160];
    (void)snprintf(command, sizeof command, "rm %s.*-1", m.state);
    assert_int_equal(system(command), 0);
    run_ok(w, &o, &stats);
    assert_int_equal(stats.events, 4);
    assert_int_equal(stats.repeated, 4);
    assert_non_null(strstr(rows_of(w, m.sqlite, "balances"), "\"balance\":71,\"version\":3"));
    /* a read model that is lost is made anew, whatever inboxes say */
    (void)snprintf(command, sizeof command, "rm %s*", m.sqlite);
    assert_int_equal(system(command), 0);
    run_ok(w, &o, &stats);
    assert_int_equal(stats.events - stats.repeated, 4);
    assert_non_null(strstr(rows_of(w, m.sqlite, "balances"), "\"balance\":71,\"version\":3"));
    tr_rules_free(rules);
}

/* ---------------------------------------------------------------------------------- functions of our own */

/* Counts events and sums amounts over all aggregates, in rows that they share. */
typedef struct counting {
    unsigned calls, failing, factor;
    bool broken;
} counting;

static int64_t number_of(tr_item item, const char *name)
{
    tr_value v;
    int64_t n = 0;
    if (tr_item_get(item, tr_view_str(name), &v) == 0 && v.type == TR_N)
        (void)tr_number_to_i64(v.payload, &n);
    return n;
}

static int add_to(tr_projecting *p, const char *key, int64_t amount, tr_error *err)
{
    tr_item row = {NULL, 0};
    tr_buf packed;
    tr_packer packer;
    int e = tr_project_get(p, tr_view_str(key), &row, err);
    if (e && e != TR_ENOTFOUND)
        return e;
    tr_buf_init(&packed, 4096);
    tr_packer_init(&packer, &packed);
    tr_pack_item_begin(&packer);
    tr_pack_name(&packer, TR_VIEW("events"));
    tr_pack_n_i64(&packer, number_of(row, "events") + 1);
    tr_pack_name(&packer, TR_VIEW("sum"));
    tr_pack_n_i64(&packer, number_of(row, "sum") + amount);
    tr_pack_name(&packer, TR_VIEW("raw"));
    tr_pack_b(&packer, TR_VIEW("\1"));
    e = tr_pack_item_end(&packer);
    e = e ? e : tr_project_put(p, tr_view_str(key), tr_buf_view(&packed), err);
    tr_buf_done(&packed);
    return e;
}

static int count(void *ctx, tr_projecting *p, const tr_subscribed *s, tr_error *err)
{
    counting *c = ctx;
    tr_item amount;
    c->calls++;
    amount = s->event.payload.type == TR_M ? s->event.payload.payload : (tr_item){NULL, 0};
    int e = add_to(p, "all", (int64_t)c->factor * number_of(amount, "amount"), err);
    if (!e)
        e = add_to(p, "again", 1, err);
    if (!e && s->event.version % 2 == 0)
        e = tr_project_delete(p, TR_VIEW("again"), err);
    if (c->failing && c->calls % 3 == 0) { /* after it has changed rows */
        c->failing--;
        return tr_fail(err, TR_ECONNECT, "not now");
    }
    return c->broken ? tr_fail(err, TR_EINVAL, "cannot project this") : e;
}

static void rows_are_changed_exactly_once(void **state)
{
    event_world *w = *state;
    models m = paths(w);
    counting c = {.factor = 1, .failing = 4};
    tr_projection_options o = {
        .name = "sums", .sqlite = m.sqlite, .state = m.state, .project = count, .ctx = &c, .once = true};
    for (int i = 1; i <= 150; i++)
        deposit(w, i % 2 ? "a" : "b", i);
    run_ok(w, &o, NULL);
    assert_string_equal(rows_of(w, m.sqlite, "sums"),
                        "again {\"events\":2,\"raw\":\"AQ==\",\"sum\":2}\n"
                        "all {\"events\":150,\"raw\":\"AQ==\",\"sum\":11325}\n");
    assert_int_equal(c.failing, 0);
    /* what cannot be projected ends it, and changes nothing */
    c.broken = true;
    deposit(w, "a", 5);
    assert_int_equal(run(w, &o, NULL), TR_EINVAL);
    assert_string_equal(w->err.message, "cannot project this");
    c.broken = false;
    run_ok(w, &o, NULL);
    assert_non_null(strstr(rows_of(w, m.sqlite, "sums"), "\"events\":151"));
}

static void a_table_holds_rows_too(void **state)
{
    event_world *w = *state;
    models m = paths(w);
    counting c = {.factor = 1, .failing = 4};
    tr_projection_options o = {
        .name = "sums", .table = "models", .state = m.state, .project = count, .ctx = &c, .once = true};
    for (int i = 1; i <= 150; i++)
        deposit(w, i % 2 ? "a" : "b", i);
    run_ok(w, &o, NULL);
    assert_string_equal(row_in_table(w, "sums", "all"), "{\"events\":150,\"raw\":\"AQ==\",\"sum\":11325}");
    assert_string_equal(row_in_table(w, "sums", "again"), "{\"events\":2,\"raw\":\"AQ==\",\"sum\":2}");
    deposit(w, "a", 1);
    run_ok(w, &o, NULL);
    assert_string_equal(row_in_table(w, "sums", "again"), "none");
    /* another version of the function is refused, until it is rebuilt */
    c.factor = 2;
    o.version = "2";
    assert_int_equal(run(w, &o, NULL), TR_EVERSION);
    o.rebuild = true;
    tr_projection_stats stats;
    run_ok(w, &o, &stats);
    assert_string_equal(row_in_table(w, "sums", "all"), "{\"events\":151,\"raw\":\"AQ==\",\"sum\":22652}");
    assert_int_equal(stats.serving, 2);
    /* nothing of the old one is left: record, row, two positions */
    tr_buf reply;
    tr_buf_init(&reply, 1 << 20);
    embedded_call(w->e.client, "Scan", "{\"TableName\":\"models\",\"Select\":\"COUNT\"}", &reply);
    assert_non_null(strstr(tr_buf_cstr(&reply), "\"Count\":4,"));
    tr_buf_done(&reply);
}

/* -------------------------------------------------------------------------------------------- rebuilding */

typedef struct runner {
    tr_projection *p;
    uv_thread_t thread;
    int code;
    tr_error err;
} runner;

static void run_projection(void *ctx)
{
    runner *r = ctx;
    r->code = tr_projection_run(r->p, &r->err);
}

static void start(event_world *w, runner *r, const tr_projection_options *o)
{
    *r = (runner){0};
    if (tr_projection_new(w->e.client, o, &r->p, &w->err))
        fail_msg("%s", w->err.message);
    assert_int_equal(uv_thread_create(&r->thread, run_projection, r), 0);
}

static int finish(runner *r)
{
    tr_projection_stop(r->p);
    uv_thread_join(&r->thread);
    tr_projection_free(r->p);
    return r->code;
}

/* Waits until the row has the text. */
static void wait_for(event_world *w, const char *path, const char *table, const char *text)
{
    for (int64_t until = tr_clock_mono_ms() + PATIENCE_MS; !strstr(rows_of(w, path, table), text);) {
        if (tr_clock_mono_ms() > until)
            fail_msg("%s", rows_of(w, path, table));
        uv_sleep(10);
    }
}

static void rebuilt_under_writes_while_the_old_one_serves(void **state)
{
    event_world *w = *state;
    models m = paths(w);
    counting c = {.factor = 1};
    runner r;
    tr_projection_stats stats;
    tr_projection_options o = {
        .name = "sums", .sqlite = m.sqlite, .state = m.state, .project = count, .ctx = &c};
    for (int i = 0; i < 300; i++)
        deposit(w, i % 2 ? "a" : "b", 1);
    start(w, &r, &o);
    wait_for(w, m.sqlite, "sums", "\"events\":300");
    for (int round = 0; round < 2; round++) {
        tr_projection_rebuild(r.p);
        int64_t before = 0, until = tr_clock_mono_ms() + PATIENCE_MS;
        int written = 0;
        do { /* what readers see never goes back */
            if (++written < 1000)
                deposit(w, "a", 1);
            uv_sleep(1);
            const char *all = strstr(rows_of(w, m.sqlite, "sums"), "all {\"events\":");
            assert_non_null(all);
            assert_true(atoll(all + 14) >= before);
            before = atoll(all + 14);
            tr_projection_get_stats(r.p, &stats);
            assert_true(tr_clock_mono_ms() < until);
        } while (stats.serving < (uint64_t)round + 2);
    }
    assert_string_equal(rows_of(w, m.sqlite, "_tailrace_building_sums"), "no such table");
    char sum[64];
    assert_int_equal(finish(&r), 0);
    o.once = true;
    run_ok(w, &o, &stats);
    const char *rows = rows_of(w, m.sqlite, "sums");
    int64_t events = atoll(strstr(rows, "all {\"events\":") + 14);
    (void)snprintf(sum, sizeof sum, "\"sum\":%lld}", (long long)events);
    assert_non_null(strstr(rows, sum));
    assert_true(events > 300);
}

static void another_process_takes_over(void **state)
{
    event_world *w = *state;
    models m = paths(w);
    counting c = {.factor = 1}, c2 = {.factor = 2};
    runner first, second;
    tr_projection_options o = {
        .name = "sums", .sqlite = m.sqlite, .state = m.state, .project = count, .ctx = &c};
    deposit(w, "a", 1);
    start(w, &first, &o);
    wait_for(w, m.sqlite, "sums", "\"sum\":1}");
    /* one of the same function waits, and takes over */
    start(w, &second, &o);
    deposit(w, "a", 1);
    wait_for(w, m.sqlite, "sums", "\"sum\":2}");
    assert_int_equal(finish(&first), 0);
    deposit(w, "a", 1);
    wait_for(w, m.sqlite, "sums", "\"sum\":3}");
    /* one of another function rebuilds beside it; then the old one has no place any more */
    o.version = "2";
    o.ctx = &c2;
    o.rebuild = true;
    start(w, &first, &o);
    wait_for(w, m.sqlite, "sums", "\"sum\":6}");
    deposit(w, "a", 1);
    wait_for(w, m.sqlite, "sums", "\"sum\":8}");
    uv_thread_join(&second.thread);
    assert_int_equal(second.code, TR_EVERSION);
    tr_projection_free(second.p);
    assert_int_equal(finish(&first), 0);
}

static void options_are_checked(void **state)
{
    event_world *w = *state;
    counting c = {0};
    tr_projection *p;
    const tr_projection_options good = {
        .name = "a", .sqlite = "/x", .state = "/y", .project = count, .ctx = &c};
    tr_projection_options o = good;
    o.name = "a/b";
    assert_int_equal(tr_projection_new(w->e.client, &o, &p, &w->err), TR_EINVAL);
    o = good;
    o.table = "both";
    assert_int_equal(tr_projection_new(w->e.client, &o, &p, &w->err), TR_EINVAL);
    o = good;
    o.project = NULL;
    assert_int_equal(tr_projection_new(w->e.client, &o, &p, &w->err), TR_EINVAL);
    o = good;
    o.state = NULL;
    assert_int_equal(tr_projection_new(w->e.client, &o, &p, &w->err), TR_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
        T(an_aggregate_is_a_row),      T(rows_are_changed_exactly_once),
        T(a_table_holds_rows_too),     T(rebuilt_under_writes_while_the_old_one_serves),
        T(another_process_takes_over), T(options_are_checked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
