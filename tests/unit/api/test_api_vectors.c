/* SPDX-License-Identifier: MIT */
#include "api_test.h"

/* Vector indexes and SearchVectors over the wire: scores, conditions, projections, refusals, descriptions. */

#define DEFINITIONS                                                                                          \
    "\"AttributeDefinitions\":[{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"},"                          \
    "{\"AttributeName\":\"tenant\",\"AttributeType\":\"S\"},{\"AttributeName\":\"tier\","                    \
    "\"AttributeType\":\"N\"}],"
#define KEYS "\"KeySchema\":[{\"AttributeName\":\"pk\",\"KeyType\":\"HASH\"}],"
#define INDEX(name, distance, projection, schema)                                                            \
    "{\"IndexName\":\"" name "\",\"VectorAttribute\":{\"AttributeName\":\"v\"},\"Dimensions\":3,"            \
    "\"DistanceFunction\":\"" distance "\",\"Projection\":{\"ProjectionType\":" projection "}" schema "}"
#define SCHEMA                                                                                               \
    ",\"SearchSchema\":[{\"AttributeName\":\"tenant\",\"SearchSchemaElementType\":\"HASH\"},"                \
    "{\"AttributeName\":\"tier\",\"SearchSchemaElementType\":\"INLINE_FILTER\"}]"
#define VECTOR(a, b, c) "[{\"N\":\"" a "\"},{\"N\":\"" b "\"},{\"N\":\"" c "\"}]"

static void make_vectors(fixture *f)
{
    must(f, "CreateTable",
         "{\"TableName\":\"vec\"," DEFINITIONS KEYS "\"BillingMode\":\"PAY_PER_REQUEST\",\"VectorIndexes\":["
         "%s,%s,%s,%s]}",
         INDEX("cosine", "COSINE", "\"ALL\"", ""), INDEX("euclid", "EUCLIDEAN", "\"KEYS_ONLY\"", ""),
         INDEX("dot", "DOT_PRODUCT", "\"INCLUDE\",\"NonKeyAttributes\":[\"label\",\"v\"]", ""),
         INDEX("split", "COSINE", "\"ALL\"", SCHEMA));
}

static void put_vector(fixture *f, const char *pk, const char *vector, const char *more)
{
    must(f, "PutItem",
         "{\"TableName\":\"vec\",\"Item\":{\"pk\":{\"S\":\"%s\"},\"label\":{\"S\":\"l-%s\"},\"v\":{\"L\":%s}"
         "%s}}",
         pk, pk, vector, more);
}

static void put_four(fixture *f)
{
    put_vector(f, "a", VECTOR("1", "0", "0"), "");
    put_vector(f, "b", VECTOR("0", "1", "0"), "");
    put_vector(f, "c", VECTOR("-1", "0", "0"), "");
    put_vector(f, "d", VECTOR("0.6", "0.8", "0"), "");
}

#define SEARCH(index, vector, top, more)                                                                     \
    "{\"TableName\":\"vec\",\"IndexName\":\"" index "\",\"SearchVector\":" vector ",\"TopK\":" top more "}"

/* Keys in the order of the results: "a d b". */
static const char *keys(const char *text)
{
    static char out[256];
    size_t n = 0;
    out[0] = 0;
    for (const char *at = strstr(text, "\"pk\":{\"S\":\""); at; at = strstr(at, "\"pk\":{\"S\":\"")) {
        at += strlen("\"pk\":{\"S\":\"");
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%.*s", n ? " " : "", (int)strcspn(at, "\""), at);
    }
    return out;
}

static void assert_holds(const char *text, const char *part)
{
    if (!strstr(text, part))
        print_error("no %s in %s\n", part, text);
    assert_non_null(strstr(text, part));
}

