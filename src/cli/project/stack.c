/* SPDX-License-Identifier: MIT */
#include "cli/project/stack.h"
#include "eventstore/schema.h"

#include <tailrace/json.h>

#include <ctype.h>
#include <stdio.h>

#define TEMPLATE_MAX ((size_t)4 << 20) /* ours; CloudFormation takes 1 MB from S3 */
#define ID_SIZE      256               /* a logical id has at most 255 characters */

typedef struct stack {
    tr_project *p;
    tr_json_writer w;
    void (*left_out)(void *ctx, const char *message);
    void *ctx;
} stack;

extern const char tr__stack_pipe_code[];

static void leave_out(stack *s, const char *format, ...) TR_PRINTF(2, 3);
static void leave_out(stack *s, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->left_out(s->ctx, text);
}

/* ------------------------------------------------------------------------------------------------ pieces */

static void object(stack *s, const char *name)
{
    if (name)
        tr_json_name(&s->w, name);
    tr_json_begin_object(&s->w);
}

static void end(stack *s)
{
    tr_json_end_object(&s->w);
}

static void text(stack *s, const char *name, const char *value)
{
    if (value)
        tr_json_member_cstring(&s->w, name, value);
}

static void number(stack *s, const char *name, int64_t value)
{
    tr_json_member_i64(&s->w, name, value);
}

static void json(stack *s, const char *name, const char *value)
{
    if (!value)
        return;
    tr_json_name(&s->w, name);
    tr_json_value(&s->w, tr_view_str(value));
}

/* Letters and digits of a name, each part begun with a capital, and what it is. */
static const char *id_of(const char *name, const char *kind, char *out)
{
    size_t n = 0;
    bool up = true;
    for (; *name && n < ID_SIZE - 64; name++) {
        if (isalnum((unsigned char)*name))
            out[n++] = (char)(up ? toupper((unsigned char)*name) : *name);
        up = !isalnum((unsigned char)*name);
    }
    (void)snprintf(out + n, ID_SIZE - n, "%s", kind);
    return out;
}

/* {"Fn::GetAtt":["ID","ATTRIBUTE"]} or {"Ref":"ID"} */
static void value_of(stack *s, const char *name, const char *kind, const char *attribute)
{
    char id[ID_SIZE];
    tr_json_begin_object(&s->w);
    if (attribute) {
        tr_json_name(&s->w, "Fn::GetAtt");
        tr_json_begin_array(&s->w);
        tr_json_cstring(&s->w, id_of(name, kind, id));
        tr_json_cstring(&s->w, attribute);
        tr_json_end_array(&s->w);
    } else {
        tr_json_member_cstring(&s->w, "Ref", id_of(name, kind, id));
    }
    tr_json_end_object(&s->w);
}

static void refer(stack *s, const char *member, const char *name, const char *kind, const char *attribute)
{
    tr_json_name(&s->w, member);
    value_of(s, name, kind, attribute);
}

/* {"Fn::Sub":"…"} */
static void sub(stack *s, const char *member, const char *format, const char *name)
{
    char arn[1024];
    (void)snprintf(arn, sizeof arn, format, name);
    if (member)
        tr_json_name(&s->w, member);
    tr_json_begin_object(&s->w);
    tr_json_member_cstring(&s->w, "Fn::Sub", arn);
    tr_json_end_object(&s->w);
}

static void begin_resource(stack *s, const char *name, const char *kind, const char *type)
{
    char id[ID_SIZE];
    tr_json_key(&s->w, tr_view_str(id_of(name, kind, id)));
    tr_json_begin_object(&s->w);
    tr_json_member_cstring(&s->w, "Type", type);
    object(s, "Properties");
}

static void end_resource(stack *s)
{
    end(s);
    end(s);
}

static void bus_arn(stack *s, const char *member, const char *bus)
{
    if (strcmp(bus, "default") == 0)
        sub(s, member, "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/%s", bus);
    else if (member)
        refer(s, member, bus, "Bus", "Arn");
    else
        value_of(s, bus, "Bus", "Arn");
}

/* A table of the project by reference, another by its name. */
static void table_arn(stack *s, const char *table)
{
    if (tr_project_table_of(s->p, table))
        value_of(s, table, "Table", "Arn");
    else
        sub(s, NULL, "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/%s", table);
}

