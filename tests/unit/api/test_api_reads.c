/* SPDX-License-Identifier: MIT */
#include "api_test.h"

/* Query, Scan, streams: pages, positions, limits. */

static void fill(fixture *f, int partitions, int items)
{
    for (int p = 0; p < partitions; p++)
        for (int i = 0; i < items; i++)
            must(f, "PutItem",
                 "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"%03d\"},\"l\":{"
                 "\"N\":\"%d\"},"
                 "\"g\":{\"S\":\"g%d\"}}}",
                 p, i, items - i, i % 2);
}

/* The object behind "LastEvaluatedKey":, or NULL. */
static const char *last_key(const char *text)
{
    static char out[1024];
    const char *at = strstr(text, "\"LastEvaluatedKey\":");
    if (!at)
        return NULL;
    at += strlen("\"LastEvaluatedKey\":");
    size_t depth = 0, n = 0;
    do {
        depth += at[n] == '{';
        depth -= at[n] == '}';
        n++;
    } while (depth);
    assert_true(n < sizeof out);
    memcpy(out, at, n);
    out[n] = 0;
    return out;
}

/* Walks all pages; returns how many items came, in `pages` how many pages. */
static size_t walk(fixture *f, const char *operation, const char *request, int *pages)
{
    char start[1100] = "";
    size_t items = 0;
    *pages = 0;
    for (;;) {
        const char *text = must(f, operation, "{\"TableName\":\"tab\"%s%s}", request, start);
        items += count_of(text, "\"pk\":{\"S\"") - (last_key(text) ? 1 : 0);
        ++*pages;
        const char *key = last_key(text);
        if (!key)
            return items;
        (void)snprintf(start, sizeof start, ",\"ExclusiveStartKey\":%s", key);
    }
}

static void pages_give_every_item_once(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    fill(f, 3, 7);
    int pages;
#define P1 "\"ExpressionAttributeValues\":{\":p\":{\"S\":\"p1\"}}"
    assert_int_equal(walk(f, "Scan", ",\"Limit\":2", &pages), 21);
    assert_int_equal(pages, 11);
    assert_int_equal(walk(f, "Scan", ",\"Limit\":4,\"IndexName\":\"byG\"", &pages), 21);
    assert_int_equal(walk(f, "Scan", ",\"Limit\":4,\"IndexName\":\"byL\"", &pages), 21);
    assert_int_equal(walk(f, "Query", ",\"Limit\":3,\"KeyConditionExpression\":\"pk = :p\"," P1, &pages), 7);
    assert_int_equal(pages, 3);
    assert_int_equal(
        walk(f, "Query", ",\"Limit\":3,\"ScanIndexForward\":false,\"KeyConditionExpression\":\"pk = :p\"," P1,
             &pages),
        7);
    assert_int_equal(walk(f, "Query",
                          ",\"Limit\":3,\"IndexName\":\"byL\",\"KeyConditionExpression\":\"pk = :p\"," P1,
                          &pages),
                     7);
    assert_int_equal(walk(f, "Query",
                          ",\"Limit\":2,\"IndexName\":\"byG\",\"KeyConditionExpression\":\"g = :p\","
                          "\"ExpressionAttributeValues\":{\":p\":{\"S\":\"g1\"}}",
                          &pages),
                     9);
    size_t all = 0;
    for (int i = 0; i < 3; i++) {
        char request[64];
        (void)snprintf(request, sizeof request, ",\"Limit\":3,\"TotalSegments\":3,\"Segment\":%d", i);
        all += walk(f, "Scan", request, &pages);
    }
    assert_int_equal(all, 21);
}

