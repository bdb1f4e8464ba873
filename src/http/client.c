/* SPDX-License-Identifier: MIT */
#include <tailrace/http_client.h>

#include "client.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADERS_LIMIT (256 * 1024) /* of an answer's headers, bytes */
#define KEEP_BODY     (64 * 1024)  /* bytes of buffers kept for reuse */
#define POOL_MAX      128
#define KEEP_PAGE     ((size_t)2 << 20) /* a page of items or records, 1 MB, as JSON */
#define KEEP_PAGES    4                 /* so many transfers that wait for use keep a buffer of that size */
#define RESERVE_MAX   ((size_t)8 << 20) /* what an answer's announced length is believed up to */
#define RECEIVE                                                                                              \
    ((size_t)64 << 10) /* bytes taken from a socket at a time; libcurl's 16 KiB are a call each              \
                        */

/* ----------------------------------------------------------------------------------------------- transfers
 */

static void free_transfer(tr__transfer *transfer)
{
    if (transfer->easy)
        tr__curl.easy_cleanup(transfer->easy);
    tr_arena_done(&transfer->arena);
    tr_buf_done(&transfer->body);
    tr_buf_done(&transfer->head);
    tr_buf_done(&transfer->answer);
    tr_free(transfer->url);
    tr_free(transfer->unix_path);
    tr_free(transfer);
}

static size_t on_header(char *bytes, size_t one, size_t len, void *arg)
{
    (void)one;
    tr__transfer *transfer = arg;
    if (len > 5 && memcmp(bytes, "HTTP/", 5) == 0) { /* again after a 100 */
        tr_buf_reset(&transfer->head);
        return len;
    }
    tr_buf_put(&transfer->head, bytes, len);
    return tr_buf_status(&transfer->head) ? 0 : len;
}

/* A connection that was used before may be closed by the server just as the next request arrives; libcurl
 * would send that request again on a new one, silently. Whoever sent it must know that it may have arrived
 * twice, or decide. */
/* NOLINTNEXTLINE(readability-non-const-parameter): libcurl's type */
static int on_sending(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    tr__transfer *transfer = arg;
    (void)ip, (void)local_ip, (void)port, (void)local_port;
    return transfer->sent++ ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* For all of the answer at once, where its length was told. */
static void make_room(tr__transfer *transfer)
{
    curl_off_t length = 0;
    (void)tr__curl.easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    size_t most = transfer->answer.limit < RESERVE_MAX ? transfer->answer.limit : RESERVE_MAX;
    if (length > 0 && (uint64_t)length <= most)
        (void)tr_buf_reserve(&transfer->answer, (size_t)length);
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    (void)one;
    tr__transfer *transfer = arg;
    if (transfer->on_bytes) {
        long status = 0;
        (void)tr__curl.easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status / 100 == 2) {
            if (!transfer->canceled && !transfer->on_bytes(transfer->ctx, tr_view_of(bytes, len)))
                transfer->canceled = true;
            return transfer->canceled ? 0 : len;
        }
    }
    if (transfer->answer.len == 0)
        make_room(transfer);
    tr_buf_put(&transfer->answer, bytes, len);
    return tr_buf_status(&transfer->answer) ? 0 : len;
}

static tr__transfer *new_transfer(tr_http_client *client)
{
    tr__transfer *transfer = tr_calloc(1, sizeof *transfer);
    if (!transfer)
        return NULL;
    tr_arena_init(&transfer->arena, 1024 * 1024);
    tr_buf_init(&transfer->body, SIZE_MAX / 2);
    tr_buf_init(&transfer->head, HEADERS_LIMIT);
    tr_buf_init(&transfer->answer, client->options.body_limit);
    CURL *easy = transfer->easy = tr__curl.easy_init();
    bool ok = easy != NULL;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_sending) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_PREREQDATA, transfer) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_NOPROGRESS, 1L) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_USERAGENT, client->user_agent) == CURLE_OK;
    ok = ok && tr__curl.easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                                    (long)client->options.connect_timeout_ms) == CURLE_OK;
    ok = ok && tr__client_sockets(client, easy);
    if (!ok) {
        free_transfer(transfer);
        return NULL;
    }
    return transfer;
}

