/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_ENDPOINT_H
#define TAILRACE_CLIENT_ENDPOINT_H

/**
 * Where the services are.
 *
 *   option > AWS_ENDPOINT_URL_<SERVICE> > AWS_ENDPOINT_URL > the profile's "services" section > its
 * endpoint_url > AWS
 *
 * DynamoDB Streams follow DynamoDB where only that is given, since other servers have both on one port.
 */

#include <tailrace/client.h>

#include "profile.h"

typedef struct tr__endpoint {
    char *text;      /* for messages: "https://sqs.eu-west-1.amazonaws.com", "unix:/run/t.sock" */
    char *url;       /* without a slash at its end */
    char *host;      /* the Host header */
    char *prefix;    /* path before each request's, mostly empty */
    char *unix_path; /* or NULL */
    bool is_aws;
} tr__endpoint;

/** Finds region and endpoints; on success *ret_region is to be freed. TR_EINVAL (not an endpoint; no region).
 */
int tr__endpoints_find(const tr_client_options *options, const tr__profiles *profiles, const char *profile,
                       tr__endpoint *ret_endpoints, char **ret_region, tr_error *err);
void tr__endpoint_done(tr__endpoint *endpoint);
/** "dynamodb", "events": in the scope of signatures. */
const char *tr__service_signing_name(tr_service service);

#endif
