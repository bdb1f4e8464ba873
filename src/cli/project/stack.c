/* SPDX-License-Identifier: MIT */
#include "cli/project/stack_write.h"
#include "eventstore/schema.h"

#include <tailrace/failure.h>

#include <tailrace/json.h>

#include <stdio.h>

#define TEMPLATE_MAX ((size_t)4 << 20) /* ours; CloudFormation takes 1 MB from S3 */

/* ---------------------------------------------------------------------------- tables, buses, archives … */

static void put_table(tr__stack *s, const tr_project_table *t)
{
    tr__stack_begin_resource(s, t->name, "Table", "AWS::DynamoDB::Table");
    tr__stack_text(s, "TableName", t->name);
    tr__stack_text(s, "BillingMode", "PAY_PER_REQUEST");
    size_t len = strlen(t->members);
    if (len > 2) {
        tr_json_sep(&s->w);
        tr_buf_put(s->w.out, t->members + 1, len - 2);
    }
    if (t->stream) {
        tr__stack_object(s, "StreamSpecification");
        tr__stack_text(s, "StreamViewType", t->stream);
        tr__stack_end(s);
    }
    if (t->ttl) {
        tr__stack_object(s, "TimeToLiveSpecification");
        tr__stack_text(s, "AttributeName", t->ttl);
        tr_json_member_bool(&s->w, "Enabled", true);
        tr__stack_end(s);
    }
    if (t->guarded) {
        tr__stack_object(s, "SSESpecification");
        tr_json_member_bool(&s->w, "SSEEnabled", true);
        tr__stack_end(s);
        tr__stack_object(s, "PointInTimeRecoverySpecification");
        tr_json_member_bool(&s->w, "PointInTimeRecoveryEnabled", true);
        tr__stack_end(s);
    }
    if (t->tags) {
        tr_json_name(&s->w, "Tags");
        tr_json_begin_array(&s->w);
        for (const tr_project_pair *tag = t->tags; tag; tag = tag->next) {
            tr__stack_object(s, NULL);
            tr__stack_text(s, "Key", tag->name);
            tr__stack_text(s, "Value", tag->value);
            tr__stack_end(s);
        }
        tr_json_end_array(&s->w);
    }
    tr__stack_end_resource(s);
}

static void put_bus(tr__stack *s, const char *name)
{
    tr__stack_begin_resource(s, name, "Bus", "AWS::Events::EventBus");
    tr__stack_text(s, "Name", name);
    tr__stack_end_resource(s);
}

/* A queue, and that rules may send to it. */
static void put_queue(tr__stack *s, const char *name)
{
    tr__stack_begin_resource(s, name, "Queue", "AWS::SQS::Queue");
    tr__stack_text(s, "QueueName", name);
    tr__stack_end_resource(s);
    tr__stack_begin_resource(s, name, "QueuePolicy", "AWS::SQS::QueuePolicy");
    tr_json_name(&s->w, "Queues");
    tr_json_begin_array(&s->w);
    tr__stack_value_of(s, name, "Queue", NULL);
    tr_json_end_array(&s->w);
    tr__stack_begin_policy(s, "PolicyDocument");
    tr__stack_statement(s, "sqs:SendMessage", "events.amazonaws.com");
    tr__stack_refer(s, "Resource", name, "Queue", "Arn");
    tr__stack_object(s, "Condition");
    tr__stack_object(s, "StringEquals");
    tr__stack_sub(s, "aws:SourceAccount", "%s", "${AWS::AccountId}");
    tr__stack_end(s);
    tr__stack_end(s);
    tr__stack_end(s);
    tr__stack_end_policy(s);
    tr__stack_end_resource(s);
}

static void put_archive(tr__stack *s, const tr_project_archive *a)
{
    tr__stack_begin_resource(s, a->name, "Archive", "AWS::Events::Archive");
    tr__stack_text(s, "ArchiveName", a->name);
    tr__stack_bus_arn(s, "SourceArn", a->bus);
    tr__stack_json(s, "EventPattern", a->pattern);
    tr__stack_text(s, "Description", a->description);
    tr__stack_number(s, "RetentionDays", a->retention_days);
    tr__stack_end_resource(s);
}

