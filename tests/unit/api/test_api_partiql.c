/* SPDX-License-Identifier: MIT */
/* ExecuteStatement, BatchExecuteStatement, ExecuteTransaction. */
#include "api_test.h"

#include <stdio.h>
#include <string.h>

static const char *run(fixture *f, const char *statement)
{
    return callf(f, "ExecuteStatement", "{\"Statement\":\"%s\"}", statement);
}

/* The answer must be 200 and hold the part. */
static void gives(fixture *f, const char *statement, const char *part)
{
    const char *text = run(f, statement);
    if (f->reply.status != 200 || !strstr(text, part))
        fail_msg("%s: %d %s, not %s", statement, f->reply.status, text, part);
}

static void refuses(fixture *f, const char *statement, const char *type, const char *part)
{
    const char *text = run(f, statement);
    if (f->reply.status != 400 || !strstr(text, type) || !strstr(text, part))
        fail_msg("%s: %d %s, not %s %s", statement, f->reply.status, text, type, part);
}

static void fill(fixture *f)
{
    make_table(f, "tab");
    for (int p = 0; p < 3; p++)
        for (int s = 0; s < 5; s++)
            must(f, "PutItem",
                 "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"s%d\"},\"l\":{"
                 "\"N\":\"%d\"},\"g\":{"
                 "\"S\":\"g%d\"},\"n\":{\"N\":\"%d\"}}}",
                 p, s, 9 - s, s % 2, s);
}

static void statements_read_and_write_items(void **state)
{
    fixture *f = *state;
    fill(f);
    gives(f, "INSERT INTO tab VALUE {'pk':'x','sk':'1','n':1,'m':{'a':[1,2]}}", "{\"Items\":[]}");
    gives(f, "SELECT m.a[1], n FROM tab WHERE pk='x' AND sk='1'",
          "{\"Items\":[{\"a[1]\":{\"N\":\"2\"},\"n\":{\"N\":\"1\"}}]}");
    refuses(f, "INSERT INTO tab VALUE {'pk':'x','sk':'1'}", "DuplicateItemException",
            "Duplicate primary key exists in table");
    gives(
        f, "UPDATE tab SET n=n+1 SET q='y' REMOVE m WHERE pk='x' AND sk='1' AND n=1 RETURNING ALL NEW *",
        "{\"Items\":[{\"n\":{\"N\":\"2\"},\"pk\":{\"S\":\"x\"},\"q\":{\"S\":\"y\"},\"sk\":{\"S\":\"1\"}}]}");
    gives(f, "UPDATE tab SET n=n+1 WHERE pk='x' AND sk='1' RETURNING MODIFIED OLD *",
          "{\"Items\":[{\"n\":{\"N\":\"2\"}}]}");
    refuses(f, "UPDATE tab SET n=5 WHERE pk='x' AND sk='1' AND n=99", "ConditionalCheckFailedException", "");
    refuses(f, "UPDATE tab SET n=5 WHERE pk='x' AND sk='none'", "ConditionalCheckFailedException", "");
    refuses(f, "UPDATE tab SET sk='z' WHERE pk='x' AND sk='1'", "ValidationException",
            "This attribute is part of the key");
    refuses(f, "UPDATE tab SET n=none WHERE pk='x' AND sk='1'", "ValidationException",
            "refers to an attribute that does not exist in the item");
    gives(f, "DELETE FROM tab WHERE pk='x' AND sk='none' AND n=5", "{\"Items\":[]}");
    gives(f, "DELETE FROM tab WHERE pk='x' AND sk='1' RETURNING ALL OLD *", "\"n\":{\"N\":\"3\"}");
    gives(f, "SELECT * FROM tab WHERE pk='x'", "{\"Items\":[]}");
    refuses(f, "SELECT * FROM none", "ResourceNotFoundException", "");
    refuses(f, "SELECT * FROM tab.none", "ValidationException",
            "The table does not have the specified index: none");
    refuses(f, "INSERT INTO tab VALUE {'pk':'x'}", "ValidationException",
            "Key attribute should be present in the item: Key sk");
    refuses(f, "INSERT INTO tab VALUE {'pk':'x','sk':'1','l':'no'}", "ValidationException",
            "Type mismatch for Index Key l");
    refuses(f, "SELECT pk.x FROM tab", "ValidationException", "Key attributes must be scalars");
    refuses(f, "SELECT * FROM tab WHERE pk.x='a'", "ValidationException", "Key attributes must be scalars");
}

