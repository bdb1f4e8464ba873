/* SPDX-License-Identifier: MIT */
#include "cli/bars.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_WIDTH   20
#define WIDTH_GUESS 80
#define MESSAGE_MAX 8192

void tr_cli_bars_init(tr_cli_bars *bars, size_t count)
{
    memset(bars, 0, sizeof *bars);
    (void)pthread_mutex_init(&bars->lock, NULL);
    bars->count = count < TR_CLI_BARS_MAX ? count : TR_CLI_BARS_MAX;
    bars->on = isatty(STDERR_FILENO) && !tr_cli_logs_json();
}

void tr_cli_bars_done(tr_cli_bars *bars)
{
    (void)pthread_mutex_destroy(&bars->lock);
}

/* Takes the lines off the terminal. With the lock. */
static void clear(tr_cli_bars *bars)
{
    if (bars->drawn)
        (void)fprintf(stderr, "\033[%zuA\r\033[J", bars->drawn);
    bars->drawn = 0;
}

static size_t width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : WIDTH_GUESS;
}

/* In one piece, so that the terminal does not flicker. With the lock. */
static void draw(tr_cli_bars *bars)
{
    tr_buf out;
    size_t columns = width();
    tr_buf_init(&out, (size_t)TR_CLI_BARS_MAX * (TR_CLI_BAR_BYTES + 16));
    if (bars->drawn)
        tr_buf_printf(&out, "\033[%zuA", bars->drawn);
    for (size_t i = 0; i < bars->count; i++)
        tr_buf_printf(&out, "\r\033[K%.*s\n", (int)(columns > 1 ? columns - 1 : 1), bars->text[i]);
    if (!tr_buf_status(&out))
        (void)fwrite(out.ptr, 1, out.len, stderr);
    (void)fflush(stderr);
    tr_buf_done(&out);
    bars->drawn = bars->count;
}

void tr_cli_bars_set(tr_cli_bars *bars, size_t which, double part, const char *text)
{
    char bar[BAR_WIDTH + 1];
    if (!bars->on || which >= bars->count)
        return;
    size_t filled = part <= 0 ? 0 : part >= 1 ? BAR_WIDTH : (size_t)(part * BAR_WIDTH);
    memset(bar, '#', filled);
    memset(bar + filled, '.', BAR_WIDTH - filled);
    bar[BAR_WIDTH] = 0;
    pthread_mutex_lock(&bars->lock);
    (void)snprintf(bars->text[which], TR_CLI_BAR_BYTES, "[%s] %s", bar, text);
    draw(bars);
    pthread_mutex_unlock(&bars->lock);
}

void tr_cli_bars_message(tr_cli_bars *bars, tr_log_level level, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    pthread_mutex_lock(&bars->lock);
    size_t drawn = bars->drawn;
    clear(bars);
    tr_cli_message(level, "%s", message);
    if (drawn)
        draw(bars);
    pthread_mutex_unlock(&bars->lock);
}

static void log_callback(void *ctx, tr_log_level level, const char *message)
{
    if (level > TR_LOG_DEBUG || getenv("TAILRACE_DEBUG"))
        tr_cli_bars_message(ctx, level, "%s", message);
}

tr_logger tr_cli_bars_logger(tr_cli_bars *bars)
{
    return (tr_logger){.fn = log_callback, .ctx = bars};
}