/* ------------------------------------------------------------------------------------------- functions */

static const char *runtime_of(const tr__stack *s, const tr_project_function *f)
{
    char path[2048];
    const char *module = tr__stack_module_of(f), *dot = strrchr(module, '.');
    if (f->runtime)
        return f->runtime;
    (void)snprintf(path, sizeof path, "%s/%s/%.*s.py", s->p->directory, f->directory ? f->directory : ".",
                   dot ? (int)(dot - module) : 0, module);
    FILE *file = fopen(path, "r");
    if (file)
        (void)fclose(file);
    return file ? "python3.12" : "nodejs22.x";
}

/* Who is given failures: a function, queue or bus of the project, by its name or ARN, and which of these;
 * NULL: nobody that AWS could. */
static const char *destination_of(tr__stack *s, const char *to, const char **ret_kind)
{
    tr_failure_place place = {.kind = TR_FAILURE_LAMBDA, .name = to ? tr_view_str(to) : (tr_view){NULL, 0}};
    tr_error why;
    if (!to)
        return NULL;
    if (!tr_project_function_of(s->p, to) && tr_failure_parse(to, &place, &why))
        return NULL;
    const char *name = tr_arena_str(&s->p->arena, place.name);
    const tr_project_function *f = name ? tr_project_function_of(s->p, name) : NULL;
    *ret_kind = place.kind == TR_FAILURE_LAMBDA  ? "Function"
                : place.kind == TR_FAILURE_QUEUE ? "Queue"
                                                 : "Bus";
    if (place.kind == TR_FAILURE_LAMBDA)
        return f && tr__stack_module_of(f) ? name : NULL;
    if (place.kind == TR_FAILURE_QUEUE)
        return name && tr_project_has(s->p->queues, name) ? name : NULL;
    return place.kind == TR_FAILURE_BUS && name && tr_project_has(s->p->buses, name) ? name : NULL;
}

/* The names in a function's environment are what it may use. */
static bool names(const tr_project_function *f, const char *name)
{
    for (const tr_project_pair *pair = f->environment; pair; pair = pair->next)
        if (pair->value && strcmp(pair->value, name) == 0)
            return true;
    return false;
}

/* A statement of a role's policy, to be given its resource and ended. */
static void begin_allow(tr__stack *s, const char *actions)
{
    tr__stack_object(s, NULL);
    tr__stack_text(s, "Effect", "Allow");
    tr__stack_json(s, "Action", actions);
}

static void allow_logs(tr__stack *s, const char *name)
{
    begin_allow(s, "[\"logs:CreateLogStream\",\"logs:PutLogEvents\"]");
    tr__stack_refer(s, "Resource", name, "Logs", "Arn");
    tr__stack_end(s);
}

static void allow_table(tr__stack *s, const char *table)
{
    begin_allow(
        s,
        "[\"dynamodb:GetItem\",\"dynamodb:BatchGetItem\",\"dynamodb:Query\",\"dynamodb:PutItem\",\"dynamodb:"
        "UpdateItem\","
        "\"dynamodb:DeleteItem\",\"dynamodb:BatchWriteItem\",\"dynamodb:ConditionCheckItem\"]");
    tr_json_name(&s->w, "Resource");
    tr_json_begin_array(&s->w);
    tr__stack_table_arn(s, table);
    tr__stack_sub(s, NULL, "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/%s/index/*",
                  table);
    tr_json_end_array(&s->w);
    tr__stack_end(s);
}

static void allow_stream(tr__stack *s, const char *table)
{
    begin_allow(
        s, "[\"dynamodb:DescribeStream\",\"dynamodb:GetRecords\",\"dynamodb:GetShardIterator\",\"dynamodb:"
           "ListStreams\"]");
    if (tr_project_table_of(s->p, table))
        tr__stack_refer(s, "Resource", table, "Table", "StreamArn");
    else
        tr__stack_sub(s, "Resource",
                      "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/%s/stream/*",
                      table);
    tr__stack_end(s);
}