/* ---------------------------------------------------------------------------- tables, buses, archives … */

static void put_table(stack *s, const tr_project_table *t)
{
    begin_resource(s, t->name, "Table", "AWS::DynamoDB::Table");
    text(s, "TableName", t->name);
    text(s, "BillingMode", "PAY_PER_REQUEST");
    size_t len = strlen(t->members);
    if (len > 2) {
        tr_json_sep(&s->w);
        tr_buf_put(s->w.out, t->members + 1, len - 2);
    }
    if (t->stream) {
        object(s, "StreamSpecification");
        text(s, "StreamViewType", t->stream);
        end(s);
    }
    if (t->ttl) {
        object(s, "TimeToLiveSpecification");
        text(s, "AttributeName", t->ttl);
        tr_json_member_bool(&s->w, "Enabled", true);
        end(s);
    }
    if (t->guarded) {
        object(s, "SSESpecification");
        tr_json_member_bool(&s->w, "SSEEnabled", true);
        end(s);
        object(s, "PointInTimeRecoverySpecification");
        tr_json_member_bool(&s->w, "PointInTimeRecoveryEnabled", true);
        end(s);
    }
    if (t->tags) {
        tr_json_name(&s->w, "Tags");
        tr_json_begin_array(&s->w);
        for (const tr_project_pair *tag = t->tags; tag; tag = tag->next) {
            object(s, NULL);
            text(s, "Key", tag->name);
            text(s, "Value", tag->value);
            end(s);
        }
        tr_json_end_array(&s->w);
    }
    end_resource(s);
}

static void put_bus(stack *s, const char *name)
{
    begin_resource(s, name, "Bus", "AWS::Events::EventBus");
    text(s, "Name", name);
    end_resource(s);
}

static void statement(stack *s, const char *action, const char *principal)
{
    object(s, NULL);
    text(s, "Effect", "Allow");
    if (principal) {
        object(s, "Principal");
        text(s, "Service", principal);
        end(s);
    }
    text(s, "Action", action);
}

static void begin_policy(stack *s, const char *name)
{
    object(s, name);
    text(s, "Version", "2012-10-17");
    tr_json_name(&s->w, "Statement");
    tr_json_begin_array(&s->w);
}

static void end_policy(stack *s)
{
    tr_json_end_array(&s->w);
    end(s);
}

/* A queue, and that rules may send to it. */
static void put_queue(stack *s, const char *name)
{
    begin_resource(s, name, "Queue", "AWS::SQS::Queue");
    text(s, "QueueName", name);
    end_resource(s);
    begin_resource(s, name, "QueuePolicy", "AWS::SQS::QueuePolicy");
    tr_json_name(&s->w, "Queues");
    tr_json_begin_array(&s->w);
    value_of(s, name, "Queue", NULL);
    tr_json_end_array(&s->w);
    begin_policy(s, "PolicyDocument");
    statement(s, "sqs:SendMessage", "events.amazonaws.com");
    refer(s, "Resource", name, "Queue", "Arn");
    object(s, "Condition");
    object(s, "StringEquals");
    sub(s, "aws:SourceAccount", "%s", "${AWS::AccountId}");
    end(s);
    end(s);
    end(s);
    end_policy(s);
    end_resource(s);
}

static void put_archive(stack *s, const tr_project_archive *a)
{
    begin_resource(s, a->name, "Archive", "AWS::Events::Archive");
    text(s, "ArchiveName", a->name);
    bus_arn(s, "SourceArn", a->bus);
    json(s, "EventPattern", a->pattern);
    text(s, "Description", a->description);
    number(s, "RetentionDays", a->retention_days);
    end_resource(s);
}

/* ------------------------------------------------------------------------------------------- functions */

static const char *module_of(const tr_project_function *f)
{
    return strncmp(f->target, "handler:", 8) == 0 ? f->target + 8 : NULL;
}

static const char *runtime_of(const stack *s, const tr_project_function *f)
{
    char path[2048];
    const char *module = module_of(f), *dot = strrchr(module, '.');
    if (f->runtime)
        return f->runtime;
    (void)snprintf(path, sizeof path, "%s/%s/%.*s.py", s->p->directory, f->directory ? f->directory : ".",
                   dot ? (int)(dot - module) : 0, module);
    FILE *file = fopen(path, "r");
    if (file)
        (void)fclose(file);
    return file ? "python3.12" : "nodejs22.x";
}

