/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PUBLISH_INTERNAL_H
#define TAILRACE_PUBLISH_INTERNAL_H

/**
 * internal.h: what the publisher's files share.
 *
 *   put --> waiting --collect--> request --answer--+--> done: told, freed
 *              ^        |                          |
 *              |        '-> held (of its lane)     +--> delayed (of its lane), for its pause
 *              '--- in front, once the lane is free --- and its pause is over
 *
 * A lane is what keeps entries of one key in order: while entries of it are in a request or delayed, those
 * that collect meets are set aside in `held`, so that they are not looked at again until the lane is free. An
 * entry without a key has a lane of its own.
 *
 * Everything is under `lock`. Requests are made and answered on the client's I/O thread. Callbacks run
 * without the lock; `calling` counts them, so that freeing can wait for their end.
 */

#include <tailrace/publish.h>

#include <pthread.h>

#include "base/hash.h"
#include <utlist.h>

typedef struct tr__pub_entry tr__pub_entry;

typedef struct tr__pub_lane {
    UT_hash_handle hh; /* by key; not used by the lane of an entry without one */
    char *key;
    size_t entries;                   /* that are not done; a lane with a key goes with its last one */
    size_t in_flight;                 /* entries in a request */
    bool taken;                       /* has an entry in the request that is being collected */
    bool later;                       /* is in publisher->later */
    int64_t due_ms;                   /* of delayed, monotonic */
    tr__pub_entry *held, *delayed;    /* in order of putting; those delayed come before those held */
    tr__pub_entry *up;                /* strict order: the one of them that waits to be sent */
    struct tr__pub_lane *prev, *next; /* in publisher->later */
} tr__pub_lane;

struct tr__pub_entry {
    tr__pub_entry *prev_all, *next_all;
    tr__pub_entry *prev, *next; /* in the one list that it is in */
    tr__pub_lane *lane, own;
    uint64_t number; /* in order of putting */
    uint64_t attempts, failures;
    int64_t put_ms; /* monotonic */
    size_t size;    /* as the service counts it */
    size_t bytes;   /* of memory */
    bool alone;     /* is to be sent in a request of its own */
    tr_publish_fn *fn;
    void *ctx;
    tr_view json, detail;
    /* once done */
    int code;
    const char *condition;
    bool kept;
    char event_id[TR_UUID_LEN + 1];
    tr_error *err;
};

typedef struct tr__pub_request {
    tr_publisher *publisher;
    int64_t sent_ms;
    size_t count;
    tr__pub_entry *entries[TR_PUBLISH_ENTRIES_MAX];
} tr__pub_request;

struct tr_publisher {
    tr_client *client;
    tr_publisher_options options;
    char *bus;
    tr_buf head; /* of a request, up to its first entry */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned refs; /* the owner, requests under way, wake-ups that are scheduled */
    bool closed;
    unsigned calling;
    uint64_t next_number;
    tr__pub_entry *all;     /* not done, in order of putting */
    tr__pub_entry *waiting; /* to be sent, first first */
    tr__pub_entry *failed;  /* to be given to on_failure */
    tr__pub_lane *lanes;    /* by key */
    tr__pub_lane *later;    /* with delayed entries */
    unsigned in_flight;     /* requests */
    unsigned in_a_row;      /* requests that failed as a whole */
    int64_t failed_ms;      /* when the last of them did */
    int64_t pause_ms;       /* nothing is sent before, monotonic */
    int64_t wake_ms;        /* the earliest wake-up that is scheduled; INT64_MAX: none */
    bool resign;            /* a signature was refused: let the client learn from the answer */
    tr_rng rng;
    tr_buf body;
    tr_publisher_stats stats;
    pthread_t failure_thread;
    bool failure_running;
};

/** With the lock: has tr__pub_pump run on the I/O thread at a monotonic time. */
int tr__pub_wake(tr_publisher *publisher, int64_t at_ms);
/** With the lock: an entry will not be sent again; it is put on `*done` or handed to the failure thread. */
void tr__pub_settle(tr_publisher *publisher, tr__pub_entry *entry, int code, const char *condition,
                    const tr_error *err, tr__pub_entry **done);
/** Without the lock: tells the entries of the list and frees them. The caller counts in `calling`. */
void tr__pub_tell(tr_publisher *publisher, tr__pub_entry *done);
/** Without the lock. */
void tr__pub_unref(tr_publisher *publisher);
/** With the lock, on the I/O thread: sends what may be sent. Entries that are done without are put on *done.
 */
void tr__pub_pump(tr_publisher *publisher, tr__pub_entry **done);

#endif