static void allow_destination(tr__stack *s, const char *to, const char *kind)
{
    tr__stack_statement(s,
                        kind[0] == 'Q'   ? "sqs:SendMessage"
                        : kind[0] == 'B' ? "events:PutEvents"
                                         : "lambda:InvokeFunction",
                        NULL);
    tr__stack_refer(s, "Resource", to, kind, "Arn");
    tr__stack_end(s);
}

static void put_logs(tr__stack *s, const char *name)
{
    char group[512];
    tr__stack_begin_resource(s, name, "Logs", "AWS::Logs::LogGroup");
    (void)snprintf(group, sizeof group, "/aws/lambda/%s-%s", tr_project_stack_name(s->p), name);
    tr__stack_text(s, "LogGroupName", group);
    tr__stack_number(s, "RetentionInDays", 30);
    tr__stack_end_resource(s);
}

/* A stream's failures go to a queue there; NULL: nowhere. */
static const char *mapping_queue(tr__stack *s, const tr_project_mapping *m)
{
    const char *kind = "", *to = destination_of(s, m->on_failure, &kind);
    return to && kind[0] == 'Q' ? to : NULL;
}

static void put_function_role(tr__stack *s, const tr_project_function *f, const char *to, const char *kind)
{
    tr__stack_begin_role(s, f->name, "Role", "lambda.amazonaws.com");
    allow_logs(s, f->name);
    for (const tr_project_table *t = s->p->tables; t; t = t->next)
        if (names(f, t->name))
            allow_table(s, t->name);
    for (const tr_project_text *b = s->p->buses; b; b = b->next)
        if (names(f, b->text))
            tr__stack_allow_bus(s, b->text);
    for (const tr_project_mapping *m = s->p->mappings; m; m = m->next)
        if (strcmp(m->function, f->name) == 0) {
            const char *queue = mapping_queue(s, m);
            allow_stream(s, m->table);
            if (queue)
                allow_destination(s, queue, "Queue");
        }
    if (to)
        allow_destination(s, to, kind);
    tr__stack_end_role(s);
}

static void function_name(tr__stack *s, const char *name)
{
    char full[512];
    (void)snprintf(full, sizeof full, "%s-%s", tr_project_stack_name(s->p), name);
    tr__stack_text(s, "FunctionName", full);
}

static void put_code(tr__stack *s, const tr_project_function *f)
{
    const char *at = tr_arena_printf(&s->p->arena, "%s", f->directory ? f->directory : ".");
    tr__stack_text(s, "Code", at);
}

static void put_environment(tr__stack *s, const tr_project_pair *pair)
{
    if (!pair)
        return;
    tr__stack_object(s, "Environment");
    tr__stack_object(s, "Variables");
    for (; pair; pair = pair->next) {
        tr_json_key(&s->w, tr_view_str(pair->name));
        tr_json_cstring(&s->w, pair->value);
    }
    tr__stack_end(s);
    tr__stack_end(s);
}

static void put_function(tr__stack *s, const tr_project_function *f)
{
    const char *kind, *to;
    if (!tr__stack_module_of(f)) {
        if (strncmp(f->target, "https://", 8) != 0) /* rules post to that there, too */
            tr__stack_leave_out(s, "function %s runs here only: it is %s", f->name, f->target);
        return;
    }
    to = destination_of(s, f->on_failure, &kind);
    if (f->on_failure && !to)
        tr__stack_leave_out(s, "function %s: its failures go to %s here only", f->name, f->on_failure);
    put_logs(s, f->name);
    put_function_role(s, f, to, kind);
    tr__stack_begin_resource(s, f->name, "Function", "AWS::Lambda::Function");
    function_name(s, f->name);
    tr__stack_text(s, "Handler", tr__stack_module_of(f));
    tr__stack_text(s, "Runtime", runtime_of(s, f));
    tr__stack_refer(s, "Role", f->name, "Role", "Arn");
    tr__stack_number(s, "Timeout", f->timeout_ms ? (f->timeout_ms + 999) / 1000 : 60);
    if (f->concurrency)
        tr__stack_number(s, "ReservedConcurrentExecutions", f->concurrency);
    put_environment(s, f->environment);
    put_code(s, f);
    tr__stack_end_resource(s);
    if (!to)
        return;
    tr__stack_begin_resource(s, f->name, "Failures", "AWS::Lambda::EventInvokeConfig");
    tr__stack_refer(s, "FunctionName", f->name, "Function", NULL);
    tr__stack_text(s, "Qualifier", "$LATEST");
    tr__stack_number(s, "MaximumRetryAttempts",
                     s->p->retries >= 0 && s->p->retries < 2 ? s->p->retries : 2); /* Lambda's most */
    tr__stack_object(s, "DestinationConfig");
    tr__stack_object(s, "OnFailure");
    tr__stack_refer(s, "Destination", to, kind, "Arn");
    tr__stack_end(s);
    tr__stack_end(s);
    tr__stack_end_resource(s);
}

