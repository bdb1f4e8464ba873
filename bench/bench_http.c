/* SPDX-License-Identifier: MIT */
/**
 * How many requests per second the HTTP server answers, and the client sends.
 *
 *     bench_http server PORT          answers every request with a small JSON text, for wrk or others to
 * measure bench_http client URL [N] [S]   POSTs a small JSON text for S seconds, N at a time
 *
 * Time on the processor is printed beside the rate: it tells more where other work shares the machine.
 */
#include <tailrace/http.h>

#include <tailrace/http_client.h>
#include <uv.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

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

/* ------------------------------------------------------------------------------------------------- client */

struct load {
    tr_http_client *client;
    tr_http_call call;
    tr_header headers[4];
    int64_t end_ns;
    uint64_t answers, errors;
    unsigned under_way;
};

static void ask(struct load *load);

static void on_reply(void *ctx, int code, const tr_http_reply *reply, const tr_error *err)
{
    struct load *load = ctx;
    load->under_way--;
    if (code == 0 && reply->status == 200)
        load->answers++;
    else if (load->errors++ == 0)
        (void)fprintf(stderr, "first error: %s\n", err ? err->message : "status");
    if (tr_clock_mono_ns() < load->end_ns)
        ask(load);
    else if (load->under_way == 0)
        tr_http_client_free(load->client);
}

static void ask(struct load *load)
{
    if (tr_http_client_send(load->client, &load->call, on_reply, load, NULL) == 0)
        load->under_way++;
}

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int load_server(const char *url, unsigned at_once, int64_t seconds)
{
    struct load load = {
        .headers = {{TR_VIEW("Content-Type"), TR_VIEW("application/x-amz-json-1.0")},
                    {TR_VIEW("X-Amz-Target"), TR_VIEW("DynamoDB_20120810.GetItem")},
                    {TR_VIEW("X-Amz-Date"), TR_VIEW("20260131T000000Z")},
                    {TR_VIEW("Authorization"),
                     TR_VIEW(
                         "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/us-east-1/dynamodb/aws4_request, "
                         "SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
                         "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")}},
    };
    load.call =
        (tr_http_call){.method = "POST",
                       .url = url,
                       .headers = load.headers,
                       .header_count = TR_COUNT(load.headers),
                       .body = TR_VIEW("{\"TableName\":\"T\",\"Key\":{\"id\":{\"S\":\"0123456789\"}}}"),
                       .timeout_ms = 5000};
    tr_http_client_options options = {.max_connections = at_once};
    if (tr_http_client_new(uv_default_loop(), &options, &load.client, NULL))
        return 1;
    int64_t begin = tr_clock_mono_ns();
    double cpu = cpu_seconds();
    load.end_ns = begin + seconds * 1000000000;
    for (unsigned i = 0; i < at_once; i++)
        ask(&load);
    (void)uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    double took = (double)(tr_clock_mono_ns() - begin) / 1e9, answers = (double)load.answers;
    printf("%u at once: %.0f requests/s, %.2f us of processor time each, %llu errors\n", at_once,
           answers / took, (cpu_seconds() - cpu) / answers * 1e6, (unsigned long long)load.errors);
    return load.errors != 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "server") == 0)
        return serve(argv[2]);
    if (argc >= 3 && strcmp(argv[1], "client") == 0)
        return load_server(argv[2], argc > 3 ? (unsigned)atoi(argv[3]) : 32, argc > 4 ? atoi(argv[4]) : 3);
    (void)fprintf(stderr, "usage: bench_http server PORT | client URL [AT_ONCE] [SECONDS]\n");
    return 2;
}
