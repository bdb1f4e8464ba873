/* SPDX-License-Identifier: MIT */
#include "api_test.h"

#include <stdlib.h>

/* What is refused, in which words, and what comes first. */

typedef struct error_case {
    const char *operation, *body, *type, *message;
} error_case;

#define V   "com.amazon.coral.validate#ValidationException"
#define S   "com.amazon.coral.service#SerializationException"
#define N   "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"
#define ONE "1 validation error detected: "
#define A   ",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"},\"x\":"
#define K   ",\"Key\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"}}"

static void run(fixture *f, const error_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const error_case *c = &cases[i];
        const char *text = call(f, c->operation, c->body);
        char want[2048];
        (void)snprintf(want, sizeof want, "{\"__type\":\"%s\"%s%s%s%s}", c->type, c->message ? ",\"" : "",
                       !c->message               ? ""
                       : strcmp(c->type, S) == 0 ? "Message\":\""
                                                 : "message\":\"",
                       c->message ? c->message : "", c->message ? "\"" : "");
        if (f->reply.status != 400 || strcmp(text, want) != 0)
            fail_msg("%s %s\nanswered %d %s\nnot      %s", c->operation, c->body, f->reply.status, text,
                     want);
    }
}

static void json_types_are_checked_first(void **state)
{
    static const error_case cases[] = {
        {"PutItem", "", S, NULL},
        {"PutItem", "{", S, NULL},
        {"PutItem", "[]", S, NULL},
        {"PutItem", "{\"TableName\":1,}", S, NULL},
        {"PutItem", "{\"TableName\":1}", S, "NUMBER_VALUE cannot be converted to String"},
        {"PutItem", "{\"TableName\":1.5}", S, "DECIMAL_VALUE cannot be converted to String"},
        {"PutItem", "{\"TableName\":true}", S, "TRUE_VALUE cannot be converted to String"},
        {"PutItem", "{\"TableName\":[]}", S, "Unrecognized collection type class java.lang.String"},
        {"PutItem", "{\"TableName\":{}}", S, "Start of structure or map found where not expected"},
        {"PutItem", "{\"Item\":1}", S, "Unexpected field type"},
        {"PutItem", "{\"Item\":[]}", S,
         "Unrecognized collection type java.util.Map<java.lang.String, "
         "com.amazonaws.dynamodb.v20120810.AttributeValue>"},
        {"PutItem", "{\"Item\":{\"a\":1}}", S, "Unexpected value type in payload"},
        {"PutItem", "{\"Item\":{\"a\":[]}}", S,
         "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"},
        {"PutItem", "{\"Item\":{\"a\":{\"S\":1}}}", S, "NUMBER_VALUE cannot be converted to String"},
        {"PutItem", "{\"Item\":{\"a\":{\"B\":\"abc\"}}}", S,
         "Base64 encoded length is expected a multiple of 4 bytes but found: 3"},
        {"PutItem", "{\"Item\":{\"a\":{\"B\":\"abd=\",\"S\":\"x\"}}}", S,
         "Invalid last non-pad Base64 character dectected"},
        {"PutItem", "{\"Item\":{\"a\":{\"BOOL\":\"abc\"}}}", S, "Unexpected token received from parser"},
        {"PutItem", "{\"Item\":{\"a\":{\"L\":[1]}}}", S, "Unexpected value type in payload"},
        {"PutItem", "{\"Item\":{\"a\":{\"M\":[]}}}", S,
         "Unrecognized collection type java.util.Map<java.lang.String, "
         "com.amazonaws.dynamodb.v20120810.AttributeValue>"},
        /* a value that is not valid, and behind it one of a wrong type: the type is told */
        {"PutItem", "{\"Item\":{\"a\":{\"N\":\"x\"},\"b\":{\"S\":1}}}", S,
         "NUMBER_VALUE cannot be converted to String"},
        {"GetItem", "{\"ConsistentRead\":\"x\"}", S, "Unexpected token received from parser"},
        {"Scan", "{\"Limit\":\"1\"}", S, "STRING_VALUE cannot be converted to Integer"},
        {"CreateTable", "{\"KeySchema\":{}}", S, "Start of structure or map found where not expected"},
        {"CreateTable", "{\"KeySchema\":[[]]}", S,
         "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.KeySchemaElement"},
        {"CreateTable", "{\"ProvisionedThroughput\":{\"ReadCapacityUnits\":\"1\"}}", S,
         "STRING_VALUE cannot be converted to Long"},
    };
    run(*state, cases, TR_COUNT(cases));
}

