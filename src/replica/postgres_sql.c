/* SPDX-License-Identifier: MIT */
#include "replica/postgres.h"

#include <stdio.h>

#define FORMAT_VERSION "1"
/* Any number will do, as long as all versions of tailrace use it: the first key of advisory locks. */
#define LOCKS "1953653100"

/* -------------------------------------------------------------------------------------------- failures */

/* By the class of the SQLSTATE (PostgreSQL's Appendix A): what passes by itself, and what does not. */
static int code_of(const char *state)
{
    static const struct {
        const char *class;
        int code;
    } classes[] = {{"08", TR_ECONNECT}, {"57P", TR_ECONNECT},   {"40", TR_EBUSY},    {"53", TR_EIO},
                   {"55", TR_EBUSY},    {"58", TR_EIO},         {"28", TR_EAUTH},    {"42501", TR_EAUTH},
                   {"25006", TR_EAUTH}, {"25P03", TR_ECONNECT}, {"57014", TR_EBUSY}, {"XX", TR_ECORRUPT}};
    for (size_t i = 0; i < TR_COUNT(classes); i++)
        if (strncmp(state, classes[i].class, strlen(classes[i].class)) == 0)
            return classes[i].code;
    return TR_ESERVICE;
}

int tr__pg_fail(const tr__pg *s, const PGresult *result, tr_error *err, const char *doing)
{
    const char *state = result ? s->pq->PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *primary = result ? s->pq->PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *message = primary ? primary : s->conn ? s->pq->PQerrorMessage(s->conn) : "not connected";
    int code = state ? code_of(state) : TR_ECONNECT;
    size_t len = strcspn(message, "\n");
    return tr_fail(err, code, "PostgreSQL, %s: %.*s%s%s%s", doing, (int)len, message,
                   state ? " (SQLSTATE " : "", state ? state : "", state ? ")" : "");
}

static int finish(tr__pg *s, PGresult *result, uint64_t *ret_count, tr_error *err)
{
    ExecStatusType status = result ? s->pq->PQresultStatus(result) : PGRES_FATAL_ERROR;
    int e =
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0 : tr__pg_fail(s, result, err, "writing");
    if (!e && ret_count) {
        *ret_count = 0;
        (void)tr_view_to_u64(tr_view_str(s->pq->PQcmdTuples(result)), UINT64_MAX, ret_count);
    }
    s->pq->PQclear(result);
    return e;
}

int tr__pg_run(tr__pg *s, const char *sql, uint64_t *ret_count, tr_error *err)
{
    if (!s->conn)
        return tr__pg_fail(s, NULL, err, "writing");
    return finish(s, s->pq->PQexec(s->conn, sql), ret_count, err);
}

int tr__pg_run_named(tr__pg *s, const char *sql, const char *text, uint64_t *ret_count, tr_error *err)
{
    const char *const values[] = {s->table_name, text};
    if (!s->conn)
        return tr__pg_fail(s, NULL, err, "writing");
    return finish(s, s->pq->PQexecParams(s->conn, sql, text ? 2 : 1, NULL, values, NULL, NULL, 0), ret_count,
                  err);
}

/* ----------------------------------------------------------------------------------------------- names */

/* FNV-1a, 64 bits: tells names apart that begin alike */
static uint64_t hash_text(tr_view text)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (uint8_t)text.ptr[i]) * UINT64_C(1099511628211);
    return h;
}

void tr__pg_put_name(tr_buf *out, const char *prefix, tr_view name)
{
    size_t room = TR__PG_NAME_MAX - strlen(prefix);
    bool cut = name.len > room;
    size_t len = tr_utf8_cut(name, cut ? room - 17 : room).len;
    tr_buf_putc(out, '"');
    tr_buf_put_str(out, prefix);
    for (size_t i = 0; i < len; i++) {
        if (name.ptr[i] == '"')
            tr_buf_putc(out, '"');
        tr_buf_putc(out, name.ptr[i]);
    }
    if (cut)
        tr_buf_printf(out, "_%016llx", (unsigned long long)hash_text(name));
    tr_buf_putc(out, '"');
}

