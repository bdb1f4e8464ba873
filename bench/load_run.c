/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (4 << 20) /* answers larger than this are refused */
#define EVENTS 256

typedef struct connection {
    int fd;
    uint32_t request; /* under way */
    size_t sent;      /* bytes of it */
    int64_t since_ns;
    char *in;
    size_t in_len, in_cap;
    size_t whole; /* of the answer, once its head is read; 0: not yet known */
    bool chunked;
} connection;

typedef struct run {
    const load_plan *plan;
    const load_requests *requests;
    load_result *result;
    int epoll;
    uint64_t next; /* request to send next, counted on and on */
    uint64_t started, under_way;
    int64_t from_ns, until_ns; /* what is counted; until 0: no end in time */
    bool said;
} run;

/* ------------------------------------------------------------------------------------------- histogram */

void load_histogram_add(load_histogram *h, uint64_t ns)
{
    unsigned top = ns < 64 ? 0 : 63 - (unsigned)__builtin_clzll(ns) - 5; /* so that ns >> top is below 64 */
    size_t bucket = top * 32 + (ns >> top);
    h->buckets[bucket < LOAD_BUCKETS ? bucket : LOAD_BUCKETS - 1]++;
    h->count++;
    h->sum_ns += ns;
    h->max_ns = ns > h->max_ns ? ns : h->max_ns;
}

double load_histogram_at(const load_histogram *h, double share)
{
    uint64_t want = (uint64_t)(share * (double)h->count), seen = 0;
    for (size_t i = 0; i < LOAD_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > want) {
            size_t top = i < 64 ? 0 : i / 32 - 1;
            return (double)((uint64_t)(i - top * 32) << top) / 1000.0;
        }
    }
    return (double)h->max_ns / 1000.0;
}

/* --------------------------------------------------------------------------------------------- answers */

/* The value of a header in an answer's head, or NULL. name is in lower case and ends in ':'. */
static const char *header(const char *head, size_t len, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = head; line + n < head + len; line++) {
        if (!strncasecmp(line, name, n)) {
            line += n;
            while (*line == ' ')
                line++;
            return line;
        }
        line = memchr(line, '\n', (size_t)(head + len - line));
        if (!line)
            break;
    }
    return NULL;
}

/* Learns from the head how long the answer is. 0: more is needed, or it was learnt; negative: not HTTP. */
static int read_head(connection *c)
{
    char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - c->in) + 4;
    if (head < 16 || memcmp(c->in, "HTTP/1.", 7) != 0)
        return TR_EPARSE;
    const char *length = header(c->in, head, "content-length:");
    if (length) {
        c->whole = head + strtoul(length, NULL, 10);
    } else {
        c->chunked = true;
        c->whole = head;
    }
    return 0;
}

/* Whether the answer is whole; the end of a chunked one is its empty chunk. */
static bool is_whole(const connection *c)
{
    if (!c->whole)
        return false;
    if (c->chunked)
        return c->in_len >= c->whole + 5 && !memcmp(c->in + c->in_len - 5, "0\r\n\r\n", 5);
    return c->in_len >= c->whole;
}

static void count_answer(run *r, connection *c)
{
    int64_t now = tr_clock_mono_ns();
    bool ok = !memcmp(c->in + 9, "200", 3);
    if (!ok && !r->said) {
        r->said = true;
        (void)fprintf(stderr, "first error: %.*s\n", (int)(c->in_len < 1200 ? c->in_len : 1200), c->in);
    }
    r->under_way--;
    r->result->all++;
    if (now < r->from_ns || (r->until_ns && now > r->until_ns))
        return;
    r->result->answers++;
    r->result->errors += !ok;
    r->result->bytes_in += c->in_len;
    load_histogram_add(&r->result->latency, (uint64_t)(now - c->since_ns));
}

/* --------------------------------------------------------------------------------------------- sending */

static int watch(run *r, connection *c, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    return epoll_ctl(r->epoll, how, c->fd, &event);
}

