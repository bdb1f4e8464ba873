/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include <tailrace/record.h>

static const char modify[] =
    "{\"eventID\":\"e1\",\"eventName\":\"MODIFY\",\"eventVersion\":\"1.1\",\"eventSource\":\"aws:dynamodb\","
    "\"awsRegion\":\"eu-west-1\",\"dynamodb\":{\"ApproximateCreationDateTime\":1480642019,"
    "\"Keys\":{\"pk\":{\"S\":\"a\"}},\"NewImage\":{\"pk\":{\"S\":\"a\"},\"n\":{\"N\":\"2\"}},"
    "\"OldImage\":{\"pk\":{\"S\":\"a\"},\"n\":{\"N\":\"1\"}},\"SequenceNumber\":"
    "\"111100000000000000000000001\","
    "\"SizeBytes\":26,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}";

static void sequence_numbers_compare_as_numbers(void **state)
{
    (void)state;
    assert_true(tr_sequence_cmp(TR_VIEW("999999999999999999999"), TR_VIEW("1000000000000000000000")) < 0);
    assert_true(tr_sequence_cmp(TR_VIEW("000000000000000000010"), TR_VIEW("9")) > 0);
    assert_int_equal(tr_sequence_cmp(TR_VIEW("007"), TR_VIEW("7")), 0);
    assert_int_equal(tr_sequence_cmp(TR_VIEW("0"), TR_VIEW("000")), 0);
    assert_true(tr_sequence_valid(TR_VIEW("0123456789012345678901234567890123456789")));
    assert_false(tr_sequence_valid(TR_VIEW("01234567890123456789012345678901234567890")));
    assert_false(tr_sequence_valid(TR_VIEW("")));
    assert_false(tr_sequence_valid(TR_VIEW("12a")));
}

static void records_carry_everything(void **state)
{
    (void)state;
    tr_arena arena;
    tr_arena_init(&arena, 1 << 20);
    tr_record r;
    tr_error err;
    assert_int_equal(tr_record_from_json(TR_VIEW(modify), &arena, &r, &err), 0);
    assert_int_equal(r.event, TR_MODIFY);
    assert_true(r.has_new && r.has_old && !r.expired);
    assert_int_equal(r.view_type, TR_NEW_AND_OLD_IMAGES);
    assert_view(r.sequence_number, "111100000000000000000000001");
    assert_view(r.event_id, "e1");
    assert_view(r.region, "eu-west-1");
    assert_int_equal(r.time_ms, INT64_C(1480642019000));
    assert_int_equal(r.size_bytes, 26);
    assert_view(r.raw, modify);
    tr_value v;
    assert_int_equal(tr_item_get(r.old_image, TR_VIEW("n"), &v), 0);
    int64_t n;
    assert_int_equal(tr_number_to_i64(v.payload, &n), 0);
    assert_int_equal(n, 1);
    tr_arena_done(&arena);
}

static void records_are_written_back(void **state)
{
    (void)state;
    tr_arena arena;
    tr_arena_init(&arena, 1 << 20);
    tr_record r;
    assert_int_equal(tr_record_from_json(TR_VIEW(modify), &arena, &r, NULL), 0);
    r.raw.len = 0; /* so that it is rebuilt */
    r.shard_id = TR_VIEW("s1");
    tr_buf b;
    tr_buf_init(&b, 1 << 16);
    tr_json_writer w;
    tr_json_write_init(&w, &b);
    tr_record_write(&w, &r);
    assert_view(tr_buf_view(&b),
                "{\"eventID\":\"e1\",\"eventName\":\"MODIFY\",\"eventVersion\":\"1.1\",\"eventSource\":\"aws:"
                "dynamodb\","
                "\"awsRegion\":\"eu-west-1\",\"dynamodb\":{\"ApproximateCreationDateTime\":1480642019,"
                "\"Keys\":{\"pk\":{\"S\":\"a\"}},\"NewImage\":{\"n\":{\"N\":\"2\"},\"pk\":{\"S\":\"a\"}},"
                "\"OldImage\":{\"n\":{\"N\":\"1\"},\"pk\":{\"S\":\"a\"}},"
                "\"SequenceNumber\":\"111100000000000000000000001\",\"SizeBytes\":26,"
                "\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}");
    tr_buf_reset(&b);
    tr_json_write_init(&w, &b);
    tr_record_write_plain(&w, &r);
    assert_view(tr_buf_view(&b),
                "{\"event\":\"modify\",\"keys\":{\"pk\":\"a\"},\"new\":{\"n\":2,\"pk\":\"a\"},\"old\":{\"n\":"
                "1,\"pk\":\"a\"},"
                "\"sequence_number\":\"111100000000000000000000001\",\"shard\":\"s1\",\"time\":1480642019,"
                "\"expired\":false}");
    tr_buf_done(&b);
    tr_arena_done(&arena);
}