static void each_distance_ranks_as_the_service_does(void **state)
{
    fixture *f = *state;
    make_vectors(f);
    put_four(f);
    const char *text = must(f, "SearchVectors", SEARCH("cosine", VECTOR("1", "0", "0"), "10", ""));
    assert_string_equal(keys(text), "a d b c");
    assert_holds(text, "\"pk\":{\"S\":\"a\"}},\"Score\":0}");
    assert_holds(text, "\"Score\":1}");
    assert_holds(text, "\"Score\":2}");
    assert_null(strstr(text, "\"v\":"));
    text = must(f, "SearchVectors", SEARCH("euclid", VECTOR("1", "0", "0"), "3", ""));
    assert_string_equal(keys(text), "a d b");
    assert_null(strstr(text, "label"));
    assert_holds(text, "\"Score\":0.89442"); /* the root of 0.8 */
    text = must(f, "SearchVectors", SEARCH("dot", VECTOR("1", "0", "0"), "10", ""));
    assert_string_equal(keys(text), "a d b c");
    assert_holds(text, "\"Score\":-1}");
    assert_holds(text, "label");
}

static void scores_at_the_edges_of_floats(void **state)
{
    fixture *f = *state;
    make_vectors(f);
    put_vector(f, "zero", VECTOR("0", "0", "0"), "");
    const char *text = must(f, "SearchVectors", SEARCH("cosine", VECTOR("1", "0", "0"), "1", ""));
    assert_holds(text, "\"Score\":1}");
    text = must(f, "SearchVectors", SEARCH("cosine", VECTOR("0", "0", "0"), "1", ""));
    assert_holds(text, "\"Score\":1}");
    put_vector(f, "zero", VECTOR("1e-23", "0", "0"), "");
    text = must(f, "SearchVectors", SEARCH("cosine", VECTOR("1e-23", "0", "0"), "1", ""));
    assert_holds(text, "\"Score\":0}");
    put_vector(f, "zero", VECTOR("3.4e38", "-3.4e38", "0"), "");
    text = must(f, "SearchVectors", SEARCH("dot", VECTOR("3.4e38", "3.4e38", "0"), "1", ""));
    assert_holds(text, "\"Score\":0}");
    text = must(f, "SearchVectors", SEARCH("euclid", VECTOR("-3.4e38", "0", "0"), "1", ""));
    assert_holds(text, "\"Score\":3.4028234663852886e+38}");
}

static void conditions_choose_partition_and_filter(void **state)
{
    fixture *f = *state;
    make_vectors(f);
    put_vector(f, "p1", VECTOR("1", "0", "0"), ",\"tenant\":{\"S\":\"t1\"},\"tier\":{\"N\":\"1\"}");
    put_vector(f, "p2", VECTOR("0", "1", "0"), ",\"tenant\":{\"S\":\"t1\"},\"tier\":{\"N\":\"2\"}");
    put_vector(f, "p3", VECTOR("1", "0", "0"), ",\"tenant\":{\"S\":\"t2\"},\"tier\":{\"N\":\"1\"}");
    put_vector(f, "p4", VECTOR("0.6", "0.8", "0"), ",\"tenant\":{\"S\":\"t1\"}");
    put_vector(f, "p5", VECTOR("1", "0", "0"), ",\"tier\":{\"N\":\"1\"}");
#define WHERE(expression, values)                                                                            \
    ",\"SearchConditionExpression\":\"" expression "\",\"ExpressionAttributeValues\":{" values "}"
#define T1 "\":t\":{\"S\":\"t1\"}"
    const char *text =
        must(f, "SearchVectors", SEARCH("split", VECTOR("1", "0", "0"), "10", WHERE("tenant = :t", T1)));
    assert_string_equal(keys(text), "p1 p4 p2");
    text = must(f, "SearchVectors",
                SEARCH("split", VECTOR("1", "0", "0"), "10",
                       WHERE("(:t = tenant) AND (tier = :r)", T1 ",\":r\":{\"N\":\"1.0\"}")));
    assert_string_equal(keys(text), "p1");
    text = must(f, "SearchVectors",
                SEARCH("split", VECTOR("1", "0", "0"), "10",
                       WHERE("tenant = :t AND tenant = :u", T1 ",\":u\":{\"S\":\"t2\"}")));
    assert_string_equal(keys(text), "");
    text = must(f, "SearchVectors",
                SEARCH("split", VECTOR("1", "0", "0"), "10",
                       WHERE("#t = :t", T1) ",\"ExpressionAttributeNames\":{\"#t\":\"tenant\"}"));
    assert_string_equal(keys(text), "p1 p4 p2");
}

