/* SPDX-License-Identifier: MIT */
#include "eventstore/schema.h"

#include <tailrace/aggregate.h>
#include <tailrace/eventstore.h>
#include <tailrace/json.h>

/* Transactions are allowed by the rights of the actions within them (Developer Guide, "IAM and
 * transactions"). */
#define READ_STREAM "dynamodb:DescribeStream dynamodb:GetShardIterator dynamodb:GetRecords"
/* workers look for streams that the table had before */
#define READ_STREAMS READ_STREAM " dynamodb:ListStreams"
#define READ_ALL     "dynamodb:DescribeTable dynamodb:Scan"
#define TO_BUS       "events:DescribeEventBus events:PutEvents"
#define SNAPSHOTS    "dynamodb:Query dynamodb:PutItem dynamodb:DeleteItem"
#define SHARE_LEASES                                                                                         \
    "dynamodb:CreateTable dynamodb:DescribeTable dynamodb:Scan dynamodb:GetItem dynamodb:PutItem "           \
    "dynamodb:UpdateItem dynamodb:DeleteItem"
#define SHARE_HISTORY                                                                                        \
    "dynamodb:CreateTable dynamodb:DescribeTable dynamodb:GetItem dynamodb:PutItem dynamodb:DeleteItem"
#define KEEP_ROWS                                                                                            \
    "dynamodb:CreateTable dynamodb:DescribeTable dynamodb:GetItem dynamodb:PutItem dynamodb:DeleteItem "     \
    "dynamodb:ConditionCheckItem dynamodb:Scan dynamodb:BatchWriteItem"

/* castore's names stand for castore's calls: events with a version. What the command does by default finds
 * the version first. tests/events/run compares what each verb calls. */
static const tr_schema_operation operations[] = {
    {.name = "getEvents", .alias = "events get", .actions = "dynamodb:Query"},
    {.name = "getAggregate", .alias = "events aggregate", .actions = "dynamodb:Query"},
    {.name = "getExistingAggregate", .actions = "dynamodb:Query"},
    {.name = "pushEvent", .actions = "dynamodb:PutItem"},
    {.name = "pushEventGroup", .actions = "dynamodb:PutItem"},
    {.name = "pushEventAny", .alias = "events push", .actions = "dynamodb:PutItem dynamodb:Query"},
    {.name = "pushEventGroupAny", .alias = "events group", .actions = "dynamodb:PutItem dynamodb:Query"},
    {.name = "pushEventStrict",
     .alias = "events push --strict",
     .actions = "dynamodb:PutItem dynamodb:ConditionCheckItem"},
    {.name = "checkAggregate", .actions = "dynamodb:ConditionCheckItem"},
    {.name = "listAggregateIds", .alias = "events list", .actions = "", .on_index = "dynamodb:Query"},
    {.name = "getAggregateWithSnapshots",
     .alias = "events aggregate --snapshots",
     .actions = "dynamodb:Query",
     .on_snapshots = SNAPSHOTS},
    {.name = "command", .actions = "dynamodb:Query dynamodb:PutItem"},
    {.name = "subscribe", .alias = "events subscribe", .actions = READ_ALL, .on_stream = READ_STREAM},
    {.name = "subscribeShared",
     .alias = "events subscribe --name",
     .actions = READ_ALL,
     .on_stream = READ_STREAMS,
     .on_leases = SHARE_LEASES,
     .on_history = SHARE_HISTORY},
    {.name = "subscribeToBus",
     .alias = "events subscribe --to bus",
     .actions = READ_ALL,
     .on_stream = READ_STREAM,
     .on_bus = TO_BUS},
    {.name = "subscribeToTable",
     .alias = "events subscribe --to table",
     .actions = READ_ALL,
     .on_stream = READ_STREAM,
     .on_target = "dynamodb:PutItem"},
    {.name = "publish",
     .alias = "events publish",
     .actions = READ_ALL,
     .on_stream = READ_STREAM,
     .on_bus = TO_BUS},
    {.name = "publishShared",
     .alias = "events publish --name",
     .actions = READ_ALL,
     .on_stream = READ_STREAMS,
     .on_bus = TO_BUS,
     .on_leases = SHARE_LEASES,
     .on_history = SHARE_HISTORY},
    {.name = "publishStateCarrying",
     .alias = "events publish --message state-carrying",
     .actions = READ_ALL " dynamodb:Query",
     .on_stream = READ_STREAM,
     .on_bus = TO_BUS},
    {.name = "publishStateCarryingWithSnapshots",
     .alias = "events publish --message state-carrying --snapshots",
     .actions = READ_ALL " dynamodb:Query",
     .on_stream = READ_STREAM,
     .on_bus = TO_BUS,
     .on_snapshots = SNAPSHOTS},
    {.name = "pour", .alias = "events pour", .actions = "dynamodb:Scan"},
    {.name = "pourToBus", .alias = "events pour --to bus", .actions = "dynamodb:Scan", .on_bus = TO_BUS},
    {.name = "pourStateCarrying",
     .alias = "events pour --message state-carrying",
     .actions = "dynamodb:Scan dynamodb:Query",
     .on_bus = TO_BUS},
    {.name = "pourToTable",
     .alias = "events pour --to table",
     .actions = "dynamodb:Scan",
     .on_target = "dynamodb:PutItem"},
    {.name = "project", .alias = "events project --to sqlite", .actions = READ_ALL, .on_stream = READ_STREAM},
    {.name = "projectToTable",
     .alias = "events project --to table",
     .actions = READ_ALL,
     .on_stream = READ_STREAM,
     .on_models = KEEP_ROWS},
    {.name = "init", .alias = "events init", .actions = "dynamodb:CreateTable dynamodb:DescribeTable"},
    {.name = "initWithSnapshots",
     .alias = "events init --snapshots",
     .actions = "dynamodb:CreateTable dynamodb:DescribeTable",
     .on_snapshots = "dynamodb:CreateTable dynamodb:DescribeTable dynamodb:UpdateTimeToLive"},
    {.name = NULL}};