/* ------------------------------------------------------------------------------------- mappings, pipes */

static void put_filters(tr__stack *s, const tr_project_text *filter)
{
    if (!filter)
        return;
    tr__stack_object(s, "FilterCriteria");
    tr_json_name(&s->w, "Filters");
    tr_json_begin_array(&s->w);
    for (; filter; filter = filter->next) {
        tr__stack_object(s, NULL);
        tr__stack_text(s, "Pattern", filter->text);
        tr__stack_end(s);
    }
    tr_json_end_array(&s->w);
    tr__stack_end(s);
}

static void put_source(tr__stack *s, const char *name, const char *function, const char *table,
                       const char *from)
{
    tr__stack_begin_resource(s, name, "Mapping", "AWS::Lambda::EventSourceMapping");
    tr__stack_refer(s, "FunctionName", function, "Function", NULL);
    tr__stack_refer(s, "EventSourceArn", table, "Table", "StreamArn");
    tr__stack_text(s, "StartingPosition",
                   from && strcmp(from, "trim-horizon") == 0 ? "TRIM_HORIZON" : "LATEST");
    tr__stack_json(s, "FunctionResponseTypes", "[\"ReportBatchItemFailures\"]");
}

static void put_mapping(tr__stack *s, const tr_project_mapping *m)
{
    const tr_project_function *f = tr_project_function_of(s->p, m->function);
    if (!f || !tr__stack_module_of(f)) {
        tr__stack_leave_out(s, "mapping %s: function %s is no handler, which a stream could be mapped to",
                            m->name, m->function);
        return;
    }
    if (!tr_project_table_of(s->p, m->table)) {
        tr__stack_leave_out(s, "mapping %s: table %s is not the project's, its stream's ARN is not known",
                            m->name, m->table);
        return;
    }
    put_source(s, m->name, m->function, m->table, m->from);
    tr__stack_number(s, "BatchSize", m->batch_size ? m->batch_size : 100);
    if (m->window_ms)
        tr__stack_number(s, "MaximumBatchingWindowInSeconds", (m->window_ms + 999) / 1000);
    if (m->parallelism)
        tr__stack_number(s, "ParallelizationFactor", m->parallelism);
    if (m->retries >= 0)
        tr__stack_number(s, "MaximumRetryAttempts", m->retries);
    if (m->record_age_ms)
        tr__stack_number(s, "MaximumRecordAgeInSeconds",
                         m->record_age_ms < 60000 ? 60 : m->record_age_ms / 1000);
    if (m->bisect)
        tr_json_member_bool(&s->w, "BisectBatchOnFunctionError", true);
    put_filters(s, m->filters);
    const char *queue = mapping_queue(s, m);
    if (queue) {
        tr__stack_object(s, "DestinationConfig");
        tr__stack_object(s, "OnFailure");
        tr__stack_refer(s, "Destination", queue, "Queue", "Arn");
        tr__stack_end(s);
        tr__stack_end(s);
    }
    tr__stack_end_resource(s);
    if (m->on_failure && !queue)
        tr__stack_leave_out(
            s, "mapping %s: AWS sends failures of streams to queues, topics and buckets, not to %s", m->name,
            m->on_failure);
}