static void searches_are_refused_in_the_services_words(void **state)
{
    static const struct {
        const char *body, *type, *part;
    } cases[] = {
        {SEARCH("cosine", VECTOR("1", "0", "0"), "0", ""), "ValidationException",
         "1 validation error detected: Value '0' at 'topK' failed to satisfy constraint: Member must have "
         "value greater than or equal to 1"},
        {SEARCH("cosine", VECTOR("1", "0", "0"), "101", ""), "ValidationException",
         "Provided TopK value '101' is out of valid range. The value must be between 1 and 100 inclusive"},
        {SEARCH("cosine", "[{\"N\":\"1\"}]", "1", ""), "ValidationException",
         "Input search vector dimension 1 does not match vector index dimension 3"},
        {SEARCH("cosine", "[{\"L\":" VECTOR("1", "0", "0") "}]", "1", ""), "ValidationException",
         "Search vector contains invalid values. All values in the search vector must be a 32-bit "
         "floating-point number attribute"},
        {SEARCH("cosine", VECTOR("1e39", "0", "0"), "1", ""), "ValidationException",
         "Search vector contains invalid values."},
        {SEARCH("cosine", "[]", "1", ""), "ValidationException", "at 'searchVector' failed to satisfy"},
        {SEARCH("absent", VECTOR("1", "0", "0"), "1", ""), "ValidationException",
         "The table does not have the specified index: absent"},
        {SEARCH("split", VECTOR("1", "0", "0"), "1", ""), "ValidationException",
         "SearchConditionExpression must be provided when SearchSchema has a HASH key"},
        {SEARCH("split", VECTOR("1", "0", "0"), "1", WHERE("tenant < :t", T1)), "ValidationException",
         "Invalid SearchConditionExpression: Invalid comparator used in SearchConditionExpression"},
        {SEARCH("split", VECTOR("1", "0", "0"), "1", WHERE("tenant = :t OR tenant = :t", T1)),
         "ValidationException", "Invalid comparator used"},
        {SEARCH("split", VECTOR("1", "0", "0"), "1", WHERE("tenant = tier AND tenant = :t", T1)),
         "ValidationException", "Invalid comparator used"},
        {SEARCH("cosine", VECTOR("1", "0", "0"), "1", WHERE("tenant = :t", T1)), "ValidationException",
         "SearchConditionExpression must not contain any attributes that is not in SearchSchema. Invalid "
         "attribute: tenant"},
        {SEARCH("split", VECTOR("1", "0", "0"), "1", WHERE("tenant = :t", "\":t\":{\"N\":\"1\"}")),
         "ValidationException",
         "Type of 'tenant' attribute in SearchConditionExpression (N) does not match type in search schema "
         "(S)"},
        {SEARCH("split", VECTOR("1", "0", "0"), "1", WHERE("tenant = :t", "\":t\":{\"S\":\"\"}")),
         "ValidationException",
         "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain "
         "an empty string value. Key: tenant"},
        {SEARCH("split", VECTOR("1", "0", "0"), "1", WHERE("bucket = :t", T1)), "ValidationException",
         "Invalid SearchConditionExpression: Attribute name is a reserved keyword; reserved keyword: bucket"},
        {SEARCH("cosine", VECTOR("1", "0", "0"), "1", ",\"ExpressionAttributeValues\":{" T1 "}"),
         "ValidationException",
         "ExpressionAttributeValues can only be specified when using expressions: SearchConditionExpression "
         "is null"},
        {"{\"TableName\":\"none\",\"IndexName\":\"cosine\",\"SearchVector\":[{\"N\":\"1\"}],\"TopK\":1}",
         "ResourceNotFoundException", "Requested resource not found"},
    };
    fixture *f = *state;
    make_vectors(f);
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        refused(f, "SearchVectors", cases[i].body, cases[i].type, cases[i].part);
    refused(f, "Scan", "{\"TableName\":\"vec\",\"IndexName\":\"cosine\"}", "ValidationException",
            "Scan operation not supported on this index type");
    refused(f, "Query",
            "{\"TableName\":\"vec\",\"IndexName\":\"cosine\",\"KeyConditionExpression\":\"pk = :p\","
            "\"ExpressionAttributeValues\":{\":p\":{\"S\":\"a\"}}}",
            "ValidationException", "Query operation not supported on this index type.");
    refused(f, "ExecuteStatement", "{\"Statement\":\"SELECT * FROM \\\"vec\\\".\\\"cosine\\\"\"}",
            "ValidationException", "Scan operation not supported on this index type");
}

