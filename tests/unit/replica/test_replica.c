/* SPDX-License-Identifier: MIT */
#include "../embedded.h"

#include <tailrace/replica.h>

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#define ROWS 300

typedef struct world {
    embedded e;
    char dir[64], db[96];
} world;

static void create(tr_client *client, const char *table, const char *view)
{
    char body[1024];
    (void)snprintf(
        body, sizeof body,
        "{\"TableName\":\"%s\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":["
        "{\"AttributeName\":\"id\",\"AttributeType\":\"S\"},{\"AttributeName\":\"n\",\"AttributeType\":\"N\"}"
        "],"
        "\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"n\",\"KeyType\":"
        "\"RANGE\"}],\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"%s\"}}",
        table, view);
    embedded_call(client, "CreateTable", body, NULL);
}

static void put(tr_client *client, const char *table, int n, const char *more)
{
    char body[512];
    (void)snprintf(body, sizeof body,
                   "{\"TableName\":\"%s\",\"Item\":{\"id\":{\"S\":\"k%d\"},\"n\":{\"N\":\"%d\"}%s}}", table,
                   n % 7, n, more);
    embedded_call(client, "PutItem", body, NULL);
}

static void take_away(tr_client *client, const char *table, int n)
{
    char body[512];
    (void)snprintf(body, sizeof body,
                   "{\"TableName\":\"%s\",\"Key\":{\"id\":{\"S\":\"k%d\"},\"n\":{\"N\":\"%d\"}}}", table,
                   n % 7, n);
    embedded_call(client, "DeleteItem", body, NULL);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/tailrace-replica-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->db, sizeof w->db, "%s/r.db", w->dir);
    embedded_open(&w->e, NULL);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    char command[128];
    embedded_close(&w->e);
    (void)snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static tr_replica *open_replica(world *w, const char *table, bool once)
{
    tr_replica_options o = {.table = table, .once = once, .segments = 3};
    tr_replica *r = NULL;
    tr_error err = {0};
    if (tr_sink_sqlite(w->db, &o.sink, &err) || tr_replica_new(w->e.client, &o, &r, &err))
        fail_msg("%s", err.message);
    return r;
}

/* Brings the replica up to date; what it was like then. */
static tr_replica_progress catch_up(world *w, const char *table)
{
    tr_replica *r = open_replica(w, table, true);
    tr_replica_progress p;
    tr_verify_result result = {.differences = 99};
    tr_error err = {0};
    if (tr_replica_run(r, &err))
        fail_msg("%s", err.message);
    tr_replica_get_progress(r, &p);
    p.stream_arn = NULL;
    if (tr_replica_verify(r, NULL, NULL, &result, &err))
        fail_msg("%s", err.message);
    assert_int_equal(result.differences, 0);
    tr_replica_free(r);
    return p;
}

static sqlite3_int64 ask(world *w, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open_v2(w->db, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    sqlite3_int64 x = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
    return x;
}

static void copies_then_goes_on_where_it_was(void **state)
{
    world *w = *state;
    create(w->e.client, "tab", "NEW_AND_OLD_IMAGES");
    for (int i = 0; i < ROWS; i++)
        put(w->e.client, "tab", i, ",\"v\":{\"S\":\"first\"}");
    tr_replica_progress p = catch_up(w, "tab");
    assert_int_equal(p.scanned, ROWS);
    assert_int_equal(p.phase, TR_REPLICA_FOLLOWING);
    assert_int_equal(ask(w, "SELECT count(*) FROM tab WHERE sequence_number IS NULL"), ROWS);
    for (int i = 0; i < 50; i++)
        put(w->e.client, "tab", i, ",\"v\":{\"S\":\"second\"}");
    for (int i = 50; i < 80; i++)
        take_away(w->e.client, "tab", i);
    p = catch_up(w, "tab");
    assert_int_equal(p.scanned, 0);
    assert_int_equal(p.changes, 80);
    assert_int_equal(ask(w, "SELECT count(*) FROM tab"), ROWS - 30);
    assert_int_equal(
        ask(w, "SELECT count(*) FROM tab WHERE item ->> '$.v' = 'second' AND length(sequence_number) = 40"),
        50);
    assert_int_equal(ask(w, "SELECT count(*) FROM tab WHERE id = 'k1' AND typeof(n) = 'integer' AND n = 1"),
                     1);
    p = catch_up(w, "tab");
    assert_int_equal(p.changes, 0);
}

static void verify_tells_what_differs(void **state)
{
    world *w = *state;
    create(w->e.client, "tab", "NEW_IMAGE");
    for (int i = 0; i < 10; i++)
        put(w->e.client, "tab", i, "");
    (void)catch_up(w, "tab");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(w->db, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "DELETE FROM tab WHERE n = 3; UPDATE tab SET item = '{\"id\":\"k4\",\"n\":4,\"x\":1}' "
                     "WHERE n = 4",
                     NULL, NULL, NULL),
        SQLITE_OK);
    (void)sqlite3_close(db);
    tr_replica *r = open_replica(w, "tab", true);
    tr_verify_result result;
    tr_error err = {0};
    assert_int_equal(tr_replica_verify(r, NULL, NULL, &result, &err), 0);
    assert_int_equal(result.rows, 10);
    assert_int_equal(result.differences, 2);
    tr_replica_free(r);
}

static void streams_without_new_images_are_read_up(void **state)
{
    world *w = *state;
    create(w->e.client, "tab", "KEYS_ONLY");
    put(w->e.client, "tab", 1, "");
    (void)catch_up(w, "tab");
    put(w->e.client, "tab", 1, ",\"v\":{\"S\":\"x\"}");
    put(w->e.client, "tab", 2, "");
    take_away(w->e.client, "tab", 2);
    (void)catch_up(w, "tab");
    assert_int_equal(ask(w, "SELECT count(*) FROM tab WHERE item ->> '$.v' = 'x'"), 1);
    assert_int_equal(ask(w, "SELECT count(*) FROM tab"), 1);
}

static void a_stream_enabled_anew_means_copying_again(void **state)
{
    world *w = *state;
    create(w->e.client, "tab", "NEW_AND_OLD_IMAGES");
    for (int i = 0; i < 20; i++)
        put(w->e.client, "tab", i, "");
    (void)catch_up(w, "tab");
    embedded_call(w->e.client, "UpdateTable",
                  "{\"TableName\":\"tab\",\"StreamSpecification\":{\"StreamEnabled\":false}}", NULL);
    take_away(w->e.client, "tab", 5); /* in neither stream */
    put(w->e.client, "tab", 100, "");
    embedded_call(w->e.client, "UpdateTable",
                  "{\"TableName\":\"tab\",\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":"
                  "\"NEW_AND_OLD_IMAGES\"}}",
                  NULL);
    tr_replica_progress p = catch_up(w, "tab");
    assert_int_equal(p.scanned, 20);
    assert_int_equal(p.deleted, 1);
    assert_int_equal(ask(w, "SELECT count(*) FROM tab WHERE n = 5"), 0);
    assert_int_equal(ask(w, "SELECT count(*) FROM tab WHERE n = 100"), 1);
}

static void *write_much(void *arg)
{
    world *w = arg;
    tr_client *client = embedded_client(w->e.server);
    for (int i = 0; i < 2000; i++) {
        char more[64];
        (void)snprintf(more, sizeof more, ",\"v\":{\"N\":\"%d\"}", i);
        if (i % 5 == 4)
            take_away(client, "tab", i % 200);
        else
            put(client, "tab", i % 200, more);
    }
    tr_client_free(client);
    return NULL;
}

static void *run(void *arg)
{
    tr_error err = {0};
    int e = tr_replica_run(arg, &err);
    return e ? (void *)1 : NULL;
}

/* Stopped at any moment while the table changes, also in the middle of its scan, it ends equal. */
static void stopping_anywhere_loses_nothing(void **state)
{
    world *w = *state;
    pthread_t writer;
    create(w->e.client, "tab", "NEW_AND_OLD_IMAGES");
    for (int i = 0; i < 200; i++)
        put(w->e.client, "tab", i, "");
    assert_int_equal(pthread_create(&writer, NULL, write_much, w), 0);
    for (int i = 0; i < 8; i++) {
        tr_replica *r = open_replica(w, "tab", false);
        pthread_t runner;
        assert_int_equal(pthread_create(&runner, NULL, run, r), 0);
        (void)usleep((useconds_t)(3000 * (i + 1)));
        tr_replica_stop(r);
        void *failed;
        (void)pthread_join(runner, &failed);
        assert_null(failed);
        tr_replica_free(r);
    }
    (void)pthread_join(writer, NULL);
    (void)catch_up(w, "tab");
}

static void names_that_sqlite_would_mix_up(void **state)
{
    world *w = *state;
    embedded_call(
        w->e.client, "CreateTable",
        "{\"TableName\":\"sqlite_x\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":["
        "{\"AttributeName\":\"Item\",\"AttributeType\":\"B\"},{\"AttributeName\":\"iTEM\",\"AttributeType\":"
        "\"S\"}],"
        "\"KeySchema\":[{\"AttributeName\":\"Item\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"iTEM\","
        "\"KeyType\":"
        "\"RANGE\"}],\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"NEW_IMAGE\"}}",
        NULL);
    embedded_call(w->e.client, "PutItem",
                  "{\"TableName\":\"sqlite_x\",\"Item\":{\"Item\":{\"B\":\"AAE=\"},\"iTEM\":{\"S\":"
                  "\"a\\\"b\"},\"s\":{\"SS\":"
                  "[\"x\"]}}}",
                  NULL);
    tr_replica_progress p = catch_up(w, "sqlite_x");
    assert_int_equal(p.scanned, 1);
    assert_int_equal(
        ask(w, "SELECT count(*) FROM t_sqlite_x WHERE hex(key_Item) = '0001' AND dynamodb_json IS NOT NULL"),
        1);
    create(w->e.client, "one", "NEW_IMAGE");
    create(w->e.client, "ONE", "NEW_IMAGE");
    (void)catch_up(w, "one");
    tr_replica *r = open_replica(w, "ONE", true);
    tr_error err = {0};
    assert_int_equal(tr_replica_run(r, &err), TR_EEXIST);
    assert_non_null(strstr(err.message, "case"));
    tr_replica_free(r);
}

static void json_lines_hold_each_change_once(void **state)
{
    world *w = *state;
    char path[128], line[4096];
    (void)snprintf(path, sizeof path, "%s/r.jsonl", w->dir);
    create(w->e.client, "tab", "NEW_AND_OLD_IMAGES");
    put(w->e.client, "tab", 1, "");
    int lines = 0, inserts = 0;
    for (int round = 0; round < 3; round++) {
        tr_replica_options o = {.table = "tab", .once = true};
        tr_replica *r = NULL;
        tr_error err = {0};
        if (tr_sink_jsonl(path, &o.sink, &err) || tr_replica_new(w->e.client, &o, &r, &err) ||
            tr_replica_run(r, &err))
            fail_msg("%s", err.message);
        tr_replica_free(r);
        put(w->e.client, "tab", 2 + round, "");
        FILE *f = fopen(path, "a"); /* what a crash left behind the last commit */
        assert_non_null(f);
        (void)fputs("{\"event\":\"insert\",\"torn", f);
        (void)fclose(f);
    }
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        lines++;
        inserts += strstr(line, "\"event\":\"insert\",\"keys\"") != NULL;
    }
    (void)fclose(f);
    assert_int_equal(inserts, 2); /* the third put came after the last run */
    assert_int_equal(lines, 6);   /* scan-begin, scan, scan-end, two changes, the torn one */
}

static void what_cannot_be_replicated_is_told(void **state)
{
    world *w = *state;
    tr_error err = {0};
    tr_replica *r = open_replica(w, "absent", true);
    assert_int_equal(tr_replica_run(r, &err), TR_ENOTFOUND);
    tr_replica_free(r);
    embedded_call(w->e.client, "CreateTable",
                  "{\"TableName\":\"plain\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":["
                  "{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":"
                  "\"id\",\"KeyType\":"
                  "\"HASH\"}]}",
                  NULL);
    r = open_replica(w, "plain", true);
    assert_int_equal(tr_replica_run(r, &err), TR_EINVAL);
    assert_non_null(strstr(err.message, "StreamSpecification"));
    tr_replica_free(r);
    tr_sink *sink;
    assert_int_equal(tr_sink_sqlite("/proc/nowhere/dir/x.db", &sink, &err), TR_EIO);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(copies_then_goes_on_where_it_was),       T(verify_tells_what_differs),
        T(streams_without_new_images_are_read_up), T(a_stream_enabled_anew_means_copying_again),
        T(stopping_anywhere_loses_nothing),        T(names_that_sqlite_would_mix_up),
        T(json_lines_hold_each_change_once),       T(what_cannot_be_replicated_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
