/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLI_CLI_H
#define TAILRACE_CLI_CLI_H

/**
 * cli.h: what all subcommands share: the table of commands, option parsing with the help made from the same
 * table, messages, exit codes.
 *
 * A subcommand is one file with one `const tr_cli_command tr_cli_NAME`, declared below and listed in
 * tr_cli_commands (main.c):
 *
 *   static int run(tr_cli *cli)
 *   {
 *       int option;
 *       while ((option = tr_cli_next(cli)) > 0)
 *           switch (option) { case OPT_FORMAT: format = cli->value; break; … }
 *       if (option < 0)
 *           return cli->exit_code;              (--help was printed, or the mistake was told)
 *       if (cli->argc != 1)
 *           return tr_cli_usage(cli, "one TABLE is needed");
 *       …                                       (arguments: cli->argv[0 … argc - 1])
 *   }
 *
 * Data goes to stdout, everything else to stderr.
 */

#include <tailrace/base.h>

/** Exit codes of all subcommands. */
enum {
    TR_EXIT_OK = 0,
    TR_EXIT_FAILURE = 1,
    TR_EXIT_USAGE = 2,
    TR_EXIT_NOT_FOUND = 3,
    TR_EXIT_CONFLICT = 4,
    TR_EXIT_INTERRUPTED = 130 /* 128 + SIGINT, as shells tell it */
};
/** The exit code for one of the TR_E… codes (0 is success). */
int tr_cli_exit_code(int code);

typedef struct tr_cli_option {
    const char *name;     /**< without the dashes; NULL ends the table */
    int id;               /**< what tr_cli_next returns, > 0; a letter makes a short option too */
    const char *argument; /**< "DIR", as the help shows it; NULL: the option takes none */
    const char *help;     /**< one or a few lines, broken where they are too long */
} tr_cli_option;

struct tr_cli;
typedef struct tr_cli_command {
    const char *name;
    const char *summary;   /**< one line for `tailrace --help` */
    const char *arguments; /**< behind the options in the usage line; NULL: none */
    const char *text;      /**< further paragraphs of the help; NULL: none */
    const tr_cli_option *options;
    int (*run)(struct tr_cli *cli); /**< returns the exit code */
} tr_cli_command;

/** Ends with an entry without a name. */
extern const tr_cli_command *const tr_cli_commands[];

/** One run of a subcommand. */
typedef struct tr_cli {
    const tr_cli_command *command;
    char **argv; /**< before the end of the options: all; behind it: the arguments that are left */
    int argc;
    const char *value; /**< of the option that tr_cli_next returned; NULL if it takes none */
    int exit_code;     /**< once tr_cli_next returned < 0 */
    /* private */
    bool started, refused;
} tr_cli;

#define TR_CLI_OPTIONS_MAX 64

/**
 * The next option's id; 0 behind the last (argv and argc then hold the arguments); < 0 if the command is to
 * end with cli->exit_code. --help, --version and --log are understood everywhere and handled here.
 */
int tr_cli_next(tr_cli *cli);
/** Tells what was wrong with the arguments and where to read on. Returns TR_EXIT_USAGE. */
int tr_cli_usage(const tr_cli *cli, const char *format, ...) TR_PRINTF(2, 3);
/** As tr_cli_usage, for what takes options on a command's behalf: the command's next tr_cli_next ends it. */
void tr_cli_refuse(tr_cli *cli, const char *message);
/** Tells why the command failed. Returns the exit code that fits. */
int tr_cli_fail(const tr_error *err);
/**
 * Writes to stdout and flushes. TR_EIO; TR_ECLOSED if nobody reads it any more (`… | head`): the command then
 * ends as usual, and tr_cli_fail says nothing and returns 0.
 */
int tr_cli_print(tr_view text, tr_error *err);
/** The same failure, with errno, for who wrote to stdout without it. */
int tr_cli_print_failed(tr_error *err);
/** The help text of a command. */
void tr_cli_help(const tr_cli_command *command, tr_buf *out);

/* Option values. On a mistake they tell it and return TR_EXIT_USAGE, else 0. */
int tr_cli_duration(const tr_cli *cli, const char *option, int64_t *ret_ms);
/** The same within [min, max], which are durations as text: "100ms", "7d". */
int tr_cli_duration_within(const tr_cli *cli, const char *option, const char *min, const char *max,
                           int64_t *ret_ms);
int tr_cli_number(const tr_cli *cli, const char *option, uint64_t min, uint64_t max, uint64_t *ret_number);
/** "64MiB", "512KiB", "1GiB" or bytes. */
int tr_cli_size(const tr_cli *cli, const char *option, uint64_t *ret_bytes);
/** Whether the text can be a region's name: 1 to 63 letters, digits and '-'. */
bool tr_cli_region_valid(const char *text);
/** Checks an argument that names a DynamoDB table: a name, or an ARN as the service takes it. */
int tr_cli_table_name(const tr_cli *cli, const char *name);

/** A verb of a command: `tailrace log append LOG ID`. Tables of them end with a NULL name. */
typedef struct tr_cli_verb {
    const char *name;
    int least, most;                      /**< arguments, the name included */
    const char *usage;                    /**< "log append LOG ID --type TYPE" */
    int (*run)(void *ctx, tr_error *err); /**< ctx: the command's own struct. 0 or a TR_E… code */
} tr_cli_verb;

/** The verb that the first argument names, with its arguments counted; NULL after telling what is wrong (the
 * exit code is TR_EXIT_USAGE). Call when the options are read. */
const tr_cli_verb *tr_cli_verb_of(const tr_cli *cli, const tr_cli_verb *verbs);

/** Appends a whole file to out, of the standard input for "-". TR_ENOTFOUND, TR_EIO, TR_ELIMIT (the
 * buffer's). */
int tr_cli_read_file(const char *path, tr_buf *out, tr_error *err);

/* message.c: all that a command says to people and their log collectors, on stderr, a line each: as text, or
 * with
 * `--log json` as {"time":…,"level":"debug|info|warning|error","command":…,"message":…,…fields}. */

/** A field of a message; in text it is left out, so the message must say it in words. */
typedef struct tr_cli_field {
    const char *name; /**< a plain word; NULL ends the list */
    const char *text; /**< NULL: `number` */
    int64_t number;
} tr_cli_field;
/** fields may be NULL. Empty texts and the number 0 are left out. */
void tr_cli_tell(tr_log_level level, const tr_cli_field *fields, const char *format, ...) TR_PRINTF(3, 4);
/** Without fields. */
void tr_cli_message(tr_log_level level, const char *format, ...) TR_PRINTF(2, 3);
/** A line that the user's code wrote: as it is (behind "SOURCE: " if there is a source), or with the field
 * source
 * ("handler" if there is none). */
void tr_cli_say(const char *source, tr_view line);
/** The same as a callback for the libraries; debug messages only with TAILRACE_DEBUG in the environment. */
tr_logger tr_cli_logger(void);
bool tr_cli_logs_json(void);
void tr_cli_log_as_json(bool json);
/** The field `command` of what follows. Static text. */
void tr_cli_log_command(const char *name);

/** `tailrace` alone on a terminal: a menu of what one does with a project. */
int tr_cli_menu(void);
/** Runs `tailrace ARGUMENTS`. */
int tr_cli_main(int argc, char **argv);

#endif