static void expiry_is_seen_in_either_case(void **state)
{
    (void)state;
    static const char *identities[] = {
        "{\"PrincipalId\":\"dynamodb.amazonaws.com\",\"Type\":\"Service\"}",
        "{\"principalId\":\"dynamodb.amazonaws.com\",\"type\":\"Service\"}",
        "{\"PrincipalId\":\"somebody\",\"Type\":\"Service\"}",
        "null",
    };
    for (size_t i = 0; i < TR_COUNT(identities); i++) {
        char json[600];
        (void)snprintf(
            json, sizeof json,
            "{\"eventName\":\"REMOVE\",\"userIdentity\":%s,\"dynamodb\":{\"Keys\":{\"pk\":{\"S\":\"a\"}},"
            "\"ApproximateCreationDateTime\":1.48064202E9,\"SequenceNumber\":\"1\"}}",
            identities[i]);
        tr_arena arena;
        tr_arena_init(&arena, 1 << 20);
        tr_record r;
        assert_int_equal(tr_record_from_json(tr_view_str(json), &arena, &r, NULL), 0);
        assert_int_equal(r.expired, i < 2);
        assert_int_equal(r.time_ms, INT64_C(1480642020000));
        tr_arena_done(&arena);
    }
}

static void what_is_no_record_is_refused(void **state)
{
    (void)state;
    static const char *cases[] = {
        "",
        "[]",
        "{}",
        "{\"eventName\":\"DROP\",\"dynamodb\":{\"Keys\":{},\"SequenceNumber\":\"1\"}}",
        "{\"eventName\":\"INSERT\",\"dynamodb\":{\"Keys\":{}}}",
        "{\"eventName\":\"INSERT\",\"dynamodb\":{\"SequenceNumber\":\"1\"}}",
        "{\"eventName\":\"INSERT\",\"dynamodb\":{\"Keys\":{},\"SequenceNumber\":\"x\"}}",
        "{\"eventName\":\"INSERT\",\"dynamodb\":{\"Keys\":{},\"SequenceNumber\":\"1\",\"SizeBytes\":-1}}",
        "{\"eventName\":\"INSERT\",\"dynamodb\":{\"Keys\":{\"a\":1},\"SequenceNumber\":\"1\"}}",
        "{\"eventName\":\"INSERT\",\"dynamodb\":{\"Keys\":{},\"SequenceNumber\":\"1\"}} x",
        "{\"eventName\":\"INSERT\",\"dynamodb\":[]}",
        "{\"eventName\":\"INSERT\",\"dynamodb\":{\"ApproximateCreationDateTime\":1e99}}",
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        tr_arena arena;
        tr_arena_init(&arena, 1 << 20);
        tr_record r;
        tr_error err = {0};
        if (tr_record_from_json(tr_view_str(cases[i]), &arena, &r, &err) == 0)
            fail_msg("accepted %s", cases[i]);
        assert_true(err.message[0]);
        tr_arena_done(&arena);
    }
}

