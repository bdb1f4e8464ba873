/* SPDX-License-Identifier: MIT */
#include "api/tokens.h"

#define uthash_malloc(size)    tr_malloc(size)
#define uthash_free(ptr, size) tr_free(ptr)
#define HASH_NONFATAL_OOM      1
#include <uthash.h>

typedef struct node {
    UT_hash_handle hh;
    char token[TR_TOKEN_MAX];
    int64_t time_ms;
    tr_token_entry entry; /* its charges stand behind the node, and behind those their names */
} node;

struct tr_token_table {
    node *nodes; /* uthash keeps them in the order in which they came, the oldest first */
};

int tr__tokens_new(tr_token_table **ret_table)
{
    tr_token_table *table = tr_calloc(1, sizeof *table);
    if (!table)
        return TR_ENOMEM;
    *ret_table = table;
    return 0;
}

static void drop(tr_token_table *table, node *n)
{
    HASH_DEL(table->nodes, n);
    tr_free(n);
}

void tr__tokens_free(tr_token_table *table)
{
    if (!table)
        return;
    while (table->nodes)
        drop(table, table->nodes);
    tr_free(table);
}

const tr_token_entry *tr__tokens_find(tr_token_table *table, tr_view token)
{
    node *n;
    HASH_FIND(hh, table->nodes, token.ptr, token.len, n);
    return n ? &n->entry : NULL;
}

void tr__tokens_expire(tr_token_table *table, int64_t now_ms)
{
    while (table->nodes && now_ms - table->nodes->time_ms > TR_TOKEN_LIFETIME_MS)
        drop(table, table->nodes);
}

int tr__tokens_add(tr_token_table *table, tr_view token, const uint64_t hash[2],
                   const tr_token_charge *charges, unsigned count, int64_t now_ms)
{
    size_t names = 0;
    for (unsigned i = 0; i < count; i++)
        names += charges[i].table.len;
    size_t fixed = sizeof(node) + count * sizeof(tr_token_charge);
    node *n = tr_malloc(fixed + names);
    if (!n)
        return TR_ENOMEM;
    memset(n, 0, sizeof *n);
    n->time_ms = now_ms;
    n->entry.hash[0] = hash[0];
    n->entry.hash[1] = hash[1];
    n->entry.count = count;
    memcpy(n->token, token.ptr, token.len);
    tr_token_charge *copies = (tr_token_charge *)(void *)(n + 1);
    n->entry.charges = copies;
    char *name = (char *)n + fixed;
    for (unsigned i = 0; i < count; i++) {
        memcpy(name, charges[i].table.ptr, charges[i].table.len);
        copies[i] = (tr_token_charge){tr_view_of(name, charges[i].table.len), charges[i].halves};
        name += charges[i].table.len;
    }
    if (HASH_COUNT(table->nodes) >= TR_TOKENS_MAX)
        drop(table, table->nodes);
    HASH_ADD(hh, table->nodes, token, (unsigned)token.len, n);
    if (!n->hh.tbl) { /* out of memory */
        tr_free(n);
        return TR_ENOMEM;
    }
    return 0;
}
