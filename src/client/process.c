/* SPDX-License-Identifier: MIT */
#include "credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS   60000
#define OUTPUT_LIMIT (1024 * 1024)

extern char **environ;

/* The child gets a clean set of signals: pool threads and hosts of this library may have some blocked or
 * ignored. */
static int spawn(const char *command, int output, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)command, NULL};
    if (posix_spawn_file_actions_init(&actions))
        return ENOMEM;
    if (posix_spawnattr_init(&attributes)) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return ENOMEM;
    }
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int code = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (code == 0)
        code = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (code == 0)
        code = posix_spawnattr_setsigmask(&attributes, &none);
    if (code == 0)
        code = posix_spawnattr_setsigdefault(&attributes, &all);
    if (code == 0)
        code = posix_spawnattr_setpgroup(&attributes, 0);
    if (code == 0)
        code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                         POSIX_SPAWN_SETPGROUP);
    if (code == 0)
        code = posix_spawn(ret_pid, "/bin/sh", &actions, &attributes, argv, environ);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return code;
}

/* Reads until the end. TR_ETIMEOUT, TR_ECANCELED, TR_ELIMIT. */
static int read_output(tr__source *source, int fd, tr_buf *out)
{
    int64_t end = tr_clock_mono_ms() + TIMEOUT_MS;
    char block[4096];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, 100);
        if (atomic_load(&source->abort))
            return TR_ECANCELED;
        if (tr_clock_mono_ms() > end)
            return TR_ETIMEOUT;
        if (ready <= 0)
            continue;
        ssize_t n = read(fd, block, sizeof block);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return TR_EIO;
        if (n > 0)
            tr_buf_put(out, block, (size_t)n);
        if (tr_buf_status(out))
            return tr_buf_status(out);
    }
}

/* Waits for the end, but not for ever: it may have closed its output and gone on. */
static int reap(tr__source *source, pid_t pid, int *ret_status)
{
    int64_t end = tr_clock_mono_ms() + TIMEOUT_MS;
    for (;;) {
        pid_t got = waitpid(pid, ret_status, WNOHANG);
        if (got == pid)
            return 0;
        if (got < 0 && errno != EINTR)
            return TR_EIO;
        if (atomic_load(&source->abort) || tr_clock_mono_ms() > end)
            return TR_ETIMEOUT;
        (void)poll(NULL, 0, 5);
    }
}

int tr__fetch_process(tr__source *source, const char *command, tr__credentials *out, tr_error *err)
{
    int fds[2];
    pid_t pid;
    if (pipe2(fds, O_CLOEXEC))
        return tr_fail(err, TR_EIO, "cannot run credential_process: %s", strerror(errno));
    int code = spawn(command, fds[1], &pid);
    (void)close(fds[1]);
    if (code) {
        (void)close(fds[0]);
        return tr_fail(err, TR_EIO, "cannot run credential_process: %s", strerror(code));
    }
    tr_buf text;
    tr_buf_init(&text, OUTPUT_LIMIT);
    code = read_output(source, fds[0], &text);
    (void)close(fds[0]);
    int status = 0;
    if (code == 0)
        code = reap(source, pid, &status);
    if (code && code != TR_EIO) {
        (void)kill(-pid, SIGKILL); /* with all that it started */
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    if (code)
        code = tr_fail(err, code, "credential_process: %s", tr_strerror(code));
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        code = tr_fail(err, TR_EAUTH, "credential_process failed: %s", command);
    else
        code = tr__credentials_from_json(tr_buf_view(&text), "credential_process", out, err);
    tr_buf_done(&text);
    return code;
}
