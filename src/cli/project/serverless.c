/* SPDX-License-Identifier: MIT */
/*
 * serverless.yml, as far as it describes what runs here: functions with stream and eventBridge events, their
 * environment, tables, buses, archives and queues among the resources, and the settings of
 * serverless-offline-aws-eventbridge. Everything else is noted in project->ignored and left alone.
 */
#include "cli/project/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define ACCOUNT "000000000000"

/* The retries of a project that says nothing (docs/config.md, "serverless.yml"). */
#define RETRIES_DEFAULT     5
#define RETRY_DELAY_DEFAULT 1000

static void ignore(tr_project_reader *r, const char *format, const char *a, const char *b)
{
    if (r->code)
        return;
    char text[512];
    (void)snprintf(text, sizeof text, format, a, b);
    tr__rd_add_text(r, &r->p->ignored, tr__rd_printf(r, "%s", text));
}

/* Members that are not among the names are ignored, by name. */
static void ignore_others(tr_project_reader *r, yaml_node_t *map, const char *where, const char *const *names)
{
    const char *name;
    yaml_node_t *value;
    for (size_t i = 0;
         !r->code && map && map->type == YAML_MAPPING_NODE && tr_yaml_at(&r->y, map, i, &name, &value); i++) {
        bool known = !name;
        for (size_t k = 0; name && names[k]; k++)
            known |= strcmp(names[k], name) == 0;
        if (!known)
            ignore(r, "%s%s", where, name);
    }
}

#define KEYS(...)                                                                                            \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

/* --------------------------------------------------------------------------------------------- variables */

/* "custom.table.name" in the file; NULL. */
static yaml_node_t *at_path(tr_project_reader *r, const char *path)
{
    yaml_node_t *node = tr_yaml_root(&r->y);
    while (node && *path) {
        size_t len = strcspn(path, ".");
        const char *name = tr_arena_str(&r->p->arena, tr_view_of(path, len));
        node = name ? tr_yaml_get(&r->y, node, name) : NULL;
        path += len + (path[len] == '.');
    }
    return node;
}

/* One alternative of a variable: "self:custom.x", "opt:stage", "env:HOME", "'text'". NULL: it has no value.
 */
static const char *alternative(tr_project_reader *r, const char *text)
{
    size_t len = strlen(text);
    if (len >= 2 && (text[0] == '\'' || text[0] == '"') && text[len - 1] == text[0])
        return tr_arena_str(&r->p->arena, tr_view_of(text + 1, len - 2));
    if (strcmp(text, "opt:stage") == 0)
        return r->p->stage[0] ? r->p->stage : NULL;
    if (strcmp(text, "sls:stage") == 0 || strcmp(text, "self:provider.stage") == 0) {
        yaml_node_t *stage = r->p->stage[0] ? NULL : at_path(r, "provider.stage");
        return stage && stage->type == YAML_SCALAR_NODE ? (const char *)stage->data.scalar.value
               : r->p->stage[0]                         ? r->p->stage
                                                        : "local";
    }
    if (strcmp(text, "aws:region") == 0 || strcmp(text, "opt:region") == 0 ||
        strcmp(text, "AWS::Region") == 0)
        return r->p->region ? r->p->region : "us-east-1";
    if (strcmp(text, "aws:accountId") == 0 || strcmp(text, "AWS::AccountId") == 0)
        return ACCOUNT;
    if (strncmp(text, "env:", 4) == 0)
        return getenv(text + 4);
    if (strncmp(text, "self:", 5) == 0) {
        yaml_node_t *node = at_path(r, text + 5);
        return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
    }
    return NULL;
}

static const char *variable(void *ctx, tr_view name, int line, tr_error *err)
{
    tr_project_reader *r = ctx;
    char *text = tr_arena_str(&r->p->arena, name), *next = text;
    while (next) {
        char *one = next + strspn(next, " ");
        next = strchr(one, ',');
        if (next)
            *next++ = 0;
        for (size_t n = strlen(one); n && one[n - 1] == ' '; n--)
            one[n - 1] = 0;
        const char *value = alternative(r, one);
        if (value)
            return value;
    }
    (void)tr_fail(err, TR_EINVAL,
                  "%s:%d: ${%.*s} has no value here: there are self:, opt:stage, env: and aws:", r->p->path,
                  line, TR_FMT(name));
    return NULL;
}

