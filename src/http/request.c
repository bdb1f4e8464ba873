/* SPDX-License-Identifier: MIT */
#include "hex.h"
#include "server.h"

#include <assert.h>

static void keep_small(tr_buf *buf, size_t most)
{
    if (buf->cap > most)
        tr_buf_done(buf);
    tr_buf_reset(buf);
}

static void init_buffers(tr_http_request *request, const tr_http_options *options)
{
    tr_arena_init(&request->arena, options->arena_limit);
    tr_buf_init(&request->out, options->out_limit);
    tr_buf_init(&request->p.sending, options->out_limit);
    tr_buf_init(&request->p.head, TR_HTTP_HEAD_MAX);
    tr_buf_init(&request->p.body, options->body_limit);
}

tr_http_request *tr__request_new(tr__http_conn *conn)
{
    tr_http_server *server = conn->server;
    tr_http_request *request = server->pool;
    if (request) {
        server->pool = request->p.next;
        server->pool_count--;
    } else {
        request = tr_calloc(1, sizeof *request);
        if (!request)
            return NULL;
        init_buffers(request, &server->options);
    }
    request->p.server = server;
    request->p.conn = conn;
    request->p.next = NULL;
    request->p.live_prev = NULL;
    request->p.live_next = server->live;
    if (server->live)
        server->live->p.live_prev = request;
    server->live = request;
    if (conn->last)
        conn->last->p.next = request;
    else
        conn->first = request;
    conn->last = request;
    conn->waiting++;
    return request;
}

/* Makes a request like new, with the memory it has. */
static void recycle(tr_http_request *request, const tr_http_options *options)
{
    tr_http_request clean = {
        .arena = request->arena,
        .out = request->out,
        .p = {.head = request->p.head, .body = request->p.body, .sending = request->p.sending},
    };
    *request = clean;
    tr_arena_reset(&request->arena);
    keep_small(&request->out, TR__HTTP_KEEP_OUT);
    request->out.limit = options->out_limit; /* a buffer handed over had its own */
    keep_small(&request->p.head, 8192);
    keep_small(&request->p.body, 0);
    keep_small(&request->p.sending, 0);
}

static void destroy(tr_http_request *request)
{
    tr_arena_done(&request->arena);
    tr_buf_done(&request->out);
    tr_buf_done(&request->p.head);
    tr_buf_done(&request->p.body);
    tr_buf_done(&request->p.sending);
    tr_free(request);
}

void tr__request_free(tr_http_request *request)
{
    tr_http_server *server = request->p.server;
    if (!server) {
        destroy(request);
        return;
    }
    server->held -= request->p.charged;
    if (request->p.conn)
        request->p.conn->held -= request->p.charged;
    if (request->p.live_prev)
        request->p.live_prev->p.live_next = request->p.live_next;
    else
        server->live = request->p.live_next;
    if (request->p.live_next)
        request->p.live_next->p.live_prev = request->p.live_prev;
    if (server->pool_count >= TR__HTTP_POOL_MAX || server->closing) {
        destroy(request);
        return;
    }
    recycle(request, &server->options);
    request->p.next = server->pool;
    server->pool = request;
    server->pool_count++;
}

bool tr__request_charge(tr_http_request *request, size_t bytes)
{
    tr_http_server *server = request->p.server;
    if (bytes > server->options.memory_limit || server->options.memory_limit - bytes < server->held)
        return false;
    server->held += bytes;
    request->p.charged += bytes;
    request->p.conn->held += bytes;
    return true;
}

tr_view tr_http_header(const tr_http_request *request, const char *name)
{
    tr_view wanted = tr_view_str(name);
    for (size_t i = 0; i < request->header_count; i++)
        if (tr_view_eq(request->headers[i].name, wanted))
            return request->headers[i].value;
    return (tr_view){NULL, 0};
}

int tr_http_percent_decode(tr_arena *arena, tr_view text, bool plus_is_space, tr_view *ret_text)
{
    char *out = tr_arena_alloc(arena, text.len + 1);
    if (!out)
        return TR_ENOMEM;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            if (text.len - i < 3)
                return TR_EPARSE;
            int high = tr__hex_digit(text.ptr[i + 1]), low = tr__hex_digit(text.ptr[i + 2]);
            if (high < 0 || low < 0)
                return TR_EPARSE;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[len++] = c;
    }
    out[len] = 0;
    *ret_text = tr_view_of(out, len);
    return 0;
}

int tr_http_query_param(tr_http_request *request, const char *name, tr_view *ret_value)
{
    tr_view rest = request->query, wanted = tr_view_str(name);
    while (rest.len) {
        size_t end = 0, equals = SIZE_MAX;
        for (; end < rest.len && rest.ptr[end] != '&'; end++)
            if (rest.ptr[end] == '=' && equals == SIZE_MAX)
                equals = end;
        size_t key_len = equals == SIZE_MAX ? end : equals;
        tr_view key;
        int code = tr_http_percent_decode(&request->arena, tr_view_of(rest.ptr, key_len), true, &key);
        if (code)
            return code;
        if (tr_view_eq(key, wanted)) {
            tr_view value = equals == SIZE_MAX ? tr_view_of(rest.ptr + end, 0)
                                               : tr_view_of(rest.ptr + equals + 1, end - equals - 1);
            return tr_http_percent_decode(&request->arena, value, true, ret_value);
        }
        size_t skip = end < rest.len ? end + 1 : end;
        rest = tr_view_of(rest.ptr + skip, rest.len - skip);
    }
    return TR_ENOTFOUND;
}

bool tr_http_gone(const tr_http_request *request)
{
    return !request->p.conn || request->p.gone;
}