static void keep_up_to(tr_buf *buf, size_t most)
{
    if (buf->cap > most)
        tr_buf_done(buf);
    tr_buf_reset(buf);
}

static void recycle(tr_http_client *client, tr__transfer *transfer)
{
    if (client->pool_count >= POOL_MAX || client->freeing || transfer->on_bytes) {
        free_transfer(transfer);
        return;
    }
    tr_arena_reset(&transfer->arena);
    keep_up_to(&transfer->body, KEEP_BODY);
    keep_up_to(&transfer->head, KEEP_BODY);
    keep_up_to(&transfer->answer, client->pool_count < KEEP_PAGES ? KEEP_PAGE : KEEP_BODY);
    transfer->canceled = transfer->added = false;
    transfer->sent = 0;
    transfer->next = client->pool;
    client->pool = transfer;
    client->pool_count++;
}

static tr__transfer *take_transfer(tr_http_client *client)
{
    tr__transfer *transfer = client->pool;
    if (!transfer)
        return new_transfer(client);
    client->pool = transfer->next;
    client->pool_count--;
    transfer->next = transfer->prev = NULL;
    return transfer;
}

/* ----------------------------------------------------------------------------------------------- requests */

static bool is_clean(tr_view text)
{
    for (size_t i = 0; i < text.len; i++)
        if (((unsigned char)text.ptr[i] < ' ' && text.ptr[i] != '\t') || text.ptr[i] == 0x7f)
            return false;
    return true;
}

/* libcurl's list, but in our arena: it only reads it. */
static struct curl_slist *add_line(tr__transfer *transfer, struct curl_slist *last, tr_view name,
                                   tr_view value)
{
    struct curl_slist *node = tr_arena_alloc(&transfer->arena, sizeof *node);
    char *line = tr_arena_alloc(&transfer->arena, name.len + value.len + 3);
    if (!node || !line)
        return NULL;
    memcpy(line, name.ptr, name.len);
    /* "Name:" would remove a header, "Name;" sends it empty */
    memcpy(line + name.len, value.len ? ": " : ";", 2);
    size_t at = name.len + (value.len ? 2 : 1);
    if (value.len)
        memcpy(line + at, value.ptr, value.len);
    line[at + value.len] = 0;
    *node = (struct curl_slist){.data = line};
    if (last)
        last->next = node;
    return node;
}

static int set_headers(tr__transfer *transfer, const tr_http_call *call)
{
    struct curl_slist *last = NULL, *first = NULL;
    bool has_type = false;
    for (size_t i = 0; i < call->header_count; i++) {
        tr_header h = call->headers[i];
        if (h.name.len == 0 || !is_clean(h.name) || !is_clean(h.value) || memchr(h.name.ptr, ':', h.name.len))
            return TR_EINVAL;
        last = add_line(transfer, last, h.name, h.value);
        if (!last)
            return TR_ENOMEM;
        first = first ? first : last;
        has_type |= h.name.len == 12 && strncasecmp(h.name.ptr, "content-type", 12) == 0;
    }
    /* what libcurl would add by itself */
    static struct curl_slist no_type = {.data = (char *)(uintptr_t) "Content-Type:"};
    static struct curl_slist no_expect_no_type = {.data = (char *)(uintptr_t) "Expect:", .next = &no_type};
    static struct curl_slist no_expect = {.data = (char *)(uintptr_t) "Expect:"};
    struct curl_slist *tail = has_type ? &no_expect : &no_expect_no_type;
    if (last)
        last->next = tail;
    else
        first = tail;
    return tr__curl.easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, first) == CURLE_OK ? 0 : TR_ENOMEM;
}