static void the_vector_is_told_where_asked_for_and_projected(void **state)
{
    fixture *f = *state;
    make_vectors(f);
    put_vector(f, "a", VECTOR("0.1", "16777217", "-2.5e-7"), "");
#define NAMED ",\"ProjectionExpression\":\"pk, v\""
    /* as 32-bit floats have them */
    const char *text = must(f, "SearchVectors", SEARCH("cosine", VECTOR("1", "0", "0"), "1", NAMED));
    assert_holds(text, "\"v\":{\"L\":[{\"N\":\"0.1\"},{\"N\":\"16777216\"},{\"N\":\"-0.00000025\"}]}");
    assert_null(strstr(text, "label"));
    text = must(f, "SearchVectors", SEARCH("dot", VECTOR("1", "0", "0"), "1", NAMED));
    assert_holds(text, "16777216");
    text = must(f, "SearchVectors", SEARCH("euclid", VECTOR("1", "0", "0"), "1", NAMED));
    assert_null(strstr(text, "\"v\":"));
    /* the table keeps what was written */
    text = must(f, "GetItem", "{\"TableName\":\"vec\",\"Key\":{\"pk\":{\"S\":\"a\"}}}");
    assert_holds(text, "16777217");
}

#define PUT(vector, more) "{\"TableName\":\"vec\",\"Item\":{\"pk\":{\"S\":\"a\"},\"v\":" vector more "}}"

static void writes_that_do_not_fit_are_refused(void **state)
{
#define WERE "One or more parameter values were invalid. "
    static const struct {
        const char *body, *part;
    } cases[] = {
        {PUT("{\"L\":[{\"N\":\"1\"},{\"N\":\"0\"}]}", ""),
         WERE "Invalid size for parameter v, Expected: 3, Actual: 2 IndexName: cosine"},
        {PUT("{\"L\":[{\"N\":\"1\"},{\"S\":\"x\"},{\"N\":\"0\"}]}", ""),
         WERE "Invalid type for parameter v[1], Expected: 32-bit floating point number, Actual: S. "
              "IndexName: cosine"},
        {PUT("{\"S\":\"x\"}", ""),
         WERE "Invalid type for parameter v, Expected: 32-bit floating point number list IndexName: cosine"},
        {PUT("{\"L\":" VECTOR("1", "0", "1e39") "}", ""),
         "is outside valid range [-3.4028235E38, 3.4028235E38]. IndexName: cosine"},
        {PUT("{\"L\":" VECTOR("1", "0", "1") "}", ",\"tenant\":{\"N\":\"1\"}"),
         WERE "Attribute 'tenant' type mismatch. Expected: S, Actual: N. IndexName: split"},
        {PUT("{\"L\":" VECTOR("1", "0", "1") "}", ",\"tier\":{\"S\":\"1\"}"),
         WERE "Attribute 'tier' type mismatch. Expected: N, Actual: S. IndexName: split"},
        {PUT("{\"L\":" VECTOR("1", "0", "1") "}", ",\"tenant\":{\"S\":\"\"}"),
         "cannot contain an empty string value. IndexName: split, IndexKey: tenant"},
    };
    fixture *f = *state;
    make_vectors(f);
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        refused(f, "PutItem", cases[i].body, "ValidationException", cases[i].part);
    put_vector(f, "a", VECTOR("1", "0", "0"), "");
    refused(f, "UpdateItem",
            "{\"TableName\":\"vec\",\"Key\":{\"pk\":{\"S\":\"a\"}},\"UpdateExpression\":\"REMOVE v[0]\"}",
            "ValidationException", "Invalid size for parameter v, Expected: 3, Actual: 2 IndexName: cosine");
    refused(f, "BatchWriteItem",
            "{\"RequestItems\":{\"vec\":[{\"PutRequest\":{\"Item\":{\"pk\":{\"S\":\"z\"},\"v\":{\"S\":\"x\"}"
            "}}}]}}",
            "ValidationException", "Invalid type for parameter v,");
}

