/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "cli/project/stack.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* `tailrace` alone on a terminal: what one does with a project, by number. Each choice is a command of its
 * own. */

#define ANSWER_MAX 512
#define ARGS_MAX   16

typedef struct menu {
    tr_project *project; /* NULL: there is none here */
    char program[4096];  /* this one */
} menu;

/* ---------------------------------------------------------------------------------------------- running */

static bool read_answer(const char *question, const char *usual, char *out)
{
    if (usual && *usual)
        (void)printf("%s [%s]: ", question, usual);
    else
        (void)printf("%s: ", question);
    (void)fflush(stdout);
    if (!fgets(out, ANSWER_MAX, stdin))
        return false;
    out[strcspn(out, "\r\n")] = 0;
    if (!*out && usual)
        (void)snprintf(out, ANSWER_MAX, "%s", usual);
    return *out != 0;
}

/* Runs a command and waits. The menu itself ignores Ctrl-C meanwhile. */
static void run_command(const char *const *arguments, bool on_aws)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    int status = 0;
    (void)fflush(stdout);
    (void)sigaction(SIGINT, &ignore, &before);
    pid_t pid = fork();
    if (pid == 0) {
        (void)sigaction(SIGINT, &before, NULL);
        if (on_aws) {
            (void)unsetenv("AWS_ENDPOINT_URL");
            (void)unsetenv("AWS_ENDPOINT_URL_DYNAMODB");
            (void)unsetenv("AWS_ENDPOINT_URL_EVENTBRIDGE");
            (void)setenv("TAILRACE_CONFIG", "none", 1);
        }
        (void)execvp(arguments[0], (char *const *)(uintptr_t)arguments);
        (void)fprintf(stderr, "tailrace: error: %s: %s\n", arguments[0], strerror(errno));
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    (void)sigaction(SIGINT, &before, NULL);
    if (pid < 0)
        (void)printf("no process can be started: %s\n", strerror(errno));
    else if (WIFEXITED(status) && WEXITSTATUS(status) && WEXITSTATUS(status) != TR_EXIT_INTERRUPTED)
        (void)printf("it ended with %d\n", WEXITSTATUS(status));
}

#define RUN(m, on_aws, ...) run_command((const char *const[]){(m)->program, __VA_ARGS__, NULL}, on_aws)

static const char *path_of(const menu *m)
{
    return m->project ? m->project->path : TR_PROJECT_FILE;
}

/* ---------------------------------------------------------------------------------------------- choices */

/* With the environment in which clients find the local server. */
static void open_shell(menu *m)
{
    const char *shell = getenv("SHELL");
    (void)m;
    static const char script[] =
        "AWS_ENDPOINT_URL=${AWS_ENDPOINT_URL:-http://127.0.0.1:8000} AWS_REGION=${AWS_REGION:-us-east-1} "
        "AWS_ACCESS_KEY_ID=${AWS_ACCESS_KEY_ID:-offline} "
        "AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY:-offline}; "
        "export AWS_ENDPOINT_URL AWS_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; exec \"$0\"";
    run_command((const char *const[]){"/bin/sh", "-c", script, shell && *shell ? shell : "/bin/sh", NULL},
                false);
}

static void clean(menu *m)
{
    RUN(m, false, "dev", "-c", path_of(m), "--clean");
}

static void start(menu *m)
{
    RUN(m, false, "dev", "-c", path_of(m));
}

/* The stage's log table: that of `tailrace log` with the stage in place of "local". */
static void log_table(const char *stage, char *out)
{
    (void)snprintf(out, ANSWER_MAX, "%.200s-dynamodb-logs", stage);
}

static void make_users(menu *m)
{
    char users[ANSWER_MAX];
    if (read_answer("How many users", "10", users))
        RUN(m, false, "log", "fake", "--users", users);
}

static void replay(menu *m)
{
    char archive[ANSWER_MAX], from[ANSWER_MAX], to[ANSWER_MAX], where[ANSWER_MAX];
    const tr_project_archive *first = m->project ? m->project->archives : NULL;
    if (read_answer("Archive", first ? first->name : "dynamodb-logs-archive", archive) &&
        read_answer("From", "1970-01-01T00:00:00Z", from) && read_answer("To", "2100-01-01T00:00:00Z", to) &&
        read_answer("Where: bus, dynamodb or aws", "bus", where))
        RUN(m, false, "replay", "--archive", archive, "--from", from, "--to", to, "--to", where, "--anew");
}

static void query(menu *m, bool on_aws)
{
    char log[ANSWER_MAX], stage[ANSWER_MAX], table[ANSWER_MAX];
    if (!read_answer("Log", "users", log) || !read_answer("Stage", on_aws ? "dev" : "local", stage))
        return;
    log_table(stage, table);
    RUN(m, on_aws, "log", "query", log, "--table", table);
}

static void query_local(menu *m)
{
    query(m, false);
}

static void query_aws(menu *m)
{
    query(m, true);
}

