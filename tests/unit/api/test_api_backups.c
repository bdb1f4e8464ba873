/* SPDX-License-Identifier: MIT */
/* Backups, restores, point-in-time recovery. */
#include "api_test.h"

#include <stdio.h>
#include <string.h>

static void put(fixture *f, const char *table, int i, const char *value)
{
    must(f, "PutItem",
         "{\"TableName\":\"%s\",\"Item\":{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"s\"},\"g\":{\"S\":\"g%d\"},"
         "\"v\":{\"S\":\"%s\"}}}",
         table, i, i % 3, value);
}

/* Lets what is under way come to its end. */
static void finish(fixture *f)
{
    for (int i = 0; tr_api_tick(f->api); i++)
        assert_true(i < 10000);
    tr_error err;
    assert_int_equal(tr_engine_sync_wait(f->engine, &err), 0);
}

static size_t items(fixture *f, const char *table, const char *part)
{
    return count_of(must(f, "Scan", "{\"TableName\":\"%s\"}", table), part);
}

static void status_is(fixture *f, const char *table, const char *status)
{
    const char *text = must(f, "DescribeTable", "{\"TableName\":\"%s\"}", table);
    assert_string_equal(text_of(text, "TableStatus"), status);
}

static void a_backup_is_restored_as_it_was(void **state)
{
    fixture *f = *state;
    char arn[256];
    make_table(f, "tab");
    for (int i = 0; i < 700; i++)
        put(f, "tab", i, "old");
    const char *text = must(f, "CreateBackup", "{\"TableName\":\"tab\",\"BackupName\":\"first\"}");
    assert_non_null(strstr(text, "\"BackupStatus\":\"AVAILABLE\""));
    (void)snprintf(arn, sizeof arn, "%s", text_of(text, "BackupArn"));
    for (int i = 0; i < 700; i += 2)
        put(f, "tab", i, "new");
    must(f, "DeleteTable", "{\"TableName\":\"tab\"}");
    text = must(f, "RestoreTableFromBackup", "{\"TargetTableName\":\"again\",\"BackupArn\":\"%s\"}", arn);
    assert_string_equal(text_of(text, "TableStatus"), "CREATING");
    assert_non_null(strstr(text, "\"RestoreInProgress\":true"));
    status_is(f, "again", "CREATING");
    refused(f, "PutItem", "{\"TableName\":\"again\",\"Item\":{\"pk\":{\"S\":\"x\"},\"sk\":{\"S\":\"x\"}}}",
            "ResourceNotFoundException", "");
    finish(f);
    status_is(f, "again", "ACTIVE");
    assert_non_null(
        strstr(must(f, "DescribeTable", "{\"TableName\":\"again\"}"), "\"RestoreInProgress\":false"));
    assert_int_equal(items(f, "again", "\"old\""), 700);
    assert_int_equal(items(f, "again", "\"new\""), 0);
    text = must(f, "Query",
                "{\"TableName\":\"again\",\"IndexName\":\"byG\",\"KeyConditionExpression\":\"g = :g\","
                "\"ExpressionAttributeValues\":{\":g\":{\"S\":\"g1\"}},\"Select\":\"COUNT\"}");
    assert_non_null(strstr(text, "\"Count\":233"));
    uint64_t problems = 0;
    tr_error err;
    assert_int_equal(tr_engine_check(f->engine, NULL, NULL, &problems, &err), 0);
    assert_int_equal(problems, 0);
    refused(f, "RestoreTableFromBackup",
            "{\"TargetTableName\":\"other\",\"BackupArn\":\"arn:aws:dynamodb:us-east-1:000000000000:table/x/"
            "backup/1\"}",
            "BackupNotFoundException", "Backup not found: arn:");
    text = callf(f, "RestoreTableFromBackup", "{\"TargetTableName\":\"again\",\"BackupArn\":\"%s\"}", arn);
    assert_non_null(strstr(text, "TableAlreadyExistsException"));
}

