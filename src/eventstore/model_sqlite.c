/* SPDX-License-Identifier: MIT */
/*
 * A read model in a SQLite file. The generation that serves is the table of the projection's name, the one
 * that is being built is _tailrace_building_NAME; the swap is a drop and a rename in one transaction.
 *
 *   _tailrace_projections (name, revision, serving, building, dropping, version, building_version, identity)
 *   _tailrace_projected   (name, generation, aggregate, version)
 */
#include "eventstore/lite.h"
#include "eventstore/model.h"

#include <stdio.h>

#define SQL_MAX     4096
#define CHANGES_MAX 5000 /* one sync for many; readers are not held up */

enum { POSITION, PUT_POSITION, ROW, PUT_ROW, DELETE_ROW, STATEMENTS };

typedef struct sqlite_model {
    tr__model base;
    tr__lite lite;
    char *name;
    uint64_t generation; /* that the statements are for; 0: none */
    sqlite3_stmt *statements[STATEMENTS];
    tr_buf plain, typed, sql;
    tr_arena arena;
} sqlite_model;

static sqlite_model *of(tr__model *model)
{
    return (sqlite_model *)model;
}

static int prepare(sqlite_model *m, const char *sql, sqlite3_stmt **ret, tr_error *err)
{
    return tr__lite_prepare(&m->lite, sql, ret, err);
}

static void forget_statements(sqlite_model *m)
{
    for (int i = 0; i < STATEMENTS; i++) {
        (void)sqlite3_finalize(m->statements[i]);
        m->statements[i] = NULL;
    }
    m->generation = 0;
}

/* ------------------------------------------------------------------------------------------------- record */

static void take_text(char *out, size_t size, tr_view text)
{
    (void)snprintf(out, size, "%.*s", TR_FMT(text));
}

static int sqlite_load(tr__model *model, tr__model_record *ret, tr_error *err)
{
    sqlite_model *m = of(model);
    tr__model_record r = {0};
    sqlite3_stmt *stmt = NULL;
    int e = prepare(m,
                    "SELECT revision, serving, building, dropping, version, building_version, identity FROM "
                    "_tailrace_projections WHERE name = ?1",
                    &stmt, err);
    if (e)
        return e;
    tr__lite_text(stmt, 1, tr_view_str(m->name));
    if (tr__lite_row(&m->lite, stmt, &e, err)) {
        r.there = true;
        r.revision = (uint64_t)sqlite3_column_int64(stmt, 0);
        r.serving = (uint64_t)sqlite3_column_int64(stmt, 1);
        r.building = (uint64_t)sqlite3_column_int64(stmt, 2);
        r.dropping = (uint64_t)sqlite3_column_int64(stmt, 3);
        take_text(r.version, sizeof r.version, tr__lite_column(stmt, 4));
        take_text(r.building_version, sizeof r.building_version, tr__lite_column(stmt, 5));
        take_text(r.identity, sizeof r.identity, tr__lite_column(stmt, 6));
    }
    (void)sqlite3_finalize(stmt);
    if (!e)
        *ret = r;
    return e;
}

static int write_record(sqlite_model *m, const tr__model_record *r, tr_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int e = prepare(m, "INSERT OR REPLACE INTO _tailrace_projections VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    &stmt, err);
    if (e)
        return e;
    tr__lite_text(stmt, 1, tr_view_str(m->name));
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)r->revision + 1);
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)r->serving);
    (void)sqlite3_bind_int64(stmt, 4, (int64_t)r->building);
    (void)sqlite3_bind_int64(stmt, 5, (int64_t)r->dropping);
    tr__lite_text(stmt, 6, tr_view_str(r->version));
    tr__lite_text(stmt, 7, tr_view_str(r->building_version));
    tr__lite_text(stmt, 8, tr_view_str(r->identity));
    e = tr__lite_run(&m->lite, stmt, err);
    (void)sqlite3_finalize(stmt);
    return e;
}

