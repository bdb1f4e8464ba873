/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_NUMBERED_H
#define TAILRACE_CLIENT_NUMBERED_H

/**
 * numbered.h: writes items that are numbered 1, 2, 3 … under a partition key, so that of two writers of one
 * number one wins and the other learns of it. What logs and event stores are made of.
 *
 * A run is what stands under one partition key; an action puts the item of a number, or checks that a number
 * is there or is free. One put alone is a PutItem, anything more one TransactWriteItems. Either
 *
 *   numbers given -----------------> write --- ok -----------------------------------------> done
 *   next: newest number --> write     ^  |     a failed condition, our own item there -----> done
 *            ^                        |  +---- throttled, unreachable, in another's way: wait, write again
 *            +------- wait <----------|------- a failed condition of a run numbered "next"
 *                                     +------- any other failed condition ------------------> TR_ECONFLICT
 *
 * all on the client's I/O thread, with full jitter. A write is sent with one attempt, so that it is known
 * whether an earlier one may have arrived: only then, or where the job is `repeatable`, may an item that
 * equals ours count as ours.
 */

#include <tailrace/client.h>
#include <tailrace/item.h>

/** Actions of a TransactWriteItems (API Reference). */
#define TR__NUMBERED_MAX 100

typedef struct tr__numbered_layout {
    const char *pk, *sk;
    const char
        *marker; /* the attribute whose absence the condition asks for; also its placeholder, #marker */
    const char *const *content; /* NULL-ended: attributes that make two items of one number the same */
} tr__numbered_layout;

typedef enum tr__numbering {
    TR__NUMBERS_GIVEN,
    TR__NUMBERS_NEXT,        /* count on from the newest */
    TR__NUMBERS_NEXT_OF_SOME /* the same, TR_ENOTFOUND if the run has none */
} tr__numbering;

typedef struct tr__numbered_run {
    const tr__numbered_layout *layout;
    tr_view table, key; /* both as JSON strings, with their quotes */
    tr__numbering numbering;
    /* private */
    uint64_t newest;
    struct tr__numbered *job;
} tr__numbered_run;

typedef enum tr__numbered_kind { TR__PUT, TR__CHECK_THERE, TR__CHECK_FREE } tr__numbered_kind;

typedef struct tr__numbered_action {
    tr__numbered_kind kind;
    tr__numbered_run *run;
    uint64_t
        number;    /* of numbering "next": 1 for the first behind the newest; filled in as they are written */
    tr_view rest;  /* PUT: the item's other members in JSON, `"type":{"S":"x"},…` */
    tr_view first; /* PUT: further members if the number is 1 */
    size_t tag;    /* the caller's */
} tr__numbered_action;

struct tr__numbered;
/** code as tr_reply_fn; `failed` is the action that lost (TR_ECONFLICT) or an action of the run that is empty
 *  (TR_ENOTFOUND), else NULL; err is not worded then. The job may be freed. */
typedef void tr__numbered_fn(void *ctx, int code, const tr__numbered_action *failed, const tr_error *err);

/** Zero-initialise, fill in, start. Owned by the caller, with all it points to, until the callback runs. */
typedef struct tr__numbered {
    tr_client *client;
    tr__numbered_run *runs;
    size_t run_count;
    tr__numbered_action *actions;
    size_t action_count;
    bool force;       /* no condition on puts */
    bool transaction; /* TransactWriteItems also for a single put */
    bool repeatable;  /* an equal item there is success, whoever wrote it */
    int64_t patience_ms;
    const tr_logger *logger; /* may be NULL: told once if the service cannot be reached for a while */
    tr__numbered_fn *fn;
    void *ctx;
    /* private */
    tr_buf body;
    tr_rng rng;
    int64_t deadline_ms;
    unsigned attempts, conflicts, asking;
    bool maybe_arrived, resigned, told;
    int asked_code;
    tr_error *asked_error;
    tr__numbered_run *empty_run;
    char token[TR_UUID_LEN + 1];
} tr__numbered;

/** 0 means that fn runs exactly once. */
int tr__numbered_start(tr__numbered *job, tr_error *err);

#endif
