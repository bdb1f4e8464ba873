/* SPDX-License-Identifier: MIT */
#ifndef TAILRACE_EVENTSTORE_LITE_H
#define TAILRACE_EVENTSTORE_LITE_H

/** lite.h: a SQLite file of this room (inboxes, read models), of one thread at a time. */

#include <tailrace/base.h>

#include <sqlite3.h>

typedef struct tr__lite {
    sqlite3 *db;
    char *path;
} tr__lite;

/** Opens or makes the file in WAL mode, as several connections share it. full: a commit survives a power cut;
 * else only the process's end. TR_EIO, TR_ECORRUPT, TR_ENOMEM. */
int tr__lite_open(tr__lite *l, const char *path, bool full, tr_error *err);
void tr__lite_close(tr__lite *l);
int tr__lite_exec(tr__lite *l, const char *sql, tr_error *err);
int tr__lite_prepare(tr__lite *l, const char *sql, sqlite3_stmt **ret, tr_error *err);
/** Runs a statement whose rows do not matter, and makes it ready for the next time. */
int tr__lite_run(tr__lite *l, sqlite3_stmt *stmt, tr_error *err);
/** A row: true, then sqlite3_reset is yours. *code: 0, or why there is none. */
bool tr__lite_row(tr__lite *l, sqlite3_stmt *stmt, int *code, tr_error *err);
int tr__lite_fail(tr__lite *l, const char *doing, tr_error *err);

static inline void tr__lite_text(sqlite3_stmt *stmt, int at, tr_view text)
{
    (void)sqlite3_bind_text(stmt, at, text.ptr ? text.ptr : "", (int)text.len, SQLITE_STATIC);
}
static inline void tr__lite_blob(sqlite3_stmt *stmt, int at, tr_view bytes)
{
    (void)sqlite3_bind_blob(stmt, at, bytes.ptr ? bytes.ptr : "", (int)bytes.len, SQLITE_STATIC);
}
/** A column's bytes, valid until the statement moves. */
static inline tr_view tr__lite_column(sqlite3_stmt *stmt, int at)
{
    const void *bytes = sqlite3_column_blob(stmt, at);
    return tr_view_of(bytes, (size_t)sqlite3_column_bytes(stmt, at));
}

#endif