static void filters_count_what_was_looked_at(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    fill(f, 1, 6);
    assert_string_equal(
        must(f, "Query",
             "{\"TableName\":\"tab\",\"KeyConditionExpression\":\"pk = :p AND sk > :s\","
             "\"FilterExpression\":\"l < :l\",\"ProjectionExpression\":\"sk\","
             "\"ExpressionAttributeValues\":{\":p\":{\"S\":\"p0\"},\":s\":{\"S\":\"001\"},\":l\":{"
             "\"N\":\"3\"}}}"),
        "{\"Items\":[{\"sk\":{\"S\":\"004\"}},{\"sk\":{\"S\":\"005\"}}],\"Count\":2,"
        "\"ScannedCount\":4}");
    assert_string_equal(
        must(f, "Scan",
             "{\"TableName\":\"tab\",\"Select\":\"COUNT\",\"Limit\":4,\"FilterExpression\":"
             "\"sk = :s\",\"ExpressionAttributeValues\":{\":s\":{\"S\":\"000\"}}}"),
        "{\"Count\":1,\"ScannedCount\":4,\"LastEvaluatedKey\":{\"pk\":{\"S\":\"p0\"},\"sk\":{\"S\":"
        "\"003\"}}}");
    refused(f, "Query",
            "{\"TableName\":\"tab\",\"KeyConditionExpression\":\"pk = :p\",\"FilterExpression\":\"sk = :p\","
            "\"ExpressionAttributeValues\":{\":p\":{\"S\":\"p0\"}}}",
            "ValidationException",
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk");
}

#define FILTER(op, values)                                                                                   \
    "{\"TableName\":\"tab\",\"Select\":\"COUNT\",\"ScanFilter\":{\"a\":{\"ComparisonOperator\":\"" op        \
    "\",\"AttributeValueList\":[" values "]}}}"

static void old_filters_take_the_types_that_the_service_takes(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    must(f, "PutItem",
         "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"1\"},\"a\":{\"L\":[]}}}");
    must(f, "PutItem", "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"2\"}}}");
    assert_string_equal(must(f, "Scan", FILTER("EQ", "{\"L\":[]}")), "{\"Count\":1,\"ScannedCount\":2}");
    assert_string_equal(must(f, "Scan", FILTER("NE", "{\"NULL\":true}")), "{\"Count\":2,\"ScannedCount\":2}");
    /* only of what is there can it be said */
    assert_string_equal(must(f, "Scan", FILTER("NOT_CONTAINS", "{\"S\":\"x\"}")),
                        "{\"Count\":1,\"ScannedCount\":2}");
    assert_string_equal(must(f, "Scan", FILTER("CONTAINS", "{\"BOOL\":true}")),
                        "{\"Count\":0,\"ScannedCount\":2}");
    refused(f, "Scan", FILTER("LT", "{\"L\":[]}"), "ValidationException",
            "ComparisonOperator LT is not valid for L AttributeValue type");
    refused(f, "Scan", FILTER("IN", "{\"S\":\"a\"},{\"SS\":[\"a\"]}"), "ValidationException",
            "ComparisonOperator IN is not valid for SS AttributeValue type");
    refused(f, "Scan", FILTER("IN", "{\"S\":\"a\"},{\"N\":\"1\"}"), "ValidationException",
            "AttributeValues inside AttributeValueList must be of same type");
    refused(f, "Scan", FILTER("IN", "{\"S\":\"a\"},null"), "ValidationException",
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes");
    refused(
        f, "PutItem",
        "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"3\"}},\"Expected\":{\"a\":{"
        "\"ComparisonOperator\":\"LT\",\"AttributeValueList\":[{\"BOOL\":true}]}}}",
        "ValidationException", "ComparisonOperator LT is not valid for BOOL AttributeValue type");
}

static void what_is_fetched_behind_a_local_index_is_charged_by_item(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    fill(f, 1, 3);
    const char *text =
        must(f, "Query",
             "{\"TableName\":\"tab\",\"IndexName\":\"byL\",\"KeyConditionExpression\":\"pk = :p\","
             "\"Select\":\"ALL_ATTRIBUTES\",\"ReturnConsumedCapacity\":\"INDEXES\","
             "\"ExpressionAttributeValues\":{\":p\":{\"S\":\"p0\"}}}");
    assert_non_null(strstr(text, "\"CapacityUnits\":2.0,\"Table\":{\"CapacityUnits\":1.5}"));
}

static void a_page_ends_at_one_megabyte(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    char *big = tr_malloc(100001);
    memset(big, 'x', 100000);
    big[100000] = 0;
    for (int i = 0; i < 25; i++)
        must(f, "PutItem",
             "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"%02d\"},\"x\":{\"S\":\"%"
             "s\"}}}",
             i, big);
    tr_free(big);
    int pages;
    assert_int_equal(walk(f, "Scan", "", &pages), 25);
    assert_int_equal(pages, 3); /* ten of 100 KB fit */
    assert_int_equal(walk(f, "Scan", ",\"ProjectionExpression\":\"pk\"", &pages), 25);
    assert_int_equal(pages, 3);
    const char *text =
        must(f, "Scan", "{\"TableName\":\"tab\",\"ReturnConsumedCapacity\":\"TOTAL\",\"Select\":\"COUNT\"}");
    assert_non_null(strstr(text, "\"Count\":10,"));
    assert_non_null(strstr(text, "\"CapacityUnits\":122.5"));
}

static void starting_keys_must_lie_where_is_read(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    static const struct {
        const char *condition, *start, *message;
    } cases[] = {
        {"pk = :p", "{\"pk\":{\"S\":\"p\"}}", "The provided starting key is invalid\""},
        {"pk = :p", "{\"pk\":{\"S\":\"p\"},\"sk\":{\"N\":\"1\"}}",
         "The provided key element does not match the schema\""},
        {"pk = :p", "{\"pk\":{\"S\":\"q\"},\"sk\":{\"S\":\"1\"}}",
         "The provided starting key is outside query boundaries based on provided conditions\""},
        {"pk = :p AND sk > :p", "{\"pk\":{\"S\":\"p\"},\"sk\":{\"S\":\"a\"}}",
         "The provided starting key does not match the range key predicate\""},
    };
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        char body[1024];
        (void)snprintf(
            body, sizeof body,
            "{\"TableName\":\"tab\",\"KeyConditionExpression\":\"%s\",\"ExpressionAttributeValues\":{\":p\":{"
            "\"S\":\"p\"}},\"ExclusiveStartKey\":%s}",
            cases[i].condition, cases[i].start);
        refused(f, "Query", body, "ValidationException", cases[i].message);
    }
}

static void a_snapshot_keeps_one_state(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    fill(f, 1, 3);
    f->snapshot = "new";
    must(f, "Scan", "{\"TableName\":\"tab\",\"Select\":\"COUNT\"}");
    char token[64];
    (void)snprintf(token, sizeof token, "%s", f->reply.snapshot);
    assert_int_equal(strlen(token), TR_API_SNAPSHOT_TOKEN_LEN);
    assert_string_equal(f->reply.sequence_number, "100000000000000000003");
    assert_non_null(strstr(f->reply.stream_arn, ":table/tab/stream/"));
    f->snapshot = NULL;
    fill(f, 2, 3);
    assert_non_null(strstr(must(f, "Scan", "{\"TableName\":\"tab\",\"Select\":\"COUNT\"}"), "\"Count\":6"));
    f->snapshot = token;
    assert_non_null(strstr(must(f, "Scan", "{\"TableName\":\"tab\",\"Select\":\"COUNT\"}"), "\"Count\":3"));
    f->snapshot = "nonsense";
    refused(f, "Scan", "{\"TableName\":\"tab\"}", "ValidationException", "there is no such snapshot");
    f->snapshot = "new";
    for (int i = 1; i < TR_API_SNAPSHOTS_MAX; i++)
        must(f, "Scan", "{\"TableName\":\"tab\"}");
    refused(f, "Scan", "{\"TableName\":\"tab\"}", "LimitExceededException", "snapshots are in use");
}

/* ---------------------------------------------------------------------------------------------- streams */

static char arn[256];

static void find_stream(fixture *f)
{
    (void)snprintf(arn, sizeof arn, "%s",
                   text_of(must(f, "ListStreams", "{\"TableName\":\"tab\"}"), "StreamArn"));
}

/* An iterator of the shard that stands at `index` in the description. */
static void iterator(fixture *f, int index, const char *rest, char *out)
{
    const char *text = must(f, "DescribeStream", "{\"StreamArn\":\"%s\"}", arn);
    for (int i = 0; i <= index; i++)
        text = strstr(text, "\"ShardId\":") + 1;
    char id[80];
    (void)snprintf(id, sizeof id, "%s", text_of(text - 1, "ShardId"));
    text = must(f, "GetShardIterator", "{\"StreamArn\":\"%s\",\"ShardId\":\"%s\",%s}", arn, id, rest);
    (void)snprintf(out, 2100, "%s", text_of(text, "ShardIterator"));
}

#define HORIZON "\"ShardIteratorType\":\"TRIM_HORIZON\""

static void records_have_the_services_form(void **state)
{
    fixture *f = *state;
    f->now_ms = 1700000000123;
    make_table(f, "tab");
    find_stream(f);
    must(f, "PutItem", "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"}}}");
    must(f, "PutItem",
         "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"}}}"); /* no change */
    must(f, "UpdateItem",
         "{\"TableName\":\"tab\",\"Key\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"}},\"UpdateExpression\":"
         "\"SET x = :x\","
         "\"ExpressionAttributeValues\":{\":x\":{\"N\":\"1\"}}}");
    must(f, "DeleteItem", "{\"TableName\":\"tab\",\"Key\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"}}}");
    for (int shard = 0; shard < 2; shard++) {
        char it[2100];
        iterator(f, shard, HORIZON, it);
        const char *text = must(f, "GetRecords", "{\"ShardIterator\":\"%s\"}", it);
        if (strstr(text, "\"Records\":[]"))
            continue;
        assert_int_equal(strlen(text_of(text, "eventID")), 32);
        char *id = strstr(tr_buf_cstr(&f->body), "\"eventID\":\"");
        const char *from = strchr(id, ',');
        static const char want[] = ",\"eventName\":\"INSERT\",\"eventVersion\":\"1.1\",\"eventSource\":\"aws:"
                                   "dynamodb\",\"awsRegion\":"
                                   "\"us-east-1\",\"dynamodb\":{\"ApproximateCreationDateTime\":1700000000,"
                                   "\"Keys\":{\"pk\":{\"S\":\"a\"},"
                                   "\"sk\":{\"S\":\"b\"}},\"NewImage\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":"
                                   "\"b\"}},\"SequenceNumber\":"
                                   "\"100000000000000000001\",\"SizeBytes\":";
        assert_memory_equal(from, want, strlen(want));
        assert_int_equal(count_of(text, "\"eventName\""), 3);
        assert_non_null(strstr(text, "\"eventName\":\"MODIFY\""));
        assert_non_null(strstr(text,
                               "\"OldImage\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"},\"x\":{\"N\":\"1\"}},"
                               "\"SequenceNumber\":\"100000000000000000003\""));
        return;
    }
    fail_msg("no shard has the records");
}

