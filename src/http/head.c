/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <llhttp.h>

/* A head is scanned first, so that the parser sees it whole, in memory of the request, and only if every line
 * ends in CRLF and no CR or LF stands elsewhere: parsers that differ about those are how requests are
 * smuggled past a proxy. */
ptrdiff_t tr__head_scan(tr_view bytes, size_t *scanned, size_t *lines, const char **ret_why)
{
    size_t at = *scanned;
    while (at < bytes.len) {
        const char *line = bytes.ptr + at, *end = bytes.ptr + bytes.len;
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        const char *cr = memchr(line, '\r', (size_t)((lf ? lf : end) - line));
        if (cr && cr + 1 != lf && !(cr + 1 == end)) {
            *ret_why = "a carriage return in the head is not followed by a line feed";
            return TR_EPARSE;
        }
        if (!lf)
            break;
        if (!cr) {
            *ret_why = "a line of the head ends without a carriage return";
            return TR_EPARSE;
        }
        at = (size_t)(lf + 1 - bytes.ptr);
        if (cr == line)
            return (ptrdiff_t)at;
        if (*lines > 0 && (*line == ' ' || *line == '\t')) {
            *ret_why = "a header is folded over several lines";
            return TR_EPARSE;
        }
        *scanned = at;
        ++*lines;
    }
    return 0;
}

/* What the parser's callbacks fill. */
struct filling {
    tr_http_request *request;
    tr_header *headers;
    size_t count, max;
    tr_view target;
};

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    ((struct filling *)parser->data)->target = tr_view_of(at, len);
    return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct filling *f = parser->data;
    if (f->count >= f->max)
        return -1;
    f->headers[f->count] = (tr_header){tr_view_of(at, len), tr_view_of(at, 0)};
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct filling *f = parser->data;
    while (len && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    f->headers[f->count].value = tr_view_of(at, len);
    return 0;
}

static int on_value_complete(llhttp_t *parser)
{
    ((struct filling *)parser->data)->count++;
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
};

bool tr__http_is(tr_view text, const char *lower)
{
    size_t i = 0;
    for (; i < text.len && lower[i]; i++) {
        char c = text.ptr[i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower[i])
            return false;
    }
    return i == text.len && !lower[i];
}

/* One space on each side of the target: the parser would take more. */
static bool is_plain_line(const tr_http_request *request, const char *bytes, size_t len, tr_view target)
{
    static const char version[] = " HTTP/1.x\r\n";
    size_t before = request->method.len + 1, behind = before + target.len;
    return target.ptr == bytes + before && len > behind + sizeof version - 1 &&
           memcmp(bytes + behind, version, 8) == 0 && memcmp(bytes + behind + 9, "\r\n", 2) == 0;
}

/* Splits the target: origin form "/path?query", absolute form "http://host/path?query", or "*". */
static int take_target(tr_http_request *request, tr_view target, tr_view *ret_authority)
{
    tr_view path = target;
    if (path.len == 0)
        return 400;
    if (path.ptr[0] != '/' && !tr_view_is(path, "*")) {
        size_t scheme = tr_view_find(path, TR_VIEW("://"), 0);
        if (scheme == SIZE_MAX)
            return 400;
        size_t begin = scheme + 3, end = begin;
        while (end < path.len && path.ptr[end] != '/' && path.ptr[end] != '?')
            end++;
        *ret_authority = tr_view_of(path.ptr + begin, end - begin);
        path = tr_view_of(path.ptr + end, path.len - end);
    }
    size_t mark = 0;
    while (mark < path.len && path.ptr[mark] != '?')
        mark++;
    request->path = mark ? tr_view_of(path.ptr, mark) : TR_VIEW("/");
    if (mark < path.len)
        request->query = tr_view_of(path.ptr + mark + 1, path.len - mark - 1);
    return 0;
}

static void lower_case(tr_view name)
{
    char *p = (char *)(uintptr_t)name.ptr; /* into the request's own copy */
    for (size_t i = 0; i < name.len; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + 32);
}

/* The headers that say how long the body is, where two readings would be dangerous. */
struct framing {
    unsigned lengths, codings, hosts, encodings;
};

