/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_WAIT_H
#define TAILRACE_CLIENT_WAIT_H

/**
 * wait.h: makes a blocking call out of one that answers on the client's I/O thread.
 *
 *   tr__wait w;
 *   int e = tr__wait_begin(&w, client, err);
 *   if (!e)
 *       e = tr__wait_end(&w, start(…, on_done, &w, err));      (on_done ends with tr__wait_done(&w, code,
 * err))
 */

#include <tailrace/client.h>
#include <uv.h>

typedef struct tr__wait {
    uv_sem_t answered;
    int code;
    tr_error *err;
    void *out; /* the caller's, for its callback */
} tr__wait;

/** TR_ETHREAD on the I/O thread. */
int tr__wait_begin(tr__wait *wait, tr_client *client, tr_error *err);
/** In the callback, last: the waiting thread goes on at once. */
void tr__wait_done(tr__wait *wait, int code, const tr_error *err);
/** Waits if the call was started (`started` is 0), and gives the outcome. */
int tr__wait_end(tr__wait *wait, int started);

#endif
