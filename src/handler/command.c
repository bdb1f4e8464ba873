/* SPDX-License-Identifier: MIT */
/* Whether a command's program is there, before it has cost an event. */
#include "handler/handler.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>

#define WORD_MAX 1024

/* The command's first word, if it is one that means itself to the shell. */
static bool first_word(const char *command, char *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    command += strspn(command, " \t");
    size_t len = strspn(command, plain);
    bool ends = command[len] == 0 || strchr(" \t\n;|&", command[len]);
    if (!len || len >= WORD_MAX || !ends || command[0] == '-')
        return false;
    memcpy(out, command, len);
    out[len] = 0;
    return true;
}

int tr__command_check(tr_handler *h, tr_error *err)
{
    /* the shell knows its own words, and looks through the PATH that the command will have */
    static const char script[] = "cd \"$1\" && { command -v \"$0\"; } >/dev/null 2>&1";
    char word[WORD_MAX];
    const char *directory = h->options.directory ? h->options.directory : ".";
    pid_t child;
    int status = 0;
    if (!first_word(h->options.target, word))
        return 0;
    const char *args[] = {"/bin/sh", "-c", script, word, directory, NULL};
    int e = posix_spawn(&child, args[0], NULL, NULL, (char **)(uintptr_t)args, h->environment);
    if (e)
        return tr_fail(err, TR_EIO, "cannot start %s: %s", args[0], strerror(e));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return tr_fail(err, TR_ENOTFOUND, "'%s' cannot be run: there is no program %s%s%s", h->options.target,
                   word, h->options.directory ? " in " : "",
                   h->options.directory ? h->options.directory : "");
}