static void entries_follow_their_items(void **state)
{
    fixture *f = *state;
    make_vectors(f);
    put_four(f);
#define UPDATE(expression)                                                                                   \
    "{\"TableName\":\"vec\",\"Key\":{\"pk\":{\"S\":\"a\"}},\"UpdateExpression\":\"" expression "\""
    must(f, "UpdateItem", UPDATE("SET v[0] = :x") ",\"ExpressionAttributeValues\":{\":x\":{\"N\":\"-1\"}}}");
    const char *text = must(f, "SearchVectors", SEARCH("euclid", VECTOR("1", "0", "0"), "10", ""));
    assert_string_equal(keys(text) + 4, "a c"); /* both at the same place now, in the order of keys */
    must(f, "UpdateItem", UPDATE("REMOVE v") "}");
    text = must(f, "SearchVectors", SEARCH("euclid", VECTOR("1", "0", "0"), "10", ""));
    assert_string_equal(keys(text), "d b c");
    must(f, "DeleteItem", "{\"TableName\":\"vec\",\"Key\":{\"pk\":{\"S\":\"d\"}}}");
    text = must(f, "SearchVectors", SEARCH("euclid", VECTOR("1", "0", "0"), "10", ""));
    assert_string_equal(keys(text), "b c");
    text = must(f, "DescribeTable", "{\"TableName\":\"vec\"}");
    assert_holds(text, "\"ItemCount\":2");
}

static void capacity_is_told_in_bytes(void **state)
{
    fixture *f = *state;
    make_vectors(f);
    const char *text = must(f, "PutItem",
                            "{\"TableName\":\"vec\",\"Item\":{\"pk\":{\"S\":\"a\"},\"v\":{\"L\":%s}},"
                            "\"ReturnConsumedCapacity\":\"INDEXES\"}",
                            VECTOR("1", "0", "0"));
    assert_holds(text, "\"VectorIndexes\":{\"cosine\":{\"VectorWriteRequestBytes\":1024.0}");
    assert_holds(text, "\"CapacityUnits\":1.0");
    assert_null(strstr(text, "split")); /* without its partition it is not there */
    text = must(f, "SearchVectors",
                SEARCH("cosine", VECTOR("1", "0", "0"), "1", ",\"ReturnConsumedCapacity\":\"TOTAL\""));
    assert_holds(text, "\"ConsumedCapacity\":{\"VectorSearchRequestBytes\":1024}");
}

#define CREATE(billing, indexes)                                                                             \
    "{\"TableName\":\"new\"," DEFINITIONS KEYS billing ",\"VectorIndexes\":[" indexes "]}"
#define ON_DEMAND "\"BillingMode\":\"PAY_PER_REQUEST\""
#define BARE(name, attribute, dimensions)                                                                    \
    "{\"IndexName\":\"" name "\",\"VectorAttribute\":{\"AttributeName\":\"" attribute                        \
    "\"},\"Dimensions\":" dimensions                                                                         \
    ",\"DistanceFunction\":\"COSINE\",\"Projection\":{\"ProjectionType\":\"ALL\"}" SCHEMA "}"

