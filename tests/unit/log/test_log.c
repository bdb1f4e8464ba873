/* SPDX-License-Identifier: MIT */
#include "../embedded.h"

#include <pthread.h>
#include <tailrace/log.h>

static void open_logs(embedded *e)
{
    tr_error err = {0};
    embedded_open(e, NULL);
    if (tr_log_create_table(e->client, NULL, &err))
        fail_msg("%s", err.message);
    embedded_call(e->client, "CreateTable",
                  "{\"TableName\":\"local-core\",\"BillingMode\":\"PAY_PER_REQUEST\",\"KeySchema\":[{"
                  "\"AttributeName\":\"pk\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"sk\",\"KeyType\":"
                  "\"RANGE\"}],\"AttributeDefinitions\":[{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"},"
                  "{\"AttributeName\":\"sk\",\"AttributeType\":\"S\"}]}",
                  NULL);
}

static void append(tr_client *client, const char *id, const char *type, int64_t n)
{
    tr_buf packed;
    tr_packer p;
    tr_error err = {0};
    uint64_t version;
    tr_buf_init(&packed, 4096);
    tr_packer_init(&p, &packed);
    tr_pack_item_begin(&p);
    tr_pack_name(&p, TR_VIEW("n"));
    tr_pack_n_i64(&p, n);
    assert_int_equal(tr_pack_item_end(&p), 0);
    const tr_log_append in = {.log = TR_VIEW("counts"),
                              .id = tr_view_str(id),
                              .type = tr_view_str(type),
                              .payload = tr_buf_view(&packed),
                              .expect = TR_LOG_ANY_VERSION};
    if (tr_log_append_wait(client, &in, &version, &err))
        fail_msg("%s", err.message);
    tr_buf_done(&packed);
}

static int64_t number_of(tr_item item, const char *name)
{
    tr_value value;
    int64_t number;
    if (tr_item_get(item, tr_view_str(name), &value) || tr_number_to_i64(value.payload, &number))
        return 0;
    return number;
}

/* sum = sum + n; "bad" fails */
static int add(void *ctx, const tr_log_event *event, tr_item before, tr_packer *after, tr_error *err)
{
    (void)ctx;
    if (tr_view_is(event->type, "bad"))
        return tr_fail(err, TR_EINVAL, "a bad event");
    tr_pack_name(after, TR_VIEW("sum"));
    tr_pack_n_i64(after, number_of(before, "sum") + number_of(event->payload, "n"));
    tr_pack_name(after, TR_VIEW("type"));
    tr_pack_s(after, TR_VIEW("count"));
    return 0;
}

static const tr_log_apply of_a = {.log = {"counts", 6}, .id = {"a", 1}, .fold = add};

static tr_log_applied apply(tr_client *client, const tr_log_apply *in)
{
    tr_log_applied done = {0};
    tr_error err = {0};
    if (tr_log_apply_wait(client, in, &done, &err))
        fail_msg("%s", err.message);
    return done;
}

static void model_is(tr_client *client, const char *expected)
{
    tr_buf out;
    tr_buf_init(&out, 65536);
    embedded_call(client, "GetItem",
                  "{\"TableName\":\"local-core\",\"Key\":{\"pk\":{\"S\":\"counts#a\"},\"sk\":{\"S\":"
                  "\"counts#a\"}}}",
                  &out);
    assert_non_null(tr_buf_cstr(&out));
    assert_non_null(strstr(out.ptr, expected));
    tr_buf_done(&out);
}

static void events_are_applied_in_order_and_once(void **state)
{
    (void)state;
    embedded e;
    open_logs(&e);
    assert_int_equal(apply(e.client, &of_a).version, 0); /* nothing there, nothing written */
    for (int i = 1; i <= 5; i++)
        append(e.client, "a", "add", i);
    tr_log_applied done = apply(e.client, &of_a);
    assert_int_equal(done.version, 5);
    assert_int_equal(done.events, 5);
    assert_int_equal(done.gap, 0);
    model_is(e.client, "\"sum\":{\"N\":\"15\"}");
    model_is(e.client, "\"version\":{\"N\":\"5\"}");
    done = apply(e.client, &of_a);
    assert_int_equal(done.events, 0);
    assert_int_equal(done.version, 5);
    tr_log_apply small = of_a;
    small.limit = 2; /* several writes */
    for (int i = 6; i <= 12; i++)
        append(e.client, "a", "add", i);
    done = apply(e.client, &small);
    assert_int_equal(done.events, 7);
    model_is(e.client, "\"sum\":{\"N\":\"78\"}");
    embedded_close(&e);
}

