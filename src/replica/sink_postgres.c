/* SPDX-License-Identifier: MIT */
/*
 * A PostgreSQL database as a sink. Everything between begin and commit is one transaction of the database,
 * the replica's state included. Rows are staged: they go by COPY into a temporary table, and two statements
 * put them in place, so that a batch costs a few round trips whatever its size.
 *
 * sequence_number tells how a row came to be, as in a SQLite replica: 40 digits = a change, NULL = scanned,
 * '' = left from before a repeated scan that has not confirmed it yet.
 */
#include "replica/postgres.h"

#include <stdio.h>

static void ignore_notice(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

/* ------------------------------------------------------------------------------------------ connecting */

static void disconnect(tr__pg *s)
{
    if (s->conn)
        s->pq->PQfinish(s->conn);
    s->conn = NULL;
}

/* The string comes last of those that may be overruled, first of those that may not. */
static const char *const keywords[] = {"connect_timeout", "dbname", "fallback_application_name",
                                       "client_encoding", NULL};

/* A connection that was refused: by whom, and whether it is worth trying again. */
static int explain(tr__pg *s, const char *const *values, tr_error *err)
{
    PGPing ping = s->pq->PQpingParams(keywords, values, 1);
    char message[1024]; /* libpq's lines as one */
    (void)snprintf(message, sizeof message, "%s", s->conn ? s->pq->PQerrorMessage(s->conn) : "out of memory");
    int code = ping == PQPING_OK && !s->connected_once ? TR_EAUTH
               : ping == PQPING_NO_ATTEMPT             ? TR_EINVAL
                                                       : TR_ECONNECT;
    size_t len = 0;
    for (const char *c = message; *c; c++)
        if (*c != '\n' && *c != '\t')
            message[len++] = *c;
        else if (len && message[len - 1] != ' ' && c[1])
            message[len++] = ' ';
    return tr_fail(err, code, "PostgreSQL: %.*s", (int)len, message);
}

static int connect_to(tr__pg *s, tr_error *err)
{
    const char *const values[] = {"10", s->where, "tailrace", "UTF8", NULL};
    s->conn = s->pq->PQconnectdbParams(keywords, values, 1);
    if (s->pq->PQstatus(s->conn) != CONNECTION_OK) {
        int e = explain(s, values, err);
        disconnect(s);
        return e;
    }
    (void)s->pq->PQsetNoticeProcessor(s->conn, ignore_notice, NULL);
    const char *encoding = s->pq->PQparameterStatus(s->conn, "server_encoding");
    if (!encoding || strcmp(encoding, "UTF8") != 0) {
        int e =
            tr_fail(err, TR_EINVAL,
                    "PostgreSQL: the database's encoding is %s, which cannot hold every text: make one with "
                    "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
                    encoding ? encoding : "unknown");
        disconnect(s);
        return e;
    }
    s->connected_once = true;
    /* staged rows are few beside the table: their keys are looked up, whatever is guessed of a table that was
     * never analysed */
    return tr__pg_run(s, "SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off", NULL, err);
}

/* --------------------------------------------------------------------------------------------- as a sink */

static void pg_rollback(tr_sink *sink)
{
    tr__pg *s = (tr__pg *)sink;
    tr_buf_reset(&s->lines);
    if (s->conn && s->pq->PQtransactionStatus(s->conn) != PQTRANS_IDLE)
        (void)tr__pg_run(s, "ROLLBACK", NULL, NULL);
}

/* Names that go into statements between quotes: a table's has none of the characters that would end them. */
static int remember(tr__pg *s, const tr_sink_table *table, tr_error *err)
{
    tr_arena_reset(&s->names);
    s->table = *table;
    s->table.name = tr_arena_copy(&s->names, table->name);
    s->table.hash_name = tr_arena_copy(&s->names, table->hash_name);
    s->table.range_name = tr_arena_copy(&s->names, table->range_name);
    s->table_name = tr_arena_str(&s->names, table->name);
    if (!s->table.name.ptr || !s->table.hash_name.ptr || !s->table.range_name.ptr || !s->table_name)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (strpbrk(s->table_name, "'\"\\"))
        return tr_fail(err, TR_EINVAL, "'%s' is no table's name", s->table_name);
    return tr__pg_compose(s, err);
}

static int pg_open(tr_sink *sink, const tr_sink_table *table, tr_buf *ret_state, tr_error *err)
{
    tr__pg *s = (tr__pg *)sink;
    tr_buf_reset(&s->lines);
    disconnect(s); /* whatever state it was left in, and its lock with it */
    int e = remember(s, table, err);
    if (!e)
        e = connect_to(s, err);
    if (!e)
        e = tr__pg_prepare(s, ret_state, err);
    if (e)
        disconnect(s);
    return e;
}

static int pg_begin(tr_sink *sink, tr_error *err)
{
    tr__pg *s = (tr__pg *)sink;
    tr_buf_reset(&s->lines);
    return tr__pg_run(s, "BEGIN", NULL, err);
}

static int pg_row(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    return tr__pg_stage((tr__pg *)sink, row, err);
}

/* A statement on the replica's own table. */
static int on_table(tr__pg *s, const char *before, const char *after, uint64_t *ret_count, tr_error *err)
{
    tr_buf_reset(&s->text);
    tr_buf_printf(&s->text, "%s %s %s", before, s->quoted, after);
    const char *sql = tr_buf_cstr(&s->text);
    return sql ? tr__pg_run(s, sql, ret_count, err) : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

static int mark_scan(tr__pg *s, bool on, tr_error *err)
{
    int e = tr__pg_run_named(s, "DELETE FROM _tailrace_tombstones WHERE table_name = $1", NULL, NULL, err);
    if (!e)
        e = tr__pg_run_named(s, "UPDATE _tailrace_replicas SET in_scan = $2::boolean WHERE table_name = $1",
                             on ? "t" : "f", NULL, err);
    if (!e)
        s->in_scan = on;
    return e;
}

static int pg_scan_begin(tr_sink *sink, bool again, tr_error *err)
{
    tr__pg *s = (tr__pg *)sink;
    int e = tr__pg_flush(s, err);
    if (!e && again)
        e = on_table(s, "UPDATE", "SET sequence_number = '' WHERE sequence_number IS DISTINCT FROM ''", NULL,
                     err);
    return e ? e : mark_scan(s, true, err);
}

static int pg_scan_end(tr_sink *sink, bool again, uint64_t *ret_deleted, tr_error *err)
{
    tr__pg *s = (tr__pg *)sink;
    uint64_t deleted = 0;
    int e = tr__pg_flush(s, err);
    if (!e && again)
        e = on_table(s, "DELETE FROM", "WHERE sequence_number = ''", &deleted, err);
    if (!e)
        e = mark_scan(s, false, err);
    if (!e)
        *ret_deleted = deleted;
    return e;
}

static int pg_save(tr_sink *sink, tr_view state, tr_error *err)
{
    tr__pg *s = (tr__pg *)sink;
    int e = tr__pg_flush(s, err);
    if (e)
        return e;
    tr_buf_reset(&s->text);
    tr_buf_put_view(&s->text, state);
    const char *text = tr_buf_cstr(&s->text);
    return text ? tr__pg_run_named(s, "UPDATE _tailrace_replicas SET state = $2 WHERE table_name = $1", text,
                                   NULL, err)
                : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

static int pg_commit(tr_sink *sink, tr_error *err)
{
    tr__pg *s = (tr__pg *)sink;
    int e = tr__pg_flush(s, err);
    return e ? e : tr__pg_run(s, "COMMIT", NULL, err);
}

static void pg_free(tr_sink *sink)
{
    tr__pg *s = (tr__pg *)sink;
    if (!s)
        return;
    disconnect(s);
    tr_arena_done(&s->names);
    tr_buf_done(&s->lines);
    tr_buf_done(&s->json);
    tr_buf_done(&s->text);
    tr_free(s->where);
    tr_free(s);
}

/* What libpq itself says of the string, before anything is connected. */
static int check_string(const tr__libpq *pq, const char *where, tr_error *err)
{
    char *message = NULL;
    PQconninfoOption *parsed = pq->PQconninfoParse(where, &message);
    int e = parsed ? 0
                   : tr_fail(err, TR_EINVAL, "not a PostgreSQL connection string: %.*s",
                             message ? (int)strcspn(message, "\n") : 0, message ? message : "");
    pq->PQconninfoFree(parsed);
    pq->PQfreemem(message);
    return e;
}

int tr_sink_postgres(const char *where, tr_sink **ret_sink, tr_error *err)
{
    const tr__libpq *pq = tr__libpq_load(err);
    if (!pq)
        return TR_EUNSUPPORTED;
    int e = check_string(pq, where, err);
    if (e)
        return e;
    tr__pg *s = tr_calloc(1, sizeof *s);
    if (!s || !(s->where = tr_strdup(where))) {
        tr_free(s);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    s->pq = pq;
    tr_arena_init(&s->names, 65536);
    tr_buf_init(&s->lines, TR__PG_LINES_MAX);
    tr_buf_init(&s->json, TR__ROW_JSON_MAX);
    tr_buf_init(&s->text, TR__PAGE_MAX);
    s->base = (tr_sink){.transactions = true,
                        .open = pg_open,
                        .begin = pg_begin,
                        .apply = pg_row,
                        .scanned = pg_row,
                        .scan_begin = pg_scan_begin,
                        .scan_end = pg_scan_end,
                        .save = pg_save,
                        .commit = pg_commit,
                        .rollback = pg_rollback,
                        .each = tr__pg_each,
                        .get = tr__pg_get,
                        .free = pg_free};
    *ret_sink = &s->base;
    return 0;
}
