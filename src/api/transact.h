/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_TRANSACT_H
#define TAILRACE_API_TRANSACT_H

/** transact.h: what transactions share, be they made of actions or of PartiQL statements: why one was
 * canceled, and how one is known that comes again. */

#include "api/call.h"

/** Actions of a transaction, and bytes of all their items (Developer Guide quotas). */
#define TR_ACTIONS_MAX           100
#define TR_TRANSACTION_BYTES_MAX ((size_t)4 * 1024 * 1024)
/** Characters of a ClientRequestToken (API reference). */
#define TR_CLIENT_TOKEN_MAX 36

/** Why an action cancels the transaction; code NULL: it does not. */
typedef struct tr_reason {
    const char *code;
    tr_view message;
    tr_item item;
} tr_reason;

/** ValidationError with a copy of the message. TR_ENOMEM. */
int tr__set_reason(tr_call *call, tr_reason *reason, tr_view message);
bool tr__any_reason(const tr_reason *reasons, uint32_t count);
/** Composes TransactionCanceledException. Returns TR_ESERVICE. */
int tr__canceled(tr_call *call, const tr_reason *reasons, uint32_t count);

/**
 * Whether a request with this ClientRequestToken was carried out before; then it is answered here, or refused
 * if its actions (their JSON text) are others. `responses`: the answer has an empty list of that name.
 */
int tr__token_check(tr_call *call, tr_view token, tr_view raw, tr_view capacity, bool responses,
                    bool *ret_answered);
/** Keeps the token of what was just written. */
int tr__token_keep(tr_call *call, tr_view token, tr_view raw, const tr_write *writes, uint32_t count);

#endif