static void indexes_are_read(void **state)
{
    fixture *f = *state;
    fill(f);
    gives(f, "SELECT sk FROM tab.byL WHERE pk='p1' AND l>7",
          "{\"Items\":[{\"sk\":{\"S\":\"s1\"}},{\"sk\":{\"S\":\"s0\"}}]}");
    gives(f, "SELECT sk FROM tab.byL WHERE pk='p1' AND l>7 ORDER BY l DESC",
          "{\"Items\":[{\"sk\":{\"S\":\"s0\"}},{\"sk\":{\"S\":\"s1\"}}]}");
    /* what a local index does not hold comes from the table, what a global one does not is refused */
    gives(f, "SELECT n FROM tab.byL WHERE pk='p1' AND l=9", "{\"Items\":[{\"n\":{\"N\":\"0\"}}]}");
    refuses(f, "SELECT n FROM tab.byG WHERE g='g1'", "ValidationException", "does not project [n]");
    refuses(f, "SELECT pk FROM tab.byL WHERE pk='p1' AND n=1", "ValidationException",
            "Secondary index byL does not project one or more filter attributes: [n]");
    gives(f, "SELECT pk FROM tab.byL WHERE n=1", "{\"Items\":[]}"); /* of a whole index it is nowhere */
    assert_int_equal(count_of(run(f, "SELECT pk FROM tab.byG WHERE g='g1'"), "\"pk\""), 6);
    refused(f, "ExecuteStatement",
            "{\"Statement\":\"SELECT pk FROM tab.byG WHERE g='g1'\",\"ConsistentRead\":true}",
            "ValidationException", "Consistent reads are not supported on global secondary indexes");
}

static void a_batch_in_which_nothing_came_about_consumed_nothing(void **state)
{
    fixture *f = *state;
    fill(f);
    const char *text = must(f, "BatchExecuteStatement",
                            "{\"ReturnConsumedCapacity\":\"TOTAL\",\"Statements\":[{\"Statement\":"
                            "\"UPDATE tab SET n=1 WHERE pk='none' AND sk='none'\"}]}");
    assert_null(strstr(text, "ConsumedCapacity"));
}

static void parameters_that_are_null_are_refused(void **state)
{
    fixture *f = *state;
    fill(f);
    refused(f, "ExecuteStatement", "{\"Statement\":\"SELECT * FROM tab WHERE pk=?\",\"Parameters\":[null]}",
            "ValidationException", "Supplied AttributeValue is empty");
}

/* All pages of a statement; how many items came. */
static size_t walk(fixture *f, const char *statement, int limit, const char *item)
{
    char token[4096] = "";
    size_t items = 0;
    for (int pages = 0; pages < 100; pages++) {
        const char *text = must(f, "ExecuteStatement", "{\"Statement\":\"%s\",\"Limit\":%d%s%s%s}", statement,
                                limit, token[0] ? ",\"NextToken\":\"" : "", token, token[0] ? "\"" : "");
        const char *end = strstr(text, "]");
        assert_non_null(end);
        for (const char *at = text; (at = strstr(at, item)) && at < end; at++)
            items++;
        if (!strstr(text, "NextToken"))
            return items;
        assert_non_null(strstr(text, "LastEvaluatedKey"));
        (void)snprintf(token, sizeof token, "%s", text_of(text, "NextToken"));
    }
    fail_msg("%s never ends", statement);
    return 0;
}

