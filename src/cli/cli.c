/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <tailrace/json.h>

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MESSAGE_MAX 8192 /* bytes; an error's text has at most TR_ERROR_MESSAGE_MAX */

static bool reader_gone; /* of stdout */

enum { OPTION_HELP = 0x10000, OPTION_VERSION, OPTION_LOG };

static const tr_cli_option common_options[] = {
    {"log", OPTION_LOG, "text|json", "how messages are written to stderr"},
    {"help", OPTION_HELP, NULL, "show this text"},
    {"version", OPTION_VERSION, NULL, "show the version"},
    {NULL, 0, NULL, NULL}};

int tr_cli_read_file(const char *path, tr_buf *out, tr_error *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    char part[65536];
    if (!file)
        return tr_fail(err, errno == ENOENT ? TR_ENOTFOUND : TR_EIO, "%s: %s", path, strerror(errno));
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0 && !tr_buf_status(out);)
        tr_buf_put(out, part, n);
    bool bad = ferror(file) != 0;
    if (!standard)
        (void)fclose(file);
    if (bad)
        return tr_fail(err, TR_EIO, "%s cannot be read", path);
    int e = tr_buf_status(out);
    return e ? tr_fail(err, e, "%s is too large", path) : 0;
}

int tr_cli_exit_code(int code)
{
    switch (code) {
    case 0:
        return TR_EXIT_OK;
    case TR_EINVAL: /* of what the command was given: arguments, files that it names */
        return TR_EXIT_USAGE;
    case TR_ENOTFOUND:
        return TR_EXIT_NOT_FOUND;
    case TR_ECONFLICT:
    case TR_EEXIST:
    case TR_EBUSY: /* somebody else has it */
        return TR_EXIT_CONFLICT;
    case TR_ECANCELED:
        return TR_EXIT_INTERRUPTED;
    default:
        return TR_EXIT_FAILURE;
    }
}

int tr_cli_fail(const tr_error *err)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    if (reader_gone || (ferror(stdout) && poll(&out, 1, 0) == 1 && out.revents & POLLERR))
        return TR_EXIT_OK; /* nobody reads what this was to write: that is no failure worth a message */
    const char *message = err->message[0] ? err->message : tr_strerror(err->code);
    int exit_code = tr_cli_exit_code(err->code ? err->code : TR_EIO);
    const tr_cli_field fields[] = {{.name = "error", .text = tr_strerror(err->code)},
                                   {.name = "error_type", .text = err->type},
                                   {.name = "http_status", .number = err->http_status},
                                   {.name = "exit_code", .number = exit_code},
                                   {NULL, NULL, 0}};
    tr_cli_tell(TR_LOG_ERROR, fields, "%s%s%s", err->type, err->type[0] ? ": " : "", message);
    return exit_code;
}

int tr_cli_usage(const tr_cli *cli, const char *format, ...)
{
    char message[MESSAGE_MAX / 2];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (cli->command)
        tr_cli_message(TR_LOG_ERROR, "%s (see tailrace %s --help)", message, cli->command->name);
    else
        tr_cli_message(TR_LOG_ERROR, "%s (see tailrace --help)", message);
    return TR_EXIT_USAGE;
}

void tr_cli_refuse(tr_cli *cli, const char *message)
{
    cli->exit_code = tr_cli_usage(cli, "%s", message);
    cli->refused = true;
}

int tr_cli_print_failed(tr_error *err)
{
    reader_gone = errno == EPIPE;
    return tr_fail(err, reader_gone ? TR_ECLOSED : TR_EIO, "writing to the standard output: %s",
                   strerror(errno));
}

int tr_cli_print(tr_view text, tr_error *err)
{
    if (text.len == 0 || (fwrite(text.ptr, 1, text.len, stdout) == text.len && fflush(stdout) == 0))
        return 0;
    return tr_cli_print_failed(err);
}

/* ----------------------------------------------------------------------------------------------- help */

#define HELP_COLUMN 30 /* where the explanations begin */

