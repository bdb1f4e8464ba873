/* SPDX-License-Identifier: MIT */
#include "cli/events.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define RULES_MAX  ((size_t)1 << 20)
#define OUTPUT_MAX ((size_t)16 << 20)
#define FLUSH_MS   5000

extern char **environ;

static int read_file(FILE *file, const char *name, tr_buf *out, tr_error *err)
{
    char part[16384];
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;)
        tr_buf_put(out, part, n);
    int e = tr_buf_status(out);
    if (ferror(file))
        return tr_fail(err, TR_EIO, "reading %s: %s", name, strerror(errno));
    return e ? tr_fail(err, e, "%s has more than %zu bytes", name, out->limit) : 0;
}

static FILE *open_file(const char *name, tr_error *err)
{
    FILE *file = fopen(name, "re");
    if (!file)
        (void)tr_fail(err, TR_EIO, "opening %s: %s", name, strerror(errno));
    return file;
}

/* ---------------------------------------------------------------------------------------- by declared rules
 */

int tr_cli_open_rules(const tr_cli_events *c, tr_rules **ret_rules, tr_error *err)
{
    tr_buf text;
    tr_buf_init(&text, RULES_MAX);
    int e = 0;
    if (c->rules) {
        FILE *file = open_file(c->rules, err);
        e = file ? read_file(file, c->rules, &text, err) : TR_EIO;
        if (file)
            (void)fclose(file);
    }
    if (!e)
        e = tr_rules_new(tr_buf_view(&text), ret_rules, err);
    tr_buf_done(&text);
    return e;
}

/* The line, with the aggregate's id put in where there is none. */
static tr_view with_id(tr_view line, const char *id, tr_arena *arena, tr_buf *out)
{
    tr_view found;
    tr_json_reader r;
    tr_json_writer w;
    tr_json_init(&r, line, arena);
    if (tr_json_next(&r) != TR_JSON_OBJECT || !tr_json_next_key(&r) ||
        tr_json_member(line, TR_EVENT_TABLE_PK, arena, &found) == 0)
        return line;
    const char *rest = memchr(line.ptr, '{', line.len);
    tr_buf_reset(out);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, TR_EVENT_TABLE_PK, id);
    tr_buf_putc(out, ',');
    tr_buf_put(out, rest + 1, line.len - (size_t)(rest + 1 - line.ptr));
    return tr_buf_status(out) ? line : tr_buf_view(out);
}

/* One event of the same aggregate, the next one. */
static int fold_line(tr_aggregate *a, const char *id, tr_view line, tr_arena *arena, tr_buf *text,
                     tr_error *err)
{
    tr_event event;
    uint64_t next = tr_aggregate_version(a) + 1;
    int e = tr_event_from_json(with_id(line, id, arena, text), arena, &event, err);
    if (e)
        return e;
    if (!tr_view_is(event.aggregate_id, id))
        return tr_fail(err, TR_EINVAL, "an event of aggregate %.*s, not of %s", TR_FMT(event.aggregate_id),
                       id);
    if (!event.version)
        event.version = next;
    if (event.version > next)
        return tr_fail(err, TR_EINVAL, "version %llu, where version %llu is next",
                       (unsigned long long)event.version, (unsigned long long)next);
    return tr_aggregate_apply(a, &event, err);
}

/* Events that are not pushed: those without a version are numbered on. */
static int fold_file(const tr_cli_events *c, tr_aggregate *a, tr_error *err)
{
    FILE *file = strcmp(c->with, "-") == 0 ? stdin : open_file(c->with, err);
    tr_cli_lines lines;
    tr_arena arena;
    tr_buf text;
    tr_view line;
    if (!file)
        return TR_EIO;
    tr_cli_lines_init(&lines, file);
    tr_buf_init(&text, 2 * TR_CLI_LINE_MAX);
    tr_arena_init(&arena, 8 * TR_CLI_LINE_MAX);
    int e;
    while (!(e = tr_cli_next_line(&lines, &line, err))) {
        tr_arena_reset(&arena);
        if ((e = fold_line(a, c->cli->argv[2], line, &arena, &text, err))) {
            e = tr_cli_line_error(&lines, e, err);
            break;
        }
    }
    tr_cli_lines_done(&lines);
    tr_buf_done(&text);
    tr_arena_done(&arena);
    if (file != stdin)
        (void)fclose(file);
    return e == TR_ECLOSED ? 0 : e;
}

static int print_state(const tr_aggregate *a, tr_error *err)
{
    tr_buf out;
    tr_json_writer w;
    tr_buf_init(&out, OUTPUT_MAX);
    tr_json_write_init(&w, &out);
    tr_item_write_plain(&w, tr_rules_state(a));
    int e = tr_cli_print_line(&out, err);
    tr_buf_done(&out);
    return e;
}

static int fold_by_rules(const tr_cli_events *c, tr_snapshots *snapshots, tr_error *err)
{
    tr_rules *rules = NULL;
    tr_aggregate *a = NULL;
    int e = tr_cli_open_rules(c, &rules, err);
    if (!e) {
        tr_aggregate_options o = {
            .max_version = c->max, .until_ms = c->at_ms, .must_exist = !c->with, .snapshots = snapshots};
        e = tr_aggregate_get_wait(c->store, tr_rules_reducer(rules), tr_view_str(c->cli->argv[2]), &o, &a,
                                  err);
    }
    if (!e && c->with)
        e = fold_file(c, a, err);
    if (!e)
        e = print_state(a, err);
    if (snapshots)
        (void)tr_snapshots_flush(snapshots, FLUSH_MS);
    tr_aggregate_free(a);
    tr_rules_free(rules);
    return e;
}