static int exec(sqlite_model *m, tr_error *err, const char *format, const char *name)
{
    char sql[SQL_MAX];
    (void)snprintf(sql, sizeof sql, format, name, name);
    return tr__lite_exec(&m->lite, sql, err);
}

#define COLUMNS "(key TEXT PRIMARY KEY, item TEXT NOT NULL, dynamodb_json TEXT, revision INTEGER NOT NULL)"

/* The tables as the record wants them. */
static int arrange(sqlite_model *m, const tr__model_record *was, const tr__model_record *r, tr_error *err)
{
    int e = 0;
    if (!was->there) /* fails if there is such a table, which is not ours then */
        return exec(m, err, "CREATE TABLE \"%s\" " COLUMNS, m->name);
    if (r->serving != was->serving) {
        e = exec(m, err, "DROP TABLE \"%s\"", m->name);
        if (!e)
            e = exec(m, err, "ALTER TABLE \"_tailrace_building_%s\" RENAME TO \"%s\"", m->name);
    } else if (r->building != was->building) {
        e = exec(m, err, "DROP TABLE IF EXISTS \"_tailrace_building_%s\"", m->name);
        if (!e && r->building)
            e = exec(m, err, "CREATE TABLE \"_tailrace_building_%s\" " COLUMNS, m->name);
    }
    return e;
}

static int sqlite_store(tr__model *model, tr__model_record *record, tr_error *err)
{
    sqlite_model *m = of(model);
    tr__model_record was;
    forget_statements(m);
    int e = tr__lite_exec(&m->lite, "BEGIN IMMEDIATE", err);
    if (e)
        return e;
    e = sqlite_load(model, &was, err);
    if (!e && (was.there != record->there || (was.there && was.revision != record->revision)))
        e = tr_fail(err, TR_ECONFLICT, "another process has changed the projection %s", m->name);
    if (!e)
        e = arrange(m, &was, record, err);
    if (!e)
        e = write_record(m, record, err);
    if (!e)
        e = tr__lite_exec(&m->lite, "COMMIT", err);
    if (e) {
        model->rollback(model);
        return e;
    }
    record->there = true;
    record->revision++;
    return 0;
}

/* ------------------------------------------------------------------------------------------------- changing
 */

static int prepare_statements(sqlite_model *m, uint64_t generation, bool serves, tr_error *err)
{
    static const char *const sql[STATEMENTS] = {
        [POSITION] =
            "SELECT version FROM _tailrace_projected WHERE name = ?1 AND generation = ?2 AND aggregate = ?3",
        [PUT_POSITION] = "INSERT OR REPLACE INTO _tailrace_projected VALUES (?1, ?2, ?3, ?4)",
        [ROW] = "SELECT item, dynamodb_json, revision FROM \"%s%s\" WHERE key = ?1",
        [PUT_ROW] =
            "INSERT OR REPLACE INTO \"%s%s\" (key, item, dynamodb_json, revision) VALUES (?1, ?2, ?3, ?4)",
        [DELETE_ROW] = "DELETE FROM \"%s%s\" WHERE key = ?1"};
    int e = 0;
    if (m->generation == generation)
        return 0;
    forget_statements(m);
    for (int i = 0; !e && i < STATEMENTS; i++) {
        tr_buf_reset(&m->sql);
        for (const char *at = sql[i]; *at; at++) /* the two %s, of which only some statements have any */
            if (at[0] == '%' && at[1] == 's' && at[2] == '%') {
                tr_buf_put_str(&m->sql, serves ? "" : "_tailrace_building_");
                tr_buf_put_str(&m->sql, m->name);
                at += 3;
            } else {
                tr_buf_putc(&m->sql, *at);
            }
        e = prepare(m, tr_buf_cstr(&m->sql), &m->statements[i], err);
    }
    if (!e)
        m->generation = generation;
    return e;
}

