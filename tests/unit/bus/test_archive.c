/* SPDX-License-Identifier: MIT */
/* Archives, replays and what targets are given, through the wire operations. */
#include "bus_test.h"

#define ARCHIVE_ARN "arn:aws:events:us-east-1:000000000000:archive/a"
#define RECEIVE     "{\"QueueUrl\":\"q\",\"WaitTimeSeconds\":5}"

static void put_event(tr_client *client, unsigned n, tr_buf *out)
{
    char body[512];
    (void)snprintf(
        body, sizeof body,
        "{\"Entries\":[{\"EventBusName\":\"b\",\"Source\":\"s\",\"DetailType\":\"t\",\"Time\":%u,\"Detail\":"
        "\"{\\\"log\\\":\\\"users\\\",\\\"type\\\":\\\"signup\\\",\\\"n\\\":%u}\"}]}",
        1700000000 + n, n);
    call(client, TR_EVENTS, "PutEvents", body, out);
    expect(out, "\"FailedEntryCount\":0");
}

static void wait_for(tr_client *client, const char *operation, const char *body, const char *text,
                     tr_buf *out)
{
    for (int i = 0; i < 12000; i++) {
        call(client, TR_EVENTS, operation, body, out);
        if (tr_view_find(tr_buf_view(out), tr_view_str(text), 0) != SIZE_MAX)
            return;
        (void)usleep(10000);
    }
    fail_msg("'%s' is not in %s", text, out->ptr);
}

/* A server whose archive `a` of the bus `b` has 250 events, on their way at least; `out` is ready then. */
static void open_archived(embedded *ret, const tr_server_options *options, tr_buf *ret_out)
{
    embedded e;
    tr_buf out;
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, options);
    EVENTS("CreateEventBus", "{\"Name\":\"b\"}");
    EVENTS("CreateArchive", "{\"ArchiveName\":\"a\",\"EventSourceArn\":\"" BUS_ARN("b") "\"}");
    SQS("CreateQueue", "{\"QueueName\":\"q\"}");
    for (unsigned i = 0; i < 250; i++)
        put_event(e.client, i, &out);
    /* only from here on something listens */
    EVENTS("PutRule",
           "{\"Name\":\"r\",\"EventBusName\":\"b\",\"EventPattern\":\"{\\\"source\\\":[\\\"s\\\"]}\"}");
    EVENTS("PutTargets",
           "{\"Rule\":\"r\",\"EventBusName\":\"b\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" QUEUE_ARN(
               "q") "\"}]}");
    *ret = e;
    *ret_out = out;
}

static void replays(embedded e)
{
    tr_buf out;
    tr_buf_init(&out, 1 << 20);
    wait_for(e.client, "DescribeArchive", "{\"ArchiveName\":\"a\"}", "\"EventCount\":250", &out);
    /* 150 of them, over two pages */
    EVENTS("StartReplay",
           "{\"ReplayName\":\"p\",\"EventSourceArn\":\"" ARCHIVE_ARN "\",\"EventStartTime\":1700000100,"
           "\"EventEndTime\":1800000000,\"Destination\":{\"Arn\":\"" BUS_ARN("b") "\"}}");
    expect(&out, "\"State\":\"STARTING\"");
    wait_for(e.client, "DescribeReplay", "{\"ReplayName\":\"p\"}", "\"State\":\"COMPLETED\"", &out);
    SQS("GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"ApproximateNumberOfMessages\"]}");
    expect(&out, "\"ApproximateNumberOfMessages\":\"150\"");
    SQS("ReceiveMessage", RECEIVE);
    expect(&out, "\\\"n\\\":100}");
    expect(&out, "\\\"replay-name\\\":\\\"p\\\"");
    EVENTS("DescribeArchive", "{\"ArchiveName\":\"a\"}");
    expect(&out, "\"EventCount\":250"); /* replayed events are not archived again */
    refused(e.client, TR_EVENTS, "StartReplay",
            "{\"ReplayName\":\"p2\",\"EventSourceArn\":\"" ARCHIVE_ARN
            "\",\"EventStartTime\":1,\"EventEndTime\":2,"
            "\"Destination\":{\"Arn\":\"" BUS_ARN("default") "\"}}",
            "ValidationException",
            "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.");
    refused(e.client, TR_EVENTS, "StartReplay",
            "{\"ReplayName\":\"p2\",\"EventSourceArn\":\"" ARCHIVE_ARN
            "\",\"EventStartTime\":2,\"EventEndTime\":2,"
            "\"Destination\":{\"Arn\":\"" BUS_ARN("b") "\"}}",
            "ValidationException",
            "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.");
    tr_buf_done(&out);
}