static void a_gap_stops_until_it_is_closed(void **state)
{
    (void)state;
    embedded e;
    open_logs(&e);
    static const char event[] = "{\"TableName\":\"local-dynamodb-logs\",\"Item\":{\"pk\":{\"S\":"
                                "\"counts#a#stream\"},\"sk\":{\"N\":\"%d\"},\"type\":{\"S\":\"add\"},\"log\":"
                                "{\"S\":\"counts\"},\"payload\":{\"M\":{\"id\":{\"S\":\"a\"},\"n\":{\"N\":"
                                "\"10\"}}}}}";
    char body[512];
    static const int order[] = {1, 2, 4, 5};
    for (size_t i = 0; i < TR_COUNT(order); i++) {
        (void)snprintf(body, sizeof body, event, order[i]);
        embedded_call(e.client, "PutItem", body, NULL);
    }
    tr_log_applied done = apply(e.client, &of_a);
    assert_int_equal(done.version, 2);
    assert_int_equal(done.events, 2);
    assert_int_equal(done.gap, 4);
    done = apply(e.client, &of_a);
    assert_int_equal(done.events, 0);
    assert_int_equal(done.gap, 4);
    (void)snprintf(body, sizeof body, event, 3);
    embedded_call(e.client, "PutItem", body, NULL);
    done = apply(e.client, &of_a);
    assert_int_equal(done.version, 5);
    assert_int_equal(done.gap, 0);
    model_is(e.client, "\"sum\":{\"N\":\"50\"}");
    embedded_close(&e);
}

static void an_event_that_cannot_be_folded_writes_nothing(void **state)
{
    (void)state;
    embedded e;
    tr_log_applied done;
    tr_error err = {0};
    open_logs(&e);
    append(e.client, "a", "add", 1);
    append(e.client, "a", "bad", 1);
    assert_int_equal(tr_log_apply_wait(e.client, &of_a, &done, &err), TR_EINVAL);
    assert_string_equal(err.message, "a bad event");
    tr_log_apply one = of_a;
    one.limit = 1;
    assert_int_equal(tr_log_apply_wait(e.client, &one, &done, &err), TR_EINVAL);
    model_is(e.client, "\"version\":{\"N\":\"1\"}"); /* what came before it is applied */
    tr_log_apply nowhere = of_a;
    nowhere.model = "nowhere";
    assert_int_equal(tr_log_apply_wait(e.client, &nowhere, &done, &err), TR_ENOTFOUND);
    embedded_close(&e);
}

#define WRITERS 4
#define EACH    25

static void *append_and_apply(void *ctx)
{
    tr_client *client = ctx;
    for (int i = 0; i < EACH; i++) {
        append(client, "a", "add", 1);
        (void)apply(client, &of_a);
    }
    return NULL;
}

static void many_may_apply_at_once(void **state)
{
    (void)state;
    embedded e;
    pthread_t threads[WRITERS];
    open_logs(&e);
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append_and_apply, e.client), 0);
    for (size_t i = 0; i < WRITERS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(apply(e.client, &of_a).version, WRITERS * EACH);
    model_is(e.client, "\"sum\":{\"N\":\"100\"}");
    embedded_close(&e);
}

/* --------------------------------------------------------------------------------------------- finding */

typedef struct found {
    size_t count;
    uint64_t last;
    char types[256];
} found;

static int note(void *ctx, const tr_log_event *event)
{
    found *f = ctx;
    f->count++;
    f->last = event->version;
    size_t len = strlen(f->types);
    (void)snprintf(f->types + len, sizeof f->types - len, "%.*s ", TR_FMT(event->type));
    return 0;
}

static found find(tr_client *client, const tr_log_query *query)
{
    found f = {0};
    tr_error err = {0};
    if (tr_log_find(client, query, note, &f, &err))
        fail_msg("%s", err.message);
    return f;
}