static void tables_are_refused_in_the_services_words(void **state)
{
#define INVALID "One or more parameter values were invalid: "
    static const struct {
        const char *body, *part;
    } cases[] = {
        {CREATE("\"ProvisionedThroughput\":{\"ReadCapacityUnits\":1,\"WriteCapacityUnits\":1}",
                BARE("vix", "v", "3")),
         INVALID "Vector indexes are only supported for PAY_PER_REQUEST tables"},
        {CREATE(ON_DEMAND, BARE("vix", "v", "4097")),
         INVALID "Number of dimensions must be between 1 and 4096 inclusive."},
        {CREATE(ON_DEMAND, BARE("vix", "v", "3") "," BARE("viy", "v", "4")),
         INVALID "Conflicting attribute definition for 'v'. All VectorIndexes on the same vector attribute "
                 "must use the same dimensions."},
        {CREATE(ON_DEMAND, BARE("vix", "tier", "3")),
         INVALID "Conflicting attribute definition for 'tier'. An attribute cannot be defined in "
                 "AttributeDefinitions when used as a VectorAttribute."},
        {CREATE(ON_DEMAND, BARE("vix", "v", "3") "," BARE("vix", "v", "3")), "Duplicate index name: vix"},
        {CREATE(ON_DEMAND, BARE("v1x", "v", "3") "," BARE("v2x", "v", "3") "," BARE("v3x", "v", "3") "," BARE(
                               "v4x", "v", "3") "," BARE("v5x", "v", "3") "," BARE("v6x", "v", "3")),
         INVALID "VectorIndex count exceeds the per-table limit of 5"},
        {"{\"TableName\":\"new\",\"AttributeDefinitions\":[{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"}"
         "]," KEYS ON_DEMAND ",\"VectorIndexes\":[" BARE("vix", "v", "3") "]}",
         INVALID "One element in SearchSchema is not defined in attribute definitions"},
        {CREATE(ON_DEMAND, "{\"IndexName\":\"vix\"}"), "'vectorIndexes.1.member.vectorAttribute'"},
    };
    fixture *f = *state;
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        refused(f, "CreateTable", cases[i].body, "ValidationException", cases[i].part);
}

static void indexes_come_and_go_on_a_live_table(void **state)
{
    fixture *f = *state;
    must(f, "CreateTable",
         "{\"TableName\":\"vec\",\"AttributeDefinitions\":[{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"}"
         "]," KEYS ON_DEMAND "}");
    put_four(f);
    must(f, "PutItem", PUT("{\"S\":\"no vector\"}", ""));
    const char *text = must(
        f, "UpdateTable", "{\"TableName\":\"vec\"," DEFINITIONS "\"VectorIndexUpdates\":[{\"Create\":%s}]}",
        INDEX("late", "EUCLIDEAN", "\"ALL\"",
              ",\"SearchSchema\":[{\"AttributeName\":\"tier\",\"SearchSchemaElementType\":"
              "\"INLINE_FILTER\"}]"));
    assert_holds(text, "\"IndexStatus\":\"CREATING\",\"Backfilling\":true");
    refused(f, "SearchVectors", SEARCH("late", VECTOR("1", "0", "0"), "10", ""), "ValidationException",
            "Cannot search backfilling vector index: late");
    refused(f, "DeleteTable", "{\"TableName\":\"vec\"}", "ResourceInUseException",
            "Cannot delete table while indexes are being created, updated, or deleted.");
    refused(f, "UpdateTable",
            "{\"TableName\":\"vec\",\"VectorIndexUpdates\":[{\"Create\":" INDEX("more", "COSINE", "\"ALL\"",
                                                                                "") "}]}",
            "LimitExceededException", "Only 1 online index can be created or deleted simultaneously");
    text = must(f, "DescribeTable", "{\"TableName\":\"vec\"}");
    for (int i = 0; i < 100 && strstr(text, "CREATING"); i++) {
        tr_engine_tick(f->engine);
        text = must(f, "DescribeTable", "{\"TableName\":\"vec\"}");
    }
    assert_holds(text, "\"IndexStatus\":\"ACTIVE\"");
    assert_null(strstr(text, "Backfilling"));
    assert_holds(text, "\"ItemCount\":3,\"IndexArn\":");
    text = must(f, "SearchVectors", SEARCH("late", VECTOR("1", "0", "0"), "10", ""));
    assert_string_equal(keys(text), "d b c");
    refused(f, "UpdateTable",
            "{\"TableName\":\"vec\",\"BillingMode\":\"PROVISIONED\",\"ProvisionedThroughput\":{"
            "\"ReadCapacityUnits\":1,\"WriteCapacityUnits\":1}}",
            "ValidationException", "Vector indexes are only supported for PAY_PER_REQUEST tables");
    must(f, "UpdateTable",
         "{\"TableName\":\"vec\",\"VectorIndexUpdates\":[{\"Delete\":{\"IndexName\":\"late\"}}]}");
    refused(f, "SearchVectors", SEARCH("late", VECTOR("1", "0", "0"), "10", ""), "ValidationException",
            "The table does not have the specified index: late");
    text = must(f, "DescribeTable", "{\"TableName\":\"vec\"}");
    for (int i = 0; i < 100 && strstr(text, "late"); i++) {
        tr_engine_tick(f->engine);
        text = must(f, "DescribeTable", "{\"TableName\":\"vec\"}");
    }
    assert_null(strstr(text, "late"));
}

