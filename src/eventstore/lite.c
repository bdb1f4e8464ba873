/* SPDX-License-Identifier: MIT */
#include "eventstore/lite.h"

#include <stdio.h>

/* another connection may hold the write lock for one of its transactions */
#define BUSY_TIMEOUT_MS 60000

int tr__lite_fail(tr__lite *l, const char *doing, tr_error *err)
{
    int code = l->db ? sqlite3_errcode(l->db) : SQLITE_NOMEM;
    int r = code == SQLITE_BUSY || code == SQLITE_LOCKED      ? TR_EBUSY
            : code == SQLITE_NOMEM                            ? TR_ENOMEM
            : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? TR_ECORRUPT
                                                              : TR_EIO;
    return tr_fail(err, r, "SQLite, %s %s: %s", doing, l->path ? l->path : "",
                   l->db ? sqlite3_errmsg(l->db) : "out of memory");
}

int tr__lite_exec(tr__lite *l, const char *sql, tr_error *err)
{
    return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : tr__lite_fail(l, "writing", err);
}

int tr__lite_open(tr__lite *l, const char *path, bool full, tr_error *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    *l = (tr__lite){.path = tr_strdup(path)};
    if (!l->path)
        return tr_fail(err, TR_ENOMEM, "%s", tr_strerror(TR_ENOMEM));
    int e = 0;
    if (sqlite3_open_v2(path, &l->db, flags, NULL) != SQLITE_OK)
        e = tr__lite_fail(l, "opening", err);
    if (!e)
        (void)sqlite3_busy_timeout(l->db, BUSY_TIMEOUT_MS);
    if (!e)
        e = tr__lite_exec(l,
                          full ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL"
                               : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
                          err);
    if (e)
        tr__lite_close(l);
    return e;
}

void tr__lite_close(tr__lite *l)
{
    (void)sqlite3_close_v2(l->db);
    tr_free(l->path);
    *l = (tr__lite){0};
}

int tr__lite_prepare(tr__lite *l, const char *sql, sqlite3_stmt **ret, tr_error *err)
{
    return sqlite3_prepare_v3(l->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL) == SQLITE_OK
               ? 0
               : tr__lite_fail(l, "preparing", err);
}

int tr__lite_run(tr__lite *l, sqlite3_stmt *stmt, tr_error *err)
{
    int rc = sqlite3_step(stmt);
    int e = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : tr__lite_fail(l, "writing", err);
    (void)sqlite3_reset(stmt);
    return e;
}

bool tr__lite_row(tr__lite *l, sqlite3_stmt *stmt, int *code, tr_error *err)
{
    int rc = sqlite3_step(stmt);
    *code = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : tr__lite_fail(l, "reading", err);
    return rc == SQLITE_ROW;
}