static void events_are_found_by_what_they_are(void **state)
{
    (void)state;
    embedded e;
    tr_pattern *pattern;
    tr_error err = {0};
    static const tr_view types[] = {{"b", 1}, {"c", 1}};
    open_logs(&e);
    static const char *const all[] = {"a", "b", "c", "a", "b"};
    for (size_t i = 0; i < TR_COUNT(all); i++)
        append(e.client, "x", all[i], (int64_t)i);
    append(e.client, "y", "b", 7);
    embedded_call(
        e.client, "PutItem",
        "{\"TableName\":\"local-dynamodb-logs\",\"Item\":{\"pk\":{\"S\":\"no event\"},\"sk\":{\"N\":"
        "\"1\"},\"type\":{\"S\":\"b\"}}}",
        NULL);
    tr_log_query q = {
        .log = TR_VIEW("counts"), .id = TR_VIEW("x"), .types = types, .type_count = TR_COUNT(types)};
    assert_string_equal(find(e.client, &q).types, "b c b ");
    q.reverse = true;
    q.limit = 2;
    found f = find(e.client, &q);
    assert_string_equal(f.types, "b c ");
    assert_int_equal(f.last, 3);
    q.after = 3; /* below it */
    assert_string_equal(find(e.client, &q).types, "b ");
    q = (tr_log_query){.log = TR_VIEW("counts")};
    assert_int_equal(find(e.client, &q).count, 6);
    q.types = types;
    q.type_count = 1;
    assert_int_equal(find(e.client, &q).count, 3);
    q = (tr_log_query){.log = TR_VIEW("other")};
    assert_int_equal(find(e.client, &q).count, 0);
    assert_int_equal(
        tr_pattern_compile(TR_VIEW("{\"payload\":{\"n\":[{\"numeric\":[\">\",3]}]}}"), NULL, &pattern, &err),
        0);
    q = (tr_log_query){.pattern = pattern};
    assert_int_equal(find(e.client, &q).count, 2);
    q.id = TR_VIEW("y");
    assert_int_equal(find(e.client, &q).count, 1);
    tr_pattern_free(pattern);
    embedded_close(&e);
}

/* An event that is put under a number that has the same one is there; another is a conflict. Marks do not
 * count. */
static void replayed_appends_meet_what_is_there(void **state)
{
    (void)state;
    embedded e;
    tr_arena arena;
    tr_log_event event;
    tr_error err = {0};
    uint64_t version;
    tr_buf out;
    open_logs(&e);
    tr_arena_init(&arena, 65536);
    tr_buf_init(&out, 65536);
    assert_int_equal(tr_log_fake_event(1, 1, 1, &arena, &event), 0);
    tr_log_append in = {.log = event.log,
                        .id = event.id,
                        .type = event.type,
                        .payload = event.payload,
                        .out_of_order = true,
                        .replay_name = TR_VIEW("again")};
    assert_int_equal(tr_log_append_wait(e.client, &in, &version, &err), 0);
    embedded_call(e.client, "Scan", "{\"TableName\":\"local-dynamodb-logs\"}", &out);
    assert_non_null(tr_buf_cstr(&out));
    assert_non_null(strstr(out.ptr, "\"replay-name\":{\"S\":\"again\"}"));
    in.replay_name = (tr_view){NULL, 0};
    assert_int_equal(tr_log_append_wait(e.client, &in, &version, &err), 0);
    in.type = TR_VIEW("other");
    assert_int_equal(tr_log_append_wait(e.client, &in, &version, &err), TR_ECONFLICT);
    tr_buf_done(&out);
    tr_arena_done(&arena);
    embedded_close(&e);
}

static int append_expecting(tr_client *client, uint64_t expect, bool out_of_order, uint64_t *ret_version)
{
    tr_error err = {0};
    const tr_log_append in = {.log = TR_VIEW("counts"),
                              .id = TR_VIEW("a"),
                              .type = TR_VIEW("add"),
                              .expect = expect,
                              .out_of_order = out_of_order};
    return tr_log_append_wait(client, &in, ret_version, &err);
}

static void an_expected_version_that_is_not_there_leaves_no_gap(void **state)
{
    (void)state;
    embedded e;
    uint64_t version = 0;
    open_logs(&e);
    assert_int_equal(append_expecting(e.client, 1, false, &version), TR_ECONFLICT);
    for (int i = 1; i <= 3; i++)
        append(e.client, "a", "add", i);
    assert_int_equal(append_expecting(e.client, 9, false, &version), TR_ECONFLICT);
    assert_int_equal(append_expecting(e.client, 2, false, &version), TR_ECONFLICT); /* 3 is another's */
    assert_int_equal(version, 0);
    assert_int_equal(append_expecting(e.client, 3, false, &version), 0);
    assert_int_equal(version, 4);
    /* an equal event is another's all the same: of two that expect, one wins */
    assert_int_equal(append_expecting(e.client, 3, false, &version), TR_ECONFLICT);
    assert_int_equal(version, 4);
    assert_int_equal(append_expecting(e.client, 9, true, &version), 0); /* a copy may */
    assert_int_equal(version, 10);
    assert_int_equal(append_expecting(e.client, 9, true, &version), 0); /* and come twice */
    assert_int_equal(version, 10);
    embedded_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_applied_in_order_and_once),
        cmocka_unit_test(a_gap_stops_until_it_is_closed),
        cmocka_unit_test(an_event_that_cannot_be_folded_writes_nothing),
        cmocka_unit_test(many_may_apply_at_once),
        cmocka_unit_test(events_are_found_by_what_they_are),
        cmocka_unit_test(replayed_appends_meet_what_is_there),
        cmocka_unit_test(an_expected_version_that_is_not_there_leaves_no_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