static void pages_give_every_item_once(void **state)
{
    fixture *f = *state;
    fill(f);
    for (int limit = 1; limit < 17; limit++) {
        assert_int_equal(walk(f, "SELECT sk FROM tab", limit, "\"sk\""), 15);
        assert_int_equal(walk(f, "SELECT sk FROM tab WHERE pk IN ['p0','p2','none']", limit, "\"sk\""), 10);
        assert_int_equal(
            walk(f, "SELECT sk FROM tab WHERE pk IN ['p0','p2'] AND sk IN ['s1','s3','s9']", limit, "\"sk\""),
            4);
        assert_int_equal(
            walk(f, "SELECT sk FROM tab WHERE pk='p0' AND sk>'s1' ORDER BY sk DESC", limit, "\"sk\""), 3);
        assert_int_equal(walk(f, "SELECT sk FROM tab WHERE n=2", limit, "\"sk\""), 3);
        assert_int_equal(walk(f, "SELECT sk FROM tab.byG WHERE g='g0'", limit, "\"sk\""), 9);
    }
}

static void tokens_of_pages_are_checked(void **state)
{
    fixture *f = *state;
    fill(f);
    char token[4096];
    const char *text =
        must(f, "ExecuteStatement", "{\"Statement\":\"SELECT sk FROM tab WHERE pk='p0'\",\"Limit\":2}");
    (void)snprintf(token, sizeof token, "%s", text_of(text, "NextToken"));
    static const char *const wrong[] = {"", "xyz", "AAAA"};
    for (size_t i = 0; i < TR_COUNT(wrong); i++) {
        callf(f, "ExecuteStatement",
              "{\"Statement\":\"SELECT sk FROM tab WHERE pk='p0'\",\"NextToken\":\"%s\"}", wrong[i]);
        assert_int_equal(f->reply.status, 400);
    }
    /* of another statement */
    text = callf(f, "ExecuteStatement",
                 "{\"Statement\":\"SELECT sk FROM tab WHERE pk='p1'\",\"NextToken\":\"%s\"}", token);
    assert_non_null(strstr(text, "Invalid NextToken"));
    for (size_t i = 0; token[i] && token[i] != '='; i++) { /* any other character, anywhere */
        char kept = token[i];
        token[i] = kept == 'A' ? 'B' : 'A';
        text = callf(f, "ExecuteStatement",
                     "{\"Statement\":\"SELECT sk FROM tab WHERE pk='p0'\",\"NextToken\":\"%s\"}", token);
        if (!strstr(text, "Invalid NextToken"))
            fail_msg("%zu: %s", i, text);
        token[i] = kept;
    }
}

static void capacity_is_told(void **state)
{
    fixture *f = *state;
    fill(f);
#define CAPACITY "\",\"ReturnConsumedCapacity\":\"INDEXES\"}"
    assert_non_null(
        strstr(must(f, "ExecuteStatement", "{\"Statement\":\"SELECT sk FROM tab WHERE pk='p0'" CAPACITY),
               "\"CapacityUnits\":0.5,\"Table\":{\"CapacityUnits\":0.5}"));
    assert_non_null(
        strstr(must(f, "ExecuteStatement", "{\"Statement\":\"SELECT sk FROM tab.byG WHERE g='g0'" CAPACITY),
               "\"byG\":{\"CapacityUnits\":0.5}"));
    assert_non_null(strstr(
        must(f, "ExecuteStatement", "{\"Statement\":\"DELETE FROM tab WHERE pk='p0' AND sk='s0'" CAPACITY),
        "\"CapacityUnits\":3.0,\"Table\":{\"CapacityUnits\":1.0}"));
    assert_non_null(
        strstr(must(f, "ExecuteTransaction",
                    "{\"TransactStatements\":[{\"Statement\":\"SELECT sk FROM tab WHERE pk='p1' AND "
                    "sk='s0'\"}],\"ReturnConsumedCapacity\":\"TOTAL\"}"),
               "\"CapacityUnits\":2.0,\"ReadCapacityUnits\":2.0"));
}