static int sqlite_begin(tr__model *model, uint64_t generation, tr_error *err)
{
    sqlite_model *m = of(model);
    tr__model_record r;
    int e = tr__lite_exec(&m->lite, "BEGIN IMMEDIATE", err);
    if (e)
        return e;
    e = sqlite_load(model, &r, err);
    if (!e && generation != r.serving && generation != r.building)
        e = tr_fail(err, TR_EEXPIRED, "generation %llu of %s is gone", (unsigned long long)generation,
                    m->name);
    if (!e && m->generation && m->generation != generation)
        forget_statements(m);
    if (!e)
        e = prepare_statements(m, generation, generation == r.serving, err);
    if (e)
        model->rollback(model);
    return e;
}

static void sqlite_rollback(tr__model *model)
{
    sqlite_model *m = of(model);
    if (!sqlite3_get_autocommit(m->lite.db))
        (void)tr__lite_exec(&m->lite, "ROLLBACK", NULL);
}

static sqlite3_stmt *position_statement(sqlite_model *m, int which, tr_view aggregate)
{
    sqlite3_stmt *stmt = m->statements[which];
    tr__lite_text(stmt, 1, tr_view_str(m->name));
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)m->generation);
    tr__lite_blob(stmt, 3, aggregate);
    return stmt;
}

static int sqlite_position(tr__model *model, tr_view aggregate, uint64_t *ret_version, tr_error *err)
{
    sqlite_model *m = of(model);
    int e;
    sqlite3_stmt *stmt = position_statement(m, POSITION, aggregate);
    *ret_version = tr__lite_row(&m->lite, stmt, &e, err) ? (uint64_t)sqlite3_column_int64(stmt, 0) : 0;
    (void)sqlite3_reset(stmt);
    return e;
}

/* From the two columns. */
static int unpack(sqlite_model *m, sqlite3_stmt *stmt, tr_buf *out, tr_error *err)
{
    tr_json_reader r;
    tr_item_error problem;
    bool typed = sqlite3_column_type(stmt, 1) != SQLITE_NULL;
    tr_arena_reset(&m->arena);
    tr_json_init(&r, tr__lite_column(stmt, typed), &m->arena);
    int e = TR_EPARSE;
    if (tr_json_next(&r) == TR_JSON_OBJECT)
        e = typed ? tr_item_read(&r, out, &problem) : tr_item_read_plain(&r, TR_PLAIN_EXACT, out, &problem);
    return e ? tr_fail(err, TR_ECORRUPT, "a row of %s in %s cannot be read", m->name, m->lite.path) : 0;
}

static int sqlite_row(tr__model *model, tr_view key, tr_buf *ret_item, uint64_t *ret_revision, tr_error *err)
{
    sqlite_model *m = of(model);
    sqlite3_stmt *stmt = m->statements[ROW];
    int e;
    *ret_revision = 0;
    tr__lite_text(stmt, 1, key);
    if (tr__lite_row(&m->lite, stmt, &e, err)) {
        e = unpack(m, stmt, ret_item, err);
        *ret_revision = (uint64_t)sqlite3_column_int64(stmt, 2);
    }
    (void)sqlite3_reset(stmt);
    return e;
}

static int write_row(sqlite_model *m, const tr__model_change *c, tr_error *err)
{
    tr_json_writer w;
    sqlite3_stmt *stmt = m->statements[c->item.len ? PUT_ROW : DELETE_ROW];
    tr__lite_text(stmt, 1, c->key);
    if (c->item.len == 0)
        return tr__lite_run(&m->lite, stmt, err);
    tr_buf_reset(&m->plain);
    tr_json_write_init(&w, &m->plain);
    tr_item_write_plain(&w, c->item);
    tr__lite_text(stmt, 2, tr_buf_view(&m->plain));
    tr_buf_reset(&m->typed);
    if (tr_item_plain_lossless(c->item)) {
        (void)sqlite3_bind_null(stmt, 3);
    } else {
        tr_json_write_init(&w, &m->typed);
        tr_item_write(&w, c->item);
        tr__lite_text(stmt, 3, tr_buf_view(&m->typed));
    }
    (void)sqlite3_bind_int64(stmt, 4, (int64_t)c->after);
    if (tr_buf_status(&m->plain) || tr_buf_status(&m->typed))
        return tr_fail(err, TR_ELIMIT, "row '%.*s' is too large", TR_FMT(c->key));
    return tr__lite_run(&m->lite, stmt, err);
}