/* Columns of ours, and those that every table of PostgreSQL has. */
static const char *column_prefix(tr_view name)
{
    static const char *const taken[] = {"_key",     "item", "dynamodb_json", "sequence_number",
                                        "tableoid", "xmin", "cmin",          "xmax",
                                        "cmax",     "ctid"};
    for (size_t i = 0; i < TR_COUNT(taken); i++)
        if (tr_view_is(name, taken[i]))
            return "key_";
    return "";
}

static const char *table_prefix(tr_view name)
{
    return tr_view_starts(name, TR_VIEW("_tailrace_")) ? "t_" : "";
}

static const char *column_type(tr_type type)
{
    return type == TR_S ? "text COLLATE \"C\"" : type == TR_N ? "numeric" : "bytea";
}

/* ------------------------------------------------------------------------------------------ statements */

/*
 * Staged rows are put in place by two statements. Of several changes of a key the last decides; then the rows
 * that a scan brought. `x` is the replica's table, `d` the tombstones.
 */
static void put_merge(tr_buf *sql, const tr__pg *s, bool in_scan)
{
    const char *x = s->quoted, *marks = s->table.range_name.len ? "k1, k2" : "k1";
    const char *update = "item = excluded.item, dynamodb_json = excluded.dynamodb_json, sequence_number = "
                         "excluded.sequence_number";
    tr_buf_put_str(sql,
                   "WITH last AS (SELECT DISTINCT ON (_key) * FROM pg_temp._tailrace_stage WHERE NOT scanned "
                   "ORDER BY _key, sequence_number DESC)");
    if (in_scan)
        tr_buf_printf(
            sql,
            ", buried AS (INSERT INTO _tailrace_tombstones AS d SELECT '%s', _key, sequence_number FROM "
            "last WHERE item IS NULL ON CONFLICT (table_name, _key) DO UPDATE SET sequence_number = "
            "greatest(d.sequence_number, excluded.sequence_number))",
            s->table_name);
    tr_buf_printf(sql,
                  ", gone AS (DELETE FROM %s x USING last l WHERE x._key = l._key AND l.item IS NULL AND "
                  "(x.sequence_number IS NULL OR x.sequence_number < l.sequence_number)) "
                  "INSERT INTO %s AS x (_key, item, dynamodb_json, sequence_number, %s) SELECT _key, item, "
                  "dynamodb_json, sequence_number, %s FROM last l WHERE item IS NOT NULL",
                  x, x, s->columns, marks);
    if (in_scan)
        tr_buf_printf(
            sql,
            " AND NOT EXISTS (SELECT 1 FROM _tailrace_tombstones d WHERE d.table_name = '%s' AND d._key = "
            "l._key AND d.sequence_number >= l.sequence_number)",
            s->table_name);
    tr_buf_printf(
        sql,
        " ON CONFLICT (_key) DO UPDATE SET %s WHERE x.sequence_number IS NULL OR x.sequence_number < "
        "excluded.sequence_number; ",
        update);
    tr_buf_printf(
        sql,
        "INSERT INTO %s AS x (_key, item, dynamodb_json, sequence_number, %s) SELECT DISTINCT ON (_key) "
        "_key, item, dynamodb_json, NULL, %s FROM pg_temp._tailrace_stage l WHERE scanned AND NOT EXISTS "
        "(SELECT 1 FROM _tailrace_tombstones d WHERE d.table_name = '%s' AND d._key = l._key) ON CONFLICT "
        "(_key) DO UPDATE SET %s WHERE x.sequence_number IS NULL OR x.sequence_number = ''; "
        "DELETE FROM pg_temp._tailrace_stage",
        x, s->columns, marks, s->table_name, update);
}

static char *text_of(tr__pg *s, tr_buf *sql)
{
    char *text = tr_buf_status(sql) ? NULL : tr_arena_str(&s->names, tr_buf_view(sql));
    tr_buf_reset(sql);
    return text;
}

