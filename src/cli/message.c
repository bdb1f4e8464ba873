/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <tailrace/json.h>

#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_MAX    8192 /* bytes; an error's text has at most TR_ERROR_MESSAGE_MAX */
#define LINE_MAX_BYTES ((size_t)1 << 20)

static bool log_json;
static const char *command;
static const char *const level_names[] = {"debug", "info", "warning", "error"};

bool tr_cli_logs_json(void)
{
    return log_json;
}

void tr_cli_log_as_json(bool json)
{
    log_json = json;
}

void tr_cli_log_command(const char *name)
{
    command = name;
}

/* How many bytes of a character stand at the beginning; 0: none that is valid. */
static size_t character(tr_view text)
{
    for (size_t n = 1; n <= 4 && n <= text.len; n++)
        if (tr_utf8_valid(tr_view_of(text.ptr, n)))
            return n;
    return 0;
}

/* A member whose bytes may be anything: what is no UTF-8 becomes U+FFFD. */
static void put_text(tr_json_writer *w, const char *name, tr_view text)
{
    if (tr_utf8_valid(text)) {
        tr_json_member_string(w, name, text);
        return;
    }
    tr_buf clean;
    tr_buf_init(&clean, LINE_MAX_BYTES * 3);
    while (text.len) {
        size_t n = character(text);
        tr_buf_put(&clean, n ? text.ptr : "\xef\xbf\xbd", n ? n : 3);
        n = n ? n : 1;
        text = tr_view_of(text.ptr + n, text.len - n);
    }
    tr_json_member_string(w, name, tr_buf_view(&clean));
    tr_buf_done(&clean);
}

static void write_json(tr_buf *out, tr_log_level level, const tr_cli_field *fields, tr_view message)
{
    tr_json_writer w;
    char time[TR_TIME_TEXT_MAX];
    tr_time_format(tr_clock_wall_ms(), true, time);
    tr_json_write_init(&w, out);
    tr_json_begin_object(&w);
    tr_json_member_cstring(&w, "time", time);
    tr_json_member_cstring(&w, "level", level_names[level]);
    if (command)
        tr_json_member_cstring(&w, "command", command);
    put_text(&w, "message", message);
    for (const tr_cli_field *f = fields; f && f->name; f++) {
        if (f->text && f->text[0])
            put_text(&w, f->name, tr_view_str(f->text));
        else if (!f->text && f->number)
            tr_json_member_i64(&w, f->name, f->number);
    }
    tr_json_end_object(&w);
}

/* In one piece, so that lines of several threads do not mingle. */
static void write_line(tr_buf *out)
{
    tr_buf_putc(out, '\n');
    if (!tr_buf_status(out))
        (void)fwrite(out->ptr, 1, out->len, stderr);
    tr_buf_done(out);
}

static void write_message(tr_log_level level, const tr_cli_field *fields, tr_view message)
{
    tr_buf out;
    tr_buf_init(&out, (size_t)MESSAGE_MAX * 16);
    if (log_json) {
        write_json(&out, level, fields, message);
    } else {
        if (level >= TR_LOG_WARN)
            tr_buf_printf(&out, "tailrace: %s: ", level_names[level]);
        tr_buf_put_view(&out, message);
    }
    write_line(&out);
}

void tr_cli_tell(tr_log_level level, const tr_cli_field *fields, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    write_message(level, fields, tr_view_str(message));
}

void tr_cli_message(tr_log_level level, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    write_message(level, NULL, tr_view_str(message));
}

void tr_cli_say(const char *source, tr_view line)
{
    const tr_cli_field fields[] = {{.name = "source", .text = source ? source : "handler"}, {NULL, NULL, 0}};
    tr_buf out;
    if (line.len > LINE_MAX_BYTES)
        line.len = LINE_MAX_BYTES;
    tr_buf_init(&out, LINE_MAX_BYTES * 8);
    if (log_json) {
        write_json(&out, TR_LOG_INFO, fields, line);
    } else {
        if (source)
            tr_buf_printf(&out, "%s: ", source);
        tr_buf_put_view(&out, line);
    }
    write_line(&out);
}

static void log_callback(void *ctx, tr_log_level level, const char *message)
{
    (void)ctx;
    if (level > TR_LOG_DEBUG || getenv("TAILRACE_DEBUG"))
        write_message(level, NULL, tr_view_str(message));
}

tr_logger tr_cli_logger(void)
{
    return (tr_logger){.fn = log_callback};
}
