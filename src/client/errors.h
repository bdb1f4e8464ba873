/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_CLIENT_ERRORS_H
#define TAILRACE_CLIENT_ERRORS_H

/** What the services' error answers mean. */

#include <tailrace/client.h>

/** Fills err from an answer that is not 2xx; returns its code, as tr_reply_fn lists them. */
int tr__reply_error(const tr_reply *reply, tr_error *err);

enum tr__retry { TR__RETRY_NO, TR__RETRY_SOON, TR__RETRY_SLOWLY, TR__RETRY_RESIGNED };
/** Whether it makes sense to send the request again: no, after a short or a longer pause, or if credentials
 * or the clock were set right. */
enum tr__retry tr__retry_of(int code, const tr_error *err);

#endif