/* ------------------------------------------------------------------------------------------- by a command */

/* The command, begun at the first event. What it prints goes to a file without a name, so that it may write
 * while it is still being written to. */
typedef struct child {
    const tr_cli_events *c;
    pid_t pid;
    FILE *in, *out;
    uint64_t events;
    tr_error *err;
} child;

static int begin_child(child *p)
{
    int ends[2], e;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    const char *argv[] = {"sh", "-c", p->c->exec, NULL};
    if (!(p->out = tmpfile()) || pipe2(ends, O_CLOEXEC))
        return tr_fail(p->err, TR_EIO, "starting '%s': %s", p->c->exec, strerror(errno));
    (void)sigemptyset(&none);
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawn_file_actions_adddup2(&files, ends[0], STDIN_FILENO);
    (void)posix_spawn_file_actions_adddup2(&files, fileno(p->out), STDOUT_FILENO);
    (void)posix_spawnattr_setsigmask(&attributes,
                                     &none); /* ours are kept for the thread that waits for them */
    (void)posix_spawnattr_setsigdefault(&attributes, &defaults);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    e = posix_spawn(&p->pid, "/bin/sh", &files, &attributes, (char **)(uintptr_t)argv, environ);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attributes);
    (void)close(ends[0]);
    p->in = fdopen(ends[1], "w");
    if (!p->in)
        (void)close(ends[1]);
    if (e)
        p->pid = 0;
    return e || !p->in ? tr_fail(p->err, TR_EIO, "starting '%s': %s", p->c->exec, strerror(e ? e : errno))
                       : 0;
}

static int give_event(void *ctx, const tr_event *event)
{
    child *p = ctx;
    tr_buf line;
    tr_json_writer w;
    int64_t ms;
    if (p->c->at_ms && tr_time_parse(event->timestamp, &ms) == 0 && ms > p->c->at_ms)
        return TR_ECLOSED;
    int e = p->events++ ? 0 : begin_child(p);
    if (e)
        return e;
    tr_buf_init(&line, 4 * TR_CLI_LINE_MAX);
    tr_json_write_init(&w, &line);
    tr_event_write(&w, event, NULL);
    tr_buf_putc(&line, '\n');
    if (!(e = tr_buf_status(&line)))
        (void)fwrite(line.ptr, 1, line.len,
                     p->in); /* a command that ends early tells so by its exit status */
    tr_buf_done(&line);
    return e;
}

/* Prints the object that the command has written, on one line. */
static int print_output(child *p)
{
    tr_buf text, line;
    tr_arena arena;
    tr_json_reader r;
    tr_view object = {NULL, 0};
    tr_buf_init(&text, OUTPUT_MAX);
    tr_buf_init(&line, OUTPUT_MAX + 1);
    tr_arena_init(&arena, OUTPUT_MAX);
    rewind(p->out);
    int e = read_file(p->out, "the command's output", &text, p->err);
    tr_json_init(&r, tr_buf_view(&text), &arena);
    if (!e &&
        (tr_json_next(&r) == TR_JSON_ERROR || tr_json_raw(&r, &object) || tr_json_next(&r) != TR_JSON_DONE))
        e = tr_fail(p->err, TR_EPARSE, "'%s' must print the aggregate as one JSON value", p->c->exec);
    for (size_t i = 0; !e && i < object.len; i++) /* line ends within strings are escaped */
        tr_buf_putc(&line, object.ptr[i] == '\n' || object.ptr[i] == '\r' ? ' ' : object.ptr[i]);
    if (!e)
        e = tr_cli_print_line(&line, p->err);
    tr_buf_done(&text);
    tr_buf_done(&line);
    tr_arena_done(&arena);
    return e;
}

static int end_child(child *p, int code)
{
    int status = 0;
    if (p->in)
        (void)fclose(p->in);
    while (p->pid && waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!code && p->pid && (!WIFEXITED(status) || WEXITSTATUS(status)))
        code = tr_fail(p->err, TR_EIO, "'%s' ended with %s %d", p->c->exec,
                       WIFEXITED(status) ? "status" : "signal",
                       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    if (!code)
        code = print_output(p);
    if (p->out)
        (void)fclose(p->out);
    return code;
}

static int fold_by_command(const tr_cli_events *c, tr_error *err)
{
    child p = {.c = c, .err = err};
    tr_events_range range = {.max_version = c->max};
    int e = tr_eventstore_get_wait(c->store, tr_view_str(c->cli->argv[2]), &range, give_event, &p, err);
    if (e == TR_ECLOSED) /* an event later than wanted */
        e = 0;
    if (!e && !p.events)
        return tr_fail_service(err, TR_ENOTFOUND, 0, TR_AGGREGATE_NOT_FOUND,
                               "Unable to find aggregate %s in event store %s.", c->cli->argv[2],
                               c->cli->argv[1]);
    return end_child(&p, e);
}

int tr_cli_events_aggregate(void *ctx, tr_error *err)
{
    tr_cli_events *c = ctx;
    tr_snapshots *snapshots = NULL;
    if (c->exec)
        return fold_by_command(c, err);
    int e = 0;
    if (c->snapshots) {
        tr_snapshots_options o = {
            .table = c->snapshots, .every = c->snapshot_every, .on_read = true, .logger = tr_cli_logger()};
        e = tr_snapshots_new(c->place.client, &o, &snapshots, err);
    }
    if (!e)
        e = fold_by_rules(c, snapshots, err);
    tr_snapshots_free(snapshots);
    return e;
}