/* What was archived is replayed by time, marked, and not archived again. */
static void replay_in_memory(void **state)
{
    embedded e;
    tr_buf out;
    (void)state;
    open_archived(&e, NULL, &out);
    tr_buf_done(&out);
    replays(e);
    embedded_close(&e);
}

/* The same over a restart: the archive is a file of its own. */
static void replay_from_disk(void **state)
{
    embedded e;
    tr_buf out;
    char dir[] = "/tmp/tailrace-bus-XXXXXX", command[128];
    (void)state;
    assert_non_null(mkdtemp(dir));
    tr_server_options options = {.data_dir = dir};
    open_archived(&e, &options, &out);
    tr_buf_done(&out);
    embedded_close(&e);
    embedded_open(&e, &options);
    replays(e);
    embedded_close(&e);
    (void)snprintf(command, sizeof command, "test -s %s/archive/a.sqlite && rm -rf '%s'", dir, dir);
    assert_int_equal(system(command), 0);
}

/* A replay that comes through PutEvents is marked, goes to the rules it is for, and is not archived; nor is
 * what says of itself, in its detail, that it was replayed. */
static void replays_from_outside(void **state)
{
    embedded e;
    tr_buf out;
    (void)state;
    open_archived(&e, NULL, &out);
    wait_for(e.client, "DescribeArchive", "{\"ArchiveName\":\"a\"}", "\"EventCount\":250", &out);
    EVENTS("PutRule",
           "{\"Name\":\"r2\",\"EventBusName\":\"b\",\"EventPattern\":\"{\\\"source\\\":[\\\"s\\\"]}\"}");
    EVENTS("PutTargets",
           "{\"Rule\":\"r2\",\"EventBusName\":\"b\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" QUEUE_ARN(
               "q") "\"}]}");
    EVENTS("PutEvents",
           "{\"ReplayName\":\"mine\",\"FilterArns\":[\"arn:aws:events:us-east-1:000000000000:rule/b/r2\"],"
           "\"Entries\":[{\"EventBusName\":\"b\",\"Source\":\"s\",\"DetailType\":\"t\",\"Detail\":\"{}\"}]}");
    EVENTS("PutEvents",
           "{\"Entries\":[{\"EventBusName\":\"b\",\"Source\":\"x\",\"DetailType\":\"t\",\"Detail\":"
           "\"{\\\"replay-name\\\":\\\"local\\\"}\"}]}");
    SQS("GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"ApproximateNumberOfMessages\"]}");
    expect(&out, "\"ApproximateNumberOfMessages\":\"1\"");
    SQS("ReceiveMessage", RECEIVE);
    expect(&out, "\\\"replay-name\\\":\\\"mine\\\"");
    put_event(e.client, 250, &out);
    wait_for(e.client, "DescribeArchive", "{\"ArchiveName\":\"a\"}", "\"EventCount\":251", &out);
    tr_buf_done(&out);
    embedded_close(&e);
}