static void broken_constraints_are_told_together(void **state)
{
    static const error_case cases[] = {
        {"GetItem", "{}", V,
         "2 validation errors detected: Value null at 'key' failed to satisfy constraint: Member must not be "
         "null; "
         "Value null at 'tableName' failed to satisfy constraint: Member must not be null"},
        {"PutItem", "{\"ReturnValues\":\"x\"}", V,
         ONE "Value null at 'tableName' failed to satisfy constraint: Member must not be null"},
        {"PutItem", "{\"TableName\":\"tab\",\"ReturnValues\":\"x\",\"ReturnConsumedCapacity\":\"y\"}", V,
         "3 validation errors detected: Value null at 'item' failed to satisfy constraint: Member must not "
         "be null; "
         "Value 'y' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value "
         "set: "
         "[INDEXES, TOTAL, NONE]; Value 'x' at 'returnValues' failed to satisfy constraint: Member must "
         "satisfy "
         "enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"},
        {"Query", "{\"TableName\":\"a b\",\"Limit\":0}", V,
         "2 validation errors detected: Value 'a b' at 'tableName' failed to satisfy constraint: Member must "
         "satisfy "
         "regular expression pattern: [a-zA-Z0-9_.-]+; Value at 'Limit' failed to satisfy constraint: Member "
         "must "
         "have value greater than or equal to 1"},
        {"ListTables", "{\"Limit\":101,\"ExclusiveStartTableName\":\"a\"}", V,
         "2 validation errors detected: Value 'a' at 'exclusiveStartTableName' failed to satisfy constraint: "
         "Member "
         "must have length greater than or equal to 3; Value '101' at 'limit' failed to satisfy constraint: "
         "Member "
         "must have value less than or equal to 100"},
        {"DescribeTable", "{}", V,
         "The parameter 'TableName' is required but was not present in the request"},
        {"DescribeTable", "{\"TableName\":\"a\"}", V,
         "TableName must be at least 3 characters long and at most 255 characters long"},
        {"CreateTable",
         "{\"TableName\":\"abc\",\"AttributeDefinitions\":[{\"AttributeName\":\"a\",\"AttributeType\":\"X\"}]"
         ","
         "\"KeySchema\":[{\"KeyType\":\"HASH\"}],\"BillingMode\":\"b\"}",
         V,
         "3 validation errors detected: Value 'b' at 'billingMode' failed to satisfy constraint: Member must "
         "satisfy "
         "enum value set: [PROVISIONED, PAY_PER_REQUEST]; Value null at 'keySchema.1.member.attributeName' "
         "failed to "
         "satisfy constraint: Member must not be null; Value 'X' at "
         "'attributeDefinitions.1.member.attributeType' "
         "failed to satisfy constraint: Member must satisfy enum value set: [B, N, S]"},
        {"CreateTable",
         "{\"TableName\":\"abc\",\"AttributeDefinitions\":[],\"KeySchema\":[{\"AttributeName\":\"a\","
         "\"KeyType\":"
         "\"HASH\"},{\"AttributeName\":\"b\",\"KeyType\":\"RANGE\"},{\"AttributeName\":\"c\",\"KeyType\":"
         "\"RANGE\"}]}",
         V,
         ONE "Value '[KeySchemaElement(attributeName=a, keyType=HASH), KeySchemaElement(attributeName=b, "
             "keyType=RANGE), KeySchemaElement(attributeName=c, keyType=RANGE)]' at 'keySchema' failed to "
             "satisfy "
             "constraint: Member must have length less than or equal to 2"},
    };
    run(*state, cases, TR_COUNT(cases));
}

