/* SPDX-License-Identifier: MIT */
/* What tailrace.yaml and serverless.yml become. */
#include "../test.h"

#include "cli/project/project.h"

#include <stdlib.h>
#include <unistd.h>

static char file[64];

static void write_as(const char *name, const char *text)
{
    (void)snprintf(file, sizeof file, "/tmp/tailrace-XXXXXX");
    assert_non_null(mkdtemp(file));
    (void)snprintf(file + strlen(file), sizeof file - strlen(file), "/%s", name);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void forget(void)
{
    (void)unlink(file);
    *strrchr(file, '/') = 0;
    (void)rmdir(file);
}

static tr_project *must_read(const char *name, const char *text, const char *stage)
{
    tr_project *p = NULL;
    tr_error err = {0};
    write_as(name, text);
    if (tr_project_read(file, stage, &p, &err))
        fail_msg("%s", err.message);
    forget();
    return p;
}

/* The message behind "FILE:". */
static void refused(const char *text, const char *message)
{
    tr_project *p = NULL;
    tr_error err = {0};
    write_as("tailrace.yaml", text);
    assert_int_not_equal(tr_project_read(file, NULL, &p, &err), 0);
    assert_null(p);
    assert_true(strncmp(err.message, file, strlen(file)) == 0);
    assert_string_equal(err.message + strlen(file) + 1, message);
    forget();
}

static void a_project_is_read(void **state)
{
    (void)state;
    assert_int_equal(setenv("TRY_NAME", "t", 1), 0);
    tr_project *p = must_read(
        "tailrace.yaml",
        "name: shop\n"
        "data: ./data\n"
        "listen: [127.0.0.1:8000, '127.0.0.1:4010']\n"
        "tables:\n"
        "  ${stage}-orders:\n"
        "    key: { id: S, at: N }\n"
        "    indexes: { byAt: { key: { at: N }, projection: [a, b] } }\n"
        "    stream: new-image\n"
        "    tags: { a: '1' }\n"
        "buses: [b]\nqueues: dead\n"
        "archives: { x: { bus: b, pattern: { n: [1, '1', null, true] }, retention-days: 3 } }\n"
        "functions:\n"
        "  f: { handler: src/f.handler, environment: { TABLE: '${env:TRY_NAME}' }, timeout: 3s }\n"
        "  g: { exec-each: cat, on-failure: f }\n"
        "rules:\n"
        "  r:\n"
        "    bus: b\n"
        "    pattern: { source: [s] }\n"
        "    targets: [{ function: f, order-by: $.detail.k, retries: 0 },\n"
        "              { queue: dead, id: q, input: { a: 1 } }]\n"
        "mappings: { m: { table: '${stage}-orders', function: g, batch-size: 7, filters: { a: [1] } } }\n"
        "pipes: { p: { table: t, bus: b, batch-window: 2s } }\n"
        "delivery: { retries: 5, retry-delay: 1s }\n",
        "dev");
    assert_string_equal(p->tables->name, "dev-orders");
    assert_string_equal(
        p->tables->members,
        "{\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"at\","
        "\"KeyType\":\"RANGE\"}],\"GlobalSecondaryIndexes\":[{\"IndexName\":\"byAt\",\"KeySchema\":[{"
        "\"AttributeName\":\"at\",\"KeyType\":\"HASH\"}],\"Projection\":{\"ProjectionType\":\"INCLUDE\","
        "\"NonKeyAttributes\":[\"a\",\"b\"]}}],\"AttributeDefinitions\":[{\"AttributeName\":\"id\","
        "\"AttributeType\":\"S\"},{\"AttributeName\":\"at\",\"AttributeType\":\"N\"}]}");
    assert_string_equal(p->tables->stream, "NEW_IMAGE");
    assert_string_equal(p->tables->tags->value, "1");
    assert_string_equal(p->listen->next->text, "127.0.0.1:4010");
    assert_string_equal(p->queues->text, "dead");
    assert_string_equal(p->archives->pattern, "{\"n\":[1,\"1\",null,true]}");
    assert_string_equal(p->functions->target, "handler:src/f.handler");
    assert_string_equal(p->functions->environment->value, "t");
    assert_int_equal(p->functions->timeout_ms, 3000);
    assert_string_equal(p->functions->next->on_failure, "f");
    assert_int_equal(p->rules->targets->retries, 0);
    assert_string_equal(p->rules->targets->next->input, "{\"a\":1}");
    assert_int_equal(p->rules->targets->next->retries, -1);
    assert_string_equal(p->mappings->table, "dev-orders");
    assert_string_equal(p->mappings->filters->text, "{\"a\":[1]}");
    assert_int_equal(p->mappings->retries, -1);
    assert_int_equal(p->pipes->window_ms, 2000);
    assert_int_equal(p->retries, 5);
    tr_project_free(p);
}

static void mistakes_are_told_with_their_line(void **state)
{
    (void)state;
    refused("name: a\ntabels: {}\n", "2: the file: unknown key 'tabels'; did you mean 'tables'?");
    refused("zzzz: 1\ntables: {}\n", "1: the file: unknown key 'zzzz'; there are name, stage, endpoint, "
                                     "data, region, profile, listen, cors, "
                                     "stream-shards, shard-lifetime, iterator-lifetime, stream-retention, "
                                     "put-events-bytes, delivery, tables, "
                                     "bucket, buses, queues, archives, functions, rules, mappings, pipes");
    refused("functions:\n  f: { handler: a.b, concurency: 2 }\n",
            "2: function f: unknown key 'concurency'; did you mean 'concurrency'?");
    refused("functions: { f: { handler: a.b, exec: c } }\n",
            "1: function f: one of handler, exec, exec-each, url, file and stdout, not several");
    refused("rules:\n  r:\n    pattern: { a: [1] }\n    targets: [{ function: trigger }]\nfunctions: { "
            "triger: { exec: a } }\n",
            "3: there is no function 'trigger'; did you mean 'triger'?");
    refused("rules:\n  r:\n    pattern: { source: shop }\n    targets: [{ function: f }]\n",
            "3: rule r: Event pattern is not valid. Reason: \"source\" must be an object or an array");
    refused("archives:\n  a: { pattern: { n: [{ nope: 1 }] } }\n",
            "2: archive a: Event pattern is not valid. Reason: Unrecognized match type nope");
    refused("mappings:\n  m: { table: t, function: f, filters: [{ a: 1 }] }\n",
            "2: filters: Invalid filter pattern definition. Reason: \"a\" must be an object or an array");
    refused("mappings: { m: { table: t, function: f, batch-size: many } }\n",
            "1: batch-size is a number from 1 to 10000, not 'many'");
    refused("delivery:\n  retry-delay: soon\n",
            "2: retry-delay is a duration such as 500ms, 90s, 15m, 4h or 7d, not 'soon'");
    refused("region: ${oops}\n", "1: ${oops} is neither ${stage} nor ${env:NAME}");
    refused("region: ${env:NOT_SET_ANYWHERE}\n", "1: there is no NOT_SET_ANYWHERE in the environment");
    refused("a: [\n", "2: did not find expected node content, while parsing a flow node");
    refused("", " the file is empty");
    refused("endpoint: a\ndata: b\n", "2: endpoint and data exclude each other");
    refused("tables: { t: { key: { a: X } } }\n", "1: a key attribute is S, N or B, not 'X'");
    refused("name: &a [*a]\n", "1: a text is needed here");
    refused("archives: { a: { pattern: &x [*x] } }\n", "1: nested too deeply, or too much of it");
}

/* No tailrace.yaml is no mistake, unless one is named. */
static void a_file_that_is_missing(void **state)
{
    (void)state;
    tr_project *p;
    tr_error err = {0};
    assert_int_equal(tr_project_read("/nowhere/tailrace.yaml", NULL, &p, &err), TR_ENOTFOUND);
    assert_string_equal(err.message, "/nowhere/tailrace.yaml: No such file or directory");
    assert_int_equal(setenv("TAILRACE_CONFIG", "/nowhere/x.yaml", 1), 0);
    assert_int_equal(tr_project_find(&p, &err), TR_ENOTFOUND);
    assert_int_equal(unsetenv("TAILRACE_CONFIG"), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(tr_project_find(&p, &err), 0);
    assert_null(p);
}

static const char serverless[] =
    "service: logs\n"
    "plugins: [serverless-offline, serverless-webpack]\n"
    "provider:\n"
    "  name: aws\n"
    "  runtime: nodejs18.x\n"
    "  region: eu-west-1\n"
    "  stage: ${opt:stage, 'local'}\n"
    "  environment: { LOGS: '${self:custom.logs}', CORE: !Ref Core }\n"
    "  iam: { role: x }\n"
    "custom:\n"
    "  logs: ${sls:stage}-dynamodb-logs\n"
    "  serverless-offline-aws-eventbridge: { port: 4011, retryDelayMs: 10, imported-event-buses: {} }\n"
    "functions:\n"
    "  trigger:\n"
    "    handler: src/trigger.handler\n"
    "    events:\n"
    "      - stream: { type: dynamodb, arn: !GetAtt Logs.StreamArn, batchSize: 25, batchWindow: 1,\n"
    "                  bisectBatchOnFunctionError: true, startingPosition: LATEST, parallelizationFactor: 4 "
    "}\n"
    "      - http: { path: a }\n"
    "  users:\n"
    "    handler: src/users.handler\n"
    "    reservedConcurrency: 1\n"
    "    memorySize: 128\n"
    "    environment: { MORE: '1' }\n"
    "    destinations: { onFailure: retry }\n"
    "    events:\n"
    "      - eventBridge: { eventBus: { 'Fn::GetAtt': [Bus, Arn] }, pattern: { source: [dynamodb-log] } }\n"
    "  retry: { handler: src/retry.handler }\n"
    "resources:\n"
    "  Resources:\n"
    "    Logs:\n"
    "      Type: AWS::DynamoDB::Table\n"
    "      Properties:\n"
    "        TableName: ${self:custom.logs}\n"
    "        KeySchema: [{ AttributeName: pk, KeyType: HASH }]\n"
    "        AttributeDefinitions: [{ AttributeName: pk, AttributeType: S }]\n"
    "        StreamSpecification: { StreamViewType: NEW_AND_OLD_IMAGES }\n"
    "        TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }\n"
    "    Core: { Type: 'AWS::DynamoDB::Table', Properties: { TableName: '${sls:stage}-core' } }\n"
    "    Bus: { Type: 'AWS::Events::EventBus', Properties: { Name: dynamodb-log } }\n"
    "    Archive:\n"
    "      Type: AWS::Events::Archive\n"
    "      Properties: { ArchiveName: dynamodb-logs-archive, SourceArn: !GetAtt Bus.Arn, RetentionDays: 0 }\n"
    "    Bucket: { Type: 'AWS::S3::Bucket' }\n";

static void a_serverless_file_is_read(void **state)
{
    (void)state;
    tr_project *p = must_read("serverless.yml", serverless, NULL);
    assert_true(p->serverless);
    assert_string_equal(p->stage, "local");
    assert_string_equal(p->region, "eu-west-1");
    assert_string_equal(p->tables->name, "local-dynamodb-logs");
    assert_string_equal(p->tables->stream, "NEW_AND_OLD_IMAGES");
    assert_string_equal(p->tables->ttl, "ttl");
    assert_string_equal(p->tables->members,
                        "{\"AttributeDefinitions\":[{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"}],"
                        "\"KeySchema\":[{\"AttributeName\":\"pk\",\"KeyType\":\"HASH\"}]}");
    assert_string_equal(p->buses->text, "dynamodb-log");
    assert_null(p->buses->next);
    assert_string_equal(p->archives->bus, "dynamodb-log");
    assert_string_equal(p->mappings->table, "local-dynamodb-logs");
    assert_int_equal(p->mappings->batch_size, 25);
    assert_int_equal(p->mappings->window_ms, 1000);
    assert_int_equal(p->mappings->parallelism, 4);
    assert_true(p->mappings->bisect);
    assert_string_equal(p->rules->bus, "dynamodb-log");
    assert_string_equal(p->rules->name, "users-rule-1");
    assert_string_equal(p->rules->targets->to, "users");
    const tr_project_function *users = p->functions->next;
    assert_string_equal(users->on_failure, "retry");
    assert_string_equal(users->environment->value, "local-dynamodb-logs");
    assert_string_equal(users->environment->next->value, "local-core");
    assert_string_equal(users->environment->next->next->name, "MORE");
    assert_int_equal(p->retries, 5);
    assert_int_equal(p->retry_delay_ms, 10);
    assert_string_equal(p->listen->next->text, "127.0.0.1:4011");
    static const char *const ignored[] = {"custom.serverless-offline-aws-eventbridge.imported-event-buses",
                                          "resources.Resources.Bucket (AWS::S3::Bucket)",
                                          "functions.trigger.events.http",
                                          "functions.users.memorySize",
                                          "plugins.serverless-webpack",
                                          "provider.iam"};
    for (size_t i = 0; i < TR_COUNT(ignored); i++)
        if (!tr_project_has(p->ignored, ignored[i]))
            fail_msg("%s was not named", ignored[i]);
    tr_project_free(p);
    p = must_read("serverless.yml", serverless, "prod");
    assert_string_equal(p->tables->name, "prod-dynamodb-logs");
    tr_project_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_project_is_read),
        cmocka_unit_test(mistakes_are_told_with_their_line),
        cmocka_unit_test(a_file_that_is_missing),
        cmocka_unit_test(a_serverless_file_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
