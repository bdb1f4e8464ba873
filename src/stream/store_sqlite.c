/* SPDX-License-Identifier: MIT */
#include <tailrace/stream.h>

#include <sqlite3.h>

/* A checkpoint as a row of an SQLite database, which may be the user's own. */

typedef struct sqlite_store {
    tr_stream_store base;
    sqlite3 *db;
    char *name;
    sqlite3_int64 version; /* of the row as we know it; 0: there is none */
} sqlite_store;

static int failed(const sqlite_store *ss, tr_error *err)
{
    int code = ss->db ? sqlite3_errcode(ss->db) : SQLITE_NOMEM;
    return tr_fail(err,
                   code == SQLITE_NOMEM     ? TR_ENOMEM
                   : code == SQLITE_CORRUPT ? TR_ECORRUPT
                                            : TR_EIO,
                   "checkpoint database: %s", ss->db ? sqlite3_errmsg(ss->db) : "out of memory");
}

static int sqlite_load(tr_stream_store *store, tr_buf *ret_state, tr_error *err)
{
    sqlite_store *ss = (sqlite_store *)store;
    sqlite3_stmt *stmt = NULL;
    size_t len = ret_state->len;
    int code = 0;
    if (sqlite3_prepare_v2(ss->db, "SELECT version, state FROM _tailrace_checkpoints WHERE name = ?1", -1,
                           &stmt, NULL) != SQLITE_OK)
        return failed(ss, err);
    (void)sqlite3_bind_text(stmt, 1, ss->name, -1, SQLITE_STATIC);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        ss->version = sqlite3_column_int64(stmt, 0);
        const void *text = sqlite3_column_text(stmt, 1);
        tr_buf_put(ret_state, text, (size_t)sqlite3_column_bytes(stmt, 1));
        code = tr_buf_status(ret_state);
        if (code)
            (void)tr_fail(err, code, "the saved state is too large");
    } else if (step != SQLITE_DONE) {
        code = failed(ss, err);
    }
    (void)sqlite3_finalize(stmt);
    if (code)
        ret_state->len = len;
    return code;
}

/** A row that is not there, or has the version we know: another consumer of this name would have raised it.
 */
static const char save_sql[] =
    "INSERT INTO _tailrace_checkpoints (name, version, saved_at, state) VALUES (?1, ?2 + 1, ?3, ?4) "
    "ON CONFLICT (name) DO UPDATE SET version = excluded.version, saved_at = excluded.saved_at, state = "
    "excluded.state "
    "WHERE version = ?2";

static int sqlite_save(tr_stream_store *store, tr_view state, tr_error *err)
{
    sqlite_store *ss = (sqlite_store *)store;
    sqlite3_stmt *stmt = NULL;
    int code = 0;
    if (state.len > INT32_MAX)
        return tr_fail(err, TR_ELIMIT, "a state of %zu bytes", state.len);
    if (sqlite3_prepare_v2(ss->db, save_sql, -1, &stmt, NULL) != SQLITE_OK)
        return failed(ss, err);
    (void)sqlite3_bind_text(stmt, 1, ss->name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 2, ss->version);
    (void)sqlite3_bind_int64(stmt, 3, tr_clock_wall_ms());
    (void)sqlite3_bind_text(stmt, 4, state.ptr, (int)state.len, SQLITE_STATIC);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        code = failed(ss, err);
    else if (sqlite3_changes(ss->db) == 0)
        code = tr_fail(err, TR_ECONFLICT, "another consumer saves its state under the name %s", ss->name);
    else
        ss->version++;
    (void)sqlite3_finalize(stmt);
    return code;
}

static void sqlite_free(tr_stream_store *store)
{
    sqlite_store *ss = (sqlite_store *)store;
    (void)sqlite3_close(ss->db);
    tr_free(ss->name);
    tr_free(ss);
}

static int open_database(sqlite_store *ss, const char *path, tr_error *err)
{
    static const char set_up[] =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "CREATE TABLE IF NOT EXISTS _tailrace_checkpoints "
        "(name TEXT PRIMARY KEY, version INTEGER NOT NULL, saved_at INTEGER NOT NULL, state TEXT NOT NULL)";
    if (sqlite3_open_v2(path, &ss->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                        NULL) != SQLITE_OK)
        return failed(ss, err);
    (void)sqlite3_busy_timeout(ss->db, 5000);
    return sqlite3_exec(ss->db, set_up, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(ss, err);
}

int tr_stream_store_sqlite(const char *path, const char *name, tr_stream_store **ret_store, tr_error *err)
{
    if (!path || !path[0] || !name || !name[0])
        return tr_fail(err, TR_EINVAL, "a checkpoint in SQLite takes a path and a name");
    sqlite_store *ss = tr_calloc(1, sizeof *ss);
    if (!ss)
        return tr_fail(err, TR_ENOMEM, "no memory for a checkpoint store");
    ss->base = (tr_stream_store){.load = sqlite_load, .save = sqlite_save, .free = sqlite_free};
    ss->name = tr_strdup(name);
    int code =
        ss->name ? open_database(ss, path, err) : tr_fail(err, TR_ENOMEM, "no memory for a checkpoint store");
    if (code) {
        sqlite_free(&ss->base);
        return code;
    }
    *ret_store = &ss->base;
    return 0;
}