static void values_that_are_not_valid_are_told_in_the_services_words(void **state)
{
    static const error_case cases[] = {
        {"PutItem", "{\"TableName\":\"tab\"" A "{}}}", V,
         "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"},
        {"PutItem", "{\"TableName\":\"tab\"" A "{\"S\":\"a\",\"N\":\"1\"}}}", V,
         "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported "
         "datatypes"},
        {"PutItem", "{\"TableName\":\"tab\"" A "{\"N\":\"\"}}}", V,
         "The parameter cannot be converted to a numeric value"},
        {"PutItem", "{\"TableName\":\"tab\"" A "{\"N\":\"b\"}}}", V,
         "The parameter cannot be converted to a numeric value: b"},
        {"PutItem", "{\"TableName\":\"tab\"" A "{\"N\":\"1e126\"}}}", V,
         "Number overflow. Attempting to store a number with magnitude larger than supported range"},
        {"PutItem", "{\"TableName\":\"tab\"" A "{\"N\":\"1e-131\"}}}", V,
         "Number underflow. Attempting to store a number with magnitude smaller than supported range"},
        {"PutItem", "{\"TableName\":\"tab\"" A "{\"N\":\"123456789012345678901234567890123456789\"}}}", V,
         "Attempting to store more than 38 significant digits in a Number"},
        {"PutItem", "{\"TableName\":\"tab\"" A "{\"NULL\":false}}}", V,
         ONE
         "One or more parameter values were invalid: Null attribute value types must have the value of true"},
        {"PutItem", "{\"TableName\":\"tab\"" A "{\"SS\":[]}}}", V,
         ONE "One or more parameter values were invalid: An string set  may not be empty"},
        {"PutItem", "{\"TableName\":\"tab\"" A "{\"SS\":[\"b\",\"a\",\"b\"]}}}", V,
         ONE "One or more parameter values were invalid: Input collection [b, a, b] contains duplicates."},
        {"BatchWriteItem", "{\"RequestItems\":{\"tab\":[{\"PutRequest\":{\"Item\":{\"pk\":{\"SS\":[]}}}}]}}",
         V, "One or more parameter values were invalid: An string set  may not be empty"},
    };
    run(*state, cases, TR_COUNT(cases));
}

static void keys_must_fit_the_table(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    static const error_case cases[] = {
        {"GetItem", "{\"TableName\":\"none\"" K "}", N, "Requested resource not found"},
        {"DescribeTable", "{\"TableName\":\"none\"}", N,
         "Requested resource not found: Table: none not found"},
        {"GetItem", "{\"TableName\":\"tab\",\"Key\":{\"pk\":{\"S\":\"a\"}}}", V,
         "The provided key element does not match the schema"},
        {"GetItem", "{\"TableName\":\"tab\",\"Key\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"1\"}}}", V,
         "The provided key element does not match the schema"},
        {"GetItem", "{\"TableName\":\"tab\",\"Key\":{\"pk\":{\"S\":\"\"},\"sk\":{\"S\":\"1\"}}}", V,
         "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain "
         "an empty "
         "string value. Key: pk"},
        {"PutItem", "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"}}}", V,
         "One or more parameter values were invalid: Missing the key sk in the item"},
        {"PutItem", "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"NULL\":true}}}", V,
         "One or more parameter values were invalid: Type mismatch for key sk expected: S actual: NULL"},
        {"PutItem",
         "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"},\"g\":{\"N\":\"1\"},"
         "\"l\":{\"S\":\"x\"}}}",
         V,
         "One or more parameter values were invalid: Type mismatch for Index Key g Expected: S Actual: N "
         "IndexName: "
         "byG"},
        {"UpdateItem",
         "{\"TableName\":\"tab\"" K ",\"UpdateExpression\":\"SET pk = :a\","
         "\"ExpressionAttributeValues\":{\":a\":{\"S\":\"x\"}}}",
         V,
         "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of "
         "the key"},
        {"UpdateItem", "{\"TableName\":\"tab\"" K ",\"UpdateExpression\":\"SET x = pk.a\"}", V,
         "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: "
         "pk"},
    };
    run(f, cases, TR_COUNT(cases));
}

