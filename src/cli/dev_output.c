/* SPDX-License-Identifier: MIT */
#include "cli/dev.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_MAX_BYTES ((size_t)1 << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int width = 8;

/* Colours that can be read on light and dark, by name, so that a source keeps its own from run to run. */
static const char *colour_of(const char *source)
{
    static const char *const colours[] = {"36", "33", "35", "32", "34", "96", "93", "95", "92", "94"};
    uint32_t h = 2166136261U;
    for (const char *c = source; *c; c++)
        h = (h ^ (uint8_t)*c) * 16777619U;
    return colours[h % TR_COUNT(colours)];
}

static bool coloured(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return (!no || !*no) && (!term || strcmp(term, "dumb") != 0) && isatty(STDERR_FILENO);
}

void tr_dev_width(const tr_project *p)
{
    size_t most = 8;
    for (const tr_project_function *f = p->functions; f; f = f->next)
        most = strlen(f->name) > most ? strlen(f->name) : most;
    for (const tr_project_pipe *x = p->pipes; x; x = x->next)
        most = strlen(x->name) > most ? strlen(x->name) : most;
    for (const tr_project_mapping *m = p->mappings; m; m = m->next)
        most = strlen(m->name) > most ? strlen(m->name) : most;
    width = most > 24 ? 24 : (int)most;
}

void tr_dev_say(const char *source, tr_view line)
{
    if (tr_cli_logs_json()) {
        tr_cli_say(source, line);
        return;
    }
    tr_buf out;
    tr_buf_init(&out, LINE_MAX_BYTES);
    bool colour = coloured();
    tr_buf_printf(&out, colour ? "\033[%sm%-*s |\033[0m " : "%.0s%-*s | ", colour_of(source), width, source);
    tr_buf_put_view(&out, line.len < LINE_MAX_BYTES / 2 ? line : tr_view_of(line.ptr, LINE_MAX_BYTES / 2));
    tr_buf_putc(&out, '\n');
    (void)pthread_mutex_lock(&lock);
    (void)fwrite(out.ptr, 1, out.len, stderr);
    (void)pthread_mutex_unlock(&lock);
    tr_buf_done(&out);
}

void tr_dev_sayf(const char *source, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tr_dev_say(source, tr_view_str(text));
}

static void log_line(void *ctx, tr_log_level level, const char *message)
{
    static const char *const names[] = {"", "", "warning: ", "error: "};
    const tr_cli_field fields[] = {{.name = "source", .text = ctx}, {NULL, NULL, 0}};
    if (level == TR_LOG_DEBUG && !getenv("TAILRACE_DEBUG"))
        return;
    if (tr_cli_logs_json())
        tr_cli_tell(level, fields, "%s", message);
    else
        tr_dev_sayf(ctx, "%s%s", names[level], message);
}

tr_logger tr_dev_logger(const char *source)
{
    return (tr_logger){.fn = log_line, .ctx = (void *)(uintptr_t)source};
}