const tr_schema_operation *tr_schema_operations(void)
{
    return operations;
}

static const tr_schema_operation *find(const char *name)
{
    for (const tr_schema_operation *o = operations; o->name; o++)
        if (strcmp(o->name, name) == 0 ||
            (o->alias && (strcmp(o->alias, name) == 0 || strcmp(o->alias + strlen("events "), name) == 0)))
            return o;
    return NULL;
}

static tr_view next_word(const char **text)
{
    const char *begin = *text + strspn(*text, " ");
    size_t len = strcspn(begin, " ");
    *text = begin + len;
    return tr_view_of(begin, len);
}

/* The set of actions on one resource. */
#define ACTIONS_MAX 32
typedef struct actions {
    tr_view names[ACTIONS_MAX];
    size_t count;
} actions;

static void add_actions(actions *set, const char *words)
{
    const char *at = words ? words : "";
    for (tr_view word = next_word(&at); word.len; word = next_word(&at)) {
        size_t i = 0;
        while (i < set->count && !tr_view_eq(set->names[i], word))
            i++;
        if (i == set->count && set->count < ACTIONS_MAX)
            set->names[set->count++] = word;
    }
}

static void write_statement(tr_json_writer *w, const char *sid, const actions *set, const char *resource)
{
    if (!set->count)
        return;
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "Sid", sid);
    tr_json_member_cstring(w, "Effect", "Allow");
    tr_json_name(w, "Action");
    tr_json_begin_array(w);
    for (size_t i = 0; i < set->count; i++)
        tr_json_string(w, set->names[i]);
    tr_json_end_array(w);
    tr_json_member_cstring(w, "Resource", resource);
    tr_json_end_object(w);
}