static void batches_tell_each_outcome(void **state)
{
    fixture *f = *state;
    fill(f);
    const char *text = must(
        f, "BatchExecuteStatement",
        "{\"Statements\":[{\"Statement\":\"SELECT n FROM tab WHERE pk='p0' AND sk='s1'\"},{\"Statement\":"
        "\"SELECT n FROM none WHERE pk='p0' AND sk='s1'\"},{\"Statement\":\"SELECT n FROM tab WHERE "
        "pk='p0'\"},{\"Statement\":\"garbage garbage\"},{\"Statement\":\"SELECT n FROM tab WHERE pk='p0' "
        "AND sk='none'\"}]}");
    assert_non_null(strstr(text, "{\"TableName\":\"tab\",\"Item\":{\"n\":{\"N\":\"1\"}}}"));
    assert_non_null(strstr(text, "\"Code\":\"ResourceNotFound\""));
    assert_non_null(strstr(text, "\"Only single item select is supported\""));
    assert_non_null(strstr(text, "Statement wasn't well formed"));
    assert_non_null(strstr(text, "{\"TableName\":\"tab\"}]"));
    text = must(f, "BatchExecuteStatement",
                "{\"Statements\":[{\"Statement\":\"INSERT INTO tab VALUE "
                "{'pk':'p0','sk':'s1'}\"},{\"Statement\":\"UPDATE tab SET "
                "n=7 WHERE pk='p0' AND sk='s2' AND "
                "n=99\",\"ReturnValuesOnConditionCheckFailure\":\"ALL_OLD\"},{\"Statement\":"
                "\"UPDATE tab SET n=7 WHERE pk='p0' AND sk='s3' RETURNING MODIFIED NEW "
                "*\"},{\"Statement\":\"UPDATE tab SET n=x "
                "WHERE pk='p0' AND sk='s4'\"}]}");
    assert_non_null(strstr(text, "\"Code\":\"DuplicateItem\""));
    assert_non_null(strstr(
        text,
        "\"Code\":\"ConditionalCheckFailed\",\"Message\":\"The conditional request failed\",\"Item\":{"));
    assert_non_null(strstr(text, "{\"TableName\":\"tab\",\"Item\":{\"n\":{\"N\":\"7\"}}}"));
    assert_non_null(strstr(text, "\"Code\":\"ValidationError\""));
    gives(f, "SELECT n FROM tab WHERE pk='p0' AND sk='s3'", "\"7\"");
    refused(f, "BatchExecuteStatement",
            "{\"Statements\":[{\"Statement\":\"SELECT n FROM tab WHERE pk='p0' AND "
            "sk='s1'\"},{\"Statement\":\"DELETE FROM tab "
            "WHERE pk='p0' AND sk='s2'\"}]}",
            "ValidationException", "Read and write requests together in the same batch is not supported.");
    refused(f, "BatchExecuteStatement",
            "{\"Statements\":[{\"Statement\":\"DELETE FROM tab WHERE pk='p0' AND "
            "sk='s2'\"},{\"Statement\":\"DELETE FROM tab "
            "WHERE pk='p0' AND sk='s2'\"}]}",
            "ValidationException", "Provided list of item keys contains duplicates");
    refused(f, "BatchExecuteStatement", "{\"Statements\":[]}", "ValidationException",
            "greater than or equal to 1");
    refused(f, "BatchExecuteStatement",
            "{\"Statements\":[{\"Statement\":\"EXISTS(SELECT * FROM tab WHERE pk='a')\"}]}x",
            "SerializationException", "");
}