static void backups_are_listed_described_and_deleted(void **state)
{
    fixture *f = *state;
    char arn[3][256];
    make_table(f, "tab");
    make_table(f, "other");
    for (int i = 0; i < 3; i++)
        (void)snprintf(arn[i], sizeof arn[i], "%s",
                       text_of(must(f, "CreateBackup", "{\"TableName\":\"%s\",\"BackupName\":\"name-%d\"}",
                                    i == 1 ? "other" : "tab", i),
                               "BackupArn"));
    assert_int_equal(count_of(must(f, "ListBackups", "{}"), "\"BackupArn\""), 3);
    assert_int_equal(count_of(must(f, "ListBackups", "{\"TableName\":\"tab\"}"), "\"BackupArn\""), 2);
    assert_int_equal(count_of(must(f, "ListBackups", "{\"BackupType\":\"SYSTEM\"}"), "\"BackupArn\""), 0);
    char last[256];
    const char *text = must(f, "ListBackups", "{\"Limit\":2}");
    assert_int_equal(count_of(text, "\"BackupArn\""), 2);
    (void)snprintf(last, sizeof last, "%s", text_of(text, "LastEvaluatedBackupArn"));
    assert_int_equal(
        count_of(must(f, "ListBackups", "{\"ExclusiveStartBackupArn\":\"%s\"}", last), "\"BackupArn\""), 1);
    text = must(f, "DescribeBackup", "{\"BackupArn\":\"%s\"}", arn[1]);
    assert_non_null(strstr(text, "\"SourceTableDetails\":{\"TableName\":\"other\""));
    assert_non_null(strstr(text, "\"IndexName\":\"byG\""));
    text = must(f, "DeleteBackup", "{\"BackupArn\":\"%s\"}", arn[1]);
    assert_string_equal(text_of(text, "BackupStatus"), "DELETED");
    text = callf(f, "DescribeBackup", "{\"BackupArn\":\"%s\"}", arn[1]);
    assert_non_null(strstr(text, "BackupNotFoundException"));
    refused(f, "CreateBackup", "{\"TableName\":\"none\",\"BackupName\":\"name\"}", "TableNotFoundException",
            "Table not found: none");
    refused(f, "CreateBackup", "{\"TableName\":\"tab\",\"BackupName\":\"x\"}", "ValidationException",
            "at 'backupName'");
}

static void restores_at_a_time_are_limited(void **state)
{
    fixture *f = *state;
    char arn[256];
    make_table(f, "tab");
    (void)snprintf(
        arn, sizeof arn, "%s",
        text_of(must(f, "CreateBackup", "{\"TableName\":\"tab\",\"BackupName\":\"first\"}"), "BackupArn"));
    for (int i = 0; i < 50; i++)
        must(f, "RestoreTableFromBackup", "{\"TargetTableName\":\"again-%d\",\"BackupArn\":\"%s\"}", i, arn);
    const char *text =
        callf(f, "RestoreTableFromBackup", "{\"TargetTableName\":\"again\",\"BackupArn\":\"%s\"}", arn);
    assert_non_null(strstr(text, "LimitExceededException"));
    finish(f);
    must(f, "RestoreTableFromBackup", "{\"TargetTableName\":\"again\",\"BackupArn\":\"%s\"}", arn);
}

static void a_restore_may_leave_indexes_out(void **state)
{
    fixture *f = *state;
    make_table(f, "tab");
    put(f, "tab", 1, "old");
    char arn[256];
    (void)snprintf(
        arn, sizeof arn, "%s",
        text_of(must(f, "CreateBackup", "{\"TableName\":\"tab\",\"BackupName\":\"first\"}"), "BackupArn"));
    must(f, "RestoreTableFromBackup",
         "{\"TargetTableName\":\"bare\",\"BackupArn\":\"%s\",\"GlobalSecondaryIndexOverride\":[],"
         "\"LocalSecondaryIndexOverride\":[],\"BillingModeOverride\":\"PROVISIONED\","
         "\"ProvisionedThroughputOverride\":{"
         "\"ReadCapacityUnits\":3,\"WriteCapacityUnits\":4}}",
         arn);
    finish(f);
    const char *text = must(f, "DescribeTable", "{\"TableName\":\"bare\"}");
    assert_null(strstr(text, "IndexName"));
    assert_int_equal(count_of(text, "\"AttributeType\""), 2);
    assert_non_null(strstr(text, "\"ReadCapacityUnits\":3,\"WriteCapacityUnits\":4"));
}

static void a_point_in_time_is_restored(void **state)
{
    fixture *f = *state;
    int64_t start = 1700000000000;
    f->now_ms = start;
    make_table(f, "tab");
    refused(f, "RestoreTableToPointInTime",
            "{\"SourceTableName\":\"tab\",\"TargetTableName\":\"then\",\"UseLatestRestorableTime\":true}",
            "PointInTimeRecoveryUnavailableException", "");
    assert_non_null(strstr(must(f, "DescribeContinuousBackups", "{\"TableName\":\"tab\"}"),
                           "\"PointInTimeRecoveryStatus\":\"DISABLED\""));
    assert_non_null(strstr(must(f, "UpdateContinuousBackups",
                                "{\"TableName\":\"tab\",\"PointInTimeRecoverySpecification\":{"
                                "\"PointInTimeRecoveryEnabled\":true,\"RecoveryPeriodInDays\":2}}"),
                           "\"PointInTimeRecoveryStatus\":\"ENABLED\",\"RecoveryPeriodInDays\":2"));
    for (int i = 0; i < 300; i++)
        put(f, "tab", i, "old");
    f->now_ms = start + 60000;
    for (int i = 0; i < 100; i++)
        put(f, "tab", i, "new");
    for (int i = 300; i < 310; i++)
        put(f, "tab", i, "new");
    for (int i = 100; i < 120; i++)
        must(f, "DeleteItem", "{\"TableName\":\"tab\",\"Key\":{\"pk\":{\"S\":\"p%d\"},\"sk\":{\"S\":\"s\"}}}",
             i);
    f->now_ms = start + 120000;
    for (int i = 0; i < 50; i++)
        put(f, "tab", i, "newest");
    must(f, "RestoreTableToPointInTime",
         "{\"SourceTableName\":\"tab\",\"TargetTableName\":\"then\",\"RestoreDateTime\":%lld.5}",
         (long long)(start / 1000 + 30));
    must(f, "RestoreTableToPointInTime",
         "{\"SourceTableName\":\"tab\",\"TargetTableName\":\"later\",\"RestoreDateTime\":%lld}",
         (long long)(start / 1000 + 90));
    must(f, "RestoreTableToPointInTime",
         "{\"SourceTableName\":\"tab\",\"TargetTableName\":\"latest\",\"UseLatestRestorableTime\":true}");
    put(f, "tab", 0, "after");
    finish(f);
    assert_int_equal(items(f, "then", "\"old\""), 300);
    assert_int_equal(items(f, "then", "\"pk\""), 300);
    assert_int_equal(items(f, "later", "\"new\""), 110);
    assert_int_equal(items(f, "later", "\"old\""), 180);
    assert_int_equal(items(f, "latest", "\"newest\""), 50);
    assert_int_equal(items(f, "latest", "\"after\""), 0);
    assert_int_equal(items(f, "latest", "\"pk\""), 290);
    char body[256];
    (void)snprintf(body, sizeof body,
                   "{\"SourceTableName\":\"tab\",\"TargetTableName\":\"none\",\"RestoreDateTime\":%lld}",
                   (long long)(start / 1000 - 1));
    refused(f, "RestoreTableToPointInTime", body, "InvalidRestoreTimeException", "");
    refused(f, "RestoreTableToPointInTime", "{\"SourceTableName\":\"tab\",\"TargetTableName\":\"none\"}",
            "ValidationException", "");
}

