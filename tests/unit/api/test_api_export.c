/* SPDX-License-Identifier: MIT */
/* Exports and imports, with a directory that stands for S3. */
#include "api_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char buckets[64];

static int open_buckets(void **state)
{
    fixture_open(state);
    fixture *f = *state;
    char path[128];
    (void)snprintf(buckets, sizeof buckets, "/tmp/tailrace-buckets-XXXXXX");
    assert_non_null(mkdtemp(buckets));
    (void)snprintf(path, sizeof path, "%s/bucket", buckets);
    assert_int_equal(mkdir(path, 0700), 0);
    tr_api_free(f->api);
    const tr_api_options options = {.engine = f->engine, .buckets = buckets};
    assert_int_equal(tr_api_new(&options, &f->api), 0);
    return 0;
}

static int close_buckets(void **state)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", buckets);
    assert_int_equal(system(command), 0);
    return fixture_close(state);
}

static void finish(fixture *f)
{
    for (int i = 0; tr_api_tick(f->api); i++) { /* objects are read by threads */
        assert_true(i < 100000);
        (void)usleep(100);
    }
    tr_error err;
    assert_int_equal(tr_engine_sync_wait(f->engine, &err), 0);
}

/* A shell's word on the files. */
static char *shell(const char *format, const char *argument)
{
    static char out[65536];
    char command[1024];
    (void)snprintf(command, sizeof command, format, buckets, argument);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, sizeof out - 1, p);
    out[n] = 0;
    assert_int_equal(pclose(p), 0);
    return out;
}