#define ARN_MAX 1024
enum {
    ON_TABLE,
    ON_INDEX,
    ON_STREAM,
    ON_BUS,
    ON_SNAPSHOTS,
    ON_LEASES,
    ON_HISTORY,
    ON_MODELS,
    ON_TARGET,
    RESOURCES
};

static void write_policy(tr_json_writer *w, const actions sets[RESOURCES], const tr_schema_iam_options *o)
{
    static const struct {
        const char *sid, *service, *before, *after;
    } shapes[RESOURCES] = {
        {"Events", "dynamodb", "table/", ""},
        {"InitialEvents", "dynamodb", "table/", "/index/" TR_EVENT_TABLE_INITIAL_EVENT_INDEX_NAME},
        {"Stream", "dynamodb", "table/", "/stream/*"},
        {"Bus", "events", "event-bus/", ""},
        {"Snapshots", "dynamodb", "table/", ""},
        {"Leases", "dynamodb", "table/", ""},
        {"History", "dynamodb", "table/", "-history"},
        {"Models", "dynamodb", "table/", ""},
        {"Target", "dynamodb", "table/", ""}};
    const char *leases = o->leases ? o->leases : "leases";
    const char *table = o->table ? o->table : TR_EVENT_TABLE;
    const char *names[RESOURCES] = {table,
                                    table,
                                    table,
                                    o->bus ? o->bus : "default",
                                    o->snapshots ? o->snapshots : TR_SNAPSHOT_TABLE,
                                    leases,
                                    leases,
                                    o->models ? o->models : "models",
                                    o->target ? o->target : "target"};
    tr_buf arn;
    tr_buf_init(&arn, ARN_MAX);
    tr_json_begin_object(w);
    tr_json_member_cstring(w, "Version", "2012-10-17");
    tr_json_name(w, "Statement");
    tr_json_begin_array(w);
    for (size_t i = 0; i < RESOURCES; i++) {
        tr_buf_reset(&arn);
        tr_buf_printf(&arn, "arn:%s:%s:%s:%s:%s%s%s", o->partition ? o->partition : "aws", shapes[i].service,
                      o->region ? o->region : "*", o->account ? o->account : "*", shapes[i].before, names[i],
                      shapes[i].after);
        const char *text = tr_buf_cstr(&arn);
        write_statement(w, shapes[i].sid, &sets[i], text ? text : "");
    }
    tr_json_end_array(w);
    tr_json_end_object(w);
    tr_buf_done(&arn);
}

int tr_schema_write_iam(const char *const *names, size_t count, const tr_schema_iam_options *options,
                        tr_buf *out, tr_error *err)
{
    static const tr_schema_iam_options defaults = {.partition = NULL};
    actions sets[RESOURCES] = {0};
    tr_buf compact;
    tr_json_writer w;
    if (count == 0)
        return tr_fail(err, TR_EINVAL, "rights are for operations: name one or more");
    for (size_t i = 0; i < count; i++) {
        const tr_schema_operation *o = find(names[i]);
        if (!o)
            return tr_fail(err, TR_EINVAL, "unknown operation '%.100s'", names[i]);
        add_actions(&sets[ON_TABLE], o->actions);
        add_actions(&sets[ON_INDEX], o->on_index);
        add_actions(&sets[ON_STREAM], o->on_stream);
        add_actions(&sets[ON_BUS], o->on_bus);
        add_actions(&sets[ON_SNAPSHOTS], o->on_snapshots);
        add_actions(&sets[ON_LEASES], o->on_leases);
        add_actions(&sets[ON_HISTORY], o->on_history);
        add_actions(&sets[ON_MODELS], o->on_models);
        add_actions(&sets[ON_TARGET], o->on_target);
    }
    tr_buf_init(&compact, out->limit);
    tr_json_write_init(&w, &compact);
    write_policy(&w, sets, options ? options : &defaults);
    (void)tr__json_pretty(tr_buf_view(&compact), out);
    tr_buf_done(&compact);
    int e = tr_buf_status(out);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}
