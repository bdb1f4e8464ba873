/* SPDX-License-Identifier: MIT */
/**
 * How many requests per second the HTTP server answers, and the client sends.
 *
 *     bench_http server PORT        answers every request with a small JSON text, for wrk or others to
 * measure
 */
#include <tailrace/http.h>

#include <stdio.h>
#include <stdlib.h>

static void handle(void *ctx, tr_http_request *request)
{
    (void)ctx;
    tr_buf_put_str(&request->out, "{\"Attributes\":{\"id\":{\"S\":\"0123456789\"}}}");
    tr_http_respond(request, 200, "application/x-amz-json-1.0", NULL, 0, TR_HTTP_CRC32);
}

static int serve(const char *port)
{
    char address[64];
    (void)snprintf(address, sizeof address, "127.0.0.1:%s", port);
    const char *listen[] = {address};
    tr_http_options options = {.listen = listen, .listen_count = 1};
    tr_http_server *server;
    tr_error err;
    if (tr_http_server_new(uv_default_loop(), &options, handle, NULL, &server, &err)) {
        (void)fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("listening on port %u\n", tr_http_server_port(server, 0));
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "server") == 0)
        return serve(argv[2]);
    (void)fprintf(stderr, "usage: bench_http server PORT\n");
    return 2;
}