/* A pipe is a function there: the trigger of the contract, inline. */
static void put_pipe(tr__stack *s, const tr_project_pipe *p)
{
    if (!tr_project_table_of(s->p, p->table)) {
        tr__stack_leave_out(s, "pipe %s: table %s is not the project's, its stream's ARN is not known",
                            p->name, p->table);
        return;
    }
    put_logs(s, p->name);
    tr__stack_begin_role(s, p->name, "Role", "lambda.amazonaws.com");
    allow_logs(s, p->name);
    allow_stream(s, p->table);
    tr__stack_allow_bus(s, p->bus);
    tr__stack_end_role(s);
    tr__stack_begin_resource(s, p->name, "Function", "AWS::Lambda::Function");
    function_name(s, p->name);
    tr__stack_text(s, "Handler", "index.handler");
    tr__stack_text(s, "Runtime", "nodejs22.x");
    tr__stack_refer(s, "Role", p->name, "Role", "Arn");
    tr__stack_number(s, "Timeout", 60);
    tr__stack_object(s, "Environment");
    tr__stack_object(s, "Variables");
    tr__stack_text(s, "BUS", p->bus);
    tr__stack_text(s, "SOURCE", p->source ? p->source : "dynamodb-log");
    tr__stack_text(s, "DETAIL_TYPE", p->detail_type ? p->detail_type : "stream changes");
    tr__stack_end(s);
    tr__stack_end(s);
    tr__stack_object(s, "Code");
    tr__stack_text(s, "ZipFile", tr__stack_pipe_code);
    tr__stack_end(s);
    tr__stack_end_resource(s);
    put_source(s, p->name, p->name, p->table, p->from);
    tr__stack_number(s, "BatchSize", p->batch_size ? p->batch_size : 25);
    tr__stack_number(s, "MaximumBatchingWindowInSeconds", p->window_ms ? (p->window_ms + 999) / 1000 : 1);
    tr__stack_number(s, "ParallelizationFactor", p->parallelism ? p->parallelism : 4);
    tr_json_member_bool(&s->w, "BisectBatchOnFunctionError", true);
    put_filters(s, p->filters);
    tr__stack_end_resource(s);
}

/* ------------------------------------------------------------------------------------------------ whole */

const char *tr_project_stack_name(tr_project *p)
{
    return tr_arena_printf(&p->arena, "%s-%s", p->name ? p->name : "tailrace", p->stage);
}

static void put_all(tr__stack *s)
{
    const tr_project *p = s->p;
    char about[512];
    tr_json_begin_object(&s->w);
    tr__stack_text(s, "AWSTemplateFormatVersion", "2010-09-09");
    (void)snprintf(about, sizeof about, "%.200s, stage %.100s", p->name ? p->name : "tailrace", p->stage);
    tr__stack_text(s, "Description", about);
    tr__stack_put_parameters(s);
    tr__stack_object(s, "Resources");
    for (const tr_project_table *t = p->tables; t; t = t->next)
        put_table(s, t);
    for (const tr_project_text *b = p->buses; b; b = b->next)
        if (strcmp(b->text, "default") != 0)
            put_bus(s, b->text);
    for (const tr_project_text *q = p->queues; q; q = q->next)
        put_queue(s, q->text);
    for (const tr_project_archive *a = p->archives; a; a = a->next)
        put_archive(s, a);
    for (const tr_project_function *f = p->functions; f; f = f->next)
        put_function(s, f);
    for (const tr_project_mapping *m = p->mappings; m; m = m->next)
        put_mapping(s, m);
    for (const tr_project_pipe *x = p->pipes; x; x = x->next)
        put_pipe(s, x);
    for (const tr_project_rule *r = p->rules; r; r = r->next)
        tr__stack_put_rule(s, r);
    tr__stack_put_urls(s);
    tr__stack_end(s);
    tr_json_end_object(&s->w);
}

int tr_project_stack(tr_project *project, void (*left_out)(void *ctx, const char *message), void *ctx,
                     tr_buf *out, tr_error *err)
{
    tr__stack s = {.p = project, .left_out = left_out, .ctx = ctx};
    tr_buf compact;
    tr_buf_init(&compact, TEMPLATE_MAX);
    tr_json_write_init(&s.w, &compact);
    put_all(&s);
    int e = tr_buf_status(&compact);
    if (!e)
        e = tr__json_pretty(tr_buf_view(&compact), out);
    tr_buf_done(&compact);
    return e ? tr_fail(err, e, "the template cannot be written: %s", tr_strerror(e)) : 0;
}
