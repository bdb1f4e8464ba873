/* SPDX-License-Identifier: MIT */
#include <tailrace/http_client.h>

void tr_sse_init(tr_sse_parser *parser, size_t limit)
{
    memset(parser, 0, sizeof *parser);
    tr_buf_init(&parser->line, limit);
    tr_buf_init(&parser->data, limit);
    tr_buf_init(&parser->id, limit);
    tr_buf_init(&parser->event, limit);
}

void tr_sse_done(tr_sse_parser *parser)
{
    if (!parser)
        return;
    tr_buf_done(&parser->line);
    tr_buf_done(&parser->data);
    tr_buf_done(&parser->id);
    tr_buf_done(&parser->event);
}

static int dispatch(tr_sse_parser *parser, tr_sse_event_fn *on_event, void *ctx)
{
    bool go_on = true;
    if (parser->data.len) {
        tr_view data = tr_view_of(parser->data.ptr, parser->data.len - 1); /* without the last line feed */
        go_on = on_event(ctx, tr_buf_view(&parser->id), tr_buf_view(&parser->event), data);
    }
    tr_buf_reset(&parser->data);
    tr_buf_reset(&parser->event);
    return go_on ? 0 : TR_ECANCELED;
}

static int set(tr_buf *buf, tr_view value)
{
    tr_buf_reset(buf);
    tr_buf_put_view(buf, value);
    return tr_buf_status(buf);
}

static int take_line(tr_sse_parser *parser, tr_view line, tr_sse_event_fn *on_event, void *ctx)
{
    if (!parser->begun) {
        parser->begun = true;
        if (tr_view_starts(line, TR_VIEW("\xef\xbb\xbf"))) /* a byte order mark */
            line = tr_view_of(line.ptr + 3, line.len - 3);
    }
    if (line.len == 0)
        return dispatch(parser, on_event, ctx);
    size_t colon = 0;
    while (colon < line.len && line.ptr[colon] != ':')
        colon++;
    tr_view field = tr_view_of(line.ptr, colon), value = tr_view_of(line.ptr + line.len, 0);
    if (colon < line.len) {
        size_t begin = colon + 1 < line.len && line.ptr[colon + 1] == ' ' ? colon + 2 : colon + 1;
        value = tr_view_of(line.ptr + begin, line.len - begin);
    }
    if (tr_view_is(field, "data")) {
        tr_buf_put_view(&parser->data, value);
        tr_buf_putc(&parser->data, '\n');
        return tr_buf_status(&parser->data);
    }
    if (tr_view_is(field, "event"))
        return set(&parser->event, value);
    if (tr_view_is(field, "id") && (value.len == 0 || !memchr(value.ptr, 0, value.len)))
        return set(&parser->id, value);
    return 0;
}

/* The first CR or LF. */
static const char *line_end(const char *at, const char *end)
{
    const char *lf = memchr(at, '\n', (size_t)(end - at));
    const char *cr = memchr(at, '\r', (size_t)((lf ? lf : end) - at));
    return cr ? cr : lf;
}

int tr_sse_feed(tr_sse_parser *parser, tr_view bytes, tr_sse_event_fn *on_event, void *ctx)
{
    const char *at = bytes.ptr, *end = bytes.len ? bytes.ptr + bytes.len : bytes.ptr;
    while (at < end) {
        if (parser->after_cr) {
            parser->after_cr = false;
            if (*at == '\n') {
                at++;
                continue;
            }
        }
        const char *stop = line_end(at, end);
        tr_view piece = tr_view_of(at, (size_t)((stop ? stop : end) - at));
        if (!stop || parser->line.len) {
            tr_buf_put_view(&parser->line, piece);
            if (tr_buf_status(&parser->line))
                return tr_buf_status(&parser->line);
            piece = tr_buf_view(&parser->line);
        }
        if (!stop)
            return 0;
        int code = take_line(parser, piece, on_event, ctx);
        tr_buf_reset(&parser->line);
        if (code)
            return code;
        parser->after_cr = *stop == '\r';
        at = stop + 1;
    }
    return 0;
}
