/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HANDLER_MAPPING_PRIVATE_H
#define TAILRACE_HANDLER_MAPPING_PRIVATE_H

/**
 * What the files of a mapping share:
 *
 *   mapping.c   threads that take batches, and what becomes of a batch
 *   batch.c     a part of a batch as an event, its answer, its failure record
 *   window.c    tumbling windows: state between invocations
 */

#include "handler/failure.h"

#include <tailrace/mapping.h>

#include <pthread.h>
#include <stdatomic.h>

typedef struct tr__window tr__window;

struct tr_mapping {
    tr_mapping_options options;
    char *name;
    tr_stream *stream;
    tr_handler *handler;
    atomic_bool stop;
    atomic_int running, busy; /* threads; those with a batch at hand */
    _Atomic(int) code;
    atomic_bool progressed;  /* records were done with, or read */
    atomic_int invoking;     /* the handler's time limit counts, not ours */
    pthread_mutex_t failing; /* the failure destination takes one at a time */
    _Atomic(uint64_t) batches, records, failures, retries, bisections, given_up, windows, busy_ns;
    struct {
        pthread_mutex_t lock; /* of the list, of `busy`, and of the store */
        pthread_cond_t idle;  /* a window is not busy any more */
        tr__window *first;
        bool loaded;
        int64_t looked_ms; /* when it was looked for windows that are over */
        unsigned closing;  /* threads that look for such, or close them */
        tr_buf saved;      /* what is written to the store */
    } tumbling;
};

/** A thread's batch and its memory. */
typedef struct tr__work {
    tr_mapping *m;
    tr_stream_event **events;
    size_t count;
    tr__window *window; /* that the records belong to; NULL without windows */
    bool final, early;  /* of the window: the event is its last one */
    tr_buf event, response, record;
    tr_arena arena;
    tr_error err; /* of the last attempt */
    uint64_t attempts;
    tr_rng rng;
    bool gave_up; /* a stop was asked for: nothing more is done */
} tr__work;

/* batch.c */
void tr__work_init(tr__work *work, tr_mapping *mapping);
void tr__work_done(tr__work *work);
/** Makes the event of some records, gives it to the handler, and counts. Returns where the first failed
 * record is, `to` if all is well; work->err says why. from == to: an event without records, which returns
 * SIZE_MAX if it fails. */
size_t tr__work_attempt(tr__work *work, size_t from, size_t to);
/** To the failure destination, however long that takes. work->gave_up if it was stopped meanwhile. */
void tr__work_give_up(tr__work *work, size_t from, size_t to, const char *condition);
/** Waits before retry number `attempt` (from 0). False once a stop was asked for. */
bool tr__work_pause(tr__work *work, uint64_t attempt);

/* window.c */
/** Loads what the store has. */
int tr__windows_open(tr_mapping *mapping, tr_error *err);
void tr__windows_done(tr_mapping *mapping);
/**
 * Of the records left in a batch: how many of the first belong together. Those of a window that is over close
 * it first, which invokes the handler. *ret_skip: they were aggregated before a restart, and are only to be
 * acknowledged. The window is in work->window, and busy, until tr__window_leave. 0 if it was stopped.
 */
size_t tr__window_enter(tr__work *work, const tr_stream_batch *rest, bool *ret_skip);
/** done: the records were handled, or given up: the state is saved with that. */
void tr__window_leave(tr__work *work, bool done);
/** Closes those that are over. To be called now and then by the threads. */
void tr__windows_close_due(tr__work *work);
/** Whether a thread is within that: what it closes may still fail, and be tried again. */
bool tr__windows_closing(tr_mapping *mapping);
/** ,"window":{…},"state":{…},"shardId":…,… for the event. */
void tr__window_write(const tr__work *work, tr_view stream_arn, tr_buf *out);
/** Takes the state from the answer; false if there is none, which is a failure (unless work->final). */
bool tr__window_take_state(tr__work *work);
/** Of work->window: its shard, its first and last record, its start and end. */
void tr__window_extent(const tr__work *work, tr_record *ret_first, tr_record *ret_last);

#endif
