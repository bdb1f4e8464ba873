/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_SERVER_H
#define TAILRACE_API_SERVER_H

/**
 * server.h: inside of tr_server: one loop thread that owns the engine, and two ways in, HTTP and calls from
 * this process, which meet in tr__server_carry_out.
 *
 *   HTTP request ----+                                      +-- reads: at once
 *                    +--> tr_api_call --> ticket? ----------+
 *   in-process call -+                                      +-- writes: in `pending`, in the order of tickets
 *
 *   end of a loop turn: tr_engine_flush --> sync thread --> uv_async --> tr_engine_poll --> pending released
 *
 * Everything below runs on the loop's thread.
 */

#include "api/api.h"
#include "bus/bus.h"
#include "http/loop.h"

#include <tailrace/engine.h>
#include <tailrace/http.h>

#define TR_SERVER_ADDRESSES_MAX 64
/** Milliseconds that requests under way get when the server stops. */
#define TR_SERVER_GRACE_MS 5000

/** A request being carried out, embedded in what brought it. */
typedef struct tr_pending {
    struct tr_pending *next, *prev; /* of server->pending or server->parked */
    tr_api_request request;         /* must stay as long as it waits for news */
    tr_api_reply reply;
    tr_buf *body;
    /** Gives the answer. code: 0, or TR_EIO if what it depends on could not be made durable. */
    void (*answer)(struct tr_pending *pending, int code);
    /* while it waits for news */
    tr_server *server;
    tr_listener listener;
    int64_t deadline_ms; /* monotonic */
    bool parked, woken, on_queue;
} tr_pending;

typedef struct tr_pending_list {
    tr_pending *first, *last;
} tr_pending_list;

typedef struct tr_feed tr_feed;

struct tr_server {
    tr__loop *loop;
    tr_engine *engine;
    tr_api *api;
    tr_bus *bus;
    tr_http_server *http;
    uv_check_t check;   /* the end of a loop turn */
    uv_async_t synced;  /* from the sync thread */
    uv_timer_t tick;    /* housekeeping */
    uv_timer_t wait;    /* the next deadline of what is parked */
    uv_timer_t deliver; /* when the bus has something to do */
    bool check_on, synced_on, tick_on, wait_on, deliver_on, stopping;
    bool hasty; /* housekeeping has its next round in a millisecond */
    uint64_t queue_news;
    int failed; /* syncing failed with this code */
    tr_pending_list pending, parked;
    bool any_woken;
    tr_feed *feeds;
    tr_rng rng;
    char *region;
    char *addresses[TR_SERVER_ADDRESSES_MAX];
    size_t address_count;
    tr_logger logger;
    const tr_server_options *options; /* during tr_server_new only */
    tr_error *error;
    int code;
};

/** Carries out pending->request and answers, now or when its state is durable, or when there is news. */
void tr__server_carry_out(tr_server *server, tr_pending *pending);
/** Forgets one that was not answered yet. */
void tr__server_drop(tr_server *server, tr_pending *pending);

/* server_http.c */
/** Appends the reply's x-tailrace headers (at most three); returns how many. */
size_t tr__server_headers(const tr_api_reply *reply, tr_header *out);
void tr__server_handle(void *server, tr_http_request *request);

/* feed.c */

/**
 * The change records of a table as a stream of events (Server-Sent Events over HTTP, callbacks in this
 * process), from a position on, for as long as the stream lives.
 */
struct tr_feed {
    tr_feed *next, *prev; /* of server->feeds */
    tr_server *server;
    char *arn, *label;
    uint64_t position; /* next sequence to read */
    tr_listener listener;
    bool listening, ended, gap;
    size_t room; /* bytes that may still be emitted in this round */
    /** Takes an event. id and event may be empty. */
    void (*emit)(tr_feed *feed, tr_view id, tr_view event, tr_view data);
    /** How many bytes of events can be taken now; 0: call tr__feed_pump when there is room again. */
    size_t (*space)(tr_feed *feed);
    /** After a round that emitted something. */
    void (*flush)(tr_feed *feed);
    /** The stream is at its end, or the server stops; called once, the feed is done with afterwards. */
    void (*finish)(tr_feed *feed, int code);
};

/**
 * Opens a feed for a path "/streams/TABLE/events" (with an optional query "from=…") and a Last-Event-ID.
 * TR_ENOTFOUND (no such table, or it has no stream), TR_EINVAL, TR_ENOMEM, with err. The callbacks must be
 * set; call tr__feed_pump to begin.
 */
int tr__feed_open(tr_server *server, tr_view path, tr_view query, tr_view last_event_id, tr_feed *feed,
                  tr_error *err);
/** Emits what there is and what fits; then waits for news. May finish the feed. */
void tr__feed_pump(tr_feed *feed);
/** Ends it without calling finish. */
void tr__feed_close(tr_feed *feed);
/** Wakes feeds whose streams have news; called after tr_engine_poll. */
void tr__feeds_wake(tr_server *server);
/** Finishes all, at the server's end. */
void tr__feeds_stop(tr_server *server);

#endif
