/* SPDX-License-Identifier: MIT */
/* The embedded EventBridge through the wire operations, in this process. */
#include "bus_test.h"

/* An event reaches the queue of a rule that matches, and no other. */
static void rule_to_queue(void **state)
{
    embedded e;
    tr_buf out;
    (void)state;
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, NULL);
    EVENTS("CreateEventBus", "{\"Name\":\"b\"}");
    assert_string_equal(out.ptr, "{\"EventBusArn\":\"arn:aws:events:us-east-1:000000000000:event-bus/b\"}");
    SQS("CreateQueue", "{\"QueueName\":\"q\"}");
    EVENTS("PutRule",
           "{\"Name\":\"r\",\"EventBusName\":\"b\",\"EventPattern\":\"{\\\"source\\\":[\\\"shop\\\"]}\"}");
    assert_string_equal(out.ptr, "{\"RuleArn\":\"arn:aws:events:us-east-1:000000000000:rule/b/r\"}");
    EVENTS("PutTargets",
           "{\"Rule\":\"r\",\"EventBusName\":\"b\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" QUEUE_ARN(
               "q") "\"}]}");
    assert_string_equal(out.ptr, "{\"FailedEntryCount\":0,\"FailedEntries\":[]}");
    EVENTS(
        "PutEvents",
        "{\"Entries\":[{\"EventBusName\":\"b\",\"Source\":\"other\",\"DetailType\":\"t\",\"Detail\":\"{}\"},"
        "{\"EventBusName\":\"b\",\"Source\":\"shop\",\"DetailType\":\"t\",\"Detail\":\"{\\\"n\\\":1}\","
        "\"Time\":1700000000},"
        "{\"EventBusName\":\"nowhere\",\"Source\":\"shop\",\"DetailType\":\"t\",\"Detail\":\"{}\"}]}");
    expect(&out, "\"FailedEntryCount\":0");
    receive(e.client, "q", &out);
    expect(&out, "\\\"source\\\":\\\"shop\\\",\\\"account\\\":\\\"000000000000\\\",\\\"time\\\":\\\"2023-11-"
                 "14T22:13:20Z\\\"");
    expect(&out, "\\\"detail\\\":{\\\"n\\\":1}");
    expect(&out, "\"ApproximateReceiveCount\":\"1\"");
    call(e.client, TR_SQS, "ReceiveMessage", "{\"QueueUrl\":\"q\"}", &out);
    assert_string_equal(out.ptr, "{}");
    EVENTS("DisableRule", "{\"Name\":\"r\",\"EventBusName\":\"b\"}");
    EVENTS("PutEvents", "{\"Entries\":[{\"EventBusName\":\"b\",\"Source\":\"shop\",\"DetailType\":\"t\","
                        "\"Detail\":\"{}\"}]}");
    call(e.client, TR_SQS, "ReceiveMessage", "{\"QueueUrl\":\"q\"}", &out);
    assert_string_equal(out.ptr, "{}");
    tr_buf_done(&out);
    embedded_close(&e);
}

/* Entries that are not valid are told one by one, and the messages are the service's. */
static void refusals(void **state)
{
    embedded e;
    tr_buf out;
    (void)state;
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, NULL);
    EVENTS("PutEvents", "{\"Entries\":[{\"DetailType\":\"t\",\"Detail\":\"{}\"},{\"Source\":\"s\","
                        "\"DetailType\":\"t\",\"Detail\":\"[]\"}]}");
    expect(&out, "{\"ErrorCode\":\"InvalidArgument\",\"ErrorMessage\":\"Parameter Source is not valid. "
                 "Reason: Source is a "
                 "required argument.\"},{\"ErrorCode\":\"MalformedDetail\",\"ErrorMessage\":\"Detail is "
                 "malformed.\"}");
    expect(&out, "\"FailedEntryCount\":2");
    refused(e.client, TR_EVENTS, "DescribeRule", "{\"Name\":\"x\"}", "ResourceNotFoundException",
            "Rule x does not exist on EventBus default.");
    refused(e.client, TR_EVENTS, "DeleteEventBus", "{\"Name\":\"default\"}", "ValidationException",
            "Cannot delete event bus default.");
    EVENTS("CreateEventBus", "{\"Name\":\"b\"}");
    refused(e.client, TR_EVENTS, "CreateEventBus", "{\"Name\":\"b\"}", "ResourceAlreadyExistsException",
            "Event bus b already exists.");
    EVENTS("PutRule", "{\"Name\":\"r\",\"EventPattern\":\"{\\\"source\\\":[\\\"s\\\"]}\"}");
    refused(e.client, TR_EVENTS, "PutTargets",
            "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"X\",\"Arn\":\"" QUEUE_ARN(
                "q") "\",\"Input\":\"{}\",\"InputPath\":\"$\"}]}",
            "ValidationException",
            "Only one of Input, InputPath, or InputTransformer must be provided for target X.");
    EVENTS("PutTargets", "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"X\",\"Arn\":\"" QUEUE_ARN("q") "\"}]}");
    refused(e.client, TR_EVENTS, "DeleteRule", "{\"Name\":\"r\"}", "ValidationException",
            "Rule can't be deleted since it has targets.");
    refused(e.client, TR_SQS, "GetQueueUrl", "{\"QueueName\":\"q\"}", "QueueDoesNotExist",
            "The specified queue does not exist.");
    tr_buf_done(&out);
    embedded_close(&e);
}

