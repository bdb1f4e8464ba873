/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HANDLER_HANDLER_H
#define TAILRACE_HANDLER_HANDLER_H

/**
 * What the kinds of handlers share: the queue of events, their time limits, their outcomes. All of it runs on
 * the handler's loop thread.
 *
 *   invoke --> waiting --(a free slot)--> running --> finished (callback)
 *                                          kind->start       tr__event_finish, once
 */

#include "handler/process.h"
#include "http/loop.h"

#include <tailrace/handler.h>
#include <tailrace/json.h>

#define TR__EVENT_MAX                                                                                        \
    ((size_t)64 << 20) /* bytes of an event: a batch of 10,000 records has at most 6 MB on AWS */

typedef struct tr__event {
    struct tr__event *next, *prev; /* of the list it is in */
    tr_handler *handler;
    uint64_t id;
    char uuid[TR_UUID_LEN + 1];
    tr_buf json;
    tr_handler_fn *fn;
    void *ctx;
    int64_t deadline_ms; /* monotonic; while running */
    void *of_kind;       /* what runs it */
} tr__event;

typedef struct tr__event_list {
    tr__event *first, *last;
} tr__event_list;

/** A way of running code. All on the loop's thread. */
typedef struct tr__handler_kind {
    /** Checks and prepares; may be NULL. On the thread of tr_handler_new's caller, before the loop runs
     * anything else. */
    int (*open)(tr_handler *handler, tr_error *err);
    /** tr_handler_check, on its caller's thread; may be NULL. */
    int (*check)(tr_handler *handler, tr_error *err);
    /** Begins an event, which is in `running`. It is finished later, or at once. */
    void (*start)(tr_handler *handler, tr__event *event);
    /** Its time is over: it was finished already; free what runs it. */
    void (*expire)(tr_handler *handler, tr__event *event);
    /** Lets processes end, so that new ones are started. May be NULL. */
    void (*restart)(tr_handler *handler);
    /** Frees everything. Handles close by themselves. */
    void (*close)(tr_handler *handler);
} tr__handler_kind;

extern const tr__handler_kind tr__handler_exec, tr__handler_each, tr__handler_url, tr__handler_lambda;

struct tr_handler {
    tr_handler_options options; /* texts are copies in `memory` */
    tr_arena memory;
    const tr__handler_kind *kind;
    tr__loop *loop;
    uv_timer_t timer; /* of the nearest deadline */
    bool timer_open, closing, pumping;
    char **environment; /* of processes, NULL-terminated */
    tr__event_list waiting, running;
    size_t running_count;
    uint64_t last_id;
    void *state; /* the kind's */
};

/** Of those that run a command: whether the program that it begins with is there. Where that is more than a
 * plain word, the shell will see. */
int tr__command_check(tr_handler *handler, tr_error *err);
/** Ends an event: takes it out of its list and calls back. It is freed. */
void tr__event_finish(tr__event *event, const tr_handler_result *result);
/** The same with a failure of ours: the type is one of the Lambda runtime's ("Runtime.ExitError"). */
void tr__event_fail(tr__event *event, int code, const char *type, const char *format, ...) TR_PRINTF(4, 5);
/** A running event by its id, or NULL. */
tr__event *tr__event_find(tr_handler *handler, uint64_t id);
/** Starts what waits, as far as there is room. */
void tr__handler_pump(tr_handler *handler);
/** Whether an answer is one JSON value. */
bool tr__handler_is_json(const tr_handler *handler, tr_view text);
/** A line for on_log. */
void tr__handler_log(tr_handler *handler, tr_view line);

#endif
