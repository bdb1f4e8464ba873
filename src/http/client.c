/* SPDX-License-Identifier: MIT */
#include <tailrace/http_client.h>

#include "client.h"

#include <assert.h>
#include <stdio.h>

/* ----------------------------------------------------------------------------------------------- the lists
 */

static void link_last(tr__transfer_list *list, tr__transfer *transfer)
{
    transfer->list = list;
    transfer->next = NULL;
    transfer->prev = list->last;
    if (list->last)
        list->last->next = transfer;
    else
        list->first = transfer;
    list->last = transfer;
    list->count++;
}

static void unlink_transfer(tr__transfer *transfer)
{
    tr__transfer_list *list = transfer->list;
    if (transfer->prev)
        transfer->prev->next = transfer->next;
    else
        list->first = transfer->next;
    if (transfer->next)
        transfer->next->prev = transfer->prev;
    else
        list->last = transfer->prev;
    list->count--;
    transfer->list = NULL;
}

/* Called on the way to an answer or an error, never within tr_http_client_send or _cancel. */
static void complete(tr__transfer *transfer, int code, const tr_http_reply *reply, const tr_error *err)
{
    tr_http_client *client = transfer->client;
    unlink_transfer(transfer);
    transfer->fn(transfer->ctx, code, code ? NULL : reply, code ? err : NULL);
    tr__transfer_recycle(client, transfer);
}

static void fail(tr__transfer *transfer, int code, const char *text)
{
    tr_error err;
    (void)tr_fail(&err, code, "%s", text);
    complete(transfer, code, NULL, &err);
}

/* Runs on the loop: what was cancelled or could not begin tells so now. */
static void on_later(uv_timer_t *timer)
{
    tr_http_client *client = timer->data;
    /* only those that are there now: a callback may add to the list for ever */
    for (size_t n = client->ended.count; n && client->ended.first; n--) {
        tr__transfer *transfer = client->ended.first;
        fail(transfer, transfer->end_code,
             transfer->end_code == TR_ETIMEOUT    ? "timed out waiting for a connection"
             : transfer->end_code == TR_ECANCELED ? "canceled"
                                                  : tr_strerror(transfer->end_code));
        if (client->freeing)
            return;
    }
    if (client->ended.first)
        (void)uv_timer_start(timer, on_later, 0, 0);
}

static void end_later(tr__transfer *transfer, int code)
{
    tr_http_client *client = transfer->client;
    if (transfer->list)
        unlink_transfer(transfer);
    transfer->end_code = code;
    link_last(&client->ended, transfer);
    (void)uv_timer_start(&client->later, on_later, 0, 0);
}

/* Gives a transfer to libcurl, which begins it in the loop's next turn. */
static void begin(tr__transfer *transfer)
{
    tr_http_client *client = transfer->client;
    unlink_transfer(transfer);
    long left = 0;
    if (transfer->deadline_ms) {
        int64_t ms = transfer->deadline_ms - tr_clock_mono_ms();
        if (ms <= 0) {
            end_later(transfer, TR_ETIMEOUT);
            return;
        }
        left = (long)ms;
    }
    transfer->curl_error[0] = 0;
    if (tr__curl.easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, left) != CURLE_OK ||
        tr__curl.multi_add_handle(client->multi, transfer->easy) != CURLM_OK) {
        end_later(transfer, TR_ENOMEM);
        return;
    }
    transfer->added = true;
    link_last(transfer->on_bytes ? &client->streams : &client->active, transfer);
}

static void begin_waiting(tr_http_client *client)
{
    /* not from within libcurl, which takes none then; the check after it begins what has come */
    while (!client->in_curl && client->waiting.first &&
           client->active.count < client->options.max_connections)
        begin(client->waiting.first);
}

/* ------------------------------------------------------------------------------------------------ answers */

static int code_of(CURLcode result)
{
    switch (result) {
    case CURLE_OPERATION_TIMEDOUT:
        return TR_ETIMEOUT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return TR_ECONNECT;
    case CURLE_URL_MALFORMAT:
        return TR_EINVAL;
    case CURLE_OUT_OF_MEMORY:
        return TR_ENOMEM;
    default:
        return TR_EIO;
    }
}