/* An event whose target fails goes to dead letters, with what happened. */
static void dead_letters(void **state)
{
    embedded e;
    tr_buf out;
    tr_server_options options = {.bus_retry_base_ms = 1};
    (void)state;
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, &options);
    SQS("CreateQueue", "{\"QueueName\":\"dead\"}");
    EVENTS("PutRule", RULE);
    EVENTS("PutTargets",
           "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"http://127.0.0.1:1/\",\"RetryPolicy\":"
           "{\"MaximumRetryAttempts\":2},\"DeadLetterConfig\":{\"Arn\":\"" QUEUE_ARN("dead") "\"}}]}");
    EVENTS("PutEvents", PUT);
    receive(e.client, "dead", &out);
    expect(&out, "\"RULE_ARN\":{\"DataType\":\"String\",\"StringValue\":\"arn:aws:events:us-east-1:"
                 "000000000000:rule/r\"}");
    expect(&out, "\"TARGET_ARN\":{\"DataType\":\"String\",\"StringValue\":\"http://127.0.0.1:1/\"}");
    expect(
        &out,
        "\"EXHAUSTED_RETRY_CONDITION\":{\"DataType\":\"String\",\"StringValue\":\"MaximumRetryAttempts\"}");
    expect(&out, "\"RETRY_ATTEMPTS\":{\"DataType\":\"String\",\"StringValue\":\"2\"}");
    expect(&out, "\\\"type\\\":\\\"signup\\\"");
    tr_buf_done(&out);
    embedded_close(&e);
}

/* What was not delivered when the server stopped is delivered by the next one; configuration and queues stay.
 */
static void restart(void **state)
{
    embedded e;
    tr_buf out, text;
    char dir[] = "/tmp/tailrace-bus-XXXXXX", target[128], file[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof file, "%s/out", dir);
    (void)snprintf(target, sizeof target, "file:%s", file);
    tr_server_function broken = {.name = "f", .target = "file:/nowhere/at/all"},
                       mended = {.name = "f", .target = target};
    tr_server_options options = {.data_dir = dir,
                                 .functions = &broken,
                                 .function_count = 1,
                                 .bus_retry_base_ms = 20,
                                 .bus_retry_cap_ms = 20};
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, &options);
    EVENTS("PutRule", RULE);
    EVENTS("PutTargets", "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" FUNCTION_ARN("f") "\"}]}");
    SQS("CreateQueue", "{\"QueueName\":\"q\"}");
    SQS("SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"kept\"}");
    for (int i = 0; i < 3; i++)
        EVENTS("PutEvents", PUT);
    embedded_close(&e);
    options.functions = &mended;
    embedded_open(&e, &options);
    wait_for_lines(file, 3);
    receive(e.client, "q", &out);
    expect(&out, "\"Body\":\"kept\"");
    EVENTS("ListTargetsByRule", "{\"Rule\":\"r\"}");
    expect(&out, FUNCTION_ARN("f"));
    EVENTS("PutEvents", PUT);
    wait_for_lines(file, 4); /* one after the other: once it is there, those before it are done with */
    embedded_close(&e);
    embedded_open(&e, &options);
    EVENTS("PutEvents", PUT);
    for (int i = 0; i < 12000 && lines_of(file) < 5;
         i++) /* the fourth may come again: its end was not awaited */
        (void)usleep(10000);
    read_file(file, &text);
    const char *line = text.ptr;
    for (int i = 0; i < 3; i++, line = strchr(line, '\n') + 1) {
        size_t len = (size_t)(strchr(line, '\n') - line);
        assert_int_equal(
            tr_view_find(tr_buf_view(&text), tr_view_of(line, len), (size_t)(line - text.ptr) + len),
            SIZE_MAX);
    }
    assert_true(lines_of(file) >= 5);
    tr_buf_done(&text);
    embedded_close(&e);
    tr_buf_done(&out);
    remove_tree(dir);
}

/* A command that a rule names by a function's ARN gets the event. */
static void command(void **state)
{
    embedded e;
    tr_buf out;
    char dir[] = "/tmp/tailrace-bus-XXXXXX", target[128], file[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof file, "%s/out", dir);
    (void)snprintf(target, sizeof target, "exec-each:(cat; echo) >> %s", file);
    tr_server_function function = {.name = "f", .target = target};
    tr_server_options options = {.functions = &function, .function_count = 1};
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, &options);
    EVENTS("PutRule", RULE);
    EVENTS("PutTargets", "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" FUNCTION_ARN(
                             "f") "\",\"Input\":\"{\\\"a\\\":1}\"}]}");
    EVENTS("PutEvents", PUT);
    EVENTS("PutEvents", PUT);
    wait_for_lines(file, 2);
    embedded_close(&e);
    tr_buf_done(&out);
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_to_queue), cmocka_unit_test(refusals), cmocka_unit_test(dead_letters),
        cmocka_unit_test(restart),       cmocka_unit_test(command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