static void iterators_read_on_and_expire(void **state)
{
    fixture *f = *state;
    f->now_ms = 1700000000000;
    make_table(f, "tab");
    find_stream(f);
    for (int i = 0; i < 40; i++)
        must(f, "PutItem", "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"b\"}}}",
             i);
    size_t records = 0;
    char it[2100] = "", latest[2100];
    for (int shard = 0; shard < 2; shard++) {
        iterator(f, shard, "\"ShardIteratorType\":\"LATEST\"", latest);
        assert_non_null(
            strstr(must(f, "GetRecords", "{\"ShardIterator\":\"%s\"}", latest), "\"Records\":[]"));
        iterator(f, shard, HORIZON, it);
        for (;;) {
            const char *text = must(f, "GetRecords", "{\"ShardIterator\":\"%s\",\"Limit\":3}", it);
            size_t n = count_of(text, "\"eventID\"");
            assert_true(n <= 3);
            if (!n)
                break;
            records += n;
            (void)snprintf(it, sizeof it, "%s", text_of(text, "NextShardIterator"));
        }
    }
    assert_int_equal(records, 40);
    f->now_ms += 15 * 60 * 1000 + 1;
    char body[2200];
    (void)snprintf(body, sizeof body, "{\"ShardIterator\":\"%s\"}", it);
    refused(f, "GetRecords", body, "ExpiredIteratorException", "Iterator expired");
    /* a changed character anywhere is noticed */
    f->now_ms -= 60000;
    for (size_t i = 0; it[i]; i++) {
        char was = it[i];
        it[i] = was == 'A' ? 'B' : 'A';
        (void)snprintf(body, sizeof body, "{\"ShardIterator\":\"%s\"}", it);
        refused(f, "GetRecords", body, "ValidationException", "Invalid ShardIterator");
        it[i] = was;
    }
}

