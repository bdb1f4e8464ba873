/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_SQS_QUERY_H
#define TAILRACE_API_SQS_QUERY_H

/**
 * sqs_query.h: the query protocol of SQS, which clients from before the end of 2023 speak (Debian's boto3 and
 * AWS CLI): a form in, XML out. It is turned into the JSON protocol's bodies and back, so that there is one
 * implementation of each operation.
 *
 *   Action=SendMessage&QueueUrl=…&MessageBody=…   -->  SendMessage {"QueueUrl":"…","MessageBody":"…"}
 *   {"MessageId":"…"}                             -->  <SendMessageResponse><SendMessageResult><MessageId>…
 */

#include <tailrace/base.h>

/** Parameters of a request, at most: ten messages of ten attributes take 450. */
#define TR_QUERY_PARAMS_MAX 2048

/**
 * Reads a form. *ret_action: its Action, in the arena. The body that the JSON protocol would have is appended
 * to `json`; a QueueUrl that the form lacks is taken from `path` ("/ACCOUNT/NAME"). TR_ENOTFOUND (no Action),
 * TR_EPARSE (a broken escape, bytes that are not UTF-8), TR_ELIMIT (too many parameters), TR_ENOMEM.
 */
int tr__query_decode(tr_view form, tr_view path, tr_arena *arena, tr_view *ret_action, tr_buf *json);

/** Appends the XML of an answer of the JSON protocol (an error if `status` is not 200) to `xml`. TR_EPARSE,
 * TR_ENOMEM, TR_ELIMIT. */
int tr__query_encode(tr_view action, int status, tr_view json, tr_view request_id, tr_arena *arena,
                     tr_buf *xml);

#endif