/* Rows of an archive can be selected, counted, brought in and thrown away. */
static void rows(void **state)
{
    embedded e;
    tr_buf out;
    (void)state;
    open_archived(&e, NULL, &out);
    wait_for(e.client, "DescribeArchive", "{\"ArchiveName\":\"a\"}", "\"EventCount\":250", &out);
    EVENTS("QueryArchive", "{\"ArchiveName\":\"a\",\"Count\":true,\"StartTime\":1700000100}");
    expect(&out, "{\"EventCount\":150,");
    EVENTS("QueryArchive", "{\"ArchiveName\":\"a\",\"Count\":true,\"EndTime\":1700000099,\"Log\":\"users\","
                           "\"Type\":\"signup\"}");
    expect(&out, "{\"EventCount\":100,");
    EVENTS("QueryArchive", "{\"ArchiveName\":\"a\",\"Count\":true,\"Log\":\"other\"}");
    expect(&out, "{\"EventCount\":0,");
    EVENTS("QueryArchive", "{\"ArchiveName\":\"a\",\"EventPattern\":\"{\\\"detail\\\":{\\\"n\\\":[7]}}\"}");
    expect(&out, "\"n\":7}");
    assert_false(has(&out, "\"n\":8}"));
    static const char import[] =
        "{\"ArchiveName\":\"a\",\"Events\":[{\"id\":\"1\",\"source\":\"s\",\"detail-type\":\"t\",\"account\":"
        "\"0\","
        "\"region\":\"r\",\"time\":\"2001-01-01T00:00:00Z\",\"detail\":{\"log\":\"old\"}},{\"id\":\"2\","
        "\"source\":\"s\",\"detail-type\":\"t\",\"account\":\"0\",\"region\":\"r\",\"time\":"
        "\"2001-01-01T00:00:00Z\",\"replay-name\":\"p\",\"detail\":{}}]}";
    EVENTS("ImportArchive", import);
    expect(&out,
           "{\"ImportedCount\":1,\"KnownCount\":0}"); /* the archive's pattern leaves out what is replayed */
    EVENTS("ImportArchive", import);
    expect(&out, "{\"ImportedCount\":0,\"KnownCount\":1}");
    refused(e.client, TR_EVENTS, "ImportArchive", "{\"ArchiveName\":\"a\",\"Events\":[{\"id\":\"1\"}]}",
            "ValidationException", "Parameter Events is not valid. Reason: Number 0 is not an event.");
    refused(e.client, TR_EVENTS, "CreateConnection", "{}", "UnknownOperationException",
            "The event bus of tailrace does not support the operation CreateConnection.");
    refused(
        e.client, TR_EVENTS, "ListArchives", "{\"NamePrefix\":\"a\",\"State\":\"ENABLED\"}",
        "ValidationException",
        "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix.");
    EVENTS("ListArchives", "{\"EventSourceArn\":\"" BUS_ARN("c") "\"}");
    expect(&out, "{\"Archives\":[]}");
    EVENTS("ListArchives", "{\"EventSourceArn\":\"" BUS_ARN("b") "\"}");
    expect(&out, "\"ArchiveName\":\"a\"");
    EVENTS("PruneArchive", "{\"ArchiveName\":\"a\"}"); /* kept for ever */
    expect(&out, "{\"PrunedCount\":0,\"More\":false}");
    EVENTS("PruneArchive", "{\"ArchiveName\":\"a\",\"EventPattern\":\"{\\\"detail\\\":{\\\"n\\\":[{"
                           "\\\"numeric\\\":[\\\"<\\\",10]}]}}\"}");
    expect(&out, "{\"PrunedCount\":10,\"More\":false}");
    EVENTS("UpdateArchive", "{\"ArchiveName\":\"a\",\"RetentionDays\":1}");
    EVENTS("PruneArchive", "{\"ArchiveName\":\"a\"}");
    EVENTS("DescribeArchive", "{\"ArchiveName\":\"a\"}");
    expect(&out, "\"EventCount\":0,");
    tr_buf_done(&out);
    embedded_close(&e);
}

