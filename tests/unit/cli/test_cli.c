/* SPDX-License-Identifier: MIT */
#include "../test.h"

#include "cli/cli.h"

/* What the subcommand below saw. */
static struct {
    bool ran, loud;
    int64_t wait_ms, pause_ms;
    uint64_t count, bytes;
    int argc;
    char first[32];
} seen;

enum { OPT_WAIT = 'w', OPT_COUNT = 1000, OPT_SIZE, OPT_LOUD, OPT_PAUSE, OPT_REFUSE };
static const tr_cli_option options[] = {{"wait", OPT_WAIT, "DURATION", "how long"},
                                        {"count", OPT_COUNT, "N", "how often"},
                                        {"size", OPT_SIZE, "SIZE", "how much"},
                                        {"pause", OPT_PAUSE, "DURATION", "1s to 1m"},
                                        {"refuse", OPT_REFUSE, NULL, "refused by who takes it"},
                                        {"loud", OPT_LOUD, NULL, "louder"},
                                        {NULL, 0, NULL, NULL}};

static int run(tr_cli *cli)
{
    int option, e = 0;
    while (e == 0 && (option = tr_cli_next(cli)) > 0) {
        switch (option) {
        case OPT_WAIT:
            e = tr_cli_duration(cli, "wait", &seen.wait_ms);
            break;
        case OPT_COUNT:
            e = tr_cli_number(cli, "count", 1, 9, &seen.count);
            break;
        case OPT_SIZE:
            e = tr_cli_size(cli, "size", &seen.bytes);
            break;
        case OPT_PAUSE:
            e = tr_cli_duration_within(cli, "pause", "1s", "1m", &seen.pause_ms);
            break;
        case OPT_REFUSE:
            tr_cli_refuse(cli, "never");
            break;
        default:
            seen.loud = true;
        }
    }
    if (e || option < 0)
        return e ? e : cli->exit_code;
    if (cli->argc && (e = tr_cli_table_name(cli, cli->argv[0])))
        return e;
    seen.ran = true;
    seen.argc = cli->argc;
    if (cli->argc)
        (void)snprintf(seen.first, sizeof seen.first, "%s", cli->argv[0]);
    return TR_EXIT_OK;
}

static const tr_cli_command probe = {"probe", "a probe", "[NAME]", NULL, options, run};
const tr_cli_command *const tr_cli_commands[] = {&probe, NULL};

/* Runs the words of a line. */
static int call(const char *line)
{
    static char text[256]; /* a program's arguments live as long as it does */
    char *argv[16];
    int argc = 0;
    (void)snprintf(text, sizeof text, "tailrace %s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    memset(&seen, 0, sizeof seen);
    return tr_cli_main(argc, argv);
}

static void options_and_arguments_reach_the_command(void **state)
{
    (void)state;
    assert_int_equal(call("probe --wait 90s --count=7 --size 64MiB --loud table --log json"), 0);
    assert_true(seen.ran && seen.loud);
    assert_int_equal(seen.wait_ms, 90000);
    assert_int_equal(seen.count, 7);
    assert_int_equal(seen.bytes, 64 << 20);
    assert_int_equal(seen.argc, 1);
    assert_string_equal(seen.first, "table");
    assert_int_equal(call("probe -w 5m -- --loud"), 0);
    assert_int_equal(seen.wait_ms, 300000);
    assert_string_equal(seen.first, "--loud");
    assert_int_equal(call("probe --pause 1m arn:aws:dynamodb:us-east-1:000000000000:table/orders"), 0);
    assert_int_equal(seen.pause_ms, 60000);
}

static void wrong_usage_ends_with_2(void **state)
{
    (void)state;
    static const char *const lines[] = {"",
                                        "nothing",
                                        "probe --unknown",
                                        "probe --wait",
                                        "probe --wait soon",
                                        "probe --count 10",
                                        "probe --count 0",
                                        "probe --size 1TB",
                                        "probe --size 99999999999999999999GiB",
                                        "probe --pause 0s",
                                        "probe --pause 61s",
                                        "probe --refuse",
                                        "probe ab",
                                        "probe table:1",
                                        "probe --log xml"};
    for (size_t i = 0; i < TR_COUNT(lines); i++) {
        assert_int_equal(call(lines[i]), TR_EXIT_USAGE);
        assert_false(seen.ran);
    }
}

static void help_and_version_end_with_0_and_run_nothing(void **state)
{
    (void)state;
    static const char *const lines[] = {"--help", "help probe", "--version", "probe --help",
                                        "probe --version"};
    for (size_t i = 0; i < TR_COUNT(lines); i++) {
        assert_int_equal(call(lines[i]), TR_EXIT_OK);
        assert_false(seen.ran);
    }
}

static void help_names_every_option(void **state)
{
    (void)state;
    tr_buf out;
    tr_buf_init(&out, 65536);
    tr_cli_help(&probe, &out);
    const char *text = tr_buf_cstr(&out);
    assert_non_null(strstr(text, "usage: tailrace probe [option…] [NAME]\n"));
    assert_non_null(strstr(text, "  -w, --wait DURATION"));
    for (const tr_cli_option *o = options; o->name; o++)
        assert_non_null(strstr(text, o->help));
    tr_buf_done(&out);
}

static void exit_codes_tell_not_found_and_conflict(void **state)
{
    (void)state;
    assert_int_equal(tr_cli_exit_code(0), 0);
    assert_int_equal(tr_cli_exit_code(TR_ENOTFOUND), 3);
    assert_int_equal(tr_cli_exit_code(TR_ECONFLICT), 4);
    assert_int_equal(tr_cli_exit_code(TR_EBUSY), 4);
    assert_int_equal(tr_cli_exit_code(TR_EINVAL), 2);
    assert_int_equal(tr_cli_exit_code(TR_EIO), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_arguments_reach_the_command),
        cmocka_unit_test(wrong_usage_ends_with_2),
        cmocka_unit_test(help_and_version_end_with_0_and_run_nothing),
        cmocka_unit_test(help_names_every_option),
        cmocka_unit_test(exit_codes_tell_not_found_and_conflict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