static void expressions_are_refused_before_the_table_is_looked_up(void **state)
{
    static const error_case cases[] = {
        {"GetItem", "{\"TableName\":\"none\"" K ",\"ExpressionAttributeNames\":{}}", V,
         "ExpressionAttributeNames can only be specified when using expressions"},
        {"GetItem", "{\"TableName\":\"none\"" K ",\"ProjectionExpression\":\"\"}", V,
         "Invalid ProjectionExpression: The expression can not be empty;"},
        {"GetItem",
         "{\"TableName\":\"none\"" K ",\"ProjectionExpression\":\"a\",\"AttributesToGet\":[\"a\"]}", V,
         "Can not use both expression and non-expression parameters in the same request: Non-expression "
         "parameters: "
         "{AttributesToGet} Expression parameters: {ProjectionExpression}"},
        {"UpdateItem", "{\"TableName\":\"none\"" K ",\"UpdateExpression\":\"SET a\"}", V,
         ONE "Invalid UpdateExpression: Syntax error; token: \\\"<EOF>\\\", near: \\\"a\\\""},
        {"DeleteItem",
         "{\"TableName\":\"none\"" K
         ",\"ConditionExpression\":\"a = :a\",\"ExpressionAttributeValues\":{\":a\":{"
         "\"S\":\"\"},\":b\":{\"S\":\"\"}}}",
         V, "Value provided in ExpressionAttributeValues unused in expressions: keys: {:b}"},
        {"DeleteItem",
         "{\"TableName\":\"none\"" K
         ",\"ConditionExpression\":\"a = :a\",\"ExpressionAttributeValues\":{\":a\":{"
         "\"N\":\"z\"}}}",
         V,
         "ExpressionAttributeValues contains invalid value: The parameter cannot be converted to a numeric "
         "value: z "
         "for key :a"},
        {"Query", "{\"TableName\":\"none\"}", V,
         "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."},
    };
    run(*state, cases, TR_COUNT(cases));
}

/* As others captured them from the service. */
static void what_precedes_and_follows_the_look_at_the_table(void **state)
{
#define OR  ",\"ConditionalOperator\":\"OR\""
#define LTX "{\"ComparisonOperator\":\"LT\",\"AttributeValueList\":[{\"S\":\"x\"}]}"
    static const error_case cases[] = {
        {"Scan", "{\"TableName\":\"none\"" OR "}", V,
         "ConditionalOperator cannot be used without Filter or Expected"},
        {"Scan", "{\"TableName\":\"none\"" OR ",\"ScanFilter\":{}}", V,
         "ConditionalOperator cannot be used without Filter or Expected"},
        {"Query", "{\"TableName\":\"none\"" OR "}", V,
         "ConditionalOperator cannot be used without Filter or Expected"},
        {"Scan", "{\"TableName\":\"none\"" OR ",\"ScanFilter\":{\"x\":" LTX "}}", V,
         "ConditionalOperator can only be used when Filter or Expected has two or more elements"},
        {"DeleteItem", "{\"TableName\":\"none\"" K OR ",\"Expected\":{\"x\":" LTX "}}", V,
         "ConditionalOperator can only be used when Filter or Expected has two or more elements"},
        {"DeleteItem", "{\"TableName\":\"none\"" K OR ",\"ConditionExpression\":\"attribute_exists(x)\"}", V,
         "Can not use both expression and non-expression parameters in the same request: Non-expression "
         "parameters: {ConditionalOperator} Expression parameters: {ConditionExpression}"},
        {"DeleteItem", "{\"TableName\":\"none\"" K ",\"ReturnValues\":\"ALL_NEW\"}", N,
         "Requested resource not found"},
        {"DeleteItem", "{\"TableName\":\"tab\"" K ",\"ReturnValues\":\"ALL_NEW\"}", V,
         "ReturnValues can only be ALL_OLD or NONE"},
        {"Query",
         "{\"TableName\":\"none\",\"KeyConditionExpression\":\"pk = "
         ":p\",\"ExpressionAttributeValues\":{\":p\":{\"S\":\"x\"}},\"Select\":\"COUNT\","
         "\"ProjectionExpression\":\"x\"}",
         V, ONE "Cannot specify the ProjectionExpression when choosing to get only the Count"},
        {"PutItem", "{\"TableName\":\"none\"" A "{\"SS\":[\"a\",null]}}}", V,
         ONE
         "One or more parameter values were invalid: An string set may not have a null string as a member"},
    };
    fixture *f = *state;
    make_table(f, "tab");
    run(f, cases, TR_COUNT(cases));
    /* transactions take names and values that nothing uses, where there is no expression */
    must(f, "TransactWriteItems",
         "{\"TransactItems\":[{\"Delete\":{\"TableName\":\"tab\"" K
         ",\"ExpressionAttributeValues\":{\":v\":{\"S\":\"x\"}}}}]}");
    must(f, "TransactGetItems",
         "{\"TransactItems\":[{\"Get\":{\"TableName\":\"tab\"" K
         ",\"ExpressionAttributeNames\":{\"#n\":\"x\"}}}]}");
}

