/* SPDX-License-Identifier: MIT */
/* tailrace check: reads a whole data directory and tells what is not as it should be. */
#include "cli/cli.h"
#include "engine/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define PATH_SIZE 4096

static const tr_cli_option options[] = {{NULL, 0, NULL, NULL}};

static void tell(void *ctx, const char *problem)
{
    tr_buf *line = ctx;
    tr_json_writer w;
    tr_error err;
    tr_buf_reset(line);
    tr_json_write_init(&w, line);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "problem", problem);
    tr_json_end_object(&w);
    tr_buf_putc(line, '\n');
    (void)tr_cli_print(tr_buf_view(line), &err);
}

/* Opening would make one. A store whose FORMAT alone is missing is damaged, which opening tells. */
static bool is_ours(const char *dir)
{
    static const char *const names[] = {"FORMAT", "store/CURRENT"};
    struct stat info;
    char path[PATH_SIZE];
    for (size_t i = 0; i < TR_COUNT(names); i++) {
        int n = snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (n > 0 && (size_t)n < sizeof path && stat(path, &info) == 0)
            return true;
    }
    return false;
}

static int check(const char *dir, uint64_t *ret_problems, tr_error *err)
{
    struct stat info;
    tr_buf line;
    tr_engine *engine;
    const tr_engine_options engine_options = {.dir = dir, .logger = tr_cli_logger()};
    if (stat(dir, &info) || !S_ISDIR(info.st_mode))
        return tr_fail(err, TR_ENOTFOUND, "there is no directory %s", dir);
    if (!is_ours(dir))
        return tr_fail(err, TR_ENOTFOUND, "%s is no tailrace directory: there is no file FORMAT in it", dir);
    int e = tr_engine_open(&engine_options, &engine, err);
    if (e)
        return e;
    tr_buf_init(&line, 64 * 1024);
    e = tr_engine_check(engine, tell, &line, ret_problems, err);
    tr_engine_close(engine);
    tr_buf_done(&line);
    return e;
}

static int run(tr_cli *cli)
{
    tr_error err = {0};
    uint64_t problems = 0;
    int option = tr_cli_next(cli);
    if (option < 0)
        return cli->exit_code;
    if (cli->argc != 1)
        return tr_cli_usage(cli, "one DIR is needed");
    int e = check(cli->argv[0], &problems, &err);
    if (e)
        return tr_cli_fail(&err);
    tr_cli_message(problems ? TR_LOG_ERROR : TR_LOG_INFO, "%s: %" PRIu64 " problem%s", cli->argv[0], problems,
                   problems == 1 ? "" : "s");
    return problems ? TR_EXIT_FAILURE : TR_EXIT_OK;
}

const tr_cli_command tr_cli_check = {.name = "check",
                                     .summary =
                                         "Read a whole data directory and tell what is not as it should be.",
                                     .arguments = "DIR",
                                     .text = "No server may have it open. Every item and change record must "
                                             "be sound and lie where it should, counts must be\n"
                                             "right, and indexes must hold exactly what follows from the "
                                             "items. Problems are printed as a line of JSON each.",
                                     .options = options,
                                     .run = run};
