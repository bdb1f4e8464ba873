/* SPDX-License-Identifier: MIT */
/* How deliveries are made: functions and their failures, order, rate, settings of a target. */
#include "bus_test.h"

typedef struct place {
    char dir[32], file[64], target[512];
} place;

static void make_place(place *p, const char *command)
{
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/tailrace-bus-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->file, sizeof p->file, "%s/out", p->dir);
    (void)snprintf(p->target, sizeof p->target, command, p->dir, p->dir, p->dir);
}

static void put_rule(tr_client *client, const char *more, tr_buf *out)
{
    char body[1024];
    call(client, TR_EVENTS, "PutRule", RULE, out);
    (void)snprintf(body, sizeof body,
                   "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" FUNCTION_ARN("f") "\"%s}]}", more);
    call(client, TR_EVENTS, "PutTargets", body, out);
    expect(out, "\"FailedEntryCount\":0");
}

static void put_keyed(tr_client *client, const char *key, int n, tr_buf *out)
{
    char body[512];
    (void)snprintf(
        body, sizeof body,
        "{\"Entries\":[{\"Source\":\"s\",\"DetailType\":\"t\",\"Detail\":\"{\\\"key\\\":\\\"%s\\\","
        "\\\"n\\\":%d}\"}]}",
        key, n);
    call(client, TR_EVENTS, "PutEvents", body, out);
}

/* The environment of a function names this server, never AWS. */
static void functions_find_the_server(void **state)
{
    embedded e;
    tr_buf out, text;
    place p;
    const char *const listen[] = {"127.0.0.1:0"}, *const environment[] = {"TABLE=orders"};
    (void)state;
    assert_int_equal(setenv("AWS_PROFILE", "real", 1), 0); /* would lead to real credentials */
    make_place(&p, "exec-each:env | grep -E '^(AWS_ENDPOINT_URL|AWS_PROFILE|IS_OFFLINE|TABLE|AWS_REGION)=' | "
                   "sort > %s/new; "
                   "mv %s/new %s/out");
    tr_server_function function = {
        .name = "f", .target = p.target, .environment = environment, .environment_count = 1};
    tr_server_options options = {.listen = listen,
                                 .listen_count = 1,
                                 .functions = &function,
                                 .function_count = 1,
                                 .region = "eu-west-3"};
    char wanted[256];
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, &options);
    call(e.client, TR_EVENTS, "PutRule", RULE, &out);
    EVENTS("PutTargets", "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" FUNCTION_ARN("f") "\"}]}");
    EVENTS("PutEvents", PUT);
    wait_for_lines(p.file, 4);
    (void)snprintf(wanted, sizeof wanted,
                   "AWS_ENDPOINT_URL=%s\nAWS_REGION=eu-west-3\nIS_OFFLINE=true\nTABLE=orders\n",
                   tr_server_address(e.server, 0));
    read_file(p.file, &text);
    assert_string_equal(text.ptr, wanted);
    tr_buf_done(&text);
    tr_buf_done(&out);
    embedded_close(&e);
    remove_tree(p.dir);
}

/* A process that stays is given a line with a number of its own around the event. */
static void a_process_that_stays_answers_by_number(void **state)
{
    embedded e;
    tr_buf out, text;
    place p;
    (void)state;
    make_place(&p, "exec:while read -r line; do echo \"$line\" >> %s/out; id=${line#*:}; "
                   "echo \"{\\\"id\\\":${id%%%%,*}}\"; done");
    tr_server_function function = {.name = "f", .target = p.target};
    tr_server_options options = {.functions = &function, .function_count = 1};
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, &options);
    put_rule(e.client, "", &out);
    for (int i = 0; i < 3; i++)
        EVENTS("PutEvents", PUT);
    wait_for_lines(p.file, 3);
    read_file(p.file, &text);
    expect(&text, "{\"id\":1,\"event\":{\"version\":\"0\",\"id\":\"");
    expect(&text, "{\"id\":3,\"event\":{\"version\":\"0\",\"id\":\"");
    tr_buf_done(&text);
    tr_buf_done(&out);
    embedded_close(&e);
    remove_tree(p.dir);
}

