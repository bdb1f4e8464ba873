/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_HANDLER_FAILURE_H
#define TAILRACE_HANDLER_FAILURE_H

/** What the kinds of failure destinations share. */

#include <tailrace/failure.h>
#include <tailrace/json.h>
#include <tailrace/record.h>

/** Bytes of a failure record with all its Records: an event of a mapping has 6 MB, one larger record aside.
 */
#define TR__FAILURE_MAX ((size_t)128 << 20)

/* Each opens one kind; `name` is what stands behind the kind in the destination. */
typedef int tr__failure_open_fn(const tr_failure_options *options, const char *name,
                                tr_failure_sink **ret_sink, tr_error *err);
tr__failure_open_fn tr__failure_open_file, tr__failure_open_sqlite, tr__failure_open_table,
    tr__failure_open_queue, tr__failure_open_bus, tr__failure_open_lambda, tr__failure_open_exec,
    tr__failure_open_each, tr__failure_open_module, tr__failure_open_url;

/* -------------------------------------------------------------------------------------------- records */

/** What is told of a batch of a stream that was given up. */
typedef struct tr__stream_failure {
    tr_view function_arn;
    const char *stream_arn, *condition;
    uint64_t attempts;
    const tr_record *first, *last;
    size_t count; /* of the batch's records */
} tr__stream_failure;
/** Appends the failure record: Lambda's of an event source mapping, without payloads. */
void tr__failure_of_stream(const tr__stream_failure *failure, tr_buf *out);

/* ---------------------------------------------------------------------------------------- composing */

/** The failure record with all its Records, on one line, appended to out. */
void tr__failure_compose(const tr_failure *failure, tr_buf *out);

typedef int tr__failure_part_fn(void *ctx, tr_view body, tr_error *err);
/**
 * Calls fn with the failure record and as many of its Records as fit into `limit` bytes, again and again
 * until all were there. A record that alone does not fit is left out, which is told to the logger.
 */
int tr__failure_parts(const tr_failure *failure, size_t limit, const tr_logger *logger,
                      tr__failure_part_fn *fn, void *ctx, tr_error *err);

/** Reads what tr__failure_compose wrote (or a part, or AWS) into an entry, all but its id, which stays as it
 * is. Texts are in the arena or the body. TR_EPARSE where it is no JSON object. */
int tr__failure_read(tr_view body, tr_arena *arena, tr_failure_entry *ret_entry);

/* ------------------------------------------------------------------------------------------- clients */

/** The client of a destination: the one given, or one of its own. */
typedef struct tr__failure_client {
    tr_client *client, *own;
} tr__failure_client;
/** region: of the destination; empty if it does not say. */
int tr__failure_client_open(const tr_failure_options *options, tr_view region, tr__failure_client *ret,
                            tr_error *err);
void tr__failure_client_done(tr__failure_client *client);
int tr__failure_call(tr_client *client, tr_service service, const char *operation, tr_buf *body,
                     tr_buf *ret_answer, tr_error *err);

/** Part number i of an ARN, between colons (0 is "arn"); empty if there are fewer. */
tr_view tr__arn_part(tr_view arn, unsigned i);

#endif
