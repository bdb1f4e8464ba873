/* SPDX-License-Identifier: MIT */
/*
 * A SQLite file as a sink. Everything between begin and commit is one SQLite transaction, the replica's state
 * included, so that a change is applied exactly once whatever happens to the process. The file is in WAL
 * mode: it can be read with any tool while it is followed.
 *
 * sequence_number tells how a row came to be: 40 digits = a change, NULL = scanned, '' = left from before a
 * repeated scan that has not confirmed it yet (sorts below every number, so any change or scanned row
 * replaces it).
 */
#include "replica/row.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <strings.h>

#define FORMAT_VERSION 1
/* another replica of the same file may hold the write lock for one of its transactions */
#define BUSY_TIMEOUT_MS 60000
#define NAME_MAX_BYTES                                                                                       \
    600 /* a table's or attribute's name (255) with every character doubled, prefix and quotes */

enum { APPLY, APPLY_IN_SCAN, REMOVE, BURY, SCANNED, SAVE, BEGIN, COMMIT, ROLLBACK, STATEMENTS };

typedef struct sqlite_sink {
    tr_sink base;
    char *path;
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    char *table_name;              /* of DynamoDB */
    char quoted[NAME_MAX_BYTES];   /* the SQLite table's name in quotes */
    char *columns;                 /* the key columns in quotes, with a comma; in names */
    tr_type hash_type, range_type; /* range_type TR_NONE: no sort key */
    tr_view hash_name, range_name; /* copies, in names */
    tr_arena names;
    bool opened, in_scan;
    tr_buf plain, typed, number;
} sqlite_sink;

static int db_fail(sqlite_sink *s, tr_error *err, const char *doing)
{
    int code = sqlite3_errcode(s->db);
    int r = code == SQLITE_BUSY || code == SQLITE_LOCKED      ? TR_EBUSY
            : code == SQLITE_NOMEM                            ? TR_ENOMEM
            : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? TR_ECORRUPT
                                                              : TR_EIO;
    return tr_fail(err, r, "SQLite, %s %s: %s", doing, s->path, sqlite3_errmsg(s->db));
}

static int exec(sqlite_sink *s, const char *sql, tr_error *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(s, err, "preparing");
}

/* Runs a statement that returns no rows, and makes it ready for the next time. */
static int run(sqlite_sink *s, int which, tr_error *err)
{
    sqlite3_stmt *stmt = s->statements[which];
    int rc = sqlite3_step(stmt);
    int r = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : db_fail(s, err, "writing");
    (void)sqlite3_reset(stmt);
    return r;
}

static int prepare(sqlite_sink *s, const char *sql, sqlite3_stmt **ret, tr_error *err)
{
    return sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL) == SQLITE_OK
               ? 0
               : db_fail(s, err, "preparing");
}

/* ------------------------------------------------------------------------------------------------ names */

static bool same_name(tr_view a, const char *b)
{
    return a.len == strlen(b) && strncasecmp(a.ptr, b, a.len) == 0;
}

static void put_quoted(tr_buf *out, const char *prefix, tr_view name)
{
    tr_buf_putc(out, '"');
    tr_buf_put_str(out, prefix);
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"')
            tr_buf_putc(out, '"');
        tr_buf_putc(out, name.ptr[i]);
    }
    tr_buf_putc(out, '"');
}

/* SQLite's names are the same regardless of case (in ASCII), DynamoDB's are not. Where both key attributes
 * collide with a column of ours and with each other, the second one gets the prefix twice. */
static const char *column_prefix(tr_view name, tr_view other_key)
{
    static const char *const ours[] = {"_key", "item", "dynamodb_json", "sequence_number"};
    bool twins =
        other_key.len && other_key.len == name.len && strncasecmp(other_key.ptr, name.ptr, name.len) == 0;
    for (size_t i = 0; i < TR_COUNT(ours); i++)
        if (same_name(name, ours[i]))
            return twins ? "key_key_" : "key_";
    return twins ? "key_" : "";
}

static const char *table_prefix(tr_view name)
{
    static const char *const reserved[] = {"sqlite_", "_tailrace_"};
    for (size_t i = 0; i < TR_COUNT(reserved); i++)
        if (name.len >= strlen(reserved[i]) && strncasecmp(name.ptr, reserved[i], strlen(reserved[i])) == 0)
            return "t_";
    return "";
}

/* ----------------------------------------------------------------------------------------------- opening */