/* InputPath and InputTransformer decide what the target is given. */
static void inputs(void **state)
{
    embedded e;
    tr_buf out;
    (void)state;
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, NULL);
    EVENTS("CreateEventBus", "{\"Name\":\"b\"}");
    SQS("CreateQueue", "{\"QueueName\":\"q\"}");
    EVENTS("PutRule",
           "{\"Name\":\"r\",\"EventBusName\":\"b\",\"EventPattern\":\"{\\\"source\\\":[\\\"s\\\"]}\"}");
    EVENTS("PutTargets",
           "{\"Rule\":\"r\",\"EventBusName\":\"b\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" QUEUE_ARN(
               "q") "\","
                    "\"InputPath\":\"$.detail.log\"}]}");
    put_event(e.client, 1, &out);
    SQS("ReceiveMessage", RECEIVE);
    expect(&out, "\"Body\":\"\\\"users\\\"\"");
    EVENTS("PutTargets",
           "{\"Rule\":\"r\",\"EventBusName\":\"b\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" QUEUE_ARN(
               "q") "\","
                    "\"InputTransformer\":{\"InputPathsMap\":{\"n\":\"$.detail.n\"},\"InputTemplate\":"
                    "\"{\\\"rule\\\":\\\"<aws.events.rule-name>\\\",\\\"n\\\":<n>}\"}}]}");
    put_event(e.client, 7, &out);
    SQS("ReceiveMessage", RECEIVE);
    expect(&out, "{\\\"rule\\\":\\\"r\\\",\\\"n\\\":7}");
    refused(e.client, TR_EVENTS, "PutTargets",
            "{\"Rule\":\"r\",\"EventBusName\":\"b\",\"Targets\":[{\"Id\":\"X\",\"Arn\":\"" QUEUE_ARN(
                "q") "\","
                     "\"InputTransformer\":{\"InputTemplate\":\"{\\\"n\\\":<Y>}\"}}]}",
            "ValidationException", "InputTemplate for target X contains invalid placeholder Y.");
    tr_buf_done(&out);
    embedded_close(&e);
}

/* An event goes from bus to bus, and an item of it into a table; a circle of buses ends. */
static void buses_and_tables(void **state)
{
    embedded e;
    tr_buf out;
    (void)state;
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, NULL);
    embedded_call(e.client, "CreateTable",
                  "{\"TableName\":\"things\",\"BillingMode\":\"PAY_PER_REQUEST\",\"KeySchema\":[{"
                  "\"AttributeName\":\"n\",\"KeyType\":"
                  "\"HASH\"}],\"AttributeDefinitions\":[{\"AttributeName\":\"n\",\"AttributeType\":\"N\"}]}",
                  NULL);
    EVENTS("CreateEventBus", "{\"Name\":\"b\"}");
    EVENTS("CreateEventBus", "{\"Name\":\"c\"}");
    EVENTS("PutRule",
           "{\"Name\":\"r\",\"EventBusName\":\"b\",\"EventPattern\":\"{\\\"source\\\":[\\\"s\\\"]}\"}");
    EVENTS(
        "PutTargets",
        "{\"Rule\":\"r\",\"EventBusName\":\"b\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" BUS_ARN("c") "\"}]}");
    EVENTS("PutRule",
           "{\"Name\":\"r\",\"EventBusName\":\"c\",\"EventPattern\":\"{\\\"source\\\":[\\\"s\\\"]}\"}");
    EVENTS("PutTargets",
           "{\"Rule\":\"r\",\"EventBusName\":\"c\",\"Targets\":[{\"Id\":\"back\",\"Arn\":\"" BUS_ARN(
               "b") "\"},"
                    "{\"Id\":\"table\",\"Arn\":\"arn:aws:dynamodb:us-east-1:000000000000:table/"
                    "things\",\"InputPath\":\"$.detail\"}]}");
    put_event(e.client, 42, &out);
    for (int i = 0; i < 12000; i++) {
        call(e.client, TR_DYNAMODB, "GetItem", "{\"TableName\":\"things\",\"Key\":{\"n\":{\"N\":\"42\"}}}",
             &out);
        if (out.len > 2)
            break;
        (void)usleep(10000);
    }
    expect(&out, "\"log\":{\"S\":\"users\"}");
    tr_buf_done(&out);
    embedded_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replay_in_memory),
        cmocka_unit_test(replay_from_disk),
        cmocka_unit_test(replays_from_outside),
        cmocka_unit_test(rows),
        cmocka_unit_test(inputs),
        cmocka_unit_test(buses_and_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