static void help_options(const tr_cli_option *options, tr_buf *out)
{
    for (const tr_cli_option *o = options; o && o->name; o++) {
        size_t from = out->len;
        if (o->id < 128)
            tr_buf_printf(out, "  -%c, ", o->id);
        else
            tr_buf_put_str(out, "      ");
        tr_buf_printf(out, "--%s", o->name);
        if (o->argument)
            tr_buf_printf(out, " %s", o->argument);
        size_t width = out->len - from;
        if (width > HELP_COLUMN - 2)
            width = 0, tr_buf_putc(out, '\n');
        for (const char *line = o->help; line;) {
            const char *end = strchr(line, '\n');
            tr_buf_printf(out, "%*s%.*s\n", (int)(HELP_COLUMN - width), "",
                          end ? (int)(end - line) : (int)strlen(line), line);
            width = 0;
            line = end ? end + 1 : NULL;
        }
    }
}

static bool has_option(const tr_cli_command *command, const char *name)
{
    for (const tr_cli_option *o = command ? command->options : NULL; o && o->name; o++)
        if (strcmp(o->name, name) == 0)
            return true;
    return false;
}

void tr_cli_help(const tr_cli_command *command, tr_buf *out)
{
    tr_buf_printf(out, "usage: tailrace %s [option…]%s%s\n\n%s\n", command->name,
                  command->arguments ? " " : "", command->arguments ? command->arguments : "",
                  command->summary);
    if (command->text)
        tr_buf_printf(out, "\n%s\n", command->text);
    tr_buf_put_str(out, "\nOptions:\n");
    help_options(command->options, out);
    bool log = has_option(command, "log"); /* the first of the common ones is hidden by it */
    help_options(common_options + log, out);
    if (log)
        tr_buf_printf(out,
                      "\nHow messages are written to stderr: tailrace --log json %s, or TAILRACE_LOG=json.\n",
                      command->name);
}

static void help_all(tr_buf *out)
{
    tr_buf_put_str(out, "usage: tailrace COMMAND [option…] [argument…]\n\n"
                        "Carries the changes of DynamoDB tables to where they are wanted, and is a DynamoDB "
                        "itself where there is none.\n\nCommands:\n");
    for (size_t i = 0; tr_cli_commands[i]; i++)
        tr_buf_printf(out, "  %-12s %s\n", tr_cli_commands[i]->name, tr_cli_commands[i]->summary);
    tr_buf_put_str(out, "\n`tailrace COMMAND --help` tells a command's options.\n"
                        "Exit codes: 0 success, 1 failure, 2 wrong usage, 3 not found, 4 conflict, "
                        "130 interrupted.\n");
}

static void print(tr_buf *out)
{
    if (!tr_buf_status(out))
        (void)fwrite(out->ptr, 1, out->len, stdout);
    tr_buf_done(out);
}

/* -------------------------------------------------------------------------------------------- options */

/* The table in getopt's terms; a leading ':' has missing arguments told apart from unknown options. */
static void fill_options(const tr_cli_option *table, struct option *longs, char *shorts)
{
    size_t n = 0, s = strlen(shorts);
    while (longs[n].name)
        n++;
    for (; table && table->name; table++) {
        assert(n < TR_CLI_OPTIONS_MAX);
        longs[n++] =
            (struct option){table->name, table->argument ? required_argument : no_argument, NULL, table->id};
        if (table->id < 128) {
            shorts[s++] = (char)table->id;
            if (table->argument)
                shorts[s++] = ':';
            shorts[s] = 0;
        }
    }
}

static int set_log(const tr_cli *cli, const char *form, const char *named_by)
{
    if (strcmp(form, "json") != 0 && strcmp(form, "text") != 0)
        return tr_cli_usage(cli, "%s takes text or json, not '%s'", named_by, form);
    tr_cli_log_as_json(form[0] == 'j');
    return 0;
}

static int handle_common(tr_cli *cli, int option)
{
    tr_buf out;
    switch (option) {
    case OPTION_HELP:
        tr_buf_init(&out, SIZE_MAX / 2);
        tr_cli_help(cli->command, &out);
        print(&out);
        break;
    case OPTION_VERSION:
        (void)printf("tailrace %s\n", TR_VERSION);
        break;
    case OPTION_LOG:
        cli->exit_code = set_log(cli, optarg, "--log");
        return cli->exit_code ? -1 : 0;
    default:
        return option;
    }
    cli->exit_code = TR_EXIT_OK;
    return -1;
}