static int set_method(tr__transfer *transfer, const char *method)
{
    CURL *easy = transfer->easy;
    bool post = strcmp(method, "POST") == 0, get = strcmp(method, "GET") == 0,
         head = strcmp(method, "HEAD") == 0;
    tr_view body = tr_buf_view(&transfer->body);
    CURLcode code = tr__curl.easy_setopt(easy, CURLOPT_CUSTOMREQUEST, post || get || head ? NULL : method);
    if (code == CURLE_OK)
        code = tr__curl.easy_setopt(easy, CURLOPT_HTTPGET, 1L); /* undoes what the last request set */
    if (code == CURLE_OK && head)
        code = tr__curl.easy_setopt(easy, CURLOPT_NOBODY, 1L);
    if (code == CURLE_OK && (post || body.len)) {
        code = tr__curl.easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
        if (code == CURLE_OK)
            code = tr__curl.easy_setopt(easy, CURLOPT_POSTFIELDS, body.len ? body.ptr : "");
        if (code == CURLE_OK && get)
            code = tr__curl.easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "GET");
    }
    return code == CURLE_OK ? 0 : TR_ENOMEM;
}

/* Whether the URL names this machine: no proxy stands in between, whatever the environment says. */
static bool is_local(const char *url)
{
    static const char *const names[] = {"localhost", "127.", "[::1]", "0.0.0.0"};
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    for (size_t i = 0; i < TR_COUNT(names); i++)
        if (strncasecmp(host, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static int set_target(tr__transfer *transfer, const tr_http_call *call)
{
    const char *unix_path = call->unix_path ? call->unix_path : "";
    if (transfer->url && strcmp(transfer->url, call->url) == 0 && strcmp(transfer->unix_path, unix_path) == 0)
        return 0; /* as for the last request of this handle */
    tr_free(transfer->url);
    tr_free(transfer->unix_path);
    transfer->url = tr_strdup(call->url);
    transfer->unix_path = tr_strdup(unix_path);
    if (!transfer->url || !transfer->unix_path)
        return TR_ENOMEM;
    CURL *easy = transfer->easy;
    bool ok = tr__curl.easy_setopt(easy, CURLOPT_URL, call->url) == CURLE_OK &&
              tr__curl.easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, call->unix_path) == CURLE_OK &&
              tr__curl.easy_setopt(easy, CURLOPT_PROXY, call->unix_path || is_local(call->url) ? "" : NULL) ==
                  CURLE_OK;
    return ok ? 0 : TR_ENOMEM;
}

static int prepare(tr__transfer *transfer, const tr_http_call *call)
{
    if (strncasecmp(call->url, "http://", 7) != 0 && strncasecmp(call->url, "https://", 8) != 0)
        return TR_EINVAL;
    tr_buf_put_view(&transfer->body, call->body);
    int code = tr_buf_status(&transfer->body);
    if (code == 0)
        code = set_target(transfer, call);
    if (code == 0)
        code = set_method(transfer, call->method);
    if (code == 0)
        code = set_headers(transfer, call);
    if (code == 0 && call->on_bytes && call->silence_ms) {
        bool ok = tr__curl.easy_setopt(transfer->easy, CURLOPT_LOW_SPEED_LIMIT, 1L) == CURLE_OK &&
                  tr__curl.easy_setopt(transfer->easy, CURLOPT_LOW_SPEED_TIME,
                                       (long)(call->silence_ms / 1000 + 1)) == CURLE_OK;
        code = ok ? 0 : TR_ENOMEM;
    }
    return code;
}

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
    recycle(client, transfer);
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
    tr__transfer *transfer = call->on_bytes ? new_transfer(client) : take_transfer(client);
    if (!transfer)
        return TR_ENOMEM;
    transfer->client = client;
    transfer->on_bytes = call->on_bytes;
    int code = prepare(transfer, call);
    if (code) {
        free_transfer(transfer); /* half set up: not for reuse */
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
        free_transfer(transfer);
    }
    tr__client_close(client);
}