/* What a function fails to handle goes to the function that its on_failure names, as Lambda's record; and to
 * a queue in a file. */
static void failures_reach_their_destination(void **state)
{
    embedded e;
    tr_buf out, text;
    place p;
    (void)state;
    make_place(&p, "exec-each:cat > %s/last; exit 3");
    char keep[128], records[64], sink[128];
    (void)snprintf(records, sizeof records, "%s/records", p.dir);
    (void)snprintf(keep, sizeof keep, "file:%s", records);
    (void)snprintf(sink, sizeof sink, "file:%s/sink", p.dir);
    tr_server_function functions[] = {{.name = "f", .target = p.target, .on_failure = "keep"},
                                      {.name = "keep", .target = keep}};
    tr_server_options options = {.functions = functions,
                                 .function_count = 2,
                                 .bus_retry_base_ms = 1,
                                 .bus_retry_fixed = true,
                                 .bus_limit_retries = true,
                                 .bus_retries = 2};
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, &options);
    put_rule(e.client, "", &out);
    EVENTS("PutEvents", PUT);
    wait_for_lines(records, 1);
    read_file(records, &text);
    expect(&text, "{\"version\":\"1.0\",\"timestamp\":\"");
    expect(&text,
           "\"functionArn\":\"" FUNCTION_ARN(
               "f:$LATEST") "\",\"condition\":\"RetriesExhausted\","
                            "\"approximateInvokeCount\":3},\"requestPayload\":{\"version\":\"0\",\"id\":\"");
    expect(&text,
           "\"detail\":{\"log\":\"users\",\"type\":\"signup\"}},\"responseContext\":{\"statusCode\":200,"
           "\"executedVersion\":\"$LATEST\",\"functionError\":\"Unhandled\"},\"responsePayload\":{"
           "\"errorType\":\"");
    tr_buf_done(&text);
    embedded_close(&e);
    functions[0].on_failure = sink;
    embedded_open(&e, &options);
    put_rule(e.client, "", &out);
    EVENTS("PutEvents", PUT);
    EVENTS("PutEvents", PUT);
    wait_for_lines(sink + 5, 2);
    embedded_close(&e);
    functions[0].on_failure = "f";
    tr_error err;
    assert_int_equal(tr_server_new(&options, &e.server, &err), TR_EINVAL);
    assert_string_equal(err.message, "function f cannot be its own failure destination");
    tr_buf_done(&out);
    remove_tree(p.dir);
}

/* Queues, buses and tables are this server's own, by name or ARN; what is not there yet is waited for,
 * however few the retries. */
