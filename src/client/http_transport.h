/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_HTTP_TRANSPORT_H
#define TAILRACE_CLIENT_HTTP_TRANSPORT_H

/** The transport that sends signed HTTP requests. tr_transport in tailrace/client.h says what it promises. */

#include <tailrace/client.h>

/** Finds profile, endpoints, region and credentials, and starts the I/O thread. TR_EAUTH, TR_EINVAL,
 * TR_ENOMEM, TR_EIO. */
int tr__http_transport_new(const tr_client_options *options, tr_transport **ret_transport, tr_error *err);
const char *tr__http_transport_endpoint(const tr_transport *transport, tr_service service);
const char *tr__http_transport_region(const tr_transport *transport);
bool tr__http_transport_is_aws(const tr_transport *transport);
/**
 * An answer refused the signature: sets the clock right by the answer's Date, or drops credentials that have
 * expired. Whether that changed anything, so that the request is worth repeating. On the I/O thread.
 */
bool tr__http_transport_learn(tr_transport *transport, const tr_reply *reply, const tr_error *err);

/** "Sun, 06 Nov 1994 08:49:37 GMT" as milliseconds. TR_EPARSE. */
int tr__http_date_parse(tr_view text, int64_t *ret_ms);

#endif