static int note_header(tr_header header, struct framing *f, tr__head *head, const char **ret_why)
{
    switch (header.name.len) {
    case 4:
        f->hosts += tr_view_is(header.name, "host");
        break;
    case 6:
        head->expects_continue |=
            tr_view_is(header.name, "expect") && tr__http_is(header.value, "100-continue");
        break;
    case 14:
        if (tr_view_is(header.name, "content-length")) {
            f->lengths++;
            head->has_length = true;
            if (tr_view_to_u64(header.value, INT64_MAX, &head->length)) {
                *ret_why = "Content-Length is not a number of bytes";
                return 400;
            }
        }
        break;
    case 16:
        head->has_encoding |=
            tr_view_is(header.name, "content-encoding") && !tr__http_is(header.value, "identity");
        break;
    case 17:
        if (tr_view_is(header.name, "transfer-encoding")) {
            f->codings++;
            head->chunked = true;
            if (!tr__http_is(header.value, "chunked")) {
                *ret_why = "a Transfer-Encoding other than chunked is not supported";
                return 501;
            }
        }
        break;
    default:
        break;
    }
    return 0;
}

static int check_framing(const tr_http_request *request, const struct framing *f, const char **ret_why)
{
    if (f->lengths > 1 || f->codings > 1 || (f->lengths && f->codings)) {
        *ret_why = "more than one Content-Length or Transfer-Encoding header";
        return 400;
    }
    if (f->codings && request->p.http10) {
        *ret_why = "Transfer-Encoding in a request of HTTP/1.0";
        return 400;
    }
    if (f->hosts > 1 || (f->hosts == 0 && !request->p.http10)) {
        *ret_why = "exactly one Host header is needed";
        return 400;
    }
    return 0;
}

static int take_headers(tr_http_request *request, struct filling *f, tr_view authority, tr__head *head,
                        const char **ret_why)
{
    struct framing framing = {0};
    for (size_t i = 0; i < f->count; i++) {
        if (f->headers[i].name.len == 0) {
            *ret_why = "a header has no name";
            return 400;
        }
        lower_case(f->headers[i].name);
        int status = note_header(f->headers[i], &framing, head, ret_why);
        if (status)
            return status;
        /* the authority of an absolute target replaces Host (RFC 9112, section 3.2.2) */
        if (authority.ptr && tr_view_is(f->headers[i].name, "host"))
            f->headers[i].value = authority;
    }
    request->headers = f->headers;
    request->header_count = f->count;
    return check_framing(request, &framing, ret_why);
}

int tr__head_parse(tr_http_request *request, char *bytes, size_t len, size_t lines, tr__head *ret_head,
                   const char **ret_why)
{
    struct filling f = {.request = request, .max = lines};
    f.headers = tr_arena_alloc(&request->arena, lines * sizeof *f.headers);
    if (!f.headers) {
        *ret_why = "out of memory";
        return 503;
    }
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &f;
    llhttp_errno_t code = llhttp_execute(&parser, bytes, len);
    if (code != HPE_PAUSED || llhttp_get_error_pos(&parser) < bytes + len - 1) {
        /* the parser stops on the last line feed; anywhere else it saw another head than we did */
        const char *why = llhttp_get_error_reason(&parser);
        *ret_why = code != HPE_PAUSED && code != HPE_OK && why && *why ? why : "malformed request";
        return 400;
    }
    if (parser.http_major != 1 || parser.http_minor > 1) {
        *ret_why = "only HTTP/1.0 and HTTP/1.1 are spoken here";
        return 505;
    }
    request->method = tr_view_str(llhttp_method_name((llhttp_method_t)parser.method));
    request->p.http10 = parser.http_minor == 0;
    request->p.is_head = parser.method == HTTP_HEAD;
    request->p.keep_alive = llhttp_should_keep_alive(&parser) != 0;
    request->p.wants_upgrade = parser.upgrade != 0;
    if (parser.method == HTTP_CONNECT) {
        *ret_why = "this is no proxy";
        return 405;
    }
    tr_view authority = {0};
    if (!is_plain_line(request, bytes, len, f.target)) {
        *ret_why = "the request line is not METHOD, space, target, space, version";
        return 400;
    }
    if (take_target(request, f.target, &authority)) {
        *ret_why = "the request's target is neither a path nor a URL";
        return 400;
    }
    tr__head head = {0};
    int status = take_headers(request, &f, authority, &head, ret_why);
    if (status == 0)
        *ret_head = head;
    return status;
}
