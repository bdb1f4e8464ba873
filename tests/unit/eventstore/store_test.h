/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_TEST_EVENTSTORE_H
#define TAILRACE_TEST_EVENTSTORE_H

/**
 * An event store on the engine in memory, behind a transport that keeps what was sent and can spoil it.
 */

#include "../test.h"

#include <tailrace/client.h>
#include <tailrace/engine.h>
#include <tailrace/eventstore.h>
#include <tailrace/item.h>
#include <tailrace/schema.h>

typedef enum spoiling {
    PASS,
    LOSE_ANSWER,  /* carried out, but the answer is a timeout */
    LOSE_REQUEST, /* not carried out: no connection */
    THROTTLE,     /* not carried out: ThrottlingException */
    IN_THE_WAY    /* not carried out: TransactionConflictException */
} spoiling;

typedef struct world {
    tr_transport transport; /* first: the client's; forwards to inner */
    tr_transport *inner;
    tr_server *server;
    tr_client *client;
    tr_eventstore *store, *other, *legacy; /* ACCOUNTS and LOANS in "events", OLD in "old-events" */
    tr_arena arena;
    tr_error err;
    /* what the next writes (PutItem, TransactWriteItems) meet, in this order; then PASS */
    spoiling spoil[8];
    unsigned spoil_at, spoil_count;
    unsigned spoil_percent; /* of writes, by chance, in any of the ways */
    tr_rng rng;
    /* what was sent, of all operations */
    unsigned writes, queries;
    char operation[64]; /* the last one's */
    char body[65536];
    /** Optional: called before a write is carried out, to let another writer in. */
    void (*before_write)(struct world *w);
} world;

void world_open(world *w);
void world_close(world *w);
void world_spoil(world *w, spoiling what);
/** Sends an operation past the spoiling. */
void world_call(world *w, const char *operation, const char *body, tr_buf *reply);

/** From before_write: sends an operation past the client, to be carried out before the write at hand. */
void world_send_first(world *w, const tr_request *request);

/** An event with a payload of {"n":number}. The views live in the arena. */
tr_event make_event(world *w, const char *aggregate, uint64_t version, const char *type, int64_t number);
/** Pushes one, and must succeed. */
uint64_t push_ok(world *w, tr_eventstore *store, const char *aggregate, uint64_t version,
                 tr_event_expect expect, int64_t number);
/** Versions of an aggregate's events: "1 2 3". */
const char *versions_of(world *w, tr_eventstore *store, const char *aggregate);

#endif