static int check_format(sqlite_sink *s, tr_error *err)
{
    int r = exec(
        s,
        "CREATE TABLE IF NOT EXISTS _tailrace_format (version INTEGER NOT NULL);"
        "INSERT INTO _tailrace_format SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM _tailrace_format);"
        "CREATE TABLE IF NOT EXISTS _tailrace_replicas (table_name TEXT PRIMARY KEY, sqlite_table TEXT NOT "
        "NULL COLLATE NOCASE UNIQUE, in_scan INTEGER NOT NULL DEFAULT 0, state TEXT);"
        "CREATE TABLE IF NOT EXISTS _tailrace_tombstones (table_name TEXT, _key BLOB, sequence_number TEXT "
        "NOT NULL, PRIMARY KEY (table_name, _key)) WITHOUT ROWID;",
        err);
    sqlite3_stmt *stmt = NULL;
    if (!r)
        r = prepare(s, "SELECT version FROM _tailrace_format", &stmt, err);
    if (!r && sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int64(stmt, 0) > FORMAT_VERSION)
        r = tr_fail(err, TR_EVERSION,
                    "%s was written by a newer version (format %lld, this version knows %d)", s->path,
                    (long long)sqlite3_column_int64(stmt, 0), FORMAT_VERSION);
    (void)sqlite3_finalize(stmt);
    return r;
}

/* Registers the table, or finds it again with its state. */
static int load_state(sqlite_sink *s, tr_view name, const char *prefix, tr_buf *ret_state, tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int r = prepare(s,
                    "INSERT INTO _tailrace_replicas (table_name, sqlite_table) VALUES (?1, ?2 || ?1) "
                    "ON CONFLICT (table_name) DO NOTHING",
                    &stmt, err);
    if (!r) {
        sqlite3_bind_text(stmt, 1, name.ptr, (int)name.len, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, prefix, -1, SQLITE_STATIC);
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_CONSTRAINT)
            r = tr_fail(err, TR_EEXIST,
                        "%s holds another table whose name differs from '%.*s' in case only, which SQLite "
                        "cannot tell "
                        "apart: use another file",
                        s->path, TR_FMT(name));
        else if (rc != SQLITE_DONE)
            r = db_fail(s, err, "writing");
    }
    (void)sqlite3_finalize(stmt);
    if (r ||
        (r = prepare(s, "SELECT state, in_scan FROM _tailrace_replicas WHERE table_name = ?1", &stmt, err)))
        return r;
    sqlite3_bind_text(stmt, 1, name.ptr, (int)name.len, SQLITE_STATIC);
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        const void *state = sqlite3_column_text(stmt, 0);
        if (state)
            tr_buf_put(ret_state, state, (size_t)sqlite3_column_bytes(stmt, 0));
        s->in_scan = sqlite3_column_int(stmt, 1) != 0;
        r = tr_buf_status(ret_state);
    } else {
        r = db_fail(s, err, "reading");
    }
    (void)sqlite3_finalize(stmt);
    return r;
}

static int create_table(sqlite_sink *s, tr_buf *key_columns, tr_error *err)
{
    tr_buf sql;
    tr_buf_init(&sql, 8192);
    tr_buf_printf(
        &sql,
        "CREATE TABLE IF NOT EXISTS %s (_key BLOB PRIMARY KEY, %s, item TEXT NOT NULL, dynamodb_json TEXT, "
        "sequence_number TEXT)",
        s->quoted, tr_buf_cstr(key_columns));
    int r = tr_buf_status(&sql) ? tr_fail(err, TR_EINVAL, "a key attribute's name is too long")
                                : exec(s, tr_buf_cstr(&sql), err);
    tr_buf_done(&sql);
    return r;
}

