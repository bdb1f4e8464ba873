/* SPDX-License-Identifier: MIT */
#include "api_test.h"

#define KEY(p, s)        "{\"pk\":{\"S\":\"" p "\"},\"sk\":{\"S\":\"" s "\"}}"
#define ITEM(p, s, more) "{\"pk\":{\"S\":\"" p "\"},\"sk\":{\"S\":\"" s "\"}" more "}"
#define PUT(more)        "{\"TableName\":\"tab\",\"Item\":" ITEM("a", "1", more) "}"
#define GET              "{\"TableName\":\"tab\",\"Key\":" KEY("a", "1") "}"

static void what_is_put_comes_back(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    assert_string_equal(call(f, "PutItem", PUT(",\"n\":{\"N\":\"01.50\"},\"l\":{\"N\":\"7\"}")), "{}");
    assert_string_equal(
        call(f, "GetItem", GET),
        "{\"Item\":{\"l\":{\"N\":\"7\"},\"n\":{\"N\":\"1.5\"},\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":"
        "\"1\"}}}");
    assert_string_equal(call(f, "GetItem", "{\"TableName\":\"tab\",\"Key\":" KEY("a", "2") "}"), "{}");
    assert_string_equal(
        call(f, "GetItem",
             "{\"TableName\":\"tab\",\"Key\":" KEY(
                 "a", "1") ",\"ProjectionExpression\":\"#x, nope\",\"ExpressionAttributeNames\":{"
                           "\"#x\":\"n\"}}"),
        "{\"Item\":{\"n\":{\"N\":\"1.5\"}}}");
    assert_string_equal(
        call(f, "DeleteItem",
             "{\"TableName\":\"tab\",\"Key\":" KEY("a", "1") ",\"ReturnValues\":\"ALL_OLD\"}"),
        "{\"Attributes\":{\"l\":{\"N\":\"7\"},\"n\":{\"N\":\"1.5\"},\"pk\":{\"S\":\"a\"},\"sk\":{"
        "\"S\":\"1\"}}}");
    assert_string_equal(call(f, "GetItem", GET), "{}");
}

