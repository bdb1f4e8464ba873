/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_SCHEMA_H
#define TAILRACE_EVENTSTORE_SCHEMA_H

/** schema.h: the one description of each table, and what the writers of its formats share. */

#include <tailrace/schema.h>

typedef struct tr__schema_key {
    const char *name, *type; /* "S" or "N" */
} tr__schema_key;

typedef struct tr__schema {
    const char *name;         /* as the command names it */
    const char *default_name; /* of the table */
    const char *logical;      /* of the resource: "EventsTable" */
    tr__schema_key pk, sk;    /* sk.name NULL: none */
    const char *index;        /* a global secondary index of keys only; NULL: none */
    tr__schema_key index_pk, index_sk;
    const char *ttl;  /* time to live attribute; NULL: none */
    const char *view; /* of the change stream */
    bool always_stream;
    bool guarded;    /* server-side encryption with the account's key, and point-in-time recovery */
    const char *tag; /* whose value is the table's name; NULL: none */
} tr__schema;

/** A description with what was chosen. */
typedef struct tr__schema_view {
    const tr__schema *of;
    const char *table;
    bool stream;
    tr__schema_key attributes[4]; /* distinct ones of both keys, in the order they appear */
    size_t attribute_count;
} tr__schema_view;

void tr__schema_write_members(tr_json_writer *w, const tr__schema_view *v);
void tr__schema_write_aws_cli(tr_buf *out, const tr__schema_view *v);
void tr__schema_write_cloudformation(tr_buf *out, const tr__schema_view *v);
void tr__schema_write_cdk(tr_buf *out, const tr__schema_view *v);
void tr__schema_write_terraform(tr_buf *out, const tr__schema_view *v);
/** Compact JSON, laid out for people with two spaces a level. */
int tr__json_pretty(tr_view json, tr_buf *out);

#endif