int tr_cli_next(tr_cli *cli)
{
    struct option longs[TR_CLI_OPTIONS_MAX + 1] = {0};
    char shorts[2 * TR_CLI_OPTIONS_MAX + 3] = ":";
    fill_options(cli->command->options, longs, shorts);
    fill_options(common_options, longs, shorts);
    if (!cli->started) {
        optind = 0; /* makes glibc start anew */
        opterr = 0;
        cli->started = true;
    }
    for (;;) {
        if (cli->refused)
            return -1;
        int o = getopt_long(cli->argc, cli->argv, shorts, longs, NULL);
        if (o == -1) {
            cli->argv += optind;
            cli->argc -= optind;
            return 0;
        }
        if (o == '?' || o == ':') {
            const char *what = cli->argv[optind - 1];
            cli->exit_code = o == ':' ? tr_cli_usage(cli, "%s needs a value", what)
                                      : tr_cli_usage(cli, "unknown option %s", what);
            return -1;
        }
        cli->value = optarg;
        o = handle_common(cli, o);
        if (o != 0)
            return o;
    }
}

int tr_cli_duration(const tr_cli *cli, const char *option, int64_t *ret_ms)
{
    if (tr_duration_parse(tr_view_str(cli->value), ret_ms))
        return tr_cli_usage(cli, "--%s takes a duration such as 500ms, 90s, 15m, 4h or 7d, not '%s'", option,
                            cli->value);
    return 0;
}

int tr_cli_duration_within(const tr_cli *cli, const char *option, const char *min, const char *max,
                           int64_t *ret_ms)
{
    int64_t ms, min_ms = 0, max_ms = 0;
    (void)tr_duration_parse(tr_view_str(min), &min_ms);
    (void)tr_duration_parse(tr_view_str(max), &max_ms);
    if (tr_duration_parse(tr_view_str(cli->value), &ms) || ms < min_ms || ms > max_ms)
        return tr_cli_usage(cli, "--%s takes a duration from %s to %s, such as 90s, 15m or 4h, not '%s'",
                            option, min, max, cli->value);
    *ret_ms = ms;
    return 0;
}

bool tr_cli_region_valid(const char *text)
{
    size_t len = strlen(text);
    return len >= 1 && len <= 63 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == len;
}

/* API Reference, TableName: 3 to 255 of a-z A-Z 0-9 _ - . (or an ARN, 1,024 in all). */
int tr_cli_table_name(const tr_cli *cli, const char *name)
{
    size_t len = strlen(name);
    bool arn = strncmp(name, "arn:", 4) == 0;
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    if (arn ? len <= 1024 : len >= 3 && len <= 255 && good == len)
        return 0;
    return tr_cli_usage(cli, "'%.300s' cannot be a table's name: 3 to 255 letters, digits, '_', '-' and '.'",
                        name);
}

int tr_cli_number(const tr_cli *cli, const char *option, uint64_t min, uint64_t max, uint64_t *ret_number)
{
    uint64_t x;
    if (tr_view_to_u64(tr_view_str(cli->value), max, &x) || x < min)
        return tr_cli_usage(cli, "--%s takes a number from %llu to %llu, not '%s'", option,
                            (unsigned long long)min, (unsigned long long)max, cli->value);
    *ret_number = x;
    return 0;
}

int tr_cli_size(const tr_cli *cli, const char *option, uint64_t *ret_bytes)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"", 0}};
    tr_view v = tr_view_str(cli->value);
    for (size_t i = 0; i < TR_COUNT(units); i++) {
        size_t n = strlen(units[i].suffix);
        uint64_t x;
        if (v.len <= n || memcmp(v.ptr + v.len - n, units[i].suffix, n) != 0)
            continue;
        if (tr_view_to_u64(tr_view_of(v.ptr, v.len - n), UINT64_C(1) << 32, &x))
            break;
        *ret_bytes = x << units[i].shift;
        return 0;
    }
    return tr_cli_usage(cli, "--%s takes a size such as 512KiB, 64MiB or 1GiB, not '%s'", option, cli->value);
}

