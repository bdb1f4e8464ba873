/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <arpa/inet.h>

/* A web page can make its visitor's browser call any port of the visitor's machine. Two headers the page
 * cannot forge keep it out: Origin, which names the page, and Host, which names what the page called: a page
 * that had its own name pointed at 127.0.0.1 (DNS rebinding) is of the same origin as we, but says its own
 * name there. An address cannot be rebound, so addresses pass. */

/* The host without its port: "localhost:8000", "[::1]:8000", "10.0.0.1". */
static tr_view without_port(tr_view host)
{
    if (host.len && host.ptr[0] == '[') {
        size_t close = tr_view_find(host, TR_VIEW("]"), 0);
        return close == SIZE_MAX ? host : tr_view_of(host.ptr, close + 1);
    }
    size_t colon = tr_view_find(host, TR_VIEW(":"), 0);
    return colon == SIZE_MAX ? host : tr_view_of(host.ptr, colon);
}

static bool is_address(tr_view host)
{
    char text[64];
    bool six = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (six)
        host = tr_view_of(host.ptr + 1, host.len - 2);
    if (host.len >= sizeof text || host.len == 0)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = 0;
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(six ? AF_INET6 : AF_INET, text, bytes) == 1;
}

static bool same_text(tr_view a, tr_view b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        char x = a.ptr[i], y = b.ptr[i];
        if (x >= 'A' && x <= 'Z')
            x = (char)(x + 32);
        if (y >= 'A' && y <= 'Z')
            y = (char)(y + 32);
        if (x != y)
            return false;
    }
    return true;
}

static bool host_allowed(const tr_http_server *server, tr_view header)
{
    static const char below[] = ".localhost"; /* browsers never resolve it elsewhere */
    if (server->any_host)
        return true;
    tr_view host = without_port(header);
    if (tr__http_is(host, "localhost") || is_address(host))
        return true;
    size_t n = sizeof below - 1;
    if (host.len > n && tr__http_is(tr_view_of(host.ptr + host.len - n, n), below))
        return true;
    for (size_t i = 0; i < server->host_count; i++)
        if (same_text(host, server->hosts[i]))
            return true;
    return false;
}

static bool origin_listed(const tr_http_server *server, tr_view origin)
{
    if (server->any_origin)
        return true;
    for (size_t i = 0; i < server->origin_count; i++)
        if (same_text(origin, server->origins[i]))
            return true;
    return false;
}

/* Whether the page came from this server: its origin is what it called. */
static bool is_own_page(tr_view origin, tr_view host)
{
    if (tr_view_starts(origin, TR_VIEW("http://")))
        return same_text(tr_view_of(origin.ptr + 7, origin.len - 7), host);
    /* behind a proxy that ends TLS */
    return tr_view_starts(origin, TR_VIEW("https://")) &&
           same_text(tr_view_of(origin.ptr + 8, origin.len - 8), host);
}

static void answer_preflight(tr_http_request *request)
{
    tr_view wanted = tr_http_header(request, "access-control-request-headers");
    tr_header headers[] = {
        {TR_VIEW("Access-Control-Allow-Methods"), TR_VIEW("GET, HEAD, POST, PUT, DELETE")},
        {TR_VIEW("Access-Control-Max-Age"), TR_VIEW("86400")},
        {TR_VIEW("Access-Control-Allow-Headers"), wanted},
    };
    tr_http_respond(request, 204, NULL, headers, wanted.ptr ? 3 : 2, 0);
}

bool tr__guard_pass(tr_http_request *request)
{
    tr_http_server *server = request->p.server;
    if (request->p.conn->is_unix)
        return true;
    tr_view host = tr_http_header(request, "host");
    if (host.ptr &&
        !host_allowed(server, host)) { /* only HTTP/1.0, which no browser speaks, may do without */
        tr__respond_error(request, 403,
                          "this Host is not allowed; call the server by localhost or its address", false);
        return false;
    }
    tr_view origin = tr_http_header(request, "origin");
    if (!origin.ptr)
        return true;
    if (origin_listed(server, origin)) {
        request->p.origin = origin;
        if (tr_view_is(request->method, "OPTIONS") &&
            tr_http_header(request, "access-control-request-method").ptr) {
            answer_preflight(request);
            return false;
        }
        return true;
    }
    if (is_own_page(origin, host))
        return true;
    tr__respond_error(request, 403, "pages of this Origin are not allowed to call", false);
    return false;
}

void tr__guard_headers(const tr_http_request *request, tr_buf *head)
{
    if (!request->p.origin.ptr)
        return;
    tr_buf_put_str(head, "Access-Control-Allow-Origin: ");
    tr_buf_put_view(head, request->p.origin);
    tr_buf_put_str(head, "\r\nAccess-Control-Expose-Headers: *\r\nVary: Origin\r\n");
}