static void transactions_write_all_or_nothing(void **state)
{
    fixture *f = *state;
    fill(f);
#define FIRST  "{\"Statement\":\"UPDATE tab SET n=n+1 WHERE pk='p0' AND sk='s0'\"}"
#define EXISTS "{\"Statement\":\"EXISTS(SELECT * FROM tab WHERE pk='p0' AND sk='s1' AND n=%d)\"}"
    must(f, "ExecuteTransaction", "{\"TransactStatements\":[" FIRST "," EXISTS "]}", 1);
    gives(f, "SELECT n FROM tab WHERE pk='p0' AND sk='s0'", "{\"n\":{\"N\":\"1\"}}");
    const char *text = callf(
        f, "ExecuteTransaction",
        "{\"TransactStatements\":[" FIRST "," EXISTS ",{\"Statement\":\"INSERT INTO tab VALUE "
        "{'pk':'p0','sk':'s2'}\"},{\"Statement\":\"UPDATE tab SET n=none WHERE pk='p0' AND sk='s3'\"}]}",
        99);
    assert_int_equal(f->reply.status, 400);
    assert_non_null(strstr(text, "[None, ConditionalCheckFailed, DuplicateItem, ValidationError]"));
    gives(f, "SELECT n FROM tab WHERE pk='p0' AND sk='s0'", "{\"n\":{\"N\":\"1\"}}");
    text = callf(f, "ExecuteTransaction",
                 "{\"TransactStatements\":[" FIRST ",{\"Statement\":\"DELETE FROM tab WHERE pk='x'\"}]}");
    assert_non_null(strstr(text, "[None, ValidationError]"));
    static const struct {
        const char *statements, *part;
    } cases[] = {{FIRST "," FIRST, "Transaction request cannot include multiple operations on one item"},
                 {FIRST ",{\"Statement\":\"SELECT * FROM tab WHERE pk='a' AND sk='b'\"}",
                  "does not support both read and write"},
                 {"{\"Statement\":\"SELECT * FROM tab WHERE pk='a'\"}",
                  "TransactStatements[0]: Select statements within"},
                 {"{\"Statement\":\"SELECT * FROM tab.byL WHERE pk='a'\"}",
                  "TransactStatements[0]: Reads on indices are not"},
                 {FIRST ",{\"Statement\":\"DELETE FROM tab WHERE pk='a' AND sk='b' RETURNING ALL OLD *\"}",
                  "TransactStatements[1]: RETURNING clause is not supported"},
                 {"{\"Statement\":\"EXISTS(SELECT * FROM tab WHERE pk='a' AND sk='b')\"}",
                  "EXISTS() must contain a single item read"}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        text = callf(f, "ExecuteTransaction", "{\"TransactStatements\":[%s]}", cases[i].statements);
        if (f->reply.status != 400 || !strstr(text, cases[i].part))
            fail_msg("%s: %s", cases[i].statements, text);
    }
    text = must(f, "ExecuteTransaction",
                "{\"TransactStatements\":[{\"Statement\":\"SELECT n FROM tab WHERE pk='p0' AND "
                "sk='s1'\"},{\"Statement\":"
                "\"SELECT n FROM tab WHERE pk='p0' AND sk='none'\"}]}");
    assert_string_equal(text, "{\"Responses\":[{\"Item\":{\"n\":{\"N\":\"1\"}}},{}]}");
}

static void a_token_makes_a_transaction_happen_once(void **state)
{
    fixture *f = *state;
    fill(f);
    for (int i = 0; i < 2; i++)
        assert_string_equal(must(f, "ExecuteTransaction",
                                 "{\"ClientRequestToken\":\"t\",\"TransactStatements\":[" FIRST "]}"),
                            "{\"Responses\":[]}");
    gives(f, "SELECT n FROM tab WHERE pk='p0' AND sk='s0'", "{\"n\":{\"N\":\"1\"}}");
    refused(f, "ExecuteTransaction",
            "{\"ClientRequestToken\":\"t\",\"TransactStatements\":[{\"Statement\":\"UPDATE tab SET n=n+2 "
            "WHERE pk='p0' AND "
            "sk='s0'\"}]}",
            "IdempotentParameterMismatchException", "");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        T(statements_read_and_write_items),
        T(indexes_are_read),
        T(a_batch_in_which_nothing_came_about_consumed_nothing),
        T(parameters_that_are_null_are_refused),
        T(pages_give_every_item_once),
        T(tokens_of_pages_are_checked),
        T(capacity_is_told),
        T(batches_tell_each_outcome),
        T(transactions_write_all_or_nothing),
        T(a_token_makes_a_transaction_happen_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
