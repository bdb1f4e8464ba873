/* SPDX-License-Identifier: MIT */
#ifndef TR_STREAM_DRIVER_H
#define TR_STREAM_DRIVER_H

/*
 * A tr_stream: the machine (core.h) under a lock, a client that carries its requests, and a thread for its
 * checkpoint store.
 *
 * Lock order: poll, then lock. Nothing is called with `lock` held but the machine, the client (which never
 * calls back from within a call), and the user's filter and transform. The store is called with no lock held.
 */

#include "stream/core.h"
#include "stream/filter.h"

#include <pthread.h>

typedef struct tr__job {
    tr__req_kind kind; /* LOAD, SAVE; 0: none */
    uint64_t id;
    tr_buf state;
} tr__job;

struct tr_stream {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* an event may be there, a poll may be over, something was saved */
    pthread_mutex_t poll;   /* serialises tr_stream_fetch_… */
    tr__core *core;         /* NULL once freed: answers that still come find nobody */
    tr_client *client, *lease_client;
    tr_stream_store *store;
    char *arn; /* as last told by statistics */
    unsigned refs;
    bool stopped, manual, user_checkpoints;
    unsigned waiters;
    int64_t wake_ms; /* mono: the earliest wake-up that is scheduled; INT64_MAX: none */
    tr_logger logger;
    tr__filter *filter;
    tr__page_pool pages;

    pthread_t store_thread;
    bool store_running, store_end;
    pthread_cond_t job_there;
    tr__job job;
    int64_t retry_min_ms, retry_max_ms; /* of tr_stream_run */
};

/** With the lock held: tells the time, before anything else is told to the machine. */
void tr__stream_tick(tr_stream *stream);
/** With the lock held: sends what the machine requests, wakes who waits. */
void tr__stream_pump(tr_stream *stream);
/** With the lock held: waits for a change, at most until the monotonic time (INT64_MAX: for ever). */
void tr__stream_wait(tr_stream *stream, int64_t until_ms);
int64_t tr__stream_until(int64_t timeout_ms);

#endif