static void a_filling_can_be_given_up(void **state)
{
    fixture *f = *state;
    must(f, "CreateTable",
         "{\"TableName\":\"vec\",\"AttributeDefinitions\":[{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"}"
         "]," KEYS ON_DEMAND "}");
    put_four(f);
    must(f, "UpdateTable", "{\"TableName\":\"vec\",\"VectorIndexUpdates\":[{\"Create\":%s}]}",
         INDEX("late", "COSINE", "\"ALL\"", ""));
    must(f, "UpdateTable",
         "{\"TableName\":\"vec\",\"VectorIndexUpdates\":[{\"Delete\":{\"IndexName\":\"late\"}}]}");
    const char *text = must(f, "DescribeTable", "{\"TableName\":\"vec\"}");
    for (int i = 0; i < 100 && strstr(text, "late"); i++) {
        tr_engine_tick(f->engine);
        text = must(f, "DescribeTable", "{\"TableName\":\"vec\"}");
        assert_null(strstr(text, "\"IndexStatus\":\"ACTIVE\""));
    }
    assert_null(strstr(text, "late"));
    must(f, "DeleteTable", "{\"TableName\":\"vec\"}");
}

static void backups_bring_back_the_indexes_that_are_wanted(void **state)
{
    fixture *f = *state;
    char arn[256];
    tr_error err;
    make_vectors(f);
    put_four(f);
    const char *text = must(f, "CreateBackup", "{\"TableName\":\"vec\",\"BackupName\":\"first\"}");
    (void)snprintf(arn, sizeof arn, "%s", text_of(text, "BackupArn"));
    text = must(f, "DescribeBackup", "{\"BackupArn\":\"%s\"}", arn);
    assert_int_equal(count_of(text, "\"VectorAttribute\""), 4);
    must(f, "DeleteTable", "{\"TableName\":\"vec\"}");
    must(f, "RestoreTableFromBackup", "{\"TargetTableName\":\"vec\",\"BackupArn\":\"%s\"}", arn);
    must(f, "RestoreTableFromBackup",
         "{\"TargetTableName\":\"less\",\"BackupArn\":\"%s\",\"VectorIndexOverride\":[%s]}", arn,
         INDEX("dot", "DOT_PRODUCT", "\"KEYS_ONLY\"", ""));
    for (int i = 0; tr_api_tick(f->api); i++)
        assert_true(i < 10000);
    assert_int_equal(tr_engine_sync_wait(f->engine, &err), 0);
    text = must(f, "SearchVectors", SEARCH("euclid", VECTOR("1", "0", "0"), "10", ""));
    assert_string_equal(keys(text), "a d b c");
    text = must(f, "DescribeTable", "{\"TableName\":\"less\"}");
    assert_int_equal(count_of(text, "\"VectorAttribute\""), 1);
    assert_null(strstr(text, "tenant")); /* nobody has a use for its definition */
    assert_holds(text, "\"ItemCount\":4,\"IndexArn\"");
    uint64_t problems = 1;
    assert_int_equal(tr_engine_check(f->engine, NULL, NULL, &problems, &err), 0);
    assert_int_equal(problems, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
        TEST(each_distance_ranks_as_the_service_does),
        TEST(scores_at_the_edges_of_floats),
        TEST(conditions_choose_partition_and_filter),
        TEST(searches_are_refused_in_the_services_words),
        TEST(the_vector_is_told_where_asked_for_and_projected),
        TEST(writes_that_do_not_fit_are_refused),
        TEST(entries_follow_their_items),
        TEST(capacity_is_told_in_bytes),
        TEST(tables_are_refused_in_the_services_words),
        TEST(indexes_come_and_go_on_a_live_table),
        TEST(a_filling_can_be_given_up),
        TEST(backups_bring_back_the_indexes_that_are_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
