/* SPDX-License-Identifier: MIT */
#include "json_scan.h"

#include <inttypes.h>

void tr_json_begin_object(tr_json_writer *w)
{
    tr_json_sep(w);
    tr_buf_putc(w->out, '{');
}

void tr_json_end_object(tr_json_writer *w)
{
    tr_buf_putc(w->out, '}');
}

void tr_json_begin_array(tr_json_writer *w)
{
    tr_json_sep(w);
    tr_buf_putc(w->out, '[');
}

void tr_json_end_array(tr_json_writer *w)
{
    tr_buf_putc(w->out, ']');
}

static void put_escaped(tr_buf *out, uint8_t c)
{
    static const char shorts[] = {
        ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    if (c < sizeof shorts && shorts[c]) {
        char two[2] = {'\\', shorts[c]};
        tr_buf_put(out, two, 2);
        return;
    }
    static const char hex[] = "0123456789abcdef";
    char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    tr_buf_put(out, six, 6);
}

void tr__json_put_string(tr_buf *out, tr_view text)
{
    tr_buf_putc(out, '"');
    const char *p = text.ptr, *end = text.len ? p + text.len : p;
    while (p < end) {
        const char *special = tr__json_scan(p, end, false);
        tr_buf_put(out, p, (size_t)(special - p));
        if (special < end)
            put_escaped(out, (uint8_t)*special++);
        p = special;
    }
    tr_buf_putc(out, '"');
}

void tr_json_key(tr_json_writer *w, tr_view name)
{
    tr_json_sep(w);
    tr__json_put_string(w->out, name);
    tr_buf_putc(w->out, ':');
}

void tr_json_string(tr_json_writer *w, tr_view text)
{
    tr_json_sep(w);
    tr__json_put_string(w->out, text);
}

void tr_json_cstring(tr_json_writer *w, const char *text)
{
    tr_json_string(w, tr_view_str(text));
}

void tr_json_i64(tr_json_writer *w, int64_t number)
{
    tr_json_sep(w);
    if (number < 0)
        tr_buf_putc(w->out, '-');
    tr_buf_put_u64(w->out, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

void tr_json_u64(tr_json_writer *w, uint64_t number)
{
    tr_json_sep(w);
    tr_buf_put_u64(w->out, number);
}

void tr_json_bool(tr_json_writer *w, bool value)
{
    tr_json_sep(w);
    tr_buf_put_str(w->out, value ? "true" : "false");
}

void tr_json_null(tr_json_writer *w)
{
    tr_json_sep(w);
    tr_buf_put(w->out, "null", 4);
}

void tr_json_value(tr_json_writer *w, tr_view json)
{
    tr_json_sep(w);
    tr_buf_put_view(w->out, json);
}

void tr_json_base64(tr_json_writer *w, tr_view bytes)
{
    tr_json_sep(w);
    tr_buf_putc(w->out, '"');
    tr_base64_put(w->out, bytes);
    tr_buf_putc(w->out, '"');
}

void tr_json_name(tr_json_writer *w, const char *name)
{
    tr_json_sep(w);
    tr_buf_putc(w->out, '"');
    tr_buf_put_str(w->out, name);
    tr_buf_put(w->out, "\":", 2);
}

void tr_json_member_string(tr_json_writer *w, const char *name, tr_view text)
{
    tr_json_name(w, name);
    tr_json_string(w, text);
}

void tr_json_member_cstring(tr_json_writer *w, const char *name, const char *text)
{
    tr_json_name(w, name);
    tr_json_cstring(w, text);
}

void tr_json_member_i64(tr_json_writer *w, const char *name, int64_t number)
{
    tr_json_name(w, name);
    tr_json_i64(w, number);
}

void tr_json_member_u64(tr_json_writer *w, const char *name, uint64_t number)
{
    tr_json_name(w, name);
    tr_json_u64(w, number);
}

void tr_json_member_bool(tr_json_writer *w, const char *name, bool value)
{
    tr_json_name(w, name);
    tr_json_bool(w, value);
}