static void positions_are_by_order(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    find_stream(f);
    for (int i = 0; i < 10; i++)
        must(f, "PutItem", "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"b\"}}}",
             i);
    static const struct {
        const char *type, *sequence;
        size_t records;
    } cases[] = {{"AT_SEQUENCE_NUMBER", "100000000000000000004", 7},
                 {"AFTER_SEQUENCE_NUMBER", "100000000000000000004", 6},
                 {"AT_SEQUENCE_NUMBER", "000000000000000000000", 10},
                 {"AFTER_SEQUENCE_NUMBER", "100000000000000000010", 0}};
    for (size_t i = 0; i < TR_COUNT(cases); i++) {
        size_t records = 0;
        for (int shard = 0; shard < 2; shard++) {
            char it[2100], rest[256];
            (void)snprintf(rest, sizeof rest, "\"ShardIteratorType\":\"%s\",\"SequenceNumber\":\"%s\"",
                           cases[i].type, cases[i].sequence);
            iterator(f, shard, rest, it);
            records += count_of(must(f, "GetRecords", "{\"ShardIterator\":\"%s\"}", it), "\"eventID\"");
        }
        assert_int_equal(records, cases[i].records);
    }
}

static void a_stream_is_described_page_by_page(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    find_stream(f);
    const char *text = must(f, "DescribeStream", "{\"StreamArn\":\"%s\",\"Limit\":1}", arn);
    assert_int_equal(count_of(text, "\"ShardId\""), 1);
    char last[80];
    (void)snprintf(last, sizeof last, "%s", text_of(text, "LastEvaluatedShardId"));
    text = must(f, "DescribeStream", "{\"StreamArn\":\"%s\",\"Limit\":1,\"ExclusiveStartShardId\":\"%s\"}",
                arn, last);
    assert_int_equal(count_of(text, "\"ShardId\""), 1);
    assert_null(strstr(text, "LastEvaluatedShardId"));
    text = must(f, "DescribeStream",
                "{\"StreamArn\":\"%s\",\"ShardFilter\":{\"Type\":\"CHILD_SHARDS\",\"ShardId\":\"%s\"}}", arn,
                last);
    assert_non_null(strstr(text, "\"Shards\":[]"));
}