/* Nothing has changed since begin: it holds the write lock. */
static int sqlite_commit(tr__model *model, const tr__model_change *changes, size_t count, tr_error *err)
{
    sqlite_model *m = of(model);
    int e = 0;
    for (size_t i = 0; !e && i < count; i++) {
        if (changes[i].position) {
            sqlite3_stmt *stmt = position_statement(m, PUT_POSITION, changes[i].key);
            (void)sqlite3_bind_int64(stmt, 4, (int64_t)changes[i].after);
            e = tr__lite_run(&m->lite, stmt, err);
        } else {
            e = write_row(m, &changes[i], err);
        }
    }
    if (!e)
        e = tr__lite_exec(&m->lite, "COMMIT", err);
    if (e)
        sqlite_rollback(model);
    return e;
}

static int sqlite_drop(tr__model *model, uint64_t generation, tr_error *err)
{
    sqlite_model *m = of(model);
    sqlite3_stmt *stmt = NULL;
    int e = prepare(m, "DELETE FROM _tailrace_projected WHERE name = ?1 AND generation = ?2", &stmt, err);
    if (e)
        return e;
    tr__lite_text(stmt, 1, tr_view_str(m->name));
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)generation);
    e = tr__lite_run(&m->lite, stmt, err);
    (void)sqlite3_finalize(stmt);
    return e;
}

static void sqlite_free(tr__model *model)
{
    sqlite_model *m = of(model);
    forget_statements(m);
    tr__lite_close(&m->lite);
    tr_buf_done(&m->plain);
    tr_buf_done(&m->typed);
    tr_buf_done(&m->sql);
    tr_arena_done(&m->arena);
    tr_free(m->name);
    tr_free(m);
}

int tr__model_sqlite(const char *path, const char *name, tr__model **ret_model, tr_error *err)
{
    sqlite_model *m = tr_calloc(1, sizeof *m);
    if (!m || !(m->name = tr_strdup(name))) {
        tr_free(m);
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    }
    m->base = (tr__model){.changes_max = CHANGES_MAX,
                          .load = sqlite_load,
                          .store = sqlite_store,
                          .begin = sqlite_begin,
                          .position = sqlite_position,
                          .row = sqlite_row,
                          .commit = sqlite_commit,
                          .rollback = sqlite_rollback,
                          .drop = sqlite_drop,
                          .free = sqlite_free};
    tr_buf_init(&m->plain, 6 * TR__MODEL_ROW_MAX);
    tr_buf_init(&m->typed, 6 * TR__MODEL_ROW_MAX);
    tr_buf_init(&m->sql, SQL_MAX);
    tr_arena_init(&m->arena, 6 * TR__MODEL_ROW_MAX);
    int e = tr__lite_open(&m->lite, path, true, err);
    if (!e)
        e = tr__lite_exec(
            &m->lite,
            "CREATE TABLE IF NOT EXISTS _tailrace_projections (name TEXT PRIMARY KEY, revision INTEGER "
            "NOT NULL, serving INTEGER NOT NULL, building INTEGER NOT NULL, dropping INTEGER NOT NULL, "
            "version TEXT NOT NULL, building_version TEXT NOT NULL, identity TEXT NOT NULL);"
            "CREATE TABLE IF NOT EXISTS _tailrace_projected (name TEXT, generation INTEGER, aggregate "
            "BLOB, version INTEGER NOT NULL, PRIMARY KEY (name, generation, aggregate)) WITHOUT ROWID;",
            err);
    if (e)
        sqlite_free(&m->base);
    else
        *ret_model = &m->base;
    return e;
}