static tr_view trimmed(const char *begin, const char *end)
{
    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    while (begin < end && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    return tr_view_of(begin, (size_t)(end - begin));
}

/* Splits the header lines into the arena. */
static int parse_headers(tr__transfer *transfer, tr_http_reply *reply)
{
    const char *at = transfer->head.ptr, *end = at + transfer->head.len;
    size_t lines = 0;
    for (size_t i = 0; i < transfer->head.len; i++)
        lines += transfer->head.ptr[i] == '\n';
    tr_header *headers = tr_arena_alloc(&transfer->arena, lines * sizeof *headers);
    if (!headers)
        return TR_ENOMEM;
    size_t count = 0;
    while (at && at < end) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        const char *stop = lf ? lf : end;
        const char *colon = memchr(at, ':', (size_t)(stop - at));
        if (colon && colon > at && count < lines)
            headers[count++] = (tr_header){tr_view_of(at, (size_t)(colon - at)), trimmed(colon + 1, stop)};
        at = stop + 1;
    }
    reply->headers = headers;
    reply->header_count = count;
    return 0;
}

/* libcurl's own text names the URL's host, which nobody connects to. */
static void name_socket(tr__transfer *transfer)
{
    long number = 0;
    (void)tr__curl.easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &number);
    (void)snprintf(transfer->curl_error, sizeof transfer->curl_error, "cannot connect to %.200s%s%.40s",
                   transfer->unix_path, number ? ": " : "", number ? strerror((int)number) : "");
}

static void finish(tr__transfer *transfer, CURLcode result)
{
    tr_http_client *client = transfer->client;
    (void)tr__curl.multi_remove_handle(client->multi, transfer->easy);
    transfer->added = false;
    if (result != CURLE_OK) {
        int code = transfer->canceled                 ? TR_ECANCELED
                   : tr_buf_status(&transfer->answer) ? tr_buf_status(&transfer->answer)
                   : tr_buf_status(&transfer->head)   ? tr_buf_status(&transfer->head)
                                                      : code_of(result);
        if (code == TR_ECONNECT && transfer->unix_path[0])
            name_socket(transfer);
        const char *text = code == TR_ELIMIT         ? "the answer is too large"
                           : transfer->sent > 1      ? "the connection was closed before an answer came"
                           : code == TR_ECANCELED    ? "canceled"
                           : transfer->curl_error[0] ? transfer->curl_error
                                                     : tr__curl.easy_strerror(result);
        fail(transfer, code, text);
        return;
    }
    long status = 0;
    (void)tr__curl.easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    tr_http_reply reply = {.status = (int)status, .body = tr_buf_view(&transfer->answer)};
    if (parse_headers(transfer, &reply))
        fail(transfer, TR_ENOMEM, "out of memory");
    else
        complete(transfer, 0, &reply, NULL);
}