/* Puts an item of 410 KB; the answer. */
static const char *put_large(fixture *f, const char *operation, const char *from, const char *to)
{
    tr_buf body;
    tr_buf_init(&body, SIZE_MAX / 2);
    tr_buf_put_str(&body, from);
    for (int i = 0; i < 41000; i++)
        tr_buf_put_str(&body, "xxxxxxxxxx");
    tr_buf_put_str(&body, to);
    (void)call(f, operation, tr_buf_cstr(&body));
    tr_buf_done(&body);
    return tr_buf_cstr(&f->body);
}

static void an_item_is_too_large_for_a_table_that_is_there(void **state)
{
#define BATCH(table)                                                                                         \
    "{\"RequestItems\":{\"" table                                                                            \
    "\":[{\"PutRequest\":{\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"},\"x\":{\"S\":\""
    fixture *f = *state;
    make_table(f, "tab");
    const char *text = put_large(f, "PutItem", "{\"TableName\":\"none\"" A "{\"S\":\"", "\"}}}");
    assert_non_null(strstr(text, "Requested resource not found"));
    text = put_large(f, "PutItem", "{\"TableName\":\"tab\"" A "{\"S\":\"", "\"}}}");
    assert_non_null(strstr(text, "Item size has exceeded the maximum allowed size"));
    text = put_large(f, "BatchWriteItem", BATCH("none"), "\"}}}}]}}");
    assert_non_null(strstr(text, "Requested resource not found"));
    text = put_large(f, "BatchWriteItem", BATCH("tab"), "\"}}}}]}}");
    assert_non_null(strstr(text, "Item size has exceeded the maximum allowed size"));
}

static void an_unknown_operation_is_told(void **state)
{
    fixture *f = *state;
    refused(f, "Nonsense", "{}", "com.amazon.coral.service#UnknownOperationException", "");
    refused(f, "Nonsense", "{", "com.amazon.coral.service#SerializationException", "");
}

static void huge_and_deep_requests_are_refused(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    tr_buf body;
    tr_buf_init(&body, 1 << 24);
    tr_buf_put_str(&body, "{\"TableName\":\"tab\"" A);
    for (int i = 0; i < 33; i++)
        tr_buf_put_str(&body, "{\"L\":[");
    tr_buf_put_str(&body, "{\"S\":\"x\"}");
    for (int i = 0; i < 33; i++)
        tr_buf_put_str(&body, "]}");
    tr_buf_put_str(&body, "}}");
    refused(f, "PutItem", tr_buf_cstr(&body), "ValidationException",
            "Nesting Levels have exceeded supported limits");
    tr_buf_reset(&body);
    for (int i = 0; i < 100000; i++)
        tr_buf_put_str(&body, "{\"a\":[");
    refused(f, "PutItem", tr_buf_cstr(&body), "SerializationException", "");
    tr_buf_reset(&body);
    tr_buf_put_str(&body, "{\"TagKeys\":[");
    for (int i = 0; i < 200000; i++)
        tr_buf_put_str(&body, i ? ",\"a\"" : "\"a\"");
    tr_buf_put_str(&body, "]}");
    refused(f, "UntagResource", tr_buf_cstr(&body), "ValidationException",
            "more elements than can be processed");
    tr_buf_reset(&body);
    tr_buf_put_str(&body, "{\"TableName\":\"tab\"" A "{\"S\":\"");
    for (int i = 0; i < 400 * 1024; i++)
        tr_buf_putc(&body, 'x');
    tr_buf_put_str(&body, "\"}}}");
    refused(f, "PutItem", tr_buf_cstr(&body), "ValidationException",
            "Item size has exceeded the maximum allowed size");
    tr_buf_done(&body);
}

static void deep_update(tr_buf *body, int levels)
{
    tr_buf_reset(body);
    tr_buf_put_str(body, "{\"TableName\":\"tab\"" K ",\"UpdateExpression\":\"SET m.x = :v\","
                         "\"ExpressionAttributeValues\":{\":v\":");
    for (int i = 0; i < levels; i++)
        tr_buf_put_str(body, "{\"L\":[");
    tr_buf_put_str(body, "{\"S\":\"x\"}");
    for (int i = 0; i < levels; i++)
        tr_buf_put_str(body, "]}");
    tr_buf_put_str(body, "}}");
}