/* -------------------------------------------------------------------------------------------- resources */

/* The physical name of a resource, by its logical one: a table's, a bus', an archive's, a queue's. */
static const char *physical(tr_project_reader *r, const char *logical)
{
    static const char *const names[] = {"TableName", "Name", "ArchiveName", "QueueName"};
    yaml_node_t *all = at_path(r, "resources"), *one = NULL, *element;
    const char *unused;
    if (all && all->type == YAML_SEQUENCE_NODE)
        for (size_t i = 0; !one && tr_yaml_at(&r->y, all, i, &unused, &element); i++)
            one = tr_yaml_get(&r->y, tr_yaml_get(&r->y, element, "Resources"), logical);
    else
        one = tr_yaml_get(&r->y, tr_yaml_get(&r->y, all, "Resources"), logical);
    yaml_node_t *properties = tr_yaml_get(&r->y, one, "Properties");
    for (size_t i = 0; i < TR_COUNT(names); i++) {
        const char *name = tr__rd_text(r, properties, names[i]);
        if (name)
            return name;
    }
    return logical;
}

/* What a value names, whether as text or by !Ref, !GetAtt and their long forms: a name, or an ARN's text. */
static const char *name_of(tr_project_reader *r, yaml_node_t *node)
{
    const char *unused;
    yaml_node_t *first = NULL, *of;
    if (!node || r->code)
        return NULL;
    if (node->type == YAML_MAPPING_NODE && (of = tr_yaml_get(&r->y, node, "Ref")) != NULL)
        return physical(r, tr__rd_scalar(r, of));
    if (node->type == YAML_MAPPING_NODE && (of = tr_yaml_get(&r->y, node, "Fn::GetAtt")) != NULL) {
        if (of->type == YAML_SEQUENCE_NODE && tr_yaml_at(&r->y, of, 0, &unused, &first))
            return physical(r, tr__rd_scalar(r, first));
        node = of;
    }
    const char *text = tr__rd_scalar(r, node), *tag = (const char *)node->tag;
    if (!text || !tag || tag[0] != '!' || strcmp(tag, "!Sub") == 0)
        return text;
    return physical(r, tr_arena_str(&r->p->arena, tr_view_of(text, strcspn(text, "."))));
}

/* NAME of "arn:aws:SERVICE:…:KIND/NAME[/…]", or the name itself. */
static const char *resource_of(tr_project_reader *r, yaml_node_t *node, const char *kind)
{
    const char *name = name_of(r, node),
               *at = name && strncmp(name, "arn:", 4) == 0 ? strstr(name, kind) : NULL;
    if (!at)
        return name;
    at += strlen(kind);
    return tr_arena_str(&r->p->arena, tr_view_of(at, strcspn(at, "/")));
}

static const char *last_part(const char *arn)
{
    const char *colon = arn ? strrchr(arn, ':') : NULL;
    return colon ? colon + 1 : arn;
}

static tr_project_pair *environment_of(tr_project_reader *r, yaml_node_t *node, tr_project_pair *list)
{
    const char *name;
    yaml_node_t *value;
    for (size_t i = 0; !r->code && tr_yaml_at(&r->y, node, i, &name, &value); i++) {
        tr_project_pair *pair = tr__rd_new(r, sizeof *pair);
        pair->name = tr__rd_printf(r, "%s", name ? name : "");
        pair->value = name_of(r, value);
        if (!r->code)
            TR_RD_APPEND(list, pair);
    }
    return list;
}