static void finalize_all(sqlite_sink *s)
{
    for (size_t i = 0; i < STATEMENTS; i++) {
        (void)sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
}

static int prepare_all(sqlite_sink *s, const char *columns, const char *updates, tr_error *err)
{
    static const char bury[] =
        "INSERT INTO _tailrace_tombstones VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET sequence_number = "
        "max(sequence_number, excluded.sequence_number)";
    const char *marks = s->range_type ? "?5, ?6" : "?5";
    tr_buf sql;
    tr_buf_init(&sql, 16384);
    int r = 0;
    for (int i = 0; i < STATEMENTS && !r; i++) {
        tr_buf_reset(&sql);
        const char *t = s->quoted;
        switch (i) {
        case APPLY:
        case APPLY_IN_SCAN:
            tr_buf_printf(
                &sql,
                "INSERT INTO %s (_key, item, dynamodb_json, sequence_number, %s) SELECT ?1, ?2, ?3, ?4, %s",
                t, columns, marks);
            if (i == APPLY_IN_SCAN)
                tr_buf_put_str(
                    &sql, " WHERE NOT EXISTS (SELECT 1 FROM _tailrace_tombstones d WHERE d.table_name = ?7 "
                          "AND d._key = ?1 AND d.sequence_number >= ?4)");
            else
                tr_buf_put_str(&sql, " WHERE true");
            tr_buf_printf(&sql,
                          " ON CONFLICT (_key) DO UPDATE SET %s WHERE %s.sequence_number IS NULL OR "
                          "%s.sequence_number < excluded.sequence_number",
                          updates, t, t);
            break;
        case SCANNED:
            tr_buf_printf(
                &sql,
                "INSERT INTO %s (_key, item, dynamodb_json, sequence_number, %s) SELECT ?1, ?2, ?3, NULL, %s "
                "WHERE NOT EXISTS (SELECT 1 FROM _tailrace_tombstones d WHERE d.table_name = ?7 AND d._key = "
                "?1) ON CONFLICT (_key) DO UPDATE SET %s WHERE %s.sequence_number IS NULL OR "
                "%s.sequence_number = ''",
                t, columns, marks, updates, t, t);
            break;
        case REMOVE:
            tr_buf_printf(
                &sql, "DELETE FROM %s WHERE _key = ?1 AND (sequence_number IS NULL OR sequence_number < ?2)",
                t);
            break;
        case BURY:
            tr_buf_put_str(&sql, bury);
            break;
        case SAVE:
            tr_buf_put_str(&sql, "UPDATE _tailrace_replicas SET state = ?1 WHERE table_name = ?2");
            break;
        case BEGIN:
            tr_buf_put_str(&sql, "BEGIN IMMEDIATE");
            break;
        case COMMIT:
            tr_buf_put_str(&sql, "COMMIT");
            break;
        default:
            tr_buf_put_str(&sql, "ROLLBACK");
        }
        const char *text = tr_buf_cstr(&sql);
        r = text ? prepare(s, text, &s->statements[i], err) : tr_fail(err, TR_EINVAL, "a name is too long");
    }
    tr_buf_done(&sql);
    return r;
}

static int remember_names(sqlite_sink *s, const tr_sink_table *table)
{
    s->hash_type = table->hash_type;
    s->range_type = table->range_name.len ? table->range_type : TR_NONE;
    s->hash_name = tr_arena_copy(&s->names, table->hash_name);
    s->range_name = tr_arena_copy(&s->names, table->range_name);
    s->table_name = tr_arena_str(&s->names, table->name);
    if (!s->hash_name.ptr || !s->range_name.ptr || !s->table_name)
        return TR_ENOMEM;
    tr_buf quoted;
    tr_buf_init(&quoted, sizeof s->quoted - 1);
    put_quoted(&quoted, table_prefix(table->name), table->name);
    int r = tr_buf_status(&quoted) ? TR_ELIMIT : 0;
    if (!r) {
        memcpy(s->quoted, quoted.ptr, quoted.len);
        s->quoted[quoted.len] = 0;
    }
    tr_buf_done(&quoted);
    return r;
}

static void sqlite_rollback(tr_sink *sink);

static int sqlite_open(tr_sink *sink, const tr_sink_table *table, tr_buf *ret_state, tr_error *err)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    if (s->opened) {
        sqlite_rollback(sink);
        return load_state(s, table->name, table_prefix(table->name), ret_state, err);
    }
    tr_arena_reset(&s->names);
    int r = remember_names(s, table);
    if (r)
        return tr_fail(err, r, "table name '%.*s': %s", TR_FMT(table->name), tr_strerror(r));
    tr_buf columns, updates;
    tr_buf_init(&columns, 4096);
    tr_buf_init(&updates, 4096);
    put_quoted(&columns, column_prefix(s->hash_name, (tr_view){NULL, 0}), s->hash_name);
    if (s->range_type) {
        tr_buf_putc(&columns, ',');
        put_quoted(&columns, column_prefix(s->range_name, s->hash_name), s->range_name);
    }
    tr_buf_put_str(&updates,
                   "item = excluded.item, dynamodb_json = excluded.dynamodb_json, sequence_number = "
                   "excluded.sequence_number");
    if (!tr_buf_cstr(&columns) || !tr_buf_cstr(&updates))
        r = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (!r)
        r = exec(s, "BEGIN IMMEDIATE", err);
    if (!r) {
        r = check_format(s, err);
        if (!r)
            r = load_state(s, table->name, table_prefix(table->name), ret_state, err);
        if (!r)
            r = create_table(s, &columns, err);
        int e = exec(s, r ? "ROLLBACK" : "COMMIT", r ? NULL : err);
        r = r ? r : e;
    }
    if (!r)
        r = prepare_all(s, columns.ptr, updates.ptr, err);
    if (!r && !(s->columns = tr_arena_str(&s->names, tr_buf_view(&columns))))
        r = tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (r)
        finalize_all(s);
    s->opened = !r;
    tr_buf_done(&columns);
    tr_buf_done(&updates);
    return r;
}

