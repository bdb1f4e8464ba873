/* SPDX-License-Identifier: MIT */
#include "server.h"

/* Level 1 costs a third of level 6 and takes most of what JSON gives. */
#define LEVEL 1

static const char bad_gzip[] = "the body is not valid gzip";
static const char no_memory[] = "out of memory";

/* Inflates one member of a gzip file; larger outputs are tried until the limit. Returns an HTTP status. */
static int inflate_member(struct libdeflate_decompressor *inflater, tr_view in, tr_buf *out, size_t *ret_used,
                          const char **ret_why)
{
    size_t room = in.len < 16384 ? 65536 : in.len * 4;
    for (;;) {
        size_t most = out->limit - out->len;
        if (room > most)
            room = most;
        if (tr_buf_reserve(out, room)) {
            *ret_why = no_memory;
            return 503;
        }
        size_t made;
        enum libdeflate_result result = libdeflate_gzip_decompress_ex(
            inflater, in.ptr, in.len, out->ptr + out->len, room, ret_used, &made);
        if (result == LIBDEFLATE_SUCCESS) {
            out->len += made;
            return 0;
        }
        if (result != LIBDEFLATE_INSUFFICIENT_SPACE) {
            *ret_why = bad_gzip;
            return 400;
        }
        if (room == most) {
            *ret_why = "the body is too large once inflated";
            return 413;
        }
        room *= 4;
    }
}

int tr__gzip_inflate(tr_http_request *request, const char **ret_why)
{
    tr_http_server *server = request->p.server;
    if (!server->decompressor)
        server->decompressor = libdeflate_alloc_decompressor();
    if (!server->decompressor) {
        *ret_why = no_memory;
        return 503;
    }
    tr_buf out;
    tr_buf_init(&out, server->options.body_limit);
    tr_view in = request->body;
    int status = in.len ? 0 : 400;
    *ret_why = bad_gzip;
    while (in.len && status == 0) {
        size_t used;
        status = inflate_member(server->decompressor, in, &out, &used, ret_why);
        if (status == 0)
            in = tr_view_of(in.ptr + used, in.len - used);
    }
    if (status == 0 && !tr__request_charge(request, out.len)) {
        *ret_why = "too much is being handled";
        status = 503;
    }
    if (status) {
        tr_buf_done(&out);
        return status;
    }
    tr_buf_done(&request->p.body);
    request->p.body = out;
    request->body = tr_buf_view(&out);
    return 0;
}

bool tr__gzip_deflate(tr_http_request *request, tr_view body)
{
    tr_http_server *server = request->p.server;
    if (!server->compressor)
        server->compressor = libdeflate_alloc_compressor(LEVEL);
    if (!server->compressor)
        return false;
    tr_buf out;
    tr_buf_init(&out, body.len);
    if (tr_buf_reserve(&out, body.len))
        return false;
    out.len = libdeflate_gzip_compress(server->compressor, body.ptr, body.len, out.ptr, body.len);
    if (out.len == 0) { /* did not get smaller */
        tr_buf_done(&out);
        return false;
    }
    tr_buf_done(&request->out);
    request->out = out;
    return true;
}

/* A quality of 0 ("gzip;q=0", "q=0.00") says no. */
static bool is_refused(tr_view parameters)
{
    size_t q = tr_view_find(parameters, TR_VIEW("q="), 0);
    if (q == SIZE_MAX)
        return false;
    for (size_t i = q + 2; i < parameters.len; i++)
        if (parameters.ptr[i] >= '1' && parameters.ptr[i] <= '9')
            return false;
    return true;
}

bool tr__gzip_accepted(tr_view accept)
{
    size_t at = 0;
    while (at < accept.len) {
        size_t end = at;
        while (end < accept.len && accept.ptr[end] != ',')
            end++;
        while (at < end && accept.ptr[at] == ' ')
            at++;
        size_t name = at;
        while (name < end && accept.ptr[name] != ';' && accept.ptr[name] != ' ')
            name++;
        tr_view coding = tr_view_of(accept.ptr + at, name - at);
        if (tr__http_is(coding, "gzip") || tr_view_is(coding, "*"))
            return !is_refused(tr_view_of(accept.ptr + name, end - name));
        at = end + 1;
    }
    return false;
}
