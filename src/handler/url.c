/* SPDX-License-Identifier: MIT */
/* A POST per event. */
#include "handler/handler.h"

#include <tailrace/http_client.h>

#include <stdio.h>

typedef struct url {
    tr_http_client *client;
} url;

typedef struct posting {
    tr_handler *h;
    uint64_t event; /* by id: it may be over before the answer comes */
} posting;

static void on_reply(void *ctx, int code, const tr_http_reply *reply, const tr_error *err)
{
    posting *p = ctx;
    tr_handler *h = p->h;
    tr__event *e = tr__event_find(h, p->event);
    tr_free(p);
    if (!e || code == TR_ECANCELED)
        return;
    if (code) {
        tr__event_fail(e, code == TR_EINVAL || code == TR_ELIMIT ? code : TR_ECONNECT, "Runtime.ConnectError",
                       "%s", err->message);
    } else if (reply->status < 200 || reply->status > 299) {
        tr__event_fail(e, TR_ESERVICE, "HTTPError", "status %d: %.*s", reply->status,
                       reply->body.len < 500 ? (int)reply->body.len : 500,
                       reply->body.ptr ? reply->body.ptr : "");
    } else {
        /* an answer that is no JSON (a page, "OK") is success without an answer */
        tr_handler_result result = {0};
        if (reply->body.len && tr__handler_is_json(h, reply->body))
            result.response = reply->body;
        tr__event_finish(e, &result);
    }
}

static int url_open(tr_handler *h, tr_error *err)
{
    if (strncmp(h->options.target, "http://", 7) != 0 && strncmp(h->options.target, "https://", 8) != 0)
        return tr_fail(err, TR_EINVAL, "'%s' is no http or https URL", h->options.target);
    h->state = tr_calloc(1, sizeof(url));
    return h->state ? 0 : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

static void url_start(tr_handler *h, tr__event *e)
{
    url *u = h->state;
    tr_error err = {0};
    tr_http_client_options options = {.body_limit = h->options.output_max,
                                      .max_connections = h->options.concurrency};
    if (!u->client && tr_http_client_new(tr__loop_uv(h->loop), &options, &u->client, &err)) {
        tr__event_fail(e, TR_EIO, "Runtime.Unknown", "%s", err.message);
        return;
    }
    posting *p = tr_malloc(sizeof *p);
    if (!p) {
        tr__event_fail(e, TR_ENOMEM, "Runtime.Unknown", "%s", tr_strerror(TR_ENOMEM));
        return;
    }
    *p = (posting){.h = h, .event = e->id};
    tr_header header = {TR_VIEW("content-type"), TR_VIEW("application/json")};
    tr_http_call call = {.method = "POST",
                         .url = h->options.target,
                         .headers = &header,
                         .header_count = 1,
                         .body = tr_buf_view(&e->json),
                         .timeout_ms = h->options.timeout_ms};
    int code = tr_http_client_send(u->client, &call, on_reply, p, NULL);
    if (code) {
        tr_free(p);
        tr__event_fail(e, code, "Runtime.ConnectError", "%s: %s", h->options.target, tr_strerror(code));
    }
}

static void url_expire(tr_handler *h, tr__event *e)
{
    (void)h;
    (void)e; /* the request has the same time limit and ends by itself */
}

static void url_close(tr_handler *h)
{
    url *u = h->state;
    h->state = NULL;
    if (u)
        tr_http_client_free(u->client);
    tr_free(u);
}

const tr__handler_kind tr__handler_url = {
    .open = url_open, .start = url_start, .expire = url_expire, .close = url_close};