static void failures_wait_for_where_they_go(void **state)
{
    static const char *const arns[] = {"bus:fails", "arn:aws:sqs:us-east-1:000000000000:fails",
                                       "table:fails"};
    tr_server_function functions[] = {{.name = "bus", .target = "exec-each:exit 3", .on_failure = arns[0]},
                                      {.name = "queue", .target = "exec-each:exit 3", .on_failure = arns[1]},
                                      {.name = "table", .target = "exec-each:exit 3", .on_failure = arns[2]}};
    const tr_server_options options = {.functions = functions,
                                       .function_count = TR_COUNT(functions),
                                       .bus_retry_base_ms = 20,
                                       .bus_retry_fixed = true,
                                       .bus_limit_retries = true,
                                       .bus_retries = 0};
    embedded e;
    tr_buf out;
    (void)state;
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, &options);
    EVENTS("PutRule", RULE);
    EVENTS("PutTargets", "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"2\",\"Arn\":\"" FUNCTION_ARN(
                             "queue") "\"},{\"Id\":\"3\",\"Arn\":\"" FUNCTION_ARN("table") "\"}]}");
    EVENTS("PutEvents", PUT);
    (void)usleep(200000); /* they have likely failed by now, and found nothing; if not, nothing is lost */
    SQS("CreateQueue", "{\"QueueName\":\"fails\"}");
    embedded_call(
        e.client, "CreateTable",
        "{\"TableName\":\"fails\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":[{"
        "\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],\"KeySchema\":[{\"AttributeName\":\"id\","
        "\"KeyType\":\"HASH\"}]}",
        &out);
    /* a bus without its rule would take the event and forget it: it is there before the failure */
    SQS("CreateQueue", "{\"QueueName\":\"seen\"}");
    EVENTS("CreateEventBus", "{\"Name\":\"fails\"}");
    EVENTS("PutRule", "{\"Name\":\"f\",\"EventBusName\":\"fails\",\"EventPattern\":\"{\\\"source\\\":["
                      "\\\"lambda\\\"]}\"}");
    EVENTS("PutTargets", "{\"Rule\":\"f\",\"EventBusName\":\"fails\",\"Targets\":[{\"Id\":\"1\",\"Arn\":"
                         "\"arn:aws:sqs:us-east-1:000000000000:seen\"}]}");
    EVENTS("PutTargets", "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" FUNCTION_ARN("bus") "\"}]}");
    EVENTS("PutEvents", PUT);
    SQS("ReceiveMessage", "{\"QueueUrl\":\"fails\",\"WaitTimeSeconds\":20}");
    expect(&out, "\\\"condition\\\":\\\"RetriesExhausted\\\",\\\"approximateInvokeCount\\\":1}");
    SQS("ReceiveMessage", "{\"QueueUrl\":\"seen\",\"WaitTimeSeconds\":20}");
    expect(&out, "\\\"detail-type\\\":\\\"Lambda Function Invocation Result - Failure\\\"");
    tr_buf_reset(&out);
    for (int i = 0; i < 6000 && !has(&out, "\"Count\":1") && !has(&out, "\"Count\":2"); i++) {
        (void)usleep(10000);
        call(e.client, TR_DYNAMODB, "Scan", "{\"TableName\":\"fails\"}", &out);
    }
    expect(&out, "\"source\":{\"S\":\"table\"}");
    expect(&out, "\"attempts\":{\"N\":\"1\"}");
    embedded_close(&e);
    tr_buf_done(&out);
}

/* Events with one key are handled in their order, although each fails once and many run at a time. */
static void order_is_kept_per_key(void **state)
{
    enum { KEYS = 3, EACH = 8 };
    embedded e;
    tr_buf out, text;
    place p;
    (void)state;
    make_place(&p,
               "exec-each:cd %s; line=$(sed 's/.*\"key\":\"\\([a-z]*\\)\",\"n\":\\([0-9]*\\).*/\\1\\2/'); "
               "mkdir seen-$line 2>/dev/null && exit 1; echo $line >> out");
    tr_server_function function = {.name = "f", .target = p.target, .concurrency = 4};
    tr_server_options options = {.functions = &function, .function_count = 1, .bus_retry_base_ms = 5};
    static const char *const keys[KEYS] = {"a", "b", "c"};
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, &options);
    put_rule(e.client,
             ",\"Delivery\":{\"OrderBy\":\"$.detail.key\",\"RetryDelayMs\":5,\"RetryMaxDelayMs\":30}", &out);
    for (int n = 0; n < EACH; n++)
        for (int k = 0; k < KEYS; k++)
            put_keyed(e.client, keys[k], n, &out);
    wait_for_lines(p.file, KEYS * EACH);
    read_file(p.file, &text);
    int next[KEYS] = {0};
    for (const char *at = text.ptr; *at; at = strchr(at, '\n') + 1)
        assert_int_equal(atoi(at + 1), next[at[0] - 'a']++);
    tr_buf_done(&text);
    tr_buf_done(&out);
    embedded_close(&e);
    remove_tree(p.dir);
}

/* A rate holds events back; what has no key at the path is in no order. */
static void rates_hold_back(void **state)
{
    embedded e;
    tr_buf out;
    place p;
    (void)state;
    make_place(&p, "file:%s/out");
    tr_server_function function = {.name = "f", .target = p.target};
    tr_server_options options = {.functions = &function, .function_count = 1};
    tr_buf_init(&out, 1 << 20);
    embedded_open(&e, &options);
    put_rule(e.client, ",\"Delivery\":{\"RatePerSecond\":20,\"OrderBy\":\"$.detail.nowhere\"}", &out);
    int64_t began = tr_clock_mono_ms();
    for (int i = 0; i < 12; i++)
        put_keyed(e.client, "a", i, &out);
    wait_for_lines(p.file, 12);
    assert_true(tr_clock_mono_ms() - began >= 450); /* eleven pauses of 50 ms, less 50 ms of grace twice */
    refused(e.client, TR_EVENTS, "PutTargets",
            "{\"Rule\":\"r\",\"Targets\":[{\"Id\":\"1\",\"Arn\":\"" FUNCTION_ARN(
                "f") "\",\"Delivery\":{\"OrderBy\":\"detail\"}}]}",
            "ValidationException", "OrderBy of target 1 is not a path such as $.detail.key.pk.");
    tr_buf_done(&out);
    embedded_close(&e);
    remove_tree(p.dir);
}