#define TABLES "arn:aws:dynamodb:us-east-1:000000000000:table/"

static void what_no_single_machine_has_is_told_so(void **state)
{
    static const struct {
        const char *operation, *body, *part; /* of an answer */
    } told[] = {{"ListGlobalTables", "{}", "{\"GlobalTables\":[]}"},
                {"ListContributorInsights", "{}", "{\"ContributorInsightsSummaries\":[]}"},
                {"DescribeContributorInsights", "{\"TableName\":\"tab\",\"IndexName\":\"byG\"}",
                 "{\"TableName\":\"tab\",\"IndexName\":\"byG\",\"ContributorInsightsStatus\":\"DISABLED\"}"},
                {"DescribeKinesisStreamingDestination", "{\"TableName\":\"tab\"}",
                 "\"KinesisDataStreamDestinations\":[]"},
                {"DescribeTableReplicaAutoScaling", "{\"TableName\":\"tab\"}", "\"Replicas\":[]"},
                {"DeleteResourcePolicy", "{\"ResourceArn\":\"" TABLES "tab\"}", "{}"}};
    static const struct {
        const char *operation, *body, *type;
    } refusals[] = {
        {"DescribeGlobalTable", "{\"GlobalTableName\":\"tab\"}", "GlobalTableNotFoundException"},
        {"DescribeContributorInsights", "{\"TableName\":\"none\"}", "ResourceNotFoundException"},
        {"UpdateContributorInsights", "{\"TableName\":\"tab\",\"ContributorInsightsAction\":\"ENABLE\"}",
         "ValidationException"},
        {"EnableKinesisStreamingDestination", "{\"TableName\":\"tab\",\"StreamArn\":\"arn\"}",
         "ValidationException"},
        {"DisableKinesisStreamingDestination", "{\"TableName\":\"tab\",\"StreamArn\":\"arn\"}",
         "ResourceNotFoundException"},
        {"GetResourcePolicy", "{\"ResourceArn\":\"" TABLES "tab\"}", "PolicyNotFoundException"},
        {"GetResourcePolicy", "{\"ResourceArn\":\"" TABLES "none\"}", "ResourceNotFoundException"},
        {"DeleteResourcePolicy", "{\"ResourceArn\":\"" TABLES "none\"}", "ResourceNotFoundException"},
        {"PutResourcePolicy", "{\"ResourceArn\":\"arn\",\"Policy\":\"{}\"}", "ValidationException"},
        {"UpdateTable",
         "{\"TableName\":\"tab\",\"ReplicaUpdates\":[{\"Create\":{\"RegionName\":\"eu-west-1\"}}]}",
         "ReplicaUpdates is not available here"}};
    fixture *f = *state;
    make_table(f, "tab");
    for (size_t i = 0; i < TR_COUNT(told); i++) {
        const char *text = must(f, told[i].operation, "%s", told[i].body);
        if (!strstr(text, told[i].part))
            fail_msg("%s: %s", told[i].operation, text);
    }
    for (size_t i = 0; i < TR_COUNT(refusals); i++)
        refused(f, refusals[i].operation, refusals[i].body, refusals[i].type, "");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        T(a_backup_is_restored_as_it_was), T(backups_are_listed_described_and_deleted),
        T(restores_at_a_time_are_limited), T(a_restore_may_leave_indexes_out),
        T(a_point_in_time_is_restored),    T(what_no_single_machine_has_is_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