static void write_object(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/bucket/%s", buckets, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

#define TABLE(name)                                                                                          \
    "\"TableCreationParameters\":{\"TableName\":\"" name                                                     \
    "\",\"AttributeDefinitions\":[{\"AttributeName\":\"pk\","                                                \
    "\"AttributeType\":\"S\"},{\"AttributeName\":\"n\",\"AttributeType\":\"N\"}],\"KeySchema\":[{"           \
    "\"AttributeName\":"                                                                                     \
    "\"pk\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"n\",\"KeyType\":\"RANGE\"}],\"BillingMode\":\"PAY_"   \
    "PER_REQUEST\"}"

static void enable(fixture *f)
{
    make_table(f, "tab");
    must(
        f, "UpdateContinuousBackups",
        "{\"TableName\":\"tab\",\"PointInTimeRecoverySpecification\":{\"PointInTimeRecoveryEnabled\":true}}");
}

#define ARN "arn:aws:dynamodb:us-east-1:000000000000:table/tab"

static void an_export_is_imported_again(void **state)
{
    fixture *f = *state;
    char arn[256], key[256];
    enable(f);
    for (int i = 0; i < 1500; i++)
        must(f, "PutItem",
             "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"s\"},\"b\":{\"B\":"
             "\"AAEC\"},\"l\":{\"N\":\"%d\"},"
             "\"m\":{\"M\":{\"x\":{\"SS\":[\"a\",\"b\"]}}}}}",
             i, i);
    const char *text = must(f, "ExportTableToPointInTime",
                            "{\"TableArn\":\"" ARN "\",\"S3Bucket\":\"bucket\",\"S3Prefix\":\"some/where\"}");
    assert_string_equal(text_of(text, "ExportStatus"), "IN_PROGRESS");
    (void)snprintf(arn, sizeof arn, "%s", text_of(text, "ExportArn"));
    must(f, "DeleteItem", "{\"TableName\":\"tab\",\"Key\":{\"pk\":{\"S\":\"p1\"},\"sk\":{\"S\":\"s\"}}}");
    finish(f);
    text = must(f, "DescribeExport", "{\"ExportArn\":\"%s\"}", arn);
    assert_string_equal(text_of(text, "ExportStatus"), "COMPLETED");
    assert_non_null(strstr(text, "\"ItemCount\":1500"));
    (void)snprintf(key, sizeof key, "%s", text_of(text, "ExportManifest"));
    assert_string_equal(shell("cd '%s/bucket/some/where/AWSDynamoDB'/*/data && zcat *.gz | wc -l", ""),
                        "1500\n");
    assert_non_null(strstr(shell("cat '%s/bucket/%s'", key), "\"itemCount\":1500"));
    /* the checksums are those of the files */
    shell("cd '%s/bucket/some/where/AWSDynamoDB'/* && for f in manifest-*.json; do [ \"$(openssl md5 -binary "
          "$f | base64)\" = "
          "\"$(cat $f.md5)\" ] || exit 1; done && [ \"$(openssl md5 -binary data/*.gz | base64)\" = \"$(sed "
          "'s/.*md5Checksum\":\"//;s/\".*//' manifest-files.json)\" ]",
          "");
    assert_non_null(strstr(must(f, "ListExports", "{}"), "\"ExportType\":\"FULL_EXPORT\""));
    must(f, "ImportTable",
         "{\"S3BucketSource\":{\"S3Bucket\":\"bucket\",\"S3KeyPrefix\":\"some/where/AWSDynamoDB/%s/"
         "data\"},\"InputFormat\":"
         "\"DYNAMODB_JSON\",\"InputCompressionType\":\"GZIP\",\"TableCreationParameters\":{\"TableName\":"
         "\"again\","
         "\"AttributeDefinitions\":[{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"},{\"AttributeName\":"
         "\"sk\","
         "\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":\"pk\",\"KeyType\":\"HASH\"},{"
         "\"AttributeName\":"
         "\"sk\",\"KeyType\":\"RANGE\"}],\"BillingMode\":\"PAY_PER_REQUEST\"}}",
         strrchr(arn, '/') + 1);
    finish(f);
    text = must(f, "Scan", "{\"TableName\":\"again\",\"Select\":\"COUNT\"}");
    assert_non_null(strstr(text, "\"Count\":1500"));
    text =
        must(f, "GetItem", "{\"TableName\":\"again\",\"Key\":{\"pk\":{\"S\":\"p1\"},\"sk\":{\"S\":\"s\"}}}");
    assert_non_null(strstr(text, "\"b\":{\"B\":\"AAEC\"}"));
    assert_non_null(strstr(text, "\"m\":{\"M\":{\"x\":{\"SS\":[\"a\",\"b\"]}}}"));
}

static void an_incremental_export_has_what_changed(void **state)
{
    fixture *f = *state;
    int64_t start = 1700000000000;
    f->now_ms = start;
    enable(f);
#define PUT(pk, v)                                                                                           \
    "{\"TableName\":\"tab\",\"Item\":{\"pk\":{\"S\":\"" pk "\"},\"sk\":{\"S\":\"s\"},\"v\":{\"S\":\"" v      \
    "\"}}}"
    must(f, "PutItem", PUT("a", "1"));
    must(f, "PutItem", PUT("b", "1"));
    f->now_ms = start + 10000;
    must(f, "PutItem", PUT("a", "2"));
    must(f, "PutItem", PUT("a", "3"));
    must(f, "PutItem", PUT("c", "1"));
    must(f, "DeleteItem", "{\"TableName\":\"tab\",\"Key\":{\"pk\":{\"S\":\"b\"},\"sk\":{\"S\":\"s\"}}}");
    f->now_ms = start + 20000;
    must(f, "PutItem", PUT("a", "4"));
    f->now_ms = start + 30000;
    must(f, "ExportTableToPointInTime",
         "{\"TableArn\":\"" ARN "\",\"S3Bucket\":\"bucket\",\"ExportType\":\"INCREMENTAL_EXPORT\","
         "\"IncrementalExportSpecification\":{\"ExportFromTime\":%lld,\"ExportToTime\":%lld}}",
         (long long)(start / 1000 + 5), (long long)(start / 1000 + 15));
    finish(f);
    const char *lines = shell("cd '%s/bucket/AWSDynamoDB/data' && zcat *.gz | sort", "");
    assert_int_equal(count_of(lines, "\n"), 3);
    assert_non_null(strstr(
        lines,
        "\"Keys\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"s\"}},\"OldImage\":{\"pk\":{\"S\":\"a\"},\"sk\":{"
        "\"S\":\"s\"},\"v\":{\"S\":\"1\"}},\"NewImage\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"S\":\"s\"},\"v\":{"
        "\"S\":\"3\"}}}"));
    assert_int_equal(count_of(lines, "OldImage"), 2);
    assert_int_equal(count_of(lines, "NewImage"), 2);
}

static void csv_is_imported(void **state)
{
    fixture *f = *state;
    write_object("one.csv", "pk,n,text\r\na,1,plain\r\nb,2,\"with, comma and \"\"quotes\"\"\nand a "
                            "line\"\nc,,no key\nd,x,no number\n\ne,3,\n");
    write_object("two.csv", "pk,text,n\nf,moved,4\n");
    const char *text =
        must(f, "ImportTable",
             "{\"S3BucketSource\":{\"S3Bucket\":\"bucket\"},\"InputFormat\":\"CSV\"," TABLE("csv") "}");
    char arn[256];
    (void)snprintf(arn, sizeof arn, "%s", text_of(text, "ImportArn"));
    finish(f);
    text = must(f, "DescribeImport", "{\"ImportArn\":\"%s\"}", arn);
    /* one bad line is a failure, and the good ones are there */
    assert_string_equal(text_of(text, "ImportStatus"), "FAILED");
    assert_string_equal(text_of(text, "FailureCode"), "ItemValidationError");
    assert_non_null(strstr(text, "\"ErrorCount\":2"));
    assert_null(strstr(text, "InputFormatOptions"));
    assert_non_null(strstr(text, "\"ProcessedItemCount\":6,\"ImportedItemCount\":4"));
    text = must(f, "Scan", "{\"TableName\":\"csv\"}");
    assert_non_null(strstr(text, "with, comma and \\\"quotes\\\"\\nand a line"));
    assert_non_null(strstr(text, "{\"n\":{\"N\":\"3\"},\"pk\":{\"S\":\"e\"}}"));
    assert_non_null(strstr(text, "{\"n\":{\"N\":\"4\"},\"pk\":{\"S\":\"f\"},\"text\":{\"S\":\"moved\"}}"));
}

static void items_that_are_none_are_counted(void **state)
{
    fixture *f = *state;
    char arn[256];
    write_object("in.json",
                 "{\"Item\":{\"pk\":{\"S\":\"a\"},\"n\":{\"N\":\"1\"}}}\n"
                 "{\"Item\":{\"pk\":{\"S\":\"b\"},\"n\":{\"N\":\"1\"},\"\":{\"S\":\"x\"}}}\n"
                 "{\"Item\":{\"pk\":{\"S\":\"c\"},\"n\":{\"N\":\"1\"},\"m\":{\"M\":{\"\":{\"S\":\"x\"}}}}}\n"
                 "{\"Item\":[]}\n");
    const char *text = must(f, "ImportTable",
                            "{\"S3BucketSource\":{\"S3Bucket\":\"bucket\",\"S3KeyPrefix\":\"in\"},"
                            "\"InputFormat\":\"DYNAMODB_JSON\"," TABLE("names") "}");
    (void)snprintf(arn, sizeof arn, "%s", text_of(text, "ImportArn"));
    finish(f);
    text = must(f, "DescribeImport", "{\"ImportArn\":\"%s\"}", arn);
    assert_non_null(strstr(text, "\"ErrorCount\":3"));
    assert_non_null(strstr(text, "\"ImportedItemCount\":1"));
}

/* Lines that a vector index has no room for are faults of the import, as those without a key are. */
static void vectors_are_imported(void **state)
{
    fixture *f = *state;
    write_object("vectors.json",
                 "{\"Item\":{\"pk\":{\"S\":\"a\"},\"v\":{\"L\":[{\"N\":\"1\"},{\"N\":\"0\"}]}}}\n"
                 "{\"Item\":{\"pk\":{\"S\":\"b\"},\"v\":{\"L\":[{\"N\":\"1\"}]}}}\n"
                 "{\"Item\":{\"pk\":{\"S\":\"c\"}}}\n");
    char arn[256];
    const char *text = must(
        f, "ImportTable",
        "{\"S3BucketSource\":{\"S3Bucket\":\"bucket\",\"S3KeyPrefix\":\"vectors\"},\"InputFormat\":"
        "\"DYNAMODB_JSON\",\"TableCreationParameters\":{\"TableName\":\"vec\",\"AttributeDefinitions\":[{"
        "\"AttributeName\":\"pk\",\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":\"pk\","
        "\"KeyType\":\"HASH\"}],\"BillingMode\":\"PAY_PER_REQUEST\",\"VectorIndexes\":[{\"IndexName\":"
        "\"vix\",\"VectorAttribute\":{\"AttributeName\":\"v\"},\"Dimensions\":2,\"DistanceFunction\":"
        "\"EUCLIDEAN\",\"Projection\":{\"ProjectionType\":\"ALL\"}}]}}");
    (void)snprintf(arn, sizeof arn, "%s", text_of(text, "ImportArn"));
    finish(f);
    text = must(f, "DescribeImport", "{\"ImportArn\":\"%s\"}", arn);
    assert_non_null(strstr(text, "\"ErrorCount\":1"));
    assert_non_null(strstr(text, "\"ImportedItemCount\":2"));
    text = must(f, "SearchVectors",
                "{\"TableName\":\"vec\",\"IndexName\":\"vix\",\"SearchVector\":[{\"N\":\"0\"},{\"N\":\"0\"}],"
                "\"TopK\":5}");
    assert_non_null(strstr(text, "{\"SearchResults\":[{\"Item\":{\"pk\":{\"S\":\"a\"}},\"Score\":1}]}"));
}

static void an_import_of_nothing_makes_an_empty_table(void **state)
{
    fixture *f = *state;
    char arn[256];
    const char *text = must(f, "ImportTable",
                            "{\"S3BucketSource\":{\"S3Bucket\":\"bucket\",\"S3KeyPrefix\":\"none\"},"
                            "\"InputFormat\":\"DYNAMODB_JSON\"," TABLE("empty") "}");
    (void)snprintf(arn, sizeof arn, "%s", text_of(text, "ImportArn"));
    finish(f);
    text = must(f, "DescribeImport", "{\"ImportArn\":\"%s\"}", arn);
    assert_string_equal(text_of(text, "ImportStatus"), "COMPLETED");
    assert_non_null(strstr(must(f, "Scan", "{\"TableName\":\"empty\"}"), "\"Count\":0"));
    write_object("plain.json", "{\"Item\":{\"pk\":{\"S\":\"a\"},\"n\":{\"N\":\"1\"}}}\n");
    text = must(f, "ImportTable",
                "{\"S3BucketSource\":{\"S3Bucket\":\"bucket\",\"S3KeyPrefix\":\"plain\"},\"InputFormat\":"
                "\"DYNAMODB_JSON\",\"InputCompressionType\":\"GZIP\"," TABLE("zip") "}");
    (void)snprintf(arn, sizeof arn, "%s", text_of(text, "ImportArn"));
    finish(f);
    text = must(f, "DescribeImport", "{\"ImportArn\":\"%s\"}", arn);
    assert_string_equal(text_of(text, "FailureCode"), "ItemValidationError");
    assert_non_null(strstr(text, "\"ProcessedItemCount\":1,\"ImportedItemCount\":0"));
    assert_non_null(strstr(must(f, "Scan", "{\"TableName\":\"zip\"}"), "\"Count\":0"));
}

static void what_fails_is_told(void **state)
{
    fixture *f = *state;
    char arn[256];
    enable(f);
    (void)snprintf(
        arn, sizeof arn, "%s",
        text_of(must(f, "ExportTableToPointInTime", "{\"TableArn\":\"" ARN "\",\"S3Bucket\":\"none\"}"),
                "ExportArn"));
    finish(f);
    assert_string_equal(text_of(must(f, "DescribeExport", "{\"ExportArn\":\"%s\"}", arn), "FailureCode"),
                        "S3NoSuchBucket");
    (void)snprintf(arn, sizeof arn, "%s",
                   text_of(must(f, "ImportTable",
                                "{\"S3BucketSource\":{\"S3Bucket\":\"nowhere\"},\"InputFormat\":"
                                "\"DYNAMODB_JSON\"," TABLE("none") "}"),
                           "ImportArn"));
    finish(f);
    assert_string_equal(text_of(must(f, "DescribeImport", "{\"ImportArn\":\"%s\"}", arn), "FailureCode"),
                        "S3NoSuchBucket");
    refused(f, "DescribeTable", "{\"TableName\":\"none\"}", "ResourceNotFoundException", "");
    static const struct {
        const char *operation, *body, *part;
    } cases[] = {
        {"ExportTableToPointInTime",
         "{\"TableArn\":\"" ARN "\",\"S3Bucket\":\"bucket\",\"ExportFormat\":\"ION\"}", "ION is not"},
        {"ExportTableToPointInTime", "{\"TableArn\":\"" ARN "\",\"S3Bucket\":\"../x\"}", "at 's3Bucket'"},
        {"ExportTableToPointInTime", "{\"TableArn\":\"" ARN "\",\"S3Bucket\":\"bucket\",\"ExportTime\":1}",
         "InvalidExportTime"},
        {"ExportTableToPointInTime", "{\"TableArn\":\"" ARN "x\",\"S3Bucket\":\"bucket\"}",
         "TableNotFoundException"},
        {"ImportTable",
         "{\"S3BucketSource\":{\"S3Bucket\":\"bucket\"},\"InputFormat\":\"ION\"," TABLE("x-y") "}",
         "ION is not"},
        {"ImportTable",
         "{\"S3BucketSource\":{\"S3Bucket\":\"bucket\"},\"InputFormat\":\"CSV\"," TABLE("tab") "}",
         "ResourceInUseException"}};
    for (size_t i = 0; i < TR_COUNT(cases); i++)
        refused(f, cases[i].operation, cases[i].body, "", cases[i].part);
    /* a prefix that leads out of the bucket */
    (void)snprintf(
        arn, sizeof arn, "%s",
        text_of(must(f, "ExportTableToPointInTime",
                     "{\"TableArn\":\"" ARN "\",\"S3Bucket\":\"bucket\",\"S3Prefix\":\"../../x\"}"),
                "ExportArn"));
    finish(f);
    assert_string_equal(text_of(must(f, "DescribeExport", "{\"ExportArn\":\"%s\"}", arn), "ExportStatus"),
                        "FAILED");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, open_buckets, close_buckets)
    const struct CMUnitTest tests[] = {
        T(an_export_is_imported_again),
        T(an_incremental_export_has_what_changed),
        T(csv_is_imported),
        T(items_that_are_none_are_counted),
        T(vectors_are_imported),
        T(an_import_of_nothing_makes_an_empty_table),
        T(what_fails_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
