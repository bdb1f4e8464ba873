/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HTTP_CLIENT_INTERNAL_H
#define TAILRACE_HTTP_CLIENT_INTERNAL_H

/**
 * What the files of the HTTP client share: client.c keeps the requests, transfer.c sets one up, sockets.c
 * ties libcurl's sockets and timer to the loop.
 */

#include <tailrace/http_client.h>

#include "curl.h"

#include <uv.h>

typedef struct tr__transfer_list {
    struct tr__transfer *first, *last;
    size_t count;
} tr__transfer_list;

typedef struct tr__transfer {
    struct tr__transfer *next, *prev;
    tr__transfer_list *list; /* which it is in */
    tr_http_client *client;
    CURL *easy;
    tr_arena arena; /* header lines, of the request and of the answer */
    tr_buf body;    /* of the request */
    tr_buf head, answer;
    char *url, *unix_path; /* that the easy handle was last set to */
    tr_http_reply_fn *fn;
    void *ctx;
    bool (*on_bytes)(void *ctx, tr_view bytes);
    uint64_t id;
    int64_t deadline_ms; /* on the monotonic clock, 0: none */
    int end_code;        /* in `ended`: what to tell */
    unsigned sent;       /* how often libcurl has begun to send it */
    bool added;          /* to the multi handle */
    bool canceled;
    char curl_error[CURL_ERROR_SIZE];
} tr__transfer;

/* A socket that libcurl works on. Known by its number in the client's table. */
typedef struct tr__socket {
    uv_poll_t poll;
    tr_http_client *client;
    int fd;
    int wanted; /* events that libcurl waits for */
    int active; /* events that are registered with the kernel */
    bool ours;  /* opened by us, so that we also close it */
} tr__socket;

struct tr__socket_slot {
    tr__socket *socket;
};

struct tr_http_client {
    uv_loop_t *loop;
    tr_http_client_options options;
    char *user_agent;
    CURLM *multi;
    uv_timer_t timer;         /* libcurl's */
    uv_timer_t later;         /* runs callbacks of `ended` */
    uv_timer_t waiting_timer; /* looks for deadlines in `waiting` */
    tr__transfer_list waiting, active, streams, ended;
    tr__transfer *pool;
    size_t pool_count;
    uint64_t last_id;
    struct tr__socket_slot *sockets; /* by number */
    size_t socket_cap;
    unsigned handles;  /* open ones in the loop */
    bool any_canceled; /* within in_curl */
    bool in_curl;      /* libcurl is calling us: its handles must not be touched */
    bool freeing;
};

/* sockets.c */
int tr__client_open(tr_http_client *client);
/** Frees the client once its handles are closed. */
void tr__client_close(tr_http_client *client);
/** Makes an easy handle open and close its sockets through us. */
bool tr__client_sockets(tr_http_client *client, CURL *easy);

/* transfer.c */
/** A new one, NULL without memory. */
tr__transfer *tr__transfer_new(tr_http_client *client);
/** One of those that wait for use, or a new one. */
tr__transfer *tr__transfer_take(tr_http_client *client);
/** Sets it up. After an error it is half set up: to be freed. */
int tr__transfer_prepare(tr__transfer *transfer, const tr_http_call *call);
/** Keeps it for the next request, or frees it. */
void tr__transfer_recycle(tr_http_client *client, tr__transfer *transfer);
void tr__transfer_free(tr__transfer *transfer);

/* client.c */
/** Completes what libcurl has done with. */
void tr__client_check(tr_http_client *client);
/** Ends what was cancelled while libcurl was at work. */
void tr__client_end_canceled(tr_http_client *client);

#endif
