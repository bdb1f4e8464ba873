/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_PIPE_REPLAY_H
#define TAILRACE_PIPE_REPLAY_H

/**
 * replay.h: what a replay's files share.
 *
 *   source: a page of events --> each, in order --> target     until all of the page are done;
 *      ^                                              |        then the position is saved, or the queue's
 *      '------------------ next page ----------------'        messages are deleted
 */

#include <tailrace/json.h>
#include <tailrace/publish.h>
#include <tailrace/replay.h>

#include <pthread.h>
#include <stdatomic.h>

#define TR__REPLAY_TEXT_MAX ((size_t)64 << 20) /* of a page, of an answer */
#define TR__REPLAY_PAGE     500

typedef struct tr__replay_row {
    int64_t id;
    tr_view event, receipt; /* in the page's arena */
} tr__replay_row;

typedef struct tr__replay_page {
    tr__replay_row *rows; /* in the arena */
    size_t count, cap;
    tr_arena arena;
    int64_t next; /* files and servers: where the next page begins */
    bool end;     /* nothing comes after it */
} tr__replay_page;

/** What the state keeps. */
typedef struct tr__replay_position {
    int64_t after;
    uint64_t read, done, there, differing, failed;
    /* of replays on AWS: what was made there; empty: nothing yet */
    char made[TR_REPLAY_NAME_MAX + 1]; /* name of rule, queue and replay */
    char bus[256];
    bool started;
    tr_buf receipts; /* JSON array: of the messages being worked on */
} tr__replay_position;

typedef struct tr__replay_source {
    int (*open)(tr_replay *replay, tr_error *err);
    int (*read)(tr_replay *replay, tr__replay_page *page, tr_error *err);
    int (*done)(tr_replay *replay, tr__replay_page *page, tr_error *err); /* NULL: nothing to do */
    /** Called now and then while a page is worked on, with the first row that is not done. May be NULL. */
    void (*beat)(tr_replay *replay, const tr__replay_page *page, size_t from);
    int (*close)(tr_replay *replay, bool complete, tr_error *err);
} tr__replay_source;

typedef struct tr__replay_target {
    int (*open)(tr_replay *replay, tr_error *err);
    /** Waits for room; the event may be done later. An event that cannot be taken is tr__replay_failed. */
    int (*put)(tr_replay *replay, const tr__replay_row *row, tr_error *err);
    /** Waits until all are done. TR_ECANCELED: stopped. */
    int (*flush)(tr_replay *replay, tr_error *err);
    void (*close)(tr_replay *replay);
    bool at_once; /* what put has returned 0 for is done */
} tr__replay_target;

extern const tr__replay_source tr__replay_source_file, tr__replay_source_server, tr__replay_source_aws;
extern const tr__replay_target tr__replay_target_bus, tr__replay_target_table, tr__replay_target_handler;

struct tr_replay {
    tr_replay_options options;
    char *archive, *bus, *table, *log_table, *name, *log, *type, **rules;
    const tr__replay_source *source;
    const tr__replay_target *target;
    atomic_bool stop;
    tr__replay_position position;
    uint64_t total;
    int64_t event_ms;
    bool resumed, ended;
    /* the page being worked on */
    const tr__replay_page *page;
    size_t row, taken; /* being put; that the position counts */
    int64_t beat_ms, saved_ms;
    /* pacing */
    int64_t first_event_ms, first_mono_ms;
    tr_match_ctx *match;
    tr_buf text; /* scratch: the event as it is sent */
    /* sources */
    tr_archive_file *file;
    char *queue_url;
    unsigned empty; /* receives in a row that gave nothing */
    /* targets; what callbacks touch is under the lock */
    tr_publisher *publisher;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t under_way;
    uint64_t done, there, differing, failed; /* since the page began */
    int code;                                /* of the first event that failed and went nowhere */
    tr_error err;
};

/** From any thread: an event could not be replayed. To the failure destination, or the end of the replay. */
void tr__replay_failed(tr_replay *replay, tr_view event, int code, const tr_error *why);
/** The JSON object with a member set to a text (at its end), appended. */
void tr__replay_mark(tr_view object, const char *name, const char *text, tr_buf *out);
/** A member of a JSON object that is a string; empty with ptr NULL if there is none. */
tr_view tr__replay_text(tr_view object, const char *name, tr_arena *arena);
/** The raw text of a member, or empty with ptr NULL. */
tr_view tr__replay_raw(tr_view object, const char *name, tr_arena *arena);
/** Room for one more row, or NULL. */
tr__replay_row *tr__replay_add(tr__replay_page *page);
/** A call that waits; body is done with. The answer is appended to ret_answer. */
int tr__replay_call(tr_client *client, tr_service service, const char *operation, tr_buf *body,
                    tr_buf *ret_answer, tr_error *err);
/** The position that the state holds, if it is one of this replay. */
int tr__replay_load(tr_replay *replay, tr_error *err);
int tr__replay_save(tr_replay *replay, tr_error *err);
/** False once a stop was asked for. */
bool tr__replay_sleep(tr_replay *replay, int64_t ms);

#endif
