/* SPDX-License-Identifier: MIT */
/* tailrace top: shards, rates, lag and leases in the terminal. */
#include "cli/top.h"
#include "cli/follow.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { OPT_ONCE = 0x100, OPT_FORMAT, OPT_INTERVAL, OPT_NAME };

#define FRAME_MAX   ((size_t)64 << 20)
#define INTERVAL_MS 1000
#define STEP_MS     50
#define PATIENCE_MS 60000 /* with --once: until the shards are known */
#define ROWS        24
#define COLUMNS     80

static const tr_cli_option options[] = {
    {"name", OPT_NAME, "NAME",
     "show the leases of this fleet: its lease table, as for --name of\ntail and on"},
    {"interval", OPT_INTERVAL, "DURATION", "between two frames, 100ms to 1h (1s)"},
    {"once", OPT_ONCE, NULL, "one frame, and end"},
    {"format", OPT_FORMAT, "text|json", "text (the default), or a JSON object per table and frame"},
    TR_CLI_WHERE_OPTIONS,
    {NULL, 0, NULL, NULL}};

typedef struct top {
    tr_cli_where where;
    tr_cli_place place;
    tr_top_table tables[TR_TOP_TABLES];
    size_t count;
    const char *lease_table;
    int64_t interval_ms;
    bool once, json, screen; /* screen: the terminal is ours */
    struct termios before;   /* of the terminal */
    tr_buf frame;
} top;

static atomic_bool ended; /* by a signal, or by a key */

/* -------------------------------------------------------------------------------------------- terminal */

static void write_out(tr_view text)
{
    (void)fwrite(text.ptr, 1, text.len, stdout);
    (void)fflush(stdout);
}

/* The other screen, without cursor; keys come one by one, and are not shown. */
static void take_screen(top *t)
{
    t->screen = !t->once && !t->json && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) &&
                tcgetattr(STDIN_FILENO, &t->before) == 0;
    if (!t->screen)
        return;
    struct termios raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    write_out(TR_VIEW("\033[?1049h\033[?25l\033[H\033[2J"));
}

static void give_screen_back(top *t)
{
    if (!t->screen)
        return;
    t->screen = false;
    write_out(TR_VIEW("\033[?25h\033[?1049l"));
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
}

static void on_stop(void *ctx)
{
    (void)ctx;
    atomic_store(&ended, true);
}