static void update_returns_what_was_asked_for(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    call(f, "PutItem", PUT(",\"n\":{\"N\":\"1\"},\"x\":{\"S\":\"y\"}"));
    static const struct {
        const char *values, *want;
    } cases[] = {
        {"NONE", "{}"},
        {"UPDATED_OLD", "{\"Attributes\":{\"n\":{\"N\":\"2\"}}}"},
        {"UPDATED_NEW", "{\"Attributes\":{\"n\":{\"N\":\"4\"}}}"},
        {"ALL_OLD",
         "{\"Attributes\":{\"n\":{\"N\":\"4\"},\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"1\"},\"x\":{\"S\":\"y\"}}"
         "}"},
        {"ALL_NEW",
         "{\"Attributes\":{\"n\":{\"N\":\"6\"},\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"1\"},\"x\":{\"S\":\"y\"}}"
         "}"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        assert_string_equal(
            must(f, "UpdateItem",
                 "{\"TableName\":\"tab\",\"Key\":" KEY(
                     "a",
                     "1") ",\"UpdateExpression\":\"ADD n :one\","
                          "\"ExpressionAttributeValues\":{\":one\":{\"N\":\"1\"}},\"ReturnValues\":\"%s\"}",
                 cases[i].values),
            cases[i].want);
}

static void failed_conditions_tell_the_item_if_asked(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    call(f, "PutItem", PUT(",\"n\":{\"N\":\"1\"}"));
    static const char *const tails[] = {",\"Key\":" KEY("a", "1"), ",\"Item\":" ITEM("a", "1", "")};
    static const char *const operations[] = {"DeleteItem", "PutItem"};
    for (size_t i = 0; i < TR_COUNT(tails); i++) {
        callf(f, operations[i],
              "{\"TableName\":\"tab\"%s,\"ConditionExpression\":\"n = "
              ":n\",\"ExpressionAttributeValues\":{\":n\":{"
              "\"N\":\"2\"}},\"ReturnValuesOnConditionCheckFailure\":\"ALL_OLD\"}",
              tails[i]);
        assert_int_equal(f->reply.status, 400);
        assert_string_equal(
            tr_buf_cstr(&f->body),
            "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException\","
            "\"message\":\"The conditional request failed\",\"Item\":{\"n\":{\"N\":\"1\"},\"pk\":{"
            "\"S\":\"a\"},\"sk\":{\"S\":\"1\"}}}");
    }
}

static void capacity_is_counted_as_the_guide_says(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    /* 3 KB: the table takes 4 units for 3,1xx bytes, each index one */
    char big[3101];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    const char *text = must(f, "PutItem",
                            "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"1\"},"
                            "\"l\":{\"N\":\"1\"},\"g\":{"
                            "\"S\":\"g\"},\"big\":{\"S\":\"%s\"}},\"ReturnConsumedCapacity\":\"INDEXES\"}",
                            big);
    assert_string_equal(text,
                        "{\"ConsumedCapacity\":{\"TableName\":\"tab\",\"CapacityUnits\":6.0,\"Table\":{"
                        "\"CapacityUnits\":4.0},\"GlobalSecondaryIndexes\":{\"byG\":{\"CapacityUnits\":1.0}},"
                        "\"LocalSecondaryIndexes\":{\"byL\":{\"CapacityUnits\":1.0}}}}");
    /* the global index's entry moves: deleted and put */
    text = must(
        f, "UpdateItem",
        "{\"TableName\":\"tab\",\"Key\":" KEY("a", "1") ",\"UpdateExpression\":\"SET g = :g\","
                                                        "\"ExpressionAttributeValues\":{\":g\":{\"S\":\"h\"}}"
                                                        ",\"ReturnConsumedCapacity\":\"INDEXES\"}");
    assert_non_null(strstr(text, "\"byG\":{\"CapacityUnits\":2.0}"));
    assert_null(strstr(text, "byL"));
    /* reads: a unit for each started 4 KB, half of it if eventually consistent */
    assert_non_null(strstr(must(f, "GetItem",
                                "{\"TableName\":\"tab\",\"Key\":" KEY("a", "1") ",\"ReturnConsumedCapacity\":"
                                                                                "\"TOTAL\"}"),
                           "\"CapacityUnits\":0.5}"));
    assert_non_null(strstr(must(f, "GetItem",
                                "{\"TableName\":\"tab\",\"Key\":" KEY("a", "1") ",\"ConsistentRead\":true,"
                                                                                "\"ReturnConsumedCapacity\":"
                                                                                "\"TOTAL\"}"),
                           "\"CapacityUnits\":1.0}"));
}

static void batches_answer_item_by_item(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    assert_string_equal(
        call(f, "BatchWriteItem",
             "{\"RequestItems\":{\"tab\":[{\"PutRequest\":{\"Item\":" ITEM(
                 "a", "1", "") "}},{"
                               "\"PutRequest\":{\"Item\":" ITEM(
                                   "a", "2", "") "}},{\"DeleteRequest\":{\"Key\":" KEY("a", "3") "}}]}}"),
        "{\"UnprocessedItems\":{}}");
    assert_string_equal(
        call(f, "BatchGetItem",
             "{\"RequestItems\":{\"tab\":{\"Keys\":[" KEY("a", "1") "," KEY("a", "3") "," KEY(
                 "a", "2") "],\"ProjectionExpression\":\"sk\"}}}"),
        "{\"Responses\":{\"tab\":[{\"sk\":{\"S\":\"1\"}},{\"sk\":{\"S\":\"2\"}}]},\"UnprocessedKeys\":{}}");
    refused(f, "BatchGetItem",
            "{\"RequestItems\":{\"tab\":{\"Keys\":[" KEY("a", "1") "," KEY("a", "1") "]}}}",
            "ValidationException", "Provided list of item keys contains duplicates");
    refused(f, "BatchWriteItem",
            "{\"RequestItems\":{\"tab\":[{\"PutRequest\":{\"Item\":" ITEM(
                "a", "1", "") "}},{\"DeleteRequest\":{"
                              "\"Key\":" KEY("a", "1") "}}]}}",
            "ValidationException", "Provided list of item keys contains duplicates");
}

static void a_full_batch_answer_names_what_is_left(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    tr_buf keys;
    tr_buf_init(&keys, 1 << 20);
    char *big = tr_malloc(399 * 1024 + 1);
    memset(big, 'x', 399 * 1024);
    big[399 * 1024] = 0;
    for (int i = 0; i < 50; i++) {
        must(f, "PutItem",
             "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"%d\"},\"x\":{\"S\":"
             "\"%s\"}}}",
             i, big);
        tr_buf_printf(&keys, "%s{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"%d\"}}", i ? "," : "", i);
    }
    const char *text =
        must(f, "BatchGetItem", "{\"RequestItems\":{\"tab\":{\"Keys\":[%s],\"ConsistentRead\":true}}}",
             tr_buf_cstr(&keys));
    const char *left = strstr(text, "\"UnprocessedKeys\":{\"tab\":{\"Keys\":[{\"pk\"");
    assert_non_null(left);
    assert_non_null(strstr(left, "],\"ConsistentRead\":true}}"));
    /* 16 MB of 399 KB each are 41 */
    assert_int_equal(count_of(left, "\"sk\""), 50 - 41);
    tr_free(big);
    tr_buf_done(&keys);
}

static void transactions_are_all_or_nothing(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    call(f, "PutItem", PUT(",\"n\":{\"N\":\"1\"}"));
    call(f, "TransactWriteItems",
         "{\"TransactItems\":[{\"Put\":{\"TableName\":\"tab\",\"Item\":" ITEM(
             "a", "2", "") "}},{\"Update\":{"
                           "\"TableName\":\"tab\",\"Key\":" KEY(
                               "a", "1") ",\"UpdateExpression\":\"SET n = :n\","
                                         "\"ConditionExpression\":\"n > "
                                         ":n\",\"ExpressionAttributeValues\":{\":n\":{\"N\":\"5\"}},"
                                         "\"ReturnValuesOnConditionCheckFailure\":\"ALL_OLD\"}}]}");
    assert_int_equal(f->reply.status, 400);
    assert_string_equal(
        tr_buf_cstr(&f->body),
        "{\"__type\":\"com.amazonaws.dynamodb.v20120810#TransactionCanceledException\",\"Message\":"
        "\"Transaction "
        "cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]\","
        "\"CancellationReasons\":[{\"Code\":\"None\"},{\"Code\":\"ConditionalCheckFailed\",\"Message\":\"The "
        "conditional request "
        "failed\",\"Item\":{\"n\":{\"N\":\"1\"},\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"1\"}}}]}");
    assert_string_equal(call(f, "GetItem", "{\"TableName\":\"tab\",\"Key\":" KEY("a", "2") "}"), "{}");
    must(f, "TransactWriteItems",
         "{\"TransactItems\":[{\"Put\":{\"TableName\":\"tab\",\"Item\":" ITEM(
             "a", "2", "") "}},{\"Delete\":{\"TableName\":\"tab\",\"Key\":" KEY("a", "1") "}}]}");
    assert_string_equal(
        call(f, "TransactGetItems",
             "{\"TransactItems\":[{\"Get\":{\"TableName\":\"tab\",\"Key\":" KEY(
                 "a", "1") "}},{\"Get\":{\"TableName\":\"tab\",\"Key\":" KEY("a", "2") "}}],"
                                                                                       "\"ReturnCo"
                                                                                       "nsumedCapa"
                                                                                       "city\":"
                                                                                       "\"TOTAL\""
                                                                                       "}"),
        "{\"Responses\":[{},{\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"2\"}}}],"
        "\"ConsumedCapacity\":[{\"TableName\":\"tab\",\"CapacityUnits\":4.0,\"ReadCapacityUnits\":4."
        "0}]}");
}

static void a_repeated_token_is_not_carried_out_again(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    static const char add[] =
        "{\"ClientRequestToken\":\"t-1\",\"TransactItems\":[{\"Update\":{\"TableName\":\"tab\",\"Key\":" KEY(
            "a",
            "1") ",\"UpdateExpression\":\"ADD n :n\",\"ExpressionAttributeValues\":{\":n\":{\"N\":\"1\"}}}}],"
                 "\"ReturnConsumedCapacity\":\"TOTAL\"}";
    assert_string_equal(must(f, "TransactWriteItems", "%s", add),
                        "{\"ConsumedCapacity\":[{\"TableName\":\"tab\",\"CapacityUnits\":2.0,"
                        "\"WriteCapacityUnits\":2.0}]}");
    assert_string_equal(must(f, "TransactWriteItems", "%s", add),
                        "{\"ConsumedCapacity\":[{\"TableName\":\"tab\",\"CapacityUnits\":2.0,"
                        "\"ReadCapacityUnits\":2.0}]}");
    assert_non_null(strstr(call(f, "GetItem", GET), "\"n\":{\"N\":\"1\"}"));
    refused(
        f, "TransactWriteItems",
        "{\"ClientRequestToken\":\"t-1\",\"TransactItems\":[{\"Delete\":{\"TableName\":\"tab\",\"Key\":" KEY(
            "a", "1") "}}]}",
        "IdempotentParameterMismatchException", "");
}

static void an_item_collection_tells_its_size(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    assert_string_equal(
        must(f, "PutItem",
             "{\"TableName\":\"tab\",\"Item\":" ITEM("a", "1", "") ",\"ReturnItemCollectionMetrics\":"
                                                                   "\"SIZE\"}"),
        "{\"ItemCollectionMetrics\":{\"ItemCollectionKey\":{\"pk\":{\"S\":\"a\"}},"
        "\"SizeEstimateRangeGB\":[0,1]}}");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        T(what_is_put_comes_back),
        T(update_returns_what_was_asked_for),
        T(failed_conditions_tell_the_item_if_asked),
        T(capacity_is_counted_as_the_guide_says),
        T(batches_answer_item_by_item),
        T(a_full_batch_answer_names_what_is_left),
        T(transactions_are_all_or_nothing),
        T(a_repeated_token_is_not_carried_out_again),
        T(an_item_collection_tells_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