const tr_cli_verb *tr_cli_verb_of(const tr_cli *cli, const tr_cli_verb *verbs)
{
    for (const tr_cli_verb *v = verbs; cli->argc > 0 && v->name; v++) {
        if (strcmp(cli->argv[0], v->name) != 0)
            continue;
        if (cli->argc >= v->least && cli->argc <= v->most)
            return v;
        (void)tr_cli_usage(cli, "usage: tailrace %s", v->usage);
        return NULL;
    }
    tr_buf names;
    tr_buf_init(&names, MESSAGE_MAX / 4);
    for (const tr_cli_verb *v = verbs; v->name; v++)
        tr_buf_printf(&names, "%s%s", v == verbs ? "" : v[1].name ? ", " : " or ", v->name);
    (void)tr_cli_usage(cli, "%.*s is needed%s%s", TR_FMT(tr_buf_view(&names)), cli->argc > 0 ? ", not " : "",
                       cli->argc > 0 ? cli->argv[0] : "");
    tr_buf_done(&names);
    return NULL;
}

/* ----------------------------------------------------------------------------------------------- main */

static const tr_cli_command *find_command(const char *name)
{
    for (size_t i = 0; name && tr_cli_commands[i]; i++)
        if (strcmp(tr_cli_commands[i]->name, name) == 0)
            return tr_cli_commands[i];
    return NULL;
}

static int help_command(const char *name)
{
    tr_buf out;
    tr_buf_init(&out, SIZE_MAX / 2);
    const tr_cli_command *found = find_command(name);
    if (found)
        tr_cli_help(found, &out);
    else
        help_all(&out);
    print(&out);
    return TR_EXIT_OK;
}

/* Before the options are read one by one, so that mistakes in those before it are told in the right form. */
static void find_log(const tr_cli *cli)
{
    if (has_option(cli->command, "log"))
        return;
    for (int i = 1; i < cli->argc && strcmp(cli->argv[i], "--") != 0; i++)
        if (strcmp(cli->argv[i], "--log=json") == 0 ||
            (strcmp(cli->argv[i], "--log") == 0 && i + 1 < cli->argc &&
             strcmp(cli->argv[i + 1], "json") == 0))
            tr_cli_log_as_json(true);
}

/* TAILRACE_LOG, and --log before the command: those with a --log of their own are reached so, too. Returns
 * the command's place in argv, or 0 with the exit code in *ret_code. */
static int take_log(int argc, char **argv, int *ret_code)
{
    const tr_cli cli = {0};
    const char *form = getenv("TAILRACE_LOG");
    int at = 1;
    *ret_code = form && form[0] ? set_log(&cli, form, "TAILRACE_LOG") : 0;
    for (; !*ret_code && at < argc; at++) {
        if (strncmp(argv[at], "--log=", 6) == 0)
            *ret_code = set_log(&cli, argv[at] + 6, "--log");
        else if (strcmp(argv[at], "--log") == 0)
            *ret_code = set_log(&cli, at + 1 < argc ? argv[++at] : "", "--log");
        else
            break;
    }
    return *ret_code ? 0 : at;
}

int tr_cli_main(int argc, char **argv)
{
    tr_cli cli = {0};
    int code, at = take_log(argc, argv, &code);
    if (!at)
        return code;
    if (at >= argc)
        return tr_cli_usage(&cli, "which command?");
    const char *name = argv[at];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help_command(at + 1 < argc ? argv[at + 1] : NULL);
    if (strcmp(name, "--version") == 0) {
        (void)printf("tailrace %s\n", TR_VERSION);
        return TR_EXIT_OK;
    }
    const tr_cli_command *command = find_command(name);
    if (!command)
        return tr_cli_usage(&cli, "there is no command '%s'", name);
    cli = (tr_cli){.command = command, .argv = argv + at, .argc = argc - at};
    find_log(&cli);
    tr_cli_log_command(name);
    code = command->run(&cli);
    if (fflush(stdout) != 0 && code == TR_EXIT_OK && errno != EPIPE && !reader_gone)
        code = TR_EXIT_FAILURE;
    return code;
}