/* Waits a step; q and Q end. */
static void wait_for_key(const top *t)
{
    struct pollfd p = {.fd = t->screen ? STDIN_FILENO : -1, .events = POLLIN};
    char key;
    if (poll(&p, 1, STEP_MS) > 0 && (p.revents & (POLLIN | POLLHUP)) &&
        (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q'))
        atomic_store(&ended, true);
}

/* ---------------------------------------------------------------------------------------------- frames */

/* Lines overwrite those of the frame before, so that nothing flickers. */
static void show(top *t)
{
    tr_buf out;
    tr_view rest = tr_buf_view(&t->frame);
    if (!t->screen) {
        write_out(rest);
        return;
    }
    tr_buf_init(&out, FRAME_MAX);
    tr_buf_put_str(&out, "\033[H");
    for (size_t end; rest.len && (end = tr_view_find(rest, TR_VIEW("\n"), 0)) != SIZE_MAX;) {
        tr_buf_put(&out, rest.ptr, end);
        rest = tr_view_of(rest.ptr + end + 1, rest.len - end - 1);
        tr_buf_put_str(&out, rest.len ? "\033[K\r\n" : "\033[K");
    }
    tr_buf_put_str(&out, "\033[J");
    if (!tr_buf_status(&out))
        write_out(tr_buf_view(&out));
    tr_buf_done(&out);
}

static int look(top *t, tr_error *err)
{
    for (size_t i = 0; i < t->count; i++) {
        tr_top_look(&t->tables[i]);
        if (!t->lease_table)
            continue;
        int e = tr_top_leases(&t->tables[i], t->place.client, t->lease_table, err);
        if (e && (t->once || e == TR_EINVAL))
            return e;
        if (e)
            (void)snprintf(t->tables[i].trouble, sizeof t->tables[i].trouble, "leases: %.300s", err->message);
    }
    return 0;
}

static int draw(top *t, tr_error *err)
{
    struct winsize size = {.ws_row = ROWS, .ws_col = COLUMNS};
    tr_top_view view = {.endpoint = tr_client_endpoint(t->place.client, TR_STREAMS),
                        .lease_table = t->lease_table};
    if (t->screen && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
        view.rows = size.ws_row;
        view.columns = size.ws_col;
    }
    view.ansi = t->screen;
    tr_buf_reset(&t->frame);
    (t->json ? tr_top_json : tr_top_draw)(t->tables, t->count, &view, &t->frame);
    if (!t->json && !t->screen && !t->once)
        tr_buf_putc(&t->frame, '\n'); /* between frames */
    if (tr_buf_status(&t->frame))
        return tr_fail(err, tr_buf_status(&t->frame), "there are too many shards to be shown");
    show(t);
    return 0;
}

static int read_all(top *t, tr_error *err)
{
    for (size_t i = 0; i < t->count; i++) {
        int e = tr_top_read(&t->tables[i]);
        if (e)
            return tr_fail(err, e, "reading the stream of %s: %s", t->tables[i].name, tr_strerror(e));
    }
    return 0;
}

/* Whether all shards have answered; those of a stream that was disabled answer no more. */
static bool is_known(const top *t)
{
    for (size_t i = 0; i < t->count; i++) {
        tr_stream_stats stats;
        tr_stream_get_stats(t->tables[i].stream, &stats);
        if (stats.lag_ms < 0 && stats.settled_ms < 0)
            return false;
    }
    return true;
}

static int wait_until(top *t, int64_t ms, tr_error *err)
{
    int e = 0;
    while (!e && !atomic_load(&ended) && tr_clock_mono_ms() < ms) {
        wait_for_key(t);
        e = read_all(t, err);
    }
    return e;
}

static int run_frames(top *t, tr_error *err)
{
    int64_t began = tr_clock_mono_ms();
    int e = 0;
    while (!e && t->once && !is_known(t) && !atomic_load(&ended)) {
        e = wait_until(t, tr_clock_mono_ms() + STEP_MS, err);
        if (!e && tr_clock_mono_ms() - began > PATIENCE_MS)
            e = t->tables[0].trouble[0] ? tr_fail(err, TR_ETIMEOUT, "%s", t->tables[0].trouble)
                                        : tr_fail(err, TR_ETIMEOUT, "the shards do not answer");
    }
    for (size_t i = 0; i < t->count; i++)
        tr_top_look(&t->tables[i]); /* rates are since now */
    while (!e && !atomic_load(&ended)) {
        e = wait_until(t, tr_clock_mono_ms() + t->interval_ms, err);
        if (!e && !atomic_load(&ended))
            e = look(t, err);
        if (!e && !atomic_load(&ended))
            e = draw(t, err);
        if (t->once)
            break;
    }
    return e;
}

/* --------------------------------------------------------------------------------------------- command */

static int take_option(const tr_cli *cli, int option, top *t)
{
    switch (option) {
    case OPT_ONCE:
        t->once = true;
        return 0;
    case OPT_NAME:
        t->lease_table = cli->value;
        return tr_cli_table_name(cli, cli->value);
    case OPT_INTERVAL:
        return tr_cli_duration_within(cli, "interval", "100ms", "1h", &t->interval_ms);
    default:
        t->json = strcmp(cli->value, "json") == 0;
        return t->json || strcmp(cli->value, "text") == 0
                   ? 0
                   : tr_cli_usage(cli, "--format is text or json, not '%s'", cli->value);
    }
}

static int parse(tr_cli *cli, top *t)
{
    int option, e = 0;
    while (!e && (option = tr_cli_next(cli)) > 0)
        if (!tr_cli_where_take(&t->where, option, cli))
            e = take_option(cli, option, t);
    if (e || option < 0)
        return e ? e : cli->exit_code ? cli->exit_code : -1;
    if (cli->argc < 1 || cli->argc > TR_TOP_TABLES)
        return tr_cli_usage(cli, "one TABLE or more (up to %d) are needed", TR_TOP_TABLES);
    if (t->lease_table && cli->argc > 1)
        return tr_cli_usage(cli, "--name is the lease table of one TABLE");
    for (int i = 0; i < cli->argc && !e; i++)
        e = tr_cli_table_name(cli, cli->argv[i]);
    return e;
}

/* What is mistyped is told at once; everything else is waited for. */
static int check_table(top *t, const char *name, tr_error *err)
{
    tr_cli_source source;
    int e = tr_cli_find_source(t->place.client, name, &source, err);
    return e == TR_ENOTFOUND || e == TR_EINVAL || t->once ? e : 0;
}

static int run(tr_cli *cli)
{
    static top t = {.interval_ms = INTERVAL_MS};
    tr_error err = {0};
    int usage = parse(cli, &t);
    if (usage)
        return usage < 0 ? TR_EXIT_OK : usage;
    tr_buf_init(&t.frame, FRAME_MAX);
    int e = tr_cli_catch_signals(&err);
    if (!e)
        e = tr_cli_connect(&t.where, &t.place, &err);
    for (int i = 0; i < cli->argc && !e; i++) {
        e = check_table(&t, cli->argv[i], &err);
        if (!e && (e = tr_top_open(&t.tables[t.count], cli->argv[i], t.place.client, &err)) == 0)
            t.count++;
    }
    if (!e) {
        tr_cli_on_stop(on_stop, NULL);
        take_screen(&t);
        e = run_frames(&t, &err);
        give_screen_back(&t);
    }
    for (size_t i = 0; i < t.count; i++)
        tr_top_close(&t.tables[i]);
    tr_cli_disconnect(&t.place);
    tr_buf_done(&t.frame);
    return e ? tr_cli_fail(&err) : tr_cli_stopped() ? TR_EXIT_INTERRUPTED : TR_EXIT_OK;
}

const tr_cli_command tr_cli_top = {
    .name = "top",
    .summary = "Watch a table's shards, how much is written, and how far workers are behind.",
    .arguments = "TABLE…",
    .text = "Reads the stream as one more consumer, from its newest record on. In a terminal q ends it;\n"
            "elsewhere frames are printed one after another.",
    .options = options,
    .run = run};