/* Code is uploaded from a copy without what does not belong to it. */
static const char deploy_script[] =
    "set -eu\n"
    "work=$(mktemp -d)\n"
    "trap 'rm -rf \"$work\"' EXIT\n"
    "tar -C \"$DIRECTORY\" --exclude=./.git --exclude=./.tailrace --exclude=\"./$DATA\" -cf - . | tar -C "
    "\"$work\" -xf -\n"
    "\"$0\" schema stack -c \"$PROJECT\" --stage \"$STAGE\" --format cloudformation > "
    "\"$work/tailrace-stack.json\"\n"
    "aws cloudformation package --template-file \"$work/tailrace-stack.json\" --s3-bucket \"$BUCKET\" "
    "--output-template-file \"$work/tailrace-packaged.json\" --use-json\n"
    "aws cloudformation deploy --template-file \"$work/tailrace-packaged.json\" --s3-bucket \"$BUCKET\" "
    "--stack-name \"$STACK\" --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset\n";

static const char remove_script[] = "set -eu\n"
                                    "aws cloudformation delete-stack --stack-name \"$STACK\"\n"
                                    "aws cloudformation wait stack-delete-complete --stack-name \"$STACK\"\n";

/* The project as that stage has it. NULL after telling why not. */
static tr_project *at_stage(const menu *m, const char *stage)
{
    tr_project *p = NULL;
    tr_error err = {0};
    if (tr_project_open(m->project ? m->project->path : NULL, stage, &p, &err))
        (void)printf("%s\n", err.message);
    return p;
}

static void run_script(const menu *m, const char *script, const tr_project *p, const char *stack,
                       const char *bucket)
{
    const char *data = p->data && p->data[0] != '/' ? p->data : ".tailrace";
    while (strncmp(data, "./", 2) == 0)
        data += 2;
    const char *const set[][2] = {
        {"DIRECTORY", p->directory}, {"DATA", data},   {"PROJECT", p->path},
        {"STAGE", p->stage},         {"STACK", stack}, {"BUCKET", bucket ? bucket : ""}};
    for (size_t i = 0; i < TR_COUNT(set); i++)
        (void)setenv(set[i][0], set[i][1], 1);
    run_command((const char *const[]){"/bin/sh", "-c", script, m->program, NULL}, true);
    for (size_t i = 0; i < TR_COUNT(set); i++)
        (void)unsetenv(set[i][0]);
}

static void deploy(menu *m)
{
    char stage[ANSWER_MAX], bucket[ANSWER_MAX];
    tr_project *p = read_answer("Stage", "dev", stage) ? at_stage(m, stage) : NULL;
    const char *stack = p ? tr_project_stack_name(p) : NULL;
    if (stack && read_answer("S3 bucket for the functions' code", p->bucket, bucket))
        run_script(m, deploy_script, p, stack, bucket);
    tr_project_free(p);
}

static void remove_deploy(menu *m)
{
    char stage[ANSWER_MAX], sure[ANSWER_MAX];
    tr_project *p = read_answer("Stage", "dev", stage) ? at_stage(m, stage) : NULL;
    const char *stack = p ? tr_project_stack_name(p) : NULL;
    if (stack && read_answer("This removes the stack with its tables and their data. Its name, to be sure",
                             NULL, sure)) {
        if (strcmp(sure, stack) == 0)
            run_script(m, remove_script, p, stack, NULL);
        else
            (void)printf("its name is %s: nothing is removed\n", stack);
    }
    tr_project_free(p);
}

static const struct {
    const char *text;
    void (*run)(menu *m);
} choices[] = {{"interactive shell", open_shell}, {"local cleanup", clean},
               {"start offline", start},          {"deploy", deploy},
               {"remove deploy", remove_deploy},  {"create fake data", make_users},
               {"replay from archive", replay},   {"query (local)", query_local},
               {"query (aws)", query_aws}};

/* ------------------------------------------------------------------------------------------------- loop */

static void show(const menu *m)
{
    if (m->project)
        (void)printf("\n%s (%s)\n", m->project->name ? m->project->name : "a project", m->project->path);
    else
        (void)printf("\nno tailrace.yaml or serverless.yml here; `tailrace --help` tells all commands\n");
    for (size_t i = 0; i < TR_COUNT(choices); i++)
        (void)printf("  %zu  %s\n", i + 1, choices[i].text);
    (void)printf("  q  quit\n");
}

int tr_cli_menu(void)
{
    menu m = {0};
    char answer[ANSWER_MAX];
    tr_error err = {0};
    ssize_t n = readlink("/proc/self/exe", m.program, sizeof m.program - 1);
    if (n < 0)
        (void)snprintf(m.program, sizeof m.program, "tailrace");
    int e = tr_project_open(NULL, NULL, &m.project, &err);
    if (e && e != TR_ENOTFOUND)
        (void)printf("%s\n", err.message);
    for (;;) {
        uint64_t number;
        show(&m);
        if (!read_answer("What shall be done", NULL, answer) && feof(stdin))
            break;
        if (strcmp(answer, "q") == 0)
            break;
        if (tr_view_to_u64(tr_view_str(answer), TR_COUNT(choices), &number) || !number)
            (void)printf("a number from 1 to %zu, or q\n", TR_COUNT(choices));
        else
            choices[number - 1].run(&m);
    }
    tr_project_free(m.project);
    return TR_EXIT_OK;
}