static void closed_shards_end_and_have_children(void **state)
{
    fixture *f = *state;
    f->now_ms = 1700000000000;
    make_table(f, "tab");
    find_stream(f);
    must(f, "PutItem", "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"b\"}}}");
    char it[2][2100];
    for (int shard = 0; shard < 2; shard++)
        iterator(f, shard, HORIZON, it[shard]);
    f->now_ms += 5LL * 3600 * 1000;
    for (int i = 0; i < 3; i++, f->now_ms += 10000)
        (void)tr_engine_tick(f->engine);
    must(f, "PutItem", "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"c\"}}}");
    const char *text = must(f, "DescribeStream", "{\"StreamArn\":\"%s\"}", arn);
    assert_int_equal(count_of(text, "\"ParentShardId\""), 2);
    assert_int_equal(count_of(text, "\"EndingSequenceNumber\""), 2);
    f->now_ms -= 5LL * 3600 * 1000; /* the iterators are still young */
    size_t records = 0;
    for (int shard = 0; shard < 2; shard++) {
        text = must(f, "GetRecords", "{\"ShardIterator\":\"%s\"}", it[shard]);
        records += count_of(text, "\"eventID\"");
        assert_null(strstr(text, "NextShardIterator"));
    }
    assert_int_equal(records, 1);
}

