/* SPDX-License-Identifier: MIT */
/* A transfer: an easy handle with its buffers, set up for a request and kept for the next one. */
#include <tailrace/http_client.h>

#include "client.h"

#define HEADERS_LIMIT (256 * 1024) /* of an answer's headers, bytes */
#define KEEP_BODY     (64 * 1024)  /* bytes of buffers kept for reuse */
#define POOL_MAX      128
#define KEEP_PAGE     ((size_t)2 << 20) /* a page of items or records, 1 MB, as JSON */
#define KEEP_PAGES    4                 /* so many transfers that wait for use keep a buffer of that size */
#define RESERVE_MAX   ((size_t)8 << 20) /* what an answer's announced length is believed up to */
/* Bytes taken from a socket at a time; libcurl's 16 KiB are a call each. */
#define RECEIVE ((size_t)64 << 10)

void tr__transfer_free(tr__transfer *transfer)
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

tr__transfer *tr__transfer_new(tr_http_client *client)
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
        tr__transfer_free(transfer);
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

void tr__transfer_recycle(tr_http_client *client, tr__transfer *transfer)
{
    if (client->pool_count >= POOL_MAX || client->freeing || transfer->on_bytes) {
        tr__transfer_free(transfer);
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

tr__transfer *tr__transfer_take(tr_http_client *client)
{
    tr__transfer *transfer = client->pool;
    if (!transfer)
        return tr__transfer_new(client);
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

int tr__transfer_prepare(tr__transfer *transfer, const tr_http_call *call)
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