static void read_table(tr_project_reader *r, yaml_node_t *properties, const char *logical)
{
    tr_project_table *t = tr__rd_new(r, sizeof *t);
    static const char *const members[] = {"AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes",
                                          "LocalSecondaryIndexes"};
    tr_buf out;
    tr_json_writer w;
    const char *name = tr__rd_text(r, properties, "TableName");
    tr_buf_init(&out, 1 << 20);
    tr_json_write_init(&w, &out);
    tr_json_begin_object(&w);
    for (size_t i = 0; i < TR_COUNT(members); i++) {
        const char *json = tr__rd_json(r, properties, members[i]);
        if (json) {
            tr_json_name(&w, members[i]);
            tr_json_value(&w, tr_view_str(json));
        }
    }
    tr_json_end_object(&w);
    t->name = name ? name : logical;
    t->members = tr_arena_str(&r->p->arena, tr_buf_view(&out));
    tr_buf_done(&out);
    t->stream = tr__rd_text(r, tr__rd_get(r, properties, "StreamSpecification"), "StreamViewType");
    t->ttl = tr__rd_text(r, tr__rd_get(r, properties, "TimeToLiveSpecification"), "AttributeName");
    t->guarded = tr__rd_get(r, properties, "PointInTimeRecoverySpecification") != NULL;
    if (!r->code)
        TR_RD_APPEND(r->p->tables, t);
}

static void read_archive(tr_project_reader *r, yaml_node_t *properties, const char *logical)
{
    tr_project_archive *a = tr__rd_new(r, sizeof *a);
    const char *name = tr__rd_text(r, properties, "ArchiveName");
    a->name = name ? name : logical;
    a->bus = resource_of(r, tr__rd_get(r, properties, "SourceArn"), "event-bus/");
    a->pattern = tr__rd_pattern(r, properties, "EventPattern", "the archive");
    a->description = tr__rd_text(r, properties, "Description");
    a->retention_days = tr__rd_int(r, properties, "RetentionDays", 0, 100000, 0);
    if (!a->bus)
        a->bus = "default";
    if (!r->code)
        TR_RD_APPEND(r->p->archives, a);
}

static void add_bus(tr_project_reader *r, const char *name)
{
    if (name && strcmp(name, "default") != 0 && !tr_project_has(r->p->buses, name))
        tr__rd_add_text(r, &r->p->buses, name);
}

static void read_resource(tr_project_reader *r, const char *logical, yaml_node_t *node)
{
    yaml_node_t *properties = tr__rd_get(r, node, "Properties");
    const char *type = tr__rd_text(r, node, "Type"), *name = tr__rd_printf(r, "%s", logical);
    if (!type)
        tr__rd_fail(r, node, "resource %s has no Type", name);
    else if (strcmp(type, "AWS::DynamoDB::Table") == 0)
        read_table(r, properties, name);
    else if (strcmp(type, "AWS::Events::EventBus") == 0)
        add_bus(r, tr__rd_text(r, properties, "Name"));
    else if (strcmp(type, "AWS::Events::Archive") == 0)
        read_archive(r, properties, name);
    else if (strcmp(type, "AWS::SQS::Queue") == 0)
        tr__rd_add_text(r, &r->p->queues, physical(r, name));
    else
        ignore(r, "resources.Resources.%s (%s)", name, type);
}

static void read_resources(tr_project_reader *r, yaml_node_t *node)
{
    const char *name;
    yaml_node_t *value, *resources = tr__rd_get(r, node, "Resources");
    if (node && node->type == YAML_SEQUENCE_NODE) {
        for (size_t i = 0; !r->code && tr_yaml_at(&r->y, node, i, &name, &value); i++)
            if (value->type == YAML_MAPPING_NODE)
                read_resources(r, value);
        return;
    }
    for (size_t i = 0; !r->code && resources && tr_yaml_at(&r->y, resources, i, &name, &value); i++)
        if (name)
            read_resource(r, name, value);
    ignore_others(r, node, "resources.", KEYS("Resources"));
}

/* -------------------------------------------------------------------------------------------- functions */