static void updates_nest_no_deeper_than_puts(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    tr_buf body;
    tr_buf_init(&body, 1 << 16);
    must(f, "PutItem", "%s",
         "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"},\"m\":{\"M\":{}}}}");
    deep_update(&body, 30);
    must(f, "UpdateItem", "%s", tr_buf_cstr(&body));
    deep_update(&body, 31);
    refused(f, "UpdateItem", tr_buf_cstr(&body), "ValidationException",
            "Nesting Levels have exceeded supported limits");
    tr_buf_done(&body);
}

/* --------------------------------------------------------------------------------------- without memory */

static int64_t allowed = -1; /* allocations until one fails; < 0: none does */

static void *failing_realloc(void *ptr, size_t size)
{
    if (allowed == 0)
        return NULL;
    if (allowed > 0)
        allowed--;
    return realloc(ptr, size);
}

static void every_allocation_may_fail(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    static const struct {
        const char *operation, *body;
    } cases[] = {
        {"PutItem",
         "{\"TableName\":\"tab\"" A "{\"L\":[{\"SS\":[\"a\",\"b\"]},{\"M\":{\"q\":{\"B\":\"AAAA\"}}}]}},"
         "\"ConditionExpression\":\"attribute_not_exists(#p) OR x <> :v\",\"ExpressionAttributeNames\":{"
         "\"#p\":\"pk\"},\"ExpressionAttributeValues\":{\":v\":{\"S\":\"\"}},\"ReturnConsumedCapacity\":"
         "\"INDEXES\"}"},
        {"GetItem", "{\"TableName\":\"tab\"" K ",\"ProjectionExpression\":\"x[0], sk\"}"},
        {"UpdateItem", "{\"TableName\":\"tab\"" K ",\"UpdateExpression\":\"SET x[0] = :v REMOVE y\","
                       "\"ExpressionAttributeValues\":{\":v\":{\"S\":\"\"}},\"ReturnValues\":\"ALL_NEW\"}"},
        {"Query", "{\"TableName\":\"tab\",\"KeyConditionExpression\":\"pk = "
                  ":p\",\"ExpressionAttributeValues\":{\":p\":"
                  "{\"S\":\"a\"}}}"},
        {"TransactWriteItems",
         "{\"ClientRequestToken\":\"t\",\"TransactItems\":[{\"ConditionCheck\":{\"TableName\":"
         "\"tab\"" K ",\"ConditionExpression\":\"attribute_exists(pk)\"}}]}"},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        for (int64_t n = 0;; n++) {
            const tr_api_request request = {.operation = tr_view_str(cases[i].operation),
                                            .body = tr_view_str(cases[i].body)};
            tr_buf_done(&f->body); /* so that the answer has to be allocated too */
            tr_api_free(f->api);
            const tr_api_options options = {.engine = f->engine};
            assert_int_equal(tr_api_new(&options, &f->api), 0);
            allowed = n;
            tr_set_allocator(failing_realloc, free);
            tr_api_call(f->api, &request, &f->body, &f->reply);
            bool spared = allowed > 0;
            allowed = -1;
            tr_set_allocator(realloc, free);
            tr_error err;
            if (tr_engine_flush(f->engine, &err) || tr_engine_poll(f->engine, &err)) {
                /* a batch that could not be staged whole stops the engine */
                assert_false(spared);
                assert_true(f->reply.status >= 500);
                (void)fixture_close((void **)&f);
                (void)fixture_open((void **)&f);
                make_table(f, "tab");
                *state = f;
                continue;
            }
            if (spared) {
                assert_int_equal(f->reply.status, 200);
                break;
            }
            if (f->reply.status == 200) /* the one that failed was not missed */
                continue;
            if (f->reply.status != 503 && f->reply.status != 500)
                fail_msg("%s, allocation %lld: %d %s", cases[i].operation, (long long)n, f->reply.status,
                         tr_buf_cstr(&f->body));
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        T(json_types_are_checked_first),
        T(broken_constraints_are_told_together),
        T(values_that_are_not_valid_are_told_in_the_services_words),
        T(keys_must_fit_the_table),
        T(expressions_are_refused_before_the_table_is_looked_up),
        T(what_precedes_and_follows_the_look_at_the_table),
        T(an_item_is_too_large_for_a_table_that_is_there),
        T(an_unknown_operation_is_told),
        T(huge_and_deep_requests_are_refused),
        T(updates_nest_no_deeper_than_puts),
        T(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
