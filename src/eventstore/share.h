/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_SHARE_H
#define TAILRACE_EVENTSTORE_SHARE_H

/**
 * share.h: which worker of a fleet delivers the history.
 *
 * An item in the table `<lease table>-history` says who does (owner, and a counter that it raises), or that
 * the history is done and the lease table holds the positions behind it. Every write is conditional on what
 * was read. A worker that has seen a counter stand still for failover_ms by its own clock takes over.
 */

#include <tailrace/stream.h>

typedef enum tr__share_role {
    TR__SHARE_OTHER, /* another worker is at it */
    TR__SHARE_MINE,  /* this one is; renewed in the background until tr__share_done or tr__share_free */
    TR__SHARE_OVER   /* the history is done: share the stream */
} tr__share_role;

typedef struct tr__share tr__share;
int tr__share_new(tr_client *client, const tr_fleet_options *fleet, tr__share **ret_share, tr_error *err);
/** Gives the role back if it is ours. NULL is fine. */
void tr__share_free(tr__share *share);
/**
 * Looks, and takes the role if it is free. Blocks for a call or two. name: of the inbox that this worker has,
 * NULL if it has none: one that was begun with it goes on at once, without waiting that the process before is
 * given up.
 */
int tr__share_look(tr__share *share, const char *name, tr__share_role *ret_role, tr_error *err);
/** Only looks whether the history is over, and gives the role back if it is ours: for a worker whose inbox
 * another process has. */
int tr__share_peek(tr__share *share, tr__share_role *ret_role, tr_error *err);
/** What the role is held under: the name given, else a random one. Valid until the next look. */
const char *tr__share_owner(const tr__share *share);
/** Whether the role was taken from us, or could not be renewed in time. */
bool tr__share_lost(tr__share *share);
/** After the positions were written into the lease table: all may share. */
int tr__share_done(tr__share *share, tr_error *err);

#endif