/* --------------------------------------------------------------------------------------------- writing */

static int sqlite_begin(tr_sink *sink, tr_error *err)
{
    return run((sqlite_sink *)sink, BEGIN, err);
}

static int sqlite_commit(tr_sink *sink, tr_error *err)
{
    return run((sqlite_sink *)sink, COMMIT, err);
}

static void sqlite_rollback(tr_sink *sink)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    if (s->db && !sqlite3_get_autocommit(s->db))
        (void)run(s, ROLLBACK, NULL);
}

static void bind_key_column(sqlite3_stmt *stmt, int at, tr_item item, tr_view name)
{
    tr_value v;
    if (tr_item_get(item, name, &v)) {
        sqlite3_bind_null(stmt, at);
        return;
    }
    int64_t number;
    char text[TR_NUMBER_TEXT_MAX];
    switch (v.type) {
    case TR_S:
        sqlite3_bind_text(stmt, at, v.payload.ptr, (int)v.payload.len, SQLITE_STATIC);
        break;
    case TR_N:
        if (tr_number_to_i64(v.payload, &number) == 0)
            sqlite3_bind_int64(stmt, at, number);
        else
            sqlite3_bind_text(stmt, at, text, (int)tr_number_format(v.payload, text), SQLITE_TRANSIENT);
        break;
    default:
        sqlite3_bind_blob(stmt, at, v.payload.ptr, (int)v.payload.len, SQLITE_STATIC);
    }
}

static void bind_text(sqlite3_stmt *stmt, int at, tr_view text)
{
    sqlite3_bind_text(stmt, at, text.ptr, (int)text.len, SQLITE_STATIC);
}

/* Binds the members that APPLY and SCANNED share: key 1, item 2, dynamodb_json 3, key columns 5 and 6. */
static int bind_row(sqlite_sink *s, sqlite3_stmt *stmt, const tr_sink_row *row, tr_error *err)
{
    tr_json_writer w;
    tr_buf_reset(&s->plain);
    tr_json_write_init(&w, &s->plain);
    tr_item_write_plain(&w, row->item);
    sqlite3_bind_blob(stmt, 1, row->key.ptr, (int)row->key.len, SQLITE_STATIC);
    bind_text(stmt, 2, tr_buf_view(&s->plain));
    if (tr_item_plain_lossless(row->item)) {
        sqlite3_bind_null(stmt, 3);
    } else {
        tr_buf_reset(&s->typed);
        tr_json_write_init(&w, &s->typed);
        tr_item_write(&w, row->item);
        bind_text(stmt, 3, tr_buf_view(&s->typed));
    }
    bind_key_column(stmt, 5, row->item, s->hash_name);
    if (s->range_type)
        bind_key_column(stmt, 6, row->item, s->range_name);
    int r = tr_buf_status(&s->plain) ? tr_buf_status(&s->plain) : tr_buf_status(&s->typed);
    return r ? tr_fail(err, r, "an item's JSON: %s", tr_strerror(r)) : 0;
}

static int remove_row(sqlite_sink *s, const tr_sink_row *row, tr_view number, tr_error *err)
{
    sqlite3_stmt *stmt = s->statements[REMOVE];
    sqlite3_bind_blob(stmt, 1, row->key.ptr, (int)row->key.len, SQLITE_STATIC);
    bind_text(stmt, 2, number);
    int r = run(s, REMOVE, err);
    if (r || !s->in_scan)
        return r;
    stmt = s->statements[BURY];
    sqlite3_bind_text(stmt, 1, s->table_name, -1, SQLITE_STATIC);
    sqlite3_bind_blob(stmt, 2, row->key.ptr, (int)row->key.len, SQLITE_STATIC);
    bind_text(stmt, 3, number);
    return run(s, BURY, err);
}

