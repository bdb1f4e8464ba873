/* SPDX-License-Identifier: MIT */
#include "eventstore/schema.h"

#include <tailrace/aggregate.h>
#include <tailrace/eventstore.h>
#include <tailrace/json.h>

/* Transactions are allowed by the rights of the actions within them (Developer Guide, "IAM and
 * transactions"). */
static const tr_schema_operation operations[] = {
    {"getEvents", "events get", "dynamodb:Query", NULL, NULL, NULL, NULL, NULL},
    {"getAggregate", "events aggregate", "dynamodb:Query", NULL, NULL, NULL, NULL, NULL},
    {"getExistingAggregate", NULL, "dynamodb:Query", NULL, NULL, NULL, NULL, NULL},
    {"pushEvent", "events push", "dynamodb:PutItem", NULL, NULL, NULL, NULL, NULL},
    {"pushEventGroup", "events group", "dynamodb:PutItem", NULL, NULL, NULL, NULL, NULL},
    {"pushEventStrict", "events push --strict", "dynamodb:PutItem dynamodb:ConditionCheckItem", NULL, NULL,
     NULL, NULL, NULL},
    {"pushEventAny", "events push --expect any", "dynamodb:PutItem dynamodb:Query", NULL, NULL, NULL, NULL,
     NULL},
    {"checkAggregate", NULL, "dynamodb:ConditionCheckItem", NULL, NULL, NULL, NULL, NULL},
    {"listAggregateIds", "events list", "", "dynamodb:Query", NULL, NULL, NULL, NULL},
    {"getAggregateWithSnapshots", "events aggregate --snapshots", "dynamodb:Query", NULL, NULL, NULL,
     "dynamodb:Query dynamodb:PutItem dynamodb:DeleteItem", NULL},
    {"command", NULL, "dynamodb:Query dynamodb:PutItem", NULL, NULL, NULL, NULL, NULL},
    {"init", "events init", "dynamodb:CreateTable dynamodb:DescribeTable", NULL, NULL, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}};

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
enum { ON_TABLE, ON_INDEX, ON_STREAM, ON_BUS, ON_SNAPSHOTS, ON_LEASES, RESOURCES };

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
        {"Leases", "dynamodb", "table/", ""}};
    const char *table = o->table ? o->table : TR_EVENT_TABLE;
    const char *names[RESOURCES] = {table,
                                    table,
                                    table,
                                    o->bus ? o->bus : "default",
                                    o->snapshots ? o->snapshots : TR_SNAPSHOT_TABLE,
                                    o->leases ? o->leases : "leases"};
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
    static const tr_schema_iam_options defaults = {NULL, NULL, NULL, NULL, NULL, NULL, NULL};
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
    }
    tr_buf_init(&compact, out->limit);
    tr_json_write_init(&w, &compact);
    write_policy(&w, sets, options ? options : &defaults);
    (void)tr__json_pretty(tr_buf_view(&compact), out);
    tr_buf_done(&compact);
    int e = tr_buf_status(out);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}
