/* SPDX-License-Identifier: MIT */
#include "cli/code.h"

#include <stdio.h>

int tr_cli_code_take(tr_cli_code *code, int option, const tr_cli *cli, bool *ret_taken)
{
    static const tr_handler_kind kinds[] = {TR_HANDLER_EXEC, TR_HANDLER_EXEC_EACH, TR_HANDLER_URL,
                                            TR_HANDLER_LAMBDA};
    *ret_taken = true;
    if (option >= TR_CLI_EXEC && option <= TR_CLI_HANDLER) {
        if (code->given)
            return tr_cli_usage(cli,
                                "one of --exec, --exec-each, --url and --handler is needed, not several");
        code->given = true;
        code->options.kind = kinds[option - TR_CLI_EXEC];
        code->options.target = cli->value;
        return 0;
    }
    if (option == TR_CLI_TIMEOUT)
        return tr_cli_duration(cli, "timeout", &code->options.timeout_ms);
    if (option == TR_CLI_ENV) {
        if (code->options.environment_count == TR_CLI_ENV_MAX)
            return tr_cli_usage(cli, "--env may be given at most %d times", TR_CLI_ENV_MAX);
        code->env[code->options.environment_count++] = cli->value;
        return 0;
    }
    *ret_taken = false;
    return 0;
}

/* What the code says goes to stderr, a line at a time. */
static void print_line(void *ctx, tr_view line)
{
    (void)ctx;
    tr_cli_say(NULL, line);
}

void tr_cli_code_place(tr_cli_code *code, tr_client *client)
{
    code->options.environment = code->env;
    code->options.on_log = print_line;
    code->options.logger = tr_cli_logger();
    if (client && !tr_client_is_aws(client)) {
        const char *endpoint = tr_client_endpoint(client, TR_DYNAMODB);
        code->options.endpoint = strncmp(endpoint, "http", 4) == 0 ? endpoint : "http://127.0.0.1:8000";
        code->options.region = tr_client_region(client);
    }
}

int tr_cli_code_open(tr_cli_code *code, tr_handler **ret_handler, tr_error *err)
{
    tr_handler *handler;
    int e = tr_handler_new(&code->options, &handler, err);
    if (!e && (e = tr_handler_check(handler, err)))
        tr_handler_free(handler);
    if (!e)
        *ret_handler = handler;
    return e;
}

int tr_cli_failures_open(const char *destination, const tr_cli_code *code, const tr_cli_where *where,
                         tr_client *client, tr_failure_sink **ret_sink, tr_error *err)
{
    const tr_failure_options o = {.destination = destination,
                                  .check = true,
                                  .client = client,
                                  .region = where->region,
                                  .profile = where->profile,
                                  .handler = &code->options,
                                  .logger = tr_cli_logger()};
    return tr_failure_sink_open(&o, ret_sink, err);
}

int tr_cli_failures_there(const char *destination, tr_client *client, tr_error *err)
{
    static const char *const kinds[] = {
        [TR_FAILURE_TABLE] = "table", [TR_FAILURE_QUEUE] = "queue", [TR_FAILURE_BUS] = "bus"};
    char text[1200];
    tr_failure_place place;
    tr_failure_sink *sink;
    tr_error why;
    if (tr_failure_parse(destination, &place, &why) || place.kind >= TR_COUNT(kinds) || !kinds[place.kind])
        return 0;
    (void)snprintf(text, sizeof text, "%s:%.*s", kinds[place.kind], TR_FMT(place.name));
    const tr_failure_options o = {.destination = text, .existing = true, .check = true, .client = client};
    int e = tr_failure_sink_open(&o, &sink, &why);
    if (!e)
        tr_failure_sink_free(sink);
    return e == TR_ENOTFOUND ? tr_fail(err, e, "%s", why.message) : 0;
}