/* Who is given failures: a function or a queue of the project; NULL: nobody that AWS could. */
static const char *destination_of(stack *s, const tr_project_function *f, const char **ret_kind)
{
    const char *to = f->on_failure,
               *queue = to && strncmp(to, "arn:aws:sqs:", 12) == 0 ? strrchr(to, ':') + 1 : to;
    const tr_project_function *other = to ? tr_project_function_of(s->p, to) : NULL;
    *ret_kind = "Function";
    if (other && module_of(other))
        return other->name;
    *ret_kind = "Queue";
    if (queue && tr_project_has(s->p->queues, queue))
        return queue;
    if (to)
        leave_out(s, "function %s: its failures go to %s here only", f->name, to);
    return NULL;
}

/* The names in a function's environment are what it may use. */
static bool names(const tr_project_function *f, const char *name)
{
    for (const tr_project_pair *pair = f->environment; pair; pair = pair->next)
        if (pair->value && strcmp(pair->value, name) == 0)
            return true;
    return false;
}

static void allow_logs(stack *s, const char *name)
{
    object(s, NULL);
    text(s, "Effect", "Allow");
    json(s, "Action", "[\"logs:CreateLogStream\",\"logs:PutLogEvents\"]");
    refer(s, "Resource", name, "Logs", "Arn");
    end(s);
}

static void allow_table(stack *s, const char *table)
{
    object(s, NULL);
    text(s, "Effect", "Allow");
    json(s, "Action",
         "[\"dynamodb:GetItem\",\"dynamodb:BatchGetItem\",\"dynamodb:Query\",\"dynamodb:PutItem\",\"dynamodb:"
         "UpdateItem\","
         "\"dynamodb:DeleteItem\",\"dynamodb:BatchWriteItem\",\"dynamodb:ConditionCheckItem\"]");
    tr_json_name(&s->w, "Resource");
    tr_json_begin_array(&s->w);
    table_arn(s, table);
    sub(s, NULL, "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/%s/index/*", table);
    tr_json_end_array(&s->w);
    end(s);
}

static void allow_stream(stack *s, const char *table)
{
    object(s, NULL);
    text(s, "Effect", "Allow");
    json(s, "Action",
         "[\"dynamodb:DescribeStream\",\"dynamodb:GetRecords\",\"dynamodb:GetShardIterator\",\"dynamodb:"
         "ListStreams\"]");
    if (tr_project_table_of(s->p, table))
        refer(s, "Resource", table, "Table", "StreamArn");
    else
        sub(s, "Resource",
            "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/%s/stream/*", table);
    end(s);
}

static void allow_bus(stack *s, const char *bus)
{
    statement(s, "events:PutEvents", NULL);
    bus_arn(s, "Resource", bus);
    end(s);
}

static void allow_destination(stack *s, const char *to, const char *kind)
{
    bool queue = kind[0] == 'Q';
    statement(s, queue ? "sqs:SendMessage" : "lambda:InvokeFunction", NULL);
    refer(s, "Resource", to, kind, "Arn");
    end(s);
}

static void begin_role(stack *s, const char *name, const char *kind, const char *service)
{
    begin_resource(s, name, kind, "AWS::IAM::Role");
    begin_policy(s, "AssumeRolePolicyDocument");
    statement(s, "sts:AssumeRole", service);
    end(s);
    end_policy(s);
    tr_json_name(&s->w, "Policies");
    tr_json_begin_array(&s->w);
    object(s, NULL);
    text(s, "PolicyName", "least");
    begin_policy(s, "PolicyDocument");
}

static void end_role(stack *s)
{
    end_policy(s);
    end(s);
    tr_json_end_array(&s->w);
    end_resource(s);
}

static void put_logs(stack *s, const char *name)
{
    char group[512];
    begin_resource(s, name, "Logs", "AWS::Logs::LogGroup");
    (void)snprintf(group, sizeof group, "/aws/lambda/%s-%s", tr_project_stack_name(s->p), name);
    text(s, "LogGroupName", group);
    number(s, "RetentionInDays", 30);
    end_resource(s);
}