static int send_rest(run *r, connection *c)
{
    const load_requests *q = r->requests;
    size_t start = c->request ? q->ends[c->request - 1] : 0, len = q->ends[c->request] - start;
    bool was_blocked = c->sent > 0;
    while (c->sent < len) {
        ssize_t n = send(c->fd, q->bytes + start + c->sent, len - c->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? watch(r, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT) : TR_ECLOSED;
        c->sent += (size_t)n;
    }
    return was_blocked ? watch(r, c, EPOLL_CTL_MOD, EPOLLIN) : 0;
}

static bool is_over(const run *r)
{
    if (r->plan->requests)
        return r->started >= r->plan->requests;
    return tr_clock_mono_ns() > r->until_ns;
}

static int send_next(run *r, connection *c)
{
    if (is_over(r))
        return 0;
    c->request = (uint32_t)(r->next++ % r->requests->count);
    c->sent = c->in_len = c->whole = 0;
    c->chunked = false;
    c->since_ns = tr_clock_mono_ns();
    r->started++;
    r->under_way++;
    return send_rest(r, c);
}

static int receive(run *r, connection *c)
{
    if (c->in_len == c->in_cap) {
        char *in = c->in_cap >= BUFFER ? NULL : realloc(c->in, c->in_cap * 2);
        if (!in)
            return TR_ELIMIT;
        c->in = in;
        c->in_cap *= 2;
    }
    ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : TR_ECLOSED;
    c->in_len += (size_t)n;
    int e = c->whole ? 0 : read_head(c);
    if (e || !is_whole(c))
        return e;
    count_answer(r, c);
    return send_next(r, c);
}

static int open_connection(run *r, connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(r->plan->port)};
    int one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
        return TR_ECONNECT;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->in_cap = 16384;
    c->in = malloc(c->in_cap);
    if (!c->in)
        return TR_ENOMEM;
    if (ioctl(c->fd, FIONBIO, &(int){1}) < 0 || watch(r, c, EPOLL_CTL_ADD, EPOLLIN) < 0)
        return TR_EIO;
    return 0;
}

static int loop(run *r)
{
    struct epoll_event events[EVENTS];
    while (r->under_way) {
        int n = epoll_wait(r->epoll, events, EVENTS, 10000);
        if (n == 0)
            return TR_ETIMEOUT;
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            int e = events[i].events & EPOLLOUT ? send_rest(r, c) : 0;
            if (e == 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                e = receive(r, c);
            if (e)
                return e;
        }
    }
    return 0;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

int load_run(const load_plan *plan, const load_requests *requests, load_result *ret_result)
{
    load_result result = {0};
    run r = {.plan = plan, .requests = requests, .result = &result, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    connection *connections = calloc(plan->connections, sizeof *connections);
    int e = r.epoll < 0 || !connections ? TR_ENOMEM : 0;
    for (uint32_t i = 0; i < plan->connections && e == 0; i++)
        e = open_connection(&r, &connections[i]);
    int64_t begin = tr_clock_mono_ns();
    double cpu = cpu_seconds();
    r.from_ns = plan->requests ? begin : begin + (int64_t)(plan->warm_up_s * 1e9);
    r.until_ns = plan->requests ? 0 : r.from_ns + (int64_t)(plan->seconds * 1e9);
    for (uint32_t i = 0; i < plan->connections && e == 0; i++)
        e = send_next(&r, &connections[i]);
    if (e == 0)
        e = loop(&r);
    result.seconds = plan->requests ? (double)(tr_clock_mono_ns() - begin) / 1e9 : plan->seconds;
    result.cpu_s = cpu_seconds() - cpu;
    for (uint32_t i = 0; connections && i < plan->connections; i++) {
        if (connections[i].fd > 0)
            (void)close(connections[i].fd);
        free(connections[i].in);
    }
    free(connections);
    (void)close(r.epoll);
    if (e)
        (void)fprintf(stderr, "stopped after %llu answers: %s\n", (unsigned long long)result.answers,
                      tr_strerror(e));
    *ret_result = result;
    return e;
}
