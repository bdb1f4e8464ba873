/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "cli/project/stack.h"

#include <tailrace/eventstore.h>
#include <tailrace/schema.h>

#include <errno.h>
#include <stdio.h>

enum {
    OPT_FORMAT = 0x100,
    OPT_TABLE,
    OPT_STREAM,
    OPT_FOR,
    OPT_REGION,
    OPT_ACCOUNT,
    OPT_PARTITION,
    OPT_SNAPSHOTS,
    OPT_LEASES,
    OPT_MODELS,
    OPT_TARGET,
    OPT_BUS,
    OPT_OPERATIONS,
    OPT_STAGE,
    OPT_CONFIG = 'c'
};

#define OPERATIONS_MAX 64
#define OUTPUT_MAX     ((size_t)8 << 20)

static const tr_cli_option options[] = {
    {"format", OPT_FORMAT, "json|aws-cli|cloudformation|cdk|terraform", "how the table is described (json)"},
    {"table", OPT_TABLE, "TABLE", "the table's name"},
    {"stream", OPT_STREAM, NULL, "with the change stream that publishing and subscriptions need"},
    {"for", OPT_FOR, "OPERATION", "iam: an operation that is to be allowed; may be repeated"},
    {"operations", OPT_OPERATIONS, NULL, "iam: list the operations and what they need"},
    {"region", OPT_REGION, "REGION", "iam: of the resources (*)"},
    {"account", OPT_ACCOUNT, "ID", "iam: of the resources (*)"},
    {"partition", OPT_PARTITION, "NAME", "iam: of the resources (aws)"},
    {"snapshots", OPT_SNAPSHOTS, "TABLE", "iam: the snapshots' table (snapshots)"},
    {"leases", OPT_LEASES, "TABLE", "iam: the lease table of competing consumers (leases)"},
    {"models", OPT_MODELS, "TABLE", "iam: the table of read models (models)"},
    {"target", OPT_TARGET, "TABLE", "iam: the table that events are copied to (target)"},
    {"bus", OPT_BUS, "NAME", "iam: the event bus (default)"},
    {"config", OPT_CONFIG, "FILE", "stack: the project (tailrace.yaml, else serverless.yml)"},
    {"stage", OPT_STAGE, "STAGE", "stack: what ${stage} stands for in it"},
    {NULL, 0, NULL, NULL}};

typedef struct schema_command {
    tr_cli *cli;
    const char *format;
    tr_schema_options schema;
    tr_schema_iam_options iam;
    const char *operations[OPERATIONS_MAX];
    size_t operation_count;
    bool list;
    const char *config, *stage;
} schema_command;

static int print(tr_buf *out)
{
    if (fwrite(out->ptr, 1, out->len, stdout) == out->len && fflush(stdout) == 0)
        return TR_EXIT_OK;
    tr_cli_message(TR_LOG_ERROR, "writing to the standard output: %s", strerror(errno));
    return TR_EXIT_FAILURE;
}

static void list_operations(tr_buf *out)
{
    for (const tr_schema_operation *o = tr_schema_operations(); o->name; o++) {
        tr_buf_printf(out, "%-34s %-52s %s\n", o->name, o->alias ? o->alias : "", o->actions);
        const char *const more[] = {o->on_index,  o->on_stream,  o->on_bus,    o->on_snapshots,
                                    o->on_leases, o->on_history, o->on_models, o->on_target};
        const char *const where[] = {"index",  "stream",  "bus",    "snapshots",
                                     "leases", "history", "models", "target"};
        for (size_t i = 0; i < TR_COUNT(more); i++)
            if (more[i])
                tr_buf_printf(out, "%-34s %-52s %s (%s)\n", "", "", more[i], where[i]);
    }
}

static int write_iam(schema_command *c, tr_buf *out, tr_error *err)
{
    if (c->list) {
        list_operations(out);
        return 0;
    }
    return tr_schema_write_iam(c->operations, c->operation_count, &c->iam, out, err);
}