static void put_function_role(stack *s, const tr_project_function *f, const char *to, const char *kind)
{
    begin_role(s, f->name, "Role", "lambda.amazonaws.com");
    allow_logs(s, f->name);
    for (const tr_project_table *t = s->p->tables; t; t = t->next)
        if (names(f, t->name))
            allow_table(s, t->name);
    for (const tr_project_text *b = s->p->buses; b; b = b->next)
        if (names(f, b->text))
            allow_bus(s, b->text);
    for (const tr_project_mapping *m = s->p->mappings; m; m = m->next)
        if (strcmp(m->function, f->name) == 0)
            allow_stream(s, m->table);
    if (to)
        allow_destination(s, to, kind);
    end_role(s);
}

static void function_name(stack *s, const char *name)
{
    char full[512];
    (void)snprintf(full, sizeof full, "%s-%s", tr_project_stack_name(s->p), name);
    text(s, "FunctionName", full);
}

static void put_code(stack *s, const tr_project_function *f)
{
    const char *at = tr_arena_printf(&s->p->arena, "%s", f->directory ? f->directory : ".");
    text(s, "Code", at);
}

static void put_environment(stack *s, const tr_project_pair *pair)
{
    if (!pair)
        return;
    object(s, "Environment");
    object(s, "Variables");
    for (; pair; pair = pair->next) {
        tr_json_key(&s->w, tr_view_str(pair->name));
        tr_json_cstring(&s->w, pair->value);
    }
    end(s);
    end(s);
}

static void put_function(stack *s, const tr_project_function *f)
{
    const char *kind, *to;
    if (!module_of(f)) {
        leave_out(s, "function %s runs here only: it is %s", f->name, f->target);
        return;
    }
    to = destination_of(s, f, &kind);
    put_logs(s, f->name);
    put_function_role(s, f, to, kind);
    begin_resource(s, f->name, "Function", "AWS::Lambda::Function");
    function_name(s, f->name);
    text(s, "Handler", module_of(f));
    text(s, "Runtime", runtime_of(s, f));
    refer(s, "Role", f->name, "Role", "Arn");
    number(s, "Timeout", f->timeout_ms ? (f->timeout_ms + 999) / 1000 : 60);
    if (f->concurrency)
        number(s, "ReservedConcurrentExecutions", f->concurrency);
    put_environment(s, f->environment);
    put_code(s, f);
    end_resource(s);
    if (!to)
        return;
    begin_resource(s, f->name, "Failures", "AWS::Lambda::EventInvokeConfig");
    refer(s, "FunctionName", f->name, "Function", NULL);
    text(s, "Qualifier", "$LATEST");
    number(s, "MaximumRetryAttempts",
           s->p->retries >= 0 && s->p->retries < 2 ? s->p->retries : 2); /* Lambda's most */
    object(s, "DestinationConfig");
    object(s, "OnFailure");
    refer(s, "Destination", to, kind, "Arn");
    end(s);
    end(s);
    end_resource(s);
}

/* ------------------------------------------------------------------------------------- mappings, pipes */

static void put_filters(stack *s, const tr_project_text *filter)
{
    if (!filter)
        return;
    object(s, "FilterCriteria");
    tr_json_name(&s->w, "Filters");
    tr_json_begin_array(&s->w);
    for (; filter; filter = filter->next) {
        object(s, NULL);
        text(s, "Pattern", filter->text);
        end(s);
    }
    tr_json_end_array(&s->w);
    end(s);
}

static void put_source(stack *s, const char *name, const char *function, const char *table, const char *from)
{
    begin_resource(s, name, "Mapping", "AWS::Lambda::EventSourceMapping");
    refer(s, "FunctionName", function, "Function", NULL);
    refer(s, "EventSourceArn", table, "Table", "StreamArn");
    text(s, "StartingPosition", from && strcmp(from, "trim-horizon") == 0 ? "TRIM_HORIZON" : "LATEST");
    json(s, "FunctionResponseTypes", "[\"ReportBatchItemFailures\"]");
}