/* onFailure: a function's name, or {arn, type} */
static const char *on_failure_of(tr_project_reader *r, yaml_node_t *node)
{
    yaml_node_t *to = tr__rd_get(r, tr__rd_get(r, node, "destinations"), "onFailure"),
                *arn = to && to->type == YAML_MAPPING_NODE ? tr__rd_get(r, to, "arn") : NULL;
    return arn ? name_of(r, arn) : name_of(r, to);
}

static void read_stream(tr_project_reader *r, const tr_project_function *f, yaml_node_t *node,
                        unsigned number)
{
    tr_project_mapping *m = tr__rd_new(r, sizeof *m);
    bool map = node->type == YAML_MAPPING_NODE && tr_yaml_get(&r->y, node, "arn");
    const char *type = map ? tr__rd_text(r, node, "type") : NULL;
    if (type && strcmp(type, "dynamodb") != 0) {
        ignore(r, "functions.%s.events.stream (%s)", f->name, type);
        return;
    }
    m->name = number > 1 ? tr__rd_printf(r, "%s-%u", f->name, number) : f->name;
    m->function = f->name;
    m->table = resource_of(r, map ? tr__rd_get(r, node, "arn") : node, ":table/");
    m->batch_size = tr__rd_int(r, node, "batchSize", 1, 10000, 10);
    m->window_ms = tr__rd_int(r, node, "batchWindow", 0, 300, 0) * 1000;
    m->parallelism = tr__rd_int(r, node, "parallelizationFactor", 1, 10, 1);
    m->retries = tr__rd_int(r, node, "maximumRetryAttempts", 0, 10000, -1);
    m->record_age_ms = tr__rd_int(r, node, "maximumRecordAgeInSeconds", 60, 604800, 0) * 1000;
    m->bisect = tr__rd_bool(r, node, "bisectBatchOnFunctionError", false);
    m->filters = tr__rd_patterns(r, tr__rd_get(r, node, "filterPatterns"));
    m->on_failure = map ? on_failure_of(r, node) : NULL;
    if (!m->table)
        tr__rd_fail(r, node, "function %s: the stream's arn is missing", f->name);
    ignore_others(r, map ? node : NULL, tr__rd_printf(r, "functions.%s.events.stream.", f->name),
                  KEYS("arn", "type", "batchSize", "batchWindow", "parallelizationFactor",
                       "maximumRetryAttempts", "maximumRecordAgeInSeconds", "bisectBatchOnFunctionError",
                       "filterPatterns", "destinations", "startingPosition", "enabled"));
    if (!r->code && (!map || tr__rd_bool(r, node, "enabled", true)))
        TR_RD_APPEND(r->p->mappings, m);
}

static const char *transformer_of(tr_project_reader *r, yaml_node_t *node)
{
    const char *map = tr__rd_json(r, node, "inputPathsMap"), *text = tr__rd_text(r, node, "inputTemplate");
    tr_buf out;
    tr_json_writer w;
    if (!text)
        return NULL;
    tr_buf_init(&out, 1 << 20);
    tr_json_write_init(&w, &out);
    tr_json_begin_object(&w);
    if (map) {
        tr_json_name(&w, "InputPathsMap");
        tr_json_value(&w, tr_view_str(map));
    }
    tr_json_member_cstring(&w, "InputTemplate", text);
    tr_json_end_object(&w);
    const char *copy = tr_arena_str(&r->p->arena, tr_buf_view(&out));
    tr_buf_done(&out);
    return copy;
}