/* 256 KB are the limit of a PutEvents request, up to 1 MB where it is set so. */
static void put_events_size_is_a_setting(void **state)
{
    embedded e;
    tr_buf out, body;
    tr_server_options options = {.put_events_bytes = 1024 * 1024};
    (void)state;
    tr_buf_init(&out, 1 << 22);
    tr_buf_init(&body, 1 << 22);
    tr_buf_put_str(&body,
                   "{\"Entries\":[{\"Source\":\"s\",\"DetailType\":\"t\",\"Detail\":\"{\\\"x\\\":\\\"");
    for (int i = 0; i < 900 * 1024; i++)
        tr_buf_putc(&body, 'x');
    tr_buf_put_str(&body, "\\\"}\"}]}");
    embedded_open(&e, NULL);
    refused(e.client, TR_EVENTS, "PutEvents", tr_buf_cstr(&body), "ValidationException",
            "Total size of the entries in the request is over the limit.");
    embedded_close(&e);
    embedded_open(&e, &options);
    EVENTS("PutEvents", tr_buf_cstr(&body));
    expect(&out, "\"FailedEntryCount\":0");
    embedded_close(&e);
    options.put_events_bytes++;
    tr_error err;
    assert_int_equal(tr_server_new(&options, &e.server, &err), TR_EINVAL);
    tr_buf_done(&out);
    tr_buf_done(&body);
}

/* Each event would come back 20 times, each of these 20 times, and so on. */
static void buses_that_lead_in_circles_are_left(void **state)
{
    embedded e;
    tr_buf out, body;
    (void)state;
    tr_buf_init(&out, 1 << 20);
    tr_buf_init(&body, 1 << 20);
    embedded_open(&e, NULL);
    SQS("CreateQueue", "{\"QueueName\":\"q\"}");
    for (int rule = 0; rule < 4; rule++) {
        tr_buf_reset(&body);
        tr_buf_printf(&body, "{\"Name\":\"r%d\",\"EventPattern\":\"{\\\"source\\\":[\\\"s\\\"]}\"}", rule);
        EVENTS("PutRule", tr_buf_cstr(&body));
        tr_buf_reset(&body);
        tr_buf_printf(&body, "{\"Rule\":\"r%d\",\"Targets\":[", rule);
        for (int target = 0; target < 5; target++)
            tr_buf_printf(&body, "%s{\"Id\":\"%d\",\"Arn\":\"%s\",\"DeadLetterConfig\":{\"Arn\":\"%s\"}}",
                          target ? "," : "", target, BUS_ARN("default"), QUEUE_ARN("q"));
        tr_buf_put_str(&body, "]}");
        EVENTS("PutTargets", tr_buf_cstr(&body));
    }
    EVENTS("PutEvents", PUT);
    expect(&out, "\"FailedEntryCount\":0");
    receive(e.client, "q", &out);
    expect(&out, "THIRD_ACCOUNT_HOP_DETECTED");
    EVENTS("PutEvents", PUT); /* each event anew */
    expect(&out, "\"FailedEntryCount\":0");
    tr_buf_done(&out);
    tr_buf_done(&body);
    embedded_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_find_the_server),
        cmocka_unit_test(a_process_that_stays_answers_by_number),
        cmocka_unit_test(failures_reach_their_destination),
        cmocka_unit_test(failures_wait_for_where_they_go),
        cmocka_unit_test(order_is_kept_per_key),
        cmocka_unit_test(rates_hold_back),
        cmocka_unit_test(put_events_size_is_a_setting),
        cmocka_unit_test(buses_that_lead_in_circles_are_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
