/* SPDX-License-Identifier: MIT */
/* tailrace api: any operation, JSON in and JSON out. */
#include "api/api.h"
#include "cli/where.h"

#define BODY_MAX  ((size_t)16 << 20)
#define REPLY_MAX ((size_t)256 << 20)

enum { OPT_INPUT = 'i', OPT_SERVICE = 0x100 };

static const tr_cli_option options[] = {
    {"input", OPT_INPUT, "FILE", "read the request from a file, - is the standard input"},
    {"service", OPT_SERVICE, "dynamodb|streams|events|sqs", "else the one that has such an operation"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

static const struct {
    const char *name;
    tr_service service;
} services[] = {{"dynamodb", TR_DYNAMODB}, {"streams", TR_STREAMS}, {"events", TR_EVENTS}, {"sqs", TR_SQS}};

typedef struct call {
    const char *input, *service_name;
    tr_service service;
    tr_cli_where where;
    tr_cli_place place;
    tr_buf body, reply;
} call;

/* The first service that has an operation of that name. TagResource and its kin are DynamoDB's unless
 * --service says else. */
static int find_service(tr_cli *cli, call *c)
{
    tr_view operation = tr_view_str(cli->argv[0]);
    for (size_t i = 0; i < TR_COUNT(services); i++) {
        bool named = c->service_name && strcmp(c->service_name, services[i].name) == 0;
        if (!named && (c->service_name || !tr_api_knows(services[i].service, operation)))
            continue;
        c->service = services[i].service;
        return 0;
    }
    if (c->service_name)
        return tr_cli_usage(cli, "--service is dynamodb, streams, events or sqs, not '%s'", c->service_name);
    return tr_cli_usage(cli, "no service has an operation %s that this version knows; name it with --service",
                        cli->argv[0]);
}

static int parse(tr_cli *cli, call *c)
{
    int option;
    while ((option = tr_cli_next(cli)) > 0) {
        if (tr_cli_where_take(&c->where, option, cli))
            continue;
        if (option == OPT_INPUT)
            c->input = cli->value;
        else
            c->service_name = cli->value;
    }
    if (option < 0)
        return cli->exit_code ? cli->exit_code : -1;
    if (cli->argc < 1 || cli->argc > 2 || (cli->argc == 2 && c->input))
        return tr_cli_usage(cli, "an OPERATION is needed, and its request as an argument or with --input");
    return find_service(cli, c);
}

/* Whatever is no JSON object is told here, before anything is sent. */
static int check_body(call *c, tr_error *err)
{
    tr_arena arena;
    tr_json_reader r;
    tr_arena_init(&arena, 4 * BODY_MAX);
    tr_json_init(&r, tr_buf_view(&c->body), &arena);
    tr_json_token token = tr_json_next(&r);
    bool object = token == TR_JSON_OBJECT;
    while (token != TR_JSON_DONE && token != TR_JSON_ERROR)
        token = tr_json_next(&r);
    tr_arena_done(&arena);
    return object && token == TR_JSON_DONE ? 0 : tr_fail(err, TR_EINVAL, "the request is not a JSON object");
}

static int read_body(tr_cli *cli, call *c, tr_error *err)
{
    int e = 0;
    if (c->input)
        e = tr_cli_read_file(c->input, &c->body, err);
    else
        tr_buf_put_str(&c->body, cli->argc == 2 ? cli->argv[1] : "{}");
    return e ? e : check_body(c, err);
}

static int send(tr_cli *cli, call *c, tr_error *err)
{
    const tr_request request = {
        .service = c->service, .operation = cli->argv[0], .body = tr_buf_view(&c->body)};
    int e = tr_client_call_wait(c->place.client, &request, &c->reply, err);
    if (!c->reply.len)
        return e;
    /* the answer of an error too: it may hold more than its message */
    tr_error printing;
    tr_buf_putc(&c->reply, '\n');
    int p = tr_cli_print(tr_buf_view(&c->reply), &printing);
    if (!e && p) {
        *err = printing;
        return p;
    }
    return e;
}

/* Operations with which a new directory may begin. */
static bool makes(const char *operation)
{
    static const char *const first[] = {"Create", "Import", "Restore"};
    for (size_t i = 0; i < TR_COUNT(first); i++)
        if (strncmp(operation, first[i], strlen(first[i])) == 0)
            return true;
    return false;
}

static int run(tr_cli *cli)
{
    call c = {.input = NULL};
    tr_error err = {0};
    int usage = parse(cli, &c);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    c.where.makes = makes(cli->argv[0]);
    tr_buf_init(&c.body, BODY_MAX);
    tr_buf_init(&c.reply, REPLY_MAX);
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = read_body(cli, &c, &err);
    if (!e)
        e = tr_cli_connect(&c.where, &c.place, &err);
    if (!e)
        e = send(cli, &c, &err);
    tr_cli_disconnect(&c.place);
    tr_buf_done(&c.body);
    tr_buf_done(&c.reply);
    return e ? tr_cli_fail(&err) : TR_EXIT_OK;
}

const tr_cli_command tr_cli_api = {
    .name = "api",
    .summary = "Any operation of DynamoDB, its streams, EventBridge or SQS: JSON in, JSON out.",
    .arguments = "OPERATION [JSON]",
    .text =
        "tailrace api GetItem '{\"TableName\":\"users\",\"Key\":{\"id\":{\"S\":\"7\"}}}' --data ./mydata\n"
        "The answer goes to the standard output, that of an error too; the exit code tells.",
    .options = options,
    .run = run};