static void read_event_bridge(tr_project_reader *r, const tr_project_function *f, yaml_node_t *node,
                              unsigned number)
{
    tr_project_rule *rule = tr__rd_new(r, sizeof *rule);
    tr_project_target *t = tr__rd_new(r, sizeof *t);
    yaml_node_t *retry = tr__rd_get(r, node, "retryPolicy");
    if (!tr__rd_get(r, node, "pattern")) {
        ignore(r, "functions.%s.events.eventBridge%s", f->name, " without a pattern (schedules)");
        return;
    }
    rule->name = tr__rd_printf(r, "%s-rule-%u", f->name, number);
    rule->bus = resource_of(r, tr__rd_get(r, node, "eventBus"), "event-bus/");
    rule->pattern = tr__rd_pattern(r, node, "pattern", tr__rd_printf(r, "function %s", f->name));
    const char *state = tr__rd_text(r, node, "state");
    rule->disabled = (state && strcmp(state, "DISABLED") == 0) || !tr__rd_bool(r, node, "enabled", true);
    if (!rule->bus)
        rule->bus = "default";
    add_bus(r, rule->bus);
    t->id = "1";
    t->kind = TR_TO_FUNCTION;
    t->to = f->name;
    t->input = tr__rd_json(r, node, "input");
    t->input_path = tr__rd_text(r, node, "inputPath");
    t->transformer = transformer_of(r, tr__rd_get(r, node, "inputTransformer"));
    t->retries = tr__rd_int(r, retry, "maximumRetryAttempts", 0, 185, -1);
    t->age_ms = tr__rd_int(r, retry, "maximumEventAge", 60, 86400, 0) * 1000;
    t->dead_letters = last_part(name_of(r, tr__rd_get(r, node, "deadLetterQueueArn")));
    ignore_others(r, node, tr__rd_printf(r, "functions.%s.events.eventBridge.", f->name),
                  KEYS("eventBus", "pattern", "state", "enabled", "input", "inputPath", "inputTransformer",
                       "retryPolicy", "deadLetterQueueArn"));
    if (r->code)
        return;
    TR_RD_APPEND(rule->targets, t);
    TR_RD_APPEND(r->p->rules, rule);
}

static void read_events(tr_project_reader *r, const tr_project_function *f, yaml_node_t *events)
{
    const char *unused, *kind;
    yaml_node_t *event, *value;
    unsigned streams = 0, rules = 0;
    for (size_t i = 0; !r->code && tr_yaml_at(&r->y, events, i, &unused, &event); i++)
        for (size_t k = 0;
             !r->code && event->type == YAML_MAPPING_NODE && tr_yaml_at(&r->y, event, k, &kind, &value);
             k++) {
            if (kind && strcmp(kind, "stream") == 0)
                read_stream(r, f, value, ++streams);
            else if (kind && strcmp(kind, "eventBridge") == 0 && value->type == YAML_MAPPING_NODE)
                read_event_bridge(r, f, value, ++rules);
            else
                ignore(r, "functions.%s.events.%s", f->name, kind ? kind : "");
        }
}

static void read_function(tr_project_reader *r, const char *name, yaml_node_t *node, yaml_node_t *provider)
{
    tr_project_function *f = tr__rd_new(r, sizeof *f);
    const char *handler = tr__rd_text(r, node, "handler"), *runtime = tr__rd_text(r, node, "runtime");
    f->name = tr__rd_printf(r, "%s", name);
    if (!handler) {
        ignore(r, "functions.%s%s", name, " (it has no handler)");
        return;
    }
    f->target = tr__rd_printf(r, "handler:%s", handler);
    f->runtime = runtime ? runtime : tr__rd_text(r, provider, "runtime");
    f->on_failure = on_failure_of(r, node);
    f->environment = environment_of(r, tr__rd_get(r, provider, "environment"), NULL);
    f->environment = environment_of(r, tr__rd_get(r, node, "environment"), f->environment);
    f->concurrency = (unsigned)tr__rd_int(r, node, "reservedConcurrency", 0, 1000, 1);
    f->timeout_ms =
        tr__rd_int(r, node, "timeout", 1, 900, tr__rd_int(r, provider, "timeout", 1, 900, 6)) * 1000;
    ignore_others(r, node, tr__rd_printf(r, "functions.%s.", f->name),
                  KEYS("handler", "runtime", "environment", "events", "destinations", "reservedConcurrency",
                       "timeout", "name", "description"));
    if (r->code)
        return;
    TR_RD_APPEND(r->p->functions, f);
    read_events(r, f, tr__rd_get(r, node, "events"));
}

/* ------------------------------------------------------------------------------------------------- whole */

