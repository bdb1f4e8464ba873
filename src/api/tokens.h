/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_API_TOKENS_H
#define TAILRACE_API_TOKENS_H

/**
 * tokens.h: which transactions were carried out under which ClientRequestToken, for 10 minutes (API reference
 * of TransactWriteItems), so that a repeated request is not carried out twice. In memory: a restart forgets
 * them.
 */

#include <tailrace/base.h>

#define TR_TOKEN_MAX         36 /* bytes */
#define TR_TOKEN_LIFETIME_MS (10 * 60 * 1000)
/** Tokens kept; past that the oldest go. */
#define TR_TOKENS_MAX 65536

/** What a repetition of the request is charged: reading what the first one wrote. */
typedef struct tr_token_charge {
    tr_view table; /* its name */
    int64_t halves;
} tr_token_charge;

typedef struct tr_token_entry {
    uint64_t hash[2]; /* of the request */
    unsigned count;
    const tr_token_charge *charges;
} tr_token_entry;

typedef struct tr_token_table tr_token_table;

int tr__tokens_new(tr_token_table **ret_table);
void tr__tokens_free(tr_token_table *table);
/** The token's entry or NULL; valid until the next call. */
const tr_token_entry *tr__tokens_find(tr_token_table *table, tr_view token);
/** Charges are copied. */
int tr__tokens_add(tr_token_table *table, tr_view token, const uint64_t hash[2],
                   const tr_token_charge *charges, unsigned count, int64_t now_ms);
void tr__tokens_expire(tr_token_table *table, int64_t now_ms);

#endif