/* The key columns, numbers with something behind. */
static void put_columns(const tr__pg *s, const char *behind_number, tr_buf *out)
{
    const tr_sink_table *t = &s->table;
    tr__pg_put_name(out, column_prefix(t->hash_name), t->hash_name);
    tr_buf_put_str(out, t->hash_type == TR_N ? behind_number : "");
    if (!t->range_name.len)
        return;
    tr_buf_put_str(out, ", ");
    tr__pg_put_name(out, column_prefix(t->range_name), t->range_name);
    tr_buf_put_str(out, t->range_type == TR_N ? behind_number : "");
}

int tr__pg_compose(tr__pg *s, tr_error *err)
{
    tr_buf sql;
    tr_buf_init(&sql, 16384);
    tr__pg_put_name(&sql, table_prefix(s->table.name), s->table.name);
    s->quoted = text_of(s, &sql);
    put_columns(s, "", &sql);
    s->columns = text_of(s, &sql);
    put_columns(s, "::text", &sql);
    s->readable = text_of(s, &sql);
    if (s->quoted && s->columns && s->readable) {
        put_merge(&sql, s, false);
        s->merge = text_of(s, &sql);
        put_merge(&sql, s, true);
        s->merge_in_scan = text_of(s, &sql);
    }
    tr_buf_done(&sql);
    return s->quoted && s->columns && s->readable && s->merge && s->merge_in_scan
               ? 0
               : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
}

/* ------------------------------------------------------------------------------------------- preparing */

static const char common_tables[] = "CREATE TABLE IF NOT EXISTS _tailrace_format (version integer NOT NULL);"
                                    "INSERT INTO _tailrace_format SELECT " FORMAT_VERSION
                                    " WHERE NOT EXISTS (SELECT 1 FROM _tailrace_format);"
                                    "CREATE TABLE IF NOT EXISTS _tailrace_replicas (table_name text PRIMARY "
                                    "KEY, pg_table text NOT NULL UNIQUE, "
                                    "in_scan boolean NOT NULL DEFAULT false, state text);"
                                    "CREATE TABLE IF NOT EXISTS _tailrace_tombstones (table_name text, _key "
                                    "bytea, sequence_number text COLLATE "
                                    "\"C\" NOT NULL, PRIMARY KEY (table_name, _key))";

static int create_tables(tr__pg *s, bool is_new, tr_error *err)
{
    tr_buf sql;
    tr_view hash = s->table.hash_name, range = s->table.range_name;
    tr_buf_init(&sql, 16384);
    tr_buf_printf(&sql, "CREATE TABLE %s %s (_key bytea PRIMARY KEY, ", is_new ? "" : "IF NOT EXISTS",
                  s->quoted);
    tr__pg_put_name(&sql, column_prefix(hash), hash);
    tr_buf_printf(&sql, " %s, ", column_type(s->table.hash_type));
    if (range.len) {
        tr__pg_put_name(&sql, column_prefix(range), range);
        tr_buf_printf(&sql, " %s, ", column_type(s->table.range_type));
    }
    tr_buf_printf(
        &sql,
        "item jsonb NOT NULL, dynamodb_json json, sequence_number text COLLATE \"C\");"
        "CREATE TEMPORARY TABLE IF NOT EXISTS _tailrace_stage (scanned boolean, _key bytea, k1 %s, ",
        column_type(s->table.hash_type));
    if (range.len)
        tr_buf_printf(&sql, "k2 %s, ", column_type(s->table.range_type));
    tr_buf_put_str(
        &sql, "item jsonb, dynamodb_json json, sequence_number text COLLATE \"C\") ON COMMIT DELETE ROWS");
    const char *text = tr_buf_cstr(&sql);
    int e = text ? tr__pg_run(s, text, NULL, err) : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (e == TR_ESERVICE && err && strstr(err->message, "42P07"))
        e = tr_fail(
            err, TR_EEXIST,
            "the database has a table %s that is not a replica: drop or rename it, or use another database "
            "or schema",
            s->quoted);
    tr_buf_done(&sql);
    return e;
}

