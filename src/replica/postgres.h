/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_REPLICA_POSTGRES_H
#define TAILRACE_REPLICA_POSTGRES_H

/** What the files of the PostgreSQL sink share. Its form is described in docs/replicate.md. */

#include "replica/internal.h"
#include "replica/libpq.h"

/** Bytes of a name: PostgreSQL's NAMEDATALEN less one; longer ones are cut without a word. */
#define TR__PG_NAME_MAX 63

/** The transaction's rows, before they are copied to the server. */
#define TR__PG_LINES_MAX ((size_t)64 << 20)
#define TR__PG_FLUSH     ((size_t)4 << 20)

typedef struct tr__pg {
    tr_sink base;
    char *where; /* connection string */
    const tr__libpq *pq;
    PGconn *conn;
    bool connected_once;
    bool in_scan;
    tr_arena names;              /* of the table below; reset when it is opened */
    tr_sink_table table;         /* copies */
    char *table_name;            /* with a NUL */
    char *quoted;                /* the PostgreSQL table's name in quotes */
    char *readable;              /* the same as they are read: numbers as text */
    char *columns;               /* the key columns in quotes, with commas */
    char *merge, *merge_in_scan; /* statements that put staged rows in place */
    tr_buf lines, json, text;    /* lines: in COPY's text form */
} tr__pg;

/* postgres_sql.c */

/** Tells a failure: of a result where there is one, else of the connection. Frees nothing. */
int tr__pg_fail(const tr__pg *s, const PGresult *result, tr_error *err, const char *doing);
/** Runs a statement that answers no rows that matter. ret_count may be NULL: rows that it touched. */
int tr__pg_run(tr__pg *s, const char *sql, uint64_t *ret_count, tr_error *err);
/** The same with the table's name as $1 and, if not NULL, a text as $2. */
int tr__pg_run_named(tr__pg *s, const char *sql, const char *text, uint64_t *ret_count, tr_error *err);
/** Appends a quoted name, cut and marked by a hash where PostgreSQL would cut it. */
void tr__pg_put_name(tr_buf *out, const char *prefix, tr_view name);
/** Composes the statements for the table, whose names are known. */
int tr__pg_compose(tr__pg *s, tr_error *err);
/** Creates what is missing, registers the table, locks it against other writers, loads its state. */
int tr__pg_prepare(tr__pg *s, tr_buf *ret_state, tr_error *err);

/* postgres_rows.c */

/** Appends a row to the staged lines; sends them off if they are many. */
int tr__pg_stage(tr__pg *s, const tr_sink_row *row, tr_error *err);
/** Sends the staged lines and puts them in place. */
int tr__pg_flush(tr__pg *s, tr_error *err);
int tr__pg_each(tr_sink *sink, int (*fn)(void *ctx, tr_view key, tr_item item), void *ctx, tr_error *err);
int tr__pg_get(tr_sink *sink, tr_view key, tr_buf *ret_item, tr_error *err);

#endif
