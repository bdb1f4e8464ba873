/* SPDX-License-Identifier: MIT */
/* tailrace backup, tailrace restore. */
#include "cli/where.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define REPLY_MAX ((size_t)16 << 20)
/* Between looks whether a table is restored. */
#define LOOK_MS 200

enum { OPT_NAME = 0x100, OPT_FROM, OPT_TABLE, OPT_AT, OPT_NO_WAIT };

static const tr_cli_option backup_options[] = {
    {"name", OPT_NAME, "NAME", "create: what the backup is called (backup)"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};
static const tr_cli_option restore_options[] = {
    {"from", OPT_FROM, "ARN", "the backup"},
    {"table", OPT_TABLE, "TABLE", "the table whose point in time is restored, in place of a backup"},
    {"at", OPT_AT, "TIME", "that point in time, RFC 3339 with an offset (now)"},
    {"no-wait", OPT_NO_WAIT, NULL, "do not wait until the table is filled"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct job {
    const char *verb, *argument, *name, *from, *table;
    int64_t at_ms;
    bool at_given, no_wait;
    tr_cli_where where;
    tr_cli_place place;
    tr_buf body, reply, line;
    tr_arena arena;
    tr_json_writer w;
} job;

static void begin(job *j)
{
    tr_buf_reset(&j->body);
    tr_json_write_init(&j->w, &j->body);
    tr_json_begin_object(&j->w);
}

static int call(job *j, const char *operation, tr_error *err)
{
    tr_json_end_object(&j->w);
    tr_buf_reset(&j->reply);
    const tr_request request = {
        .service = TR_DYNAMODB, .operation = operation, .body = tr_buf_view(&j->body)};
    return tr_client_call_wait(j->place.client, &request, &j->reply, err);
}

/* A member of the answer, as a line. */
static int print_member(job *j, const char *name, tr_error *err)
{
    tr_view value;
    if (tr_json_member(tr_buf_view(&j->reply), name, &j->arena, &value))
        return tr_fail(err, TR_EPARSE, "the server's answer has no %s", name);
    tr_buf_reset(&j->line);
    tr_buf_put_view(&j->line, value);
    tr_buf_putc(&j->line, '\n');
    return tr_cli_print(tr_buf_view(&j->line), err);
}

/* ------------------------------------------------------------------------------------------------- backup */

static int create(job *j, tr_error *err)
{
    begin(j);
    tr_json_member_cstring(&j->w, "TableName", j->argument);
    tr_json_member_cstring(&j->w, "BackupName", j->name ? j->name : "backup");
    int e = call(j, "CreateBackup", err);
    return e ? e : print_member(j, "BackupDetails", err);
}

static int delete (job *j, tr_error *err)
{
    begin(j);
    tr_json_member_cstring(&j->w, "BackupArn", j->argument);
    return call(j, "DeleteBackup", err);
}

/* The summaries of a page, a line each; ret_last: where the next begins, empty at the end. */
static int print_page(job *j, char *ret_last, size_t room, tr_error *err)
{
    tr_view list, one, last;
    tr_json_reader r;
    int e = 0;
    ret_last[0] = 0;
    if (tr_json_member(tr_buf_view(&j->reply), "BackupSummaries", &j->arena, &list))
        return tr_fail(err, TR_EPARSE, "the server's answer has no BackupSummaries");
    tr_json_init(&r, list, &j->arena);
    (void)tr_json_next(&r);
    while (e == 0 && tr_json_next(&r) == TR_JSON_OBJECT && tr_json_raw(&r, &one) == 0) {
        tr_buf_reset(&j->line);
        tr_buf_put_view(&j->line, one);
        tr_buf_putc(&j->line, '\n');
        e = tr_cli_print(tr_buf_view(&j->line), err);
    }
    if (!e && tr_json_member(tr_buf_view(&j->reply), "LastEvaluatedBackupArn", &j->arena, &last) == 0 &&
        last.len > 2 && last.len - 2 < room) {
        memcpy(ret_last, last.ptr + 1, last.len - 2);
        ret_last[last.len - 2] = 0;
    }
    return e;
}

static int list(job *j, tr_error *err)
{
    char last[1100] = "";
    int e;
    do {
        begin(j);
        if (j->argument)
            tr_json_member_cstring(&j->w, "TableName", j->argument);
        if (last[0])
            tr_json_member_cstring(&j->w, "ExclusiveStartBackupArn", last);
        e = call(j, "ListBackups", err);
        if (!e)
            e = print_page(j, last, sizeof last, err);
        tr_arena_reset(&j->arena);
    } while (!e && last[0]);
    return e;
}

static int parse_backup(tr_cli *cli, job *j)
{
    int option;
    while ((option = tr_cli_next(cli)) > 0)
        if (!tr_cli_where_take(&j->where, option, cli))
            j->name = cli->value;
    if (option < 0)
        return cli->exit_code ? cli->exit_code : -1;
    j->verb = cli->argc ? cli->argv[0] : "";
    j->argument = cli->argc > 1 ? cli->argv[1] : NULL;
    bool lists = strcmp(j->verb, "list") == 0,
         known = lists || !strcmp(j->verb, "create") || !strcmp(j->verb, "delete");
    if (!known || cli->argc > 2 || (!lists && !j->argument))
        return tr_cli_usage(cli, "create TABLE, list [TABLE] or delete ARN is needed");
    return 0;
}

static int back_up(job *j, tr_error *err)
{
    return j->verb[0] == 'c' ? create(j, err) : j->verb[0] == 'l' ? list(j, err) : delete (j, err);
}

/* ------------------------------------------------------------------------------------------------ restore */

static int parse_restore(tr_cli *cli, job *j)
{
    int option;
    while ((option = tr_cli_next(cli)) > 0) {
        if (tr_cli_where_take(&j->where, option, cli))
            continue;
        if (option == OPT_FROM)
            j->from = cli->value;
        else if (option == OPT_TABLE)
            j->table = cli->value;
        else if (option == OPT_NO_WAIT)
            j->no_wait = true;
        else if (tr_time_parse(tr_view_str(cli->value), &j->at_ms))
            return tr_cli_usage(cli, "--at takes a time such as 2026-01-31T12:00:00+01:00, not '%s'",
                                cli->value);
        else
            j->at_given = true;
    }
    if (option < 0)
        return cli->exit_code ? cli->exit_code : -1;
    if (cli->argc != 1)
        return tr_cli_usage(cli, "one TARGET, the new table's name, is needed");
    if (!j->from == !j->table || (j->from && j->at_given))
        return tr_cli_usage(cli, "either --from ARN or --table TABLE [--at TIME] is needed");
    j->argument = cli->argv[0];
    return tr_cli_table_name(cli, j->argument);
}

/* Looks until the table is filled. */
static int wait_active(job *j, tr_error *err)
{
    for (;;) {
        tr_view table, status;
        tr_arena_reset(&j->arena);
        begin(j);
        tr_json_member_cstring(&j->w, "TableName", j->argument);
        int e = call(j, "DescribeTable", err);
        if (e)
            return e;
        if (tr_json_member(tr_buf_view(&j->reply), "Table", &j->arena, &table) ||
            tr_json_member(table, "TableStatus", &j->arena, &status))
            return tr_fail(err, TR_EPARSE, "the server described no table");
        if (tr_view_is(status, "\"ACTIVE\""))
            return print_member(j, "Table", err);
        if (tr_cli_stopped())
            return tr_fail(err, TR_ECANCELED, "interrupted; the table is being filled");
        const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
}

static int restore(job *j, tr_error *err)
{
    begin(j);
    tr_json_member_cstring(&j->w, "TargetTableName", j->argument);
    if (j->from) {
        tr_json_member_cstring(&j->w, "BackupArn", j->from);
    } else {
        tr_json_member_cstring(&j->w, "SourceTableName", j->table);
        if (j->at_given) {
            tr_json_name(&j->w, "RestoreDateTime");
            tr_buf_printf(&j->body, "%" PRId64 ".%03d", j->at_ms / 1000, (int)(j->at_ms % 1000));
        } else {
            tr_json_member_bool(&j->w, "UseLatestRestorableTime", true);
        }
    }
    int e = call(j, j->from ? "RestoreTableFromBackup" : "RestoreTableToPointInTime", err);
    if (e)
        return e;
    /* a server of this process would end before the table is filled */
    bool wait = !j->no_wait || j->place.server;
    return wait ? wait_active(j, err) : print_member(j, "TableDescription", err);
}

static int carry_out(tr_cli *cli, int (*parse)(tr_cli *, job *), int (*run)(job *, tr_error *))
{
    job j = {.verb = NULL};
    tr_error err = {0};
    int usage = parse(cli, &j);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    tr_buf_init(&j.body, 16 * 1024);
    tr_buf_init(&j.reply, REPLY_MAX);
    tr_buf_init(&j.line, REPLY_MAX);
    tr_arena_init(&j.arena, 4 * REPLY_MAX);
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(&j.where, &j.place, &err);
    if (!e)
        e = run(&j, &err);
    tr_cli_disconnect(&j.place);
    tr_buf_done(&j.body);
    tr_buf_done(&j.reply);
    tr_buf_done(&j.line);
    tr_arena_done(&j.arena);
    return e ? tr_cli_fail(&err) : TR_EXIT_OK;
}

static int run_backup(tr_cli *cli)
{
    return carry_out(cli, parse_backup, back_up);
}

static int run_restore(tr_cli *cli)
{
    return carry_out(cli, parse_restore, restore);
}

const tr_cli_command tr_cli_backup = {.name = "backup",
                                      .summary = "Back tables up, list backups, delete them.",
                                      .arguments = "create TABLE | list [TABLE] | delete ARN",
                                      .text = "What was made or found is printed as a line of JSON each.",
                                      .options = backup_options,
                                      .run = run_backup};

const tr_cli_command tr_cli_restore = {
    .name = "restore",
    .summary = "Make a table out of a backup or out of a point in time of another table.",
    .arguments = "TARGET --from ARN | TARGET --table TABLE [--at TIME]",
    .text = "Waits until the table is filled, and prints its description.",
    .options = restore_options,
    .run = run_restore};