void tr__client_check(tr_http_client *client)
{
    CURLMsg *message;
    int left;
    while (!client->freeing && (message = tr__curl.multi_info_read(client->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        char *found = NULL;
        CURLcode result = message->data.result; /* gone once the handle is removed */
        (void)tr__curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &found);
        finish((tr__transfer *)(void *)found, result);
    }
    if (!client->freeing)
        begin_waiting(client);
}

/* ------------------------------------------------------------------------------------------------- public */

static void on_waiting_deadline(uv_timer_t *timer)
{
    tr_http_client *client = timer->data;
    int64_t now = tr_clock_mono_ms();
    for (tr__transfer *transfer = client->waiting.first, *next; transfer; transfer = next) {
        next = transfer->next;
        if (transfer->deadline_ms && transfer->deadline_ms <= now)
            end_later(transfer, TR_ETIMEOUT);
    }
    if (!client->waiting.first)
        (void)uv_timer_stop(timer);
}

int tr_http_client_send(tr_http_client *client, const tr_http_call *call, tr_http_reply_fn *fn, void *ctx,
                        uint64_t *ret_id)
{
    assert(call->method && call->url && fn);
    if (client->freeing)
        return TR_ECLOSED;
    if (client->waiting.count >= client->options.max_waiting ||
        client->streams.count >= client->options.max_waiting)
        return TR_ELIMIT;
    tr__transfer *transfer = call->on_bytes ? tr__transfer_new(client) : tr__transfer_take(client);
    if (!transfer)
        return TR_ENOMEM;
    transfer->client = client;
    transfer->on_bytes = call->on_bytes;
    int code = tr__transfer_prepare(transfer, call);
    if (code) {
        tr__transfer_free(transfer); /* half set up: not for reuse */
        return code;
    }
    transfer->fn = fn;
    transfer->ctx = ctx;
    transfer->id = ++client->last_id;
    transfer->deadline_ms = call->timeout_ms > 0 ? tr_clock_mono_ms() + call->timeout_ms : 0;
    link_last(&client->waiting, transfer);
    if (call->on_bytes && !client->in_curl)
        begin(transfer);
    else
        begin_waiting(client);
    if (client->waiting.first && !uv_is_active((uv_handle_t *)&client->waiting_timer))
        (void)uv_timer_start(&client->waiting_timer, on_waiting_deadline, 100, 100);
    if (ret_id)
        *ret_id = transfer->id;
    return 0;
}

static tr__transfer *find_in(const tr__transfer_list *list, uint64_t id)
{
    for (tr__transfer *transfer = list->first; transfer; transfer = transfer->next)
        if (transfer->id == id)
            return transfer;
    return NULL;
}

void tr_http_client_cancel(tr_http_client *client, uint64_t id)
{
    tr__transfer *transfer = find_in(&client->waiting, id);
    if (!transfer)
        transfer = find_in(&client->active, id);
    if (!transfer)
        transfer = find_in(&client->streams, id);
    if (!transfer)
        return;
    transfer->canceled = true;
    /* called from on_bytes: returning from there ends it, or the check after it does */
    if (client->in_curl && transfer->added) {
        client->any_canceled = true;
        return;
    }
    if (transfer->added)
        (void)tr__curl.multi_remove_handle(client->multi, transfer->easy);
    transfer->added = false;
    end_later(transfer, TR_ECANCELED);
}

void tr__client_end_canceled(tr_http_client *client)
{
    if (!client->any_canceled)
        return;
    client->any_canceled = false;
    tr__transfer_list *lists[] = {&client->active, &client->streams};
    for (size_t i = 0; i < TR_COUNT(lists); i++)
        for (tr__transfer *transfer = lists[i]->first, *next; transfer; transfer = next) {
            next = transfer->next;
            if (transfer->canceled)
                tr_http_client_cancel(client, transfer->id);
        }
}

tr_view tr_http_reply_header(const tr_http_reply *reply, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < reply->header_count; i++)
        if (reply->headers[i].name.len == len && strncasecmp(reply->headers[i].name.ptr, name, len) == 0)
            return reply->headers[i].value;
    return (tr_view){NULL, 0};
}

int tr_http_client_new(struct uv_loop_s *loop, const tr_http_client_options *options,
                       tr_http_client **ret_client, tr_error *err)
{
    int global = tr__curl_init(err);
    if (global)
        return global;
    tr_http_client *client = tr_calloc(1, sizeof *client);
    if (!client)
        return tr_fail(err, TR_ENOMEM, "out of memory");
    client->loop = loop;
    client->options = *options;
    if (client->options.max_connections == 0)
        client->options.max_connections = 320; /* a consumer holds up to 256 reads open */
    if (client->options.max_waiting == 0)
        client->options.max_waiting = 100000;
    if (client->options.body_limit == 0)
        client->options.body_limit = (size_t)64 << 20;
    if (client->options.connect_timeout_ms <= 0)
        client->options.connect_timeout_ms = 5000;
    client->user_agent = tr_strdup(options->user_agent ? options->user_agent : "tailrace");
    if (!client->user_agent || tr__client_open(client)) {
        tr_free(client->user_agent);
        tr_free(client);
        return tr_fail(err, TR_ENOMEM, "cannot make an HTTP client: out of memory");
    }
    *ret_client = client;
    return 0;
}

void tr_http_client_free(tr_http_client *client)
{
    if (!client || client->freeing)
        return;
    assert(!client->in_curl);
    client->freeing = true;
    tr__transfer_list *lists[] = {&client->ended, &client->active, &client->streams, &client->waiting};
    for (size_t i = 0; i < TR_COUNT(lists); i++)
        while (lists[i]->first) {
            tr__transfer *transfer = lists[i]->first;
            if (transfer->added)
                (void)tr__curl.multi_remove_handle(client->multi, transfer->easy);
            transfer->added = false;
            fail(transfer, TR_ECANCELED, "the client was closed");
        }
    while (client->pool) {
        tr__transfer *transfer = client->pool;
        client->pool = transfer->next;
        tr__transfer_free(transfer);
    }
    tr__client_close(client);
}