static void read_offline(tr_project_reader *r, yaml_node_t *custom)
{
    static const char bridge[] = "serverless-offline-aws-eventbridge";
    yaml_node_t *node = tr__rd_get(r, custom, bridge);
    int64_t port = tr__rd_int(r, node, "port", 1, 65535, 4010);
    r->p->retry_delay_ms = tr__rd_int(r, node, "retryDelayMs", 1, 86400000, RETRY_DELAY_DEFAULT);
    r->p->retries = tr__rd_int(r, node, "maximumRetryAttempts", 0, 1000000, RETRIES_DEFAULT);
    tr__rd_add_text(r, &r->p->listen, "127.0.0.1:8000");
    tr__rd_add_text(r, &r->p->listen, tr__rd_printf(r, "127.0.0.1:%lld", (long long)port));
    ignore_others(r, node, "custom.serverless-offline-aws-eventbridge.",
                  KEYS("port", "retryDelayMs", "maximumRetryAttempts", "account", "debug",
                       "mockEventBridgeServer", "hostname"));
}

/* The npm tools keep the archive in ./db: one that is there is gone on with, unless an archive was begun
 * here. */
static void find_database(tr_project_reader *r)
{
    tr_project_archive *a = r->p->archives;
    struct stat there;
    char begun[4096], database[4096];
    if (r->code || !a || a->next)
        return;
    (void)snprintf(begun, sizeof begun, "%s/%s/archive/%s.sqlite", r->p->directory, r->p->data, a->name);
    (void)snprintf(database, sizeof database, "%s/db", r->p->directory);
    if (stat(database, &there) || !S_ISREG(there.st_mode) ||
        (lstat(begun, &there) == 0 && !S_ISLNK(there.st_mode)))
        return;
    a->path = "./db";
    a->path_found = true;
}

/* Members of `custom` are variables of the file; only those of plugins that are known to do something are
 * told. */
static void note_plugins(tr_project_reader *r, yaml_node_t *root)
{
    const char *unused;
    yaml_node_t *plugin, *list = tr__rd_get(r, root, "plugins");
    for (size_t i = 0; !r->code && tr_yaml_at(&r->y, list, i, &unused, &plugin); i++) {
        const char *name = tr__rd_scalar(r, plugin);
        if (name && strcmp(name, "serverless-offline") != 0 &&
            strcmp(name, "serverless-offline-aws-eventbridge") != 0)
            ignore(r, "plugins.%s%s", name, "");
    }
}

void tr__project_read_serverless(tr_project_reader *r)
{
    yaml_node_t *root = tr_yaml_root(&r->y), *provider, *functions, *value;
    const char *name;
    r->y.variable = variable;
    r->y.variable_ctx = r;
    provider = tr__rd_get(r, root, "provider");
    r->p->region = tr__rd_text(r, provider, "region");
    const char *stage = tr__rd_text(r, provider, "stage");
    yaml_node_t *bucket = tr__rd_get(r, provider, "deploymentBucket");
    if (bucket)
        r->p->bucket =
            bucket->type == YAML_MAPPING_NODE ? tr__rd_text(r, bucket, "name") : tr__rd_scalar(r, bucket);
    if (!r->p->stage[0])
        r->p->stage = stage ? stage : "local";
    r->p->name = tr__rd_text(r, root, "service");
    r->p->data = ".tailrace";
    read_offline(r, tr__rd_get(r, root, "custom"));
    read_resources(r, tr__rd_get(r, root, "resources"));
    functions = tr__rd_get(r, root, "functions");
    for (size_t i = 0; !r->code && tr_yaml_at(&r->y, functions, i, &name, &value); i++)
        if (name)
            read_function(r, name, value, provider);
    find_database(r);
    note_plugins(r, root);
    ignore_others(r, provider, "provider.",
                  KEYS("name", "runtime", "region", "stage", "environment", "timeout", "deploymentBucket"));
    ignore_others(
        r, root, "",
        KEYS("service", "provider", "functions", "resources", "custom", "plugins", "frameworkVersion"));
}
