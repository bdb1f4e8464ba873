/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <sys/socket.h>
#include <unistd.h>

/* libcurl stops watching a socket at the end of each request and starts again with the next, which would be
 * three system calls per request. So a socket stays registered for reading until it is closed; if it becomes
 * readable while nobody asked, its peer has most likely closed it, and it is not watched any more until
 * libcurl asks again. */

static void on_poll(uv_poll_t *poll, int status, int events);

static tr__socket *find(const tr_http_client *client, int fd)
{
    return fd >= 0 && (size_t)fd < client->socket_cap ? client->sockets[fd].socket : NULL;
}

static void free_socket(uv_handle_t *handle)
{
    tr__socket *socket = handle->data;
    tr_http_client *client = socket->client;
    tr_free(socket);
    client->handles--;
    if (client->freeing)
        tr__client_close(client);
}

static void forget(tr__socket *socket)
{
    socket->client->sockets[socket->fd].socket = NULL;
    uv_close((uv_handle_t *)&socket->poll, free_socket);
}

static tr__socket *remember(tr_http_client *client, int fd)
{
    if ((size_t)fd >= client->socket_cap) {
        size_t cap = (size_t)fd + 64;
        struct tr__socket_slot *table = tr_realloc(client->sockets, cap * sizeof *table);
        if (!table)
            return NULL;
        memset(table + client->socket_cap, 0, (cap - client->socket_cap) * sizeof *table);
        client->sockets = table;
        client->socket_cap = cap;
    }
    tr__socket *socket = tr_calloc(1, sizeof *socket);
    if (!socket)
        return NULL;
    socket->client = client;
    socket->fd = fd;
    if (uv_poll_init(client->loop, &socket->poll, fd)) {
        tr_free(socket);
        return NULL;
    }
    socket->poll.data = socket;
    client->handles++;
    client->sockets[fd].socket = socket;
    return socket;
}

static void watch(tr__socket *socket, int events)
{
    if (events == socket->active)
        return;
    socket->active = events;
    if (events == 0)
        (void)uv_poll_stop(&socket->poll);
    else if (uv_poll_start(&socket->poll, events, on_poll))
        socket->active = 0; /* the request will time out */
}

static void act(tr_http_client *client, int fd, int mask)
{
    int running;
    client->in_curl = true;
    (void)tr__curl.multi_socket_action(client->multi, fd, mask, &running);
    client->in_curl = false;
    tr__client_end_canceled(client);
    tr__client_check(client);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    tr__socket *socket = poll->data;
    if (status == 0 && !(events & socket->wanted)) {
        watch(socket, 0);
        return;
    }
    int mask = status < 0 ? CURL_CSELECT_ERR : 0;
    mask |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    mask |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    act(socket->client, socket->fd, mask);
}

/* ------------------------------------------------------------------------------------- libcurl's callbacks
 */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    (void)easy;
    (void)unused;
    tr_http_client *client = arg;
    tr__socket *socket = find(client, fd);
    if (what == CURL_POLL_REMOVE) {
        if (!socket)
            return 0;
        socket->wanted = 0;
        if (!socket->ours)
            forget(socket); /* libcurl may close it without telling */
        else if (socket->active & UV_WRITABLE)
            watch(socket, UV_READABLE);
        return 0;
    }
    if (!socket)
        socket = remember(client, fd);
    if (!socket)
        return -1;
    socket->wanted = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    watch(socket, socket->wanted);
    return 0;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    tr_http_client *client = arg;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    tr__socket *known = remember(client, fd);
    if (!known) {
        (void)close(fd);
        return CURL_SOCKET_BAD;
    }
    known->ours = true;
    return fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
    tr__socket *known = find(arg, fd);
    if (known)
        forget(known); /* first: it leaves the kernel's list while its number is still its own */
    return close(fd);
}

bool tr__client_sockets(tr_http_client *client, CURL *easy)
{
    return tr__curl.easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           tr__curl.easy_setopt(easy, CURLOPT_OPENSOCKETDATA, client) == CURLE_OK &&
           tr__curl.easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket) == CURLE_OK &&
           tr__curl.easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, client) == CURLE_OK;
}

static void on_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_change(CURLM *multi, long ms, void *arg)
{
    (void)multi;
    tr_http_client *client = arg;
    if (ms < 0)
        (void)uv_timer_stop(&client->timer);
    else
        (void)uv_timer_start(&client->timer, on_timer, (uint64_t)ms, 0);
    return 0;
}

/* ------------------------------------------------------------------------------------- opening and closing
 */

static void on_timer_closed(uv_handle_t *handle)
{
    tr_http_client *client = handle->data;
    client->handles--;
    tr__client_close(client);
}

int tr__client_open(tr_http_client *client)
{
    client->multi = tr__curl.multi_init();
    if (!client->multi)
        return TR_ENOMEM;
    /* connections kept idle: as many as may be in use */
    long keep = (long)client->options.max_connections + 8;
    bool ok = tr__curl.multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
              tr__curl.multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client) == CURLM_OK &&
              tr__curl.multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timeout_change) == CURLM_OK &&
              tr__curl.multi_setopt(client->multi, CURLMOPT_TIMERDATA, client) == CURLM_OK &&
              tr__curl.multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, keep) == CURLM_OK;
    if (!ok) {
        (void)tr__curl.multi_cleanup(client->multi);
        return TR_ENOMEM;
    }
    uv_timer_t *timers[] = {&client->timer, &client->later, &client->waiting_timer};
    for (size_t i = 0; i < TR_COUNT(timers); i++) {
        (void)uv_timer_init(client->loop, timers[i]); /* cannot fail */
        timers[i]->data = client;
        client->handles++;
    }
    return 0;
}

void tr__client_close(tr_http_client *client)
{
    if (client->multi) {
        CURLM *multi = client->multi;
        client->multi = NULL;
        (void)tr__curl.multi_cleanup(multi); /* closes the connections, by close_socket */
        for (size_t i = 0; i < client->socket_cap; i++)
            if (client->sockets[i].socket)
                forget(client->sockets[i].socket);
        uv_close((uv_handle_t *)&client->timer, on_timer_closed);
        uv_close((uv_handle_t *)&client->later, on_timer_closed);
        uv_close((uv_handle_t *)&client->waiting_timer, on_timer_closed);
        return;
    }
    if (client->handles)
        return;
    tr_free(client->sockets);
    tr_free(client->user_agent);
    tr_free(client);
}