static int take_option(schema_command *c, int option)
{
    const char **texts[] = {[0] = &c->format,
                            [OPT_TABLE - OPT_FORMAT] = &c->schema.table,
                            [OPT_REGION - OPT_FORMAT] = &c->iam.region,
                            [OPT_ACCOUNT - OPT_FORMAT] = &c->iam.account,
                            [OPT_PARTITION - OPT_FORMAT] = &c->iam.partition,
                            [OPT_SNAPSHOTS - OPT_FORMAT] = &c->iam.snapshots,
                            [OPT_LEASES - OPT_FORMAT] = &c->iam.leases,
                            [OPT_MODELS - OPT_FORMAT] = &c->iam.models,
                            [OPT_TARGET - OPT_FORMAT] = &c->iam.target,
                            [OPT_BUS - OPT_FORMAT] = &c->iam.bus};
    if (option == OPT_CONFIG)
        c->config = c->cli->value;
    else if (option == OPT_STAGE)
        c->stage = c->cli->value;
    else if (option == OPT_STREAM)
        c->schema.stream = true;
    else if (option == OPT_OPERATIONS)
        c->list = true;
    else if (option != OPT_FOR)
        *texts[option - OPT_FORMAT] = c->cli->value;
    else if (c->operation_count < OPERATIONS_MAX)
        c->operations[c->operation_count++] = c->cli->value;
    else
        return tr_cli_usage(c->cli, "at most %d operations", OPERATIONS_MAX);
    return 0;
}

static void tell(void *ctx, const char *message)
{
    (void)ctx;
    tr_cli_message(TR_LOG_WARN, "%s", message);
}

static int write_stack(schema_command *c, tr_buf *out, tr_error *err, int *ret_usage)
{
    tr_project *project = NULL;
    if (c->cli->argc > 1 || (c->format && strcmp(c->format, "cloudformation") != 0)) {
        *ret_usage = tr_cli_usage(
            c->cli, "usage: tailrace schema stack [-c FILE] [--stage STAGE] [--format cloudformation]");
        return 0;
    }
    int e = tr_project_open(c->config, c->stage, &project, err);
    if (!e)
        e = tr_project_stack(project, tell, NULL, out, err);
    tr_project_free(project);
    return e;
}

static int write_schema(schema_command *c, tr_buf *out, tr_error *err, int *ret_usage)
{
    tr_schema_table table;
    tr_schema_format format = TR_SCHEMA_JSON;
    const char *what = c->cli->argv[0];
    if (strcmp(what, "stack") == 0)
        return write_stack(c, out, err, ret_usage);
    if (strcmp(what, "iam") == 0) {
        c->iam.table = c->schema.table;
        /* further arguments are operations too: schema iam --for getEvents pushEvent */
        for (int i = 1; i < c->cli->argc && c->operation_count < OPERATIONS_MAX; i++)
            c->operations[c->operation_count++] = c->cli->argv[i];
        return write_iam(c, out, err);
    }
    if (tr_schema_table_by_name(what, &table) || c->cli->argc > 1) {
        *ret_usage = tr_cli_usage(c->cli, "events, legacy-events, snapshots, log, iam or stack is needed");
        return 0;
    }
    if (c->format && tr_schema_format_by_name(c->format, &format)) {
        *ret_usage = tr_cli_usage(
            c->cli, "--format is json, aws-cli, cloudformation, cdk or terraform, not '%s'", c->format);
        return 0;
    }
    return tr_schema_write(table, format, &c->schema, out, err);
}

static int run(tr_cli *cli)
{
    schema_command c = {.cli = cli};
    int option, usage = 0;
    while (!usage && (option = tr_cli_next(cli)) > 0)
        usage = take_option(&c, option);
    if (usage || option < 0)
        return usage ? usage : cli->exit_code;
    if (cli->argc < 1)
        return tr_cli_usage(cli, "events, legacy-events, snapshots, log, iam or stack is needed");
    tr_error err;
    tr_buf out;
    tr_buf_init(&out, OUTPUT_MAX);
    int e = write_schema(&c, &out, &err, &usage);
    int status = usage ? usage : e ? tr_cli_fail(&err) : print(&out);
    tr_buf_done(&out);
    return status;
}

const tr_cli_command tr_cli_schema = {
    .name = "schema",
    .summary = "Describe the tables for other tools, and the rights that operations need.",
    .arguments = "events | legacy-events | snapshots | log | iam --for OPERATION… | stack",
    .text = "The descriptions are made from the same constants as the tables that `events init` and `log "
            "init` create.",
    .options = options,
    .run = run};