/* One row with one value, as text; *ret_text is NULL for none. */
static int ask(tr__pg *s, const char *sql, const char *text, PGresult **ret_result, const char **ret_text,
               tr_error *err)
{
    const char *const values[] = {s->table_name, text};
    PGresult *result = s->pq->PQexecParams(s->conn, sql, text ? 2 : 1, NULL, values, NULL, NULL, 0);
    if (s->pq->PQresultStatus(result) != PGRES_TUPLES_OK) {
        int e = tr__pg_fail(s, result, err, "reading");
        s->pq->PQclear(result);
        return e;
    }
    bool there = s->pq->PQntuples(result) == 1 && !s->pq->PQgetisnull(result, 0, 0);
    *ret_text = there ? s->pq->PQgetvalue(result, 0, 0) : NULL;
    *ret_result = result;
    return 0;
}

static int check_version(tr__pg *s, tr_error *err)
{
    PGresult *result = NULL;
    const char *text = NULL;
    int e =
        ask(s, "SELECT version FROM _tailrace_format WHERE $1::text IS NOT NULL", NULL, &result, &text, err);
    if (e)
        return e;
    if (text && strlen(text) >= strlen(FORMAT_VERSION) && strcmp(text, FORMAT_VERSION) > 0)
        e = tr_fail(err, TR_EVERSION,
                    "the replicas in this database were written by a newer version (format %s)", text);
    s->pq->PQclear(result);
    return e;
}

/* Whoever writes to this replica holds a lock for as long as its connection lives. */
static int lock_table(tr__pg *s, tr_error *err)
{
    PGresult *result = NULL;
    const char *text = NULL;
    int e = ask(s, "SELECT pg_try_advisory_lock(" LOCKS ", hashtext(current_schema() || '.' || $1))", NULL,
                &result, &text, err);
    if (e)
        return e;
    if (!text || text[0] != 't')
        e = tr_fail(err, TR_EBUSY, "another process writes to the replica of %s in this database",
                    s->table_name);
    s->pq->PQclear(result);
    return e;
}

static int load_state(tr__pg *s, tr_buf *ret_state, tr_error *err)
{
    PGresult *result = NULL;
    const char *text = NULL;
    int e = ask(s, "SELECT state FROM _tailrace_replicas WHERE table_name = $1", NULL, &result, &text, err);
    if (e)
        return e;
    if (text)
        tr_buf_put_str(ret_state, text);
    s->pq->PQclear(result);
    e = ask(s, "SELECT in_scan FROM _tailrace_replicas WHERE table_name = $1", NULL, &result, &text, err);
    if (e)
        return e;
    s->in_scan = text && text[0] == 't';
    s->pq->PQclear(result);
    e = tr_buf_status(ret_state);
    return e ? tr_fail(err, e, "%s", tr_strerror(e)) : 0;
}

int tr__pg_prepare(tr__pg *s, tr_buf *ret_state, tr_error *err)
{
    uint64_t registered = 0;
    /* one at a time: CREATE TABLE IF NOT EXISTS is not safe against another one */
    int e = tr__pg_run(s, "BEGIN; SELECT pg_advisory_xact_lock(" LOCKS ", 0)", NULL, err);
    if (!e)
        e = tr__pg_run(s, common_tables, NULL, err);
    if (!e)
        e = check_version(s, err);
    if (!e)
        e = tr__pg_run_named(
            s,
            "INSERT INTO _tailrace_replicas (table_name, pg_table) VALUES ($1, $2) ON CONFLICT "
            "(table_name) DO NOTHING",
            s->quoted, &registered, err);
    if (!e)
        e = create_tables(s, registered != 0, err);
    if (!e)
        e = tr__pg_run(s, "COMMIT", NULL, err);
    if (!e)
        e = lock_table(s, err);
    return e ? e : load_state(s, ret_state, err);
}