static void put_mapping(stack *s, const tr_project_mapping *m)
{
    const tr_project_function *f = tr_project_function_of(s->p, m->function);
    if (!f || !module_of(f))
        return;
    if (!tr_project_table_of(s->p, m->table)) {
        leave_out(s, "mapping %s: table %s is not the project's, its stream's ARN is not known", m->name,
                  m->table);
        return;
    }
    put_source(s, m->name, m->function, m->table, m->from);
    number(s, "BatchSize", m->batch_size ? m->batch_size : 100);
    if (m->window_ms)
        number(s, "MaximumBatchingWindowInSeconds", (m->window_ms + 999) / 1000);
    if (m->parallelism)
        number(s, "ParallelizationFactor", m->parallelism);
    if (m->retries >= 0)
        number(s, "MaximumRetryAttempts", m->retries);
    if (m->record_age_ms)
        number(s, "MaximumRecordAgeInSeconds", m->record_age_ms < 60000 ? 60 : m->record_age_ms / 1000);
    if (m->bisect)
        tr_json_member_bool(&s->w, "BisectBatchOnFunctionError", true);
    put_filters(s, m->filters);
    end_resource(s);
    if (m->on_failure)
        leave_out(s, "mapping %s: AWS sends failures of streams to queues, topics and buckets, not to %s",
                  m->name, m->on_failure);
}

/* A pipe is a function there: the trigger of the contract, inline. */
static void put_pipe(stack *s, const tr_project_pipe *p)
{
    if (!tr_project_table_of(s->p, p->table)) {
        leave_out(s, "pipe %s: table %s is not the project's, its stream's ARN is not known", p->name,
                  p->table);
        return;
    }
    put_logs(s, p->name);
    begin_role(s, p->name, "Role", "lambda.amazonaws.com");
    allow_logs(s, p->name);
    allow_stream(s, p->table);
    allow_bus(s, p->bus);
    end_role(s);
    begin_resource(s, p->name, "Function", "AWS::Lambda::Function");
    function_name(s, p->name);
    text(s, "Handler", "index.handler");
    text(s, "Runtime", "nodejs22.x");
    refer(s, "Role", p->name, "Role", "Arn");
    number(s, "Timeout", 60);
    object(s, "Environment");
    object(s, "Variables");
    text(s, "BUS", p->bus);
    text(s, "SOURCE", p->source ? p->source : "dynamodb-log");
    text(s, "DETAIL_TYPE", p->detail_type ? p->detail_type : "stream changes");
    end(s);
    end(s);
    object(s, "Code");
    text(s, "ZipFile", tr__stack_pipe_code);
    end(s);
    end_resource(s);
    put_source(s, p->name, p->name, p->table, p->from);
    number(s, "BatchSize", p->batch_size ? p->batch_size : 25);
    number(s, "MaximumBatchingWindowInSeconds", p->window_ms ? (p->window_ms + 999) / 1000 : 1);
    number(s, "ParallelizationFactor", p->parallelism ? p->parallelism : 4);
    tr_json_member_bool(&s->w, "BisectBatchOnFunctionError", true);
    put_filters(s, p->filters);
    end_resource(s);
}

/* ------------------------------------------------------------------------------------------------ rules */

static bool can_target(const stack *s, const tr_project_target *t)
{
    const tr_project_function *f = t->kind == TR_TO_FUNCTION ? tr_project_function_of(s->p, t->to) : NULL;
    return t->kind == TR_TO_QUEUE || t->kind == TR_TO_BUS || (f && module_of(f));
}

static void tell_target(stack *s, const tr_project_rule *r, const tr_project_target *t)
{
    if (t->kind == TR_TO_URL)
        leave_out(s, "rule %s: %s needs an API destination with its credentials on AWS", r->name, t->to);
    if (t->kind == TR_TO_TABLE)
        leave_out(s, "rule %s: EventBridge has no targets that are tables (%s)", r->name, t->to);
}

static void put_retries(stack *s, const tr_project_target *t)
{
    const tr_project *p = s->p;
    int64_t retries = t->retries >= 0 ? t->retries : p->retries,
            age = t->age_ms ? t->age_ms : p->event_age_ms;
    if (retries < 0 && !age)
        return;
    object(s, "RetryPolicy");
    if (retries >= 0)
        number(s, "MaximumRetryAttempts", retries > 185 ? 185 : retries);
    if (age)
        number(s, "MaximumEventAgeInSeconds", age < 60000 ? 60 : age / 1000);
    end(s);
}