static int sqlite_apply(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    tr_buf_reset(&s->number);
    int r = tr__row_sequence(row->sequence_number, &s->number, err);
    if (r)
        return r;
    tr_view number = tr_buf_view(&s->number);
    if (row->item.len == 0)
        return remove_row(s, row, number, err);
    int which = s->in_scan ? APPLY_IN_SCAN : APPLY;
    sqlite3_stmt *stmt = s->statements[which];
    if ((r = bind_row(s, stmt, row, err)))
        return r;
    bind_text(stmt, 4, number);
    if (s->in_scan)
        sqlite3_bind_text(stmt, 7, s->table_name, -1, SQLITE_STATIC);
    return run(s, which, err);
}

static int sqlite_scanned(tr_sink *sink, const tr_sink_row *row, tr_error *err)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    sqlite3_stmt *stmt = s->statements[SCANNED];
    int r = bind_row(s, stmt, row, err);
    if (r)
        return r;
    sqlite3_bind_text(stmt, 7, s->table_name, -1, SQLITE_STATIC);
    return run(s, SCANNED, err);
}

/* A statement used once per scan, with the table's name as ?1. */
static int run_once(sqlite_sink *s, const char *sql, tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int r = prepare(s, sql, &stmt, err);
    if (r)
        return r;
    if (sqlite3_bind_parameter_count(stmt))
        sqlite3_bind_text(stmt, 1, s->table_name, -1, SQLITE_STATIC);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        r = db_fail(s, err, "writing");
    (void)sqlite3_finalize(stmt);
    return r;
}

static int run_once_on_table(sqlite_sink *s, const char *before, const char *after, tr_error *err)
{
    char sql[NAME_MAX_BYTES + 200];
    (void)snprintf(sql, sizeof sql, "%s %s %s", before, s->quoted, after);
    return run_once(s, sql, err);
}

static int sqlite_scan_begin(tr_sink *sink, bool again, tr_error *err)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    int r = run_once(s, "DELETE FROM _tailrace_tombstones WHERE table_name = ?1", err);
    if (!r && again)
        r = run_once_on_table(s, "UPDATE", "SET sequence_number = ''", err);
    if (!r)
        r = run_once(s, "UPDATE _tailrace_replicas SET in_scan = 1 WHERE table_name = ?1", err);
    if (!r)
        s->in_scan = true;
    return r;
}

static int sqlite_scan_end(tr_sink *sink, bool again, uint64_t *ret_deleted, tr_error *err)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    uint64_t deleted = 0;
    int r = run_once(s, "DELETE FROM _tailrace_tombstones WHERE table_name = ?1", err);
    if (!r && again) {
        r = run_once_on_table(s, "DELETE FROM", "WHERE sequence_number = ''", err);
        deleted = (uint64_t)sqlite3_changes64(s->db);
    }
    if (!r)
        r = run_once(s, "UPDATE _tailrace_replicas SET in_scan = 0 WHERE table_name = ?1", err);
    if (!r) {
        s->in_scan = false;
        *ret_deleted = deleted;
    }
    return r;
}

static int sqlite_save(tr_sink *sink, tr_view state, tr_error *err)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    bind_text(s->statements[SAVE], 1, state);
    sqlite3_bind_text(s->statements[SAVE], 2, s->table_name, -1, SQLITE_STATIC);
    return run(s, SAVE, err);
}

/* -------------------------------------------------------------------------------------------- reading */

static tr_view column_view(sqlite3_stmt *stmt, int at)
{
    return tr_view_of(sqlite3_column_text(stmt, at), (size_t)sqlite3_column_bytes(stmt, at));
}

/* A row's item, appended to packed: from the columns behind _key, item, dynamodb_json, key columns. */
static int read_item(const sqlite_sink *s, sqlite3_stmt *stmt, tr_arena *arena, tr_buf *packed, tr_error *err)
{
    const tr_sink_table table = {.hash_name = s->hash_name,
                                 .hash_type = s->hash_type,
                                 .range_name = s->range_name,
                                 .range_type = s->range_type};
    size_t start = packed->len;
    tr_view key = tr_view_of(sqlite3_column_blob(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0));
    tr_view plain = column_view(stmt, 1), typed = column_view(stmt, 2);
    int r = tr__row_read(plain, typed, false, arena, packed, err);
    for (int i = 0; i < (s->range_type ? 2 : 1) && !r; i++)
        r = tr__row_check_column(&table, key, i == 1, column_view(stmt, 3 + i), false, packed, start, err);
    return r;
}

