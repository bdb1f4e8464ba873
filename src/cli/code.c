/* SPDX-License-Identifier: MIT */
#include "cli/code.h"

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