static void put_target(stack *s, const tr_project_rule *r, const tr_project_target *t)
{
    object(s, NULL);
    text(s, "Id", t->id);
    if (t->kind == TR_TO_BUS) {
        bus_arn(s, "Arn", t->to);
        refer(s, "RoleArn", r->name, "RuleRole", "Arn");
    } else {
        refer(s, "Arn", t->to, t->kind == TR_TO_QUEUE ? "Queue" : "Function", "Arn");
    }
    text(s, "Input", t->input);
    text(s, "InputPath", t->input_path);
    json(s, "InputTransformer", t->transformer);
    put_retries(s, t);
    if (t->dead_letters) {
        object(s, "DeadLetterConfig");
        refer(s, "Arn", t->dead_letters, "Queue", "Arn");
        end(s);
    }
    end(s);
    if (t->order_by || t->rate || t->concurrency)
        leave_out(s, "rule %s: order-by, rate and concurrency of a target have no counterpart on AWS",
                  r->name);
}

static void put_permission(stack *s, const tr_project_rule *r, const tr_project_target *t)
{
    char name[ID_SIZE];
    (void)snprintf(name, sizeof name, "%.120s %.60s", r->name, t->id);
    begin_resource(s, name, "Permission", "AWS::Lambda::Permission");
    refer(s, "FunctionName", t->to, "Function", NULL);
    text(s, "Action", "lambda:InvokeFunction");
    text(s, "Principal", "events.amazonaws.com");
    refer(s, "SourceArn", r->name, "Rule", "Arn");
    end_resource(s);
}

static void put_rule_role(stack *s, const tr_project_rule *r)
{
    bool any = false;
    for (const tr_project_target *t = r->targets; t; t = t->next)
        any |= t->kind == TR_TO_BUS;
    if (!any)
        return;
    begin_role(s, r->name, "RuleRole", "events.amazonaws.com");
    for (const tr_project_target *t = r->targets; t; t = t->next)
        if (t->kind == TR_TO_BUS)
            allow_bus(s, t->to);
    end_role(s);
}

static void put_rule(stack *s, const tr_project_rule *r)
{
    bool any = false;
    for (const tr_project_target *t = r->targets; t; t = t->next) {
        tell_target(s, r, t);
        any |= can_target(s, t);
    }
    if (!any) {
        leave_out(s, "rule %s: none of its targets is there on AWS", r->name);
        return;
    }
    put_rule_role(s, r);
    begin_resource(s, r->name, "Rule", "AWS::Events::Rule");
    if (strcmp(r->bus, "default") != 0)
        refer(s, "EventBusName", r->bus, "Bus", NULL);
    json(s, "EventPattern", r->pattern);
    text(s, "Description", r->description);
    text(s, "State", r->disabled ? "DISABLED" : "ENABLED");
    tr_json_name(&s->w, "Targets");
    tr_json_begin_array(&s->w);
    for (const tr_project_target *t = r->targets; t; t = t->next)
        if (can_target(s, t))
            put_target(s, r, t);
    tr_json_end_array(&s->w);
    end_resource(s);
    for (const tr_project_target *t = r->targets; t; t = t->next) {
        const tr_project_function *f = t->kind == TR_TO_FUNCTION ? tr_project_function_of(s->p, t->to) : NULL;
        if (f && module_of(f))
            put_permission(s, r, t);
    }
}

/* ------------------------------------------------------------------------------------------------ whole */

const char *tr_project_stack_name(tr_project *p)
{
    return tr_arena_printf(&p->arena, "%s-%s", p->name ? p->name : "tailrace", p->stage);
}

static void put_all(stack *s)
{
    const tr_project *p = s->p;
    char about[512];
    tr_json_begin_object(&s->w);
    text(s, "AWSTemplateFormatVersion", "2010-09-09");
    (void)snprintf(about, sizeof about, "%.200s, stage %.100s", p->name ? p->name : "tailrace", p->stage);
    text(s, "Description", about);
    object(s, "Resources");
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
        put_rule(s, r);
    end(s);
    tr_json_end_object(&s->w);
}

int tr_project_stack(tr_project *project, void (*left_out)(void *ctx, const char *message), void *ctx,
                     tr_buf *out, tr_error *err)
{
    stack s = {.p = project, .left_out = left_out, .ctx = ctx};
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