/* after: of the statement. */
static int prepare_reading(sqlite_sink *s, const char *after, sqlite3_stmt **ret, tr_error *err)
{
    tr_buf sql;
    tr_buf_init(&sql, 8192);
    tr_buf_printf(&sql, "SELECT _key, item, dynamodb_json, %s FROM %s %s", s->columns, s->quoted, after);
    const char *text = tr_buf_cstr(&sql);
    int r = text ? prepare(s, text, ret, err) : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    tr_buf_done(&sql);
    return r;
}

static int sqlite_each(tr_sink *sink, int (*fn)(void *, tr_view, tr_item), void *ctx, tr_error *err)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    sqlite3_stmt *stmt = NULL;
    int r = prepare_reading(s, "ORDER BY _key", &stmt, err);
    tr_arena arena;
    tr_arena_init(&arena, 64 << 20);
    tr_buf packed;
    tr_buf_init(&packed, 8 << 20);
    int rc = SQLITE_DONE;
    while (!r && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        tr_arena_reset(&arena);
        tr_buf_reset(&packed);
        r = read_item(s, stmt, &arena, &packed, err);
        if (!r)
            r = fn(ctx, tr_view_of(sqlite3_column_blob(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0)),
                   tr_buf_view(&packed));
    }
    if (!r && rc != SQLITE_DONE)
        r = db_fail(s, err, "reading");
    (void)sqlite3_finalize(stmt);
    tr_arena_done(&arena);
    tr_buf_done(&packed);
    return r;
}

static int sqlite_get(tr_sink *sink, tr_view key, tr_buf *ret_item, tr_error *err)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    sqlite3_stmt *stmt = NULL;
    int r = prepare_reading(s, "WHERE _key = ?1", &stmt, err);
    if (r)
        return r;
    tr_arena arena;
    tr_arena_init(&arena, 64 << 20);
    sqlite3_bind_blob(stmt, 1, key.ptr, (int)key.len, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        r = read_item(s, stmt, &arena, ret_item, err);
    else
        r = rc == SQLITE_DONE ? tr_fail(err, TR_ENOTFOUND, "no row of that key") : db_fail(s, err, "reading");
    (void)sqlite3_finalize(stmt);
    tr_arena_done(&arena);
    return r;
}

static void sqlite_free(tr_sink *sink)
{
    sqlite_sink *s = (sqlite_sink *)sink;
    if (!s)
        return;
    sqlite_rollback(sink);
    finalize_all(s);
    if (s->db)
        (void)sqlite3_close(s->db);
    tr_arena_done(&s->names);
    tr_buf_done(&s->plain);
    tr_buf_done(&s->typed);
    tr_buf_done(&s->number);
    tr_free(s->path);
    tr_free(s);
}

int tr_sink_sqlite(const char *path, tr_sink **ret_sink, tr_error *err)
{
    sqlite_sink *s = tr_calloc(1, sizeof *s);
    if (!s || !(s->path = tr_strdup(path))) {
        tr_free(s);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    s->base = (tr_sink){.transactions = true,
                        .open = sqlite_open,
                        .begin = sqlite_begin,
                        .apply = sqlite_apply,
                        .scanned = sqlite_scanned,
                        .scan_begin = sqlite_scan_begin,
                        .scan_end = sqlite_scan_end,
                        .save = sqlite_save,
                        .commit = sqlite_commit,
                        .rollback = sqlite_rollback,
                        .each = sqlite_each,
                        .get = sqlite_get,
                        .free = sqlite_free};
    tr_arena_init(&s->names, 16384);
    tr_buf_init(&s->plain, TR__ROW_JSON_MAX);
    tr_buf_init(&s->typed, TR__ROW_JSON_MAX);
    tr_buf_init(&s->number, 64);
    int r = 0;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK)
        r = s->db ? db_fail(s, err, "opening") : tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    if (!r) {
        (void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
        /* FULL: a committed transaction survives a power cut, so the checkpoint never runs behind what was
         * told */
        r = exec(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", err);
    }
    if (r) {
        sqlite_free(&s->base);
        return r;
    }
    *ret_sink = &s->base;
    return 0;
}
