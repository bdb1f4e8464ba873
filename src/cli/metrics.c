/* SPDX-License-Identifier: MIT */
/* The text format of Prometheus, and serving it. */
#include "cli/metrics.h"

#include "http/loop.h"

#include <tailrace/http.h>

#include <math.h>
#include <stdio.h>

#define TEXT_MAX  ((size_t)64 << 20)
#define BODY_MAX  4096
#define GRACE_MS  1000
#define MIME_TEXT "text/plain; version=0.0.4; charset=utf-8"

static const struct metric {
    const char *name, *type, *help;
} table[TR_METRIC_COUNT] = {
#define X(id, name, type, help) {name, type, help},
    TR_METRICS(X)
#undef X
};

void tr_metrics_init(tr_metrics *m)
{
    for (size_t i = 0; i < TR_METRIC_COUNT; i++)
        tr_buf_init(&m->samples[i], TEXT_MAX);
    tr_buf_init(&m->labels, TEXT_MAX);
}

void tr_metrics_done(tr_metrics *m)
{
    for (size_t i = 0; i < TR_METRIC_COUNT; i++)
        tr_buf_done(&m->samples[i]);
    tr_buf_done(&m->labels);
}

/* Backslash, quote and line feed are escaped; what is no UTF-8 is left out. */
static void put_value(tr_buf *out, tr_view value)
{
    if (!tr_utf8_valid(value))
        return;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"' || c == '\n')
            tr_buf_putc(out, '\\');
        tr_buf_putc(out, c == '\n' ? 'n' : c);
    }
}

static void put_name(tr_metrics *m, tr_metric metric, const char *suffix, const tr_metric_label *labels)
{
    tr_buf *out = &m->samples[metric];
    tr_buf_put_str(out, table[metric].name);
    tr_buf_put_str(out, suffix);
    for (const tr_metric_label *l = labels; l && l->name; l++) {
        tr_buf_printf(out, "%s%s=\"", l == labels ? "{" : ",", l->name);
        put_value(out, l->value);
        tr_buf_putc(out, '"');
    }
    if (labels && labels->name)
        tr_buf_putc(out, '}');
    tr_buf_putc(out, ' ');
}

static void put_number(tr_buf *out, double value)
{
    if (isnan(value))
        tr_buf_put_str(out, "NaN\n");
    else if (isinf(value))
        tr_buf_put_str(out, value < 0 ? "-Inf\n" : "+Inf\n");
    else
        tr_buf_printf(out, "%.15g\n", value);
}

void tr_metric_put(tr_metrics *m, tr_metric metric, const tr_metric_label *labels, double value)
{
    put_name(m, metric, table[metric].type[0] == 's' ? "_sum" : "", labels);
    put_number(&m->samples[metric], value);
}

void tr_metric_count(tr_metrics *m, tr_metric metric, const tr_metric_label *labels, uint64_t value)
{
    put_name(m, metric, table[metric].type[0] == 's' ? "_count" : "", labels);
    tr_buf_put_u64(&m->samples[metric], value);
    tr_buf_putc(&m->samples[metric], '\n');
}

void tr_metrics_write(const tr_metrics *m, tr_buf *out)
{
    for (size_t i = 0; i < TR_METRIC_COUNT; i++) {
        const tr_buf *samples = &m->samples[i];
        if (!samples->len || tr_buf_status(samples))
            continue;
        tr_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", table[i].name, table[i].help, table[i].name,
                      table[i].type);
        tr_buf_put_view(out, tr_buf_view(samples));
    }
}

/* --------------------------------------------------------------------------------------------- serving */

struct tr_cli_metrics {
    tr__loop *loop;
    tr_http_server *server;
    tr_cli_collect_fn *fn;
    void *ctx;
    const char *listen;
    tr_error *err;
    int code;
};

static void answer(void *ctx, tr_http_request *request)
{
    tr_cli_metrics *c = ctx;
    bool known = tr_view_is(request->path, "/metrics");
    if (!known || (!tr_view_is(request->method, "GET") && !tr_view_is(request->method, "HEAD"))) {
        tr_buf_put_str(&request->out, known ? "only GET\n" : "metrics are at /metrics\n");
        tr_http_respond(request, known ? 405 : 404, "text/plain", NULL, 0, 0);
        return;
    }
    tr_metrics m;
    tr_metrics_init(&m);
    tr_metrics_of_process(&m);
    c->fn(c->ctx, &m);
    tr_metrics_write(&m, &request->out);
    tr_metrics_done(&m);
    tr_http_respond(request, tr_buf_status(&request->out) ? 500 : 200, MIME_TEXT, NULL, 0, TR_HTTP_GZIP);
}

/* Whoever listens for other machines knows by what names they call this one. */
static bool is_loopback(const char *listen)
{
    tr_view v = tr_view_str(listen);
    return tr_view_starts(v, TR_VIEW("127.")) || tr_view_starts(v, TR_VIEW("localhost:")) ||
           tr_view_starts(v, TR_VIEW("[::1]:"));
}

static void open_server(void *ctx)
{
    static const char *const any[] = {"*"};
    tr_cli_metrics *c = ctx;
    const tr_http_options o = {.listen = &c->listen,
                               .listen_count = 1,
                               .body_limit = BODY_MAX,
                               .max_connections = 100,
                               .hosts = any,
                               .host_count = is_loopback(c->listen) ? 0 : 1,
                               .logger = tr_cli_logger()};
    c->code = tr_http_server_new(tr__loop_uv(c->loop), &o, answer, c, &c->server, c->err);
}

static void close_server(void *ctx)
{
    tr_cli_metrics *c = ctx;
    if (c->server)
        tr_http_server_close(c->server, GRACE_MS, NULL, NULL);
    c->server = NULL;
}

int tr_cli_metrics_start(const char *listen, tr_cli_collect_fn *fn, void *ctx, tr_cli_metrics **ret,
                         tr_error *err)
{
    char address[300];
    *ret = NULL;
    if (!listen)
        return 0;
    (void)snprintf(address, sizeof address, "%s%s", strchr(listen, ':') ? "" : "127.0.0.1:", listen);
    tr_cli_metrics *c = tr_calloc(1, sizeof *c);
    if (!c)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    *c = (tr_cli_metrics){.fn = fn, .ctx = ctx, .listen = address, .err = err};
    int e = tr__loop_new(&c->loop, err);
    if (!e) {
        tr__loop_call(c->loop, open_server, c);
        e = c->code;
    }
    if (!e && (e = tr__loop_at_stop(c->loop, close_server, c)))
        (void)tr_fail(err, e, "%s", tr_strerror(e));
    if (e) {
        tr__loop_free(c->loop);
        tr_free(c);
        return e;
    }
    tr_cli_message(TR_LOG_INFO, "metrics at http://%.*s:%u/metrics", (int)(strrchr(address, ':') - address),
                   address, tr_http_server_port(c->server, 0));
    c->listen = NULL;
    *ret = c;
    return 0;
}

void tr_cli_metrics_stop(tr_cli_metrics *c)
{
    if (!c)
        return;
    tr__loop_free(c->loop);
    tr_free(c);
}
