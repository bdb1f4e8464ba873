/* SPDX-License-Identifier: MIT */
/** An engine in memory and a client of it in this process, for tests of what stands on a client. */
#ifndef TAILRACE_TEST_EMBEDDED_H
#define TAILRACE_TEST_EMBEDDED_H

#include "test.h"

#include <tailrace/client.h>
#include <tailrace/engine.h>

#include <string.h>

typedef struct embedded {
    tr_server *server;
    tr_client *client;
} embedded;

static inline tr_client *embedded_client(tr_server *server)
{
    tr_transport *transport;
    tr_client *client;
    tr_error err = {0};
    assert_int_equal(tr_server_transport(server, &transport, &err), 0);
    tr_client_options options = {.transport = transport};
    if (tr_client_new(&options, &client, &err))
        fail_msg("%s", err.message);
    return client;
}

static inline void embedded_open(embedded *e, const tr_server_options *options)
{
    tr_server_options none = {0};
    tr_error err = {0};
    if (tr_server_new(options ? options : &none, &e->server, &err))
        fail_msg("%s", err.message);
    e->client = embedded_client(e->server);
}

static inline void embedded_close(embedded *e)
{
    tr_client_free(e->client);
    tr_server_free(e->server);
}

/** A call that must succeed. The answer is appended to ret_body, if given. */
static inline void embedded_call(tr_client *client, const char *operation, const char *body, tr_buf *ret_body)
{
    bool streams = strstr("ListStreams DescribeStream GetShardIterator GetRecords", operation) != NULL;
    tr_request request = {
        .service = streams ? TR_STREAMS : TR_DYNAMODB, .operation = operation, .body = tr_view_str(body)};
    tr_error err = {0};
    if (tr_client_call_wait(client, &request, ret_body, &err))
        fail_msg("%s %s: %s %s", operation, body, err.type, err.message);
}

#endif