static void waiting_is_asked_for_where_there_is_nothing(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    find_stream(f);
    char it[2100];
    iterator(f, 0, HORIZON, it);
    must(f, "GetRecords", "{\"ShardIterator\":\"%s\"}", it);
    assert_null(f->reply.wait_stream);
    f->wait_ms = 1000;
    must(f, "GetRecords", "{\"ShardIterator\":\"%s\"}", it);
    assert_non_null(f->reply.wait_stream);
}

static void tags_and_ttl_are_kept(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
#define ARN "\"ResourceArn\":\"arn:aws:dynamodb:us-east-1:000000000000:table/tab\""
    must(f, "TagResource",
         "{" ARN ",\"Tags\":[{\"Key\":\"a\",\"Value\":\"1\"},{\"Key\":\"b\",\"Value\":\"2\"}]}");
    must(f, "TagResource", "{" ARN ",\"Tags\":[{\"Key\":\"a\",\"Value\":\"3\"}]}");
    must(f, "UntagResource", "{" ARN ",\"TagKeys\":[\"b\"]}");
    assert_string_equal(must(f, "ListTagsOfResource", "{" ARN "}"),
                        "{\"Tags\":[{\"Key\":\"a\",\"Value\":\"3\"}]}");
    assert_string_equal(must(f, "DescribeTimeToLive", "{\"TableName\":\"tab\"}"),
                        "{\"TimeToLiveDescription\":{\"TimeToLiveStatus\":\"DISABLED\"}}");
    must(f, "UpdateTimeToLive",
         "{\"TableName\":\"tab\",\"TimeToLiveSpecification\":{\"AttributeName\":\"ttl\",\"Enabled\":true}}");
    assert_string_equal(
        must(f, "DescribeTimeToLive", "{\"TableName\":\"tab\"}"),
        "{\"TimeToLiveDescription\":{\"TimeToLiveStatus\":\"ENABLED\",\"AttributeName\":\"ttl\"}}");
    refused(
        f, "UpdateTimeToLive",
        "{\"TableName\":\"tab\",\"TimeToLiveSpecification\":{\"AttributeName\":\"ttl\",\"Enabled\":true}}",
        "ValidationException", "TimeToLive is already enabled");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        T(pages_give_every_item_once),
        T(filters_count_what_was_looked_at),
        T(old_filters_take_the_types_that_the_service_takes),
        T(what_is_fetched_behind_a_local_index_is_charged_by_item),
        T(a_page_ends_at_one_megabyte),
        T(starting_keys_must_lie_where_is_read),
        T(a_snapshot_keeps_one_state),
        T(records_have_the_services_form),
        T(iterators_read_on_and_expire),
        T(positions_are_by_order),
        T(a_stream_is_described_page_by_page),
        T(closed_shards_end_and_have_children),
        T(waiting_is_asked_for_where_there_is_nothing),
        T(tags_and_ttl_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