/* ----------------------------------------------------------------------------------------- differences */

static tr_item item(tr_arena *arena, const char *json)
{
    tr_item result;
    assert_int_equal(tr_item_from_json(tr_view_str(json), arena, &result, NULL), 0);
    return result;
}

static void check_diff(const char *before, const char *after, const char *expect)
{
    tr_arena arena;
    tr_arena_init(&arena, 1 << 20);
    tr_record r = {.old_image = item(&arena, before), .new_image = item(&arena, after)};
    tr_buf b;
    tr_buf_init(&b, 1 << 16);
    tr_json_writer w;
    tr_json_write_init(&w, &b);
    assert_int_equal(tr_record_write_diff(&w, &r), 0);
    assert_view(tr_buf_view(&b), expect);
    tr_buf_done(&b);
    tr_arena_done(&arena);
}

static void differences_are_told_by_path(void **state)
{
    (void)state;
    check_diff("{\"a\":{\"N\":\"1\"}}", "{\"a\":{\"N\":\"1.0\"}}", "[]");
    check_diff("{\"a\":{\"N\":\"1\"},\"b\":{\"S\":\"x\"}}", "{\"a\":{\"N\":\"2\"},\"c\":{\"S\":\"y\"}}",
               "[{\"path\":\"a\",\"old\":1,\"new\":2},{\"path\":\"b\",\"old\":\"x\"},{\"path\":\"c\",\"new\":"
               "\"y\"}]");
    check_diff("{\"m\":{\"M\":{\"l\":{\"L\":[{\"N\":\"1\"},{\"M\":{\"x\":{\"S\":\"p\"}}}]}}}}",
               "{\"m\":{\"M\":{\"l\":{\"L\":[{\"N\":\"1\"},{\"M\":{\"x\":{\"S\":\"q\"}}}]}}}}",
               "[{\"path\":\"m.l[1].x\",\"old\":\"p\",\"new\":\"q\"}]");
    check_diff("{\"l\":{\"L\":[{\"N\":\"1\"}]}}", "{\"l\":{\"L\":[{\"N\":\"1\"},{\"N\":\"2\"}]}}",
               "[{\"path\":\"l\",\"old\":[1],\"new\":[1,2]}]");
    check_diff("{\"a.b\":{\"S\":\"1\"},\"q\\\"\":{\"S\":\"1\"}}", "{\"a.b\":{\"N\":\"1\"}}",
               "[{\"path\":\"\\\"a.b\\\"\",\"old\":\"1\",\"new\":1},{\"path\":\"\\\"q\\\\\\\"\\\"\",\"old\":"
               "\"1\"}]");
    check_diff("{\"m\":{\"M\":{}}}", "{\"m\":{\"M\":{\"k\":{\"BOOL\":true}}}}",
               "[{\"path\":\"m.k\",\"new\":true}]");
}

static bool stop_at_once(void *ctx, const tr_change *change)
{
    (void)change;
    ++*(int *)ctx;
    return false;
}

static void differences_can_be_stopped(void **state)
{
    (void)state;
    tr_arena arena;
    tr_arena_init(&arena, 1 << 20);
    int calls = 0;
    tr_item after =
        item(&arena, "{\"a\":{\"N\":\"1\"},\"b\":{\"N\":\"1\"},\"m\":{\"M\":{\"x\":{\"N\":\"1\"}}}}");
    assert_int_equal(tr_item_diff((tr_item){0}, after, stop_at_once, &calls), 0);
    assert_int_equal(calls, 1);
    tr_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequence_numbers_compare_as_numbers),
        cmocka_unit_test(records_carry_everything),
        cmocka_unit_test(records_are_written_back),
        cmocka_unit_test(expiry_is_seen_in_either_case),
        cmocka_unit_test(what_is_no_record_is_refused),
        cmocka_unit_test(differences_are_told_by_path),
        cmocka_unit_test(differences_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
